"""The two clients: they do what `_core` says, one by blocking and one by awaiting. Nothing is decided here."""

from __future__ import annotations

import asyncio
import functools
import inspect
import re
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from tapcode_client import _calls
from tapcode_client._core import Answer, Exchange, Lost, Outcome, Pause, Rules, Task
from tapcode_client._version import VERSION

P = ParamSpec("P")
T = TypeVar("T")

TIMEOUT = 20.0
"""Seconds for one attempt: a `send` answers only after the messenger, within about 15."""
DEADLINE = 45.0
"""Seconds for a call with all its attempts."""
RETRIES = 3

random = secrets.SystemRandom().random


def new_key() -> str:
    """A new `Idempotency-Key`."""
    return str(uuid.uuid4())


class _Bearer(httpx.Auth):
    """Puts the key into the header at the last moment, so that no call, error or `repr` holds it."""

    def __init__(self, api_key: str) -> None:
        if re.fullmatch(r"[!-~]+", api_key) is None:
            raise ValueError("an API key is visible ASCII characters")
        self._value = f"Bearer {api_key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._value
        yield request


def _address(base_url: str) -> str:
    parts = urlsplit(base_url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.query
        or parts.fragment
        or parts.username
    ):
        raise ValueError("base_url is http(s)://host[:port][/path]")
    if parts.path.rstrip("/").endswith("/v1"):
        raise ValueError("base_url ends before /v1, which every call has itself: http://localhost:8080")
    return base_url


def _request(http: httpx.Client | httpx.AsyncClient, exchange: Exchange) -> httpx.Request:
    return http.build_request(
        exchange.method,
        exchange.path,
        params=exchange.query,
        content=exchange.body,
        headers=exchange.headers,
        timeout=exchange.timeout,
    )


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content)


def _signed(method: Any, make: Callable[..., Any]) -> None:
    """Give a method the signature of what it makes, with `self` in front, for `help` and editors."""
    own = inspect.signature(make)
    self_ = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    method.__signature__ = own.replace(parameters=[self_, *own.parameters.values()])


def _blocking(make: Callable[P, Task[T]]) -> Callable[Concatenate[Tapcode, P], T]:
    @functools.wraps(make)
    def method(self: Tapcode, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(make(*args, **kwargs))

    _signed(method, make)
    return method


def _awaiting(make: Callable[P, Task[T]]) -> Callable[Concatenate[AsyncTapcode, P], Coroutine[Any, Any, T]]:
    @functools.wraps(make)
    async def method(self: AsyncTapcode, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(make(*args, **kwargs))

    _signed(method, make)
    return method


class Tapcode:
    """A client that blocks. Threads may share one; close it, or use it in a `with`.

    `timeout` and `deadline` are seconds: for one attempt (connecting, and each wait for bytes), and for a call with all its
    attempts, after which none begins. What may be tried again is tried up to `retries` times more. `transport` is httpx's,
    for proxies, certificates and tests; time and chance are handed in by tests.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: float = TIMEOUT,
        deadline: float = DEADLINE,
        retries: int = RETRIES,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: Callable[[], float] = random,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        self._base_url = _address(base_url)
        self._rules = Rules(timeout, deadline, retries, clock, random, new_key)
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=self._base_url,
            auth=_Bearer(api_key),
            transport=transport,
            headers={"User-Agent": _AGENT},
        )

    def _run(self, task: Task[T]) -> T:
        steps, outcome = task.steps(self._rules), None
        try:
            while True:
                outcome = self._do(steps.send(outcome))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Exchange | Pause) -> Outcome:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        try:
            return _answer(self._http.send(_request(self._http, step)))
        except httpx.RequestError as error:
            return Lost(error)

    request = _blocking(_calls.request)
    status = _blocking(_calls.status)
    wait_until_sent = _blocking(_calls.wait_until_sent)
    send = _blocking(_calls.send)
    verify = _blocking(_calls.verify)
    cancel = _blocking(_calls.cancel)
    revoke = _blocking(_calls.revoke)
    get_subscriber = _blocking(_calls.get_subscriber)
    delete_subscriber = _blocking(_calls.delete_subscriber)
    create_webhook = _blocking(_calls.create_webhook)
    list_webhooks = _blocking(_calls.list_webhooks)
    delete_webhook = _blocking(_calls.delete_webhook)
    rotate_webhook_secret = _blocking(_calls.rotate_webhook_secret)
    enable_webhook = _blocking(_calls.enable_webhook)
    list_events = _blocking(_calls.list_events)
    redeliver_event = _blocking(_calls.redeliver_event)
    play_consent = _blocking(_calls.play_consent)
    play_cancel = _blocking(_calls.play_cancel)
    play_report = _blocking(_calls.play_report)
    play_phone = _blocking(_calls.play_phone)
    play_skip = _blocking(_calls.play_skip)
    play_expire = _blocking(_calls.play_expire)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Tapcode({self._base_url!r})"


class AsyncTapcode:
    """The same for asyncio: every method is awaited. Close it with `aclose()`, or use it in an `async with`."""

    def __init__(
        self,
        api_key: str,
        base_url: str,
        *,
        timeout: float = TIMEOUT,
        deadline: float = DEADLINE,
        retries: int = RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Callable[[], float] = random,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        self._base_url = _address(base_url)
        self._rules = Rules(timeout, deadline, retries, clock, random, new_key)
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            base_url=self._base_url,
            auth=_Bearer(api_key),
            transport=transport,
            headers={"User-Agent": _AGENT},
        )

    async def _run(self, task: Task[T]) -> T:
        steps, outcome = task.steps(self._rules), None
        try:
            while True:
                outcome = await self._do(steps.send(outcome))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Exchange | Pause) -> Outcome:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        try:
            return _answer(await self._http.send(_request(self._http, step)))
        except httpx.RequestError as error:
            return Lost(error)

    request = _awaiting(_calls.request)
    status = _awaiting(_calls.status)
    wait_until_sent = _awaiting(_calls.wait_until_sent)
    send = _awaiting(_calls.send)
    verify = _awaiting(_calls.verify)
    cancel = _awaiting(_calls.cancel)
    revoke = _awaiting(_calls.revoke)
    get_subscriber = _awaiting(_calls.get_subscriber)
    delete_subscriber = _awaiting(_calls.delete_subscriber)
    create_webhook = _awaiting(_calls.create_webhook)
    list_webhooks = _awaiting(_calls.list_webhooks)
    delete_webhook = _awaiting(_calls.delete_webhook)
    rotate_webhook_secret = _awaiting(_calls.rotate_webhook_secret)
    enable_webhook = _awaiting(_calls.enable_webhook)
    list_events = _awaiting(_calls.list_events)
    redeliver_event = _awaiting(_calls.redeliver_event)
    play_consent = _awaiting(_calls.play_consent)
    play_cancel = _awaiting(_calls.play_cancel)
    play_report = _awaiting(_calls.play_report)
    play_phone = _awaiting(_calls.play_phone)
    play_skip = _awaiting(_calls.play_skip)
    play_expire = _awaiting(_calls.play_expire)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncTapcode({self._base_url!r})"


_AGENT = f"tapcode-client/{VERSION}"
