"""Whether secrets can be guessed. Says of a secret how many bits it is worth at most, and never shows it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log2
from typing import Final

from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "secrets"
GUESSABLE_BITS: Final = 64
ENOUGH_BITS: Final = 80
"""16 random bytes written in hex (128 bits) are estimated at 85 to 125."""
ONLINE_BITS: Final = 30
"""Enough for what can only be tried against the running service. 16 characters are estimated at 64 at most."""
_KNOWN: Final = re.compile(
    r"secret|change.?me|example|password|tapcode|replace|placeholder|qwerty|dummy|sample"
)
_MAKE: Final = 'python3 -c "import secrets; print(secrets.token_urlsafe(36))"'


def bits(secret: str) -> float:
    """An estimate from above of a secret's entropy, from the secret alone.

    Shannon's, over the characters that neither repeat a period nor go on with a step (`aaaa`, `abcd`, `8642`). What a
    person thought of may be worth far less than this says.
    """
    once = secret[: _period(secret)]
    steps = [ord(after) - ord(before) for before, after in pairwise(once)]
    kept = [one for place, one in enumerate(once) if place < 2 or steps[place - 1] != steps[place - 2]]  # noqa: PLR2004
    counts = Counter(kept)
    return sum(count * log2(len(kept) / count) for count in counts.values())


def _period(text: str) -> int:
    """The length after which a text only repeats itself."""
    return (text + text).find(text, 1) if text else 0


def judge(keys: Sequence[str], others: Mapping[str, str]) -> list[Finding]:
    """`SECRET_KEYS` in order, and other secrets by the setting's name (those of webhooks can be tried online only)."""
    named = {f"key {number} of SECRET_KEYS": key for number, key in enumerate(keys, 1)} | dict(others)
    found = [bad for name, secret in named.items() if (bad := _weak(name, secret)) is not None]
    if len(set(keys)) < len(keys):
        found.append(
            warning(SUBJECT, "SECRET_KEYS has the same key twice", "keep one of the two; order matters")
        )
    if not found and named:
        lowest = min(bits(secret) for secret in named.values())
        count = f"{len(keys)} key{'s' if len(keys) != 1 else ''}"
        more = f", {', '.join(others)}" if others else ""
        found.append(ok(SUBJECT, f"{count}{more}: {lowest:.0f} bits or more by their look"))
    return found


def _weak(name: str, secret: str) -> Finding | None:
    how = f"make a new one: {_MAKE}"
    if name.startswith("key "):
        how = f'{how} (then "Rotating SECRET_KEYS" in docs/operations.md)'
    if _KNOWN.search(secret.casefold()) is not None:
        return problem(SUBJECT, f"{name} looks like an example or a sentence", how)
    worth = bits(secret)
    online = name.endswith("_WEBHOOK_SECRET")
    if worth < (ONLINE_BITS if online else GUESSABLE_BITS):
        return problem(SUBJECT, f"{name} can be guessed: at most {worth:.0f} bits", how)
    if worth < ENOUGH_BITS and not online:
        return warning(SUBJECT, f"{name} is weak: at most {worth:.0f} bits", how)
    return None
