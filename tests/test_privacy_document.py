"""docs/privacy.md lists every column of the database: a new one can't come without saying what it holds about people."""

from __future__ import annotations

import re
from collections import Counter
from typing import cast

from otp.ports import Store, Tx
from storage.postgres import PostgresStore
from storage.statements import SqlTx
from tests.markdown import sections

_SQLITE = (
    "SELECT t.name || '.' || c.name AS known FROM sqlite_schema t, pragma_table_info(t.name) c "
    "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'"
)
_POSTGRES = (
    "SELECT table_name || '.' || column_name AS known FROM information_schema.columns "
    "WHERE table_schema = current_schema()"
)


def told() -> Counter[str]:
    """The columns in the first cells of the document's tables, and how often each stands there."""
    rows = [
        line
        for section in sections("docs/privacy.md")
        for line in section.text.splitlines()
        if line.startswith("| `")
    ]
    return Counter(name for row in rows for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row.split("|")[1]))


async def columns(store: Store) -> set[str]:
    """Every column of every table, as the database itself has them."""
    sql = _POSTGRES if isinstance(store, PostgresStore) else _SQLITE

    async def work(tx: Tx) -> set[str]:
        return {row["known"] for row in await cast(SqlTx, tx).rows(sql)}

    return await store.read(work)


async def test_every_column_is_in_the_document_once(store: Store) -> None:
    """Of both stores, and none that is not there any more."""
    known, listed = await columns(store), told()
    assert len(known) > 100
    assert known - set(listed) == set(), (
        "say in docs/privacy.md what these hold about people, or that it is nothing"
    )
    assert set(listed) - known == set(), "these are gone"
    assert [name for name, times in listed.items() if times > 1] == []


def test_no_row_of_personal_data_has_an_empty_cell() -> None:
    """What, why, how long, who: each is said."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for section in sections("docs/privacy.md")
        for line in section.text.splitlines()
        if line.startswith("| `")
    ]
    assert all(all(row) for row in rows)
    assert {len(row) for row in rows} == {2, 4, 5}
