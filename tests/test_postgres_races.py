"""Transactions that meet on PostgreSQL, step by step: what one read must still be true when it acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import asyncpg
import pytest

from config.clock import told_clock
from otp import housekeeping
from otp.accounts import link
from otp.delivery import begin, claim, record
from otp.errors import SendInProgress
from otp.events import RequestFinished, SubscriberRelinked
from otp.forgetting import forget
from otp.idempotency import Within
from otp.model import Cause, Delivery, DeliveryState, Mode, Parcel, RequestStatus
from otp.policy import DAY_MS, REQUEST_LIFE_MS
from otp.ports import Accepted, Tx, Work
from otp.projects import ERASED_AT_ONCE
from otp.retention import Retention
from otp.service import Reason
from storage import Reach, postgres_line
from storage.postgres import PostgresStore
from tests.conftest import postgres_url
from tests.fakes import FakeClock
from tests.world import ANN, BOB, CAT, LOGIN, World, make_world

pytestmark = pytest.mark.slow  # each has replicas

OURS = Reach(own_time=False)


@pytest.fixture
async def url(worker_id: str) -> str:
    """An empty database."""
    return await postgres_url(worker_id)


@pytest.fixture
async def world(url: str, clock: FakeClock) -> AsyncIterator[World]:
    """The domain, which carries nothing by itself."""
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


async def waiting(admin: asyncpg.Connection[asyncpg.Record], count: int = 1) -> None:
    """Until so many transactions wait for a lock."""
    async with asyncio.timeout(10):
        while await admin.fetchval(_WAITING) < count:  # noqa: ASYNC110  # the database sets no events
            await asyncio.sleep(0.005)


_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class Held:
    """A transaction that did its work and does not commit before it is told to."""

    def __init__(self, world: World, work: Any) -> None:
        self._done, self._go_on = asyncio.Event(), asyncio.Event()

        async def slowly(tx: Tx) -> Any:
            result = await work(tx)
            self._done.set()
            await self._go_on.wait()
            return result

        self._task = asyncio.create_task(world.store.write(slowly))

    async def __aenter__(self) -> Held:
        await self._done.wait()
        return self

    async def commit(self) -> Any:
        self._go_on.set()
        return await self._task

    async def __aexit__(self, *_: object) -> None:
        self._go_on.set()
        await self._task


def later(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Beside the test."""
    return asyncio.create_task(work)


async def outcome(task: asyncio.Task[Any]) -> Any:
    """What came of it, be it an error."""
    return (await asyncio.gather(task, return_exceptions=True))[0]


def asking(world: World, sub_id: str, request_id: str | None = None) -> Work[str]:
    """Claims a delivery, for which no courier sets out; its id."""
    world.courier.stop_retrying()
    world.courier._closed = True

    async def work(tx: Tx) -> str:
        sub = await tx.subscriber_by_id(sub_id)
        assert sub is not None
        request = await tx.request(request_id) if request_id else None
        if request is not None:
            await tx.bind(request.id, sub.person)
        got = await claim(tx, world.rules, sub, LOGIN, Cause.OPEN if request else Cause.SEND, request)
        return got.id  # type: ignore[union-attr]

    return work


async def attempted(world: World, sub_id: str) -> Parcel:
    """A delivery that is at the messenger, of which no courier knows."""
    delivery_id = await world.store.write(asking(world, sub_id))
    parcel = await world.store.write(lambda tx: begin(tx, world.rules, delivery_id))
    assert isinstance(parcel, Parcel)
    return parcel


