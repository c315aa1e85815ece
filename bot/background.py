"""The bots' background jobs: look after each channel, and tell people that they were locked."""

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
from otp.policy import ATTEMPT_TIMEOUT_MS, MINUTE_MS, SECOND_MS
from otp.ports import Clock, NotSent, Store, Unknown

WATCHDOG_MS: Final = 10 * MINUTE_MS
"""How often a working channel is looked at: MAX drops a failing subscription after 8 hours without a word."""
EDIT_ATTEMPTS: Final = 8
EDIT_AGAIN_MS: Final = 1 * SECOND_MS
"""Doubled with each attempt: the last one is after about four minutes."""
EDITS_AT_ONCE: Final = 6
"""Edits of one messenger: two that hang leave room for all other jobs (`otp.jobs.AT_ONCE`)."""
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
