"""Codes: how digits come from a seed, how typed text becomes digits, and the keys behind both.

A code is never stored. Its seed (128 random bits, a length, a key id) is; the digits are HMAC-SHA256 of the seed under
a key that only the process knows, so a stolen store tells no code.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from otp.model import CodeSeed, Person
from otp.ports import Randomness

SEED_BYTES: Final = 16
_DRAW_BYTES: Final = 8
_DRAW_SPACE: Final = 1 << (8 * _DRAW_BYTES)
PLAYED_DIGITS: Final = "42424242"
"""Of the codes of test mode's people, as many as are wanted."""
_PLAYED: Final = "played"
"""Stands for a key where there is none; ids of keys are hexadecimal."""
_GIVEN: Final = "given"
"""Likewise, where no digits can be derived: the site made them."""

_ID_LENGTH: Final = 16
PAGE_TOKEN: Final = re.compile(r"[A-Za-z0-9]{16}[A-Za-z0-9_-]{22}", re.ASCII)

_IGNORED: Final = frozenset(
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # soft hyphen, zero width, marks, BOM
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # bidi embeddings, overrides and isolates
    "\t\n\v\f\r\x85"
)
_DASHES_BETWEEN_DIGITS: Final = re.compile(
    "(?<=[0-9])[-\u058a\u2010-\u2015\u2212\ufe58\ufe63\uff0d]+(?=[0-9])"
)
_FULL_WIDTH: Final = {0xFF10 + digit: ord("0") + digit for digit in range(10)}


class KeyRing:
    """The operator's `SECRET_KEYS`: the first one makes new codes, all of them recognise codes made before."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take at least one key, in the operator's order."""
        if not keys:
            raise ValueError("a key ring needs at least one key")
        self._keys = {_key_id(key.encode()): key.encode() for key in keys}
        self._first = next(iter(self._keys))

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys)} keys)"

    def new_seed(self, length: int, randomness: Randomness, person: Person | None = None) -> CodeSeed:
        """The seed of a fresh code of `length` digits; one for somebody of test mode is known to everybody."""
        if person is not None and person.is_played:
            return CodeSeed(bits=b"", key_id=_PLAYED, length=length)
        return CodeSeed(bits=randomness.bytes(SEED_BYTES), key_id=self._first, length=length)

    def digits(self, seed: CodeSeed) -> str | None:
        """The code behind a seed, or None when its key is no longer listed."""
        if seed.key_id == _PLAYED:
            return PLAYED_DIGITS[: seed.length]
        key = self._keys.get(seed.key_id)
        return None if key is None else _derive(key, seed)

    def knows(self, seed: CodeSeed) -> bool:
        """Whether the key of a seed is still listed."""
        return seed.key_id == _PLAYED or seed.key_id in self._keys

    def fingerprints(self, *parts: str) -> tuple[str, ...]:
        """Names of what may hold a code, under each key, the first one first: without the keys they tell nothing."""
        return tuple(_hexmac(key, "call/1", *parts) for key in self._keys.values())

    @property
    def first_id(self) -> str:
        """The id of the key that makes what is new."""
        return self._first

    def page_token(self, request_id: str) -> str:
        """What opens a request's hosted page: its id, and a MAC of 128 bits."""
        return request_id + _page_mac(self._keys[self._first], request_id)

    def opened_by(self, token: str) -> str | None:
        """The id of the request whose page a token opens, under any listed key; None when it is not ours."""
        if PAGE_TOKEN.fullmatch(token) is None:
            return None
        request_id, mac = token[:_ID_LENGTH], token[_ID_LENGTH:]
        matching = [hmac.compare_digest(mac, _page_mac(key, request_id)) for key in self._keys.values()]
        return request_id if any(matching) else None

    def page_proof(self, key_id: str, request_id: str) -> str | None:
        """What tells a site that a browser is the one in which the code was entered; None when the key is gone."""
        key = self._keys.get(key_id)
        return None if key is None else _short_mac(key, "page-proof/1", request_id)

    def sealing_keys(self) -> dict[str, bytes]:
        """Keys of 256 bits for secrets that must be stored, by their ids: the first one seals, all open."""
        return {key_id: _sealing_key(key) for key_id, key in self._keys.items()}

    def webhook_secrets(self, channel: str, bot: str) -> list[str]:
        """Secrets for a webhook of this bot, 64 hexadecimal characters: the first is registered, all are accepted."""
        return [_hexmac(key, "webhook/1", channel, bot) for key in self._keys.values()]


def _sealing_key(key: bytes) -> bytes:
    return hmac.digest(key, b"tapcode/seal/1", sha256)


def _derive(key: bytes, seed: CodeSeed) -> str:
    """Draw numbers from HMAC blocks until one is below the largest multiple of 10**length: no digit is favoured."""
    space = 10**seed.length
    limit = _DRAW_SPACE - _DRAW_SPACE % space
    counter = 0
    while True:
        message = b"tapcode/code/1" + bytes([seed.length]) + counter.to_bytes(4, "big") + seed.bits
        block = hmac.digest(key, message, sha256)
        for at in range(0, len(block), _DRAW_BYTES):
            number = int.from_bytes(block[at : at + _DRAW_BYTES], "big")
            if number < limit:
                return f"{number % space:0{seed.length}d}"
        counter += 1


def _page_mac(key: bytes, request_id: str) -> str:
    return _short_mac(key, "page-token/1", request_id)


def _short_mac(key: bytes, *parts: str) -> str:
    """128 bits in 22 characters that any address may hold."""
    mac = hmac.digest(key, b"tapcode/" + "\0".join(parts).encode(), sha256)
    return urlsafe_b64encode(mac[:16]).rstrip(b"=").decode()


def _key_id(key: bytes) -> str:
    return hmac.digest(key, b"tapcode/key-id/1", sha256)[:8].hex()


def _hexmac(key: bytes, *parts: str) -> str:
    return hmac.digest(key, b"tapcode/" + "\0".join(parts).encode(), sha256).hex()


def given_seed(code: str) -> CodeSeed:
    """Stands for the seed of a code that is not ours: nothing of it is stored, so no key ring tells it."""
    return CodeSeed(bits=b"", key_id=_GIVEN, length=len(code))


def clean(typed: str) -> str:
    """What is left of a typed or pasted code without what people drag along.

    White space, zero-width and bidi marks, soft hyphens, BOMs and dashes between digits go; full-width digits become
    plain ones. Everything else stays, so that it can be refused.
    """
    if typed.isascii() and typed.isdigit():
        return typed
    kept = (ch for ch in typed if ch not in _IGNORED and unicodedata.category(ch)[0] != "Z")
    return _DASHES_BETWEEN_DIGITS.sub("", "".join(kept).translate(_FULL_WIDTH))


def well_formed(cleaned: str, length: int) -> bool:
    """Whether this is exactly `length` ASCII digits."""
    return len(cleaned) == length and cleaned.isascii() and cleaned.isdigit()


def same(expected: str, cleaned: str) -> bool:
    """Compare two codes in constant time."""
    return hmac.compare_digest(expected.encode(), cleaned.encode())


def key_hash(api_key: str) -> bytes:
    """What is stored of an API key. Keys hold 190 random bits and more, so a plain SHA-256 can't be reversed."""
    return sha256(api_key.encode()).digest()


def fingerprint(parts: Iterable[str]) -> str:
    """A short name for a combination of values, to notice that it changed. Never given a low-entropy secret."""
    return sha256("\0".join(parts).encode()).hexdigest()[:16]
