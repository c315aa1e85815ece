"""Where everything survives. `open_store` is the only door."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from otp.errors import StorageUnusable
from otp.ports import Clock, Store

SQLITE: Final = "sqlite:///"
MEMORY: Final = ":memory:"


def sqlite_path(url: str) -> str | None:
    """The file of an SQLite URL (`sqlite:///relative`, `sqlite:////absolute`, `sqlite:///:memory:`), or None."""
    if not url.startswith(SQLITE):
        return None
    path = url.removeprefix(SQLITE)
    # One file has one lock, by whatever symbolic link it is reached.
    return path if path == MEMORY else os.path.realpath(path)


def remove(path: str) -> None:
    """Erase an SQLite database that nobody has open."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(path + suffix).unlink(missing_ok=True)


async def open_store(url: str, clock: Clock) -> Store:
    """Open the store behind a URL and migrate it. Raises `StorageUnusable`."""
    path = sqlite_path(url)
    if path is None:
        raise StorageUnusable("DATABASE_URL: only sqlite:///… is supported by this version")
    from storage.sqlite import SqliteStore  # imported only where it is used: other stores need other drivers

    return await SqliteStore.open(path, clock)
