"""A messenger fails once while it is to bring a code: by `/send` and by a tap, on both messengers.

Never two codes by our own doing, never a false `sent`; what certainly did not arrive is tried again, nothing else is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum, auto
from itertools import pairwise
from typing import Any, Final

import pytest
import pytest_asyncio

from sandbox.wire import Call, Fault
from tests.attempts import SENDING, arrived, attempts, digits_in, pass_time, sent
from tests.running import Answer, Running, Someone, running
from tests.wires import Lines, listening

pytestmark = pytest.mark.asyncio(loop_scope="module")
both = pytest.mark.parametrize("channel", ["telegram", "max"])


class End(StrEnum):
    """What is known of the message after the fault."""

    LATER = auto()
    REFUSED = auto()
    GONE = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Case:
    """A fault, what is known after it, and whether the message arrives all the same."""

    end: End
    fault: dict[str, Any]
    arrives: bool = False
    telegram: dict[str, Any] | None = None
    """Where the messengers' bodies differ."""

    def on(self, channel: str) -> Fault:
        """The fault of the next message."""
        special = (self.telegram or {}) if channel == "telegram" else {}
        return Fault(method=SENDING, **{**self.fault, **special})


NOT_OK: Final = {"ok": False, "description": "Bad Request: no"}
STRANGE: Final = {"ok": True, "result": {"message_id": "x", "date": 1, "chat": {"id": 1, "type": "private"}}}
CASES: Final = {
    "429_wait": Case(End.LATER, {"retry_after": 3}),
    "429_silent": Case(
        End.LATER, {"status": 429, "body": {"code": "slow"}}, telegram={"body": {"ok": False}}
    ),
    "400": Case(End.REFUSED, {"status": 400}),
    "401": Case(End.REFUSED, {"status": 401}),
    "404": Case(End.REFUSED, {"status": 404}),
    "403": Case(End.GONE, {"status": 403}),
    "500": Case(End.UNKNOWN, {"status": 500}),
    "500_late": Case(End.UNKNOWN, {"status": 500, "when": "after"}, arrives=True),
    "502_html": Case(End.UNKNOWN, {"status": 502, "raw": "<html><h1>502 Bad Gateway</h1></html>"}),
    "503_wait": Case(End.UNKNOWN, {"status": 503, "retry_after": 3, "when": "after"}, arrives=True),
    "cut": Case(End.UNKNOWN, {"truncate": True}, arrives=True),
    "not_ok": Case(End.UNKNOWN, {"status": 200, "body": {"code": "no"}}, telegram={"body": NOT_OK}),
    "302": Case(End.UNKNOWN, {"status": 302}),
    "307": Case(End.UNKNOWN, {"status": 307}),
    "dropped": Case(End.UNKNOWN, {"drop": True}),
    "dropped_late": Case(End.UNKNOWN, {"drop": True, "when": "after"}, arrives=True),
    "empty": Case(End.UNKNOWN, {"raw": "", "when": "after"}, arrives=True),
    "page": Case(End.UNKNOWN, {"raw": "<html>Log in to this Wi-Fi</html>"}),
    "10_mb": Case(End.UNKNOWN, {"raw": " " * 10_000_000, "when": "after"}, arrives=True),
    "strange_id": Case(
        End.UNKNOWN,
        {"body": {"message": {"body": {"mid": 17}}}, "when": "after"},
        arrives=True,
        telegram={"body": STRANGE},
    ),
}
every = pytest.mark.parametrize("case", CASES)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service() -> AsyncIterator[tuple[Running, Lines]]:
    """One running service for all: every test has people of its own."""
    lines = Lines()
    try:
        async with running(between=lines.lay) as made:
            yield made, lines
            assert made.demo.telegram.violations == []
            assert made.demo.max.violations == []
    finally:
        await lines.cut()


@pytest.fixture
def run(service: tuple[Running, Lines]) -> Running:
    """The service, with messengers that work."""
    service[0].demo.telegram.faults.clear()
    service[0].demo.max.faults.clear()
    return service[0]


@pytest.fixture
def lines(service: tuple[Running, Lines]) -> Lines:
    """The lines to the messengers."""
    return service[1]


def problem(answer: Answer) -> tuple[int, str, bool, bool]:
    """Status, code, retryable, and whether it says when."""
    assert answer.headers["Content-Type"] == "application/problem+json"
    after = answer.headers.get("Retry-After")
    assert after is None or int(after) >= 1
    return answer.status, answer.json["code"], answer.json["retryable"], after is not None


PROBLEMS: Final = {
    End.REFUSED: (502, "delivery_failed", False, False),
    End.GONE: (404, "subscriber_not_found", False, False),
    End.UNKNOWN: (502, "delivery_unknown", False, False),
}
UNAVAILABLE: Final = (503, "messenger_unavailable", True, True)


