"""Settings that work, and may not be what was meant. For `wiring.doctor` alone."""

from __future__ import annotations

from typing import Final

from checks.envfile import SUBJECT
from checks.findings import Finding, warning

SHORT_DAYS: Final = 30
"""People who sign in once a month are nothing unusual."""


def judge_retention(days: int | None) -> list[Finding]:
    """`RETENTION_DAYS`: what it erases does not come back."""
    if days is None or days >= SHORT_DAYS:
        return []
    so_long = f"{days} day{'s' if days != 1 else ''}"
    text = f"RETENTION_DAYS={days}: people with whom nothing was for {so_long} are forgotten for good"
    return [warning(SUBJECT, text, 'make sure that it is meant ("How long" in docs/privacy.md)')]


def judge_metrics(host: str, port: int | None, *, guarded: bool, inside: bool) -> list[Finding]:
    """The port of `/metrics`. `guarded`: a token is asked for there; `inside`: only this machine comes there."""
    if port is None or guarded or inside:
        return []
    text = f"METRICS_HOST={host}: anybody who reaches port {port} reads the figures"
    return [
        warning(
            SUBJECT, text, "set METRICS_TOKEN, or keep the port inside (a firewall, a container's network)"
        )
    ]
