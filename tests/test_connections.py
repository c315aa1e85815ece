"""Connections: which one gives way at the limit, and that nobody is waited for without end."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from config import connections
from config.connections import most_connections
from config.process import Server
from tests.raw import PATIENCE, Wire, connect

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n"
BRIM = b"GET /brim HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 3


class House:
    """A server with room for three connections, and calls that last as long as is wanted."""

    def __init__(self) -> None:
        self.held = 0
        self.release = asyncio.Event()
        app = web.Application()
        app.add_routes(
            [
                web.route("*", "/", self._quick),
                web.get("/hold", self._hold),
                web.get("/large", self._large),
                web.get("/brim", self._brim),
            ]
        )
        self.server = Server(app, 1, lambda status: web.Response(status=status))
        self.port = 0
        self._wires: list[Wire] = []

    async def _quick(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _hold(self, _request: web.Request) -> web.Response:
        self.held += 1
        await self.release.wait()
        return web.Response()

    async def _large(self, _request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 1_000_000)

    async def _brim(self, request: web.Request) -> web.StreamResponse:
        """As much as the system takes for a client that does not read, and a little more; then the end."""
        answer = web.StreamResponse()
        answer.force_close()
        await answer.prepare(request)
        while (wire := request.transport) is not None and not wire.get_write_buffer_size():
            await answer.write(b"x" * 4096)
        return answer

    async def guest(self, data: bytes = b"", *, answered: bool = False) -> Wire:
        """A new connection that has sent something; with `answered`, after the answer."""
        wire = await connect(self.port)
        self._wires.append(wire)
        await wire.send(data)
        if answered:
            assert (await wire.answer()).status == 200
        return wire

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for something that the server does by itself."""
        async with asyncio.timeout(PATIENCE):
            while not true():  # noqa: ASYNC110  # the server sets no events for tests
                await asyncio.sleep(0.005)

    async def close(self) -> None:
        """Everybody leaves."""
        self.release.set()
        for wire in self._wires:
            wire.abort()
            await wire.closed()
        await self.server.close()

    @property
    def guests(self) -> int:
        """How many connections the server has."""
        return len(self.server._crowd)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int) -> AsyncIterator[House]:
    """An open house."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", LIMIT)
    monkeypatch.setattr(connections, "GRACE_SECONDS", 0)
    made = House()
    made.port = unused_tcp_port
    await made.server.start("127.0.0.1", made.port)
    yield made
    await made.close()


async def test_the_oldest_that_asked_nothing_gives_way(house: House) -> None:
    """Half a head is nothing; whoever made a whole call stays."""
    known = await house.guest(GET, answered=True)
    oldest = await house.guest(GET[:10])
    await house.until(lambda: house.guests == 2)
    younger = await house.guest(GET[:10])
    await house.until(lambda: house.guests == 3)
    new = await house.guest(GET, answered=True)
    await oldest.closed()
    for wire in (known, younger, new):
        await wire.send(GET[10:] if wire is younger else GET)
        assert (await wire.answer()).status == 200


async def test_whoever_has_just_come_has_time_to_ask(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a rush the next ones wait, instead of closing each other."""
    monkeypatch.setattr(connections, "GRACE_SECONDS", 1000)
    known = await house.guest(GET, answered=True)
    rush = [await house.guest() for _ in range(3 * LIMIT)]
    await house.until(lambda: house.server._crowd.is_awaited)
    for wire in (known, *rush):
        await wire.send(GET)
        assert (await wire.answer()).status == 200


async def test_else_the_one_that_was_quiet_for_the_longest(house: House) -> None:
    """What counts is the last answer, not the first."""
    first, second, third = [await house.guest(GET, answered=True) for _ in range(LIMIT)]
    await first.send(GET)
    await first.answer()
    await house.guest(GET, answered=True)
    await second.closed()
    for wire in (first, third):
        await wire.send(GET)
        assert (await wire.answer()).status == 200


async def test_a_body_that_nobody_needs_any_more_gives_way(house: House) -> None:
    """Its call was answered; the rest of the body is only read to be polite."""
    polite = await house.guest(GET, answered=True)
    owing = await house.guest(POST, answered=True)
    await house.guest(GET, answered=True)
    await house.guest(GET, answered=True)
    await owing.closed()
    await polite.send(GET)
    assert (await polite.answer()).status == 200


