"""What operators can look at: a project and its keys, and the audit trail, as the owner of the store tells them."""

from __future__ import annotations

import json
from functools import partial

import pytest

from api.admin import Refused, perform
from api.event_commands import perform_events
from api.reports import perform_audit, show_project
from otp.audit import acting
from otp.model import Mode
from otp.policy import HOUR_MS
from otp.projects import Change, PageChange
from tests.fakes import FakeClock
from tests.hearing import hearing
from tests.test_printing import printed
from tests.world import World


async def test_a_project_is_shown_with_its_keys_and_nothing_of_them(
    world: World, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which work, since when and until when, of which mode."""
    made = await world.projects.create("Daisy", "Flowers, delivered")
    shown = {"id": made.project.id}
    clock.advance(ms=HOUR_MS)
    newer = await world.projects.rotate_key(made.project.id, 24)
    test = await world.projects.rotate_key(made.project.id, 0, Mode.TEST)
    told = await show_project(world.store, shown)
    assert told["keys"] == [
        {"mode": "live", "created_at": "2027-01-15T08:00:00.000Z", "ends_at": "2027-01-16T09:00:00.000Z"},
        {"mode": "live", "created_at": "2027-01-15T09:00:00.000Z"},
        {"mode": "test", "created_at": "2027-01-15T09:00:00.000Z"},
    ]
    for key in (made.api_key, newer.api_key, test.api_key):
        assert key[-4:] not in json.dumps(told)
    assert printed(capsys, f"project show {made.project.id}", told) == [
        "Daisy",
        f"  id           {made.project.id}",
        "  description  Flowers, delivered",
        "  state        enabled",
        "  created      2027-01-15 08:00:00",
        "  keys         live, since 2027-01-15 08:00:00, until 2027-01-16 09:00:00",
        "               live, since 2027-01-15 09:00:00",
        "               test, since 2027-01-15 09:00:00",
        "Times are UTC.",
    ]
    clock.advance(ms=24 * HOUR_MS)
    assert len((await show_project(world.store, shown))["keys"]) == 2


async def test_a_project_is_shown_with_its_page_and_its_webhooks(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an address no more than its host: sites put secrets there."""
    shop = world.caller.project
    page = PageChange(return_urls=["https://shop.example/back"], color="#336699")
    await world.projects.update(shop.id, Change(site_url="https://shop.example/", page=page))
    await world.projects.set_enabled(shop.id, False)
    await world.projects.set_enabled(shop.id, True)
    await hearing(world).endpoints.create(world.caller, "https://hooks.example/a-secret")
    told = await show_project(world.store, {"id": shop.id.upper()})
    assert "a-secret" not in json.dumps(told)
    lines = printed(capsys, f"project show {shop.id}", told)
    assert "  return URLs  https://shop.example/back" in lines
    assert "  colour       #336699" in lines
    [webhook] = [line for line in lines if "webhooks" in line]
    assert webhook.endswith("hooks.example (live, on)")


@pytest.mark.parametrize(
    "given,told", [("00000000-0000-4000-8000-00000000dead", "project list"), ("x", "UUID")]
)
async def test_a_project_that_is_none(world: World, given: str, told: str) -> None:
    """Says what to look for."""
    with pytest.raises(Refused, match=told):
        await show_project(world.store, {"id": given})


async def test_the_trail_is_told(world: World, clock: FakeClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Of as long as was asked for."""
    clock.advance(ms=8 * 24 * HOUR_MS)
    with acting("ann"):
        await world.projects.set_enabled(world.caller.project.id, False)
    told = await perform_audit(world.store, {})
    assert told == [
        {
            "at": "2027-01-23T08:00:00.000Z",
            "by": "ann",
            "what": "project.disable",
            "subject": world.caller.project.id,
            "detail": "Shop",
        }
    ]
    assert printed(capsys, "audit", told) == [
        f"2027-01-23 08:00:00  ann  project.disable  {world.caller.project.id}",
        "                     Shop",
    ]
    assert len(await perform_audit(world.store, {"since": 9 * 24 * HOUR_MS})) == 3


@pytest.mark.parametrize(
    "command,told",
    [
        ({"verb": "list", "project": "00000000-0000-4000-8000-00000000dead"}, "project list"),
        ({"verb": "list", "project": "x"}, "UUID"),
        ({"verb": "redeliver", "id": "evt_x"}, "events list"),
    ],
)
async def test_events_that_are_none(world: World, command: dict[str, str], told: str) -> None:
    """A wrong id is not an empty list, and says what to look for."""
    run = partial(perform_events, hearing(world).endpoints)
    with pytest.raises(Refused, match=told):
        await perform({"events": run}, {"group": "events", **command})
