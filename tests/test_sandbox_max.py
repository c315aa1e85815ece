"""The simulator of MAX against maxapi, and against what nobody should send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from maxapi.enums.http_method import HTTPMethod
from maxapi.exceptions.max import MaxApiError
from maxapi.types.command import BotCommand
from maxapi.types.updates import UpdateUnionAdapter

from tests.test_sandbox_rigs import ANN, BUTTONS, HOOK, SECRET, TOKEN, MaxRig, keyboard, link, max_rig, texts


@pytest.fixture
async def max_() -> AsyncIterator[MaxRig]:
    async with max_rig() as rig:
        yield rig


async def test_a_link_starts_the_max_bot_only_once_until_it_is_stopped(max_: MaxRig) -> None:
    """In an active dialog a link sends nothing; after a stop it starts the bot again, with its payload."""
    sim = max_.sim
    sim.capture = []
    assert not sim.open_link(ANN, link(sim))
    assert sim.capture == []
    sim.block(ANN)
    assert sim.open_link(ANN, link(sim, "otp_new"))
    sim.block(ANN)
    sim.unblock(ANN)
    kinds = [update["update_type"] for update in sim.capture]
    assert kinds == ["bot_stopped", "bot_started", "bot_stopped", "bot_started"]
    assert [update.get("payload") for update in sim.capture] == [None, "otp_new", None, None]


async def test_maxs_updates_are_what_maxapi_expects(max_: MaxRig) -> None:
    """Every kind of update is one of maxapi's; `seq` is too large for a double."""
    sim = max_.sim
    sim.capture = []
    message_id = await max_.send("x", BUTTONS["max"])
    sim.say(ANN, "hello")
    sim.press(ANN, message_id, 0, 0)
    sim.press_data(ANN, "mid.gone", "old")
    sim.remove_dialog(ANN)
    sim.open_link(ANN, link(sim))
    events = [UpdateUnionAdapter.validate_python(update) for update in sim.capture]
    assert [event.update_type.value for event in events] == [
        "message_created",
        "message_callback",
        "message_callback",
        "bot_stopped",
        "dialog_removed",
        "bot_started",
    ]
    assert sim.capture[0]["message"]["body"]["seq"] > 2**53
    assert sim.capture[2]["message"] is None
    assert sim.chat(ANN) == []


async def test_max_introduces_the_bot_and_takes_its_commands(max_: MaxRig) -> None:
    """/me names the bot and the commands it was given."""
    await max_.bot.set_commands(BotCommand(name="help", description="Help"))
    me = await max_.call(HTTPMethod.GET, "/me")
    assert (me["username"], me["commands"]) == ("codes_bot", [{"name": "help", "description": "Help"}])
    assert (await max_.bot.get_me()).is_bot


async def test_maxs_subscriptions_are_a_list(max_: MaxRig) -> None:
    """Another address is added and gets every update too; the same address is renewed; each can go."""
    await max_.register()
    await max_.register("message_created")
    await max_.bot.subscribe_webhook(HOOK + "?second", secret=SECRET)
    max_.sim.say(ANN, "hello")
    await max_.sim.settled()
    assert len(max_.receiver.updates) == 2
    listed = (await max_.bot.get_subscriptions()).subscriptions
    assert [known.url for known in listed] == [HOOK, HOOK + "?second"]
    assert (await max_.bot.unsubscribe_webhook(HOOK)).success
    assert not (await max_.bot.unsubscribe_webhook(HOOK)).success
    assert [known.url for known in max_.sim.webhooks] == [HOOK + "?second"]


async def test_max_takes_nothing_but_200_for_an_acknowledgement(max_: MaxRig) -> None:
    """A 204, good enough for Telegram, is delivered again."""
    await max_.register()
    max_.receiver.statuses = [204]
    max_.sim.say(ANN, "hello")
    await max_.sim.settled()
    assert max_.sim.deliveries[-1].attempts == [204, 200]


async def test_an_edit_in_max_keeps_what_it_leaves_out(max_: MaxRig) -> None:
    """Without attachments the keyboard stays, with an empty list it goes, without text the text stays."""
    message_id = await max_.send("<code>1</code>", BUTTONS["max"])
    await max_.edit(message_id, "2")
    assert len(max_.sim.chat(ANN)[-1].buttons) == 1
    await max_.call(HTTPMethod.PUT, "/messages", {"attachments": []}, message_id=message_id)
    shown = max_.sim.chat(ANN)[-1]
    assert (shown.text, shown.buttons, shown.code_spans) == ("2", [], [])


async def test_an_answer_in_max_edits_the_message_it_is_about(max_: MaxRig) -> None:
    """Message and notification may come together; an answer with neither breaks a rule."""
    max_.sim.capture = []
    message_id = await max_.send("question", BUTTONS["max"])
    max_.sim.press(ANN, message_id, 0, 0)
    callback_id = max_.pressed(max_.sim.capture[0])["id"]
    body = {"message": {"text": "outcome", "attachments": []}, "notification": "done"}
    await max_.call(HTTPMethod.POST, "/answers", body, callback_id=callback_id)
    assert (texts(max_.sim), max_.sim.popups(ANN)) == (["outcome"], ["done"])
    with pytest.raises(MaxApiError):
        await max_.call(HTTPMethod.POST, "/answers", {}, callback_id=callback_id)
    assert len(max_.sim.violations) == 1
    with pytest.raises(MaxApiError, match=r"callback\.not\.found"):
        await max_.popup("unknown", "x")


