"""What operators look at, in SQL for both stores: a part of `storage.statements`, which alone imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from otp.model import Channel, Ending, MessageKind, Mode, Person, RequestStatus
from otp.reports import Listed, LivingKey, ProjectFacts, Sending, Shown, Trace
from storage import rows
from storage.rows import DELIVERY, Row

LATEST: Final = 2**62
"""Behind every time."""


class ReportsTx(ABC):
    """What `otp.ports.Tx` promises of reports. Nothing in here changes anything, or locks."""

    now: int

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]: ...

    async def project_facts(self, project_id: str) -> ProjectFacts | None:
        found = await self.rows("SELECT created_at FROM projects WHERE id = $1 AND deleted = 0", project_id)
        if not found:
            return None
        keys = await self.rows(
            "SELECT mode, created_at, ends_at FROM api_keys WHERE project_id = $1 "
            "AND (ends_at IS NULL OR ends_at > $2) ORDER BY created_at, mode",
            project_id,
            self.now,
        )
        living = [LivingKey(Mode(row["mode"]), row["created_at"], row["ends_at"]) for row in keys]
        return ProjectFacts(found[0]["created_at"], tuple(living))

    async def trace(self, request_id: str) -> Trace:
        opened = await self.rows("SELECT opened_at, opened_in FROM requests WHERE id = $1", request_id)
        shown = await self.rows(
            "SELECT kind, address, created_at, messenger_id IS NOT NULL AS taken, ended FROM messages "
            "WHERE request_id = $1 ORDER BY created_at, id",
            request_id,
        )
        first = opened[0] if opened else {"opened_at": None, "opened_in": None}
        return Trace(
            first["opened_at"],
            Channel(first["opened_in"]) if first["opened_in"] else None,
            tuple(map(_shown, shown)),
        )

    async def sendings(self, subscriber_id: str, since: int, limit: int) -> list[Sending]:
        found = await self.rows(
            f"SELECT {DELIVERY}, settled_at FROM deliveries WHERE subscriber_id = $1 AND claimed_at >= $2 "
            "ORDER BY claimed_at DESC, id DESC LIMIT $3",
            subscriber_id,
            since,
            limit,
        )
        return [Sending(rows.delivery(row), row["settled_at"]) for row in reversed(found)]

    async def left_at(self, subscriber_id: str) -> int | None:
        found = await self.rows(
            "SELECT left_at FROM subscribers WHERE id = $1 AND subscribed = 0", subscriber_id
        )
        return found[0]["left_at"] if found else None

    async def requests_before(
        self, open_: bool, before: Listed | None, since: int, limit: int
    ) -> list[Listed]:
        at, which = ("expires_at", "AND status = 'pending'") if open_ else ("finished_at", "")
        found = await self.rows(
            f"SELECT id, project_id, status, created_at, {at} AS at FROM requests WHERE {at} >= $1 {which} "
            f"AND ({at}, id) < ($2, $3) ORDER BY {at} DESC, id DESC LIMIT $4",
            since,
            before.at if before else LATEST,
            before.id if before else "",
            limit,
        )
        return [
            Listed(row["id"], row["project_id"], RequestStatus(row["status"]), row["created_at"], row["at"])
            for row in found
        ]


def _shown(row: Row) -> Shown:
    ended = Ending(row["ended"]) if row["ended"] else None
    kind, person = MessageKind(row["kind"]), Person.at(row["address"])
    return Shown(kind, person, row["created_at"], bool(row["taken"]), ended)
