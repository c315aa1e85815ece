"""The time and the randomness of the real machine: the only place that asks for them."""

from __future__ import annotations

import asyncio
import secrets
import string
import threading
import time
import uuid

_ALPHABET = (string.ascii_letters + string.digits).encode()
_EVEN = 256 - 256 % len(_ALPHABET)
_LETTERS = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
_UNEVEN = bytes(range(_EVEN, 256))
"""Bytes that would make some letters likelier than others: passed over."""
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine is suspended, where the system has such a clock."""


def wall_ms() -> int:
    """What this machine takes for the time, right or wrong: milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000


def _boot_ms() -> int:
    return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


class SystemClock:
    """A clock that nothing outlives: it never goes back and never stands still.

    It runs with the clock since boot, ahead of it by the largest lead that the wall clock ever had. So what is dead by
    either of the two clocks is dead here, a wall clock set back revives nothing, and one set forward and back again
    does not make anything live longer.
    """

    def __init__(self, *, has_wall: bool = True) -> None:
        """Without `has_wall`, only `never_before` tells the time; until it does, it is 1970."""
        self._guard = threading.Lock()
        self._has_wall = has_wall
        self._ahead = self._lead(_boot_ms())

    def _lead(self, boot: int) -> int:
        return wall_ms() - boot if self._has_wall else 0

    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        with self._guard:
            boot = _boot_ms()
            self._ahead = max(self._ahead, self._lead(boot))
            return boot + self._ahead

    def never_before(self, at: int) -> None:
        """From now on no answer of `now` is smaller than `at`."""
        with self._guard:
            self._ahead = max(self._ahead, at - _boot_ms())

    def advance(self, milliseconds: int) -> None:
        """Jump forward; the sandbox plays "15 minutes later" with it."""
        with self._guard:
            self._ahead += max(0, milliseconds)

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


def told_clock() -> SystemClock:
    """A clock that runs by itself from the times that `never_before` tells it, whatever this machine's wall clock says."""
    return SystemClock(has_wall=False)


class SystemRandomness:
    """The operating system's secure source."""

    def bytes(self, count: int) -> bytes:
        """`count` random bytes."""
        return secrets.token_bytes(count)

    def text(self, length: int) -> str:
        """`length` characters of `[A-Za-z0-9]`, each equally likely."""
        drawn = b""
        while len(drawn) < length:
            drawn += secrets.token_bytes(length + length // 8).translate(_LETTERS, _UNEVEN)
        return drawn[:length].decode()

    def uuid(self) -> str:
        """A random UUID (version 4)."""
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
