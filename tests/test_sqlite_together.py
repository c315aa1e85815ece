"""Operations on SQLite that share a commit: what one of them comes to is no matter of the others."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from otp.codes import key_hash
from otp.errors import StorageUnavailable
from otp.events import Event, MessageOver
from otp.model import Mode, Project
from otp.ports import Tx
from otp.projects import Projects
from storage.sqlite import MOST_TOGETHER, SLOW_COMMIT_MS, SqliteStore
from tests.fakes import FakeClock, SeededRandomness

SHOP = Project("shop", "Shop", "", True)


class Watched:
    """A connection that tells what it is asked for; `before` may wait, or raise what the disk would."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self.said: list[str] = []
        self.before: Callable[[str], None] = lambda _sql: None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.said.append(sql)
        self.before(sql)
        return self._real.execute(sql, *values)


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SqliteStore]:
    """A store over a file."""
    opened = await SqliteStore.open(str(tmp_path / "t.db"), clock)
    yield opened
    await opened.close()


@pytest.fixture
def watched(store: SqliteStore) -> Watched:
    """Its connection."""
    made = Watched(store._connection.database)
    store._connection._connection = made  # type: ignore[assignment]
    return made


def saving(project_id: str) -> Callable[[Tx], Any]:
    """An operation that saves a project, and tells so."""

    async def work(tx: Tx) -> str:
        await tx.save_project(replace(SHOP, id=project_id))
        tx.emit(MessageOver(project_id))
        return project_id

    return work


async def names(store: SqliteStore) -> list[str]:
    """The projects that are there."""
    return sorted(project.id for project in await store.read(lambda tx: tx.projects()))


def heard(store: SqliteStore) -> list[str]:
    """What is told from now on."""
    found: list[str] = []

    def listener(event: Event) -> None:
        assert isinstance(event, MessageOver)
        found.append(event.message_id)

    store.listen(listener)
    return found


async def test_what_is_asked_for_together_is_committed_together(store: SqliteStore, watched: Watched) -> None:
    """One begin and one commit for all, and each has its own answer."""
    wanted = [f"p{number:03}" for number in range(50)]
    assert await asyncio.gather(*(store.write(saving(name)) for name in wanted)) == wanted
    assert watched.said.count("BEGIN IMMEDIATE") == watched.said.count("COMMIT") == 1
    assert await names(store) == wanted


async def test_what_changed_is_told_in_the_context_of_whoever_asked(store: SqliteStore) -> None:
    caller: ContextVar[str] = ContextVar("caller")
    told: list[tuple[str, str]] = []
    store.listen(lambda event: told.append((caller.get(), cast(MessageOver, event).message_id)))

    async def ask(name: str) -> None:
        caller.set(name)
        await store.write(saving(name))

    await asyncio.gather(ask("a"), ask("b"), ask("c"))
    assert told == [("a", "a"), ("b", "b"), ("c", "c")]


async def test_a_commit_has_so_many_at_most(store: SqliteStore, watched: Watched) -> None:
    """The first ones are not kept waiting by a crowd."""
    await asyncio.gather(*(store.write(saving(f"p{number}")) for number in range(2 * MOST_TOGETHER + 1)))
    assert watched.said.count("COMMIT") == 3


async def test_a_failure_costs_the_others_nothing(store: SqliteStore, watched: Watched) -> None:
    """What it had done is undone and not told, whatever it was; those before and after it stay."""

    async def changes_its_mind(tx: Tx) -> None:
        await saving("never")(tx)
        raise LookupError

    async def breaks_a_rule(tx: Tx) -> None:
        await saving("never")(tx)
        await tx.add_key("nobody", None, b"x")  # type: ignore[arg-type]

    async def waits(tx: Tx) -> None:
        await saving("never")(tx)
        await asyncio.sleep(0)

    told = heard(store)
    works = [saving("a"), changes_its_mind, saving("b"), breaks_a_rule, saving("c"), waits, saving("d")]
    a, mind, b, rule, c, waiting, d = await asyncio.gather(*map(store.write, works), return_exceptions=True)
    assert [a, b, c, d] == await names(store) == told == ["a", "b", "c", "d"]
    assert isinstance(mind, LookupError)
    assert isinstance(rule, sqlite3.IntegrityError)
    assert isinstance(waiting, RuntimeError)
    assert watched.said.count("COMMIT") == 1


