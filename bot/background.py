"""The bots' background jobs: look after each channel, and tell people that they were locked."""

from __future__ import annotations

from typing import Final

from bot.dialog import Dialog
from bot.registration import Registration
from bot.replies import Replies
from otp.delivery import Rules
from otp.housekeeping import lock_notice
from otp.jobs import Handler
from otp.model import Channel, Job
from otp.policy import MINUTE_MS, SECOND_MS
from otp.ports import Clock, Store

WATCHDOG_MS: Final = 10 * MINUTE_MS
"""How often a working channel is looked at: MAX drops a failing subscription after 8 hours without a word."""
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


def tell_locked(store: Store, rules: Rules, dialog: Dialog, replies: Replies) -> Handler:
    """Tell a person, once, that they were locked."""

    async def tell(job: Job) -> int | None:
        notice = await store.write(lambda tx: lock_notice(tx, rules, job))
        if notice is not None:
            replies.give(dialog.tell_locked(notice.note, notice.project, notice.subscriber))
        return None

    return tell
