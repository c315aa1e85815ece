"""How the answers to `subscribers` are printed for people. Standard library only; for `config.printing`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def print_exported(result: Mapping[str, Any], _database: str) -> None:
    """All that is kept; JSON in any case."""
    print(json.dumps(result, ensure_ascii=False, indent=2))


def print_unlocked(result: Mapping[str, Any], _database: str) -> None:
    """Whether there was a lock."""
    if result["unlocked"]:
        print(f"{result['id']} is unlocked: wrong codes are counted anew")
    else:
        print(f"{result['id']} was not locked: nothing was changed")


def print_found(found: Sequence[Mapping[str, Any]], _database: str) -> None:
    """Who somebody is, in which projects."""
    if not found:
        print("no subscriber found", file=sys.stderr)
    for one in found:
        state = "subscribed" if one["subscribed"] else f"left {one['left_at']}"
        test = ", test mode" if one["mode"] == "test" else ""
        print(f"{one['id']}  {one['project']}{test}")
        print(f"    {one['channel']} user {one['user_id']}, language {one['language'] or 'unknown'}")
        print(f"    {state}, agreed {one['subscribed_at']}, last active {one['last_active_at']}")
        locked = "LOCKED" if one["locked"] else "not locked"
        print(f"    {locked}, wrong codes in a row: {one['wrong_codes']}")


def print_erased(result: Mapping[str, Any], _database: str) -> None:
    """What was erased, and what was kept."""
    for one in result["erased"]:
        left = "" if one["was_subscribed"] else ", had left"
        print(f"erased: {one['id']}  {one['project']} ({one['channel']}{left})")
    names = {
        "other_messages": "traces of other messages",
        "other_requests": "traces in other requests",
        "chosen_languages": "chosen language",
        "refusals": 'their "nothing from this project"',
    }
    for name, words in names.items():
        if result[name]:
            print(f"erased: {words} ({result[name]})")
    if not result["with_refusals"]:
        print('kept, if they said so: their own "nothing from this project" (--with-refusals erases it)')
