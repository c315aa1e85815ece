"""The real program on a disk that is full, fails, or is held by another: refused, never lost, good again by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager, nullcontext
from pathlib import Path
from sqlite3 import connect
from time import monotonic
from typing import Any

import pytest

from sandbox.wire import Fault
from tests.disks import (
    FaultyDisk,
    attempts,
    code_messages,
    eventually,
    filled,
    guess,
    integrity,
    no_file_grows,
    one_code_comes,
    refused,
    send,
    small_disk,
    usable,
    with_code,
    with_question,
)
from tests.process import Outside, outside

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

Broken = Callable[[Outside], AbstractContextManager[None]]
"""Breaks the disk under a running service, and mends it."""


@asynccontextmanager
async def on_a_bad_disk(folder: Path, kind: str) -> AsyncIterator[tuple[Outside, Broken]]:
    """A service, and the way to break the disk under it."""
    if kind == "full":
        with small_disk(folder / "data"):
            async with outside(folder) as run:
                yield run, lambda _: filled(folder / "data")
    elif kind == "no file grows":
        async with outside(folder) as run:
            yield run, no_file_grows
    else:
        disk = FaultyDisk(folder)
        async with outside(folder, between=None, **disk.environment) as run:
            yield run, lambda _: disk.failing(kind)


KINDS = ["full", "no file grows", "sync", "write"]


async def until_refused(run: Outside) -> list[str]:
    """Use up what room there may still be; the requests that were made all the same."""
    made: list[str] = []
    for _ in range(200):
        answer = await run.call("POST", "/v1/otp/request", {})
        if answer.status != 200:
            refused(answer)
            return made
        made.append(answer.json["request_id"])
    raise AssertionError("nothing is ever refused")


async def all_there(run: Outside, requests: list[str]) -> None:
    """What was answered with 200 can be read."""
    for one in requests:
        assert (await run.status({"request_id": one}))["status"] == "pending"


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_is_acknowledged_that_can_not_be_stored(tmp_path: Path, kind: str) -> None:
    """503 while the disk is bad, to sites and messengers; good again by itself; what was acknowledged outlives a kill."""
    async with on_a_bad_disk(tmp_path, kind) as (run, broken):
        ann, ann_id = await with_code(run)
        bob, asked = await with_question(run, "max")
        with broken(run):
            made = await until_refused(run)
            refused(await guess(run, ann_id, ann.codes[-1]))
            refused(await send(run, ann_id))
            bob.touch("Get the code")
            await eventually(lambda: 503 in attempts(bob))
            assert 200 not in attempts(bob)
            told = await run.call("GET", f"/v1/otp/request/{asked['request_id']}/status")
            assert told.status == 503 or told.json["status"] == "pending"
            assert (await run.call("GET", "/healthz")).status == 200
            assert (await run.call("GET", "/readyz")).status in (200, 503)
        await usable(run)
        await one_code_comes(run, bob, asked)
        [first] = ann.codes
        assert await run.verify(ann_id, first) == {"verified": True}
        assert (await send(run, ann_id)).status == 200
        await run.kill()
        await run.start()
        await all_there(run, made)
        second = ann.codes[-1]
        if first != second:
            assert (await run.verify(ann_id, first))["reason"] == "wrong_code"
        assert await run.verify(ann_id, second) == {"verified": True}
        await run.stop()
        integrity(run)


@pytest.mark.parametrize("kind,rest_seconds", [*[(kind, 3) for kind in KINDS], ("full", 30), ("sync", 30)])
async def test_an_outcome_that_can_not_be_stored_is_no_failure(
    tmp_path: Path, kind: str, rest_seconds: int
) -> None:
    """A message taken while the disk is bad: the caller is answered in time, the code is good, none is sent twice."""
    async with on_a_bad_disk(tmp_path, kind) as (run, broken):
        ann, ann_id = await with_code(run)
        held, before = asyncio.Event(), code_messages(ann)
        ann.sim.faults.append(Fault(method="sendMessage|POST /messages", hold=held))
        started = monotonic()
        sending = asyncio.create_task(send(run, ann_id))
        await eventually(
            lambda: ann.sim.calls[-1].status is None and "sendMessage" in ann.sim.calls[-1].method
        )
        with broken(run):
            await until_refused(run)
            held.set()
            await eventually(lambda: code_messages(ann) == before + 1)
            await asyncio.sleep(rest_seconds)
            if rest_seconds > 20:
                assert sending.done()
        answer = await sending
        assert monotonic() - started < 15 + rest_seconds
        await usable(run)
        if rest_seconds == 3:
            assert answer.status == 200, answer
        else:
            assert answer.status in (502, 503), answer
        await asyncio.sleep(7)  # the sweep settles what is left over
        assert code_messages(ann) == before + 1
        assert await run.verify(ann_id, ann.codes[-1]) == {"verified": True}


@pytest.mark.parametrize("kind", ["sync", "write"])
async def test_a_commit_that_failed_never_says_true_twice(tmp_path: Path, kind: str) -> None:
    """Right guesses of many codes, the disk failing and healing between them: each is accepted once, over kills too."""
    async with on_a_bad_disk(tmp_path, kind) as (run, broken):
        people = [(await with_code(run)) for _ in range(6)]
        codes = [person.codes[-1] for person, _ in people]
        accepted: dict[str, int] = {}
        for turn in range(6):
            for number, (_, subscriber_id) in enumerate(people):
                bad = broken(run) if (turn + number) % 3 else nullcontext()
                with bad:
                    answer = await guess(run, subscriber_id, codes[number])
                if answer.status == 503:
                    refused(answer)
                elif answer.json == {"verified": True}:
                    accepted[subscriber_id] = accepted.get(subscriber_id, 0) + 1
            if turn % 2:
                await run.kill()
                await run.start()
        assert set(accepted.values()) == {1}
        await run.stop()
        integrity(run)


async def test_a_guess_that_was_counted_stays_counted_on_a_failing_disk(tmp_path: Path) -> None:
    """Wrong guesses that were answered are spent, whatever failed between them and whoever was killed."""
    async with on_a_bad_disk(tmp_path, "sync") as (run, broken):
        ann, ann_id = await with_code(run)
        wrong = "1" * 6 if ann.codes[-1] != "1" * 6 else "2" * 6
        assert (await run.verify(ann_id, wrong))["attempts_left"] == 2
        with broken(run):
            refused(await guess(run, ann_id, wrong))
        left = (await run.verify(ann_id, wrong))["attempts_left"]
        assert left in (0, 1)
        await run.kill()
        await run.start()
        again = await run.verify(ann_id, wrong)
        assert again["attempts_left"] == 0
        assert (await run.verify(ann_id, ann.codes[-1]))["reason"] == "no_active_code"


async def test_what_can_not_be_read_is_not_guessed(tmp_path: Path) -> None:
    """With read errors the answers are 503 or right, and right again afterwards."""
    async with on_a_bad_disk(tmp_path, "read") as (run, broken):
        ann, ann_id = await with_code(run)
        code = ann.codes[-1]
        await run.kill()
        await run.start()
        with broken(run):
            answer = await guess(run, ann_id, code)
            assert answer.status == 503 or answer.json == {"verified": True}
        await usable(run)
        after = await run.verify(ann_id, code)
        assert (after == {"verified": True}) is (answer.status == 503)


# ------------------------------------------------------------------ held by another process


@contextmanager
def held_by_another(run: Outside, how: str = "EXCLUSIVE") -> Iterator[None]:
    """Another process has the database's file in a transaction of its own."""
    with closing(connect(run.database, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


async def calls_of_all_kinds(run: Outside, subscriber_id: str, code: str, request_id: str) -> list[Any]:
    """Verify, request, send and status at once, and the seconds until the last answer."""
    started = monotonic()
    answers = await asyncio.gather(
        guess(run, subscriber_id, code),
        run.call("POST", "/v1/otp/request", {}),
        send(run, subscriber_id, purpose="other"),
        run.call("GET", f"/v1/otp/request/{request_id}/status"),
    )
    return [*answers, monotonic() - started]


@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
async def test_a_short_lock_is_waited_for(tmp_path: Path, how: str) -> None:
    """Three seconds: every call has its answer, and the tap its code."""
    async with outside(tmp_path) as run:
        ann, ann_id = await with_code(run)
        bob, asked = await with_question(run, "max")
        with held_by_another(run, how):
            calls = asyncio.create_task(calls_of_all_kinds(run, ann_id, ann.codes[-1], asked["request_id"]))
            bob.touch("Get the code")
            await asyncio.sleep(3)
        *answers, _ = await calls
        assert [answer.status for answer in answers] == [200] * 4
        assert answers[0].json == {"verified": True}
        await one_code_comes(run, bob, asked)
        assert attempts(bob) == [200]


async def test_a_long_lock_is_given_up(tmp_path: Path) -> None:
    """Thirty seconds: 503 in time, the tap is not acknowledged; afterwards all is good, without a restart."""
    async with outside(tmp_path) as run:
        ann, ann_id = await with_code(run)
        bob, asked = await with_question(run, "max")
        with held_by_another(run):
            until = monotonic() + 30
            bob.touch("Get the code")
            for _ in range(2):
                verified, made, sent, told, seconds = await calls_of_all_kinds(
                    run, ann_id, ann.codes[-1], asked["request_id"]
                )
                for answer in (verified, made, sent):
                    refused(answer)
                assert told.status == 503 or told.json["status"] == "pending"
                assert seconds < 20
            assert 200 not in attempts(bob)
            await asyncio.sleep(until - monotonic())
        await usable(run)
        await one_code_comes(run, bob, asked)
        assert 503 in attempts(bob)
        [code] = ann.codes
        assert await run.verify(ann_id, code) == {"verified": True}


# ------------------------------------------------------------------ the file goes away


@pytest.mark.parametrize("how", ["deleted", "replaced", "the log is deleted"])
async def test_a_file_that_was_taken_away_acknowledges_nothing(tmp_path: Path, how: str) -> None:
    """What would be written into a file that nobody will find again is refused, and the log says why."""
    async with outside(tmp_path) as run:
        ann, ann_id = await with_code(run)
        if how == "the log is deleted":
            run.database.with_name("tapcode.db-wal").unlink()
        else:
            run.database.rename(tmp_path / "elsewhere.db")
        if how == "replaced":
            run.database.write_bytes((tmp_path / "elsewhere.db").read_bytes())
        refused(await guess(run, ann_id, ann.codes[-1]))
        refused(await run.call("POST", "/v1/otp/request", {}))
        assert (await run.call("GET", "/readyz")).status == 503
        assert run.process is not None
        run.process.send_signal(signal.SIGTERM)
        assert await run.process.wait() == 0
