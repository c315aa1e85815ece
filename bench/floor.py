"""The least that makes a `verify` durable: what is left when nothing else is done. Beside `bench.noop` and the service.

The same gathering, reading and writing for all who come together, one commit with an fsync, an API key, and a code that is
derived by HMAC; no log, no limits, no checks of what came in, no accounts, events or messages, and a table of one kind of
row found by an integer. What the service costs beyond it is what it does beyond it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import sqlite3
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from aiohttp import web

from bench.load import raw

SECRET = b"floor" * 8
API_KEY = "tc_live_" + "f" * 40
KNOWN = {sha256(API_KEY.encode()).digest()}
AT_MOST = 256


def digits(seed: bytes) -> str:
    """Six of them."""
    return f"{int.from_bytes(hmac.digest(SECRET, seed, sha256)[:8], 'big') % 1_000_000:06d}"


def fill(database: Path, many: int) -> list[bytes]:
    """So many codes; the calls that use them up."""
    with sqlite3.connect(database) as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute(
            "CREATE TABLE codes (id INTEGER PRIMARY KEY, subscriber TEXT NOT NULL UNIQUE, seed BLOB NOT NULL, "
            "attempts INTEGER NOT NULL) STRICT"
        )
        people = [str(UUID(bytes=sha256(n.to_bytes(8)).digest()[:16], version=4)) for n in range(many)]
        seeds = [sha256(one.encode()).digest()[:16] for one in people]
        rows = zip(people, seeds, strict=True)
        file.executemany("INSERT INTO codes (subscriber, seed, attempts) VALUES (?, ?, 0)", rows)
    file.close()
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return [
        raw(
            "POST",
            "/verify",
            json.dumps({"subscriber_id": one, "code": digits(seed)}).encode(),
            headers,
        )
        for one, seed in zip(people, seeds, strict=True)
    ]


class Floor:
    """Guesses of those who come together, judged and written together."""

    def __init__(self, database: Path) -> None:
        self._file = sqlite3.connect(database, isolation_level=None)
        self._file.execute("PRAGMA synchronous = FULL")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[str, str, asyncio.Future[bool]]] = []

    async def verify(self, request: web.Request) -> web.Response:
        """One guess."""
        if sha256(request.headers["Authorization"][7:].encode()).digest() not in KNOWN:
            raise web.HTTPUnauthorized
        asked = json.loads((await request.read()).decode())
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append((asked["subscriber_id"], asked["code"], answer))
        if len(self._waiting) == 1:
            self._loop.call_soon(self._turn, 1)
        right = b'{"verified": true}' if await answer else b'{"verified": false}'
        return web.Response(body=right, content_type="application/json")

    def _turn(self, seen: int) -> None:
        if seen < len(self._waiting) < AT_MOST:
            self._loop.call_soon(self._turn, len(self._waiting))
            return
        batch, self._waiting = self._waiting, []
        for (_, _, answer), right in zip(batch, self._judged(batch), strict=True):
            answer.set_result(right)

    def _judged(self, batch: Sequence[tuple[str, str, asyncio.Future[bool]]]) -> list[bool]:
        self._file.execute("BEGIN IMMEDIATE")
        asked = json.dumps([subscriber for subscriber, _, _ in batch])
        found = {
            subscriber: (number, seed)
            for number, subscriber, seed in self._file.execute(
                "SELECT id, subscriber, seed FROM codes WHERE subscriber IN (SELECT value FROM json_each(?))",
                (asked,),
            )
        }
        gone: list[tuple[int]] = []
        verdicts = []
        for subscriber, typed, _ in batch:
            number, seed = found.get(subscriber, (0, b""))
            right = bool(number) and hmac.compare_digest(digits(seed), typed)
            if right:
                del found[subscriber]
                gone.append((number,))
            verdicts.append(right)
        self._file.executemany("DELETE FROM codes WHERE id = ?", gone)
        self._file.execute("COMMIT")
        return verdicts


async def application(database: Path) -> web.Application:
    """The one route."""
    app = web.Application()
    app.add_routes([web.post("/verify", Floor(database).verify)])
    return app


if __name__ == "__main__":
    web.run_app(
        application(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None
    )
