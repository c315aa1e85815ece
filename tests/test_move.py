"""From SQLite to PostgreSQL: everything goes on as if nothing had happened, or nothing did happen."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from config.clock import told_clock
from otp.codes import key_hash
from otp.errors import StorageUnusable
from otp.hosted import HostedPages
from otp.model import Channel, DeliveryState, RequestPage
from otp.phones import take
from otp.policy import ORPHAN_MS, Policy
from otp.ports import Tx
from otp.projects import Change, PageChange
from otp.service import Reason
from storage import Reach, open_store
from storage.migrations import load, pending
from storage.move import TABLES, Moved, NotMoved, move, undo
from storage.postgres import PostgresStore
from storage.sqlite import SqliteStore
from storage.sqlite_file import MIGRATIONS
from tests.conftest import postgres_url
from tests.fakes import START, FakeClock
from tests.pgwire import PgWire
from tests.test_courier import claimed_by_a_dead_process, state_of
from tests.test_pages import picture
from tests.test_phones import asked
from tests.world import ANN, BOB, CAT, LOGIN, World, make_world, wrong

pytestmark = pytest.mark.slow  # each makes two databases

OURS = Reach(own_time=False)
FEW = Policy(guess_budget=5)


@pytest.fixture
async def url(worker_id: str) -> str:
    """An empty database of PostgreSQL."""
    return await postgres_url(worker_id)


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Where the SQLite database is."""
    return str(tmp_path / "t.db")


@asynccontextmanager
async def over_file(file: str, clock: FakeClock, seed: str = "before") -> AsyncIterator[World]:
    """A service over SQLite, stopped at the end."""
    async with _over(await SqliteStore.open(file, clock), clock, seed) as world:
        yield world


@asynccontextmanager
async def over_postgres(url: str, clock: FakeClock) -> AsyncIterator[World]:
    """A service over PostgreSQL, with randomness of its own, which took up what was left."""
    async with _over(await PostgresStore.open(url, clock, OURS), clock, "after") as world:
        await world.courier.recover(at_start=True)
        await world.settle()
        yield world


@asynccontextmanager
async def _over(store: Any, clock: FakeClock, seed: str) -> AsyncIterator[World]:
    world = await make_world(store, clock, FEW, seed)
    try:
        yield world
    finally:
        await world.courier.close(0)
        await store.close()
    assert not world.failures


async def moved(file: str, url: str, clock: FakeClock) -> Moved:
    """Move, and tell nobody of the progress."""
    return await move(file, url, clock, lambda _: None)


async def served(file: str, clock: FakeClock) -> None:
    """Open the file as a service does, and let go of it."""
    await (await SqliteStore.open(file, clock)).close()


