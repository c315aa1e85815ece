"""What the service answers, as frozen values. What must not be logged is left out of their `repr`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, cast

from tapcode_client._reading import Fields

Channel = Literal["telegram", "max"]
ChannelHealth = Literal["ok", "degraded", "off"]
"""Take one that you do not know, of a later service, for `degraded`."""
RequestState = Literal["pending", "sent", "cancelled", "expired"]
Refusal = Literal["locked", "no_active_code", "malformed_code", "wrong_code"]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Who is asking, shown to the person in one line: texts of 1-64 characters, `ip` an address. All optional."""

    ip: str | None = None
    location: str | None = None
    device: str | None = None
    action: str | None = None
    amount: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The hosted page of a request: `return_url` is an address that the project registered, or below one."""

    return_url: str
    state: str | None = None
    """Goes back with the person, as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """How each messenger was when the request was made."""

    telegram: ChannelHealth
    max: ChannelHealth

    @classmethod
    def read(cls, told: Fields | None) -> Channels:
        """From the answer; a service that does not say yet (0.3) knows nothing against them."""
        if told is None:
            return cls(telegram="ok", max="ok")
        return cls(
            telegram=cast("ChannelHealth", told.text("telegram")),
            max=cast("ChannelHealth", told.text("max")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """Links to show. Keep `request_id` in the session of the browser that asked, and nowhere else."""

    request_id: str
    pairing_code: str = field(repr=False)
    """Typed into the chat it does the same as the link; show it beside the MAX link."""
    match_number: str | None = field(repr=False)
    """With `match`: show it, the person must press it among three."""
    telegram_link: str | None = field(repr=False)
    max_link: str | None = field(repr=False)
    expires_in: int
    """Seconds the links live."""
    channels: Channels
    """How each messenger is: whoever goes to one that is not `ok` will probably get no code soon."""
    test: bool
    page_url: str | None = field(repr=False)
    """With `page`: send the person there."""
    client_token: str | None = field(repr=False)
    """With `page`: for a browser; opens this request's page and nothing else."""

    @property
    def links(self) -> dict[Channel, str]:
        """The links that there are, in the order to show them: those of messengers that are `ok` first."""
        links = {"telegram": self.telegram_link, "max": self.max_link}
        order = sorted(links, key=lambda one: getattr(self.channels, one) != "ok")
        return {cast("Channel", one): link for one in order if (link := links[one]) is not None}

    @property
    def chat_text(self) -> str:
        """What does the same as the link when it is pasted into the chat."""
        return f"otp_{self.request_id}"

    @classmethod
    def read(cls, told: Fields) -> CodeRequest:
        """From the answer."""
        return cls(
            request_id=told.text("request_id"),
            pairing_code=told.text("pairing_code"),
            match_number=told.text_or_none("match_number"),
            telegram_link=told.text_or_none("telegram_link"),
            max_link=told.text_or_none("max_link"),
            expires_in=told.integer("expires_in"),
            channels=Channels.read(told.fields_or_none("channels")),
            test=told.flag("test"),
            page_url=told.text_or_none("page_url"),
            client_token=told.text_or_none("client_token"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What became of a request. `sent` says that a code was delivered to somebody, not who somebody is."""

    status: RequestState
    subscriber_id: str | None
    """There once `sent`. Store it only after `verify` said `verified`."""
    channel: Channel | None
    created_at: datetime
    expires_at: datetime
    sent_at: datetime | None
    verified: bool
    """For records and support; let nobody in by it, but by the answer of `verify`."""
    verified_at: datetime | None
    reported: bool
    """The person said that it was not them: distrust whoever asked."""
    test: bool
    phone: str | None = field(repr=False)
    """With `phone="ask"`, once shared: E.164. Told in one answer only, so keep it."""
    phone_pending: bool
    """The person is asked for their number and has not answered: read again in two seconds."""
    proof: str | None = field(repr=False)
    """With `page`, once verified: let in only the browser that comes back with the same `proof`."""

    @classmethod
    def read(cls, told: Fields) -> Status:
        """From the answer."""
        return cls(
            status=cast("RequestState", told.text("status")),
            subscriber_id=told.text_or_none("subscriber_id"),
            channel=cast("Channel | None", told.text_or_none("channel")),
            created_at=told.time("created_at"),
            expires_at=told.time("expires_at"),
            sent_at=told.time_or_none("sent_at"),
            verified=told.flag("verified"),
            verified_at=told.time_or_none("verified_at"),
            reported=told.flag("reported"),
            test=told.flag("test"),
            phone=told.text_or_none("phone"),
            phone_pending=told.flag("phone_pending"),
            proof=told.text_or_none("proof"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """The messenger took the message."""

    expires_in_seconds: int
    reused: bool | None
    """With `reuse`: whether this is the code that lived already."""
    channel: Channel | None
    """With `external_id`: through which messenger."""
    subscriber_id: str | None
    """With `external_id`: to whom."""
    test: bool

    @classmethod
    def read(cls, told: Fields) -> Sent:
        """From the answer."""
        return cls(
            expires_in_seconds=told.integer("expires_in_seconds"),
            reused=told.flag_or_none("reused"),
            channel=cast("Channel | None", told.text_or_none("channel")),
            subscriber_id=told.text_or_none("subscriber_id"),
            test=told.flag("test"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the code was accepted. It is true or false itself: `if client.verify(...):`."""

    verified: bool
    reason: Refusal | None
    attempts_left: int | None
    test: bool

    def __bool__(self) -> bool:
        return self.verified

    @classmethod
    def read(cls, told: Fields) -> Verification:
        """From the answer."""
        verified = told.flag("verified")
        return cls(
            verified=verified,
            reason=None if verified else cast("Refusal", told.text("reason")),
            attempts_left=None if verified else told.integer("attempts_left"),
            test=told.flag("test"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """Somebody who agreed to get codes of this project."""

    channel: Channel
    language: str
    subscribed_at: datetime
    locked: bool
    external_id: str | None
    phone: str | None = field(repr=False)
    """Where the operator lets the project keep it: what they shared last."""

    @classmethod
    def read(cls, told: Fields) -> Subscriber:
        """From the answer."""
        return cls(
            channel=cast("Channel", told.text("channel")),
            language=told.text("language"),
            subscribed_at=told.time("subscribed_at"),
            locked=told.flag("locked"),
            external_id=told.text_or_none("external_id"),
            phone=told.text_or_none("phone"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where events go."""

    id: str
    url: str
    events: tuple[str, ...] | None
    """None: all types, also those to come."""
    description: str | None
    status: Literal["enabled", "disabled"]
    disabled_reason: Literal["gone", "failing"] | None
    disabled_at: datetime | None
    failing_since: datetime | None
    created_at: datetime
    secret: str | None = field(repr=False)
    """Only in the first answer of `create_webhook`: keep it."""

    @classmethod
    def read(cls, told: Fields) -> Webhook:
        """From the answer."""
        reason = told.text_or_none("disabled_reason")
        return cls(
            id=told.text("id"),
            url=told.text("url"),
            events=told.texts_or_none("events"),
            description=told.text_or_none("description"),
            status=cast("Literal['enabled', 'disabled']", told.text("status")),
            disabled_reason=cast("Literal['gone', 'failing'] | None", reason),
            disabled_at=told.time_or_none("disabled_at"),
            failing_since=told.time_or_none("failing_since"),
            created_at=told.time("created_at"),
            secret=told.text_or_none("secret"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RotatedSecret:
    """The new secret signs from now on; until `old_secret_until` the old one signs too: check with both."""

    id: str
    secret: str | None = field(repr=False)
    """None when the service had answered this call before: then rotate once more, with a new key."""
    old_secret_until: datetime

    @classmethod
    def read(cls, told: Fields) -> RotatedSecret:
        """From the answer."""
        return cls(
            id=told.text("id"),
            secret=told.text_or_none("secret"),
            old_secret_until=told.time("old_secret_until"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEvent:
    """An event, and what became of it at one webhook."""

    id: str
    webhook_id: str
    type: str
    timestamp: datetime
    request_id: str | None
    subscriber_id: str | None
    status: Literal["pending", "delivered", "failed"]
    attempts: int
    last_result: str | None
    next_attempt_at: datetime | None
    settled_at: datetime | None

    @classmethod
    def read(cls, told: Fields) -> ListedEvent:
        """From one row of the answer."""
        data = told.fields("data")
        return cls(
            id=told.text("id"),
            webhook_id=told.text("webhook_id"),
            type=told.text("type"),
            timestamp=told.time("timestamp"),
            request_id=data.text_or_none("request_id"),
            subscriber_id=data.text_or_none("subscriber_id"),
            status=cast("Literal['pending', 'delivered', 'failed']", told.text("status")),
            attempts=told.integer("attempts"),
            last_result=told.text_or_none("last_result"),
            next_attempt_at=told.time_or_none("next_attempt_at"),
            settled_at=told.time_or_none("settled_at"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events, newest first."""

    events: tuple[ListedEvent, ...]
    next: str | None
    """There while there may be more: pass it as `before`."""

    @classmethod
    def read(cls, told: Fields) -> EventPage:
        """From the answer."""
        return cls(
            events=tuple(ListedEvent.read(one) for one in told.all("events")), next=told.text_or_none("next")
        )
