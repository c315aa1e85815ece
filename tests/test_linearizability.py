"""The checker of histories: what can be explained is, what the rules forbid is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability import (
    VERIFIED,
    Answer,
    Ask,
    Cancel,
    Claim,
    Drop,
    Finding,
    History,
    Revoke,
    Seen,
    Settle,
    State,
    Status,
    Step,
    Stop,
    Unlock,
    Verify,
    Withdraw,
    explained,
    judged,
)

FIVE = State(live=0, most=5)
"""A subscriber with code 0, of which five guesses may be evaluated."""
NONE: Answer = ("no_active_code", 0)
LOCKED: Answer = ("locked", 0)


def left(count: int) -> Answer:
    """A wrong guess with so many left."""
    return ("wrong_code", count)


def guesses(*calls: tuple[int | None, Answer], at_once: bool = False) -> History:
    """Guesses one after the other, or all at once."""
    history = History()
    for number, (code, answer) in enumerate(calls):
        begun = number if at_once else 100 + 10 * number
        history.verify(code, answer, begun, begun + (1000 if at_once else 5))
    return history


def volley(*calls: tuple[int | None, Answer]) -> History:
    """Guesses all at once."""
    return guesses(*calls, at_once=True)


RIGHT: dict[str, tuple[State, History]] = {
    "true, then nothing": (FIVE, guesses((0, VERIFIED), (0, NONE))),
    "one true of many": (FIVE, volley((0, NONE), (0, VERIFIED), *[(0, NONE)] * 28)),
    "five wrong, then nothing": (FIVE, guesses(*[(None, left(n)) for n in (4, 3, 2, 1, 0)], (0, NONE))),
    "a volley of fifty, of which five were evaluated": (
        FIVE,
        volley(*[(None, NONE)] * 45, *[(None, left(n)) for n in (0, 2, 4, 1, 3)]),
    ),
    "the budget is less than the code's rest": (
        State(live=0, most=5, budget=3, wrong=1),
        guesses((None, left(1)), (None, left(0)), (0, LOCKED)),
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_explained(name: str) -> None:
    """Sequences and volleys that the rules allow."""
    start, history = RIGHT[name]
    assert explained(history, start).reason is None


WRONG: dict[str, tuple[State, History]] = {
    "two trues for one code": (FIVE, guesses((0, VERIFIED), (0, VERIFIED))),
    "two trues for one code at once": (FIVE, volley((0, VERIFIED), (0, VERIFIED), (0, NONE))),
    "six evaluated of five": (FIVE, volley(*[(None, left(n)) for n in (4, 3, 2, 1, 0, 0)])),
    "true after the last guess": (FIVE, guesses(*[(None, left(n)) for n in (4, 3, 2, 1, 0)], (0, VERIFIED))),
    "attempts_left stands still": (FIVE, guesses((None, left(4)), (None, left(4)))),
    "attempts_left stands still in a volley": (FIVE, volley((None, left(4)), (None, left(4)))),
    "attempts_left begins one too high": (FIVE, guesses((None, left(5)))),
    "attempts_left skips": (FIVE, guesses((None, left(4)), (None, left(2)))),
    "a guess more than the budget": (
        State(live=0, most=9, budget=3),
        volley(*[(None, left(n)) for n in (2, 1, 0, 0)]),
    ),
    "no lock at the budget": (
        State(live=0, most=3, budget=3),
        guesses(*[(None, left(n)) for n in (2, 1, 0)], (0, NONE)),
    ),
    "locked before the budget": (FIVE, guesses((None, left(4)), (None, LOCKED))),
    "true while locked": (State(live=0, most=5, locked=True), guesses((0, VERIFIED))),
    "nothing though a code lives": (FIVE, guesses((0, NONE))),
    "another code is true": (FIVE, guesses((1, VERIFIED))),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_rules_forbid_is_not_explained(name: str) -> None:
    """And a sentence says where it ends."""
    start, history = WRONG[name]
    reason = explained(history, start).reason
    assert reason is not None
    assert "none of these can come next: " in reason


def around_a_send(code: int, answer: Answer, begun: float, *, sent: str = "sent") -> Finding:
    """One send of code 1 from 10 to 20, and a guess of 5 length."""
    history = History()
    history.send(1, sent, 5, 10, 20)
    history.verify(code, answer, begun, begun + 5)
    return explained(history, FIVE)


def test_an_old_code_is_true_only_before_the_new_one() -> None:
    """While the send is under way either may be true, after its answer the new one alone."""
    assert around_a_send(0, VERIFIED, 0).reason is None
    assert around_a_send(1, VERIFIED, 0).reason is not None
    for code in (0, 1):
        assert around_a_send(code, VERIFIED, 12).reason is None
    assert around_a_send(0, VERIFIED, 30).reason is not None
    assert around_a_send(1, VERIFIED, 30).reason is None
    assert around_a_send(0, left(4), 30).reason is None


def test_a_refused_send_leaves_the_older_code_and_an_unknown_one_does_not() -> None:
    """What certainly did not arrive never lives."""
    assert around_a_send(0, VERIFIED, 30, sent="refused").reason is None
    assert around_a_send(1, VERIFIED, 30, sent="refused").reason is not None
    assert around_a_send(0, VERIFIED, 30, sent="unknown").reason is not None
    assert around_a_send(1, VERIFIED, 30, sent="unknown").reason is None


def test_a_send_without_an_answer_may_have_been_or_not() -> None:
    """Either code may be true afterwards, but not both in the wrong order."""
    for codes, possible in {(0,): True, (1,): True, (0, 1): True, (1, 0): False}.items():
        history = History()
        history.send(1, "lost", 5, 10, None)
        for number, code in enumerate(codes):
            history.verify(code, VERIFIED, 30 + 10 * number, 35 + 10 * number)
        assert (explained(history, FIVE).reason is None) is possible, codes


def test_a_guess_without_an_answer_may_have_been_or_not() -> None:
    """It may have cost an attempt or the code, at any time after it began."""
    for answer, possible in ((left(4), True), (left(3), True), (left(2), False), (NONE, False)):
        history = guesses((None, answer))
        history.verify(None, None, 50, None)
        assert (explained(history, FIVE).reason is None) is possible, answer
    history = guesses((0, NONE))
    history.verify(0, None, 50, None)
    assert explained(history, FIVE).reason is None


def test_nothing_is_true_after_a_stop_that_returned() -> None:
    """Nor is anything sent; coming back revives no code."""
    for begun, possible in ((0, True), (30, False)):
        history = History()
        history.add(Stop(), 10, 20)
        history.verify(0, VERIFIED, begun, begun + 15)
        assert (explained(history, FIVE).reason is None) is possible
    history = History()
    history.add(Stop(), 10, 20)
    history.send(1, "sent", 5, 30, 40)
    assert explained(history, FIVE).reason is not None
    history = History()
    history.add(Stop(), 10, 20)
    history.add(Ask(1, consent=True), 30, 40)
    history.verify(0, VERIFIED, 50, 60)
    assert explained(history, FIVE).reason is not None


def test_unlocking_revives_no_code_and_resets_the_count() -> None:
    """At the budget all codes die for good."""
    start = State(live=0, most=9, budget=2)
    for after, possible in ((NONE, True), (VERIFIED, False), (LOCKED, False)):
        history = guesses((None, left(1)), (None, left(0)), (0, LOCKED))
        history.add(Unlock(), 200, 210)
        history.verify(0, after, 220, 230)
        assert (explained(history, start).reason is None) is possible
    history = guesses((None, left(1)), (None, left(0)))
    history.add(Unlock(), 200, 210)
    history.send(1, "sent", 9, 220, 230)
    history.verify(None, left(1), 240, 250)
    assert explained(history, start).reason is None


def ends(fates: dict[str, bool], *, delivered: bool) -> None:
    """Consent and cancel at once, then the statuses in question."""
    for status, possible in fates.items():
        history = History()
        history.add(Ask(1, consent=True), 10, 20)
        history.add(Cancel(1), 11, 21)
        if delivered:
            history.delivered(1, 3, unknown=False, begun=10, ended=40)
        else:
            history.not_delivered(1, 10, 40)
        history.add(Status(1, status), 50, 60)
        assert (explained(history, FIVE).reason is None) is possible, status


def test_a_request_has_one_end() -> None:
    """Sent with its code, or cancelled without one."""
    ends({"sent": True, "cancelled": False, "pending": False}, delivered=True)
    ends({"sent": False, "cancelled": True}, delivered=False)


def test_an_end_never_changes() -> None:
    """No status goes back."""
    history = History()
    history.add(Cancel(1), 10, 20)
    history.add(Status(1, "cancelled"), 30, 40)
    history.add(Ask(1, consent=True), 50, 60)
    history.delivered(1, 3, unknown=False, begun=50, ended=70)
    assert explained(history, FIVE).reason is not None


@pytest.mark.parametrize(
    "answer, delivered, fates",
    [
        ("cancelled", False, {"cancelled"}),
        ("cancelled", True, set()),
        ("over", True, {"sent"}),
        ("over", False, set()),
        ("busy", True, {"sent"}),
        ("busy", False, {"pending"}),
    ],
)
def test_what_a_site_cancels_is_over(answer: str, delivered: bool, fates: set[str]) -> None:
    """At once with a consent: it was in time and no code goes out, or too late; busy is only what is under way."""
    for status in ("sent", "cancelled", "pending"):
        history = History()
        history.add(Ask(1, consent=True), 10, 20)
        history.add(Withdraw(1, answer), 11, 21)
        if delivered:
            history.delivered(1, 3, unknown=False, begun=10, ended=40)
        else:
            history.not_delivered(1, 10, 40)
        history.add(Status(1, status), 50, 60)
        assert (explained(history, FIVE).reason is None) is (status in fates), status


def test_the_code_of_a_request_that_a_site_cancelled_is_dead() -> None:
    """One that may have arrived dies with it."""
    for begun, possible in ((0, True), (30, False)):
        history = History()
        history.add(Withdraw(0, "cancelled"), 10, 20)
        history.verify(0, VERIFIED, begun, begun + 5)
        start = FIVE._replace(fates=frozenset({(0, "unknown")}))
        assert (explained(history, start).reason is None) is possible


@pytest.mark.parametrize(
    "answer, before, after", [("revoked", True, False), ("none", False, False), ("busy", False, False)]
)
def test_a_revoked_code_is_dead(answer: str, before: bool, after: bool) -> None:
    """It was true before; there must have been one for `revoked` and none for `none`, and nothing was busy here."""
    for begun, possible in ((0, answer == "none"), (30, after)):
        history = History()
        history.add(Revoke(answer), 10, 20)
        history.verify(0, VERIFIED, begun, begun + 5)
        assert (explained(history, FIVE).reason is None) is possible
    history = History()
    history.add(Revoke(answer), 10, 20)
    history.verify(0, NONE, 30, 35)
    assert (explained(history, FIVE).reason is None) is before


def test_nothing_is_revoked_while_a_code_is_on_its_way() -> None:
    """Busy it is, and afterwards it is revoked."""
    for answer, begun, possible in (("busy", 12, True), ("busy", 30, False), ("revoked", 30, True)):
        history = History()
        history.send(1, "sent", 5, 10, 20)
        history.add(Revoke(answer), begun, begun + 5)
        history.verify(1, NONE if answer == "revoked" else VERIFIED, 40, 45)
        assert (explained(history, FIVE).reason is None) is possible, (answer, begun)


def test_one_consent_is_one_code() -> None:
    """However often it is pressed; a second delivery has no explanation."""
    for deliveries, possible in ((1, True), (2, False)):
        history = History()
        for number in range(10):
            history.add(Ask(1, consent=True), number, 20 + number)
        for _ in range(deliveries):
            history.delivered(1, 3, unknown=False, begun=0, ended=50)
        assert (explained(history, FIVE).reason is None) is possible


@pytest.mark.parametrize("last, possible", [(NONE, True), (VERIFIED, False)])
def test_a_large_volley_takes_no_exponential_time(last: Answer, possible: bool) -> None:
    """Sixty guesses, some without an answer, a send and a stop, all at once: the search ends soon either way."""
    history = volley(*[(None, NONE)] * 27, *[(None, left(n)) for n in (0, 2, 4, 1, 3)], *[(0, NONE)] * 25)
    for number in range(3):
        history.verify(None, None, number, None)
    history.send(1, "sent", 5, 0, 1000)
    history.add(Stop(), 1, 1000)
    history.verify(0, last, 1001, 1002)
    found = explained(history, FIVE)
    assert (found.reason is None) is possible
    assert found.looked_at < 5_000


# ------------------------------------------------------------------ every run of the rules is explained

CALLS = st.one_of(
    st.tuples(st.just("verify"), st.sampled_from([None, 0, 1, 2, 3])),
    st.tuples(st.sampled_from(["send", "ask", "consent", "cancel"]), st.sampled_from([1, 2, 3])),
    st.tuples(st.just("withdraw"), st.sampled_from([1, 2, 3])),
    st.tuples(st.sampled_from(["stop", "unlock", "revoke"]), st.just(0)),
)
SLACK = st.integers(0, 40)


def played(calls: list[tuple[tuple[str, Any], int, int]]) -> History:
    """The history of calls done in this order, each spread over its neighbours' times."""
    history, state, sends = History(), State(live=0, most=3, budget=4), 100
    for number, ((name, code), before, after) in enumerate(calls):
        begun, ended = 10 * number - before, 10 * number + after
        if name == "verify":
            answer, state = judged(state, code)
            history.verify(code, answer, begun, ended)
        elif name == "send":
            sends += 1
            granted = list(Claim(sends).then(state))
            history.send(
                sends, "sent" if granted else "locked" if state.subscribed else "left", 3, begun, ended
            )
            for claimed in granted:
                [state] = Settle(sends, 3, request=False, unknown=False).then(claimed)
        elif name in ("ask", "consent"):
            asked = Ask(code, consent=name == "consent")
            history.add(asked, begun, ended)
            [state] = asked.then(state)
            if state.under_way == code:
                history.delivered(code, 3, unknown=False, begun=begun, ended=ended + 10)
                [state] = Settle(code, 3, request=True, unknown=False).then(state)
        elif name in ("withdraw", "revoke"):
            told = "cancelled" if state.fate(code) != "sent" else "over"
            gone = Revoke("none" if state.live is None else "revoked")
            taken = Withdraw(code, told) if name == "withdraw" else gone
            history.add(taken, begun, ended)
            [state] = taken.then(state)
        else:
            act = {"cancel": Cancel(code), "stop": Stop(), "unlock": Unlock()}[name]
            history.add(act, begun, ended)
            [state] = act.then(state)
    return history


