"""The people's side of MAX: links, texts, presses, and the objects and updates made of them."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from sandbox.markup import to_utf16
from sandbox.max_methods import MESSAGE_LIMIT
from sandbox.people import Person, Posted
from sandbox.simulator import Simulator
from sandbox.wire import JSON, Button, Webhook

BOT_ID = 277_000_001
CHAT_OFFSET = 472_000_000


class MaxPeople(Simulator):
    """Everything of the MAX simulator but the bot's calls."""

    channel = "max"
    secret_header = "X-Max-Bot-Api-Secret"  # noqa: S105 - a header's name, no secret
    link_host = "max.ru"
    link_payload = ".{0,128}"
    text_limit = MESSAGE_LIMIT
    bold_kind = "strong"
    code_kinds = frozenset({"monospaced"})

    _last_seq = 116_400_000_000_000_000  # as large as the real ones: beyond what a double holds exactly

    def open_link(self, user_id: int, link: str) -> bool:
        """Open a max.ru link: `bot_started` with its payload at the first start or after a block.

        In an active dialog MAX opens the chat and sends nothing: False. Raises Impossible when the link is not
        one of this bot's or MAX would drop its payload.
        """
        payload = self._start_payload(link)
        person = self._person(user_id)
        if person.state == "active":
            return False
        person.state = "active"
        self.changes.mark()
        self._tell_started(person, payload or None)
        return True

    def remove_dialog(self, user_id: int) -> None:
        """Delete the whole dialog: the chat is empty, the bot is stopped and hears of both."""
        self.block(user_id)
        person = self._person(user_id)
        person.messages.clear()
        self.changes.mark()
        self._update(person, "dialog_removed", {"chat_id": chat_id(person), "user": self._user(person)})

    # ---- updates

    def _tell_started(self, person: Person, payload: str | None = None) -> None:
        content: JSON = {"chat_id": chat_id(person), "user": self._user(person), "user_id": person.user_id}
        if payload is not None:
            content["payload"] = payload
        self._update(person, "bot_started", content)

    def _tell_said(self, person: Person, posted: Posted) -> None:
        self._update(person, "message_created", {"message": self._message(person, posted)})

    def _tell_pressed(self, person: Person, callback_id: str, message_id: str, data: str) -> None:
        posted = person.messages.get(message_id)
        callback = {
            "timestamp": self._now(),
            "callback_id": callback_id,
            "payload": data,
            "user": self._user(person),
        }
        message = None if posted is None else self._message(person, posted)
        self._update(person, "message_callback", {"callback": callback, "message": message})

    def _tell_blocked(self, person: Person) -> None:
        self._update(person, "bot_stopped", {"chat_id": chat_id(person), "user": self._user(person)})

    def _tell_unblocked(self, person: Person) -> None:
        self._tell_started(person)

    def _update(self, person: Person, kind: str, content: JSON) -> None:
        update = {"update_type": kind, "timestamp": self._now(), **content}
        if person.language:
            update["user_locale"] = person.language
        self._emit(person, update)

    # ---- objects of the API

    def _me(self) -> JSON:
        return {
            "user_id": BOT_ID,
            "first_name": "Codes",
            "name": "Codes",
            "username": self.username,
            "is_bot": True,
            "last_activity_time": self._now(),
        }

    def _user(self, person: Person) -> JSON:
        return {
            "user_id": person.user_id,
            "first_name": person.first_name,
            "last_name": "",
            "name": person.first_name,
            "is_bot": False,
            "last_activity_time": self._now(),
        }

    def _message(self, person: Person, posted: Posted) -> JSON:
        by_bot = posted.author == "bot"
        body: JSON = {"mid": posted.id, "seq": int(posted.id[-16:], 16), "text": posted.text}
        if posted.keyboard:
            body["attachments"] = [{"type": "inline_keyboard", "payload": {"buttons": posted.keyboard}}]
        markup = []
        for span in posted.spans:
            start, length = to_utf16(posted.text, span)
            url = {"url": span.url} if span.url else {}
            markup.append({"type": span.kind, "from": start, "length": length, **url})
        if markup:
            body["markup"] = markup
        return {
            "recipient": {
                "chat_id": chat_id(person),
                "chat_type": "dialog",
                "user_id": person.user_id if by_bot else BOT_ID,
            },
            "timestamp": posted.at,
            "body": body,
            "sender": self._me() if by_bot else self._user(person),
        }

    def _button(self, raw: JSON) -> Button:
        if raw["type"] == "link":
            return Button(raw["text"], "link", raw["url"])
        if raw["type"] == "clipboard":
            return Button(raw["text"], "copy", raw["payload"])
        return Button(raw["text"], "press", raw["payload"])

    def _new_message_id(self, person: Person) -> str:
        self._last_seq += 1
        return f"mid.{chat_id(person):016x}{self._last_seq:016x}"

    def _new_callback_id(self) -> str:
        return secrets.token_urlsafe(64)

    def _update_type(self, update: JSON) -> str:
        return str(update.get("update_type", ""))

    def _acknowledged(self, status: int) -> bool:
        return status == HTTPStatus.OK

    def _standing(self, webhook: Webhook) -> Webhook | None:
        return next((known for known in self.webhooks if known.url == webhook.url), None)


def chat_id(person: Person) -> int:
    """The id of a person's dialog; MAX has one beside that of the person."""
    return CHAT_OFFSET + person.user_id
