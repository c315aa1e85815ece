"""Both simulators alike, against the real clients, aiogram and maxapi, over loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

import pytest
from aiogram.exceptions import (
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from maxapi.exceptions.max import InvalidToken, MaxApiError, MaxConnection

from sandbox.courier import ATTEMPTS
from sandbox.wire import Button, Fault, Impossible, Pressed
from tests.test_sandbox_rigs import ANN, BUTTONS, HOOK, SECRET, START, Rig, max_rig, telegram_rig, texts

When = Literal["before", "after"]
API_ERRORS = (TelegramAPIError, ClientDecodeError, MaxApiError, MaxConnection, ValueError)


def another(rig: Rig, **settings: Any) -> AbstractAsyncContextManager[Rig]:
    """Another rig of the same messenger."""
    return telegram_rig(**settings) if rig.sim.channel == "telegram" else max_rig(**settings)


@pytest.fixture(params=[telegram_rig, max_rig], ids=["telegram", "max"])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Either messenger."""
    async with request.param() as made:
        yield made


# ---- the screen


async def test_a_message_stands_on_the_screen_as_the_person_sees_it(rig: Rig) -> None:
    """Tags are gone, code and bold are spans of the text, buttons are told apart."""
    message_id = await rig.send("<b>Ann</b> &lt;3: 🔑 <code>1234</code>", BUTTONS[rig.sim.channel])
    shown = rig.sim.chat(ANN)[-1]
    assert (shown.id, shown.author, shown.text) == (message_id, "bot", "Ann <3: 🔑 1234")
    assert (shown.bold_spans, shown.code_spans) == ([(0, 3)], [(10, 4)])
    assert shown.buttons == [
        [
            Button("Yes", "press", "yes:1"),
            Button("Copy", "copy", "1234"),
            Button("Site", "link", "https://example.test/"),
        ]
    ]
    assert (shown.edited, shown.at) == (False, START)


async def test_an_edited_message_shows_its_new_text(rig: Rig) -> None:
    """An edit changes the message in its place and marks it as edited."""
    message_id = await rig.send("before")
    await rig.edit(message_id, "after")
    assert texts(rig.sim) == ["after"]
    assert rig.sim.chat(ANN)[-1].edited


async def test_the_persons_own_text_stands_in_the_chat(rig: Rig) -> None:
    """What a person says is a message of the person's."""
    rig.sim.say(ANN, " hello ")
    assert [(message.author, message.text) for message in rig.sim.chat(ANN)][-1] == ("person", "hello")


async def test_pressing_a_copy_or_link_button_stays_on_the_device(rig: Rig) -> None:
    """The text to copy and the address come back, and the bot hears nothing."""
    rig.sim.capture = []
    message_id = await rig.send("x", BUTTONS[rig.sim.channel])
    assert rig.sim.press(ANN, message_id, 0, 1) == Pressed(copy="1234")
    assert rig.sim.press(ANN, message_id, 0, 2) == Pressed(link="https://example.test/")
    assert rig.sim.capture == []


async def test_pressing_a_callback_button_tells_the_bot_and_its_popup_is_seen(rig: Rig) -> None:
    """The update carries person and data, and can be answered with a popup."""
    rig.sim.capture = []
    message_id = await rig.send("x", BUTTONS[rig.sim.channel])
    assert rig.sim.press(ANN, message_id, 0, 0) == Pressed()
    pressed = rig.pressed(rig.sim.capture[0])
    assert (pressed["user"], pressed["data"]) == (ANN, "yes:1")
    await rig.popup(pressed["id"], "done")
    assert rig.sim.popups(ANN) == ["done"]


@pytest.mark.parametrize("place", [(0, 9), (9, 0), (-1, 0), (0, -1)])
async def test_a_button_that_is_not_there_cannot_be_pressed(rig: Rig, place: tuple[int, int]) -> None:
    """Rows and columns outside the keyboard are impossible, as is a message that does not exist."""
    message_id = await rig.send("x", BUTTONS[rig.sim.channel])
    with pytest.raises(Impossible):
        rig.sim.press(ANN, message_id, *place)
    with pytest.raises(Impossible):
        rig.sim.press(ANN, "404", 0, 0)


