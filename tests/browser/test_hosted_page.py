"""The hosted page in a real browser, with people who have simulated messengers in their hands.

`SHOTS=folder` keeps a picture of each state there, in both sizes and themes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from bot.registration import State
from otp.model import Channel
from otp.pages import LARGEST_LOGO
from otp.projects import Change, PageChange
from sandbox.wire import Fault
from tests.browsing import CHROMIUM, in_a_browser
from tests.running import Running, Someone, running
from tests.test_pages import picture

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, FrameLocator, Page, Response

HOME = "https://shop.example/login"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
TINY = {"viewport": {"width": 320, "height": 568}, "has_touch": True, "is_mobile": True}
DESKTOP = {"viewport": {"width": 1280, "height": 860}}
SIZES = {"phone": PHONE, "desktop": DESKTOP}
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-features=LocalNetworkAccessChecks",  # a made-up site frames a service on this machine
]
LARGEST_PAGE = 30_000 - LARGEST_LOGO
"""Bytes on the wire of page, style, script, icon and QR codes with their headers: 30 KB with the largest logo."""

pytestmark = [*in_a_browser, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Running]:
    async with running() as one:
        [project] = await one.service.projects.all()
        page = PageChange([HOME], ["https://shop.example"], "#c2185b", picture(32, 32))
        await one.service.projects.update(
            project.id, Change(name="Ромашка · Daisy", description="Flowers, delivered", page=page)
        )
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        chromium = await driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        await chromium.close()


@dataclass
class Visit:
    """One visitor with a browser, and a request of theirs."""

    shop: Running
    context: BrowserContext
    page: Page
    request: dict[str, Any]
    answers: list[Response] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.shop.url}/c/{self.request['client_token']}"

    async def go(self, query: str = "") -> None:
        await self.page.goto(self.url + query)

    async def sees(self, text: str) -> None:
        """This heading is shown, soon."""
        from playwright.async_api import expect

        await expect(self.page.locator("h1")).to_contain_text(text, timeout=8_000)

    async def shows(self, selector: str, text: str = "") -> None:
        from playwright.async_api import expect

        await expect(self.page.locator(selector).first).to_be_visible(timeout=8_000)
        await expect(self.page.locator(selector).first).to_contain_text(text, timeout=8_000)

    async def agrees(self, channel: str = "telegram", language: str = "en") -> Someone:
        """The person opens the link that stands on the page, and agrees."""
        person = self.shop.someone(channel, language)
        link = await self.page.locator(f".way[data-channel={channel}] .go").get_attribute("href")
        assert link == self.request[f"{channel}_link"]
        await person.open(str(link))
        await person.press("Get the code" if language == "en" else "Получить код")
        return person

    async def is_home(self) -> dict[str, str]:
        """The visitor is back on the site; what the address says."""
        await self.page.wait_for_url(f"{HOME}?*", timeout=8_000)
        return dict(pair.split("=", 1) for pair in self.page.url.partition("?")[2].split("&"))

    async def is_for_everybody(self, state: str) -> None:
        """axe finds nothing, nothing is wider than the screen; and a picture is kept."""
        from axe_playwright_python.base import AXE_SCRIPT  # as playwright, there for these tests alone

        await self.page.evaluate(AXE_SCRIPT)
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
        assert told == []
        assert await self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if folder := os.environ.get("SHOTS"):
            width = self.page.viewport_size and self.page.viewport_size["width"]
            dark = await self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
            lang = await self.page.evaluate("document.documentElement.lang")
            name = f"{state}-{lang}-{width}{'-dark' if dark else ''}.png"
            await self.page.screenshot(path=Path(folder) / name, full_page=True)


Visiting = Callable[..., Awaitable[Visit]]


@pytest_asyncio.fixture(loop_scope="module")
async def visit(shop: Running, browser: Browser) -> AsyncIterator[Visiting]:
    """Opens the page of a new request; in the end, no browser may have seen an error of its own."""
    contexts, errors = [], []

    def note(message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            errors.append(message.text)

    async def opened(
        size: dict[str, Any] | None = None,
        locale: str = "en-US",
        query: str = "",
        *,
        go: bool = True,
        fields: dict[str, Any] | None = None,
        **options: Any,
    ) -> Visit:
        shop.clock.advance(minutes=1)  # limits begin anew
        fields = {"page": {"return_url": HOME, "state": "s1"}} | (fields or {})
        context = await browser.new_context(**(size or PHONE) | {"locale": locale} | options)
        contexts.append(context)
        await context.route("https://shop.example/**", welcome)
        page = await context.new_page()
        page.set_default_timeout(8_000)
        one = Visit(shop, context, page, await shop.request(**fields))
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("response", lambda answer: one.answers.append(answer))  # noqa: PLW0108  # playwright marks its handlers
        if go:
            await one.go(query)
        return one

    yield opened
    for context in contexts:
        await context.close()
    assert errors == []


async def welcome(route: Any) -> None:
    await route.fulfill(
        status=200, content_type="text/html", body="<!doctype html><title>Shop</title>Welcome"
    )


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


# ---- the way through


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("locale, channel", [("en-US", "telegram"), ("ru-RU", "max")])
async def test_the_whole_way(visit: Visiting, size: str, locale: str, channel: str):
    """Choose, agree in the messenger, be shown the field without a touch, type, be led back: in both languages."""
    english = locale == "en-US"
    one = await visit(SIZES[size], locale)
    await one.sees("Get a code for" if english else "Получите код для")
    person = await one.agrees(channel, locale[:2])
    await one.sees("Enter the code" if english else "Введите код")
    assert await one.page.evaluate("document.activeElement.id") == "code"
    await one.page.keyboard.type(wrong(person.codes[-1]))
    await one.shows(".error", "wrong" if english else "неверный")
    await one.shows("#left", "2 attempts left" if english else "Осталось 2 попытки")
    await one.page.keyboard.type(person.codes[-1])  # and no button: the last digit sends it
    await one.sees("Done" if english else "Готово")
    told = await one.is_home()
    status = await one.shop.status(one.request)
    assert told == {"request_id": one.request["request_id"], "state": "s1", "proof": status["proof"]}
    assert status["verified"] is True


@pytest.mark.parametrize("size", SIZES)
async def test_the_whole_way_without_a_script(visit: Visiting, size: str):
    """The page refreshes itself, forms do the rest, and a link leads back."""
    one = await visit(SIZES[size], java_script_enabled=False)
    person = await one.agrees()
    await one.sees("Enter the code")
    await one.page.fill("#code", wrong(person.codes[-1]))
    await one.page.click(".check")
    await one.shows(".error", "wrong")
    await one.page.get_by_role("button", name="Send the code again").click()
    await one.shows(".notice", "sent again")
    await one.page.fill("#code", person.codes[-1])
    await one.page.click(".check")
    await one.sees("Done")
    assert "proof" in await one.is_home()


async def test_what_helps_without_a_script_is_a_link_away(visit: Visiting):
    """On a phone: the picture, the pairing code and the link's text."""
    one = await visit(java_script_enabled=False)
    await one.page.click("text=Nothing opened?")
    await one.shows(".pairing", one.request["pairing_code"])
    await one.shows(".address", one.request["telegram_link"])


