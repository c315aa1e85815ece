"""The half of a messenger that both have in common: people, their chats, faults and webhook deliveries."""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

from aiohttp import web

from sandbox.courier import Changes, Courier
from sandbox.exchange import Exchange
from sandbox.markup import Span, utf16_length
from sandbox.people import Callback, Person, Posted
from sandbox.wire import (
    JSON,
    Button,
    Call,
    ChatMessage,
    Clock,
    Delivery,
    Fault,
    Impossible,
    Pressed,
    Route,
    Webhook,
)


class Simulator(ABC):
    """A messenger with one bot, any number of people and no network but loopback.

    The people's side is methods; the bot's side is the HTTP application of `app`. `route` turns a registered
    webhook URL into the one to POST to (None: unreachable), `retry_delay` is in seconds and doubles,
    `messages_per_second` limits what the bot may send into one dialog (0: no limit). `capture`, when it is a
    list, receives the updates in place of the webhooks, and `deliver` sends them (again).
    """

    channel: ClassVar[str]
    secret_header: ClassVar[str]
    link_host: ClassVar[str]
    link_payload: ClassVar[str]  # a pattern for what a link may carry as `start`
    text_limit: ClassVar[int]
    bold_kind: ClassVar[str]
    code_kinds: ClassVar[frozenset[str]]

    def __init__(
        self,
        *,
        token: str,
        username: str,
        now: Clock,
        route: Route,
        retry_delay: float = 0.5,
        messages_per_second: int = 0,
    ) -> None:
        self.token = token
        self.username = username
        self.webhooks: list[Webhook] = []
        self.capture: list[JSON] | None = None
        self.changes = Changes()
        self._now = now
        self._messages_per_second = messages_per_second
        self._people: dict[int, Person] = {}
        self._callbacks: dict[str, Callback] = {}
        self._spent: dict[tuple[int, str], deque[int]] = {}
        self._queue: deque[JSON] = deque()
        self._activity = Changes()
        self.changes.listeners.append(self._activity.mark)
        self._exchange = Exchange(error=self._error, wake=self._activity.mark)
        self._courier = Courier(
            now=now,
            route=route,
            secret_header=self.secret_header,
            acknowledged=self._acknowledged,
            retry_delay=retry_delay,
        )

    # ---- what the two messengers do differently

    @abstractmethod
    def app(self) -> web.Application:
        """The bot API as an application, which the caller serves on loopback."""

    @abstractmethod
    def open_link(self, user_id: int, link: str) -> bool:
        """Follow a link to the bot as the client does; False when the messenger sends nothing.

        Raises Impossible when the link is not one of this bot's.
        """

    @abstractmethod
    def _tell_said(self, person: Person, posted: Posted) -> None:
        """Send the update for a text of the person's."""

    @abstractmethod
    def _tell_pressed(self, person: Person, callback_id: str, message_id: str, data: str) -> None:
        """Send the update for a pressed button."""

    @abstractmethod
    def _tell_blocked(self, person: Person) -> None:
        """Send the update for a bot that was just blocked."""

    @abstractmethod
    def _tell_unblocked(self, person: Person) -> None:
        """Send the update for a bot that was just unblocked."""

    @abstractmethod
    def _new_message_id(self, person: Person) -> str: ...

    @abstractmethod
    def _new_callback_id(self) -> str: ...

    @abstractmethod
    def _button(self, raw: JSON) -> Button:
        """A button of the bot's keyboard as the person sees it."""

    @abstractmethod
    def _update_type(self, update: JSON) -> str: ...

    @abstractmethod
    def _acknowledged(self, status: int) -> bool: ...

    @abstractmethod
    def _standing(self, webhook: Webhook) -> Webhook | None:
        """The registration that has taken the place of `webhook` by now, None when there is none."""

    @abstractmethod
    def _error(self, status: int, retry_after: int | None) -> JSON:
        """The body of an error that is not about the call itself."""

    # ---- the people's side

    def person(self, user_id: int, *, language: str = "en", first_name: str = "Ann") -> None:
        """Create or update a person; an empty `language` is one that the messenger does not pass on."""
        person = self._person(user_id)
        person.language, person.first_name = language, first_name
        self.changes.mark()

    def say(self, user_id: int, text: str) -> None:
        """Write a text to the bot; a client makes the person unblock the bot first.

        Raises Impossible when the text is empty or longer than a message can be.
        """
        text = text.strip()
        if not 0 < utf16_length(text) <= self.text_limit:
            raise Impossible(f"a message has 1 to {self.text_limit} characters")
        if self.is_blocked(user_id):
            self.unblock(user_id)
        person = self._person(user_id)
        person.state = "active"
        self._tell_said(person, self._post(person, "person", text, [], []))

    def press(self, user_id: int, message_id: str, row: int, column: int) -> Pressed:
        """Press a button on the screen. Raises Impossible when there is no such message or button."""
        posted = self._person(user_id).messages.get(message_id)
        if posted is None:
            raise Impossible("no such message")
        if not 0 <= row < len(posted.keyboard) or not 0 <= column < len(posted.keyboard[row]):
            raise Impossible("no such button")
        button = self._button(posted.keyboard[row][column])
        if button.kind == "copy":
            return Pressed(copy=button.value)
        if button.kind == "link":
            return Pressed(link=button.value)
        self.press_data(user_id, message_id, button.value)
        return Pressed()

    def press_data(self, user_id: int, message_id: str, data: str) -> None:
        """Press a button that the message may no longer carry: an old screen, or forged data.

        While the bot is blocked, nothing is sent.
        """
        person = self._person(user_id)
        if person.state == "blocked":
            return
        callback_id = self._new_callback_id()
        self._callbacks[callback_id] = Callback(user_id, message_id)
        self._tell_pressed(person, callback_id, message_id, data)

    def keys(self, user_id: int) -> list[list[str]]:
        """The labels of the keys in place of the person's own keyboard, by rows."""
        return [[str(key["text"]) for key in row] for row in self._person(user_id).keys]

    def press_key(self, user_id: int, row: int, column: int) -> None:
        """Press one of these keys. Raises Impossible when there is no such key."""
        del user_id, row, column
        raise Impossible("no such key")

    def share_contact(self, user_id: int, *, own: bool = True, forwarded: bool = False) -> None:
        """Send the person's own contact, or somebody else's. Raises Impossible where that is not simulated."""
        del user_id, own, forwarded
        raise Impossible("contacts are simulated in Telegram only")

    def block(self, user_id: int) -> None:
        """Block the bot; nothing happens when it is blocked already."""
        person = self._person(user_id)
        if person.state != "blocked":
            person.state = "blocked"
            self.changes.mark()
            self._tell_blocked(person)

    def unblock(self, user_id: int) -> None:
        """Take the block back; nothing happens without one."""
        person = self._person(user_id)
        if person.state == "blocked":
            person.state = "active"
            self.changes.mark()
            self._tell_unblocked(person)

    def is_blocked(self, user_id: int) -> bool:
        """Whether this person has blocked the bot."""
        return self._person(user_id).state == "blocked"

    def chat(self, user_id: int) -> list[ChatMessage]:
        """What the person's screen shows now, oldest first."""
        return [self._shown(posted) for posted in self._person(user_id).messages.values()]

    def popups(self, user_id: int) -> list[str]:
        """The texts that popped up over the chat so far, oldest first."""
        return list(self._person(user_id).popups)

    # ---- inspection

    @property
    def calls(self) -> list[Call]:
        """Every call of the bot, oldest first."""
        return self._exchange.calls

    @property
    def faults(self) -> list[Fault]:
        """The disturbances to come; the first that matches a call strikes it."""
        return self._exchange.faults

    @property
    def deliveries(self) -> list[Delivery]:
        """Every update on its way to a webhook, oldest first, ended or not."""
        return self._courier.deliveries

    @property
    def violations(self) -> list[str]:
        """All breaches of the API's rules so far, each with the call that made it."""
        return [f"{call.method}: {violation}" for call in self.calls for violation in call.violations]

    def deliver(self, update: JSON) -> None:
        """Send an update of any content to the webhooks, also one that went out before."""
        self._send(update, line=None)

    async def settled(self) -> None:
        """Until no webhook delivery is under way: each had its answer or was given up."""
        await self._courier.settled()

    async def until(self, condition: Callable[[], bool], seconds: float = 5) -> None:
        """Until the condition on chats and calls holds; raises TimeoutError when that takes too long."""
        async with asyncio.timeout(seconds):
            while not condition():
                if not await self._activity.wait(seconds):
                    raise TimeoutError("closed, or nothing happened any more")

    async def close(self) -> None:
        """Cancel the deliveries under way and release whatever call is held up."""
        self._release()
        await self._courier.close()

    # ---- for the two messengers: people

    def _person(self, user_id: int) -> Person:
        return self._people.setdefault(user_id, Person(user_id))

    def _post(
        self,
        person: Person,
        author: Literal["bot", "person"],
        text: str,
        spans: list[Span],
        keyboard: list[list[JSON]],
        more: JSON | None = None,
    ) -> Posted:
        posted = Posted(
            self._new_message_id(person), author, text, spans, keyboard, self._now(), more=more or {}
        )
        person.messages[posted.id] = posted
        self.changes.mark()
        return posted

    def _start_payload(self, link: str) -> str:
        """What a link to the bot carries, "" for nothing. Raises Impossible."""
        try:
            parts = urlsplit(link)
        except ValueError:
            raise Impossible("not a link") from None
        bot = (parts.scheme, parts.netloc, parts.path.strip("/").casefold())
        if bot != ("https", self.link_host, self.username.casefold()):
            raise Impossible(f"not a link to https://{self.link_host}/{self.username}")
        query = parse_qs(parts.query, keep_blank_values=True)
        values = query.pop("start", [""])
        if query or len(values) != 1 or not re.fullmatch(self.link_payload, values[0]):
            raise Impossible(f"the link may only carry a `start` like {self.link_payload}")
        return values[0]

    def _pop_up(self, person: Person, text: str) -> None:
        person.popups.append(text)
        self.changes.mark()

    def _shown(self, posted: Posted) -> ChatMessage:
        return ChatMessage(
            id=posted.id,
            author=posted.author,
            text=posted.text,
            code_spans=[(span.start, span.length) for span in posted.spans if span.kind in self.code_kinds],
            bold_spans=[(span.start, span.length) for span in posted.spans if span.kind == self.bold_kind],
            buttons=[[self._button(raw) for raw in row] for row in posted.keyboard],
            edited=posted.edited_at is not None,
            at=posted.at,
        )

    # ---- for the two messengers: updates and calls

    def _emit(self, person: Person, update: JSON) -> None:
        update = json.loads(json.dumps(update))  # a snapshot: what happens later must not show in it
        if self.capture is not None:
            self.capture.append(update)
        else:
            self._send(update, line=person.user_id)

    def _send(self, update: JSON, line: int | None) -> None:
        if not self.webhooks:
            self._queue.append(update)
            self._activity.mark()
        for webhook in self.webhooks:
            if not webhook.update_types or self._update_type(update) in webhook.update_types:
                self._courier.send(update, webhook, partial(self._standing, webhook), line)

    def _over_limit(self, person: Person, kind: str) -> bool:
        """Whether this message is one too many within a second; it counts if not."""
        if not self._messages_per_second:
            return False
        spent = self._spent.setdefault((person.user_id, kind), deque())
        while spent and spent[0] <= self._now() - 1000:
            spent.popleft()
        if len(spent) >= self._messages_per_second:
            return True
        spent.append(self._now())
        return False

    async def _on_shutdown(self, _: web.Application) -> None:
        self._release()

    def _release(self) -> None:
        self._exchange.release()
        self.changes.close()
        self._activity.close()
