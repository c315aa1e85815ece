"""What no client in its right mind sends: bad framing, bombs, headers and bodies of all kinds; one right answer each."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.raw import Told, exchange
from tests.running import Running, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEADER = {"telegram": "X-Telegram-Bot-Api-Secret-Token", "max": "X-Max-Bot-Api-Secret"}
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Another request behind the one in question: its answer is a 404, and shows where the other one ended."""


def ascii_id(value: object) -> str:
    """A short name for a parameter."""
    return ascii(value)[:40]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run() -> AsyncIterator[Running]:
    """One service for all: none of this may leave a trace in it."""
    async with running() as made:
        yield made


def port(run: Running) -> int:
    """Where it listens."""
    return int(run.url.rsplit(":", 1)[1])


def post(run: Running) -> bytes:
    """The head of a good request, but for its framing."""
    head = "POST /v1/otp/request HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Authorization: Bearer {run.api_key}\r\n".encode()


def is_refusal(told: Told) -> bool:
    """Whether an answer to what is no request looks like all others, and repeats nothing."""
    assert told.status == 400
    assert told.headers["content-type"] == "application/problem+json"
    assert told.headers["server"] == "tapcode"
    assert len(told.headers["x-request-id"]) == 16
    assert told.json["code"] == "malformed_json"
    assert told.json["detail"] == "This is not a valid HTTP request."
    return True


# ------------------------------------------------------------------ framing

BAD_POSTS = {
    "CL and TE": b"Content-Length: 4\r\n" + CHUNKED + b"0\r\n\r\n",
    "TE and CL": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two equal CL": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "two different CL": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    "CL with a plus": b"Content-Length: +2\r\n\r\n{}",
    "CL as a list": b"Content-Length: 2, 2\r\n\r\n{}",
    "CL below zero": b"Content-Length: -2\r\n\r\n{}",
    "CL with an underscore": b"Content-Length: 0_2\r\n\r\n{}",
    "CL in hexadecimal": b"Content-Length: 0x2\r\n\r\n{}",
    "empty CL": b"Content-Length: \r\n\r\n{}",
    "endless CL": b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "TE xchunked": b"Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "TE with a tab inside": b"Transfer-Encoding: \x0bchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "two TE": b"Transfer-Encoding: chunked\r\n" + CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "TE twice in one": b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "TE not last": b"Transfer-Encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "TE identity": b"Transfer-Encoding: identity\r\n\r\n{}",
    "chunk of 17 digits": CHUNKED + b"f" * 17 + b"\r\n{}\r\n0\r\n\r\n",
    "chunk that wraps around": CHUNKED + b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunk with an underscore": CHUNKED + b"0_2\r\n{}\r\n0\r\n\r\n",
    "chunk with 0x": CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
    "chunk after a space": CHUNKED + b" 2\r\n{}\r\n0\r\n\r\n",
    "chunk before a space": CHUNKED + b"2 \r\n{}\r\n0\r\n\r\n",
    "chunk below zero": CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n",
    "chunk ended by LF": CHUNKED + b"2\n{}\n0\n\n",
    "chunk longer than it says": CHUNKED + b"2\r\n{}XX0\r\n\r\n",
    "CL in a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
    "endless trailers": CHUNKED + b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    "garbage behind the body": b"Content-Length: 2\r\n\r\n{}garbage\r\n\r\n",
    "a request behind the last": b"Connection: close\r\nContent-Length: 2\r\n\r\n{}" + GET + b"\r\n",
}
BAD_GETS = {
    "folded header": GET + b"X-A: b\r\n c\r\n\r\n",
    "bare LF": b"GET /healthz HTTP/1.1\nHost: x\n\n",
    "bare CR": GET + b"X-A: b\rX-B: c\r\n\r\n",
    "space before the colon": GET + b"X-A : b\r\n\r\n",
    "space before the first header": b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n",
    "two hosts": GET + b"Host: y\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "broken absolute form": b"GET http://[/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "authority form": b"GET evil:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "asterisk form": b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    "HTTP/0.9 and more": b"GET /healthz\r\n\r\n",
    "HTTP/1.2": b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n",
    "HTTP/1.10": b"GET /healthz HTTP/1.10\r\nHost: x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 20,
    "garbage": b"\0\1\2\3\r\n\r\n",
    "method in small letters": b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "tabs in the first line": b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n",
    "NUL in a header": GET + b"X: a\0b\r\n\r\n",
    "control character in a header": GET + b"X: a\x01b\r\n\r\n",
    "space in a header's name": GET + b"X y: a\r\n\r\n",
    "letter beyond ASCII in a header's name": GET + "Ж: a\r\n\r\n".encode(),
    "letter beyond ASCII in the path": "GET /ж HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "bytes that are no letters in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "huge request line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "huge method": b"A" * 20_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n",
    "thousands of headers": GET + b"A: b\r\n" * 2000 + b"\r\n",
    "huge header": GET + b"A: " + b"b" * 20_000 + b"\r\n\r\n",
    "huge header's name": GET + b"b" * 20_000 + b": a\r\n\r\n",
    "endless header line": GET + b"A: " + b"b" * 20_000,
    "old websocket": GET + b"Sec-WebSocket-Key1: 1\r\n\r\n",
    "nonsense is expected": GET + b"Expect: nonsense\r\n\r\n",
    "nonsense is expected nowhere": b"GET /nope HTTP/1.1\r\nHost: x\r\nExpect: nonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", [*BAD_POSTS, *BAD_GETS])
