"""Telegram's simulator against aiogram, and against what aiogram would never send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramNotFound,
    TelegramRetryAfter,
)
from aiogram.types import (
    BotCommand,
    CopyTextButton,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    KeyboardButton,
    MessageEntity,
    ReplyKeyboardMarkup,
    ReplyKeyboardRemove,
    Update,
)

from sandbox.wire import Fault, Impossible
from tests.test_sandbox_rigs import ANN, BUTTONS, HOOK, TOKEN, TelegramRig, link, telegram_rig, texts


@pytest.fixture
async def telegram() -> AsyncIterator[TelegramRig]:
    async with telegram_rig() as rig:
        yield rig


async def test_entities_count_utf16_units(telegram: TelegramRig) -> None:
    """A code span after an emoji is where the person sees it, and comes back as it was sent."""
    entities = [
        MessageEntity(type="code", offset=3, length=4),
        MessageEntity(type="bold", offset=0, length=2),
    ]
    message = await telegram.bot.send_message(ANN, "🔑 1234", entities=entities)
    shown = telegram.sim.chat(ANN)[-1]
    assert (shown.code_spans, shown.bold_spans) == ([(2, 4)], [(0, 1)])
    assert message.entities is not None
    assert [entity.offset for entity in message.entities] == [3, 0]


async def test_a_link_sends_start_with_its_payload_every_time(telegram: TelegramRig) -> None:
    """Also to a bot that is known already; without payload it is a bare /start."""
    telegram.sim.capture = []
    assert telegram.sim.open_link(ANN, link(telegram.sim))
    assert telegram.sim.open_link(ANN, "https://t.me/Codes_Bot")
    assert [update["message"]["text"] for update in telegram.sim.capture] == ["/start otp_abc", "/start"]
    assert telegram.sim.capture[0]["message"]["entities"] == [
        {"type": "bot_command", "offset": 0, "length": 6}
    ]


async def test_telegrams_updates_are_what_aiogram_expects(telegram: TelegramRig) -> None:
    """Every kind of update is one of aiogram's, and their ids grow."""
    sim = telegram.sim
    sim.capture = []
    message_id = await telegram.send("x", BUTTONS["telegram"])
    sim.say(ANN, "hello")
    sim.press(ANN, message_id, 0, 0)
    sim.press_data(ANN, "99999", "old")
    sim.block(ANN)
    sim.unblock(ANN)
    updates = [Update.model_validate(update) for update in sim.capture]
    kinds = ["message", "callback_query", "callback_query", "my_chat_member", "my_chat_member"]
    assert [update.event_type for update in updates] == kinds
    assert [update.update_id for update in updates] == sorted({update.update_id for update in updates})
    old = updates[2].callback_query
    assert old is not None
    assert old.message is not None
    assert old.message.date == 0
    members = [update.my_chat_member for update in updates[3:]]
    assert [member.new_chat_member.status for member in members if member] == ["kicked", "member"]


async def test_telegram_introduces_the_bot_and_takes_its_profile(telegram: TelegramRig) -> None:
    """getMe names the bot; commands and descriptions are accepted per language."""
    me = await telegram.bot.get_me()
    assert me.username == "codes_bot"
    assert await telegram.bot.set_my_commands([BotCommand(command="help", description="Help")])
    assert await telegram.bot.set_my_description("About", language_code="ru")
    assert await telegram.bot.set_my_short_description("About")
    assert telegram.sim.violations == []


async def test_telegram_reports_on_the_webhook(telegram: TelegramRig) -> None:
    """getWebhookInfo tells address, kinds, what waits and the last error."""
    await telegram.register("message")
    telegram.receiver.statuses = [500]
    telegram.sim.say(ANN, "hello")
    await telegram.sim.settled()
    info = await telegram.bot.get_webhook_info()
    assert (info.url, info.allowed_updates, info.pending_update_count) == (HOOK, ["message"], 0)
    assert info.last_error_message == "Wrong response from the webhook: 500"
    await telegram.bot.delete_webhook()
    assert (await telegram.bot.get_webhook_info()).url == ""


