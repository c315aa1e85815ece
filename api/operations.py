"""The operations of the API: each is declared once, and that validates, runs and documents it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from api import schemas, subscribers, withdrawals
from otp import pairing
from otp.account_calls import AccountCalls
from otp.channels import AUTO
from otp.errors import InvalidField
from otp.model import Caller, Channel, CodeTerms, Context, Delivery
from otp.policy import LENGTHS, REQUEST_LIFE_MS, SECOND_MS, Policy
from otp.service import OtpService

LINKS: Final = {
    Channel.TELEGRAM: "https://t.me/{bot}?start=otp_{id}",
    Channel.MAX: "https://max.ru/{bot}?start=otp_{id}",
}

"""In place of a channel: whichever works."""

Run = Callable[..., Awaitable[dict[str, Any]]]
"""Called with the service, the caller, the body if there is one, and by name what stands in the path."""


@dataclass(frozen=True, slots=True)
class Later:
    """An operation in two halves: a delivery that is committed, and what is answered once it came to its outcome."""

    begin: Callable[..., Awaitable[Delivery | dict[str, Any]]]
    """Called as `Run`; the answer itself when there is nothing to wait for."""
    tell: Callable[..., Awaitable[dict[str, Any]]]
    """Called with the delivery as it is then behind the body."""
    follow: Callable[[OtpService, Caller, Any, Delivery], Awaitable[Delivery | None]] | None = None
    """Another delivery after one that certainly failed, if there is to be one."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    name: str
    method: str
    path: str
    summary: str
    description: str
    answers: tuple[type[BaseModel], ...]
    """The possible bodies when it is done."""
    errors: tuple[str, ...]
    """Machine codes beyond those that every call can have."""
    run: Run | None
    """None for the status call, which may take its time: `api.status` answers it; and where there is an `own_key`."""
    body: type[BaseModel] | None = None
    body_optional: bool = False
    check: Callable[[Policy, Any], object] | None = None
    """Raises what is wrong with a body under the operator's limits."""
    later: Later | None = None
    """The same as `run`, for who may have to look at the outcome from outside."""
    takes_key: bool = True
    """Whether it knows `Idempotency-Key`."""
    own_key: Callable[[Any], tuple[str, ...]] | None = None
    """What of a body tells the call from every other one, where callers have no key: then the same is one call."""
    success: int = 200
    told_once: tuple[str, ...] = ()
    """Fields of the answer that are in no replay of it: they are not kept."""
    told_anew: Callable[[OtpService, Any, dict[str, Any]], dict[str, Any]] | None = None
    """Of these, what follows from the kept rest, for a replay; called with the body and that rest."""
    parameters: tuple[dict[str, Any], ...] = ()
    """Of the path and the query, as OpenAPI has them."""

    @property
    def is_kept(self) -> bool:
        """Whether the same call can get its first answer again."""
        return self.body is not None and (self.takes_key or self.own_key is not None)

    @property
    def is_status(self) -> bool:
        """Whether it is the one call that may take its time."""
        return self.run is None and self.own_key is None


async def _send(service: OtpService, caller: Caller, body: schemas.SendBody) -> dict[str, Any]:
    if _by_account(body):
        return await _send_to_account(service, caller, body)
    return await _sent(service, caller, body, await service.outcome(await _claim(service, caller, body)))


def _by_account(body: schemas.Addressed) -> bool:
    return "external_id" in body.model_fields_set


async def _claim(service: OtpService, caller: Caller, body: schemas.SendBody) -> Delivery:
    terms, context = _terms(service.policy, body), _context(body)
    if _by_account(body):
        return await AccountCalls(service).claim(caller, body.external_id, terms, context, reuse=body.reuse)
    return await service.claim(caller, body.subscriber_id, terms, context, reuse=body.reuse)


async def _follow(
    service: OtpService, caller: Caller, body: schemas.SendBody, settled: Delivery
) -> Delivery | None:
    if not _by_account(body):
        return None
    terms, context = _terms(service.policy, body), _context(body)
    return await AccountCalls(service).claim(
        caller, body.external_id, terms, context, reuse=body.reuse, after=settled
    )