async def test_what_is_no_request(run: Running, name: str) -> None:
    """One refusal in the form of every other error, then the end; nothing behind it is taken for a request."""
    data = post(run) + BAD_POSTS[name] if name in BAD_POSTS else BAD_GETS[name]
    found = await exchange(port(run), data + NEXT)
    assert len(found) == 1
    assert is_refusal(found[0])


ODD_POSTS = {
    "chunks": CHUNKED + b"2\r\n{}\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"2\r\n{}\r\n0\r\nX-A: b\r\n\r\n",
    "a million letters beside a size": CHUNKED + b"2;" + b"a" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n",
    "100-continue": b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    "a websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/2": b"Connection: Upgrade, close\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", ODD_POSTS)
async def test_odd_requests_have_one_answer(run: Running, name: str) -> None:
    """What is odd and valid is answered once, and the next request begins where it ended."""
    behind = b"" if name == "HTTP/2" else NEXT
    found = await exchange(port(run), post(run) + ODD_POSTS[name] + behind)
    first = [100] if name == "100-continue" else []
    assert [told.status for told in found] == [*first, 200, *([404] if behind else [])]
    assert set(found[len(first)].json) >= {"request_id", "expires_in"}


@pytest.mark.parametrize(
    "data,statuses",
    [
        (b"GET http://evil.example/healthz HTTP/1.1\r\nHost: x\r\n\r\n", [200, 404]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [404, 404]),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", [404, 404]),
        (b"\r\n\r\n" + GET + b"\r\n", [200, 404]),
        (GET + b"Content-Length: 2\r\n\r\n{}", [200, 404]),
        (GET.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n", [200, 404]),
        (b"GET /healthz HTTP/1.0\r\n\r\n", [200]),
    ],
    ids=ascii_id,
)
async def test_odd_forms_of_a_request(run: Running, data: bytes, statuses: list[int]) -> None:
    """Absolute and other forms, empty lines before, a body where none is needed, the older version."""
    behind = b"" if len(statuses) == 1 else NEXT
    assert [told.status for told in await exchange(port(run), data + behind)] == statuses


# ------------------------------------------------------------------ headers


@pytest.mark.parametrize(
    "value",
    [
        "секрет".encode(),
        b"\xff\xfe",
        b"x" * 8000,
        b"\x80",
        b"",
        b"a" * 300,
        b"Bearer",
        b"Bearer \xc3\xa9",
        b"bearer  x",
    ],
    ids=ascii_id,
)
async def test_headers_of_all_kinds(run: Running, value: bytes) -> None:
    """A key, a secret or an id of a request that makes no sense is refused, or replaced, like any other."""
    for line in (
        b"Authorization: " + value,
        b"Authorization: Bearer " + value,
        (b"Authorization: " + value + b"\r\n") * 3,
    ):
        told = (
            await exchange(
                port(run), b"POST /v1/otp/send HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n" + NEXT
            )
        )[0]
        assert told.status in (400, 401)
        assert told.headers["content-type"] == "application/problem+json"
    for channel, name in HEADER.items():
        head = f"POST /webhooks/{channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n".encode()
        line = name.encode() + b": " + value + b"\r\n"
        for lines in (line, line * 2, line * 50):
            assert (await exchange(port(run), head + lines + b"\r\n" + NEXT))[0].status == 401
    told = (await exchange(port(run), GET + b"X-Request-Id: " + value + b"\r\nConnection: close\r\n\r\n"))[0]
    assert told.status == 200
    assert len(told.headers["x-request-id"]) == 16 or told.headers["x-request-id"].encode() == value


# ------------------------------------------------------------------ bodies

DEEP = b'{"a":' * 5000 + b"1" + b"}" * 5000
SUBSCRIBER = b'"subscriber_id":"00000000-0000-4000-8000-000000000000"'
BODIES: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty": (b"", {}),
    "a list": (b"[]", {}),
    "a number": (b"1", {}),
    "60,000 brackets": (b"[" * 60_000, {}),
    "deep": (DEEP, {}),
    "an integer of 5,000 digits": (b'{"ttl_minutes":' + b"9" * 5000 + b"}", {}),
    "a huge exponent": (b'{"ttl_minutes":1e999999}', {}),
    "a tiny exponent": (b'{"ttl_minutes":1e-999999}', {}),
    "NaN": (b'{"ttl_minutes":NaN}', {}),
    "a BOM": (b"\xef\xbb\xbf{}", {}),
    "UTF-16": ("{}".encode("utf-16"), {}),
    "UTF-16 by name": ("{}".encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}),
    "an odd charset": (b"{}", {"Content-Type": "application/json; charset=\xff"}),
    "a charset of code": (b"{}", {"Content-Type": "application/json; charset=rot13"}),
    "bad UTF-8": (b'{"purpose":"\xff"}', {}),
    "half of a pair": (b'{"purpose":"\\ud800"}', {}),
    "half of a pair in bytes": (b'{"purpose":"\xed\xa0\x80"}', {}),
    "NUL": (b'{"purpose":"\\u0000"}', {}),
    "NUL in bytes": (b'{"purpose":"\0"}', {}),
    "a name twice": (b"{" + SUBSCRIBER + b"," + SUBSCRIBER + b"}", {}),
    "text": (b"{}", {"Content-Type": "text/plain"}),
    "a form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
    "parts": (b"--x\r\n\r\n--x--", {"Content-Type": "multipart/form-data; boundary=x"}),
    "two megabytes": (b'{"a":"' + b"x" * 2_000_000 + b'"}', {}),
    "a bomb": (gzip.compress(b"0" * 50_000_000, 9), {"Content-Encoding": "gzip"}),
    "a bomb said to be deflate": (b"x\x9c" + b"\0" * 50_000, {"Content-Encoding": "deflate"}),
    "a bomb said to be br": (b"\xcf\xff\xff\x7f" * 10_000, {"Content-Encoding": "br"}),
    "nothing, zipped": (b"", {"Content-Encoding": "gzip, gzip, br"}),
    "many fields": (json.dumps({f"f{n}": n for n in range(4000)}).encode(), {}),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["send", "verify", "request"])
