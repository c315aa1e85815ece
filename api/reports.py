"""The operator's commands that only look: as `api.admin` has those that change something. Imported by `wiring` alone."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from api.admin import Command, Refused, as_project, checked_project_id
from otp.audit import AuditLine
from otp.model import Mode, Project
from otp.notices import rfc3339
from otp.policy import HOUR_MS
from otp.ports import Store, Tx
from otp.reports import LivingKey, ProjectFacts
from otp.telling import Endpoint

MOST_LINES: Final = 10_000
"""Of the trail."""


async def perform_audit(store: Store, command: Command) -> Any:
    """`audit`: the last lines of the trail, oldest first."""
    since = int(command.get("since", 7 * 24 * HOUR_MS))
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
