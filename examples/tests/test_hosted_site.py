"""FastAPI's `/hosted` in a real browser: signing in on tapcode's own page, and what others may try.

With SCREENSHOTS=folder the pictures of each step are left there.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from examples.tests import sites
from examples.tests.sites import Phone, Sandbox
from sandbox.demo import SITE_PORTS
from tests.browsing import chromium, in_a_browser, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = in_a_browser

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sites.sandbox(tmp_path_factory.mktemp("sandbox")) as one:
        yield one


@pytest.fixture(scope="module")
def site(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """At one of the addresses to which the sandbox's project may be led back."""
    url = sandbox.url.replace("127.0.0.1", "localhost")  # the name under which its pages are
    environment = {"TAPCODE_API_KEY": sandbox.key, "TAPCODE_URL": url}
    with sites.fastapi(tmp_path_factory.mktemp("fastapi"), environment, registered_port()) as port:
        yield f"http://127.0.0.1:{port}"


def registered_port() -> int:
    for port in SITE_PORTS:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
    pytest.skip(f"NOT TESTED: none of the ports {SITE_PORTS} is free")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """Opens the site in a browser of its own; in the end, none may have seen an error of ours or broken a policy."""
    contexts, errors = [], []

    def visited(width: int = 1280, height: int = 800, locale: str = "en-US", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, locale=locale, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{site}/hosted")
        return page

    yield visited
    for context in contexts:
        context.close()
    assert errors == []


def agree(page: Page, phone: Phone) -> str:
    """Paste the link into the chat, consent; the code."""
    page.wait_for_url("**/c/*")
    phone.act("say", text=page.locator(f".way[data-channel={phone.channel}] .go").get_attribute("href"))
    phone.press("Get the code")
    page.locator("#code").wait_for()
    return phone.code()


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"hosted-{name}.png")


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no-scripts"])
@pytest.mark.parametrize(
    "channel,size,locale,button",
    [("telegram", {}, "en-US", "Sign in"), ("max", PHONE, "ru-RU", "Войти")],
    ids=["telegram", "max"],
)
def test_signing_in(
    visit: Callable[..., Page],
    sandbox: Sandbox,
    channel: str,
    size: dict[str, int],
    locale: str,
    button: str,
    scripts: bool,
):
    """There and back again, on a desktop and on a phone, in both languages, with scripts and without."""
    page, phone = visit(**size, locale=locale, java_script_enabled=scripts), sandbox.phone(channel)
    picture(page, f"{channel}-1-begin")
    assert not scripts or violations(page) == []
    before = page.context.cookies()[0]["value"]
    page.get_by_role("button", name=button).click()
    code = agree(page, phone)
    picture(page, f"{channel}-2-code")
    page.locator("#code").fill(code)
    if not scripts:
        page.locator("#code").press("Enter")
    page.locator("#user").wait_for()
    picture(page, f"{channel}-3-inside")
    assert not scripts or violations(page) == []
    assert page.locator("#user").inner_text().startswith(f"{channel}-")
    assert before not in [cookie["value"] for cookie in page.context.cookies()]  # the session has a new name


def test_login_csrf(visit: Callable[..., Page], sandbox: Sandbox):
    """Somebody's own way back, sent to a visitor who is signing in as well, signs the visitor in as nobody."""
    villain, victim = visit(), visit()
    ways: list[str] = []
    villain.on("request", lambda one: ways.append(one.url) if "/hosted/done" in one.url else None)
    villain.get_by_role("button", name="Sign in").click()
    code = agree(villain, sandbox.phone("telegram"))
    villain.locator("#code").fill(code)
    villain.locator("#user").wait_for()
    victim.get_by_role("button", name="Sign in").click()
    victim.wait_for_url("**/c/*")
    victim.goto(ways[0])
    victim.get_by_text("not begun and finished in this browser").wait_for()
    assert victim.locator("#user").count() == 0


def test_request_fixation(visit: Callable[..., Page], site: str, sandbox: Sandbox):
    """Whoever sends the page of their own request to a victim is not let in by what the victim does there."""
    villain, victim = visit(), visit()
    villain.get_by_role("button", name="Sign in").click()
    villain.wait_for_url("**/c/*")
    victim.goto(villain.url)
    code = agree(victim, sandbox.phone("max"))
    victim.locator("#code").fill(code)
    victim.get_by_text("not begun and finished in this browser").wait_for()
    request_id = villain.evaluate("document.body.dataset.request")
    for proof in ("", "&proof=", "&proof=0", "&proof=None"):
        villain.goto(f"{site}/hosted/done?request_id={request_id}{proof}")
        assert parse_qs(urlsplit(villain.url).query)["said"] == ["elsewhere"]
        assert villain.locator("#user").count() == 0


def test_a_form_of_another_site_does_nothing(visit: Callable[..., Page], site: str):
    """Without the session's token."""
    page = visit()
    forms: list[dict[str, str | float | bool]] = [{}, {"csrf_token": ""}, {"csrf_token": "x" * 43}]
    for form in forms:
        assert page.request.post(f"{site}/hosted/start", form=form, max_redirects=0).status == 403


def test_who_gives_up_begins_again(visit: Callable[..., Page], site: str):
    """The page's own way back, without a code, leads to the form."""
    page = visit()
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/c/*")
    page.goto(f"{site}/hosted/done?request_id={page.evaluate('document.body.dataset.request')}")
    assert page.url == f"{site}/hosted"
