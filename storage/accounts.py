"""Accounts, and the forgetting of a subscriber, in SQL; see `storage.statements`."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from otp.events import CLOSE_MESSAGE
from otp.model import Ending, Link, Mode, Profile, ShownCode, Subscriber
from storage import rows
from storage.rows import SUBSCRIBER, Row

_SHARED = """
DELETE FROM codes WHERE id IN (
    SELECT c.id FROM accounts ours
    JOIN accounts theirs ON theirs.project_id = ours.project_id AND theirs.mode = ours.mode
        AND theirs.external_id = ours.external_id AND theirs.subscriber_id <> ours.subscriber_id
    JOIN codes mine ON mine.subscriber_id = ours.subscriber_id AND mine.expires_at > $2
    JOIN codes c ON c.subscriber_id = theirs.subscriber_id AND c.purpose = mine.purpose
    WHERE ours.subscriber_id = $1
) RETURNING id
"""
_OF_SUBSCRIBER = "(SELECT request_id FROM deliveries WHERE subscriber_id = $1 AND request_id IS NOT NULL)"


class AccountsTx(ABC):
    """What `otp.ports.Tx` promises of accounts."""

    now: int

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        """Run one statement and fetch all that it returns."""

    @abstractmethod
    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> None: ...

    @abstractmethod
    async def end_messages(self, code_id: str, ending: Ending, *, but: str) -> None: ...

    async def links(self, project_id: str, mode: Mode, external_id: str) -> list[Link]:
        found = await self.rows(
            "SELECT channel, subscriber_id FROM accounts WHERE project_id = $1 AND mode = $2 AND external_id = $3 "
            "ORDER BY used_at DESC, channel",
            project_id,
            mode,
            external_id,
        )
        return [rows.link(row) for row in found]

    async def lock_accounts(self, subscriber_id: str) -> bool:
        found = await self.rows(
            "SELECT project_id, mode, external_id FROM accounts WHERE subscriber_id = $1 ORDER BY external_id",
            subscriber_id,
        )
        for row in found:
            await self.lock_account(row["project_id"], Mode(row["mode"]), row["external_id"])
        return bool(found)

    async def link(self, subscriber: Subscriber, external_id: str) -> None:
        await self.rows(
            "INSERT INTO accounts (project_id, mode, external_id, channel, subscriber_id, verified_at, used_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT (project_id, mode, external_id, channel) DO UPDATE "
            "SET subscriber_id = $5, verified_at = $6, used_at = $6",
            subscriber.project_id,
            subscriber.mode,
            external_id,
            subscriber.person.channel,
            subscriber.id,
            self.now,
        )

    async def note_used(self, subscriber_id: str) -> None:
        await self.rows(
            "UPDATE accounts SET used_at = $2 WHERE subscriber_id = $1 AND used_at < $2",
            subscriber_id,
            self.now,
        )

    async def end_shared_codes(self, subscriber_id: str, ending: Ending) -> None:
        # Codes before their messages, as for a guess: so the two never wait for each other.
        for row in await self.rows(_SHARED.strip(), subscriber_id, self.now):
            await self.end_messages(row["id"], ending, but="")

    async def account_of(self, request_id: str) -> str | None:
        found = await self.rows("SELECT external_id FROM requests WHERE id = $1", request_id)
        return found[0]["external_id"] if found else None

    async def profile(self, project_id: str, mode: Mode, subscriber_id: str) -> Profile | None:
        found = await self.rows(
            f"SELECT {SUBSCRIBER}, consented_at, (SELECT external_id FROM accounts WHERE subscriber_id = $1 "
            "ORDER BY verified_at DESC, external_id LIMIT 1) AS external_id "
            "FROM subscribers WHERE id = $1 AND project_id = $2 AND mode = $3",
            subscriber_id,
            project_id,
            mode,
        )
        if not found:
            return None
        return Profile(rows.subscriber(found[0]), found[0]["consented_at"], found[0]["external_id"])

    # ------------------------------------------------------------- forgetting

    async def pending_of(self, subscriber_id: str) -> list[str]:
        found = await self.rows(
            f"SELECT id FROM requests WHERE id IN {_OF_SUBSCRIBER} AND status = 'pending' ORDER BY id",
            subscriber_id,
        )
        return [str(row["id"]) for row in found]

    async def erase_subscriber(self, subscriber: Subscriber) -> None:
        shown = await self.rows(
            "SELECT id, messenger_id, address, delivery_id, code_id, ended FROM messages WHERE subscriber_id = $1 "
            "AND closed = 0 AND messenger_id IS NOT NULL AND code_id IS NOT NULL",
            subscriber.id,
        )
        for row in shown:
            await self.close_stray(rows.shown_code(row), subscriber)
        # The questions of the requests that were this person's; then these are nobody's, in the same channel.
        await self.rows(
            f"DELETE FROM messages WHERE address = $2 AND request_id IN {_OF_SUBSCRIBER}",
            subscriber.id,
            subscriber.person.address,
        )
        await self.rows(
            "UPDATE requests SET bound_to = $3, context = NULL, external_id = NULL "
            f"WHERE bound_to = $2 AND id IN {_OF_SUBSCRIBER}",
            subscriber.id,
            subscriber.person.address,
            f"{subscriber.person.channel}:0",
        )
        for table in ("messages", "deliveries", "codes", "accounts"):
            await self.rows(f"DELETE FROM {table} WHERE subscriber_id = $1", subscriber.id)
        await self.rows("DELETE FROM subscribers WHERE id = $1", subscriber.id)
        await self.rows(
            "DELETE FROM people WHERE address = $1 AND NOT EXISTS (SELECT 1 FROM subscribers WHERE address = $1)",
            subscriber.person.address,
        )

    async def close_stray(self, message: ShownCode, subscriber: Subscriber) -> None:
        # What was reported has buttons that would act for nobody.
        ending = message.ended if message.ended not in (None, Ending.REPORTED) else Ending.WITHDRAWN
        payload = {
            "address": message.person.address,
            "messenger_id": message.messenger_id,
            "project_id": subscriber.project_id,
            "mode": subscriber.mode,
            "language": subscriber.language,
            "ending": ending,
        }
        await self.rows(
            "INSERT INTO jobs (kind, subject, due_at, attempts, lease_until, owner, payload) "
            "VALUES ($1, $2, $3, 0, 0, '', $4) ON CONFLICT (kind, subject) DO UPDATE SET due_at = $3, payload = $4",
            CLOSE_MESSAGE,
            message.id,
            self.now,
            json.dumps(payload),
        )
