"""A load of HTTP calls over kept connections, light enough that the server stays the one who works."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

TICKS: Final = 100
"""Of a CPU's second in /proc (`getconf CLK_TCK`)."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a round showed: calls a second, microseconds of the server's CPU per call, milliseconds that calls took."""

    rate: float
    cpu_us: float
    p50_ms: float
    p99_ms: float


def raw(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        *(f"{k}: {v}" for k, v in (headers or {}).items()),
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def cpu_seconds(*pids: int) -> float:
    """What processes have used so far, in user and kernel."""
    used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(fields[11]) + int(fields[12])
    return used / TICKS


class _Caller(asyncio.Protocol):
    """One connection: calls, waits for the answer, calls again."""

    def __init__(
        self, calls: Iterator[bytes], wanted: bytes, times: list[float], over: Callable[[], bool]
    ) -> None:
        self._calls, self._wanted, self._times, self._over = calls, wanted, times, over
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def call(self) -> None:
        """The next one, unless the time is over."""
        request = None if self._over() else next(self._calls, None)
        if request is None:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._began = perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self._times.append(perf_counter() - self._began)
        if not head.startswith(b"HTTP/1.1 200") or self._wanted not in body:
            self.done.set_exception(RuntimeError(self._buffer.decode()))
            self._transport.close()
            return
        self._buffer = b""
        self.call()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or RuntimeError("the server hung up"))


async def run(
    port: int,
    pids: int | tuple[int, ...],
    calls: Iterator[bytes],
    *,
    callers: int,
    seconds: float,
    wanted: bytes,
) -> Figures:
    """One round. Raises when an answer is not a 200 with `wanted` in it, and when nothing was called."""
    workers = (pids,) if isinstance(pids, int) else pids
    times: list[float] = []
    loop = asyncio.get_running_loop()
    ends = [0.0]
    made = [
        (
            await loop.create_connection(
                lambda: _Caller(calls, wanted, times, lambda: perf_counter() > ends[0]), "127.0.0.1", port
            )
        )[1]
        for _ in range(callers)
    ]
    before, began = cpu_seconds(*workers), perf_counter()
    ends[0] = began + seconds
    for one in made:
        one.call()
    done = asyncio.gather(*(one.done for one in made))

    def stay_awake() -> None:
        """Or else the server would pay, with each answer, for waking this process: as much as for half a no-op."""
        if not done.done():
            loop.call_soon(stay_awake)

    stay_awake()
    await done
    took, used = perf_counter() - began, cpu_seconds(*workers) - before
    if not times:
        raise RuntimeError("no calls were left")
    times.sort()
    return Figures(
        len(times) / took,
        used / len(times) * 1e6,
        times[len(times) // 2] * 1e3,
        times[len(times) * 99 // 100] * 1e3,
    )


def median(rounds: Sequence[Figures]) -> Figures:
    """Of each figure by itself."""
    return Figures(*(statistics.median(getattr(one, name) for one in rounds) for name in Figures.__slots__))
