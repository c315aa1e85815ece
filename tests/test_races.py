"""Races: everything that can happen to one subscriber at once, over HTTP, and what must hold whatever comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from itertools import combinations_with_replacement
from random import Random
from typing import Any

import pytest

from bot import phrases
from otp.ports import Tx
from sandbox.wire import Fault
from tests.conftest import STORES, store_url
from tests.history import History as Told
from tests.listening import listening
from tests.running import Running, Someone, running
from tests.volleys import (
    BUDGET,
    CHANNELS,
    LENGTH,
    MOST,
    SENDING,
    Deed,
    Volleys,
    at_once,
    captured,
    code_messages,
    draws,
    once,
    post,
)

KINDS = (
    *("right", "wrong", "old", "send", "open", "consent", "cancel", "stop", "unlock"),
    *("right twice", "wrong twice", "send twice", "withdraw", "revoke"),
)
"""What people and sites do; `twice` with one key, `withdraw` is the site's `cancel`."""
WEIGHTS = (2, 6, 2, 3, 1, 2, 1, 1, 1, 1, 2, 2, 2, 1)
QUESTIONS = 3
WHERE = pytest.mark.parametrize(
    "run,channel",
    [*(("sqlite", channel) for channel in CHANNELS), ("postgres", "max")],
    indirect=["run"],
)
"""Every channel on one store, every store with one channel."""


@pytest.fixture(params=STORES)
async def run(request: pytest.FixtureRequest, worker_id: str) -> AsyncIterator[Running]:
    """A running service over each kind of store."""
    async with running(await store_url(request.param, worker_id), guess_budget=BUDGET) as made:
        yield made
        assert made.demo.telegram.violations == []
        assert made.demo.max.violations == []


# ------------------------------------------------------------------ mixes


def deed(one: Volleys, kind: str, fresh: int, draw: Random) -> Deed[Any]:
    """Something of a kind; `fresh` is a request that was not opened yet."""
    question = draw.randrange(1, QUESTIONS)
    return {
        "right": once(one.verify, max(one.digits)),
        "old": once(one.verify, min(one.digits)),
        "wrong": once(one.verify, None),
        "send": one.send,
        "right twice": once(one.verify_twice, max(one.digits)),
        "wrong twice": once(one.verify_twice, None),
        "send twice": one.send_twice,
        "withdraw": once(one.withdraw, draw.choice((question, fresh))),
        "revoke": one.revoke,
        "open": once(one.open, fresh),
        "consent": once(one.consent, question),
        "cancel": once(one.cancel, question),
        "stop": one.stop,
        "unlock": one.unlock,
    }[kind]


def disturb(one: Volleys, draw: Random) -> None:
    """The messenger takes its time, and sometimes nobody learns what it did."""
    fault = draw.choice(
        (
            None,
            Fault(delay=draw.uniform(0, 0.02), times=3),
            Fault(status=500, times=1),
            Fault(drop=True, when="after", times=1),
            Fault(status=400, times=1),
        )
    )
    one.person.sim.faults.clear()
    if fault is not None:
        fault.method = SENDING[one.person.sim.channel]
        one.person.sim.faults.append(fault)


async def a_mix(run: Running, channel: str, seed: int) -> Volleys:
    """Three volleys of what a seed draws, each disturbed in its own way."""
    draw = draws(seed)
    one = await Volleys.begin(run, channel, QUESTIONS)
    kinds: list[str] = []
    for _ in range(3):
        drawn = draw.choices(KINDS, WEIGHTS, k=draw.randint(2, 9))
        fresh = await one.request()
        disturb(one, draw)
        await one.volley([deed(one, kind, fresh, draw) for kind in drawn], draw)
        kinds += [*drawn, "/"]
    one.person.sim.faults.clear()
    await one.check(f"seed {seed} on {channel}: {' '.join(kinds)}")
    return one


