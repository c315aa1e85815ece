"""Telegram's skin: aiogram's client for the calls, our own reading of the few fields that the dialog needs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from ssl import SSLContext
from typing import Any, Final, cast

import bot.light_aiogram  # noqa: F401  # before all other imports of aiogram

# isort: split

from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
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
from aiogram.methods import GetMe, TelegramMethod
from aiogram.methods.base import TelegramType
from aiogram.types import BotCommand
from aiohttp import ClientError

from bot.events import Event, Left, Pressed, Said, SharedContact, language_of, time_of, user_id_of
from bot.lines import CALL_SECONDS, call, limits, never_left
from bot.messages import AskContact, Button, Copy, Keyboard, Link, Message, Press
from bot.messenger import FETCH_SECONDS, Fetched, Hook, Introduction, MessengerError, checked_name
from otp.model import Channel, Person, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown
from otp.taps import Update

UPDATES: Final = ["message", "callback_query", "my_chat_member"]
CONNECTIONS: Final = 100
"""Webhook deliveries that Telegram may have open at once. Our own calls are bounded where they are made, never by a
pool: a code must not wait for a connection behind answers and edits that hang."""
LONGEST_WAIT_SECONDS: Final = 86_400
"""What no time of ours can hold is as good as a day."""
_SECOND_HAND: Final = ("forward_origin", "forward_from", "forward_date", "via_bot")
"""Fields of a message that did not come from its sender's own hand; `forward_from` and `forward_date` until Bot API 7.0."""
_ANY: Final = GetMe()
"""Stands for the method in aiogram's errors: one that holds a message would hold a code."""
_UNAUTHORIZED: Final = (TelegramUnauthorizedError, TelegramNotFound)
"""The token is in the address: a wrong one leads nowhere."""
_CERTAINLY_REFUSED: Final = (
    TelegramBadRequest,
    TelegramNotFound,
    TelegramConflictError,
    TelegramUnauthorizedError,
    TelegramEntityTooLarge,
    TelegramMigrateToChat,
)


class _Session(AiohttpSession):
    """aiogram's session with a connect timeout, an HTTP proxy, and no redirects: a redirect would carry the token away."""

    def __init__(self, api: TelegramAPIServer, http_proxy: str | None) -> None:
        super().__init__(api=api, limit=0, timeout=CALL_SECONDS)
        self._http_proxy = http_proxy
        self._urls: dict[str, str] = {}

    @property
    def trusts(self) -> SSLContext:
        """The roots that aiogram brings."""
        return cast(SSLContext, self._connector_init["ssl"])

    async def close(self) -> None:
        """Without aiogram's pause: aiohttp waits for the ends of TLS connections itself."""
        if self._session is not None and not self._session.closed:
            await self._session.close()

    async def call_raw(self, token: str, method: str, params: dict[str, Any]) -> tuple[int, Any]:
        """One call that waits for updates: the status and the JSON of the answer."""
        session = await self.create_session()
        url = self.api.api_url(token=token, method=method)
        async with session.post(
            url,
            json=params,
            timeout=limits(FETCH_SECONDS + CALL_SECONDS),
            proxy=self._http_proxy,
            allow_redirects=False,
        ) as answer:
            return answer.status, json.loads(await answer.text())

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[TelegramType],
        timeout: int | None = None,  # noqa: ASYNC109  # aiogram's signature
    ) -> TelegramType:
        session = await self.create_session()
        url = self.api.api_url(token=bot.token, method=method.__api_method__)
        within = limits(timeout or CALL_SECONDS)
        form = self.build_form_data(bot=bot, method=method)
        try:
            async with session.post(
                url, data=form, timeout=within, proxy=self._http_proxy, allow_redirects=False
            ) as answer:
                content = await answer.text()
        except (TimeoutError, ClientError, UnicodeDecodeError) as error:
            raise TelegramNetworkError(method=method, message=type(error).__name__) from error
        return self._result(bot, method, answer.status, content)

    async def call(self, bot: Bot, name: str, content: Mapping[str, Any], seconds: float) -> Any:
        """The same without aiogram's models, for what goes to people; fails with the same errors."""
        session = await self.create_session()
        if name not in self._urls:
            self._urls[name] = self.api.api_url(token=bot.token, method=name)
        try:
            status, body = await call(
                session, "POST", self._urls[name], content, seconds=seconds, proxy=self._http_proxy
            )
        except (TimeoutError, ClientError) as error:
            raise TelegramNetworkError(method=_ANY, message=type(error).__name__) from error
        with suppress(ValueError, RecursionError):
            answer = json.loads(body) if status == HTTPStatus.OK else None
            if isinstance(answer, dict) and answer.get("ok") is True:
                return answer.get("result")
        return self._result(bot, _ANY, status, body.decode("utf-8", "replace"))

    def _result(
        self, bot: Bot, method: TelegramMethod[TelegramType], status: int, content: str
    ) -> TelegramType:
        """What aiogram makes of an answer. Raises its errors."""
        try:
            response = self.check_response(bot=bot, method=method, status_code=status, content=content)
        except (TelegramAPIError, ClientDecodeError, TypeError) as error:
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # whatever it says, the message may be out
                raise TelegramServerError(method, "the messenger failed") from error
            if status == HTTPStatus.TOO_MANY_REQUESTS and not isinstance(error, TelegramRetryAfter):
                raise TelegramRetryAfter(method, "too many requests", retry_after=0) from error
            raise
        return cast(TelegramType, response.result)


