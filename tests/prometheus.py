"""Prometheus for tests: what a scrape says, read; and a real server that scrapes, evaluates rules and fires alerts.

async with prometheus(tmp_path, target, rules=hurried(ALERTS.read_text())) as watching:
    await watching.until("tapcode_store_up")
    await watching.fires("StoreUnavailable")
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.doctoring import Installation, installation
from tests.process import ROOT, free_port

T = TypeVar("T")

PROGRAM = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
PROMTOOL = shutil.which("promtool", path=f"{Path(PROGRAM).parent}:{os.environ['PATH']}") if PROGRAM else None
needs_prometheus = pytest.mark.skipif(
    PROGRAM is None or PROMTOOL is None,
    reason="NO PROMETHEUS HERE: install it (Debian: apt-get install --no-install-recommends prometheus), or set PROMETHEUS",
)

ALERTS = ROOT / "deploy" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana.json"
TOKEN = "the-token-of-a-real-prometheus"
TIMES = 60
"""How much faster hurried rules are: a minute is a second."""
SHORTEST_SECONDS = 5
"""A rate needs some scrapes."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


# ------------------------------------------------------------------ what a scrape says


class Samples(dict[tuple[str, frozenset[tuple[str, str]]], float]):
    """The samples of a scrape by their names and labels."""

    @classmethod
    def read(cls, text: str) -> Samples:
        """Out of Prometheus' text."""
        families = text_string_to_metric_families(text)
        return cls(
            ((one.name, frozenset(one.labels.items())), one.value)
            for family in families
            for one in family.samples
        )

    def of(self, name: str, **labels: str) -> float:
        """One sample."""
        return self[name, frozenset(labels.items())]

    def has(self, name: str, **labels: str) -> bool:
        """Whether there is such a sample."""
        return (name, frozenset(labels.items())) in self

    def total(self, name: str, **labels: str) -> float:
        """The sum of all that have these labels, and perhaps others."""
        return sum(value for (one, words), value in self.items() if one == name and labels.items() <= words)

    @property
    def words(self) -> set[str]:
        """All values of labels but the bounds of buckets."""
        return {value for _, labels in self for name, value in labels if name != "le"}


# ------------------------------------------------------------------ rules and dashboards


def hurried(rules: str, times: int = TIMES) -> str:
    """Alert rules whose waits (`for:`, ranges, what is foretold) are so many times shorter: a test sees them fire."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * _UNITS[found[3]] // times
        least = SHORTEST_SECONDS if found[1] == "[" else 1
        return f"{found[1]}{max(least, seconds)}s"

    rules = re.sub(r"(predict_linear\(.+\[.+\], )([^)]+)\)", rf"\1\2 / {times})", rules)
    return re.sub(r"(\[|for: )(\d+)([smhd])", shorter, rules)


def alert_names(rules: str) -> list[str]:
    """The alerts of a file of rules."""
    return re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE)


def dashboard_queries(dashboard: str, window: str = "1m") -> Iterator[tuple[str, str]]:
    """Each panel's title and query, as Grafana would ask it over everything for such a window."""
    made = json.loads(dashboard)
    variables = {"$__rate_interval": window, "$__range": window, "$job": ".+", "${datasource}": ""}
    for panel in made["panels"]:
        for target in panel.get("targets", ()):
            asked = target["expr"]
            for name, value in variables.items():
                asked = asked.replace(name, value)
            yield panel["title"], asked


# ------------------------------------------------------------------ a real one


