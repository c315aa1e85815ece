"""`verify` of a project whose events a webhook hears, beside one whose events nobody hears, in one run.

    python -m bench.events [--folder FOLDER] [--seconds 2] [--rounds 5] [--callers 16,64,256] [--log info]

Two services over SQLite, a webhook on this machine in another process, and this load in a third. Rounds are interleaved;
before each all that was to be told has been told, so that no service has anything left to do but what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from time import perf_counter

import aiohttp

from bench.hot import KEY, fill, served
from bench.load import Figures, median, run
from tests.process import free_port

PATIENCE_S = 120


def pending(database: Path) -> int:
    """Events that are still to be told."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as seen:
        return int(seen.execute("SELECT count(*) FROM notices WHERE state = 'pending'").fetchone()[0])


async def told(database: Path) -> float:
    """Wait until all is told; how many a second went."""
    many, began = pending(database), perf_counter()
    while pending(database):
        if perf_counter() - began > PATIENCE_S:
            raise TimeoutError("the webhook does not hear of everything")
        await asyncio.sleep(0.2)
    return many / (perf_counter() - began) if many else 0.0


async def measure(folder: Path, seconds: float, rounds: int, callers: list[int], log: str) -> None:
    """Print a table."""
    most = int(seconds * rounds * len(callers) * 9_000)
    files = {"silent": folder / "silent.db", "heard": folder / "heard.db"}
    filled = {name: await fill(path, most) for name, path in files.items()}
    ports, ear = {name: free_port() for name in files}, free_port()
    settings = {
        name: {
            "PORT": str(ports[name]),
            "DATABASE_URL": f"sqlite:///{path}",
            "SECRET_KEYS": KEY,
            "LOG_LEVEL": log,
            "MAX_BOT_TOKEN": "bench-" + "x" * 40,
            "MAX_API_URL": "http://127.0.0.1:9",
            "MAX_BOT_USERNAME": "id1_bot",
            "REQUESTS_PER_MINUTE": "1000000",
            "EVENTS_ALLOW_PRIVATE": "true",
        }
        for name, path in files.items()
    }
    with (
        served("main.py", "serve", port=ports["silent"], **settings["silent"]) as silent,
        served("main.py", "serve", port=ports["heard"], **settings["heard"]) as heard,
        served("-m", "bench.noop", str(ear), port=ear),
    ):
        pids = {"silent": silent, "heard": heard}
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {filled['heard'][0]}"}) as http,
            http.post(
                f"http://127.0.0.1:{ports['heard']}/v1/webhooks",
                json={"url": f"http://127.0.0.1:{ear}/verify"},
            ) as answer,
        ):
            answer.raise_for_status()
        left = {name: iter(calls) for name, (_, calls) in filled.items()}
        for count in callers:
            found: dict[str, list[Figures]] = {name: [] for name in files}
            drained: list[float] = []
            waiting: list[int] = []
            for _ in range(rounds):
                for name, path in files.items():
                    found[name].append(
                        await run(
                            ports[name],
                            pids[name],
                            left[name],
                            callers=count,
                            seconds=seconds,
                            wanted=b"true",
                        )
                    )
                    if name == "heard":
                        waiting.append(pending(path))
                        drained.append(await told(path))
            one, none = median(found["heard"]), median(found["silent"])
            print(
                f"{count:4} callers: {one.rate:6.0f}/s, {one.rate / none.rate:.2f} of {none.rate:.0f}; "
                f"CPU {one.cpu_us:.0f} us, {one.cpu_us / none.cpu_us:.2f} of {none.cpu_us:.0f}; "
                f"p50 {one.p50_ms:.2f} ms ({none.p50_ms:.2f}), p99 {one.p99_ms:.2f} ms ({none.p99_ms:.2f}); "
                f"left to tell {max(waiting)}, then {sorted(drained)[len(drained) // 2]:.0f}/s",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--callers", default="16,64,256")
    parser.add_argument("--log", default="info")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        asyncio.run(
            measure(
                Path(made), given.seconds, given.rounds, [int(n) for n in given.callers.split(",")], given.log
            )
        )
