"""The reference at `/docs` in a real browser: it renders, it asks nobody else, and calls can be tried out."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browsing import in_a_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = in_a_browser

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


@pytest.fixture(params=SIZES)
def page(request: pytest.FixtureRequest, browser: Browser, base_url: str) -> Iterator[Page]:
    """The page, open; in the end the browser may have complained of nothing, and asked this service alone."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height})
    page, complaints, asked = context.new_page(), [], set()

    def note(message: Any) -> None:
        if "/v1/otp/" not in message.location.get("url", ""):  # an error answer is what a test is about
            complaints.append(message.text)

    page.set_default_timeout(20_000)
    page.on("console", note)  # violations of the policy come here too
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda sent: asked.add(sent.url))
    page.goto(f"{base_url}/docs")
    page.locator(".opblock").first.wait_for()
    yield page
    context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith((f"{base_url}/", "data:"))] == []


@pytest.fixture(scope="module")
def api_key(base_url: str) -> str:
    """The sandbox's key."""
    with urllib.request.urlopen(f"{base_url}/sandbox/state", timeout=10) as answer:  # noqa: S310  # loopback
        return str(json.load(answer)["facts"]["api_key"])


def enter_key(page: Page, api_key: str) -> None:
    page.locator(".btn.authorize").click()
    page.locator(".auth-container input").fill(api_key)
    page.locator(".auth-container .authorize").click()
    page.locator(".btn-done").click()


def opened(page: Page, operation: str) -> Locator:
    block = page.locator(f".opblock[id$=-{operation}]")
    block.locator(".opblock-summary-control").click()
    block.locator(".execute").wait_for()
    return block


def execute(block: Locator) -> tuple[int, Any]:
    """Press "Execute"; the status and the JSON that are shown."""
    shown = block.locator(".live-responses-table .response")
    if shown.count():  # that of the call before
        block.locator(".btn-clear").click()
        shown.wait_for(state="detached")
    block.locator(".execute").click()
    shown.wait_for()
    status = shown.locator(".response-col_status").inner_text().split()[0]
    return int(status), json.loads(shown.locator(".highlight-code code").first.inner_text())


def test_a_code_is_asked_for_with_the_key_that_was_entered(page: Page, api_key: str):
    """Without a key 401; with it the call goes through as it stands there, sample and all."""
    block = opened(page, "requestCode")
    assert execute(block)[0] == 401
    enter_key(page, api_key)
    status, answer = execute(block)
    assert status == 200
    assert len(answer["request_id"]) == 16


def test_what_the_document_keeps_apart_can_be_tried(page: Page, api_key: str):
    """`wait` and `Idempotency-Key` have a field of their own here, and what is entered there is sent."""
    enter_key(page, api_key)
    block = opened(page, "requestCode")
    block.get_by_placeholder("Idempotency-Key").fill("one-and-the-same")
    first = execute(block)[1]
    assert execute(block)[1] == first
    block.locator(".live-responses-table").get_by_text("idempotent-replayed: true").wait_for()
    status = opened(page, "requestStatus")
    status.get_by_placeholder("request_id").fill(first["request_id"])
    status.get_by_placeholder("wait").fill("1")
    assert execute(status)[1]["status"] == "pending"


@pytest.mark.timeout(300)  # twenty of them, each with a dozen answers to draw
@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_every_call_opens(page: Page):
    """Schemas, samples and answers of all of them are drawn, and none is wider than a phone."""
    blocks = page.locator(".opblock").all()
    assert len(blocks) > 15
    for block in blocks:
        block.locator(".opblock-summary-control").click()
        block.locator(".responses-table").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), block.get_attribute("id")
        block.locator(".opblock-summary-control").click()


def test_the_key_is_gone_with_the_page(page: Page, api_key: str):
    """It is kept nowhere in the browser."""
    enter_key(page, api_key)
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    page.reload()
    assert execute(opened(page, "requestCode"))[0] == 401
