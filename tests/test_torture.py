"""Twenty lives of the real program under load, each ended by kill -9; `make torture` has more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture import summary, torture


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("rounds,settings", [(8, {}), (12, {"TELEGRAM_BOT_TOKEN": "", "GUESS_BUDGET": "4"})])
async def test_the_rules_hold_through_kills(tmp_path: Path, rounds: int, settings: dict[str, str]) -> None:
    """Whatever was answered is true after the restart; nothing is sent or accepted twice; nothing secret is written."""
    report = await torture(tmp_path, rounds, "in the suite", **settings)
    assert not report.broken, "\n".join(one.excerpt(report.history) for one in report.broken) + summary(
        report
    )
    # A load that did nothing would prove nothing.
    assert sum(report.kills.values()) >= rounds
    assert sum(call.verified for call in report.history.calls) > rounds
    assert sum(message.took for message in report.history.messages) > 5 * rounds
