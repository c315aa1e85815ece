"""Whole conversations over the wire, with aiogram and maxapi for real, on both messengers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.registration import State
from otp.model import Channel
from sandbox.wire import Fault, Webhook
from tests.running import Running, Someone, running

CHANNELS = ("telegram", "max")
SEND = {"telegram": "sendMessage", "max": "POST /messages"}
ANSWER = {"telegram": "answerCallbackQuery|editMessageText", "max": "POST /answers|PUT /messages"}


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made
        assert made.demo.telegram.violations == []
        assert made.demo.max.violations == []


def link(request: dict[str, str], channel: str) -> str:
    """The deep link of a channel."""
    return request[f"{channel}_link"]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("language", ["en", "ru"])
async def test_the_whole_flow(run: Running, channel: str, language: str) -> None:
    """Link, question, one tap, code, verified; every sentence in the person's language."""
    person = run.someone(channel, language)
    request = await run.request()
    assert await run.status(request) == {"status": "pending"}
    await person.open(link(request, channel))
    assert person.last.startswith("Ромашка Shop\nflowers & <gifts>\n")
    assert bool(re.search("[а-яё]", person.last.replace("Ромашка", ""))) is (language == "ru")
    await person.press("Получить код" if language == "ru" else "Get the code")
    status = await run.status(request)
    assert (status["status"], status["channel"]) == ("sent", channel)
    code = person.codes[-1]
    copies = [button.value for row in person.screen[-1].buttons for button in row if button.kind == "copy"]
    assert copies == [code]
    assert len(person.screen) == 2
    verdict = await run.verify(status["subscriber_id"], code, request_id=request["request_id"])
    assert verdict == {"verified": True}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_cancel(run: Running, channel: str) -> None:
    """The question becomes its outcome; the one button left refuses the project altogether."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    await person.press("Cancel")
    assert await run.status(request) == {"status": "cancelled"}
    assert "Cancelled" in person.last
    assert person.labels == ["No more from this site"]


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_subscriber_gets_the_code_and_a_warning(run: Running, channel: str) -> None:
    """No question; MAX stays silent on the link, so the id is typed."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    request = await run.request()
    if not await person.open(link(request, channel)):
        await person.say(f"  OTP_{request['request_id']} ")
    assert "do not give the code to anyone" in person.last
    assert (await run.status(request))["subscriber_id"] == sub


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("typed", ["otp_{id}", "/start otp_{id}", "{link}", " {link}\n"])
async def test_typing_is_as_good_as_opening(run: Running, channel: str, typed: str) -> None:
    """The way in when a messenger swallows a link's payload."""
    person, request = run.someone(channel), await run.request()
    await person.say(typed.format(id=request["request_id"], link=link(request, channel)))
    assert "Get the code" in person.labels


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_old_button_says_why_nothing_happens(run: Running, channel: str) -> None:
    """A popup, and the message is brought up to date."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    run.clock.advance(minutes=16)
    await person.press("Get the code")
    assert "This link has expired" in person.popups[-1]
    assert person.screen[0].text == person.popups[-1]
    assert person.labels == []
    assert await run.status(request) == {"status": "expired"}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_stop_lists_and_leaves(run: Running, channel: str) -> None:
    """A button for each subscription; then nothing reaches the person any more."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    await person.say("/stop")
    await person.press("Ромашка")
    assert "You have left" in person.last
    answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
    assert (answer.status, answer.json["code"]) == (404, "subscriber_not_found")
    await person.say("/stop")
    assert "not subscribed to any site" in person.last


