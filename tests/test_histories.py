"""Random histories of the whole domain over a real store, each answer foretold by a plain model of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otp.courier import Courier
from otp.errors import OtpError
from otp.housekeeping import expire_requests, purge
from otp.model import Caller, Channel, CodeTerms, Parcel, Person, Refusal, Subscriber
from otp.outcomes import Coming, Dead, Offered, Repeated
from otp.policy import Policy
from otp.ports import Accepted, NotSent, Outcome, Refused, Tx, Unknown
from otp.service import OtpService
from otp.taps import Update
from storage import open_store
from tests.fakes import FakeClock, FakeMessenger
from tests.histories import MINUTE, SHOWN, Code, Flight, Model, Request, Sub
from tests.world import ANN, BOB, CAT, World, make_world, wrong

T = TypeVar("T")
BUDGET = 3
LIMIT = 4
PURPOSES = ("login", "pay")
OUTCOMES: tuple[Outcome, ...] = (
    Accepted(""),
    Accepted(""),
    Accepted(""),
    Unknown(),
    NotSent(),
    NotSent(6_000),
    Refused(Refusal.REJECTED),
    Refused(Refusal.GONE),
)
LEAPS = (
    1,
    2,
    4,
    5,
    14,
    15,
    16,
    20,
    45,
    59,
    60,
    61,
    120,
    299,
    300,
    301,
    600,
    885,
    899,
    900,
    901,
    86_399,
    86_400,
)

# Most of what happens is about one person, one site and the newest request: so it has consequences.
sites = st.sampled_from([0, 0, 0, 0, 1])
people = st.sampled_from([ANN, ANN, ANN, ANN, BOB, CAT])
pressers = st.sampled_from([None, None, None, None, None, ANN, BOB, CAT])
purposes = st.sampled_from(["login", "login", "login", "pay"])
which = st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2, 3])
"""Counts back from the newest."""
channels = st.sampled_from(["telegram", "telegram", "telegram", "max"])
outcomes = st.sampled_from([*OUTCOMES, None])


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


class Histories(RuleBasedStateMachine):
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
        world.courier.stop_retrying()
        messengers = {Channel(name): one for name, one in self.messengers.items()}
        world.courier = Courier(world.store, world.rules, self.clock, messengers, world.failures.append)
        world.store.listen(world.courier.on_event)
        world.service = OtpService(world.store, world.rules, world.courier, lambda: {Channel.TELEGRAM: "bot"})
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
            await self.world.store.read(_nothing)

    def tap(
        self, person: Person, foretold: str, act: Callable[[Update], Coroutine[Any, Any, object]]
    ) -> None:
        """Something that a person does, and what it must come to."""
        update = self.world.update(person)
        came = self.do(act(update))
        self.given.append((lambda: act(update), self.clock.now()))
        self.model.fly()
        assert named(came) == foretold

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

    # ------------------------------------------------------------------ sites

    @initialize(site=sites, person=people)
    def begin(self, site: int, person: Person) -> None:
        """Most histories are about somebody who has consented."""
        self.request(site, "login", None, 5, 3)
        self.open(person, 0)
        self.consent(person, 0)

    @rule(
        site=sites,
        purpose=purposes,
        channel=st.sampled_from([None, None, "telegram", "max"]),
        ttl=st.sampled_from([1, 5, 30]),
        most=st.integers(1, 3),
    )
    def request(self, site: int, purpose: str, channel: str | None, ttl: int, most: int) -> None:
        """A site asks for a code for somebody."""
        caller, terms = self.sites[site], CodeTerms(purpose, ttl, most, 8)
        if not self.model.enabled[site]:
            return
        made = self.do(
            self.world.service.request(caller, Channel.TELEGRAM if channel == "telegram" else None, terms)
        )
        channel = "telegram" if channel == "telegram" else None
        expires = self.clock.now() + 15 * MINUTE
        self.model.requests.append(
            Request(made.request.id, site, purpose, channel, ttl * MINUTE, most, expires)
        )

    @rule(
        site=sites, person=people, purpose=purposes, most=st.sampled_from([1, 2, 3, 3, 3]), outcome=outcomes
    )
    def ask(self, site: int, person: Person, purpose: str, most: int, outcome: Outcome | None) -> None:
        """From the wish to what comes of it: a request, its link, consent where it is asked for; None hangs."""
        if not self.model.enabled[site]:
            self.switch(site, back_on=True)
        self.request(site, purpose, None, 5, most)
        self.open(person, 0)
        if outcome is None:
            self.hang(person.channel)
        else:
            self.mood(person.channel, outcome)
        self.consent(person, 0)
        if outcome is not None:
            self.mood(person.channel, Accepted(""))

    @rule(site=sites, person=people, outcome=outcomes)
    def ask_once_more(self, site: int, person: Person, outcome: Outcome | None) -> None:
        """The same, for what is asked for most."""
        self.ask(site, person, "login", 3, outcome)

    @rule(site=sites, person=people, purpose=purposes, reuse=st.booleans(), most=st.integers(1, 3))
    def send(self, site: int, person: Person, purpose: str, reuse: bool, most: int) -> None:
        """A site sends a code to a subscriber."""
        sub = self.model.subs.get((site, person))
        if sub is None:
            return
        foretold = self.model.send(sub, purpose, Code(None, 5 * MINUTE, most), reuse=reuse)
        task = self.do(self._start_send(sub, CodeTerms(purpose, 5, most, 8), reuse))
        if isinstance(foretold, Flight):
            self.waiting.append(Waiting(task, foretold))
            self.model.fly()
        else:
            assert task.done()
            assert named(task.exception()) == foretold

    async def _start_send(self, sub: Sub, terms: CodeTerms, reuse: bool) -> asyncio.Task[tuple[int, bool]]:
        service = self.world.service
        return asyncio.create_task(service.send(self.sites[sub.site], sub.id, terms, reuse=reuse))

    @rule(back=which, right=st.booleans(), named=st.booleans(), other=st.integers(0, 9))
    def verify(self, back: int, right: bool, named: bool, other: int) -> None:
        """A guess about some delivery: its digits or others, with its request or without, by its site or the other."""
        flight = self.some_flight(back)
        if flight is None:
            return
        site = flight.sub.site if other else 1 - flight.sub.site
        digits = flight.code.digits if right else wrong(flight.code.digits)
        request = flight.code.request if named else None
        foretold = self.model.verify(site, flight.sub, digits, flight.purpose, request)
        caller, asked = self.sites[site], request.id if request else None
        came = self.do(self._verify(caller, flight.sub.id, digits, flight.purpose, asked))
        assert came == foretold

    async def _verify(self, caller: Caller, *guess: Any) -> tuple[str, int]:
        try:
            verdict = await self.world.service.verify(caller, *guess)
        except OtpError as error:
            return type(error).__name__, 0
        return str(verdict.reason or "verified"), verdict.attempts_left

    @rule(back=which)
    def guess_on(self, back: int) -> None:
        """Wrong guesses as long as one is evaluated."""
        flight = self.some_flight(back)
        for _ in range(BUDGET):
            if flight is not None and self.model.code(flight.sub, flight.purpose) is flight.code:
                self.verify(back, right=False, named=False, other=1)

    # ------------------------------------------------------------------ people

    @rule(person=people, back=which)
    def open(self, person: Person, back: int) -> None:
        """Somebody opens a link."""
        if request := self.pick(back):
            self.tap(
                person, self.model.open(person, request), lambda up: self.world.taps.open(up, request.id)
            )

    @rule(person=pressers, back=which)
    def consent(self, person: Person | None, back: int) -> None:
        """Somebody presses "Get the code"."""
        if request := self.pick(back):
            person = self.presser(request, person)
            foretold = self.model.consent(person, request)
            self.tap(person, foretold, lambda up: self.world.taps.consent(up, request.id))

    @rule(person=pressers, back=which)
    def again(self, person: Person | None, back: int) -> None:
        """Somebody presses "Send again" in an offer."""
        if request := self.pick(back):
            person = self.presser(request, person)
            foretold = self.model.again(person, request)
            self.tap(person, foretold, lambda up: self.world.taps.again(up, request.id))

    @rule(person=pressers, back=which)
    def cancel(self, person: Person | None, back: int) -> None:
        """Somebody presses "Cancel"."""
        if request := self.pick(back):
            person = self.presser(request, person)
            foretold = self.model.cancel(person, request)
            self.tap(person, foretold, lambda up: self.world.taps.cancel(up, request.id))

    @rule(site=sites, person=people, back=which, waits=st.booleans())
    def unlock(self, site: int, person: Person, back: int, waits: bool) -> None:
        """Somebody presses "Unlock"."""
        sub, request = self.model.subs.get((site, person)), self.pick(back) if waits else None
        if sub is not None:
            foretold = self.model.unlock(sub, request)
            act = request.id if request else None
            self.tap(person, foretold, lambda up: self.world.taps.unlock(up, sub.id, act))

    @rule(site=sites, person=people, blocks=st.sampled_from([False, False, True]))
    def stop(self, site: int, person: Person, blocks: bool) -> None:
        """Somebody leaves a site, or blocks the bot."""
        if blocks:
            self.tap(person, self.model.gone(person), self.world.taps.gone)
        elif sub := self.model.subs.get((site, person)):
            self.tap(person, self.model.leave(sub), lambda up: self.world.taps.leave(up, sub.id))

    @rule(back=which)
    def repeat(self, back: int) -> None:
        """ "Send again" under a code."""
        if flight := self.some_flight(back):
            code_id, foretold = flight.code.id, self.model.repeat(flight)
            self.tap(flight.sub.person, foretold, lambda up: self.world.protection.repeat(up, code_id))

    @rule(back=which)
    def not_me(self, back: int) -> None:
        """ "It wasn't me" under a code."""
        if flight := self.some_flight(back):
            code_id, foretold = flight.code.id, self.model.not_me(flight)
            self.tap(flight.sub.person, foretold, lambda up: self.world.protection.not_me(up, code_id))

    @rule(site=sites, person=people, back=which, waits=st.booleans())
    def not_me_locked(self, site: int, person: Person, back: int, waits: bool) -> None:
        """ "It wasn't me" in the message about a lock."""
        sub, request = self.model.subs.get((site, person)), self.pick(back) if waits else None
        if sub is not None and (request is None or request.site == site):
            act, foretold = request.id if request else None, self.model.not_me_locked(sub, request)
            self.tap(person, foretold, lambda up: self.world.protection.not_me_locked(up, sub.id, act))

    @precondition(lambda self: self.given)
    @rule(back=which)
    def redelivered(self, back: int) -> None:
        """An update comes again."""
        act, at = self.given[-1 - back % len(self.given)]
        if self.clock.now() < at + SHOWN:
            assert isinstance(self.do(act()), Repeated)

    # ------------------------------------------------------------------ the world around

    @rule(channel=channels, outcome=st.sampled_from(OUTCOMES))
    def mood(self, channel: str, outcome: Outcome) -> None:
        """From now on a messenger answers so; what it held up is answered so too."""
        one = self.messengers[channel]
        one.mood = outcome
        if one.hold is not None:
            one.hold.set()
            one.hold = None
        self.do(_nothing(None))
        self.model.release(channel, outcome)

    @rule(channel=channels)
    def hang(self, channel: str) -> None:
        """A messenger does not answer for now."""
        if self.messengers[channel].hold is None:
            self.messengers[channel].hold = asyncio.Event()
            self.model.held.add(channel)

    @rule(seconds=st.sampled_from(LEAPS))
    def advance(self, seconds: int) -> None:
        """Time goes by; an attempt ends after ten seconds, whatever the messenger does."""
        until = self.clock.now() + seconds * 1000
        for channel in sorted(self.model.held):
            hanging = [f for f in self.model.flights() if f.state == "attempting" and f.carried]
            if any(f.sub.person.channel == channel and until >= f.attempted + 10_000 for f in hanging):
                self.mood(channel, Unknown())
        self.clock.advance(seconds=seconds)
        self.model.now = self.clock.now()
        self.do(_nothing(None))
        self.model.fly()

    @rule()
    def sweep(self) -> None:
        """What is done every five seconds."""
        self.do(self.world.courier.recover())
        self.model.take_up()
        self.do(self.world.store.write(expire_requests))
        self.do(self.world.store.write(purge))
        self.model.clean_up()

    @rule()
    def restart(self) -> None:
        """The process is killed and another one begins."""
        self.do(self._restart(self.world))
        self.waiting.clear()
        self.model.restart()

    @rule(site=sites, back_on=st.sampled_from([True, True, False]))
    def switch(self, site: int, back_on: bool) -> None:
        """A project is disabled, and often enabled again at once."""
        for on in (False, True) if back_on else (not self.model.enabled[site],):
            self.do(self.world.projects.set_enabled(self.sites[site].project.id, on))
            self.model.switch(site, on=on)

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


async def _nothing(_tx: object) -> None:
    return None


def run(examples: int) -> None:
    """So many histories of thirty steps."""
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_history_goes_as_foretold() -> None:
    """A few hundred steps of everything that can happen."""
    run(25)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_histories_go_as_foretold() -> None:
    """Ten times as many."""
    run(250)
