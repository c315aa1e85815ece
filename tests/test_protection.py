"""The same code again, and "It wasn't me"."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from otp.codes import KeyRing
from otp.courier import Courier
from otp.housekeeping import purge
from otp.model import Cause, Channel, Context, DeliveryState, Ending, Refusal, RequestStatus
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Dead,
    Ended,
    NotYours,
    Refusing,
    Reported,
    TryLater,
    Unusable,
    Unwanted,
)
from otp.policy import Policy
from otp.ports import NotSent, Store, Tx, Unknown
from otp.protection import Protection
from otp.service import OtpService, Reason
from tests.fakes import FakeClock, NamedBots
from tests.world import ANN, BOB, LOGIN, World, make_world, wrong


async def with_code(world: World, context: Context | None = None) -> tuple[str, str, str, str]:
    """A person with a live code of a request: (subscriber, request, code id, digits)."""
    request_id = (await world.service.request(world.caller, None, LOGIN, context)).request.id
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    delivery = world.telegram.parcels[-1].delivery
    return delivery.subscriber_id, request_id, delivery.code_id, world.telegram.codes[-1]


async def with_an_unknown_one(world: World) -> tuple[str, str]:
    """A pending request whose code may have arrived: (request, code id)."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    return request_id, world.telegram.parcels[-1].delivery.code_id


# ------------------------------------------------------------------ send again


async def test_send_again_brings_the_same_code_with_its_time_and_attempts(
    world: World, clock: FakeClock
) -> None:
    """Time and attempts go on, the request keeps its code, nothing is made anew."""
    sub, request_id, code_id, digits = await with_code(world, Context(action="Sign in"))
    await world.verify(sub, wrong(digits))
    clock.advance(minutes=3)
    assert isinstance(await world.protection.repeat(world.update(), code_id), Coming)
    await world.settle()
    again = world.telegram.parcels[-1]
    assert (again.digits, again.minutes, len(world.telegram.parcels)) == (digits, 2, 2)
    assert again.delivery.context == Context(action="Sign in")
    assert (await world.verify(sub, wrong(digits))).attempts_left == LOGIN.max_attempts - 2
    assert (await world.verify(sub, digits, request_id=request_id)).reason is None


async def test_many_presses_at_once_are_one_message(world: World) -> None:
    """While one is on its way the others say so."""
    _, _, code_id, _ = await with_code(world)
    world.telegram.hold = asyncio.Event()
    for _ in range(5):
        got = await world.protection.repeat(world.update(), code_id)
        assert got == Coming(world.caller.project, Cause.AGAIN, fresh=False)
    await world.settle()
    world.telegram.hold.set()
    await world.settle()
    assert len(world.telegram.parcels) == 2


async def test_a_code_that_is_over_is_not_sent_again(world: World) -> None:
    """The popup says how it ended."""
    sub, _, code_id, digits = await with_code(world)
    await world.verify(sub, digits)
    got = await world.protection.repeat(world.update(), code_id)
    assert got == Ended(world.caller.project, Ending.USED)
    assert len(world.telegram.parcels) == 1


async def test_a_code_whose_key_is_gone_is_not_sent_again(world: World) -> None:
    """Nobody can tell it any more."""
    _, _, code_id, _ = await with_code(world)
    rotated = replace(world.rules, keys=KeyRing(["another-key-" + "z" * 30]))
    protection = Protection(world.store, rotated, world.taps)
    assert await protection.repeat(world.update(), code_id) == Ended(world.caller.project, Ending.EXPIRED)


async def test_a_paused_project_sends_nothing_again(world: World) -> None:
    """The button says so; for a deleted one there is nothing to say."""
    _, _, code_id, _ = await with_code(world)
    project_id = world.caller.project.id
    await world.projects.set_enabled(project_id, False)
    assert await world.protection.repeat(world.update(), code_id) == Dead(Unusable.PAUSED)
    await world.store.write(lambda tx: tx.delete_project(project_id))
    assert await world.protection.repeat(world.update(), code_id) == Dead(Unusable.UNKNOWN)


