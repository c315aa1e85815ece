"""The status call: at once, at the change (`?wait=`), or each change as a server-sent event.

Ten thousand may wait at the same time, so what stays in memory meanwhile is little: no task, no timer, no copy.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, Protocol, cast
from urllib.parse import parse_qsl
from zlib import crc32

from aiohttp import web

from api.answers import PLAYED, TEST, dress, json_answer, json_body
from api.auth import Door
from api.bodies import InvalidFields
from api.operations import Operation
from otp.errors import OtpError
from otp.model import Caller, RequestStatus
from otp.notices import rfc3339
from otp.phones import take
from otp.policy import SECOND_MS
from otp.service import RequestState
from otp.waiting import Waiter, Waiters

EVENT_STREAM: Final = "text/event-stream"
GONE: Final = 499
"""What the log says, as others do, of a caller that went away before its answer."""
LONGEST_WAIT: Final = 30
HEARTBEAT_MS: Final = 15 * SECOND_MS
"""A stream is silent no longer than this: proxies between us take silence for the end."""
HEARTBEAT: Final = b":\n\n"
RETRY_MS: Final = 1_000
RETRY_SPREAD_MS: Final = 2_000
"""After a restart they do not all come back in the same moment."""
_SECONDS: Final = re.compile(r"[1-9]|[12][0-9]|30", re.ASCII)
_QUALITY: Final = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?", re.ASCII)


class Connection(Protocol):
    """What is needed of a connection (`config.connections`)."""

    when_lost: Callable[[], None] | None


class Following(ABC):
    """Answers what became of a request, in all forms, to whoever may know."""

    def __init__(self, waiters: Waiters) -> None:
        self._waiters = waiters

    @abstractmethod
    async def _admit(self, request: web.Request) -> tuple[Caller, str]:
        """On whose behalf a caller asks, and about which request. Raises `Problem`, `OtpError`."""

    @abstractmethod
    def _seat(self, request: web.Request) -> AbstractContextManager[None]:
        """A place to wait, for a caller that was let in. Raises `Problem`."""

    @abstractmethod
    async def _still_opens(self, request: web.Request) -> bool:
        """Whether a caller that was let in long ago would be let in now."""

    @abstractmethod
    async def _body(self, request_id: str, state: RequestState) -> dict[str, Any]:
        """What is told."""

    async def _once(self, _caller: Caller, _request_id: str, _state: RequestState) -> dict[str, Any]:
        """What only the answer that is about to be given tells, and no other one ever."""
        return {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What became of a request, now or later. Raises `InvalidFields`, `Problem`, `OtpError`."""
        caller, request_id = await self._admit(request)
        stream = wants_stream(request)
        seconds = _seconds(request, stream=stream)
        if request.method == "HEAD" or (not stream and seconds is None):
            state = await self._waiters.service.status(caller, request_id)
            once = await self._once(caller, request_id, state) if request.method != "HEAD" else {}
            answer = json_answer(await self._body(request_id, state) | once)
            return _head(answer) if stream else answer
        with self._seat(request), self._waiters.waiter(caller, request_id) as waiter:
            connection = cast(Connection, request.protocol)
            connection.when_lost = waiter.give_up
            if request.transport is None:
                waiter.give_up()  # it went away while its key was looked up
            try:
                if seconds is None:
                    return await self._stream(request, waiter, caller, request_id)
                state = await waiter.state()
                if not _is_final(state):
                    changed = await waiter.change(seconds * SECOND_MS)
                    if waiter.gone:
                        return web.Response(status=GONE)
                    # At the end of the process thousands are answered at once, and nothing told them to look again.
                    state = changed or (state if self._waiters.closed else await waiter.state())
                once = await self._once(caller, request_id, state)
                return json_answer(await self._body(request_id, state) | once)
            finally:
                connection.when_lost = None

    async def _stream(
        self, request: web.Request, waiter: Waiter, caller: Caller, request_id: str
    ) -> web.StreamResponse:
        state, seen = await waiter.state(), request.headers.get("Last-Event-ID")
        if _is_final(state) and event_id(state) == seen:
            return web.Response(status=204)  # how an EventSource learns that it need not come back
        more = TEST if PLAYED in request else {}
        answer = web.StreamResponse(headers={"Content-Type": EVENT_STREAM, "X-Accel-Buffering": "no"})
        dress(answer, request)
        await answer.prepare(request)
        answer.headers.clear()  # they are written; kept, they would be a tenth of what a stream takes
        with suppress(ConnectionError, OtpError):  # the client comes back, and is told then what is wrong
            await answer.write(b"retry: %d\n\n" % (RETRY_MS + crc32(request_id.encode()) % RETRY_SPREAD_MS))
            if event_id(state) != seen:
                once = await self._once(caller, request_id, state)
                await answer.write(_event(state, await self._body(request_id, state) | once | more))
            while not _is_final(state):
                changed = await waiter.change(HEARTBEAT_MS)
                if waiter.gone or (self._waiters.closed and not changed):
                    break
                if changed and not await self._still_opens(request):
                    break
                state = changed or state
                told = HEARTBEAT
                if changed:
                    once = await self._once(caller, request_id, changed)
                    told = _event(changed, await self._body(request_id, changed) | once | more)
                await answer.write(told)
        return answer


