"""A process as the operating system sees it: exit codes, signals, the listening socket."""

from __future__ import annotations

import asyncio
import errno
import gc
import resource
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiohttp import web

    from config.connections import Connection, Refusal

# From sysexits.h: EX_CONFIG, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE.
EXIT_CONFIG: Final = 78
EXIT_STORE: Final = 74
EXIT_BUSY: Final = 75
EXIT_PORT: Final = 69
EXIT_PIPE: Final = 141
"""As a shell has it for a program that SIGPIPE ends: 128 and its number."""

BACKLOG: Final = 1024
BODY_LOOK_SECONDS: Final = 0.05


class StartError(Exception):
    """The process can't start or go on; one line for the operator, and the exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


class Server:
    """One aiohttp server."""

    def __init__(
        self, app: web.Application, drain_seconds: float, refusal: Refusal, most: int | None = None
    ) -> None:
        """`drain_seconds`: how long calls under way may go on after `close` began; `most`: connections, else all."""
        from aiohttp import web

        from config.connections import Crowd, Listener

        self._runner = web.AppRunner(app, shutdown_timeout=drain_seconds)
        self._crowd = Crowd(open_connections() if most is None else most)
        self._listener = Listener(self._crowd, self._connection)
        self._refusal = refusal
        self._drain_seconds = drain_seconds

    async def start(self, host: str, port: int, setting: str = "PORT") -> None:
        """Listen on a port that comes from a setting. Raises `StartError`."""
        await self._runner.setup()
        try:
            await self._listener.open(host, port, BACKLOG)
        except OSError as error:
            why = (
                f"the port is in use ({setting} sets another one)"
                if error.errno == errno.EADDRINUSE
                else error.strerror
            )
            raise StartError(f"can't listen on {host}:{port}: {why}", EXIT_PORT) from error

    def _connection(self) -> Connection:
        """The protocol of a new connection."""
        from config.connections import Connection

        server = self._runner.server
        if server is None:
            raise RuntimeError("a connection came after the end")
        return Connection(server, self._crowd, self._refusal)

    async def refuse_new(self) -> None:
        """Take no new connections; those that are there go on."""
        await self._listener.close()

    async def close(self) -> None:
        """Let calls under way end, and close."""
        await self.refuse_new()
        await self._bodies_arrive()
        await self._runner.cleanup()

    async def _bodies_arrive(self) -> None:
        """Wait for the bodies that are on their way: from its clean-up on, aiohttp throws away what comes in."""
        await asyncio.sleep(0)  # what was read already is being handled then
        coming = {one: body for one in self._crowd if (body := one.body_to_come) is not None}
        for _ in range(int(self._drain_seconds / BODY_LOOK_SECONDS)):
            if all(one.body_to_come is not body for one, body in coming.items()):
                return
            await asyncio.sleep(BODY_LOOK_SECONDS)


def open_connections() -> int:
    """How many connections the service may have."""
    from config.connections import most_connections

    return most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def most_waiters() -> int:
    """How many of them may wait for something: the others stay for calls that are short."""
    return max(1, open_connections() * 3 // 4)


def spare_collections() -> None:
    """Full garbage collections stop everything, for a third of a second when 10,000 wait: let them be rare and small.

    What was loaded by now stays for ever and is not looked at again. A full one comes after a million new objects at
    the earliest, which is what a crowd of waiters is, and 100 MB of garbage at the most.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 20)


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
