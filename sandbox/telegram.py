"""Telegram's Bot API at wire level: what the bot may call, and how strictly it is answered."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.checks import Ill
from sandbox.markup import Span, from_utf16, parse_html, trimmed, utf16_length
from sandbox.people import Person, Posted
from sandbox.telegram_methods import (
    MESSAGE_LIMIT,
    WEBHOOK_PORTS,
    check_parameters,
    known_method,
    read_parameters,
)
from sandbox.telegram_people import TelegramPeople
from sandbox.wire import JSON, Call, Refused, Webhook

DELETABLE_MS = 48 * 3600 * 1000
_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
}
_DESCRIPTIONS = {401: "Unauthorized", 403: "Forbidden: bot was blocked by the user", 404: "Not Found"}


def _refusal(status: int, description: str, *, retry_after: int | None = None) -> Refused:
    body: JSON = {"ok": False, "error_code": status, "description": description}
    if retry_after is not None:
        body["parameters"] = {"retry_after": retry_after}
    return Refused(status, body)


def _violation(rule: str) -> Refused:
    return Refused(400, _refusal(400, f"Bad Request: {rule}").body, rule)


class TelegramSim(TelegramPeople):
    """Telegram with one bot; `webhooks` holds at most one registration."""

    def app(self) -> web.Application:
        """The Bot API under `/bot<token>/<method>`."""
        app = web.Application()
        app.router.add_route("*", "/bot{token:[^/]+}/{method}", self._serve)
        app.on_shutdown.append(self._on_shutdown)
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        name = request.match_info["method"]
        call = Call(known_method(name) or name, {}, None, self._now())
        unreadable: str | None = None
        try:
            call.params = await read_parameters(request)
        except Ill as error:
            unreadable = str(error)

        async def work() -> JSON:
            if not secrets.compare_digest(request.match_info["token"].encode(), self.token.encode()):
                raise _refusal(401, "Unauthorized")
            if unreadable is not None:
                raise _violation(unreadable)
            return {"ok": True, "result": await self._execute(call)}

        return await self._exchange.answer(request, call, work)

    async def _execute(self, call: Call) -> Any:
        if known_method(call.method) is None:
            raise Refused(404, _refusal(404, "Not Found").body, "no such method")
        try:
            check_parameters(call.method, call.params)
        except Ill as error:
            raise _violation(str(error)) from None
        if call.method == "getUpdates" and not self._queue:
            await self._activity.wait(call.params.get("timeout", 0))
        return self._handlers()[call.method](call.params)

    def _handlers(self) -> Mapping[str, Callable[[JSON], Any]]:
        return {
            "getMe": self._get_me,
            "getWebhookInfo": self._get_webhook_info,
            "setWebhook": self._set_webhook,
            "deleteWebhook": self._delete_webhook,
            "getUpdates": self._get_updates,
            "sendMessage": self._send_message,
            "editMessageText": self._edit_message_text,
            "editMessageReplyMarkup": self._edit_message_reply_markup,
            "deleteMessage": self._delete_message,
            "answerCallbackQuery": self._answer_callback_query,
            "setMyCommands": self._set_profile,
            "setMyDescription": self._set_profile,
            "setMyShortDescription": self._set_profile,
        }

    # ---- the bot itself and its webhook

    def _get_me(self, _: JSON) -> JSON:
        return {**self._me(), "can_join_groups": False, "can_read_all_group_messages": False}

    def _set_profile(self, _: JSON) -> bool:
        return True

    def _set_webhook(self, parameters: JSON) -> bool:
        url = parameters.get("url", "")
        if not url:
            return self._delete_webhook(parameters)
        if not url.startswith("https://"):
            raise _violation("bad webhook: An HTTPS URL must be provided for webhook")
        if _port(url) not in WEBHOOK_PORTS:
            raise _violation("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
        types = self.webhooks[0].update_types if self.webhooks else ()  # kept unless given anew
        types = tuple(parameters.get("allowed_updates", types))
        self.webhooks[:] = [Webhook(url, parameters.get("secret_token"), types, self._now())]
        self._hand_over_queue(drop=parameters.get("drop_pending_updates", False))
        return True

    def _hand_over_queue(self, *, drop: bool) -> None:
        waiting = list(self._queue)
        self._queue.clear()
        for update in [] if drop else waiting:
            self.deliver(update)

    def _delete_webhook(self, parameters: JSON) -> bool:
        self.webhooks.clear()
        if parameters.get("drop_pending_updates"):
            self._queue.clear()
        return True

    def _get_webhook_info(self, _: JSON) -> JSON:
        under_way = sum(not delivery.done and not delivery.given_up for delivery in self.deliveries)
        info: JSON = {
            "url": self.webhooks[0].url if self.webhooks else "",
            "has_custom_certificate": False,
            "pending_update_count": under_way + len(self._queue),
        }
        if self.webhooks and self.webhooks[0].update_types:
            info["allowed_updates"] = list(self.webhooks[0].update_types)
        if self._courier.last_error is not None:
            at, info["last_error_message"] = self._courier.last_error
            info["last_error_date"] = at // 1000
        return info

    def _get_updates(self, parameters: JSON) -> list[JSON]:
        if self.webhooks:
            raise _refusal(
                409,
                "Conflict: can't use getUpdates method while webhook is active; "
                "use deleteWebhook to delete the webhook first",
            )
        while self._queue and self._queue[0]["update_id"] < parameters.get("offset", 0):
            self._queue.popleft()
        types = parameters.get("allowed_updates") or []
        wanted = [update for update in self._queue if not types or self._update_type(update) in types]
        return wanted[: parameters.get("limit", 100)]

    # ---- messages

    def _send_message(self, parameters: JSON) -> JSON:
        text, spans = _rendered(parameters)
        person = self._target(parameters["chat_id"])
        if self._over_limit(person, "messages"):
            raise Refused(429, self._error(429, 1))
        posted = self._post(person, "bot", text, spans, _keyboard(parameters))
        markup = parameters.get("reply_markup", {})
        if "keyboard" in markup or "remove_keyboard" in markup:
            posted.fixed = "keyboard" in markup
            person.keys = markup.get("keyboard", [])
            person.keys_once = markup.get("one_time_keyboard", False)
            self.changes.mark()
        return self._message(person, posted)

    def _edit_message_text(self, parameters: JSON) -> JSON:
        text, spans = _rendered(parameters)
        person, posted = self._own_message(parameters)
        return self._edit(person, posted, text, spans, _keyboard(parameters))

    def _edit_message_reply_markup(self, parameters: JSON) -> JSON:
        person, posted = self._own_message(parameters)
        return self._edit(person, posted, posted.text, posted.spans, _keyboard(parameters))

    def _edit(
        self, person: Person, posted: Posted, text: str, spans: list[Span], keyboard: list[list[JSON]]
    ) -> JSON:
        if (posted.text, posted.spans, posted.keyboard) == (text, spans, keyboard):
            raise _refusal(
                400,
                "Bad Request: message is not modified: specified new message content and reply markup are "
                "exactly the same as a current content and reply markup of the message",
            )
        posted.text, posted.spans, posted.keyboard = text, spans, keyboard
        posted.edited_at = self._now()
        self.changes.mark()
        return self._message(person, posted)

    def _delete_message(self, parameters: JSON) -> bool:
        person = self._target(parameters["chat_id"])
        posted = person.messages.get(str(parameters["message_id"]))
        if posted is None:
            raise _refusal(400, "Bad Request: message to delete not found")
        if self._now() - posted.at > DELETABLE_MS:
            raise _refusal(400, "Bad Request: message can't be deleted for everyone")
        del person.messages[posted.id]
        self.changes.mark()
        return True

    def _answer_callback_query(self, parameters: JSON) -> bool:
        callback = self._callbacks.get(parameters["callback_query_id"])
        if callback is None:
            raise _refusal(
                400, "Bad Request: query is too old and response timeout expired or query ID is invalid"
            )
        if parameters.get("text"):
            self._pop_up(self._person(callback.user_id), parameters["text"])
        return True

    def _target(self, chat_id: int) -> Person:
        person = self._people.get(chat_id)
        if person is None or person.state == "new":
            raise _refusal(400, "Bad Request: chat not found")
        if person.state == "blocked":
            raise _refusal(403, "Forbidden: bot was blocked by the user")
        return person

    def _own_message(self, parameters: JSON) -> tuple[Person, Posted]:
        person = self._target(parameters["chat_id"])
        posted = person.messages.get(str(parameters["message_id"]))
        if posted is None:
            raise _refusal(400, "Bad Request: message to edit not found")
        if posted.author != "bot" or posted.fixed:
            raise _refusal(400, "Bad Request: message can't be edited")
        return person, posted

    def _error(self, status: int, retry_after: int | None) -> JSON:
        if status != HTTPStatus.TOO_MANY_REQUESTS:
            return _refusal(status, _DESCRIPTIONS.get(status, "Internal Server Error")).body
        seconds = retry_after or 1
        return _refusal(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds).body


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        raise _violation("bad webhook: the URL cannot be parsed") from None


def _keyboard(parameters: JSON) -> list[list[JSON]]:
    rows: list[list[JSON]] = parameters.get("reply_markup", {}).get("inline_keyboard", [])
    return rows


def _rendered(parameters: JSON) -> tuple[str, list[Span]]:
    """The text as people will see it; raises Refused when Telegram would not take it."""
    source, mode = parameters["text"], parameters.get("parse_mode", "")
    if mode.lower() not in ("", "html"):
        raise _violation(f"unsupported parse_mode {mode}")
    try:
        text, spans = parse_html(source, _TAGS) if mode else (source, _spans(source, parameters))
    except ValueError as error:
        raise _violation(f"can't parse entities: {error}") from None
    text, spans = trimmed(text, spans)
    if not text:
        raise _violation("message text is empty")
    if utf16_length(text) > MESSAGE_LIMIT:
        raise _violation("message is too long")
    return text, spans


def _spans(text: str, parameters: JSON) -> list[Span]:
    spans = []
    for entity in parameters.get("entities", []):
        start, length = from_utf16(text, entity["offset"], entity["length"])
        spans.append(Span(entity["type"], start, length, entity.get("url")))
    return spans
