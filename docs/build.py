"""Writes what is generated: `docs/openapi.json`, and parts of `docs/conversation.md`, `docs/button.md` and of examples.

Run by `make docs`.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from api.button import Script, scripts
from api.openapi import document
from config import VERSION

DOCS = Path(__file__).parent
WITH_BUTTON = (DOCS / "button.md", DOCS.parent / "examples" / "static" / "index.html")
"""Documents that show how the button comes into a page."""
LANGUAGES = DOCS.parent / "bot" / "languages"
MARKER = "<!-- generated below: every sentence in both languages -->\n"
WHEN = {
    "minutes": "Numbers with their noun",
    "wrong_codes": "Numbers with their noun",
    "buttons": "Buttons",
    "question": "The question of a link",
    "code": "The message with the code",
    "given": "The message with a code that the site made itself",
    "outcome": "What a pressed message becomes",
    "ended": "What a code message becomes",
    "offer": "The code does not come by itself",
    "locked": "Too many wrong codes",
    "pairing": "A pairing code that is none",
    "report": "“It wasn't me”, and wanting nothing more",
    "phone": "The question for a phone number, where a site asks for it",
    "dead": "A link or button that does nothing any more",
    "popup": "Popups",
    "help": "/start, /help and everything else",
    "language": "/lang",
    "commands": "The messenger's menu",
    "stop": "/stop",
}


def openapi() -> str:
    """The OpenAPI document, as it is served."""
    return json.dumps(document(VERSION), ensure_ascii=False, indent=2) + "\n"


def conversation() -> str:
    """The whole of `docs/conversation.md`: what is written by hand, and the table of all sentences."""
    head = (DOCS / "conversation.md").read_text(encoding="utf-8").partition(MARKER)[0]
    english, russian = (
        tomllib.loads((LANGUAGES / f"{name}.toml").read_text(encoding="utf-8")) for name in ("en", "ru")
    )
    parts = [head, MARKER]
    for section, title in WHEN.items():
        parts.append(f"\n### {title}: `{section}`\n\n| | English | Русский |\n|---|---|---|\n")
        keys = list(dict.fromkeys([*english[section], *russian[section]]))
        parts += [_row(key, english[section].get(key), russian[section].get(key)) for key in keys]
    return "".join(parts)


def _row(key: str, english: str | None, russian: str | None) -> str:
    return f"| `{key}` | {english or '–'} | {russian or '–'} |\n"


def button(path: Path) -> str:
    """The whole of a document with the button: its script tags name the newest version, and its table all of them."""
    every = list(scripts().values())
    text = re.sub(
        r'<script src="([^"/]+//[^"/]+)/button/.*?></script>',
        lambda found: script_tag(found[1], every[-1]),
        path.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    rows = "".join(f"| {one.version} | {len(one.zipped)} | `{one.integrity}` |\n" for one in every)
    table = f"| version | bytes, gzipped | integrity |\n|---|---|---|\n{rows}"
    return re.sub(
        "(<!-- generated: all versions -->\n).*?(?=<!-- /generated -->)",
        rf"\g<1>{table}",
        text,
        flags=re.DOTALL,
    )


def script_tag(service: str, script: Script) -> str:
    """What brings the element into a page."""
    return (
        f'<script src="{service}{script.path}"\n'
        f'        integrity="{script.integrity}" crossorigin="anonymous" defer></script>'
    )


if __name__ == "__main__":
    (DOCS / "openapi.json").write_text(openapi(), encoding="utf-8")
    (DOCS / "conversation.md").write_text(conversation(), encoding="utf-8")
    for one in WITH_BUTTON:
        one.write_text(button(one), encoding="utf-8")
