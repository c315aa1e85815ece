"""The question for a phone number over the wire: what the person is shown, and which answer of the API tells the number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from otp.model import Mode
from otp.projects import Change, PageChange
from sandbox.telegram_people import phone_of
from sandbox.wire import Fault
from tests.leaks import in_database
from tests.running import Running, Someone, running

ASK = {"phone": "ask"}
SHARE = {"en": "Share my number", "ru": "Поделиться номером"}
SKIP = {"en": "Skip", "ru": "Пропустить"}


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made
        assert made.demo.telegram.violations == []


async def asked(run: Running, person: Someone, **fields: Any) -> dict[str, Any]:
    """A request that asks, whose person has the code and the question."""
    request = await run.request(**ASK, **fields)
    await person.open(request["telegram_link"])
    await person.press("Получить код" if "Получить код" in person.labels else "Get the code")
    return request


def number(person: Someone) -> str:
    """The number of a person, as the API tells it."""
    return f"+{phone_of(person.user_id)}"


def status_path(request: Mapping[str, Any]) -> str:
    """Where the status of a request is read."""
    return f"/v1/otp/request/{request['request_id']}/status"


# ---- the chat


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_the_whole_flow(run: Running, language: str) -> None:
    """The code first; then who asks, that it is optional, two keys; a tap, and the keys are gone."""
    person = run.someone(language=language)
    request = await asked(run, person)
    code, question = person.screen[-2:]
    assert code.text.split("\n")[0] == person.codes[-1]
    assert question.text.split("\n")[0] == "Ромашка Shop"
    assert ("You do not have to" if language == "en" else "необязательно") in question.text
    assert person.keys == [[SHARE[language]], [SKIP[language]]]
    assert (await run.status(request))["phone_pending"] is True
    await person.press_key(SHARE[language])
    assert ("this site gets" if language == "en" else "сайт получит") in person.last
    assert person.keys == []
    told = await run.status(request)
    assert (told["status"], told["phone"]) == ("sent", number(person))
    assert "phone_pending" not in told
    assert "phone" not in await run.status(request)


async def test_what_goes_over_the_wire(run: Running) -> None:
    """A reply keyboard for one use, removed when it is done; the number is in no call of ours."""
    person = run.someone()
    await asked(run, person)
    await person.press_key("Share my number")
    question, done = run.demo.telegram.calls[-2:]
    assert question.params["reply_markup"] == {
        "keyboard": [[{"text": "Share my number", "request_contact": True}], [{"text": "Skip"}]],
        "one_time_keyboard": True,
        "resize_keyboard": True,
    }
    assert done.params["reply_markup"] == {"remove_keyboard": True}
    assert not [call for call in run.demo.telegram.calls if phone_of(person.user_id) in repr(call.params)]


@pytest.mark.parametrize("language", ["en", "ru"])
async def test_passed_over(run: Running, language: str) -> None:
    """One sentence, no keys, and the code works."""
    person = run.someone(language=language)
    request = await asked(run, person)
    await person.press_key(SKIP[language])
    assert ("does not get" if language == "en" else "не получит") in person.last
    assert person.keys == []
    told = await run.status(request)
    assert {"phone", "phone_pending"} & told.keys() == set()
    verdict = await run.verify(told["subscriber_id"], person.codes[-1], request_id=request["request_id"])
    assert verdict == {"verified": True}


async def test_what_does_not_count(run: Running) -> None:
    """Somebody else's contact, the own one forwarded, a number that is written: a sentence each, and the keys again."""
    person = run.someone()
    request = await asked(run, person)
    for act in (
        person.share_contact(own=False),
        person.share_contact(forwarded=True),
        person.say("+7 999 123-45-67"),
    ):
        before = len(person.screen)
        await act
        assert len(person.screen) == before + 1
        assert "press “Share my number”" in person.last
        assert person.keys == [["Share my number"], ["Skip"]]
    assert "typed" in person.last
    assert (await run.status(request))["phone_pending"] is True


async def test_nobody_asks(run: Running) -> None:
    """A contact out of the blue gets one sentence; a number that is written is like anything else."""
    person = run.someone()
    await person.share_contact()
    assert "No site asks" in person.last
    await person.say("Skip")
    assert "No site asks" in person.last
    await person.say("+7 999 123-45-67")
    assert "one-time codes" in person.last


