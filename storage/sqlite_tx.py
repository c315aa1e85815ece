"""SQLite: the transaction of one operation, and what operations that share a commit read and write together."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, TypeVar

from otp.events import MessageOver
from otp.model import Caller, Code, Ending, Mode, Person, Project, Request, Subscriber
from otp.notices import Notice
from otp.ports import About
from storage import rows
from storage.outbox import LISTENING, WRITE_NOTICE, given_up_at, listed, new_id
from storage.rows import CODE, REQUEST, SUBSCRIBER, Row
from storage.statements import SqlTx

K = TypeVar("K")
V = TypeVar("V")

MOST_KNOWN: Final = 10_000
"""Callers, and projects, that are kept in memory."""
_PARAMETER: Final = re.compile(r"\$(\d+)")


@cache
def native(sql: str) -> tuple[str, bool]:
    """A statement with SQLite's own marks for parameters, which are bound by position, and whether it changes nothing."""
    return _PARAMETER.sub(r"?\1", sql), sql.startswith(("SELECT", "PRAGMA"))


class Known:
    """Who calls, and for which project: asked for by every call and seldom changed, so kept in memory.

    The file has one owner, which sees every change: before one, and after one that was taken back, all is forgotten.
    """

    def __init__(self) -> None:
        self.callers: dict[bytes, Caller] = {}
        """By the hashes of keys that have no end."""
        self.projects: dict[str, Project] = {}
        self.endpoints: dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]] | None = None
        """Who is told of what happens to a project in a mode, and of which types (all when there are none)."""

    def forget(self) -> None:
        """Ask the file from now on."""
        self.callers.clear()
        self.projects.clear()
        self.endpoints = None

    def keep(self, known: dict[K, V], key: K, value: V) -> None:
        """Remember something that the file told."""
        if len(known) >= MOST_KNOWN:
            known.clear()
        known[key] = value


_THESE: Final = "(SELECT value FROM json_each(?1))"
_SUBSCRIBERS: Final = f"SELECT {SUBSCRIBER} FROM subscribers WHERE id IN {_THESE}"
_CODES: Final = f"SELECT {CODE} FROM codes WHERE subscriber_id IN {_THESE}"
_MESSAGES: Final = f"SELECT id, code_id FROM messages WHERE ended IS NULL AND code_id IN {_THESE}"
_REQUESTS: Final = f"SELECT {REQUEST} FROM requests WHERE id IN {_THESE}"

_ATTEMPTS: Final = "UPDATE codes SET attempts = ?1 WHERE subscriber_id = ?2 AND purpose = ?3"
_WRONG: Final = "UPDATE subscribers SET wrong_guesses = ?1 WHERE id = ?2"
_ENDED: Final = "UPDATE messages SET ended = ?1 WHERE id = ?2"
_VERIFIED: Final = "UPDATE requests SET verified_at = ?1 WHERE id = ?2"
_GONE: Final = "DELETE FROM codes WHERE subscriber_id = ?1 AND purpose = ?2"


