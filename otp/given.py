"""A site's own code, delivered to one of its accounts: its digits are never stored, and never verified here."""

from __future__ import annotations

from dataclasses import field
from typing import Final

from otp.account_calls import AccountCalls
from otp.errors import (
    CodeNotDelivered,
    DeliveryFailed,
    DeliveryUnknown,
    MessengerUnavailable,
    RateLimited,
    SubscriberNotFound,
)
from otp.model import Caller, Channel, CodeTerms, Delivery
from otp.service import OtpService
from otp.values import value

LONGEST_PAUSE_S: Final = 5
"""Who waits for us to be tried again holds up what is behind: so long, and no longer, are they asked to wait."""


@value
class GivenCode:
    """A code that is not ours."""

    digits: str = field(repr=False)
    source: str
    """Who made it (`kratos`)."""
    wanted_for: str
    """What the person is doing (`login`): the sentences have a word for it."""
    minutes: int
    """How long it lives at most."""

    @property
    def terms(self) -> CodeTerms:
        """As a delivery has them. Guesses are counted elsewhere."""
        return CodeTerms(f"{self.source}.{self.wanted_for}", self.minutes, 1, len(self.digits))


@value
class Handed:
    """What became of a code that was handed over."""

    certainly: bool
    """Whether the messenger said that it took it; else it may have arrived, and must not be sent again."""
    channel: Channel
    subscriber_id: str


class GivenCodes:
    """The use cases around codes that are not ours, in the halves of `api.operations.Later`."""

    def __init__(self, service: OtpService) -> None:
        self._service = service

    async def claim(
        self, caller: Caller, external_id: str, code: GivenCode, after: Delivery | None = None
    ) -> Delivery:
        """What is to be sent, committed: as `AccountCalls.claim`. Raises `CodeNotDelivered` where the limit is reached."""
        try:
            return await AccountCalls(self._service).claim(
                caller, external_id, code.terms, None, reuse=False, after=after, given=code.digits
            )
        except RateLimited:
            # The code would be dead by then, and whoever waits that long for one person lets all others wait.
            raise CodeNotDelivered("Too many codes were sent to this person lately.") from None
        except MessengerUnavailable as error:
            raise _soon(error) from None

    async def told(self, caller: Caller, settled: Delivery | None) -> Handed:
        """What became of it. Raises what else it came to, as `OtpService.told` does, but for an unknown outcome."""
        whose = settled.subscriber_id if settled is not None else ""
        try:
            await self._service.told(caller, whose, settled)
            certainly = True
        except DeliveryUnknown:
            certainly = False
        except DeliveryFailed as error:
            raise CodeNotDelivered(error.detail) from None
        except MessengerUnavailable as error:
            raise _soon(error) from None
        if settled is None:
            raise SubscriberNotFound("Who was linked to this account was forgotten meanwhile.")
        return Handed(certainly, settled.person.channel, whose)


def _soon(error: MessengerUnavailable) -> MessengerUnavailable:
    wait = LONGEST_PAUSE_S if error.retry_after is None else min(error.retry_after, LONGEST_PAUSE_S)
    return MessengerUnavailable(error.detail, retry_after=wait)
