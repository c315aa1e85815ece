"""Disks that fill up or fail under the real program, and clocks that jump: what tests of such faults stand on."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import connect
from time import monotonic
from typing import Any

import pytest

from tests.process import Outside
from tests.running import Answer, Someone

SOURCE = Path(__file__).with_name("faulty_disk.c")
DISK_SIZE = "2m"


async def eventually(condition: Callable[[], object], seconds: float = 30) -> None:
    """Until something outside of this process is so."""
    until = monotonic() + seconds
    while not condition():
        assert monotonic() < until, "it did not come to that"
        await asyncio.sleep(0.02)


def integrity(run: Outside) -> None:
    """Whether the database is sound, in all its pages and indexes."""
    with closing(connect(run.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


# ------------------------------------------------------------------ what a fault must look like


def refused(answer: Answer) -> None:
    """The store could not be used, and the caller is told when to try again."""
    assert answer.status == 503, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["code"] == "storage_unavailable"
    assert answer.json["retryable"] is True
    assert int(answer.headers["Retry-After"]) >= 1


async def guess(run: Outside, subscriber_id: str, code: str) -> Answer:
    """A call of `verify`, whatever comes of it."""
    return await run.call("POST", "/v1/otp/verify", {"subscriber_id": subscriber_id, "code": code})


async def send(run: Outside, subscriber_id: str, **fields: Any) -> Answer:
    """A call of `send`, whatever comes of it."""
    return await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id, **fields})


async def with_question(run: Outside, channel: str = "telegram") -> tuple[Someone, dict[str, Any]]:
    """Somebody who is being asked for consent, and the request."""
    person, request = run.someone(channel), await run.request()
    if not await person.open(request[f"{channel}_link"]):
        await person.say(f"otp_{request['request_id']}")
    await eventually(lambda: "Get the code" in " ".join(person.labels))
    return person, request


async def with_code(run: Outside, channel: str = "telegram") -> tuple[Someone, str]:
    """Somebody subscribed with one code that lives (the one on the screen), and their subscriber id."""
    person, request = await with_question(run, channel)
    person.touch("Get the code")
    return person, await sent(run, request)


async def sent(run: Outside, request: dict[str, Any]) -> str:
    """Wait until a request's code was sent; whose it is."""
    until = monotonic() + 30
    while "subscriber_id" not in (told := await run.status(request)):
        assert monotonic() < until, told
        await asyncio.sleep(0.05)
    return str(told["subscriber_id"])


def attempts(person: Someone) -> list[int | str]:
    """The answers to the newest update that a person sent."""
    return person.sim.deliveries[-1].attempts


def code_messages(person: Someone) -> int:
    """How many messages with a code the messenger took for a person so far, whatever they show now."""
    made = [
        call for call in person.sim.calls if call.method in ("sendMessage", "POST /messages") and call.done
    ]
    return sum("copy_text" in str(call.params) or "clipboard" in str(call.body) for call in made)


async def usable(run: Outside) -> None:
    """The service works again within seconds, by itself."""
    until = monotonic() + 20
    while (await run.call("POST", "/v1/otp/request", {})).status != 200:
        assert monotonic() < until, run.log[-2000:]
        await asyncio.sleep(0.2)


async def one_code_comes(run: Outside, person: Someone, request: dict[str, Any]) -> None:
    """The update that was refused comes again, has its effect once, and the code is good once."""
    await run.quiet()
    await eventually(lambda: person.codes)
    await run.quiet()
    assert attempts(person)[-1] == 200
    [code] = person.codes
    told = await run.status(request)
    assert told["status"] == "sent"
    assert await run.verify(told["subscriber_id"], code, request_id=request["request_id"]) == {
        "verified": True
    }
    assert (await run.verify(told["subscriber_id"], code))["reason"] == "no_active_code"


# ------------------------------------------------------------------ a disk that is full


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, with little room, at `folder`."""
    folder.mkdir(exist_ok=True)
    failed = _called("mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE},mode=700", "tmpfs", str(folder))
    if failed.returncode:
        pytest.skip(f"NOT TESTED: no file system can be mounted here ({failed.stderr.strip()})")
    try:
        yield folder
    finally:
        _called("umount", "-l", str(folder))


def resize(disk: Path, size: str) -> None:
    """A small disk gets another size, not below what is used."""
    assert _called("mount", "-o", f"remount,size={size}", str(disk)).returncode == 0


def make_read_only(disk: Path) -> None:
    """Nothing can be written to a small disk any more."""
    assert _called("mount", "-o", "remount,ro", str(disk)).returncode == 0


def _called(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program of the system says; one that is not there has failed."""
    if shutil.which(command[0]) is None:
        return subprocess.CompletedProcess(command, 127, "", f"there is no {command[0]}")
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No room is left on a small disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def no_file_grows(run: Outside) -> Iterator[None]:
    """The running process may write no byte into any file, its log included."""
    assert run.process is not None
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, unlimited)


# ------------------------------------------------------------------ a disk that fails


class FaultyDisk:
    """A library to preload, with which calls on the database's files fail as long as it is told so."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            pytest.skip("NOT TESTED: there is no C compiler to build the faulty disk with")
        self._faults = folder / "faults"
        self._faults.mkdir()
        library = folder / "faulty_disk.so"
        build = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(build, check=True)
        self.environment = {"LD_PRELOAD": str(library), "FAULTS": str(self._faults)}

    @contextmanager
    def failing(self, *what: str) -> Iterator[None]:
        """EIO for every "sync", "write" or "read" of the database's files."""
        for one in what:
            (self._faults / one).touch()
        try:
            yield
        finally:
            for one in what:
                (self._faults / one).unlink()


# ------------------------------------------------------------------ a clock that jumps


class MovableClock:
    """A wall clock for the service that can be set while it runs; the clock since boot goes on as it does."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "wall-clock"
        self.set(0)
        self.environment = {
            "LD_PRELOAD": _faketime(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Set the wall clock to so many seconds ahead of the machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}")
        new.rename(self._file)  # it is read at any moment: never half of it


def _faketime() -> str:
    """The library as `faketime` would preload it, if it works here."""
    asked = _called("faketime", "-f", "+0", "printenv", "LD_PRELOAD")
    found = asked.stdout.strip().replace("libfaketime.so.1", "libfaketimeMT.so.1")
    told = _called("date", "+%Y", LD_PRELOAD=found, FAKETIME="@2001-01-01 00:00:00")
    if told.stdout.strip() != "2001":
        pytest.skip("NOT TESTED: libfaketime is not installed, or does not work here")
    return found
