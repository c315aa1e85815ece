"""Endpoints and what they are told, in SQL that SQLite and PostgreSQL both understand: a part of `storage.statements`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import count
from secrets import token_hex
from typing import Any, ClassVar, Final

from otp.events import Event, NoticesDue
from otp.model import Mode
from otp.notices import Notice, notices_of
from otp.policy import MINUTE_MS
from otp.telling import KEPT_MS, TRIED_FOR_MS, Endpoint, Sealed, StoredNotice
from storage.rows import Row

ENDPOINT: Final = (
    "id, project_id, mode, url, types, description, created_at, secret, key_id, old_secret, old_key_id, old_until, "
    "failing_since, disabled_at, disabled_why"
)
NOTICE: Final = "endpoint_id, id, type, happened_at, data, state, due_at, tries, give_up_at, result"
OPEN: Final = "w.deleted_at IS NULL AND w.disabled_at IS NULL"
"""Of endpoints `w` that are told something."""
LAST_ID: Final = "~"
"""Behind every id."""
_SERVED: Final = f"JOIN projects p ON p.id = w.project_id WHERE {OPEN} AND p.deleted = 0 AND p.enabled = 1"
"""What happens while a project is paused is told when it goes on."""


def endpoint(row: Row) -> Endpoint:
    """An endpoint."""
    old = Sealed(bytes(row["old_secret"]), row["old_key_id"]) if row["old_secret"] is not None else None
    return Endpoint(
        id=row["id"],
        project_id=row["project_id"],
        mode=Mode(row["mode"]),
        url=row["url"],
        types=listed(row["types"]),
        description=row["description"],
        created_at=row["created_at"],
        secret=Sealed(bytes(row["secret"]), row["key_id"]),
        old_secret=old,
        old_until=row["old_until"],
        failing_since=row["failing_since"],
        disabled_at=row["disabled_at"],
        disabled_why=row["disabled_why"],
    )


def listed(types: str) -> tuple[str, ...]:
    """Types as they are stored: `,otp.sent,otp.verified,`, or nothing for all."""
    return tuple(types.strip(",").split(",")) if types else ()


def notice(row: Row) -> StoredNotice:
    """What an endpoint is told."""
    return StoredNotice(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        type=row["type"],
        happened_at=row["happened_at"],
        data=row["data"],
        state=row["state"],
        due_at=row["due_at"],
        tries=row["tries"],
        give_up_at=row["give_up_at"],
        result=row["result"],
    )


_made = count()


def new_id(now: int) -> str:
    """An id that sorts by time, and within a millisecond of this process by what came first."""
    return f"evt_{now:012x}{next(_made) & 0xFFFF:04x}{token_hex(8)}"


class OutboxTx(ABC):
    """See `otp.ports.Tx`."""

    LOCKED: ClassVar[str]
    SKIP_LOCKED: ClassVar[str]
    now: int
    events: list[Event]

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]: ...

    @abstractmethod
    async def _lock_project(self, project_id: str) -> None: ...

    @abstractmethod
    async def _write_notices(self, found: Sequence[Notice]) -> Sequence[str]:
        """Write what is wanted of it; the endpoints that will be told."""

    @abstractmethod
    def _forget_endpoints(self) -> None:
        """They are about to change: for a store that remembers them."""

    async def write_notices(self) -> None:
        """Before the commit: what endpoints are to be told of what changed."""
        found = [one for event in self.events for one in notices_of(event)]
        if found and (told := await self._write_notices(found)):
            self.events.append(NoticesDue(tuple(dict.fromkeys(told)), len(told)))

    # ------------------------------------------------------------- endpoints

    async def add_endpoint(self, endpoint: Endpoint, most: int) -> bool:
        self._forget_endpoints()
        await self._lock_project(endpoint.project_id)  # who counts must see them all
        types = f",{','.join(endpoint.types)}," if endpoint.types else ""
        return bool(
            await self.rows(
                "INSERT INTO endpoints (id, project_id, mode, url, types, description, created_at, secret, key_id) "
                "SELECT $1, p.id, $3, $4, $5, $6, $7, $8, $9 FROM projects p WHERE p.id = $2 AND p.deleted = 0 AND $10 > "
                "(SELECT count(*) FROM endpoints w WHERE w.project_id = $2 AND w.mode = $3 AND w.deleted_at IS NULL) "
                "RETURNING id",
                endpoint.id,
                endpoint.project_id,
                endpoint.mode,
                endpoint.url,
                types,
                endpoint.description,
                endpoint.created_at,
                endpoint.secret.blob,
                endpoint.secret.key_id,
                most,
            )
        )

    async def endpoints(self, project_id: str, mode: Mode) -> list[Endpoint]:
        found = await self.rows(
            f"SELECT {ENDPOINT} FROM endpoints WHERE project_id = $1 AND mode = $2 AND deleted_at IS NULL "
            f"ORDER BY created_at, id {self.LOCKED}",
            project_id,
            mode,
        )
        return [endpoint(row) for row in found]

    async def every_endpoint(self) -> list[Endpoint]:
        found = await self.rows(f"SELECT {ENDPOINT} FROM endpoints WHERE deleted_at IS NULL ORDER BY id")
        return [endpoint(row) for row in found]

    async def delete_endpoint(self, endpoint_id: str) -> None:
        self._forget_endpoints()
        await self.rows(
            "UPDATE endpoints SET deleted_at = $2 WHERE id = $1 AND deleted_at IS NULL", endpoint_id, self.now
        )

    async def rotate_secret(self, endpoint_id: str, secret: Sealed, old_until: int) -> None:
        await self.rows(
            "UPDATE endpoints SET old_secret = secret, old_key_id = key_id, old_until = $4, secret = $2, key_id = $3 "
            "WHERE id = $1",
            endpoint_id,
            secret.blob,
            secret.key_id,
            old_until,
        )

    async def reseal(self, before: Endpoint, secret: Sealed, old_secret: Sealed | None) -> bool:
        return bool(
            await self.rows(
                "UPDATE endpoints SET secret = $3, key_id = $4, old_secret = $5, old_key_id = $6 "
                "WHERE id = $1 AND secret = $2 RETURNING id",
                before.id,
                before.secret.blob,
                secret.blob,
                secret.key_id,
                old_secret.blob if old_secret else None,
                old_secret.key_id if old_secret else None,
            )
        )

    async def enable_endpoint(self, endpoint_id: str) -> None:
        self._forget_endpoints()
        await self.rows(
            "UPDATE endpoints SET disabled_at = NULL, disabled_why = NULL, failing_since = NULL WHERE id = $1",
            endpoint_id,
        )

    async def disable_endpoint(self, endpoint_id: str, why: str) -> bool:
        self._forget_endpoints()
        return bool(
            await self.rows(
                "UPDATE endpoints SET disabled_at = $2, disabled_why = $3 WHERE id = $1 AND disabled_at IS NULL "
                "AND deleted_at IS NULL RETURNING id",
                endpoint_id,
                self.now,
                why,
            )
        )

    async def note_endpoint(self, endpoint_id: str, *, works: bool) -> int | None:
        if works:
            sql = (
                "UPDATE endpoints SET failing_since = NULL WHERE id = $1 AND failing_since < $2 RETURNING id"
            )
        else:
            sql = (
                "UPDATE endpoints SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL RETURNING id"
            )
        # One that fails and works in the same moment works.
        return self.now if await self.rows(sql, endpoint_id, self.now + works) else None

    # ------------------------------------------------------------- what they are told

    async def endpoints_due(self) -> dict[str, int]:
        found = await self.rows(
            "SELECT w.id, (SELECT min(n.due_at) FROM notices n WHERE n.endpoint_id = w.id AND n.state = 'pending') AS at "
            f"FROM endpoints w {_SERVED}"
        )
        return {row["id"]: int(row["at"]) for row in found if row["at"] is not None}

    async def take_notices(
        self, endpoint_id: str, limit: int, lease_ms: int
    ) -> tuple[Endpoint | None, list[StoredNotice]]:
        columns = ", ".join(f"w.{one}" for one in ENDPOINT.split(", "))
        served = await self.rows(f"SELECT {columns} FROM endpoints w {_SERVED} AND w.id = $1", endpoint_id)
        if not served:
            return None, []
        taken = await self.rows(
            "UPDATE notices SET due_at = $3, tries = tries + 1 WHERE endpoint_id = $1 AND state = 'pending' "
            "AND due_at <= $2 AND id IN (SELECT id FROM notices WHERE endpoint_id = $1 AND state = 'pending' "
            f"AND due_at <= $2 ORDER BY due_at LIMIT $4 {self.SKIP_LOCKED}) RETURNING {NOTICE}",
            endpoint_id,
            self.now,
            self.now + lease_ms,
            limit,
        )
        return endpoint(served[0]), [notice(row) for row in taken]

    async def note_notice(self, notice: StoredNotice, state: str, due_at: int, result: str) -> bool:
        return bool(
            await self.rows(
                "UPDATE notices SET state = $5, due_at = $6, result = $7 WHERE endpoint_id = $1 AND id = $2 "
                "AND due_at = $3 AND tries = $4 AND state = 'pending' RETURNING id",
                notice.endpoint_id,
                notice.id,
                notice.due_at,
                notice.tries,
                state,
                due_at,
                result,
            )
        )

    async def notices(
        self, endpoint_ids: Sequence[str], state: str | None, before: str | None, limit: int
    ) -> list[StoredNotice]:
        failed = "AND state = 'failed' " if state == "failed" else ""
        found: list[StoredNotice] = []
        for endpoint_id in endpoint_ids:
            some = await self.rows(
                f"SELECT {NOTICE} FROM notices WHERE endpoint_id = $1 AND id < $2 {failed}ORDER BY id DESC LIMIT $3",
                endpoint_id,
                before or LAST_ID,
                limit,
            )
            found += map(notice, some)
        page = set(sorted({one.id for one in found}, reverse=True)[:limit])
        return sorted((one for one in found if one.id in page), key=lambda one: one.id, reverse=True)

    async def purge_notices(self, limit: int) -> int:
        """What is kept no longer: found by its id, which begins with its time, so that no index need know it."""
        gone = await self.rows(
            f"DELETE FROM notices WHERE (endpoint_id, id) IN ({_THEIRS} n.id < $1 AND n.give_up_at <= $2 LIMIT $3) "
            "AND give_up_at <= $2 RETURNING 1",
            first_id(self.now - TRIED_FOR_MS - KEPT_MS + 1),
            self.now - KEPT_MS,
            limit,
        )
        return len(gone)

    async def told_of(self, event_id: str, endpoint_ids: Sequence[str]) -> set[str]:
        knew: set[str] = set()
        for one in endpoint_ids:
            if await self.rows("SELECT 1 FROM notices WHERE endpoint_id = $1 AND id = $2", one, event_id):
                knew.add(one)
        return knew

    async def tell_again(self, event_id: str, endpoint_ids: Sequence[str], give_up_at: int) -> None:
        for one in endpoint_ids:
            await self.rows(
                "UPDATE notices SET state = 'pending', due_at = $3, tries = 0, give_up_at = $4 "
                "WHERE endpoint_id = $1 AND id = $2",
                one,
                event_id,
                self.now,
                give_up_at,
            )


def first_id(at: int) -> str:
    """Below all ids of that time and later."""
    return f"evt_{at:012x}"


def given_up_at(now: int) -> int:
    """Until when something that happened now is tried."""
    return now + TRIED_FOR_MS


LISTENING: Final = f"SELECT id, project_id, mode, types FROM endpoints w WHERE {OPEN}"
WRITE_NOTICE: Final = (
    "INSERT INTO notices (endpoint_id, id, type, happened_at, data, state, due_at, tries, give_up_at) "
    "VALUES (?, ?, ?, ?, ?, 'pending', ?, 0, ?)"
)
"""SQLite's, for many at once: who wants what is known there."""

_THEIRS: Final = "SELECT n.endpoint_id, n.id FROM endpoints w JOIN notices n ON n.endpoint_id = w.id WHERE"
_UNTOLD: Final = "NOT EXISTS (SELECT 1 FROM notices n WHERE n.endpoint_id = w.id)"

OF_PROJECT: Final = (
    f"DELETE FROM notices WHERE (endpoint_id, id) IN ({_THEIRS} w.project_id = $1 LIMIT $2)",
    f"DELETE FROM endpoints WHERE id IN (SELECT w.id FROM endpoints w WHERE w.project_id = $1 AND {_UNTOLD} LIMIT $2)",
)
"""What goes with a project, in order."""
OVER: Final = (
    (f"DELETE FROM notices WHERE (endpoint_id, id) IN ({_THEIRS} w.deleted_at <= $1 LIMIT $2)", 0),
    (
        f"DELETE FROM endpoints WHERE id IN (SELECT w.id FROM endpoints w WHERE w.deleted_at <= $1 AND {_UNTOLD} LIMIT $2)",
        MINUTE_MS,
    ),
)
"""What is removed, how long after which time: as in `storage.statements`."""
