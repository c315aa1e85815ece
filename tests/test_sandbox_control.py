"""The sandbox's control API and page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiogram.types import InlineKeyboardMarkup, KeyboardButton, ReplyKeyboardMarkup
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from sandbox import control
from sandbox.control import add_sandbox_routes
from tests.test_sandbox_rigs import BUTTONS, MaxRig, TelegramRig, keyboard, link, max_rig, telegram_rig

FACTS = {"api_key": "tc_test_key", "project": "Shop", "base_url": "http://localhost", "version": "0.1.0"}
TELEGRAM_USER = 700_001


@dataclass
class Page:
    """The control API as the page uses it, and what stands behind it."""

    client: TestClient[web.Request, web.Application]
    telegram: TelegramRig
    max: MaxRig
    advanced: list[int] = field(default_factory=list)

    async def state(self, after: int | str | None = None) -> dict[str, Any]:
        answer = await self.client.get("/sandbox/state", params={} if after is None else {"after": after})
        assert answer.status == 200
        return dict(await answer.json())

    async def act(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        answer = await self.client.post(f"/sandbox/{path}", json=body)
        return answer.status, await answer.json()

    async def phone(self, channel: str) -> dict[str, Any]:
        return dict((await self.state())["phones"][channel])


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    app = web.Application()
    async with telegram_rig(started=False) as telegram, max_rig(started=False) as max_:
        advanced: list[int] = []
        add_sandbox_routes(app, telegram=telegram.sim, max=max_.sim, facts=FACTS, advance=advanced.append)
        async with TestClient(TestServer(app)) as client:
            yield Page(client, telegram, max_, advanced)


# ---- what people do


async def test_the_state_begins_with_two_empty_phones(page: Page) -> None:
    """Facts, a clock that stands at zero, and a person without messages per messenger."""
    state = await page.state()
    assert (state["facts"], state["clock_offset_seconds"]) == (FACTS, 0)
    assert state["phones"]["telegram"] == {
        "bot": "codes_bot",
        "user_id": TELEGRAM_USER,
        "language": "en",
        "blocked": False,
        "messages": [],
        "popups": [],
        "keys": [],
    }
    assert state["phones"]["max"]["user_id"] != TELEGRAM_USER


async def test_a_link_is_opened_and_max_says_when_it_stays_silent(page: Page) -> None:
    """Telegram always sends something, MAX only at the first start."""
    silent = []
    for rig in (page.telegram, page.max):
        for _ in range(2):
            status, body = await page.act(f"{rig.sim.channel}/open", link=link(rig.sim))
            silent.append((status, body["silent"]))
    assert silent == [(200, False), (200, False), (200, False), (200, True)]


async def test_a_message_of_the_bots_is_shown_and_its_buttons_work(page: Page) -> None:
    """Spans, edits and buttons are in the state; a press goes to the bot or gives the text or address."""
    await page.act("telegram/say", text="hello")
    await page.telegram.bot.send_message(
        TELEGRAM_USER,
        "<code>1234</code>",
        parse_mode="HTML",
        reply_markup=InlineKeyboardMarkup.model_validate({"inline_keyboard": [BUTTONS["telegram"]]}),
    )
    said, sent = (await page.phone("telegram"))["messages"]
    assert (said["author"], said["text"]) == ("person", "hello")
    assert (sent["author"], sent["code_spans"], sent["edited"]) == ("bot", [[0, 4]], False)
    assert sent["buttons"][0][1] == {"label": "Copy", "kind": "copy", "value": "1234"}
    page.telegram.sim.capture = []
    pressed = [
        await page.act("telegram/press", message_id=sent["id"], row=0, column=column) for column in range(3)
    ]
    assert pressed == [(200, {}), (200, {"copy": "1234"}), (200, {"link": "https://example.test/"})]
    assert len(page.telegram.sim.capture) == 1


async def test_popups_are_in_the_state(page: Page) -> None:
    """What the bot answered to a press, oldest first."""
    await page.act("max/say", text="hello")
    user_id = (await page.phone("max"))["user_id"]
    body = {"text": "x", "attachments": keyboard(BUTTONS["max"])}
    page.max.sim.capture = []
    await page.max.raw(f"/messages?user_id={user_id}", body, Authorization=page.max.sim.token)
    message = (await page.phone("max"))["messages"][-1]
    await page.act("max/press", message_id=message["id"], row=0, column=0)
    await page.max.popup(page.max.pressed(page.max.sim.capture[0])["id"], "done")
    assert (await page.phone("max"))["popups"] == ["done"]


async def test_keys_in_place_of_the_keyboard_are_in_the_state(page: Page) -> None:
    """They are pressed by their place; a contact that is somebody else's can be sent beside them."""
    await page.act("telegram/say", text="hello")
    rows = [[KeyboardButton(text="Share", request_contact=True)], [KeyboardButton(text="Skip")]]
    markup = ReplyKeyboardMarkup(keyboard=rows, one_time_keyboard=True)
    await page.telegram.bot.send_message(TELEGRAM_USER, "x", reply_markup=markup)
    assert (await page.phone("telegram"))["keys"] == [["Share"], ["Skip"]]
    page.telegram.sim.capture = []
    assert (await page.act("telegram/contact", whose="foreign"))[0] == 200
    assert (await page.act("telegram/key", row=0, column=0))[0] == 200
    shared = [one["message"]["contact"]["user_id"] for one in page.telegram.sim.capture]
    assert [one == TELEGRAM_USER for one in shared] == [False, True]
    assert (await page.phone("telegram"))["keys"] == []
    for act, fields in (("key", {"row": 0, "column": 0}), ("contact", {"whose": "own"})):
        assert (await page.act(f"max/{act}", **fields))[0] == 400
    assert (await page.act("telegram/key", row=1, column=0))[0] == 400


