"""What the service talks about: values without behaviour of the outside world.

Times are integer milliseconds since the epoch (UTC), as the store's transaction tells them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Final

from otp.values import value


class Channel(StrEnum):
    """A messenger."""

    TELEGRAM = "telegram"
    MAX = "max"


CHANNELS: Final = {str(one): one for one in Channel}
"""By their values: an enum that is called looks one up in the same way, in five times the time."""


class Mode(StrEnum):
    """What a key acts on: real messengers, or test doubles. Live and test data never meet."""

    LIVE = "live"
    TEST = "test"


class RequestStatus(StrEnum):
    """The life of a request; see `otp.lifecycle`."""

    PENDING = "pending"
    SENT = "sent"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class DeliveryState(StrEnum):
    """The life of one code message; see `otp.lifecycle`."""

    CLAIMED = "claimed"
    ATTEMPTING = "attempting"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """Which act asked for a code message."""

    SEND = "send"
    CONSENT = "consent"
    OPEN = "open"
    UNLOCK = "unlock"
    AGAIN = "again"


class Refusal(StrEnum):
    """Why a code message certainly did not arrive."""

    GONE = "gone"
    """The person blocked or left the bot, or never started it."""
    REJECTED = "rejected"
    """The messenger refused this message."""
    UNAVAILABLE = "unavailable"
    """The messenger could not be reached, or asked to wait, for as long as we were willing to try."""
    WITHDRAWN = "withdrawn"
    """Cancelled, left, disabled or out of time before the first attempt."""


class MessageKind(StrEnum):
    """What a message of the bot is for."""

    UNWANTED = "unwanted"
    QUESTION = "question"
    UNLOCK = "unlock"
    OFFER = "offer"
    CODE = "code"
    LOCKED = "locked"
    NOTICE = "notice"


class Ending(StrEnum):
    """Why a code ended, as its message tells it."""

    USED = "used"
    REPLACED = "replaced"
    USED_UP = "used_up"
    WITHDRAWN = "withdrawn"
    REPORTED = "reported"
    """The person said that it was not them."""
    EXPIRED = "expired"
    REPEATED = "repeated"
    """The code lives on, in a newer message."""


class ForgottenBy(StrEnum):
    """Who had a subscriber forgotten."""

    SITE = "site"
    OPERATOR = "operator"
    RETENTION = "retention"
    """Nobody: the time was over for which people are kept."""


@value
class Person:
    """Somebody in one messenger, by the messenger's own numeric user id. No name is ever kept."""

    channel: Channel
    user_id: int

    @property
    def address(self) -> str:
        """The one text that stands for this person in the store."""
        return f"{self.channel}:{self.user_id}"

    @property
    def is_played(self) -> bool:
        """Whether this is nobody: a person of test mode, whom `otp.stage` plays. Messengers number people from 1."""
        return self.user_id < 0

    @classmethod
    def at(cls, address: str) -> Person:
        """The person behind an `address`."""
        channel, _, user_id = address.partition(":")
        return cls(CHANNELS[channel], int(user_id))


@value
class SitePage:
    """How a project's hosted page looks and where it may lead, as `otp.pages` checked it."""

    return_urls: tuple[str, ...] = ()
    """Where a visitor may be sent back to: to one of these, or below it."""
    origins: tuple[str, ...] = ()
    """Sites that may show the page in a frame, and read of its request from a browser."""
    color: str | None = None
    """`#rrggbb`."""
    logo: str | None = None
    """The digest of its picture, which lies apart."""
    first: Channel | None = None
    """The messenger that is offered first."""


@value
class Project:
    """A site that asks for codes."""

    id: str
    name: str
    description: str
    enabled: bool
    site_url: str | None = None
    """Where the code message's button leads back to."""
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Its own words: language -> `consent` and `code`, checked by `otp.words`."""
    page: SitePage = SitePage()
    keep_phone: bool = False
    """Whether a phone number that somebody shared stays with the subscriber, and not only until the site was told."""

    def words(self, language: str, kind: str) -> str | None:
        """Its own words of a kind, in this language, else in English, else none."""
        primary = language.replace("_", "-").split("-")[0]
        return next(
            (self.texts[one][kind] for one in (primary, "en") if kind in self.texts.get(one, {})), None
        )


@value
class Caller:
    """Who calls the API: a project, through a key of one mode."""

    project: Project
    mode: Mode


@value
class Subscriber:
    """One person's relation to one project. The id stays the same after leaving and coming back."""

    id: str
    project_id: str
    mode: Mode
    person: Person
    language: str
    """Of the messenger's client, as last seen: `ru`, `en`, or whatever it calls itself."""
    subscribed: bool
    wrong_guesses: int
    """Wrong codes in a row, over all codes and purposes."""
    locked: bool


@value
class Link:
    """By whom an account of the site is reached in one channel."""

    channel: Channel
    subscriber_id: str


@value
class Profile:
    """What a site may know of a subscriber."""

    subscriber: Subscriber
    subscribed_at: int
    external_id: str | None
    """Of the account for which a code of theirs was verified last."""
    phone: str | None = field(default=None, repr=False)
    """E.164, where the project keeps it."""


