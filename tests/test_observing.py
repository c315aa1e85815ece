"""What is seen of a store from outside: commits, failures, size, and who waits in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from otp.errors import StorageUnavailable
from otp.model import Project
from otp.ports import Store, Tx
from storage.observing import Size, observe, size_of
from storage.sqlite import SqliteStore
from tests.fakes import FakeClock
from tests.world import LOGIN, World


class Noting:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.commits: list[tuple[float, int]] = []
        self.failed = 0

    def committed(self, seconds: float, operations: int) -> None:
        self.commits.append((seconds, operations))

    def store_failed(self, operations: int) -> None:
        self.failed += operations


async def save(store: Store, name: str = "p") -> None:
    """Change something."""
    await store.write(lambda tx: tx.save_project(Project(name, "Shop", "", True)))


async def test_commits_are_told_and_reads_are_not(store: Store) -> None:
    """With how long they took, and how many operations shared them."""
    noting = Noting()
    observe(store, noting)
    await asyncio.gather(*[save(store, f"p{n}") for n in range(3)])
    written = len(noting.commits)
    assert sum(many for _, many in noting.commits) == 3
    assert all(0 <= seconds < 10 for seconds, _ in noting.commits)
    await store.read(lambda tx: tx.projects())
    assert len(noting.commits) == written
    assert noting.failed == 0


async def test_guesses_are_told(world: World) -> None:
    """On PostgreSQL they are written by a statement of their own."""
    subscriber_id = await world.subscribe()
    noting = Noting()
    observe(world.store, noting)
    await asyncio.gather(*[world.verify(subscriber_id, "000000") for _ in range(3)])
    assert sum(many for _, many in noting.commits) >= 3
    assert noting.failed == 0


async def test_a_bug_of_ours_is_no_failure_of_the_store(store: Store) -> None:
    """The store is fine."""
    noting = Noting()
    observe(store, noting)

    async def wrong(_tx: Tx) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await store.write(wrong)
    assert noting.failed == 0


async def test_a_full_disk_and_a_file_that_is_gone_are_told(tmp_path: Path, clock: FakeClock) -> None:
    """By each operation that failed."""
    store = await SqliteStore.open(str(tmp_path / "t.db"), clock)
    noting = store.observer = Noting()

    async def limit(tx: Tx, pages: int) -> None:
        await tx.rows(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    async def fill(tx: Tx) -> None:
        for number in range(500):
            await tx.save_project(Project(f"p{number}", "x" * 200, "y" * 1000, True))

    await store.read(lambda tx: limit(tx, 60))
    with pytest.raises(StorageUnavailable):
        await store.write(fill)
    assert noting.failed == 1
    assert noting.commits == []
    (tmp_path / "t.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StorageUnavailable, match="restart"):
        await store.read(lambda tx: tx.projects())
    assert noting.failed == 2
    await store.close()


async def test_a_file_has_a_size_and_a_disk(tmp_path: Path, clock: FakeClock) -> None:
    """With its log; what is only in memory has none."""
    store = await SqliteStore.open(str(tmp_path / "t.db"), clock)
    await save(store)

    def on_disk() -> int:
        return sum((tmp_path / name).stat().st_size for name in ("t.db", "t.db-wal"))

    before, size = on_disk(), await size_of(store)
    while before != on_disk():  # the log is brought into the file meanwhile
        before, size = on_disk(), await size_of(store)
    assert size.database == before
    assert size.disk_free is not None
    assert size.disk_free > 0
    await store.close()
    in_memory = await SqliteStore.open(":memory:", clock)
    assert await size_of(in_memory) == Size()
    await in_memory.close()


async def test_a_database_has_a_size(store: Store) -> None:
    """PostgreSQL tells its own, and nothing of a disk."""
    size = await size_of(store)
    assert (size.database is None) is isinstance(store, SqliteStore)
    assert size.disk_free is None


async def test_what_waits_the_longest(world: World, clock: FakeClock) -> None:
    """Is told by the time of its claim, until it has its outcome."""

    async def since() -> int | None:
        return await world.store.read(lambda tx: tx.waiting_since())

    subscriber_id = await world.subscribe()
    assert await since() is None
    world.telegram.hold = asyncio.Event()
    claimed_at = clock.now()
    sending = asyncio.ensure_future(world.service.send(world.caller, subscriber_id, LOGIN))
    await world.settle()
    clock.advance(seconds=3)
    assert await since() == claimed_at
    world.telegram.hold.set()
    await sending
    assert await since() is None
