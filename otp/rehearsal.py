"""Test mode in a service with real messengers: plays the person of a request, through the very use cases of the chat."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from otp.courier import Courier
from otp.delivery import Rules, finish, settle_orphan, withdraw
from otp.errors import RequestNotPending, SendInProgress
from otp.lifecycle import status_at, under_way
from otp.model import (
    Caller,
    Channel,
    Delivery,
    DeliveryState,
    Match,
    Mode,
    Person,
    Refusal,
    Request,
    RequestStatus,
)
from otp.phones import Phones
from otp.ports import Store, Tx
from otp.protection import Protection
from otp.service import OtpService, RequestState, known_request, no_request
from otp.stage import new_person
from otp.taps import Taps, Update

LANGUAGE: Final = "en"
PHONE: Final = "12025550142"
"""Of a range that is given to nobody (North American Numbering Plan, 555-0100 to 555-0199), as Telegram writes it."""


class Act(StrEnum):
    """What the person of a request can be made to do, or time."""

    CONSENT = "consent"
    CANCEL = "cancel"
    REPORT = "report"
    EXPIRE = "expire"
    PHONE = "phone"
    SKIP = "skip"


class Rehearsal:
    """Plays a person for a caller with a key of test mode."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        courier: Courier,
        service: OtpService,
    ) -> None:
        self._store = store
        self._rules = rules
        self._courier = courier
        self._service = service
        self._taps = Taps(store, rules)
        self._protection = Protection(store, rules, self._taps)
        self._phones = Phones(store, rules)

    def over(self, store: Store) -> Rehearsal:
        """The same plays over another store."""
        return Rehearsal(store, self._rules, self._courier, self._service.over(store))

    async def play(self, caller: Caller, request_id: str, act: Act) -> RequestState:
        """Play an act; the request as it is when all that follows has happened. Raises as `begin`."""
        delivery = await self.begin(caller, request_id, act)
        if delivery is not None:
            await self._courier.settled(delivery)  # nobody's messenger takes its time
        return await self.state(caller, request_id)

    async def state(self, caller: Caller, request_id: str) -> RequestState:
        """The request as it is now."""
        return await self._service.status(caller, request_id)

    async def begin(self, caller: Caller, request_id: str, act: Act) -> Delivery | None:
        """Play an act; the delivery that is on its way then, if one is.

        Raises `RequestNotFound`, `RequestNotPending` when it is too late for the act or too early, `SendInProgress`:
        each before anything was changed.
        """
        if caller.mode is not Mode.TEST:
            raise no_request()
        match act:
            case Act.CONSENT:
                await self._consent(caller, request_id)
            case Act.CANCEL:
                person, _ = await self._person(caller, request_id)
                await self._taps.open(self._update(person), request_id)
                await self._taps.cancel(self._update(person), request_id)
            case Act.REPORT:
                await self._report(caller, request_id)
            case Act.PHONE | Act.SKIP:
                await self._answer_phone(caller, request_id, act)
            case Act.EXPIRE:
                await self._store.write(lambda tx: self._expire(tx, caller, request_id))
        return under_way(await self._store.read(lambda tx: tx.request_deliveries(request_id)))

    def _update(self, person: Person) -> Update:
        return Update(f"rehearsal:{self._rules.randomness.uuid()}", person, LANGUAGE)

    async def _person(self, caller: Caller, request_id: str) -> tuple[Person, Match | None]:
        """Whoever is bound to a request that is pending, else somebody new; and the number on their site's screen."""
        request = await self._store.read(lambda tx: self._pending(tx, caller, request_id))
        channel = request.channel or next(iter(self._service.channels), Channel.TELEGRAM)
        return request.bound_to or new_person(channel, self._rules.randomness), request.match

    async def _pending(self, tx: Tx, caller: Caller, request_id: str) -> Request:
        request = await known_request(tx, caller, request_id)
        flight = under_way(await tx.request_deliveries(request.id))
        status = status_at(request, flight, tx.now)
        if status is not RequestStatus.PENDING:
            raise RequestNotPending(f"The request is {status}: nothing can be played any more.")
        return request

    async def _consent(self, caller: Caller, request_id: str) -> None:
        person, match = await self._person(caller, request_id)
        await self._taps.open(self._update(person), request_id)
        if match is not None:
            await self._taps.choose(self._update(person), request_id, match.number)
        else:
            await self._taps.consent(self._update(person), request_id)

    async def _report(self, caller: Caller, request_id: str) -> None:
        """Press "It wasn't me" under the newest message with a code of the request."""

        async def shown(tx: Tx) -> tuple[Person, str] | None:
            request = await known_request(tx, caller, request_id)
            arrived = (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
            found = [one for one in await tx.request_deliveries(request.id) if one.state in arrived]
            newest = max(found, key=lambda one: one.claimed_at, default=None)
            return (newest.person, newest.code_id) if newest is not None else None

        message = await self._store.read(shown)
        if message is None:
            raise RequestNotPending("Nobody got a code of this request yet: there is nothing to report.")
        await self._protection.not_me(self._update(message[0]), message[1])

    async def _answer_phone(self, caller: Caller, request_id: str, act: Act) -> None:
        """Press one of the two keys under the question for a phone number."""

        async def asked(tx: Tx) -> Person | None:
            request = await known_request(tx, caller, request_id)
            found = await tx.asked_number(request.id)
            if found is None or not found.is_open(tx.now):
                return None
            await tx.show_number(request.id, found.person)  # who plays need not wait for the message
            return found.person

        person = await self._store.write(asked)
        if person is None:
            raise RequestNotPending("The person is not asked for a phone number now.")
        if act is Act.PHONE:
            await self._phones.share(self._update(person), PHONE, own=True)
        else:
            await self._phones.skip(self._update(person))

    async def _expire(self, tx: Tx, caller: Caller, request_id: str) -> None:
        """Let the time of a request be over."""
        request = await self._pending(tx, caller, request_id)
        delivery = await settle_orphan(tx, self._rules, under_way(await tx.request_deliveries(request.id)))
        if delivery is not None and delivery.state is DeliveryState.ATTEMPTING:
            raise SendInProgress("The code of this request is being sent.", retry_after=1)
        if delivery is not None:
            await withdraw(tx, self._rules, delivery, Refusal.UNAVAILABLE)
        await finish(tx, request, RequestStatus.EXPIRED)
