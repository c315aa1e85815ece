"""A rolling update: the next release and this one side by side over one PostgreSQL, both real programs, under load."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from random import Random

import asyncpg
import pytest

from storage.postgres import MIGRATIONS
from tests.fleet import Fleet, fleet, through
from tests.process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAM = ("api", "bot", "config", "otp", "sandbox", "storage", "main.py")
NEWEST = max(int(path.name[:4]) for path in MIGRATIONS.glob("*.sql"))
STEP = f"""-- oldest-program: {NEWEST}
ALTER TABLE requests ADD COLUMN of_the_next_release TEXT;
CREATE TABLE of_the_next_release (id TEXT PRIMARY KEY);
"""


def next_release(folder: Path) -> Path:
    """This program with one more step of the schema, with which this one copes."""
    for name in PROGRAM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / "storage" / "postgres_migrations" / f"{NEWEST + 1:04}_next.sql").write_text(STEP)
    return folder


async def test_replicas_are_updated_one_after_the_other(tmp_path: Path) -> None:
    """Nobody notices: the new one changes the schema under the old ones, which go on, and may even start again."""
    (tmp_path / "next").mkdir()
    newer = next_release(tmp_path / "next")
    versions: list[int] = []

    async def update(made: Fleet, _rng: Random) -> None:
        for one in made.replicas:
            made.routes(one)
            assert await one.stop() == 0
            if not versions:  # the first one is updated, and goes back once more
                one.root = newer
                await one.start()
                await one.stop()
                one.root = ROOT
                await one.start()
                await one.stop()
            one.root = newer
            await one.start()
            made.routes()
            connection = await asyncpg.connect(made.url)
            versions.append(await connection.fetchval("SELECT max(version) FROM schema"))
            await connection.close()
            await asyncio.sleep(1)

    async with fleet(tmp_path, 3, TELEGRAM_BOT_TOKEN="", LOG_LEVEL="info") as made:
        found = await through(made, "rolling", [update])
        history = made.load.history
        assert not found, "\n".join(one.excerpt(history) for one in found)
        assert versions == [NEWEST + 1] * 3
        assert sum(call.verified for call in history.calls) > 10
        # Drained before they end: nobody is left without an answer, and nobody is told that something broke.
        told = [call for call in history.calls if call.status not in (200, 404, 409, 429)]
        assert not told, told
