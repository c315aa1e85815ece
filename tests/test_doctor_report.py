"""What the doctor makes of findings: a report, lines for people, and its end although something hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from checks import envfile
from checks.findings import Finding, Level, ok, problem, warning, worst
from config.doctor_printing import print_report
from config.process import EXIT_CONFIG
from config.settings import judged, mistyped, unread
from tests.process import free_port, tapcode
from wiring.doctor import Abandoning, doctor, judge_settings, report

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


def test_settings_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each problem, a name or a line that was mistyped. Nobody else comes into the test's folder."""
    monkeypatch.chdir(tmp_path)
    env = tmp_path / ".env"
    assert worst(judge_settings([], mistyped(), unread(), env)) is OK
    env.write_text("TELEGRAM_TOKEN=1:hidden\nPOSTGRES_PASSWORD=hidden\nPORT=80\nMAX_BOT_TOKEN hidden\n")
    env.chmod(0o600)
    assert mistyped() == {"TELEGRAM_TOKEN": "TELEGRAM_BOT_TOKEN"}
    env.chmod(0o644)
    found = judge_settings(["PORT: is wrong", "HOST: is wrong"], mistyped(), unread(), env)
    assert [one.level for one in found] == [PROBLEM, PROBLEM, PROBLEM, WARNING]
    assert ".env: line 4 can't be read" in found[2].text
    assert "hidden" not in str(found)
    remark = envfile.judge_remark(env, "LOG_LEVEL")
    assert judge_settings([], {}, [], tmp_path / "other", [remark]) == [remark]
    assert (remark.level, "systemd and Docker read it as part of the value" in remark.text) == (WARNING, True)
    env.write_bytes(b"\xff\xfe")
    assert (mistyped(), unread()) == ({}, [])


def test_a_file_that_everybody_reads(tmp_path: Path) -> None:
    """After all links, and where others come to it."""
    everywhere = envfile.access(Path("/etc/passwd"))
    assert everywhere is not None
    assert (everywhere.entered, everywhere.owner) == (True, 0)
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o700)
    (folder / "tapcode.env").touch(mode=0o644)
    env = tmp_path / ".env"
    assert envfile.access(env) is None
    env.symlink_to(folder / "tapcode.env")
    closed = envfile.access(env)
    assert closed is not None
    assert (closed.real, closed.entered) == (folder.resolve() / "tapcode.env", False)
    assert envfile.judge(env, closed, os.getuid(), [os.getgid()]) is None


ROOT, SERVICE, OTHERS = 0, 990, 100


@pytest.mark.parametrize(
    "owner,group,user,told",
    [
        (SERVICE, SERVICE, SERVICE, "chmod 600 /etc/tapcode/tapcode.env"),
        (ROOT, SERVICE, SERVICE, "chmod 640 /etc/tapcode/tapcode.env"),
        (ROOT, SERVICE, ROOT, "chmod 640 /etc/tapcode/tapcode.env"),
        (ROOT, ROOT, ROOT, "chmod 600 /etc/tapcode/tapcode.env"),
        (
            ROOT,
            OTHERS,
            SERVICE,
            "give it to the group of the service's user (chgrp), then chmod 640 /etc/tapcode/tapcode.env",
        ),
    ],
)
def test_closing_the_file_leaves_it_to_the_service(owner: int, group: int, user: int, told: str) -> None:
    """The file itself is named, not the link to it."""
    real = Path("/etc/tapcode/tapcode.env")
    seen = envfile.Access(real, 0o100644, owner, group, entered=True)
    found = envfile.judge(Path(".env"), seen, user, [user])
    assert found is not None
    assert (found.level, found.hint) == (PROBLEM, told)
    assert str(real) in found.text
    assert envfile.judge(Path(".env"), replace(seen, mode=0o100640), user, [user]) is None


def test_a_file_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, and what is missing otherwise is not told: it may stand there. A link to itself is refused to root too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "2222")
    (tmp_path / ".env").symlink_to(".env")
    settings, problems = judged("serve")
    assert settings is not None
    assert settings.port == 2222
    why = f"can't read .env ({tmp_path.resolve()}/.env): Too many levels of symbolic links"
    assert problems == [f"{why}; run this as the service's user, or let that user read it"]
    [found] = judge_settings(problems, mistyped(), unread(), Path(".env"))
    assert (found.level, found.text) == (PROBLEM, why)
    assert str(found.hint).startswith("run this as the service's user")


@pytest.mark.slow
def test_commands_without_a_file_that_they_can_read(tmp_path: Path) -> None:
    """They end with the exit code of settings; the doctor goes on with the rest."""
    (tmp_path / ".env").symlink_to(".env")
    for command in (["serve"], ["sandbox"], ["project", "list"]):
        done = tapcode(tmp_path, *command)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (EXIT_CONFIG, "", 1)
        assert done.stderr.startswith("tapcode: can't read .env (")
    looked = tapcode(tmp_path, "doctor", "--json")
    assert (looked.returncode, looked.stderr) == (1, "")
    told = json.loads(looked.stdout)["findings"]
    assert {"settings", "disk", "service"} <= {one["subject"] for one in told}


async def test_all_of_the_settings_that_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in the file too; nothing else is on, nor called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(
        f"PORT={free_port()} # ours\nRETENTION_DAYS=7\nMETRICS_HOST=0.0.0.0\nMETRICS_PORT=9100\n"
    )
    try:
        told = await doctor()
    finally:
        logging.disable(logging.NOTSET)
    found = [
        one["text"] for one in told["findings"] if (one["subject"], one["level"]) == ("settings", "warning")
    ]
    assert len(found) == 3, found
    [clock] = [one for one in told["findings"] if one["subject"] == "clock"]
    assert (clock["level"], clock["text"]) == ("ok", "can't be compared: no messenger is on")
    for text, sign in zip(found, ("value of PORT", "RETENTION_DAYS=7", "METRICS_HOST=0.0.0.0"), strict=True):
        assert sign in text


def test_a_report_holds_no_secret() -> None:
    """Whatever somebody else has put into a sentence."""
    told = report(
        [problem("telegram", "sent to my-secret-token", "use my-secret-token")], ["my-secret-token"]
    )
    assert "my-secret-token" not in json.dumps(told)
    assert (told["level"], told["counts"]) == ("problem", {"ok": 0, "warning": 0, "problem": 1})


def test_a_report_is_printed_for_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer than the terminal, no colour where it is none."""
    monkeypatch.setenv("COLUMNS", "80")
    found: list[Finding] = [ok("clock", "fine"), warning("disk", "room " * 40, "make room " * 20)]
    told = report(found, [])
    print_report(told)
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "ok       clock             fine"
    assert lines[-1] == "1 ok, 1 warning. It works; see the warnings."
    assert "-> make room" in printed
    assert "\x1b" not in printed


async def test_threads_that_hang_are_abandoned() -> None:
    """Neither a call nor the end of the loop waits for them."""
    pool, never = Abandoning(), threading.Event()
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(pool, lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await loop.run_in_executor(pool, lambda: 1 // 0)
    others = set(threading.enumerate())
    hanging = pool.submit(never.wait)
    assert [thread.daemon for thread in set(threading.enumerate()) - others] == [True]
    pool.shutdown(wait=True)
    assert not hanging.done()
    never.set()
