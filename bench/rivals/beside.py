"""Starts what is measured beside tapcode, with a code for each call: FastAPI over Redis, django-otp over SQLite."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

from bench.hot import served
from bench.load import raw
from tests.process import ROOT, free_port

API_KEY: Final = "a-key-of-the-bench-" + "k" * 20
HEADERS: Final = {"Authorization": f"Bearer {API_KEY}"}
REDIS_MOST: Final = 8_000
DJANGO_MOST: Final = 1_500
"""Calls a second for which there are codes."""


@dataclass(frozen=True, slots=True)
class Rival:
    """Where it answers, which processes work for it, and the calls that use up its codes."""

    name: str
    port: int
    pids: tuple[int, ...]
    calls: Iterator[bytes]


def guesses(codes: list[str]) -> Iterator[bytes]:
    """One for each code; subscribers are numbered from 1."""
    for number, code in enumerate(codes, 1):
        body = json.dumps({"subscriber_id": str(number), "code": code}).encode()
        yield raw("POST", "/verify", body, HEADERS)


def fresh(many: int) -> list[str]:
    """So many codes."""
    return [f"{secrets.randbelow(10**6):06}" for _ in range(many)]


@contextmanager
def rivals(folder: Path, seconds: float) -> Iterator[list[Rival]]:
    """All that can be had here, for so many seconds of calls; a line about each that can't."""
    found: list[Rival] = []
    with ExitStack() as stack:
        server = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
        if server is None:
            print("no Redis: apt-get install redis-server, or set REDIS_SERVER to the program; skipped")
        elif _have("fastapi", "redis", "uvicorn"):
            for name, options in (
                ("FastAPI, Redis", []),
                ("FastAPI, Redis, fsync always", ["--appendonly", "yes", "--appendfsync", "always"]),
            ):
                codes = fresh(int(seconds * REDIS_MOST))
                found.append(stack.enter_context(_redis(name, server, options, folder, codes)))
        if _have("django", "django_otp", "gunicorn"):
            found.append(stack.enter_context(_django(folder, fresh(int(seconds * DJANGO_MOST)))))
        yield found


def _have(*modules: str) -> bool:
    missing = [one for one in modules if importlib.util.find_spec(one) is None]
    if missing:
        print(f"not installed: {', '.join(missing)} (`make bench` installs requirements/bench.txt); skipped")
    return not missing


@contextmanager
def _redis(name: str, server: str, options: list[str], folder: Path, codes: list[str]) -> Iterator[Rival]:
    from redis import Redis  # noqa: PLC0415  # a rival is loaded only where it is measured

    port, store = free_port(), free_port()
    home = folder / f"redis-{store}"
    home.mkdir()
    command = [server, "--port", str(store), "--bind", "127.0.0.1", "--dir", str(home), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # the operator's own program
    try:
        client = Redis(port=store)
        _until_answers(client.ping)
        together = client.pipeline(transaction=False)
        for number, code in enumerate(codes, 1):
            together.hset(f"code:{number}", "code", code)
            together.expire(f"code:{number}", 3600)
            if number % 10_000 == 0:
                together.execute()
        together.execute()
        app = (
            "-m",
            "uvicorn",
            "bench.rivals.fastapi_redis:app",
            "--port",
            str(port),
            "--no-access-log",
            "--log-level",
            "error",
        )
        with served(*app, port=port, API_KEY=API_KEY, REDIS_PORT=str(store)) as pid:
            yield Rival(name, port, (pid, process.pid), guesses(codes))
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _django(folder: Path, codes: list[str]) -> Iterator[Rival]:
    port = free_port()
    module = "bench.rivals.django_otp_email"
    environment = {"API_KEY": API_KEY, "DATABASE": str(folder / "django.db")}
    subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        input=json.dumps(codes).encode(),
        check=True,
    )
    # Its default worker hangs up after each answer; this is the one that keeps connections.
    options = ("--worker-class", "gthread", "--threads", "4", "--keep-alive", "75", "--log-level", "warning")
    app = ("-m", "gunicorn", f"{module}:application", "--bind", f"127.0.0.1:{port}", *options)
    with served(*app, port=port, **environment) as pid:
        worker = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        yield Rival("django-otp, SQLite", port, (worker,), guesses(codes))


def _until_answers(ping: Callable[[], object]) -> None:
    end = perf_counter() + 20
    while perf_counter() < end:
        with suppress(Exception):  # the client's own errors, whose types are not loaded here
            ping()
            return
        sleep(0.05)
    raise RuntimeError("Redis does not answer")
