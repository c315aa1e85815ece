"""The composition root, and the command line's entry: the only file that knows all the others.

Everything heavy is imported where it is used: `--help` and the `project` commands never load a messenger.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from config import VERSION
from config.arguments import as_command, confirmed, parser, show, target
from config.process import (
    EXIT_BUSY,
    EXIT_CONFIG,
    EXIT_STORE,
    Server,
    StartError,
    most_waiters,
    open_connections,
    raise_file_limit,
    spare_collections,
    take_over_loop,
)
from config.settings import Settings, SettingsError, defaults_but, is_postgres, load

if TYPE_CHECKING:
    from aiohttp import web
    from pydantic import SecretStr

    from api.admin import AdminServer, Perform
    from api.app import Api, Health
    from api.auth import Door
    from api.outgoing import EndpointPost
    from bot.dialog import Dialog
    from bot.fetching import Fetcher
    from bot.messenger import Skin
    from bot.registration import Registration
    from bot.replies import Replies
    from config.connections import Refusal
    from otp.courier import Courier
    from otp.delivery import Rules
    from otp.endpoints import Endpoints
    from otp.events import Event
    from otp.jobs import Handler, JobRunner
    from otp.model import Channel, Mode
    from otp.policy import Policy
    from otp.ports import Clock, Randomness, Seals, Store
    from otp.projects import Projects
    from otp.protection import Protection
    from otp.rehearsal import Rehearsal
    from otp.sender import Sender
    from otp.service import Bots, OtpService
    from otp.taps import Taps
    from otp.tasks import Tasks
    from otp.waiting import Waiters
    from storage import Reach

LOCK_SECONDS: Final = 10
DRAIN_SECONDS: Final = 20
"""Longer than any call to a messenger: calls in flight at SIGTERM end."""
SANDBOX_DATABASE: Final = "data/sandbox.db"


# ------------------------------------------------------------------ putting the parts together


def _tasks() -> Tasks:
    from otp.tasks import Tasks

    return Tasks(_failed)


def _failed(error: BaseException) -> None:
    import structlog

    from otp.errors import StorageUnavailable

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
        from api.webhook_calls import WebhookCalls

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
        if not self.alone:
            self.tasks.start(self.registration.follow(self.clock))
        for fetcher in self.fetchers:
            fetcher.start()
        if self.admin is not None:
            await self.admin.start()

    def wind_down(self) -> None:
        """Begin nothing more, and wait for nothing that may be far away: the end is near."""
        self.courier.stop_retrying()
        self.telling.sender.stop()
        self.waiters.end()

    async def end(self) -> None:
        """Stop the background work and let go of everything."""
        await self.waiters.close()
        await self.tasks.drain(0)
        if self.admin is not None:
            await self.admin.close()
        for fetcher in self.fetchers:
            await fetcher.close()
        await self.jobs.close()
        await self.courier.close(DRAIN_SECONDS)
        await self.telling.end()
        await self.replies.close(2)
        for skin in self.skins.values():
            await skin.close()
        await self.store.close()


def make_skins(settings: Settings) -> dict[Channel, Skin]:
    """The messengers that have a token; the library of one that is off is never loaded."""
    from otp.model import Channel

    skins: dict[Channel, Skin] = {}
    if (token := _revealed(settings.telegram_bot_token)) is not None:
        from bot.telegram import TelegramSkin

        skins[Channel.TELEGRAM] = TelegramSkin(
            token, settings.telegram_api_url, _revealed(settings.telegram_proxy_url)
        )
    if (token := _revealed(settings.max_bot_token)) is not None:
        from bot.max import MaxSkin

        skins[Channel.MAX] = MaxSkin(token, settings.max_api_url, _revealed(settings.max_proxy_url))
    return skins


def _revealed(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def webhook_secrets(settings: Settings, channel: Channel) -> list[str]:
    """The secrets that a channel's webhook accepts; the first one is registered. None at all without any key."""
    from otp.codes import KeyRing

    given = _revealed(getattr(settings, f"{channel}_webhook_secret"))
    if given is not None:
        return [given]
    bot = bot_identity(settings, channel)
    return KeyRing(settings.keys).webhook_secrets(channel, bot) if settings.keys else []


