"""A messenger that takes everything at once: what MAX answers to a bot, and nothing behind it."""

from __future__ import annotations

import sys
from itertools import count

from aiohttp import web

_numbers = count(1)


async def me(_request: web.Request) -> web.Response:
    """Who the bot is."""
    return web.json_response({"user_id": 1, "is_bot": True, "username": "id1_bot", "first_name": "Bench"})


async def took(_request: web.Request) -> web.Response:
    """A message arrived."""
    return web.json_response({"message": {"body": {"mid": f"mid.{next(_numbers):016}", "seq": 1}}})


async def done(_request: web.Request) -> web.Response:
    """Whatever it was."""
    return web.json_response({"success": True})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/me", me), web.post("/messages", took), web.route("*", "/{any:.*}", done)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
