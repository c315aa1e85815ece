"""PostgreSQL: any number of processes over one database, a pool of connections in each.

Isolation. A write is READ COMMITTED: whatever decides something is one guarded statement, or was read under the lock of
the row that it is about, and a statement after a lock sees all that its former holders committed. Locks are taken in one
order (person, project, request, subscriber, delivery), so that they rarely meet head-on; where they do, PostgreSQL ends
one of the two, which then begins again. SERIALIZABLE would prove the same and cost a retry for most meetings of
neighbours in an index. A read is REPEATABLE READ: one consistent state, and no locks.

Time is the database's, so that all replicas have the same.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import randbelow
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import asyncpg

from otp.errors import StorageUnavailable, StorageUnusable
from otp.events import Event
from otp.model import Caller, Mode, Person, Project
from otp.notices import Notice
from otp.ports import About, Clock, Work
from otp.tasks import Tasks
from storage import Reach, named, rows
from storage.hearing import tell
from storage.migrations import Migration, load, pending
from storage.observing import Observer, Size
from storage.outbox import OPEN, given_up_at, new_id
from storage.postgres_ahead import (
    CALLERS,
    LOOK,
    WRITE_GUESSES,
    AheadTx,
    Change,
    Found,
    NeedsTransactionError,
    callers,
    change_values,
    look_values,
    looked,
)
from storage.postgres_line import NOW, Line
from storage.rows import CLOCK_FACT, PROJECT, Row
from storage.statements import SqlTx
from storage.together import Together

T = TypeVar("T")

DEADLINE_S: Final = 10.0
"""A transaction is answered by then, retries included."""
UNREACHED_S: Final = 3.0
"""How long a transaction looks for a database that can't be reached; at start it is `DEADLINE_S`."""
IDLE_S: Final = 5
"""The database ends a transaction of a process that hangs this long in the middle of it: others wait for its locks."""
CONNECTS_AT_ONCE: Final = 2
"""After a failover the pool of each replica fills slowly, not all at once."""
DUPLICATES: Final = 3
"""How often a transaction that found its row made by another meanwhile begins again."""
TIME_HOLDS_S: Final = 1.0
"""Two clocks that were compared don't part in so short a time by anything that counts; each lock tells the time anew."""
LOOKS_AT_ONCE: Final = 2
WRITES_AT_ONCE: Final = 2
"""How often many are asked for, or written, together at the same time: so many connections are used for it at most."""
MIGRATION_LOCK: Final = 0x7461_7063_6F64_65
MIGRATIONS: Final = Path(__file__).with_name("postgres_migrations")

_LIMITS: Final = (
    f"SET LOCAL statement_timeout = '{DEADLINE_S:.0f}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_S}s'"
)
WRITE: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {_LIMITS}"
READ: Final = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {_LIMITS}"

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:
    Connection, Pool = asyncpg.Connection, asyncpg.Pool

_BEGIN_AGAIN: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InvalidCachedStatementError,  # a newer program changed the schema under a remembered statement
)
"""The transaction was certainly not made."""
_UNREACHED: Final = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The connection is of no use: another one may be, on the server that took over."""
_TROUBLE: Final = ("25", "53", "54", "55", "57", "58", "XX")
"""Classes of errors that are the database's, not ours: resources, limits, locks, operators, disks, damage."""


_QUEUE: Final = "(SELECT pg_advisory_xact_lock{}(hashtextextended({}, 1)))"
"""Of those who use a project and those who change it. Row locks have none: sharers pass by whoever waits to change."""


