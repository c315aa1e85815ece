"""What changed, as values: emitted inside a transaction, acted on after its commit.

The store writes the jobs that belong to an event in the transaction of the change itself, so that a crash right after
the commit loses nothing.
"""

from __future__ import annotations

from dataclasses import field
from typing import Final

from otp.model import (
    Cause,
    Channel,
    Delivery,
    ForgottenBy,
    Mode,
    Parcel,
    Project,
    Request,
    RequestStatus,
    SentMessage,
    Subscriber,
)
from otp.values import value

CLOSE_MESSAGE: Final = "close"
"""Job: bring a message up to date whose code has ended, or whose question is over. Its subject is the message's id."""
ERASE_PROJECT: Final = "erase_project"
"""Job: erase the rest of a deleted project. Its subject is the project's id."""
ASK_PHONE: Final = "ask_phone"
"""Job: ask a person for their phone number. Its subject is the request's id."""
TELL_LOCKED: Final = "tell_locked"
"""Job: tell a person that they were locked. Its subject is the subscriber's id."""


@value
class RequestCreated:
    """A site asked for a code for somebody still unknown."""

    request: Request


@value
class RequestOpened:
    """Somebody followed a request's link, or typed its id, for the first time."""

    request: Request
    channel: Channel
    """In which messenger, whether or not it is the request's."""


@value
class RequestBound:
    """Somebody consented: from now on the request is theirs."""

    request: Request
    """As it was before."""


@value
class RequestFinished:
    """A request came to its end."""

    request_id: str
    project_id: str
    status: RequestStatus
    request: Request | None = None
    """As it was when it ended."""


@value
class RequestTouched:
    """A request changed in another process."""

    request_id: str


@value
class ChangesMissed:
    """What changed in other processes meanwhile was not told."""


@value
class RequestReported:
    """The person said of a request that it was not them."""

    request_id: str
    project_id: str
    mode: Mode


@value
class CodeReported:
    """The person said of a code, or of the wrong ones that locked them, that it was not them."""

    subscriber: Subscriber
    purpose: str | None = None
    request_id: str | None = None


@value
class DeliveryClaimed:
    """A code message is to be sent now; `parcel` when its first attempt was begun together with the claim."""

    delivery_id: str
    channel: Channel
    cause: Cause
    parcel: Parcel | None = None
    played: bool = False
    """To somebody of test mode."""
    given: str | None = field(default=None, repr=False)
    """The code, where it is the site's own: it is stored nowhere."""


@value
class DeliverySettled:
    """A code message came to its outcome. `offer` is the "Send again" message that the person gets, if any."""

    delivery: Delivery
    project: Project | None
    language: str
    offer: SentMessage | None
    mode: Mode | None = None
    """Of its subscriber; None when there is none any more."""


@value
class PhoneAsked:
    """A code was delivered, and its person is asked for their phone number now."""

    request_id: str
    subscriber: Subscriber


@value
class PhoneShared:
    """The person shared their own number; it is told to the site, and here to nobody."""

    request_id: str
    subscriber: Subscriber


@value
class CodeVerified:
    """A code was accepted, once and for all."""

    subscriber_id: str
    project_id: str
    purpose: str
    channel: Channel
    mode: Mode
    request_id: str | None


@value
class WrongCode:
    """A wrong code was counted."""

    subscriber_id: str
    project_id: str
    purpose: str
    channel: Channel
    mode: Mode
    request_id: str | None
    attempts_left: int


@value
class MessageOver:
    """A code message holds a code that has ended, or that stands in a newer message; or a question is over."""

    message_id: str


@value
class SubscriberJoined:
    """A person consented."""

    subscriber: Subscriber


@value
class SubscriberLeft:
    """A person left, blocked the bot, or can't be reached any more."""

    subscriber: Subscriber


@value
class SubscriberForgotten:
    """A person was erased from a project; whoever was subscribed has left before, which sites are told."""

    subscriber: Subscriber
    by: ForgottenBy


@value
class SubscriberRelinked:
    """An account is reached by another person in this channel from now on: a code of theirs was verified for it."""

    subscriber: Subscriber
    external_id: str
    previous_id: str
    """The subscriber by whom it was reached before."""


@value
class SubscriberLocked:
    """The guess budget is used up."""

    subscriber: Subscriber


@value
class SubscriberUnlocked:
    """The person unlocked themselves, or the operator did."""

    subscriber: Subscriber


@value
class NoticesDue:
    """Endpoints have something to be told."""

    endpoint_ids: tuple[str, ...]
    many: int = 1


@value
class EndpointChanged:
    """An endpoint began to fail, works again, or was switched off (`failing`, `ok`, `disabled`)."""

    endpoint_id: str
    project_id: str
    state: str
    why: str


@value
class Audited:
    """An operator, or the configuration, changed something."""

    what: str
    subject: str | None
    by: str
    detail: str


Event = (
    RequestCreated
    | RequestOpened
    | RequestBound
    | RequestFinished
    | RequestTouched
    | ChangesMissed
    | RequestReported
    | CodeReported
    | DeliveryClaimed
    | DeliverySettled
    | PhoneAsked
    | PhoneShared
    | CodeVerified
    | WrongCode
    | MessageOver
    | SubscriberJoined
    | SubscriberLeft
    | SubscriberForgotten
    | SubscriberRelinked
    | SubscriberLocked
    | SubscriberUnlocked
    | NoticesDue
    | EndpointChanged
    | Audited
)


def jobs_of(event: Event) -> list[tuple[str, str]]:
    """The background jobs (kind, subject) that an event brings, due at once."""
    if isinstance(event, MessageOver):
        return [(CLOSE_MESSAGE, event.message_id)]
    if isinstance(event, PhoneAsked):
        return [(ASK_PHONE, event.request_id)]
    if isinstance(event, SubscriberLocked):
        return [(TELL_LOCKED, event.subscriber.id)]
    return []


def request_of(event: Event) -> str | None:
    """The request whose status an event may have changed, here or in another process."""
    if isinstance(event, (RequestFinished, RequestReported, RequestTouched)):
        return event.request_id
    # Past the request's end only the delivery under way kept it pending.
    return event.delivery.request_id if isinstance(event, DeliverySettled) else None
