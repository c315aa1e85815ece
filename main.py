"""The composition root, and the command line's entry: the only file that knows all the others.

Everything heavy is imported where it is used: `--help` and the `project` commands never load a messenger.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from config import VERSION
from config.settings import Command, Settings, SettingsError, load

if TYPE_CHECKING:
    from aiohttp import web

    from api.admin import AdminServer
    from api.app import Health
    from bot.messenger import Skin
    from bot.registration import Registration, Wanted
    from bot.replies import Replies
    from config.clock import SystemClock
    from otp.codes import KeyRing
    from otp.courier import Courier
    from otp.events import Event
    from otp.jobs import Handler, JobRunner
    from otp.model import Channel, Job, Mode
    from otp.ports import Clock, Randomness, Store
    from otp.projects import Projects

EXIT_CONFIG: Final = 78
EXIT_STORE: Final = 74
EXIT_BUSY: Final = 75
EXIT_PORT: Final = 69
"""From sysexits.h: EX_CONFIG, EX_IOERR, EX_TEMPFAIL, EX_UNAVAILABLE."""

LOCK_SECONDS: Final = 10
DRAIN_SECONDS: Final = 20
"""Longer than any call to a messenger: calls in flight at SIGTERM end."""
WATCHDOG_MS: Final = 10 * 60 * 1000
"""How often a working channel is looked at: MAX drops a failing subscription after 8 hours without a word."""
CHECK_AGAIN_MS: Final = (1_000, 2_000, 5_000, 10_000, 30_000)
SWEEP_MS: Final = 5_000


class StartError(Exception):
    """The process can't start; one line for the operator, and the exit code."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


# ------------------------------------------------------------------ putting the parts together


@dataclass(slots=True)
class Service:
    """The parts of a running service, in the order in which they begin and end."""

    app: web.Application
    store: Store
    clock: Clock
    courier: Courier
    replies: Replies
    jobs: JobRunner
    registration: Registration
    health: Health
    projects: Projects
    admin: AdminServer | None = None
    skins: Mapping[Channel, Skin] = field(default_factory=dict)

    async def begin(self) -> None:
        """Take up what was left, and start the background work."""
        await self.registration.recall()
        await self.courier.recover(at_start=True)
        now = self.clock.now()
        await self.jobs.start({"sweep": now, **{f"check:{channel}": now for channel in self.skins}})
        if self.admin is not None:
            await self.admin.start()

    async def end(self) -> None:
        """Stop the background work and let go of everything."""
        if self.admin is not None:
            await self.admin.close()
        await self.jobs.close()
        await self.courier.close(DRAIN_SECONDS)
        await self.replies.close(2)
        for skin in self.skins.values():
            await skin.close()
        await self.store.close()


def make_skins(settings: Settings) -> dict[Channel, Skin]:
    """The messengers that have a token; the library of one that is off is never loaded."""
    from otp.model import Channel

    skins: dict[Channel, Skin] = {}
    if settings.telegram_bot_token is not None:
        from bot.telegram import TelegramSkin

        token = settings.telegram_bot_token.get_secret_value()
        skins[Channel.TELEGRAM] = TelegramSkin(
            token, settings.telegram_api_url, _secret(settings.telegram_proxy_url)
        )
    if settings.max_bot_token is not None:
        from bot.max import MaxSkin

        token = settings.max_bot_token.get_secret_value()
        skins[Channel.MAX] = MaxSkin(token, settings.max_api_url, _secret(settings.max_proxy_url))
    return skins


def _secret(value: Any) -> str | None:
    return value.get_secret_value() if value is not None else None


def webhook_secrets(settings: Settings, keys: KeyRing, channel: Channel) -> list[str]:
    """The secrets that a channel's webhook accepts; the first one is registered."""
    from otp.codes import fingerprint

    given: str | None = _secret(getattr(settings, f"{channel}_webhook_secret"))
    if given:
        return [given]
    token: str = _secret(getattr(settings, f"{channel}_bot_token")) or ""
    bot = token.partition(":")[0] if channel == "telegram" else fingerprint([token])
    return keys.webhook_secrets(channel, bot)


