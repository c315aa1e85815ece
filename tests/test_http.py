"""The API over HTTP: the order of checks, the shape of errors, what surrounds every answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api import bodies
from otp.policy import HOUR_MS
from otp.ports import Tx
from sandbox.wire import Fault
from storage.statements import SqlTx
from tests.running import Answer, Running, running

NOBODY = "00000000-0000-4000-8000-000000000000"
JSON = {"Content-Type": "application/json"}
MEMBERS = {"type", "title", "status", "detail", "code", "retryable"}


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running(max_ttl_minutes=20) as made:
        yield made


def is_problem(answer: Answer, status: int, code: str) -> bool:
    """Whether an answer is the problem with this code, complete."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json
    assert set(body) >= MEMBERS
    assert body["detail"]
    assert (body["status"], body["type"]) == (status, f"urn:tapcode:error:{code}")
    assert isinstance(body["retryable"], bool)
    assert re.fullmatch(r"\d+", answer.headers.get("Retry-After", "1"))
    assert ("Retry-After" in answer.headers) >= (status in (429, 503))
    return bool(body["code"] == code)


@pytest.mark.parametrize(
    "method,path,status,code",
    [
        ("GET", "/v1/otp/nope", 404, "not_found"),
        ("POST", "/", 404, "not_found"),
        ("GET", "/v1/otp/send", 405, "method_not_allowed"),
        ("DELETE", "/v1/otp/verify", 405, "method_not_allowed"),
        ("POST", "/openapi.json", 405, "method_not_allowed"),
    ],
)
async def test_path_and_method_come_first(
    run: Running, method: str, path: str, status: int, code: str
) -> None:
    """Without any key, and with `Allow`."""
    answer = await run.call(method, path, headers={"Authorization": None})
    assert is_problem(answer, status, code)
    assert ("Allow" in answer.headers) is (status == 405)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic {key}",
        "{key}",
        "Bearer {key}x",
        "Bearer {short}",
        "Bearer  {key}",
        "Bearer {key},",
    ],
)
async def test_a_key_that_is_none(run: Running, header: str | None) -> None:
    """One answer for all of them, before the body is looked at."""
    value = None if header is None else header.format(key=run.api_key, short=run.api_key[:-1])
    answer = await run.call("POST", "/v1/otp/send", data=b"{", headers={"Authorization": value})
    assert is_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_what_is_wrong_with_a_key_is_said(run: Running) -> None:
    """Whoever forgot it must do something else than whoever has an old one."""
    headers = {"Authorization": f"Bearer tc_live_{'k' * 40}"}
    unknown = await run.call("POST", "/v1/otp/send", {}, headers=headers)
    missing = await run.call("POST", "/v1/otp/send", {}, headers={"Authorization": None})
    assert unknown.json["detail"] == "No project has this API key, or not any more."
    assert missing.json["detail"].startswith("Send the project's API key in one header")


async def test_two_keys_are_none(run: Running) -> None:
    """Two headers, one of them right: refused."""
    pairs = [("Authorization", "Bearer x"), ("Authorization", f"Bearer {run.api_key}")]
    async with run.http.post(run.url + "/v1/otp/request", headers=pairs) as answer:
        assert answer.status == 401


async def test_the_scheme_is_case_insensitive(run: Running) -> None:
    """As RFC 9110 says."""
    headers = {"Authorization": f"bearer {run.api_key}"}
    assert (await run.call("POST", "/v1/otp/request", headers=headers)).status == 200


async def test_a_disabled_project_comes_before_the_body(run: Running) -> None:
    """403 even for a body that is none."""
    project = (await run.service.projects.all())[0]
    await run.service.projects.set_enabled(project.id, False)
    answer = await run.call("POST", "/v1/otp/send", data=b"{", headers={"Content-Type": "text/plain"})
    assert is_problem(answer, 403, "project_disabled")


