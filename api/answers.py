"""What every answer has, and the ones that are JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from api.limits import Taken

RATE: Final = web.RequestKey("rate", Taken)
"""What the limits said to a caller: told whatever the answer will be."""
REQUEST_ID: Final = web.RequestKey("request_id", str)
"""What the caller and our log call this request."""


PLAYED: Final = web.RequestKey("played", bool)
"""There for callers whose key is of a mode that is only played: each answer says so."""


SHARED: Final = web.RequestKey("shared", str)
"""The origin whose scripts may read the answer."""


def say_test(answer: web.StreamResponse) -> None:
    """`"test": true` in an answer that is a JSON object."""
    if isinstance(answer, web.Response) and isinstance(answer.body, bytes) and answer.body.startswith(b"{"):
        answer.body = json_body(orjson.loads(answer.body) | TEST) + b"\n"


TEST: Final = {"test": True}


def json_answer(body: Mapping[str, Any], status: int = 200) -> web.Response:
    """A whole answer."""
    return web.Response(status=status, body=json_body(body) + b"\n", content_type="application/json")


def json_body(body: Mapping[str, Any]) -> bytes:
    """A body in one line."""
    return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)  # enums


def dress(answer: web.StreamResponse, request: web.Request) -> None:
    """The headers that every answer of a route has. One that is sent piece by piece is dressed before its first."""
    if not answer.prepared:
        if RATE in request:
            answer.headers.update(request[RATE].fields)
        if SHARED in request:
            answer.headers["Access-Control-Allow-Origin"] = request[SHARED]
            answer.headers["Access-Control-Expose-Headers"] = "RateLimit, RateLimit-Policy, Retry-After"
        dress_as(answer, request[REQUEST_ID], kept=not request.path.startswith(("/v1", "/c/")))


def dress_as(answer: web.StreamResponse, request_id: str, *, kept: bool) -> None:
    """The headers that every answer has; one that is not `kept` must stay in no cache."""
    answer.headers["X-Request-Id"] = request_id
    if not kept:
        answer.headers.setdefault("Cache-Control", "no-store")
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Server"] = "tapcode"
