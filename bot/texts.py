"""The sentences, one TOML file per language, with the language's own plural forms."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

LANGUAGES: Final = Path(__file__).with_name("languages")
FALLBACK: Final = "en"


def _one_other(n: int) -> str:
    return "one" if n == 1 else "other"


def _one_few_many(n: int) -> str:
    if n % 100 in (11, 12, 13, 14):
        return "many"
    return {1: "one", 2: "few", 3: "few", 4: "few"}.get(n % 10, "many")


PLURALS: Final[Mapping[str, Callable[[int], str]]] = {
    "one-other": _one_other,
    "one-few-many": _one_few_many,
    "other": lambda _n: "other",
}
"""Plural categories of whole numbers, as CLDR names them: English, Russian, and languages without any."""


class Texts:
    """The sentences of one language."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._plural = PLURALS[data["plural"]]

    def __call__(self, key: str, **values: str) -> str:
        """The sentence behind `section.name`, with its placeholders filled."""
        section, _, name = key.partition(".")
        sentence: str = self._data[section][name]
        return sentence.format(**values)

    def count(self, noun: str, n: int) -> str:
        """A number with its noun in the right form: "2 minutes"."""
        form: str = self._data[noun][self._plural(n)]
        return form.format(n=n)


@cache
def languages(folder: Path = LANGUAGES) -> Mapping[str, Texts]:
    """Every language there is a file for, by its primary tag."""
    return {
        path.stem: Texts(tomllib.loads(path.read_text(encoding="utf-8")))
        for path in sorted(folder.glob("*.toml"))
    }


def texts_for(language: str) -> Texts:
    """The sentences for a client's language tag; English where there is none."""
    known = languages()
    return known.get(language.replace("_", "-").split("-")[0].lower(), known[FALLBACK])
