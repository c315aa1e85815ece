"""The line between replicas: what changed elsewhere is told here, over one connection that listens.

Told after the commit and not by it: PostgreSQL lets transactions that notify commit only one after the other. What is
lost with a connection is made up for by `ChangesMissed` once there is a new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from secrets import randbelow, token_hex
from typing import Any, Final

import asyncpg

from otp.events import ChangesMissed, Event, RequestTouched, request_of
from otp.tasks import Tasks
from storage.rows import CLOCK_FACT

CHANNEL: Final = "tapcode"
NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
"""The database's time in ms since the epoch."""
BEAT_S: Final = 5.0
"""How often the time is noted, below which no process begins, and the line is tried."""
PATIENCE_S: Final = 5.0
MOST_WAITING: Final = 100_000
"""Changes kept for a line that is down; readers look again by themselves."""

_NOTE_TIME = (
    f"INSERT INTO facts (name, value) VALUES ('{CLOCK_FACT}', {NOW}::text) ON CONFLICT (name) DO UPDATE "
    "SET value = excluded.value WHERE facts.value::bigint < excluded.value::bigint"
)


class Line:
    """Tells other processes what changed here, and this one what changed there."""

    def __init__(self, url: str, publish: Callable[[Sequence[Event]], None], *, own_time: bool) -> None:
        self._url = url
        self._publish = publish
        self._name = token_hex(8)
        self._waiting: list[str] = []
        self._news = asyncio.Event()
        self._tasks = Tasks(lambda _: None)
        self._own_time = own_time
        self._closed = False
        self._hurry = asyncio.Event()

    def begin(self) -> None:
        """Connect and stay connected."""
        self._tasks.start(self._stay())

    async def close(self) -> None:
        """Tell what is still to be told, and hang up."""
        self._closed = True
        self._news.set()
        self._hurry.set()
        await self._tasks.drain(PATIENCE_S)  # a connection that is being made can't be left alone

    def announce(self, events: Sequence[Event]) -> None:
        """Tell the others, as soon as may be."""
        told = list(dict.fromkeys(one for one in map(request_of, events) if one is not None))
        if told and len(self._waiting) < MOST_WAITING:
            self._waiting += told
            self._news.set()

    async def _stay(self) -> None:
        while not self._closed:
            with suppress(Exception):  # whatever it is: without a line no time is noted
                await self._hold()
            with suppress(TimeoutError):
                async with asyncio.timeout((500 + randbelow(1500)) / 1000):
                    await self._hurry.wait()

    async def _hold(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            connection = await asyncpg.connect(self._url, statement_cache_size=0)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await connection.add_listener(CHANNEL, self._heard)
            connection.add_termination_listener(lambda _: self._news.set())
            self._publish([ChangesMissed()])
            beat_at = self._now() + BEAT_S
            while True:
                async with asyncio.timeout(PATIENCE_S):
                    await self._tell(connection)
                if self._closed:
                    return
                if self._now() >= beat_at:  # however much there is to tell
                    async with asyncio.timeout(PATIENCE_S):
                        await connection.execute(_NOTE_TIME if self._own_time else "SELECT 1")
                    beat_at = self._now() + BEAT_S
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(beat_at):
                        await self._news.wait()
        finally:
            connection.terminate()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _tell(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._news.clear()
        if connection.is_closed():
            raise ConnectionResetError
        told, self._waiting = self._waiting, []
        if told:
            await connection.execute(
                "SELECT pg_notify($1, $2 || ' ' || told) FROM unnest($3::text[]) AS told",
                CHANNEL,
                self._name,
                told,
            )

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        name, _, request_id = str(payload).partition(" ")
        if name != self._name and request_id:
            self._publish([RequestTouched(request_id)])
