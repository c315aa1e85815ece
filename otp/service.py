"""What a site can ask for: request, status, send, verify. One store call each."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import field
from enum import StrEnum
from typing import Final

from otp import codes, pages, pairing, stage
from otp.accounts import link
from otp.channels import AUTO, Auto, Bots, Health, health, offered, rehearsed
from otp.courier import Courier
from otp.delivery import Busy, NoRoom, Rules, TooMany, claim, finish, is_over, settle_orphan, settle_over
from otp.errors import (
    ChannelUnavailable,
    DeliveryFailed,
    DeliveryUnknown,
    InvalidField,
    MessengerUnavailable,
    PageUnavailable,
    PhoneUnavailable,
    ProjectDisabled,
    RateLimited,
    RequestNotFound,
    RequestNotPending,
    SendInProgress,
    SubscriberLocked,
    SubscriberNotFound,
    TooManyPurposes,
)
from otp.events import CodeVerified, RequestCreated, WrongCode
from otp.events import SubscriberLocked as Locked
from otp.idempotency import CallKeys
from otp.lifecycle import REQUEST_ID, is_forgotten, status_at, turns_at, under_way
from otp.model import (
    Caller,
    Cause,
    Channel,
    Code,
    CodeTerms,
    Context,
    Delivery,
    DeliveryState,
    Ending,
    Match,
    Mode,
    Refusal,
    Request,
    RequestPage,
    RequestStatus,
    Subscriber,
)
from otp.policy import (
    DEFAULT_PURPOSE,
    ORPHAN_MS,
    PHONE_CHANNELS,
    REQUEST_LIFE_MS,
    SECOND_MS,
    SEND_PATIENCE_MS,
    Policy,
    whole_seconds,
)
from otp.ports import About, Randomness, Store, Tx
from otp.values import value
from otp.withdrawal import cancel_for_site

MATCH_CHOICES: Final = 3
MATCH_NUMBERS: Final = 90
"""The two-digit numbers from 10 to 99."""
REQUEST_ID_LENGTH: Final = 16
AGAIN_SECONDS: Final = 5
"""When to try again a messenger that did not say when."""


class Reason(StrEnum):
    """Why a code was not accepted, decided in this order."""

    LOCKED = "locked"
    NO_ACTIVE_CODE = "no_active_code"
    MALFORMED_CODE = "malformed_code"
    WRONG_CODE = "wrong_code"


@value
class Verdict:
    """The answer to a guess. `reason` is None exactly when the code was accepted."""

    reason: Reason | None
    attempts_left: int = 0


@value
class NewRequest:
    """A request and the bots' names that its links need; None for a channel that is off or not asked for."""

    request: Request
    bots: dict[Channel, str | None]
    channels: dict[Channel, Health]
    """How each messenger is."""


@value
class RequestState:
    """What a site may know of its request."""

    status: RequestStatus
    subscriber_id: str | None
    channel: Channel | None
    reported: bool
    created_at: int = 0
    expires_at: int = 0
    sent_at: int | None = None
    verified_at: int | None = None
    phone_pending: bool = False
    """The person is asked for their phone number, and has not answered."""
    has_phone: bool = False
    """The person shared it; it was not told yet (`otp.phones`)."""
    proof: str | None = field(default=None, repr=False)
    """Of the browser in which the code was entered, once it was accepted and where there is a hosted page."""
    lasts_ms: int | None = field(default=None, compare=False)
    """Until it may be another one by time alone; None when time changes it no more."""


