"""Calls over HTTP as both skins make them: their limits of time, and which failures come before anything has left."""

from __future__ import annotations

from typing import Final

from aiohttp import ClientConnectorError, ClientHttpProxyError, ClientTimeout, ConnectionTimeoutError

CONNECT_SECONDS: Final = 5
CALL_SECONDS: Final = 10
_UNCONNECTED: Final = (ClientConnectorError, ConnectionTimeoutError, ClientHttpProxyError)


def limits(seconds: float) -> ClientTimeout:
    """The time of a call. Names, proxies and TLS together end before it does, and so as `ConnectionTimeoutError`."""
    return ClientTimeout(total=seconds, connect=min(CONNECT_SECONDS, 0.8 * seconds))


def never_left(error: BaseException) -> bool:
    """Whether no connection to the messenger came about, so that it heard nothing of the call."""
    return isinstance(error, _UNCONNECTED) or isinstance(error.__cause__, _UNCONNECTED)
