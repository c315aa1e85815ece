"""The domain over a real store with fake surroundings: what most tests of the rules stand on."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from otp.codes import KeyRing
from otp.courier import Courier
from otp.delivery import Rules
from otp.events import Event
from otp.model import Caller, Channel, CodeTerms, Delivery, Mode, Person
from otp.phones import Phones
from otp.policy import Policy
from otp.ports import Store
from otp.projects import Projects
from otp.protection import Protection
from otp.service import NewRequest, OtpService, Verdict
from otp.taps import Taps, Update
from storage.sealing import AeadSeals
from tests.fakes import FakeClock, FakeMessenger, NamedBots, SeededRandomness, at_rest, what_happened

KEYS = ("first-key-" + "x" * 30, "second-key-" + "y" * 30)
ANN = Person(Channel.TELEGRAM, 7001)
BOB = Person(Channel.TELEGRAM, 7002)
CAT = Person(Channel.MAX, 7003)
QUIET = 250
"""Turns of the loop after which nothing is left that would go on by itself."""
LOGIN = CodeTerms("login", 5, 5, 6)


@dataclass
class World:
    """One service, its store and its surroundings."""

    store: Store
    clock: FakeClock
    rules: Rules
    randomness: SeededRandomness
    telegram: FakeMessenger
    max: FakeMessenger
    courier: Courier
    service: OtpService
    taps: Taps
    phones: Phones
    protection: Protection
    projects: Projects
    caller: Caller
    other: Caller
    events: list[Event] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    _updates: itertools.count[int] = field(default_factory=itertools.count)

    def update(self, person: Person = ANN, language: str = "en", key: str | None = None) -> Update:
        """Something new that a person did."""
        return Update(key or f"update:{next(self._updates)}", person, language)

    async def settle(self) -> None:
        """Until the courier has nothing in hand that does not wait for the clock or the messenger."""
        quiet = 0
        while quiet < QUIET:
            busy = not at_rest(self.store)
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(0.001 if busy else 0)
            if quiet % (QUIET // 5) == 0:
                await self.store.read(_nothing)

    async def request(
        self, caller: Caller | None = None, terms: CodeTerms = LOGIN, channel: Channel | None = None
    ) -> str:
        """A new request's id."""
        made: NewRequest = await self.service.request(caller or self.caller, channel, terms)
        return made.request.id

    async def subscribe(
        self, person: Person = ANN, caller: Caller | None = None, terms: CodeTerms = LOGIN
    ) -> str:
        """Bring a person through request, question and consent; the subscriber's id."""
        request_id = await self.request(caller, terms)
        await self.taps.open(self.update(person), request_id)
        await self.taps.consent(self.update(person), request_id)
        await self.settle()
        state = await self.service.status(caller or self.caller, request_id)
        assert state.subscriber_id is not None, state
        return state.subscriber_id

    async def verify(
        self,
        subscriber_id: str,
        typed: str,
        *,
        purpose: str | None = None,
        request_id: str | None = None,
        caller: Caller | None = None,
    ) -> Verdict:
        """Judge a guess."""
        return await self.service.verify(caller or self.caller, subscriber_id, typed, purpose, request_id)

    async def deliveries(self, request_id: str) -> list[Delivery]:
        """All deliveries of a request."""
        return await self.store.read(lambda tx: tx.request_deliveries(request_id))


async def _nothing(_tx: object) -> None:
    return None


async def make_world(
    store: Store, clock: FakeClock, policy: Policy | None = None, seed: str = "seed"
) -> World:
    """Wire a world over an open store, with two projects; two worlds of one seed make the same ids and codes."""
    randomness = SeededRandomness(seed)
    rules = Rules(
        policy or Policy(),
        KeyRing(KEYS),
        randomness,
        AeadSeals(KeyRing(KEYS).sealing_keys(), SeededRandomness(f"seals of {seed}")),
    )
    telegram, max_ = FakeMessenger(), FakeMessenger()
    failures: list[BaseException] = []
    events: list[Event] = []
    courier = Courier(store, rules, clock, {Channel.TELEGRAM: telegram, Channel.MAX: max_}, failures.append)
    store.listen(courier.on_event)
    store.listen(what_happened(events))
    bots = {Channel.TELEGRAM: "a_bot", Channel.MAX: "id1_bot"}
    service = OtpService(store, rules, courier, NamedBots(bots))
    projects = Projects(store, randomness, Mode.LIVE)
    shop, bank = [
        Caller((await projects.create(name, "what it does")).project, Mode.LIVE) for name in ("Shop", "Bank")
    ]
    taps = Taps(store, rules)
    return World(
        store=store,
        clock=clock,
        rules=rules,
        randomness=randomness,
        telegram=telegram,
        max=max_,
        courier=courier,
        service=service,
        taps=taps,
        phones=Phones(store, rules),
        protection=Protection(store, rules, taps),
        projects=projects,
        caller=shop,
        other=bank,
        events=events,
        failures=failures,
    )


def wrong(code: str) -> str:
    """Another code of the same length."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
