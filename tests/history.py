"""What a torture recorded: every call, every act of a person, every code message; in ms of one clock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

Kind = Literal["request", "send", "verify", "status", "cancel", "revoke", "foreign", "mismatch"]


@dataclass
class Try:
    """One time that a call was made. `status` is 0 while it is under way and for ever when its answer was lost."""

    begun: float
    ended: float | None = None
    """When the answer was there, or when it was known to be lost."""
    status: int = 0
    body: str = ""
    replayed: bool = False
    """Whether it was said to be an earlier answer."""

    @property
    def answer(self) -> dict[str, Any]:
        """The body as JSON."""
        return dict(json.loads(self.body)) if self.body else {}

    @property
    def kept(self) -> bool:
        """Whether a key brings this answer again."""
        return self.status in (200, 201, 404, 502) or (self.status == 409 and not self.answer["retryable"])

    @property
    def in_progress(self) -> bool:
        """Whether it says only that the same call is not over."""
        return self.answer.get("code") == "idempotency_in_progress"

    def __str__(self) -> str:
        again = " replayed" if self.replayed else ""
        return f"{self.begun:.0f}-{self.ended or 0:.0f} {self.status or 'lost'}{again} {self.body.strip()}"


@dataclass
class Call:
    """A call of the API. `status` is 0 while it is under way and for ever when its answer was lost.

    With a key it may be made several times and is one call all the same, from when it was first begun until somebody was
    told what came of it.
    """

    kind: Kind
    begun: float
    sent: dict[str, Any]
    ended: float | None = None
    """When the answer was there, or when it was known to be lost."""
    status: int = 0
    answer: dict[str, Any] = field(default_factory=dict)
    key: str = ""
    """The `Idempotency-Key`."""
    tries: list[Try] = field(default_factory=list)

    def settle(self) -> None:
        """Take what was told for the call's answer: with a key what is kept, or what was told after all that was lost."""
        lost = max((one.ended or 0 for one in self.tries if not one.status), default=0)
        told = [one for one in self.tries if one.status and not one.in_progress]
        kept = [one for one in told if one.kept]
        last = kept[:1] or [one for one in told if one.begun >= lost or not self.key][-1:]
        for one in last or self.tries[-1:]:
            self.status, self.ended = (one.status if last else 0), one.ended
            self.answer = one.answer if last else {}

    @property
    def tag(self) -> str:
        """The word by which the code message of a request or send is known."""
        return str(self.sent.get("context", {}).get("action", ""))

    @property
    def verified(self) -> bool:
        """Whether a guess was accepted, and that was told."""
        return self.kind == "verify" and self.answer.get("verified") is True

    @property
    def evaluated_wrong(self) -> bool:
        """Whether a guess was compared and wrong, and that was told."""
        return self.kind == "verify" and self.answer.get("reason") == "wrong_code"

    def __str__(self) -> str:
        sent = {name: value for name, value in self.sent.items() if name != "context"}
        told = {name: self.answer[name] for name in TOLD if name in self.answer}
        tries = f", key {self.key}: {'; '.join(map(str, self.tries))}" if self.key else ""
        return f"{self.kind} {self.tag} {sent} -> {f'{self.status} {told}' if self.status else 'lost'}{tries}"


TOLD = (
    "verified",
    "reason",
    "attempts_left",
    "sent",
    "code",
    "status",
    "subscriber_id",
    "request_id",
    "revoked",
)


@dataclass
class Act:
    """Something that a person did in the chat; `verb` is that of the button, or `open`, `gone`, `look`."""

    verb: str
    begun: float
    person: str
    subject: str
    """What it is about: a request's id, a subscriber's, a code's."""
    deliveries: list[list[int | str]] = field(default_factory=list)
    """What the webhook answered, each time the update was delivered."""
    acked: float | None = None

    @property
    def attempts(self) -> list[int | str]:
        """All answers of the webhook."""
        return [one for attempts in self.deliveries for one in attempts]

    def __str__(self) -> str:
        return f"{self.person} {self.verb} {self.subject} -> {self.attempts}"


