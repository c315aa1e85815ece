"""A site whose people sign in with a code from Telegram or MAX: FastAPI and tapcode-client.

The browser talks to this site alone; the site talks to tapcode. README.md says why each thing is done.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field
from sessions import SIGNED_IN_SECONDS, Session, Sessions
from tapcode_client import AsyncTapcode, Context, Page, RequestNotFound, Status, TapcodeError, Verification

HERE = Path(__file__).parent
PAGE = HERE.parent / "page"
TAPCODE = os.environ.get("TAPCODE_URL", "http://localhost:8080")
WAIT_SECONDS = 20
"""One answer to the waiting page; below the usual 30 to 60 of proxies."""
FOR_PEOPLE = frozenset(
    {
        "delivery_failed",
        "delivery_unknown",
        "messenger_unavailable",
        "rate_limited",
        "send_in_progress",
        "subscriber_locked",
        "subscriber_not_found",
    }
)
"""Errors of tapcode that the page has a sentence for. The others (a wrong key, a bug) are ours: the log tells them."""
SETTINGS = frozenset({"no_answer", "unauthorized", "unreadable_answer"})
"""Those that a wrong setting makes."""
HINT = "Was the sandbox started again, or is it on another port? KEY=..., TAPCODE_URL=..."
REPLACED = {"status": "replaced"}
"""What a page waits for is not what this browser waits for any more: another tab went on."""

log = logging.getLogger("daisy")

accounts: dict[str, str] = {}
"""The site's accounts: subscriber_id -> name. A real site has a table, with subscriber_id unique."""
sessions = Sessions()
templates = Jinja2Templates([PAGE, HERE])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the life of the site. It gives up before a person does."""
    async with AsyncTapcode(os.environ["TAPCODE_API_KEY"], TAPCODE, deadline=25) as app.state.tapcode:
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)
app.mount("/static", StaticFiles(directory=PAGE))


def tapcode_of(request: Request) -> AsyncTapcode:
    """The client."""
    client: AsyncTapcode = request.app.state.tapcode
    return client


def guarded(request: Request) -> Session:
    """The session of a call that changes something: the call must hold the token that our page got (CSRF)."""
    session = sessions.find(request.cookies.get(cookie(request)))
    token = request.headers.get("X-CSRFToken", "")
    if session is None or not secrets.compare_digest(session.csrf_token.encode(), token.encode()):
        raise HTTPException(403)
    return session


def reading(request: Request) -> Session:
    """The session of a call that changes nothing. An empty one, kept nowhere, for whoever has none."""
    return sessions.find(request.cookies.get(cookie(request))) or Session()


Client = Annotated[AsyncTapcode, Depends(tapcode_of)]
Guarded = Annotated[Session, Depends(guarded)]
Reading = Annotated[Session, Depends(reading)]


class Entered(BaseModel):
    """What the person typed, as they typed it: tapcode itself ignores spaces and dashes."""

    code: str = Field(min_length=1, max_length=64)


@app.get("/")
async def page(request: Request) -> Response:
    """The page."""
    return shown(request, "login.html")


@app.post("/login/start")
async def start(session: Guarded, tapcode: Client) -> dict[str, Any]:
    """Ask for a code, for this browser. What it asked for before is over, so that only one link works.

    The new one is known before the old one is cancelled: a tab that waits for the old one must not take it for
    an act of somebody in the chat.
    """
    made = await tapcode.request(context=Context(action="Sign in"))
    before, session.request_id, session.wait = session.request_id, made.request_id, None
    sessions.renew(session)
    session.shown = shown = {
        "asked": next_number(session),
        "telegram_link": made.telegram_link,
        "max_link": made.max_link,
        "channels": asdict(made.channels),
        "pairing_code": made.pairing_code,
        "chat_text": made.chat_text,
    }
    if before is not None:
        with suppress(TapcodeError):  # it was over already, or will be in 15 minutes
            await tapcode.cancel(before)
    return shown


def next_number(session: Session) -> int:
    """Which request of this browser the next one is: a tab that shows an older one learns by it that it does."""
    return int(session.shown.get("asked") or 0) + 1


@app.get("/login/current")
async def current(session: Reading) -> dict[str, Any]:
    """What this browser is waiting for, if anything."""
    return session.shown


@app.get("/login/status")
async def status(session: Reading, tapcode: Client, asked: int | None = None) -> Any:
    """Wait for the change on behalf of the page. Not a word of who it was: that says `verify` alone.

    `asked` is which of this browser's requests the page shows. It is compared, and nothing is looked up by it.
    """
    request_id = session.request_id
    if request_id is None:
        return REPLACED if session.subscriber_id else not_asked()
    if asked is not None and asked != session.shown.get("asked"):
        return REPLACED
    try:
        told = await changed(request_id, session, tapcode)
    except RequestNotFound:
        return not_asked()
    if request_id != session.request_id:
        return REPLACED
    if told.reported:
        return {"status": "reported"}
    return {"status": told.status, "channel": told.channel}


async def changed(request_id: str, session: Session, tapcode: AsyncTapcode) -> Status:
    """The request's status at its change. Pages of one browser wait together, so it costs tapcode one wait at a time."""
    if session.wait is None or session.wait.done():
        session.wait = asyncio.create_task(tapcode.wait_until_sent(request_id, timeout=WAIT_SECONDS))
    told: Status = await asyncio.shield(session.wait)
    return told


