"""What time and deletions leave behind."""

from __future__ import annotations

import pytest

from otp.errors import RequestNotFound
from otp.events import ERASE_PROJECT
from otp.housekeeping import erase_project, expire_requests, purge
from otp.model import Job, RequestStatus
from otp.projects import CONFIGURED_PROJECT
from tests.fakes import FakeClock
from tests.world import World

KEY = "tc_live_" + "c" * 40


async def test_a_request_that_nobody_opened_is_forgotten_sooner(world: World, clock: FakeClock) -> None:
    """An hour after its end: a flood of them does not fill the store for a day."""
    left, seen = await world.request(), await world.request()
    await world.taps.open(world.update(), seen)
    clock.advance(minutes=15)
    await world.store.write(expire_requests)
    clock.advance(minutes=60, ms=-1)
    assert (await world.service.status(world.caller, left)).status is RequestStatus.EXPIRED
    clock.advance(ms=1)
    with pytest.raises(RequestNotFound):
        await world.service.status(world.caller, left)
    assert await world.store.write(purge) == 1
    assert (await world.service.status(world.caller, seen)).status is RequestStatus.EXPIRED


async def test_a_deletion_that_was_cut_short_is_finished_by_a_job(world: World, clock: FakeClock) -> None:
    """It is planned with the deletion itself, and has nothing to do after one that ran to its end."""
    sub = await world.subscribe()
    project_id = world.caller.project.id
    await world.store.write(lambda tx: tx.delete_project(project_id))
    assert await world.store.read(lambda tx: tx.subscriber_by_id(sub)) is not None
    erase = erase_project(world.store, clock)
    job = Job(ERASE_PROJECT, project_id, clock.now(), 1, "me")
    assert await erase(job) is None
    assert await world.store.read(lambda tx: tx.subscriber_by_id(sub)) is None
    assert await erase(job) is None


async def test_a_deletion_plans_its_job(world: World, clock: FakeClock) -> None:
    """In the same transaction."""
    await world.projects.delete(world.other.project.id)
    clock.advance(minutes=1)
    taken = await world.store.write(lambda tx: tx.take_job("me", 60_000))
    assert taken is not None
    assert (taken.kind, taken.subject) == (ERASE_PROJECT, world.other.project.id)


async def test_the_configured_project_can_come_back_while_it_is_erased(world: World) -> None:
    """A new life under the same id, with nothing of the old one."""
    await world.projects.configure("Shop", "", KEY)
    await world.store.write(lambda tx: tx.delete_project(CONFIGURED_PROJECT))
    await world.projects.configure("Shop again", "", KEY)
    found = {project.id: project.name for project in await world.projects.all()}
    assert found[CONFIGURED_PROJECT] == "Shop again"
