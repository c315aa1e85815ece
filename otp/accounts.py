"""The site's accounts, and by whom each is reached: one subscriber per channel, linked by a verified code alone.

The order of locks: request, subscribers by id, delivery, account, codes.
"""

from __future__ import annotations

from otp.events import SubscriberRelinked
from otp.model import Ending, Subscriber
from otp.ports import Tx


async def link(tx: Tx, sub: Subscriber, external_id: str) -> None:
    """A code of theirs was verified for this account: from now on it is reached by them in their channel."""
    await tx.lock_account(sub.project_id, sub.mode, external_id)
    links = await tx.links(sub.project_id, sub.mode, external_id)
    before = next((one.subscriber_id for one in links if one.channel is sub.person.channel), None)
    await tx.link(sub, external_id)
    if before == sub.id:
        return
    await tx.end_shared_codes(sub.id, Ending.REPLACED)
    if before is not None:
        tx.emit(SubscriberRelinked(sub, external_id, before))


async def reached(tx: Tx, subscriber_id: str, *, shared: bool, certainly: bool = True) -> None:
    """A code arrived, or may have: the codes of the account's other channel end, each account having one of a purpose.

    `shared` is what `Tx.lock_accounts` said, before the new code was put.
    """
    if not shared:
        return
    if certainly:
        await tx.note_used(subscriber_id)
    await tx.end_shared_codes(subscriber_id, Ending.REPLACED)
