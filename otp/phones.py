"""A verified phone number, where a site asks for it: shared by its owner with one tap, sealed, told to the site once.

Only the person's own contact counts, as the messenger itself vouches for it. It is erased by the transaction that tells
it, and goes with its request at the latest; with the subscriber it stays where the project keeps it. The order of locks:
project, request, subscriber, number.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from otp.delivery import Rules
from otp.events import PhoneShared
from otp.membership import Record
from otp.model import Caller, Job, Project, Subscriber
from otp.numbers import AskedNumber, e164
from otp.outcomes import (
    Dead,
    NumberSkipped,
    NumberTaken,
    NumberUnasked,
    NumberUnfit,
    Repeated,
    Sharing,
    Unfit,
    Unusable,
)
from otp.ports import Seals, Store, Tx
from otp.service import known_request
from otp.taps import Update, once
from otp.telling import Sealed
from otp.values import value

RESEALED_AT_ONCE: Final = 100

Stale = list[tuple[str, Sealed]]
Asked = Callable[[Tx, AskedNumber, Project, Subscriber], Coroutine[Any, Any, Sharing]]


def _of_request(request_id: str) -> str:
    """Whose a sealed number is that waits to be told."""
    return f"request:{request_id}"


def _of_subscriber(subscriber_id: str) -> str:
    """Whose a sealed number is that is kept."""
    return f"subscriber:{subscriber_id}"


class Phones:
    """What a person can do about a question for their number. One store call each."""

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    async def share(self, update: Update, given: str, *, own: bool) -> Sharing:
        """A contact came; `own` is what the messenger vouches for."""

        async def act(tx: Tx, asked: AskedNumber, project: Project, sub: Subscriber) -> Sharing:
            if not own:
                return NumberUnfit(project, Unfit.FOREIGN)
            number = e164(given)
            if number is None:
                await tx.end_number(asked.request_id)  # the messenger would say the same again
                return NumberUnfit(project, Unfit.UNUSABLE)
            await self._store_number(tx, asked, project, number)
            tx.emit(PhoneShared(asked.request_id, sub))
            return NumberTaken(project)

        return await self._asked(update, act, again=own)

    async def typed(self, update: Update) -> Sharing:
        """A number was written."""

        async def act(_tx: Tx, _asked: AskedNumber, project: Project, _sub: Subscriber) -> Sharing:
            return NumberUnfit(project, Unfit.TYPED)

        return await self._asked(update, act)

    async def skip(self, update: Update) -> Sharing:
        """The person does not want to share it."""

        async def act(tx: Tx, asked: AskedNumber, project: Project, _sub: Subscriber) -> Sharing:
            await tx.end_number(asked.request_id)
            return NumberSkipped(project)

        return await self._asked(update, act)

    async def _store_number(self, tx: Tx, asked: AskedNumber, project: Project, number: str) -> None:
        raw, seals = number.encode(), self._rules.seals
        await tx.share_number(asked.request_id, seals.seal(raw, _of_request(asked.request_id)))
        if project.keep_phone:
            sealed = seals.seal(raw, _of_subscriber(asked.subscriber_id))
            await tx.keep_number(asked.subscriber_id, sealed)

    async def _asked(self, update: Update, act: Asked, *, again: bool = False) -> Sharing:
        """Act on the one question that is open for this person.

        `again`: what was shared and not told yet is answered as it was before, as that answer may have been lost.
        """

        async def work(tx: Tx) -> Sharing:
            asked = await tx.newest_number(update.person)
            if asked is None:
                return NumberUnasked()
            project = await tx.project(asked.project_id)
            sub = await tx.subscriber_by_id(asked.subscriber_id)
            asked = await tx.asked_number(asked.request_id)  # as it is now that its subscriber is locked
            if asked is None or project is None or sub is None or not sub.subscribed:
                return NumberUnasked()
            if asked.number is not None and again:
                return NumberTaken(project)
            if not asked.is_open(tx.now):
                return NumberUnasked()
            if not project.enabled:
                return Dead(Unusable.PAUSED)
            return await act(tx, asked, project, sub)

        done: Sharing | Repeated = await once(self._store, update, work)
        return done


@value
class Question:
    """What a person is to be asked."""

    request_id: str
    project: Project
    subscriber: Subscriber


async def question(tx: Tx, job: Job) -> Question | None:
    """What the job is to ask, while that is still so."""
    asked = await tx.asked_number(job.subject)
    if asked is None or not asked.is_open(tx.now):
        return None
    project = await tx.project(asked.project_id)
    sub = await tx.subscriber_by_id(asked.subscriber_id)
    if project is None or not project.enabled or sub is None or not sub.subscribed:
        return None
    return Question(asked.request_id, project, sub)


async def begin(tx: Tx, job: Job) -> Question | None:
    """What the job is to ask; from now on a tap answers this question.

    Not before: until it is on the screen, the keyboard that is there is that of another question.
    """
    found = await question(tx, job)
    if found is not None:
        await tx.show_number(found.request_id, found.subscriber.person)
    return found


async def take(store: Store, rules: Rules, caller: Caller, request_id: str) -> str | None:
    """The number that was shared for a request, told for the first and last time. Raises `RequestNotFound`."""

    async def work(tx: Tx) -> str | None:
        request = await known_request(tx, caller, request_id)
        sealed = await tx.take_number(request.id)
        return _opened(rules.seals, sealed, _of_request(request.id))

    return await store.write(work)


async def kept(tx: Tx, seals: Seals, subscriber_id: str) -> str | None:
    """The number that is kept of a subscriber."""
    sealed = await tx.kept_number(subscriber_id)
    return _opened(seals, sealed, _of_subscriber(subscriber_id))


async def shown(tx: Tx, seals: Seals, subscriber_id: str) -> Mapping[str, Sequence[Record]]:
    """What is kept of a subscriber's numbers, for themselves to see; a number is None where its key is gone."""
    waiting = [
        {
            "request_id": one.request_id,
            "asked_at": one.asked_at,
            "number": _opened(seals, one.number, _of_request(one.request_id)),
        }
        for one in await tx.numbers_of(subscriber_id)
    ]
    number = await tx.kept_number(subscriber_id)
    held = [{"number": _opened(seals, number, _of_subscriber(subscriber_id))}] if number is not None else []
    return {"phone_questions": waiting, "kept_phone": held}


def _opened(seals: Seals, sealed: Sealed | None, owner: str) -> str | None:
    raw = seals.open(sealed, owner) if sealed is not None else None
    return raw.decode() if raw is not None else None


async def reseal(store: Store, seals: Seals) -> int:
    """Seal under the first key the kept numbers that are under another one, so that that one can go; how many."""
    after, done = "", 0
    while stale := await store.read(partial(_stale, seals=seals, after=after)):
        done += await store.write(partial(_resealed, seals=seals, stale=stale))
        after = stale[-1][0]
    return done


async def _stale(tx: Tx, *, seals: Seals, after: str) -> Stale:
    return await tx.stale_numbers(seals.current, after, RESEALED_AT_ONCE)


async def _resealed(tx: Tx, *, seals: Seals, stale: Stale) -> int:
    done = 0
    for subscriber_id, sealed in stale:
        raw = seals.open(sealed, _of_subscriber(subscriber_id))
        if raw is not None:  # else its key is gone, and the number with it
            fresh = seals.seal(raw, _of_subscriber(subscriber_id))
            done += await tx.reseal_number(subscriber_id, sealed, fresh)
    return done
