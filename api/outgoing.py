"""The way to endpoints: one POST, soon over, only to addresses that may be reached, and nowhere else from there."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from ssl import SSLContext
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult

from otp.policy import SECOND_MS
from otp.ports import Reply

ATTEMPT_SECONDS: Final = 10.0
"""From the name to the answer's last header."""
BODY_SECONDS: Final = 1.0
"""The answer's body is of no use: it is read, for a moment and in part, so that the connection can be used again."""
LARGEST_BODY: Final = 16 * 1024
KEEPALIVE_SECONDS: Final = 4.0
"""Less than servers usually keep a silent connection: what is sent into one that closes is not known to have arrived."""
NAMES_AT_ONCE: Final = 64
"""Names that are looked up at the same time: in threads of their own, as one whose server hangs holds its thread."""

Lookup = Callable[[str], list[str]]
"""The addresses of a name, in a thread. Raises `OSError`."""

_SECONDS: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_EMBEDDING: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("::/96"))
"""NAT64 and the old compatible form: in the last 32 bits stands the address that is meant."""
_INTERNET: Final = IPv6Network("2000::/3")
"""All that is given out of IPv6."""
_SERVICES: Final = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))
"""Where clouds have services of their own under addresses that not every Python takes for private (Azure, Oracle)."""


class NotAllowed(OSError):
    """The address must not be reached from here."""


def is_public(address: str) -> bool:
    """Whether an address is one of the internet's, also when it is written inside another one."""
    found: IPv4Address | IPv6Address = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _EMBEDDING):
            inner = IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found not in _INTERNET:
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _SERVICES)


def addresses_of(name: str) -> list[str]:
    """As the machine resolves it."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class _Names(AbstractResolver):
    """Looks names up, each once at a time."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._pool = ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="names")
        self._asked: dict[str, asyncio.Future[list[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        asked = self._asked.get(host)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._pool, self._lookup, host)
            self._asked[host] = asked
            asked.add_done_callback(lambda done: self._answered(host, done))
        return [_result(host, port, address) for address in await asyncio.shield(asked)]

    def _answered(self, host: str, done: asyncio.Future[list[str]]) -> None:
        del self._asked[host]
        if not done.cancelled():
            done.exception()  # whoever asked may be gone

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


class EndpointPost:
    """See `otp.ports.Post`."""

    def __init__(
        self,
        agent: str,
        *,
        private: bool,
        lookup: Lookup = addresses_of,
        context: SSLContext | None = None,
    ) -> None:
        """`private` allows every address, and http to private ones; `context` says whose certificates are trusted."""
        self._agent = agent
        self._private = private
        self._context = context
        self._names = _Names(lookup)
        self._sessions: dict[str, ClientSession] = {}

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await self._session(urlsplit(url).scheme).post(
                    url, data=body, headers=headers, allow_redirects=False
                )
        except (ClientError, OSError, ValueError) as error:
            return Reply(None, _why(error))
        try:
            return Reply(answer.status, retry_after_ms=_asked(answer))
        finally:
            await _put_away(answer)

    def _session(self, scheme: str) -> ClientSession:
        """Made when it is needed: most services have no endpoints."""
        if scheme == "http" and not self._private:
            raise NotAllowed
        if scheme not in self._sessions:
            self._sessions[scheme] = ClientSession(
                connector=TCPConnector(
                    ssl=self._context or True,
                    resolver=self._names,
                    use_dns_cache=False,
                    limit=0,
                    keepalive_timeout=KEEPALIVE_SECONDS,
                    socket_factory=self._plain_socket if scheme == "http" else self._socket,
                ),
                timeout=ClientTimeout(total=None, sock_connect=None),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                headers={
                    "Content-Type": "application/json",
                    "User-Agent": self._agent,
                    "Accept-Encoding": "identity",
                },
            )
        return self._sessions[scheme]

    def _socket(self, info: Any) -> socket.socket:
        """For the very address that is about to be connected to: whatever a name led to before counts for nothing."""
        if not self._private and not is_public(info[4][0]):
            raise NotAllowed
        return socket.socket(info[0], info[1], info[2])

    def _plain_socket(self, info: Any) -> socket.socket:
        if is_public(info[4][0]):
            raise NotAllowed  # what goes over the internet is encrypted
        return socket.socket(info[0], info[1], info[2])

    async def close(self) -> None:
        """Let go of all connections."""
        for session in self._sessions.values():
            await session.close()
        await self._names.close()


async def _put_away(answer: ClientResponse) -> None:
    """Read what is left of an answer, if that is soon done; else the connection is of no further use."""
    size = 0
    with suppress(ClientError, OSError, ValueError):
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in answer.content.iter_any():
                size += len(chunk)
                if size > LARGEST_BODY:
                    break
            else:
                answer.release()
    answer.close()


def _asked(answer: ClientResponse) -> int:
    """How long the endpoint wants us to wait, where it says so in seconds."""
    given = answer.headers.get("Retry-After", "")
    return int(given) * SECOND_MS if _SECONDS.fullmatch(given) else 0


def _why(error: Exception) -> str:
    """In a word. Texts of exceptions hold the address, which may hold a token."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, ClientConnectorCertificateError):
        return "certificate"
    if isinstance(error, ClientConnectorSSLError):
        return "tls"
    if isinstance(error, NotAllowed) or (
        isinstance(error, ClientConnectorError) and isinstance(error.os_error, NotAllowed)
    ):
        return "address_not_allowed"
    return "unreachable" if isinstance(error, ClientConnectorError) else "unreadable"
