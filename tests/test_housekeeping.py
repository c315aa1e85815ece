"""What time and deletions leave behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otp.errors import RequestNotFound
from otp.events import ERASE_PROJECT
from otp.housekeeping import (
    BATCH,
    FIRST_BATCH,
    HOLD_S,
    IN_A_ROW,
    LONG_REST,
    LONGEST_REST_S,
    MORE_MS,
    PATIENCE,
    SHORT_REST,
    SWEEP_MS,
    Batches,
    erase_project,
    expire_requests,
    purge,
    sweep,
)
from otp.model import Job, RequestStatus
from otp.policy import HOUR_MS, UPDATE_KEYS_KEPT_MS
from otp.ports import Tx
from otp.projects import CONFIGURED_PROJECT
from storage.sqlite import SqliteStore
from tests.fakes import START, FakeClock
from tests.world import LOGIN, World

KEY = "tc_live_" + "c" * 40
SWEEP = Job("sweep", "", START, 1, "me")


async def test_a_sweep_writes_ends_down_and_removes_what_is_over(world: World, clock: FakeClock) -> None:
    """And comes again in five seconds."""
    request_id = await world.request()
    do = sweep(world.store, clock)
    clock.advance(minutes=15)
    assert await do(SWEEP) == clock.now() + SWEEP_MS
    request = await world.store.read(lambda tx: tx.request(request_id))
    assert request is not None
    assert (request.status, request.finished_at) == (RequestStatus.EXPIRED, clock.now())
    clock.advance(minutes=60)
    assert await do(SWEEP) == clock.now() + SWEEP_MS
    assert await world.store.read(lambda tx: tx.request(request_id)) is None


@pytest.mark.parametrize("rows,wait", [(BATCH - 1, SWEEP_MS), (BATCH, MORE_MS)])
@pytest.mark.parametrize("what", ["ended", "removed"])
async def test_a_sweep_goes_on_soon_while_there_is_more(
    world: World, clock: FakeClock, what: str, rows: int, wait: int
) -> None:
    """A batch at a time, of requests that are over as well as of rows that go; where batches are small, many in a row."""
    one = (await world.service.request(world.caller, None, LOGIN)).request
    assert await sweep(world.store, clock)(SWEEP) == clock.now() + SWEEP_MS

    async def fill(tx: Tx) -> None:
        for number in range(rows):
            if what == "removed":
                await tx.first_sight(f"u{number}")
            elif number:
                await tx.add_request(replace(one, id=f"{number:016}", pairing_code=f"{number:08}"))

    await world.store.write(fill)
    if what == "removed":
        await world.store.write(lambda tx: tx.finish(one.id, RequestStatus.CANCELLED))
        clock.advance(minutes=60)
        await world.store.write(purge)
    clock.advance(ms=one.expires_at - one.created_at if what == "ended" else UPDATE_KEYS_KEPT_MS - HOUR_MS)
    do = sweep(world.store, clock)
    if world.store.holds_up:
        assert await clock.through(do(SWEEP)) == clock.now() + SWEEP_MS  # in as many batches as it takes
    else:
        assert await do(SWEEP) == clock.now() + wait


async def test_a_request_that_nobody_opened_is_forgotten_sooner(world: World, clock: FakeClock) -> None:
    """An hour after its end: a flood of them does not fill the store for a day."""
    left, seen = await world.request(), await world.request()
    await world.taps.open(world.update(), seen)
    clock.advance(minutes=15)
    await world.store.write(expire_requests)
    clock.advance(minutes=60, ms=-1)
    assert (await world.service.status(world.caller, left)).status is RequestStatus.EXPIRED
    clock.advance(ms=1)
    with pytest.raises(RequestNotFound):
        await world.service.status(world.caller, left)
    assert await world.store.write(purge) == 1
    assert (await world.service.status(world.caller, seen)).status is RequestStatus.EXPIRED


async def test_a_deletion_that_was_cut_short_is_finished_by_a_job(world: World, clock: FakeClock) -> None:
    """It is planned with the deletion itself, and has nothing to do after one that ran to its end."""
    sub = await world.subscribe()
    project_id = world.caller.project.id
    await world.store.write(lambda tx: tx.delete_project(project_id))
    assert await world.store.read(lambda tx: tx.subscriber_by_id(sub)) is not None
    erase = erase_project(world.store, clock)
    job = Job(ERASE_PROJECT, project_id, clock.now(), 1, "me")
    assert await erase(job) is None
    assert await world.store.read(lambda tx: tx.subscriber_by_id(sub)) is None
    assert await erase(job) is None


async def test_a_long_deletion_goes_on_a_moment_later(world: World, clock: FakeClock) -> None:
    """Others get their turn between two batches."""
    one = (await world.service.request(world.caller, None, LOGIN)).request

    async def fill(tx: Tx) -> None:
        for number in range(1, BATCH):
            await tx.add_request(replace(one, id=f"{number:016}", pairing_code=f"{number:08}"))
        await tx.delete_project(one.project_id)

    await world.store.write(fill)
    erase = erase_project(world.store, clock)
    job = Job(ERASE_PROJECT, one.project_id, clock.now(), 1, "me")
    if not world.store.holds_up:
        assert await erase(job) == clock.now() + MORE_MS
    assert await clock.through(erase(job)) is None


class Slow:
    """Work of which each row takes so long, and a watch that sees it."""

    def __init__(self, rows: int, seconds_each: float) -> None:
        self.left = rows
        self.each = seconds_each
        self.batches: list[int] = []
        self.time = 0.0

    async def some(self, _tx: Tx, rows: int) -> int:
        done = min(rows, self.left)
        self.left -= done
        self.batches.append(done)
        self.time += done * self.each
        return done

    def watch(self) -> float:
        return self.time


async def test_a_batch_is_as_large_as_takes_a_moment(clock: FakeClock) -> None:
    """Where all others wait for it. It grows step by step, and shrinks at once."""
    with_file = await SqliteStore.open(":memory:", clock)
    slow = Slow(100_000, HOLD_S / 100)
    batches = Batches(with_file, clock, slow.watch)
    assert await clock.through(batches.run(slow.some))
    assert slow.batches[:5] == [FIRST_BATCH, 2 * FIRST_BATCH, 100, 100, 100]
    slow.each = HOLD_S * 10
    slow.batches.clear()
    assert await clock.through(batches.run(slow.some))
    assert slow.batches[:3] == [100, 1, 1]
    await with_file.close()


async def test_no_rest_is_longer_than_a_few_seconds(clock: FakeClock) -> None:
    """A machine that stood still within a batch has not worked all the time."""
    with_file = await SqliteStore.open(":memory:", clock)
    slow = Slow(2, 3_600.0)
    batches = Batches(with_file, clock, slow.watch)
    batches.rows = 1
    began = clock.now()
    assert not await clock.through(batches.run(slow.some))
    assert clock.now() - began == 2 * LONGEST_REST_S * 1000
    assert slow.batches == [1, 1, 0]
    await with_file.close()


async def test_rests_are_long_and_grow_shorter_while_there_is_more(clock: FakeClock) -> None:
    """A hundredth of the time at first, a tenth at the end: else it could become ever more."""
    with_file = await SqliteStore.open(":memory:", clock)
    slow = Slow(10**9, 0.001)
    batches = Batches(with_file, clock, slow.watch)
    shares = []
    for _ in range((LONG_REST - SHORT_REST) * PATIENCE // IN_A_ROW + 2):
        began, worked = clock.now(), slow.time
        assert await clock.through(batches.run(slow.some))
        shares.append((clock.now() - began) / (slow.time - worked) / 1000)
    assert (round(shares[0]), round(shares[-1])) == (LONG_REST, SHORT_REST)
    assert shares == sorted(shares, reverse=True)
    slow.left = 0
    assert not await clock.through(batches.run(slow.some))
    slow.left, began, worked = 10**9, clock.now(), slow.time
    assert await clock.through(batches.run(slow.some))
    assert round((clock.now() - began) / (slow.time - worked) / 1000) == LONG_REST
    await with_file.close()


async def test_a_deletion_plans_its_job(world: World, clock: FakeClock) -> None:
    """In the same transaction."""
    await world.projects.delete(world.other.project.id)
    clock.advance(minutes=1)
    taken = await world.store.write(lambda tx: tx.take_job("me", 60_000))
    assert taken is not None
    assert (taken.kind, taken.subject) == (ERASE_PROJECT, world.other.project.id)


async def test_the_configured_project_can_come_back_while_it_is_erased(world: World) -> None:
    """A new life under the same id, with nothing of the old one."""
    await world.projects.configure("Shop", "", KEY)
    await world.store.write(lambda tx: tx.delete_project(CONFIGURED_PROJECT))
    await world.projects.configure("Shop again", "", KEY)
    found = {project.id: project.name for project in await world.projects.all()}
    assert found[CONFIGURED_PROJECT] == "Shop again"