async def trapped(run: Running, channel: str, case: Case, act: Callable[[], Any]) -> Any:
    """Act while the fault strikes; its redirect leads to a trap that nobody may walk into."""
    visits = 0

    async def trap(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        nonlocal visits
        visits += 1

    async with listening(trap) as port:
        fault = case.on(channel)
        if fault.status in (302, 307):
            fault.headers = {"Location": f"http://127.0.0.1:{port}/elsewhere"}
        sim = run.demo.telegram if channel == "telegram" else run.demo.max
        sim.faults.append(fault)
        result = await act()
        await run.quiet()
    assert (visits, fault.times) == (0, 0)
    return result


# ------------------------------------------------------------------ /send


@both
@every
@pytest.mark.slow
async def test_a_send(run: Running, channel: str, case: str) -> None:
    """The answer says what is known; the older code lives exactly if the new one certainly did not arrive."""
    this, person = CASES[case], run.someone(channel)
    sub = await run.subscriber(person)
    older = person.codes[-1]
    answer = await trapped(run, channel, this, lambda: sent(run, sub))
    made = attempts(person)[1:]
    if this.end is End.LATER:
        assert (answer.status, answer.json) == (200, {"sent": True, "expires_in_seconds": 300})
        first, second = made
        assert (first.done, second.done) == (False, True)
        assert second.at - first.at >= (3000 if channel == "telegram" and case == "429_wait" else 1000)
    else:
        assert problem(answer) == PROBLEMS[this.end]
        assert [call.done for call in made] == [this.arrives]
    await pass_time(run, 30, step=5)
    assert len(attempts(person)) == 1 + len(made)
    await check_codes(run, sub, older, attempts(person)[-1], this.end)
    again = await sent(run, sub)
    assert again.status == (404 if this.end is End.GONE else 200)


async def check_codes(run: Running, sub: str, older: str, newest: Call, end: End) -> None:
    """Which of two codes is good now."""
    verdict = await run.verify(sub, older)
    if end is End.REFUSED:
        assert verdict == {"verified": True}
    elif end is End.GONE:
        assert verdict == {"verified": False, "reason": "no_active_code", "attempts_left": 0}
    else:
        assert verdict == {"verified": False, "reason": "wrong_code", "attempts_left": 4}
        assert await run.verify(sub, digits_in(newest) or "") == {"verified": True}


# ------------------------------------------------------------------ a tap


async def asked(run: Running, channel: str) -> tuple[Someone, dict[str, Any]]:
    """Somebody with a question on the screen."""
    person, request = run.someone(channel), await run.request()
    await person.open(request[f"{channel}_link"])
    return person, request


@both
@every
@pytest.mark.slow
async def test_a_tap(run: Running, channel: str, case: str) -> None:
    """`sent` only after it arrived for sure; else the person has "Send again", which brings one more code."""
    this = CASES[case]
    person, request = await asked(run, channel)
    await trapped(run, channel, this, lambda: person.press("Get the code"))
    assert await run.status(request) == {"status": "pending"}
    assert [call.done for call in attempts(person)] == [this.arrives]
    await pass_time(run, 30, step=1 if this.end is End.LATER else 5)
    if this.end is End.GONE:
        assert person.labels == []
        await person.say(f"otp_{request['request_id']}")
        await person.press("Get the code")
    elif this.end is not End.LATER:
        assert len(attempts(person)) == 1
        assert await run.status(request) == {"status": "pending"}
        await person.press("Send again")
    first, second = attempts(person)
    assert second.done
    assert len(arrived(person)) == 1 + this.arrives
    told = await run.status(request)
    assert (told["status"], told["channel"]) == ("sent", channel)
    assert second.at - first.at >= (3000 if channel == "telegram" and case == "429_wait" else 1000)
    code = person.codes[-1]
    assert await run.verify(told["subscriber_id"], code, request_id=request["request_id"]) == {
        "verified": True
    }


@both
async def test_send_again_repeats_the_code_that_may_have_arrived(run: Running, channel: str) -> None:
    """Whichever of the two messages the person reads, the code in it is good."""
    person, request = await asked(run, channel)
    person.sim.faults.append(Fault(method=SENDING, drop=True, when="after"))
    await person.press("Get the code")
    assert len(person.codes) == 1
    await person.press("Send again")
    assert len(arrived(person)) == 2
    assert len(set(person.codes)) == 1
    told = await run.status(request)
    assert (await run.verify(told["subscriber_id"], person.codes[-1]))["verified"] is True


async def arrived_unknown(run: Running, channel: str) -> tuple[Someone, dict[str, Any], str]:
    """A subscriber who reads a code that we do not know to have arrived, above the offer to send it again."""
    person = run.someone(channel)
    sub, request = await run.subscriber(person), await run.request()
    person.sim.faults.append(Fault(method=SENDING, drop=True, when="after"))
    await person.say(f"otp_{request['request_id']}")
    return person, request, sub


async def press_under_the_code(person: Someone, label: str) -> None:
    """Press a button of the message that carries the code."""
    shown = next(message for message in person.screen if message.text.startswith(person.codes[0]))
    row = next(row for row, (button,) in enumerate(shown.buttons) if button.label.startswith(label))
    person.sim.press(person.user_id, shown.id, row, 0)
    await person.running.quiet()


@both
async def test_it_wasnt_me_under_a_code_that_may_have_arrived(run: Running, channel: str) -> None:
    """It is on the screen, so it can be reported: the code dies and the request ends."""
    person, request, sub = await arrived_unknown(run, channel)
    code = person.codes[0]
    await press_under_the_code(person, "It wasn't me")
    assert await run.status(request) == {"status": "cancelled", "reported": True}
    assert (await run.verify(sub, code))["reason"] == "no_active_code"


@both
async def test_send_again_under_a_code_that_may_have_arrived(run: Running, channel: str) -> None:
    """The same code once more; now that it certainly arrived, the site hears of it."""
    person, request, sub = await arrived_unknown(run, channel)
    await press_under_the_code(person, "Send again")
    _, first, second = map(digits_in, arrived(person))
    assert first == second
    assert await run.status(request) == {"status": "sent", "subscriber_id": sub, "channel": channel}
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}