async def test_send_again_is_within_the_limit_of_taps(store: Store, clock: FakeClock) -> None:
    """Above it the minutes are told, and the same button works then."""
    world = await make_world(store, clock, Policy(send_limit=2))
    _, _, code_id, _ = await with_code(world)
    await world.protection.repeat(world.update(), code_id)
    await world.settle()
    clock.advance(minutes=3)
    assert await world.protection.repeat(world.update(), code_id) == TryLater(7)


async def test_nobody_presses_for_somebody_else(world: World) -> None:
    """Neither sends again nor withdraws; nor does a button that leads nowhere."""
    sub, _, code_id, digits = await with_code(world)
    for act in (world.protection.repeat, world.protection.not_me):
        assert isinstance(await act(world.update(BOB), code_id), NotYours)
    assert isinstance(await world.protection.no_more(world.update(BOB), sub), NotYours)
    assert isinstance(await world.protection.no_more(world.update(BOB), "none"), NotYours)
    assert isinstance(await world.protection.not_me_locked(world.update(BOB), sub, None), NotYours)
    assert (await world.verify(sub, digits)).reason is None


async def test_reuse_sends_the_living_code_again(world: World, clock: FakeClock) -> None:
    """The terms of the living code win; without one a new code is made."""
    sub, request_id, _, digits = await with_code(world)
    clock.advance(minutes=1, ms=1)
    other = replace(LOGIN, ttl_minutes=9, max_attempts=1, length=8)
    seconds, reused = await world.service.send(world.caller, sub, other, reuse=True)
    assert (seconds, reused, world.telegram.codes[-1]) == (239, True, digits)
    assert (await world.verify(sub, digits, request_id=request_id)).reason is None
    seconds, reused = await world.service.send(world.caller, sub, other, reuse=True)
    assert (seconds, reused) == (540, False)
    assert len(world.telegram.codes[-1]) == 8


async def test_reuse_makes_a_new_code_when_the_key_of_the_old_one_is_gone(world: World) -> None:
    """The answer tells of the new one, as the old one can't be told any more."""
    sub, _, _, digits = await with_code(world)
    await world.courier.close(0)
    rules = replace(world.rules, keys=KeyRing(["another-key-" + "z" * 30]))
    heir = Courier(world.store, rules, world.clock, {Channel.TELEGRAM: world.telegram}, world.failures.append)
    world.store.listen(heir.on_event)
    service = OtpService(world.store, rules, heir, NamedBots())
    assert await service.send(world.caller, sub, LOGIN, reuse=True) == (300, False)
    assert world.telegram.codes[-1] != digits
    await heir.close(0)


@pytest.mark.parametrize("left_ms,told", [(15_000, (15, True)), (14_999, (300, False))])
async def test_a_code_is_sent_again_while_it_is_worth_it(
    world: World, clock: FakeClock, left_ms: int, told: tuple[int, bool]
) -> None:
    """With less than 15 seconds left a new one goes out, and the answer tells of that one."""
    sub, _, _, digits = await with_code(world)
    clock.advance(minutes=LOGIN.ttl_minutes, ms=-left_ms)
    assert await world.service.send(world.caller, sub, LOGIN, reuse=True) == told
    assert (world.telegram.codes[-1] == digits) is told[1]
    clock.advance(ms=left_ms)
    reason = None if not told[1] else Reason.NO_ACTIVE_CODE
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is reason


async def test_a_code_of_a_send_is_tried_again_while_it_lives(world: World, clock: FakeClock) -> None:
    """The button was pressed while the messenger is away: it brings the code when it is back."""
    sub = await world.subscribe()
    await world.service.send(world.caller, sub, LOGIN)
    world.telegram.script = [NotSent(60_000)]
    await world.protection.repeat(world.update(), world.telegram.parcels[-1].delivery.code_id)
    await world.settle()
    clock.advance(minutes=1)
    await world.settle()
    first, second, third = world.telegram.codes[-3:]
    assert first == second == third


