"""Finds out at once what is the matter with a messenger through which codes do not go, and when it may be back.

A breaker is closed by codes alone. But sites that hear of a degraded messenger send nobody there, and then no code would
ever find out that it is back; so a harmless question to the messenger has to do, and what is asked is known to all
processes soon. Only `otp.courier` imports this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from otp.breaker import Breaker, BreakerState
from otp.errors import StorageUnavailable
from otp.model import Channel
from otp.policy import MINUTE_MS, SECOND_MS
from otp.ports import Clock
from otp.tasks import Tasks

AGAIN_MS: Final = 10 * SECOND_MS
"""Between two questions to a messenger that does not answer."""
REST_MS: Final = 30 * SECOND_MS
"""How long a messenger is avoided that answers questions and yet took no codes; doubled each time it is found so again."""
LONGEST_REST_MS: Final = 5 * MINUTE_MS

Ask = Callable[[Channel], Awaitable[bool]]
"""Asks a messenger something that brings nobody a message; whether it answered and took the token."""


class Lookout:
    """Asks while there is a reason to."""

    def __init__(self, clock: Clock, ask: Ask, failed: Callable[[BaseException], None]) -> None:
        """`failed` is told of our own bugs."""
        self._clock = clock
        self._ask = ask
        self._tasks = Tasks(failed)
        self._watched: dict[Channel, asyncio.Event] = {}
        """By the channels that are asked: set once codes go out again."""
        self._closed = False

    def watch(self, channel: Channel, breaker: Breaker) -> None:
        """Ask now, and go on until it answers and codes are not held up; so at least once more."""
        if channel not in self._watched and not self._closed:
            self._watched[channel] = asyncio.Event()
            self._tasks.start(self._watch(channel, breaker))

    def over(self, channel: Channel) -> None:
        """Codes go out again: ask once more, so that what is known is not what was."""
        if channel in self._watched:
            self._watched[channel].set()

    async def _watch(self, channel: Channel, breaker: Breaker) -> None:
        over = self._watched[channel]
        try:
            rest, answers = REST_MS, await self._answers(channel)
            while True:
                pause = (rest if answers else AGAIN_MS) / SECOND_MS
                await self._tasks.first(self._clock.sleep(pause), over.wait())
                over.clear()
                answered_before, answers = answers, await self._answers(channel)
                if answers and breaker.state is BreakerState.CLOSED:
                    return
                if answers:
                    breaker.heard()
                    rest = min(2 * rest, LONGEST_REST_MS) if answered_before else REST_MS
        finally:
            del self._watched[channel]

    async def _answers(self, channel: Channel) -> bool:
        with suppress(StorageUnavailable):
            return await self._ask(channel)
        return False

    async def close(self) -> None:
        """Ask no more."""
        self._closed = True
        await self._tasks.drain(0)
