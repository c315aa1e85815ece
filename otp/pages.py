"""What a project may say of its hosted page: where it leads back to, who may frame it, its colour and picture. Pure.

A return address is compared piece by piece, never as text that begins alike: what it is made of is read by a grammar that
is narrower than that of any browser, so that nothing is left that two programs could read differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, urlencode

from otp.errors import InvalidField, ReturnUrlRefused
from otp.model import SitePage
from otp.values import value

LONGEST_URL: Final = 512
MOST_URLS: Final = 20
MOST_ORIGINS: Final = 20
LARGEST_LOGO: Final = 10 * 1024
"""Bytes: the whole page stays below 30 KB."""
WIDEST_LOGO: Final = 512
"""Pixels: what is small as a file may be huge as a picture."""
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
OURS: Final = frozenset({"request_id", "state", "proof"})
"""What we add to a return address."""

_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[a-z0-9._~!$&'()*+,=:@-]|%[0-9a-f]{2})*)*)"
    r"(?:\?(?P<query>(?:[a-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*))?",
    re.ASCII | re.IGNORECASE,
)
URL_PATTERN: Final = (
    "^"
    + re.sub(r"\?P<[a-z]+>", "?:", _URL.pattern).replace("a-z0-9", "A-Za-z0-9").replace("0-9a-f", "0-9A-Fa-f")
    + "$"
)
"""The same for those who only know patterns."""
_ENCODED: Final = re.compile(r"%([0-9a-f]{2})", re.IGNORECASE | re.ASCII)
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_NEVER_ENCODED: Final = frozenset(b"/\\%.;") | frozenset(range(0x20)) | {0x7F}
"""Encoded, they mean one thing to us and another one to whoever decodes once more, or before looking for dots."""
_COLOR: Final = re.compile(r"#[0-9a-f]{6}", re.ASCII | re.IGNORECASE)
_PORTS: Final = {"https": 443, "http": 80}
_PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"


@value
class Address:
    """An address as it is compared."""

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]
    """Its segments, without the empty ones at the end."""
    query: str = ""

    @property
    def origin(self) -> str:
        """As browsers write it."""
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_local(self) -> bool:
        """Whether it is only good on the machine of somebody who tries things out."""
        return self.scheme == "http"

    def covers(self, other: Address) -> bool:
        """Whether the other one is this one, or below it by whole segments."""
        here, there = (self.scheme, self.host, self.port), (other.scheme, other.host, other.port)
        return here == there and other.path[: len(self.path)] == self.path


def parsed(field: str, url: str) -> Address:
    """An address that all read alike. Raises `InvalidField`."""
    if len(url) > LONGEST_URL:
        raise InvalidField(field, f"must have at most {LONGEST_URL} characters")
    found = _URL.fullmatch(url)
    if found is None:
        raise InvalidField(
            field,
            "must be an address such as https://shop.example/login/done: ASCII (IDN as xn--…), no user name, "
            "no fragment, no spaces, no backslashes",
        )
    scheme, host = found["scheme"].lower(), found["host"].lower()
    port = int(found["port"] or _PORTS[scheme])
    if port > 65_535:  # noqa: PLR2004  # the highest port there is
        raise InvalidField(field, "has a port that does not exist")
    if scheme == "http" and host not in LOOPBACK:
        raise InvalidField(field, "must be https://; only localhost, 127.0.0.1 and [::1] may be http://")
    return Address(scheme, host, port, _segments(field, found["path"]), found["query"] or "")


def _segments(field: str, path: str) -> tuple[str, ...]:
    segments = [_normal(field, segment) for segment in path.split("/")[1:]]
    while segments and not segments[-1]:
        segments.pop()  # a slash at the end says nothing
    if any(segment in ("", ".", "..") for segment in segments):
        raise InvalidField(field, "must have no empty, . or .. segments in its path")
    return tuple(segments)


def _normal(field: str, segment: str) -> str:
    def one(found: re.Match[str]) -> str:
        byte = int(found[1], 16)
        if byte in _NEVER_ENCODED:
            raise InvalidField(
                field, "must have no encoded slash, backslash, dot, percent or control character"
            )
        return chr(byte) if byte in _UNRESERVED else found[0].upper()

    return _ENCODED.sub(one, segment)


def judged(return_url: str, registered: Iterable[str], *, local: bool) -> str:
    """A return address, if the project may be returned to there. Raises `ReturnUrlRefused`.

    `local`: http://localhost and the like count, as for test keys.
    """
    try:
        wanted = parsed("return_url", return_url)
    except InvalidField as error:
        raise _refused(error.message) from None
    if OURS & {name for name, _ in parse_qsl(wanted.query, keep_blank_values=True)}:
        raise _refused(f"must not have {', '.join(sorted(OURS))} in its query: they are added")
    if wanted.is_local and not local:
        raise _refused("must be https://; http://localhost is for test keys")
    if not any(parsed("return_url", one).covers(wanted) for one in registered):
        raise _refused(
            "is not among the project's: the operator registers it, project update ID --return-url URL"
        )
    return return_url


def _refused(why: str) -> ReturnUrlRefused:
    return ReturnUrlRefused(f"return_url {why}.")


def checked_return_urls(urls: Sequence[str]) -> tuple[str, ...]:
    """Addresses to be registered; an empty one stands for none. Raises `InvalidField`."""
    given = [url for url in urls if url]
    if len(given) > MOST_URLS:
        raise InvalidField("return_url", f"at most {MOST_URLS} can be registered")
    for url in given:
        if "?" in url:
            raise InvalidField("return_url", "is registered without a query")
        parsed("return_url", url)
    return tuple(dict.fromkeys(given))


def checked_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Origins to be registered, as browsers write them; an empty one stands for none. Raises `InvalidField`."""
    given = [origin for origin in origins if origin]
    if len(given) > MOST_ORIGINS:
        raise InvalidField("origin", f"at most {MOST_ORIGINS} can be registered")
    found = []
    for origin in given:
        address = parsed("origin", origin)
        if address.path or "?" in origin:
            raise InvalidField("origin", "is scheme, host and port only, such as https://shop.example")
        found.append(address.origin)
    return tuple(dict.fromkeys(found))


