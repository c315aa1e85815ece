"""The courier carries claimed deliveries to the messengers and writes down what became of them.

It is woken by the claim itself, so nothing waits for a poll; it holds no state that the store does not have, so a
restart (or another replica) goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from otp.breaker import Breaker, BreakerState
from otp.delivery import Rules, begin, record, settle_over, withdraw
from otp.errors import StorageUnavailable
from otp.events import DeliveryClaimed, Event
from otp.forgetting import closed_stray
from otp.lifecycle import UNDER_WAY
from otp.lookout import Ask, Lookout
from otp.model import Cause, Channel, Delivery, DeliveryState, Parcel, Person, Refusal
from otp.policy import ATTEMPT_TIMEOUT_MS, ORPHAN_MS, SECOND_MS, SEND_PATIENCE_MS
from otp.ports import Accepted, Clock, Messenger, NotSent, Outcome, Refused, Store, Tx, Unknown
from otp.tasks import Tasks

AT_ONCE: Final = 100
"""Calls of one messenger that may be open at once for `/send`, and as many for taps: neither waits behind the other."""
ANSWER_SECONDS: Final = SEND_PATIENCE_MS / SECOND_MS
"""A caller of `/send` is answered by then, whatever the messenger and the store do."""
RECOVER_BATCH: Final = 200
LOOK_AGAIN_MS: Final = 1 * SECOND_MS
STRANDED_MS: Final = 5 * SECOND_MS
"""A claim that was due this long ago and is nobody's here was left behind by another process."""
LOOK_ROUND_MS: Final = 3 * SECOND_MS
"""With the time above: what a dead process left moves on in less than ten seconds."""


