"""The sandbox page in a real browser, against the real service: everything that its visitor can play."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.browsing import Phone, in_a_browser
from tests.process import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = in_a_browser


# ---- a page with two new people


@pytest.fixture
def open_page(browser: Browser, base_url: str) -> Iterator[Callable[..., Page]]:
    """Opens the page in a context of its own; in the end, no context may have seen an error."""
    contexts, errors = [], []

    def note(message: Any) -> None:
        # An error answer of the API is noted by the browser too; it is what some tests are about.
        # The same for the state, which one test cuts off.
        url = message.location.get("url", "")
        if message.type == "error" and "/v1/otp/" not in url and "/sandbox/state" not in url:
            errors.append(message.text)

    def opened(width: int = 1280, height: int = 900, locale: str = "en-US", **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            permissions=["clipboard-read", "clipboard-write"],
            **options,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(base_url)
        page.locator("body.ready").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    page = open_page()
    renew_people(page)
    return page


# ---- what a visitor does and sees


def renew_people(page: Page) -> None:
    """Give both phones to new people, who speak English and have empty chats."""
    for channel in ("telegram", "max"):
        Phone(page, channel).renew()


def press(page: Page, selector: str) -> None:
    page.locator(selector).click()


def keys(page: Page, channel: str) -> Locator:
    """The inline buttons below the newest message that has any."""
    return page.locator(f".{channel} .message:has(.key)").last.locator(".key")


def ask(page: Page) -> None:
    press(page, ".get-code")
    says(page, "Waiting.")


def open_link(page: Page, channel: str) -> None:
    press(page, f".open-{channel}")


def agree(page: Page, channel: str) -> str:
    """Ask for a code, consent in the bot, and read the code off the phone."""
    ask(page)
    open_link(page, channel)
    keys(page, channel).first.click()
    return code_on(page, channel)


def code_on(page: Page, channel: str) -> str:
    says(page, "The code is in")
    text = page.locator(f".{channel} .message:has(.key.copy) .bubble").last.inner_text()
    code = text.split()[0]
    assert code.isdecimal()
    assert len(code) == 6
    return code


def number_keys(page: Page, channel: str) -> list[str]:
    """The numbers that the bot lets the person choose from."""
    page.locator(f".{channel} .key.press").first.wait_for()
    return [label for label in keys(page, channel).all_inner_texts() if label.isdecimal()]


def number_shown(page: Page) -> str:
    """Ask with a number to match, and read it off the site."""
    page.get_by_label("Match a number").check()
    ask(page)
    number = page.locator(".match-number").inner_text()
    assert number.isdecimal()
    return number


def enter(page: Page, code: str) -> None:
    page.get_by_label("Code from the messenger").fill(code)
    press(page, ".check")


def says(page: Page, text: str) -> None:
    """The site shows this sentence, soon."""
    shows(page.locator(".note-text"), text)


def shows(locator: Locator, text: str) -> None:
    from playwright.sync_api import expect

    expect(locator).to_contain_text(text, timeout=10_000)


def call_named(page: Page, name: str) -> Locator:
    """The newest entry of the log whose call is `name`, e.g. "POST /v1/otp/verify"."""
    return page.locator(".call", has=page.locator("h3", has_text=name)).first


def in_shell(line: str) -> Any:
    """What a command line prints when it is pasted into a shell, read as JSON."""
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=20)  # noqa: S607
    return json.loads(done.stdout)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


# ---- the flow


@pytest.mark.parametrize("channel", ["telegram", "max"])
def test_a_code_through_a_link_signs_in(page: Page, channel: str):
    """In either messenger the whole way is played: ask, open the link, consent, enter the code."""
    enter(page, agree(page, channel))
    says(page, "You are signed in")
    shows(call_named(page, "POST /v1/otp/verify").locator(".answer"), '"verified": true')


def test_cancel(page: Page):
    """Cancel in the bot ends the request, and the site says so."""
    ask(page)
    open_link(page, "telegram")
    keys(page, "telegram").nth(1).click()
    says(page, "Cancelled in the bot")


def test_wrong_codes_count_down(page: Page):
    """Each wrong code costs an attempt, the third one is the last, and then even the right one is refused."""
    code = agree(page, "telegram")
    for left in ("Attempts left: 2", "Attempts left: 1", "no attempts are left"):
        enter(page, wrong(code))
        says(page, left)
    enter(page, code)
    says(page, "does not work any more")


def test_what_is_no_code_costs_nothing(page: Page):
    """Five digits are called malformed, and the right code is accepted after that."""
    code = agree(page, "telegram")
    enter(page, code[:5])
    says(page, "This is not a code")
    enter(page, code)
    says(page, "You are signed in")


def test_a_link_expires(page: Page):
    """Fifteen minutes later a request that nobody agreed to has expired."""
    ask(page)
    press(page, ".later")
    says(page, "The link has expired")
    assert page.locator(".links").is_hidden()


def test_a_code_expires(page: Page):
    """Fifteen minutes later a code that has arrived is refused."""
    code = agree(page, "max")
    before = page.locator(".clock").inner_text()
    press(page, ".later")
    page.wait_for_function("before => document.querySelector('.clock').textContent !== before", arg=before)
    enter(page, code)
    says(page, "does not work any more")


def test_a_subscriber_gets_the_code_at_once(page: Page):
    """A second link in Telegram brings a code without a question."""
    first = agree(page, "telegram")
    enter(page, first)
    press(page, ".sign-out")
    ask(page)
    open_link(page, "telegram")
    enter(page, code_on(page, "telegram"))
    says(page, "You are signed in")


def test_max_stays_silent_and_typing_helps(page: Page):
    """A second link in MAX does nothing; the hint's button types the pairing code, and the code comes."""
    enter(page, agree(page, "max"))
    press(page, ".sign-out")
    ask(page)
    open_link(page, "max")
    shows(page.locator(".max .hint"), "MAX says nothing to the bot on a repeated link")
    shows(page.locator(".max .hint button"), page.locator(".pairing-code").inner_text())
    press(page, ".max .hint button")
    enter(page, code_on(page, "max"))
    says(page, "You are signed in")