@pytest.mark.slow
@pytest.mark.parametrize("run,channel", [("sqlite", channel) for channel in CHANNELS], indirect=["run"])
async def test_every_pair_at_once(run: Running, channel: str) -> None:
    """Any two kinds of calls, twice each: some order of them explains all that was answered."""
    for number, pair in enumerate(combinations_with_replacement(KINDS, 2)):
        draw = draws(number)
        if CHANNELS[number % 2] == channel:
            one = await Volleys.begin(run, channel, QUESTIONS)
            fresh = await one.request()
            await one.volley([deed(one, kind, fresh, draw) for kind in (*pair, *pair)], draw)
            await one.check(f"{channel}, {pair}")


@WHERE
@pytest.mark.slow
async def test_random_mixes_at_once(run: Running, channel: str) -> None:
    """Whatever comes together with whatever, over three volleys: some order explains it."""
    for seed in range(5):
        await a_mix(run, channel, seed)


@pytest.mark.slow
async def test_a_webhook_hears_of_each_change_once(worker_id: str) -> None:
    """Of guesses, deliveries and ends of requests in such mixes: as many as the history has, neither more nor fewer."""
    for store in STORES:
        url = await store_url(store, worker_id)
        async with running(url, guess_budget=BUDGET, events_allow_private=True) as run:
            told = Told()
            async with listening(told, run, "races") as listener:
                listener.well = True
                mixes = [await a_mix(run, CHANNELS[seed % 2], seed) for seed in range(400, 403)]
                await run.quiet()
            for one in mixes:
                assert one.changes() == heard_of(told, one)


