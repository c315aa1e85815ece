"""A wire between the service and whoever calls it, that can act at the very moment when an answer passes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal


@dataclass
class Trap:
    """Does something once, when the service's next 200 to a path arrives here: `before` it is passed on, or `after`."""

    path: str
    when: Literal["before", "after"]
    act: Callable[[], None]


class Relay:
    """Passes bytes on, both ways. An answer whose trap strikes `before` is lost: its connection is dropped."""

    def __init__(self, *ports: int) -> None:
        """`ports`: where the service listens; with several, each connection goes to the next that takes it."""
        self.trap: Trap | None = None
        self.url = ""
        self.ports = list(ports)
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen on a free port of 127.0.0.1; after a `close`, on the same one."""
        port = int(self.url.rsplit(":", 1)[1]) if self.url else 0
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Drop everything."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(
            lambda _: writer.transport.abort()
        )  # also of one that was cancelled before it began

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in self.ports:
            self._turn += 1
            with suppress(OSError):
                there, service = await asyncio.open_connection(
                    "127.0.0.1", self.ports[self._turn % len(self.ports)]
                )
                break
        else:
            return
        asked = [b""]
        up = asyncio.create_task(_copy(reader, service, lambda chunk: asked.__setitem__(0, chunk[:200])))
        try:
            await self._answers(there, writer, asked)
        finally:
            service.transport.abort()  # first: the task may be cancelled while it waits
            up.cancel()
            await asyncio.gather(up, return_exceptions=True)

    async def _answers(
        self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: list[bytes]
    ) -> None:
        with suppress(OSError):
            while chunk := await there.read(65536):
                trap = self.trap
                struck = trap is not None and trap.path.encode() in asked[0] and b" 200 " in chunk[:16]
                if trap is None or not struck:
                    writer.write(chunk)
                    await writer.drain()
                    continue
                self.trap = None
                if trap.when == "after":
                    writer.write(chunk)
                    await writer.drain()
                trap.act()
                return


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Callable[[bytes], None]
) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65536):
            seen(chunk)
            writer.write(chunk)
            await writer.drain()
