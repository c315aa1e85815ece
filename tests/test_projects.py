"""The lives of projects: what an operator and the settings can change."""

from __future__ import annotations

import pytest

from otp.codes import key_hash
from otp.errors import InvalidField
from otp.model import Channel, Ending, SitePage
from otp.policy import HOUR_MS
from otp.projects import CONFIGURED_PROJECT, Change, PageChange, ProjectNotFound
from otp.service import Reason
from tests.fakes import FakeClock
from tests.test_pages import picture
from tests.world import LOGIN, World

KEY, NEXT_KEY = "tc_live_" + "c" * 40, "tc_live_" + "d" * 40


async def project_of(world: World, api_key: str) -> str | None:
    """The id of the project that a key opens."""
    caller = await world.service.authenticate(key_hash(api_key))
    return caller.project.id if caller is not None else None


async def test_settings_change_name_description_and_key_and_nothing_else(world: World) -> None:
    """What an operator said of the project stays; the older key dies at once, and other projects keep theirs."""
    other = await world.projects.create("Other", "")
    await world.projects.configure("Shop", "flowers", KEY)
    await world.projects.update(CONFIGURED_PROJECT, Change(site_url="https://shop.example/"))
    await world.projects.set_enabled(CONFIGURED_PROJECT, False)
    got = await world.projects.configure("Shop 2", "gifts", NEXT_KEY)
    assert (got.name, got.description) == ("Shop 2", "gifts")
    assert (got.site_url, got.enabled) == ("https://shop.example/", False)
    assert got in await world.projects.all()
    assert await project_of(world, KEY) is None
    assert await project_of(world, NEXT_KEY) == CONFIGURED_PROJECT
    assert await project_of(world, other.api_key) == other.project.id


async def test_the_same_settings_again_change_nothing(world: World) -> None:
    """Every start says them anew: the key goes on."""
    first = await world.projects.configure("Shop", "flowers", KEY)
    assert await world.projects.configure("Shop", "flowers", KEY) == first
    assert await project_of(world, KEY) == CONFIGURED_PROJECT


async def test_settings_take_no_key_from_another_project(world: World) -> None:
    """Refused, and nothing of it is done."""
    other = await world.projects.create("Other", "")
    with pytest.raises(InvalidField) as refused:
        await world.projects.configure("Shop", "", other.api_key)
    assert (refused.value.field, refused.value.message) == (
        "api_key",
        "is the key of another project already",
    )
    assert CONFIGURED_PROJECT not in [project.id for project in await world.projects.all()]
    assert await project_of(world, other.api_key) == other.project.id


async def test_a_description_changes_without_the_name(world: World) -> None:
    """And back to none."""
    project_id = world.caller.project.id
    changed = await world.projects.update(project_id, Change(description="other words"))
    assert (changed.id, changed.name, changed.description) == (project_id, "Shop", "other words")
    assert changed in await world.projects.all()
    assert (await world.projects.update(project_id, Change(description=""))).description == ""


@pytest.mark.parametrize("hours", [0, 2])
async def test_an_old_key_lives_as_long_as_was_said(world: World, clock: FakeClock, hours: int) -> None:
    """At once with none; the new one goes on, and other projects keep theirs."""
    made, other = await world.projects.create("One", ""), await world.projects.create("Two", "")
    rotated = await world.projects.rotate_key(made.project.id, hours)
    assert rotated.project == made.project
    assert rotated.api_key != made.api_key
    clock.advance(ms=max(0, hours * HOUR_MS - 1))
    assert (await project_of(world, made.api_key) == made.project.id) is (hours > 0)
    clock.advance(ms=1)
    assert await project_of(world, made.api_key) is None
    assert await project_of(world, rotated.api_key) == made.project.id
    assert await project_of(world, other.api_key) == other.project.id


async def test_no_key_is_made_for_a_project_that_is_not_there(world: World) -> None:
    """Nor is one changed, paused or deleted."""
    nobody = "00000000-0000-4000-8000-00000000000f"
    for act in (
        world.projects.rotate_key(nobody, 0),
        world.projects.update(nobody, Change(name="x")),
        world.projects.set_enabled(nobody, False),
        world.projects.delete(nobody),
    ):
        with pytest.raises(ProjectNotFound):
            await act


async def test_a_pause_kills_the_codes_and_their_messages_tell_it(world: World) -> None:
    """Of this project only; going on revives nothing and kills nothing."""
    ours, theirs = await world.subscribe(), await world.subscribe(caller=world.other)
    our_code, their_code = world.telegram.codes
    message_id = world.telegram.parcels[0].delivery.id
    await world.projects.set_enabled(world.caller.project.id, False)
    message = await world.store.read(lambda tx: tx.shown_code(message_id))
    assert message is not None
    assert message.ended is Ending.WITHDRAWN
    await world.projects.set_enabled(world.caller.project.id, True)
    assert (await world.verify(ours, our_code)).reason is Reason.NO_ACTIVE_CODE
    await world.service.send(world.caller, ours, LOGIN)
    await world.projects.set_enabled(world.caller.project.id, True)
    assert (await world.verify(ours, world.telegram.codes[-1])).reason is None
    assert (await world.verify(theirs, their_code, caller=world.other)).reason is None


async def test_what_is_said_of_the_hosted_page_stays_until_it_is_changed(world: World) -> None:
    """Each part by itself; what is empty takes the old away, and the picture goes with it."""
    project_id = world.caller.project.id

    async def changed(**said: object) -> SitePage:
        return (await world.projects.update(project_id, Change(page=PageChange(**said)))).page  # type: ignore[arg-type]

    await changed(return_urls=["https://a.example/x"], origins=["https://A.example"])
    page = await changed(color="#FFCC00", logo=picture(), first=Channel.MAX)
    assert page.logo is not None
    assert page == SitePage(
        ("https://a.example/x",), ("https://a.example",), "#ffcc00", page.logo, Channel.MAX
    )
    assert await world.store.read(lambda tx: tx.logo(page.logo or "")) == picture()
    assert (await world.projects.update(project_id, Change(name="Other"))).page == page
    assert await world.store.read(lambda tx: tx.logo(page.logo or "")) == picture()
    for wrong in ({"color": "red"}, {"logo": b"<svg/>"}, {"origins": ["*"]}, {"return_urls": ["/x"]}):
        with pytest.raises(InvalidField):
            await changed(**wrong)
    assert await changed(return_urls=[""], origins=[], color="", logo=b"") == SitePage(first=Channel.MAX)
    assert await world.store.read(lambda tx: tx.logo(page.logo or "")) is None
