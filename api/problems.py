"""RFC 9457 problem details: one table from machine codes to HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from api.answers import json_body
from otp.errors import InvalidField, OtpError

CONTENT_TYPE: Final = "application/problem+json"

PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed_json": (400, "The body can't be read as a JSON object"),
    "validation_failed": (400, "Some fields are not valid"),
    "unauthorized": (401, "A valid API key is needed"),
    "project_disabled": (403, "The project is disabled"),
    "not_found": (404, "There is nothing at this path"),
    "subscriber_not_found": (404, "No such subscriber"),
    "request_not_found": (404, "No such request"),
    "webhook_not_found": (404, "No such webhook"),
    "event_not_found": (404, "No such event"),
    "method_not_allowed": (405, "This path does not take this method"),
    "channel_unavailable": (409, "The channel is switched off"),
    "phone_unavailable": (409, "No phone number can be asked for there"),
    "request_not_pending": (409, "The request is not pending any more"),
    "page_unavailable": (409, "There is no hosted page here"),
    "return_url_refused": (409, "The hosted page can't lead back to this address"),
    "no_active_code": (409, "No code of the request lives"),
    "send_in_progress": (409, "A code is on its way already"),
    "subscriber_locked": (409, "The subscriber is locked"),
    "too_many_purposes": (409, "Too many codes are alive"),
    "idempotency_in_progress": (409, "The first call with this key is not over"),
    "too_many_webhooks": (409, "The project has as many webhooks as it may"),
    "webhook_disabled": (409, "The webhook is switched off"),
    "code_not_delivered": (409, "The code was not delivered"),
    "body_too_large": (413, "The body is too large"),
    "unsupported_media_type": (415, "The body must be application/json"),
    "idempotency_mismatch": (422, "The key belongs to another call"),
    "rate_limited": (429, "Too many messages or calls"),
    "internal_error": (500, "Something went wrong on our side"),
    "delivery_failed": (502, "The messenger refused the message"),
    "delivery_unknown": (502, "It is unknown whether the message arrived"),
    "messenger_unavailable": (503, "The messenger can't be reached"),
    "storage_unavailable": (503, "The store can't be used now"),
}
"""code -> HTTP status and title."""

RETRYABLE: Final = frozenset(
    {
        "send_in_progress",
        "idempotency_in_progress",
        "rate_limited",
        "messenger_unavailable",
        "storage_unavailable",
    }
)


class Problem(Exception):
    """An answer that is an error of the HTTP skin itself."""

    def __init__(
        self, code: str, detail: str, headers: Mapping[str, str] | None = None, *, close: bool = False
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.close = close
        """The connection can't be used any more: the rest of the body was not read."""


def of_code(code: str, detail: str) -> dict[str, Any]:
    """The members that every problem has."""
    status, title = PROBLEMS[code]
    return {
        "type": f"urn:tapcode:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": code in RETRYABLE,
    }


def problem(
    code: str,
    detail: str,
    *,
    errors: Sequence[Mapping[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The answer for a machine code."""
    body = of_code(code, detail)
    if errors is not None:
        body["errors"] = list(errors)
    return web.Response(
        status=body["status"],
        body=json_body(body) + b"\n",
        headers={"Content-Type": CONTENT_TYPE, **(headers or {})},
    )


def of_error(error: OtpError) -> web.Response:
    """The answer for a failure of the domain."""
    errors = [{"field": error.field, "message": error.message}] if isinstance(error, InvalidField) else None
    status, _ = PROBLEMS[error.code]
    retry_after = error.retry_after if error.retry_after is not None else 1 if status in (429, 503) else None
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return problem(error.code, error.detail, errors=errors, headers=headers)
