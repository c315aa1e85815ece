"""An SQLite file: its one connection, with a thread of its own, and what is done to it before it is served."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar, cast

import aiosqlite

from otp.errors import StorageUnavailable, StorageUnusable
from storage.migrations import Migration, pending
from storage.rows import CLOCK_FACT
from storage.sqlite_log import LONGEST

T = TypeVar("T")

BUSY_MS: Final = 5_000
"""How long one transaction waits for another process that holds the file."""
ENDING_S: Final = 10.0
"""How long the thread of a connection may take to end."""
CACHE_KIB: Final = 16 * 1024
"""Pages kept in memory, as they come to be used: ids are random, so each row lies on another page. SQLite's own 2 MiB
hold the indexes of some ten thousand people."""
STATEMENTS: Final = 512
"""More than there are, so that each is prepared once."""
CHECKED_BYTES: Final = 64 * 1024 * 1024
"""A database up to this size is checked page by page at start."""
MOVED_FACT: Final = "moved"
"""`begun ADDRESS` or `done ADDRESS`: where the truth is now; see `storage.move`."""
FENCE: Final = 9_999
"""A schema that no program knows: it stands in a file that was moved, for programs too old to know the fact."""
RESTORE: Final = "keep a copy of the file, then put a backup in its place"
MIGRATIONS: Final = Path(__file__).with_name("sqlite_migrations")


class FileConnection(aiosqlite.Connection):
    """aiosqlite's thread and queue, with whole functions instead of single statements."""

    _given_up = False

    async def start(self) -> None:
        """Start the thread and connect on it; a failed connection leaves no thread behind."""
        try:
            _ = await self
        except BaseException:
            await self.ended()
            raise

    async def ended(self) -> None:
        """Wait until the thread is gone: it speaks to the loop, which must not close before."""
        await asyncio.to_thread(self._thread.join, ENDING_S)

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the thread. A cancelled caller does not stop it."""
        done = await self._execute(lambda: work(self._live()))  # type: ignore[no-untyped-call]
        return cast(T, done)

    @property
    def lost(self) -> bool:
        """Whether the connection must be made anew, on the thread."""
        return self._given_up

    @property
    def database(self) -> sqlite3.Connection:
        """The connection itself, for its one user at a time."""
        return self._conn

    def _live(self) -> sqlite3.Connection:
        """On the thread: the connection, made anew when the last one had to be given up."""
        if self._given_up:
            self._connection = self._connector()
            self._given_up = False
        return self._conn

    def give_up(self) -> None:
        """Let go of a connection that is stuck in a transaction it can't leave."""
        self._given_up = True
        self._conn.close()


class Files:
    """The files at a database's path, once seen: SQLite would write for ever into what was deleted or replaced."""

    def __init__(self, path: str) -> None:
        self.path = None if path == ":memory:" else path
        self._paths = [] if self.path is None else [path, f"{path}-wal"]
        self._seen = self._there()

    def forget(self) -> None:
        """A new connection will open what is there then."""
        self._seen = [None for _ in self._paths]

    def check(self) -> None:
        """Raise `StorageUnavailable` when they are there no longer."""
        there = self._there()
        if any(seen not in (None, now) for seen, now in zip(self._seen, there, strict=True)):
            raise StorageUnavailable("The database was moved away: restart the service.", retry_after=5)
        self._seen = there  # the log of a new connection comes with its first transaction

    def _there(self) -> list[tuple[int, int] | None]:
        return [_identity(path) for path in self._paths]


def in_one_line(error: BaseException) -> str:
    """What is wrong with a file, and what to do where that is known."""
    told = " ".join(str(error).split())
    damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return f"{told} ({RESTORE})" if damaged else told


def _identity(path: str) -> tuple[int, int] | None:
    """What tells a file from another one that takes its place."""
    try:
        found = os.stat(path)  # noqa: PTH116  # twice in every transaction: a Path costs more than the call
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def connect(path: str) -> sqlite3.Connection:
    """One connection to the file, which only its owner may read."""
    if path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    database = sqlite3.connect(
        path,
        isolation_level=None,
        timeout=BUSY_MS / 1000,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )
    database.row_factory = sqlite3.Row
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {LONGEST}",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
        f"cache_size = -{CACHE_KIB}",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
    return database


def hurry(database: sqlite3.Connection) -> None:
    """On the loop nothing may wait for another program that holds the file."""
    database.execute("PRAGMA busy_timeout = 0")


def prepare(
    database: sqlite3.Connection, path: str, known: Sequence[Migration], *, history: bool
) -> int | None:
    """Check the file and apply what is missing, all or nothing, alone; the time that was noted last."""
    if path != ":memory:" and Path(path).stat().st_size <= CHECKED_BYTES:
        found = database.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StorageUnusable(f"the file is damaged: {found} ({RESTORE})")
    database.execute("BEGIN EXCLUSIVE")
    try:
        database.execute(
            "CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, oldest_program INTEGER NOT NULL, "
            "checksum TEXT NOT NULL) STRICT"
        )
        applied = database.execute(
            "SELECT version, oldest_program, checksum FROM schema WHERE version < ? ORDER BY version",
            (FENCE,),
        ).fetchall()
        for step in pending(known, [tuple(row) for row in applied]):
            for statement in _statements(step.sql):
                database.execute(statement)
            database.execute(
                "INSERT INTO schema VALUES (?, ?, ?)", (step.version, step.oldest_program, step.checksum)
            )
        if not history:
            _refuse_history(database)
        # Nobody else can own this file: leases of before belong to the dead.
        database.execute("UPDATE jobs SET lease_until = 0")
        noted = database.execute("SELECT value FROM facts WHERE name = ?", (CLOCK_FACT,)).fetchone()
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
    return int(noted["value"]) if noted else None


def _refuse_history(database: sqlite3.Connection) -> None:
    """Two truths would each accept a code once."""
    found = database.execute("SELECT value FROM facts WHERE name = ?", (MOVED_FACT,)).fetchone()
    if found is None:
        return
    state, _, address = str(found["value"]).partition(" ")
    if state == "done":
        raise StorageUnusable(
            f"it was moved to {address} and is history: set DATABASE_URL to that, or go back with `move --undo`"
        )
    raise StorageUnusable(
        f"its move to {address} was begun, and may have arrived: repeat `move --to`, or go back with `move --undo`"
    )


def _statements(script: str) -> list[str]:
    """The single statements of a script (sqlite3's own executescript would commit between them)."""
    found, waiting = [], ""
    for line in script.splitlines(keepends=True):
        waiting += line
        if sqlite3.complete_statement(waiting):
            found.append(waiting)
            waiting = ""
    return found
