"""What an operator looks at for long holds nobody up: a store that reads at once never gives way by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from api.reports import perform_stats
from api.requests import perform_requests
from otp.membership import Who
from otp.people import People
from tests.world import ANN, World


async def listed(world: World) -> Any:
    """Of many requests none is wanted."""
    return await perform_requests(world.store, {"verb": "list", "status": "sent"})


async def shown(world: World) -> Any:
    """Many are."""
    return await perform_requests(world.store, {"verb": "list"})


async def counted(world: World) -> Any:
    """Many days."""
    return await perform_stats(world.store, {"days": 30})


async def exported(world: World) -> Any:
    """What no index leads to."""
    return await People(world.store, world.rules).export(Who(person=ANN, everywhere=True))


@pytest.mark.parametrize("look", [listed, shown, counted, exported])
async def test_others_have_their_turns(
    look: Callable[[World], Awaitable[Any]], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two pieces."""
    monkeypatch.setattr("api.requests.PAGE", 2)
    for _ in range(20):
        await world.request()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    others = asyncio.create_task(other())
    await asyncio.sleep(0)
    before = turns
    await look(world)
    others.cancel()
    assert turns - before >= 10
