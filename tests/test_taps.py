"""What a person can do in the chat, and what it does."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from otp.codes import KeyRing
from otp.events import (
    DeliverySettled,
    RequestBound,
    RequestOpened,
    SubscriberJoined,
    SubscriberLeft,
    SubscriberUnlocked,
)
from otp.model import (
    Cause,
    Channel,
    DeliveryState,
    Ending,
    MessageKind,
    Mode,
    Person,
    Refusal,
    RequestStatus,
    Subscriber,
)
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Dead,
    Ended,
    Hurdle,
    MustUnlock,
    NotYours,
    Offered,
    Repeated,
    Subscriptions,
    TooLate,
    Unlocked,
    Unusable,
)
from otp.policy import Policy
from otp.ports import Accepted, NotSent, Outcome, Refused, Store, Unknown
from otp.service import Reason
from otp.taps import Taps
from tests.fakes import FakeClock
from tests.world import ANN, BOB, CAT, LOGIN, World, make_world, wrong


async def asked(world: World, person: Person = ANN) -> str:
    """A request whose question the person has on the screen; its id."""
    request_id = await world.request()
    assert isinstance(await world.taps.open(world.update(person), request_id), Asked)
    return request_id


async def held_at_the_end(world: World, clock: FakeClock) -> tuple[str, asyncio.Event]:
    """A request whose delivery began 2 s before its 900 s were over and is at the messenger until the event is set."""
    request_id = await asked(world)
    clock.advance(minutes=15, ms=-2000)
    hold = world.telegram.hold = asyncio.Event()
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    return request_id, hold


async def status(world: World, request_id: str) -> RequestStatus:
    """What the site sees."""
    return (await world.service.status(world.caller, request_id)).status


async def test_what_is_written_later_lies_behind(world: World, clock: FakeClock) -> None:
    """A delivery's ids begin with its time, whatever was drawn for them."""
    found = []
    for person in (ANN, BOB, CAT, Person(Channel.MAX, 7004)):
        request_id = await asked(world, person)
        await world.taps.consent(world.update(person), request_id)
        await world.settle()
        found += await world.deliveries(request_id)
        clock.advance(ms=1)
    for ids in ([one.id for one in found], [one.code_id for one in found]):
        assert ids == sorted(ids)
        assert {UUID(one).version for one in ids} == {7}
        assert len({one[20:] for one in ids}) == len(ids)


async def how_it_ended(world: World, request_id: str) -> tuple[DeliveryState, Refusal | None]:
    """The state of the only delivery of a request."""
    [delivery] = await world.deliveries(request_id)
    return delivery.state, delivery.refusal


# ------------------------------------------------------------------ opening and consent


async def test_opening_asks_and_changes_nothing(world: World) -> None:
    """The question names the project; the request stays pending and belongs to nobody."""
    request_id = await world.request()
    for person in (ANN, BOB):
        got = await world.taps.open(world.update(person), request_id)
        assert isinstance(got, Asked)
        assert got.project == world.caller.project
    assert await status(world, request_id) is RequestStatus.PENDING
    assert world.telegram.parcels == []


async def test_consent_subscribes_and_brings_one_code(world: World) -> None:
    """The site then knows subscriber and channel."""
    request_id = await asked(world, CAT)
    assert isinstance(await world.taps.consent(world.update(CAT), request_id), Coming)
    await world.settle()
    state = await world.service.status(world.caller, request_id)
    assert (state.status, state.channel) == (RequestStatus.SENT, Channel.MAX)
    assert state.subscriber_id is not None
    assert (await world.verify(state.subscriber_id, world.max.codes[0], request_id=request_id)).reason is None
    assert len(world.max.parcels) == 1


async def test_a_request_is_opened_once_and_bound_once(world: World) -> None:
    """Whoever opens it, and however often the bound person asks again."""
    world.telegram.script = [Refused(Refusal.REJECTED)]
    request_id = await asked(world)
    await asked(world, BOB)
    await world.taps.open(world.update(BOB), request_id)
    for act in (world.taps.consent, world.taps.again):
        await act(world.update(), request_id)
        await world.settle()
    assert len(world.telegram.parcels) == 2
    opened = [one.request.id for one in world.events if isinstance(one, RequestOpened)]
    bound = [one.request.id for one in world.events if isinstance(one, RequestBound)]
    assert opened.count(request_id) == bound.count(request_id) == 1


