"""Formatted text as the messengers understand it: HTML tags, and spans counted in UTF-16 units."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass

_TOKEN = re.compile(
    r"<(?P<close>/?)(?P<tag>[A-Za-z][A-Za-z0-9-]*)(?P<attributes>[^<>]*)>"
    r"|(?P<reference>&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|lt|gt|amp|quot);)"
    r"|(?P<stray><)"
    r"|(?P<text>[^<&]+|&)"
)
_LAST_SINGLE_UNIT = 0xFFFF  # characters above it are two UTF-16 units
_HREF = re.compile(r'\shref="([^"]*)"')


@dataclass(frozen=True)
class Span:
    """A stretch of formatted text; `start` and `length` are indexes of a str."""

    kind: str
    start: int
    length: int
    url: str | None = None


def utf16_length(text: str) -> int:
    """Length in UTF-16 units, in which both messengers count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def from_utf16(text: str, offset: int, length: int) -> tuple[int, int]:
    """(start, length) in indexes of `text` for a span in UTF-16 units.

    Raises ValueError when the span is empty, leaves the text or cuts a character in two.
    """
    borders = {0: 0}
    units = 0
    for index, character in enumerate(text, start=1):
        units += 2 if ord(character) > _LAST_SINGLE_UNIT else 1
        borders[units] = index
    if length < 1 or offset not in borders or offset + length not in borders:
        raise ValueError("span is empty, out of the text or inside a character")
    start = borders[offset]
    return start, borders[offset + length] - start


def to_utf16(text: str, span: Span) -> tuple[int, int]:
    """(offset, length) of a span in UTF-16 units."""
    end = span.start + span.length
    return utf16_length(text[: span.start]), utf16_length(text[span.start : end])


def trimmed(text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    """The text without outer white space, and its spans moved along and cut to it."""
    shift = len(text) - len(text.lstrip())
    text = text.strip()
    kept = []
    for span in spans:
        start = max(span.start - shift, 0)
        end = min(span.start - shift + span.length, len(text))
        if end > start:
            kept.append(Span(span.kind, start, end - start, span.url))
    return text, kept


def parse_html(source: str, tags: Mapping[str, str]) -> tuple[str, list[Span]]:
    """Visible text and spans of HTML; `tags` maps each allowed tag to the kind of its spans.

    Raises ValueError for an unknown or unbalanced tag and for a "<" that begins no tag: text that somebody
    forgot to escape is an error here, as it is in the messenger.
    """
    text = ""
    spans: list[Span] = []
    opened: list[tuple[str, int, str | None]] = []
    for token in _TOKEN.finditer(source):
        if token["stray"]:
            raise ValueError(f'unescaped "<" at offset {token.start()}')
        if not token["tag"]:
            text += token["text"] or html.unescape(token["reference"])
        elif token["tag"].lower() not in tags:
            raise ValueError(f'unsupported tag "{token["tag"]}" at offset {token.start()}')
        elif not token["close"]:
            href = _HREF.search(token["attributes"])
            opened.append((token["tag"].lower(), len(text), html.unescape(href[1]) if href else None))
        else:
            spans.append(_closed(token["tag"].lower(), opened, len(text), tags))
    if opened:
        raise ValueError(f'can\'t find the end tag of "{opened[-1][0]}"')
    return text, sorted((span for span in spans if span.length), key=lambda span: (span.start, -span.length))


def _closed(tag: str, opened: list[tuple[str, int, str | None]], end: int, tags: Mapping[str, str]) -> Span:
    if not opened or opened[-1][0] != tag:
        raise ValueError(f'unmatched end tag "{tag}"')
    _, start, url = opened.pop()
    return Span(tags[tag], start, end - start, url)
