"""What the tests of kills and of the end stand on: the real program with MAX alone, its file, and a wire that can kill."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiohttp import ClientTimeout

from tests.process import Outside, outside
from tests.relay import Relay, Trap
from tests.running import Someone
from tests.torture_load import code_in

SEND = "POST /messages"


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Outside]:
    """MAX alone: it starts in a third of the time, and the steps are the same ones."""
    async with outside(tmp_path, TELEGRAM_BOT_TOKEN="") as made:
        await made.demo.max.until(lambda: bool(made.demo.max.webhooks))
        yield made


async def asked(one: Outside) -> tuple[Someone, dict[str, Any]]:
    """A person who is asked whether they want the code."""
    person, request = one.someone("max"), await one.request()
    await person.open(request["max_link"])
    return person, request


def press(person: Someone, label: str) -> None:
    """Press without waiting for anything."""
    message = next(
        one for one in reversed(person.screen) if any(row[0].label.startswith(label) for row in one.buttons)
    )
    row = next(at for at, row in enumerate(message.buttons) if row[0].label.startswith(label))
    person.sim.press(person.user_id, message.id, row, 0)


def delivery(one: Outside) -> tuple[str, int]:
    """State and tries of the newest delivery, as the file tells."""
    with closing(sqlite3.connect(f"file:{one.database}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "SELECT state, tries FROM deliveries ORDER BY claimed_at DESC LIMIT 1"
        ).fetchall()
    return rows[0] if rows else ("none", 0)


async def until(condition: Any, seconds: float = 40) -> None:
    """Until something is true of the program's files, or of what it answers."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it never came"
        await asyncio.sleep(0.02)


def messages(one: Outside) -> list[str]:
    """The codes that are in chats, by the messenger's own record."""
    return [str(code_in(call)) for call in one.demo.max.calls if code_in(call) and call.done]


@contextmanager
def locked(one: Outside) -> Iterator[None]:
    """Nobody can commit: another program holds the file."""
    with closing(sqlite3.connect(one.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


async def until_somebody_waits_to_commit(one: Outside) -> None:
    """Behind a commit that waits for the file, readiness waits too."""
    with suppress(TimeoutError):
        while True:
            async with one.http.get(f"{one.url}/readyz", timeout=ClientTimeout(total=0.5)) as answer:
                await answer.read()


@asynccontextmanager
async def relayed(one: Outside) -> AsyncIterator[Relay]:
    """The messenger's updates and the site's calls go over a wire that can kill."""
    relay, url = Relay(one.port), one.url
    await relay.start()
    one.demo._service_url = one.url = relay.url
    yield relay
    one.demo._service_url = one.url = url
    await relay.close()


async def killed_at(one: Outside, relay: Relay, trap: tuple[str, Any], doing: Any) -> Any:
    """What `doing` comes to when the process dies at an answer."""
    struck, process = asyncio.Event(), one.process
    assert process is not None

    def strike() -> None:
        process.kill()
        struck.set()

    relay.trap = Trap(trap[0], trap[1], strike)
    task = asyncio.ensure_future(doing) if doing is not None else None
    await asyncio.wait_for(struck.wait(), 20)
    await one.kill()
    return (await asyncio.gather(task, return_exceptions=True))[0] if task is not None else None
