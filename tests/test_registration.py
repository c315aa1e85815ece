"""Names and webhooks: asked, registered, restored; a foreign registration is never stolen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.background import WATCHDOG_MS
from bot.registration import FOLLOW_SECONDS, State
from otp.model import Channel
from sandbox.demo import PUBLIC_URL
from sandbox.wire import Fault, Webhook
from tests.fakes import START
from tests.running import Running, running
from wiring.parts import bot_identity, make_registration

FOREIGN = "https://other.example/webhooks/x"


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


def urls(run: Running, channel: Channel) -> list[str]:
    """What is registered at a messenger."""
    sim: Any = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    return [hook.url for hook in sim.webhooks]


def foreign() -> Webhook:
    """Somebody else's registration."""
    return Webhook(FOREIGN, "their-secret", (), START)


@pytest.mark.parametrize("channel", list(Channel))
async def test_webhooks_are_registered_at_start(run: Running, channel: Channel) -> None:
    """With a secret, for the updates that the dialog understands."""
    sim: Any = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    [hook] = sim.webhooks
    assert hook.url == f"{PUBLIC_URL}/webhooks/{channel}"
    assert len(hook.secret) >= 32
    assert len(hook.update_types) >= 3


@pytest.mark.parametrize("channel", list(Channel))
async def test_the_watchdog_restores_what_was_dropped(run: Running, channel: Channel) -> None:
    """Ten minutes later it stands again."""
    sim: Any = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    sim.webhooks.clear()
    run.clock.advance(ms=WATCHDOG_MS)
    await sim.until(lambda: sim.webhooks)
    assert urls(run, channel) == [f"{PUBLIC_URL}/webhooks/{channel}"]
    assert run.service.registration.channels[channel].lost == 1


async def test_what_can_not_be_restored_is_known_to_be_missing(run: Running) -> None:
    """However the messenger refuses; once it is registered, by whomever, that is known too."""
    registration = run.service.registration
    run.demo.max.webhooks.clear()
    run.demo.max.faults.append(Fault("POST /subscriptions", status=400))
    await registration.check(Channel.MAX)
    assert registration.channels[Channel.MAX].webhook == "missing"
    await registration.perform("register", take_over=False)
    assert registration.channels[Channel.MAX].webhook == "registered"


async def test_telegrams_foreign_webhook_is_not_replaced(run: Running) -> None:
    """There is only one: a staging machine must not steal it; the operator may."""
    run.demo.telegram.webhooks[:] = [foreign()]
    registration = run.service.registration
    await registration.check(Channel.TELEGRAM)
    assert urls(run, Channel.TELEGRAM) == [FOREIGN]
    assert registration.channels[Channel.TELEGRAM].state is State.FOREIGN_WEBHOOK
    report = await registration.perform("register", take_over=False)
    assert "problem" in report[Channel.TELEGRAM]
    await registration.perform("register", take_over=True)
    assert urls(run, Channel.TELEGRAM) == [f"{PUBLIC_URL}/webhooks/telegram"]


async def test_a_foreign_subscription_in_max_stays_beside_ours(run: Running) -> None:
    """It is told, and goes only by --take-over."""
    run.demo.max.webhooks.append(foreign())
    registration = run.service.registration
    await registration.check(Channel.MAX)
    assert set(urls(run, Channel.MAX)) == {FOREIGN, f"{PUBLIC_URL}/webhooks/max"}
    assert registration.channels[Channel.MAX].state is State.FOREIGN_WEBHOOK
    await registration.perform("register", take_over=True)
    assert urls(run, Channel.MAX) == [f"{PUBLIC_URL}/webhooks/max"]


async def test_a_move_removes_the_earlier_registration(tmp_path: Any) -> None:
    """Another PUBLIC_URL: ours of before is remembered as ours."""
    url = f"sqlite:///{tmp_path}/t.db"
    async with running(url) as before:
        hook = before.demo.max.webhooks[0]
    async with running(url, public_url="https://moved.example", webhooks_register_on_start=False) as after:
        after.demo.max.webhooks[:] = [hook]
        after.demo.telegram.webhooks[:] = [Webhook(hook.url.replace("max", "telegram"), "s" * 16, (), START)]
        await after.service.registration.perform("register", take_over=False)
        assert urls(after, Channel.MAX) == ["https://moved.example/webhooks/max"]
        assert urls(after, Channel.TELEGRAM) == ["https://moved.example/webhooks/telegram"]


async def test_another_secret_is_registered_anew(run: Running) -> None:
    """The first key changed: the registration is renewed although its URL is the same."""
    before = run.demo.max.webhooks[0].secret
    from bot.registration import Wanted

    target = Wanted(f"{PUBLIC_URL}/webhooks/max", "another-secret-of-a-rotation")
    await run.service.registration.register(Channel.MAX, target, take_over=False)
    assert run.demo.max.webhooks[0].secret == "another-secret-of-a-rotation" != before
    assert run.service.registration.channels[Channel.MAX].lost == 0  # it was there


