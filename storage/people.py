"""What is kept of people, in SQL for both stores: a part of `storage.statements`, which alone imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from otp.membership import Kind, Membership, Record
from otp.model import Person
from otp.policy import DAY_MS, UPDATE_KEYS_KEPT_MS
from storage import rows
from storage.outbox import first_id
from storage.rows import SUBSCRIBER, Row

ARRIVED: Final = "state IN ('accepted', 'unknown')"
"""Of deliveries: it came to the person, or may have."""


_MEMBERSHIP: Final = (
    f"SELECT {', '.join(f's.{one}' for one in SUBSCRIBER.split(', '))}, s.consented_at, s.left_at, s.active_at, "
    f"p.name AS project_name, (SELECT max(d.settled_at) FROM deliveries d WHERE d.subscriber_id = s.id AND d.{ARRIVED}) "
    "AS arrived_at, (SELECT max(a.used_at) FROM accounts a WHERE a.subscriber_id = s.id) AS used_at "
    "FROM subscribers s JOIN projects p ON p.id = s.project_id AND p.deleted = 0"
)

# A delivery goes only when its subscriber is known to have been active within a day of it, or later: whatever is done
# first, in whatever order, nothing is lost. So one who gets many codes is written once a day.
_OLD: Final = (
    "(SELECT id, subscriber_id, settled_at, state FROM deliveries WHERE settled_at <= $1 "
    "ORDER BY settled_at, id LIMIT $2)"
)
_NOT_NOTED: Final = f"d.{ARRIVED} AND (s.active_at IS NULL OR s.active_at < d.settled_at - {DAY_MS})"
_TO_NOTE: Final = (
    f"SELECT id FROM subscribers WHERE id IN (SELECT s.id FROM {_OLD} d JOIN subscribers s ON s.id = d.subscriber_id "
    f"WHERE {_NOT_NOTED}) ORDER BY id"
)
_NOTE: Final = (
    "UPDATE subscribers SET active_at = "
    f"(SELECT max(x.settled_at) FROM deliveries x WHERE x.subscriber_id = subscribers.id AND x.{ARRIVED}) "
    f"WHERE id IN (SELECT s.id FROM {_OLD} d JOIN subscribers s ON s.id = d.subscriber_id WHERE {_NOT_NOTED})"
)
_REMOVE: Final = (
    f"DELETE FROM deliveries WHERE id IN (SELECT d.id FROM {_OLD} d JOIN subscribers s ON s.id = d.subscriber_id "
    f"WHERE NOT ({_NOT_NOTED})) AND settled_at <= $1 RETURNING 1"
)

_OF_SUBSCRIBER: Final[Mapping[str, str]] = {
    "accounts": (
        "SELECT external_id, verified_at, used_at FROM accounts WHERE subscriber_id = $1 ORDER BY external_id"
    ),
    "live_codes": (
        "SELECT purpose, request_id, attempts, max_attempts, expires_at FROM codes "
        "WHERE subscriber_id = $1 ORDER BY purpose"
    ),
    "deliveries": (
        "SELECT purpose, cause, request_id, state, refusal, tries, claimed_at, attempted_at, settled_at, context "
        "FROM deliveries WHERE subscriber_id = $1 ORDER BY claimed_at, id"
    ),
}
_OF_PERSON: Final[Mapping[str, str]] = {
    "chosen_language": "SELECT language, chosen_at FROM people WHERE address = $1",
    "wrong_pairing_codes": "SELECT missed_at FROM pairing_misses WHERE address = $1 ORDER BY missed_at",
    "refused_projects": (
        "SELECT r.project_id, p.name AS project_name, r.mode, r.refused_at FROM refusals r "
        "JOIN projects p ON p.id = r.project_id AND p.deleted = 0 WHERE r.address = $1 ORDER BY p.name, p.id, r.mode"
    ),
}
_REQUESTS: Final = (
    "SELECT id, project_id, mode, channel, purpose, status, created_at, expires_at, finished_at, verified_at, reported, "
    "context, external_id, page FROM requests WHERE bound_to = $1 AND"
)
_BY_TIME: Final[Mapping[Kind, str]] = {
    "requests": (
        f"{_REQUESTS} finished_at >= $2 AND finished_at < $3 UNION ALL "
        f"{_REQUESTS} status = 'pending' AND expires_at >= $2 AND expires_at < $3"
    ),
    "messages": (
        "SELECT m.kind, m.messenger_id, m.request_id, m.subscriber_id, m.created_at, m.language, m.ended, m.closed, "
        "r.project_id, r.mode FROM messages m LEFT JOIN requests r ON r.id = m.request_id "
        "WHERE m.address = $1 AND m.created_at >= $2 AND m.created_at < $3"
    ),
    "answers": (
        "SELECT claimed_at, status FROM idempotency WHERE claimed_at >= $2 AND claimed_at < $3 "
        "AND (answer LIKE '%' || $1 || '%' OR delivery_id IN (SELECT id FROM deliveries WHERE subscriber_id = $1))"
    ),
    "events": (
        "SELECT n.id, n.type, n.happened_at, n.data, n.state, n.endpoint_id FROM endpoints w "
        "JOIN notices n ON n.endpoint_id = w.id WHERE w.project_id = (SELECT project_id FROM subscribers WHERE id = $1) "
        "AND n.id >= $2 AND n.id < $3 AND n.data LIKE '%\"' || $1 || '\"%'"
    ),
}

_WHOSE: Final = (
    "SELECT 1 FROM subscribers s WHERE s.address = $1 AND (s.id = messages.subscriber_id OR EXISTS "
    "(SELECT 1 FROM deliveries d WHERE d.subscriber_id = s.id AND d.request_id = messages.request_id))"
)
"""The subscriber with whom a message is erased."""


def membership(row: Row) -> Membership:
    """A person's relation to a project."""
    known = [row[one] for one in ("active_at", "arrived_at", "used_at") if row[one] is not None]
    reached_at = max(known, default=None)
    return Membership(
        rows.subscriber(row), row["project_name"], row["consented_at"], row["left_at"], reached_at
    )


