"""Three replicas over one PostgreSQL on bad days: the rules hold, and the service is whole again by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pytest

from tests.fleet import Fleet, fleet, through

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

MAX_ALONE = {"TELEGRAM_BOT_TOKEN": "", "LOG_LEVEL": "info"}


async def cuts(made: Fleet, rng: Random) -> None:
    """Everything that happens to connections."""
    for _ in range(6):
        await made.lose_a_commit(rng)
    await made.cut(rng)
    await made.hold(rng, 6)


async def kills(made: Fleet, rng: Random) -> None:
    """Replicas die and come again."""
    for _ in range(3):
        await made.kill(rng)


async def a_minute_of_silence(made: Fleet, rng: Random) -> None:
    """A replica hangs for a minute."""
    await made.hang(rng, 60)


async def a_restart(made: Fleet, _rng: Random) -> None:
    """The database crashes in the middle of load; ten seconds later every replica works again, untouched."""
    await made.restart_database()
    began = monotonic()
    for one in made.replicas:
        while True:
            async with one.http.get(f"{one.url}/readyz") as answer:
                if answer.status == 200:
                    break
            assert monotonic() - began < 10
            await asyncio.sleep(0.1)
    requests = [request for request in made.load.history.calls[-50:] if request.status == 200]
    while not any(call.status == 200 for call in made.load.history.calls[-3:]):
        assert monotonic() - began < 10, requests
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "days",
    [[kills, cuts], [a_restart, kills, a_restart], [a_minute_of_silence]],
    ids=["kills and cuts", "restarts of the database", "a replica that hangs"],
)
async def test_the_rules_hold_over_three_replicas(tmp_path: Path, days: list[Any]) -> None:
    """Whatever befalls a replica, its way to the database, or the database."""
    async with fleet(tmp_path, 3, wired=True, **MAX_ALONE) as made:
        found = await through(made, "in the suite", days)
        history = made.load.history
        assert not found, "\n".join(one.excerpt(history) for one in found)
        # A load that did nothing would prove nothing.
        assert sum(call.verified for call in history.calls) > 20
        assert sum(message.took for message in history.messages) > 40
        assert {call.status for call in history.calls} <= {0, 200, 404, 409, 422, 429, 502, 503}
