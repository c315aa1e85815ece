"""The command line as an operator types it, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from api.admin import AdminServer, NobodyListens, Refused, ask, perform_project
from config import VERSION
from config.arguments import confirmed, parser
from config.process import EXIT_PIPE
from otp.model import Mode
from otp.ports import Store
from otp.projects import Projects
from tests.fakes import SeededRandomness
from tests.process import ROOT, start, tapcode, until_serving


def test_the_version_is_that_of_the_release(tmp_path: Path) -> None:
    """`--version` says it."""
    assert tapcode(tmp_path, "--version").stdout == f"tapcode {VERSION}\n"


def test_help_loads_no_messenger_and_no_server(tmp_path: Path) -> None:
    """What costs seconds is imported where it is needed."""
    code = (
        "import sys, main; main.parser(); print(sorted({'aiogram', 'maxapi', 'aiohttp'} & set(sys.modules)))"
    )
    got = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert got.stdout == "[]\n"


@pytest.mark.slow
def test_the_life_of_a_project(tmp_path: Path) -> None:
    """Create, list, update, disable, enable, rotate, delete, each as JSON."""
    made = json.loads(
        tapcode(tmp_path, "project", "create", "--name", "Ромашка", "--description", "d", "--json").stdout
    )
    assert set(made) == {"id", "name", "api_key"}
    assert made["api_key"].startswith("tc_live_")
    listed = json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)
    assert listed == [{"id": made["id"], "name": "Ромашка", "description": "d", "enabled": True}]
    tapcode(tmp_path, "project", "update", made["id"], "--name", "Лилия")
    kept = tapcode(tmp_path, "project", "update", made["id"], "--keep-phone", "yes", "--json")
    assert json.loads(kept.stdout)["keep_phone"] is True
    kept = tapcode(tmp_path, "project", "update", made["id"], "--keep-phone", "no", "--json")
    assert "keep_phone" not in json.loads(kept.stdout)
    tapcode(tmp_path, "project", "disable", made["id"])
    [now] = json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)
    assert (now["name"], now["description"], now["enabled"]) == ("Лилия", "d", False)
    rotated = json.loads(
        tapcode(tmp_path, "project", "rotate-key", made["id"], "--keep-old", "24h", "--json").stdout
    )
    assert rotated["api_key"] != made["api_key"]
    test = json.loads(tapcode(tmp_path, "project", "rotate-key", made["id"], "--test", "--json").stdout)
    assert test["api_key"].startswith("tc_test_")
    refused = tapcode(tmp_path, "project", "delete", made["id"])
    assert (refused.returncode, "--yes" in refused.stderr) == (1, True)
    assert tapcode(tmp_path, "project", "delete", made["id"], "--yes").returncode == 0
    assert json.loads(tapcode(tmp_path, "project", "list", "--json").stdout) == []
    assert made["api_key"].encode() not in (tmp_path / "data" / "tapcode.db").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments,told",
    [
        (("create", "--name", ""), "name"),
        (("create", "--name", "x" * 201), "name"),
        (("create", "--name", "a\nb"), "name"),
        (("create", "--name", "\u202eevil"), "name"),
        (("update", "00000000-0000-4000-8000-000000000000", "--name", "x"), "no project"),
        (("update", "00000000-0000-4000-8000-000000000000"), "what to change"),
        (("enable", "../../etc"), "UUID"),
    ],
)
def test_what_a_project_can_not_be(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    """One line, exit code 1, no key."""
    got = tapcode(tmp_path, "project", *arguments)
    assert got.returncode == 1
    assert told in got.stderr
    assert len(got.stderr.splitlines()) == 1
    assert got.stdout == ""


@pytest.mark.parametrize("hours", ["24", "1d", "-1h", "٣h", "721h"])
@pytest.mark.slow
def test_hours_that_are_none(tmp_path: Path, hours: str) -> None:
    """A usage error, exit code 2."""
    got = tapcode(tmp_path, "project", "rotate-key", "x", f"--keep-old={hours}")
    assert got.returncode == 2


@pytest.mark.slow
def test_whoever_reads_may_go(tmp_path: Path) -> None:
    """`... | head` ends in silence."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as gone:
        got = subprocess.run(
            [sys.executable, str(ROOT / "main.py"), "project", "list", "--json"],
            cwd=tmp_path,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert (got.returncode, got.stderr) == (EXIT_PIPE, "")


# ------------------------------------------------------------------ the socket


@asynccontextmanager
async def owner(path: Path, store: Store) -> AsyncIterator[AdminServer]:
    """A process that owns the store, as far as its socket goes."""
    projects = Projects(store, SeededRandomness(), Mode.LIVE)
    server = AdminServer(path, {"project": partial(perform_project, projects)})
    await server.start()
    yield server
    await server.close()


async def test_the_owner_carries_out_commands(tmp_path: Path, store: Store) -> None:
    """The command line asks it; refusals come back as such; only this user may ask."""
    path = tmp_path / "t.sock"
    async with owner(path, store):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        made = await ask(path, {"group": "project", "verb": "create", "name": "Shop", "description": ""})
        assert made["name"] == "Shop"
        with pytest.raises(Refused, match="no project"):
            await ask(
                path, {"group": "project", "verb": "delete", "id": "00000000-0000-4000-8000-000000000000"}
            )
        with pytest.raises(Refused, match="log tells why"):
            await ask(path, {"group": "project", "verb": "create"})
    with pytest.raises(NobodyListens):
        await ask(path, {"group": "project", "verb": "list"})


async def test_a_socket_file_of_a_dead_owner_is_replaced(tmp_path: Path, store: Store) -> None:
    """The lock says who lives, not the file."""
    path = tmp_path / "t.sock"
    path.touch()
    with pytest.raises(NobodyListens):
        await ask(path, {"group": "project", "verb": "list"})
    async with owner(path, store):
        assert await ask(path, {"group": "project", "verb": "list"}) == []


# ------------------------------------------------------------------ the service itself


def test_the_service_serves_and_stops(tmp_path: Path, unused_tcp_port: int) -> None:
    """Every line of its log is JSON, commands reach it, SIGTERM ends it with 0, and nothing is left behind."""
    process = start(tmp_path, unused_tcp_port)
    try:
        assert any("PUBLIC_URL" in str(line.get("hint")) for line in until_serving(process))
        [project] = json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)
        assert project["id"] == "00000000-0000-4000-8000-000000000001"
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["event"] == "stopped"
    assert "a-token-of-the-tests" not in output
    assert not (tmp_path / "data" / "tapcode.db.sock").exists()


