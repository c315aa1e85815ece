"""The database's file damaged, too new, half migrated, or wanted by two: what the real program makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from time import monotonic, time_ns

import pytest

from otp.codes import KeyRing
from otp.model import CodeSeed
from storage.migrations import load
from storage.sqlite_file import MIGRATIONS
from tests.disks import FaultyDisk, filled, guess, integrity, make_read_only, small_disk, usable, with_code
from tests.process import free_port, outside, start, tapcode
from tests.world import KEYS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PAGE = 4096
OLDEST = Path(__file__).parent / "databases" / "0.1.0.sql"


def made(folder: Path) -> Path:
    """A database with a project, of a program that ended in order."""
    assert tapcode(folder, "project", "create", "--name", "Shop").returncode == 0
    return folder / "data" / "tapcode.db"


def files(database: Path) -> dict[str, bytes]:
    """The database's files and what is in them."""
    return {file.name: file.read_bytes() for file in database.parent.glob("tapcode.db*")}


def refusal(folder: Path, **environment: str) -> tuple[int, str]:
    """The exit code and the one line of a service that does not start."""
    process = start(folder, free_port(), **environment)
    output, _ = process.communicate(timeout=60)
    [line] = output.splitlines()
    return process.returncode, line


def first_page(database: Path, name: str) -> int:
    """Where the first page of a table or an index begins."""
    with closing(connect(database)) as opened:
        [page] = opened.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    return (int(page) - 1) * PAGE


