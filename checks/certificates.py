"""What a server shows of its certificate, and whether a messenger would take it.

MAX wants a real certificate with its whole chain on port 443, and so does Telegram for a webhook without an uploaded
one: every certificate between the server's own and a known root must be sent. Browsers fetch what is missing; messengers,
and OpenSSL here, do not.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ThreadedResolver

from checks.calls import CALL_SECONDS, Outside, Unreached, refusal, system
from checks.findings import Finding, ok, problem, warning
from otp.policy import DAY_MS

if TYPE_CHECKING:
    from cryptography import x509

SUBJECT: Final = "certificate"
WARN_MS: Final = 14 * DAY_MS
ALARM_MS: Final = 3 * DAY_MS
WARN_PART: Final = 6
ALARM_PART: Final = 20
"""Or so small a part of its life: certificates for six days are renewed every third."""
_SELF_SIGNED: Final = 18
_UNKNOWN_ROOT: Final = 19
_NO_ISSUER: Final = (2, 20, 21)
_EXPIRED: Final = 10
_NOT_YET: Final = 9
_WRONG_NAME: Final = (62, 64)
"""X509_V_ERR_… of OpenSSL."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate; times in ms since the epoch."""

    name: str
    issuer: str
    hosts: Sequence[str]
    starts_at: int
    expires_at: int
    self_signed: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """What a server sends, its own certificate first, and why it would be refused."""

    host: str
    sent: Sequence[Certificate]
    code: int = 0
    """OpenSSL's reason to refuse it; 0 when it is taken."""
    why: str | None = None


async def expires_at(host: str, port: int, *, outside: Outside | None = None) -> int:
    """When a host's certificate ends, in ms since the epoch, whether it is a good one or not. Raises `Unreached`."""
    sent, _ = await _handshake(host, port, _accepting(), outside or Outside())
    return sent[0].expires_at


async def chain_of(host: str, port: int, *, outside: Outside | None = None) -> Chain:
    """Look at it twice: once to see what is sent, once to have it judged by the roots. Raises `Unreached`."""
    through = outside or Outside()
    sent, _ = await _handshake(host, port, _accepting(), through)
    _, error = await _handshake(host, port, through.context or _judging(), through)
    return Chain(host, sent, *((error.verify_code, refusal(error)) if error is not None else ()))


async def _handshake(
    host: str, port: int, context: ssl.SSLContext, outside: Outside
) -> tuple[list[Certificate], ssl.SSLCertVerificationError | None]:
    """The certificates that were sent, or why they were refused. Raises `Unreached`."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            writer = await _connected(host, port, context, outside)
    except ssl.SSLCertVerificationError as error:
        return [], error
    except TimeoutError:
        raise Unreached("time", f"no TLS connection within {CALL_SECONDS:g} s") from None
    try:
        return [_read(one) for one in _sent(writer.get_extra_info("ssl_object"))], None
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _connected(host: str, port: int, context: ssl.SSLContext, outside: Outside) -> asyncio.StreamWriter:
    """By the first address that answers. Raises `Unreached`, `ssl.SSLCertVerificationError`."""
    resolver = outside.resolver or ThreadedResolver()
    try:
        found = await resolver.resolve(host, port, socket.AF_UNSPEC)
    except OSError as error:
        raise Unreached("name", f"its name can't be resolved ({system(error)})") from None
    failed: OSError = OSError("no address")
    for address in found:
        try:
            _, writer = await asyncio.open_connection(
                address["host"], address["port"], ssl=context, server_hostname=host
            )
        except ssl.SSLCertVerificationError:
            raise
        except ssl.SSLError:
            raise Unreached("tls", f"port {port} speaks no TLS that this program knows") from None
        except OSError as error:
            failed = error
        else:
            return writer
    raise Unreached("connect", f"no connection ({system(failed)})")


def _sent(connection: Any) -> list[bytes]:
    """The certificates as they were sent, in DER. Python has a way for it since 3.13, and the same unnamed before."""
    if hasattr(connection, "get_unverified_chain"):
        return list(connection.get_unverified_chain())
    inner: Any = getattr(connection, "_sslobj", None)
    if inner is not None and hasattr(inner, "get_unverified_chain"):
        return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in inner.get_unverified_chain()]
    return [connection.getpeercert(binary_form=True)]


@cache
def _judging() -> ssl.SSLContext:
    """The system's roots, without demands that messengers do not make."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_default_certs()
    return made


