"""`<tapcode-button>` in a real browser: its file from the service, on a strict site, around a stand-in of the hosted page.

What it promises to the site and to the hosted page is held here; the way from the press to the code, with the service's own
page, is held by the tests of `examples/static`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs

import pytest

from api.button import scripts
from tests.browsing import in_a_browser, sandbox, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Page

pytestmark = in_a_browser

SCRIPT = list(scripts().values())[-1]
REQUEST = "Kq9xV3mN2pT7rL8s"
NOTES_EVENTS = """
if (self === top) {
  self.told = [];
  self.stop = "";
  for (const name of ["open", "sent", "verified", "end", "close", "error"].map((name) => `tapcode-${name}`))
    addEventListener(name, (event) => {
      told.push([name, event.detail]);
      if (name === stop) event.preventDefault();
    });
}
"""
HOSTED = """<!doctype html><html lang=en><title>Page</title>
<style>:root{color-scheme:light dark;font:1rem sans-serif}</style>
<main><h1>Daisy asks for a code</h1><button id=first>Telegram</button> <button id=second>MAX</button></main>"""
"""What stands for the hosted page; the tests say for it what it has to say."""
FORM = '<form method="post" action="/start"><input type="hidden" name="csrf" value="t"><button>Sign in</button></form>'


@dataclass
class Server:
    """Pages by their paths, on loopback; what was posted."""

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    posts: list[tuple[str, dict[str, str], dict[str, list[str]]]] = field(default_factory=list)
    answer: tuple[int, str] = (200, "{}")
    """To every POST."""


@contextlib.contextmanager
def served(host: str) -> Iterator[Server]:
    """A server, seen under this name."""
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            page = made.pages.get(self.path.partition("?")[0])
            kind = "text/css" if self.path.endswith(".css") else "text/html; charset=utf-8"
            self.say(200 if page is not None else 404, kind, page or "")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            made.posts.append((self.path, dict(self.headers), parse_qs(body)))
            self.say(made.answer[0], "application/json", made.answer[1])

        def say(self, status: int, kind: str, body: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **made.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://{host}:{server.server_port}"
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real one: it serves the file."""
    with sandbox(tmp_path_factory.mktemp("sandbox")) as url:
        yield url


@pytest.fixture
def hosted() -> Iterator[Server]:
    """Where the page is: on an origin of its own."""
    with served("localhost") as made:
        made.pages["/c/token"] = HOSTED
        yield made


@pytest.fixture
def site(service: str, hosted: Server) -> Iterator[Server]:
    """A site with the policy that docs/button.md names, and not a word more."""
    with served("127.0.0.1") as made:
        made.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src {service}; frame-src {hosted.url}; connect-src 'self'; style-src 'self'; "
            "form-action 'self'; require-trusted-types-for 'script'"
        )
        made.pages["/favicon.ico"] = ""
        made.pages["/site.css"] = "body { margin: 2rem; font: 1rem/1.5 sans-serif }"
        made.pages["/done"] = "<title>Done</title>"
        made.answer = (200, f'{{"page_url": "{hosted.url}/c/token", "request_id": "{REQUEST}"}}')
        yield made


