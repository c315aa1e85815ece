"""Who calls: exactly one `Authorization: Bearer` header with a key of a mode that acts here."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from aiohttp import web

from api.problems import Problem
from otp.model import Caller, Mode
from otp.service import OtpService

_BEARER: Final = re.compile(r"bearer (tc_(live|test)_[A-Za-z0-9_-]{32,200})", re.ASCII | re.IGNORECASE)


async def authenticate(request: web.Request, service: OtpService, modes: Collection[Mode]) -> Caller:
    """The caller. Raises `Problem`: 401, or 403 for a disabled project."""
    given = request.headers.getall("Authorization", [])
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    caller = await service.authenticate(found[1]) if found else None
    if caller is None or caller.mode not in modes:
        raise Problem(
            "unauthorized",
            "Send the project's API key in one header: Authorization: Bearer <key>.",
            {"WWW-Authenticate": 'Bearer realm="tapcode"'},
        )
    if not caller.project.enabled:
        raise Problem("project_disabled", "This project is disabled.")
    return caller
