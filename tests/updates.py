"""What the tests of both messengers' updates share: a body with one value changed, and the texts that a person can send."""

from __future__ import annotations

import copy
import json
from typing import Any, Final

from hypothesis import strategies as st

ANY: Final = st.characters(exclude_categories=())
"""Any character, halves of surrogate pairs too."""


class Gone:
    """In the place of a value: the field is missing."""

    def __repr__(self) -> str:
        return "missing"


GONE: Final = Gone()
NO_TEXT: Final[list[Any]] = [GONE, None, 5, ["x"], {"a": 1}]
TEXTS: Final = [
    "",
    " ",
    "привет \U0001f600",
    "a\x00b",
    "\ud800",
    "\udfff x",
    "x" * 100_000,
    "<b>&amp;\u202e",
]


def changed(update: dict[str, Any], path: str, value: Any) -> bytes:
    """The update's body with another value at a dotted path, or without what is there."""
    made = copy.deepcopy(update)
    *way, last = path.split(".")
    at = made
    for step in way:
        at = at[step]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return json.dumps(made).encode()


def body(update: dict[str, Any]) -> bytes:
    """An update as it arrives."""
    return json.dumps(update, ensure_ascii=False).encode()
