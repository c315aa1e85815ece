"""A checked copy of an SQLite database that is in use, without anything from which a code could be told."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

from otp.errors import StorageUnavailable, StorageUnusable
from otp.ports import Clock
from storage import remove
from storage.sqlite import SqliteStore
from storage.sqlite_file import BUSY_MS


async def back_up(database: str, target: Path, clock: Clock) -> int:
    """Copy a database to a new file, while its owner goes on working; the bytes of the copy.

    The copy is one consistent state, its live codes are dead, it has passed SQLite's own checks and is on disk before it
    has its name. Raises `StorageUnusable`: the target is there already, or something went wrong; nothing is left then.
    """
    part = target.with_name(f".{target.name}.{token_hex(4)}.part")
    try:
        await _copy(database, part, target)
        await _without_codes(part, clock)
        return await asyncio.to_thread(_finish, part, target)
    except FileExistsError:
        raise StorageUnusable(f"{target} is there already: nothing is overwritten") from None
    except (FileNotFoundError, PermissionError) as error:
        raise StorageUnusable(
            f"the backup failed: {error.strerror}: the service's user must be able to write to {target.parent}"
        ) from error
    except (sqlite3.Error, OSError, StorageUnavailable) as error:
        raise StorageUnusable(f"the backup failed: {error.__cause__ or error}") from error
    finally:
        with suppress(OSError):
            remove(str(part))


async def _copy(database: str, part: Path, target: Path) -> None:
    """One consistent state, read beside the owner's connection: readers hold up nobody in WAL mode."""
    address = f"file:{quote(database)}?mode=rw"
    with closing(
        sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False
        )
    ) as source:
        copying = asyncio.get_running_loop().run_in_executor(None, _vacuum_into, source, part, target)
        try:
            await asyncio.shield(copying)
        except asyncio.CancelledError:  # the process is about to end, and would wait for the thread
            source.interrupt()
            with suppress(sqlite3.Error, OSError):
                await copying
            raise


def _vacuum_into(source: sqlite3.Connection, part: Path, target: Path) -> None:
    if target.exists():
        raise FileExistsError
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))  # SQLite itself would obey the umask
    source.execute("VACUUM INTO ?", (str(part),))


async def _without_codes(part: Path, clock: Clock) -> None:
    """Nor phone numbers that wait to be told: they live no longer than their request, and a copy may."""
    store = await SqliteStore.open(str(part), clock)
    try:
        await store.write(lambda tx: tx.revoke_codes())
        await store.write(lambda tx: tx.drop_asked_numbers())
    finally:
        await store.close()


def _finish(part: Path, target: Path) -> int:
    """Nothing of what was deleted stays in free pages; one file, sound, on disk, and only then under its name."""
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        copy.execute("VACUUM")
        found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
        dangling = copy.execute("PRAGMA foreign_key_check").fetchone()
    if found != "ok" or dangling is not None:
        raise StorageUnusable(f"the copy is not sound, so the database may be damaged: {found}")
    _sync(part)
    os.link(part, target)  # unlike a rename, this never takes the place of another file
    _sync(target.parent)
    return target.stat().st_size


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
