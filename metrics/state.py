"""How things are, looked at when the figures are scraped: nothing is counted for it in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from metrics.probes import Probes
from otp.breaker import BreakerState
from otp.model import Channel


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What is known of one channel; None where it is not."""

    breaker: BreakerState
    reachable: bool | None = None
    token_accepted: bool | None = None
    webhook_registered: bool | None = None
    """None too when no webhook is wanted."""
    webhooks_lost: int = 0
    """How often the messenger had dropped it."""


@dataclass(frozen=True, slots=True)
class State:
    """How things are. What can't be told has no sample."""

    store_up: bool
    waiting: Mapping[str, float] = field(default_factory=dict)
    """By queue, how many seconds the first in it has waited by now."""
    store_bytes: int | None = None
    disk_free_bytes: int | None = None
    channels: Mapping[Channel, ChannelState] = field(default_factory=dict)


class StateCollector(Collector):
    """The state that was looked at last, as Prometheus' samples."""

    def __init__(self, build: Mapping[str, str], probes: Probes) -> None:
        """`build`: the labels of what runs here."""
        self._build = build
        self._probes = probes
        self.state = State(store_up=False)

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are not looked at when it is registered."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """As samples."""
        build = GaugeMetricFamily("tapcode_build_info", "What runs here.", labels=[*self._build])
        build.add_metric([*self._build.values()], 1)
        yield build
        yield from self._of_store()
        yield from self._of_channels()
        yield _gauge(
            "clock_drift_seconds",
            "How far our clock is ahead of a messenger's.",
            {(channel,): drift for channel, drift in self._probes.clock_drift.items()},
            "channel",
        )
        yield _gauge(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of PUBLIC_URL runs out.",
            {(): self._probes.certificate_expires_at},
        )

    def _of_store(self) -> Iterator[Metric]:
        state = self.state
        yield _gauge("store_up", "Whether the store answers.", {(): state.store_up})
        yield _gauge("store_size_bytes", "The database's size.", {(): state.store_bytes})
        yield _gauge(
            "disk_free_bytes",
            "Room on the disk of the database, where it is this machine's.",
            {(): state.disk_free_bytes},
        )
        yield _gauge(
            "oldest_waiting_seconds",
            "How long the first in a queue has waited; deliveries: since the tap or the call, else since it was due.",
            {(queue,): seconds for queue, seconds in state.waiting.items()},
            "queue",
        )

    def _of_channels(self) -> Iterator[Metric]:
        all_of = self.state.channels
        yield _gauge(
            "channel_reachable",
            "Whether the messenger answered when it was asked last.",
            {(channel,): one.reachable for channel, one in all_of.items()},
            "channel",
        )
        yield _gauge(
            "channel_token_accepted",
            "Whether the messenger knows the bot's token.",
            {(channel,): one.token_accepted for channel, one in all_of.items()},
            "channel",
        )
        yield _gauge(
            "channel_webhook_registered",
            "Whether our webhook is registered.",
            {(channel,): one.webhook_registered for channel, one in all_of.items()},
            "channel",
        )
        lost = CounterMetricFamily(
            "tapcode_channel_webhook_lost",
            "How often the messenger had dropped our webhook, which was then registered anew.",
            labels=["channel"],
        )
        for channel, one in all_of.items():
            lost.add_metric([channel], one.webhooks_lost)
        yield lost
        yield _gauge(
            "breaker_state",
            "1 for the state that the breaker of a channel is in: open while the messenger does not answer.",
            {
                (channel, state): one.breaker is state
                for channel, one in all_of.items()
                for state in BreakerState
            },
            "channel state",
        )


def _gauge(
    name: str, told: str, values: Mapping[tuple[str, ...], float | None], labels: str = ""
) -> GaugeMetricFamily:
    """A gauge of the values that are known."""
    made = GaugeMetricFamily(f"tapcode_{name}", told, labels=labels.split())
    for words, value in values.items():
        if value is not None:
            made.add_metric(words, value)
    return made
