"""Why there is a code or none, in one sentence, and what can be done: for operators. Imported by `otp.timeline` alone."""

from __future__ import annotations

from typing import Final

from otp.model import Code, Delivery, DeliveryState, Ending, MessageKind, Refusal, RequestStatus
from otp.notices import rfc3339
from otp.reports import Shown
from otp.values import value
from otp.ways import NAMES, SEEN, Known, arrived, by_whom, lasted, outcome, ran_out, replaced_by, tried


@value
class Finding:
    """What it came to."""

    short: str
    """In a few words."""
    why: str
    """In one sentence."""
    todo: str = ""
    """What can be done, if anything."""


def finding_of(known: Known) -> Finding:
    """What the way of a request came to."""
    if known.request.verified_at is not None:
        took = known.request.verified_at - known.request.created_at
        return Finding("verified", f"The right code was entered, {lasted(took)} after it was asked for.")
    last = known.last.delivery if known.last is not None else None
    brought = last is not None and last.state in (DeliveryState.ACCEPTED, DeliveryState.UNKNOWN)
    if known.status is RequestStatus.CANCELLED:
        return _cancelled(known)
    if last is not None and brought:
        return _living(known, last, known.code) if known.code is not None else _ended(known, last)
    if last is not None:
        return _not_sent(known, last)
    return _nothing_sent(known)


def _cancelled(known: Known) -> Finding:
    whom = by_whom(known)
    return Finding(f"cancelled {whom}", f"There is no code: the request was cancelled {whom}.", _AGAIN)


_AGAIN: Final = "The person begins anew on the site, which makes a new request."
_IN_CHAT: Final = "The person looks for it in the chat with the bot (muted or archived?)"


def _living(known: Known, last: Delivery, code: Code) -> Finding:
    maybe = last.state is DeliveryState.UNKNOWN
    wrong = f"{code.attempts} of {code.terms.max_attempts} guesses were wrong"
    arrived_ = f"may have arrived ({known.messenger} gave no answer)" if maybe else "was delivered"
    short = f"code {'may be there' if maybe else 'delivered'}, not entered yet"
    more = ', or presses "Send again".' if maybe else ", and enters it on the site."
    until = rfc3339(code.expires_at)[11:19]
    return Finding(short, f"A code {arrived_} and is good until {until}: {wrong}.", _IN_CHAT + more)


def _ended(known: Known, last: Delivery) -> Finding:
    """Of a code that arrived, or may have, and is good no more."""
    if known.ended is Ending.USED_UP:
        why = f"All {last.terms.max_attempts} guesses at the code were wrong, which ended it."
        todo = f"The log tells when (`otp.wrong_code`, by subscriber). {_AGAIN}"
        return Finding("all guesses were wrong", why, todo)
    if known.ended is Ending.REPORTED:
        why = "The person said under the code that it was not them, which ended it."
        return Finding("reported by the person", why, "Ask them: somebody else may be trying their account.")
    if ran_out(known) is not None:
        return _too_late(known, last, maybe=last.state is DeliveryState.UNKNOWN)
    if replaced_by(known) is not None:
        why = "The code was replaced by a newer one: only the newest code of a purpose is good."
        return Finding("replaced by a newer code", why, "The person enters the code of the newest message.")
    return _withdrawn(known, last)


def _withdrawn(known: Known, last: Delivery) -> Finding:
    if known.subscriber is not None and known.subscriber.locked:
        return _locked("The code was ended by too many wrong codes in a row, which locked the person.")
    if known.left_at is not None and known.left_at >= last.claimed_at:
        why = "The code was delivered and died as the person left or blocked the bot."
        return Finding("left after the code", why, "They open a new link and consent again.")
    by = next((line for line in known.operators if line.at >= last.claimed_at), None)
    if by is not None:
        why = f"The code was ended by an operator ({by.by}): `{by.what}`."
        return Finding("ended by an operator", why, _AGAIN)
    why = "The code was taken back: by the site (revoke), or by a lock or a leaving that are over."
    return Finding("code taken back", why, _AGAIN)


def _too_late(known: Known, last: Delivery, *, maybe: bool) -> Finding:
    minutes = f"{last.terms.ttl_minutes} minutes"
    if maybe:
        why = (
            f"{known.messenger} gave no answer: the code may never have arrived, and ran out after {minutes}."
        )
        return Finding("may not have arrived, ran out", why, f"Look at {known.messenger}'s state. {_AGAIN}")
    why = f"The code was delivered, and nobody entered it right within {minutes}."
    return Finding("delivered, never entered right", why, _AGAIN)


def _locked(why: str) -> Finding:
    todo = 'The person presses "Unlock" in the chat with the bot, or an operator unlocks them.'
    return Finding("locked", why, todo)


