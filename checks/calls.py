"""One HTTP call with the time of its steps, and in plain words how far it came."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientHttpProxyError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    TraceConfig,
)
from aiohttp.abc import AbstractResolver

CALL_SECONDS: Final = 6.0
LARGEST_ANSWER: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outside:
    """How the outside is reached: the machine's own way, or that of a test."""

    context: ssl.SSLContext | None = None
    """Whose certificates are trusted; the system's roots when None."""
    resolver: AbstractResolver | None = None
    """Turns names into addresses; the system's way when None."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and the milliseconds until then: for the name, for the connection (name, TCP and TLS), in all."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    name_ms: float | None
    connect_ms: float | None
    total_ms: float


class Unreached(Exception):
    """No answer came; `why` is for the operator, after the words "is not reached", and holds nothing of the address."""

    def __init__(self, stage: str, why: str) -> None:
        super().__init__(why)
        self.stage = stage
        """`name`, `connect`, `certificate`, `tls`, `proxy`, `time` or `answer`: what failed."""
        self.why = why


async def call(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    proxy: str | None = None,
    outside: Outside | None = None,
    seconds: float = CALL_SECONDS,
) -> Answer:
    """One call over a new connection; redirects are not followed. Raises `Unreached`."""
    through = outside or Outside()
    steps = _Steps()
    connector = TCPConnector(
        ssl=through.context or True, resolver=through.resolver, use_dns_cache=False, force_close=True
    )
    session = ClientSession(
        connector=connector,
        timeout=ClientTimeout(total=seconds),
        cookie_jar=DummyCookieJar(),
        trust_env=False,
        trace_configs=[steps.tracing()],
    )
    async with session:
        try:
            async with session.request(
                method, url, headers=headers, data=body, proxy=proxy, allow_redirects=False
            ) as answer:
                content = await answer.content.read(LARGEST_ANSWER)
                return Answer(
                    answer.status,
                    dict(answer.headers),
                    content,
                    steps.name_ms,
                    steps.connect_ms,
                    steps.since_start(),
                )
        except (ClientError, OSError, ValueError) as error:
            raise _unreached(error, seconds, steps, proxied=proxy is not None) from None


class _Steps:
    """When what was done, in milliseconds since the beginning."""

    def __init__(self) -> None:
        self._began = perf_counter()
        self.name_ms: float | None = None
        self.connect_ms: float | None = None

    def since_start(self) -> float:
        return (perf_counter() - self._began) * 1000

    def tracing(self) -> TraceConfig:
        made = TraceConfig()
        made.on_dns_resolvehost_end.append(self._resolved)
        made.on_connection_create_end.append(self._connected)
        return made

    async def _resolved(self, *_: Any) -> None:
        self.name_ms = self.since_start()

    async def _connected(self, *_: Any) -> None:
        self.connect_ms = self.since_start()


def _unreached(error: Exception, seconds: float, steps: _Steps, *, proxied: bool) -> Unreached:
    """In the words of somebody who stands beside the machine. Texts of exceptions may hold the address."""
    if isinstance(error, TimeoutError):
        return Unreached("time", _too_late(seconds, steps))
    if isinstance(error, ClientConnectorCertificateError):
        return Unreached("certificate", f"its certificate is refused: {refusal(error.certificate_error)}")
    if isinstance(error, ClientConnectorDNSError):
        what = "the proxy's name" if proxied else "its name"
        return Unreached(
            "proxy" if proxied else "name", f"{what} can't be resolved ({system(error.os_error)})"
        )
    if isinstance(error, ClientHttpProxyError):
        return Unreached("proxy", f"the proxy answered {error.status}")
    if isinstance(error, ClientConnectorSSLError):
        return Unreached("tls", "no TLS connection came about")
    if isinstance(error, ClientConnectorError):
        whom = " to the proxy" if proxied else ""
        return Unreached("proxy" if proxied else "connect", f"no connection{whom} ({system(error.os_error)})")
    return Unreached("answer", "the connection ended without a readable answer")


def _too_late(seconds: float, steps: _Steps) -> str:
    if steps.connect_ms is not None:
        return f"connected, but no answer within {seconds:g} s"
    return f"no connection within {seconds:g} s"


def system(error: OSError) -> str:
    """What the system says; asyncio puts the address into its own words."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def refusal(error: BaseException) -> str:
    """What OpenSSL says of a certificate that it refuses."""
    return error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else type(error).__name__
