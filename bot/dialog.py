"""The conversation: which use case an event is, and what the person is answered. It knows no messenger."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bot import phrases
from bot.events import Event, Left, Opened, Pressed, Said, SharedContact
from bot.messages import Message
from bot.messenger import Answer, Reply, Say, notice
from bot.texts import Texts, languages, texts_for
from otp import pairing
from otp.events import DeliverySettled
from otp.model import Person, Project, SentMessage, Subscriber
from otp.numbers import looks_typed
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Dead,
    Ended,
    LanguageChosen,
    MustUnlock,
    NoSuchPairing,
    NotYours,
    NumberSkipped,
    NumberTaken,
    NumberUnasked,
    NumberUnfit,
    Offered,
    Opening,
    Pressing,
    Refusing,
    Repeated,
    Reported,
    Sharing,
    Subscriptions,
    TooLate,
    TryLater,
    Unlocked,
    Unusable,
    Unwanted,
    WrongNumber,
)
from otp.phones import Phones
from otp.ports import Randomness
from otp.protection import Protection
from otp.taps import Taps, Update

PREFIX: Final = "otp_"
_TYPED: Final = re.compile(
    r"(?:(?:https?://|t\.me/|max\.ru/)\S+[?&](?:start|startapp)=)?(?P<prefix>otp_)(?P<id>[A-Za-z0-9_-]*)(?:&\S*)?",
    re.ASCII | re.IGNORECASE,
)
_SUBJECT: Final = re.compile(r"[A-Za-z0-9:-]{1,60}", re.ASCII)
"""What button data of ours names: ids. Anything else is forged and goes no further."""
_COMMAND: Final = re.compile(
    r"/(?P<name>[a-z]+)(?:@\w+)?(?:\s+(?P<rest>.*))?", re.ASCII | re.IGNORECASE | re.DOTALL
)


def request_id_in(text: str) -> str | None:
    """The request id in a start payload or in what was typed or pasted (`otp_<id>`, a whole link), if there is one."""
    found = _TYPED.fullmatch(text.strip())
    return found["id"] if found else None


class Dialog:
    """Answers events. `may_speak` says whether one more sentence to a person is within the limits."""

    def __init__(
        self,
        taps: Taps,
        protection: Protection,
        phones: Phones,
        randomness: Randomness,
        may_speak: Callable[[Person], bool],
    ) -> None:
        self._taps = taps
        self._protection = protection
        self._phones = phones
        self._randomness = randomness
        self._may_speak = may_speak

    async def handle(self, event: Event) -> Sequence[Reply]:
        """Have the effect of an event committed; then say what is to be answered. Raises `StorageUnavailable`."""
        event = replace(event, update=await self._taps.language(event.update))
        match event:
            case Left(update):
                await self._taps.gone(update)
                return []
            case Pressed():
                return self._answer(event, await self._press(event))
            case Opened(update, payload):
                request_id = request_id_in(payload)
                return await (
                    self._open(update, request_id) if request_id is not None else self._look(update, payload)
                )
            case SharedContact(update, number, own):
                return self._shared(update, await self._phones.share(update, number, own=own))
            case Said(update, text):
                return await self._said(update, text)

    async def _said(self, update: Update, text: str) -> Sequence[Reply]:
        command = _COMMAND.fullmatch(text.strip())
        name, rest = (command["name"].lower(), command["rest"] or "") if command else ("", text)
        if name == "lang":
            return self._sentence(update, phrases.choose_language())
        if phrases.is_skip(text):
            return self._shared(update, await self._phones.skip(update))
        request_id = request_id_in(rest) if name in ("", "start") else None
        if request_id is not None:
            return await self._open(update, request_id)
        pairing_code = pairing.typed(rest) if name in ("", "start") else None
        if pairing_code is not None:
            return await self._pair(update, pairing_code, rest)
        if looks_typed(text) and self._may_speak(update.person):
            return self._typed(update, await self._phones.typed(update))
        return await self._look(update, rest if name == "start" else "", stop=name == "stop")

    async def _pair(self, update: Update, pairing_code: str, typed: str) -> Sequence[Reply]:
        """What a pairing code comes to; what is none and looks like a word gets the help."""
        is_word = pairing.is_a_word(typed)
        outcome = await self._taps.pair(update, pairing_code, counts=not is_word)
        if isinstance(outcome, NoSuchPairing):
            if is_word:
                return self._sentence(
                    update, phrases.help_page(texts_for(update.language), Subscriptions([], []))
                )
            return self._sentence(update, phrases.no_such_pairing(texts_for(update.language), outcome))
        return [] if isinstance(outcome, Repeated) else self._opened(update, outcome)

    def _shared(self, update: Update, outcome: Sharing) -> Sequence[Reply]:
        """What came of a contact, or of passing over the question for it."""
        texts = texts_for(update.language)
        match outcome:
            case Repeated():
                return []
            case Dead(why):
                return self._sentence(update, phrases.dead(texts, why))
            case NumberUnasked():
                return self._sentence(update, phrases.phone_unasked(texts))
            case NumberUnfit():
                return self._sentence(update, phrases.phone_unfit(texts, outcome))
            case NumberTaken() | NumberSkipped():
                return self._sentence(update, phrases.phone_done(texts, outcome))

    def _typed(self, update: Update, outcome: Sharing) -> Sequence[Reply]:
        """What comes of a number that was written: where nobody asks for one, it is like anything else."""
        if isinstance(outcome, NumberUnasked):
            nothing = Subscriptions([], [])
            return self._sentence(update, phrases.help_page(texts_for(update.language), nothing))
        return self._shared(update, outcome)

    async def _open(self, update: Update, request_id: str) -> Sequence[Reply]:
        outcome = await self._taps.open(update, request_id)
        return [] if isinstance(outcome, Repeated) else self._opened(update, outcome)

    def _opened(self, update: Update, outcome: Opening) -> Sequence[Reply]:
        texts = texts_for(update.language)
        match outcome:
            case (
                Asked(message=note)
                | MustUnlock(message=note)
                | Offered(message=note)
                | Unwanted(message=note)
            ):
                return [Say(note, _with_buttons(texts, outcome, update.language), counts=False)]
            case Dead(why):
                return self._sentence(update, phrases.dead(texts, why))
            case Coming(fresh=False):
                return self._sentence(update, Message(texts("popup.coming")))
            case _:
                return []

    async def _look(self, update: Update, payload: str, *, stop: bool = False) -> Sequence[Reply]:
        """Help, or the list of subscriptions; nothing is even looked up for somebody who floods."""
        if not self._may_speak(update.person):
            return []
        found = await self._taps.look(update)
        if isinstance(found, Repeated):
            return []
        texts = texts_for(update.language)
        if payload.strip():
            return self._sentence(update, phrases.dead(texts, Unusable.UNKNOWN))
        page = phrases.subscriptions(texts, found) if stop else phrases.help_page(texts, found)
        return self._sentence(update, page)

    def _sentence(self, update: Update, message: Message) -> Sequence[Reply]:
        return [Say(notice(self._randomness.text(16), update.person), message, counts=True)]

    # ------------------------------------------------------------------ buttons

    async def _press(self, event: Pressed) -> Pressing:
        verb, _, subject = event.data.partition(":")
        if _SUBJECT.fullmatch(subject) is None:
            return NotYours()
        match verb:
            case phrases.CONSENT:
                return await self._taps.consent(event.update, subject)
            case phrases.CHOOSE:
                request_id, _, number = subject.partition(":")
                return await self._taps.choose(event.update, request_id, number)
            case phrases.CANCEL:
                return await self._taps.cancel(event.update, subject)
            case phrases.AGAIN:
                return await self._taps.again(event.update, subject)
            case phrases.UNLOCK:
                subscriber_id, _, request_id = subject.partition(":")
                return await self._taps.unlock(event.update, subscriber_id, request_id or None)
            case phrases.LEAVE:
                return await self._taps.leave(event.update, subject)
            case _:
                return await self._protect(event.update, verb, subject)

    async def _protect(self, update: Update, verb: str, subject: str) -> Pressing:
        match verb:
            case phrases.REPEAT:
                return await self._protection.repeat(update, subject)
            case phrases.NOT_ME:
                return await self._protection.not_me(update, subject)
            case phrases.NOT_ME_LOCKED:
                subscriber_id, _, request_id = subject.partition(":")
                return await self._protection.not_me_locked(update, subscriber_id, request_id or None)
            case phrases.NO_MORE:
                return await self._protection.no_more(update, subject)
            case phrases.NO_MORE_OF_REQUEST:
                return await self._protection.no_more_of_request(update, subject)
            case phrases.LANGUAGE if subject in languages():
                return await self._taps.choose_language(update, subject)
            case phrases.ALLOW:
                return await self._protection.allow(update, subject)
            case _:
                return NotYours()

    def _answer(self, event: Pressed, outcome: Pressing) -> Sequence[Reply]:
        texts = texts_for(event.update.language)
        match outcome:
            case Repeated():
                return []
            case (
                Asked(message=note)
                | MustUnlock(message=note)
                | Offered(message=note)
                | Unwanted(message=note)
            ):
                return [Answer(event, None, _with_buttons(texts, outcome, event.update.language), note)]
            case Coming() if event.data.startswith(phrases.REPEAT + ":"):
                # The message is closed by itself, once the new one is there.
                return [Answer(event, texts("popup.coming"), None)]
            case Coming(fresh=fresh):
                popup = None if fresh else texts("popup.coming")
                return [Answer(event, popup, phrases.coming(texts, outcome))]
            case LanguageChosen(language):
                return [Answer(event, None, phrases.language_chosen(texts_for(language)))]
            case Cancelled() | WrongNumber() | Unlocked() | Subscriptions() | Reported() | Refusing():
                return [_done(event, texts, outcome)]
            case _:
                return [_not_done(event, texts, outcome)]

    # ------------------------------------------------------------------ what nobody asked for just now

    def after_delivery(self, event: DeliverySettled) -> Sequence[Reply]:
        """A code that the person waits for did not certainly arrive: offer to send it again."""
        if event.offer is None or event.project is None or event.offer.request_id is None:
            return []
        texts = texts_for(event.language)
        return [Say(event.offer, phrases.failed(texts, event.project, event.offer.request_id), counts=False)]

    def tell_locked(self, note: SentMessage, project: Project, subscriber: Subscriber) -> Sequence[Reply]:
        """Tell a person, once, that they were locked."""
        texts = texts_for(subscriber.language)
        return [Say(note, phrases.locked_notice(texts, project, subscriber), counts=False)]


def _done(
    event: Pressed,
    texts: Texts,
    outcome: Cancelled | WrongNumber | Unlocked | Subscriptions | Reported | Refusing,
) -> Answer:
    """What the person asked for has happened: the message says so."""
    match outcome:
        case Cancelled():
            return Answer(event, None, phrases.cancelled(texts, outcome))
        case WrongNumber():
            return Answer(event, None, phrases.wrong_number(texts, outcome))
        case Reported():
            return Answer(event, None, phrases.reported(texts, outcome))
        case Refusing(project):
            return Answer(event, None, phrases.refusing(texts, project))
        case Unlocked(project):
            return Answer(event, None, phrases.unlocked(texts, project))
        case Subscriptions():
            return Answer(event, texts("popup.left"), phrases.subscriptions(texts, outcome))


def _not_done(event: Pressed, texts: Texts, outcome: NotYours | TryLater | TooLate | Ended | Dead) -> Answer:
    """A popup says why nothing happens; a message that is over is brought up to date."""
    match outcome:
        case NotYours():
            return Answer(event, texts("popup.not_yours"), None)
        case TryLater(minutes):
            return Answer(event, texts("offer.limit", minutes=texts.count("minutes", minutes)), None)
        case TooLate():
            return Answer(event, texts("popup.too_late"), None)
        case Ended(project, ending):
            return Answer(event, texts(f"ended.{ending}"), phrases.ended(texts, project, ending))
        case Dead(Unusable.PAUSED):  # it may go on: the message keeps its buttons
            return Answer(event, texts("dead.paused"), None)
        case Dead(why):
            return Answer(event, texts(f"dead.{why}"), phrases.dead(texts, why))


def _with_buttons(texts: Texts, outcome: Asked | MustUnlock | Offered | Unwanted, language: str) -> Message:
    match outcome:
        case Unwanted():
            return phrases.unwanted(texts, outcome)
        case Asked():
            return phrases.question(texts, outcome, language)
        case MustUnlock():
            return phrases.must_unlock(texts, outcome)
        case Offered():
            return phrases.offer(texts, outcome)
