"""Guesses and looks without a lock on PostgreSQL: a statement or two, and with locks whenever somebody comes between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from config.clock import told_clock
from otp.codes import key_hash
from otp.errors import ProjectDisabled, StorageUnavailable
from otp.events import MessageOver
from otp.model import Ending, RequestStatus
from otp.policy import REQUEST_LIFE_MS, Policy
from otp.ports import About, Tx
from otp.service import Reason, Verdict
from storage import Reach
from storage.postgres import PostgresStore
from storage.together import Together
from tests.conftest import postgres_url
from tests.fakes import FakeClock
from tests.pgwire import PgWire
from tests.test_postgres_races import Held, later, waiting
from tests.world import ANN, BOB, LOGIN, World, make_world, wrong

pytestmark = pytest.mark.slow  # each has a PostgreSQL of its own

OURS = Reach(own_time=False)


@pytest.fixture
async def url(worker_id: str) -> str:
    """An empty database."""
    return await postgres_url(worker_id)


@pytest.fixture
async def world(url: str, clock: FakeClock) -> AsyncIterator[World]:
    """The domain over one replica."""
    made = await make_world(await PostgresStore.open(url, clock, OURS), clock)
    yield made
    await made.courier.close(0)
    await made.store.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A look from outside."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    yield connection
    await connection.close()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whatever is said to the database, one word for each round trip."""
    heard: list[str] = []

    def overheard(name: str) -> Callable[..., Awaitable[Any]]:
        real = getattr(asyncpg.Connection, name)

        async def say(self: Any, sql: str, *values: Any, **named: Any) -> Any:
            if "pg_notify" not in sql and "LISTEN" not in sql:
                heard.append(sql)
            return await real(self, sql, *values, **named)

        return say

    for name in ("execute", "fetch", "fetchval"):
        monkeypatch.setattr(asyncpg.Connection, name, overheard(name))
    return heard


async def attempts(admin: asyncpg.Connection[asyncpg.Record], sub: str) -> tuple[int | None, int]:
    """Of the one code, if it lives, and how many wrong ones there were."""
    made = await admin.fetchval("SELECT attempts FROM codes WHERE subscriber_id = $1", sub)
    return made, await admin.fetchval("SELECT wrong_guesses FROM subscribers WHERE id = $1", sub)


# ------------------------------------------------------------------ round trips


async def test_a_guess_is_two_round_trips_and_a_look_is_one(world: World, said: list[str]) -> None:
    """Right or wrong; alone or with others."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    request_id = await world.request()
    codes = world.telegram.codes
    await world.settle()
    for work, trips in (
        (lambda: world.verify(ann, wrong(codes[0])), 2),
        (lambda: world.verify(ann, "x"), 1),
        (lambda: world.verify(ann, codes[0]), 2),
        (lambda: world.verify(ann, codes[0]), 1),
        (lambda: world.service.status(world.caller, request_id), 1),
        (lambda: world.service.authenticate(key_hash("k")), 1),
        (lambda: world.taps.language(world.update()), 1),
    ):
        said.clear()
        await work()
        assert len(said) == trips, said
    said.clear()
    await asyncio.gather(
        world.verify(bob, codes[1]), *(world.service.status(world.caller, request_id) for _ in range(20))
    )
    assert len(said) <= 3


async def test_a_read_of_more_than_one_statement_is_one_consistent_state(
    world: World, said: list[str]
) -> None:
    """It is run again, in a transaction."""

    async def both(tx: Tx) -> tuple[int, int]:
        return len(await tx.projects()), len(await tx.projects())

    said.clear()
    assert await world.store.read(both) == (2, 2)
    assert [sql.split()[0] for sql in said] == ["SELECT", "BEGIN", "SELECT", "SELECT", "COMMIT"]


async def test_a_project_is_looked_up_once_in_a_transaction_that_does_not_change_it(
    world: World, said: list[str]
) -> None:
    """It is kept from changing from the first look on."""
    project = world.caller.project
    said.clear()

    async def work(tx: Tx) -> list[bool]:
        seen = [await tx.project(project.id), await tx.project(project.id)]
        assert len(said) == 2  # and BEGIN
        await tx.save_project(replace(project, enabled=False))
        return [one.enabled for one in (*seen, await tx.project(project.id)) if one is not None]

    assert await world.store.write(work) == [True, True, False]


async def test_a_read_that_would_change_something_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the database, whatever it was said to be about."""
    monkeypatch.setattr(
        "storage.postgres.DEADLINE_S", 0.3
    )  # it is tried again, as a database may be in other hands soon
    sub = await world.subscribe()
    code = await world.store.read(lambda tx: tx.code(sub, "login"))
    assert code is not None
    about = About(sub, None, world.caller.project.id)
    for work in (
        lambda tx: tx.remember("a", "b"),
        lambda tx: tx.count_attempt(code.id),
        lambda tx: tx.kill_codes(sub, Ending.USED),
    ):
        for one in (None, about):
            with pytest.raises(StorageUnavailable):
                await world.store.read(work, one)
    assert await world.store.read(lambda tx: tx.code(sub, "login")) == code


