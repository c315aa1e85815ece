"""The doctor over whole installations: a healthy one, and one for each sickness."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from checks.disk import GIB, MIB, Space
from checks.findings import Level
from config.clock import wall_ms
from otp.model import Channel
from sandbox.wire import Fault, Webhook
from tests.certificates import Authority
from tests.doctoring import HOST, STRONG, Installation, Told, installation
from tests.postgres import fresh
from tests.process import free_port, outside, tapcode
from wiring.doctor import report

pytestmark = pytest.mark.slow

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
SUBJECTS = {
    "secrets",
    "clock",
    "disk",
    "database",
    "service",
    "telegram",
    "telegram webhook",
    "max",
    "max webhook",
    "certificate",
    "public url",
}


def silent(made: Installation, told: Told) -> None:
    """No secret is in anything that is said, before the last look at it too."""
    said = json.dumps(report(told.findings, []))
    assert not [one for one in [*made.run.settings.secrets, made.run.api_key] if one in said]


async def test_a_healthy_installation(tmp_path: Path) -> None:
    """Every subject has a line, and every line is ok; the running service is not disturbed."""
    async with installation(tmp_path) as made:
        before = made.run.demo.telegram.webhooks, made.run.demo.max.webhooks
        told = await made.look()
        silent(made, told)
        assert (told.bad, {one.subject for one in told.findings}) == ({}, SUBJECTS)
        assert before == (made.run.demo.telegram.webhooks, made.run.demo.max.webhooks)
        assert await made.run.request()
        assert made.run.demo.telegram.violations == made.run.demo.max.violations == []


async def test_an_installation_that_fetches(tmp_path: Path) -> None:
    """Without an address there is neither a certificate nor a webhook to look at."""
    async with installation(tmp_path, public_url=None, max_bot_token=None) as made:
        told = await made.look()
    assert told.bad == {}
    assert {one.subject for one in told.findings} == SUBJECTS - {"max", "max webhook", "certificate"}


async def revoked(made: Installation) -> None:
    made.run.demo.telegram.token = "1:another-token"
    made.run.demo.max.token = "another-token"


async def lost(made: Installation) -> None:
    made.run.demo.telegram.webhooks.clear()
    made.run.demo.max.webhooks.clear()


async def taken(made: Installation) -> None:
    other = Webhook("https://other.example/webhooks/any", "s" * 16, (), 0)
    made.run.demo.telegram.webhooks[:] = [other]
    made.run.demo.max.webhooks.append(other)


async def failing(made: Installation) -> None:
    """Somebody registered the same address with another secret."""
    [known] = made.run.demo.telegram.webhooks
    made.run.demo.telegram.webhooks[:] = [Webhook(known.url, "s" * 16, known.update_types, 0)]
    made.run.demo.telegram.say(5, "hello")
    while not (await made.run.service.skins[Channel.TELEGRAM].hooks())[0].error:
        pass


async def broken(made: Installation) -> None:
    made.run.demo.telegram.faults.append(Fault(times=1000, status=500))


async def stopped(made: Installation) -> None:
    made.names.known[HOST, 443] = free_port()
    made.given["port"] = free_port()


@pytest.mark.parametrize(
    "harm,bad,told",
    [
        (revoked, {"telegram": PROBLEM, "max": PROBLEM}, ["token is refused", "BotFather"]),
        (lost, {"telegram webhook": PROBLEM, "max webhook": PROBLEM}, ["none is registered"]),
        (taken, {"telegram webhook": PROBLEM, "max webhook": PROBLEM}, ["other.example", "--take-over"]),
        (failing, {"telegram webhook": PROBLEM}, ["401", "webhooks remove"]),
        (broken, {"telegram": PROBLEM, "telegram webhook": PROBLEM}, ["was not answered"]),
        (
            stopped,
            {"service": PROBLEM, "public url": PROBLEM},
            ["nobody answers at", "Connection refused", "nothing listens on port 443", "nginx or Caddy"],
        ),
    ],
)
async def test_what_happens_to_an_installation(
    tmp_path: Path, harm: Callable[[Installation], Any], bad: dict[str, Level], told: list[str]
) -> None:
    """It is named, with what to do, and nothing else is."""
    async with installation(tmp_path) as made:
        await harm(made)
        found = await made.look()
        silent(made, found)
    assert found.bad == bad
    said = "\n".join(found.said(subject) for subject in bad)
    assert not [one for one in told if one not in said], said


@pytest.mark.parametrize(
    "how,told",
    [
        ({"complete": False}, "incomplete"),
        ({"by_itself": True}, "by itself"),
        ({"expired": True}, "expired"),
        ({"days": 1}, "24 hours left"),
    ],
)
async def test_certificates_that_messengers_refuse_or_will(
    tmp_path: Path, how: dict[str, Any], told: str
) -> None:
    """One line says so; that nothing was delivered over it is not said again."""
    root = Authority(tmp_path)
    context = Authority(tmp_path, root).server(HOST, **how)
    async with installation(tmp_path, root=root, context=context) as made:
        found = await made.look()
    assert found.bad == {"certificate": PROBLEM}
    assert told in found.said("certificate")


async def test_a_clock_that_is_off_by_a_minute(tmp_path: Path) -> None:
    """By the time that the messengers tell, and by what the database has seen."""
    async with installation(tmp_path) as made:
        ahead = await made.look(now=lambda: wall_ms() + 61_000)
        behind = await made.look(now=lambda: wall_ms() - 61_000)
    assert ahead.bad == behind.bad == {"clock": PROBLEM}
    assert "ahead of Telegram's and MAX's" in ahead.said("clock")
    assert "behind Telegram's and MAX's" in behind.said("clock")
    assert "the database has seen a time" in behind.said("clock")


async def test_a_disk_that_is_almost_full(tmp_path: Path) -> None:
    """As the system tells it."""
    async with installation(tmp_path) as made:
        told = await made.look(space=Space(30 * MIB, 100 * GIB, None))
    assert told.bad == {"disk": PROBLEM}
    assert "30.0 MiB free of 100 GiB" in told.said("disk")


async def test_settings_that_are_not_those_of_the_service(tmp_path: Path) -> None:
    """A weak key; another one than the running service has; a name of another bot."""
    async with installation(tmp_path) as made:
        found = await made.look(secret_keys="k" * 40, telegram_bot_username="other_bot")
    assert found.bad == {"secrets": PROBLEM, "telegram": WARNING, "public url": PROBLEM}
    assert "does not take the webhook secret" in found.said("public url")
    assert "@tapcode_demo_bot" in found.said("telegram")


async def test_a_proxy_that_passes_elsewhere(tmp_path: Path) -> None:
    """What comes to the address does not get to the webhooks."""
    async with installation(tmp_path, path="/elsewhere") as made:
        found = await made.look()
    assert found.bad == {"public url": PROBLEM}
    assert "pass /webhooks/" in found.said("public url")


async def test_databases_and_folders_that_can_not_be_used(tmp_path: Path) -> None:
    """Damaged, below a file, not there, on a server that is away."""
    async with installation(tmp_path) as made:
        file = tmp_path / "file"
        file.write_bytes(os.urandom(8192))
        damaged = await made.look(database_url=f"sqlite:///{file}")
        below = await made.look(database_url=f"sqlite:///{file}/below.db")
        missing = await made.look(database_url=f"sqlite:///{tmp_path}/deeper/missing.db")
        away = await made.look(database_url=f"postgresql://me:hidden-password@127.0.0.1:{free_port()}/x")
        there = await made.look(database_url=await fresh("doctors"))
    assert damaged.bad == {"database": PROBLEM}
    assert "damaged" in damaged.said("database")
    assert below.bad == {"database": PROBLEM, "disk": PROBLEM}
    assert "can't be written to" in below.said("disk")
    assert missing.bad == {"database": WARNING}
    assert away.bad == {"database": PROBLEM}
    assert "Connection refused" in away.said("database")
    assert "hidden-password" not in away.said("database")
    assert there.bad == {}
    assert "database server's" in there.said("clock")


async def test_before_the_first_start(tmp_path: Path) -> None:
    """Nothing is wrong with what only a start can bring: an operator can begin with this command."""
    async with installation(tmp_path) as made:
        await lost(made)
        made.given["port"] = free_port()
        missing = f"sqlite:///{tmp_path}/deeper/missing.db"
        new = await made.look(database_url=missing)
        on_server = await made.look(database_url=await fresh("new_doctors"))
        ran = await made.look()
    normal = {"service": WARNING, "telegram webhook": WARNING, "max webhook": WARNING}
    assert new.bad == normal | {"database": WARNING}
    assert on_server.bad == normal
    assert ran.bad == {"service": PROBLEM, "telegram webhook": PROBLEM, "max webhook": PROBLEM}


async def test_messengers_that_are_blocked_or_silent(tmp_path: Path) -> None:
    """One is refused, the other hangs: each has its line, no other line is kept back, and none waits long."""
    held = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await held.wait()
        writer.close()

    silence = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with installation(tmp_path) as made:
        began = monotonic()
        found = await made.look(
            seconds=1.5,
            telegram_api_url=f"http://127.0.0.1:{silence.sockets[0].getsockname()[1]}",
            max_api_url=f"http://127.0.0.1:{free_port()}",
        )
        took = monotonic() - began
    held.set()
    silence.close()
    assert found.bad == {"telegram": PROBLEM, "max": PROBLEM, "clock": WARNING}
    assert "no answer within 1.5 s" in found.said("telegram")
    assert "Connection refused" in found.said("max")
    assert {one.subject for one in found.findings} == SUBJECTS - {"telegram webhook", "max webhook"}
    assert took < 10


async def test_everything_hangs(tmp_path: Path) -> None:
    """A name server, the messengers, the service and the address: it ends in its time, with a line for each."""
    async with installation(tmp_path) as made:
        hang = asyncio.Event()

        async def never(*_: object, **__: object) -> list[Any]:
            await hang.wait()
            return []

        made.names.resolve = never  # type: ignore[method-assign]
        for sim in (made.run.demo.telegram, made.run.demo.max):
            sim.faults.append(Fault(times=1000, hold=asyncio.Event()))
        found = await made.look(
            seconds=1.0, telegram_api_url="http://telegram.example", allow_insecure_api_url=True
        )
    assert set(found.bad) == {"telegram", "max", "clock", "public url"}
    for subject in ("telegram", "max", "public url"):
        assert "no answer within 1 s" in found.said(subject)


async def test_the_command(tmp_path: Path) -> None:
    """As an operator types it, beside the service and after its end: lines or JSON, and the exit code."""
    async with outside(
        tmp_path, SECRET_KEYS=STRONG, PUBLIC_URL="", PROJECT_NAME="", PROJECT_API_KEY=""
    ) as one:
        well = await asyncio.to_thread(tapcode, tmp_path, "doctor", **one.environment)
        assert (well.returncode, well.stderr) == (0, ""), well.stdout
        assert well.stdout.splitlines()[-1].endswith("ok. All is well.")
        await one.stop()
        sick = await asyncio.to_thread(
            tapcode, tmp_path, "doctor", "--json", **one.environment | {"SEND_LIMIT": "many"}
        )
    told = json.loads(sick.stdout)
    bad = {found["subject"] for found in told["findings"] if found["level"] == "problem"}
    assert (sick.returncode, told["level"], bad) == (1, "problem", {"settings", "service"})
    for text in (well.stdout, sick.stdout):
        assert not [name for name in ("SECRET_KEYS", "TELEGRAM_BOT_TOKEN") if one.environment[name] in text]
