"""The whole service on loopback, with simulated messengers, people and a site: what end-to-end tests stand on.

`running` runs it inside the test; `tests.process` runs the real program in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from checks.calls import Outside
from config.process import Server
from config.settings import Settings, load
from otp.model import Mode
from sandbox.demo import PUBLIC_URL, Demo
from sandbox.simulator import Simulator
from sandbox.wire import ChatMessage
from storage import Reach, open_store
from tests.fakes import FakeClock, SeededRandomness, at_rest
from tests.names import Names
from wiring.app import build_app
from wiring.parts import make_skins
from wiring.service import Service

Between = Callable[[Demo], Awaitable[Mapping[str, str]]]
"""What stands between a service and its messengers: given these, the settings that lead the service through it."""
SECRET_KEYS = "first-key-of-the-tests-" + "x" * 20


@dataclass
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)


@dataclass
class Someone:
    """A person with one messenger, who acts by what is on the screen."""

    sim: Simulator
    user_id: int
    running: Site

    async def open(self, link: str) -> bool:
        """Follow a deep link; whether the messenger told the bot."""
        told = self.sim.open_link(self.user_id, link)
        await self.running.quiet()
        return told

    async def say(self, text: str) -> None:
        """Write to the bot."""
        self.sim.say(self.user_id, text)
        await self.running.quiet()

    async def press_key(self, label: str) -> None:
        """Press a key in place of the person's own keyboard."""
        for row, labels in enumerate(self.keys):
            if label in labels:
                self.sim.press_key(self.user_id, row, labels.index(label))
                await self.running.quiet()
                return
        raise AssertionError(f"no key {label!r}: {self.keys}")

    async def share_contact(self, **which: bool) -> None:
        """Send a contact: `own` or not, `forwarded` or not."""
        self.sim.share_contact(self.user_id, **which)
        await self.running.quiet()

    @property
    def keys(self) -> list[list[str]]:
        """The keys in place of the person's own keyboard."""
        return self.sim.keys(self.user_id)

    async def press(self, label: str) -> None:
        """Press the newest button whose label begins so."""
        self.touch(label)
        await self.running.quiet()

    def touch(self, label: str) -> None:
        """Press it, and wait for nothing."""
        for message in reversed(self.screen):
            for row, buttons in enumerate(message.buttons):
                for column, button in enumerate(buttons):
                    if button.label.startswith(label):
                        self.sim.press(self.user_id, message.id, row, column)
                        return
        raise AssertionError(f"no button {label!r} on the screen: {self.labels}")

    @property
    def screen(self) -> list[ChatMessage]:
        """The bot's messages as they are now, oldest first."""
        return [message for message in self.sim.chat(self.user_id) if message.author == "bot"]

    @property
    def last(self) -> str:
        """The newest message of the bot."""
        return self.screen[-1].text

    @property
    def labels(self) -> list[str]:
        """The labels of all buttons on the screen."""
        return [button.label for message in self.screen for row in message.buttons for button in row]

    @property
    def codes(self) -> list[str]:
        """The codes on the screen, oldest first."""
        found = [re.fullmatch(r"\d{4,8}", message.text.split("\n")[0], re.ASCII) for message in self.screen]
        return [match[0] for match in found if match]

    @property
    def popups(self) -> list[str]:
        """The popups shown so far."""
        return self.sim.popups(self.user_id)


def without_times(told: Mapping[str, Any]) -> dict[str, Any]:
    """A status as it is but for its times."""
    return {name: value for name, value in told.items() if not name.endswith("_at")}


