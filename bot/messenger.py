"""What a skin does for the dialog: the port of both messengers, and what replies are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import Final, Protocol, TypeGuard

from bot.events import Event, Pressed
from bot.messages import Message
from otp.model import Channel, MessageKind, Person, SentMessage
from otp.ports import Outcome


class MessengerError(Exception):
    """A call that is not about a code failed. Holds a short reason, never what the messenger or its library said."""

    def __init__(
        self,
        reason: str,
        *,
        unauthorized: bool = False,
        webhook_in_the_way: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.refused = refused
        """The messenger answered, and would say no to the same again."""
        self.webhook_in_the_way = webhook_in_the_way
        """Updates can't be fetched while a webhook is registered."""
        self.unauthorized = unauthorized
        """The messenger does not know the token."""


_NAME: Final = re.compile(r"[A-Za-z0-9_]{3,64}", re.ASCII)
_MESSAGE_ID: Final = re.compile(r"[!-~]{1,256}", re.ASCII)


def checked_name(name: object) -> str:
    """A bot's user name that fits into links. Raises `MessengerError`."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise MessengerError("the bot has no user name")
    return name


def is_message_id(value: object) -> TypeGuard[str]:
    """Whether this is an id of a message that can be stored and sent back."""
    return isinstance(value, str) and _MESSAGE_ID.fullmatch(value) is not None


FETCH_SECONDS: Final = 25


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bodies as a webhook would bring them, and what confirms them at the next fetch."""

    bodies: Sequence[bytes]
    marker: int | None


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the messenger shows of the bot in one language."""

    language: str
    description: str
    commands: tuple[tuple[str, str], ...]
    """Name and what it does."""


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook that the messenger has registered for this bot."""

    url: str
    error: str | None = None
    """The last delivery error that the messenger tells of."""
    error_at: int | None = None
    """When that was, in ms since the epoch."""
    pending: int | None = None
    """Updates that wait to be delivered, where the messenger tells it."""


class Skin(Protocol):
    """One messenger: calls out, events in. It renders and parses; it decides nothing."""

    channel: Channel
    secret_header: str
    """The header in which the messenger sends the webhook's secret back."""
    replaces_hook: bool
    """Whether registering a webhook silently takes the place of any other one."""
    trusts: SSLContext
    """Whose certificates count as the messenger's own."""

    def parse(self, body: bytes) -> Event | None:
        """The event in a webhook's body, or None when there is nothing for us in it. Never raises."""
        ...

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        """One attempt to send a message into a person's private dialog. Never raises for outside faults."""
        ...

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        """End the wait of a pressed button, with a popup and a new content of its message if wanted. Best effort."""
        ...

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        """One attempt to put a new content into a message of ours; what shows it already is `Accepted`. Never raises."""
        ...

    async def username(self) -> str:
        """The bot's user name as links need it. Raises `MessengerError`."""
        ...

    async def fetch(self, marker: int | None) -> Fetched:
        """Wait up to `FETCH_SECONDS` for updates; `marker` confirms those before. Raises `MessengerError`."""
        ...

    async def introduce(self, introductions: Sequence[Introduction]) -> None:
        """Register commands and description; the first language stands for all others. Raises `MessengerError`."""
        ...

    async def hooks(self) -> Sequence[Hook]:
        """What is registered now. Raises `MessengerError`."""
        ...

    async def register(self, url: str, secret: str) -> None:
        """Have updates delivered to `url`. Raises `MessengerError`."""
        ...

    async def unregister(self, url: str) -> None:
        """Have nothing delivered to `url` any more. Raises `MessengerError`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message. `counts`: it is a sentence in answer to somebody, and `REPLIES_PER_MINUTE` bounds those."""

    note: SentMessage
    message: Message
    counts: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """End a button's wait; show a popup, put a new content into its message."""

    pressed: Pressed
    popup: str | None
    message: Message | None
    note: SentMessage | None = None
    """The row of what the message has become, where its buttons must act."""


Reply = Say | Answer


def notice(row_id: str, person: Person) -> SentMessage:
    """The row of a plain sentence."""
    return SentMessage(row_id, person, MessageKind.NOTICE)
