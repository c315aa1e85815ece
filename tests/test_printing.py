"""How answers of commands look to people, and that all of them can be had as JSON."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from config.arguments import parser
from config.printing import show

WIDTH = 100
"""Columns of a terminal that a printed line should fit into."""
HOOKS = {
    "telegram": {"webhooks": [{"url": "https://x.example/webhooks/telegram", "error": "connection refused"}]},
    "max": {"problem": "unauthorized"},
}
EVENT = {
    "id": "evt_019acdd2b1c20000" + "a" * 16,
    "webhook_id": "we_" + "b" * 24,
    "type": "subscriber.unlocked",
    "timestamp": "2026-11-29T03:15:00.250Z",
    "data": {},
    "status": "failed",
    "attempts": 11,
    "last_result": "timeout",
    "settled_at": "2026-12-02T03:15:00.250Z",
}


def printed(capsys: pytest.CaptureFixture[str], line: str, result: Any) -> list[str]:
    """What a command prints, none of it wider than a terminal."""
    show(parser().parse_args(line.split()), result, "the database")
    lines = capsys.readouterr().out.splitlines()
    assert [one for one in lines if len(one) > WIDTH] == []
    return lines


def commands(top: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Each command that can be typed, without those that only group others."""
    nested = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return [one for group in nested for command in group.choices.values() for one in commands(command)] or [
        top
    ]


def test_every_command_speaks_json() -> None:
    """But those that serve until they are stopped."""
    silent = [one.prog for one in commands(parser()) if "--json" not in one.format_help()]
    assert [name.split()[-1] for name in silent] == ["serve", "sandbox"]


def test_webhooks_for_people(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for each, where somebody looks at it."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert printed(capsys, "webhooks show", HOOKS) == [
        "telegram  registered: https://x.example/webhooks/telegram",
        "telegram  its last delivery failed: connection refused",
        "max       PROBLEM: unauthorized",
    ]


def test_webhooks_for_programs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON where no terminal is, as ever, and where it is asked for."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)
    assert json.loads("\n".join(printed(capsys, "webhooks show", HOOKS))) == HOOKS
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert json.loads("\n".join(printed(capsys, "webhooks show --json", HOOKS))) == HOOKS


@pytest.mark.parametrize(
    "told,line",
    [
        ({"webhooks": []}, "nothing is registered"),
        ({"removed": []}, "nothing of ours was registered"),
        ({"removed": ["https://x"]}, "removed: https://x"),
        ({"registered": "https://x", "foreign": False}, "registered: https://x"),
        (
            {"registered": "https://x", "foreign": True},
            "registered: https://x; another program's webhook is registered beside it",
        ),
    ],
)
def test_what_came_of_a_webhook_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], line: str
) -> None:
    """In words."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert printed(capsys, "webhooks register", {"max": told}) == [f"max       {line}"]


def test_events_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """By webhook, each with what became of it."""
    delivered = {**EVENT, "type": "otp.sent", "status": "delivered", "attempts": 1, "last_result": "200"}
    assert printed(capsys, "events list", [EVENT, delivered]) == [
        f"webhook {EVENT['webhook_id']}",
        f"  11-29 03:15:00  failed 11x timeout  subscriber.unlocked  {EVENT['id']}",
        f"  11-29 03:15:00  delivered 200       otp.sent             {EVENT['id']}",
    ]