class StatusCalls(Following):
    """Answers the API's status call."""

    def __init__(self, waiters: Waiters, door: Door, operation: Operation) -> None:
        super().__init__(waiters)
        self._door = door
        self._operation = operation

    async def _admit(self, request: web.Request) -> tuple[Caller, str]:
        return await self._door.admit(request, self._operation), request.match_info["request_id"]

    def _seat(self, request: web.Request) -> AbstractContextManager[None]:
        return self._door.seat(request)

    async def _still_opens(self, request: web.Request) -> bool:
        return await self._door.still_opens(request)

    async def _body(self, _request_id: str, state: RequestState) -> dict[str, Any]:
        return body(state)

    async def _once(self, caller: Caller, request_id: str, state: RequestState) -> dict[str, Any]:
        """The phone number, which is erased as it is told: of two who ask at once, one gets it."""
        service = self._waiters.service
        number = await take(service.store, service.rules, caller, request_id) if state.has_phone else None
        return {"phone": number} if number is not None else {}


def _head(answer: web.Response) -> web.Response:
    """What `HEAD` tells of a stream: it never waits, and there is no length."""
    answer.content_type = EVENT_STREAM
    answer.body = None
    return answer


def body(state: RequestState) -> dict[str, Any]:
    """A state as the API tells it."""
    told: dict[str, Any] = {"status": state.status}
    if state.subscriber_id is not None:
        told |= {"subscriber_id": state.subscriber_id, "channel": state.channel}
    told |= {"created_at": rfc3339(state.created_at), "expires_at": rfc3339(state.expires_at)}
    if state.sent_at is not None:
        told["sent_at"] = rfc3339(state.sent_at)
    if state.verified_at is not None:
        told |= {"verified": True, "verified_at": rfc3339(state.verified_at)}
    if state.proof is not None:
        told["proof"] = state.proof
    if state.phone_pending:
        told["phone_pending"] = True
    return told | ({"reported": True} if state.reported else {})


def event_id(state: RequestState) -> str:
    """What tells one state of a request from another: none comes twice."""
    return f"{state.status}-reported" if state.reported else str(state.status)


def _event(state: RequestState, told: dict[str, Any]) -> bytes:
    return b"event: status\nid: %s\ndata: %s\n\n" % (event_id(state).encode(), json_body(told))


def _is_final(state: RequestState) -> bool:
    return state.status is not RequestStatus.PENDING


def _seconds(request: web.Request, *, stream: bool) -> int | None:
    """How long to wait; None when that was not asked for. Raises `InvalidFields`."""
    # Not `request.query`: it would be kept as long as the call lasts.
    query = request.rel_url.raw_query_string
    if not query:
        return None
    fields = parse_qsl(query, keep_blank_values=True)
    given = [value for name, value in fields if name == "wait"]
    if not given:
        return None
    if stream:
        raise InvalidFields([{"field": "wait", "message": f"goes with JSON, not with {EVENT_STREAM}"}])
    if len(given) > 1 or not _SECONDS.fullmatch(given[0]):
        message = f"must be a whole number of seconds from 1 to {LONGEST_WAIT}, given once"
        raise InvalidFields([{"field": "wait", "message": message}])
    return int(given[0])


def wants_stream(request: web.Request) -> bool:
    """Whether `Accept` names the event stream and prefers it; where both forms are named alike, JSON it is."""
    accepted = ",".join(request.headers.getall("Accept", ())).lower()
    if EVENT_STREAM not in accepted:
        return False
    quality: dict[str, float] = {}
    for part in accepted.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        q = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        if _QUALITY.fullmatch(q):
            quality[media] = float(q)
    wanted = quality.get(EVENT_STREAM, 0.0)
    if "application/json" in quality:
        return wanted > quality["application/json"]
    other = quality.get("application/*", quality.get("*/*", 0.0))
    return wanted > 0 and wanted >= other
