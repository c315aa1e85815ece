"""The sandbox's own HTTP side: the page, and the JSON API with which it holds the phones of two people.

The API answers errors as `{"error": sentence}`. It is meant for loopback only: it hands out a test key.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.checks import Check, Ill, integer, one_of, record, text
from sandbox.courier import Changes
from sandbox.simulator import Simulator
from sandbox.wire import JSON, Impossible

STATIC = Path(__file__).parent / "static"
POLL_SECONDS = 20
MAX_ADVANCE_SECONDS = 7 * 86_400
MAX_OFFSET_SECONDS = 366 * 86_400
FIRST_USER_IDS = {"telegram": 700_001, "max": 800_001}
CONTENT_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
_HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PAGE_HEADERS = {
    **_HEADERS,
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}
_index = integer(0, 1000)


@dataclass
class Phone:
    """A phone with one messenger on it, in the hands of one person."""

    messenger: Simulator
    user_id: int
    language: str = "en"


@dataclass(frozen=True)
class Act:
    """Something that the page lets a phone's owner do: the fields of its body, and the doing."""

    fields: Mapping[str, Check]
    do: Callable[[Phone, JSON], JSON]


def add_sandbox_routes(
    app: web.Application,
    *,
    telegram: Simulator,
    max: Simulator,
    facts: Mapping[str, str],
    advance: Callable[[int], None],
) -> None:
    """Add the page and the control API to an application that is served on loopback.

    `facts` are shown to the page as they are; `advance` moves the clock of service and messengers by ms.
    """
    control = Control({"telegram": telegram, "max": max}, facts, advance)
    app.router.add_get("/", control.page)
    app.router.add_get("/sandbox/static/{name}", control.static)
    app.router.add_get("/sandbox/state", _explained(control.state))
    app.router.add_post("/sandbox/clock", _explained(control.clock))
    app.router.add_post("/sandbox/{channel}/{act}", _explained(control.act))
    app.on_shutdown.append(control.shut_down)


class Control:
    """The handlers of the control API, and the two phones that they move."""

    def __init__(
        self, messengers: Mapping[str, Simulator], facts: Mapping[str, str], advance: Callable[[int], None]
    ) -> None:
        self._facts = dict(facts)
        self._advance = advance
        self._offset_seconds = 0
        self._changes = Changes()
        self._phones: dict[str, Phone] = {}
        for channel, messenger in messengers.items():
            self._phones[channel] = Phone(messenger, FIRST_USER_IDS[channel])
            messenger.person(FIRST_USER_IDS[channel])
            messenger.changes.listeners.append(self._changes.mark)

    async def page(self, _: web.Request) -> web.Response:
        """The page itself."""
        return _file("index.html")

    async def static(self, request: web.Request) -> web.Response:
        """One of the files beside the page."""
        return _file(request.match_info["name"])

    async def state(self, request: web.Request) -> web.Response:
        """Everything the page shows; with `?after=<version>`, not before it has changed (or 20 s are over)."""
        after = request.query.get("after")
        if after is not None:
            text(1, 15, "[0-9]+")(after, "after")
            if int(after) == self._changes.version:
                await self._changes.wait(POLL_SECONDS)
        return _json(
            {
                "version": self._changes.version,
                "facts": self._facts,
                "clock_offset_seconds": self._offset_seconds,
                "phones": {channel: _shown(phone) for channel, phone in self._phones.items()},
            }
        )

    async def clock(self, request: web.Request) -> web.Response:
        """Move the clock forward by up to a week."""
        body = await _body(request, {"advance_seconds": integer(1, MAX_ADVANCE_SECONDS)})
        offset = self._offset_seconds + body["advance_seconds"]
        if offset > MAX_OFFSET_SECONDS:
            raise Ill("the clock is a year ahead: start the sandbox anew")
        self._offset_seconds = offset
        self._advance(body["advance_seconds"] * 1000)
        self._changes.mark()
        return _json({})

    async def act(self, request: web.Request) -> web.Response:
        """Let a phone's owner do something."""
        phone = self._phones.get(request.match_info["channel"])
        act = ACTS.get(request.match_info["act"])
        if phone is None:
            raise Ill(f"no such channel; there are {', '.join(self._phones)}")
        if act is None:
            raise Ill(f"nothing that can be done; there are {', '.join(ACTS)}")
        return _json(act.do(phone, await _body(request, act.fields)))

    async def shut_down(self, _: web.Application) -> None:
        """Answer whoever waits for a change, so that the server can stop at once."""
        self._changes.close()


