"""What may be logged holds no secret, and nothing that a caller hands in leads elsewhere."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import httpx
import pytest
from calling import KEY, REQUEST, SUBSCRIBER, Caller, problem, told
from tapcode_client import AsyncTapcode, InternalError, Tapcode, TapcodeError, UnreadableAnswer
from tapcode_client._core import Answer, Exchange

CODE = "482916"
PHONE = "+12025550142"
SECRET = "whsec_" + "A" * 43 + "="


def test_a_client_does_not_show_its_key(kind: Any) -> None:
    client, _ = told(kind, [])
    assert repr(client.client) == f"{kind.__name__}('http://tapcode.test')"
    assert KEY not in str(vars(client.client)) + str(vars(client.client._http))


@pytest.mark.parametrize(
    "reply",
    [
        httpx.ReadTimeout("no"),
        problem(500, "internal_error"),
        httpx.Response(200, text=CODE),
        httpx.Response(200, json={}),
    ],
    ids=["lost", "problem", "unreadable", "a field less"],
)
def test_an_error_shows_neither_key_nor_code(kind: Any, reply: Any) -> None:
    client, _ = told(kind, [reply], retries=0)
    with pytest.raises(TapcodeError) as caught:
        client.verify(CODE, subscriber_id=SUBSCRIBER, request_id=REQUEST)
    shown = repr(caught.value) + str(caught.value) + repr(caught.value.problem)
    shown += "".join(traceback.format_exception(caught.value))
    assert CODE not in shown.replace("CODE", "")
    assert KEY not in shown


def test_what_a_call_keeps_in_its_frames_shows_neither_key_nor_code(kind: Any) -> None:
    """Error trackers write down the local variables of every frame. Only arguments and the body hold the code."""
    client, _ = told(kind, [httpx.Response(500, text=CODE)], retries=0)
    with pytest.raises(UnreadableAnswer) as caught:
        client.verify(CODE, subscriber_id=SUBSCRIBER)
    trace, shown = caught.value.__traceback__, []
    while trace is not None:
        if "tapcode_client" in trace.tb_frame.f_code.co_filename:
            shown.append({name: repr(value) for name, value in trace.tb_frame.f_locals.items()})
        trace = trace.tb_next
    assert len(shown) == 3
    assert KEY not in str(shown)
    for variables in shown:
        assert CODE not in str(
            {name: value for name, value in variables.items() if name not in ("args", "body")}
        )


def test_a_phone_number_is_told_and_not_shown(kind: Any) -> None:
    times = {"created_at": "2026-11-29T03:15:00.250Z", "expires_at": "2026-11-29T03:30:00.250Z"}
    sent = {"status": "sent", "subscriber_id": REQUEST, "channel": "telegram", **times}
    sub = {
        "channel": "telegram",
        "language": "en",
        "subscribed_at": times["created_at"],
        "locked": False,
        "external_id": None,
    }
    answers = [{**sent, "phone_pending": True}, {**sent, "phone": PHONE}, {**sub, "phone": PHONE}, sub]
    client, _ = told(kind, [httpx.Response(200, json=one) for one in [sent, *answers]])
    plain, pending, shared = (client.status(REQUEST) for _ in range(3))
    assert [(one.phone, one.phone_pending) for one in (plain, pending, shared)] == [
        (None, False),
        (None, True),
        (PHONE, False),
    ]
    kept, nothing = client.get_subscriber("s"), client.get_subscriber("s")
    assert (kept.phone, nothing.phone) == (PHONE, None)
    assert PHONE not in repr([shared, kept])


def test_what_is_sent_and_what_came_are_not_shown() -> None:
    sent = Exchange("POST", "/v1/otp/verify", {}, CODE.encode(), {"Idempotency-Key": CODE}, 1.0)
    assert CODE not in repr(sent) + repr(Answer(200, {}, CODE.encode()))


def test_results_do_not_show_what_opens_a_door(kind: Any) -> None:
    links = {"telegram_link": f"https://t.me/b?start=otp_{REQUEST}", "max_link": None}
    made = {
        "request_id": REQUEST,
        "pairing_code": "7KQ2-M9TX",
        "match_number": "42",
        "expires_in": 900,
        **links,
    }
    webhook = {
        "id": "we_" + "a" * 24,
        "url": "https://shop.example/",
        "status": "enabled",
        "created_at": "2026-11-29T03:15:00.250Z",
        "secret": SECRET,
    }
    rotated = {"id": "we_" + "a" * 24, "secret": SECRET, "old_secret_until": "2026-11-30T03:15:00.250Z"}
    client, _ = told(kind, [httpx.Response(200, json=one) for one in (made, webhook, rotated)])
    request = client.request()
    assert (request.pairing_code, request.match_number, request.chat_text) == (
        "7KQ2-M9TX",
        "42",
        f"otp_{REQUEST}",
    )
    assert "7KQ2" not in repr(request)
    assert "42" not in repr(request)
    new = client.create_webhook("https://shop.example/")
    assert new.secret == SECRET
    assert SECRET not in repr(new) + repr(client.rotate_webhook_secret(new.id))


def test_errors_can_be_pickled(kind: Any) -> None:
    """As task queues do."""
    client, _ = told(kind, [problem(500, "internal_error")])
    with pytest.raises(InternalError) as caught:
        client.status(REQUEST)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - of our own making
    assert (type(again), again.code, again.request_id) == (InternalError, "internal_error", "of-the-answer")


@pytest.mark.parametrize("bad", ["", "../webhooks", "a/b", "a?b", "..", "%2e", "a" * 65, "é"])
def test_an_id_leads_nowhere_else(kind: Any, bad: str) -> None:
    client, service = told(kind, [])
    for call in (
        client.status,
        client.cancel,
        client.wait_until_sent,
        client.delete_subscriber,
        client.play_consent,
    ):
        with pytest.raises(ValueError, match="an id is"):
            call(bad)
    assert service.asked == []


@pytest.mark.parametrize("bad", ["", "a b", "a\r\nX: y", "é", "a" * 256])
def test_a_key_of_a_call_is_no_way_into_the_headers(kind: Any, bad: str) -> None:
    client, _ = told(kind, [])
    with pytest.raises(ValueError, match="idempotency_key"):
        client.send(SUBSCRIBER, idempotency_key=bad)


@pytest.mark.parametrize("bad", ["", "tc_live_x\r\nX: y", "tc live"])
def test_an_api_key_that_is_none_is_refused_without_being_shown(
    kind: type[Tapcode] | type[AsyncTapcode], bad: str
) -> None:
    with pytest.raises(ValueError, match="an API key is visible ASCII") as caught:
        kind(bad, "http://tapcode.test")
    assert "X: y" not in str(caught.value)


@pytest.mark.parametrize(
    "bad", ["", "tapcode.test", "ftp://tapcode.test", "http://", "http://u:p@h", "http://h?q=1"]
)
def test_an_address_that_is_none_is_refused(kind: type[Tapcode] | type[AsyncTapcode], bad: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        kind(KEY, bad)


@pytest.mark.parametrize("bad", ["http://tapcode.test/v1", "http://tapcode.test/otp/v1/"])
def test_an_address_with_the_version_in_it_is_refused(
    kind: type[Tapcode] | type[AsyncTapcode], bad: str
) -> None:
    """Else every call would be 404, which says nothing of why."""
    with pytest.raises(ValueError, match="ends before /v1"):
        kind(KEY, bad)


def test_a_service_below_a_path_is_reached(kind: Any) -> None:
    """And a slash at the end of the address changes nothing; the key is in the header."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"webhooks": []})

    async def later(request: httpx.Request) -> httpx.Response:
        return answer(request)

    client = kind(
        KEY, "http://h/otp/", transport=httpx.MockTransport(later if kind is AsyncTapcode else answer)
    )
    assert Caller(client).list_webhooks() == ()
    assert str(seen[0].url) == "http://h/otp/v1/webhooks"
    assert seen[0].headers["Authorization"] == f"Bearer {KEY}"
