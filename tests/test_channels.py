"""How each messenger is: judged from what is known, told to sites, and found out when codes do not go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.registration import AGAIN_MS as AGAIN
from bot.registration import FOLLOW_SECONDS, State
from otp.breaker import FAILURES, PAUSE_MS, Breaker, BreakerState
from otp.channels import Health, health, offered
from otp.errors import StorageUnavailable
from otp.lookout import AGAIN_MS, LONGEST_REST_MS, REST_MS, Lookout
from otp.model import Channel
from sandbox.wire import Fault, Webhook
from tests.attempts import SENDING, pass_time, sent
from tests.fakes import START, FakeClock, NamedBots
from tests.running import Running, running
from tests.test_test_mode import with_test_key
from tests.wires import Lines
from wiring.parts import make_registration

both = pytest.mark.parametrize("channel", ["telegram", "max"])
OTHER = {"telegram": "max", "max": "telegram"}
NAMES = {Channel.TELEGRAM: "a_bot", Channel.MAX: "id1_bot"}
T, M = Channel.TELEGRAM, Channel.MAX
FINE = {"telegram": "ok", "max": "ok"}


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
    messenger.answers = True
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


async def test_a_messenger_that_does_not_answer_is_asked_although_codes_are_not_held_up(
    clock: FakeClock, asked: tuple[Lookout, Asked]
) -> None:
    """One code that failed is enough to know of an outage; and so its end must be found out, too."""
    (lookout, messenger), one = asked, breaker(clock, 1)
    messenger.answers = False
    lookout.watch(T, one)
    for _ in range(4):
        await tick(clock, AGAIN_MS)
    messenger.answers = True
    for _ in range(3):
        await tick(clock, AGAIN_MS)
    assert messenger.times == [0, 10, 20, 30, 40, 50]


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


# ------------------------------------------------------------------ told, by the real service


@pytest.fixture
async def lines() -> AsyncIterator[Lines]:
    """The lines to both messengers."""
    made = Lines()
    yield made
    await made.cut()


@pytest.fixture
async def run(lines: Lines) -> AsyncIterator[Running]:
    """A running service over them."""
    async with running(between=lines.lay) as made:
        yield made


async def told(run: Running, **fields: Any) -> dict[str, str]:
    """What `/request` says of the channels."""
    return dict((await run.request(**fields))["channels"])


async def becomes(run: Running, channel: str, wanted: str, *, within: float = 0) -> None:
    """A channel is said to be so, within these seconds."""
    passed = 0
    for _ in range(200):
        if (await told(run))[channel] == wanted:
            return
        await asyncio.sleep(0.005)  # a call that the messenger never sees
        if passed < within:
            passed += 1
            await pass_time(run, 1)
    raise AssertionError(f"{channel} is not {wanted}: {await told(run)}")


async def offers(run: Running, **fields: Any) -> set[str]:
    """The links in the answer of `channel: auto`."""
    request = await run.request(channel="auto", **fields)
    return {one for one in ("telegram", "max") if request[f"{one}_link"]}


@both
async def test_an_outage_is_told_after_the_first_code_that_does_not_go(
    run: Running, lines: Lines, channel: str
) -> None:
    """By every answer, until the messenger is back; `auto` offers the other one meanwhile."""
    sub = await run.subscriber(run.someone(channel))
    assert await told(run) == FINE
    assert await offers(run) == {"telegram", "max"}
    await lines.to(channel).become("refusing")
    assert (await sent(run, sub)).status == 503
    await becomes(run, channel, "degraded")
    assert await told(run) == FINE | {channel: "degraded"}
    assert await offers(run) == {OTHER[channel]}
    by_name = await run.request(channel=channel)
    assert by_name[f"{channel}_link"]
    both_links = await run.request()
    assert both_links["telegram_link"]
    assert both_links["max_link"]
    await lines.to(channel).become("up")
    await becomes(run, channel, "ok", within=AGAIN_MS / 1000 + 1)
    assert await offers(run) == {"telegram", "max"}
    assert (await sent(run, sub)).status == 200


async def test_an_offer_of_one_can_be_taken_in_the_other(run: Running, lines: Lines) -> None:
    """`auto` chooses links, not the person's messenger: the pairing code is good in both."""
    sub = await run.subscriber(run.someone("telegram"))
    await lines.telegram.become("refusing")
    await sent(run, sub)
    await becomes(run, "telegram", "degraded")
    request, person = await run.request(channel="auto"), run.someone("telegram")
    assert request["telegram_link"] is None
    await lines.telegram.become("up")
    await person.say(request["pairing_code"])
    await person.press("Get the code")
    assert (await run.status(request))["channel"] == "telegram"