@app.post("/login/verify")
async def verify(entered: Entered, request: Request, session: Guarded, tapcode: Client) -> Any:
    """Judge the code of the request that this browser made; only then it is known who is there."""
    if session.request_id is None:
        return not_asked()
    try:
        told = await tapcode.status(session.request_id)
    except RequestNotFound:
        return not_asked()
    if told.reported:
        return JSONResponse({"error": "reported"}, 409)
    if told.subscriber_id is None:
        return not_asked()
    result = await tapcode.verify(
        entered.code, subscriber_id=told.subscriber_id, request_id=session.request_id
    )
    if not result.verified:
        return outcome(result)
    return let_in(request, JSONResponse({"verified": True}), told)


# ---- the same with tapcode's own page, where people choose the messenger and enter the code: no script of ours is needed


@app.get("/hosted")
async def hosted(request: Request, said: str = "") -> Response:
    """A form, and what became of the last try."""
    return shown(request, "hosted.html", said=said)


@app.post("/hosted/start")
async def hosted_start(request: Request, tapcode: Client) -> Response:
    """Ask for a request with a page, keep it in the session of this browser, and send the browser there."""
    session = sessions.find(request.cookies.get(cookie(request)))
    form = parse_qs((await request.body())[:4096].decode("utf-8", "replace"))
    token = form.get("csrf_token", [""])[0]
    if session is None or not secrets.compare_digest(session.csrf_token.encode(), token.encode()):
        raise HTTPException(403)
    back = str(
        request.url_for("hosted_done")
    )  # whatever Host it was made of: tapcode takes only registered ones
    try:
        made = await tapcode.request(context=Context(action="Sign in"), page=Page(return_url=back))
    except TapcodeError as error:
        tell_operator(error)
        return RedirectResponse("/hosted?said=unavailable", 303)
    session.request_id, session.shown, session.wait = made.request_id, {"asked": next_number(session)}, None
    sessions.renew(session)
    return RedirectResponse(made.page_url or "/hosted?said=unavailable", 303)


@app.get("/hosted/done")
async def hosted_done(
    request: Request, session: Reading, tapcode: Client, request_id: str = "", proof: str = ""
) -> Response:
    """Back from the page. This address is no proof of anything: anybody can write one, or send theirs to somebody.

    - The request is that of the session: an address from elsewhere signs nobody in (login CSRF).
    - tapcode says that its code was entered, and the proof that this was in this browser: whoever made a request and had
      somebody else enter the code on its page has none (request fixation).
    """
    if session.request_id is None or session.request_id != request_id:
        return RedirectResponse("/hosted?said=elsewhere", 303)
    try:
        told = await tapcode.status(session.request_id)
    except TapcodeError as error:
        tell_operator(error)
        return RedirectResponse("/hosted?said=unavailable", 303)
    if not told.verified:
        return RedirectResponse("/hosted", 303)  # who gave up, or was too late, begins again
    if told.proof is None or not secrets.compare_digest(told.proof.encode(), proof.encode()):
        return RedirectResponse("/hosted?said=elsewhere", 303)
    return let_in(request, RedirectResponse("/hosted", 303), told)


# ---- for who is signed in


