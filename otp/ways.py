"""What is kept of the way of one request, and the words that `otp.timeline` and `otp.findings` share for it.

No code, no user id of a messenger, nothing that the site said of its visitor. What is not kept is not made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from otp.audit import Action, AuditLine
from otp.lifecycle import status_at, under_way
from otp.model import (
    Channel,
    Code,
    Delivery,
    DeliveryState,
    Ending,
    MessageKind,
    Project,
    Refusal,
    Request,
    RequestStatus,
    Subscriber,
)
from otp.policy import MINUTE_MS, SECOND_MS
from otp.ports import Tx
from otp.reports import Sending, Shown, Trace
from otp.values import value

MOST_SENDINGS: Final = 100
"""Of a subscriber, to look at."""
TAKEN_LATE_MS: Final = 30 * SECOND_MS
"""After this a message is known to have been taken, or never will be."""
MOST_LINES: Final = 1_000
"""Of the audit trail, to look at."""
NAMES: Final = {Channel.TELEGRAM: "Telegram", Channel.MAX: "MAX"}
SEEN: Final = (MessageKind.QUESTION, MessageKind.UNLOCK, MessageKind.OFFER, MessageKind.UNWANTED)
"""Messages with buttons about a request."""


@value
class Known:
    """All that is kept of a request."""

    now: int
    request: Request
    project: Project
    trace: Trace
    subscriber: Subscriber | None
    left_at: int | None
    sendings: Sequence[Sending]
    """Its own, and those that carried its code once more."""
    operators: Sequence[AuditLine]
    """What operators did meanwhile that ends codes of this project."""
    newer: Sending | None
    """What replaced its code."""
    code: Code | None
    """While it lives."""

    @property
    def status(self) -> RequestStatus:
        """As the site is told."""
        return status_at(self.request, under_way(one.delivery for one in self.sendings), self.now)

    @property
    def last(self) -> Sending | None:
        """The last delivery."""
        return self.sendings[-1] if self.sendings else None

    @property
    def channel(self) -> Channel | None:
        """Where it went on."""
        if self.last is not None:
            return self.last.delivery.person.channel
        return self.trace.shown[-1].person.channel if self.trace.shown else self.trace.opened_in

    @property
    def messenger(self) -> str:
        """The same, for a sentence."""
        return NAMES[self.channel] if self.channel is not None else "the messenger"

    @property
    def ended(self) -> Ending | None:
        """Why its code ended, as its message tells."""
        told = [one.ended for one in self.trace.shown if one.kind is MessageKind.CODE and one.ended]
        return next((one for one in reversed(told) if one is not Ending.REPEATED), None)

    @property
    def by_site(self) -> bool:
        """Whether it was the site that cancelled it: only then the questions are told so; a person must have opened it."""
        asked = [one for one in self.trace.shown if one.kind in SEEN]
        return not self.request.opened or any(one.ended is Ending.WITHDRAWN for one in asked)


async def known_of(tx: Tx, request: Request, project: Project) -> Known:
    """All that is kept of it."""
    own = await tx.request_deliveries(request.id)
    sub_id = request.subscriber_id or (own[-1].subscriber_id if own else None)
    if sub_id is None and request.bound_to is not None:
        bound = await tx.subscriber_of(project.id, request.mode, request.bound_to)
        sub_id = bound.id if bound is not None else None
    every = await tx.sendings(sub_id, request.created_at, MOST_SENDINGS) if sub_id is not None else []
    codes = {one.code_id for one in own}
    sendings = [
        one for one in every if one.delivery.request_id == request.id or one.delivery.code_id in codes
    ]
    last = sendings[-1].delivery if sendings else None
    return Known(
        now=tx.now,
        request=request,
        project=project,
        trace=await tx.trace(request.id),
        subscriber=await tx.subscriber_by_id(sub_id) if sub_id is not None else None,
        left_at=await tx.left_at(sub_id) if sub_id is not None else None,
        sendings=sendings,
        operators=[
            one for one in await tx.audit(request.created_at, MOST_LINES) if _ends_codes(one, project)
        ],
        newer=_newer(every, last),
        code=await tx.code_by_id(last.code_id) if last is not None else None,
    )


def _ends_codes(line: AuditLine, project: Project) -> bool:
    paused = line.what == Action.PROJECT_DISABLE and line.subject == project.id
    return paused or line.what == Action.CODES_REVOKE_ALL


def _newer(every: Sequence[Sending], last: Delivery | None) -> Sending | None:
    """The first delivery that brought another code for the same purpose."""
    brought = (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
    for one in every:
        sent = one.delivery
        if last is None or sent.terms.purpose != last.terms.purpose or sent.state not in brought:
            continue
        if (sent.claimed_at, sent.id) > (last.claimed_at, last.id) and sent.code_id != last.code_id:
            return one
    return None


def arrived(known: Known, shown: Shown) -> bool:
    """Whether the messenger took a message, or still may."""
    return shown.taken or known.now < shown.at + TAKEN_LATE_MS


def outcome(sent: Delivery) -> str:
    """What came of a delivery, in words."""
    name = NAMES[sent.person.channel]
    tries = f" ({tried(sent)})" if sent.tries > 1 else ""
    match sent.state, sent.refusal:
        case DeliveryState.ACCEPTED, _:
            return f"{name} took the code"
        case DeliveryState.UNKNOWN, _:
            return f"{name} gave no answer: the code may have arrived, and is good if it did"
        case DeliveryState.CLAIMED, _:
            return f"waits to be sent{tries}"
        case DeliveryState.ATTEMPTING, _:
            return f"is at {name} at this moment"
        case _, Refusal.GONE:
            return f"{name} refused the code: the person blocked the bot, or removed the chat"
        case _, Refusal.REJECTED:
            return f"{name} refused the message, and not because the bot is blocked"
        case _, Refusal.UNAVAILABLE:
            return f"{name} could not be reached, or asked us to wait, for too long{tries}"
        case _:
            return "taken back before it was sent: cancelled, left, locked or paused meanwhile"


def tried(sent: Delivery) -> str:
    """How often it was tried."""
    return "tried once" if sent.tries == 1 else f"tried {sent.tries} times"


def by_whom(known: Known) -> str:
    """Who cancelled a request."""
    if known.request.reported:
        return "as the person said that it was not them"
    if known.by_site:
        return "by the site"
    return "by the person (Cancel, or the wrong number)" if known.request.match else "by the person"


def ran_out(known: Known) -> int | None:
    """When its code died of age, if that is what became of it."""
    last = known.last
    if last is None or known.code or known.request.verified_at is not None:
        return None
    if known.ended not in (
        None,
        Ending.REPLACED,
    ):  # one that had run out is called replaced until it is swept away
        return None
    sent, from_ = last.delivery, last.settled_at
    if sent.state is DeliveryState.UNKNOWN:
        from_ = sent.attempted_at
    elif sent.state is not DeliveryState.ACCEPTED:
        return None
    if from_ is None or sent.reuses or (known.left_at or 0) >= sent.claimed_at:
        return None
    ends = from_ + sent.terms.ttl_minutes * MINUTE_MS
    newer = known.newer.delivery.claimed_at if known.newer is not None else ends
    return ends if ends <= min(known.now, newer) else None


def replaced_by(known: Known) -> Sending | None:
    """The delivery whose code took the place of this one, if that is what became of it."""
    replaced = known.ended in (None, Ending.REPLACED) and known.code is None and ran_out(known) is None
    return known.newer if replaced else None


def lasted(ms: int) -> str:
    """`0.4 s`, `19 s`, `1 m 19 s`, `2 h 3 m`."""
    if ms < 10 * SECOND_MS:
        return f"{ms / SECOND_MS:.1f} s"
    seconds = ms // SECOND_MS
    if seconds < 60:  # noqa: PLR2004  # a minute's
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:  # noqa: PLR2004  # an hour's
        return f"{minutes} m {seconds} s"
    return f"{minutes // 60} h {minutes % 60} m"
