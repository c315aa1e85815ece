"""Events are believed when they are signed and recent, and become values; `standardwebhooks` signs, independently of us."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from calling import REQUEST, SUBSCRIBER
from standardwebhooks.webhooks import Webhook
from tapcode_client import Event, EventType, InvalidEvent, OtpFailed, OtpVerified, OtpWrongCode, verify_event
from tapcode_client.events import PLAIN

NOW = 1_796_000_000
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OLDER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def now() -> float:
    return NOW


def body(kind: str = "otp.verified", **data: Any) -> bytes:
    known = {
        "request_id": REQUEST,
        "subscriber_id": SUBSCRIBER,
        "channel": "telegram",
        "purpose": "login",
        **data,
    }
    return json.dumps({"type": kind, "timestamp": "2026-11-29T03:15:00.250Z", "data": known}).encode()


def headers(told: bytes, *secrets: str, at: int = NOW) -> dict[str, str]:
    """What the service sends with it."""
    moment = datetime.fromtimestamp(at, UTC)
    signatures = [Webhook(secret).sign("msg_1", moment, told.decode()) for secret in secrets]
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(at), "Webhook-Signature": " ".join(signatures)}


def refused(*args: Any) -> str:
    with pytest.raises(InvalidEvent) as caught:
        verify_event(*args, now=now)
    return caught.value.code


def test_a_signed_event_is_a_value() -> None:
    event = verify_event(body(), headers(body(), SECRET), SECRET, now=now)
    assert event == OtpVerified(
        id="msg_1",
        type="otp.verified",
        timestamp=datetime(2026, 11, 29, 3, 15, 0, 250_000, UTC),
        request_id=REQUEST,
        subscriber_id=SUBSCRIBER,
        channel="telegram",
        purpose="login",
        test=False,
    )


def test_every_type_has_a_class() -> None:
    assert {*PLAIN, "otp.failed", "otp.wrong_code"} == set(get_args(EventType))


def test_events_that_carry_more() -> None:
    failed, wrong = body("otp.failed", reason="unknown"), body("otp.wrong_code", attempts_left=2)
    told = verify_event(failed, headers(failed, SECRET), SECRET, now=now)
    assert isinstance(told, OtpFailed)
    assert told.reason == "unknown"
    told = verify_event(wrong, headers(wrong, SECRET), SECRET, now=now)
    assert isinstance(told, OtpWrongCode)
    assert told.attempts_left == 2


def test_a_type_to_come_is_a_plain_event() -> None:
    later = body("otp.teleported", speed=3)
    assert type(verify_event(later, headers(later, SECRET), SECRET, now=now)) is Event


@pytest.mark.parametrize("ours", [[SECRET], [OLDER], [SECRET, OLDER], [OLDER, SECRET]])
@pytest.mark.parametrize("theirs", [(SECRET, OLDER), (OLDER, SECRET)])
def test_while_secrets_change_one_that_fits_is_enough(ours: list[str], theirs: tuple[str, str]) -> None:
    assert verify_event(body(), headers(body(), *theirs), ours, now=now).test is False


def test_what_is_not_ours_is_refused() -> None:
    right = headers(body(), SECRET)
    assert refused(body(), right, OLDER) == "bad_signature"
    assert refused(body() + b" ", right, SECRET) == "bad_signature"
    assert refused(body(), {**right, "Webhook-Id": "msg_2"}, SECRET) == "bad_signature"
    assert refused(body(), {**right, "Webhook-Timestamp": str(NOW + 1)}, SECRET) == "bad_signature"
    assert refused(body(), right, []) == "bad_signature"
    for signature in (
        "",
        "v1",
        "v1,",
        "v2" + right["Webhook-Signature"][2:],
        right["Webhook-Signature"][3:],
        "v1,é",
    ):
        assert refused(body(), {**right, "Webhook-Signature": signature}, SECRET) == "bad_signature"


@pytest.mark.parametrize("missing", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_header_that_is_missing(missing: str) -> None:
    right = headers(body(), SECRET)
    del right[missing]
    assert refused(body(), right, SECRET) == "missing_header"


@pytest.mark.parametrize("off", [-300, 300])
def test_five_minutes_are_tolerated_either_way(off: int) -> None:
    assert verify_event(body(), headers(body(), SECRET, at=NOW + off), SECRET, now=now).id == "msg_1"
    beyond = headers(body(), SECRET, at=NOW + off + off // 300)
    assert refused(body(), beyond, SECRET) == "stale_event"


@pytest.mark.parametrize("moment", ["", "now", "1e9", "-1", "nan", "9" * 13])
def test_a_time_that_is_none(moment: str) -> None:
    assert refused(body(), {**headers(body(), SECRET), "Webhook-Timestamp": moment}, SECRET) == "stale_event"


@pytest.mark.parametrize(
    "told", [b"[]", b"no", b'{"type": "otp.sent"}', b'{"type": 1, "timestamp": "x", "data": {}}']
)
def test_a_signed_body_that_says_nothing(told: bytes) -> None:
    assert refused(told, headers(told, SECRET), SECRET) == "malformed_event"


@pytest.mark.parametrize("bad", ["", "whsec_", "whsec_!", "whsec_QUJD"])
def test_a_secret_that_is_none_is_a_mistake_of_the_settings(bad: str) -> None:
    """An empty one would let everybody sign."""
    with pytest.raises(ValueError, match="a secret is"):
        verify_event(body(), headers(body(), SECRET), bad, now=now)
