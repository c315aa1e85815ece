"""A phone number that a person shares: its one form, and the question for it as it is stored. Pure."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Final

from otp.model import Person
from otp.policy import PHONE_ASKED_MS
from otp.telling import Sealed
from otp.values import value

_NUMBER: Final = re.compile(r"\+?([1-9][0-9]{6,14})", re.ASCII)
"""E.164: up to 15 digits, the first of a country code, which has no 0. The shortest numbers that are in use have 7."""
_ANONYMOUS: Final = "888"
"""Telegram's anonymous numbers begin so: there is no telephone behind them."""
_TYPED: Final = re.compile(r"\+?[0-9][0-9 ()\-.\u00a0]{8,24}", re.ASCII)
TYPED_DIGITS: Final = 9
"""Fewer are no number that anybody would write to be called by: codes and pairing codes have up to 8."""


def e164(given: str) -> str | None:
    """A messenger's phone number as `+` and digits; None when it is none that can be called."""
    found = _NUMBER.fullmatch(given)
    return f"+{found[1]}" if found is not None and not found[1].startswith(_ANONYMOUS) else None


def looks_typed(text: str) -> bool:
    """Whether somebody wrote a phone number."""
    return _TYPED.fullmatch(text) is not None and sum(map(str.isdigit, text)) >= TYPED_DIGITS


@value
class AskedNumber:
    """A question for somebody's phone number, from the delivery of the code until the site was told the answer."""

    request_id: str
    project_id: str
    subscriber_id: str
    person: Person
    asked_at: int
    number: Sealed | None = field(repr=False)
    """The answer."""

    def is_open(self, now: int) -> bool:
        """Whether it can be answered."""
        return self.number is None and now < self.asked_at + PHONE_ASKED_MS
