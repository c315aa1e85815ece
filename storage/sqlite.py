"""SQLite: one connection, one writer; every transaction is on disk before it is answered, many in one commit.

An operation is a coroutine that awaits nothing but its transaction, so it is run to its end in one go: no other
operation comes between, and a caller that goes away can't leave it half done.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar, cast

import aiosqlite

from otp.errors import StorageUnavailable, StorageUnusable
from otp.events import Event
from otp.model import Caller, Person, Project
from otp.ports import Clock, Work
from storage.migrations import Migration, load, pending
from storage.rows import CLOCK_FACT, Row
from storage.statements import SqlTx

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

BUSY_MS: Final = 5_000
"""How long one transaction waits for another process that holds the file."""
DEADLINE_S: Final = 10.0
"""An operation that has not begun after this long fails instead of running late."""
MOST_TOGETHER: Final = 256
"""Operations that share a commit: more would only make the first ones wait."""
SLOW_COMMIT_MS: Final = 1.0
"""Where commits take longer than this on average, the loop does not wait for them."""
MEAN_OF: Final = 16
"""Commits that the average remembers, about."""
MOST_KNOWN: Final = 10_000
"""Callers, and projects, that are kept in memory."""
STATEMENTS: Final = 512
"""More than there are, so that each is prepared once."""
OURS: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError)
"""Errors that are bugs of ours, not the disk's faults."""
_PARAMETER: Final = re.compile(r"\$(\d+)")
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


@cache
def _native(sql: str) -> tuple[str, bool]:
    """A statement with SQLite's own marks for parameters, which are bound by position, and whether it changes nothing."""
    return _PARAMETER.sub(r"?\1", sql), sql.startswith(("SELECT", "PRAGMA"))


class Known:
    """Who calls, and for which project: asked for by every call and seldom changed, so kept in memory.

    The file has one owner, which sees every change: before one, and after one that was taken back, all is forgotten.
    """

    def __init__(self) -> None:
        self.callers: dict[bytes, Caller] = {}
        """By the hashes of keys that have no end."""
        self.projects: dict[str, Project] = {}

    def forget(self) -> None:
        """Ask the file from now on."""
        self.callers.clear()
        self.projects.clear()

    def keep(self, known: dict[K, V], key: K, value: V) -> None:
        """Remember something that the file told."""
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[key] = value


class SqliteTx(SqlTx):
    """A transaction that never waits; a part of a larger one, when others share its commit."""

    LOCKED = ""
    SHARED = ""
    SKIP_LOCKED = ""

    def __init__(
        self, database: sqlite3.Connection, now: int, known: Known, before_change: str | None = None
    ) -> None:
        """`before_change` is run once, ahead of the first statement that changes something; None: nothing may."""
        super().__init__(now)
        self._database = database
        self._known = known
        self._before_change = before_change
        self.changed = False

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        native, reads = _native(sql)
        if not reads and not self.changed:
            self._change()
        return cast(Sequence[Row], self._database.execute(native, values).fetchall())

    def _change(self) -> None:
        if self._before_change is None:
            raise RuntimeError("an operation that reads was about to change something")
        if self._before_change:
            self._database.execute(self._before_change)
        self.changed = True

    async def caller(self, key_hash: bytes) -> Caller | None:
        known = self._known.callers.get(key_hash)
        if known is None and (known := await super().caller(key_hash)) is not None:
            ends = await self.rows("SELECT ends_at FROM api_keys WHERE hash = $1", key_hash)
            if ends[0]["ends_at"] is None:
                self._known.keep(self._known.callers, key_hash, known)
        return known

    async def project(self, project_id: str) -> Project | None:
        known = self._known.projects.get(project_id)
        if known is None and (known := await super().project(project_id)) is not None:
            self._known.keep(self._known.projects, project_id, known)
        return known

    async def _lock_project(self, project_id: str) -> None:
        self._known.forget()  # nobody else is in the way, and whoever would be, is about to change it

    async def end_keys(self, project_id: str, at: int, *, but: bytes) -> None:
        self._known.forget()
        await super().end_keys(project_id, at, but=but)

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


