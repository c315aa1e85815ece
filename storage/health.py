"""A look at a database from beside whoever owns it: nothing is locked, migrated or written. For `doctor`."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otp.errors import StorageUnusable
from storage.migrations import Migration, load, pending
from storage.rows import CLOCK_FACT
from storage.sqlite_file import FENCE, MIGRATIONS, MOVED_FACT

if TYPE_CHECKING:
    import asyncpg

CHECK_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 5.0
_STEPS: Final = 500
"""Instructions of SQLite's between two looks at the time."""


@dataclass(frozen=True, slots=True)
class SqliteHealth:
    """Sizes in bytes, the noted time in ms since the epoch."""

    version: str
    """Of SQLite."""
    size: int
    log_size: int
    schema: int
    newest: int
    """The newest step that this program knows."""
    unusable: str | None
    """Why this program would not serve it."""
    damage: str | None
    checked: bool
    """Whether all of it was checked in the time there was."""
    noted_at: int | None
    readable_by_others: bool


@dataclass(frozen=True, slots=True)
class PostgresHealth:
    """Sizes in bytes, times in ms since the epoch."""

    version: str
    version_number: int
    """As `server_version_num`: 140000 is 14.0."""
    schema: int
    newest: int
    unusable: str | None
    off: Sequence[str]
    """What must be on for commits to be durable."""
    standby: bool
    connections: int
    room: int
    """Connections that this user can still make."""
    size: int
    now: int


async def look_at_sqlite(path: str, seconds: float = CHECK_SECONDS) -> SqliteHealth | None:
    """An SQLite file; None where none is. Raises `StorageUnusable`: it can't be read at all."""
    return await asyncio.to_thread(_look, Path(path), seconds)


def _look(path: Path, seconds: float) -> SqliteHealth | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnusable(f"the file can't be read ({error.strerror})") from error
    log = Path(f"{path}-wal")
    sizes = found.st_size, log.stat().st_size if log.exists() else 0
    known = load(MIGRATIONS)
    damage, whole, schema, unusable, noted = None, False, 0, None, None
    try:
        with closing(_opened(path)) as database:
            schema, unusable, noted = _read(database, known)
            damage, whole = _checked(database, seconds)
    except sqlite3.DatabaseError as error:
        damage = _damage(error)
        if damage is None:
            raise StorageUnusable(f"the file can't be read ({error})") from error
    return SqliteHealth(
        version=sqlite3.sqlite_version,
        size=sizes[0],
        log_size=sizes[1],
        schema=schema,
        newest=known[-1].version,
        unusable=unusable,
        damage=damage,
        checked=whole,
        noted_at=noted,
        readable_by_others=bool(found.st_mode & (stat.S_IROTH | stat.S_IRGRP)),
    )


def _opened(path: Path) -> sqlite3.Connection:
    """In WAL mode a reader holds up nobody, and nobody holds it up."""
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None, timeout=1, check_same_thread=False
    )


def _read(database: sqlite3.Connection, known: Sequence[Migration]) -> tuple[int, str | None, int | None]:
    """The schema's version, why this program would refuse the file, and the time that it has noted."""
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    applied, moved, noted = [], None, None
    if "schema" in tables:
        applied = database.execute(
            "SELECT version, oldest_program, checksum FROM schema WHERE version < ? ORDER BY version",
            (FENCE,),
        ).fetchall()
    if "facts" in tables:
        moved = database.execute("SELECT value FROM facts WHERE name = ?", (MOVED_FACT,)).fetchone()
        noted = database.execute("SELECT value FROM facts WHERE name = ?", (CLOCK_FACT,)).fetchone()
    unusable = _refused(known, applied)
    if unusable is None and moved is not None:
        unusable = f"the file is history: its content was moved ({moved[0]})"
    return _newest(applied), unusable, int(noted[0]) if noted else None


def _refused(known: Sequence[Migration], applied: Sequence[tuple[int, int, str]]) -> str | None:
    try:
        pending(known, applied)
    except StorageUnusable as error:
        return str(error)
    return None


def _newest(applied: Sequence[tuple[int, int, str]]) -> int:
    return max((version for version, _, _ in applied), default=0)


def _checked(database: sqlite3.Connection, seconds: float) -> tuple[str | None, bool]:
    """SQLite's own check of all pages, for so long: what is wrong, and whether it came to its end."""
    until = monotonic() + seconds
    database.set_progress_handler(lambda: monotonic() > until, _STEPS)
    try:
        told = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return None, False
        raise
    return (None if told == "ok" else " ".join(told.split())[:200]), True


def _damage(error: sqlite3.DatabaseError) -> str | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return str(error) if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) else None


async def look_at_postgres(url: str) -> PostgresHealth:
    """A PostgreSQL database, over one connection. Raises `StorageUnusable`."""
    import asyncpg  # noqa: PLC0415  # who looks at an SQLite file needs no other driver

    from storage.postgres import in_one_line  # noqa: PLC0415  # as above

    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, statement_cache_size=0)
    except TimeoutError:
        raise StorageUnusable(f"the server does not answer within {CONNECT_SECONDS:g} s") from None
    except OSError as error:  # asyncio puts the address into its own words
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        raise StorageUnusable(f"the server is not reached ({why or type(error).__name__})") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise StorageUnusable(f"the server lets nobody in: {in_one_line(error)}") from None
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _look_at(connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StorageUnusable(f"the server failed: {in_one_line(error)}") from None
    finally:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await connection.close(timeout=1)


async def _look_at(connection: asyncpg.Connection[asyncpg.Record]) -> PostgresHealth:
    from storage.postgres import MIGRATIONS as STEPS  # noqa: PLC0415  # as above

    told = await connection.fetchrow(_SERVER)
    if told is None:
        raise StorageUnusable("the server tells nothing of itself")
    known = load(STEPS)
    applied: list[tuple[int, int, str]] = []
    if told["has_schema"]:
        found = await connection.fetch(
            "SELECT version, oldest_program, checksum FROM schema ORDER BY version"
        )
        applied = [(row["version"], row["oldest_program"], row["checksum"]) for row in found]
    return PostgresHealth(
        version=told["version"],
        version_number=told["number"],
        schema=_newest(applied),
        newest=known[-1].version,
        unusable=_refused(known, applied),
        off=[name for name in _DURABLE if told[name] == "off"],
        standby=told["standby"],
        connections=told["connections"],
        room=max(0, told["most"] - told["connections"]),
        size=told["size"],
        now=told["now"],
    )


_DURABLE: Final = ("synchronous_commit", "fsync", "full_page_writes")
_SERVER: Final = """
SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
       current_setting('server_version_num')::int AS number,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       pg_is_in_recovery() AS standby,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS most,
       (SELECT sum(numbackends)::int FROM pg_stat_database) AS connections,
       pg_database_size(current_database()) AS size,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now,
       to_regclass('schema') IS NOT NULL AS has_schema
"""
