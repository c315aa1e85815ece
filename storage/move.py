"""Carries a live SQLite database over to PostgreSQL, checked and all or nothing; the file stays behind as history.

Nobody can write to the file from before its first row is read until it is noted in it that it is history, and that is
on disk before PostgreSQL commits: so there are never two databases that both may be served. Before the note a failure
changes nothing, on either side; after it, repeating finishes what was begun.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, cast

import asyncpg

from otp.errors import StorageUnavailable, StorageUnusable
from otp.ports import Clock, Tx
from storage import named
from storage.migrations import load
from storage.postgres import DEADLINE_S, MIGRATIONS, UNREACHED_S, Connection, in_one_line, prepared, storable
from storage.rows import CLOCK_FACT
from storage.sqlite import SqliteStore
from storage.sqlite_file import FENCE, MOVED_FACT, RESTORE, connect
from storage.sqlite_tx import SqliteTx

TABLES: Final = (
    "facts",
    "projects",
    "logos",
    "endpoints",
    "notices",
    "api_keys",
    "updates",
    "people",
    "subscribers",
    "accounts",
    "kept_phones",
    "refusals",
    "requests",
    "phones",
    "codes",
    "deliveries",
    "messages",
    "jobs",
    "pairing_misses",
    "idempotency",
    "audit",
    "daily_stats",
)
"""All that is carried over, each after what it refers to."""
BATCH: Final = 2_000
"""Rows of the target in memory at a time."""

_PART: Final = {"facts": f" WHERE name NOT IN ('{CLOCK_FACT}', '{MOVED_FACT}')"}
"""What a database says of itself is not carried over, but for the time, which only grows."""
_BEGIN: Final = (
    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
    f"SET LOCAL lock_timeout = '{DEADLINE_S:.0f}s'; SET LOCAL statement_timeout = 0; "
    f"SET LOCAL idle_in_transaction_session_timeout = 0; LOCK TABLE {', '.join(TABLES)} IN EXCLUSIVE MODE"
)
_NOTE_TIME: Final = (
    f"INSERT INTO facts (name, value) VALUES ('{CLOCK_FACT}', $1) ON CONFLICT (name) DO UPDATE "
    "SET value = excluded.value WHERE facts.value::bigint < excluded.value::bigint"
)

Columns = Mapping[str, Sequence[str]]
Tell = Callable[[str], None]


class NotMoved(Exception):
    """It is refused, and nothing was changed; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What is on both sides, by table; `already` when an earlier move had brought it there."""

    rows: Mapping[str, int]
    already: bool


@dataclass(slots=True)
class _Digest:
    """How many rows, and the sum of their hashes, which is the same in every order."""

    rows: int = 0
    total: int = 0

    def add(self, row: tuple[Any, ...]) -> None:
        self.rows += 1
        self.total += int.from_bytes(sha256(repr(row).encode()).digest())


async def move(database: str, url: str, clock: Clock, tell: Tell) -> Moved:
    """Copy a file that its caller owns to an empty database. Raises `NotMoved`, `StorageUnusable`."""
    store = await SqliteStore.open(database, clock, history=True)  # up to date, and no job is leased
    await store.close()
    try:
        with closing(connect(database)) as file:
            return await _Move(file, url, clock, tell).run()
    except sqlite3.Error as error:
        raise StorageUnusable(f"can't move the database {database}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise StorageUnusable(f"can't move to {named(url)}: {in_one_line(error)}") from error


async def undo(database: str, clock: Clock) -> int:
    """Let a file that was moved be served again; how many codes that ended.

    Codes that it holds may have been used meanwhile, and messages under way may have been sent.
    """

    async def work(tx: Tx) -> int:
        if await tx.fact(MOVED_FACT) is None:
            raise NotMoved(f"{database} was not moved: there is nothing to undo")
        await tx.remember(MOVED_FACT, None)
        await cast(SqliteTx, tx).rows("DELETE FROM schema WHERE version = $1", FENCE)
        return await tx.revoke_codes()

    store = await SqliteStore.open(database, clock, history=True)
    try:
        return await store.write(work)
    except StorageUnavailable as error:
        raise StorageUnusable(f"can't use the database {database}: {error.__cause__ or error}") from error
    finally:
        await store.close()


class _Move:
    """One attempt: a transaction here, a transaction there."""

    def __init__(self, file: sqlite3.Connection, url: str, clock: Clock, tell: Tell) -> None:
        self._file = file
        self._url = url
        self._address = named(url)
        self._clock = clock
        self._tell = tell

    async def run(self) -> Moved:
        self._file.execute("BEGIN IMMEDIATE")
        before = self._before()
        self._check_file()
        self._tell("preparing the target")
        await prepared(self._url, load(MIGRATIONS))
        target = await asyncpg.connect(self._url, timeout=UNREACHED_S, statement_cache_size=0)
        try:
            await target.execute(_BEGIN)
            columns = await self._columns(target)
            there = {table: await target.fetchval(_select("count(*)", table)) for table in TABLES}
            empty = not any(there.values())
            if (not empty or before == "done") and await self._is_there(target, columns, there):
                self._note("done")
                return Moved(there, already=True)
            if before == "done" or (before and not empty):
                raise NotMoved(f"the database was moved to {self._address} already, and changed there since")
            if not empty:
                held = ", ".join(f"{table}: {rows}" for table, rows in there.items() if rows)
                raise NotMoved(f"{self._address} is not empty ({held}): nothing is overwritten")
            rows = await self._copy(target, columns)
            await self._commit(target)
            return Moved(rows, already=False)
        finally:
            with suppress(Exception):  # of a connection that is gone already
                await target.close(timeout=UNREACHED_S)

    def _before(self) -> str:
        """How far an earlier move to this target came: `begun`, `done`, or not even that."""
        found = self._file.execute("SELECT value FROM facts WHERE name = ?", (MOVED_FACT,)).fetchone()
        state, _, address = str(found["value"]).partition(" ") if found else ("", "", self._address)
        if address != self._address:
            raise NotMoved(
                f"the database was moved to {address} already, or half: repeat that, or see `move --undo`"
            )
        return state

    def _check_file(self) -> None:
        self._tell("checking the file")
        found = self._file.execute("PRAGMA quick_check(1)").fetchone()[0]  # no index is carried over
        if found != "ok":
            raise StorageUnusable(f"the file is damaged: {found} ({RESTORE})")

    async def _columns(self, target: Connection) -> Columns:
        """Every column of every table, the same on both sides; a newer program may have added to one of them."""
        here: dict[str, list[str]] = {}
        for table, column in self._file.execute(
            "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' "
            "AND t.name NOT LIKE 'sqlite_%' AND t.name <> 'schema' ORDER BY t.name, c.cid"
        ):
            here.setdefault(table, []).append(column)
        found = await target.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name = ANY($1)",
            TABLES,
        )
        there = {(row["table_name"], row["column_name"]) for row in found}
        odd = there ^ {(table, column) for table, columns in here.items() for column in columns}
        if odd:
            told = ", ".join(sorted(f"{table}.{column}" for table, column in odd))
            raise StorageUnusable(f"the two databases differ in {told}: use the newest program")
        return here

    async def _is_there(self, target: Connection, columns: Columns, there: Mapping[str, int]) -> bool:
        """Whether the target holds just what the file holds."""
        for table in TABLES:
            self._tell(f"comparing {table}")
            digest = _Digest()
            for _ in self._rows(table, columns[table], digest):
                pass
            if digest.rows != there[table] or digest != await _read_back(target, table, columns[table]):
                return False
        return True

    async def _copy(self, target: Connection, columns: Columns) -> dict[str, int]:
        """Everything, and what is then there compared with what is here."""
        sent = {table: _Digest() for table in TABLES}
        for table in TABLES:
            self._tell(f"copying {table}")
            await target.copy_records_to_table(
                table, records=self._rows(table, columns[table], sent[table]), columns=columns[table]
            )
        for table in TABLES:
            self._tell(f"checking {table}")
            if await _read_back(target, table, columns[table]) != sent[table]:
                raise StorageUnusable(f"{table} did not arrive as it was sent: nothing was moved")
        self._tell("counting for the planner")
        await target.execute(f"ANALYZE {', '.join(TABLES)}")  # else it guesses until it finds the time
        return {table: digest.rows for table, digest in sent.items()}

    def _rows(self, table: str, columns: Sequence[str], digest: _Digest) -> Iterator[tuple[Any, ...]]:
        """The rows of a table, one after the other, counted on their way."""
        for row in self._file.execute(_select(", ".join(columns), table)):
            values = tuple([storable(value) for value in row])
            digest.add(values)
            yield values

    async def _commit(self, target: Connection) -> None:
        self._tell("committing")
        await target.execute(_NOTE_TIME, str(self._clock.now()))
        self._note("begun")
        try:
            await target.execute("COMMIT")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise StorageUnusable(
                f"{self._address} did not say whether all has arrived ({in_one_line(error)}): repeat the same command"
            ) from error
        self._note("done")

    def _note(self, state: str) -> None:
        """From now on the file is history; on disk when this returns."""
        self._file.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (MOVED_FACT, f"{state} {self._address}"),
        )
        self._file.execute("INSERT OR IGNORE INTO schema VALUES (?, ?, '')", (FENCE, FENCE))
        if self._file.in_transaction:
            self._file.execute("COMMIT")


def _select(what: str, table: str) -> str:
    return f"SELECT {what} FROM {table}{_PART.get(table, '')}"


async def _read_back(target: Connection, table: str, columns: Sequence[str]) -> _Digest:
    digest = _Digest()
    cursor = await target.cursor(_select(", ".join(columns), table))
    while found := await cursor.fetch(BATCH):
        for row in found:
            digest.add(tuple(row))
    return digest
