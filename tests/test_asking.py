"""Who is asking, which number stands on the screen, and what is typed where links fail."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp import pairing
from otp.model import Cause, Context, Request, RequestStatus
from otp.outcomes import Asked, Coming, Dead, MustUnlock, NoSuchPairing, NotYours, Unusable, WrongNumber
from otp.policy import Policy
from otp.ports import Store, Unknown
from otp.service import new_match
from tests.fakes import FakeClock, SeededRandomness
from tests.world import ANN, BOB, LOGIN, World, make_world, wrong


async def made(world: World, *, match: bool = False, context: Context | None = None) -> Request:
    """A new request."""
    return (await world.service.request(world.caller, None, LOGIN, context, match=match)).request


async def status(world: World, request: Request) -> RequestStatus:
    """What the site sees."""
    return (await world.service.status(world.caller, request.id)).status


# ------------------------------------------------------------------ context


@pytest.mark.parametrize(
    "context,line",
    [
        (Context(), ""),
        (Context(ip="203.0.113.7"), "(203.0.113.7)"),
        (
            Context(device="Chrome on Windows", location="Kazan", action="Sign in"),
            "Sign in · Chrome on Windows · Kazan",
        ),
        (Context(action="Pay", amount="5 ₽", ip="::1"), "Pay · 5 ₽ (::1)"),
    ],
)
def test_context_is_one_line(context: Context, line: str) -> None:
    """No empty labels; the address comes last, in brackets; no repr shows any of it."""
    assert context.line() == line
    assert repr(context) == "Context()"


async def test_context_goes_with_the_question_and_the_code(world: World) -> None:
    """The request holds it for the question, the delivery for the code."""
    asked = Context(action="Sign in", location="Kazan")
    request = await made(world, context=asked)
    got = await world.taps.open(world.update(), request.id)
    assert isinstance(got, Asked)
    assert got.request.context == asked
    await world.taps.consent(world.update(), request.id)
    await world.settle()
    delivery = world.telegram.parcels[-1].delivery
    assert delivery.context == asked
    sent = Context(device="a tablet")
    await world.service.send(world.caller, delivery.subscriber_id, LOGIN, sent)
    assert world.telegram.parcels[-1].delivery.context == sent


# ------------------------------------------------------------------ match


def test_the_numbers_are_three_two_digit_ones_of_which_one_is_right() -> None:
    """No place is the right one more often than the others."""
    randomness, places = SeededRandomness(), [0, 0, 0]
    for _ in range(3000):
        match = new_match(randomness)
        assert len(set(match.choice)) == 3
        assert all(10 <= int(number) <= 99 for number in match.choice)
        places[match.choice.index(match.number)] += 1
    assert all(900 < count < 1100 for count in places)


def test_every_two_digit_number_is_drawn_as_often_as_any_other() -> None:
    """Each stands behind two of the 256 bytes; the bytes left over are drawn anew."""

    class Fixed(SeededRandomness):
        def __init__(self, first: int) -> None:
            self.left = [first, 1, 2, 3, 4]

        def bytes(self, count: int) -> bytes:
            return bytes([self.left.pop(0) for _ in range(count)])

    drawn = Counter(new_match(Fixed(byte)).number for byte in range(256))
    again = drawn.pop("11") - 2
    assert drawn == {str(number): 2 for number in (10, *range(12, 100))}
    assert again == 256 - 180


async def test_the_right_number_is_the_consent(world: World) -> None:
    """Everybody sees the same three, at every look; then the code comes."""
    request = await made(world, match=True)
    assert request.match is not None
    for person in (ANN, BOB, ANN):
        got = await world.taps.open(world.update(person), request.id)
        assert isinstance(got, Asked)
        assert got.request.match == request.match
    assert isinstance(await world.taps.choose(world.update(), request.id, request.match.number), Coming)
    await world.settle()
    assert await status(world, request) is RequestStatus.SENT
    assert len(world.telegram.parcels) == 1


async def test_a_wrong_number_ends_the_request(world: World) -> None:
    """There is no second guess, neither by the number nor by any other button."""
    request = await made(world, match=True)
    assert request.match is not None
    await world.taps.open(world.update(), request.id)
    other = next(number for number in request.match.choice if number != request.match.number)
    lost = await world.taps.choose(world.update(), request.id, other)
    assert isinstance(lost, WrongNumber)
    assert (lost.project, lost.request.id) == (world.caller.project, request.id)
    got = await world.taps.choose(world.update(), request.id, request.match.number)
    assert got == Dead(Unusable.CANCELLED)
    assert await status(world, request) is RequestStatus.CANCELLED
    assert world.telegram.parcels == []


async def test_no_other_button_goes_around_the_number(world: World) -> None:
    """Forged consent, "Send again" and unlocking bring the question, never the code."""
    await world.subscribe()
    request = await made(world, match=True)
    got = await world.taps.open(world.update(), request.id)
    assert isinstance(got, Asked)
    assert got.project == world.caller.project
    assert isinstance(await world.taps.consent(world.update(), request.id), NotYours)
    assert isinstance(await world.taps.again(world.update(), request.id), Asked)
    assert isinstance(await world.taps.choose(world.update(), request.id, "9"), NotYours)
    sub = world.telegram.parcels[0].delivery.subscriber_id
    assert isinstance(await world.taps.unlock(world.update(), sub, request.id), Asked)
    await world.settle()
    assert len(world.telegram.parcels) == 1


async def test_a_number_that_was_right_is_not_asked_for_again(world: World) -> None:
    """When the code may not have arrived, "Send again" sends it."""
    request = await made(world, match=True)
    assert request.match is not None
    await world.taps.open(world.update(), request.id)
    world.telegram.script = [Unknown()]
    got = await world.taps.choose(world.update(), request.id, request.match.number)
    assert got == Coming(world.caller.project, Cause.CONSENT, fresh=True)
    await world.settle()
    assert isinstance(await world.taps.again(world.update(), request.id), Coming)
    await world.settle()
    assert len(world.telegram.parcels) == 2
    assert await status(world, request) is RequestStatus.SENT


async def test_a_locked_person_unlocks_and_then_chooses(store: Store, clock: FakeClock) -> None:
    """First the lock, then the number, then the code."""
    world = await make_world(store, clock, Policy(guess_budget=3))
    sub = await world.subscribe()
    for _ in range(3):
        await world.verify(sub, wrong(world.telegram.codes[-1]))
    request = await made(world, match=True)
    assert request.match is not None
    assert isinstance(await world.taps.open(world.update(), request.id), MustUnlock)
    assert isinstance(await world.taps.unlock(world.update(), sub, request.id), Asked)
    assert isinstance(await world.taps.choose(world.update(), request.id, request.match.number), Coming)


# ------------------------------------------------------------------ pairing codes


@given(st.binary(min_size=5, max_size=5))
def test_a_pairing_code_is_read_however_it_is_typed(bits: bytes) -> None:
    """With or without the dash, in either case, with O for 0 and I or L for 1."""

    class Fixed(SeededRandomness):
        def bytes(self, count: int) -> bytes:
            return bits

    code = pairing.new_code(Fixed())
    assert set(code) <= set(pairing.ALPHABET)
    shown = pairing.shown(code)
    alike = shown.replace("0", "O").replace("1", "l")
    for typed in (code, shown, shown.lower(), f"  {shown}\n", shown.replace("-", " "), alike, alike.lower()):
        assert pairing.typed(typed) == code


@pytest.mark.parametrize(
    "text", ["", "ABCD", "ABCD-EFG", "ABCD-EFGHJ", "ABCU-EFGH", "АВСD-EFGH", "otp_ABCD", "AB CD-EFGH"]
)
def test_what_has_not_the_form_of_one(text: str) -> None:
    """Too short, too long, a letter that is none, other scripts."""
    assert pairing.typed(text) is None


def test_a_word_is_no_mistyped_code() -> None:
    """Eight letters are counted as no try; a digit makes the difference."""
    assert pairing.is_a_word("THANKYOU")
    assert not pairing.is_a_word("THANKY0U")


async def test_a_pairing_code_is_as_good_as_the_link(world: World, clock: FakeClock) -> None:
    """And lives as long."""
    request = await made(world)
    assert request.pairing_code is not None
    got = await world.taps.pair(world.update(), request.pairing_code, counts=True)
    assert isinstance(got, Asked)
    assert got.request.id == request.id
    clock.advance(minutes=15)
    assert await world.taps.pair(world.update(), request.pairing_code, counts=True) == NoSuchPairing()


async def test_ten_wrong_ones_in_an_hour_are_enough(world: World, clock: FakeClock) -> None:
    """Then even a right one waits, for this person only; links go on working; words do not count."""
    request = await made(world)
    assert request.pairing_code is not None
    for _ in range(15):
        assert await world.taps.pair(world.update(), "ABCDEFGH", counts=False) == NoSuchPairing()
    for _ in range(10):
        assert await world.taps.pair(world.update(), "0BCDEFGH", counts=True) == NoSuchPairing()
    assert await world.taps.pair(world.update(), request.pairing_code, counts=True) == NoSuchPairing(60)
    assert isinstance(await world.taps.open(world.update(), request.id), Asked)
    assert isinstance(await world.taps.pair(world.update(BOB), request.pairing_code, counts=True), Asked)
    clock.advance(minutes=60)
    fresh = await made(world)
    assert isinstance(await world.taps.pair(world.update(), str(fresh.pairing_code), counts=True), Asked)
