"""MAX's updates as our events, and maxapi's errors as our outcomes. Nothing is sent anywhere but to this machine."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st
from maxapi.exceptions import InvalidToken, MaxApiError, MaxConnection, MaxError

from bot.events import LARGEST_ID, Left, Opened, Pressed, Said
from bot.max import MaxSkin, outcome_of, parse
from bot.messages import Message
from otp.model import Channel, Person, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from tests.updates import ANY, GONE, NO_TEXT, TEXTS, body, changed

ME = 4_815_162
WHO = {
    "user_id": ME,
    "first_name": "Ада",
    "last_name": "Л",
    "is_bot": False,
    "last_activity_time": 1_800_000_000_000,
}
BOT = {
    "user_id": 90_210,
    "first_name": "Codes",
    "username": "id7700_bot",
    "is_bot": True,
    "last_activity_time": 1,
}
PERSON = Person(Channel.MAX, ME)

STARTED: dict[str, Any] = {
    "update_type": "bot_started",
    "timestamp": 1_800_000_000_001,
    "chat_id": 5_551,
    "user": WHO,
    "payload": "otp_Ab3dEf6hIj9lMn2p",
    "user_locale": "ru",
}
CREATED: dict[str, Any] = {
    "update_type": "message_created",
    "timestamp": 1_800_000_000_002,
    "message": {
        "recipient": {"chat_id": 5_551, "chat_type": "dialog", "user_id": 90_210},
        "timestamp": 1_800_000_000_002,
        "body": {"mid": "mid.00aa11", "seq": 116_000_000_000_000_001, "text": "otp_Ab3dEf6hIj9lMn2p"},
        "sender": WHO,
    },
    "user_locale": "ru",
}
PRESSED: dict[str, Any] = {
    "update_type": "message_callback",
    "timestamp": 1_800_000_000_003,
    "callback": {"timestamp": 1, "callback_id": "cb-Zz9_", "user": WHO, "payload": "yes:Ab3dEf6hIj9lMn2p"},
    "message": {
        "recipient": {"chat_id": 5_551, "chat_type": "dialog", "user_id": ME},
        "timestamp": 1_800_000_000_000,
        "body": {"mid": "mid.00bb22", "seq": 116_000_000_000_000_000, "text": "Shop"},
        "sender": BOT,
    },
    "user_locale": "ru",
}
STOPPED: dict[str, Any] = {
    "update_type": "bot_stopped", "timestamp": 1_800_000_000_004, "chat_id": 5_551, "user": WHO, "user_locale": "ru",
}  # fmt: skip
REMOVED: dict[str, Any] = {**STOPPED, "update_type": "dialog_removed"}
KINDS = {str(one["update_type"]): one for one in (STARTED, CREATED, PRESSED, STOPPED, REMOVED)}
USER = {"bot_started": "user", "message_created": "message.sender", "message_callback": "callback.user",
        "bot_stopped": "user", "dialog_removed": "user"}  # fmt: skip


def key(raw: bytes) -> str:
    """The key of an update that is of use."""
    event = parse(raw)
    assert event is not None
    return event.update.key


# ------------------------------------------------------------------ what is of use


def test_a_start_is_opened():
    """With the link's payload, who it was, in which language."""
    event = parse(body(STARTED))
    assert isinstance(event, Opened)
    assert (event.update.person, event.update.language, event.payload) == (
        PERSON,
        "ru",
        "otp_Ab3dEf6hIj9lMn2p",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_time_of_an_update_is_the_messengers(kind: str):
    """In milliseconds, where there is one; that of a press is not that of the message."""
    event = parse(body(KINDS[kind]))
    assert event is not None
    assert event.update.sent_at == KINDS[kind]["timestamp"]
    event = parse(changed(KINDS[kind], "timestamp", "soon"))
    assert event is not None
    assert event.update.sent_at is None


@pytest.mark.parametrize("payload", [GONE, None, 5, {}, ""], ids=repr)
def test_a_start_without_payload_is_opened_too(payload: Any):
    """It is answered with the help."""
    event = parse(changed(STARTED, "payload", payload))
    assert isinstance(event, Opened)
    assert event.payload == ""


def test_a_message_is_said():
    """By its sender, whoever the recipient is."""
    event = parse(body(CREATED))
    assert isinstance(event, Said)
    assert (event.update.person, event.update.language, event.text) == (PERSON, "ru", "otp_Ab3dEf6hIj9lMn2p")


def test_a_press_is_pressed():
    """With what is needed to answer it and to find its message; its person is who pressed, not the message's sender."""
    event = parse(body(PRESSED))
    assert isinstance(event, Pressed)
    assert event.update.person == PERSON
    assert (event.callback_id, event.message_id, event.data) == (
        "cb-Zz9_",
        "mid.00bb22",
        "yes:Ab3dEf6hIj9lMn2p",
    )


@pytest.mark.parametrize("update", [STOPPED, REMOVED], ids=["bot_stopped", "dialog_removed"])
def test_a_stop_and_a_removed_dialog_are_left(update: dict[str, Any]):
    """Both mean that the person is gone."""
    event = parse(body(update))
    assert isinstance(event, Left)
    assert event.update.person == PERSON


@pytest.mark.parametrize("text", NO_TEXT, ids=repr)
def test_a_message_without_text_says_nothing(text: Any):
    """A photo or a sticker is answered as anything else."""
    event = parse(changed(CREATED, "message.body.text", text))
    assert isinstance(event, Said)
    assert event.text == ""


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: ascii(text[:9]))
def test_any_text_comes_through(text: str):
    """NUL, halves of characters and markup are text like any other here."""
    event = parse(changed(CREATED, "message.body.text", text))
    assert isinstance(event, Said)
    assert event.text == text


