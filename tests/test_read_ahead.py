"""Guesses that share a commit on SQLite: read in one go, written in one go, and judged as if they came one by one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp.events import MessageOver
from otp.model import Code, Ending, Mode, Project, Subscriber
from otp.policy import Policy
from otp.ports import About, Tx
from otp.service import Reason, Verdict
from storage.sqlite import SqliteStore
from tests.fakes import FakeClock
from tests.world import ANN, BOB, LOGIN, World, make_world, wrong


class Spoken:
    """A connection that tells how often it is spoken to."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self.said: list[str] = []
        self.broken = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.said.append(sql)
        return self._real.execute(sql, *values)

    def executemany(self, sql: str, *values: Any) -> sqlite3.Cursor:
        self.said.append(sql)
        if self.broken and self.broken in sql:
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.executemany(sql, *values)


@asynccontextmanager
async def a_world(policy: Policy | None = None) -> AsyncIterator[World]:
    """One over SQLite, the same one each time."""
    clock = FakeClock()
    store = await SqliteStore.open(":memory:", clock)
    made = await make_world(store, clock, policy)
    yield made
    await made.courier.close(0)
    await store.close()
    assert not made.failures


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """See `a_world`."""
    async with a_world() as made:
        yield made


def spoken(world: World) -> Spoken:
    """What is said to the database of a world from now on."""
    assert isinstance(world.store, SqliteStore)
    made = Spoken(world.store._connection.database)
    world.store._connection._connection = made  # type: ignore[assignment]
    return made


async def kept(world: World, subscriber_id: str, purpose: str = "login") -> Code | None:
    """A code as it stands in the database."""
    return await world.store.read(lambda tx: tx.code(subscriber_id, purpose))


async def person(world: World, subscriber_id: str) -> Subscriber | None:
    """A subscriber as it stands in the database."""
    return await world.store.read(lambda tx: tx.subscriber_by_id(subscriber_id))


async def test_many_guesses_cost_as_many_statements_as_one(world: World) -> None:
    """But for the values that go with them."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    for number in range(2):
        await world.service.send(world.caller, ann, replace(LOGIN, purpose=f"p{number}"))
    codes = dict(
        zip([(ann, "login"), (bob, "login"), (ann, "p0"), (ann, "p1")], world.telegram.codes, strict=True)
    )
    await world.settle()
    counts = []
    for some in ([(ann, "login")], [(bob, "login"), (ann, "p0"), (ann, "p1")]):
        connection = spoken(world)
        judged = await asyncio.gather(
            *(world.verify(who, codes[who, what], purpose=what) for who, what in some)
        )
        assert judged == [Verdict(None)] * len(some)
        counts.append(len(connection.said))
    assert counts[0] == counts[1]


async def test_a_code_is_good_for_one_of_those_who_come_together(world: World) -> None:
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    judged = await asyncio.gather(*(world.verify(sub, code) for _ in range(5)))
    assert judged == [Verdict(None)] + [Verdict(Reason.NO_ACTIVE_CODE)] * 4
    assert await kept(world, sub) is None


async def test_guesses_that_come_together_are_counted_one_by_one(world: World) -> None:
    sub = await world.subscribe(terms=replace(LOGIN, max_attempts=3))
    code = world.telegram.codes[-1]
    judged = await asyncio.gather(
        *(world.verify(sub, one) for one in [wrong(code), wrong(code), "x", wrong(code), code])
    )
    assert [(one.reason, one.attempts_left) for one in judged] == [
        (Reason.WRONG_CODE, 2),
        (Reason.WRONG_CODE, 1),
        (Reason.MALFORMED_CODE, 1),
        (Reason.WRONG_CODE, 0),
        (Reason.NO_ACTIVE_CODE, 0),
    ]
    assert await kept(world, sub) is None


async def test_what_was_counted_together_is_in_the_database(world: World) -> None:
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    await asyncio.gather(*(world.verify(sub, wrong(code)) for _ in range(3)))
    left = await kept(world, sub)
    assert left is not None
    assert left.attempts == 3
    found = await person(world, sub)
    assert found is not None
    assert found.wrong_guesses == 3


async def test_the_message_of_a_code_tells_its_end(world: World) -> None:
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    alive = await kept(world, sub)
    assert alive is not None
    world.events.clear()
    assert await world.verify(sub, code) == Verdict(None)
    shown = await world.store.read(lambda tx: tx.code_message(alive.id, ANN))
    assert shown is not None
    assert shown.ended is Ending.USED
    assert any(isinstance(event, MessageOver) for event in world.events)


@pytest.mark.parametrize("written", [False, True], ids=["left", "written"])
async def test_who_fails_after_it_took_a_code_took_nothing(world: World, *, written: bool) -> None:
    """Whether or not its change was written already; and the guess before it, and the one after it, count."""
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    alive = await kept(world, sub)
    assert alive is not None

    async def fails(tx: Tx) -> None:
        await tx.count_attempt(alive.id)
        await tx.count_wrong_guess(sub)
        assert await tx.consume(alive.id, Ending.USED)
        if written:
            await tx.save_project(Project("never", "", "", True))
            assert await tx.code_by_id(alive.id) is None
        raise LookupError

    before, failed, after = await asyncio.gather(
        world.verify(sub, wrong(code)),
        world.store.write(fails, About(sub)),
        world.verify(sub, wrong(code)),
        return_exceptions=True,
    )
    assert isinstance(failed, LookupError)
    assert (before, after) == (Verdict(Reason.WRONG_CODE, 4), Verdict(Reason.WRONG_CODE, 3))
    left = await kept(world, sub)
    assert left is not None
    assert left.attempts == 2
    assert await world.store.read(lambda tx: tx.project("never")) is None
    assert await world.verify(sub, code) == Verdict(None)


async def test_a_statement_sees_what_was_left_to_be_written(world: World) -> None:
    """By others, and by the operation itself."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    codes = [await kept(world, who) for who in (ann, bob)]

    async def looks(tx: Tx) -> list[Any]:
        assert codes[1] is not None
        await tx.consume(codes[1].id, Ending.USED)
        return [await tx.code_by_id(one.id) for one in codes if one is not None]

    judged, seen = await asyncio.gather(
        world.verify(ann, world.telegram.codes[0]), world.store.write(looks, About(bob))
    )
    assert judged == Verdict(None)
    assert seen == [None, None]


