"""PostgreSQL: what an operation will look at, read ahead in one statement and without a lock, for many at once.

Most operations meet nobody. So whoever says whom it is about (`otp.ports.About`) is first run over what one statement
saw, one consistent state; what it changes is noted, and written by one more statement (`write_guesses`, a function of the
schema) that locks, looks whether all is as it was seen, and commits. If it is not, or the operation does anything else,
nothing has happened: it is run again with locks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Any, Final, NoReturn

from otp.events import MessageOver
from otp.model import Caller, Code, Ending, Mode, Person, Project, Request, Subscriber
from otp.notices import Notice
from otp.ports import About
from storage import rows
from storage.outbox import OPEN
from storage.postgres_line import NOW
from storage.rows import CODE, PROJECT, REQUEST, SUBSCRIBER, Row
from storage.statements import CALLER, SqlTx


class NeedsTransactionError(Exception):
    """An operation does more than can be done in a statement or two: nothing has happened."""


def _part(name: str, columns: str, condition: str) -> str:
    """A row of a table, found by its key for each one asked about; OFFSET keeps it from being found any other way."""
    named = ", ".join(f"{column} AS {name}_{column}" for column in columns.split(", "))
    return f"LEFT JOIN LATERAL (SELECT {named} FROM {condition} OFFSET 0) AS {name} ON TRUE"


# How many are asked about is hidden in a SELECT: else the database plans anew each time, which takes longer than the look.
LOOK: Final = " ".join(
    (
        f"SELECT asked.nth, {NOW} AS told_at, p.*, r.*, s.*, c.*, a.*, l.*",
        f"FROM unnest({', '.join(f'(SELECT ${at}::text[])' for at in (1, 2, 3))}) WITH ORDINALITY",
        "AS asked (project, request, subscriber, nth)",
        _part("p", PROJECT, "projects WHERE id = asked.project AND deleted = 0"),
        _part("r", REQUEST, "requests WHERE id = asked.request"),
        _part("s", SUBSCRIBER, "subscribers WHERE id = asked.subscriber"),
        _part("c", CODE, "codes WHERE subscriber_id = asked.subscriber"),
        _part("a", "external_id", "requests WHERE id = c.c_request_id"),
        f"CROSS JOIN LATERAL (SELECT EXISTS (SELECT 1 FROM endpoints w WHERE w.project_id = asked.project AND {OPEN})",
        "AS listening) AS l",
    )
)
"""What some are about: a row for each code, or one without."""


def _places(first: int, *tables: str) -> list[slice]:
    """Where the columns of each table stand in a row, of which so many others come first."""
    ends = accumulate((len(columns.split(", ")) for columns in tables), initial=first)
    return [slice(begin, end) for begin, end in pairwise(ends)]


_PROJECT, _REQUEST, _SUBSCRIBER, _CODE = _places(2, PROJECT, REQUEST, SUBSCRIBER, CODE)
CALLERS: Final = (
    "SELECT found.*, asked.hash FROM unnest((SELECT $1::bytea[])) AS asked (hash) CROSS JOIN LATERAL "
    f"({CALLER.format(hash='asked.hash', now='$2')} OFFSET 0) AS found"
)
WRITE_GUESSES: Final = "SELECT nth, messages_over FROM write_guesses($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"


@dataclass(slots=True)
class Found:
    """What was read ahead for one operation, as it was at `told_at` by the database's clock."""

    about: About
    told_at: int
    project: Project | None
    request: Request | None
    subscriber: Subscriber | None
    listening: bool
    """Whether an endpoint may have to be told of what happens."""
    codes: dict[str, Code] = field(default_factory=dict)
    """By purpose."""
    accounts: dict[str, str | None] = field(default_factory=dict)
    """For which account the codes of requests are."""


@dataclass(eq=False, slots=True)
class Change:
    """How a guess was judged: to be written if all is still as it was seen. Each is another one, however alike."""

    project_id: str
    subscriber: Subscriber
    code: Code
    wrong_after: int
    ending: Ending | None
    verified: str | None
    """The request whose code was accepted."""


def look_values(wanted: Sequence[About]) -> tuple[list[str], ...]:
    """The values of `LOOK`."""
    return (
        [_id(one.project_id) for one in wanted],
        [_id(one.request_id or "") for one in wanted],
        [_id(one.subscriber_id) for one in wanted],
    )


def _id(given: str) -> str:
    """What may be an id: anything else is nobody's, and could spoil the statement for all who are in it."""
    return given if given.isascii() and given.isprintable() else ""


def looked(wanted: Sequence[About], found: Iterable[Row]) -> dict[About, Found]:
    """What `LOOK` saw."""
    told: dict[About, Found] = {}
    for row in found:
        values = tuple(row)
        about = wanted[row["nth"] - 1]
        one = told.get(about)
        if one is None:
            one = told[about] = Found(
                about,
                row["told_at"],
                rows.project(values[_PROJECT]) if row["p_id"] is not None else None,
                rows.request(values[_REQUEST]) if row["r_id"] is not None else None,
                rows.subscriber(values[_SUBSCRIBER]) if row["s_id"] is not None else None,
                row["listening"],
            )
        if row["c_id"] is not None:
            code = rows.code(values[_CODE])
            one.codes[code.terms.purpose] = code
            if code.request_id is not None:
                one.accounts[code.request_id] = row["a_external_id"]
    return told


