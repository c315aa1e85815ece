"""What time does: requests run out, rows whose time is over go, people are told of a lock. Operations on a transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, Final

from otp.delivery import Rules, finish, note_message
from otp.jobs import Handler
from otp.lifecycle import status_at, under_way
from otp.model import (
    Ending,
    Job,
    MessageKind,
    Mode,
    Person,
    Project,
    RequestStatus,
    SentMessage,
    ShownCode,
    ShownQuestion,
    Subscriber,
)
from otp.policy import SECOND_MS
from otp.ports import Clock, Store, Tx
from otp.retention import Retention
from otp.values import value

BATCH: Final = 500
"""Rows of a kind that one transaction ends or removes at most."""
FIRST_BATCH: Final = 32
"""As many to begin with where all others wait meanwhile: how long it takes is not known yet."""
HOLD_S: Final = 0.001
"""How long all others may wait for a batch: as they do for each other. It is in one commit with what they want."""
GROWTH: Final = 2
"""Of a batch after one that was quick: it may have been luck."""
LONG_REST: Final = 99
"""Times as long as a batch took until the next one: then it is not among the slowest hundredth of what others wait for."""
SHORT_REST: Final = 9
"""The same, where there has been more to do for long: it must not become ever more."""
LONGEST_REST_S: Final = 5.0
"""However long a batch took: the machine may have stood still meanwhile."""
PATIENCE: Final = 50
"""Batches after which the rests are a little shorter, while there is more to do."""
IN_A_ROW: Final = 50
"""Batches under one lease of the job."""
BEING_SENT_MS: Final = 30 * SECOND_MS
"""After this a message has its messenger's id, or will never have one."""
SWEEP_MS: Final = 5 * SECOND_MS
MORE_MS: Final = 100
"""Until the job comes again when there is more to do."""

Some = Callable[[Tx, int], Coroutine[Any, Any, int]]
"""Does something to so many rows of each kind, at most; how many there were. With fewer, nothing is left."""


