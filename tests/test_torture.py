"""Thirty lives of the real program under load, each ended by kill -9; `make torture` has more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import summary, torture


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "store,rounds,settings",
    [
        ("sqlite", 8, {}),
        ("sqlite", 12, {"TELEGRAM_BOT_TOKEN": "", "GUESS_BUDGET": "4"}),
        ("postgres", 10, {"TELEGRAM_BOT_TOKEN": ""}),
    ],
)
async def test_the_rules_hold_through_kills(
    tmp_path: Path, store: str, rounds: int, settings: dict[str, str]
) -> None:
    """Whatever was answered is true after the restart; nothing is sent or accepted twice; nothing secret is written.

    A call with a key is one call however often it is made; what was taken back stays so; each change is heard of.
    """
    report = await torture(tmp_path, rounds, "in the suite", store, **settings)
    assert not report.broken, "\n".join(one.excerpt(report.history) for one in report.broken) + summary(
        report
    )
    # A load that did nothing would prove nothing.
    assert sum(report.kills.values()) >= rounds
    assert sum(call.verified for call in report.history.calls) > rounds
    assert sum(message.took for message in report.history.messages) > 3 * rounds
    calls = report.history.calls
    assert sum(len(call.tries) > 1 for call in calls if call.key) > 2 * rounds
    assert sum(call.kind == "cancel" and call.status == 200 for call in calls) > rounds // 4
    assert sum(call.answer.get("revoked") is True for call in calls) > rounds // 4
    assert len(report.history.events) > 5 * rounds
    assert len(report.history.heard) > len(report.history.events)
