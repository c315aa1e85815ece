"""The audit trail: each change that an operator makes leaves its line, both or neither."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from api.admin import Refused, perform
from bot.registration import Registration
from config.arguments import operator, parser
from config.logs import log_event
from otp.audit import AUDIT_KEPT_MS, CONFIGURATION, Action, AuditLine, acting
from otp.events import Event
from otp.model import Mode
from otp.people import People
from otp.policy import Policy
from otp.ports import About, Store, Tx, Work
from otp.projects import CONFIGURED_PROJECT, Projects
from storage.move import TABLES
from storage.statements import SqlTx
from tests.fakes import START, FakeClock
from tests.hearing import Hearing, hearing
from tests.world import ANN, World
from wiring.commands import operator_commands

CHANGES: Mapping[str, Action] = {
    "project create": Action.PROJECT_CREATE,
    "project update": Action.PROJECT_UPDATE,
    "project rotate-key": Action.PROJECT_ROTATE_KEY,
    "project disable": Action.PROJECT_DISABLE,
    "project enable": Action.PROJECT_ENABLE,
    "codes revoke-all": Action.CODES_REVOKE_ALL,
    "webhooks register": Action.WEBHOOKS_REGISTER,
    "webhooks remove": Action.WEBHOOKS_REMOVE,
    "events redeliver": Action.EVENTS_REDELIVER,
    "subscribers unlock": Action.SUBSCRIBERS_UNLOCK,
    "subscribers forget": Action.SUBSCRIBERS_FORGET,
    "project delete": Action.PROJECT_DELETE,
}
"""What an operator can type that changes something, in an order in which all can be done."""
SERVE = {"serve", "sandbox"}
LOOK = {
    "audit",
    "backup",
    "doctor",
    "events list",
    "project list",
    "project show",
    "requests list",
    "requests show",
    "stats",
    "subscribers export",
    "subscribers find",
    "webhooks show",
}
OTHERWISE = {"move"}
"""What it says of itself is in the file: see `storage.move`."""


class Cut(Exception):
    """What a transaction dies of."""


class CutShort:
    """A store whose transactions die at the end, before their commit; or whose trail can't be written."""

    def __init__(self, store: Store, *, trail: bool) -> None:
        self._store, self._trail = store, trail
        self.holds_up = store.holds_up

    async def write(self, work: Work[Any], about: About | None = None) -> Any:
        async def cut(tx: Tx) -> Any:
            await work(cast(Tx, NoTrail(tx)) if self._trail else tx)
            raise Cut

        return await self._store.write(cut, about)

    async def chore(self, work: Work[Any]) -> Any:
        return await self.write(work)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class NoTrail:
    """A transaction in which nothing can be recorded."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def record_audit(self, *_: Any) -> None:
        raise Cut

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)


class Messengers(Registration):
    """Counts what would be done at the messengers."""

    def __init__(self, store: Store) -> None:
        super().__init__({}, store, {}, {}, identities={}, automatic=False)
        self.asked = 0

    async def perform(self, verb: str, *, take_over: bool) -> dict[str, Any]:
        self.asked += 1
        return await super().perform(verb, take_over=take_over)


Do = Callable[..., Coroutine[Any, Any, Any]]


async def happened(world: World) -> Hearing:
    """Something that can be told again."""
    ear = hearing(world)
    await ear.listen(world.caller)
    await world.subscribe(ANN)
    return ear


def commands(world: World, ear: Hearing, store: Store, messengers: Registration) -> Do:
    """What carries out a command over a store, as it is asked for over the socket."""
    projects = Projects(store, world.randomness, Mode.LIVE)
    everybody_is_locked = replace(world.rules, policy=Policy(guess_budget=0))
    people = People(store, everybody_is_locked)
    groups = operator_commands(
        projects, messengers, ear.endpoints.over(store), people, store, world.clock, None
    )

    async def do(words: str, **more: Any) -> Any:
        group, _, verb = words.partition(" ")
        return await perform(groups, {"group": group, "verb": verb, "by": "ann", **more})

    return do


async def arguments_of(world: World, words: str) -> dict[str, Any]:
    """What the command needs to be carried out."""
    if words == "project create":
        return {"name": "Daisy", "description": "flowers"}
    if words == "events redeliver":

        async def last(tx: Tx) -> str:
            ids = [one.id for one in await tx.every_endpoint()]
            return (await tx.notices(ids, None, None, 1))[0].id

        return {"id": await world.store.read(last)}
    if words.startswith("subscribers"):
        [ann] = await world.store.read(lambda tx: tx.memberships(ANN))
        return {"id": ann.subscriber.id}
    more = {"description": "other words"} if words == "project update" else {}
    return {"id": world.caller.project.id, **more} if words.startswith("project") else {}


async def trail(store: Store) -> list[AuditLine]:
    """All of it, but how the projects of the world came to be."""
    found = await store.read(lambda tx: tx.audit(0, 1000))
    return [one for one in found if one.by != CONFIGURATION]


async def everything(store: Store) -> dict[str, list[str]]:
    """Every row of every table, but for the time that was noted."""

    async def work(tx: Tx) -> dict[str, list[str]]:
        found = {}
        for table in TABLES:
            rows = await cast(SqlTx, tx).rows(f"SELECT * FROM {table}")  # noqa: S608  # our own names
            found[table] = sorted(str(dict(row)) for row in rows if table != "facts")
        return found

    return await store.read(work)


def typed() -> set[str]:
    """Every command that there is."""
    found = set()
    for name, command in _choices(parser()).items():
        verbs = _choices(command)
        found |= {f"{name} {verb}" for verb in verbs} if verbs else {name}
    return found


def _choices(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    actions = [one for one in top._actions if isinstance(one, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


def test_of_every_command_it_is_known_whether_it_changes_something() -> None:
    """Whoever adds one must say so here, and what changes something is held by the tests below."""
    assert typed() == {*CHANGES} | SERVE | LOOK | OTHERWISE


async def test_each_change_leaves_one_line(world: World) -> None:
    """When, what, on what id, by whom; no key is in it."""
    ear = await happened(world)
    do, keys, ids = commands(world, ear, world.store, Messengers(world.store)), [], []
    for words in CHANGES:
        world.clock.advance(seconds=1)
        more = await arguments_of(world, words)
        told = await do(words, **more)
        keys.append(told.get("api_key", "tc_"))
        ids.append(more.get("id") or told.get("id"))
    lines = await trail(world.store)
    assert [one.what for one in lines] == [*CHANGES.values()]
    assert [one.subject for one in lines] == ids
    assert {one.by for one in lines} == {"ann"}
    assert [one.at for one in lines] == [START + 1000 * (n + 1) for n in range(len(CHANGES))]
    assert not any(key in str(line) for key in keys for line in lines)


@pytest.mark.parametrize("trail_fails", [True, False], ids=["without a line", "without its commit"])
@pytest.mark.parametrize("words", CHANGES)
async def test_change_and_line_are_there_together_or_not_at_all(
    world: World, words: str, trail_fails: bool
) -> None:
    """Whatever the transaction dies of, at its beginning or at its end; nothing is asked of the messengers either."""
    ear = await happened(world)
    more, before = await arguments_of(world, words), await everything(world.store)
    store = cast(Store, CutShort(world.store, trail=trail_fails))
    messengers = Messengers(store)
    with pytest.raises(Cut):
        await commands(world, ear, store, messengers)(words, **more)
    assert await everything(world.store) == before
    assert messengers.asked == 0


async def test_what_is_refused_leaves_no_line(world: World) -> None:
    """Nothing was changed."""
    ear = await happened(world)
    do = commands(world, ear, world.store, Messengers(world.store))
    nobody = {"id": "00000000-0000-4000-8000-00000000dead"}
    for words, more in {
        "project create": {"name": "", "description": ""},
        "project update": {**nobody, "name": "x"},
        "project delete": nobody,
        "project disable": nobody,
        "events redeliver": {"id": "evt_unknown"},
    }.items():
        with pytest.raises(Refused):
            await do(words, **more)
    assert await trail(world.store) == []


async def test_those_who_act_at_the_same_time_are_told_apart(world: World) -> None:
    """Changes share transactions' turns, and never their authors."""

    async def rename(name: str) -> None:
        with acting(name):
            await world.projects.create(name, "")

    names = ["ann", "bob", "cat"]
    await asyncio.gather(*map(rename, names))
    assert sorted((one.by, one.detail) for one in await trail(world.store)) == [(one, one) for one in names]


