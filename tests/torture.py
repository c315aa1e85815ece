"""Kills the real service under load, again and again, and checks that every rule held.

    python -m tests.torture --rounds 200

A round is one life of the process: load, a kill at some moment, a restart over the same files. Some rounds aim at a certain
moment (see `KILLS`), and some restarts are killed as well. A world is a series of rounds over one database; at its end
everybody finishes what they began, a webhook hears of all that happened, and the whole record is checked by `tests.rules`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from otp.codes import KeyRing
from sandbox.wire import Fault
from tests import leaks, torture_load
from tests.history import Broken, Call, History, Life
from tests.listening import all_told, listening
from tests.postgres import private_server
from tests.process import Outside, outside, tapcode
from tests.relay import Relay, Trap
from tests.rules import broken
from tests.torture_load import DOINGS, Load, Player, code_in, now

WORKERS = 10
SEND = "sendMessage|POST /messages"
ORPHAN_SECONDS = 26
"""An attempt without a result is unknown after 20 seconds, and the sweep that finds it comes every five."""
ROUNDS_OF_A_WORLD = 16
WORLDS: Sequence[dict[str, str]] = (
    {},
    {"TELEGRAM_BOT_TOKEN": ""},  # starts three times as fast
    {"GUESS_BUDGET": "4"},
    {"TELEGRAM_BOT_TOKEN": "", "GUESS_BUDGET": "4"},
)


@dataclass
class Report:
    """What came out of a world."""

    history: History
    broken: list[Broken]
    kills: Counter[str]


# ------------------------------------------------------------------ when to kill


async def _anytime(_load: Load, rng: Random) -> None:
    """At a random moment."""
    await asyncio.sleep(rng.uniform(0.05, 2))


async def _held(load: Load, rng: Random) -> None:
    """While a code is at the messenger, before it takes effect; later it does, or never."""
    await _at_messenger(load, rng, Fault(SEND, times=8, hold=asyncio.Event(), drop=rng.random() < 0.5))


async def _taken(load: Load, rng: Random) -> None:
    """After a code took effect, and before its answer."""
    await _at_messenger(load, rng, Fault(SEND, times=8, hold=asyncio.Event(), drop=True, when="after"))


async def _at_messenger(load: Load, rng: Random, fault: Fault) -> None:
    sim = rng.choice(load.sims)
    known = len(sim.calls)
    sim.faults.append(fault)
    with suppress(TimeoutError):
        await sim.until(
            lambda: any(
                code_in(call) and (call.done if fault.when == "after" else call.status is None)
                for call in sim.calls[known:]
            ),
            2.5,
        )
    await asyncio.sleep(rng.choice((0, 0.05, 0.3)))


async def _answered(load: Load, rng: Random) -> None:
    """Directly after a code took effect and its answer was given."""
    sim = rng.choice(load.sims)
    known = len(sim.calls)
    with suppress(TimeoutError):
        await sim.until(lambda: any(call.done and code_in(call) for call in sim.calls[known:]), 2.5)
    await asyncio.sleep(rng.choice((0, 0.001, 0.003)))


async def _waiting(load: Load, rng: Random) -> None:
    """While codes wait for another attempt, as the messenger asked for patience."""
    sim = rng.choice(load.sims)
    sim.faults.append(Fault(SEND, times=6, retry_after=2))
    await asyncio.sleep(rng.uniform(0.5, 2.5))


def _trap(path: str, when: Any) -> Callable[[Load, Random], Coroutine[Any, Any, None]]:
    async def at_answer(load: Load, _rng: Random) -> None:
        struck, process = asyncio.Event(), load.one.process
        assert process is not None

        def strike() -> None:
            with suppress(ProcessLookupError):
                process.kill()
            struck.set()

        load.relay.trap = Trap(path, when, strike)
        with suppress(TimeoutError):
            await asyncio.wait_for(struck.wait(), 2.5)

    return at_answer


KILLS: dict[str, Callable[[Load, Random], Coroutine[Any, Any, None]]] = {
    "anytime": _anytime,
    "held at the messenger": _held,
    "taken, not answered": _taken,
    "answered by the messenger": _answered,
    "waiting for an attempt": _waiting,
    "before the webhook's 200": _trap("/webhooks/", "before"),
    "after the webhook's 200": _trap("/webhooks/", "after"),
    "before a call's 200": _trap("/v1/", "before"),
    "after a call's 200": _trap("/v1/", "after"),
}


# ------------------------------------------------------------------ a world


class World:
    """One database and its rounds."""

    def __init__(self, load: Load, seed: str) -> None:
        self._load = load
        self._seed = seed
        self.kills: Counter[str] = Counter()

    async def rounds(self, count: int) -> None:
        """Load, kill and restart."""
        workers = [asyncio.create_task(work(self._load, Random(f"{self._seed}:{n}"))) for n in range(WORKERS)]  # noqa: S311
        try:
            for number in range(count):
                rng = Random(f"{self._seed}:round:{number}")  # noqa: S311
                how = rng.choice(list(KILLS)) if number % 3 else "anytime"
                await asyncio.sleep(rng.uniform(0.2, 0.8))
                await KILLS[how](self._load, rng)
                await self._kill(how)
                if rng.random() < 0.25:
                    await self._kill_while_starting(rng)
                await self._start()
        except BaseException:
            for worker in workers:
                worker.cancel()
            raise
        finally:
            self._load.stopping = True
            ended = await asyncio.gather(*workers, return_exceptions=True)
        for one in ended:
            if isinstance(one, BaseException):
                raise one

    async def _kill(self, how: str) -> None:
        self._load.up.clear()
        await self._load.one.kill()
        self._load.relay.trap = None
        life = self._load.history.lives[-1]
        life.ended, life.how = now(), how
        self.kills[how] += 1
        for sim in self._load.sims:
            for fault in sim.faults:
                fault.times = 0
                if fault.hold is not None:
                    fault.hold.set()
            sim.faults.clear()

    async def _kill_while_starting(self, rng: Random) -> None:
        self._load.history.lives.append(Life(now()))
        await self._load.one.start_and_kill(rng.uniform(0, 1))
        await self._kill("while starting")

    async def _start(self) -> None:
        self._load.history.lives.append(Life(now()))
        await self._load.one.start()
        self._load.up.set()

    async def finish(self) -> None:
        """Everybody finishes what they began; nobody may be left without a way. Then everything is tried once more."""
        died = max((life.ended or 0 for life in self._load.history.lives), default=0)
        await asyncio.sleep(max(0, died / 1000 + ORPHAN_SECONDS - now() / 1000))
        await finish(self._load, self._seed)


async def work(load: Load, rng: Random) -> None:
    """What one of many does, until everybody stops."""
    while not load.stopping:
        await load.up.wait()
        await rng.choice(DOINGS)(load, rng)


async def finish(load: Load, seed: str) -> None:
    """Everybody finishes what they began; nobody may be left without a way. Then everything is tried once more."""
    gate = asyncio.Semaphore(6)
    await insisted(load)
    requests = [one for one in load.history.of("request") if one.status == 200]

    async def one_by_one(request: Call) -> None:
        async with gate:
            if not await _finished(load, request):
                load.history.stuck.append(request.tag)

    await asyncio.gather(*map(one_by_one, requests))
    await load.one.quiet()
    for request in requests:
        await load.status(request.answer["request_id"])
    for number in range(60):
        await torture_load.tries_old(load, Random(f"{seed}:end:{number}"))  # noqa: S311


async def insisted(load: Load) -> None:
    """Whoever gave a call a key makes it again until it is answered."""
    until = now() + 1000 * ORPHAN_SECONDS

    async def one_by_one(call: Call) -> None:
        while not call.status:
            if now() > until:
                load.history.errors.append(f"no answer, however often it was asked for: {call}")
                return
            await load.make(call)
            await asyncio.sleep(0.5)

    await asyncio.gather(*[one_by_one(call) for call in load.history.calls if call.key and not call.status])


async def _finished(load: Load, request: Call) -> bool:
    """Whether a request has its end, after whoever it may belong to did what the screen offers."""
    request_id = request.answer["request_id"]
    names = [act.person for act in load.history.acts if act.subject == request_id]
    players = [player for name in dict.fromkeys(names) for player in load.players if player.name == name]
    if (await load.status(request_id)).answer.get("status") != "pending":
        return True
    for player in players or [load.player(load.sims[0])]:
        for _ in range(3):
            await _goes_on(load, player, request)
            for _ in range(10):
                if (await load.status(request_id)).answer.get("status") != "pending":
                    return True
                await asyncio.sleep(0.05)
    return False


async def _goes_on(load: Load, player: Player, request: Call) -> None:
    """Open the link, and press what the bot offers, which may be Unlock after "Send again"."""
    about = request.answer["request_id"]
    seen, sent = len(load.codes(request.tag)), len(player.sim.chat(player.user_id))
    load.open(player, request)
    if not await load.until(
        player,
        lambda: (
            len(load.codes(request.tag)) > seen
            or any(one.author == "bot" for one in player.sim.chat(player.user_id)[sent:])
        ),
    ):
        return
    for _ in range(3):
        found = player.buttons("again", "unlock", "yes", about=about)
        if not found or len(load.codes(request.tag)) > seen:
            return
        load.press(player, *found[0])
        await load.until(player, partial(_is_new, load, player, request, seen, found))


def _is_new(load: Load, player: Player, request: Call, seen: int, shown: object) -> bool:
    """Whether there is a code more than `seen`, or other buttons than those that were `shown`."""
    now_shown = player.buttons("again", "unlock", "yes", about=request.answer["request_id"])
    return len(load.codes(request.tag)) > seen or now_shown != shown


async def torture(folder: Path, rounds: int, seed: str, store: str = "sqlite", **settings: str) -> Report:
    """One world, from its first start to the check of its record; `store`: `sqlite` or `postgres`."""
    with ExitStack() as stack:
        if store == "postgres":
            _, settings["DATABASE_URL"] = stack.enter_context(private_server())
        return await _world(folder, rounds, seed, settings)


async def _world(folder: Path, rounds: int, seed: str, settings: dict[str, str]) -> Report:
    url = settings.get("DATABASE_URL")
    database = {"DATABASE_URL": url} if url else {}
    made = tapcode(
        folder, "project", "create", "--name", "Another", "--description", "", "--json", **database
    )
    async with outside(folder, between=None, EVENTS_ALLOW_PRIVATE="true", **settings) as one:
        relay = Relay(one.port)
        await relay.start()
        one.demo._service_url = relay.url
        sims = [
            sim
            for sim in (one.demo.telegram, one.demo.max)
            if one.environment[f"{sim.channel.upper()}_BOT_TOKEN"]
        ]
        history = History(budget=int(settings.get("GUESS_BUDGET", "50")), lives=[Life(now())])
        load = Load(one, relay, list(sims), json.loads(made.stdout)["api_key"], history)
        watcher = asyncio.create_task(load.watch())
        try:
            for sim in sims:
                await sim.until(lambda: bool(sim.webhooks))  # noqa: B023 - awaited at once
                for _ in range(8):
                    load.player(sim)
            async with listening(load.history, one, seed) as listener:
                load.up.set()
                world = World(load, seed)
                await world.rounds(rounds)
                await world.finish()
                await one.quiet()
                await all_told(load, listener)
            await asyncio.sleep(0.05)  # the watcher's last look
            hidden, codes = _secrets(one, load), {message.digits for message in load.all_messages()}
            hidden.add(listener.secret)
            if url:
                history.leaks += [leak async for leak in leaks.in_postgres(url, hidden, codes)]
            else:
                history.leaks += leaks.in_database(one.database, hidden, codes)  # with its write-ahead log
            if (code := await one.stop()) != 0:
                history.errors.append(f"exit code {code}")
        finally:
            watcher.cancel()
            await relay.close()
        _look_back(load, hidden)
    return Report(history, broken(history), world.kills)


def _secrets(one: Outside, load: Load) -> set[str]:
    """Everything that must be written nowhere: keys, tokens, the registered secrets and those that could be derived."""
    keys = one.environment["SECRET_KEYS"].split(",")
    derived = KeyRing(keys).webhook_secrets("telegram", one.demo.telegram_token.partition(":")[0])
    registered = [hook.secret for sim in load.sims for hook in sim.webhooks if hook.secret]
    tokens = [one.demo.telegram_token, one.demo.max_token]
    return {*keys, *derived, *registered, *tokens, one.api_key, load.foreign_key}


def _look_back(load: Load, hidden: set[str]) -> None:
    """Complete the record with what the chats, the log and the database tell."""
    one, history = load.one, load.history
    history.messages = load.all_messages()
    codes = {message.digits for message in history.messages}
    log = one.log
    bodies = [*load.bodies, *(heard.body for heard in history.heard)]
    history.leaks += [*leaks.in_log(log, hidden, codes), *leaks.in_bodies(bodies, hidden, codes)]
    if one.database.exists():
        history.leaks += leaks.in_database(one.database, hidden, codes)
    history.errors += [
        line for line in log.splitlines() if not line.startswith("{") or '"level":"error"' in line
    ]
    history.errors += [f"{sim.channel}: {violation}" for sim in load.sims for violation in sim.violations]


# ------------------------------------------------------------------ the command


def summary(report: Report) -> str:
    """What happened, in a few lines."""
    history = report.history
    calls = Counter(call.kind if call.status else f"{call.kind} (lost)" for call in history.calls)
    acts = Counter(act.verb for act in history.acts)
    took = sum(message.took for message in history.messages)
    right = sum(call.verified for call in history.calls)
    wrong = sum(call.evaluated_wrong for call in history.calls)
    keyed = [call for call in history.calls if call.key]
    taken_back = Counter(f"{call.kind} {call.status}" for call in history.of("cancel", "revoke"))
    types = Counter(heard.type for heard in history.events.values())
    return "\n".join(
        [
            f"  kills     {sum(report.kills.values())}: {_counted(report.kills)}",
            f"  calls     {len(history.calls)}: {_counted(calls)}",
            f"  acts      {len(history.acts)}: {_counted(acts)}",
            f"  messages  {len(history.messages)} code messages, {took} of them in a chat",
            f"  guesses   {right} right, {wrong} wrong",
            f"  keys      {len(keyed)} calls, made {sum(len(call.tries) for call in keyed)} times",
            f"  taken back {_counted(taken_back)}",
            f"  events    {len(history.events)} heard {len(history.heard)} times: {_counted(types)}",
        ]
    )


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


async def run(rounds: int, seed: str, store: str = "sqlite") -> int:
    """All worlds; the number of broken rules."""
    found, done, number = 0, 0, 0
    while done < rounds:
        count, settings = min(ROUNDS_OF_A_WORLD, rounds - done), WORLDS[number % len(WORLDS)]
        with tempfile.TemporaryDirectory() as folder:
            report = await torture(Path(folder), count, f"{seed}:{number}", store, **settings)
        done, number, found = done + count, number + 1, found + len(report.broken)
        _say(f"world {number}, {settings or 'both messengers'}: {count} rounds, seed {seed}:{number - 1}")
        _say(summary(report))
        for one in report.broken:
            _say(one.excerpt(report.history))
        _say(f"  broken    {len(report.broken)}")
    _say(f"{done} rounds, {found} rules broken (seed {seed})")
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", default=secrets.token_hex(4), help="makes the choices of a run again")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    chosen = parser.parse_args(arguments)
    _say(f"seed {chosen.seed}, {chosen.store}")
    # As with Ctrl-C: no process and no folder of ours is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return 1 if asyncio.run(run(chosen.rounds, chosen.seed, chosen.store)) else 0


if __name__ == "__main__":
    sys.exit(main())