async def test_both_are_down(run: Running, lines: Lines) -> None:
    """Then a slow messenger is better than none."""
    subs = {channel: await run.subscriber(run.someone(channel)) for channel in OTHER}
    for channel, sub in subs.items():
        await lines.to(channel).become("refusing")
        await sent(run, sub)
        await becomes(run, channel, "degraded")
    assert await offers(run) == {"telegram", "max"}


async def test_one_is_off() -> None:
    """It is offered to nobody, and the other one even when it is down."""
    async with running(max_bot_token=None) as run:
        assert await told(run) == {"telegram": "ok", "max": "off"}
        run.demo.telegram.faults.append(Fault("getMe", status=401, times=1000))
        await run.service.registration.check(Channel.TELEGRAM)
        assert await told(run) == {"telegram": "degraded", "max": "off"}
        assert await offers(run) == {"telegram"}
        refused = await run.call("POST", "/v1/otp/request", {"channel": "max"})
        assert refused.json["code"] == "channel_unavailable"


@both
@pytest.mark.slow
async def test_codes_that_do_not_go_although_questions_are_answered(run: Running, channel: str) -> None:
    """The breaker says so; half a minute later somebody may try; their code, once it goes, settles it."""
    sub = await run.subscriber(run.someone(channel))
    sim: Any = run.demo.telegram if channel == "telegram" else run.demo.max
    sim.faults.append(Fault(method=SENDING, status=500, times=10_000))
    breaker_ = run.service.courier.breakers[Channel(channel)]
    while breaker_.state is BreakerState.CLOSED:
        assert await told(run) == FINE
        assert (await sent(run, sub)).json["code"] == "delivery_unknown"
    assert await told(run) == FINE | {channel: "degraded"}
    await becomes(run, channel, "ok", within=REST_MS / 1000 + 2)
    assert (await sent(run, sub)).json["code"] == "delivery_unknown"
    assert await told(run) == FINE | {channel: "degraded"}
    sim.faults.clear()
    await pass_time(run, PAUSE_MS / 1000)
    assert (await sent(run, sub)).status == 200
    assert await told(run) == FINE


@both
async def test_a_token_that_is_revoked_is_told_after_the_first_refusal(run: Running, channel: str) -> None:
    """Not only when the channel is looked at again; and it is well once the token is."""
    sub = await run.subscriber(run.someone(channel))
    sim: Any = run.demo.telegram if channel == "telegram" else run.demo.max
    revoked = Fault(status=401, times=100_000)
    sim.faults.append(revoked)
    assert (await sent(run, sub)).json["code"] == "delivery_failed"
    await becomes(run, channel, "degraded")
    assert run.service.courier.breakers[Channel(channel)].state is BreakerState.CLOSED
    sim.faults.remove(revoked)
    await becomes(run, channel, "ok", within=AGAIN_MS / 1000 + 1)


async def test_a_webhook_that_is_not_ours(run: Running) -> None:
    """Telegram has one: what people do goes elsewhere. MAX tells all, and ours is among them."""
    foreign = Webhook("https://other.example/hook", "their-secret", (), START)
    run.demo.telegram.webhooks[:] = [foreign]
    run.demo.max.webhooks.append(foreign)
    for channel in Channel:
        await run.service.registration.check(channel)
    assert await told(run) == {"telegram": "degraded", "max": "ok"}


async def test_a_lost_webhook_that_can_not_be_restored(run: Running) -> None:
    """People would tap into silence."""
    run.demo.max.webhooks.clear()
    run.demo.max.faults.append(Fault("POST /subscriptions", status=500))
    await run.service.registration.check(Channel.MAX)
    assert await told(run) == {"telegram": "ok", "max": "degraded"}
    await run.service.registration.check(Channel.MAX)
    assert await told(run) == FINE


