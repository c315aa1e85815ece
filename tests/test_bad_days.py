"""Bad days of a whole installation: what moves, which alert fires, what the doctor says, and what people see.

Each day begins well, goes on after something bad has happened outside, and ends well once that is mended. The alerts are
those of a real Prometheus with the operator's own rules, hurried.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from checks import disk
from checks.findings import Level
from config.clock import wall_ms
from otp.model import Channel
from otp.projects import Change, PageChange
from sandbox.demo import PUBLIC_URL, Demo
from sandbox.wire import Fault
from tests.certificates import Authority
from tests.disks import eventually, filled, resize, small_disk
from tests.doctoring import HOST, Installation, front
from tests.prometheus import Prometheus, needs_prometheus, watched
from tests.relay import Relay
from tests.running import Answer, Running, Someone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180), needs_prometheus]

HOME = "https://shop.example/login"
SLOW = {
    "telegram": "Telegram is slow to answer right now: the code may be late.",
    "max": "MAX is slow to answer right now: the code may be late.",
}
HOURS = 360
"""So much faster are rules that wait for an hour: it is ten seconds."""


@dataclass
class Day:
    """An installation, whoever watches it, and what is seen of both."""

    made: Installation
    watching: Prometheus

    @property
    def run(self) -> Running:
        """The service and its people."""
        return self.made.run

    async def fires(self, name: str, channel: str | None = None, told: str = "") -> str:
        """Wait for an alert; how urgent it is, and what whoever is woken reads, once `told` is a part of it."""
        await (self.watching.fires(name, channel=channel) if channel else self.watching.fires(name))
        async with asyncio.timeout(20):
            while told not in (said := await self._read(name)):  # noqa: ASYNC110  # another process tells it
                await asyncio.sleep(0.1)
        return said

    async def _read(self, name: str) -> str:
        [one] = [
            one
            for one in (await self.watching.ask("alerts"))["alerts"]
            if one["state"] == "firing" and one["labels"]["alertname"] == name
        ]
        noted = one["annotations"]
        assert noted["runbook"] == f"docs/operations.md#{name.lower()}"
        return f"{one['labels']['severity']}: {noted['summary']}. {noted['description']}"

    async def comes_to(self, query: str) -> None:
        """Wait until a query over the figures holds."""
        await self.watching.until(query)

    async def value(self, query: str) -> float:
        """The one value that a query gives."""
        [(_, value)] = await self.watching.query(query)
        return value

    async def doctor(self, subject: str, **look: Any) -> str:
        """What the doctor says of a subject, but for what is ok."""
        found = (await self.made.look(**look)).of(subject)
        return "\n".join(
            f"{one.level} {one.text} -> {one.hint}" for one in found if one.level is not Level.OK
        )

    async def instance(self) -> str:
        """By which name the service is known to whoever watches."""
        [(labels, _)] = await self.watching.query("up")
        return labels["instance"]

    async def until_sent(self, request: dict[str, Any]) -> None:
        """Wait until a code was sent."""
        async with asyncio.timeout(30):
            while (await self.run.status(request))["status"] != "sent":
                await self.run.quiet()

    async def send(self, subscriber_id: str) -> Answer:
        """A site's call."""
        return await self.run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})

    async def ask(self) -> dict[str, Any]:
        """A site asks for a code, with a page."""
        return await self.run.request(page={"return_url": HOME})

    async def page(self, request: dict[str, Any]) -> list[tuple[str, str | None]]:
        """The messengers that a visitor of the hosted page sees, in their order, with what is said of each."""
        async with self.run.http.get(f"{self.run.url}/c/{request['client_token']}") as answer:
            assert answer.status == 200
            html = await answer.text()
        ways = re.findall(
            r'data-channel="(\w+)".*?<p class="slow quiet"( hidden)?>(.*?)</p>', html, re.DOTALL
        )
        return [(channel, None if hidden else said) for channel, hidden, said in ways]

    def opens(self, person: Someone, request: dict[str, Any]) -> None:
        """Somebody follows a link, and waits."""
        person.sim.open_link(person.user_id, request[f"{person.sim.channel}_link"])


