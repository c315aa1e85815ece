"""A messenger fails for minutes, and calls that bring no code fail: nothing is lost, nothing comes twice, work goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from sandbox.demo import Demo
from sandbox.wire import Fault
from tests.attempts import SENDING, arrived, attempts, digits_in, pass_time, sent
from tests.running import Running, Someone, running
from tests.wires import Lines

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("channel", ["telegram", "max"])
OTHER = {"telegram": "max", "max": "telegram"}
ASIDE = "answerCallbackQuery|editMessageText|POST /answers|PUT /messages"
"""Calls that bring no message."""
FAILURES: dict[str, dict[str, Any]] = {
    "400": {"status": 400},
    "401": {"status": 401},
    "403": {"status": 403},
    "429": {"retry_after": 2},
    "500": {"status": 500},
    "500_bare": {"status": 500, "body": {"ok": False}},
    "502_html": {"status": 502, "raw": "<h1>Bad Gateway</h1>"},
    "cut": {"truncate": True},
    "dropped": {"drop": True, "when": "after"},
    "list": {"body": []},
}


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


async def asked(run: Running, channel: str) -> tuple[Someone, dict[str, Any]]:
    """Somebody with a question on the screen."""
    person, request = run.someone(channel), await run.request()
    await person.say(f"otp_{request['request_id']}")
    return person, request


async def check_all_is_well(run: Running, channel: str) -> None:
    """Within half a minute everything works as if nothing had been."""
    person = run.someone(channel)
    await pass_time(run, 30, step=2)
    sub = await run.subscriber(person)
    assert (await sent(run, sub)).status == 200
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}


def bugs(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """What was logged as our own fault."""
    return [entry for entry in logs if entry["event"] in ("background.failed", "http.failed")]


# ------------------------------------------------------------------ minutes


@both
async def test_a_tap_waits_for_a_messenger_that_is_gone(run: Running, lines: Lines, channel: str) -> None:
    """Refused for twelve minutes: pending all the time, then one code and `sent`."""
    person, request = await asked(run, channel)
    await lines.to(channel).become("refusing")
    await person.press("Get the code")
    await pass_time(run, 720, step=8)
    assert await run.status(request) == {"status": "pending"}
    await lines.to(channel).become("up")
    await pass_time(run, 60, step=2)
    assert len(attempts(person)) == 1
    told = await run.status(request)
    assert told["status"] == "sent"
    assert await run.verify(told["subscriber_id"], person.codes[-1]) == {"verified": True}
    await check_all_is_well(run, channel)


@both
async def test_a_tap_waits_as_long_as_it_is_told(run: Running, channel: str) -> None:
    """429 for minutes: never asked sooner than the messenger said, then one code."""
    person, request = await asked(run, channel)
    person.sim.faults.append(Fault(method=SENDING, times=4, retry_after=50))
    await person.press("Get the code")
    await pass_time(run, 300, lambda: bool(arrived(person)), step=2)
    made = attempts(person)
    assert len(made) == 5
    least = 50_000 if channel == "telegram" else 1000
    assert all(later.at - earlier.at >= least for earlier, later in pairwise(made))
    await pass_time(run, 60, step=5)
    assert len(attempts(person)) == 5
    assert (await run.status(request))["status"] == "sent"


@both
async def test_after_15_minutes_the_request_is_over(run: Running, lines: Lines, channel: str) -> None:
    """A messenger that comes back too late brings no code; the person hears what to do."""
    person, request = await asked(run, channel)
    await lines.to(channel).become("refusing")
    await person.press("Get the code")
    await pass_time(run, 930, step=10)
    assert await run.status(request) == {"status": "expired"}
    await lines.to(channel).become("up")
    await pass_time(run, 60, step=5)
    assert attempts(person) == []
    await person.say(f"otp_{request['request_id']}")
    assert "This link has expired" in person.last
    assert await run.status(request) == {"status": "expired"}
    await check_all_is_well(run, channel)


async def test_a_wait_beyond_the_end_of_the_request(run: Running) -> None:
    """No use to wait for: the person may ask again at once, and gets one code."""
    person, request = await asked(run, "telegram")
    person.sim.faults.append(Fault(method=SENDING, retry_after=900))
    await person.press("Get the code")
    assert await run.status(request) == {"status": "pending"}
    await person.press("Send again")
    assert [call.done for call in attempts(person)] == [False, True]
    assert (await run.status(request))["status"] == "sent"


@both
@pytest.mark.parametrize("kind", ["500", "502_html", "cut", "dropped"])
async def test_minutes_of_answers_that_say_nothing(run: Running, channel: str, kind: str) -> None:
    """Nothing comes twice by itself and nothing is said to be sent; afterwards the person gets their code."""
    person, request = await asked(run, channel)
    other = run.someone(channel)
    sub = await run.subscriber(other)
    person.sim.faults.append(Fault(times=100_000, **FAILURES[kind]))
    await person.press("Get the code")
    answers = []
    for _ in range(20):
        answers.append(await sent(run, sub))
        await pass_time(run, 6, step=3)
    told = {(answer.status, answer.json["code"]) for answer in answers}
    assert told <= {(502, "delivery_unknown"), (503, "messenger_unavailable")}
    unsure = sum(answer.status == 502 for answer in answers)
    assert (len(attempts(person)), len(attempts(other))) == (1, 1 + unsure)
    assert await run.status(request) == {"status": "pending"}
    person.sim.faults.clear()
    await check_all_is_well(run, channel)
    assert len(attempts(person)) == 1
    await person.say(f"otp_{request['request_id']}")
    assert len(attempts(person)) == 1
    await person.press("Send again")
    assert len(attempts(person)) == 2
    assert (await run.status(request))["status"] == "sent"
    assert len({digits_in(call) for call in attempts(person)}) == 1


@both
async def test_the_other_messenger_does_not_notice(run: Running, lines: Lines, channel: str) -> None:
    """One is gone; on the other everything works, and the answers about the first stay what they are."""
    person, there = run.someone(OTHER[channel]), run.someone(channel)
    sub, sub_there = await run.subscriber(person), await run.subscriber(there)
    await lines.to(channel).become("refusing")
    for _ in range(3):
        failed = await sent(run, sub_there)
        assert (failed.status, failed.json["code"]) == (503, "messenger_unavailable")
        assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 200
        assert await run.verify(sub, person.codes[-1]) == {"verified": True}
    assert await run.subscriber(run.someone(OTHER[channel]))
    assert await run.verify(sub_there, there.codes[-1]) == {"verified": True}


# ------------------------------------------------------------------ what brings no code


@both
@pytest.mark.parametrize("kind", FAILURES)
async def test_failing_answers_and_edits(run: Running, channel: str, kind: str) -> None:
    """They neither stop nor repeat a code, and are no fault of ours."""
    person, request = await asked(run, channel)
    person.sim.faults.append(Fault(method=ASIDE, times=100_000, **FAILURES[kind]))
    with capture_logs() as logs:
        await person.press("Get the code")
        await pass_time(run, 60, step=5)
        told = await run.status(request)
        assert told["status"] == "sent"
        assert len(attempts(person)) == len(person.codes) == 1
        assert await run.verify(told["subscriber_id"], person.codes[0]) == {"verified": True}
        await pass_time(run, 600, step=15)
    assert bugs(logs) == []
    assert len(attempts(person)) == 1
    person.sim.faults.clear()
    await check_all_is_well(run, channel)


@both
@pytest.mark.parametrize("kind", FAILURES)
async def test_a_question_that_fails(run: Running, channel: str, kind: str) -> None:
    """The person's next act brings it again; then there is one code."""
    person, request = run.someone(channel), await run.request()
    person.sim.faults.append(Fault(method=SENDING, **FAILURES[kind]))
    with capture_logs() as logs:
        await person.say(f"otp_{request['request_id']}")
        await pass_time(run, 10)
        await person.say(f"otp_{request['request_id']}")
        await person.press("Get the code")
    assert bugs(logs) == []
    assert len(attempts(person)) == 1
    assert (await run.status(request))["status"] == "sent"


