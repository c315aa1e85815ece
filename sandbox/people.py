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
    fixed: bool = False
    """It came with a keyboard in place of the person's own: such a message can't be edited."""
    more: JSON = field(default_factory=dict)
    """What a message of the person's has in place of a text."""


@dataclass
class Person:
    """One user of the messenger and the private dialog with the bot."""

    user_id: int
    language: str = "en"
    first_name: str = "Ann"
    state: Literal["new", "active", "blocked"] = "new"
    messages: dict[str, Posted] = field(default_factory=dict)
    popups: list[str] = field(default_factory=list)
    keys: list[list[JSON]] = field(default_factory=list)
    """In place of the person's own keyboard."""
    keys_once: bool = False
    """Whether they go away when one is used."""


@dataclass
class Callback:
    """A press of a button that the bot may answer."""

    user_id: int
    message_id: str
