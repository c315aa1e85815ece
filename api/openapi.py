"""The OpenAPI 3.1 document, made from the operations' own declarations."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from api.idempotency import HEADER, KEY_PATTERN, REPLAYED
from api.kratos import COURIER
from api.operations import OPERATIONS as OTP_OPERATIONS
from api.operations import Operation
from api.problems import CONTENT_TYPE, PROBLEMS, of_code
from api.rehearsals import REHEARSALS
from api.schemas import (
    REQUEST_ID_PATTERN,
    UUID_PATTERN,
    ProblemDetails,
    RequestBody,
    SendBody,
    StatusEvent,
    VerifyBody,
)
from api.status import EVENT_STREAM, LONGEST_WAIT
from api.webhook_calls import WEBHOOK_OPERATIONS
from api.webhook_schemas import SentEvent

FLOW = ("requestCode", "requestStatus", "verifyCode", "sendCode", "cancelRequest", "revokeCode")
"""The order in which a site comes to need them; what is not here follows."""
OPERATIONS = (
    *sorted(OTP_OPERATIONS, key=lambda one: FLOW.index(one.name) if one.name in FLOW else len(FLOW)),
    *WEBHOOK_OPERATIONS,
    COURIER,
    *REHEARSALS,
)
TAGS = {
    "/v1/otp/": ("Codes", "Request, wait for `sent`, verify. Next time, send."),
    "/v1/subscribers/": ("Subscribers", "Who agreed to get codes."),
    "/v1/webhooks": ("Webhooks", "Where events are sent, signed."),
    "/v1/events": ("Events", "What was sent there, and what became of it."),
    "/v1/kratos/": ("Ory Kratos", "Kratos' own codes, through the bot."),
    "/v1/test/": ("Test mode", "With a `tc_test_` key you play the person, and nobody gets a message."),
}
"""By the beginning of their path."""
DESCRIPTION = """\
1. `POST /v1/otp/request` makes links. Show one to the person, and beside it the `pairing_code`.
2. `GET /v1/otp/request/{request_id}/status?wait=25`, from your backend, until it is not `pending`.
3. `POST /v1/otp/verify` what the person typed, with the `request_id`. Only its `verified: true` authenticates.

