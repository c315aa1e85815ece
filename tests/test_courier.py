"""Crashes and restarts: what another process left behind is taken up or settled."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from otp.breaker import FAILURES
from otp.codes import KeyRing
from otp.courier import LOOK_ROUND_MS, Courier
from otp.delivery import begin, claim
from otp.errors import MessengerUnavailable, SendInProgress, StorageUnavailable
from otp.events import DeliveryClaimed, DeliverySettled
from otp.model import Cause, Channel, Delivery, DeliveryState, MessageKind, Parcel, Refusal, RequestStatus
from otp.policy import ORPHAN_MS, SEND_PATIENCE_MS
from otp.ports import Accepted, NotSent, Outcome, Store, Tx, Unknown
from otp.service import OtpService
from storage.statements import SqlTx
from tests.fakes import FailingStore, FakeClock, NamedBots
from tests.world import LOGIN, World


def over_failing(world: World, store: Store) -> tuple[Courier, FailingStore]:
    """A courier of its own, over a store that can be made to fail."""
    failing = FailingStore(store)
    messengers = {Channel.TELEGRAM: world.telegram}
    return Courier(failing, world.rules, world.clock, messengers, world.failures.append), failing


async def claimed_by_a_dead_process(world: World, sub_id: str, *, attempting: bool) -> Delivery:
    """A delivery as a crash leaves it: claimed, or in the middle of its attempt."""

    async def work(tx: Tx) -> Delivery:
        sub = await tx.subscriber_by_id(sub_id)
        assert sub is not None
        made = await claim(tx, world.rules, sub, LOGIN, Cause.SEND)
        tx.events.clear()  # type: ignore[attr-defined]  # nobody is there to hear of it
        assert isinstance(made, Delivery)
        if attempting:
            assert isinstance(await begin(tx, world.rules, made.id), Parcel)
        return made

    return await world.store.write(work)


async def state_of(world: World, delivery: Delivery) -> DeliveryState:
    """Where a delivery stands."""
    found = await world.store.read(lambda tx: tx.delivery(delivery.id))
    assert found is not None
    return found.state


def heir_of(world: World) -> Courier:
    """The courier of the next process."""
    return Courier(
        world.store, world.rules, world.clock, {Channel.TELEGRAM: world.telegram}, world.failures.append
    )


def give_up(courier: Courier) -> None:
    """Telegram did not answer for long enough to be left alone."""
    for _ in range(FAILURES):
        courier.breakers[Channel.TELEGRAM].note(answered=False)


async def test_a_send_begins_with_its_claim(world: World, clock: FakeClock) -> None:
    """In one commit: who dies right after it leaves an attempt, which nobody carries later behind the caller's back."""
    sub, before = await world.subscribe(), len(world.telegram.parcels)
    await world.courier.close(0)
    deaf = heir_of(world)  # it never hears of the commit
    service = OtpService(world.store, world.rules, deaf, NamedBots({Channel.TELEGRAM: "a_bot"}))
    asking = asyncio.ensure_future(service.send(world.caller, sub, LOGIN))
    await world.settle()
    [left] = [event.parcel for event in world.events if isinstance(event, DeliveryClaimed) if event.parcel]
    assert await state_of(world, left.delivery) is DeliveryState.ATTEMPTING
    asking.cancel()
    await deaf.close(0)
    heir = heir_of(world)
    await heir.recover(at_start=True)
    clock.advance(ms=ORPHAN_MS)
    await heir.recover()
    assert await state_of(world, left.delivery) is DeliveryState.UNKNOWN
    assert len(world.telegram.parcels) == before
    await heir.close(0)


async def begun_by(world: World, sub_id: str) -> Parcel:
    """What a `/send` hands to its courier, when nobody is there to take it."""

    async def work(tx: Tx) -> Delivery:
        sub = await tx.subscriber_by_id(sub_id)
        assert sub is not None
        made = await claim(tx, world.rules, sub, LOGIN, Cause.SEND, at_once=True)
        assert isinstance(made, Delivery)
        return made

    await world.courier.close(0)
    made = await world.store.write(work)
    await world.settle()
    [parcel] = [event.parcel for event in world.events if isinstance(event, DeliveryClaimed) if event.parcel]
    assert parcel.delivery == made
    return parcel