async def _sent(
    service: OtpService, caller: Caller, body: schemas.SendBody, settled: Delivery | None
) -> dict[str, Any]:
    by_account = settled.subscriber_id if settled is not None else ""
    whose = by_account if _by_account(body) else body.subscriber_id
    seconds, reused = await service.told(caller, whose, settled)
    told: dict[str, Any] = {"sent": True, "expires_in_seconds": seconds}
    told |= {"reused": reused} if body.reuse else {}
    if _by_account(body) and settled is not None:
        told |= {"channel": settled.person.channel, "subscriber_id": settled.subscriber_id}
    return told


async def _send_to_account(service: OtpService, caller: Caller, body: schemas.SendBody) -> dict[str, Any]:
    terms, context = _terms(service.policy, body), _context(body)
    sent = await AccountCalls(service).send(caller, body.external_id, terms, context, reuse=body.reuse)
    told = {"sent": True, "expires_in_seconds": sent.seconds, "channel": sent.channel}
    return told | {"subscriber_id": sent.subscriber_id} | ({"reused": sent.reused} if body.reuse else {})


async def _verify(service: OtpService, caller: Caller, body: schemas.VerifyBody) -> dict[str, Any]:
    if _by_account(body):
        verdict = await AccountCalls(service).verify(
            caller, body.external_id, body.code, body.purpose, body.request_id
        )
    else:
        verdict = await service.verify(caller, body.subscriber_id, body.code, body.purpose, body.request_id)
    if verdict.reason is None:
        return {"verified": True}
    return {"verified": False, "reason": verdict.reason, "attempts_left": verdict.attempts_left}


async def _request(service: OtpService, caller: Caller, body: schemas.RequestBody) -> dict[str, Any]:
    wanted = body.channel if "channel" in body.model_fields_set else None
    channel = wanted if wanted is None or wanted == AUTO else Channel(wanted)
    terms, context = _terms(service.policy, body), _context(body)
    page = None
    if "page" in body.model_fields_set:
        page = service.page_of(caller, body.page.return_url, body.page.state)
    made = await service.request(
        caller,
        channel,
        terms,
        context,
        match=body.match,
        external_id=body.external_id,
        page=page,
        asks_phone="phone" in body.model_fields_set,
    )
    links = {known: link(known, made.bots.get(known), made.request.id) for known in Channel}
    match = {"match_number": made.request.match.number} if made.request.match else {}
    return (
        match
        | {
            "request_id": made.request.id,
            "pairing_code": pairing.shown(made.request.pairing_code or ""),
            "telegram_link": links[Channel.TELEGRAM],
            "max_link": links[Channel.MAX],
            "expires_in": REQUEST_LIFE_MS // SECOND_MS,
            "channels": made.channels,
        }
        | (_page(service, made.request.id) if page is not None else {})
    )


def _page(service: OtpService, request_id: str) -> dict[str, Any]:
    """How a browser comes to the page of a request that has one."""
    token = service.rules.keys.page_token(request_id)
    return {"page_url": f"{service.public_url}/c/{token}", "client_token": token}


def _page_again(service: OtpService, body: schemas.RequestBody, told: dict[str, Any]) -> dict[str, Any]:
    return _page(service, told["request_id"]) if "page" in body.model_fields_set else {}


def link(channel: Channel, bot: str | None, request_id: str) -> str | None:
    """The deep link of a request, where there is a bot."""
    return LINKS[channel].format(bot=bot, id=request_id) if bot else None


def _context(body: schemas.SendBody | schemas.RequestBody) -> Context | None:
    """Who is asking; nothing where nothing was said."""
    if "context" not in body.model_fields_set:
        return None
    said = body.context.model_dump(exclude_unset=True)
    return Context(**said) if said else None


