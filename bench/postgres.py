"""`verify`, each a durable write of a code of its own, and `status` over PostgreSQL, against a handler that does nothing.

    python -m bench.postgres [--folder FOLDER] [--seconds 2] [--rounds 3] [--callers 1,16,64] [--log info]

One replica, a PostgreSQL out of a wheel with its durable defaults, and this load, each in a process of its own and all on
this machine. Rounds are interleaved and each figure is the median of its rounds. Round trips are counted on the wire of a
second replica, one call after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import aiohttp
import asyncpg

from bench.hot import KEY, TERMS, again, served
from bench.load import Figures, cpu_seconds, median, raw, run
from config.clock import SystemClock, SystemRandomness
from otp.codes import KeyRing
from otp.model import Mode
from otp.projects import Projects
from storage import open_store
from tests.pgwire import PgWire
from tests.postgres import private_server
from tests.process import free_port

ANSWERED: Final = b"Z\0\0\0\5"
"""What ends PostgreSQL's answer to whatever it was asked: ReadyForQuery."""
COUNTED: Final = 40


class _CountingWire(PgWire):
    """Counts the answers."""

    answers = 0

    async def _down(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await there.read(65536):
            self.answers += chunk.count(ANSWERED)
            writer.write(chunk)
            await writer.drain()


async def fill(url: str, many: int) -> tuple[str, list[bytes]]:
    """A project and so many people with a code each; its API key, and the calls that use the codes up."""
    store = await open_store(url, SystemClock())
    randomness, ring = SystemRandomness(), KeyRing([KEY])
    made = await Projects(store, randomness, Mode.LIVE).create("Bench", "")
    await store.close()
    headers = {"Authorization": f"Bearer {made.api_key}"}
    people, codes, calls = [], [], []
    connection = await asyncpg.connect(url)
    try:
        now = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        for number in range(many):
            sub_id, seed = randomness.uuid(), ring.new_seed(TERMS.length, randomness)
            people.append((sub_id, made.project.id, "live", f"max:{number + 1}", "en", 1, now, None, 0, 0))
            terms = (TERMS.ttl_minutes, TERMS.max_attempts, TERMS.length, seed.bits, seed.key_id)
            codes.append(
                (randomness.uuid(), sub_id, TERMS.purpose, None, *terms, 0, now + TERMS.ttl_minutes * 60_000)
            )
            body = json.dumps({"subscriber_id": sub_id, "code": ring.digits(seed)}).encode()
            calls.append(raw("POST", "/v1/otp/verify", body, headers))
        await connection.copy_records_to_table("subscribers", records=people)
        await connection.copy_records_to_table("codes", records=codes)
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()
    return made.api_key, calls


async def bare_update(url: str) -> float:
    """Milliseconds of a durable update of one row, nothing around it."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS bare (n INTEGER)")
        await connection.execute("TRUNCATE bare; INSERT INTO bare VALUES (0)")
        times = []
        for _ in range(300):
            began = perf_counter()
            await connection.fetch("UPDATE bare SET n = n + 1")
            times.append(perf_counter() - began)
    finally:
        await connection.close()
    return statistics.median(times) * 1000


def database_cpu(postmaster: int) -> float:
    """Seconds that the database's processes have used so far."""
    total = 0.0
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if folder.name == str(postmaster):
                total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # and of those who ended
            elif fields[1] == str(postmaster):
                total += cpu_seconds(int(folder.name))
    return total


@dataclass(frozen=True, slots=True)
class Kind:
    """What is called: where, the process that answers, the calls, and what a right answer holds."""

    port: int
    pid: int
    calls: Iterator[bytes]
    wanted: bytes


async def _round(kind: Kind, postmaster: int, callers: int, seconds: float) -> tuple[Figures, float]:
    before = database_cpu(postmaster)
    found = await run(kind.port, kind.pid, kind.calls, callers=callers, seconds=seconds, wanted=kind.wanted)
    return found, (database_cpu(postmaster) - before) / (found.rate * seconds) * 1e6


async def _round_trips(wire: _CountingWire, kind: Kind) -> float:
    """Of one call; what the replica does besides is in it, as far as it comes in these milliseconds."""
    before = wire.answers
    calls = islice(kind.calls, COUNTED)
    await run(kind.port, kind.pid, calls, callers=1, seconds=60, wanted=kind.wanted)
    return (wire.answers - before) / COUNTED


def _settings(port: int, url: str, log: str) -> dict[str, str]:
    return {
        "PORT": str(port),
        "DATABASE_URL": url,
        "SECRET_KEYS": KEY,
        "LOG_LEVEL": log,
        "MAX_BOT_TOKEN": "bench-" + "x" * 40,
        "MAX_API_URL": "http://127.0.0.1:9",
        "MAX_BOT_USERNAME": "id1_bot",
        "REQUESTS_PER_MINUTE": "1000000",
        "STATUS_READS_PER_MINUTE": "1000000",
    }


async def measure(server: Any, url: str, seconds: float, rounds: int, callers: list[int], log: str) -> None:
    """Print a table."""
    postmaster: int = server.get_pid()
    api_key, verifies = await fill(url, int(seconds * rounds * len(callers) * 5_000))
    headers = {"Authorization": f"Bearer {api_key}"}
    port, counted, idle = free_port(), free_port(), free_port()
    wire = _CountingWire(url)
    async with wire, aiohttp.ClientSession(headers=headers) as http:
        with (
            served("main.py", "serve", port=port, **_settings(port, url, log)) as replica,
            served("-m", "bench.noop", str(idle), port=idle) as nothing,
        ):
            async with http.post(f"http://127.0.0.1:{port}/v1/otp/request") as answer:
                path = f"/v1/otp/request/{(await answer.json())['request_id']}/status"
            left = iter(verifies)
            noop_body = verifies[0].partition(b"\r\n\r\n")[2]
            statuses = again(raw("GET", path, b"", headers))
            kinds = {
                "no-op POST": Kind(idle, nothing, again(raw("POST", "/verify", noop_body, headers)), b"true"),
                "verify": Kind(port, replica, left, b"true"),
                "no-op GET": Kind(idle, nothing, again(raw("GET", "/status", b"", headers)), b"true"),
                "status": Kind(port, replica, statuses, b"pending"),
            }
            print(f"bare durable update: {await bare_update(url):.2f} ms")
            for count in callers:
                found: dict[str, list[tuple[Figures, float]]] = {name: [] for name in kinds}
                for _ in range(rounds):
                    for name, kind in kinds.items():
                        found[name].append(await _round(kind, postmaster, count, seconds))
                shown = {name: median([one for one, _ in some]) for name, some in found.items()}
                for name, base in (("verify", "no-op POST"), ("status", "no-op GET")):
                    one, none = shown[name], shown[base]
                    database = statistics.median(cpu for _, cpu in found[name])
                    print(
                        f"{count:4} callers: {name:7} {one.rate:6.0f}/s, {one.rate / none.rate:.2f} of {none.rate:.0f}; "
                        f"CPU {one.cpu_us:.0f} us, {one.cpu_us / none.cpu_us:.1f} of {none.cpu_us:.0f}; "
                        f"database's CPU {database:.0f} us; "
                        f"p50 {one.p50_ms:.2f} ms ({none.p50_ms:.2f}), p99 {one.p99_ms:.2f} ms ({none.p99_ms:.2f})"
                    )
            print(f"bare durable update: {await bare_update(url):.2f} ms")
        with ExitStack() as stack:
            second = served("main.py", "serve", port=counted, **_settings(counted, wire.url, log))
            pid = await asyncio.to_thread(stack.enter_context, second)  # the wire runs on this loop
            await run(counted, pid, islice(left, 20), callers=1, seconds=60, wanted=b"true")
            for name, calls, wanted in (("verify", left, b"true"), ("status", statuses, b"pending")):
                trips = await _round_trips(wire, Kind(counted, pid, calls, wanted))
                print(f"round trips of one {name}: {trips:.1f}")
            await wire.cut()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callers", default="1,16,64")
    parser.add_argument("--log", default="info")
    given = parser.parse_args()
    tempfile.tempdir = str(given.folder)
    with private_server() as (started, where):
        asyncio.run(
            measure(
                started,
                where,
                given.seconds,
                given.rounds,
                [int(n) for n in given.callers.split(",")],
                given.log,
            )
        )
