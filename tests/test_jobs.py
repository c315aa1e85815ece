"""Background jobs: done when they are due, beside each other, and again when they fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from otp.errors import StorageUnavailable
from otp.events import CLOSE_MESSAGE, MessageOver
from otp.jobs import AT_ONCE, LONGEST_WAIT_MS, JobRunner, Retry
from otp.model import Job
from otp.policy import SECOND_MS
from otp.ports import Store, Tx
from tests.fakes import START, FailingStore, FakeClock, at_rest

Step = Callable[[Job], int | Retry | None]


@dataclass
class Bench:
    """A runner whose jobs of the kind `act` do what a script says, and end when the script is over."""

    inner: Store
    clock: FakeClock
    script: list[Step] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    hold: asyncio.Event | None = None
    """While set to an event, jobs wait for it."""

    def __post_init__(self) -> None:
        self.store = FailingStore(self.inner)
        handlers = {"act": self.act, CLOSE_MESSAGE: self.act}
        self.runner = JobRunner(self.store, self.clock, "me", handlers, self.failures.append)
        self.store.listen(self.runner.on_event)

    async def act(self, job: Job) -> int | Retry | None:
        self.done.append(job)
        if self.hold is not None:
            await self.hold.wait()
        return self.script.pop(0)(job) if self.script else None

    async def plan(self, *subjects: str) -> None:
        """Jobs that are due now; the runner learns of them when it looks again."""

        async def work(tx: Tx) -> None:
            for subject in subjects:
                await tx.ensure_job("act", subject, self.clock.now())

        await self.store.write(work)

    async def settle(self) -> None:
        """Until nothing moves that does not wait for the clock."""
        turns = 0
        while turns < 100:
            busy = not at_rest(self.inner)
            await asyncio.sleep(0.001 if busy else 0)
            if not busy:
                turns += 1
                await self.store.read(_nothing)

    async def after(self, ms: int) -> int:
        """How many jobs were begun by a time from now, and not one was begun 1 ms earlier."""
        before = len(self.done)
        self.clock.advance(ms=ms - 1)
        await self.settle()
        assert len(self.done) == before
        self.clock.advance(ms=1)
        await self.settle()
        return len(self.done) - before


async def _nothing(_tx: object) -> None:
    return None


@pytest.fixture
async def bench(store: Store, clock: FakeClock) -> AsyncIterator[Bench]:
    """A runner that was not started yet."""
    made = Bench(store, clock)
    yield made
    assert not made.failures
    await made.runner.close()


async def test_a_recurring_job_is_done_at_its_times(bench: Bench, clock: FakeClock) -> None:
    """First when it was planned, then when it said; when it says none, never again."""
    bench.script = [lambda _: clock.now() + 3000, lambda _: clock.now() + 60_000, lambda _: None]
    await bench.runner.start({"act": START + 1000})
    await bench.settle()
    assert bench.done == []
    assert await bench.after(1000) == 1
    assert await bench.after(3000) == 1
    assert await bench.after(60_000) == 1
    clock.advance(minutes=10)
    await bench.settle()
    assert bench.done == [Job("act", "", job.due_at, 1, "me") for job in bench.done]
    assert len(bench.done) == 3


async def test_a_job_that_an_event_brings_is_begun_at_once(bench: Bench) -> None:
    """It does not wait for the next look."""
    await bench.runner.start({})
    await bench.settle()

    async def over(tx: Tx) -> None:
        tx.emit(MessageOver("m1"))

    await bench.store.write(over)
    await bench.settle()
    assert [(job.kind, job.subject) for job in bench.done] == [(CLOSE_MESSAGE, "m1")]
    assert await bench.store.read(lambda tx: tx.next_job_at()) is None


async def test_a_job_that_another_process_planned_is_found_soon(bench: Bench) -> None:
    """No event tells of it: somebody looks every five seconds, though the next job known is far away."""
    await bench.runner.start({"act": START + 3_600_000})
    await bench.settle()
    await bench.plan("x")
    assert await bench.after(5000) == 1
    assert bench.done[0].subject == "x"


async def test_a_bug_in_a_job_is_told_and_the_job_is_tried_ever_less_often(bench: Bench) -> None:
    """After 4 s, twice as long each time, at most a minute; a success ends the counting."""

    def fail(_job: Job) -> None:
        raise ZeroDivisionError

    again = START + 1_000_000
    bench.script = [fail] * 12 + [lambda _: again, fail]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    for seconds in (4, 8, 16, 32, *[60] * 8):
        assert await bench.after(seconds * SECOND_MS) == 1
    assert [type(error) for error in bench.failures] == [ZeroDivisionError] * 12
    assert [job.attempts for job in bench.done] == list(range(1, 14))
    bench.clock.set(again)
    bench.clock.advance(ms=0)
    await bench.settle()
    assert bench.done[-1].attempts == 1
    bench.failures.clear()


async def test_a_failed_job_says_when_it_is_tried_again(bench: Bench) -> None:
    """The count goes on, but for a try that was none."""
    bench.script = [
        lambda job: Retry(job.due_at + 1000),
        lambda job: Retry(job.due_at + 1000, tried=False),
        lambda job: Retry(job.due_at + 1000),
    ]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert [await bench.after(1000) for _ in range(3)] == [1, 1, 1]
    assert [job.attempts for job in bench.done] == [1, 2, 2, 3]


async def test_a_job_without_a_store_is_tried_again_soon(bench: Bench) -> None:
    """That is no bug: nobody is told."""

    def no_store(_job: Job) -> None:
        raise StorageUnavailable("full")

    bench.script = [no_store, no_store]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert await bench.after(2000) == 1
    assert await bench.after(2000) == 1
    assert [job.attempts for job in bench.done] == [1, 2, 3]


async def test_the_end_of_a_job_is_written_as_soon_as_the_store_takes_it(bench: Bench) -> None:
    """Done once, though its end could not be stored for six seconds: else its lease would hold it up."""

    def fill_up(_job: Job) -> int:
        bench.store.times = 3
        return bench.clock.now() + 7000

    bench.script = [fill_up]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert [await bench.after(wait) for wait in (2000, 2000, 2000)] == [0, 0, 0]
    assert bench.runner.idle
    assert await bench.after(1000) == 1


async def test_a_count_survives_an_end_that_was_stored_late(bench: Bench) -> None:
    """The failed try is counted when the store is back."""

    def fill_up(_job: Job) -> Retry:
        bench.store.times = 1
        return Retry(bench.clock.now() + 3000)

    bench.script = [fill_up]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert [await bench.after(wait) for wait in (2000, 1000)] == [0, 1]
    assert [job.attempts for job in bench.done] == [1, 2]


async def test_a_store_that_fails_holds_up_nothing_for_long(bench: Bench) -> None:
    """Jobs that could not be taken are taken two seconds later."""
    await bench.runner.start({})
    await bench.settle()
    await bench.plan("x")
    bench.store.times = 1
    bench.clock.advance(ms=LONGEST_WAIT_MS)
    await bench.settle()
    assert bench.done == []
    assert await bench.after(2000) == 1


async def test_a_job_of_no_known_kind_ends(bench: Bench) -> None:
    """A newer program may have planned it; it holds up nobody."""
    await bench.store.write(lambda tx: tx.ensure_job("unheard-of", "", START))
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert len(bench.done) == 1
    assert await bench.store.read(lambda tx: tx.next_job_at()) is None


async def test_a_hanging_job_holds_up_no_other(bench: Bench) -> None:
    """So many run beside each other; the next one is begun when one of them ends."""
    bench.hold = asyncio.Event()
    await bench.plan(*[str(number) for number in range(AT_ONCE + 1)])
    await bench.runner.start({})
    await bench.settle()
    assert len(bench.done) == AT_ONCE
    assert not bench.runner.idle
    bench.hold.set()
    await bench.settle()
    assert len(bench.done) == AT_ONCE + 1
    assert bench.runner.idle


async def test_at_the_end_jobs_in_hand_are_done_and_no_others_begun(bench: Bench) -> None:
    """What is left is for the next process."""
    bench.hold = asyncio.Event()
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    closing = asyncio.ensure_future(bench.runner.close())
    await bench.settle()
    await bench.plan("y")
    bench.hold.set()
    await closing
    assert [job.subject for job in bench.done] == ["x"]
    job = await bench.store.write(lambda tx: tx.take_job("heir", 60_000))
    assert job is not None
    assert job.subject == "y"
    assert await bench.store.write(lambda tx: tx.take_job("heir", 60_000)) is None


async def test_what_hangs_holds_up_the_end_for_some_seconds_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease will run out, and another process does it."""
    monkeypatch.setattr("otp.jobs.LONGEST_WAIT_MS", 50)
    bench.hold = asyncio.Event()
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    try:
        async with asyncio.timeout(30):
            await bench.runner.close()
    finally:
        bench.hold.set()
    assert [job.subject for job in bench.done] == ["x"]


async def test_a_job_that_is_about_to_be_due_is_not_begun(bench: Bench, clock: FakeClock) -> None:
    """A millisecond too early there is none."""
    await bench.store.write(lambda tx: tx.ensure_job("act", "x", START + 1))
    assert await bench.runner.begin_one() is False
    clock.advance(ms=1)
    assert await bench.runner.begin_one() is True
    await bench.settle()
    assert len(bench.done) == 1


async def test_a_bug_at_the_end_of_a_job_is_told(bench: Bench) -> None:
    """What a handler answered can't be stored."""
    bench.script = [lambda _: "soon"]  # type: ignore[list-item, return-value]
    await bench.plan("x")
    await bench.runner.start({})
    await bench.settle()
    assert len(bench.failures) == 1
    bench.failures.clear()