async def test_many_presses_at_once_are_one_consent(world: World) -> None:
    """Ten presses: one code."""
    request_id = await asked(world)
    got = await asyncio.gather(*[world.taps.consent(world.update(), request_id) for _ in range(10)])
    await world.settle()
    assert sum(isinstance(one, Coming) and one.fresh for one in got) == 1
    assert len(world.telegram.parcels) == 1


async def test_an_update_that_comes_again_does_nothing(world: World) -> None:
    """Question, consent, leaving: each redelivery is recognised."""
    request_id = await world.request()
    first = world.update()
    await world.taps.open(first, request_id)
    assert isinstance(await world.taps.open(first, request_id), Repeated)
    press = world.update()
    await world.taps.consent(press, request_id)
    await world.settle()
    assert isinstance(await world.taps.consent(press, request_id), Repeated)
    assert isinstance(await world.taps.gone(press), Repeated)
    assert len(world.telegram.parcels) == 1


async def test_a_subscriber_gets_the_code_at_once(world: World) -> None:
    """Opening is consent; three openings at once are one message."""
    await world.subscribe()
    request_id = await world.request()
    got = await asyncio.gather(*[world.taps.open(world.update(), request_id) for _ in range(3)])
    await world.settle()
    assert all(isinstance(one, (Coming, Dead)) for one in got)
    assert len(world.telegram.parcels) == 2
    assert world.telegram.parcels[-1].delivery.cause is Cause.OPEN
    assert await status(world, request_id) is RequestStatus.SENT


