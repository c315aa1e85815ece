"""Codes that are not ours: delivered like others, stored nowhere, alive nowhere here."""

from __future__ import annotations

import asyncio

import pytest

from otp.accounts import link
from otp.courier import Courier
from otp.delivery import begin
from otp.errors import (
    CodeNotDelivered,
    MessengerUnavailable,
    SendInProgress,
    SubscriberLocked,
    SubscriberNotFound,
)
from otp.events import CodeReported, DeliveryClaimed
from otp.given import LONGEST_PAUSE_S, GivenCode, GivenCodes, Handed
from otp.housekeeping import Closing, closing
from otp.model import Channel, CodeTerms, Delivery, DeliveryState, Ending, Job, Person, Refusal
from otp.outcomes import Ended, Reported
from otp.policy import ORPHAN_MS, Policy
from otp.ports import NotSent, Refused, Store, Tx, Unknown
from otp.service import Reason
from tests.fakes import FakeClock
from tests.test_courier import give_up, heir_of
from tests.world import ANN, CAT, LOGIN, World, make_world

PHONE = "+79161234567"
CODE = GivenCode("738261", "kratos", "login", 15)


async def linked(world: World, person: Person = ANN, account: str = PHONE) -> str:
    """Somebody by whom the account is reached."""
    sub_id = await world.subscribe(person)

    async def work(tx: Tx) -> None:
        sub = await tx.subscriber_by_id(sub_id)
        assert sub is not None
        await link(tx, sub, account)

    await world.store.write(work)
    return sub_id


async def hand(world: World, code: GivenCode = CODE) -> Handed:
    """Both halves, as a call makes them."""
    calls = GivenCodes(world.service)
    claimed = await calls.claim(world.caller, PHONE, code)
    return await calls.told(world.caller, await world.service.outcome(claimed))


async def row(world: World, delivery: Delivery) -> Delivery:
    """A delivery as it is stored."""
    found = await world.store.read(lambda tx: tx.delivery(delivery.id))
    assert found is not None
    return found


async def test_it_is_delivered_and_never_verified_here(world: World) -> None:
    """Under no purpose, with or without the account's name; the code of ours lives on beside it."""
    sub = await linked(world)
    ours = world.telegram.codes[-1]
    assert await hand(world) == Handed(True, Channel.TELEGRAM, sub)
    parcel = world.telegram.parcels[-1]
    assert (parcel.digits, parcel.minutes) == ("738261", 15)
    assert parcel.delivery.terms.given_for == "login"
    for purpose in ("login", "kratos.login", "kratos_login"):
        verdict = await world.verify(sub, "738261", purpose=purpose)
        assert verdict.reason in (Reason.WRONG_CODE, Reason.NO_ACTIVE_CODE)
    assert (await world.verify(sub, ours)).reason is None


async def test_nothing_of_it_is_stored(world: World) -> None:
    """No digits, and no seed from which any could come; not in what the events say of themselves either."""
    await linked(world)
    await hand(world)
    stored = await row(world, world.telegram.parcels[-1].delivery)
    assert (stored.seed.bits, stored.terms.length) == (b"", 6)
    assert world.rules.keys.digits(world.telegram.parcels[-1].delivery.seed) is None
    claims = [event for event in world.events if isinstance(event, DeliveryClaimed)]
    assert claims[-1].given == "738261"
    assert "738261" not in repr([CODE, *claims, *world.telegram.parcels, world.courier.__dict__])
    assert await world.store.read(lambda tx: tx.code(stored.subscriber_id, "kratos.login")) is None


async def test_the_other_messenger_after_a_certain_failure(world: World, clock: FakeClock) -> None:
    """As with a code of ours, by `after`; the account was reached there from then on."""
    ann = await linked(world)
    clock.advance(seconds=1)
    cat = await linked(world, CAT)
    world.max.script = [Refused(Refusal.REJECTED)]
    calls = GivenCodes(world.service)
    first = await calls.claim(world.caller, PHONE, CODE)
    settled = await world.service.outcome(first)
    with pytest.raises(CodeNotDelivered):
        await calls.told(world.caller, settled)
    assert (first.subscriber_id, settled and settled.state) == (cat, DeliveryState.REFUSED)
    second = await calls.claim(world.caller, PHONE, CODE, after=first)
    told = await calls.told(world.caller, await world.service.outcome(second))
    assert told == Handed(True, Channel.TELEGRAM, ann)
    assert world.telegram.codes[-1] == "738261"


