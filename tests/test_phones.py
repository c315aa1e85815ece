"""A phone number, where a site asks for it: who is asked, what counts, and that it is told once and kept no longer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from otp import phones
from otp.codes import KeyRing
from otp.errors import ChannelUnavailable, PhoneUnavailable, RequestNotFound
from otp.events import ASK_PHONE, PhoneAsked, PhoneShared
from otp.forgetting import forget
from otp.model import Cause, Channel, Job, Mode, Person, Refusal, RequestStatus
from otp.numbers import e164, looks_typed
from otp.outcomes import (
    Dead,
    NumberSkipped,
    NumberTaken,
    NumberUnasked,
    NumberUnfit,
    Repeated,
    Unfit,
    Unusable,
)
from otp.phones import begin, question, reseal, take
from otp.policy import PHONE_ASKED_MS, REQUEST_KEPT_MS
from otp.ports import Refused, Tx, Unknown
from otp.projects import Change
from storage.sealing import AeadSeals
from storage.statements import SqlTx
from tests.fakes import NamedBots, SeededRandomness
from tests.world import ANN, BOB, KEYS, LOGIN, World

NUMBER = "+12025550142"
GIVEN = NUMBER[1:]
MAX_ANN = Person(Channel.MAX, 9001)


async def asked(world: World, person: Person = ANN, *, other: bool = False, out: bool = True) -> str:
    """A request that asks for a phone number, whose code is in the person's chat, and the question, too, if it is `out`."""
    caller = world.other if other else world.caller
    made = await world.service.request(caller, None, LOGIN, asks_phone=True)
    await world.taps.open(world.update(person), made.request.id)
    await world.taps.consent(world.update(person), made.request.id)
    await world.settle()
    if out:
        await world.store.write(lambda tx: begin(tx, Job(ASK_PHONE, made.request.id, tx.now, 1, "me")))
    return made.request.id


async def told(world: World, request_id: str, *, other: bool = False) -> str | None:
    """What the site is told now."""
    return await take(world.store, world.rules, world.other if other else world.caller, request_id)


async def rows(world: World) -> int:
    """How many questions and numbers are stored."""

    return len(await stored(world))


async def stored(world: World) -> list[bytes | None]:
    """The numbers of all questions, and those that are kept, as they are stored."""

    async def read(tx: Tx) -> list[bytes | None]:
        both = "SELECT number FROM phones UNION ALL SELECT number FROM kept_phones"
        return [row["number"] for row in await cast(SqlTx, tx).rows(both)]

    return await world.store.read(read)


async def pending(world: World, request_id: str) -> tuple[bool, bool]:
    """What the status says of it: whether the question is open, and whether there is an answer."""
    state = await world.service.status(world.caller, request_id)
    return state.phone_pending, state.has_phone


# ---- the number itself


@pytest.mark.parametrize(
    "given,number",
    [
        ("12025550142", "+12025550142"),
        ("+12025550142", "+12025550142"),
        ("79991234567", "+79991234567"),
        ("2901234", "+2901234"),
        ("123456789012345", "+123456789012345"),
        ("1234567890123456", None),
        ("123456", None),
        ("02025550142", None),
        ("++12025550142", None),
        ("1202 555 0142", None),
        ("12025550142\n", None),
        ("١٢٠٢٥٥٥٠١٤٢", None),
        ("88801234567", None),
        ("", None),
    ],
)
def test_one_form(given: str, number: str | None) -> None:
    """E.164 with its plus, whether or not the messenger writes it; anything else is none."""
    assert e164(given) == number


@pytest.mark.parametrize("text", ["+7 999 123-45-67", "8 (999) 1234567", "12025550142", "+1.202.555.0142"])
def test_a_written_number(text: str) -> None:
    """However people write it."""
    assert looks_typed(text)


@pytest.mark.parametrize("text", ["482916", "48291634", "7KQ2-M9TX", "1234-5678", "hello", "", "+", "9" * 40])
def test_what_is_no_written_number(text: str) -> None:
    """Codes and pairing codes above all."""
    assert not looks_typed(text)


# ---- who is asked, and when


