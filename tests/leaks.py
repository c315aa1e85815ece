"""Looks for secrets and codes in everything that a service wrote: its log, its database, its errors.

Keys, tokens and other long secrets are looked for as they are, in every byte. Codes are six or eight digits, which ids and
times hold by chance. So a code counts only as a number of its own: a whole run of digits that touches no letter, digit,
dash, dot or colon, as those make it a part of an id, a time or a fraction; in a log only in the values of events without
the time stamp, in the database only in columns of text. The tests' people have nine-digit ids, longer than any code.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg

NUMBER = re.compile(r"(?<![\w.:+-])[0-9]{6,8}(?![\w:+-]|\.[0-9])", re.ASCII)
"""A number that is part of nothing longer."""
TIMES = ("timestamp", "ms")


def in_text(text: str, codes: Collection[str]) -> Iterator[str]:
    """The codes that stand in a text as numbers of their own."""
    yield from (found for found in NUMBER.findall(text) if found in codes)


def in_log(log: str, secrets: Collection[str], codes: Collection[str]) -> Iterator[str]:
    """What a log in JSON tells; a line that is no JSON is read as it is."""
    for line in log.splitlines():
        for secret in secrets:
            if secret in line:
                yield f"a secret in the log: {line.replace(secret, '<secret>')}"
        try:
            values = [value for name, value in json.loads(line).items() if name not in TIMES]
        except (ValueError, AttributeError):
            values = [line]
        for value in values:
            for code in in_text(value if isinstance(value, str) else json.dumps(value), codes):
                yield f"the code {code} in the log: {line}"


def in_database(path: Path, secrets: Collection[str], codes: Collection[str]) -> Iterator[str]:
    """What the files of a database tell: the secrets in every byte, the codes in every column of text or number."""
    for file in sorted(path.parent.glob(path.name + "*")):
        if not file.is_file():
            continue  # the operator's socket
        content = file.read_bytes()
        for secret in secrets:
            if secret.encode() in content:
                yield f"a secret in {file.name}"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = database.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name of the schema
            names = [one[0] for one in rows.description]
            for row in rows:
                yield from _in_row(table, dict(zip(names, row, strict=True)), codes)


async def in_postgres(url: str, secrets: Collection[str], codes: Collection[str]) -> AsyncIterator[str]:
    """The same of a PostgreSQL database: every column of every row."""
    connection = await asyncpg.connect(url)
    try:
        for (table,) in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            for row in await connection.fetch(f"SELECT * FROM {table}"):  # noqa: S608 - a name of the schema
                told = repr(dict(row))
                if any(secret in told for secret in secrets):
                    yield f"a secret in {table}"
                for leak in _in_row(table, dict(row), codes):
                    yield leak
    finally:
        await connection.close()


def _in_row(table: str, row: dict[str, Any], codes: Collection[str]) -> Iterator[str]:
    for name, value in row.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        if name in MESSENGER_IDS:
            continue
        for code in in_text(text, codes):
            yield f"the code {code} in {table}.{name}"


MESSENGER_IDS = ("messenger_id",)
"""Ids of messages are the messenger's numbers, and small ones may look like a code."""


def in_bodies(bodies: Collection[str], secrets: Collection[str], codes: Collection[str]) -> Iterator[str]:
    """What the bodies of errors tell."""
    for body in bodies:
        if any(secret in body for secret in secrets):
            yield "a secret in the body of an error"
        yield from (f"the code {code} in the body of an error" for code in in_text(body, codes))