async def test_the_same_code_has_the_same_digits_under_new_limits(world: World) -> None:
    """Since the restart only longer codes are made: what lives is sent again as it is."""
    _, _, code_id, digits = await with_code(world)
    rules = replace(world.rules, policy=Policy(shortest_code=8))
    protection = Protection(world.store, rules, world.taps)
    assert isinstance(await protection.repeat(world.update(), code_id), Coming)
    await world.settle()
    assert world.telegram.codes[-2:] == [digits, digits]


async def test_a_request_is_sent_by_the_repeat_of_a_code_that_may_have_arrived(world: World) -> None:
    """Now it is known that it did."""
    request_id, code_id = await with_an_unknown_one(world)
    assert isinstance(await world.protection.repeat(world.update(), code_id), Coming)
    await world.settle()
    state = await world.service.status(world.caller, request_id)
    assert state.status is RequestStatus.SENT
    sub = str(state.subscriber_id)
    assert (await world.verify(sub, world.telegram.codes[-1], request_id=request_id)).reason is None


@pytest.mark.parametrize("left", [True, False])
async def test_who_left_or_was_locked_gets_nothing_again(world: World, left: bool) -> None:
    """Even if the code had outlived it."""
    sub, _, code_id, _ = await with_code(world)

    async def change(tx: Tx) -> None:
        await (tx.set_subscribed(sub, False) if left else tx.lock(sub))

    await world.store.write(change)
    assert isinstance(await world.protection.repeat(world.update(), code_id), Ended)


async def test_a_replaced_code_tells_that_it_was_replaced(world: World) -> None:
    """Under its message the button says so; the newer one is not touched."""
    sub, _, code_id, _ = await with_code(world)
    await world.service.send(world.caller, sub, LOGIN)
    got = await world.protection.repeat(world.update(), code_id)
    assert got == Ended(world.caller.project, Ending.REPLACED)
    newest = world.telegram.parcels[-1].delivery.id
    message = await world.store.read(lambda tx: tx.shown_code(newest))
    assert message is not None
    assert message.ended is None


async def test_of_two_messages_with_one_code_the_newer_one_lives(world: World) -> None:
    """The older one is brought up to date: it says that the code stands further down."""
    _, _, code_id, _ = await with_code(world)
    await world.protection.repeat(world.update(), code_id)
    await world.settle()
    endings = []
    for parcel in world.telegram.parcels:
        message = await world.store.read(lambda tx, one=parcel.delivery.id: tx.shown_code(one))  # type: ignore[misc]
        assert message is not None
        endings.append(message.ended)
    assert endings == [Ending.REPEATED, None]


async def test_a_code_that_was_used_while_it_was_sent_again_has_no_time_left(world: World) -> None:
    """The messenger took it, so it was sent; nobody needs it any more."""
    sub, _, _, digits = await with_code(world)
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN, reuse=True))
    await world.settle()
    assert (await world.verify(sub, digits)).reason is None
    world.telegram.hold.set()
    assert await sending == (0, True)


async def test_reuse_that_is_unknown_leaves_the_code_alive(world: World) -> None:
    """It lives on, once, with its attempts."""
    sub, _, _, digits = await with_code(world)
    world.telegram.script = [Unknown()]
    with pytest.raises(Exception, match="may have arrived"):
        await world.service.send(world.caller, sub, LOGIN, reuse=True)
    assert (await world.verify(sub, digits)).reason is None


# ------------------------------------------------------------------ it wasn't me


async def test_it_was_not_me_withdraws_the_code_and_tells_the_site(world: World) -> None:
    """Sent stays sent; the code is dead; the status says reported."""
    sub, request_id, code_id, digits = await with_code(world)
    assert await world.protection.not_me(world.update(), code_id) == Reported(world.caller.project, sub)
    got = await world.protection.repeat(world.update(), code_id)
    assert got == Ended(world.caller.project, Ending.REPORTED)
    assert (await world.verify(sub, digits)).reason is Reason.NO_ACTIVE_CODE
    state = await world.service.status(world.caller, request_id)
    assert (state.status, state.reported) == (RequestStatus.SENT, True)


