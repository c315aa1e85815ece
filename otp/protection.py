"""What a person can do about a code message: have it again, or say that it was not them. One store call each."""

from __future__ import annotations

from otp.delivery import Busy, NoRoom, Rules, TooMany, claim, finish, leave, withdraw
from otp.events import CodeReported, RequestReported
from otp.lifecycle import status_at, under_way
from otp.model import (
    Cause,
    Delivery,
    DeliveryState,
    Ending,
    Mode,
    Person,
    Project,
    Refusal,
    Request,
    RequestStatus,
    Subscriber,
)
from otp.outcomes import (
    Coming,
    Dead,
    Ended,
    NotYours,
    Pressing,
    Refusing,
    Reported,
    TryLater,
    Unusable,
)
from otp.policy import whole_minutes
from otp.ports import Store, Tx
from otp.taps import Taps, Update, once


class Protection:
    """The use cases behind the buttons of code and lock messages."""

    def __init__(self, store: Store, rules: Rules, taps: Taps) -> None:
        """`taps`: opening a link again is what follows from allowing a project again."""
        self._store = store
        self._rules = rules
        self._taps = taps

    async def repeat(self, update: Update, code_id: str) -> Pressing:
        """The same code again, in a new message, while it lives: its time and attempts go on."""

        async def work(tx: Tx) -> Pressing:
            about = await tx.code_message(code_id, update.person)
            if about is None or about.subscriber_id is None:
                return NotYours()
            sub = await tx.subscriber_by_id(about.subscriber_id)
            project = await tx.project(sub.project_id) if sub is not None else None
            if sub is None or project is None or not project.enabled:
                return Dead(Unusable.PAUSED if project is not None else Unusable.UNKNOWN)
            code = await tx.code_by_id(code_id)
            if code is None or sub.locked or not sub.subscribed or self._rules.keys.digits(code.seed) is None:
                return Ended(project, about.ended or Ending.EXPIRED)
            earlier = await tx.delivery(about.delivery_id) if about.delivery_id is not None else None
            context = earlier.context if earlier is not None else None
            request = await _waiting(tx, about.request_id, update.person)
            match await claim(tx, self._rules, sub, code.terms, Cause.AGAIN, request, code, context):
                case Delivery():
                    return Coming(project, Cause.AGAIN, fresh=False)
                case NoRoom(wait_ms):
                    return TryLater(whole_minutes(wait_ms))
                case Busy() | TooMany():
                    return Coming(project, Cause.AGAIN, fresh=False)

        return await once(self._store, update, work)

    async def not_me(self, update: Update, code_id: str) -> Pressing:
        """The person did not ask for this code: it is withdrawn, if it is ours, and the site learns it."""

        async def work(tx: Tx) -> Pressing:
            about = await tx.code_message(code_id, update.person)
            if about is None or about.subscriber_id is None:
                return NotYours()
            sent = await tx.delivery(about.delivery_id) if about.delivery_id is not None else None
            found = await _own(tx, about.subscriber_id, update.person)
            if found is None:
                return NotYours()
            sub, project = found
            given = sent is not None and sent.terms.given_for is not None
            if given:
                await tx.end_messages(code_id, Ending.REPORTED, but="")
            else:
                await tx.consume(code_id, Ending.REPORTED)
            request = await tx.request(about.request_id) if about.request_id is not None else None
            if request is None or not request.reported:
                tx.emit(CodeReported(sub, sent.terms.purpose if sent else None, about.request_id))
            if request is not None:
                await self._report(tx, request)
            return Reported(project, sub.id, given)

        return await once(self._store, update, work)

    async def not_me_locked(self, update: Update, subscriber_id: str, request_id: str | None) -> Pressing:
        """The person did not enter the wrong codes that locked them, nor asked for the request that waits."""

        async def work(tx: Tx) -> Pressing:
            found = await _own(tx, subscriber_id, update.person)
            if found is None:
                return NotYours()
            sub, project = found
            await tx.kill_codes(sub.id, Ending.REPORTED)
            request = await tx.request(request_id) if request_id is not None else None
            tx.emit(CodeReported(sub))
            if request is not None and request.bound_to == update.person:
                await self._report(tx, request)
            return Reported(project, sub.id)

        return await once(self._store, update, work)

    async def _report(self, tx: Tx, request: Request) -> None:
        """Pending becomes cancelled, unless its code is at the messenger at this moment; an end stays."""
        await tx.report(request.id)
        await tx.end_number(request.id)
        tx.emit(RequestReported(request.id, request.project_id, request.mode))
        delivery = under_way(await tx.request_deliveries(request.id))
        if status_at(request, delivery, tx.now) is not RequestStatus.PENDING:
            return
        if delivery is not None and delivery.state is DeliveryState.ATTEMPTING:
            return
        if delivery is not None:
            await withdraw(tx, self._rules, delivery, Refusal.WITHDRAWN)
        await finish(tx, request, RequestStatus.CANCELLED)

    async def no_more(self, update: Update, subscriber_id: str) -> Pressing:
        """Nothing from this project any more: unsubscribed, and its links ask to be allowed again."""

        async def work(tx: Tx) -> Pressing:
            found = await _own(tx, subscriber_id, update.person)
            if found is None:
                return NotYours()
            sub, project = found
            return await self._refuse(tx, update.person, project, sub.mode, sub)

        return await once(self._store, update, work)

    async def no_more_of_request(self, update: Update, request_id: str) -> Pressing:
        """The same, from a question that was cancelled, by somebody who may never have subscribed."""

        async def work(tx: Tx) -> Pressing:
            found = await self._taps.shown(tx, update, request_id)
            if found is None:
                return NotYours()
            request, project = found
            sub = await tx.subscriber_of(project.id, request.mode, update.person)
            return await self._refuse(tx, update.person, project, request.mode, sub)

        return await once(self._store, update, work)

    async def _refuse(
        self, tx: Tx, person: Person, project: Project, mode: Mode, sub: Subscriber | None
    ) -> Refusing:
        if sub is not None:
            await leave(tx, self._rules, sub)
        await tx.refuse(person, project.id, mode)
        return Refusing(project)

    async def allow(self, update: Update, request_id: str) -> Pressing:
        """The person wants this project's codes after all: the question of the link follows."""

        async def work(tx: Tx) -> Pressing:
            found = await self._taps.shown(tx, update, request_id)
            if found is None:
                return NotYours()
            request, _ = found
            await tx.refuse(update.person, request.project_id, request.mode, refused=False)
            return await self._taps.opened(tx, update, request_id)

        return await once(self._store, update, work)


async def _waiting(tx: Tx, request_id: str | None, person: Person) -> Request | None:
    """The person's request that is still open, as nobody knows that its code arrived: now it can be `sent`."""
    request = await tx.request(request_id) if request_id is not None else None
    if request is None or request.bound_to != person:
        return None
    return request if status_at(request, None, tx.now) is RequestStatus.PENDING else None


async def _own(tx: Tx, subscriber_id: str, person: Person) -> tuple[Subscriber, Project] | None:
    sub = await tx.subscriber_by_id(subscriber_id)
    project = await tx.project(sub.project_id) if sub is not None else None
    return (sub, project) if sub is not None and project is not None and sub.person == person else None