class OtpService:
    """The use cases of the API."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        courier: Courier,
        bots: Bots,
        *,
        rehearses: bool = False,
        public_url: str | None = None,
    ) -> None:
        """`rehearses`: keys of test mode get the cast of `otp.stage`. `public_url`: where browsers reach us."""
        self._store = store
        self.public_url = public_url
        self._rehearses = rehearses
        self._rules = rules
        self._courier = courier
        self._bots = bots
        self.judged: Callable[[Mode, Verdict], None] | None = None
        """Told what came of each guess, where somebody counts them."""

    @property
    def store(self) -> Store:
        """Where all is kept."""
        return self._store

    @property
    def rules(self) -> Rules:
        """What is decided with."""
        return self._rules

    @property
    def policy(self) -> Policy:
        """The limits in force."""
        return self._rules.policy

    @property
    def channels(self) -> list[Channel]:
        """Those that are on."""
        return [*self._bots.names()]

    def health(self, mode: Mode) -> dict[Channel, Health]:
        """How each channel is now, for keys of this mode; from memory alone."""
        if self._rehearses and mode is Mode.TEST:
            return rehearsed(self._bots)
        return health(self._bots, self._courier.breakers)

    def over(self, store: Store) -> OtpService:
        """The same use cases over another store."""
        made = copy(self)
        made._store = store
        return made

    def call_keys(self) -> CallKeys:
        """The keys that callers give their calls."""
        return CallKeys(self._store, self._rules.keys)

    async def authenticate(self, key_hash: bytes) -> Caller | None:
        """Who a key belongs to, by its `codes.key_hash`."""
        return await self._store.caller(key_hash)

    async def request(
        self,
        caller: Caller,
        channel: Channel | Auto | None,
        terms: CodeTerms,
        context: Context | None = None,
        *,
        match: bool = False,
        external_id: str | None = None,
        page: RequestPage | None = None,
        asks_phone: bool = False,
    ) -> NewRequest:
        """Create a request, for an account if one is named.

        `AUTO` tells only the bots of messengers that work; the request itself can be opened in all.
        Raises `ChannelUnavailable`, `PhoneUnavailable`, `MessengerUnavailable`.
        """
        only = None if channel == AUTO else channel

        async def work(tx: Tx) -> NewRequest:
            await _enabled(tx, caller)
            bots = await self._links(tx, only, asks_phone=asks_phone)
            found = self.health(caller.mode)
            if channel == AUTO:
                bots = {**offered(bots, found)}
            request = Request(
                id=self._rules.randomness.text(REQUEST_ID_LENGTH),
                project_id=caller.project.id,
                mode=caller.mode,
                channel=only,
                terms=terms,
                status=RequestStatus.PENDING,
                created_at=tx.now,
                expires_at=tx.now + REQUEST_LIFE_MS,
                finished_at=None,
                bound_to=None,
                subscriber_id=None,
                context=context,
                match=new_match(self._rules.randomness) if match else None,
                pairing_code=pairing.new_code(self._rules.randomness),
                external_id=external_id,
                page=page,
                asks_phone=asks_phone,
            )
            await tx.add_request(request)
            tx.emit(RequestCreated(request))
            return NewRequest(request, bots, found)

        return await self._store.write(work)

    def page_of(self, caller: Caller, return_url: str, state: str | None) -> RequestPage:
        """A hosted page that leads back to the site. Raises `PageUnavailable`, `ReturnUrlRefused`."""
        if self.public_url is None:
            raise PageUnavailable("There is no hosted page here: the operator has not set PUBLIC_URL.")
        registered, local = caller.project.page.return_urls, caller.mode is Mode.TEST
        judged = pages.judged(return_url, registered, local=local)
        return RequestPage(judged, state, self._rules.keys.first_id)

    def bot_names(self, request: Request) -> dict[Channel, str]:
        """The bots that can be reached for a request, by channel."""
        names = self._bots.names().items()
        return {one: name for one, name in names if name and request.channel in (None, one)}

    async def _links(self, tx: Tx, channel: Channel | None, *, asks_phone: bool) -> dict[Channel, str | None]:
        bots = self._bots.names()
        if channel is not None and channel not in bots:
            raise ChannelUnavailable(f"The channel {channel} is switched off here.")
        if asks_phone and not any(one in PHONE_CHANNELS for one in bots if channel in (None, one)):
            raise PhoneUnavailable("A phone number can be asked for in Telegram only.")
        if not all(bots.values()):  # a replica that has just started and is asked before it has looked around
            await self._bots.recall(tx)
            bots = self._bots.names()
        wanted = {known: name for known, name in bots.items() if channel in (None, known)}
        if not any(wanted.values()):
            raise MessengerUnavailable(
                "The bot's name is not known yet: the messenger has not answered.", retry_after=5
            )
        return wanted

    async def status(self, caller: Caller, request_id: str) -> RequestState:
        """What became of a request. Raises `RequestNotFound`."""

        async def written(tx: Tx) -> RequestState:
            state, request = await _state(tx, caller, request_id, self._rules.keys)
            if state.status is not request.status:
                await finish(tx, request, state.status)
            return state

        about, keys = About(request_id=request_id, project_id=caller.project.id), self._rules.keys
        state, request = await self._store.read(lambda tx: _state(tx, caller, request_id, keys), about)
        if state.status is request.status:
            return state
        # What is told must be true after a restart too, whatever its clock says; so it is looked at again, locked.
        return await self._store.write(written)

    async def send(
        self,
        caller: Caller,
        subscriber_id: str,
        terms: CodeTerms,
        context: Context | None = None,
        *,
        reuse: bool = False,
    ) -> tuple[int, bool]:
        """Send a code to a subscriber; the seconds it lives, once the messenger took the message, and if it is the old one.

        `reuse` sends the code that lives already, if one does: its own terms win, and it lives on as it would have.
        Raises `SubscriberNotFound`, `SubscriberLocked`, `SendInProgress`, `TooManyPurposes`, `RateLimited`,
        `DeliveryFailed`, `DeliveryUnknown`, `MessengerUnavailable`.
        """
        claimed = await self.claim(caller, subscriber_id, terms, context, reuse=reuse)
        return await self.told(caller, subscriber_id, await self.outcome(claimed))

    async def claim(
        self,
        caller: Caller,
        subscriber_id: str,
        terms: CodeTerms,
        context: Context | None = None,
        *,
        reuse: bool = False,
    ) -> Delivery:
        """The first half of `send`: what is to be sent, committed."""
        subscriber_id, scene = self.meant(caller, subscriber_id)

        async def work(tx: Tx) -> Delivery:
            await _enabled(tx, caller)
            if scene is not None:
                await set_scene(tx, scene)
            sub = await tx.subscriber(caller.project.id, caller.mode, subscriber_id)
            return await self.claim_for(tx, sub, terms, context, reuse=reuse)

        return await self._store.write(work)

    async def claim_for(
        self,
        tx: Tx,
        sub: Subscriber | None,
        terms: CodeTerms,
        context: Context | None,
        *,
        reuse: bool,
        patience_ms: int = SEND_PATIENCE_MS,
        given: str | None = None,
    ) -> Delivery:
        """What is to be sent to this subscriber: a code of ours or a `given` one; it is given up after so long."""
        if sub is None or not sub.subscribed:
            raise _not_found()
        if sub.locked:
            raise _locked()
        code = await tx.code(sub.id, terms.purpose) if reuse else None
        if code is not None and self._rules.keys.digits(code.seed) is None:
            code = None
        claimed = await claim(
            tx,
            self._rules,
            sub,
            code.terms if code else terms,
            Cause.SEND,
            code=code,
            context=context,
            at_once=self._courier.is_free(sub.person.channel),
            patience_ms=patience_ms,
            given=given,
        )
        return self._claimed(tx.now, claimed)

    async def outcome(self, claimed: Delivery, wait_ms: int = SEND_PATIENCE_MS) -> Delivery | None:
        """What became of it, or how it is when the caller must be answered."""
        return await self._courier.outcome(claimed, wait_ms / SECOND_MS)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """How it is now. What a dead process left is brought to its end by whoever looks, and waits for no sweep."""

        async def look(tx: Tx) -> tuple[Delivery | None, bool]:
            found = await tx.delivery(delivery_id)
            return found, found is not None and is_over(found, tx.now)

        delivery, over = await self._store.read(look)
        if not over:
            return delivery
        return await self._store.write(lambda tx: settle_over(tx, self._rules, delivery_id))

    async def told(self, caller: Caller, subscriber_id: str, settled: Delivery | None) -> tuple[int, bool]:
        """What `send` answers. Raises what became of a message that was not accepted."""
        subscriber_id, _ = self.meant(caller, subscriber_id)
        if settled is None or settled.refusal is Refusal.WITHDRAWN:
            await self._store.read(lambda tx: _why_withdrawn(tx, caller, subscriber_id))
        # Not as it was claimed: the old code may have died before its message went out.
        sent = _accepted(settled)
        return await self._store.read(lambda tx: _seconds_left(tx, sent)), sent.reuses

    def _claimed(self, now: int, got: Delivery | Busy | NoRoom | TooMany) -> Delivery:
        match got:
            case Busy(other):
                raise self.in_progress(
                    other, now, "Another code for this subscriber and purpose is on its way."
                )
            case NoRoom(wait_ms):
                raise RateLimited(
                    "Too many codes were sent to this subscriber.", retry_after=whole_seconds(wait_ms)
                )
            case TooMany():
                raise TooManyPurposes("Codes for five other purposes are alive for this subscriber.")
            case Delivery():
                return got

    def _settled_in(self, delivery: Delivery, now: int) -> int:
        """Seconds until another delivery is settled at the latest; 1 while it is under way here."""
        if delivery.attempted_at is None or self._courier.is_carrying(delivery.id):
            return 1
        return whole_seconds(delivery.attempted_at + ORPHAN_MS - now)

    async def cancel(self, caller: Caller, request_id: str) -> None:
        """Cancel a pending request. Raises `RequestNotFound`, `RequestNotPending`, `SendInProgress`."""

        async def work(tx: Tx) -> None:
            await _enabled(tx, caller)
            request = await known_request(tx, caller, request_id)
            flight = under_way(await tx.request_deliveries(request.id))
            status = status_at(request, await settle_orphan(tx, self._rules, flight), tx.now)
            if status is RequestStatus.CANCELLED:
                return
            if status is not RequestStatus.PENDING:
                raise RequestNotPending(f"The request is {status}: nothing is left to cancel.")
            attempt = await cancel_for_site(tx, self._rules, request)
            if attempt is not None:
                raise self.in_progress(attempt, tx.now, "The code of this request is being sent.")

        await self._store.write(work)

    async def revoke(self, caller: Caller, subscriber_id: str, purpose: str) -> bool:
        """End the live code of a subscriber, if there is one. Raises `SubscriberNotFound`, `SendInProgress`."""
        subscriber_id, _ = self.meant(caller, subscriber_id)

        async def work(tx: Tx) -> bool:
            await _enabled(tx, caller)
            sub = await tx.subscriber(caller.project.id, caller.mode, subscriber_id)
            if sub is None:
                raise SubscriberNotFound("There is no subscriber with this id.")
            coming = await settle_orphan(tx, self._rules, await tx.under_way(sub.id, purpose))
            if coming is not None:
                raise self.in_progress(
                    coming, tx.now, "A code for this subscriber and purpose is on its way."
                )
            code = await tx.code(sub.id, purpose)
            return code is not None and await tx.consume(code.id, Ending.WITHDRAWN)

        return await self._store.write(work)

    def in_progress(self, delivery: Delivery, now: int, detail: str) -> SendInProgress:
        """Why nothing else can be done meanwhile."""
        return SendInProgress(detail, retry_after=self._settled_in(delivery, now))

    async def verify(
        self, caller: Caller, subscriber_id: str, typed: str, purpose: str | None, request_id: str | None
    ) -> Verdict:
        """Judge a guess: count it, compare, consume, in one transaction."""
        subscriber_id, scene = self.meant(caller, subscriber_id)

        async def work(tx: Tx) -> Verdict:
            request = await asked(tx, caller, purpose, request_id)
            sub = await tx.subscriber(caller.project.id, caller.mode, subscriber_id)
            if sub is None:
                return Verdict(Reason.LOCKED if scene and scene.locked else Reason.NO_ACTIVE_CODE)
            if await self.is_locked(tx, sub):
                return Verdict(Reason.LOCKED)
            if request_id is not None and request is None:
                return Verdict(Reason.NO_ACTIVE_CODE)
            code = await tx.code(sub.id, request.terms.purpose if request else purpose or DEFAULT_PURPOSE)
            if code is None or (request_id is not None and code.request_id != request_id):
                return Verdict(Reason.NO_ACTIVE_CODE)
            return await self.judge(tx, sub, code, typed, request)

        about = About(subscriber_id, request_id, caller.project.id)
        return self.counted(caller, await self._store.write(work, about))

    def counted(self, caller: Caller, verdict: Verdict) -> Verdict:
        """What came of a guess, of which whoever counts them is told."""
        if self.judged is not None:
            self.judged(caller.mode, verdict)
        return verdict

    def meant(self, caller: Caller, subscriber_id: str) -> tuple[str, Subscriber | None]:
        """Whose id that is inside, and the fixed subscriber of test mode that is meant, if it is one."""
        if not self._rehearses or caller.mode is not Mode.TEST:
            return subscriber_id, None
        scene = stage.fixed_subscriber(subscriber_id, caller.project.id, self.channels)
        return (scene.id, scene) if scene is not None else (subscriber_id, None)

    async def is_locked(self, tx: Tx, sub: Subscriber) -> bool:
        """Whether too many wrong codes were entered; written down if it was not."""
        if not sub.locked and sub.wrong_guesses < self.policy.guess_budget:
            return False
        await self._lock(tx, sub)
        return True

    async def judge(
        self, tx: Tx, sub: Subscriber, code: Code, typed: str, request: Request | None
    ) -> Verdict:
        """The whole security argument: an attempt is counted before the comparison, and only one caller consumes.

        `request` is the code's own, if it was named. When it is for an account, that is linked to who is verified.
        """
        cleaned = codes.clean(typed)
        digits = self._rules.keys.digits(code.seed)
        if digits is None:
            return Verdict(Reason.NO_ACTIVE_CODE)
        budget = self.policy.guess_budget
        if not codes.well_formed(cleaned, len(digits)):
            left = min(code.terms.max_attempts - code.attempts, budget - sub.wrong_guesses)
            return Verdict(Reason.MALFORMED_CODE, max(0, left))
        await _lock_account(tx, sub, request)
        made = await tx.count_attempt(code.id)
        if made is None:
            return Verdict(Reason.NO_ACTIVE_CODE)
        if codes.same(digits, cleaned):
            if not await tx.consume(code.id, Ending.USED):
                return Verdict(Reason.NO_ACTIVE_CODE)
            if sub.wrong_guesses:
                await tx.clear_guesses(sub.id)
            if code.request_id is not None:
                await tx.note_verified(code.request_id)
            await _link(tx, sub, code, request)
            tx.emit(CodeVerified(*_about(sub, code)))
            return Verdict(None)
        wrong = await tx.count_wrong_guess(sub.id)
        left = max(0, min(code.terms.max_attempts - made, budget - wrong))
        tx.emit(WrongCode(*_about(sub, code), left))
        if wrong >= budget:
            await self._lock(tx, sub)
        elif left == 0:
            await tx.consume(code.id, Ending.USED_UP)
        return Verdict(Reason.WRONG_CODE, left)

    async def _lock(self, tx: Tx, sub: Subscriber) -> None:
        await tx.kill_codes(sub.id, Ending.WITHDRAWN)
        if await tx.lock(sub.id):
            tx.emit(Locked(sub))


async def set_scene(tx: Tx, wanted: Subscriber) -> None:
    """Have a fixed subscriber of test mode as it always is when something is sent to it, whatever became of it before."""
    sub = await tx.subscriber(wanted.project_id, wanted.mode, wanted.id)
    if sub is None:
        await tx.add_subscriber(wanted)
    else:
        await tx.set_subscribed(wanted.id, True)
        await tx.clear_guesses(wanted.id)
    if wanted.locked:
        await tx.lock(wanted.id)


def _about(sub: Subscriber, code: Code) -> tuple[str, str, str, Channel, Mode, str | None]:
    """What the events of a guess tell, whatever came of it."""
    return sub.id, sub.project_id, code.terms.purpose, sub.person.channel, sub.mode, code.request_id


def new_match(randomness: Randomness) -> Match:
    """Three different numbers from 10 to 99, one of which is the right one: drawn alike, so that none stands out."""
    drawn: list[str] = []
    while len(drawn) < MATCH_CHOICES:
        byte = randomness.bytes(1)[0]
        if byte < MATCH_NUMBERS * 2 and (number := str(10 + byte % MATCH_NUMBERS)) not in drawn:
            drawn.append(number)
    # The first drawn is the right one; sorted, its place tells nothing, and the order is the same at every look.
    return Match(drawn[0], tuple(sorted(drawn)))


async def own_request(tx: Tx, caller: Caller, request_id: str) -> Request | None:
    """The caller's request while it may be read; what is another's does not exist."""
    if REQUEST_ID.fullmatch(request_id) is None:
        return None
    request = await tx.request(request_id)
    if request is None or (request.project_id, request.mode) != (caller.project.id, caller.mode):
        return None
    return None if is_forgotten(request, tx.now) else request


async def known_request(tx: Tx, caller: Caller, request_id: str) -> Request:
    """As `own_request`. Raises `RequestNotFound`."""
    request = await own_request(tx, caller, request_id)
    if request is None:
        raise no_request()
    return request


def no_request() -> RequestNotFound:
    """The same for what never was and for what is another's."""
    return RequestNotFound("There is no request with this id.")


