"""The calls about a subscriber: declared as `api.operations` declares the others."""

from __future__ import annotations

from typing import Any, Final

from otp.account_calls import AccountCalls
from otp.model import Caller
from otp.notices import rfc3339
from otp.service import OtpService

PATH: Final = "/v1/subscribers/{subscriber_id}"


async def read(service: OtpService, caller: Caller, subscriber_id: str) -> dict[str, Any]:
    """Who a subscriber is."""
    found = await AccountCalls(service).subscriber(caller, subscriber_id.lower())
    told: dict[str, Any] = {
        "channel": found.subscriber.person.channel,
        "language": found.subscriber.language,
        "subscribed_at": rfc3339(found.subscribed_at),
        "locked": found.subscriber.locked,
        "external_id": found.external_id,
    }
    return told | ({"phone": found.phone} if found.phone is not None else {})


async def forget(service: OtpService, caller: Caller, subscriber_id: str) -> dict[str, Any]:
    """Unsubscribe and forget one."""
    await AccountCalls(service).forget(caller, subscriber_id.lower())
    return {"subscriber_id": subscriber_id.lower(), "deleted": True}