def _wanted(settings: Settings, secrets: Mapping[Channel, Sequence[str]]) -> dict[Channel, Wanted]:
    from bot.registration import Wanted

    base = settings.public_url
    return {ch: Wanted(f"{base}/webhooks/{ch}", found[0]) for ch, found in secrets.items()} if base else {}


def _usernames(settings: Settings) -> dict[Channel, str]:
    from otp.model import Channel

    given = {channel: getattr(settings, f"{channel}_bot_username") for channel in Channel}
    return {channel: name for channel, name in given.items() if name}


def build_app(
    settings: Settings,
    *,
    store: Store,
    clock: Clock,
    randomness: Randomness,
    mode: Mode,
    skins: dict[Channel, Skin],
) -> Service:
    """Wire all parts over an open store. Begins nothing."""
    from aiohttp import web

    from api.app import Api, Health, frame
    from api.bodies import read_limited
    from bot.dialog import Dialog
    from bot.registration import Registration
    from bot.replies import CodeMessenger, Replies, ReplyLimit
    from bot.webhooks import WebhookRoutes
    from otp.codes import KeyRing
    from otp.courier import Courier
    from otp.delivery import Rules
    from otp.events import TELL_LOCKED, DeliverySettled
    from otp.jobs import JobRunner
    from otp.policy import Policy
    from otp.projects import Projects
    from otp.service import OtpService
    from otp.taps import Taps

    keys = KeyRing(settings.keys)
    policy = Policy(
        max_ttl_minutes=settings.max_ttl_minutes,
        send_limit=settings.send_limit,
        send_window_ms=settings.send_window_seconds * 1000,
        guess_budget=settings.guess_budget,
    )
    rules = Rules(policy, keys, randomness)
    secrets = {channel: webhook_secrets(settings, keys, channel) for channel in skins}
    wanted = _wanted(settings, secrets) if settings.registers_webhooks else {}
    registration = Registration(skins, store, wanted, _usernames(settings))
    messengers = {channel: CodeMessenger(skin) for channel, skin in skins.items()}
    courier = Courier(store, rules, clock, messengers, _failed)
    limit = ReplyLimit(settings.replies_per_minute, clock)
    replies = Replies(skins, store, limit, _failed)
    dialog = Dialog(Taps(store, rules), randomness, limit.allows)
    health = Health(store, lambda: _channels(settings, registration))
    jobs = JobRunner(
        store,
        clock,
        owner=randomness.text(12),
        handlers={
            "sweep": _sweep(store, clock, courier),
            TELL_LOCKED: _tell_locked(store, rules, dialog, replies),
            **{f"check:{channel}": _check(registration, clock, channel) for channel in skins},
        },
        failed=_failed,
    )

    def offer(event: Event) -> None:
        if isinstance(event, DeliverySettled):
            replies.give(dialog.after_delivery(event))

    for listener in (courier.on_event, jobs.on_event, offer, _log_event):
        store.listen(listener)
    app = web.Application(middlewares=[frame(randomness)])
    api = Api(OtpService(store, rules, courier, registration.names), {mode}, VERSION)
    hooks = WebhookRoutes(skins, secrets, dialog, replies, read_limited)
    app.add_routes([*api.routes(), *health.routes(), *hooks.routes()])
    projects = Projects(store, randomness, mode)
    return Service(app, store, clock, courier, replies, jobs, registration, health, projects, skins=skins)


def _failed(error: BaseException) -> None:
    import structlog

    structlog.get_logger().error("background.failed", exc_info=error)


def _log_event(event: Event) -> None:
    """One line for each change, with ids and nothing of people or codes."""
    import structlog

    from otp.events import DeliverySettled, SubscriberLocked

    log = structlog.get_logger()
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(event).__name__).lower()
    if isinstance(event, DeliverySettled):
        delivery = event.delivery
        say = log.info if delivery.state == "accepted" else log.warning
        say(
            f"otp.{name}",
            project=delivery.project_id,
            channel=delivery.person.channel,
            state=delivery.state,
            why=delivery.refusal,
        )
    elif isinstance(event, SubscriberLocked):
        log.warning(f"otp.{name}", project=event.subscriber.project_id, subscriber=event.subscriber.id)
    else:
        log.debug(f"otp.{name}")


