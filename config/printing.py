"""How the answers to commands are printed, for people or as JSON. Imported by `main` alone; standard library only."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from config.report_printing import print_request, print_requests, print_stats
from config.subscriber_printing import print_erased, print_exported, print_found, print_unlocked
from config.tables import full, short, table

Print = Callable[[Any, str], None]
"""Prints an answer; the database's name is told for those that need it."""


def show(given: argparse.Namespace, result: Any, database: str) -> None:
    """Print an answer for people, or as JSON where that was asked for."""
    if given.json or (given.command == "webhooks" and not sys.stdout.isatty()):
        print(json.dumps(result, ensure_ascii=False, indent=2 if given.command == "webhooks" else None))
        return
    printed: Print = _PRINTED.get((given.command, getattr(given, "verb", None)), _fields)
    printed(result, database)


def _fields(result: Mapping[str, Any], database: str) -> None:
    for name, value in result.items():
        print(f"{name}: {_plain(value)}")
    if "api_key" in result:
        print(f"The key is shown only now; it is for the service on {database}.", file=sys.stderr)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _projects(projects: list[dict[str, Any]], database: str) -> None:
    if not projects:
        print(f"no projects yet in {database}", file=sys.stderr)
    for project in projects:
        print(f"{project['id']}  {'enabled ' if project['enabled'] else 'disabled'}  {project['name']}")


def _project(project: Mapping[str, Any], _database: str) -> None:
    print(project["name"])
    shown = {
        "id": [project["id"]],
        "description": [project["description"]],
        "state": [
            "enabled" if project["enabled"] else "DISABLED: every call is refused; `project enable` undoes it"
        ],
        "created": [full(project["created_at"])],
        "keys": [_key(one) for one in project.get("keys", [])] or ["NONE: `project rotate-key` makes one"],
        "site URL": [project.get("site_url")],
        "own words": [", ".join(project.get("texts", []))],
        "return URLs": project.get("return_urls", []),
        "origins": project.get("origins", []),
        "colour": [project.get("color")],
        "first": [project.get("first")],
        "logo": ["yes"] if "logo" in project else [],
        "phones": ["kept, once shared"] if project.get("keep_phone") else [],
        "webhooks": [_webhook(one) for one in project.get("webhooks", [])],
    }
    for name, values in shown.items():
        for place, value in enumerate(value for value in values if value):
            print(f"  {'' if place else name:13}{value}")
    print("Times are UTC.")


def _key(key: Mapping[str, Any]) -> str:
    until = f", until {full(key['ends_at'])}" if "ends_at" in key else ""
    return f"{key['mode']}, since {full(key['created_at'])}{until}"


def _webhook(one: Mapping[str, Any]) -> str:
    failing = f", failing since {full(one['failing_since'])}" if "failing_since" in one else ""
    return f"{one['id']}  {one['host']} ({one['mode']}, {one['state']}{failing})"


def _events(events: list[dict[str, Any]], _database: str) -> None:
    if not events:
        print("no events: nobody has a webhook, or nothing happened", file=sys.stderr)
    for webhook in dict.fromkeys(one["webhook_id"] for one in events):
        print(f"webhook {webhook}")
        theirs = [one for one in events if one["webhook_id"] == webhook]
        table([("", short(one["timestamp"]), _fate(one), one["type"], one["id"]) for one in theirs])


def _fate(event: Mapping[str, Any]) -> str:
    """`delivered 200`, `failed 11x timeout`."""
    tries = f"{event['attempts']}x" if event["attempts"] > 1 else ""
    return " ".join(part for part in (event["status"], tries, event.get("last_result")) if part)


def _webhooks(channels: Mapping[str, Mapping[str, Any]], _database: str) -> None:
    if not channels:
        print("no channel is on: neither TELEGRAM_BOT_TOKEN nor MAX_BOT_TOKEN is set", file=sys.stderr)
    for channel, told in channels.items():
        for line in _webhook_lines(told):
            print(f"{channel:8}  {line}")


def _webhook_lines(told: Mapping[str, Any]) -> list[str]:
    if "problem" in told:
        return [f"PROBLEM: {told['problem']}"]
    if "webhooks" in told:
        lines = []
        for one in told["webhooks"]:
            lines.append(f"registered: {one['url']}")
            lines += [f"its last delivery failed: {one['error']}"] if one["error"] else []
        return lines or ["nothing is registered"]
    if "removed" in told:
        return [f"removed: {url}" for url in told["removed"]] or ["nothing of ours was registered"]
    beside = "; another program's webhook is registered beside it" if told["foreign"] else ""
    return [f"registered: {told['registered']}{beside}"]


def _audit(lines: list[dict[str, Any]], _database: str) -> None:
    if not lines:
        print("no changes in that time; --since 90d looks further back", file=sys.stderr)
    for one in lines:
        print(
            "  ".join(part for part in (full(one["at"]), one["by"], one["what"], one.get("subject")) if part)
        )
        if "detail" in one:
            print(f"{'':21}{one['detail']}")


def _move(result: Mapping[str, Any], database: str) -> None:
    if "rows" not in result:
        print(f"{database} may be served again; codes that this ended: {result['revoked']}")
        return
    table([*result["rows"].items()])
    print("checked: the same rows on both sides, by count and by hash")
    if result["already_moved"]:
        print("already moved: nothing to do")
    print(f"Now set DATABASE_URL to {result['to']} (with its password) and start. {database} is history.")


_PRINTED: Final[Mapping[tuple[str, str | None], Print]] = {
    ("project", "list"): _projects,
    ("events", "list"): _events,
    ("move", None): _move,
    ("audit", None): _audit,
    ("stats", None): print_stats,
    ("requests", "show"): print_request,
    ("requests", "list"): print_requests,
    ("subscribers", "find"): print_found,
    ("subscribers", "unlock"): print_unlocked,
    ("subscribers", "forget"): print_erased,
    ("subscribers", "export"): print_exported,
    ("project", "show"): _project,
    ("webhooks", "register"): _webhooks,
    ("webhooks", "show"): _webhooks,
    ("webhooks", "remove"): _webhooks,
}
"""By command and verb; all others are printed field by field."""
