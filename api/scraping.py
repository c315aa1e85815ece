"""`GET /metrics`: the figures, for who may have them. What they are is another package's business."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from api.problems import Problem

_BEARER: Final = re.compile(r"bearer ([!-~]+)", re.ASCII | re.IGNORECASE)

Scrape = Callable[[str], Awaitable[tuple[bytes, str]]]
"""The figures in a form that an `Accept` header allows, and its content type."""


class MetricsRoute:
    """One route, open or behind a token."""

    def __init__(self, scrape: Scrape, token: str | None) -> None:
        self._scrape = scrape
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to an application."""
        return [web.get("/metrics", self._metrics)]

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if self._token is not None and not _has_token(request, self._token):
            raise Problem(
                "unauthorized",
                "Send METRICS_TOKEN in one header: Authorization: Bearer <token>.",
                {"WWW-Authenticate": "Bearer"},
            )
        body, content_type = await self._scrape(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


def _has_token(request: web.Request, token: str) -> bool:
    """Whether the one header holds the token; compared as bytes, in constant time."""
    given = request.headers.getall("Authorization", [])
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    return found is not None and hmac.compare_digest(found[1].encode(), token.encode())
