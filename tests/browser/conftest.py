"""What every browser test stands on: the real sandbox in a process of its own, and Chromium."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import CHROMIUM
from tests.process import ROOT, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

START_SECONDS = 40
NOT_FOR_THE_SANDBOX = ("TELEGRAM_BOT_TOKEN", "MAX_BOT_TOKEN", "PUBLIC_URL", "HOST", "DATABASE_URL")


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_THE_SANDBOX}
    environment["PORT"] = str(port)
    folder = tmp_path_factory.mktemp("sandbox")  # its data/ is made there, so a running sandbox is left alone
    log = folder / "output.txt"
    command = [sys.executable, str(ROOT / "main.py"), "sandbox"]
    with log.open("wb") as output:
        service = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", service, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        service.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            service.wait(timeout=15)
        service.kill()
        service.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


def wait_until_ready(url: str, service: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if service.poll() is not None:
            said = " ".join(log.read_text(errors="replace").split())
            raise RuntimeError(f"the sandbox ended with {service.returncode}: {said[-500:]}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310
            if answer.status == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"the sandbox is not ready: {log.read_text(errors='replace')[-3000:]}")
