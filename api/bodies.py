"""Reads request bodies: bounded in size and time, of one media type, never decompressed."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TypeVar

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from api.problems import Problem
from api.schemas import Body
from api.strict_json import MalformedJson, parse_object

M = TypeVar("M", bound=BaseModel)

LARGEST_BODY: Final = 64 * 1024
BODY_SECONDS: Final = 10
"""A body that is not there by then is not coming."""


class InvalidFields(Exception):
    """Fields that are not valid: field names and messages, never the values (one may be a code)."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__("fields are not valid")
        self.errors = errors


async def read_limited(request: web.Request, largest: int) -> bytes | None:
    """A body of at most `largest` bytes, within the time for it; None when it is larger, too slow or cut off."""
    if request.content_length is not None and request.content_length > largest:
        return None
    if request.content.is_eof() and request.content.exception() is None:
        whole = request.content.read_nowait()  # it came with its head, as most do: nothing to wait for
        return whole if len(whole) <= largest else None
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > largest:
                    return None
    except (TimeoutError, ConnectionError, ClientPayloadError, HttpProcessingError, web.RequestPayloadError):
        return None  # too slow, cut off or badly framed: it is not coming any more
    return bytes(body)


async def json_object(request: web.Request, *, optional: bool) -> dict[str, Any]:
    """The JSON object in a request. Raises `Problem`."""
    if not request.body_exists and not request.headers.get("Content-Type"):
        if optional:
            return {}
        raise Problem("malformed_json", "The body is empty; a JSON object is needed.")
    if optional and not request.headers.get("Content-Type") and request.content_length is None:
        if not await _read(request):
            return {}
        raise Problem("unsupported_media_type", "The body must be application/json in UTF-8, not compressed.")
    if request.body_exists or not optional:
        _check_media_type(request)
    body = await _read(request)
    if optional and not body:
        return {}
    try:
        return parse_object(body)
    except MalformedJson as error:
        raise Problem("malformed_json", str(error)) from None


def _check_media_type(request: web.Request) -> None:
    charset = (request.charset or "utf-8").lower()
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if (
        request.content_type != "application/json"
        or charset not in ("utf-8", "utf8")
        or encoding != "identity"
    ):
        raise Problem("unsupported_media_type", "The body must be application/json in UTF-8, not compressed.")


async def _read(request: web.Request) -> bytes:
    body = await read_limited(request, LARGEST_BODY)
    if body is not None:
        return body
    if request.content.total_bytes <= LARGEST_BODY and (request.content_length or 0) <= LARGEST_BODY:
        raise Problem("malformed_json", "The body did not arrive, or not in time.", close=True)
    raise Problem("body_too_large", f"The body may have at most {LARGEST_BODY} bytes.", close=True)


def validated(model: type[M], data: dict[str, Any]) -> M:
    """The data as a model. Raises `InvalidFields`."""
    try:
        made = model.model_validate(data)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise InvalidFields(
            [{"field": _path(item["loc"]), "message": _message(item)} for item in found]
        ) from None
    wrong = made.wrong_together() if isinstance(made, Body) else None
    if wrong is not None:
        raise InvalidFields([{"field": wrong[0], "message": wrong[1]}])
    return made


def _path(where: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in where)[:200]


_FORMS: Final = {
    "subscriber_id": "must be a UUID of 36 characters",
    "request_id": "must be 16 letters and digits",
    "purpose": "must be 1 to 32 characters of a-z, 0-9, _ and -",
}


def _message(item: Any) -> str:
    """Pydantic's words, but for those that only a programmer would understand."""
    kind: str = item["type"]
    if kind == "string_pattern_mismatch":
        return _FORMS.get(str(item["loc"][-1]), "does not have the right form")
    return {"missing": "is required", "extra_forbidden": "is not a known field"}.get(kind, str(item["msg"]))