@asynccontextmanager
async def day(folder: Path, **settings: Any) -> AsyncIterator[Day]:
    """One that begins well."""
    async with watched(folder, **settings) as (made, watching):
        [project] = await made.run.service.projects.all()
        await made.run.service.projects.update(project.id, Change(page=PageChange([HOME], [], None, None)))
        today = Day(made, watching)
        assert (await made.look()).bad == {}
        assert await watching.alerts() == {}
        assert await today.page(await today.ask()) == [("telegram", None), ("max", None)]
        yield today


def problem(answer: Answer) -> tuple[int, str, bool]:
    """What a site is told."""
    return answer.status, answer.json["code"], answer.json["retryable"]


def is_question(person: Someone) -> bool:
    """Whether the last that somebody reads is the question of the bot."""
    return bool(person.screen) and "Get the code" in person.last


async def test_a_token_is_revoked_at_night(tmp_path: Path) -> None:
    """Nobody sends anything; the next look at the channel finds it."""
    async with day(tmp_path) as today:
        run, anna, boris = today.run, today.run.someone(), today.run.someone()
        subscriber_id = await run.subscriber(anna)
        good, run.demo.telegram.token = run.demo.telegram.token, "1:a-new-one"
        await run.service.registration.check(Channel.TELEGRAM)  # every ten minutes

        await today.comes_to('tapcode_channel_token_accepted{channel="telegram"} == 0')
        assert await today.fires("ChannelDown", channel="telegram") == (
            "page: telegram refuses the bot's token. The messenger answers 401: the token was revoked or mistyped. "
            "Nobody gets a code through telegram."
        )
        assert await today.doctor("telegram") == (
            "problem the token is refused -> get the token from @BotFather (/mybots, API Token) and set "
            "TELEGRAM_BOT_TOKEN, then restart the service"
        )
        assert "has telegram as unauthorized" in await today.doctor("service")

        request = await today.ask()
        assert request["channels"] == {"telegram": "degraded", "max": "ok"}
        assert await today.page(request) == [("max", None), ("telegram", SLOW["telegram"])]
        assert problem(await today.send(subscriber_id)) == (502, "delivery_failed", False)
        before = len(anna.screen)
        for person in (anna, boris):
            await person.open(request["telegram_link"])
        assert (len(anna.screen), boris.screen) == (before, [])
        assert await run.status(request) == {"status": "pending"}
        assert len(await today.watching.query('tapcode_messenger_calls_total{result="unauthorized"} > 0')) > 0

        run.demo.telegram.token = good
        await run.service.registration.check(Channel.TELEGRAM)
        await today.watching.falls_silent("ChannelDown")
        assert await today.doctor("telegram") == ""
        request = await today.ask()
        assert request["channels"] == {"telegram": "ok", "max": "ok"}
        assert (await today.send(subscriber_id)).status == 200
        await boris.open(request["telegram_link"])
        assert is_question(boris)


