"""Events that the service sends to a webhook: whether to believe them, and what they say.

The check is the one of Standard Webhooks (https://www.standardwebhooks.com/).
An event says what happened, not who somebody is.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypedDict, cast

from tapcode_client._reading import Fields, Unreadable
from tapcode_client.errors import InvalidEvent, Problem
from tapcode_client.results import Channel

TOLERANCE_SECONDS = 300
"""How far the time of an event may be from ours, either way; of the specification's reference libraries."""
SHORTEST_SECRET = 24
"""Bytes, of the specification."""

FailureReason = Literal["gone", "rejected", "unavailable", "withdrawn", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. This class itself stands for types that this version does not know: ignore those."""

    id: str
    """The same at every attempt: remember the ids of a few days, and drop what you know."""
    type: str
    timestamp: datetime
    request_id: str | None
    """None for codes of `send`."""
    subscriber_id: str | None
    channel: Channel | None
    purpose: str | None
    test: bool


class OtpSent(Event):
    """A messenger took a code."""

    __slots__ = ()


class OtpVerified(Event):
    """A code was accepted."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpFailed(Event):
    """A delivery was refused, or nobody knows."""

    reason: FailureReason


@dataclass(frozen=True, slots=True, kw_only=True)
class OtpWrongCode(Event):
    """A wrong code was counted."""

    attempts_left: int


class OtpExhausted(Event):
    """No attempts are left, the code is dead."""

    __slots__ = ()


class OtpCancelled(Event):
    """A request was cancelled."""

    __slots__ = ()


class OtpExpired(Event):
    """A request expired."""

    __slots__ = ()


class OtpReported(Event):
    """The person pressed "It wasn't me"."""

    __slots__ = ()


class SubscriberJoined(Event):
    """A person subscribed."""

    __slots__ = ()


class SubscriberLeft(Event):
    """A person left, or blocked the bot."""

    __slots__ = ()


class SubscriberWasLocked(Event):
    """Too many wrong codes in a row."""

    __slots__ = ()


class SubscriberUnlocked(Event):
    """The person unlocked."""

    __slots__ = ()


class SubscriberRelinked(Event):
    """Another person took an account over."""

    __slots__ = ()


PLAIN: Mapping[str, type[Event]] = {
    "otp.sent": OtpSent,
    "otp.verified": OtpVerified,
    "otp.exhausted": OtpExhausted,
    "otp.cancelled": OtpCancelled,
    "otp.expired": OtpExpired,
    "otp.reported": OtpReported,
    "subscriber.joined": SubscriberJoined,
    "subscriber.left": SubscriberLeft,
    "subscriber.locked": SubscriberWasLocked,
    "subscriber.unlocked": SubscriberUnlocked,
    "subscriber.relinked": SubscriberRelinked,
}
"""Types that carry nothing of their own; `otp.failed` and `otp.wrong_code` are the others."""


def verify_event(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    now: Callable[[], float] = time.time,
) -> Event:
    """The event, when it comes from the service, is unchanged and recent. Give the body's very bytes.

    While a secret is rotated, give both: one signature that fits one of them is enough. Raises InvalidEvent.
    """
    given = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent_at, signatures = (
            given[f"webhook-{name}"] for name in ("id", "timestamp", "signature")
        )
    except KeyError as missing:
        raise _invalid("missing_header", f"there is no header {missing.args[0]}") from None
    if re.fullmatch(r"[0-9]{1,12}", sent_at) is None or abs(now() - int(sent_at)) > TOLERANCE_SECONDS:
        raise _invalid("stale_event", "its time is more than five minutes from ours")
    signed = f"{message_id}.{sent_at}.".encode() + body
    secrets = [secret] if isinstance(secret, str) else list(secret)
    if not _fits([_sign(_key(one), signed) for one in secrets], signatures):
        raise _invalid("bad_signature", "no signature fits")
    try:
        return _read(message_id, Fields.parse(body))
    except Unreadable:
        raise _invalid("malformed_event", "signed, but it can't be read") from None


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if len(key) < SHORTEST_SECRET:  # an empty setting must not let everybody sign
        raise ValueError("a secret is whsec_ and base64 of at least 24 bytes")
    return key


def _sign(key: bytes, signed: bytes) -> bytes:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())


def _fits(expected: Sequence[bytes], signatures: str) -> bool:
    told = [
        one.removeprefix("v1,").encode(errors="replace")
        for one in signatures.split()
        if one.startswith("v1,")
    ]
    return any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in told)


class _Common(TypedDict):
    id: str
    type: str
    timestamp: datetime
    request_id: str | None
    subscriber_id: str | None
    channel: Channel | None
    purpose: str | None
    test: bool


def _read(message_id: str, told: Fields) -> Event:
    data, kind = told.fields("data"), told.text("type")
    common = _Common(
        id=message_id,
        type=kind,
        timestamp=told.time("timestamp"),
        request_id=data.text_or_none("request_id"),
        subscriber_id=data.text_or_none("subscriber_id"),
        channel=cast("Channel | None", data.text_or_none("channel")),
        purpose=data.text_or_none("purpose"),
        test=data.flag("test"),
    )
    if kind == "otp.failed":
        return OtpFailed(**common, reason=cast("FailureReason", data.text("reason")))
    if kind == "otp.wrong_code":
        return OtpWrongCode(**common, attempts_left=data.integer("attempts_left"))
    return PLAIN.get(kind, Event)(**common)


def _invalid(code: str, detail: str) -> InvalidEvent:
    return InvalidEvent(Problem(code=code, detail=detail))