class Courier:
    """Carries deliveries, each in a task of its own."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        clock: Clock,
        messengers: Mapping[Channel, Messenger],
        failed: Callable[[BaseException], None],
        told: Callable[[Channel, BreakerState], None] = lambda *_: None,
        ask: Ask | None = None,
    ) -> None:
        """`failed` is told of our own bugs; the messengers' faults are outcomes, not failures; `told` of the breakers.

        `ask` finds out what is the matter with a messenger that takes no codes.
        """
        self._store = store
        self._rules = rules
        self._clock = clock
        self._messengers = messengers
        self._failed = failed
        self._tasks = Tasks(failed)
        self._carrying: dict[str, asyncio.Task[Delivery | None]] = {}
        self._attempted: dict[str, Delivery] = {}
        """What is being carried and was given to a messenger, as it was then."""
        self._given: dict[str, str] = {}
        """Codes of what is being carried that are not ours: they are nowhere else."""
        self._gates = {
            (channel, sends): asyncio.Semaphore(AT_ONCE) for channel in messengers for sends in (True, False)
        }
        self._told = told
        self._lookout = Lookout(clock, ask, failed) if ask is not None else None
        self.breakers = {channel: Breaker(clock, partial(self._turned, channel)) for channel in messengers}
        self._closing = asyncio.Event()
        self._closed = False

    def _turned(self, channel: Channel, state: BreakerState) -> None:
        """A breaker changed."""
        self._told(channel, state)
        if self._lookout is not None and state is BreakerState.CLOSED:
            self._lookout.over(channel)

    def on_event(self, event: Event) -> None:
        """Set out as soon as a claim is committed."""
        if isinstance(event, DeliveryClaimed):
            task = self.set_out(
                event.delivery_id, event.channel, event.cause, event.parcel, played=event.played
            )
            if task is not None and event.given is not None:
                self._given[event.delivery_id] = event.given

    def is_free(self, channel: Channel) -> bool:
        """Whether a `/send` claimed now would be attempted at once: then claim and attempt can begin in one commit.

        Where many are told so together, some wait with their attempt begun; that costs nothing but the restart that a
        mere claim would have survived.
        """
        return (
            channel in self._messengers
            and not self._closed
            and not self._gates[channel, True].locked()
            and self.breakers[channel].state is BreakerState.CLOSED
        )

    def set_out(
        self,
        delivery_id: str,
        channel: Channel,
        cause: Cause,
        parcel: Parcel | None = None,
        *,
        played: bool = False,
    ) -> asyncio.Task[Delivery | None] | None:
        """Carry a delivery, unless that is being done; None once closed, or when its channel is off.

        `parcel` is what an attempt that was begun already hands over. What is `played` says nothing of its messenger.
        """
        if delivery_id in self._carrying:
            return self._carrying[delivery_id]
        if self._closed or channel not in self._messengers:
            return None
        breaker = Breaker(self._clock, lambda _: None) if played else self.breakers[channel]
        task = self._tasks.start(self._carry(delivery_id, channel, cause, parcel, breaker))
        if task is not None:
            if parcel is not None:
                self._attempted[delivery_id] = parcel.delivery
            self._carrying[delivery_id] = task
            task.add_done_callback(lambda _: self._put_down(delivery_id))
        return task

    def _carried(self, delivery: Delivery) -> asyncio.Task[Delivery | None] | None:
        """As `set_out`."""
        person = delivery.person
        return self.set_out(delivery.id, person.channel, delivery.cause, played=person.is_played)

    async def settled(self, delivery: Delivery) -> None:
        """Wait until this process has put a delivery down, if it carries it."""
        task = self._carried(delivery)
        if task is not None:
            await asyncio.shield(task)

    def _put_down(self, delivery_id: str) -> None:
        self._carrying.pop(delivery_id, None)
        self._attempted.pop(delivery_id, None)
        self._given.pop(delivery_id, None)

    def is_carrying(self, delivery_id: str) -> bool:
        """Whether this process has the delivery in its hands."""
        return delivery_id in self._carrying

    async def outcome(self, claimed: Delivery, seconds: float = math.inf) -> Delivery | None:
        """A delivery of `/send` once it is settled, or as it is when the caller must be answered, after so many seconds.

        A caller that goes away changes nothing. What was not begun by then is withdrawn: it is answered as not sent.
        """
        task = self._carried(claimed)
        if task is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(seconds, ANSWER_SECONDS)):
                    return await asyncio.shield(task)
        try:
            return await self._store.write(lambda tx: _give_up(tx, self._rules, claimed.id))
        except StorageUnavailable:
            if claimed.id in self._attempted:
                return self._attempted[claimed.id]  # it may have arrived, so "try again" would be wrong
            raise

    async def recover(self, *, at_start: bool = False) -> None:
        """Take up what a dead process left: claims are carried, attempts without a result are unknown."""
        now = self._clock.now()
        due_before = now if at_start else now - STRANDED_MS
        left = await self._store.read(lambda tx: tx.stranded(due_before, now - ORPHAN_MS, RECOVER_BATCH))
        for delivery in left:
            if delivery.state is DeliveryState.CLAIMED:
                self._carried(delivery)
            elif not self.is_carrying(delivery.id):
                await self._settle_over(delivery.id)

    async def look_round(self) -> None:
        """Recover again and again, in every process: whichever looks first goes on, so the death of none is waited for."""
        while True:
            await self._clock.sleep(LOOK_ROUND_MS / SECOND_MS)
            with suppress(StorageUnavailable):
                await self.recover()

    async def _settle_over(self, delivery_id: str) -> Delivery | None:
        return await self._store.write(lambda tx: settle_over(tx, self._rules, delivery_id))

    def stop_retrying(self) -> None:
        """Wait for no further attempt: the process is about to end. What calls under way bring has its first one."""
        self._closing.set()

    async def close(self, seconds: float) -> None:
        """Take nothing more, and let what is at a messenger end."""
        self._closed = True
        self.stop_retrying()
        if self._lookout is not None:
            await self._lookout.close()
        await self._tasks.drain(seconds)

    # ---------------------------------------------------------------- one delivery

    async def _carry(
        self, delivery_id: str, channel: Channel, cause: Cause, parcel: Parcel | None, breaker: Breaker
    ) -> Delivery | None:
        gate = self._gates[channel, cause is Cause.SEND]
        step: Delivery | None = None
        while True:
            async with gate:
                if parcel is not None:
                    step, parcel = await self._attempt_begun(parcel, breaker), None
                elif breaker.lets_through():
                    step = await self._step(delivery_id, breaker)
                elif cause is Cause.SEND:
                    step = await self._store.write(lambda tx: _give_up(tx, self._rules, delivery_id))
                elif step is None or self._clock.now() >= step.give_up_at:
                    step = await self._settle_over(delivery_id)
            if step is None or step.state not in UNDER_WAY:
                return step
            if not await self._wait_until(self._next_look(step)):
                return await self._stop(step)

    def _next_look(self, step: Delivery) -> int:
        """When it is due; what is due already waits for the breaker, or is in the hands of another process."""
        now = self._clock.now()
        later = step.state is DeliveryState.CLAIMED and step.due_at > now
        return step.due_at if later else now + LOOK_AGAIN_MS

    async def _step(self, delivery_id: str, breaker: Breaker) -> Delivery | None:
        """The next attempt, if one is due now."""
        given = self._given.get(delivery_id)
        begun = await self._store.write(lambda tx: begin(tx, self._rules, delivery_id, given))
        if isinstance(begun, Parcel):
            self._attempted[delivery_id] = begun.delivery
            return await self._attempt(begun, breaker)
        breaker.unused()
        return begun

    async def _attempt_begun(self, parcel: Parcel, breaker: Breaker) -> Delivery | None:
        """The attempt that was begun with the claim, unless its messenger or its time is gone meanwhile."""
        if self._patience(parcel.delivery) <= 0 or not breaker.lets_through():
            return await self._record(parcel, NotSent())
        return await self._attempt(parcel, breaker)

    async def _attempt(self, parcel: Parcel, breaker: Breaker) -> Delivery | None:
        delivery = parcel.delivery
        patience = max(1, min(ATTEMPT_TIMEOUT_MS, self._patience(delivery)))
        outcome: Outcome
        try:
            outcome = await self._messengers[delivery.person.channel].hand_over(parcel, patience)
        except Exception as error:  # noqa: BLE001  # a bug of ours after the message may have gone out
            self._failed(error)
            outcome = Unknown()
        answered = _was_answered(outcome)
        breaker.note(answered=answered)
        if not answered or (isinstance(outcome, Refused) and outcome.unauthorized):
            self._find_out(delivery.person)
        return await self._record(parcel, outcome)

    def _find_out(self, person: Person) -> None:
        """A code did not go for a reason that is none of its own."""
        if self._lookout is not None and not person.is_played:
            self._lookout.watch(person.channel, self.breakers[person.channel])

    def _patience(self, delivery: Delivery) -> int:
        """`/send` is answered in time whatever the messenger does; a tap may take a whole attempt."""
        return delivery.give_up_at - self._clock.now() if delivery.cause is Cause.SEND else ATTEMPT_TIMEOUT_MS

    async def _record(self, parcel: Parcel, outcome: Outcome) -> Delivery | None:
        """Write the outcome down, with patience: what is not written within the time of an orphan becomes unknown."""
        delivery = parcel.delivery
        until = self._clock.now() + ORPHAN_MS
        while True:
            try:
                done = await self._store.write(lambda tx: _recorded(tx, self._rules, parcel, outcome))
            except StorageUnavailable:
                if self._clock.now() >= until:
                    return delivery  # still attempting, as far as anybody knows
                await self._clock.sleep(1)
            else:
                if done is None or done.state is not DeliveryState.ATTEMPTING:
                    self._attempted.pop(delivery.id, None)
                return done

    async def _wait_until(self, due_at: int) -> bool:
        """Wait for the next attempt; False when we are closing."""
        seconds = max(0, due_at - self._clock.now()) / SECOND_MS
        await self._tasks.first(self._clock.sleep(seconds), self._closing.wait())
        return not self._closing.is_set()

    async def _stop(self, delivery: Delivery) -> Delivery | None:
        """At shutdown: `/send` is told that nothing was sent, so nothing may be sent later; a tap waits for the restart."""
        if delivery.cause is not Cause.SEND or delivery.state is not DeliveryState.CLAIMED:
            return delivery
        return await self._store.write(lambda tx: _give_up(tx, self._rules, delivery.id))


def _was_answered(outcome: Outcome) -> bool:
    return isinstance(outcome, (Accepted, Refused)) or (isinstance(outcome, NotSent) and outcome.answered)


async def _recorded(tx: Tx, rules: Rules, parcel: Parcel, outcome: Outcome) -> Delivery | None:
    done = await record(tx, rules, parcel.delivery.id, outcome)
    if done is None and isinstance(outcome, Accepted):
        await closed_stray(tx, parcel, outcome.message_id)
    return done


async def _give_up(tx: Tx, rules: Rules, delivery_id: str) -> Delivery | None:
    delivery = await tx.delivery(delivery_id)
    if delivery is None or delivery.state is not DeliveryState.CLAIMED:
        return delivery
    return await withdraw(tx, rules, delivery, Refusal.UNAVAILABLE)
