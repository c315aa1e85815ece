"""What can go wrong, each with the machine code that callers see.

`code` is part of the API; `retryable` says whether the same call may simply be made again.
"""

from __future__ import annotations

from typing import ClassVar


class OtpError(Exception):
    """Base of all expected failures. The text is for people and never holds a secret."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        """Whole seconds after which another try makes sense, where that is known."""


class InvalidField(OtpError):
    """A field has a value that is not allowed here."""

    code = "validation_failed"

    def __init__(self, field: str, message: str) -> None:
        super().__init__("The request has fields that are not valid.")
        self.field = field
        self.message = message


class ProjectDisabled(OtpError):
    """The operator switched the project off."""

    code = "project_disabled"


class SubscriberNotFound(OtpError):
    """Unknown, somebody else's, left, or the bot is blocked."""

    code = "subscriber_not_found"


class RequestNotFound(OtpError):
    """Unknown, somebody else's, or forgotten by now."""

    code = "request_not_found"


class PageUnavailable(OtpError):
    """Nobody could open a hosted page here."""

    code = "page_unavailable"


class ReturnUrlRefused(OtpError):
    """A hosted page can't lead back to this address: which ones count, the operator decides."""

    code = "return_url_refused"


class NothingToRepeat(OtpError):
    """No code of this request lives: there is nothing that could be sent again."""

    code = "no_active_code"


class RequestNotPending(OtpError):
    """Its code was delivered, or its time is over: nothing is left to cancel."""

    code = "request_not_pending"


class WebhookNotFound(OtpError):
    """Unknown, somebody else's, or deleted."""

    code = "webhook_not_found"


class EventNotFound(OtpError):
    """Unknown, somebody else's, or over for too long."""

    code = "event_not_found"


class TooManyWebhooks(OtpError):
    """The project has as many as it may."""

    code = "too_many_webhooks"


class WebhookDisabled(OtpError):
    """It was switched off: it said it is gone, or failed for too long."""

    code = "webhook_disabled"


class PhoneUnavailable(OtpError):
    """No messenger of this request can prove whose phone number it is."""

    code = "phone_unavailable"


class ChannelUnavailable(OtpError):
    """That messenger is switched off here."""

    code = "channel_unavailable"


class SendInProgress(OtpError):
    """Another code for this subscriber and purpose is on its way."""

    code = "send_in_progress"
    retryable = True


class SubscriberLocked(OtpError):
    """Too many wrong codes in a row; only the person can unlock."""

    code = "subscriber_locked"


class TooManyPurposes(OtpError):
    """As many codes for different purposes live as one subscriber may have."""

    code = "too_many_purposes"


class RateLimited(OtpError):
    """Too many messages to this subscriber."""

    code = "rate_limited"
    retryable = True


class IdempotencyInProgress(OtpError):
    """The first call with this key is not over yet."""

    code = "idempotency_in_progress"
    retryable = True


class IdempotencyMismatch(OtpError):
    """The key was used for another call."""

    code = "idempotency_mismatch"


class DeliveryFailed(OtpError):
    """The messenger certainly refused the message."""

    code = "delivery_failed"


class CodeNotDelivered(DeliveryFailed):
    """The site's own code was certainly not delivered, and would not be if it were tried again soon."""

    code = "code_not_delivered"


class DeliveryUnknown(OtpError):
    """The message may have arrived."""

    code = "delivery_unknown"


class MessengerUnavailable(OtpError):
    """The messenger can't be reached, or asks to wait; certainly nothing was sent."""

    code = "messenger_unavailable"
    retryable = True


class StorageUnavailable(OtpError):
    """The store did not take the change, or nobody knows whether it did."""

    code = "storage_unavailable"
    retryable = True


class StorageUnusable(Exception):
    """The store can't be used at all: damaged, newer than this program, unreadable or owned by another process."""
