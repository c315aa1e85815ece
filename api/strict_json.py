"""JSON as RFC 8259 means it and nothing more: one object, no duplicate names, no NaN, no lone surrogates, no NUL."""

from __future__ import annotations

import json
import math
from typing import Any, Final

LONGEST_NUMBER: Final = 40
"""Digits; what is longer fits no field and would only cost time."""


_TOO_DEEP: Final = "The body is nested too deeply."


class MalformedJson(Exception):
    """Not such a document. The text says what is wrong and never quotes the document."""


def parse_object(body: bytes) -> dict[str, Any]:
    """The one object in a body. Raises `MalformedJson`."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedJson("The body is not UTF-8.") from None
    if not text.strip(" \t\r\n"):
        raise MalformedJson("The body is empty; a JSON object is needed.")
    try:
        value = _DECODER.decode(text)
    except MalformedJson:
        raise
    except RecursionError:
        raise MalformedJson(_TOO_DEEP) from None
    except ValueError:
        raise MalformedJson("The body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise MalformedJson("The body must be a JSON object.")
    if "\\u" in text:
        try:
            _check_escapes(value)
        except RecursionError:  # some versions of Python parse more levels than they can walk
            raise MalformedJson(_TOO_DEEP) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("The body names a field twice.")
    return found


def _no_constant(_name: str) -> None:
    raise MalformedJson("NaN and Infinity are not JSON.")


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise MalformedJson("The body holds a number that is too long.")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text) if len(text) <= 10 * LONGEST_NUMBER else math.inf
    if not math.isfinite(number):
        raise MalformedJson("The body holds a number that is too large.")
    return number


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_finite
)
"""Made once: that takes longer than most bodies."""


def _check_escapes(value: Any) -> None:
    """Escapes can spell what no database takes: lone surrogates and NUL."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= ch <= "\udfff" for ch in value):
            raise MalformedJson("The body holds a character that is not allowed (NUL or half of a pair).")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_escapes(name)
            _check_escapes(item)
    elif isinstance(value, list):
        for item in value:
            _check_escapes(item)
