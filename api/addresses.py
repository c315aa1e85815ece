"""Who is at the other end, behind proxies too."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import web

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV6_SITE: Final = 64
"""Bits of an IPv6 address that one customer has: within them addresses can be changed at will (RFC 6177)."""


def client_address(request: web.Request, trusted: Sequence[Network]) -> Address | None:
    """The client's address. A forwarded one is believed only as far as those who forwarded it are trusted.

    The TCP peer must be a trusted proxy; then `X-Forwarded-For` is read from the right, and the first address there
    that is no trusted proxy is the client's. What cannot be read ends the way: the one who forwarded it is meant.
    """
    client = _plain(request.remote or "")
    hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
    while client is not None and hops and any(client in network for network in trusted):
        before = _plain(hops.pop())
        if before is None:
            break
        client = before
    return client


def one_site(address: Address | None) -> str:
    """What addresses of one client have in common: the whole of an IPv4 address, half of an IPv6 one."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, IPV6_SITE), strict=False))
    return str(address)


def _plain(text: str) -> Address | None:
    """An address as proxies write it: with a port, in brackets, IPv4 within IPv6."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
