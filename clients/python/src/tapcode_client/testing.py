"""Test mode (a `tc_test_` key), by name: its code, and the six subscribers that play the outcomes of a `send`.

The person of a request is played by the clients' `play_consent`, `play_cancel`, `play_report`, `play_phone`,
`play_skip` and `play_expire`.
"""

from __future__ import annotations

from typing import Final

_DIGITS: Final = "42424242"

DELIVERED: Final = "00000000-0000-4000-8000-000000000001"
"""Delivered, without any limit of messages."""
BLOCKED: Final = "00000000-0000-4000-8000-000000000002"
"""Has blocked the bot: SubscriberNotFound."""
RATE_LIMITED: Final = "00000000-0000-4000-8000-000000000003"
"""RateLimited."""
MESSENGER_DOWN: Final = "00000000-0000-4000-8000-000000000004"
"""MessengerUnavailable."""
DELIVERY_UNKNOWN: Final = "00000000-0000-4000-8000-000000000005"
"""DeliveryUnknown; the code lives."""
LOCKED: Final = "00000000-0000-4000-8000-000000000006"
"""SubscriberLocked; `verify` answers `locked`."""


def played_code(length: int = 6) -> str:
    """The code of every request and `send` in test mode."""
    return _DIGITS[:length]
