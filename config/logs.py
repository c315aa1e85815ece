"""Structured logs: one event, one line, and never a secret.

Exceptions are written as their types and places, without their texts: texts of the messengers' libraries hold the
message that was sent, the code included.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import re
import sys
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from threading import Lock
from time import gmtime, strftime, time_ns  # noqa: TID251  # when a line was written, by whoever reads it
from traceback import extract_tb
from types import TracebackType
from typing import Any, Final, get_args

import orjson
import structlog

from otp.breaker import BreakerState
from otp.call import known_of_call
from otp.events import (
    Audited,
    CodeVerified,
    DeliverySettled,
    EndpointChanged,
    PhoneAsked,
    PhoneShared,
    SubscriberForgotten,
    SubscriberJoined,
    SubscriberLeft,
    SubscriberLocked,
    SubscriberRelinked,
    SubscriberUnlocked,
    WrongCode,
)
from otp.events import Event as OtpEvent
from otp.model import Channel, DeliveryState

log = structlog.get_logger()

_SHAPES: Final = re.compile(
    r"tc_(?:live|test)_[A-Za-z0-9_-]{8,}|(?<![0-9])[0-9]{6,20}:[A-Za-z0-9_-]{20,}|\bwhsec_[A-Za-z0-9+/=_-]{8,}|(?<=otp_)[A-Za-z0-9]{16}"
)
"""API keys, Telegram tokens, signing secrets and the ids in links, wherever they appear."""
_SIGNS: Final = ("tc_", ":", "whsec_", "otp_")
"""Each of these shapes holds one of them, and most lines hold none: looking for them costs a fiftieth of the pattern."""
_PLAIN: Final = (int, float, type(None))
"""Values that are no text and can't hide one."""
_NAMES: Final = {
    kind: "otp." + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower() for kind in get_args(OtpEvent)
}
"""`otp.code_verified` for CodeVerified."""
_NOISY: Final = ("aiohttp", "aiosqlite")
_SILENT: Final = ("aiogram", "maxapi", "bot", "connection", "dispatcher", "backoff", "asyncio")
"""The messengers' libraries (maxapi calls its loggers `bot`, `connection`, `dispatcher`) and asyncio put texts of
exceptions into their sentences; what they would say reaches us as exceptions too."""
_MASK: Final = "[hidden]"
_SHORTEST_SECRET: Final = 8

Event = MutableMapping[str, Any]


class Redactor:
    """Hides known secrets and whatever has the shape of one, in every value of an event."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted(
            {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True
        )
        self._known = re.compile("|".join(map(re.escape, known))) if known else None
        self._signs = (*_SIGNS, *known)

    def __repr__(self) -> str:
        return "Redactor()"

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """As a structlog processor."""
        texts = []
        for value in event.values():
            if isinstance(value, str):
                texts.append(value)
            elif not isinstance(value, _PLAIN):
                break
        else:
            if not self._may_hold("\0".join(texts)):
                return event
        for name, value in event.items():
            event[name] = self._clean(value)
        return event

    def _may_hold(self, text: str) -> bool:
        """Whether it is worth a closer look."""
        for sign in self._signs:  # noqa: SIM110  # a generator takes twice as long
            if sign in text:
                return True
        return False

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            if not self._may_hold(value):
                return value
            text = _SHAPES.sub(_MASK, value)
            return self._known.sub(_MASK, text) if self._known else text
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if isinstance(value, BaseException):
            return type(value).__name__
        return value if isinstance(value, (int, float, bool, type(None))) else self._clean(str(value))


def of_call(_logger: Any, _method: str, event: Event) -> Event:
    """What is known of the call that caused the event; what the event says itself counts more."""
    for name, value in known_of_call().items():
        event.setdefault(name, value)
    return event


def _exception(_logger: Any, _method: str, event: Event) -> Event:
    """Types and places of an exception and its causes instead of their texts."""
    found = event.pop("exc_info", None)
    error = found if isinstance(found, BaseException) else sys.exc_info()[1] if found is True else None
    if isinstance(found, tuple):
        error = found[1]
    if error is not None:
        event["exception"] = list(_chain(error))
    return event


def _visible(_logger: Any, _method: str, event: Event) -> Event:
    """For a terminal: exceptions as lines, control characters as escapes (they would forge lines and colours)."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(ch if ch.isprintable() else ascii(ch)[1:-1] for ch in value)
    if "exception" in event:
        event["exception"] = "\n".join(event["exception"])
    return event


def _chain(error: BaseException) -> Iterable[str]:
    current: BaseException | None = error
    for _ in range(5):
        if current is None:
            return
        yield f"{type(current).__module__}.{type(current).__qualname__} {_places(current.__traceback__)}".rstrip()
        current = current.__cause__ or current.__context__


def _places(traceback: TracebackType | None) -> str:
    frames = extract_tb(traceback)[-6:]
    return " < ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames))