@both
async def test_edits_that_fail_for_a_minute_are_made_later(run: Running, channel: str) -> None:
    """A used code leaves the screen as soon as the messenger takes edits again."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    person.sim.faults.append(Fault(method=ASIDE, times=5, status=500))
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}
    await run.quiet()
    assert len(person.codes) == 1
    await pass_time(run, 240, lambda: not person.codes, step=2)
    assert person.codes == []


@both
async def test_a_wait_without_end_for_an_edit(run: Running, channel: str) -> None:
    """No clock of ours can hold it: the job goes on all the same."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    forever = {"ok": False, "parameters": {"retry_after": 10**30}}
    person.sim.faults.append(Fault(method=ASIDE, status=429, body=forever))
    with capture_logs() as logs:
        assert await run.verify(sub, person.codes[-1]) == {"verified": True}
        await pass_time(run, 30, step=5)
    assert bugs(logs) == []
    await check_all_is_well(run, channel)


@both
@pytest.mark.parametrize("kind", ["401", "429", "500_bare", "502_html", "cut", "list"])
async def test_a_start_while_the_messenger_fails(channel: str, kind: str) -> None:
    """The other one works at once, this one as soon as it answers; `/readyz` tells, and the service is ready."""

    async def fail(demo: Demo) -> dict[str, str]:
        sim = demo.telegram if channel == "telegram" else demo.max
        sim.faults.append(Fault(times=4, **FAILURES[kind]))
        return {"telegram_bot_username": demo.telegram.username, "max_bot_username": demo.max.username}

    with capture_logs() as logs:
        async with running(between=fail) as run:
            ready = await run.call("GET", "/readyz")
            assert ready.status == 200
            assert ready.json["channels"][channel]["state"] in ("unreachable", "unauthorized")
            assert await run.subscriber(run.someone(OTHER[channel]))
            await pass_time(run, 60, step=2)
            ready = await run.call("GET", "/readyz")
            assert ready.json["channels"][channel]["state"] == "ok"
            assert await run.subscriber(run.someone(channel))
    assert bugs(logs) == []
