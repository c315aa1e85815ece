"""The real program, killed at one certain step of a code's way, and what must come out after the restart."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from sandbox.wire import Fault
from tests.killing import (
    SEND,
    asked,
    delivery,
    killed_at,
    locked,
    messages,
    one,
    press,
    relayed,
    until,
    until_somebody_waits_to_commit,
)
from tests.process import Outside
from tests.running import Answer, Someone
from tests.torture_load import code_in
from tests.world import wrong

__all__ = ["one"]  # the fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


async def ends_unknown(one: Outside, person: Someone, request: dict[str, Any], taken: int) -> None:
    """After 20 seconds nobody knows: nothing is sent again, the request is pending, and "Send again" works."""
    before = monotonic()
    assert (await one.status(request))["status"] == "pending"
    await until(lambda: delivery(one)[0] == "unknown")
    assert monotonic() - before > 5
    await person.sim.until(lambda: "may not have arrived" in person.last, 10)
    assert (await one.status(request)) == {"status": "pending"}
    assert len(messages(one)) == taken
    await person.press("Send again")
    await until(lambda: len(messages(one)) == taken + 1)
    await one.quiet()
    assert len(messages(one)) == taken + 1
    assert len(set(messages(one))) == 1  # the same code, as it lives
    status = await one.status(request)
    assert status["status"] == "sent"
    assert await one.verify(status["subscriber_id"], messages(one)[0]) == {"verified": True}
    assert (await one.verify(status["subscriber_id"], messages(one)[0]))["verified"] is False


# ------------------------------------------------------------------ a tap


async def test_a_claim_is_carried_after_the_restart(one: Outside) -> None:
    """Claimed, and certainly not sent: the code goes out, once."""
    person, request = await asked(one)
    person.sim.faults.append(Fault(SEND, retry_after=4))
    press(person, "Get the code")
    await until(lambda: delivery(one) == ("claimed", 1))
    await one.kill()
    assert messages(one) == []
    await one.start()
    await until(lambda: delivery(one)[0] == "accepted")
    await one.quiet()
    assert len(messages(one)) == 1
    assert (await one.status(request))["status"] == "sent"


async def test_a_message_whose_answer_was_lost_is_not_sent_again(one: Outside) -> None:
    """Attempting, and the message is in the chat."""
    person, request = await asked(one)
    hold = asyncio.Event()
    person.sim.faults.append(Fault(SEND, hold=hold, when="after", drop=True))
    press(person, "Get the code")
    await until(lambda: len(messages(one)) == 1)
    await one.kill()
    hold.set()
    await one.start()
    await ends_unknown(one, person, request, taken=1)


async def test_a_message_that_never_arrived_is_not_sent_again_either(one: Outside) -> None:
    """Attempting, and the messenger did not take it: the process can't know."""
    person, request = await asked(one)
    hold = asyncio.Event()
    person.sim.faults.append(Fault(SEND, hold=hold, drop=True))
    press(person, "Get the code")
    await person.sim.until(lambda: any(code_in(call) for call in person.sim.calls))
    await one.kill()
    hold.set()
    await one.start()
    await ends_unknown(one, person, request, taken=0)


async def test_an_outcome_that_was_not_committed_is_unknown(one: Outside) -> None:
    """Accepted by the messenger, told to us, and not on disk: a code may arrive without its `sent`."""
    person, request = await asked(one)
    hold = asyncio.Event()
    person.sim.faults.append(Fault(SEND, hold=hold, when="after"))
    press(person, "Get the code")
    await until(lambda: len(messages(one)) == 1)
    with locked(one):
        hold.set()
        await until_somebody_waits_to_commit(one)
        await one.kill()
    assert delivery(one)[0] == "attempting"
    await one.start()
    await ends_unknown(one, person, request, taken=1)


async def test_a_tap_that_was_committed_and_not_acknowledged_is_not_done_twice(one: Outside) -> None:
    """The messenger delivers it again, and it is known."""
    person, request = await asked(one)
    async with relayed(one) as relay:
        press(person, "Get the code")
        await killed_at(one, relay, ("/webhooks/max", "before"), None)
        await one.start()
        await until(lambda: person.sim.deliveries[-1].done)
        assert len(person.sim.deliveries[-1].attempts) > 1
        await until(lambda: delivery(one)[0] in ("accepted", "unknown"))
        await one.quiet()
    assert len(messages(one)) <= 1
    if delivery(one)[0] == "unknown":
        await person.press("Send again")
    assert (await one.status(request))["status"] == "sent"


