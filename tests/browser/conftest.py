"""What every browser test stands on: the real sandbox in a process of its own, and Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browsing import chromium, sandbox

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox(
        tmp_path_factory.mktemp("sandbox")
    ) as url:  # its data is there, so a running sandbox is left alone
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started