class Prometheus:
    """A server that runs."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self._http = http

    async def ask(self, path: str, **given: str) -> Any:
        """A call of its API. Raises `AssertionError` with what it says is wrong."""
        async with self._http.get(f"{self.url}/api/v1/{path}", params=given) as answer:
            told = await answer.json()
        assert told["status"] == "success", (given, told)
        return told["data"]

    async def query(self, asked: str) -> list[tuple[Mapping[str, str], float]]:
        """What a query gives now: labels and values."""
        found = (await self.ask("query", query=asked))["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    async def until(self, asked: str, seconds: float = 30) -> list[tuple[Mapping[str, str], float]]:
        """Wait until a query gives something; that."""
        return await _until(lambda: self.query(asked), seconds)

    async def rules(self) -> list[dict[str, Any]]:
        """All rules, as they were read."""
        return [rule for group in (await self.ask("rules"))["groups"] for rule in group["rules"]]

    async def alerts(self, state: str = "firing") -> dict[str, list[dict[str, str]]]:
        """The labels of the alerts that are in this state, by name."""
        found: dict[str, list[dict[str, str]]] = {}
        for one in (await self.ask("alerts"))["alerts"]:
            if one["state"] == state:
                found.setdefault(one["labels"]["alertname"], []).append(one["labels"])
        return found

    async def fires(self, name: str, seconds: float = 90, **labels: str) -> dict[str, str]:
        """Wait until an alert fires; its labels. An hour of `for:` is a minute in hurried rules."""

        async def firing() -> list[dict[str, str]]:
            return [one for one in (await self.alerts()).get(name, ()) if labels.items() <= one.items()]

        return (await _until(firing, seconds))[0]

    async def falls_silent(self, name: str, seconds: float = 60) -> None:
        """Wait until an alert fires no more."""

        async def silent() -> bool:
            return name not in await self.alerts()

        await _until(silent, seconds)


async def _until(look: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Look again and again until there is something; that."""
    async with asyncio.timeout(seconds):
        while True:
            if found := await look():
                return found
            await asyncio.sleep(0.1)


def _configuration(target: str, rules: Path | None, token: str | None, every: str) -> str:
    """JSON is YAML."""
    job: dict[str, Any] = {"job_name": "tapcode", "static_configs": [{"targets": [target]}]}
    if token is not None:
        job["authorization"] = {"credentials": token}
    made = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [] if rules is None else [str(rules)],
        "scrape_configs": [job],
    }
    return json.dumps(made)


@asynccontextmanager
async def prometheus(
    folder: Path, target: str, *, rules: str | None = None, token: str | None = None, every: str = "500ms"
) -> AsyncIterator[Prometheus]:
    """A server that scrapes `target` (host:port) as the job `tapcode`, and knows these rules."""
    assert PROGRAM is not None
    place = folder / "prometheus"
    place.mkdir()
    ruled = None if rules is None else place / "alerts.yml"
    if ruled is not None:
        ruled.write_text(rules or "", encoding="utf-8")
    (place / "prometheus.yml").write_text(_configuration(target, ruled, token, every), encoding="utf-8")
    port = free_port()
    with (place / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            f"--config.file={place}/prometheus.yml",
            f"--storage.tsdb.path={place}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as http:
            made = Prometheus(f"http://127.0.0.1:{port}", http)

            async def ready() -> bool:
                assert process.returncode is None, (place / "log").read_text()
                return await _is_ready(made, http)

            await _until(ready, 30)
            yield made
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _is_ready(made: Prometheus, http: aiohttp.ClientSession) -> bool:
    try:
        async with http.get(f"{made.url}/-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def watched(
    folder: Path, *, times: int = TIMES, disk: Path | None = None, **settings: Any
) -> AsyncIterator[tuple[Installation, Prometheus]]:
    """An installation that is well, and a Prometheus that knows all our rules, hurried.

    `disk`: where the installation is, if not beside the Prometheus.
    """
    port = free_port()
    async with installation(disk or folder, metrics_port=port, metrics_token=TOKEN, **settings) as made:
        await made.measured()
        rules = hurried(ALERTS.read_text(encoding="utf-8"), times)
        async with prometheus(folder, f"127.0.0.1:{port}", rules=rules, token=TOKEN) as watching:
            await watching.until('up{job="tapcode"} == 1')
            await watching.falls_silent("TargetDown")  # rules are judged before the first scrape too
            yield made, watching


async def promtool(*arguments: str, given: bytes | None = None) -> tuple[int, str]:
    """Run Debian's checker: its exit code, and all that it says."""
    assert PROMTOOL is not None
    process = await asyncio.create_subprocess_exec(
        PROMTOOL,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate(given)
    return process.returncode or 0, told.decode()