def open_origins(page: SitePage, *, local: bool) -> tuple[str, ...]:
    """The origins that count: with live keys none on a developer's machine."""
    return tuple(one for one in page.origins if local or one.startswith("https://"))


def led_back(return_url: str, request_id: str, state: str | None, proof: str | None) -> str:
    """Where the visitor goes in the end."""
    added = {"request_id": request_id}
    added |= {"state": state} if state is not None else {}
    added |= {"proof": proof} if proof is not None else {}
    return f"{return_url}{'&' if '?' in return_url else '?'}{urlencode(added)}"


# ------------------------------------------------------------------ looks


def checked_color(color: str) -> str | None:
    """A colour, or none. Raises `InvalidField`."""
    if not color:
        return None
    if _COLOR.fullmatch(color) is None:
        raise InvalidField("color", "must look like #1a73e8")
    return color.lower()


def checked_logo(picture: bytes) -> str:
    """The digest of a picture that can be shown to everybody. Raises `InvalidField`.

    PNG only: an SVG is a document that may hold scripts, and is one where it is opened by itself.
    """
    if not picture.startswith(_PNG):
        raise InvalidField("logo", "must be a PNG picture")
    if len(picture) > LARGEST_LOGO:
        raise InvalidField(
            "logo", f"must have at most {LARGEST_LOGO} bytes, has {len(picture)}: 128 x 128 pixels are plenty"
        )
    width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
    if not (0 < width <= WIDEST_LOGO and 0 < height <= WIDEST_LOGO):
        raise InvalidField("logo", f"must be at most {WIDEST_LOGO} x {WIDEST_LOGO} pixels")
    return sha256(picture).hexdigest()[:32]


GROUNDS: Final = {"light": "#ffffff", "dark": "#14171c"}
"""On what it stands."""
READABLE: Final = 4.5
"""Contrast of text (WCAG 2.2, 1.4.3)."""
_STEPS: Final = 100


def readable(color: str, background: str) -> str:
    """The colour, or the nearest one towards black or white that can be read on a background."""
    target = "#000000" if _luminance(background) > 0.18 else "#ffffff"  # noqa: PLR2004  # the middle grey
    mixed = (_mixed(color, target, step / _STEPS) for step in range(_STEPS + 1))
    return next((one for one in mixed if contrast(one, background) >= READABLE), target)


def contrast(one: str, other: str) -> float:
    """From 1 to 21, as WCAG 2.2 has it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _channels(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


def _luminance(color: str) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4  # noqa: PLR2004  # sRGB, IEC 61966-2-1
        for c in (value / 255 for value in _channels(color))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(color: str, target: str, share: float) -> str:
    both = zip(_channels(color), _channels(target), strict=True)
    return "#" + bytes(round(a + (b - a) * share) for a, b in both).hex()
