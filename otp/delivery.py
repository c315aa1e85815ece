"""How one code message gets from the wish to its outcome: the rules, as operations on a transaction.

`claimed -> attempting -> accepted | refused | unknown`, each step committed before the next begins; only `/send` may be
claimed and begun in one commit. What certainly did not arrive goes back to `claimed` while there is time; what may have
arrived is never sent again by us.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from otp import stage
from otp.accounts import reached
from otp.codes import KeyRing, given_seed
from otp.events import (
    CLOSE_MESSAGE,
    DeliveryClaimed,
    DeliverySettled,
    PhoneAsked,
    RequestFinished,
    SubscriberLeft,
)
from otp.lifecycle import status_at
from otp.model import (
    Cause,
    Code,
    CodeTerms,
    Context,
    Delivery,
    DeliveryState,
    Ending,
    MessageKind,
    Parcel,
    Person,
    Project,
    Refusal,
    Request,
    RequestStatus,
    SentMessage,
    Subscriber,
)
from otp.policy import (
    MAX_PURPOSES,
    MIN_ATTEMPT_MS,
    MINUTE_MS,
    ORPHAN_MS,
    PHONE_CHANNELS,
    SEND_PATIENCE_MS,
    WORTH_SENDING_MS,
    Policy,
    backoff_ms,
    by_tap,
    wait_for_room,
    whole_minutes,
)
from otp.ports import Accepted, NotSent, Outcome, Randomness, Refused, Seals, Tx, Unknown
from otp.values import value


@value
class Rules:
    """What deliveries are decided with."""

    policy: Policy
    keys: KeyRing
    randomness: Randomness
    seals: Seals


# ------------------------------------------------------------------ claiming


@value
class NoRoom:
    """The send window is full for so many milliseconds."""

    wait_ms: int


@value
class Busy:
    """Another delivery for the same subscriber and purpose is under way."""

    delivery: Delivery


class TooMany:
    """Five purposes are alive already."""


Claim = Delivery | NoRoom | Busy | TooMany


async def claim(  # noqa: PLR0913  # all that a delivery is made of
    tx: Tx,
    rules: Rules,
    sub: Subscriber,
    terms: CodeTerms,
    cause: Cause,
    request: Request | None = None,
    code: Code | None = None,
    context: Context | None = None,
    *,
    at_once: bool = False,
    patience_ms: int = SEND_PATIENCE_MS,
    given: str | None = None,
) -> Claim:
    """Wish for a code message to a subscriber, if the limits have room for it: a new code, or `code` once more.

    `at_once` begins the first attempt in the same transaction; a `/send` is given up after `patience_ms`. `given` is the
    site's own code: it is handed on in memory alone, so only this process can attempt it.
    """
    terms = terms if code or given else rules.policy.within(terms)
    under_way = await settle_orphan(tx, rules, await tx.under_way(sub.id, terms.purpose))
    if under_way is not None:
        return Busy(under_way)
    if given is None and await _too_many(tx, sub, terms.purpose):
        return TooMany()
    wait = await room(tx, rules.policy, sub, cause)
    if wait is not None:
        return NoRoom(wait)
    delivery = _new_delivery(
        tx.now, rules, sub, terms, cause, request, code, context, patience_ms=patience_ms, given=given
    )
    if not await tx.claim(delivery):
        other = await tx.under_way(sub.id, terms.purpose)
        return Busy(other or delivery)
    project = await tx.project(delivery.project_id) if at_once else None
    parcel = await _attempt(tx, rules, delivery, project, sub, given) if project is not None else None
    played = sub.person.is_played
    tx.emit(DeliveryClaimed(delivery.id, sub.person.channel, cause, parcel, played=played, given=given))
    return parcel.delivery if parcel else delivery


async def _too_many(tx: Tx, sub: Subscriber, purpose: str) -> bool:
    """Whether no code for another purpose has room. Codes that are not ours live elsewhere."""
    alive = {one for one in await tx.purposes_alive(sub.id) if "." not in one}
    return purpose not in alive and len(alive) >= MAX_PURPOSES


async def room(tx: Tx, policy: Policy, sub: Subscriber, cause: Cause) -> int | None:
    """Milliseconds until the subscriber may get another message of this kind; None when now."""
    role = stage.role(sub.person)
    if role is not None:
        return policy.send_window_ms if role is stage.Role.LIMITED else None
    spent = await tx.spent(sub.id, by_tap=by_tap(cause), since=tx.now - policy.send_window_ms)
    return wait_for_room(spent, limit=policy.send_limit, window_ms=policy.send_window_ms, now=tx.now)


def _new_delivery(  # noqa: PLR0913  # as above
    now: int,
    rules: Rules,
    sub: Subscriber,
    terms: CodeTerms,
    cause: Cause,
    request: Request | None,
    code: Code | None,
    context: Context | None,
    *,
    patience_ms: int,
    given: str | None,
) -> Delivery:
    if code is not None:
        seed = code.seed
    elif given is not None:
        seed = given_seed(given)
    else:
        seed = rules.keys.new_seed(terms.length, rules.randomness, sub.person)
    by = code.expires_at if code is not None and request is None and by_tap(cause) else now + patience_ms
    return Delivery(
        id=_ordered_id(now, rules.randomness),
        project_id=sub.project_id,
        subscriber_id=sub.id,
        person=sub.person,
        request_id=request.id if request else None,
        cause=cause,
        terms=terms,
        seed=seed,
        code_id=code.id if code else _ordered_id(now, rules.randomness),
        reuses=code is not None,
        state=DeliveryState.CLAIMED,
        refusal=None,
        tries=0,
        claimed_at=now,
        due_at=now,
        give_up_at=request.expires_at if request else by,
        attempted_at=None,
        context=request.context if request else context,
    )


def _ordered_id(now: int, randomness: Randomness) -> str:
    """A UUID of version 7, which begins with the time: what is written together lies together in every index."""
    drawn = bytearray(now.to_bytes(6, "big") + randomness.bytes(10))
    drawn[6] = 0x70 | drawn[6] & 0x0F
    drawn[8] = 0x80 | drawn[8] & 0x3F
    return str(UUID(bytes=bytes(drawn)))


async def living_code(
    tx: Tx, rules: Rules, sub: Subscriber, terms: CodeTerms, request: Request
) -> Code | None:
    """The request's own code, if it lives and can be told: what "Send again" repeats."""
    code = await tx.code(sub.id, terms.purpose)
    if code is None or code.request_id != request.id or rules.keys.digits(code.seed) is None:
        return None
    return code


