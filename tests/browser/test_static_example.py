"""`examples/static` in a real browser, with the real service and the sandbox's phones: from the button to the account.

With SCREENSHOTS=folder the pictures of each step are left there.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from sandbox.demo import SITE_PORTS
from tests.browsing import Phone, in_a_browser, sandbox, served, violations
from tests.process import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

pytestmark = in_a_browser

PHONE = {"width": 390, "height": 844, "is_mobile": True, "has_touch": True}
DESKTOP = {"width": 1280, "height": 800}


# ---- the service, the site, the people


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox(tmp_path_factory.mktemp("sandbox")) as url:
        yield url.replace("127.0.0.1", "localhost")  # the name under which it gives out its pages


@pytest.fixture(scope="module")
def site(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with urllib.request.urlopen(f"{service}/sandbox/state") as answer:  # noqa: S310
        key = json.load(answer)["facts"]["api_key"]
    url = f"http://localhost:{free_registered_port()}"
    environment = {
        "TAPCODE_URL": service,
        "TAPCODE_API_KEY": key,
        "SITE_URL": url,
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, str(ROOT / "examples" / "static" / "server.py")]
    with served(command, url, tmp_path_factory.mktemp("site"), environment):
        yield url


def free_registered_port() -> int:
    """One of those from which the sandbox's project lets its pages be framed."""
    for port in SITE_PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    pytest.skip(f"NOT TESTED: none of the ports {SITE_PORTS} is free")


@pytest.fixture(scope="module")
def sandbox_page(browser: Browser, service: str) -> Iterator[Page]:
    """The page with both phones."""
    page = browser.new_page(locale="en-US")
    page.set_default_timeout(10_000)
    page.goto(service)
    page.locator("body.ready").wait_for()
    yield page
    page.close()


@pytest.fixture
def phones(sandbox_page: Page) -> dict[str, Phone]:
    made = {channel: Phone(sandbox_page, channel) for channel in ("telegram", "max")}
    for phone in made.values():
        phone.renew()
    return made


