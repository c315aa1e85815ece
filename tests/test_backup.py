"""Copies of the database: checked, without codes, made while others work."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from otp.delivery import begin
from otp.errors import StorageUnusable
from otp.housekeeping import purge_deliveries
from otp.model import DeliveryState, Ending, Parcel, Refusal
from otp.phones import take
from otp.policy import UPDATE_KEYS_KEPT_MS
from otp.projects import Change
from otp.service import Reason
from storage.backup import back_up
from storage.sqlite import SqliteStore
from tests.fakes import FakeClock
from tests.test_courier import claimed_by_a_dead_process
from tests.test_phones import asked
from tests.world import ANN, BOB, CAT, LOGIN, World, make_world

PHONES = ("phones", "kept_phones")


@pytest.fixture
async def busy(tmp_path: Path, clock: FakeClock) -> AsyncIterator[World]:
    """A service over a file, with people and codes."""
    world = await make_world(await SqliteStore.open(str(tmp_path / "t.db"), clock), clock)
    yield world
    await world.courier.close(0)
    await world.store.close()


async def restored(copy: Path, clock: FakeClock) -> World:
    """A service over a copy."""
    world = await make_world(await SqliteStore.open(str(copy), clock), clock)
    await world.courier.recover(at_start=True)
    await world.settle()
    return world


async def end(world: World) -> None:
    """Let go of a restored service."""
    await world.courier.close(0)
    await world.store.close()


async def test_a_copy_holds_everything_but_codes(busy: World, tmp_path: Path, clock: FakeClock) -> None:
    """Projects, keys, people, counts, finished requests; every code in it is dead."""
    sub, request_id = await busy.subscribe(), await busy.request()
    code = busy.telegram.codes[-1]
    await busy.verify(sub, "1" * 6)
    copy = tmp_path / "copy.db"
    size = await back_up(str(tmp_path / "t.db"), copy, clock)
    assert size == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"t.db", "t.db-wal", "t.db-shm", "copy.db"}
    assert (await busy.verify(sub, code)).reason is None  # the service itself goes on
    world = await restored(copy, clock)
    assert (await world.verify(sub, code, caller=busy.caller)).reason is Reason.NO_ACTIVE_CODE
    [(found, _)] = await world.store.read(lambda tx: tx.subscriptions(ANN))
    assert (found.id, found.wrong_guesses) == (sub, 1)
    assert (await world.service.status(busy.caller, request_id)).status == "pending"
    assert {project.name for project in await world.projects.all()} >= {"Shop", "Bank"}
    await end(world)


async def test_what_was_under_way_does_not_go_out_of_a_copy(
    busy: World, tmp_path: Path, clock: FakeClock
) -> None:
    """The original sends it; the copy would send it a second time."""
    ann, bob = await busy.subscribe(), await busy.subscribe(BOB)
    waiting = await claimed_by_a_dead_process(busy, ann, attempting=False)
    out = await claimed_by_a_dead_process(busy, bob, attempting=True)
    await back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock)
    clock.advance(seconds=30)
    world = await restored(tmp_path / "copy.db", clock)
    assert world.telegram.parcels == []
    kept = await world.store.read(lambda tx: tx.delivery(waiting.id))
    assert kept is not None
    assert (kept.state, kept.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    digits = busy.rules.keys.digits(out.seed)
    assert (await world.verify(bob, str(digits), caller=busy.caller)).reason is Reason.NO_ACTIVE_CODE
    await end(world)


async def test_no_code_can_be_told_from_a_copy(busy: World, tmp_path: Path, clock: FakeClock) -> None:
    """With the keys in hand: no random bits of any code are in the file, not even in its free pages."""
    seeds = []
    for person in (ANN, BOB, CAT):
        sub = await busy.subscribe(person)
        seeds += [await claimed_by_a_dead_process(busy, sub, attempting=person is BOB)]
    await back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock)
    live = (tmp_path / "t.db").read_bytes() + (tmp_path / "t.db-wal").read_bytes()
    copied = (tmp_path / "copy.db").read_bytes()
    for delivery in seeds:
        assert delivery.seed.bits in live
        assert delivery.seed.bits not in copied
    with closing(sqlite3.connect(tmp_path / "copy.db")) as database:
        kept = database.execute("SELECT DISTINCT seed, key_id FROM deliveries").fetchall()
        assert kept == [(b"", "")]
        assert database.execute("SELECT count(*) FROM codes").fetchone() == (0,)


async def test_a_copy_keeps_no_number_longer_than_its_request(
    busy: World, tmp_path: Path, clock: FakeClock
) -> None:
    """What waits to be told stays behind, sealed as it is; what a project keeps goes along."""
    await busy.projects.update(busy.caller.project.id, Change(keep_phone=True))
    request_id = await asked(busy)
    await busy.phones.share(busy.update(), "12025550142", own=True)
    await back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as database:
        counts = [database.execute(f"SELECT count(*) FROM {name}").fetchone() for name in PHONES]  # noqa: S608
    assert counts == [(0,), (1,)]
    world = await restored(tmp_path / "copy.db", clock)
    assert await take(world.store, world.rules, busy.caller, request_id) is None
    assert not (await world.service.status(busy.caller, request_id)).has_phone
    await end(world)
    assert await take(busy.store, busy.rules, busy.caller, request_id) == "+12025550142"


async def test_a_copy_is_made_while_others_write(busy: World, tmp_path: Path, clock: FakeClock) -> None:
    """What was acknowledged before it began is in it, and it is one state: no request without its project."""
    stop, enough = asyncio.Event(), asyncio.Event()
    made: list[str] = []

    async def load() -> None:
        while not stop.is_set():
            made.append(await busy.request())
            if len(made) == 200:
                enough.set()

    loading = asyncio.ensure_future(load())
    await enough.wait()
    before = list(made)
    await back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock)
    stop.set()
    await loading
    world = await restored(tmp_path / "copy.db", clock)
    for request_id in before:
        assert await world.store.read(lambda tx, one=request_id: tx.request(one)) is not None  # type: ignore[misc]
    await end(world)


@pytest.mark.parametrize("what", ["a file", "a folder", "the database"])
async def test_nothing_is_overwritten(busy: World, tmp_path: Path, clock: FakeClock, what: str) -> None:
    """Not the database itself either."""
    target = tmp_path / ("t.db" if what == "the database" else "there")
    if what == "a file":
        target.write_text("precious")
    elif what == "a folder":
        target.mkdir()
    with pytest.raises(StorageUnusable, match="is there already"):
        await back_up(str(tmp_path / "t.db"), target, clock)
    assert what != "a file" or target.read_text() == "precious"
    assert not [path for path in tmp_path.iterdir() if "part" in path.name]


async def test_what_can_not_be_removed_hides_no_failure(
    busy: World, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason of the failure is told, not what came of it."""

    def stuck(_path: str) -> None:
        raise PermissionError

    monkeypatch.setattr("storage.backup.remove", stuck)
    with pytest.raises(StorageUnusable, match="No such file"):
        await back_up(str(tmp_path / "t.db"), tmp_path / "nowhere" / "copy.db", clock)


