"""All figures as Prometheus reads them, and the page that tells nothing twice at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from metrics.figures import Figures
from metrics.state import State, StateCollector


class Exposition:
    """What a scrape is answered with."""

    def __init__(
        self, figures: Figures, collector: StateCollector, look: Callable[[], Awaitable[State]]
    ) -> None:
        """`look` finds out how things are; it raises nothing, and is soon over."""
        self._registry = figures.registry
        self._collector = collector
        self._look = look
        self._one_at_a_time = asyncio.Lock()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    async def scrape(self, accept: str) -> tuple[bytes, str]:
        """The figures in a form that the caller accepts, and its content type. Made on another thread: it takes a while."""
        async with self._one_at_a_time:
            self._collector.state = await self._look()
            encode, content_type = _form(accept)
            return await asyncio.to_thread(encode, self._registry), content_type


def _form(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """The form that a header asks for; the plain one where the library stumbles over it, as over a version of no number."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):
        return choose_encoder("")
