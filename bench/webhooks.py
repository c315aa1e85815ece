"""From a webhook to the call of the messenger that brings the code, and `/send`; beside aiogram's own way, in one run.

    python -m bench.webhooks [--folder FOLDER] [--seconds 2] [--rounds 3] [--only open,telegram,max,aiogram,plain,send]

Each webhook is of another person and about another request, so each claims a delivery and commits it: a link that a
subscriber opened (one call of the messenger: the code), or a consent (the answer and the edit of its button besides).
One webhook alone, sixteen written at once, and sixty-four callers that go on as soon as their code has come.

The load and the messenger are this process, the server is another one. The messenger answers at once and checks
nothing: that is what the tests are for, and here it would only take the time that is measured. Rounds are interleaved,
figures are medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import bench.load
from bench.hot import KEY, bare_commit, served
from bench.load import Figures, cpu_seconds, median, raw
from bench.stock import PATH, SECRET, TOKEN
from config.clock import SystemClock, SystemRandomness
from otp import pairing
from otp.model import (
    Channel,
    CodeTerms,
    MessageKind,
    Mode,
    Person,
    Request,
    RequestStatus,
    SentMessage,
    Subscriber,
)
from otp.ports import Tx
from otp.projects import Projects
from storage import open_store
from tests.process import free_port

TERMS: Final = CodeTerms("login", 5, 5, 6)
AT_ONCE: Final = 1_000
PAUSE: Final = 0.02
"""Between webhooks that shall be alone, or so many at once: until what follows the codes is done too."""
ALONE, SOME, MANY = 1, 16, 64
HEADERS: Final = {
    Channel.TELEGRAM: "X-Telegram-Bot-Api-Secret-Token",
    Channel.MAX: "X-Max-Bot-Api-Secret",
}
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PERSON: Final = re.compile(rb'(?:chat_id"?[:=] ?|user_id=)"?(\d+)')


# ------------------------------------------------------------------ the messenger


class Messenger:
    """Both messengers at one address; tells who waits for it that the call with a person's code has come."""

    def __init__(self) -> None:
        self.waiting: dict[int, Callable[[float], None]] = {}
        self.calls = 0

    def call(self, head: bytes, body: bytes) -> dict[str, Any]:
        """Take a call and give its answer."""
        self.calls += 1
        path = head.split(b" ", 2)[1]
        method = path.partition(b"?")[0].rpartition(b"/")[2]
        if method in (b"sendMessage", b"messages") and not head.startswith(b"PUT"):
            now = perf_counter()
            found = _PERSON.search(body if method == b"sendMessage" else path)
            assert found is not None, (path, body)
            person = int(found[1])
            if person in self.waiting:
                self.waiting.pop(person)(now)
            return _message(person, self.calls) if method == b"sendMessage" else _max_message(self.calls)
        if method == b"editMessageText":
            return _message(1, 1)
        return _OTHERS.get(method, {"ok": True, "success": True, "result": True})


def _message(person: int, number: int) -> dict[str, Any]:
    chat = {"id": person, "type": "private", "first_name": "Ann"}
    sender = {"id": 1234567, "is_bot": True, "first_name": "Codes", "username": "bench_bot"}
    message = {"message_id": number, "from": sender, "chat": chat, "date": 1_900_000_000, "text": "123456"}
    return {"ok": True, "result": message}


def _max_message(number: int) -> dict[str, Any]:
    return {"message": {"timestamp": 1, "body": {"mid": f"mid.{number}", "seq": number, "text": "123456"}}}


_ME: Final = {"id": 1234567, "is_bot": True, "first_name": "Codes", "username": "bench_bot"}
_OTHERS: Final[dict[bytes, dict[str, Any]]] = {
    b"getMe": {"ok": True, "result": _ME},
    b"getWebhookInfo": {
        "ok": True,
        "result": {"url": "", "has_custom_certificate": False, "pending_update_count": 0},
    },
    b"me": {"user_id": 7, "username": "id1_bot", "is_bot": True},
    b"subscriptions": {"subscriptions": []},
}


