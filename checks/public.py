"""Whether what comes to `PUBLIC_URL` gets to this service: asked from this machine, so not quite as others see it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from typing import Final

from aiohttp import ThreadedResolver

from checks.calls import Answer, Outside, Unreached, call
from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "public url"
_HERE: Final = "from this machine"
_WAY: Final = {
    HTTPStatus.UNAUTHORIZED: (
        "the service there does not take the webhook secret of these settings",
        "another tapcode answers, or it runs with other SECRET_KEYS: start it with these settings",
    ),
    HTTPStatus.NOT_FOUND: (
        "nothing is there",
        "have the proxy pass /webhooks/ to the service with its path as it is; is this channel on there?",
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: ("it is not available", "see the lines about service and database"),
    HTTPStatus.BAD_GATEWAY: ("the proxy does not reach the service", "see where the proxy passes it on to"),
    HTTPStatus.GATEWAY_TIMEOUT: (
        "the service does not answer the proxy",
        "see where the proxy passes it on to",
    ),
}


async def delivery(url: str, headers: Mapping[str, str], *, outside: Outside | None = None) -> Answer:
    """Bring an update of no content to a webhook as its messenger would, with its secret; it is taken and dropped.

    Nothing is sent unless the certificate is good. Raises `Unreached`.
    """
    sent = {"Content-Type": "application/json", **headers}
    return await call(url, method="POST", headers=sent, body=b"{}", outside=outside)


async def leads_here(host: str, port: int, *, outside: Outside | None = None) -> bool:
    """Whether all addresses of a host are this machine's own. Raises `OSError`: its name can't be resolved."""
    resolver = (outside.resolver if outside else None) or ThreadedResolver()
    found = await resolver.resolve(host, port, socket.AF_UNSPEC)
    return bool(found) and all(await asyncio.gather(*(asyncio.to_thread(_own, one["host"]) for one in found)))


def _own(address: str) -> bool:
    """Only an address of one's own can be listened at."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_DGRAM)) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def judge_unreached(host: str, port: int, seen: Unreached, *, delivered: bool, here: bool) -> Finding:
    """Nobody answered.

    `delivered`: a messenger has it registered, and tells of no failure. `here`: the host is this machine.
    """
    text = f"{host} is not reached {_HERE}: {seen.why}"
    if here and seen.stage == "connect":
        return problem(
            SUBJECT,
            f"{text}: nothing listens on port {port} of this machine",
            "is nginx or Caddy running? See its state and its log (systemctl status)",
        )
    if delivered:
        return warning(
            SUBJECT,
            f"{text}; Telegram tells of no failure",
            "some networks do not lead back to themselves: try `curl -i` from another one",
        )
    return problem(
        SUBJECT,
        text,
        "see the name's DNS records, the firewall and the proxy; then try `curl -i` from another network",
    )


def takes(seen: Answer) -> bool:
    """Whether it is the service that answered, and took what was brought."""
    return seen.status == HTTPStatus.OK and seen.body.strip() == b"ok"


def judge(path: str, seen: Answer, *, new: bool = False) -> Finding:
    """What one webhook's path answered. `new`: the service never ran."""
    if takes(seen):
        return ok(SUBJECT, f"{path} took an update in {seen.total_ms:.0f} ms ({_HERE})")
    if seen.status == HTTPStatus.OK:
        return problem(
            SUBJECT,
            f"{path} is answered by another program ({_HERE})",
            "have the proxy pass /webhooks/ to the service",
        )
    if new and seen.status == HTTPStatus.BAD_GATEWAY:
        text = f"{path} answers {seen.status}: the proxy is there, the service is not ({_HERE})"
        return warning(SUBJECT, text, "start the service: before the first start this is normal")
    what, hint = _WAY.get(
        HTTPStatus(seen.status) if seen.status in set(HTTPStatus) else HTTPStatus.NOT_FOUND,
        (
            "that is not what the service answers",
            "have the proxy pass /webhooks/ to the service, without redirects",
        ),
    )
    return problem(SUBJECT, f"{path} answers {seen.status}: {what} ({_HERE})", hint)