@pytest.mark.slow
def test_a_backup_beside_a_running_service(tmp_path: Path, unused_tcp_port: int) -> None:
    """Made by the owner, wherever that was started; put back in place it serves, and its codes can be revoked."""
    process = start(tmp_path, unused_tcp_port)
    (tmp_path / "elsewhere").mkdir()
    database = f"sqlite:///{tmp_path}/data/tapcode.db"
    try:
        until_serving(process)
        made = tapcode(tmp_path / "elsewhere", "backup", "copy.db", "--json", DATABASE_URL=database)
        told = json.loads(made.stdout)
        assert told == {
            "file": str(tmp_path / "elsewhere" / "copy.db"),
            "bytes": told["bytes"],
            "checked": True,
        }
        again = tapcode(tmp_path / "elsewhere", "backup", "copy.db", DATABASE_URL=database)
        assert (again.returncode, again.stdout) == (1, "")
        assert "is there already" in again.stderr
        assert json.loads(tapcode(tmp_path, "codes", "revoke-all", "--json").stdout) == {"revoked": 0}
    finally:
        process.kill()
        process.communicate(timeout=30)
    copied = f"sqlite:///{tmp_path}/elsewhere/copy.db"
    assert tapcode(tmp_path, "codes", "revoke-all", DATABASE_URL=copied).stdout == "revoked: 0\n"
    assert len(json.loads(tapcode(tmp_path, "project", "list", "--json", DATABASE_URL=copied).stdout)) == 1


@pytest.mark.slow
def test_a_backup_of_a_service_that_does_not_run(tmp_path: Path) -> None:
    """The command makes it itself; where there is no database, it makes none."""
    refused = tapcode(tmp_path, "backup", "copy.db")
    assert (refused.returncode, "there is no database" in refused.stderr) == (1, True)
    assert not (tmp_path / "data").exists()
    tapcode(tmp_path, "project", "create", "--name", "Shop")
    assert "checked: true" in tapcode(tmp_path, "backup", "copy.db").stdout
    assert (tmp_path / "copy.db").exists()


def _person(folder: Path, project_id: str, *, wrong: int = 50) -> str:
    """Somebody who was locked, as the database has them; their id."""
    sub = str(uuid4())
    with closing(sqlite3.connect(folder / "data" / "tapcode.db")) as database, database:
        database.execute(
            "INSERT INTO subscribers (id, project_id, mode, address, language, subscribed, consented_at, wrong_guesses, "
            "locked) VALUES (?, ?, 'live', 'telegram:12345', 'ru', 1, 1800000000000, ?, 1)",
            (sub, project_id, wrong),
        )
    return sub


