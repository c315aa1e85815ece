"""Against the real service in test mode: every operation, and what the errors are."""

from __future__ import annotations

import http.server
import importlib.resources
import inspect
import queue
import re
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import tapcode_client
from calling import Caller, Service
from tapcode_client import (
    AsyncTapcode,
    Context,
    DeliveryUnknown,
    EventNotFound,
    IdempotencyMismatch,
    InvalidEvent,
    MessengerUnavailable,
    OtpVerified,
    Page,
    PageUnavailable,
    PhoneUnavailable,
    RateLimited,
    RequestNotFound,
    RequestNotPending,
    SubscriberLocked,
    SubscriberNotFound,
    Tapcode,
    Unauthorized,
    ValidationFailed,
    WebhookNotFound,
    testing,
    verify_event,
)
from tapcode_client.errors import BY_CODE

OPERATIONS = {
    "requestCode": "request",
    "requestStatus": "status",
    "cancelRequest": "cancel",
    "verifyCode": "verify",
    "sendCode": "send",
    "revokeCode": "revoke",
    "readSubscriber": "get_subscriber",
    "forgetSubscriber": "delete_subscriber",
    "createWebhook": "create_webhook",
    "listWebhooks": "list_webhooks",
    "deleteWebhook": "delete_webhook",
    "rotateWebhookSecret": "rotate_webhook_secret",
    "enableWebhook": "enable_webhook",
    "listEvents": "list_events",
    "redeliverEvent": "redeliver_event",
    "playConsent": "play_consent",
    "playCancel": "play_cancel",
    "playReport": "play_report",
    "playPhone": "play_phone",
    "playSkip": "play_skip",
    "playExpire": "play_expire",
}


OTHERS = {"courierKratos"}
"""Called by Ory Kratos itself."""


@pytest.fixture(scope="session")
def document(service: Service) -> Any:
    """What the service says about itself."""
    return httpx.get(f"{service.url}/openapi.json", timeout=10).json()


@pytest.fixture(scope="session")
def operations(document: Any) -> dict[str, Any]:
    """Operations for a site's backend, by their ids."""
    paths = [methods for path, methods in document["paths"].items() if path.startswith("/v1/")]
    found = [one for methods in paths for one in methods.values() if isinstance(one, dict)]
    return {one["operationId"]: one for one in found if one["operationId"] not in OTHERS}


def test_every_operation_has_its_method_with_every_field(document: Any, operations: dict[str, Any]) -> None:
    """In both clients, and nothing is left out that the service takes."""
    assert set(operations) == set(OPERATIONS)
    for name, one in operations.items():
        content = one.get("requestBody", {}).get("content", {})
        reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
        queries = {told["name"] for told in one.get("parameters", []) if told.get("in") == "query"}
        fields = {*schema.get("properties", {}), *queries} - {"wait"}  # which `wait_until_sent` sends
        for kind in (Tapcode, AsyncTapcode):
            given = inspect.signature(getattr(kind, OPERATIONS[name])).parameters
            assert fields <= set(given), name


def test_every_code_that_can_happen_has_a_type(operations: dict[str, Any]) -> None:
    """The document names the codes of each operation in the descriptions of its answers."""
    answers = [
        told for one in operations.values() for status, told in one["responses"].items() if status >= "400"
    ]
    named = {code for answer in answers for code in re.findall(r"`([a-z_]+)`", answer["description"])}
    never_caused = {"malformed_json", "method_not_allowed", "body_too_large", "unsupported_media_type"}
    assert (named | {"not_found"}) - never_caused == set(BY_CODE)


def test_a_page_that_nobody_could_open(client: Caller) -> None:
    """The service of these tests has no address for browsers; with one, the FastAPI example uses its page."""
    with pytest.raises(PageUnavailable):
        client.request(page=Page(return_url="https://shop.example/done", state="b7d1c0"))


def test_a_phone_number_that_nobody_could_prove(client: Caller) -> None:
    """The service of these tests has MAX alone; and of a request that does not ask, nothing can be played."""
    with pytest.raises(PhoneUnavailable):
        client.request(phone="ask")
    request = client.request()
    client.play_consent(request.request_id)
    for play in (client.play_phone, client.play_skip):
        with pytest.raises(RequestNotPending):
            play(request.request_id)


def test_a_login(client: Caller) -> None:
    request = client.request(
        context=Context(action="Sign in", device="Chrome"), ttl_minutes=10, code_length=8, match=True
    )
    assert (request.test, request.expires_in, request.telegram_link) == (True, 900, None)
    assert request.max_link == f"https://max.ru/id1_bot?start={request.chat_text}"
    assert request.match_number
    assert (request.channels.telegram, request.channels.max) == ("off", "ok")
    assert request.links == {"max": request.max_link}
    assert client.status(request.request_id).status == "pending"
    assert client.play_consent(request.request_id).status == "sent"
    status = client.wait_until_sent(request.request_id)
    assert (status.status, status.channel, status.verified, status.sent_at is not None) == (
        "sent",
        "max",
        False,
        True,
    )
    given = {"subscriber_id": status.subscriber_id, "request_id": request.request_id}
    wrong = client.verify("00000000", **given)
    assert (bool(wrong), wrong.reason, wrong.attempts_left) == (False, "wrong_code", 2)
    assert client.verify("4242 4242", **given)
    assert client.verify("42424242", **given).reason == "no_active_code"
    assert client.status(request.request_id).verified


