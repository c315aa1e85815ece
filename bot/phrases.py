"""What the bot shows in each situation. Pure: values in, messages out; the sentences are in `bot.texts`."""

from __future__ import annotations

from typing import Final

from bot.messages import AskContact, Button, Copy, Link, Message, Page, Press, Style, Write
from bot.texts import Texts, languages
from otp import words
from otp.housekeeping import Closing
from otp.model import Cause, Context, Ending, Parcel, Project, Request, Subscriber
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Hurdle,
    MustUnlock,
    NoSuchPairing,
    NumberSkipped,
    NumberTaken,
    NumberUnfit,
    Offered,
    Reported,
    Subscriptions,
    Unfit,
    Unusable,
    Unwanted,
    WrongNumber,
)

LABEL_LENGTH: Final = 20
"""Characters of a label that MAX shows with one button in a row."""
LISTED_LENGTH: Final = 60
"""Characters of a project's name in a list of many."""
MOST_BUTTONS: Final = 25
"""MAX takes 30 rows of buttons."""

# What a button's data begins with. Part of what old messages carry: never reuse one for something else.
CONSENT: Final = "yes"
CANCEL: Final = "no"
AGAIN: Final = "again"
UNLOCK: Final = "unlock"
LEAVE: Final = "leave"
CHOOSE: Final = "match"
LANGUAGE: Final = "lang"
REPEAT: Final = "repeat"
NOT_ME: Final = "notme"
NOT_ME_LOCKED: Final = "lnotme"
NO_MORE: Final = "nomore"
NO_MORE_OF_REQUEST: Final = "rnomore"
ALLOW: Final = "allow"


def code(texts: Texts, parcel: Parcel) -> Message:
    """The code, alone in the first line so that the notification shows it; the project's own words below, if it has any."""
    project, minutes = parcel.project, texts.count("minutes", parcel.minutes)
    page = Page().line(parcel.digits, Style.CODE).line("")
    own = project.words(parcel.language, "code")
    if own is not None:
        values = {"project": project.name, "code": parcel.digits, "minutes": minutes}
        page.line(words.filled(own.removeprefix("{code}\n").lstrip("\n"), values)).line("")
    page.line(texts("code.project")).line(project.name, Style.BOLD)
    _who(page, parcel.delivery.context)
    given_for, not_me = parcel.delivery.terms.given_for, _not_me(texts, parcel)
    if given_for is not None:
        page.line(texts(f"given.{given_for}")).line("").line(texts("given.body", minutes=minutes))
        return page.message(Copy(texts("buttons.copy"), parcel.digits), not_me, *_back(texts, project))
    page.line("").line(texts("code.body", minutes=minutes))
    if parcel.delivery.cause in (Cause.OPEN, Cause.AGAIN, Cause.UNLOCK):
        page.line("").line(texts("code.forwarded"))
    again = Press(texts("buttons.again"), f"{REPEAT}:{parcel.delivery.code_id}")
    return page.message(Copy(texts("buttons.copy"), parcel.digits), again, not_me, *_back(texts, project))


def _not_me(texts: Texts, parcel: Parcel) -> Button:
    return Press(texts("buttons.not_me"), f"{NOT_ME}:{parcel.delivery.code_id}")


def _back(texts: Texts, project: Project) -> list[Button]:
    """The way back to the site, where it has one."""
    return [Link(texts("buttons.site"), project.site_url)] if project.site_url else []


def ended(texts: Texts, project: Project, ending: Ending) -> Message:
    """What becomes of a code message: the outcome and the project, and no code any more."""
    return _titled(project).line(texts(f"ended.{ending}")).message()


def closed(texts: Texts, found: Closing) -> Message:
    """The same for a message in the background; one that was reported keeps its way out."""
    if found.ending is Ending.REPORTED:
        return reported(texts, Reported(found.project, found.subscriber.id, found.given))
    return ended(texts, found.project, found.ending)


def question(texts: Texts, asked: Asked, language: str) -> Message:
    """The question whether this site may send codes."""
    page = Page().line(asked.project.name, Style.BOLD)
    if asked.project.description:
        page.line(asked.project.description)
    _who(page, asked.request.context)
    own = asked.project.words(language, "consent")
    if own is not None:
        page.line("").line(words.filled(own, {"project": asked.project.name}))
    if asked.request.match is not None:
        page.line("").line(texts("question.match")).line("").line(texts("question.match_warning"))
        numbers = [
            Press(number, f"{CHOOSE}:{asked.request.id}:{number}") for number in asked.request.match.choice
        ]
        return page.message(*numbers, _cancel(texts, asked.request))
    page.line("").line(texts("question.ask")).line("").line(texts("question.warning"))
    return page.message(
        Press(texts("buttons.consent"), f"{CONSENT}:{asked.request.id}"), _cancel(texts, asked.request)
    )


