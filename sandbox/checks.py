"""Small strict checks of JSON values, put together into the schemas of the two bot APIs.

A check takes a value and the path to it and returns nothing; it raises Ill when the value breaks the rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.markup import utf16_length

Check = Callable[[Any, str], None]


class Ill(ValueError):
    """A value that the API does not take; the text names its path and the rule."""


def anything(value: Any, path: str) -> None:
    """Takes every value."""


def boolean(value: Any, path: str) -> None:
    """Takes true and false."""
    if not isinstance(value, bool):
        raise Ill(f"{path} must be a boolean")


def integer(low: int | None = None, high: int | None = None) -> Check:
    """Takes integers between the bounds, both included; true and false are none."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Ill(f"{path} must be an integer")
        if (low is not None and value < low) or (high is not None and value > high):
            raise Ill(f"{path} is out of range")

    return check


def text(low: int = 0, high: int | None = None, pattern: str | None = None) -> Check:
    """Takes Unicode text of `low` to `high` UTF-16 units that matches the pattern as a whole."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str):
            raise Ill(f"{path} must be a string")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Ill(f"{path} must be encoded in UTF-8")
        length = utf16_length(value)
        if length < low or (high is not None and length > high):
            raise Ill(f"{path} has {length} characters, allowed are {low} to {high}")
        if pattern is not None and not re.fullmatch(pattern, value):
            raise Ill(f"{path} contains characters that are not allowed")

    return check


def one_of(*values: str) -> Check:
    """Takes the listed strings."""

    def check(value: Any, path: str) -> None:
        if value not in values:
            raise Ill(f"{path} must be one of {', '.join(values)}")

    return check


def nullable(inner: Check) -> Check:
    """Takes null beside what `inner` takes."""

    def check(value: Any, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def array(item: Check, low: int = 0, high: int | None = None) -> Check:
    """Takes arrays of `low` to `high` items, each of which `item` takes."""

    def check(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise Ill(f"{path} must be an array")
        if len(value) < low or (high is not None and len(value) > high):
            raise Ill(f"{path} has {len(value)} items, allowed are {low} to {high}")
        for index, entry in enumerate(value):
            item(entry, f"{path}[{index}]")

    return check


def record(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Takes objects with all the required fields, any of the optional ones and no other."""
    fields = {**required, **(optional or {})}

    def check(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise Ill(f"{path} must be an object")
        for name in required:
            if name not in value:
                raise Ill(f"{path}.{name} is required")
        for name, entry in value.items():
            if name not in fields:
                raise Ill(f"{path}.{name} is unknown")
            fields[name](entry, f"{path}.{name}")

    return check


def variant(kinds: Mapping[str, Check]) -> Check:
    """Takes objects whose field `type` names one of the kinds, each with its own check."""

    def check(value: Any, path: str) -> None:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise Ill(f"{path}.type must be one of {', '.join(kinds)}")
        kinds[kind](value, path)

    return check
