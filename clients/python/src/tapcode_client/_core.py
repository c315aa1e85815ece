"""The rules of calling, without any input or output: what is sent, what an answer means, when it is tried again.

A call is a generator that yields what is to be done next (`Exchange`, `Pause`) and is given the outcome. The two clients
in `_client` only do these things, one by blocking and one by awaiting, so there is one set of rules for both. Only `_calls`
and `_client` import this.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Generic, Protocol, TypeVar

from tapcode_client._reading import Fields, Unreadable
from tapcode_client.errors import (
    BY_CODE,
    ApiError,
    ConnectionFailed,
    FieldError,
    NotFound,
    Problem,
    TapcodeError,
    UnreadableAnswer,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

LONGEST_BACKOFF = 8.0
"""Seconds."""
_RETRIED = frozenset(
    {"rate_limited", "messenger_unavailable", "storage_unavailable", "idempotency_in_progress"}
)
"""Codes after which the same call comes to one effect. Not `send_in_progress`: there a repetition is a second message."""
_GATEWAY = frozenset({429, 502, 503, 504})
"""Statuses of a proxy that has no answer of the service to give."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Send this and give back the answer, or `Lost`."""

    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Sleep so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end. The names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def done(self) -> bool:
        """Whether it is a success."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer: not connected, broken off, or not in time."""

    error: Exception


Step = Exchange | Pause
Outcome = Answer | Lost | None
Steps = Generator[Step, Outcome, T]


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient a client is, and where its time and its chance come from."""

    timeout: float
    """Seconds for one attempt."""
    deadline: float
    """Seconds for a call with all its attempts and pauses."""
    retries: int
    clock: Callable[[], float]
    """Monotonic seconds."""
    random: Callable[[], float]
    """From 0 up to 1."""
    new_key: Callable[[], str]

    def pause_after(self, retry_after: int | None, tried: int) -> float:
        """Seconds to wait: what the service says and up to a second more, else exponential with full jitter."""
        if retry_after is not None:
            return retry_after + self.random()
        return self.random() * min(LONGEST_BACKOFF, 0.25 * 2.0**tried)


class Task(Protocol[T_co]):
    """Something that a client can do."""

    def steps(self, rules: Rules) -> Generator[Step, Outcome, T_co]:
        """What to do, and in the end the result. Raises TapcodeError."""
        ...


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call of the API, with what its answer becomes."""

    method: str
    path: str
    read: Callable[[Fields], T]
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    idempotency_key: str | None = field(default=None, repr=False)
    gone_is_done: bool = False
    """A DELETE that finds nothing after an attempt whose answer was lost: that one did it."""

    def steps(self, rules: Rules) -> Steps[T]:
        """The call, again where that is safe."""
        return self.attempts(
            rules, timeout=rules.timeout, until=rules.clock() + rules.deadline, retries=rules.retries
        )

    def attempts(
        self, rules: Rules, *, timeout: float, until: float, retries: float, grace: float = 0.0
    ) -> Steps[T]:
        """The same with another patience: so many seconds for an attempt, and none begins after `until`.

        One that has begun may take until then and `grace` seconds more.
        """
        headers, body = self._prepared(rules)
        tried, lost = 0, False
        while True:
            left = max(0.001, until - rules.clock() + grace)
            outcome = yield Exchange(self.method, self.path, self.query, body, headers, min(timeout, left))
            if outcome is None:
                raise TypeError("an exchange has an outcome")
            if isinstance(outcome, Answer) and outcome.done:
                return self._result(outcome)
            error = failure(outcome)
            if lost and self.gone_is_done and isinstance(error, NotFound):
                return self.read(Fields({}))
            lost = lost or _may_have_happened(outcome, error)
            pause = rules.pause_after(error.retry_after, tried)
            if not _safe_again(error) or tried >= retries or rules.clock() + pause >= until:
                raise error from (outcome.error if isinstance(outcome, Lost) else None)
            tried += 1
            yield Pause(pause)

    def _prepared(self, rules: Rules) -> tuple[dict[str, str], bytes | None]:
        """The headers and the body, the same at every attempt."""
        headers = {"Accept": "application/json"}
        if self.method == "POST":
            headers["Idempotency-Key"] = self.idempotency_key or rules.new_key()
        if self.body is None:
            return headers, None
        headers["Content-Type"] = "application/json"
        return headers, json.dumps(self.body).encode()

    def _result(self, answer: Answer) -> T:
        try:
            return self.read(Fields.parse(answer.body))
        except Unreadable as error:
            raise _unreadable(answer, str(error)) from None


def failure(outcome: Answer | Lost) -> TapcodeError:
    """What an outcome that is no success means."""
    if isinstance(outcome, Lost):
        kind = type(outcome.error).__name__
        return ConnectionFailed(Problem(code="no_answer", detail=f"The service gave no answer ({kind})"))
    try:
        told = Fields.parse(outcome.body)
        code = told.text("code")
        problem = Problem(
            code=code,
            detail=told.text("detail"),
            status=outcome.status,
            retryable=told.flag("retryable"),
            retry_after=_seconds(outcome),
            request_id=outcome.headers.get("x-request-id"),
            errors=tuple(FieldError(one.text("field"), one.text("message")) for one in _listed(told)),
        )
    except Unreadable:
        return _unreadable(outcome, "no problem details")
    return BY_CODE.get(code, ApiError)(problem)


def _listed(told: Fields) -> list[Fields]:
    try:
        return told.all("errors")
    except Unreadable:
        return []


def _unreadable(answer: Answer, what: str) -> UnreadableAnswer:
    return UnreadableAnswer(
        Problem(
            code="unreadable_answer",
            detail=f"HTTP {answer.status} that can't be read: {what}",
            status=answer.status,
            retry_after=_seconds(answer),
            request_id=answer.headers.get("x-request-id"),
        )
    )


def _seconds(answer: Answer) -> int | None:
    """`Retry-After` in seconds. A date, which only proxies send, counts as none."""
    told = answer.headers.get("retry-after", "")
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else None


def _safe_again(error: TapcodeError) -> bool:
    """Whether the same call, with the same `Idempotency-Key`, may be made again without asking anybody."""
    if isinstance(error, ConnectionFailed):
        return True
    if isinstance(error, UnreadableAnswer):
        return error.status in _GATEWAY
    return error.retryable and error.code in _RETRIED


def _may_have_happened(outcome: Answer | Lost, error: TapcodeError) -> bool:
    return isinstance(outcome, Lost) or isinstance(error, UnreadableAnswer)