async def test_an_update_that_comes_again(run: Running) -> None:
    """Nothing more is said, and nothing more is stored."""
    person = run.someone()
    request = await asked(run, person)
    await person.press_key("Share my number")
    assert (await run.status(request))["phone"] == number(person)
    before = len(person.screen)
    shared = next(one.update for one in reversed(run.demo.telegram.deliveries) if "message" in one.update)
    run.demo.telegram.deliver(shared)
    await run.quiet()
    assert len(person.screen) == before
    assert "phone" not in await run.status(request)


async def test_an_answer_that_gets_lost_is_given_again(run: Running) -> None:
    """What is stored is stored; the next tap says so."""
    person = run.someone()
    request = await asked(run, person)
    run.demo.telegram.faults.append(Fault("sendMessage", status=500))
    await person.press_key("Share my number")
    assert "You do not have to" in person.last
    await person.share_contact()
    assert "this site gets" in person.last
    assert (await run.status(request))["phone"] == number(person)


async def test_a_question_that_certainly_did_not_go_out_is_asked_again(run: Running) -> None:
    """Telegram takes about one message a second in a chat; when the time for the question is over, it is not."""
    person = run.someone()
    request = await run.request(**ASK)
    await person.open(request["telegram_link"])
    question = Fault("sendMessage", retry_after=3, times=1)
    run.demo.telegram.faults.extend([Fault("sendMessage"), question])  # the first one lets the code through
    await person.press("Get the code")
    assert len(person.codes) == 1
    assert person.keys == []
    run.clock.advance(seconds=2)
    await run.quiet()
    assert person.keys == []
    run.clock.advance(seconds=2)
    await run.quiet()
    assert person.keys == [["Share my number"], ["Skip"]]


async def test_the_kept_number_is_said_to_be_kept(run: Running) -> None:
    """And a subscriber's own page of the API tells it, until it is not kept any more."""
    [project] = await run.service.projects.all()
    await run.service.projects.update(project.id, Change(keep_phone=True))
    person = run.someone()
    request = await asked(run, person)
    assert "I keep it for this site until you leave" in person.last
    sub = f"/v1/subscribers/{(await run.status(request))['subscriber_id']}"
    assert "phone" not in (await run.call("GET", sub)).json
    await person.press_key("Share my number")
    for _ in range(2):
        assert (await run.call("GET", sub)).json["phone"] == number(person)
    assert (await run.status(request))["phone"] == number(person)
    assert (await run.call("GET", sub)).json["phone"] == number(person)
    assert (await run.call("DELETE", sub)).status == 200
    assert (await run.call("GET", sub)).status == 404


# ---- the API


async def test_max_can_not_be_asked(run: Running) -> None:
    """409 for MAX alone; with both, whoever comes through MAX is asked nothing."""
    answer = await run.call("POST", "/v1/otp/request", {"channel": "max", **ASK})
    assert (answer.status, answer.json["code"], answer.json["retryable"]) == (409, "phone_unavailable", False)
    person, request = run.someone("max"), await run.request(**ASK)
    assert request["max_link"]
    await person.open(request["max_link"])
    await person.press("Get the code")
    assert len(person.screen) == 2
    assert {"phone", "phone_pending"} & (await run.status(request)).keys() == set()


@pytest.mark.parametrize("value", ["need", None, True, ""])
async def test_one_value(run: Running, value: object) -> None:
    """Anything but `ask` is not valid."""
    answer = await run.call("POST", "/v1/otp/request", {"phone": value})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "phone")


async def test_of_many_readers_one_is_told(run: Running) -> None:
    """Plain, waiting, and as streams, all at once."""
    person = run.someone()
    request = await asked(run, person)
    await person.press_key("Share my number")
    path, stream = status_path(request), {"Accept": "text/event-stream"}
    calls = [run.call("GET", path), run.call("GET", f"{path}?wait=5"), run.call("GET", path, headers=stream)]
    answers = await asyncio.gather(*calls * 1, run.call("GET", path), run.call("GET", f"{path}?wait=1"))
    assert sum(one.text.count(number(person)) for one in answers) == 1


