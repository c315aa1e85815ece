"""Bombs, crowds and floods against the real process: it answers others meanwhile, and its memory stays bounded."""

from __future__ import annotations

import asyncio
import gzip
import resource
import shutil
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from config.process import raise_file_limit
from tests.process import Outside, outside
from tests.raw import Wire, connect
from tests.running import Someone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
SECRET_OF_MAX = "X-Max-Bot-Api-Secret"
BODIES = ("send", "verify", "request")
LATE = 10
"""Seconds that a call may take in the worst moment of a machine of two cores."""


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The test's own end of thousands of connections."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    raise_file_limit()
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Outside]:
    """The real service with MAX alone."""
    async with outside(tmp_path, TELEGRAM_BOT_TOKEN="", LOG_LEVEL="info") as one:
        yield one


def messages(run: Outside) -> int:
    """How many messages MAX has taken from the bot."""
    return sum(call.method == "POST /messages" and call.status == 200 for call in run.demo.max.calls)


def note(numbers: str) -> None:
    """Shown by `pytest -rP`."""
    print(numbers)  # noqa: T201


def memory(run: Outside, name: str = "VmHWM") -> float:
    """Megabytes of the process: the largest so far, or `VmRSS` for now."""
    assert run.process is not None
    lines = Path(f"/proc/{run.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def files(run: Outside) -> int:
    """How many files the process has open."""
    assert run.process is not None
    return len(list(Path(f"/proc/{run.process.pid}/fd").iterdir()))


@dataclass
class Others:
    """What others did meanwhile."""

    calls: int = 0
    slowest: float = 0
    refused: list[Any] = field(default_factory=list)

    async def call(self, run: Outside, method: str, path: str, body: Any = None) -> Any:
        """One call on a connection of its own, measured."""
        began = monotonic()
        try:
            answer = await run.call(method, path, body, headers={"Connection": "close"})
            if answer.status != 200:
                self.refused.append(answer)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.refused.append(error)
        self.calls += 1
        self.slowest = max(self.slowest, monotonic() - began)


@asynccontextmanager
async def others(run: Outside, subscriber: str) -> AsyncIterator[Others]:
    """Normal traffic meanwhile: new requests, codes that are sent, guesses. All of it must succeed."""
    seen = Others()

    async def go_on() -> None:
        while True:
            await seen.call(run, "POST", "/v1/otp/request", {})
            await seen.call(run, "POST", "/v1/otp/send", {"subscriber_id": subscriber})
            await seen.call(run, "POST", "/v1/otp/verify", {"subscriber_id": subscriber, "code": "0"})
            await asyncio.sleep(0.05)

    task = asyncio.create_task(go_on())
    try:
        yield seen
        assert not task.done(), task
        before = seen.calls
        async with asyncio.timeout(LATE * 3):
            while seen.calls < before + 3:  # noqa: ASYNC110  # calls end when they end
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not seen.refused, seen.refused[:3]
    assert seen.slowest < LATE
    note(f"others: {seen.calls} calls, the slowest {seen.slowest:.2f} s")


async def subscribed(run: Outside, person: Someone) -> str:
    """Bring a person through consent, however long it takes a busy machine; the subscriber's id."""
    async with asyncio.timeout(LATE):
        while not run.demo.max.webhooks:  # noqa: ASYNC110  # a bot is known a moment before its webhook is there
            await asyncio.sleep(0.02)
    request = await run.request()
    if not await person.open(request["max_link"]):
        await person.say(f"otp_{request['request_id']}")
    async with asyncio.timeout(6 * LATE):  # behind a thousand updates of somebody else, too
        while not person.labels:  # noqa: ASYNC110  # another process sends it
            await asyncio.sleep(0.02)
        await person.press("Get the code")
        while "subscriber_id" not in (status := await run.status(request)):  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.02)
    return str(status["subscriber_id"])


