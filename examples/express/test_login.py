"""The example's login in a real browser: the person is played on the phones of the sandbox's page.

With SCREENSHOTS=folder, pictures of each page are left there, as a phone and as a desktop show it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import Phone, chromium, free_port, in_a_browser, sandbox, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

HERE = Path(__file__).parent
SCREENS = {"phone": (390, 844), "desktop": (1280, 800)}

pytestmark = in_a_browser


@pytest.fixture(scope="module")
def tapcode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox(tmp_path_factory.mktemp("sandbox")) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def key(browser: Browser, tapcode: str) -> str:
    page = browser.new_page()
    answer = page.request.get(f"{tapcode}/sandbox/state").json()
    page.close()
    return str(answer["facts"]["api_key"])


@pytest.fixture(scope="module")
def site(tapcode: str, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    node, port = shutil.which("node"), free_port()
    assert node, "Node is needed"
    url = f"http://127.0.0.1:{port}"
    settings = {
        "PATH": os.environ["PATH"],
        "TAPCODE_URL": tapcode,
        "TAPCODE_API_KEY": key,
        "SHOP_PORT": str(port),
    }
    command = [node, str(HERE / "server.js")]
    with served(command, f"{url}/login", tmp_path_factory.mktemp("site"), settings):
        yield url


@pytest.fixture
def visitor(browser: Browser, site: str) -> Iterator[Callable[..., Page]]:
    """Each call is another browser, with its own cookies, at the login page."""
    contexts, errors = [], []

    def came(screen: str = "desktop") -> Page:
        width, height = SCREENS[screen]
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale="en-US",
            has_touch=screen == "phone",
            is_mobile=screen == "phone",
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        return page

    yield came
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def phones(browser: Browser, tapcode: str) -> Iterator[dict[str, Phone]]:
    """Two phones in the hands of new people."""
    page = browser.new_page()
    page.set_default_timeout(10_000)
    page.goto(tapcode)
    page.locator("body.ready").wait_for()
    made = {channel: Phone(page, channel) for channel in ("telegram", "max")}
    for phone in made.values():
        phone.renew()
    yield made
    page.close()


def says(page: Page, text: str) -> None:
    """The site shows this sentence, soon."""
    from playwright.sync_api import expect

    expect(page.locator("#notice")).to_contain_text(text, timeout=10_000)


def ask(page: Page) -> str:
    """Get a link; the pairing code that stands beside it."""
    page.get_by_role("button", name="Get a code").click()
    return page.locator("#pairing").inner_text()


def agree(page: Page, phone: Phone) -> str:
    """Ask, type the pairing code into the chat, consent; the code that arrives."""
    phone.say(ask(page))
    phone.press("Get the code")
    says(page, "The code is in")
    return phone.code()


def enter(page: Page, code: str, button: str = "Sign in") -> None:
    page.get_by_label("Code from the messenger").fill(code)
    page.get_by_role("button", name=button).first.click()


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def picture(page: Page, name: str) -> None:
    """Nothing scrolls sideways; leave a screenshot, if these are wanted."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide == page.viewport_size["width"], name
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"express-{name}-{wide}.png", full_page=True)


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("channel", ["telegram", "max"])
def test_a_login(visitor: Callable[..., Page], phones: dict[str, Phone], channel: str, screen: str):
    """The page notices by itself that the code was sent; typed in, it signs in, and out again."""
    page = visitor(screen)
    picture(page, "login")
    phones[channel].say(ask(page))
    page.get_by_role("heading", name="Get the code").wait_for()
    assert page.locator("#enter").is_hidden()
    picture(page, "waiting")
    phones[channel].press("Get the code")
    page.get_by_role("heading", name="Enter the code").wait_for()
    says(page, f"The code is in {'MAX' if channel == 'max' else 'Telegram'}")
    assert page.locator("#ways").is_hidden()
    picture(page, "sent")
    enter(page, phones[channel].code())
    page.get_by_text("You are signed in").wait_for()
    picture(page, "home")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()


def test_the_links_are_those_of_both_messengers(visitor: Callable[..., Page]):
    """Each leads to its bot, in a tab of its own that learns nothing of this one."""
    page = visitor()
    ask(page)
    payload = page.locator("#payload").text_content()
    for name, host in (("Open Telegram", "https://t.me/"), ("Open MAX", "https://max.ru/")):
        link = page.get_by_role("link", name=name)
        address = link.get_attribute("href")
        assert address
        assert address.startswith(host)
        assert address.endswith(f"?start={payload}")
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")


