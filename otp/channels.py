"""How each messenger is, for a site that wants to send people to one that works. Pure, and judged from memory alone.

What is known of a channel lies in two places: who looks after the bots knows the token and the way in (`Bots`), the
breaker knows whether codes go out. Here both become one word; `otp.service` and `otp.hosted` tell it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, Protocol

from otp.breaker import Breaker
from otp.model import Channel
from otp.ports import Tx

Auto = Literal["auto"]
AUTO: Final = "auto"
"""In place of a channel: whichever works."""


class Health(StrEnum):
    """Whether somebody who taps there now will get a code soon."""

    OK = "ok"
    """As far as is known."""
    DEGRADED = "degraded"
    """Probably not."""
    OFF = "off"
    """The channel has no token."""


class Bots(Protocol):
    """Who the bots are, of the channels that are on, and how they are."""

    def names(self) -> dict[Channel, str | None]:
        """Each channel with its bot's user name, None while this process does not know it."""
        ...

    def is_sound(self, channel: Channel) -> bool:
        """Whether nothing speaks against it: the messenger answered, took the token, and brings us what people do."""
        ...

    async def recall(self, tx: Tx) -> None:
        """Look for the names that are missing where this or another process kept them."""
        ...


def health(bots: Bots, breakers: Mapping[Channel, Breaker]) -> dict[Channel, Health]:
    """How each channel is now, as far as this process knows.

    Whoever taps gets a code when all of this holds: there is a name to make a link of, the messenger brings us the
    tap, and codes go out.
    """
    names = bots.names()

    def judged(channel: Channel) -> Health:
        if channel not in names:
            return Health.OFF
        breaker = breakers.get(channel)
        goes_out = breaker is None or breaker.is_hopeful
        works = bool(names[channel]) and bots.is_sound(channel) and goes_out
        return Health.OK if works else Health.DEGRADED

    return {channel: judged(channel) for channel in Channel}


def rehearsed(bots: Bots) -> dict[Channel, Health]:
    """The same for test mode, where no messenger is called: what is on works."""
    names = bots.names()
    return {channel: Health.OK if channel in names else Health.OFF for channel in Channel}


def offered(names: Mapping[Channel, str | None], found: Mapping[Channel, Health]) -> dict[Channel, str]:
    """The bots to send people to: those that work, else all that can be reached at all."""
    reached = {channel: name for channel, name in names.items() if name}
    return {one: name for one, name in reached.items() if found[one] is Health.OK} or reached