class _Line(asyncio.Protocol):
    """One connection of the server to the messenger."""

    def __init__(self, messenger: Messenger) -> None:
        self._messenger = messenger
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        wanted = int(length[1]) if length else 0
        if not found or len(rest) < wanted:
            return
        answer = json.dumps(self._messenger.call(head, rest)).encode()
        self._buffer = b""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )


# ------------------------------------------------------------------ the load


@dataclass(frozen=True, slots=True)
class Tap:
    """A webhook, and whose code it brings."""

    person: int
    call: bytes


class _Hook(asyncio.Protocol):
    """One connection of the messenger to the server: a webhook, until it is acknowledged and its code has come."""

    def __init__(self, messenger: Messenger, times: list[float]) -> None:
        self._messenger, self._times = messenger, times
        self._buffer = b""
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def call(self, tap: Tap) -> asyncio.Future[None]:
        """Write it; done when both have come."""
        self._done = asyncio.get_running_loop().create_future()
        self._missing = 2
        self._messenger.waiting[tap.person] = self._arrived
        self._began = perf_counter()
        self.transport.write(tap.call)
        return self._done

    def _arrived(self, at: float) -> None:
        self._times.append(at - self._began)
        self._one_less()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(self._buffer.decode())
        self._buffer = b""
        self._one_less()

    def _one_less(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._done is not None:
            self._done.set_result(None)


async def run(  # a round
    messenger: Messenger, port: int, pid: int, taps: Iterator[Tap], *, callers: int, seconds: float
) -> Figures:
    """One round: up to `SOME` callers begin together and wait for each other, more go on by themselves."""
    times: list[float] = []
    loop = asyncio.get_running_loop()
    hooks = [
        (await loop.create_connection(lambda: _Hook(messenger, times), "127.0.0.1", port))[1]
        for _ in range(callers)
    ]
    before, began = cpu_seconds(pid), perf_counter()
    ends = began + seconds

    async def one(hook: _Hook) -> None:
        while perf_counter() < ends:
            await hook.call(next(taps))

    if callers > SOME:
        await asyncio.gather(*(one(hook) for hook in hooks))
    while perf_counter() < ends:
        await asyncio.gather(*(hook.call(next(taps)) for hook in hooks))
        await asyncio.sleep(PAUSE)
    took = perf_counter() - began
    await asyncio.sleep(0.3)  # what follows the codes is theirs too
    used = cpu_seconds(pid) - before
    for hook in hooks:
        hook.transport.close()
    times.sort()
    return Figures(
        len(times) / took,
        used / len(times) * 1e6,
        times[len(times) // 2] * 1e3,
        times[len(times) * 99 // 100] * 1e3,
    )


# ------------------------------------------------------------------ what is there before


def telegram_press(person: int, request_id: str, number: int) -> Tap:
    """The consent as Telegram tells it."""
    chat = {"id": person, "first_name": "Ann", "last_name": "Smith", "username": "ann", "type": "private"}
    sender = {**chat, "is_bot": False, "language_code": "en"}
    del sender["type"]
    rows = [
        [{"text": "Get the code", "callback_data": f"yes:{request_id}"}],
        [{"text": "Cancel", "callback_data": f"no:{request_id}"}],
    ]
    message = {
        "message_id": number,
        "from": _ME,
        "chat": chat,
        "date": 1_900_000_000,
        "text": "Bench\n\nBench may send you codes here; leave with /stop.\n\nPress Cancel if you did not ask for this.",
        "entities": [{"offset": 0, "length": 5, "type": "bold"}],
        "reply_markup": {"inline_keyboard": rows},
    }
    query = {
        "id": str(4_000_000_000_000_000 + number),
        "from": sender,
        "message": message,
        "chat_instance": "-3000000000000000000",
        "data": f"yes:{request_id}",
    }
    return _tap(Channel.TELEGRAM, person, {"update_id": number, "callback_query": query})


def telegram_open(person: int, request_id: str, number: int) -> Tap:
    """A link of a request, opened."""
    chat = {"id": person, "first_name": "Ann", "last_name": "Smith", "username": "ann", "type": "private"}
    sender = {**chat, "is_bot": False, "language_code": "en"}
    del sender["type"]
    message = {
        "message_id": number,
        "from": sender,
        "chat": chat,
        "date": 1_900_000_000,
        "text": f"/start otp_{request_id}",
        "entities": [{"offset": 0, "length": 6, "type": "bot_command"}],
    }
    return _tap(Channel.TELEGRAM, person, {"update_id": number, "message": message})


def max_press(person: int, request_id: str, number: int) -> Tap:
    """The consent as MAX tells it."""
    user = {"user_id": person, "first_name": "Ann", "name": "Ann", "is_bot": False, "last_activity_time": 1}
    recipient = {"chat_id": 0, "chat_type": "dialog", "user_id": person}
    body = {
        "mid": f"mid.q{number}",
        "seq": number,
        "text": "Bench may send you codes here.",
        "attachments": [],
    }
    update = {
        "update_type": "message_callback",
        "timestamp": 1_900_000_000_000,
        "callback": {
            "timestamp": 1_900_000_000_000,
            "callback_id": f"c{number}",
            "payload": f"yes:{request_id}",
            "user": user,
        },
        "message": {"recipient": recipient, "timestamp": 1, "body": body, "sender": user},
        "user_locale": "en",
    }
    return _tap(Channel.MAX, person, update)


def _tap(channel: Channel, person: int, update: dict[str, Any]) -> Tap:
    path = PATH if channel is Channel.TELEGRAM else "/webhooks/max"
    body = json.dumps(update).encode()
    return Tap(person, raw("POST", path, body, {HEADERS[channel]: SECRET}))


Make = Callable[[int, str, int], Tap]
PRESSES: Final[dict[str, tuple[Channel, Make]]] = {
    "open": (Channel.TELEGRAM, telegram_open),
    "telegram": (Channel.TELEGRAM, telegram_press),
    "max": (Channel.MAX, max_press),
}


class Stock:
    """What the rounds use up, made in a database: people who were asked or have subscribed, and their webhooks."""

    def __init__(self, project_id: str, api_key: str) -> None:
        self._project_id = project_id
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._people = count(1_000_000)
        self._randomness = SystemRandomness()
        self.taps: dict[str, list[Tap]] = {}
        self.sends: list[bytes] = []

    async def asked(self, tx: Tx, kind: str) -> None:
        """Some people more who have a request before them."""
        channel, make = PRESSES[kind]
        for _ in range(AT_ONCE):
            number = next(self._people)
            person = Person(channel, number)
            request = Request(
                id=self._randomness.text(16),
                project_id=self._project_id,
                mode=Mode.LIVE,
                channel=None,
                terms=TERMS,
                status=RequestStatus.PENDING,
                created_at=tx.now,
                expires_at=tx.now + 30 * 60_000,
                finished_at=None,
                bound_to=None,
                subscriber_id=None,
                pairing_code=pairing.new_code(self._randomness),
            )
            await tx.add_request(request)
            if kind == "open":
                await self._subscriber(tx, person)
            else:
                shown = SentMessage(self._randomness.text(16), person, MessageKind.QUESTION, request.id)
                await tx.note_opened(request.id, person.channel)
                await tx.add_message(shown, str(number))
            self.taps.setdefault(kind, []).append(make(number, request.id, number))

    async def subscribed(self, tx: Tx) -> None:
        """Some subscribers more to send codes to."""
        for _ in range(AT_ONCE):
            sub = await self._subscriber(tx, Person(Channel.TELEGRAM, next(self._people)))
            body = json.dumps({"subscriber_id": sub.id}).encode()
            self.sends.append(raw("POST", "/v1/otp/send", body, self._headers))

    async def _subscriber(self, tx: Tx, person: Person) -> Subscriber:
        sub = Subscriber(
            self._randomness.uuid(),
            self._project_id,
            Mode.LIVE,
            person,
            "en",
            subscribed=True,
            wrong_guesses=0,
            locked=False,
        )
        await tx.add_subscriber(sub)
        return sub


async def fill(database: Path, kinds: set[str], most: int) -> Stock:
    """A project, and so much of each kind."""
    store = await open_store(f"sqlite:///{database}", SystemClock())
    made = await Projects(store, SystemRandomness(), Mode.LIVE).create("Bench", "")
    stock = Stock(made.project.id, made.api_key)
    for _ in range(0, most, AT_ONCE):
        for kind in kinds & PRESSES.keys():
            await store.write(lambda tx, kind=kind: stock.asked(tx, kind))  # type: ignore[misc]
        if "send" in kinds:
            await store.write(stock.subscribed)
    await store.close()
    return stock


# ------------------------------------------------------------------ the table


def settings(folder: Path, port: int, messenger: str, kinds: set[str], log: str) -> dict[str, str]:
    """Of the service, with the messengers that are measured."""
    both = {
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'webhooks.db'}",
        "SECRET_KEYS": KEY,
        "LOG_LEVEL": log,
        "PUBLIC_URL": "https://bench.example",
        "WEBHOOKS_REGISTER_ON_START": "false",
        "REQUESTS_PER_MINUTE": "1000000",
    }
    if "max" in kinds:
        both |= {
            "MAX_BOT_TOKEN": "bench-" + "x" * 40,
            "MAX_API_URL": messenger,
            "MAX_WEBHOOK_SECRET": SECRET,
        }
    if kinds & {"telegram", "open", "send"}:
        both |= {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": messenger,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
        }
    return both


async def measure(folder: Path, seconds: float, rounds: int, kinds: set[str], log: str) -> None:
    """Print a table."""
    stock = await fill(folder / "webhooks.db", kinds, int(seconds * rounds * 4_000))
    messenger = Messenger()
    server = await asyncio.get_running_loop().create_server(lambda: _Line(messenger), "127.0.0.1", 0)
    at = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    servers: dict[str, tuple[int, int, Iterator[Tap]]] = {}
    with ExitStack() as stack:
        port, pid = free_port(), 0
        if kinds & {*PRESSES, "send"}:
            pid = stack.enter_context(
                served("main.py", "serve", port=port, **settings(folder, port, at, kinds, log))
            )
        for kind, taps in stock.taps.items():
            servers[kind] = port, pid, iter(taps)
        for kind in kinds & {"aiogram", "plain"}:
            where = free_port()
            other = stack.enter_context(served("-m", "bench.stock", kind, str(where), at, port=where))
            servers[kind] = where, other, (telegram_press(n, "x" * 16, n) for n in count(10_000_000))
        await asyncio.sleep(1)
        print(f"bare durable update: {bare_commit(folder):.2f} ms")
        found: dict[tuple[int, str], list[Figures]] = {}
        sends = iter(stock.sends)
        for _ in range(rounds):
            for callers in (ALONE, SOME, MANY):
                for kind, (where, whose, mine) in sorted(servers.items()):
                    figures = await run(messenger, where, whose, mine, callers=callers, seconds=seconds)
                    found.setdefault((callers, kind), []).append(figures)
            if stock.sends:
                figures = await bench.load.run(
                    port, pid, sends, callers=MANY, seconds=seconds, wanted=b"expires_in"
                )
                found.setdefault((MANY, "send"), []).append(figures)
        for (callers, kind), some in sorted(found.items()):
            one = median(some)
            rate = f"{one.rate:6.0f}/s, " if callers == MANY else ""
            print(
                f"{callers:4} {'callers' if callers == MANY else 'at once'}: {kind:8} "
                f"{rate}CPU {one.cpu_us:.0f} us, p50 {one.p50_ms:.2f} ms, p99 {one.p99_ms:.2f} ms"
            )
        print(f"bare durable update: {bare_commit(folder):.2f} ms")
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="open,telegram,max,aiogram,plain,send")
    parser.add_argument("--log", default="info")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as made:
        asyncio.run(measure(Path(made), given.seconds, given.rounds, set(given.only.split(",")), given.log))
