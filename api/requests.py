"""The operator's commands about requests: why did somebody get no code? Imported by `wiring` alone."""

from __future__ import annotations

from typing import Any, Final

from api.admin import Command, Refused, checked_project_id, checked_uuid
from otp.lifecycle import REQUEST_ID
from otp.model import Project, RequestStatus, Subscriber
from otp.notices import rfc3339
from otp.policy import HOUR_MS
from otp.ports import Store, Tx
from otp.projects import ProjectNotFound
from otp.reports import Sending
from otp.timeline import Timeline, timeline
from otp.ways import outcome

MOST_LISTED: Final = 500
_KEPT: Final = (
    "finished ones are kept for 24 hours after their end, those that nobody opened for one; "
    "`requests list` shows what is there"
)


async def perform_requests(store: Store, command: Command) -> Any:
    """One `requests` command: `{"verb": …, …}` to a JSON value. Raises `Refused`."""
    if command["verb"] == "show":
        return await _show(store, str(command["id"]))
    limit = int(command.get("limit", 50))
    if not 1 <= limit <= MOST_LISTED:
        raise Refused(f"--limit must be a number from 1 to {MOST_LISTED}")
    if "subscriber" in command:
        return await _sendings(store, command, limit)
    return await _list(store, command, limit)


async def _show(store: Store, typed: str) -> Any:
    request_id = typed.rpartition("otp_")[2]  # of a whole link too
    if REQUEST_ID.fullmatch(request_id) is None:
        raise Refused(
            "the id of a request is 16 letters and digits: `request_id`, or what stands behind otp_"
        )
    found = await store.read(lambda tx: timeline(tx, request_id))
    if found is None:
        raise Refused(f"there is no request with this id: {_KEPT}")
    request, finding = found.request, found.finding
    told = _brief(found) | {
        "purpose": request.terms.purpose,
        "expires_at": rfc3339(request.expires_at),
        "wanted_channel": request.channel,
        "subscriber_id": found.subscriber_id,
        "timeline": [{"at": rfc3339(one.at), "what": one.what, "text": one.text} for one in found.moments],
        "why": finding.why,
        "todo": finding.todo,
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _brief(found: Timeline) -> dict[str, Any]:
    """A request in a line of a list."""
    request, project = found.request, found.project
    told = {
        "request_id": request.id,
        "project": {"id": project.id, "name": project.name},
        "mode": request.mode,
        "status": found.status,
        "channel": found.channel,
        "created_at": rfc3339(request.created_at),
        "short": found.finding.short,
    }
    return {name: value for name, value in told.items() if value is not None}


async def _list(store: Store, command: Command, limit: int) -> Any:
    project_id = checked_project_id({"id": command["project"]}) if "project" in command else None
    status = RequestStatus(command["status"]) if "status" in command else None
    since = int(command.get("since", 24 * HOUR_MS))

    async def work(tx: Tx) -> list[Timeline]:
        if project_id is not None and await tx.project(project_id) is None:
            raise ProjectNotFound
        recent = await tx.recent_requests(project_id, tx.now - since, status, limit)
        found = [await timeline(tx, one.id) for one in recent]
        return [one for one in found if one is not None and status in (None, one.status)]

    return [_brief(one) for one in await store.read(work)]


async def _sendings(store: Store, command: Command, limit: int) -> Any:
    subscriber_id = checked_uuid(
        command["subscriber"], "subscriber", "as `subscriber_id` tells it to the site"
    )

    async def work(tx: Tx) -> tuple[Subscriber, Project, list[Sending]] | None:
        sub = await tx.subscriber_by_id(subscriber_id)
        project = await tx.project(sub.project_id) if sub is not None else None
        if sub is None or project is None:
            return None
        return sub, project, await tx.sendings(sub.id, 0, limit)

    found = await store.read(work)
    if found is None:
        raise Refused(
            "there is no subscriber with this id: the person was forgotten, or it is another service's"
        )
    sub, project, sendings = found
    return {
        "subscriber_id": sub.id,
        "project": {"id": project.id, "name": project.name},
        "mode": sub.mode,
        "channel": sub.person.channel,
        "subscribed": sub.subscribed,
        "locked": sub.locked,
        "wrong_guesses": sub.wrong_guesses,
        "deliveries": [_sending(one) for one in reversed(sendings)],
    }


def _sending(one: Sending) -> dict[str, Any]:
    sent = one.delivery
    told = {
        "at": rfc3339(sent.claimed_at),
        "cause": sent.cause,
        "purpose": sent.terms.purpose,
        "state": sent.state,
        "refusal": sent.refusal,
        "attempts": sent.tries,
        "settled_at": rfc3339(one.settled_at) if one.settled_at is not None else None,
        "request_id": sent.request_id,
        "text": outcome(sent),
    }
    return {name: value for name, value in told.items() if value is not None}