def _channels(settings: Settings, registration: Registration) -> dict[str, Any]:
    known = {
        str(channel): {
            "state": info.state,
            "bot": info.username,
            "webhook": info.webhook,
            "detail": info.detail,
        }
        for channel, info in registration.channels.items()
    }
    updates = "webhook" if settings.public_url else "none: PUBLIC_URL is not set, the bots hear nothing"
    return {"channels": known, "updates": updates, "version": VERSION}


# ------------------------------------------------------------------ background jobs


def _sweep(store: Store, clock: Clock, courier: Courier) -> Handler:
    from otp.housekeeping import BATCH, expire_requests, purge

    async def sweep(_job: Job) -> int | None:
        await courier.recover()
        expired = await store.write(expire_requests)
        removed = await store.write(purge)
        return clock.now() + (100 if max(expired, removed) >= BATCH else SWEEP_MS)

    return sweep


def _check(registration: Registration, clock: Clock, channel: Channel) -> Handler:
    failures = 0

    async def check(_job: Job) -> int | None:
        nonlocal failures
        failures = 0 if await registration.check(channel) else failures + 1
        wait = CHECK_AGAIN_MS[min(failures, len(CHECK_AGAIN_MS)) - 1] if failures else WATCHDOG_MS
        return clock.now() + wait

    return check


def _tell_locked(store: Store, rules: Any, dialog: Any, replies: Replies) -> Handler:
    from otp.housekeeping import lock_notice

    async def tell(job: Job) -> int | None:
        notice = await store.write(lambda tx: lock_notice(tx, rules, job))
        if notice is not None:
            replies.give(dialog.tell_locked(notice.note, notice.project, notice.subscriber))
        return None

    return tell


# ------------------------------------------------------------------ serving


