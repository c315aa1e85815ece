"""The messengers' way in: one route each. Secret, size, meaning, commit, and only then the acknowledgement."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import structlog
from aiohttp import web

from bot.dialog import Dialog
from bot.messenger import Skin
from bot.replies import Replies
from otp.errors import StorageUnavailable
from otp.model import Channel

LARGEST_UPDATE: Final = 1024 * 1024
"""Bytes; the largest updates that a messenger sends to a bot are some tens of kilobytes."""

Observed = Callable[[Channel, str, int | None], None]
"""Told of an update: its channel, what became of it, and when the messenger says that it happened."""
ReadBody = Callable[[web.Request, int], Awaitable[bytes | None]]
"""Reads a body of at most so many bytes, within the time for it; None when it is larger or too slow."""

log = structlog.get_logger()


def secret_matches(request: web.Request, header: str, secrets: Sequence[str]) -> bool:
    """Whether the one header holds one of the secrets; compared as bytes, in constant time."""
    given = request.headers.getall(header, [])
    if len(given) != 1:
        return False
    raw = given[0].encode("utf-8", "surrogateescape")
    matches = [hmac.compare_digest(raw, secret.encode()) for secret in secrets if secret]
    return any(matches)


class WebhookRoutes:
    """`POST /webhooks/<channel>` for each channel that is on."""

    def __init__(
        self,
        skins: Mapping[Channel, Skin],
        secrets: Mapping[Channel, Sequence[str]],
        dialog: Dialog,
        replies: Replies,
        read_body: ReadBody,
        observed: Observed = lambda *_: None,
    ) -> None:
        """`secrets` holds at least one non-empty secret per channel. Raises `ValueError` otherwise.

        `observed` is told `handled`, `dropped`, `wrong_secret`, `too_large` (or too slow) or `not_stored`.
        """
        for channel in skins:
            if not any(secrets.get(channel, ())):
                raise ValueError(f"a webhook without a secret must not exist: {channel}")
        self._skins = skins
        self._secrets = secrets
        self._dialog = dialog
        self._replies = replies
        self._read_body = read_body
        self._observed = observed

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [web.post(f"/webhooks/{channel}", self._handler(channel)) for channel in self._skins]

    def _handler(self, channel: Channel) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await self._receive(request, self._skins[channel])

        return handle

    async def _receive(self, request: web.Request, skin: Skin) -> web.StreamResponse:
        if not secret_matches(request, skin.secret_header, self._secrets[skin.channel]):
            self._observed(skin.channel, "wrong_secret", None)
            return web.Response(status=401, text="wrong secret\n")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return self._dropped(skin, "encoded")
        body = await self._read_body(request, LARGEST_UPDATE)
        if body is None:
            self._observed(skin.channel, "too_large", None)
            return web.Response(status=413, text="too large or too slow\n")
        event = skin.parse(body)
        if event is None:
            return self._dropped(skin, "unusable")
        try:
            replies = await self._dialog.handle(event)
        except StorageUnavailable:
            log.warning("webhook.not_stored", channel=skin.channel)
            self._observed(skin.channel, "not_stored", event.update.sent_at)
            return web.Response(status=503, text="not stored\n", headers={"Retry-After": "5"})
        self._observed(skin.channel, "handled", event.update.sent_at)
        self._replies.give(replies)
        return web.Response(text="ok\n")

    def _dropped(self, skin: Skin, why: str) -> web.StreamResponse:
        log.info("webhook.dropped", channel=skin.channel, why=why)
        self._observed(skin.channel, "dropped", None)
        return web.Response(text="ok\n")
