"""Background tasks that somebody owns: none is lost to the garbage collector, none outlives its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def give_way() -> None:
    """Let everybody else have a turn: between two pieces of long work, none of which may wait for anything by itself."""
    await asyncio.sleep(0)


class Tasks:
    """A set of running tasks with a bound on how many run at once."""

    def __init__(self, failed: Callable[[BaseException], None], limit: int | None = None) -> None:
        """`failed` is told of exceptions that nobody awaits; above `limit` tasks, if there is one, new ones are dropped."""
        self._failed = failed
        self._limit = limit
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing runs."""
        return not self._running

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T] | None:
        """Run in the background; None (and nothing runs) when too much is running already."""
        if self._limit is not None and len(self._running) >= self._limit:
            work.close()
            return None
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    async def first(self, *works: Coroutine[Any, Any, Any]) -> None:
        """Wait until one of them is done; the others are cancelled."""
        racing = {task for task in map(self.start, works) if task is not None}
        await asyncio.wait(racing, return_when=asyncio.FIRST_COMPLETED)
        for task in racing:
            task.cancel()

    async def drain(self, seconds: float) -> None:
        """Give what runs some time to end, then cancel the rest."""
        if self._running:
            await asyncio.wait(set(self._running), timeout=seconds)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
