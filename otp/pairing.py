"""Pairing codes: what a person types when a messenger swallowed a link's payload.

Eight characters of Crockford's base32 (https://www.crockford.com/base32.html): no I, L, O, U, either case, with or
without the dash. 40 random bits, and few tries per person.
"""

from __future__ import annotations

import re
from typing import Final

from otp.policy import HOUR_MS
from otp.ports import Randomness

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 8
MOST_MISSES: Final = 10
"""Wrong pairing codes per person and `MISS_WINDOW_MS`."""
MISS_WINDOW_MS: Final = HOUR_MS
_TYPED: Final = re.compile(r"[0-9A-Za-z]{4}[- \u2010-\u2015]?[0-9A-Za-z]{4}", re.ASCII)
_ALIKE: Final = str.maketrans(
    {"O": "0", "I": "1", "L": "1", "-": None, " ": None} | {chr(n): None for n in range(0x2010, 0x2016)}
)


def new_code(randomness: Randomness) -> str:
    """A fresh pairing code, as it is stored."""
    bits = int.from_bytes(randomness.bytes(5), "big")
    return "".join(ALPHABET[bits >> 5 * place & 31] for place in range(LENGTH))


def shown(code: str) -> str:
    """As the site shows it: XXXX-XXXX."""
    return f"{code[:4]}-{code[4:]}"


def typed(text: str) -> str | None:
    """What was typed, as it would be stored; None when it has not the form of a pairing code."""
    if _TYPED.fullmatch(text.strip()) is None:
        return None
    code = text.strip().upper().translate(_ALIKE)
    return code if len(code) == LENGTH and set(code) <= set(ALPHABET) else None


def is_a_word(text: str) -> bool:
    """Eight letters without a digit: rather a word than a mistyped code."""
    return not any(ch.isdigit() for ch in text)
