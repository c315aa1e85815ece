"""What operators look at, in SQL for both stores: a part of `storage.statements`, which alone imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from otp.model import Mode
from otp.reports import LivingKey, ProjectFacts
from storage.rows import Row


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
