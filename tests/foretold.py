"""The rules of the contract once more, as a plain model in memory: codes, requests and what becomes of messages.

It knows what the messenger will answer and when, so it foretells every answer, every attempt and every state. It is
written from the contract and shares no rule with the product; times are milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from otp.model import Person, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Unknown

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
LINK = 900 * SECOND
GRACE = 15 * SECOND
KEPT = 24 * HOUR
KEPT_UNOPENED = 1 * HOUR
SHOWN = 48 * HOUR
ORPHAN = 20 * SECOND
WINDOW = 600 * SECOND
BACKOFF = (1 * SECOND, 2 * SECOND, 4 * SECOND)


@dataclass(eq=False)
class Code:
    """A code; alive while its subscriber has it for the purpose and its time is not over."""

    request: Request | None
    ttl: int
    most: int
    ends: int = 0
    made: int = 0
    id: str = ""
    digits: str = ""
    shown: int | None = None
    """When its last message arrived, or may have."""


@dataclass(eq=False)
class Flight:
    """A delivery: claimed, attempting, accepted, unknown, or refused and why."""

    sub: Sub
    purpose: str
    request: Request | None
    tap: bool
    code: Code
    reuses: bool
    claimed: int
    give_up: int
    due: int
    state: str = "claimed"
    tries: int = 0
    attempted: int = 0
    carried: bool = True
    """Whether the process that lives now has it in its hands."""

    @property
    def under_way(self) -> bool:
        return self.state in ("claimed", "attempting")


@dataclass(eq=False)
class Sub:
    """One person's relation to one site."""

    site: int
    person: Person
    subscribed: bool = True
    wrong: int = 0
    locked: bool = False
    id: str = ""
    codes: dict[str, Code] = field(default_factory=dict)
    flights: list[Flight] = field(default_factory=list)


@dataclass(eq=False)
class Request:
    """A request; `status` as it was written down."""

    id: str
    site: int
    purpose: str
    channel: str | None
    ttl: int
    most: int
    expires: int
    status: str = "pending"
    ended: int | None = None
    bound: Person | None = None
    reported: bool = False
    opened: bool = False
    questions: dict[Person, int] = field(default_factory=dict)
    """When each person was last shown a message with buttons."""
    flights: list[Flight] = field(default_factory=list)