async def asked(tx: Tx, caller: Caller, purpose: str | None, request_id: str | None) -> Request | None:
    """The request that a guess names, if it may be read. Raises `InvalidField`: it has another purpose."""
    await _enabled(tx, caller)
    request = await own_request(tx, caller, request_id) if request_id is not None else None
    if request is not None and purpose not in (None, request.terms.purpose):
        raise InvalidField("purpose", "The request of this request_id has another purpose.")
    return request


async def _lock_account(tx: Tx, sub: Subscriber, request: Request | None) -> None:
    """Before the code, as whoever brings one to the account does."""
    if request is not None and request.external_id is not None:
        await tx.lock_account(sub.project_id, sub.mode, request.external_id)


async def _link(tx: Tx, sub: Subscriber, code: Code, request: Request | None) -> None:
    """Link the account for which an accepted code was asked for, if it was."""
    if code.request_id is None:
        return
    external_id = request.external_id if request is not None else await tx.account_of(code.request_id)
    if external_id is not None:
        await link(tx, sub, external_id)


async def _state(
    tx: Tx, caller: Caller, request_id: str, keys: codes.KeyRing
) -> tuple[RequestState, Request]:
    await _enabled(tx, caller)
    request = await known_request(tx, caller, request_id)
    status = status_at(request, await _under_way(tx, request), tx.now)
    sent = status is RequestStatus.SENT and request.bound_to is not None
    phone = await tx.asked_number(request.id) if sent and request.asks_phone else None
    state = RequestState(
        status,
        request.subscriber_id if sent else None,
        request.bound_to.channel if sent and request.bound_to else None,
        request.reported,
        request.created_at,
        request.expires_at,
        request.finished_at if sent else None,
        request.verified_at,
        phone is not None and phone.is_open(tx.now),
        phone is not None and phone.number is not None,
        proof_of(request, keys),
        turns_at(request, tx.now) - tx.now if status is RequestStatus.PENDING else None,
    )
    return state, request


