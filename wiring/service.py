"""The parts of a running service, and the order in which they begin and end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web

from api.admin import AdminServer
from api.app import Health
from api.auth import Door
from api.outgoing import EndpointPost
from api.webhook_calls import WebhookCalls
from bot.fetching import Fetcher
from bot.messenger import Skin
from bot.registration import Registration
from bot.replies import Replies
from config.connections import Refusal
from otp.counting import Counting
from otp.courier import Courier
from otp.endpoints import Endpoints
from otp.errors import StorageUnavailable
from otp.jobs import JobRunner
from otp.model import Channel
from otp.phones import reseal
from otp.ports import Clock, Seals, Store
from otp.projects import Projects
from otp.sender import Sender
from otp.tasks import Tasks
from otp.waiting import Waiters

if TYPE_CHECKING:
    from wiring.measuring import Measuring

DRAIN_SECONDS: Final = 20
"""Longer than any call to a messenger: calls in flight at SIGTERM end."""


def _tasks() -> Tasks:

    return Tasks(failed)


def failed(error: BaseException) -> None:
    """Log what went wrong in the background; a store that is away is no fault of ours."""
    if isinstance(error, StorageUnavailable):
        structlog.get_logger().warning("storage.unavailable", exc_info=error)
    else:
        structlog.get_logger().error("background.failed", exc_info=error)


@dataclass(frozen=True, slots=True)
class Telling:
    """What tells the sites' webhooks of events."""

    endpoints: Endpoints
    sender: Sender
    post: EndpointPost

    def routes(self, door: Door) -> list[web.RouteDef]:
        """The API's calls about them."""
        return WebhookCalls(self.endpoints, door).routes()

    async def begin(self) -> None:
        """Let keys that no longer seal go, and go on telling."""
        await self.endpoints.reseal()
        self.sender.start()

    async def end(self) -> None:
        """Let what is being told end."""
        await self.sender.close(DRAIN_SECONDS)
        await self.post.close()


@dataclass(slots=True)
class Service:
    """The parts of a running service, and the order in which they begin and end."""

    app: web.Application
    refusal: Refusal
    store: Store
    clock: Clock
    courier: Courier
    replies: Replies
    jobs: JobRunner
    waiters: Waiters
    registration: Registration
    health: Health
    projects: Projects
    skins: Mapping[Channel, Skin]
    fetchers: Sequence[Fetcher]
    telling: Telling
    seals: Seals
    counting: Counting
    measuring: Measuring | None = None
    admin: AdminServer | None = None
    alone: bool = True
    """Whether nobody else works on the store: what was claimed before can be in no other hands."""
    tasks: Tasks = field(default_factory=_tasks)

    async def begin(self) -> None:
        """Take up what was left, and start the background work."""
        await self.store.read(self.registration.recall)
        await self.courier.recover(at_start=self.alone)
        await self.telling.begin()
        now = self.clock.now()
        await self.jobs.start({"sweep": now, **{f"check:{channel}": now for channel in self.skins}})
        self.tasks.start(self.courier.look_round())
        self.tasks.start(self.counting.run())
        if not self.alone:
            self.tasks.start(self.registration.follow(self.clock))
        self.tasks.start(reseal(self.store, self.seals))
        for fetcher in self.fetchers:
            fetcher.start()
        if self.admin is not None:
            await self.admin.start()
        if self.measuring is not None:
            await self.measuring.begin()

    def wind_down(self) -> None:
        """Begin nothing more, and wait for nothing that may be far away: the end is near."""
        self.courier.stop_retrying()
        self.telling.sender.stop()
        self.waiters.end()

    async def end(self) -> None:
        """Stop the background work and let go of everything."""
        await self.waiters.close()
        await self.tasks.drain(0)
        if self.measuring is not None:
            await self.measuring.end()
        if self.admin is not None:
            await self.admin.close()
        for fetcher in self.fetchers:
            await fetcher.close()
        await self.jobs.close()
        await self.courier.close(DRAIN_SECONDS)
        await self.telling.end()
        await self.replies.close(2)
        await self.counting.flush()
        for skin in self.skins.values():
            await skin.close()
        await self.store.close()
