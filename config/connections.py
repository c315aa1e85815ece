"""The connections to the service: how many there may be, which one gives way, and how long one may keep us waiting."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from typing import Final, cast

import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.streams import StreamReader

from otp.tasks import Tasks

KEEP_ALIVE_SECONDS: Final = 25
"""A connection that has not sent a whole request head for this long is closed, the first one too: half-sent heads and
silent connections cost a file each. A reverse proxy should let go of idle connections before."""
UNREAD_SECONDS: Final = 15
"""A client that has not taken what was answered by then is not going to."""
MOST_CONNECTIONS: Final = 16_000
"""However many files there are: each connection costs some ten kilobytes."""
LARGEST_RESERVE: Final = 512
"""Files that are never given to connections: the store, the logs, and the calls of the messengers need some."""
GRACE_SECONDS: Final = 0.25
"""A new connection has this long before it must give way to the next one; else a rush would close what it opens."""
LARGEST_READ: Final = 16 * 1024
"""Bytes taken at once. asyncio's own 256 KiB, some copies of them, and a crowd that sends that much make gigabytes."""
LOOK_AGAIN_SECONDS: Final = 0.05
AT_ONCE: Final = 32
"""Connections taken before everybody else has a turn."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

log = structlog.get_logger()

Refusal = Callable[[int], web.Response]
"""The answer to what is no request: it has no path and no headers that could be trusted."""


def most_connections(files: int) -> int:
    """How many connections a process with so many files may have; negative means as many files as it likes."""
    return min(MOST_CONNECTIONS, files - min(LARGEST_RESERVE, files // 2)) if files >= 0 else MOST_CONNECTIONS


class Crowd:
    """All connections. At the limit one that nobody would miss gives way to a new one; calls under way never do."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._strangers: dict[Connection, None] = {}
        """Owe us something: a first request, the rest of a body, or reading their answers. The oldest is first."""
        self._known: dict[Connection, None] = {}
        """Made a whole call; the one that was answered the longest ago is first."""
        self.is_awaited = False
        """Whether others wait outside while all have calls under way: then each answer is its connection's last."""

    def __len__(self) -> int:
        return len(self._strangers) + len(self._known)

    def __iter__(self) -> Iterator[Connection]:
        return iter([*self._strangers, *self._known])

    def enter(self, one: Connection, *, known: bool) -> None:
        """Count a connection, or count it anew."""
        self.leave(one)
        (self._known if known else self._strangers)[one] = None

    def leave(self, one: Connection) -> None:
        """Count it no more."""
        self._strangers.pop(one, None)
        self._known.pop(one, None)

    @property
    def has_room(self) -> bool:
        """Whether one more connection can be taken."""
        return len(self) < self._most or self._idlest() is not None

    def make_room(self) -> None:
        """Close as few as needed to be within the limit."""
        while len(self) > self._most and self.close_one():
            pass

    def close_one(self) -> bool:
        """Close the one that would be missed the least; False when all have calls under way."""
        one = self._idlest()
        if one is not None:
            one.cut()
        return one is not None

    def _idlest(self) -> Connection | None:
        """None too while there are newcomers who had no time to ask: soon there will be one, or a call more."""
        new = False
        for one in self._strangers:
            if one.is_idle:
                if one.had_time:
                    return one
                new = True
        return None if new else next((one for one in self._known if one.is_idle), None)


