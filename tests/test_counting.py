"""How much happened: what is counted as what, that it is added up, and that nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from api.admin import Refused
from api.reports import perform_stats
from otp.counting import FLUSH_SECONDS, STATS_KEPT_MS, Counting, share_within
from otp.model import Caller, Channel, Mode, Refusal
from otp.model import Refusal as Why
from otp.policy import DAY_MS, HOUR_MS
from otp.ports import Accepted, NotSent, Outcome, Store, Unknown
from otp.ports import Refused as Denied
from otp.projects import ProjectNotFound
from storage import Reach, open_store
from tests.fakes import START, FailingStore, FakeClock
from tests.running import running
from tests.test_printing import printed
from tests.world import ANN, BOB, CAT, LOGIN, World, wrong


def counting(world: World, store: Store | None = None) -> Counting:
    """What counts from now on."""
    made = Counting(store or world.store, world.clock, world.failures.append)
    world.store.listen(made.on_event)
    return made


async def told(
    world: World, *, many: Counting | None = None, **command: Any
) -> dict[tuple[str, str, str], dict[str, int]]:
    """By day, mode and channel what there is of everything; what there is nothing of left out."""
    if many is not None:
        await many.flush()
    days = await perform_stats(world.store, command)
    keys = ("day", "mode", "channel", "tap_to_delivery_ms")
    return {
        (one["day"], one["mode"], one["channel"]): {k: v for k, v in one.items() if k not in keys and v}
        for one in days
    }


async def test_a_login_is_counted_step_by_step(world: World) -> None:
    """A request has no channel until it is opened, unless the site chose one."""
    many = counting(world)
    sub = await world.subscribe(ANN)
    await world.request(channel=Channel.MAX)
    await world.verify(sub, wrong(world.telegram.codes[-1]))
    await world.verify(sub, world.telegram.codes[-1])
    assert await told(world, many=many) == {
        ("2027-01-15", "live", "any"): {"requests": 1},
        ("2027-01-15", "live", "max"): {"requests": 1},
        ("2027-01-15", "live", "telegram"): {"opened": 1, "sent": 1, "wrong": 1, "verified": 1},
    }


async def test_a_request_is_opened_once(world: World) -> None:
    """However often its link is followed, and by whomever."""
    many, request_id = counting(world), await world.request()
    for person in (ANN, BOB, ANN):
        await world.taps.open(world.update(person), request_id)
    assert (await told(world, many=many))["2027-01-15", "live", "telegram"] == {"opened": 1}


@pytest.mark.parametrize(
    "outcome,counted",
    [
        (Denied(Why.REJECTED), {"failed": 1}),
        (Denied(Refusal.GONE), {"failed": 1}),
        (Unknown(), {"unknown": 1}),
        (Accepted("m"), {"sent": 1}),
    ],
)
async def test_what_came_of_a_code(world: World, outcome: Outcome, counted: dict[str, int]) -> None:
    """Failed, perhaps arrived, or sent."""
    sub = await world.subscribe(ANN)
    many = counting(world)
    world.telegram.script.append(outcome)
    await asyncio.gather(world.service.send(world.caller, sub, LOGIN), return_exceptions=True)
    assert (await told(world, many=many))["2027-01-15", "live", "telegram"] == counted


async def test_what_is_taken_back_has_not_failed(world: World) -> None:
    """Cancelled while it waited."""
    await world.subscribe(ANN)
    many = counting(world)
    world.telegram.script = [NotSent(60_000)]
    await world.taps.open(world.update(ANN), await world.request())
    await world.settle()
    await world.taps.gone(world.update(ANN))
    assert await told(world, many=many) == {
        ("2027-01-15", "live", "any"): {"requests": 1},
        ("2027-01-15", "live", "telegram"): {"opened": 1},
    }


async def test_days_begin_at_midnight_utc(world: World) -> None:
    """Each has its own counts, and only as many days are told as were asked for."""
    many = counting(world)
    await world.request()
    world.clock.advance(ms=16 * HOUR_MS - 1)
    await world.request()
    world.clock.advance(ms=1)
    await world.request()
    assert {key[0]: n["requests"] for key, n in (await told(world, many=many)).items()} == {
        "2027-01-15": 2,
        "2027-01-16": 1,
    }
    assert [key[0] for key in await told(world, days=1)] == ["2027-01-16"]


async def test_projects_and_modes_are_counted_apart(world: World) -> None:
    """One project alone, or all together; a site's tests never among what people did."""
    many = counting(world)
    await world.request()
    await world.request(world.other)
    await world.request(Caller(world.caller.project, Mode.TEST))
    everything = await told(world, many=many)
    assert {key[1]: n["requests"] for key, n in everything.items()} == {"live": 2, "test": 1}
    [theirs] = (await told(world, project=world.other.project.id)).values()
    assert theirs == {"requests": 1}
    with pytest.raises(ProjectNotFound):
        await told(world, project="00000000-0000-4000-8000-00000000dead")
    with pytest.raises(Refused, match="--days"):
        await told(world, days=401)