def test_a_code_sent_directly(page: Page):
    """Once the site knows a person, a code goes to the chat without a link and signs in as well."""
    enter(page, agree(page, "telegram"))
    says(page, "You are signed in")
    press(page, ".send-telegram")
    again = code_on(page, "telegram")
    page.get_by_label("The same code again").check()
    press(page, ".send-telegram")
    says(page, "the same one again")
    page.locator(".telegram .bubble", has_text="was sent again").wait_for()
    assert code_on(page, "telegram") == again
    enter(page, again)
    says(page, "You are signed in")


@pytest.mark.parametrize("channel", ["telegram", "max"])
def test_a_pairing_code_typed_on_a_phone(page: Page, channel: str):
    """After a bare /start the code that stands beside the links does the same as a link."""
    ask(page)
    press(page, f".{channel} [data-say='/start']")
    page.locator(f".{channel} .message.bot").wait_for()
    press(page, ".pairing-code + button")
    shows(page.locator(".pairing-code + button"), "Copied")
    pairing_code = page.evaluate("navigator.clipboard.readText()")
    assert pairing_code == page.locator(".pairing-code").inner_text()
    Phone(page, channel).say(pairing_code.lower())
    keys(page, channel).first.click()
    enter(page, code_on(page, channel))
    says(page, "You are signed in")


def test_the_right_number(page: Page):
    """Whoever presses the number that the site shows gets the code."""
    number = number_shown(page)
    open_link(page, "telegram")
    assert number in number_keys(page, "telegram")
    keys(page, "telegram").get_by_text(number, exact=True).click()
    enter(page, code_on(page, "telegram"))
    says(page, "You are signed in")


def test_a_wrong_number(page: Page):
    """Any other number cancels the request, and the links go."""
    number = number_shown(page)
    open_link(page, "max")
    other = next(label for label in number_keys(page, "max") if label != number)
    keys(page, "max").get_by_text(other, exact=True).click()
    says(page, "Cancelled in the bot")
    for part in (".links", ".pairing", ".match"):
        assert page.locator(part).is_hidden()


def test_it_was_not_me(page: Page):
    """The button under a code withdraws it, and the site hears of that."""
    agree(page, "telegram")
    keys(page, "telegram").get_by_text("It wasn't me").click()
    says(page, "The person said: it wasn't me")
    assert page.locator(".code-form").is_hidden()


def test_who_is_asking(page: Page):
    """The bot shows who asked, when the site says so."""
    page.get_by_label("Say who is asking").check()
    ask(page)
    open_link(page, "telegram")
    shows(page.locator(".telegram .bubble").last, "Chrome on Windows")
    shows(page.locator(".telegram .bubble").last, "203.0.113.7")