async def test_max_drops_the_subscription(tmp_path: Path) -> None:
    """At first nobody knows; then it is registered anew, and once it can't be."""
    async with day(tmp_path, times=120) as today:
        run, sim, boris = today.run, today.run.demo.max, today.run.someone("max")
        request, subscriber_id = await today.ask(), await run.subscriber(run.someone("max"))
        sim.webhooks.clear()
        assert await today.doctor("max webhook") == (
            "problem none is registered: the bot hears nothing -> tapcode webhooks register "
            "(a running service with WEBHOOKS_REGISTER_ON_START does it within 10 minutes)"
        )
        await boris.open(request["max_link"])
        assert (boris.screen, await run.status(request)) == ([], {"status": "pending"})

        assert (await today.send(subscriber_id)).status == 200
        sim.faults.append(Fault("POST /subscriptions", status=400, times=100))
        await run.service.registration.check(Channel.MAX)  # every ten minutes
        await today.comes_to('tapcode_channel_webhook_registered{channel="max"} == 0')
        await today.comes_to('tapcode_channel_webhook_lost_total{channel="max"} >= 1')
        assert await today.fires("WebhookLost", channel="max") == (
            "page: max had dropped the webhook, or has none of ours. Taps in max do not arrive. A webhook that was dropped "
            "is registered anew within ten minutes, but what made the messenger drop it may still be there."
        )
        other = await today.ask()
        assert other["channels"] == {"telegram": "ok", "max": "degraded"}
        assert await today.page(other) == [("telegram", None), ("max", SLOW["max"])]

        sim.faults.clear()
        await run.service.registration.check(Channel.MAX)
        await today.comes_to('tapcode_channel_webhook_registered{channel="max"} == 1')
        assert await today.doctor("max webhook") == ""
        assert (await today.ask())["channels"] == {"telegram": "ok", "max": "ok"}
        # MAX tells of a link only to whoever has not begun the dialog yet. The code on the page always works.
        assert not await boris.open(request["max_link"])
        assert boris.screen == []
        await boris.say(request["pairing_code"])
        assert is_question(boris)
        await boris.press("Get the code")
        assert (await run.status(request))["status"] == "sent"
        await today.watching.falls_silent("WebhookLost")


async def test_the_disk_fills_in_three_days(tmp_path: Path) -> None:
    """Somebody else writes. It is foretold, then almost so, then there is no room, then there is some again."""
    folder = tmp_path / "disk"
    with small_disk(folder):
        resize(folder, "4096m")
        async with day(tmp_path, times=HOURS, disk=folder) as today:
            run, anna, boris = today.run, today.run.someone(), today.run.someone()
            subscriber_id = await run.subscriber(anna)

            def room() -> disk.Space:
                return disk.space(str(folder))

            filling = asyncio.ensure_future(_fill(folder))
            assert await today.fires("DiskFillsSoon") == (
                "ticket: The database's disk is full in three days. If it goes on as in the last six hours on "
                f"{await today.instance()}."
            )
            filling.cancel()
            assert await today.doctor("disk", space=room()) == ""
            assert (await today.send(subscriber_id)).status == 200

            resize(folder, "200m")
            assert "page: The database's disk is almost full. " in await today.fires("DiskAlmostFull")
            assert await today.value("tapcode_disk_free_bytes") < 256 * disk.MIB
            assert re.fullmatch(
                r"problem 199 MiB free of 200 MiB -> make room now: when the disk is full every call is answered 503 "
                "and no code goes out",
                await today.doctor("disk", space=room()),
            )
            assert (await today.send(subscriber_id)).status == 200

            request = await today.ask()
            resize(folder, f"{_used(folder) + disk.MIB // 4}")
            with filled(folder):
                answers: list[Answer] = []
                site = asyncio.ensure_future(_insist(today, subscriber_id, answers))
                # The log that is there already is written over until it is full.
                await eventually(lambda: [one.status for one in answers[-3:]] == [503] * 3)
                assert problem(answers[-1]) == (503, "storage_unavailable", True)
                assert await today.page(request) == [("telegram", None), ("max", None)]
                today.opens(boris, request)
                assert await today.fires("StoreUnavailable") == (
                    "page: The database can't be used. It does not answer, or operations fail: calls are answered 503, "
                    "and updates are not taken."
                )
                site.cancel()
                said = await today.doctor("disk", space=room())
                assert "can't be written to (No space left on device) -> make room there" in said
                assert boris.screen == []
            resize(folder, "4096m")
            await run.quiet()
            assert boris.sim.deliveries[-1].attempts[-1] == 200  # the messenger brought the tap again
            assert is_question(boris)
            assert (await today.send(subscriber_id)).status == 200
            for name in ("StoreUnavailable", "DiskAlmostFull"):
                await today.watching.falls_silent(name)


async def _insist(today: Day, subscriber_id: str, answers: list[Answer]) -> None:
    """A site tries again and again."""
    while True:
        answers.append(await today.send(subscriber_id))
        await asyncio.sleep(0.2)


