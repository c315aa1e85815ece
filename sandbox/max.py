"""The bot API of MAX at wire level: what the bot may call, and how strictly it is answered."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.checks import Ill, record
from sandbox.markup import Span, parse_html
from sandbox.max_methods import OPERATIONS
from sandbox.max_people import MaxPeople, chat_id
from sandbox.people import Person, Posted
from sandbox.wire import JSON, Call, Refused, Webhook

_TAGS = {
    "b": "strong",
    "strong": "strong",
    "i": "emphasized",
    "em": "emphasized",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "del": "strikethrough",
    "code": "monospaced",
    "pre": "monospaced",
    "a": "link",
    "mark": "highlighted",
    "blockquote": "quote",
}
_CODES = {
    400: "proto.payload",
    401: "verify.token",
    403: "chat.denied",
    404: "not.found",
    429: "too.many.requests",
    503: "service.unavailable",
}


def _refusal(status: int, code: str, message: str) -> Refused:
    return Refused(status, {"code": code, "message": message})


def _violation(rule: str) -> Refused:
    return Refused(400, {"code": "proto.payload", "message": rule}, rule)


class MaxSim(MaxPeople):
    """MAX with one bot; `webhooks` holds any number of subscriptions, each of which gets every update."""

    _commands: Sequence[JSON] = ()
    _confirmed = 0  # number of updates that GET /updates has left behind

    def app(self) -> web.Application:
        """The bot API at the root; `Authorization` holds the bare token."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        app.on_shutdown.append(self._on_shutdown)
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        call = Call(f"{request.method} {request.path}", dict(request.query), None, self._now())
        source = await request.text()
        unreadable = False
        try:
            call.body = json.loads(source) if source else None
        except (ValueError, RecursionError):
            unreadable = True

        async def work() -> JSON:
            self._check_token(request.headers.get("Authorization"))
            if unreadable:
                raise _violation("Can't deserialize body")
            return await self._execute(call)

        return await self._exchange.answer(request, call, work)

    def _check_token(self, token: str | None) -> None:
        if token is None:
            raise _refusal(401, "verify.token", "No access_token provided")
        if not secrets.compare_digest(token.encode(), self.token.encode()):
            raise _refusal(401, "verify.token", "Invalid access_token")

    async def _execute(self, call: Call) -> JSON:
        name, query = _operation(call)
        operation = OPERATIONS.get(name)
        if operation is None:
            raise Refused(404, {"code": "not.found", "message": call.method}, "no such call")
        try:
            record(operation.required, operation.optional)(query, "query")
            if operation.body is not None:
                operation.body(call.body, "body")
        except Ill as error:
            raise _violation(str(error)) from None
        if name == "GET /updates":
            await self._await_updates(query)
        return self._handlers()[name](query, call.body)

    def _handlers(self) -> Mapping[str, Callable[[JSON, Any], JSON]]:
        return {
            "GET /me": self._get_me,
            "PATCH /me/commands": self._patch_commands,
            "GET /subscriptions": self._get_subscriptions,
            "POST /subscriptions": self._post_subscriptions,
            "DELETE /subscriptions": self._delete_subscriptions,
            "POST /messages": self._post_messages,
            "PUT /messages": self._put_messages,
            "DELETE /messages": self._delete_messages,
            "GET /messages/{message_id}": self._get_message,
            "POST /answers": self._post_answers,
            "GET /updates": self._get_updates,
        }

    # ---- the bot itself and its subscriptions

    def _get_me(self, _query: JSON, _body: Any) -> JSON:
        return {**self._me(), "commands": list(self._commands)}

    def _patch_commands(self, _query: JSON, body: JSON) -> JSON:
        self._commands = body.get("commands", self._commands)
        return {"commands": list(self._commands)}

    def _get_subscriptions(self, _query: JSON, _body: Any) -> JSON:
        return {
            "subscriptions": [
                {"url": known.url, "time": known.at, "update_types": list(known.update_types) or None}
                for known in self.webhooks
            ]
        }

    def _post_subscriptions(self, _query: JSON, body: JSON) -> JSON:
        try:
            parts = urlsplit(body["url"])
            port = parts.port
        except ValueError:
            raise _violation("Invalid webhook url") from None
        if not parts.hostname or port not in (None, 443):
            raise _violation("Only port 443 is supported")
        types = tuple(body.get("update_types", ()))
        others = [known for known in self.webhooks if known.url != body["url"]]
        self.webhooks[:] = [*others, Webhook(body["url"], body.get("secret"), types, self._now())]
        return {"success": True}

    def _delete_subscriptions(self, query: JSON, _body: Any) -> JSON:
        remaining = [known for known in self.webhooks if known.url != query["url"]]
        if len(remaining) == len(self.webhooks):
            return {"success": False, "message": "Subscription not found"}
        self.webhooks[:] = remaining
        return {"success": True}

    async def _await_updates(self, query: JSON) -> None:
        if self.webhooks:
            raise _refusal(405, "method.not.allowed", "Updates go to the webhook subscription")
        marker = int(query.get("marker", self._confirmed))
        while self._queue and self._confirmed < marker:
            self._queue.popleft()
            self._confirmed += 1
        if not self._queue:
            await self._activity.wait(min(int(query.get("timeout", 30)), 90))

    def _get_updates(self, query: JSON, _body: Any) -> JSON:
        page = list(self._queue)[: int(query.get("limit", 100))]
        types = query.get("types")
        wanted = [update for update in page if not types or self._update_type(update) in types.split(",")]
        return {"updates": wanted, "marker": self._confirmed + len(page)}

    # ---- messages

    def _post_messages(self, query: JSON, body: JSON) -> JSON:
        person = self._people.get(int(query["user_id"]))
        if person is None or person.state == "new":
            raise _refusal(404, "dialog.not.found", "error.dialog.notfound")
        self._check_dialog(person)
        text, spans, keyboard = _content(body, None)
        self._check_limit(person, "messages")
        return {"message": self._message(person, self._post(person, "bot", text, spans, keyboard))}

    def _put_messages(self, query: JSON, body: JSON) -> JSON:
        person, posted = self._found(query["message_id"])
        self._edit(person, posted, body, "messages")
        return {"success": True}

    def _edit(self, person: Person, posted: Posted, body: JSON, limit: str) -> None:
        if posted.author != "bot":
            raise _refusal(403, "access.denied", "Not a message of this bot")
        self._check_dialog(person)
        content = _content(body, posted)
        self._check_limit(person, limit)
        posted.text, posted.spans, posted.keyboard = content
        posted.edited_at = self._now()
        self.changes.mark()

    def _delete_messages(self, query: JSON, _body: Any) -> JSON:
        person, posted = self._found(query["message_id"])
        self._check_dialog(person)
        del person.messages[posted.id]
        self.changes.mark()
        return {"success": True}

    def _get_message(self, query: JSON, _body: Any) -> JSON:
        return self._message(*self._found(query["message_id"]))

    def _post_answers(self, query: JSON, body: JSON) -> JSON:
        message, notification = body.get("message"), body.get("notification")
        if message is None and not notification:
            raise _violation("`message` or `notification` required")
        callback = self._callbacks.get(query["callback_id"])
        if callback is None:
            raise _refusal(404, "callback.not.found", "Callback not found")
        if message is not None:
            person, posted = self._found(callback.message_id)
            self._edit(person, posted, message, "answers")
        if notification:
            self._pop_up(self._person(callback.user_id), notification)
        return {"success": True}

    def _found(self, message_id: str) -> tuple[Person, Posted]:
        for person in self._people.values():
            if message_id in person.messages:
                return person, person.messages[message_id]
        raise _refusal(404, "message.not.found", f"Message {message_id} not found")

    def _check_dialog(self, person: Person) -> None:
        if person.state == "blocked":
            raise _refusal(403, "chat.denied", f"Key: error.dialog.suspended, args: [{chat_id(person)},].")

    def _check_limit(self, person: Person, kind: str) -> None:
        if self._over_limit(person, kind):
            raise Refused(429, self._error(429, None))

    def _error(self, status: int, retry_after: int | None) -> JSON:
        return {"code": _CODES.get(status, "internal.error"), "message": "error.simulated"}


def _operation(call: Call) -> tuple[str, JSON]:
    """The name of the operation and its parameters, one of which may stand in the path."""
    head, _, message_id = call.method.partition("/messages/")
    if message_id:
        return head + "/messages/{message_id}", {**call.params, "message_id": message_id}
    return call.method, call.params


def _content(body: JSON, before: Posted | None) -> tuple[str, list[Span], list[list[JSON]]]:
    """Text, spans and keyboard of a new or an edited message, which keeps what the body leaves out."""
    text: str = before.text if before else ""
    spans = before.spans if before else []
    keyboard = before.keyboard if before else []
    if body.get("text") is not None:
        text, spans = _rendered(body)
    if body.get("attachments") is not None:
        keyboard = [row for keyboard in body["attachments"] for row in keyboard["payload"]["buttons"]]
    if not text.strip() and not keyboard:
        raise _violation("Message text is empty")
    return text, spans, keyboard


def _rendered(body: JSON) -> tuple[str, list[Span]]:
    if body.get("format") != "html":
        return body["text"], []
    try:
        return parse_html(body["text"], _TAGS)
    except ValueError as error:
        raise _violation(f"body.text: {error}") from None
