"""How what the doctor found is printed for people. Standard library only; for `main`."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, Final

WIDEST: Final = 100
"""Columns of what is meant to be read by people."""
_LEVEL_WIDTH: Final = 9
_SUBJECT_WIDTH: Final = 18
_COLORS: Final = {"ok": "\x1b[32m{}\x1b[0m", "warning": "\x1b[33m{}\x1b[0m", "problem": "\x1b[31m{}\x1b[0m"}
_VERDICTS: Final = {
    "ok": "All is well.",
    "warning": "It works; see the warnings.",
    "problem": "Something must be done.",
}


def print_report(report: Mapping[str, Any]) -> None:
    """What `doctor` found: a line for each, what to do below it, and a summary."""
    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for one in report["findings"]:
        level = f"{one['level']:{_LEVEL_WIDTH}}"
        begin, inside = f"{one['subject']:{_SUBJECT_WIDTH}}", " " * (_LEVEL_WIDTH + _SUBJECT_WIDTH)
        text = textwrap.fill(one["text"], width, initial_indent=inside, subsequent_indent=inside)
        print((_COLORS[one["level"]].format(level) if colored else level) + begin + text.lstrip())
        if one["hint"] is not None:
            print(
                textwrap.fill(
                    one["hint"], width, initial_indent=f"{inside}-> ", subsequent_indent=f"{inside}   "
                )
            )
    counts = {name: count for name, count in report["counts"].items() if count}
    said = ", ".join(
        f"{count} {name if name == 'ok' else _plural(name, count)}" for name, count in counts.items()
    )
    print(f"\n{said}. {_VERDICTS[report['level']]}")


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
