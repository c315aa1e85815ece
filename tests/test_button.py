"""The file of `<tapcode-button>`: where it is, that it stays what it is, and how large it is."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from collections.abc import AsyncIterator

import pytest

from api.button import Script, scripts
from tests.running import Running, running

MOST_BYTES = 8 * 1024
"""Of the file, gzipped: what a page on a weak network can bear beside its own."""


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


@pytest.mark.parametrize("script", scripts().values(), ids=scripts())
def test_it_is_small(script: Script) -> None:
    assert len(script.zipped) <= MOST_BYTES
    assert gzip.decompress(script.zipped) == script.body


def test_the_versions_are_in_order() -> None:
    """By their numbers, the oldest first."""
    assert next(iter(scripts())) == "1.0.0"
    assert list(scripts()) == sorted(scripts(), key=lambda one: [int(part) for part in one.split(".")])


@pytest.mark.parametrize("encoding", ["gzip, br", "identity"])
async def test_every_version_is_served_for_good(run: Running, encoding: str) -> None:
    """For pages of any origin, so that a browser can check the hash; the hash is that of the bytes that arrive."""
    for script in scripts().values():
        answer = await run.http.get(run.url + script.path, headers={"Accept-Encoding": encoding})
        body = await answer.read()
        assert answer.status == 200
        assert answer.headers.get("Content-Encoding") == ("gzip" if "gzip" in encoding else None)
        assert script.integrity == "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("version", ["0.0.0", "latest", "..", "%2e%2e"])
async def test_a_version_that_never_was_is_not_found(run: Running, version: str) -> None:
    answer = await run.call("GET", f"/button/{version}/tapcode-button.js")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_both_languages_have_the_same_words() -> None:
    for script in scripts().values():
        tables = re.findall(r"^ {4}(\w\w): \{\n(.*?)^ {4}\}", script.body.decode(), re.MULTILINE | re.DOTALL)
        names = {tag: re.findall(r"^ {6}(\w+):", table, re.MULTILINE) for tag, table in tables}
        assert set(names) == {"en", "ru"}
        assert names["en"] == names["ru"] != []