async def test_calls_under_way_are_never_cut(house: House) -> None:
    """While all are busy the next ones wait outside, and are let in once somebody has been answered."""
    busy = [await house.guest(HOLD) for _ in range(LIMIT)]
    await house.until(lambda: house.held == LIMIT)
    waiting = await house.guest(GET)
    await house.until(lambda: not house.server._crowd.has_room)
    assert house.guests == LIMIT
    house.release.set()
    assert [(await wire.answer()).status for wire in [*busy, waiting]] == [200] * 4


async def test_nobody_asks_on_and_on_while_others_wait(house: House) -> None:
    """When all are busy, an answer ends its connection, whatever was asked behind."""
    busy = [await house.guest(HOLD * 20) for _ in range(LIMIT)]
    await house.until(lambda: house.held == LIMIT)
    waiting = await house.guest(GET)
    await house.until(lambda: house.server._crowd.is_awaited)
    house.release.set()
    assert [[told.status for told in await wire.answers()] for wire in busy] == [[200]] * LIMIT
    assert (await waiting.answer()).status == 200
    assert house.held == LIMIT


async def test_a_pipelined_call_is_under_way_too(house: House) -> None:
    """The second call of a connection is as good as the first."""
    twice = await house.guest(GET + HOLD, answered=True)
    await house.until(lambda: house.held == 1)
    for _ in range(2 * LIMIT):
        await house.guest(GET, answered=True)
    house.release.set()
    assert (await twice.answer()).status == 200


async def test_who_does_not_read_gives_way(house: House) -> None:
    """Answers that nobody takes are no call under way."""
    deaf = [await house.guest(LARGE * 10) for _ in range(LIMIT)]
    await house.until(lambda: all(one.is_idle for one in house.server._crowd._strangers))
    for _ in range(LIMIT):
        await house.guest(GET, answered=True)
    for wire in deaf:
        await wire.closed()


@pytest.mark.parametrize("asked", [LARGE * 10, BRIM], ids=["while writing", "at the end"])
async def test_who_does_not_read_is_not_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch, asked: bytes
) -> None:
    """Neither while answers are written, nor when the connection is about to end with a little left."""
    monkeypatch.setattr(connections, "UNREAD_SECONDS", 0.05)
    wire = await house.guest(asked)
    await house.until(lambda: house.guests == 1)
    await house.until(lambda: house.guests == 0)
    await wire.closed()


async def test_who_reads_slowly_gets_everything(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being behind for a while is no crime."""
    slow = await house.guest(LARGE * 10)
    await house.until(lambda: any(one.writing_paused for one in house.server._crowd._strangers))
    for _ in range(10):
        assert len((await slow.answer()).body) == 1_000_000
    await slow.send(GET)
    assert (await slow.answer()).status == 200
    assert [one._impatience for one in house.server._crowd._known] == [None]


async def test_no_files_left(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection that does nothing gives way at once, and the door stays open."""
    loop, refused = asyncio.get_running_loop(), 0
    accept = loop.sock_accept

    async def exhausted(sock: Any) -> Any:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await accept(sock)

    idle = await house.guest()
    await house.until(lambda: house.guests == 1)
    monkeypatch.setattr(loop, "sock_accept", exhausted)
    await house.guest(GET, answered=True)  # taken by the call that waits already; the next ones fail
    await house.guest(GET, answered=True)
    await idle.closed()
    assert refused == 2


async def test_who_is_gone_is_not_counted(house: House) -> None:
    """Also one that goes before its call is answered."""
    leaver = await house.guest(HOLD)
    await house.until(lambda: house.held == 1)
    leaver.abort()
    await house.until(lambda: house.guests == 0)
    house.release.set()
    for _ in range(2 * LIMIT):
        (await house.guest(GET, answered=True)).abort()
    await house.until(lambda: house.guests == 0)


@pytest.mark.parametrize(
    "files,most", [(256, 128), (1024, 512), (4096, 3584), (1_000_000, 16_000), (-1, 16_000)]
)
def test_files_are_kept_for_ourselves(files: int, most: int) -> None:
    """Half of them when there are few, 512 when there are many; no limit is no reason to take everybody."""
    assert most_connections(files) == most