# ---------------------------------------------------------------- attempting


async def begin(tx: Tx, rules: Rules, delivery_id: str, given: str | None = None) -> Parcel | Delivery | None:
    """Begin an attempt and return what is to be handed over; or the delivery as it is, when none is due now.

    `given` as in `claim`. Without it a code that is not ours is lost, and certainly not sent: the site may try again.
    """
    delivery = await tx.delivery(delivery_id)
    if await settle_orphan(tx, rules, delivery) is None:
        return await tx.delivery(delivery_id)
    if delivery is None or delivery.state is not DeliveryState.CLAIMED:
        return delivery
    project = await tx.project(delivery.project_id)
    sub = await tx.subscriber_by_id(delivery.subscriber_id)
    refusal = await _hindrance(tx, delivery, project, sub)
    known = given is not None or rules.keys.knows(delivery.seed)
    if refusal is not None or project is None or sub is None or not known:
        lost = Refusal.WITHDRAWN if delivery.terms.given_for is None else Refusal.UNAVAILABLE
        return await _settle(tx, rules, delivery, DeliveryState.REFUSED, refusal or lost, sub)
    if tx.now < delivery.due_at:
        return delivery
    return await _attempt(tx, rules, delivery, project, sub, given) or await tx.delivery(delivery_id)