class PostgresTx(SqlTx):
    """A transaction that changes something."""

    BEGIN = WRITE
    LOCKED = "FOR UPDATE"
    SHARED = f"AND {_QUEUE.format('_shared', '$1')} IS NOT NULL FOR KEY SHARE"
    SKIP_LOCKED = "FOR UPDATE SKIP LOCKED"
    IN_ORDER = "id"

    def __init__(self, connection: Connection, clock: Clock, now: int, *, own_time: bool) -> None:
        super().__init__(now)
        self._kept: dict[str, Project] = {}
        self._connection = connection
        self._clock = clock
        self._own_time = own_time
        self._silent: set[str] = set()
        """Projects of which it is known that nobody is told what happens to them."""

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        held = sql.endswith(self.LOCKED)
        if held:  # the clock is read for each row after its lock was got, however long that took
            sql = f"WITH held AS MATERIALIZED ({sql}) SELECT held.*, {NOW} AS held_at FROM held"
        found = await self._connection.fetch(sql, *(storable(value) for value in values))
        if held and found:
            self._go_on(found[-1]["held_at"])
        return cast(Sequence[Row], found)

    def _go_on(self, at: int) -> None:
        if self._own_time:
            self._clock.never_before(at)
        self.now = max(self.now, self._clock.now())

    async def project(self, project_id: str) -> Project | None:
        found = self._kept.get(project_id)  # which nobody can have changed since it was kept from changing
        if found is None and (row := await self._one(_PROJECT, project_id)) is not None:
            found = self._kept[project_id] = rows.project(row)
            if not row["listening"]:
                self._silent.add(project_id)
        return found

    def _forget_endpoints(self) -> None:
        pass  # they are read each time

    async def _write_notices(self, found: Sequence[Notice]) -> Sequence[str]:
        wanted = [one for one in found if one.project_id not in self._silent]
        if not wanted:
            return ()
        told = await self.rows(
            _WRITE_NOTICES,
            [new_id(self.now) for _ in wanted],
            [one.type for one in wanted],
            [one.project_id for one in wanted],
            [one.mode for one in wanted],
            [json.dumps(one.data) for one in wanted],
            self.now,
            given_up_at(self.now),
        )
        return [row["endpoint_id"] for row in told]

    async def alone(self, person: Person) -> None:
        await self._connection.fetch(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"person {person.address}"
        )

    async def _lock_project(self, project_id: str) -> None:
        self._kept.pop(project_id, None)  # it is about to be changed, here
        await self._connection.fetch(_QUEUE.format("", "$1"), project_id)
        await super()._lock_project(project_id)

    async def _lock_around(self, delivery_id: str) -> None:
        await self._connection.fetch(_AROUND, delivery_id)

    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> None:
        await self._connection.fetch(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 2))", f"{project_id} {mode} {external_id}"
        )


_PROJECT = (
    f"SELECT {PROJECT}, EXISTS (SELECT 1 FROM endpoints w WHERE w.project_id = projects.id AND {OPEN}) AS listening "
    f"FROM projects WHERE id = $1 AND deleted = 0 {PostgresTx.SHARED}"
)
_WRITE_NOTICES = f"""
INSERT INTO notices (endpoint_id, id, type, happened_at, data, state, due_at, tries, give_up_at)
SELECT w.id, n.id, n.type, $6, n.data, 'pending', $6, 0, $7
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) AS n (id, type, project_id, mode, data)
JOIN endpoints w ON w.project_id = n.project_id AND w.mode = n.mode
WHERE {OPEN} AND (w.types = '' OR w.types LIKE '%,' || n.type || ',%')
FOR KEY SHARE OF w
RETURNING endpoint_id
"""
_AROUND = f"""
WITH d AS MATERIALIZED (SELECT project_id, request_id, subscriber_id FROM deliveries WHERE id = $1),
    p AS MATERIALIZED (SELECT id FROM projects WHERE id = (SELECT project_id FROM d)
        AND {_QUEUE.format("_shared", "(SELECT project_id FROM d)")} IS NOT NULL FOR KEY SHARE),
    r AS MATERIALIZED (SELECT id FROM requests WHERE id = (SELECT request_id FROM d) FOR UPDATE),
    s AS MATERIALIZED (SELECT id FROM subscribers WHERE id = (SELECT subscriber_id FROM d) FOR UPDATE)
SELECT (SELECT id FROM p), (SELECT id FROM r), (SELECT id FROM s)
"""


