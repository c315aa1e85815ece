"""The life cycles as tables, and what the world is told of a request at each moment. Without any store."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp.lifecycle import DELIVERY_STEPS, REQUEST_STEPS, SPENT, UNDER_WAY, status_at
from otp.model import (
    Cause,
    Channel,
    CodeSeed,
    CodeTerms,
    Delivery,
    DeliveryState,
    Mode,
    Person,
    Request,
    RequestStatus,
)
from tests.fakes import START

TERMS = CodeTerms("login", 5, 3, 6)
REQUEST = Request(
    id="r" * 16, project_id="p", mode=Mode.LIVE, channel=None, terms=TERMS, status=RequestStatus.PENDING,
    created_at=START, expires_at=START + 900_000, finished_at=None, bound_to=None, subscriber_id=None,
)  # fmt: skip
DELIVERY = Delivery(
    id="d", project_id="p", subscriber_id="s", person=Person(Channel.MAX, 1), request_id=REQUEST.id,
    cause=Cause.CONSENT, terms=TERMS, seed=CodeSeed(bytes(16), "k", 6), code_id="c", reuses=False,
    state=DeliveryState.CLAIMED, refusal=None, tries=0, claimed_at=START + 899_000, due_at=START + 899_000,
    give_up_at=START + 914_000, attempted_at=None,
)  # fmt: skip

REQUEST_MAY = {("pending", "sent"), ("pending", "cancelled"), ("pending", "expired")}
DELIVERY_MAY = {
    ("claimed", "attempting"),
    ("claimed", "refused"),
    ("attempting", "claimed"),
    ("attempting", "accepted"),
    ("attempting", "refused"),
    ("attempting", "unknown"),
}


@pytest.mark.parametrize("before, after", list(product(RequestStatus, repeat=2)))
def test_a_request_goes_only_forward(before: RequestStatus, after: RequestStatus):
    """From pending to one of three ends, and never from there."""
    assert (after in REQUEST_STEPS[before]) == ((before, after) in REQUEST_MAY)


@pytest.mark.parametrize("before, after", list(product(DeliveryState, repeat=2)))
def test_a_delivery_takes_only_these_steps(before: DeliveryState, after: DeliveryState):
    """From claimed over attempting to an outcome; back only when it certainly did not arrive."""
    assert (after in DELIVERY_STEPS[before]) == ((before, after) in DELIVERY_MAY)


@pytest.mark.parametrize("states, steps", [(RequestStatus, REQUEST_STEPS), (DeliveryState, DELIVERY_STEPS)])
def test_every_state_stands_in_its_table(states, steps):
    """A new state can't be forgotten."""
    assert set(steps) == set(states)


def test_what_is_under_way_is_what_has_not_ended():
    """A state is under way if and only if steps lead out of it."""
    assert {state for state, steps in DELIVERY_STEPS.items() if steps} == UNDER_WAY


def test_only_certain_refusals_spend_nothing():
    """Whatever arrived, may have arrived or may still arrive counts against the send limit."""
    assert set(DeliveryState) - SPENT == {DeliveryState.REFUSED}


@pytest.mark.parametrize(
    "at_ms, alone, with_delivery",
    [
        (0, "pending", "pending"),
        (899_999, "pending", "pending"),
        (900_000, "expired", "pending"),
        (900_001, "expired", "pending"),
        (914_999, "expired", "pending"),
        (915_000, "expired", "expired"),
        (10**9, "expired", "expired"),
    ],
)
@pytest.mark.parametrize("state", sorted(UNDER_WAY))
def test_a_pending_request_at_each_moment(at_ms: int, alone: str, with_delivery: str, state: DeliveryState):
    """It ends at 900 s sharp, or up to 15 s later while a delivery is under way."""
    assert status_at(REQUEST, None, START + at_ms) == alone
    assert status_at(REQUEST, replace(DELIVERY, state=state), START + at_ms) == with_delivery


@pytest.mark.parametrize("status", [status for status in RequestStatus if status != "pending"])
@pytest.mark.parametrize("at_ms", [0, 899_999, 900_000, 914_999, 915_000, 10**10])
@pytest.mark.parametrize("under_way", [None, DELIVERY], ids=["alone", "delivery"])
def test_an_end_never_changes(status: RequestStatus, at_ms: int, under_way: Delivery | None):
    """Sent, cancelled and expired stay so, whatever the time and whatever is under way."""
    assert status_at(replace(REQUEST, status=status), under_way, START + at_ms) == status


@given(st.lists(st.integers(0, 1_000_000), min_size=2, max_size=20), st.booleans())
def test_time_alone_never_makes_a_request_pending_again(moments: list[int], delivering: bool):
    """Once expired, always expired."""
    told = [status_at(REQUEST, DELIVERY if delivering else None, START + at) for at in sorted(moments)]
    assert told == sorted(told, key=[RequestStatus.PENDING, RequestStatus.EXPIRED].index)
