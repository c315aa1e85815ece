"""The calls around webhooks and events: each declared once, as those of `api.operations`, over `otp.endpoints`."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from api import webhook_schemas as schemas
from api.answers import json_answer
from api.auth import Door
from api.bodies import InvalidFields, json_object, validated
from api.idempotency import HEADER, KeyedCalls
from api.operations import Operation
from otp.endpoints import Endpoints
from otp.errors import EventNotFound
from otp.model import Caller
from otp.notices import rfc3339
from otp.telling import BOTH_SIGN_MS, Endpoint, StoredNotice

_EVENT_ID: Final = re.compile(schemas.EVENT_ID_PATTERN.strip("^$"), re.ASCII)
_LIMIT: Final = re.compile(r"[1-9][0-9]?|100", re.ASCII)
_QUERY: Final[Mapping[str, tuple[re.Pattern[str], str]]] = {
    "webhook_id": (
        re.compile(schemas.WEBHOOK_ID_PATTERN.strip("^$"), re.ASCII),
        "must be the id of a webhook",
    ),
    "status": (re.compile("failed"), "must be `failed`"),
    "before": (_EVENT_ID, "must be the id of an event"),
    "limit": (_LIMIT, f"must be a whole number from 1 to {schemas.LONGEST_PAGE}"),
}
"""What the list of events takes, each at most once."""


async def _create(endpoints: Endpoints, caller: Caller, body: schemas.WebhookBody) -> dict[str, Any]:
    made = await endpoints.create(caller, body.url, body.events or (), body.description or "")
    return shown(made.endpoint) | {"secret": made.secret}


async def _list(endpoints: Endpoints, caller: Caller, _query: Mapping[str, str]) -> dict[str, Any]:
    return {"webhooks": [shown(one) for one in await endpoints.all(caller)]}


async def _delete(endpoints: Endpoints, caller: Caller, _body: None, webhook_id: str) -> dict[str, Any]:
    await endpoints.delete(caller, webhook_id)
    return {"id": webhook_id, "deleted": True}


async def _rotate(
    endpoints: Endpoints, caller: Caller, _body: schemas.NothingBody, webhook_id: str
) -> dict[str, Any]:
    made = await endpoints.rotate(caller, webhook_id)
    until = made.endpoint.old_until or made.endpoint.created_at + BOTH_SIGN_MS
    return {"id": webhook_id, "secret": made.secret, "old_secret_until": rfc3339(until)}


async def _enable(
    endpoints: Endpoints, caller: Caller, _body: schemas.NothingBody, webhook_id: str
) -> dict[str, Any]:
    return shown(await endpoints.enable(caller, webhook_id))


async def _events(endpoints: Endpoints, caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    limit = int(query.get("limit", schemas.DEFAULT_PAGE))
    found = await endpoints.events(
        caller,
        endpoint_id=query.get("webhook_id"),
        state=query.get("status"),
        before=query.get("before"),
        limit=limit,
    )
    more = {"next": found[-1].id} if len({one.id for one in found}) >= limit else {}
    return {"events": [shown_event(one) for one in found]} | more


async def _redeliver(
    endpoints: Endpoints, caller: Caller, body: schemas.RedeliverBody, event_id: str
) -> dict[str, Any]:
    if _EVENT_ID.fullmatch(event_id) is None:
        raise EventNotFound("There is no event with this id.")
    return {"id": event_id, "webhooks": await endpoints.redeliver(caller, event_id, body.webhook_id)}


def shown(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as the API tells it: what is not known or not so is absent."""
    told = {
        "id": endpoint.id,
        "url": endpoint.url,
        "events": list(endpoint.types) or None,
        "description": endpoint.description or None,
        "status": "enabled" if endpoint.disabled_at is None else "disabled",
        "disabled_reason": endpoint.disabled_why,
        "disabled_at": _time(endpoint.disabled_at),
        "failing_since": _time(endpoint.failing_since),
        "created_at": rfc3339(endpoint.created_at),
    }
    return {name: value for name, value in told.items() if value is not None}


def shown_event(notice: StoredNotice) -> dict[str, Any]:
    """An event at one endpoint, as the API and the command line tell it."""
    waits = notice.state == "pending"
    told = {
        "id": notice.id,
        "webhook_id": notice.endpoint_id,
        "type": notice.type,
        "timestamp": rfc3339(notice.happened_at),
        "data": json.loads(notice.data),
        "status": notice.state,
        "attempts": notice.tries,
        "last_result": notice.result,
        "next_attempt_at" if waits else "settled_at": rfc3339(notice.due_at),
    }
    return {name: value for name, value in told.items() if value is not None}


def _time(at: int | None) -> str | None:
    return rfc3339(at) if at is not None else None


def _path(name: str, pattern: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": pattern},
    }


