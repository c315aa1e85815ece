"""Where everything survives. `open_store` is the only door."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

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


def named(url: str) -> str:
    """A database for people: its URL without user, password and options."""
    if sqlite_path(url) is not None:
        return url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"


def remove(path: str) -> None:
    """Erase an SQLite database that nobody has open."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(path + suffix).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, repr=False)
class Reach:
    """How PostgreSQL is reached; SQLite needs none of it."""

    direct_url: str | None = None
    """The way past a pooler, for migrations and for listening, which a pooler of transactions can't carry."""
    pool_size: int = 10
    statement_cache: int = 100
    own_time: bool = True
    """Whether the database's clock moves ours; tests bring a time of their own."""


async def open_store(url: str, clock: Clock, reach: Reach | None = None) -> Store:
    """Open the store behind a URL and migrate it. Raises `StorageUnusable`."""
    # Each store is imported only where it is used: the other one needs another driver.
    path = sqlite_path(url)
    if path is not None:
        from storage.sqlite import SqliteStore

        return await SqliteStore.open(path, clock)
    from storage.postgres import PostgresStore

    return await PostgresStore.open(url, clock, reach or Reach())
