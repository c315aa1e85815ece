"""The bot's calls on their way through a simulator: recorded, disturbed by faults, carried out, answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.wire import JSON, Call, Fault, Refused

Work = Callable[[], Awaitable[Any]]


class Exchange:
    """Answers calls and keeps a record of them; `error` makes the body of an error that a fault asks for."""

    def __init__(self, *, error: Callable[[int, int | None], JSON], wake: Callable[[], None]) -> None:
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self._error = error
        self._wake = wake
        self._released = asyncio.Event()

    async def answer(self, request: web.Request, call: Call, work: Work) -> web.Response:
        """Let `work` carry the call out, and the first fault that strikes it do its harm."""
        self.calls.append(call)
        self._wake()
        try:
            return await self._answer(request, call, work)
        finally:
            self._wake()

    def release(self) -> None:
        """Let go of every call that is held up, now and from now on."""
        self._released.set()
        for fault in self.faults:
            if fault.hold is not None:
                fault.hold.set()

    async def _answer(self, request: web.Request, call: Call, work: Work) -> web.Response:
        fault = next((fault for fault in self.faults if fault.take(call.method)), None)
        if fault and fault.when == "before" and (response := await self._strike(request, call, fault)):
            return response
        call.status, body = await self._carry_out(call, work)
        if fault and fault.when == "after" and (response := await self._strike(request, call, fault)):
            return response
        text = json.dumps(body)
        if fault and fault.truncate:
            text = text[: len(text) // 2]
        return web.Response(status=call.status, text=text, content_type="application/json")

    async def _carry_out(self, call: Call, work: Work) -> tuple[int, Any]:
        try:
            body = await work()
        except Refused as refused:
            if refused.violation:
                call.violations.append(refused.violation)
            return refused.status, refused.body
        call.done = True
        return 200, body

    async def _strike(self, request: web.Request, call: Call, fault: Fault) -> web.Response | None:
        await self._hold_up(fault)
        if fault.drop:
            call.status = 0
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        response = fault.response(self._error)
        if response is not None:
            call.status = response.status
        return response

    async def _hold_up(self, fault: Fault) -> None:
        if fault.hold is not None and not self._released.is_set():
            await fault.hold.wait()
        if fault.delay:
            try:
                await asyncio.wait_for(self._released.wait(), fault.delay)
            except TimeoutError:
                return
