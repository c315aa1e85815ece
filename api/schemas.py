"""The bodies of the API, in and out. Strict: no coercion, no unknown fields, `null` is not absent."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
)

from otp.pages import LONGEST_URL, URL_PATTERN
from otp.policy import (
    DEFAULT_LENGTH,
    DEFAULT_PURPOSE,
    DEFAULT_TTL_MINUTES,
    MAX_ATTEMPTS,
    MAX_TTL_MINUTES,
    REQUEST_ATTEMPTS,
    SEND_ATTEMPTS,
)

UUID_PATTERN = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"
REQUEST_ID_PATTERN = "^[A-Za-z0-9]{16}$"


def _absent() -> Any:
    """The value of a field that was not given; `null` is refused all the same."""
    return None


SubscriberId = Annotated[
    str,
    StringConstraints(pattern=UUID_PATTERN),
    AfterValidator(str.lower),
    Field(description="Subscriber UUID", examples=["550e8400-e29b-41d4-a716-446655440000"]),
]
RequestId = Annotated[
    str,
    StringConstraints(pattern=REQUEST_ID_PATTERN),
    Field(description="Id of a request", examples=["Kq9xV3mN2pT7rL8s"]),
]
Purpose = Annotated[
    str,
    StringConstraints(pattern="^[a-z0-9_-]{1,32}$"),
    Field(
        description="What the code is for; codes of different purposes live side by side", examples=["login"]
    ),
]
TtlMinutes = Annotated[
    int, Field(ge=1, le=MAX_TTL_MINUTES, description="Minutes the code lives; the operator may cap it lower")
]
MaxAttempts = Annotated[
    int, Field(ge=1, le=MAX_ATTEMPTS, description="Guesses of this code that are evaluated")
]
CodeLength = Annotated[Literal[4, 6, 8], Field(description="Digits of the code")]
ChannelName = Annotated[Literal["telegram", "max"], Field(description="Messenger")]
ChannelHealth = Annotated[
    Literal["ok", "degraded", "off"],
    Field(
        description="`degraded`: whoever goes there now will probably get no code soon; `off`: not in use here. "
        "Others may be added: take what you do not know for `degraded`"
    ),
]


PhoneNumber = Annotated[
    str,
    StringConstraints(pattern=r"^\+[1-9][0-9]{6,14}$"),
    Field(description="E.164, shared by its owner and confirmed by the messenger", examples=["+12025550142"]),
]
Time = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        examples=["2026-11-29T03:07:05.120Z"],
        json_schema_extra={"format": "date-time"},
    ),
]
"""RFC 3339, UTC."""


class Body(BaseModel):
    """Base of what callers send."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    def wrong_together(self) -> tuple[str, str] | None:
        """A field and what is wrong with it, where each is valid by itself and all together are not."""
        return None


_NOT_SHOWN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_SPACES = r" \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
SHOWN_PATTERN = f"^[^{_NOT_SHOWN}]*[^{_NOT_SHOWN}{_SPACES}][^{_NOT_SHOWN}]*$"
"""Something to see, and no control or bidirectional override characters."""
_SHOWN = re.compile(SHOWN_PATTERN.removesuffix("$") + r"\Z")


def _shown(value: str) -> str:
    """A short text that the person will see as it is."""
    if _SHOWN.match(value) is None:
        raise ValueError("must be text without control or bidirectional override characters")
    return value


def _address(value: str) -> str:
    """An IP address."""
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be an IP address") from None


ContextText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(_shown),
    Field(json_schema_extra={"pattern": SHOWN_PATTERN.replace(r"\ud800-\udfff", "")}),
]


_NOT_PRINTED = _NOT_SHOWN + r"\u00ad\u061c\u200b-\u200f\u2060-\u206f\ufeff\ufff9-\ufffb"
PRINTED_PATTERN = f"^[^{_NOT_PRINTED}]*[^{_NOT_PRINTED}{_SPACES}][^{_NOT_PRINTED}]*$"
_PRINTED = re.compile(PRINTED_PATTERN.removesuffix("$") + r"\Z")


def _printed(value: str) -> str:
    """A name that can be told from every other one by looking at it."""
    if _PRINTED.match(value) is None:
        raise ValueError("must be printable characters: no control, bidirectional or invisible ones")
    return value


ExternalId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_printed),
    Field(
        description="The site's own name of one of its accounts",
        examples=["user-4711"],
        json_schema_extra={"pattern": PRINTED_PATTERN.replace(r"\ud800-\udfff", "")},
    ),
]


PageState = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    AfterValidator(_printed),
    Field(json_schema_extra={"pattern": PRINTED_PATTERN.replace(r"\ud800-\udfff", "")}),
]