def bot_identity(settings: Settings, channel: Channel) -> str:
    """What tells one bot from another: Telegram's numeric id, which stands in the token, or the token's fingerprint."""
    from otp.codes import fingerprint

    token = _revealed(getattr(settings, f"{channel}_bot_token")) or ""
    return token.partition(":")[0] if channel == "telegram" else fingerprint([token])


def make_registration(settings: Settings, store: Store, skins: Mapping[Channel, Skin]) -> Registration:
    """What looks after names and webhooks."""
    from bot.registration import Registration, Wanted

    targets: dict[Channel, Wanted] = {}
    for channel in skins:
        secrets = webhook_secrets(settings, channel)
        if settings.public_url is not None and secrets:
            targets[channel] = Wanted(f"{settings.public_url}/webhooks/{channel}", secrets[0])
    given = {channel: getattr(settings, f"{channel}_bot_username") for channel in skins}
    usernames = {channel: name for channel, name in given.items() if name}
    identities = {channel: bot_identity(settings, channel) for channel in skins}
    return Registration(
        skins, store, targets, usernames, identities=identities, automatic=settings.registers_webhooks
    )


def make_clock(database: str | None) -> Clock:
    """The clock over a store: this machine's over an SQLite file, else the one that the database tells."""
    from config.clock import SystemClock, told_clock

    return SystemClock() if database else told_clock()


def make_reach(settings: Settings) -> Reach:
    """How the database is reached."""
    from storage import Reach

    return Reach(
        _revealed(settings.database_direct_url),
        settings.database_pool_size,
        settings.database_statement_cache,
    )


def make_policy(settings: Settings) -> Policy:
    """The operator's limits."""
    from otp.policy import Policy

    chosen = Policy(
        max_ttl_minutes=settings.max_ttl_minutes,
        send_limit=settings.send_limit,
        send_window_ms=settings.send_window_seconds * 1000,
        guess_budget=settings.guess_budget,
    )
    return chosen.strict() if settings.profile == "strict" else chosen


def make_seals(settings: Settings, randomness: Randomness) -> Seals:
    """What seals the secrets that must be stored."""
    from otp.codes import KeyRing
    from storage.sealing import AeadSeals

    return AeadSeals(KeyRing(settings.keys).sealing_keys() if settings.keys else {}, randomness)


def make_endpoints(settings: Settings, store: Store, randomness: Randomness) -> Endpoints:
    """Where events go."""
    from otp.endpoints import Endpoints

    seals = make_seals(settings, randomness)
    return Endpoints(store, seals, randomness, private=settings.events_allow_private)


def make_telling(settings: Settings, store: Store, clock: Clock, randomness: Randomness) -> Telling:
    """All that has to do with events."""
    from api.outgoing import EndpointPost
    from otp.sender import Sender

    post = EndpointPost(f"tapcode/{VERSION}", private=settings.events_allow_private)
    sender = Sender(store, clock, make_seals(settings, randomness), post, randomness, _failed)
    return Telling(make_endpoints(settings, store, randomness), sender, post)


def make_api(
    settings: Settings, waiters: Waiters, clock: Clock, mode: Mode, rehearsal: Rehearsal | None
) -> Api:
    """The API, with the operator's limits in front of it."""
    from api.app import Api
    from api.auth import Door, Limits
    from api.limits import Seats
    from otp.model import Mode

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
    import structlog

    from api.reference import Reference, bundle

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


@dataclass(frozen=True, slots=True)
class Core:
    """The rules, wired to a store and to messengers."""

    rules: Rules
    courier: Courier
    service: OtpService
    taps: Taps
    protection: Protection
    rehearsal: Rehearsal | None
    """Where one mode is only played."""


