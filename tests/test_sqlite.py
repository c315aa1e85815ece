"""What only SQLite has: the file, its owner, its migrations, its clock, its disk."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from otp.errors import StorageUnavailable, StorageUnusable
from otp.model import Project
from otp.ports import Tx
from storage import open_store, remove, sqlite_path
from storage.migrations import load
from storage.ownership import FileLock, socket_path
from storage.sqlite import SqliteStore
from storage.sqlite_file import MIGRATIONS
from tests.fakes import START, FakeClock

SHOP = Project("p1", "Shop", "", True)


async def save(store: SqliteStore, project: Project = SHOP) -> None:
    """One committed change."""
    await store.write(lambda tx: tx.save_project(project))


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database file that is not there yet, in a folder that is not there yet."""
    return str(tmp_path / "new folder" / "tapcode.db")


async def test_only_the_owner_can_read_the_file(path: str, clock: FakeClock) -> None:
    """The folder, the database and what SQLite puts beside it."""
    store = await SqliteStore.open(path, clock)
    await save(store)
    folder = Path(path).parent
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    await store.close()


async def test_what_was_committed_is_there_after_a_reopening(path: str, clock: FakeClock) -> None:
    """Twice: migrating an up-to-date file changes nothing."""
    for _ in range(2):
        store = await SqliteStore.open(path, clock)
        await save(store)
        assert await store.read(lambda tx: tx.projects()) == [SHOP]
        await store.close()


async def test_time_does_not_go_back_over_a_restart(path: str) -> None:
    """The stored mark is where the clock goes on, whatever the wall says."""
    late = FakeClock(START + 3_600_000)
    store = await SqliteStore.open(path, late)
    await save(store)
    await store.close()
    early = FakeClock(START)
    store = await SqliteStore.open(path, early)
    assert early.now() >= START + 3_600_000
    await store.close()


async def test_what_was_seen_dead_is_dead_after_a_restart(path: str) -> None:
    """A write that changes nothing leaves its time behind too."""

    async def look(_tx: Tx) -> None:
        return None

    store = await SqliteStore.open(path, late := FakeClock(START))
    await save(store)
    late.advance(minutes=60)
    await store.write(look)
    await store.close()
    early = FakeClock(START)
    store = await SqliteStore.open(path, early)
    assert early.now() >= late.now()
    await store.close()


