"""The way to endpoints, over real sockets: what may be reached, and what an ill-behaved one can do to us."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from api import outgoing
from api.outgoing import EndpointPost, addresses_of, is_public
from otp.ports import Reply
from tests.certificates import Authority
from tests.wires import Talk, heard, listening, nobody

AGENT = "tapcode/test"
HEADERS = {"webhook-id": "evt_1"}
HOST = "shop.example"


@asynccontextmanager
async def posting(**options: Any) -> AsyncIterator[EndpointPost]:
    """A way to endpoints."""
    made = EndpointPost(AGENT, **{"private": True, **options})
    try:
        yield made
    finally:
        await made.close()


def answers(raw: bytes) -> Talk:
    """An endpoint that answers with these bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(raw)
        await writer.drain()
        await reader.read()

    return talk


async def said(talk: Talk, **options: Any) -> Reply:
    """What comes of one attempt."""
    async with listening(talk) as port, posting(**options) as post:
        return await post.post(f"http://127.0.0.1:{port}/hook", HEADERS, b"{}")


@pytest.mark.parametrize("status", [200, 204, 299, 301, 308, 400, 410, 500, 503])
async def test_the_status_is_what_counts(status: int) -> None:
    """Whatever it is; a redirect is not followed."""
    head = f"HTTP/1.1 {status} x\r\nContent-Length: 0\r\nLocation: http://169.254.169.254/latest\r\n\r\n"
    assert await said(answers(head.encode())) == Reply(status)


