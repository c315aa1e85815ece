"""Several replicas of the real program over one PostgreSQL, behind one address, and what befalls them.

A database server of its own, which can be restarted; a wire between it and each replica, which can be cut or held up.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from sandbox.simulator import Simulator
from tests.history import Broken, History, Life
from tests.listening import all_told, listening
from tests.pgwire import PgWire
from tests.postgres import private_server, restored
from tests.process import ROOT, Outside, free_port, outside, tapcode
from tests.relay import Relay
from tests.rules import broken
from tests.torture import ORPHAN_SECONDS, finish, work
from tests.torture_load import Load, now


@dataclass
class Fleet:
    """The replicas, their wires, their database and the load on them."""

    replicas: list[Outside]
    wires: list[PgWire]
    server: Any
    url: str
    load: Load

    def routes(self, *without: Outside) -> None:
        self.load.relay.ports = [one.port for one in self.replicas if one not in without]

    async def kill(self, rng: Random) -> None:
        """One replica is killed, and started again after a while."""
        one = rng.choice(self.replicas)
        await one.kill()
        await asyncio.sleep(rng.uniform(0.5, 3))
        await one.start()

    async def hang(self, rng: Random, seconds: float) -> None:
        """One replica stands still; whoever sends it calls notices that after a second."""
        one = rng.choice(self.replicas)
        assert one.process is not None
        one.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1)
        self.routes(one)
        await asyncio.sleep(seconds)
        one.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(1)
        self.routes()

    async def cut(self, rng: Random) -> None:
        """One replica loses all its connections to the database, and gets none for a while."""
        wire = rng.choice(self.wires)
        wire.fate = "refuse"
        await wire.cut()
        await asyncio.sleep(rng.uniform(0.5, 4))
        wire.fate = "pass"

    async def hold(self, rng: Random, seconds: float) -> None:
        """Between one replica and the database nothing gets through, and nobody is told."""
        wire = rng.choice(self.wires)
        wire.hold()
        await asyncio.sleep(seconds)
        wire.release()

    async def lose_a_commit(self, rng: Random) -> None:
        """The connection breaks around a commit."""
        rng.choice(self.wires).lose_commits = rng.choice(("before", "after"))
        await asyncio.sleep(0.3)

    async def restart_database(self) -> None:
        """It is shut down at once, as in a crash, and comes again."""
        pid = self.server.get_pid()
        os.kill(pid, signal.SIGQUIT)
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110  # it is not our child
            await asyncio.sleep(0.05)
        with suppress(subprocess.CalledProcessError):  # its children may still go
            await asyncio.to_thread(self.server.ensure_postgres_running)
            return
        await asyncio.sleep(1)
        await asyncio.to_thread(self.server.ensure_postgres_running)


@asynccontextmanager
async def fleet(
    folder: Path,
    size: int,
    *,
    wired: bool = True,
    root: str = str(ROOT),
    dump: str = "",
    **settings: str,
) -> AsyncIterator[Fleet]:
    """Start everything; without wires nothing stands between the replicas and the database, or slows them down.

    `root`: the program that they run; `dump`: what the database holds before, as SQL. A program with one is
    an earlier release, of which is asked what it knows.
    """
    async with AsyncExitStack() as stack:
        server, url = stack.enter_context(private_server())
        if dump:
            await restored(url, dump)
        wires = [await stack.enter_async_context(PgWire(url)) for _ in range(size)]
        relay = Relay()
        await relay.start()
        stack.push_async_callback(relay.close)
        (folder / "0").mkdir()
        urls = [wire.url if wired else url for wire in wires]
        grown = not dump
        hears = {"EVENTS_ALLOW_PRIVATE": "true"} if grown else {}
        given = {"DATABASE_URL": urls[0], **hears, **settings}
        first = await stack.enter_async_context(outside(folder / "0", between=None, root=root, **given))
        replicas = [first]
        for number, there in enumerate(urls[1:], 1):
            (folder / str(number)).mkdir()
            other = Outside(
                first.demo, "", first.http, first.api_key, folder / str(number), {}, root=Path(root)
            )
            other.url = f"http://127.0.0.1:{free_port()}"
            other.environment = {**first.environment, "DATABASE_URL": there, "PORT": str(other.port)}
            await other.start()
            stack.push_async_callback(other.kill)
            replicas.append(other)
        made = tapcode(
            folder, "project", "create", "--name", "Another", "--description", "", "--json", DATABASE_URL=url
        )
        relay.ports = [one.port for one in replicas]
        first.demo._service_url = relay.url
        sims: list[Simulator] = [
            sim
            for sim in (first.demo.telegram, first.demo.max)
            if first.environment[f"{sim.channel.upper()}_BOT_TOKEN"]
        ]
        history = History(budget=int(settings.get("GUESS_BUDGET", "50")), lives=[Life(now())])
        load = Load(first, relay, sims, json.loads(made.stdout)["api_key"], history, grown=grown)
        for sim in sims:
            await sim.until(partial(_registered, sim))
            for _ in range(8):
                load.player(sim)
        yield Fleet(replicas, wires, server, url, load)


def _registered(sim: Simulator) -> bool:
    return bool(sim.webhooks)


async def through(
    made: Fleet, seed: str, days: list[Callable[[Fleet, Random], Coroutine[Any, Any, None]]]
) -> list[Broken]:
    """Bad days under load, one after the other; then everybody finishes what they began, and the record is checked."""
    load = made.load
    async with AsyncExitStack() as stack:
        ear = await stack.enter_async_context(listening(load.history, load.one, seed)) if load.grown else None
        await _under_load(made, seed, days)
        if ear is not None:
            await all_told(load, ear)
    load.history.messages = load.all_messages()
    return broken(load.history)


async def _under_load(
    made: Fleet, seed: str, days: list[Callable[[Fleet, Random], Coroutine[Any, Any, None]]]
) -> None:
    load, rng = made.load, Random(seed)  # noqa: S311
    watcher = asyncio.create_task(load.watch())
    workers = [asyncio.create_task(work(load, Random(f"{seed}:{n}"))) for n in range(8)]  # noqa: S311
    load.up.set()
    try:
        for day in days:
            await asyncio.sleep(1)
            await day(made, rng)
        await asyncio.sleep(2)
        load.stopping = True
        for ended in await asyncio.gather(*workers, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended
        await asyncio.sleep(ORPHAN_SECONDS)
        await finish(load, seed)
    finally:
        load.stopping = True
        for task in (watcher, *workers):
            task.cancel()
        with suppress(Exception):
            await asyncio.gather(watcher, *workers, return_exceptions=True)
