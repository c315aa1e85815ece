"""Those who wait for a request: what wakes them, and that nothing is missed and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from otp.errors import ProjectDisabled, StorageUnavailable
from otp.events import ChangesMissed, Event, RequestTouched
from otp.model import Caller, Refusal, RequestStatus
from otp.ports import About, Refused, Store, Unknown, Work
from otp.service import OtpService, RequestState
from otp.waiting import LOOK_SECONDS, Waiter, Waiters
from tests.fakes import NamedBots
from tests.world import World

T = TypeVar("T")


class Site(OtpService):
    """The service, which counts the looks, and lets something happen after one before its caller hears of it."""

    looks = 0
    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def status(self, caller: Caller, request_id: str) -> RequestState:
        self.looks += 1
        told = await super().status(caller, request_id)
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            await act()
        return told


class Dark:
    """A store that can't be read for so many times."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.holds_up = store.holds_up
        self.times = self.reads = 0

    async def read(self, work: Work[T], about: About | None = None) -> T:
        self.reads += 1
        if self.times:
            self.times -= 1
            raise StorageUnavailable("dark")
        return await self._store.read(work, about)

    async def caller(self, key_hash: bytes) -> Caller | None:
        return await self._store.caller(key_hash)

    async def write(self, work: Work[T], about: About | None = None) -> T:
        return await self._store.write(work, about)

    async def chore(self, work: Work[T]) -> T:
        return await self._store.chore(work)

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._store.listen(listener)

    async def close(self) -> None:
        await self._store.close()


class Hall:
    """Waiters over a world; deaf ones hear of no event."""

    def __init__(self, world: World, *, deaf: bool = False) -> None:
        self.world = world
        self.site = Site(world.store, world.rules, world.courier, NamedBots())
        self.dark = Dark(world.store)
        self.waiters = Waiters(self.site, self.dark, world.clock, world.failures.append)
        if not deaf:
            world.store.listen(self.waiters.on_event)

    async def begin(self, waiter: Waiter, seconds: float = 3600) -> asyncio.Task[RequestState | None]:
        """Wait for a change, and rest by now."""
        task = asyncio.create_task(waiter.change(round(seconds * 1000)))
        await self.world.settle()
        return task

    async def ask(self) -> str:
        """A request whose question Ann has before her."""
        request_id = await self.world.request()
        await self.world.taps.open(self.world.update(), request_id)
        return request_id

    async def cancel(self, request_id: str) -> None:
        """Ann presses Cancel; all have heard of it by now."""
        await self.world.taps.cancel(self.world.update(), request_id)
        await self.world.settle()

    def nothing_is_left(self) -> bool:
        """Nobody waits, and nobody would be roused."""
        return not self.waiters._waiting and not any(self.waiters.alarm._due.values())


@pytest.fixture
async def hall(world: World) -> AsyncIterator[Hall]:
    """Waiters who hear of all that is committed."""
    made = Hall(world)
    yield made
    await made.waiters.close()


@pytest.fixture
async def deaf(world: World) -> AsyncIterator[Hall]:
    """Waiters who hear of nothing."""
    made = Hall(world, deaf=True)
    yield made
    await made.waiters.close()


# ------------------------------------------------------------------ what wakes


async def test_a_code_that_arrived_wakes(hall: Hall) -> None:
    """With what the status call says from then on, and one look for it."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        assert (await waiter.state()).status is RequestStatus.PENDING
        change = await hall.begin(waiter)
        await hall.world.taps.consent(hall.world.update(), request_id)
        assert await change == await hall.world.service.status(hall.world.caller, request_id)
        assert change.result() is not None
        assert hall.site.looks == 2
    assert hall.nothing_is_left()


async def test_all_who_wait_for_a_request_are_woken_and_nobody_else(hall: Hall) -> None:
    """Three for one request, one for another."""
    one, other = await hall.ask(), await hall.ask()
    waiters = [hall.waiters.waiter(hall.world.caller, id_) for id_ in (one, one, one, other)]
    changes = []
    for waiter in waiters:
        waiter.__enter__()
        await waiter.state()
        changes.append(await hall.begin(waiter))
    assert len(hall.waiters) == 4
    await hall.cancel(one)
    assert [change.done() for change in changes] == [True, True, True, False]
    changes[3].cancel()
    await asyncio.wait(changes)
    for waiter in waiters:
        waiter.__exit__()
    assert hall.nothing_is_left()


async def test_a_change_between_the_first_look_and_the_rest_is_not_missed(hall: Hall) -> None:
    """No time goes by."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        await waiter.state()
        await hall.cancel(request_id)
        changed = await waiter.change(1000)
    assert changed is not None
    assert changed.status is RequestStatus.CANCELLED


