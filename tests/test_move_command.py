"""`main.py move` as an operator types it: what is said, which exit code, and never a password."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

import main
import storage.postgres
from config.process import EXIT_BUSY, EXIT_STORE
from storage import named
from storage.ownership import FileLock
from tests.conftest import postgres_url
from tests.process import outside
from tests.world import wrong
from wiring import owning

Said = tuple[int, str, str]
Typed = Callable[..., Awaitable[Said]]


@pytest.fixture
async def url(worker_id: str) -> str:
    """An empty database of PostgreSQL, with a password on the way to it."""
    return (await postgres_url(worker_id)).replace("postgres:@", "postgres:sesame@")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Types a command in a folder of its own: exit code, output, errors. No password is in either."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "SECRET_KEYS"):
        monkeypatch.delenv(name, raising=False)

    async def one(*arguments: str) -> Said:
        code = await asyncio.to_thread(main.main, arguments)
        out, err = capsys.readouterr()
        assert "sesame" not in out + err
        return code, out, err

    return one


async def test_it_says_what_it_carried_over_and_what_to_do_next(typed: Typed, url: str) -> None:
    """Rows by table, that they were checked, and where the truth is now; then nothing else serves the file."""
    await typed("project", "create", "--name", "Shop")
    code, out, err = await typed("move", "--to", url)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert ["projects", "1"] in [line.split() for line in lines]
    assert lines[-2:] == [
        "checked: the same rows on both sides, by count and by hash",
        f"Now set DATABASE_URL to {named(url)} (with its password) and start. sqlite:///data/tapcode.db is history.",
    ]
    code, out, err = await typed("project", "list")
    assert (code, out, len(err.splitlines())) == (EXIT_STORE, "", 1)
    assert f"it was moved to {named(url)} and is history" in err


@pytest.mark.slow
async def test_moving_again_and_going_back(typed: Typed, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again: nothing to do. Back: the file is served again, and can't be moved over what is there. JSON on demand."""
    await typed("project", "create", "--name", "Shop")
    await typed("move", "--to", url)
    code, out, _ = await typed("move", "--to", url)
    assert code == 0
    assert "already moved: nothing to do" in out.splitlines()
    again = json.loads((await typed("move", "--to", url, "--json"))[1])
    assert {**again, "rows": again["rows"]["projects"]} == {
        "to": named(url),
        "rows": 1,
        "checked": True,
        "already_moved": True,
    }
    code, out, _ = await typed("move", "--undo")
    assert (code, out) == (0, "sqlite:///data/tapcode.db may be served again; codes that this ended: 0\n")
    await typed("project", "create", "--name", "Inn")
    code, out, err = await typed("move", "--to", url)
    assert (code, out) == (1, "")
    assert (
        err
        == f"tapcode: {named(url)} is not empty (projects: 1, api_keys: 1, audit: 1): nothing is overwritten\n"
    )
    monkeypatch.setenv("DATABASE_URL", url)
    assert "Shop" in (await typed("project", "list"))[1]


async def test_the_target_can_come_from_standard_input(
    typed: Typed, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands on a command line is seen by everybody on the machine."""
    await typed("project", "create", "--name", "Shop")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{url}\n"))
    assert (await typed("move", "--to", "-", "--json"))[0] == 0
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT name FROM projects") == "Shop"
    await connection.close()


@pytest.mark.parametrize(
    "to",
    [
        "mysql://ann:sesame@db/x",
        "sesame",
        "",
        "sqlite:///data/tapcode.db",
        "postgresql://ann:sesame@db:port/x",
    ],
)
async def test_a_target_that_is_no_postgres_is_refused(typed: Typed, to: str) -> None:
    """In one line."""
    await typed("project", "create", "--name", "Shop")
    refused = "tapcode: --to must be postgresql://USER:PASSWORD@HOST/DATABASE\n"
    assert await typed("move", "--to", to) == (1, "", refused)


async def test_what_is_not_there_or_not_sqlite_is_not_moved(
    typed: Typed, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No empty database is made and called moved."""
    where = "start commands in the folder of the service's .env"
    missing = f"tapcode: there is no database {tmp_path}/data/tapcode.db: {where}\n"
    assert await typed("move", "--to", url) == (1, "", missing)
    assert await typed("move", "--undo") == (1, "", missing)
    monkeypatch.setenv("DATABASE_URL", url)
    already = f"tapcode: DATABASE_URL is {named(url)}: set it to the SQLite database that is to be moved\n"
    assert await typed("move", "--to", url) == (1, "", already)


async def test_a_target_that_can_not_be_used_is_told_in_one_line(
    typed: Typed, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not reached, or not there: as every database that can't be used; the file goes on being served."""
    monkeypatch.setattr(storage.postgres, "DEADLINE_S", 0)
    await typed("project", "create", "--name", "Shop")
    code, out, err = await typed("move", "--to", "postgresql://ann:sesame@127.0.0.1:9/tapcode")
    assert (code, out) == (EXIT_STORE, "")
    assert err.startswith("tapcode: can't move to postgresql://127.0.0.1:9/tapcode: it can't be reached (")
    assert len(err.splitlines()) == 1
    code, out, err = await typed("move", "--to", url.replace("/test_", "/not_there_"))
    assert (code, out, len(err.splitlines())) == (EXIT_STORE, "", 1)
    assert "does not exist" in err
    assert "Shop" in (await typed("project", "list"))[1]


async def test_nothing_is_moved_while_the_service_runs(
    typed: Typed, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it wrote after it was read would be lost."""
    await typed("project", "create", "--name", "Shop")
    monkeypatch.setattr(owning, "LOCK_SECONDS", 0)
    owner = FileLock(str(tmp_path / "data" / "tapcode.db"))
    assert owner.acquire()
    code, out, err = await typed("move", "--to", url)
    assert (code, out, len(err.splitlines())) == (EXIT_BUSY, "", 1)
    assert "stop it first" in err
    owner.release()
    assert (await typed("move", "--to", url))[0] == 0


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_service_that_is_moved_in_the_middle(tmp_path: Path, typed: Typed, url: str) -> None:
    """The real program, stopped, moved and started: a code, counted guesses, a link and a question go on."""
    async with outside(tmp_path) as service:
        ann, bob = service.someone(), service.someone("max")
        sub, asked = await service.subscriber(ann), await service.request()
        await service.verify(sub, wrong(ann.codes[-1]))
        await bob.open(asked["max_link"])
        assert (await typed("move", "--to", url))[0] == EXIT_BUSY
        assert await service.stop() == 0
        assert (await typed("move", "--to", url))[0] == 0
        await service.start(DATABASE_URL=url)
        verdict = await service.verify(sub, wrong(ann.codes[-1]))
        assert verdict == {"verified": False, "reason": "wrong_code", "attempts_left": 1}
        assert await service.verify(sub, ann.codes[-1]) == {"verified": True}
        await bob.press("Get the code")
        told = await service.status(asked)
        assert told["status"] == "sent"
        assert await service.verify(told["subscriber_id"], bob.codes[-1]) == {"verified": True}
        assert await service.stop() == 0
        with pytest.raises(AssertionError, match="is history"):
            await service.start(DATABASE_URL="sqlite:///data/tapcode.db")
