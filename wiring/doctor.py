"""`doctor`: looks at the whole installation from beside the service, and says what is wrong and what to do.

First everything is looked at (`wiring.looking`), then what was seen is judged. Nothing is changed, locked or taken from a
running service.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from bot.messenger import MessengerError
from checks import (
    certificates,
    clock,
    database,
    disk,
    envfile,
    meant,
    messengers,
    public,
    service,
    strength,
    webhooks,
)
from checks.calls import Answer, Unreached, system
from checks.findings import Finding, Level, ok, problem, warning, worst
from config import VERSION
from config.logs import Redactor
from config.settings import (
    ENV_FILE,
    HTTPS_PORT,
    UNREADABLE,
    Settings,
    is_loopback,
    judged,
    mistyped,
    remarked,
    unread,
)
from otp.errors import StorageUnusable
from otp.model import Channel
from storage import MEMORY, named, sqlite_path
from storage.health import SqliteHealth
from wiring.looking import Late, Seen, Surroundings, folder_of, look, webhook_of, within
from wiring.parts import api_of, make_skins, revealed

T = TypeVar("T")

CLOSE_SECONDS: Final = 2.0
_SETTINGS: Final = envfile.SUBJECT


class Abandoning(ThreadPoolExecutor):
    """Threads that nobody waits for: one that hangs in a name server or a dead disk holds up nothing."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """One thread for each call."""
        done: Future[T] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # it is raised where the result is wanted
                done.set_exception(error)

        threading.Thread(target=run, daemon=True).start()
        return done

    def shutdown(self, *_: object, **__: object) -> None:
        """Leave them alone."""


async def doctor() -> dict[str, Any]:
    """Look and judge, for the settings that are here: the report as JSON has it."""
    asyncio.get_running_loop().set_default_executor(Abandoning())
    lines = unread()
    logging.disable()  # what libraries have to say is said as findings
    settings, problems = judged("serve")
    env = Path(ENV_FILE)
    more = [envfile.judge_remark(env, name) for name in remarked()]
    if settings is not None:
        more += meant.judge_retention(settings.retention_days)
        more += meant.judge_metrics(
            settings.metrics_host,
            settings.metrics_port,
            guarded=settings.metrics_token is not None,
            inside=is_loopback(settings.metrics_host),
        )
    found = [*judge_settings(problems, mistyped(), lines, env, more)]
    secrets: list[str] = []
    if settings is not None:
        found += await examined(settings, Surroundings())
        secrets = settings.secrets
    return report(found, secrets)


def report(found: Sequence[Finding], secrets: Iterable[str]) -> dict[str, Any]:
    """Findings as JSON has them; what others said is searched for secrets once more."""
    hide = Redactor(secrets)
    shown = [dict(hide(None, "", {**asdict(one), "level": str(one.level)})) for one in found]
    counts = {str(level): sum(one.level is level for one in found) for level in Level}
    return {"level": str(worst(found)), "counts": counts, "findings": shown}


async def examined(settings: Settings, around: Surroundings) -> list[Finding]:
    """Everything but the settings' own problems."""
    skins = make_skins(settings)
    try:
        seen = await look(settings, skins, around)
    finally:
        await asyncio.gather(*(within(skin.close(), CLOSE_SECONDS) for skin in skins.values()))
    return _judge(settings, seen, around)


def _judge(settings: Settings, seen: Seen, around: Surroundings) -> list[Finding]:
    now = around.now()
    parts: list[Callable[[], Iterable[Finding]]] = [
        lambda: _judge_secrets(settings),
        lambda: _judge_clock(seen, now),
        lambda: _judge_disk(settings, seen),
        lambda: _judge_database(settings, seen),
        lambda: _judge_service(settings, seen),
        *(
            partial(_judge_channel, settings, channel, seen, now)
            for channel in Channel
            if channel in seen.names
        ),
        lambda: _judge_public(settings, seen, now),
    ]
    found: list[Finding] = []
    for part in parts:
        try:
            found += part()
        except Exception as error:  # noqa: BLE001  # what others sent may be anything; the other lines are told
            found.append(
                problem("doctor", f"a check failed ({type(error).__name__})", "please report it: it is a bug")
            )
    return found