async def test_kinds_that_are_not_given_anew_stay(telegram: TelegramRig) -> None:
    """setWebhook without allowed_updates keeps the former ones, an empty address deletes the webhook."""
    await telegram.register("message")
    await telegram.bot.set_webhook(HOOK)
    assert telegram.sim.webhooks[0].update_types == ("message",)
    await telegram.bot.set_webhook("")
    assert telegram.sim.webhooks == []


async def test_updates_wait_for_a_webhook(telegram: TelegramRig) -> None:
    """What happened before setWebhook is delivered then, unless it is to be dropped."""
    telegram.sim.say(ANN, "early")
    await telegram.register()
    await telegram.sim.settled()
    assert [update["message"]["text"] for update in telegram.receiver.updates] == ["early"]
    await telegram.bot.delete_webhook()
    telegram.sim.say(ANN, "dropped")
    await telegram.bot.delete_webhook(drop_pending_updates=True)
    await telegram.bot.set_webhook(HOOK, drop_pending_updates=True)
    await telegram.sim.settled()
    assert len(telegram.receiver.updates) == 1


async def test_updates_can_be_polled_only_without_a_webhook(telegram: TelegramRig) -> None:
    """getUpdates confirms by offset, waits for the next update, and is a conflict beside a webhook."""
    telegram.sim.say(ANN, "one")
    first = (await telegram.bot.get_updates())[0]
    assert await telegram.bot.get_updates(offset=first.update_id + 1) == []
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(telegram.bot.get_updates(offset=first.update_id + 1, timeout=5))
        await telegram.sim.until(lambda: len(telegram.sim.calls) == 2)
        telegram.sim.say(ANN, "two")
    assert [update.message.text for update in poll.result() if update.message] == ["two"]
    await telegram.register()
    with pytest.raises(TelegramConflictError):
        await telegram.bot.get_updates()


async def test_a_withdrawn_webhook_gets_nothing_more(telegram: TelegramRig) -> None:
    """A delivery that is tried again finds the webhook gone."""
    await telegram.register()
    telegram.receiver.statuses = [500]
    telegram.sim.say(ANN, "hello")
    await telegram.sim.until(lambda: bool(telegram.sim.deliveries))
    telegram.sim.webhooks.clear()
    await telegram.sim.settled()
    assert telegram.sim.deliveries[-1].attempts[-1] == "the webhook was removed"


async def test_an_edit_without_keyboard_removes_it_and_a_repeated_one_is_refused(
    telegram: TelegramRig,
) -> None:
    """Telegram's edits replace text and keyboard as a whole; "not modified" is no breach of rules."""
    message_id = int(await telegram.send("x", BUTTONS["telegram"]))
    await telegram.bot.edit_message_reply_markup(chat_id=ANN, message_id=message_id)
    assert telegram.sim.chat(ANN)[-1].buttons == []
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await telegram.edit(str(message_id), "x")
    assert telegram.sim.violations == []


async def test_only_the_bots_own_messages_can_be_edited(telegram: TelegramRig) -> None:
    """Neither the person's message nor one that does not exist."""
    telegram.sim.say(ANN, "mine")
    with pytest.raises(TelegramBadRequest, match="can't be edited"):
        await telegram.edit(telegram.sim.chat(ANN)[-1].id, "x")
    with pytest.raises(TelegramBadRequest, match="message to edit not found"):
        await telegram.edit("99999", "x")


async def test_a_message_can_be_deleted_for_two_days(telegram: TelegramRig) -> None:
    """Then it stays, and one that is gone cannot be deleted again."""
    old = int(await telegram.send("old"))
    telegram.clock.ms += 48 * 3_600_000 + 1
    new = int(await telegram.send("new"))
    assert await telegram.bot.delete_message(ANN, new)
    with pytest.raises(TelegramBadRequest, match="not found"):
        await telegram.bot.delete_message(ANN, new)
    with pytest.raises(TelegramBadRequest, match="can't be deleted"):
        await telegram.bot.delete_message(ANN, old)
    assert texts(telegram.sim) == ["old"]


