"""Databases looked at from beside their owners, and what that means for the operator."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from checks import database
from checks.findings import Level, worst
from otp.errors import StorageUnusable
from storage import Reach, open_store
from storage.health import SqliteHealth, look_at_postgres, look_at_sqlite
from storage.migrations import load
from storage.postgres import MIGRATIONS as POSTGRES_STEPS
from storage.sqlite_file import MIGRATIONS as SQLITE_STEPS
from tests.fakes import START, FakeClock
from tests.postgres import fresh
from tests.process import free_port

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


async def made(path: Path, at: int = START) -> str:
    """A database that somebody has served; its file."""
    store = await open_store(f"sqlite:///{path}", FakeClock(at))
    await store.write(lambda tx: tx.remember("fact", "x" * 100_000))
    await store.close()
    return str(path)


async def test_an_sqlite_file_is_looked_at_beside_its_owner(tmp_path: Path) -> None:
    """Its schema, its checks, its log, and the time that it has noted."""
    path = tmp_path / "a.db"
    assert await look_at_sqlite(str(path)) is None
    assert database.judge_none().level is WARNING
    store = await open_store(f"sqlite:///{path}", FakeClock())
    await store.write(lambda tx: tx.remember("fact", "value"))
    seen = await look_at_sqlite(str(path))
    await store.write(lambda tx: tx.remember("fact", "other"))  # which is not held up
    await store.close()
    assert seen is not None
    newest = load(SQLITE_STEPS)[-1].version
    assert (seen.schema, seen.newest, seen.noted_at) == (newest, newest, START)
    assert (seen.damage, seen.unusable, seen.checked, seen.readable_by_others) == (None, None, True, False)
    assert seen.log_size > 0
    assert worst(database.judge_sqlite(seen)) is OK


async def test_a_look_leaves_the_log_as_it_is(tmp_path: Path) -> None:
    """Whoever opens what a killed service left, and may write, puts the log back into the file."""
    path, left = tmp_path / "a.db", tmp_path / "left.db"
    store = await open_store(f"sqlite:///{path}", FakeClock())
    await store.write(lambda tx: tx.remember("fact", "value"))
    for suffix in ("", "-wal"):
        Path(f"{left}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    await store.close()
    before = [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")]
    seen = await look_at_sqlite(str(left))
    assert seen is not None
    assert (seen.noted_at, seen.log_size) == (START, len(before[1]))
    assert before == [Path(f"{left}{suffix}").read_bytes() for suffix in ("", "-wal")]


async def test_an_sqlite_file_that_is_damaged(tmp_path: Path) -> None:
    """In the middle, and at its head."""
    path = Path(await made(tmp_path / "a.db"))
    content = path.read_bytes()
    path.write_bytes(content[:20_000] + os.urandom(60_000) + content[80_000:])
    seen = await look_at_sqlite(str(path))
    assert seen is not None
    assert seen.damage is not None
    [found] = database.judge_sqlite(seen)
    assert (found.level, "restore a backup" in str(found.hint)) == (PROBLEM, True)
    path.write_bytes(b"not a database" * 1000)
    seen = await look_at_sqlite(str(path))
    assert seen is not None
    assert seen.damage is not None


@pytest.mark.parametrize(
    "change,told",
    [
        ("INSERT INTO schema VALUES (900, 900, 'x')", "made by a newer program"),
        ("UPDATE schema SET checksum = 'x' WHERE version = 3", "differs"),
        ("INSERT INTO facts VALUES ('moved', 'done postgresql://db.example/x')", "moved"),
    ],
)
async def test_an_sqlite_file_that_would_not_be_served(tmp_path: Path, change: str, told: str) -> None:
    """The reason is the one that `serve` would give."""
    path = await made(tmp_path / "a.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()
    seen = await look_at_sqlite(path)
    assert seen is not None
    [found] = database.judge_sqlite(seen)
    assert (found.level, told in found.text) == (PROBLEM, True)


async def test_an_sqlite_file_that_others_may_read_or_that_is_too_large(tmp_path: Path) -> None:
    """Whoever reads it knows who is subscribed; what takes too long to check is left to `backup`."""
    path = await made(tmp_path / "a.db")
    Path(path).chmod(0o644)
    seen = await look_at_sqlite(path, seconds=-1)
    assert seen is not None
    assert (seen.checked, seen.damage) == (False, None)
    assert worst(database.judge_sqlite(seen)) is WARNING
    assert isinstance(seen, SqliteHealth)
    long = replace(seen, log_size=database.LONG_LOG + 1, readable_by_others=False)
    assert [one.level for one in database.judge_sqlite(long)] == [OK, WARNING]
    with pytest.raises(StorageUnusable):
        await look_at_sqlite(f"{path}/below")


async def test_a_postgres_database_is_looked_at(tmp_path: Path) -> None:
    """Version, schema, clock, connections; nothing is made there."""
    url = await fresh("doctor")
    empty = await look_at_postgres(url)
    assert (empty.schema, empty.off, empty.standby) == (0, [], False)
    store = await open_store(url, FakeClock(), Reach(own_time=False))
    seen = await look_at_postgres(url)
    await store.close()
    newest = load(POSTGRES_STEPS)[-1].version
    assert (seen.schema, seen.newest, seen.unusable) == (newest, newest, None)
    assert abs(seen.now - datetime.now(UTC).timestamp() * 1000) < 60_000
    assert worst(database.judge_postgres(replace(seen, room=50), pool=11, running=False)) is OK
    assert worst(database.judge_postgres(replace(seen, room=5), pool=11, running=False)) is WARNING
    assert worst(database.judge_postgres(replace(seen, room=5), pool=11, running=True)) is OK
    assert worst(database.judge_postgres(replace(seen, room=1), pool=11, running=True)) is PROBLEM
    for sick in ({"version_number": 130_000}, {"standby": True}, {"off": ["fsync"]}):
        ill = replace(seen, **sick)
        assert worst(database.judge_postgres(ill, pool=11, running=True)) is PROBLEM
    connection = await asyncpg.connect(url)
    await connection.execute("INSERT INTO schema VALUES (900, 900, 'x')")
    await connection.close()
    [newer] = database.judge_postgres(await look_at_postgres(url), pool=11, running=True)
    assert (newer.level, "newer program" in newer.text) == (PROBLEM, True)


async def test_a_postgres_server_that_is_away() -> None:
    """Without the password of its URL."""
    with pytest.raises(StorageUnusable, match="not reached") as caught:
        await look_at_postgres(f"postgresql://me:hidden-password@127.0.0.1:{free_port()}/x")
    assert "hidden-password" not in str(caught.value)
