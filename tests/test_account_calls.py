"""Accounts and subscribers over HTTP: what is refused, what is answered, and what the person sees."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from otp.errors import StorageUnavailable
from otp.idempotency import CallKeys
from sandbox.wire import Fault
from tests.running import Answer, Running, Someone, running
from tests.test_http import NOBODY, is_problem
from tests.volleys import SENDING

ACCOUNT = "user-1 ☺"
DEAD = "This code no longer works. If you need a code"


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made
        assert made.demo.telegram.violations == []
        assert made.demo.max.violations == []


async def linked(run: Running, person: Someone, account: str = ACCOUNT) -> str:
    """Verify a person for an account, without ever naming the subscriber; whose id it is."""
    request = await run.request(external_id=account)
    await person.open(request[f"{person.sim.channel}_link"])
    await person.press("Get the code")
    await run.quiet()
    body = {"external_id": account, "request_id": request["request_id"], "code": person.codes[-1]}
    answer = await run.call("POST", "/v1/otp/verify", body)
    assert answer.json == {"verified": True}
    return str((await run.status(request))["subscriber_id"])


async def send(run: Running, **fields: Any) -> Answer:
    """Send to an account."""
    return await run.call("POST", "/v1/otp/send", {"external_id": ACCOUNT, **fields})


@pytest.mark.parametrize("path", ["send", "verify"])
@pytest.mark.parametrize(
    "given,field",
    [((), "subscriber_id"), (("subscriber_id", "external_id"), "external_id")],
    ids=["neither", "both"],
)
async def test_exactly_one_addressee(run: Running, path: str, given: tuple[str, ...], field: str) -> None:
    """A subscriber or an account."""
    values = {"subscriber_id": NOBODY, "external_id": ACCOUNT}
    body = {name: values[name] for name in given} | ({"code": "123456"} if path == "verify" else {})
    answer = await run.call("POST", f"/v1/otp/{path}", body)
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == [field]


@pytest.mark.parametrize("path", ["send", "verify", "request"])
@pytest.mark.parametrize(
    "account",
    ["", " ", "x" * 129, "a\nb", "a\u202eb", "a\u200fb", "a\u200bb", "\ufeff", "a\x7f", "a\n", None, 5],
    ids=repr,
)
@pytest.mark.slow
async def test_names_of_accounts_are_printable(run: Running, path: str, account: object) -> None:
    """So that two that look alike are alike."""
    body = {"external_id": account} | ({"code": "123456"} if path == "verify" else {})
    answer = await run.call("POST", f"/v1/otp/{path}", body)
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == ["external_id"]


async def test_the_longest_name(run: Running) -> None:
    assert await run.request(external_id="я" * 128)


async def test_from_the_first_sign_in_to_the_other_channel(run: Running) -> None:
    """Linked in both, sent through the one used last, then through the other as the first one refuses."""
    ann, cat = run.someone("telegram"), run.someone("max")
    ids = {"telegram": await linked(run, ann)}
    run.clock.advance(seconds=1)
    ids["max"] = await linked(run, cat)
    sent = {"sent": True, "expires_in_seconds": 300}
    answer = await send(run)
    assert answer.json == sent | {"channel": "max", "subscriber_id": ids["max"]}
    old = len(cat.screen)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))
    run.clock.advance(seconds=1)
    answer = await send(run, reuse=True)
    assert answer.json == sent | {"channel": "telegram", "subscriber_id": ids["telegram"], "reused": False}
    await run.quiet()
    assert len(cat.screen) == old
    assert "A new one was sent" in cat.last  # the message of the code that this one replaced
    body = {"external_id": ACCOUNT, "code": ann.codes[-1]}
    assert (await run.call("POST", "/v1/otp/verify", body)).json == {"verified": True}


async def test_an_account_of_nobody(run: Running) -> None:
    assert is_problem(await send(run), 404, "subscriber_not_found")
    body = {"external_id": ACCOUNT, "code": "123456"}
    answer = await run.call("POST", "/v1/otp/verify", body)
    assert answer.json == {"verified": False, "reason": "no_active_code", "attempts_left": 0}


async def test_a_subscriber_is_read(run: Running) -> None:
    """In either case of the id; null where there is no account."""
    person = run.someone("max", language="en-GB")
    sub = await run.subscriber(person)
    answer = await run.call("GET", f"/v1/subscribers/{sub.upper()}")
    assert answer.status == 200
    body = answer.json
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body.pop("subscribed_at"))
    assert body == {"channel": "max", "language": "en-gb", "locked": False, "external_id": None}
    assert answer.headers["RateLimit-Policy"].startswith('"requests"')


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("sub", [NOBODY, "nobody", "%00", "a%20b"])
async def test_nobody(run: Running, method: str, sub: str) -> None:
    """Whatever the path says."""
    answer = await run.call(method, f"/v1/subscribers/{sub}")
    assert is_problem(answer, 404, "subscriber_not_found")


async def test_only_with_a_key(run: Running) -> None:
    for method in ("GET", "DELETE"):
        answer = await run.call(method, f"/v1/subscribers/{NOBODY}", headers={"Authorization": None})
        assert is_problem(answer, 401, "unauthorized")
    answer = await run.call("POST", f"/v1/subscribers/{NOBODY}", {})
    assert is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "DELETE,GET,HEAD".replace(",", ", ")


async def test_a_subscriber_is_forgotten(run: Running) -> None:
    """Then 404; the message of the code that lived says that it is withdrawn."""
    person = run.someone()
    sub = await run.subscriber(person)
    code = person.codes[-1]
    answer = await run.call("DELETE", f"/v1/subscribers/{sub}")
    assert (answer.status, answer.json) == (200, {"subscriber_id": sub, "deleted": True})
    assert answer.headers["Cache-Control"] == "no-store"
    for method in ("DELETE", "GET"):
        assert is_problem(await run.call(method, f"/v1/subscribers/{sub}"), 404, "subscriber_not_found")
    assert (await run.verify(sub, code))["reason"] == "no_active_code"
    await run.quiet()
    assert DEAD in person.last
    assert code not in person.last
    assert await run.subscriber(person) != sub


async def test_a_message_that_was_on_its_way_is_closed_too(run: Running) -> None:
    """It arrives after its subscriber was forgotten: the code in it is taken away."""
    person = run.someone()
    sub = await run.subscriber(person)
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], hold=(released := asyncio.Event())))
    sending = asyncio.create_task(run.call("POST", "/v1/otp/send", {"subscriber_id": sub}))
    async with asyncio.timeout(10):
        while run.demo.telegram.faults[0].times:  # noqa: ASYNC110  # no event tells that it struck
            await asyncio.sleep(0)
    assert (await run.call("DELETE", f"/v1/subscribers/{sub}")).status == 200
    released.set()
    assert is_problem(await sending, 404, "subscriber_not_found")
    run.clock.advance(seconds=6)  # nobody is told of its job: it is found
    await run.quiet()
    assert [DEAD in message.text for message in person.screen[-2:]] == [True, True]


# ------------------------------------------------------------------ with a key


async def keyed(run: Running, key: str, account: str = ACCOUNT) -> Answer:
    """Send to an account, with a key."""
    return await run.call("POST", "/v1/otp/send", {"external_id": account}, headers={"Idempotency-Key": key})


async def reachable(run: Running) -> tuple[Someone, Someone]:
    """Two people of one account, of whom the one in MAX was reached last."""
    ann, cat = run.someone("telegram"), run.someone("max")
    for one in (ann, cat):
        await linked(run, one)
        run.clock.advance(seconds=1)
    return ann, cat


async def test_the_other_way_with_a_key(run: Running) -> None:
    """The key goes along to the second try: told again what that came to, with one message in all."""
    ann, cat = await reachable(run)
    before = len(ann.screen), len(cat.screen)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))
    first = await keyed(run, "a")
    assert first.json["channel"] == "telegram"
    again = await keyed(run, "a")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (first.json, "true")
    assert (len(ann.screen), len(cat.screen)) == (before[0] + 1, before[1])


async def test_the_same_key_while_the_second_try_is_under_way(run: Running) -> None:
    """Not done yet, whoever asks; then one answer for all."""
    ann, _ = await reachable(run)
    before = len(ann.screen)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], hold=(released := asyncio.Event())))
    first = asyncio.create_task(keyed(run, "a"))
    async with asyncio.timeout(10):
        while run.demo.telegram.faults[0].times:  # noqa: ASYNC110  # no event tells that it struck
            await asyncio.sleep(0)
    assert is_problem(await keyed(run, "a"), 409, "idempotency_in_progress")
    released.set()
    assert (await first).json["channel"] == "telegram"
    assert (await keyed(run, "a")).json == (await first).json
    assert len(ann.screen) == before + 1


async def test_the_more_hopeful_failure_is_the_answer_of_a_key(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messenger of the first is busy, the other person has blocked the bot: worth another try, so the key is free."""
    monkeypatch.setattr("otp.courier.ANSWER_SECONDS", 0.5)
    ann, _ = await reachable(run)
    run.demo.max.faults.append(Fault(SENDING["max"], retry_after=60, times=2))
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], status=403))
    assert is_problem(await keyed(run, "a"), 503, "messenger_unavailable")
    run.demo.max.faults.clear()
    answer = await keyed(run, "a")
    assert answer.json["channel"] == "max"
    assert "Idempotent-Replayed" not in answer.headers
    assert ann.codes == []


