"""The real program at SIGTERM: what is in flight ends, nothing new comes in, nothing is lost."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import pytest

from sandbox.wire import Fault
from tests.killing import (
    SEND,
    asked,
    delivery,
    locked,
    messages,
    one,
    press,
    until,
    until_somebody_waits_to_commit,
)
from tests.process import Outside
from tests.running import Answer

__all__ = ["one"]  # the fixture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def terminate(one: Outside) -> asyncio.Future[int]:
    """SIGTERM; the exit code, once it is there."""
    assert one.process is not None
    one.process.send_signal(signal.SIGTERM)
    return asyncio.ensure_future(one.process.wait())


async def refuses(one: Outside) -> bool:
    """Whether a new connection is refused."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", one.port)
    except ConnectionError:
        return True
    writer.close()
    return False


async def until_refusing(one: Outside) -> None:
    """Until the service has heard the signal."""
    for _ in range(1000):
        if await refuses(one):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never refused a connection")


async def read_everything(one: Outside) -> None:
    """Until the service has read what was sent on connections of before: they are taken in order."""
    async with one.http.get(f"{one.url}/healthz", headers={"Connection": "close"}) as answer:
        assert answer.status == 200


class Upload:
    """A body that comes in two parts."""

    def __init__(self, one: Outside, path: str, body: dict[str, Any]) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self._content = json.dumps(body).encode()
        self.answer: asyncio.Future[Answer] = asyncio.ensure_future(self._send(one, path))

    async def _parts(self) -> AsyncIterator[bytes]:
        half = len(self._content) // 2
        yield self._content[:half]
        self.begun.set()
        await self.go_on.wait()
        yield self._content[half:]

    async def _send(self, one: Outside, path: str) -> Answer:
        headers = {
            "Authorization": f"Bearer {one.api_key}",
            "Content-Type": "application/json",
            "Content-Length": str(len(self._content)),
        }
        async with one.http.post(one.url + path, data=self._parts(), headers=headers) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.text())


async def test_a_body_on_its_way_at_sigterm_is_taken(one: Outside) -> None:
    """The call was begun before the signal, so it is answered as any other."""
    upload = Upload(one, "/v1/otp/request", {"purpose": "p" * 32})
    await upload.begun.wait()
    await read_everything(one)
    ended = terminate(one)
    await until_refusing(one)
    upload.go_on.set()
    answer = await upload.answer
    assert answer.status == 200, answer.text
    assert await ended == 0
    await one.start()
    assert (await one.status(answer.json))["status"] == "pending"


async def test_a_body_that_never_comes_does_not_hold_up_the_end(one: Outside) -> None:
    """It is given up after ten seconds, as always."""
    upload = Upload(one, "/v1/otp/request", {"purpose": "p" * 32})
    await upload.begun.wait()
    await read_everything(one)
    async with asyncio.timeout(25):
        assert await terminate(one) == 0
    upload.go_on.set()
    assert (await upload.answer).status == 400


async def test_twenty_calls_in_flight_end(one: Outside) -> None:
    """Sends at the messenger, guesses and statuses behind a busy store, an upload: all are answered 200, once, for good."""
    people = [one.someone("max") for _ in range(8)]
    subs = [await one.subscriber(person) for person in people]
    codes, request = messages(one), await one.request()
    one.demo.max.faults.append(Fault(SEND, times=8, delay=3))
    sends = [
        asyncio.ensure_future(one.call("POST", "/v1/otp/send", {"subscriber_id": sub, "purpose": "pay"}))
        for sub in subs
    ]
    await one.demo.max.until(lambda: sum(call.status is None for call in one.demo.max.calls) == 8)
    with locked(one):
        others = [
            asyncio.ensure_future(one.call("POST", "/v1/otp/verify", {"subscriber_id": sub, "code": code}))
            for sub, code in zip(subs[:6], codes[:6], strict=True)
        ]
        await until_somebody_waits_to_commit(one)  # from here on nobody gets at the store
        path = f"/v1/otp/request/{request['request_id']}/status"
        others += [asyncio.ensure_future(one.call("GET", path)) for _ in range(5)]
        upload = Upload(one, "/v1/otp/request", {"purpose": "p" * 32})
        await upload.begun.wait()
        await read_everything(one)
        ended = terminate(one)
        await until_refusing(one)
        assert not any(task.done() for task in [*sends, *others, upload.answer])
    upload.go_on.set()
    answers = await asyncio.gather(*sends, *others, upload.answer)
    assert [answer.status for answer in answers] == [200] * 20
    assert await ended == 0
    await one.start()
    assert len(messages(one)) == 16
    used = [(await one.verify(sub, code))["verified"] for sub, code in zip(subs, codes, strict=True)]
    assert used == [False] * 6 + [True] * 2
    sent = [call for call in one.demo.max.calls if call.done and call.method == SEND][-8:]
    for call in sent:
        person = next(at for at, one_of in enumerate(people) if one_of.user_id == int(call.params["user_id"]))
        assert await one.verify(subs[person], call.body["text"].split("\n")[0], purpose="pay") == {
            "verified": True
        }
    assert (await one.status(answers[-1].json))["status"] == "pending"


async def test_who_waits_for_a_status_does_not_hold_up_the_end(one: Outside) -> None:
    """A call that waits is told the present state, a stream ends in order, long before their time; the rest goes on."""
    request = await one.request()
    path = f"/v1/otp/request/{request['request_id']}/status"
    headers = {"Authorization": f"Bearer {one.api_key}", "Accept": "text/event-stream"}
    wait = asyncio.ensure_future(one.call("GET", f"{path}?wait=30"))
    async with one.http.get(one.url + path, headers=headers) as stream:
        while not (await stream.content.readline()).startswith(b"data:"):
            pass
        await read_everything(one)
        async with asyncio.timeout(12):
            ended = terminate(one)
            assert (await wait).json["status"] == "pending"
            assert await stream.content.read() == b"\n"
            assert await ended == 0


async def test_a_tap_that_waits_for_another_attempt_is_sent_after_the_restart(one: Outside) -> None:
    """Once, for each that waited; and a send that waits is told that nothing was sent, and nothing is."""
    taps = [await asked(one) for _ in range(3)]
    sub = await one.subscriber(one.someone("max"))
    one.demo.max.faults.append(Fault(SEND, times=4, retry_after=5))
    send = asyncio.ensure_future(one.call("POST", "/v1/otp/send", {"subscriber_id": sub}))
    for person, _ in taps:
        press(person, "Get the code")
    await until(lambda: states(one) == ["accepted", *["claimed"] * 4])
    assert await terminate(one) == 0
    assert ((await send).status, (await send).json["code"]) == (503, "messenger_unavailable")
    assert len(messages(one)) == 1
    await one.start()
    await until(lambda: states(one) == [*["accepted"] * 4, "refused"])
    await one.quiet()
    assert len(messages(one)) == 4
    assert [len(person.codes) for person, _ in taps] == [1, 1, 1]
    assert [(await one.status(request))["status"] for _, request in taps] == ["sent"] * 3
    assert delivery(one)[0] in ("accepted", "refused")


def states(one: Outside) -> list[str]:
    """The states of all deliveries."""
    with closing(sqlite3.connect(f"file:{one.database}?mode=ro", uri=True)) as database:
        return sorted(row[0] for row in database.execute("SELECT state FROM deliveries").fetchall())
