"""What the hosted page says, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api import page_html
from api.page_html import Words, language_of
from otp.hosted import Stage, Trouble
from otp.model import Channel


def test_both_languages_say_the_same():
    """The same sentences with the same gaps, every plural, and none that nothing shows."""
    english, russian = (Words(language).texts for language in ("en", "ru"))
    assert set(english) == set(russian)
    for name, text in english.items():
        if isinstance(text, dict):
            assert set(text) == {"one", "other"}
            assert set(russian[name]) == {"one", "few", "many"}
        else:
            assert set(re.findall("{[a-z]+}", text)) == set(re.findall("{[a-z]+}", russian[name])), name
    source = Path(page_html.__file__).read_text(encoding="utf-8")
    kinds = "|".join([*Stage, *Trouble, *Channel, *page_html.NOTES, "gone", "busy", "broken", "elsewhere"])
    made = re.compile(f"({kinds}|open|scan|code)(_how|_telegram|_max)?")
    assert [
        name for name in english if not re.search(f"[\"']{name}[\"']", source) and not made.fullmatch(name)
    ] == []
    assert [Words("ru").number("attempts", n)[:8] for n in (1, 2, 5, 11, 21)] == [
        "Осталась", "Осталось", "Осталось", "Осталось", "Осталась",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "accepted, asked, spoken",
    [
        ("", None, "en"),
        ("ru", None, "ru"),
        ("de, ru-RU;q=0.8, en;q=0.5", None, "ru"),
        ("ru;q=0, en", None, "en"),
        ("ru;q=0.1, en;q=0.2", None, "en"),
        ("RU-ru", None, "ru"),
        ("*;q=x,;;,ru;q=9", None, "ru"),
        ("ru", "en", "en"),
        ("ru", "xx", "ru"),
    ],
)
def test_the_language_is_the_one_the_browser_likes_best(accepted: str, asked: str | None, spoken: str):
    """Among ours; what was asked for on the page wins."""
    assert language_of(accepted, asked) == spoken