async def test_updates_that_can_not_be_fetched() -> None:
    """Without a public address: two failures in a row, or a webhook in the way, until they are fetched again."""
    async with running(public_url=None) as run:

        async def meanwhile(channel: str, wanted: str) -> None:
            async with asyncio.timeout(10):
                while (await told(run))[channel] != wanted:
                    run.clock.advance(seconds=0.5)
                    await asyncio.sleep(0.005)

        assert await told(run) == FINE
        ann, bob = run.someone("telegram"), run.someone("max")
        ann.sim.faults.append(Fault("getUpdates", status=500, times=2))
        ann.sim.say(ann.user_id, "hello")  # ends the fetch that waits
        await meanwhile("telegram", "degraded")
        ann.sim.say(ann.user_id, "hello")
        await meanwhile("telegram", "ok")
        bob.sim.webhooks.append(Webhook("https://other.example/hook", None, (), START))
        bob.sim.say(bob.user_id, "hello")
        await meanwhile("max", "degraded")
        assert run.service.registration.channels[Channel.MAX].state is State.FOREIGN_WEBHOOK
        bob.sim.webhooks.clear()
        bob.sim.say(bob.user_id, "hello")
        await meanwhile("max", "ok")


async def test_a_replica_that_sends_nothing_learns_of_it(run: Running) -> None:
    """From what another one stored, and without asking the messenger or the store for it at each call."""
    other = make_registration(run.settings, run.service.store, run.service.skins)
    following = asyncio.create_task(other.follow(run.clock))
    while not all(other.names().values()):
        await run.quiet()
    assert health(other, {}) == FINE
    sub = await run.subscriber(run.someone())
    run.demo.telegram.faults.append(Fault(status=401, times=100_000))
    await sent(run, sub)
    await becomes(run, "telegram", "degraded")
    await pass_time(run, FOLLOW_SECONDS)
    assert health(other, {}) == FINE | {"telegram": "degraded"}
    following.cancel()


async def test_what_a_dying_replica_found_out_is_looked_at_by_another(run: Running) -> None:
    """The job comes within half a minute, not at the next round of ten."""
    run.demo.telegram.faults.append(Fault("getMe", status=401))
    assert not await run.service.registration.find_out(Channel.TELEGRAM)
    await pass_time(run, AGAIN / 1000 - 10, step=10)
    assert (await told(run))["telegram"] == "degraded"
    await pass_time(run, 10, step=10)
    await becomes(run, "telegram", "ok")


async def test_the_same_call_again_tells_what_was(run: Running) -> None:
    """A kept answer is the one that was given, whatever has become of the messengers."""
    key = {"Idempotency-Key": "once"}
    first = await run.call("POST", "/v1/otp/request", {"channel": "auto"}, headers=key)
    run.demo.telegram.faults.append(Fault("getMe", status=401, times=1000))
    await run.service.registration.check(Channel.TELEGRAM)
    again = await run.call("POST", "/v1/otp/request", {"channel": "auto"}, headers=key)
    assert again.json == first.json
    assert again.json["channels"] == FINE
    assert (await told(run))["telegram"] == "degraded"


async def test_test_mode_knows_no_outage(run: Running) -> None:
    """Its people are in no messenger, so each that is on works; `auto` offers all."""
    run.demo.telegram.faults.append(Fault("getMe", status=401, times=1000))
    await run.service.registration.check(Channel.TELEGRAM)
    test = await with_test_key(run)
    assert await told(test) == FINE
    assert await offers(test) == {"telegram", "max"}
    calls = len(run.demo.telegram.calls)
    down = {"subscriber_id": "00000000-0000-4000-8000-000000000005"}
    assert (await test.call("POST", "/v1/otp/send", down)).json["code"] == "delivery_unknown"
    await run.quiet()
    assert len(run.demo.telegram.calls) == calls  # what is played gives no reason to ask


@pytest.mark.parametrize("channel", ["AUTO", "both", "", None, ["auto"]])
async def test_other_channels_are_not_known(run: Running, channel: object) -> None:
    assert (await run.call("POST", "/v1/otp/request", {"channel": channel})).status == 400
