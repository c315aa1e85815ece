"""What the others are measured against: an aiohttp handler that reads JSON, does nothing and answers JSON."""

from __future__ import annotations

import sys

from aiohttp import web


async def nothing(request: web.Request) -> web.Response:
    """Everything but the work."""
    if request.can_read_body:
        await request.json()
    return web.json_response({"verified": True})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.post("/verify", nothing), web.get("/status", nothing)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