def proof_of(request: Request, keys: codes.KeyRing) -> str | None:
    """What a site may compare with what a browser brings from the hosted page."""
    if request.page is None or request.verified_at is None:
        return None
    return keys.page_proof(request.page.key_id, request.id)


async def _under_way(tx: Tx, request: Request) -> Delivery | None:
    """The request's own delivery that keeps it pending past its end, if any."""
    if request.status is not RequestStatus.PENDING or tx.now < request.expires_at:
        return None
    return under_way(await tx.request_deliveries(request.id))


async def _seconds_left(tx: Tx, sent: Delivery) -> int:
    """How long the code of a message lives: what was asked for, or the rest of one that was sent again."""
    if not sent.reuses:
        return sent.terms.ttl_minutes * 60
    ends_at = await tx.code_end(sent.code_id)
    return (ends_at - tx.now) // SECOND_MS if ends_at is not None else 0


async def _enabled(tx: Tx, caller: Caller) -> None:
    """The key was good a moment ago; the project must still be there when the change is made."""
    project = await tx.project(caller.project.id)
    if project is None or not project.enabled:
        raise ProjectDisabled("This project is disabled.")


async def _why_withdrawn(tx: Tx, caller: Caller, subscriber_id: str) -> None:
    """Something changed between the wish and its attempt: say what, as if it had been so before."""
    await _enabled(tx, caller)
    sub = await tx.subscriber(caller.project.id, caller.mode, subscriber_id)
    if sub is not None and sub.subscribed and sub.locked:
        raise _locked()


