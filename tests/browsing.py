"""What tests in a real browser stand on: the sandbox in a process of its own, Chromium, and a phone of its page.

For the tests of that page, and of the sites in `examples/`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process import ROOT, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
START_SECONDS = 40
NOT_FOR_THE_SANDBOX = ("TELEGRAM_BOT_TOKEN", "MAX_BOT_TOKEN", "PUBLIC_URL", "HOST", "DATABASE_URL")

in_a_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not Path(CHROMIUM).exists(),
        reason=f"NOT TESTED: no Chromium at {CHROMIUM}; install it or name one in $CHROMIUM",
    ),
]
"""The marks of every module of tests that drives one."""


@contextlib.contextmanager
def sandbox(folder: Path) -> Iterator[str]:
    """The sandbox, with its data in that folder, so that a running one is left alone; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_THE_SANDBOX}
    command = [sys.executable, str(ROOT / "main.py"), "sandbox"]
    with served(command, f"{url}/readyz", folder, {**environment, "PORT": str(port)}):
        yield url


@contextlib.contextmanager
def served(command: Sequence[str], url: str, folder: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """A program that serves, once that address answers 200; ended afterwards."""
    log = folder / "output.txt"
    with log.open("wb") as output:
        service = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        _wait_until_ready(url, service, log)
        yield
    finally:
        service.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.wait(timeout=15)
        service.kill()
        service.wait()


def _wait_until_ready(url: str, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            said = " ".join(log.read_text(errors="replace").split())
            raise RuntimeError(f"the program ended with {service.returncode}: {said[-500:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            if answer.status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"the program is not ready: {log.read_text(errors='replace')[-3000:]}")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Phone:
    """A phone on the sandbox's page, in the hands of a person who speaks English."""

    page: Page
    channel: str

    def renew(self) -> None:
        """Give it to a new person, with an empty chat."""
        self.page.locator(f".{self.channel} .new-person").click()
        self.page.locator(f".{self.channel} [data-language=en]").click()
        self.page.locator(f".{self.channel} [data-language=en][aria-pressed=true]").wait_for()
        self.page.locator(f".{self.channel} .empty").wait_for()

    def say(self, text: str) -> None:
        """Type a message."""
        self.page.locator(f".{self.channel} .composer input").fill(text)
        self.page.keyboard.press("Enter")

    def press(self, label: str) -> None:
        """Press the newest button with this label."""
        self.page.locator(f".{self.channel} .key", has_text=label).last.click()

    def code(self) -> str:
        """The newest code in the chat, which may have to arrive."""
        bubble = self.page.locator(f".{self.channel} .message:has(.key.copy) .bubble").last
        return bubble.inner_text().split()[0]


def violations(page: Page) -> list[str]:
    """What axe-core finds on a page and in its frames: rule and place."""
    from axe_playwright_python.base import AXE_SCRIPT

    found = []
    for frame in page.frames:
        frame.evaluate(AXE_SCRIPT)
        told = frame.evaluate("axe.run(document, { resultTypes: ['violations'], iframes: false })")
        found += [f"{one['id']}: {node['target']}" for one in told["violations"] for node in one["nodes"]]
    return found
