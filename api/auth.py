"""Who may come in: one `Authorization: Bearer` header with a key of a mode that acts here, and not too often."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NoReturn

from aiohttp import web

from api.addresses import Network, client_address, one_site
from api.answers import PLAYED, RATE
from api.limits import RateLimit, Seats, Taken
from api.operations import Operation
from api.problems import Problem
from otp.call import know_of_call
from otp.codes import key_hash
from otp.lifecycle import REQUEST_ID
from otp.model import Caller, Mode
from otp.ports import Clock
from otp.service import OtpService

_BEARER: Final = re.compile(r"bearer (tc_(live|test)_[A-Za-z0-9_-]{32,200})", re.ASCII | re.IGNORECASE)
_HOW: Final = "Send the project's API key in one header: Authorization: Bearer <key>."
REFUSED_PER_MINUTE: Final = 3_000
"""Calls without a valid key from one address, before its keys are no longer even looked up."""
_KNOWN_KEYS: Final = 10_000
SEAT_SECONDS: Final = 5
"""After this another try to wait makes sense: all waits end, most of them soon."""
KEY_HASH: Final = web.RequestKey("key_hash", bytes)
"""By which key a caller came in."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed in a minute, and whose word counts for a client's address."""

    calls: RateLimit
    """POSTs of a key, refused ones too."""
    reads: RateLimit
    """Status reads of a request."""
    refusals: RateLimit
    """Calls without a valid key from an address."""
    seats: Seats
    """Those who wait for a change."""
    trusted_proxies: Sequence[Network] = ()

    def address(self, request: web.Request) -> str:
        """Of a client, as far as it is limited by that."""
        return one_site(client_address(request, self.trusted_proxies))

    @classmethod
    def per_minute(
        cls,
        clock: Clock,
        *,
        requests: int,
        status_reads: int,
        seats: Seats,
        trusted_proxies: Sequence[Network] = (),
    ) -> Limits:
        """The operator's limits."""
        return cls(
            RateLimit("requests", requests, clock),
            RateLimit("status_reads", status_reads, clock),
            RateLimit("refused", REFUSED_PER_MINUTE, clock),
            seats,
            trusted_proxies,
        )


@dataclass(slots=True)
class Door:
    """Lets callers in. Raises `Problem`: 401, 403 for a disabled project, 429 for who comes too often."""

    service: OtpService
    modes: Collection[Mode]
    limits: Limits
    played: Mode | None = None
    """The mode of which nothing reaches a messenger."""
    _known: OrderedDict[bytes, Caller] = field(default_factory=OrderedDict)
    """By the hashes of keys that were valid a while ago: a flood from their address does not shut them out."""

    async def admit(self, request: web.Request, operation: Operation) -> Caller:
        """The caller, whose call is counted."""
        given = request.headers.getall("Authorization", [])
        found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
        hashed = key_hash(found[1]) if found else None
        caller = await self._caller(request, hashed)
        if caller is None or hashed is None or caller.mode not in self.modes:
            self._known.pop(hashed or b"", None)
            self._refuse(request, given=hashed is not None)
        caller = self._remember(hashed, caller)
        if caller.mode is self.played:
            request[PLAYED] = True
        if not caller.project.enabled:
            raise Problem("project_disabled", "This project is disabled.")
        self._count(request, operation, hashed)
        request[KEY_HASH] = hashed
        know_of_call("project", caller.project.id)
        return caller

    def seat(self, request: web.Request) -> AbstractContextManager[None]:
        """A place to wait, for a caller that was let in. Raises `Problem` (429) when all are taken."""
        seat = self.limits.seats.seat(request[KEY_HASH])
        if seat is None:
            raise Problem(
                "rate_limited",
                "Too many calls of this API key, or of all, wait for a change.",
                {"Retry-After": str(SEAT_SECONDS)},
            )
        return seat

    async def still_opens(self, request: web.Request) -> bool:
        """Whether the key that let a caller in long ago would do so now."""
        caller = await self.service.authenticate(request[KEY_HASH])
        return caller is not None and caller.project.enabled

    async def _caller(self, request: web.Request, hashed: bytes | None) -> Caller | None:
        """Who it is; not even asked for an address that floods."""
        if hashed is None:
            return None
        if hashed not in self._known and not self.limits.refusals.allows(self._address(request)):
            return None
        return await self.service.authenticate(hashed)

    def _address(self, request: web.Request) -> str:
        return self.limits.address(request)

    def _refuse(self, request: web.Request, *, given: bool) -> NoReturn:
        """`given`: a key came, in its right form."""
        address = self._address(request)
        taken = self.limits.refusals.take(address)
        know_of_call("client", address)
        if not taken.allowed:
            request[RATE] = taken
            raise too_often(taken, "Too many calls without a valid API key came from this address.")
        wrong = "No project has this API key, or not any more." if given else _HOW
        raise Problem("unauthorized", wrong, {"WWW-Authenticate": 'Bearer realm="tapcode"'})

    def _remember(self, hashed: bytes, caller: Caller) -> Caller:
        """The same caller, and where nothing has changed the same object: thousands may wait with it."""
        if self._known.get(hashed) != caller:
            self._known[hashed] = caller
        self._known.move_to_end(hashed)
        if len(self._known) > _KNOWN_KEYS:
            self._known.popitem(last=False)
        return self._known[hashed]

    def _count(self, request: web.Request, operation: Operation, hashed: bytes) -> None:
        if operation.run is not None:  # all but the reads of a status
            taken, detail = self.limits.calls.take(hashed), "Too many calls were made with this API key."
        else:
            request_id = request.match_info.get("request_id", "")
            subject = request_id if REQUEST_ID.fullmatch(request_id) else ""
            taken = self.limits.reads.take((hashed, subject))
            detail = "The status of this request was read too often: once in 1-2 seconds is enough."
        request[RATE] = taken
        if not taken.allowed:
            raise too_often(taken, detail)


def too_often(taken: Taken, detail: str) -> Problem:
    """What a limit says to a call that is one too many."""
    return Problem("rate_limited", detail, {"Retry-After": str(taken.retry_after)})