async def crowd(run: Outside, many: int, *sent: bytes, deaf: bool = False) -> list[Wire]:
    """Many connections, each of which sends something; `deaf` ones never read."""
    made = []
    for number in range(many):
        wire = await connect(run.port, room=4096 if deaf else None)
        if deaf:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # StreamWriter forgets its kind
        await wire.send(sent[number % len(sent)])
        made.append(wire)
    return made


async def leave(wires: list[Wire]) -> None:
    """Let go of connections."""
    for wire in wires:
        wire.abort()
    await asyncio.gather(*[wire.closed() for wire in wires])


# ------------------------------------------------------------------ bombs


def bombs() -> Iterator[tuple[bytes, dict[str, str]]]:
    """Bodies with the headers that belong to them; each holds MARK."""
    json = {"Content-Type": "application/json"}
    zeros = b"MARK" + b"0" * 50_000_000
    yield b'{"MARK":"' + b"x" * 2_000_000 + b'"}', json
    yield gzip.compress(zeros), {**json, "Content-Encoding": "gzip"}
    yield zlib.compress(zeros), {**json, "Content-Encoding": "deflate"}
    yield b"MARK" * 10_000, {**json, "Content-Encoding": "br"}
    yield b"[" * 100_000, json
    yield b"[" * 60_000, json
    yield b'{"MARK":' * 7_000, json
    yield b'{"MARK":' + b"9" * 5_000 + b"}", json
    yield b'{"MARK":' + b"9" * 60_000 + b"}", json
    yield b'{"MARK":1e99999999}', json
    yield b'{"MARK":"' + b"\\u0000" * 9_000 + b'"}', json
    yield "{MARK}".encode("utf-16"), json


async def test_bombs(run: Outside) -> None:
    """Bodies that would be large or deep are refused, cost no memory, and stand in no log."""
    person = run.someone("max")
    subscriber = await subscribed(run, person)
    secret = run.demo.max.webhooks[0].secret
    before, statuses = memory(run), Counter[str]()

    async def throw(path: str, body: bytes, headers: dict[str, Any]) -> None:
        answer = await run.call("POST", path, data=iter_of(body), headers={**headers, "Connection": "close"})
        statuses[f"{path} {answer.status}"] += 1

    made = list(bombs())
    async with others(run, subscriber):
        for _ in range(10):
            thrown = [throw(f"/v1/otp/{path}", *bomb) for path in BODIES for bomb in made]
            for given in ("wrong", secret):
                head = {SECRET_OF_MAX: given, "Authorization": None}
                thrown += [throw("/webhooks/max", body, headers | head) for body, headers in made]
            await asyncio.gather(*thrown)
    note(f"{statuses}, memory {before:.0f} -> {memory(run):.0f} MB")
    assert {key.split(" ")[1] for key in statuses} <= {"400", "413", "415", "401", "200"}
    assert not any(key.startswith("/v1") and key.endswith("200") for key in statuses)
    assert memory(run) - before < 100
    assert "MARK" not in run.log
    assert '"level":"error"' not in run.log


async def iter_of(body: bytes) -> AsyncIterator[bytes]:
    """A body in chunks: nothing says beforehand how large it is."""
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def test_bombs_of_headers(run: Outside) -> None:
    """Thousands of headers, one of a megabyte, lines without end: refused, without memory."""
    subscriber = await subscribed(run, run.someone("max"))
    before = memory(run)
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    thrown = [
        head + b"A: b\r\n" * 100_000,
        head + b"A: " + b"b" * 1_000_000,
        head + b"b" * 1_000_000 + b": a\r\n",
        b"GET /" + b"a" * 1_000_000,
        b"A" * 1_000_000,
        b"POST /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"a: b\r\n" * 100_000,
    ]
    async with others(run, subscriber):
        wires = await crowd(run, 300, *thrown)
        await asyncio.gather(*[wire.closed() for wire in wires])
    await leave(wires)
    note(f"memory {before:.0f} -> {memory(run):.0f} MB")
    assert memory(run) - before < 60
    assert '"level":"error"' not in run.log


