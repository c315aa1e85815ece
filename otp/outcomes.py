"""What an act in the chat came to, as values: the dialog turns them into messages."""

from __future__ import annotations

from enum import StrEnum

from otp.model import Cause, Ending, Project, Request, SentMessage, Subscriber
from otp.values import value


class Unusable(StrEnum):
    """Why a link or a button does nothing any more."""

    UNKNOWN = "unknown"
    USED = "used"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FOREIGN = "foreign"
    PAUSED = "paused"
    TEST = "test"
    """A request of test mode: it is for nobody in a messenger."""


class Hurdle(StrEnum):
    """Why the code does not come by itself, though the request is open: "Send again" helps."""

    FAILED = "failed"
    LIMIT = "limit"
    BUSY = "busy"
    PURPOSES = "purposes"


@value
class Repeated:
    """This update had its effect before."""


@value
class Dead:
    """Nothing can be done with this link or button."""

    why: Unusable


@value
class NotYours:
    """The button was shown to somebody else, or never."""


@value
class Asked:
    """The person is asked for consent."""

    project: Project
    request: Request
    message: SentMessage


@value
class MustUnlock:
    """Too many wrong codes: the person is asked to unlock first."""

    project: Project
    request: Request
    subscriber: Subscriber
    message: SentMessage


@value
class Coming:
    """The code is on its way; `fresh` tells whether this act brought it."""

    project: Project
    cause: Cause
    fresh: bool


@value
class Offered:
    """The code did not come; the person may ask again (after `minutes` where there is a limit)."""

    project: Project
    request: Request
    message: SentMessage
    why: Hurdle
    minutes: int = 0


@value
class Cancelled:
    """The request is cancelled."""

    project: Project
    request: Request


@value
class WrongNumber:
    """Not the number on the site's screen: the request is cancelled for ever."""

    project: Project
    request: Request


@value
class NoSuchPairing:
    """No request waits under what was typed. `wait_minutes` when there were too many tries."""

    wait_minutes: int | None = None


@value
class TooLate:
    """Nothing to cancel: the code is being handed over."""

    project: Project


@value
class Unlocked:
    """The count of wrong codes starts anew; no code revives."""

    project: Project


@value
class LanguageChosen:
    """From now on the bot speaks this language to the person."""

    language: str


@value
class Subscriptions:
    """What a person has subscribed to, and where they are locked. `left` names a project that was just left."""

    joined: list[tuple[Subscriber, Project]]
    locked: list[tuple[Subscriber, Project]]
    left: Project | None = None


@value
class Ended:
    """The code of a pressed message is over."""

    project: Project
    ending: Ending


@value
class TryLater:
    """The limit is reached; in `minutes` the same button works."""

    minutes: int


@value
class Reported:
    """It was not them: the code is withdrawn. They may refuse the project altogether."""

    project: Project
    subscriber_id: str
    given: bool = False
    """The code is the site's own: only the site can withdraw it."""


@value
class Refusing:
    """The person wants nothing from this project any more."""

    project: Project


@value
class Unwanted:
    """The link is of a project from which the person wants nothing; they may allow it again."""

    project: Project
    request: Request
    message: SentMessage


class Unfit(StrEnum):
    """Why a phone number was not taken."""

    FOREIGN = "foreign"
    """Somebody else's contact, or one that was forwarded or made by another bot."""
    TYPED = "typed"
    """Written: nobody proves whose it is."""
    UNUSABLE = "unusable"
    """The messenger itself has none for this person that could be called."""


@value
class NumberTaken:
    """The person's own number goes to this project."""

    project: Project


@value
class NumberUnfit:
    """Nothing was stored."""

    project: Project
    why: Unfit


@value
class NumberSkipped:
    """The person does not want to share their number."""

    project: Project


@value
class NumberUnasked:
    """Nobody asks this person for a number now; nothing was stored."""


Sharing = Repeated | Dead | NumberTaken | NumberUnfit | NumberSkipped | NumberUnasked
Opening = Repeated | Dead | Asked | MustUnlock | Coming | Offered | Unwanted
Pressing = (
    Opening
    | WrongNumber
    | NotYours
    | Cancelled
    | TooLate
    | Unlocked
    | Subscriptions
    | Ended
    | TryLater
    | Reported
    | Refusing
    | LanguageChosen
)
