"""What the size of an SQLite database costs: p99 of every call, beside an empty one in the same run, and while rows go.

    python -m bench.size [--folder FOLDER] [--subscribers 1000000] [--requests 10] [--callers 1,16] [--rounds 3]

The large file holds so many subscribers and for each so many finished requests that await their purge. It is filled
through the schema that the service makes, with SQL instead of calls. Two services stand beside each other, one of them
stopped (SIGSTOP) while the other one is measured; then the same again a day later, when everything is to be purged.
`--keep` leaves the large file in the folder, and takes it from there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import aiohttp

from bench.hot import KEY, bare_commit, served
from bench.load import Figures, median, raw, run
from bench.results import save
from config.clock import SystemClock, SystemRandomness
from otp.codes import KeyRing
from otp.model import Mode
from otp.policy import HOUR_MS, REQUEST_KEPT_MS
from otp.projects import Projects
from storage import open_store
from tests.process import free_port

CALLS: Final = ("request", "status", "old status", "verify", "send")
MOST: Final = {"verify": 6_000, "send": 3_000}
"""Calls a second for which there are people: each has a code of their own, or is sent one."""
AT_ONCE: Final = 500_000
CATCH_UP_SECONDS: Final = 120
FEW: Final = 5
"""Jobs that come again and again."""


async def make(database: Path) -> str:
    """A file as a service makes it, with one project; the project's key."""
    clock = SystemClock()
    store = await open_store(f"sqlite:///{database}", clock)
    made = await Projects(store, SystemRandomness(), Mode.LIVE).create("Bench", "")
    await store.close()
    return made.api_key


_UUID: Final = (
    "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-a' || "
    "substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))"
)
_NUMBERS: Final = "WITH RECURSIVE n (i) AS (VALUES ({first}) UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
_SUBSCRIBERS: Final = (
    "INSERT INTO subscribers (id, project_id, mode, address, language, subscribed, consented_at, wrong_guesses, locked) "
    f"SELECT {_UUID}, :project, 'live', 'max:' || i, 'en', 1, :now, 0, 0 FROM n"
)
# Most end well, and were opened; they ended one after the other, within the last hour.
_REQUESTS: Final = (
    "INSERT INTO requests (id, project_id, mode, channel, purpose, ttl_minutes, max_attempts, code_length, status, "
    "created_at, expires_at, finished_at, bound_to, subscriber_id, opened, pairing_code) "
    "SELECT lower(hex(randomblob(8))), :project, 'live', 'max', 'login', 5, 3, 6, "
    "CASE WHEN i % 10 < 8 THEN 'sent' ELSE 'expired' END, :now - 60000, :now + 840000, "
    ":now - CAST(3600000 * (1 - 1.0 * i / :most) AS INTEGER), CASE WHEN i % 10 < 8 THEN 'max:' || (i / 10) END, "
    f"CASE WHEN i % 10 < 8 THEN {_UUID} END, 1, substr(hex(randomblob(4)), 1, 8) FROM n"
)


def fill(database: Path, subscribers: int, requests: int) -> None:
    """So many rows; the indexes that can be are made anew afterwards, as that is quicker."""
    with closing(sqlite3.connect(database, isolation_level=None)) as file:
        for pragma in (
            "journal_mode = DELETE",
            "synchronous = OFF",
            "cache_size = -1500000",
            "temp_store = MEMORY",
        ):
            file.execute(f"PRAGMA {pragma}").fetchall()
        indexes = file.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('requests', 'subscribers') "
            "AND sql IS NOT NULL"
        ).fetchall()
        [project] = file.execute("SELECT id FROM projects").fetchone()
        bound = {"project": project, "now": SystemClock().now(), "most": max(1, requests)}
        for name, _ in indexes:
            file.execute(f"DROP INDEX {name}")
        for sql, many in ((_SUBSCRIBERS, subscribers), (_REQUESTS, requests)):
            for first in range(1, many + 1, AT_ONCE):
                file.execute("BEGIN")
                file.execute(_NUMBERS.format(first=first, last=min(many, first + AT_ONCE - 1)) + sql, bound)
                file.execute("COMMIT")
        for _, sql in indexes:
            file.execute(sql)


@dataclass(frozen=True, slots=True)
class People:
    """Who is measured: the calls that use up their codes, and those that send them one."""

    verifies: list[bytes]
    sends: list[bytes]


