"""Test mode in a service with real messengers: the real path, people and messengers that are played, and no call out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot.stage import played
from otp.codes import PLAYED_DIGITS
from otp.events import SubscriberJoined
from otp.model import Channel, Mode
from otp.notices import notices_of
from otp.ports import Unknown
from otp.stage import FIXED, Role, fixed_subscriber, new_person, role
from tests.fakes import SeededRandomness
from tests.running import Answer, Running, running

FIXED_ID = "00000000-0000-4000-8000-00000000000{}"


@pytest.fixture
async def live() -> AsyncIterator[Running]:
    """A running service, called with a live key."""
    async with running(send_limit=5) as made:
        yield made


@pytest.fixture
async def run(live: Running) -> Running:
    """The same, called with the project's test key."""
    return await with_test_key(live)


async def with_test_key(live: Running) -> Running:
    """The same service for a caller with a key of test mode."""
    (project,) = await live.service.projects.all()
    made = await live.service.projects.rotate_key(project.id, 0, Mode.TEST)
    assert made.api_key.startswith("tc_test_")
    return replace(live, api_key=made.api_key)


async def play(run: Running, request: Any, act: str, **options: Any) -> Answer:
    """Play the person of a request."""
    return await run.call("POST", f"/v1/test/request/{request['request_id']}/{act}", **options)


async def send(run: Running, number: int) -> Answer:
    """Send a code to a fixed subscriber."""
    return await run.call("POST", "/v1/otp/send", {"subscriber_id": FIXED_ID.format(number)})


def calls_of_bots(run: Running) -> int:
    """Messages, edits and answers that left."""
    told = (
        "sendMessage",
        "editMessageText",
        "answerCallbackQuery",
        "POST /messages",
        "PUT /messages",
        "POST /answers",
    )
    return len([call for call in (*run.demo.telegram.calls, *run.demo.max.calls) if call.method in told])


@pytest.mark.parametrize("channel", [None, "telegram", "max"])
@pytest.mark.parametrize("length", [4, 6, 8])
@pytest.mark.parametrize("match", [False, True])
async def test_a_login_from_request_to_verified(
    run: Running, channel: str | None, length: int, match: bool
) -> None:
    """Through the real path; every answer says that it is a test, and no messenger was called."""
    before = calls_of_bots(run)
    fields = {"channel": channel} if channel else {}
    request = await run.request(code_length=length, match=match, **fields)
    assert request["test"] is True
    assert await run.status(request) | {"status": "pending", "test": True} == await run.status(request)
    consented = (await play(run, request, "consent")).json
    assert (consented["status"], consented["test"]) == ("sent", True)
    assert consented["channel"] == channel or channel is None
    assert (await run.status(request)).items() <= consented.items()
    sub, code = consented["subscriber_id"], PLAYED_DIGITS[:length]
    wrong = await run.verify(sub, "0" * length, request_id=request["request_id"])
    assert wrong == {"verified": False, "reason": "wrong_code", "attempts_left": 2, "test": True}
    right = {"request_id": request["request_id"]}
    assert await run.verify(sub, code, **right) == {"verified": True, "test": True}
    assert (await run.verify(sub, code, **right))["reason"] == "no_active_code"
    await run.quiet()
    assert calls_of_bots(run) == before


async def test_a_person_who_joined_can_be_sent_codes(run: Running) -> None:
    """And the limit of messages holds for them."""
    request = await run.request()
    sub = (await play(run, request, "consent")).json["subscriber_id"]
    for _ in range(5):
        answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
        assert (answer.status, answer.json) == (200, {"sent": True, "expires_in_seconds": 300, "test": True})
    assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).json["code"] == "rate_limited"
    assert (await run.verify(sub, PLAYED_DIGITS[:6]))["verified"]


async def test_a_cancelled_request(run: Running) -> None:
    request = await run.request()
    assert (await play(run, request, "cancel")).json["status"] == "cancelled"
    again = await play(run, request, "consent")
    assert (again.status, again.json["code"], again.json["test"]) == (409, "request_not_pending", True)


async def test_a_reported_request(run: Running) -> None:
    """Its code is dead, and there must be one to report."""
    request = await run.request()
    assert (await play(run, request, "report")).json["code"] == "request_not_pending"
    sub = (await play(run, request, "consent")).json["subscriber_id"]
    told = (await play(run, request, "report")).json
    assert (told["status"], told["reported"]) == ("sent", True)
    assert (await run.verify(sub, PLAYED_DIGITS[:6]))["reason"] == "no_active_code"


