"""A static page with the button, and the least backend that signs people in safely. Python's standard library only.

README.md says how to start it. Two routes do the work: `POST /login` asks for a request with a hosted page and binds it to
this browser; `GET /login/done` lets in the browser that it was bound to, if the code was entered in it.
"""

from __future__ import annotations

import hmac
import html
import json
import os
import secrets
import sys
from http.client import HTTPException
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

HERE = Path(__file__).parent
TAPCODE = os.environ.get("TAPCODE_URL", "http://localhost:8080")
KEY = os.environ["TAPCODE_API_KEY"]
SITE = os.environ.get("SITE_URL", "http://localhost:8000")
"""As browsers write it: the project's --origin, and what our own pages send as Origin."""
MOST = 10_000

asked: dict[str, str] = {}
"""For browsers that are signing in, by the name in their cookie: the request that they made."""
signed_in: dict[str, str] = {}
"""For browsers that have: who it is. A real site has both in its database, with the time at which they end."""


class Site(BaseHTTPRequestHandler):
    """The site."""

    def do_GET(self) -> None:
        """The pages, and the way back."""
        path = urlsplit(self.path).path
        if path == "/":
            # As a file it names the sandbox's usual address.
            page = (HERE / "index.html").read_text(encoding="utf-8").replace("http://localhost:8080", TAPCODE)
            self.show(page)
        elif path == "/style.css":
            self.answer(200, (HERE / "style.css").read_bytes(), {"Content-Type": "text/css"})
        elif path == "/login/done":
            self.done()
        elif path == "/account":
            name = signed_in.get(self.cookie("session"))
            self.account(name) if name else self.go("/")
        else:
            self.sorry(404, "There is nothing here.")

    def do_POST(self) -> None:
        """What changes something is done for our own pages only: every browser says with a POST where it comes from."""
        self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 4096))
        if self.headers.get("Origin") != SITE:
            self.sorry(403, "That did not come from our page.")
        elif self.path == "/login":
            self.login()
        elif self.path == "/logout":
            signed_in.pop(self.cookie("session"), None)
            self.go("/", {"Set-Cookie": cookie("session", "", 0)})
        else:
            self.sorry(404, "There is nothing here.")

    # ---- signing in

    def login(self) -> None:
        """Ask tapcode, and remember for which browser: the cookie's name is known to this browser alone."""
        body = {"page": {"return_url": f"{SITE}/login/done"}, "context": {"action": "Sign in"}}
        try:
            made = tapcode("POST", "/v1/otp/request", body)
        except (OSError, HTTPException) as error:
            self.not_now(error)
            return
        while len(asked) >= MOST:
            del asked[next(iter(asked))]
        name = secrets.token_urlsafe(32)
        asked[name] = made["request_id"]
        keep = {"Set-Cookie": cookie("login", name, 1800)}  # the link's 15 minutes, and then the code's
        if "application/json" in self.headers.get("Accept", ""):
            told = json.dumps({"page_url": made["page_url"], "request_id": made["request_id"]})
            self.answer(200, told.encode(), {"Content-Type": "application/json", **keep})
        else:
            self.go(made["page_url"], keep)  # without the script the form is sent by the browser itself

    def done(self) -> None:
        """Let a browser in. Its own word is no proof; three things must hold.

        - This browser made the request: who was sent somebody else's address is not signed in as them (login CSRF).
        - Tapcode says that the code was entered.
        - And that it was entered in this browser, as only that one got the proof: who made a request and talked somebody
          else into entering the code on its page has none (request fixation).
        """
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        request_id = asked.get(self.cookie("login"))
        if request_id is None or query.get("request_id") != request_id:
            self.sorry(403, "This sign-in was not begun in this browser.")
            return
        try:
            status = tapcode("GET", f"/v1/otp/request/{request_id}/status")
        except (OSError, HTTPException) as error:
            self.not_now(error)
            return
        if status.get("verified") is not True:
            self.go("/")  # who gave up, or was too late, begins again
            return
        if not hmac.compare_digest(status["proof"].encode(), query.get("proof", "").encode()):
            self.sorry(403, "The code was not entered in this browser.")
            return
        del asked[self.cookie("login")]  # once
        while len(signed_in) >= MOST:
            del signed_in[next(iter(signed_in))]
        name = secrets.token_urlsafe(32)  # a new one: whoever knew or planted the old one has nothing
        signed_in[name] = f"{status['channel']}-{status['subscriber_id'][:8]}"
        self.go("/account", {"Set-Cookie": cookie("session", name, 12 * 3600)})

    def not_now(self, error: Exception) -> None:
        """Nothing was lost: the same page, or the same button, works later. Why, is for whoever runs the site."""
        self.log_error("tapcode: %s %s", error, error.read(2000) if isinstance(error, HTTPError) else "")
        self.sorry(503, "Signing in does not work just now. Please try again in a minute.")

    # ---- answers

    def account(self, name: str) -> None:
        """What only they see."""
        self.show(
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            '<title>Daisy</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">'
            f'<main><h1>Daisy</h1><p>You are signed in: <strong id="user">{html.escape(name)}</strong></p>'
            '<form method="post" action="/logout"><button>Sign out</button></form></main></html>'
        )

    def sorry(self, status: int, sentence: str) -> None:
        """An end, in words."""
        self.show(
            '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            '<title>Daisy</title><link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">'
            f'<main><h1>Daisy</h1><p>{sentence}</p><p><a href="/">To the beginning</a></p></main></html>',
            status,
        )

    def show(self, page: str, status: int = 200) -> None:
        """A page."""
        self.answer(status, page.encode(), {"Content-Type": "text/html; charset=utf-8"})

    def go(self, url: str, headers: dict[str, str] | None = None) -> None:
        """Elsewhere."""
        self.answer(303, b"", {"Location": url, **(headers or {})})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Any answer; the policy has what docs/button.md names, and nothing more."""
        policy = (
            f"default-src 'none'; style-src 'self'; img-src data:; script-src {TAPCODE}; frame-src {TAPCODE}; "
            f"connect-src 'self'; form-action 'self' {TAPCODE}; base-uri 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'"
        )
        more = {
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",  # the proof stands in an address
            "X-Content-Type-Options": "nosniff",
        }
        self.send_response(status)
        for name, value in {**headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def cookie(self, name: str) -> str:
        """What the browser kept."""
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(name)
        except CookieError:
            return ""
        return found.value if found is not None else ""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Without the query: the proof stands there."""
        self.log_message('"%s %s" %s', self.command, urlsplit(self.path).path, code)


def cookie(name: str, value: str, seconds: int) -> str:
    """Out of reach of scripts and of other sites' POSTs. Lax, as the way back comes from another site."""
    secure = "; Secure" if SITE.startswith("https:") else ""
    return f"{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"


def tapcode(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """A call with the key, which never leaves this program. Raises `OSError`, `HTTPException`."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urlopen(Request(TAPCODE + path, data, headers, method=method), timeout=10) as answer:  # noqa: S310  # ours
        told: dict[str, Any] = json.load(answer)
        return told


def main() -> None:
    """Serve on loopback; in the world, a proxy with TLS stands in front."""
    place = urlsplit(SITE)
    port = int(os.environ.get("PORT") or place.port or 8000)
    sys.stderr.write(f"The site is on {SITE}\n")
    ThreadingHTTPServer(("127.0.0.1", port), Site).serve_forever()


if __name__ == "__main__":
    main()
