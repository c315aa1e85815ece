"""What the doctor makes of findings: a report, lines for people, and its end although something hangs."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest

from checks.findings import Finding, Level, ok, problem, warning, worst
from config.doctor_printing import print_report
from config.settings import mistyped, unread
from wiring.doctor import Abandoning, judge_settings, report

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


def test_settings_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each problem, a name or a line that was mistyped, a file that everybody reads."""
    monkeypatch.chdir(tmp_path)
    env = tmp_path / ".env"
    assert worst(judge_settings([], mistyped(), unread(), env)) is OK
    env.write_text("TELEGRAM_TOKEN=1:hidden\nPOSTGRES_PASSWORD=hidden\nPORT=80\nMAX_BOT_TOKEN hidden\n")
    env.chmod(0o600)
    assert mistyped() == {"TELEGRAM_TOKEN": "TELEGRAM_BOT_TOKEN"}
    env.chmod(0o644)
    found = judge_settings(["PORT: is wrong", "HOST: is wrong"], mistyped(), unread(), env)
    assert [one.level for one in found] == [PROBLEM, PROBLEM, PROBLEM, WARNING, PROBLEM]
    assert ".env: line 4 can't be read" in found[2].text
    assert "hidden" not in str(found)
    env.write_bytes(b"\xff\xfe")
    assert (mistyped(), unread()) == ({}, [])


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