async def test_a_change_during_a_look_is_not_missed(hall: Hall) -> None:
    """Committed after the look's own transaction, told of before its caller goes on."""
    request_id = await hall.ask()
    hall.site.meanwhile = lambda: hall.cancel(request_id)
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        assert (await waiter.state()).status is RequestStatus.PENDING
        changed = await waiter.change(1000)
    assert changed is not None
    assert changed.status is RequestStatus.CANCELLED


async def test_a_wake_up_without_a_change_is_no_change(hall: Hall) -> None:
    """From elsewhere they come for one request; when some were missed, nobody is woken for nothing."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        await waiter.state()
        change = await hall.begin(waiter)
        hall.waiters.on_event(RequestTouched(request_id))
        await hall.world.settle()
        assert hall.site.looks == 2
        hall.waiters.on_event(ChangesMissed())
        await hall.world.settle()
        assert hall.site.looks == 2
        assert not change.done()
        change.cancel()


async def test_it_was_not_me_while_the_code_is_at_the_messenger_wakes(hall: Hall) -> None:
    """The request is pending still, and reported: an answer like no other."""
    world, request_id = hall.world, await hall.ask()
    world.telegram.script.append(Unknown())
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    code_id = world.telegram.parcels[-1].delivery.code_id
    world.telegram.hold = asyncio.Event()
    await world.protection.repeat(world.update(), code_id)  # "Send again"
    await world.settle()
    with hall.waiters.waiter(world.caller, request_id) as waiter:
        assert not (await waiter.state()).reported
        change = await hall.begin(waiter)
        await world.protection.not_me(world.update(), code_id)
        state = await change
    assert state is not None
    assert (state.status, state.reported) == (RequestStatus.PENDING, True)


# ---------------------------------------------------------------------- time


async def test_without_a_change_the_time_is_over(hall: Hall) -> None:
    """Not before, and with nothing to tell."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        await waiter.state()
        change = await hall.begin(waiter, seconds=5)
        hall.world.clock.advance(ms=4999)
        await hall.world.settle()
        assert not change.done()
        hall.world.clock.advance(ms=1)
        assert await change is None
        assert hall.site.looks == 1


async def test_the_end_of_a_request_wakes_though_nothing_happens(deaf: Hall) -> None:
    """The moment that its 15 minutes are over."""
    request_id = await deaf.ask()
    with deaf.waiters.waiter(deaf.world.caller, request_id) as waiter:
        await waiter.state()
        deaf.world.clock.advance(minutes=14.9)
        change = await deaf.begin(waiter)
        deaf.world.clock.advance(minutes=0.1)
        state = await change
    assert state is not None
    assert state.status is RequestStatus.EXPIRED


async def late(hall: Hall) -> str:
    """A request that is over while its code is at the messenger."""
    world = hall.world
    request_id = await hall.ask()
    world.telegram.hold = asyncio.Event()
    world.clock.advance(minutes=14.9)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    world.clock.advance(minutes=0.1)
    return request_id


async def test_a_delivery_under_way_keeps_a_request_pending_for_15_seconds(deaf: Hall) -> None:
    """Then that is over too, and whoever waits is told."""
    request_id = await late(deaf)
    with deaf.waiters.waiter(deaf.world.caller, request_id) as waiter:
        assert (await waiter.state()).status is RequestStatus.PENDING
        change = await deaf.begin(waiter)
        deaf.world.clock.advance(ms=14_999)
        await deaf.world.settle()
        assert not change.done()
        deaf.world.clock.advance(ms=1)
        state = await change
    assert state is not None
    assert state.status is RequestStatus.EXPIRED


