"""`PROFILE=strict`: what the standards ask, whatever else is set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from otp.model import CodeTerms
from otp.policy import STRICT, Policy
from otp.ports import Store
from tests.fakes import FakeClock
from tests.running import Running, running
from tests.test_http import is_problem
from tests.world import make_world, wrong

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A service with the strict profile beside the loosest settings there are."""
    async with running(profile="strict", guess_budget=100, send_limit=1000, send_window_seconds=1) as made:
        yield made


@pytest.mark.parametrize("path", ["/v1/otp/request", "/v1/otp/send"])
@pytest.mark.parametrize("field,good,ill", [("ttl_minutes", [1, 10], [11, 30]), ("code_length", [6, 8], [4])])
async def test_looser_codes_are_refused(
    run: Running, path: str, field: str, good: list[int], ill: list[int]
) -> None:
    """A code lives ten minutes at most and has six digits at least; the refusal says so."""
    who = {"subscriber_id": NOBODY} if path.endswith("send") else {}
    for value in good:
        assert (await run.call("POST", path, {**who, field: value})).status in (200, 404)
    for value in ill:
        answer = await run.call("POST", path, {**who, field: value})
        assert is_problem(answer, 400, "validation_failed")
        [error] = answer.json["errors"]
        assert error["field"] == field
        assert str(good[-1]) in error["message"]


async def test_a_code_is_dead_after_ten_minutes(run: Running) -> None:
    """The longest that can be asked for."""
    for seconds, verified in ((599, True), (600, False)):
        person = run.someone()
        sub = await run.subscriber(person)
        await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "ttl_minutes": 10})
        run.clock.advance(seconds=seconds)
        assert (await run.verify(sub, person.codes[-1]))["verified"] is verified


async def test_the_send_limit_can_not_be_loosened(run: Running) -> None:
    """Five messages in ten minutes."""
    sub = await run.subscriber(run.someone())
    statuses = [
        (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "reuse": True})).status
        for _ in range(6)
    ]
    assert statuses == [200] * 5 + [429]
    run.clock.advance(seconds=599)
    assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 429
    run.clock.advance(seconds=1)
    assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 200


async def test_the_guess_budget_can_not_be_loosened(run: Running) -> None:
    """Fifty wrong codes in a row, over all codes, and the subscriber is locked."""
    person = run.someone()
    sub, count = await run.subscriber(person), 0
    while count < 50:
        sent = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "max_attempts": 10})
        assert sent.status == 200
        for _ in range(10):
            assert (await run.verify(sub, wrong(person.codes[-1])))["reason"] == "wrong_code"
            count += 1
        run.clock.advance(minutes=10)
    assert (await run.verify(sub, "123456"))["reason"] == "locked"


async def test_a_request_of_before_gets_a_code_of_now(store: Store, clock: FakeClock) -> None:
    """What was asked for under looser limits is granted within the strict ones."""
    loose = await make_world(store, clock)
    request_id = await loose.request(terms=CodeTerms("login", 30, 3, 4))
    await loose.courier.close(0)
    world = await make_world(store, clock, Policy().strict())
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    [parcel] = [*loose.telegram.parcels, *world.telegram.parcels]
    assert (len(parcel.digits), parcel.minutes) == (6, 10)
    await world.courier.close(0)


def test_strict_only_tightens() -> None:
    """What is tighter already stays."""
    tight = Policy(max_ttl_minutes=3, send_limit=2, send_window_ms=3_600_000, guess_budget=7, shortest_code=8)
    assert tight.strict() == tight
    assert Policy(30, 1000, 1, 100, 4).strict() == STRICT
