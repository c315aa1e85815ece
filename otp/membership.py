"""What is kept of people, for the operator and for retention: values, and what a store promises of them. `otp` only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from otp.model import Person, Subscriber
from otp.values import value

Record = Mapping[str, str | int | bool | None]
"""A row as it may be shown: nothing of a code's seed, of a key, or of what opens a request. Times in ms."""
Kind = Literal["requests", "messages", "answers", "events"]
"""Rows that no index leads to from a person: they are looked for in their short life, a piece of time after the other."""


@value
class Membership:
    """A person's relation to a project, with its times."""

    subscriber: Subscriber
    project_name: str
    consented_at: int
    """The last time."""
    left_at: int | None
    reached_at: int | None
    """When a code last arrived, or may have: exact for two days, then to a day. None when that is not known."""

    @property
    def last_active_at(self) -> int:
        """The last sign of the person, as far as it is kept."""
        return max(self.consented_at, self.reached_at or 0)

    @property
    def quiet_since(self) -> int | None:
        """Since when there is nothing between them and the project; None when it is not known."""
        if self.subscriber.subscribed and self.reached_at is None:
            return None  # subscribed before this was kept
        return max(self.last_active_at, self.left_at or 0)


class PeopleTx(Protocol):
    """A part of `otp.ports.Tx`."""

    async def membership(self, subscriber_id: str) -> Membership | None:
        """Whosever it is; not locked. None also when its project is deleted."""
        ...

    async def memberships(self, person: Person) -> list[Membership]:
        """A person's in all projects and modes, by the project's name."""
        ...

    async def linked_to(self, external_id: str, project_id: str | None) -> list[Membership]:
        """Those by whom an account is reached, of one project or of all that have one of that name."""
        ...

    async def memberships_after(self, subscriber_id: str, limit: int) -> list[Membership]:
        """The next ones in the order of ids."""
        ...

    async def begin_activity(self, subscriber_id: str) -> None:
        """Of whom nothing is known, was active now."""
        ...

    async def purge_languages(self, before: int) -> int:
        """Remove what was chosen before then by those who are nobody's subscribers; how many."""
        ...

    async def purge_deliveries(self, limit: int) -> int:
        """Remove up to `limit` deliveries whose time is over; that they arrived stays with their subscribers. How many."""
        ...

    async def records_of(self, subscriber_id: str) -> Mapping[str, Sequence[Record]]:
        """What is kept of a subscriber where an index leads to it, by kind."""
        ...

    async def records_of_person(self, person: Person) -> Mapping[str, Sequence[Record]]:
        """What is kept of a person beside projects, and what they refused, by kind."""
        ...

    async def find_records(self, kind: Kind, whom: str, since: int, until: int) -> list[Record]:
        """Rows of a piece of time that are about an address (`requests`, `messages`) or a subscriber (the others)."""
        ...

    async def erase_messages(self, person: Person, since: int, until: int) -> int:
        """Remove what is kept of the bot's messages to a person that go with no subscriber, of some time; how many."""
        ...

    async def unbind(self, request_id: str, person: Person) -> None:
        """A request is nobody's from now on: without the person, its context and its account."""
        ...

    async def erase_person(self, person: Person) -> bool:
        """Remove the language that a person chose; whether there was one."""
        ...

    async def erase_refusals(self, person: Person) -> int:
        """Let all projects ask again; how many had been refused."""
        ...


@value
class Who:
    """Whom the operator means: exactly one of the first three."""

    subscriber_id: str | None = None
    person: Person | None = None
    external_id: str | None = None
    project_id: str | None = None
    """With `external_id`."""
    everywhere: bool = False
    """All that the same people are in other projects too."""
