"""Fakes of what the domain needs from outside: time that stands still, randomness from a seed, a scripted messenger."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, TypeVar

from config.clock import wall_ms
from otp.errors import StorageUnavailable
from otp.events import ChangesMissed, Event
from otp.model import Caller, Channel, Parcel
from otp.ports import About, Accepted, Outcome, Store, Tx, Work
from storage.postgres import PostgresStore
from storage.sqlite import SqliteStore

T = TypeVar("T")

START = 1_800_000_000_000
"""When every test begins, in ms since the epoch."""


class FakeClock:
    """Moves only when it is told to, and wakes those who slept until then."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> int:
        return self._now

    def never_before(self, at: int) -> None:
        self._now = max(self._now, at)

    def set(self, at: int) -> None:
        """Go anywhere, backwards too."""
        self._now = at

    def advance(self, *, ms: int = 0, seconds: float = 0, minutes: float = 0) -> None:
        """Move forward."""
        self._now += ms + round(seconds * 1000) + round(minutes * 60_000)
        while self._sleepers and self._sleepers[0][0] <= self.now():
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    async def through(self, doing: Coroutine[Any, Any, T]) -> T:
        """Have something done that sleeps now and then: time goes on as far as it sleeps."""
        task = asyncio.ensure_future(doing)
        while not task.done():
            if self._sleepers:
                self.advance(ms=max(0, self._sleepers[0][0] - self._now))
            await asyncio.sleep(0)
        return task.result()

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now() + round(seconds * 1000), next(self._order), future))
        await future


class GoingClock(FakeClock):
    """Goes on with this machine's clock, and ahead of it by what it is told."""

    def __init__(self) -> None:
        super().__init__(0)

    def now(self) -> int:
        return wall_ms() + self._now

    def never_before(self, at: int) -> None:
        self._now += max(0, at - self.now())

    def set(self, at: int) -> None:
        self._now = at - wall_ms()

    async def sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(super().sleep(seconds), seconds)


class SeededRandomness:
    """Looks random, repeats itself in every run."""

    def __init__(self, seed: str = "seed") -> None:
        self._blocks = (sha256(f"{seed}:{n}".encode()).digest() for n in itertools.count())

    def bytes(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += next(self._blocks)
        return found[:count]

    def text(self, length: int) -> str:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
        return "".join(alphabet[byte % 62] for byte in self.bytes(length))

    def uuid(self) -> str:
        raw = self.bytes(16).hex()
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:32]}"


class NamedBots:
    """Bots whose names are known, or become known once they are looked for."""

    def __init__(
        self, names: dict[Channel, str] | None = None, kept: dict[Channel, str] | None = None
    ) -> None:
        self._names: dict[Channel, str | None] = {**dict.fromkeys(kept or {}), **(names or {})}
        self._kept = kept or {}
        self.unsound: set[Channel] = set()
        """Against which something speaks."""

    def is_sound(self, channel: Channel) -> bool:
        return channel not in self.unsound

    def names(self) -> dict[Channel, str | None]:
        return dict(self._names)

    async def recall(self, _tx: Tx) -> None:
        self._names.update(self._kept)


@dataclass
class FakeMessenger:
    """Takes parcels as a script says: an outcome, or a callable that makes one; `Accepted` when the script is over."""

    script: list[Outcome | Callable[[Parcel], Outcome]] = field(default_factory=list)
    parcels: list[Parcel] = field(default_factory=list)
    patience: list[int] = field(default_factory=list)
    """How long each attempt might have taken, in ms."""
    hold: asyncio.Event | None = None
    """While set to an event, attempts wait for it."""

    async def hand_over(self, parcel: Parcel, timeout_ms: int) -> Outcome:
        assert timeout_ms > 0
        self.parcels.append(parcel)
        self.patience.append(timeout_ms)
        if self.hold is not None:
            await self.hold.wait()
        step = self.script.pop(0) if self.script else Accepted(f"m{len(self.parcels)}")
        return step(parcel) if callable(step) else step

    @property
    def codes(self) -> list[str]:
        """The digits handed over, oldest first."""
        return [parcel.digits for parcel in self.parcels]


def what_happened(heard: list[Event]) -> Callable[[Event], None]:
    """Notes what happened here; that the line to other processes was made at some moment is no part of it."""
    return lambda event: None if isinstance(event, ChangesMissed) else heard.append(event)


def at_rest(store: Store) -> bool:
    """Whether a store has nothing to do."""
    return not isinstance(store, (PostgresStore, SqliteStore)) or store.idle


class FailingStore:
    """A store whose next writes fail, or its next reads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.holds_up = store.holds_up
        self.times = 0
        self.reads = 0

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._store.listen(listener)

    async def read(self, work: Work[T], about: About | None = None) -> T:
        if self.reads:
            self.reads -= 1
            raise StorageUnavailable("away")
        return await self._store.read(work, about)

    async def close(self) -> None:
        await self._store.close()

    async def caller(self, key_hash: bytes) -> Caller | None:
        return await self._store.caller(key_hash)

    async def write(self, work: Work[T], about: About | None = None) -> T:
        if self.times:
            self.times -= 1
            raise StorageUnavailable("full")
        return await self._store.write(work, about)

    async def chore(self, work: Work[T]) -> T:
        return await self.write(work)