async def test_forged_data_reaches_the_bot(rig: Rig) -> None:
    """An old screen may send data that the message no longer carries."""
    rig.sim.capture = []
    message_id = await rig.send("x")
    rig.sim.press_data(ANN, message_id, "forged")
    assert rig.pressed(rig.sim.capture[0])["data"] == "forged"


@pytest.mark.parametrize(
    "foreign",
    [
        "https://t.example/codes_bot?start=otp_x",
        "http://{host}/codes_bot?start=otp_x",
        "https://{host}/other_bot?start=otp_x",
        "https://{host}/codes_bot?start=otp_x&start=otp_y",
        "https://{host}/codes_bot?go=otp_x",
        "https://{host}/codes_bot?start=" + "x" * 129,
        "https://[",
    ],
)
async def test_a_link_that_is_not_the_bots_cannot_be_opened(rig: Rig, foreign: str) -> None:
    """Another host, bot or parameter, and a payload that the messenger would drop, are impossible."""
    with pytest.raises(Impossible):
        rig.sim.open_link(ANN, foreign.format(host=rig.sim.link_host))


@pytest.mark.parametrize("text", ["", "  ", "x" * 4097])
async def test_an_empty_or_endless_text_cannot_be_said(rig: Rig, text: str) -> None:
    """A client does not send such a text."""
    with pytest.raises(Impossible):
        rig.sim.say(ANN, text)


async def test_the_language_goes_along_and_may_be_missing(rig: Rig) -> None:
    """An empty language is one that the messenger does not tell."""
    rig.sim.capture = []
    for language in ("ru", ""):
        rig.sim.person(ANN, language=language)
        rig.sim.say(ANN, "hello")
    told = [json.dumps(update) for update in rig.sim.capture]
    assert '"ru"' in told[0]
    assert "language_code" not in told[1]
    assert "user_locale" not in told[1]


# ---- people who are not there, wrong tokens, limits


async def test_somebody_who_never_started_the_bot_gets_nothing(rig: Rig) -> None:
    """The messenger does not know the chat; that is a refusal, not a breach of its rules."""
    async with another(rig, started=False) as fresh:
        with pytest.raises((TelegramBadRequest, MaxApiError)) as refusal:
            await fresh.send("x")
        assert "not found" in str(refusal.value) or "dialog.not.found" in str(refusal.value)
        assert fresh.sim.violations == []


async def test_somebody_who_blocked_the_bot_gets_nothing_until_unblocked(rig: Rig) -> None:
    """A block refuses new messages with 403; taking it back lets them through."""
    rig.sim.block(ANN)
    with pytest.raises((TelegramForbiddenError, MaxApiError)) as refusal:
        await rig.send("x")
    assert rig.sim.calls[-1].status == 403
    assert "blocked by the user" in str(refusal.value) or "error.dialog.suspended" in str(refusal.value)
    rig.sim.unblock(ANN)
    await rig.send("y")
    assert texts(rig.sim) == ["y"]


async def test_nothing_can_be_pressed_while_blocked_and_saying_unblocks(rig: Rig) -> None:
    """A press sends nothing, and a client makes the person unblock the bot before it sends a text."""
    message_id = await rig.send("x", BUTTONS[rig.sim.channel])
    rig.sim.block(ANN)
    rig.sim.capture = []
    rig.sim.press(ANN, message_id, 0, 0)
    assert rig.sim.capture == []
    rig.sim.say(ANN, "hello")
    assert len(rig.sim.capture) == 2
    assert not rig.sim.is_blocked(ANN)


async def test_blocking_twice_is_told_once(rig: Rig) -> None:
    """Neither a second block nor an unblock without a block sends anything."""
    rig.sim.capture = []
    rig.sim.unblock(ANN)
    rig.sim.block(ANN)
    rig.sim.block(ANN)
    assert len(rig.sim.capture) == 1


async def test_a_wrong_token_is_refused(rig: Rig) -> None:
    """401, and nothing happens."""
    async with another(rig, token="7000000001:wrong") as stranger:
        with pytest.raises((TelegramUnauthorizedError, InvalidToken)):
            await stranger.send("x")
        assert (stranger.sim.calls[-1].status, stranger.sim.calls[-1].done) == (401, False)


