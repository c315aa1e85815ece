"""The write-ahead log of an SQLite file: brought back beside the commits, and never for ever growing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from otp.ports import Tx
from storage.sqlite import SqliteStore
from storage.sqlite_log import LONGEST, OPERATIONS
from tests.disks import eventually
from tests.fakes import START, FakeClock

PAGE = "x" * 4_000
ROOM = 200
"""Facts of a page each, to write to."""


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(str(tmp_path / "tapcode.db"), FakeClock(START))
    yield opened
    await opened.close()


async def fill(store: SqliteStore, operations: int, text: str) -> None:
    """Each writes a page of its own."""
    for number in range(operations):

        async def work(tx: Tx, name: str = f"fact-{number % ROOM}", value: str = f"{number} {text}") -> None:
            await tx.remember(name, value + PAGE)

        await store.write(work)


def in_file(path: Path, text: str) -> int:
    """How often it stands in the file itself, without its log."""
    return path.read_bytes().count(text.encode())


async def test_what_is_committed_comes_into_the_file_by_itself(store: SqliteStore, tmp_path: Path) -> None:
    """No commit does it, and nobody asks for it."""
    await fill(store, OPERATIONS * 2, "here")
    await eventually(lambda: in_file(tmp_path / "tapcode.db", "here") > 0)


@pytest.mark.slow
async def test_a_commit_does_not_bring_the_log_back(store: SqliteStore, tmp_path: Path) -> None:
    """Not even one that finds far more than SQLite's thousand pages: it would take a hundred times as long as others."""
    store._log._pool = None
    await fill(store, 2_000, "here")
    assert in_file(tmp_path / "tapcode.db", "here") == 0
    assert store._connection.database.execute("PRAGMA wal_autocheckpoint").fetchone()[0] == LONGEST


@pytest.mark.slow
async def test_the_log_begins_anew(store: SqliteStore, tmp_path: Path) -> None:
    """Written for ever, it does not grow for ever."""
    store._connection.database.execute("PRAGMA wal_autocheckpoint = 500")
    await fill(store, 3_000, "here")
    assert (tmp_path / "tapcode.db-wal").stat().st_size < 1_500 * 4_120


async def test_a_file_that_takes_the_place_is_left_alone(store: SqliteStore, tmp_path: Path) -> None:
    """A backup put there while the service runs: the old file's log does not get into it."""
    path = tmp_path / "tapcode.db"
    await fill(store, 1, "old")
    await eventually(lambda: store._log._database is not None)
    with closing(sqlite3.connect(tmp_path / "backup.db")) as other, other:
        other.execute("CREATE TABLE t (n)")
    before = (tmp_path / "backup.db").read_bytes()
    path.rename(tmp_path / "away.db")
    (tmp_path / "backup.db").rename(path)
    store._log.committed(OPERATIONS)
    assert store._log._running is not None
    await store._log._running
    assert path.read_bytes() == before


async def test_a_log_that_can_not_be_brought_back_hurts_nobody(store: SqliteStore, tmp_path: Path) -> None:
    """The commits go on."""
    store._log._path = str(tmp_path / "nowhere" / "tapcode.db")
    await fill(store, OPERATIONS * 2, "here")
    assert await store.read(lambda tx: tx.fact("fact-0")) is not None


async def test_it_follows_the_writer_to_a_new_connection(store: SqliteStore, tmp_path: Path) -> None:
    """It lets go when the writer does."""
    await fill(store, OPERATIONS, "here")
    await eventually(lambda: store._log._database is not None)
    store._log.forget()
    await fill(store, OPERATIONS, "there")
    await eventually(lambda: in_file(tmp_path / "tapcode.db", "there") > 0)
