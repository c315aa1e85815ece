"""A project's own words for the question and the code: checked when they are set, filled when they are shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

from otp.errors import InvalidField

LONGEST: Final = 500
PLACEHOLDERS: Final = {"consent": frozenset({"project"}), "code": frozenset({"project", "code", "minutes"})}
"""What may stand in braces, by kind of text."""
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}", re.ASCII)
_BIDI_OVERRIDES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked(texts: Any) -> dict[str, dict[str, str]]:
    """The texts of a project: language -> kind -> text. Raises `InvalidField` that says what is wrong."""
    if not isinstance(texts, dict):
        raise InvalidField("texts", "must be tables by language, such as [en]")
    found: dict[str, dict[str, str]] = {}
    for language, kinds in texts.items():
        if _LANGUAGE.fullmatch(str(language)) is None or not isinstance(kinds, dict):
            raise InvalidField(
                "texts", f"{str(language)[:20]!r} is no language such as en or ru with a table of texts"
            )
        found[language] = {kind: _text(f"{language}.{kind}"[:40], kind, text) for kind, text in kinds.items()}
    return found


def _text(where: str, kind: str, text: Any) -> str:
    if kind not in PLACEHOLDERS or not isinstance(text, str):
        raise InvalidField("texts", f"{where}: only the texts consent and code can be set")
    if not text.strip() or len(text) > LONGEST:
        raise InvalidField("texts", f"{where}: must have 1 to {LONGEST} characters")
    if any((unicodedata.category(ch) in ("Cc", "Cs") and ch != "\n") or ch in _BIDI_OVERRIDES for ch in text):
        raise InvalidField("texts", f"{where}: must not hold control or bidirectional override characters")
    used = _placeholders(where, text)
    unknown = sorted(set(used) - PLACEHOLDERS[kind])
    if unknown:
        raise InvalidField("texts", f"{where}: {{{unknown[0][:20]}}} is not known here")
    if kind == "code" and used.count("code") != 1:
        raise InvalidField("texts", f"{where}: must hold {{code}} exactly once")
    return text


def _placeholders(where: str, text: str) -> list[str]:
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise InvalidField(
            "texts", f"{where}: a brace is not closed; write {{{{ and }}}} for braces"
        ) from None
    if any(spec or conversion for _, name, spec, conversion in parts if name is not None):
        raise InvalidField("texts", f"{where}: placeholders are plain names in braces")
    return [name for _, name, _, _ in parts if name is not None]


def filled(text: str, values: Mapping[str, str]) -> str:
    """A checked text with its placeholders filled; everything else is literal."""
    return text.format_map(values)
