"""What a site is told of: which change brings which event of the API. Ids and words, never a code, never a context."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, get_args

from otp import stage
from otp.events import (
    CodeReported,
    CodeVerified,
    DeliverySettled,
    Event,
    RequestFinished,
    SubscriberJoined,
    SubscriberLeft,
    SubscriberLocked,
    SubscriberRelinked,
    SubscriberUnlocked,
    WrongCode,
)
from otp.model import DeliveryState, Mode, RequestStatus
from otp.values import value

EventType = Literal[
    "otp.sent",
    "otp.verified",
    "otp.failed",
    "otp.wrong_code",
    "otp.exhausted",
    "otp.cancelled",
    "otp.expired",
    "otp.reported",
    "subscriber.joined",
    "subscriber.left",
    "subscriber.locked",
    "subscriber.unlocked",
    "subscriber.relinked",
]
"""All that an endpoint may ask for."""
TYPES: Final[tuple[EventType, ...]] = get_args(EventType)


@value
class Notice:
    """An event of the API, for whoever wants to hear of it."""

    type: str
    project_id: str
    mode: Mode
    data: Mapping[str, Any]


_OF_SUBSCRIBERS: Final[Mapping[type, str]] = {
    SubscriberJoined: "subscriber.joined",
    SubscriberLeft: "subscriber.left",
    SubscriberLocked: "subscriber.locked",
    SubscriberUnlocked: "subscriber.unlocked",
    SubscriberRelinked: "subscriber.relinked",
}
"""Changes that hold a `subscriber` and tell no more than who it is: another one is another line."""
_OF_REQUESTS: Final = {RequestStatus.CANCELLED: "otp.cancelled", RequestStatus.EXPIRED: "otp.expired"}


def notices_of(event: Event) -> list[Notice]:
    """What a change is to the outside; most are nothing."""
    if type(event) in _OF_SUBSCRIBERS:
        return _of_subscriber(event)
    made = _MAKERS.get(type(event))
    return made(event) if made is not None else []


def _notice(type_: str, project_id: str, mode: Mode, **data: Any) -> Notice:
    """Without what is not known; a test says that it is one."""
    known = {name: value for name, value in data.items() if value is not None}
    if mode is Mode.TEST:
        known["test"] = True
        if "subscriber_id" in known:
            known["subscriber_id"] = stage.shown_id(known["subscriber_id"], project_id)
    return Notice(type_, project_id, mode, known)


def _of_subscriber(event: Any) -> list[Notice]:
    who = event.subscriber
    type_ = _OF_SUBSCRIBERS[type(event)]
    return [_notice(type_, who.project_id, who.mode, subscriber_id=who.id, channel=who.person.channel)]


def _of_request(event: RequestFinished) -> list[Notice]:
    request = event.request
    if request is None or event.status not in _OF_REQUESTS:
        return []  # `sent` is told with its delivery
    channel = request.bound_to.channel if request.bound_to else request.channel
    about = {"request_id": request.id, "channel": channel, "purpose": request.terms.purpose}
    return [_notice(_OF_REQUESTS[event.status], request.project_id, request.mode, **about)]


def _of_delivery(event: DeliverySettled) -> list[Notice]:
    sent = event.delivery
    if event.mode is None:
        return []  # its subscriber is gone
    about = {
        "request_id": sent.request_id,
        "subscriber_id": sent.subscriber_id,
        "channel": sent.person.channel,
        "purpose": sent.terms.purpose,
    }
    if sent.state is DeliveryState.ACCEPTED:
        return [_notice("otp.sent", sent.project_id, event.mode, **about)]
    reason = sent.refusal or sent.state  # `unknown` is a state of its own
    return [_notice("otp.failed", sent.project_id, event.mode, **about, reason=reason)]


def _about_code(event: CodeVerified | WrongCode) -> dict[str, Any]:
    return {
        "request_id": event.request_id,
        "subscriber_id": event.subscriber_id,
        "channel": event.channel,
        "purpose": event.purpose,
    }


def _of_verified(event: CodeVerified) -> list[Notice]:
    return [_notice("otp.verified", event.project_id, event.mode, **_about_code(event))]


def _of_wrong_code(event: WrongCode) -> list[Notice]:
    about, left = _about_code(event), event.attempts_left
    counted = _notice("otp.wrong_code", event.project_id, event.mode, **about, attempts_left=left)
    return [counted] if left else [counted, _notice("otp.exhausted", event.project_id, event.mode, **about)]


def _of_report(event: CodeReported) -> list[Notice]:
    who = event.subscriber
    about = {"request_id": event.request_id, "subscriber_id": who.id, "channel": who.person.channel}
    return [_notice("otp.reported", who.project_id, who.mode, **about, purpose=event.purpose)]


_MAKERS: Final[Mapping[type, Callable[[Any], list[Notice]]]] = {
    RequestFinished: _of_request,
    DeliverySettled: _of_delivery,
    CodeVerified: _of_verified,
    WrongCode: _of_wrong_code,
    CodeReported: _of_report,
}


def rfc3339(at: int) -> str:
    """A time as the outside reads it: `2026-11-29T03:15:00.250Z`."""
    return f"{_second(at // 1000)}.{at % 1000:03d}Z"


@lru_cache(maxsize=1024)
def _second(at: int) -> str:
    """Whoever polls reads the same few times again and again."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}"