async def test_an_unknown_outcome_is_not_sent_again(world: World) -> None:
    sub = await linked(world)
    world.telegram.script = [Unknown()]
    assert await hand(world) == Handed(False, Channel.TELEGRAM, sub)


@pytest.mark.parametrize("wait_ms", [0, 2_000, 60_000])
async def test_a_busy_messenger_is_tried_again_soon(world: World, clock: FakeClock, wait_ms: int) -> None:
    """Certainly not sent; whoever asks must not be held up for as long as a messenger likes."""
    await linked(world)
    world.telegram.script = [NotSent(wait_ms)] * 9
    with pytest.raises(MessengerUnavailable) as caught:
        await clock.through(hand(world))
    assert caught.value.retry_after == LONGEST_PAUSE_S


async def test_who_can_not_be_reached(world: World) -> None:
    """Nobody linked; locked."""
    with pytest.raises(SubscriberNotFound):
        await hand(world)
    sub = await linked(world)
    await world.store.write(lambda tx: tx.lock(sub))
    with pytest.raises(SubscriberLocked):
        await hand(world)


async def test_limits_are_those_of_every_send(store: Store, clock: FakeClock) -> None:
    """Of both kinds of codes together; it is said in a way that holds nobody up."""
    world = await make_world(store, clock, Policy(send_limit=2))
    sub = await linked(world)
    await hand(world)
    await world.service.send(world.caller, sub, LOGIN)
    with pytest.raises(CodeNotDelivered) as caught:
        await hand(world)
    assert (caught.value.retry_after, caught.value.retryable) == (None, False)


async def test_terms_are_the_sites_own(store: Store, clock: FakeClock) -> None:
    """The operator's cap is about codes of ours, and so is the number of purposes."""
    world = await make_world(store, clock, Policy(max_ttl_minutes=5, shortest_code=8))
    sub = await linked(world)
    for n in range(4):
        await world.service.send(world.caller, sub, CodeTerms(f"p{n}", 5, 5, 8))
    await hand(world)
    assert (world.telegram.parcels[-1].minutes, world.telegram.codes[-1]) == (15, "738261")


async def test_it_takes_no_room_from_codes_of_ours(world: World) -> None:
    """While it is under way the fifth purpose has its place."""
    sub = await linked(world)
    world.telegram.hold = asyncio.Event()
    asking = asyncio.ensure_future(hand(world))
    await world.settle()
    for n in range(4):
        await world.service.claim(world.caller, sub, CodeTerms(f"p{n}", 5, 5, 6))
    world.telegram.hold.set()
    await asking


async def test_one_at_a_time(world: World) -> None:
    """Another code for the same waits; one for something else goes beside it."""
    await linked(world)
    world.telegram.hold = asyncio.Event()
    asking = asyncio.ensure_future(hand(world))
    await world.settle()
    with pytest.raises(SendInProgress):
        await hand(world, GivenCode("111111", "kratos", "login", 15))
    beside = asyncio.ensure_future(hand(world, GivenCode("222222", "kratos", "recovery", 15)))
    await world.settle()
    world.telegram.hold.set()
    await asyncio.gather(asking, beside)
    assert sorted(world.telegram.codes[-2:]) == ["222222", "738261"]


# ------------------------------------------------------------------ crashes and replicas


async def test_what_waits_for_its_messenger_is_in_memory_alone(world: World, clock: FakeClock) -> None:
    """Claimed, not begun: this process sends it when it may; the row holds nothing."""
    await linked(world)
    world.telegram.script = [NotSent(1_000)]
    asking = asyncio.ensure_future(hand(world))
    await world.settle()
    claimed = await row(world, world.telegram.parcels[-1].delivery)
    assert (claimed.state, claimed.seed.bits) == (DeliveryState.CLAIMED, b"")
    clock.advance(seconds=2)
    await world.settle()
    assert (await asking).certainly
    assert world.telegram.codes[-1] == "738261"
    assert "738261" not in repr(world.courier.__dict__)