async def test_a_message_in_max_can_be_read_and_deleted(max_: MaxRig) -> None:
    """With the markup and keyboard that it was sent with, until it is gone."""
    message_id = await max_.send("🔑 <code>1234</code>", BUTTONS["max"])
    body = (await max_.call(HTTPMethod.GET, f"/messages/{message_id}"))["body"]
    assert body["markup"] == [{"type": "monospaced", "from": 3, "length": 4}]
    assert body["attachments"] == keyboard(BUTTONS["max"])
    await max_.call(HTTPMethod.DELETE, "/messages", message_id=message_id)
    with pytest.raises(MaxApiError, match=r"message\.not\.found"):
        await max_.call(HTTPMethod.GET, f"/messages/{message_id}")
    assert texts(max_.sim) == []


async def test_the_persons_messages_in_max_cannot_be_edited(max_: MaxRig) -> None:
    """They are not the bot's."""
    max_.sim.say(ANN, "mine")
    with pytest.raises(MaxApiError, match=r"access\.denied"):
        await max_.edit(max_.sim.chat(ANN)[-1].id, "x")


async def test_maxs_updates_can_be_polled_only_without_a_subscription(max_: MaxRig) -> None:
    """GET /updates goes on from its marker, waits for the next update, and is refused beside a webhook."""
    max_.sim.say(ANN, "one")
    first = await max_.call(HTTPMethod.GET, "/updates")
    again = await max_.call(HTTPMethod.GET, "/updates", timeout=0, types="bot_started")
    assert (len(first["updates"]), again["updates"]) == (1, [])
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(max_.call(HTTPMethod.GET, "/updates", marker=first["marker"], timeout=5))
        await max_.sim.until(lambda: len(max_.sim.calls) == 3)
        max_.sim.say(ANN, "two")
    assert [update["message"]["body"]["text"] for update in poll.result()["updates"]] == ["two"]
    await max_.register()
    with pytest.raises(MaxApiError):
        await max_.call(HTTPMethod.GET, "/updates")


@pytest.mark.parametrize(
    "bad",
    [
        {"text": "x" * 4001},
        {"text": "  "},
        {"text": 5},
        {"text": "<b>x", "format": "html"},
        {"text": "<h9>x</h9>", "format": "html"},
        {"text": "x", "format": "markdown"},
        {"text": "x", "unheard_of": 1},
        {"text": "x", "notify": 1},
        {"text": "x", "attachments": [{"type": "image", "payload": {}}]},
        {"text": "x", "attachments": keyboard([])},
        {"text": "x", "attachments": keyboard()},
        {"text": "x", "attachments": keyboard(BUTTONS["max"] * 2)},
        {"text": "x", "attachments": keyboard(*[BUTTONS["max"]] * 31)},
        {"text": "x", "attachments": keyboard(*[[BUTTONS["max"][0]] * 8])},
        {"text": "x", "attachments": keyboard([{"type": "callback", "text": "x" * 129, "payload": "x"}])},
        {"text": "x", "attachments": keyboard([{"type": "callback", "text": "x", "payload": "x" * 1025}])},
        {"text": "x", "attachments": keyboard([{"type": "callback", "text": "x"}])},
        {"text": "x", "attachments": keyboard([{**BUTTONS["max"][0], "intent": "default"}])},
        {"text": "x", "attachments": keyboard([{"type": "message", "text": "x"}])},
        [],
    ],
)
async def test_max_refuses_a_bad_message(max_: MaxRig, bad: Any) -> None:
    """400 proto.payload, nothing sent, and the broken rule stands in the record."""
    with pytest.raises(MaxApiError, match=r"proto\.payload"):
        await max_.call(HTTPMethod.POST, "/messages", bad, user_id=ANN)
    assert texts(max_.sim) == []
    assert len(max_.sim.violations) == 1


async def test_max_sends_only_to_a_user_id(max_: MaxRig) -> None:
    """A missing recipient, a chat id and a word are all refused."""
    for query in ({}, {"chat_id": 5}, {"user_id": "ann"}):
        with pytest.raises(MaxApiError, match=r"proto\.payload"):
            await max_.call(HTTPMethod.POST, "/messages", {"text": "x"}, **query)


@pytest.mark.parametrize(
    "bad",
    [
        {"url": "http://otp.example.test/"},
        {"url": "https://otp.example.test:8443/"},
        {"url": "https://otp.example.test:port/"},
        {"url": "https://:443/"},
        {"url": HOOK, "secret": "1234"},
        {"url": HOOK, "secret": "пароль"},
        {"url": HOOK, "update_types": ["unheard_of"]},
        {},
    ],
)
async def test_max_refuses_a_bad_subscription(max_: MaxRig, bad: dict[str, Any]) -> None:
    """https on port 443, a secret of 5 to 256 plain characters, known kinds of updates."""
    with pytest.raises(MaxApiError, match=r"proto\.payload"):
        await max_.call(HTTPMethod.POST, "/subscriptions", bad)
    assert max_.sim.webhooks == []


async def test_max_knows_no_other_calls_and_no_broken_json(max_: MaxRig) -> None:
    """404 for an unknown call, 400 for a body that is no JSON, 401 without a token."""
    with pytest.raises(MaxApiError, match=r"not\.found"):
        await max_.call(HTTPMethod.GET, "/chats")
    assert max_.sim.violations == ["GET /chats: no such call"]
    status, _ = await max_.raw(f"/messages?user_id={ANN}", b"{", Authorization=TOKEN)
    assert status == 400
    status, _ = await max_.raw(f"/messages?user_id={ANN}", b"{}")
    assert status == 401