class TelegramSkin:
    """See `bot.messenger.Skin`."""

    channel = Channel.TELEGRAM
    secret_header = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105  # a header's name
    replaces_hook = True

    def __init__(self, token: str, api_url: str, proxy: str | None = None) -> None:
        self._session = _Session(TelegramAPIServer.from_base(api_url), proxy)
        self._bot = Bot(token, session=self._session)
        self.trusts = self._session.trusts

    def parse(self, body: bytes) -> Event | None:
        return parse(body)

    async def send(self, user_id: int, message: Message, timeout_ms: int) -> Outcome:
        try:
            content = {"chat_id": user_id, **_content(message)}
            sent = await self._session.call(self._bot, "sendMessage", content, timeout_ms / 1000)
            message_id = user_id_of(sent["message_id"])
        except Exception as error:  # noqa: BLE001  # whatever the library makes of an answer, the message may be out
            return outcome_of(error)
        return Unknown() if message_id is None else Accepted(str(message_id))

    async def answer(self, pressed: Pressed, popup: str | None, message: Message | None) -> None:
        content = {"callback_query_id": pressed.callback_id, **({} if popup is None else {"text": popup})}
        with suppress(AiogramError):  # too old, or not reachable: the message still tells what happened
            await self._session.call(self._bot, "answerCallbackQuery", content, CALL_SECONDS)
        if message is not None and pressed.message_id is not None:
            await self.edit(pressed.update.person.user_id, pressed.message_id, message, CALL_SECONDS * 1000)

    async def edit(self, user_id: int, message_id: str, message: Message, timeout_ms: int) -> Outcome:
        try:
            content = {"chat_id": user_id, "message_id": int(message_id), **_content(message)}
            await self._session.call(self._bot, "editMessageText", content, timeout_ms / 1000)
        except Exception as error:  # noqa: BLE001  # whatever the library makes of an answer
            if (
                isinstance(error, TelegramBadRequest)
                and "message is not modified" in str(error.message).lower()
            ):
                return Accepted(message_id)
            return outcome_of(error)
        return Accepted(message_id)

    async def username(self) -> str:
        me = await self._call(self._bot.get_me())
        return checked_name(me.username)

    async def fetch(self, marker: int | None) -> Fetched:
        """Raw, without aiogram's models: one update that they can't read would hold up all that come after it."""
        wanted = {"timeout": FETCH_SECONDS, "allowed_updates": UPDATES} | (
            {} if marker is None else {"offset": marker}
        )
        try:
            status, answer = await self._session.call_raw(self._bot.token, "getUpdates", wanted)
        except (TimeoutError, ClientError, ValueError) as error:
            raise MessengerError("no answer") from error
        listed = answer.get("result") if isinstance(answer, dict) and answer.get("ok") is True else None
        if not isinstance(listed, list):
            conflict, unknown = (
                status == HTTPStatus.CONFLICT,
                status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND),
            )
            raise MessengerError(f"HTTP {status}", unauthorized=unknown, webhook_in_the_way=conflict)
        ids = [
            one["update_id"]
            for one in listed
            if isinstance(one, dict) and isinstance(one.get("update_id"), int)
        ]
        return Fetched([json.dumps(one).encode() for one in listed], max(ids) + 1 if ids else None)

    async def introduce(self, introductions: Sequence[Introduction]) -> None:
        for place, one in enumerate(introductions):
            commands = [BotCommand(command=name, description=what) for name, what in one.commands]
            for language in ([None] if place == 0 else []) + [one.language]:
                await self._call(self._bot.set_my_commands(commands, language_code=language))
                await self._call(self._bot.set_my_description(one.description, language_code=language))

    async def hooks(self) -> Sequence[Hook]:
        info = await self._call(self._bot.get_webhook_info())
        if not info.url:
            return []
        failed_at = info.last_error_date and round(info.last_error_date.timestamp() * 1000)
        return [Hook(info.url, info.last_error_message, failed_at, info.pending_update_count)]

    async def register(self, url: str, secret: str) -> None:
        await self._call(
            self._bot.set_webhook(
                url,
                secret_token=secret,
                allowed_updates=UPDATES,
                drop_pending_updates=False,
                max_connections=CONNECTIONS,
            )
        )

    async def unregister(self, url: str) -> None:
        if any(hook.url == url for hook in await self.hooks()):
            await self._call(self._bot.delete_webhook(drop_pending_updates=False))

    async def close(self) -> None:
        await self._bot.session.close()

    async def _call(self, call: Any) -> Any:
        try:
            return await call
        except (AiogramError, ValueError) as error:
            unauthorized = isinstance(error, _UNAUTHORIZED)
            blocked = isinstance(error, TelegramConflictError)
            refused = isinstance(error, TelegramBadRequest)
            raise MessengerError(
                _reason(error), unauthorized=unauthorized, webhook_in_the_way=blocked, refused=refused
            ) from error


