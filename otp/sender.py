"""Tells endpoints what they are to be told: in the background, each endpoint for itself, at least once.

What is told stands in the store before anybody hears of it. A taker leases it; dies the taker, it is taken again when
the lease is over, and told with the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final

from otp.errors import StorageUnavailable
from otp.events import EndpointChanged, Event, NoticesDue
from otp.policy import SECOND_MS
from otp.ports import Clock, Post, Randomness, Reply, Seals, Store, Tx
from otp.tasks import Tasks
from otp.telling import (
    AT_ONCE,
    FAILING_SLACK_MS,
    SLOW_AFTER_MS,
    TRIED_FOR_MS,
    Endpoint,
    StoredNotice,
    headers,
    wait_ms,
)

LEASE_MS: Final = 30 * SECOND_MS
"""More than twice as long as any attempt; what a dead process took is told again after it."""
LONGEST_WAIT_MS: Final = 5 * SECOND_MS
"""How often we look for what other processes wrote or left."""
SHORTEST_WAIT_MS: Final = 200
GATHER_SECONDS: Final = 0.02
"""What is taken, and what is noted, waits so long for more: all of it shares one commit."""
TURNS: Final = 3
BUSY_SECONDS: Final = 0.001
"""When so many turns of the loop take longer, it has many calls to answer, and those go first."""
STIRRED: Final = 5
"""Things to tell that came while we gathered: more are of callers who go on without a pause."""
SHARES: Final = {"busy": 10, "stirred": 6, "quiet": 0}
"""For how many times as long as a batch took it is others' turn before the next one."""
LONGEST_REST: Final = 50
"""Times of gathering: much of what a batch takes may be the endpoint's own time."""
QUICK_SECONDS: Final = 1.0
"""An endpoint that takes a batch in this time gets a larger one next, up to `LARGEST_BATCH`."""
LARGEST_BATCH: Final = 8 * AT_ONCE
GONE: Final = 410


