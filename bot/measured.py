"""A messenger whose calls are told to whoever measures them: which, what came of it, and how long it took."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, TypeVar

from bot.around import SkinAround
from bot.events import Pressed
from bot.messages import Message
from bot.messenger import Fetched, Hook, Introduction, MessengerError, Skin
from otp.model import Channel, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused

T = TypeVar("T")

Called = Callable[[Channel, str, str, float], None]
"""Told of a call: channel, which, what came of it, seconds."""


def result_of(outcome: Outcome) -> str:
    """What came of a call that brings something to a person, in a word."""
    match outcome:
        case Accepted():
            return "ok"
        case Refused(unauthorized=True):
            return "unauthorized"
        case Refused(reason):
            return "gone" if reason is Refusal.GONE else "rejected"
        case NotSent(answered=answered):
            return "limited" if answered else "unreachable"
        case _:
            return "unknown"


class MeasuredSkin(SkinAround):
    """Tells of every call but of what is only parsed."""

    def __init__(self, skin: Skin, called: Called, sends: str) -> None:
        """`sends`: what it sends, `code` or `message`."""
        super().__init__(skin)
        self._called = called
        self._sends = sends

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        return await self._brought(self._sends, super().send(user_id, message, timeout_ms))

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        """It tells nothing of what came of it."""
        began = perf_counter()
        await super().answer(pressed, popup, message)
        self._called(self.channel, "answer", "ok", perf_counter() - began)

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        return await self._brought("edit", super().edit(user_id, message_id, message, timeout_ms))

    async def username(self) -> str:
        return await self._asked("identify", super().username())

    async def fetch(self, marker: int | None) -> Fetched:
        return await self._asked("fetch", super().fetch(marker))

    async def introduce(self, introductions: Sequence[Introduction]) -> None:
        await self._asked("introduce", super().introduce(introductions))

    async def hooks(self) -> Sequence[Hook]:
        return await self._asked("webhook", super().hooks())

    async def register(self, url: str, secret: str) -> None:
        await self._asked("webhook", super().register(url, secret))

    async def unregister(self, url: str) -> None:
        await self._asked("webhook", super().unregister(url))

    async def _brought(self, call: str, calling: Coroutine[Any, Any, Outcome]) -> Outcome:
        began = perf_counter()
        outcome = await calling
        self._called(self.channel, call, result_of(outcome), perf_counter() - began)
        return outcome

    async def _asked(self, call: str, calling: Coroutine[Any, Any, T]) -> T:
        began, result = perf_counter(), "failed"
        try:
            value = await calling
            result = "ok"
        except MessengerError as error:
            result = "unauthorized" if error.unauthorized else "failed"
            raise
        finally:
            self._called(self.channel, call, result, perf_counter() - began)
        return value
