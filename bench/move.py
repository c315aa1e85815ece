"""How long `main.py move` takes: makes a database of many subscribers, moves it, and says what each phase took.

    python -m bench.move [--subscribers 100000] [--to postgresql://...]

Without `--to` it is the PostgreSQL of the tests, and its database `bench_move` is made anew.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any, Final

from config.clock import SystemClock
from storage import named
from storage.move import Moved, move
from storage.sqlite import SqliteStore
from tests.postgres import fresh

MINUTE: Final = 60_000
DAY: Final = 24 * 60 * MINUTE
PROJECTS: Final = 20
TOLD_S: Final = 0.05
"""Phases shorter than this are not told."""
TABLES: Final = (
    *(
        "projects",
        "api_keys",
        "subscribers",
        "people",
        "refusals",
        "updates",
        "requests",
        "codes",
        "deliveries",
    ),
    *("messages", "jobs", "pairing_misses"),
)
TERMS: Final = {"purpose": "login", "ttl_minutes": 5, "max_attempts": 3, "code_length": 6}
CONTEXT: Final = '{"action": "Sign in", "device": "Chrome on Windows", "location": "Kazan"}'

Row = dict[str, Any]


def an_id() -> str:
    """As long and as random as ours."""
    raw = os.urandom(16).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def a_project(number: int) -> str:
    """The id of one of the projects."""
    return f"{number % PROJECTS:08d}-0000-4000-8000-000000000000"


def rows_of(number: int, now: int) -> Iterator[tuple[str, Row]]:
    """A subscriber, and what two codes in two days leave behind."""
    sub, address = an_id(), f"{'telegram' if number % 3 else 'max'}:{10**9 + number}"
    ours = {"project_id": a_project(number), "mode": "live"}
    state = {
        "subscribed": 1,
        "consented_at": now - DAY,
        "wrong_guesses": number % 4,
        "locked": number % 500 == 0,
    }
    yield "subscribers", {"id": sub, **ours, "address": address, "language": "ru", **state}
    if number % 10 == 0:
        yield "people", {"address": address, "language": "en"}
    if number % 100 == 0:
        yield "refusals", {**ours, "project_id": a_project(number + 1), "address": address, "refused_at": now}
        yield "pairing_misses", {"id": an_id(), "address": address, "missed_at": now - MINUTE}
    for turn in range(4):
        yield "updates", {"key": f"{address}:{turn}:{an_id()}", "seen_at": now - turn * 1000}
    for turn in range(2):
        yield from _code(ours, sub, address, now - turn * DAY, alive=turn == 0 and number % 20 == 0)


def _code(ours: Row, sub: str, address: str, at: int, *, alive: bool) -> Iterator[tuple[str, Row]]:
    request, delivery, code = an_id()[:16], an_id(), an_id()
    times = {"created_at": at, "expires_at": at + 15 * MINUTE, "finished_at": at + MINUTE}
    asked = {"status": "sent", "bound_to": address, "subscriber_id": sub, "context": CONTEXT, "opened": 1}
    yield "requests", {"id": request, **ours, **TERMS, **times, **asked, "pairing_code": an_id()[:8]}
    whose = {
        "project_id": ours["project_id"],
        "subscriber_id": sub,
        "address": address,
        "request_id": request,
    }
    seed = {"seed": b"", "key_id": "", "code_id": code, "reuses": 0}
    state = {"cause": "consent", "state": "accepted", "tries": 1, "context": CONTEXT}
    times = {"claimed_at": at, "due_at": at, "give_up_at": at + MINUTE, "attempted_at": at, "settled_at": at}
    yield "deliveries", {"id": delivery, **whose, **TERMS, **seed, **state, **times}
    shown = {"address": address, "request_id": request, "messenger_id": f"{at}", "created_at": at}
    yield "messages", {"id": an_id(), "kind": "question", **shown, "closed": 1}
    told = {
        "subscriber_id": sub,
        "delivery_id": delivery,
        "code_id": code,
        "ended": None if alive else "used",
    }
    yield "messages", {"id": delivery, "kind": "code", **shown, **told, "closed": int(not alive)}
    if alive:
        secret = {"seed": os.urandom(16), "key_id": "key", "attempts": 0, "expires_at": at + 5 * MINUTE}
        yield "codes", {"id": code, "subscriber_id": sub, "request_id": request, **TERMS, **secret}
        lease = {"attempts": 0, "lease_until": 0, "owner": "", "payload": ""}
        yield "jobs", {"kind": "close_message", "subject": delivery, "due_at": at + 5 * MINUTE, **lease}


async def fill(path: Path, subscribers: int) -> None:
    """A database as a service of two days leaves it."""
    clock = SystemClock()
    await (await SqliteStore.open(str(path), clock)).close()
    now = clock.now()
    waiting: dict[str, list[Row]] = {table: [] for table in TABLES}
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for number in range(PROJECTS):
            project = {"id": a_project(number), "name": f"Shop {number}", "description": "", "enabled": 1}
            key = {"hash": os.urandom(32), "project_id": a_project(number), "mode": "live", "created_at": now}
            waiting["projects"].append({**project, "created_at": now})
            waiting["api_keys"].append(key)
        for number in range(subscribers):
            for table, row in rows_of(number, now):
                waiting[table].append(row)
            if number % 10_000 == 0:
                put(database, waiting)
        put(database, waiting)


def put(database: sqlite3.Connection, waiting: dict[str, list[Row]]) -> None:
    """Write what waits, and forget it."""
    database.execute("BEGIN")
    for table, rows in waiting.items():
        for row in rows:
            sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' for _ in row)})"  # noqa: S608
            database.execute(sql, tuple(row.values()))
        rows.clear()
    database.execute("COMMIT")


class Watch:
    """Seconds per phase."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self._since = monotonic()
        self._doing = "opening the file"

    def tell(self, doing: str) -> None:
        """Another phase begins."""
        now = monotonic()
        self.phases[self._doing] = self.phases.get(self._doing, 0) + now - self._since
        self._since, self._doing = now, doing


