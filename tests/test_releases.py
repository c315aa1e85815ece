"""Databases as earlier releases left them, opened by this program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from config import VERSION
from otp.model import Caller, Code, Mode
from otp.ports import Tx
from otp.service import Verdict
from storage import Reach, open_store
from tests.fakes import FakeClock
from tests.postgres import fresh, restored
from tests.world import ANN, make_world, wrong

DUMPS = Path(__file__).parent / "databases"
SQLITE, POSTGRES = sorted(DUMPS.glob("*.sql")), sorted((DUMPS / "postgres").glob("*.sql"))


async def lives_on(url: str, clock: FakeClock) -> None:
    """Migrated at start: its codes are good, its counts stand."""
    store = await open_store(url, clock, Reach(own_time=False))
    world = await make_world(store, clock)
    found = {project.name: project for project in await world.projects.all()}
    shop = Caller(found["Shop"], Mode.LIVE)
    [(ann, _)] = await store.read(lambda tx: tx.subscriptions(ANN))
    assert ann.wrong_guesses == 1
    codes = await store.read(lambda tx: codes_of(tx, ann.id))
    digits = {code.terms.purpose: world.rules.keys.digits(code.seed) for code in codes}
    assert await world.verify(ann.id, str(digits["pay"]), purpose="pay", caller=shop) == Verdict(None)
    assert (await world.verify(ann.id, wrong(str(digits["login"])), caller=shop)).attempts_left == 3
    await world.courier.close(0)
    await store.close()


async def codes_of(tx: Tx, subscriber_id: str) -> list[Code]:
    """The live codes of a subscriber."""
    found = [await tx.code(subscriber_id, purpose) for purpose in ("login", "pay")]
    return [code for code in found if code is not None]


@pytest.mark.parametrize("dump", SQLITE, ids=[dump.stem for dump in SQLITE])
async def test_a_file_lives_on(tmp_path: Path, clock: FakeClock, dump: Path) -> None:
    """Of every release."""
    path = tmp_path / "t.db"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(dump.read_text(encoding="utf-8"))
    await lives_on(f"sqlite:///{path}", clock)


@pytest.mark.parametrize("dump", POSTGRES, ids=[dump.stem for dump in POSTGRES])
async def test_a_database_of_postgresql_lives_on(clock: FakeClock, dump: Path, worker_id: str) -> None:
    """Of every release that had it."""
    url = await fresh(f"release_{worker_id}")
    await restored(url, dump.read_text(encoding="utf-8"))
    await lives_on(url, clock)


def test_every_release_has_its_databases() -> None:
    """The newest ones are this program's own."""
    assert VERSION in {dump.stem for dump in SQLITE}
    assert VERSION in {dump.stem for dump in POSTGRES}
