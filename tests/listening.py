"""A site's own webhook on loopback: it hears of events, checks their signatures, and is not always well."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from time import monotonic
from typing import Any

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.history import Heard, History
from tests.running import Site
from tests.torture_load import Load, now

PATIENCE = 150
"""Seconds until all was told, after the last fault: a lease, and the third retry at the latest."""


class Listener:
    """What a service tells, noted in a history. An event may come to nothing the first time, and only then."""

    def __init__(self, history: History, rng: Random) -> None:
        self.secret = ""
        self.well = False
        """From now on everything is taken."""
        self._history = history
        self._rng = rng
        self._known: set[str] = set()

    async def hear(self, request: web.Request) -> web.StreamResponse:
        """Note what came; answer, refuse, take its time, or break off."""
        body, id_ = await request.text(), request.headers.get("webhook-id", "")
        try:
            Webhook(self.secret).verify(body, dict(request.headers))
        except WebhookVerificationError as error:
            self._history.errors.append(f"a signature that is none: {error}")
        mood = self._rng.random() if id_ not in self._known and not self.well else 1
        self._known.add(id_)
        told = json.loads(body)
        heard = Heard(now(), id_, told["type"], told["data"], body, mood >= 0.1)
        self._history.heard.append(heard)
        if mood < 0.04 and request.transport is not None:
            request.transport.abort()
        if 0.1 <= mood < 0.2:
            await asyncio.sleep(self._rng.uniform(0, 0.5))
        return web.Response(status=204 if heard.took else 500)


@asynccontextmanager
async def listening(history: History, site: Site, seed: str) -> AsyncIterator[Listener]:
    """A webhook of a site, which hears of everything from now on."""
    listener, app = Listener(history, Random(f"{seed}:listener")), web.Application()  # noqa: S311
    app.router.add_post("/", listener.hear)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = runner.addresses[0][1]
        answer = await site.call("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{port}/"})
        assert answer.status == 201, answer
        listener.secret = answer.json["secret"]
        history.listens = True
        yield listener
    finally:
        await runner.cleanup()


async def all_told(load: Load, listener: Listener) -> None:
    """Until nothing is left to tell; then what the service says of each event is noted."""
    listener.well, end = True, monotonic() + PATIENCE
    while True:
        found = await _outbox(load)
        load.history.outbox = {one["id"]: one["status"] for one in found}
        if "pending" not in load.history.outbox.values() or monotonic() > end:
            return
        await asyncio.sleep(1)


async def _outbox(load: Load) -> list[dict[str, Any]]:
    """All events that the service knows of."""
    found: list[dict[str, Any]] = []
    before: dict[str, str] = {}
    while True:
        got = load.one.http.get(
            f"{load.relay.url}/v1/events",
            params={"limit": "100", **before},
            headers={"Authorization": f"Bearer {load.one.api_key}"},
            timeout=aiohttp.ClientTimeout(total=20),
        )
        async with got as answer:
            page = await answer.json()
        found += page["events"]
        if "next" not in page:
            return found
        before = {"before": page["next"]}
