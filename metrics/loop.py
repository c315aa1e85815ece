"""How late the event loop is: while something holds it up, nobody is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

EVERY_SECONDS: Final = 0.5


class LoopWatch:
    """Has itself woken again and again, and tells how late that was."""

    def __init__(self, late: Callable[[float], None], every: float = EVERY_SECONDS) -> None:
        self._late = late
        self._every = every
        self._due = 0.0
        self._alarm: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, on the loop that runs."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._every
        self._alarm = loop.call_at(self._due, self.wake)

    def wake(self) -> None:
        """Tell, and go on."""
        self._late(max(0.0, asyncio.get_running_loop().time() - self._due))
        self.start()

    def stop(self) -> None:
        """End."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
