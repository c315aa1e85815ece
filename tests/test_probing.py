"""How far the clock is off and until when the certificate is good, as the running service measures it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.abc import ResolveResult

from checks.calls import Outside
from config.clock import told_clock, wall_ms
from config.settings import load
from metrics.probes import Probes
from otp.model import Channel
from otp.policy import MINUTE_MS
from storage import Reach, open_store
from tests.certificates import FAR_AHEAD, LONG_AGO, Authority
from tests.doctoring import HOST, Installation, front, installation
from tests.fakes import START, FakeClock
from tests.names import Names
from tests.postgres import fresh
from tests.process import free_port
from wiring.probing import CERTIFICATE_MS, EVERY_SECONDS, Probing

DAY = 86_400


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[Installation]:
    """An installation with figures."""
    async with installation(tmp_path, metrics_token="t" * 20) as one:
        yield one


async def certificate(made: Installation) -> float | None:
    """What is told of it after a look."""
    await made.measured()
    return made.probing.probes.certificate_expires_at


async def test_a_clock_that_is_right_and_one_that_is_not(made: Installation) -> None:
    """By each messenger, in seconds, ahead of it or behind."""
    drift = made.probing.probes.clock_drift
    await made.measured()
    assert drift == {Channel.TELEGRAM: 0, Channel.MAX: 0}
    made.run.clock.advance(minutes=1)
    await made.measured()
    assert [59 <= drift[channel] <= 60.5 for channel in Channel] == [True, True], drift
    made.run.clock.set(wall_ms() - MINUTE_MS)
    await made.measured()
    assert [-60.5 <= drift[channel] <= -59 for channel in Channel] == [True, True], drift


async def test_a_messenger_that_does_not_answer_tells_no_time(made: Installation) -> None:
    """What was measured before is forgotten; the other one is measured all the same."""
    probing = made.probing
    await made.measured()
    away = f"http://127.0.0.1:{free_port()}"
    probing.settings = probing.settings.model_copy(update={"telegram_api_url": away})
    await made.measured()
    assert probing.probes.clock_drift == {Channel.MAX: 0}


@pytest.mark.parametrize(
    "how,ends",
    [
        ({}, FAR_AHEAD.timestamp()),
        ({"expired": True}, LONG_AGO.timestamp() + DAY),
        ({"by_itself": True}, FAR_AHEAD.timestamp()),
    ],
)
async def test_certificates(made: Installation, tmp_path: Path, how: dict[str, Any], ends: float) -> None:
    """Good ones, and those that no messenger takes."""
    async with front(Authority(tmp_path, made.authority).server(HOST, **how), made.run.url) as port:
        made.names.known[HOST, 443] = port
        assert await certificate(made) == ends


async def test_a_certificate_is_looked_at_every_hour(made: Installation, tmp_path: Path) -> None:
    """One that can't be seen has no sample, and is looked at again at the next occasion."""
    assert await certificate(made) == FAR_AHEAD.timestamp()
    context = Authority(tmp_path, made.authority).server(HOST, days=5)
    async with front(context, made.run.url) as port:
        made.names.known[HOST, 443] = port
        assert await certificate(made) == FAR_AHEAD.timestamp()
        made.run.clock.advance(ms=CERTIFICATE_MS)
        del made.names.known[HOST, 443]
        assert await certificate(made) is None
        made.names.known[HOST, 443] = port
        seen = await certificate(made)
    assert seen == pytest.approx(datetime.now(UTC).timestamp() + 5 * DAY, abs=60)


class Broken(Names):
    """Fails as nothing outside should."""

    asked = 0

    async def resolve(self, *_: Any, **__: Any) -> list[ResolveResult]:
        self.asked += 1
        raise RuntimeError("a bug")


async def test_it_goes_on_whatever_happens(clock: FakeClock) -> None:
    """A bug is told, and the next time comes."""
    names, failures, probes = Broken(), list[BaseException](), Probes()
    settings = load("cli", {"secret_keys": "k" * 40, "public_url": f"https://{HOST}"})
    probing = Probing(settings, {}, clock, probes, failures.append, Outside(resolver=names))
    task = asyncio.ensure_future(probing.run())
    for times in (1, 2, 3):
        for _ in range(20):
            await asyncio.sleep(0)
        assert (names.asked, len(failures), probes.certificate_expires_at) == (times, times, None)
        clock.advance(seconds=EVERY_SECONDS)
    task.cancel()


@pytest.mark.slow
async def test_over_postgresql_it_is_the_clock_of_the_database(made: Installation) -> None:
    """Whatever this machine takes for the time: the service's clock was told."""
    clock = told_clock()
    assert clock.now() < START / 2
    store = await open_store(await fresh("probing"), clock, Reach())
    try:
        probing = made.probing
        probing.clock = clock
        await made.measured()
        assert probing.probes.clock_drift == {Channel.TELEGRAM: 0, Channel.MAX: 0}
    finally:
        await store.close()