@dataclass(eq=False, slots=True)
class _Member:
    """An operation that waits for its turn, and whoever waits for it."""

    work: Work[Any]
    writes: bool
    answer: asyncio.Future[Any]
    deadline: float
    context: Context = field(default_factory=copy_context)
    """Of whoever asked: the turn runs in that of another one, and a line in the log shall name the right call."""
    chore: bool = False
    events: Sequence[Event] = ()
    value: Any = None
    error: BaseException | None = None

    def fail(self, error: BaseException) -> None:
        """It did not happen."""
        self.events, self.value, self.error = (), None, error

    def tell(self) -> None:
        """Answer whoever is still there."""
        if self.answer.done():
            return
        if self.error is not None:
            self.answer.set_exception(self.error)
        else:
            self.answer.set_result(self.value)


Share = Callable[[sqlite3.Connection, Sequence[_Member]], None]
"""What is done for some operations together."""


class SqliteStore:
    """See `otp.ports.Store`.

    What is asked for in one turn of the loop shares one commit. It is run on the loop's own thread, as handing it to
    another one costs more than most of it takes; on the connection's thread is done what may take long: chores, waiting
    for another program that holds the file, and the commits of a slow disk. The connection has one user at a time.
    """

    def __init__(self, connection: _Connection, files: _Files, clock: Clock) -> None:
        self._connection = connection
        self._files = files
        self._clock = clock
        self._listeners: list[Callable[[Event], None]] = []
        self._loop = asyncio.get_running_loop()
        self._clock_noted = 0
        self._known = Known()
        self._waiting: list[_Member] = []
        self._turning = False
        self._away: asyncio.Task[None] | None = None
        """While the connection is used on its own thread."""
        self._commit_ms = 0.0
        """The running mean of commits."""

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
                await connection.call(_hurry)
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
        return await self._ask(work, writes=True)

    async def chore(self, work: Work[T]) -> T:
        return await self._ask(work, writes=True, chore=True)

    async def read(self, work: Work[T]) -> T:
        if self._away is not None or self._connection.lost:
            return await self._ask(work, writes=False)
        try:
            return self._look(work)
        except (sqlite3.Error, OSError) as error:
            if not _is_busy(error):
                raise _told(error) from error
        return await self._ask(work, writes=False)  # with patience

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an operation."""
        return not self._waiting and self._away is None

    async def close(self) -> None:
        while not self.idle:
            await (self._away or asyncio.sleep(0))
        await self._connection.close()
        await self._connection.ended()

    # ---------------------------------------------------------------- whose turn it is

    async def _ask(self, work: Work[T], *, writes: bool, chore: bool = False) -> T:
        member = _Member(work, writes, self._loop.create_future(), monotonic() + DEADLINE_S, chore=chore)
        self._waiting.append(member)
        self._call(len(self._waiting))
        return cast(T, await member.answer)

    def _call(self, seen: int) -> None:
        """See to it that those who wait have their turn; with the connection in use, whoever gives it back does."""
        if self._waiting and not self._turning and self._away is None:
            self._turning = True
            self._loop.call_soon(self._turn, seen)

    def _look(self, work: Work[T]) -> T:
        """Read at once: nothing is under way on the connection, and nobody else writes to the file."""
        value = _finished(work(SqliteTx(self._connection.database, self._clock.now(), self._known)))
        self._files.check()
        return value

    def _turn(self, seen: int) -> None:
        """Gather until a turn of the loop brings nobody new; then all who wait share one commit."""
        if seen < len(self._waiting) < MOST_TOGETHER:
            self._loop.call_soon(self._turn, len(self._waiting))
            return
        self._turning = False
        if self._away is not None or not self._waiting:
            return  # whoever gives the connection back looks for those who wait
        batch = self._next_batch()
        if batch[0].chore or self._connection.lost:
            self._send_away(self._patiently, batch)
            return
        try:
            self._begin_and_operate(self._connection.database, batch)
        except Exception as error:  # noqa: BLE001  # each of them is told
            if _is_busy(error):
                self._send_away(self._patiently, batch)
                return
            _fail_all(batch, error)
        else:
            if self._commit_ms >= SLOW_COMMIT_MS:
                self._send_away(self._commit, batch)
                return
            self._commit(self._connection.database, batch)
        self._done(batch)

    def _next_batch(self) -> list[_Member]:
        """Those whose turn it is, in the order in which they came; a chore goes by itself."""
        if self._waiting[0].chore:
            return [self._waiting.pop(0)]
        upto = next((at for at, one in enumerate(self._waiting) if one.chore), len(self._waiting))
        upto = min(upto, MOST_TOGETHER)
        batch, self._waiting = self._waiting[:upto], self._waiting[upto:]
        return batch

    def _send_away(self, work: Share, batch: Sequence[_Member]) -> None:
        self._away = self._loop.create_task(self._on_thread(work, batch))

    async def _on_thread(self, work: Share, batch: Sequence[_Member]) -> None:
        try:
            await self._connection.call(lambda database: work(database, batch))
        except Exception as error:  # noqa: BLE001  # each of them is told
            _fail_all(batch, error)
        self._away = None
        self._done(batch)

    def _done(self, batch: Sequence[_Member]) -> None:
        """After the commit: tell what changed, answer, and take those who came meanwhile."""
        for member in batch:
            for event in member.events:
                for listener in self._listeners:
                    member.context.run(listener, event)
        for member in batch:
            member.tell()
        self._call(0)

    # ---------------------------------------------------------------- one transaction

    def _patiently(self, database: sqlite3.Connection, batch: Sequence[_Member]) -> None:
        """On the thread, from begin to commit: it may wait for the file."""
        database.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        try:
            self._begin_and_operate(database, batch)
            self._commit(database, batch)
        finally:
            with suppress(sqlite3.Error):  # of a connection that had to be given up
                _hurry(database)

    def _begin_and_operate(self, database: sqlite3.Connection, batch: Sequence[_Member]) -> None:
        """From begin to just before the commit; rolled back when it raises."""
        writes = any(one.writes for one in batch)
        try:
            database.execute(WRITE if writes else "BEGIN")
            for member in batch:
                self._member(database, member)
            jobs = SqliteTx(database, self._clock.now(), self._known, "")
            jobs.events = [event for one in batch for event in one.events]
            _finished(jobs.write_jobs())
            if writes:
                # Also when nothing changes: what it saw dead must be dead after a restart too.
                self._note_time(database, jobs.now)
            self._files.check()
        except BaseException:
            self._roll_back(database)
            raise

    def _member(self, database: sqlite3.Connection, member: _Member) -> None:
        """One operation: what it did is undone if it fails, and what the others did is not."""
        if monotonic() > member.deadline:
            member.fail(StorageUnavailable("The store is busy.", retry_after=5))
            return
        mark = "SAVEPOINT member" if member.writes else None
        tx = SqliteTx(database, self._clock.now(), self._known, mark)
        _operate(member, tx)
        if tx.changed:
            if member.error is not None:
                database.execute("ROLLBACK TO member")
                self._known.forget()
            database.execute("RELEASE member")

    def _commit(self, database: sqlite3.Connection, batch: Sequence[_Member]) -> None:
        began = monotonic()
        try:
            database.execute("COMMIT")
        except BaseException as error:
            self._roll_back(database)
            if not isinstance(error, sqlite3.Error):
                raise
            _fail_all(batch, error)
        self._commit_ms += ((monotonic() - began) * 1000 - self._commit_ms) / MEAN_OF

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
        self._known.forget()
        try:
            if database.in_transaction:
                database.execute("ROLLBACK")
        except sqlite3.Error:
            self._connection.give_up()
            self._files.forget()


def _operate(member: _Member, tx: SqliteTx) -> None:
    """Run an operation to its end; what it raises is its own, but for what ails the database."""
    try:
        member.value, member.events, member.error = _finished(member.work(tx)), tx.events, None
    except Exception as error:  # it is raised where the operation was asked for
        if isinstance(error, sqlite3.Error) and not isinstance(error, OURS):
            raise
        member.fail(error)


def _finished(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never has to wait."""
    try:
        operation.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    operation.close()
    raise RuntimeError("an operation awaited something other than its transaction")


def _is_busy(error: Exception) -> bool:
    """Whether another program holds the file."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _told(error: Exception) -> Exception:
    """What the caller of an operation is told: of the disk's faults in our words, of a bug of ours as it is."""
    if isinstance(error, OURS) or not isinstance(error, (sqlite3.Error, OSError)):
        return error
    told = StorageUnavailable("The store can't be used now.", retry_after=5)
    told.__cause__ = error
    return told


def _fail_all(batch: Sequence[_Member], error: Exception) -> None:
    """Nothing of it happened, or nobody knows."""
    for member in batch:
        member.fail(_told(error))


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
        "foreign_keys = ON",
        "trusted_schema = OFF",
        "cell_size_check = ON",
    ):
        database.execute(f"PRAGMA {pragma}").fetchall()
    return database


def _hurry(database: sqlite3.Connection) -> None:
    """On the loop nothing may wait for another program that holds the file."""
    database.execute("PRAGMA busy_timeout = 0")


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