class _Stamp:
    """The time of an event, as RFC 3339 in UTC; what a whole second looks like is worked out once."""

    def __init__(self) -> None:
        self._last = (0, "")

    def __call__(self, _logger: Any, _method: str, event: Event) -> Event:
        """As a structlog processor."""
        second, rest = divmod(time_ns(), 1_000_000_000)
        last, text = self._last
        if second != last:
            text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
            self._last = second, text
        event["timestamp"] = f"{text}.{rest // 1_000:06d}Z"
        return event


def _json_line(_logger: Any, _method: str, event: Event) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except TypeError:  # a text that is no valid Unicode, or an integer of more than 64 bits
        return json.dumps(event, default=repr)


class _Output(io.TextIOBase):
    """Standard output that never fails: a full disk or a reader that is gone must not fail what is being logged.

    What is written in one turn of the loop goes out together at its end: each time costs more than the line itself.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._turn: asyncio.AbstractEventLoop | None = None
        """The loop whose turn's end is awaited."""
        self._one_at_a_time = Lock()

    def write(self, text: str) -> int:
        """Write, or lose it."""
        self._lines.append(text)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.flush()
        else:
            if self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)
        return len(text)

    def line(self, text: str) -> None:
        """Write a line."""
        self.write(text + "\n")

    debug = info = warning = error = critical = exception = msg = line

    def flush(self) -> None:
        """Let go of what was written."""
        with self._one_at_a_time:
            lines, self._lines, self._turn = self._lines, [], None
            with suppress(OSError, ValueError):
                sys.stdout.write("".join(lines))
                sys.stdout.flush()


_OUTPUT: Final = _Output()
"""The one that loggers, which are kept, go on writing to."""
atexit.register(_OUTPUT.flush)


def configure(level: str, style: str | None, secrets: Iterable[str]) -> None:
    """Set up logging for the whole process. `style` is `json`, `console`, or None: console on a terminal."""
    console = style == "console" or (style is None and sys.stdout.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty()) if console else _json_line
    _OUTPUT.flush()
    shared: list[Any] = [
        of_call,
        _exception,
        Redactor(secrets),
        structlog.stdlib.add_log_level,
        _Stamp(),
        *([_visible] if console else []),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _OUTPUT,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_OUTPUT)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.captureWarnings(True)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _SILENT:
        logging.getLogger(
            name
        ).disabled = True  # a level alone is set anew by `backoff`, when it is imported later
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    logging.raiseExceptions = False


def for_command(secrets: Iterable[str]) -> None:
    """The lines of a command go to standard error: its answer, which may be JSON, is all that standard output has."""
    structlog.configure(
        processors=[
            _exception,
            Redactor(secrets),
            structlog.stdlib.add_log_level,
            _Stamp(),
            _json_line,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def watch(loop: asyncio.AbstractEventLoop) -> None:
    """Log what goes wrong in tasks and callbacks that nobody awaits: asyncio's own sentences quote exceptions."""

    def tell(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        log.error("loop.failed", exc_info=context.get("exception"))

    loop.set_exception_handler(tell)


def log_breaker(channel: Channel, state: BreakerState) -> None:
    """A messenger does not answer and is left alone, is tried, or answers again."""
    say = log.info if state is BreakerState.CLOSED else log.warning
    say("channel.breaker", channel=channel, state=state)


def log_event(event: OtpEvent) -> None:
    """One line for each change of the domain, with ids and nothing of people or codes."""
    name = _NAMES[type(event)]
    if isinstance(event, DeliverySettled):
        sent = event.delivery
        say = log.info if sent.state is DeliveryState.ACCEPTED else log.warning
        say(
            name,
            project=sent.project_id,
            subscriber=sent.subscriber_id,
            delivery=sent.id,
            channel=sent.person.channel,
            cause=sent.cause,
            state=sent.state,
            why=sent.refusal,
        )
    elif isinstance(event, (CodeVerified, WrongCode)):
        left = {"attempts_left": event.attempts_left} if isinstance(event, WrongCode) else {}
        log.info(
            name, project=event.project_id, subscriber=event.subscriber_id, purpose=event.purpose, **left
        )
    elif isinstance(event, (PhoneAsked, PhoneShared)):
        log.info(name, project=event.subscriber.project_id, subscriber=event.subscriber.id)
    elif isinstance(event, (SubscriberLocked, SubscriberUnlocked, SubscriberJoined, SubscriberLeft)):
        say = log.warning if isinstance(event, SubscriberLocked) else log.info
        say(name, project=event.subscriber.project_id, subscriber=event.subscriber.id)
    elif isinstance(event, SubscriberForgotten):
        log.info(name, project=event.subscriber.project_id, subscriber=event.subscriber.id, by=event.by)
    elif isinstance(event, EndpointChanged):
        say = {"ok": log.info, "failing": log.warning}.get(event.state, log.error)
        say(name, project=event.project_id, webhook=event.endpoint_id, state=event.state, result=event.why)
    elif isinstance(event, SubscriberRelinked):  # without the account's name, which may be an address
        sub = event.subscriber
        log.warning(name, project=sub.project_id, subscriber=sub.id, previous=event.previous_id)
    elif isinstance(event, Audited):
        log.info("audit", what=event.what, subject=event.subject, by=event.by, detail=event.detail)
    else:
        log.debug(name)