async def test_an_expired_request(run: Running) -> None:
    request = await run.request()
    assert (await play(run, request, "expire")).json["status"] == "expired"
    assert (await play(run, request, "expire")).json["code"] == "request_not_pending"
    assert (await play(run, request, "cancel")).json["code"] == "request_not_pending"


async def keyed_play(run: Running, request: Any, act: str, key: str) -> Answer:
    """Play with a key."""
    return await play(run, request, act, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("act", ["consent", "cancel", "expire"])
async def test_a_play_with_a_key_is_played_once(run: Running, act: str) -> None:
    """The first answer again; another key is another play, which is too late, and stays so."""
    request = await run.request(match=True)
    first, again = [await keyed_play(run, request, act, "a") for _ in range(2)]
    assert (first.status, again.status) == (200, 200)
    assert first.json == again.json
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    late, later = [await keyed_play(run, request, act, "b") for _ in range(2)]
    assert (late.json["code"], later.json["code"]) == ("request_not_pending",) * 2
    assert later.headers["Idempotent-Replayed"] == "true"
    assert (await keyed_play(run, request, "report", "a")).json["code"] == "idempotency_mismatch"


async def test_a_report_with_a_key_is_told_again(run: Running) -> None:
    request = await run.request()
    await keyed_play(run, request, "consent", "a")
    first, again = [await keyed_play(run, request, "report", "b") for _ in range(2)]
    assert first.json == again.json
    assert again.json["reported"] is True


async def test_plays_with_one_key_at_once_are_one(run: Running) -> None:
    """Whoever does not get the answer is told to wait for it."""
    request = await run.request()
    answers = await asyncio.gather(*(keyed_play(run, request, "consent", "a") for _ in range(4)))
    await run.quiet()
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.json.get("code") for answer in answers} <= {None, "idempotency_in_progress"}
    told = (await keyed_play(run, request, "consent", "a")).json
    assert told["status"] == "sent"
    assert [one.json for one in answers if one.status == 200] == [told] * len(
        [one for one in answers if one.status == 200]
    )


async def test_two_plays_at_once_are_one(run: Running) -> None:
    """Whoever comes second is too late, or sees the same."""
    request = await run.request()
    answers = await asyncio.gather(*(play(run, request, "consent") for _ in range(4)))
    await run.quiet()
    final = await run.status(request)
    assert final["status"] == "sent"
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.json.get("subscriber_id", final["subscriber_id"]) for answer in answers} == {
        final["subscriber_id"]
    }


@pytest.mark.parametrize("number, status, code", [
    (1, 200, None),
    (2, 404, "subscriber_not_found"),
    (3, 429, "rate_limited"),
    (4, 503, "messenger_unavailable"),
    (5, 502, "delivery_unknown"),
    (6, 409, "subscriber_locked"),
])  # fmt: skip
async def test_the_fixed_subscribers_play_their_outcomes(
    run: Running, number: int, status: int, code: str | None
) -> None:
    """Each time: however often, and whatever became of them before."""
    before = calls_of_bots(run)
    for _ in range(7):
        answer = await send(run, number)
        assert (answer.status, answer.json.get("code"), answer.json["test"]) == (status, code, True)
    known = await run.verify(FIXED_ID.format(number), PLAYED_DIGITS[:6])
    expected = {1: None, 5: None, 6: "locked"}.get(number, "no_active_code")
    assert known.get("reason") == expected
    await run.quiet()
    assert calls_of_bots(run) == before


async def test_a_locked_subscriber_is_locked_before_anything_was_sent(run: Running) -> None:
    assert (await run.verify(FIXED_ID.format(6), "123456"))["reason"] == "locked"
    assert (await run.verify(FIXED_ID.format(1), "123456"))["reason"] == "no_active_code"


async def test_a_fixed_subscriber_can_be_guessed_to_death_and_is_back(run: Running) -> None:
    for _ in range(3):
        assert (await send(run, 1)).status == 200
        for _ in range(5):
            await run.verify(FIXED_ID.format(1), "000000")
        assert (await run.verify(FIXED_ID.format(1), PLAYED_DIGITS[:6]))["reason"] == "no_active_code"
    assert (await send(run, 1)).status == 200
    assert (await run.verify(FIXED_ID.format(1), PLAYED_DIGITS[:6]))["verified"]