async def test_the_number_to_match(visit: Visiting):
    """It stands large above the buttons."""
    one = await visit(fields={"match": True, "context": {"action": "Sign in", "device": "Firefox on Linux"}})
    number = one.request["match_number"]
    await one.shows(".match strong", number)
    await one.shows(".asking", "Sign in · Firefox on Linux")
    await one.is_for_everybody("match")
    person = one.shop.someone()
    await person.open(one.request["telegram_link"])
    await person.press(number)
    await one.sees("Enter the code")


@pytest.mark.parametrize(
    "pasted",
    [
        "{0} {1}",
        "{0}-{1}",
        " {0}{1}\n",
        "Your code: {0}{1}. Valid for 5 minutes, call 8 800 555",
        "\u200b{0}\u00a0{1}",
    ],
)
async def test_a_code_pasted_in_any_shape(visit: Visiting, pasted: str):
    """The digits are found and sent at once."""
    one = await visit()
    code = (await one.agrees()).codes[-1]
    await one.sees("Enter the code")
    await one.page.evaluate(
        "text => { document.querySelector('#code').focus(); document.execCommand('insertText', false, text); }",
        pasted.format(code[:3], code[3:]),
    )
    await one.is_home()


async def test_send_again(visit: Visiting):
    """The same code comes once more, and the page says so."""
    one = await visit()
    person = await one.agrees()
    await one.sees("Enter the code")
    await one.page.get_by_role("button", name="Send the code again").click()
    await one.shows(".notice", "sent again")
    await one.page.fill("#code", person.codes[-1])
    await one.is_home()


