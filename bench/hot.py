"""`verify`, each a durable write of a code of its own, and `status`, against a handler that does nothing, in one run.

    python -m bench.hot [--folder FOLDER] [--seconds 2] [--rounds 5] [--callers 1,16,64,256] [--log info] [--rivals]

One process over SQLite as it is served by default, and this load in another process. Rounds are interleaved and each
figure is the median of its rounds. `--rivals` measures what people would take instead (`bench/rivals`) in the same run;
`--save NAME` keeps the figures in bench/results. `--folder` should lie on the disk that is meant: the price of a commit
is its fsync.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final

import aiohttp

from bench import floor
from bench.load import Figures, median, raw, run
from bench.results import save
from config.clock import SystemClock, SystemRandomness
from otp.codes import KeyRing
from otp.model import Channel, Code, CodeTerms, Mode, Person, Subscriber
from otp.ports import Tx
from otp.projects import Projects
from storage import open_store
from tests.process import ROOT, free_port

KEY: Final = "a-key-of-the-bench-" + "k" * 20
TERMS: Final = CodeTerms("login", 30, 5, 6)
AT_ONCE: Final = 2_000
MOST: Final = 7_000
"""Calls of `verify` a second for which there are codes."""
LEAST_MORE: Final = 3
"""Times as many for `bench.floor`, which does less."""


async def fill(database: Path, many: int) -> tuple[str, list[bytes]]:
    """A project and so many people with a code each; its API key, and the calls that use the codes up."""
    store = await open_store(f"sqlite:///{database}", SystemClock())
    randomness, ring = SystemRandomness(), KeyRing([KEY])
    made = await Projects(store, randomness, Mode.LIVE).create("Bench", "")
    headers = {"Authorization": f"Bearer {made.api_key}"}
    calls: list[bytes] = []

    async def some(tx: Tx) -> None:
        for _ in range(AT_ONCE):
            sub = Subscriber(
                randomness.uuid(),
                made.project.id,
                Mode.LIVE,
                Person(Channel.MAX, len(calls) + 1),
                "en",
                subscribed=True,
                wrong_guesses=0,
                locked=False,
            )
            seed = ring.new_seed(6, randomness)
            await tx.add_subscriber(sub)
            await tx.put_code(
                Code(
                    randomness.uuid(), sub.id, None, TERMS, seed, attempts=0, expires_at=tx.now + 30 * 60_000
                )
            )
            body = json.dumps({"subscriber_id": sub.id, "code": ring.digits(seed)}).encode()
            calls.append(raw("POST", "/v1/otp/verify", body, headers))

    while len(calls) < many:
        await store.write(some)
    await store.close()
    return made.api_key, calls


@contextmanager
def served(*command: str, port: int, **environment: str) -> Iterator[int]:
    """A server in a process of its own; its id."""
    process = subprocess.Popen(  # noqa: S603  # our own programs
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        end = perf_counter() + 20
        while perf_counter() < end and process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def bare_commit(folder: Path) -> float:
    """Milliseconds of a durable update of one row, nothing around it."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as database:
        for line in (
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE IF NOT EXISTS t (n INTEGER)",
            "INSERT INTO t VALUES (0)",
        ):
            database.execute(line)
        times = []
        for _ in range(300):
            began = perf_counter()
            database.execute("UPDATE t SET n = n + 1 WHERE rowid = 1")
            times.append(perf_counter() - began)
    return statistics.median(times) * 1000


@dataclass(frozen=True, slots=True)
class Kind:
    """A call that is measured: where, who works for it, the calls, what is in each answer, and what it is compared with."""

    port: int
    pids: tuple[int, ...]
    calls: Iterator[bytes]
    wanted: bytes
    base: str | None = "no-op POST"


async def kinds_of(
    port: int, server: int, idle: int, nothing: int, api_key: str, verifies: list[bytes]
) -> dict[str, Kind]:
    """What is measured of the service, and what it is compared with."""
    headers = {"Authorization": f"Bearer {api_key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"http://127.0.0.1:{port}/v1/otp/request") as answer,
    ):
        path = f"/v1/otp/request/{(await answer.json())['request_id']}/status"
    body = verifies[0].partition(b"\r\n\r\n")[2]
    no_op, look = raw("POST", "/verify", body, headers), raw("GET", "/status", b"", headers)
    return {
        "no-op POST": Kind(idle, (nothing,), again(no_op), b"true", None),
        "verify": Kind(port, (server,), iter(verifies), b"true"),
        "no-op GET": Kind(idle, (nothing,), again(look), b"true", None),
        "status": Kind(port, (server,), again(raw("GET", path, b"", headers)), b"pending", "no-op GET"),
    }