def judge_settings(
    problems: Sequence[str],
    mistaken: Mapping[str, str],
    lines: Sequence[int],
    env: Path,
    more: Iterable[Finding] = (),
) -> list[Finding]:
    """What `serve` would refuse, names that are none, lines that nobody can read, what is there `more`, who may read it."""
    found = [_refused_setting(line) for line in problems]
    found += [
        problem(_SETTINGS, f"{env}: line {line} can't be read, and says nothing", "write it as NAME=value")
        for line in lines
    ]
    found += [
        warning(_SETTINGS, f"{env}: {name} is no setting", f"is {meant} meant?")
        for name, meant in mistaken.items()
    ]
    found += more
    access = envfile.access(env)
    exposed = access and envfile.judge(env, access, os.geteuid(), {os.getegid(), *os.getgroups()})
    if exposed:
        found.append(exposed)
    return found or [ok(_SETTINGS, "complete and safe")]


def _refused_setting(line: str) -> Finding:
    if line.startswith(UNREADABLE):
        text, _, hint = line.partition("; ")
        return problem(_SETTINGS, text, hint)
    return problem(_SETTINGS, line, "each setting is explained in .env.example")


def _judge_secrets(settings: Settings) -> list[Finding]:
    named_secrets = {
        "PROJECT_API_KEY": (revealed(settings.project_api_key) or "").removeprefix("tc_live_"),
        "TELEGRAM_WEBHOOK_SECRET": revealed(settings.telegram_webhook_secret),
        "MAX_WEBHOOK_SECRET": revealed(settings.max_webhook_secret),
    }
    return strength.judge(settings.keys, {name: secret for name, secret in named_secrets.items() if secret})


def _judge_clock(seen: Seen, now: int) -> Iterable[Finding]:
    drifts = {
        _title(channel): got[1] for channel in Channel if isinstance(got := seen.reached.get(channel), tuple)
    }
    yield clock.judge(drifts, asked=bool(seen.names))
    if isinstance(seen.sqlite, SqliteHealth):
        noted = clock.judge_noted(seen.sqlite.noted_at, now)
        if noted is not None:
            yield noted
    if isinstance(seen.postgres, tuple):
        told, at = seen.postgres
        yield clock.judge_database(at - told.now)


def _judge_disk(settings: Settings, seen: Seen) -> Iterable[Finding]:
    folder = folder_of(sqlite_path(settings.database_url.get_secret_value()) or "")
    if isinstance(seen.space, disk.Space):
        yield disk.judge_space(seen.space)
    elif isinstance(seen.space, Exception):
        yield problem(
            disk.SUBJECT, f"{folder}: {_why(seen.space)}", "see whether the disk is there and answers"
        )
    if isinstance(seen.fsync, disk.Fsync):
        yield disk.judge_fsync(seen.fsync)
    elif isinstance(seen.fsync, OSError):
        yield disk.judge_failure(folder, seen.fsync)
    elif isinstance(seen.fsync, Exception):
        yield problem(
            disk.SUBJECT, f"{folder} does not take a write: {_why(seen.fsync)}", "the disk hangs: see `dmesg`"
        )


def _judge_database(settings: Settings, seen: Seen) -> Iterable[Finding]:
    url = settings.database_url.get_secret_value()
    if isinstance(seen.sqlite, Exception) or isinstance(seen.postgres, Exception):
        why = seen.sqlite if isinstance(seen.sqlite, Exception) else seen.postgres
        yield database.judge_failure(f"{named(url)}: {_why(why)}")
    elif isinstance(seen.sqlite, SqliteHealth):
        yield from database.judge_sqlite(seen.sqlite)
    elif isinstance(seen.postgres, tuple):
        running = isinstance(seen.ready, Mapping)
        yield from database.judge_postgres(
            seen.postgres[0], pool=settings.database_pool_size + 1, running=running
        )
    elif sqlite_path(url) == MEMORY:
        yield warning(database.SUBJECT, "in memory: all is lost at the end", "set DATABASE_URL to a file")
    else:
        yield database.judge_none()


def _judge_service(settings: Settings, seen: Seen) -> list[Finding]:
    if isinstance(seen.ready, Mapping):
        wanted = [str(channel) for channel in Channel if channel in seen.names]
        accepted = [str(channel) for channel, name in seen.names.items() if isinstance(name, str)]
        return service.judge(seen.ready, VERSION, wanted, accepted)
    where = service.address(settings.host, settings.port)
    away = isinstance(seen.ready, Unreached) and seen.ready.stage == "connect"
    new = away and _never_ran(settings, seen)
    return [service.judge_away(where, _why(seen.ready), owned=seen.owned is True, new=new)]


