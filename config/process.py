"""A process as the operating system sees it: exit codes, signals, the listening socket."""

from __future__ import annotations

import asyncio
import errno
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

# From sysexits.h: EX_CONFIG, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE.
EXIT_CONFIG: Final = 78
EXIT_STORE: Final = 74
EXIT_BUSY: Final = 75
EXIT_PORT: Final = 69

KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the usual 60 s of a reverse proxy, which must be the one that closes idle connections."""
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

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `StartError`."""
        from aiohttp import web

        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError as error:
            why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(f"can't listen on {host}:{port}: {why}", EXIT_PORT) from error

    async def refuse_new(self) -> None:
        """Take no new connections; those that are there go on."""
        for site in list(self._runner.sites):
            await site.stop()

    async def close(self) -> None:
        """Let calls under way end, and close."""
        await self._runner.cleanup()


def take_over_loop() -> asyncio.Event:
    """Log the loop's own troubles; the event is set by SIGINT and SIGTERM."""
    from config.logs import watch

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    watch(loop)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop
