"""The load of the torture: what sites and people do, all at once, and the record of it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import time_ns
from typing import Any

import aiohttp

from sandbox.simulator import Simulator
from sandbox.wire import Button, ChatMessage, Delivery
from sandbox.wire import Call as BotCall
from tests.history import Act, Call, History, Kind, Message, Try
from tests.process import Outside
from tests.relay import Relay
from tests.world import wrong

PURPOSES = ("login", "pay", "delete")
SEND = ("sendMessage", "POST /messages")
DIGITS = re.compile(r"[0-9]{4,8}", re.ASCII)
TAG = re.compile(r"\bT[a-z]{6}\b")
PATHS = {
    "request": "/v1/otp/request",
    "send": "/v1/otp/send",
    "verify": "/v1/otp/verify",
    "revoke": "/v1/otp/revoke",
}
PATIENCE = 4
"""Seconds that a person waits for the bot before doing something else."""


def now() -> float:
    """The clock of the history, which is that of the simulators: milliseconds."""
    return time_ns() / 1_000_000


@dataclass
class Player:
    """A person in one messenger."""

    sim: Simulator
    user_id: int

    @property
    def name(self) -> str:
        """As the history names them."""
        return f"{self.sim.channel}:{self.user_id}"

    def buttons(self, *verbs: str, about: str = "") -> list[tuple[ChatMessage, Button]]:
        """The buttons on the screen with one of these verbs, about something, newest first."""
        return [
            (message, button)
            for message in reversed(self.sim.chat(self.user_id))
            for row in message.buttons
            for button in row
            if button.kind == "press" and button.value.split(":")[0] in verbs and about in button.value
        ]


@dataclass
class Load:
    """Everything that happens around one service, over all its lives."""

    one: Outside
    relay: Relay
    sims: list[Simulator]
    foreign_key: str
    history: History
    up: asyncio.Event = field(default_factory=asyncio.Event)
    players: list[Player] = field(default_factory=list)
    subscribers: dict[str, Player] = field(default_factory=dict)
    stopping: bool = False
    bodies: list[str] = field(default_factory=list)
    """Bodies of errors."""
    grown: bool = True
    """Whether the service knows keys, `cancel` and `revoke`; releases up to 0.3.0 do not."""
    _tags: int = 0
    _read: dict[str, int] = field(default_factory=dict)
    _codes: dict[str, list[tuple[BotCall, Player, str]]] = field(default_factory=dict)
    _unacked: list[tuple[Act, Delivery, Simulator]] = field(default_factory=list)

    def tag(self) -> str:
        """A word by which a message is known, with no digits in it."""
        self._tags += 1
        number, letters = self._tags, ""
        for _ in range(6):
            number, digit = divmod(number, 26)
            letters += chr(ord("a") + digit)
        return "T" + letters

    def player(self, sim: Simulator) -> Player:
        """A new person. Ids have nine digits: more than any code."""
        made = Player(sim, 410_000_000 + 7919 * (len(self.players) + 1))
        sim.person(made.user_id)
        self.players.append(made)
        return made

    # ------------------------------------------------------------------ the site

    async def call(self, kind: Kind, sent: dict[str, Any], api_key: str | None = None) -> Call:
        """A call of the API, noted whatever becomes of it."""
        call = Call(kind, now(), sent)
        self.history.calls.append(call)
        await self.make(call, api_key)
        return call

    async def ask(self, rng: Random, kind: Kind, sent: dict[str, Any]) -> Call:
        """A call as a site makes it that is careful about half of the time.

        Then it has a key, is made again while its answer is lost, and sometimes twice at once or once more.
        """
        if not self.grown or rng.random() < 0.5:
            return await self.call(kind, sent)
        call = Call(kind, now(), sent, key=f"{rng.getrandbits(128):032x}")
        self.history.calls.append(call)
        for _ in range(4):
            await asyncio.gather(*[self.make(call) for _ in range(rng.choice((1, 1, 1, 2)))])
            if call.status and rng.random() < 0.8:
                break
            await asyncio.sleep(rng.uniform(0, 0.4))
            await self.up.wait()
        return call

    async def make(self, call: Call, api_key: str | None = None) -> None:
        """Make a call, or make it again."""
        one = Try(now())
        headers = {
            "Authorization": f"Bearer {api_key or self.one.api_key}",
            "Content-Type": "application/json",
        }
        if call.key:
            headers["Idempotency-Key"] = call.key
        timeout = aiohttp.ClientTimeout(total=40)
        sent = dict(call.sent)
        path = PATHS.get(call.kind, PATHS["send" if "context" in sent else "verify"])
        if call.kind in ("status", "cancel"):
            path = f"{PATHS['request']}/{sent.pop('request_id')}/{call.kind}"
        body = None if call.kind == "status" else json.dumps(sent).encode()
        try:
            got = self.one.http.request(
                "GET" if body is None else "POST",
                self.relay.url + path,
                data=body,
                headers=headers,
                timeout=timeout,
            )
            async with got as answer:
                text = await answer.text()
                if answer.status != 200:
                    self.bodies.append(text)
                json.loads(text)
                one.body, one.status = text, answer.status
                one.replayed = answer.headers.get("Idempotent-Replayed") == "true"
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # lost: it may have had its effect
        one.ended = now()
        call.tries.append(one)
        call.settle()

    async def request(self, rng: Random, **fields: Any) -> Call:
        """Ask for a code for somebody."""
        sent = {**_terms(rng), "context": {"action": self.tag()}, **fields}
        return await self.ask(rng, "request", sent)

    async def status(self, request_id: str) -> Call:
        """Read a status; a subscriber that becomes known is remembered."""
        call = await self.call("status", {"request_id": request_id})
        if "subscriber_id" in call.answer:
            for tag in [
                one.tag for one in self.history.of("request") if one.answer.get("request_id") == request_id
            ]:
                for bot_call, player, _ in self.codes(tag):
                    if bot_call.done:
                        self.subscribers.setdefault(call.answer["subscriber_id"], player)
        return call

    # ------------------------------------------------------------------ the people

    def act(self, player: Player, verb: str, subject: str, do: Callable[[], Any]) -> Act:
        """Do something in the chat, noted together with what the webhook says to it."""
        before = len(player.sim.deliveries)
        act = Act(verb, now(), player.name, subject)
        do()
        if len(player.sim.deliveries) > before:  # else MAX swallowed it, and nothing was done
            delivery = player.sim.deliveries[-1]  # writing to a blocked bot unblocks it first
            act.deliveries.append(delivery.attempts)
            self.history.acts.append(act)
            self._unacked.append((act, delivery, player.sim))
        return act

    async def watch(self) -> None:
        """Note when updates are acknowledged."""
        while True:
            for number, (act, delivery, sim) in enumerate(self._unacked):
                if delivery.done:
                    act.acked = now()
                elif delivery.given_up:  # a real messenger tries for hours: begin again
                    sim.deliver(delivery.update)
                    self._unacked[number] = (act, sim.deliveries[-1], sim)
                    act.deliveries.append(sim.deliveries[-1].attempts)
            self._unacked = [one for one in self._unacked if one[0].acked is None]
            await asyncio.sleep(0.005)

    def open(self, player: Player, request: Call) -> Act:
        """Open a link, or type its id where the messenger swallows it or the person likes to."""
        request_id, link = request.answer["request_id"], request.answer[f"{player.sim.channel}_link"]
        before = len(player.sim.deliveries)
        act = self.act(player, "open", request_id, lambda: player.sim.open_link(player.user_id, link))
        if len(player.sim.deliveries) > before:
            return act
        return self.act(
            player, "open", request_id, lambda: player.sim.say(player.user_id, f"otp_{request_id}")
        )

    def press(self, player: Player, message: ChatMessage, button: Button) -> Act:
        """Press a button that is, or was, on the screen."""
        verb, _, subject = button.value.partition(":")
        if verb == "unlock" and ":" in subject:
            subject = subject.partition(":")[2]
        if verb == "repeat":
            found = TAG.search(message.text)
            subject = found[0] if found else subject
        return self.act(
            player, verb, subject, lambda: player.sim.press_data(player.user_id, message.id, button.value)
        )

    async def until(self, player: Player, condition: Callable[[], Any], seconds: float = PATIENCE) -> bool:
        """Wait for something to be true of the messenger; whether it came."""
        try:
            await player.sim.until(lambda: bool(condition()), seconds)
        except TimeoutError:
            return False
        return True

    # ------------------------------------------------------------------ the codes

    def codes(self, tag: str) -> list[tuple[BotCall, Player, str]]:
        """The code messages of a tag so far, in the order in which the messenger heard of them."""
        for sim in self.sims:
            for call in sim.calls[self._read.get(sim.channel, 0) :]:
                self._note(sim, call)
            self._read[sim.channel] = len(sim.calls)
        return self._codes.get(tag, [])

    def _note(self, sim: Simulator, call: BotCall) -> None:
        digits = code_in(call)
        if digits is None:
            return
        user_id = int(call.params["chat_id" if sim.channel == "telegram" else "user_id"])
        found = TAG.search(_text(call))
        self._codes.setdefault(found[0] if found else "", []).append((call, Player(sim, user_id), digits))

    def all_messages(self) -> list[Message]:
        """All code messages, for the history."""
        self.codes("")
        return [
            Message(call.at, player.name, digits, tag, call.done, call.status)
            for tag, found in self._codes.items()
            for call, player, digits in found
        ]

    async def code(self, player: Player, tag: str) -> str | None:
        """The newest code of a tag, once it is in the chat."""
        taken = lambda: [digits for call, _, digits in self.codes(tag) if call.done]  # noqa: E731
        return taken()[-1] if await self.until(player, taken) else None

    def subscriber(self, player: Player) -> str | None:
        """A person's id, as far as the site knows it."""
        return next((one for one, known in self.subscribers.items() if known.name == player.name), None)

    def newest(self, name: str, purpose: str, most: int = 3) -> list[str]:
        """The codes of a purpose that this person got last."""
        asked = {call.tag: call.sent["purpose"] for call in self.history.of("request", "send")[-200:]}
        self.codes("")
        found = [
            (call.at, digits)
            for tag, codes in self._codes.items()
            for call, player, digits in codes
            if asked.get(tag) == purpose and player.name == name and call.done
        ]
        return [digits for _, digits in sorted(found)[-most:]]


def _text(call: BotCall) -> str:
    return str((call.body or {}).get("text", "") if call.body is not None else call.params.get("text", ""))


def code_in(call: BotCall) -> str | None:
    """The code in a call of a bot, if it is a code message."""
    first = _text(call).split("\n")[0]
    return first if call.method in SEND and DIGITS.fullmatch(first) else None


def _terms(rng: Random) -> dict[str, Any]:
    return {
        "purpose": rng.choice(PURPOSES[:2]),
        "max_attempts": rng.randint(1, 5),
        "code_length": rng.choice((6, 8)),
        "ttl_minutes": rng.choice((1, 5, 5)),
    }


# ------------------------------------------------------------------ what happens, each at random


async def asks(load: Load, rng: Random) -> None:
    """Somebody asks for a code on the site and goes all the way, or not."""
    request = await load.request(rng)
    if request.status != 200:
        return
    request_id = request.answer["request_id"]
    player = rng.choice(load.players) if rng.random() < 0.8 else load.player(rng.choice(load.sims))
    load.open(player, request)
    others = [other for other in load.players if other.sim is player.sim and other is not player]
    if others and rng.random() < 0.2:
        load.open(rng.choice(others), request)  # the link was passed on
    shown = lambda: player.buttons("yes", "unlock", "again", about=request_id) or load.codes(request.tag)  # noqa: E731
    if not await load.until(player, shown):
        return
    if found := player.buttons("yes", "unlock", "again", about=request_id):
        if rng.random() < 0.15 and (no := player.buttons("no", about=request_id)):
            load.press(player, *no[0])
        if rng.random() < 0.9:
            load.press(player, *found[0])
        if rng.random() < 0.1:
            load.press(player, *found[0])
    for _ in range(rng.randint(1, 4)):
        if (await load.status(request_id)).answer.get("status") != "pending":
            break
        await asyncio.sleep(0.03)
    await _guess(load, rng, player, request, {"request_id": request_id} if rng.random() < 0.6 else {})


async def sends(load: Load, rng: Random) -> None:
    """The site sends a code to somebody it knows."""
    if not load.subscribers:
        return await asks(load, rng)
    subscriber = rng.choice(sorted(load.subscribers))
    fields = {"subscriber_id": subscriber, "context": {"action": load.tag()}, **_terms(rng)}
    call = await load.ask(rng, "send", fields)
    if call.status == 200 or rng.random() < 0.3:
        await _guess(load, rng, load.subscribers[subscriber], call, {})
    return None


async def _guess(load: Load, rng: Random, player: Player, asked: Call, fields: dict[str, Any]) -> None:
    """Guesses of one code: right, wrong, exhausted, from many places at once."""
    subscriber = load.subscriber(player)
    if subscriber is None or (digits := await load.code(player, asked.tag)) is None:
        return
    if not fields:
        fields = {"purpose": asked.sent["purpose"]}
    right = {"subscriber_id": subscriber, "code": digits, **fields}
    for _ in range(rng.choice((0, 0, 0, 1, 2, 6))):
        await load.ask(rng, "verify", {**right, "code": wrong(digits)})
    if rng.random() < 0.2:
        await load.call("foreign", right, load.foreign_key)
    if rng.random() < 0.7:
        await asyncio.gather(*[load.ask(rng, "verify", right) for _ in range(rng.choice((1, 1, 1, 4)))])


async def reads(load: Load, _rng: Random) -> None:
    """Statuses of requests of before, final ones too."""
    known = [one.answer["request_id"] for one in load.history.of("request") if one.status == 200]
    for request_id in _rng.sample(known, min(3, len(known))):
        await load.status(request_id)


async def tries_old(load: Load, rng: Random) -> None:
    """Codes of before, used and replaced ones too."""
    load.codes("")
    known = [
        (tag, player, digits)
        for tag, found in load._codes.items()
        for call, player, digits in found
        if call.done
    ]
    for tag, player, digits in rng.sample(known, min(2, len(known))):
        subscriber = load.subscriber(player)
        asked = next((one for one in load.history.of("request", "send") if one.tag == tag), None)
        if subscriber is not None and asked is not None:
            await load.call(
                "verify", {"subscriber_id": subscriber, "code": digits, "purpose": asked.sent["purpose"]}
            )


async def leaves(load: Load, rng: Random) -> None:
    """Somebody leaves, by /stop or by a block, and the site sends all the same."""
    if not load.subscribers:
        return
    subscriber = rng.choice(sorted(load.subscribers))
    player = load.subscribers[subscriber]
    if rng.random() < 0.4:
        load.act(player, "gone", "", lambda: player.sim.block(player.user_id))
        await asyncio.sleep(rng.uniform(0, 0.2))
        load.act(player, "look", "", lambda: player.sim.unblock(player.user_id))
    else:
        load.act(player, "look", "", lambda: player.sim.say(player.user_id, "/stop"))
        if not await load.until(player, lambda: player.buttons("leave")):
            return
        act = load.press(player, *player.buttons("leave")[0])
        for _ in range(30):
            if act.acked is None:
                await asyncio.sleep(0.02)
    fields = {"subscriber_id": subscriber, "context": {"action": load.tag()}, **_terms(rng)}
    await load.call("send", fields)


async def presses(load: Load, rng: Random) -> None:
    """Buttons that are still on the screen: "Send again" of codes and offers, Unlock, old questions."""
    player = rng.choice(load.players)
    found = player.buttons("repeat", "again", "unlock", "yes")
    if found:
        message, button = rng.choice(found[:6])
        for _ in range(rng.choice((1, 1, 3))):
            load.press(player, message, button)
        await asyncio.sleep(0.05)


async def repeats(load: Load, rng: Random) -> None:
    """An update is delivered once more, as messengers do."""
    sim = rng.choice(load.sims)
    if sim.deliveries:
        sim.deliver(rng.choice(sim.deliveries[-30:]).update)
    await asyncio.sleep(0.05)


async def cancels(load: Load, rng: Random) -> None:
    """The site takes a request back, just while the person agrees or at any time, and tries its code all the same."""
    known = [one for one in load.history.of("request")[-40:] if one.status == 200]
    if not load.grown or not known:
        return
    request, player = rng.choice(known), rng.choice(load.players)
    if rng.random() < 0.7:
        request = await load.request(rng)
        if request.status != 200:
            return
        load.open(player, request)
        await asyncio.sleep(rng.choice((0, 0.01, 0.05, 0.2)))
    request_id = request.answer["request_id"]
    if found := player.buttons("yes", about=request_id):
        load.press(player, *found[0])
        await asyncio.sleep(rng.choice((0, 0, 0.005, 0.02)))
    await load.ask(rng, "cancel", {"request_id": request_id})
    await load.status(request_id)
    for call, whose, digits in load.codes(request.tag)[-1:]:
        subscriber = load.subscriber(whose)
        if call.done and subscriber is not None:
            guess = {"subscriber_id": subscriber, "code": digits, "request_id": request_id}
            await load.ask(rng, "verify", guess)


async def revokes(load: Load, rng: Random) -> None:
    """The site takes a code back, and tries all the same what the person has."""
    if not load.grown or not load.subscribers:
        return
    subscriber = rng.choice(sorted(load.subscribers))
    purpose = rng.choice(PURPOSES[:2])
    await load.ask(rng, "revoke", {"subscriber_id": subscriber, "purpose": purpose})
    if rng.random() < 0.7:
        name = load.subscribers[subscriber].name
        for digits in load.newest(name, purpose):
            guess = {"subscriber_id": subscriber, "code": digits, "purpose": purpose}
            await load.ask(rng, "verify", guess)


async def insists(load: Load, rng: Random) -> None:
    """A call with a key comes again, perhaps much later; or another one with its key."""
    known = [
        call
        for call in load.history.calls[-600:]
        if call.key and call.kind != "mismatch" and (not call.status or call.tries[-1].kept)
    ]
    if not known:
        return
    call = rng.choice(known)
    if call.status and rng.random() < 0.3:
        if call.kind in ("send", "verify"):
            other = Call("mismatch", now(), {**call.sent, "purpose": "delete"}, key=call.key)
            load.history.calls.append(other)
            await load.make(other)
    else:
        await load.make(call)


DOINGS = [asks] * 6 + [sends] * 5 + [reads] * 2 + [tries_old] * 2 + [presses] * 3 + [repeats] * 2 + [leaves]
DOINGS += [cancels] * 2 + [revokes] * 2 + [insists] * 3
