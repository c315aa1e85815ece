"""Those who wait for a request to change: woken by what was committed, by time, and by a slow second look.

A waiter costs a few hundred bytes here, and no task or timer of its own. What wakes it says nothing but "look again":
what it is told is always read from the store, so a wake-up too many does no harm, and one that got lost only costs time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from heapq import heappop, heappush
from typing import Final

from otp.errors import StorageUnavailable
from otp.events import ChangesMissed, Event, request_of
from otp.model import Caller, RequestStatus
from otp.policy import SECOND_MS
from otp.ports import Clock, Store, Tx
from otp.service import OtpService, RequestState
from otp.tasks import Tasks

LOOK_SECONDS: Final = 10
"""In this time all who wait are looked after once, should a wake-up have been lost: a part of them now and then."""
LOOK_AT_ONCE: Final = 100
"""Requests that are looked at in one transaction: nobody waits long behind it."""
TICK_MS: Final = 25
"""Times are rounded up to this, so that many waiters share one alarm."""


class Waiter:
    """One caller that follows one request. Within its `with` block no change is missed."""

    __slots__ = ("_caller", "_home", "_request_id", "_rest", "_tick", "_told", "_turns_at", "_woken", "gone")

    def __init__(self, home: Waiters, caller: Caller, request_id: str) -> None:
        self._home = home
        self._caller = caller
        self._request_id = request_id
        self._rest: asyncio.Future[None] | None = None
        self._told: RequestState | None = None

        self._turns_at: int | None = None
        """When the state may change by time alone."""
        self._tick = 0
        self._woken = False
        self.gone = False
        """Whether whoever waited has gone away."""

    def __enter__(self) -> Waiter:
        self._home.enter(self._request_id, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._home.leave(self._request_id, self)

    async def state(self) -> RequestState:
        """What became of the request, now. Raises what `OtpService.status` raises."""
        self._woken = False  # before the look: what is committed during it wakes again
        told = await self._home.service.status(self._caller, self._request_id)
        self._turns_at = None if told.lasts_ms is None else self._home.clock.now() + told.lasts_ms
        self._told = told
        return told

    async def change(self, within_ms: int) -> RequestState | None:
        """The next state that is another one than was told last; None once the time is over or all waiting ends."""
        seen, until = self._told, self._home.clock.now() + within_ms
        while not self.gone:
            if self._must_look():
                if await self.state() != seen:
                    return self._told
            elif self._home.closed or self._home.clock.now() >= until:
                break
            else:
                try:
                    await self._lie_down(until)
                finally:
                    self._get_up()
        return None

    def give_up(self) -> None:
        """Nobody is there to be told any more: there is no change from now on."""
        self.gone = True
        self.rouse()

    def _must_look(self) -> bool:
        """Whether the state may be another one by now."""
        return self._woken or (self._turns_at is not None and self._home.clock.now() >= self._turns_at)

    def _lie_down(self, until: int) -> asyncio.Future[None]:
        """Done then, or when the state may change by time, or when somebody says to look."""
        self._rest = asyncio.get_running_loop().create_future()
        self._tick = self._home.alarm.set(
            until if self._turns_at is None else min(until, self._turns_at), self
        )
        return self._rest

    def _get_up(self) -> None:
        self._rest = None
        self._home.alarm.unset(self._tick, self)

    def wake(self) -> None:
        """Look again."""
        self._woken = True
        self.rouse()

    def rouse(self) -> None:
        """Rest no longer."""
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(None)


class Alarm:
    """One sleeper for all who wait for a time."""

    def __init__(self, clock: Clock, tasks: Tasks) -> None:
        self._clock = clock
        self._tasks = tasks
        self._due: dict[int, set[Waiter]] = {}
        self._ticks: list[int] = []
        """The times of `_due`, a heap. One that nobody waits for any more stays until it is over."""
        self._sleeper: asyncio.Task[None] | None = None
        self._until = 0

    def set(self, at: int, waiter: Waiter) -> int:
        """Rouse a waiter at this time or a moment later; what `unset` needs."""
        tick = -(-at // TICK_MS) * TICK_MS
        if tick not in self._due:
            self._due[tick] = set()
            heappush(self._ticks, tick)
            self._sleep()
        self._due[tick].add(waiter)
        return tick

    def unset(self, tick: int, waiter: Waiter) -> None:
        """Forget a waiter."""
        if tick in self._due:
            self._due[tick].discard(waiter)

    def _sleep(self) -> None:
        """Sleep until the first tick, if that is not being done."""
        first = self._ticks[0]
        if self._sleeper is not None:
            if self._until <= first:
                return
            self._sleeper.cancel()
        self._until = first
        self._sleeper = self._tasks.start(self._ring(first))

    async def _ring(self, at: int) -> None:
        while (left := at - self._clock.now()) > 0:
            await self._clock.sleep(left / SECOND_MS)
        self._sleeper = None
        now = self._clock.now()
        while self._ticks and self._ticks[0] <= now:
            for waiter in self._due.pop(heappop(self._ticks)):
                waiter.rouse()
        if self._ticks:
            self._sleep()


class Waiters:
    """All who wait in this process."""

    def __init__(
        self, service: OtpService, store: Store, clock: Clock, failed: Callable[[BaseException], None]
    ) -> None:
        """`failed` is told of our own bugs."""
        self.service = service
        self.clock = clock
        self.closed = False
        """Whether all waiting has ended: then nobody waits any more, and whoever comes is told the present state."""
        self._store = store
        self._tasks = Tasks(failed)
        self.alarm = Alarm(clock, self._tasks)
        self._waiting: dict[str, list[Waiter]] = {}
        self._looking = False

    def __len__(self) -> int:
        return sum(len(those) for those in self._waiting.values())

    def waiter(self, caller: Caller, request_id: str) -> Waiter:
        """Somebody who is going to wait for a request, from entering it as a context on."""
        return Waiter(self, caller, request_id)

    def enter(self, request_id: str, one: Waiter) -> None:
        """Count a waiter among those who are woken."""
        self._waiting.setdefault(request_id, []).append(one)
        if not self._looking and not self.closed:
            self._looking = True
            self._tasks.start(self._look_after())

    def leave(self, request_id: str, one: Waiter) -> None:
        """Let go of a waiter."""
        those = self._waiting[request_id]
        those.remove(one)
        if not those:
            del self._waiting[request_id]

    def on_event(self, event: Event) -> None:
        """Wake those whose answer an event may have changed, here or in another process."""
        request_id = request_of(event)
        if request_id is not None:
            self.wake(request_id)
        elif isinstance(event, ChangesMissed) and self._waiting and not self.closed:
            self._tasks.start(self._look_at_all())

    def wake(self, request_id: str) -> None:
        """Wake all who wait for a request."""
        for one in self._waiting.get(request_id, ()):
            one.wake()

    def end(self) -> None:
        """End all waiting: the process is about to end."""
        self.closed = True
        for those in self._waiting.values():
            for one in those:
                one.rouse()

    async def close(self) -> None:
        """End all waiting and the work behind it."""
        self.end()
        await self._tasks.drain(0)

    async def _look_after(self) -> None:
        """While there is anybody: see to it that whoever has something to be told looks."""
        try:
            while self._waiting and not self.closed:
                rounds = -(-len(self._waiting) // LOOK_AT_ONCE)
                await self.clock.sleep(LOOK_SECONDS / rounds)
                await self._look_at_all(LOOK_SECONDS / rounds)
        finally:
            self._looking = False

    async def _look_at_all(self, pause_seconds: float = 0) -> None:
        """One part after the other: not all who wait ask the store at once."""
        ids = list(self._waiting)
        for start in range(0, len(ids), LOOK_AT_ONCE):
            if start and pause_seconds:
                await self.clock.sleep(pause_seconds)
            await self._look(ids[start : start + LOOK_AT_ONCE])

    async def _look(self, ids: Sequence[str]) -> None:
        try:
            changed = await self._store.read(partial(_no_longer_pending, ids=ids))
        except StorageUnavailable:
            return  # whoever must be answered finds out by itself
        for request_id in changed:
            self.wake(request_id)


async def _no_longer_pending(tx: Tx, ids: Sequence[str]) -> list[str]:
    """The requests of which there is something to tell: only what is pending is worth waiting for."""
    enabled: dict[str, bool] = {}
    changed = []
    for request_id in ids:
        request = await tx.request(request_id)
        if request is not None and request.project_id not in enabled:
            project = await tx.project(request.project_id)
            enabled[request.project_id] = project is not None and project.enabled
        if (
            request is None
            or request.status is not RequestStatus.PENDING
            or request.reported
            or not enabled[request.project_id]
        ):
            changed.append(request_id)
    return changed
