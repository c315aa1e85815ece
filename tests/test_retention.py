"""`RETENTION_DAYS`: who is quiet for long is forgotten by the sweep, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from otp.account_calls import AccountCalls
from otp.events import SubscriberForgotten, SubscriberLeft
from otp.housekeeping import sweep
from otp.model import Channel, ForgottenBy, Job, Person
from otp.policy import DAY_MS, HOUR_MS
from otp.ports import Tx
from otp.retention import MOST_FORGOTTEN, WALK, Retention
from storage.statements import SqlTx
from tests.fakes import START, FakeClock
from tests.world import ANN, BOB, CAT, LOGIN, World, wrong

SWEEP = Job("sweep", "", START, 1, "me")
DAYS = 30


async def walk(world: World, days: int = DAYS) -> None:
    """A whole walk, as the sweep does it. All that is said to come later is done at once."""
    retention = Retention(world.rules, days)
    await world.store.write(lambda tx: tx.remember(WALK, None))
    do = sweep(world.store, world.clock, retention)
    for _ in range(100):
        due = await world.clock.through(do(SWEEP))
        assert isinstance(due, int)
        if due >= world.clock.now() + 1000:
            return
    raise AssertionError("the walk has no end")


async def left(world: World) -> set[str]:
    """The ids of all subscribers."""
    found = await world.store.read(lambda tx: tx.memberships_after("", 10_000))
    return {one.subscriber.id for one in found}


async def statement(world: World, sql: str, *values: object) -> None:
    """Have the database as it would be later, or was before."""

    async def work(tx: Tx) -> None:
        await cast(SqlTx, tx).rows(sql, *values)

    await world.store.write(work)


async def test_who_is_quiet_for_so_long_is_forgotten(world: World, clock: FakeClock) -> None:
    """A day before the time nobody; then who was never reached since, and not who got a code."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    clock.advance(ms=5 * DAY_MS)
    await world.service.send(world.caller, bob, LOGIN)
    clock.set(START + DAYS * DAY_MS - 1)
    await walk(world)
    assert await left(world) == {ann, bob}
    clock.advance(ms=1)
    world.events.clear()
    await walk(world)
    assert await left(world) == {bob}
    told = [one for one in world.events if isinstance(one, (SubscriberForgotten, SubscriberLeft))]
    assert [(type(one), one.subscriber.id) for one in told] == [
        (SubscriberLeft, ann),
        (SubscriberForgotten, ann),
    ]
    assert isinstance(told[1], SubscriberForgotten)
    assert told[1].by is ForgottenBy.RETENTION
    clock.set(START + (DAYS + 6) * DAY_MS)
    await walk(world)
    assert await left(world) == set()


async def test_who_left_is_kept_as_long_from_then_on(world: World, clock: FakeClock) -> None:
    """Sites are told nothing: they were, when the person left."""
    ann = await world.subscribe(ANN)
    clock.advance(ms=10 * DAY_MS)
    await world.taps.gone(world.update(ANN))
    clock.advance(ms=DAYS * DAY_MS - 1)
    await walk(world)
    assert await left(world) == {ann}
    clock.advance(ms=1)
    world.events.clear()
    await walk(world)
    assert await left(world) == set()
    assert not any(isinstance(one, SubscriberLeft) for one in world.events)


async def test_without_the_setting_nobody_is_forgotten(world: World, clock: FakeClock) -> None:
    ann = await world.subscribe(ANN)
    clock.advance(ms=4000 * DAY_MS)
    await clock.through(sweep(world.store, clock)(SWEEP))
    assert await left(world) == {ann}


async def test_nobody_escapes_a_lock_by_waiting(world: World, clock: FakeClock) -> None:
    """Neither one that is written down, nor one that a lowered budget brings."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    await world.store.write(lambda tx: tx.lock(ann))
    await statement(world, "UPDATE subscribers SET wrong_guesses = 50 WHERE id = $1", bob)
    clock.advance(ms=2 * DAYS * DAY_MS)
    await walk(world)
    assert await left(world) == {ann, bob}
    for sub in (ann, bob):
        await world.store.write(lambda tx, sub=sub: tx.clear_guesses(sub))  # type: ignore[misc]
    await walk(world)
    assert await left(world) == set()


async def test_who_has_something_open_is_not_forgotten(world: World, clock: FakeClock) -> None:
    """A code that lives, a delivery under way, a request that waits: whatever the times say."""
    subs = [await world.subscribe(one) for one in (ANN, BOB, CAT)]
    clock.advance(ms=DAYS * DAY_MS)
    open_request = await world.request()
    await world.service.send(world.caller, subs[0], LOGIN)
    world.telegram.hold = asyncio.Event()
    sending = asyncio.create_task(world.service.send(world.caller, subs[1], LOGIN))
    await world.taps.open(world.update(CAT), open_request)
    await world.settle()
    old = START - DAYS * DAY_MS
    await statement(
        world, "UPDATE requests SET status = 'pending', finished_at = NULL WHERE id = $1", open_request
    )
    await statement(world, "DELETE FROM codes WHERE subscriber_id = $1", subs[2])
    await statement(world, "UPDATE subscribers SET consented_at = $1, active_at = $1", old)
    await statement(
        world, "UPDATE deliveries SET settled_at = $1 WHERE settled_at IS NOT NULL", old + HOUR_MS
    )
    await walk_only(world)
    assert await left(world) == set(subs)
    world.telegram.hold.set()
    await sending


async def walk_only(world: World) -> None:
    """Without what else a sweep does."""
    retention = Retention(world.rules, DAYS)
    await world.store.write(lambda tx: tx.remember(WALK, None))
    while await world.store.write(lambda tx: retention.step(tx, 2)):
        pass


async def test_the_time_of_those_of_before_begins_when_it_is_first_asked_for(
    world: World, clock: FakeClock
) -> None:
    """Of a subscriber of an older release nobody knows when they were reached; one who left did so when they left."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    await world.taps.gone(world.update(BOB))
    await statement(world, "UPDATE subscribers SET active_at = NULL")
    await statement(world, "DELETE FROM deliveries")
    clock.advance(ms=500 * DAY_MS)
    await walk(world)
    assert await left(world) == {ann}
    clock.advance(ms=DAYS * DAY_MS - 1)
    await walk(world)
    assert await left(world) == {ann}
    clock.advance(ms=1)
    await walk(world)
    assert await left(world) == set()
    assert bob != ann