async def test_a_fault_with_retry_after_is_telegrams_429(telegram: TelegramRig) -> None:
    """The client learns how many seconds to wait."""
    telegram.sim.faults.append(Fault("sendMessage", retry_after=7))
    with pytest.raises(TelegramRetryAfter) as limited:
        await telegram.send("x")
    assert limited.value.retry_after == 7


async def test_an_unknown_callback_cannot_be_answered(telegram: TelegramRig) -> None:
    """Telegram calls such a query too old."""
    with pytest.raises(TelegramBadRequest, match="query is too old"):
        await telegram.popup("12345", "x")


@pytest.mark.parametrize(
    "bad",
    [
        {"text": "x" * 4097},
        {"text": "   "},
        {"text": "<b>x", "parse_mode": "HTML"},
        {"text": "a < b", "parse_mode": "HTML"},
        {"text": "</b>", "parse_mode": "HTML"},
        {"text": "<blink>x</blink>", "parse_mode": "HTML"},
        {"text": "x", "parse_mode": "Markdown"},
        {"text": "x", "entities": [{"type": "code", "offset": 0, "length": 2}]},
        {"text": "🔑", "entities": [{"type": "code", "offset": 1, "length": 1}]},
        {"text": "x", "entities": [{"type": "blinking", "offset": 0, "length": 1}]},
        {"text": "x", "entities": "not JSON"},
        {"text": "x", "unheard_of": 1},
        {"text": "x", "protect_content": "maybe"},
        {"text": "x", "chat_id": "@ann"},
        {"text": 5},
        {"text": "\ud800"},
        {},
    ],
)
async def test_telegram_refuses_a_bad_message(telegram: TelegramRig, bad: dict[str, Any]) -> None:
    """400, nothing sent, and the broken rule stands in the record."""
    answer = await telegram.raw("sendMessage", {"chat_id": ANN, **bad})
    assert answer[0] == 400
    assert answer[1]["description"].startswith("Bad Request: ")
    assert texts(telegram.sim) == []
    assert len(telegram.sim.violations) == 1


@pytest.mark.parametrize(
    "button",
    [
        {"text": "x"},
        {"text": "", "callback_data": "x"},
        {"text": "x", "callback_data": "x", "url": "https://example.test"},
        {"text": "x", "callback_data": ""},
        {"text": "x", "callback_data": "ы" * 33},
        {"text": "x", "copy_text": {"text": ""}},
        {"text": "x", "copy_text": {"text": "x" * 257}},
        {"text": "x", "url": "javascript:alert(1)"},
        {"text": "x", "login_url": {"url": "https://example.test"}},
    ],
)
async def test_telegram_refuses_a_bad_button(telegram: TelegramRig, button: dict[str, Any]) -> None:
    """Each button has a text, exactly one action that the simulator knows, and data within its limits."""
    message = {"chat_id": ANN, "text": "x", "reply_markup": {"inline_keyboard": [[button]]}}
    status, _ = await telegram.raw("sendMessage", message)
    assert status == 400
    assert len(telegram.sim.violations) == 1


@pytest.mark.parametrize(
    "hook",
    [
        {"url": "http://otp.example.test/"},
        {"url": "https://otp.example.test:8080/"},
        {"url": "https://otp.example.test:port/"},
        {"url": HOOK, "secret_token": "with space"},
        {"url": HOOK, "secret_token": "x" * 257},
        {"url": HOOK, "max_connections": 101},
    ],
)
async def test_telegram_refuses_a_bad_webhook(telegram: TelegramRig, hook: dict[str, Any]) -> None:
    """https on four ports, a secret of 256 plain characters."""
    status, _ = await telegram.raw("setWebhook", hook)
    assert status == 400
    assert telegram.sim.webhooks == []


async def test_an_unknown_method_of_telegrams_is_not_found(telegram: TelegramRig) -> None:
    """404, and a breach of rules."""
    with pytest.raises(TelegramNotFound):
        await telegram.bot.get_chat(ANN)
    assert telegram.sim.violations == ["getChat: no such method"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000])