@pytest.fixture
def open_site(browser: Browser, service: str, site: Server) -> Iterator[Callable[..., Page]]:
    """Opens the site with some markup in it. In the end, no page may have had an error, nor have broken the policy."""
    contexts, errors = [], []

    def opened(
        markup: str = f"<tapcode-button>{FORM}</tapcode-button>",
        *,
        html: str = 'lang="en"',
        width: int = 1280,
        height: int = 800,
        fails: bool = False,
        integrity: str = SCRIPT.integrity,
        **options: Any,
    ) -> Page:
        site.pages["/"] = (
            f"<!doctype html><html {html}><head><title>Shop</title><link rel=stylesheet href=/site.css>"
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<script src="{service}{SCRIPT.path}" integrity="{integrity}" crossorigin="anonymous" defer></script></head>'
            f'<body><main><h1>Shop</h1><p><a href="/before">Before</a></p>{markup}<p><a href="/after">After</a></p></main>'
        )
        context = browser.new_context(
            viewport={"width": width, "height": height}, **{"locale": "en-US"} | options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        if not fails:
            page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
        page.add_init_script(NOTES_EVENTS)
        page.goto(site.url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert errors == []


# ---- what tests do and see


def frame_of(page: Page) -> Frame:
    """The page in the dialog, once it is there."""
    handle = page.locator("tapcode-button iframe").element_handle()
    frame = handle.content_frame()
    assert frame is not None
    frame.wait_for_load_state()
    return frame


def say(frame: Frame, kind: str, **more: Any) -> None:
    """Have the page tell its parent something."""
    told = {"source": "tapcode", "type": kind, "request_id": REQUEST, **more}
    frame.evaluate("told => parent.postMessage(told, '*')", told)


def opened(page: Page) -> Frame:
    """Press the button; the page, once it has said that it is ready."""
    page.locator("tapcode-button").get_by_text("Sign in").click()
    frame = frame_of(page)
    say(frame, "ready")
    page.locator("tapcode-button iframe").wait_for(state="visible")
    return frame


def told(page: Page, *, until: str = "") -> list[tuple[str, dict[str, Any]]]:
    """The events so far, once that one is among them."""
    if until:
        becomes(page, f"told.some(([name]) => name === 'tapcode-{until}')")
    return [(name.removeprefix("tapcode-"), detail) for name, detail in page.evaluate("told")]


def becomes(page: Page, condition: str) -> None:
    """Wait for it. Playwright's own way evaluates strings in the page, which the site's policy forbids."""
    page.evaluate(
        f"new Promise(done => {{ const look = () => {condition} ? done() : setTimeout(look, 20); look() }})"
    )


def is_open(page: Page) -> bool:
    return page.locator("tapcode-button dialog").evaluate("dialog => dialog.matches(':modal')") is True


def focus(page: Page) -> str:
    """What has the focus: its text, within the element too."""
    return cast(
        str,
        page.evaluate(
            "() => { let one = document.activeElement;"
            " while (one.shadowRoot?.activeElement) one = one.shadowRoot.activeElement;"
            " return one.ariaLabel || one.title || one.textContent.trim() || one.localName }"
        ),
    )


def focus_within(frame: Frame) -> str:
    """What has the focus in the page; nothing where it is outside."""
    where = "document.hasFocus() ? `in the page: ${document.activeElement.id}` : ''"
    return cast(str, frame.evaluate(where))


def picture(page: Page, name: str) -> None:
    """With SCREENSHOTS=folder the picture is left there."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"button-{name}.png")


# ---- from the press to the end


def test_the_whole_way(open_site: Callable[..., Page], site: Server, hosted: Server):
    """The form goes to the site with its token, the page opens in place, each news is an event, and the site goes on."""
    page = open_site()
    heard: list[str] = []
    page.expose_function("heard", lambda detail: heard.append(detail))  # noqa: PLW0108  # a builtin takes no marks
    page.evaluate(
        "for (const name of ['tapcode-sent', 'tapcode-verified'])"
        " addEventListener(name, event => heard(JSON.stringify(event.detail)))"
    )
    frame = opened(page)
    assert [(path, form) for path, _, form in site.posts] == [("/start", {"csrf": ["t"]})]
    assert site.posts[0][1]["Accept"] == "application/json"
    assert frame.url == f"{hosted.url}/c/token?embed=1&lang=en"
    assert is_open(page)
    say(frame, "sent")
    told(page, until="sent")
    back = site.url + "/done?request_id=x&proof=y"
    say(frame, "verified", return_url=back, subscriber_id="37bb1792-434b-4d18-bf58-354649e4d376")
    page.wait_for_url(back)
    assert [json.loads(one) for one in heard] == [
        {"request_id": REQUEST},
        {"request_id": REQUEST, "return_url": back},  # and whatever else was told is not passed on
    ]


def test_the_order_of_events(open_site: Callable[..., Page]):
    """The site is told, and the dialog closes."""
    page = open_site()
    frame = opened(page)
    say(frame, "sent")
    say(frame, "verified")
    events = told(page, until="close")
    assert [name for name, _ in events] == ["open", "sent", "verified", "close"]
    assert not is_open(page)
    assert page.locator("tapcode-button iframe").count() == 0


def test_a_site_that_sees_to_it_itself_is_not_left(open_site: Callable[..., Page], site: Server):
    """`preventDefault()` on `tapcode-verified` keeps the page where it is."""
    page = open_site()
    page.evaluate("self.stop = 'tapcode-verified'")
    say(opened(page), "verified", return_url=site.url + "/done")
    told(page, until="close")
    page.wait_for_load_state("networkidle")
    assert page.url == site.url + "/"
    assert "/done" not in site.asked


def test_no_address_but_one_of_the_web_is_gone_to(open_site: Callable[..., Page], site: Server):
    """Not even if the hosted page said so."""
    page = open_site(fails=True)
    say(opened(page), "verified", return_url="javascript:top.broken=1")
    page.evaluate("new Promise(done => { addEventListener('message', done); postMessage('the last', '*') })")
    assert page.evaluate("self.broken") is None
    assert page.url == site.url + "/"


def test_the_end_of_a_request(open_site: Callable[..., Page], site: Server):
    """The page stays, as it says why; the next press asks anew."""
    page = open_site()
    frame = opened(page)
    say(frame, "ended", reason="cancelled")
    assert told(page, until="end")[-1] == ("end", {"request_id": REQUEST, "reason": "cancelled"})
    assert is_open(page)
    say(frame, "close")
    told(page, until="close")
    opened(page)
    assert len(site.posts) == 2


def test_who_closes_comes_back_to_the_same_request(open_site: Callable[..., Page], site: Server):
    """The messenger may be in front in between: the link that was opened there stays the one."""
    page = open_site()
    opened(page)
    page.get_by_role("button", name="Close").click()
    told(page, until="close")
    opened(page)
    assert len(site.posts) == 1


def test_a_page_that_is_loaded_again_goes_on(open_site: Callable[..., Page], site: Server):
    """Phones throw a page away while the messenger is in front. What was closed, has ended or was left stays so."""
    page = open_site(
        f"<tapcode-button>{FORM.replace('Sign in', 'Other')}</tapcode-button><tapcode-button>{FORM}</tapcode-button>"
    )
    second = page.locator("tapcode-button").nth(1)

    def press() -> Frame:
        second.get_by_text("Sign in").click()
        return frame_of(page)

    press()
    page.reload()
    frame = frame_of(page)
    assert len(site.posts) == 1
    assert second.locator("dialog").evaluate("dialog => dialog.open")
    say(frame, "ready")
    second.get_by_role("button", name="Close").click()
    assert focus(page) == "Sign in"
    page.reload()
    assert page.locator("iframe").count() == 0
    say(press(), "ended", reason="cancelled")
    told(page, until="end")
    page.reload()
    assert page.locator("iframe").count() == 0
    press()
    page.goto(site.url)
    assert page.locator("iframe").count() == 0
    assert len(site.posts) == 3


def test_a_browser_that_keeps_nothing(open_site: Callable[..., Page], site: Server):
    """Works all the same, and what lies there is not believed."""
    page = open_site()
    page.evaluate(
        "place => sessionStorage.setItem('tapcode-button', JSON.stringify({ place, url: 'javascript:top.broken=1' }))",
        "/ 0",
    )
    page.reload()
    assert page.locator("iframe").count() == 0
    assert page.evaluate("self.broken") is None
    page.add_init_script("Object.defineProperty(self, 'sessionStorage', { get() { throw new Error('no') } })")
    page.reload()
    opened(page)


def test_what_happened_while_the_dialog_was_closed(open_site: Callable[..., Page], site: Server):
    """Is told when it is opened again, each thing once."""
    page = open_site()
    stages = ["waiting", "code", "code", "expired"]
    for count, stage in enumerate(stages):
        page.locator("tapcode-button").get_by_text("Sign in").click()
        say(frame_of(page), "ready", stage=stage)
        page.locator("tapcode-button iframe").wait_for(state="visible")
        page.get_by_role("button", name="Close").click()
        becomes(page, f"told.filter(([name]) => name === 'tapcode-close').length > {count}")
    assert [name for name, _ in told(page) if name not in ("open", "close")] == ["sent", "end"]
    opened(page)
    assert len(site.posts) == 2


def test_a_page_that_the_site_asked_for_before(open_site: Callable[..., Page], site: Server, hosted: Server):
    """`page-url`: nothing is asked; a link is wrapped as well as a form."""
    url = f"{hosted.url}/c/token"
    page = open_site(f'<tapcode-button page-url="{url}"><a href="{url}">Sign in</a></tapcode-button>')
    opened(page)
    assert site.posts == []


def test_a_link_with_a_start(open_site: Callable[..., Page], site: Server):
    """With the site's token in the field that the site wants."""
    page = open_site(
        '<tapcode-button start="/login/start" csrf="abc" csrf-header="X-CSRFToken">'
        '<a href="/login">Sign in</a></tapcode-button>'
    )
    opened(page)
    ((path, headers, _),) = site.posts
    assert (path, headers["X-CSRFToken"]) == ("/login/start", "abc")


def test_a_link_in_a_new_tab_stays_one(open_site: Callable[..., Page], site: Server):
    """Whoever presses Ctrl means a tab."""
    site.pages["/login"] = "<title>Sign in</title>"
    page = open_site('<tapcode-button start="/start"><a href="/login">Sign in</a></tapcode-button>')
    with page.context.expect_page() as tab:
        page.get_by_text("Sign in").click(modifiers=["ControlOrMeta"])
    tab.value.wait_for_url(site.url + "/login")
    assert not is_open(page)


def test_its_own_button(open_site: Callable[..., Page], site: Server):
    """Where nothing is wrapped it brings one, in the page's language or with the site's words."""
    page = open_site('<tapcode-button start="/start"></tapcode-button>', html='lang="ru-RU"')
    picture(page, "own")
    page.get_by_role("button", name="Получить код в Telegram или MAX").click()
    frame_of(page)
    page.locator("tapcode-button").evaluate("one => one.close()")
    page.locator("tapcode-button").evaluate("one => { one.lang = 'en' }")
    page.get_by_role("button", name="Get a code in Telegram or MAX").wait_for()
    page.locator("tapcode-button").evaluate("one => one.setAttribute('label', 'Sign in')")
    page.get_by_role("button", name="Sign in").wait_for()


def test_the_element_opens_for_scripts_too(open_site: Callable[..., Page]):
    """And closing and opening at once leaves it open."""
    page = open_site('<tapcode-button start="/start"></tapcode-button>')
    page.locator("tapcode-button").evaluate("one => { one.open(); one.close(); one.open(); one.open() }")
    frame_of(page)
    assert is_open(page)
    assert [name for name, _ in told(page)] == ["open", "close", "open"]


def test_an_element_that_is_taken_away_while_open(open_site: Callable[..., Page]):
    """The page is whole again."""
    page = open_site()
    opened(page)
    page.evaluate("document.querySelector('tapcode-button').remove()")
    page.get_by_text("After").click(trial=True)


# ---- who is heard


def test_only_the_page_in_the_dialog_is_heard(open_site: Callable[..., Page], site: Server, hosted: Server):
    """Neither the site's own scripts, nor another frame of the same origin, nor the frame once it shows another origin."""
    site.headers["Content-Security-Policy"] = site.headers["Content-Security-Policy"].replace(
        f"frame-src {hosted.url};", f"frame-src {hosted.url} {site.url};"
    )
    page = open_site(
        f'<tapcode-button>{FORM}</tapcode-button><iframe title="other" src="{hosted.url}/c/token"></iframe>'
    )
    frame = opened(page)
    lie = {"source": "tapcode", "type": "verified", "request_id": "x"}
    page.evaluate("lie => postMessage(lie, '*')", lie)
    other = next(one for one in page.frames if one.url == f"{hosted.url}/c/token")
    other.evaluate("lie => parent.postMessage(lie, '*')", lie)
    frame.evaluate(
        "for (const one of [{ type: 'verified' }, null, 'verified', { source: 'tapcode', type: 'nothing known' }])"
        " parent.postMessage(one, '*')"
    )
    frame.evaluate("url => { location.href = url }", site.url + "/done")
    frame.wait_for_url(site.url + "/done")
    frame.evaluate("lie => parent.postMessage(lie, '*')", lie)
    page.evaluate("new Promise(done => { addEventListener('message', done); postMessage('the last', '*') })")
    assert [name for name, _ in told(page)] == ["open"]
    assert is_open(page)


@pytest.mark.parametrize(
    "url",
    ["javascript:top.broken=1", "data:text/html,x", "/c/token", "", None],
    ids=["js", "data", "path", "empty", "none"],
)
def test_only_a_web_address_is_shown(open_site: Callable[..., Page], site: Server, url: str | None):
    """Whatever the site's backend passes on."""
    site.answer = (200, f'{{"page_url": "{url}"}}' if url is not None else "{}")
    page = open_site(fails=True)
    page.get_by_text("Sign in").click()
    page.get_by_text("That did not work").wait_for()
    assert page.locator("tapcode-button iframe").count() == 0
    assert page.evaluate("self.broken") is None


def test_the_token_goes_to_the_site_alone(open_site: Callable[..., Page], hosted: Server):
    """A `start` elsewhere is refused: it would get the visitor's token."""
    page = open_site(
        f'<tapcode-button start="{hosted.url}/start" csrf="t"><a href="/login">Sign in</a></tapcode-button>',
        fails=True,
    )
    page.get_by_text("Sign in").click()
    page.get_by_text("That did not work").wait_for()
    assert hosted.posts == []


def test_the_page_learns_the_origin_of_the_site_and_no_more(open_site: Callable[..., Page], site: Server):
    """What stands in the address may be private."""
    site.headers["Referrer-Policy"] = "no-referrer"
    page = open_site()
    assert opened(page).evaluate("document.referrer") == site.url + "/"


# ---- when something fails


def test_a_start_that_fails(open_site: Callable[..., Page], site: Server):
    """It is said in words, the site hears of it, and the same button tries again."""
    good, site.answer = site.answer, (503, "{}")
    page = open_site(fails=True)
    page.get_by_text("Sign in").click()
    again = page.get_by_role("button", name="Try again")
    again.wait_for()
    picture(page, "failed")
    assert violations(page) == []
    assert told(page)[-1] == ("error", {"request_id": None, "reason": "start", "status": 503})
    site.answer = good
    again.click()
    say(frame_of(page), "ready")
    page.locator("tapcode-button iframe").wait_for(state="visible")
    assert again.is_hidden()


def test_a_site_that_speaks_for_itself(open_site: Callable[..., Page], site: Server):
    """`preventDefault()` on `tapcode-error` closes the dialog: the site says what it says."""
    site.answer = (403, "{}")
    page = open_site(fails=True)
    page.evaluate("self.stop = 'tapcode-error'")
    page.get_by_text("Sign in").click()
    told(page, until="close")
    assert not is_open(page)


def test_a_page_that_does_not_come(open_site: Callable[..., Page], hosted: Server):
    """After six seconds there is another way: the page by itself. If it comes after all, it is shown."""
    page = open_site()
    page.clock.install()
    page.get_by_text("Sign in").click()
    frame = frame_of(page)
    link = page.get_by_role("link", name="Open as a page")
    assert link.is_hidden()
    page.clock.fast_forward(6_000)
    link.wait_for()
    picture(page, "slow")
    assert link.get_attribute("href") == f"{hosted.url}/c/token"
    assert told(page)[-1] == ("error", {"request_id": REQUEST, "reason": "frame", "status": 0})
    say(frame, "ready")
    page.locator("tapcode-button iframe").wait_for(state="visible")
    assert link.is_hidden()


def test_closing_while_it_is_being_asked(open_site: Callable[..., Page], site: Server):
    """An answer that comes later opens nothing."""
    page = open_site()
    held: list[Any] = []
    page.route("**/start", lambda route: held.append(route))  # noqa: PLW0108  # as above
    page.get_by_text("Sign in").click()
    page.get_by_text("Opening…").wait_for()
    picture(page, "opening")
    page.keyboard.press("Escape")
    told(page, until="close")
    with contextlib.suppress(Exception):
        held[0].fulfill(status=200, body=site.answer[1])
    page.unroute("**/start")
    page.wait_for_load_state("networkidle")
    assert page.locator("tapcode-button iframe").count() == 0
    assert [name for name, _ in told(page)] == ["open", "close"]


def test_a_file_that_was_changed_is_not_run(open_site: Callable[..., Page], site: Server):
    """The hash says so; the form works as if there were no script."""
    page = open_site(integrity="sha384-" + "A" * 64, fails=True)
    with page.expect_navigation():
        page.get_by_text("Sign in").click()
    assert page.url == site.url + "/start"


def test_without_scripts(open_site: Callable[..., Page], site: Server):
    """The form is sent as a form."""
    page = open_site(java_script_enabled=False)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(site.url + "/start")
    assert site.posts[0][2] == {"csrf": ["t"]}


# ---- by keyboard, by ear, on every screen


def test_keyboard_only(open_site: Callable[..., Page], hosted: Server):
    """Open, be in the page, walk round without ever being behind the dialog, close by Escape, be back where one was."""
    page = open_site()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert focus(page) == "Sign in"
    page.keyboard.press("Enter")
    frame = frame_of(page)
    assert focus(page) == "Close"
    say(frame, "ready")
    page.locator("tapcode-button iframe").wait_for(state="visible")
    becomes(page, "document.activeElement.shadowRoot?.activeElement?.localName === 'iframe'")
    seen = []
    for _ in range(8):
        page.keyboard.press("Tab")
        seen.append(focus_within(frame) or focus(page))
    assert not {"Before", "After", "Sign in"} & set(seen), seen
    assert {"in the page: first", "in the page: second", "Close"} <= set(seen), seen
    while focus(page) != "Close":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Escape")
    told(page, until="close")
    assert not is_open(page)
    assert focus(page) == "Sign in"


@pytest.mark.parametrize(
    "tag,close,title",
    [("en", "Close", "Code from Telegram or MAX"), ("ru", "Закрыть", "Код из Telegram или MAX")],
)
def test_names_for_those_who_listen(open_site: Callable[..., Page], tag: str, close: str, title: str):
    """Dialog, button and frame have names in the page's language; axe-core finds nothing."""
    page = open_site(html=f'lang="{tag}"')
    assert violations(page) == []
    opened(page)
    page.get_by_role("dialog", name=title).wait_for()
    page.get_by_role("button", name=close).wait_for()
    assert page.locator("tapcode-button iframe").get_attribute("title") == title
    assert violations(page) == []


@pytest.mark.parametrize("size", [(320, 560), (390, 844), (1280, 800)], ids=["small", "phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen(open_site: Callable[..., Page], size: tuple[int, int], scheme: str):
    """The dialog is as high as its page where there is room, the whole screen on a phone, and never larger."""
    page = open_site(width=size[0], height=size[1], color_scheme=scheme)
    frame = opened(page)
    for height in (300, 5000):
        say(frame, "resize", height=height)
        page.evaluate("new Promise(requestAnimationFrame)")
        box = page.locator("tapcode-button dialog").bounding_box()
        assert box is not None
        assert box["x"] >= 0 <= box["y"]
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
        if size[0] <= 480:
            assert (box["width"], box["height"]) == size
        elif height == 300:
            assert 300 < box["height"] < 400
    picture(page, f"{size[0]}-{scheme}")


def test_from_right_to_left(open_site: Callable[..., Page]):
    """The way out is where the lines end: on the left."""
    page = open_site(html='lang="ar" dir="rtl"')
    opened(page)
    close = page.get_by_role("button", name="Close").bounding_box()
    dialog = page.locator("tapcode-button dialog").bounding_box()
    assert close is not None
    assert dialog is not None
    assert close["x"] - dialog["x"] < 10
    picture(page, "rtl")


def test_looks_of_the_site(open_site: Callable[..., Page], site: Server):
    """By custom properties and by parts, from the site's own sheet."""
    site.pages["/site.css"] += (
        "tapcode-button { --tapcode-background: rgb(0, 100, 0); --tapcode-dialog-width: 30rem }"
        "tapcode-button::part(button) { text-transform: uppercase }"
    )
    page = open_site('<tapcode-button start="/start" label="Sign in"></tapcode-button>')
    look = page.get_by_role("button").evaluate(
        "one => { const look = getComputedStyle(one); return [look.backgroundColor, look.textTransform] }"
    )
    assert look == ["rgb(0, 100, 0)", "uppercase"]
    opened(page)
    assert page.locator("tapcode-button dialog").evaluate("one => one.offsetWidth") == 480