Give each POST an `Idempotency-Key` of its own, and it can be repeated without harm. Errors are RFC 9457 problem details:
decide by `code`, and repeat a call by yourself only where `retryable` is true, after `Retry-After`. The key belongs to your
backend: never into a browser or an app.
"""
EXAMPLES: dict[type[BaseModel], dict[str, Any]] = {
    RequestBody: {
        "ttl_minutes": 5,
        "context": {
            "action": "Sign in",
            "device": "Chrome on Windows",
            "location": "Kazan",
            "ip": "203.0.113.7",
        },
    },
    VerifyBody: {
        "subscriber_id": "550e8400-e29b-41d4-a716-446655440000",
        "code": "482916",
        "request_id": "Kq9xV3mN2pT7rL8s",
    },
    SendBody: {"subscriber_id": "550e8400-e29b-41d4-a716-446655440000"},
}
"""Of bodies whose fields do not all go together."""

RATE_FIELDS = ("RateLimit-Policy", "RateLimit")
REF = "#/components/schemas/{model}"
HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "The caller's own, when it is 1-64 characters of `A-Z a-z 0-9 . _ -`, else a new one",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "Cache-Control": {"required": True, "schema": {"type": "string", "const": "no-store"}},
    "Retry-After": {
        "description": "Seconds until another try makes sense",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit-Policy": {
        "description": "The limit that this call counts against: `q` calls in `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers)",
        "required": True,
        "schema": {"type": "string"},
        "example": '"requests";q=3000;w=60',
    },
    "RateLimit": {
        "description": "What is left of it: `r` calls at once, all of them in `t` seconds",
        "required": True,
        "schema": {"type": "string"},
        "example": '"requests";r=2999;t=1',
    },
    REPLAYED: {
        "description": "There when this is the answer to an earlier call that was the same, with its `Idempotency-Key`",
        "schema": {"type": "string", "const": "true"},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string"}},
}

WAIT: dict[str, Any] = {
    "name": "wait",
    "in": "query",
    "description": "Seconds to wait for a change; not together with an event stream",
    "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_WAIT},
}
"""As an extension, not among the parameters: programs that try every value of those give up on a call that waits."""

REQUEST_ID: dict[str, Any] = {
    "name": "request_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": REQUEST_ID_PATTERN},
}
KEY: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "description": "The same key and body within 24 hours have one effect and the same answer",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}
"""As an extension too: programs that try every value of it would use one key for two bodies, which is refused (422)."""
STATUS_PARAMETERS: list[dict[str, Any]] = [
    REQUEST_ID,
    {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "With an event stream: the id of the last event that was seen; that state is not told again",
        "schema": {"type": "string"},
    },
]


SUBSCRIBER_ID: dict[str, Any] = {
    "name": "subscriber_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": UUID_PATTERN},
}


@cache
def as_json(version: str) -> bytes:
    """The whole document, as it is served."""
    return json.dumps(document(version), ensure_ascii=False).encode()


def document(version: str) -> dict[str, Any]:
    """The whole document."""
    models: set[type[BaseModel]] = {ProblemDetails, StatusEvent, SentEvent}
    models |= {model for operation in OPERATIONS for model in _models(operation)}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template=REF,
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tapcode",
            "version": version,
            "summary": "One-time passwords through Telegram and MAX",
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"apiKey": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.values()],
        "paths": paths,
        "webhooks": {"event": {"post": _event()}},
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A project's API key, `tc_live_…` or `tc_test_…`",
                }
            },
            "headers": HEADERS,
            "parameters": {HEADER: KEY},
            "examples": {code: _example(code) for code in PROBLEMS},
            "schemas": schemas["$defs"],
        },
    }


def _event() -> dict[str, Any]:
    """What webhooks get."""
    signed = {
        "webhook-id": "The event's id, the same at every attempt: what was seen is dropped",
        "webhook-timestamp": "Seconds since 1970 of this attempt",
        "webhook-signature": "Signatures of Standard Webhooks (`v1,…`), one or two with a space between",
    }
    return {
        "summary": "An event",
        "description": "Answer 2xx within 10 seconds. Anything else is tried again for three days; 410 switches it off.",
        "security": [],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": text,
                "schema": {"type": "string"},
            }
            for name, text in signed.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(SentEvent)}}},
        "responses": {"2XX": {"description": "It arrived"}},
    }


def _models(operation: Operation) -> Iterable[type[BaseModel]]:
    return [*operation.answers, *([operation.body] if operation.body else [])]


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [name for path, (name, _) in TAGS.items() if operation.path.startswith(path)],
        "summary": operation.summary,
        "description": operation.description,
        "responses": {str(operation.success): _answer(operation), **_problems(operation)},
    }
    if operation.is_status:
        described["parameters"] = STATUS_PARAMETERS
        described["x-wait"] = WAIT
        described["responses"]["200"]["content"][EVENT_STREAM] = {
            "schema": {
                "type": "string",
                "contentMediaType": EVENT_STREAM,
                "description": "`StatusEvent`s, each field on a line of its own; comments between keep it alive",
            }
        }
        described["responses"]["204"] = {
            "description": "With `Last-Event-ID`: that final status was seen already, nothing will follow",
            "headers": _headers("X-Request-Id", "Cache-Control", *RATE_FIELDS),
        }
    elif operation.parameters or "{request_id}" in operation.path or "{subscriber_id}" in operation.path:
        described["parameters"] = [
            *([REQUEST_ID] if "{request_id}" in operation.path else []),
            *([SUBSCRIBER_ID] if "{subscriber_id}" in operation.path else []),
            *operation.parameters,
        ]
    if operation.takes_key and operation.body is not None:
        described["x-idempotency-key"] = {"$ref": f"#/components/parameters/{HEADER}"}
    if operation.body is not None:
        example = {"example": EXAMPLES[operation.body]} if operation.body in EXAMPLES else {}
        described["requestBody"] = {
            "required": not operation.body_optional,
            "content": {"application/json": {"schema": _ref(operation.body), **example}},
        }
    return described


def _answer(operation: Operation) -> dict[str, Any]:
    refs = [_ref(model) for model in operation.answers]
    return {
        "description": "Done",
        "headers": _headers(
            "X-Request-Id",
            "Cache-Control",
            *RATE_FIELDS,
            *([REPLAYED] if operation.is_kept else []),
        ),
        "content": {"application/json": {"schema": refs[0] if len(refs) == 1 else {"oneOf": refs}}},
    }


def _problems(operation: Operation) -> dict[str, Any]:
    """One response per status, naming its machine codes."""
    codes = [
        "unauthorized",
        "project_disabled",
        "rate_limited",
        "storage_unavailable",
        "internal_error",
        *operation.errors,
    ]
    if operation.body is not None:
        codes += ["idempotency_in_progress", "idempotency_mismatch"] if operation.takes_key else []
        codes += ["malformed_json", "validation_failed", "body_too_large", "unsupported_media_type"]
    by_status: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(PROBLEMS[code][0], []).append(code)
    return {
        str(status): _problem(status, by_status[status], keyed=operation.is_kept)
        for status in sorted(by_status)
    }


def _problem(status: int, codes: list[str], *, keyed: bool) -> dict[str, Any]:
    extra = {
        401: ["WWW-Authenticate"],
        429: ["Retry-After", *RATE_FIELDS],
        404: [REPLAYED] if keyed else [],
        409: [REPLAYED] if keyed else [],
        502: [REPLAYED] if keyed else [],
        503: ["Retry-After"],
    }.get(status, [])
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers("X-Request-Id", "Cache-Control", *extra),
        "content": {
            CONTENT_TYPE: {
                "schema": _ref(ProblemDetails),
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def _example(code: str) -> dict[str, Any]:
    """A problem with this code; what its detail says depends on the call."""
    members = of_code(code, PROBLEMS[code][1] + ".")
    errors = {"errors": [{"field": "ttl_minutes", "message": "Input should be less than or equal to 30"}]}
    return {"value": members | (errors if code == "validation_failed" else {})}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