async def test_an_update_is_known_after_the_restart(one: Outside) -> None:
    """A press of "Send again" that comes once more is no second press: nothing but the update's key tells them apart."""
    person = one.someone("max")
    await one.subscriber(person)
    await person.press("Send again")
    assert len(messages(one)) == 2
    update = person.sim.deliveries[-1].update
    await one.kill()
    await one.start()
    person.sim.deliver(update)
    await one.quiet()
    assert person.sim.deliveries[-1].attempts == [200]
    assert len(messages(one)) == 2


async def test_a_tap_that_was_acknowledged_is_done(one: Outside) -> None:
    """Killed with the 200: its code comes, or is offered again."""
    person, request = await asked(one)
    async with relayed(one) as relay:
        press(person, "Get the code")
        await killed_at(one, relay, ("/webhooks/max", "after"), None)
        await one.start()
        await until(lambda: delivery(one)[0] in ("accepted", "unknown"))
        await one.quiet()
    assert person.sim.deliveries[-1].attempts == [200]
    assert len(messages(one)) <= 1
    if delivery(one)[0] == "unknown":
        await person.press("Send again")
    assert (await one.status(request))["status"] == "sent"


async def test_a_tap_that_was_not_committed_is_delivered_again(one: Outside) -> None:
    """Nothing happened, nothing was acknowledged; the next delivery brings one code."""
    person, request = await asked(one)
    with locked(one):
        press(person, "Get the code")
        async with one.http.get(f"{one.url}/healthz") as answer:
            assert answer.status == 200
        assert delivery(one) == ("none", 0)
        await one.kill()
    await one.start()
    await until(lambda: person.sim.deliveries[-1].done)
    await until(lambda: delivery(one)[0] == "accepted")
    assert len(messages(one)) == 1
    assert (await one.status(request))["status"] == "sent"


# ------------------------------------------------------------------ the site's calls


async def test_a_send_that_was_claimed_goes_out_once_after_the_restart(one: Outside) -> None:
    """Its caller got no answer; the message is sent in its time, and its code is good."""
    sub = await one.subscriber(one.someone("max"))
    one.demo.max.faults.append(Fault(SEND, retry_after=4))
    call = asyncio.ensure_future(one.call("POST", "/v1/otp/send", {"subscriber_id": sub}))
    await until(lambda: delivery(one) == ("claimed", 1))
    await one.kill()
    await asyncio.gather(call, return_exceptions=True)
    await one.start()
    await until(lambda: delivery(one)[0] == "accepted")
    await one.quiet()
    assert len(messages(one)) == 2
    assert await one.verify(sub, messages(one)[1]) == {"verified": True}