def make_core(
    settings: Settings,
    *,
    store: Store,
    clock: Clock,
    randomness: Randomness,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    bots: Bots,
    public_url: str | None,
) -> Core:
    """Wire the rules. `mode` is that of the messengers' people, `public_url` where browsers reach us."""
    from bot.replies import CodeMessenger
    from config.logs import log_breaker
    from otp.codes import KeyRing
    from otp.courier import Courier
    from otp.delivery import Rules
    from otp.model import Mode
    from otp.protection import Protection
    from otp.rehearsal import Rehearsal
    from otp.service import OtpService
    from otp.taps import Taps

    rehearses = mode is Mode.LIVE  # the sandbox's own people do what would be played
    rules = Rules(make_policy(settings), KeyRing(settings.keys), randomness)
    messengers = {channel: CodeMessenger(skin) for channel, skin in skins.items()}
    courier = Courier(store, rules, clock, messengers, _failed, log_breaker)
    service = OtpService(store, rules, courier, bots, rehearses=rehearses, public_url=public_url)
    taps = Taps(store, rules, mode)
    protection = Protection(store, rules, taps)
    rehearsal = Rehearsal(store, rules, courier, service) if rehearses else None
    return Core(rules, courier, service, taps, protection, rehearsal)


def build_app(
    settings: Settings,
    *,
    store: Store,
    clock: Clock,
    randomness: Randomness,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    public_url: str | None = None,
) -> Service:
    """Wire all parts over an open store. Begins nothing. `public_url`: for browsers, where that is not PUBLIC_URL."""
    from aiohttp import web

    from api.app import Health, frame, refusal
    from api.bodies import read_limited
    from api.button import Button, scripts
    from api.pages import PageLimits, PageRoutes
    from bot.dialog import Dialog
    from bot.fetching import Fetcher
    from bot.replies import Replies, ReplyLimit
    from bot.stage import StagedSkin
    from bot.webhooks import WebhookRoutes
    from config.logs import log_event
    from otp.events import DeliverySettled
    from otp.hosted import HostedPages
    from otp.jobs import JobRunner
    from otp.projects import Projects
    from otp.waiting import Waiters

    skins = {channel: StagedSkin(skin, randomness) for channel, skin in skins.items()}
    registration = make_registration(settings, store, skins)
    telling = make_telling(settings, store, clock, randomness)
    core = make_core(
        settings,
        store=store,
        clock=clock,
        randomness=randomness,
        mode=mode,
        skins=skins,
        bots=registration,
        public_url=public_url or settings.public_url,
    )
    courier, limit = core.courier, ReplyLimit(settings.replies_per_minute, clock)
    replies = Replies(skins, store, limit, _failed)
    dialog = Dialog(core.taps, core.protection, randomness, limit.allows)
    health = Health(store, lambda: _readiness(settings, registration, courier))
    handlers = _handlers(store, clock, core.rules, courier, dialog, replies, registration, skins)
    jobs = JobRunner(store, clock, randomness.text(12), handlers, _failed)

    waiters = Waiters(core.service, store, clock, _failed)

    def offer(event: Event) -> None:
        if isinstance(event, DeliverySettled):
            replies.give(dialog.after_delivery(event))

    for listener in (
        waiters.on_event,
        courier.on_event,
        jobs.on_event,
        telling.sender.on_event,
        offer,
        log_event,
    ):
        store.listen(listener)
    infos = registration.channels if settings.public_url is None else {}
    fetchers = [Fetcher(skins[one], dialog, replies, store, clock, infos[one], _failed) for one in infos]
    hooks = WebhookRoutes(skins, _hook_secrets(settings, skins), dialog, replies, read_limited)
    api = make_api(settings, waiters, clock, mode, core.rehearsal)
    app = web.Application(middlewares=[frame(randomness)])
    app.add_routes([*api.routes(), *telling.routes(api.door), *health.routes(), *hooks.routes()])
    app.add_routes(
        PageRoutes(HostedPages(core.service), waiters, PageLimits.beside(api.door.limits, clock)).routes()
    )
    app.add_routes([*Button(scripts()).routes(), *reference_routes(settings)])
    return Service(
        app,
        refusal(randomness),
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
    )