def test_a_phone_number(page: Page):
    """Somebody else's contact is refused; the own one is shown on the site, also when it comes after the sign-in."""
    page.get_by_label("Ask for the phone number").check()
    enter(page, agree(page, "telegram"))
    says(page, "You are signed in")
    own = page.locator(".telegram .own-keys")
    shows(own, "Share my number")
    press(page, ".telegram .foreign")
    shows(page.locator(".telegram .message.bot").last, "not your own contact")
    assert page.locator(".phone-told").is_hidden()
    Phone(page, "telegram").press("Share my number")
    shows(page.locator(".telegram .message.bot").last, "this site gets your phone number")
    shows(page.locator(".phone-told"), "+447700900")
    assert own.is_hidden()
    press(page, ".sign-out")
    assert page.locator(".phone-told").is_hidden()


def test_a_phone_number_is_passed_over(page: Page):
    """The keys go away, the code signs in, and no number is shown."""
    page.get_by_label("Ask for the phone number").check()
    code = agree(page, "telegram")
    Phone(page, "telegram").press("Skip")
    shows(page.locator(".telegram .message.bot").last, "does not get your phone number")
    assert page.locator(".telegram .own-keys").is_hidden()
    enter(page, code)
    says(page, "You are signed in")
    assert page.locator(".phone-told").is_hidden()


def test_copying_on_a_phone(page: Page):
    """A tap on the code or on its button copies it and fills in nothing."""
    code = agree(page, "telegram")
    for selector in (".code-span", ".key.copy"):
        page.evaluate("navigator.clipboard.writeText('')")
        press(page, f".telegram {selector}")
        page.wait_for_function("code => navigator.clipboard.readText().then(text => text === code)", arg=code)
    shows(page.locator(".telegram .toast"), "Copied")
    assert not page.locator("#code").input_value()


def test_stop(page: Page):
    """After /stop and the button to leave, the service no longer knows the subscriber."""
    enter(page, agree(page, "telegram"))
    says(page, "You are signed in")
    Phone(page, "telegram").say("/stop")
    leave = page.locator(".telegram .message:has(.key.press)", has_text="Press one to leave")
    leave.locator(".key.press").first.click()
    leave.wait_for(state="detached")
    press(page, ".send-telegram")
    says(page, "You are not subscribed")
    shows(page.locator(".note-detail"), "subscriber_not_found")


def test_block(page: Page):
    """A person who blocked the bot cannot be sent a code, and cannot write before unblocking."""
    enter(page, agree(page, "max"))
    says(page, "You are signed in")
    press(page, ".max .block")
    shows(page.locator(".max .bot-kind"), "blocked")
    assert page.locator(".max .composer input").is_disabled()
    press(page, ".send-max")
    says(page, "You are not subscribed")
    press(page, ".max .block")
    page.locator(".max .composer input:enabled").wait_for()


def test_an_error_stays_while_the_site_waits(page: Page):
    """The polling of a pending request does not talk over the refusal of a code sent directly."""
    enter(page, agree(page, "max"))
    says(page, "You are signed in")
    press(page, ".max .block")
    shows(page.locator(".max .bot-kind"), "blocked")
    press(page, ".sign-out")
    ask(page)
    press(page, ".send-max")
    says(page, "You are not subscribed")
    shows(call_named(page, "GET /v1/otp/request/").locator(".times"), "2 times")
    says(page, "You are not subscribed")


def test_no_code_entered(page: Page):
    """An empty field is not sent, and the site says why nothing happens."""
    agree(page, "telegram")
    enter(page, "")
    says(page, "Enter the code first")


def test_a_new_person_makes_the_site_forget(page: Page):
    """The next person on a phone is not taken for the one before."""
    code = agree(page, "telegram")
    assert page.locator(".direct").is_hidden()
    enter(page, code)
    says(page, "You are signed in")
    assert page.locator(".direct").is_visible()
    press(page, ".telegram .new-person")
    says(page, "new person on the Telegram phone")
    assert page.locator(".direct").is_hidden()


def test_a_new_sandbox_makes_the_site_forget(page: Page, base_url: str):
    """Another key in the state means another service: the site and the log start again, and the site says so."""

    def rekeyed(route: Any) -> None:
        state = route.fetch(url=f"{base_url}/sandbox/state").json()
        state["facts"]["api_key"] += "x"
        route.fulfill(json=state)

    enter(page, agree(page, "telegram"))
    says(page, "You are signed in")
    page.route("**/sandbox/state*", rekeyed, times=1)
    press(page, ".max [data-language=ru]")
    says(page, "The sandbox was restarted")
    assert page.locator(".direct").is_hidden()
    assert page.locator(".call").count() == 0


# ---- the log of calls


