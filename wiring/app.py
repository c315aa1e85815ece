"""The whole service over an open store: every part, its listeners and its routes. Begins nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import structlog
from aiohttp import web

from api.app import Api, Health, frame, refusal
from api.auth import Door, Limits
from api.bodies import read_limited
from api.button import Button, scripts
from api.limits import Seats
from api.outgoing import EndpointPost
from api.pages import PageLimits, PageRoutes
from api.reference import Reference, bundle
from bot.background import ask_phone, check_channel, close_message, tell_locked
from bot.dialog import Dialog
from bot.fetching import Fetcher
from bot.messenger import Skin
from bot.registration import Registration
from bot.replies import Replies, ReplyLimit
from bot.webhooks import WebhookRoutes
from config import VERSION
from config.logs import log_event
from config.process import most_waiters
from config.settings import Settings
from otp.counting import Counting
from otp.courier import Courier
from otp.delivery import Rules
from otp.events import ASK_PHONE, CLOSE_MESSAGE, ERASE_PROJECT, TELL_LOCKED, DeliverySettled, Event
from otp.hosted import HostedPages
from otp.housekeeping import erase_project, sweep
from otp.jobs import Handler, JobRunner
from otp.model import Channel, Mode
from otp.ports import Clock, Randomness, Store
from otp.projects import Projects
from otp.rehearsal import Rehearsal
from otp.sender import Sender
from otp.waiting import Waiters
from wiring.core import make_core
from wiring.observing import Observers, staged
from wiring.parts import (
    make_endpoints,
    make_registration,
    make_retention,
    make_seals,
    measuring_of,
    webhook_secrets,
)
from wiring.service import Service, Telling, failed

if TYPE_CHECKING:
    from checks.calls import Outside


def make_telling(
    settings: Settings, store: Store, clock: Clock, randomness: Randomness, observers: Observers
) -> Telling:
    """All that has to do with events."""
    post = EndpointPost(f"tapcode/{VERSION}", private=settings.events_allow_private)
    seals, way = make_seals(settings, randomness), observers.counted(post)
    sender = Sender(store, clock, seals, way, randomness, failed)
    return Telling(make_endpoints(settings, store, randomness), sender, post)


def make_api(
    settings: Settings, waiters: Waiters, clock: Clock, mode: Mode, rehearsal: Rehearsal | None
) -> Api:
    """The API, with the operator's limits in front of it."""
    limits = Limits.per_minute(
        clock,
        requests=settings.requests_per_minute,
        status_reads=settings.status_reads_per_minute,
        seats=Seats(settings.waiters_per_key, most_waiters()),
        trusted_proxies=settings.proxies,
    )
    played = Mode.TEST if rehearsal is not None else None
    modes = {mode} if played is None else {mode, played}
    return Api(waiters, Door(waiters.service, modes, limits, played), VERSION, rehearsal)


def reference_routes(settings: Settings) -> list[web.RouteDef]:
    """The page that shows the API; none where it is switched off, or its files are not installed."""
    if not settings.docs:
        return []
    folder = bundle()
    if folder is None:
        structlog.get_logger().warning(
            "docs.missing",
            hint="/docs needs Swagger UI: pip install --no-deps -r requirements/reference.txt; or set DOCS=false",
        )
        return []
    return Reference(folder).routes()


