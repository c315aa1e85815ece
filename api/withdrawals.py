"""The calls that take back what was asked for: declared as `api.operations` declares the others."""

from __future__ import annotations

from typing import Any

from api import schemas
from otp.model import Caller
from otp.service import OtpService


async def cancel(
    service: OtpService, caller: Caller, _body: schemas.CancelBody, request_id: str
) -> dict[str, Any]:
    """Cancel a request."""
    await service.cancel(caller, request_id)
    return {"status": "cancelled"}


async def revoke(service: OtpService, caller: Caller, body: schemas.RevokeBody) -> dict[str, Any]:
    """End a subscriber's code."""
    return {"revoked": await service.revoke(caller, body.subscriber_id, body.purpose)}