async def test_the_walk_is_in_batches_and_once_a_day(world: World, clock: FakeClock) -> None:
    """Any process goes on where the last one ended."""
    subs = [await world.subscribe(Person(Channel.TELEGRAM, 8000 + number)) for number in range(5)]
    clock.advance(ms=DAYS * DAY_MS)
    one, other = Retention(world.rules, DAYS), Retention(world.rules, DAYS)
    assert await world.store.write(lambda tx: one.step(tx, 2)) == 2
    assert len(await left(world)) == 3
    assert await world.store.write(lambda tx: other.step(tx, 2)) == 2
    assert await world.store.write(lambda tx: one.step(tx, 2)) == 0
    assert await left(world) == set()
    again = await world.subscribe(ANN)
    await statement(world, "UPDATE subscribers SET consented_at = 0, active_at = 0")
    await statement(world, "DELETE FROM codes")
    await statement(world, "DELETE FROM deliveries")
    assert await world.store.write(lambda tx: one.step(tx, 2)) == 0
    assert await left(world) == {again}
    clock.advance(ms=DAY_MS)
    assert await world.store.write(lambda tx: one.step(tx, 2)) == 0
    assert await left(world) == set()
    assert len(set(subs)) == 5


async def test_two_replicas_walk_at_once(world: World, clock: FakeClock) -> None:
    """Each is forgotten once, and nobody is left out."""
    for number in range(9):
        await world.subscribe(Person(Channel.TELEGRAM, 8000 + number))
    clock.advance(ms=DAYS * DAY_MS)
    world.events.clear()
    retention = Retention(world.rules, DAYS)
    for _ in range(5):
        await asyncio.gather(*(world.store.write(lambda tx: retention.step(tx, 3)) for _ in range(3)))
    assert await left(world) == set()
    told: Sequence[object] = [one for one in world.events if isinstance(one, SubscriberForgotten)]
    assert len(told) == 9


async def test_one_transaction_forgets_no_more_than_some(world: World, clock: FakeClock) -> None:
    """It must not take longer than a transaction may."""

    async def fill(tx: Tx) -> None:
        for number in range(MOST_FORGOTTEN + 10):
            await cast(SqlTx, tx).rows(
                "INSERT INTO subscribers (id, project_id, mode, address, language, subscribed, consented_at, left_at, "
                "wrong_guesses, locked) VALUES ($1, $2, 'live', $3, 'en', 0, 0, 0, 0, 0)",
                f"s{number:03}",
                world.caller.project.id,
                f"telegram:{number + 1}",
            )

    await world.store.write(fill)
    retention = Retention(world.rules, DAYS)
    assert await world.store.write(lambda tx: retention.step(tx, 500)) == 500
    assert len(await left(world)) == 10
    assert await world.store.write(lambda tx: retention.step(tx, 500)) == 0
    assert await left(world) == set()


async def test_a_consent_while_somebody_is_forgotten_stands(world: World, clock: FakeClock) -> None:
    """Who comes back at that moment is subscribed, whichever was first."""
    for _ in range(4):
        await world.subscribe(ANN)
        clock.advance(ms=DAYS * DAY_MS)
        request_id = await world.request()
        retention = Retention(world.rules, DAYS)
        await world.store.write(lambda tx: tx.remember(WALK, None))
        await asyncio.gather(
            world.taps.open(world.update(ANN), request_id),
            world.store.write(lambda tx, it=retention: it.step(tx, 9)),  # type: ignore[misc]
        )
        await world.taps.consent(world.update(ANN), request_id)
        await world.settle()
        state = await world.service.status(world.caller, request_id)
        assert state.subscriber_id in await left(world)
        code = world.telegram.codes[-1]
        assert state.subscriber_id is not None
        assert (await world.verify(state.subscriber_id, code, request_id=request_id)).reason is None
        assert (await world.verify(state.subscriber_id, wrong(code))).reason is not None


async def test_the_language_of_nobodys_subscriber_goes_too(world: World, clock: FakeClock) -> None:
    """With the last subscription at once; of one who never had any, after the time."""
    sub = await world.subscribe(ANN)
    for person in (ANN, BOB):
        await world.taps.choose_language(world.update(person), "ru")
    await AccountCalls(world.service).forget(world.caller, sub)
    assert await world.store.read(lambda tx: tx.chosen_language(ANN)) is None
    clock.advance(ms=DAYS * DAY_MS - 1)
    await walk(world)
    assert await world.store.read(lambda tx: tx.chosen_language(BOB)) == "ru"
    clock.advance(ms=1)
    await walk(world)
    assert await world.store.read(lambda tx: tx.chosen_language(BOB)) is None