async def test_what_is_sent() -> None:
    """The body as it is, the headers, and who we are; no cookie that was set before comes back."""
    got: list[tuple[dict[str, str], bytes]] = []

    async def hook(request: web.Request) -> web.Response:
        got.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        return web.Response(headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.add_routes([web.post("/hook", hook)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with posting() as post:
        for _ in range(2):
            await post.post(f"http://127.0.0.1:{port}/hook", HEADERS, b'{"a": 1}')
    await runner.cleanup()
    for headers, body in got:
        assert body == b'{"a": 1}'
        assert (headers["content-type"], headers["user-agent"]) == ("application/json", AGENT)
        assert headers["webhook-id"] == "evt_1"
        assert not {"cookie", "authorization"} & set(headers)


@pytest.mark.parametrize("given,seconds", [("7", 7), ("x", 0), ("-1", 0), ("9" * 10, 0), ("٧", 0)])
async def test_an_endpoint_may_ask_for_time(given: str, seconds: int) -> None:
    """In seconds; anything else is not understood."""
    raw = f"HTTP/1.1 429 x\r\nRetry-After: {given}\r\nContent-Length: 0\r\n\r\n".encode()
    assert await said(answers(raw)) == Reply(429, retry_after_ms=seconds * 1000)


async def test_an_endless_answer_is_not_read() -> None:
    """A little of it is; and it arrived all the same."""
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await heard(reader)
        writer.write(b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
            await writer.drain()
            sent += 0x1000

    assert await said(talk) == Reply(200)
    assert sent < 8 * 1024 * 1024


async def test_a_body_byte_by_byte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The status was there."""
    monkeypatch.setattr(outgoing, "BODY_SECONDS", 0.05)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    assert await said(talk) == Reply(200)


@pytest.mark.parametrize(
    "kind", ["hangs", "heads byte by byte", "only ever says continue", "never takes the body"]
)
async def test_one_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """After the time of an attempt, whatever it does meanwhile."""
    monkeypatch.setattr(outgoing, "ATTEMPT_SECONDS", 0.1)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind != "never takes the body":
            await heard(reader)
        if kind == "heads byte by byte":
            writer.write(b"HTTP/1.1 200 x\r\nX: ")
        while True:
            if kind == "heads byte by byte":
                writer.write(b"x")
            if kind == "only ever says continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.01)

    assert await said(talk) == Reply(None, "timeout")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 x\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 20",
        b"\0" * 100_000,
    ],
)
async def test_what_is_no_answer(raw: bytes) -> None:
    """And one that ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(raw)
        await writer.drain()

    assert await said(talk) == Reply(None, "unreadable")


async def test_a_head_without_end_is_cut() -> None:
    """It takes no memory."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 x\r\n")
        while True:
            writer.write(b"X-Y: " + b"x" * 1000 + b"\r\n")
            await writer.drain()

    assert (await said(talk)).why == "unreadable"


async def test_nobody_there() -> None:
    """No connection, and a name that leads nowhere."""

    def lookup(name: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with nobody() as port, posting(lookup=lookup) as post:
        assert await post.post(f"http://127.0.0.1:{port}/", {}, b"") == Reply(None, "unreachable")
        assert await post.post("https://nowhere.example/", {}, b"") == Reply(None, "unreachable")


# ------------------------------------------------------------------ where it may go


PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",  # noqa: S104
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:0",
    "::127.0.0.1",
    "::a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:5ef5:79fb:0:59c:9fff:fffe",
    "2001:db8::1",
    "100::1",
]
PUBLIC = [
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
    "2002:101:101::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address(address: str) -> None:
    """Of this machine, of a network around it, of a cloud's metadata, in whatever form it is written."""
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address: str) -> None:
    """The internet."""
    assert is_public(address)


@pytest.mark.parametrize("address", [one for one in PRIVATE if "%" not in one])
async def test_no_connection_is_made_into_a_private_network(address: str) -> None:
    """Neither by the address itself nor by a name that leads there; no socket is even opened."""
    host = f"[{address}]" if ":" in address else address
    async with posting(private=False, lookup=lambda _: [address]) as post:
        assert await post.post(f"https://{HOST}/", {}, b"") == Reply(None, "address_not_allowed")
        assert await post.post(f"https://{host}/", {}, b"") == Reply(None, "address_not_allowed")
        assert await post.post(f"http://{host}/", {}, b"") == Reply(None, "address_not_allowed")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost", "LOCALHOST."])
async def test_other_ways_to_write_this_machine(host: str) -> None:
    """As the machine's own resolver understands them, or not at all."""
    async with listening(answers(b"HTTP/1.1 200 x\r\n\r\n")) as port, posting(private=False) as post:
        assert (await post.post(f"https://{host}:{port}/", {}, b"")).status is None


async def test_a_name_that_leads_elsewhere_the_next_time() -> None:
    """It is the address of the connection that counts, at each connection."""
    asked: list[str] = []

    def lookup(name: str) -> list[str]:
        asked.append(name)
        return ["192.0.2.1"] if len(asked) == 1 else ["127.0.0.1"]

    connected = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1

    async with listening(talk) as port, posting(private=False, lookup=lookup) as post:
        for _ in range(3):
            assert (await post.post(f"https://{HOST}:{port}/", {}, b"")).why == "address_not_allowed"
    assert (connected, len(asked)) == (0, 3)


async def test_plain_http_stays_in_the_private_network() -> None:
    """Even where private addresses are allowed."""
    async with posting(lookup=lambda _: ["1.1.1.1"]) as post:
        assert (await post.post("http://shop.example/", {}, b"")).why == "address_not_allowed"
        assert (await post.post("http://1.1.1.1/", {}, b"")).why == "address_not_allowed"


async def test_a_name_is_asked_for_once_at_a_time() -> None:
    """However many wait for it: a name server that hangs holds one thread."""
    asked = 0
    loop, hold = asyncio.get_running_loop(), asyncio.Event()

    def lookup(name: str) -> list[str]:
        nonlocal asked
        asked += 1
        asyncio.run_coroutine_threadsafe(hold.wait(), loop).result()
        return ["127.0.0.1"]

    async with nobody() as port, posting(lookup=lookup) as post:
        calls = [asyncio.create_task(post.post(f"http://a.example:{port}/", {}, b"")) for _ in range(10)]
        await asyncio.sleep(0.05)
        hold.set()
        assert {reply.why for reply in await asyncio.gather(*calls)} == {"unreachable"}
    assert asked == 1


def test_a_name_is_looked_up_as_the_machine_does() -> None:
    """Each address once."""
    found = addresses_of("localhost")
    assert set(found) <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) > 0


# ------------------------------------------------------------------ certificates


@asynccontextmanager
async def tls(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that answers 200 over TLS; its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


Make = Callable[[Authority], ssl.SSLContext]


@pytest.mark.parametrize(
    "make,reply",
    [
        (lambda authority: authority.server(HOST), Reply(200)),
        (lambda authority: authority.server("other.example"), Reply(None, "certificate")),
        (lambda authority: authority.server(HOST, expired=True), Reply(None, "certificate")),
    ],
    ids=["sound", "of another name", "expired"],
)
async def test_certificates_are_looked_at(tmp_path: Path, make: Make, reply: Reply) -> None:
    """By name and date; one that is not sound is a failure."""
    authority = Authority(tmp_path)
    async with (
        tls(make(authority)) as port,
        posting(lookup=lambda _: ["127.0.0.1"], context=authority.trusting()) as post,
    ):
        assert await post.post(f"https://{HOST}:{port}/", {}, b"") == reply


async def test_an_unknown_authority_is_no_authority(tmp_path: Path) -> None:
    """As the machine has them."""
    async with (
        tls(Authority(tmp_path).server(HOST)) as port,
        posting(lookup=lambda _: ["127.0.0.1"]) as post,
    ):
        assert await post.post(f"https://{HOST}:{port}/", {}, b"") == Reply(None, "certificate")


async def test_no_tls_where_it_should_be() -> None:
    """A plain server behind https."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with listening(talk) as port, posting() as post:
        assert await post.post(f"https://127.0.0.1:{port}/", {}, b"") == Reply(None, "tls")