class PostgresReadTx(PostgresTx):
    """A transaction that changes nothing, and waits for nobody."""

    BEGIN = READ
    LOCKED = SHARED = SKIP_LOCKED = "/* reads */"

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        return cast(Sequence[Row], await self._connection.fetch(sql, *(storable(value) for value in values)))

    async def project(self, project_id: str) -> Project | None:
        found = self._kept.get(project_id)
        if found is None and (found := await SqlTx.project(self, project_id)) is not None:
            self._kept[project_id] = found
        return found

    async def alone(self, person: Person) -> None:
        pass

    async def _lock_project(self, project_id: str) -> None:
        pass

    async def _lock_around(self, delivery_id: str) -> None:
        pass

    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> None:
        pass


def storable(value: Any) -> Any:
    """PostgreSQL's text holds every character but one, which no row of ours has."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) and "\0" in value else value


class _LoneTx(PostgresReadTx):
    """One statement, which is one consistent state by itself; whoever wants another one needs a transaction."""

    def __init__(self, store: PostgresStore, now: int) -> None:
        SqlTx.__init__(self, now)
        self._kept = {}
        self._store = store
        self._asked = False

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        if self._asked or not sql.startswith("SELECT"):
            raise NeedsTransactionError
        self._asked = True
        return await self._store.look(sql, *(storable(value) for value in values))

    async def caller(self, key_hash: bytes) -> Caller | None:
        if self._asked:
            raise NeedsTransactionError
        self._asked = True
        return await self._store.callers.answer(key_hash)


class _CommitUnknownError(Exception):
    """The commit was sent, and its answer did not come."""


_BROKEN: Final = (*_UNREACHED, _CommitUnknownError, TimeoutError)
"""After these a connection is of unknown state."""


class _Session(Connection):
    """A connection that is given back as it was taken: all that we set ends with its transaction."""

    def get_reset_query(self) -> str:
        return ""


class PostgresStore:
    """See `otp.ports.Store`."""

    holds_up = False

    def __init__(
        self, pool: Pool, line_url: str, clock: Clock, *, own_time: bool, alone: bool = True
    ) -> None:
        """`alone`: statements are prepared. Others are two messages, and between transactions a pooler changes servers."""
        self._pool = pool
        self._alone = alone
        self._clock = clock
        self._own_time = own_time
        self._ask_time_at = 0.0
        self.observer: Observer | None = None
        self._asking = 0
        """Statements under way that are transactions by themselves."""
        self._listeners: list[Callable[[Event], None]] = []
        self._tasks = Tasks(lambda _: None)  # who awaits a transaction is told of its failure
        self._line = Line(line_url, self._publish, own_time=own_time)
        self.callers: Together[bytes, Caller | None] = Together(self._callers, self._tasks, LOOKS_AT_ONCE)
        self._ahead: Together[About, Found] = Together(self._look_ahead, self._tasks, LOOKS_AT_ONCE)
        self._changes: Together[Change, Sequence[str] | None] = Together(
            self._write_changes, self._tasks, WRITES_AT_ONCE
        )

    @classmethod
    async def open(cls, url: str, clock: Clock, reach: Reach, migrations: Path = MIGRATIONS) -> PostgresStore:
        """Connect and bring the database up to date. Raises `StorageUnusable`."""
        direct_url, own_time = reach.direct_url or url, reach.own_time
        try:
            noted = await prepared(direct_url, load(migrations))
            pool = await patiently(lambda: _open_pool(url, reach))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, StorageUnusable) as error:
            raise StorageUnusable(f"can't use the database {named(url)}: {in_one_line(error)}") from error
        store = cls(pool, direct_url, clock, own_time=own_time, alone=reach.statement_cache > 0)
        if own_time:
            clock.never_before(noted)
        store._line.begin()
        return store

    @property
    def idle(self) -> bool:
        """Whether no statement runs, nor waits to be."""
        return (
            not self._asking
            and self._tasks.idle
            and self.callers.idle
            and self._ahead.idle
            and self._changes.idle
        )

    async def write(self, work: Work[T], about: About | None = None) -> T:
        return await self._run(PostgresTx, work, about if self._alone else None)

    async def chore(self, work: Work[T]) -> T:
        return await self.write(work)  # which holds up nobody but those who want the same rows

    async def read(self, work: Work[T], about: About | None = None) -> T:
        started = asyncio.get_running_loop().time()
        if self._alone:
            with suppress(NeedsTransactionError):
                if about is None:
                    return await work(_LoneTx(self, self._clock.now()))
                tx = await self._over(about)
                value = await work(tx)
                if tx.change is None:
                    return value
        return await self._run(PostgresReadTx, work, started=started)

    async def caller(self, key_hash: bytes) -> Caller | None:
        return await self.read(lambda tx: tx.caller(key_hash))

    def listen(self, listener: Callable[[Event], None]) -> None:
        self._listeners.append(listener)

    async def size(self) -> Size:
        """Its own; the disk is another machine's."""
        with suppress(NeedsTransactionError):
            [row] = await self.look("SELECT pg_database_size(current_database()) AS bytes")
            return Size(database=row["bytes"])
        return Size()

    async def close(self) -> None:
        await self._tasks.drain(DEADLINE_S)
        await self._line.close()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._pool.close()
        except (TimeoutError, *_UNREACHED):
            self._pool.terminate()

    async def _run(
        self,
        kind: type[PostgresTx],
        work: Work[T],
        about: About | None = None,
        started: float | None = None,
    ) -> T:
        """To its end, even if the caller goes away."""
        begun = asyncio.get_running_loop().time() if started is None else started
        running = self._tasks.start(
            self._until_done(kind, work, begun)
            if about is None
            else self._perhaps_unlocked(work, about, begun)
        )
        if running is None:
            raise RuntimeError("a store's tasks have no limit")
        return await asyncio.shield(running)

    async def _perhaps_unlocked(self, work: Work[T], about: About, started: float) -> T:
        """Without locks, if nobody comes between; else with them."""
        try:
            async with asyncio.timeout_at(started + DEADLINE_S):
                return await self._unlocked(work, about)
        except TimeoutError as error:
            raise self._unavailable() from error
        except NeedsTransactionError:
            return await self._until_done(PostgresTx, work, started)

    async def _until_done(self, kind: type[PostgresTx], work: Work[T], started: float) -> T:
        loop = asyncio.get_running_loop()
        tries = duplicates = 0
        while True:
            until = DEADLINE_S
            try:
                async with asyncio.timeout_at(started + DEADLINE_S):
                    return await self._once(kind, work)
            except _BEGIN_AGAIN as error:
                cause: Exception = error
            except asyncpg.UniqueViolationError as error:
                cause, duplicates = error, duplicates + 1
                if duplicates > DUPLICATES:
                    raise
            except (TimeoutError, _CommitUnknownError) as error:
                raise self._unavailable() from error
            except _UNREACHED as error:
                cause, until = error, UNREACHED_S
            except asyncpg.PostgresError as error:
                if not (error.sqlstate or "").startswith(_TROUBLE):
                    raise  # a bug of ours, not the database's fault
                raise self._unavailable() from error
            tries += 1
            wait = _jitter(tries)
            if loop.time() + wait > started + until:
                raise self._unavailable() from cause
            await asyncio.sleep(wait)

    async def _unlocked(self, work: Work[T], about: About) -> T:
        """Two statements and no lock in between. Raises `NeedsTransactionError` when nothing was done."""
        tx = await self._over(about)
        value: T = await work(tx)
        change = tx.change
        if change is not None:
            over = await self._changes.answer(change)
            if over is None:
                raise NeedsTransactionError
            tx.tell_over(over)
        self._publish(tx.events)
        self._line.announce(tx.events)
        return value

    async def _over(self, about: About) -> AheadTx:
        found = await self._ahead.answer(about)
        return AheadTx(self._clock.now(), found)

    async def _look_ahead(self, wanted: Sequence[About]) -> Mapping[About, Found]:
        found = looked(wanted, await self.look(LOOK, *look_values(wanted)))
        if self._own_time:
            self._told_time(max(one.told_at for one in found.values()))
        return found

    async def _callers(self, hashes: Sequence[bytes]) -> Mapping[bytes, Caller | None]:
        return callers(await self.look(CALLERS, hashes, self._clock.now()), hashes)

    async def _write_changes(self, changes: Sequence[Change]) -> Mapping[Change, Sequence[str] | None]:
        """For each the messages that are over by it; None when something came between, and it was not written."""
        values = change_values(changes, self._clock.now(), own_time=self._own_time)
        done: dict[Change, Sequence[str] | None] = dict.fromkeys(changes)
        began = monotonic()
        try:
            for row in await self._statement(DEADLINE_S, WRITE_GUESSES, *values):
                done[changes[row["nth"] - 1]] = row["messages_over"]
        except (*_BEGIN_AGAIN, asyncpg.ReadOnlySQLTransactionError, NeedsTransactionError):
            return done
        except (*_BROKEN, asyncpg.PostgresError) as error:
            raise self._unavailable() from error
        if self.observer is not None:
            self.observer.committed(monotonic() - began, len(changes))
        return done

    async def look(self, sql: str, *values: Any) -> Sequence[Row]:
        """One statement that changes nothing. Raises `NeedsTransactionError` whatever goes wrong: a transaction tells."""
        try:
            return await self._statement(UNREACHED_S, sql, *values)
        except (*_BROKEN, asyncpg.PostgresError) as error:
            raise NeedsTransactionError from error

    async def _statement(self, seconds: float, sql: str, *values: Any) -> Sequence[Row]:
        """One statement, a transaction by itself. Raises `NeedsTransactionError` when it was certainly not begun."""
        self._asking += 1
        try:
            return await self._asked(seconds, sql, *values)
        finally:
            self._asking -= 1

    async def _asked(self, seconds: float, sql: str, *values: Any) -> Sequence[Row]:
        async with asyncio.timeout(seconds):
            try:
                taken = await self._pool.acquire()
            except (*_UNREACHED, asyncpg.PostgresError) as error:
                raise NeedsTransactionError from error
            connection = cast(Connection, taken)
            try:
                return cast(Sequence[Row], await connection.fetch(sql, *values))
            except BaseException as error:
                await _leave(connection, error)
                raise
            finally:
                with suppress(*_UNREACHED):
                    await self._pool.release(taken)

    async def _once(self, kind: type[PostgresTx], work: Work[T]) -> T:
        """One transaction from begin to commit. Raises `_CommitUnknownError` when nobody knows whether it was made."""
        taken = await self._pool.acquire()
        connection = cast(Connection, taken)
        try:
            await connection.execute(kind.BEGIN)
            # A reader's time may be a moment behind: what it finds over by time alone is written down by a writer.
            now = await self._time(connection) if kind.BEGIN == WRITE else self._clock.now()
            tx = kind(connection, self._clock, now, own_time=self._own_time)
            value: T = await work(tx)
            await tx.write_jobs()
            began = monotonic()
            await _commit(connection)
            if self.observer is not None and kind.BEGIN == WRITE:
                self.observer.committed(monotonic() - began, 1)
        except BaseException as error:
            await _leave(connection, error)
            raise
        finally:
            # Of a connection that is gone, this fails: that must not hide what happened to the commit.
            with suppress(*_UNREACHED):
                await self._pool.release(taken)
        self._publish(tx.events)
        self._line.announce(tx.events)
        return value

    async def _time(self, connection: Connection) -> int:
        if self._own_time and asyncio.get_running_loop().time() >= self._ask_time_at:
            self._told_time(await connection.fetchval(f"SELECT {NOW}"))
        return self._clock.now()

    def _told_time(self, at: int) -> None:
        self._clock.never_before(at)
        self._ask_time_at = asyncio.get_running_loop().time() + TIME_HOLDS_S

    def _unavailable(self) -> StorageUnavailable:
        if self.observer is not None:
            self.observer.store_failed(1)
        return StorageUnavailable("The store can't be used now.", retry_after=5)

    def _publish(self, events: Sequence[Event]) -> None:
        for event in events:
            for listener in self._listeners:
                tell(listener, event)


