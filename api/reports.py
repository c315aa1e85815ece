"""The operator's commands that only look: as `api.admin` has those that change something. Imported by `wiring` alone."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from api.admin import Command, Refused, as_project, checked_project_id
from otp.audit import AuditLine
from otp.counting import STATS_KEPT_MS, TOOK, WHATS, share_within
from otp.model import Mode, Project
from otp.notices import rfc3339
from otp.policy import DAY_MS
from otp.ports import Store, Tx
from otp.projects import ProjectNotFound
from otp.reports import Counted, LivingKey, ProjectFacts
from otp.tasks import give_way
from otp.telling import Endpoint

MOST_LINES: Final = 10_000
"""Of the trail."""
MOST_DAYS: Final = STATS_KEPT_MS // DAY_MS


async def perform_audit(store: Store, command: Command) -> Any:
    """`audit`: the last lines of the trail, oldest first."""
    since = int(command.get("since", 7 * DAY_MS))
    lines = await store.read(lambda tx: tx.audit(tx.now - since, MOST_LINES))
    return [_line(one) for one in lines]


def _line(one: AuditLine) -> dict[str, Any]:
    told = {
        "at": rfc3339(one.at),
        "by": one.by,
        "what": one.what,
        "subject": one.subject,
        "detail": one.detail,
    }
    return {name: value for name, value in told.items() if value}


async def perform_stats(store: Store, command: Command) -> Any:
    """`stats`: how much happened, by day, mode and channel, oldest day first. Raises `Refused`."""
    days = int(command.get("days", 7))
    project_id = checked_project_id({"id": command["project"]}) if "project" in command else None
    if not 1 <= days <= MOST_DAYS:
        raise Refused(f"--days must be a number from 1 to {MOST_DAYS}: older counts are not kept")

    async def today(tx: Tx) -> int:
        if project_id is not None and await tx.project(project_id) is None:
            raise ProjectNotFound
        return tx.now // DAY_MS * DAY_MS

    last = await store.read(today)
    found: dict[tuple[int, str, str], dict[str, int]] = {}
    for day in range(last - (days - 1) * DAY_MS, last + 1, DAY_MS):
        # A day at a time, as others wait while a store is read: each has rows of every project.
        for one, many in (await store.read(partial(_counts, day=day, project_id=project_id))).items():
            found.setdefault((one.day, one.mode, one.channel), {})[one.what] = many
        await give_way()
    return [_day(*key, found[key]) for key in sorted(found)]


async def _counts(tx: Tx, day: int, project_id: str | None) -> dict[Counted, int]:
    return await tx.counts(day, project_id)


def _day(day: int, mode: str, channel: str, counts: Mapping[str, int]) -> dict[str, Any]:
    told: dict[str, Any] = {"day": rfc3339(day)[:10], "mode": mode, "channel": channel}
    told |= {what: counts.get(what, 0) for what in WHATS}
    took = {int(what.removeprefix(TOOK)): many for what, many in counts.items() if what.startswith(TOOK)}
    if took:
        told["tap_to_delivery_ms"] = {"median": share_within(took, 0.5), "p90": share_within(took, 0.9)}
    return told


async def show_project(store: Store, command: Command) -> Any:
    """`project show`: all that is known of a project but its data and its keys. Raises `Refused`."""
    project_id = checked_project_id(command)

    async def work(tx: Tx) -> tuple[Project, ProjectFacts, list[Endpoint]] | None:
        project, facts = await tx.project(project_id), await tx.project_facts(project_id)
        if project is None or facts is None:
            return None
        return project, facts, [one for mode in Mode for one in await tx.endpoints(project_id, mode)]

    found = await store.read(work)
    if found is None:
        raise Refused("there is no project with this id: `project list` shows them all")
    project, facts, endpoints = found
    told = as_project(project) | {"created_at": rfc3339(facts.created_at), "site_url": project.site_url}
    told |= {"texts": sorted(project.texts), "keys": [_key(one) for one in facts.keys]}
    told |= {"webhooks": [_webhook(one) for one in endpoints]}
    return {name: value for name, value in told.items() if value not in (None, [])}


def _key(key: LivingKey) -> dict[str, Any]:
    ends = {"ends_at": rfc3339(key.ends_at)} if key.ends_at is not None else {}
    return {"mode": key.mode, "created_at": rfc3339(key.created_at)} | ends


def _webhook(one: Endpoint) -> dict[str, Any]:
    state = f"off: {one.disabled_why}" if one.disabled_at is not None else "on"
    failing = {"failing_since": rfc3339(one.failing_since)} if one.failing_since is not None else {}
    # The rest of an address may hold a secret of the site's.
    return {"id": one.id, "host": urlsplit(one.url).hostname, "mode": one.mode, "state": state} | failing