def heard_of(told: Told, one: Volleys) -> Counter[str]:
    """What a webhook heard of a subscriber and of the requests; each event once, however often it came."""
    about = {one.subscriber, *one.requests.values()}
    return Counter(
        event.type.removeprefix("otp.")
        for event in told.events.values()
        if about & {event.data.get("subscriber_id"), event.data.get("request_id")}
        and event.type in ("otp.verified", "otp.wrong_code", "otp.sent", "otp.cancelled")
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
@WHERE
async def test_many_random_mixes_at_once(run: Running, channel: str) -> None:
    """The same, with two hundred seeds."""
    for seed in range(100, 300):
        await a_mix(run, channel, seed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@WHERE
async def test_every_pair_at_once_in_many_orders(run: Running, channel: str) -> None:
    """Each pair with four draws of who begins a little earlier, with a slow messenger and without."""
    for number, pair in enumerate(combinations_with_replacement(KINDS, 2)):
        for turn in range(4):
            draw = draws(1000 * number + turn)
            one = await Volleys.begin(run, channel, QUESTIONS)
            fresh = await one.request()
            disturb(one, draw)
            await one.volley([deed(one, kind, fresh, draw) for kind in (*pair, *pair)], draw)
            one.person.sim.faults.clear()
            await one.check(f"{channel}, {pair}, turn {turn}")


# ------------------------------------------------------------------ guesses


async def test_fifty_wrong_guesses_and_a_right_one(run: Running) -> None:
    """At most so many are evaluated as the code allows; afterwards the right one is too late."""
    one = await Volleys.begin(run, "telegram")
    guesses = [once(one.verify, None)] * 50
    answers = await one.volley([*guesses[:25], once(one.verify, 0), *guesses[25:]], draws(1))
    reasons = Counter(answer.get("reason", "verified") for answer in answers)
    assert reasons["wrong_code"] <= MOST
    assert reasons["wrong_code"] == MOST or reasons["verified"] == 1
    assert not (await one.verify(0))["verified"]
    await one.check("fifty wrong")


async def test_thirty_right_guesses_are_one_success(run: Running) -> None:
    """Thirty people with the same right code: one is let in."""
    for seed in range(3):
        one = await Volleys.begin(run, CHANNELS[seed % 2])
        answers = await one.volley([once(one.verify, 0)] * 30, draws(seed))
        assert [answer["verified"] for answer in answers].count(True) == 1
        await one.check("thirty right")


@pytest.mark.slow
async def test_an_old_code_is_true_only_before_the_new_one(run: Running) -> None:
    """A send beside five guesses of the code before it, thirty rounds; each success lies before the send."""
    one = await Volleys.begin(run, "telegram")
    for turn in range(30):
        await one.unlock()
        old = max(one.digits)
        came, *answers = await one.volley([one.send, *[once(one.verify, old)] * 5], draws(turn))
        assert came in ("sent", "locked")
        assert [answer["verified"] for answer in answers].count(True) <= 1
        assert not (await one.verify(old))["verified"]
    await one.check("thirty rounds")


@WHERE
async def test_no_more_wrong_guesses_than_the_budget_over_all_purposes(run: Running, channel: str) -> None:
    """Five codes that allow ten guesses each, sixty wrong ones at once: the budget is for all of them together."""
    one = await Volleys.begin(run, channel)
    purposes = ("pay", "pair", "mail", "reset", "login")
    for purpose in purposes:
        body = {
            "subscriber_id": one.subscriber,
            "purpose": purpose,
            "max_attempts": 10,
            "code_length": LENGTH,
        }
        assert (await run.call("POST", "/v1/otp/send", body)).status == 200

    async def guess(code: str, purpose: str) -> dict[str, Any]:
        return await run.verify(one.subscriber, code, purpose=purpose)

    async def alive(tx: Tx) -> list[str]:
        return [purpose for purpose in purposes if await tx.code(one.subscriber, purpose)]

    await run.quiet()
    right = one.person.codes[-len(purposes) :]
    assert await run.service.store.read(alive) == list(purposes)
    answers = await at_once([once(guess, one.wrong, purpose) for purpose in purposes * 12], draws(3))
    reasons = Counter(answer["reason"] for answer in answers)
    assert reasons == {"wrong_code": BUDGET, "locked": 60 - BUDGET}
    assert sorted(a["attempts_left"] for a in answers if a["reason"] == "wrong_code") == list(range(BUDGET))
    answers = await at_once([once(guess, *both) for both in zip(right, purposes, strict=True)])
    assert {answer["reason"] for answer in answers} == {"locked"}
    assert await run.service.store.read(alive) == []


# ------------------------------------------------------------------ presses and updates


@WHERE
@pytest.mark.slow
async def test_ten_presses_of_one_button_are_one_code(run: Running, channel: str) -> None:
    """Of consent, and of "Send again" under the code that came."""
    one = await Volleys.begin(run, channel, 2)
    await one.volley([once(one.consent, 1)] * 10)
    assert [act for act, _, _ in code_messages(one.person)] == [0, 1]
    message = one.person.screen[-1]
    [again] = [b.value for row in message.buttons for b in row if b.value.startswith(phrases.REPEAT)]
    one.person.sim.faults.append(Fault(method=SENDING[one.person.sim.channel], delay=1, times=1))
    await at_once([once(press, one.person, again, message.id)] * 10)
    await run.quiet()
    assert [act for act, _, _ in code_messages(one.person)] == [0, 1, 1]
    await one.check("ten presses")


async def press(person: Someone, data: str, message: str) -> None:
    """A button is pressed; its update is on its way when this returns."""
    update = captured(person, lambda: person.sim.press_data(person.user_id, message, data))
    assert (await post(person.running, person.sim.channel, update)).status == 200  # type: ignore[arg-type]


@WHERE
async def test_consent_and_cancel_at_once_are_one_end(run: Running, channel: str) -> None:
    """Sent with its one code, or cancelled; and so it stays."""
    for seed in range(6):
        one = await Volleys.begin(run, channel, 2)
        if seed % 2:
            disturb(one, draws(seed))
        both = [*[once(one.consent, 1)] * 3, *[once(one.cancel, 1)] * 3]
        await one.volley(both if seed < 3 else both[::-1], draws(seed))
        one.person.sim.faults.clear()
        end = await one.status(1)
        came = [act for act, _, _ in code_messages(one.person)].count(1)
        assert came == 1 if end == "sent" else came <= 1
        await one.check(f"seed {seed}")


@WHERE
async def test_consent_and_a_sites_cancel_at_once_are_one_end(run: Running, channel: str) -> None:
    """Sent with its one code, or cancelled without one that lives; never taken back while it is at the messenger."""
    for seed in range(8):
        one = await Volleys.begin(run, channel, 2)
        lost = seed % 4 == 3
        fault = Fault(SENDING[channel], delay=0.05)
        if lost:
            fault = Fault(SENDING[channel], drop=True, when="after")
        one.person.sim.faults.append(fault)
        cancel = once(withdraw_at_the_messenger, one) if seed % 2 else once(one.withdraw, 1)
        answers = await one.volley([*[once(one.consent, 1)] * 2, *[cancel] * 3], draws(seed))
        one.person.sim.faults.clear()
        end, came = await one.status(1), [act for act, _, _ in code_messages(one.person)].count(1)
        assert ("cancelled" in answers) == (end == "cancelled")
        assert came <= lost if end == "cancelled" else came == 1
        await one.check(f"seed {seed}")


async def withdraw_at_the_messenger(one: Volleys) -> str:
    """Cancel as soon as the code of the request is at the messenger."""
    await one.person.sim.until(lambda: any(act == 1 for act, _, _ in code_messages(one.person)))
    return await one.withdraw(1)


@WHERE
async def test_an_update_that_comes_again_has_no_second_effect(run: Running, channel: str) -> None:
    """Five times beside each other and five times later, when the same act would do something anew."""
    one = await Volleys.begin(run, channel)
    person, sim = one.person, one.person.sim
    message = person.screen[-1]
    data = {b.value.partition(":")[0]: b.value for row in message.buttons for b in row}
    leave, again = f"{phrases.LEAVE}:{one.subscriber}", data[phrases.REPEAT]
    consent = f"{phrases.CONSENT}:{one.requests[0]}"

    async def five(update: dict[str, Any]) -> None:
        for _ in range(5):
            sim.deliver(update)
        await run.quiet()
        for _ in range(5):
            sim.deliver(update)
            await run.quiet()

    def pressed(data: str) -> dict[str, Any]:
        return captured(person, lambda: sim.press_data(person.user_id, message.id, data))

    opened = await one.request()
    await five(pressed(again))
    assert len(code_messages(person)) == 2
    left = pressed(leave)
    await five(left)
    assert (await one.send()) == "left"
    fresh = await one.request()
    say = captured(person, lambda: sim.say(person.user_id, f"otp_{one.requests[fresh]}"))
    questions = len(person.screen)
    await five(say)
    assert len(person.screen) == questions + 1
    joined = pressed(f"{phrases.CONSENT}:{one.requests[fresh]}")
    await five(joined)
    assert len(code_messages(person)) == 3
    for old in (left, pressed(consent), joined):  # nothing of this unsubscribes or sends
        await five(old)
    assert len(code_messages(person)) == 3
    assert (await one.send()) == "sent"
    assert await one.status(opened) == "pending"


@WHERE
async def test_a_subscribers_opens_at_once_are_one_code(run: Running, channel: str) -> None:
    """Two and more of the same link."""
    for opens in (2, 5):
        one = await Volleys.begin(run, channel)
        fresh = await one.request()
        await one.volley([once(one.open, fresh)] * opens, draws(opens))
        assert [act for act, _, _ in code_messages(one.person)] == [0, fresh]
        assert await one.status(fresh) == "sent"
        await one.check("opens")


@pytest.mark.parametrize("others", [("telegram", "telegram"), ("max", "max"), ("telegram", "max")])
async def test_a_request_is_one_persons(run: Running, others: tuple[str, str]) -> None:
    """Two consent to it at once, three times each: one of them gets the code, and the status names that one."""
    for seed in range(4):
        request = await run.request(context={"action": "act 1"}, code_length=LENGTH)
        people = [run.someone(channel) for channel in others]
        for person in people:
            await person.say(f"otp_{request['request_id']}")
        data = f"{phrases.CONSENT}:{request['request_id']}"
        deeds = [once(press, person, data, person.screen[-1].id) for person in people * 3]
        await at_once(deeds, draws(seed))
        await run.quiet()
        got = [person for person in people if code_messages(person)]
        assert len(got) == 1
        [(_, digits, _)] = code_messages(got[0])
        status = await run.status(request)
        assert (status["status"], status["channel"]) == ("sent", got[0].sim.channel)
        assert await run.verify(status["subscriber_id"], digits) == {"verified": True}