@dataclass
class Message:
    """A code message as the messenger got it. `took`: it is in the chat."""

    at: float
    person: str
    digits: str
    tag: str
    took: bool = True
    status: int | None = 200
    """What the bot was answered; None: nothing."""

    def __str__(self) -> str:
        return f"MESSAGE {self.tag} {self.digits} to {self.person}, in the chat: {self.took}, told: {self.status}"


@dataclass
class Heard:
    """An event as it came to the site, once or again. `took`: it was answered that all is well."""

    at: float
    id: str
    type: str
    data: dict[str, Any]
    body: str
    took: bool = True

    def __str__(self) -> str:
        return f"HEARD {self.id} {self.body}, taken: {self.took}"


@dataclass
class Life:
    """One life of the process."""

    begun: float
    ended: float | None = None
    how: str = ""

    def __str__(self) -> str:
        return f"======== started; ended {self.how}"


Entry = Call | Act | Message | Heard | Life


@dataclass
class History:
    """Everything, in the order in which it was noted."""

    budget: int = 50
    calls: list[Call] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    """Tags of requests that could not be finished after the last restart."""
    leaks: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """Lines of the log that tell of our own bugs."""
    listens: bool = False
    """Whether the site hears of events, from the first one on."""
    heard: list[Heard] = field(default_factory=list)
    outbox: dict[str, str] = field(default_factory=dict)
    """What the service says in the end of each event, by its id: `delivered` or what else."""

    def of(self, *kinds: Kind) -> list[Call]:
        """The calls of some kinds."""
        return [call for call in self.calls if call.kind in kinds]

    # Looked up again and again by the rules, once everything is recorded.

    @cached_property
    def asked(self) -> dict[str, Call]:
        """The call behind each tag: a request or a send."""
        return {call.tag: call for call in self.of("request", "send")}

    @cached_property
    def by_request(self) -> dict[str, Call]:
        """The call behind each request's id."""
        return {call.answer["request_id"]: call for call in self.of("request") if call.status == 200}

    @cached_property
    def chats(self) -> dict[str, str]:
        """Who has the code message of each tag."""
        return {message.tag: message.person for message in self.messages if message.took}

    @cached_property
    def people(self) -> dict[str, str]:
        """The person of each subscriber, as the statuses and the chats tell."""
        found: dict[str, str] = {}
        for call in self.of("status"):
            asked = self.by_request.get(call.sent["request_id"])
            if "subscriber_id" in call.answer and asked is not None and asked.tag in self.chats:
                found.setdefault(call.answer["subscriber_id"], self.chats[asked.tag])
        return found

    @cached_property
    def events(self) -> dict[str, Heard]:
        """What was heard, each event once."""
        return {one.id: one for one in reversed(self.heard)}

    def purpose(self, call: Call) -> str:
        """Of a guess or a wish: its own, or its request's."""
        asked = self.by_request.get(call.sent.get("request_id", ""), call)
        return str(asked.sent.get("purpose", "login"))

    @cached_property
    def known_sent(self) -> dict[str, float]:
        """When each request was first told to be `sent`."""
        found: dict[str, float] = {}
        for call in self.of("status"):
            if call.answer.get("status") == "sent" and call.ended is not None:
                earlier = found.get(call.sent["request_id"], call.ended)
                found[call.sent["request_id"]] = min(earlier, call.ended)
        return found


@dataclass
class Broken:
    """A rule that does not hold, and the part of the history that shows it."""

    rule: str
    what: str
    entries: Sequence[Entry] = ()

    def excerpt(self, history: History, most: int = 30) -> str:
        """The shortest useful piece of the history."""
        lines = "\n".join(
            f"    {at:12.0f}  {entry}" for at, entry in _in_order(self.entries, history)[-most:]
        )
        return f"BROKEN: {self.rule}: {self.what}\n{lines}"


def _in_order(entries: Iterable[Entry], history: History) -> list[tuple[float, Entry]]:
    """With the starts and ends of the process between them."""
    found = sorted(((_at(entry), entry) for entry in entries), key=lambda one: one[0])
    if not found:
        return []
    first, last = found[0][0], found[-1][0]
    lives = [(life.begun, life) for life in history.lives if first <= life.begun <= last]
    return sorted([*found, *lives], key=lambda one: one[0])


def _at(entry: Entry) -> float:
    return entry.at if isinstance(entry, (Message, Heard)) else entry.begun