async def test_bodies_of_all_kinds(run: Running, path: str, name: str) -> None:
    """A 4xx that is a problem, for every call."""
    body, headers = BODIES[name]
    headers = {"Content-Type": "application/json", **headers}
    answer = await run.call("POST", f"/v1/otp/{path}", data=io.BytesIO(body), headers=headers)
    if path == "request" and name in ("empty", "nothing, zipped"):
        assert answer.status in (200, 415)  # its body may be left out
        return
    assert 400 <= answer.status < 500, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json["code"] in (
        "malformed_json", "validation_failed", "unsupported_media_type", "body_too_large"
    )  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("channel", HEADER)
async def test_updates_of_all_kinds(
    run: Running, capfd: pytest.CaptureFixture[str], channel: str, name: str
) -> None:
    """401 without the secret, whatever the body; with it an acknowledgement, or that it is too large."""
    sim: Any = run.demo.telegram if channel == "telegram" else run.demo.max
    body, headers = BODIES[name]
    for given, wanted in (("x", {401}), (sim.webhooks[0].secret, {413} if len(body) > 2**20 else {200})):
        sent = {HEADER[channel]: given, "Authorization": None, **headers}
        answer = await run.call("POST", f"/webhooks/{channel}", data=io.BytesIO(body), headers=sent)
        assert answer.status in wanted
    log = capfd.readouterr()
    assert body[:40].decode("latin-1") not in log.out + log.err or len(body) < 8


async def test_all_this_has_left_nothing(run: Running) -> None:
    """The service does its work as before."""
    person = run.someone()
    subscriber = await run.subscriber(person)
    assert await run.verify(subscriber, person.codes[-1]) == {"verified": True}
