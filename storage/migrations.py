"""Numbered SQL files, applied in order, each once. Which store runs them how is the store's business.

The schema table keeps, for each step, its checksum and the oldest program that can work with the schema after it: a
program refuses a database only when it is older than that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from otp.errors import StorageUnusable


@dataclass(frozen=True, slots=True)
class Migration:
    """One step. `oldest_program` is the newest step that a program must know to work with a schema that has this one."""

    version: int
    oldest_program: int
    sql: str
    checksum: str


def load(folder: Path) -> list[Migration]:
    """The steps in a folder of `NNNN_name.sql`. A first line `-- oldest-program: N` names an older program that copes."""
    steps = []
    for path in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql")):
        sql = path.read_text(encoding="utf-8")
        version = int(path.name[:4])
        older = re.match(r"-- oldest-program: (\d+)\n", sql)
        checksum = sha256(sql.replace("\r\n", "\n").encode()).hexdigest()
        steps.append(Migration(version, int(older[1]) if older else version, sql, checksum))
    return steps


def pending(known: Sequence[Migration], applied: Sequence[tuple[int, int, str]]) -> list[Migration]:
    """The steps still to apply, given the (version, oldest_program, checksum) rows of a database.

    Raises `StorageUnusable` when the database was changed by a newer program that excludes this one, or a step that
    was applied differs from the one known here.
    """
    newest = known[-1].version if known else 0
    by_version = {step.version: step for step in known}
    for version, oldest_program, checksum in applied:
        if oldest_program > newest:
            raise StorageUnusable(
                f"the database has schema {version}, made by a newer program; this one knows up to {newest}"
            )
        step = by_version.get(version)
        if step is not None and step.checksum != checksum:
            raise StorageUnusable(f"schema step {version} of the database differs from this program's")
    done = {version for version, _, _ in applied}
    return [step for step in known if step.version not in done]
