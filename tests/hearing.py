"""Sites that hear of events: a scripted way to endpoints, and a sender over a world's store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otp.codes import KeyRing
from otp.endpoints import Endpoints
from otp.model import Caller
from otp.ports import Reply, Store
from otp.sender import Sender
from otp.telling import NewEndpoint
from storage.sealing import AeadSeals
from tests.fakes import FakeClock, SeededRandomness, at_rest
from tests.world import KEYS, World

URL = "https://shop.example/hook"
OK = Reply(204)


@dataclass(frozen=True)
class Heard:
    """What arrived at an endpoint."""

    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """Of the event."""
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)

    @property
    def type(self) -> str:
        """Of the event."""
        return str(self.json["type"])


@dataclass
class FakePost:
    """Answers as a script says, by URL; the last step repeats, and without a script all is well."""

    script: dict[str, list[Reply]] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    """Endpoints that hang until their event is set."""
    now_open: int = 0
    most_open: int = 0

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self.heard.append(Heard(url, headers, body))
        self.now_open += 1
        self.most_open = max(self.most_open, self.now_open)
        try:
            if url in self.hold:
                await self.hold[url].wait()
        finally:
            self.now_open -= 1
        steps = self.script.get(url, [OK])
        return steps.pop(0) if len(steps) > 1 else steps[0]

    def types(self, url: str = URL) -> list[str]:
        """What an endpoint heard, in order."""
        return [one.type for one in self.heard if one.url == url]


class Largest(SeededRandomness):
    """Draws the longest waits that there can be."""

    def bytes(self, count: int) -> bytes:
        return (b"\0" if count == 8 else b"") + super().bytes(count - (count == 8))


@dataclass
class Hearing:
    """Endpoints, and a sender that tells them."""

    store: Store
    clock: FakeClock
    post: FakePost
    endpoints: Endpoints
    sender: Sender
    failures: list[BaseException]

    async def settle(self) -> None:
        """Until nothing is told that does not wait for the clock or for an endpoint that hangs."""
        quiet = 0
        async with asyncio.timeout(20):
            while quiet < 60:
                busy = not at_rest(self.store) or (not self.sender.idle and not self.post.now_open)
                quiet = 0 if busy else quiet + 1
                await asyncio.sleep(0.001 if busy else 0)
                if quiet % 20 == 0:
                    await self.store.read(_nothing)

    async def later(
        self, *, until: Callable[[], bool] | None = None, step: float = 1, most: float = 60
    ) -> float:
        """Let time go by in steps of seconds, until something is so or for `most` seconds; how many went."""
        gone = 0.0
        while gone < most and not (until is not None and until()):
            self.clock.advance(seconds=step)
            gone += step
            await self.settle()
        return gone

    async def listen(self, caller: Caller, *types: str, url: str = URL) -> NewEndpoint:
        """A new endpoint."""
        return await self.endpoints.create(caller, url, types)


async def _nothing(_tx: object) -> None:
    return None


def hearing(
    world: World,
    post: FakePost | None = None,
    *,
    keys: tuple[str, ...] = KEYS,
    store: Store | None = None,
    seed: str = "hearing",
    randomness: SeededRandomness | None = None,
) -> Hearing:
    """Endpoints over a world's store, and a sender that has not begun."""
    drawn, over, failures = randomness or SeededRandomness(seed), store or world.store, world.failures
    seals, used = AeadSeals(KeyRing(keys).sealing_keys(), drawn), post or FakePost()
    sender = Sender(over, world.clock, seals, used, drawn, failures.append, 0)
    over.listen(sender.on_event)
    return Hearing(over, world.clock, used, Endpoints(over, seals, drawn, private=False), sender, failures)