@pytest.mark.parametrize("channel", CHANNELS)
async def test_blocking_unsubscribes_and_coming_back_asks_again(run: Running, channel: str) -> None:
    """The same subscriber as before."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    person.sim.block(person.user_id)
    await run.quiet()
    assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 404
    person.sim.unblock(person.user_id)
    await run.quiet()
    assert (await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})).status == 404
    assert await run.subscriber(person) == sub


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("text", ["/start", "/help", "hello", "/unknown", "x" * 3000, "😀", "123456"])
async def test_anything_else_gets_one_helpful_answer(run: Running, channel: str, text: str) -> None:
    """Who this is and how to get a code."""
    person = run.someone(channel)
    await person.say(text)
    assert len(person.screen) == 1
    assert "one-time codes" in person.last
    assert "otp_" in person.last


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "text", ["otp_", "otp_" + "A" * 16, "otp_../x", "/start otp_x", "/start login_abc", "otp_%00"]
)
async def test_a_wrong_id_gets_one_sentence(run: Running, channel: str, text: str) -> None:
    """Never a code, never a question."""
    person = run.someone(channel)
    await person.say(text)
    assert len(person.screen) == 1
    assert person.labels == []


async def test_many_words_get_silence(run: Running) -> None:
    """Above 20 answers in a minute a person is heard and not answered; a minute later they are."""
    person = run.someone()
    for _ in range(25):
        person.sim.say(person.user_id, "/start")
    await run.quiet()
    assert len(person.screen) == 20
    request = await run.request()
    await person.open(request["telegram_link"])
    assert "Get the code" in person.labels
    run.clock.advance(minutes=1)
    await person.say("/help")
    assert "one-time codes" in person.last


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_failing_answer_or_edit_does_not_matter(run: Running, channel: str) -> None:
    """The code comes, once."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    person.sim.faults.append(Fault(method=ANSWER[channel], times=5, status=400))
    await person.press("Get the code")
    assert (await run.status(request))["status"] == "sent"
    assert len(person.codes) == 1


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_send_again_after_a_lost_answer(run: Running, channel: str, when: str) -> None:
    """Pending with an offer; one press brings the same code and `sent`."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    person.sim.faults.append(Fault(method=SEND[channel], status=500, when=when))  # type: ignore[arg-type]
    await person.press("Get the code")
    assert await run.status(request) == {"status": "pending"}
    arrived = len(person.codes)
    assert arrived == (1 if when == "after" else 0)
    await person.press("Send again")
    status = await run.status(request)
    assert status["status"] == "sent"
    assert len(person.codes) == arrived + 1
    assert len(set(person.codes)) == 1
    assert await run.verify(status["subscriber_id"], person.codes[-1]) == {"verified": True}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_locked_person_is_told_once_and_can_unlock(run: Running, channel: str) -> None:
    """One message at the lock; /help shows Unlock too; Unlock gives a fresh start."""
    async with running(guess_budget=3) as strict:
        person = strict.someone(channel)
        sub = await strict.subscriber(person)
        wrong = "1" * 6 if person.codes[-1] != "1" * 6 else "2" * 6
        for _ in range(3):
            await strict.verify(sub, wrong)
        assert (await strict.verify(sub, wrong))["reason"] == "locked"
        await person.sim.until(lambda: "3 wrong codes" in person.last)
        assert len(person.screen) == 3
        await person.say("/help")
        assert any(label.startswith("Unlock: ") for label in person.labels)
        request = await strict.request()
        await person.say(f"otp_{request['request_id']}")
        await person.press("Unlock, get")
        assert (await strict.status(request))["status"] == "sent"
        assert await strict.verify(sub, person.codes[-1]) == {"verified": True}


async def becomes(run: Running, person: Someone, index: int, text: str) -> None:
    """A message of the bot becomes this text, without buttons and without digits."""
    await person.sim.until(lambda: text in person.screen[index].text)
    assert person.screen[index].buttons == []
    assert not re.search(r"[0-9]{4}", person.screen[index].text)
    await run.quiet()


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_code_message_becomes_its_outcome(run: Running, channel: str) -> None:
    """Used, replaced, used up by wrong guesses, expired, withdrawn: each is told in its own message."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    await run.verify(sub, person.codes[-1])
    await becomes(run, person, 1, "This code has been used")
    for _ in range(2):
        await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "max_attempts": 1})
    await becomes(run, person, 2, "A new one was sent")
    wrong = "1" * 6 if person.codes[-1] != "1" * 6 else "2" * 6
    await run.verify(sub, wrong)
    await becomes(run, person, 3, "too many wrong codes")
    await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "ttl_minutes": 1})
    run.clock.advance(minutes=1)
    await becomes(run, person, 4, "has expired")
    await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
    await person.say("/stop")
    await person.press("Ромашка")
    await becomes(run, person, 5, "no longer works")


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_edit_that_fails_is_tried_again(run: Running, channel: str) -> None:
    """In the background, until the messenger takes it; never in the way of an answer."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    person.sim.faults.append(Fault(method="editMessageText|PUT /messages", times=2, status=500))
    assert await run.verify(sub, person.codes[-1]) == {"verified": True}
    for _ in range(30):
        await run.quiet()
        run.clock.advance(seconds=5)
    await becomes(run, person, 1, "This code has been used")


@pytest.mark.parametrize("channel", CHANNELS)
async def test_the_same_code_again(run: Running, channel: str) -> None:
    """A new message with the same digits; the older one points down."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    code = person.codes[-1]
    await person.press("Send again")
    await becomes(run, person, 1, "see below")
    assert person.codes == [code]
    answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "reuse": True})
    assert answer.json == {"sent": True, "expires_in_seconds": 300, "reused": True}
    assert await run.verify(sub, code) == {"verified": True}
    answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub, "reuse": True})
    assert answer.json["reused"] is False


