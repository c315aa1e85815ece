"""What is seen of a store from outside: its commits, its failures, its size. `wiring` connects whoever wants to know."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol, runtime_checkable

from otp.ports import Store
from otp.values import value


class Observer(Protocol):
    """Told on whatever thread it happens, within the store's own work: it must not block or fail."""

    def committed(self, seconds: float, operations: int) -> None:
        """So many operations that may have changed something were made durable together, which took so long."""
        ...

    def store_failed(self, operations: int) -> None:
        """So many operations failed as the store can't be used, or nobody knows whether they were made."""
        ...


@value
class Size:
    """How much room a store takes and has, in bytes; None where that can't be told."""

    database: int | None = None
    disk_free: int | None = None
    """What this user may still write on the disk of the database; None where it is another machine's."""


@runtime_checkable
class Observable(Protocol):
    """A store that can be observed."""

    observer: Observer | None

    async def size(self) -> Size:
        """Its size now. Blocks nobody; raises nothing."""
        ...


def observe(store: Store, observer: Observer) -> None:
    """Have an observer told from now on."""
    if isinstance(store, Observable):
        store.observer = observer


async def size_of(store: Store) -> Size:
    """Its size now."""
    return await store.size() if isinstance(store, Observable) else Size()


def file_size(path: str) -> Size:
    """Of an SQLite database with its log. Asks the disk, which may take its time."""
    try:
        held = [Path(path + suffix).stat().st_size for suffix in ("", "-wal") if Path(path + suffix).exists()]
        disk = os.statvfs(path)
    except OSError:
        return Size()
    return Size(sum(held), disk.f_bavail * disk.f_frsize)
