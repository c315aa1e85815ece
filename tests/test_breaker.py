"""A messenger that does not answer is left alone, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from otp.breaker import FAILURES, PAUSE_MS, PROBE_MS, Breaker, BreakerState
from otp.errors import MessengerUnavailable
from otp.model import Channel, Refusal, RequestStatus
from otp.policy import REQUEST_LIFE_MS
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from tests.fakes import FakeClock
from tests.world import ANN, BOB, CAT, LOGIN, World

SILENT: list[Outcome] = [Unknown(), NotSent()]
ANSWERS: list[Outcome] = [Accepted("m"), Refused(Refusal.REJECTED), NotSent(1000, answered=True)]


def opened(clock: FakeClock) -> tuple[Breaker, list[BreakerState]]:
    """A breaker that just opened, and what it tells."""
    told: list[BreakerState] = []
    breaker = Breaker(clock, told.append)
    for _ in range(FAILURES):
        assert breaker.lets_through()
        breaker.note(answered=False)
    return breaker, told


def test_it_opens_after_so_many_failures_in_a_row(clock: FakeClock) -> None:
    """One answer in between, and the count begins anew."""
    breaker = Breaker(clock, lambda _: None)
    for answered in [False] * (FAILURES - 1) + [True] + [False] * (FAILURES - 1):
        breaker.note(answered=answered)
    assert breaker.lets_through()
    breaker.note(answered=False)
    assert (breaker.lets_through(), breaker.state) == (False, BreakerState.OPEN)


def test_one_probe_at_a_time_and_its_answer_closes(clock: FakeClock) -> None:
    """After a pause one attempt goes, the others wait for what becomes of it."""
    breaker, told = opened(clock)
    clock.advance(ms=PAUSE_MS - 1)
    assert not breaker.lets_through()
    clock.advance(ms=1)
    assert [breaker.lets_through() for _ in range(3)] == [True, False, False]
    breaker.note(answered=True)
    assert breaker.lets_through()
    assert told == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_a_probe_that_fails_or_is_lost_is_followed_by_another(clock: FakeClock) -> None:
    """After the pause; after the time of an attempt when nothing is ever heard of it; at once when it was not made."""
    breaker, _ = opened(clock)
    clock.advance(ms=PAUSE_MS)
    assert breaker.lets_through()
    breaker.note(answered=False)
    assert not breaker.lets_through()
    clock.advance(ms=PAUSE_MS)
    assert breaker.lets_through()
    clock.advance(ms=PROBE_MS)
    assert breaker.lets_through()
    breaker.unused()
    assert breaker.lets_through()


# ------------------------------------------------------------------ in the courier


async def outage(world: World, sub: str, outcome: Outcome) -> None:
    """So many sends in a row that the messenger did not answer."""
    world.telegram.script = [outcome] * FAILURES
    while world.courier.breakers[Channel.TELEGRAM].state is BreakerState.CLOSED:
        sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
        while not sending.done():
            await world.settle()
            world.clock.advance(seconds=1)
        assert sending.exception() is not None
        world.clock.advance(minutes=10)  # the send window
    world.telegram.script.clear()


def hears(world: World) -> Callable[[], int]:
    """How often the messenger was called since."""
    before = len(world.telegram.parcels)
    return lambda: len(world.telegram.parcels) - before


@pytest.mark.parametrize("outcome", SILENT)
async def test_a_send_to_a_silent_messenger_is_answered_at_once(world: World, outcome: Outcome) -> None:
    """Certainly not sent, the older code stays; the other messenger is not touched."""
    sub, cat = await world.subscribe(), await world.subscribe(CAT)
    await outage(world, sub, outcome)
    probe, heard = world.courier.breakers[Channel.TELEGRAM], hears(world)
    probe.note(answered=False)
    with pytest.raises(MessengerUnavailable):
        await world.service.send(world.caller, sub, LOGIN)
    assert heard() == 0
    await world.service.send(world.caller, cat, LOGIN)
    world.clock.advance(ms=PAUSE_MS)
    await world.service.send(world.caller, sub, LOGIN)
    assert (heard(), probe.state) == (1, BreakerState.CLOSED)
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


@pytest.mark.parametrize("outcome", ANSWERS, ids=["accepted", "refused", "asked to wait"])
async def test_whatever_it_answers_is_an_answer(world: World, outcome: Outcome) -> None:
    """A refusal or a 429 opens nothing."""
    sub = await world.subscribe()
    world.telegram.script = [outcome]
    for _ in range(FAILURES - 1):
        world.courier.breakers[Channel.TELEGRAM].note(answered=False)
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    world.courier.breakers[Channel.TELEGRAM].note(answered=False)
    assert world.courier.breakers[Channel.TELEGRAM].state is BreakerState.CLOSED
    world.clock.advance(seconds=2)
    await asyncio.gather(sending, return_exceptions=True)


async def test_taps_wait_for_a_silent_messenger(world: World) -> None:
    """Their codes go out when it is back: one as the probe, then all, each once."""
    sub = await world.subscribe()
    await outage(world, sub, Unknown())
    world.courier.breakers[Channel.TELEGRAM].note(answered=False)
    heard, requests = hears(world), []
    for person in (ANN, BOB):
        requests.append(await world.request(terms=LOGIN))
        await world.taps.open(world.update(person), requests[-1])
        await world.taps.consent(world.update(person), requests[-1])
    await world.settle()
    assert heard() == 0
    hold = world.telegram.hold = asyncio.Event()
    await later(world, ms=PAUSE_MS)
    assert heard() == 1
    hold.set()
    await later(world, seconds=1)
    assert heard() == 2
    for request_id in requests:
        assert (await world.service.status(world.caller, request_id)).status is RequestStatus.SENT


async def test_a_waiting_tap_looks_once_in_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as often as it can: the process has other things to do."""
    naps: list[float] = []
    sleep = world.clock.sleep

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        await sleep(seconds)

    await world.subscribe()
    for _ in range(FAILURES):
        world.courier.breakers[Channel.TELEGRAM].note(answered=False)
    monkeypatch.setattr(world.clock, "sleep", nap)
    await world.taps.open(world.update(), await world.request())
    for _ in range(3):
        await later(world, seconds=1)
    assert naps == [1] * len(naps) != []


async def test_a_tap_that_waited_in_vain_comes_to_an_end(world: World) -> None:
    """With its request: no attempt is made for a link that has run out."""
    await outage(world, await world.subscribe(), Unknown())
    breaker = world.courier.breakers[Channel.TELEGRAM]
    request_id = await world.request()
    await world.taps.open(world.update(BOB), request_id)
    breaker.note(answered=False)
    await world.taps.consent(world.update(BOB), request_id)
    heard = hears(world)
    for _ in range(REQUEST_LIFE_MS // 4000 + 2):
        breaker.note(answered=False)
        await later(world, seconds=4)
    assert heard() == 0
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED
    [delivery] = await world.deliveries(request_id)
    assert delivery.refusal is Refusal.UNAVAILABLE


async def later(world: World, *, ms: int = 0, seconds: float = 0) -> None:
    """Let time pass, and what waited for it happen."""
    await world.settle()
    world.clock.advance(ms=ms, seconds=seconds)
    await world.settle()