@value
class CodeTerms:
    """What the caller asked of a code."""

    purpose: str
    ttl_minutes: int
    max_attempts: int
    length: int

    @property
    def given_for(self) -> str | None:
        """What the code is for, when it is the site's own and only given to us to deliver; None for a code of ours.

        Such a purpose has a dot (`kratos.login`), and none that a caller can choose has one.
        """
        return self.purpose.partition(".")[2] or None


@value
class Context:
    """Who is asking, in the site's words; shown to the person, erased with the request, in no log."""

    ip: str | None = None
    location: str | None = None
    device: str | None = None
    action: str | None = None
    amount: str | None = None

    def line(self) -> str:
        """In one line: "Sign in · Chrome on Windows · Kazan (203.0.113.7)"; empty when nothing was said."""
        parts = [part for part in (self.action, self.amount, self.device, self.location) if part]
        return " ".join([*([" · ".join(parts)] if parts else []), *([f"({self.ip})"] if self.ip else [])])

    def __repr__(self) -> str:
        return "Context()"


@value
class Match:
    """The number on the site's screen, and the three among which the person chooses, always in this order."""

    number: str = field(repr=False)
    choice: tuple[str, ...]


@value
class CodeSeed:
    """All that is stored of a code's digits: they are derived from it under a secret key (`otp.codes`)."""

    bits: bytes
    """128 random bits."""
    key_id: str
    length: int


@value
class RequestPage:
    """The hosted page of a request."""

    return_url: str
    state: str | None = field(repr=False)
    """Goes back to the site as it came."""
    key_id: str
    """Which secret key its proof is made with (`otp.codes`)."""


@value
class Request:
    """A site's wish that somebody, still unknown, gets a code."""

    id: str
    project_id: str
    mode: Mode
    channel: Channel | None
    terms: CodeTerms
    status: RequestStatus
    created_at: int
    expires_at: int
    finished_at: int | None
    bound_to: Person | None
    """The first person who consented; nobody else can take the request over."""
    subscriber_id: str | None
    """Known once the code was delivered."""
    reported: bool = False
    """The person said that it was not them."""
    context: Context | None = None
    match: Match | None = None
    """When set, only the right number is consent."""
    pairing_code: str | None = field(default=None, repr=False)
    opened: bool = False
    """Somebody followed its link, or typed its id."""
    verified_at: int | None = None
    """When a code of it was accepted."""
    external_id: str | None = None
    """For which of the site's accounts the code is: whose code was verified is linked to it."""
    page: RequestPage | None = None
    asks_phone: bool = False
    """Once the code was delivered, the person is asked for their own phone number."""


@value
class Code:
    """The active code of a subscriber for one purpose."""

    id: str
    subscriber_id: str
    request_id: str | None
    terms: CodeTerms
    seed: CodeSeed
    attempts: int
    expires_at: int


@value
class Delivery:
    """One code message, from the wish to its outcome."""

    id: str
    project_id: str
    subscriber_id: str
    person: Person
    request_id: str | None
    cause: Cause
    terms: CodeTerms
    seed: CodeSeed
    code_id: str
    reuses: bool
    """Whether `code_id` names a code that lived already ("Send again"): it is never made alive anew."""
    state: DeliveryState
    refusal: Refusal | None
    tries: int
    claimed_at: int
    due_at: int
    give_up_at: int
    """No attempt begins at or after this time."""
    attempted_at: int | None
    context: Context | None = None


@value
class Parcel:
    """What a messenger needs to know to hand over a code."""

    delivery: Delivery
    digits: str = field(repr=False)
    project: Project
    language: str
    minutes: int
    """How long the code lives from now, in whole minutes, at least 1."""


@value
class SentMessage:
    """A message of the bot: who got it and what it is about."""

    id: str
    person: Person
    kind: MessageKind
    request_id: str | None = None
    subscriber_id: str | None = None
    delivery_id: str | None = None
    code_id: str | None = None
    """The code that stands in it."""
    language: str | None = None
    """In which language its person was asked, where nothing else of us knows it."""


@value
class CodeMessage:
    """What a code message is about, long after its code."""

    subscriber_id: str | None
    request_id: str | None
    delivery_id: str | None
    ended: Ending | None


@value
class ShownCode:
    """A code message as it stands in a chat, until it was closed."""

    id: str
    messenger_id: str
    person: Person
    delivery_id: str
    code_id: str
    ended: Ending | None


@value
class ShownQuestion:
    """A message with buttons about a request, as it stands in a chat until it was closed."""

    id: str
    messenger_id: str | None
    """None while it is being sent."""
    person: Person
    request_id: str
    language: str | None
    created_at: int


@value
class KeyClaim:
    """A call that is to be made once."""

    id: str
    """Of its key, in its project and mode."""
    project_id: str
    fingerprints: tuple[str, ...] = field(repr=False)
    """Of what is asked, under each secret key; the first is stored."""


@value
class Told:
    """What was answered to a call, as it is given again."""

    status: int
    body: str = field(repr=False)


@value
class KeptCall:
    """What is kept of a call: its answer, or the delivery that will tell it."""

    fingerprint: str = field(repr=False)
    told: Told | None
    delivery_id: str | None


@value
class Job:
    """Background work that somebody must do once it is due."""

    kind: str
    subject: str
    due_at: int
    attempts: int
    owner: str
    """The taker, while its lease lasts."""
    payload: str = ""
    """What is needed to do it, where no row holds that."""
