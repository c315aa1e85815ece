"""How each messenger is: judged from what is known, and found out when codes do not go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from otp.breaker import FAILURES, PAUSE_MS, Breaker, BreakerState
from otp.channels import Health, health, offered
from otp.errors import StorageUnavailable
from otp.lookout import AGAIN_MS, LONGEST_REST_MS, REST_MS, Lookout
from otp.model import Channel
from tests.fakes import START, FakeClock, NamedBots

NAMES = {Channel.TELEGRAM: "a_bot", Channel.MAX: "id1_bot"}
T, M = Channel.TELEGRAM, Channel.MAX


# ------------------------------------------------------------------ judged


def breaker(clock: FakeClock, failures: int = 0) -> Breaker:
    """One that saw so many failures in a row."""
    made = Breaker(clock, lambda _: None)
    for _ in range(failures):
        made.note(answered=False)
    return made


def test_nothing_speaks_against_it(clock: FakeClock) -> None:
    """A name, a sound bot, a closed breaker."""
    breakers = {channel: breaker(clock, FAILURES - 1) for channel in Channel}
    assert health(NamedBots(NAMES), breakers) == {T: Health.OK, M: Health.OK}


def test_each_thing_that_keeps_codes_from_people(clock: FakeClock) -> None:
    """No name for a link, what a check found, a breaker that is not closed; no token is another thing."""
    nameless, unsound = NamedBots({T: "a_bot"}, kept={M: "id1_bot"}), NamedBots(NAMES)
    unsound.unsound = {M}
    opened = breaker(clock, FAILURES)
    for bots, breakers in ((nameless, {}), (unsound, {}), (NamedBots(NAMES), {M: opened})):
        assert health(bots, breakers) == {T: Health.OK, M: Health.DEGRADED}
    assert health(NamedBots({T: "a_bot"}), {M: opened}) == {T: Health.OK, M: Health.OFF}


def test_a_breaker_speaks_for_itself_until_it_is_closed_or_something_is_heard(clock: FakeClock) -> None:
    """A probe on its way is no answer. What is heard counts until the next failure."""
    one = breaker(clock, FAILURES)
    clock.advance(ms=PAUSE_MS)
    assert one.lets_through()
    assert [one.state, one.is_hopeful] == [BreakerState.HALF_OPEN, False]
    one.heard()
    assert [one.state, one.is_hopeful] == [BreakerState.HALF_OPEN, True]
    one.note(answered=False)
    assert [one.state, one.is_hopeful] == [BreakerState.OPEN, False]
    one.heard()
    one.note(answered=True)
    assert [one.state, one.is_hopeful] == [BreakerState.CLOSED, True]
    for _ in range(FAILURES):
        one.note(answered=False)
    assert [one.state, one.is_hopeful] == [BreakerState.OPEN, False]


@pytest.mark.parametrize(
    "names, found, told",
    [
        ({T: "a", M: "b"}, (Health.OK, Health.OK), {T, M}),
        ({T: "a", M: "b"}, (Health.DEGRADED, Health.OK), {M}),
        ({T: "a", M: "b"}, (Health.DEGRADED, Health.DEGRADED), {T, M}),
        ({T: "a"}, (Health.DEGRADED, Health.OFF), {T}),
        ({T: "a", M: None}, (Health.DEGRADED, Health.DEGRADED), {T}),
        ({T: "a", M: None}, (Health.DEGRADED, Health.OK), {T}),
    ],
)
def test_what_is_offered(
    names: dict[Channel, str | None], found: tuple[Health, Health], told: set[Channel]
) -> None:
    """What works; else what can be reached at all; never what has no link."""
    assert set(offered(names, dict(zip(Channel, found, strict=True)))) == told


# ------------------------------------------------------------------ found out


class Asked:
    """Stands for a messenger that is asked a harmless question."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.answers, self.times = clock, True, list[int]()
        self.lost = False

    async def __call__(self, _channel: Channel) -> bool:
        self.times.append((self.clock.now() - START) // 1000)
        if self.lost:
            raise StorageUnavailable("away")
        return self.answers


async def tick(clock: FakeClock, ms: int) -> None:
    """Let time pass, and what waited for it happen."""
    for wait in (0, ms):
        clock.advance(ms=wait)
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def asked(clock: FakeClock) -> AsyncIterator[tuple[Lookout, Asked]]:
    """A lookout and whom it asks; it may have no bug."""
    errors: list[BaseException] = []
    messenger = Asked(clock)
    lookout = Lookout(clock, messenger, errors.append)
    yield lookout, messenger
    await lookout.close()
    assert errors == []


async def test_a_messenger_that_is_back_is_heard_at_once(
    clock: FakeClock, asked: tuple[Lookout, Asked]
) -> None:
    """Asked at once and every ten seconds while it is away, whatever keeps its answer away."""
    (lookout, messenger), one = asked, breaker(clock, FAILURES)
    messenger.answers = False
    lookout.watch(T, one)
    lookout.watch(T, one)
    await tick(clock, AGAIN_MS)
    messenger.lost = True
    await tick(clock, AGAIN_MS)
    assert (messenger.times, one.is_hopeful) == ([0, 10, 20], False)
    messenger.answers, messenger.lost = True, False
    await tick(clock, AGAIN_MS)
    assert (messenger.times[3:], one.is_hopeful, one.state) == ([30], True, BreakerState.OPEN)


async def test_a_messenger_that_answers_and_takes_no_codes_is_avoided_longer_and_longer(
    clock: FakeClock, asked: tuple[Lookout, Asked]
) -> None:
    """Whoever was led there was misled: half a minute, then twice as long each time, at most five minutes."""
    (lookout, messenger), one = asked, breaker(clock, FAILURES)
    lookout.watch(T, one)
    rest = REST_MS
    for _ in range(6):
        await tick(clock, rest - 1)
        hopeful = [one.is_hopeful]
        await tick(clock, 1)
        assert [*hopeful, one.is_hopeful] == [False, True]
        one.note(answered=False)
        rest = min(2 * rest, LONGEST_REST_MS)
    assert messenger.times == [0, 30, 90, 210, 450, 750, 1050]


async def test_once_codes_go_out_it_is_asked_a_last_time(
    clock: FakeClock, asked: tuple[Lookout, Asked]
) -> None:
    """So that nobody goes on believing what was found out before."""
    (lookout, messenger), one = asked, breaker(clock, FAILURES)
    messenger.answers = False
    lookout.watch(T, one)
    await tick(clock, 3000)
    one.note(answered=True)
    lookout.over(T)
    for _ in range(3):
        await tick(clock, LONGEST_REST_MS)
    assert messenger.times == [0, 3]


async def test_one_code_that_did_not_go_is_asked_about_twice(
    clock: FakeClock, asked: tuple[Lookout, Asked]
) -> None:
    """And so are many such codes at the same time; the other messenger is another matter."""
    (lookout, messenger), one = asked, breaker(clock, 1)
    for _ in range(5):
        lookout.watch(T, one)
    lookout.watch(M, one)
    await tick(clock, LONGEST_REST_MS)
    assert messenger.times == [0, 0, 300, 300]
    lookout.watch(T, one)
    await tick(clock, 0)
    assert len(messenger.times) == 5


async def test_a_closed_lookout_asks_nobody(clock: FakeClock, asked: tuple[Lookout, Asked]) -> None:
    """Not even whom it was about to ask again."""
    (lookout, messenger), one = asked, breaker(clock, FAILURES)
    lookout.watch(T, one)
    await tick(clock, 0)
    await lookout.close()
    lookout.watch(M, one)
    lookout.over(M)
    await tick(clock, LONGEST_REST_MS)
    assert messenger.times == [0]
