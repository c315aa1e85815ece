"""Until when people were active: kept without a write on the way of a code, and without a loss."""

from __future__ import annotations

import asyncio

import pytest

from otp.errors import DeliveryFailed, DeliveryUnknown
from otp.housekeeping import SWEEP_MS, sweep
from otp.membership import Membership
from otp.model import Job, Refusal
from otp.policy import DAY_MS, UPDATE_KEYS_KEPT_MS
from otp.ports import Refused, Unknown
from tests.fakes import START, FakeClock
from tests.test_accounts import linked
from tests.world import ANN, BOB, LOGIN, World

SWEEP = Job("sweep", "", START, 1, "me")


async def known(world: World, subscriber_id: str) -> Membership:
    """What is kept of a subscriber's times."""
    found = await world.store.read(lambda tx: tx.membership(subscriber_id))
    assert found is not None
    return found


async def purged(world: World, limit: int = 100) -> int:
    """Deliveries that went."""
    return await world.store.chore(lambda tx: tx.purge_deliveries(limit))


async def test_activity_stays_when_its_delivery_goes(world: World, clock: FakeClock) -> None:
    """Exact while the delivery is there; the same afterwards, though nothing was written when the code arrived."""
    sub = await world.subscribe(ANN)
    clock.advance(ms=2 * DAY_MS)
    await world.service.send(world.caller, sub, LOGIN)
    assert (await known(world, sub)).last_active_at == START + 2 * DAY_MS
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    assert await purged(world) == 2
    assert await purged(world) == 0
    after = await known(world, sub)
    assert (after.last_active_at, after.consented_at) == (START + 2 * DAY_MS, START)


async def test_what_may_have_arrived_is_activity_and_what_was_refused_is_none(
    world: World, clock: FakeClock
) -> None:
    """An unknown outcome counts."""
    sub = await world.subscribe(ANN)
    world.telegram.script = [Unknown(), Refused(Refusal.REJECTED)]
    for error in (DeliveryUnknown, DeliveryFailed):
        clock.advance(ms=2 * DAY_MS)
        with pytest.raises(error):
            await world.service.send(world.caller, sub, LOGIN)
    assert (await known(world, sub)).last_active_at == START + 2 * DAY_MS
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    assert await purged(world) == 3
    assert (await known(world, sub)).last_active_at == START + 2 * DAY_MS


async def test_many_codes_of_a_day_are_written_once(world: World, clock: FakeClock) -> None:
    """What is kept is exact to a day; batches of any size lose nothing."""
    subs = [await world.subscribe(one) for one in (ANN, BOB)]
    for _ in range(3):
        clock.advance(minutes=10)
        for sub in subs:
            await world.service.send(world.caller, sub, LOGIN)
    last = clock.now()
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    assert [await purged(world, 3) for _ in range(4)] == [3, 3, 2, 0]
    for sub in subs:
        assert last - DAY_MS <= (await known(world, sub)).last_active_at <= last


async def test_an_account_that_was_used_is_activity(world: World, clock: FakeClock) -> None:
    """As exact as it is kept there."""
    sub = await linked(world, ANN)
    clock.advance(minutes=30)
    await world.service.send(world.caller, sub, LOGIN)
    used_at = clock.now()
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    await purged(world)
    assert (await known(world, sub)).last_active_at == used_at


async def test_the_sweep_does_it_and_two_at_once_are_one(world: World, clock: FakeClock) -> None:
    """At two replicas, of which one was thought dead."""
    sub = await world.subscribe(ANN)
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    do = [sweep(world.store, clock) for _ in range(2)]
    assert await asyncio.gather(*(one(SWEEP) for one in do)) == [clock.now() + SWEEP_MS] * 2
    assert await purged(world) == 0
    assert (await known(world, sub)).last_active_at == START