async def test_asked_after_the_code(world: World) -> None:
    """Not before: the code waits for nothing. The job is written with the outcome, so that no crash loses it."""
    world.telegram.hold = asyncio.Event()
    made = await world.service.request(world.caller, None, LOGIN, asks_phone=True)
    await world.taps.open(world.update(), made.request.id)
    await world.taps.consent(world.update(), made.request.id)
    await world.settle()
    assert await rows(world) == 0
    world.telegram.hold.set()
    await world.settle()
    assert await pending(world, made.request.id) == (True, False)
    assert [type(one) for one in world.events].count(PhoneAsked) == 1
    job = await world.store.write(lambda tx: tx.take_job("me", 60_000))
    while job is not None and job.kind != ASK_PHONE:
        job = await world.store.write(lambda tx: tx.take_job("me", 60_000))
    assert job is not None
    assert job.subject == made.request.id
    found = await world.store.read(lambda tx: question(tx, job))
    assert found is not None
    assert (found.project.id, found.subscriber.person) == (world.caller.project.id, ANN)


async def test_a_subscriber_is_asked_too(world: World) -> None:
    """Opening the link brings the code, and then the question."""
    await world.subscribe()
    made = await world.service.request(world.caller, None, LOGIN, asks_phone=True)
    await world.taps.open(world.update(), made.request.id)
    await world.settle()
    assert await pending(world, made.request.id) == (True, False)


async def test_nobody_else_is_asked(world: World) -> None:
    """Not without the wish, not in MAX, not while nobody knows whether the code arrived."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    in_max = await asked(world, MAX_ANN)
    world.telegram.script = [Unknown()]
    unknown = await asked(world, BOB)
    for one in (request_id, in_max, unknown):
        assert await pending(world, one) == (False, False)
    assert await rows(world) == 0
    await world.taps.again(world.update(BOB), unknown)
    await world.settle()
    assert await pending(world, unknown) == (True, False)


async def test_only_where_it_can_be_proved(world: World) -> None:
    """A request that nobody in Telegram could answer is refused at once; a channel that is off is that first."""
    with pytest.raises(PhoneUnavailable):
        await world.service.request(world.caller, Channel.MAX, LOGIN, asks_phone=True)
    world.service._bots = NamedBots({Channel.MAX: "id1_bot"})
    with pytest.raises(PhoneUnavailable):
        await world.service.request(world.caller, None, LOGIN, asks_phone=True)
    with pytest.raises(ChannelUnavailable):
        await world.service.request(world.caller, Channel.TELEGRAM, LOGIN, asks_phone=True)
    await world.service.request(world.caller, None, LOGIN)


# ---- what counts


async def test_shared_and_told_once(world: World) -> None:
    """The first reading erases it; the question is answered, and says so to nobody else."""
    request_id = await asked(world)
    outcome = await world.phones.share(world.update(), GIVEN, own=True)
    assert isinstance(outcome, NumberTaken)
    assert outcome.project.id == world.caller.project.id
    assert await pending(world, request_id) == (False, True)
    assert await told(world, request_id) == NUMBER
    assert await told(world, request_id) is None
    assert await pending(world, request_id) == (False, False)
    assert await rows(world) == 0
    assert [type(one) for one in world.events].count(PhoneShared) == 1


async def test_of_many_who_read_at_once_one_is_told(world: World) -> None:
    """The row that goes is the decision."""
    request_id = await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    answers = await asyncio.gather(*(told(world, request_id) for _ in range(8)))
    assert [one for one in answers if one] == [NUMBER]


async def test_only_their_own_contact(world: World) -> None:
    """Somebody else's, and one that is written: nothing is stored, and the question stays open."""
    request_id = await asked(world)
    foreign = await world.phones.share(world.update(), GIVEN, own=False)
    assert foreign == NumberUnfit(world.caller.project, Unfit.FOREIGN)
    assert await world.phones.typed(world.update()) == NumberUnfit(world.caller.project, Unfit.TYPED)
    assert await pending(world, request_id) == (True, False)


async def test_a_number_that_is_none(world: World) -> None:
    """The messenger would say the same again, so the question is over."""
    request_id = await asked(world)
    outcome = await world.phones.share(world.update(), "88801234567", own=True)
    assert outcome == NumberUnfit(world.caller.project, Unfit.UNUSABLE)
    assert await pending(world, request_id) == (False, False)


async def test_passed_over(world: World) -> None:
    """The site is told nothing, and the code works."""
    request_id = await asked(world)
    assert await world.phones.skip(world.update()) == NumberSkipped(world.caller.project)
    assert await pending(world, request_id) == (False, False)
    assert isinstance(await world.phones.share(world.update(), GIVEN, own=True), NumberUnasked)
    sub = (await world.service.status(world.caller, request_id)).subscriber_id
    assert (await world.verify(str(sub), world.telegram.codes[-1], request_id=request_id)).reason is None