def _terms(policy: Policy, body: schemas.SendBody | schemas.RequestBody) -> CodeTerms:
    """What is asked of the code, under the operator's cap."""
    given = "ttl_minutes" in body.model_fields_set
    if given and body.ttl_minutes > policy.max_ttl_minutes:
        raise InvalidField(
            "ttl_minutes", f"Input should be less than or equal to {policy.max_ttl_minutes}, the cap set here"
        )
    if body.code_length < policy.shortest_code:
        allowed = " or ".join(str(length) for length in LENGTHS if length >= policy.shortest_code)
        raise InvalidField("code_length", f"Input should be {allowed} here")
    ttl_minutes = body.ttl_minutes if given else policy.default_ttl_minutes
    return CodeTerms(body.purpose, ttl_minutes, body.max_attempts, body.code_length)


OPERATIONS: Final = (
    Operation(
        "sendCode",
        "POST",
        "/v1/otp/send",
        "Send a code to a subscriber",
        "Generates a code and sends it. Answers only after the messenger took the message.",
        (schemas.Sent,),
        (
            "subscriber_not_found",
            "send_in_progress",
            "subscriber_locked",
            "too_many_purposes",
            "rate_limited",
            "delivery_failed",
            "delivery_unknown",
            "messenger_unavailable",
        ),
        _send,
        schemas.SendBody,
        check=_terms,
        later=Later(_claim, _sent, _follow),
    ),
    Operation(
        "verifyCode",
        "POST",
        "/v1/otp/verify",
        "Verify what a person entered",
        "A code is accepted at most once. Only this call authenticates anybody.",
        (schemas.Verified, schemas.NotVerified),
        (),
        _verify,
        schemas.VerifyBody,
    ),
    Operation(
        "requestCode",
        "POST",
        "/v1/otp/request",
        "Ask for a code for somebody who may not be subscribed",
        "Creates deep links. Show one to the person, poll the status, then verify with the subscriber_id it tells.",
        (schemas.Requested,),
        (
            "channel_unavailable",
            "phone_unavailable",
            "page_unavailable",
            "return_url_refused",
            "messenger_unavailable",
        ),
        _request,
        schemas.RequestBody,
        body_optional=True,
        check=_terms,
        told_once=("page_url", "client_token"),
        told_anew=_page_again,
    ),
    Operation(
        "cancelRequest",
        "POST",
        "/v1/otp/request/{request_id}/cancel",
        "Cancel a request",
        "Ends a pending request; whoever was asked about it in the chat is told. The same again says the same.",
        (schemas.Cancelled,),
        ("request_not_found", "request_not_pending", "send_in_progress"),
        withdrawals.cancel,
        schemas.CancelBody,
        body_optional=True,
    ),
    Operation(
        "revokeCode",
        "POST",
        "/v1/otp/revoke",
        "Revoke a subscriber's live code",
        "The code works no more, and its message says so.",
        (schemas.Revoked,),
        ("subscriber_not_found", "send_in_progress"),
        withdrawals.revoke,
        schemas.RevokeBody,
    ),
    Operation(
        "requestStatus",
        "GET",
        "/v1/otp/request/{request_id}/status",
        "What became of a request",
        "Answers at once; with `wait` at the change, or after so many seconds as it is. With `Accept: text/event-stream`: "
        "the state and each change of it as server-sent events, up to a final status. `sent`: a code was delivered; it "
        "authenticates nobody.",
        (schemas.Status,),
        ("validation_failed", "request_not_found"),
        run=None,
    ),
    Operation(
        "readSubscriber",
        "GET",
        subscribers.PATH,
        "Who a subscriber is",
        "Of somebody who left there is nothing to be read.",
        (schemas.SubscriberState,),
        ("subscriber_not_found",),
        subscribers.read,
    ),
    Operation(
        "forgetSubscriber",
        "DELETE",
        subscribers.PATH,
        "Unsubscribe somebody and forget them",
        "Nothing about the person stays, and their codes are dead. One who comes back has another id.",
        (schemas.Forgotten,),
        ("subscriber_not_found",),
        subscribers.forget,
    ),
)
