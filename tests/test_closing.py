"""What a code message becomes when its code is over, and what is told of a lock: decided when it is about to be said."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from otp.events import CLOSE_MESSAGE, TELL_LOCKED
from otp.housekeeping import Closing, ClosingQuestion, LockNotice, closing, lock_notice
from otp.model import Ending, Job, MessageKind
from otp.policy import MINUTE_MS, Policy
from otp.ports import Store
from otp.service import Reason
from storage.statements import SqlTx
from tests.fakes import START, FakeClock
from tests.world import ANN, LOGIN, World, make_world, wrong


async def close(world: World, message_id: str) -> Closing | ClosingQuestion | int | None:
    """What is to be done about a code message."""
    return await world.store.write(lambda tx: closing(tx, Job(CLOSE_MESSAGE, message_id, START, 1, "me")))


async def newest(world: World) -> str:
    """The id of the newest code message."""
    await world.settle()
    return world.telegram.parcels[-1].delivery.id


# ------------------------------------------------------------------ code messages


async def test_a_message_is_looked_at_again_when_its_code_ends(world: World, clock: FakeClock) -> None:
    """Not before; then it tells that time did it."""
    sub = await world.subscribe()
    message_id = await newest(world)
    assert await close(world, message_id) == START + LOGIN.ttl_minutes * MINUTE_MS
    clock.advance(minutes=LOGIN.ttl_minutes)
    got = await close(world, message_id)
    assert isinstance(got, Closing)
    assert (got.ending, got.project, got.subscriber.id) == (Ending.EXPIRED, world.caller.project, sub)
    assert (got.message.id, got.message.messenger_id, got.message.person) == (message_id, "m1", ANN)


async def test_a_message_tells_how_its_code_ended(store: Store, clock: FakeClock) -> None:
    """Used, used up, withdrawn by a lock or by leaving: the person is not told that it ran out."""
    world = await make_world(store, clock, Policy(guess_budget=3))
    sub = await world.subscribe()
    await world.verify(sub, world.telegram.codes[-1])
    endings = {await newest(world): Ending.USED}
    for guesses, ending in ((1, Ending.USED_UP), (2, Ending.WITHDRAWN)):
        await world.service.send(world.caller, sub, replace(LOGIN, max_attempts=guesses + (guesses > 1)))
        endings[await newest(world)] = ending
        for _ in range(guesses):
            await world.verify(sub, wrong(world.telegram.codes[-1]))
    assert (await world.verify(sub, "000000")).reason is Reason.LOCKED
    await world.taps.unlock(world.update(), sub, None)
    await world.service.send(world.caller, sub, LOGIN)
    endings[await newest(world)] = Ending.WITHDRAWN
    await world.taps.gone(world.update())
    for message_id, ending in endings.items():
        got = await close(world, message_id)
        assert isinstance(got, Closing)
        assert got.ending is ending
    await world.courier.close(0)


async def test_a_message_is_closed_once(world: World) -> None:
    """And what is no code message is left alone."""
    sub = await world.subscribe()
    await world.verify(sub, world.telegram.codes[-1])
    message_id = await newest(world)
    assert isinstance(await close(world, message_id), Closing)
    await world.store.write(lambda tx: tx.close_message(message_id))
    assert await close(world, message_id) is None
    assert await close(world, "none") is None


async def test_nothing_is_told_for_a_project_that_is_gone(world: World, clock: FakeClock) -> None:
    """Its name went with it, though its rows may not have gone yet."""
    await world.subscribe()
    message_id = await newest(world)
    clock.advance(minutes=LOGIN.ttl_minutes)
    await world.store.write(lambda tx: tx.delete_project(world.caller.project.id))
    assert await close(world, message_id) is None


async def test_nothing_is_told_of_a_delivery_that_is_forgotten(world: World, clock: FakeClock) -> None:
    """Its message may be there longer."""
    await world.subscribe()
    message_id = await newest(world)
    clock.advance(minutes=LOGIN.ttl_minutes)
    await world.store.write(lambda tx: cast(SqlTx, tx).rows("DELETE FROM deliveries"))
    assert await close(world, message_id) is None


# ------------------------------------------------------------------ the lock


@pytest.fixture
async def locked(store: Store, clock: FakeClock) -> tuple[World, str, Job]:
    """A world with a locked subscriber, and the job that tells it."""
    world = await make_world(store, clock, Policy(guess_budget=1))
    sub = await world.subscribe()
    await world.verify(sub, wrong(world.telegram.codes[-1]))
    jobs = [await store.write(lambda tx: tx.take_job("me", 60_000)) for _ in range(2)]
    [job] = [one for one in jobs if one is not None and one.kind == TELL_LOCKED]
    return world, sub, job


async def tell(world: World, job: Job) -> LockNotice | None:
    """What is to be said of the lock."""
    return await world.store.write(lambda tx: lock_notice(tx, world.rules, job))


async def test_a_lock_is_told_with_a_button_that_acts(locked: tuple[World, str, Job]) -> None:
    """The job is over before the message is sent: a crash in between does not tell it twice."""
    world, sub, job = locked
    got = await tell(world, job)
    assert isinstance(got, LockNotice)
    assert (got.subscriber.id, got.project) == (sub, world.caller.project)
    assert (got.note.kind, got.note.person, got.note.subscriber_id) == (MessageKind.LOCKED, ANN, sub)
    world.clock.advance(minutes=10)
    left = [await world.store.write(lambda tx: tx.take_job("me", 60_000)) for _ in range(3)]
    assert [one for one in left if one is not None and one.kind == TELL_LOCKED] == []


async def test_a_lock_that_is_over_is_not_told(locked: tuple[World, str, Job]) -> None:
    """The person unlocked by a link before the job was done."""
    world, sub, job = locked
    await world.taps.unlock(world.update(), sub, None)
    assert await tell(world, job) is None


async def test_nobody_who_left_is_told_of_a_lock(locked: tuple[World, str, Job]) -> None:
    """They wanted nothing more."""
    world, _, job = locked
    await world.taps.gone(world.update())
    assert await tell(world, job) is None


async def test_no_lock_is_told_for_a_project_that_is_gone(locked: tuple[World, str, Job]) -> None:
    """Nor for a subscriber that went with it."""
    world, _, job = locked
    project_id = world.caller.project.id
    await world.store.write(lambda tx: tx.delete_project(project_id))
    assert await tell(world, job) is None
    await world.store.write(lambda tx: tx.erase_project(project_id, 500))
    assert await tell(world, job) is None