def _not_found() -> SubscriberNotFound:
    return SubscriberNotFound("There is no subscriber with this id who can get messages.")


def _locked() -> SubscriberLocked:
    return SubscriberLocked("Too many wrong codes in a row. The person can unlock, in the chat with the bot.")


def _accepted(delivery: Delivery | None) -> Delivery:
    """A delivery that was accepted; of any other one it is said in the API's words what became of it."""
    if delivery is not None and delivery.state is DeliveryState.ACCEPTED:
        return delivery
    if delivery is not None and delivery.state in (DeliveryState.UNKNOWN, DeliveryState.ATTEMPTING):
        raise DeliveryUnknown(
            "The messenger did not say whether it took the message. The code may have arrived: "
            "let the person try it or ask again."
        )
    refusal = delivery.refusal if delivery is not None else Refusal.WITHDRAWN
    if refusal in (Refusal.GONE, Refusal.WITHDRAWN):
        raise _not_found()
    if refusal is Refusal.REJECTED:
        raise DeliveryFailed("The messenger refused the message. A code sent before is still good.")
    raise MessengerUnavailable(
        "The messenger can't take messages now. Nothing was sent.", retry_after=_worth_waiting(delivery)
    )


def _worth_waiting(delivery: Delivery | None) -> int:
    """Seconds until another try makes sense: as long as the messenger said, where it did."""
    if delivery is None or delivery.attempted_at is None:
        return AGAIN_SECONDS
    return max(AGAIN_SECONDS, whole_seconds(delivery.due_at - delivery.attempted_at))
