"""Whether a recorded history of concurrent calls can be explained by one order of single steps.

A history is linearizable when every call can be given a moment between its begin and its answer, so that the calls, done
one after the other in the order of these moments, give just the recorded answers. The search is Wing and Gong's:
depth first over what may come next, never twice at the same set of done steps and the same state. Two shortcuts keep
it short: a step that only looks is taken as soon as it fits, and of equal steps the most urgent one comes first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple


class State(NamedTuple):
    """What the rules know of one subscriber and purpose. Codes are numbered by the act that asked for them."""

    budget: int = 50
    live: int | None = None
    made: int = 0
    """Guesses of the live code."""
    most: int = 0
    """Guesses of the live code that may be evaluated."""
    wrong: int = 0
    """Wrong guesses in a row."""
    locked: bool = False
    subscribed: bool = True
    under_way: int | None = None
    """The code that is being delivered."""
    fates: frozenset[tuple[int, str]] = frozenset()
    """What became of requests: sent, cancelled, unknown (tried, and still open)."""

    def fate(self, code: int) -> str | None:
        """What became of a request."""
        return next((fate for known, fate in self.fates if known == code), None)

    def with_fate(self, code: int, fate: str) -> State:
        """The same with a request's new fate."""
        return self._replace(
            fates=frozenset({*(pair for pair in self.fates if pair[0] != code), (code, fate)})
        )

    @property
    def dead(self) -> State:
        """The same without a live code."""
        return self._replace(live=None, made=0, most=0)


Answer = tuple[str, int]
"""The reason of a refused guess and the attempts left; ("verified", 0) for an accepted one."""
VERIFIED: Answer = ("verified", 0)
NO_CODE = -1
"""Stands for every code that never arrived: one is as good as another."""


def judged(state: State, code: int | None) -> tuple[Answer, State]:
    """What the rules say to a guess of a code, or to one that no code ever was."""
    if state.locked:
        return ("locked", 0), state
    if state.live is None:
        return ("no_active_code", 0), state
    if state.live == code:
        return VERIFIED, state.dead._replace(wrong=0)
    made, wrong = state.made + 1, state.wrong + 1
    left = min(state.most - made, state.budget - wrong)
    after = state._replace(made=made, wrong=wrong, locked=wrong >= state.budget)
    return ("wrong_code", left), after if left else after.dead


class Act(ABC):
    """One step of the rules."""

    @property
    def looks(self) -> bool:
        """Whether it changes nothing, wherever it can be."""
        return False

    @abstractmethod
    def then(self, state: State) -> Iterable[State]:
        """The states it can lead to; none where it is impossible."""


@dataclass(frozen=True, slots=True)
class Verify(Act):
    """A guess: of a known code, or of none."""

    code: int | None
    answer: Answer | None
    """None: nobody knows."""

    @property
    def looks(self) -> bool:
        return self.answer is not None and self.answer[0] in ("no_active_code", "locked")

    def then(self, state: State) -> Iterable[State]:
        answer, after = judged(state, self.code)
        return [after] if self.answer in (None, answer) else []


@dataclass(frozen=True, slots=True)
class Claim(Act):
    """The wish of a site for a code, granted."""

    code: int

    def then(self, state: State) -> Iterable[State]:
        free = state.subscribed and not state.locked and state.under_way is None
        return [state._replace(under_way=self.code)] if free else []


@dataclass(frozen=True, slots=True)
class Settle(Act):
    """The code arrived, or may have arrived: it replaces the older one, unless the person left or was locked."""

    code: int
    most: int
    request: bool
    unknown: bool

    def then(self, state: State) -> Iterable[State]:
        if state.under_way != self.code:
            return []
        after = state._replace(under_way=None)
        if state.subscribed and not state.locked:
            after = after._replace(live=self.code, made=0, most=self.most)
        return [after.with_fate(self.code, "unknown" if self.unknown else "sent") if self.request else after]


@dataclass(frozen=True, slots=True)
class Drop(Act):
    """The code certainly did not arrive: refused, or withdrawn before it was handed over."""

    code: int

    def then(self, state: State) -> Iterable[State]:
        return [state._replace(under_way=None)] if state.under_way == self.code else []


@dataclass(frozen=True, slots=True)
class Seen(Act):
    """An answer that told a state: that the subscriber is locked, has left, or that a code is under way."""

    what: str

    @property
    def looks(self) -> bool:
        return True

    def then(self, state: State) -> Iterable[State]:
        true = {"locked": state.locked, "left": not state.subscribed, "busy": state.under_way is not None}
        return [state] if true[self.what] else []