BAD_BODIES: list[tuple[str, bytes, dict[str, str], int]] = [
    ("text", b"{}", {"Content-Type": "text/plain"}, 415),
    ("form", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("no type", b"{}", {"Content-Type": ""}, 415),
    ("gzip", gzip.compress(b"{}"), {**JSON, "Content-Encoding": "gzip"}, 415),
    ("bomb", gzip.compress(b" " * 20_000_000), {**JSON, "Content-Encoding": "gzip"}, 415),
    ("utf-16 named", "{}".encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}, 415),
    ("rot13", b"{}", {"Content-Type": "application/json; charset=rot13"}, 415),
    ("large", b"{" + b" " * 70_000 + b"}", JSON, 413),
    ("empty", b"", JSON, 400),
    ("cut", b"{", JSON, 400),
    ("deep", b"[" * 60_000, JSON, 400),
    ("utf-16", "{}".encode("utf-16"), JSON, 400),
    ("digits", b'{"ttl_minutes":' + b"9" * 5000 + b"}", JSON, 400),
    ("twice", b'{"code":"1","code":"2"}', JSON, 400),
]


@pytest.mark.parametrize("path", ["/v1/otp/send", "/v1/otp/verify", "/v1/otp/request"])
@pytest.mark.parametrize("name,data,headers,status", BAD_BODIES, ids=[body[0] for body in BAD_BODIES])
async def test_bodies_that_are_none(
    run: Running, path: str, name: str, data: bytes, headers: dict[str, str], status: int
) -> None:
    """415, 413, 400 in this order; only `/request` takes no body at all."""
    answer = await run.call("POST", path, data=data, headers=headers)
    if path.endswith("request") and name == "empty":
        assert answer.status == 200
    else:
        code = {415: "unsupported_media_type", 413: "body_too_large", 400: "malformed_json"}[status]
        assert is_problem(answer, status, code)


