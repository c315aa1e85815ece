"""The arithmetic of limits and times."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp.model import Cause
from otp.policy import (
    HOUR_MS,
    MINUTE_MS,
    REQUEST_GRACE_MS,
    REQUEST_KEPT_MS,
    REQUEST_LIFE_MS,
    SECOND_MS,
    UPDATE_KEYS_KEPT_MS,
    Policy,
    backoff_ms,
    by_tap,
    wait_for_room,
    whole_minutes,
    whole_seconds,
)

NOW = 1_000
WINDOW = 100


def fits(spent: Sequence[int], limit: int, window_ms: int, now: int) -> bool:
    """Whether one more message is within the limit, by counting."""
    return sum(at > now - window_ms for at in spent) < limit


@given(
    st.lists(st.integers(NOW - 130, NOW + 20), max_size=12),
    st.integers(1, 6),
    st.integers(1, WINDOW),
)
def test_the_wait_is_the_shortest_one_that_helps(spent: list[int], limit: int, window_ms: int):
    """Counting at every millisecond finds the same first moment at which one more fits."""
    waits = (wait for wait in range(2 * WINDOW) if fits(spent, limit, window_ms, NOW + wait))
    found = wait_for_room(spent, limit=limit, window_ms=window_ms, now=NOW)
    assert (found or 0) == next(waits)
    assert found is None or found > 0


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 5), st.integers(1, 60))
def test_no_window_ever_holds_more_than_the_limit(gaps: list[int], limit: int, window_ms: int):
    """A sender who sends whenever it is allowed stays within the limit in every window, wherever it begins."""
    now, sent = 0, list[int]()
    for gap in gaps:
        now += gap
        if wait_for_room(sent, limit=limit, window_ms=window_ms, now=now) is None:
            sent.append(now)
    assert all(sum(start < at <= start + window_ms for at in sent) <= limit for start in range(-1, now + 1))


@given(st.permutations([NOW - 10, NOW - 20, NOW - 30, NOW - 99, NOW - 100, NOW - 500]))
def test_the_order_of_the_times_does_not_matter(spent: list[int]):
    """A store may list them as it likes."""
    assert wait_for_room(spent, limit=3, window_ms=WINDOW, now=NOW) == 70


@pytest.mark.parametrize("age, wait", [(0, 100), (1, 99), (99, 1), (100, None), (101, None)], ids=str)
def test_a_message_leaves_the_window_on_the_millisecond(age: int, wait: int | None):
    """After exactly the window it counts no more."""
    assert wait_for_room([NOW - age], limit=1, window_ms=WINDOW, now=NOW) == wait


def test_an_empty_window_has_room():
    """Nobody waits for the first message."""
    assert wait_for_room([], limit=1, window_ms=WINDOW, now=NOW) is None


def test_far_above_the_limit_the_wait_is_for_enough_to_go():
    """After a lowered limit, one more fits only when all but limit - 1 have left."""
    spent = [NOW - 90, NOW - 80, NOW - 70, NOW - 60]
    assert wait_for_room(spent, limit=1, window_ms=WINDOW, now=NOW) == 40
    assert wait_for_room(spent, limit=2, window_ms=WINDOW, now=NOW) == 30


@pytest.mark.parametrize("tries, wait", [(1, 1000), (2, 2000), (3, 4000), (4, 4000), (1000, 4000)])
def test_waits_between_attempts_double_up_to_four_seconds(tries: int, wait: int):
    """1, 2, 4 seconds, and 4 from then on."""
    assert backoff_ms(tries) == wait


@pytest.mark.parametrize(
    "ms, seconds", [(-5, 1), (0, 1), (1, 1), (999, 1), (1000, 1), (1001, 2), (2000, 2), (599_001, 600)]
)
def test_retry_after_never_says_too_little(ms: int, seconds: int):
    """Seconds are rounded up, and never 0."""
    assert whole_seconds(ms) == seconds


@pytest.mark.parametrize(
    "ms, minutes", [(-1, 1), (0, 1), (1, 1), (60_000, 1), (60_001, 2), (299_999, 5), (300_000, 5)]
)
def test_people_are_never_told_too_few_minutes(ms: int, minutes: int):
    """Minutes are rounded up, and never 0."""
    assert whole_minutes(ms) == minutes


@given(st.integers(0, 10**12))
def test_rounding_up_adds_less_than_one(ms: int):
    """Whoever waits as long as told has waited long enough, and not a second more than needed."""
    assert ms <= whole_seconds(ms) * SECOND_MS < max(ms, 1) + SECOND_MS
    assert ms <= whole_minutes(ms) * MINUTE_MS < max(ms, 1) + MINUTE_MS


@pytest.mark.parametrize("cap, default", [(1, 1), (4, 4), (5, 5), (10, 5), (30, 5)])
def test_the_default_life_is_under_the_operators_cap(cap: int, default: int):
    """min(5, cap) minutes."""
    assert Policy(max_ttl_minutes=cap).default_ttl_minutes == default


@pytest.mark.parametrize("cause", list(Cause))
def test_only_send_is_not_a_tap(cause: Cause):
    """The person's own acts have a window of their own."""
    assert by_tap(cause) == (cause != "send")


def test_the_times_are_the_contracts():
    """900 s, 15 s, 24 h and 48 h."""
    assert (REQUEST_LIFE_MS, REQUEST_GRACE_MS) == (900_000, 15_000)
    assert (REQUEST_KEPT_MS, UPDATE_KEYS_KEPT_MS) == (24 * 3_600_000, 48 * HOUR_MS)
    assert Policy() == Policy(max_ttl_minutes=30, send_limit=5, send_window_ms=600_000, guess_budget=50)
