"""One process owns an SQLite file: an advisory lock beside it, which is gone when the process dies."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Final

from otp.errors import StorageUnusable

LONGEST_SOCKET_PATH: Final = 100
"""Bytes; the systems allow 104 to 108."""
_POLL_SECONDS: Final = 0.1


class FileLock:
    """The lock beside a database file. Holding the object holds the lock."""

    def __init__(self, database: str) -> None:
        self._path = Path(f"{database}.lock")
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Take the lock if nobody has it. Raises `StorageUnusable` where no lock can be made."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageUnusable(f"can't make the lock file {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            return False
        self._handle = handle
        return True

    async def acquire_within(self, seconds: float, stop: asyncio.Event) -> bool:
        """Take the lock, waiting for an owner that is about to go, unless `stop` is set."""
        for _ in range(max(1, round(seconds / _POLL_SECONDS))):
            if self.acquire():
                return True
            if stop.is_set():
                return False
            await asyncio.sleep(_POLL_SECONDS)
        return False

    def release(self) -> None:
        """Let go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def socket_path(database: str) -> Path:
    """Where the owner of a database file listens: beside it, or under a hash where that path is too long."""
    beside = Path(f"{database}.sock").absolute()
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    return Path(tempfile.gettempdir()) / f"tapcode-{sha256(os.fsencode(beside)).hexdigest()[:24]}.sock"