class Ahead:
    """Within one transaction: what its operations look at first, read for all in one go, and what they left to be written.

    Each operation sees what the ones before it left. Whatever else is changed ends what was read.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self.subscribers: dict[str, Subscriber | None] = {}
        self.requests: dict[str, Request | None] = {}
        self.codes: dict[str, dict[str, Code]] = {}
        """By subscriber and purpose."""
        self.owners: dict[str, tuple[str, str]] = {}
        """Of codes."""
        self.messages: dict[str, list[str]] = {}
        """That hold a code and do not tell its end."""
        self._left: dict[str, list[tuple[Any, ...]]] = {}
        """Statements that change something, and their values."""

    def read(self, wanted: Sequence[About]) -> None:
        """Read what is wanted."""
        asked = {one.subscriber_id for one in wanted}
        requests = {one.request_id for one in wanted if one.request_id is not None}
        self.subscribers = dict.fromkeys(asked)
        self.subscribers.update((row["id"], rows.subscriber(row)) for row in self._all(_SUBSCRIBERS, asked))
        self.codes = {one: {} for one in asked}
        for row in self._all(_CODES, asked):
            code = rows.code(row)
            self.codes[code.subscriber_id][code.terms.purpose] = code
            self.owners[code.id] = code.subscriber_id, code.terms.purpose
        if self.owners:
            for row in self._all(_MESSAGES, self.owners):
                self.messages.setdefault(row["code_id"], []).append(row["id"])
        # Of codes too, whose guesses may not name it: what it says of an account is needed if they are right.
        requests |= {
            code.request_id
            for one in self.codes.values()
            for code in one.values()
            if code.request_id is not None
        }
        if requests:
            self.requests = dict.fromkeys(requests)
            self.requests.update((row["id"], rows.request(row)) for row in self._all(_REQUESTS, requests))

    def _all(self, sql: str, these: Iterable[str]) -> Sequence[Row]:
        found: Sequence[Row] = self._database.execute(sql, (json.dumps(list(these)),)).fetchall()
        return found

    def forget(self) -> None:
        """What was read may be true no more."""
        for known in (self.subscribers, self.requests, self.codes, self.owners, self.messages):
            known.clear()

    def leave(self, changes: dict[str, list[tuple[Any, ...]]]) -> None:
        """Take what an operation that came to its end left to be written."""
        for sql, values in changes.items():
            self._left.setdefault(sql, []).extend(values)

    def write(self) -> None:
        """Write what was left."""
        left, self._left = self._left, {}
        write(self._database, left)


def write(database: sqlite3.Connection, changes: dict[str, list[tuple[Any, ...]]]) -> None:
    """Make changes of one kind in one go."""
    for sql, values in changes.items():
        database.executemany(sql, values)


class SqliteTx(SqlTx):
    """A transaction that never waits; a part of a larger one, when others share its commit."""

    LOCKED = ""
    SHARED = ""
    SKIP_LOCKED = ""
    IN_ORDER = "rowid"

    def __init__(
        self,
        database: sqlite3.Connection,
        now: int,
        known: Known,
        before_change: str | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        """`before_change` is run once, ahead of the first statement that changes something; None: nothing may."""
        super().__init__(now)
        self._database = database
        self._known = known
        self._before_change = before_change
        self._ahead = ahead
        self._attempts: dict[tuple[str, str], int] = {}
        """Subscribers and purposes of codes, and how many attempts at them were made by now."""
        self.left: dict[str, list[tuple[Any, ...]]] = {}
        """To be written later, together with what others leave."""
        self.changed = False
        """Whether something was written that is to be taken back should the operation fail."""

    async def rows(self, sql: str, *values: Any) -> Sequence[Row]:
        prepared, reads = native(sql)
        if not reads:
            self._change()
            if self._ahead is not None:
                self._ahead.forget()
        if self._ahead is not None:
            self._settle(self._ahead)
        found: Sequence[Row] = self._database.execute(prepared, values).fetchall()
        return found

    def _change(self) -> None:
        if self._before_change is None:
            raise RuntimeError("an operation that reads was about to change something")
        if self.changed:
            return
        if self._ahead is not None:
            self._ahead.write()  # the others' changes are not to be taken back with this one's
        if self._before_change:
            self._database.execute(self._before_change)
        self.changed = True

    def _settle(self, ahead: Ahead) -> None:
        """Write what was left: a statement is about to look."""
        if self.left or self._attempts:
            self._change()
            write(self._database, self.take())
        ahead.write()

    def take(self) -> dict[str, list[tuple[Any, ...]]]:
        """What is left to be written."""
        for code, made in self._attempts.items():
            self._later(_ATTEMPTS, made, *code)
        left, self.left, self._attempts = self.left, {}, {}
        return left

    def _later(self, sql: str, *values: Any) -> None:
        self.left.setdefault(sql, []).append(values)

    # ------------------------------------------------------- known from before

    async def caller(self, key_hash: bytes) -> Caller | None:
        known = self._known.callers.get(key_hash)
        if known is None and (known := await super().caller(key_hash)) is not None:
            ends = await self.rows("SELECT ends_at FROM api_keys WHERE hash = $1", key_hash)
            if ends[0]["ends_at"] is None:
                self._known.keep(self._known.callers, key_hash, known)
        return known

    async def project(self, project_id: str) -> Project | None:
        known = self._known.projects.get(project_id)
        if known is None and (known := await super().project(project_id)) is not None:
            self._known.keep(self._known.projects, project_id, known)
        return known

    async def _lock_project(self, project_id: str) -> None:
        self._known.forget()  # nobody else is in the way, and whoever would be, is about to change it

    async def end_keys(self, project_id: str, mode: Mode, at: int, *, but: bytes) -> None:
        self._known.forget()
        await super().end_keys(project_id, mode, at, but=but)

    # ---------------------------------------------- read ahead, written together

    async def subscriber(self, project_id: str, mode: Mode, subscriber_id: str) -> Subscriber | None:
        if self._ahead is None or subscriber_id not in self._ahead.subscribers:
            return await super().subscriber(project_id, mode, subscriber_id)
        found = self._ahead.subscribers[subscriber_id]
        return found if found and (found.project_id, found.mode) == (project_id, mode) else None

    async def request(self, request_id: str) -> Request | None:
        if self._ahead is None or request_id not in self._ahead.requests:
            return await super().request(request_id)
        return self._ahead.requests[request_id]

    async def account_of(self, request_id: str) -> str | None:
        if self._ahead is None or request_id not in self._ahead.requests:
            return await super().account_of(request_id)
        known = self._ahead.requests[request_id]
        return known.external_id if known is not None else None

    async def code(self, subscriber_id: str, purpose: str) -> Code | None:
        if self._ahead is None or subscriber_id not in self._ahead.codes:
            return await super().code(subscriber_id, purpose)
        found = self._ahead.codes[subscriber_id].get(purpose)
        return found if found is not None and found.expires_at > self.now else None

    async def count_attempt(self, code_id: str) -> int | None:
        if self._ahead is None or code_id not in self._ahead.owners:
            return await super().count_attempt(code_id)
        subscriber_id, purpose = self._ahead.owners[code_id]
        code = self._ahead.codes[subscriber_id].get(purpose)
        if code is None or code.attempts >= code.terms.max_attempts or code.expires_at <= self.now:
            return None
        made = code.attempts + 1
        self._ahead.codes[subscriber_id][purpose] = replace(code, attempts=made)
        self._attempts[subscriber_id, purpose] = made
        return made

    async def consume(self, code_id: str, ending: Ending) -> bool:
        if self._ahead is None or code_id not in self._ahead.owners:
            return await super().consume(code_id, ending)
        subscriber_id, purpose = self._ahead.owners[code_id]
        if self._ahead.codes[subscriber_id].pop(purpose, None) is None:
            return False
        self._attempts.pop((subscriber_id, purpose), None)
        for message_id in self._ahead.messages.get(code_id, ()):
            self._later(_ENDED, ending, message_id)
            self.emit(MessageOver(message_id))
        self._later(_GONE, subscriber_id, purpose)
        return True

    async def note_verified(self, request_id: str) -> None:
        if self._ahead is None:
            return await super().note_verified(request_id)
        known = self._ahead.requests.get(request_id)
        if known is not None:
            self._ahead.requests[request_id] = replace(known, verified_at=self.now)
        self._later(_VERIFIED, self.now, request_id)
        return None

    async def count_wrong_guess(self, subscriber_id: str) -> int:
        known = self._ahead.subscribers.get(subscriber_id) if self._ahead is not None else None
        if self._ahead is None or known is None:
            return await super().count_wrong_guess(subscriber_id)
        wrong = known.wrong_guesses + 1
        self._ahead.subscribers[subscriber_id] = replace(known, wrong_guesses=wrong)
        self._later(_WRONG, wrong, subscriber_id)
        return wrong

    # ------------------------------------------------------------ endpoints

    def _forget_endpoints(self) -> None:
        self._known.endpoints = None

    async def write_notices(self) -> None:
        if self._known.endpoints is None:
            self._known.endpoints = await self._listening()
        if self._known.endpoints:
            await super().write_notices()

    async def _listening(self) -> dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]]:
        found: dict[tuple[str, str], list[tuple[str, tuple[str, ...]]]] = {}
        for row in await self.rows(LISTENING):
            found.setdefault((row["project_id"], row["mode"]), []).append((row["id"], listed(row["types"])))
        return found

    async def _write_notices(self, found: Sequence[Notice]) -> Sequence[str]:
        known, now = self._known.endpoints or {}, self.now
        wanted: list[tuple[Any, ...]] = []
        for one in found:
            ears = [
                endpoint_id
                for endpoint_id, types in known.get((one.project_id, one.mode), ())
                if not types or one.type in types
            ]
            if ears:
                row = (new_id(now), one.type, now, json.dumps(one.data), now, given_up_at(now))
                wanted += [(endpoint_id, *row) for endpoint_id in ears]
        if wanted:
            self._change()
            self._database.executemany(WRITE_NOTICE, wanted)
        return [one[0] for one in wanted]

    # ------------------------------------------------------------ nobody to lock out

    async def alone(self, person: Person) -> None:
        pass  # as every writer is

    async def _lock_around(self, delivery_id: str) -> None:
        pass

    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> None:
        pass
