"""What a simulated messenger was asked to bring to a person, and how a site's calls go on while time passes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from otp.model import DeliveryState
from sandbox.wire import Call
from tests.running import Answer, Running, Someone

SENDING: Final = "sendMessage|POST /messages"
"""The calls that bring a new message, on either messenger."""


def digits_in(call: Call) -> str | None:
    """The code that a call carries, if it carries one."""
    text = (call.body or call.params).get("text", "")
    found = re.fullmatch(r"[0-9]{4,8}", text.split("\n")[0]) if re.fullmatch(SENDING, call.method) else None
    return found[0] if found else None


def attempts(person: Someone) -> list[Call]:
    """The calls that were to bring a code to this person, oldest first, whatever became of them."""
    mine = {"chat_id": person.user_id, "user_id": str(person.user_id)}
    return [
        call
        for call in person.sim.calls
        if digits_in(call) and any(call.params.get(name) == value for name, value in mine.items())
    ]


def arrived(person: Someone) -> list[Call]:
    """Those that did."""
    return [call for call in attempts(person) if call.done]


async def pass_time(
    run: Running, seconds: float, until: Callable[[], bool] = lambda: False, *, step: float = 1
) -> None:
    """Let the clock run, in steps, until something holds or the time is over."""
    passed = 0.0
    while passed < seconds and not until():
        await no_attempt(run)
        run.clock.advance(seconds=step)
        passed += step
    await no_attempt(run)


async def no_attempt(run: Running) -> None:
    """Until no attempt is under way, also of a connection that the messenger never sees: time must not overtake it."""
    await run.quiet()
    for _ in range(20_000):
        left = await run.service.store.read(lambda tx: tx.stranded(0, tx.now, 100))
        if all(one.state is not DeliveryState.ATTEMPTING for one in left):
            return await run.quiet()
        await asyncio.sleep(0.001)
    raise AssertionError("an attempt does not end")


async def sent(run: Running, subscriber_id: str, *, seconds: float = 30) -> Answer:
    """What `/send` answers while the clock runs on."""
    call = asyncio.create_task(run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id}))
    async with asyncio.timeout(20):
        await pass_time(run, seconds, call.done, step=0.5)
        return await call
