"""A subscriber is read, and forgotten: nothing of the person stays, and what is on its way harms nobody."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest

from otp.account_calls import AccountCalls
from otp.errors import SubscriberNotFound
from otp.events import CLOSE_MESSAGE, SubscriberJoined, SubscriberLeft
from otp.housekeeping import Closing, closing
from otp.model import Channel, Ending, Mode, RequestStatus
from otp.ports import Tx, Unknown
from otp.service import Reason, Verdict
from storage.move import TABLES
from storage.statements import SqlTx
from tests.fakes import START, FakeClock
from tests.test_accounts import asked, linked, links
from tests.world import ANN, BOB, CAT, LOGIN, World

KEPT = ("updates", "refusals", "jobs")
"""Keys of updates say who sent them; a refusal is the person's own; jobs are looked at by themselves."""


async def forget(world: World, sub: str) -> None:
    """The call under test."""
    await AccountCalls(world.service).forget(world.caller, sub)


async def rows_about(world: World, *words: str) -> set[str]:
    """The tables in which one of these words stands anywhere."""

    async def work(tx: Tx) -> set[str]:
        found = set()
        for table in TABLES:
            for row in await cast(SqlTx, tx).rows(f"SELECT * FROM {table}"):  # noqa: S608  # our own names
                if any(word in str(value) for value in dict(row).values() for word in words):
                    found.add(table)
        return found

    return await world.store.read(work)


async def told(world: World) -> dict[str, Ending]:
    """What the messages on the screen are about to say, by the messenger's ids."""
    found = {}
    while (job := await world.store.write(lambda tx: tx.take_job("me", 60_000))) is not None:
        if job.kind == CLOSE_MESSAGE:
            what = await world.store.write(partial(closing, job=job))
            if isinstance(what, Closing):
                found[what.message.messenger_id] = what.ending
    return found


async def test_who_a_subscriber_is(world: World, clock: FakeClock) -> None:
    """As of the last consent; of one who left nothing is told."""
    sub = await linked(world, ANN)
    read = await AccountCalls(world.service).subscriber(world.caller, sub)
    assert (read.subscriber.person.channel, read.subscriber.language) == (Channel.TELEGRAM, "en")
    assert (read.subscribed_at, read.subscriber.locked, read.external_id) == (START, False, "user-1")
    await world.taps.gone(world.update(ANN))
    with pytest.raises(SubscriberNotFound):
        await AccountCalls(world.service).subscriber(world.caller, sub)
    clock.advance(minutes=1)
    assert await world.subscribe(ANN) == sub
    read = await AccountCalls(world.service).subscriber(world.caller, sub)
    assert (read.subscribed_at, read.external_id) == (START + 60_000, "user-1")


async def test_nothing_of_the_person_stays(world: World) -> None:
    """Codes die and their messages say so; links, history and the account's name are gone; others keep all."""
    bob = await world.subscribe(BOB)
    sub = await linked(world, ANN)
    await world.taps.open(world.update(ANN), await world.request(terms=replace(LOGIN, purpose="a")))
    await world.service.send(world.caller, sub, LOGIN)
    await world.settle()
    code = world.telegram.codes[-1]
    world.events.clear()
    await forget(world, sub)
    assert await rows_about(world, ANN.address, "user-1") - set(KEPT) == set()
    assert await rows_about(world, sub) == {"requests"}  # what these came to stays
    assert [type(event) for event in world.events if isinstance(event, SubscriberLeft)] == [SubscriberLeft]
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)
    assert await told(world) == {"m2": Ending.USED, "m3": Ending.WITHDRAWN, "m4": Ending.WITHDRAWN}
    assert await rows_about(world, BOB.address) >= {"subscribers", "messages", "deliveries"}
    await world.service.send(world.caller, bob, LOGIN)


@pytest.mark.parametrize("left", [False, True])
async def test_forgetting_twice(world: World, left: bool) -> None:
    """The second time there is nobody; one who left before is forgotten too, and leaves no second time."""
    sub = await linked(world, ANN)
    if left:
        await world.taps.gone(world.update(ANN))
    await forget(world, sub)
    for _ in range(2):
        with pytest.raises(SubscriberNotFound):
            await forget(world, sub)
    assert sum(isinstance(event, SubscriberLeft) for event in world.events) == 1
    assert await links(world) == []


