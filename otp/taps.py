"""What a person can do in the chat: open a link, consent, cancel, ask again, unlock, leave. One store call each.

Every use case takes the key of the update that brought it. An update that was seen before changes nothing and is
answered with `Repeated`: messengers deliver more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import field, replace
from typing import Any, TypeVar

from otp.delivery import (
    Busy,
    NoRoom,
    Rules,
    TooMany,
    claim,
    finish,
    leave,
    leave_all,
    living_code,
    note_message,
    settle_orphan,
)
from otp.events import RequestBound, RequestOpened, SubscriberJoined, SubscriberUnlocked
from otp.lifecycle import REQUEST_ID, is_forgotten, status_at, under_way
from otp.model import (
    Cause,
    Delivery,
    DeliveryState,
    MessageKind,
    Mode,
    Person,
    Project,
    Refusal,
    Request,
    RequestStatus,
    Subscriber,
)
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Dead,
    Hurdle,
    LanguageChosen,
    MustUnlock,
    NoSuchPairing,
    NotYours,
    Offered,
    Opening,
    Pressing,
    Repeated,
    Subscriptions,
    TooLate,
    Unlocked,
    Unusable,
    Unwanted,
    WrongNumber,
)
from otp.pairing import MISS_WINDOW_MS, MOST_MISSES
from otp.policy import wait_for_room, whole_minutes
from otp.ports import Store, Tx, Work
from otp.values import value
from otp.withdrawal import cancel

R = TypeVar("R")


@value
class Update:
    """Who did something, in which language, and the key by which a redelivery is recognised."""

    key: str
    person: Person
    language: str
    sent_at: int | None = field(default=None, compare=False)
    """When the messenger says that it happened, where it says so."""


_WITH_BUTTONS = (MessageKind.QUESTION, MessageKind.UNLOCK, MessageKind.OFFER, MessageKind.UNWANTED)


async def once(store: Store, update: Update, work: Work[R]) -> R | Repeated:
    """Do what an update brings, unless it was seen before; in one transaction."""

    async def guarded(tx: Tx) -> R | Repeated:
        if not await tx.first_sight(update.key):
            return Repeated()
        await tx.alone(update.person)
        done = await work(tx)
        await tx.see(update.person, update.language)  # last: it locks subscribers, which come after requests
        return done

    return await store.write(guarded)


class Taps:
    """The use cases of the chat."""

    def __init__(self, store: Store, rules: Rules, mode: Mode = Mode.LIVE) -> None:
        """`mode` is that of the messengers' people: requests of the other one are only played."""
        self._store = store
        self._mode = mode
        self._rules = rules

    async def open(self, update: Update, request_id: str) -> Opening:
        """A link was opened, or its id typed."""
        return await once(self._store, update, lambda tx: self.opened(tx, update, request_id))

    async def opened(self, tx: Tx, update: Update, request_id: str) -> Opening:
        """What an open link comes to."""
        found = await self._find(tx, update, request_id)
        if isinstance(found, Dead):
            return found
        request, project = found
        if await tx.refuses(update.person, request.project_id, request.mode):
            message = await note_message(
                tx,
                self._rules,
                update.person,
                MessageKind.UNWANTED,
                request.id,
                language=update.language,
            )
            return Unwanted(project, request, message)
        sub = await tx.subscriber_of(request.project_id, request.mode, update.person)
        if sub is None or not sub.subscribed:
            return await self._ask(tx, request, project, update.person, update.language)
        return await self._first_code(tx, request, project, sub, Cause.OPEN)

    async def shown(self, tx: Tx, update: Update, request_id: str) -> tuple[Request, Project] | None:
        """The request of a message with buttons that was shown to this person, whatever became of it."""
        if not await tx.was_shown(request_id, update.person, _WITH_BUTTONS):
            return None
        request = await tx.request(request_id)
        project = await tx.project(request.project_id) if request is not None else None
        return (request, project) if request is not None and project is not None else None

    async def consent(self, update: Update, request_id: str) -> Pressing:
        """Consent: "Get the code" was pressed."""

        async def act(tx: Tx, request: Request, project: Project) -> Pressing:
            if request.match is not None:
                return NotYours()  # no message of ours has this button for such a request
            return await self._consented(tx, update, request, project)

        return await self._pressed(update, request_id, act)

    async def choose(self, update: Update, request_id: str, number: str) -> Pressing:
        """One of three numbers was pressed: the one on the site's screen is consent, another one ends the request."""

        async def act(tx: Tx, request: Request, project: Project) -> Pressing:
            if request.match is None or number not in request.match.choice:
                return NotYours()
            if request.bound_to is None and number != request.match.number:
                await finish(tx, request, RequestStatus.CANCELLED)
                return WrongNumber(project, request)
            return await self._consented(tx, update, request, project)

        return await self._pressed(update, request_id, act)

    async def pair(self, update: Update, pairing_code: str, *, counts: bool) -> Opening | NoSuchPairing:
        """A pairing code was typed. `counts`: a wrong one is one of the few that a person may try in an hour."""

        async def work(tx: Tx) -> Opening | NoSuchPairing:
            missed = await tx.pairing_misses(update.person, tx.now - MISS_WINDOW_MS)
            wait = wait_for_room(missed, limit=MOST_MISSES, window_ms=MISS_WINDOW_MS, now=tx.now)
            if wait is not None:
                return NoSuchPairing(whole_minutes(wait))
            request_id = await tx.request_by_pairing(pairing_code)
            if request_id is not None:
                return await self.opened(tx, update, request_id)
            if counts:
                await tx.miss_pairing(self._rules.randomness.uuid(), update.person)
            return NoSuchPairing()

        return await once(self._store, update, work)

    async def _consented(self, tx: Tx, update: Update, request: Request, project: Project) -> Opening:
        """Subscribe and bring the code."""
        await tx.refuse(update.person, request.project_id, request.mode, refused=False)
        sub = await self._subscribed(tx, request, update)
        return await self._first_code(tx, request, project, sub, Cause.CONSENT)

    async def again(self, update: Update, request_id: str) -> Pressing:
        """The person pressed "Send again"."""

        async def act(tx: Tx, request: Request, project: Project) -> Pressing:
            sub = await tx.subscriber_of(request.project_id, request.mode, update.person)
            unasked = request.match is not None and request.bound_to is None
            if sub is None or not sub.subscribed or unasked:
                return await self._ask(tx, request, project, update.person, update.language)
            return await self._code(tx, request, project, sub, Cause.AGAIN)

        return await self._pressed(update, request_id, act)

    async def cancel(self, update: Update, request_id: str) -> Pressing:
        """Cancel was pressed."""
        return await self._pressed(update, request_id, self._cancel)

    async def unlock(self, update: Update, subscriber_id: str, request_id: str | None) -> Pressing:
        """Unlock was pressed, with the request that waits for it if there is one."""

        async def work(tx: Tx) -> Pressing:
            if request_id is not None and REQUEST_ID.fullmatch(request_id):
                await tx.request(request_id)  # locked before the subscriber, as everywhere
            sub = await tx.subscriber_by_id(subscriber_id)
            if sub is None or sub.person != update.person:
                return NotYours()
            project = await tx.project(sub.project_id)
            if project is None or not project.enabled:
                return Dead(Unusable.PAUSED)
            if sub.locked:
                await tx.clear_guesses(sub.id)
                sub = replace(sub, locked=False, wrong_guesses=0)
                tx.emit(SubscriberUnlocked(sub))
            if request_id is None:
                return Unlocked(project)
            found = await self._find(tx, update, request_id)
            if isinstance(found, Dead) or found[0].project_id != sub.project_id or not sub.subscribed:
                return Unlocked(project)
            return await self._first_code(tx, found[0], project, sub, Cause.UNLOCK)

        return await once(self._store, update, work)

    async def leave(self, update: Update, subscriber_id: str) -> Pressing:
        """A button of the list of subscriptions was pressed."""

        async def work(tx: Tx) -> Pressing:
            sub = await tx.subscriber_by_id(subscriber_id)
            if sub is None or sub.person != update.person:
                return NotYours()
            await leave(tx, self._rules, sub)
            project = await tx.project(sub.project_id)
            return replace(await _subscriptions(tx, update.person), left=project)

        return await once(self._store, update, work)

    async def gone(self, update: Update) -> Repeated | Subscriptions:
        """The person blocked the bot or removed the dialog: unsubscribed from everything."""

        async def work(tx: Tx) -> Repeated | Subscriptions:
            await leave_all(tx, self._rules, update.person)
            return Subscriptions([], [])

        return await once(self._store, update, work)

    async def language(self, update: Update) -> Update:
        """The update in the language that its person chose, if they did."""
        chosen = await self._store.read(lambda tx: tx.chosen_language(update.person))
        return replace(update, language=chosen) if chosen is not None else update

    async def choose_language(self, update: Update, language: str) -> Repeated | LanguageChosen:
        """Speak this language to the person from now on, whatever the client says."""

        async def work(tx: Tx) -> Repeated | LanguageChosen:
            await tx.choose_language(update.person, language)
            return LanguageChosen(language)

        return await once(self._store, update, work)

    async def look(self, update: Update) -> Repeated | Subscriptions:
        """What the person has subscribed to, for /start, /help and /stop."""

        async def work(tx: Tx) -> Repeated | Subscriptions:
            return await _subscriptions(tx, update.person)

        return await once(self._store, update, work)

    # ------------------------------------------------------------------ shared steps

    async def _pressed(
        self,
        update: Update,
        request_id: str,
        act: Callable[[Tx, Request, Project], Coroutine[Any, Any, Pressing]],
    ) -> Pressing:
        """Act on an open request, by a button that was shown to this person."""

        async def work(tx: Tx) -> Pressing:
            if not await tx.was_shown(request_id, update.person, _WITH_BUTTONS):
                return NotYours()
            found = await self._find(tx, update, request_id)
            return found if isinstance(found, Dead) else await act(tx, *found)

        return await once(self._store, update, work)

    async def _find(self, tx: Tx, update: Update, request_id: str) -> tuple[Request, Project] | Dead:
        """The open request behind an id, if this person may act on it."""
        request = await tx.request(request_id) if REQUEST_ID.fullmatch(request_id) else None
        project = await tx.project(request.project_id) if request is not None else None
        if request is None or project is None or is_forgotten(request, tx.now):
            return Dead(Unusable.UNKNOWN)
        if not update.person.is_played and request.mode is not self._mode:
            return Dead(Unusable.TEST)
        if not request.opened:
            await tx.note_opened(request.id, update.person.channel)
            tx.emit(RequestOpened(request, update.person.channel))
        if request.channel not in (None, update.person.channel):
            return Dead(Unusable.FOREIGN)
        if not project.enabled:
            return Dead(Unusable.PAUSED)
        flight = await settle_orphan(tx, self._rules, under_way(await _deliveries(tx, request)))
        status = status_at(request, flight, tx.now)
        late = status is RequestStatus.PENDING and tx.now >= request.expires_at and flight is None
        if status is RequestStatus.EXPIRED or late:
            return Dead(Unusable.EXPIRED)
        if status is RequestStatus.CANCELLED:
            return Dead(Unusable.CANCELLED)
        if status is RequestStatus.SENT or request.bound_to not in (None, update.person):
            return Dead(Unusable.USED)
        return request, project

    async def _ask(
        self, tx: Tx, request: Request, project: Project, person: Person, language: str | None = None
    ) -> Asked:
        message = await note_message(
            tx, self._rules, person, MessageKind.QUESTION, request.id, language=language
        )
        return Asked(project, request, message)

    async def _subscribed(self, tx: Tx, request: Request, update: Update) -> Subscriber:
        sub = await tx.subscriber_of(request.project_id, request.mode, update.person)
        if sub is None:
            sub = Subscriber(
                id=self._rules.randomness.uuid(),
                project_id=request.project_id,
                mode=request.mode,
                person=update.person,
                language=update.language,
                subscribed=True,
                wrong_guesses=0,
                locked=False,
            )
            await tx.add_subscriber(sub)
            tx.emit(SubscriberJoined(sub))
        elif await tx.set_subscribed(sub.id, True):
            sub = replace(sub, subscribed=True)
            tx.emit(SubscriberJoined(sub))
        return sub

    async def _first_code(
        self, tx: Tx, request: Request, project: Project, sub: Subscriber, cause: Cause
    ) -> Opening:
        """One act, at most one message: once a delivery of this request had its outcome, only "Send again" sends."""
        if (
            request.match is not None
            and cause is not Cause.CONSENT
            and request.bound_to is None
            and not sub.locked
        ):
            return await self._ask(tx, request, project, sub.person)
        earlier = await _deliveries(tx, request)
        if under_way(earlier) is not None:
            return Coming(project, cause, fresh=False)
        if any(_failed(delivery) for delivery in earlier):
            return await self._offer(tx, request, project, sub.person, Hurdle.FAILED)
        return await self._code(tx, request, project, sub, cause)

    async def _code(
        self, tx: Tx, request: Request, project: Project, sub: Subscriber, cause: Cause
    ) -> Opening:
        asked_first = request.match is not None and request.bound_to is None and cause is not Cause.CONSENT
        if not asked_first:
            if not await tx.bind(request.id, sub.person):
                return Dead(Unusable.USED)
            if request.bound_to is None:
                tx.emit(RequestBound(request))
        if sub.locked:
            message = await note_message(tx, self._rules, sub.person, MessageKind.UNLOCK, request.id)
            return MustUnlock(project, request, sub, message)
        code = (
            await living_code(tx, self._rules, sub, request.terms, request) if cause is Cause.AGAIN else None
        )
        match await claim(tx, self._rules, sub, request.terms, cause, request, code):
            case Delivery():
                return Coming(project, cause, fresh=True)
            case Busy(other) if other.request_id == request.id:
                return Coming(project, cause, fresh=False)
            case Busy():
                return await self._offer(tx, request, project, sub.person, Hurdle.BUSY)
            case TooMany():
                return await self._offer(tx, request, project, sub.person, Hurdle.PURPOSES)
            case NoRoom(wait_ms):
                return await self._offer(
                    tx, request, project, sub.person, Hurdle.LIMIT, whole_minutes(wait_ms)
                )

    async def _offer(
        self, tx: Tx, request: Request, project: Project, person: Person, why: Hurdle, minutes: int = 0
    ) -> Offered:
        message = await note_message(tx, self._rules, person, MessageKind.OFFER, request.id)
        return Offered(project, request, message, why, minutes)

    async def _cancel(self, tx: Tx, request: Request, project: Project) -> Pressing:
        if await cancel(tx, self._rules, request) is not None:
            return TooLate(project)
        return Cancelled(project, request)


async def _deliveries(tx: Tx, request: Request) -> list[Delivery]:
    """What was claimed for a request: nothing before it belongs to somebody."""
    return await tx.request_deliveries(request.id) if request.bound_to is not None else []


def _failed(delivery: Delivery) -> bool:
    """Whether the person was left waiting, not: was gone or stopped it."""
    return delivery.state is DeliveryState.UNKNOWN or delivery.refusal in (
        Refusal.REJECTED,
        Refusal.UNAVAILABLE,
    )


async def _subscriptions(tx: Tx, person: Person) -> Subscriptions:
    both = await tx.subscriptions(person)
    return Subscriptions(joined=both, locked=[(sub, project) for sub, project in both if sub.locked])
