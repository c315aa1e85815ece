"""The values of both simulators: what a screen shows, a call of the bot, a fault, a webhook delivery."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web

JSON = dict[str, Any]
Clock = Callable[[], int]
Route = Callable[[str], str | None]


@dataclass(frozen=True)
class Button:
    """One button as a person sees it; `value` is callback data, the text to copy or the address."""

    label: str
    kind: Literal["press", "copy", "link"]
    value: str


@dataclass(frozen=True)
class ChatMessage:
    """One message on a person's screen; spans are (offset, length) in indexes of `text`, `at` is in ms."""

    id: str
    author: Literal["bot", "person"]
    text: str
    code_spans: list[tuple[int, int]]
    bold_spans: list[tuple[int, int]]
    buttons: list[list[Button]]
    edited: bool
    at: int


@dataclass(frozen=True)
class Pressed:
    """What a press did on the person's own device; both fields are None when it went to the bot."""

    copy: str | None = None
    link: str | None = None


@dataclass
class Call:
    """One call of the bot: Telegram's method name or MAX's "POST /messages", and what came of it.

    `params` are Telegram's parameters or MAX's query, `body` is MAX's JSON body. `status` is the one that was
    answered (0: the connection was dropped, None: not answered yet). `done` says that the call took effect,
    also when its answer was lost. `violations` are breaches of the API's rules, not refusals such as a block.
    """

    method: str
    params: JSON
    body: Any
    at: int
    status: int | None = None
    done: bool = False
    violations: list[str] = field(default_factory=list)


@dataclass
class Fault:
    """A disturbance of the next `times` calls whose `Call.method` fully matches the regular expression.

    First the call is held up, for `delay` seconds or until `hold` is set; then the connection is dropped, or
    `status` is answered with `body` (JSON), `raw` (text) or the messenger's own kind of error; `retry_after`
    alone means 429. `when="after"` lets the call take effect first; `truncate` cuts the true answer in half;
    `headers` go with the answer.
    """

    method: str = ".*"
    times: int = 1
    status: int | None = None
    body: Any = None
    raw: str | None = None
    delay: float = 0
    hold: asyncio.Event | None = None
    drop: bool = False
    when: Literal["before", "after"] = "before"
    retry_after: int | None = None
    truncate: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def take(self, method: str) -> bool:
        """Whether this fault strikes a call of `method`; uses up one of `times` if so."""
        if self.times < 1 or not re.fullmatch(self.method, method):
            return False
        self.times -= 1
        return True

    def response(self, error: Callable[[int, int | None], JSON]) -> web.Response | None:
        """The answer this fault puts in place of the true one; `error` makes the messenger's usual body."""
        status = self.status
        if status is None and self.retry_after is not None:
            status = 429
        if status is None and self.raw is None and self.body is None:
            return None
        status = status or 200
        text = self.raw
        if text is None:
            text = json.dumps(error(status, self.retry_after) if self.body is None else self.body)
        return web.Response(
            status=status, text=text, content_type="application/json", headers=dict(self.headers)
        )


class Impossible(ValueError):
    """A person's client does not offer this: a foreign link, an empty text, a button that is not there."""


class Refused(Exception):
    """The messenger refuses a call: `status` and `body` are its answer, `violation` names a broken rule."""

    def __init__(self, status: int, body: JSON, violation: str | None = None) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body
        self.violation = violation


@dataclass(frozen=True)
class Webhook:
    """A registration of the bot's; no `update_types` means all of them, `at` is in ms."""

    url: str
    secret: str | None
    update_types: tuple[str, ...]
    at: int


@dataclass
class Delivery:
    """One update on its way to one webhook: a status or an error per attempt, and how it ended."""

    update: JSON
    url: str
    attempts: list[int | str] = field(default_factory=list)
    done: bool = False
    given_up: bool = False