async def test_the_limit_of_messages_per_second_holds_in_each_dialog(rig: Rig) -> None:
    """The third message within a second is refused with 429; a second later there is room again."""
    async with another(rig, limit=2) as limited:
        await limited.send("1")
        await limited.send("2")
        with pytest.raises((TelegramRetryAfter, MaxApiError)):
            await limited.send("3")
        assert limited.sim.calls[-1].status == 429
        limited.clock.ms += 1000
        await limited.send("4")
        assert texts(limited.sim) == ["1", "2", "4"]


# ---- webhooks


async def test_an_update_reaches_the_webhook_with_its_secret(rig: Rig) -> None:
    """The secret stands in the messenger's own header; once acknowledged, the update does not come again."""
    await rig.register()
    rig.sim.say(ANN, "hello")
    await rig.sim.settled()
    assert len(rig.receiver.updates) == 1
    assert "hello" in json.dumps(rig.receiver.updates[0])
    assert rig.receiver.headers[0][rig.sim.secret_header] == SECRET
    assert (rig.sim.deliveries[-1].attempts, rig.sim.deliveries[-1].done) == ([200], True)


async def test_an_update_is_delivered_again_until_it_is_acknowledged(rig: Rig) -> None:
    """Errors and redirects are no acknowledgement; the same update comes again."""
    await rig.register()
    rig.receiver.statuses = [503, 302, 500]
    rig.sim.say(ANN, "hello")
    await rig.sim.settled()
    assert rig.sim.deliveries[-1].attempts == [503, 302, 500, 200]
    assert all(update == rig.receiver.updates[0] for update in rig.receiver.updates)


async def test_a_webhook_that_never_acknowledges_is_given_up(rig: Rig) -> None:
    """The number of attempts is bounded."""
    await rig.register()
    rig.receiver.statuses = [500] * (ATTEMPTS + 1)
    rig.sim.say(ANN, "hello")
    await rig.sim.settled()
    assert rig.sim.deliveries[-1].attempts == [500] * ATTEMPTS
    assert rig.sim.deliveries[-1].given_up


async def test_an_unreachable_webhook_is_tried_too(rig: Rig) -> None:
    """Neither a missing route nor a closed port stops anything but the delivery."""
    await rig.register()
    rig.receiver.url = None
    rig.sim.say(ANN, "nowhere")
    await rig.sim.settled()
    rig.receiver.url = "http://127.0.0.1:1/webhooks"
    rig.sim.say(ANN, "refused")
    await rig.sim.settled()
    nowhere, refused = rig.sim.deliveries
    assert nowhere.attempts == [f"no route to {HOOK}"] * ATTEMPTS
    assert refused.attempts == ["ClientConnectorError"] * ATTEMPTS


async def test_only_wanted_updates_are_delivered(rig: Rig) -> None:
    """Kinds that the webhook did not ask for are not sent to it."""
    await rig.register(rig.said_kind)
    rig.sim.block(ANN)
    rig.sim.say(ANN, "hello")
    await rig.sim.settled()
    assert len(rig.receiver.updates) == 1
    assert "hello" in json.dumps(rig.receiver.updates[0])


async def test_a_persons_updates_arrive_in_their_order(rig: Rig) -> None:
    """First attempts of one person's updates are made one after the other."""
    await rig.register()
    said = [f"number {n}" for n in range(20)]
    for text in said:
        rig.sim.say(ANN, text)
    await rig.sim.settled()
    arrived = [json.dumps(update) for update in rig.receiver.updates]
    assert all(text in update for text, update in zip(said, arrived, strict=True))


async def test_captured_updates_can_be_delivered_later_and_twice(rig: Rig) -> None:
    """`capture` keeps updates from the webhook, `deliver` sends one as often as asked."""
    await rig.register()
    rig.sim.capture = []
    rig.sim.say(ANN, "hello")
    await rig.sim.settled()
    assert rig.receiver.updates == []
    update = rig.sim.capture[0]
    rig.sim.deliver(update)
    rig.sim.deliver(update)
    await rig.sim.settled()
    assert rig.receiver.updates == [update, update]


async def test_closing_ends_deliveries_under_way(rig: Rig) -> None:
    """`close` does not wait for a webhook that fails all the time."""
    await rig.register()
    rig.receiver.statuses = [500] * 100
    rig.sim.say(ANN, "hello")
    await rig.sim.close()
    await rig.sim.settled()
    assert not rig.sim.deliveries[-1].done


