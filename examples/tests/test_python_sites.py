"""The FastAPI and the Django example in a real browser, their people in the sandbox's phones. Both do the same.

With SCREENSHOTS=folder the pictures of each step are left there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from examples.tests import sites
from examples.tests.sites import Phone, Sandbox
from tests.browsing import chromium, in_a_browser
from tests.process import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

POSTS = ("/login/start", "/login/verify", "/payment/start", "/payment/verify", "/logout")

pytestmark = in_a_browser


@dataclass
class Site:
    """A site that runs, beside its sandbox."""

    name: str
    url: str
    log: Path
    sandbox: Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with sites.sandbox(tmp_path_factory.mktemp("sandbox")) as one:
        yield one


@pytest.fixture(scope="module", params=[sites.fastapi, sites.django], ids=["fastapi", "django"])
def site(
    request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    name = request.param.__name__
    folder = tmp_path_factory.mktemp(name)
    environment = {"TAPCODE_API_KEY": sandbox.key, "TAPCODE_URL": sandbox.url}
    with request.param(folder, environment) as port:
        yield Site(name, f"http://127.0.0.1:{port}", folder / "site.log", sandbox)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Opens the site in a browser of its own; in the end, none may have seen an error of ours."""
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def note(message: Any) -> None:
        if (
            message.type == "error" and "Failed to load resource" not in message.text
        ):  # which some tests are about
            errors.append(message.text)

    def opened(width: int = 1280, height: int = 800, locale: str = "en-US", **options: Any) -> Page:
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
        page.goto(site.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


# ---- what people do


def ask(page: Page) -> str:
    """Press "Get a code"; the request's id, which is no secret to whoever sees the link."""
    page.locator("#get-code:visible, #again:visible").click()
    page.wait_for_selector("#ways:visible")
    return page.inner_text("#chat-text").removeprefix("otp_")


def agree(page: Page, phone: Phone) -> str:
    """Open the link and consent; the code."""
    phone.act("open", link=page.get_attribute(f"#{phone.channel}", "href"))
    phone.press("Get the code")
    page.wait_for_selector("#enter:visible")
    return phone.code()


def enter(page: Page, code: str) -> None:
    page.fill("#code", code)
    page.press("#code", "Enter")


def signed_in(page: Page, phone: Phone) -> str:
    """Sign in from the beginning; the user's name."""
    ask(page)
    enter(page, agree(page, phone))
    return page.inner_text("#user")


def says(page: Page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('message').textContent.includes(text)", arg=text)


def post(page: Page, path: str, body: Any = None, token: str | None = None) -> Any:
    """A call by the page's own browser, with the page's token when none is given."""
    known = page.get_attribute("meta[name=csrf-token]", "content") if token is None else token
    return page.request.post(
        page.url.rstrip("/") + path, data=body or {}, headers={"X-CSRFToken": known or ""}
    )


def session_cookie(page: Page) -> Any:
    (cookie,) = [one for one in page.context.cookies() if one.get("name") in ("session", "sessionid")]
    return cookie


def picture(page: Page, site: Site, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{site.name}-{name}.png")


# ---- signing in


def test_signing_in_on_a_desktop(page: Page, site: Site) -> None:
    """From "Get a code" over the bot's link to a session with a new name."""
    phone = site.sandbox.phone("telegram")
    picture(page, site, "desktop-1-begin")
    ask(page)
    before = session_cookie(page)
    picture(page, site, "desktop-2-links")
    assert page.get_attribute("#telegram", "href", strict=True)
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}", page.inner_text("#pairing"))
    assert page.is_hidden("#chat-text")  # one way at a time; the other one comes with the help
    code = agree(page, phone)
    says(page, "The code is in Telegram")
    picture(page, site, "desktop-3-code")
    enter(page, f"{code[:3]} {code[3:]}")
    assert page.inner_text("#user").startswith("telegram-")
    picture(page, site, "desktop-4-inside")
    after = session_cookie(page)
    assert after["value"] != before["value"]
    assert (after["httpOnly"], after["sameSite"]) == (True, "Lax")


def test_signing_in_on_a_phone_in_russian(open_page: Callable[..., Page], site: Site) -> None:
    """MAX swallows the link, so the pairing code is copied into the chat; nothing scrolls sideways."""
    page = open_page(width=360, height=740, locale="ru-RU", has_touch=True, is_mobile=True)
    phone = site.sandbox.phone("max")
    phone.act("language", language="ru")
    assert page.inner_text("#get-code") == "Получить код"
    ask(page)
    picture(page, site, "phone-2-links")
    page.click("[data-copy=pairing]")
    phone.act("say", text=page.evaluate("navigator.clipboard.readText()"))
    phone.press("Получить код")
    page.wait_for_selector("#enter:visible")
    says(page, "Код у вас в MAX")
    picture(page, site, "phone-3-code")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    enter(page, phone.code())
    assert page.inner_text("#user").startswith("max-")
    picture(page, site, "phone-4-inside")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_the_same_person_is_the_same_user(open_page: Callable[..., Page], site: Site) -> None:
    """In another browser; already subscribed, so opening the link is consent."""
    phone, one, other = site.sandbox.phone("telegram"), open_page(), open_page()
    name = signed_in(one, phone)
    ask(other)
    phone.act("open", link=other.get_attribute("#telegram", "href"))
    other.wait_for_selector("#enter:visible")
    enter(other, phone.code())
    assert other.inner_text("#user") == name


def test_a_page_that_is_loaded_again_goes_on(page: Page, site: Site) -> None:
    """Phones throw a page away while the messenger is in front."""
    phone = site.sandbox.phone("telegram")
    request_id = ask(page)
    page.reload()
    page.wait_for_selector("#ways:visible")
    assert page.inner_text("#chat-text") == f"otp_{request_id}"
    enter(page, agree(page, phone))
    assert page.inner_text("#user")


# ---- whose session it is


def test_another_browser_can_not_finish_the_login(open_page: Callable[..., Page], site: Site) -> None:
    """It knows the request's id and even the code; but the request is of another session."""
    phone, ours, theirs = site.sandbox.phone("telegram"), open_page(), open_page()
    request_id = ask(ours)
    code = agree(ours, phone)
    known = {"code": code, "request_id": request_id}
    fields = [known] if site.name == "django" else [known, {"code": code}]
    for body in fields:
        answer = post(theirs, "/login/verify", body)
        assert (answer.status, answer.json()) == (409, {"error": "not_asked"})
    assert theirs.request.get(f"{site.url}/login/status?request_id={request_id}").json() == {
        "error": "not_asked"
    }
    ask(theirs)  # with a request of its own it is no nearer
    assert post(theirs, "/login/verify", {"code": code}).json() == {"error": "not_asked"}
    agree(theirs, site.sandbox.phone("telegram"))
    enter(theirs, code)
    says(theirs, "This is not the code")
    theirs.reload()
    assert theirs.locator("#user").count() == 0
    enter(ours, code)
    assert ours.inner_text("#user")


def test_another_requests_code_is_not_good_here(open_page: Callable[..., Page], site: Site) -> None:
    """Of the same person, and alive: somebody may have been made to get it for another browser."""
    phone, one, other = site.sandbox.phone("telegram"), open_page(), open_page()
    ask(one)
    agree(one, phone)
    ask(other)
    phone.act(
        "open", link=other.get_attribute("#telegram", "href")
    )  # subscribed by now: the code comes at once
    other.wait_for_selector("#enter:visible")
    code = phone.code()
    enter(one, code)
    says(one, "does not work any more")
    enter(other, code)
    assert other.inner_text("#user")


def test_a_session_known_before_the_login_is_worth_nothing_after_it(
    open_page: Callable[..., Page], site: Site
) -> None:
    """Somebody who planted a session (or read it) is not signed in with it; and signing out ends it in the site, too."""
    page, attacker = open_page(), open_page()
    planted = session_cookie_after_asking(page)
    phone = site.sandbox.phone("telegram")
    enter(page, agree(page, phone))
    page.wait_for_selector("#user")
    signed = session_cookie(page)
    assert not inside(attacker, planted, site)
    assert inside(attacker, signed, site)
    page.click("#sign-out")
    page.wait_for_selector("#get-code")
    assert not inside(attacker, signed, site)


def session_cookie_after_asking(page: Page) -> Any:
    ask(page)
    return session_cookie(page)


def inside(page: Page, cookie: Any, site: Site) -> bool:
    """Whether a browser with this cookie is signed in."""
    page.context.clear_cookies()
    page.context.add_cookies([cookie])
    page.goto(site.url)
    return page.locator("#user").count() == 1


@pytest.mark.parametrize("path", POSTS)
def test_a_call_without_the_pages_token_does_nothing(page: Page, site: Site, path: str) -> None:
    """Of another site (CSRF), which can make a browser call, but can't read our page."""
    for token in ("", "guessed", "x" * 43):
        assert post(page, path, {"code": "123456"}, token).status == 403


def test_a_payment_is_for_who_is_signed_in(page: Page, site: Site) -> None:
    for path in ("/payment/start", "/payment/verify"):
        answer = post(page, path, {"code": "123456", "subscriber_id": "37bb1792-434b-4d18-bf58-354649e4d376"})
        assert answer.status in (409, 422)


# ---- what is said


def test_wrong_codes_are_counted(page: Page, site: Site) -> None:
    phone = site.sandbox.phone("telegram")
    ask(page)
    code = agree(page, phone)
    wrong = "000000" if code != "000000" else "111111"
    enter(page, "12")
    says(page, "not a whole code")
    enter(page, wrong)
    says(page, "Attempts left: 2")
    enter(page, wrong)
    says(page, "Attempts left: 1")
    enter(page, wrong)
    says(page, "no attempts left")
    enter(page, code)
    says(page, "does not work any more")
    ask(page)
    picture(page, site, "again")


def test_a_cancelled_request(page: Page, site: Site) -> None:
    phone = site.sandbox.phone("telegram")
    ask(page)
    phone.act("open", link=page.get_attribute("#telegram", "href"))
    phone.press("Cancel")
    says(page, "cancelled in the chat")
    assert page.is_visible("#again")


def test_beginning_again_ends_what_was_before(page: Page, site: Site) -> None:
    before = ask(page)
    page.click("#again")
    page.wait_for_function(
        "old => !document.getElementById('chat-text').textContent.endsWith(old)", arg=before
    )
    assert site.sandbox.status(before) == "cancelled"


def test_a_tab_follows_the_one_that_began_again(page: Page, site: Site) -> None:
    """It was not cancelled in the chat, and nobody else had the link."""
    ask(page)
    other = page.context.new_page()
    other.goto(site.url)
    other.wait_for_selector("#ways:visible")
    page.evaluate(
        """() => {
            window.said = [];
            const told = () => said.push(document.getElementById("message").textContent);
            new MutationObserver(told).observe(document.getElementById("message"), { childList: true });
        }"""
    )
    before = other.inner_text("#chat-text")
    other.click("#again")
    for tab in (other, page):
        tab.wait_for_function("old => document.getElementById('chat-text').textContent !== old", arg=before)
    assert page.inner_text("#pairing") == other.inner_text("#pairing")
    assert not [one for one in page.evaluate("said") if "cancelled" in one]
    agree(other, site.sandbox.phone("telegram"))
    page.wait_for_selector("#enter:visible")


def test_a_tab_that_shows_an_older_request_is_told_so(page: Page, site: Site) -> None:
    """A phone may have frozen it while the other one went on."""
    ask(page)
    ask(page)
    assert page.request.get(f"{site.url}/login/status?asked=1").json() == {"status": "replaced"}


def test_a_tab_follows_the_one_that_signed_in(page: Page, site: Site) -> None:
    page.clock.install()
    page.reload()
    ask(page)
    code = agree(page, site.sandbox.phone("telegram"))
    other = page.context.new_page()
    other.goto(site.url)
    other.wait_for_selector("#enter:visible")
    enter(other, code)
    other.wait_for_selector("#user")
    page.clock.fast_forward(6_000)
    page.wait_for_selector("#user")


def test_a_person_who_says_that_it_was_not_them(page: Page, site: Site) -> None:
    """The page says that it is over, by itself and when a code is entered. No new code until it is reloaded."""
    page.clock.install()
    page.reload()
    ask(page)
    phone = site.sandbox.phone("telegram")
    code = agree(page, phone)
    phone.press("It wasn't me")
    enter(page, code)
    says(page, "This sign-in was ended")
    assert page.is_hidden("#enter")
    assert page.is_hidden("#again")
    assert page.is_hidden("#get-code")
    picture(page, site, "reported")
    page.reload()
    says(page, "The last sign-in here was ended")
    ask(page)
    agree(page, phone := site.sandbox.phone("telegram"))
    phone.press("It wasn't me")
    page.clock.fast_forward(6_000)
    says(page, "This sign-in was ended")
    assert page.is_hidden("#enter")


def test_the_bots_names_are_whole(open_page: Callable[..., Page], site: Site) -> None:
    """They are searched for on another device; MAX gives a bot a long one."""
    page = open_page(width=390, height=844, is_mobile=True)
    ask(page)
    for channel in ("telegram", "max"):
        name = page.locator(f"#{channel} small")
        page.evaluate("name => (name.textContent = '@id700000000001_bot')", name.element_handle())
        lines = name.evaluate(
            "one => { const all = new Range(); all.selectNodeContents(one); return all.getClientRects().length; }"
        )
        assert lines == 1
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    picture(page, site, "names")


@pytest.mark.parametrize("locale, says_so", [("en-US", "Slow to answer"), ("ru-RU", "отвечает медленно")])
def test_a_messenger_that_works_is_first(
    open_page: Callable[..., Page], site: Site, locale: str, says_so: str
) -> None:
    """The other one comes after it, with a sentence; none where both work."""
    page = open_page(width=390, height=760, locale=locale)
    shown = "[...document.querySelectorAll('#links a:not([hidden])')].map(link => link.id)"
    ask(page)
    assert (page.evaluate(shown), page.is_visible("#late")) == (["telegram", "max"], False)

    def telegram_is_slow(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(json=answer.json() | {"channels": {"telegram": "degraded", "max": "ok"}})

    page.route(re.compile("/login/(start|current)$"), telegram_is_slow)
    page.click("#again")
    page.wait_for_selector("#late:visible")
    assert says_so in page.inner_text("#late")
    assert page.evaluate(shown) == ["max", "telegram"]
    picture(page, site, f"slow-{locale}")


def test_a_minute_without_an_answer(open_page: Callable[..., Page], site: Site) -> None:
    """The page helps, and goes on waiting."""
    page = open_page()
    page.clock.install()
    page.reload()
    ask(page)
    says(page, "Waiting for you")
    page.clock.fast_forward(61_000)
    says(page, "Nothing yet after a minute")
    assert page.is_visible("#chat-text")
    picture(page, site, "slow")
    phone = site.sandbox.phone("telegram")
    phone.act("open", link=page.get_attribute("#telegram", "href"))
    phone.press("Get the code")
    page.wait_for_selector("#enter:visible")


@pytest.mark.parametrize(
    "told, sentence",
    [
        ({"status": "expired"}, "15 minutes, and they are over"),
        ({"error": "not_asked"}, "in the browser where you want"),
    ],
)
def test_the_end_of_a_request(page: Page, told: Any, sentence: str) -> None:
    page.route("**/login/status*", lambda route: route.fulfill(json=told))
    page.click("#get-code")
    says(page, sentence)
    assert page.is_visible("#again")
    assert page.is_hidden("#ways")


def test_a_lost_connection_is_waited_out(page: Page, site: Site) -> None:
    """The page says so, and goes on where it was."""
    page.route("**/login/status*", lambda route: route.abort())
    ask(page)
    says(page, "No connection to the site")
    page.unroute_all()
    says(page, "Waiting for you")
    phone = site.sandbox.phone("telegram")
    enter(page, agree(page, phone))
    assert page.inner_text("#user")


def test_a_lost_answer_about_a_code(page: Page, site: Site) -> None:
    """Nobody is in by it, and nobody is told that the code was wrong."""
    ask(page)
    code = agree(page, site.sandbox.phone("telegram"))
    page.route("**/login/verify", lambda route: route.abort())
    enter(page, code)
    says(page, "do not know whether it counts as used")
    page.unroute_all()
    enter(page, code)
    assert page.inner_text("#user")


def test_a_payment(page: Page, site: Site) -> None:
    """A code straight into the chat, and the messenger's silence about it."""
    phone = site.sandbox.phone("telegram")
    signed_in(page, phone)
    page.click("#pay")
    page.wait_for_selector("#enter:visible")
    enter(page, phone.code())
    says(page, "the payment of 100 ₽")
    phone.act("block")
    page.click("#pay")
    says(page, "The bot can't write to you")
    assert page.is_hidden("#enter")


@pytest.mark.parametrize(
    "error, sentence, asks",
    [
        ("delivery_unknown", "may have arrived", True),
        ("send_in_progress", "on its way to you already. Wait 7 s", False),
        ("rate_limited", "Try again in 7 s", False),
        ("messenger_unavailable", "nothing was sent", False),
        ("delivery_failed", "refused the message", False),
        ("subscriber_locked", "offer to unlock", False),
        ("unavailable", "that is our fault", False),
        ("of_a_later_version", "that is our fault", False),
    ],
)
def test_what_a_payment_may_come_to(page: Page, site: Site, error: str, sentence: str, asks: bool) -> None:
    """Only where a code may have arrived, the field for it is shown."""
    signed_in(page, site.sandbox.phone("telegram"))
    page.route(
        "**/payment/start", lambda route: route.fulfill(json={"error": error, "retry_after": 7}, status=409)
    )
    page.click("#pay")
    says(page, sentence)
    assert page.is_visible("#enter") == asks


def test_the_log_of_a_site_holds_no_code_and_no_key(open_page: Callable[..., Page], site: Site) -> None:
    page, phone = open_page(), site.sandbox.phone("telegram")
    ask(page)
    code = agree(page, phone)
    enter(page, code)
    page.wait_for_selector("#user")
    log = site.log.read_text()
    assert code not in log
    assert site.sandbox.key not in log


@pytest.mark.parametrize("wrong", ["key", "address"])
@pytest.mark.parametrize("kind", [sites.fastapi, sites.django], ids=["fastapi", "django"])
def test_a_wrong_setting_is_told_in_the_log(
    browser: Browser, sandbox: Sandbox, tmp_path: Path, kind: Any, wrong: str
) -> None:
    """With what to look at; the person is told whose fault it is, and no more."""
    key = "tc_test_" + "x" * 40 if wrong == "key" else sandbox.key
    url = sandbox.url if wrong == "key" else f"http://127.0.0.1:{free_port()}"
    with kind(tmp_path, {"TAPCODE_API_KEY": key, "TAPCODE_URL": url}) as port:
        page = browser.new_page(locale="en-US")
        page.goto(f"http://127.0.0.1:{port}")
        page.click("#get-code")
        says(page, "that is our fault")
        page.close()
        log = (tmp_path / "site.log").read_text()
    (line,) = [one for one in log.splitlines() if one.startswith("tapcode at ")]
    assert line.startswith(f"tapcode at {url}: {'unauthorized' if wrong == 'key' else 'no_answer'}: ")
    assert line.endswith("Was the sandbox started again, or is it on another port? KEY=..., TAPCODE_URL=...")
    assert key not in log
