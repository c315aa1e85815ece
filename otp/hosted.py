"""The hosted page of a request: what its visitor may see and do, by a token that stands for nothing but this request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from otp.channels import Health
from otp.errors import NothingToRepeat
from otp.lifecycle import UNDER_WAY, is_forgotten, status_at, under_way
from otp.model import (
    Caller,
    Channel,
    Code,
    Delivery,
    DeliveryState,
    Ending,
    Project,
    Refusal,
    Request,
    RequestStatus,
    Subscriber,
)
from otp.pages import led_back
from otp.ports import Tx
from otp.service import OtpService, Reason, Verdict, no_request, proof_of
from otp.values import value

LONGEST_TYPED: Final = 64


class Stage(StrEnum):
    """What the page is about now."""

    WAITING = "waiting"
    """For consent in the messenger."""
    CODE = "code"
    """The code was delivered and can be entered."""
    VERIFIED = "verified"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Nobody consented in time."""
    CODE_EXPIRED = "code_expired"
    USED_UP = "used_up"
    """Too many wrong codes for this one."""
    LOCKED = "locked"
    """Too many wrong codes for this person."""
    REPORTED = "reported"
    """The person said that it was not them."""
    REPLACED = "replaced"
    """A newer code took the place of this one."""
    PAUSED = "paused"
    """The operator switched the project off."""


class Trouble(StrEnum):
    """Why no code has arrived although the person agreed."""

    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


ENDS: Final = frozenset(Stage) - {Stage.WAITING, Stage.CODE}


@value
class View:
    """What a visitor sees."""

    project: Project
    request: Request
    stage: Stage
    bots: dict[Channel, str]
    """By the channels that can be chosen, in the order in which they are offered."""
    health: dict[Channel, Health]
    """How each channel is."""
    lasts_ms: int = 0
    """Until the links end, or the code."""
    attempts_left: int = 0
    channel: Channel | None = None
    """Where the code is, once it was delivered."""
    trouble: Trouble | None = None
    under_way: bool = False
    """The person agreed, and the code is being sent."""
    proof: str | None = field(default=None, repr=False)
    """For the browser in which the code was entered, and no other one."""

    def way_back(self, *, proven: bool = False) -> str:
        """Where the visitor goes from here."""
        page = self.request.page
        if page is None:
            raise no_request()
        return led_back(page.return_url, self.request.id, page.state, self.proof if proven else None)


class HostedPages:
    """The use cases of a page. All raise `RequestNotFound` for a token that opens nothing."""

    def __init__(self, service: OtpService) -> None:
        self._service = service
        self._keys = service.rules.keys

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us through TLS."""
        return (self._service.public_url or "").startswith("https://")

    @property
    def folder(self) -> str:
        """Below which path browsers reach us."""
        return urlsplit(self._service.public_url or "").path

    def request_id(self, token: str) -> str:
        """Which request a token is for, by the token alone."""
        request_id = self._keys.opened_by(token)
        if request_id is None:
            raise no_request()
        return request_id

    async def caller(self, request_id: str) -> Caller:
        """On whose behalf the visitor acts."""
        project, request = await self._service.store.read(lambda tx: _opened(tx, request_id))
        return Caller(project, request.mode)

    async def view(self, request_id: str) -> View:
        """What there is to be seen now."""
        view = await self._service.store.read(lambda tx: self._view(tx, request_id))
        if view.stage is Stage.EXPIRED and view.request.status is RequestStatus.PENDING:
            await self._service.status(
                Caller(view.project, view.request.mode), request_id
            )  # written down now
        return view

    async def guess(self, request_id: str, typed: str) -> Verdict:
        """Judge what was entered, as any guess of this request's code is. Raises `ProjectDisabled`."""
        project, request = await self._service.store.read(lambda tx: _opened(tx, request_id))
        if request.status is not RequestStatus.SENT or request.subscriber_id is None:
            return Verdict(Reason.NO_ACTIVE_CODE)
        caller, typed = Caller(project, request.mode), typed[: LONGEST_TYPED + 1]
        return await self._service.verify(caller, request.subscriber_id, typed, None, request_id)

    async def send_again(self, request_id: str) -> None:
        """Send the code that lives once more, within the limits of any other message.

        Raises `NothingToRepeat`, and what `OtpService.send` raises.
        """

        async def work(tx: Tx) -> tuple[Caller, Delivery]:
            project, request = await _opened(tx, request_id)
            sub = await _subscriber(tx, request)
            code = await _living(tx, request, sub)
            if sub is None or code is None or not project.enabled:
                raise NothingToRepeat("No code of this request lives.")
            claimed = await self._service.claim_for(tx, sub, code.terms, request.context, reuse=True)
            return Caller(project, request.mode), claimed

        caller, claimed = await self._service.store.write(work)
        await self._service.told(caller, claimed.subscriber_id, await self._service.outcome(claimed))

    async def logo(self, digest: str) -> bytes | None:
        """A project's picture."""
        return await self._service.store.read(lambda tx: tx.logo(digest))

    async def _view(self, tx: Tx, request_id: str) -> View:
        project, request = await _opened(tx, request_id)
        deliveries = await tx.request_deliveries(request.id)
        stage = _stage(request, status_at(request, under_way(deliveries), tx.now))
        lasts_ms, left = request.expires_at - tx.now, 0
        if stage is Stage.CODE:
            sub = await _subscriber(tx, request)
            code = await _living(tx, request, sub)
            if sub is not None and (sub.locked or sub.wrong_guesses >= self._service.policy.guess_budget):
                stage = Stage.LOCKED
            elif sub is None or code is None or self._keys.digits(code.seed) is None:
                stage = await _ended(tx, request, deliveries)
            else:
                lasts_ms = code.expires_at - tx.now
                budget = self._service.policy.guess_budget - sub.wrong_guesses
                left = max(0, min(code.terms.max_attempts - code.attempts, budget))
        if not project.enabled and stage is not Stage.VERIFIED:
            stage = Stage.PAUSED
        sent = request.status is RequestStatus.SENT and request.bound_to is not None
        health = self._service.health(request.mode)
        return View(
            project,
            request,
            stage,
            self._bots(project, request, health),
            health,
            lasts_ms,
            left,
            request.bound_to.channel if sent and request.bound_to else None,
            _trouble(deliveries),
            any(one.state in UNDER_WAY for one in deliveries),
            proof_of(request, self._keys),
        )

    def _bots(
        self, project: Project, request: Request, health: Mapping[Channel, Health]
    ) -> dict[Channel, str]:
        """Those that work are first; of these, the one that the project wants first."""
        names = self._service.bot_names(request)
        order = sorted(names, key=lambda one: (health[one] is not Health.OK, one is not project.page.first))
        return {channel: names[channel] for channel in order}