@pytest.mark.parametrize(
    "sent, language",
    [("en-US", "en-us"), ("RU", "ru"), ("ru_RU", "ru_ru"), (GONE, ""), (None, ""), (7, ""), (["ru"], ""), ("", ""),
     ("ru\n", ""), ("../ru", ""), ("рус", ""), ("r" * 40, "")],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_only_a_language_tag_is_a_language(kind: str, sent: Any, language: str):
    """What is stored as a language is a short tag in lower case, or nothing."""
    event = parse(changed(KINDS[kind], "user_locale", sent))
    assert event is not None
    assert event.update.language == language


@pytest.mark.parametrize("message", [GONE, None], ids=repr)
def test_a_press_on_a_message_that_is_gone_still_counts(message: Any):
    """It is answered; only its message can't be brought up to date."""
    event = parse(changed(PRESSED, "message", message))
    assert isinstance(event, Pressed)
    assert event.message_id is None


@pytest.mark.parametrize("path", ["message.body", "message.body.mid"])
@pytest.mark.parametrize("value", [GONE, None, 5, {}, []], ids=repr)
def test_a_press_needs_no_message_id(path: str, value: Any):
    """A body that is missing or strange costs only the edit."""
    event = parse(changed(PRESSED, path, value))
    assert isinstance(event, Pressed)
    assert event.message_id is None


@pytest.mark.parametrize("payload", [GONE, None, 5, {}], ids=repr)
def test_a_press_without_payload_is_a_press(payload: Any):
    """It is answered like every button that means nothing."""
    event = parse(changed(PRESSED, "callback.payload", payload))
    assert isinstance(event, Pressed)
    assert event.data == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", ["is_bot", "first_name", "last_name", "last_activity_time"])
def test_a_person_needs_only_an_id(kind: str, missing: str):
    """Names and flags may be missing."""
    event = parse(changed(KINDS[kind], f"{USER[kind]}.{missing}", GONE))
    assert event is not None
    assert event.update.person == PERSON


@pytest.mark.parametrize("chat_id", [0, -1, None, "x", GONE], ids=repr)
def test_a_chat_id_does_not_matter(chat_id: Any):
    """It may be 0 in a callback; people are known by their user id."""
    assert parse(changed(PRESSED, "message.recipient.chat_id", chat_id)) == parse(body(PRESSED))


@pytest.mark.parametrize("user_id", [1, 2**31, 2**53 + 1, LARGEST_ID])
def test_large_ids_are_kept_exactly(user_id: int):
    """More than 32 bits, more than a double."""
    event = parse(changed(CREATED, "message.sender.user_id", user_id))
    assert event is not None
    assert event.update.person.user_id == user_id


def test_a_forwarded_message_is_the_forwarders():
    """Whose words they were first does not matter."""
    link = {
        "type": "forward",
        "sender": {"user_id": 1, "is_bot": False},
        "message": {"mid": "m", "text": "otp_x"},
    }
    event = parse(changed(CREATED, "message.link", link))
    assert event is not None
    assert event.update.person == PERSON


# ------------------------------------------------------------------ what is of none


@pytest.mark.parametrize("update", [CREATED, PRESSED], ids=["message", "press"])
@pytest.mark.parametrize("chat_type", ["chat", "channel", "Dialog", "", None, 1, ["dialog"], GONE], ids=repr)
def test_outside_a_private_dialog_nothing_happens(update: dict[str, Any], chat_type: Any):
    """No group, no channel, and nothing that says nothing of itself."""
    assert parse(changed(update, "message.recipient.chat_type", chat_type)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_bot_is_no_person(kind: str):
    """Bots are not answered."""
    assert parse(changed(KINDS[kind], f"{USER[kind]}.is_bot", True)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "user_id", [0, -5, LARGEST_ID + 1, 10**30, "4815162", 4815162.0, True, None, [ME], {}, GONE], ids=repr
)
def test_an_id_that_is_none_is_refused(kind: str, user_id: Any):
    """A person is a positive number that a database can hold, and not a text that looks like one."""
    assert parse(changed(KINDS[kind], f"{USER[kind]}.user_id", user_id)) is None


@pytest.mark.parametrize(
    "kind, path",
    [("bot_started", "user"), ("bot_stopped", "user"), ("dialog_removed", "user"), ("message_created", "message"),
     ("message_created", "message.sender"), ("message_created", "message.recipient"),
     ("message_callback", "callback"), ("message_callback", "callback.user"),
     ("message_callback", "message.recipient"), *((kind, "update_type") for kind in KINDS)],
)  # fmt: skip
def test_what_is_missing_or_of_a_wrong_type_is_dropped(kind: str, path: str):
    """Every part that is needed, with every kind of thing in its place."""
    values: list[Any] = [GONE, None, 5, True, [], [{}], {}, 1.5, "x"]
    assert [value for value in values if parse(changed(KINDS[kind], path, value)) is not None] == []


@pytest.mark.parametrize("callback_id", [GONE, None, 5, {}, []], ids=repr)
def test_a_press_without_its_id_is_dropped(callback_id: Any):
    """It could neither be answered nor told from its redelivery."""
    assert parse(changed(PRESSED, "callback.callback_id", callback_id)) is None


@pytest.mark.parametrize(
    "kind",
    ["message_edited", "message_removed", "bot_added", "bot_removed", "user_added", "chat_title_changed", "dialog_muted",
     "dialog_cleared", "BOT_STARTED", "something_new"],
)  # fmt: skip
def test_other_kinds_of_updates_are_dropped(kind: str):
    """They were not asked for, and mean nothing here."""
    assert parse(body({**STARTED, **CREATED, "update_type": kind})) is None


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"{}", b"[]", b"null", b'"x"', b"5", b"not json", body(STARTED)[:-1], body(STARTED) + b"x",
     b"\xef\xbb\xbf" + body(STARTED), body(STARTED).decode().encode("utf-16"), b"\xff\xfe\x00", b'{"update_type": "\xff"}',
     b"[" * 100_000, b'{"message":' * 50_000, b'{"update_type": ' + b"1" * 5000 + b"}", b'{"update_type": -Infinity}',
     b"\x00", b'{"update_type": "bot_started", "user": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
    ids=lambda raw: repr(raw[:16]) + str(len(raw)),
)  # fmt: skip
def test_a_body_that_is_no_update_is_dropped(raw: bytes):
    """Not JSON, not UTF-8, no object, too deep, too long: nothing is raised."""
    assert parse(raw) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY, max_size=8)
    | st.sampled_from(["dialog", *KINDS, ME, WHO, BOT]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["update_type", "message", "callback", "user", "sender", "recipient", "chat_type", "body", "mid",
                         "text", "payload", "callback_id", "user_id", "is_bot", "user_locale"]),
        inner,
        max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip
