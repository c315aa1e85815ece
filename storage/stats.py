"""What was counted by day, in SQL for both stores: a part of `storage.statements`, which alone imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otp.counting import STATS_KEPT_MS
from otp.model import Project
from otp.reports import Counted
from storage.rows import Row

_AT_ONCE: Final = 200
"""Rows in one statement."""
_KEY: Final = "day, project_id, mode, channel, what"


class StatsTx(ABC):
    """What `otp.ports.Tx` promises of counts."""

    @abstractmethod
    async def rows(self, sql: str, *values: Any) -> Sequence[Row]: ...

    @abstractmethod
    async def project(self, project_id: str) -> Project | None: ...

    async def add_counts(self, counts: Mapping[Counted, int]) -> None:
        # In one order, which is that of all replicas: so none of them waits for another that waits for it.
        whose = sorted({one.project_id for one in counts})
        there = {one for one in whose if await self.project(one) is not None}
        wanted = [(one, counts[one]) for one in sorted(counts) if one.project_id in there]
        for start in range(0, len(wanted), _AT_ONCE):
            await self._add(wanted[start : start + _AT_ONCE])

    async def _add(self, some: Sequence[tuple[Counted, int]]) -> None:
        places = [", ".join(f"${6 * at + n}" for n in range(1, 7)) for at in range(len(some))]
        await self.rows(
            f"INSERT INTO daily_stats ({_KEY}, many) VALUES {', '.join(f'({one})' for one in places)} "
            f"ON CONFLICT ({_KEY}) DO UPDATE SET many = daily_stats.many + excluded.many",
            *(
                value
                for one, many in some
                for value in (one.day, one.project_id, one.mode, one.channel, one.what, many)
            ),
        )

    async def counts(self, day: int, project_id: str | None) -> dict[Counted, int]:
        which = "day = $1" if project_id is None else "project_id = $2 AND day = $1"
        found = await self.rows(
            f"SELECT day, mode, channel, what, CAST(sum(many) AS BIGINT) AS many FROM daily_stats WHERE {which} "
            "GROUP BY day, mode, channel, what",
            day,
            *([] if project_id is None else [project_id]),
        )
        whose = project_id or ""
        return {
            Counted(row["day"], whose, row["mode"], row["channel"], row["what"]): row["many"] for row in found
        }


OF_PROJECT: Final = (
    f"DELETE FROM daily_stats WHERE ({_KEY}) IN (SELECT {_KEY} FROM daily_stats WHERE project_id = $1 LIMIT $2)",
)
"""What goes with a project."""
OVER: Final = (
    (
        f"DELETE FROM daily_stats WHERE ({_KEY}) IN (SELECT {_KEY} FROM daily_stats WHERE day <= $1 LIMIT $2)",
        STATS_KEPT_MS,
    ),
)
"""What is removed, how long after which time: as in `storage.statements`."""
