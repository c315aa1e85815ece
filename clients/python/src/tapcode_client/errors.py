"""What can go wrong, as types. Catch `TapcodeError` for everything, a type below it for one machine code.

No error holds the API key, a code or a body that was sent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is not valid."""

    field: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is known of a failure: RFC 9457 problem details, or what stands in for them."""

    code: str
    detail: str
    status: int | None = None
    """The HTTP status; None when there was no answer."""
    retryable: bool = False
    retry_after: int | None = None
    """Seconds, as the service said."""
    request_id: str | None = None
    """`X-Request-Id` of the answer, which the service's log has too. Not the `request_id` of a code."""
    errors: tuple[FieldError, ...] = ()


class TapcodeError(Exception):
    """Anything that this package reports; decide by the type or by `code`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)  # so that it can be pickled
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.problem.code}: {self.problem.detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.problem.code!r}, status={self.problem.status})"

    @property
    def code(self) -> str:
        """The machine code; these never change."""
        return self.problem.code

    @property
    def detail(self) -> str:
        """A sentence for developers, without secrets."""
        return self.problem.detail

    @property
    def status(self) -> int | None:
        """The HTTP status; None when there was no answer."""
        return self.problem.status

    @property
    def retryable(self) -> bool:
        """Whether the service says that the same call may be made again after `retry_after`."""
        return self.problem.retryable

    @property
    def retry_after(self) -> int | None:
        """Seconds to wait before the same call, where the service said so."""
        return self.problem.retry_after

    @property
    def request_id(self) -> str | None:
        """`X-Request-Id` of the answer: tell it to the operator."""
        return self.problem.request_id

    @property
    def errors(self) -> tuple[FieldError, ...]:
        """The fields that are not valid, with `validation_failed`."""
        return self.problem.errors


class ConnectionFailed(TapcodeError):
    """`no_answer`: nothing came back in time. A `verify` counts as not verified, a `send` may have arrived."""


class UnreadableAnswer(TapcodeError):
    """`unreadable_answer`: something answered that does not speak this API, such as a proxy."""


class InvalidEvent(TapcodeError):
    """An event that must not be believed: `missing_header`, `stale_event`, `bad_signature`, `malformed_event`."""


class ApiError(TapcodeError):
    """The service said no. Codes without a type of their own, also those of later versions, are this one."""


class ValidationFailed(ApiError):
    """Some fields are not valid: see `errors`. Its text names them, and says nothing of what was in them."""

    def __str__(self) -> str:
        named = "; ".join(f"{one.field}: {one.message}" for one in self.errors)
        return f"{super().__str__()} ({named})" if named else super().__str__()


class Unauthorized(ApiError):
    """The API key is not valid, or not any more."""


class ProjectDisabled(ApiError):
    """The operator switched the project off."""


class NotFound(ApiError):
    """Nothing is there, or it belongs to somebody else."""


class SubscriberNotFound(NotFound):
    """Nobody of this id can get messages: make a request and show its link."""


class RequestNotFound(NotFound):
    """No such request, or it is over for too long: begin again."""


class WebhookNotFound(NotFound):
    """No such webhook."""


class EventNotFound(NotFound):
    """No such event, or it is too long ago."""


class Conflict(ApiError):
    """The state of things does not allow it."""


class ChannelUnavailable(Conflict):
    """This messenger is off here."""


class PhoneUnavailable(Conflict):
    """No messenger of this request can prove whose phone number it is: MAX alone, or Telegram is off here."""


class PageUnavailable(Conflict):
    """There is no hosted page here: the operator has not said where browsers reach the service."""


class ReturnUrlRefused(Conflict):
    """The hosted page can't lead back to this address: the operator has not registered it for the project."""


class RequestNotPending(Conflict):
    """The request ended before."""


class SendInProgress(Conflict):
    """A code for this subscriber and purpose is on its way: wait `retry_after`."""


class SubscriberLocked(Conflict):
    """Too many wrong codes: make a request and show its link, the bot offers to unlock."""


class TooManyPurposes(Conflict):
    """Codes of five purposes are alive."""


class IdempotencyInProgress(Conflict):
    """The first call with this key is not over."""


class TooManyWebhooks(Conflict):
    """Five are there: delete one."""


class WebhookDisabled(Conflict):
    """Enable it first."""


class IdempotencyMismatch(ApiError):
    """This `Idempotency-Key` was used for another call."""


class RateLimited(ApiError):
    """Too many messages to this person, or too many calls: wait `retry_after`."""


class DeliveryFailed(ApiError):
    """The messenger refused the message; an older code is still good."""


class DeliveryUnknown(ApiError):
    """It may have arrived: show the field for the code and a button to send again. Do not repeat by yourself."""


class Unavailable(ApiError):
    """Not now: wait `retry_after`."""


class MessengerUnavailable(Unavailable):
    """The messenger can't be reached; nothing was sent."""


class StorageUnavailable(Unavailable):
    """The service's store can't be used now."""


class InternalError(ApiError):
    """A bug of the service: tell the operator the `request_id`."""


BY_CODE: dict[str, type[ApiError]] = {
    "validation_failed": ValidationFailed,
    "unauthorized": Unauthorized,
    "project_disabled": ProjectDisabled,
    "not_found": NotFound,
    "subscriber_not_found": SubscriberNotFound,
    "request_not_found": RequestNotFound,
    "webhook_not_found": WebhookNotFound,
    "event_not_found": EventNotFound,
    "channel_unavailable": ChannelUnavailable,
    "phone_unavailable": PhoneUnavailable,
    "page_unavailable": PageUnavailable,
    "return_url_refused": ReturnUrlRefused,
    "request_not_pending": RequestNotPending,
    "send_in_progress": SendInProgress,
    "subscriber_locked": SubscriberLocked,
    "too_many_purposes": TooManyPurposes,
    "idempotency_in_progress": IdempotencyInProgress,
    "too_many_webhooks": TooManyWebhooks,
    "webhook_disabled": WebhookDisabled,
    "idempotency_mismatch": IdempotencyMismatch,
    "rate_limited": RateLimited,
    "delivery_failed": DeliveryFailed,
    "delivery_unknown": DeliveryUnknown,
    "messenger_unavailable": MessengerUnavailable,
    "storage_unavailable": StorageUnavailable,
    "internal_error": InternalError,
}
"""Machine code -> type. Not here: what this package never causes, such as `malformed_json`."""