def test_the_curl_line_works_as_pasted(page: Page):
    """The line shown for a request, copied and run by a shell, makes another request."""
    ask(page)
    entry = call_named(page, "POST /v1/otp/request")
    entry.get_by_role("button").click()
    shows(entry.get_by_role("button"), "Copied")
    line = page.evaluate("navigator.clipboard.readText()")
    assert line == entry.locator(".curl").text_content()
    answer = in_shell(line)
    assert set(answer) == {
        "request_id",
        "pairing_code",
        "telegram_link",
        "max_link",
        "channels",
        "expires_in",
    }
    assert answer["request_id"] not in entry.locator(".answer").inner_text()


def test_the_curl_line_is_quoted(page: Page):
    """Quotes, dollars and backslashes in a body reach the service as the site sent them."""
    agree(page, "telegram")
    enter(page, 'it\'s "$HOME" `id` \\n !')
    says(page, "This is not a code")
    entry = call_named(page, "POST /v1/otp/verify")
    shown = json.loads(entry.locator(".answer").inner_text())
    assert in_shell(entry.locator(".curl").inner_text()) == shown


def test_polling_is_one_entry(page: Page):
    """The same status read again and again is one entry with a count, and its line works too."""
    ask(page)
    entry = call_named(page, "GET /v1/otp/request/")
    shows(entry.locator(".times"), "3 times")
    assert in_shell(entry.locator(".curl").inner_text())["status"] == "pending"


# ---- how it looks and feels


def test_no_sideways_scrolling_on_a_small_phone(open_page: Callable[..., Page]):
    """At 360 px each part of the page fits, in Russian as in English."""
    page = open_page(width=360, height=740, has_touch=True, is_mobile=True)
    for language in ("ru", "en"):
        press(page, f"[data-page-language={language}]")
        for view in ("telegram", "max", "calls", "site"):
            press(page, f"[data-view={view}]")
            assert page.evaluate("document.documentElement.scrollWidth") == 360
        page.locator(".want-match").check()
        press(page, ".get-code")
        page.locator(".match-number").wait_for()
        for button in page.locator(".copy-row button").all():
            box, frame = button.bounding_box(), page.locator(".pairing").bounding_box()
            assert box
            assert frame
            assert box["x"] + box["width"] < frame["x"] + frame["width"]
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_one_part_at_a_time_on_a_small_phone(open_page: Callable[..., Page]):
    """At 360 px a link leads to its phone, and a mark on the tab leads back when the code is there."""
    page = open_page(width=360, height=740, has_touch=True, is_mobile=True)
    press(page, "[data-view=telegram]")
    press(page, ".telegram .new-person")
    page.locator(".telegram .empty").wait_for()
    press(page, "[data-view=site]")
    ask(page)
    open_link(page, "telegram")
    assert page.locator(".site").is_hidden()
    keys(page, "telegram").first.click()
    page.locator("[data-view=site] .unread:not(:empty)").wait_for()
    code = page.locator(".telegram .code-span").inner_text()
    press(page, "[data-view=site]")
    enter(page, code)
    says(page, "You are signed in")


def test_the_language_follows_browser_and_choice(open_page: Callable[..., Page]):
    """A Russian browser gets a Russian page; the choice of English outlives a reload."""
    page = open_page(locale="ru-RU")
    shows(page.locator(".get-code"), "Получить код")
    press(page, "[data-page-language=en]")
    shows(page.locator(".get-code"), "Get a code")
    page.reload()
    shows(page.locator(".get-code"), "Get a code")
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_keyboard_is_enough(page: Page):
    """Without a mouse: Enter on the site, Tab to the bot's button, the code, Enter."""
    page.locator(".get-code").focus()
    page.keyboard.press("Enter")
    says(page, "Waiting.")
    page.locator(".open-telegram").focus()
    page.keyboard.press("Enter")
    keys(page, "telegram").first.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    code = code_on(page, "telegram")
    page.locator("#code").focus()
    page.keyboard.type(code)
    page.keyboard.press("Enter")
    says(page, "You are signed in")
    assert page.evaluate("document.activeElement.className") == "sign-out"


def test_a_lost_connection_is_said(page: Page):
    """When the service goes away the page says so, and takes it back when the service is there again."""
    page.route("**/sandbox/state*", lambda route: route.abort())
    press(page, ".telegram .new-person")
    shows(page.locator(".connection"), "Connection lost")
    page.unroute_all()
    page.locator(".connection:empty").wait_for(state="attached")


def test_the_page_on_a_desktop(page: Page):
    """At 1280 px nothing scrolls sideways; with UPDATE_SCREENSHOT=1 the picture of the docs is taken anew."""
    ask(page)
    open_link(page, "max")
    keys(page, "max").first.wait_for()
    agree(page, "telegram")
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    if os.environ.get("UPDATE_SCREENSHOT") == "1":
        picture = ROOT / "docs" / "images" / "sandbox.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=picture)