async def listen(
    service: Service, host: str, port: int, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until `stop`. Bodies are never decompressed: a few bytes would become gigabytes."""
    from aiohttp import web

    runner = web.AppRunner(
        service.app,
        access_log=None,
        auto_decompress=False,
        shutdown_timeout=DRAIN_SECONDS,
        keepalive_timeout=75,
    )
    await runner.setup()
    try:
        await service.begin()
        site = web.TCPSite(runner, host, port, backlog=1024)
        try:
            await site.start()
        except OSError as error:
            why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise StartError(f"can't listen on {host}:{port}: {why}", EXIT_PORT) from error
        ready()
        await stop.wait()
        service.health.draining = True
        await site.stop()
    finally:
        await runner.cleanup()
        await service.end()


async def own(database: str) -> Any:
    """The lock of a database file, waiting for an owner that is about to go. Raises `StartError`."""
    from storage.ownership import FileLock

    lock = FileLock(database)
    if not await lock.acquire_within(LOCK_SECONDS):
        raise StartError(
            f"another process serves the database {database} (waited {LOCK_SECONDS} s)", EXIT_BUSY
        )
    return lock


def stop_on_signals() -> asyncio.Event:
    """Set by SIGINT and SIGTERM."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(settings: Settings) -> None:
    """The service with real messengers."""
    import structlog

    from api.admin import AdminServer
    from config.clock import SystemClock, SystemRandomness
    from otp.model import Mode
    from storage import open_store, sqlite_path
    from storage.ownership import socket_path

    log = structlog.get_logger()
    stop = stop_on_signals()
    clock = SystemClock()
    url = settings.database_url.get_secret_value()
    database = sqlite_path(url)
    lock = await own(database) if database else None
    try:
        store = await open_store(url, clock)
        skins = make_skins(settings)
        service = build_app(
            settings, store=store, clock=clock, randomness=SystemRandomness(), mode=Mode.LIVE, skins=skins
        )
        if database:
            service.admin = AdminServer(
                socket_path(database), lambda command: perform(service, settings, command)
            )
        if settings.project_name is not None and settings.project_api_key is not None:
            key = settings.project_api_key.get_secret_value()
            await service.projects.configure(settings.project_name, settings.project_description, key)
        if settings.public_url is None:
            log.warning(
                "updates.none",
                hint="PUBLIC_URL is not set: the messengers deliver nothing, links stay unanswered",
            )

        def ready() -> None:
            log.info("serving", host=settings.host, port=settings.port, channels=[*skins], version=VERSION)

        await listen(service, settings.host, settings.port, stop, ready)
        log.info("stopped")
    finally:
        if lock is not None:
            lock.release()


async def perform(service: Service, settings: Settings, command: Mapping[str, Any]) -> Any:
    """A command of the operator, in the process that owns the store. Raises `api.admin.Refused`."""
    from api.admin import perform_project

    if command.get("group") == "webhooks":
        return await webhooks(settings, service.registration, command)
    return await perform_project(service.projects, command)


async def webhooks(settings: Settings, registration: Registration, command: Mapping[str, Any]) -> Any:
    """`webhooks register|show|remove` for every channel that is on. Raises `api.admin.Refused`."""
    from api.admin import Refused
    from bot.messenger import MessengerError
    from otp.codes import KeyRing

    verb = command["verb"]
    if verb == "register" and settings.public_url is None:
        raise Refused("PUBLIC_URL is not set: there is nothing to register")
    if not settings.keys and verb == "register":
        raise Refused("SECRET_KEYS is not set: the webhooks' secrets come from it")
    report: dict[str, Any] = {}
    for channel, skin in registration.skins.items():
        try:
            if verb == "register":
                wanted = _wanted(
                    settings, {channel: webhook_secrets(settings, KeyRing(settings.keys), channel)}
                )[channel]
                found = await registration.register(channel, wanted, take_over=bool(command.get("take_over")))
                report[channel] = {
                    "url": wanted.url,
                    "registered": found.registered,
                    "foreign": found.foreign,
                }
            elif verb == "remove":
                report[channel] = {"removed": await registration.remove(channel)}
            else:
                report[channel] = {
                    "webhooks": [{"url": hook.url, "error": hook.error} for hook in await skin.hooks()]
                }
        except MessengerError as error:
            report[channel] = {"problem": error.reason}
    return report


# ------------------------------------------------------------------ the command line


async def command(settings: Settings, wanted: Mapping[str, Any]) -> Any:
    """Have the owner of the database carry out a command, or do it here when nobody owns it."""
    from api.admin import NobodyListens, ask
    from config.clock import SystemClock, SystemRandomness
    from otp.model import Mode
    from storage import open_store, sqlite_path
    from storage.ownership import FileLock, socket_path

    url = settings.database_url.get_secret_value()
    database = sqlite_path(url) or ""
    lock = FileLock(database)
    for _ in range(LOCK_SECONDS * 10):
        try:
            return await ask(socket_path(database), wanted)
        except NobodyListens:
            if lock.acquire():
                break
        await asyncio.sleep(0.1)
    else:
        raise StartError(f"the process that owns {database} does not answer", EXIT_BUSY)
    try:
        clock = SystemClock()
        store = await open_store(url, clock)
        try:
            return await _command_here(settings, store, SystemRandomness(), Mode.LIVE, wanted)
        finally:
            await store.close()
    finally:
        lock.release()


async def _command_here(
    settings: Settings, store: Store, randomness: Randomness, mode: Mode, wanted: Mapping[str, Any]
) -> Any:
    from api.admin import perform_project
    from otp.projects import Projects

    if wanted["group"] == "project":
        return await perform_project(Projects(store, randomness, mode), wanted)
    from bot.registration import Registration

    skins = make_skins(settings)
    try:
        return await webhooks(settings, Registration(skins, store, {}, {}), wanted)
    finally:
        for skin in skins.values():
            await skin.close()


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="main.py", description="tapcode: one-time passwords through Telegram and MAX."
    )
    parser.add_argument("--version", action="version", version=f"tapcode {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="the service; settings come from the environment or .env")
    commands.add_parser("sandbox", help="the same service with simulated messengers and a page to try it in")
    project = commands.add_parser("project", help="create and manage projects").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    create = project.add_parser("create", help="create a project; prints its id and, once only, its API key")
    create.add_argument("--name", required=True)
    create.add_argument("--description", default="")
    listing = project.add_parser("list", help="list the projects")
    update = project.add_parser("update", help="change a project's name or description")
    update.add_argument("--name")
    update.add_argument("--description")
    rotate = project.add_parser(
        "rotate-key", help="make a new API key; the old one dies at once, or later with --keep-old"
    )
    rotate.add_argument(
        "--keep-old", metavar="24h", type=_hours, default=0, help="hours the old key goes on working"
    )
    disable = project.add_parser("disable", help="refuse every call of a project; its live codes die")
    enable = project.add_parser("enable", help="undo disable")
    delete = project.add_parser("delete", help="erase a project and all its data")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for one in (update, rotate, disable, enable, delete):
        one.add_argument("id")
    for one in (create, listing, update, rotate, disable, enable, delete):
        one.add_argument("--json", action="store_true", help="print JSON")
    hooks = commands.add_parser("webhooks", help="webhook registration on the messengers").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    register = hooks.add_parser("register", help="register this service's webhooks")
    register.add_argument("--take-over", action="store_true", help="also remove those of others")
    hooks.add_parser("show", help="show what is registered")
    hooks.add_parser("remove", help="remove this service's webhooks")
    return parser


def _hours(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,4})h", text, re.ASCII)
    if found is None or not 0 <= int(found[1]) <= 24 * 30:
        raise argparse.ArgumentTypeError("a number of hours such as 24h (at most 720h)")
    return int(found[1])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    given = arguments().parse_args(argv)
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
            return _run_server(given.command)
        return _run_command(given)
    except StorageUnusable as error:
        raise StartError(str(error), EXIT_STORE) from error
    except StorageUnavailable as error:
        raise StartError(f"the database can't be used: {error.__cause__ or error}", EXIT_STORE) from error