def change_values(changes: Sequence[Change], now: int, *, own_time: bool) -> tuple[Any, ...]:
    """The values of `WRITE_GUESSES`."""
    return (
        [one.project_id for one in changes],
        [one.subscriber.id for one in changes],
        [one.subscriber.wrong_guesses for one in changes],
        [one.wrong_after for one in changes],
        [one.code.id for one in changes],
        [one.code.attempts for one in changes],
        [one.ending for one in changes],
        [one.verified for one in changes],
        now,
        own_time,
    )


class AheadTx(SqlTx):
    """An operation over what was read ahead. Raises `NeedsTransactionError` at whatever else it wants."""

    LOCKED = SHARED = SKIP_LOCKED = ""

    def __init__(self, now: int, found: Found) -> None:
        super().__init__(now)
        self._found = found
        self._codes = {code.id: code for code in found.codes.values()}
        self._counted: Code | None = None
        """The code that a guess is about, as it was seen."""
        self._wrong_after = found.subscriber.wrong_guesses if found.subscriber is not None else 0
        self._ending: Ending | None = None
        self._verified: str | None = None

    @property
    def change(self) -> Change | None:
        """What is to be written."""
        sub = self._found.subscriber
        if self._counted is None or sub is None:
            return None
        return Change(
            self._found.about.project_id,
            sub,
            self._counted,
            self._wrong_after,
            self._ending,
            self._verified,
        )

    def tell_over(self, messages: Iterable[str]) -> None:
        """Messages whose code has ended by what was written, with their jobs."""
        for message_id in messages:
            self.emit(MessageOver(message_id))

    async def rows(self, sql: str, *values: Any) -> NoReturn:
        raise NeedsTransactionError

    async def alone(self, person: Person) -> NoReturn:
        raise NeedsTransactionError

    async def _lock_around(self, delivery_id: str) -> NoReturn:
        raise NeedsTransactionError

    async def lock_account(self, project_id: str, mode: Mode, external_id: str) -> NoReturn:
        raise NeedsTransactionError

    def _forget_endpoints(self) -> NoReturn:
        raise NeedsTransactionError

    async def _write_notices(self, found: Sequence[Notice]) -> NoReturn:
        raise NeedsTransactionError

    # ---------------------------------------------------------------- looks

    async def project(self, project_id: str) -> Project | None:
        return self._found.project if project_id == self._found.about.project_id else await self.rows("")

    async def request(self, request_id: str) -> Request | None:
        return self._found.request if request_id == self._found.about.request_id else await self.rows("")

    async def subscriber(self, project_id: str, mode: Mode, subscriber_id: str) -> Subscriber | None:
        if subscriber_id != self._found.about.subscriber_id:
            await self.rows("")
        sub = self._found.subscriber
        return sub if sub and (sub.project_id, sub.mode) == (project_id, mode) else None

    async def code(self, subscriber_id: str, purpose: str) -> Code | None:
        if subscriber_id != self._found.about.subscriber_id:
            await self.rows("")
        code = self._found.codes.get(purpose)
        return code if code is not None and code.id in self._codes and code.expires_at > self.now else None

    async def account_of(self, request_id: str) -> str | None:
        found = self._found.accounts
        return found[request_id] if request_id in found else await self.rows("")

    # -------------------------------------------------------------- changes

    async def count_attempt(self, code_id: str) -> int | None:
        code = self._codes.get(code_id)
        if code is None or code.attempts >= code.terms.max_attempts or code.expires_at <= self.now:
            return None
        if self._counted is not None or self._found.listening:
            raise NeedsTransactionError  # one guess is what `write_guesses` can write, and nothing beside it
        self._counted = code
        made = code.attempts + 1
        self._codes[code_id] = replace(code, attempts=made)
        return made

    async def consume(self, code_id: str, ending: Ending) -> bool:
        if self._counted is None or self._counted.id != code_id:
            raise NeedsTransactionError
        if self._codes.pop(code_id, None) is None:
            return False
        self._ending = ending
        return True

    async def note_verified(self, request_id: str) -> None:
        if self._counted is None or self._counted.request_id != request_id:
            raise NeedsTransactionError
        self._verified = request_id

    async def count_wrong_guess(self, subscriber_id: str) -> int:
        self._guesser(subscriber_id)
        self._wrong_after += 1
        return self._wrong_after

    async def clear_guesses(self, subscriber_id: str) -> None:
        self._guesser(subscriber_id)
        self._wrong_after = 0

    def _guesser(self, subscriber_id: str) -> None:
        sub = self._found.subscriber
        if self._counted is None or sub is None or sub.id != subscriber_id or sub.locked:
            raise NeedsTransactionError


def callers(found: Iterable[Row], asked: Iterable[bytes]) -> Mapping[bytes, Caller | None]:
    """Who some keys belong to, as `CALLERS` told."""
    told: dict[bytes, Caller | None] = dict.fromkeys(asked)
    told.update((row["hash"], rows.caller(row)) for row in found)
    return told
