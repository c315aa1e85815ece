"""A messenger that hangs holds up nobody else: not the other messenger, not the site's other calls, not the background."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox.wire import Fault
from tests.attempts import pass_time
from tests.running import Running, Someone, running

pytestmark = pytest.mark.slow  # each has many people

channels = pytest.mark.parametrize("hangs,works", [("telegram", "max"), ("max", "telegram")])


@asynccontextmanager
async def hanging(run: Running, channel: str, method: str = ".*") -> AsyncIterator[None]:
    """A messenger that answers no call of these until the end."""
    released = asyncio.Event()
    sim = run.demo.telegram if channel == "telegram" else run.demo.max
    sim.faults.append(Fault(method=method, times=100_000, hold=released))
    try:
        yield
    finally:
        sim.faults.clear()
        released.set()
        await run.quiet()


@channels
async def test_questions_of_the_other_messenger(
    monkeypatch: pytest.MonkeyPatch, hangs: str, works: str
) -> None:
    """However many replies wait for one messenger, those of the other one go out."""
    monkeypatch.setattr("bot.replies.WAITING", 10)
    async with running() as run:
        request = await run.request()
        async with hanging(run, hangs):
            for stuck in [run.someone(hangs) for _ in range(12)]:
                stuck.sim.say(stuck.user_id, f"otp_{request['request_id']}")
                await stuck.sim.settled()
            person = run.someone(works)
            person.sim.say(person.user_id, f"otp_{request['request_id']}")
            await person.sim.until(lambda: "Get the code" in person.labels)


@channels
async def test_edits_of_the_other_messenger(hangs: str, works: str) -> None:
    """However many used codes wait for one messenger to take them off the screen, the other one's are."""
    async with running() as run:
        people: list[Someone] = [*(run.someone(hangs) for _ in range(17)), run.someone(works)]
        codes = {await run.subscriber(person): person.codes[-1] for person in people}
        async with hanging(run, hangs, "editMessageText|PUT /messages"):
            for sub, code in codes.items():
                assert await run.verify(sub, code) == {"verified": True}
            await people[-1].sim.until(lambda: people[-1].codes == [])
            assert [len(person.codes) for person in people] == [1] * 17 + [0]
        await pass_time(run, 10)
        assert [person.codes for person in people] == [[]] * 18
