"""What endpoints are told, and how: the values, the signatures of Standard Webhooks, and when something is tried again."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import field
from hashlib import sha256
from typing import Final

from otp.model import Mode
from otp.notices import rfc3339
from otp.policy import HOUR_MS, MINUTE_MS, SECOND_MS
from otp.values import value

SECRET_BYTES: Final = 32
"""Standard Webhooks: 24 to 64 bytes, shown as `whsec_` and base64."""
BOTH_SIGN_MS: Final = 24 * HOUR_MS
"""After a rotation the old secret signs beside the new one for so long."""
TRIED_FOR_MS: Final = 72 * HOUR_MS
"""What could not be delivered for three days is given up, and an endpoint that failed for so long is switched off."""
FAILING_SLACK_MS: Final = 10 * MINUTE_MS
"""The first failure comes a little later than the event: the last try of a lonely one must still count as three days."""
KEPT_MS: Final = 168 * HOUR_MS
"""An event can be looked at and told again for a week after it was given up at the latest."""
RETRIES_MS: Final = (
    4 * SECOND_MS,
    6 * SECOND_MS,  # so the second retry begins within 30 s, even where each attempt takes all of its 10
    2 * MINUTE_MS,
    10 * MINUTE_MS,
    30 * MINUTE_MS,
    1 * HOUR_MS,
    2 * HOUR_MS,
    4 * HOUR_MS,
    8 * HOUR_MS,
    12 * HOUR_MS,
)
"""The longest wait before each retry; the wait itself is anything from nothing to that (full jitter)."""
AT_ONCE: Final = 8
"""Calls of one endpoint that may be open at once; one, when it has been failing for `SLOW_AFTER_MS`."""
SLOW_AFTER_MS: Final = 1 * MINUTE_MS
LONGEST_ASKED_MS: Final = 12 * HOUR_MS
"""Of `Retry-After`: what an endpoint may ask for."""


@value
class Sealed:
    """A secret as it is stored: only somebody with the key of this id can open it."""

    blob: bytes = field(repr=False)
    key_id: str


@value
class Endpoint:
    """An address that wants to hear of events."""

    id: str
    project_id: str
    mode: Mode
    url: str = field(repr=False)
    """It may hold a token of the site's."""
    types: tuple[str, ...]
    """Those that it wants; all when empty."""
    description: str
    created_at: int
    secret: Sealed
    old_secret: Sealed | None = None
    old_until: int | None = None
    failing_since: int | None = None
    """The first failure since something last arrived."""
    disabled_at: int | None = None
    disabled_why: str | None = None
    """`gone`: it said so with 410; `failing`: nothing arrived for three days."""

    def signing(self, now: int) -> list[Sealed]:
        """The secrets that sign now, the newest first."""
        old = self.old_secret if self.old_until is not None and now < self.old_until else None
        return [self.secret] if old is None else [self.secret, old]


@value
class StoredNotice:
    """What an endpoint is to be told, or was."""

    id: str
    endpoint_id: str
    type: str
    happened_at: int
    data: str = field(repr=False)
    """JSON."""
    state: str
    """`pending`, `delivered` or `failed`."""
    due_at: int
    """When it is to be told next; or when it was settled. For whoever took it: until when it is theirs."""
    tries: int
    give_up_at: int
    result: str | None
    """What came of the last try: an HTTP status, or a word."""

    def body(self) -> bytes:
        """What is sent: the same bytes at every try."""
        return f'{{"type": "{self.type}", "timestamp": "{rfc3339(self.happened_at)}", "data": {self.data}}}'.encode()


@value
class NewEndpoint:
    """An endpoint and its secret, which is told only now."""

    endpoint: Endpoint
    secret: str = field(repr=False)


def shown_secret(secret: bytes) -> str:
    """A secret as the site gets it."""
    return f"whsec_{b64encode(secret).decode()}"


def headers(notice_id: str, seconds: int, body: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The three headers of Standard Webhooks, with a signature by each secret."""
    content = f"{notice_id}.{seconds}.".encode() + body
    signatures = [b64encode(hmac.digest(secret, content, sha256)).decode() for secret in secrets]
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def wait_ms(tries: int, drawn: int, asked_ms: int = 0) -> int:
    """How long to wait after so many tries (1 or more): `drawn`, any number, says how much of the longest wait."""
    longest = RETRIES_MS[min(tries, len(RETRIES_MS)) - 1]
    return max(drawn % (longest + 1), min(asked_ms, LONGEST_ASKED_MS))