@pytest.mark.slow
@pytest.mark.parametrize("running", [False, True])
def test_the_commands_about_people(tmp_path: Path, unused_tcp_port: int, running: bool) -> None:
    """Over the socket and without the service: found, unlocked, exported, forgotten; answers alone on standard output."""
    made = json.loads(tapcode(tmp_path, "project", "create", "--name", "Other", "--json").stdout)
    sub = _person(tmp_path, made["id"])
    process = start(tmp_path, unused_tcp_port) if running else None
    try:
        if process is not None:
            until_serving(process)
        found = tapcode(tmp_path, "subscribers", "find", "--telegram", "12345")
        assert f"{sub}  Other" in found.stdout
        assert "LOCKED, wrong codes in a row: 50" in found.stdout
        unlocked = tapcode(tmp_path, "subscribers", "unlock", sub, "--json")
        assert json.loads(unlocked.stdout) == {"id": sub, "unlocked": True}
        again = tapcode(tmp_path, "subscribers", "unlock", sub)
        assert "was not locked" in again.stdout
        [person] = json.loads(tapcode(tmp_path, "subscribers", "export", sub).stdout)["people"]
        assert person["subscriptions"][0]["wrong_codes"] == 0
        asked = tapcode(tmp_path, "subscribers", "forget", "--telegram", "12345")
        assert (asked.returncode, asked.stdout) == (1, "")
        assert "--yes" in asked.stderr
        erased = tapcode(tmp_path, "subscribers", "forget", "--telegram", "12345", "--yes")
        assert f"erased: {sub}  Other (telegram)" in erased.stdout
        twice = tapcode(tmp_path, "subscribers", "forget", "--telegram", "12345", "--yes")
        assert (twice.returncode, twice.stderr) == (1, "tapcode: nothing is kept about them\n")
    finally:
        if process is not None:
            process.kill()
            log, _ = process.communicate(timeout=30)
            assert '"what":"subscribers.forget"' in log
            assert "12345" not in log


@pytest.mark.parametrize(
    "typed,question",
    [
        (["--telegram", "5"], "the user 5 of Telegram in every project"),
        (["--max", "5"], "the user 5 of MAX in every project"),
        (["abc"], "Forget subscriber abc? "),
        (["abc", "--everywhere"], "subscriber abc, and what they are in every other project? "),
        (["--account", "u1"], "who is linked to the account u1? "),
    ],
)
@pytest.mark.parametrize("answer,means_it", [("yes", True), ("y", False), ("", False)])
def test_forgetting_asks_first(
    monkeypatch: pytest.MonkeyPatch, typed: list[str], question: str, answer: str, means_it: bool
) -> None:
    """It says who, and only `yes` means it."""
    said: list[str] = []

    def asked(text: str) -> str:
        said.append(text)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", asked)
    assert confirmed(parser().parse_args(["subscribers", "forget", *typed])) is means_it
    assert question in said[0]
    assert confirmed(parser().parse_args(["subscribers", "forget", *typed, "--yes"]))
    assert confirmed(parser().parse_args(["subscribers", "find", *typed]))
    assert len(said) == 1


@pytest.mark.slow
def test_a_port_in_use_is_one_line(tmp_path: Path, unused_tcp_port: int) -> None:
    """Exit code 69, and the lock is free again."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", unused_tcp_port))
        taken.listen()
        process = start(tmp_path, unused_tcp_port)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 69
    assert "the port is in use (PORT sets another one)" in output.splitlines()[-1]


@pytest.mark.slow
def test_a_kill_loses_nothing_and_frees_the_file(tmp_path: Path, unused_tcp_port: int) -> None:
    """After SIGKILL the same command starts again, with the same project."""
    for _ in range(2):
        process = start(tmp_path, unused_tcp_port)
        until_serving(process)
        assert len(json.loads(tapcode(tmp_path, "project", "list", "--json").stdout)) == 1
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_a_key_of_another_project_is_refused(tmp_path: Path, unused_tcp_port: int) -> None:
    """Settings can't take a key away from a project; exit code 78 names the setting."""
    made = json.loads(tapcode(tmp_path, "project", "create", "--name", "Other", "--json").stdout)
    process = start(tmp_path, unused_tcp_port, PROJECT_API_KEY=made["api_key"])
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 78
    assert "PROJECT_API_KEY" in output
    assert made["api_key"] not in output


@pytest.mark.slow
def test_a_second_service_on_the_same_file_waits_and_gives_up(tmp_path: Path, unused_tcp_port: int) -> None:
    """After ten seconds one line and exit code 75; the first one goes on."""
    process = start(tmp_path, unused_tcp_port)
    until_serving(process)
    second = start(tmp_path, unused_tcp_port)
    output, _ = second.communicate(timeout=30)
    assert second.returncode == 75
    assert output.splitlines() == [output.strip()]
    assert "another process" in output
    assert process.poll() is None
    process.kill()
    process.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_connections_without_a_request_are_closed(tmp_path: Path, unused_tcp_port: int) -> None:
    """Silent ones and half-sent heads, within 30 seconds."""
    process = start(tmp_path, unused_tcp_port)
    until_serving(process)
    try:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: "):
            with socket.create_connection(("127.0.0.1", unused_tcp_port), timeout=30) as silent:
                silent.sendall(said)
                assert silent.recv(1000) == b""
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.mark.slow
def test_what_only_looks_makes_no_database(tmp_path: Path) -> None:
    """Started in the wrong folder, it says so."""
    got = tapcode(tmp_path, "requests", "list")
    assert (got.returncode, got.stdout) == (1, "")
    assert "data/tapcode.db: start commands in the folder" in got.stderr
    assert not (tmp_path / "data").exists()
