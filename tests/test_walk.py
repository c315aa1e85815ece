"""A walk over the whole conversation: every edge of the picture in `docs/conversation.md`, on both messengers."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.wire import Fault
from tests.running import Running, Someone, running

PICTURE = Path(__file__).parent.parent / "docs" / "conversation.md"
EDGE = re.compile(r"^    (\w+) --> (\w+): (.+)$", re.MULTILINE)

SHOWS = {
    "asked": "If you press “Get the code”",
    "matching": "Press the same number",
    "code": "Code for",
    "used": "This code has been used",
    "cancelled": "Cancelled.",
    "expired": "This link has expired",
    "wrong_number": "not the number on the site",
    "offered": "may not have arrived",
    "reported": "if there was a code, it no longer works",
    "refused": "can't send you codes any more",
    "unwanted": "You chose to get no codes",
    "locked": "do not work for now",
    "must_unlock": "no codes are sent for now",
    "unlocked": "Unlocked.",
    "subscriptions": "You are subscribed to these sites",
    "left": "You have left",
    "help": "one-time codes",
}
"""What the newest message of the bot says in each state."""


@dataclass
class Walk:
    """A person on the way through the conversation, and the site at the other end."""

    run: Running
    person: Someone
    request: dict[str, Any] = field(default_factory=dict)

    async def open(self, **wanted: Any) -> None:
        """Ask for a code on the site and follow the link, or type it where the messenger stays silent."""
        self.request = await self.run.request(**wanted)
        if not await self.person.open(self.request[f"{self.person.sim.channel}_link"]):
            await self.person.say(f"otp_{self.request['request_id']}")

    async def pair(self) -> None:
        """Ask for a code on the site and type its pairing code."""
        self.request = await self.run.request()
        await self.person.say(self.request["pairing_code"])

    async def fail(self) -> None:
        """Consent while the messenger answers nonsense."""
        self.person.sim.faults.append(Fault(method="sendMessage|POST /messages", status=500))
        await self.person.press("Get the code")

    async def late(self) -> None:
        """Press after the link's time."""
        self.run.clock.advance(minutes=16)
        await self.person.press("Get the code")

    async def verify(self) -> None:
        """Enter the right code on the site."""
        await self._enter(self.person.codes[-1])

    async def guess(self) -> None:
        """Enter wrong codes until the lock."""
        wrong = "1" * 6 if self.person.codes[-1] != "1" * 6 else "2" * 6
        for _ in range(3):
            await self._enter(wrong)

    async def _enter(self, code: str) -> None:
        status = await self.run.status(self.request)
        await self.run.verify(status["subscriber_id"], code)

    async def number(self, *, right: bool) -> None:
        """Press the number on the site's screen, or another one."""
        shown = [label for label in self.person.labels if re.fullmatch("[0-9]{2}", label)]
        await self.person.press(next(one for one in shown if (one == self.request["match_number"]) is right))


ACTS: dict[str, Callable[[Walk], Awaitable[None]]] = {
    "opens a link": lambda walk: walk.open(),
    "opens a link with a number": lambda walk: walk.open(match=True),
    "types the pairing code": lambda walk: walk.pair(),
    "Get the code": lambda walk: walk.person.press("Get the code"),
    "Get the code, the messenger fails": lambda walk: walk.fail(),
    "Get the code, after 15 minutes": lambda walk: walk.late(),
    "the right number": lambda walk: walk.number(right=True),
    "another number": lambda walk: walk.number(right=False),
    "Cancel": lambda walk: walk.person.press("Cancel"),
    "Send again": lambda walk: walk.person.press("Send again"),
    "It wasn't me": lambda walk: walk.person.press("It wasn't me"),
    "No more from this site": lambda walk: walk.person.press("No more"),
    "Allow again": lambda walk: walk.person.press("Allow again"),
    "Unlock": lambda walk: walk.person.press("Unlock"),
    "enters the code on the site": lambda walk: walk.verify(),
    "wrong codes on the site": lambda walk: walk.guess(),
    "/stop": lambda walk: walk.person.say("/stop"),
    "presses the site": lambda walk: walk.person.press("Ромашка"),
    "/start": lambda walk: walk.person.say("/start"),
}

EDGES = EDGE.findall(PICTURE.read_text(encoding="utf-8"))


def way_to(state: str) -> list[tuple[str, str]]:
    """The shortest way from the beginning: (act, state) after state."""
    waiting: deque[tuple[str, list[tuple[str, str]]]] = deque([("nothing", [])])
    seen = {"nothing"}
    while waiting:
        here, way = waiting.popleft()
        if here == state:
            return way
        for before, after, act in EDGES:
            if before == here and after not in seen:
                seen.add(after)
                waiting.append((after, [*way, (act, after)]))
    raise AssertionError(f"there is no way to {state}")


def test_the_picture_knows_every_state_and_every_act() -> None:
    """Nothing is drawn that is not walked, nothing is left out."""
    assert {state for edge in EDGES for state in edge[:2]} == {"nothing", *SHOWS}
    assert {act for _, _, act in EDGES} == set(ACTS)
    assert len(EDGES) == len(set(EDGES)) >= 30


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service that locks early."""
    async with running(guess_budget=3) as made:
        yield made
        assert made.demo.telegram.violations == []
        assert made.demo.max.violations == []


@pytest.mark.slow
@pytest.mark.parametrize("channel", ["telegram", "max"])
@pytest.mark.parametrize("before,after,act", EDGES, ids=["-".join(edge).replace(" ", "_") for edge in EDGES])
async def test_an_edge(run: Running, channel: str, before: str, after: str, act: str) -> None:
    """From its beginning to its end, every state on the way shows what it should."""
    walk = Walk(run, run.someone(channel))
    for step, state in [*way_to(before), (act, after)]:
        await ACTS[step](walk)
        await walk.person.sim.until(lambda state=state: SHOWS[state] in walk.person.last)  # type: ignore[misc]
        await run.quiet()
