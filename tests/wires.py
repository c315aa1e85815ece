"""What can stand where a messenger should: servers on loopback that break HTTP, and a line that can be cut."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from sandbox.demo import Demo

HANDFUL: Final = 65536
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def heard(reader: asyncio.StreamReader) -> bytes:
    """One whole request: its head, and the body that `Content-Length` promises or a chunked one."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if fields.get(b"transfer-encoding") == b"chunked":
        return head + await reader.readuntil(b"\r\n0\r\n\r\n")
    return head + await reader.readexactly(int(fields.get(b"content-length", b"0")))


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """A port of 127.0.0.1 at which every connection is talked to in this way."""
    conversations: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            with suppress(ConnectionError, EOFError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            conversations.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in list(conversations):
            one.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)


@asynccontextmanager
async def nobody() -> AsyncIterator[int]:
    """A port of 127.0.0.1 that refuses connections, and that nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@dataclass
class Line:
    """The line to one messenger: `up`, `refusing` connections, or `deaf`: taking them and answering nothing."""

    target: int
    port: int = 0
    calls: int = 0
    """Connections taken so far."""
    _state: Literal["up", "refusing", "deaf"] = "refusing"
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        """What to give as the messenger's API address."""
        return f"http://127.0.0.1:{self.port}"

    async def become(self, state: Literal["up", "refusing", "deaf"]) -> None:
        """Change; connections that are open are cut."""
        self._state = state
        if state == "refusing" and self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        if state != "refusing" and self._server is None:
            self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.calls += 1
        self._open.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):  # cut: no fault of the test's
                await (self._swallow(reader) if self._state == "deaf" else self._relay(reader, writer))
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _swallow(self, reader: asyncio.StreamReader) -> None:
        while await reader.read(HANDFUL):
            pass

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
        finally:
            far_writer.transport.abort()


@dataclass
class Lines:
    """The lines to both messengers; `lay` them between a service and its messengers."""

    telegram: Line = field(default_factory=lambda: Line(0))
    max: Line = field(default_factory=lambda: Line(0))

    async def lay(self, demo: Demo) -> dict[str, str]:
        """Connect both; the settings that lead over them."""
        for line, url in ((self.telegram, demo.telegram_url), (self.max, demo.max_url)):
            line.target = int(url.rsplit(":", 1)[1])
            await line.become("up")
        return {"telegram_api_url": self.telegram.url, "max_api_url": self.max.url}

    def to(self, channel: str) -> Line:
        """The line to a messenger."""
        return self.telegram if channel == "telegram" else self.max

    async def cut(self) -> None:
        """Take both away."""
        await self.telegram.become("refusing")
        await self.max.become("refusing")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while found := await reader.read(HANDFUL):
            writer.write(found)
            await writer.drain()
    writer.close()
