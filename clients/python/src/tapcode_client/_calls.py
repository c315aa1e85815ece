"""Every operation of the API, once for both clients: from arguments to a `Task`. Only `_client` imports this."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeVar

from tapcode_client._core import Call, Pause, Rules, Steps
from tapcode_client._reading import Fields
from tapcode_client.errors import ConnectionFailed, RateLimited, Unavailable, UnreadableAnswer
from tapcode_client.results import (
    Channel,
    CodeRequest,
    Context,
    EventPage,
    EventType,
    Page,
    RotatedSecret,
    Sent,
    Status,
    Subscriber,
    Verification,
    Webhook,
)

T = TypeVar("T")

LONGEST_WAIT = 25
"""Seconds of one long poll; the service allows 30, proxies often cut at 30."""
GRACE = 10.0
"""Seconds that a long poll may take beyond its wait."""
SHORTEST_ROUND = 1.0
"""Seconds between two reads of a status that stays pending, also when the service answers at once (it is stopping)."""


def request(
    *,
    channel: Channel | Literal["auto"] | None = None,
    ttl_minutes: int | None = None,
    max_attempts: int | None = None,
    code_length: Literal[4, 6, 8] | None = None,
    purpose: str | None = None,
    context: Context | Mapping[str, str] | None = None,
    external_id: str | None = None,
    match: bool = False,
    page: Page | None = None,
    phone: Literal["ask"] | None = None,
    idempotency_key: str | None = None,
) -> Call[CodeRequest]:
    """Ask for a code for somebody who may not be subscribed; show the `links`, or send them to the `page`.

    `channel`: only this messenger; `auto`: those that work.
    """
    return _post(
        "/v1/otp/request",
        CodeRequest.read,
        idempotency_key,
        channel=channel,
        ttl_minutes=ttl_minutes,
        max_attempts=max_attempts,
        code_length=code_length,
        purpose=purpose,
        context=_fields(context),
        external_id=external_id,
        match=match or None,
        page=_fields(page),
        phone=phone,
    )


def status(request_id: str) -> Call[Status]:
    """What became of a request, as it is now. Raises RequestNotFound."""
    return Call("GET", f"/v1/otp/request/{_id(request_id)}/status", Status.read)


@dataclass(frozen=True, slots=True)
class Wait:
    """Long polls until a request is not pending any more."""

    request_id: str
    timeout: float

    def steps(self, rules: Rules) -> Steps[Status]:
        """Reads of the status; what passes (no connection, 429, 503) is waited out as long as the timeout allows."""
        until = rules.clock() + max(0.0, self.timeout)
        last: Status | None = None
        while True:
            began = rules.clock()
            wait = min(LONGEST_WAIT, int(until - began))
            try:
                last = yield from self._read(rules, wait, until)
            except (ConnectionFailed, RateLimited, Unavailable, UnreadableAnswer):
                if last is None:
                    raise
                return last
            now = rules.clock()
            if last.status != "pending" or until - now <= SHORTEST_ROUND:
                return last
            if now - began < SHORTEST_ROUND:
                yield Pause(SHORTEST_ROUND - (now - began))

    def _read(self, rules: Rules, wait: int, until: float) -> Steps[Status]:
        query = {"wait": str(wait)} if wait >= 1 else {}
        call = Call("GET", status(self.request_id).path, Status.read, query=query)
        return call.attempts(rules, timeout=wait + GRACE, until=until, retries=float("inf"), grace=GRACE)


def wait_until_sent(request_id: str, timeout: float = 25.0) -> Wait:
    """Wait up to `timeout` seconds for the change; the status then: `sent`, `cancelled`, `expired`, or `pending` still.

    Call it again while it is pending. Raises RequestNotFound at once, and the last failure when nothing
    could be read at all.
    """
    _id(request_id)
    return Wait(request_id, timeout)


def send(
    subscriber_id: str | None = None,
    *,
    external_id: str | None = None,
    ttl_minutes: int | None = None,
    max_attempts: int | None = None,
    code_length: Literal[4, 6, 8] | None = None,
    purpose: str | None = None,
    context: Context | Mapping[str, str] | None = None,
    reuse: bool = False,
    idempotency_key: str | None = None,
) -> Call[Sent]:
    """Send a code straight into the chat of somebody known: of a `subscriber_id` or of an `external_id`.

    Raises SubscriberNotFound, SubscriberLocked, SendInProgress, RateLimited, DeliveryUnknown, DeliveryFailed.
    """
    return _post(
        "/v1/otp/send",
        Sent.read,
        idempotency_key,
        subscriber_id=subscriber_id,
        external_id=external_id,
        ttl_minutes=ttl_minutes,
        max_attempts=max_attempts,
        code_length=code_length,
        purpose=purpose,
        context=_fields(context),
        reuse=reuse or None,
    )


def verify(
    code: str,
    *,
    subscriber_id: str | None = None,
    external_id: str | None = None,
    request_id: str | None = None,
    purpose: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Verification]:
    """Judge what the person typed, as they typed it. Always pass `request_id` when there was a request."""
    return _post(
        "/v1/otp/verify",
        Verification.read,
        idempotency_key,
        code=code,
        subscriber_id=subscriber_id,
        external_id=external_id,
        request_id=request_id,
        purpose=purpose,
    )


def cancel(request_id: str, *, idempotency_key: str | None = None) -> Call[None]:
    """End a pending request. Raises RequestNotPending, SendInProgress, RequestNotFound."""
    return _post(f"/v1/otp/request/{_id(request_id)}/cancel", _nothing, idempotency_key)


def revoke(
    subscriber_id: str, *, purpose: str | None = None, idempotency_key: str | None = None
) -> Call[bool]:
    """End the code that lives; whether there was one. Raises SubscriberNotFound, SendInProgress."""
    return _post("/v1/otp/revoke", _revoked, idempotency_key, subscriber_id=subscriber_id, purpose=purpose)


def get_subscriber(subscriber_id: str) -> Call[Subscriber]:
    """Channel, language, consent, lock and account of somebody. Raises SubscriberNotFound."""
    return Call("GET", f"/v1/subscribers/{_id(subscriber_id)}", Subscriber.read)


def delete_subscriber(subscriber_id: str) -> Call[None]:
    """Unsubscribe and forget. Raises SubscriberNotFound when there is nobody to forget."""
    return _delete(f"/v1/subscribers/{_id(subscriber_id)}")


def create_webhook(
    url: str,
    *,
    events: Sequence[EventType] | None = None,
    description: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Webhook]:
    """Have events sent to an address; keep the `secret` of the answer, it is told only now.

    `secret` is None when the answer got lost and came again: delete the webhook, and create it anew.
    """
    listed = None if events is None else list(events)
    return _post(
        "/v1/webhooks", Webhook.read, idempotency_key, url=url, events=listed, description=description
    )


def list_webhooks() -> Call[tuple[Webhook, ...]]:
    """All webhooks, oldest first."""
    return Call("GET", "/v1/webhooks", _webhooks)


def delete_webhook(webhook_id: str) -> Call[None]:
    """Send nothing there any more. Raises WebhookNotFound."""
    return _delete(f"/v1/webhooks/{_id(webhook_id)}")


def rotate_webhook_secret(webhook_id: str, *, idempotency_key: str | None = None) -> Call[RotatedSecret]:
    """Sign with a new secret, and for 24 hours with the old one too. Raises WebhookNotFound."""
    return _post(f"/v1/webhooks/{_id(webhook_id)}/rotate-secret", RotatedSecret.read, idempotency_key)


def enable_webhook(webhook_id: str, *, idempotency_key: str | None = None) -> Call[Webhook]:
    """Switch a webhook on again. Raises WebhookNotFound."""
    return _post(f"/v1/webhooks/{_id(webhook_id)}/enable", Webhook.read, idempotency_key)


def list_events(
    *,
    webhook_id: str | None = None,
    status: Literal["pending", "delivered", "failed"] | None = None,
    before: str | None = None,
    limit: int | None = None,
) -> Call[EventPage]:
    """A page of events, newest first; go on with `before=page.next`."""
    given = {"webhook_id": webhook_id, "status": status, "before": before, "limit": limit}
    query = {name: str(value) for name, value in given.items() if value is not None}
    return Call("GET", "/v1/events", EventPage.read, query=query)


def redeliver_event(
    event_id: str, *, webhook_id: str | None = None, idempotency_key: str | None = None
) -> Call[int]:
    """Tell an event once more; how many webhooks will hear of it. Raises EventNotFound, WebhookDisabled."""
    return _post(f"/v1/events/{_id(event_id)}/redeliver", _heard_by, idempotency_key, webhook_id=webhook_id)


def play_consent(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the person presses "Get the code". Raises RequestNotPending."""
    return _play(request_id, "consent", idempotency_key)