def _open(phone: Phone, body: JSON) -> JSON:
    return {"silent": not phone.messenger.open_link(phone.user_id, body["link"])}


def _say(phone: Phone, body: JSON) -> JSON:
    phone.messenger.say(phone.user_id, body["text"])
    return {}


def _press(phone: Phone, body: JSON) -> JSON:
    pressed = phone.messenger.press(phone.user_id, body["message_id"], body["row"], body["column"])
    return {name: value for name, value in asdict(pressed).items() if value is not None}


def _key(phone: Phone, body: JSON) -> JSON:
    phone.messenger.press_key(phone.user_id, body["row"], body["column"])
    return {}


def _contact(phone: Phone, body: JSON) -> JSON:
    phone.messenger.share_contact(phone.user_id, own=body["whose"] == "own")
    return {}


def _block(phone: Phone, _: JSON) -> JSON:
    phone.messenger.block(phone.user_id)
    return {}


def _unblock(phone: Phone, _: JSON) -> JSON:
    phone.messenger.unblock(phone.user_id)
    return {}


def _speak(phone: Phone, body: JSON) -> JSON:
    phone.language = body["language"]
    phone.messenger.person(phone.user_id, language=phone.language)
    return {}


def _hand_over(phone: Phone, _: JSON) -> JSON:
    phone.user_id += 1
    phone.messenger.person(phone.user_id, language=phone.language)
    return {}


ACTS: Mapping[str, Act] = {
    "open": Act({"link": text(1, 2048)}, _open),
    "say": Act({"text": text(1)}, _say),
    "press": Act({"message_id": text(1, 200), "row": _index, "column": _index}, _press),
    "key": Act({"row": _index, "column": _index}, _key),
    "contact": Act({"whose": one_of("own", "foreign")}, _contact),
    "block": Act({}, _block),
    "unblock": Act({}, _unblock),
    "language": Act({"language": one_of("ru", "en")}, _speak),
    "new-person": Act({}, _hand_over),
}


def _shown(phone: Phone) -> JSON:
    messenger, user_id = phone.messenger, phone.user_id
    return {
        "bot": messenger.username,
        "user_id": user_id,
        "language": phone.language,
        "blocked": messenger.is_blocked(user_id),
        "messages": [asdict(message) for message in messenger.chat(user_id)],
        "popups": messenger.popups(user_id),
        "keys": messenger.keys(user_id),
    }


async def _body(request: web.Request, fields: Mapping[str, Check]) -> JSON:
    """The JSON body, checked. Raises Ill.

    JSON by name is demanded because a foreign site cannot send it here without asking first.
    """
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise Ill("the body must be sent as application/json, uncompressed")
    try:
        body: Any = json.loads(await request.read())
    except (ValueError, RecursionError):
        raise Ill("the body is not valid JSON") from None
    record(fields)(body, "body")
    return dict(body)


def _json(value: JSON, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers={**_HEADERS, "Cache-Control": "no-store"})


def _file(name: str) -> web.Response:
    """A file of the page. Only exact names of what lies in the folder are found, so no name leads out of it."""
    found = {path.name: path for path in STATIC.glob("*") if path.suffix in CONTENT_TYPES and path.is_file()}
    path = found.get(name)
    if path is None:
        return web.json_response({"error": "no such file"}, status=404, headers=_HEADERS)
    kind = CONTENT_TYPES[path.suffix]
    charset = None if kind.startswith(("image/", "font/")) else "utf-8"
    return web.Response(body=path.read_bytes(), content_type=kind, charset=charset, headers=_PAGE_HEADERS)


Handler = Callable[[web.Request], Awaitable[web.Response]]


def _explained(handler: Handler) -> Handler:
    """The handler with the caller's mistakes turned into 400 and a sentence."""

    async def explain(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (Ill, Impossible) as error:
            return _json({"error": str(error)}, status=400)

    return explain
