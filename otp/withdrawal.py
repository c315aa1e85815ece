"""What was asked for is taken back, by the site or by the person: a request is cancelled, a code is revoked."""

from __future__ import annotations

from otp.delivery import Rules, finish, withdraw
from otp.model import Delivery, DeliveryState, Ending, Refusal, Request, RequestStatus
from otp.ports import Tx


async def cancel(tx: Tx, rules: Rules, request: Request) -> Delivery | None:
    """Cancel a pending request, and the code that may have arrived; or the delivery that is at the messenger just now.

    Of the messages that ask about it nothing is said here: whoever pressed a button is answered there.
    """
    deliveries = await tx.request_deliveries(request.id)
    attempt = next((one for one in deliveries if one.state is DeliveryState.ATTEMPTING), None)
    if attempt is not None:
        return attempt
    for delivery in deliveries:
        if delivery.state is DeliveryState.CLAIMED:
            await withdraw(tx, rules, delivery, Refusal.WITHDRAWN)
        code = await tx.code(delivery.subscriber_id, delivery.terms.purpose)
        if code is not None and code.request_id == request.id:
            await tx.consume(code.id, Ending.WITHDRAWN)
    await finish(tx, request, RequestStatus.CANCELLED)
    return None


async def cancel_for_site(tx: Tx, rules: Rules, request: Request) -> Delivery | None:
    """The same at the site's wish: whoever was asked about it in the chat is told there."""
    attempt = await cancel(tx, rules, request)
    if attempt is None:
        await tx.end_questions(request.id, Ending.WITHDRAWN)
    return attempt