async def test_what_is_played_says_nothing_of_the_messenger(run: Running, live: Running) -> None:
    """Neither do its failures close the way to people, nor does its success open it."""
    for _ in range(20):
        assert (await send(run, 5)).status == 502
    ann = await live.subscriber(live.someone())
    assert (await live.call("POST", "/v1/otp/send", {"subscriber_id": ann})).status == 200


async def test_live_and_test_never_meet(run: Running, live: Running) -> None:
    """Subscribers and requests of the other mode are not there; and a live key plays nobody."""
    lively, test = await live.request(), await run.request()
    sub = (await play(run, test, "consent")).json["subscriber_id"]
    ann = await live.subscriber(live.someone())
    for caller, foreign, request in ((live, sub, test), (run, ann, lively)):
        path = f"/v1/otp/request/{request['request_id']}/status"
        assert (await caller.call("GET", path)).json["code"] == "request_not_found"
        sent = await caller.call("POST", "/v1/otp/send", {"subscriber_id": foreign})
        assert sent.json["code"] == "subscriber_not_found"
        assert (await caller.verify(foreign, PLAYED_DIGITS[:6]))["reason"] == "no_active_code"
        for act in ("consent", "cancel", "report", "expire"):
            assert (await play(caller, lively, act)).json["code"] == "request_not_found"
    assert (await play(live, test, "consent")).json["code"] == "request_not_found"
    assert "test" not in (await live.status(lively))
    answer = await live.call("POST", "/v1/otp/send", {"subscriber_id": FIXED_ID.format(1)})
    assert answer.json["code"] == "subscriber_not_found"


@pytest.mark.parametrize("channel", ["telegram", "max"])
async def test_a_person_who_opens_a_test_link_gets_one_sentence(run: Running, channel: str) -> None:
    """And changes nothing: not by the pairing code either."""
    person, request = run.someone(channel), await run.request()
    if not await person.open(request[f"{channel}_link"]):
        await person.say(f"otp_{request['request_id']}")
    assert "This is a test link" in person.last
    await person.say(request["pairing_code"])
    assert "This is a test link" in person.last
    assert person.labels == []
    assert (await play(run, request, "consent")).json["status"] == "sent"


async def test_projects_have_casts_of_their_own(live: Running) -> None:
    """The fixed ids are the same, what is behind them is not."""
    run = await with_test_key(live)
    assert (await send(run, 1)).status == 200
    made = await live.service.projects.create("Other", "")
    other = replace(
        live, api_key=(await live.service.projects.rotate_key(made.project.id, 0, Mode.TEST)).api_key
    )
    assert (await other.verify(FIXED_ID.format(1), PLAYED_DIGITS[:6]))["reason"] == "no_active_code"
    assert (await run.verify(FIXED_ID.format(1), PLAYED_DIGITS[:6]))["verified"]


async def test_keys_of_the_two_modes_end_apart(live: Running) -> None:
    """A new one of a mode ends the old ones of that mode."""
    first = await with_test_key(live)
    second = await with_test_key(live)
    assert (await first.call("POST", "/v1/otp/request")).status == 401
    assert (await second.call("POST", "/v1/otp/request")).status == 200
    assert (await live.call("POST", "/v1/otp/request")).status == 200
    (project,) = await live.service.projects.all()
    await live.service.projects.rotate_key(project.id, 0)
    assert (await second.call("POST", "/v1/otp/request")).status == 200
    assert (await live.call("POST", "/v1/otp/request")).status == 401


async def test_a_disabled_project_says_test_too(run: Running) -> None:
    (project,) = await run.service.projects.all()
    await run.service.projects.set_enabled(project.id, False)
    answer = await run.call("POST", "/v1/otp/request")
    assert (answer.status, answer.json["test"]) == (403, True)


async def test_a_stream_says_that_it_is_a_test(run: Running) -> None:
    request = await run.request()
    await play(run, request, "consent")
    path = f"/v1/otp/request/{request['request_id']}/status"
    answer = await run.call("GET", path, headers={"Accept": "text/event-stream"})
    (line,) = [line for line in answer.text.splitlines() if line.startswith("data:")]
    assert json.loads(line.removeprefix("data:"))["test"] is True


