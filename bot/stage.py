"""A messenger beside which the people of test mode are played: nothing that is meant for them ever leaves."""

from __future__ import annotations

from collections.abc import Sequence

from bot.events import Event, Pressed
from bot.messages import Message
from bot.messenger import Fetched, Hook, Introduction, Skin
from otp.model import Channel, Person, Refusal
from otp.ports import Accepted, Outcome, Randomness, Refused, Unknown
from otp.stage import Role, role


def played(user_id: int, message_id: str) -> Outcome:
    """What becomes of a message to somebody of test mode."""
    match role(Person(Channel.TELEGRAM, user_id)):
        case Role.BLOCKED:
            return Refused(Refusal.GONE)
        case Role.DOWN:
            return Refused(Refusal.UNAVAILABLE)  # at once: nobody's tests shall wait 15 seconds
        case Role.UNKNOWN:
            return Unknown()
        case _:
            return Accepted(message_id)


class StagedSkin:
    """See `bot.messenger.Skin`."""

    def __init__(self, skin: Skin, randomness: Randomness) -> None:
        self._skin = skin
        self._randomness = randomness
        self.channel = skin.channel
        self.secret_header = skin.secret_header
        self.replaces_hook = skin.replaces_hook
        self.trusts = skin.trusts

    def parse(self, body: bytes) -> Event | None:
        return self._skin.parse(body)

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        if user_id < 0:
            return played(user_id, self._randomness.text(12))
        return await self._skin.send(user_id, message, timeout_ms)

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        await self._skin.answer(pressed, popup, message)

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        if user_id < 0:
            return played(user_id, message_id)
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
