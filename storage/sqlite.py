"""SQLite: one connection, one thread, one writer; every transaction is on disk before it is answered.

An operation is a coroutine that awaits nothing but its transaction, so it is run to its end in one go on the
connection's thread: no other operation comes between, and a caller that goes away can't leave it half done.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar, cast

import aiosqlite

from otp.errors import StorageUnavailable, StorageUnusable
from otp.events import Event
from otp.model import Person
from otp.ports import Clock, Work
from storage.migrations import Migration, load, pending
from storage.rows import CLOCK_FACT, Row
from storage.statements import SqlTx

T = TypeVar("T")

BUSY_MS: Final = 5_000
"""How long one transaction waits for another process that holds the file."""
DEADLINE_S: Final = 10.0
"""An operation that has not begun after this long fails instead of running late."""
CHECKED_BYTES: Final = 64 * 1024 * 1024
"""A database up to this size is checked page by page at start."""
WRITE: Final = "BEGIN IMMEDIATE"
CLOCK_STEP_MS: Final = 1_000
MOVED_FACT: Final = "moved"
"""`begun ADDRESS` or `done ADDRESS`: where the truth is now; see `storage.move`."""
FENCE: Final = 9_999
"""A schema that no program knows: it stands in a file that was moved, for programs too old to know the fact."""
RESTORE: Final = "keep a copy of the file, then put a backup in its place"
MIGRATIONS: Final = Path(__file__).with_name("sqlite_migrations")


class SqliteTx(SqlTx):
    """A transaction on the connection's thread; nothing in it ever waits."""

    LOCKED = ""
    SHARED = ""
    SKIP_LOCKED = ""

    def __init__(self, database: sqlite3.Connection, now: int) -> None:
        super().__init__(now)
        self._database = database

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        named = {str(number): value for number, value in enumerate(values, 1)}
        return cast(Sequence[Row], self._database.execute(sql, named).fetchall())

    async def alone(self, person: Person) -> None:
        pass  # as every writer is

    async def _lock_around(self, delivery_id: str) -> None:
        pass


class _Connection(aiosqlite.Connection):
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
        await asyncio.to_thread(self._thread.join, DEADLINE_S)

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the thread. A cancelled caller does not stop it."""
        done = await self._execute(lambda: work(self._live()))  # type: ignore[no-untyped-call]
        return cast(T, done)

    def _live(self) -> sqlite3.Connection:
        """On the thread: the connection, made anew when the last one had to be given up."""
        if self._given_up:
            self._connection = self._connector()
            self._given_up = False
        return self._conn

    def give_up(self) -> None:
        """On the thread: let go of a connection that is stuck in a transaction it can't leave."""
        self._given_up = True
        self._conn.close()


class _Files:
    """The files at a database's path, once seen: SQLite would write for ever into what was deleted or replaced."""

    def __init__(self, path: str) -> None:
        self._paths = [] if path == ":memory:" else [path, f"{path}-wal"]
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


class SqliteStore:
    """See `otp.ports.Store`."""

    def __init__(self, connection: _Connection, files: _Files, clock: Clock) -> None:
        self._connection = connection
        self._files = files
        self._clock = clock
        self._listeners: list[Callable[[Event], None]] = []
        self._loop = asyncio.get_running_loop()
        self._clock_noted = 0

    @classmethod
    async def open(
        cls, path: str, clock: Clock, migrations: Path = MIGRATIONS, *, history: bool = False
    ) -> SqliteStore:
        """Create or open a database file (or `:memory:`), and bring it up to date. Raises `StorageUnusable`.

        What was moved to PostgreSQL is opened only as `history`.
        """
        connection = _Connection(lambda: connect(path), iter_chunk_size=64)
        try:
            await connection.start()
            try:
                noted = await connection.call(
                    lambda database: _prepare(database, path, load(migrations), history=history)
                )
            except BaseException:
                await connection.close()
                await connection.ended()
                raise
        except (sqlite3.Error, OSError, StorageUnusable) as error:
            raise StorageUnusable(f"can't use the database {path}: {_in_one_line(error)}") from error
        store = cls(connection, _Files(path), clock)
        if noted is not None:
            clock.never_before(noted)
        return store

    async def write(self, work: Work[T]) -> T:
        return await self._run(WRITE, work)

    async def read(self, work: Work[T]) -> T:
        return await self._run("BEGIN", work)

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    async def close(self) -> None:
        await self._connection.close()
        await self._connection.ended()

    async def _run(self, begin: str, work: Work[T]) -> T:
        deadline = monotonic() + DEADLINE_S
        try:
            return await self._connection.call(
                lambda database: self._transaction(database, begin, work, deadline)
            )
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a bug of ours, not the disk's fault
        except (sqlite3.Error, OSError) as error:
            raise StorageUnavailable("The store can't be used now.", retry_after=5) from error

    def _transaction(self, database: sqlite3.Connection, begin: str, work: Work[T], deadline: float) -> T:
        """On the thread: one transaction from begin to commit."""
        if monotonic() > deadline:
            raise StorageUnavailable("The store is busy.", retry_after=5)
        try:
            database.execute(begin)
            tx = SqliteTx(database, self._clock.now())
            value: T = _finished(work(tx))
            _finished(tx.write_jobs())
            if begin == WRITE:  # also when nothing changes: what it saw dead must be dead after a restart too
                self._note_time(database, tx.now)
            self._files.check()
            database.execute("COMMIT")
        except BaseException:
            self._roll_back(database)
            raise
        if tx.events:
            self._loop.call_soon_threadsafe(self._publish, tx.events)
        return value

    def _note_time(self, database: sqlite3.Connection, now: int) -> None:
        """The high-water mark: after a restart the clock does not begin before it."""
        if now - self._clock_noted >= CLOCK_STEP_MS:
            database.execute(
                "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (CLOCK_FACT, str(now)),
            )
            self._clock_noted = now

    def _roll_back(self, database: sqlite3.Connection) -> None:
        self._clock_noted = 0
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.give_up()
            self._files.forget()

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            for listener in self._listeners:
                listener(event)


def _finished(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        operation.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    operation.close()
    raise RuntimeError("an operation awaited something other than its transaction")


def _in_one_line(error: BaseException) -> str:
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
    database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False)
    database.row_factory = sqlite3.Row
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
    return database


def _prepare(
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
