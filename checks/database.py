"""What was seen of a database, in either kind of store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from checks.disk import MIB, size
from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "database"
LONG_LOG: Final = 200 * MIB
"""Its writer begins the log anew at 40 MB."""
OLDEST_POSTGRES: Final = 140_000
FEW_CONNECTIONS: Final = 3
_RESTORE: Final = (
    'stop the service, keep a copy of the file, then restore a backup ("Restore" in docs/operations.md)'
)


class SqliteSeen(Protocol):
    """See `storage.health.SqliteHealth`."""

    @property
    def version(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def log_size(self) -> int: ...

    @property
    def schema(self) -> int: ...

    @property
    def newest(self) -> int: ...

    @property
    def unusable(self) -> str | None: ...

    @property
    def damage(self) -> str | None: ...

    @property
    def checked(self) -> bool: ...

    @property
    def readable_by_others(self) -> bool: ...


class PostgresSeen(Protocol):
    """See `storage.health.PostgresHealth`."""

    @property
    def version(self) -> str: ...

    @property
    def version_number(self) -> int: ...

    @property
    def schema(self) -> int: ...

    @property
    def newest(self) -> int: ...

    @property
    def unusable(self) -> str | None: ...

    @property
    def off(self) -> Sequence[str]: ...

    @property
    def standby(self) -> bool: ...

    @property
    def connections(self) -> int: ...

    @property
    def room(self) -> int: ...

    @property
    def size(self) -> int: ...


def judge_failure(why: str) -> Finding:
    """It could not be looked at."""
    return problem(
        SUBJECT, why, "see DATABASE_URL, the rights of the user that runs this, and whether the server is up"
    )


def judge_none() -> Finding:
    """No file is there."""
    hint = "the first start of the service makes it; if it was started before, this is not its folder"
    return warning(SUBJECT, "there is no file yet", hint)


def judge_sqlite(seen: SqliteSeen) -> list[Finding]:
    """An SQLite file and its log."""
    if seen.damage is not None:
        return [problem(SUBJECT, f"the file is damaged: {seen.damage}", _RESTORE)]
    if seen.unusable is not None:
        return [_judge_unusable(seen.unusable)]
    whole = "quick_check ok" if seen.checked else "too large to be checked here: `backup` checks its copy"
    sizes = f"{size(seen.size)}, {_schema(seen.schema, seen.newest)}, log {size(seen.log_size)}"
    text = f"SQLite {seen.version}, {sizes}, {whole}"
    found = [ok(SUBJECT, text)]
    if seen.log_size > LONG_LOG:
        found.append(
            warning(
                SUBJECT,
                f"its log (-wal) has {size(seen.log_size)}",
                "another program may hold the file open for reading: let go of it, or restart the service",
            )
        )
    if seen.readable_by_others:
        found.append(
            warning(
                SUBJECT, "other users of this machine may read the file", "chmod 600 the file, 700 the folder"
            )
        )
    return found


def judge_postgres(seen: PostgresSeen, *, pool: int, running: bool) -> list[Finding]:
    """A PostgreSQL server. `pool`: connections that one process wants; `running`: whether it has them already."""
    found = []
    if seen.version_number < OLDEST_POSTGRES:
        found.append(problem(SUBJECT, f"PostgreSQL {seen.version} is too old", "14 or newer is needed"))
    if seen.standby:
        found.append(
            problem(
                SUBJECT,
                "this server is a standby, which can't be written to",
                "have DATABASE_URL name the primary",
            )
        )
    if seen.off:
        names = ", ".join(seen.off)
        found.append(
            problem(
                SUBJECT,
                f"{names} off: what was acknowledged can be lost",
                f"switch {names} on for this database and user: the service does not start otherwise",
            )
        )
    if seen.unusable is not None:
        found.append(_judge_unusable(seen.unusable))
    if found:
        return found
    text = (
        f"PostgreSQL {seen.version}, {size(seen.size)}, {_schema(seen.schema, seen.newest)}, primary, "
        f"{seen.connections} connections, room for {seen.room}"
    )
    if seen.room < FEW_CONNECTIONS:
        return [
            problem(
                SUBJECT, text, "raise max_connections, or lower DATABASE_POOL_SIZE, or run fewer replicas"
            )
        ]
    if not running and seen.room < pool:
        hint = f"a process wants up to {pool}: raise max_connections, or lower DATABASE_POOL_SIZE"
        return [warning(SUBJECT, text, hint)]
    return [ok(SUBJECT, text)]


def _judge_unusable(why: str) -> Finding:
    if "newer" in why:
        return problem(SUBJECT, why, 'run the newer program, or restore the backup of before ("Upgrade")')
    return problem(SUBJECT, why, "docs/operations.md tells of moving, restoring and upgrading")


def _schema(schema: int, newest: int) -> str:
    if schema == newest:
        return f"schema {schema}"
    if schema > newest:
        return f"schema {schema} (a newer program's, with which this one copes)"
    return f"schema {schema} (the next start makes it {newest})"