async def test_the_bot_can_be_blocked_and_unblocked(page: Page) -> None:
    """On one phone; the other does not notice."""
    await page.act("telegram/block")
    state = await page.state()
    assert [state["phones"][channel]["blocked"] for channel in ("telegram", "max")] == [True, False]
    await page.act("telegram/unblock")
    assert not (await page.phone("telegram"))["blocked"]


async def test_a_phone_changes_its_language_and_its_owner(page: Page) -> None:
    """A new person has an empty chat and keeps the phone's language."""
    await page.act("telegram/say", text="hello")
    await page.act("telegram/language", language="ru")
    await page.act("telegram/new-person")
    phone = await page.phone("telegram")
    assert (phone["user_id"], phone["language"], phone["messages"]) == (TELEGRAM_USER + 1, "ru", [])
    page.telegram.sim.capture = []
    await page.act("telegram/say", text="привет")
    assert page.telegram.sim.capture[0]["message"]["from"]["language_code"] == "ru"


async def test_the_clock_moves_forward(page: Page) -> None:
    """The product's clock gets milliseconds, the state the sum in seconds."""
    await page.act("clock", advance_seconds=900)
    await page.act("clock", advance_seconds=60)
    assert page.advanced == [900_000, 60_000]
    assert (await page.state())["clock_offset_seconds"] == 960


async def test_the_clock_stops_a_year_ahead(page: Page) -> None:
    """However often it is moved, it stays within what dates can hold."""
    statuses = [(await page.act("clock", advance_seconds=7 * 86_400))[0] for _ in range(53)]
    assert statuses == [200] * 52 + [400]
    assert len(page.advanced) == 52


# ---- waiting for changes


@pytest.mark.parametrize(
    "path, body",
    [
        ("telegram/say", {"text": "hello"}),
        ("max/open", {"link": "https://max.ru/codes_bot?start=otp_abc"}),
        ("max/block", {}),
        ("telegram/language", {"language": "ru"}),
        ("max/new-person", {}),
        ("clock", {"advance_seconds": 1}),
    ],
)
async def test_a_poll_is_answered_by_the_next_change(page: Page, path: str, body: dict[str, Any]) -> None:
    """Whatever the page shows, a change of it ends the poll with a larger version."""
    version = (await page.state())["version"]
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(page.state(after=version))
        await page.act(path, **body)
    assert poll.result()["version"] > version


async def test_a_poll_for_another_version_is_answered_at_once(page: Page) -> None:
    """So is one for a version that has not come yet: the sandbox was started anew."""
    version = (await page.state())["version"]
    assert (await page.state(after=version + 5))["version"] == version


