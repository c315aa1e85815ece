"""How much happened, by day: counted in memory from what changed, and added to the store now and then.

The calls themselves write nothing for it. Whoever is killed loses what was counted since the last time,
`FLUSH_SECONDS` at most. No ids of people, no times of single acts: day, project, mode, channel, a word and a number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from otp.events import CodeVerified, DeliverySettled, Event, RequestCreated, RequestOpened, WrongCode
from otp.model import Cause, DeliveryState, Refusal
from otp.policy import DAY_MS
from otp.ports import Clock, Store
from otp.reports import Counted

FLUSH_SECONDS: Final = 10
STATS_KEPT_MS: Final = 400 * DAY_MS
"""A year, and a month in which to compare it with the one before."""
ANY_CHANNEL: Final = "any"
"""Of a request that leaves the choice to the person."""
WHATS: Final = ("requests", "opened", "sent", "failed", "unknown", "verified", "wrong")
TOOK: Final = "took:"
TOOK_MS: Final = (
    100, 200, 300, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000, 30_000, 60_000, 300_000, 960_000
)  # fmt: skip
"""Up to which a time from a tap to the messenger's word may be counted: as `took:500`, for 301 to 500 ms."""


_Parts = tuple[str, str, str, str]
"""Of `Counted`, all but the day: in a tuple, as this is made for every guess."""


class Counting:
    """Listens, counts, and adds it up in the store."""

    def __init__(self, store: Store, clock: Clock, failed: Callable[[BaseException], None]) -> None:
        """`failed` hears of what could not be written; it is kept for the next time."""
        self._store = store
        self._clock = clock
        self._failed = failed
        self._counts: dict[tuple[int, _Parts], int] = {}

    def on_event(self, event: Event) -> None:
        """Count what happened."""
        parts_of = _COUNTED.get(type(event))
        if parts_of is None:
            return
        now = self._clock.now()
        for parts in parts_of(event, now):
            key = now // DAY_MS * DAY_MS, parts
            self._counts[key] = self._counts.get(key, 0) + 1

    async def run(self) -> None:
        """Write now and then, until it is cancelled."""
        while True:
            await self._clock.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Add what was counted to what the store has; never raises. After a lost answer it may be added twice."""
        counts, self._counts = self._counts, {}
        if not counts:
            return
        added = {Counted(day, *parts): many for (day, parts), many in counts.items()}
        try:
            await self._store.chore(lambda tx: tx.add_counts(added))
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing else depends on it
            for key, many in counts.items():
                self._counts[key] = self._counts.get(key, 0) + many
            self._failed(error)


def _of_request(event: RequestCreated, _now: int) -> list[_Parts]:
    request = event.request
    return [(request.project_id, request.mode, request.channel or ANY_CHANNEL, "requests")]


def _of_opening(event: RequestOpened, _now: int) -> list[_Parts]:
    return [(event.request.project_id, event.request.mode, event.channel, "opened")]


def _of_delivery(event: DeliverySettled, now: int) -> list[_Parts]:
    sent = event.delivery
    if sent.refusal is Refusal.WITHDRAWN or event.mode is None:
        return []  # it was taken back, which is no failure
    whose = sent.project_id, event.mode, sent.person.channel
    if sent.state is not DeliveryState.ACCEPTED:
        return [(*whose, "unknown" if sent.state is DeliveryState.UNKNOWN else "failed")]
    if sent.cause is Cause.SEND:
        return [(*whose, "sent")]
    place = min(bisect_left(TOOK_MS, now - sent.claimed_at), len(TOOK_MS) - 1)
    return [(*whose, "sent"), (*whose, f"{TOOK}{TOOK_MS[place]}")]


def _of_verified(event: CodeVerified, _now: int) -> list[_Parts]:
    return [(event.project_id, event.mode, event.channel, "verified")]


def _of_wrong(event: WrongCode, _now: int) -> list[_Parts]:
    return [(event.project_id, event.mode, event.channel, "wrong")]


_COUNTED: Final[Mapping[type, Callable[[Any, int], list[_Parts]]]] = {
    RequestCreated: _of_request,
    RequestOpened: _of_opening,
    DeliverySettled: _of_delivery,
    CodeVerified: _of_verified,
    WrongCode: _of_wrong,
}


def share_within(took: Mapping[int, int], share: float) -> int | None:
    """The bound in ms within which this share of what was timed stayed; None when nothing was."""
    total, seen = sum(took.values()), 0
    for bound in sorted(took):
        seen += took[bound]
        if seen >= share * total and seen:
            return bound
    return None
