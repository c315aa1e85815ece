"""Who the bots are and where their updates go: asked, registered, looked after.

What is registered is remembered in the store, so that a move to another address removes the old registration and a
foreign one is never taken for ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

import structlog

from bot import phrases
from bot.messenger import Hook, Introduction, MessengerError, Skin
from bot.texts import FALLBACK, languages
from otp.codes import fingerprint
from otp.errors import StorageUnavailable
from otp.model import Channel
from otp.policy import SECOND_MS
from otp.ports import Clock, Store, Tx, Work

log = structlog.get_logger()

URL_FACT: Final = "webhook_url"
SECRET_FACT: Final = "webhook_secret"  # noqa: S105  # a fact's name
NAME_FACT: Final = "bot_username"
STATE_FACT: Final = "state"
AGAIN_MS: Final = 30 * SECOND_MS
"""When a channel that was found mute is checked again by a job."""
FOLLOW_SECONDS: Final = 5
"""How often a process learns what another one found out about a channel; at once until it knows the bots' names."""
UNKNOWN_SECONDS: Final = 0.5


class State(StrEnum):
    """How a channel is, as far as we know."""

    UNKNOWN = "unknown"
    OK = "ok"
    UNREACHABLE = "unreachable"
    UNAUTHORIZED = "unauthorized"
    FOREIGN_WEBHOOK = "foreign_webhook"


_MUTE: Final = (State.UNREACHABLE, State.UNAUTHORIZED)
"""States in which nothing goes out. Beside a foreign webhook codes do, and in MAX what people do comes to both."""
DEAF: Final = ("missing", "not fetched")
"""Of `ChannelInfo.webhook`: what people do does not come to us."""


@dataclass(slots=True)
class ChannelInfo:
    """What is known of one channel."""

    username: str | None = None
    state: State = State.UNKNOWN
    webhook: str = "off"
    """`registered`, `missing`, or `off` when none is wanted; then `fetched` or `not fetched`, once that was tried."""
    detail: str | None = None
    lost: int = 0
    """How often this process found that its webhook was gone, and registered it anew."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where updates of a channel shall go."""

    url: str
    secret: str = field(repr=False)


