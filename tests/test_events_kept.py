"""Webhooks and events where they are kept: in a copy, in the other store, under other keys, on the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from api.admin import Refused, perform
from api.event_commands import perform_events
from otp.codes import KeyRing
from otp.telling import Sealed
from storage.backup import back_up
from storage.sealing import AeadSeals
from storage.sqlite import SqliteStore
from tests.fakes import FakeClock, SeededRandomness
from tests.hearing import URL, Hearing, hearing
from tests.process import tapcode
from tests.test_move import file, moved, over_file, over_postgres, url
from tests.world import KEYS, World, make_world

__all__ = ["file", "url"]  # fixtures


def seals(*keys: str) -> AeadSeals:
    """Under these keys."""
    return AeadSeals(KeyRing(keys).sealing_keys(), SeededRandomness("".join(keys)))


async def told(ear: Hearing) -> list[str]:
    """Tell what is to be told; the types."""
    ear.sender.start()
    await ear.settle()
    await ear.sender.close(0)
    return ear.post.types()


# ------------------------------------------------------------------ sealed


def test_a_secret_is_opened_by_its_key_and_for_its_owner_alone() -> None:
    """And by nobody who changed a bit of it."""
    first, second = KEYS
    sealed = seals(first).seal(b"secret", "we_1")
    assert b"secret" not in sealed.blob
    assert "secret" not in repr(sealed)
    assert first not in repr(seals(first))
    assert seals(first).open(sealed, "we_1") == seals(second, first).open(sealed, "we_1") == b"secret"
    assert seals(second).open(sealed, "we_1") is None
    assert seals(first).open(sealed, "we_2") is None
    assert seals(first).open(Sealed(b"", sealed.key_id), "we_1") is None
    for place in range(len(sealed.blob)):
        ill = bytearray(sealed.blob)
        ill[place] ^= 1
        assert seals(first).open(Sealed(bytes(ill), sealed.key_id), "we_1") is None


def test_the_first_key_seals() -> None:
    """And knows its own."""
    old, new = KEYS
    sealed = seals(new, old).seal(b"x", "we_1")
    assert seals(new).is_current(sealed)
    assert not seals(old, new).is_current(sealed)


def test_two_secrets_never_look_alike() -> None:
    """Each has a nonce of its own."""
    one = seals(KEYS[0])
    assert one.seal(b"x", "we_1") != one.seal(b"x", "we_1")


# ------------------------------------------------------------------ elsewhere


async def test_a_copy_holds_webhooks_and_what_they_are_to_be_told(tmp_path: Path, clock: FakeClock) -> None:
    """Secrets sealed as ever; restored, it goes on telling, under the same ids."""
    world = await make_world(await SqliteStore.open(str(tmp_path / "t.db"), clock), clock)
    made = await hearing(world).listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await back_up(str(tmp_path / "t.db"), tmp_path / "copy.db", clock)
    await world.courier.close(0)
    await world.store.close()
    again = await make_world(await SqliteStore.open(str(tmp_path / "copy.db"), clock), clock)
    assert await told(hearing(again)) == ["subscriber.joined"]
    await again.courier.close(0)
    await again.store.close()
    for copied in (tmp_path / "copy.db", tmp_path / "t.db"):
        assert made.secret.encode() not in copied.read_bytes()


async def test_the_other_store_goes_on_telling(file: str, url: str, clock: FakeClock) -> None:
    """With the same secrets, and what was not told yet."""
    async with over_file(file, clock) as world:
        ear = hearing(world)
        made = await ear.listen(world.caller, "subscriber.joined")
        await ear.endpoints.rotate(world.caller, made.endpoint.id)
        await world.subscribe()
        before, shop = await ear.endpoints.all(world.caller), world.caller
    rows = (await moved(file, url, clock)).rows
    assert (rows["endpoints"], rows["notices"]) == (1, 1)
    async with over_postgres(url, clock) as world:
        ear = hearing(world, seed="after")
        assert await ear.endpoints.all(shop) == before
        assert await told(ear) == ["subscriber.joined"]
        assert len(ear.post.heard[0].headers["webhook-signature"].split()) == 2


# ------------------------------------------------------------------ the operator


async def test_the_operator_lists_and_has_told_again(world: World) -> None:
    """Of one project, or of all; only those that were given up."""
    ear = hearing(world)
    await ear.listen(world.caller, "subscriber.joined")
    await ear.listen(world.other, "subscriber.joined")
    for caller in (world.caller, world.other):
        await world.subscribe(caller=caller)
    run = partial(perform, {"events": partial(perform_events, ear.endpoints)})
    listed = await run({"group": "events", "verb": "list"})
    assert [one["status"] for one in listed] == ["pending", "pending"]
    mine = await run({"group": "events", "verb": "list", "project": world.caller.project.id})
    assert len(mine) == 1
    assert await run({"group": "events", "verb": "list", "failed": True}) == []
    assert await run({"group": "events", "verb": "redeliver", "id": mine[0]["id"]}) == {
        "id": mine[0]["id"],
        "webhooks": 1,
    }
    for ill in (
        {"verb": "redeliver", "id": "evt_0"},
        {"verb": "list", "limit": 0},
        {"verb": "list", "limit": 1001},
        {"verb": "forget"},
    ):
        with pytest.raises(Refused):
            await run({"group": "events", **ill})


@pytest.mark.slow
async def test_on_the_command_line(tmp_path: Path, clock: FakeClock) -> None:
    """Over a file that nobody serves; what is to be told again is told by whoever serves it next."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "tapcode.db"
    world = await make_world(await SqliteStore.open(str(path), clock), clock)
    ear = hearing(world)
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    assert await told(ear) == ["subscriber.joined"]
    await world.courier.close(0)
    await world.store.close()
    [event] = json.loads(tapcode(tmp_path, "events", "list", "--json").stdout)
    assert (event["type"], event["status"], event["last_result"]) == ("subscriber.joined", "delivered", "204")
    shown = tapcode(tmp_path, "events", "list")
    assert event["id"] in shown.stdout
    assert URL not in shown.stdout
    again = tapcode(tmp_path, "events", "redeliver", event["id"])
    assert (again.returncode, again.stdout) == (0, f"id: {event['id']}\nwebhooks: 1\n")
    refused = tapcode(tmp_path, "events", "redeliver", "evt_0")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT state, tries FROM notices").fetchall() == [("pending", 0)]