def _never_ran(settings: Settings, seen: Seen) -> bool:
    """Whether what is missing is not missed yet: nothing runs, and there is no database."""
    if isinstance(seen.ready, Mapping) or seen.owned is True:
        return False
    if isinstance(seen.postgres, tuple):
        return seen.postgres[0].schema == 0
    path = sqlite_path(settings.database_url.get_secret_value())
    return path not in (None, MEMORY) and seen.sqlite is None


def _judge_channel(settings: Settings, channel: Channel, seen: Seen, now: int) -> Iterable[Finding]:
    address, proxy = api_of(settings, channel)
    got, name, hooks = seen.reached[channel], seen.names[channel], seen.hooks[channel]
    host = urlsplit(address).hostname or ""
    reached = got[0] if isinstance(got, tuple) else _unreached(got)
    if isinstance(reached, Unreached) and isinstance(name, Exception):
        yield messengers.judge_reach(str(channel), host, reached, proxied=proxy is not None)
        return  # nobody could be asked for more
    if isinstance(reached, Answer):
        yield messengers.judge_reach(str(channel), host, reached, proxied=proxy is not None)
    if isinstance(name, Exception):
        unauthorized = isinstance(name, MessengerError) and name.unauthorized
        yield messengers.judge_refused(str(channel), _why(name), unauthorized=unauthorized)
        if unauthorized:
            return  # without a token nothing more is told
    else:
        yield messengers.judge_bot(str(channel), name, getattr(settings, f"{channel}_bot_username"))
    subject = f"{channel} webhook"
    if isinstance(hooks, Exception):
        yield problem(subject, f"what is registered was not answered: {_why(hooks)}", "look again")
        return
    wanted = webhook_of(settings, channel) if settings.public_url is not None else None
    brought = seen.deliveries.get(channel)
    taken = isinstance(brought, Answer) and public.takes(brought)
    new = settings.registers_webhooks and _never_ran(settings, seen)
    yield from webhooks.judge(subject, hooks, wanted, now, taken=taken, new=new)


def _judge_public(settings: Settings, seen: Seen, now: int) -> Iterable[Finding]:
    if settings.public_url is None:
        yield ok(public.SUBJECT, "not set: updates are fetched, by one process")
        return
    if isinstance(seen.chain, certificates.Chain):
        yield certificates.judge(seen.chain, now)
    told = {"certificate"} if _refused(seen.chain) else set()
    for channel in (one for one in Channel if one in seen.deliveries):
        got = seen.deliveries[channel]
        if isinstance(got, Answer):
            yield public.judge(f"/webhooks/{channel}", got, new=_never_ran(settings, seen))
            continue
        unreached = _unreached(got)
        if unreached.stage not in told:  # the way is the same for all
            told.add(unreached.stage)
            parts = urlsplit(settings.public_url)
            yield public.judge_unreached(
                parts.hostname or "",
                parts.port or HTTPS_PORT,
                unreached,
                delivered=_delivered(settings, seen, now),
                here=seen.here is True,
            )


def _refused(chain: certificates.Chain | Exception | None) -> bool:
    return isinstance(chain, certificates.Chain) and chain.why is not None


def _delivered(settings: Settings, seen: Seen, now: int) -> bool:
    """Whether a messenger tells of deliveries to our address, and of none that failed."""
    return any(
        hook.url == webhook_of(settings, channel)
        and hook.pending is not None
        and not webhooks.errs(hook, now)
        for channel, hooks in seen.hooks.items()
        if not isinstance(hooks, Exception)
        for hook in hooks
    )


def _unreached(error: Exception) -> Unreached:
    return error if isinstance(error, Unreached) else Unreached("time", _why(error))


def _title(channel: Channel) -> str:
    return "MAX" if channel is Channel.MAX else "Telegram"


def _why(error: object) -> str:
    """For the operator. Texts of exceptions that are not ours may hold anything."""
    match error:
        case Late() | Unreached():
            return error.why
        case MessengerError():
            return error.reason
        case StorageUnusable():
            return str(error)
        case OSError():
            return system(error)
    return type(error).__name__
