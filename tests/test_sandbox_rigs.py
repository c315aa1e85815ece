"""What the tests of the simulators share: each messenger with its real client and a webhook, over loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import aiohttp
from aiogram import Bot as TelegramBot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import InlineKeyboardMarkup
from aiohttp import web
from aiohttp.test_utils import TestServer
from maxapi import Bot as MaxBot
from maxapi.client.default import DefaultConnectionProperties
from maxapi.enums.http_method import HTTPMethod
from maxapi.enums.update import UpdateType

from sandbox.max import MaxSim
from sandbox.simulator import Simulator
from sandbox.telegram import TelegramSim

JSON = dict[str, Any]
Channel = Literal["telegram", "max"]
HOOK = "https://otp.example.test/webhooks"
SECRET = "secret-of-the-webhook"
TOKEN = "7000000001:token-of-the-bot"
ANN = 41
START = 1_790_000_000_000
BUTTONS: dict[str, list[JSON]] = {
    "telegram": [
        {"text": "Yes", "callback_data": "yes:1"},
        {"text": "Copy", "copy_text": {"text": "1234"}},
        {"text": "Site", "url": "https://example.test/"},
    ],
    "max": [
        {"type": "callback", "text": "Yes", "payload": "yes:1"},
        {"type": "clipboard", "text": "Copy", "payload": "1234"},
        {"type": "link", "text": "Site", "url": "https://example.test/"},
    ],
}


class Clock:
    """A clock that tests move, in ms."""

    def __init__(self) -> None:
        self.ms = START

    def __call__(self) -> int:
        return self.ms


@dataclass
class Receiver:
    """The bot's webhook: answers with the statuses it was given, then 200, and keeps what it got."""

    url: str | None = None
    statuses: list[int] = field(default_factory=list)
    updates: list[JSON] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        self.updates.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    def route(self, url: str) -> str | None:
        return self.url if url.startswith(HOOK) else None


class QuickSession(AiohttpSession):
    """aiogram's session, closed without its quarter of a second of patience."""

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class TelegramRig:
    """Telegram's simulator and aiogram."""

    send_call = "sendMessage"
    said_kind = "message"

    def __init__(self, sim: TelegramSim, receiver: Receiver, clock: Clock, url: str, token: str) -> None:
        self.sim, self.receiver, self.clock, self.url = sim, receiver, clock, url
        self.bot = TelegramBot(token, QuickSession(api=TelegramAPIServer.from_base(url), timeout=5))

    async def send(self, text: str, *rows: list[JSON]) -> str:
        markup = InlineKeyboardMarkup.model_validate({"inline_keyboard": rows}) if rows else None
        message = await self.bot.send_message(ANN, text, parse_mode="HTML", reply_markup=markup)
        return str(message.message_id)

    async def edit(self, message_id: str, text: str) -> None:
        await self.bot.edit_message_text(text, chat_id=ANN, message_id=int(message_id))

    async def popup(self, callback_id: str, text: str) -> None:
        await self.bot.answer_callback_query(callback_id, text)

    async def register(self, *kinds: str) -> None:
        await self.bot.set_webhook(HOOK, secret_token=SECRET, allowed_updates=list(kinds))

    def pressed(self, update: JSON) -> JSON:
        query = update["callback_query"]
        return {"id": query["id"], "user": query["from"]["id"], "data": query["data"]}

    async def raw(self, method: str, body: JSON | bytes) -> tuple[int, JSON]:
        """A call without aiogram."""
        return await post(f"{self.url}/bot{TOKEN}/{method}", body)

    async def close(self) -> None:
        await self.bot.session.close()


