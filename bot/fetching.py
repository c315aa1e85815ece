"""Updates without a public address: fetched from the messenger, and confirmed only after their effect is committed.

The same rules and the same dialog as behind a webhook. What is fetched twice has its effect once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from bot.dialog import Dialog
from bot.messenger import MessengerError, Skin
from bot.registration import ChannelInfo, State
from bot.replies import Replies
from bot.webhooks import Observed
from otp.errors import StorageUnavailable
from otp.ports import Clock, Store
from otp.tasks import Tasks

log = structlog.get_logger()

MARKER_FACT: Final = "fetched"
AGAIN_SECONDS: Final = (1, 2, 5, 10, 30)
"""Waits after failures in a row; the last one repeats."""


class Fetcher:
    """Fetches the updates of one channel, one batch after the other."""

    def __init__(
        self,
        skin: Skin,
        dialog: Dialog,
        replies: Replies,
        store: Store,
        clock: Clock,
        info: ChannelInfo,
        failed: Callable[[BaseException], None],
        observed: Observed = lambda *_: None,
    ) -> None:
        """`observed` as in `bot.webhooks`; told `fetched` or `dropped`."""
        self._skin = skin
        self._dialog = dialog
        self._replies = replies
        self._store = store
        self._clock = clock
        self._info = info
        self._observed = observed
        self._tasks = Tasks(failed)
        self._running = True
        self._failures = 0

    def start(self) -> None:
        """Begin."""
        self._tasks.start(self._loop())

    async def close(self) -> None:
        """Stop at once: what was not confirmed comes again."""
        self._running = False
        await self._tasks.drain(0)

    async def _loop(self) -> None:
        fact = f"{self._skin.channel}.{MARKER_FACT}"
        marker: int | None = None
        while self._running:
            try:
                if marker is None:
                    remembered = await self._store.read(lambda tx: tx.fact(fact))
                    marker = int(remembered) if remembered else None
                marker = await self._batch(marker, fact)
                self._failures = 0
            except MessengerError as error:
                await self._fail(error)
            except StorageUnavailable:
                await self._clock.sleep(1)

    async def _batch(self, marker: int | None, fact: str) -> int | None:
        """Fetch, have the effects committed, and remember and return what confirms them."""
        fetched = await self._skin.fetch(marker)
        self._info.webhook = "fetched"
        if self._info.state is State.FOREIGN_WEBHOOK:  # it was in the way, and is no more
            self._info.state, self._info.detail = State.OK, None
        for body in fetched.bodies:
            event = self._skin.parse(body)
            if event is not None:
                self._replies.give(await self._dialog.handle(event))
            sent_at = event.update.sent_at if event is not None else None
            self._observed(self._skin.channel, "dropped" if event is None else "fetched", sent_at)
        if fetched.marker is None or fetched.marker == marker:
            return marker
        await self._store.write(lambda tx: tx.remember(fact, str(fetched.marker)))
        return fetched.marker

    async def _fail(self, error: MessengerError) -> None:
        if error.webhook_in_the_way and self._info.state is not State.FOREIGN_WEBHOOK:
            self._info.state, self._info.detail = State.FOREIGN_WEBHOOK, error.reason
            log.error(
                "fetch.webhook_in_the_way",
                channel=self._skin.channel,
                hint="run: python main.py webhooks remove --take-over",
            )
        elif not self._failures:
            log.warning("fetch.failed", channel=self._skin.channel, detail=error.reason)
        if error.webhook_in_the_way or self._failures:  # one may be a hiccup
            self._info.webhook = "not fetched"
        wait = AGAIN_SECONDS[min(self._failures, len(AGAIN_SECONDS) - 1)]
        self._failures += 1
        await self._clock.sleep(wait)