async def test_a_backup_that_fails_leaves_nothing(busy: World, tmp_path: Path, clock: FakeClock) -> None:
    """No such folder, no room: one line, no half of a file."""
    with pytest.raises(StorageUnusable, match=r"the backup failed: .*No such file"):
        await back_up(str(tmp_path / "t.db"), tmp_path / "nowhere" / "copy.db", clock)
    with pytest.raises(StorageUnusable, match="the backup failed"):
        await back_up(str(tmp_path / "t.db"), Path("/proc/copy.db"), clock)


@pytest.mark.parametrize("error", [sqlite3.OperationalError, OSError])
async def test_a_copy_that_is_stopped_leaves_nothing(
    busy: World, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """In the middle of copying, as a process that ends stops it: at once, and only as that."""
    copying = threading.Event()

    def endless(source: sqlite3.Connection, part: Path, _target: Path) -> None:
        part.touch()
        source.create_function("begun", 0, copying.set)
        try:
            source.execute(
                "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE begun() IS NULL) "
                "SELECT count(*) FROM n"
            ).fetchall()
        except sqlite3.OperationalError:
            raise error from None

    monkeypatch.setattr("storage.backup._vacuum_into", endless)
    backing_up = asyncio.ensure_future(back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock))
    await asyncio.to_thread(copying.wait)
    backing_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await backing_up
    assert [found.name for found in tmp_path.glob("*copy*")] == []


