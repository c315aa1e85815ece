"""What a webhook is measured against: a handler that answers with one message and does nothing else.

    python -m bench.stock aiogram|plain PORT MESSENGER

`aiogram` is the library's own way, `plain` an aiohttp route and an aiohttp client. Neither keeps anything.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Final

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import CallbackQuery
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import ClientSession, web

TOKEN: Final = "1234567:" + "b" * 35
SECRET: Final = "a-secret-of-the-bench"  # noqa: S105  # nobody's
PATH: Final = "/webhooks/telegram"
TEXT: Final = "123456\n\nYour code for\nBench\n\nIt lives for 5 minutes."


def aiogram_app(messenger: str) -> web.Application:
    """`Dispatcher` and `SimpleRequestHandler` as aiogram's documentation has them."""
    bot = Bot(TOKEN, session=AiohttpSession(api=TelegramAPIServer.from_base(messenger)))
    dispatcher = Dispatcher()

    @dispatcher.callback_query()
    async def pressed(query: CallbackQuery) -> None:
        await bot.send_message(query.from_user.id, TEXT)

    app = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token=SECRET).register(app, PATH)
    setup_application(app, dispatcher, bot=bot)
    return app


def plain_app(messenger: str) -> web.Application:
    """The least that aiohttp needs for the same."""
    app = web.Application()
    sessions: list[ClientSession] = []

    async def with_client(_app: web.Application) -> AsyncIterator[None]:
        async with ClientSession() as session:
            sessions.append(session)
            yield

    async def pressed(request: web.Request) -> web.Response:
        update = await request.json()
        message = {"chat_id": update["callback_query"]["from"]["id"], "text": TEXT}
        async with sessions[0].post(f"{messenger}/bot{TOKEN}/sendMessage", json=message) as answer:
            await answer.json()
        return web.json_response({})

    app.cleanup_ctx.append(with_client)
    app.router.add_post(PATH, pressed)
    return app


if __name__ == "__main__":
    kind, port, messenger = sys.argv[1:]
    made = aiogram_app(messenger) if kind == "aiogram" else plain_app(messenger)
    web.run_app(made, host="127.0.0.1", port=int(port), access_log=None, print=None)