async def test_later_ones_see_what_earlier_ones_did(store: SqliteStore, watched: Watched) -> None:
    """Of two who want the same, one gets it, as if they had come one after the other."""
    await store.write(saving("one"))
    both = await asyncio.gather(*(store.write(lambda tx: tx.delete_project("one")) for _ in range(2)))
    assert both == [True, False]
    assert watched.said.count("COMMIT") == 2


@pytest.mark.parametrize("away", [False, True], ids=["quick disk", "slow disk"])
async def test_a_failed_commit_is_unknown_to_all(store: SqliteStore, watched: Watched, away: bool) -> None:
    """Also to one who was about to be refused: what it saw may not be there. Nothing is told, and the next one works."""
    told = heard(store)
    store._commit_ms = SLOW_COMMIT_MS * 100 * away

    async def refused(_tx: Tx) -> None:
        raise LookupError

    def full(sql: str) -> None:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")

    watched.before = full
    works = [saving("a"), refused, saving("b")]
    got = await asyncio.gather(*map(store.write, works), return_exceptions=True)
    assert [type(one) for one in got] == [StorageUnavailable] * 3
    assert len(set(map(id, got))) == 3
    watched.before = lambda _sql: None
    assert (told, await names(store)) == ([], [])
    assert await store.write(saving("c")) == "c"
    assert (told, await names(store)) == (["c"], ["c"])


