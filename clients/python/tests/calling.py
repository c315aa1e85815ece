"""Both clients behind one blocking face, so that each test runs on both; and a service that answers as told."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx
from tapcode_client import AsyncTapcode, Tapcode

KEY = "tc_test_" + "k" * 40
REQUEST = "Kq9xV3mN2pT7rL8s"
SUBSCRIBER = "37bb1792-434b-4d18-bf58-354649e4d376"

Reply = httpx.Response | Exception


@dataclass
class Service:
    """The real service on loopback, whose messengers can't be reached: only test mode gets anywhere."""

    url: str
    test_key: str
    live_key: str


@dataclass
class Told:
    """Answers each call with the next reply, and keeps what was asked. Sleeping moves its clock, and takes no time."""

    replies: list[Reply]
    asked: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    now: float = 1000.0
    takes: float = 0.0
    """Seconds that each call takes."""
    keys: int = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        self.now += self.takes
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)

    async def ahandle(self, request: httpx.Request) -> httpx.Response:
        return self.handle(request)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def new_key(self) -> str:
        self.keys += 1
        return f"key-{self.keys}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.asked]


class Caller:
    """A client of either kind; every method blocks. It is closed when its test is over."""

    open: ClassVar[list[Caller]] = []

    def __init__(self, client: Tapcode | AsyncTapcode) -> None:
        self.client = client
        self.runner = asyncio.Runner()
        self.open.append(self)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            return self.runner.run(result) if inspect.iscoroutine(result) else result

        return call

    def close(self) -> None:
        if isinstance(self.client, AsyncTapcode):
            self.runner.run(self.client.aclose())
        else:
            self.client.close()
        self.runner.close()


def told(kind: type[Any], replies: Iterable[Reply], **options: Any) -> tuple[Caller, Told]:
    """A client of a kind, and the service that it talks to."""
    service = Told(list(replies))
    given: dict[str, Any] = {
        "clock": service.clock,
        "random": lambda: 0.5,
        "new_key": service.new_key,
        **options,
    }
    if kind is AsyncTapcode:
        transport = httpx.MockTransport(service.ahandle)
        client: Tapcode | AsyncTapcode = AsyncTapcode(
            KEY, "http://tapcode.test", transport=transport, sleep=service.asleep, **given
        )
    else:
        client = Tapcode(
            KEY,
            "http://tapcode.test",
            transport=httpx.MockTransport(service.handle),
            sleep=service.sleep,
            **given,
        )
    return Caller(client), service


def problem(
    status: int, code: str, *, retryable: bool = False, retry_after: int | None = None
) -> httpx.Response:
    """An answer that is an error."""
    headers = {"X-Request-Id": "of-the-answer"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = {
        "type": f"urn:tapcode:error:{code}",
        "title": "Title",
        "status": status,
        "detail": f"About {code}.",
        "code": code,
        "retryable": retryable,
    }
    return httpx.Response(status, json=body, headers=headers)


def busy(retry_after: int = 2) -> httpx.Response:
    """503 that may be tried again."""
    return problem(503, "storage_unavailable", retryable=True, retry_after=retry_after)


def sent() -> httpx.Response:
    """The answer to a send."""
    return httpx.Response(200, json={"sent": True, "expires_in_seconds": 300})


def status(state: str, **more: Any) -> httpx.Response:
    """A status."""
    times = {"created_at": "2026-11-29T03:07:05.120Z", "expires_at": "2026-11-29T03:22:05.120Z"}
    return httpx.Response(200, json={"status": state, **times, **more})
