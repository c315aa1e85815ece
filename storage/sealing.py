"""Secrets that must be stored, sealed: AES-256-GCM under keys derived from SECRET_KEYS, bound to whom they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from otp.ports import Randomness
from otp.telling import Sealed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES: Final = 12
"""Random: one key seals a few thousand secrets at most, far from where two nonces might meet."""


class AeadSeals:
    """See `otp.ports.Seals`."""

    def __init__(self, keys: Mapping[str, bytes], randomness: Randomness) -> None:
        """By their ids; the first one seals. Without any nothing can be sealed or opened."""
        self._keys = dict(keys)
        self._first = next(iter(self._keys), "")
        self._randomness = randomness

    def __repr__(self) -> str:
        return f"AeadSeals({len(self._keys)} keys)"

    def seal(self, secret: bytes, owner: str) -> Sealed:
        nonce = self._randomness.bytes(NONCE_BYTES)
        return Sealed(
            nonce + _cipher(self._keys[self._first]).encrypt(nonce, secret, owner.encode()), self._first
        )

    def open(self, sealed: Sealed, owner: str) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        key = self._keys.get(sealed.key_id)
        if key is None:
            return None
        nonce, blob = sealed.blob[:NONCE_BYTES], sealed.blob[NONCE_BYTES:]
        try:
            return _cipher(key).decrypt(nonce, blob, owner.encode())
        except (InvalidTag, ValueError):
            return None

    @property
    def current(self) -> str:
        return self._first

    def is_current(self, sealed: Sealed) -> bool:
        return sealed.key_id == self._first


def _cipher(key: bytes) -> AESGCM:
    # Imported with the first secret: it costs memory that who has no endpoint need not pay.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)
