"""SQLite: one connection, one writer; every transaction is on disk before it is answered, many in one commit.

An operation is a coroutine that awaits nothing but its transaction, so it is run to its end in one go: no other
operation comes between, and a caller that goes away can't leave it half done.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

from otp.errors import StorageUnavailable, StorageUnusable
from otp.events import Event
from otp.model import Caller
from otp.ports import About, Clock, Work
from storage.hearing import tell
from storage.migrations import load
from storage.observing import Observer, Size, file_size
from storage.rows import CLOCK_FACT
from storage.sqlite_file import (
    BUSY_MS,
    MIGRATIONS,
    FileConnection,
    Files,
    connect,
    hurry,
    in_one_line,
    prepare,
)
from storage.sqlite_log import LogKeeper
from storage.sqlite_tx import Ahead, Known, SqliteTx

T = TypeVar("T")

DEADLINE_S: Final = 10.0
"""An operation that has not begun after this long fails instead of running late."""
MOST_TOGETHER: Final = 256
"""Operations that share a commit: more would only make the first ones wait."""
SLOW_COMMIT_MS: Final = 1.0
"""Where commits take longer than this on average, the loop does not wait for them."""
MEAN_OF: Final = 16
"""Commits that the average remembers, about."""
CHORE: Final = 20
"""Operations that leave as much in the log as a chore, about."""
OURS: Final = (sqlite3.IntegrityError, sqlite3.ProgrammingError)
"""Errors that are bugs of ours, not the disk's faults."""
WRITE: Final = "BEGIN IMMEDIATE"
CLOCK_STEP_MS: Final = 1_000


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
    about: About | None = None
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

    holds_up = True

    def __init__(self, connection: FileConnection, files: Files, clock: Clock, log: LogKeeper) -> None:
        self._connection = connection
        self._files = files
        self._clock = clock
        self._log = log
        self._listeners: list[Callable[[Event], None]] = []
        self._loop = asyncio.get_running_loop()
        self._clock_noted = 0
        self._known = Known()
        self._waiting: list[_Member] = []
        self._turning = False
        self._looked = False
        """Whether a read of this turn of the loop has seen that the file is still there."""
        self._away: asyncio.Task[None] | None = None
        """While the connection is used on its own thread."""
        self._commit_ms = 0.0
        """The running mean of commits."""
        self.observer: Observer | None = None

    @classmethod
    async def open(
        cls, path: str, clock: Clock, migrations: Path = MIGRATIONS, *, history: bool = False
    ) -> SqliteStore:
        """Create or open a database file (or `:memory:`), and bring it up to date. Raises `StorageUnusable`.

        What was moved to PostgreSQL is opened only as `history`.
        """
        connection = FileConnection(lambda: connect(path), iter_chunk_size=64)
        try:
            await connection.start()
            try:
                noted = await connection.call(
                    lambda database: prepare(database, path, load(migrations), history=history)
                )
                await connection.call(hurry)
            except BaseException:
                await connection.close()
                await connection.ended()
                raise
        except (sqlite3.Error, OSError, StorageUnusable) as error:
            raise StorageUnusable(f"can't use the database {path}: {in_one_line(error)}") from error
        store = cls(connection, Files(path), clock, LogKeeper(path))
        if noted is not None:
            clock.never_before(noted)
        return store

    async def write(self, work: Work[T], about: About | None = None) -> T:
        return await self._ask(work, writes=True, about=about)

    async def chore(self, work: Work[T]) -> T:
        return await self._ask(work, writes=True, chore=True)

    async def read(self, work: Work[T], about: About | None = None) -> T:  # nothing to read ahead
        if self._away is not None or self._connection.lost:
            return await self._ask(work, writes=False)
        try:
            return self._look(work)
        except (sqlite3.Error, OSError, StorageUnavailable) as error:
            if not _is_busy(error):
                told = _told(error)
                self._count_failed(told, 1)
                raise told from (error if told is not error else None)
        return await self._ask(work, writes=False)  # with patience

    async def caller(self, key_hash: bytes) -> Caller | None:
        known = self._known.callers.get(key_hash)
        return known if known is not None else await self.read(lambda tx: tx.caller(key_hash))

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an operation."""
        return not self._waiting and self._away is None

    async def size(self) -> Size:
        path = self._files.path
        return Size() if path is None else await asyncio.to_thread(file_size, path)

    async def close(self) -> None:
        while not self.idle:
            await (self._away or asyncio.sleep(0))
        await self._log.close()
        await self._connection.close()
        await self._connection.ended()

    # ---------------------------------------------------------------- whose turn it is

    async def _ask(
        self, work: Work[T], *, writes: bool, chore: bool = False, about: About | None = None
    ) -> T:
        member = _Member(
            work, writes, self._loop.create_future(), monotonic() + DEADLINE_S, chore=chore, about=about
        )
        self._waiting.append(member)
        self._call(len(self._waiting))
        answer: T = await member.answer
        return answer

    def _call(self, seen: int) -> None:
        """See to it that those who wait have their turn; with the connection in use, whoever gives it back does."""
        if self._waiting and not self._turning and self._away is None:
            self._turning = True
            self._loop.call_soon(self._turn, seen)

    def _look(self, work: Work[T]) -> T:
        """Read at once: nothing is under way on the connection, and nobody else writes to the file."""
        value = _finished(work(SqliteTx(self._connection.database, self._clock.now(), self._known)))
        if not self._looked:
            self._files.check()
            self._looked = True
            self._loop.call_soon(self._look_again)
        return value

    def _look_again(self) -> None:
        self._looked = False

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
            self._fail_all(batch, error)
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
        # They came together, so any order is theirs: first those that are read ahead, and written together.
        return sorted(batch, key=lambda one: one.about is None)

    def _send_away(self, work: Share, batch: Sequence[_Member]) -> None:
        self._away = self._loop.create_task(self._on_thread(work, batch))

    async def _on_thread(self, work: Share, batch: Sequence[_Member]) -> None:
        try:
            await self._connection.call(lambda database: work(database, batch))
        except Exception as error:  # noqa: BLE001  # each of them is told
            self._fail_all(batch, error)
        self._away = None
        self._done(batch)

    def _done(self, batch: Sequence[_Member]) -> None:
        """After the commit: tell what changed, answer, and take those who came meanwhile."""
        for member in batch:
            for event in member.events:
                for listener in self._listeners:
                    member.context.run(tell, listener, event)
        for member in batch:
            member.tell()
        self._log.committed(sum(CHORE if one.chore else one.writes for one in batch))
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
                hurry(database)

    def _begin_and_operate(self, database: sqlite3.Connection, batch: Sequence[_Member]) -> None:
        """From begin to just before the commit; rolled back when it raises."""
        writes = any(one.writes for one in batch)
        try:
            database.execute(WRITE if writes else "BEGIN")
            ahead = Ahead(database) if batch[0].about is not None else None
            if ahead is not None:
                ahead.read([one.about for one in batch if one.about is not None])
            for member in batch:
                self._member(database, member, ahead)
            if ahead is not None:
                ahead.write()
            jobs = SqliteTx(database, self._clock.now(), self._known, "")
            jobs.events = [event for one in batch for event in one.events]
            _finished(jobs.write_jobs())
            batch[-1].events = [*batch[-1].events, *jobs.events[sum(len(one.events) for one in batch) :]]
            if writes:
                # Also when nothing changes: what it saw dead must be dead after a restart too.
                self._note_time(database, jobs.now)
            self._files.check()
        except BaseException:
            self._roll_back(database)
            raise

    def _member(self, database: sqlite3.Connection, member: _Member, ahead: Ahead | None) -> None:
        """One operation: what it did is undone if it fails, and what the others did is not."""
        if monotonic() > member.deadline:
            member.fail(StorageUnavailable("The store is busy.", retry_after=5))
            return
        mark = "SAVEPOINT member" if member.writes else None
        tx = SqliteTx(database, self._clock.now(), self._known, mark, ahead)
        _operate(member, tx)
        if tx.changed:
            if member.error is not None:
                database.execute("ROLLBACK TO member")
                self._known.forget()
            database.execute("RELEASE member")
        if ahead is not None:
            if member.error is None:
                ahead.leave(tx.take())
            else:
                ahead.forget()  # what it made of it

    def _commit(self, database: sqlite3.Connection, batch: Sequence[_Member]) -> None:
        began = monotonic()
        try:
            database.execute("COMMIT")
        except BaseException as error:
            self._roll_back(database)
            if not isinstance(error, sqlite3.Error):
                raise
            self._fail_all(batch, error)
        took = monotonic() - began
        self._commit_ms += (took * 1000 - self._commit_ms) / MEAN_OF
        if self.observer is not None and (writes := sum(one.writes for one in batch)):
            self.observer.committed(took, writes)

    def _fail_all(self, batch: Sequence[_Member], error: Exception) -> None:
        """Nothing of it happened, or nobody knows."""
        for member in batch:
            member.fail(_told(error))
        self._count_failed(_told(error), len(batch))

    def _count_failed(self, told: Exception, operations: int) -> None:
        if self.observer is not None and isinstance(told, StorageUnavailable):
            self.observer.store_failed(operations)

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
            self._log.forget()


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
        value: T = done.value
        return value
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