def must_unlock(texts: Texts, locked: MustUnlock) -> Message:
    """Unlock before any code."""
    page = _titled(locked.project).line(texts.count("wrong_codes", locked.subscriber.wrong_guesses))
    ids = f"{locked.subscriber.id}:{locked.request.id}"
    return page.line(texts("locked.ask")).message(
        Press(texts("buttons.unlock_code"), f"{UNLOCK}:{ids}"),
        Press(texts("buttons.not_me"), f"{NOT_ME_LOCKED}:{ids}"),
        _cancel(texts, locked.request),
    )


def offer(texts: Texts, offered: Offered) -> Message:
    """The code did not come; ask again."""
    minutes = texts.count("minutes", max(1, offered.minutes))
    sentence = texts(f"offer.{offered.why}", minutes=minutes)
    return _titled(offered.project).line(sentence).message(*_offer_buttons(texts, offered.request))


def failed(texts: Texts, project: Project, request_id: str) -> Message:
    """The same, after a delivery that went wrong."""
    page = _titled(project).line(texts(f"offer.{Hurdle.FAILED}"))
    return page.message(
        Press(texts("buttons.again"), f"{AGAIN}:{request_id}"),
        Press(texts("buttons.cancel"), f"{CANCEL}:{request_id}"),
    )


def coming(texts: Texts, outcome: Coming) -> Message:
    """What becomes of the message whose button brought the code."""
    key = {Cause.CONSENT: "subscribed", Cause.AGAIN: "again", Cause.UNLOCK: "unlocked_code"}.get(
        outcome.cause, "coming"
    )
    return _titled(outcome.project).line(texts(f"outcome.{key}")).message()


def cancelled(texts: Texts, outcome: Cancelled) -> Message:
    """What becomes of a question that was cancelled; the project can be refused altogether."""
    page = _titled(outcome.project).line(texts("outcome.cancelled"))
    return page.message(Press(texts("buttons.no_more"), f"{NO_MORE_OF_REQUEST}:{outcome.request.id}"))


def withdrawn(texts: Texts, project: Project) -> Message:
    """What becomes of a question whose request the site cancelled."""
    return _titled(project).line(texts("outcome.withdrawn")).message()


def reported(texts: Texts, outcome: Reported) -> Message:
    """What becomes of a message that its owner did not ask for."""
    page = _titled(outcome.project).line(texts("report.given" if outcome.given else "report.done"))
    return page.message(Press(texts("buttons.no_more"), f"{NO_MORE}:{outcome.subscriber_id}"))


def refusing(texts: Texts, project: Project) -> Message:
    """What becomes of the message by which a project was refused."""
    return _titled(project).line(texts("report.refused")).message()


def unwanted(texts: Texts, outcome: Unwanted) -> Message:
    """A link of a project from which the person wants nothing."""
    page = _titled(outcome.project).line(texts("report.unwanted"))
    return page.message(
        Press(texts("buttons.allow"), f"{ALLOW}:{outcome.request.id}"), _cancel(texts, outcome.request)
    )


def unlocked(texts: Texts, project: Project) -> Message:
    """Unlocked, with no request waiting."""
    return _titled(project).line(texts("outcome.unlocked")).message()


def dead(texts: Texts, why: Unusable) -> Message:
    """One sentence that says what to do next."""
    return Page().line(texts(f"dead.{why}")).message()


def locked_notice(texts: Texts, project: Project, subscriber: Subscriber) -> Message:
    """Told once per lock."""
    page = (
        _titled(project)
        .line(texts.count("wrong_codes", subscriber.wrong_guesses))
        .line(texts("locked.notice"))
    )
    return page.message(
        Press(texts("buttons.unlock"), f"{UNLOCK}:{subscriber.id}"),
        Press(texts("buttons.not_me"), f"{NOT_ME_LOCKED}:{subscriber.id}"),
    )