@dataclass(frozen=True, slots=True)
class Ask(Act):
    """A person opens a request, or consents to it and so joins; one delivery at most follows, until it failed."""

    code: int
    consent: bool

    def then(self, state: State) -> Iterable[State]:
        fate = state.fate(self.code)
        if fate in ("sent", "cancelled") or not (state.subscribed or self.consent):
            return [state]
        joined = state._replace(subscribed=True)
        if fate or state.locked or state.under_way is not None:
            return [joined]
        return [joined._replace(under_way=self.code)]


@dataclass(frozen=True, slots=True)
class Cancel(Act):
    """A person cancels a request: too late at the messenger, withdrawn before; a code that may have arrived dies."""

    code: int

    def then(self, state: State) -> Iterable[State]:
        if state.fate(self.code) in ("sent", "cancelled"):
            return [state]
        after = (state.dead if state.live == self.code else state).with_fate(self.code, "cancelled")
        return [state, after._replace(under_way=None)] if state.under_way == self.code else [after]


@dataclass(frozen=True, slots=True)
class Withdraw(Act):
    """The site cancels a request: `cancelled`, `over` as it was sent, or `busy` while its code is at the messenger."""

    code: int
    answer: str

    @property
    def looks(self) -> bool:
        return self.answer != "cancelled"

    def then(self, state: State) -> Iterable[State]:
        fate, coming = state.fate(self.code), state.under_way == self.code
        if self.answer != "cancelled":
            true = {"over": fate == "sent", "busy": coming and fate not in ("sent", "cancelled")}
            return [state] if true[self.answer] else []
        if fate in ("sent", "cancelled"):
            return [state] if fate == "cancelled" else []
        after = (state.dead if state.live == self.code else state).with_fate(self.code, "cancelled")
        return [after._replace(under_way=None) if coming else after]


@dataclass(frozen=True, slots=True)
class Revoke(Act):
    """The site takes the live code back: `revoked`, `none` when there was none, or `busy` while one is on its way."""

    answer: str

    @property
    def looks(self) -> bool:
        return self.answer != "revoked"

    def then(self, state: State) -> Iterable[State]:
        busy, lives = state.under_way is not None, state.live is not None
        if self.answer != ("busy" if busy else "revoked" if lives else "none"):
            return []
        return [state.dead if self.answer == "revoked" else state]


@dataclass(frozen=True, slots=True)
class Stop(Act):
    """The person leaves."""

    def then(self, state: State) -> Iterable[State]:
        return [state.dead._replace(subscribed=False)]


@dataclass(frozen=True, slots=True)
class Unlock(Act):
    """The person unlocks: no code revives."""

    def then(self, state: State) -> Iterable[State]:
        return [state._replace(locked=False, wrong=0) if state.locked else state]


@dataclass(frozen=True, slots=True)
class Status(Act):
    """What a site is told of a request."""

    code: int
    status: str

    @property
    def looks(self) -> bool:
        return True

    def then(self, state: State) -> Iterable[State]:
        fate = state.fate(self.code)
        return [state] if self.status == (fate if fate in ("sent", "cancelled") else "pending") else []


@dataclass(frozen=True, slots=True)
class Step:
    """An act that took place at one moment from `begun` to `ended`; one that is not `sure` may never have."""

    act: Act
    begun: float
    ended: float = inf
    sure: bool = True
    needs: int | None = None
    """The step that came before it, by its place in the history."""


@dataclass
class History:
    """What was called and what was answered, with times of any clock that never stands still."""

    steps: list[Step] = field(default_factory=list)

    def add(self, act: Act, begun: float, ended: float | None, *, after: int | None = None) -> int:
        """A call with its answer; without `ended` its answer was lost. The place of its step."""
        lost = ended is None
        self.steps.append(Step(act, begun, inf if ended is None else ended, not lost, after))
        return len(self.steps) - 1

    def verify(self, code: int | None, answer: Answer | None, begun: float, ended: float | None) -> None:
        """A guess; without an answer nobody knows what came of it."""
        self.add(Verify(code, answer if ended is not None else None), begun, ended)

    def send(self, code: int, answer: str, most: int, begun: float, ended: float | None) -> None:
        """A wish for a code: sent, unknown, refused, busy, locked, left, or lost (nobody knows)."""
        settle = Settle(code, most, request=False, unknown=False)
        if answer in ("sent", "unknown"):
            first = self.add(Claim(code), begun, ended)
            self.add(settle, begun, ended, after=first)
        elif answer == "refused":
            first = self.add(Claim(NO_CODE), begun, ended)
            self.add(Drop(NO_CODE), begun, ended, after=first)
        elif answer == "lost":
            first = self.add(Claim(code), begun, None)
            self.add(settle, begun, None, after=first)
            self.add(Drop(code), begun, None, after=first)
        else:
            self.add(Seen(answer), begun, ended)
            if answer != "busy":  # it may have been granted, and withdrawn when that state came
                self.not_delivered(NO_CODE, begun, ended or inf, granted=True)

    def delivered(self, code: int, most: int, *, unknown: bool, begun: float, ended: float) -> None:
        """A request's code message went out: what its acts asked for was granted, and this came of it."""
        self.add(Settle(code, most, request=True, unknown=unknown), begun, ended)

    def not_delivered(self, code: int, begun: float, ended: float, *, granted: bool = False) -> None:
        """No code message went out for an act: what may have been granted was withdrawn."""
        if granted:
            self.steps.append(Step(Claim(code), begun, ended, sure=False))
        self.steps.append(Step(Drop(code), begun, ended, sure=False))


