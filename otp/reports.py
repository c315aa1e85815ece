"""What an operator may look at and nobody else needs: values that the store tells, for `api` and `storage`."""

from __future__ import annotations

from dataclasses import dataclass

from otp.model import Channel, Delivery, Ending, MessageKind, Mode, Person, RequestStatus
from otp.values import value


@value
class LivingKey:
    """A key that works, without anything of the key."""

    mode: Mode
    created_at: int
    ends_at: int | None
    """Of one that another one has replaced."""


@value
class ProjectFacts:
    """What is known of a project beside what it is."""

    created_at: int
    keys: tuple[LivingKey, ...]
    """Oldest first."""


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """What is counted."""

    day: int
    """Its first moment, UTC."""
    project_id: str
    mode: str
    channel: str
    what: str
    """`requests`, `opened`, `sent`, `failed`, `unknown`, `verified`, `wrong`, or one of the `took:`s."""


@value
class Shown:
    """A message of the bot about a request."""

    kind: MessageKind
    person: Person
    at: int
    taken: bool
    """Whether the messenger took it, as far as we know."""
    ended: Ending | None


@value
class Trace:
    """What is kept of a request beside what it is."""

    opened_at: int | None
    opened_in: Channel | None
    shown: tuple[Shown, ...]
    """Oldest first."""


@value
class Sending:
    """A delivery and when its outcome was written down."""

    delivery: Delivery
    settled_at: int | None


@value
class Listed:
    """A request in a list."""

    id: str
    project_id: str
    status: RequestStatus
    """As it is written down: one that ran out may be pending."""
    created_at: int
    at: int
    """When it ended, or will."""
