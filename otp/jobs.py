"""Runs background jobs: each is leased by one taker, done, and ended or planned again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from otp.errors import StorageUnavailable
from otp.events import Event, jobs_of
from otp.model import Job
from otp.policy import MINUTE_MS, SECOND_MS
from otp.ports import Clock, Store, Tx
from otp.tasks import Tasks
from otp.values import value

LEASE_MS: Final = 1 * MINUTE_MS
"""A job whose taker died is taken over after this."""
LONGEST_WAIT_MS: Final = 5 * SECOND_MS
_RETRY_MS: Final = 2 * SECOND_MS

AT_ONCE: Final = 16
"""Jobs of one process that run beside each other."""


@value
class Retry:
    """The job failed and is tried again at a time; `Job.attempts` goes on counting, unless it was not even tried."""

    at: int
    tried: bool = True


Handler = Callable[[Job], Coroutine[Any, Any, int | Retry | None]]
"""Does a job and returns when to do it again, or None when it is done."""


class JobRunner:
    """Takes due jobs; each runs in a task of its own, so that a hanging one holds up no other."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        owner: str,
        handlers: Mapping[str, Handler],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`owner` names this process; `handlers` are by the kind of job."""
        self._store = store
        self._clock = clock
        self._owner = owner
        self._handlers = handlers
        self._failed = failed
        self._tasks = Tasks(failed)
        self._due = asyncio.Event()
        self._running = True
        self._busy = 0

    def on_event(self, event: Event) -> None:
        """Look at once when something brought a job."""
        if jobs_of(event):
            self._due.set()

    @property
    def idle(self) -> bool:
        """Whether no job is in hand."""
        return self._busy == 0

    async def start(self, recurring: Mapping[str, int]) -> None:
        """Plan recurring jobs (kind -> first due time) and begin."""

        async def plan(tx: Tx) -> None:
            for kind, due_at in recurring.items():
                await tx.ensure_job(kind, "", due_at)

        await self._store.write(plan)
        self._tasks.start(self._loop())

    async def close(self) -> None:
        """Finish the jobs in hand and stop."""
        self._running = False
        self._due.set()
        await self._tasks.drain(LONGEST_WAIT_MS / SECOND_MS)

    async def _loop(self) -> None:
        while self._running:
            self._due.clear()
            try:
                busy = await self.begin_one()
                wait_ms = 0 if busy else await self._until_next()
            except StorageUnavailable:
                wait_ms = _RETRY_MS
            if wait_ms:
                await self._tasks.first(self._clock.sleep(wait_ms / SECOND_MS), self._due.wait())

    async def _until_next(self) -> int:
        at = await self._store.read(lambda tx: tx.next_job_at())
        return LONGEST_WAIT_MS if at is None else max(1, min(LONGEST_WAIT_MS, at - self._clock.now()))

    async def begin_one(self) -> bool:
        """Begin the most overdue job, beside those that run; False when none is due."""
        if self._busy >= AT_ONCE or (await self._until_next()) > 1:
            return False
        job = await self._store.write(lambda tx: tx.take_job(self._owner, LEASE_MS))
        if job is None:
            return False
        self._busy += 1
        self._tasks.start(self._do(job))
        return True

    async def _do(self, job: Job) -> None:
        try:
            again_at, failures = await self._done(job)
            await self._end(job, again_at, failures)
        finally:
            self._busy -= 1
            self._due.set()

    async def _end(self, job: Job, again_at: int | None, failures: int) -> None:
        """Write it down, with patience: else the lease would hold the job up for long."""
        while True:
            try:
                return await self._store.write(lambda tx: tx.end_job(job, again_at, failures))
            except StorageUnavailable:
                if not self._running:
                    return None
                await self._clock.sleep(_RETRY_MS / SECOND_MS)

    async def _done(self, job: Job) -> tuple[int | None, int]:
        """When to do it again, and how often it has failed by now."""
        handler = self._handlers.get(job.kind)
        if handler is None:
            return None, 0
        try:
            done = await handler(job)
            return (done.at, job.attempts - (not done.tried)) if isinstance(done, Retry) else (done, 0)
        except StorageUnavailable:
            return self._clock.now() + _RETRY_MS, job.attempts
        except Exception as error:  # noqa: BLE001  # a bug of ours must not end all other jobs
            self._failed(error)
            return self._clock.now() + min(MINUTE_MS, _RETRY_MS << min(job.attempts, 8)), job.attempts
