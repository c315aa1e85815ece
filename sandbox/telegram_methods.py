"""The parameters of Telegram's bot methods: names, types and limits of those that the simulator knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.checks import Check, Ill, anything, array, boolean, integer, nullable, one_of, record, text
from sandbox.wire import JSON

MESSAGE_LIMIT = 4096
CALLBACK_DATA_LIMIT = 64
COPY_TEXT_LIMIT = 256
WEBHOOK_PORTS = (None, 443, 80, 88, 8443)
_ACTIONS = ("callback_data", "copy_text", "url")
_ENTITY_KINDS = (
    "blockquote",
    "bold",
    "bot_command",
    "code",
    "email",
    "expandable_blockquote",
    "hashtag",
    "italic",
    "mention",
    "phone_number",
    "pre",
    "spoiler",
    "strikethrough",
    "text_link",
    "underline",
    "url",
)


def _callback_data(value: Any, path: str) -> None:
    text()(value, path)
    if not 1 <= len(value.encode()) <= CALLBACK_DATA_LIMIT:
        raise Ill(f"BUTTON_DATA_INVALID: {path} must have 1 to {CALLBACK_DATA_LIMIT} bytes")


_button_fields = record(
    {"text": text(1)},
    {
        "callback_data": _callback_data,
        "copy_text": record({"text": text(1, COPY_TEXT_LIMIT)}),
        "url": text(1, 2048, "(https?|tg)://.+"),
        "style": one_of("danger", "success", "primary"),
    },
)


def _button(value: Any, path: str) -> None:
    _button_fields(value, path)
    if sum(action in value for action in _ACTIONS) != 1:
        raise Ill(f"{path}: a button of an inline keyboard must have exactly one action")


_entity = record(
    {"type": one_of(*_ENTITY_KINDS), "offset": integer(0), "length": integer(1)},
    {"url": text(1), "language": text(1)},
)
_link_preview = record(
    {},
    {
        "is_disabled": boolean,
        "url": text(),
        "prefer_small_media": boolean,
        "prefer_large_media": boolean,
        "show_above_text": boolean,
    },
)
_keyboard = record({"inline_keyboard": array(array(_button, 1, 8), 0, 100)})
_key = record(
    {"text": text(1)}, {"request_contact": boolean, "style": one_of("danger", "success", "primary")}
)
_own_keyboard = record(
    {"keyboard": array(array(_key, 1, 12), 1, 100)},
    {
        "is_persistent": boolean,
        "resize_keyboard": boolean,
        "one_time_keyboard": boolean,
        "input_field_placeholder": text(1, 64),
        "selective": boolean,
    },
)


def _true(value: Any, path: str) -> None:
    if value is not True:
        raise Ill(f"{path} must be true")


_no_keyboard = record({"remove_keyboard": _true}, {"selective": boolean})


def _any_keyboard(value: Any, path: str) -> None:
    """What a new message may bring; one that is edited has buttons at most."""
    kinds = {"keyboard": _own_keyboard, "remove_keyboard": _no_keyboard}
    named = next((name for name in kinds if isinstance(value, dict) and name in value), None)
    (kinds[named] if named is not None else _keyboard)(value, path)


_command = record({"command": text(1, 32, "[a-z0-9_]+"), "description": text(1, 256)})
_language = text(0, 2, "([a-z]{2})?")
_update_types = array(text(1, 64, "[a-z_]+"))


@dataclass(frozen=True)
class Method:
    """The required and optional parameters of one method."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check]


_content: dict[str, Check] = {
    "parse_mode": text(),
    "entities": array(_entity, 0, 100),
    "link_preview_options": _link_preview,
    "disable_web_page_preview": boolean,  # older than link_preview_options; aiogram sends both
    "reply_markup": _keyboard,
}
_message: dict[str, Check] = {"chat_id": integer(), "message_id": integer()}
METHODS: Mapping[str, Method] = {
    "getMe": Method({}, {}),
    "getWebhookInfo": Method({}, {}),
    "deleteWebhook": Method({}, {"drop_pending_updates": boolean}),
    "setWebhook": Method(
        {},
        {
            "url": text(0, 2048),  # aiogram leaves an empty one out
            "secret_token": text(1, 256, "[A-Za-z0-9_-]+"),
            "allowed_updates": _update_types,
            "drop_pending_updates": boolean,
            "max_connections": integer(1, 100),
        },
    ),
    "getUpdates": Method(
        {},
        {
            "offset": integer(0),
            "limit": integer(1, 100),
            "timeout": integer(0, 50),
            "allowed_updates": _update_types,
        },
    ),
    "sendMessage": Method(
        {"chat_id": integer(), "text": text()},
        {
            **_content,
            "reply_markup": _any_keyboard,
            "disable_notification": boolean,
            "protect_content": boolean,
        },
    ),
    "editMessageText": Method({**_message, "text": text()}, _content),
    "editMessageReplyMarkup": Method(_message, {"reply_markup": _keyboard}),
    "deleteMessage": Method(_message, {}),
    "answerCallbackQuery": Method(
        {"callback_query_id": text(1)},
        {"text": text(0, 200), "show_alert": boolean, "url": text(), "cache_time": integer(0)},
    ),
    "setMyCommands": Method(
        {"commands": array(_command, 0, 100)}, {"scope": nullable(anything), "language_code": _language}
    ),
    "setMyDescription": Method({}, {"description": text(0, 512), "language_code": _language}),
    "setMyShortDescription": Method({}, {"short_description": text(0, 120), "language_code": _language}),
}
_BY_LOWER_NAME = {name.lower(): name for name in METHODS}
# Parameters that stay text even when they look like a number or an object.
_TEXTS = {
    "text",
    "url",
    "secret_token",
    "callback_query_id",
    "parse_mode",
    "description",
    "short_description",
    "language_code",
}


def known_method(name: str) -> str | None:
    """The method in Telegram's own spelling; the API ignores the case."""
    return _BY_LOWER_NAME.get(name.lower())


async def read_parameters(request: web.Request) -> JSON:
    """The parameters of a call from its query and its JSON, form or multipart body, not checked yet.

    Raises Ill when the body cannot be read.
    """
    parameters: JSON = dict(request.query)
    if request.content_type == "application/json":
        parameters.update(_json_object(await request.text()))
        return parameters
    for name, value in (await request.post()).items():
        if not isinstance(value, str):
            raise Ill(f"{name}: uploads are not simulated")
        parameters[name] = value
    return {name: _decoded(name, value) for name, value in parameters.items()}


def check_parameters(method: str, parameters: JSON) -> None:
    """Raises Ill unless the parameters are what the method takes."""
    expected = METHODS[method]
    record(expected.required, expected.optional)(parameters, method)


def _json_object(source: str) -> JSON:
    try:
        value = json.loads(source or "{}")
    except (ValueError, RecursionError):
        raise Ill("can't parse the request body as JSON") from None
    if not isinstance(value, dict):
        raise Ill("the request body must be a JSON object")
    return value


def _decoded(name: str, value: str) -> Any:
    """A form's value as JSON would carry it; a form has only text."""
    if name in _TEXTS:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
