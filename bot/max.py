"""MAX's skin: maxapi's client for the calls, our own reading of the few fields that the dialog needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, cast

import aiohttp
from aiohttp import ClientResponse, ClientResponseError, TCPConnector
from maxapi import Bot
from maxapi.client import DefaultConnectionProperties
from maxapi.client.ssl import create_default_ssl_context
from maxapi.enums.http_method import HTTPMethod
from maxapi.exceptions.base import MaxError
from maxapi.exceptions.max import InvalidToken, MaxApiError

from bot.events import Event, Left, Opened, Pressed, Said, language_of, time_of, user_id_of
from bot.lines import CALL_SECONDS, call, limits, never_left
from bot.messages import Button, Copy, Link, Message, Press
from bot.messenger import (
    FETCH_SECONDS,
    Fetched,
    Hook,
    Introduction,
    MessengerError,
    checked_name,
    is_message_id,
)
from otp.model import Channel, Person, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from otp.taps import Update

UPDATES: Final = ["bot_started", "message_created", "message_callback", "bot_stopped", "dialog_removed"]
_FAILURES: Final = (MaxError, TimeoutError, aiohttp.ClientError, ValueError, RecursionError)
_GONE: Final = {(403, "chat.denied"), (404, "dialog.not.found"), (404, "chat.not.found")}


class MaxSkin:
    """See `bot.messenger.Skin`."""

    channel = Channel.MAX
    secret_header = "X-Max-Bot-Api-Secret"  # noqa: S105  # a header's name
    replaces_hook = False

    def __init__(self, token: str, api_url: str, proxy: str | None = None) -> None:
        """The library brings its own TLS roots: MAX's chain ends in a CA that systems do not ship."""
        # Not bounded here: a code must not wait for a connection behind answers and edits that hang.
        self.trusts = create_default_ssl_context()
        self._connector = TCPConnector(ssl=self.trusts, limit=0)
        connection = DefaultConnectionProperties(
            timeout=CALL_SECONDS, max_retries=0, connector=self._connector
        )
        self._bot = Bot(token, auto_requests=False, default_connection=connection)
        self._bot.set_api_url(api_url)
        self._proxy = proxy

    def parse(self, body: bytes) -> Event | None:
        return parse(body)

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        try:
            answer = await self._send("POST", "/messages", {"user_id": user_id}, _body(message), timeout_ms)
            message_id = answer["message"]["body"]["mid"]
        except Exception as error:  # noqa: BLE001  # whatever the library makes of an answer, the message may be out
            return outcome_of(error)
        return Accepted(message_id) if is_message_id(message_id) else Unknown()

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        body: dict[str, Any] = {}
        if message is not None:
            body["message"] = _body(message)
        if popup is not None:
            body["notification"] = popup
        try:
            await self._send(
                "POST", "/answers", {"callback_id": pressed.callback_id}, body, CALL_SECONDS * 1000
            )
        except _FAILURES:
            if message is not None and pressed.message_id is not None:
                await self.edit(
                    pressed.update.person.user_id, pressed.message_id, message, CALL_SECONDS * 1000
                )

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        """A message's id names it alone in MAX; a refusal may come as HTTP 200 with `success: false`."""
        try:
            answer = await self._send(
                "PUT", "/messages", {"message_id": message_id}, _body(message), timeout_ms
            )
        except Exception as error:  # noqa: BLE001  # whatever the library makes of an answer
            return outcome_of(error)
        return Accepted(message_id) if answer.get("success") is True else Refused(Refusal.REJECTED)

    async def username(self) -> str:
        return checked_name((await self._call(HTTPMethod.GET, "/me")).get("username"))

    async def fetch(self, marker: int | None) -> Fetched:
        wanted = {"timeout": FETCH_SECONDS, "types": ",".join(UPDATES)} | (
            {} if marker is None else {"marker": marker}
        )
        answer = await self._call(
            HTTPMethod.GET, "/updates", seconds=FETCH_SECONDS + CALL_SECONDS, params=wanted
        )
        listed, confirms = answer.get("updates"), answer.get("marker")
        bodies = [json.dumps(one).encode() for one in listed] if isinstance(listed, list) else []
        return Fetched(bodies, confirms if isinstance(confirms, int) else None)

    async def introduce(self, introductions: Sequence[Introduction]) -> None:
        """MAX has one list for all languages, and no description."""
        commands = [{"name": name, "description": what} for name, what in introductions[0].commands]
        await self._call(HTTPMethod.PATCH, "/me/commands", json={"commands": commands})

    async def hooks(self) -> Sequence[Hook]:
        found = (await self._call(HTTPMethod.GET, "/subscriptions")).get("subscriptions")
        listed = found if isinstance(found, list) else []
        return [Hook(str(one.get("url"))) for one in listed if isinstance(one, dict)]

    async def register(self, url: str, secret: str) -> None:
        await self._change(HTTPMethod.POST, json={"url": url, "update_types": UPDATES, "secret": secret})

    async def unregister(self, url: str) -> None:
        await self._change(HTTPMethod.DELETE, params={"url": url})

    async def _change(self, method: HTTPMethod, **content: Any) -> None:
        """A failure may come as HTTP 200 with `success: false`."""
        if (await self._call(method, "/subscriptions", **content)).get("success") is not True:
            raise MessengerError("the messenger refused the change", refused=True)

    async def close(self) -> None:
        await self._bot.close_session()
        await self._connector.close()

    async def _send(
        self, method: str, path: str, query: dict[str, int | str], body: dict[str, Any], timeout_ms: int
    ) -> dict[str, Any]:
        """A call about a person, past the library's own way; fails with the same errors."""
        session = await self._bot.ensure_session()
        url = self._bot.api_url + path
        status, text = await call(
            session, method, url, body, seconds=timeout_ms / 1000, proxy=self._proxy, query=query
        )
        if status == HTTPStatus.UNAUTHORIZED:
            raise InvalidToken
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            raise MaxApiError(status, answer if isinstance(answer, dict) else "")
        return answer

    async def _call(self, method: HTTPMethod, path: str, **content: Any) -> dict[str, Any]:
        try:
            return await self._request(method, path, **content)
        except _FAILURES as error:
            blocked = isinstance(error, MaxApiError) and error.code == HTTPStatus.METHOD_NOT_ALLOWED
            unauthorized = isinstance(error, InvalidToken)
            refused = isinstance(error, MaxApiError) and error.code == HTTPStatus.BAD_REQUEST
            raise MessengerError(
                _reason(error), unauthorized=unauthorized, webhook_in_the_way=blocked, refused=refused
            ) from error

    async def _request(
        self, method: HTTPMethod, path: str, *, seconds: float = CALL_SECONDS, **content: Any
    ) -> dict[str, Any]:
        answer = await self._bot.request(
            method,
            path,
            is_return_raw=True,
            allow_redirects=False,
            proxy=self._proxy,
            timeout=limits(seconds),
            raise_for_status=_no_redirect,
            **content,
        )
        return cast(dict[str, Any], answer)


