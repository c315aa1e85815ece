"""Where a project's events go: the addresses it named, their secrets, and what they were told. One store call each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from otp.audit import Action, who_acts
from otp.errors import (
    EventNotFound,
    InvalidField,
    ProjectDisabled,
    TooManyWebhooks,
    WebhookDisabled,
    WebhookNotFound,
)
from otp.events import NoticesDue
from otp.model import Caller
from otp.notices import TYPES
from otp.ports import Randomness, Seals, Store, Tx
from otp.projects import ProjectNotFound
from otp.telling import (
    BOTH_SIGN_MS,
    SECRET_BYTES,
    TRIED_FOR_MS,
    Endpoint,
    NewEndpoint,
    Sealed,
    StoredNotice,
    shown_secret,
)

MOST_ENDPOINTS: Final = 5
"""Of a project, in each mode."""
URL_LENGTH: Final = 2048
_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT: Final = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REST: Final = r"(?:[/?](?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
"""Of a URI, as RFC 3986 has it."""
PUBLIC_URL_PATTERN: Final = (
    rf"^https://(?:{_LABEL}\.)+[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?(?::{_PORT})?{_REST}$"
)
"""Of an address that may be told events: https, a domain name, no user, no fragment."""
_PUBLIC_URL: Final = re.compile(PUBLIC_URL_PATTERN.removesuffix("$"), re.ASCII)
_LOCAL_NAMES: Final = (".localhost", ".local", ".internal")
"""Names that lead nowhere but into a private network."""


def checked_url(url: str, *, private: bool) -> str:
    """An address that may be told events. Raises `InvalidField`. What its name leads to is looked at when it is called.

    `private` allows any host, and plain http (to private addresses alone, which again is looked at later).
    """
    if len(url) > URL_LENGTH:
        raise InvalidField("url", f"must have at most {URL_LENGTH} characters")
    if not (_is_sound(url) if private else _PUBLIC_URL.fullmatch(url)):
        scheme = "https:// or http://" if private else "https://"
        raise InvalidField("url", f"must be an {scheme} address with a host, and without user and fragment")
    if not private and str(urlsplit(url).hostname).endswith(_LOCAL_NAMES):
        raise InvalidField("url", "must not lead into a private network")
    return url


def _is_sound(url: str) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(' "<>\\^`{|}')
    return sound and plain and "@" not in parts.netloc and not parts.fragment


class Endpoints:
    """The use cases around webhooks and events."""

    def __init__(self, store: Store, seals: Seals, randomness: Randomness, *, private: bool) -> None:
        """`private`: addresses of private networks are allowed, as `EVENTS_ALLOW_PRIVATE` says."""
        self._store = store
        self._seals = seals
        self._randomness = randomness
        self._private = private

    def over(self, store: Store) -> Endpoints:
        """The same use cases over another store."""
        return Endpoints(store, self._seals, self._randomness, private=self._private)

    async def create(
        self, caller: Caller, url: str, types: Sequence[str] = (), description: str = ""
    ) -> NewEndpoint:
        """A new endpoint. Raises `InvalidField`, `TooManyWebhooks`, `ProjectDisabled`."""
        checked_url(url, private=self._private)
        endpoint_id, secret = f"we_{self._randomness.text(24)}", self._randomness.bytes(SECRET_BYTES)
        sealed = self._seals.seal(secret, endpoint_id)
        wanted = tuple(type_ for type_ in TYPES if type_ in types)

        async def work(tx: Tx) -> Endpoint:
            project, mode = caller.project.id, caller.mode
            made = Endpoint(endpoint_id, project, mode, url, wanted, description, tx.now, sealed)
            added = await tx.add_endpoint(made, MOST_ENDPOINTS)
            await enabled(tx, caller)
            if not added:
                raise TooManyWebhooks(
                    f"A project has at most {MOST_ENDPOINTS} webhooks: delete one that is not needed."
                )
            return made

        return NewEndpoint(await self._store.write(work), shown_secret(secret))

    async def all(self, caller: Caller) -> list[Endpoint]:
        """The caller's endpoints, oldest first. Raises `ProjectDisabled`."""

        async def work(tx: Tx) -> list[Endpoint]:
            await enabled(tx, caller)
            return await tx.endpoints(caller.project.id, caller.mode)

        return await self._store.read(work)

    async def delete(self, caller: Caller, endpoint_id: str) -> None:
        """An endpoint is gone, with what it was not yet told. Raises `WebhookNotFound`, `ProjectDisabled`."""

        async def work(tx: Tx) -> None:
            found = await self._own(tx, caller, endpoint_id)
            await tx.delete_endpoint(found.id)

        await self._store.write(work)

    async def rotate(self, caller: Caller, endpoint_id: str) -> NewEndpoint:
        """A new secret; the old one signs beside it for 24 hours. Raises `WebhookNotFound`, `ProjectDisabled`."""
        secret = self._randomness.bytes(SECRET_BYTES)
        sealed = self._seals.seal(secret, endpoint_id)

        async def work(tx: Tx) -> Endpoint:
            found = await self._own(tx, caller, endpoint_id)
            await tx.rotate_secret(found.id, sealed, tx.now + BOTH_SIGN_MS)
            return await self._own(tx, caller, endpoint_id)

        return NewEndpoint(await self._store.write(work), shown_secret(secret))

    async def enable(self, caller: Caller, endpoint_id: str) -> Endpoint:
        """Try an endpoint again that was switched off. Raises `WebhookNotFound`, `ProjectDisabled`."""

        async def work(tx: Tx) -> Endpoint:
            found = await self._own(tx, caller, endpoint_id)
            if found.disabled_at is not None:
                await tx.enable_endpoint(found.id)
                tx.emit(NoticesDue((found.id,)))
            return await self._own(tx, caller, endpoint_id)

        return await self._store.write(work)

    async def _own(self, tx: Tx, caller: Caller, endpoint_id: str) -> Endpoint:
        await enabled(tx, caller)
        found = await tx.endpoints(caller.project.id, caller.mode)
        for endpoint in found:
            if endpoint.id == endpoint_id:
                return endpoint
        raise WebhookNotFound("There is no webhook with this id.")

    async def events(
        self,
        caller: Caller,
        *,
        endpoint_id: str | None = None,
        state: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[StoredNotice]:
        """What the caller's endpoints were and are to be told, newest first.

        Raises `WebhookNotFound`, `ProjectDisabled`.
        """

        async def work(tx: Tx) -> list[StoredNotice]:
            await enabled(tx, caller)
            ids = [endpoint.id for endpoint in await tx.endpoints(caller.project.id, caller.mode)]
            if endpoint_id is not None:
                if endpoint_id not in ids:
                    raise WebhookNotFound("There is no webhook with this id.")
                ids = [endpoint_id]
            return await tx.notices(ids, state, before, limit)

        return await self._store.read(work)

    async def redeliver(self, caller: Caller, event_id: str, endpoint_id: str | None = None) -> int:
        """Tell an event once more, to all or one of those who were to hear it; to how many.

        Raises `EventNotFound`, `WebhookDisabled`, `ProjectDisabled`.
        """

        async def work(tx: Tx) -> int:
            await enabled(tx, caller)
            return await _again(tx, await tx.endpoints(caller.project.id, caller.mode), event_id, endpoint_id)

        return await self._store.write(work)

    # ------------------------------------------------------------------ for the operator

    async def list_all(self, project_id: str | None, state: str | None, limit: int) -> list[StoredNotice]:
        """Events of a project, or of all, newest first. Raises `ProjectNotFound`."""

        async def work(tx: Tx) -> list[StoredNotice]:
            if project_id is not None and await tx.project(project_id) is None:
                raise ProjectNotFound
            ids = [one.id for one in await tx.every_endpoint() if project_id in (None, one.project_id)]
            return await tx.notices(ids, state, None, limit)

        return await self._store.read(work)

    async def redeliver_any(self, event_id: str) -> int:
        """Tell an event once more, whosever it is; to how many. Raises `EventNotFound`, `WebhookDisabled`."""
        by = who_acts()

        async def work(tx: Tx) -> int:
            many = await _again(tx, await tx.every_endpoint(), event_id, None)
            await tx.record_audit(by, Action.EVENTS_REDELIVER, event_id, f"webhooks: {many}")
            return many

        return await self._store.write(work)

    async def reseal(self) -> int:
        """Seal under the first key what was sealed under another one, so that that one can go; how many."""
        found = await self._store.read(lambda tx: tx.every_endpoint())
        stale = [one for one in found if any(map(self._is_stale, one.signing(one.old_until or 0)))]
        return sum([await self._store.write(partial(self._resealed, endpoint=one)) for one in stale])

    def _is_stale(self, sealed: Sealed) -> bool:
        return not self._seals.is_current(sealed)

    async def _resealed(self, tx: Tx, *, endpoint: Endpoint) -> bool:
        both = [endpoint.secret, endpoint.old_secret]
        opened = [self._seals.open(one, endpoint.id) if one is not None else None for one in both]
        if opened[0] is None:
            return False  # its key is gone: the site must rotate it
        secret = self._seals.seal(opened[0], endpoint.id)
        old = self._seals.seal(opened[1], endpoint.id) if opened[1] is not None else None
        return await tx.reseal(endpoint, secret, old)


async def _again(tx: Tx, endpoints: Sequence[Endpoint], event_id: str, endpoint_id: str | None) -> int:
    if endpoint_id is not None:
        endpoints = [one for one in endpoints if one.id == endpoint_id]
    knew = await tx.told_of(event_id, [one.id for one in endpoints])
    if not knew:
        raise EventNotFound("There is no event with this id, or it is too long ago.")
    open_ = [one.id for one in endpoints if one.id in knew and one.disabled_at is None]
    if not open_:
        raise WebhookDisabled("The webhook is switched off: enable it first.")
    await tx.tell_again(event_id, open_, tx.now + TRIED_FOR_MS)
    tx.emit(NoticesDue(tuple(open_)))
    return len(open_)


async def enabled(tx: Tx, caller: Caller) -> None:
    """The key was good a moment ago; the project must still be there. Raises `ProjectDisabled`."""
    project = await tx.project(caller.project.id)
    if project is None or not project.enabled:
        raise ProjectDisabled("This project is disabled.")
