"""The real program while one messenger hangs, is deaf or gone: the other one, and the site, do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import pytest

from sandbox.wire import Fault
from tests.attempts import arrived, attempts
from tests.process import Outside, outside
from tests.running import Answer, Someone
from tests.wires import Lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
T = TypeVar("T")
SENDS, TAPS = 50, 150
DEADLINE = 20
"""15 seconds, and slack for a busy machine."""
FAILED = {(502, "delivery_unknown"), (503, "messenger_unavailable")}


async def all_of(works: Iterable[Awaitable[T]], at_once: int = 20) -> list[T]:
    """The results of all, some at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(work: Awaitable[T]) -> T:
        async with gate:
            return await work

    return await asyncio.gather(*map(one, works))


def descriptors(out: Outside) -> int:
    """Files and sockets that the service has open."""
    assert out.process is not None
    return len(list(Path(f"/proc/{out.process.pid}/fd").iterdir()))


def megabytes(out: Outside) -> int:
    """What the service holds of memory."""
    assert out.process is not None
    status = Path(f"/proc/{out.process.pid}/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) // 1024


async def ask(out: Outside, person: Someone) -> dict[str, Any]:
    """Bring a question onto the screen; its request."""
    request = await out.request()
    person.sim.say(person.user_id, f"otp_{request['request_id']}")
    await person.sim.until(lambda: any(label.startswith("Get the code") for label in person.labels), 60)
    return request


def agree(person: Someone) -> None:
    """Press "Get the code", and wait for nothing."""
    question = next(message for message in reversed(person.screen) if message.buttons)
    person.sim.press(person.user_id, question.id, 0, 0)


async def settled(out: Outside, request: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """The status of a request once it is no longer pending, or when time is over."""
    until = monotonic() + seconds
    told = await out.status(request)
    while told["status"] == "pending" and monotonic() < until:
        await asyncio.sleep(0.1)
        told = await out.status(request)
    return told


async def join(out: Outside, person: Someone) -> str:
    """Bring a person through consent; the subscriber's id."""
    request = await ask(out, person)
    agree(person)
    return str((await settled(out, request))["subscriber_id"])


async def timed_send(out: Outside, subscriber_id: str) -> tuple[Answer, float]:
    """What `/send` answers, and after how many seconds."""
    began = monotonic()
    answer = await out.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
    return answer, monotonic() - began


@dataclass
class Crowd:
    """People of one messenger: subscribers to send to, and people with a question on the screen."""

    channel: str
    subscribers: dict[str, Someone] = field(default_factory=dict)
    asked: list[tuple[Someone, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    async def gather(cls, out: Outside, channel: str, asked: int) -> Crowd:
        """Bring them to where they are."""
        people = [out.someone(channel) for _ in range(SENDS)]
        subs = await all_of(join(out, person) for person in people)
        askers = [out.someone(channel) for _ in range(asked)]
        requests = await all_of(ask(out, person) for person in askers)
        return cls(channel, dict(zip(subs, people, strict=True)), list(zip(askers, requests, strict=True)))


async def check_works(out: Outside, crowd: Crowd) -> None:
    """Sends, taps, verify, status and `/request` on a messenger that works, each within seconds."""
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*(timed_send(out, sub) for sub in crowd.subscribers))
    assert {answer.status for answer, _ in answers} == {200}
    async with asyncio.timeout(20):
        for sub, person in crowd.subscribers.items():
            assert await out.verify(sub, person.codes[-1]) == {"verified": True}
    for person, _ in crowd.asked:
        agree(person)
    async with asyncio.timeout(20):
        told = await all_of(settled(out, request) for _, request in crowd.asked)
    assert {one["status"] for one in told} == {"sent"}
    for (person, _), one in zip(crowd.asked, told, strict=True):
        assert await out.verify(one["subscriber_id"], person.codes[-1]) == {"verified": True}


async def check_goes_on(out: Outside, works: Crowd, hangs: Crowd, until: float) -> None:
    """Once a second something of everything, to the end of the outage."""
    ours, theirs = list(works.subscribers.items()), list(hangs.subscribers)
    failing: list[asyncio.Task[tuple[Answer, float]]] = []
    turn = 0
    while monotonic() < until:
        sub, person = ours[turn % len(ours)]
        failing.append(asyncio.create_task(timed_send(out, theirs[turn % len(theirs)])))
        async with asyncio.timeout(5):
            assert (await timed_send(out, sub))[0].status == 200
            assert await out.verify(sub, person.codes[-1]) == {"verified": True}
            assert (await out.status(await out.request()))["status"] == "pending"
        turn += 1
        await asyncio.sleep(1)
    for answer, seconds in await asyncio.gather(*failing):
        # The first round may still be under way for the same person.
        assert (answer.status, answer.json["code"]) in FAILED | {(409, "send_in_progress")}
        assert seconds <= DEADLINE


async def check_recovers(out: Outside, crowd: Crowd) -> None:
    """Within half a minute a send and a tap work as ever."""
    sub, person = next(iter(crowd.subscribers.items()))
    async with asyncio.timeout(30):
        while (answer := (await timed_send(out, sub))[0]).status != 200:
            assert (answer.status, answer.json["code"]) in FAILED | {(409, "send_in_progress")}
            await asyncio.sleep(0.5)
        assert await out.verify(sub, person.codes[-1]) == {"verified": True}
        assert await join(out, out.someone(crowd.channel))


async def check_people(out: Outside, crowd: Crowd, *, certain: bool) -> None:
    """Nobody has two codes. What certainly did not arrive came by itself; else the button brings it."""
    if certain:
        await all_of(settled(out, request) for _, request in crowd.asked)
    told = [(await out.status(request))["status"] for _, request in crowd.asked]
    assert set(told) <= ({"sent"} if certain else {"sent", "pending"})
    for (person, _), status in zip(crowd.asked, told, strict=True):
        assert len(attempts(person)) <= 1
        assert status == "pending" or len(arrived(person)) == 1
    waiting = [one for one, status in zip(crowd.asked, told, strict=True) if status == "pending"]
    for person, request in waiting[:5]:
        await person.say(f"otp_{request['request_id']}")
        await person.press("Send again")
        assert (await settled(out, request))["status"] == "sent"
        assert len(attempts(person)) <= 2


@asynccontextmanager
async def outage(out: Outside, lines: Lines, channel: str, how: str) -> AsyncIterator[None]:
    """One messenger hangs at every call, takes connections and says nothing, or refuses them."""
    sim = out.demo.telegram if channel == "telegram" else out.demo.max
    released = asyncio.Event()
    if how == "hangs":
        sim.faults.append(Fault(times=1_000_000, hold=released))
    else:
        await lines.to(channel).become("deaf" if how == "deaf" else "refusing")
    yield
    sim.faults.clear()
    released.set()
    await lines.to(channel).become("up")


@pytest.mark.parametrize("hangs,works", [("telegram", "max"), ("max", "telegram")])
@pytest.mark.parametrize("how,seconds", [("hangs", 60), ("deaf", 25), ("refusing", 25)])
async def test_an_outage(tmp_path: Path, hangs: str, works: str, how: str, seconds: float) -> None:
    """150 taps and 50 sends run into it; all others do not notice, and half a minute later it is forgotten."""
    lines = Lines()
    async with outside(tmp_path, between=lines.lay) as out:
        ours, theirs = await Crowd.gather(out, works, 20), await Crowd.gather(out, hangs, TAPS)
        before, memory = descriptors(out), megabytes(out)
        async with outage(out, lines, hangs, how):
            until = monotonic() + seconds
            for person, _ in theirs.asked:
                agree(person)
            sends = [asyncio.create_task(timed_send(out, sub)) for sub in theirs.subscribers]
            await check_works(out, ours)
            assert (await out.call("GET", "/readyz")).status == 200
            for answer, took in await asyncio.gather(*sends):
                assert (answer.status, answer.json["code"]) in FAILED
                assert took <= DEADLINE
            await check_goes_on(out, ours, theirs, until)
        await check_recovers(out, theirs)
        await check_people(out, theirs, certain=how == "refusing")
        await until_few(lambda: descriptors(out) - before)
        assert megabytes(out) < memory + 100
        assert '"event":"background.failed"' not in out.log
    await lines.cut()


async def until_few(more: Callable[[], int]) -> None:
    """Until what was opened meanwhile is closed again; connections are kept for a while."""
    for _ in range(120):
        if more() <= 20:
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{more()} files and sockets more than before")
