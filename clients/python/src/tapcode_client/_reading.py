"""Reads JSON that comes from the service, field by field. Unknown fields are ignored: later versions may add some.

What is missing or has another type is named, never shown: it may be a code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

_T = TypeVar("_T")


class Unreadable(ValueError):
    """Says which field is not as it should be."""


class Fields:
    """A JSON object."""

    def __init__(self, value: object) -> None:
        if not isinstance(value, dict):
            raise Unreadable("no JSON object")
        self._values: Mapping[str, object] = value

    @classmethod
    def parse(cls, body: bytes) -> Fields:
        """From the bytes of a body. Raises Unreadable."""
        try:
            return cls(json.loads(body))
        except (ValueError, RecursionError):
            raise Unreadable("no JSON object") from None

    def text(self, name: str) -> str:
        """A text that is there."""
        return _is(self._values.get(name), str, name)

    def text_or_none(self, name: str) -> str | None:
        """A text that may be absent or null."""
        return None if self._values.get(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        """An integer that is there."""
        value = self._values.get(name)
        if isinstance(value, bool):
            raise Unreadable(name)
        return _is(value, int, name)

    def integer_or_none(self, name: str) -> int | None:
        """An integer that may be absent or null."""
        return None if self._values.get(name) is None else self.integer(name)

    def flag(self, name: str) -> bool:
        """True or false; absent is false."""
        return _is(self._values.get(name, False), bool, name)

    def flag_or_none(self, name: str) -> bool | None:
        """True, false or absent."""
        return None if self._values.get(name) is None else self.flag(name)

    def time(self, name: str) -> datetime:
        """A moment with its zone."""
        try:
            moment = datetime.fromisoformat(self.text(name))
        except ValueError:
            raise Unreadable(name) from None
        if moment.tzinfo is None:
            raise Unreadable(name)
        return moment

    def time_or_none(self, name: str) -> datetime | None:
        """A moment that may be absent or null."""
        return None if self._values.get(name) is None else self.time(name)

    def fields(self, name: str) -> Fields:
        """An object that is there."""
        return Fields(self._values.get(name))

    def fields_or_none(self, name: str) -> Fields | None:
        """An object that may be absent or null."""
        return None if self._values.get(name) is None else self.fields(name)

    def all(self, name: str) -> list[Fields]:
        """A list of objects that is there."""
        return [Fields(one) for one in _is(self._values.get(name), list, name)]

    def texts_or_none(self, name: str) -> tuple[str, ...] | None:
        """A list of texts that may be absent."""
        values = self._values.get(name)
        return None if values is None else tuple(_is(one, str, name) for one in _is(values, list, name))


def _is(value: object, kind: type[_T], name: str) -> _T:
    if not isinstance(value, kind):
        raise Unreadable(name)
    return value