async def test_who_goes_away_changes_nothing(store: SqliteStore, watched: Watched) -> None:
    """Neither for the others nor of what they asked for."""
    calls = [asyncio.ensure_future(store.write(saving(name))) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    calls[1].cancel()
    a, gone, c = await asyncio.gather(*calls, return_exceptions=True)
    assert (a, type(gone), c) == ("a", asyncio.CancelledError, "c")
    assert await names(store) == ["a", "b", "c"]
    assert watched.said.count("COMMIT") == 1


async def test_the_loop_does_not_wait_for_a_slow_disk(store: SqliteStore, watched: Watched) -> None:
    """It goes on; those who want the store wait, and share the next commit."""
    store._commit_ms = SLOW_COMMIT_MS * 100
    threads, go_on = [], threading.Event()

    def slow(sql: str) -> None:
        if sql == "COMMIT":
            threads.append(threading.current_thread())
            assert go_on.wait(10)

    watched.before = slow
    first = asyncio.ensure_future(store.write(saving("a")))
    while not threads:  # noqa: ASYNC110  # it is told by another thread
        await asyncio.sleep(0.001)
    others = [asyncio.ensure_future(store.write(saving(name))) for name in ("b", "c")]
    reading = asyncio.ensure_future(names(store))
    await asyncio.sleep(0.01)
    assert not any(one.done() for one in (first, *others, reading))
    go_on.set()
    assert await asyncio.gather(first, *others) == ["a", "b", "c"]
    assert await reading == ["a", "b", "c"]
    assert len(threads) == 2
    assert threading.current_thread() not in threads


async def test_a_chore_holds_up_no_loop(store: SqliteStore) -> None:
    """It is done on another thread, by itself, between those who came before and after it."""
    began, go_on = threading.Event(), threading.Event()

    async def chore(tx: Tx) -> threading.Thread:
        began.set()
        assert go_on.wait(10)
        assert [project.id for project in await tx.projects()] == ["a"]
        return threading.current_thread()

    first = asyncio.ensure_future(store.write(saving("a")))
    doing = asyncio.ensure_future(store.chore(chore))
    last = asyncio.ensure_future(store.write(saving("b")))
    while not began.is_set():  # noqa: ASYNC110  # by another thread
        await asyncio.sleep(0.001)
    assert await first == "a"
    assert not last.done()
    go_on.set()
    assert await doing is not threading.current_thread()
    assert await last == "b"


async def test_the_loop_does_not_wait_for_a_held_file(tmp_path: Path, store: SqliteStore) -> None:
    """Another program writes for a moment: the loop goes on meanwhile, and everything is done afterwards, once."""
    with closing(sqlite3.connect(tmp_path / "t.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        calls = [asyncio.ensure_future(store.write(saving(name))) for name in ("a", "b")]
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not any(one.done() for one in calls)
        other.execute("ROLLBACK")
    assert await asyncio.gather(*calls) == ["a", "b"]
    assert store._connection.database.execute("PRAGMA busy_timeout").fetchone()[0] == 0


async def test_who_only_reads_can_change_nothing(store: SqliteStore) -> None:
    """There would be no commit, and nobody would be told."""
    with pytest.raises(RuntimeError, match="reads"):
        await store.read(saving("a"))
    assert await names(store) == []


async def test_what_is_asked_for_before_the_end_is_done(tmp_path: Path, clock: FakeClock) -> None:
    """Closing waits for it."""
    store = await SqliteStore.open(str(tmp_path / "u.db"), clock)
    last = asyncio.ensure_future(store.write(saving("a")))
    await asyncio.sleep(0)
    await store.close()
    assert last.done()
    assert await last == "a"


async def test_callers_kept_in_memory_are_those_of_the_file(
    store: SqliteStore, watched: Watched, clock: FakeClock
) -> None:
    """Whatever changed them, or was about to."""
    projects = Projects(store, SeededRandomness("known"), Mode.LIVE)
    made = await projects.create("Shop", "")
    key, project_id = key_hash(made.api_key), made.project.id

    async def enabled(tx: Tx) -> bool:
        caller, project = await tx.caller(key), await tx.project(project_id)
        assert caller is not None
        assert caller.project == project
        return caller.project.enabled

    async def changes_its_mind(tx: Tx) -> None:
        await tx.save_project(replace(made.project, enabled=False))
        assert not await enabled(tx)
        raise LookupError

    async def told() -> bool:
        by_itself = await store.caller(key)
        assert by_itself is not None
        assert by_itself.project.enabled == await store.read(enabled)
        return by_itself.project.enabled

    def full(sql: str) -> None:
        if sql == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")

    assert await told()
    said = len(watched.said)
    assert await told()
    assert len(watched.said) == said  # nothing is asked twice
    with pytest.raises(LookupError):
        await store.write(changes_its_mind)
    assert await told()
    watched.before = full
    with pytest.raises(StorageUnavailable):
        await projects.set_enabled(project_id, False)
    watched.before = lambda _sql: None
    assert await told()
    await projects.set_enabled(project_id, False)
    assert not await told()
    await projects.rotate_key(project_id, keep_old_hours=1)
    assert not await told()
    clock.advance(minutes=60)
    assert await store.read(lambda tx: tx.caller(key)) is None
    await projects.delete(project_id)
    assert await store.read(lambda tx: tx.project(project_id)) is None


async def test_a_bug_after_all_is_told_to_all(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for ever, and nothing is there; the next ones are served."""

    def broken(_event: Event) -> list[tuple[str, str]]:
        raise LookupError

    monkeypatch.setattr("storage.statements.jobs_of", broken)
    for asked in (store.write, store.chore):
        got = await asyncio.gather(asked(saving("a")), asked(saving("b")), return_exceptions=True)
        assert [type(one) for one in got] == [LookupError] * 2
    monkeypatch.undo()
    assert await names(store) == []
    assert await store.write(saving("c")) == "c"