async def test_a_pending_request_is_cancelled_by_it(world: World) -> None:
    """The code may have arrived, its delivery is unknown: it dies with the request."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    code_id = world.telegram.parcels[-1].delivery.code_id
    second = await world.request()
    world.telegram.script = [Unknown()]
    await world.taps.open(world.update(), second)
    await world.settle()
    assert isinstance(await world.protection.not_me(world.update(), code_id), Reported)
    sub = world.telegram.parcels[-1].delivery.subscriber_id
    got = await world.protection.not_me_locked(world.update(), sub, second)
    assert got == Reported(world.caller.project, sub)
    code_id = world.telegram.parcels[-1].delivery.code_id
    got = await world.protection.repeat(world.update(), code_id)
    assert got == Ended(world.caller.project, Ending.REPORTED)
    state = await world.service.status(world.caller, second)
    assert (state.status, state.reported) == (RequestStatus.CANCELLED, True)
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.NO_ACTIVE_CODE


async def test_what_waits_for_its_next_attempt_is_withdrawn_by_it(world: World, clock: FakeClock) -> None:
    """The code that may have arrived was asked for again: nothing is sent any more."""
    request_id, code_id = await with_an_unknown_one(world)
    world.telegram.script = [NotSent()]
    await world.taps.again(world.update(), request_id)
    await world.settle()
    assert isinstance(await world.protection.not_me(world.update(), code_id), Reported)
    last = (await world.deliveries(request_id))[-1]
    assert (last.state, last.refusal) == (DeliveryState.REFUSED, Refusal.WITHDRAWN)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED
    clock.advance(minutes=1)
    await world.settle()
    assert len(world.telegram.parcels) == 2


async def test_what_waits_beyond_the_end_of_its_request_is_withdrawn_too(
    world: World, clock: FakeClock
) -> None:
    """A delivery of before the end keeps the request pending for some seconds: it is cancelled, not expired."""
    sub, _, _, _ = await with_code(world)
    request_id = await world.request()
    clock.advance(minutes=15, ms=-1)
    await world.courier.close(0)
    await world.taps.open(world.update(), request_id)
    clock.advance(seconds=5)
    assert isinstance(await world.protection.not_me_locked(world.update(), sub, request_id), Reported)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED
    assert (await world.deliveries(request_id))[0].refusal is Refusal.WITHDRAWN


async def test_what_is_at_the_messenger_comes_to_its_end(world: World) -> None:
    """It can't be called back: the request stays pending until then."""
    request_id, code_id = await with_an_unknown_one(world)
    world.telegram.hold = asyncio.Event()
    await world.taps.again(world.update(), request_id)
    await world.settle()
    assert isinstance(await world.protection.not_me(world.update(), code_id), Reported)
    state = await world.service.status(world.caller, request_id)
    assert (state.status, state.reported) == (RequestStatus.PENDING, True)
    world.telegram.hold.set()
    await world.settle()
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.SENT


async def test_nobody_reports_a_request_of_somebody_else(world: World) -> None:
    """Its id behind the button of one's own lock is not enough."""
    sub, _, _, _ = await with_code(world)
    request_id = await world.request()
    await world.taps.open(world.update(BOB), request_id)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(BOB), request_id)
    await world.settle()
    assert isinstance(await world.protection.not_me_locked(world.update(), sub, request_id), Reported)
    state = await world.service.status(world.caller, request_id)
    assert (state.status, state.reported) == (RequestStatus.PENDING, False)


async def test_nothing_is_reported_by_default(world: World) -> None:
    """The field appears only after the press."""
    _, request_id, _, _ = await with_code(world)
    assert (await world.service.status(world.caller, request_id)).reported is False