PATHS = [
    ("bot_started", "user"), ("bot_started", "payload"), ("message_created", "message.body"),
    ("message_created", "message.body.mid"), ("message_created", "message.sender"), ("message_created", "message"),
    ("message_callback", "message"), ("message_callback", "callback.callback_id"), ("message_callback", "callback"),
    ("message_callback", "message.body.mid"), ("dialog_removed", "user.user_id"), ("bot_stopped", "update_type"),
]  # fmt: skip


@given(JSON, st.sampled_from([None, *KINDS]))
def test_any_json_is_parsed_or_dropped(value: Any, kind: str | None):
    """Nothing that a body can hold raises."""
    if kind is not None and isinstance(value, dict):
        value = {**value, "update_type": kind}
    assert parse(json.dumps(value).encode()) is None or isinstance(value, dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_dropped(raw: bytes):
    """Noise is no update."""
    assert parse(raw) is None


@given(st.sampled_from(PATHS), JSON)
def test_one_strange_part_never_raises(where: tuple[str, str], value: Any):
    """A real update with anything at one place: an event about a person with an id and a key, or nothing."""
    kind, path = where
    event = parse(changed(KINDS[kind], path, value))
    assert event is None or (0 < event.update.person.user_id <= LARGEST_ID and event.update.key.isascii())


# ------------------------------------------------------------------ keys


@pytest.mark.parametrize("kind", KINDS)
def test_a_redelivery_has_the_same_key(kind: str):
    """The same body is the same update."""
    assert key(body(KINDS[kind])) == key(body(copy.deepcopy(KINDS[kind])))


@pytest.mark.parametrize(
    "kind, path", [("message_created", "message.body.mid"), ("message_callback", "callback.callback_id")]
)
def test_an_id_makes_the_key(kind: str, path: str):
    """Where MAX gives an id, whatever else changes in a redelivery does not matter; another id is another act."""
    update = KINDS[kind]
    assert key(changed(update, "timestamp", 7)) == key(body(update))
    assert key(changed(update, path, "another")) != key(body(update))


@pytest.mark.parametrize("kind", ["bot_started", "bot_stopped", "dialog_removed"])
def test_without_an_id_the_body_makes_the_key(kind: str):
    """The same act at another time is another one."""
    assert key(changed(KINDS[kind], "timestamp", 7)) != key(body(KINDS[kind]))


@pytest.mark.parametrize("mid", [GONE, None, 5, {}], ids=repr)
def test_a_message_without_id_is_known_by_its_body(mid: Any):
    """It is neither lost nor taken for another one."""
    raw = changed(CREATED, "message.body.mid", mid)
    assert key(raw) == key(bytes(raw)) != key(body(CREATED))
    assert key(raw) != key(changed(json.loads(raw), "message.body.text", "another"))


def test_keys_of_different_kinds_never_meet():
    """A message's id that equals a callback's is another thing."""
    assert key(changed(CREATED, "message.body.mid", "same")) != key(
        changed(PRESSED, "callback.callback_id", "same")
    )


@given(st.text(ANY, max_size=300))
@example("\ud800")
def test_a_key_is_short_and_plain(callback_id: str):
    """Whatever MAX uses as an id, a database can hold the key made of it."""
    found = key(changed(PRESSED, "callback.callback_id", callback_id))
    assert found.startswith("max:")
    assert found.isascii()
    assert found.isprintable()
    assert len(found) <= 64


# ------------------------------------------------------------------ outcomes


def caused(error: Exception, cause: BaseException) -> Exception:
    """An error with its cause, as `raise ... from` leaves it."""
    error.__cause__ = cause
    return error


def connector_error(cls: type[aiohttp.ClientConnectorError] = aiohttp.ClientConnectorError) -> Exception:
    """A connection that never came about."""
    return cls(None, OSError(111, "refused"))  # type: ignore[arg-type]


def answered(status: int, code: str | None = None) -> Exception:
    """An error that MAX answers with."""
    return MaxApiError(status, {"code": code, "message": "x"} if code else "<html>")


OUTCOMES: dict[str, tuple[Exception, Outcome]] = {
    "stopped": (answered(403, "chat.denied"), Refused(Refusal.GONE)),
    "never started": (answered(404, "dialog.not.found"), Refused(Refusal.GONE)),
    "no chat": (answered(404, "chat.not.found"), Refused(Refusal.GONE)),
    "403": (answered(403, "something.else"), Refused(Refusal.REJECTED)),
    "404": (answered(404), Refused(Refusal.REJECTED)),
    "the code with another status": (answered(500, "chat.denied"), Unknown()),
    "bad text": (answered(400, "proto.payload"), Refused(Refusal.REJECTED)),
    "bad token": (InvalidToken("x"), Refused(Refusal.REJECTED, unauthorized=True)),
    "flood": (answered(429, "too.many.requests"), NotSent(answered=True)),
    "flood of a proxy": (answered(429), NotSent(answered=True)),
    "500": (answered(500, "internal"), Unknown()),
    "502": (answered(502), Unknown()),
    "503": (answered(503), Unknown()),
    "504": (answered(504), Unknown()),
    "redirect": (answered(302), Unknown()),
    "200 that is no JSON": (answered(200), Unknown()),
    "another error of maxapi": (MaxError("x"), Unknown()),
    "connection": (MaxConnection("x"), Unknown()),
    "timeout": (TimeoutError(), Unknown()),
    "read timeout": (caused(MaxConnection("x"), aiohttp.SocketTimeoutError()), Unknown()),
    "dropped": (caused(MaxConnection("x"), aiohttp.ServerDisconnectedError()), Unknown()),
    "reset": (caused(MaxConnection("x"), aiohttp.ClientOSError(104, "reset")), Unknown()),
    "cut answer": (aiohttp.ClientPayloadError("cut"), Unknown()),
    "no message in the answer": (KeyError("message"), Unknown()),
    "a strange answer": (TypeError("x"), Unknown()),
    "a value error": (ValueError("x"), Unknown()),
    "refused connection": (caused(MaxConnection("x"), connector_error()), NotSent()),
    "refused connection, bare": (connector_error(), NotSent()),
    "DNS": (caused(MaxConnection("x"), connector_error(aiohttp.ClientConnectorDNSError)), NotSent()),
    "proxy": (caused(MaxConnection("x"), connector_error(aiohttp.ClientProxyConnectionError)), NotSent()),
    "TLS": (caused(MaxConnection("x"), connector_error(aiohttp.ClientConnectorSSLError)), NotSent()),
    "connect timeout": (caused(MaxConnection("x"), aiohttp.ConnectionTimeoutError()), NotSent()),
}


@pytest.mark.parametrize("error, outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_an_error_means(error: Exception, outcome: Outcome):
    """Certainly refused, certainly not sent, or unknown: never more certain than it is."""
    got = outcome_of(error)
    assert got == outcome
    assert (isinstance(got, Refused) and got.unauthorized) is isinstance(error, InvalidToken)


@pytest.mark.parametrize("code", [["chat.denied"], {"a": 1}], ids=repr)
def test_a_code_that_is_no_text_is_no_code(code: Any):
    """A strange error is an error like any other."""
    assert outcome_of(MaxApiError(403, {"code": code})) == Refused(Refusal.REJECTED)


# ------------------------------------------------------------------ outcomes of real answers

Sender = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def send() -> AsyncIterator[Sender]:
    """Sends a message to a server of this machine that gives one prepared answer."""
    answers: list[web.Response] = []
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path_qs}")
        return answers[0]

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    skin = MaxSkin("max-token-f00d", f"http://{host}:{port}")

    async def one(status: int, text: str, **headers: str) -> Outcome:
        answers[:] = [
            web.Response(status=status, body=text.encode("utf-8", "surrogateescape"), headers=headers)
        ]
        outcome = await skin.send(ME, Message("x"), 5_000)
        assert asked == [f"POST /messages?user_id={ME}"], "exactly one attempt, to the person"
        return outcome

    yield one
    await skin.close()
    await runner.cleanup()


SENT = '{"message": {"recipient": {"chat_id": 1}, "timestamp": 1, "body": {"mid": "mid.77", "seq": 1, "text": "x"}}}'


async def test_an_accepted_message_has_its_id(send: Sender):
    """What is needed to edit it later."""
    assert await send(200, SENT) == Accepted("mid.77")


@pytest.mark.parametrize(
    "status, text, outcome",
    [
        (429, '{"code": "too.many", "message": "x"}', NotSent(answered=True)),
        (403, '{"code": "chat.denied", "message": "error.dialog.suspended"}', Refused(Refusal.GONE)),
        (404, '{"code": "dialog.not.found", "message": "x"}', Refused(Refusal.GONE)),
        (401, '{"code": "verify.token", "message": "x"}', Refused(Refusal.REJECTED, unauthorized=True)),
        (400, '{"code": "proto.payload", "message": "x"}', Refused(Refusal.REJECTED)),
        (500, '{"code": "internal", "message": "x"}', Unknown()),
        (502, "<html>Bad Gateway</html>", Unknown()),
        (503, "", Unknown()),
        (200, "<html>Welcome</html>", Unknown()),
        (200, "", Unknown()),
        (200, SENT[:-1], Unknown()),
        (200, "\udcff\udcfe", Unknown()),
        (200, "[]", Unknown()),
        (200, '{"message": null}', Unknown()),
        (200, '{"success": false, "message": "refused"}', Unknown()),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_answer_means(send: Sender, status: int, text: str, outcome: Outcome):
    """From the wire to the outcome, in exactly one attempt."""
    assert await send(status, text) == outcome


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_a_deeply_nested_answer_does_not_raise(send: Sender, status: int):
    """`send` never raises for what the messenger does."""
    assert await send(status, "[" * 100_000) == Unknown()


@pytest.mark.parametrize("mid", ["null", "{}", "5", '""'])
async def test_an_answer_without_a_usable_id_is_unknown(send: Sender, mid: str):
    """`None` is no id of a message."""
    assert await send(200, f'{{"message": {{"body": {{"mid": {mid}}}}}}}') == Unknown()


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
    skin = MaxSkin("max-token-f00d", f"http://127.0.0.1:{port}")
    assert await skin.send(ME, Message("x"), 5_000) == NotSent()
    await skin.close()


async def test_a_dropped_connection_is_unknown():
    """The request may have been read, so it is not made again."""
    times: list[int] = []

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        times.append(1)
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    skin = MaxSkin("max-token-f00d", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert await skin.send(ME, Message("x"), 5_000) == Unknown()
    assert times == [1]
    await skin.close()
    server.close()
    await server.wait_closed()