# ---- devices


async def test_a_desktop_shows_the_pictures_and_a_phone_what_helps_after_three_seconds(visit: Visiting):
    """A tap that opened nothing leaves the page visible: then it shows link, picture and pairing code."""
    desk = await visit(DESKTOP)
    assert await desk.page.locator(".more img").first.is_visible()
    await desk.shows(".pairing", desk.request["pairing_code"])
    one = await visit(go=False)
    await one.context.route("https://t.me/**", lambda route: route.abort())
    await one.page.clock.install()
    await one.go()
    assert not await one.page.locator(".more img").first.is_visible()
    await one.page.evaluate(
        "open = () => null; document.addEventListener('click', (e) => e.preventDefault())"
    )
    await one.page.click(".go")
    await one.page.clock.run_for(500)
    assert not await one.page.locator(".more").first.is_visible()
    await one.page.clock.run_for(2_600)
    await one.shows(".more img")
    await one.shows(".address", one.request["telegram_link"])
    await one.is_for_everybody("stuck")


async def test_an_app_with_a_browser_of_its_own(visit: Visiting):
    """Where app links are often blocked, the link's text is there from the beginning, to be copied."""
    one = await visit(
        user_agent="Mozilla/5.0 (iPhone) Instagram 300.0", permissions=["clipboard-read", "clipboard-write"]
    )
    await one.shows(".address", one.request["telegram_link"])
    await one.page.click(".way[data-channel=max] [data-copy]")
    await one.shows(".way[data-channel=max] [data-copy]", "Copied")
    assert await one.page.evaluate("navigator.clipboard.readText()") == one.request["max_link"]


async def test_the_messenger_used_last_is_first(visit: Visiting):
    """In this browser; else the project's order."""
    one = await visit()
    first = one.page.locator(".way").first
    assert await first.get_attribute("data-channel") == "telegram"
    await one.context.route("https://max.ru/**", lambda route: route.abort())
    await one.page.click(".way[data-channel=max] .go")
    await one.page.reload()
    assert await first.get_attribute("data-channel") == "max"
    assert "used last" in await first.inner_text()


@pytest_asyncio.fixture(loop_scope="module")
async def telegram_is(shop: Running) -> AsyncIterator[Callable[[State], Awaitable[None]]]:
    """Says how Telegram is, so that every check finds it so; it takes messages all the same. In the end it is well."""
    faults, checks = shop.demo.telegram.faults, shop.service.registration

    async def found(state: State) -> None:
        faults[:] = [] if state is State.OK else [Fault("getMe", times=1_000, status=502)]
        await checks.check(Channel.TELEGRAM)
        assert checks.channels[Channel.TELEGRAM].state is state

    yield found
    await found(State.OK)


async def order(one: Visit) -> list[str]:
    """The messengers as they stand on the page."""
    found = await one.page.evaluate("[...document.querySelectorAll('.way')].map(way => way.dataset.channel)")
    return list(found)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("locale, says", [("en-US", "slow to answer"), ("ru-RU", "отвечает медленно")])