# ---- faults and the record of calls


async def test_a_status_before_the_effect_keeps_the_message_away(rig: Rig) -> None:
    """The call fails as often as asked, then works."""
    rig.sim.faults.append(Fault(rig.send_call, times=2, status=500))
    for _ in range(2):
        with pytest.raises((TelegramServerError, MaxApiError)):
            await rig.send("x")
    await rig.send("y")
    assert texts(rig.sim) == ["y"]
    assert [(call.status, call.done) for call in rig.sim.calls] == [(500, False), (500, False), (200, True)]


async def test_a_status_after_the_effect_lets_the_message_through(rig: Rig) -> None:
    """The person has the message although the bot was told of an error."""
    rig.sim.faults.append(Fault(rig.send_call, status=502, when="after"))
    with pytest.raises(API_ERRORS):
        await rig.send("x")
    assert texts(rig.sim) == ["x"]
    assert (rig.sim.calls[-1].status, rig.sim.calls[-1].done) == (502, True)


@pytest.mark.parametrize("when, arrived", [("before", []), ("after", ["x"])])
async def test_a_dropped_connection_leaves_the_bot_in_the_dark(
    rig: Rig, when: When, arrived: list[str]
) -> None:
    """The bot sees a network error, whether or not the message arrived."""
    rig.sim.faults.append(Fault(rig.send_call, drop=True, when=when))
    with pytest.raises((TelegramNetworkError, MaxConnection)):
        await rig.send("x")
    assert texts(rig.sim) == arrived
    assert rig.sim.calls[-1].status == 0


async def test_a_call_can_be_held_up(rig: Rig) -> None:
    """A call with `hold` has no effect before the event is set."""
    hold = asyncio.Event()
    rig.sim.faults.append(Fault(rig.send_call, hold=hold))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rig.send("x"))
        await rig.sim.until(lambda: bool(rig.sim.calls))
        assert texts(rig.sim) == []
        hold.set()
        await rig.sim.until(lambda: texts(rig.sim) == ["x"])


async def test_a_delay_ends_by_itself_and_with_the_simulator(rig: Rig) -> None:
    """A short delay passes; a long one does not keep the simulator from closing."""
    rig.sim.faults.append(Fault(rig.send_call, delay=0.01))
    await rig.send("x")
    rig.sim.faults.append(Fault(rig.send_call, delay=3600))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rig.send("y"))
        await rig.sim.until(lambda: len(rig.sim.calls) == 2)
        await rig.sim.close()
    assert texts(rig.sim) == ["x", "y"]


async def test_an_answer_may_be_unreadable(rig: Rig) -> None:
    """Both a cut answer and foreign text are errors of the client's, after the message arrived."""
    rig.sim.faults.append(Fault(rig.send_call, truncate=True))
    rig.sim.faults.append(Fault(rig.send_call, raw="<html>proxy</html>", when="after"))
    for text in ("cut", "foreign"):
        with pytest.raises(API_ERRORS):
            await rig.send(text)
    assert texts(rig.sim) == ["cut", "foreign"]


async def test_a_fault_can_answer_with_any_body(rig: Rig) -> None:
    """A body without a status is answered with 200."""
    body = {"ok": False, "description": "odd", "message": "odd"}
    rig.sim.faults.append(Fault(rig.send_call, body=body))
    with pytest.raises((TelegramAPIError, TypeError)):
        await rig.send("x")
    assert (rig.sim.calls[-1].status, texts(rig.sim)) == (200, [])


async def test_a_fault_strikes_only_the_calls_it_names(rig: Rig) -> None:
    """Other calls work meanwhile, and the fault is not used up by them."""
    fault = Fault("no such call", status=500)
    rig.sim.faults.append(fault)
    await rig.send("x")
    assert (texts(rig.sim), fault.times) == (["x"], 1)


async def test_waiting_for_what_does_not_come_ends(rig: Rig) -> None:
    """`until` gives up with TimeoutError, at once when the simulator is closed."""
    with pytest.raises(TimeoutError):
        await rig.sim.until(lambda: False, seconds=0.01)
    await rig.sim.close()
    with pytest.raises(TimeoutError):
        await rig.sim.until(lambda: False)