def _handlers(
    store: Store,
    clock: Clock,
    rules: Rules,
    courier: Courier,
    dialog: Dialog,
    replies: Replies,
    registration: Registration,
    skins: Mapping[Channel, Skin],
) -> dict[str, Handler]:
    """What does which job."""
    from bot.background import check_channel, close_message, tell_locked
    from otp.events import CLOSE_MESSAGE, ERASE_PROJECT, TELL_LOCKED
    from otp.housekeeping import erase_project, sweep

    return {
        "sweep": sweep(store, clock, courier),
        CLOSE_MESSAGE: close_message(store, clock, skins),
        ERASE_PROJECT: erase_project(store, clock),
        TELL_LOCKED: tell_locked(store, rules, dialog, replies),
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


# ------------------------------------------------------------------ serving


async def listen(
    service: Service, host: str, port: int, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until `stop`; calls under way end."""
    server = Server(service.app, DRAIN_SECONDS, service.refusal)
    try:
        await server.start(host, port)
        await service.begin()
        ready()
        spare_collections()
        await stop.wait()
        service.health.draining = True
        await server.refuse_new()
    finally:
        service.wind_down()
        await server.close()


async def own(database: str, stop: asyncio.Event) -> Any:
    """The lock of a database file, waiting for an owner that is about to go. Raises `StartError`."""
    from storage.ownership import FileLock

    lock = FileLock(database)
    if not await lock.acquire_within(LOCK_SECONDS, stop):
        raise StartError(
            f"another process serves the database {database} (waited {LOCK_SECONDS} s): stop it first",
            EXIT_BUSY,
        )
    return lock


async def serve(settings: Settings) -> None:
    """The service with real messengers."""
    import structlog

    from api.admin import AdminServer
    from api.event_commands import perform_events
    from config.clock import SystemRandomness
    from otp.model import Mode
    from storage import open_store, sqlite_path
    from storage.ownership import socket_path

    log = structlog.get_logger()
    stop, url = take_over_loop(), settings.database_url.get_secret_value()
    database = sqlite_path(url)
    clock = make_clock(database)
    lock = await own(database, stop) if database else None
    try:
        store = await open_store(url, clock, make_reach(settings))
        skins = make_skins(settings)
        service = build_app(
            settings, store=store, clock=clock, randomness=SystemRandomness(), mode=Mode.LIVE, skins=skins
        )
        service.alone = database is not None
        if database:
            groups = operator_commands(service.projects, service.registration, store, clock, database)
            groups["events"] = partial(perform_events, service.telling.endpoints)
            service.admin = AdminServer(socket_path(database), groups)
        try:
            await _configure_project(settings, service.projects)
            if settings.public_url is None:
                log.warning(
                    "updates.fetched",
                    hint="PUBLIC_URL is not set: no updates are delivered, they are fetched",
                )

            def ready() -> None:
                log.info(
                    "limits",
                    profile=settings.profile,
                    **asdict(make_policy(settings)),
                    connections=open_connections(),
                    waiters=most_waiters(),
                )
                log.info(
                    "serving", host=settings.host, port=settings.port, channels=[*skins], version=VERSION
                )

            await listen(service, settings.host, settings.port, stop, ready)
        finally:
            await service.end()
        log.info("stopped")
    finally:
        if lock is not None:
            lock.release()


async def _configure_project(settings: Settings, projects: Projects) -> None:
    from otp.errors import InvalidField

    key = _revealed(settings.project_api_key)
    if settings.project_name is None or key is None:
        return
    try:
        await projects.configure(settings.project_name, settings.project_description, key)
    except InvalidField as error:
        raise SettingsError([f"PROJECT_{error.field.upper()}: {error.message}"]) from error


async def sandbox(settings: Settings, *, fetch: bool) -> None:
    """The service wired to simulated messengers: a new database and a new key at each start, on this machine only."""
    from config.clock import SystemClock, SystemRandomness
    from otp.model import Mode
    from otp.projects import Change, PageChange
    from sandbox.control import add_sandbox_routes
    from sandbox.demo import PUBLIC_URL, Demo, local_sites
    from sandbox.guard import local_only
    from storage import SQLITE, open_store, remove

    stop, clock, randomness = take_over_loop(), SystemClock(), SystemRandomness()
    lock = await own(SANDBOX_DATABASE, stop)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    demo = Demo(f"http://{host}:{settings.port}", clock.now)
    try:
        remove(SANDBOX_DATABASE)
        await demo.start()
        wired = defaults_but(
            {
                "secret_keys": randomness.text(48),
                "public_url": None if fetch else PUBLIC_URL,
                "telegram_bot_token": demo.telegram_token,
                "max_bot_token": demo.max_token,
                "telegram_api_url": demo.telegram_url,
                "max_api_url": demo.max_url,
                "docs": settings.docs,
            },
        )
        store = await open_store(SQLITE + SANDBOX_DATABASE, clock)
        base_url = f"http://{'localhost' if settings.host == '127.0.0.1' else host}:{settings.port}"
        service = build_app(
            wired,
            store=store,
            clock=clock,
            randomness=randomness,
            mode=Mode.TEST,
            skins=make_skins(wired),
            public_url=base_url,
        )
        service.app.middlewares.insert(1, local_only)
        try:
            made = await service.projects.create(
                "Ромашка · Daisy", "Цветы с доставкой. Flowers, delivered.", "https://daisy.example/login"
            )
            page = PageChange(return_urls=local_sites(base_url), origins=local_sites(base_url))
            await service.projects.update(made.project.id, Change(page=page))
            facts = {
                "api_key": made.api_key,
                "project": made.project.name,
                "base_url": base_url,
                "version": VERSION,
            }
            add_sandbox_routes(
                service.app, telegram=demo.telegram, max=demo.max, facts=facts, advance=clock.advance
            )

            def ready() -> None:
                print(
                    f"\n  tapcode sandbox: open {base_url}\n  its API key (test only): {made.api_key}\n"
                    + (f"  the API's reference: {base_url}/docs\n" if wired.docs else ""),
                    flush=True,
                )

            await listen(service, settings.host, settings.port, stop, ready)
        finally:
            await service.end()
    finally:
        await demo.close()
        lock.release()


# ------------------------------------------------------------------ the command line


async def command(settings: Settings, wanted: Mapping[str, Any]) -> Any:
    """Have the owner of the database carry out a command, or do it here when nobody owns it."""
    from api.admin import NobodyListens, ask
    from storage import sqlite_path
    from storage.ownership import FileLock, socket_path

    database = sqlite_path(settings.database_url.get_secret_value())
    if database is None:
        return await _command_here(settings, wanted)  # nobody owns it alone
    lock = FileLock(database)
    for _ in range(LOCK_SECONDS * 10):
        with suppress(NobodyListens):
            return await ask(socket_path(database), wanted)
        if lock.acquire():
            break
        await asyncio.sleep(0.1)
    else:
        raise StartError(f"the process that owns {database} does not answer", EXIT_BUSY)
    try:
        return await _command_here(settings, wanted)
    finally:
        lock.release()


def operator_commands(
    projects: Projects, registration: Registration, store: Store, clock: Clock, database: str | None
) -> dict[str, Perform]:
    """What an operator can have done, by the command's group."""
    from api.admin import Refused, perform_project
    from storage.backup import back_up

    async def backup(wanted: Mapping[str, Any]) -> Any:
        if database is None:
            raise Refused("a PostgreSQL database is backed up with its own tools: pg_dump --format=custom")
        file = Path(wanted["file"])
        return {"file": str(file), "bytes": await back_up(database, file, clock), "checked": True}

    async def codes(_wanted: Mapping[str, Any]) -> Any:
        return {"revoked": await store.chore(lambda tx: tx.revoke_codes())}

    async def webhooks(wanted: Mapping[str, Any]) -> Any:
        return await registration.perform(wanted["verb"], take_over=bool(wanted.get("take_over")))

    project = partial(perform_project, projects)
    return {"project": project, "webhooks": webhooks, "backup": backup, "codes": codes}


async def _command_here(settings: Settings, wanted: Mapping[str, Any]) -> Any:
    """Only the parts that the command needs: the `webhooks` commands alone load a messenger."""
    from api.admin import perform
    from api.event_commands import perform_events
    from config.clock import SystemRandomness
    from otp.model import Mode
    from otp.projects import Projects
    from storage import open_store, sqlite_path

    url = settings.database_url.get_secret_value()
    database = sqlite_path(url)
    clock = make_clock(database)
    store = await open_store(url, clock, make_reach(settings))
    skins = make_skins(settings) if wanted["group"] == "webhooks" else {}
    try:
        projects = Projects(store, SystemRandomness(), Mode.LIVE)
        registration = make_registration(settings, store, skins)
        groups = operator_commands(projects, registration, store, clock, database)
        groups["events"] = partial(perform_events, make_endpoints(settings, store, SystemRandomness()))
        return await perform(groups, wanted)
    finally:
        for skin in skins.values():
            await skin.close()
        await store.close()


async def move(settings: Settings, to: str | None) -> Any:
    """Carry the SQLite database over to PostgreSQL, or undo that (`to` is None). Its owner must be gone."""
    from api.admin import Refused
    from config.clock import SystemClock
    from storage import named, sqlite_path
    from storage.move import NotMoved, undo
    from storage.move import move as carry_over

    url = settings.database_url.get_secret_value()
    database = sqlite_path(url)
    if database is None:
        raise Refused(f"DATABASE_URL is {named(url)}: set it to the SQLite database that is to be moved")
    if to is not None and not is_postgres(to):
        raise Refused("--to must be postgresql://USER:PASSWORD@HOST/DATABASE")
    lock = await own(database, asyncio.Event())
    try:
        if to is None:
            return {"undone": True, "revoked": await undo(database, SystemClock())}
        done = await carry_over(database, to, SystemClock(), _progress)
        return {"to": named(to), "rows": dict(done.rows), "checked": True, "already_moved": done.already}
    except NotMoved as error:
        raise Refused(str(error)) from None
    finally:
        lock.release()


def _progress(doing: str) -> None:
    """For somebody who watches; a log needs only the end."""
    if sys.stderr.isatty():
        print(f"{doing} ...", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    given = parser().parse_args(argv)
    try:
        return _run(given)
    except SettingsError as error:
        for problem in error.problems:
            print(f"tapcode: {problem}", file=sys.stderr)
        return EXIT_CONFIG
    except StartError as error:
        print(f"tapcode: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130


def _run(given: argparse.Namespace) -> int:
    from otp.errors import StorageUnavailable, StorageUnusable

    try:
        if given.command in ("serve", "sandbox"):
            return _run_server(given.command == "serve", fetch=getattr(given, "fetch", False))
        return _run_command(given)
    except StorageUnusable as error:
        raise StartError(str(error), EXIT_STORE) from error
    except StorageUnavailable as error:
        raise StartError(f"the database can't be used: {error.__cause__ or error}", EXIT_STORE) from error


def _run_server(real: bool, *, fetch: bool) -> int:
    settings = load("serve" if real else "sandbox")
    from config.logs import configure

    quiet = not real and "log_level" not in settings.model_fields_set
    configure("warning" if quiet else settings.log_level, settings.log_format, settings.secrets)
    raise_file_limit()
    asyncio.run(serve(settings) if real else sandbox(settings, fetch=fetch))
    return 0


def _run_command(given: argparse.Namespace) -> int:
    from api.admin import Refused
    from storage import named

    if not confirmed(given):
        print("Nothing was deleted.", file=sys.stderr)
        return 1
    try:
        settings = load("cli")
        if given.command in ("backup", "codes", "move"):
            _must_exist(settings)
        if given.command == "move":
            result = asyncio.run(move(settings, None if given.undo else target(given)))
        else:
            result = asyncio.run(command(settings, as_command(given)))
    except Refused as error:
        print(f"tapcode: {error}", file=sys.stderr)
        return 1
    show(given, result, named(settings.database_url.get_secret_value()))
    return 1 if given.command == "webhooks" and any("problem" in part for part in result.values()) else 0


def _must_exist(settings: Settings) -> None:
    """Copying or clearing a database that is not there would make an empty one and call it done."""
    from api.admin import Refused
    from storage import sqlite_path

    database = sqlite_path(settings.database_url.get_secret_value())
    if database is not None and not Path(database).exists():
        raise Refused(f"there is no database {database}")


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