@pytest.mark.parametrize("body, status", [({}, 200), ({"person": 1}, 400)])
async def test_a_play_takes_no_fields(run: Running, body: Any, status: int) -> None:
    answer = await play(run, await run.request(), "consent", body=body)
    assert answer.status == status


def test_events_tell_of_the_fixed_subscribers_by_their_fixed_ids() -> None:
    """As the site knows them; all others keep theirs."""
    for who in Role:
        fixed = FIXED_ID.format(int(who))
        sub = fixed_subscriber(fixed, "shop", [Channel.MAX])
        assert sub is not None
        for mode, told in ((Mode.TEST, fixed), (Mode.LIVE, sub.id)):
            (notice,) = notices_of(SubscriberJoined(replace(sub, mode=mode)))
            assert notice.data["subscriber_id"] == told
        (notice,) = notices_of(SubscriberJoined(replace(sub, id="550e8400-e29b-41d4-a716-446655440000")))
        assert notice.data["subscriber_id"] == "550e8400-e29b-41d4-a716-446655440000"


def test_nobody_in_a_messenger_is_played() -> None:
    """Numbers of people begin at 1; each played one has the role that its number says."""
    randomness = SeededRandomness("stage")
    people = [new_person(Channel.MAX, randomness) for _ in range(100)]
    assert all(person.is_played and role(person) is None for person in people)
    assert len(set(people)) == 100
    for who in Role:
        sub = fixed_subscriber(FIXED_ID.format(int(who)), "shop", [Channel.TELEGRAM])
        assert sub is not None
        assert role(sub.person) is who
        assert FIXED.fullmatch(sub.id) is None
    assert fixed_subscriber(FIXED_ID.format(7), "shop", []) is None


def test_an_unknown_outcome_is_really_one() -> None:
    sub = fixed_subscriber(FIXED_ID.format(5), "shop", [Channel.TELEGRAM])
    assert sub is not None
    assert isinstance(played(sub.person.user_id, "m"), Unknown)


async def test_accounts_and_subscribers_in_test_mode(run: Running) -> None:
    """The real path: linked by a verified code, reached, read and forgotten; and no messenger is called."""
    before = calls_of_bots(run)
    request = (await run.call("POST", "/v1/otp/request", {"external_id": "user-1"})).json
    sub = (await play(run, request, "consent")).json["subscriber_id"]
    body = {"external_id": "user-1", "code": PLAYED_DIGITS[:6]}
    verified = await run.call("POST", "/v1/otp/verify", {**body, "request_id": request["request_id"]})
    assert verified.json == {"verified": True, "test": True}
    sent = await run.call("POST", "/v1/otp/send", {"external_id": "user-1"})
    assert (sent.json["subscriber_id"], sent.json["test"]) == (sub, True)
    assert (await run.call("POST", "/v1/otp/verify", body)).json == {"verified": True, "test": True}
    read = await run.call("GET", f"/v1/subscribers/{sub}")
    assert (read.json["external_id"], read.json["test"]) == ("user-1", True)
    gone = await run.call("DELETE", f"/v1/subscribers/{sub}")
    assert gone.json == {"subscriber_id": sub, "deleted": True, "test": True}
    assert (await run.call("GET", f"/v1/subscribers/{sub}")).status == 404
    await run.quiet()
    assert calls_of_bots(run) == before


async def test_the_sandbox_says_where_its_people_are_played() -> None:
    """Its keys look like those of test mode, so somebody will try."""
    async with running(mode=Mode.TEST) as sandbox:
        answer = await sandbox.call("POST", f"/v1/test/request/{'a' * 16}/consent", {})
        assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert "phones" in answer.json["detail"]


@pytest.mark.parametrize("number,locked", [(1, False), (6, True)])
async def test_the_fixed_subscribers_are_there_to_be_read_and_forgotten(
    run: Running, number: int, locked: bool
) -> None:
    """Before their first scene, and after each end: there is always another one."""
    path = f"/v1/subscribers/{FIXED_ID.format(number)}"
    for _ in range(2):
        read = await run.call("GET", path)
        assert (read.status, read.json["locked"], read.json["external_id"]) == (200, locked, None)
        await send(run, number)
        assert (await run.call("GET", path)).json["locked"] is locked
        for _ in range(2):
            assert (await run.call("DELETE", path)).json["deleted"] is True