def outcome_of(error: Exception) -> Outcome:
    """What a failed `sendMessage` means for the message."""
    if isinstance(error, TelegramRetryAfter):
        return NotSent(int(min(error.retry_after, LONGEST_WAIT_SECONDS) * 1000), answered=True)
    if isinstance(error, TelegramForbiddenError) or _chat_not_found(error):
        return Refused(Refusal.GONE)
    if isinstance(error, _CERTAINLY_REFUSED):
        return Refused(Refusal.REJECTED, unauthorized=isinstance(error, _UNAUTHORIZED))
    return NotSent() if never_left(error) else Unknown()


def _chat_not_found(error: Exception) -> bool:
    return isinstance(error, TelegramBadRequest) and "chat not found" in str(error.message).lower()


def _reason(error: Exception) -> str:
    if isinstance(error, TelegramNetworkError):
        return "not reachable" if never_left(error) else "no answer"
    return type(error).__name__ if isinstance(error, TelegramAPIError) else "unreadable answer"


def _content(message: Message) -> dict[str, Any]:
    """A message as the Bot API takes it. Telegram counts offsets in UTF-16 code units."""
    content: dict[str, Any] = {"text": message.text, "link_preview_options": {"is_disabled": True}}
    marks = [
        {
            "type": mark.style.value,
            "offset": _utf16(message.text[: mark.offset]),
            "length": _utf16(message.text[mark.offset : mark.offset + mark.length]),
        }
        for mark in message.marks
        if mark.length
    ]
    if marks:
        content["entities"] = marks
    if message.buttons:
        content["reply_markup"] = {"inline_keyboard": [[_button(button)] for button in message.buttons]}
    elif message.keyboard is not None:
        content["reply_markup"] = _keyboard(message.keyboard)
    return content


