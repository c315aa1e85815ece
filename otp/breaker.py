"""A circuit breaker: a messenger that does not answer is left alone, and asked by one attempt at a time until it does.

While it is open, `/send` is told at once that nothing was sent, and no person's code becomes "unknown" in vain.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from otp.policy import ATTEMPT_TIMEOUT_MS, SECOND_MS
from otp.ports import Clock

FAILURES: Final = 15
"""Attempts in a row without an answer. Several people can meet a hiccup at once; fifteen in a row are an outage."""
PAUSE_MS: Final = 5 * SECOND_MS
"""Between two probes."""
PROBE_MS: Final = ATTEMPT_TIMEOUT_MS + 2 * SECOND_MS
"""A probe whose outcome is not told by then is lost; another one may go."""


class BreakerState(StrEnum):
    """What a breaker does with attempts."""

    CLOSED = "closed"
    """All go through."""
    OPEN = "open"
    """None does."""
    HALF_OPEN = "half_open"
    """One is out as a probe; the others wait for what becomes of it."""


class Breaker:
    """For one messenger. Told what becomes of attempts, asked before each."""

    def __init__(self, clock: Clock, told: Callable[[BreakerState], None]) -> None:
        """`told` learns of each change."""
        self._clock = clock
        self._told = told
        self._failures = 0
        self._probe_at = 0
        self._heard = False
        self.state = BreakerState.CLOSED

    @property
    def is_hopeful(self) -> bool:
        """Whether nothing speaks against sending people there: all goes through, or it may by what was heard since."""
        return self.state is BreakerState.CLOSED or self._heard

    def heard(self) -> None:
        """The messenger answered something that is no attempt. That closes nothing, and lasts until one fails."""
        self._heard = True

    def lets_through(self) -> bool:
        """Whether an attempt may be made now. One that may, while the breaker is open, is the probe."""
        if self.state is BreakerState.CLOSED:
            return True
        now = self._clock.now()
        if now < self._probe_at:
            return False
        self._probe_at = now + PROBE_MS
        self._become(BreakerState.HALF_OPEN)
        return True

    def unused(self) -> None:
        """The attempt that was let through was not made: another one may be the probe."""
        if self.state is BreakerState.HALF_OPEN:
            self._probe_at = self._clock.now()

    def note(self, *, answered: bool) -> None:
        """An attempt ended: the messenger answered it, whatever it said, or it did not."""
        self._heard = False
        if answered:
            self._failures = 0
            self._become(BreakerState.CLOSED)
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self._probe_at = self._clock.now() + PAUSE_MS
            self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        if state is not self.state:
            self.state = state
            self._told(state)
