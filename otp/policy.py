"""Limits and times, with the source of each, and the arithmetic on them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from otp.model import Cause, Channel, CodeTerms
from otp.values import value

SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

REQUEST_LIFE_MS: Final = 900 * SECOND_MS
"""A link can be opened for 15 minutes (API document: `request_id lives for 15 min`)."""
REQUEST_GRACE_MS: Final = 15 * SECOND_MS
"""A delivery claimed in time may end this much after its request's end."""
REQUEST_KEPT_MS: Final = 24 * HOUR_MS
"""Finished requests stay readable for 24 hours."""
UNOPENED_KEPT_MS: Final = HOUR_MS
"""Those that nobody ever opened, for an hour: most of what a flood leaves behind."""
CALL_KEYS_KEPT_MS: Final = 24 * HOUR_MS
"""An `Idempotency-Key` is free again after this."""
UPDATE_KEYS_KEPT_MS: Final = 48 * HOUR_MS
"""Longer than any messenger redelivers an update (Telegram 24 hours, MAX about 20)."""

DEFAULT_TTL_MINUTES: Final = 5
MAX_TTL_MINUTES: Final = 30
SEND_ATTEMPTS: Final = 5
REQUEST_ATTEMPTS: Final = 3
MAX_ATTEMPTS: Final = 10
DEFAULT_LENGTH: Final = 6
LENGTHS: Final = (4, 6, 8)
DEFAULT_PURPOSE: Final = "login"
"""All from the API document and its additions."""

MAX_PURPOSES: Final = 5
"""Codes for different purposes that may live at once per subscriber."""

SEND_PATIENCE_MS: Final = 15 * SECOND_MS
"""`/send` answers within this time, and tries again within it what certainly did not arrive."""
ATTEMPT_TIMEOUT_MS: Final = 10 * SECOND_MS
"""One call of a messenger, at most."""
FIRST_PATIENCE_MS: Final = 10 * SECOND_MS
"""Of a `/send` with another channel to fall back on: what is left of `SEND_PATIENCE_MS` is the other's."""
MIN_ATTEMPT_MS: Final = 1 * SECOND_MS
"""With less time than this left no further attempt begins."""
WORTH_SENDING_MS: Final = 15 * SECOND_MS
"""A code with less time than this left is not sent again: nobody could type it in time."""
ORPHAN_MS: Final = 20 * SECOND_MS
"""An attempt without a result for this long belongs to a dead process: its outcome is unknown."""

PHONE_CHANNELS: Final = frozenset({Channel.TELEGRAM})
"""Messengers that prove whose contact it is. Of MAX's contact button no check is documented."""
PHONE_ASKED_MS: Final = 15 * MINUTE_MS
"""A question for a phone number can be answered for as long as a link can be opened."""

BACKOFF_MS: Final = (1 * SECOND_MS, 2 * SECOND_MS, 4 * SECOND_MS)
"""Waits between attempts that certainly did not arrive; the last one repeats (MAX: 'back off 1, 2, 4 s')."""


@value
class Policy:
    """The operator's choices."""

    max_ttl_minutes: int = MAX_TTL_MINUTES
    send_limit: int = 5
    send_window_ms: int = 600 * SECOND_MS
    guess_budget: int = 50
    """NIST SP 800-63B-4 section 3.2.2: no more than 100 failed attempts in a row with one authenticator."""
    shortest_code: int = LENGTHS[0]
    """Digits."""

    @property
    def default_ttl_minutes(self) -> int:
        """The default under the operator's cap."""
        return min(DEFAULT_TTL_MINUTES, self.max_ttl_minutes)

    def strict(self) -> Policy:
        """The same choices, as far as they are no looser than `STRICT`."""
        return Policy(
            max_ttl_minutes=min(self.max_ttl_minutes, STRICT.max_ttl_minutes),
            send_limit=min(self.send_limit, STRICT.send_limit),
            send_window_ms=max(self.send_window_ms, STRICT.send_window_ms),
            guess_budget=min(self.guess_budget, STRICT.guess_budget),
            shortest_code=max(self.shortest_code, STRICT.shortest_code),
        )

    def within(self, terms: CodeTerms) -> CodeTerms:
        """What was asked of a code under looser limits than these, as it is granted now."""
        return replace(
            terms,
            ttl_minutes=min(terms.ttl_minutes, self.max_ttl_minutes),
            length=max(terms.length, self.shortest_code),
        )


STRICT: Final = Policy(max_ttl_minutes=10, guess_budget=50, shortest_code=6)
"""`PROFILE=strict`. Ten minutes: NIST SP 800-63B-4 section 3.1.3.2, OWASP ASVS 5.0 6.5.5. Six digits: 3.1.3.2, 6.5.4.
Fifty wrong codes: an account with both messengers stays within the hundred of 3.2.2. Five messages in ten minutes: the
default, as 6.6.4 gives no number."""


def by_tap(cause: Cause) -> bool:
    """Whether the person asked for it in the chat: these have a send window of their own."""
    return cause is not Cause.SEND


def backoff_ms(tries: int) -> int:
    """How long to wait after the given number of attempts (1 or more)."""
    return BACKOFF_MS[min(tries, len(BACKOFF_MS)) - 1]


def wait_for_room(spent: Sequence[int], *, limit: int, window_ms: int, now: int) -> int | None:
    """Milliseconds until one more message fits into the sliding window; None when it fits now.

    `spent` holds the times of the messages that count, in any order; what is older than the window is ignored.
    """
    inside = sorted(at for at in spent if at > now - window_ms)
    if len(inside) < limit:
        return None
    return max(1, inside[len(inside) - limit] + window_ms - now)


def whole_seconds(ms: int) -> int:
    """Milliseconds as seconds, rounded up, at least 1: what `Retry-After` says."""
    return max(1, -(-ms // SECOND_MS))


def whole_minutes(ms: int) -> int:
    """Milliseconds as minutes, rounded up, at least 1: what people are told."""
    return max(1, -(-ms // MINUTE_MS))