@pytest.mark.parametrize("channel", CHANNELS)
async def test_it_was_not_me(run: Running, channel: str) -> None:
    """Withdrawn, reported, no more, allowed again: each step says what happened and what can be done."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    await person.press("Get the code")
    code = person.codes[-1]
    await person.press("It wasn't me")
    assert "if there was a code, it no longer works" in person.last
    status = await run.status(request)
    assert (status["status"], status["reported"]) == ("sent", True)
    assert (await run.verify(status["subscriber_id"], code))["reason"] == "no_active_code"
    await person.press("No more from this site")
    assert "can't send you codes" in person.last
    request = await run.request()
    await person.say(f"otp_{request['request_id']}")
    await person.press("Allow again")
    await person.press("Get the code")
    assert (await run.status(request))["status"] == "sent"


@pytest.mark.parametrize("channel", CHANNELS)
async def test_the_number_on_the_screen(run: Running, channel: str) -> None:
    """Three numbers and Cancel; the right one brings the code; who is asking stands in question and code."""
    person = run.someone(channel)
    context = {"action": "Sign in", "device": "Chrome on Windows", "ip": "203.0.113.7"}
    request = await run.request(match=True, context=context)
    await person.open(link(request, channel))
    assert "Sign in · Chrome on Windows (203.0.113.7)" in person.last.split("\n")
    assert len(person.labels) == 4
    await person.press(request["match_number"])
    assert (await run.status(request))["status"] == "sent"
    assert "Sign in · Chrome on Windows (203.0.113.7)" in person.last.split("\n")
    request = await run.request(match=True)
    await person.say(f"otp_{request['request_id']}")
    wrong = next(
        label
        for label in person.labels
        if re.fullmatch("[0-9]{2}", label) and label != request["match_number"]
    )
    await person.press(wrong)
    assert "scam" in person.last
    assert await run.status(request) == {"status": "cancelled"}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_pairing_code_is_typed(run: Running, channel: str) -> None:
    """After a bare start, the code on the site's screen is enough; a wrong one is told, a word gets the help."""
    person, request = run.someone(channel), await run.request()
    await person.say("/start")
    assert "AB12-C3D4" in person.last
    await person.say("0000-0000" if request["pairing_code"] != "0000-0000" else "0000-0001")
    assert "was not found" in person.last
    await person.say("HEYTHERE")
    assert "one-time codes" in person.last
    await person.say(request["pairing_code"].lower())
    assert "Get the code" in person.labels


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_pause_takes_no_button_away(run: Running, channel: str) -> None:
    """A popup says so; after the pause the same question works."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    project = (await run.service.projects.all())[0]
    await run.service.projects.set_enabled(project.id, False)
    await person.press("Get the code")
    assert "paused" in person.popups[-1]
    await run.service.projects.set_enabled(project.id, True)
    await person.press("Get the code")
    assert (await run.status(request))["status"] == "sent"


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_code_that_waits_is_told_to_be_on_its_way(run: Running, channel: str) -> None:
    """Never silence: whoever asks again while the messenger makes us wait hears where the code is."""
    person, request = run.someone(channel), await run.request()
    await person.open(link(request, channel))
    person.sim.faults.append(Fault(method=SEND[channel], status=429, retry_after=60))
    await person.press("Get the code")
    await person.say(f"otp_{request['request_id']}")
    assert "on its way" in person.last


@pytest.mark.slow
@pytest.mark.parametrize("channel", CHANNELS)
async def test_answers_that_hang_do_not_hold_up_codes(run: Running, channel: str) -> None:
    """150 people press while the messenger is slow to take answers: every code goes out all the same."""
    hold = asyncio.Event()
    people = [run.someone(channel) for _ in range(150)]
    requests = [await run.request() for _ in people]
    for person, request in zip(people, requests, strict=True):
        person.sim.open_link(person.user_id, link(request, channel))
    await run.quiet()
    people[0].sim.faults.append(Fault(method=ANSWER[channel], times=10_000, hold=hold))
    for person in people:
        person.sim.press(person.user_id, person.screen[-1].id, 0, 0)
    await people[0].sim.until(lambda: all(person.codes for person in people), seconds=20)
    hold.set()
    await run.quiet()
    assert {(await run.status(request))["status"] for request in requests} == {"sent"}


@pytest.mark.parametrize("channel", CHANNELS)
async def test_another_language_sticks(run: Running, channel: str) -> None:
    """Chosen with /lang, whatever the client says, for what a site sends by itself too."""
    person = run.someone(channel, "en")
    sub = await run.subscriber(person)
    await person.say("/lang")
    await person.press("Русский")
    assert "по-русски" in person.last
    await person.say("/help")
    assert "одноразовые коды" in person.last
    await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
    assert "Никому его не сообщайте" in person.last


@pytest.mark.parametrize("channel", CHANNELS)
async def test_the_bot_introduces_itself(run: Running, channel: str) -> None:
    """Commands stand in the messenger's menu, once for each version of the texts."""
    sim = run.someone(channel).sim
    told = [call for call in sim.calls if call.method in ("setMyCommands", "PATCH /me/commands")]
    assert len(told) == (3 if channel == "telegram" else 1)
    assert await run.service.registration.check(Channel(channel))
    assert len([call for call in sim.calls if call.method in ("setMyCommands", "PATCH /me/commands")]) == len(
        told
    )