def add_people(database: Path, headers: dict[str, str], verifies: int, sends: int, ahead_ms: int) -> People:
    """Take subscribers from all over the file, as far as there are as many, and give the first ones a code."""
    ring, randomness, now = KeyRing([KEY]), SystemRandomness(), SystemClock().now() + ahead_ms
    with closing(sqlite3.connect(database, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        [project] = file.execute("SELECT id FROM projects").fetchone()
        wanted = verifies + sends
        [last] = file.execute("SELECT coalesce(max(rowid), 0) FROM subscribers").fetchone()
        step = max(1, last // wanted)
        found = file.execute(
            "SELECT id FROM subscribers s WHERE rowid % ? = 0 AND NOT EXISTS "
            "(SELECT 1 FROM codes c WHERE c.subscriber_id = s.id) LIMIT ?",
            (step, wanted),
        )
        ids = [str(one) for [one] in found] if last >= wanted else []
        numbers = secrets.SystemRandom().sample(range(10**9, 10**15), wanted - len(ids))
        new = {str(uuid.uuid4()): number for number in numbers}
        file.execute("BEGIN")
        file.executemany(
            "INSERT INTO subscribers (id, project_id, mode, address, language, subscribed, consented_at, wrong_guesses, "
            "locked) VALUES (?, ?, 'live', ?, 'en', 1, ?, 0, 0)",
            [(one, project, f"max:{number}", now) for one, number in new.items()],
        )
        ids += new
        secrets.SystemRandom().shuffle(ids)
        coded = {one: ring.new_seed(6, randomness) for one in ids[:verifies]}
        file.executemany(
            "INSERT INTO codes (subscriber_id, purpose, id, request_id, ttl_minutes, max_attempts, code_length, seed, "
            "key_id, attempts, expires_at) VALUES (?, 'login', ?, NULL, 30, 5, 6, ?, ?, 0, ?)",
            [(one, str(uuid.uuid4()), seed.bits, seed.key_id, now + HOUR_MS) for one, seed in coded.items()],
        )
        file.execute("COMMIT")

    def call(path: str, **body: Any) -> bytes:
        return raw("POST", f"/v1/otp/{path}", json.dumps(body).encode(), headers)

    return People(
        [call("verify", subscriber_id=one, code=ring.digits(seed)) for one, seed in coded.items()],
        [call("send", subscriber_id=one) for one in ids[verifies:]],
    )


def old_requests(database: Path, many: int) -> list[str]:
    """Some that are over, from all over the file."""
    with closing(sqlite3.connect(database)) as file:
        [last] = file.execute("SELECT coalesce(max(rowid), 0) FROM requests").fetchone()
        found = file.execute(
            "SELECT id FROM requests WHERE rowid % ? = 0 LIMIT ?", (max(1, last // many), many)
        )
        return [str(one) for [one] in found]


def set_clock(database: Path, at: int) -> None:
    """No process over this file will take it to be earlier."""
    with closing(sqlite3.connect(database)) as file, file:
        file.execute("INSERT OR REPLACE INTO facts VALUES ('clock', ?)", (str(at),))


def oldest(database: Path) -> int:
    """Rows of requests begin here: those before were purged."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        return int(file.execute("SELECT coalesce(min(rowid), 0) FROM requests").fetchone()[0])


async def caught_up(database: Path, now: int) -> None:
    """What was due long ago is done: a day later each code's message is to be closed, all in the same moment."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as file:
        for _ in range(CATCH_UP_SECONDS):
            [due] = file.execute("SELECT count(*) FROM jobs WHERE due_at < ?", (now,)).fetchone()
            if due <= FEW:
                return
            await asyncio.sleep(1)


@dataclass(slots=True)
class Side:
    """One of the two services."""

    name: str
    port: int
    pid: int
    calls: dict[str, Iterator[bytes]]

    async def measure(self, kind: str, callers: int, seconds: float) -> Figures:
        """A round; the service runs only for it."""
        os.kill(self.pid, signal.SIGCONT)
        wanted = b'"status"' if "status" in kind else b"request_id" if kind == "request" else b"true"
        await asyncio.sleep(0.3)
        found = await run(
            self.port, self.pid, self.calls[kind], callers=callers, seconds=seconds, wanted=wanted
        )
        await asyncio.sleep(0.1)
        os.kill(self.pid, signal.SIGSTOP)
        return found


async def first_calls(
    port: int, headers: dict[str, str], olds: Sequence[str], people: People
) -> dict[str, Iterator[bytes]]:
    """The calls of a service: statuses of 500 requests that are open, and of those that are over."""
    async with aiohttp.ClientSession(headers=headers) as http:
        opened = []
        for _ in range(500):
            async with http.post(f"http://127.0.0.1:{port}/v1/otp/request") as answer:
                opened.append((await answer.json())["request_id"])
    status = [raw("GET", f"/v1/otp/request/{one}/status", b"", headers) for one in opened]
    old = [raw("GET", f"/v1/otp/request/{one}/status", b"", headers) for one in olds]
    return {
        "request": cycle([raw("POST", "/v1/otp/request", b"", headers | {"Content-Length": "0"})]),
        "status": cycle(status),
        "old status": cycle(old or status),
        "verify": iter(people.verifies),
        "send": iter(people.sends),
    }


async def compare(
    files: dict[str, tuple[Path, str]],
    callers: Sequence[int],
    kinds: Sequence[str],
    seconds: float,
    rounds: int,
    *,
    purging: bool,
) -> dict[str, dict[str, dict[str, Figures]]]:
    """Figures by callers, call and service, interleaved."""
    ahead = REQUEST_KEPT_MS + HOUR_MS // 2 if purging else 0
    found: dict[str, dict[str, dict[str, Figures]]] = {}
    many = {kind: int(rate * seconds * rounds * len(callers) * 1.2) for kind, rate in MOST.items()}
    messenger = free_port()
    with ExitStack() as stack:
        stack.enter_context(served("-m", "bench.messenger", str(messenger), port=messenger))
        sides = []
        for name, (database, key) in files.items():
            headers = {"Authorization": f"Bearer {key}"}
            set_clock(database, SystemClock().now() + ahead)
            people = add_people(database, headers, many["verify"], many["send"], ahead)
            os.sync()  # what was added is no service's to write
            olds = [] if purging else old_requests(database, 10_000)
            port = free_port()
            pid = stack.enter_context(
                served("main.py", "serve", port=port, **settings(database, port, messenger))
            )
            sides.append(Side(name, port, pid, await first_calls(port, headers, olds, people)))
        for database, _ in files.values():
            await caught_up(database, SystemClock().now() + ahead)
        for side in sides:
            stack.callback(os.kill, side.pid, signal.SIGCONT)  # so that it can end
            os.kill(side.pid, signal.SIGSTOP)
        for count in callers:
            for kind in kinds:
                if purging and kind == "old status":
                    continue
                taken: dict[str, list[Figures]] = {side.name: [] for side in sides}
                for _ in range(rounds):
                    for side in sides:
                        taken[side.name].append(await side.measure(kind, count, seconds))
                shown = {name: median(some) for name, some in taken.items()}
                found.setdefault(str(count), {})[kind] = shown
                told(count, kind, shown)
    return found


def settings(database: Path, port: int, messenger: int) -> dict[str, str]:
    """Of a service with MAX alone."""
    return {
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{database}",
        "SECRET_KEYS": KEY,
        "PUBLIC_URL": "https://bench.tapcode.invalid",
        "MAX_BOT_TOKEN": "bench-" + "x" * 40,
        "MAX_API_URL": f"http://127.0.0.1:{messenger}",
        "MAX_BOT_USERNAME": "id1_bot",
        "REQUESTS_PER_MINUTE": "100000000",
        "STATUS_READS_PER_MINUTE": "100000000",
    }


def told(count: int, kind: str, shown: dict[str, Figures]) -> None:
    """A line for whoever watches."""
    base, *others = shown.values()
    for one in others:
        print(
            f"{count:4} callers: {kind:10} p99 {one.p99_ms:6.2f} ms, {one.p99_ms / base.p99_ms:.2f} of {base.p99_ms:.2f}; "
            f"p50 {one.p50_ms:.2f} ({base.p50_ms:.2f}); {one.rate:.0f}/s ({base.rate:.0f})",
            flush=True,
        )


async def measure(folder: Path, given: argparse.Namespace) -> None:
    """Fill, compare, come back a day later, compare."""
    callers = [int(one) for one in given.callers.split(",")]
    large = (given.keep or folder) / f"large-{given.subscribers}.db"
    note = large.with_suffix(".key")
    if not note.exists():
        began = perf_counter()
        key = await make(large)
        fill(large, given.subscribers, given.subscribers * given.requests)
        note.write_text(key)
        print(f"filled in {perf_counter() - began:.0f} s: {large.stat().st_size / 1e9:.2f} GB", flush=True)
    empty = folder / "empty.db"
    files = {"empty": (empty, await make(empty)), "large": (large, note.read_text())}
    bare = bare_commit(folder)
    print(f"bare durable update: {bare:.2f} ms")
    results: dict[str, Any] = {
        "subscribers": given.subscribers,
        "requests": given.subscribers * given.requests,
        "bytes": large.stat().st_size,
        "bare_commit_ms": bare,
    }
    for purging in (False, True) if given.phase == "both" else (given.phase == "purge",):
        print("while everything is purged:" if purging else "awaiting purge:", flush=True)
        before, began = oldest(large), perf_counter()
        found = await compare(
            files, callers, given.calls.split(","), given.seconds, given.rounds, purging=purging
        )
        results["purging" if purging else "waiting"] = found
        if purging:
            print(f"rows purged: {oldest(large) - before} in {perf_counter() - began:.0f} s")
        save(f"size-{given.subscribers}", results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=10, help="for each subscriber")
    parser.add_argument("--callers", default="1,16")
    parser.add_argument("--calls", default=",".join(CALLS))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--phase", choices=("both", "wait", "purge"), default="both")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        asyncio.run(measure(Path(made), args))
