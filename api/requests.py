"""The operator's commands about requests: why did somebody get no code? Imported by `wiring` alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from api.admin import Command, Refused, checked_project_id, checked_uuid
from otp.lifecycle import REQUEST_ID
from otp.model import Project, RequestStatus, Subscriber
from otp.notices import rfc3339
from otp.policy import HOUR_MS
from otp.ports import Store, Tx
from otp.projects import ProjectNotFound
from otp.reports import Listed, Sending
from otp.tasks import give_way
from otp.timeline import Timeline, timeline
from otp.ways import outcome

MOST_LISTED: Final = 500
PAGE: Final = 300
"""Requests that are looked at in one go."""
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


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which requests are to be listed."""

    project_id: str | None
    status: RequestStatus | None
    since: int
    now: int

    def holds(self, one: Listed) -> bool:
        """Whether it may be one of them; of what is pending its way tells."""
        if self.project_id not in (None, one.project_id) or one.created_at < self.since:
            return False
        if one.status is RequestStatus.PENDING:
            over = one.at <= self.now
            return self.status is None or self.status is (RequestStatus.EXPIRED if over else one.status)
        return self.status in (None, one.status)


async def _list(store: Store, command: Command, limit: int) -> Any:
    project_id = checked_project_id({"id": command["project"]}) if "project" in command else None
    status = RequestStatus(command["status"]) if "status" in command else None
    since = int(command.get("since", 24 * HOUR_MS))

    async def look(tx: Tx) -> int:
        if project_id is not None and await tx.project(project_id) is None:
            raise ProjectNotFound
        return tx.now

    now = await store.read(look)
    wanted = _Wanted(project_id, status, now - since, now)
    both = await _some(store, wanted, limit, open_=True) + await _some(store, wanted, limit, open_=False)
    newest = sorted(both, key=lambda one: (one.created_at, one.id), reverse=True)[:limit]
    found = []
    for one in newest:
        found.append(await store.read(partial(timeline, request_id=one.id)))
        await give_way()
    return [_brief(one) for one in found if one is not None and status in (None, one.status)]


async def _some(store: Store, wanted: _Wanted, limit: int, *, open_: bool) -> list[Listed]:
    """The newest ones. A page at a time, as others wait while a store is read: of millions none may be wanted."""
    found: list[Listed] = []
    last: Listed | None = None
    while len(found) < limit:
        page = await store.read(partial(_page, open_=open_, before=last, since=wanted.since))
        found += filter(wanted.holds, page)
        if len(page) < PAGE:
            break
        last = page[-1]
        await give_way()
    return found


async def _page(tx: Tx, *, open_: bool, before: Listed | None, since: int) -> list[Listed]:
    return await tx.requests_before(open_, before, since, PAGE)


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
