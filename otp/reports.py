"""What an operator may look at and nobody else needs: values that the store tells, for `api` and `storage`."""

from __future__ import annotations

from dataclasses import dataclass

from otp.model import Mode


@dataclass(frozen=True, slots=True)
class LivingKey:
    """A key that works, without anything of the key."""

    mode: Mode
    created_at: int
    ends_at: int | None
    """Of one that another one has replaced."""


@dataclass(frozen=True, slots=True)
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
