"""Telegram's updates as our events, and aiogram's errors as our outcomes. Nothing is sent anywhere but to this machine."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    RestartingTelegram,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramConflictError,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramMigrateToChat,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramServerError,
    TelegramUnauthorizedError,
)
from aiogram.methods import SendMessage
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from bot.events import LARGEST_ID, Left, Opened, Pressed, Said, SharedContact
from bot.messages import Message
from bot.telegram import TelegramSkin, outcome_of, parse
from otp.model import Channel, Person, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from otp.taps import Update
from tests.updates import ANY, GONE, NO_TEXT, TEXTS, body, changed

ME = 4_815_162_342
WHO = {"id": ME, "is_bot": False, "first_name": "Ада", "username": "ada", "language_code": "ru"}
CHAT = {"id": ME, "type": "private", "first_name": "Ада", "username": "ada"}
BOT = {"id": 90_210, "is_bot": True, "first_name": "Codes", "username": "codes_bot"}

MESSAGE: dict[str, Any] = {
    "update_id": 70_001,
    "message": {
        "message_id": 12,
        "from": WHO,
        "chat": CHAT,
        "date": 1_800_000_000,
        "text": "/start otp_Ab3dEf6hIj9lMn2p",
        "entities": [{"type": "bot_command", "offset": 0, "length": 6}],
    },
}
PRESS: dict[str, Any] = {
    "update_id": 70_002,
    "callback_query": {
        "id": "20681234567890",
        "from": WHO,
        "message": {"message_id": 13, "from": BOT, "chat": CHAT, "date": 1_800_000_001, "text": "Shop"},
        "chat_instance": "-77",
        "data": "yes:Ab3dEf6hIj9lMn2p",
    },
}
BLOCKED: dict[str, Any] = {
    "update_id": 70_003,
    "my_chat_member": {
        "chat": CHAT,
        "from": WHO,
        "date": 1_800_000_002,
        "old_chat_member": {"user": BOT, "status": "member"},
        "new_chat_member": {"user": BOT, "status": "kicked", "until_date": 0},
    },
}
CONTACT: dict[str, Any] = {
    "update_id": 70_004,
    "message": {
        "message_id": 14,
        "from": WHO,
        "chat": CHAT,
        "date": 1_800_000_003,
        "reply_to_message": {
            "message_id": 13,
            "from": BOT,
            "chat": CHAT,
            "date": 1_800_000_002,
            "text": "Shop",
        },
        "contact": {
            "phone_number": "12025550142",
            "first_name": "Ада",
            "user_id": ME,
            "vcard": "BEGIN:VCARD",
        },
    },
}
KINDS = {"message": MESSAGE, "callback_query": PRESS, "my_chat_member": BLOCKED}
PERSON = Person(Channel.TELEGRAM, ME)


def key(raw: bytes) -> str:
    """The key of an update that is of use."""
    event = parse(raw)
    assert event is not None
    return event.update.key


# ------------------------------------------------------------------ what is of use


def test_a_message_is_said():
    """With its text, who wrote it, in which language."""
    assert parse(body(MESSAGE)) == Said(Update("telegram:70001", PERSON, "ru"), "/start otp_Ab3dEf6hIj9lMn2p")


def test_a_press_is_pressed():
    """With what is needed to answer it and to find its message."""
    assert parse(body(PRESS)) == Pressed(
        Update("telegram:70002", PERSON, "ru"), "20681234567890", "13", "yes:Ab3dEf6hIj9lMn2p"
    )


def test_a_block_is_left():
    """The person is gone."""
    assert parse(body(BLOCKED)) == Left(Update("telegram:70003", PERSON, "ru"))


@pytest.mark.parametrize(
    "date, sent_at",
    [(1_800_000_000, 1_800_000_000_000), (GONE, None), (0, None), (-1, None), (True, None), ("1", None), (10**30, None)],
    ids=repr,
)  # fmt: skip
def test_the_time_of_a_message_is_the_messengers(date: Any, sent_at: int | None):
    """In milliseconds; when a button was pressed is not told."""
    event = parse(changed(MESSAGE, "message.date", date))
    assert event is not None
    assert event.update.sent_at == sent_at
    pressed = parse(body(PRESS))
    assert pressed is not None
    assert pressed.update.sent_at is None


def test_a_contact_is_shared():
    """Its number, and that it is the sender's own; nothing else of it."""
    assert parse(body(CONTACT)) == SharedContact(
        Update("telegram:70004", PERSON, "ru"), "12025550142", own=True
    )
    assert "12025550142" not in repr(parse(body(CONTACT)))


