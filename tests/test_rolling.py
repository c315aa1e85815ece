"""Rolling updates: two releases side by side over one PostgreSQL, both real programs, under load."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from random import Random

import asyncpg
import pytest

from storage.postgres import MIGRATIONS
from tests.fleet import Fleet, fleet, through
from tests.process import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RELEASES = {"0.3.0": "895266f116eca10ceff41581aa49b0a8ff9477c4"}
"""The commits of the releases that had PostgreSQL."""
PROGRAM = ("api", "bot", "checks", "config", "metrics", "otp", "sandbox", "storage", "wiring", "main.py")
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


def earlier_release(folder: Path, version: str) -> Path:
    """The program as it was released, out of the history of this repository."""
    found = subprocess.run(
        ["git", "archive", RELEASES[version]],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if found.returncode:
        pytest.skip(f"the history of release {version} is not here: {found.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return folder


async def version_of(url: str) -> int:
    """The newest step of the schema."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT max(version) FROM schema"))
    finally:
        await connection.close()


async def updated(tmp_path: Path, older: Path, newer: Path, dump: str = "") -> list[int]:
    """Three replicas under load, updated one after the other, the first one back and forth; the schema after each.

    Nobody notices: the new one changes the schema under the old ones, which go on, and may even start again.
    """
    versions: list[int] = []

    async def update(made: Fleet, _rng: Random) -> None:
        for one in made.replicas:
            made.routes(one)
            assert await one.stop() == 0
            if not versions:  # the first one is updated, and goes back once more
                one.root = newer
                await one.start()
                await one.stop()
                one.root = older
                await one.start()
                await one.stop()
            one.root = newer
            await one.start()
            made.routes()
            versions.append(await version_of(made.url))
            await asyncio.sleep(1)

    async with fleet(
        tmp_path, 3, root=str(older), dump=dump, TELEGRAM_BOT_TOKEN="", LOG_LEVEL="info"
    ) as made:
        found = await through(made, "rolling", [update])
        history = made.load.history
        assert not found, "\n".join(one.excerpt(history) for one in found)
        assert sum(call.verified for call in history.calls) > 10
        # Drained before they end: nobody is left without an answer, and nobody is told that something broke.
        told = [call for call in history.calls if call.status not in (200, 404, 409, 422, 429)]
        assert not told, told
    return versions


async def test_the_next_release_may_change_the_schema(tmp_path: Path) -> None:
    """By a step that this one copes with."""
    (tmp_path / "next").mkdir()
    assert await updated(tmp_path, ROOT, next_release(tmp_path / "next")) == [NEWEST + 1] * 3


@pytest.mark.parametrize("version", RELEASES)
async def test_an_earlier_release_is_updated(tmp_path: Path, version: str) -> None:
    """Over the database that it left."""
    (tmp_path / version).mkdir()
    dump = (ROOT / "tests" / "databases" / "postgres" / f"{version}.sql").read_text(encoding="utf-8")
    assert await updated(tmp_path, earlier_release(tmp_path / version, version), ROOT, dump) == [NEWEST] * 3