@pytest.mark.parametrize("content", [b"x" * 100, os.urandom(16384), b"SQLite format 3\0" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused(path: str, clock: FakeClock, content: bytes) -> None:
    """One clear error that says what to do, and no thread is left behind."""
    Path(path).parent.mkdir()
    Path(path).write_bytes(content)
    with pytest.raises(StorageUnusable, match=r"can't use the database .* put a backup in its place"):
        await open_store(f"sqlite:///{path}", clock)


async def test_a_damaged_page_is_refused(path: str, clock: FakeClock) -> None:
    """Found at start, not in the middle of a code; one line says what to do."""
    store = await SqliteStore.open(path, clock)
    await save(store)
    await store.close()
    with Path(path).open("r+b") as file:
        file.seek(8192)
        file.write(os.urandom(8192))
    with pytest.raises(StorageUnusable, match="put a backup in its place") as refused:
        await SqliteStore.open(path, clock)
    assert "\n" not in str(refused.value)


async def test_a_folder_that_can_not_be_written_is_refused(clock: FakeClock) -> None:
    """The reason is told, and no backup is called for."""
    with pytest.raises(StorageUnusable, match="No such file or directory") as refused:
        await SqliteStore.open("/proc/nowhere/t.db", clock)
    assert "backup" not in str(refused.value)


# ------------------------------------------------------------------ migrations


NEXT = len(load(MIGRATIONS)) + 1
"""The first number that is free."""


def step(folder: Path, number: int, sql: str) -> None:
    """Write a migration."""
    folder.mkdir(exist_ok=True)
    (folder / f"{number:04d}_step.sql").write_text(sql)


async def opened(path: str, clock: FakeClock, folder: Path) -> None:
    """Open with other migrations, and close."""
    await (await SqliteStore.open(path, clock, folder)).close()


def tables(path: str) -> set[str]:
    """What is in a database file."""
    with closing(sqlite3.connect(path)) as database:
        return {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real steps, to which tests add theirs."""
    made = tmp_path / "migrations"
    for one in load(MIGRATIONS):
        step(made, one.version, one.sql)
    return made


async def test_each_step_is_applied_once_and_in_order(path: str, clock: FakeClock, folder: Path) -> None:
    """A later step meets what the earlier one made."""
    await opened(path, clock, folder)
    step(folder, NEXT, "CREATE TABLE a (x TEXT) STRICT;\nINSERT INTO a SELECT 'it;s' FROM facts LIMIT 1;")
    step(folder, NEXT + 1, "ALTER TABLE a ADD COLUMN y TEXT;")
    for _ in range(2):
        await opened(path, clock, folder)
    assert "a" in tables(path)


async def test_a_step_that_fails_leaves_the_file_as_it_was(path: str, clock: FakeClock, folder: Path) -> None:
    """All or nothing, the steps before it in the same start too."""
    await opened(path, clock, folder)
    step(folder, NEXT, "CREATE TABLE a (x TEXT);")
    step(folder, NEXT + 1, "CREATE TABLE b (x TEXT); NONSENSE;")
    with pytest.raises(StorageUnusable):
        await opened(path, clock, folder)
    assert not {"a", "b"} & tables(path)
    step(folder, NEXT + 1, "CREATE TABLE b (x TEXT);")
    await opened(path, clock, folder)
    assert {"a", "b"} <= tables(path)


async def test_a_newer_database_is_refused_by_an_older_program(
    path: str, clock: FakeClock, folder: Path
) -> None:
    """Unless the newer step says that older programs cope."""
    step(folder, NEXT, "CREATE TABLE a (x TEXT);")
    await opened(path, clock, folder)
    with pytest.raises(StorageUnusable, match="newer program"):
        await SqliteStore.open(path, clock)


async def test_a_newer_step_may_let_older_programs_in(path: str, clock: FakeClock, folder: Path) -> None:
    """`-- oldest-program:` is for rolling back and rolling updates."""
    step(folder, NEXT, f"-- oldest-program: {NEXT - 1}\nCREATE TABLE a (x TEXT);")
    await opened(path, clock, folder)
    await opened(path, clock, MIGRATIONS)


async def test_a_changed_step_is_refused(path: str, clock: FakeClock, folder: Path) -> None:
    """What was applied is not what this program knows."""
    step(folder, NEXT, "CREATE TABLE a (x TEXT);")
    await opened(path, clock, folder)
    step(folder, NEXT, "CREATE TABLE a (y TEXT);")
    with pytest.raises(StorageUnusable, match="differs"):
        await opened(path, clock, folder)


def test_the_steps_of_this_program_are_numbered_without_gaps() -> None:
    """1, 2, 3, …"""
    versions = [one.version for one in load(MIGRATIONS)]
    assert versions == list(range(1, len(versions) + 1))


# ------------------------------------------------------------------ the disk


async def test_a_full_disk_is_unavailable_and_heals(path: str, clock: FakeClock) -> None:
    """Nothing half-done stays; with room again the same store works."""
    store = await SqliteStore.open(path, clock)

    async def limit(tx: Tx, pages: int) -> None:
        await tx.rows(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    async def fill(tx: Tx) -> None:
        for number in range(500):
            await tx.save_project(Project(f"p{number}", "x" * 200, "y" * 1000, True))

    await store.read(lambda tx: limit(tx, 60))
    with pytest.raises(StorageUnavailable):
        await store.write(fill)
    assert await store.read(lambda tx: tx.projects()) == []
    await store.read(lambda tx: limit(tx, 100_000))
    await store.write(fill)
    assert len(await store.read(lambda tx: tx.projects())) == 500
    await store.close()


async def test_another_process_holds_the_file(
    path: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unavailable after the wait, good again afterwards, readers unharmed."""
    store = await SqliteStore.open(path, clock)
    monkeypatch.setattr("storage.sqlite.BUSY_MS", 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable):
            await save(store)
        assert await store.read(lambda tx: tx.projects()) == []
        other.execute("ROLLBACK")
    await save(store)
    await store.close()


@pytest.mark.parametrize("taken", ["t.db", "t.db-wal"])
async def test_nothing_is_written_into_a_file_that_is_gone(
    tmp_path: Path, clock: FakeClock, taken: str
) -> None:
    """Deleted or replaced, it would be lost with the process: unavailable, for readers too."""
    store = await SqliteStore.open(str(tmp_path / "t.db"), clock)
    await save(store)
    (tmp_path / taken).rename(tmp_path / "elsewhere")
    for replaced in (False, True):
        if replaced:
            (tmp_path / taken).touch()
        with pytest.raises(StorageUnavailable, match="restart"):
            await save(store)
        with pytest.raises(StorageUnavailable, match="restart"):
            await store.read(lambda tx: tx.projects())
    await store.close()


async def test_what_waited_too_long_is_not_done_late(
    path: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operation that did not begin in time fails instead."""
    store = await SqliteStore.open(path, clock)
    monkeypatch.setattr("storage.sqlite.DEADLINE_S", -1.0)
    with pytest.raises(StorageUnavailable):
        await save(store)
    monkeypatch.undo()
    assert await store.read(lambda tx: tx.projects()) == []
    await store.close()


def test_a_database_is_erased_with_what_lies_beside_it(tmp_path: Path) -> None:
    """Its log and its index too, as far as they are there; nothing else."""
    for name in ("t.db", "t.db-wal", "t.db-shm", "t.db-journal", "t.db.lock", "other.db"):
        (tmp_path / name).touch()
    for _ in range(2):
        remove(str(tmp_path / "t.db"))
        assert sorted(found.name for found in tmp_path.iterdir()) == ["other.db", "t.db.lock"]


# ------------------------------------------------------------------ the owner


def test_a_file_has_one_owner(path: str) -> None:
    """Until it lets go."""
    first, second = FileLock(path), FileLock(path)
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()
    second.release()  # what nobody holds is let go of as well
    FileLock(path).release()


def test_the_lock_makes_its_folder_for_the_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask allows."""
    lock = FileLock(str(tmp_path / "a" / "b" / "t.db"))
    before = os.umask(0)
    try:
        assert lock.acquire()
    finally:
        os.umask(before)
    lock.release()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "t.db.lock").stat().st_mode & 0o777 == 0o600


def test_where_no_lock_can_be_made_that_is_said(tmp_path: Path) -> None:
    """With the reason that the system gives."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnusable, match=r"can't make the lock file .*/file/t\.db\.lock: "):
        FileLock(str(tmp_path / "file" / "t.db")).acquire()


def test_a_link_to_a_file_is_the_same_file(tmp_path: Path) -> None:
    """However it is reached, it has one lock and one socket."""
    (tmp_path / "real.db").touch()
    (tmp_path / "link.db").symlink_to("real.db")
    assert sqlite_path(f"sqlite:///{tmp_path}/link.db") == sqlite_path(f"sqlite:///{tmp_path}/real.db")


async def test_an_owner_is_waited_for(path: str) -> None:
    """Who comes second gets the file when the first one goes, and gives up when it is told to stop."""
    first, second = FileLock(path), FileLock(path)
    first.acquire()
    stop = asyncio.Event()
    waiting = asyncio.ensure_future(second.acquire_within(30, stop))
    await asyncio.sleep(0)
    first.release()
    assert await waiting
    stop.set()
    assert not await first.acquire_within(30, stop)
    second.release()


async def test_an_owner_that_stays_is_not_waited_for_longer_than_was_said(path: str) -> None:
    """Nor shorter: the file is the owner's, and who waited does not have it."""
    owner, waiting = FileLock(path), FileLock(path)
    owner.acquire()
    began = asyncio.get_running_loop().time()
    assert not await waiting.acquire_within(0.3, asyncio.Event())
    assert asyncio.get_running_loop().time() - began >= 0.25
    owner.release()


def test_a_socket_path_fits_into_an_address(tmp_path: Path) -> None:
    """Beside the file, or under a hash of it where that would be too long."""
    short = socket_path("/x/t.db")
    assert short == Path("/x/t.db.sock")
    longest = "/" + "x" * (100 - len("/.sock"))
    assert socket_path(longest) == Path(f"{longest}.sock")
    assert socket_path(f"{longest}x").parent == Path(tempfile.gettempdir())
    long = socket_path(str(tmp_path / ("d" * 100) / "t.db"))
    assert len(os.fsencode(long)) <= 100
    assert long != socket_path(str(tmp_path / ("e" * 100) / "t.db"))


async def test_a_connection_that_was_given_up_is_made_anew(path: str, clock: FakeClock) -> None:
    """Also when that fails for a while: unavailable until then, and never a state of before."""
    store = await SqliteStore.open(path, clock)
    await save(store)
    stuck = store._connection
    connector, tries = stuck._connector, 0

    def failing() -> sqlite3.Connection:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise sqlite3.OperationalError("disk I/O error")
        return connector()

    stuck._connector = failing
    await stuck.call(lambda _: stuck.give_up())
    store._files.forget()
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            await save(store)
    await save(store)
    assert await store.read(lambda tx: tx.projects()) == [SHOP]
    await store.close()


async def test_an_operation_may_await_nothing_but_its_transaction(clock: FakeClock) -> None:
    """Awaiting anything else is a bug that is told at once."""
    store = await SqliteStore.open(":memory:", clock)

    async def work(_tx: Tx) -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="awaited"):
        await store.write(work)
    await store.close()
