"""What an operator can have done: by the process that owns the database, or here when nobody does. Loads no server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.admin import NobodyListens, Perform, Refused, ask, perform, perform_project
from api.event_commands import perform_events
from api.reports import perform_audit, perform_stats, show_project
from api.requests import perform_requests
from api.subscriber_commands import perform_subscribers
from config.clock import SystemClock, SystemRandomness
from config.process import EXIT_BUSY, StartError
from config.settings import Settings, is_postgres
from otp.audit import Action, who_acts
from otp.counting import Counting
from otp.endpoints import Endpoints
from otp.model import Mode
from otp.people import People
from otp.ports import Clock, Store, Tx
from otp.projects import Projects
from storage import named, open_store, sqlite_path
from storage.backup import back_up
from storage.ownership import FileLock, socket_path
from wiring.owning import LOCK_SECONDS, own
from wiring.parts import make_clock, make_endpoints, make_reach, make_registration, make_rules, make_skins

if TYPE_CHECKING:
    from bot.registration import Registration


_AT_MESSENGERS: Final = {"register": Action.WEBHOOKS_REGISTER, "remove": Action.WEBHOOKS_REMOVE}


async def command(settings: Settings, wanted: Mapping[str, Any]) -> Any:
    """Have the owner of the database carry out a command, or do it here when nobody owns it."""
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
    projects: Projects,
    registration: Registration,
    endpoints: Endpoints,
    people: People,
    store: Store,
    clock: Clock,
    database: str | None,
    counting: Counting | None = None,
) -> dict[str, Perform]:
    """What an operator can have done, by the command's group. `counting`: where the service itself carries it out."""

    async def backup(wanted: Mapping[str, Any]) -> Any:
        if database is None:
            raise Refused("a PostgreSQL database is backed up with its own tools: pg_dump --format=custom")
        file = Path(wanted["file"])
        return {"file": str(file), "bytes": await back_up(database, file, clock), "checked": True}

    async def codes(_wanted: Mapping[str, Any]) -> Any:
        by = who_acts()

        async def work(tx: Tx) -> int:
            revoked = await tx.revoke_codes()
            await tx.record_audit(by, Action.CODES_REVOKE_ALL, None, f"codes: {revoked}")
            return revoked

        return {"revoked": await store.chore(work)}

    async def webhooks(wanted: Mapping[str, Any]) -> Any:
        take_over = bool(wanted.get("take_over"))
        if wanted["verb"] in _AT_MESSENGERS:
            # Before it is done: what stands at the messengers is in no transaction of ours.
            by, action = who_acts(), _AT_MESSENGERS[wanted["verb"]]
            detail = ", ".join(registration.channels) + (", taking over" if take_over else "")
            await store.write(lambda tx: tx.record_audit(by, action, None, detail))
        return await registration.perform(wanted["verb"], take_over=take_over)

    return {
        **_reports(store, counting),
        "project": partial(_project, store, projects),
        "webhooks": webhooks,
        "events": partial(perform_events, endpoints),
        "subscribers": partial(perform_subscribers, people),
        "backup": backup,
        "codes": codes,
    }


async def _project(store: Store, projects: Projects, wanted: Mapping[str, Any]) -> Any:
    return await (
        show_project(store, wanted) if wanted["verb"] == "show" else perform_project(projects, wanted)
    )


def _reports(store: Store, counting: Counting | None) -> dict[str, Perform]:
    """What only looks."""

    async def stats(wanted: Mapping[str, Any]) -> Any:
        if counting is not None:
            await counting.flush()  # what is told shall be up to date
        return await perform_stats(store, wanted)

    return {
        "audit": partial(perform_audit, store),
        "stats": stats,
        "requests": partial(perform_requests, store),
    }


async def _command_here(settings: Settings, wanted: Mapping[str, Any]) -> Any:
    """Only the parts that the command needs: the `webhooks` commands alone load a messenger."""
    url = settings.database_url.get_secret_value()
    database = sqlite_path(url)
    clock = make_clock(database)
    store = await open_store(url, clock, make_reach(settings))
    skins = make_skins(settings) if wanted["group"] == "webhooks" else {}
    try:
        projects = Projects(store, SystemRandomness(), Mode.LIVE)
        registration = make_registration(settings, store, skins)
        endpoints = make_endpoints(settings, store, SystemRandomness())
        people = People(store, make_rules(settings, SystemRandomness()))
        groups = operator_commands(projects, registration, endpoints, people, store, clock, database)
        return await perform(groups, wanted)
    finally:
        for skin in skins.values():
            await skin.close()
        await store.close()


async def move(settings: Settings, to: str | None) -> Any:
    """Carry the SQLite database over to PostgreSQL, or undo that (`to` is None). Its owner must be gone."""
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