def _used(folder: Path) -> int:
    """Bytes in use on a small disk."""
    found = disk.space(str(folder))
    return found.total - found.free


async def _fill(folder: Path) -> None:
    """What else is on the machine takes room, all the time."""
    for size in range(4096, 1024, -20):
        resize(folder, f"{size}m")
        await asyncio.sleep(0.25)


async def test_the_clock_drifts_by_a_minute(tmp_path: Path) -> None:
    """It is told by the messengers' own clocks; people notice nothing yet."""
    async with day(tmp_path, times=HOURS) as today:
        run, anna = today.run, today.run.someone()
        subscriber_id = await run.subscriber(anna)
        assert await today.value("max(abs(tapcode_clock_drift_seconds))") < 1
        run.clock.advance(minutes=1)
        await today.made.measured()  # every five minutes

        await today.comes_to("min(tapcode_clock_drift_seconds) > 58")
        told = await today.fires("ClockDrift")
        assert re.fullmatch(
            r"ticket: The clock is wrong\. It differs from the messengers' by (59|60) seconds\.", told
        )
        said = await today.doctor("clock", now=run.clock.now)
        assert re.fullmatch(
            r"problem (59|60) s ahead of Telegram's and MAX's -> have the clock kept by NTP \(timedatectl set-ntp true\), "
            "then look again",
            said,
        )

        assert (await today.send(subscriber_id)).json == {"sent": True, "expires_in_seconds": 300}
        assert await run.verify(subscriber_id, anna.codes[-1]) == {"verified": True}
        request = await today.ask()
        assert request["channels"] == {"telegram": "ok", "max": "ok"}
        assert await today.page(request) == [("telegram", None), ("max", None)]

        run.clock.set(wall_ms())  # NTP is on, and the service was started anew
        await today.made.measured()
        await today.watching.falls_silent("ClockDrift")
        said = await today.doctor("clock")  # for as long as it was ahead
        assert re.search(
            r"the database has seen a time that is \d+ s ahead of this clock -> .+, else it passes by itself$",
            said,
        )


async def test_the_certificate_runs_out(tmp_path: Path) -> None:
    """A ticket two weeks before, a page in the last two days; then the messengers bring nothing until it is renewed."""
    async with day(tmp_path, times=HOURS) as today, AsyncExitStack() as fronts:
        run, anna, boris = today.run, today.run.someone(), today.run.someone()
        subscriber_id = await run.subscriber(anna)

        async def served(days: int) -> str:
            """A proxy with a certificate for so many days, as it is after some hours; its address."""
            context = Authority(tmp_path, today.made.authority).server(HOST, days=days)
            port = await fronts.enter_async_context(front(context, run.url))
            today.made.names.known[HOST, 443] = port
            await today.made.probing.look_at_certificate(PUBLIC_URL)  # every hour
            return f"https://127.0.0.1:{port}"

        await served(10)
        await today.comes_to("tapcode_certificate_expiry_timestamp_seconds - time() < 10 * 24 * 3600")
        assert re.fullmatch(
            r"ticket: The certificate of PUBLIC_URL runs out\. 9d 23h \d+m \d+s are left \(with a minus: it is over\)\. "
            r"Then the messengers deliver nothing\.",
            await today.fires("CertificateExpiresSoon"),
        )
        assert re.fullmatch(
            r"warning for .+, chain complete, 10 days left -> renew it now, and see why that was not done by itself .+",
            await today.doctor("certificate"),
        )
        assert "CertificateAlmostOver" not in await today.watching.alerts()

        await served(1)
        assert re.fullmatch(
            r"page: The certificate of PUBLIC_URL is almost over\. 23h \d+m \d+s are left; "
            r"then the messengers deliver nothing\.",
            await today.fires("CertificateAlmostOver"),
        )
        assert (await today.doctor("certificate")).startswith("problem ")

        # Telegram comes over TLS from now on, and does not trust what it finds.
        run.demo.reached_at(await served(-1))
        await today.comes_to("tapcode_certificate_expiry_timestamp_seconds < time()")
        assert await today.fires("CertificateAlmostOver", told="It is") == (
            "page: The certificate of PUBLIC_URL is almost over. It is over, and the messengers deliver nothing."
        )
        request = await today.ask()
        today.opens(boris, request)
        await eventually(lambda: boris.sim.deliveries[-1].attempts)
        assert boris.screen == []
        assert await today.doctor("certificate") == (
            f"problem that of {HOST} expired 24 hours ago -> renew it, and have the proxy load the new one"
        )
        assert "Certificate" in await today.doctor("telegram webhook")
        assert "-> see the line about the certificate" in await today.doctor("telegram webhook")
        assert await run.status(request) == {"status": "pending"}
        assert (await today.send(subscriber_id)).status == 200  # codes still go out
        assert await today.page(request) == [("telegram", None), ("max", None)]

        await served(60)
        run.demo.reached_at(run.url)
        await run.quiet()
        assert is_question(boris)
        for name in ("CertificateAlmostOver", "CertificateExpiresSoon"):
            await today.watching.falls_silent(name)
        assert await today.doctor("certificate") == ""


