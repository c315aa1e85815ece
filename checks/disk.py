"""The disk that a database file is on: room, whether it can be written to, and how long a commit waits for it."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from statistics import median
from time import perf_counter
from typing import Final

from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "disk"
MIB: Final = 1024**2
GIB: Final = 1024**3
FULL: Final = 256 * MIB
"""As much as wakes somebody: the alert DiskAlmostFull."""
NEARLY_FULL: Final = GIB
FEW_FILES: Final = 1000
SLOW_MS: Final = 20.0
"""A commit waits for one fsync, and a site for a commit. SSDs take 0.1 to 3 ms, spinning disks 8 to 15."""
UNUSABLE_MS: Final = 200.0
BLOCK: Final = bytes(4096)


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes, and files that can still be made (None where a file system has no such limit)."""

    free: int
    total: int
    files_free: int | None


@dataclass(frozen=True, slots=True)
class Fsync:
    """Milliseconds."""

    middle: float
    slowest: float


def space(folder: str) -> Space:
    """What an ordinary user can still write below a folder. Raises `OSError`."""
    found = os.statvfs(folder)
    files = found.f_favail if found.f_files else None
    return Space(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, files)


async def fsync_time(
    folder: str,
    *,
    times: int = 9,
    seconds: float = 2.0,
    clock: Callable[[], float] = perf_counter,
    fsync: Callable[[int], None] = os.fsync,
) -> Fsync:
    """The median of some small fsyncs in a folder, each after 4 KiB were written; fewer where they take long.

    The file has a name of its own and is gone afterwards. Raises `OSError`: the folder can't be written to.
    """
    return await asyncio.to_thread(_measure, folder, times, seconds, clock, fsync)


def _measure(
    folder: str, times: int, seconds: float, clock: Callable[[], float], fsync: Callable[[int], None]
) -> Fsync:
    path = Path(folder) / f".tapcode-disk-{token_hex(4)}"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    taken: list[float] = []
    try:
        began = clock()
        while len(taken) < times and clock() - began < seconds:
            os.write(handle, BLOCK)
            before = clock()
            fsync(handle)
            taken.append((clock() - before) * 1000)
    finally:
        os.close(handle)
        with suppress(OSError):
            path.unlink()
    return Fsync(median(taken), max(taken))


def judge_space(found: Space) -> Finding:
    """Room for the database, its log and a backup."""
    text = f"{size(found.free)} free of {size(found.total)}"
    if found.files_free is not None and found.files_free < FEW_FILES:
        return problem(
            SUBJECT, f"{text}, but room for {found.files_free} more files only", "remove small files there"
        )
    if found.free < FULL:
        hint = "make room now: when the disk is full every call is answered 503 and no code goes out"
        return problem(SUBJECT, text, hint)
    if found.free < NEARLY_FULL:
        return warning(
            SUBJECT, text, "make room: below 256 MiB this is a problem, and a backup needs room too"
        )
    return ok(SUBJECT, text)


def judge_fsync(found: Fsync) -> Finding:
    """What each commit waits for."""
    text = f"fsync {_ms(found.middle)} (median), slowest {_ms(found.slowest)}"
    if found.middle < SLOW_MS:
        return ok(SUBJECT, text)
    hint = "every answer waits for it: put the database on a local SSD, and look who else writes there"
    return (problem if found.middle >= UNUSABLE_MS else warning)(SUBJECT, text, hint)


def judge_failure(folder: str, error: OSError) -> Finding:
    """A folder that can't be written to."""
    text = f"{folder} can't be written to ({error.strerror or type(error).__name__})"
    hints = {
        errno.ENOSPC: "make room there: until there is some every call is answered 503 and no code goes out",
        errno.EDQUOT: "the service's user may write no more there: make room, or have the quota raised",
        errno.EROFS: "it is mounted read-only: see `dmesg` for a failing disk, and ReadWritePaths= of systemd",
    }
    user = "run this as the service's user, and give that user the folder (chown, ReadWritePaths= of systemd)"
    return problem(SUBJECT, text, hints.get(error.errno or 0, user))


def _ms(value: float) -> str:
    return f"{value:.2f} ms" if value < 1 else f"{value:.1f} ms"


def size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004  # of binary units
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"  # noqa: PLR2004
        amount /= 1024
    return f"{amount:.1f} TiB"