@pytest.mark.parametrize(
    "path, value",
    [
        ("message.contact.user_id", ME + 1),
        ("message.contact.user_id", GONE),
        ("message.contact.user_id", str(ME)),
        ("message.contact.user_id", None),
        ("message.contact.user_id", True),
        ("message.forward_origin", {"type": "user", "sender_user": WHO, "date": 1_800_000_000}),
        ("message.forward_origin", None),
        ("message.forward_from", WHO),
        ("message.forward_date", 1_800_000_000),
        ("message.via_bot", BOT),
    ],
)
def test_what_is_not_their_own(path: str, value: Any):
    """Somebody else's, one of nobody known, one that was forwarded or made by another bot."""
    event = parse(changed(CONTACT, path, value))
    assert isinstance(event, SharedContact)
    assert not event.own


@pytest.mark.parametrize("number", NO_TEXT, ids=repr)
def test_a_contact_without_a_number(number: Any):
    """It is one all the same, with none."""
    event = parse(changed(CONTACT, "message.contact.phone_number", number))
    assert isinstance(event, SharedContact)
    assert event.number == ""


@pytest.mark.parametrize("contact", [None, "12025550142", 7, []])
def test_what_is_no_contact_is_said(contact: Any):
    """As anything else without a text."""
    assert parse(changed(CONTACT, "message.contact", contact)) == Said(
        Update("telegram:70004", PERSON, "ru"), ""
    )


@pytest.mark.parametrize("text", NO_TEXT, ids=repr)
def test_a_message_without_text_says_nothing(text: Any):
    """A photo or a sticker is answered as anything else."""
    event = parse(changed(MESSAGE, "message.text", text))
    assert isinstance(event, Said)
    assert event.text == ""


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:9]))
def test_any_text_comes_through(text: str):
    """NUL, halves of characters and markup are text like any other here."""
    event = parse(changed(MESSAGE, "message.text", text))
    assert isinstance(event, Said)
    assert event.text == text


@pytest.mark.parametrize(
    "sent, language",
    [("en-US", "en-us"), ("RU", "ru"), ("zh-hans", "zh-hans"), (GONE, ""), (None, ""), (7, ""), (["ru"], ""), ("", ""),
     ("x", ""), ("ru\n", ""), ("../../ru", ""), ("рус", ""), ("r" * 40, ""), ("ru\x00", "")],
    ids=repr,
)  # fmt: skip
def test_only_a_language_tag_is_a_language(sent: Any, language: str):
    """What is stored as a language is a short tag in lower case, or nothing."""
    event = parse(changed(MESSAGE, "message.from.language_code", sent))
    assert event is not None
    assert event.update.language == language


@pytest.mark.parametrize(
    "path, value",
    [("message_id", 0), ("message_id", -1), ("message_id", "13"), ("message_id", True), ("message_id", GONE)],
    ids=repr,
)
def test_a_press_on_an_inaccessible_message_still_counts(path: str, value: Any):
    """It is answered; only its message can't be brought up to date."""
    event = parse(changed(PRESS, f"callback_query.message.{path}", value))
    assert isinstance(event, Pressed)
    assert event.message_id is None