async def test_nobody_asks(world: World) -> None:
    """A contact out of the blue, a question that another person was asked, one whose time is over."""
    assert await world.phones.share(world.update(), GIVEN, own=True) == NumberUnasked()
    request_id = await asked(world)
    assert await world.phones.share(world.update(BOB), GIVEN, own=True) == NumberUnasked()
    world.clock.advance(ms=PHONE_ASKED_MS)
    assert await world.phones.share(world.update(), GIVEN, own=True) == NumberUnasked()
    assert await pending(world, request_id) == (False, False)


async def test_an_update_that_comes_twice(world: World) -> None:
    """The second one changes nothing, also after the number was told."""
    request_id = await asked(world)
    update = world.update()
    assert isinstance(await world.phones.share(update, GIVEN, own=True), NumberTaken)
    assert await told(world, request_id) == NUMBER
    assert isinstance(await world.phones.share(update, GIVEN, own=True), Repeated)
    assert await told(world, request_id) is None


async def test_a_second_tap_is_answered_as_the_first(world: World) -> None:
    """The first answer may have been lost with the process."""
    request_id = await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    assert isinstance(await world.phones.share(world.update(), GIVEN, own=True), NumberTaken)
    assert isinstance(await world.phones.share(world.update(), GIVEN, own=False), NumberUnasked)
    assert isinstance(await world.phones.skip(world.update()), NumberUnasked)
    assert await told(world, request_id) == NUMBER


async def test_the_newest_question_takes_the_place_of_the_one_before(world: World) -> None:
    """One keyboard is on the screen: its tap answers its own question, and no tap ever answers an older one."""
    first, second = await asked(world), await asked(world, other=True)
    assert await pending(world, first) == (False, False)
    outcome = await world.phones.share(world.update(), GIVEN, own=True)
    assert isinstance(outcome, NumberTaken)
    assert outcome.project.id == world.other.project.id
    await world.phones.share(world.update(), GIVEN, own=True)
    assert await told(world, first) is None
    assert await told(world, second, other=True) == NUMBER


async def test_a_question_that_is_not_out_takes_no_answer(world: World) -> None:
    """The messenger may hold it up for long: what is tapped meanwhile is the keyboard of the question before."""
    first, second = await asked(world), await asked(world, other=True, out=False)
    outcome = await world.phones.share(world.update(), GIVEN, own=True)
    assert isinstance(outcome, NumberTaken)
    assert outcome.project.id == world.caller.project.id
    assert await told(world, second, other=True) is None
    assert await told(world, first) == NUMBER
    assert await world.phones.share(world.update(), GIVEN, own=True) == NumberUnasked()


async def test_a_question_that_did_not_go_out_takes_no_answer(world: World) -> None:
    """It has another chance."""
    request_id = await asked(world)
    await world.store.write(lambda tx: tx.hide_number(request_id))
    assert await world.phones.share(world.update(), GIVEN, own=True) == NumberUnasked()
    assert await pending(world, request_id) == (True, False)


async def test_an_answer_that_waits_survives_another_question(world: World) -> None:
    """Only what is open is replaced."""
    first = await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    await asked(world, other=True)
    await world.phones.skip(world.update())
    assert await told(world, first) == NUMBER


async def test_no_other_project_is_told(world: World) -> None:
    """Its requests do not exist for anybody else."""
    request_id = await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    with pytest.raises(RequestNotFound):
        await told(world, request_id, other=True)
    with pytest.raises(RequestNotFound):
        await take(world.store, world.rules, replace(world.caller, mode=Mode.TEST), request_id)
    assert await told(world, request_id) == NUMBER


async def test_a_paused_project(world: World) -> None:
    """It asks for nothing meanwhile; its question stands."""
    request_id = await asked(world)
    await world.projects.set_enabled(world.caller.project.id, False)
    assert await world.phones.share(world.update(), GIVEN, own=True) == Dead(Unusable.PAUSED)
    await world.projects.set_enabled(world.caller.project.id, True)
    assert isinstance(await world.phones.share(world.update(), GIVEN, own=True), NumberTaken)
    assert await told(world, request_id) == NUMBER


# ---- how long it stays


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("how", ["leave", "forget", "report", "delete", "purge"])
async def test_gone_with_what_it_belongs_to(world: World, how: str, shared: bool) -> None:
    """Who leaves, is forgotten or says that it was not them; a project that is deleted; a request that is over."""
    request_id = await asked(world)
    sub = str((await world.service.status(world.caller, request_id)).subscriber_id)
    if shared:
        await world.phones.share(world.update(), GIVEN, own=True)
    match how:
        case "leave":
            await world.taps.leave(world.update(), sub)
        case "forget":
            await world.store.write(lambda tx: forget(tx, world.rules, world.caller, sub))
        case "report":
            sent = (await world.deliveries(request_id))[-1]
            await world.protection.not_me(world.update(), sent.code_id)
        case "delete":
            await world.projects.delete(world.caller.project.id)
        case "purge":
            world.clock.advance(ms=REQUEST_KEPT_MS)
            await world.store.write(lambda tx: tx.purge(100))
    assert await rows(world) == 0
    if how in ("leave", "report", "forget"):
        assert await pending(world, request_id) == (False, False)
        assert await told(world, request_id) is None


