"""A process as the operating system sees it: exit codes, signals, the listening socket."""

from __future__ import annotations

import asyncio
import errno
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler

# From sysexits.h: EX_CONFIG, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE.
EXIT_CONFIG: Final = 78
EXIT_STORE: Final = 74
EXIT_BUSY: Final = 75
EXIT_PORT: Final = 69

KEEP_ALIVE_SECONDS: Final = 25
"""A connection that has not sent a whole request head for this long is closed, the first one too: half-sent heads and
silent connections cost a file each. A reverse proxy should let go of idle connections before."""
BACKLOG: Final = 1024


class StartError(Exception):
    """The process can't start or go on; one line for the operator, and the exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


class Server:
    """One aiohttp server. Bodies are never decompressed: a few bytes would become gigabytes."""

    def __init__(self, app: web.Application, drain_seconds: float) -> None:
        """`drain_seconds`: how long calls under way may go on after `close` began."""
        from aiohttp import web

        self._runner = web.AppRunner(
            app,
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=drain_seconds,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        )
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `StartError`."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(self._connection, host, port, backlog=BACKLOG)
        except OSError as error:
            why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(f"can't listen on {host}:{port}: {why}", EXIT_PORT) from error

    def _connection(self) -> asyncio.Protocol:
        """The protocol of a new connection; aiohttp itself would wait for its first request for ever."""
        server = self._runner.server
        if server is None:
            raise ConnectionAbortedError("the server is closed")
        handler = server()
        asyncio.get_running_loop().call_later(KEEP_ALIVE_SECONDS, _close_if_silent, handler)
        return handler

    async def refuse_new(self) -> None:
        """Take no new connections; those that are there go on."""
        if self._listener is not None:
            self._listener.close()

    async def close(self) -> None:
        """Let calls under way end, and close."""
        await self.refuse_new()
        await self._runner.cleanup()


def _close_if_silent(handler: RequestHandler) -> None:
    """End a connection that has not sent one whole request head so far."""
    waiting = handler._waiter is not None and not handler._waiter.done()
    if waiting and not handler._keepalive:
        handler.force_close()


def raise_file_limit() -> None:
    """As many open files as the system allows this user: every connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def take_over_loop() -> asyncio.Event:
    """Log the loop's own troubles; the event is set by SIGINT and SIGTERM."""
    from config.logs import watch

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    watch(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
