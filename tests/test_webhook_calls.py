"""Webhooks and events over HTTP, end to end: the calls, what is refused, and a site that hears."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from otp.endpoints import MOST_ENDPOINTS
from tests.running import Answer, Running, running
from tests.test_http import is_problem

NOBODY = "we_" + "A" * 24
NO_EVENT = "evt_" + "0" * 32
URL = "https://shop.example/hook"


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


@dataclass
class Site:
    """A site's own server, and what it heard."""

    url: str = ""
    status: int = 200
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def hook(self, request: web.Request) -> web.Response:
        """An event arrives."""
        self.heard.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.Response(status=self.status)


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """On this machine."""
    made, app = Site(), web.Application()
    app.add_routes([web.post("/hook", made.hook)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield made
    finally:
        await runner.cleanup()


async def create(run: Running, url: str = URL, **fields: Any) -> dict[str, Any]:
    """A new webhook."""
    answer = await run.call("POST", "/v1/webhooks", {"url": url, **fields})
    assert answer.status == 201, answer
    return dict(answer.json)


async def test_the_life_of_a_webhook(run: Running) -> None:
    """Created with a secret that is never told again, listed, rotated, enabled, deleted."""
    made = await create(run, events=["otp.verified", "otp.sent"], description="the shop")
    secret = made.pop("secret")
    assert made == {
        "id": made["id"],
        "url": URL,
        "events": ["otp.sent", "otp.verified"],
        "description": "the shop",
        "status": "enabled",
        "created_at": "2027-01-15T08:00:00.000Z",
    }
    listed = await run.call("GET", "/v1/webhooks")
    assert listed.json == {"webhooks": [made]}
    rotated = (await run.call("POST", f"/v1/webhooks/{made['id']}/rotate-secret")).json
    assert rotated == {
        "id": made["id"],
        "secret": rotated["secret"],
        "old_secret_until": "2027-01-16T08:00:00.000Z",
    }
    assert rotated["secret"] != secret
    enabled = await run.call("POST", f"/v1/webhooks/{made['id']}/enable", {})
    assert (enabled.status, enabled.json) == (200, made)
    gone = await run.call("DELETE", f"/v1/webhooks/{made['id']}")
    assert gone.json == {"id": made["id"], "deleted": True}
    assert (await run.call("GET", "/v1/webhooks")).json == {"webhooks": []}
    assert is_problem(await run.call("DELETE", f"/v1/webhooks/{made['id']}"), 404, "webhook_not_found")
    for answer in (listed, enabled, gone):
        assert "whsec_" not in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        assert "RateLimit" in answer.headers


async def test_five_at_most(run: Running) -> None:
    """A conflict, after the fields."""
    for _ in range(MOST_ENDPOINTS):
        await create(run)
    assert is_problem(await run.call("POST", "/v1/webhooks", {"url": URL}), 409, "too_many_webhooks")
    assert is_problem(await run.call("POST", "/v1/webhooks", {"url": "x"}), 400, "validation_failed")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "http://shop.example/hook",
        "ftp://shop.example/",
        "https://",
        "https://localhost/",
        "https://a.localhost/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://127.0.0.1/",
        "https://1.1.1.1/",
        "https://[::1]/",
        "https://2130706433/",
        "https://user:secret@shop.example/",
        "https://shop.example/#x",
        "https://shop.example:0/",
        "https://shop.example:65536/",
        "https://shop.example /",
        "https://shop.example/\n",
        "https://shop.example\\@evil.example/",
        "https://магазин.рф/",
        "https://shop.example/?}",
        "https://shop.example/%zz",
        "https://shop.example/" + "x" * 2048,
        7,
        None,
    ],
)
async def test_addresses_that_are_none(run: Running, url: Any) -> None:
    """The field is named, and the address is not repeated."""
    answer = await run.call("POST", "/v1/webhooks", {"url": url})
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == ["url"]
    assert "secret" not in answer.text


async def test_the_longest_address(run: Running) -> None:
    """2048 characters, with a query."""
    url = "https://shop.example:65535/a?token=" + "x" * (2048 - 35)
    assert (await create(run, url))["url"] == url


