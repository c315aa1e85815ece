"""Columns and times for whoever prints: for `config.printing` and `config.report_printing`."""

from __future__ import annotations

from collections.abc import Sequence
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
