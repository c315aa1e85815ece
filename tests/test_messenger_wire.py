"""What a broken line or a server that speaks no proper HTTP means for a message: it may be out, or certainly is not.

Only what certainly did not arrive is ever sent again, so each of these decides between two codes and none.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import product

import pytest

from bot.messages import Message
from bot.messenger import Skin
from otp.ports import Accepted, NotSent, Outcome, Unknown
from tests.wires import Talk, heard, listening, nobody

HELLO = Message("hello")
TELEGRAM = {"ok": True, "result": {"message_id": 5, "date": 1, "chat": {"id": 7, "type": "private"}}}
MAX = {"message": {"body": {"mid": "mid.5"}}}
TRUE_ANSWER = {"telegram": json.dumps(TELEGRAM).encode(), "max": json.dumps(MAX).encode()}
both = pytest.mark.parametrize("channel", ["telegram", "max"])


@asynccontextmanager
async def skin_at(channel: str, url: str, proxy: str | None = None) -> AsyncIterator[Skin]:
    """A messenger's skin that calls this address."""
    from bot.max import MaxSkin
    from bot.telegram import TelegramSkin

    skin: Skin = (
        TelegramSkin("1:x", url, proxy) if channel == "telegram" else MaxSkin("secret-token", url, proxy)
    )
    try:
        yield skin
    finally:
        await skin.close()


async def sent(channel: str, url: str, *, proxy: str | None = None, timeout_ms: int = 5000) -> Outcome:
    """What comes of sending one message there."""
    async with skin_at(channel, url, proxy) as skin:
        return await skin.send(7, HELLO, timeout_ms)


async def sent_to(channel: str, talk: Talk, *, scheme: str = "http", timeout_ms: int = 5000) -> Outcome:
    """The same, to a server that talks like this."""
    async with listening(talk) as port:
        return await sent(channel, f"{scheme}://127.0.0.1:{port}", timeout_ms=timeout_ms)


def saying(raw: bytes, *, linger: bool = False) -> Talk:
    """Hear a request, answer these bytes and hang up, or stay silent after them."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await heard(reader)
        writer.write(raw)
        await writer.drain()
        if linger:
            await reader.read()
        writer.close()
        await writer.wait_closed()

    return talk


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    """A proper HTTP answer with further header fields."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(head).encode() + body


# ------------------------------------------------------------------ answers

TRUE = Accepted("?")
"""Stands for the true id."""
LATER = NotSent(86_400_000, answered=True)
"""A day at most; MAX's clients are not told how long."""

ANSWERS: dict[str, tuple[Callable[[bytes], bytes], Outcome]] = {
    "in another content type": (lambda true: answer(true, "Content-Type: text/html"), TRUE),
    "in an unknown charset": (lambda true: answer(true, "Content-Type: text/plain; charset=klingon"), TRUE),
    "with a false encoding": (lambda true: answer(true, "Content-Encoding: gzip"), Unknown()),
    "gzipped": (lambda true: answer(gzip.compress(true), "Content-Encoding: gzip"), TRUE),
    "cut within gzip": (lambda true: answer(gzip.compress(true)[:-12], "Content-Encoding: gzip"), Unknown()),
    "in no encoding at all": (lambda _: answer(b"\xff\xfe\x00\xd8{}", "Content-Type: text/plain"), Unknown()),
    "shorter than promised": (lambda true: answer(true)[:-3], Unknown()),
    "of a broken chunk": (
        lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
        Unknown(),
    ),
    "that is no HTTP": (lambda _: b"220 smtp.example.net ESMTP\r\n", Unknown()),
    "of HTTP/9": (lambda true: b"HTTP/9.9 200 OK\r\n\r\n" + true, Unknown()),
    "of no status": (lambda _: b"HTTP/1.1 OK\r\n\r\n", Unknown()),
    "cut in the head": (lambda _: b"HTTP/1.1 200 OK\r\nContent-Le", Unknown()),
    "of nothing": (lambda _: b"", Unknown()),
    "with two lengths": (lambda true: answer(true, "Content-Length: 2"), Unknown()),
    "with a NUL in a field": (lambda true: answer(true, "X-Odd: a\x00b"), Unknown()),
    "with a field too long": (lambda true: answer(true, "X-Long: " + "x" * 100_000), Unknown()),
    "nested too deep": (lambda _: answer(b"[" * 200_000), Unknown()),
    "of a list": (lambda _: answer(b"[]"), Unknown()),
    "of null": (lambda _: answer(b"null"), Unknown()),
    "of a number with 5,000 digits": (lambda _: answer(b"9" * 5000), Unknown()),
    "of 204": (lambda _: b"HTTP/1.1 204 No Content\r\n\r\n", Unknown()),
    "of 500 without a word": (lambda _: answer(b'{"ok": false}', status="500 Oh"), Unknown()),
    "of 302 with a true body": (lambda true: answer(true, "Location: /x", status="302 Found"), Unknown()),
    "of 503 that asks to wait": (
        lambda _: answer(b'{"ok": false, "parameters": {"retry_after": 3}}', status="503 Busy"),
        Unknown(),
    ),
    "of 429 for ever": (
        lambda _: answer(
            b'{"ok": false, "parameters": {"retry_after": 1' + b"0" * 30 + b"}}", status="429 Slow"
        ),
        LATER,
    ),
    "of 429 in HTML": (
        lambda _: answer(b"<h1>Slow down</h1>", status="429 Slow"),
        NotSent(answered=True),
    ),
}


