"""The bots' background jobs: look after each channel, tell people that they were locked, ask for a phone number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

from bot import phrases
from bot.dialog import Dialog
from bot.messenger import Skin
from bot.registration import Registration
from bot.replies import Replies
from bot.texts import texts_for
from otp.delivery import Rules
from otp.housekeeping import Closing, ClosingQuestion, closing, lock_notice
from otp.jobs import Handler, Retry
from otp.model import Channel, Job
from otp.phones import begin
from otp.policy import ATTEMPT_TIMEOUT_MS, MINUTE_MS, SECOND_MS
from otp.ports import Clock, NotSent, Refused, Store, Unknown

WATCHDOG_MS: Final = 10 * MINUTE_MS
"""How often a working channel is looked at: MAX drops a failing subscription after 8 hours without a word."""
EDIT_ATTEMPTS: Final = 8
EDIT_AGAIN_MS: Final = 1 * SECOND_MS
"""Doubled with each attempt: the last one is after about four minutes."""
EDITS_AT_ONCE: Final = 6
"""Edits of one messenger: two that hang leave room for all other jobs (`otp.jobs.AT_ONCE`)."""
ASKS_AT_ONCE: Final = 3
"""Questions for phone numbers: beside edits that hang in both messengers they leave room for other jobs."""
ASK_AGAIN_MS: Final = 1 * SECOND_MS
"""Doubled with each attempt, up to a minute, while the question is open."""
BUSY_MS: Final = 5 * SECOND_MS
"""When an edit that found no room is looked at again."""
AGAIN_MS: Final = (1 * SECOND_MS, 2 * SECOND_MS, 5 * SECOND_MS, 10 * SECOND_MS, 30 * SECOND_MS)
"""When a channel that could not be asked is asked again; the last one repeats."""


def check_channel(registration: Registration, clock: Clock, channel: Channel) -> Handler:
    """Ask who the bot is until it is known, and keep its webhook registered."""
    failures = 0

    async def check(_job: Job) -> int | None:
        nonlocal failures
        failures = 0 if await registration.check(channel) else failures + 1
        return clock.now() + (AGAIN_MS[min(failures, len(AGAIN_MS)) - 1] if failures else WATCHDOG_MS)

    return check


def close_message(store: Store, clock: Clock, skins: Mapping[Channel, Skin]) -> Handler:
    """Bring a message up to date whose code or question is over; given up quietly when it can't be edited any more."""
    under_way: Counter[Channel] = Counter()

    async def close(job: Job) -> int | Retry | None:
        found = await store.read(lambda tx: closing(tx, job))
        if not isinstance(found, (Closing, ClosingQuestion)):
            return found
        skin = skins.get(found.message.person.channel)
        if skin is None:
            return None
        if isinstance(found, Closing):
            message = phrases.closed(texts_for(found.subscriber.language), found)
            person, message_id = found.message.person, found.message.messenger_id
        else:
            message = phrases.withdrawn(texts_for(found.language), found.project)
            person, message_id = found.message.person, found.messenger_id
        if under_way[person.channel] >= EDITS_AT_ONCE:
            return Retry(clock.now() + BUSY_MS, tried=False)
        under_way[person.channel] += 1
        try:
            outcome = await skin.edit(person.user_id, message_id, message, ATTEMPT_TIMEOUT_MS)
        finally:
            under_way[person.channel] -= 1
        if isinstance(outcome, (NotSent, Unknown)) and job.attempts < EDIT_ATTEMPTS:
            wait = outcome.retry_after_ms if isinstance(outcome, NotSent) else 0
            return Retry(clock.now() + max(wait, EDIT_AGAIN_MS << job.attempts))
        await store.write(lambda tx: tx.close_message(found.message.id))
        return None

    return close


def tell_locked(store: Store, rules: Rules, dialog: Dialog, replies: Replies) -> Handler:
    """Tell a person, once, that they were locked."""

    async def tell(job: Job) -> int | None:
        notice = await store.write(lambda tx: lock_notice(tx, rules, job))
        if notice is not None:
            replies.give(dialog.tell_locked(notice.note, notice.project, notice.subscriber))
        return None

    return tell


def ask_phone(store: Store, clock: Clock, skins: Mapping[Channel, Skin]) -> Handler:
    """Ask a person for their phone number, after the code; again while that certainly did not go out and is worth it.

    Who dies in between asks once more: a question twice does less harm than one that the site waits for in vain.
    """
    under_way = 0

    async def ask(job: Job) -> Retry | None:
        nonlocal under_way
        if under_way >= ASKS_AT_ONCE:
            return Retry(clock.now() + ASK_AGAIN_MS, tried=False)
        under_way += 1
        try:
            asked = await store.write(lambda tx: begin(tx, job))
            skin = skins.get(asked.subscriber.person.channel) if asked is not None else None
            if asked is None or skin is None:
                return None
            message = phrases.phone_question(texts_for(asked.subscriber.language), asked.project)
            outcome = await skin.send(asked.subscriber.person.user_id, message, ATTEMPT_TIMEOUT_MS)
        finally:
            under_way -= 1
        if isinstance(outcome, (NotSent, Refused)):
            await store.write(lambda tx: tx.hide_number(job.subject))
        if not isinstance(outcome, NotSent):
            return None
        wait = max(outcome.retry_after_ms, ASK_AGAIN_MS << min(job.attempts, 6))
        return Retry(clock.now() + wait)

    return ask