def test_the_messengers_that_work(client: Caller) -> None:
    assert client.request(channel="auto").links.keys() == {"max"}


def test_a_context_may_be_a_mapping(client: Caller) -> None:
    """The service shows no context to its caller, so the same key tells whether it is the same."""
    given = {"action": "Sign in", "amount": "100 ₽"}
    first = client.request(context=Context(**given), idempotency_key=f"context-{id(client)}")
    assert client.request(context=given, idempotency_key=f"context-{id(client)}") == first
    with pytest.raises(TypeError, match="context is a Context, or a mapping"):
        client.request(context="Sign in")


def test_the_example_of_the_readme(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as it stands, by a person who agrees at once."""
    readme = Path(__file__).parents[1] / "README.md"
    example = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    monkeypatch.setenv("TAPCODE_API_KEY", service.test_key)
    monkeypatch.setenv("TAPCODE_URL", service.url)
    said: list[str] = []
    names: dict[str, Any] = {"input": lambda _: testing.played_code()}

    def show(*words: object) -> None:
        said.append(" ".join(map(str, words)))
        if len(said) == 1:
            names["tapcode"].play_consent(names["request"].request_id)

    names["print"] = show
    exec(example, names)  # noqa: S102 - our own words
    names["tapcode"].close()
    assert said[0].startswith("Open None or https://max.ru/")
    assert said[1] == f"This is {names['status'].subscriber_id}"


def test_waiting_hears_of_the_change_at_once(client: Caller, service: Service) -> None:
    request = client.request()
    with Tapcode(service.test_key, service.url) as person:
        playing = threading.Timer(0.3, person.play_consent, [request.request_id])
        began = time.monotonic()
        playing.start()
        assert client.wait_until_sent(request.request_id, timeout=20).status == "sent"
        assert time.monotonic() - began < 10
        playing.join()


def test_waiting_is_over_in_time(client: Caller) -> None:
    assert client.wait_until_sent(client.request().request_id, timeout=1).status == "pending"


def test_a_request_that_is_cancelled(client: Caller) -> None:
    ours, theirs, late = client.request(), client.request(), client.request()
    assert client.cancel(ours.request_id) is None
    assert client.status(ours.request_id).status == "cancelled"
    assert client.play_cancel(theirs.request_id).status == "cancelled"
    assert client.play_expire(late.request_id).status == "expired"
    with pytest.raises(RequestNotPending):
        client.cancel(late.request_id)


def test_a_request_that_the_person_reports(client: Caller) -> None:
    request = client.request()
    client.play_consent(request.request_id)
    assert client.play_report(request.request_id).reported


def test_a_subscriber(client: Caller) -> None:
    request = client.request()
    subscriber_id = client.play_consent(request.request_id).subscriber_id
    found = client.get_subscriber(subscriber_id)
    assert (found.channel, found.locked, found.external_id) == ("max", False, None)
    assert found.subscribed_at.tzinfo is not None
    sent = client.send(subscriber_id, purpose="payment", max_attempts=1)
    assert (sent.expires_in_seconds, sent.test, sent.reused) == (300, True, None)
    assert client.send(subscriber_id, purpose="payment", reuse=True).reused
    assert client.revoke(subscriber_id, purpose="payment") is True
    assert client.revoke(subscriber_id, purpose="payment") is False
    assert client.delete_subscriber(subscriber_id) is None
    with pytest.raises(SubscriberNotFound):
        client.get_subscriber(subscriber_id)


def test_an_account(client: Caller, kind: Any) -> None:
    account = f"user-of-{kind.__name__}"
    request = client.request(external_id=account)
    client.play_consent(request.request_id)
    assert client.verify(testing.played_code(), external_id=account, request_id=request.request_id)
    sent = client.send(external_id=account)
    assert (sent.channel, sent.subscriber_id) == ("max", client.status(request.request_id).subscriber_id)
    assert client.verify(testing.played_code(), external_id=account)
    assert client.get_subscriber(sent.subscriber_id).external_id == account


@pytest.mark.parametrize(
    "subscriber_id, error, code",
    [
        (testing.BLOCKED, SubscriberNotFound, "subscriber_not_found"),
        (testing.RATE_LIMITED, RateLimited, "rate_limited"),
        (testing.MESSENGER_DOWN, MessengerUnavailable, "messenger_unavailable"),
        (testing.DELIVERY_UNKNOWN, DeliveryUnknown, "delivery_unknown"),
        (testing.LOCKED, SubscriberLocked, "subscriber_locked"),
    ],
)
def test_the_outcomes_of_a_send(
    kind: Any, service: Service, subscriber_id: str, error: Any, code: str
) -> None:
    client = Caller(kind(service.test_key, service.url, retries=0))
    with pytest.raises(error) as caught:
        client.send(subscriber_id)
    told = caught.value
    assert (told.code, bool(told.detail), bool(told.request_id)) == (code, True, True)
    assert (told.retry_after is not None) == told.retryable


def test_a_send_that_arrives(client: Caller) -> None:
    assert client.send(testing.DELIVERED).expires_in_seconds == 300
    assert client.verify(testing.played_code(), subscriber_id=testing.DELIVERED)


def test_the_same_key_is_the_same_call(client: Caller, kind: Any) -> None:
    key = f"same-{kind.__name__}"
    first, again = client.request(idempotency_key=key), client.request(idempotency_key=key)
    assert first == again
    with pytest.raises(IdempotencyMismatch):
        client.request(channel="max", idempotency_key=key)


def test_webhooks_and_events(client: Caller) -> None:
    made = client.create_webhook("https://shop.example/tapcode", events=["otp.verified"], description="ours")
    assert (made.events, made.description, made.status) == (("otp.verified",), "ours", "enabled")
    assert made.secret.startswith("whsec_")
    (listed,) = client.list_webhooks()
    assert (listed.id, listed.secret) == (made.id, None)
    rotated = client.rotate_webhook_secret(made.id)
    assert rotated.secret.startswith("whsec_")
    assert rotated.secret != made.secret
    assert client.enable_webhook(made.id).status == "enabled"
    client.send(testing.DELIVERED)
    client.verify(testing.played_code(), subscriber_id=testing.DELIVERED)
    page = client.list_events(webhook_id=made.id, limit=1)
    (event,) = page.events
    assert (event.type, event.webhook_id, event.subscriber_id) == ("otp.verified", made.id, testing.DELIVERED)
    assert client.redeliver_event(event.id) == 1
    assert client.delete_webhook(made.id) is None
    with pytest.raises(WebhookNotFound):
        client.delete_webhook(made.id)
    with pytest.raises(EventNotFound):
        client.redeliver_event("evt_unknown")


class Endpoint(http.server.BaseHTTPRequestHandler):
    """The site's own address for events: it keeps what comes."""

    came: queue.Queue[tuple[bytes, dict[str, str]]] = queue.Queue()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.put((body, dict(self.headers.items())))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Not to the terminal."""


def test_an_event_of_the_service_is_believed(client: Caller) -> None:
    """With the secret of the webhook, after a rotation with the new one too, and with no other."""
    with http.server.HTTPServer(("127.0.0.1", 0), Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        made = client.create_webhook(f"http://127.0.0.1:{server.server_port}/", events=["otp.verified"])
        rotated = client.rotate_webhook_secret(made.id)
        try:
            client.send(testing.DELIVERED)
            client.verify(testing.played_code(), subscriber_id=testing.DELIVERED)
            body, headers = Endpoint.came.get(timeout=20)
        finally:
            client.delete_webhook(made.id)
            server.shutdown()
            thread.join()
    for secret in (made.secret, rotated.secret):
        event = verify_event(body, headers, secret)
        assert isinstance(event, OtpVerified)
        assert (event.subscriber_id, event.test) == (testing.DELIVERED, True)
    with pytest.raises(InvalidEvent):
        verify_event(body, headers, "whsec_" + "A" * 43 + "=")


def test_errors_say_what_is_wrong(client: Caller, kind: Any, service: Service) -> None:
    with pytest.raises(ValidationFailed) as caught:
        client.request(ttl_minutes=31)
    assert [one.field for one in caught.value.errors] == ["ttl_minutes"]
    assert str(caught.value).startswith("validation_failed: ")
    assert "(ttl_minutes: " in str(caught.value)
    with pytest.raises(ValidationFailed) as caught:
        client.request(purpose="A secret 4711", context={"colour": "a secret 4711"})
    assert "purpose: " in str(caught.value)
    assert "context.colour: " in str(caught.value)
    assert "4711" not in str(caught.value)
    with pytest.raises(RequestNotFound):
        client.status("A" * 16)
    with pytest.raises(RequestNotFound):
        client.wait_until_sent("A" * 16)
    stranger = Caller(kind("tc_test_" + "x" * 40, service.url))
    with pytest.raises(Unauthorized):
        stranger.list_webhooks()


def test_all_that_is_public_is_there() -> None:
    for name in tapcode_client.__all__:
        assert getattr(tapcode_client, name) is not None


def test_its_types_are_installed_with_it() -> None:
    """And what runs here is the installed package, not the sources beside the tests."""
    files = importlib.resources.files(tapcode_client)
    assert (files / "py.typed").is_file()
    assert "site-packages" in str(files)