def test_copying_the_pairing_code(visitor: Callable[..., Page]):
    """The button beside it puts it into the clipboard."""
    page = visitor()
    pairing_code = ask(page)
    button = page.locator("[data-copy=pairing]")
    button.click()
    page.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == pairing_code
    assert re.fullmatch(r"\w{4}-\w{4}", pairing_code)


def test_help_after_a_minute(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """After 60 s without a code the page says what to do, and what it offers to copy works."""
    page = visitor()
    page.clock.install()
    ask(page)
    assert page.locator("#help").is_hidden()
    page.clock.fast_forward(61_000)
    page.locator("#help").wait_for()
    picture(page, "late")
    phones["max"].say(page.locator("#payload").inner_text())
    phones["max"].press("Get the code")
    says(page, "The code is in MAX")
    assert page.locator("#help").is_hidden()


def test_wrong_codes_count_down(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """Each is counted and said; after the last one even the right code is refused."""
    page = visitor("phone")
    code = agree(page, phones["telegram"])
    enter(page, "12 3")
    says(page, "not a whole code")
    for told in ("2 tries are left", "One try is left", "it was the last try"):
        enter(page, wrong(code))
        says(page, told)
        page.wait_for_load_state("networkidle")
        says(page, told)  # and nothing talks over it
    picture(page, "wrong")
    page.goto(page.url)
    page.locator("#code").evaluate("field => field.closest('div').hidden = false")
    enter(page, code)
    says(page, "does not work any more")


def test_cancelled_in_the_chat(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """The page says so, takes the field away, and offers a new link."""
    page = visitor()
    phones["telegram"].say(ask(page))
    phones["telegram"].press("Cancel")
    says(page, "You pressed Cancel in the messenger")
    page.get_by_role("heading", name="Cancelled").wait_for()
    assert page.locator("#enter").is_hidden()
    picture(page, "cancelled")
    before = page.locator("#pairing").text_content()
    page.get_by_role("button", name="Get a new link").click()
    says(page, "Waiting for you")
    assert page.locator("#pairing").inner_text() != before


def test_it_was_not_me(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """Pressed in the chat, it ends the sign-in on the page that lies open, and that page offers nothing new."""
    page = visitor("phone")
    agree(page, phones["telegram"])
    phones["telegram"].press("It wasn")
    page.get_by_role("heading", name="This sign-in was ended").wait_for()
    assert page.locator("form").count() == 0
    picture(page, "ended")


def test_a_new_link_in_another_tab(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """The first tab follows to the new link, and does not speak of a Cancel that nobody pressed."""
    page = visitor()
    before = ask(page)
    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Get a new link").click()
    page.locator("#pairing", has_not_text=before).wait_for()
    assert page.locator("#pairing").inner_text() == other.locator("#pairing").inner_text()
    says(page, "Waiting for you")
    agreed = phones["max"]
    agreed.say(page.locator("#pairing").inner_text())
    agreed.press("Get the code")
    says(page, "The code is in MAX")
    says(other, "The code is in MAX")


def test_another_browser_that_knows_the_request_cannot_finish_the_login(
    visitor: Callable[..., Page], phones: dict[str, Phone]
):
    """It has the request's id and even the code, but not the session: with no request, and with one of its own."""
    page, stranger = visitor(), visitor()
    code = agree(page, phones["telegram"])
    payload = page.locator("#payload").text_content()
    assert payload
    request_id = payload.removeprefix("otp_")

    def try_it() -> Page:
        """Post the right code with the stranger's own token, and all names that somebody might think of."""
        token = stranger.locator("input[name=csrf]").first.input_value()
        form = {"csrf": token, "code": code, "request_id": request_id, "requestId": request_id}
        answer = stranger.request.post(
            f"{stranger.url.split('/login')[0]}/login/code?request_id={request_id}", form=form
        )
        assert answer.ok
        return stranger

    try_it().goto(page.url)
    stranger.get_by_role("heading", name="Sign in").wait_for()  # sent back to the beginning
    phones["max"].say(ask(stranger))
    phones["max"].press("Get the code")
    says(stranger, "The code is in MAX")
    enter(stranger, code)
    says(stranger, "not the code")
    try_it().goto(page.url.replace("/login/code", "/"))
    stranger.get_by_text("code").first.wait_for()
    assert stranger.get_by_text("You are signed in").count() == 0
    enter(page, code)  # and the one who asked still can
    page.get_by_text("You are signed in").wait_for()


def test_a_code_for_another_browsers_request_does_not_sign_in_here(
    visitor: Callable[..., Page], phones: dict[str, Phone]
):
    """The same person agreed to both requests: the newer code is good in the browser that asked for it, and only there."""
    page, other = visitor(), visitor()
    older = agree(page, phones["telegram"])
    phones["telegram"].say(ask(other))
    says(other, "The code is in Telegram")
    newer = phones["telegram"].code()
    assert newer != older
    enter(page, newer)
    says(page, "does not work any more")
    enter(other, newer)
    other.get_by_text("You are signed in").wait_for()


def test_a_form_of_another_site_does_nothing(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """Without the session's token a POST is refused, the code stays good."""
    page = visitor()
    code = agree(page, phones["telegram"])
    base = page.url.removesuffix("/login/code")
    for path in ("/login", "/login/code", "/logout", "/payment", "/payment/code"):
        for form in ({"code": code}, {"code": code, "csrf": "x" * 128}):
            assert page.request.post(base + path, form=form).status == 403, path
    enter(page, code)
    page.get_by_text("You are signed in").wait_for()


def test_signing_in_makes_a_new_session(visitor: Callable[..., Page], phones: dict[str, Phone], site: str):
    """The cookie of before is worth nothing afterwards: whoever planted it is not signed in with the visitor."""
    page, planter = visitor(), visitor()
    code = agree(page, phones["telegram"])
    (before,) = page.context.cookies()
    enter(page, code)
    page.get_by_text("You are signed in").wait_for()
    (after,) = page.context.cookies()
    assert before["value"] != after["value"]
    assert (after["httpOnly"], after["sameSite"]) == (True, "Lax")
    planter.context.clear_cookies()
    planter.context.add_cookies([{"name": before["name"], "value": before["value"], "url": site}])
    planter.goto(site)
    planter.get_by_role("heading", name="Sign in").wait_for()


def test_a_cookie_that_was_changed_is_no_session(
    visitor: Callable[..., Page], phones: dict[str, Phone], site: str
):
    """Its signature is looked at."""
    page = visitor()
    enter(page, agree(page, phones["telegram"]))
    page.get_by_text("You are signed in").wait_for()
    (cookie,) = page.context.cookies()
    forged = cookie["value"].rsplit(".", 1)[0] + "." + "x" * 43
    page.context.add_cookies([{"name": cookie["name"], "value": forged, "url": site}])
    page.goto(site)
    page.get_by_role("heading", name="Sign in").wait_for()


def test_paying_with_a_code_that_is_sent_straight(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """The chat says what for; the code of signing in does not pay, the right one does."""
    page, phone = visitor("phone"), phones["telegram"]
    login_code = agree(page, phone)
    enter(page, login_code)
    page.get_by_role("button", name="Pay").click()
    says(page, "The code is in Telegram")
    phone.page.locator(".telegram .bubble", has_text="12.00 €").last.wait_for()
    picture(page, "payment")
    code = phone.code()
    assert code != login_code
    enter(page, login_code, "Pay")
    says(page, "not the code")
    enter(page, code, "Pay")
    says(page, "Paid: 12.00 €")


def test_who_left_the_bot_is_told_what_to_do(visitor: Callable[..., Page], phones: dict[str, Phone]):
    """A code can't be sent there: 404, said in words."""
    page = visitor()
    enter(page, agree(page, phones["max"]))
    page.get_by_text("You are signed in").wait_for()
    phones["max"].page.locator(".max .block").click()
    phones["max"].page.locator(".max .bot-kind", has_text="blocked").wait_for()
    page.get_by_role("button", name="Pay").click()
    says(page, "can’t write to you any more")
    phones["max"].page.locator(".max .block").click()


def test_without_scripts(browser: Browser, site: str, phones: dict[str, Phone]):
    """Whoever allows no scripts can sign in too."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site)
    pairing_code = ask(page)
    phones["telegram"].say(pairing_code)
    page.get_by_role("link", name="I have a code").click()
    says(page, "Waiting for you")
    phones["telegram"].press("Get the code")
    page.get_by_role("link", name="I have a code").click()
    enter(page, phones["telegram"].code())
    page.get_by_text("You are signed in").wait_for()
    context.close()
