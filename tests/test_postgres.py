"""What holds for PostgreSQL alone: connections that break, other replicas, its clock, its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from config.clock import told_clock
from otp.errors import StorageUnavailable, StorageUnusable
from otp.events import ChangesMissed, Event, RequestTouched
from otp.model import Mode, Project, RequestStatus, Subscriber
from otp.ports import Tx
from otp.service import Reason
from storage import Reach, named, open_store
from storage.postgres import CONNECTS_AT_ONCE, MIGRATIONS, PostgresStore
from tests.conftest import postgres_url
from tests.fakes import START, FakeClock
from tests.pgwire import PgWire
from tests.postgres import fresh
from tests.world import ANN, World, make_world, wrong

SHOP = Project("p1", "Shop", "", True)
OURS = Reach(own_time=False)


@pytest.fixture
async def url(worker_id: str) -> str:
    """An empty database."""
    return await postgres_url(worker_id)


@pytest.fixture
async def wire(url: str, clock: FakeClock) -> AsyncIterator[PgWire]:
    """The way to a migrated database, which can be cut."""
    await (await open_store(url, clock, OURS)).close()
    async with PgWire(url) as opened:
        yield opened


@pytest.fixture
async def opened(clock: FakeClock) -> AsyncIterator[Callable[[str], object]]:
    """Opens stores, and closes them at the end."""
    stores: list[PostgresStore] = []

    async def one(url: str, reach: Reach = OURS) -> PostgresStore:
        store = await PostgresStore.open(url, clock, reach)
        stores.append(store)
        return store

    yield one
    for store in stores:
        await store.close()


async def save(store: PostgresStore, project: Project = SHOP) -> None:
    await store.write(lambda tx: tx.save_project(project))


async def saved(store: PostgresStore, project_id: str = "p1") -> Project | None:
    return await store.read(lambda tx: tx.project(project_id))


# ------------------------------------------------------------------ broken connections


async def test_a_connection_that_broke_before_the_commit_is_replaced(wire: PgWire, opened) -> None:
    """The caller notices nothing."""
    store = await opened(wire.url)
    await save(store)
    await wire.cut()
    assert await saved(store) == SHOP
    wire.lose_commits = "before"
    with pytest.raises(StorageUnavailable):
        await save(store, Project("p2", "Bank", "", True))
    await save(store, Project("p3", "Inn", "", True))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_without_an_answer_is_unknown_and_never_true(
    wire: PgWire, opened, clock: FakeClock, when
) -> None:
    """Whether it was made or not, nobody is told that a code was right; and no code is right twice."""
    store = await opened(wire.url)
    world = await make_world(store, clock)
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    wire.lose_commits = when
    with pytest.raises(StorageUnavailable):
        await world.verify(sub, code)
    verdict = await world.verify(sub, code)
    assert verdict.reason == (Reason.NO_ACTIVE_CODE if when == "after" else None)
    await world.courier.close(0)


async def test_a_database_that_is_gone_is_an_honest_failure_and_comes_back_by_itself(
    wire: PgWire, opened
) -> None:
    """Within a few seconds, and without a restart."""
    store = await opened(wire.url)
    await save(store)
    wire.fate = "refuse"
    await wire.cut()
    with pytest.raises(StorageUnavailable):
        await saved(store)
    wire.fate = "pass"
    assert await saved(store) == SHOP


async def test_a_pool_is_filled_slowly_after_all_its_connections_broke(wire: PgWire, opened) -> None:
    """A database that comes back is not run over by everybody at once."""
    store = await opened(wire.url, Reach(pool_size=8, own_time=False))
    await wire.cut()
    wire.hold()
    before = wire.connections
    calls = [asyncio.create_task(saved(store)) for _ in range(8)]
    while wire.connections < before + CONNECTS_AT_ONCE:  # noqa: ASYNC110  # they come when they come
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert wire.connections <= before + CONNECTS_AT_ONCE + 1  # and the one that listens
    wire.release()
    assert await asyncio.gather(*calls) == [None] * 8


async def test_an_operation_is_run_to_its_end_without_its_caller(url: str, opened) -> None:
    """Whoever goes away changes nothing."""
    store = await opened(url)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(tx: Tx) -> None:
        begun.set()
        await go_on.wait()
        await tx.save_project(SHOP)

    caller = asyncio.create_task(store.write(slowly))
    await begun.wait()
    caller.cancel()
    with suppress(asyncio.CancelledError):
        await caller
    go_on.set()
    while not store.idle:  # noqa: ASYNC110  # a store sets no events for tests
        await asyncio.sleep(0.001)
    assert await saved(store) == SHOP


# ------------------------------------------------------------------ beside each other


async def test_transactions_that_meet_head_on_both_get_through(url: str, opened) -> None:
    """The database ends one of the two, which begins again."""
    store = await opened(url)
    async with _connected(url) as admin:
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '20ms'")
    store = await opened(url)
    await save(store)
    for sub_id, person in (("s1", ANN), ("s2", ANN)):
        mode = Mode.LIVE if sub_id == "s1" else Mode.TEST
        sub = Subscriber(sub_id, "p1", mode, person, "en", True, 0, False)
        await store.write(lambda tx, sub=sub: tx.add_subscriber(sub))
    both = asyncio.Barrier(2)
    runs = []

    async def cross(tx: Tx, first: str, second: str) -> int:
        runs.append(first)
        await tx.subscriber_by_id(first)
        if len(runs) <= 2:
            await both.wait()
        await tx.subscriber_by_id(second)
        return await tx.count_wrong_guess(second)

    counted = await asyncio.gather(
        store.write(lambda tx: cross(tx, "s1", "s2")), store.write(lambda tx: cross(tx, "s2", "s1"))
    )
    assert list(counted) == [1, 1]
    assert len(runs) == 3


async def test_two_first_consents_at_once_make_one_subscriber(url: str, opened, clock: FakeClock) -> None:
    """The one that comes second finds what the first one made."""
    one, two = [await make_world(await opened(url), clock) for _ in range(2)]
    two.caller, two.service = one.caller, two.service
    asked = [await one.request(), await one.request()]
    for request_id in asked:
        await one.taps.open(one.update(), request_id)
    await asyncio.gather(
        one.taps.consent(one.update(key="one"), asked[0]), two.taps.consent(two.update(key="two"), asked[1])
    )
    await one.settle()
    await two.settle()
    subs = {delivery.subscriber_id for request_id in asked for delivery in await one.deliveries(request_id)}
    assert len(subs) == 1
    for world in (one, two):
        await world.courier.close(0)


async def test_guesses_spread_over_replicas_are_counted_once_each(url: str, opened, clock: FakeClock) -> None:
    """Five of fifty are judged, whoever judges them."""
    stores = [await opened(url) for _ in range(3)]
    worlds: list[World] = [await make_world(store, clock) for store in stores]
    sub = await worlds[0].subscribe()
    code = worlds[0].telegram.codes[-1]
    verdicts = await asyncio.gather(
        *(
            world.service.verify(worlds[0].caller, sub, wrong(code), None, None)
            for world in worlds
            for _ in range(17)
        )
    )
    judged = [verdict for verdict in verdicts if verdict.reason is Reason.WRONG_CODE]
    assert sorted(verdict.attempts_left for verdict in judged) == [0, 1, 2, 3, 4]
    assert (await worlds[1].service.verify(worlds[0].caller, sub, code, None, None)).reason is not None
    for world in worlds:
        await world.courier.close(0)


async def test_a_right_code_is_accepted_by_one_replica(url: str, opened, clock: FakeClock) -> None:
    """However many ask at once."""
    worlds = [await make_world(await opened(url), clock) for _ in range(3)]
    sub = await worlds[0].subscribe()
    code = worlds[0].telegram.codes[-1]
    verdicts = await asyncio.gather(
        *(
            world.service.verify(worlds[0].caller, sub, code, None, None)
            for world in worlds
            for _ in range(10)
        )
    )
    assert [verdict.reason for verdict in verdicts].count(None) == 1
    for world in worlds:
        await world.courier.close(0)


async def test_what_changed_elsewhere_is_told(url: str, opened, clock: FakeClock) -> None:
    """To all the other replicas, and not to the one that did it."""
    here, there = await opened(url), await opened(url)
    heard: dict[str, list[Event]] = {"here": [], "there": []}
    told = asyncio.Event()

    def listener(name: str) -> Callable[[Event], None]:
        def hear(event: Event) -> None:
            if isinstance(event, RequestTouched):
                heard[name].append(event)
                told.set()

        return hear

    here.listen(listener("here"))
    there.listen(listener("there"))
    async with _connected(url) as admin:
        while await admin.fetchval(_LISTENING) < 2:  # noqa: ASYNC110  # they connect when they do
            await asyncio.sleep(0.01)
    world = await make_world(here, clock)
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await asyncio.wait_for(told.wait(), 10)
    assert heard == {"here": [], "there": [RequestTouched(request_id)]}
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.SENT
    await world.courier.close(0)


async def test_a_line_that_broke_says_that_changes_were_missed(wire: PgWire, opened) -> None:
    """Whoever waits looks for himself."""
    store = await opened(wire.url)
    missed = asyncio.Event()
    store.listen(lambda event: missed.set() if isinstance(event, ChangesMissed) else None)
    await missed.wait()
    missed.clear()
    await wire.cut()
    await asyncio.wait_for(missed.wait(), 20)


# ------------------------------------------------------------------ time


async def test_the_time_is_the_databases(url: str) -> None:
    """Whatever the wall clock of the machine says."""
    clock = told_clock()
    assert clock.now() < START / 2
    store = await PostgresStore.open(url, clock, Reach())
    async with _connected(url) as admin:
        before = await admin.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")

        async def now(tx: Tx) -> int:
            return tx.now

        seen = await store.write(now)
        after = await admin.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    assert (
        before <= seen <= after + 1
    )  # the clock goes on by itself, in whole milliseconds from a rounded one
    assert before <= clock.now()
    await store.close()


async def test_no_process_begins_before_the_time_that_was_noted(url: str) -> None:
    """A database whose clock was set back revives nothing."""
    store = await PostgresStore.open(url, told_clock(), Reach())
    await store.close()
    async with _connected(url) as admin:
        far = await admin.fetchval(
            "INSERT INTO facts VALUES ('clock', (extract(epoch FROM now() + interval '1 hour') * 1000)::bigint::text) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING value"
        )
    clock = told_clock()
    store = await PostgresStore.open(url, clock, Reach())

    async def now(tx: Tx) -> int:
        return tx.now

    assert await store.write(now) >= int(far)
    await store.close()


async def test_what_waited_for_a_lock_is_judged_by_the_time_of_its_lock(url: str) -> None:
    """A code that died meanwhile is dead."""
    store = await PostgresStore.open(url, told_clock(), Reach())
    await save(store)
    sub = Subscriber("s1", "p1", Mode.LIVE, ANN, "en", True, 0, False)
    await store.write(lambda tx: tx.add_subscriber(sub))
    locked, go_on = asyncio.Event(), asyncio.Event()
    times: list[int] = []

    async def first(tx: Tx) -> None:
        await tx.subscriber_by_id("s1")
        locked.set()
        await go_on.wait()
        times.append(tx.now)

    async def second(tx: Tx) -> None:
        begun.set()
        await tx.subscriber_by_id("s1")
        times.append(tx.now)

    begun = asyncio.Event()
    holding = asyncio.create_task(store.write(first))
    await locked.wait()
    waiting = asyncio.create_task(store.write(second))
    await begun.wait()
    async with _connected(url) as admin:
        released = await admin.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    go_on.set()
    await asyncio.gather(holding, waiting)
    assert times[1] >= released >= times[0]
    await store.close()


# ------------------------------------------------------------------ starting


async def test_a_schema_that_changes_under_remembered_statements(url: str, opened) -> None:
    """As a newer replica does it: the older one goes on."""
    store = await opened(url)
    await store.write(lambda tx: tx.remember("a", "b"))
    assert await store.read(lambda tx: tx.fact("a")) == "b"
    async with _connected(url) as admin:
        await admin.execute("ALTER TABLE facts ALTER COLUMN value TYPE VARCHAR")
        try:
            assert await store.read(lambda tx: tx.fact("a")) == "b"
        finally:
            await admin.execute("ALTER TABLE facts ALTER COLUMN value TYPE TEXT")
    assert await store.read(lambda tx: tx.fact("a")) == "b"


async def test_starts_at_once_migrate_once(worker_id: str, clock: FakeClock) -> None:
    """Whichever comes first."""
    url = await fresh(f"first_{worker_id}")
    stores = await asyncio.gather(*(open_store(url, clock, OURS) for _ in range(5)))
    async with _connected(url) as admin:
        assert await admin.fetchval("SELECT count(*) FROM schema") == len(list(MIGRATIONS.iterdir()))
    for store in stores:
        await store.close()


async def test_a_migration_that_fails_leaves_nothing(
    worker_id: str, clock: FakeClock, tmp_path: Path
) -> None:
    """All or nothing."""
    url = await fresh(f"broken_{worker_id}")
    for path in MIGRATIONS.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    (tmp_path / "9999_broken.sql").write_text("CREATE TABLE left_behind (id TEXT); SELECT 1/0;")
    with pytest.raises(StorageUnusable, match="division by zero"):
        await PostgresStore.open(url, clock, OURS, tmp_path)
    async with _connected(url) as admin:
        assert await admin.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    (tmp_path / "9999_broken.sql").unlink()
    await (await PostgresStore.open(url, clock, OURS, tmp_path)).close()


async def test_a_schema_of_a_newer_program_is_refused(url: str, clock: FakeClock) -> None:
    """Unless it says that an older one copes."""
    await (await open_store(url, clock, OURS)).close()
    async with _connected(url) as admin:
        await admin.execute("INSERT INTO schema VALUES (9000, 9000, '')")
        with pytest.raises(StorageUnusable, match="newer program"):
            await open_store(url, clock, OURS)
        await admin.execute("UPDATE schema SET oldest_program = 1 WHERE version = 9000")
        await (await open_store(url, clock, OURS)).close()
        await admin.execute("DELETE FROM schema WHERE version = 9000")


async def test_a_database_that_acknowledges_too_early_is_refused(worker_id: str, clock: FakeClock) -> None:
    """What was acknowledged must be on disk."""
    url = await fresh(f"hasty_{worker_id}")
    async with _connected(url) as admin:
        name = await admin.fetchval("SELECT current_database()")
        await admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with pytest.raises(StorageUnusable, match="synchronous_commit is off"):
        await open_store(url, clock, OURS)


async def test_an_error_at_start_names_no_password(wire: PgWire, clock: FakeClock) -> None:
    """One line says what is wrong."""
    url = wire.url.replace("postgres@", "nobody-there:pass-of-nobody@")
    with pytest.raises(StorageUnusable) as told:
        await open_store(url, clock, OURS)
    assert "pass-of-nobody" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_database_is_named_without_its_password() -> None:
    """For people to read."""
    assert named("postgresql://user:secret@db.example:5433/tapcode?sslmode=require") == (
        "postgresql://db.example:5433/tapcode"
    )


async def test_a_character_that_postgresql_cannot_store(url: str, opened) -> None:
    """It is no failure: no row of ours has it."""
    store = await opened(url)
    assert await store.write(lambda tx: tx.first_sight("a\0b")) is True
    assert await store.read(lambda tx: tx.fact("a\0b")) is None


_LISTENING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)


class _connected:  # noqa: N801  # reads like the function it stands for
    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> asyncpg.Connection[asyncpg.Record]:
        self._connection = await asyncpg.connect(self._url, statement_cache_size=0)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
