"""The write-ahead log goes back into an SQLite file beside the commits, not inside one of them.

SQLite by itself does that in whichever commit finds a thousand pages in the log. In a large file those lie all over it,
so that commit takes a hundred times as long as the others, and all wait for it. Here another connection does it, on a
thread of its own. It reads and writes no row: SQLite lets it work beside the one that does
(`wal_checkpoint(PASSIVE)`), and what a commit promises is in the log already.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final
from urllib.parse import quote

OPERATIONS: Final = 200
"""After so many the log is worth it: about a thousand pages."""
LONGEST: Final = 10_000
"""Pages of the log (40 MB) at which a commit looks after it all the same: by then nearly all of it is back, and the log
begins anew, which only a writer can have it do."""


class LogKeeper:
    """Has the log brought back when there is enough of it."""

    def __init__(self, path: str) -> None:
        """`path` is a file that is open already, in WAL mode, or `:memory:`, which has no log."""
        self._path = path
        self._pool = ThreadPoolExecutor(1, "log") if path != ":memory:" else None
        self._database: sqlite3.Connection | None = None
        self._operations = OPERATIONS  # so that the first commit opens the file that the writer has
        self._running: asyncio.Future[None] | None = None

    def committed(self, operations: int) -> None:
        """On the loop: so many are in the log now."""
        self._operations += operations
        if self._operations >= OPERATIONS and self._pool and (self._running is None or self._running.done()):
            self._operations = 0
            self._running = asyncio.get_running_loop().run_in_executor(self._pool, self._bring_back)

    def forget(self) -> None:
        """The writer lets go of the file: another one may be at the path when it comes back."""
        if self._pool:
            self._pool.submit(self._let_go)
            self._operations = OPERATIONS

    async def close(self) -> None:
        """Let go of the file, before the writer does."""
        if self._pool:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._let_go)
            self._pool.shutdown()

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _bring_back(self) -> None:
        with suppress(sqlite3.Error):  # the log only grows then, until a commit looks after it
            if self._database is None:
                self._database = _open(self._path)
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def _open(path: str) -> sqlite3.Connection:
    # By SQLite alone: whoever else opens the file and closes it again takes this process's locks on it away.
    database = sqlite3.connect(
        f"file:{quote(path)}?mode=rw", uri=True, isolation_level=None, timeout=0, check_same_thread=False
    )
    database.execute("PRAGMA synchronous = FULL")
    return database