async def _no_redirect(answer: ClientResponse) -> None:
    """The library would read a redirect's body as that of a success."""
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        raise ClientResponseError(answer.request_info, answer.history, status=answer.status)


def outcome_of(error: Exception) -> Outcome:
    """What a failed `POST /messages` means for the message."""
    if isinstance(error, InvalidToken):
        return Refused(Refusal.REJECTED, unauthorized=True)
    if isinstance(error, MaxApiError):
        return _answered(error)
    return NotSent() if never_left(error) else Unknown()


def _answered(error: MaxApiError) -> Outcome:
    code = error.raw.get("code") if isinstance(error.raw, dict) else None
    if error.code == HTTPStatus.TOO_MANY_REQUESTS:
        return NotSent(answered=True)
    if isinstance(code, str) and (error.code, code) in _GONE:
        return Refused(Refusal.GONE)
    refused = HTTPStatus.BAD_REQUEST <= error.code < HTTPStatus.INTERNAL_SERVER_ERROR
    return Refused(Refusal.REJECTED) if refused else Unknown()


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidToken):
        return "the token is not valid"
    if isinstance(error, MaxApiError):
        return f"HTTP {error.code}"
    return "not reachable" if never_left(error) else "no answer"


def _body(message: Message) -> dict[str, Any]:
    """Plain text: nothing in it is markup. An empty list of attachments removes an older keyboard."""
    rows = [[_button(button)] for button in message.buttons]
    keyboard = [{"type": "inline_keyboard", "payload": {"buttons": rows}}] if rows else []
    return {"text": message.text, "attachments": keyboard}