async def test_the_configuration_leaves_a_line_when_it_changes_something(world: World) -> None:
    """Not at every start."""
    first, second = "tc_live_" + "a" * 40, "tc_live_" + "b" * 40
    before = len(await world.store.read(lambda tx: tx.audit(0, 1000)))
    for name, key in [("Shop", first), ("Shop", first), ("Shop 2", first), ("Shop 2", second)]:
        world.clock.advance(seconds=1)
        await world.projects.configure(name, "", key)
    lines = (await world.store.read(lambda tx: tx.audit(0, 1000)))[before:]
    assert [one.what for one in lines] == ["project.create", "project.update", "project.rotate-key"]
    assert {(one.by, one.subject) for one in lines} == {(CONFIGURATION, CONFIGURED_PROJECT)}


@pytest.mark.parametrize("hours", [0, 24])
async def test_the_configuration_leaves_a_line_when_it_ends_a_key(world: World, hours: int) -> None:
    """One that an operator made beside its own; that one may be about to end, and is good for ever again."""
    key = "tc_live_" + "a" * 40
    await world.projects.configure("Shop", "", key)
    with acting("ann"):
        await world.projects.rotate_key(CONFIGURED_PROJECT, hours)
    before = len(await world.store.read(lambda tx: tx.audit(0, 1000)))
    for _ in range(2):
        world.clock.advance(seconds=1)
        await world.projects.configure("Shop", "", key)
    [line] = (await world.store.read(lambda tx: tx.audit(0, 1000)))[before:]
    assert (line.what, line.by) == ("project.rotate-key", CONFIGURATION)