@pytest.mark.parametrize(
    "fields,field",
    [
        ({"events": []}, "events"),
        ({"events": ["otp.nothing"]}, "events.0"),
        ({"events": ["otp.sent", "otp.sent"]}, "events"),
        ({"events": None}, "events"),
        ({"events": "otp.sent"}, "events"),
        ({"description": ""}, "description"),
        ({"description": "a\nb"}, "description"),
        ({"description": "x" * 201}, "description"),
        ({"secret": "whsec_mine"}, "secret"),
    ],
)
async def test_fields_that_are_not_valid(run: Running, fields: dict[str, Any], field: str) -> None:
    """Unknown ones too."""
    answer = await run.call("POST", "/v1/webhooks", {"url": URL, **fields})
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == [field]


@pytest.mark.parametrize(
    "method,path,status,code",
    [
        ("PUT", "/v1/webhooks", 405, "method_not_allowed"),
        ("GET", f"/v1/webhooks/{NOBODY}", 405, "method_not_allowed"),
        ("DELETE", "/v1/webhooks/x", 404, "webhook_not_found"),
        ("DELETE", f"/v1/webhooks/{NOBODY}", 404, "webhook_not_found"),
        ("POST", f"/v1/webhooks/{NOBODY}/rotate-secret", 404, "webhook_not_found"),
        ("POST", "/v1/webhooks/%00/enable", 404, "webhook_not_found"),
        ("POST", f"/v1/webhooks/{NOBODY}/disable", 404, "not_found"),
        ("GET", f"/v1/events?webhook_id={NOBODY}", 404, "webhook_not_found"),
        ("GET", "/v1/events?webhook_id=x", 400, "validation_failed"),
        ("GET", "/v1/events?limit=0", 400, "validation_failed"),
        ("GET", "/v1/events?limit=101", 400, "validation_failed"),
        ("GET", "/v1/events?limit=5&limit=5", 400, "validation_failed"),
        ("GET", "/v1/events?status=pending", 400, "validation_failed"),
        ("GET", "/v1/events?before=evt_x", 400, "validation_failed"),
        ("POST", f"/v1/events/{NO_EVENT}/redeliver", 404, "event_not_found"),
        ("POST", "/v1/events/x/redeliver", 404, "event_not_found"),
    ],
)
async def test_what_is_not_there(run: Running, method: str, path: str, status: int, code: str) -> None:
    """Each in its words, and only for those with a key."""
    assert is_problem(await run.call(method, path), status, code)
    keyless = await run.call(method, path, headers={"Authorization": None})
    unlocked = code in ("not_found", "method_not_allowed")  # looked at before the key
    assert keyless.status == (status if unlocked else 401)


async def test_the_order_of_checks(run: Running) -> None:
    """A disabled project before the body, the media type before the fields, those before existence."""
    path = f"/v1/webhooks/{NOBODY}/rotate-secret"
    plain = {"Content-Type": "text/plain"}
    assert is_problem(await run.call("POST", path, data=b"{}", headers=plain), 415, "unsupported_media_type")
    assert is_problem(await run.call("POST", path, {"x": 1}), 400, "validation_failed")
    project = (await run.service.projects.all())[0]
    await run.service.projects.set_enabled(project.id, False)
    for method, where in (("POST", path), ("GET", "/v1/webhooks"), ("GET", "/v1/events?limit=0")):
        answer = await run.call(method, where, data=b"{", headers=plain)
        assert is_problem(answer, 403, "project_disabled")


async def test_calls_about_webhooks_count_as_calls() -> None:
    """Also those that only read."""
    async with running(requests_per_minute=2) as run:
        await run.call("GET", "/v1/webhooks")
        await run.call("DELETE", f"/v1/webhooks/{NOBODY}")
        assert is_problem(await run.call("GET", "/v1/events"), 429, "rate_limited")