async def timed(path: Path, url: str) -> tuple[Moved, Watch]:
    """Move, with a watch in hand."""
    watch = Watch()
    moved = await move(str(path), url, SystemClock(), watch.tell)
    watch.tell("")
    return moved, watch


def show(moved: Moved, watch: Watch) -> None:
    """What was carried over and how long each phase took."""
    print("already there" if moved.already else "moved and checked by count and hash")
    for table, rows in moved.rows.items():
        print(f"  {table:16}{rows:>10}")
    print(f"  {'all':16}{sum(moved.rows.values()):>10}")
    for doing, seconds in watch.phases.items():
        if seconds >= TOLD_S:
            print(f"  {doing:28}{seconds:8.2f} s")
    print(f"  {'all':28}{sum(watch.phases.values()):8.2f} s")


async def run(path: Path, subscribers: int, to: str | None) -> None:
    """Make, move, and move again."""
    begun = monotonic()
    await fill(path, subscribers)
    size, before = os.path.getsize(path) / 2**20, _peak()  # noqa: ASYNC240, PTH202  # nobody else waits
    print(f"made a file of {size:.0f} MiB for {subscribers} subscribers in {monotonic() - begun:.1f} s")
    url = to or await fresh("bench_move")
    print(f"moving it to {named(url)}")
    show(*await timed(path, url))
    print(f"peak memory: {_peak():.0f} MiB, {before:.0f} MiB before the move")
    print("once more:")
    show(*await timed(path, url))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Read what was typed, and run."""
    parser = argparse.ArgumentParser(prog="bench.move", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=100_000)
    parser.add_argument("--to", metavar="URL", help="an empty database of PostgreSQL")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "bench.db", given.subscribers, given.to))


if __name__ == "__main__":
    main()