class Addressed(Body):
    """Said of a subscriber, or of an account of the site: of exactly one of the two."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["subscriber_id"]}, {"required": ["external_id"]}]}
    )
    subscriber_id: SubscriberId = Field(default_factory=_absent)
    external_id: ExternalId = Field(default_factory=_absent)

    def wrong_together(self) -> tuple[str, str] | None:
        """None or both of the two."""
        given = self.model_fields_set & {"subscriber_id", "external_id"}
        if len(given) == 1:
            return None
        return (
            "external_id" if given else "subscriber_id",
            "exactly one of subscriber_id and external_id is needed",
        )


class ContextBody(Body):
    """Who is asking: shown to the person in one line, as it is. All optional."""

    ip: Annotated[str, StringConstraints(min_length=2, max_length=45), AfterValidator(_address)] = Field(
        default_factory=_absent,
        description="An IPv4 or IPv6 address",
        examples=["203.0.113.7"],
        json_schema_extra={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    )
    location: ContextText = Field(default_factory=_absent, examples=["Kazan"])
    device: ContextText = Field(default_factory=_absent, examples=["Chrome on Windows"])
    action: ContextText = Field(default_factory=_absent, examples=["Sign in"])
    amount: ContextText = Field(default_factory=_absent, examples=["1 500 ₽"])


class SendBody(Addressed):
    """Send a code to a subscriber, or to whoever an account was linked to."""

    ttl_minutes: TtlMinutes = DEFAULT_TTL_MINUTES
    max_attempts: MaxAttempts = SEND_ATTEMPTS
    code_length: CodeLength = DEFAULT_LENGTH
    purpose: Purpose = DEFAULT_PURPOSE
    context: ContextBody = Field(default_factory=_absent)
    reuse: bool = Field(
        default=False,
        description="Send the code that lives already, if one does: its ttl, attempts and length win",
    )


class VerifyBody(Addressed):
    """Judge what a person entered."""

    code: Annotated[
        str,
        StringConstraints(min_length=1, max_length=64),
        Field(
            repr=False,
            description="What the person entered; spaces, dashes and invisible characters are ignored",
            examples=["482916"],
            json_schema_extra={"pattern": r"^[^\x00]*$"},  # no JSON of ours holds it
        ),
    ]
    purpose: Purpose = Field(
        default_factory=_absent, description=f"Default: the request's, else `{DEFAULT_PURPOSE}`"
    )
    request_id: RequestId = Field(
        default_factory=_absent, description="Accept only the code of this request. Always pass it"
    )


class PageBody(Body):
    """The hosted page on which the person chooses a messenger and enters the code."""

    return_url: Annotated[str, StringConstraints(max_length=LONGEST_URL, pattern=URL_PATTERN)] = Field(
        description="Where the person goes in the end: an address that the project registered, or one below it",
        examples=["https://shop.example/login/done"],
    )
    state: PageState = Field(
        default_factory=_absent, description="Goes back with the person, as it is", examples=["b7d1c0"]
    )


class RequestBody(Body):
    """Ask for a code for somebody who may not be subscribed yet."""

    channel: Literal["telegram", "max", "auto"] = Field(
        default_factory=_absent,
        description="Only this messenger; both when absent; `auto`: the links of those that work",
    )
    ttl_minutes: TtlMinutes = DEFAULT_TTL_MINUTES
    max_attempts: MaxAttempts = REQUEST_ATTEMPTS
    code_length: CodeLength = DEFAULT_LENGTH
    purpose: Purpose = DEFAULT_PURPOSE
    context: ContextBody = Field(default_factory=_absent)
    external_id: ExternalId = Field(
        default_factory=_absent,
        description="For which account of the site the code is: whoever is verified with it is linked to that account",
    )
    match: bool = Field(
        default=False,
        description="Let the person choose the `match_number` among three before any code is sent",
    )
    page: PageBody = Field(default_factory=_absent, description="Answer the address of a hosted page, too")
    phone: Literal["ask"] = Field(
        default_factory=_absent,
        description="After the code, ask the person for their own phone number, in Telegram. They may pass it over",
    )


class Answer(BaseModel):
    """Base of what callers get."""

    test: Literal[True] = Field(
        default_factory=_absent, description="There in every answer to a `tc_test_` key: nobody got a message"
    )


class PlayBody(Body):
    """Play the person of a request: there is nothing to say."""


class CancelBody(Body):
    """Nothing is to be said about it."""


class RevokeBody(Body):
    """End a code that lives."""

    subscriber_id: SubscriberId
    purpose: Purpose = DEFAULT_PURPOSE


class Cancelled(Answer):
    """The request is cancelled; no code of it works."""

    status: Literal["cancelled"]


class Revoked(Answer):
    """No code of this subscriber and purpose works."""

    revoked: bool = Field(description="Whether there was one until now")


class Sent(Answer):
    """The messenger took the message."""

    sent: Literal[True]
    expires_in_seconds: int = Field(description="Seconds the code lives", examples=[300])
    reused: bool = Field(
        default_factory=_absent, description="With `reuse`: whether this is the code that lived already"
    )
    channel: ChannelName = Field(
        default_factory=_absent, description="With `external_id`: through which messenger"
    )
    subscriber_id: SubscriberId = Field(default_factory=_absent, description="With `external_id`: to whom")


class Verified(Answer):
    """The code was accepted; it can't be accepted again."""

    verified: Literal[True]