async def test_a_poll_without_changes_is_answered_all_the_same(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, with the same version."""
    monkeypatch.setattr(control, "POLL_SECONDS", 0.01)
    version = (await page.state())["version"]
    assert (await page.state(after=version))["version"] == version


async def test_a_poll_does_not_hold_up_the_end_of_the_server(page: Page) -> None:
    """Shutting down answers whoever waits."""
    version = (await page.state())["version"]
    async with asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(page.state(after=version))
        await asyncio.sleep(0)
        await page.client.app.shutdown()
    assert poll.result()["version"] == version


# ---- mistakes


@pytest.mark.parametrize(
    "path, body",
    [
        ("signal/say", {"text": "x"}),
        ("telegram/dance", {}),
        ("telegram/open", {"link": "https://max.ru/codes_bot?start=otp_abc"}),
        ("telegram/open", {"link": "https://["}),
        ("telegram/open", {"link": 5}),
        ("telegram/open", {}),
        ("telegram/say", {"text": ""}),
        ("telegram/say", {"text": "x" * 5000}),
        ("telegram/say", {"text": "\ud800"}),
        ("telegram/say", {"text": "x", "more": 1}),
        ("telegram/press", {"message_id": "404", "row": 0, "column": 0}),
        ("telegram/press", {"message_id": "101", "row": 0, "column": 0}),
        ("telegram/press", {"message_id": "101", "row": -1, "column": 0}),
        ("telegram/press", {"message_id": "101", "row": 0, "column": 10**30}),
        ("telegram/press", {"message_id": "101", "row": True, "column": 0}),
        ("telegram/press", {"message_id": 101, "row": 0, "column": 0}),
        ("telegram/language", {"language": "de"}),
        ("telegram/language", {"language": []}),
        ("clock", {"advance_seconds": 0}),
        ("clock", {"advance_seconds": -5}),
        ("clock", {"advance_seconds": 10**9}),
        ("clock", {"advance_seconds": 1.5}),
        ("clock", {"advance_seconds": "60"}),
        ("clock", {}),
    ],
)
async def test_a_mistake_is_explained(page: Page, path: str, body: dict[str, Any]) -> None:
    """400 with a sentence, and nothing has changed."""
    await page.act("telegram/say", text="the only message, without buttons")
    version = (await page.state())["version"]
    status, answer = await page.act(path, **body)
    assert status == 400
    assert answer["error"]
    assert (await page.state())["version"] == version
    assert page.advanced == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"text": "x"'])
async def test_a_body_that_is_no_json_object_is_refused(page: Page, body: bytes) -> None:
    """400 and never a crash."""
    answer = await page.client.post(
        "/sandbox/telegram/say", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status == 400
    assert (await answer.json())["error"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_that_a_foreign_site_could_send_is_refused(page: Page, kind: str) -> None:
    """Only JSON by name, which a browser sends to another origin only after asking."""
    headers = {"Content-Type": kind}
    answer = await page.client.post("/sandbox/telegram/say", data=b'{"text": "x"}', headers=headers)
    assert answer.status == 400
    assert (await page.phone("telegram"))["messages"] == []


async def test_a_compressed_body_is_refused(page: Page) -> None:
    """Nobody needs one here, and a broken one would be an error of its own kind."""
    answer = await page.client.post("/sandbox/telegram/say", json={"text": "x"}, compress="deflate")
    assert answer.status == 400
    assert (await page.phone("telegram"))["messages"] == []


@pytest.mark.parametrize("after", ["", "-1", "x", "1.5", "٣", "9" * 100])
async def test_a_version_that_is_no_number_is_refused(page: Page, after: str) -> None:
    """400 instead of waiting for nothing."""
    answer = await page.client.get("/sandbox/state", params={"after": after})
    assert answer.status == 400


# ---- the page


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the page's files, made anew."""
    folder = tmp_path / "static"
    folder.mkdir()
    monkeypatch.setattr(control, "STATIC", folder)
    (tmp_path / "secret.js").write_text("secret")
    return folder


async def test_the_page_is_served_with_a_strict_policy(page: Page, static: Path) -> None:
    """Scripts and styles of its own origin only, no guessing of types, no frames."""
    (static / "index.html").write_text("<!doctype html>")
    answer = await page.client.get("/")
    assert (answer.status, await answer.text()) == (200, "<!doctype html>")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "name, kind",
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_is_served_with_its_type(page: Page, static: Path, name: str, kind: str) -> None:
    """Types do not depend on the machine; the browser asks each time whether a file has changed."""
    (static / name).write_text("content")
    answer = await page.client.get(f"/sandbox/static/{name}")
    assert (answer.status, await answer.text()) == (200, "content")
    assert (answer.headers["Content-Type"], answer.headers["Cache-Control"]) == (kind, "no-cache")


@pytest.mark.parametrize(
    "name", ["missing.js", "notes.txt", "..%2Fsecret.js", "%2e%2e%2fsecret.js", "folder.js", "."]
)
async def test_nothing_else_is_served(page: Page, static: Path, name: str) -> None:
    """No file of an unknown type, no folder, nothing outside."""
    (static / "notes.txt").write_text("notes")
    (static / "folder.js").mkdir()
    answer = await page.client.get(f"/sandbox/static/{name}")
    assert answer.status == 404


async def test_a_missing_page_is_not_found(page: Page, static: Path) -> None:
    """404 instead of an error when the files are not there."""
    assert (await page.client.get("/")).status == 404, static


async def test_the_state_is_not_stored(page: Page) -> None:
    """It holds a key, and is for the same origin only."""
    answer = await page.client.get("/sandbox/state")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
