"""The sessions of the FastAPI example: who may push out whom, how long they live, and what waits for them."""

from __future__ import annotations

import http.client
import http.server
import importlib.util
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from examples.tests import sites
from tests.process import ROOT

PENDING = {"created_at": "2026-11-29T03:07:05.120Z", "expires_at": "2026-11-29T03:22:05.120Z"}


@pytest.fixture(scope="module")
def module() -> Any:
    """`sessions.py`, which is of the folder that one begins with, and of no package."""
    where = ROOT / "examples" / "fastapi" / "sessions.py"
    spec = importlib.util.spec_from_file_location("example_sessions", where)
    assert spec is not None
    assert spec.loader is not None
    made = sys.modules["example_sessions"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_anonymous_sessions_push_nobody_out_who_is_signed_in(module: Any) -> None:
    sessions = module.Sessions(most=3)
    signed, _ = sessions.begin("somebody")
    names = [sessions.begin()[0] for _ in range(5)]
    assert sessions.find(signed).subscriber_id == "somebody"
    assert [sessions.find(name) is not None for name in names] == [False, False, True, True, True]


def test_what_has_ended_goes_before_what_has_not(module: Any) -> None:
    clock = Clock()
    sessions = module.Sessions(clock, most=2)
    (kept, session), (ended, _) = sessions.begin(), sessions.begin()
    clock.now += module.ANONYMOUS_SECONDS - 1
    sessions.renew(session)
    clock.now += 2
    sessions.begin()
    assert (sessions.find(kept), sessions.find(ended)) == (session, None)


def test_an_anonymous_session_ends_with_the_code_that_it_asked_for(module: Any) -> None:
    """And one that is signed in after half a day."""
    clock = Clock()
    sessions = module.Sessions(clock)
    anonymous, session = sessions.begin()
    signed, _ = sessions.begin("somebody")
    clock.now += 20 * 60 - 1
    assert sessions.find(anonymous) is session
    sessions.renew(session)
    clock.now += 20 * 60 - 1
    assert sessions.find(anonymous) is session
    clock.now += 1
    assert sessions.find(anonymous) is None
    assert sessions.find(signed)
    clock.now += 12 * 3600
    assert sessions.find(signed) is None


# ---- in the site


class Tapcode(http.server.BaseHTTPRequestHandler):
    """A service whose status changes when the test says so."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    change = threading.Event()
    waiting = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        links = {"telegram_link": "https://t.me/b?start=otp_1", "max_link": None}
        told = {"request_id": "A" * 16, "pairing_code": "7KQ2-M9TX", "expires_in": 900, **links}
        self.answer({**told, "channels": {"telegram": "ok", "max": "off"}})

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.waiting.set()
        assert self.change.wait(20)
        self.answer({"status": "sent", "subscriber_id": "somebody", "channel": "max", **PENDING})

    def answer(self, told: Any) -> None:
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Not to the terminal."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tapcode) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        environment = {
            "TAPCODE_API_KEY": "tc_test_" + "k" * 40,
            "TAPCODE_URL": f"http://127.0.0.1:{server.server_port}",
        }
        try:
            with sites.fastapi(tmp_path_factory.mktemp("fastapi"), environment) as one:
                yield one
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def begun(port: int) -> Iterator[Callable[..., http.client.HTTPConnection]]:
    """Calls the site, and does not wait for the answer."""
    made: list[http.client.HTTPConnection] = []

    def call(
        method: str, path: str, headers: dict[str, str], body: str | None = None
    ) -> http.client.HTTPConnection:
        made.append(http.client.HTTPConnection("127.0.0.1", port, timeout=30))
        made[-1].request(method, path, body, headers)
        return made[-1]

    yield call
    for one in made:
        one.close()


@pytest.fixture
def called(begun: Callable[..., http.client.HTTPConnection]) -> Callable[..., http.client.HTTPResponse]:
    return lambda method, path, headers: begun(method, path, headers).getresponse()


def token_in(page: http.client.HTTPResponse) -> str:
    found = re.search('csrf-token" content="([^"]+)"', page.read().decode())
    assert found is not None
    return found[1]


def test_pages_of_one_browser_wait_together(begun: Any, called: Any) -> None:
    """However many they are, tapcode is asked once."""
    page = called("GET", "/", {})
    browser = {"Cookie": page.headers["Set-Cookie"].split(";")[0], "X-CSRFToken": token_in(page)}
    assert called("POST", "/login/start", browser).status == 200
    pages = [begun("GET", "/login/status?asked=1", browser) for _ in range(5)]
    assert Tapcode.waiting.wait(20)
    assert called("GET", "/login/current", browser).status == 200  # by then all five were heard
    Tapcode.change.set()
    assert [json.load(one.getresponse()) for one in pages] == [{"status": "sent", "channel": "max"}] * 5
    assert len(Tapcode.asked) == 1


def test_requests_are_counted_over_both_ways_to_sign_in(begun: Any, called: Any) -> None:
    """Else a tab that shows the first one would take the third one for its own."""
    page = called("GET", "/", {})
    token = token_in(page)
    browser = {"Cookie": page.headers["Set-Cookie"].split(";")[0], "X-CSRFToken": token}
    assert json.load(called("POST", "/login/start", browser))["asked"] == 1
    form = {**browser, "Content-Type": "application/x-www-form-urlencoded"}
    assert begun("POST", "/hosted/start", form, f"csrf_token={token}").getresponse().status == 303
    assert json.load(called("GET", "/login/status?asked=1", browser)) == {"status": "replaced"}
    assert json.load(called("POST", "/login/start", browser))["asked"] == 3


@pytest.mark.parametrize(
    "scheme, name, secure", [("https", "__Host-session", True), ("http", "session", False)]
)
def test_the_cookie_is_of_this_host_alone_over_https(
    called: Any, scheme: str, name: str, secure: bool
) -> None:
    """Also the one that ends it: without `Secure` a browser would not take it for the same."""
    proxied = {"X-Forwarded-Proto": scheme}
    page = called("GET", "/", proxied)
    made = page.headers["Set-Cookie"]
    browser = {**proxied, "Cookie": made.split(";")[0], "X-CSRFToken": token_in(page)}
    left = called("POST", "/logout", browser).headers["Set-Cookie"]
    for cookie in (made, left):
        assert cookie.startswith(f"{name}=")
        assert ("; Secure" in cookie, "; Path=/" in cookie, "HttpOnly" in cookie) == (secure, True, True)
        assert "Domain" not in cookie
