"""Questions that come while earlier ones are under way are asked together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from otp.tasks import Tasks

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

MOST_TOGETHER: Final = 256
"""Questions that are asked at once: more would only make the first ones wait."""


class Together(Generic[Q, A]):
    """Asks for many at once. Whoever asks is answered by what was true after they asked: nobody joins what is under way."""

    def __init__(
        self,
        ask: Callable[[Sequence[Q]], Coroutine[Any, Any, Mapping[Q, A]]],
        tasks: Tasks,
        at_once: int,
    ) -> None:
        """`ask` is given different questions, and at most `at_once` times while it has not answered."""
        self._ask = ask
        self._tasks = tasks
        self._at_once = at_once
        self._under_way = 0
        self._beginning = False
        self._waiting: dict[Q, list[asyncio.Future[A]]] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody waits to be asked for."""
        return not self._waiting

    async def answer(self, question: Q) -> A:
        """Ask, and wait. Raises what `ask` raised."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(future)
        self._begin()
        return await future

    def _begin(self) -> None:
        if self._waiting and not self._beginning and self._under_way < self._at_once:
            self._beginning = True
            self._tasks.start(self._run())

    async def _run(self) -> None:
        """Ask for all who came until now: that is a turn of the loop after the first of them."""
        self._beginning = False
        some = list(self._waiting)[:MOST_TOGETHER]
        batch = {question: self._waiting.pop(question) for question in some}
        self._under_way += 1
        self._begin()
        answers: Mapping[Q, A] = {}
        failure: BaseException = asyncio.CancelledError()
        try:
            answers = await self._ask(some)
        except Exception as error:  # noqa: BLE001  # each of them is told
            failure = error
        finally:
            self._under_way -= 1
            for question, futures in batch.items():
                for future in futures:
                    if future.done():  # whoever asked went away
                        continue
                    if question in answers:
                        future.set_result(answers[question])
                    else:
                        future.set_exception(failure)
            self._begin()
