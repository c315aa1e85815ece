"""The operator's commands about events: as `api.admin` has those of projects."""

from __future__ import annotations

from typing import Any, Final

from api.admin import Command, Refused, checked_project_id
from api.webhook_calls import shown_event
from otp.endpoints import Endpoints
from otp.errors import EventNotFound

MOST_LISTED: Final = 1_000


async def perform_events(endpoints: Endpoints, command: Command) -> Any:
    """One `events` command: `{"verb": …, …}` to a JSON value. Raises `Refused`, `OtpError`."""
    if command["verb"] == "list":
        limit = int(command.get("limit", 50))
        if not 1 <= limit <= MOST_LISTED:
            raise Refused(f"--limit must be a number from 1 to {MOST_LISTED}")
        state = "failed" if command.get("failed") else None
        project_id = checked_project_id({"id": command["project"]}) if "project" in command else None
        found = await endpoints.list_all(project_id, state, limit)
        return [shown_event(one) for one in found]
    if command["verb"] == "redeliver":
        event_id = str(command["id"])
        try:
            return {"id": event_id, "webhooks": await endpoints.redeliver_any(event_id)}
        except EventNotFound:
            raise Refused(
                "there is no event with this id: `events list` shows those of the last ten days"
            ) from None
    raise Refused(f"there is no command {command['verb']}")