@dataclass
class Site(ABC):
    """A service seen from outside: the site's calls, and people with simulated messengers."""

    demo: Demo
    url: str
    http: aiohttp.ClientSession
    api_key: str
    people: int = field(default=100, init=False)

    def someone(self, channel: str = "telegram", language: str = "en") -> Someone:
        """A new person."""
        sim: Simulator = self.demo.telegram if channel == "telegram" else self.demo.max
        self.people += 1
        sim.person(self.people, language=language)
        return Someone(sim, self.people, self)

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        """An HTTP call with the project's key."""
        headers = {"Authorization": f"Bearer {self.api_key}", **options.pop("headers", {})}
        if body is not None:
            options["data"], headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        headers = {name: value for name, value in headers.items() if value is not None}
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.text())

    async def request(self, **fields: Any) -> dict[str, Any]:
        """Create a request."""
        answer = await self.call("POST", "/v1/otp/request", fields)
        assert answer.status == 200, answer
        return dict(answer.json)

    async def status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The status of a request, without its times."""
        told = (await self.call("GET", f"/v1/otp/request/{request['request_id']}/status")).json
        return without_times(told)

    async def verify(self, subscriber_id: str, code: str, **fields: Any) -> dict[str, Any]:
        """Judge a guess."""
        body = {"subscriber_id": subscriber_id, "code": code, **fields}
        return dict((await self.call("POST", "/v1/otp/verify", body)).json)

    async def subscriber(self, person: Someone) -> str:
        """Bring a person through consent; the subscriber's id."""
        request = await self.request()
        if not await person.open(request[f"{person.sim.channel}_link"]):
            await person.say(f"otp_{request['request_id']}")
        await person.press("Get the code")
        return str((await self.status(request))["subscriber_id"])

    @abstractmethod
    async def quiet(self) -> None:
        """Until every update had its answer and all that follows from it was done."""

    def answered(self) -> bool:
        """Whether every call of the bots has its answer."""
        calls = [*self.demo.telegram.calls, *self.demo.max.calls]
        waiting = ("getUpdates", "GET /updates")  # these wait for updates to come
        return all(call.status is not None for call in calls if call.method not in waiting)


@dataclass
class Running(Site):
    """A service that runs inside the test."""

    service: Service
    clock: FakeClock
    settings: Settings

    async def quiet(self) -> None:
        still = 0
        async with asyncio.timeout(10):
            while still < 100:
                await self.demo.telegram.settled()
                await self.demo.max.settled()
                await self.service.store.read(_nothing)
                await asyncio.sleep(0)
                idle = self.service.replies.idle and self.service.jobs.idle and self.answered()
                idle = idle and self.service.telling.sender.idle
                still = still + 1 if idle and at_rest(self.service.store) else 0


async def _nothing(_tx: object) -> None:
    return None


@asynccontextmanager
async def running(
    store_url: str = "sqlite:///:memory:",
    *,
    between: Between | None = None,
    mode: Mode = Mode.LIVE,
    clock: FakeClock | None = None,
    outside: Outside | None = None,
    **settings: Any,
) -> AsyncIterator[Running]:
    """Start everything, with people of a mode; settings override the defaults, None takes one away.

    `outside`: where PUBLIC_URL really is, which by itself nobody knows.
    """
    clock, randomness = clock or FakeClock(), SeededRandomness()
    with socket.socket() as listener:  # holds the port, and never listens
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        demo = Demo(url, clock.now)
        await demo.start()
        given = {
            "secret_keys": SECRET_KEYS,
            "public_url": PUBLIC_URL,
            "telegram_bot_token": demo.telegram_token,
            "max_bot_token": demo.max_token,
            "telegram_api_url": demo.telegram_url,
            "max_api_url": demo.max_url,
            "send_limit": 1000,
            "requests_per_minute": 1_000_000,
            "status_reads_per_minute": 1_000_000,
            **(await between(demo) if between else {}),
            **settings,
        }
        loaded = load("cli", given)
        store = await open_store(store_url, clock, Reach(own_time=False))
        service = build_app(
            loaded,
            store=store,
            clock=clock,
            randomness=randomness,
            mode=mode,
            skins=make_skins(loaded),
            outside=outside or Outside(resolver=Names()),
        )
        server = Server(service.app, 1, service.refusal)
        await server.start(*listener.getsockname())
        try:
            made = await service.projects.create("Ромашка Shop", "flowers & <gifts>")
            await service.begin()
            async with aiohttp.ClientSession() as http:
                one = Running(demo, url, http, made.api_key, service, clock, loaded)
                await demo.telegram.until(lambda: all(service.registration.names().values()))
                await one.quiet()
                yield one
        finally:
            service.wind_down()
            await server.close()
            await service.end()
            await demo.close()