async def ask(url: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """One statement of PostgreSQL's."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        return [tuple(row) for row in await connection.fetch(sql, *values)]
    finally:
        await connection.close()


async def rows(url: str) -> int:
    """How much there is in the tables that are carried over."""
    [(found,)] = await ask(url, "SELECT " + " + ".join(f"(SELECT count(*) FROM {name})" for name in TABLES))  # noqa: S608
    return int(found)


async def linked(tx: Tx, subscriber_id: str) -> None:
    """An account of this subscriber."""
    sub = await tx.subscriber_by_id(subscriber_id)
    assert sub is not None
    await tx.link(sub, "user-1")


async def filled(file: str, clock: FakeClock) -> None:
    """A little of everything."""
    async with over_file(file, clock) as world:
        sub = await world.subscribe()
        await world.subscribe(BOB, world.other)
        await world.verify(sub, "1" * 6)
        await world.request()
        await world.store.write(lambda tx: linked(tx, sub))


# ------------------------------------------------------------------ as if nothing had happened


async def test_live_codes_links_guesses_and_keys_go_on(file: str, url: str, clock: FakeClock) -> None:
    """A code verifies once, counted guesses stay counted, a used code stays used, a link and a key still work."""
    async with over_file(file, clock) as world:
        shop, made = world.caller, await world.projects.create("Inn", "rooms")
        ann, bob = await world.subscribe(), await world.subscribe(BOB)
        code, used = world.telegram.codes
        for guess in (wrong(code), wrong(code)):
            assert (await world.verify(ann, guess)).reason is Reason.WRONG_CODE
        assert (await world.verify(bob, used)).reason is None
        link, key = await world.request(), "seen-before"
        await world.taps.open(world.update(CAT, key=key), link)
    assert (await moved(file, url, clock)).rows["subscribers"] == 2
    async with over_postgres(url, clock) as world:
        verdict = await world.verify(ann, wrong(code), caller=shop)
        assert (verdict.reason, verdict.attempts_left) == (Reason.WRONG_CODE, 2)
        assert (await world.verify(ann, code, caller=shop)).reason is None
        assert (await world.verify(ann, code, caller=shop)).reason is Reason.NO_ACTIVE_CODE
        assert (await world.verify(bob, used, caller=shop)).reason is Reason.NO_ACTIVE_CODE
        caller = await world.store.read(lambda tx: tx.caller(key_hash(made.api_key)))
        assert caller is not None
        assert caller.project == made.project
        assert await world.store.write(lambda tx: tx.first_sight(key)) is False
        await world.taps.consent(world.update(CAT, key="not-seen-before"), link)
        await world.settle()
        status = await world.service.status(shop, link)
        assert status.subscriber_id is not None
        code = [*world.telegram.codes, *world.max.codes][-1]
        assert (await world.verify(status.subscriber_id, code, caller=shop)).reason is None


async def test_a_hosted_page_goes_on(file: str, url: str, clock: FakeClock) -> None:
    """With its project's looks and picture."""
    looks = PageChange(["https://a.example"], ["https://a.example"], "#c2185b", picture(), Channel.MAX)
    async with over_file(file, clock) as world:
        project = await world.projects.update(world.caller.project.id, Change(page=looks))
        page = RequestPage("https://a.example/x", "s", world.rules.keys.first_id)
        made = await world.service.request(world.caller, None, LOGIN, page=page)
    assert (await moved(file, url, clock)).rows["logos"] == 1
    async with over_postgres(url, clock) as world:
        hosted = HostedPages(world.service)
        view = await hosted.view(made.request.id)
        assert (view.project, view.request.page) == (project, page)
        assert await hosted.logo(str(project.page.logo)) == picture()


async def test_phone_numbers_go_on(file: str, url: str, clock: FakeClock) -> None:
    """A question that is open, a number that waits to be told, one that is kept; sealed as they were."""
    async with over_file(file, clock) as world:
        shop = world.caller
        await world.projects.update(shop.project.id, Change(keep_phone=True))
        requests = [await asked(world, person) for person in (ANN, BOB)]
        await world.phones.share(world.update(BOB), "12025550142", own=True)
    rows = (await moved(file, url, clock)).rows
    assert (rows["phones"], rows["kept_phones"]) == (2, 1)
    async with over_postgres(url, clock) as world:
        assert (await world.service.status(shop, requests[0])).phone_pending
        await world.phones.share(world.update(ANN, key="after the move"), "12025550143", own=True)
        told = [await take(world.store, world.rules, shop, one) for one in requests]
        assert told == ["+12025550143", "+12025550142"]


async def test_deliveries_under_way_and_locks_go_on(file: str, url: str, clock: FakeClock) -> None:
    """What was claimed is sent, once; what was attempted is unknown and not sent; who was locked stays so."""
    async with over_file(file, clock) as world:
        shop = world.caller
        ann, bob, cat = [await world.subscribe(person) for person in (ANN, BOB, CAT)]
        for _ in range(FEW.guess_budget):
            await world.verify(cat, wrong(world.max.codes[-1]))
        claimed = await claimed_by_a_dead_process(world, ann, attempting=False)
        out = await claimed_by_a_dead_process(world, bob, attempting=True)
    await moved(file, url, clock)
    async with over_postgres(url, clock) as world:
        assert [parcel.delivery.id for parcel in world.telegram.parcels] == [claimed.id]
        assert (await world.verify(ann, world.telegram.codes[-1], caller=shop)).reason is None
        clock.advance(ms=ORPHAN_MS)
        await world.courier.recover()
        await world.settle()
        assert await state_of(world, out) is DeliveryState.UNKNOWN
        assert (await world.verify(bob, str(world.rules.keys.digits(out.seed)), caller=shop)).reason is None
        assert len(world.telegram.parcels) == 1
        assert (await world.verify(cat, "1" * 6, caller=shop)).reason is Reason.LOCKED


async def test_jobs_keep_their_time_and_lose_their_lease(file: str, url: str, clock: FakeClock) -> None:
    """Their owner is dead, and what they are to do is not."""
    store = await SqliteStore.open(file, clock)
    await store.write(lambda tx: tx.ensure_job("sweep", "", START - 5))
    assert await store.write(lambda tx: tx.take_job("dead", 60_000)) is not None
    await store.close()
    assert (await moved(file, url, clock)).rows["jobs"] == 1
    found = await ask(url, "SELECT kind, due_at, attempts, lease_until FROM jobs")
    assert found == [("sweep", START - 5, 1, 0)]


@pytest.mark.parametrize("before", [None, "4000000000000", "4000000999999"])
@pytest.mark.slow
async def test_the_time_goes_along_and_never_back(file: str, url: str, before: str | None) -> None:
    """What was dead on SQLite is dead on PostgreSQL, whose own clock is far behind; a target's later time stays."""
    clock = FakeClock(4_000_000_000_000)
    async with over_file(file, clock) as world:
        sub = await world.subscribe()
        clock.advance(minutes=6)
        assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.NO_ACTIVE_CODE
    seen = clock.now()
    await (await open_store(url, FakeClock(), OURS)).close()
    if before is not None:
        await ask(url, "INSERT INTO facts VALUES ('clock', $1)", before)
    await moved(file, url, FakeClock())
    again = told_clock()
    await (await open_store(url, again, Reach())).close()
    assert seen <= max(seen, int(before or 0)) <= again.now()


async def test_what_postgres_can_not_hold_is_stored_as_it_would_store_it(
    file: str, url: str, clock: FakeClock
) -> None:
    """A NUL in a text is no reason to be stuck on SQLite."""
    store = await SqliteStore.open(file, clock)
    assert await store.write(lambda tx: tx.first_sight("max:a\0b"))
    await store.close()
    await moved(file, url, clock)
    new = await PostgresStore.open(url, clock, OURS)
    assert await new.write(lambda tx: tx.first_sight("max:a\0b")) is False
    await new.close()


# ------------------------------------------------------------------ everything, or nothing


async def test_every_column_of_every_table_is_carried_over(file: str, url: str, clock: FakeClock) -> None:
    """The two schemas have the same tables and columns, and a table comes after those that it refers to."""
    await served(file, clock)
    await (await open_store(url, clock, OURS)).close()
    with closing(sqlite3.connect(file)) as database:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        here = {
            (table, row[1])
            for table in tables
            for row in database.execute("SELECT * FROM pragma_table_info(?)", (table,))
        }
        for place, table in enumerate(TABLES):
            for row in database.execute("SELECT * FROM pragma_foreign_key_list(?)", (table,)):
                assert row[2] in TABLES[:place]
    there = await ask(
        url, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    assert here == set(there)
    assert tables - {"schema"} == set(TABLES)
    assert len(TABLES) == len(set(TABLES))


async def test_a_column_that_only_one_side_has_stops_it(file: str, url: str, clock: FakeClock) -> None:
    """A newer program may have added one, and an older one would leave it behind."""
    await filled(file, clock)
    with closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE people ADD COLUMN shoe_size INTEGER")
    with pytest.raises(StorageUnusable, match=r"differ in people\.shoe_size"):
        await moved(file, url, clock)
    assert await rows(url) == 0


async def trigger(url: str, table: str, does: str) -> None:
    """Have the target do something to each row."""
    await ask(
        url,
        f"CREATE OR REPLACE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {does}; RETURN NEW; END'",
    )
    await ask(url, f"CREATE TRIGGER spoil BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION spoil()")


@pytest.mark.parametrize(
    "table,does,told",
    [
        ("messages", "RAISE EXCEPTION ''no room''", "no room"),
        ("subscribers", "NEW.wrong_guesses := 0", "did not arrive as it was sent"),
        ("deliveries", "IF NEW.tries > 0 THEN RETURN NULL; END IF", "did not arrive as it was sent"),
    ],
)
@pytest.mark.slow
async def test_a_failure_on_the_way_changes_nothing(
    file: str, url: str, clock: FakeClock, table: str, does: str, told: str
) -> None:
    """An error, a row that arrives otherwise, a row that does not arrive: nothing is there, and the service can go on."""
    await filled(file, clock)
    await (await open_store(url, clock, OURS)).close()
    await trigger(url, table, does)
    try:
        with pytest.raises(StorageUnusable, match=told):
            await moved(file, url, clock)
    finally:
        await ask(url, f"DROP TRIGGER spoil ON {table}")
    assert await rows(url) == 0
    await served(file, clock)
    assert not (await moved(file, url, clock)).already


async def test_a_row_that_refers_to_nothing_stops_it(file: str, url: str, clock: FakeClock) -> None:
    """PostgreSQL would not have it, and it is told which one."""
    await filled(file, clock)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("INSERT INTO api_keys VALUES (x'00', 'nobody', 'live', 0, NULL)")
    with pytest.raises(StorageUnusable, match=r"\"api_keys\" violates .*\(nobody\) is not present"):
        await moved(file, url, clock)
    assert await rows(url) == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.slow
async def test_a_commit_without_an_answer_is_finished_by_repeating(
    file: str, url: str, clock: FakeClock, when: Any
) -> None:
    """Until then nobody can serve the file: the other database may be the truth."""
    await filled(file, clock)
    async with PgWire(url) as wire:
        wire.lose_commits = when
        with pytest.raises(StorageUnusable, match="repeat the same command"):
            await moved(file, wire.url, clock)
        with pytest.raises(StorageUnusable, match="was begun, and may have arrived"):
            await served(file, clock)
        assert (await moved(file, wire.url, clock)).already is (when == "after")
        with pytest.raises(StorageUnusable, match="is history"):
            await served(file, clock)


async def test_the_file_can_not_be_written_meanwhile(file: str, url: str, clock: FakeClock) -> None:
    """Not even by a tool that knows nothing of us: what it wrote would be lost."""
    await filled(file, clock)
    refused = 0

    def write(_: str) -> None:
        nonlocal refused
        with closing(sqlite3.connect(file, timeout=0)) as other, pytest.raises(sqlite3.OperationalError):
            other.execute("DELETE FROM codes")
        refused += 1

    await move(file, url, clock, write)
    assert refused > len(TABLES)


# ------------------------------------------------------------------ twice, elsewhere, and back


async def test_a_target_that_holds_something_is_refused(file: str, url: str, clock: FakeClock) -> None:
    """Nothing is overwritten, and the file stays what it was."""
    await filled(file, clock)
    async with over_postgres(url, clock):
        pass
    before = await rows(url)
    with pytest.raises(NotMoved, match=r"is not empty .*projects: 2"):
        await moved(file, url, clock)
    assert await rows(url) == before
    await served(file, clock)


async def test_moving_twice_moves_once(file: str, url: str, clock: FakeClock) -> None:
    """The same rows are recognized; rows that changed since are not, even where there are as many."""
    await filled(file, clock)
    first = await moved(file, url, clock)
    clock.advance(minutes=1)
    assert await moved(file, url, clock) == Moved(first.rows, already=True)
    await ask(url, "UPDATE subscribers SET wrong_guesses = wrong_guesses + 1")
    with pytest.raises(NotMoved, match="already, and changed there since"):
        await moved(file, url, clock)
    await ask(url, "DELETE FROM projects")
    with pytest.raises(NotMoved, match="already, and changed there since"):
        await moved(file, url, clock)


async def test_history_is_moved_to_one_place_only(file: str, url: str, clock: FakeClock) -> None:
    """Elsewhere its codes would live a second time."""
    await filled(file, clock)
    await moved(file, url, clock)
    with pytest.raises(NotMoved, match="was moved to"):
        await moved(file, "postgresql://ann:sesame@other.example/tapcode", clock)


async def test_an_older_program_refuses_history_too(file: str, url: str, clock: FakeClock) -> None:
    """It knows nothing of the note, but it looks at the schema; after going back it may work again."""
    await filled(file, clock)

    def steps() -> list[tuple[int, int, str]]:
        with closing(sqlite3.connect(file)) as database:
            return database.execute("SELECT version, oldest_program, checksum FROM schema").fetchall()

    before = steps()
    await moved(file, url, clock)
    with pytest.raises(StorageUnusable, match="made by a newer program"):
        pending(load(MIGRATIONS), steps())
    await undo(file, clock)
    assert steps() == before


async def test_going_back_ends_every_code(file: str, url: str, clock: FakeClock) -> None:
    """They may have been used meanwhile; people and projects are those of the move, and it can be moved anew."""
    async with over_file(file, clock) as world:
        shop, sub, link = world.caller, await world.subscribe(), await world.request()
        code = world.telegram.codes[-1]
    with pytest.raises(NotMoved, match="was not moved"):
        await undo(file, clock)
    await moved(file, url, clock)
    assert await undo(file, clock) == 1
    async with over_file(file, clock, "again") as world:
        assert (await world.verify(sub, code, caller=shop)).reason is Reason.NO_ACTIVE_CODE
        assert (await world.service.status(shop, link)).status == "pending"
    with pytest.raises(NotMoved, match="is not empty"):
        await moved(file, url, clock)
