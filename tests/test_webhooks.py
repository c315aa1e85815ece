"""The messengers' way in: the secret, the size, the acknowledgement, the redelivery."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.webhooks import WebhookRoutes
from otp.model import Channel
from tests.running import Answer, Running, Someone, running
from wiring.parts import webhook_secrets

HEADER = {"telegram": "X-Telegram-Bot-Api-Secret-Token", "max": "X-Max-Bot-Api-Secret"}
CHANNELS = tuple(HEADER)


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


def secret(run: Running, channel: str) -> str:
    """What the messenger was told to send back."""
    sim = run.demo.telegram if channel == "telegram" else run.demo.max
    return str(sim.webhooks[0].secret)


async def post(run: Running, channel: str, body: Any, given: str | None = None, **options: Any) -> Answer:
    """An update, with the right secret unless another one is given."""
    headers = {HEADER[channel]: secret(run, channel) if given is None else given, "Authorization": None}
    data = io.BytesIO(body if isinstance(body, bytes) else json.dumps(body).encode())
    return await run.call("POST", f"/webhooks/{channel}", data=data, headers={**headers, **options})


async def opening(run: Running, person: Someone) -> dict[str, Any]:
    """The update of a person who opens a fresh link, not delivered."""
    person.sim.capture = []
    person.sim.open_link(person.user_id, (await run.request())[f"{person.sim.channel}_link"])
    [update], person.sim.capture = person.sim.capture, None
    return dict(update)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_wrong_secret_is_401_and_nothing_happens(run: Running, channel: str) -> None:
    """Missing, empty, longer, shorter, in other letters, the other channel's, not ASCII, in the query."""
    person = run.someone(channel)
    update = await opening(run, person)
    right = secret(run, channel)
    other = secret(run, "max" if channel == "telegram" else "telegram")
    for wrong in ("", "x", right + "x", right[:-1], right.upper(), other, "секрет"):
        assert (await post(run, channel, update, wrong)).status == 401
    missing = await run.call(
        "POST", f"/webhooks/{channel}?secret={right}", update, headers={"Authorization": right}
    )
    assert missing.status == 401
    await run.quiet()
    assert person.screen == []
    assert (await post(run, channel, update)).status == 200
    await run.quiet()
    assert len(person.screen) == 1


@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_wrong_secret_is_refused_before_the_body_is_there(run: Running, channel: str) -> None:
    """A megabyte that never comes is not waited for."""
    host, port = run.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /webhooks/{channel} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".encode())
    assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 401")
    writer.close()


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"update_id":' + b"9" * 5000 + b"}", b"{}"],
)
async def test_what_can_not_be_used_is_acknowledged(run: Running, channel: str, body: bytes) -> None:
    """With the right secret a bad update is dropped, so that it does not come for ever."""
    before = len(run.demo.telegram.calls) + len(run.demo.max.calls)
    assert (await post(run, channel, body)).status == 200
    await run.quiet()
    assert len(run.demo.telegram.calls) + len(run.demo.max.calls) == before


@pytest.mark.parametrize("channel", CHANNELS)
async def test_what_is_too_large_is_413(run: Running, channel: str) -> None:
    """Two megabytes are nobody's update."""
    assert (await post(run, channel, b'{"a":"' + b"x" * 2_000_000 + b'"}')).status == 413


@pytest.mark.parametrize("channel", CHANNELS)
async def test_five_deliveries_have_one_effect(run: Running, channel: str) -> None:
    """In sequence and at once."""
    person = run.someone(channel)
    update = await opening(run, person)
    answers = [await post(run, channel, update) for _ in range(2)]
    answers += await asyncio.gather(*[post(run, channel, update) for _ in range(5)])
    await run.quiet()
    assert {answer.status for answer in answers} == {200}
    assert len(person.screen) == 1


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_update_that_is_not_stored_is_not_acknowledged(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    """503 while another process holds the file; the redelivery has the effect."""
    monkeypatch.setattr("storage.sqlite.BUSY_MS", 10)
    async with running(f"sqlite:///{tmp_path}/t.db") as run:
        person = run.someone(channel)
        update = await opening(run, person)
        blocker = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        assert (await post(run, channel, update)).status == 503
        blocker.execute("ROLLBACK")
        blocker.close()
        assert (await post(run, channel, update)).status == 200
        await run.quiet()
        assert len(person.screen) == 1


def test_a_route_without_a_secret_must_not_exist() -> None:
    """An empty secret is refused where routes are made."""
    skins: Any = {Channel.MAX: object()}
    given: list[dict[Channel, list[str]]] = [{}, {Channel.MAX: []}, {Channel.MAX: [""]}]
    for secrets in given:
        with pytest.raises(ValueError, match="without a secret"):
            WebhookRoutes(skins, secrets, None, None, None)  # type: ignore[arg-type]


async def test_a_secret_of_any_listed_key_is_accepted() -> None:
    """During a rotation, updates signed for the older key still come in."""
    old, new = "old-key-" + "x" * 30, "new-key-" + "y" * 30
    async with running(secret_keys=f"{old},{new}") as before, running(secret_keys=f"{new},{old}") as after:
        assert secret(before, "max") != secret(after, "max")
    async with running(secret_keys=f"{new},{old}") as one:
        assert len(set(webhook_secrets(one.settings, Channel.TELEGRAM))) == 2
        for known in webhook_secrets(one.settings, Channel.TELEGRAM):
            assert (await post(one, "telegram", {"update_id": 1}, known)).status == 200


async def test_a_secret_of_the_settings_is_the_only_one() -> None:
    """What the operator chose replaces the derived ones."""
    async with running(telegram_webhook_secret="chosen-by-the-operator") as run:
        assert secret(run, "telegram") == "chosen-by-the-operator"
