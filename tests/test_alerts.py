"""The alert rules: each fires when it should and not before, and says to whom it matters and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.process import ROOT
from tests.prometheus import ALERTS, alert_names, hurried, needs_prometheus, promtool

RULES = ALERTS.read_text(encoding="utf-8")
DAY = 86_400
EXPIRY = "tapcode_certificate_expiry_timestamp_seconds"
AT = 'job="tapcode", instance="a:9464"'
TELEGRAM = f'{AT}, channel="telegram"'


@dataclass(frozen=True)
class Case:
    """What an alert is about: a figure that is well up to a minute, and ill from then on."""

    series: Sequence[tuple[str, str]]
    """Names with labels, and the values of each minute in promtool's notation, from minute 0 on."""
    silent: int
    """A minute at which it does not fire."""
    firing: int
    """A minute at which it does."""


def bucketed(name: str, labels: str, bounds: Sequence[str], each: Sequence[str]) -> list[tuple[str, str]]:
    """A histogram."""
    buckets = [
        (f'{name}_bucket{{{labels}, le="{bound}"}}', values)
        for bound, values in zip(bounds, each, strict=True)
    ]
    return [*buckets, (f"{name}_count{{{labels}}}", each[-1])]


CASES = {
    "TargetDown": Case([(f"up{{{AT}}}", "1x10 0x20")], 10, 14),
    "LinksOpenNothing": Case(
        [
            (f'tapcode_requests_total{{{AT}, stage="requested"}}', "0+2x100"),
            (f'tapcode_requests_total{{{AT}, stage="opened"}}', "0+1x30 30x100"),
        ],
        40,
        70,
    ),
    "ChannelDown": Case([(f"tapcode_channel_token_accepted{{{TELEGRAM}}}", "1x10 0x20")], 10, 13),
    "WebhookLost": Case([(f"tapcode_channel_webhook_lost_total{{{TELEGRAM}}}", "0x10 1x60")], 10, 15),
    "MessengerUnreachable": Case(
        [(f'tapcode_breaker_state{{{TELEGRAM}, state="closed"}}', "1x10 0x20")], 10, 13
    ),
    "UpdatesLate": Case(
        bucketed(
            "tapcode_update_lag_seconds", TELEGRAM, ("1.0", "30.0", "60.0", "+Inf"),
            ("0+4x20 80x40", "0+4x20 80x40", "0+4x60", "0+4x60"),
        ),
        20,
        40,
    ),
    "UpdatesRefused": Case(
        [(f'tapcode_updates_total{{{TELEGRAM}, result="wrong_secret"}}', "0x10 0+2x60")], 10, 25
    ),
    "DeliveriesFailing": Case(
        [
            (f'tapcode_codes_total{{{TELEGRAM}, by="person", outcome="accepted"}}', "0+10x60"),
            (f'tapcode_codes_total{{{TELEGRAM}, by="person", outcome="unavailable"}}', "0x10 0+3x50"),
        ],
        10,
        22,
    ),
    "DeliveriesSlow": Case(
        bucketed(
            "tapcode_delivery_seconds", f'{TELEGRAM}, by="site"', ("1.0", "5.0", "10.0", "+Inf"),
            ("0+5x20 100x40", "0+5x20 100x40", "0+5x60", "0+5x60"),
        ),
        20,
        40,
    ),
    "GuessingUnderway": Case(
        [
            (f'tapcode_verify_total{{{AT}, result="verified"}}', "0+5x60"),
            (f'tapcode_verify_total{{{AT}, result="wrong_code"}}', "0+3x10 30+20x50"),
        ],
        10,
        22,
    ),
    "StoreUnavailable": Case([(f"tapcode_store_failures_total{{{AT}}}", "1x10 1+3x20")], 10, 15),
    "CommitSlow": Case(
        bucketed(
            "tapcode_store_commit_seconds", AT, ("0.01", "0.1", "1.0", "+Inf"),
            ("0+9x20 180x40", "0+9x20 180x40", "0+9x60", "0+9x60"),
        ),
        20,
        50,
    ),
    "QueueStuck": Case([(f'tapcode_oldest_waiting_seconds{{{AT}, queue="jobs"}}', "0x10 0+60x20")], 12, 20),
    "DiskFillsSoon": Case(
        [(f"tapcode_disk_free_bytes{{{AT}}}", "50000000000x360 50000000000-20000000x500")], 360, 800
    ),
    "DiskAlmostFull": Case([(f"tapcode_disk_free_bytes{{{AT}}}", "3000000000x10 100000000x10")], 10, 14),
    "LoopBlocked": Case(
        bucketed(
            "tapcode_event_loop_delay_seconds", AT, ("0.01", "0.25", "1.0", "+Inf"),
            ("0+120x10 1200x20", "0+120x10 1200x20", "0+120x30", "0+120x30"),
        ),
        10,
        22,
    ),
    "ClockDrift": Case([(f"tapcode_clock_drift_seconds{{{TELEGRAM}}}", "-1x10 -60x30")], 15, 25),
    "CertificateExpiresSoon": Case([(f"{EXPIRY}{{{AT}}}", f"{14 * DAY + 600}x100")], 65, 80),
    "CertificateAlmostOver": Case([(f"{EXPIRY}{{{AT}}}", f"{2 * DAY + 600}x100")], 10, 20),
}  # fmt: skip
"""One way into each."""