_TODO: Final = {
    Refusal.GONE: "The person unblocks the bot, opens a new link and consents again.",
    Refusal.REJECTED: "Is the bot's token good? `webhooks show` and /readyz tell. Then the person begins anew.",
    Refusal.UNAVAILABLE: "Look at /readyz (state, breaker), the network and the proxy. Then the person begins anew.",
}


def _not_sent(known: Known, last: Delivery) -> Finding:
    """Of a delivery that is under way, or certainly did not arrive."""
    if last.state in (DeliveryState.CLAIMED, DeliveryState.ATTEMPTING):
        if last.tries == 0 or (last.tries == 1 and last.state is DeliveryState.ATTEMPTING):
            return Finding("being sent", f"The code is being sent: it {outcome(last)}.")
        until = rfc3339(last.give_up_at)[11:19]
        why = f"{known.messenger} could not be reached yet: {tried(last)}, and again until {until} at the latest."
        return Finding("not reached yet, tried again", why, _TODO[Refusal.UNAVAILABLE])
    if known.subscriber is not None and known.subscriber.locked:
        return _locked("There is no code: the person was locked by too many wrong codes in a row.")
    short = {
        Refusal.GONE: "blocked the bot",
        Refusal.REJECTED: f"{known.messenger} refused it",
        Refusal.UNAVAILABLE: f"{known.messenger} was not reached",
    }
    if last.refusal not in short and (known.left_at or 0) >= last.claimed_at:
        why = "There is no code: the person left or blocked the bot before it was sent."
        return Finding("left before it was sent", why, "They open a new link and consent again.")
    if last.refusal not in short:
        why = "There is no code: it was taken back before it was sent (left, locked, paused or out of time)."
        return Finding("taken back before it was sent", why, _AGAIN)
    return Finding(short[last.refusal], f"There is no code: {_lower(outcome(last))}.", _TODO[last.refusal])


def _lower(text: str) -> str:
    return text if text.startswith(tuple(NAMES.values())) else text[0].lower() + text[1:]


def _nothing_sent(known: Known) -> Finding:
    """Of a request for which nothing was ever to be sent: how far it came."""
    open_ = known.status is RequestStatus.PENDING
    until = rfc3339(known.request.expires_at)[11:19]
    if not known.request.opened:
        if open_:
            why = f"Nobody has opened the link yet; it works until {until}."
            return Finding("not opened yet", why, _OPEN)
        return Finding("nobody opened the link", "There is no code: nobody opened the link in time.", _OPEN)
    if not known.project.enabled:
        todo = f"`project enable {known.project.id}` lets it go on."
        return Finding("project is paused", "There is no code: the project is disabled.", todo)
    asked = [one for one in known.trace.shown if one.kind in SEEN]
    if not asked:
        return _opened_in_vain(known)
    lost = not any(arrived(known, one) for one in asked)
    if lost:
        why = f"There is no code: {known.messenger} did not take our question, so the person saw nothing."
        return Finding("question did not arrive", why, _TODO[Refusal.UNAVAILABLE])
    return _unanswered(asked[-1], f"in {known.messenger}", until if open_ else None)


_OPEN: Final = "Does the page show the link, or the QR code, of a messenger that the person has?"


def _opened_in_vain(known: Known) -> Finding:
    wanted, opened = known.request.channel, known.trace.opened_in
    if wanted is not None and opened not in (None, wanted):
        why = f"There is no code: the link is for {NAMES[wanted]} alone and was opened elsewhere."
        return Finding("opened in the wrong messenger", why, f"The person opens it in {NAMES[wanted]}.")
    why = "There is no code: the link was opened, and what came of it is not kept (was the project paused?)."
    return Finding("opened, without a question", why, _AGAIN)


def _unanswered(asked: Shown, where: str, until: str | None) -> Finding:
    rest = f"; the link works until {until}" if until else " in time"
    match asked.kind:
        case MessageKind.UNLOCK:
            return _locked(f"There is no code: the person is locked, and has not unlocked themselves{rest}.")
        case MessageKind.OFFER:
            why = f"There is no code: a limit was reached or another code was on its way, and nobody asked again{rest}."
            todo = _then(until, 'presses "Send again" in the chat, after the wait that it tells.')
            return Finding("limit reached", why, todo)
        case MessageKind.UNWANTED:
            why = f"There is no code: the person once refused all codes of this project, and left it at that{rest}."
            todo = _then(until, "allows it again under that message.")
            return Finding("wants nothing from it", why, todo)
        case _:
            why = f"There is no code: the person was asked for consent {where} and did not answer{rest}."
            todo = _then(until, "presses the button under the question in the chat.")
            return Finding("asked, no answer", why, todo)


def _then(until: str | None, does: str) -> str:
    """What the person does now, or after a new beginning where it is too late."""
    return f"The person {does}" if until else f"The person begins anew on the site, and then {does}"
