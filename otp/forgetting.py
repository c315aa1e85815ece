"""A subscriber is forgotten: nothing about them stays, and one who comes back is somebody new."""

from __future__ import annotations

from otp.delivery import Rules, finish, leave
from otp.events import SubscriberForgotten
from otp.model import Caller, ForgottenBy, Mode, Parcel, RequestStatus, ShownCode, Subscriber
from otp.ports import Tx


async def forget(
    tx: Tx, rules: Rules, caller: Caller, subscriber_id: str, by: ForgottenBy = ForgottenBy.SITE
) -> bool:
    """Unsubscribe and erase; False when there is no such subscriber of the caller's.

    What is claimed is withdrawn. What is at the messenger at this moment may arrive, with a code that is dead: its
    outcome finds no row, and its message is closed by `closed_stray`. The person's "nothing from this project" stays.
    """
    profile = await tx.profile(caller.project.id, caller.mode, subscriber_id)
    if profile is None:
        return False
    requests = [await tx.request(request_id) for request_id in await tx.pending_of(subscriber_id)]
    sub = await tx.subscriber(caller.project.id, caller.mode, subscriber_id)
    if sub is None:
        return False
    await leave(tx, rules, sub)
    for request in requests:
        if request is not None and request.bound_to == sub.person:
            await finish(tx, request, RequestStatus.CANCELLED)
    await tx.erase_subscriber(sub)
    tx.emit(SubscriberForgotten(sub, by))
    return True


async def closed_stray(tx: Tx, parcel: Parcel, messenger_id: str) -> None:
    """A message arrived whose subscriber was forgotten meanwhile: it is to say that its code is withdrawn."""
    sent = parcel.delivery
    message = ShownCode(sent.id, messenger_id, sent.person, sent.id, sent.code_id, None)
    mode = Mode.TEST if sent.person.is_played else Mode.LIVE
    gone = Subscriber(
        sent.subscriber_id, sent.project_id, mode, sent.person, parcel.language, False, 0, False
    )
    await tx.close_stray(message, gone)