async def test_without_remembered_statements_everything_is_a_transaction(
    url: str, clock: FakeClock, said: list[str]
) -> None:
    """A pooler may change servers between the two messages of such a statement, except inside of one."""
    store = await PostgresStore.open(url, clock, Reach(own_time=False, statement_cache=0))
    world = await make_world(store, clock)
    sub = await world.subscribe()
    await world.settle()
    said.clear()
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(None)
    assert said[0].startswith("BEGIN")
    assert said[-1] == "COMMIT"
    await world.courier.close(0)
    await store.close()


# ------------------------------------------------------------------ what comes between


async def between(
    world: World, work: Callable[[Tx], Any], guess: Callable[[], Awaitable[Verdict]]
) -> Verdict:
    """A guess between whose look and writing somebody else's change is committed."""
    store = world.store
    assert isinstance(store, PostgresStore)
    real = store._changes._ask

    async def first(changes: Sequence[Any]) -> Any:
        store._changes._ask = real
        await store.write(work)
        return await real(changes)

    store._changes._ask = first
    return await guess()


@pytest.mark.parametrize("typed", ["right", "wrong"])
async def test_what_changed_since_the_look_is_judged_as_it_is(
    world: World, admin: asyncpg.Connection[asyncpg.Record], typed: str
) -> None:
    """By the rules, under locks: nothing that was seen before counts."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    guess = {"right": code, "wrong": wrong(code)}[typed]
    held = await world.store.read(lambda tx: tx.code(sub, "login"))
    assert held is not None
    verdict = await between(world, lambda tx: tx.count_attempt(held.id), lambda: world.verify(sub, guess))
    assert verdict == (Verdict(None) if typed == "right" else Verdict(Reason.WRONG_CODE, 3))
    assert await attempts(admin, sub) == ((None, 0) if typed == "right" else (2, 1))


async def test_a_code_that_was_used_since_the_look_is_used(world: World) -> None:
    """Whoever wrote first was right."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    held = await world.store.read(lambda tx: tx.code(sub, "login"))
    assert held is not None
    verdict = await between(
        world, lambda tx: tx.consume(held.id, Ending.USED), lambda: world.verify(sub, code)
    )
    assert verdict == Verdict(Reason.NO_ACTIVE_CODE)


async def test_a_person_locked_since_the_look_is_locked(world: World) -> None:
    """The right code is of no use any more."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    verdict = await between(world, lambda tx: tx.lock(sub), lambda: world.verify(sub, code))
    assert verdict == Verdict(Reason.LOCKED)


async def test_a_project_disabled_since_the_look_is_disabled(world: World) -> None:
    """Whoever disabled it was told that it is."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    off = replace(world.caller.project, enabled=False)
    with pytest.raises(ProjectDisabled):
        await between(world, lambda tx: tx.save_project(off), lambda: world.verify(sub, code))


