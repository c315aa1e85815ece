"""The status call that waits, and the event stream, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import make_mocked_request

from api.status import wants_stream
from otp.model import Caller
from otp.waiting import LOOK_SECONDS
from tests.raw import connect
from tests.running import Answer, Running, Someone, running, without_times
from tests.test_http import is_problem

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


def path(request: Mapping[str, Any], query: str = "") -> str:
    """Where its status is."""
    return f"/v1/otp/request/{request['request_id']}/status{query}"


async def until(done: Callable[[], bool]) -> None:
    """Let everybody go on until it is so."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def resting(run: Running, count: int) -> None:
    """Until so many wait, and have nothing else to do."""
    halls = run.service.waiters._waiting
    await until(lambda: sum(one._rest is not None for those in halls.values() for one in those) == count)


async def waiting(run: Running, request: Mapping[str, Any], seconds: int = 25) -> asyncio.Task[Answer]:
    """A call that waits by now."""
    before = len(run.service.waiters)
    call = asyncio.create_task(run.call("GET", path(request, f"?wait={seconds}")))
    await resting(run, before + 1)
    return call


async def asked(run: Running) -> tuple[Someone, dict[str, Any]]:
    """Somebody who has the question before them."""
    person, request = run.someone(), await run.request()
    await person.open(request["telegram_link"])
    return person, request


@dataclass
class Stream:
    """An open event stream."""

    answer: ClientResponse

    async def block(self) -> dict[str, str]:
        """The fields of the next block; a comment has the name ""."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(10):
            while line := (await self.answer.content.readline()).decode():
                if line == "\n":
                    return fields
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.removeprefix(" ")
        assert not fields, "cut off within a block"
        return {}

    async def event(self) -> tuple[str, Any]:
        """The id and the body of the next block, which must be an event."""
        block = await self.block()
        assert block.pop("event") == "status", block
        assert set(block) == {"id", "data"}
        return block["id"], without_times(json.loads(block["data"]))

    async def ended(self) -> bool:
        """Whether it ends here, in order."""
        return await self.block() == {}


@asynccontextmanager
async def stream(run: Running, request: Mapping[str, Any], **headers: str) -> AsyncIterator[Stream]:
    """The event stream of a request, from after its first block on."""
    given = {"Authorization": f"Bearer {run.api_key}", **STREAM, **headers}
    async with run.http.get(run.url + path(request), headers=given) as answer:
        assert answer.status == 200, await answer.text()
        one = Stream(answer)
        assert 1000 <= int((await one.block())["retry"]) < 3000
        yield one


# ------------------------------------------------------------------ ?wait=


@pytest.mark.parametrize(
    "query",
    [
        *(
            f"wait={value}"
            for value in ("", "x", "0", "31", "-1", "1.5", "1e1", "05", "%2B5", "+5", "%D9%A5")
        ),
        *("wait=5&wait=5", "wait=5&x=1&wait=x", "wait"),
    ],
)
async def test_what_is_no_wait_is_refused(run: Running, query: str) -> None:
    """One whole number from 1 to 30, or none."""
    answer = await run.call("GET", path(await run.request(), f"?{query}"))
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == ["wait"]


async def test_other_parameters_are_ignored_as_ever(run: Running) -> None:
    """With a wait and without."""
    request = await run.request()
    assert (await run.call("GET", path(request, "?x=1&Wait=0"))).status == 200


@pytest.mark.parametrize("press,status", [("Get the code", "sent"), ("Cancel", "cancelled")])
async def test_the_change_is_the_answer(run: Running, press: str, status: str) -> None:
    """No time goes by, and the answer is that of the same call without a wait."""
    person, request = await asked(run)
    calls = [await waiting(run, request), await waiting(run, request, 1)]
    await person.press(press)
    for answer in await asyncio.gather(*calls):
        assert (answer.status, answer.json["status"]) == (200, status)
        assert answer.text == (await run.call("GET", path(request))).text
        assert answer.headers["Cache-Control"] == "no-store"
    assert len(run.service.waiters) == 0


async def test_what_is_final_is_told_at_once(run: Running) -> None:
    """Nobody waits for what can't come."""
    person, request = await asked(run)
    await person.press("Cancel")
    assert (await run.call("GET", path(request, "?wait=30"))).json["status"] == "cancelled"


async def test_without_a_change_the_present_state_is_told(run: Running) -> None:
    """After the wait, and not before."""
    call = await waiting(run, await run.request(), 25)
    run.clock.advance(ms=24_999)
    await run.quiet()
    assert not call.done()
    run.clock.advance(ms=1)
    assert (await call).json["status"] == "pending"


async def test_the_end_of_the_request_is_a_change(run: Running) -> None:
    """At its time."""
    request = await run.request()
    run.clock.advance(seconds=890)
    call = await waiting(run, request)
    run.clock.advance(seconds=10)
    assert (await call).json["status"] == "expired"


