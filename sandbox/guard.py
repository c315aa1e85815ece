"""Keeps the sandbox to this machine: it hands out a key, so no page from elsewhere may reach it by a name or a proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via")


@web.middleware
async def local_only(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer only for this machine's own names, and nothing that came through a proxy."""
    host = request.headers.get("Host", "")
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() not in HOSTS or any(header in request.headers for header in FORWARDED):
        return web.Response(
            status=403, text="The sandbox answers on this machine only: open it as http://localhost.\n"
        )
    return await handler(request)