@app.post("/payment/start")
async def payment_start(session: Guarded, tapcode: Client) -> Any:
    """For somebody known: a code straight into the chat, for this purpose alone."""
    if session.subscriber_id is None:
        return not_asked()
    await tapcode.send(
        session.subscriber_id, purpose="payment", context=Context(action="Payment", amount="100 ₽")
    )
    return {"sent": True}


@app.post("/payment/verify")
async def payment_verify(entered: Entered, session: Guarded, tapcode: Client) -> Any:
    """The subscriber comes from the session, never from the browser."""
    if session.subscriber_id is None:
        return not_asked()
    return outcome(await tapcode.verify(entered.code, subscriber_id=session.subscriber_id, purpose="payment"))


@app.post("/logout")
async def logout(request: Request, _: Guarded) -> Response:
    """End the session here, not only in the browser."""
    sessions.end(request.cookies.get(cookie(request)))
    response = JSONResponse({})
    response.delete_cookie(cookie(request), secure=secure(request), httponly=True, samesite="lax")
    return response


@app.exception_handler(TapcodeError)
async def not_now(_: Request, error: Exception) -> Response:
    """The machine code, for which the page has a sentence."""
    if not isinstance(error, TapcodeError):
        raise error
    if error.code in FOR_PEOPLE:
        return JSONResponse({"error": error.code, "retry_after": error.retry_after}, error.status or 502)
    tell_operator(error)
    return JSONResponse({"error": "unavailable", "retry_after": error.retry_after}, 502)


def tell_operator(error: TapcodeError) -> None:
    """What is ours to mend, in the log. Its text holds neither key nor code."""
    hint = HINT if error.code in SETTINGS else f"X-Request-Id of the answer: {error.request_id}"
    log.error("tapcode at %s: %s. %s", TAPCODE, error, hint)


@app.middleware("http")
async def headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    """No frames, no scripts from elsewhere; nothing with a code or a token is kept by a cache."""
    response = await go_on(request)
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {TAPCODE}"  # the form of /hosted is answered with the way there
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    if not request.url.path.startswith("/static/"):
        response.headers["Cache-Control"] = "no-store"
    return response


def outcome(result: Verification) -> dict[str, Any]:
    """For the page."""
    if result.verified:
        return {"verified": True}
    return {"verified": False, "reason": result.reason, "attempts_left": result.attempts_left}


def not_asked() -> Response:
    """This browser has no code to wait for."""
    return JSONResponse({"error": "not_asked"}, 409)


def language(request: Request) -> str:
    """Russian for those whose browser names it before English."""
    told = request.headers.get("Accept-Language", "").lower()
    russian, english = told.find("ru"), told.find("en")
    return "ru" if russian >= 0 and (english < 0 or russian < english) else "en"


def secure(request: Request) -> bool:
    """Whether the site is reached by https."""
    return request.url.scheme == "https"


def cookie(request: Request) -> str:
    """The cookie's name. With `__Host-` no other host of the domain can set it, and browsers take it over https alone."""
    return "__Host-session" if secure(request) else "session"


def shown(request: Request, page: str, **more: str) -> Response:
    """A page; whoever has no session gets one."""
    name = request.cookies.get(cookie(request))
    session = sessions.find(name)
    if session is None:
        name, session = sessions.begin()
    user = accounts.get(session.subscriber_id or "", "")
    told = {"lang": language(request), "csrf_token": session.csrf_token, "user": user, **more}
    return with_cookie(request, templates.TemplateResponse(request, page, told), str(name))


def let_in(request: Request, response: Response, told: Status) -> Response:
    """Sign in whoever entered the code of this request: only now it is known who is there."""
    subscriber_id = str(told.subscriber_id)
    accounts.setdefault(subscriber_id, f"{told.channel}-{subscriber_id[:8]}")
    sessions.end(request.cookies.get(cookie(request)))  # whoever knew the name of the old session has nothing
    name, _ = sessions.begin(subscriber_id)
    return with_cookie(request, response, name)


def with_cookie(request: Request, response: Response, name: str) -> Response:
    """The session's name: out of reach of scripts and of other sites' calls, and over https only where the site is."""
    response.set_cookie(
        cookie(request),
        name,
        max_age=SIGNED_IN_SECONDS,
        httponly=True,
        samesite="lax",
        secure=secure(request),
    )
    return response