async def test_who_waits_is_checked_as_everybody(run: Running) -> None:
    """Unknown requests, other people's, wrong keys; and `HEAD` never waits."""
    other = await run.service.projects.create("Other", "")
    request = await run.request()
    foreign = {"Authorization": f"Bearer {other.api_key}"}
    for headers in ({}, STREAM):
        query = "" if headers else "?wait=5"
        answer = await run.call("GET", path({"request_id": "x" * 16}, query), headers=headers)
        assert is_problem(answer, 404, "request_not_found")
        answer = await run.call("GET", path(request, query), headers=headers | foreign)
        assert is_problem(answer, 404, "request_not_found")
        answer = await run.call("GET", path(request, query), headers=headers | {"Authorization": "Bearer x"})
        assert is_problem(answer, 401, "unauthorized")
        answer = await run.call("HEAD", path(request, query), headers=headers)
        assert (answer.status, answer.text) == (200, "")
        assert answer.headers["Content-Type"] == ("text/event-stream" if headers else "application/json")
    assert len(run.service.waiters) == 0


async def test_a_wait_is_one_read() -> None:
    """However long it takes and however often it looks; a stream too."""
    async with running(status_reads_per_minute=3) as run:
        request = await run.request()
        call = await waiting(run, request)
        for _ in range(20):
            run.service.waiters.wake(request["request_id"])
            await run.quiet()
        async with stream(run, request) as one:
            assert (await one.event())[0] == "pending"
        assert (await run.call("GET", path(request))).status == 200
        assert is_problem(await run.call("GET", path(request, "?wait=5")), 429, "rate_limited")
        assert is_problem(await run.call("GET", path(request), headers=STREAM), 429, "rate_limited")
        call.cancel()


async def test_only_so_many_of_a_key_wait() -> None:
    """Both forms count; other keys and calls that do not wait are unharmed; whoever leaves makes room."""
    async with running(waiters_per_key=2) as run:
        request, other = await run.request(), await run.service.projects.create("Other", "")
        foreign = {"Authorization": f"Bearer {other.api_key}"}
        call = await waiting(run, request)
        async with stream(run, request):
            answer = await run.call("GET", path(request, "?wait=5"))
            assert is_problem(answer, 429, "rate_limited")
            assert int(answer.headers["Retry-After"]) > 0
            assert is_problem(await run.call("GET", path(request), headers=STREAM), 429, "rate_limited")
            assert (await run.call("GET", path(request))).status == 200
            answer = await run.call("GET", path(request, "?wait=5"), headers=foreign)
            assert is_problem(answer, 404, "request_not_found")
        await resting(run, 1)
        second = await waiting(run, request)
        call.cancel()
        await resting(run, 1)
        third = await waiting(run, request)
        run.service.wind_down()
        assert [(await one).status for one in (second, third)] == [200, 200]


async def test_a_caller_that_goes_away_is_forgotten(run: Running) -> None:
    """At once, and its seat is free."""
    request = await run.request()
    seats = run.service.waiters
    head = f"Host: x\r\nAuthorization: Bearer {run.api_key}\r\n"
    wait, events = f"GET {path(request, '?wait=30')}", f"GET {path(request)}"
    for form in (f"{wait} HTTP/1.1\r\n", f"{events} HTTP/1.1\r\nAccept: text/event-stream\r\n"):
        wire = await connect(int(run.url.rsplit(":", 1)[1]))
        await wire.send((form + head + "\r\n").encode())
        await resting(run, 1)
        wire.abort()
        await until(lambda: len(seats) == 0)
        assert not any(seats.alarm._due.values())


async def test_a_caller_that_went_away_before_it_waited_does_not_wait(run: Running) -> None:
    """The connection ends while the key is being looked up."""
    request = await run.request()
    call = (
        f"GET {path(request, '?wait=30')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {run.api_key}\r\n\r\n"
    )
    began: list[str] = []
    authenticate = run.service.waiters.service.authenticate

    async def slowly(key_hash: bytes) -> Caller | None:
        began.append("authenticate")
        await gone.wait()
        return await authenticate(key_hash)

    gone = asyncio.Event()
    run.service.waiters.service.authenticate = slowly  # type: ignore[method-assign]
    wire = await connect(int(run.url.rsplit(":", 1)[1]))
    await wire.send(call.encode())
    await until(lambda: bool(began))
    wire.abort()
    for _ in range(3):  # what reached the service before is known to it by then
        await run.call("GET", "/healthz")
    gone.set()
    await run.quiet()
    assert len(run.service.waiters) == 0


async def test_the_end_of_the_service_answers_who_waits() -> None:
    """The present state, and streams end in order: nothing holds the service up."""
    async with running() as run:
        request = await run.request()
        call = await waiting(run, request)
        given = {"Authorization": f"Bearer {run.api_key}", **STREAM}
        answer = await run.http.get(run.url + path(request), headers=given)
        one = Stream(answer)
        await one.block()
        await one.event()
        run.service.wind_down()
        assert (await call).json["status"] == "pending"
        assert await one.ended()
        late = await run.call("GET", path(request, "?wait=30"))
        assert late.json["status"] == "pending"