async def _attempt(
    tx: Tx, rules: Rules, delivery: Delivery, project: Project, sub: Subscriber, given: str | None
) -> Parcel | None:
    """Begin an attempt that nothing hinders; None when somebody else did."""
    delivery = await _fresh_if_dead(tx, rules, delivery)
    if not await tx.step(delivery.id, DeliveryState.CLAIMED, DeliveryState.ATTEMPTING):
        return None
    started = replace(delivery, state=DeliveryState.ATTEMPTING, tries=delivery.tries + 1, attempted_at=tx.now)
    digits, minutes = given or rules.keys.digits(started.seed) or "", await _minutes_left(tx, started)
    return Parcel(started, digits, project, sub.language, minutes)


async def _fresh_if_dead(tx: Tx, rules: Rules, delivery: Delivery) -> Delivery:
    """A press of "Send again" may wait longer than the code lives: then a new code goes out in its place."""
    if not delivery.reuses:
        return delivery
    ends_at = await tx.code_end(delivery.code_id)
    if ends_at is not None and ends_at >= tx.now + WORTH_SENDING_MS:
        return delivery
    seed, code_id = (
        rules.keys.new_seed(delivery.terms.length, rules.randomness, delivery.person),
        _ordered_id(tx.now, rules.randomness),
    )
    await tx.reseed(delivery.id, seed, code_id)
    return replace(delivery, seed=seed, code_id=code_id, reuses=False)


async def _hindrance(
    tx: Tx, delivery: Delivery, project: Project | None, sub: Subscriber | None
) -> Refusal | None:
    """Why this message must not be sent any more, if so."""
    if project is None or not project.enabled or sub is None or not sub.subscribed or sub.locked:
        return Refusal.WITHDRAWN
    if delivery.request_id is not None:
        request = await tx.request(delivery.request_id)
        if request is None or request.status is not RequestStatus.PENDING:
            return Refusal.WITHDRAWN
    if tx.now + MIN_ATTEMPT_MS > delivery.give_up_at:
        return Refusal.UNAVAILABLE
    return None


async def _minutes_left(tx: Tx, delivery: Delivery) -> int:
    if delivery.reuses:
        code = await tx.code(delivery.subscriber_id, delivery.terms.purpose)
        if code is not None and code.id == delivery.code_id:
            return whole_minutes(code.expires_at - tx.now)
    return delivery.terms.ttl_minutes


# ------------------------------------------------------------------ outcomes


async def record(tx: Tx, rules: Rules, delivery_id: str, outcome: Outcome) -> Delivery | None:
    """Write down what became of an attempt; the delivery as it is then.

    When somebody settled the attempt meanwhile (it took too long), their word stands.
    """
    delivery = await tx.delivery(delivery_id)
    if delivery is None or delivery.state is not DeliveryState.ATTEMPTING:
        return delivery
    match outcome:
        case Accepted(message_id):
            await tx.add_message(_code_message(delivery), message_id)
            return await _accept(tx, rules, delivery)
        case Unknown():
            return await _settle_unknown(tx, rules, delivery)
        case Refused(reason):
            if reason is Refusal.GONE:
                await leave_all(tx, rules, delivery.person)
            return await _settle(tx, rules, delivery, DeliveryState.REFUSED, reason)
        case NotSent(retry_after_ms):
            return await _try_again(tx, rules, delivery, retry_after_ms)


async def _try_again(tx: Tx, rules: Rules, delivery: Delivery, retry_after_ms: int) -> Delivery:
    due_at = tx.now + max(retry_after_ms, backoff_ms(delivery.tries))
    if due_at + MIN_ATTEMPT_MS > delivery.give_up_at:
        late = replace(delivery, due_at=due_at)
        return await _settle(tx, rules, late, DeliveryState.REFUSED, Refusal.UNAVAILABLE)
    await tx.step(delivery.id, DeliveryState.ATTEMPTING, DeliveryState.CLAIMED, due_at=due_at)
    return replace(delivery, state=DeliveryState.CLAIMED, due_at=due_at)