def _keyboard(keyboard: Keyboard) -> dict[str, Any]:
    if not keyboard.keys:
        return {"remove_keyboard": True}
    rows = [
        [{"text": key.label, **({"request_contact": True} if isinstance(key, AskContact) else {})}]
        for key in keyboard.keys
    ]
    return {"keyboard": rows, "one_time_keyboard": True, "resize_keyboard": True}


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _button(button: Button) -> dict[str, Any]:
    match button:
        case Press(label, data):
            return {"text": label, "callback_data": data}
        case Link(label, url):
            return {"text": label, "url": url}
        case Copy(label, text):
            return {"text": label, "copy_text": {"text": text}}


# ------------------------------------------------------------------ reading updates


def parse(body: bytes) -> Event | None:
    """The event in an `Update`, or None: not readable, not from a private dialog with a person, or of no use to us."""
    try:
        update = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(update, dict) or user_id_of(update.get("update_id")) is None:
        return None
    key = f"telegram:{update['update_id']}"
    for name, read in (("message", _message), ("callback_query", _press), ("my_chat_member", _membership)):
        content = update.get(name)
        if isinstance(content, dict):
            return read(key, content)
    return None


def _update(key: str, sender: Any, chat: Any, date: Any = None) -> Update | None:
    """Who it is from, if that is a person in their own private dialog."""
    if not isinstance(sender, dict) or not isinstance(chat, dict) or sender.get("is_bot") is not False:
        return None
    user_id = user_id_of(sender.get("id"))
    if user_id is None or chat.get("type") != "private" or chat.get("id") != user_id:
        return None
    language, seconds = language_of(sender.get("language_code")), time_of(date)
    return Update(
        key, Person(Channel.TELEGRAM, user_id), language, None if seconds is None else seconds * 1000
    )


def _message(key: str, message: Mapping[str, Any]) -> Event | None:
    update = _update(key, message.get("from"), message.get("chat"), message.get("date"))
    if update is None:
        return None
    contact, text = message.get("contact"), message.get("text")
    if isinstance(contact, dict):
        return _contact(update, message, contact)
    return Said(update, text if isinstance(text, str) else "")


def _contact(update: Update, message: Mapping[str, Any], contact: Mapping[str, Any]) -> Event:
    """The person's own contact has their user id. What was forwarded, or made by another bot, is not theirs to share."""
    number = contact.get("phone_number")
    own = user_id_of(contact.get("user_id")) == update.person.user_id and not any(
        name in message for name in _SECOND_HAND
    )
    return SharedContact(update, number if isinstance(number, str) else "", own)


def _press(key: str, query: Mapping[str, Any]) -> Event | None:
    """When it was pressed is not told: the date is that of the message."""
    message = query.get("message")
    if not isinstance(message, dict) or not isinstance(query.get("id"), str):
        return None
    update = _update(key, query.get("from"), message.get("chat"))
    message_id = user_id_of(message.get("message_id"))
    data = query.get("data")
    if update is None:
        return None
    return Pressed(
        update, query["id"], str(message_id) if message_id else None, data if isinstance(data, str) else ""
    )


def _membership(key: str, change: Mapping[str, Any]) -> Event | None:
    update = _update(key, change.get("from"), change.get("chat"), change.get("date"))
    member = change.get("new_chat_member")
    kicked = isinstance(member, dict) and member.get("status") == "kicked"
    return Left(update) if update is not None and kicked else None