_WEBHOOK: Final = _path("webhook_id", schemas.WEBHOOK_ID_PATTERN)
_QUERY_PARAMETERS: Final = (
    {
        "name": "webhook_id",
        "in": "query",
        "description": "Only what this webhook was and is to be told",
        "schema": {"type": "string", "pattern": schemas.WEBHOOK_ID_PATTERN},
    },
    {
        "name": "status",
        "in": "query",
        "description": "Only those that were given up",
        "schema": {"type": "string", "const": "failed"},
    },
    {
        "name": "before",
        "in": "query",
        "description": "The `next` of the page before",
        "schema": {"type": "string", "pattern": schemas.EVENT_ID_PATTERN},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "Events on a page",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": schemas.LONGEST_PAGE,
            "default": schemas.DEFAULT_PAGE,
        },
    },
)

WEBHOOK_OPERATIONS: Final = (
    Operation(
        "createWebhook",
        "POST",
        "/v1/webhooks",
        "Have events sent to an address of yours",
        "Signed as Standard Webhooks says, with the `secret` that is told only in this answer. Five at most.",
        (schemas.NewWebhook,),
        ("too_many_webhooks",),
        _create,
        schemas.WebhookBody,
        success=201,
        told_once=("secret",),
    ),
    Operation(
        "listWebhooks",
        "GET",
        "/v1/webhooks",
        "Your webhooks, and how they are",
        "Without their secrets.",
        (schemas.WebhookList,),
        (),
        _list,
        takes_key=False,
    ),
    Operation(
        "deleteWebhook",
        "DELETE",
        "/v1/webhooks/{webhook_id}",
        "Delete a webhook",
        "It is told nothing more; what it was not yet told is gone.",
        (schemas.DeletedWebhook,),
        ("webhook_not_found",),
        _delete,
        takes_key=False,
        parameters=(_WEBHOOK,),
    ),
    Operation(
        "rotateWebhookSecret",
        "POST",
        "/v1/webhooks/{webhook_id}/rotate-secret",
        "Sign with a new secret",
        "For 24 hours the old one signs beside it, so each event has two signatures.",
        (schemas.RotatedSecret,),
        ("webhook_not_found",),
        _rotate,
        schemas.NothingBody,
        body_optional=True,
        told_once=("secret",),
        parameters=(_WEBHOOK,),
    ),
    Operation(
        "enableWebhook",
        "POST",
        "/v1/webhooks/{webhook_id}/enable",
        "Try a webhook again that was switched off",
        "What it was not told by then, and is kept, is told now. One that is on stays as it is.",
        (schemas.Webhook,),
        ("webhook_not_found",),
        _enable,
        schemas.NothingBody,
        body_optional=True,
        parameters=(_WEBHOOK,),
    ),
    Operation(
        "listEvents",
        "GET",
        "/v1/events",
        "What your webhooks were told, and will be",
        "Newest first; what nobody was to hear of is not kept. One that several webhooks hear of stands there for each.",
        (schemas.EventList,),
        ("validation_failed", "webhook_not_found"),
        _events,
        takes_key=False,
        parameters=_QUERY_PARAMETERS,
    ),
    Operation(
        "redeliverEvent",
        "POST",
        "/v1/events/{event_id}/redeliver",
        "Have an event told once more",
        "With the same `webhook-id`, to all webhooks that were to hear of it, or to one of them.",
        (schemas.Redelivered,),
        ("event_not_found", "webhook_disabled"),
        _redeliver,
        schemas.RedeliverBody,
        body_optional=True,
        parameters=(_path("event_id", schemas.EVENT_ID_PATTERN),),
    ),
)


class WebhookCalls:
    """The calls, over one service's endpoints."""

    def __init__(self, endpoints: Endpoints, door: Door) -> None:
        self._endpoints = endpoints
        self._door = door
        self._keyed = KeyedCalls(door.service, endpoints)

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [web.route(one.method, one.path, self._handler(one)) for one in WEBHOOK_OPERATIONS]

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        run, body = operation.run, operation.body
        if run is None:
            raise ValueError(f"nothing runs {operation.name}")

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = await self._door.admit(request, operation)
            given: Any = _query(request) if operation.method == "GET" else None
            if body is not None:
                data = await json_object(request, optional=operation.body_optional)
                given = validated(body, data)
                if operation.takes_key and HEADER in request.headers:
                    return await self._keyed.answer(request, caller, operation, given, data)
            return json_answer(
                await run(self._endpoints, caller, given, **request.match_info), operation.success
            )

        return handle


def _query(request: web.Request) -> dict[str, str]:
    """What is asked in the address, of what is known there. Raises `InvalidFields`."""
    found: dict[str, str] = {}
    for name, (form, message) in _QUERY.items():
        given = request.query.getall(name, [])
        if len(given) > 1 or (given and form.fullmatch(given[0]) is None):
            raise InvalidFields([{"field": name, "message": f"{message}, given once"}])
        if given:
            found[name] = given[0]
    return found