class Sender:
    """One worker for each endpoint that has something to be told."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        seals: Seals,
        post: Post,
        randomness: Randomness,
        failed: Callable[[BaseException], None],
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        """`failed` is told of our own bugs; what endpoints do are outcomes."""
        self._store = store
        self._clock = clock
        self._seals = seals
        self._post = post
        self._randomness = randomness
        self._tasks = Tasks(failed)
        self._working: set[str] = set()
        self._again: set[str] = set()
        """Those that got something new while their worker was about to end."""
        self._batch: dict[str, int] = {}
        """How much is taken at a time, of endpoints for which that is not `AT_ONCE`."""
        self._gather_seconds = gather_seconds
        self._gathering: asyncio.Event | None = None
        self._came = 0
        """To be told, since we last gathered."""
        self._stirred = False
        self._due = asyncio.Event()
        self._running = False
        self._looking = False

    def on_event(self, event: Event) -> None:
        """Set out as soon as something is committed."""
        if isinstance(event, NoticesDue):
            self._came += event.many
            for endpoint_id in event.endpoint_ids:
                self._set_out(endpoint_id)

    @property
    def idle(self) -> bool:
        """Whether nothing is being told, or looked for."""
        return not self._working and not self._looking

    def start(self) -> None:
        """Begin to look for what is due."""
        self._running = self._looking = True
        self._tasks.start(self._loop())

    def stop(self) -> None:
        """Take nothing more: the process is about to end."""
        self._running = False
        self._due.set()

    async def close(self, seconds: float) -> None:
        """Let what is on its way end."""
        self.stop()
        await self._tasks.drain(seconds)

    # ------------------------------------------------------------------ who is to be told

    async def _loop(self) -> None:
        while self._running:
            self._due.clear()
            wait, self._looking = LONGEST_WAIT_MS, True
            with suppress(StorageUnavailable):
                wait = await self._look()
            self._looking = False
            await self._tasks.first(self._clock.sleep(wait / SECOND_MS), self._due.wait())

    async def _look(self) -> int:
        """Send out a worker to each endpoint that has something due; when to look again."""
        due, now = await self._store.read(lambda tx: tx.endpoints_due()), self._clock.now()
        for endpoint_id, at in due.items():
            if at <= now:
                self._set_out(endpoint_id)
        next_at = min((at for at in due.values() if at > now), default=now + LONGEST_WAIT_MS)
        return max(SHORTEST_WAIT_MS, min(LONGEST_WAIT_MS, next_at - now))

    def _set_out(self, endpoint_id: str) -> None:
        if not self._running:
            return
        if endpoint_id in self._working:
            self._again.add(endpoint_id)
            return
        self._working.add(endpoint_id)
        self._tasks.start(self._work(endpoint_id))

    # ------------------------------------------------------------------ one endpoint

    async def _work(self, endpoint_id: str) -> None:
        """All that is due, a handful at a time."""
        told, took = False, 0.0
        try:
            while self._running:
                await self._gather()
                share = SHARES[await self._around()]
                await asyncio.sleep(min(share * took, LONGEST_REST * self._gather_seconds))
                most = self._batch.get(endpoint_id, AT_ONCE)
                self._again.discard(endpoint_id)
                endpoint, taken = await self._take(endpoint_id, most)
                if endpoint is None or not (taken or endpoint_id in self._again):
                    break
                began = monotonic()
                await self._tell_all(endpoint, taken)
                took = monotonic() - began
                self._judge(endpoint, took)
                told = told or bool(taken)
        except* StorageUnavailable:
            pass  # it is looked for again
        finally:
            self._working.discard(endpoint_id)
            if told:
                self._due.set()  # a retry may be due before the next look

    async def _take(self, endpoint_id: str, most: int) -> tuple[Endpoint | None, list[StoredNotice]]:
        return await self._store.write(lambda tx: tx.take_notices(endpoint_id, most, LEASE_MS))

    def _judge(self, endpoint: Endpoint, took: float) -> None:
        """How much it gets next: more while it is quick, little while it fails."""
        since, now = endpoint.failing_since, self._clock.now()
        if since is not None:
            self._batch[endpoint.id] = 1 if now - since >= SLOW_AFTER_MS else AT_ONCE
        elif took < QUICK_SECONDS:
            self._batch[endpoint.id] = min(2 * self._batch.get(endpoint.id, AT_ONCE), LARGEST_BATCH)
        else:
            self._batch.pop(endpoint.id, None)

    async def _gather(self) -> None:
        """Wait a moment, together with all who do."""
        if self._gathering is None:
            self._gathering = asyncio.Event()
            asyncio.get_running_loop().call_later(self._gather_seconds, self._gathered)
        await self._gathering.wait()

    def _gathered(self) -> None:
        if self._gathering is not None:
            self._gathering.set()
        self._gathering = None
        self._stirred, self._came = self._came > STIRRED, 0

    async def _around(self) -> str:
        """What else goes on: whoever waits for an answer goes first."""
        began = monotonic()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if monotonic() - began > BUSY_SECONDS:
            return "busy"
        return "stirred" if self._stirred else "quiet"

    async def _tell_all(self, endpoint: Endpoint, taken: Sequence[StoredNotice]) -> None:
        room = asyncio.Semaphore(AT_ONCE)

        async def tell(notice: StoredNotice) -> None:
            async with room:
                if self._clock.now() > notice.due_at - LEASE_MS // 2:
                    return  # the ones before it took so long that it will soon be somebody else's
                reply = await self._tell(endpoint, notice)
            await self._note(endpoint, notice, reply)

        async with asyncio.TaskGroup() as together:
            for notice in taken:
                together.create_task(tell(notice))

    async def _tell(self, endpoint: Endpoint, notice: StoredNotice) -> Reply:
        now, body = self._clock.now(), notice.body()
        sealed = endpoint.signing(now)
        secrets = [one for one in (self._seals.open(each, endpoint.id) for each in sealed) if one is not None]
        if secrets:
            signed = headers(notice.id, now // SECOND_MS, body, secrets)
            return await self._post.post(endpoint.url, signed, body)
        return Reply(None, "secret_key_gone")

    async def _note(self, endpoint: Endpoint, notice: StoredNotice, reply: Reply) -> None:
        """Write it down, with patience; what is not written while it is ours is told again."""
        drawn = int.from_bytes(self._randomness.bytes(8))
        await self._gather()
        while True:
            try:
                await self._store.write(lambda tx: record(tx, endpoint, notice, reply, drawn))
            except StorageUnavailable:
                if not self._running or self._clock.now() >= notice.due_at:
                    return
                await self._clock.sleep(1)
            else:
                return


async def record(tx: Tx, endpoint: Endpoint, notice: StoredNotice, reply: Reply, drawn: int) -> None:
    """Write down what came of a try: it arrived, it is tried again, or it is given up."""
    if reply.status is not None and 200 <= reply.status < 300:  # noqa: PLR2004  # the class of successes
        await tx.note_notice(notice, "delivered", tx.now, reply.told)
        if await tx.note_endpoint(endpoint.id, works=True) is not None:
            tx.emit(EndpointChanged(endpoint.id, endpoint.project_id, "ok", reply.told))
        return
    gone = reply.status == GONE
    if gone or tx.now >= notice.give_up_at:
        await tx.note_notice(notice, "failed", tx.now, reply.told)
    else:
        again = tx.now + wait_ms(notice.tries, drawn, reply.retry_after_ms)
        await tx.note_notice(notice, "pending", min(again, notice.give_up_at), reply.told)
    await _note_failure(tx, endpoint, reply, gone=gone)


async def _note_failure(tx: Tx, endpoint: Endpoint, reply: Reply, *, gone: bool) -> None:
    began = await tx.note_endpoint(endpoint.id, works=False)
    since = endpoint.failing_since if began is None else began
    over = since is not None and tx.now - since >= TRIED_FOR_MS - FAILING_SLACK_MS
    if gone or over:
        if await tx.disable_endpoint(endpoint.id, "gone" if gone else "failing"):
            tx.emit(EndpointChanged(endpoint.id, endpoint.project_id, "disabled", reply.told))
    elif began is not None:
        tx.emit(EndpointChanged(endpoint.id, endpoint.project_id, "failing", reply.told))