async def _accept(tx: Tx, rules: Rules, delivery: Delivery) -> Delivery:
    sub = await tx.subscriber_by_id(delivery.subscriber_id)
    shared = await tx.lock_accounts(delivery.subscriber_id)
    expires_at = tx.now + delivery.terms.ttl_minutes * MINUTE_MS
    ends_at = await _activate(tx, delivery, sub, expires_at)
    if delivery.terms.given_for is not None:
        ends_at = expires_at
    await reached(tx, delivery.subscriber_id, shared=shared)
    if delivery.request_id is not None:
        request = await tx.request(delivery.request_id)
        if request is not None:
            end = status_at(request, delivery, tx.now)
            end = RequestStatus.SENT if end is RequestStatus.PENDING else end
            finished = await finish(tx, request, end, delivery.subscriber_id)
            if finished and end is RequestStatus.SENT:
                await _ask_number(tx, request, sub)
    # The newest message of a code is the one that lives; it is closed when the code ends, at the latest by time.
    if delivery.reuses:
        await tx.end_messages(delivery.code_id, Ending.REPEATED, but=delivery.id)
        ends_at = await tx.code_end(delivery.code_id)
    await tx.ensure_job(CLOSE_MESSAGE, delivery.id, tx.now if ends_at is None else ends_at)
    return await _settle(tx, rules, delivery, DeliveryState.ACCEPTED, None, sub)


async def _ask_number(tx: Tx, request: Request, sub: Subscriber | None) -> None:
    """The code is in the chat: now the person may be asked for their number, which delays nobody."""
    if (
        not request.asks_phone
        or sub is None
        or not sub.subscribed
        or sub.person.channel not in PHONE_CHANNELS
    ):
        return
    await tx.ask_number(request.id, sub)
    tx.emit(PhoneAsked(request.id, sub))


def _code_message(delivery: Delivery) -> SentMessage:
    """The row of the message that a delivery brings, by the same id: what the buttons under it act by."""
    return SentMessage(
        delivery.id,
        delivery.person,
        MessageKind.CODE,
        delivery.request_id,
        delivery.subscriber_id,
        delivery.id,
        delivery.code_id,
    )


async def _settle_unknown(tx: Tx, rules: Rules, delivery: Delivery) -> Delivery:
    """It may be on the screen: then its buttons must act, "It wasn't me" above all."""
    await tx.add_message(_code_message(delivery))
    sub = await tx.subscriber_by_id(delivery.subscriber_id)
    attempted_at = delivery.attempted_at if delivery.attempted_at is not None else delivery.claimed_at
    shared = await tx.lock_accounts(delivery.subscriber_id)
    await _activate(tx, delivery, sub, attempted_at + delivery.terms.ttl_minutes * MINUTE_MS)
    await reached(tx, delivery.subscriber_id, shared=shared, certainly=False)
    return await _settle(tx, rules, delivery, DeliveryState.UNKNOWN, None, sub)


async def _activate(tx: Tx, delivery: Delivery, sub: Subscriber | None, expires_at: int) -> int | None:
    """The new code lives until then and the older one is dead; None for a code that lives already, or never does.

    The person may have left, or been locked, or the project stopped meanwhile. A code that is not ours never lives here.
    """
    project = await tx.project(delivery.project_id)
    if (
        delivery.reuses
        or delivery.terms.given_for is not None
        or sub is None
        or not sub.subscribed
        or sub.locked
        or project is None
        or not project.enabled
    ):
        return None
    await tx.put_code(
        Code(
            id=delivery.code_id,
            subscriber_id=delivery.subscriber_id,
            request_id=delivery.request_id,
            terms=delivery.terms,
            seed=delivery.seed,
            attempts=0,
            expires_at=expires_at,
        )
    )
    return expires_at


async def settle_orphan(tx: Tx, rules: Rules, delivery: Delivery | None) -> Delivery | None:
    """The delivery, unless its attempt has had no result for so long that its outcome is unknown: then None."""
    if delivery is None or delivery.state is not DeliveryState.ATTEMPTING or not is_over(delivery, tx.now):
        return delivery
    held = await tx.delivery(delivery.id)  # it may have been found without its lock, and settled since
    if held is not None and held.state is DeliveryState.ATTEMPTING:
        await _settle_unknown(tx, rules, held)
        return None
    return held if held is not None and held.state is DeliveryState.CLAIMED else None


