"""The API's routes, and what surrounds every route of the server: request ids, problem details, the access log."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from time import perf_counter
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from api.answers import PLAYED, REQUEST_ID, dress, dress_as, json_answer, say_test
from api.auth import Door
from api.bodies import InvalidFields, json_object, validated
from api.idempotency import HEADER, KeyedCalls
from api.kratos import COURIER
from api.operations import OPERATIONS, Operation, Run
from api.problems import Problem, of_error, problem
from api.rehearsals import REHEARSALS
from api.status import StatusCalls
from otp.call import begin_call
from otp.errors import OtpError, StorageUnavailable
from otp.ports import Randomness, Store
from otp.rehearsal import Rehearsal
from otp.service import OtpService
from otp.waiting import Waiters

log = structlog.get_logger()

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The API over one service, and over those who wait for it."""

    def __init__(
        self, waiters: Waiters, door: Door, version: str, rehearsal: Rehearsal | None = None
    ) -> None:
        """`rehearsal` plays people for callers of test mode, where that is done."""
        self._waiters = waiters
        self._rehearsal = rehearsal
        self._door = door
        self._version = version
        self._document: bytes | None = None

    @property
    def door(self) -> Door:
        """Where all calls come in."""
        return self._door

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        calls = [
            web.route(one.method, one.path, self._handler(one, self._waiters.service))
            for one in (*OPERATIONS, COURIER)
        ]
        for one in REHEARSALS:
            play = self._handler(one, self._rehearsal) if self._rehearsal is not None else _not_played
            calls.append(web.route(one.method, one.path, play))
        return [*calls, web.get("/openapi.json", self._openapi)]

    def _handler(self, operation: Operation, service: OtpService | Rehearsal) -> Handler:
        if operation.is_status:
            return StatusCalls(self._waiters, self._door, operation).answer
        run, body = operation.run, operation.body
        keyed = KeyedCalls(self._waiters.service, service)

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = await self._door.admit(request, operation)
            if body is None:
                answer = await cast(Run, run)(service, caller, **request.match_info)
                return json_answer(answer)
            data = await json_object(request, optional=operation.body_optional)
            if run is None or (operation.takes_key and HEADER in request.headers):
                return await keyed.answer(request, caller, operation, validated(body, data), data)
            answer = await run(service, caller, validated(body, data), **request.match_info)
            return json_answer(answer)

        return handle

    async def _openapi(self, _request: web.Request) -> web.StreamResponse:
        if self._document is None:  # most services are never asked, and what makes it takes memory
            self._document = await asyncio.to_thread(_document, self._version)
        return web.Response(body=self._document, content_type="application/json")


def _document(version: str) -> bytes:
    from api import openapi  # noqa: PLC0415  # with the first who asks

    return openapi.as_json(version)


async def _not_played(_request: web.Request) -> web.StreamResponse:
    raise Problem("not_found", "In the sandbox people are played on the phones of its page, not by calls.")


class Health:
    """Liveness and readiness."""

    def __init__(self, store: Store, channels: Callable[[], Mapping[str, Any]]) -> None:
        """`channels` tells the messengers' state: shown, and never a reason to be unready."""
        self._store = store
        self._channels = channels
        self.draining = False
        """Set when the process is about to end: no new work shall come here."""

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [web.get("/healthz", self._alive), web.get("/readyz", self._ready)]

    async def _alive(self, _request: web.Request) -> web.StreamResponse:
        return json_answer({"status": "ok"})

    async def _ready(self, _request: web.Request) -> web.StreamResponse:
        store, told = "ok", {}
        try:
            await self._store.read(lambda tx: tx.next_job_at())
        except StorageUnavailable as error:
            store, told = "unavailable", {"store_detail": error.detail}
        ready = store == "ok" and not self.draining
        body = {
            "status": "ok" if ready else "unready",
            "store": store,
            **told,
            "draining": self.draining,
            **self._channels(),
        }
        return json_answer(body, status=200 if ready else 503)


Answered = Callable[[str, int, float], None]
"""Told of each answer to a call that is not of test mode: route, status, seconds."""


def frame(randomness: Randomness, answered: Answered | None = None) -> Middleware:
    """The middleware around everything."""

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        request[REQUEST_ID] = request_id = _request_id(request, randomness)
        begin_call(request_id=request_id)
        try:
            answer = await handler(request)
        except Exception as error:  # noqa: BLE001  # ours are logged
            answer = _answer_to(request, error)
        if PLAYED in request:
            say_test(answer)
        dress(answer, request)
        route, took = _route(request), perf_counter() - started
        log.info(
            "http.request", method=request.method, route=route, status=answer.status, ms=round(took * 1000, 1)
        )
        if answered is not None and PLAYED not in request:
            answered(route, answer.status, took)
        return answer

    return around


def refusal(randomness: Randomness) -> Callable[[int], web.Response]:
    """The answers to what is no HTTP request: such a thing reaches no route, and no middleware."""

    def refuse(status: int) -> web.Response:
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            answer = problem("malformed_json", "This is not a valid HTTP request.")
        else:
            answer = _our_fault()
        dress_as(answer, randomness.text(16), kept=False)
        return answer

    return refuse


def _our_fault() -> web.Response:
    return problem("internal_error", "The request could not be completed. It is not your fault.")


def _request_id(request: web.Request, randomness: Randomness) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _REQUEST_ID.fullmatch(given) else randomness.text(16)


def _route(request: web.Request) -> str:
    """The route's own pattern, never the path that was asked for: that may hold anything."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"


def _answer_to(request: web.Request, error: Exception) -> web.StreamResponse:
    """The problem that a handler ended in."""
    if isinstance(error, Problem):
        answer = problem(error.code, error.detail, headers=error.headers)
        if error.close:
            answer.force_close()
        return answer
    if isinstance(error, InvalidFields):
        return problem("validation_failed", "The request has fields that are not valid.", errors=error.errors)
    if isinstance(error, OtpError):
        return of_error(error)
    if isinstance(error, web.HTTPException):
        return _http_problem(error)
    log.error("http.failed", route=_route(request), exc_info=error)
    return _our_fault()


def _http_problem(error: web.HTTPException) -> web.StreamResponse:
    if isinstance(error, web.HTTPNotFound):
        return problem("not_found", "There is nothing at this path.")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return problem("method_not_allowed", f"Allowed here: {allowed}.", headers={"Allow": allowed})
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return problem("body_too_large", "The body is too large.")
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    return problem("malformed_json", "The request could not be read.")
