"""What operators change, and who did it: the trail that is written with each change, in its own transaction.

For everybody: whoever changes something for an operator asks `who_acts` before the transaction and calls `Tx.record_audit`
within it. Never a secret, never a name or an address of a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final

from otp.policy import DAY_MS
from otp.values import value

AUDIT_KEPT_MS: Final = 400 * DAY_MS
"""A year, and a month in which to look at it."""
CONFIGURATION: Final = "configuration"
"""Who acts when nobody said: the settings, at a start."""


class Action(StrEnum):
    """What an operator can change."""

    PROJECT_CREATE = "project.create"
    PROJECT_UPDATE = "project.update"
    PROJECT_ROTATE_KEY = "project.rotate-key"
    PROJECT_DISABLE = "project.disable"
    PROJECT_ENABLE = "project.enable"
    PROJECT_DELETE = "project.delete"
    CODES_REVOKE_ALL = "codes.revoke-all"
    WEBHOOKS_REGISTER = "webhooks.register"
    WEBHOOKS_REMOVE = "webhooks.remove"
    EVENTS_REDELIVER = "events.redeliver"
    SUBSCRIBERS_UNLOCK = "subscribers.unlock"
    SUBSCRIBERS_FORGET = "subscribers.forget"


@value
class AuditLine:
    """One change, as it is kept."""

    at: int
    what: str
    subject: str | None
    """The id of what was changed; None where it is everything."""
    by: str
    """The operator's user name on the machine, or `CONFIGURATION`."""
    detail: str
    """What else is worth knowing, in words."""


_ACTING: Final[ContextVar[str]] = ContextVar("acting", default=CONFIGURATION)


@contextmanager
def acting(by: str) -> Iterator[None]:
    """Whatever is changed in here, this operator does."""
    token = _ACTING.set(by)
    try:
        yield
    finally:
        _ACTING.reset(token)


def who_acts() -> str:
    """Who acts. To be asked before a transaction, as that may run in somebody else's context."""
    return _ACTING.get()