class Registration:
    """Knows the bots' names and keeps their webhooks."""

    def __init__(
        self,
        skins: Mapping[Channel, Skin],
        store: Store,
        targets: Mapping[Channel, Wanted],
        usernames: Mapping[Channel, str],
        *,
        identities: Mapping[Channel, str],
        automatic: bool,
    ) -> None:
        """What is known beforehand.

        `targets`: where updates go; `usernames`: those given by settings; `identities`: tell one bot from another, by
        its token; `automatic`: keep webhooks registered.
        """
        self._skins = skins
        self._store = store
        self._targets = targets
        self._given = usernames
        self._automatic = automatic
        self._identities = identities
        self.channels = {channel: ChannelInfo(usernames.get(channel)) for channel in skins}
        for channel in targets if automatic else ():
            self.channels[channel].webhook = "missing"

    def names(self) -> dict[Channel, str | None]:
        """The bots' user names by channel, None where none is known yet."""
        return {channel: info.username for channel, info in self.channels.items()}

    def _name_fact(self, channel: Channel) -> str:
        """A name belongs to one bot: with another token the old bot's links would be wrong."""
        return f"{NAME_FACT}.{self._identities[channel]}"

    def is_sound(self, channel: Channel) -> bool:
        """Whether nothing speaks against it that a check found out; before the first one nothing does."""
        info = self.channels[channel]
        if info.state is State.UNKNOWN:
            return True
        return info.state not in _MUTE and info.webhook not in DEAF

    async def recall(self, tx: Tx) -> None:
        """Names not known yet, where earlier runs and other processes have remembered them."""
        for channel, info in self.channels.items():
            if info.username is None:
                info.username = await tx.fact(_fact(channel, self._name_fact(channel)))

    async def check(self, channel: Channel) -> bool:
        """Ask who the bot is and restore its webhook. False when the messenger could not be asked, or took none."""
        skin, info = self._skins[channel], self.channels[channel]
        before, taken = info.state, True
        try:
            await self._identify(skin, info)
            taken = await self._keep_registered(skin, info)
            await self._introduce(skin)
        except MessengerError as error:
            info.state = State.UNAUTHORIZED if error.unauthorized else State.UNREACHABLE
            info.detail = error.reason
        await self._share(channel, info)
        if info.state is not before:
            say = log.info if info.state is State.OK else log.error
            say("channel.state", channel=channel, state=info.state, detail=info.detail, webhook=info.webhook)
        return taken and info.state in (State.OK, State.FOREIGN_WEBHOOK)

    async def find_out(self, channel: Channel) -> bool:
        """Check at once. What is wrong is looked at again soon, by whoever lives then. Whether codes may go out."""
        await self.check(channel)
        fine = self.channels[channel].state not in _MUTE
        if not fine:
            await self._store.write(lambda tx: tx.ensure_job(f"check:{channel}", "", tx.now + AGAIN_MS))
        return fine

    async def _share(self, channel: Channel, info: ChannelInfo) -> None:
        """Let other processes on the same store know."""
        told = json.dumps([info.state, info.webhook, info.detail])
        await self._store.write(lambda tx: tx.remember(_fact(channel, STATE_FACT), told))

    async def follow(self, clock: Clock) -> None:
        """Go on learning what other processes find out: each check is done by one of all."""
        while True:
            with suppress(StorageUnavailable):
                for channel in self.channels:
                    await self._learn(channel)
            known = all(self.names().values())
            await clock.sleep(FOLLOW_SECONDS if known else UNKNOWN_SECONDS)

    async def _learn(self, channel: Channel) -> None:
        info, fact = self.channels[channel], self._name_fact(channel)
        if channel not in self._given:
            info.username = await self._store.read(_recalled(channel, fact)) or info.username
        if told := await self._store.read(_recalled(channel, STATE_FACT)):
            with suppress(ValueError):  # of a newer program, that knows more states
                state, webhook, detail = json.loads(told)
                info.state, info.webhook, info.detail = State(state), webhook, detail

    async def _identify(self, skin: Skin, info: ChannelInfo) -> None:
        asked = await skin.username()
        name = self._given.get(skin.channel, asked)
        if name != asked:
            log.warning("channel.username_differs", channel=skin.channel)
        if name != info.username or skin.channel not in self._given:
            info.username = name
            await self._store.write(
                lambda tx: tx.remember(_fact(skin.channel, self._name_fact(skin.channel)), name)
            )
        info.state, info.detail = State.OK, None

    async def _introduce(self, skin: Skin) -> None:
        """Register commands and descriptions, once for each version of their texts. A refusal stops nothing."""
        known = {name: texts for name, texts in languages().items() if name != self._first_language(skin)}
        ordered = {self._first_language(skin): languages()[self._first_language(skin)], **known}
        shown = [
            Introduction(name, texts("help.who"), tuple(phrases.commands(texts)))
            for name, texts in ordered.items()
        ]
        mark, fact = (
            fingerprint([repr(shown)]),
            _fact(skin.channel, f"introduced.{self._identities[skin.channel]}"),
        )
        if await self._store.read(lambda tx: tx.fact(fact)) == mark:
            return
        try:
            await skin.introduce(shown)
        except MessengerError as error:
            log.warning("channel.not_introduced", channel=skin.channel, detail=error.reason)
            return
        await self._store.write(lambda tx: tx.remember(fact, mark))

    @staticmethod
    def _first_language(skin: Skin) -> str:
        """Of the one list that stands for all: MAX's people speak Russian, Telegram's have a list per language."""
        return "ru" if skin.channel is Channel.MAX else FALLBACK

    async def _keep_registered(self, skin: Skin, info: ChannelInfo) -> bool:
        """False when the messenger is well and takes no webhook of ours."""
        wanted = self._targets.get(skin.channel)
        if wanted is None or not self._automatic:
            return True
        try:
            found = await self.register(skin.channel, wanted, take_over=False)
        except MessengerError as error:
            if not error.refused:
                raise
            info.webhook, info.detail = "missing", f"the webhook was refused: {error.reason}"
            log.error("webhook.refused", channel=skin.channel, detail=error.reason)
            return False
        info.webhook = "registered" if found.registered else "missing"
        if found.foreign:
            info.state, info.detail = State.FOREIGN_WEBHOOK, "another webhook is registered for this bot"
        elif found.error is not None:
            log.warning("webhook.delivery_error", channel=skin.channel)
        return True

    async def register(self, channel: Channel, wanted: Wanted, *, take_over: bool) -> Found:
        """Register ours, remove the one we registered before; a foreign one goes only by `take_over`.

        Raises `MessengerError`.
        """
        skin = self._skins[channel]
        earlier, marked = await self._remembered(channel)
        mark = fingerprint((wanted.url, wanted.secret))
        hooks = await skin.hooks()
        foreign = [hook.url for hook in hooks if hook.url not in (wanted.url, earlier)]
        if foreign and not take_over:
            log.error(
                "webhook.foreign", channel=channel, hint="run: python main.py webhooks register --take-over"
            )
            if skin.replaces_hook:
                return Found(registered=False, foreign=True)
        gone = all(hook.url != wanted.url for hook in hooks)
        info = self.channels[channel]
        if gone and info.webhook == "registered":
            info.webhook = "missing"
        if gone and marked == mark:
            info.lost += 1
            log.error("webhook.lost", channel=channel, hint="the messenger dropped it; it is registered anew")
        if gone or marked != mark:
            await skin.register(wanted.url, wanted.secret)
            await self._store.write(_remembering(channel, wanted.url, mark))
        await self._remove_others(skin, wanted.url, [*foreign] if take_over else [], earlier, hooks)
        listed = await skin.hooks()
        registered = any(hook.url == wanted.url for hook in listed)
        if registered and info.webhook == "missing":
            info.webhook = "registered"
        return Found(
            registered=registered,
            foreign=bool(foreign) and not take_over,
            error=next((hook.error for hook in listed if hook.url == wanted.url), None),
        )

    async def _remove_others(
        self, skin: Skin, ours: str, taken: Sequence[str], earlier: str | None, hooks: Sequence[Hook]
    ) -> None:
        listed = {hook.url for hook in hooks}
        for url in dict.fromkeys([*taken, *([earlier] if earlier else [])]):
            if url != ours and url in listed and not skin.replaces_hook:
                await skin.unregister(url)

    async def remove(self, channel: Channel, *, take_over: bool = False) -> list[str]:
        """Remove the webhook that we registered, with `take_over` every one; their URLs. Raises `MessengerError`."""
        earlier, _ = await self._remembered(channel)
        wanted = self._targets.get(channel)
        ours = earlier or (wanted.url if wanted else None)
        listed = [hook.url for hook in await self._skins[channel].hooks()]
        removed = [url for url in listed if take_over or url == ours]
        for url in removed:
            await self._skins[channel].unregister(url)
        await self._store.write(_remembering(channel, None, None))
        return removed

    async def perform(self, verb: str, *, take_over: bool) -> dict[str, Any]:
        """The operator's `webhooks register|show|remove`: what came of it, by channel."""
        return {channel: await self._perform(verb, channel, take_over) for channel in self._skins}

    async def _perform(self, verb: str, channel: Channel, take_over: bool) -> dict[str, Any]:
        try:
            if verb == "show":
                return {"webhooks": [asdict(hook) for hook in await self._skins[channel].hooks()]}
            if verb == "remove":
                return {"removed": await self.remove(channel, take_over=take_over)}
            wanted = self._targets.get(channel)
            if wanted is None:
                return {"problem": "PUBLIC_URL and SECRET_KEYS must be set, here and for the running service"}
            found = await self.register(channel, wanted, take_over=take_over)
        except MessengerError as error:
            return {"problem": error.reason}
        if not found.registered:
            return {"problem": "another webhook is registered for this bot; --take-over replaces it"}
        return {"registered": wanted.url, "foreign": found.foreign}

    async def _remembered(self, channel: Channel) -> tuple[str | None, str | None]:
        url = await self._store.read(_recalled(channel, URL_FACT))
        mark = await self._store.read(_recalled(channel, SECRET_FACT))
        return url, mark


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at the messenger after a registration."""

    registered: bool
    foreign: bool
    error: str | None = None


def _fact(channel: Channel, name: str) -> str:
    return f"{channel}.{name}"


def _recalled(channel: Channel, name: str) -> Work[str | None]:
    return lambda tx: tx.fact(_fact(channel, name))


def _remembering(channel: Channel, url: str | None, mark: str | None) -> Work[None]:
    async def work(tx: Tx) -> None:
        await tx.remember(_fact(channel, URL_FACT), url)
        await tx.remember(_fact(channel, SECRET_FACT), mark)

    return work
