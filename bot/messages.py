"""A message as every messenger can show it: literal text, some marks on it, rows of buttons.

Nothing is ever markup: a project's name is shown as it is, whatever it contains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Style(StrEnum):
    """How a piece of text stands out, where the messenger can do that."""

    BOLD = "bold"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Mark:
    """A styled piece of the text, in characters."""

    style: Style
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Press:
    """A button that comes back to us."""

    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Copy:
    """A button that puts a text on the clipboard, in the client alone."""

    label: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A button that opens an address."""

    label: str
    url: str


Button = Press | Copy | Link


@dataclass(frozen=True, slots=True)
class AskContact:
    """A key that sends the person's own contact, after the messenger has asked whether they mean it."""

    label: str


@dataclass(frozen=True, slots=True)
class Write:
    """A key that writes its label."""

    label: str


@dataclass(frozen=True, slots=True)
class Keyboard:
    """Keys in place of the person's own keyboard, each in a row of its own, for one use; without any the own one is back.

    Of the messengers only those in `otp.policy.PHONE_CHANNELS` are given one.
    """

    keys: tuple[AskContact | Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """One message; each button has a row of its own. It has buttons or a keyboard, not both."""

    text: str = field(repr=False)
    marks: tuple[Mark, ...] = ()
    buttons: tuple[Button, ...] = ()
    keyboard: Keyboard | None = None


@dataclass(slots=True)
class Page:
    """Puts a message together from lines."""

    lines: list[str] = field(default_factory=list, repr=False)
    marks: list[Mark] = field(default_factory=list)

    def line(self, text: str, style: Style | None = None) -> Page:
        """Add a line."""
        if style is not None:
            offset = sum(len(line) + 1 for line in self.lines)
            self.marks.append(Mark(style, offset, len(text)))
        self.lines.append(text)
        return self

    def message(self, *buttons: Button) -> Message:
        """The finished message."""
        return Message("\n".join(self.lines), tuple(self.marks), buttons)

    def with_keyboard(self, *keys: AskContact | Write) -> Message:
        """The finished message, with keys in place of the person's keyboard; without any with their own one again."""
        return Message("\n".join(self.lines), tuple(self.marks), keyboard=Keyboard(keys))