@both
@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer(channel: str, case: str) -> None:
    """Whatever comes back after the message went out: only a readable id says that it arrived."""
    make, outcome = ANSWERS[case]
    got = await sent_to(channel, saying(make(TRUE_ANSWER[channel])))
    if outcome is TRUE:
        assert got == Accepted("5" if channel == "telegram" else "mid.5")
    else:
        assert got == (NotSent(answered=True) if outcome is LATER and channel == "max" else outcome)


# ------------------------------------------------------------------ connections


async def dropped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Hear the whole request, then reset the connection."""
    await heard(reader)
    writer.transport.abort()


async def dropped_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection as soon as the request begins."""
    await reader.read(10)
    writer.transport.abort()


async def hung_up(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Close the connection at once."""


async def deaf(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take everything and say nothing."""
    while await reader.read(65536):
        pass


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A chunk every 50 ms, for ever."""
    await heard(reader)
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@both
@pytest.mark.parametrize("talk", [dropped, dropped_early, hung_up])
async def test_a_connection_that_breaks(channel: str, talk: Talk) -> None:
    """Once it stood, nobody knows how far the message came."""
    assert await sent_to(channel, talk) == Unknown()


@both
async def test_a_refused_connection(channel: str) -> None:
    """Nobody heard the message."""
    async with nobody() as port:
        assert await sent(channel, f"http://127.0.0.1:{port}") == NotSent()


@both
async def test_a_name_that_does_not_resolve(channel: str) -> None:
    """Nobody heard the message."""
    assert await sent(channel, "https://tapcode.invalid") == NotSent()


@both
@pytest.mark.parametrize("talk", [saying(b""), hung_up], ids=["no TLS", "hung up"])
async def test_a_handshake_that_fails(channel: str, talk: Talk) -> None:
    """TLS comes before the message."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await talk(reader, writer)

    assert await sent_to(channel, plain, scheme="https") == NotSent()


# ------------------------------------------------------------------ proxies


@both
@pytest.mark.parametrize("status", ["407 Proxy Authentication Required", "502 Bad Gateway", "403 Forbidden"])
async def test_a_proxy_that_refuses(channel: str, status: str) -> None:
    """It let nothing through."""
    async with listening(saying(answer(b"<h1>no</h1>", status=status))) as proxy:
        got = await sent(channel, "https://tapcode.invalid", proxy=f"http://127.0.0.1:{proxy}")
    assert got == NotSent()


@both
async def test_a_proxy_that_is_not_there(channel: str) -> None:
    """It let nothing through either."""
    async with nobody() as proxy:
        got = await sent(channel, "https://tapcode.invalid", proxy=f"http://127.0.0.1:{proxy}")
    assert got == NotSent()


# ------------------------------------------------------------------ what never ends

tunnel = saying(b"HTTP/1.1 200 OK\r\n\r\n", linger=True)
ENDLESS: dict[str, tuple[Talk, str, bool, Outcome]] = {
    "no answer": (deaf, "http", False, Unknown()),
    "an endless answer": (endless, "http", False, Unknown()),
    "no name server": (deaf, "name", False, NotSent()),
    "no TLS": (deaf, "https", False, NotSent()),
    "no answer to CONNECT": (deaf, "https", True, NotSent()),
    "no TLS behind a proxy": (tunnel, "https", True, NotSent()),
}
"""A server or proxy, the scheme of the messenger's address, and what is known of the message when time is over."""


async def test_what_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends by its deadline; before there is a connection to the messenger itself nothing has left."""

    async def hang(*_args: object, **_options: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("aiohttp.resolver.ThreadedResolver.resolve", hang)
    async with AsyncExitStack() as stack, asyncio.timeout(20):
        skins: list[Skin] = []
        for channel, (talk, scheme, proxied, _) in product(("telegram", "max"), ENDLESS.values()):
            here = f"127.0.0.1:{await stack.enter_async_context(listening(talk))}"
            url = "https://tapcode.invalid" if scheme == "name" or proxied else f"{scheme}://{here}"
            skins.append(
                await stack.enter_async_context(skin_at(channel, url, f"http://{here}" if proxied else None))
            )
        got = await asyncio.gather(*(skin.send(7, HELLO, 2000) for skin in skins))
    expected = [outcome for *_, outcome in ENDLESS.values()]
    assert got == [*expected, *expected]
