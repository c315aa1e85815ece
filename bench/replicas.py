"""Throughput of one, two and three replicas over one PostgreSQL, in one run, as ratios; and what a code costs the database.

    python -m bench.replicas [--seconds 5]

Real programs, a real PostgreSQL out of a wheel (with its durable defaults), simulated MAX, everything on this machine, so
that all of them and this load share its cores: the ratios say how far replicas get in each other's way, not how far more
machines carry. A flow is request, consent by a tap, status, verify: one whole code.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import aiohttp
import asyncpg

from sandbox.simulator import Simulator
from sandbox.wire import ChatMessage
from tests.fleet import Fleet, fleet

AT_ONCE = 24
_NUMBERS = count(1)


async def calls(made: Fleet, seconds: float) -> float:
    """Calls a second: requests and their statuses, no messenger."""
    until, done = perf_counter() + seconds, 0
    headers = {"Authorization": f"Bearer {made.load.one.api_key}"}

    async def caller(turn: int) -> None:
        nonlocal done
        while perf_counter() < until:
            url = made.replicas[turn % len(made.replicas)].url
            async with made.load.one.http.post(f"{url}/v1/otp/request", headers=headers) as answer:
                request = await answer.json()
            async with made.load.one.http.get(
                f"{url}/v1/otp/request/{request['request_id']}/status", headers=headers
            ) as answer:
                await answer.read()
            done, turn = done + 2, turn + 1

    await asyncio.gather(*map(caller, range(AT_ONCE)))
    return done / seconds


async def told(sim: Simulator, user: int, wanted: Callable[[ChatMessage], bool]) -> ChatMessage:
    """The first message in a person's chat that is such a one, once it is there."""
    await sim.until(lambda: any(map(wanted, sim.chat(user))), 20)
    return next(filter(wanted, sim.chat(user)))


async def flows(made: Fleet, seconds: float) -> float:
    """Whole codes a second, from the request to the verification."""
    until, done = perf_counter() + seconds, 0
    [sim] = made.load.sims

    async def person() -> None:
        nonlocal done
        while perf_counter() < until:
            user = 500_000_000 + next(_NUMBERS) * 7919
            sim.person(user)
            made.load.one.url = made.replicas[next(_NUMBERS) % len(made.replicas)].url
            request = await made.load.one.request()
            sim.open_link(user, request["max_link"])
            question = await told(sim, user, lambda message: bool(message.buttons))
            sim.press(user, question.id, 0, 0)
            code = (await told(sim, user, lambda message: message.text[:6].isdigit())).text[:6]
            status: dict[str, Any] = {}
            while "subscriber_id" not in status:
                path = f"/v1/otp/request/{request['request_id']}/status?wait=20"
                status = (await made.load.one.call("GET", path)).json
            verdict = await made.load.one.verify(
                status["subscriber_id"], code, request_id=request["request_id"]
            )
            if not verdict["verified"]:
                raise RuntimeError(verdict)
            done += 1

    await asyncio.gather(*(person() for _ in range(AT_ONCE)))
    return done / seconds


async def written(url: str) -> tuple[int, int, int]:
    """WAL bytes, committed transactions and bytes of tables and indexes so far."""
    connection = await asyncpg.connect(url)
    try:
        wal = await connection.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        commits = await connection.fetchval("SELECT sum(xact_commit)::bigint FROM pg_stat_database")
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
    finally:
        await connection.close()
    return int(wal), int(commits), int(size)


async def measure(seconds: float) -> None:
    """Print a table."""
    print(f"{os.cpu_count()} cores, {seconds:.0f} s each, {AT_ONCE} at once")
    first: dict[str, float] = {}
    for size in (1, 2, 3):
        with tempfile.TemporaryDirectory() as folder:
            settings = {"TELEGRAM_BOT_TOKEN": "", "LOG_LEVEL": "warning", "REPLIES_PER_MINUTE": "1000000"}
            async with (
                fleet(Path(folder), size, wired=False, **settings) as made,
                aiohttp.ClientSession() as http,
            ):
                made.load.one.http = http  # which keeps its connections
                await calls(made, 1)
                for name, run in (("calls", calls), ("codes", flows)):
                    before = await written(made.url)
                    rate = statistics.median([await run(made, seconds) for _ in range(3)])
                    after = await written(made.url)
                    first.setdefault(name, rate)
                    per = 3 * seconds * rate
                    print(
                        f"{size} replicas: {rate:7.0f} {name}/s, {rate / first[name]:.2f} of one; per one: "
                        f"{(after[0] - before[0]) / per:.0f} bytes of WAL, "
                        f"{(after[1] - before[1]) / per:.1f} transactions, {(after[2] - before[2]) / per:.0f} bytes kept"
                    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--seconds", type=float, default=5)
    asyncio.run(measure(parser.parse_args().seconds))
