"""Calls over HTTP as both skins make them: their limits of time, and which failures come before anything has left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import (
    ClientConnectorError,
    ClientHttpProxyError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
)

CONNECT_SECONDS: Final = 5
CALL_SECONDS: Final = 10
_JSON: Final = {"Content-Type": "application/json"}
_UNCONNECTED: Final = (ClientConnectorError, ConnectionTimeoutError, ClientHttpProxyError)


def limits(seconds: float) -> ClientTimeout:
    """The time of a call. Names, proxies and TLS together end before it does, and so as `ConnectionTimeoutError`."""
    return ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, 0.8 * seconds))


async def call(
    session: ClientSession,
    method: str,
    url: str,
    content: Mapping[str, Any],
    *,
    seconds: float,
    proxy: str | None,
    query: Mapping[str, str | int] | None = None,
) -> tuple[int, bytes]:
    """A call with JSON: the status and the body of the answer. Raises what aiohttp raises.

    It goes through the session of the messenger's library, past its models: building and reading those costs several
    times the call. Redirects are not followed: the token, and the message, would go along.
    """
    async with session.request(
        method,
        url,
        params=query,
        data=json.dumps(content).encode(),
        headers=_JSON,
        timeout=limits(seconds),
        proxy=proxy,
        allow_redirects=False,
    ) as answer:
        return answer.status, await answer.read()


def never_left(error: BaseException) -> bool:
    """Whether no connection to the messenger came about, so that it heard nothing of the call."""
    return isinstance(error, _UNCONNECTED) or isinstance(error.__cause__, _UNCONNECTED)
