"""The two kinds of clients, and the real service in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from calling import Caller, Service
from tapcode_client import AsyncTapcode, Tapcode

START_SECONDS = 60


@pytest.fixture(params=[Tapcode, AsyncTapcode], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    """Which client."""
    return request.param


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`main.py serve`, with a project that has a live and a test key."""
    main = os.environ.get("TAPCODE_MAIN")
    if main is None:
        pytest.skip(
            "NOT TESTED: $TAPCODE_MAIN and $TAPCODE_PYTHON name no service; `make test-client-python` does"
        )
    python = os.environ.get("TAPCODE_PYTHON", sys.executable)
    folder = tmp_path_factory.mktemp("service")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PORT": str(port),
        "SECRET_KEYS": "k" * 40,
        "MAX_BOT_TOKEN": "a-token-of-the-tests",
        "MAX_API_URL": "http://127.0.0.1:9",
        "MAX_BOT_USERNAME": "id1_bot",
        "EVENTS_ALLOW_PRIVATE": "true",
    }
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [python, main, "serve"], cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(url, process, log)
        made = _told(
            [python, main, "project", "create", "--name", "Shop", "--description", "", "--json"],
            folder,
            environment,
        )
        test = _told(
            [python, main, "project", "rotate-key", made["id"], "--test", "--json"], folder, environment
        )
        yield Service(url, test["api_key"], made["api_key"])
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def client(kind: Any, service: Service) -> Caller:
    """A client of the real service, in test mode."""
    return Caller(kind(service.test_key, service.url))


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Every client of a test is closed behind it."""
    yield
    while Caller.open:
        Caller.open.pop().close()


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"{url}/readyz", timeout=5).raise_for_status()
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(log.read_text()[-3000:]) from None
            time.sleep(0.05)
        else:
            return


def _told(command: list[str], folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return dict(json.loads(done.stdout))
