"""The hosted page as HTML, and the files beside it. Only `api.pages` imports this; nothing is read before it is asked for.

Addresses are relative: a proxy may have put us below a path. All that a site or a person said is escaped, once, here;
there is no inline script or style, so that the policy needs no exception.
"""

from __future__ import annotations

import gzip
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from api.operations import link
from otp import pages, pairing
from otp.channels import Health
from otp.hosted import Stage, View
from otp.model import Channel
from otp.policy import MINUTE_MS, SECOND_MS

FILES: Final = Path(__file__).parent / "page_files"
LANGUAGES: Final = ("en", "ru")
NAMES: Final = {Channel.TELEGRAM: "Telegram", Channel.MAX: "MAX"}
NOTES: Final = frozenset({"wrong_code", "malformed_code", "sent_again", "too_often", "not_again"})
"""What an address may say of what was just done."""
REFRESH_SECONDS: Final = 4
"""Without a script the page looks so often: half as often as it may."""
LEAVE_SECONDS: Final = 3
_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)
_ICON: Final = "icon.svg"


@dataclass(frozen=True, slots=True)
class Shown:
    """How a page is to be shown to one browser."""

    language: str
    token: str
    embedded: bool = False
    note: str | None = None
    wait_seconds: int = 0
    """How long it will be too often, with the note that says so."""
    proven: bool = False
    """This is the browser in which the code was entered."""
    origins: tuple[str, ...] = ()

    def query(self, **changed: str) -> str:
        """The same page again."""
        fields = {"lang": self.language} | ({"embed": "1"} if self.embedded else {}) | changed
        return "?" + "&amp;".join(f"{name}={value}" for name, value in fields.items())


def language_of(accepted: str, asked: str | None) -> str:
    """The language to speak: what was asked for, else what the browser likes best of ours, else English."""
    if asked in LANGUAGES:
        return asked
    wanted: list[tuple[float, str]] = []
    for part in accepted.lower()[:500].split(","):
        tag, _, parameters = part.strip().partition(";")
        quality = _QUALITY.search(parameters)
        wanted.append((-float(quality[1]) if quality else -1.0, tag.split("-")[0]))
    liked = [language for quality, language in sorted(wanted, key=lambda one: one[0]) if quality < 0]
    return next((language for language in liked if language in LANGUAGES), LANGUAGES[0])


# ------------------------------------------------------------------ words


@cache
def _texts(language: str) -> Mapping[str, Any]:
    return tomllib.loads((FILES / f"{language}.toml").read_text(encoding="utf-8"))