async def _opened(tx: Tx, request_id: str) -> tuple[Project, Request]:
    """A request that has a page, and its project. Raises `RequestNotFound`."""
    request = await tx.request(request_id)
    if request is None or request.page is None or is_forgotten(request, tx.now):
        raise no_request()
    project = await tx.project(request.project_id)
    if project is None:
        raise no_request()
    return project, request


def _stage(request: Request, status: RequestStatus) -> Stage:
    if request.reported:
        return Stage.REPORTED
    if request.verified_at is not None:
        return Stage.VERIFIED
    return {
        RequestStatus.PENDING: Stage.WAITING,
        RequestStatus.SENT: Stage.CODE,
        RequestStatus.CANCELLED: Stage.CANCELLED,
        RequestStatus.EXPIRED: Stage.EXPIRED,
    }[status]


async def _subscriber(tx: Tx, request: Request) -> Subscriber | None:
    if request.subscriber_id is None:
        return None
    return await tx.subscriber(request.project_id, request.mode, request.subscriber_id)


async def _living(tx: Tx, request: Request, sub: Subscriber | None) -> Code | None:
    """The request's own code, while it can be entered."""
    code = await tx.code(sub.id, request.terms.purpose) if sub is not None else None
    return code if code is not None and code.request_id == request.id else None


async def _ended(tx: Tx, request: Request, deliveries: list[Delivery]) -> Stage:
    """Why its code works no more."""
    sent = next((one for one in deliveries if one.state is DeliveryState.ACCEPTED), None)
    message = await tx.code_message(sent.code_id, sent.person) if sent is not None else None
    ending = message.ended if message is not None else None
    return {
        Ending.USED_UP: Stage.USED_UP,
        Ending.REPLACED: Stage.REPLACED,
        Ending.REPORTED: Stage.REPORTED,
        Ending.WITHDRAWN: Stage.CANCELLED,
    }.get(ending or Ending.EXPIRED, Stage.CODE_EXPIRED)


def _trouble(deliveries: list[Delivery]) -> Trouble | None:
    last = max(deliveries, key=lambda one: one.claimed_at, default=None)
    if last is None:
        return None
    if last.state is DeliveryState.UNKNOWN:
        return Trouble.UNKNOWN
    refused = last.state is DeliveryState.REFUSED and last.refusal is not Refusal.WITHDRAWN
    return Trouble.UNAVAILABLE if refused else None