def _run_server(command_name: Command) -> int:
    settings = load(command_name)
    from config.logs import configure

    configure(settings.log_level, settings.log_format, _known_secrets(settings))
    if command_name == "serve":
        asyncio.run(serve(settings))
    return 0


def _known_secrets(settings: Settings) -> list[str]:
    names = (
        "telegram_bot_token",
        "max_bot_token",
        "telegram_webhook_secret",
        "max_webhook_secret",
        "project_api_key",
        "telegram_proxy_url",
        "max_proxy_url",
    )
    found = [_secret(getattr(settings, name)) for name in names]
    return [*settings.keys, *(value for value in found if value)]


def _run_command(given: argparse.Namespace) -> int:
    from api.admin import Refused

    wanted = {name: value for name, value in vars(given).items() if value is not None and name != "command"}
    wanted["group"] = given.command
    if "keep_old" in wanted:
        wanted["keep_old_hours"] = wanted.pop("keep_old")
    if given.command == "project" and given.verb == "delete" and not given.yes and not _confirmed(given.id):
        print("Nothing was deleted.", file=sys.stderr)
        return 1
    try:
        result = asyncio.run(command(load("cli"), wanted))
    except Refused as error:
        print(f"tapcode: {error}", file=sys.stderr)
        return 1
    _print(given, result)
    return 1 if given.command == "webhooks" and any("problem" in part for part in result.values()) else 0


def _confirmed(project_id: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(f"Erase project {project_id} and all its data? Type yes: ").strip() == "yes"


def _print(given: argparse.Namespace, result: Any) -> None:
    if given.command == "webhooks" or given.json:
        print(json.dumps(result, ensure_ascii=False, indent=2 if given.command == "webhooks" else None))
    elif isinstance(result, list):
        for project in result:
            print(f"{project['id']}  {'enabled ' if project['enabled'] else 'disabled'}  {project['name']}")
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    if "api_key" in (result if isinstance(result, dict) else {}) and not given.json:
        print("The key is shown this once. Keep it where your backend reads its secrets.", file=sys.stderr)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
