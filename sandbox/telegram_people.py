"""The people's side of Telegram: links, texts, presses, and the objects and updates made of them."""

from __future__ import annotations

import re
import secrets
from http import HTTPStatus

from sandbox.markup import Span, to_utf16
from sandbox.people import Person, Posted
from sandbox.simulator import Simulator
from sandbox.telegram_methods import MESSAGE_LIMIT
from sandbox.wire import JSON, Button, Impossible, Webhook

BOT_ID = 7000000001


def phone_of(user_id: int) -> str:
    """A person's number as Telegram tells it, without a plus: of a range that Ofcom keeps free for drama."""
    return f"447700900{user_id % 1000:03d}"


class TelegramPeople(Simulator):
    """Everything of the Telegram simulator but the bot's calls."""

    channel = "telegram"
    secret_header = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name, no secret
    link_host = "t.me"
    link_payload = "[A-Za-z0-9_-]{0,64}"
    text_limit = MESSAGE_LIMIT
    bold_kind = "bold"
    code_kinds = frozenset({"code", "pre"})

    _last_update = 870_000_000
    _last_message = 100

    def open_link(self, user_id: int, link: str) -> bool:
        """Open a t.me link and press Start, which sends `/start <payload>`; always True.

        Raises Impossible when the link is not one of this bot's or Telegram would drop its payload.
        """
        payload = self._start_payload(link)
        self.say(user_id, f"/start {payload}" if payload else "/start")
        return True

    def press_key(self, user_id: int, row: int, column: int) -> None:
        """Press a key: it shares the person's contact, after a question of the client's own, or writes its label."""
        person = self._person(user_id)
        if not 0 <= row < len(person.keys) or not 0 <= column < len(person.keys[row]):
            raise Impossible("no such key")
        key = person.keys[row][column]
        if person.keys_once:
            person.keys = []
        if key.get("request_contact"):
            self.share_contact(user_id)
        else:
            self.say(user_id, key["text"])

    def share_contact(self, user_id: int, *, own: bool = True, forwarded: bool = False) -> None:
        """Send a contact: Telegram itself adds the id of the user who has that number, where there is one."""
        if self.is_blocked(user_id):
            self.unblock(user_id)
        person = self._person(user_id)
        person.state = "active"
        whose = user_id if own else user_id + 500
        name = person.first_name if own else "Bob"
        contact = {"phone_number": phone_of(whose), "first_name": name, "user_id": whose}
        more: JSON = {"contact": contact}
        if forwarded:
            origin = {"type": "hidden_user", "sender_user_name": "Bob", "date": self._now() // 1000}
            more["forward_origin"] = origin
        text = f"{name}, +{contact['phone_number']}"
        self._tell_said(person, self._post(person, "person", text, [], [], more))

    # ---- updates

    def _tell_said(self, person: Person, posted: Posted) -> None:
        self._update(person, "message", self._message(person, posted))

    def _tell_pressed(self, person: Person, callback_id: str, message_id: str, data: str) -> None:
        posted = person.messages.get(message_id)
        message: JSON = {"chat": self._chat(person), "message_id": int(message_id), "date": 0}  # inaccessible
        if posted is not None:
            message = self._message(person, posted)
        query = {
            "id": callback_id,
            "from": self._user(person),
            "message": message,
            "chat_instance": str(-person.user_id),
            "data": data,
        }
        self._update(person, "callback_query", query)

    def _tell_blocked(self, person: Person) -> None:
        self._update(person, "my_chat_member", self._membership(person, "member", "kicked"))

    def _tell_unblocked(self, person: Person) -> None:
        self._update(person, "my_chat_member", self._membership(person, "kicked", "member"))

    def _update(self, person: Person, kind: str, content: JSON) -> None:
        self._last_update += 1
        self._emit(person, {"update_id": self._last_update, kind: content})

    def _membership(self, person: Person, before: str, after: str) -> JSON:
        def member(status: str) -> JSON:
            return {"user": self._me(), "status": status, **({"until_date": 0} if status == "kicked" else {})}

        return {
            "chat": self._chat(person),
            "from": self._user(person),
            "date": self._now() // 1000,
            "old_chat_member": member(before),
            "new_chat_member": member(after),
        }

    # ---- objects of the API

    def _me(self) -> JSON:
        return {"id": BOT_ID, "is_bot": True, "first_name": "Codes", "username": self.username}

    def _user(self, person: Person) -> JSON:
        user: JSON = {"id": person.user_id, "is_bot": False, "first_name": person.first_name}
        if person.language:
            user["language_code"] = person.language
        return user

    def _chat(self, person: Person) -> JSON:
        return {"id": person.user_id, "type": "private", "first_name": person.first_name}

    def _message(self, person: Person, posted: Posted) -> JSON:
        message: JSON = {
            "message_id": int(posted.id),
            "from": self._me() if posted.author == "bot" else self._user(person),
            "chat": self._chat(person),
            "date": posted.at // 1000,
            **(posted.more or {"text": posted.text}),
        }
        if posted.more:
            return message
        entities = [self._entity(posted.text, span) for span in posted.spans]
        if posted.author == "person" and (command := re.match(r"/\w+", posted.text)):
            entities = [{"type": "bot_command", "offset": 0, "length": command.end()}]
        if entities:
            message["entities"] = entities
        if posted.keyboard:
            message["reply_markup"] = {"inline_keyboard": posted.keyboard}
        if posted.edited_at is not None:
            message["edit_date"] = posted.edited_at // 1000
        return message

    def _entity(self, text: str, span: Span) -> JSON:
        offset, length = to_utf16(text, span)
        url = {"url": span.url} if span.url else {}
        return {"type": span.kind, "offset": offset, "length": length, **url}

    def _button(self, raw: JSON) -> Button:
        if "copy_text" in raw:
            return Button(raw["text"], "copy", raw["copy_text"]["text"])
        if "url" in raw:
            return Button(raw["text"], "link", raw["url"])
        return Button(raw["text"], "press", raw["callback_data"])

    def _new_message_id(self, person: Person) -> str:
        self._last_message += 1
        return str(self._last_message)

    def _new_callback_id(self) -> str:
        return str(10**18 + secrets.randbelow(8 * 10**18))

    def _update_type(self, update: JSON) -> str:
        return next((name for name in update if name != "update_id"), "")

    def _acknowledged(self, status: int) -> bool:
        return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES

    def _standing(self, webhook: Webhook) -> Webhook | None:
        return self.webhooks[0] if self.webhooks else None