async def test_what_was_read_ahead_ends_with_a_change(world: World) -> None:
    """Whoever comes after it looks again."""
    sub, code = await world.subscribe(), world.telegram.codes[-1]

    async def kills(tx: Tx) -> None:
        await tx.kill_codes(sub, Ending.WITHDRAWN)

    _, judged = await asyncio.gather(world.store.write(kills, About(sub)), world.verify(sub, code))
    assert judged == Verdict(Reason.NO_ACTIVE_CODE)


async def test_a_request_is_read_ahead_too(world: World) -> None:
    """And it is judged like one that was not: whose it is, and of which code."""
    request_id, foreign = await world.request(), await world.request(caller=world.other)
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    sub = (await world.service.status(world.caller, request_id)).subscriber_id
    assert sub is not None
    code = world.telegram.codes[-1]
    judged = await asyncio.gather(
        *(world.verify(sub, code, request_id=one) for one in (foreign, "x" * 16, request_id, request_id))
    )
    nothing = Verdict(Reason.NO_ACTIVE_CODE)
    assert judged == [nothing, nothing, Verdict(None), nothing]


async def test_what_can_not_be_written_was_not_accepted(world: World) -> None:
    """Also not for those who only lost."""
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    connection = spoken(world)
    connection.broken = "DELETE FROM codes"
    judged = await asyncio.gather(*(world.verify(sub, code) for _ in range(2)), return_exceptions=True)
    assert [type(one).__name__ for one in judged] == ["StorageUnavailable"] * 2
    connection.broken = ""
    assert await world.verify(sub, code) == Verdict(None)


guesses = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "nobody"]), st.sampled_from(["right", "wrong", "short"])),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(guesses=guesses, attempts=st.integers(1, 4), budget=st.integers(2, 6))
@pytest.mark.slow
def test_together_or_one_by_one_is_the_same(
    guesses: list[tuple[str, str]], attempts: int, budget: int
) -> None:
    """Verdicts, events, and what the database holds in the end."""

    async def played(*, together: bool) -> Any:
        async with a_world(replace(Policy(), guess_budget=budget)) as world:
            people = {"ann": ANN, "bob": BOB}
            terms = replace(LOGIN, max_attempts=attempts)
            subs = {name: await world.subscribe(person, terms=terms) for name, person in people.items()}
            codes = dict(zip(subs, world.telegram.codes, strict=True))
            world.events.clear()
            calls = []
            for name, kind in guesses:
                code = codes.get(name, "123456")
                typed = {"right": code, "wrong": wrong(code), "short": code[1:]}[kind]
                calls.append(world.verify(subs.get(name, "00000000-0000-4000-8000-000000000000"), typed))
            verdicts = await asyncio.gather(*calls) if together else [await call for call in calls]
            events = list(world.events)
            left = [(await kept(world, sub), await person(world, sub)) for sub in subs.values()]
            return list(verdicts), events, left

    assert asyncio.run(played(together=True)) == asyncio.run(played(together=False))


@pytest.mark.parametrize("typed", ["right", "short"])
async def test_a_code_read_ahead_dies_at_its_end(world: World, typed: str) -> None:
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    world.clock.advance(ms=LOGIN.ttl_minutes * 60_000)
    guess = code if typed == "right" else code[1:]
    assert await world.verify(sub, guess) == Verdict(Reason.NO_ACTIVE_CODE)


@pytest.mark.parametrize("other", ["project", "mode"])
async def test_a_strangers_subscriber_is_nobody(world: World, other: str) -> None:
    """Also in the same commit as a guess of its own project."""
    sub, code = await world.subscribe(), world.telegram.codes[-1]
    stranger = world.other if other == "project" else replace(world.caller, mode=Mode.TEST)
    judged, own = await asyncio.gather(
        world.verify(sub, code, caller=stranger), world.verify(sub, wrong(code))
    )
    assert (judged, own) == (Verdict(Reason.NO_ACTIVE_CODE), Verdict(Reason.WRONG_CODE, 4))
