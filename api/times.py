"""Times as the API tells them."""

from __future__ import annotations

from datetime import UTC, datetime

from otp.policy import SECOND_MS


def rfc3339(at: int) -> str:
    """A time in ms since the epoch, in UTC: "2026-11-29T03:07:05.120Z"."""
    seconds, ms = divmod(at, SECOND_MS)
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat()[:19]}.{ms:03d}Z"
