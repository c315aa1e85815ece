"""What tests look at in a Markdown document: its headings, its blocks of code, its words for machines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    beside: bool = False
    """Whether nothing stands between it and the block before."""


@dataclass
class Section:
    """A heading and what follows, up to the next one of any level."""

    level: int
    title: str
    text: str = ""
    blocks: list[Block] = field(default_factory=list)

    @property
    def terms(self) -> set[str]:
        """What stands between backticks: names that are the same in every language."""
        return set(re.findall(r"`([^`\n]+)`", FENCE.sub("", self.text)))

    @property
    def rows(self) -> int:
        """Lines of tables."""
        return len(re.findall(r"^ *\|", FENCE.sub("", self.text), re.MULTILINE))


def sections(name: str) -> list[Section]:
    """The document in order."""
    text = (ROOT / name).read_text(encoding="utf-8")
    fences = [match.span() for match in FENCE.finditer(text)]
    heads = [one for one in HEADING.finditer(text) if not any(a <= one.start() < b for a, b in fences)]
    ends = [*(one.start() for one in heads[1:]), len(text)]
    return [
        Section(len(one[1]), one[2], body := text[one.end() : end], list(_blocks(body)))
        for one, end in zip(heads, ends, strict=True)
    ]


def blocks(name: str) -> list[Block]:
    """All blocks of a document, in order."""
    return [block for section in sections(name) for block in section.blocks]


def _blocks(text: str) -> Iterator[Block]:
    end = -1
    for found in FENCE.finditer(text):
        indent, language, body = found.groups()
        beside = end >= 0 and not text[end : found.start()].strip()
        yield Block(language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE), beside)
        end = found.end()


def anchor(title: str) -> str:
    """The anchor that GitHub gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
