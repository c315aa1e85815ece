"""What is counted and timed as it happens: by events of the domain, and by those who watch at its edges.

All labels are words of ours, so the number of series is known beforehand; most are there from the start, as a rate can't
see the first step of a counter that was not there before. What test mode does is in none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Summary, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from otp.events import (
    CodeReported,
    CodeVerified,
    DeliverySettled,
    Event,
    RequestBound,
    RequestCreated,
    RequestFinished,
    RequestOpened,
    RequestReported,
    SubscriberJoined,
    SubscriberLeft,
    SubscriberLocked,
    SubscriberUnlocked,
)
from otp.model import Cause, Channel, Delivery, DeliveryState, Mode, Refusal
from otp.policy import SECOND_MS
from otp.ports import Clock
from otp.service import Reason, Verdict

STAGES: Final = (
    "requested",
    "opened",
    "consented",
    "sent",
    "verified",
    "cancelled",
    "expired",
    "reported",
)
"""What a request comes to; `reported`: the person said that it was not them."""
BY: Final = ("site", "person")
"""Who asked for a code: a call of the site, or a tap."""
OUTCOMES: Final = ("accepted", "unknown", *(str(one) for one in Refusal))
VERDICTS: Final = ("verified", *(str(one) for one in Reason))
CHANGES: Final = {
    SubscriberJoined: "joined",
    SubscriberLeft: "left",
    SubscriberLocked: "locked",
    SubscriberUnlocked: "unlocked",
    CodeReported: "reported",
}
MESSAGES: Final = ("code", "message", "edit")
"""Calls that bring something to a person."""
MESSAGE_RESULTS: Final = ("ok", "gone", "rejected", "unauthorized", "limited", "unreachable", "unknown")
"""`unknown`: no answer, a 5xx, or one that can't be read."""
ASKINGS: Final = ("identify", "introduce", "webhook", "fetch")
"""Calls about the bot itself."""
ASKING_RESULTS: Final = ("ok", "unauthorized", "failed")
UNTIMED: Final = "fetch"
"""It waits for something to happen."""
UPDATES: Final = ("handled", "dropped", "wrong_secret", "too_large", "not_stored", "fetched")
POSTS: Final = ("delivered", "refused", "unreachable")

_DELIVERY: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 15, 30, 60, 300, 900)
_CALL: Final = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10)
_LAG: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 3600)
_COMMIT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_TOGETHER: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_LOOP: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)

M = TypeVar("M", bound=MetricWrapperBase)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, that tells when it began


class _Series(dict[tuple[str, ...], M], Generic[M]):
    """The series of a metric by their labels: looking one up here costs less than the library's own way."""

    def __init__(self, metric: M, known: Iterable[tuple[str, ...]]) -> None:
        super().__init__({labels: metric.labels(*labels) for labels in known})
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> M:
        made = self[labels] = self._metric.labels(*labels)
        return made


