"""What a service weighs that does nothing, and how soon it answers: with each messenger alone, with both, with none.

    python -m bench.idle [--folder FOLDER] [--rounds 5]

Each round starts the service anew over its database of before. Measured are the seconds from its start to its first answer
(`/healthz`), the CPU that they took, and its memory a moment later. A service does not start without a messenger: for
"no messenger" they are left out after its settings were read. What the import of aiogram and of maxapi costs is told
apart, in processes of their own: aiogram as it comes, and as the service imports it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from bench.hot import KEY
from bench.load import cpu_seconds
from bench.results import save
from tests.process import ROOT, free_port

MAX: Final = {
    "MAX_BOT_TOKEN": "bench-" + "x" * 40,
    "MAX_API_URL": "http://127.0.0.1:9",
    "MAX_BOT_USERNAME": "id1_bot",
}
TELEGRAM: Final = {
    "TELEGRAM_BOT_TOKEN": "7000000001:" + "x" * 35,
    "TELEGRAM_API_URL": "http://127.0.0.1:9",
    "TELEGRAM_BOT_USERNAME": "bench_bot",
}
SERVE: Final = ("main.py", "serve")
BARE: Final = (
    "-c",
    "import sys, main, wiring.serving; wiring.serving.make_skins = lambda _: {}; sys.exit(main.main(['serve']))",
)
SERVICES: Final = {
    "no messenger": (BARE, MAX),
    "MAX": (SERVE, MAX),
    "Telegram": (SERVE, TELEGRAM),
    "both": (SERVE, MAX | TELEGRAM),
}
IMPORTS: Final = {
    "Python alone": "pass",
    "aiohttp and pydantic": "import aiohttp.web, pydantic",
    "maxapi, with them": "import aiohttp.web, pydantic, maxapi",
    "aiogram as it comes, with them": "import aiohttp.web, pydantic, aiogram",
    "aiogram as imported here, with them": "import aiohttp.web, pydantic, bot.light_aiogram",
}
SETTLE: Final = 2.0


def resident(pid: int) -> float:
    """Megabytes of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def start(command: tuple[str, ...], folder: Path, given: dict[str, str]) -> dict[str, float]:
    """Start once, and end."""
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'idle.db'}",
        "SECRET_KEYS": KEY,
        "PUBLIC_URL": "https://bench.tapcode.invalid",
        **given,
    }
    began = perf_counter()
    process = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with (
                suppress(URLError, OSError),
                urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as answer,
            ):
                answer.read()
                break
            assert process.poll() is None, "it did not start"
            sleep(0.005)
        took, cpu = perf_counter() - began, cpu_seconds(process.pid)
        sleep(SETTLE)
        return {"seconds": took, "cpu_seconds": cpu, "mb": resident(process.pid)}
    finally:
        process.terminate()
        process.wait()


def imported(code: str) -> dict[str, float]:
    """What an import costs, in a process of its own."""
    program = f"import time\n{code}\nprint(time.process_time())\nprint(open('/proc/self/status').read())"
    printed = subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    memory = next(int(line.split()[1]) / 1024 for line in printed if line.startswith("VmRSS"))
    return {"cpu_seconds": float(printed[0]), "mb": memory}


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure by itself."""
    return {key: round(statistics.median(one[key] for one in rounds), 3) for key in rounds[0]}


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Interleaved, after a first start of each that warms the disk's cache and makes the database."""
    started: dict[str, list[dict[str, float]]] = {name: [] for name in SERVICES}
    loaded: dict[str, list[dict[str, float]]] = {name: [] for name in IMPORTS}
    for turn in range(rounds + 1):
        for name, (command, given) in SERVICES.items():
            found = start(command, folder, given)
            if turn:
                started[name].append(found)
        for name, code in IMPORTS.items():
            if turn:
                loaded[name].append(imported(code))
    services = {name: middle(some) for name, some in started.items()}
    imports = {name: middle(some) for name, some in loaded.items()}
    for name, one in services.items():
        print(
            f"{name:36} {one['mb']:6.1f} MB, first answer after {one['seconds']:.2f} s ({one['cpu_seconds']:.2f} s of CPU)"
        )
    for name, one in imports.items():
        print(f"{name:36} {one['mb']:6.1f} MB, {one['cpu_seconds']:.2f} s of CPU")
    return {"rounds": rounds, "services": services, "imports": imports}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as made:
        save("idle", measure(Path(made), args.rounds))
