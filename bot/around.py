"""A messenger around another one: passes on all that is asked of it, but what a subclass changes. For `bot` alone."""

from __future__ import annotations

from collections.abc import Sequence

from bot.events import Event, Pressed
from bot.messages import Message
from bot.messenger import Fetched, Hook, Introduction, Skin
from otp.ports import Outcome


class SkinAround:
    """See `bot.messenger.Skin`."""

    def __init__(self, skin: Skin) -> None:
        self._skin = skin
        self.channel = skin.channel
        self.secret_header = skin.secret_header
        self.replaces_hook = skin.replaces_hook
        self.trusts = skin.trusts

    def parse(self, body: bytes) -> Event | None:
        return self._skin.parse(body)

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        return await self._skin.send(user_id, message, timeout_ms)

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        await self._skin.answer(pressed, popup, message)

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        return await self._skin.edit(user_id, message_id, message, timeout_ms)

    async def username(self) -> str:
        return await self._skin.username()

    async def fetch(self, marker: int | None) -> Fetched:
        return await self._skin.fetch(marker)

    async def introduce(self, introductions: Sequence[Introduction]) -> None:
        await self._skin.introduce(introductions)

    async def hooks(self) -> Sequence[Hook]:
        return await self._skin.hooks()

    async def register(self, url: str, secret: str) -> None:
        await self._skin.register(url, secret)

    async def unregister(self, url: str) -> None:
        await self._skin.unregister(url)

    async def close(self) -> None:
        await self._skin.close()