async def _commit(connection: Connection) -> None:
    try:
        done = await connection.execute("COMMIT")
    except _BEGIN_AGAIN:
        raise
    except (*_UNREACHED, asyncpg.PostgresError, asyncio.CancelledError, TimeoutError) as error:
        raise _CommitUnknownError from error
    if done != "COMMIT":
        raise RuntimeError("an operation swallowed the error of its transaction")


async def _leave(connection: Connection, error: BaseException) -> None:
    """Roll back what can be; a connection of unknown state is not used again. Never raises: `error` is what counts."""
    with suppress(Exception):  # of a connection that is gone already
        if isinstance(error, Exception) and not isinstance(error, _BROKEN):
            with suppress(Exception):
                async with asyncio.timeout(IDLE_S):
                    await connection.execute("ROLLBACK")
                    return
        connection.terminate()


def _jitter(tries: int) -> float:
    """Seconds before the next try: up to 10 ms, doubled each time up to half a second."""
    return (1 + randbelow(1000)) / 1000 * min(0.5, 0.01 * float(2**tries))


async def patiently(connect: Callable[[], Any]) -> Any:
    """Connect to a database that is about to come up."""
    loop = asyncio.get_running_loop()
    until, tries = loop.time() + DEADLINE_S, 4
    while True:
        try:
            return await connect()
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError):
            if loop.time() > until:
                raise
        tries += 1
        await asyncio.sleep(_jitter(tries))