async def test_replicas_add_to_the_same_counts(world: World) -> None:
    """At the same time."""
    both = [counting(world), counting(world)]
    for caller in (world.caller, world.other):
        for person in (ANN, CAT):
            await world.subscribe(person, caller)
    await asyncio.gather(*(one.flush() for one in both))
    found = await told(world)
    assert found["2027-01-15", "live", "any"] == {"requests": 8}
    assert found["2027-01-15", "live", "max"] == {"opened": 4, "sent": 4}


async def test_what_could_not_be_written_is_written_later(world: World) -> None:
    """And it is told that it could not."""
    failing = FailingStore(world.store)
    many = counting(world, cast(Store, failing))
    failing.times = 1
    await world.request()
    await many.flush()
    assert [type(one).__name__ for one in world.failures] == ["StorageUnavailable"]
    world.failures.clear()
    await world.request()
    assert await told(world, many=many) == {("2027-01-15", "live", "any"): {"requests": 2}}


class Untouched:
    """A store of which nothing may be wanted."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


async def test_nothing_is_written_when_nothing_happened(world: World) -> None:
    """An idle service leaves its disk alone."""
    await Counting(cast(Store, Untouched()), world.clock, world.failures.append).flush()


async def test_counts_go_with_their_project(world: World) -> None:
    """Those that are written after its end too."""
    many = counting(world)
    await world.request()
    await many.flush()
    await world.request()
    await world.projects.delete(world.caller.project.id)
    await world.request(world.other)
    assert await told(world, many=many) == {("2027-01-15", "live", "any"): {"requests": 1}}


async def test_counts_are_kept_for_400_days(world: World, clock: FakeClock) -> None:
    """From the first moment of their day."""
    many = counting(world)
    await world.request()
    await many.flush()
    clock.advance(ms=STATS_KEPT_MS - clock.now() % DAY_MS - 1)
    await world.store.chore(lambda tx: tx.purge(100))
    assert await told(world, days=400)
    clock.advance(ms=1)
    await world.store.chore(lambda tx: tx.purge(100))
    assert await world.store.read(lambda tx: tx.counts(START // DAY_MS * DAY_MS, None)) == {}


async def test_the_time_from_a_tap_to_its_code(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """From the press until the messenger had it, retries and all; a `send` is none."""
    many = counting(world)

    def late(seconds: float) -> Callable[[Any], Outcome]:
        def hand_over(_parcel: Any) -> Outcome:
            world.clock.advance(seconds=seconds)
            return Accepted("m")

        return hand_over

    sub = ""
    for seconds in (0.2, 0.2, 0.4, 4):
        world.telegram.script = [late(seconds)]
        sub = await world.subscribe(ANN if seconds == 0.2 else BOB)
        world.clock.advance(minutes=11)
    await world.service.send(world.caller, sub, LOGIN)
    await many.flush()
    days = await perform_stats(world.store, {})
    assert days[1]["tap_to_delivery_ms"] == {"median": 200, "p90": 5000}
    assert printed(capsys, "stats", days) == [
        "day         channel   requests  opened  sent  failed  unknown  verified  wrong  median   p90",
        "2027-01-15  any              4       -     -       -        -         -      -",
        "2027-01-15  telegram         -       4     5       -        -         -      -  <0.2 s  <5 s",
        "total                        4       4     5       -        -         -      -",
        "Days are UTC. median, p90: so soon after a tap half, and nine in ten, of the codes were sent.",
    ]


@pytest.mark.parametrize(
    "took,share,bound",
    [({}, 0.5, None), ({100: 1}, 0.9, 100), ({100: 5, 500: 5}, 0.5, 100), ({100: 8, 500: 2}, 0.9, 500)],
)
def test_within_which_time_a_share_stayed(took: dict[int, int], share: float, bound: int | None) -> None:
    """By the bounds under which times are counted."""
    assert share_within(took, share) == bound


async def test_it_is_written_now_and_then(world: World) -> None:
    """By itself, every ten seconds."""
    many = counting(world)
    task = asyncio.ensure_future(many.run())
    await world.request()
    await world.settle()
    assert await told(world) == {}
    world.clock.advance(seconds=FLUSH_SECONDS)
    await world.settle()
    assert len(await told(world)) == 1
    task.cancel()


@pytest.mark.slow
async def test_a_service_that_ends_in_order_loses_nothing(tmp_path: Path, clock: FakeClock) -> None:
    """What was counted last is written before the store is closed."""
    url = f"sqlite:///{tmp_path}/t.db"
    async with running(url) as run:
        await run.request()
    store = await open_store(url, clock, Reach(own_time=False))
    assert [one["requests"] for one in await perform_stats(store, {})] == [1]
    await store.close()
