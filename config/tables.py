"""Columns and times for whoever prints: for `config.printing` and `config.report_printing`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any


def table(
    rows: Sequence[Sequence[Any]], heads: Sequence[str] = (), right: frozenset[int] = frozenset()
) -> None:
    """Columns as wide as what stands in them, under their heads; those in `right` end together."""
    cells = [[str(cell) for cell in row] for row in ([heads] if heads else []) + [*rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(padded).rstrip())


def full(timestamp: str) -> str:
    """A time in UTC: `2026-11-29 03:15:00`."""
    return timestamp[:19].replace("T", " ")


def short(timestamp: str) -> str:
    """A time of the last days, in UTC: `11-29 03:15:00`."""
    return timestamp[5:19].replace("T", " ")


def clock(timestamp: str) -> str:
    """The time of a day in UTC: `03:15:00`."""
    return timestamp[11:19]


def lasted(before: str, after: str) -> str:
    """How long it was between two times; empty for less than a tenth of a second."""
    tenths = round((datetime.fromisoformat(after) - datetime.fromisoformat(before)).total_seconds() * 10)
    seconds = tenths // 10
    if seconds < 10:  # noqa: PLR2004  # what is short is told more exactly
        return f"{tenths / 10:.1f} s" if tenths else ""
    minutes, rest = divmod(seconds, 60)
    if not minutes:
        return f"{seconds} s"
    return f"{minutes} m {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} m"  # noqa: PLR2004
