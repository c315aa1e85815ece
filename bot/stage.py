"""A messenger beside which the people of test mode are played: nothing that is meant for them ever leaves."""

from __future__ import annotations

from bot.around import SkinAround
from bot.messages import Message
from bot.messenger import Skin
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


class StagedSkin(SkinAround):
    """Messages to the people of test mode stay here."""

    def __init__(self, skin: Skin, randomness: Randomness) -> None:
        super().__init__(skin)
        self._randomness = randomness

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        if user_id < 0:
            return played(user_id, self._randomness.text(12))
        return await super().send(user_id, message, timeout_ms)

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        if user_id < 0:
            return played(user_id, message_id)
        return await super().edit(user_id, message_id, message, timeout_ms)