async def test_no_more_leaves_and_refuses_the_links_until_allowed_again(world: World) -> None:
    """A link then gets one sentence and a button; allowing brings the question."""
    sub, _, code_id, _ = await with_code(world)
    await world.protection.not_me(world.update(), code_id)
    assert await world.protection.no_more(world.update(), sub) == Refusing(world.caller.project)
    request_id = await world.request()
    assert isinstance(await world.taps.open(world.update(), request_id), Unwanted)
    assert isinstance(await world.taps.open(world.update(BOB), request_id), Asked)
    theirs = await world.request(world.other)
    assert isinstance(await world.taps.open(world.update(), theirs), Asked)
    assert isinstance(await world.protection.allow(world.update(), request_id), Asked)
    assert isinstance(await world.taps.consent(world.update(), request_id), Coming)


async def test_a_cancelled_question_offers_the_same(world: World) -> None:
    """Also to somebody who never subscribed."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    assert isinstance(await world.taps.cancel(world.update(), request_id), Cancelled)
    assert isinstance(await world.protection.no_more_of_request(world.update(BOB), request_id), NotYours)
    assert isinstance(await world.protection.no_more_of_request(world.update(), request_id), Refusing)
    assert isinstance(await world.taps.open(world.update(), await world.request()), Unwanted)


async def test_no_more_from_a_cancelled_question_leaves_too(world: World) -> None:
    """When the person had subscribed by another request meanwhile."""
    cancelled = await world.request()
    await world.taps.open(world.update(), cancelled)
    sub, _, _, digits = await with_code(world)
    await world.taps.cancel(world.update(), cancelled)
    await world.protection.no_more_of_request(world.update(), cancelled)
    assert (await world.verify(sub, digits)).reason is Reason.NO_ACTIVE_CODE
    assert await world.store.read(lambda tx: tx.subscriptions(ANN)) == []


async def test_a_question_that_is_older_than_its_request_has_dead_buttons(
    world: World, clock: FakeClock
) -> None:
    """Requests are forgotten sooner than the messages about them, and projects may go."""
    forgotten, theirs = await world.request(), await world.request(world.other)
    for request_id in (forgotten, theirs):
        await world.taps.open(world.update(), request_id)
        await world.taps.cancel(world.update(), request_id)
    await world.store.write(lambda tx: tx.delete_project(world.other.project.id))
    for act in (world.protection.no_more_of_request, world.protection.allow):
        assert isinstance(await act(world.update(), theirs), NotYours)
    clock.advance(minutes=25 * 60)
    await world.store.write(purge)
    for act in (world.protection.no_more_of_request, world.protection.allow):
        assert isinstance(await act(world.update(), forgotten), NotYours)


async def test_an_old_question_takes_the_refusal_back(world: World) -> None:
    """Consent is consent, wherever it is pressed."""
    first, second = await world.request(), await world.request()
    await world.taps.open(world.update(), first)
    await world.taps.open(world.update(), second)
    await world.taps.cancel(world.update(), first)
    await world.protection.no_more_of_request(world.update(), first)
    assert isinstance(await world.taps.consent(world.update(), second), Coming)
    await world.settle()
    assert isinstance(await world.taps.open(world.update(), await world.request()), Coming)


async def test_allowing_a_dead_link_says_that_it_is_dead(world: World, clock: FakeClock) -> None:
    """The refusal is taken back all the same."""
    sub, _, _, _ = await with_code(world)
    await world.protection.no_more(world.update(), sub)
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    clock.advance(minutes=15)
    assert await world.protection.allow(world.update(), request_id) == Dead(Unusable.EXPIRED)
    assert isinstance(await world.taps.open(world.update(ANN), await world.request()), Asked)


async def test_what_has_expired_is_not_cancelled_by_it(store: Store, clock: FakeClock) -> None:
    """An end that was read stays, whether or not it was written down yet; the report is noted."""
    world = await make_world(store, clock, Policy(guess_budget=1))
    sub, _, _, digits = await with_code(world)
    await world.verify(sub, wrong(digits))
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    clock.advance(minutes=15)
    for reported in (False, True):
        state = await world.service.status(world.caller, request_id)
        assert (state.status, state.reported) == (RequestStatus.EXPIRED, reported)
        await world.protection.not_me_locked(world.update(), sub, request_id)
    await world.courier.close(0)