async def test_a_messenger_that_is_down_comes_second(
    visit: Visiting, telegram_is: Callable[[State], Awaitable[None]], size: str, locale: str, says: str
):
    """With a sentence, less loud, and although it was used last in this browser; it can be used all the same."""
    await telegram_is(State.UNREACHABLE)
    one = await visit(SIZES[size], locale, go=False)
    await one.page.add_init_script("localStorage.setItem('tapcode.last', 'telegram')")
    await one.go()
    await one.shows(".way[data-channel=telegram] .slow", says)
    assert await order(one) == ["max", "telegram"]
    assert not await one.page.locator(".way[data-channel=max] .slow").is_visible()
    await one.is_for_everybody(f"slow-{size}")
    await one.agrees("telegram", locale[:2])
    await one.sees("Enter the code" if locale == "en-US" else "Введите код")


async def test_a_messenger_that_goes_down_while_the_page_is_open(
    visit: Visiting, telegram_is: Callable[[State], Awaitable[None]]
):
    """The sentence comes by itself, and is read out; buttons change places only for who comes back to the page."""
    from playwright.async_api import expect

    one = await visit()
    telegram, first = one.page.locator(".way[data-channel=telegram]"), one.page.locator(".way").first
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    await telegram_is(State.UNREACHABLE)
    await expect(telegram.locator(".slow")).to_be_visible(timeout=20_000)
    await one.shows(".way[data-channel=telegram] .slow", "Telegram is slow to answer right now")
    assert "Telegram is slow" in await one.page.inner_text("#live")
    assert await order(one) == ["telegram", "max"]
    await telegram.locator(".go").focus()
    await one.page.evaluate(look)
    await expect(first).to_have_attribute("data-channel", "max", timeout=8_000)
    await expect(telegram.locator(".go")).to_be_focused()
    await one.is_for_everybody("slow-while-open")
    await telegram_is(State.OK)
    await one.page.evaluate(look)
    await expect(first).to_have_attribute("data-channel", "telegram", timeout=8_000)
    assert await one.page.locator(".slow:visible, .plain.go:visible").count() == 0


async def test_coming_back_to_the_page_looks_at_once(visit: Visiting):
    """While it was hidden nothing was heard; the first look shows the field."""
    one = await visit(go=False)
    await one.context.route("**/status*", lambda route: route.abort())
    await one.page.add_init_script("window.EventSource = undefined")
    await one.go()
    await one.agrees()
    await one.context.unroute("**/status*")
    await one.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    await one.sees("Enter the code")


# ---- networks


@pytest.mark.parametrize("blocked", ["events", "both"])
async def test_it_learns_of_consent_without_events(visit: Visiting, blocked: str):
    """By long polls; and where these are cut as well, by looking now and then."""
    one = await visit(go=False)

    async def gate(route: Any) -> None:
        events = "event-stream" in route.request.headers.get("accept", "")
        await (
            route.abort()
            if events or (blocked == "both" and "wait=" in route.request.url)
            else route.continue_()
        )

    await one.context.route("**/status*", gate)
    await one.go()
    await one.sees("Get a code")
    await one.agrees()
    from playwright.async_api import expect

    await expect(one.page.locator("h1")).to_contain_text("Enter the code", timeout=25_000)


async def test_offline_in_the_middle(visit: Visiting):
    """It says so, and goes on by itself when the network is back."""
    one = await visit()
    await one.context.set_offline(True)
    await one.shows("#offline", "No connection")
    person = await one.agrees()
    await one.context.set_offline(False)
    await one.sees("Enter the code")
    assert not await one.page.locator("#offline").is_visible()
    await one.context.set_offline(True)
    await one.page.fill("#code", person.codes[-1])
    await one.shows("#offline")
    await one.context.set_offline(False)
    await one.page.fill("#code", "")
    await one.page.fill("#code", person.codes[-1])
    await one.is_home()