ALSO = {
    "ChannelDown": Case(
        [(f'tapcode_messenger_calls_total{{{TELEGRAM}, call="code", result="unauthorized"}}', "0x10 1x20")],
        10,
        13,
    ),
    "WebhookLost": Case([(f"tapcode_channel_webhook_registered{{{TELEGRAM}}}", "1x10 0x20")], 11, 15),
    "MessengerUnreachable": Case(
        [
            (f'tapcode_messenger_calls_total{{{TELEGRAM}, call="code", result="ok"}}', "0+3x60"),
            (
                f'tapcode_messenger_calls_total{{{TELEGRAM}, call="code", result="unreachable"}}',
                "0x10 0+9x50",
            ),
        ],
        10,
        20,
    ),
    "GuessingUnderway": Case(
        [(f'tapcode_subscriber_changes_total{{{AT}, change="locked"}}', "0+1x10 10x20")], 0, 9
    ),
    "StoreUnavailable": Case([(f"tapcode_store_up{{{AT}}}", "1x10 0x10")], 10, 13),
}
"""Another way."""


def unit_test(cases: Sequence[tuple[str, Case]]) -> str:
    """A file for promtool; JSON is YAML."""

    def asked(name: str, minute: int, *, fires: bool) -> object:
        labels = f'{{alertname="{name}"}}'
        return {
            "expr": f'count by (alertname) (ALERTS{{alertname="{name}", alertstate="firing"}})',
            "eval_time": f"{minute}m",
            "exp_samples": [{"labels": labels, "value": 1}] if fires else [],
        }

    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.series],
            "promql_expr_test": [
                asked(name, case.silent, fires=False),
                asked(name, case.firing, fires=True),
            ],
        }
        for name, case in cases
    ]
    return json.dumps({"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": tests})


def test_every_alert_has_a_case() -> None:
    """Whoever writes another one says when it fires."""
    names = alert_names(RULES)
    assert sorted(names) == sorted(CASES)
    assert len(names) == RULES.count("- alert:")


def test_every_alert_says_what_to_do() -> None:
    """How urgent it is, what has happened, and where it is written what to do."""
    written = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    section = written.partition("\n## Alerts\n")[2].partition("\n## ")[0]
    for block in RULES.split("- alert: ")[1:]:
        name = block.split("\n", 1)[0]
        assert re.search(r"severity: (page|ticket)\b", block), name
        assert re.search(r"^ +for: \d+[mh]$", block, re.MULTILINE), name
        for told in ("summary", "description"):
            assert re.search(rf'^ +{told}: "\S.+"$', block, re.MULTILINE), (name, told)
        assert f'runbook: "docs/operations.md#{name.lower()}"' in block
        assert f"\n### {name}\n" in section, name


def test_hurried_rules_wait_less() -> None:
    """A minute is a second; a rate still has some scrapes."""
    made = hurried("expr: increase(a[30m]) > 0\nfor: 5m\nexpr: b[1m]\nfor: 1h\nfor: 10s")
    assert made == "expr: increase(a[30s]) > 0\nfor: 5s\nexpr: b[5s]\nfor: 60s\nfor: 1s"
    assert hurried("predict_linear(a[6h], 3 * 3600) < 0", 360) == "predict_linear(a[60s], 3 * 3600 / 360) < 0"


@needs_prometheus
@pytest.mark.slow
async def test_promtool_finds_nothing_wrong_with_the_rules(tmp_path: Path) -> None:
    """Nor when they are hurried."""
    hurry = tmp_path / "hurried.yml"
    hurry.write_text(hurried(RULES))
    for path in (ALERTS, hurry):
        code, told = await promtool("check", "rules", str(path))
        assert code == 0, told
        assert f"{len(CASES)} rules found" in told


@needs_prometheus
@pytest.mark.slow
async def test_each_alert_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    """As promtool evaluates them, minute by minute."""
    (tmp_path / "alerts.yml").write_text(RULES)
    (tmp_path / "test.yml").write_text(unit_test([*CASES.items(), *ALSO.items()]))
    code, told = await promtool("test", "rules", str(tmp_path / "test.yml"))
    assert code == 0, told