async def test_a_site_hears_of_a_login() -> None:
    """Over the wire, signed; then it can be looked up and told again."""
    async with running(events_allow_private=True) as run, site() as shop:
        made = await create(run, shop.url)
        person = run.someone()
        sub = await run.subscriber(person)
        code = person.codes[-1]
        await run.verify(sub, code)
        await run.quiet()
        assert sorted(one["type"] for one in shop.heard) == ["otp.sent", "otp.verified", "subscriber.joined"]
        assert code not in json.dumps(shop.heard)
        assert all(one["user-agent"].startswith("tapcode/") for one in shop.headers)
        listed = (await run.call("GET", "/v1/events?limit=2")).json
        assert len(listed["events"]) == 2
        rest = (await run.call("GET", f"/v1/events?limit=2&before={listed['next']}")).json
        assert "next" not in rest
        [event] = rest["events"]
        assert event == {
            "id": event["id"],
            "webhook_id": made["id"],
            "type": "subscriber.joined",
            "timestamp": "2027-01-15T08:00:00.000Z",
            "data": {"subscriber_id": sub, "channel": "telegram"},
            "status": "delivered",
            "attempts": 1,
            "last_result": "200",
            "settled_at": "2027-01-15T08:00:00.000Z",
        }
        again = await run.call("POST", f"/v1/events/{event['id']}/redeliver", {"webhook_id": made["id"]})
        assert again.json == {"id": event["id"], "webhooks": 1}
        await run.quiet()
        assert [one["webhook-id"] for one in shop.headers].count(event["id"]) == 2
        foreign = await run.call("POST", f"/v1/events/{event['id']}/redeliver", {"webhook_id": NOBODY})
        assert is_problem(foreign, 404, "event_not_found")


async def test_a_webhook_that_is_gone_says_so() -> None:
    """410 switches it off; its events can't be told again until it is switched on."""
    async with running(events_allow_private=True) as run, site() as shop:
        shop.status = 410
        made = await create(run, shop.url, events=["subscriber.joined"])
        await run.subscriber(run.someone())
        await run.quiet()
        [webhook] = (await run.call("GET", "/v1/webhooks")).json["webhooks"]
        assert (webhook["status"], webhook["disabled_reason"]) == ("disabled", "gone")
        assert webhook["disabled_at"] == webhook["failing_since"] == "2027-01-15T08:00:00.000Z"
        [event] = (await run.call("GET", "/v1/events?status=failed")).json["events"]
        assert (event["status"], event["last_result"]) == ("failed", "410")
        path = f"/v1/events/{event['id']}/redeliver"
        assert is_problem(await run.call("POST", path), 409, "webhook_disabled")
        shop.status = 200
        assert (await run.call("POST", f"/v1/webhooks/{made['id']}/enable")).json["status"] == "enabled"
        assert (await run.call("POST", path)).status == 200
        await run.quiet()
        assert len(shop.heard) == 2


async def test_a_call_with_a_key_is_made_once(run: Running) -> None:
    """One webhook, however often it is asked for; its secret is in the first answer alone, and is kept nowhere."""
    keyed = {"headers": {"Idempotency-Key": "k1"}}
    first = await run.call("POST", "/v1/webhooks", {"url": URL}, **keyed)
    again = await run.call("POST", "/v1/webhooks", {"url": URL}, **keyed)
    assert (first.status, again.status) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    secret = first.json["secret"]
    assert again.json == {name: value for name, value in first.json.items() if name != "secret"}
    assert len((await run.call("GET", "/v1/webhooks")).json["webhooks"]) == 1
    other = await run.call("POST", "/v1/webhooks", {"url": URL + "/2"}, **keyed)
    assert is_problem(other, 422, "idempotency_mismatch")
    path = f"/v1/webhooks/{again.json['id']}/rotate-secret"
    rotated = [await run.call("POST", path, {}, headers={"Idempotency-Key": "k2"}) for _ in range(2)]
    assert [("secret" in one.json) for one in rotated] == [True, False]
    assert rotated[0].json["secret"] != secret


async def test_where_private_networks_are_allowed_any_host_is() -> None:
    """But no user, no fragment, nothing that is no address."""
    async with running(events_allow_private=True) as run:
        for url in ("http://127.0.0.1:1/", "https://intranet/", "http://[::1]/x?y"):
            await create(run, url)
        for url in (
            "http://",
            "ftp://intranet/",
            "http://a@b/",
            "http://a/#b",
            "http://a:99999/",
            'http://a/"',
        ):
            answer: Answer = await run.call("POST", "/v1/webhooks", {"url": url})
            assert is_problem(answer, 400, "validation_failed"), url