class MaxRig:
    """MAX's simulator and maxapi."""

    send_call = "POST /messages"
    said_kind = "message_created"

    def __init__(self, sim: MaxSim, receiver: Receiver, clock: Clock, url: str, token: str) -> None:
        self.sim, self.receiver, self.clock, self.url = sim, receiver, clock, url
        connection = DefaultConnectionProperties(timeout=5, sock_connect=5, max_retries=0)
        self.bot = MaxBot(token, auto_requests=False, default_connection=connection)
        self.bot.set_api_url(url)

    async def call(self, method: HTTPMethod, path: str, body: Any = None, **query: str | int) -> JSON:
        answer = await self.bot.request(method, path, is_return_raw=True, params=query, json=body)
        assert isinstance(answer, dict)
        return answer

    async def send(self, text: str, *rows: list[JSON]) -> str:
        body: JSON = {"text": text, "format": "html"}
        if rows:
            body["attachments"] = keyboard(*rows)
        answer = await self.call(HTTPMethod.POST, "/messages", body, user_id=ANN)
        return str(answer["message"]["body"]["mid"])

    async def edit(self, message_id: str, text: str) -> None:
        await self.call(HTTPMethod.PUT, "/messages", {"text": text}, message_id=message_id)

    async def popup(self, callback_id: str, text: str) -> None:
        await self.call(HTTPMethod.POST, "/answers", {"notification": text}, callback_id=callback_id)

    async def register(self, *kinds: str) -> None:
        await self.bot.subscribe_webhook(HOOK, [UpdateType(kind) for kind in kinds], SECRET)

    def pressed(self, update: JSON) -> JSON:
        callback = update["callback"]
        return {
            "id": callback["callback_id"],
            "user": callback["user"]["user_id"],
            "data": callback["payload"],
        }

    async def raw(self, path: str, body: JSON | bytes, **headers: str) -> tuple[int, JSON]:
        """A POST without maxapi."""
        return await post(self.url + path, body, **headers)

    async def close(self) -> None:
        await self.bot.close_session()


Rig = TelegramRig | MaxRig


@asynccontextmanager
async def telegram_rig(
    *, token: str = TOKEN, limit: int = 0, started: bool = True
) -> AsyncIterator[TelegramRig]:
    """Telegram, to whose bot Ann has spoken unless told otherwise; `limit` is messages per second."""
    async with _Bench(limit) as bench:
        sim = TelegramSim(**bench.settings)
        rig = TelegramRig(sim, bench.receiver, bench.clock, await bench.serve(sim), token)
        if started:
            start(sim)
        yield rig
        await rig.close()


@asynccontextmanager
async def max_rig(*, token: str = TOKEN, limit: int = 0, started: bool = True) -> AsyncIterator[MaxRig]:
    """MAX, to whose bot Ann has spoken unless told otherwise; `limit` is messages per second."""
    async with _Bench(limit) as bench:
        sim = MaxSim(**bench.settings)
        rig = MaxRig(sim, bench.receiver, bench.clock, await bench.serve(sim), token)
        if started:
            start(sim)
        yield rig
        await rig.close()


class _Bench:
    """The servers of one rig."""

    def __init__(self, limit: int) -> None:
        self.clock = Clock()
        self.receiver = Receiver()
        self.settings: JSON = {
            "token": TOKEN,
            "username": "codes_bot",
            "now": self.clock,
            "route": self.receiver.route,
            "retry_delay": 0.001,
            "messages_per_second": limit,
        }
        self._sims: list[Simulator] = []
        self._servers: list[TestServer] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/webhooks", self.receiver.receive)
        self.receiver.url = await self._start(app) + "/webhooks"
        return self

    async def serve(self, sim: Simulator) -> str:
        self._sims.append(sim)
        return await self._start(sim.app())

    async def _start(self, app: web.Application) -> str:
        server = TestServer(app)
        await server.start_server()
        self._servers.append(server)
        return str(server.make_url("")).rstrip("/")

    async def __aexit__(self, *_: object) -> None:
        for sim in self._sims:
            await sim.close()
        for server in self._servers:
            await server.close()


def start(sim: Simulator) -> None:
    """Start the bot as Ann, unheard."""
    sim.capture = []
    sim.open_link(ANN, link(sim))
    sim.capture = None


def link(sim: Simulator, payload: str = "otp_abc") -> str:
    return f"https://{sim.link_host}/{sim.username}?start={payload}"


def texts(sim: Simulator) -> list[str]:
    """The bot's messages on Ann's screen."""
    return [message.text for message in sim.chat(ANN) if message.author == "bot"]


def keyboard(*rows: list[JSON]) -> list[JSON]:
    """MAX's attachment of these rows of buttons."""
    return [{"type": "inline_keyboard", "payload": {"buttons": list(rows)}}]


async def post(url: str, body: JSON | bytes, **headers: str) -> tuple[int, JSON]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **headers}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=data) as answer,
    ):
        return answer.status, await answer.json()