async def test_a_look_that_can_not_tell_does_not_take(run: Running) -> None:
    """HEAD, a stream that had its end before, another project; then the status tells it."""
    person = run.someone()
    request = await asked(run, person)
    await person.press_key("Share my number")
    path = status_path(request)
    assert (await run.call("HEAD", path)).status == 200
    stream = {"Accept": "text/event-stream", "Last-Event-ID": "sent"}
    assert (await run.call("HEAD", path, headers=stream)).status == 200
    assert (await run.call("GET", path, headers=stream)).status == 204
    other = await run.service.projects.create("Bank", "")
    foreign = {"Authorization": f"Bearer {other.api_key}"}
    assert (await run.call("GET", path, headers=foreign)).status == 404
    assert (await run.status(request))["phone"] == number(person)


async def test_a_stream_tells_it_too(run: Running) -> None:
    """In the one event that it has then."""
    person = run.someone()
    request = await asked(run, person)
    await person.press_key("Share my number")
    answer = await run.call("GET", status_path(request), headers={"Accept": "text/event-stream"})
    data = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [json.loads(line[6:])["phone"] for line in data] == [number(person)]
    assert "phone" not in await run.status(request)


async def test_the_hosted_page_neither_shows_nor_swallows_it(run: Running) -> None:
    """Its visitor may be anybody."""
    [project] = await run.service.projects.all()
    change = Change(page=PageChange(return_urls=["https://shop.example/login"]))
    await run.service.projects.update(project.id, change)
    person = run.someone()
    request = await asked(run, person, page={"return_url": "https://shop.example/login"})
    await person.press_key("Share my number")
    token = request["client_token"]
    for path in (f"/c/{token}", f"/c/{token}/status", f"/c/{token}/status?wait=1"):
        answer = await run.call("GET", path, headers={"Authorization": None})
        assert answer.status == 200
        assert phone_of(person.user_id) not in answer.text
    assert (await run.status(request))["phone"] == number(person)


async def test_time_is_over(run: Running) -> None:
    """After 15 minutes the question is no more pending, and a late contact is not kept."""
    person = run.someone()
    request = await asked(run, person)
    run.clock.advance(minutes=15)
    assert "phone_pending" not in await run.status(request)
    await person.press_key("Share my number")
    assert "No site asks" in person.last
    assert "phone" not in await run.status(request)


async def test_played_in_test_mode() -> None:
    """Both keys can be pressed by the site's tests; too early, twice, or where nobody asks: 409."""
    async with running() as run:
        [project] = await run.service.projects.all()
        run.api_key = (await run.service.projects.rotate_key(project.id, 0, Mode.TEST)).api_key
        first, second, plain = await run.request(**ASK), await run.request(**ASK), await run.request()

        async def play(request: Mapping[str, Any], act: str) -> tuple[int, dict[str, Any]]:
            answer = await run.call("POST", f"/v1/test/request/{request['request_id']}/{act}")
            return answer.status, answer.json

        assert (await play(first, "phone"))[1]["code"] == "request_not_pending"
        status, told = await play(first, "consent")
        assert (status, told["phone_pending"]) == (200, True)
        status, told = await play(first, "phone")
        assert status == 200
        assert {"phone", "phone_pending"} & told.keys() == set()
        assert (await play(first, "phone"))[0] == 409
        assert (await run.status(first))["phone"] == "+12025550142"
        assert "phone" not in await run.status(first)
        await play(second, "consent")
        assert "phone_pending" not in (await play(second, "skip"))[1]
        assert (await play(second, "phone"))[0] == 409
        await play(plain, "consent")
        assert (await play(plain, "skip"))[1]["code"] == "request_not_pending"


# ---- what is written


async def test_it_is_nowhere_in_clear(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not in the database while it waits and is kept, not in the log, and nowhere at all once it was told."""
    path = tmp_path / "tapcode.db"
    async with running(f"sqlite:///{path}") as run:
        [project] = await run.service.projects.all()
        await run.service.projects.update(project.id, Change(keep_phone=True))
        person = run.someone()
        request = await asked(run, person)
        await person.press_key("Share my number")
        secret = phone_of(person.user_id)
        assert list(in_database(path, {secret}, set())) == []
        assert (await run.status(request))["phone"] == f"+{secret}"
        assert list(in_database(path, {secret}, set())) == []
    assert secret not in "".join(capsys.readouterr())
