"""What a messenger told us, in our own words. A skin makes these from headers and bytes; nothing else goes inward."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from otp.taps import Update

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,3}", re.ASCII)
LARGEST_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The bot was started, by a link when there is a payload."""

    update: Update
    payload: str


@dataclass(frozen=True, slots=True)
class Said:
    """A message was written to the bot; empty when it holds no text (a photo, a sticker)."""

    update: Update
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SharedContact:
    """A contact was sent to the bot. `own`: the messenger vouches that it is the sender's, sent by themselves."""

    update: Update
    number: str = field(repr=False)
    own: bool


@dataclass(frozen=True, slots=True)
class Pressed:
    """A button was pressed on the bot's message of that id, where the messenger says which."""

    update: Update
    callback_id: str
    message_id: str | None
    data: str


@dataclass(frozen=True, slots=True)
class Left:
    """The bot was blocked or stopped, or the dialog removed."""

    update: Update


Event = Opened | Said | SharedContact | Pressed | Left


def language_of(value: object) -> str:
    """A client's language tag in lower case, or nothing when it is none."""
    return value.lower() if isinstance(value, str) and _LANGUAGE.fullmatch(value) else ""


def time_of(value: object) -> int | None:
    """A messenger's time in whatever units it has, or None when it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 53 else None


def user_id_of(value: object) -> int | None:
    """A messenger's numeric user id, or None when it is none that could be stored."""
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_ID else None
    )
