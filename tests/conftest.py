"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

from otp.ports import Store
from storage import open_store
from tests.fakes import FakeClock
from tests.world import World, make_world

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

STORES = {"sqlite": "sqlite:///:memory:"}
"""Every store that the contract holds for; a further one is one more line."""


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still until it is moved."""
    return FakeClock()


@pytest.fixture(params=list(STORES))
async def store(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Store]:
    """Each kind of store, empty."""
    opened = await open_store(STORES[request.param], clock)
    yield opened
    await opened.close()


@pytest.fixture
async def world(store: Store, clock: FakeClock) -> AsyncIterator[World]:
    """The domain over each kind of store."""
    made = await make_world(store, clock)
    yield made
    await made.courier.close(0)
    assert not made.failures
