"""Delivery of updates to webhooks, with the messengers' patience, and waiting for things to change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from sandbox.wire import JSON, Clock, Delivery, Route, Webhook

ATTEMPTS = 8
TIMEOUT_SECONDS = 30


class Changes:
    """Counts changes and lets coroutines wait for the next one."""

    def __init__(self) -> None:
        self.version = 0
        self.listeners: list[Callable[[], None]] = []
        self._closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def mark(self) -> None:
        """Something changed: wake whoever waits."""
        self.version += 1
        self._wake()
        for listener in self.listeners:
            listener()

    def close(self) -> None:
        """Wake whoever waits, now and from now on, so that a server can shut down at once."""
        self._closed = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Until the next change; False when none came within `seconds` or nobody shall wait any more."""
        if self._closed:
            return False
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(future)
        return not self._closed

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


class Courier:
    """Delivers updates to webhooks and tries again, ever more slowly, until one is acknowledged."""

    def __init__(
        self,
        *,
        now: Clock,
        route: Route,
        secret_header: str,
        acknowledged: Callable[[int], bool],
        retry_delay: float,
    ) -> None:
        self.deliveries: list[Delivery] = []
        self.last_error: tuple[int, str] | None = None
        self._now = now
        self._route = route
        self._secret_header = secret_header
        self._acknowledged = acknowledged
        self._retry_delay = retry_delay
        self._session: ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lines: dict[tuple[str, int], asyncio.Event] = {}

    def send(
        self, update: JSON, webhook: Webhook, current: Callable[[], Webhook | None], line: int | None
    ) -> None:
        """Start delivering; `current` tells before each attempt where the webhook stands now.

        The first attempts of one `line` (a person) are made one after the other, so that updates arrive in the
        order in which they happened; repeated attempts and updates without a line overtake freely.
        """
        delivery = Delivery(update, webhook.url)
        self.deliveries.append(delivery)
        tried = asyncio.Event()
        before = None
        if line is not None:
            before = self._lines.get((webhook.url, line))
            self._lines[webhook.url, line] = tried
        self._start(self._deliver(delivery, current, before, tried))

    async def settled(self) -> None:
        """Until every delivery was acknowledged or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel what is under way and close the connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self,
        delivery: Delivery,
        current: Callable[[], Webhook | None],
        before: asyncio.Event | None,
        tried: asyncio.Event,
    ) -> None:
        try:
            if before is not None:
                await before.wait()
            await self._attempt(delivery, current())
        finally:
            tried.set()
        pause = self._retry_delay
        while not delivery.done and len(delivery.attempts) < ATTEMPTS:
            await asyncio.sleep(pause)
            pause *= 2
            await self._attempt(delivery, current())
        delivery.given_up = not delivery.done

    async def _attempt(self, delivery: Delivery, webhook: Webhook | None) -> None:
        result: int | str = "the webhook was removed"
        if webhook is not None:
            result = await self._post(delivery.update, webhook)
        delivery.attempts.append(result)
        delivery.done = isinstance(result, int) and self._acknowledged(result)
        if not delivery.done:
            self.last_error = (self._now(), f"Wrong response from the webhook: {result}")

    async def _post(self, update: JSON, webhook: Webhook) -> int | str:
        target = self._route(webhook.url)
        if target is None:
            return f"no route to {webhook.url}"
        headers = {"Content-Type": "application/json"}
        if webhook.secret:
            headers[self._secret_header] = webhook.secret
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=TIMEOUT_SECONDS))
        try:
            async with self._session.post(
                target, data=json.dumps(update), headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
                return answer.status
        except (ClientError, TimeoutError) as error:
            return type(error).__name__