class Connection(web.RequestHandler):
    """aiohttp's side of a connection, which knows whether it may be closed, and waits for no one for ever."""

    __slots__ = ("_crowd", "_impatience", "_refusal", "_rest", "_since", "_wire", "when_lost")

    def __init__(self, server: web.Server, crowd: Crowd, refusal: Refusal) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's runners pass None too
            auto_decompress=False,  # a few bytes would become gigabytes
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        )
        self._crowd = crowd
        self._refusal = refusal
        self._wire: asyncio.Transport | None = None
        """aiohttp forgets its transport when it begins to close; what is not taken then still has to be dropped."""
        self._rest: StreamReader | None = None
        """The body of the last call that was answered."""
        self._impatience: asyncio.TimerHandle | None = None
        self.when_lost: Callable[[], None] | None = None
        """Called when the other side goes away, for a call under way that would wait for nobody. (Cancelling its task
        would leave a cycle of its frames and the exception, and with them all its memory, to the garbage collector.)"""
        self._since = self._loop.time()
        crowd.enter(self, known=False)

    @property
    def had_time(self) -> bool:
        """Whether a first request could be here by now."""
        return self._loop.time() - self._since >= GRACE_SECONDS

    @property
    def is_idle(self) -> bool:
        """Whether no call is under way: a head is awaited, or the rest of a body that nobody needs, or to be read.

        `_waiter` is aiohttp's own, and the only sign that it waits for a head and has not just got a whole one.
        """
        awaits_head = self._waiter is not None and not self._waiter.done()
        awaits_rest = self._rest is not None and not self._rest.is_eof()
        return awaits_head or awaits_rest or self.writing_paused

    @property
    def body_to_come(self) -> StreamReader | None:
        """The body of the call under way, while it is not all here. `_current_request` is aiohttp's own, like `_waiter`."""
        request = self._current_request
        return request.content if request is not None and not request.content.is_eof() else None

    def cut(self) -> None:
        """End it now."""
        self._crowd.leave(self)
        if self._wire is not None:
            self._wire.abort()

    # ---------------------------------------------------------------- what asyncio and aiohttp call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._wire = cast(asyncio.Transport, transport)
        if hasattr(transport, "max_size"):  # asyncio's own; other loops read as they like
            vars(transport)["max_size"] = LARGEST_READ
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._crowd.leave(self)
        self._wire = None
        self._be_patient()
        super().connection_lost(exc)
        if self.when_lost is not None:
            self.when_lost()

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        super().pause_writing()
        self._crowd.enter(self, known=False)
        self._be_impatient()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._be_patient()

    async def start(self) -> None:
        """Serve, to the end; what the client has not taken by then is not kept for ever."""
        try:
            await super().start()
        finally:
            if self._wire is not None and self._wire.get_write_buffer_size():
                self._be_impatient()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answer. What aiohttp answers by itself (to an `Expect` that is nonsense) is no exception to our form."""
        if isinstance(resp, web.HTTPException) and resp.status >= web.HTTPBadRequest.status_code:
            resp = self.handle_error(request, resp.status)
        if self._crowd.is_awaited:
            resp.force_close()
        told = await super().finish_response(request, resp, start_time)
        if self._wire is not None:
            self._rest = request.content
            self._crowd.enter(self, known=request.content.is_eof())
        return told

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no request; aiohttp's own would repeat what was sent."""
        writer: AbstractStreamWriter = request.writer
        if writer.output_size > 0:
            raise ConnectionError("an answer was begun already")
        log.info("http.refused", status=status, why=type(exc).__name__ if exc is not None else None)
        answer = self._refusal(status)
        answer.force_close()
        return answer

    def _be_impatient(self) -> None:
        self._be_patient()
        self._impatience = self._loop.call_later(UNREAD_SECONDS, self.cut)

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None


class Listener:
    """Takes new connections, as long as there is room for them; the others wait outside.

    asyncio's own way would take all that wait before it asks for a single protocol, and stop for a second once no
    file is left.
    """

    def __init__(self, crowd: Crowd, connection: Callable[[], Connection]) -> None:
        """`connection` makes the protocol of a new one."""
        self._crowd = crowd
        self._connection = connection
        self._listening: list[socket.socket] = []
        self._tasks = Tasks(lambda error: log.error("background.failed", exc_info=error))

    async def open(self, host: str, port: int, backlog: int) -> None:
        """Listen on every address of the host. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        bound = await loop.create_server(asyncio.Protocol, host, port, start_serving=False)
        self._listening = [each.dup() for each in bound.sockets]
        bound.close()
        for each in self._listening:
            each.listen(backlog)
        for each in self._listening:
            self._tasks.start(self._admit(each))

    async def close(self) -> None:
        """Take no more."""
        await self._tasks.drain(0)
        while self._listening:
            self._listening.pop().close()

    async def _admit(self, listening: socket.socket) -> None:
        taken = 0
        while True:
            self._crowd.is_awaited = not self._crowd.has_room
            if self._crowd.is_awaited:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                continue
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
            except OSError as error:
                if error.errno in _EXHAUSTED:  # in spite of the reserve
                    self._crowd.close_one()
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                continue
            one = self._connection()
            self._crowd.make_room()
            self._tasks.start(self._connect(one, accepted))
            taken += 1
            if taken % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _connect(self, one: Connection, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: one, accepted)
        except OSError:
            self._crowd.leave(one)
            accepted.close()
