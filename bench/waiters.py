"""What it costs to wait for a status: memory per waiter, and how soon a change is told. `python -m bench.waiters`.

Starts the real program with simulated messengers, opens so many long polls (or event streams) over loopback, each for a
request of its own, and reads the program's resident memory (`VmRSS`) before and after. Then
somebody presses Cancel in so many of these requests, one after another. The latency is from the press to the answer's last
byte here, so it holds the webhook call and the commit, fsync included, as well as what comes after the commit. Everything
runs on one machine: this program, which also plays the messengers, takes part of its time.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import cast

from config.process import raise_file_limit
from tests.process import Outside, outside
from tests.running import Someone

WARM = 200
"""Waiters that come and go before anything is measured: what the first calls load is no waiter's."""
AT_ONCE = 100
PROXIED = (
    "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nAccept-Encoding: gzip, deflate\r\n"
    "User-Agent: python-requests/2.32.3\r\nConnection: keep-alive\r\n"
)
"""What a backend and a proxy before us would say besides: it is kept as long as the call lasts."""


class Caller(asyncio.Protocol):
    """One call on a connection of its own, with as little around it as possible."""

    def __init__(self, call: bytes) -> None:
        self._call = call
        self.told = b""
        self.told_at = 0.0
        self.changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._call)

    def data_received(self, data: bytes) -> None:
        """Note when the change came."""
        self.told += data
        if b'"cancelled"' in data and not self.changed.done():
            self.told_at = monotonic()
            self.changed.set_result(None)


def rss(one: Outside) -> int:
    """Resident bytes of the program."""
    assert one.process is not None
    status = Path(f"/proc/{one.process.pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


async def call(one: Outside, request_id: str, *, stream: bool) -> Caller:
    """Begin to wait."""
    query, accept = ("", "Accept: text/event-stream\r\n") if stream else ("?wait=30", "Accept: */*\r\n")
    head = (
        f"GET /v1/otp/request/{request_id}/status{query} HTTP/1.1\r\nHost: 127.0.0.1:{one.port}\r\n"
        f"Authorization: Bearer {one.api_key}\r\n{accept}{PROXIED}\r\n"
    )
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(lambda: Caller(head.encode()), "127.0.0.1", one.port)
    return protocol


async def crowd(one: Outside, ids: Sequence[str], *, stream: bool) -> list[Caller]:
    """One waiter for each request, all of them let in."""
    callers: list[Caller] = []
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        callers += await asyncio.gather(*(call(one, request_id, stream=stream) for request_id in some))
    async with one.http.get(f"{one.url}/healthz") as answer:  # what came before it was read before it
        assert answer.ok
    await asyncio.sleep(1)
    return callers


async def leave(one: Outside, callers: Sequence[Caller]) -> None:
    """All go away; the program has noticed."""
    for caller in callers:
        assert caller.transport is not None
        caller.transport.abort()
    await asyncio.sleep(1)
    assert await one.ready()


async def requests(one: Outside, count: int) -> list[str]:
    """New requests."""
    made: list[str] = []
    while len(made) < count:
        some = await asyncio.gather(*(one.request() for _ in range(min(20, count - len(made)))))
        made += [str(request["request_id"]) for request in some]
    return made


async def ask(one: Outside, request_id: str) -> Someone:
    """Somebody with the question before them."""
    person = one.someone("telegram")
    await person.say(f"otp_{request_id}")
    return person


async def told_after(person: Someone, caller: Caller) -> float:
    """Milliseconds from a press of Cancel to the answer."""
    pressed = monotonic()
    person.touch("Cancel")
    await asyncio.wait_for(caller.changed, 20)
    return (caller.told_at - pressed) * 1000


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(count: int, changes: int, *, stream: bool) -> None:
    """Everything, for one form of waiting."""
    form = "event streams" if stream else "long polls (?wait=30)"
    with tempfile.TemporaryDirectory() as folder:
        async with outside(Path(folder), WAITERS_PER_KEY="100000") as one:
            ids = await requests(one, count)
            people = [await ask(one, request_id) for request_id in ids[:changes]]
            await leave(one, await crowd(one, ids[-WARM:], stream=stream))
            before, began = rss(one), monotonic()
            callers = await crowd(one, ids, stream=stream)
            opened, after = monotonic() - began, rss(one)
            assert not any(caller.changed.done() for caller in callers)
            print(f"{count} {form}, one request each, opened in {opened:.1f} s")
            each = (after - before) / count / 1024
            print(f"  memory: {before / 2**20:.1f} -> {after / 2**20:.1f} MiB RSS, {each:.2f} KiB each")
            lags = [await told_after(person, caller) for person, caller in zip(people, callers, strict=False)]
            print(
                f"  press to answer, {len(lags)} changes one by one: p50 {statistics.median(lags):.1f} ms, "
                f"p99 {quantile(lags, 0.99):.1f} ms, longest {[round(lag, 1) for lag in sorted(lags)[-3:]]} ms"
            )
            ended = sum(b"pending" in caller.told for caller in callers) if not stream else 0
            print(f"  answered without a change meanwhile: {ended}")
            began = monotonic()
            code = await one.stop()
            print(f"  SIGTERM with all the rest waiting: exit code {code} after {monotonic() - began:.1f} s")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiters", type=int, default=10_000)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--stream", action="store_true", help="event streams instead of long polls")
    given = parser.parse_args()
    raise_file_limit()
    print(f"open files: {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}")
    asyncio.run(measure(given.waiters, given.changes, stream=given.stream))


if __name__ == "__main__":
    main()
