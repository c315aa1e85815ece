"""What is made of answers of an earlier or a later service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from calling import REQUEST, told
from tapcode_client import Channels, UnreadableAnswer

TELEGRAM, MAX = f"https://t.me/b?start=otp_{REQUEST}", f"https://max.ru/b?start=otp_{REQUEST}"
MADE = {
    "request_id": REQUEST,
    "pairing_code": "7KQ2-M9TX",
    "telegram_link": TELEGRAM,
    "max_link": MAX,
    "expires_in": 900,
}


def requested(kind: Any, **more: Any) -> Any:
    """What `request` makes of an answer."""
    client, _ = told(kind, [httpx.Response(200, json=MADE | more)])
    return client.request()


@pytest.mark.parametrize(
    "telegram, other, order",
    [
        ("ok", "ok", ["telegram", "max"]),
        ("degraded", "ok", ["max", "telegram"]),
        ("degraded", "degraded", ["telegram", "max"]),
        ("of_a_later_service", "ok", ["max", "telegram"]),
    ],
)
def test_the_link_that_works_is_first(kind: Any, telegram: str, other: str, order: list[str]) -> None:
    """A word that is not known is none to lead with, and breaks nothing; nor does another messenger."""
    request = requested(kind, channels={"telegram": telegram, "max": other, "another": "ok"})
    assert [*request.links] == order
    assert request.links == {"telegram": TELEGRAM, "max": MAX}
    assert (request.channels.telegram, request.channels.max) == (telegram, other)
    assert hash(request)


def test_a_messenger_that_is_off_has_no_link(kind: Any) -> None:
    request = requested(kind, telegram_link=None, channels={"telegram": "off", "max": "degraded"})
    assert request.links == {"max": MAX}


def test_an_earlier_service_says_nothing(kind: Any) -> None:
    """Then nothing speaks against either."""
    request = requested(kind)
    assert request.channels == Channels(telegram="ok", max="ok")
    assert [*request.links] == ["telegram", "max"]


@pytest.mark.parametrize("channels", ["ok", [], {"telegram": "ok"}, {"telegram": 1, "max": "ok"}])
def test_what_can_not_be_read_is_said(kind: Any, channels: Any) -> None:
    client, _ = told(kind, [httpx.Response(200, json=MADE | {"channels": channels})] * 4, retries=0)
    with pytest.raises(UnreadableAnswer, match=r"channels|telegram|max|JSON"):
        client.request()