@pytest.fixture
def visit(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """Opens the site in a browser of its own; in the end, none may have seen an error of ours or broken a policy."""
    contexts, errors = [], []

    def note(said: Any) -> None:
        if said.type == "error" and "the server responded with a status" not in said.text:
            errors.append(said.text)

    def visited(width: int = 1280, height: int = 800, locale: str = "en-US", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, locale=locale, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        return page

    yield visited
    for context in contexts:
        context.close()
    assert errors == []


# ---- what people do and see


def press(page: Page) -> Frame:
    """The button; the hosted page in the dialog."""
    page.get_by_role("button", name="Sign in").click()
    return hosted(page)


def hosted(page: Page) -> Frame:
    frame = page.locator("tapcode-button iframe")
    frame.wait_for(state="visible")
    found = frame.element_handle().content_frame()
    assert found is not None
    return found


def agree(frame: Frame | Page, phone: Phone) -> str:
    """Paste the link into the chat, consent; the code."""
    link = frame.locator(f".way[data-channel={phone.channel}] .go").get_attribute("href")
    assert link
    phone.say(link)
    phone.press("Get the code")
    frame.locator("#code").wait_for()
    return phone.code()


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"static-{name}.png")


# ---- signing in


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("channel", ["telegram", "max"])
def test_signing_in(
    visit: Callable[..., Page],
    site: str,
    phones: dict[str, Phone],
    channel: str,
    size: dict[str, Any],
    request: Any,
):
    """From the button to the account, without leaving the page before the end."""
    page, name = visit(**size), request.node.callspec.id
    picture(page, f"{name}-1-begin")
    assert violations(page) == []
    frame = press(page)
    frame.locator(".way").first.wait_for()
    picture(page, f"{name}-2-ways")
    assert violations(page) == []
    code = agree(frame, phones[channel])
    picture(page, f"{name}-3-code")
    assert violations(page) == []
    assert page.url == f"{site}/"
    frame.locator("#code").fill(code)
    page.wait_for_url(f"{site}/account")
    assert page.locator("#user").inner_text().startswith(f"{channel}-")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{site}/")


def test_in_russian(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """The language of the page is that of the dialog, and of what is in it."""
    page = visit(**PHONE)
    page.evaluate("document.documentElement.lang = 'ru'")
    frame = press(page)
    page.get_by_role("dialog", name="Код из Telegram или MAX").wait_for()
    frame.get_by_text("Выберите").wait_for()
    picture(page, "russian")
    code = agree(frame, phones["max"])
    frame.get_by_role("heading", name="Введите код").wait_for()
    assert violations(page) == []
    frame.locator("#code").fill(code)
    page.wait_for_url(f"{site}/account")


def test_by_keyboard_alone(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """In, Escape from within the page, in again to the same request, and to the end."""
    page = visit()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    frame = hosted(page)
    link = frame.locator(".way .go").first.get_attribute("href")
    while not frame.evaluate("document.hasFocus() && document.activeElement.matches('.go')"):
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.locator("tapcode-button iframe").wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "Sign in with Telegram or MAX"
    page.keyboard.press("Enter")
    frame = hosted(page)
    assert frame.locator(".way .go").first.get_attribute("href") == link
    code = agree(frame, phones["telegram"])
    while not frame.evaluate("document.hasFocus() && document.activeElement.id === 'code'"):
        page.keyboard.press("Tab")
    page.keyboard.type(code)
    page.wait_for_url(f"{site}/account")


def test_without_scripts(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """The form leads to the hosted page, which leads back; nothing of the way needs a script."""
    page = visit(java_script_enabled=False)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/c/*")
    picture(page, "without-scripts")
    code = agree(page, phones["telegram"])
    page.locator("#code").fill(code)
    page.get_by_role("button", name="Check").click()
    page.wait_for_url(f"{site}/account")
    page.locator("#user").wait_for()


def test_a_wrong_code_and_the_right_one(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """The dialog stays, and says how often one may still try."""
    page = visit(**PHONE)
    frame = press(page)
    code = agree(frame, phones["telegram"])
    frame.locator("#code").fill("000000" if code != "000000" else "111111")
    frame.locator(".error").wait_for()
    picture(page, "wrong")
    frame.locator("#code").fill(code)
    page.wait_for_url(f"{site}/account")


def test_cancelled_in_the_chat(visit: Callable[..., Page], phones: dict[str, Phone]):
    """The page says so; who closes it and presses again has a new request."""
    page = visit()
    frame = press(page)
    link = frame.locator(".way .go").first.get_attribute("href")
    assert link
    phones["telegram"].say(link)
    phones["telegram"].press("Cancel")
    frame.locator(".way").first.wait_for(state="detached")
    picture(page, "cancelled")
    assert violations(page) == []
    page.get_by_role("button", name="Close").click()
    assert press(page).locator(".way .go").first.get_attribute("href") != link


# ---- whose session it is


def test_login_csrf(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """Somebody's own way back, sent to a visitor, signs the visitor in as nobody, while they sign in themselves too."""
    villain, victim = visit(), visit()
    villain.evaluate(
        "addEventListener('tapcode-verified', event => { event.preventDefault(); self.way = event.detail.return_url })"
    )
    frame = press(villain)
    code = agree(frame, phones["telegram"])
    frame.locator("#code").fill(code)
    villain.locator("tapcode-button iframe").wait_for(state="detached")
    way = villain.evaluate("self.way")
    press(victim)
    victim.goto(way)
    victim.get_by_text("not begun in this browser").wait_for()
    assert victim.goto(f"{site}/account")
    victim.wait_for_url(f"{site}/")
    villain.goto(way)  # and it was a good one
    villain.wait_for_url(f"{site}/account")


def test_request_fixation(visit: Callable[..., Page], site: str, phones: dict[str, Phone]):
    """Whoever sends the page of their own request to a victim is not let in by what the victim does there."""
    villain, victim = visit(), visit()
    frame = press(villain)
    victim.goto(frame.url.partition("?")[0])
    code = agree(victim, phones["telegram"])
    victim.locator("#code").fill(code)
    victim.get_by_text("not begun in this browser").wait_for()
    request_id = parse_qs(urlsplit(victim.url).query)["request_id"][0]
    for proof in ("", "&proof=", "&proof=0", "&proof=None"):
        villain.goto(f"{site}/login/done?request_id={request_id}{proof}")
        villain.get_by_text("not entered in this browser").wait_for()
        villain.goto(f"{site}/account")
        assert villain.url == f"{site}/"


def test_who_comes_back_without_a_code_begins_again(visit: Callable[..., Page], site: str):
    page = visit()
    frame = press(page)
    request_id = frame.locator("body").get_attribute("data-request")
    page.goto(f"{site}/login/done?request_id={request_id}&proof=x")
    assert page.url == f"{site}/"


def test_posts_of_other_sites_do_nothing(site: str):
    """Every browser says where a POST comes from; one that says nothing is not believed either."""
    for path in ("/login", "/logout"):
        for origin in (
            {},
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": site + ".evil.example"},
        ):
            asked = urllib.request.Request(site + path, b"", origin, method="POST")  # noqa: S310
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(asked)  # noqa: S310
            refused.value.close()