async def test_what_was_begun_is_not_sent_when_the_messenger_is_given_up(
    world: World, clock: FakeClock
) -> None:
    """The breaker opened between the commit and the call: certainly not sent."""
    parcel = await begun_by(world, await world.subscribe())
    before, heir = len(world.telegram.parcels), heir_of(world)
    give_up(heir)
    task = heir.set_out(parcel.delivery.id, Channel.TELEGRAM, Cause.SEND, parcel)
    assert task is not None
    await world.settle()
    clock.advance(seconds=1)
    await world.settle()
    done = await task
    assert done is not None
    assert (done.state, done.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    assert len(world.telegram.parcels) == before
    await heir.close(0)


async def test_what_was_begun_is_not_sent_when_its_time_is_over(world: World, clock: FakeClock) -> None:
    """It waited for a free hand until its caller was answered."""
    parcel = await begun_by(world, await world.subscribe())
    before, heir = len(world.telegram.parcels), heir_of(world)
    clock.advance(ms=SEND_PATIENCE_MS)
    task = heir.set_out(parcel.delivery.id, Channel.TELEGRAM, Cause.SEND, parcel)
    assert task is not None
    done = await task
    assert done is not None
    assert (done.state, done.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    assert len(world.telegram.parcels) == before
    await heir.close(0)


@pytest.mark.parametrize("why", ["it is off", "it is given up", "all hands are full", "the end has come"])
async def test_nothing_is_begun_that_must_wait(
    world: World, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    """A claim survives a restart, an attempt that waits would not."""
    monkeypatch.setattr("otp.courier.AT_ONCE", 1)
    courier, channel = heir_of(world), Channel.MAX if why == "it is off" else Channel.TELEGRAM
    parcel = await begun_by(world, await world.subscribe())
    assert courier.is_free(Channel.TELEGRAM)
    if why == "it is given up":
        give_up(courier)
    elif why == "all hands are full":
        world.telegram.hold = asyncio.Event()
        courier.set_out(parcel.delivery.id, channel, Cause.SEND, parcel)
        await world.settle()
    elif why == "the end has come":
        await courier.close(0)
    assert not courier.is_free(channel)
    await courier.close(0)


async def test_a_claim_left_behind_is_sent_at_restart(world: World) -> None:
    """Once, and its code is good."""
    sub = await world.subscribe()
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    assert await world.store.read(lambda tx: tx.delivery(left.id)) == left
    await world.courier.recover(at_start=True)
    await world.courier.recover(at_start=True)
    await world.settle()
    assert await state_of(world, left) is DeliveryState.ACCEPTED
    assert len(world.telegram.parcels) == 2
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


async def test_what_was_carried_is_let_go_of(world: World) -> None:
    """With its outcome it is out of this process's hands, and nothing fails behind the scenes."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    await world.service.send(world.caller, await world.subscribe(), LOGIN)
    await world.settle()
    assert not any(world.courier.is_carrying(parcel.delivery.id) for parcel in world.telegram.parcels)
    assert told == []


@pytest.mark.parametrize(
    "late_ms,state,refusal",
    [(14_000, DeliveryState.ACCEPTED, None), (14_001, DeliveryState.REFUSED, Refusal.UNAVAILABLE)],
)
async def test_a_claim_too_old_is_not_sent_any_more(
    world: World, clock: FakeClock, late_ms: int, state: DeliveryState, refusal: Refusal | None
) -> None:
    """`/send` promised 15 seconds, and an attempt needs one."""
    sub = await world.subscribe()
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    clock.advance(ms=late_ms)
    await world.courier.recover(at_start=True)
    await world.settle()
    found = await world.store.read(lambda tx: tx.delivery(left.id))
    assert found is not None
    assert (found.state, found.refusal) == (state, refusal)
    assert len(world.telegram.parcels) == (1 if refusal else 2)


@pytest.mark.parametrize("what", ["the key is gone", "left", "locked", "cancelled"])
async def test_a_claim_that_must_not_be_sent_any_more_is_withdrawn(world: World, what: str) -> None:
    """Whatever left it behind: nobody gets it, and nobody gets a message without a code."""
    sub, request_id = await world.subscribe(), await world.request()
    await world.courier.close(0)
    await world.taps.open(world.update(), request_id)

    async def change(tx: Tx) -> None:
        if what == "left":
            await tx.set_subscribed(sub, False)
        elif what == "locked":
            await tx.lock(sub)
        elif what == "cancelled":
            await tx.finish(request_id, RequestStatus.CANCELLED)

    await world.store.write(change)
    keys = KeyRing(["another-key-" + "z" * 30]) if what == "the key is gone" else world.rules.keys
    rules = replace(world.rules, keys=keys)
    heir = Courier(world.store, rules, world.clock, {Channel.TELEGRAM: world.telegram}, world.failures.append)
    await heir.recover(at_start=True)
    await world.settle()
    [left] = await world.deliveries(request_id)
    assert (left.state, left.refusal) == (DeliveryState.REFUSED, Refusal.WITHDRAWN)
    assert len(world.telegram.parcels) == 1
    await heir.close(0)


async def test_an_attempt_left_behind_is_unknown_after_20_seconds(world: World, clock: FakeClock) -> None:
    """Never sent again by us; its code is active, since it may have arrived."""
    sub = await world.subscribe()
    left = await claimed_by_a_dead_process(world, sub, attempting=True)
    code = world.rules.keys.digits(left.seed)
    assert code is not None
    clock.advance(ms=ORPHAN_MS - 1)
    await world.courier.recover(at_start=True)
    assert await state_of(world, left) is DeliveryState.ATTEMPTING
    clock.advance(ms=1)
    await world.courier.recover()
    await world.settle()
    assert await state_of(world, left) is DeliveryState.UNKNOWN
    assert len(world.telegram.parcels) == 1
    assert (await world.verify(sub, code)).reason is None


async def test_a_caller_is_told_how_long_an_orphan_may_take(world: World, clock: FakeClock) -> None:
    """`Retry-After` counts down to the 20 seconds; then the next send goes through without any sweep."""
    sub = await world.subscribe()
    await claimed_by_a_dead_process(world, sub, attempting=True)
    clock.advance(seconds=5)
    with pytest.raises(SendInProgress) as told:
        await world.service.send(world.caller, sub, LOGIN)
    assert told.value.retry_after == 15
    clock.advance(seconds=15)
    assert await world.service.send(world.caller, sub, LOGIN) == (300, False)


async def test_a_claim_that_was_overtaken_is_told_by_which(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one was not there yet when this one looked."""
    sub = await world.subscribe()
    await claimed_by_a_dead_process(world, sub, attempting=True)
    clock.advance(seconds=5)
    look, early = SqlTx.under_way, iter([True])

    async def too_early(tx: SqlTx, subscriber_id: str, purpose: str) -> Delivery | None:
        return None if next(early, False) else await look(tx, subscriber_id, purpose)

    monkeypatch.setattr(SqlTx, "under_way", too_early)
    with pytest.raises(SendInProgress) as told:
        await world.service.send(world.caller, sub, LOGIN)
    assert told.value.retry_after == 15


async def test_a_running_process_takes_up_what_another_one_left(world: World, clock: FakeClock) -> None:
    """A claim that was due five seconds ago is nobody's."""
    sub = await world.subscribe()
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    await world.courier.recover()
    await world.settle()
    assert await state_of(world, left) is DeliveryState.CLAIMED
    clock.advance(seconds=5)
    await world.courier.recover()
    await world.settle()
    assert await state_of(world, left) is DeliveryState.ACCEPTED


async def test_every_process_looks_round_for_what_others_left(world: World, clock: FakeClock) -> None:
    """In less than ten seconds, without waiting for anybody's lease, and a store that was away for once ends nothing."""
    sub = await world.subscribe()
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    heir, failing = over_failing(world, world.store)
    rounds = asyncio.ensure_future(heir.look_round())
    failing.reads = 1
    for _ in range(2):
        await world.settle()
        assert await state_of(world, left) is DeliveryState.CLAIMED
        clock.advance(ms=LOOK_ROUND_MS)
    await world.settle()
    assert await state_of(world, left) is DeliveryState.ACCEPTED
    rounds.cancel()
    await heir.close(0)


async def test_an_attempt_in_hand_is_nobodys_orphan(world: World, clock: FakeClock) -> None:
    """However long it takes, the process that carries it waits for its outcome."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    clock.advance(ms=ORPHAN_MS)
    await world.courier.recover()
    assert await state_of(world, world.telegram.parcels[-1].delivery) is DeliveryState.ATTEMPTING
    world.telegram.hold.set()
    assert await sending == (300, False)


async def test_an_outcome_that_comes_after_the_verdict_changes_nothing(
    world: World, clock: FakeClock
) -> None:
    """A process that slept for a minute finds its attempt settled as unknown."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    clock.advance(seconds=60)
    twin = heir_of(world)
    await twin.recover()
    await twin.close(0)
    world.telegram.hold.set()
    with pytest.raises(Exception, match="may have arrived"):
        await sending


async def test_shutdown_lets_what_is_at_the_messenger_end(world: World) -> None:
    """The caller gets its answer, nothing is doubled or lost."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    closing = asyncio.ensure_future(world.courier.close(5))
    await world.settle()
    world.telegram.hold.set()
    await closing
    assert await sending == (300, False)


async def test_shutdown_leaves_a_waiting_tap_for_the_restart(world: World, clock: FakeClock) -> None:
    """It is sent then, after the wait that the messenger asked for, while there is time."""
    await world.subscribe()
    request_id = await world.request()
    world.telegram.script = [NotSent(30_000)]
    await world.taps.open(world.update(), request_id)
    await world.settle()
    await world.courier.close(1)
    waiting = (await world.deliveries(request_id))[0]
    assert (waiting.state, waiting.due_at) == (DeliveryState.CLAIMED, clock.now() + 30_000)
    clock.advance(seconds=30)
    heir = heir_of(world)
    await heir.recover(at_start=True)
    await world.settle()
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.SENT
    await heir.close(1)


async def test_shutdown_settles_a_waiting_send(world: World, clock: FakeClock) -> None:
    """A caller who hears that nothing was sent gets nothing later."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent()]
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    delivery = world.telegram.parcels[-1].delivery
    await world.courier.close(1)
    with pytest.raises(MessengerUnavailable):
        await sending
    settled = await world.store.read(lambda tx: tx.delivery(delivery.id))
    assert settled is not None
    assert (settled.state, settled.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    clock.advance(seconds=2)
    heir = heir_of(world)
    await heir.recover(at_start=True)
    await world.settle()
    await heir.close(1)
    assert len(world.telegram.parcels) == 2


async def test_a_tap_whose_attempt_died_can_be_asked_for_again(world: World, clock: FakeClock) -> None:
    """The message that offers it is noted with the verdict, so that its button acts."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    world.telegram.hold = asyncio.Event()
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.courier.close(0)
    clock.advance(ms=ORPHAN_MS)
    heir = heir_of(world)
    await heir.recover(at_start=True)
    [settled] = [event for event in world.events if isinstance(event, DeliverySettled)]
    assert settled.delivery.state is DeliveryState.UNKNOWN
    assert settled.offer is not None
    assert (settled.offer.kind, settled.offer.request_id) == (MessageKind.OFFER, request_id)
    await heir.close(0)


@pytest.mark.parametrize("by", ["a look at it", "another send"])
async def test_whoever_finds_a_tap_whose_attempt_died_settles_it(
    world: World, clock: FakeClock, by: str
) -> None:
    """With the offer to send again, and without sending anything."""
    sub, request_id = await world.subscribe(), await world.request()
    world.telegram.hold = asyncio.Event()
    await world.taps.open(world.update(), request_id)
    await world.settle()
    await world.courier.close(0)
    clock.advance(ms=ORPHAN_MS)
    [left] = await world.deliveries(request_id)
    if by == "a look at it":
        found = await world.store.write(lambda tx: begin(tx, world.rules, left.id))
        assert isinstance(found, Delivery)
        assert found.state is DeliveryState.UNKNOWN
    else:
        with pytest.raises(MessengerUnavailable):  # this process is closing; the claim comes before that
            await world.service.send(world.caller, sub, LOGIN)
    settled = [event for event in world.events if isinstance(event, DeliverySettled)]
    [offer] = [event.offer for event in settled if event.delivery.id == left.id]
    assert offer is not None
    assert (await world.deliveries(request_id))[0].state is DeliveryState.UNKNOWN


async def test_what_is_settled_is_not_begun(world: World) -> None:
    """Another process was faster: nothing is changed or told once more."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    [sent] = await world.deliveries(request_id)
    told = list(world.events)
    assert await world.store.write(lambda tx: begin(tx, world.rules, sent.id)) == sent
    await world.settle()
    assert world.events == told
    assert await world.deliveries(request_id) == [sent]


async def test_a_bug_while_handing_over_is_an_unknown_outcome(world: World) -> None:
    """The message may have gone out before our own code failed."""
    sub = await world.subscribe()

    def bug(_parcel: Parcel) -> Outcome:
        raise ZeroDivisionError

    world.telegram.script = [bug]
    with pytest.raises(Exception, match="may have arrived"):
        await world.service.send(world.caller, sub, LOGIN)
    assert [type(error) for error in world.failures] == [ZeroDivisionError]
    world.failures.clear()


async def test_an_outcome_is_written_as_soon_as_the_store_takes_it(
    world: World, clock: FakeClock, store: Store
) -> None:
    """The disk is full for three seconds right after the messenger took the message."""
    sub = await world.subscribe()
    courier, failing = over_failing(world, store)
    left = await claimed_by_a_dead_process(world, sub, attempting=False)

    def fill_up(_parcel: Parcel) -> Outcome:
        failing.times = 3
        return Accepted("m9")

    world.telegram.script = [fill_up]
    task = courier.set_out(left.id, Channel.TELEGRAM, Cause.SEND)
    assert task is not None
    for _ in range(3):
        await world.settle()
        clock.advance(seconds=1)
    settled = await task
    assert settled is not None
    assert settled.state is DeliveryState.ACCEPTED
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


async def test_a_send_under_way_when_the_end_begins_has_its_attempt(world: World) -> None:
    """Calls under way end as they would have; only what would have to wait is given up."""
    sub = await world.subscribe()
    world.courier.stop_retrying()
    assert await world.service.send(world.caller, sub, LOGIN) == (300, False)
    world.telegram.script = [NotSent(answered=True)]
    with pytest.raises(MessengerUnavailable):
        await world.service.send(world.caller, sub, LOGIN)


async def test_a_send_that_comes_after_the_end_is_not_sent_later(world: World) -> None:
    """Its caller hears that nothing was sent: so nothing is, not even after the restart."""
    sub = await world.subscribe()
    await world.courier.close(0)
    with pytest.raises(MessengerUnavailable):
        await world.service.send(world.caller, sub, LOGIN)
    heir = heir_of(world)
    await heir.recover(at_start=True)
    await world.settle()
    assert len(world.telegram.parcels) == 1
    await heir.close(0)


async def test_a_caller_is_answered_in_time_whatever_the_messenger_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message may still arrive: unknown, not failed."""
    monkeypatch.setattr("otp.courier.ANSWER_SECONDS", 0.05)
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    with pytest.raises(Exception, match="may have arrived"):
        await world.service.send(world.caller, sub, LOGIN)
    world.telegram.hold.set()
    await world.settle()
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


async def test_a_code_that_died_before_its_repeat_is_replaced_by_a_new_one(
    world: World, clock: FakeClock
) -> None:
    """The button waited longer than the code lived: what arrives is good, and says the truth about its time."""
    request_id = await world.request(terms=replace(LOGIN, ttl_minutes=1))
    await world.taps.open(world.update(), request_id)
    world.telegram.script = [Unknown(), NotSent(40_000)]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    clock.advance(seconds=30)
    await world.taps.again(world.update(), request_id)
    await world.settle()
    clock.advance(seconds=41)
    await world.settle()
    first, _, last = world.telegram.parcels
    assert (last.digits == first.digits, last.minutes) == (False, 1)
    state = await world.service.status(world.caller, request_id)
    assert state.status is RequestStatus.SENT
    assert (await world.verify(str(state.subscriber_id), last.digits, request_id=request_id)).reason is None
    sent = (await world.deliveries(request_id))[-1]
    assert (last.delivery.code_id, last.delivery.reuses) == (sent.code_id, False)


@pytest.mark.parametrize("begun", [True, False])
async def test_a_send_whose_outcome_can_not_be_stored(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    """May have arrived, so "try again" would be wrong; what was not begun yet may be tried again."""
    monkeypatch.setattr("otp.courier.ANSWER_SECONDS", 0.2)
    sub = await world.subscribe()
    courier, failing = over_failing(world, store)
    left = await claimed_by_a_dead_process(world, sub, attempting=False)

    def fill_up(_parcel: Parcel) -> Outcome:
        failing.times = 1_000
        return Accepted("m9")

    world.telegram.script = [fill_up]
    failing.times = 0 if begun else 1_000
    if begun:
        found = await courier.outcome(left)
        assert found is not None
        assert found.state is DeliveryState.ATTEMPTING  # which `/send` answers as `delivery_unknown`
    else:
        with pytest.raises(StorageUnavailable):
            await courier.outcome(left)
    world.failures.clear()
    await courier.close(0)


async def test_a_send_that_was_not_sent_may_be_tried_again(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messenger refused it for now, and then there was no store: it can't have arrived."""
    monkeypatch.setattr("otp.courier.ANSWER_SECONDS", 0.2)
    sub = await world.subscribe()
    courier, failing = over_failing(world, store)
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    world.telegram.script = [NotSent(5000)]
    asking = asyncio.ensure_future(courier.outcome(left))
    await world.settle()
    assert len(world.telegram.parcels) == 2
    failing.times = 1_000
    with pytest.raises(StorageUnavailable):
        await asking
    await courier.close(0)
