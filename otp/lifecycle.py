"""The life cycles of a request and of a delivery, each as one table.

Every store is walked through all pairs of states by the tests: a step that is not here changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from otp.model import Delivery, DeliveryState, Request, RequestStatus
from otp.policy import REQUEST_GRACE_MS, REQUEST_KEPT_MS, UNOPENED_KEPT_MS

REQUEST_ID: Final = re.compile(r"[A-Za-z0-9]{16}", re.ASCII)

REQUEST_STEPS: Final[dict[RequestStatus, frozenset[RequestStatus]]] = {
    RequestStatus.PENDING: frozenset({RequestStatus.SENT, RequestStatus.CANCELLED, RequestStatus.EXPIRED}),
    RequestStatus.SENT: frozenset(),
    RequestStatus.CANCELLED: frozenset(),
    RequestStatus.EXPIRED: frozenset(),
}
"""Requests only go forward; the three ends never change."""

DELIVERY_STEPS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    # A claim that is withdrawn before its first attempt, or runs out of time, was certainly not sent.
    DeliveryState.CLAIMED: frozenset({DeliveryState.ATTEMPTING, DeliveryState.REFUSED}),
    # Back to claimed: the attempt certainly did not arrive and may be made again.
    DeliveryState.ATTEMPTING: frozenset(
        {DeliveryState.CLAIMED, DeliveryState.ACCEPTED, DeliveryState.REFUSED, DeliveryState.UNKNOWN}
    ),
    DeliveryState.ACCEPTED: frozenset(),
    DeliveryState.REFUSED: frozenset(),
    DeliveryState.UNKNOWN: frozenset(),
}
"""Each step is committed before the next one begins."""

UNDER_WAY: Final = frozenset({DeliveryState.CLAIMED, DeliveryState.ATTEMPTING})
"""A subscriber has at most one delivery per purpose in these states."""

SPENT: Final = frozenset(
    {DeliveryState.CLAIMED, DeliveryState.ATTEMPTING, DeliveryState.ACCEPTED, DeliveryState.UNKNOWN}
)
"""What counts against the send limit: what arrived, may have arrived, or still may arrive."""


def under_way(deliveries: Iterable[Delivery]) -> Delivery | None:
    """The one delivery of a request that is not settled, if there is one."""
    return next((delivery for delivery in deliveries if delivery.state in UNDER_WAY), None)


def status_at(request: Request, open_delivery: Delivery | None, now: int) -> RequestStatus:
    """What the world may be told of a request at `now`, whether or not its end was written down yet.

    A delivery claimed before the request's end keeps it pending until its outcome, at most 15 seconds longer.
    """
    if request.status is not RequestStatus.PENDING or now < request.expires_at:
        return request.status
    if open_delivery is not None and now < request.expires_at + REQUEST_GRACE_MS:
        return RequestStatus.PENDING
    return RequestStatus.EXPIRED


def turns_at(request: Request, now: int) -> int:
    """When a request that is pending at `now` may expire: at its end, or when a delivery under way kept it too long."""
    return request.expires_at if now < request.expires_at else request.expires_at + REQUEST_GRACE_MS


def is_forgotten(request: Request, now: int) -> bool:
    """Whether a request ended so long ago that it is not readable any more."""
    ended_at = request.finished_at if request.finished_at is not None else request.expires_at
    return now >= ended_at + (REQUEST_KEPT_MS if request.opened else UNOPENED_KEPT_MS)