async def test_a_send_whose_answer_was_lost_is_one_message(one: Outside) -> None:
    """Killed between the outcome and the answer: the code is good, once, and the next send is free."""
    sub = await one.subscriber(one.someone("max"))
    async with relayed(one) as relay:
        call = one.call("POST", "/v1/otp/send", {"subscriber_id": sub})
        assert isinstance(await killed_at(one, relay, ("/v1/otp/send", "before"), call), Exception)
        await one.start()
        await one.quiet()
        assert len(messages(one)) == 2
        assert await one.verify(sub, messages(one)[1]) == {"verified": True}
        assert (await one.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 200


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_accepted_code_stays_used(one: Outside, when: str) -> None:
    """Verify is at-most-once: whether or not its answer arrived."""
    sub = await one.subscriber(one.someone("max"))
    [code] = messages(one)
    async with relayed(one) as relay:
        call = one.call("POST", "/v1/otp/verify", {"subscriber_id": sub, "code": code})
        got = await killed_at(one, relay, ("/v1/otp/verify", when), call)
        assert isinstance(got, Answer) is (when == "after")
        await one.start()
        told = {"verified": False, "reason": "no_active_code", "attempts_left": 0}
        assert await one.verify(sub, code) == told


# ------------------------------------------------------------------ the same calls with a key

KEY = {"Idempotency-Key": "k"}


async def again(one: Outside, path: str, body: dict[str, Any]) -> Answer:
    """The same call once its first one is over."""
    end = monotonic() + 40
    while (answer := await one.call("POST", path, body, headers=KEY)).status == 409:
        assert answer.json["code"] == "idempotency_in_progress"
        assert monotonic() < end, "it never came to an end"
        await asyncio.sleep(0.1)
    assert answer.headers["Idempotent-Replayed"] == "true"
    return answer


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_send_with_a_key_is_one_message(one: Outside, when: str) -> None:
    """Whether or not its answer arrived: after the restart it is the same one."""
    body = {"subscriber_id": await one.subscriber(one.someone("max"))}
    async with relayed(one) as relay:
        call = one.call("POST", "/v1/otp/send", body, headers=KEY)
        got = await killed_at(one, relay, ("/v1/otp/send", when), call)
        assert isinstance(got, Answer) is (when == "after")
        await one.start()
        answer = await again(one, "/v1/otp/send", body)
        await one.quiet()
    assert (answer.status, answer.json) == (200, {"sent": True, "expires_in_seconds": 300})
    assert len(messages(one)) == 2
    assert await one.verify(body["subscriber_id"], messages(one)[1]) == {"verified": True}


async def test_a_claim_with_a_key_is_carried_and_told_after_the_restart(one: Outside) -> None:
    """Claimed, and certainly not sent: it goes out once, and that is the answer."""
    body = {"subscriber_id": await one.subscriber(one.someone("max"))}
    one.demo.max.faults.append(Fault(SEND, retry_after=4))
    call = asyncio.ensure_future(one.call("POST", "/v1/otp/send", body, headers=KEY))
    await until(lambda: delivery(one) == ("claimed", 1))
    await one.kill()
    await asyncio.gather(call, return_exceptions=True)
    await one.start()
    assert (await again(one, "/v1/otp/send", body)).json == {"sent": True, "expires_in_seconds": 300}
    await one.quiet()
    assert len(messages(one)) == 2


async def test_an_attempt_with_a_key_whose_outcome_was_lost_is_unknown(one: Outside) -> None:
    """In progress for twenty seconds, and never a second message."""
    body = {"subscriber_id": await one.subscriber(one.someone("max"))}
    hold = asyncio.Event()
    one.demo.max.faults.append(Fault(SEND, hold=hold, when="after", drop=True))
    call = asyncio.ensure_future(one.call("POST", "/v1/otp/send", body, headers=KEY))
    await until(lambda: len(messages(one)) == 2)
    await one.kill()
    hold.set()
    await asyncio.gather(call, return_exceptions=True)
    await one.start()
    before = monotonic()
    answer = await again(one, "/v1/otp/send", body)
    assert monotonic() - before > 5
    assert (answer.status, answer.json["code"]) == (502, "delivery_unknown")
    await one.quiet()
    assert len(messages(one)) == 2


async def test_an_effect_with_a_key_that_was_not_committed_never_was(one: Outside) -> None:
    """Killed before the commit: the key is free with it."""
    body = {"subscriber_id": await one.subscriber(one.someone("max"))}
    with locked(one):
        call = asyncio.ensure_future(one.call("POST", "/v1/otp/send", body, headers=KEY))
        await until_somebody_waits_to_commit(one)
        await one.kill()
        await asyncio.gather(call, return_exceptions=True)
    await one.start()
    answer = await one.call("POST", "/v1/otp/send", body, headers=KEY)
    assert (answer.status, answer.headers.get("Idempotent-Replayed")) == (200, None)
    await one.quiet()
    assert len(messages(one)) == 2


async def test_an_accepted_code_with_a_key_is_told_again(one: Outside) -> None:
    """With a key a lost answer costs the person no code: it is the same acceptance."""
    body = {"subscriber_id": await one.subscriber(one.someone("max")), "code": messages(one)[0]}
    async with relayed(one) as relay:
        call = one.call("POST", "/v1/otp/verify", body, headers=KEY)
        assert isinstance(await killed_at(one, relay, ("/v1/otp/verify", "before"), call), Exception)
        await one.start()
        assert (await again(one, "/v1/otp/verify", body)).json == {"verified": True}
        assert (await one.call("POST", "/v1/otp/verify", body)).json["reason"] == "no_active_code"


async def test_counted_guesses_stay_counted(one: Outside) -> None:
    """Three wrong, killed, two wrong: the right code comes too late."""
    sub = await one.subscriber(one.someone("max"))
    assert (await one.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 200
    code = messages(one)[-1]
    left = [(await one.verify(sub, wrong(code)))["attempts_left"] for _ in range(3)]
    await one.kill()
    await one.start()
    left += [(await one.verify(sub, wrong(code)))["attempts_left"] for _ in range(2)]
    assert left == [4, 3, 2, 1, 0]
    assert (await one.verify(sub, code))["reason"] == "no_active_code"


async def test_killed_again_and_again_while_starting(one: Outside) -> None:
    """Whatever the moment, the next start finds everything as it was."""
    person, request = await asked(one)
    await person.press("Get the code")
    before = await one.status(request)
    await one.kill()
    for tenths in range(10):
        await one.start_and_kill(tenths / 10)
    await one.start()
    assert await one.status(request) == before
    assert await one.verify(before["subscriber_id"], messages(one)[0]) == {"verified": True}