# ------------------------------------------------------------------ crowds


async def trickle(wires: list[Wire]) -> None:
    """One more byte over each connection every five seconds."""
    while True:
        await asyncio.sleep(5)
        for wire in wires:
            await wire.send(b"a")


async def test_crowds_of_slow_clients(run: Outside) -> None:
    """Half heads, half bodies, silence, half ends: all are closed by themselves, and hurt nobody meanwhile."""
    subscriber = await subscribed(run, run.someone("max"))
    before, own = memory(run), files(run)
    length = b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    key = f"Host: x\r\nAuthorization: Bearer {run.api_key}\r\n".encode()
    async with others(run, subscriber):
        heads = await crowd(run, 2000, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ", b"P")
        bodies = await crowd(
            run,
            500,
            b"POST /v1/otp/send HTTP/1.1\r\n" + key + length,
            b"POST /v1/otp/send HTTP/1.1\r\nHost: x\r\n" + length,
            b"POST /webhooks/max HTTP/1.1\r\nHost: x\r\n" + length,
            f"POST /webhooks/max HTTP/1.1\r\n{SECRET_OF_MAX}: {run.demo.max.webhooks[0].secret}\r\n".encode()
            + b"Host: x\r\n"
            + length,
        )
        silent = await crowd(run, 1500, b"")
        second = await crowd(run, 300, GET + b"GET /healthz HTT")
        ended = await crowd(run, 300, GET, b"GET /hea", b"")
        for wire in ended:
            wire.writer.write_eof()
        everybody = [*heads, *bodies, *silent, *second, *ended]
        most, began = files(run), monotonic()
        slow = asyncio.create_task(trickle([*heads, *bodies]))
        await asyncio.gather(*[wire.closed() for wire in everybody])
        took = monotonic() - began
        slow.cancel()
    await leave(everybody)
    note(f"files {own} -> {most}, closed in {took:.1f} s, memory {before:.0f} -> {memory(run):.0f} MB")
    assert most > 3000
    assert took < 35
    assert files(run) < own + 20
    assert memory(run) - before < 250
    assert '"level":"error"' not in run.log


async def test_clients_that_never_read(run: Outside) -> None:
    """Requests by the hundred thousand without reading an answer: no memory, and an end once the system's is full."""
    subscriber = await subscribed(run, run.someone("max"))
    before, own = memory(run), files(run)
    wires = await crowd(run, 20, b"", deaf=True)
    async with others(run, subscriber):
        began = monotonic()
        sent = [wire.send((GET, DOCUMENT)[n % 2] * 100_000) for n, wire in enumerate(wires)]
        await asyncio.gather(*sent)
        async with asyncio.timeout(120):
            while files(run) > own + 3:  # noqa: ASYNC110  # it is another process that closes them
                await asyncio.sleep(0.1)
        took = monotonic() - began
    await leave(wires)
    note(f"closed in {took:.1f} s, memory {before:.0f} -> {memory(run):.0f} MB")
    assert memory(run) - before < 100


# ------------------------------------------------------------------ files


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit")
@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: ",
        GET,
        GET + b"GET /hea",
        b"POST /v1/otp/send HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        DOCUMENT * 100,
    ],
    ids=["silent", "half a head", "kept alive", "half a second head", "half a body", "never reads"],
)
async def test_more_connections_than_files(tmp_path: Path, sent: bytes) -> None:
    """One client takes all it can get; calls, codes and the store go on at once, not only after a time-out."""
    few = ["prlimit", "--nofile=256:256"]
    async with outside(tmp_path, prefix=few, TELEGRAM_BOT_TOKEN="", LOG_LEVEL="info") as run:
        person = run.someone("max")
        subscriber = await subscribed(run, person)
        wires = await crowd(run, 100, b"")
        async with others(run, subscriber) as seen:
            for _ in range(5):
                wires += await crowd(run, 200, sent, deaf=sent.startswith(DOCUMENT))
                assert files(run) <= 256 - 64
        await run.quiet()
        codes = messages(run)
        ready = await run.call("GET", "/readyz")
        await leave(wires)
        note(f"{seen.calls} calls, {files(run)} files, {codes} codes, slowest {seen.slowest:.2f} s")
        assert ready.json["store"] == "ok"
        assert codes > seen.calls // 3
        for bad in ('"level":"error"', "loop.failed", "storage.unavailable"):
            assert bad not in run.log


