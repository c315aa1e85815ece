"""The hosted page: `/c/{token}` for a visitor's browser, and the files it is made of. Only `main` imports this.

A token stands for one request and opens nothing else; what it does not open looks the same, whatever it is. The page works
with forms alone: each one leads back to the page, which shows the request as it is then.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hmac import compare_digest
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlencode

from aiohttp import web
from pydantic import Field, StringConstraints

from api.answers import RATE, SHARED, json_answer
from api.auth import SEAT_SECONDS, Limits, too_often
from api.bodies import json_object, read_limited, validated
from api.limits import RateLimit, Seats
from api.operations import link
from api.problems import Problem
from api.schemas import Body
from api.status import Following
from otp import pages, pairing
from otp.errors import OtpError, ProjectDisabled, RateLimited, RequestNotFound
from otp.hosted import LONGEST_TYPED, HostedPages, Stage, View
from otp.model import Caller, Channel, Mode, Project
from otp.policy import SECOND_MS
from otp.ports import Clock
from otp.service import Reason, RequestState, Verdict, no_request
from otp.waiting import Waiters

TOKEN_PER_MINUTE: Final = 30
ADDRESS_PER_MINUTE: Final = 120
FORM_BYTES: Final = 4_096
SEATS: Final = 4
"""Of one page's visitors who wait at the same time: some windows, and a connection that is not known to be dead yet."""
LOGOS_KEPT: Final = 64
COOKIE: Final = "tapcode_proof"
PROOF_SECONDS: Final = 900
PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Content-Type",
    "Access-Control-Max-Age": "600",
}
FOREVER: Final = "public, max-age=31536000, immutable"
_DIGEST: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_SECONDS: Final = re.compile(r"[0-9]{1,4}", re.ASCII)
_TOO_OFTEN: Final = "This page was looked at too often. It goes on in a moment."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class VerifyBody(Body):
    """What a visitor entered."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TYPED), Field(repr=False)]


@dataclass(frozen=True, slots=True)
class PageLimits:
    """How often browsers may come."""

    token: RateLimit
    address: RateLimit
    seats: Seats
    """Of each page's visitors."""
    api: Limits
    """Those of the API, which know a client's address and how many may wait at all."""

    @classmethod
    def beside(cls, api: Limits, clock: Clock) -> PageLimits:
        """The limits of pages, beside those of the API."""
        return cls(
            RateLimit("page", TOKEN_PER_MINUTE, clock),
            RateLimit("pages", ADDRESS_PER_MINUTE, clock),
            Seats(SEATS, api.seats.together),
            api,
        )

    def take_address(self, request: web.Request) -> None:
        """Count a call of a client. Raises `Problem`."""
        self._take(request, self.address, self.api.address(request))

    def take_token(self, request: web.Request, request_id: str) -> None:
        """Count a call about a request. Raises `Problem`."""
        self._take(request, self.token, request_id)

    @staticmethod
    def _take(request: web.Request, limit: RateLimit, subject: str) -> None:
        taken = limit.take(subject)
        request[RATE] = taken
        if not taken.allowed:
            raise too_often(taken, _TOO_OFTEN)


class Gate:
    """Lets browsers in by a token."""

    def __init__(self, hosted: HostedPages, limits: PageLimits) -> None:
        self.hosted = hosted
        self.limits = limits

    def admit(self, request: web.Request) -> str:
        """The request that a token is for. Raises `Problem` (429), `RequestNotFound`."""
        self.limits.take_address(request)
        request_id = self.hosted.request_id(request.match_info["token"])
        self.limits.take_token(request, request_id)
        return request_id

    async def share(self, request: web.Request, request_id: str) -> Caller:
        """Let the project's own sites read the answer, whatever it will be."""
        caller = await self.hosted.caller(request_id)
        if request.headers.get("Origin") in _origins(caller.project, caller.mode):
            request[SHARED] = request.headers["Origin"]
        return caller


def _origins(project: Project, mode: Mode) -> tuple[str, ...]:
    return pages.open_origins(project.page, local=mode is Mode.TEST)


