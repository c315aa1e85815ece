"""What a messenger knows of the people who talk to the bot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sandbox.markup import Span
from sandbox.wire import JSON


@dataclass
class Posted:
    """A message as the messenger keeps it; `keyboard` holds the rows of buttons as the bot sent them."""

    id: str
    author: Literal["bot", "person"]
    text: str
    spans: list[Span]
    keyboard: list[list[JSON]]
    at: int
    edited_at: int | None = None


@dataclass
class Person:
    """One user of the messenger and the private dialog with the bot."""

    user_id: int
    language: str = "en"
    first_name: str = "Ann"
    state: Literal["new", "active", "blocked"] = "new"
    messages: dict[str, Posted] = field(default_factory=dict)
    popups: list[str] = field(default_factory=list)


@dataclass
class Callback:
    """A press of a button that the bot may answer."""

    user_id: int
    message_id: str