# ------------------------------------------------------------------ floods


async def flood(
    run: Outside, many: int, method: str, path: str, body: Any = None, **options: Any
) -> Counter[int]:
    """Calls, fifty at a time; how many had which status."""
    left, statuses = iter(range(many)), Counter[int]()

    async def some() -> None:
        for _ in left:
            statuses[(await run.call(method, path, body, **options)).status] += 1

    await asyncio.gather(*[some() for _ in range(50)])
    return statuses


async def test_a_flood_of_sends(tmp_path: Path) -> None:
    """Above the limit 429 with a time to wait; the code that was delivered stays good."""
    async with outside(tmp_path, TELEGRAM_BOT_TOKEN="", SEND_LIMIT="5") as run:
        person = run.someone("max")
        subscriber = await subscribed(run, person)
        asked = messages(run)
        answers = [await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber}) for _ in range(20)]
        assert [answer.status for answer in answers] == [200] * 5 + [429] * 15
        assert all(0 < int(answer.headers["Retry-After"]) <= 600 for answer in answers[5:])
        assert {answer.json["code"] for answer in answers[5:]} == {"rate_limited"}
        assert messages(run) == asked + 5
        assert await run.verify(subscriber, person.codes[-1]) == {"verified": True}


async def test_a_flood_of_one_person(tmp_path: Path) -> None:
    """Everything is acknowledged; one person gets a few sentences, the others get their codes."""
    async with outside(tmp_path, TELEGRAM_BOT_TOKEN="", REPLIES_PER_MINUTE="20") as run:
        first, loud, other = (run.someone("max") for _ in range(3))
        await subscribed(run, first)
        guesses = ["AAAA-AAAA", "otp_AAAAAAAAAAAAAAAA", "/start", "/help", "7KQ2-M9TX"]
        for number in range(1000):
            loud.sim.say(loud.user_id, guesses[number % 5])
        subscriber = await subscribed(run, other)
        assert await run.verify(subscriber, other.codes[-1]) == {"verified": True}
        await run.quiet()
        assert [one for one in run.demo.max.deliveries if one.attempts != [200]] == []
        note(f"{len(loud.screen)} sentences for 1000 messages")
        assert 0 < len(loud.screen) <= 40  # twenty a minute, and the flood may last for more than one
        assert '"level":"error"' not in run.log


async def test_a_flood_of_calls(run: Outside) -> None:
    """Bad keys, polls and ten thousand requests: right answers to all, and bounded memory."""
    person: Someone = run.someone("max")
    subscriber = await subscribed(run, person)
    request = await run.request()
    before, began = memory(run), monotonic()
    async with others(run, subscriber):
        bad = {"headers": {"Authorization": "Bearer tc_live_" + "b" * 40}}
        assert await flood(run, 2000, "POST", "/v1/otp/send", {}, **bad) == {401: 2000}
        poll = f"/v1/otp/request/{request['request_id']}/status"
        assert await flood(run, 1000, "GET", poll) == {200: 1000}
        polled = monotonic()
        assert await flood(run, 10_000, "POST", "/v1/otp/request", {}) == {200: 10_000}
        took = monotonic() - polled
    note(
        f"{10_000 / took:.0f} requests/s, {monotonic() - began:.0f} s, memory {before:.0f} -> {memory(run):.0f} MB"
    )
    assert memory(run) - before < 60
    assert (await run.status(request))["status"] == "pending"