async def test_too_many_calls_in_the_middle(visit: Visiting):
    """It says so, and shows the field again by itself."""
    one = await visit()
    person = await one.agrees()
    await one.sees("Enter the code")
    for _ in range(30):
        async with one.shop.http.get(f"{one.url}/status"):
            pass
    await one.page.fill("#code", person.codes[-1])
    await one.sees("Too many calls")
    await one.is_for_everybody("busy")
    one.shop.clock.advance(minutes=1)
    await one.sees("Enter the code")
    await one.page.fill("#code", person.codes[-1])
    await one.is_home()


async def test_a_slow_network(visit: Visiting):
    """The page can be read and used before its script is there."""
    one = await visit(go=False)
    held: list[Any] = []
    await one.context.route("**/pages/*.js", lambda route: held.append(route))  # noqa: PLW0108  # as above
    await one.page.goto(one.url, wait_until="commit")
    await one.shows(".go", "Open Telegram")
    await one.page.wait_for_function("performance.getEntriesByType('paint').length > 0", timeout=8_000)
    for route in held:
        await route.continue_()
    await one.agrees()
    await one.sees("Enter the code")


async def test_the_whole_way_over_a_thin_line(visit: Visiting):
    """As slow as EDGE is on a bad day: half a second to everything, 120 kbit/s."""
    one = await visit(go=False)
    line = await one.context.new_cdp_session(one.page)
    thin = {"offline": False, "latency": 500, "downloadThroughput": 15_000, "uploadThroughput": 6_000}
    await line.send("Network.enable")
    await line.send("Network.emulateNetworkConditions", thin)
    await one.go()
    person = await one.agrees()
    await one.sees("Enter the code")
    await one.page.keyboard.type(person.codes[-1])
    await one.sees("Done")
    assert (await one.is_home())["proof"]


@pytest.mark.parametrize("size", SIZES)
async def test_how_much_a_page_weighs(visit: Visiting, size: str):
    """All of it together is below 30 KB on the wire, and the second visit gets the page alone."""
    one = await visit(SIZES[size])
    await one.page.wait_for_load_state("load")
    await one.page.wait_for_timeout(200)
    weights = {}
    for answer in one.answers:
        if not answer.url.endswith("/status"):
            sizes = await answer.request.sizes()
            weights[answer.url.rpartition("/")[2][:24]] = (
                sizes["responseBodySize"] + sizes["responseHeadersSize"]
            )
    assert len(weights) == (7 if size == "desktop" else 5), weights
    assert sum(weights.values()) < LARGEST_PAGE, weights
    assert all("127.0.0.1" in answer.url for answer in one.answers)


# ---- everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    "size, locale", [(TINY, "ru-RU"), (PHONE, "en-US"), (DESKTOP, "en-US"), (DESKTOP, "ru-RU")]
)
async def test_each_state_is_for_everybody(visit: Visiting, size: dict[str, Any], locale: str, scheme: Any):
    """No violation that axe finds, nothing wider than the screen."""
    options = {"color_scheme": scheme}
    one = await visit(size, locale, **options)
    await one.is_for_everybody("waiting")
    person = await one.agrees("telegram", locale[:2])
    await one.page.locator("#code").wait_for()
    await one.is_for_everybody("code")
    await one.page.fill("#code", wrong(person.codes[-1]))
    await one.page.locator(".error").wait_for()
    await one.is_for_everybody("wrong")
    other = await visit(size, locale, **options)
    await other.shop.call("POST", f"/v1/otp/request/{other.request['request_id']}/cancel")
    await other.sees("Cancelled" if locale == "en-US" else "Отменено")
    await other.is_for_everybody("cancelled")
    await other.page.goto(f"{one.shop.url}/c/nothing")
    await other.is_for_everybody("gone")
    await one.page.clock.install()  # and stay on the last page
    await one.page.fill("#code", person.codes[-1])
    await one.page.locator("[data-go]").wait_for()
    await one.is_for_everybody("done")


