"""A project's own words: checked when they are set, shown as they are."""

from __future__ import annotations

from typing import Any

import pytest

from bot import phrases
from bot.messages import Link
from bot.texts import texts_for
from otp import words
from otp.errors import InvalidField
from otp.model import Parcel, Project
from otp.projects import Change
from tests.world import World

OWN = {"en": {"code": "Hi from {project}: {code}, for {minutes}.", "consent": "{project} says {{hello}}."}}


@pytest.mark.parametrize(
    "texts,told",
    [
        ([], "tables"),
        ({"english": {}}, "'english' is no language"),
        ({"EN": {}}, "language"),
        ({"en": "x"}, "language"),
        ({"en": {"help": "x"}}, "en.help: only the texts"),
        ({"en": {"code": 5}}, "only the texts"),
        ({"en": {"code": ""}}, "characters"),
        ({"en": {"code": "{code}" + "x" * 500}}, "characters"),
        ({"en": {"code": "no placeholder"}}, "exactly once"),
        ({"en": {"code": "{code} {code}"}}, "exactly once"),
        ({"en": {"code": "{code} {user}"}}, "not known"),
        ({"en": {"code": "{code} {}"}}, "not known"),
        ({"en": {"code": "{code.x}"}}, "not known"),
        ({"en": {"code": "{code!r}"}}, "plain names"),
        ({"en": {"code": "{code:>9}"}}, "plain names"),
        ({"en": {"code": "{code"}}, "en.code: a brace"),
        ({"en": {"consent": "{code}"}}, "not known"),
        ({"en": {"consent": "a\u202eb"}}, "override"),
        ({"en": {"consent": "a\x07b"}}, "control"),
        ({"en": {"consent": "a\ud800b"}}, "control"),
        ({"en": {"consent": "x" * 501}}, "characters"),
    ],
)
def test_words_that_are_refused(texts: Any, told: str) -> None:
    """Each with a reason that an operator understands."""
    with pytest.raises(InvalidField) as refused:
        words.checked(texts)
    assert refused.value.field == "texts"
    assert told in refused.value.message


def test_words_have_lines_and_up_to_500_characters() -> None:
    """Both are kept as they were written."""
    own = {"en": {"consent": "first\n\nsecond" + "x" * 487}}
    assert len(own["en"]["consent"]) == 500
    assert words.checked(own) == own


def test_words_are_shown_with_what_stays_ours(any_parcel: Parcel) -> None:
    """The code alone in the first line, the project's name and the warning are always there."""
    project = Project("p", "Shop {x}", "", True, "https://shop.example/login", words.checked(OWN))
    message = phrases.code(texts_for("en"), _about(any_parcel, project))
    lines = message.text.split("\n")
    assert lines[0] == any_parcel.digits
    assert f"Hi from Shop {{x}}: {any_parcel.digits}, for 5 minutes." in lines
    assert "Shop {x}" in lines
    assert "Tell it to nobody" in message.text
    assert [button.url for button in message.buttons if isinstance(button, Link)] == [
        "https://shop.example/login"
    ]


def test_every_language_falls_back() -> None:
    """To English, then to ours."""
    project = Project(
        "p", "Shop", "", True, None, words.checked({"ru": {"consent": "привет"}, "en": {"code": "{code}"}})
    )
    assert project.words("ru-RU", "consent") == "привет"
    assert project.words("ru_RU", "consent") == "привет"
    assert project.words("ru", "code") == "{code}"
    assert project.words("de", "consent") is None


@pytest.fixture
async def any_parcel(world: World) -> Parcel:
    """A code that was handed over."""
    await world.subscribe()
    return world.telegram.parcels[-1]


def _about(parcel: Parcel, project: Project) -> Parcel:
    return Parcel(parcel.delivery, parcel.digits, project, "en", 5)


async def test_a_project_keeps_its_words(world: World) -> None:
    """Set, kept by other changes, taken away by empty ones; bad ones change nothing."""
    project_id = world.caller.project.id
    await world.projects.update(project_id, Change(site_url="https://shop.example/", texts=OWN))
    changed = await world.projects.update(project_id, Change(name="Other"))
    assert (changed.site_url, changed.texts) == ("https://shop.example/", OWN)
    for bad in (
        Change(site_url="http://shop.example"),
        Change(site_url="https://"),
        Change(texts={"en": {"x": "y"}}),
    ):
        with pytest.raises(InvalidField):
            await world.projects.update(project_id, bad)
    await world.projects.set_enabled(project_id, False)
    [kept] = [one for one in await world.projects.all() if one.id == project_id]
    assert (kept.site_url, kept.texts, kept.name) == ("https://shop.example/", OWN, "Other")
    cleared = await world.projects.update(project_id, Change(site_url="", texts={}))
    assert (cleared.site_url, cleared.texts) == (None, {})