async def test_only_the_first_person_gets_a_request(world: World) -> None:
    """Who comes later is told that the link was used, whatever they press."""
    request_id = await asked(world)
    await asked(world, BOB)
    await world.taps.open(world.update(BOB), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    for act in (world.taps.open, world.taps.consent, world.taps.cancel, world.taps.again):
        assert await act(world.update(BOB), request_id) in (Dead(Unusable.USED), NotYours())
    assert len(world.telegram.parcels) == 1
    assert await status(world, request_id) is RequestStatus.SENT


async def test_a_stranger_can_not_press_what_was_not_shown_to_them(world: World) -> None:
    """Forged data does nothing, and the person can go on."""
    request_id = await asked(world)
    for act in (world.taps.consent, world.taps.cancel, world.taps.again):
        assert isinstance(await act(world.update(BOB), request_id), NotYours)
    assert await status(world, request_id) is RequestStatus.PENDING
    assert isinstance(await world.taps.consent(world.update(), request_id), Coming)


@pytest.mark.parametrize(
    "garbage", ["", "x" * 16, "A" * 15, "A" * 17, "ÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄÄ", "' OR 1=1 --aaaaa", "AAAA AAAA AAAA A"]
)
async def test_a_link_that_is_none(world: World, garbage: str) -> None:
    """Whatever stands in the place of an id: unknown."""
    assert await world.taps.open(world.update(), garbage) == Dead(Unusable.UNKNOWN)


async def test_a_request_for_one_channel_is_foreign_in_the_other(world: World) -> None:
    """Typed into the other messenger it does nothing."""
    request_id = await world.request(channel=Channel.MAX)
    assert await world.taps.open(world.update(ANN), request_id) == Dead(Unusable.FOREIGN)
    assert isinstance(await world.taps.open(world.update(CAT), request_id), Asked)


async def test_after_its_time_a_link_and_its_buttons_are_dead(world: World, clock: FakeClock) -> None:
    """Nothing is sent; the sweep writes the end down once."""
    request_id = await asked(world)
    clock.advance(minutes=15)
    for act in (world.taps.open, world.taps.consent, world.taps.cancel, world.taps.again):
        assert await act(world.update(), request_id) == Dead(Unusable.EXPIRED)
    assert world.telegram.parcels == []
    assert await status(world, request_id) is RequestStatus.EXPIRED


async def test_a_paused_project_says_so(world: World) -> None:
    """Links and buttons wait; enabled again they work."""
    request_id = await asked(world)
    await world.projects.set_enabled(world.caller.project.id, False)
    assert await world.taps.open(world.update(), request_id) == Dead(Unusable.PAUSED)
    assert await world.taps.consent(world.update(), request_id) == Dead(Unusable.PAUSED)
    await world.projects.set_enabled(world.caller.project.id, True)
    assert isinstance(await world.taps.consent(world.update(), request_id), Coming)


async def test_a_deleted_project_leaves_an_unknown_link(world: World) -> None:
    """Its links and buttons are nobody's."""
    request_id = await asked(world)
    await world.projects.delete(world.caller.project.id)
    assert await world.taps.open(world.update(), request_id) == Dead(Unusable.UNKNOWN)
    assert isinstance(await world.taps.consent(world.update(), request_id), NotYours)


# ------------------------------------------------------------------ cancel


async def test_cancel_is_for_ever(world: World) -> None:
    """Consent and opening after it do nothing."""
    request_id = await asked(world)
    assert isinstance(await world.taps.cancel(world.update(), request_id), Cancelled)
    assert await world.taps.consent(world.update(), request_id) == Dead(Unusable.CANCELLED)
    assert await world.taps.open(world.update(), request_id) == Dead(Unusable.CANCELLED)
    assert await status(world, request_id) is RequestStatus.CANCELLED
    assert world.telegram.parcels == []


async def test_consent_and_cancel_at_once_are_one_end(world: World) -> None:
    """Sent with one code or cancelled with none, whoever comes first."""
    for order in ("consent cancel", "cancel consent"):
        request_id = await asked(world)
        before = len(world.telegram.parcels)
        acts = [getattr(world.taps, name) for name in order.split()]
        await asyncio.gather(*[act(world.update(), request_id) for act in acts])
        await world.settle()
        codes = len(world.telegram.parcels) - before
        assert (await status(world, request_id), codes) in (
            (RequestStatus.SENT, 1),
            (RequestStatus.CANCELLED, 0),
        )
        await world.taps.gone(world.update())


async def test_anybody_who_was_asked_may_cancel_until_somebody_consents(world: World) -> None:
    """A second person with the same question ends it."""
    request_id = await asked(world)
    await world.taps.open(world.update(BOB), request_id)
    assert isinstance(await world.taps.cancel(world.update(BOB), request_id), Cancelled)
    assert await world.taps.consent(world.update(), request_id) == Dead(Unusable.CANCELLED)


async def test_no_cancel_while_the_code_is_being_handed_over(world: World) -> None:
    """It is too late then; the code arrives."""
    request_id = await asked(world)
    world.telegram.hold = asyncio.Event()
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    got = await world.taps.consent(world.update(), request_id)
    assert got == Coming(world.caller.project, Cause.CONSENT, fresh=False)
    assert await world.taps.cancel(world.update(), request_id) == TooLate(world.caller.project)
    world.telegram.hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.SENT


async def test_a_cancel_that_is_too_late_changes_nothing(world: World) -> None:
    """The code that may have arrived is at the messenger once more: it stays good."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    world.telegram.hold = asyncio.Event()
    await world.taps.again(world.update(), request_id)
    await world.settle()
    got = await world.taps.again(world.update(), request_id)
    assert got == Coming(world.caller.project, Cause.AGAIN, fresh=False)
    assert isinstance(await world.taps.cancel(world.update(), request_id), TooLate)
    world.telegram.hold.set()
    await world.settle()
    state = await world.service.status(world.caller, request_id)
    assert state.subscriber_id is not None
    assert (await world.verify(state.subscriber_id, world.telegram.codes[-1])).reason is None


async def test_cancel_kills_a_code_that_may_have_arrived(world: World) -> None:
    """After an unknown delivery, Cancel ends request and code, and its message says which end that was."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    sub = world.telegram.parcels[0].delivery.subscriber_id
    got = await world.taps.cancel(world.update(), request_id)
    assert isinstance(got, Cancelled)
    assert (got.project, got.request.id) == (world.caller.project, request_id)
    code_id = world.telegram.parcels[0].delivery.code_id
    got = await world.protection.repeat(world.update(), code_id)
    assert got == Ended(world.caller.project, Ending.WITHDRAWN)
    assert (await world.verify(sub, world.telegram.codes[0])).reason is Reason.NO_ACTIVE_CODE
    assert await status(world, request_id) is RequestStatus.CANCELLED


async def test_cancel_withdraws_what_waits_for_its_next_attempt(world: World, clock: FakeClock) -> None:
    """Settled at once; nothing is sent afterwards."""
    request_id = await asked(world)
    world.telegram.script = [NotSent(60_000)]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    assert isinstance(await world.taps.cancel(world.update(), request_id), Cancelled)
    assert await how_it_ended(world, request_id) == (DeliveryState.REFUSED, Refusal.WITHDRAWN)
    clock.advance(minutes=2)
    await world.settle()
    assert len(world.telegram.parcels) == 1


# ------------------------------------------------------------------ a delivery that fails


@pytest.mark.parametrize("outcome", [Unknown(), Refused(Refusal.REJECTED), NotSent(16 * 60_000)])
async def test_a_failed_delivery_offers_to_send_again(world: World, outcome: Outcome) -> None:
    """The request stays pending with an offer; only that button sends, neither the old one nor the link."""
    request_id = await asked(world)
    world.telegram.script = [outcome]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    assert await status(world, request_id) is RequestStatus.PENDING
    settled = [event for event in world.events if isinstance(event, DeliverySettled)]
    assert settled[-1].offer is not None
    assert (settled[-1].project, settled[-1].language) == (world.caller.project, "en")
    told = settled[-1].delivery
    assert await how_it_ended(world, request_id) == (told.state, told.refusal)
    for act in (world.taps.consent, world.taps.open):
        got = await act(world.update(), request_id)
        assert isinstance(got, Offered)
        assert (got.why, got.minutes, got.project) == (Hurdle.FAILED, 0, world.caller.project)
        assert (got.request.id, got.message.kind) == (request_id, MessageKind.OFFER)
    await world.settle()
    assert len(world.telegram.parcels) == 1
    assert await world.taps.again(world.update(), request_id) == Coming(
        world.caller.project, Cause.AGAIN, fresh=True
    )
    await world.settle()
    assert len(world.telegram.parcels) == 2
    assert await status(world, request_id) is RequestStatus.SENT


async def test_send_again_repeats_the_code_while_it_lives(world: World, clock: FakeClock) -> None:
    """The same digits, the same time and attempts."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    sub = world.telegram.parcels[0].delivery.subscriber_id
    await world.verify(sub, wrong(world.telegram.codes[0]))
    clock.advance(minutes=3)
    await world.taps.again(world.update(), request_id)
    await world.settle()
    first, second = world.telegram.parcels
    assert (second.digits, second.minutes) == (first.digits, 2)
    assert (await world.verify(sub, wrong(first.digits))).attempts_left == LOGIN.max_attempts - 2
    clock.advance(minutes=2)
    assert (await world.verify(sub, first.digits)).reason is Reason.NO_ACTIVE_CODE


async def test_send_again_makes_a_new_code_when_the_old_one_is_dead(world: World, clock: FakeClock) -> None:
    """After its time another one comes, and it is good."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    clock.advance(minutes=6)
    await world.taps.again(world.update(), request_id)
    await world.settle()
    first, second = world.telegram.codes
    sub = world.telegram.parcels[0].delivery.subscriber_id
    assert first != second
    assert (await world.verify(sub, second, request_id=request_id)).reason is None


async def test_send_again_repeats_no_code_that_is_not_the_requests_own(world: World) -> None:
    """A code of `/send` took its place meanwhile: the request gets one of its own."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    sub = world.telegram.parcels[0].delivery.subscriber_id
    await world.service.send(world.caller, sub, LOGIN)
    await world.taps.again(world.update(), request_id)
    await world.settle()
    assert len(set(world.telegram.codes)) == 3
    assert (await world.verify(sub, world.telegram.codes[-1], request_id=request_id)).reason is None


async def test_send_again_makes_a_new_code_when_the_key_of_the_old_one_is_gone(world: World) -> None:
    """Nobody can tell the old one any more."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    rotated = replace(world.rules, keys=KeyRing(["another-key-" + "z" * 30]))
    await Taps(world.store, rotated).again(world.update(), request_id)
    first, second = await world.deliveries(request_id)
    assert (second.reuses, second.code_id == first.code_id) == (False, False)


async def test_send_again_asks_who_has_left_or_never_consented(world: World) -> None:
    """The button brings the question, and no code."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.taps.gone(world.update())
    theirs = await asked(world, BOB)
    for person, pressed in ((ANN, request_id), (BOB, theirs)):
        got = await world.taps.again(world.update(person), pressed)
        assert isinstance(got, Asked)
        assert (got.project, got.request.id) == (world.caller.project, pressed)
    await world.settle()
    assert len(world.telegram.parcels) == 1


async def test_a_repeated_code_that_was_used_meanwhile_does_not_revive(world: World) -> None:
    """The code is verified while its repeat is at the messenger."""
    request_id = await asked(world)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    world.telegram.hold = asyncio.Event()
    await world.taps.again(world.update(), request_id)
    await world.settle()
    sub = world.telegram.parcels[0].delivery.subscriber_id
    assert (await world.verify(sub, world.telegram.codes[0])).reason is None
    world.telegram.hold.set()
    await world.settle()
    assert (await world.verify(sub, world.telegram.codes[0])).reason is Reason.NO_ACTIVE_CODE


async def test_an_unreachable_messenger_is_tried_until_the_end_of_the_request(
    world: World, clock: FakeClock
) -> None:
    """In the background, with growing waits; when it is back the code arrives."""
    request_id = await asked(world)
    world.telegram.script = [NotSent()] * 10
    await world.taps.consent(world.update(), request_id)
    for _ in range(60):
        await world.settle()
        clock.advance(seconds=1)
    await world.settle()
    assert len(world.telegram.parcels) == 11
    assert await status(world, request_id) is RequestStatus.SENT


async def test_nothing_is_tried_after_the_end_of_the_request(world: World, clock: FakeClock) -> None:
    """Its last attempt begins before 900 s; then it is expired and the person can ask anew."""
    request_id = await asked(world)
    world.telegram.script = [NotSent()] * 1000
    await world.taps.consent(world.update(), request_id)
    for _ in range(92):
        await world.settle()
        clock.advance(seconds=10)
    await world.settle()
    tried = len(world.telegram.parcels)
    assert world.telegram.parcels[-1].delivery.attempted_at is not None
    assert world.telegram.parcels[-1].delivery.attempted_at < world.telegram.parcels[-1].delivery.give_up_at
    assert await status(world, request_id) is RequestStatus.EXPIRED
    clock.advance(minutes=5)
    await world.settle()
    assert len(world.telegram.parcels) == tried
    assert (await world.deliveries(request_id))[0].state is DeliveryState.REFUSED


async def test_a_delivery_over_the_end_keeps_the_request_pending(world: World, clock: FakeClock) -> None:
    """Claimed before 900 s, accepted after: sent."""
    request_id, hold = await held_at_the_end(world, clock)
    for seconds in (2, 8):  # at its end, and some seconds later
        clock.advance(seconds=seconds)
        assert await status(world, request_id) is RequestStatus.PENDING
    hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.SENT


async def test_an_outcome_after_the_grace_does_not_revive_the_request(world: World, clock: FakeClock) -> None:
    """What was seen expired stays expired."""
    request_id, hold = await held_at_the_end(world, clock)
    clock.advance(seconds=17)
    assert await status(world, request_id) is RequestStatus.EXPIRED
    hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.EXPIRED


@pytest.mark.parametrize("outcome", [Accepted("m9"), Unknown()])
async def test_an_outcome_after_the_grace_is_too_late_for_the_request(
    world: World, clock: FakeClock, outcome: Outcome
) -> None:
    """Though nobody saw it expire yet: it is not sent, and nothing is offered for it."""
    world.telegram.script = [outcome]
    request_id, hold = await held_at_the_end(world, clock)
    clock.advance(seconds=17)
    hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.EXPIRED
    assert [event.offer for event in world.events if isinstance(event, DeliverySettled)] == [None]


async def test_with_no_time_for_an_attempt_the_offer_comes_at_once(world: World, clock: FakeClock) -> None:
    """Half a second before the end of its request."""
    await world.subscribe()
    request_id = await world.request()
    clock.advance(minutes=15, ms=-500)
    await world.taps.open(world.update(), request_id)
    await world.settle()
    assert await how_it_ended(world, request_id) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    settled = [event for event in world.events if isinstance(event, DeliverySettled)]
    assert settled[-1].offer is not None
    assert len(world.telegram.parcels) == 1


async def test_the_limit_of_taps_is_told_in_minutes(world: World, clock: FakeClock) -> None:
    """The sixth code by link waits, and the same button works when there is room."""
    await world.subscribe()
    for _ in range(4):
        await world.taps.open(world.update(), await world.request())
        await world.settle()
    clock.advance(minutes=3)
    request_id = await world.request()
    got = await world.taps.open(world.update(), request_id)
    assert isinstance(got, Offered)
    assert (got.why, got.minutes, got.project) == (Hurdle.LIMIT, 7, world.caller.project)
    clock.advance(minutes=7)
    assert isinstance(await world.taps.again(world.update(), request_id), Coming)


async def test_a_second_request_meanwhile_waits_its_turn(world: World) -> None:
    """One code of a purpose is on its way; the other request is offered again later."""
    await world.subscribe()
    first, second = await world.request(), await world.request()
    world.telegram.hold = asyncio.Event()
    await world.taps.open(world.update(), first)
    await world.settle()
    got = await world.taps.open(world.update(), second)
    assert isinstance(got, Offered)
    assert (got.why, got.project) == (Hurdle.BUSY, world.caller.project)
    world.telegram.hold.set()
    await world.settle()
    await world.taps.again(world.update(), second)
    await world.settle()
    assert await status(world, second) is RequestStatus.SENT


async def test_five_purposes_are_enough_for_a_tap_too(store: Store, clock: FakeClock) -> None:
    """One sentence; the request stays pending."""
    world = await make_world(store, clock, Policy(send_limit=100))
    sub = await world.subscribe()
    for number in range(4):
        await world.service.send(world.caller, sub, replace(LOGIN, purpose=f"p{number}"))
    request_id = await world.request(terms=replace(LOGIN, purpose="p9"))
    got = await world.taps.open(world.update(), request_id)
    assert isinstance(got, Offered)
    assert (got.why, got.project) == (Hurdle.PURPOSES, world.caller.project)
    assert await status(world, request_id) is RequestStatus.PENDING


# ------------------------------------------------------------------ leaving and coming back


async def test_leaving_kills_codes_and_coming_back_keeps_the_id(world: World) -> None:
    """Asked again, the same subscriber; the old code stays dead."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    await world.taps.gone(world.update())
    assert (await world.verify(sub, code)).reason is Reason.NO_ACTIVE_CODE
    assert await world.subscribe() == sub
    assert (await world.verify(sub, code)).reason is not None
    joined = [event.subscriber for event in world.events if isinstance(event, SubscriberJoined)]
    assert joined == [Subscriber(sub, world.caller.project.id, Mode.LIVE, ANN, "en", True, 0, False)] * 2
    [left] = [event.subscriber for event in world.events if isinstance(event, SubscriberLeft)]
    assert (left.id, left.subscribed) == (sub, False)


async def test_leaving_one_project_leaves_the_others(world: World) -> None:
    """The list shows what is left, and what was left."""
    sub = await world.subscribe()
    await world.subscribe(ANN, world.other)
    got = await world.taps.leave(world.update(), sub)
    assert isinstance(got, Subscriptions)
    assert got.left == world.caller.project
    assert [project for _, project in got.joined] == [world.other.project]


async def test_nobody_leaves_for_somebody_else(world: World) -> None:
    """A button's data acts only for its own person."""
    sub = await world.subscribe()
    assert isinstance(await world.taps.leave(world.update(BOB), sub), NotYours)
    assert isinstance(await world.taps.unlock(world.update(BOB), sub, None), NotYours)
    assert isinstance(await world.taps.leave(world.update(), "no such id"), NotYours)
    found = await world.taps.look(world.update())
    assert isinstance(found, Subscriptions)
    assert len(found.joined) == 1


async def test_an_old_question_is_a_fresh_consent_after_leaving(world: World) -> None:
    """Bound, left before the code went out, asked again by the old button: subscribes and sends."""
    request_id = await asked(world)
    world.telegram.script = [Refused(Refusal.GONE)]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    found = await world.taps.look(world.update())
    assert isinstance(found, Subscriptions)
    assert found.joined == []
    assert [event.offer for event in world.events if isinstance(event, DeliverySettled)] == [None]
    assert isinstance(await world.taps.consent(world.update(), request_id), Coming)
    await world.settle()
    assert await status(world, request_id) is RequestStatus.SENT


async def test_a_person_who_left_gets_nothing_that_waited(world: World, clock: FakeClock) -> None:
    """A claimed message is withdrawn by leaving, at once."""
    request_id = await asked(world)
    world.telegram.script = [NotSent()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.taps.gone(world.update())
    assert await how_it_ended(world, request_id) == (DeliveryState.REFUSED, Refusal.WITHDRAWN)
    clock.advance(minutes=1)
    await world.settle()
    assert len(world.telegram.parcels) == 1


async def test_a_code_that_arrives_after_leaving_is_dead(world: World) -> None:
    """The message was at the messenger when the person left."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    await world.taps.gone(world.update())
    world.telegram.hold.set()
    await sending
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.NO_ACTIVE_CODE


# ------------------------------------------------------------------ the lock


@pytest.fixture
async def locked(store: Store, clock: FakeClock) -> tuple[World, str]:
    """A world with a locked subscriber."""
    world = await make_world(store, clock, Policy(guess_budget=3))
    sub = await world.subscribe()
    for _ in range(3):
        await world.verify(sub, wrong(world.telegram.codes[-1]))
    return world, sub


async def test_a_locked_person_is_asked_to_unlock_before_any_code(locked: tuple[World, str]) -> None:
    """The link brings the question; Unlock brings the code and a fresh count."""
    world, sub = locked
    request_id = await world.request()
    got = await world.taps.open(world.update(), request_id)
    assert isinstance(got, MustUnlock)
    assert (got.project, got.request.id, got.subscriber.wrong_guesses) == (
        world.caller.project,
        request_id,
        3,
    )
    assert (got.message.kind, got.message.request_id) == (MessageKind.UNLOCK, request_id)
    assert await world.taps.unlock(world.update(), sub, request_id) == Coming(
        world.caller.project, Cause.UNLOCK, fresh=True
    )
    await world.settle()
    code = world.telegram.codes[-1]
    assert (await world.verify(sub, wrong(code))).attempts_left == 2
    assert (await world.verify(sub, code, request_id=request_id)).reason is None


async def test_cancel_instead_of_unlock(locked: tuple[World, str]) -> None:
    """The request ends and the lock stays."""
    world, sub = locked
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    assert isinstance(await world.taps.cancel(world.update(), request_id), Cancelled)
    assert (await world.verify(sub, "000000")).reason is Reason.LOCKED


async def test_unlock_without_a_request(locked: tuple[World, str]) -> None:
    """From the lock message or from /help: unlocked, no code."""
    world, sub = locked
    found = await world.taps.look(world.update())
    assert isinstance(found, Subscriptions)
    assert [one.id for one, _ in found.locked] == [sub]
    before = len(world.telegram.parcels)
    assert await world.taps.unlock(world.update(), sub, None) == Unlocked(world.caller.project)
    await world.settle()
    assert len(world.telegram.parcels) == before
    [unlocked] = [event.subscriber for event in world.events if isinstance(event, SubscriberUnlocked)]
    assert (unlocked.id, unlocked.locked, unlocked.wrong_guesses) == (sub, False, 0)
    assert (await world.verify(sub, "000000")).reason is Reason.NO_ACTIVE_CODE


async def test_unlock_brings_no_code_by_a_request_that_is_not_for_it(
    locked: tuple[World, str], clock: FakeClock
) -> None:
    """Of another project, run out, or after leaving: the lock opens, and that is all."""
    world, sub = locked
    theirs, late = await world.request(world.other), await world.request()
    assert await world.taps.unlock(world.update(), sub, theirs) == Unlocked(world.caller.project)
    clock.advance(minutes=15)
    assert await world.taps.unlock(world.update(), sub, late) == Unlocked(world.caller.project)
    await world.taps.gone(world.update())
    ours = await world.request()
    assert await world.taps.unlock(world.update(), sub, ours) == Unlocked(world.caller.project)
    await world.settle()
    assert len(world.telegram.parcels) == 1


async def test_a_paused_project_unlocks_nobody(locked: tuple[World, str]) -> None:
    """The button says so, and works when the pause is over."""
    world, sub = locked
    project_id = world.caller.project.id
    await world.projects.set_enabled(project_id, False)
    assert await world.taps.unlock(world.update(), sub, None) == Dead(Unusable.PAUSED)
    await world.projects.set_enabled(project_id, True)
    assert (await world.verify(sub, "000000")).reason is Reason.LOCKED
    await world.store.write(lambda tx: tx.delete_project(project_id))
    assert await world.taps.unlock(world.update(), sub, None) == Dead(Unusable.PAUSED)


async def test_leaving_does_not_open_a_lock(locked: tuple[World, str]) -> None:
    """Who leaves and comes back is still asked to unlock."""
    world, _sub = locked
    await world.taps.gone(world.update())
    request_id = await world.request()
    assert isinstance(await world.taps.open(world.update(), request_id), Asked)
    assert isinstance(await world.taps.consent(world.update(), request_id), MustUnlock)
    assert len(world.telegram.parcels) == 1