@given(st.lists(st.tuples(CALLS, SLACK, SLACK), max_size=25))
def test_a_run_of_the_rules_is_explained_however_its_calls_overlap(
    calls: list[tuple[tuple[str, Any], int, int]],
) -> None:
    """The order in which it was done is one that the search must find."""
    assert explained(played(calls), State(live=0, most=3, budget=4)).reason is None


# ------------------------------------------------------------------ the shortcuts lose nothing

ACTS = st.one_of(
    st.builds(
        Verify,
        st.sampled_from([None, 0, 1]),
        st.sampled_from([None, VERIFIED, NONE, LOCKED, left(1), left(0)]),
    ),
    st.sampled_from([Claim(1), Settle(1, 2, True, False), Drop(1), Ask(1, True), Ask(1, False), Cancel(1)]),
    st.sampled_from([Withdraw(1, "cancelled"), Withdraw(1, "over"), Withdraw(1, "busy")]),
    st.sampled_from([Revoke("revoked"), Revoke("none"), Revoke("busy")]),
    st.sampled_from([Stop(), Unlock(), Seen("busy"), Seen("locked"), Seen("left"), Status(1, "pending")]),
)
STEPS = st.builds(
    lambda act, begun, length, sure: Step(act, begun, begun + length, sure),
    ACTS,
    st.integers(0, 6),
    st.integers(1, 6),
    st.booleans(),
)


def in_any_order(steps: list[Step], state: State) -> bool:
    """The same answer in the simplest way: by trying every order of every choice."""
    sure = {at for at, step in enumerate(steps) if step.sure}

    def fits(order: tuple[int, ...], now: State) -> bool:
        if sure <= set(order):
            return True
        for at, step in enumerate(steps):
            before = [other for other in sure - {*order, at} if steps[other].ended < step.begun]
            late = any(step.ended < steps[other].begun for other in order)
            open_now = at not in order and not before and not late
            if open_now and any(fits((*order, at), after) for after in step.act.then(now)):
                return True
        return False

    return fits((), state)


@given(st.lists(STEPS, max_size=5))
def test_the_search_finds_what_trying_every_order_finds(steps: list[Step]) -> None:
    """No more and no less."""
    start = State(live=0, most=2, budget=2)
    assert (explained(History(steps), start).reason is None) is in_any_order(steps, start)