async def test_show_and_remove(run: Running) -> None:
    """What stands, and nothing of ours afterwards."""
    shown = await run.service.registration.perform("show", take_over=False)
    assert shown[Channel.TELEGRAM]["webhooks"][0]["url"] == f"{PUBLIC_URL}/webhooks/telegram"
    await run.service.registration.perform("remove", take_over=False)
    assert urls(run, Channel.TELEGRAM) == urls(run, Channel.MAX) == []


async def test_telegram_tells_what_became_of_deliveries(run: Running) -> None:
    """The last error, its moment, and what waits; MAX tells none of it."""
    [known] = run.demo.telegram.webhooks
    run.demo.telegram.webhooks[:] = [Webhook(known.url, "s" * 16, known.update_types, START)]
    person = run.someone()
    run.demo.telegram.say(person.user_id, "hello")
    async with asyncio.timeout(5):
        while (hooks := await run.service.skins[Channel.TELEGRAM].hooks())[0].error is None:
            pass
    assert (hooks[0].error_at, hooks[0].pending) == (START, 1)
    assert "401" in hooks[0].error
    assert [hook.error_at for hook in await run.service.skins[Channel.MAX].hooks()] == [None]


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_messenger_that_takes_no_webhook_is_not_away(run: Running, channel: Channel) -> None:
    """Codes go out; what people do does not come in. It is tried again soon, and told as what it is."""
    sim: Any = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    info, registration = run.service.registration.channels[channel], run.service.registration
    await run.quiet()
    sim.webhooks.clear()
    sim.faults.append(Fault("setWebhook|POST /subscriptions", times=1, status=400))
    assert await registration.check(channel) is False
    assert (info.state, info.webhook) == (State.OK, "missing")
    assert info.detail is not None
    assert info.detail.startswith("the webhook was refused")
    assert not registration.is_sound(channel)
    assert await registration.check(channel) is True
    assert [info.state, info.webhook, info.detail] == [State.OK, "registered", None]


async def test_a_messenger_that_is_down_stops_nobody_else() -> None:
    """The other channel works; the name is asked for until it is known."""
    async with running(telegram_bot_username="given_bot") as run:
        registration = run.service.registration
        run.demo.telegram.faults.append(Fault(times=1000, status=500))
        assert await registration.check(Channel.TELEGRAM) is False
        assert registration.channels[Channel.TELEGRAM].state is State.UNREACHABLE
        person = run.someone("max")
        await run.subscriber(person)
        run.demo.telegram.faults.clear()
        assert await registration.check(Channel.TELEGRAM) is True


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_token_that_is_not_known(run: Running, channel: Channel) -> None:
    """401 is told as such; the service goes on."""
    sim: Any = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    sim.faults.append(Fault(status=401))
    await run.service.registration.check(channel)
    ready = await run.call("GET", "/readyz")
    assert ready.status == 200
    assert ready.json["channels"][channel]["state"] == "unauthorized"


async def test_names_are_remembered_over_a_restart(tmp_path: Any) -> None:
    """Links can be made at once, before the messenger was asked again."""
    url = f"sqlite:///{tmp_path}/t.db"
    async with running(url):
        pass
    async with running(url) as again:
        identities = {channel: bot_identity(again.settings, channel) for channel in Channel}
        fresh = type(again.service.registration)(
            again.service.skins, again.service.store, {}, {}, identities=identities, automatic=False
        )
        await again.service.store.read(fresh.recall)
        assert fresh.names() == {Channel.TELEGRAM: "tapcode_demo_bot", Channel.MAX: "id700000000001_bot"}


async def test_links_of_a_replica_that_has_not_looked_around(run: Running) -> None:
    """The other one knows the bots and has registered their webhooks: no link may be missing."""
    run.service.registration.channels[Channel.TELEGRAM].username = None
    made = await run.call("POST", "/v1/otp/request", {})
    assert made.json["telegram_link"].startswith("https://t.me/tapcode_demo_bot?start=otp_")
    run.service.registration.channels[Channel.MAX].username = None
    key = {"Idempotency-Key": "once"}
    made = await run.call("POST", "/v1/otp/request", {"channel": "max"}, headers=key)
    assert made.json["max_link"].startswith("https://max.ru/id700000000001_bot?start=otp_")


async def test_another_process_learns_what_this_one_found_out(run: Running) -> None:
    """Names and states, without asking the messengers itself; and what changes later."""
    first = run.service.registration
    other = make_registration(run.settings, run.service.store, run.service.skins)
    calls = len(run.demo.telegram.calls)
    following = asyncio.create_task(other.follow(run.clock))
    while not all(other.names().values()):
        await run.quiet()
    assert other.names() == first.names()
    assert other.channels == first.channels
    run.demo.telegram.faults.append(Fault("getMe", status=401))
    await first.check(Channel.TELEGRAM)
    run.clock.advance(seconds=FOLLOW_SECONDS)
    await run.quiet()
    assert other.channels[Channel.TELEGRAM].state is State.UNAUTHORIZED
    assert other.channels == first.channels
    assert len(run.demo.telegram.calls) == calls + 1
    following.cancel()
