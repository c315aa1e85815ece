"""The server around the application: how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from api.bodies import read_limited
from config.process import Server
from tests.process import free_port


@pytest.fixture
async def port() -> int:
    """Where the server listens."""
    return free_port()


@pytest.fixture
async def server(port: int) -> AsyncIterator[Server]:
    """A server that tells how many bytes it was sent."""

    async def count(request: web.Request) -> web.Response:
        body = await read_limited(request, 1000)
        return web.Response(text=f"{len(body) if body is not None else 'cut off'}")

    app = web.Application()
    app.router.add_post("/", count)
    made = Server(app, 5, lambda status: web.Response(status=status))
    await made.start("127.0.0.1", port)
    yield made
    await made.close()


async def begin(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A call whose body has come half-way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")  # it is being handled
    writer.write(b"12345")
    await writer.drain()
    return reader, writer


async def test_a_body_on_its_way_is_awaited_at_the_end(server: Server, port: int) -> None:
    """A call that was begun is answered as if nothing had happened; the server is closed then."""
    reader, writer = await begin(port)
    closing = asyncio.create_task(server.close())
    with pytest.raises(ConnectionError):  # noqa: PT012 - until it is so
        while True:
            (await asyncio.open_connection("127.0.0.1", port))[1].close()
    writer.write(b"67890")
    assert (await reader.read()).endswith(b"\r\n\r\n10")
    await closing
    writer.close()


async def test_a_caller_that_goes_away_ends_the_wait(server: Server, port: int) -> None:
    """Nobody waits for a body that can't come."""
    _, writer = await begin(port)
    closing = asyncio.create_task(server.close())
    writer.close()
    async with asyncio.timeout(4):
        await closing
