"""The reference at `/docs`: what is served, from where, and that it can be switched off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from api import reference
from api.reference import Reference, bundle
from config.settings import defaults_but
from tests.running import Answer, Running, running
from wiring.app import reference_routes

ADDRESS = re.compile(r'(?:href|src)="(docs/[^"]+)"')


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service, as it comes."""
    async with running() as made:
        yield made


async def read(run: Running, path: str) -> Answer:
    """What somebody without a key gets."""
    return await run.call("GET", path, headers={"Authorization": None})


async def test_the_page_lets_nothing_in_but_files_of_this_service(run: Running):
    """The policy allows no other host and nothing inline, and the page has nothing inline."""
    page = await read(run, "/docs")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert page.headers["Cache-Control"] == "no-cache"
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=|https?:", page.text)


async def test_each_file_of_the_page_is_there_and_stays_in_caches(run: Running):
    """The hash in its address is its own, so that it may be kept for ever."""
    addresses = ADDRESS.findall((await read(run, "/docs")).text)
    assert len(addresses) == 5
    for address in addresses:
        async with run.http.get(f"{run.url}/{address}") as answer:
            body = await answer.read()
        kind = {"css": "text/css", "js": "text/javascript", "png": "image/png"}[address.rpartition(".")[2]]
        assert (answer.status, answer.content_type) == (200, kind)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert address.split("/")[1] == hashlib.sha256(body).hexdigest()[:16]


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/0000000000000000/swagger-ui.css", "/docs/%2e%2e/reference.py", "/docs/a/b/c"]
)
async def test_there_is_nothing_else(run: Running, path: str):
    """An address with another hash is none, and no name leads out of the folders."""
    answer = await read(run, path)
    assert (answer.status, answer.json["code"]) == (404, "not_found")


async def test_switched_off_there_is_nothing_at_all():
    """`DOCS=false`: the page and its files look like any other path that is not there."""
    async with running(docs=False) as run:
        for path in ("/docs", "/docs/0000000000000000/docs.js"):
            answer = await read(run, path)
            assert (answer.status, answer.json["code"]) == (404, "not_found")
        assert (await read(run, "/openapi.json")).status == 200


def test_without_its_files_the_service_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    """Whoever installed by an older command loses the page, and nothing else."""
    monkeypatch.setattr(reference, "PACKAGE", "no_such_package_of_files")
    assert bundle() is None
    with capture_logs() as logs:
        assert reference_routes(defaults_but({})) == []
    assert [line["event"] for line in logs] == ["docs.missing"]


def test_nothing_is_read_before_somebody_asks():
    """A service that is never asked does not pay for the page: not even a missing folder is noticed."""
    assert len(Reference(Path("/nowhere")).routes()) == 2
