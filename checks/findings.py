"""One line for the operator: how it is, what was seen, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """From good to bad."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


_ORDER = list(Level)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of a subject; a `hint` says what to do, and is there for all that is not ok."""

    level: Level
    subject: str
    text: str
    hint: str | None = None


def ok(subject: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, subject, text)


def warning(subject: str, text: str, hint: str) -> Finding:
    """It works, and may not for long."""
    return Finding(Level.WARNING, subject, text, hint)


def problem(subject: str, text: str, hint: str) -> Finding:
    """People get no codes, or will soon, or what is promised does not hold."""
    return Finding(Level.PROBLEM, subject, text, hint)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all; `OK` of nothing."""
    return max((one.level for one in findings), key=_ORDER.index, default=Level.OK)