def play_cancel(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the person presses "Cancel". Raises RequestNotPending."""
    return _play(request_id, "cancel", idempotency_key)


def play_report(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the person presses "It wasn't me" under the code. Raises RequestNotPending."""
    return _play(request_id, "report", idempotency_key)


def play_phone(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the person shares their number, which the next `status` tells. Raises RequestNotPending."""
    return _play(request_id, "phone", idempotency_key)


def play_skip(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the person keeps their number to themselves. Raises RequestNotPending."""
    return _play(request_id, "skip", idempotency_key)


def play_expire(request_id: str, *, idempotency_key: str | None = None) -> Call[Status]:
    """Test mode: the 15 minutes of the links are over. Raises RequestNotPending."""
    return _play(request_id, "expire", idempotency_key)


# ---- how they are made


def _play(request_id: str, act: str, idempotency_key: str | None) -> Call[Status]:
    return _post(f"/v1/test/request/{_id(request_id)}/{act}", Status.read, idempotency_key)


def _post(path: str, read: Callable[[Fields], T], idempotency_key: str | None, **fields: Any) -> Call[T]:
    """A POST; fields that are None are left out, as null is not the same as leaving out."""
    if idempotency_key is not None and re.fullmatch(r"[!-~]{1,255}", idempotency_key) is None:
        raise ValueError("an idempotency_key is 1-255 visible ASCII characters")
    body = {name: value for name, value in fields.items() if value is not None}
    return Call("POST", path, read, body=body, idempotency_key=idempotency_key)


def _delete(path: str) -> Call[None]:
    return Call("DELETE", path, _nothing, gone_is_done=True)


def _fields(value: Context | Page | Mapping[str, str] | None) -> Mapping[str, str] | None:
    """As they go over the wire. The service judges names and values, also of a mapping."""
    if value is None:
        return None
    if isinstance(value, Context | Page):
        return {name: one for name, one in asdict(value).items() if one is not None}
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError("context is a Context, or a mapping of its fields; page is a Page")


def _id(value: str) -> str:
    """An id that goes into a path: nothing that could lead to another one."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value) is None:
        raise ValueError("an id is 1-64 of A-Z a-z 0-9 _ -")
    return value


def _nothing(_: Fields) -> None:
    return None


def _revoked(told: Fields) -> bool:
    return told.flag("revoked")


def _heard_by(told: Fields) -> int:
    return told.integer("webhooks")


def _webhooks(told: Fields) -> tuple[Webhook, ...]:
    return tuple(Webhook.read(one) for one in told.all("webhooks"))