async def test_a_store_that_fails_during_a_wait_is_told(tmp_path: Path) -> None:
    """503 for who waits; a stream ends, and is told when it comes back."""
    async with running(f"sqlite:///{tmp_path}/tapcode.db") as run:
        request = await run.request()
        call = await waiting(run, request)
        async with stream(run, request) as one:
            assert (await one.event())[0] == "pending"
            await resting(run, 2)
            (tmp_path / "tapcode.db").rename(tmp_path / "gone")
            run.service.waiters.wake(request["request_id"])
            assert is_problem(await call, 503, "storage_unavailable")
            assert await one.ended()
        (tmp_path / "gone").rename(tmp_path / "tapcode.db")


# ------------------------------------------------------------------ the event stream


async def test_each_change_is_an_event_and_the_last_one_ends_the_stream(run: Running) -> None:
    """The present state at once; the data is the body of the same call."""
    person, request = await asked(run)
    async with stream(run, request) as one:
        headers = one.answer.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert "X-Request-Id" in headers
        assert "RateLimit" in headers
        assert await one.event() == ("pending", {"status": "pending"})
        await person.press("Get the code")
        told = await one.event()
        assert told == ("sent", await run.status(request))
        assert told[1]["subscriber_id"]
        assert await one.ended()


async def test_a_silent_stream_has_a_heartbeat(run: Running) -> None:
    """A comment every 15 seconds, for which the store is not asked."""
    request = await run.request()
    async with stream(run, request) as one:
        await one.event()
        for _ in range(3):
            await resting(run, 1)
            run.clock.advance(seconds=15)
            assert await one.block() == {"": ""}


async def test_a_stream_ends_with_its_request(run: Running) -> None:
    """Time alone is a change here too."""
    request = await run.request()
    run.clock.advance(seconds=890)
    async with stream(run, request) as one:
        await one.event()
        await resting(run, 1)
        run.clock.advance(seconds=10)
        assert await one.event() == ("expired", {"status": "expired"})
        assert await one.ended()


async def test_what_was_seen_is_not_told_again(run: Running) -> None:
    """The state of `Last-Event-ID`; what is new since then is."""
    person, request = await asked(run)
    async with stream(run, request, **{"Last-Event-ID": "pending"}) as one:
        await resting(run, 1)
        await person.press("Get the code")
        assert (await one.event())[0] == "sent"
        assert await one.ended()
    async with stream(run, request, **{"Last-Event-ID": "pending"}) as one:
        assert (await one.event())[0] == "sent"
        assert await one.ended()
    answer = await run.call("GET", path(request), headers=STREAM | {"Last-Event-ID": "sent"})
    assert (answer.status, answer.text, answer.headers["Cache-Control"]) == (204, "", "no-store")
    await person.press("It wasn't me")
    async with stream(run, request, **{"Last-Event-ID": "sent"}) as one:
        assert (await one.event())[0] == "sent-reported"
        assert await one.ended()


async def test_a_stream_takes_no_wait(run: Running) -> None:
    """It waits anyway."""
    answer = await run.call("GET", path(await run.request(), "?wait=5"), headers=STREAM)
    assert is_problem(answer, 400, "validation_failed")
    assert answer.json["errors"][0]["field"] == "wait"


async def test_a_key_that_ended_hears_nothing_more(run: Running) -> None:
    """Its stream ends instead, without a word of the change."""
    person, request = await asked(run)
    project = (await run.service.projects.all())[0]
    async with stream(run, request) as one:
        await one.event()
        await resting(run, 1)
        await run.service.projects.rotate_key(project.id, 0)
        await person.press("Cancel")
        assert await one.ended()


async def test_a_project_that_is_disabled_hears_nothing_more(run: Running) -> None:
    """Found out by the second look."""
    request = await run.request()
    project = (await run.service.projects.all())[0]
    async with stream(run, request) as one:
        await one.event()
        await resting(run, 1)
        await run.service.projects.set_enabled(project.id, False)
        run.clock.advance(seconds=LOOK_SECONDS)
        assert await one.ended()


@pytest.mark.parametrize(
    "accept,stream",
    [
        ("text/event-stream", True),
        ("Text/Event-Stream ; charset=utf-8", True),
        ("text/event-stream, */*;q=0.1", True),
        ("*/*;q=0.1,text/event-stream", True),
        ("text/event-stream;q=0.5, application/json;q=0.4", True),
        ("text/event-stream, */*", True),
        ("", False),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("application/json, text/event-stream", False),
        ("text/event-stream;q=0.5, application/json", False),
        ("text/event-stream;q=0.5, */*", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=nan", False),
        ("text/event-stream;q=2", False),
        ("text/event-streams", False),
        (",;,q=1,;;", False),
    ],
)
def test_which_form_is_wanted(accept: str, stream: bool) -> None:
    """The stream for whoever names it and likes it no less than all else; JSON for everybody else."""
    assert wants_stream(make_mocked_request("GET", "/", {"Accept": accept})) is stream