async def test_a_code_that_arrives_while_all_are_revoked_is_dead(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Whichever of the two is written down first."""
    sub = await world.subscribe()
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None
    parcel = await attempted(world, sub)
    recorded = Held(world, lambda tx: record(tx, world.rules, parcel.delivery.id, Accepted("m9")))
    async with recorded:
        revoking = later(world.store.write(lambda tx: tx.revoke_codes()))
        await waiting(admin)
        await recorded.commit()
        await revoking
    assert (await world.verify(sub, parcel.digits)).reason is not None


async def test_two_channels_of_an_account_come_to_their_outcome_at_once(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The second one waits for the account, and ends the code that it would not have seen."""
    ann, cat = await world.subscribe(ANN), await world.subscribe(CAT)
    for sub_id in (ann, cat):
        sub = await world.store.read(lambda tx, one=sub_id: tx.subscriber_by_id(one))  # type: ignore[misc]
        await world.store.write(lambda tx, one=sub: tx.link(one, "user-1"))  # type: ignore[misc]
        await world.verify(sub_id, (world.telegram if sub_id == ann else world.max).codes[-1])
    first, second = await attempted(world, ann), await attempted(world, cat)
    recorded = Held(world, lambda tx: record(tx, world.rules, first.delivery.id, Accepted("m9")))
    async with recorded:
        other = later(
            world.store.write(lambda tx: record(tx, world.rules, second.delivery.id, Accepted("m8")))
        )
        await asyncio.wait({other, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        await recorded.commit()
        await other
    assert (await world.verify(ann, first.digits)).reason is Reason.NO_ACTIVE_CODE
    assert (await world.verify(cat, second.digits)).reason is None


async def test_who_is_linked_is_known_to_who_replaces_them_at_once(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Both are verified at the same time, in one channel: the second one tells whom it replaced."""
    ann, bob = [
        await world.store.read(lambda tx, one=one: tx.subscriber_by_id(one))  # type: ignore[misc]
        for one in (await world.subscribe(ANN), await world.subscribe(BOB))
    ]
    async with Held(world, lambda tx: link(tx, ann, "user-1")) as first:
        second = later(world.store.write(lambda tx: link(tx, bob, "user-1")))
        await waiting(admin)
        await first.commit()
        await second
    told = [event for event in world.events if isinstance(event, SubscriberRelinked)]
    assert [(one.subscriber.id, one.previous_id) for one in told] == [(bob.id, ann.id)]


async def test_an_outcome_is_written_down_before_its_subscriber_is_forgotten(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Or finds nobody; here it comes first, and what it brought is gone with the rest."""
    ann = await world.subscribe(ANN)
    parcel = await attempted(world, ann)
    async with Held(world, lambda tx: record(tx, world.rules, parcel.delivery.id, Accepted("m9"))) as first:
        forgetting = later(world.store.write(lambda tx: forget(tx, world.rules, world.caller, ann)))
        await waiting(admin)
        await first.commit()
        assert await forgetting is True
    assert await world.store.read(lambda tx: tx.delivery(parcel.delivery.id)) is None
    done = await world.store.write(lambda tx: record(tx, world.rules, parcel.delivery.id, Accepted("m9")))
    assert done is None
    left = "SELECT count(*) FROM messages WHERE subscriber_id = $1"
    assert await admin.fetchval(left, ann) == 0


async def test_who_comes_back_while_their_time_is_over_is_not_forgotten(
    world: World, admin: asyncpg.Connection[asyncpg.Record], clock: FakeClock
) -> None:
    """The walk saw them as they were, and looks again when it has them to itself."""
    ann = await world.subscribe(ANN)
    await world.taps.gone(world.update(ANN))
    clock.advance(ms=31 * DAY_MS)

    async def back(tx: Tx) -> None:
        assert await tx.subscriber_by_id(ann) is not None
        await tx.set_subscribed(ann, True)

    async with Held(world, back) as first:
        walking = later(world.store.write(lambda tx: Retention(world.rules, 30).step(tx, 9)))
        await waiting(admin)
        await first.commit()
        await walking
    found = await world.store.read(lambda tx: tx.membership(ann))
    assert found is not None
    assert found.subscriber.subscribed


async def test_two_new_keys_at_once_leave_one(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The key that was made first is an old one for the second."""
    project_id = world.caller.project.id
    key, other = b"k" * 32, b"o" * 32

    async def rotate(tx: Tx, mine: bytes) -> None:
        await tx.add_key(project_id, Mode.LIVE, mine)
        await tx.end_keys(project_id, Mode.LIVE, tx.now, but=mine)

    async with Held(world, lambda tx: rotate(tx, key)) as first:
        second = later(world.store.write(lambda tx: rotate(tx, other)))
        await asyncio.wait({second, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        await first.commit()
        await second
    living = await admin.fetchval(
        "SELECT count(*) FROM api_keys WHERE project_id = $1 AND ends_at IS NULL", project_id
    )
    assert living == 1


async def test_a_key_that_lives_again_is_not_removed(
    world: World, admin: asyncpg.Connection[asyncpg.Record], clock: FakeClock
) -> None:
    """It was over when the removal looked, and is not when it acts."""
    project_id, key = world.caller.project.id, b"k" * 32
    await world.store.write(lambda tx: tx.add_key(project_id, Mode.LIVE, key))
    await world.store.write(lambda tx: tx.end_keys(project_id, Mode.LIVE, tx.now, but=b""))
    clock.advance(seconds=1)
    async with Held(world, lambda tx: tx.add_key(project_id, Mode.LIVE, key)) as back:
        purging = later(world.store.write(housekeeping.purge))
        await waiting(admin)
        await back.commit()
        await purging
    assert await world.service.authenticate(key) is not None


async def test_two_who_erase_a_project_leave_nothing(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Who waited for the other's batch does not take it for the last one."""
    project_id = world.caller.project.id
    await admin.execute(
        "INSERT INTO requests (id, project_id, mode, purpose, ttl_minutes, max_attempts, code_length, status, "
        "created_at, expires_at) SELECT 'r' || n, $1, 'live', 'login', 5, 5, 6, 'pending', 0, 0 "
        "FROM generate_series(1, $2) AS n",
        project_id,
        2 * ERASED_AT_ONCE,
    )
    await admin.execute(
        "INSERT INTO messages (id, address, kind, request_id, created_at) SELECT 'm' || id, 'telegram:1', 'question', "
        "id, 0 FROM requests"
    )
    await world.store.write(lambda tx: tx.delete_project(project_id))

    def erase(tx: Tx) -> Coroutine[Any, Any, bool]:
        return tx.erase_project(project_id, ERASED_AT_ONCE)

    async with Held(world, erase) as first:
        second = later(world.store.write(erase))
        await waiting(admin)
        assert await first.commit()
        more = await second
    while more:
        more = await world.store.write(erase)
    assert await admin.fetchval("SELECT count(*) FROM messages") == 0


async def test_a_request_with_a_claim_made_in_time_does_not_expire(
    world: World, admin: asyncpg.Connection[asyncpg.Record], clock: FakeClock
) -> None:
    """Even when the claim is committed while the sweep looks; and nobody is told an end that is none."""
    sub_id = await world.subscribe()
    request_id = await world.request()
    clock.advance(ms=REQUEST_LIFE_MS - 3000)
    async with Held(world, asking(world, sub_id, request_id)) as opening:  # the claim waits
        clock.advance(seconds=3)
        status = later(world.service.status(world.caller, request_id))
        await asyncio.wait({status, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        await opening.commit()
        told = (await status).status
    assert told is RequestStatus.PENDING
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.PENDING


async def test_a_statement_whose_types_changed_is_prepared_anew(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """A newer program may migrate beside us."""
    await world.store.write(lambda tx: tx.remember("a", "b"))
    await world.store.write(lambda tx: tx.fact("a"))
    await admin.execute("ALTER TABLE facts ALTER value TYPE varchar(1000)")
    try:
        assert await world.store.write(lambda tx: tx.fact("a")) == "b"
    finally:
        await admin.execute("ALTER TABLE facts ALTER value TYPE text")


async def test_the_time_is_noted_however_much_there_is_to_tell(
    url: str, admin: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below it no process begins, after a busy day above all."""
    monkeypatch.setattr(postgres_line, "BEAT_S", 0.3)
    store = await PostgresStore.open(url, told_clock(), Reach())
    busy = later(telling(store))
    noted: set[str] = set()
    async with asyncio.timeout(10):
        while len(noted) < 3:
            noted |= {
                row["value"] for row in await admin.fetch("SELECT value FROM facts WHERE name = 'clock'")
            }
            await asyncio.sleep(0.01)
    busy.cancel()
    await store.close()


async def telling(store: PostgresStore) -> None:
    """More often than the time is noted."""
    while True:
        store._line.announce([RequestFinished("r", "p", RequestStatus.SENT)])
        await asyncio.sleep(0.01)


async def test_whoever_switches_a_project_off_waits_in_a_queue(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """Those who use it and come later do not pass by, and see it switched off: else a busy one could not be."""
    project_id = world.caller.project.id
    async with Held(world, lambda tx: tx.project(project_id)) as using:
        switching = later(world.projects.set_enabled(project_id, False))
        await waiting(admin)
        late = later(world.store.write(lambda tx: tx.project(project_id)))
        await waiting(admin, 2)
        await using.commit()
        await switching
        seen = await late
    assert seen is not None
    assert not seen.enabled


# ------------------------------------------------------------------ what is taken back


async def test_a_code_that_arrives_while_it_is_revoked(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """It is dead and that is said, or it was still on its way and lives."""
    sub = await world.subscribe()
    parcel = await attempted(world, sub)
    async with Held(
        world, lambda tx: record(tx, world.rules, parcel.delivery.id, Accepted("m9"))
    ) as recorded:
        revoking = later(world.service.revoke(world.caller, sub, LOGIN.purpose))
        await asyncio.wait({revoking, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        await recorded.commit()
        told = await outcome(revoking)
    assert told is True or isinstance(told, SendInProgress)
    assert ((await world.verify(sub, parcel.digits)).reason is None) is (told is not True)


async def test_a_code_that_is_sent_once_more_while_it_is_revoked(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """What is told to be sent lives: the old one is not, as it was revoked before."""
    sub = await world.subscribe()
    revoke = Held(world, lambda tx: world.service.over(Within(tx)).revoke(world.caller, sub, LOGIN.purpose))
    async with revoke as revoking:
        sending = later(world.service.send(world.caller, sub, LOGIN, reuse=True))
        await asyncio.wait({sending, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        assert await revoking.commit() is True
        _, reused = await sending
    assert not reused
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


async def test_a_request_that_is_claimed_while_the_site_cancels_it(
    world: World, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    """The cancel comes after it: the claim is withdrawn, and its attempt never begins."""
    sub_id, request_id = await world.subscribe(), await world.request()
    async with Held(world, asking(world, sub_id, request_id)) as opening:
        cancelling = later(world.service.cancel(world.caller, request_id))
        await asyncio.wait({cancelling, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        delivery_id = await opening.commit()
        await cancelling
    begun = await world.store.write(lambda tx: begin(tx, world.rules, delivery_id))
    assert isinstance(begun, Delivery)
    assert begun.state is DeliveryState.REFUSED
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED


@pytest.mark.parametrize("attempt_first", [True, False])
async def test_an_attempt_that_begins_while_the_site_cancels(
    world: World, admin: asyncpg.Connection[asyncpg.Record], attempt_first: bool
) -> None:
    """One of the two is first: cancelled without an attempt, or told that it is on its way."""
    sub_id, request_id = await world.subscribe(), await world.request()
    delivery_id = await world.store.write(asking(world, sub_id, request_id))

    def attempt(tx: Tx) -> Coroutine[Any, Any, Any]:
        return begin(tx, world.rules, delivery_id)

    def cancel(tx: Tx) -> Coroutine[Any, Any, Any]:
        return world.service.over(Within(tx)).cancel(world.caller, request_id)

    first, second = (attempt, cancel) if attempt_first else (cancel, attempt)
    async with Held(world, first) as held:
        meanwhile = later(world.store.write(second))
        await asyncio.wait({meanwhile, later(waiting(admin))}, return_when=asyncio.FIRST_COMPLETED)
        begun = await held.commit()
        came = await outcome(meanwhile)
    if attempt_first:
        assert isinstance(begun, Parcel)
        assert isinstance(came, SendInProgress)
        await world.store.write(lambda tx: record(tx, world.rules, delivery_id, Accepted("m9")))
    else:
        assert isinstance(came, Delivery)
        assert came.state is DeliveryState.REFUSED
    status = (await world.service.status(world.caller, request_id)).status
    assert status is (RequestStatus.SENT if attempt_first else RequestStatus.CANCELLED)