async def test_a_code_that_died_since_the_look_is_dead(world: World, clock: FakeClock) -> None:
    """By the time at which it is written down."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]

    async def wait(tx: Tx) -> None:
        clock.advance(seconds=LOGIN.ttl_minutes * 60)

    assert await between(world, wait, lambda: world.verify(sub, code)) == Verdict(Reason.NO_ACTIVE_CODE)


async def test_the_databases_clock_judges_what_is_written(
    url: str, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Though ours may be behind it."""
    clock = told_clock()
    store = await PostgresStore.open(url, clock, Reach())
    world = await make_world(store, clock)  # type: ignore[arg-type]
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    await world.settle()
    real, looks = store._ahead._ask, 0

    async def behind(wanted: Sequence[About]) -> Any:
        nonlocal looks
        looks += 1
        seen = await real(wanted)
        await admin.execute(
            "UPDATE codes SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        )
        return seen

    store._ahead._ask = behind
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)
    assert looks == 1
    await world.courier.close(0)
    await store.close()


async def test_a_guess_waits_for_whoever_holds_its_person_and_no_other_guess_does(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Those that were written with it are done at once."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    codes = world.telegram.codes
    async with Held(world, lambda tx: tx.subscriber_by_id(ann)) as holding:
        held = later(world.verify(ann, codes[0]))
        assert await world.verify(bob, codes[1]) == Verdict(None)
        await waiting(admin)
        await holding.commit()
        assert await held == Verdict(None)


async def test_guesses_of_one_code_at_once_are_counted_once_each(world: World) -> None:
    """However alike they are, and whatever they saw."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    verdicts = await asyncio.gather(*(world.verify(sub, wrong(code)) for _ in range(20)))
    judged = [one.attempts_left for one in verdicts if one.reason is Reason.WRONG_CODE]
    assert sorted(judged) == [0, 1, 2, 3, 4]


async def test_the_last_wrong_guess_locks(world: World) -> None:
    """That is more than is written without a lock."""
    world.service._rules = replace(world.rules, policy=Policy(guess_budget=2))
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    assert await world.verify(sub, wrong(code)) == Verdict(Reason.WRONG_CODE, 1)
    assert await world.verify(sub, wrong(code)) == Verdict(Reason.WRONG_CODE, 0)
    assert await world.verify(sub, code) == Verdict(Reason.LOCKED)


async def test_a_right_code_ends_the_row_of_wrong_ones_and_its_messages(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """As with locks: with the jobs, which their listeners hear of."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    await world.verify(sub, wrong(code))
    assert await attempts(admin, sub) == (1, 1)
    world.events.clear()
    assert await world.verify(sub, code) == Verdict(None)
    assert await attempts(admin, sub) == (None, 0)
    [over] = [event.message_id for event in world.events if isinstance(event, MessageOver)]
    assert await admin.fetchval("SELECT ended FROM messages WHERE id = $1", over) == Ending.USED
    verified = await admin.fetchval("SELECT verified_at FROM requests WHERE verified_at IS NOT NULL")
    assert verified == world.clock.now()
    due = await admin.fetchval("SELECT due_at FROM jobs WHERE kind = 'close' AND subject = $1", over)
    assert due == world.clock.now()


async def test_another_isolation_than_ours_is_no_shortcut(
    url: str, clock: FakeClock, admin: asyncpg.Connection[asyncpg.Record], said: list[str]
) -> None:
    """What an operator set as the default for all transactions does not change ours."""
    name = await admin.fetchval("SELECT current_database()")
    await admin.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'")
    store = await PostgresStore.open(url, clock, OURS)
    try:
        world = await make_world(store, clock)
        sub = await world.subscribe()
        await world.settle()
        said.clear()
        assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(None)
        assert said[-1] == "COMMIT"
        await world.courier.close(0)
    finally:
        await admin.execute(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
        await store.close()


async def test_a_status_past_its_end_is_decided_under_locks(world: World, clock: FakeClock) -> None:
    """What keeps it pending is looked for in the same state."""
    request_id = await world.request()
    clock.advance(ms=REQUEST_LIFE_MS)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED


async def test_whatever_is_typed_as_an_id_troubles_nobody_else(world: World, said: list[str]) -> None:
    """PostgreSQL has no text with a NUL, and nobody sends half a character."""
    sub = await world.subscribe()
    await world.settle()
    said.clear()
    verdicts = await asyncio.gather(
        world.service.verify(world.caller, "\0", "1", None, "\0"),
        world.service.verify(world.caller, "\ud800", "1", None, None),
        world.verify(sub, world.telegram.codes[-1]),
    )
    assert list(verdicts) == [Verdict(Reason.NO_ACTIVE_CODE)] * 2 + [Verdict(None)]
    assert not any(sql.startswith("BEGIN") for sql in said)


# ------------------------------------------------------------------ connections


async def test_a_broken_connection_before_the_writing_is_noticed_by_nobody(
    url: str, clock: FakeClock
) -> None:
    """Nothing has happened, so it is done with locks."""
    async with PgWire(url) as wire:
        store = await PostgresStore.open(wire.url, clock, OURS)
        world = await make_world(store, clock)
        sub = await world.subscribe()
        await world.settle()
        await wire.cut()
        assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(None)
        await world.courier.close(0)
        await store.close()


async def test_who_wrote_and_got_no_answer_is_told_so_with_all_who_wrote_along(
    url: str, clock: FakeClock
) -> None:
    """And the code is good for nobody else."""
    async with PgWire(url) as wire:
        store = await PostgresStore.open(wire.url, clock, OURS)
        world = await make_world(store, clock)
        people = [await world.subscribe(ANN), await world.subscribe(BOB)]
        codes = world.telegram.codes
        await world.settle()
        wire.lose_commits = "after"
        outcomes = await asyncio.gather(*map(world.verify, people, codes), return_exceptions=True)
        assert any(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
        assert all(
            isinstance(outcome, StorageUnavailable) or outcome == Verdict(None) for outcome in outcomes
        )
        for sub, code in zip(people, codes, strict=True):
            assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)
        await world.courier.close(0)
        await store.close()


# ------------------------------------------------------------------ together


async def test_nobody_joins_a_question_that_is_under_way(world: World) -> None:
    """An answer must be younger than its question."""
    asked: list[Sequence[str]] = []
    gates = [asyncio.Event(), asyncio.Event()]
    store = world.store
    assert isinstance(store, PostgresStore)

    async def ask(questions: Sequence[str]) -> dict[str, int]:
        turn = len(asked)
        asked.append(questions)
        await gates[turn].wait()
        return dict.fromkeys(questions, turn)

    together = Together(ask, store._tasks, 1)
    first = later(together.answer("a"))
    again = later(together.answer("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    second, gone = later(together.answer("a")), later(together.answer("b"))
    await asyncio.sleep(0)
    gone.cancel()
    gates[0].set()
    assert [await first, await again] == [0, 0]
    gates[1].set()
    assert await second == 1
    assert asked == [["a"], ["a", "b"]]


async def test_a_failure_is_told_to_all_who_asked(world: World) -> None:
    """And the next ones are asked for as ever."""
    store = world.store
    assert isinstance(store, PostgresStore)
    failures = [OSError("gone")]

    async def ask(questions: Sequence[str]) -> dict[str, str]:
        if failures:
            raise failures.pop()
        return {one: one for one in questions}

    together = Together(ask, store._tasks, 1)
    outcomes = await asyncio.gather(together.answer("a"), together.answer("b"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OSError, OSError]
    assert await together.answer("a") == "a"
    assert together.idle