async def measure(
    folder: Path, seconds: float, rounds: int, callers: list[int], log: str, *, with_rivals: bool
) -> dict[str, Any]:
    """Print a table; all figures, by callers and kind of call."""
    most = int(seconds * rounds * len(callers) * MOST)
    api_key, verifies = await fill(folder / "hot.db", most)
    port, idle = free_port(), free_port()
    settings = {
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'hot.db'}",
        "SECRET_KEYS": KEY,
        "LOG_LEVEL": log,
        "MAX_BOT_TOKEN": "bench-" + "x" * 40,
        "MAX_API_URL": "http://127.0.0.1:9",
        "MAX_BOT_USERNAME": "id1_bot",
        "REQUESTS_PER_MINUTE": "100000000",
        "STATUS_READS_PER_MINUTE": "100000000",
    }
    with ExitStack() as stack:
        server = stack.enter_context(served("main.py", "serve", port=port, **settings))
        nothing = stack.enter_context(served("-m", "bench.noop", str(idle), port=idle))
        kinds = await kinds_of(port, server, idle, nothing, api_key, verifies)
        least = free_port()
        guesses = floor.fill(folder / "floor.db", LEAST_MORE * most)
        bare = stack.enter_context(
            served("-m", "bench.floor", str(least), str(folder / "floor.db"), port=least)
        )
        kinds["least"] = Kind(least, (bare,), iter(guesses), b"true")
        if with_rivals:
            from bench.rivals.beside import rivals  # noqa: PLC0415  # it needs this module

            for one in stack.enter_context(rivals(folder, seconds * rounds * len(callers))):
                kinds[one.name] = Kind(one.port, one.pids, one.calls, b"true")
        before = bare_commit(folder)
        print(f"bare durable update: {before:.2f} ms", flush=True)
        found: dict[str, dict[str, Figures]] = {}
        for count in callers:
            taken: dict[str, list[Figures]] = {name: [] for name in kinds}
            for _ in range(rounds):
                for name, kind in kinds.items():
                    taken[name].append(
                        await run(
                            kind.port,
                            kind.pids,
                            kind.calls,
                            callers=count,
                            seconds=seconds,
                            wanted=kind.wanted,
                        )
                    )
            found[str(count)] = {name: median(some) for name, some in taken.items()}
            _show(count, kinds, found[str(count)])
        after = bare_commit(folder)
        print(f"bare durable update: {after:.2f} ms")
    return {"seconds": seconds, "rounds": rounds, "bare_commit_ms": [before, after], "callers": found}


def _show(count: int, kinds: dict[str, Kind], found: dict[str, Figures]) -> None:
    for name, kind in kinds.items():
        if kind.base is None:
            continue
        one, none = found[name], found[kind.base]
        print(
            f"{count:4} callers: {name:28} {one.rate:6.0f}/s, {one.rate / none.rate:.2f} of {none.rate:.0f}; "
            f"CPU {one.cpu_us:.0f} us, {one.cpu_us / none.cpu_us:.2f} of {none.cpu_us:.0f}; "
            f"p50 {one.p50_ms:.2f} ms ({none.p50_ms:.2f}), p99 {one.p99_ms:.2f} ms ({none.p99_ms:.2f})",
            flush=True,
        )


def again(call: bytes) -> Iterator[bytes]:
    """For ever."""
    while True:
        yield call


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", default="1,16,64,256")
    parser.add_argument("--log", default="info")
    parser.add_argument("--rivals", action="store_true")
    parser.add_argument("--save")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        counts = [int(n) for n in given.callers.split(",")]
        figures = asyncio.run(
            measure(Path(made), given.seconds, given.rounds, counts, given.log, with_rivals=given.rivals)
        )
    if given.save:
        save(given.save, figures)
