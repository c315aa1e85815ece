"""When a call is made again, and when it is not; on both clients."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from calling import REQUEST, SUBSCRIBER, busy, problem, sent, status, told
from tapcode_client import (
    ConnectionFailed,
    DeliveryUnknown,
    IdempotencyInProgress,
    RateLimited,
    SendInProgress,
    StorageUnavailable,
    SubscriberNotFound,
    UnreadableAnswer,
)


def test_a_lost_answer_is_asked_for_again_with_the_same_key(kind: Any) -> None:
    client, service = told(kind, [httpx.ReadTimeout("no"), httpx.ConnectError("no"), sent()])
    assert client.send(SUBSCRIBER).expires_in_seconds == 300
    assert [one.headers["Idempotency-Key"] for one in service.asked] == ["key-1"] * 3
    assert service.bodies == [{"subscriber_id": SUBSCRIBER}] * 3


def test_each_call_has_a_key_of_its_own(kind: Any) -> None:
    client, service = told(kind, [sent(), sent()])
    client.send(SUBSCRIBER)
    client.send(SUBSCRIBER)
    assert [one.headers["Idempotency-Key"] for one in service.asked] == ["key-1", "key-2"]


def test_the_callers_key_is_taken(kind: Any) -> None:
    client, service = told(kind, [busy(), sent()])
    client.send(SUBSCRIBER, idempotency_key="mine")
    assert [one.headers["Idempotency-Key"] for one in service.asked] == ["mine", "mine"]


def test_a_get_has_no_key(kind: Any) -> None:
    client, service = told(kind, [status("pending")])
    client.status(REQUEST)
    assert "Idempotency-Key" not in service.asked[0].headers


@pytest.mark.parametrize(
    "answer",
    [
        problem(503, "storage_unavailable", retryable=True, retry_after=3),
        problem(503, "messenger_unavailable", retryable=True, retry_after=3),
        problem(429, "rate_limited", retryable=True, retry_after=3),
        problem(409, "idempotency_in_progress", retryable=True, retry_after=3),
        httpx.Response(502, text="<html>Bad gateway</html>", headers={"Retry-After": "3"}),
    ],
    ids=["storage", "messenger", "limit", "in progress", "a proxy"],
)
def test_what_passes_is_waited_for_as_long_as_the_service_says(kind: Any, answer: httpx.Response) -> None:
    """And half a second more, by chance, so that not all come back at once."""
    client, service = told(kind, [answer, sent()])
    client.send(SUBSCRIBER)
    assert service.slept == [3.5]


def test_without_a_word_from_the_service_the_pauses_grow(kind: Any) -> None:
    """Full jitter: half of 0.25, 0.5 and 1 second where chance is a half."""
    client, service = told(kind, [httpx.ConnectError("no")] * 3 + [sent()])
    client.send(SUBSCRIBER)
    assert service.slept == [0.125, 0.25, 0.5]


@pytest.mark.parametrize(
    "answer, error",
    [
        (problem(502, "delivery_unknown"), DeliveryUnknown),
        (problem(404, "subscriber_not_found"), SubscriberNotFound),
        (problem(409, "send_in_progress", retryable=True, retry_after=1), SendInProgress),
        (problem(503, "storage_unavailable", retryable=False), StorageUnavailable),
        (httpx.Response(404, text="no JSON"), UnreadableAnswer),
        (httpx.Response(301, headers={"Location": "http://elsewhere.test/"}), UnreadableAnswer),
        (httpx.Response(200, text="no JSON"), UnreadableAnswer),
        (httpx.Response(200, json={"sent": True}), UnreadableAnswer),
    ],
    ids=[
        "unknown",
        "gone",
        "on its way",
        "no retry",
        "404 of a proxy",
        "redirect",
        "no JSON",
        "a field less",
    ],
)
def test_what_is_not_safe_or_not_over_soon_is_told_at_once(
    kind: Any, answer: httpx.Response, error: type
) -> None:
    """A second `send` after `send_in_progress` or `delivery_unknown` would be a second message."""
    client, service = told(kind, [answer])
    with pytest.raises(error):
        client.send(SUBSCRIBER)
    assert service.slept == []


def test_there_is_an_end_to_trying(kind: Any) -> None:
    client, service = told(kind, [busy()] * 3, retries=2)
    with pytest.raises(StorageUnavailable):
        client.send(SUBSCRIBER)
    assert len(service.asked) == 3


def test_no_pause_goes_beyond_the_deadline(kind: Any) -> None:
    """A limit that opens in ten minutes is told at once."""
    client, service = told(kind, [problem(429, "rate_limited", retryable=True, retry_after=600)])
    with pytest.raises(RateLimited) as caught:
        client.send(SUBSCRIBER)
    assert (caught.value.retry_after, service.slept) == (600, [])


def test_attempts_share_the_deadline(kind: Any) -> None:
    """Each attempt has what is left, at most its own time-out."""
    client, service = told(kind, [busy(), busy(), busy()], timeout=20, deadline=45)
    service.takes = 18
    with pytest.raises(StorageUnavailable):
        client.send(SUBSCRIBER)
    assert [one.extensions["timeout"]["read"] for one in service.asked] == [20, 20, pytest.approx(4)]


def test_a_call_in_progress_is_waited_for(kind: Any) -> None:
    client, _ = told(
        kind, [problem(409, "idempotency_in_progress", retryable=True, retry_after=1)], retries=0
    )
    with pytest.raises(IdempotencyInProgress):
        client.send(SUBSCRIBER)


def test_a_delete_that_finds_nothing_after_a_lost_answer_has_done_it(kind: Any) -> None:
    client, _ = told(kind, [httpx.ReadError("no"), problem(404, "subscriber_not_found")])
    assert client.delete_subscriber(SUBSCRIBER) is None


def test_a_delete_that_finds_nothing_at_first_says_so(kind: Any) -> None:
    client, _ = told(kind, [busy(), problem(404, "subscriber_not_found")])
    with pytest.raises(SubscriberNotFound):
        client.delete_subscriber(SUBSCRIBER)


# ---- waiting


def test_waiting_polls_until_the_change(kind: Any) -> None:
    client, service = told(kind, [status("pending"), status("sent", subscriber_id=SUBSCRIBER, channel="max")])
    service.takes = 25
    told_at_last = client.wait_until_sent(REQUEST, timeout=60)
    assert (told_at_last.status, told_at_last.subscriber_id, told_at_last.channel) == (
        "sent",
        SUBSCRIBER,
        "max",
    )
    assert [one.url.params["wait"] for one in service.asked] == ["25", "25"]
    assert [one.extensions["timeout"]["read"] for one in service.asked] == [35, 35]


@pytest.mark.parametrize("state", ["cancelled", "expired", "sent"])
def test_waiting_ends_with_the_request(kind: Any, state: str) -> None:
    client, service = told(kind, [status(state)])
    assert client.wait_until_sent(REQUEST).status == state
    assert len(service.asked) == 1


def test_waiting_ends_with_its_time(kind: Any) -> None:
    client, service = told(kind, [status("pending"), status("pending")])
    service.takes = 5
    assert client.wait_until_sent(REQUEST, timeout=10).status == "pending"
    assert [one.url.params["wait"] for one in service.asked] == ["10", "5"]


def test_waiting_does_not_storm_a_service_that_answers_at_once(kind: Any) -> None:
    """One that is stopping does, and the reads of a status are limited."""
    client, service = told(kind, [status("pending")] * 9 + [status("sent")])
    client.wait_until_sent(REQUEST, timeout=25)
    assert service.slept == [1.0] * 9


def test_waiting_outlasts_a_restart(kind: Any) -> None:
    """However many reads fail meanwhile."""
    restart = [httpx.ConnectError("no")] * 8 + [busy(1)]
    client, _ = told(kind, [status("pending"), *restart, status("sent")])
    assert client.wait_until_sent(REQUEST, timeout=60).status == "sent"


def test_waiting_says_what_lasted(kind: Any) -> None:
    client, service = told(kind, [httpx.ConnectError("no")] * 100)
    with pytest.raises(ConnectionFailed):
        client.wait_until_sent(REQUEST, timeout=30)
    assert service.now - 1000 <= 30


def test_waiting_says_what_it_knows_when_the_service_went_away(kind: Any) -> None:
    client, service = told(kind, [status("pending"), *[httpx.ConnectError("no")] * 100])
    assert client.wait_until_sent(REQUEST, timeout=30).status == "pending"
    assert service.now - 1000 <= 30


def test_the_last_read_gets_its_answer(kind: Any) -> None:
    """However little time is left, the service has ten seconds beyond its wait."""
    client, service = told(kind, [status("pending"), status("pending")])
    service.takes = 26
    client.wait_until_sent(REQUEST, timeout=30)
    assert [one.extensions["timeout"]["read"] for one in service.asked] == [35, pytest.approx(14)]


def test_waiting_for_no_time_reads_once(kind: Any) -> None:
    client, service = told(kind, [status("pending")])
    assert client.wait_until_sent(REQUEST, timeout=0).status == "pending"
    assert "wait" not in service.asked[0].url.params
