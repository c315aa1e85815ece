"""A real Prometheus over a real service: the dashboard, the rules, and the form of what is told."""

from __future__ import annotations

import asyncio
import json
import math
import re
from pathlib import Path

import aiohttp
import pytest

from otp.model import Channel
from sandbox.wire import Fault
from tests.attempts import SENDING
from tests.prometheus import (
    ALERTS,
    DASHBOARD,
    TOKEN,
    alert_names,
    dashboard_queries,
    needs_prometheus,
    promtool,
    watched,
)
from tests.running import Running, running

RULES = ALERTS.read_text(encoding="utf-8")
BOARD = DASHBOARD.read_text(encoding="utf-8")


def test_the_dashboard_asks_one_data_source_for_one_job() -> None:
    """Whoever imports it chooses both; every panel has its place and says what it shows."""
    board = json.loads(BOARD)
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "job"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == chosen, panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == chosen, panel["title"]
            asked = target["expr"]
            selectors = re.findall(r"\b(?:tapcode_\w+|process_\w+|up)\{([^}]*)\}", asked)
            assert len(selectors) == len(re.findall(r"\b(?:tapcode_|process_|up\{)", asked)), asked
            assert all('job=~"$job"' in one for one in selectors), asked
            assert selectors or "ALERTS{" in asked, asked


async def traffic(run: Running) -> None:
    """People who get in, one who mistypes, one who cancels, one who has blocked the bot."""
    for channel in Channel:
        person = run.someone(channel)
        subscriber_id = await run.subscriber(person)
        for code in ("000000", person.codes[-1]):
            await run.verify(subscriber_id, code)
        await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
        person.sim.faults.append(Fault(SENDING, status=400))
        await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
    person = run.someone()
    await person.open((await run.request())["telegram_link"])
    await person.press("Cancel")


@needs_prometheus
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_query_has_an_answer(tmp_path: Path) -> None:
    """Of the dashboard and of the rules; all is well, so no alert fires."""
    async with watched(tmp_path) as (made, watching):
        for _ in range(5):
            await traffic(made.run)
            await asyncio.sleep(1)
        asked = list(dashboard_queries(BOARD, window="20s"))
        assert len(asked) > 50
        for title, query in asked:
            found = await watching.query(query)
            assert found, (title, query)
            rate = re.search(r"rate|increase|histogram_quantile", query)
            assert rate or all(not math.isnan(value) for _, value in found), (title, query, found)
        rules = await watching.rules()
        assert [rule["name"] for rule in rules] == alert_names(RULES)
        for rule in rules:
            await watching.query(rule["query"])
            assert rule["health"] == "ok", rule
            assert not rule.get("lastError"), rule
        known = set(await watching.ask("label/__name__/values"))
        wanted = set(re.findall(r"\b(?:tapcode|process)_\w+", RULES + BOARD)) - {"tapcode_"}
        assert wanted <= known, wanted - known
        assert await watching.alerts() == {}


@needs_prometheus
@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_promtool_finds_nothing_wrong_with_the_figures(tmp_path: Path) -> None:
    """Names, units, help: by Prometheus' conventions."""
    async with running(metrics_token=TOKEN) as run:
        await traffic(run)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession() as http, http.get(f"{run.url}/metrics", headers=headers) as answer:
            told = await answer.read()
    code, said = await promtool("check", "metrics", given=told)
    assert (code, said) == (0, "")
