"""The domain over a real store, with surroundings that a test moves, beside the plain model that foretells it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
)

from otp.courier import Courier
from otp.errors import OtpError
from otp.model import Caller, Channel, Parcel, Person, Subscriber
from otp.outcomes import Coming, Dead, Offered
from otp.policy import Policy
from otp.ports import Accepted, Outcome, Tx
from otp.service import OtpService
from otp.taps import Update
from storage import open_store
from tests.fakes import FakeClock, FakeMessenger, NamedBots
from tests.foretold import Flight, Request
from tests.histories import Model
from tests.world import ANN, World, make_world

T = TypeVar("T")
BUDGET = 3
LIMIT = 4
PURPOSES = ("login", "pay")


class Moody(FakeMessenger):
    """Answers as its mood is when it answers."""

    mood: Outcome = Accepted("")

    async def hand_over(self, parcel: Parcel, timeout_ms: int) -> Outcome:
        await super().hand_over(parcel, timeout_ms)
        return Accepted(f"m{len(self.parcels)}") if isinstance(self.mood, Accepted) else self.mood


@dataclass
class Waiting:
    """A caller of a send without an answer yet."""

    task: asyncio.Task[tuple[int, bool]]
    flight: Flight


def named(outcome: object) -> str:
    """What came of an act, as the model says it."""
    match outcome:
        case Dead(why):
            return f"Dead {why}"
        case Offered(why=why):
            return f"Offered {why}"
        case Coming(fresh=fresh):
            return "Coming fresh" if fresh else "Coming old"
        case _:
            return type(outcome).__name__


class BesideTheModel(RuleBasedStateMachine):
    """The service, its surroundings, and the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.messengers = {"telegram": Moody(), "max": Moody()}
        self.model = Model(self.clock.now(), BUDGET, LIMIT)
        self.read = {"telegram": 0, "max": 0}
        self.waiting: list[Waiting] = []
        self.given: list[tuple[Callable[[], Coroutine[Any, Any, object]], int]] = []
        self.ends: dict[str, str] = {}
        self.world: World = self.runner.run(self._make())
        self.sites: tuple[Caller, Caller] = (self.world.caller, self.world.other)

    async def _make(self) -> World:
        store = await open_store("sqlite:///:memory:", self.clock)
        policy = Policy(send_limit=LIMIT, guess_budget=BUDGET)
        world = await make_world(store, self.clock, policy)
        await self._restart(world)
        return world

    async def _restart(self, world: World) -> None:
        """Nothing of the old process goes on; a new one takes up what the store holds."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await world.courier.close(0)
        messengers = {Channel(name): one for name, one in self.messengers.items()}
        world.courier = Courier(world.store, world.rules, self.clock, messengers, world.failures.append)
        world.store.listen(world.courier.on_event)
        world.service = OtpService(
            world.store, world.rules, world.courier, NamedBots({Channel.TELEGRAM: "bot"})
        )
        await world.courier.recover(at_start=True)

    def teardown(self) -> None:
        self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        for waiting in self.waiting:
            waiting.task.cancel()
        await self.world.courier.close(0)
        await self.world.store.close()

    # ------------------------------------------------------------------ doing

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end, and all that follows from it without the clock."""

        async def all_of_it() -> T:
            try:
                return await work
            finally:
                await self._calm()

        return self.runner.run(all_of_it())

    async def _calm(self) -> None:
        for _ in range(7):
            for _ in range(6):
                await asyncio.sleep(0)
            await self.world.store.read(nothing)

    def tap(
        self, person: Person, foretold: str, act: Callable[[Update], Coroutine[Any, Any, object]]
    ) -> None:
        """Something that a person does, and what it must come to."""
        update = self.world.update(person)
        came = self.do(act(update))
        self.given.append((lambda: act(update), self.clock.now()))
        self.model.fly()
        assert named(came) == foretold
        if any(not sub.id for sub in self.model.subs.values()):
            self.runner.run(self._learn_ids())

    def pick(self, back: int) -> Request | None:
        """A request, counted from the newest; mostly one that may still be open."""
        everything = self.model.requests
        requests = [one for one in everything if one.status == "pending"] if back < 2 else everything
        requests = requests or everything
        return requests[-1 - back % len(requests)] if requests else None

    def presser(self, request: Request, person: Person | None) -> Person:
        """Somebody who presses a button of a request: mostly who was asked last."""
        return person or next(reversed(request.questions), ANN)

    def some_flight(self, back: int) -> Flight | None:
        """A delivery whose digits somebody has seen."""
        flights = [flight for flight in self.model.flights() if flight.code.id]
        flights.sort(key=lambda flight: flight.claimed)
        return flights[-1 - back % len(flights)] if flights else None

    # ------------------------------------------------------------------ what must hold after each step

    @invariant()
    def attempts_are_foretold(self) -> None:
        """Exactly these messages were handed over, each with the digits of its code."""
        self.runner.run(self._learn_ids())
        for channel, messenger in self.messengers.items():
            for parcel in messenger.parcels[self.read[channel] :]:
                self._match(parcel)
            self.read[channel] = len(messenger.parcels)
        assert self.model.attempts == []
        assert self.world.failures == []

    async def _learn_ids(self) -> None:
        for (site, person), sub in self.model.subs.items():
            caller = self.sites[site]
            found = await self.world.store.read(partial(_subscriber, caller=caller, person=person))
            assert found is not None
            sub.id = sub.id or found.id
            told = (found.id, found.subscribed, found.wrong_guesses, found.locked)
            assert told == (sub.id, sub.subscribed, sub.wrong, sub.locked)

    def _match(self, parcel: Parcel) -> None:
        sent = parcel.delivery
        whose = sent.subscriber_id, sent.terms.purpose
        flight = next(one for one in self.model.attempts if (one.sub.id, one.purpose) == whose)
        self.model.attempts.remove(flight)
        assert sent.request_id == (flight.request.id if flight.request else None)
        assert sent.person == flight.sub.person
        code = flight.code
        assert code.digits in ("", parcel.digits)
        code.digits, code.id = parcel.digits, sent.code_id

    @invariant()
    def callers_are_answered(self) -> None:
        """Each send has the answer that its delivery has come to, and none before."""
        for waiting in list(self.waiting):
            foretold = self.model.sent(waiting.flight)
            assert waiting.task.done() == (foretold is not None)
            if foretold is not None:
                self.waiting.remove(waiting)
                error = waiting.task.exception()
                assert (named(error) if error else "sent") == foretold

    @invariant()
    def requests_are_as_foretold(self) -> None:
        """For both sites; and an end that was once read never changes while it can be read."""
        self.runner.run(self._read_all())

    async def _read_all(self) -> None:
        for request in self.model.requests:
            for site in (0, 1):
                try:
                    came = str((await self.world.service.status(self.sites[site], request.id)).status)
                except OtpError as error:
                    came = type(error).__name__
                assert came == self.model.read(site, request)
            status = self.model.read(request.site, request)
            if status == "expired" and request.status == "pending":
                self.model.ended(request)  # that it was read is written down
            if status in ("sent", "cancelled", "expired"):
                assert self.ends.setdefault(request.id, status) == status

    @invariant()
    def codes_are_as_foretold(self) -> None:
        """At most one per purpose, with its attempts."""
        self.runner.run(self._read_codes())

    async def _read_codes(self) -> None:
        for sub in self.model.subs.values():
            codes = {purpose: self.model.code(sub, purpose) for purpose in PURPOSES}
            foretold = {purpose: (code.id, code.made) for purpose, code in codes.items() if code is not None}
            assert await self.world.store.read(partial(_alive, subscriber_id=sub.id)) == foretold


async def _subscriber(tx: Tx, caller: Caller, person: Person) -> Subscriber | None:
    return await tx.subscriber_of(caller.project.id, caller.mode, person)


async def _alive(tx: Tx, subscriber_id: str) -> dict[str, tuple[str, int]]:
    codes = {purpose: await tx.code(subscriber_id, purpose) for purpose in PURPOSES}
    return {purpose: (code.id, code.attempts) for purpose, code in codes.items() if code is not None}


async def nothing(_tx: object) -> None:
    return None