class Words:
    """The sentences of one language, ready to stand in HTML."""

    def __init__(self, language: str) -> None:
        self.texts = _texts(language)

    def __call__(self, name: str, **values: object) -> str:
        return escape(str(self.texts[name]), quote=True).format(**values)

    def number(self, name: str, n: int) -> str:
        """A sentence with a number (CLDR plural categories)."""
        forms = self.texts[name]
        return escape(str(forms[_plural(self.texts["plural"], n)]), quote=True).format(n=n)

    def time(self, ms: int) -> str:
        """A time to go."""
        return self("soon") if ms < MINUTE_MS else self.number("minutes", -(-ms // MINUTE_MS))


def _plural(forms: str, n: int) -> str:
    if forms == "one-other":
        return "one" if n == 1 else "other"
    if n % 10 == 1 and n % 100 != 11:  # noqa: PLR2004  # CLDR
        return "one"
    return "few" if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else "many"


# ------------------------------------------------------------------ the page


def page(view: View, shown: Shown) -> str:
    """The page of a request as it is now."""
    words = Words(shown.language)
    name = escape(view.project.name)
    if view.stage is Stage.WAITING:
        inside = _waiting(view, shown, words)
    elif view.stage is Stage.CODE:
        inside = _code(view, shown, words)
    else:
        inside = _end(view, shown, words)
    picture = f'<img src="../pages/{view.project.page.logo}.png" alt="">' if view.project.page.logo else ""
    told = f' data-channel="{view.channel or ""}" data-trouble="{view.trouble or ""}"'
    other = next(one for one in LANGUAGES if one != shown.language)
    head = (
        f'<header>{picture}<p dir="auto">{name}</p>'
        f'<a href="{shown.query(lang=other)}" lang="{other}" hreflang="{other}">{Words(other)("name")}</a></header>'
    )
    return _document(
        words,
        shown,
        title=words("title", project=name),
        style=_style(view.project.page.color),
        refresh=_refresh(view, shown),
        stage=view.stage,
        facts=_facts(view, shown, words),
        body=f'{head}<main id="more"{told}>{inside}</main>',
    )


def sorry(kind: str, language: str) -> str:
    """A page about nothing: `gone`, `busy` or `broken`."""
    words = Words(language)
    again = f'<a class="go plain" href="">{words("try_again")}</a>' if kind != "gone" else ""
    return _document(
        words,
        Shown(language, ""),
        title=words(kind),
        style=_style(None),
        refresh="",
        stage=None,
        facts="",
        body=f'<main><h1 tabindex="-1">{words(kind)}</h1><p>{words(f"{kind}_how")}</p>{again}</main>',
    )


def _document(
    words: Words,
    shown: Shown,
    *,
    title: str,
    style: str,
    refresh: str,
    stage: str | None,
    facts: str,
    body: str,
) -> str:
    script = f'<script src="{file_address("page.js")}" defer></script>' if stage else ""
    return (
        f'<!doctype html><html lang="{shown.language}"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex"><meta name="color-scheme" content="light dark">'
        f'<link rel="stylesheet" href="{style}"><link rel="icon" href="{file_address(_ICON)}">'
        f"{script}{f'<noscript>{refresh}</noscript>' if refresh else ''}</head><body{facts}>{body}"
        f'<div id="live" role="status"></div><p id="offline" role="alert" hidden>{words("offline")}</p>'
        "</body></html>"
    )


def _refresh(view: View, shown: Shown) -> str:
    """For browsers without a script: look again while there is something to wait for, or lead back in the end."""
    if view.stage is Stage.WAITING:
        return f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
    if view.stage is Stage.VERIFIED and shown.proven and not shown.embedded:
        back = escape(view.way_back(proven=True))
        return f'<meta http-equiv="refresh" content="{LEAVE_SECONDS};url={back}">'
    return ""


def _facts(view: View, shown: Shown, words: Words) -> str:
    """What the script needs, as attributes of the body."""
    facts = {
        "stage": view.stage,
        "request": view.request.id,
        "status": f"{shown.token}/status",
        "verify": f"{shown.token}/verify",
        "again": f"{shown.token}/again",
    }
    html = "".join(f' data-{name}="{value}"' for name, value in facts.items())
    html += "".join(f' data-{name}="{words(name)}"' for name in ("copied", "checking", "soon"))
    html += "".join(f' data-minutes{form}="{escape(text)}"' for form, text in words.texts["minutes"].items())
    return html + (f' data-embed data-origins="{escape(" ".join(shown.origins))}"' if shown.embedded else "")


def _waiting(view: View, shown: Shown, words: Words) -> str:
    request, project = view.request, view.project
    parts = [f'<h1 tabindex="-1">{words("waiting", project=_isolated(project.name))}</h1>']
    if project.description:
        parts.append(f'<p class="quiet" dir="auto">{escape(project.description)}</p>')
    if request.context is not None and (line := request.context.line()):
        parts.append(f'<p class="asking">{words("asking")}: <bdi>{escape(line)}</bdi></p>')
    parts.append(f"<p>{words('how_match' if request.match else 'how')}</p>")
    if request.match is not None:
        number = escape(request.match.number)
        parts.append(f'<p class="match">{words("match")} <strong>{number}</strong></p>')
    if view.under_way:
        parts.append(f'<p class="notice">{words("under_way")}</p>')
    elif view.trouble is not None:
        parts.append(f'<p class="notice">{words(view.trouble)}</p>')
    ways = [_way(channel, view, shown, words) for channel in view.bots]
    if ways:
        parts.append(f'<p class="only-stuck stuck-how" tabindex="-1">{words("stuck_how")}</p>')
        parts.append(f'<p class="only-desk">{words("scan")}</p><ul class="ways">{"".join(ways)}</ul>')
        code = escape(pairing.shown(request.pairing_code or ""))
        parts.append(f'<p class="more">{words("or_write")} <bdi class="pairing">{code}</bdi></p>')
        parts.append(f'<p class="ask-stuck"><a href="#more">{words("stuck")}</a></p>')
    else:
        parts.append(f'<p class="notice">{words("no_bot")}</p>')
    parts.append(f'<p class="lasts"><span data-script hidden>{words("waits")}</span>')
    parts.append(f"<span data-no-script>{words('refreshes')}</span> {_lasts(view, words)}</p>")
    return "".join(parts)


def _way(channel: Channel, view: View, shown: Shown, words: Words) -> str:
    """One messenger: the button, how the messenger is if not well, and what helps where the button opens nothing."""
    bot = view.bots[channel]
    address = escape(link(channel, bot, view.request.id) or "")
    who = f'<p class="quiet"><bdi>@{escape(bot)}</bdi></p>' if channel is Channel.TELEGRAM else ""
    well = [one for one in view.bots if view.health[one] is Health.OK]
    is_slow = channel not in well
    place = sorted(Channel, key=lambda one: one is not view.project.page.first).index(channel)
    return (
        f'<li class="way" data-channel="{channel}" data-place="{place}">'
        f'<a class="go{" plain" if is_slow and well else ""}" href="{address}" target="_blank" rel="noopener noreferrer">'
        f"{words(f'open_{channel}')} <small hidden>({words('last')})</small></a>"
        f'<p class="slow quiet"{"" if is_slow else " hidden"}>{words("slow", messenger=NAMES[channel])}</p>'
        f'<div class="more"><img src="{shown.token}/qr.svg?channel={channel}" width="176" height="176" loading="lazy" '
        f'alt="{words(f"scan_{channel}")}">{who}'
        f'<div class="only-stuck"><p class="address" dir="ltr">{address}</p>'
        f'<button class="plain" type="button" data-copy="{address}" hidden>{words("copy")}</button></div></div></li>'
    )


def _code(view: View, shown: Shown, words: Words) -> str:
    channel = view.channel or Channel.TELEGRAM
    bot = view.bots.get(channel, "")
    length = view.request.terms.length
    chat = f"https://t.me/{bot}" if channel is Channel.TELEGRAM else f"https://max.ru/{bot}"
    focus = "" if shown.embedded else " autofocus"  # within a frame it is refused, loudly
    wrong = shown.note in ("wrong_code", "malformed_code")
    where = words(f"code_{channel}", bot=f"<bdi>@{escape(bot)}</bdi>")
    note = _note(shown, words, length)
    return (
        f'<h1 tabindex="-1">{words("code")}</h1><p>{where} '
        f'<a href="{escape(chat)}" target="_blank" rel="noopener noreferrer">{words("look")}</a></p>'
        f'<form method="post" action="{shown.query()}">{note}'
        f'<label for="code">{words("label", length=length)}</label>'
        f'<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code"{focus} required '
        f'maxlength="500" data-length="{length}" dir="ltr" aria-describedby="left"'
        f"{' aria-invalid=true' if wrong else ''}>"
        f'<button class="check" data-label="{words("check")}">{words("check")}</button>'
        f'<p id="left" class="lasts">{words.number("attempts", view.attempts_left)} {_lasts(view, words)}</p></form>'
        f'<form method="post" action="{shown.query()}"><input type="hidden" name="again" value="1">'
        f'<button class="plain">{words("again")}</button></form>'
        f'<p><a href="{escape(view.way_back())}"{_top(shown)}>{words("other")}</a></p>'
        f'<template id="done">{_led_back(words, _host(view), "", shown)}</template>'
    )


def _note(shown: Shown, words: Words, length: int) -> str:
    if shown.note is None:
        return ""
    kind = "error" if shown.note in ("wrong_code", "malformed_code") else "notice"
    text = words(shown.note, length=length, time=words.time(shown.wait_seconds * SECOND_MS))
    return f'<p class="{kind}">{text}</p>'


def _end(view: View, shown: Shown, words: Words) -> str:
    host = _host(view)
    stage: str = view.stage
    if view.stage is Stage.VERIFIED:
        if shown.proven:
            return _led_back(words, host, escape(view.way_back(proven=True)), shown)
        stage = "elsewhere"
    back = f'<a class="go plain" href="{escape(view.way_back())}"{_top(shown)}>{words("back", host=host)}</a>'
    return (
        f'<h1 tabindex="-1">{words(stage)}</h1><p>{words(f"{stage}_how")}</p>'
        f"{back if stage != 'elsewhere' else ''}"
    )


def _led_back(words: Words, host: str, address: str, shown: Shown) -> str:
    how = words("verified_stay") if shown.embedded else words("verified_how", host=host)
    return (
        f'<h1 tabindex="-1">{words("verified")}</h1><p>{how}</p>'
        f'<a class="go" data-go href="{address}"{_top(shown)}>{words("go_on")}</a>'
    )


def _top(shown: Shown) -> str:
    """A site is not shown within the dialog that it opened."""
    return ' target="_top"' if shown.embedded else ""


def _lasts(view: View, words: Words) -> str:
    seconds = max(0, view.lasts_ms // SECOND_MS)
    time = f'<span data-left="{seconds}">{words.time(max(0, view.lasts_ms))}</span>'
    return words("lasts", time=time)


def _host(view: View) -> str:
    page_ = view.request.page
    return f"<bdi>{escape(urlsplit(page_.return_url).netloc)}</bdi>" if page_ is not None else ""


def _isolated(text: str) -> str:
    return f"<bdi>{escape(text)}</bdi>"


# ------------------------------------------------------------------ the files beside it


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is served, for good under an address that holds its digest."""

    content_type: str
    body: bytes
    small: bytes
    """The same, compressed."""
    digest: str


_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@cache
def _read(name: str) -> File:
    """One of the files of the page; it is there."""
    path = FILES / name
    return _file(_TYPES[path.suffix], path.read_bytes())


def _file(content_type: str, body: bytes) -> File:
    return File(content_type, body, gzip.compress(body, mtime=0), sha256(body).hexdigest()[:12])


@lru_cache(maxsize=64)
def _colored(color: str) -> File:
    """The style with a project's colour, in each theme so that it can be read."""
    light, dark = (pages.readable(color, ground) for ground in pages.GROUNDS.values())
    more = (
        f":root{{--accent:{light}}}@media(prefers-color-scheme:dark){{:root{{--accent:{dark}}}}}\n".encode()
    )
    return _file("text/css", _read("page.css").body + more)


def _style(color: str | None) -> str:
    if color is None:
        return file_address("page.css")
    return f"../pages/page.{_colored(color).digest}.{color[1:]}.css"


def file_address(name: str) -> str:
    """The address of a file of the page, as a page has it."""
    stem, _, suffix = name.partition(".")
    return f"../pages/{stem}.{_read(name).digest}.{suffix}"


_NAME: Final = re.compile(
    r"(?P<stem>[a-z]+)\.(?P<digest>[0-9a-f]{12})(?:\.(?P<color>[0-9a-f]{6}))?\.(?P<suffix>css|js|svg)",
    re.ASCII,
)


def is_colored(name: str) -> bool:
    """Whether a file is made when it is asked for."""
    found = _NAME.fullmatch(name)
    return found is not None and found["color"] is not None


def file_named(name: str) -> tuple[File, bool] | None:
    """A file by the last part of its address, and whether it is the very one; None when there is none."""
    found = _NAME.fullmatch(name)
    if found is None or f"{found['stem']}.{found['suffix']}" not in _names():
        return None
    if found["color"] is not None:
        if found["suffix"] != "css":
            return None
        file = _colored(f"#{found['color']}")
    else:
        file = _read(f"{found['stem']}.{found['suffix']}")
    return file, file.digest == found["digest"]


@cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in _served(FILES.iterdir()))


def _served(paths: Iterable[Path]) -> Iterable[Path]:
    return (path for path in paths if path.suffix in _TYPES)