async def test_a_damaged_database_makes_no_backup(tmp_path: Path, clock: FakeClock) -> None:
    """A copy that is not sound gets no name."""
    path = tmp_path / "t.db"
    world = await make_world(await SqliteStore.open(str(path), clock), clock)
    for _ in range(300):
        await world.request()
    await end(world)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(os.urandom(16384))
    with pytest.raises(StorageUnusable):
        await back_up(str(path), tmp_path / "copy.db", clock)
    assert [found.name for found in tmp_path.glob("*copy*")] == []


async def test_a_copy_with_a_reference_to_nothing_gets_no_name(tmp_path: Path, clock: FakeClock) -> None:
    """SQLite's check of pages does not see it."""
    path = tmp_path / "t.db"
    await end(await make_world(await SqliteStore.open(str(path), clock), clock))
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "INSERT INTO api_keys (hash, project_id, mode, created_at) VALUES (x'00', 'nobody', 'live', 0)"
        )
    with pytest.raises(StorageUnusable, match="not sound"):
        await back_up(str(path), tmp_path / "copy.db", clock)
    assert [found.name for found in tmp_path.glob("*copy*")] == []


async def test_revoking_all_codes_ends_what_lives_and_what_is_under_way(world: World) -> None:
    """The messages say so; people, counts and requests stay; a code that arrives later is dead on arrival."""
    ann, bob = await world.subscribe(), await world.subscribe(BOB)
    codes = world.telegram.codes[-2:]
    out = await claimed_by_a_dead_process(world, bob, attempting=True)
    assert await world.store.write(lambda tx: tx.revoke_codes()) == 3
    assert await world.store.write(lambda tx: tx.revoke_codes()) == 1  # still under way
    for sub, code in zip((ann, bob), codes, strict=True):
        assert (await world.verify(sub, code)).reason is Reason.NO_ACTIVE_CODE
    about = await world.store.read(lambda tx: tx.code_message(out.code_id, BOB))
    assert about is None
    kept = await world.store.read(lambda tx: tx.delivery(out.id))
    assert kept is not None
    assert world.rules.keys.digits(kept.seed) is None
    shown = await world.store.read(lambda tx: tx.subscriptions(ANN))
    assert [sub.id for sub, _ in shown] == [ann]


async def test_what_was_claimed_is_refused_by_revoking(world: World, clock: FakeClock) -> None:
    """It counts as a code that was to come; later it is removed like all that is settled. Dead codes do not count."""
    sub = await world.subscribe()
    clock.advance(minutes=LOGIN.ttl_minutes)
    left = await claimed_by_a_dead_process(world, sub, attempting=False)
    assert await world.store.write(lambda tx: tx.revoke_codes()) == 1
    settled = await world.store.read(lambda tx: tx.delivery(left.id))
    assert settled is not None
    assert (settled.state, settled.refusal) == (DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    await world.store.write(purge_deliveries)
    assert await world.store.read(lambda tx: tx.delivery(left.id)) is None


async def test_the_message_of_a_revoked_code_tells_it(world: World) -> None:
    """A job is planned, as for every code that ends."""
    await world.subscribe()
    [delivery] = [parcel.delivery for parcel in world.telegram.parcels]
    await world.store.write(lambda tx: tx.revoke_codes())
    message = await world.store.read(lambda tx: tx.shown_code(delivery.id))
    assert message is not None
    assert message.ended is Ending.WITHDRAWN
    assert await world.store.write(lambda tx: tx.take_job("me", 60_000)) is not None


async def test_a_spoiled_attempt_can_end_as_it_likes(world: World, clock: FakeClock) -> None:
    """What was being attempted while all codes were revoked: accepted or unknown, its code is never good."""
    sub = await world.subscribe()
    out = await claimed_by_a_dead_process(world, sub, attempting=True)
    await world.store.write(lambda tx: tx.revoke_codes())
    clock.advance(seconds=21)
    assert isinstance(await world.store.write(lambda tx: begin(tx, world.rules, out.id)), Parcel) is False
    assert (await world.verify(sub, str(world.rules.keys.digits(out.seed)))).reason is Reason.NO_ACTIVE_CODE