async def test_after_a_crash_between_the_tries_the_key_tells_of_the_first(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes up the second one: at most one message, and an answer that is true."""
    ann, _ = await reachable(run)
    before = len(ann.screen)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))

    async def dead(*_: Any) -> None:
        raise StorageUnavailable("the process ends here")

    with monkeypatch.context() as patched:
        patched.setattr(CallKeys, "instead", dead)
        assert is_problem(await keyed(run, "a"), 503, "storage_unavailable")
    for _ in range(2):
        answer = await keyed(run, "a")
        assert is_problem(answer, 502, "delivery_failed")
        assert answer.headers["Idempotent-Replayed"] == "true"
    assert len(ann.screen) == before


async def test_who_was_told_of_the_first_try_ends_the_call(
    run: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same key came between the two tries, and its answer is kept: no second try contradicts it."""
    ann, _ = await reachable(run)
    before = len(ann.screen)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))
    instead = CallKeys.instead

    async def overtaken(*values: Any) -> Any:
        assert is_problem(await keyed(run, "a"), 502, "delivery_failed")
        return await instead(*values)

    with monkeypatch.context() as patched:
        patched.setattr(CallKeys, "instead", overtaken)
        assert is_problem(await keyed(run, "a"), 502, "delivery_failed")
    assert len(ann.screen) == before
