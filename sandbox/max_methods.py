"""The calls of the MAX bot API that the simulator knows: their query parameters and JSON bodies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.checks import Check, Ill, array, boolean, nullable, one_of, record, text, variant

MESSAGE_LIMIT = 4000
BUTTON_LIMIT = 210
ROW_LIMIT = 30
ROW_LENGTH = 7
ROW_LENGTH_WITH_LINK = 3
UPDATE_TYPES = (
    "bot_added",
    "bot_admin_permissions_changed",
    "bot_removed",
    "bot_started",
    "bot_stopped",
    "chat_title_changed",
    "comment_created",
    "comment_edited",
    "comment_removed",
    "dialog_cleared",
    "dialog_muted",
    "dialog_removed",
    "dialog_unmuted",
    "message_callback",
    "message_created",
    "message_edited",
    "message_removed",
    "user_added",
    "user_removed",
)

_label = text(1, 128)
_payload = text(1, 1024)
_kind = text()
_button = variant(
    {
        "callback": record({"type": _kind, "text": _label, "payload": _payload}),
        "clipboard": record({"type": _kind, "text": _label, "payload": _payload}),
        "link": record({"type": _kind, "text": _label, "url": text(1, 2048, "https?://.+")}),
    }
)
_rows = array(array(_button, 1, ROW_LENGTH), 1, ROW_LIMIT)


def _buttons(value: Any, path: str) -> None:
    _rows(value, path)
    if sum(len(row) for row in value) > BUTTON_LIMIT:
        raise Ill(f"{path}: errors.maxButtons")
    if any(len(row) > ROW_LENGTH_WITH_LINK and any(raw["type"] == "link" for raw in row) for row in value):
        raise Ill(f"{path}: errors.maxRowSize")


_keyboard = record({"type": _kind, "payload": record({"buttons": _buttons})})
MESSAGE = record(
    {},
    {
        # 4000 "characters" are taken as UTF-16 units, the stricter reading.
        "text": nullable(text(0, MESSAGE_LIMIT)),
        "attachments": nullable(array(variant({"inline_keyboard": _keyboard}), 0, 1)),
        "format": nullable(one_of("html")),
        "notify": boolean,
    },
)
_subscription = record(
    {"url": text(1, 2048, "https://.+")},
    {
        "secret": text(5, 256, "[A-Za-z0-9_-]+"),
        "update_types": array(one_of(*UPDATE_TYPES)),
    },
)
_answer = record({}, {"message": nullable(MESSAGE), "notification": nullable(text())})
_command = record({"name": text(1, 64)}, {"description": nullable(text(1, 128))})
_commands = record({}, {"commands": array(_command, 0, 32)})


@dataclass(frozen=True)
class Operation:
    """What one call takes: required and optional query parameters, and its body if it has one."""

    required: Mapping[str, Check]
    optional: Mapping[str, Check]
    body: Check | None = None


_preview: dict[str, Check] = {"disable_link_preview": one_of("true", "false")}
_number = text(1, 18, "[0-9]+")
_message_id: dict[str, Check] = {"message_id": text(1)}
OPERATIONS: Mapping[str, Operation] = {
    "GET /me": Operation({}, {}),
    "PATCH /me/commands": Operation({}, {}, _commands),
    "GET /subscriptions": Operation({}, {}),
    "POST /subscriptions": Operation({}, {}, _subscription),
    "DELETE /subscriptions": Operation({"url": text(1)}, {}),
    "POST /messages": Operation({"user_id": _number}, _preview, MESSAGE),
    "PUT /messages": Operation(_message_id, _preview, MESSAGE),
    "DELETE /messages": Operation(_message_id, {}),
    "GET /messages/{message_id}": Operation(_message_id, {}),
    "POST /answers": Operation({"callback_id": text(1)}, _preview, _answer),
    "GET /updates": Operation({}, {"limit": _number, "timeout": _number, "marker": _number, "types": text()}),
}