async def test_not_kept_unless_the_project_says_so(world: World) -> None:
    """Then it stays with the subscriber, in the place of the one before, until they leave or the project thinks better."""
    await world.projects.update(world.caller.project.id, Change(keep_phone=True))
    request_id = await asked(world)
    sub = str((await world.service.status(world.caller, request_id)).subscriber_id)
    await world.phones.share(world.update(), GIVEN, own=True)
    assert await told(world, request_id) == NUMBER
    assert await kept(world, sub) == NUMBER
    await asked(world)
    await world.phones.share(world.update(), "442071838750", own=True)
    assert await kept(world, sub) == "+442071838750"
    await world.projects.update(world.caller.project.id, Change(keep_phone=False))
    assert await kept(world, sub) is None
    await world.projects.update(world.caller.project.id, Change(keep_phone=True))
    await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    await world.taps.leave(world.update(), sub)
    assert await kept(world, sub) is None
    assert await rows(world) == 0


async def kept(world: World, subscriber_id: str) -> str | None:
    """What is kept of a subscriber."""
    return await world.store.read(lambda tx: phones.kept(tx, world.rules.seals, subscriber_id))


async def test_what_is_kept_survives_its_key(world: World) -> None:
    """It is sealed anew under the first key, so that the old one can go; what can't be opened is as good as gone."""
    await world.projects.update(world.caller.project.id, Change(keep_phone=True))
    subs = []
    for person in (ANN, BOB):
        request_id = await asked(world, person)
        subs.append(str((await world.service.status(world.caller, request_id)).subscriber_id))
        await world.phones.share(world.update(person), GIVEN, own=True)
    keys = KeyRing(KEYS).sealing_keys()
    first, second = keys
    turned = AeadSeals({second: keys[second], first: keys[first]}, SeededRandomness("turned"))
    assert await reseal(world.store, turned) == 2
    assert await reseal(world.store, turned) == 0
    world.rules = replace(world.rules, seals=AeadSeals({second: keys[second]}, SeededRandomness("alone")))
    assert [await kept(world, sub) for sub in subs] == [NUMBER, NUMBER]
    world.rules = replace(world.rules, seals=AeadSeals({first: keys[first]}, SeededRandomness("lost")))
    assert await kept(world, subs[0]) is None
    assert await reseal(world.store, world.rules.seals) == 0


async def test_a_number_whose_key_is_gone(world: World) -> None:
    """Nothing is told, and it is erased all the same."""
    request_id = await asked(world)
    await world.phones.share(world.update(), GIVEN, own=True)
    world.rules = replace(world.rules, seals=AeadSeals({}, SeededRandomness("none")))
    assert await told(world, request_id) is None
    assert await rows(world) == 0


async def test_a_cancelled_request_never_asks(world: World) -> None:
    """Nor one whose delivery was refused: there is no code in the chat."""
    world.telegram.script = [Refused(Refusal.REJECTED)]
    request_id = await asked(world)
    await world.taps.cancel(world.update(), request_id)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED
    assert await rows(world) == 0
    assert Cause.CONSENT in [one.cause for one in await world.deliveries(request_id)]


async def test_nothing_tells_the_number(world: World) -> None:
    """No event, no outcome, no row as it is read, no repr of the state."""
    await world.projects.update(world.caller.project.id, Change(keep_phone=True))
    request_id = await asked(world)
    outcome = await world.phones.share(world.update(), GIVEN, own=True)
    row = await world.store.read(lambda tx: tx.asked_number(request_id))
    state = await world.service.status(world.caller, request_id)
    sub = str(state.subscriber_id)
    profile = await world.store.read(lambda tx: tx.profile(world.caller.project.id, Mode.LIVE, sub))
    assert profile is not None
    things = [outcome, row, state, replace(profile, phone=NUMBER), *world.events]
    assert not [one for one in things if GIVEN in repr(one)]

    sealed = await stored(world)
    assert len(sealed) == 2
    assert not [one for one in sealed if one is None or GIVEN.encode() in one]
