"""Test mode's cast: people in no messenger. `bot.stage` plays what is sent to them, `otp.rehearsal` what they do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from otp.model import Channel, Mode, Person, Subscriber

if TYPE_CHECKING:
    from otp.ports import Randomness

ROLES: Final = 10
"""A played person's number ends in its role."""
_NUMBERS: Final = 1 << 48
FIXED: Final = re.compile("00000000-0000-4000-8000-00000000000([1-6])")


class Role(IntEnum):
    """The fixed subscribers of each project in test mode, and what happens to what is sent to them."""

    FINE = 1
    BLOCKED = 2
    LIMITED = 3
    DOWN = 4
    UNKNOWN = 5
    LOCKED = 6


def new_person(channel: Channel, randomness: Randomness) -> Person:
    """Somebody new, to whom nothing special happens."""
    number = int.from_bytes(randomness.bytes(6), "big") % _NUMBERS + 1
    return Person(channel, -number * ROLES)


def role(person: Person) -> Role | None:
    """Which fixed subscriber a person is, if any."""
    known = -person.user_id % ROLES
    return Role(known) if person.is_played and known else None


def fixed_subscriber(subscriber_id: str, project_id: str, channels: Sequence[Channel]) -> Subscriber | None:
    """A project's own fixed subscriber as it is before each of its scenes; None for every other id.

    The ids are the same for all projects, so each has its own behind them.
    """
    found = FIXED.fullmatch(subscriber_id)
    if found is None:
        return None
    who = Role(int(found[1]))
    number = int.from_bytes(_hash(project_id, "")[:6], "big") % _NUMBERS + 1
    return Subscriber(
        id=str(UUID(bytes=_hash(project_id, found[1])[:16], version=4)),
        project_id=project_id,
        mode=Mode.TEST,
        person=Person(next(iter(channels), Channel.TELEGRAM), -(number * ROLES + who)),
        language="en",
        subscribed=True,
        wrong_guesses=0,
        locked=who is Role.LOCKED,
    )


def shown_id(subscriber_id: str, project_id: str) -> str:
    """The id by which a project knows a subscriber of test mode: of a fixed one that is not the one behind it."""
    for who in Role:
        fixed = f"00000000-0000-4000-8000-00000000000{int(who)}"
        behind = fixed_subscriber(fixed, project_id, ())
        if behind is not None and behind.id == subscriber_id:
            return fixed
    return subscriber_id


def _hash(project_id: str, name: str) -> bytes:
    return sha256(f"tapcode/stage/1\0{project_id}\0{name}".encode()).digest()
