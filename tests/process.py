"""The real program in processes of its own: its commands, and the service with simulated messengers in this process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import aiohttp

from sandbox.demo import PUBLIC_URL, Demo
from tests.running import Between, Site

ROOT = Path(__file__).parent.parent
API_KEY = "tc_live_" + "t" * 40


def tapcode(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder of its own."""
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def start(folder: Path, port: int, **environment: str) -> subprocess.Popen[str]:
    """The real service, without a messenger that answers."""
    settings = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "SECRET_KEYS": "k" * 40,
        "MAX_BOT_TOKEN": "a-token-of-the-tests",
        "MAX_API_URL": "http://127.0.0.1:9",
        "MAX_BOT_USERNAME": "id1_bot",
        "LOG_FORMAT": "json",
        "PROJECT_NAME": "Shop",
        "PROJECT_API_KEY": API_KEY,
        **environment,
    }
    command = [sys.executable, str(ROOT / "main.py"), "serve"]
    return subprocess.Popen(
        command, cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def until_serving(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Read the log up to the line that says so."""
    lines: list[dict[str, Any]] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(json.loads(line))
        if lines[-1]["event"] == "serving":
            return lines
    raise AssertionError(lines)


# ------------------------------------------------------------------ with messengers


@dataclass
class Outside(Site):
    """The real service in a process that can be killed, stopped and started again over the same files."""

    folder: Path
    environment: dict[str, str]
    prefix: Sequence[str] = ()
    """Programs in front of Python, such as `faketime`."""
    root: Path = ROOT
    """Where the program lies."""
    process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        """Where the service listens."""
        return int(self.url.rsplit(":", 1)[1])

    @property
    def database(self) -> Path:
        """The database's file."""
        return self.folder / "data" / "tapcode.db"

    @property
    def log(self) -> str:
        """All that the service has written so far, over all its starts."""
        return (self.folder / "log").read_text(encoding="utf-8")

    async def start(self, **environment: str) -> None:
        """Start the service and wait until it is ready; settings given here stay for later starts."""
        self.environment |= environment
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *[*self.prefix, sys.executable, str(self.root / "main.py"), "serve"],
                cwd=self.folder,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = monotonic() + 90  # a machine may be busy with other tests
        while not await self.ready():
            assert self.process.returncode is None, self.log[-3000:]
            assert monotonic() < until, f"not ready: {self.log[-3000:]}"
            await asyncio.sleep(0.02)

    async def ready(self) -> bool:
        """Whether the service answers and knows its bots."""
        try:
            async with self.http.get(f"{self.url}/readyz") as answer:
                told = await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False
        return answer.status == 200 and all(one["bot"] for one in told["channels"].values())

    async def kill(self) -> None:
        """SIGKILL: nothing is finished, nothing is said."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def start_and_kill(self, seconds: float) -> None:
        """Start, and SIGKILL so long after the process was there, ready or not."""
        before = self.process
        starting = asyncio.ensure_future(self.start())
        for _ in range(5000):
            if self.process is not before:
                break
            await asyncio.sleep(0.002)
        await asyncio.wait([starting], timeout=seconds)
        await self.kill()
        await asyncio.gather(starting, return_exceptions=True)

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def quiet(self) -> None:
        """Until every update had its answer, and the bots call no more for a moment."""
        still, calls = 0, -1
        async with asyncio.timeout(30):
            while still < 5:
                await self.demo.telegram.settled()
                await self.demo.max.settled()
                made = len(self.demo.telegram.calls) + len(self.demo.max.calls)
                still = still + 1 if made == calls and self.answered() else 0
                calls = made
                await asyncio.sleep(0.02)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def outside(
    folder: Path,
    *,
    prefix: Sequence[str] = (),
    between: Between | None = None,
    root: str = str(ROOT),
    **environment: str,
) -> AsyncIterator[Outside]:
    """The real service with both messengers, started; killed at the end. The environment overrides its settings."""
    url = f"http://127.0.0.1:{free_port()}"
    demo = Demo(url, lambda: time_ns() // 1_000_000)
    await demo.start()
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PORT": url.rsplit(":", 1)[1],
        "SECRET_KEYS": "the-key-of-a-process-" + "k" * 20,
        "PUBLIC_URL": PUBLIC_URL,
        "TELEGRAM_BOT_TOKEN": demo.telegram_token,
        "MAX_BOT_TOKEN": demo.max_token,
        "TELEGRAM_API_URL": demo.telegram_url,
        "MAX_API_URL": demo.max_url,
        "PROJECT_NAME": "Shop",
        "PROJECT_API_KEY": API_KEY,
        "SEND_LIMIT": "100000",
        "REQUESTS_PER_MINUTE": "1000000",
        "STATUS_READS_PER_MINUTE": "1000000",
        "REPLIES_PER_MINUTE": "100000",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
        **({name.upper(): value for name, value in (await between(demo)).items()} if between else {}),
        **environment,
    }
    try:
        # A new connection for each call: one to a process that was killed since can not be used again.
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
            one = Outside(demo, url, http, API_KEY, folder, settings, prefix, root=Path(root))
            try:
                await one.start()
                yield one
            finally:
                if one.process is not None:
                    await one.kill()
    finally:
        await demo.close()