@pytest.mark.parametrize("at_start", [True, False])
async def test_a_claim_whose_process_died_is_certainly_not_sent(
    world: World, clock: FakeClock, at_start: bool
) -> None:
    """Nobody else has the code: whoever finds the claim says so, and the site may try again."""
    sub = await linked(world)
    before = len(world.telegram.parcels)
    give_up(world.courier)  # so that the claim stands alone
    await world.courier.close(0)
    claimed = await GivenCodes(world.service).claim(world.caller, PHONE, CODE)
    assert (await row(world, claimed)).state is DeliveryState.CLAIMED
    heir = heir_of(world)
    clock.advance(seconds=6)
    await heir.recover(at_start=at_start)
    await world.settle()
    left = await row(world, claimed)
    assert (left.state, left.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    with pytest.raises(MessengerUnavailable):
        await GivenCodes(world.service).told(world.caller, left)
    assert len(world.telegram.parcels) == before
    await heir.close(0)
    assert sub


async def test_an_attempt_whose_process_died_is_unknown(world: World, clock: FakeClock) -> None:
    """Never sent again; no code of it lives, and "It wasn't me" works."""
    sub = await linked(world)
    await world.courier.close(0)
    deaf = Courier(world.store, world.rules, clock, {Channel.TELEGRAM: world.telegram}, world.failures.append)
    world.service._courier = deaf
    claimed = await GivenCodes(world.service).claim(world.caller, PHONE, CODE)
    assert claimed.state is DeliveryState.ATTEMPTING
    await deaf.close(0)
    clock.advance(ms=ORPHAN_MS)
    heir = heir_of(world)
    await heir.recover()
    left = await row(world, claimed)
    assert left.state is DeliveryState.UNKNOWN
    assert await GivenCodes(world.service).told(world.caller, left) == Handed(False, Channel.TELEGRAM, sub)
    assert await world.store.read(lambda tx: tx.purposes_alive(sub)) == {"login"}
    assert await world.protection.not_me(world.update(), claimed.code_id) == Reported(
        world.caller.project, sub, given=True
    )
    await heir.close(0)


async def test_another_replica_can_not_begin_it(world: World) -> None:
    """It takes nothing out of the hands of who has the code but the claim."""
    await linked(world)
    give_up(world.courier)
    await world.courier.close(0)
    claimed = await GivenCodes(world.service).claim(world.caller, PHONE, CODE)
    got = await world.store.write(lambda tx: begin(tx, world.rules, claimed.id))
    assert isinstance(got, Delivery)
    assert got.refusal is Refusal.UNAVAILABLE


# ------------------------------------------------------------------ the message


async def closed(world: World, delivery_id: str) -> Closing | object:
    """What the job makes of the message now."""
    job = Job("close", delivery_id, 0, 0, "me")
    return await world.store.write(lambda tx: closing(tx, job))


async def test_its_message_is_closed_when_its_time_is_over(world: World, clock: FakeClock) -> None:
    await linked(world)
    await hand(world)
    sent = world.telegram.parcels[-1].delivery
    due = await world.store.read(lambda tx: tx.rows("SELECT due_at FROM jobs WHERE subject = $1", sent.id))  # type: ignore[attr-defined]
    assert [one["due_at"] for one in due] == [clock.now() + 15 * 60_000]
    clock.advance(minutes=15)
    found = await closed(world, sent.id)
    assert isinstance(found, Closing)
    assert (found.ending, found.given) == (Ending.EXPIRED, True)


async def test_it_was_not_me(world: World) -> None:
    """The site is told for what; its code is not ours to withdraw, and a code of ours stays."""
    sub = await linked(world)
    ours = world.telegram.codes[-1]
    await hand(world)
    sent = world.telegram.parcels[-1].delivery
    assert await world.protection.not_me(world.update(), sent.code_id) == Reported(
        world.caller.project, sub, given=True
    )
    [told] = [event for event in world.events if isinstance(event, CodeReported)]
    assert (told.subscriber.id, told.purpose, told.request_id) == (sub, "kratos.login", None)
    found = await closed(world, sent.id)
    assert isinstance(found, Closing)
    assert (found.ending, found.given) == (Ending.REPORTED, True)
    assert (await world.verify(sub, ours)).reason is None


async def test_it_can_not_be_sent_again(world: World) -> None:
    """There is no such button; who presses one all the same gets nothing."""
    await linked(world)
    await hand(world)
    sent, before = world.telegram.parcels[-1].delivery, len(world.telegram.parcels)
    assert isinstance(await world.protection.repeat(world.update(), sent.code_id), Ended)
    await world.settle()
    assert len(world.telegram.parcels) == before