async def test_the_trail_is_kept_for_400_days(world: World, clock: FakeClock) -> None:
    """And not a moment longer."""
    [shop, _bank] = await world.store.read(lambda tx: tx.audit(0, 10))
    clock.advance(ms=AUDIT_KEPT_MS - 1)
    await world.store.chore(lambda tx: tx.purge(100))
    assert shop in await world.store.read(lambda tx: tx.audit(0, 10))
    clock.advance(ms=1)
    await world.store.chore(lambda tx: tx.purge(100))
    assert await world.store.read(lambda tx: tx.audit(0, 10)) == []


async def test_the_last_lines_are_told(world: World, clock: FakeClock) -> None:
    """From a time on, oldest first."""
    since = clock.now() + 1
    for n in range(3):
        clock.advance(seconds=1)
        await world.projects.set_enabled(world.caller.project.id, bool(n % 2))
    lines = await world.store.read(lambda tx: tx.audit(since, 2))
    assert [one.what for one in lines] == ["project.enable", "project.disable"]


async def test_the_log_has_it_too(world: World) -> None:
    """Once the change is committed."""
    heard: list[Event] = []
    world.store.listen(heard.append)
    with acting("ann"):
        await world.projects.set_enabled(world.caller.project.id, False)
    with capture_logs() as lines:
        for event in heard:
            log_event(event)
    [line] = [one for one in lines if one["event"] == "audit"]
    assert (line["by"], line["what"], line["subject"]) == ("ann", "project.disable", world.caller.project.id)


def test_who_types_is_known() -> None:
    """Behind sudo too."""
    alone = operator({})
    assert alone
    assert operator({"SUDO_USER": "ann"}) == f"{alone} (sudo by ann)"