# ------------------------------------------------------------------ not reached at all


@both
async def test_a_send_while_connections_are_refused(run: Running, lines: Lines, channel: str) -> None:
    """Answered within its time as not sent, nothing comes later, and the older code is good."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    await lines.to(channel).become("refusing")
    assert problem(await sent(run, sub)) == UNAVAILABLE
    await lines.to(channel).become("up")
    await pass_time(run, 60, step=5)
    assert len(attempts(person)) == 1
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}
    assert (await sent(run, sub)).status == 200


@both
async def test_a_send_to_a_messenger_that_comes_back(run: Running, lines: Lines, channel: str) -> None:
    """Refused for two seconds: the caller hears of one message, and there is one."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    await lines.to(channel).become("refusing")
    call = asyncio.create_task(run.call("POST", "/v1/otp/send", {"subscriber_id": sub}))
    await pass_time(run, 2)
    assert not call.done()
    await lines.to(channel).become("up")
    await pass_time(run, 10, call.done)
    assert (await call).json == {"sent": True, "expires_in_seconds": 300}
    assert len(attempts(person)) == 2
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}


@both
async def test_a_send_that_is_told_to_wait_too_long(run: Running, channel: str) -> None:
    """Not sent, the older code is good; where the messenger says how long, nobody asks again before."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    person.sim.faults.append(Fault(method=SENDING, times=100, retry_after=60))
    assert problem(await sent(run, sub)) == UNAVAILABLE
    made = attempts(person)[1:]
    assert len(made) == 1 if channel == "telegram" else len(made) > 1
    assert all(later.at - earlier.at >= 1000 for earlier, later in pairwise(made))
    await pass_time(run, 120, step=5)
    assert attempts(person)[1:] == made
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}


@both
async def test_what_hangs(run: Running, channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ends by its deadline as unknown, and what the messenger does with it afterwards changes nothing."""
    monkeypatch.setattr("otp.courier.ATTEMPT_TIMEOUT_MS", 500)
    person, other = run.someone(channel), run.someone(channel)
    sub = await run.subscriber(person)
    request = await run.request()
    await other.say(f"otp_{request['request_id']}")
    released = asyncio.Event()
    person.sim.faults.append(Fault(method=SENDING, times=2, hold=released))
    sending = asyncio.create_task(run.call("POST", "/v1/otp/send", {"subscriber_id": sub}))
    await person.sim.until(lambda: len(attempts(person)) == 2)
    question = other.screen[-1]
    other.sim.press(other.user_id, question.id, 0, 0)
    await person.sim.until(lambda: len(attempts(other)) == 1)
    async with asyncio.timeout(20):
        assert problem(await sending) == PROBLEMS[End.UNKNOWN]
    await other.sim.until(lambda: "Send again" in other.labels, 20)
    released.set()
    await pass_time(run, 30, step=5)
    assert (len(arrived(person)), len(arrived(other))) == (2, 1)
    assert await run.status(request) == {"status": "pending"}
    assert await run.verify(sub, digits_in(attempts(person)[-1]) or "") == {"verified": True}
    await other.press("Send again")
    assert (await run.status(request))["status"] == "sent"