async def gets_a_code_in_max(run: Running) -> None:
    """Whoever may be led to the messenger that works."""
    request, person = await run.request(channel="auto"), run.someone("max")
    assert request["telegram_link"] is None
    await person.open(request["max_link"])
    await person.press("Get the code")
    assert (await run.status(request))["status"] == "sent"


async def test_telegram_is_blocked_by_the_network(tmp_path: Path) -> None:
    """Calls come to nothing, updates still arrive. Whoever may have the other messenger is led there."""
    network = Relay()

    async def between(demo: Demo) -> dict[str, str]:
        network.ports = [int(demo.telegram_url.rsplit(":", 1)[1])]
        await network.start()
        return {"telegram_api_url": network.url}

    async with day(tmp_path, between=between) as today:
        run, anna, boris = today.run, today.run.someone(), today.run.someone()
        subscriber_id = await run.subscriber(anna)
        before = len(anna.screen)
        await network.close()
        refused = await today.send(subscriber_id)
        assert problem(refused) == (503, "messenger_unavailable", True)
        assert int(refused.headers["Retry-After"]) >= 1

        await today.comes_to('tapcode_channel_reachable{channel="telegram"} == 0')
        assert await today.fires("MessengerUnreachable", channel="telegram") == (
            "page: telegram does not answer. Calls of telegram are not answered: the network blocks it, a proxy is down, "
            "or the messenger is."
        )
        assert await today.doctor("telegram") == (
            "problem 127.0.0.1 is not reached: no connection (Connection refused) -> the network may block it: see the "
            "firewall, or set TELEGRAM_PROXY_URL"
        )
        assert "has telegram as unreachable" in await today.doctor("service")
        await today.made.measured()
        await today.comes_to('absent(tapcode_clock_drift_seconds{channel="telegram"})')
        assert await today.doctor("clock") == ""

        request = await today.ask()
        assert request["channels"] == {"telegram": "degraded", "max": "ok"}
        assert await today.page(request) == [("max", None), ("telegram", SLOW["telegram"])]
        await gets_a_code_in_max(run)
        today.opens(boris, request)
        hers = await today.ask()
        today.opens(anna, hers)
        await eventually(lambda: boris.sim.deliveries[-1].done and anna.sim.deliveries[-1].done)
        assert (len(anna.screen), boris.screen) == (before, [])

        await network.start()
        await run.service.registration.check(Channel.TELEGRAM)
        await today.watching.falls_silent("MessengerUnreachable")
        # What a subscriber tapped was carried out meanwhile; a question that was lost is asked at the next tap.
        await today.until_sent(hers)
        assert boris.screen == []
        assert (await today.ask())["channels"] == {"telegram": "ok", "max": "ok"}
        await boris.open(request["telegram_link"])
        assert is_question(boris)
        await network.close()
