"""Volleys: many calls at once to a running service, about one subscriber, recorded as a history that is then checked.

All of it goes over HTTP: the site's calls and the messengers' updates. Time is told by a counter that moves with every
call begun and every answer read, so what one call saw of another is known exactly.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, TypeVar

from bot import phrases
from otp.ports import Tx
from sandbox.wire import JSON, Call
from tests.linearizability import (
    VERIFIED,
    Ask,
    Cancel,
    History,
    Revoke,
    State,
    Status,
    Stop,
    Unlock,
    Verify,
    Withdraw,
    explained,
)
from tests.running import Answer, Running, Someone

T = TypeVar("T")
CHANNELS: Final = ("telegram", "max")
SENDING: Final = {"telegram": "sendMessage", "max": "POST /messages"}
MOST: Final = 4
"""Guesses of each code that may be evaluated."""
BUDGET: Final = 6
"""Wrong guesses in a row until the lock."""
LENGTH: Final = 8
_ACT: Final = re.compile(r"act (\d+)")
_CODE_ID: Final = re.compile(rf'"{phrases.REPEAT}:([0-9a-f-]{{36}})"')
_ANSWERS: Final = {
    "subscriber_not_found": "left",
    "subscriber_locked": "locked",
    "send_in_progress": "busy",
    "delivery_unknown": "unknown",
    "delivery_failed": "refused",
    "messenger_unavailable": "refused",
}
"""How a history calls the errors of a send."""

Deed = Callable[[], Coroutine[Any, Any, T]]


def draws(seed: int) -> Random:
    """What a seeded test draws from."""
    return Random(seed)  # noqa: S311  # to be repeated, not to be secret


async def at_once(deeds: Sequence[Deed[T]], order: Random | None = None) -> list[T]:
    """Do all of them beside each other: begun by one event, or a little apart as a seeded `order` draws it."""
    start = asyncio.Event()

    async def one(deed: Deed[T], pauses: int) -> T:
        await start.wait()
        for _ in range(pauses):
            await asyncio.sleep(0)
        return await deed()

    pauses = [order.choice((0, 0, 1, 3, 8, 20, 60)) if order else 0 for _ in deeds]
    tasks = [asyncio.create_task(one(*both)) for both in zip(deeds, pauses, strict=True)]
    await asyncio.sleep(0)
    start.set()
    return await asyncio.gather(*tasks)


async def post(run: Running, channel: str, update: JSON) -> Answer:
    """An update on its way to the service, as the messenger delivers it."""
    sim = run.demo.telegram if channel == "telegram" else run.demo.max
    secret = {sim.secret_header: sim.webhooks[0].secret, "Authorization": None}
    return await run.call("POST", f"/webhooks/{channel}", update, headers=secret)


def captured(person: Someone, act: Callable[[], object]) -> JSON:
    """The update of what a person does, not delivered."""
    person.sim.capture = []
    act()
    [update], person.sim.capture = person.sim.capture, None
    return update


def code_messages(person: Someone, since: int = 0) -> list[tuple[int, str, Call]]:
    """Calls that handed a code over to this person: the act that it belongs to, its digits, the call."""
    found = []
    for call in person.sim.calls[since:]:
        if call.method != SENDING[person.sim.channel]:
            continue
        told = call.params if person.sim.channel == "telegram" else {**call.params, **call.body}
        lines, act = told["text"].split("\n"), _ACT.search(told["text"])
        to = told.get("chat_id") or told.get("user_id") or 0
        if int(to) == person.user_id and act and re.fullmatch(rf"\d{{{LENGTH}}}", lines[0], re.ASCII):
            found.append((int(act[1]), lines[0], call))
    return found


@dataclass
class Volleys:
    """A subscriber whose code 0 was delivered by a request; acts are numbered, and so are the codes they bring."""

    run: Running
    person: Someone
    subscriber: str = ""
    requests: dict[int, str] = field(default_factory=dict)
    questions: dict[int, str] = field(default_factory=dict)
    digits: dict[int, str] = field(default_factory=dict)
    history: History = field(default_factory=History)
    _asked: dict[int, int] = field(default_factory=dict)
    _told: int = 0
    _acts: itertools.count[int] = field(default_factory=itertools.count)
    _time: itertools.count[int] = field(default_factory=itertools.count)

    @classmethod
    async def begin(cls, run: Running, channel: str, questions: int = 1) -> Volleys:
        """A new person: asked so many questions, of which the first was answered with consent."""
        made = cls(run, run.someone(channel))
        for _ in range(questions):
            act = await made.request()
            await made.person.say(f"otp_{made.requests[act]}")
            made.questions[act] = made.person.screen[-1].id
        await made.consent(0)
        await run.quiet()
        status = await run.status({"request_id": made.requests[0]})
        made.subscriber = status["subscriber_id"]
        made._told = len(made.person.sim.calls)
        [(_, made.digits[0], _)] = code_messages(made.person)
        made.history = History()
        made._asked.clear()
        return made

    async def request(self) -> int:
        """A request that nobody has opened yet; its number."""
        act = next(self._acts)
        made = await self.run.request(context={"action": f"act {act}"}, max_attempts=MOST, code_length=LENGTH)
        self.requests[act] = made["request_id"]
        return act

    # ------------------------------------------------------------------ what is done at once

    async def send(self) -> str:
        """The site sends a code; how the history calls the answer."""
        act, begun = next(self._acts), next(self._time)
        body = {"subscriber_id": self.subscriber, "max_attempts": MOST, "code_length": LENGTH}
        answer = await self.run.call("POST", "/v1/otp/send", {**body, "context": {"action": f"act {act}"}})
        came = "sent" if answer.status == 200 else _ANSWERS[answer.json["code"]]
        self.history.send(act, came, MOST, begun, next(self._time))
        return came

    async def verify(self, code: int | None) -> JSON:
        """A guess of a code that is known, or a wrong one."""
        typed = self.wrong if code is None else self.digits[code]
        begun = next(self._time)
        answer = await self.run.verify(self.subscriber, typed)
        self._judged(code, answer, begun, next(self._time))
        return answer

    def _judged(self, code: int | None, answer: JSON, begun: int, ended: int) -> None:
        came = VERIFIED if answer["verified"] else (answer["reason"], answer["attempts_left"])
        self.history.verify(code, came, begun, ended)

    async def send_twice(self) -> None:
        """The site sends a code, and says so twice at once with one key: one message at most, and one answer that stays."""
        act = next(self._acts)
        body = {"subscriber_id": self.subscriber, "max_attempts": MOST, "code_length": LENGTH}
        path, sent = "/v1/otp/send", {**body, "context": {"action": f"act {act}"}}
        for came, begun, ended in await self._twice(path, sent):
            told = "sent" if came.status == 200 else _ANSWERS[came.json["code"]]
            self.history.send(act, told, MOST, begun, ended)

    async def verify_twice(self, code: int | None) -> None:
        """A guess, made twice at once with one key: it counts once, and both are told the same."""
        typed = self.wrong if code is None else self.digits[code]
        sent = {"subscriber_id": self.subscriber, "code": typed}
        [(came, begun, ended)] = await self._twice("/v1/otp/verify", sent)
        self._judged(code, came.json, begun, ended)

    async def _twice(self, path: str, sent: JSON) -> list[tuple[Answer, int, int]]:
        """Two calls with one key: what had an effect of its own, and from when to when it may have had it."""
        begun, key = next(self._time), {"Idempotency-Key": f"{self.subscriber}-{next(self._time)}"}

        async def one() -> tuple[Answer, int]:
            while True:
                answer = await self.run.call("POST", path, sent, headers=key)
                if answer.status != 409 or answer.json["code"] != "idempotency_in_progress":
                    return answer, next(self._time)

        both = await at_once([one, one])
        first = min(ended for _, ended in both)
        own = [(answer, ended) for answer, ended in both if "Idempotent-Replayed" not in answer.headers]
        if len(own) == 1:
            [other] = [answer for answer, _ in both if answer is not own[0][0]]
            assert (other.status, other.text) == (own[0][0].status, own[0][0].text), "two answers for one key"
            return [(own[0][0], begun, first)]
        kept = [answer for answer, _ in own if answer.status == 200 or not answer.json["retryable"]]
        assert len(own) == 2, "an earlier answer where there was none"
        assert len(kept) < 2, f"two effects with one key: {kept}"
        return [(answer, begun, ended) for answer, ended in own]

    async def withdraw(self, act: int) -> str:
        """The site cancels a request."""
        begun = next(self._time)
        answer = await self.run.call("POST", f"/v1/otp/request/{self.requests[act]}/cancel")
        refused = {"request_not_pending": "over", "send_in_progress": "busy"}
        came = "cancelled" if answer.status == 200 else refused[answer.json["code"]]
        self.history.add(Withdraw(act, came), begun, next(self._time))
        return came

    async def revoke(self) -> str:
        """The site takes the live code back."""
        begun = next(self._time)
        answer = await self.run.call("POST", "/v1/otp/revoke", {"subscriber_id": self.subscriber})
        came = "busy" if answer.status == 409 else "revoked" if answer.json["revoked"] else "none"
        self.history.add(Revoke(came), begun, next(self._time))
        return came

    @property
    def wrong(self) -> str:
        """Digits that no code has."""
        return next(f"{n:0{LENGTH}}" for n in range(100) if f"{n:0{LENGTH}}" not in self.digits.values())

    async def open(self, act: int) -> None:
        """A request's id is typed."""
        self._asked.setdefault(act, begun := next(self._time))
        text = f"otp_{self.requests[act]}"
        await self._tell(lambda: self.person.sim.say(self.person.user_id, text))
        self.history.add(Ask(act, consent=False), begun, next(self._time))

    async def consent(self, act: int) -> None:
        """ "Get the code" is pressed under a question."""
        self._asked.setdefault(act, begun := next(self._time))
        await self._press(f"{phrases.CONSENT}:{self.requests[act]}", self.questions[act])
        self.history.add(Ask(act, consent=True), begun, next(self._time))

    async def cancel(self, act: int) -> None:
        """ "Cancel" is pressed under a question."""
        begun = next(self._time)
        await self._press(f"{phrases.CANCEL}:{self.requests[act]}", self.questions[act])
        self.history.add(Cancel(act), begun, next(self._time))

    async def stop(self) -> None:
        """The person leaves by the button of the list."""
        begun = next(self._time)
        await self._press(f"{phrases.LEAVE}:{self.subscriber}", self.questions[0])
        self.history.add(Stop(), begun, next(self._time))

    async def unlock(self) -> None:
        """The person presses Unlock."""
        begun = next(self._time)
        await self._press(f"{phrases.UNLOCK}:{self.subscriber}", self.questions[0])
        self.history.add(Unlock(), begun, next(self._time))

    async def status(self, act: int) -> str:
        """What the site is told of a request."""
        begun = next(self._time)
        status = str((await self.run.status({"request_id": self.requests[act]}))["status"])
        self.history.add(Status(act, status), begun, next(self._time))
        return status

    async def _press(self, data: str, message: str) -> None:
        await self._tell(lambda: self.person.sim.press_data(self.person.user_id, message, data))

    async def _tell(self, act: Callable[[], object]) -> None:
        answer = await post(self.run, self.person.sim.channel, captured(self.person, act))
        assert answer.status == 200, answer

    # ------------------------------------------------------------------ and what came of it

    async def volley(self, deeds: Sequence[Deed[Any]], order: Random | None = None) -> list[Any]:
        """Do all at once, wait until nothing follows any more, and record which codes went out."""
        answers = await at_once(deeds, order)
        await self.run.quiet()
        came = code_messages(self.person, self._told)
        self._told = len(self.person.sim.calls)
        acts = [act for act, _, _ in came]
        assert len(acts) == len(set(acts)), f"more than one code message of an act: {acts}"
        self.digits |= {act: digits for act, digits, _ in came}
        now = next(self._time)
        arrived = {act: call.status == 200 for act, _, call in came if call.status != 400}
        for act in self._asked.keys() & arrived.keys():
            unknown = not arrived[act]
            self.history.delivered(act, MOST, unknown=unknown, begun=self._asked[act], ended=now)
        for act in self._asked.keys() - arrived.keys():
            self.history.not_delivered(act, self._asked[act], now)
        self._asked.clear()
        return answers

    def changes(self) -> Counter[str]:
        """What a webhook must have heard of: guesses and ends by the history, messages as the messenger answered them."""
        acts = [step.act for step in self.history.steps if step.sure]
        answers = [act.answer[0] for act in acts if isinstance(act, Verify) and act.answer is not None]
        found = Counter(answer for answer in answers if answer in ("verified", "wrong_code"))
        found["sent"] = [call.status for _, _, call in code_messages(self.person)].count(200)
        ends = {act.code: act.status for act in acts if isinstance(act, Status)}
        found["cancelled"] = [*ends.values()].count("cancelled")
        return +found

    async def check(self, what: str) -> None:
        """Try every known code twice, all at once; then the history must have an explanation and the store be sound."""
        for act in self.requests:
            await self.status(act)
        await self.volley([once(self.verify, act) for act in self.digits for _ in range(2)])
        for act in self.requests:
            await self.status(act)
        await self._sound(what)
        start = State(self.run.settings.guess_budget, live=0, most=MOST, fates=frozenset({(0, "sent")}))
        reason = explained(self.history, start).reason
        assert reason is None, f"{what}: {reason}\n" + "\n".join(map(str, self.history.steps))

    async def _sound(self, what: str) -> None:
        """At most one code of a purpose lives, and none that nobody was given."""
        calls = json.dumps([[call.params, call.body] for call in self.person.sim.calls])
        ids = set(_CODE_ID.findall(calls.replace('\\"', '"')))
        store = self.run.service.store

        async def alive(tx: Tx) -> list[str]:
            return [one for one in ids if await tx.code_by_id(one) is not None]

        code = await store.read(lambda tx: tx.code(self.subscriber, "login"))
        assert await store.read(alive) == ([code.id] if code else []), what


def once(act: Callable[..., Awaitable[T]], *given: Any) -> Deed[T]:
    """An act with what it is given, to be done later."""

    async def deed() -> T:
        return await act(*given)

    return deed