class PageStatus(Following):
    """What became of the request, for its page: at once, at the change, or as events."""

    def __init__(self, waiters: Waiters, gate: Gate) -> None:
        super().__init__(waiters)
        self._gate = gate

    async def _admit(self, request: web.Request) -> tuple[Caller, str]:
        request_id = self._gate.admit(request)
        return await self._gate.share(request, request_id), request_id

    def _seat(self, request: web.Request) -> AbstractContextManager[None]:
        request_id = self._gate.hosted.request_id(request.match_info["token"])
        seat = self._gate.limits.seats.seat(request_id)
        if seat is None:
            raise Problem("rate_limited", "Too many wait for this page.", {"Retry-After": str(SEAT_SECONDS)})
        return seat

    async def _still_opens(self, request: web.Request) -> bool:
        request_id = self._gate.hosted.request_id(request.match_info["token"])
        return (await self._gate.hosted.caller(request_id)).project.enabled

    async def _body(self, request_id: str, state: RequestState) -> dict[str, Any]:
        return status_body(await self._gate.hosted.view(request_id), state)


def status_body(view: View, state: RequestState) -> dict[str, Any]:
    """What a browser is told."""
    told: dict[str, Any] = {
        "request_id": view.request.id,
        "status": state.status,
        "stage": view.stage,
        "expires_in": max(0, view.lasts_ms // SECOND_MS),
    }
    if view.channel is not None:
        told["channel"] = view.channel
    if view.stage is Stage.WAITING:
        told |= {f"{one}_link": link(one, view.bots.get(one), view.request.id) for one in Channel}
        told["channels"] = view.health
        told["pairing_code"] = pairing.shown(view.request.pairing_code or "")
        told |= {"match_number": view.request.match.number} if view.request.match else {}
        told |= {"trouble": view.trouble} if view.trouble is not None else {}
    if view.stage is Stage.CODE:
        told |= {"attempts_left": view.attempts_left, "code_length": view.request.terms.length}
    if view.stage is Stage.VERIFIED:
        told["verified"] = True
    return told


class PageRoutes:
    """The routes of pages."""

    def __init__(self, hosted: HostedPages, waiters: Waiters, limits: PageLimits) -> None:
        self._hosted = hosted
        self._waiters = waiters
        self._limits = limits
        self._gate = Gate(hosted, limits)
        self._codes: OrderedDict[str, bytes] = OrderedDict()
        """QR codes, by what they say."""
        self._logos: OrderedDict[str, bytes] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        """The routes to add to the application."""
        return [
            web.get("/c/{token}", self._seen(self._page)),
            web.post("/c/{token}", self._seen(self._form)),
            web.get("/c/{token}/status", PageStatus(self._waiters, self._gate).answer),
            web.post("/c/{token}/verify", self._verify),
            web.post("/c/{token}/again", self._again),
            web.get("/c/{token}/qr.svg", self._qr),
            *(web.options(f"/c/{{token}}/{name}", self._preflight) for name in ("status", "verify", "again")),
            web.get("/pages/{name}", self._file),
        ]

    # ------------------------------------------------------------------ for people

    def _seen(self, handler: Handler) -> Handler:
        """A handler whose problems are pages, too."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except RequestNotFound:
                return self._sorry(request, "gone", HTTPStatus.NOT_FOUND)
            except Problem as error:
                if error.code != "rate_limited":
                    raise
                seconds = int(error.headers["Retry-After"])
                framed_by = await self._framed_by(request)
                return self._sorry(request, "busy", HTTPStatus.TOO_MANY_REQUESTS, seconds, framed_by)
            except OtpError as error:
                return self._sorry(
                    request, "broken", HTTPStatus.SERVICE_UNAVAILABLE, error.retry_after or SEAT_SECONDS
                )

        return answer

    async def _framed_by(self, request: web.Request) -> tuple[str, ...]:
        """Who may frame what is said in place of the page: in their dialog it would be an empty frame else."""
        try:
            caller = await self._hosted.caller(self._hosted.request_id(request.match_info["token"]))
        except OtpError:
            return ()
        return _origins(caller.project, caller.mode)

    def _sorry(
        self,
        request: web.Request,
        kind: str,
        status: HTTPStatus,
        seconds: int | None = None,
        origins: tuple[str, ...] = (),
    ) -> web.Response:
        from api import page_html

        language = page_html.language_of(
            request.headers.get("Accept-Language", ""), request.query.get("lang")
        )
        answer = _html(page_html.sorry(kind, language), language, origins)
        answer.set_status(status)
        if seconds is not None:
            answer.headers["Retry-After"] = answer.headers["Refresh"] = str(
                seconds
            )  # so it goes on by itself
        return answer

    async def _page(self, request: web.Request) -> web.Response:
        from api import page_html

        view = await self._hosted.view(self._gate.admit(request))
        query, token = request.query, request.match_info["token"]
        origins = _origins(view.project, view.request.mode)
        note, seconds = query.get("n"), query.get("s", "")
        shown = page_html.Shown(
            page_html.language_of(request.headers.get("Accept-Language", ""), query.get("lang")),
            token,
            embedded=query.get("embed") == "1",
            note=note if note in page_html.NOTES else None,
            wait_seconds=int(seconds) if _SECONDS.fullmatch(seconds) else 0,
            proven=_is_proven(request, view.proof),
            origins=origins,
        )
        return _html(page_html.page(view, shown), shown.language, origins)

    async def _form(self, request: web.Request) -> web.Response:
        request_id = self._gate.admit(request)
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Problem("malformed_json", "This form is sent from its own page only.")
        fields = parse_qs((await read_limited(request, FORM_BYTES) or b"").decode("utf-8", "replace"))
        note: dict[str, str] = {}
        proof = None
        if "again" in fields:
            note = await self._sent_again(request_id)
        else:
            verdict = await self._judged(request_id, fields.get("code", [" "])[0])
            if verdict.reason is None:
                proof = (await self._hosted.view(request_id)).proof
            else:
                note = {"n": str(verdict.reason)}
        kept = {name: request.query[name] for name in ("lang", "embed") if name in request.query}
        token = request.match_info["token"]
        answer = web.Response(status=303, headers={"Location": f"{token}?{urlencode(kept | note)}"})
        self._prove(answer, request, proof)
        return answer

    def _prove(self, answer: web.Response, request: web.Request, proof: str | None) -> None:
        """Let this browser, and no other one, find the way back again."""
        if proof is not None:
            answer.set_cookie(
                COOKIE,
                proof,
                max_age=PROOF_SECONDS,
                path=f"{self._hosted.folder}/c/{request.match_info['token']}",
                httponly=True,
                secure=self._hosted.is_secure,
                samesite="Lax",
            )

    async def _sent_again(self, request_id: str) -> dict[str, str]:
        """Send the code again; what came of it, for the page."""
        try:
            await self._hosted.send_again(request_id)
        except RequestNotFound:
            raise
        except RateLimited as error:
            return {"n": "too_often", "s": str(error.retry_after or 0)}
        except OtpError:
            return {"n": "not_again"}
        return {"n": "sent_again"}

    async def _judged(self, request_id: str, typed: str) -> Verdict:
        try:
            return await self._hosted.guess(request_id, typed)
        except ProjectDisabled:
            return Verdict(Reason.NO_ACTIVE_CODE)  # the page says why

    # ------------------------------------------------------------------ for scripts

    async def _verify(self, request: web.Request) -> web.Response:
        request_id = self._gate.admit(request)
        await self._gate.share(request, request_id)
        body = validated(VerifyBody, await json_object(request, optional=False))
        verdict = await self._hosted.guess(request_id, body.code)
        if verdict.reason is not None:
            return json_answer(
                {"verified": False, "reason": verdict.reason, "attempts_left": verdict.attempts_left}
            )
        view = await self._hosted.view(request_id)
        told: dict[str, Any] = {"verified": True, "request_id": request_id, "proof": view.proof}
        page = view.request.page
        told |= {"state": page.state} if page is not None and page.state is not None else {}
        answer = json_answer(told | {"return_url": view.way_back(proven=True)})
        self._prove(answer, request, view.proof)
        return answer

    async def _again(self, request: web.Request) -> web.Response:
        request_id = self._gate.admit(request)
        await self._gate.share(request, request_id)
        await self._hosted.send_again(request_id)
        return json_answer({"sent": True})

    async def _preflight(self, request: web.Request) -> web.Response:
        self._limits.take_address(request)  # the call itself is counted when it comes
        await self._gate.share(request, self._hosted.request_id(request.match_info["token"]))
        answer = web.Response(status=204, headers={"Vary": "Origin"})
        if SHARED in request:
            answer.headers.update(PREFLIGHT)
        return answer

    # ------------------------------------------------------------------ pictures and files

    async def _qr(self, request: web.Request) -> web.Response:
        view = await self._hosted.view(self._gate.admit(request))
        wanted = request.query.get("channel")
        address = next(
            (link(one, bot, view.request.id) for one, bot in view.bots.items() if wanted in (None, one)), None
        )
        if address is None or view.stage is not Stage.WAITING:
            raise no_request()
        if address not in self._codes:
            _keep(self._codes, address, await asyncio.to_thread(drawn, address), LOGOS_KEPT)
        return web.Response(
            body=self._codes[address],
            content_type="image/svg+xml",
            headers={
                "Cache-Control": "private, max-age=900",
                "Content-Security-Policy": "default-src 'none'",
            },
        )

    async def _file(self, request: web.Request) -> web.Response:
        from api import page_html

        name = request.match_info["name"]
        if name.endswith(".png"):
            return await self._logo(request, name.removesuffix(".png"))
        if page_html.is_colored(name):
            self._limits.take_address(request)  # there are millions of them
        found = page_html.file_named(name)
        if found is None:
            raise web.HTTPNotFound
        file, current = found
        headers = {
            "Cache-Control": FOREVER if current else "no-cache",
            "Vary": "Accept-Encoding",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        small = "gzip" in request.headers.get("Accept-Encoding", "").lower()
        headers |= {"Content-Encoding": "gzip"} if small else {}
        return web.Response(
            body=file.small if small else file.body,
            content_type=file.content_type,
            charset="utf-8",
            headers=headers,
        )

    async def _logo(self, request: web.Request, digest: str) -> web.Response:
        if _DIGEST.fullmatch(digest) is None:
            raise web.HTTPNotFound
        if digest not in self._logos:
            self._limits.take_address(request)
            picture = await self._hosted.logo(digest)
            if picture is None:
                raise web.HTTPNotFound
            _keep(self._logos, digest, picture, LOGOS_KEPT)
        return web.Response(
            body=self._logos[digest], content_type="image/png", headers={"Cache-Control": FOREVER}
        )


def _keep(kept: OrderedDict[str, bytes], name: str, value: bytes, most: int) -> None:
    kept[name] = value
    if len(kept) > most:
        kept.popitem(last=False)


def drawn(address: str) -> bytes:
    """A QR code as SVG: dark on light in every theme, as readers want it, with the quiet zone of four modules."""
    import io

    import segno

    out = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        out,
        kind="svg",
        border=4,
        dark="#000",
        light="#fff",
        xmldecl=False,
        svgclass=None,
        lineclass=None,
        omitsize=True,
        nl=False,
    )
    return out.getvalue()


def _html(text: str, language: str, origins: tuple[str, ...]) -> web.Response:
    """A page that nobody keeps, that runs nothing from elsewhere and that only the project's sites may frame."""
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        f"form-action 'self'; base-uri 'none'; frame-ancestors {' '.join(origins) or chr(39) + 'none' + chr(39)}"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Content-Language": language,
        "Vary": "Accept-Language",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    }
    return web.Response(text=text, content_type="text/html", charset="utf-8", headers=headers)


def _is_proven(request: web.Request, proof: str | None) -> bool:
    """Whether this is the browser in which the code was entered."""
    given = request.cookies.get(COOKIE, "")
    return proof is not None and compare_digest(given.encode(), proof.encode())