@pytest.mark.parametrize("data", [GONE, None, 5, {}], ids=repr)
def test_a_press_without_data_is_a_press(data: Any):
    """It is answered like every button that means nothing."""
    event = parse(changed(PRESS, "callback_query.data", data))
    assert isinstance(event, Pressed)
    assert event.data == ""


def test_unknown_fields_do_no_harm():
    """A newer Bot API may send more."""
    raw = changed(MESSAGE, "message.something_new", {"deep": [1, {"x": None}]})
    assert parse(raw) == parse(body(MESSAGE))


@pytest.mark.parametrize("user_id", [1, 2**31, 2**52, LARGEST_ID])
def test_large_ids_are_kept_exactly(user_id: int):
    """More than 32 bits, more than a double."""
    made = copy.deepcopy(MESSAGE)
    made["message"]["from"]["id"] = made["message"]["chat"]["id"] = user_id
    event = parse(body(made))
    assert event is not None
    assert event.update.person.user_id == user_id


# ------------------------------------------------------------------ what is of none

CHAT_OF = {
    "message": "message.chat",
    "callback_query": "callback_query.message.chat",
    "my_chat_member": "my_chat_member.chat",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "chat_type",
    ["group", "supergroup", "channel", "sender", "PRIVATE", "", None, 1, ["private"], GONE],
    ids=repr,
)
def test_outside_a_private_dialog_nothing_happens(kind: str, chat_type: Any):
    """No group, no channel, and nothing that says nothing of itself."""
    assert parse(changed(KINDS[kind], f"{CHAT_OF[kind]}.type", chat_type)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_somebody_elses_private_dialog_is_none_of_ours(kind: str):
    """The chat's id is the sender's own."""
    assert parse(changed(KINDS[kind], f"{CHAT_OF[kind]}.id", ME + 1)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_bot", [True, GONE, None, 0, "false"], ids=repr)
def test_a_bot_is_no_person(kind: str, is_bot: Any):
    """Only who is certainly no bot is a person."""
    assert parse(changed(KINDS[kind], f"{kind}.from.is_bot", is_bot)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "user_id",
    [0, -5, LARGEST_ID + 1, 10**30, "4815162342", 4815162342.0, True, None, [ME], {}, GONE],
    ids=repr,
)
def test_an_id_that_is_none_is_refused(kind: str, user_id: Any):
    """A person is a positive number that a database can hold, and not a text that looks like one."""
    raw = changed(KINDS[kind], f"{kind}.from.id", user_id)
    assert parse(raw) is None
    assert (
        parse(changed(json.loads(raw), f"{CHAT_OF[kind]}.id", None if user_id is GONE else user_id)) is None
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("update_id", [0, -1, "70001", 70001.0, True, None, 10**30, GONE], ids=repr)
def test_an_update_without_its_id_is_dropped(kind: str, update_id: Any):
    """It could not be told from its own redelivery."""
    assert parse(changed(KINDS[kind], "update_id", update_id)) is None


@pytest.mark.parametrize(
    "kind, path",
    [("message", "message"), ("message", "message.from"), ("message", "message.chat"),
     ("callback_query", "callback_query"), ("callback_query", "callback_query.from"),
     ("callback_query", "callback_query.message"), ("callback_query", "callback_query.message.chat"),
     ("callback_query", "callback_query.id"), ("my_chat_member", "my_chat_member"),
     ("my_chat_member", "my_chat_member.from"), ("my_chat_member", "my_chat_member.chat"),
     ("my_chat_member", "my_chat_member.new_chat_member"), ("my_chat_member", "my_chat_member.new_chat_member.status")],
)  # fmt: skip
def test_what_is_missing_or_of_a_wrong_type_is_dropped(kind: str, path: str):
    """Every part that is needed, with every kind of thing in its place."""
    values: list[Any] = [GONE, None, 5, True, [], [{}], {}, 1.5, [[]]]
    assert [value for value in values if parse(changed(KINDS[kind], path, value)) is not None] == []


@pytest.mark.parametrize("status", ["member", "creator", "administrator", "restricted", "left", "", "Kicked"])
def test_only_a_block_is_a_leaving(status: str):
    """An unblock does not subscribe anybody again."""
    assert parse(changed(BLOCKED, "my_chat_member.new_chat_member.status", status)) is None


@pytest.mark.parametrize(
    "kind",
    ["edited_message", "channel_post", "business_message", "inline_query", "poll", "chat_member", "message_reaction",
     "pre_checkout_query", "something_new"],
)  # fmt: skip
def test_other_kinds_of_updates_are_dropped(kind: str):
    """They were not asked for, and mean nothing here."""
    assert parse(body({"update_id": 5, kind: MESSAGE["message"]})) is None


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"{}", b"[]", b"null", b'"x"', b"5", b"not json", body(MESSAGE)[:-1], body(MESSAGE) + b"x",
     b"\xef\xbb\xbf" + body(MESSAGE), body(MESSAGE).decode().encode("utf-16"), b"\xff\xfe\x00", b'{"update_id": "\xff"}',
     b"[" * 100_000, b'{"message":' * 50_000, b'{"update_id": ' + b"1" * 5000 + b"}", b'{"update_id": 1e999}',
     b'{"update_id": NaN}', b"\x00", b'{"update_id": 1, "message": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    ids=lambda raw: repr(raw[:16]) + str(len(raw)),
)  # fmt: skip
def test_a_body_that_is_no_update_is_dropped(raw: bytes):
    """Not JSON, not UTF-8, no object, too deep, too long: nothing is raised."""
    assert parse(raw) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY, max_size=8)
    | st.sampled_from(["private", "kicked", ME, CHAT, WHO, BOT]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["update_id", "message", "callback_query", "my_chat_member", "from", "chat", "id", "is_bot",
                         "type", "text", "data", "message_id", "new_chat_member", "status", "language_code"]),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip
PATHS = [
    "update_id", "message", "message.from", "message.from.id", "message.chat", "message.chat.type", "message.text",
    "callback_query", "callback_query.id", "callback_query.message", "callback_query.message.message_id",
    "callback_query.data", "my_chat_member.from", "my_chat_member.new_chat_member", "my_chat_member.chat.id",
]  # fmt: skip


@given(JSON)
def test_any_json_is_parsed_or_dropped(value: Any):
    """Nothing that a body can hold raises."""
    assert parse(json.dumps(value).encode()) is None or isinstance(value, dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_dropped(raw: bytes):
    """Noise is no update."""
    assert parse(raw) is None


@given(st.sampled_from(PATHS), JSON)
def test_one_strange_part_never_raises(path: str, value: Any):
    """A real update with anything at one place: an event about a private dialog, or nothing."""
    event = parse(changed(KINDS[path.split(".", maxsplit=1)[0] if "." in path else "message"], path, value))
    assert event is None or (not isinstance(event, Opened) and 0 < event.update.person.user_id <= LARGEST_ID)


# ------------------------------------------------------------------ keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_redelivery_has_the_same_key(kind: str):
    """The same update is known again, whatever the order of its fields."""
    again = dict(reversed(KINDS[kind].items()))
    assert key(body(KINDS[kind])) == key(body(again))


@pytest.mark.parametrize("kind", KINDS)
def test_another_update_has_another_key(kind: str):
    """The same words once more are a new act."""
    assert key(body(KINDS[kind])) != key(changed(KINDS[kind], "update_id", 80_000))


# ------------------------------------------------------------------ outcomes

METHOD = SendMessage(chat_id=ME, text="314159")


def caused(error: Exception, cause: BaseException) -> Exception:
    """An error with its cause, as `raise ... from` leaves it."""
    error.__cause__ = cause
    return error


def network(cause: BaseException | None = None) -> Exception:
    """What the session raises when there is no answer."""
    error = TelegramNetworkError(method=METHOD, message="x")
    return error if cause is None else caused(error, cause)


def connector_error(cls: type[aiohttp.ClientConnectorError] = aiohttp.ClientConnectorError) -> Exception:
    """A connection that never came about."""
    return cls(None, OSError(111, "refused"))  # type: ignore[arg-type]


OUTCOMES: dict[str, tuple[Exception, Outcome]] = {
    "flood": (TelegramRetryAfter(METHOD, "x", 7), NotSent(7_000, answered=True)),
    "blocked": (
        TelegramForbiddenError(METHOD, "Forbidden: bot was blocked by the user"),
        Refused(Refusal.GONE),
    ),
    "deactivated": (TelegramForbiddenError(METHOD, "Forbidden: user is deactivated"), Refused(Refusal.GONE)),
    "never started": (
        TelegramForbiddenError(METHOD, "Forbidden: bot can't initiate conversation"),
        Refused(Refusal.GONE),
    ),
    "no chat": (TelegramBadRequest(METHOD, "Bad Request: chat not found"), Refused(Refusal.GONE)),
    "no chat, loud": (TelegramBadRequest(METHOD, "Bad Request: CHAT NOT FOUND"), Refused(Refusal.GONE)),
    "bad text": (TelegramBadRequest(METHOD, "Bad Request: message text is empty"), Refused(Refusal.REJECTED)),
    "no such bot": (TelegramNotFound(METHOD, "Not Found"), Refused(Refusal.REJECTED, unauthorized=True)),
    "bad token": (
        TelegramUnauthorizedError(METHOD, "Unauthorized"),
        Refused(Refusal.REJECTED, unauthorized=True),
    ),
    "conflict": (TelegramConflictError(METHOD, "Conflict"), Refused(Refusal.REJECTED)),
    "migrated": (TelegramMigrateToChat(METHOD, "x", -100), Refused(Refusal.REJECTED)),
    "500": (TelegramServerError(METHOD, "Internal Server Error"), Unknown()),
    "restarting": (RestartingTelegram(METHOD, "restart"), Unknown()),
    "another status": (TelegramAPIError(METHOD, "Moved"), Unknown()),
    "unreadable": (ClientDecodeError("x", ValueError("x"), "<html>"), Unknown()),
    "another error of aiogram": (AiogramError("x"), Unknown()),
    "a value error": (ValueError("x"), Unknown()),
    "no answer": (network(), Unknown()),
    "timeout": (network(TimeoutError()), Unknown()),
    "read timeout": (network(aiohttp.SocketTimeoutError()), Unknown()),
    "dropped": (network(aiohttp.ServerDisconnectedError()), Unknown()),
    "reset": (network(aiohttp.ClientOSError(104, "reset")), Unknown()),
    "cut answer": (network(aiohttp.ClientPayloadError("cut")), Unknown()),
    "bad encoding": (network(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")), Unknown()),
    "refused connection": (network(connector_error()), NotSent()),
    "DNS": (network(connector_error(aiohttp.ClientConnectorDNSError)), NotSent()),
    "proxy": (network(connector_error(aiohttp.ClientProxyConnectionError)), NotSent()),
    "TLS": (network(connector_error(aiohttp.ClientConnectorSSLError)), NotSent()),
    "connect timeout": (network(aiohttp.ConnectionTimeoutError()), NotSent()),
}


@pytest.mark.parametrize("error, outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_an_error_means(error: Exception, outcome: Outcome):
    """Certainly refused, certainly not sent, or unknown: never more certain than it is."""
    got = outcome_of(error)
    assert got == outcome
    token = isinstance(got, Refused) and got.unauthorized
    assert token is isinstance(error, (TelegramUnauthorizedError, TelegramNotFound))


def test_a_message_that_is_too_large_is_refused():
    """413 is an answer: the message certainly did not arrive."""
    assert outcome_of(TelegramEntityTooLarge(METHOD, "Request Entity Too Large")) == Refused(Refusal.REJECTED)


# ------------------------------------------------------------------ outcomes of real answers

Sender = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def send() -> AsyncIterator[Sender]:
    """Sends a message to a server of this machine that gives one prepared answer."""
    answers: list[web.Response] = []
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(request.path)
        return answers[0]

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    skin = TelegramSkin("42:AAbbCCddEE", f"http://{host}:{port}")

    async def one(status: int, text: str, **headers: str) -> Outcome:
        answers[:] = [
            web.Response(status=status, body=text.encode("utf-8", "surrogateescape"), headers=headers)
        ]
        outcome = await skin.send(ME, Message("x"), 5_000)
        assert len(asked) == 1, "exactly one attempt"
        return outcome

    yield one
    await skin.close()
    await runner.cleanup()


SENT = '{"ok": true, "result": {"message_id": 77, "date": 1800000000, "chat": {"id": 4815162342, "type": "private"}}}'


async def test_an_accepted_message_has_its_id(send: Sender):
    """What is needed to edit it later."""
    assert await send(200, SENT) == Accepted("77")


@pytest.mark.parametrize(
    "status, text, outcome",
    [
        (
            429,
            '{"ok": false, "description": "x", "parameters": {"retry_after": 3}}',
            NotSent(3_000, answered=True),
        ),
        (
            403,
            '{"ok": false, "description": "Forbidden: bot was blocked by the user"}',
            Refused(Refusal.GONE),
        ),
        (400, '{"ok": false, "description": "Bad Request: chat not found"}', Refused(Refusal.GONE)),
        (401, '{"ok": false, "description": "Unauthorized"}', Refused(Refusal.REJECTED, unauthorized=True)),
        (500, '{"ok": false, "description": "Internal"}', Unknown()),
        (502, "<html>Bad Gateway</html>", Unknown()),
        (200, "<html>Welcome</html>", Unknown()),
        (200, "", Unknown()),
        (200, SENT[:-5], Unknown()),
        (200, "\udcff\udcfe", Unknown()),
        (200, "[" * 50_000, Unknown()),
        (200, '{"ok": true, "result": {"message_id": "x"}}', Unknown()),
        (200, '{"ok": false}', Unknown()),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_answer_means(send: Sender, status: int, text: str, outcome: Outcome):
    """From the wire to the outcome, in exactly one attempt."""
    assert await send(status, text) == outcome


@pytest.mark.parametrize(
    "status, text, outcome",
    [
        (200, '{"ok": true}', Unknown()),
        (200, '{"ok": true, "result": null}', Unknown()),
        (400, '{"ok": false}', Refused(Refusal.REJECTED)),
        (500, '{"ok": false}', Unknown()),
    ],
)
async def test_a_bare_answer_does_not_raise(send: Sender, status: int, text: str, outcome: Outcome):
    """`send` never raises for what the messenger does."""
    assert await send(status, text) == outcome


async def test_a_flood_without_a_time_is_not_sent_either(send: Sender):
    """429 says for certain that nothing was sent."""
    assert await send(429, '{"ok": false, "error_code": 429, "description": "Too Many Requests"}') == NotSent(
        answered=True
    )


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(send: Sender, status: int):
    """It would carry the token and the code to wherever it points."""
    assert await send(status, "", Location="/elsewhere") == Unknown()


async def test_a_closed_port_is_not_sent():
    """Nobody listens: certainly nothing was sent."""
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    skin = TelegramSkin("42:AAbbCCddEE", f"http://127.0.0.1:{port}")
    assert await skin.send(ME, Message("x"), 5_000) == NotSent()
    await skin.close()


async def test_a_dropped_connection_is_unknown():
    """The request may have been read."""

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    skin = TelegramSkin("42:AAbbCCddEE", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await skin.send(ME, Message("x"), 5_000) == Unknown()
    await skin.close()
    server.close()
    await server.wait_closed()
