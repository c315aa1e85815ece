"""Counts what comes of telling sites' webhooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otp.ports import Post, Reply


class CountedPost:
    """See `otp.ports.Post`."""

    def __init__(self, post: Post, posted: Callable[[str], None]) -> None:
        self._post = post
        self._posted = posted

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        reply = await self._post.post(url, headers, body)
        if reply.status is None:
            self._posted("unreachable")
        else:
            self._posted("delivered" if 200 <= reply.status < 300 else "refused")  # noqa: PLR2004  # the class of successes
        return reply
