"""What the tests of the examples stand on: the sandbox and a site in processes of their own, and a person with phones."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.process import ROOT, free_port

START_SECONDS = 60


def fetched(port: int, path: str, body: Any = None, timeout: float = 30) -> tuple[int, bytes]:
    """One call on loopback; a body makes it a POST."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        connection.request(
            "GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def started(
    command: Sequence[str], folder: Path, log: Path, port: int, path: str, environment: Mapping[str, str]
) -> Iterator[None]:
    """A program, from its first answer to its end."""
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**clean, **environment}, stdout=output, stderr=output
        )
    try:
        until = time.monotonic() + START_SECONDS
        while not answers(port, path):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(port: int, path: str) -> bool:
    try:
        return fetched(port, path)[0] == 200
    except OSError:
        return False


@dataclass
class Sandbox:
    """The sandbox: its address, its key and its phones."""

    port: int
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def phone(self, channel: str) -> Phone:
        """A phone in the hands of somebody new."""
        phone = Phone(self.port, channel)
        phone.act("new-person")
        return phone

    def status(self, request_id: str) -> str:
        """What the service says of a request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        path = f"/v1/otp/request/{request_id}/status"
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.key}"})
        told = json.load(connection.getresponse())
        connection.close()
        return str(told["status"])


@dataclass
class Phone:
    """One messenger on a person's phone."""

    port: int
    channel: str

    def act(self, name: str, **body: Any) -> Any:
        status, told = fetched(self.port, f"/sandbox/{self.channel}/{name}", body)
        assert status == 200, told
        return json.loads(told)

    @property
    def messages(self) -> list[Any]:
        """The bot's messages, oldest first."""
        state = json.loads(fetched(self.port, "/sandbox/state")[1])
        return [one for one in state["phones"][self.channel]["messages"] if one["author"] == "bot"]

    def press(self, label: str) -> None:
        """Press the newest button whose label begins so, as soon as it is there."""

        def pressed() -> bool:
            for message in reversed(self.messages):
                for row, buttons in enumerate(message["buttons"]):
                    for column, button in enumerate(buttons):
                        if button["label"].startswith(label):
                            self.act("press", message_id=message["id"], row=row, column=column)
                            return True
            return False

        soon(pressed, lambda: f"no button {label!r}: {self.messages}")

    def code(self) -> str:
        """The newest code on the screen, as soon as there is one. The bot takes back what was used."""
        found: list[str] = []

        def arrived() -> bool:
            lines = [one["text"].split("\n")[0] for one in self.messages]
            found[:] = [line for line in lines if re.fullmatch("[0-9]{6}", line)]
            return bool(found)

        soon(arrived, lambda: f"no code: {self.messages}")
        return found[-1]


def soon(done: Any, otherwise: Any) -> None:
    until = time.monotonic() + 10
    while not done():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.02)


@contextmanager
def sandbox(folder: Path) -> Iterator[Sandbox]:
    """The sandbox, with a database of its own."""
    port = free_port()
    command = [sys.executable, str(ROOT / "main.py"), "sandbox"]
    with started(command, folder, folder / "sandbox.log", port, "/readyz", {"PORT": str(port)}):
        key = json.loads(fetched(port, "/sandbox/state")[1])["facts"]["api_key"]
        yield Sandbox(port, key)


@contextmanager
def fastapi(folder: Path, environment: Mapping[str, str], port: int | None = None) -> Iterator[int]:
    """The FastAPI example; its port, any one where none is asked for."""
    port, place = port or free_port(), ROOT / "examples" / "fastapi"
    python = str(ROOT / ".venv" / "example-fastapi" / "bin" / "python")
    command = [
        python,
        "-m",
        "uvicorn",
        "--app-dir",
        str(place),
        "--port",
        str(port),
        "--timeout-graceful-shutdown",
        "1",
        "app:app",
    ]
    with started(command, place, folder / "site.log", port, "/", environment):
        yield port


@contextmanager
def django(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """The Django example, with a database of its own; its port."""
    port, place = free_port(), ROOT / "examples" / "django"
    manage = [str(ROOT / ".venv" / "example-django" / "bin" / "python"), "manage.py"]
    settings = {**environment, "DJANGO_DATABASE": str(folder / "db.sqlite3")}
    for command in (["migrate", "--verbosity", "0"], ["makemigrations", "--check", "--dry-run"]):
        subprocess.run([*manage, *command], cwd=place, env={**os.environ, **settings}, check=True, timeout=60)
    command = [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]
    with started(command, place, folder / "site.log", port, "/", settings):
        yield port