def _accepting() -> ssl.SSLContext:
    """Takes whatever comes: nothing is sent over it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def _read(der: bytes) -> Certificate:
    from cryptography.x509 import (  # noqa: PLC0415  # takes memory, which the service need not spend at start
        DNSName,
        ExtensionNotFound,
        SubjectAlternativeName,
        load_der_x509_certificate,
    )

    found = load_der_x509_certificate(der)
    try:
        names = found.extensions.get_extension_for_class(SubjectAlternativeName).value
        hosts = names.get_values_for_type(DNSName)
    except (ExtensionNotFound, ValueError):
        hosts = []
    return Certificate(
        _called(found.subject),
        _called(found.issuer),
        hosts,
        _ms(found, "not_valid_before_utc"),
        _ms(found, "not_valid_after_utc"),
        found.subject == found.issuer,
    )


def _ms(found: x509.Certificate, moment: str) -> int:
    return int(getattr(found, moment).timestamp()) * 1000


def _called(name: x509.Name) -> str:
    """As people know it: its common name, and the organization where that says more."""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415  # as above

    parts = [name.get_attributes_for_oid(oid) for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)]
    told = " ".join(str(part[0].value) for part in parts if part)
    return "".join(ch for ch in told if ch.isprintable())[:80] or "(no name)"


def judge(chain: Chain, now: int) -> Finding:
    """Whether a messenger would take it, and for how long still."""
    leaf = chain.sent[0]
    if chain.code or chain.why:
        return _judge_refused(chain, leaf, now)
    left, life = leaf.expires_at - now, leaf.expires_at - leaf.starts_at
    text = f"for {chain.host}, by {leaf.issuer}, chain complete, {_days(left)} left"
    renew = "renew it now, and see why that was not done by itself (certbot renew, Caddy's log)"
    if left < min(ALARM_MS, life / ALARM_PART):
        return problem(SUBJECT, text, renew)
    if left < min(WARN_MS, life / WARN_PART):
        return warning(SUBJECT, text, renew)
    return ok(SUBJECT, text)


def _judge_refused(chain: Chain, leaf: Certificate, now: int) -> Finding:
    if chain.code == _EXPIRED:
        ended = [one for one in chain.sent if one.expires_at <= now] or [leaf]
        days = _days(now - ended[0].expires_at)
        return problem(
            SUBJECT,
            f"that of {ended[0].name} expired {days} ago",
            "renew it, and have the proxy load the new one",
        )
    if chain.code == _NOT_YET:
        return problem(
            SUBJECT, f"that of {leaf.name} is not valid yet", "see whether this machine's clock is right"
        )
    if chain.code in _WRONG_NAME:
        names = ", ".join(leaf.hosts[:3]) or leaf.name
        return problem(
            SUBJECT,
            f"it is for {names}, not for {chain.host}",
            f"get one for {chain.host}, or correct PUBLIC_URL",
        )
    if chain.code == _SELF_SIGNED:
        return problem(
            SUBJECT,
            f"{leaf.name} signed it by itself",
            "messengers take none of that kind: get one of a public authority (Let's Encrypt)",
        )
    if chain.code == _UNKNOWN_ROOT:
        return problem(
            SUBJECT,
            f"its chain ends in {chain.sent[-1].name}, which this machine does not know",
            "get one of a public authority (Let's Encrypt): messengers know no private ones",
        )
    if chain.code in _NO_ISSUER:
        last = chain.sent[-1]
        return problem(
            SUBJECT,
            f"the chain is incomplete: {last.issuer}, which signed {last.name}, is neither sent nor known here",
            "have the proxy send the whole chain (nginx: ssl_certificate fullchain.pem), not only its own certificate",
        )
    return problem(SUBJECT, f"refused: {chain.why}", "get one of a public authority (Let's Encrypt)")


def _days(milliseconds: int) -> str:
    days = milliseconds / DAY_MS
    return f"{days:.0f} days" if days >= 2 else f"{milliseconds / 3_600_000:.0f} hours"  # noqa: PLR2004  # for people