def is_over(delivery: Delivery, now: int) -> bool:
    """Whether the time of a delivery under way is over, so that whoever carried it is dead or about to say so."""
    if delivery.state is DeliveryState.CLAIMED:
        return now >= delivery.give_up_at
    attempting = delivery.state is DeliveryState.ATTEMPTING and delivery.attempted_at is not None
    return attempting and now >= (delivery.attempted_at or 0) + ORPHAN_MS


async def settle_over(tx: Tx, rules: Rules, delivery_id: str) -> Delivery | None:
    """How a delivery is, once what is over has come to its end: certainly not sent, or unknown."""
    delivery = await tx.delivery(delivery_id)
    if delivery is None or not is_over(delivery, tx.now):
        return delivery
    if delivery.state is DeliveryState.CLAIMED:
        return await withdraw(tx, rules, delivery, Refusal.UNAVAILABLE)
    return await _settle_unknown(tx, rules, delivery)


async def _settle(
    tx: Tx,
    rules: Rules,
    delivery: Delivery,
    state: DeliveryState,
    refusal: Refusal | None,
    sub: Subscriber | None = None,
) -> Delivery:
    """The last step of a delivery, with the "Send again" message that belongs to a failure the person waits on."""
    await tx.step(delivery.id, delivery.state, state, refusal=refusal)
    settled = replace(delivery, state=state, refusal=refusal)
    offer = await _offer(tx, rules, settled)
    project = await tx.project(delivery.project_id)
    sub = sub or await tx.subscriber_by_id(delivery.subscriber_id)
    mode = sub.mode if sub else None
    tx.emit(DeliverySettled(settled, project, sub.language if sub else "", offer, mode))
    return settled


async def _offer(tx: Tx, rules: Rules, delivery: Delivery) -> SentMessage | None:
    waits = delivery.state is DeliveryState.UNKNOWN or delivery.refusal in (
        Refusal.REJECTED,
        Refusal.UNAVAILABLE,
    )
    if delivery.request_id is None or not waits:
        return None
    request = await tx.request(delivery.request_id)
    if request is None or status_at(request, None, tx.now) is not RequestStatus.PENDING:
        return None
    return await note_message(tx, rules, delivery.person, MessageKind.OFFER, request.id)


# ------------------------------------------------------------------ together


async def note_message(
    tx: Tx,
    rules: Rules,
    person: Person,
    kind: MessageKind,
    request_id: str | None = None,
    subscriber_id: str | None = None,
    language: str | None = None,
) -> SentMessage:
    """Note a message that is about to be sent, so that its buttons act for this person."""
    message = SentMessage(
        rules.randomness.text(16),
        person,
        kind,
        request_id=request_id,
        subscriber_id=subscriber_id,
        language=language,
    )
    await tx.add_message(message)
    return message


async def finish(tx: Tx, request: Request, status: RequestStatus, subscriber_id: str | None = None) -> bool:
    """End a pending request, once."""
    known = subscriber_id if status is RequestStatus.SENT else None
    if not await tx.finish(request.id, status, known):
        return False
    tx.emit(RequestFinished(request.id, request.project_id, status, request))
    return True


async def withdraw(tx: Tx, rules: Rules, delivery: Delivery, refusal: Refusal) -> Delivery:
    """Give up a claimed delivery."""
    return await _settle(tx, rules, delivery, DeliveryState.REFUSED, refusal)


async def leave(tx: Tx, rules: Rules, sub: Subscriber) -> None:
    """Unsubscribe: live codes die with it, their number is erased, and what was not yet attempted is withdrawn."""
    if not await tx.set_subscribed(sub.id, False):
        return
    await tx.kill_codes(sub.id, Ending.WITHDRAWN)
    await tx.drop_numbers(sub.id)
    for delivery in await tx.claimed_for(sub.id):
        await withdraw(tx, rules, delivery, Refusal.WITHDRAWN)
    tx.emit(SubscriberLeft(replace(sub, subscribed=False)))


async def leave_all(tx: Tx, rules: Rules, person: Person) -> None:
    """Unsubscribe a person from everything."""
    for sub, _ in await tx.subscriptions(person):
        await leave(tx, rules, sub)