class NotVerified(Answer):
    """The code was not accepted."""

    verified: Literal[False]
    reason: Literal["locked", "no_active_code", "malformed_code", "wrong_code"]
    attempts_left: int = Field(ge=0, description="Guesses left; 0 with `locked` and `no_active_code`")


_NO_LINK = "null when the channel is off or not known yet, another one was asked for, or `auto` leaves it out"


class Channels(BaseModel):
    """How each messenger is right now: lead with one that is `ok`."""

    telegram: ChannelHealth
    max: ChannelHealth


class Requested(Answer):
    """Show one of the links to the person and poll the status."""

    request_id: RequestId
    pairing_code: str = Field(
        pattern="^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$",
        description="Show it beside the links: typed into the chat it is as good as the link",
    )
    match_number: str = Field(
        default_factory=_absent,
        pattern="^[1-9][0-9]$",
        description="With `match`: show it to the person, who must press it in the chat",
    )
    telegram_link: str | None = Field(description=_NO_LINK)
    max_link: str | None = Field(description=_NO_LINK)
    expires_in: int = Field(description="Seconds the links live", examples=[900])
    channels: Channels
    page_url: str = Field(default_factory=_absent, description="With `page`: send the person there")
    client_token: str = Field(
        default_factory=_absent,
        pattern="^[A-Za-z0-9]{16}[A-Za-z0-9_-]{22}$",
        description="With `page`: for a browser; opens this request's page and nothing else",
    )


class Status(Answer):
    """What became of a request. `subscriber_id` and `channel` are there once it is `sent`."""

    status: Literal["pending", "sent", "cancelled", "expired"]
    subscriber_id: SubscriberId = Field(default_factory=_absent)
    channel: ChannelName = Field(default_factory=_absent)
    created_at: Time = Field(description="When the request was made")
    expires_at: Time = Field(description="When its links end")
    sent_at: Time = Field(default_factory=_absent, description="When its code was delivered, once it was")
    verified: Literal[True] = Field(
        default_factory=_absent, description="There once `verify` accepted a code of this request"
    )
    verified_at: Time = Field(default_factory=_absent, description="When that was")
    proof: str = Field(
        default_factory=_absent,
        description="With `page`, once verified: equals `proof` in the return address of the browser in which the code was "
        "entered. Let in no other one",
    )
    phone: PhoneNumber = Field(
        default_factory=_absent,
        description='With `"phone": "ask"`, in one answer only: keep it, it is erased here. Never in that of another call',
    )
    phone_pending: Literal[True] = Field(
        default_factory=_absent,
        description="While the person is asked for their phone number and has not answered, 15 minutes at most",
    )
    reported: Literal[True] = Field(
        default_factory=_absent,
        description="There once the person said that it was not them: distrust this request",
    )


class SubscriberState(BaseModel):
    """Somebody who agreed to get codes of this project."""

    channel: ChannelName
    language: str = Field(description="Of the messenger's client, or as chosen in the chat", examples=["ru"])
    subscribed_at: str = Field(
        description="When the person agreed, the last time; RFC 3339, UTC",
        examples=["2026-11-29T03:07:05.120Z"],
        json_schema_extra={"format": "date-time"},
    )
    locked: bool = Field(
        description="Too many wrong codes in a row: the person unlocks it in the chat, or the operator"
    )
    external_id: ExternalId | None = Field(
        description="The account for which a code of theirs was verified last; null when there is none"
    )
    phone: PhoneNumber = Field(
        default_factory=_absent,
        description="The number that they shared last, where the operator lets the project keep it",
    )


class Forgotten(BaseModel):
    """Nothing of the subscriber is there any more."""

    subscriber_id: SubscriberId
    deleted: Literal[True]


class StatusEvent(BaseModel):
    """One server-sent event of a status."""

    event: Literal["status"]
    id: str = Field(
        description="Names the state; goes back as `Last-Event-ID`",
        examples=["pending", "sent", "sent-reported"],
    )
    data: str = Field(description="The JSON body of the same call without a stream, in one line")


class FieldError(BaseModel):
    """One field that is not valid."""

    field: str
    message: str


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(examples=["urn:tapcode:error:validation_failed"])
    title: str
    status: int
    detail: str
    code: str = Field(description="Machine code; these never change")
    retryable: bool = Field(
        description="Whether the same call may simply be made again, after `Retry-After` where given"
    )
    errors: list[FieldError] = Field(default_factory=_absent, description="With `validation_failed`")
    test: Literal[True] = Field(
        default_factory=_absent, description="As in other answers to a `tc_test_` key"
    )