class PeopleTx(ABC):
    """See `otp.membership.PeopleTx`."""

    LOCKED: ClassVar[str]
    now: int

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        """Run one statement and fetch all that it returns."""

    # ------------------------------------------------------------- found

    async def membership(self, subscriber_id: str) -> Membership | None:
        found = await self.rows(f"{_MEMBERSHIP} WHERE s.id = $1", subscriber_id)
        return membership(found[0]) if found else None

    async def memberships(self, person: Person) -> list[Membership]:
        found = await self.rows(
            f"{_MEMBERSHIP} WHERE s.address = $1 ORDER BY p.name, p.id, s.mode", person.address
        )
        return [membership(row) for row in found]

    async def linked_to(self, external_id: str, project_id: str | None) -> list[Membership]:
        # The index of accounts begins with the project, so each project is asked.
        found = await self.rows(
            f"{_MEMBERSHIP} WHERE s.id IN (SELECT a.subscriber_id FROM projects o JOIN accounts a ON a.project_id = o.id "
            "AND a.mode IN ('live', 'test') AND a.external_id = $1 WHERE $2 = '' OR o.id = $2) "
            "ORDER BY p.name, p.id, s.mode, s.address",
            external_id,
            project_id or "",
        )
        return [membership(row) for row in found]

    # ------------------------------------------------------------- activity

    async def memberships_after(self, subscriber_id: str, limit: int) -> list[Membership]:
        found = await self.rows(f"{_MEMBERSHIP} WHERE s.id > $1 ORDER BY s.id LIMIT $2", subscriber_id, limit)
        return [membership(row) for row in found]

    async def begin_activity(self, subscriber_id: str) -> None:
        await self.rows(
            "UPDATE subscribers SET active_at = $2 WHERE id = $1 AND active_at IS NULL",
            subscriber_id,
            self.now,
        )

    async def purge_languages(self, before: int) -> int:
        await self.rows("UPDATE people SET chosen_at = $1 WHERE chosen_at IS NULL", self.now)
        gone = await self.rows(
            "DELETE FROM people WHERE chosen_at <= $1 "
            "AND NOT EXISTS (SELECT 1 FROM subscribers s WHERE s.address = people.address) RETURNING 1",
            before,
        )
        return len(gone)

    async def purge_deliveries(self, limit: int) -> int:
        # They outlive every send window (at most 24 hours).
        old = (self.now - UPDATE_KEYS_KEPT_MS, limit)
        if await self.rows(f"{_TO_NOTE} {self.LOCKED}", *old):  # in the order of all who lock some
            await self.rows(_NOTE, *old)
        return len(await self.rows(_REMOVE, *old))

    # ------------------------------------------------------------- shown

    async def records_of(self, subscriber_id: str) -> Mapping[str, Sequence[Record]]:
        return {kind: await self._records(sql, subscriber_id) for kind, sql in _OF_SUBSCRIBER.items()}

    async def records_of_person(self, person: Person) -> Mapping[str, Sequence[Record]]:
        return {kind: await self._records(sql, person.address) for kind, sql in _OF_PERSON.items()}

    async def find_records(self, kind: Kind, whom: str, since: int, until: int) -> list[Record]:
        times = (first_id(since), first_id(until)) if kind == "events" else (since, until)
        return await self._records(_BY_TIME[kind], whom, *times)

    async def _records(self, sql: str, *values: Any) -> list[Record]:
        return [dict(row) for row in await self.rows(sql, *values)]

    # ------------------------------------------------------------- forgotten

    async def erase_messages(self, person: Person, since: int, until: int) -> int:
        return len(
            await self.rows(
                "DELETE FROM messages WHERE address = $1 AND created_at >= $2 AND created_at < $3 "
                f"AND NOT EXISTS ({_WHOSE}) RETURNING 1",
                person.address,
                since,
                until,
            )
        )

    async def unbind(self, request_id: str, person: Person) -> None:
        await self.rows(
            "UPDATE requests SET bound_to = $3, context = NULL, external_id = NULL WHERE id = $1 AND bound_to = $2",
            request_id,
            person.address,
            f"{person.channel}:0",
        )

    async def erase_person(self, person: Person) -> bool:
        return bool(await self.rows("DELETE FROM people WHERE address = $1 RETURNING 1", person.address))

    async def erase_refusals(self, person: Person) -> int:
        return len(await self.rows("DELETE FROM refusals WHERE address = $1 RETURNING 1", person.address))
