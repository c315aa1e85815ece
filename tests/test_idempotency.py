"""Calls with an `Idempotency-Key`: one effect, one answer, whatever comes twice, at once, or after a crash."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from otp.codes import KeyRing
from otp.errors import IdempotencyMismatch
from otp.idempotency import CallKeys
from otp.model import Delivery, KeptCall, Mode, Told
from otp.policy import CALL_KEYS_KEPT_MS, ORPHAN_MS, Policy
from otp.ports import Store
from sandbox.wire import Fault
from storage import Reach, open_store
from storage.statements import SqlTx
from tests.conftest import STORES, postgres_url, store_url
from tests.fakes import FakeClock
from tests.running import SECRET_KEYS, Answer, Running, Someone, running
from tests.test_http import NOBODY, is_problem
from tests.torture_load import code_in
from tests.world import LOGIN, World, make_world, wrong

SEND, VERIFY, REQUEST = "/v1/otp/send", "/v1/otp/verify", "/v1/otp/request"
SENDING = "sendMessage"
KNOWN: dict[int, str] = {}
"""Subscribers, by their people."""


@pytest.fixture(params=STORES)
async def run(request: pytest.FixtureRequest, worker_id: str) -> AsyncIterator[Running]:
    """A running service over each kind of store."""
    async with running(await store_url(request.param, worker_id)) as made:
        yield made


@pytest.fixture
async def person(run: Running) -> Someone:
    """Somebody who subscribed."""
    one = run.someone()
    KNOWN[one.user_id] = await run.subscriber(one)
    return one


async def keyed(run: Running, key: str, path: str, body: Any = None, **headers: str) -> Answer:
    """A call with a key."""
    return await run.call("POST", path, body, headers={"Idempotency-Key": key, **headers})


def replayed(answer: Answer) -> bool:
    """Whether it is an earlier answer."""
    return answer.headers.get("Idempotent-Replayed") == "true"


def sub(person: Someone) -> dict[str, str]:
    """A body about a subscriber."""
    return {"subscriber_id": KNOWN[person.user_id]}


def attempts(run: Running) -> int:
    """How many code messages were given to the messenger."""
    return len([call for call in run.demo.telegram.calls if code_in(call)])


async def stored(run: Running) -> int:
    """How many keys are kept."""

    async def count(tx: Any) -> int:
        return len(await tx.rows("SELECT id FROM idempotency"))

    return await run.service.store.read(count)


# ------------------------------------------------------------------ the same call again


async def test_a_send_is_one_message(run: Running, person: Someone) -> None:
    """The same answer, letter by letter; what belongs to the call itself is of the new one."""
    first = await keyed(run, "k", SEND, sub(person), **{"X-Request-Id": "one"})
    again = await keyed(run, "k", SEND, sub(person), **{"X-Request-Id": "two"})
    await run.quiet()
    assert (first.status, first.json) == (200, {"sent": True, "expires_in_seconds": 300})
    assert (again.status, again.text, replayed(first), replayed(again)) == (200, first.text, False, True)
    assert again.headers["X-Request-Id"] == "two"
    assert "RateLimit" in again.headers
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert attempts(run) == 2


async def test_a_code_is_accepted_once_and_said_twice(run: Running, person: Someone) -> None:
    """The replay is the same acceptance; another key finds no code. A wrong guess counts once."""
    body = {**sub(person), "code": person.codes[0]}
    guess = {**sub(person), "code": wrong(person.codes[0])}
    told = [await keyed(run, "w", VERIFY, guess) for _ in range(3)]
    assert {one.text for one in told} == {told[0].text}
    assert told[0].json == {"verified": False, "reason": "wrong_code", "attempts_left": 2}
    assert [(await keyed(run, "k", VERIFY, body)).json for _ in range(2)] == [{"verified": True}] * 2
    assert (await keyed(run, "l", VERIFY, body)).json["reason"] == "no_active_code"


async def test_a_request_is_made_once(run: Running) -> None:
    """No body and an empty object are the same."""
    first, again = await keyed(run, "k", REQUEST), await keyed(run, "k", REQUEST, {})
    assert (first.text, replayed(again)) == (again.text, True)
    assert again.json["request_id"]


async def test_what_is_taken_back_is_said_again(run: Running, person: Someone) -> None:
    """`revoked` is what it was then; a path is part of what is asked."""
    told = [await keyed(run, "k", "/v1/otp/revoke", sub(person)) for _ in range(2)]
    assert [one.json for one in told] == [{"revoked": True}] * 2
    ids = [(await run.request())["request_id"] for _ in range(2)]
    paths = [f"{REQUEST}/{one}/cancel" for one in ids]
    assert (await keyed(run, "c", paths[0])).status == 200
    assert replayed(await keyed(run, "c", paths[0], {}))
    assert is_problem(await keyed(run, "c", paths[1]), 422, "idempotency_mismatch")
    assert await run.status({"request_id": ids[1]}) == {"status": "pending"}


async def test_another_body_is_a_mismatch(run: Running, person: Someone) -> None:
    """Other values or another call; the order of fields and white space are none."""
    body = {**sub(person), "ttl_minutes": 4, "purpose": "x"}
    await keyed(run, "k", SEND, body)
    assert replayed(await keyed(run, "k", SEND, dict(reversed(body.items()))))
    for path, other in ((SEND, sub(person)), (VERIFY, {**sub(person), "code": "1"}), (REQUEST, {})):
        answer = await keyed(run, "k", path, other)
        assert is_problem(answer, 422, "idempotency_mismatch")
        assert not replayed(answer)
        assert answer.json["retryable"] is False
    await run.quiet()
    assert attempts(run) == 2


async def test_a_key_belongs_to_its_project(run: Running) -> None:
    """Another project's same key is another one."""
    other = await run.service.projects.create("Bank", "")
    mine = await keyed(run, "k", REQUEST)
    theirs = await keyed(run, "k", REQUEST, Authorization=f"Bearer {other.api_key}")
    assert not replayed(theirs)
    assert mine.json["request_id"] != theirs.json["request_id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "кл"])
async def test_a_key_that_is_none(run: Running, key: str) -> None:
    """Nothing happens."""
    answer = await keyed(run, key, REQUEST, {})
    assert is_problem(answer, 400, "validation_failed")
    assert [one["field"] for one in answer.json["errors"]] == ["Idempotency-Key"]
    assert await stored(run) == 0


async def test_the_longest_key(run: Running) -> None:
    """And two of them are none."""
    assert (await keyed(run, "~" * 255, REQUEST)).status == 200
    pairs = [("Authorization", f"Bearer {run.api_key}"), ("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    async with run.http.post(run.url + REQUEST, headers=pairs) as answer:
        assert answer.status == 400


# ------------------------------------------------------------------ what is kept, and what is not


async def test_refusals_that_will_stay_are_kept(run: Running, person: Someone) -> None:
    """404 and 409 of a state: also when it would be another answer by now."""
    nobody = {"subscriber_id": NOBODY}
    told = [await keyed(run, "n", SEND, nobody) for _ in range(2)]
    assert is_problem(told[1], 404, "subscriber_not_found")
    assert (told[0].text, replayed(told[0]), replayed(told[1])) == (told[1].text, False, True)
    request = await run.request()
    await person.open(request["telegram_link"])
    path = f"{REQUEST}/{request['request_id']}/cancel"
    told = [await keyed(run, "p", path) for _ in range(2)]
    assert is_problem(told[1], 409, "request_not_pending")
    assert replayed(told[1])
    await person.say("/stop")
    await person.press("Ромашка")
    told = [await keyed(run, "s", SEND, sub(person)) for _ in range(1)]
    await run.subscriber(person)
    assert is_problem(await keyed(run, "s", SEND, sub(person)), 404, "subscriber_not_found")
    assert (await keyed(run, "t", SEND, sub(person))).status == 200


async def test_a_body_that_is_wrong_leaves_the_key_free(run: Running, person: Someone) -> None:
    """400, 401, 413, 415: and what is wrong under the operator's limits, before the key is looked at."""
    assert (await keyed(run, "k", REQUEST, {"foo": 1})).status == 400
    assert (await keyed(run, "k", REQUEST, Authorization="Bearer no")).status == 401
    assert (await keyed(run, "k", SEND, {**sub(person), "purpose": "x" * 70_000})).status == 413
    assert (await run.call("POST", SEND, data=b"{}", headers={"Idempotency-Key": "k"})).status == 415
    request = await run.request(purpose="login")
    body = {**sub(person), "code": "123456", "request_id": request["request_id"], "purpose": "other"}
    assert (await keyed(run, "k", VERIFY, body)).status == 400
    assert await stored(run) == 0
    assert (await keyed(run, "k", REQUEST, {})).status == 200


async def test_a_key_is_free_after_a_disabled_project(run: Running) -> None:
    """403 is not kept."""
    [project] = await run.service.projects.all()
    await run.service.projects.set_enabled(project.id, False)
    assert (await keyed(run, "k", REQUEST)).status == 403
    await run.service.projects.set_enabled(project.id, True)
    assert not replayed(await keyed(run, "k", REQUEST))


async def test_a_message_that_was_certainly_not_sent_leaves_the_key_free(
    run: Running, person: Someone
) -> None:
    """503: the same key sends, later."""
    run.demo.telegram.faults.append(Fault(SENDING, retry_after=60))
    assert is_problem(await keyed(run, "k", SEND, sub(person)), 503, "messenger_unavailable")
    assert await stored(run) == 0
    run.clock.advance(seconds=61)
    answer = await keyed(run, "k", SEND, sub(person))
    assert (answer.status, replayed(answer)) == (200, False)


@pytest.mark.parametrize("answered,code", [(400, "delivery_failed"), (500, "delivery_unknown")])
async def test_what_the_messenger_said_is_kept(
    run: Running, person: Someone, answered: int, code: str
) -> None:
    """502: asked again with the same key, no second message goes out."""
    run.demo.telegram.faults.append(Fault(SENDING, status=answered))
    told = [await keyed(run, "k", SEND, sub(person)) for _ in range(2)]
    await run.quiet()
    assert is_problem(told[1], 502, code)
    assert (told[0].text, replayed(told[1])) == (told[1].text, True)
    assert attempts(run) == 2


@pytest.mark.slow
async def test_the_send_limit_leaves_the_key_free(worker_id: str) -> None:
    """429: when there is room again, the same key sends."""
    async with running(send_limit=1) as run:
        person = run.someone()
        body = {"subscriber_id": await run.subscriber(person)}
        await keyed(run, "k", SEND, body)
        assert is_problem(await keyed(run, "l", SEND, body), 429, "rate_limited")
        assert replayed(await keyed(run, "k", SEND, body))
        run.clock.advance(seconds=600)
        assert not replayed(await keyed(run, "l", SEND, body))


async def test_a_key_is_free_after_a_day(run: Running) -> None:
    """And its row goes."""
    first = await keyed(run, "k", REQUEST)
    run.clock.advance(ms=CALL_KEYS_KEPT_MS - 1)
    assert (await keyed(run, "k", REQUEST)).text == first.text
    run.clock.advance(ms=1)
    assert not replayed(await keyed(run, "k", REQUEST, {"channel": "max"}))
    assert replayed(await keyed(run, "k", REQUEST, {"channel": "max"}))
    run.clock.advance(ms=CALL_KEYS_KEPT_MS)
    await run.service.store.chore(lambda tx: tx.purge(500))
    assert await stored(run) == 0


# ------------------------------------------------------------------ at once


async def test_ten_at_once_are_one_message(run: Running, person: Someone) -> None:
    """While the first is at the messenger the others are told to wait; then all get its answer."""
    hold = asyncio.Event()
    run.demo.telegram.faults.append(Fault(SENDING, hold=hold))
    calls = [asyncio.ensure_future(keyed(run, "k", SEND, sub(person))) for _ in range(10)]
    done, _ = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    while len(done) < 9:
        done, _ = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
    for call in done:
        assert is_problem(call.result(), 409, "idempotency_in_progress")
        assert call.result().headers["Retry-After"] == "1"
        assert call.result().json["retryable"] is True
    hold.set()
    told = await asyncio.gather(*calls)
    [first] = [one for one in told if one.status == 200]
    again = await keyed(run, "k", SEND, sub(person))
    assert (again.text, replayed(again), replayed(first)) == (first.text, True, False)
    await run.quiet()
    assert attempts(run) == 2


async def test_ten_right_codes_at_once_are_one_acceptance(run: Running, person: Someone) -> None:
    """All with one key are told so; of all with different keys, one."""
    body = {**sub(person), "code": person.codes[0]}
    told = await asyncio.gather(*(keyed(run, "k", VERIFY, body) for _ in range(10)))
    assert [one.json for one in told] == [{"verified": True}] * 10
    assert sorted(map(replayed, told)) == [False] + [True] * 9


async def test_another_send_meanwhile_leaves_its_key_free(run: Running, person: Someone) -> None:
    """`send_in_progress` is not kept."""
    hold = asyncio.Event()
    run.demo.telegram.faults.append(Fault(SENDING, hold=hold))
    first = asyncio.ensure_future(keyed(run, "k", SEND, sub(person)))
    await run.demo.telegram.until(lambda: any(one.status is None for one in run.demo.telegram.calls))
    assert is_problem(await keyed(run, "l", SEND, sub(person)), 409, "send_in_progress")
    hold.set()
    assert (await first).status == 200
    again = await keyed(run, "l", SEND, sub(person))
    assert (again.status, replayed(again)) == (200, False)


# ------------------------------------------------------------------ what dies in between


async def sql(run: Running, statement: str) -> None:
    """What a crash, or another process, left."""

    async def work(tx: Any) -> None:
        await tx.rows(statement)

    await run.service.store.write(work)


UNTOLD = "UPDATE idempotency SET status = NULL, answer = NULL"


@pytest.mark.parametrize("answered,status", [(None, 200), (400, 502), (500, 502)])
async def test_an_answer_that_was_never_given_is_told_by_the_delivery(
    run: Running, person: Someone, answered: int | None, status: int
) -> None:
    """Killed between the outcome and the answer: the same as would have been said, and no second message."""
    if answered is not None:
        run.demo.telegram.faults.append(Fault(SENDING, status=answered))
    first = await keyed(run, "k", SEND, sub(person))
    await sql(run, UNTOLD)
    told = [await keyed(run, "k", SEND, sub(person)) for _ in range(2)]
    await run.quiet()
    assert first.status == status
    assert [(one.text, replayed(one)) for one in told] == [(first.text, True)] * 2
    assert attempts(run) == 2


async def test_the_code_that_lived_already_is_told_as_such(run: Running, person: Someone) -> None:
    """What a delivery tells is the whole answer."""
    run.clock.advance(seconds=60)
    first = await keyed(run, "k", SEND, {**sub(person), "reuse": True})
    assert first.json == {"sent": True, "expires_in_seconds": 240, "reused": True}
    run.clock.advance(seconds=10)
    assert (await keyed(run, "k", SEND, {**sub(person), "reuse": True})).text == first.text
    await sql(run, UNTOLD)
    again = await keyed(run, "k", SEND, {**sub(person), "reuse": True})
    assert again.json == {"sent": True, "expires_in_seconds": 230, "reused": True}


async def test_a_key_whose_message_was_certainly_not_sent_is_free(run: Running, person: Someone) -> None:
    """Killed before the answer 503: the same call sends."""
    await keyed(run, "k", SEND, sub(person))
    await sql(run, UNTOLD)
    await sql(run, "UPDATE deliveries SET state = 'refused', refusal = 'unavailable'")
    answer = await keyed(run, "k", SEND, sub(person))
    assert (answer.status, replayed(answer)) == (200, False)
    assert replayed(await keyed(run, "k", SEND, sub(person)))


async def test_an_attempt_without_a_result_is_in_progress_until_it_is_unknown(
    run: Running, person: Someone
) -> None:
    """Twenty seconds, as for every attempt; then it may have arrived, and is never sent again."""
    hold = asyncio.Event()
    run.demo.telegram.faults.append(Fault(SENDING, hold=hold))
    first = asyncio.ensure_future(keyed(run, "k", SEND, sub(person)))
    await run.demo.telegram.until(lambda: any(one.status is None for one in run.demo.telegram.calls))
    run.clock.advance(ms=ORPHAN_MS - 1)
    assert is_problem(await keyed(run, "k", SEND, sub(person)), 409, "idempotency_in_progress")
    run.clock.advance(
        ms=1
    )  # and nobody sweeps: that may be long after, as the dead one may have held the sweep, too
    assert is_problem(await keyed(run, "k", SEND, sub(person)), 502, "delivery_unknown")
    hold.set()
    assert is_problem(await first, 502, "delivery_unknown")
    assert replayed(await keyed(run, "k", SEND, sub(person)))


async def test_an_effect_that_fails_leaves_its_key_free(world: World) -> None:
    """Both are committed, or neither is."""
    keys = world.service.call_keys()
    claim = keys.claim(world.caller, "k", "anything")

    async def fails(store: Store) -> Told:
        await world.service.over(store).request(world.caller, None, LOGIN)
        raise ZeroDivisionError

    async def works(_store: Store) -> Told:
        return Told(200, "{}")

    with pytest.raises(ZeroDivisionError):
        await keys.once(claim, fails)
    assert await keys.find(claim) is None
    assert await keys.once(claim, works) == Told(200, "{}")
    kept = await keys.once(claim, works)
    assert isinstance(kept, KeptCall)
    assert kept.told == Told(200, "{}")


async def test_the_first_word_on_a_delivery_counts(world: World) -> None:
    """Two who look at the same outcome tell the same; a key that is another's by now is not touched."""
    keys = world.service.call_keys()
    claim = keys.claim(world.caller, "k", "anything")
    subscriber_id = await world.subscribe()

    async def effect(store: Store) -> Delivery:
        return await world.service.over(store).claim(world.caller, subscriber_id, LOGIN)

    begun = await keys.once(claim, effect)
    assert isinstance(begun, Delivery)
    await keys.free(claim, "another")
    assert await keys.keep(claim, "another", Told(200, "x")) == Told(200, "x")
    assert await keys.keep(claim, begun.id, Told(200, "a")) == Told(200, "a")
    assert await keys.keep(claim, begun.id, Told(200, "b")) == Told(200, "a")
    await keys.free(claim, begun.id)
    kept = await keys.find(claim)
    assert kept is not None
    assert kept.told == Told(200, "a")


async def test_a_key_of_before_a_rotation_is_known(world: World) -> None:
    """Under any key that is still listed; under none, it is another call."""
    ring = world.rules.keys
    before = CallKeys(world.store, type(ring)(("old" * 11,)))
    after = CallKeys(world.store, type(ring)(("new" * 11, "old" * 11)))
    without = CallKeys(world.store, type(ring)(("new" * 11,)))

    async def works(_store: Store) -> Told:
        return Told(200, "{}")

    await before.once(before.claim(world.caller, "k", "asked"), works)
    assert await after.find(after.claim(world.caller, "k", "asked")) is not None
    for keys, asked in ((after, "other"), (without, "asked")):
        with pytest.raises(IdempotencyMismatch):
            await keys.find(keys.claim(world.caller, "k", asked))


async def test_test_and_live_never_meet(world: World) -> None:
    """The same key in another mode is another one."""
    keys = world.service.call_keys()
    live, test = (replace(world.caller, mode=mode) for mode in Mode)
    assert keys.claim(live, "k", "x").id != keys.claim(test, "k", "x").id
    assert keys.claim(live, "k", "x").id != keys.claim(world.other, "k", "x").id


@pytest.mark.slow
async def test_two_replicas_make_one_effect(worker_id: str, clock: FakeClock) -> None:
    """The same key at both at once, many times: one message each, and whoever is late finds its delivery."""
    url = await postgres_url(worker_id)
    stores = [await open_store(url, clock, Reach(own_time=False)) for _ in range(2)]
    policy = Policy(send_limit=10_000)
    worlds = [await make_world(one, clock, policy, seed) for one, seed in zip(stores, "ab", strict=True)]
    subscriber_id, caller = await worlds[0].subscribe(), worlds[0].caller
    sent = 1
    for number in range(40):

        async def call(world: World, key: str) -> object:
            keys = world.service.call_keys()

            async def effect(store: Store) -> Delivery:
                return await world.service.over(store).claim(caller, subscriber_id, LOGIN)

            done = await keys.once(keys.claim(caller, key, "send"), effect)
            return await world.service.outcome(done) if isinstance(done, Delivery) else done

        told = await asyncio.gather(*(call(world, f"k{number}") for world in worlds * 3))
        sent += 1
        assert sorted(type(one).__name__ for one in told) == ["Delivery"] + ["KeptCall"] * 5
        assert len({one.delivery_id for one in told if isinstance(one, KeptCall)}) == 1
        assert sum(len(world.telegram.parcels) for world in worlds) == sent
    for world in worlds:
        await world.courier.close(0)
        assert not world.failures
        await world.store.close()


@pytest.mark.slow
async def test_another_replica_tells_what_the_first_one_came_to(worker_id: str) -> None:
    """In progress while it is at the messenger there; then the same answer, letter by letter."""
    url = await postgres_url(worker_id)
    async with running(url) as here, running(url) as there:
        there.api_key = here.api_key
        person, hold = here.someone(), asyncio.Event()
        body = {"subscriber_id": await here.subscriber(person)}
        here.demo.telegram.faults.append(Fault(SENDING, hold=hold))
        first = asyncio.ensure_future(keyed(here, "k", SEND, body))
        await here.demo.telegram.until(lambda: any(one.status is None for one in here.demo.telegram.calls))
        assert is_problem(await keyed(there, "k", SEND, body), 409, "idempotency_in_progress")
        hold.set()
        told = [await first, await keyed(there, "k", SEND, body)]
        assert [(one.status, one.text, replayed(one)) for one in told] == [
            (200, told[0].text, False),
            (200, told[0].text, True),
        ]
        guess = {**body, "code": wrong(person.codes[-1])}
        both = await asyncio.gather(*(keyed(one, "v", VERIFY, guess) for one in (here, there) * 5))
        assert len({one.text for one in both}) == 1
        assert sum(not replayed(one) for one in both) == 1
        await here.quiet()
        assert attempts(here) == 2
        assert attempts(there) == 0


# ------------------------------------------------------------------ what is stored


async def test_no_code_can_be_told_from_what_is_kept(tmp_path: Path) -> None:
    """Nor the key itself: a fingerprint is made under a secret key, for there are only a million codes."""
    path = tmp_path / "one.db"
    async with running(f"sqlite:///{path}") as run:
        person = run.someone()
        subscriber_id = await run.subscriber(person)
        [code] = person.codes
        body = {"subscriber_id": subscriber_id, "code": code}
        await keyed(run, "the-callers-key", VERIFY, body)
        with closing(sqlite3.connect(path)) as database:
            [row] = database.execute("SELECT * FROM idempotency").fetchall()
    text = repr(row)
    assert code not in text
    assert "the-callers-key" not in text
    asked = ("POST", VERIFY, json.dumps(body, sort_keys=True))
    plain = sha256(("tapcode/" + "\0".join(("call/1", *asked))).encode()).hexdigest()
    assert plain not in text
    assert KeyRing((SECRET_KEYS,)).fingerprints(*asked)[0] in text


async def test_a_call_without_a_key_costs_nothing_extra(run: Running, person: Someone) -> None:
    """Not even a look."""
    seen: list[str] = []
    original = SqlTx.kept_call, SqlTx.claim_call
    for name in ("kept_call", "claim_call"):

        async def noted(self: SqlTx, *_: object, name: str = name) -> None:
            seen.append(name)

        setattr(SqlTx, name, noted)
    try:
        await run.call("POST", SEND, sub(person))
        await run.verify(sub(person)["subscriber_id"], "123456")
    finally:
        SqlTx.kept_call, SqlTx.claim_call = original  # type: ignore[method-assign]
    assert seen == []
