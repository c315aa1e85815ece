"""How the commands that only look are printed for people: a part of `config.printing`, which alone imports it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from config.tables import table

_COUNTS: Final = ("requests", "opened", "sent", "failed", "unknown", "verified", "wrong")


def print_stats(days: list[dict[str, Any]], _database: str) -> None:
    """A line for each day and channel, and what they come to; a site's tests apart."""
    live = [one for one in days if one["mode"] == "live"]
    played = [one for one in days if one["mode"] != "live"]
    if not days:
        print("nothing happened in these days, or not since they are counted", file=sys.stderr)
    if live:
        _print_counts(live)
    if played:
        print(f"{chr(10) if live else ''}Test mode, which reaches nobody:")
        _print_counts(played)
    if days:
        print("Days are UTC. half, 9 of 10: within so long after a tap the messenger had the code.")


def _print_counts(days: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (one["day"], one["channel"], *(one[what] or "-" for what in _COUNTS), *_times(one)) for one in days
    ]
    total = [sum(one[what] for one in days) or "-" for what in _COUNTS]
    heads = ("day", "channel", *_COUNTS, "half", "9 of 10")
    table([*rows, ("total", "", *total, "", "")], heads, right=frozenset(range(2, len(heads))))


def _times(one: Mapping[str, Any]) -> tuple[str, str]:
    took = one.get("tap_to_delivery_ms")
    return ("", "") if took is None else (f"{took['half'] / 1000:g} s", f"{took['nine_in_ten'] / 1000:g} s")
