"""The search for leaks itself: it finds what was put there, and is not fooled by ids and times."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.leaks import in_bodies, in_database, in_log, in_text

CODE = "482916"
SECRET = "a-secret-of-the-tests"


@pytest.mark.parametrize(
    "text",
    [
        CODE,
        f"code {CODE}",
        f'{{"text": "{CODE}\\n"}}',
        f"({CODE}), and more",
        f"{CODE}.",
        f"sent {CODE}, twice",
    ],
)
def test_a_code_is_found(text: str) -> None:
    """Alone, or as a number of its own in a longer text."""
    assert list(in_text(text, {CODE})) == [CODE]


@pytest.mark.parametrize(
    "text",
    [
        f"telegram:{CODE}",
        f"1{CODE}",
        f"{CODE}0",
        f"2026-11-25T03:55:47.{CODE}Z",
        f"0.{CODE}",
        f"aefe6f5a-e6ea-46f0-811d-7b4ad0{CODE}",
        f"aefe6f5a-{CODE}",
        f"K{CODE}x",
        "482915",
    ],
)
def test_a_part_of_something_longer_is_no_code(text: str) -> None:
    """Ids, times and fractions hold every run of digits sooner or later."""
    assert list(in_text(text, {CODE})) == []


def test_a_log_is_read_value_by_value() -> None:
    """A code in any value, a secret anywhere, also in lines that are no JSON; but not in the time stamp."""
    good = {"event": "serving", "port": 8080, "timestamp": f"{CODE}", "ms": 482916}
    bad = {"event": "x", "text": f"your code: {CODE}"}
    nested = {"event": "x", "values": [1, {"code": CODE}]}
    log = "\n".join([json.dumps(good), json.dumps(bad), json.dumps(nested), f"panic {CODE}", f"x{SECRET}x"])
    assert len(list(in_log(log, {SECRET}, {CODE}))) == 4
    assert list(in_log(json.dumps(good), {SECRET}, {CODE})) == []


def test_a_database_is_read_with_its_files(tmp_path: Path) -> None:
    """Every column, and every byte of the file and of what stands beside it."""
    path = tmp_path / "tapcode.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE codes (id TEXT, address TEXT, number INTEGER)")
        database.execute("INSERT INTO codes VALUES ('a', 'telegram:482916', 1)")
        database.commit()
        assert list(in_database(path, {SECRET}, {CODE})) == []
        database.execute("INSERT INTO codes VALUES ('482916', 'b', 482916)")
        database.commit()
        assert list(in_database(path, {SECRET}, {CODE})) == [
            f"the code {CODE} in codes.id",
            f"the code {CODE} in codes.number",
        ]
    (tmp_path / "tapcode.db-wal").write_bytes(b"\0" + SECRET.encode() + b"\0")
    assert "a secret in tapcode.db-wal" in list(in_database(path, {SECRET}, set()))


def test_bodies_of_errors_are_read() -> None:
    """Codes and secrets."""
    assert list(in_bodies(["nothing", f"no {CODE}", f"no {SECRET}"], {SECRET}, {CODE})) == [
        f"the code {CODE} in the body of an error",
        "a secret in the body of an error",
    ]
