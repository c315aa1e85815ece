"""The audit trail in SQL for both stores: a part of `storage.statements`, which alone imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import count
from secrets import token_hex
from typing import Any

from otp.audit import Action, AuditLine
from otp.events import Audited, Event
from storage.rows import Row

_made = count()


class AuditTx(ABC):
    """What `otp.ports.Tx` promises of the trail."""

    now: int

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]: ...

    @abstractmethod
    def emit(self, event: Event) -> None: ...

    async def record_audit(self, by: str, what: Action, subject: str | None, detail: str = "") -> None:
        # Ids begin with the time, and go on by what came first within a millisecond of this process.
        made = f"{self.now:012x}{next(_made) & 0xFFFF:04x}{token_hex(4)}"
        await self.rows(
            "INSERT INTO audit (id, at, who, what, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)",
            made,
            self.now,
            by,
            what,
            subject,
            detail,
        )
        self.emit(Audited(what, subject, by, detail))

    async def audit(self, since: int, limit: int) -> list[AuditLine]:
        found = await self.rows(
            "SELECT at, what, subject, who, detail FROM audit WHERE at >= $1 ORDER BY at DESC, id DESC LIMIT $2",
            since,
            limit,
        )
        lines = [
            AuditLine(row["at"], row["what"], row["subject"], row["who"], row["detail"]) for row in found
        ]
        return lines[::-1]