def overwrite(database: Path, at: int, size: int = PAGE) -> None:
    """Put nonsense into a file."""
    with database.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(size))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the header": lambda database: overwrite(database, 0, 64),
    "the schema": lambda database: overwrite(database, 100, PAGE - 100),
    "a table": lambda database: overwrite(database, first_page(database, "projects")),
    "an index": lambda database: overwrite(database, first_page(database, "api_keys_project")),
    "half of it is gone": lambda database: os.truncate(database, database.stat().st_size // PAGE // 2 * PAGE),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    """Exit code 74 and one line that says what to do; every byte stays for whoever looks into it."""
    database = made(tmp_path)
    DAMAGES[damage](database)
    before = files(database)[database.name]
    code, line = refusal(tmp_path)
    assert code == 74, line
    assert "tapcode.db" in line
    assert "backup" in line
    assert files(database)[database.name] == before


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """Exit code 74 and one line that names both versions; every byte stays."""
    database = made(tmp_path)
    with closing(connect(database)) as opened:
        opened.execute("INSERT INTO schema VALUES (99, 99, 'of a later release')")
        opened.commit()
    before = files(database)[database.name]
    code, line = refusal(tmp_path)
    assert code == 74, line
    assert "schema 99" in line
    assert "newer program" in line
    assert files(database)[database.name] == before


def test_a_start_without_room_ends_with_one_line(tmp_path: Path) -> None:
    """Exit code 74 when the disk is full, and the same command starts again when it is not."""
    with small_disk(tmp_path / "data") as disk:
        made(tmp_path)
        with filled(disk):
            code, line = refusal(tmp_path, PROJECT_NAME="Another name than before")
        assert code == 74, line
        assert "disk" in line
        assert tapcode(tmp_path, "project", "list").returncode == 0


def test_a_disk_that_can_only_be_read_is_refused(tmp_path: Path) -> None:
    """Exit code 74 and one line, for a service that could acknowledge nothing."""
    with small_disk(tmp_path / "data") as disk:
        made(tmp_path)
        make_read_only(disk)
        code, line = refusal(tmp_path)
        assert code == 74, line
        assert "read-only" in line.lower()


# ------------------------------------------------------------------ while it runs, and after a kill


async def test_damage_under_a_running_service_makes_no_wrong_answer(tmp_path: Path) -> None:
    """503 or what is right; a log that does not run over; and a clear refusal at the next start."""
    async with outside(tmp_path, LOG_LEVEL="info") as run:
        ann, ann_id = await with_code(run)
        code, before = ann.codes[-1], (await run.request())["request_id"]
        await run.stop()
        with closing(connect(run.database)) as opened:  # more than fits into the memory that SQLite uses
            rows = [(f"telegram:{number}:{'x' * 200}", time_ns() // 10**6) for number in range(40_000)]
            opened.executemany("INSERT INTO updates VALUES (?, ?)", rows)
            opened.commit()
        await run.start()
        for page in range(1, run.database.stat().st_size // PAGE):
            overwrite(run.database, page * PAGE)
        written, until = len(run.log), monotonic() + 8
        while monotonic() < until:
            told = await run.call("GET", f"/v1/otp/request/{before}/status")
            assert told.status == 503 or told.json["status"] == "pending", told
            wrong = "1" * 6 if code != "1" * 6 else "2" * 6
            guessed = await guess(run, ann_id, wrong)
            assert guessed.status == 503 or guessed.json["verified"] is False, guessed
            await asyncio.sleep(0.5)
        assert len(run.log) - written < 200_000
        assert (await run.call("GET", "/healthz")).status == 200
        await run.kill()
        exit_code, line = refusal(tmp_path)
        assert exit_code == 74, line


async def test_what_a_kill_left_in_the_log_is_taken_up(tmp_path: Path) -> None:
    """All that was acknowledged is there, though nothing of it is in the main file yet."""
    async with outside(tmp_path) as run:
        ann, ann_id = await with_code(run)
        requests = [await run.request() for _ in range(20)]
        await run.kill()
        assert run.database.with_name("tapcode.db-wal").stat().st_size > PAGE
        await run.start()
        for request in requests:
            assert await run.status(request) == {"status": "pending"}
        assert await run.verify(ann_id, ann.codes[-1]) == {"verified": True}


@pytest.mark.parametrize("how", ["deleted", "damaged at its end", "damaged at its beginning"])
async def test_a_lost_log_leaves_a_sound_database(tmp_path: Path, how: str) -> None:
    """What was only there is gone, as with the disk itself; what is left is whole and serves."""
    async with outside(tmp_path) as run:
        await with_code(run)
        await run.stop()  # all of it is in the main file now
        await run.start()
        kept = await run.request()
        await run.stop()
        await run.start()
        await run.request()
        await run.kill()
        log = run.database.with_name("tapcode.db-wal")
        if how == "deleted":
            log.unlink()
        elif how == "damaged at its end":
            overwrite(log, log.stat().st_size - PAGE)
        else:
            overwrite(log, 0, 200)
        await run.start()
        assert await run.status(kept) == {"status": "pending"}
        await usable(run)
        await run.stop()
        integrity(run)


# ------------------------------------------------------------------ migrations


def old_database(folder: Path) -> Path:
    """A database that the first release left behind, with codes that live now."""
    database = folder / "data" / "tapcode.db"
    database.parent.mkdir(exist_ok=True)
    for file in database.parent.glob("tapcode.db*"):
        if file.suffix != ".lock":
            file.unlink()
    with closing(connect(database)) as opened:
        opened.executescript(OLDEST.read_text(encoding="utf-8"))
        opened.execute("UPDATE codes SET expires_at = 4000000000000")
        opened.commit()
    return database


def steps(database: Path) -> list[int]:
    """Which steps of the schema are applied, after a check of the whole file."""
    with closing(connect(database)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in opened.execute("SELECT version FROM schema ORDER BY version")]


def old_code(database: Path, purpose: str) -> tuple[str, str]:
    """The subscriber and the digits of a code of the old database."""
    with closing(connect(database)) as opened:
        row = opened.execute(
            "SELECT subscriber_id, seed, key_id, code_length FROM codes WHERE purpose = ?", (purpose,)
        ).fetchone()
    digits = KeyRing(KEYS).digits(CodeSeed(row[1], row[2], row[3]))
    assert digits is not None
    return row[0], digits


def test_a_migration_killed_at_any_write_is_whole_at_the_next_start(tmp_path: Path) -> None:
    """At every third write and sync of it: all of it or nothing is there, and the next start completes it."""
    disk, killed = FaultyDisk(tmp_path), 0
    for at in range(1, 1000, 3):
        database = old_database(tmp_path)
        before = steps(database)
        done = tapcode(tmp_path, "project", "list", **disk.environment, KILL_AT=str(at))
        if done.returncode != -9:
            assert done.returncode == 0, done.stderr
            break
        killed += 1
        copy = tmp_path / "copy"
        copy.mkdir(exist_ok=True)
        for name, content in files(database).items():
            (copy / name).write_bytes(content)
        assert steps(copy / "tapcode.db") in (before, [step.version for step in load(MIGRATIONS)])
        again = tapcode(tmp_path, "project", "list", "--json")
        assert again.returncode == 0, again.stderr
        assert "Shop" in {project["name"] for project in json.loads(again.stdout)}
        assert len(steps(database)) > len(before)
    assert killed >= 10


async def test_after_a_killed_migration_all_of_the_old_release_lives(tmp_path: Path) -> None:
    """The next start serves, and the codes and counts of before are good, over a second start too."""
    disk = FaultyDisk(tmp_path)
    database = old_database(tmp_path)
    subscriber_id, digits = old_code(database, "pay")
    assert tapcode(tmp_path, "project", "list", **disk.environment, KILL_AT="20").returncode == -9
    listed = json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)
    shop = next(project["id"] for project in listed if project["name"] == "Shop")
    key = json.loads(tapcode(tmp_path, "project", "rotate-key", shop, "--json").stdout)["api_key"]
    async with outside(tmp_path, SECRET_KEYS=",".join(KEYS), PROJECT_NAME="Other") as run:
        run.api_key = key
        again = [steps(database)]
        await run.stop()
        await run.start()
        assert [steps(database)] == again
        assert (await run.verify(subscriber_id, "000000"))["reason"] in ("wrong_code", "no_active_code")
        assert await run.verify(subscriber_id, digits, purpose="pay") == {"verified": True}


# ------------------------------------------------------------------ two at once


@pytest.mark.parametrize("first", [True, False], ids=["a new file", "a file that is there"])
def test_of_services_started_at_once_one_serves(tmp_path: Path, first: bool) -> None:
    """The others end with one line and exit code 75; a project created meanwhile is there."""
    if not first:
        made(tmp_path)
    ports = [free_port() for _ in range(3)]
    processes = [start(tmp_path, port) for port in ports]
    try:
        created = tapcode(tmp_path, "project", "create", "--name", "Meanwhile", "--json")
        assert created.returncode == 0, created.stderr
        ended = _until_one_is_left(processes)
        for process in ended:
            output, _ = process.communicate(timeout=30)
            assert process.returncode == 75, output
            assert len(output.splitlines()) == 1
            assert "another process" in output
        listed = json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)
        assert "Meanwhile" in {project["name"] for project in listed}
    finally:
        for process in processes:
            process.kill()
            process.communicate(timeout=30)


def _until_one_is_left(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    until = monotonic() + 60
    while len(ended := [one for one in processes if one.poll() is not None]) < len(processes) - 1:
        assert monotonic() < until
    return ended
