"""What time does: requests run out, rows whose time is over go, people are told of a lock. Operations on a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from otp.delivery import Rules, finish, note_message
from otp.model import Job, MessageKind, Project, RequestStatus, SentMessage, Subscriber
from otp.ports import Tx

BATCH: Final = 500
"""Rows of a kind that one transaction ends or removes: nobody waits long behind it."""


async def expire_requests(tx: Tx) -> int:
    """Write down that requests ran out; how many. Readers know it without this."""
    overdue = await tx.overdue_requests(BATCH)
    for request in overdue:
        await finish(tx, request, RequestStatus.EXPIRED)
    return len(overdue)


async def purge(tx: Tx) -> int:
    """Remove what is over; how much."""
    return await tx.purge(BATCH)


@dataclass(frozen=True, slots=True)
class LockNotice:
    """What a person is told of a lock."""

    note: SentMessage
    project: Project
    subscriber: Subscriber


async def lock_notice(tx: Tx, rules: Rules, job: Job) -> LockNotice | None:
    """End the job, and what is to be said if it is still true: told at most once, even if we die before it is said."""
    await tx.end_job(job, None)
    subscriber = await tx.subscriber_by_id(job.subject)
    if subscriber is None or not subscriber.locked or not subscriber.subscribed:
        return None
    project = await tx.project(subscriber.project_id)
    if project is None:
        return None
    note = await note_message(tx, rules, subscriber.person, MessageKind.LOCKED)
    return LockNotice(note, project, subscriber)