async def test_at_once_one_forgets(world: World) -> None:
    sub = await linked(world, ANN)
    got = await asyncio.gather(*(forget(world, sub) for _ in range(4)), return_exceptions=True)
    assert sorted(isinstance(one, SubscriberNotFound) for one in got) == [False, True, True, True]


async def test_who_comes_back_is_somebody_new(world: World) -> None:
    """With another id, asked for consent again, linked to nothing; the old id stays nobody's."""
    sub = await linked(world, ANN)
    await forget(world, sub)
    again = await world.subscribe(ANN)
    assert again != sub
    assert [event.subscriber.id for event in world.events if isinstance(event, SubscriberJoined)] == [
        sub,
        again,
    ]
    assert (await AccountCalls(world.service).subscriber(world.caller, again)).external_id is None
    with pytest.raises(SubscriberNotFound):
        await world.service.send(world.caller, sub, LOGIN)


async def test_what_requests_came_to_stays(world: World) -> None:
    """A final status is final, with the id that is nobody's now; what was pending is cancelled."""
    request_id, sub, _ = await asked(world, ANN)
    before = await world.service.status(world.caller, request_id)
    world.telegram.script = [Unknown()]
    open_id = await world.request()
    await world.taps.open(world.update(ANN), open_id)
    await world.settle()
    assert (await world.service.status(world.caller, open_id)).status is RequestStatus.PENDING
    await forget(world, sub)
    assert await world.service.status(world.caller, request_id) == before
    assert (await world.service.status(world.caller, open_id)).status is RequestStatus.CANCELLED


@pytest.mark.parametrize("by_tap", [False, True])
async def test_a_message_that_is_being_sent_arrives_dead(world: World, by_tap: bool) -> None:
    """Its outcome finds nobody; the message is closed, and nothing is claimed to be sent."""
    sub = await world.subscribe(ANN)
    world.telegram.hold = asyncio.Event()
    request_id = await world.request()
    if by_tap:
        await world.taps.open(world.update(ANN), request_id)
        sending = None
    else:
        sending = asyncio.create_task(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    await forget(world, sub)
    world.telegram.hold.set()
    await world.settle()
    if sending is not None:
        with pytest.raises(SubscriberNotFound):
            await sending
    else:
        assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED
    assert (await told(world))["m2"] is Ending.WITHDRAWN
    assert await rows_about(world, ANN.address) - set(KEPT) == set()
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(Reason.NO_ACTIVE_CODE)


async def test_a_forgotten_account_is_not_sent_to_the_other_way(world: World) -> None:
    """Nobody knows whether the first message arrived: the row that would tell is gone."""
    await linked(world, CAT)
    world.clock.advance(seconds=1)
    sub = await linked(world, ANN)
    world.telegram.hold = asyncio.Event()
    before = len(world.max.parcels)
    sending = asyncio.create_task(AccountCalls(world.service).send(world.caller, "user-1", LOGIN))
    await world.settle()
    await forget(world, sub)
    world.telegram.hold.set()
    with pytest.raises(SubscriberNotFound):
        await sending
    assert len(world.max.parcels) == before


async def test_what_was_only_claimed_is_withdrawn(world: World) -> None:
    sub = await world.subscribe(ANN)
    world.courier.stop_retrying()
    await world.courier.close(1)  # nobody carries it
    await world.taps.open(world.update(ANN), await world.request())
    await forget(world, sub)
    assert len(world.telegram.parcels) == 1
    assert await rows_about(world, sub) == {"requests"}
    assert await rows_about(world, ANN.address) - set(KEPT) == set()


async def test_a_refusal_is_the_persons_own(world: World) -> None:
    """Forgetting does not let the project ask again."""
    sub = await world.subscribe(ANN)
    await world.protection.no_more(world.update(ANN), sub)
    await forget(world, sub)
    project = world.caller.project.id
    assert await world.store.read(lambda tx: tx.refuses(ANN, project, Mode.LIVE))


async def test_guesses_while_somebody_is_forgotten(world: World) -> None:
    """Accepted before, or nobody's; never in between."""
    for _ in range(4):
        sub = await linked(world, ANN)
        await world.service.send(world.caller, sub, LOGIN)
        code: Any = world.telegram.codes[-1]
        verdicts = await asyncio.gather(
            world.verify(sub, code), forget(world, sub), world.verify(sub, code), world.verify(sub, code)
        )
        assert sum(one == Verdict(None) for one in verdicts) <= 1
        assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)
        world.clock.advance(minutes=11)