class Figures:
    """All that is counted. Its methods are called on hot paths: each is a look-up and an addition."""

    def __init__(self, channels: Sequence[Channel], clock: Clock, mode: Mode) -> None:
        """`channels`: those that are on; `mode`: that of the messengers' people, the other one is only played."""
        self.registry = CollectorRegistry()
        self._clock = clock
        self._mode = mode
        self._stages = self._counters("requests", "Requests, by what they came to.", "stage", STAGES)
        self._codes = self._counters(
            "codes", "Code messages that came to their outcome.", "channel by outcome", channels, BY, OUTCOMES
        )
        self._delivery = self._histograms(
            "delivery_seconds",
            "From the tap, or the call, to the messenger's acceptance of the code.",
            _DELIVERY,
            "channel by",
            product(channels, BY),
        )
        self._verdicts = self._counters("verify", "Guesses, by what came of them.", "result", VERDICTS)
        self._changes = self._counters(
            "subscriber_changes",
            "What became of subscribers; reported: said of a code that it was not them.",
            "change",
            CHANGES.values(),
        )
        self._calls = self._counters("messenger_calls", "Calls of a messenger.", "channel call result")
        for channel in channels:
            self._know_calls(channel)
        self._call_seconds = self._histograms(
            "messenger_call_seconds",
            "How long calls of a messenger took, whatever came of them.",
            _CALL,
            "channel call",
            product(channels, (*MESSAGES, "answer", *(one for one in ASKINGS if one != UNTIMED))),
        )
        self._updates = self._counters(
            "updates", "Updates from a messenger.", "channel result", channels, UPDATES
        )
        self._lag = self._histograms(
            "update_lag_seconds",
            "From the time in an update, where the messenger tells one, to its commit here.",
            _LAG,
            "channel",
            product(channels),
        )
        self._answers = _Series(
            Summary(
                "tapcode_http_request_seconds",
                "Answers to calls, and the seconds they took (those that wait for a status, too).",
                ("route", "status"),
                registry=self.registry,
            ),
            (),
        )
        self._posts = self._counters("event_posts", "Attempts to tell a site's webhook.", "result", POSTS)
        self._commit = self._histogram("store_commit_seconds", "How long commits took.", _COMMIT)
        self._together = self._histogram(
            "store_commit_operations", "Operations that shared a commit.", _TOGETHER
        )
        self._failures = Counter(
            "tapcode_store_failures_total",
            "Operations that failed as the store can't be used.",
            registry=self.registry,
        )
        self._loop = self._histogram("event_loop_delay_seconds", "How late the event loop was.", _LOOP)

    # ------------------------------------------------------------------ what happens

    def on_event(self, event: Event) -> None:
        """As a listener of the store."""
        match event:
            case DeliverySettled(delivery):
                self._settled(delivery)
            case CodeVerified(mode=mode, request_id=str()):
                self._stage("verified", mode)
            case RequestFinished(status=status, request=request) if request is not None:
                self._stage(status, request.mode)
            case RequestCreated(request):
                self._stage("requested", request.mode)
            case RequestOpened(request):
                self._stage("opened", request.mode)
            case RequestBound(request):
                self._stage("consented", request.mode)
            case RequestReported(mode=mode):
                self._stage("reported", mode)
            case (
                SubscriberJoined()
                | SubscriberLeft()
                | SubscriberLocked()
                | SubscriberUnlocked()
                | CodeReported()
            ):
                if event.subscriber.mode is self._mode:
                    self._changes[(CHANGES[type(event)],)].inc()
            case _:
                pass

    def judged(self, mode: Mode, verdict: Verdict) -> None:
        """A guess was judged."""
        if mode is self._mode:
            self._verdicts[(verdict.reason or "verified",)].inc()

    def called(self, channel: Channel, call: str, result: str, seconds: float) -> None:
        """A messenger was called."""
        self._calls[channel, call, result].inc()
        if call != UNTIMED:
            self._call_seconds[channel, call].observe(seconds)

    def update(self, channel: Channel, result: str, sent_at: int | None) -> None:
        """An update came, of the time `sent_at` (ms)."""
        self._updates[channel, result].inc()
        if sent_at is not None:
            self._lag[(channel,)].observe(max(0, self._clock.now() - sent_at) / SECOND_MS)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A call was answered."""
        self._answers[route, f"{status // 100}xx"].observe(seconds)

    def posted(self, result: str) -> None:
        """A site's webhook was called."""
        self._posts[(result,)].inc()

    def committed(self, seconds: float, operations: int) -> None:
        """The store made something durable. On any thread."""
        self._commit.observe(seconds)
        self._together.observe(operations)

    def store_failed(self, operations: int) -> None:
        """The store could not be used. On any thread."""
        self._failures.inc(operations)

    def late(self, seconds: float) -> None:
        """The loop was so late."""
        self._loop.observe(seconds)

    # ------------------------------------------------------------------ how it is counted

    def _stage(self, stage: str, mode: Mode) -> None:
        if mode is self._mode:
            self._stages[(stage,)].inc()

    def _settled(self, delivery: Delivery) -> None:
        if delivery.person.is_played:
            return
        channel, by = delivery.person.channel, BY[delivery.cause is not Cause.SEND]
        self._codes[channel, by, delivery.refusal or delivery.state].inc()
        if delivery.state is DeliveryState.ACCEPTED:
            took = self._clock.now() - delivery.claimed_at
            self._delivery[channel, by].observe(max(0, took) / SECOND_MS)

    def _know_calls(self, channel: Channel) -> None:
        for call, result in (
            *product(MESSAGES, MESSAGE_RESULTS),
            ("answer", "ok"),
            *product(ASKINGS, ASKING_RESULTS),
        ):
            self._calls[channel, call, result].inc(0)

    def _counters(self, name: str, told: str, labels: str, *values: Iterable[str]) -> _Series[Counter]:
        metric = Counter(f"tapcode_{name}_total", told, labels.split(), registry=self.registry)
        return _Series(metric, product(*values) if values else ())

    def _histograms(
        self, name: str, told: str, buckets: Sequence[float], labels: str, known: Iterable[tuple[str, ...]]
    ) -> _Series[Histogram]:
        metric = Histogram(f"tapcode_{name}", told, labels.split(), registry=self.registry, buckets=buckets)
        return _Series(metric, known)

    def _histogram(self, name: str, told: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"tapcode_{name}", told, registry=self.registry, buckets=buckets)