def help_page(texts: Texts, found: Subscriptions) -> Message:
    """Who this is, what it does, how to type a request's id; and a way out of every lock."""
    page = Page().line(texts("help.who")).line("").line(texts("help.how")).line("").line(texts("help.stop"))
    if not found.locked:
        return page.message()
    buttons = [
        Press(_label(f"{texts('buttons.unlock')}: {project.name}"), f"{UNLOCK}:{sub.id}")
        for sub, project in found.locked[:MOST_BUTTONS]
    ]
    page.line("").line(texts("help.locked"))
    for _, project in found.locked[:MOST_BUTTONS]:
        page.line(_short(project.name, LISTED_LENGTH), Style.BOLD)
    return page.message(*buttons)


def choose_language() -> Message:
    """Every language there is, each in its own words."""
    known = languages()
    page = Page()
    for texts in known.values():
        page.line(texts("language.ask"))
    return page.message(
        *(Press(texts("language.name"), f"{LANGUAGE}:{name}") for name, texts in known.items())
    )


def language_chosen(texts: Texts) -> Message:
    """In the language that was chosen."""
    return Page().line(texts("language.done")).message()


def commands(texts: Texts) -> list[tuple[str, str]]:
    """The commands of the bot, each with what it does: what the messenger's menu shows."""
    return [(name, texts(f"commands.{name}")) for name in ("help", "stop", "lang")]


def subscriptions(texts: Texts, found: Subscriptions) -> Message:
    """What the person has subscribed to, with a button each to leave."""
    page = Page()
    if found.left is not None:
        page.line(texts("stop.left")).line(found.left.name, Style.BOLD).line("")
    if not found.joined:
        return page.line(texts("stop.none")).message()
    buttons = [
        Press(_label(project.name), f"{LEAVE}:{sub.id}") for sub, project in found.joined[:MOST_BUTTONS]
    ]
    return page.line(texts("stop.list")).message(*buttons)


def _who(page: Page, context: Context | None) -> Page:
    """Who is asking, on a line of its own, where the site said so."""
    line = context.line() if context is not None else ""
    return page.line(line) if line else page


def wrong_number(texts: Texts, outcome: WrongNumber) -> Message:
    """Not the number on the site's screen."""
    page = _titled(outcome.project).line(texts("outcome.wrong_number"))
    return page.message(Press(texts("buttons.no_more"), f"{NO_MORE_OF_REQUEST}:{outcome.request.id}"))


def no_such_pairing(texts: Texts, outcome: NoSuchPairing) -> Message:
    """What was typed looks like a pairing code and is none."""
    if outcome.wait_minutes is None:
        return Page().line(texts("pairing.unknown")).message()
    return Page().line(texts("pairing.wait", minutes=texts.count("minutes", outcome.wait_minutes))).message()


def phone_question(texts: Texts, project: Project) -> Message:
    """The question for a phone number: that it is optional, who gets it and how long it stays."""
    page = _titled(project).line(texts("phone.ask")).line("")
    page.line(texts("phone.kept" if project.keep_phone else "phone.not_kept"))
    return page.with_keyboard(*_phone_keys(texts))


def phone_unfit(texts: Texts, outcome: NumberUnfit) -> Message:
    """What was sent is no number that counts. The keys are there again where another try can help."""
    page = _titled(outcome.project).line(texts(f"phone.{outcome.why}"))
    return page.with_keyboard(*(() if outcome.why is Unfit.UNUSABLE else _phone_keys(texts)))


def phone_done(texts: Texts, outcome: NumberTaken | NumberSkipped) -> Message:
    """The question is answered."""
    taken = isinstance(outcome, NumberTaken)
    return _titled(outcome.project).line(texts("phone.taken" if taken else "phone.skipped")).with_keyboard()


def phone_unasked(texts: Texts) -> Message:
    """Nobody asks: an old keyboard, or a contact out of the blue."""
    return Page().line(texts("phone.unasked")).with_keyboard()


def is_skip(text: str) -> bool:
    """Whether the key was pressed by which the question is passed over, in whatever language it was shown."""
    return text in {texts("buttons.skip") for texts in languages().values()}


def _phone_keys(texts: Texts) -> tuple[AskContact, Write]:
    return AskContact(texts("buttons.share_phone")), Write(texts("buttons.skip"))


def _titled(project: Project) -> Page:
    return Page().line(project.name, Style.BOLD).line("")


def _cancel(texts: Texts, request: Request) -> Button:
    return Press(texts("buttons.cancel"), f"{CANCEL}:{request.id}")


def _offer_buttons(texts: Texts, request: Request) -> tuple[Button, Button]:
    return Press(texts("buttons.again"), f"{AGAIN}:{request.id}"), _cancel(texts, request)


def _label(text: str) -> str:
    return _short(text, LABEL_LENGTH)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