async def test_telegram_refuses_an_unreadable_body(telegram: TelegramRig, body: bytes) -> None:
    """What is no JSON object is 400 and never a crash."""
    status, _ = await telegram.raw("getMe", body)
    assert status == 400


async def test_telegram_takes_multipart_and_query_parameters(telegram: TelegramRig) -> None:
    """The API reads its parameters from wherever they stand; a file is none that it knows."""
    form = aiohttp.FormData({"text": "x"}, default_to_multipart=True)
    upload = aiohttp.FormData()
    upload.add_field("text", b"x", filename="text.txt")
    statuses = []
    async with aiohttp.ClientSession() as session:
        for data in (form, upload):
            url = f"{telegram.url}/bot{TOKEN}/SENDMESSAGE?chat_id={ANN}"
            async with session.post(url, data=data) as answer:
                statuses.append(answer.status)
    assert (statuses, texts(telegram.sim)) == ([200, 400], ["x"])
    assert telegram.sim.calls[0].method == "sendMessage"


async def test_aiograms_own_objects_pass_the_checks(telegram: TelegramRig) -> None:
    """A copy button made with aiogram's types and its legacy field for previews are no breach of rules."""
    copy = InlineKeyboardButton(text="Copy", copy_text=CopyTextButton(text="1234"))
    await telegram.bot.send_message(
        ANN, "x", disable_web_page_preview=True, reply_markup=InlineKeyboardMarkup(inline_keyboard=[[copy]])
    )
    assert telegram.sim.violations == []


async def test_a_keyboard_in_place_of_the_persons_own(telegram: TelegramRig) -> None:
    """It stays until it is used once or removed; a key writes its label, or sends the person's contact."""
    sim = telegram.sim
    rows = [[KeyboardButton(text="Share", request_contact=True), KeyboardButton(text="Skip")]]
    sent = await telegram.bot.send_message(
        ANN, "x", reply_markup=ReplyKeyboardMarkup(keyboard=rows, resize_keyboard=True)
    )
    assert sim.keys(ANN) == [["Share", "Skip"]]
    with pytest.raises(TelegramBadRequest, match="can't be edited"):
        await telegram.edit(str(sent.message_id), "y")
    sim.capture = []
    sim.press_key(ANN, 0, 1)
    sim.press_key(ANN, 0, 0)
    sim.share_contact(ANN, own=False)
    sim.share_contact(ANN, forwarded=True)
    said, own, foreign, forwarded = [Update.model_validate(one).message for one in sim.capture]
    assert said is not None
    assert said.text == "Skip"
    for message, is_own in ((own, True), (foreign, False), (forwarded, True)):
        assert message is not None
        assert message.contact is not None
        assert message.text is None
        assert (message.contact.user_id == ANN) is is_own
        assert message.contact.phone_number.isdigit()
        assert (message.forward_origin is not None) is (message is forwarded)
    await telegram.bot.send_message(ANN, "z", reply_markup=ReplyKeyboardRemove())
    assert sim.keys(ANN) == []
    with pytest.raises(Impossible, match="no such key"):
        sim.press_key(ANN, 0, 0)


@pytest.mark.parametrize(
    "markup",
    [
        {"keyboard": []},
        {"keyboard": [[]]},
        {"keyboard": [[{"text": ""}]]},
        {"keyboard": [[{"text": "x", "request_contact": "yes"}]]},
        {"keyboard": [[{"text": "x", "callback_data": "y"}]]},
        {"remove_keyboard": False},
        {"remove_keyboard": True, "keyboard": [[{"text": "x"}]]},
    ],
)
async def test_a_keyboard_that_telegram_would_not_take(telegram: TelegramRig, markup: Any) -> None:
    """Nor does the simulator, and an edited message takes none at all."""
    body = {"chat_id": ANN, "text": "x", "reply_markup": markup}
    assert (await telegram.raw("sendMessage", body))[0] == 400
    message_id = int(await telegram.send("x"))
    body = {"chat_id": ANN, "message_id": message_id, "text": "y", "reply_markup": {"remove_keyboard": True}}
    assert (await telegram.raw("editMessageText", body))[0] == 400