async def _open_pool(url: str, reach: Reach) -> Pool:
    room = asyncio.Semaphore(CONNECTS_AT_ONCE)

    async def connect(*args: Any, **named: Any) -> Any:
        async with room:
            return await asyncpg.connect(*args, **named)

    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=reach.pool_size,
        statement_cache_size=reach.statement_cache,
        connection_class=_Session,
        connect=connect,
        timeout=UNREACHED_S,
    )


async def prepared(url: str, known: Sequence[Migration]) -> int:
    """Check the database and apply what is missing, all or nothing, one process at a time; its time, or the one noted."""
    connection = await patiently(lambda: asyncpg.connect(url, timeout=UNREACHED_S, statement_cache_size=0))
    try:
        for setting in ("synchronous_commit", "fsync", "full_page_writes"):
            if await connection.fetchval(f"SHOW {setting}") == "off":
                raise StorageUnusable(f"{setting} is off there: what was acknowledged could be lost")
        async with connection.transaction(isolation="read_committed"):
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            await _migrate(connection, known)
            noted = await connection.fetchval("SELECT value::bigint FROM facts WHERE name = $1", CLOCK_FACT)
            now: int = await connection.fetchval(f"SELECT {NOW}")
    finally:
        await connection.close(timeout=UNREACHED_S)
    return max(now, noted or 0)


async def _migrate(connection: Connection, known: Sequence[Migration]) -> None:
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, oldest_program INTEGER NOT NULL, "
        "checksum TEXT NOT NULL)"
    )
    applied = await connection.fetch("SELECT version, oldest_program, checksum FROM schema ORDER BY version")
    for step in pending(known, [tuple(row) for row in applied]):
        await connection.execute(step.sql)
        await connection.execute(
            "INSERT INTO schema VALUES ($1, $2, $3)", step.version, step.oldest_program, step.checksum
        )


def in_one_line(error: BaseException) -> str:
    """What is wrong with a database, without its address."""
    if isinstance(error, OSError) and not isinstance(error, TimeoutError):
        return f"it can't be reached ({error.strerror or type(error).__name__})"
    return " ".join(str(error).split()) or type(error).__name__
