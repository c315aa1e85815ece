"""One process at a time on an SQLite file: its lock, awaited for a while."""

from __future__ import annotations

import asyncio
from typing import Final

from config.process import EXIT_BUSY, StartError
from storage.ownership import FileLock

LOCK_SECONDS: Final = 10


async def own(database: str, stop: asyncio.Event) -> FileLock:
    """The lock of a database file, waiting for an owner that is about to go. Raises `StartError`."""
    lock = FileLock(database)
    if not await lock.acquire_within(LOCK_SECONDS, stop):
        raise StartError(
            f"another process serves the database {database} (waited {LOCK_SECONDS} s): stop it first",
            EXIT_BUSY,
        )
    return lock