async def test_a_delivery_refused_after_the_end_wakes(hall: Hall) -> None:
    """It alone kept the request pending: no time goes by until the answer."""
    hall.world.telegram.script.append(Refused(Refusal.REJECTED))
    request_id = await late(hall)
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        assert (await waiter.state()).status is RequestStatus.PENDING
        change = await hall.begin(waiter)
        assert hall.world.telegram.hold is not None
        hall.world.telegram.hold.set()
        state = await change
    assert state is not None
    assert state.status is RequestStatus.EXPIRED


# ------------------------------------------------------------------ the second look


async def test_a_lost_wake_up_costs_ten_seconds_at_most(deaf: Hall) -> None:
    """Nobody told them, and they are told all the same."""
    request_id = await deaf.ask()
    with deaf.waiters.waiter(deaf.world.caller, request_id) as waiter:
        await waiter.state()
        change = await deaf.begin(waiter)
        await deaf.cancel(request_id)
        assert not change.done()
        deaf.world.clock.advance(seconds=LOOK_SECONDS)
        state = await change
    assert state is not None
    assert state.status is RequestStatus.CANCELLED


async def test_looking_after_a_crowd_is_a_few_transactions(deaf: Hall) -> None:
    """Who has nothing to be told does not look, and 250 requests are seen in three reads, one after another."""
    ids = [await deaf.world.request() for _ in range(250)]
    changes = []
    for request_id in ids:
        waiter = deaf.waiters.waiter(deaf.world.caller, request_id)
        waiter.__enter__()
        changes.append(asyncio.create_task(waiter.change(3_600_000)))
    await deaf.world.settle()
    assert len(deaf.waiters._tasks._running) == 2  # one alarm, one look-out
    reads = deaf.dark.reads
    deaf.dark.times = 1  # the first one fails, and that does no harm
    for round_ in (1, 2, 3):
        deaf.world.clock.advance(seconds=LOOK_SECONDS / 3 + 0.01)
        await deaf.world.settle()
        assert deaf.dark.reads == reads + round_
    assert deaf.site.looks == 0
    assert not any(change.done() for change in changes)
    for change in changes:
        change.cancel()


async def test_a_project_that_is_disabled_is_found_out(hall: Hall) -> None:
    """No event tells of it."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        await waiter.state()
        change = await hall.begin(waiter)
        await hall.world.projects.set_enabled(hall.world.caller.project.id, False)
        hall.world.clock.advance(seconds=LOOK_SECONDS)
        with pytest.raises(ProjectDisabled):
            await change


# ------------------------------------------------------------------ the end


async def test_whoever_goes_away_leaves_nothing(hall: Hall) -> None:
    """Neither among those who wait nor for the alarm."""
    request_id = await hall.ask()

    async def wait() -> None:
        with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
            await waiter.state()
            await waiter.change(1000)

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await hall.world.settle()
    assert len(hall.waiters) == 3
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert hall.nothing_is_left()


async def test_the_end_of_the_process_ends_all_waiting(hall: Hall) -> None:
    """At once, and for whoever comes then; nothing goes on behind it."""
    request_id = await hall.ask()
    with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
        await waiter.state()
        change = await hall.begin(waiter)
        hall.waiters.end()
        assert await change is None
        assert await waiter.change(1000) is None
        assert (await waiter.state()).status is RequestStatus.PENDING
    await hall.waiters.close()
    assert hall.waiters._tasks.idle


async def test_an_earlier_time_is_not_slept_through(hall: Hall) -> None:
    """Whoever waits shorter than all others is not held up by them, nor holds them up."""
    request_id = await hall.world.request()
    ends: list[int] = []

    async def wait(seconds: int) -> None:
        with hall.waiters.waiter(hall.world.caller, request_id) as waiter:
            await waiter.change(seconds * 1000)
        ends.append(seconds)

    tasks = [asyncio.create_task(wait(seconds)) for seconds in (9, 3, 6)]
    await hall.world.settle()
    for at in (3, 6, 9):
        hall.world.clock.advance(seconds=3)
        await hall.world.settle()
        assert ends[-1] == at
    await asyncio.gather(*tasks)
