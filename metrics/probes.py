"""Figures that others measure now and then, and that are only shown here."""

from __future__ import annotations

from dataclasses import dataclass, field

from otp.model import Channel


@dataclass(slots=True)
class Probes:
    """What was measured last. Whoever measures sets it; what nobody measured has no sample."""

    clock_drift: dict[Channel, float] = field(default_factory=dict)
    """Seconds by which our clock is ahead of a messenger's; negative: behind."""
    certificate_expires_at: float | None = None
    """Of PUBLIC_URL, in seconds since the epoch."""
