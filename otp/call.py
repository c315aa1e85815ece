"""What is known of the call under way, for whoever writes a line about it; anybody may read it, the doors fill it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

_CALL: Final[ContextVar[dict[str, str] | None]] = ContextVar("call", default=None)
"""One value: several ones would have to be looked for among all there are, for each line."""


def begin_call(**known: str) -> None:
    """From here on this is another call, of which so much is known."""
    _CALL.set(known)


def know_of_call(name: str, value: str) -> None:
    """Something more about the call under way; nothing where none is."""
    call = _CALL.get()
    if call is not None:
        call[name] = value


def known_of_call() -> dict[str, str]:
    """What is known by now."""
    return _CALL.get() or {}