@pytest.mark.parametrize("size,status", [(64 * 1024, 400), (64 * 1024 + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_largest_body(run: Running, size: int, status: int, chunked: bool) -> None:
    """64 KiB are read, one byte more is too much, announced or not."""
    whole = b'{"x":"' + b"x" * (size - 8) + b'"}'

    async def pieces() -> AsyncIterator[bytes]:
        yield whole[:1000]
        yield whole[1000:]

    data: Any = pieces() if chunked else whole
    assert (await run.call("POST", "/v1/otp/send", data=data, headers=JSON)).status == status


@pytest.mark.parametrize(
    "path,body,field",
    [
        ("send", {}, "subscriber_id"),
        ("send", {"subscriber_id": "not-a-uuid"}, "subscriber_id"),
        ("send", {"subscriber_id": NOBODY.replace("-", "")}, "subscriber_id"),
        ("send", {"subscriber_id": NOBODY + "\n"}, "subscriber_id"),
        ("send", {"subscriber_id": "{" + NOBODY + "}"}, "subscriber_id"),
        ("send", {"subscriber_id": NOBODY, "ttl_minutes": 21}, "ttl_minutes"),
        ("send", {"subscriber_id": NOBODY, "code_length": 5}, "code_length"),
        ("send", {"subscriber_id": NOBODY, "purpose": "Login"}, "purpose"),
        ("send", {"subscriber_id": NOBODY, "purpose": "login\n"}, "purpose"),
        ("verify", {"subscriber_id": NOBODY}, "code"),
        ("verify", {"subscriber_id": NOBODY, "code": 123456}, "code"),
        ("verify", {"subscriber_id": NOBODY, "code": ""}, "code"),
        ("verify", {"subscriber_id": NOBODY, "code": "1" * 65}, "code"),
        ("verify", {"subscriber_id": NOBODY, "code": "1", "request_id": "short"}, "request_id"),
        ("verify", {"subscriber_id": NOBODY, "code": "1", "request_id": None}, "request_id"),
        ("request", {"channel": "sms"}, "channel"),
        ("request", {"channel": None}, "channel"),
        ("request", {"ttl_minutes": True}, "ttl_minutes"),
        ("request", {"ttl_minutes": 5.0}, "ttl_minutes"),
        ("request", {"ttl_minutes": "5"}, "ttl_minutes"),
        ("request", {"max_attempts": 0}, "max_attempts"),
        ("request", {"max_attempts": 11}, "max_attempts"),
        ("request", {"code_length": True}, "code_length"),
        ("request", {"foo": 1}, "foo"),
        ("request", {"match": 1}, "match"),
        ("send", {"subscriber_id": NOBODY, "reuse": "true"}, "reuse"),
        ("request", {"context": None}, "context"),
        ("request", {"context": {"ip": "300.1.1.1"}}, "context.ip"),
        ("request", {"context": {"action": ""}}, "context.action"),
        ("request", {"context": {"action": "a\nb"}}, "context.action"),
        ("request", {"context": {"device": "\u202ex"}}, "context.device"),
        ("send", {"subscriber_id": NOBODY, "context": {"amount": "x" * 65}}, "context.amount"),
        ("request", {"context": {"user": "x"}}, "context.user"),
    ],
)
async def test_fields_that_are_not_valid(run: Running, path: str, body: dict[str, Any], field: str) -> None:
    """The field is named, the value is not shown."""
    answer = await run.call("POST", f"/v1/otp/{path}", body)
    assert is_problem(answer, 400, "validation_failed")
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert all(error["message"] for error in answer.json["errors"])
    assert "not-a-uuid" not in answer.text


async def test_the_cap_of_the_operator_is_named(run: Running) -> None:
    """`ttl_minutes` above MAX_TTL_MINUTES says what is allowed."""
    answer = await run.call("POST", "/v1/otp/request", {"ttl_minutes": 21})
    assert "20" in answer.json["errors"][0]["message"]
    assert (await run.call("POST", "/v1/otp/request", {"ttl_minutes": 20})).status == 200


async def test_ids_are_taken_in_either_case_and_answered_in_lower_case(run: Running) -> None:
    """The canonical form only."""
    person = run.someone()
    sub = await run.subscriber(person)
    assert sub == sub.lower()
    assert (await run.verify(sub.upper(), person.codes[-1])) == {"verified": True}


async def test_every_answer_carries_its_id_and_is_not_kept(run: Running) -> None:
    """The caller's own id when it is sound, else a new one; `no-store` under /v1."""
    for path in ("/v1/otp/nope", "/v1/otp/send", "/healthz"):
        answer = await run.call("GET", path, headers={"X-Request-Id": "abc.DEF_1-2"})
        assert answer.headers["X-Request-Id"] == "abc.DEF_1-2"
        assert (answer.headers.get("Cache-Control") == "no-store") is path.startswith("/v1")
    answer = await run.call("GET", "/healthz", headers={"X-Request-Id": "has space"})
    assert re.fullmatch(r"[A-Za-z0-9]{16}", answer.headers["X-Request-Id"])


async def test_links(run: Running) -> None:
    """Both, or the one that was asked for; all fields are always there."""
    both = await run.request()
    request_id = both["request_id"]
    assert re.fullmatch(r"[A-Za-z0-9]{16}", request_id)
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}", both["pairing_code"])
    assert both == {
        "request_id": request_id,
        "pairing_code": both["pairing_code"],
        "telegram_link": f"https://t.me/tapcode_demo_bot?start=otp_{request_id}",
        "max_link": f"https://max.ru/id700000000001_bot?start=otp_{request_id}",
        "expires_in": 900,
        "channels": {"telegram": "ok", "max": "ok"},
    }
    one = await run.request(channel="max")
    assert one["telegram_link"] is None
    assert one["max_link"]


async def test_a_channel_that_is_off() -> None:
    """Its link is null; asked for by name it is a conflict; its webhook does not exist."""
    async with running(max_bot_token=None) as run:
        assert (await run.request())["max_link"] is None
        assert is_problem(
            await run.call("POST", "/v1/otp/request", {"channel": "max"}), 409, "channel_unavailable"
        )
        assert (await run.call("POST", "/webhooks/max", {})).status == 404


async def _forget_names(tx: Tx) -> None:
    assert isinstance(tx, SqlTx)
    assert await tx.rows("DELETE FROM facts WHERE name LIKE $1 RETURNING name", "%bot_username%")


async def test_no_bot_name_yet(run: Running) -> None:
    """503 until a messenger has told it, here or elsewhere."""
    await run.service.store.write(_forget_names)
    for info in run.service.registration.channels.values():
        info.username = None
    answer = await run.call("POST", "/v1/otp/request", {})
    assert is_problem(answer, 503, "messenger_unavailable")
    assert answer.json["retryable"] is True


@pytest.mark.parametrize("channel", ["telegram", "max"])
@pytest.mark.parametrize(
    "fault,status,code",
    [
        ({"status": 500}, 502, "delivery_unknown"),
        ({"status": 502, "raw": "<html>"}, 502, "delivery_unknown"),
        ({"raw": '{"ok":tru'}, 502, "delivery_unknown"),
        ({"raw": ""}, 502, "delivery_unknown"),
        ({"status": 302, "raw": ""}, 502, "delivery_unknown"),
        ({"drop": True}, 502, "delivery_unknown"),
        ({"drop": True, "when": "after"}, 502, "delivery_unknown"),
        ({"truncate": True, "when": "after"}, 502, "delivery_unknown"),
        ({"status": 400}, 502, "delivery_failed"),
        ({"status": 401}, 502, "delivery_failed"),
    ],
)
async def test_what_a_messenger_does_to_a_send(
    run: Running, channel: str, fault: dict[str, Any], status: int, code: str
) -> None:
    """At most one message, and an honest answer that must not be repeated blindly."""
    person = run.someone(channel)
    sub = await run.subscriber(person)
    before = len(person.codes)
    person.sim.faults.append(Fault(method="sendMessage|POST /messages", **fault))
    answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
    assert is_problem(answer, status, code)
    assert answer.json["retryable"] is False
    assert len(person.codes) - before == (1 if fault.get("when") == "after" else 0)


async def test_status_is_forgotten_after_a_day(run: Running) -> None:
    """404 then, like for one that never was."""
    request = await run.request()
    run.clock.advance(ms=25 * HOUR_MS)
    answer = await run.call("GET", f"/v1/otp/request/{request['request_id']}/status")
    assert is_problem(answer, 404, "request_not_found")
    other = await run.call("GET", "/v1/otp/request/%0d%0aevil/status")
    assert is_problem(other, 404, "request_not_found")
    assert other.json == answer.json


async def test_health_and_readiness(run: Running) -> None:
    """The messengers' state is shown; draining is unready."""
    assert (await run.call("GET", "/healthz")).json == {"status": "ok"}
    ready = await run.call("GET", "/readyz")
    assert ready.status == 200
    assert ready.json["channels"]["telegram"] == {
        "state": "ok",
        "bot": "tapcode_demo_bot",
        "webhook": "registered",
        "detail": None,
        "breaker": "closed",
    }
    run.service.health.draining = True
    assert (await run.call("GET", "/readyz")).status == 503


async def test_a_half_sent_body_is_not_waited_for(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed with an answer instead of being held for ever."""
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.05)
    host, port = run.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/otp/verify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {run.api_key}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    answer = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400")


async def test_a_bug_is_an_honest_500_without_traces(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What went wrong is in the log, not in the answer."""

    async def bug(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("otp.service.OtpService.status", bug)
    answer = await run.call("GET", f"/v1/otp/request/{'A' * 16}/status")
    assert is_problem(answer, 500, "internal_error")
    assert "secret" not in answer.text
    assert json.loads(answer.text)["retryable"] is False
