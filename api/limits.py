"""How often somebody may call: in the process's memory, because it guards the machine and not an account.

The fields `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable
from contextlib import AbstractContextManager
from typing import Final

from otp.policy import MINUTE_MS, whole_seconds
from otp.ports import Clock
from otp.values import value

REMEMBERED: Final = 100_000
"""Callers and requests whose last minute is remembered; beyond it the one seen longest ago starts anew."""


@value
class Taken:
    """What a limit said to a call."""

    limit: RateLimit
    allowed: bool
    owed: float
    """Milliseconds until the whole quota is back."""
    retry_after: int
    """Seconds until a call will be allowed; 0 when this one was."""

    @property
    def fields(self) -> dict[str, str]:
        """`RateLimit-Policy` and `RateLimit`, as headers."""
        return self.limit.fields(self.owed)


class RateLimit:
    """So many calls a minute for each subject: all at once, or evenly spread (GCRA, ITU-T I.371).

    A call that is not allowed costs nothing, so somebody who goes on hammering is let in again as soon as others.
    """

    def __init__(self, name: str, per_minute: int, clock: Clock, remembered: int = REMEMBERED) -> None:
        """`name` is how the fields call it."""
        self._name = name
        self._policy = f'"{name}";q={per_minute};w={MINUTE_MS // 1000}'
        self._spacing = MINUTE_MS / per_minute
        self._clock = clock
        self._remembered = remembered
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()
        """When a subject's whole quota will be back; one that is not here has it."""

    def allows(self, subject: Hashable) -> bool:
        """Whether one more call of the subject would be allowed now."""
        return self._owed(subject, self._clock.now()) + self._spacing <= MINUTE_MS

    def take(self, subject: Hashable) -> Taken:
        """Count a call of the subject, if it is allowed."""
        now = self._clock.now()
        owed = self._owed(subject, now)
        over = owed + self._spacing - MINUTE_MS
        if over > 0:
            return Taken(self, allowed=False, owed=owed, retry_after=whole_seconds(round(over)))
        owed += self._spacing
        self._remember(subject, owed, now)
        return Taken(self, allowed=True, owed=owed, retry_after=0)

    def _owed(self, subject: Hashable, now: int) -> float:
        """Milliseconds until the whole quota is back."""
        return max(0.0, self._full_at.get(subject, 0) - now)

    def _remember(self, subject: Hashable, owed: float, now: int) -> None:
        self._full_at[subject] = now + owed
        self._full_at.move_to_end(subject)
        # In front are those seen longest ago: each call clears away two whose quota is back.
        for _ in range(2):
            first = next(iter(self._full_at))
            if self._full_at[first] > now and len(self._full_at) <= self._remembered:
                break
            del self._full_at[first]

    def fields(self, owed: float) -> dict[str, str]:
        """What the headers say while the whole quota is so many milliseconds away."""
        left = max(0, int((MINUTE_MS - owed) / self._spacing + 1e-6))
        return {
            "RateLimit-Policy": self._policy,
            "RateLimit": f'"{self._name}";r={left};t={whole_seconds(round(owed))}',
        }


class Seats:
    """How many calls may wait at the same time: for each subject, and for all together."""

    def __init__(self, each: int, together: int) -> None:
        self._each = each
        self.together = together
        self._taken: Counter[Hashable] = Counter()
        self._all = 0

    def seat(self, subject: Hashable) -> Seat | None:
        """A seat, to be held as a context; None when there is none left."""
        if self._all >= self.together or self._taken[subject] >= self._each:
            return None
        return Seat(self, subject)

    def sit(self, subject: Hashable) -> None:
        """Count a seat as taken."""
        self._taken[subject] += 1
        self._all += 1

    def rise(self, subject: Hashable) -> None:
        """Count it as free again."""
        self._all -= 1
        self._taken[subject] -= 1
        if not self._taken[subject]:
            del self._taken[subject]


class Seat(AbstractContextManager[None]):
    """One call that waits."""

    __slots__ = ("_seats", "_subject")

    def __init__(self, seats: Seats, subject: Hashable) -> None:
        self._seats = seats
        self._subject = subject

    def __enter__(self) -> None:
        self._seats.sit(self._subject)

    def __exit__(self, *_: object) -> None:
        self._seats.rise(self._subject)