class Messages:
    """Who there is, what was asked, and how code messages get there; what people and sites do is in `tests.histories`."""

    def __init__(self, now: int, budget: int, limit: int) -> None:
        self.now = now
        self.budget = budget
        self.limit = limit
        self.enabled = [True, True]
        self.subs: dict[tuple[int, Person], Sub] = {}
        self.requests: list[Request] = []
        self.moods: dict[str, Outcome] = {"telegram": Accepted(""), "max": Accepted("")}
        self.held: set[str] = set()
        self.attempts: list[Flight] = []
        """Attempts that the messengers must have seen since the last look."""

    # ------------------------------------------------------------------ looking

    def flights(self) -> Iterator[Flight]:
        """All deliveries."""
        return (flight for sub in self.subs.values() for flight in sub.flights)

    def code(self, sub: Sub, purpose: str) -> Code | None:
        """The code that is good now."""
        code = sub.codes.get(purpose)
        return code if code is not None and self.now < code.ends else None

    def forgotten(self, request: Request) -> bool:
        """Not even readable any more."""
        ended = request.expires if request.ended is None else request.ended
        return self.now >= ended + (KEPT if request.opened else KEPT_UNOPENED)

    def status(self, request: Request) -> str:
        """What a site may read now."""
        if request.status != "pending" or self.now < request.expires:
            return request.status
        flying = any(flight.under_way for flight in request.flights)
        return "pending" if flying and self.now < request.expires + GRACE else "expired"

    def _failed(self, flight: Flight) -> bool:
        return flight.state in ("unknown", Refusal.REJECTED, Refusal.UNAVAILABLE)

    def _leave(self, sub: Sub) -> None:
        if sub.subscribed:
            sub.subscribed = False
            sub.codes.clear()
            self._withdraw(sub.flights)

    def _withdraw(self, flights: Iterable[Flight]) -> None:
        for flight in flights:
            if flight.state == "claimed":
                flight.state = Refusal.WITHDRAWN

    def _finish(self, request: Request, status: str) -> None:
        request.status, request.ended = status, self.now

    def ended(self, request: Request) -> None:
        """That its time is over is written down."""
        self._finish(request, "expired")

    def gone(self, person: Person) -> str:
        """The person blocks the bot, or can't be reached any more."""
        for sub in self.subs.values():
            if sub.person == person:
                self._leave(sub)
        return "Subscriptions"

    # ------------------------------------------------------------------ deliveries

    def _claim(
        self, sub: Sub, purpose: str, request: Request | None, code: Code, reused: Code | None, *, tap: bool
    ) -> str:
        """Wish for a message: fresh; old or busy when one is under way, of this request or another; limit."""
        self._settle_orphans(flight for flight in sub.flights if flight.purpose == purpose)
        other = next((one for one in sub.flights if one.under_way and one.purpose == purpose), None)
        if other is not None:
            return "old" if other.request is request and request is not None else "busy"
        spent = [one for one in sub.flights if one.tap == tap and self._counts(one)]
        if len(spent) >= self.limit:
            return "limit"
        give_up = self.now + 15 * SECOND
        if request is not None:
            give_up = request.expires
        elif tap:
            give_up = code.ends
        flight = Flight(sub, purpose, request, tap, code, reused is not None, self.now, give_up, self.now)
        sub.flights.append(flight)
        if request is not None:
            request.flights.append(flight)
        return "fresh"

    def _counts(self, flight: Flight) -> bool:
        """Whether a delivery takes room in the window of ten minutes."""
        ended = flight.state in ("accepted", "unknown")
        return flight.under_way or (ended and flight.attempted > self.now - WINDOW)

    def fly(self) -> None:
        """Let the process carry what is due: every attempt begins, then the messengers answer."""
        due = [
            one for one in self.flights() if one.state == "claimed" and one.carried and one.due <= self.now
        ]
        for flight in due:
            self._begin(flight)
        self.answered()

    def answered(self) -> None:
        """The messengers that do not hang answer every open attempt."""
        for flight in list(self.flights()):
            channel = flight.sub.person.channel
            if flight.state == "attempting" and flight.carried and channel not in self.held:
                self._record(flight, self.moods[channel])

    def _begin(self, flight: Flight) -> None:
        sub, request = flight.sub, flight.request
        over = request is not None and request.status != "pending"
        if not self.enabled[sub.site] or not sub.subscribed or sub.locked or over:
            flight.state = Refusal.WITHDRAWN
        elif self.now + 1 * SECOND > flight.give_up:
            self._fail(flight, Refusal.UNAVAILABLE)
        else:
            if flight.reuses and not self._worth_sending(flight):
                old, flight.reuses = flight.code, False
                flight.code = Code(request, old.ttl, old.most)
            flight.state, flight.attempted = "attempting", self.now
            flight.tries += 1
            self.attempts.append(flight)

    def _worth_sending(self, flight: Flight) -> bool:
        living = self.code(flight.sub, flight.purpose) is flight.code
        return living and flight.code.ends >= self.now + 15 * SECOND

    def _record(self, flight: Flight, outcome: Outcome) -> None:
        match outcome:
            case Accepted():
                flight.state, flight.code.shown = "accepted", self.now
                self._activate(flight, self.now + flight.code.ttl)
                request = flight.request
                if request is not None and request.status == "pending":
                    in_time = self.now < request.expires + GRACE
                    self._finish(request, "sent" if in_time else "expired")
            case Unknown():
                self._unknown(flight)
            case Refused(reason):
                if reason is Refusal.GONE:
                    self.gone(flight.sub.person)
                self._fail(flight, reason)
            case NotSent(retry_after):
                flight.due = self.now + max(retry_after, BACKOFF[min(flight.tries, 3) - 1])
                flight.state = "claimed"
                if flight.due + 1 * SECOND > flight.give_up:
                    self._fail(flight, Refusal.UNAVAILABLE)

    def _unknown(self, flight: Flight) -> None:
        flight.code.shown = self.now  # it may be on the screen, and then its buttons act
        self._activate(flight, flight.attempted + flight.code.ttl)
        self._fail(flight, "unknown")

    def _fail(self, flight: Flight, state: str) -> None:
        """The person waits: "Send again" is offered while the request is open."""
        flight.state = state
        request = flight.request
        if request is not None and self._failed(flight) and self.status(request) == "pending":
            request.questions[flight.sub.person] = self.now

    def _activate(self, flight: Flight, ends: int) -> None:
        sub = flight.sub
        if not flight.reuses and sub.subscribed and not sub.locked and self.enabled[sub.site]:
            flight.code.ends = ends
            sub.codes[flight.purpose] = flight.code

    def _settle_orphans(self, flights: Iterable[Flight]) -> None:
        for flight in flights:
            if flight.state == "attempting" and self.now >= flight.attempted + ORPHAN:
                self._unknown(flight)

    # ------------------------------------------------------------------ time and crashes

    def release(self, channel: str, outcome: Outcome) -> None:
        """A messenger that hung answers what it holds."""
        self.held.discard(channel)
        self.moods[channel] = outcome
        self.answered()

    def restart(self) -> None:
        """The process dies and another one takes up what is due; what was being attempted is nobody's, soon unknown."""
        for flight in self.flights():
            flight.carried = flight.state == "claimed" and flight.due <= self.now
            self._settle_orphans([flight])
        self.fly()

    def take_up(self) -> None:
        """Each five seconds: what a dead process left is carried, or unknown."""
        for flight in self.flights():
            if flight.state == "claimed" and flight.due <= self.now - 5 * SECOND:
                flight.carried = True
            elif not flight.carried:
                self._settle_orphans([flight])
        self.fly()

    def clean_up(self) -> None:
        """Each five seconds: the ends of requests are written down, and what is long over is forgotten."""
        for request in self.requests:
            flying = any(flight.under_way for flight in request.flights)
            if request.status == "pending" and self.now >= request.expires + (GRACE if flying else 0):
                self._finish(request, "expired")
            asked = request.questions
            request.questions = {one: at for one, at in asked.items() if self.now < at + SHOWN}
        for flight in self.flights():
            if flight.code.shown is not None and self.now >= flight.code.shown + SHOWN:
                flight.code.shown = None
