"""A wire between the service and PostgreSQL that can be cut, held up, or lose the answer to a commit."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

Fate = Literal["pass", "hold", "refuse"]
COMMIT = b"COMMIT\0"
COMMITS_ALONE = re.compile(rb"P.{4}([^\0]+)\0SELECT [^\0]* FROM write_guesses\(", re.DOTALL)
"""A statement is prepared, under this name, that is a transaction by itself."""


class PgWire:
    """Passes bytes on between a port of 127.0.0.1 and the socket of a server."""

    def __init__(self, url: str) -> None:
        """`url`: a database of the server, by the folder of its socket or by its host."""
        parts = urlsplit(url)
        folder = parse_qs(parts.query).get("host", [""])[0]
        self._path = f"{unquote(folder)}/.s.PGSQL.5432" if folder else None
        self._there = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._user = f"{parts.username or 'postgres'}{':' + parts.password if parts.password else ''}"
        self._name = parts.path
        self._server: asyncio.Server | None = None
        self._passing: set[asyncio.Task[None]] = set()
        self.fate: Fate = "pass"
        self.lose_commits: Literal["no", "before", "after"] = "no"
        """The next commit is cut off before the server hears of it, or after it did and before its answer."""
        self._committing: set[bytes] = set()
        self.connections = 0
        """How often somebody connected."""
        self._flows = asyncio.Event()
        self._flows.set()

    async def __aenter__(self) -> PgWire:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        await self.cut()

    @property
    def url(self) -> str:
        """The database, over this wire."""
        if self._server is None:
            raise RuntimeError("the wire is not open")
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._user}@127.0.0.1:{port}{self._name}?sslmode=disable"

    async def cut(self) -> None:
        """Drop all connections."""
        self._flows.set()
        for task in list(self._passing):
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def hold(self) -> None:
        """From now on nothing gets through, and nobody is told."""
        self._flows.clear()

    def release(self) -> None:
        """Let everything through again."""
        self._flows.set()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fate == "refuse":
            writer.transport.abort()
            return
        self.connections += 1
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened = (
            asyncio.open_unix_connection(self._path) if self._path else asyncio.open_connection(*self._there)
        )
        with suppress(OSError):
            there, back = await opened
            try:
                up = asyncio.create_task(self._up(reader, back))
                down = asyncio.create_task(self._down(there, writer))
                try:
                    await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    up.cancel()
                    down.cancel()
                    await asyncio.gather(up, down, return_exceptions=True)
            finally:
                back.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await self._flows.wait()
            self._committing |= {b"\0" + name + b"\0" for name in COMMITS_ALONE.findall(chunk)}
            # It is prepared with one message and run with another one, which says its name again.
            runs = any(name in chunk for name in self._committing) and not COMMITS_ALONE.search(chunk)
            if (COMMIT in chunk or runs) and self.lose_commits != "no":
                when, self.lose_commits = self.lose_commits, "no"
                if when == "after":
                    self._deaf = True
                    back.write(chunk)
                    await back.drain()
                    await asyncio.sleep(0.05)  # the server commits; its answer is not passed on
                return
            back.write(chunk)
            await back.drain()

    _deaf = False

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(65536):
            await self._flows.wait()
            if self._deaf:
                self._deaf = False
                continue
            writer.write(chunk)
            await writer.drain()