async def test_a_group_hears_nothing(run: Running) -> None:
    """Outside a private dialog the bot is silent, and no button works."""
    before = len(run.demo.telegram.calls)
    group = {"id": -100, "type": "group", "title": "g"}
    ann = {"id": 7, "is_bot": False, "first_name": "Ann"}
    place = {"message_id": 1, "date": 1, "chat": group}
    press = {"id": "1", "from": ann, "chat_instance": "1", "data": "leave:x", "message": place}
    secret = {"X-Telegram-Bot-Api-Secret-Token": run.demo.telegram.webhooks[0].secret or ""}
    updates: list[dict[str, Any]] = [
        {"message": {**place, "from": ann, "text": "/start"}},
        {"callback_query": press},
    ]
    for number, update in enumerate(updates):
        body = {"update_id": number + 1, **update}
        answer = await run.call("POST", "/webhooks/telegram", body, headers=secret)
        assert answer.status == 200
    await run.quiet()
    assert len(run.demo.telegram.calls) == before


@pytest.mark.parametrize("channel", CHANNELS)
async def test_updates_are_fetched_without_a_public_address(channel: str) -> None:
    """The whole flow, with no webhook anywhere."""
    async with running(public_url=None) as run:
        person, request = run.someone(channel), await run.request()
        assert person.sim.webhooks == []
        person.sim.open_link(person.user_id, link(request, channel))
        await person.sim.until(lambda: "Get the code" in person.labels)
        person.sim.press(person.user_id, person.screen[-1].id, 0, 0)
        await person.sim.until(lambda: bool(person.codes))
        await run.quiet()
        status = await run.status(request)
        assert await run.verify(status["subscriber_id"], person.codes[-1]) == {"verified": True}
        ready = (await run.call("GET", "/readyz")).json
        assert ready["channels"][channel]["webhook"] == "fetched"


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_webhook_in_the_way_of_fetching_is_told_and_can_be_removed(channel: str) -> None:
    """The state says so; the command removes it; then updates come."""
    async with running(public_url=None) as run:
        person = run.someone(channel)
        info = run.service.registration.channels[Channel(channel)]
        person.sim.say(person.user_id, "/help")  # ends the fetch that waits
        person.sim.webhooks.append(Webhook("https://other.example/x", "s" * 16, (), 0))
        for _ in range(200):
            run.clock.advance(seconds=1)
            await asyncio.sleep(0.01)
            if info.state is State.FOREIGN_WEBHOOK:
                break
        assert info.state is State.FOREIGN_WEBHOOK
        await run.service.registration.perform("remove", take_over=True)
        assert person.sim.webhooks == []