class Batches:
    """Does much little by little: where all wait while it works, in batches that take a moment, with rests between them."""

    def __init__(self, store: Store, clock: Clock, seconds: Callable[[], float] = perf_counter) -> None:
        """`seconds` tells how long something took."""
        self._store = store
        self._clock = clock
        self._seconds = seconds
        self.rows = FIRST_BATCH if store.holds_up else BATCH
        self._batches = 0
        """Since nothing was left."""

    async def run(self, some: Some) -> bool:
        """Some batches; whether there is more to do."""
        for _ in range(IN_A_ROW if self._store.holds_up else 1):
            rows = self.rows
            done, took = await self._store.write(partial(self._timed, some, rows))
            if self._store.holds_up:
                self.rows = max(1, min(BATCH, rows * GROWTH, round(rows * HOLD_S / max(took, 1e-6))))
            if done < rows:
                self._batches = 0
                return False
            self._batches += 1
            if self._store.holds_up:
                rest = took * max(SHORT_REST, LONG_REST - self._batches // PATIENCE)
                await self._clock.sleep(min(rest, LONGEST_REST_S))
        return True

    async def _timed(self, some: Some, rows: int, tx: Tx) -> tuple[int, float]:
        began = self._seconds()
        done = await some(tx, rows)
        return done, self._seconds() - began


def sweep(store: Store, clock: Clock, retention: Retention | None = None) -> Handler:
    """The job that does what time asks for; with `retention` people are kept for a time too."""
    wanted: list[Some] = [expire_requests, purge, purge_deliveries]
    if retention is not None:
        wanted.append(retention.step)
    # Each has batches of its own: how many rows take a moment is another number for each.
    todo = [(Batches(store, clock), some) for some in wanted]

    async def once(_job: Job) -> int | None:
        more = [await batches.run(some) for batches, some in todo]
        return clock.now() + (MORE_MS if any(more) else SWEEP_MS)

    return once


def erase_project(store: Store, clock: Clock) -> Handler:
    """The job that goes on where a deletion was cut short."""
    batches = Batches(store, clock)

    async def once(job: Job) -> int | None:
        async def some(tx: Tx, rows: int) -> int:
            return rows if await tx.erase_project(job.subject, rows) else 0

        return clock.now() + MORE_MS if await batches.run(some) else None

    return once


async def expire_requests(tx: Tx, rows: int = BATCH) -> int:
    """Write down that requests ran out; how many. Readers know it without this."""
    overdue = await tx.overdue_requests(rows)
    for request in overdue:
        # A claim may have been committed while the request was looked for: now it is locked.
        flight = under_way(await tx.request_deliveries(request.id))
        if status_at(request, flight, tx.now) is RequestStatus.EXPIRED:
            await finish(tx, request, RequestStatus.EXPIRED)
    return len(overdue)


async def purge(tx: Tx, rows: int = BATCH) -> int:
    """Remove what is over; how much."""
    return await tx.purge(rows)


async def purge_deliveries(tx: Tx, rows: int = BATCH) -> int:
    """Remove deliveries that are over, by themselves: it locks subscribers, and nothing may be locked before them."""
    return await tx.purge_deliveries(rows)


@value
class LockNotice:
    """What a person is told of a lock."""

    note: SentMessage
    project: Project
    subscriber: Subscriber


@value
class Closing:
    """A code message that is to tell why its code has ended."""

    message: ShownCode
    project: Project
    subscriber: Subscriber
    ending: Ending
    given: bool = False
    """The code is the site's own."""


@value
class ClosingQuestion:
    """A message with buttons that is to tell that the site cancelled its request."""

    message: ShownQuestion
    messenger_id: str
    project: Project
    language: str


async def closing(tx: Tx, job: Job) -> Closing | ClosingQuestion | int | None:
    """What a message is to become; or when to look again, while its code lives; None when there is nothing to do."""
    message = await tx.shown_code(job.subject)
    if message is None:
        return await _stray(tx, job) if job.payload else await _closing_question(tx, job)
    ending = message.ended
    if ending is None:
        alive_until = await tx.code_end(message.code_id)
        if alive_until is not None:
            return alive_until
        ending = Ending.EXPIRED
    delivery = await tx.delivery(message.delivery_id)
    if delivery is None:
        return None
    subscriber = await tx.subscriber_by_id(delivery.subscriber_id)
    project = await tx.project(delivery.project_id)
    if subscriber is None or project is None:
        return None
    return Closing(message, project, subscriber, ending, delivery.terms.given_for is not None)


async def _closing_question(tx: Tx, job: Job) -> ClosingQuestion | int | None:
    message = await tx.shown_question(job.subject)
    if message is None:
        return None
    if message.messenger_id is None:  # it is being sent, or never was
        return tx.now + SECOND_MS if tx.now < message.created_at + BEING_SENT_MS else None
    request = await tx.request(message.request_id)
    project = await tx.project(request.project_id) if request is not None else None
    if request is None or project is None:
        return None
    sub = await tx.subscriber_of(project.id, request.mode, message.person)
    language = await tx.chosen_language(message.person) or message.language or (sub.language if sub else "")
    return ClosingQuestion(message, message.messenger_id, project, language)


async def _stray(tx: Tx, job: Job) -> Closing | None:
    """The message of somebody who was forgotten: the job alone knows of it."""
    told = json.loads(job.payload)
    project = await tx.project(told["project_id"])
    if project is None:
        return None
    person, ending = Person.at(told["address"]), Ending(told["ending"])
    nobody = Subscriber("", project.id, Mode(told["mode"]), person, told["language"], False, 0, False)
    message = ShownCode(job.subject, told["messenger_id"], person, job.subject, "", ending)
    return Closing(message, project, nobody, ending)


async def lock_notice(tx: Tx, rules: Rules, job: Job) -> LockNotice | None:
    """End the job, and what is to be said if it is still true: told at most once, even if we die before it is said."""
    await tx.end_job(job, None)
    subscriber = await tx.subscriber_by_id(job.subject)
    if subscriber is None or not subscriber.locked or not subscriber.subscribed:
        return None
    project = await tx.project(subscriber.project_id)
    if project is None:
        return None
    note = await note_message(tx, rules, subscriber.person, MessageKind.LOCKED, subscriber_id=subscriber.id)
    return LockNotice(note, project, subscriber)
