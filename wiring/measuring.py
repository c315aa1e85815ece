"""Puts the figures together. Imported where they are on, as what it imports costs memory and time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from api.app import frame
from api.scraping import MetricsRoute, Scrape
from bot.messenger import Skin
from bot.registration import ChannelInfo
from bot.registration import State as Known
from checks.calls import Outside
from config import VERSION
from config.connections import Refusal
from config.process import Server
from config.settings import Settings, is_postgres
from metrics.exposition import Exposition
from metrics.figures import Figures
from metrics.loop import LoopWatch
from metrics.posts import CountedPost
from metrics.probes import Probes
from metrics.state import ChannelState, State, StateCollector
from otp.breaker import BreakerState
from otp.courier import Courier
from otp.errors import StorageUnavailable
from otp.model import Channel, Mode
from otp.policy import SECOND_MS
from otp.ports import Clock, Post, Randomness, Store, Tx
from otp.tasks import Tasks
from storage.observing import Size, size_of
from wiring.observing import Observers
from wiring.parts import revealed
from wiring.probing import Probing
from wiring.service import failed

LOOK_SECONDS: Final = 5
"""Prometheus waits ten: what is not known by then is left out."""
MOST_CONNECTIONS: Final = 64
"""To the port of its own."""
_KNOWN: Final = {
    Known.OK: (True, True),
    Known.FOREIGN_WEBHOOK: (True, True),
    Known.UNAUTHORIZED: (True, False),
    Known.UNREACHABLE: (False, None),
    Known.UNKNOWN: (None, None),
}
"""Whether a messenger is reachable, and takes the token."""
_WEBHOOK: Final = {"registered": True, "missing": False}


@dataclass(slots=True)
class Measuring:
    """The figures, and where they are given out."""

    settings: Settings
    store: Store
    figures: Figures
    probing: Probing
    """Measures what is not counted here."""
    _watch: LoopWatch = field(init=False)
    _scrape: Scrape | None = field(default=None, init=False)
    _server: Server | None = field(default=None, init=False)
    _tasks: Tasks = field(default_factory=lambda: Tasks(failed), init=False)

    def __post_init__(self) -> None:
        self._watch = LoopWatch(self.figures.late)

    @property
    def observers(self) -> Observers:
        """Who is told what."""
        figures = self.figures

        def counted(post: Post) -> Post:
            return CountedPost(post, figures.posted)

        return Observers(
            answered=figures.answered,
            called=figures.called,
            updated=figures.update,
            judged=figures.judged,
            happened=figures.on_event,
            store=figures,
            counted=counted,
        )

    def expose(
        self,
        channels: Mapping[Channel, ChannelInfo],
        courier: Courier,
        refusal: Refusal,
        randomness: Randomness,
    ) -> list[web.RouteDef]:
        """Tell of these channels; the routes for the main server, and the port of its own made ready."""
        database = self.settings.database_url.get_secret_value()
        build = {"version": VERSION, "store": "postgresql" if is_postgres(database) else "sqlite"}

        async def look() -> State:
            return await look_around(self.store, channels, courier)

        scrape = Exposition(self.figures, StateCollector(build, self.probing.probes), look).scrape
        route = MetricsRoute(scrape, revealed(self.settings.metrics_token))
        if self.settings.metrics_port is not None:
            app = web.Application(middlewares=[frame(randomness)])
            app.add_routes(route.routes())
            self._server = Server(app, 1, refusal, MOST_CONNECTIONS)
        return route.routes() if self.settings.metrics_token is not None else []

    async def begin(self) -> None:
        """Watch the loop, measure what is outside, and listen. Raises `StartError`."""
        self._watch.start()
        self._tasks.start(self.probing.run())
        if self._server is not None and self.settings.metrics_port is not None:
            await self._server.start(self.settings.metrics_host, self.settings.metrics_port, "METRICS_PORT")

    async def end(self) -> None:
        """Stop."""
        self._watch.stop()
        await self._tasks.drain(0)
        if self._server is not None:
            await self._server.close()


def make_measuring(
    settings: Settings,
    store: Store,
    clock: Clock,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    outside: Outside | None,
) -> Measuring:
    """The figures of these channels. `outside`: how PUBLIC_URL is reached, where that is not the system's way."""
    probing = Probing(settings, skins, clock, Probes(), failed, outside or Outside())
    return Measuring(settings, store, Figures([*skins], clock, mode), probing)


async def look_around(store: Store, channels: Mapping[Channel, ChannelInfo], courier: Courier) -> State:
    """How things are now."""
    waiting, size = await asyncio.gather(_waiting(store), _size(store))
    return State(
        store_up=waiting is not None,
        waiting=waiting or {},
        store_bytes=size.database,
        disk_free_bytes=size.disk_free,
        channels={
            channel: _channel(info, courier.breakers[channel].state) for channel, info in channels.items()
        },
    )


def _channel(info: ChannelInfo, breaker: BreakerState) -> ChannelState:
    reachable, accepted = _KNOWN[info.state]
    return ChannelState(breaker, reachable, accepted, _WEBHOOK.get(info.webhook), info.lost)


async def _waiting(store: Store) -> dict[str, float] | None:
    """By queue, how long the first has waited; None when the store does not answer."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await store.read(_queues)
    except (StorageUnavailable, TimeoutError):
        return None


async def _queues(tx: Tx) -> dict[str, float]:
    since = {
        "deliveries": await tx.waiting_since(),
        "jobs": await tx.next_job_at(),
        "events": min((await tx.endpoints_due()).values(), default=None),
    }
    return {queue: 0 if at is None else max(0, tx.now - at) / SECOND_MS for queue, at in since.items()}


async def _size(store: Store) -> Size:
    """A disk that hangs is not waited for."""
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            return await size_of(store)
    except TimeoutError:
        return Size()
