"""HTTP by hand: bytes on a socket, and what came back, for tests of what no client library would send."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

PATIENCE = 40
"""Seconds; nothing that a test waits for takes longer, on a busy machine too."""


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send, as far as the other side takes it."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def answer(self) -> Told:
        """The next answer. Raises `asyncio.IncompleteReadError` when the connection ends instead."""
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])
            }
            status = int(head[0].split(" ")[1])
            return Told(status, headers, await self.reader.readexactly(int(headers.get("content-length", 0))))

    async def answers(self) -> list[Told]:
        """All answers until the other side closes."""
        found = []
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                found.append(await self.answer())
        return found

    async def closed(self) -> None:
        """Until the other side has closed."""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65536):
                    pass

    def abort(self) -> None:
        """Go away without a word."""
        self.writer.transport.abort()


async def connect(port: int, *, room: int | None = None) -> Wire:
    """A new connection to this machine; `room` is how many bytes the system takes for it before they are read."""
    end = socket.socket()
    if room is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    end.setblocking(False)
    await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
    return Wire(*await asyncio.open_connection(sock=end))


async def exchange(port: int, data: bytes) -> list[Told]:
    """Send bytes over a new connection; every answer until the other side closes."""
    wire = await connect(port)
    sending = asyncio.create_task(wire.send(data))
    try:
        return await wire.answers()
    finally:
        sending.cancel()
        wire.abort()
        await wire.closed()
