"""Why did somebody get no code: the way of a request, moment by moment, for operators. Imported by `api.requests` alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otp.findings import Finding, finding_of
from otp.model import (
    Cause,
    Channel,
    DeliveryState,
    MessageKind,
    Mode,
    Project,
    Refusal,
    Request,
    RequestStatus,
)
from otp.notices import rfc3339
from otp.ports import Tx
from otp.reports import Sending, Shown
from otp.values import value
from otp.ways import NAMES, SEEN, Known, arrived, by_whom, known_of, outcome, ran_out, replaced_by


@value
class Moment:
    """Something that happened."""

    at: int
    what: str
    """In a word, for programs."""
    text: str


@value
class Timeline:
    """The way of a request, as far as it is kept."""

    request: Request
    project: Project
    status: RequestStatus
    channel: Channel | None
    """In which it went on; None as long as nobody opened it."""
    subscriber_id: str | None
    moments: tuple[Moment, ...]
    finding: Finding


_ORDER: Final = (
    "created",
    "opened",
    "asked",
    "locked",
    "unwanted",
    "claimed",
    "attempted",
    "sent",
    "failed",
    "unknown",
    "offered",
    "superseded",
    "operator",
    "left",
    "verified",
    "cancelled",
    "code_expired",
    "expired",
)
"""Of what happened in the same moment: an act, and what came of it."""


async def timeline(tx: Tx, request_id: str) -> Timeline | None:
    """The way of a request; None when there is none."""
    request = await tx.request(request_id)
    project = await tx.project(request.project_id) if request is not None else None
    if request is None or project is None:
        return None
    known = await known_of(tx, request, project)
    moments = sorted(_moments(known), key=lambda one: (one.at, _ORDER.index(one.what)))
    sub = known.subscriber.id if known.subscriber is not None else request.subscriber_id
    return Timeline(request, project, known.status, known.channel, sub, tuple(moments), finding_of(known))


def _moments(known: Known) -> Iterator[Moment]:
    request = known.request
    where = f"{NAMES[request.channel]} alone" if request.channel else "any messenger"
    test = " in test mode, which reaches nobody" if request.mode is Mode.TEST else ""
    yield Moment(request.created_at, "created", f"{known.project.name} asked for a code, for {where}{test}")
    yield from _opening(known)
    people = list(dict.fromkeys(one.person for one in known.trace.shown if one.kind in SEEN))
    for shown in known.trace.shown:
        if shown.kind in SEEN:
            yield _shown(known, shown, people.index(shown.person))
    for sending in known.sendings:
        yield from _sending(sending)
    newer = replaced_by(known)
    if newer is not None:
        yield _replaced(newer)
    for line in known.operators:
        yield Moment(line.at, "operator", f"an operator ({line.by}): {line.what}")
    refused_at = [one.settled_at for one in known.sendings if one.delivery.refusal is Refusal.GONE]
    if known.left_at is not None and known.left_at >= request.created_at and known.left_at not in refused_at:
        yield Moment(known.left_at, "left", "the person left or blocked the bot")
    yield from _ends(known)


def _opening(known: Known) -> Iterator[Moment]:
    trace, wanted = known.trace, known.request.channel
    if trace.opened_at is None or trace.opened_in is None:
        return
    foreign = (
        f", though it is for {NAMES[wanted]} alone"
        if wanted not in (None, trace.opened_in) and wanted
        else ""
    )
    text = f"the link was opened (or its id typed) in {NAMES[trace.opened_in]}{foreign}"
    yield Moment(trace.opened_at, "opened", text)


_SHOWN: Final = {
    MessageKind.QUESTION: "asked",
    MessageKind.UNLOCK: "locked",
    MessageKind.OFFER: "offered",
    MessageKind.UNWANTED: "unwanted",
}
_SHOWN_TEXTS: Final = {
    MessageKind.QUESTION: "was asked for consent",
    MessageKind.UNLOCK: "is locked after too many wrong codes, and was offered to unlock",
    MessageKind.OFFER: 'got no code now, and was offered "Send again"',
    MessageKind.UNWANTED: "had said to want nothing from this project, and was asked whether that has changed",
}


def _shown(known: Known, shown: Shown, place: int) -> Moment:
    who = "the person" if place == 0 else "another person"
    lost = "" if arrived(known, shown) else f"; {NAMES[shown.person.channel]} did not take that message"
    return Moment(shown.at, _SHOWN[shown.kind], f"{who} {_SHOWN_TEXTS[shown.kind]}{lost}")


_CAUSES: Final = {
    Cause.SEND: "the site asked for a code (send)",
    Cause.CONSENT: "the person consented",
    Cause.OPEN: "the person was subscribed already: opening is consent",
    Cause.UNLOCK: "the person unlocked themselves",
    Cause.AGAIN: "the person asked to have it sent again",
}


def _sending(sending: Sending) -> Iterator[Moment]:
    sent = sending.delivery
    yield Moment(sent.claimed_at, "claimed", _CAUSES[sent.cause])
    if sent.attempted_at is not None and sent.tries and sent.state is DeliveryState.CLAIMED:
        due = rfc3339(sent.due_at)[11:19]
        text = f"attempt {sent.tries} certainly did not arrive; the next one is due at {due}"
        yield Moment(sent.attempted_at, "attempted", text)
    elif sent.attempted_at is not None and sent.tries > 1:
        text = f"attempt {sent.tries} began; those before certainly did not arrive"
        yield Moment(sent.attempted_at, "attempted", text)
    if sending.settled_at is not None:
        yield Moment(sending.settled_at, _OUTCOMES.get(sent.state, "unknown"), outcome(sent))


_OUTCOMES: Final = {DeliveryState.ACCEPTED: "sent", DeliveryState.REFUSED: "failed"}


def _replaced(newer: Sending) -> Moment:
    sent = newer.delivery
    at = newer.settled_at if newer.settled_at is not None else sent.claimed_at
    by = f"that of request {sent.request_id}" if sent.request_id else "one that the site sent"
    return Moment(at, "superseded", f"a newer code replaced it: {by}")


def _ends(known: Known) -> Iterator[Moment]:
    request = known.request
    if request.verified_at is not None:
        yield Moment(request.verified_at, "verified", "the right code was entered")
    if known.status is RequestStatus.CANCELLED and request.finished_at is not None:
        yield Moment(request.finished_at, "cancelled", f"cancelled {by_whom(known)}")
    if known.status is RequestStatus.EXPIRED:
        yield Moment(request.expires_at, "expired", "the link ran out, 15 minutes after it was made")
    died = ran_out(known)
    if died is not None:
        yield Moment(died, "code_expired", "the code ran out")
