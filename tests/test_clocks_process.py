"""The real program while the wall clock jumps under it, and while it is suspended: nothing lives longer, nothing stops."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest

from sandbox.wire import Fault
from tests.disks import MovableClock, code_messages, eventually, guess, send, sent, with_code, with_question
from tests.process import Outside, outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MINUTE, HOUR, DAY = 60, 3600, 86400


@asynccontextmanager
async def with_clock(folder: Path) -> AsyncIterator[tuple[Outside, MovableClock]]:
    """A service and its wall clock."""
    clock = MovableClock(folder)
    async with outside(folder, between=None, **clock.environment) as run:
        yield run, clock


async def dead(run: Outside, subscriber_id: str, code: str) -> None:
    """The code is not accepted, because there is none."""
    assert (await run.verify(subscriber_id, code))["reason"] == "no_active_code"


async def works(run: Outside) -> None:
    """Somebody new can be sent a code, it is good once, and messages are brought up to date: jobs and sending go on."""
    person, subscriber_id = await with_code(run)
    code = person.codes[-1]
    assert await run.verify(subscriber_id, code) == {"verified": True}
    await eventually(lambda: "has been used" in person.last)  # a job has done this


def _seconds_of_processor(run: Outside) -> float:
    assert run.process is not None
    fields = Path(f"/proc/{run.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def idle(run: Outside) -> None:
    """With nothing to do the process does nothing: no loop turns, and none fills the log."""
    before, written = _seconds_of_processor(run), len(run.log)
    await asyncio.sleep(5)
    assert _seconds_of_processor(run) - before < 2.5
    assert len(run.log) - written < 50_000


@pytest.mark.parametrize("jump", [6 * MINUTE, DAY])
async def test_a_code_dead_by_the_wall_clock_never_revives(tmp_path: Path, jump: int) -> None:
    """Forward over its time and back again; also over a kill and a start in between."""
    async with with_clock(tmp_path) as (run, clock):
        ann, ann_id = await with_code(run)
        bob, bob_id = await with_code(run, "max")
        codes = ann.codes[-1], bob.codes[-1]
        clock.set(jump)
        await dead(run, ann_id, codes[0])
        clock.set(0)
        await dead(run, ann_id, codes[0])
        await dead(run, bob_id, codes[1])
        await works(run)
        await run.kill()
        await run.start()
        await dead(run, ann_id, codes[0])
        await dead(run, bob_id, codes[1])
        await works(run)


async def test_a_code_within_its_time_outlives_a_small_jump(tmp_path: Path) -> None:
    """Four minutes of five: what lives by both clocks is good."""
    async with with_clock(tmp_path) as (run, clock):
        ann, ann_id = await with_code(run)
        clock.set(4 * MINUTE)
        assert await run.verify(ann_id, ann.codes[-1]) == {"verified": True}


async def test_a_wall_clock_set_back_makes_nothing_live_longer(tmp_path: Path) -> None:
    """A minute is a minute of the machine, though the wall clock goes back an hour in it."""
    async with with_clock(tmp_path) as (run, clock):
        ann, ann_id = await with_code(run)
        assert (await send(run, ann_id, ttl_minutes=1)).status == 200
        sent, code = monotonic(), ann.codes[-1]
        clock.set(-HOUR)
        bob, bob_id = await with_code(run, "max")
        await works(run)
        await idle(run)
        await asyncio.sleep(max(0.0, sent + MINUTE + 1 - monotonic()))
        await dead(run, ann_id, code)
        assert await run.verify(bob_id, bob.codes[-1]) == {"verified": True}


async def test_a_request_expires_with_the_wall_clock_and_stays_so(tmp_path: Path) -> None:
    """An old question sends no code, before and after the clock is set back; a new one does."""
    async with with_clock(tmp_path) as (run, clock):
        ann, request = await with_question(run)
        clock.set(16 * MINUTE)
        assert await run.status(request) == {"status": "expired"}
        clock.set(0)
        assert await run.status(request) == {"status": "expired"}
        await ann.press("Get the code")
        assert ann.codes == []
        await run.kill()
        await run.start()
        assert await run.status(request) == {"status": "expired"}
        await works(run)


async def test_jobs_and_sending_go_on_after_a_jump_back(tmp_path: Path) -> None:
    """Nobody waits for the wall clock to come to where it was: not while it runs, not after a kill and a start."""
    async with with_clock(tmp_path) as (run, clock):
        clock.set(DAY)
        await works(run)
        clock.set(-DAY)
        await works(run)
        await idle(run)
        await run.kill()
        await run.start()
        await works(run)
        await idle(run)
        ann, request = await with_question(run)
        ann.sim.faults.append(Fault(method="sendMessage", retry_after=2))
        await ann.press("Get the code")
        await eventually(lambda: ann.codes)  # a second attempt is made in time
        await sent(run, request)


async def test_the_mark_in_the_store_bounds_a_start_in_the_past(tmp_path: Path) -> None:
    """Killed and started an hour earlier: what was seen dead is dead, what was alive ends in its time."""
    async with with_clock(tmp_path) as (run, clock):
        ann, ann_id = await with_code(run)
        dead_code = ann.codes[-1]
        clock.set(6 * MINUTE)
        await dead(run, ann_id, dead_code)
        assert (await send(run, ann_id, ttl_minutes=1)).status == 200
        sent, code = monotonic(), ann.codes[-1]
        bob, bob_id = await with_code(run, "max")
        await run.kill()
        clock.set(-HOUR)
        await run.start()
        if dead_code != code:
            assert (await run.verify(ann_id, dead_code))["reason"] == "wrong_code"
        assert await run.verify(bob_id, bob.codes[-1]) == {"verified": True}
        await works(run)
        # The time of the kill and the start itself is lost with the boot clock: a few seconds.
        await asyncio.sleep(max(0.0, sent + MINUTE + 20 - monotonic()))
        await dead(run, ann_id, code)


async def test_a_start_in_the_past_with_only_reads_before_the_kill(tmp_path: Path) -> None:
    """A code that only `verify` saw dead is dead after a kill and a start an hour earlier."""
    async with with_clock(tmp_path) as (run, clock):
        ann, ann_id = await with_code(run)
        code = ann.codes[-1]
        clock.set(6 * MINUTE)
        await dead(run, ann_id, code)
        await run.kill()
        clock.set(-HOUR)
        await run.start()
        await dead(run, ann_id, code)


async def test_a_suspended_process_comes_back_to_work(tmp_path: Path) -> None:
    """61 seconds stopped: codes past their time are dead, an attempt under way gets its outcome, calls in flight end."""
    async with outside(tmp_path) as run:
        ann, ann_id = await with_code(run)
        assert (await send(run, ann_id, ttl_minutes=1)).status == 200
        code = ann.codes[-1]
        bob, bob_id = await with_code(run)
        cyd, request = await with_question(run, "max")
        held, before = asyncio.Event(), code_messages(bob)
        bob.sim.faults.append(Fault(method="sendMessage", hold=held))
        sending = asyncio.create_task(send(run, bob_id))
        await eventually(lambda: bob.sim.calls[-1].status is None)
        assert run.process is not None
        run.process.send_signal(signal.SIGSTOP)
        asking = asyncio.create_task(guess(run, ann_id, code))
        cyd.touch("Get the code")
        held.set()
        await asyncio.sleep(MINUTE + 1)
        run.process.send_signal(signal.SIGCONT)
        assert (await asking).json["reason"] == "no_active_code"
        answer = await sending
        assert answer.status in (200, 502), answer
        await sent(run, request)
        await run.quiet()
        assert code_messages(cyd) == 1
        assert code_messages(bob) == before + 1
        assert await run.verify(bob_id, bob.codes[-1]) == {"verified": True}
        await works(run)
