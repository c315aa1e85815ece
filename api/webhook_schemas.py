"""The bodies of the calls around webhooks and events, in and out."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from api import schemas
from api.schemas import SHOWN_PATTERN, Body
from otp.endpoints import PUBLIC_URL_PATTERN, URL_LENGTH
from otp.notices import TYPES, EventType

WEBHOOK_ID_PATTERN: Final = "^we_[A-Za-z0-9]{24}$"
EVENT_ID_PATTERN: Final = "^evt_[0-9a-f]{32}$"
LONGEST_PAGE: Final = 100
DEFAULT_PAGE: Final = 50
LONGEST_DESCRIPTION: Final = 200


def _absent() -> Any:
    """The value of a field that was not given; `null` is refused all the same."""
    return None


def _once_each(types: list[str]) -> list[str]:
    if len(set(types)) < len(types):
        raise ValueError("must name each type once")
    return types


WebhookId = Annotated[
    str, StringConstraints(pattern=WEBHOOK_ID_PATTERN), Field(examples=["we_4fKq9xV3mN2pT7rL8sB1cD2e"])
]
EventId = Annotated[
    str,
    StringConstraints(pattern=EVENT_ID_PATTERN),
    Field(
        description="The same at every attempt, and at every webhook",
        examples=["evt_019acdd2b1c200008f3a1b2c4d5e6f70"],
    ),
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-29T03:15:00.250Z"])]
Secret = Annotated[
    str,
    Field(
        repr=False,
        pattern="^whsec_[A-Za-z0-9+/]{43}=$",
        description="Signs the events (Standard Webhooks). Told only now: keep it",
    ),
]


class WebhookBody(Body):
    """Have events sent to an address."""

    url: Annotated[str, Field(max_length=URL_LENGTH, repr=False)] = Field(
        description="https, with a domain name that leads into no private network; no user, no fragment",
        examples=["https://shop.example/tapcode"],
        json_schema_extra={"format": "uri", "pattern": PUBLIC_URL_PATTERN},
    )
    events: Annotated[
        list[EventType],
        Field(min_length=1, max_length=len(TYPES), json_schema_extra={"uniqueItems": True}),
        AfterValidator(_once_each),
    ] = Field(default_factory=_absent, description="Only these types; all, also those to come, when left out")
    description: Annotated[
        str,
        StringConstraints(min_length=1, max_length=LONGEST_DESCRIPTION),
        AfterValidator(schemas._shown),
        Field(json_schema_extra={"pattern": SHOWN_PATTERN.replace(r"\ud800-\udfff", "")}),
    ] = Field(default_factory=_absent, description="For you", examples=["the shop's backend"])


class NothingBody(Body):
    """Nothing: `{}`, or no body at all."""


class RedeliverBody(Body):
    """Which webhook shall hear of it again."""

    webhook_id: WebhookId = Field(
        default_factory=_absent, description="All that were to hear of it when left out"
    )


class Webhook(BaseModel):
    """Where events go."""

    id: WebhookId
    url: str
    events: list[EventType] = Field(default_factory=_absent, description="Absent: all")
    description: str = Field(default_factory=_absent)
    status: Literal["enabled", "disabled"]
    disabled_reason: Literal["gone", "failing"] = Field(
        default_factory=_absent,
        description="`gone`: it answered 410; `failing`: nothing arrived for three days",
    )
    disabled_at: Time = Field(default_factory=_absent)
    failing_since: Time = Field(
        default_factory=_absent, description="There while nothing arrives: the first failure"
    )
    created_at: Time


class NewWebhook(Webhook):
    """A webhook, and its secret, which a replay of this answer leaves out."""

    secret: Secret = Field(default_factory=_absent)


class WebhookList(BaseModel):
    """All webhooks, oldest first."""

    webhooks: list[Webhook]


class DeletedWebhook(BaseModel):
    """It is gone, with what it was not yet told."""

    id: WebhookId
    deleted: Literal[True]


class RotatedSecret(BaseModel):
    """The new secret signs from now on. A replay of this answer leaves it out."""

    id: WebhookId
    secret: Secret = Field(default_factory=_absent)
    old_secret_until: Time = Field(description="Until then the old one signs too")


class ListedEvent(BaseModel):
    """An event, and what became of it at one webhook."""

    id: EventId
    webhook_id: WebhookId
    type: EventType
    timestamp: Time
    data: dict[str, Any]
    status: Literal["pending", "delivered", "failed"]
    attempts: int = Field(ge=0, description="Begun so far")
    last_result: str = Field(
        default_factory=_absent,
        description="An HTTP status, or `timeout`, `unreachable`, `certificate`, `tls`, `unreadable`, "
        "`address_not_allowed`, `secret_key_gone`",
        examples=["200"],
    )
    next_attempt_at: Time = Field(default_factory=_absent, description="With `pending`, at the earliest")
    settled_at: Time = Field(default_factory=_absent, description="With `delivered` and `failed`")


class EventList(BaseModel):
    """Events, newest first."""

    events: list[ListedEvent]
    next: EventId = Field(
        default_factory=_absent, description="There while there may be more: pass it as `before`"
    )


class Redelivered(BaseModel):
    """It will be told again, from now on."""

    id: EventId
    webhooks: int = Field(ge=1, description="How many will hear of it")


class EventData(BaseModel):
    """What is known of it, and what it is about. Never a code."""

    request_id: schemas.RequestId = Field(default_factory=_absent)
    subscriber_id: schemas.SubscriberId = Field(default_factory=_absent)
    channel: schemas.ChannelName = Field(default_factory=_absent)
    purpose: str = Field(
        default_factory=_absent,
        pattern="^[a-z0-9_.-]{1,32}$",
        description="With a dot where the code was not ours: `kratos.login`",
    )
    reason: Literal["gone", "rejected", "unavailable", "withdrawn", "unknown"] = Field(
        default_factory=_absent, description="With `otp.failed`"
    )
    attempts_left: int = Field(default_factory=_absent, ge=0, description="With `otp.wrong_code`")
    test: Literal[True] = Field(default_factory=_absent, description="There when it is no real one")


class SentEvent(BaseModel):
    """What a webhook gets. Later versions may add types and fields: ignore those you do not know."""

    type: EventType
    timestamp: Time = Field(description="When it happened")
    data: EventData
