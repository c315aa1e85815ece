"""Questions for phone numbers, and what was answered, in SQL; see `storage.statements`. Numbers are stored sealed only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from otp.model import Person, Subscriber
from otp.numbers import AskedNumber
from otp.policy import PHONE_ASKED_MS
from otp.telling import Sealed
from storage.rows import Row

_ASKED = (
    "SELECT n.request_id, s.project_id, n.subscriber_id, n.address, n.asked_at, n.number, n.key_id "
    "FROM phones n JOIN subscribers s ON s.id = n.subscriber_id WHERE"
)


def _sealed(row: Row) -> Sealed | None:
    return Sealed(bytes(row["number"]), row["key_id"]) if row["number"] is not None else None


def _asked(row: Row) -> AskedNumber:
    person = Person.at(row["address"])
    return AskedNumber(
        row["request_id"], row["project_id"], row["subscriber_id"], person, row["asked_at"], _sealed(row)
    )


class PhonesTx(ABC):
    """What `otp.ports.Tx` promises of phone numbers."""

    LOCKED: ClassVar[str]
    now: int

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        """Run one statement and fetch all that it returns."""

    async def ask_number(self, request_id: str, subscriber: Subscriber) -> None:
        await self.rows(
            "INSERT INTO phones (request_id, subscriber_id, address, asked_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (request_id) DO NOTHING",
            request_id,
            subscriber.id,
            subscriber.person.address,
            self.now,
        )

    async def show_number(self, request_id: str, person: Person) -> None:
        # All at once and in one order: whoever shows another one meanwhile waits, and nobody waits for them.
        await self.rows(
            f"SELECT request_id FROM phones WHERE address = $1 ORDER BY request_id {self.LOCKED}",
            person.address,
        )
        # The keyboard of this question takes the place of the one before: a tap on it answers no other one.
        await self.rows(
            "DELETE FROM phones WHERE address = $1 AND request_id <> $2 AND shown = 1 AND number IS NULL",
            person.address,
            request_id,
        )
        await self.rows("UPDATE phones SET shown = 1 WHERE request_id = $1", request_id)

    async def hide_number(self, request_id: str) -> None:
        await self.rows("UPDATE phones SET shown = 0 WHERE request_id = $1 AND number IS NULL", request_id)

    async def asked_number(self, request_id: str) -> AskedNumber | None:
        found = await self.rows(f"{_ASKED} n.request_id = $1", request_id)
        return _asked(found[0]) if found else None

    async def numbers_of(self, subscriber_id: str) -> list[AskedNumber]:
        found = await self.rows(f"{_ASKED} n.subscriber_id = $1 ORDER BY n.asked_at", subscriber_id)
        return [_asked(row) for row in found]

    async def newest_number(self, person: Person) -> AskedNumber | None:
        found = await self.rows(
            f"{_ASKED} n.address = $1 AND n.shown = 1 "
            "ORDER BY CASE WHEN n.number IS NULL THEN 0 ELSE 1 END, n.asked_at DESC, n.request_id LIMIT 1",
            person.address,
        )
        return _asked(found[0]) if found else None

    async def share_number(self, request_id: str, number: Sealed) -> bool:
        return bool(
            await self.rows(
                "UPDATE phones SET number = $2, key_id = $3 WHERE request_id = $1 AND number IS NULL AND asked_at > $4 "
                "RETURNING request_id",
                request_id,
                number.blob,
                number.key_id,
                self.now - PHONE_ASKED_MS,
            )
        )

    async def take_number(self, request_id: str) -> Sealed | None:
        found = await self.rows(
            "DELETE FROM phones WHERE request_id = $1 AND number IS NOT NULL RETURNING number, key_id",
            request_id,
        )
        return _sealed(found[0]) if found else None

    async def end_number(self, request_id: str) -> None:
        await self.rows("DELETE FROM phones WHERE request_id = $1", request_id)

    async def keep_number(self, subscriber_id: str, number: Sealed) -> None:
        await self.rows(
            "INSERT INTO kept_phones (subscriber_id, number, key_id) VALUES ($1, $2, $3) "
            "ON CONFLICT (subscriber_id) DO UPDATE SET number = $2, key_id = $3",
            subscriber_id,
            number.blob,
            number.key_id,
        )

    async def kept_number(self, subscriber_id: str) -> Sealed | None:
        found = await self.rows(
            "SELECT number, key_id FROM kept_phones WHERE subscriber_id = $1", subscriber_id
        )
        return _sealed(found[0]) if found else None

    async def drop_numbers(self, subscriber_id: str) -> None:
        for table in ("phones", "kept_phones"):
            await self.rows(f"DELETE FROM {table} WHERE subscriber_id = $1", subscriber_id)

    async def drop_kept_numbers(self, project_id: str) -> None:
        await self.rows(
            "DELETE FROM kept_phones WHERE subscriber_id IN (SELECT id FROM subscribers WHERE project_id = $1)",
            project_id,
        )

    async def drop_asked_numbers(self) -> None:
        await self.rows("DELETE FROM phones")

    async def stale_numbers(self, key_id: str, after: str, limit: int) -> list[tuple[str, Sealed]]:
        found = await self.rows(
            "SELECT subscriber_id, number, key_id FROM kept_phones WHERE key_id <> $1 AND subscriber_id > $2 "
            "ORDER BY subscriber_id LIMIT $3",
            key_id,
            after,
            limit,
        )
        return [(row["subscriber_id"], Sealed(bytes(row["number"]), row["key_id"])) for row in found]

    async def reseal_number(self, subscriber_id: str, before: Sealed, number: Sealed) -> bool:
        return bool(
            await self.rows(
                "UPDATE kept_phones SET number = $3, key_id = $4 WHERE subscriber_id = $1 AND number = $2 "
                "RETURNING subscriber_id",
                subscriber_id,
                before.blob,
                number.blob,
                number.key_id,
            )
        )
