"""Fixtures shared by all tests."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from functools import cache

import pytest
import structlog
from hypothesis import settings

from otp.ports import Store
from storage import Reach, open_store
from tests.fakes import FakeClock
from tests.postgres import cleared, emptied, fresh
from tests.world import World, make_world

settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

ssl.create_default_context = cache(ssl.create_default_context)  # type: ignore[assignment]
"""Reading the certificates of the machine costs more than starting everything else; nobody here changes a context."""

STORES = ("sqlite", "postgres")
"""Every store that the contract holds for."""


FAST_ON_BOTH = ("test_store",)
"""The contract of the stores; the calls, races and other rules are held against PostgreSQL by `make test-slow`."""


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait now and then, for PostgreSQL, for programs and for sockets."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the fast suite fast."""
    for item in items:
        if "[postgres" in item.name and item.path.stem not in FAST_ON_BOTH:
            item.add_marker(pytest.mark.slow)


def pytest_sessionfinish() -> None:
    """Each worker clears away its databases."""
    asyncio.run(cleared())


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that was run here wrote to the standard error of one test, which is closed after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> FakeClock:
    """Time that stands still until it is moved."""
    return FakeClock()


_databases: dict[str, str] = {}
"""By worker: the database that its tests have one after the other."""


async def postgres_url(worker: str) -> str:
    """An empty database for a test of this worker."""
    if worker in _databases:
        await emptied(_databases[worker])
    else:
        _databases[worker] = await fresh(f"test_{worker}")
    return _databases[worker]


async def store_url(kind: str, worker: str) -> str:
    """An empty store of a kind."""
    return "sqlite:///:memory:" if kind == "sqlite" else await postgres_url(worker)


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, clock: FakeClock, worker_id: str) -> AsyncIterator[Store]:
    """Each kind of store, empty."""
    opened = await open_store(await store_url(request.param, worker_id), clock, Reach(own_time=False))
    yield opened
    await opened.close()


@pytest.fixture
async def world(store: Store, clock: FakeClock) -> AsyncIterator[World]:
    """The domain over each kind of store."""
    made = await make_world(store, clock)
    yield made
    await made.courier.close(0)
    assert not made.failures