def build_app(
    settings: Settings,
    *,
    store: Store,
    clock: Clock,
    randomness: Randomness,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    public_url: str | None = None,
    outside: Outside | None = None,
) -> Service:
    """Wire all parts over an open store. Begins nothing.

    `public_url`: for browsers, where that is not PUBLIC_URL; `outside`: how PUBLIC_URL is looked at, where figures are on.
    """
    measuring = measuring_of(settings, store, clock, mode, skins, outside)
    observers = measuring.observers if measuring is not None else Observers()
    carriers = staged(skins, randomness, observers.called, "code")
    skins = staged(skins, randomness, observers.called, "message")
    registration = make_registration(settings, store, skins)
    telling = make_telling(settings, store, clock, randomness, observers)
    core = make_core(
        settings,
        store=store,
        clock=clock,
        randomness=randomness,
        mode=mode,
        skins=carriers,
        bots=registration,
        public_url=public_url or settings.public_url,
    )
    courier, limit = core.courier, ReplyLimit(settings.replies_per_minute, clock)
    replies = Replies(skins, store, limit, failed)
    dialog = Dialog(core.taps, core.protection, core.phones, randomness, limit.allows)
    health = Health(store, lambda: _readiness(settings, registration, courier))
    retention = make_retention(settings, core.rules)
    handlers = {
        "sweep": sweep(store, clock, retention),
        **_handlers(store, clock, core.rules, dialog, replies, registration, skins),
    }
    jobs = JobRunner(store, clock, randomness.text(12), handlers, failed)

    counting = Counting(store, clock, failed)
    waiters = Waiters(core.service, store, clock, failed)

    def offer(event: Event) -> None:
        if isinstance(event, DeliverySettled):
            replies.give(dialog.after_delivery(event))

    for listener in (
        waiters.on_event,
        courier.on_event,
        jobs.on_event,
        telling.sender.on_event,
        offer,
        counting.on_event,
        log_event,
    ):
        store.listen(listener)
    observers.watch(store, core.service)
    infos = registration.channels if settings.public_url is None else {}
    fetchers = [
        Fetcher(skins[one], dialog, replies, store, clock, infos[one], failed, observers.updated)
        for one in infos
    ]
    secrets = _hook_secrets(settings, skins)
    hooks = WebhookRoutes(skins, secrets, dialog, replies, read_limited, observers.updated)
    api = make_api(settings, waiters, clock, mode, core.rehearsal)
    app = web.Application(middlewares=[frame(randomness, observers.answered)])
    app.add_routes([*api.routes(), *telling.routes(api.door), *health.routes(), *hooks.routes()])
    app.add_routes(
        PageRoutes(HostedPages(core.service), waiters, PageLimits.beside(api.door.limits, clock)).routes()
    )
    app.add_routes([*Button(scripts()).routes(), *reference_routes(settings)])
    refuse = refusal(randomness)
    if measuring is not None:
        app.add_routes(measuring.expose(registration.channels, courier, refuse, randomness))
    return Service(
        app,
        refuse,
        store,
        clock,
        courier,
        replies,
        jobs,
        waiters,
        registration,
        health,
        Projects(store, randomness, mode),
        skins,
        fetchers,
        telling,
        core.rules.seals,
        counting,
        measuring,
    )


def _handlers(
    store: Store,
    clock: Clock,
    rules: Rules,
    dialog: Dialog,
    replies: Replies,
    registration: Registration,
    skins: Mapping[Channel, Skin],
) -> dict[str, Handler]:
    """What does which job, beside the sweep."""
    return {
        CLOSE_MESSAGE: close_message(store, clock, skins),
        ERASE_PROJECT: erase_project(store, clock),
        TELL_LOCKED: tell_locked(store, rules, dialog, replies),
        ASK_PHONE: ask_phone(store, clock, skins),
        **{f"check:{channel}": check_channel(registration, clock, channel) for channel in skins},
    }


def _hook_secrets(settings: Settings, skins: Mapping[Channel, Skin]) -> dict[Channel, list[str]]:
    return {channel: webhook_secrets(settings, channel) for channel in skins}


def _readiness(settings: Settings, registration: Registration, courier: Courier) -> dict[str, Any]:
    """What `/readyz` tells beside the store's state."""
    channels = {
        str(channel): {
            "state": info.state,
            "bot": info.username,
            "webhook": info.webhook,
            "detail": info.detail,
            "breaker": courier.breakers[channel].state,
        }
        for channel, info in registration.channels.items()
    }
    updates = "webhook" if settings.public_url else "fetched: PUBLIC_URL is not set, no updates are delivered"
    return {"channels": channels, "updates": updates, "version": VERSION}