def _button(button: Button) -> dict[str, str]:
    match button:
        case Press(label, data):
            return {"type": "callback", "text": label, "payload": data}
        case Link(label, url):
            return {"type": "link", "text": label, "url": url}
        case Copy(label, text):
            return {"type": "clipboard", "text": label, "payload": text}


# ------------------------------------------------------------------ reading updates


def parse(body: bytes) -> Event | None:
    """The event in an update, or None: not readable, not from a private dialog with a person, or of no use to us."""
    try:
        update = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(update, dict):
        return None
    readers = {
        "bot_started": _started,
        "message_created": _created,
        "message_callback": _callback,
        "bot_stopped": _left,
        "dialog_removed": _left,
    }
    kind = update.get("update_type")
    return readers[kind](update, body) if isinstance(kind, str) and kind in readers else None


def _update(name: str, unique: object, sender: Any, update: Mapping[str, Any]) -> Update | None:
    """Updates have no id: they are told apart by what is unique in them, or by their whole body."""
    if not isinstance(sender, dict) or sender.get("is_bot") is True:
        return None
    user_id = user_id_of(sender.get("user_id"))
    raw = unique if isinstance(unique, bytes) else str(unique).encode("utf-8", "replace")
    if user_id is None:
        return None
    return Update(
        f"max:{name}:{sha256(raw).hexdigest()[:40]}",
        Person(Channel.MAX, user_id),
        language_of(update.get("user_locale")),
        time_of(update.get("timestamp")),
    )


def _started(update: Mapping[str, Any], body: bytes) -> Event | None:
    found = _update("start", body, update.get("user"), update)
    payload = update.get("payload")
    return None if found is None else Opened(found, payload if isinstance(payload, str) else "")


def _left(update: Mapping[str, Any], body: bytes) -> Event | None:
    found = _update("left", body, update.get("user"), update)
    return None if found is None else Left(found)


def _created(update: Mapping[str, Any], body: bytes) -> Event | None:
    message = update.get("message")
    if not isinstance(message, dict) or not _in_dialog(message):
        return None
    content = message.get("body")
    mid = content.get("mid") if isinstance(content, dict) else None
    text = content.get("text") if isinstance(content, dict) else None
    unique = mid if isinstance(mid, str) else body
    found = _update("message", unique, message.get("sender"), update)
    return None if found is None else Said(found, text if isinstance(text, str) else "")


def _callback(update: Mapping[str, Any], _body: bytes) -> Event | None:
    callback, message = update.get("callback"), update.get("message")
    if not isinstance(callback, dict) or not isinstance(callback.get("callback_id"), str):
        return None
    if isinstance(message, dict) and not _in_dialog(message):
        return None
    found = _update("press", callback["callback_id"], callback.get("user"), update)
    content = message.get("body") if isinstance(message, dict) else None
    mid = content.get("mid") if isinstance(content, dict) else None
    data = callback.get("payload")
    if found is None:
        return None
    return Pressed(
        found,
        callback["callback_id"],
        mid if is_message_id(mid) else None,
        data if isinstance(data, str) else "",
    )


def _in_dialog(message: Mapping[str, Any]) -> bool:
    recipient = message.get("recipient")
    return isinstance(recipient, dict) and recipient.get("chat_type") == "dialog"
