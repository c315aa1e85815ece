"""Random histories of the whole domain over a real store, each answer foretold by a plain model of the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from otp.errors import OtpError
from otp.housekeeping import expire_requests, purge, purge_deliveries
from otp.model import Caller, Channel, CodeTerms, Person, Refusal
from otp.outcomes import Repeated
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from tests.beside import BUDGET, BesideTheModel, Waiting, named, nothing
from tests.foretold import MINUTE, SHOWN, Code, Flight, Request, Sub
from tests.world import ANN, BOB, CAT, wrong

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


class Histories(BesideTheModel):
    """Everything that people, sites, messengers, time and crashes do."""

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

    @rule(
        site=sites,
        person=people,
        what=st.sampled_from(["stop", "guess", "restart", "cancel", "withdraw", "revoke"]),
        outcome=outcomes,
    )
    def meanwhile(self, site: int, person: Person, what: str, outcome: Outcome | None) -> None:
        """Something happens while a code is at the messenger, which answers then, or hangs on."""
        self.ask(site, person, "login", 3, None)
        if what == "stop":
            self.stop(site, person, blocks=False)
        elif what == "guess":
            self.guess_on(0)
        elif what == "restart":
            self.restart()
        elif what == "cancel":
            self.cancel(person, 0)
        elif what == "withdraw":
            self.withdraw(0, 1)
        else:
            self.revoke(site, person, "login", 1)
        if outcome is not None:
            self.mood(person.channel, outcome)

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

    @rule(
        back=st.sampled_from([0, 0, 1, 1, 2, 3]),
        right=st.booleans(),
        by_request=st.booleans(),
        other=st.integers(0, 9),
    )
    def verify(self, back: int, right: bool, by_request: bool, other: int) -> None:
        """A guess about some delivery: its digits or others, with its request or without, by its site or the other."""
        flight = self.some_flight(back)
        if flight is None:
            return
        site = flight.sub.site if other else 1 - flight.sub.site
        digits = flight.code.digits if right else wrong(flight.code.digits)
        request = flight.code.request if by_request else None
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
                self.verify(back, right=False, by_request=False, other=1)

    @rule(back=which, other=st.integers(0, 9))
    def withdraw(self, back: int, other: int) -> None:
        """A site cancels a request, its own or another's."""
        if request := self.pick(back):
            site = request.site if other else 1 - request.site
            foretold = self.model.withdraw(site, request)
            came = self.do(self._taken_back(self.world.service.cancel(self.sites[site], request.id)))
            assert came == foretold

    @rule(site=sites, person=people, purpose=purposes, other=st.integers(0, 9))
    def revoke(self, site: int, person: Person, purpose: str, other: int) -> None:
        """A site takes back a code of a subscriber, its own or another's."""
        if sub := self.model.subs.get((site, person)):
            caller = self.sites[site if other else 1 - site]
            foretold = self.model.revoke(site if other else 1 - site, sub, purpose)
            came = self.do(self._taken_back(self.world.service.revoke(caller, sub.id, purpose)))
            assert came == foretold

    async def _taken_back(self, work: Coroutine[Any, Any, bool | None]) -> str:
        try:
            return {True: "revoked", False: "nothing", None: "cancelled"}[await work]
        except OtpError as error:
            return type(error).__name__

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
        self.do(nothing(None))
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
        self.do(nothing(None))
        self.model.fly()

    @rule()
    def sweep(self) -> None:
        """What is done every five seconds."""
        self.do(self.world.courier.recover())
        self.model.take_up()
        self.do(self.world.store.write(expire_requests))
        self.do(self.world.store.write(purge))
        self.do(self.world.store.write(purge_deliveries))
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


def run(examples: int, *, shrink: bool) -> None:
    """So many histories of thirty steps. Making a failure small takes minutes."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate, *((Phase.shrink,) if shrink else ()))
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_history_goes_as_foretold() -> None:
    """A few hundred steps of everything that can happen."""
    run(25, shrink=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_histories_go_as_foretold() -> None:
    """Ten times as many."""
    run(250, shrink=True)