async def test_a_keyboard_is_enough(visit: Visiting):
    """Tab and Enter alone, in an order that makes sense; the field has the focus when it appears."""
    one = await visit(DESKTOP)
    stops = []
    for _ in range(5):
        await one.page.keyboard.press("Tab")
        stops.append(await one.page.evaluate("document.activeElement.innerText.split('\\n')[0]"))
    assert [stop.split(" (")[0] for stop in stops[:3]] == ["Русский", "Open Telegram", "Open MAX"]
    person = await one.agrees()
    await one.sees("Enter the code")
    await one.page.keyboard.type("12345")
    await one.page.keyboard.press("Enter")
    await one.shows(".error", "not a code of 6 digits")
    await one.page.keyboard.type(person.codes[-1])
    await one.is_home()


async def test_a_reader_of_the_screen_hears_what_changes(visit: Visiting):
    """The live region says each new state in its own words."""
    one = await visit()
    person = await one.agrees()
    await one.sees("Enter the code")
    assert "Enter the code" in await one.page.locator("#live").inner_text()
    await one.page.fill("#code", wrong(person.codes[-1]))
    await one.shows(".error")
    assert "This code is wrong." in await one.page.locator("#live").inner_text()


async def test_right_to_left(visit: Visiting):
    """Turned around, nothing breaks out; links and codes stay as they are read."""
    one = await visit(DESKTOP)
    await one.page.evaluate("document.documentElement.dir = 'rtl'")
    assert await one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await one.page.evaluate("getComputedStyle(document.querySelector('.address')).direction") == "ltr"
    await one.is_for_everybody("rtl")


# ---- in a site's dialog

PARENT = """<!doctype html><title>Shop</title><iframe title="Code" src="{src}" width="420" height="640"></iframe>
<script>window.heard = []; addEventListener('message', (e) => heard.push([e.origin, e.data]))</script>"""


async def framed(one: Visit, url: str) -> FrameLocator:
    async def parent(route: Any) -> None:
        await route.fulfill(content_type="text/html", body=PARENT.format(src=f"{one.url}?embed=1"))

    await one.context.route(url, parent)
    await one.page.goto(url)
    return one.page.frame_locator("iframe")


async def test_in_a_dialog_of_the_site(visit: Visiting):
    """The project's own site hears what happens, and is told the way back; nobody is sent anywhere."""
    one = await visit(DESKTOP, go=False)
    frame = await framed(one, "https://shop.example/dialog")
    await frame.locator(".go").first.wait_for()
    person = one.shop.someone()
    await person.open(one.request["telegram_link"])
    await person.press("Get the code")
    await frame.locator("#code").fill(person.codes[-1])
    await one.page.wait_for_function("heard.some(([, data]) => data.type === 'verified')")
    heard = await one.page.evaluate("heard")
    assert {origin for origin, _ in heard} == {one.shop.url}
    kinds = [data["type"] for _, data in heard if data["type"] != "resize"]
    assert kinds == ["ready", "sent", "verified"]
    said = (
        heard[-1][1]
        if heard[-1][1]["type"] == "verified"
        else next(d for _, d in heard if d["type"] == "verified")
    )
    status = await one.shop.status(one.request)
    assert said["source"] == "tapcode"
    assert (said["request_id"], said["state"]) == (one.request["request_id"], "s1")
    assert said["proof"] == status["proof"]
    assert one.page.url == "https://shop.example/dialog"
    await frame.locator("h1").press("Escape")
    await one.page.wait_for_function("heard.some(([, data]) => data.type === 'close')")


async def test_no_other_site_may_frame_it(shop: Running, browser: Browser, visit: Visiting):
    """The browser refuses to show it there."""
    one = await visit(DESKTOP, go=False)
    context = await browser.new_context()
    page = await context.new_page()

    async def parent(route: Any) -> None:
        await route.fulfill(content_type="text/html", body=PARENT.format(src=f"{one.url}?embed=1"))

    await context.route("https://evil.example/", parent)
    await page.goto("https://evil.example/")
    await page.wait_for_timeout(500)
    assert await page.frame_locator("iframe").locator(".go").count() == 0
    assert await page.evaluate("heard") == []
    await context.close()