PATIENCE = 100_000


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason` says why no order explains the history; None when one does. `looked_at` counts situations.

    After `PATIENCE` situations none is looked for any more: what has an order shows it long before.
    """

    reason: str | None
    looked_at: int


class Search:
    """The search for an order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._sure = sum(1 << at for at, step in enumerate(steps) if step.sure)
        self._known: dict[int, tuple[list[int], list[int]]] = {}

    def run(self, state: State) -> Finding:
        """Look for an order from a state on."""
        start = self._through(0, state)
        stack, seen, furthest = [start], {start}, start
        while stack and len(seen) < PATIENCE:
            done, now = stack.pop()
            if done & self._sure == self._sure:
                return Finding(None, len(seen))
            if (done & self._sure).bit_count() > (furthest[0] & self._sure).bit_count():
                furthest = (done, now)
            for at in self._possible(done)[1]:
                for after in self._steps[at].act.then(now):
                    if after == now and not self._steps[at].sure:
                        continue  # what may never have been and changes nothing was not
                    found = self._through(done | 1 << at, after)
                    if found not in seen:
                        seen.add(found)
                        stack.append(found)
        return Finding(self._reason(*furthest), len(seen))

    def _through(self, done: int, state: State) -> tuple[int, State]:
        """Take what only looks and sees what it saw: no order is lost by taking it now."""
        again = True
        while again:
            again = False
            for at in self._possible(done)[0]:
                if self._steps[at].act.then(state):
                    done, again = done | 1 << at, True
        return done, state

    def _possible(self, done: int) -> tuple[list[int], list[int]]:
        """What may come next: steps that only look and can be taken at once, and the choices among the others.

        A step may come once it has begun before any other one that is still to come was answered. A step that may
        never have been holds up nothing, but what begins after its end shuts it out: such steps are choices, each.
        Of equal steps the one that must be answered first is enough: any order with another one first has a twin.
        """
        if done not in self._known:
            latest = max((step.begun for at, step in enumerate(self._steps) if done >> at & 1), default=-inf)
            left = [
                (at, step)
                for at, step in enumerate(self._steps)
                if not done >> at & 1 and step.ended >= latest
            ]
            deadline = min((step.ended for _, step in left if step.sure), default=inf)
            free = min((step.ended for _, step in left), default=inf)
            ready = [(at, step) for at, step in left if step.begun <= deadline and self._ready(step, done)]
            looks = [at for at, step in ready if step.sure and step.act.looks and step.begun <= free]
            best: dict[object, int] = {}
            for at, step in ready:
                key = (step.act, step.sure, step.needs) if step.begun <= free else at
                if at not in looks and (key not in best or step.ended < self._steps[best[key]].ended):
                    best[key] = at
            self._known[done] = looks, list(best.values())
        return self._known[done]

    def _ready(self, step: Step, done: int) -> bool:
        return step.needs is None or bool(done >> step.needs & 1)

    def _reason(self, done: int, state: State) -> str:
        taken, needed = (done & self._sure).bit_count(), self._sure.bit_count()
        looks, choices = self._possible(done)
        stuck = sorted({str(self._steps[at].act) for at in [*looks, *choices] if self._steps[at].sure})
        return f"after {taken} of {needed} steps, at {state}, none of these can come next: {'; '.join(stuck)}"


def explained(history: History, start: State) -> Finding:
    """Whether some order of the history's steps, from a state on, gives all its answers."""
    return Search(history.steps).run(start)
