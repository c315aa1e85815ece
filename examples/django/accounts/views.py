"""The site's own side of the page: it holds the key, and the browser's session says whose code is meant."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import render
from django.utils.translation import get_language
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST
from tapcode_client import Context, RequestNotFound, TapcodeError, Verification

from accounts.backend import REQUEST, Reported, result_of
from accounts.models import Messenger
from accounts.tapcode import tapcode

SHOWN = "tapcode_shown"
WAIT_SECONDS = 10
"""One answer to the waiting page. A thread waits with it: README.md says what that means for the number of threads."""
LONGEST_CODE = 64
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
POLICY = (
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

View = Callable[[HttpRequest], HttpResponse]

log = logging.getLogger(__name__)


def explained(view: View) -> View:
    """Answers an error of tapcode by its machine code, for which the page has a sentence."""

    @wraps(view)
    def explain(request: HttpRequest) -> HttpResponse:
        try:
            return view(request)
        except TapcodeError as error:
            known = error.code in FOR_PEOPLE
            if not known:  # the error's text holds neither key nor code
                hint = HINT if error.code in SETTINGS else f"X-Request-Id of the answer: {error.request_id}"
                log.error("tapcode at %s: %s. %s", settings.TAPCODE_URL, error, hint)
            told = {"error": error.code if known else "unavailable", "retry_after": error.retry_after}
            return JsonResponse(told, status=(known and error.status) or 502)

    return explain


@require_GET
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """The page, with the token that its calls must hold (CSRF)."""
    user = request.user.get_username() if request.user.is_authenticated else ""
    told = {"lang": get_language(), "csrf_token": get_token(request), "user": user}
    response = render(request, "login.html", told)
    response["Content-Security-Policy"] = POLICY
    return response


@require_POST
@explained
def start(request: HttpRequest) -> HttpResponse:
    """Ask for a code, for this browser. What it asked for before is over, so that only one link works.

    The new one is stored before the old one is cancelled: a tab that waits for the old one must not take it for
    an act of somebody in the chat.
    """
    made = tapcode().request(context=Context(action="Sign in"))
    before = request.session.get(REQUEST)
    request.session[REQUEST] = made.request_id
    request.session[SHOWN] = {
        "asked": _asked(request) + 1,
        "telegram_link": made.telegram_link,
        "max_link": made.max_link,
        "channels": asdict(made.channels),
        "pairing_code": made.pairing_code,
        "chat_text": made.chat_text,
    }
    request.session.save()
    if before is not None:
        _cancel(before)
    return JsonResponse(request.session[SHOWN])


@require_GET
@never_cache
def current(request: HttpRequest) -> HttpResponse:
    """What this browser is waiting for, if anything."""
    return JsonResponse(request.session.get(SHOWN, {}))


@require_GET
@never_cache
@explained
def status(request: HttpRequest) -> HttpResponse:
    """Wait for the change on behalf of the page. Not a word of who it was: that says `verify` alone.

    `asked` is which of this browser's requests the page shows. It is compared, and nothing is looked up by it.
    The view must not change the session: saved after the wait, it would undo what happened meanwhile.
    """
    request_id = request.session.get(REQUEST)
    if request_id is None:
        return JsonResponse(REPLACED) if request.user.is_authenticated else _not_asked()
    if request.GET.get("asked", str(_asked(request))) != str(_asked(request)):
        return JsonResponse(REPLACED)
    try:
        told = tapcode().wait_until_sent(request_id, timeout=WAIT_SECONDS)
    except RequestNotFound:
        return _not_asked()
    as_it_is_now = type(request.session)(request.session.session_key)
    if as_it_is_now.get(REQUEST) != request_id:
        return JsonResponse(REPLACED)
    if told.reported:
        return JsonResponse({"status": "reported"})
    return JsonResponse({"status": told.status, "channel": told.channel})


@require_POST
@explained
@sensitive_variables("code")
def verify(request: HttpRequest) -> HttpResponse:
    """Judge the code of the request that this browser made, and sign in."""
    code = _entered(request)
    if code is None:
        return _malformed()
    try:
        user = authenticate(request, secret_code=code)
    except RequestNotFound:
        return _not_asked()
    except Reported:
        return JsonResponse({"error": "reported"}, status=409)
    result = result_of(request)
    if result is None or (result.verified and user is None):  # verified, and switched off here
        return _not_asked()
    if user is None:
        return _outcome(result)
    login(request, user)  # a new name for the session, and a new token
    for name in (REQUEST, SHOWN):
        request.session.pop(name, None)
    return JsonResponse({"verified": True})


@require_POST
@explained
def payment_start(request: HttpRequest) -> HttpResponse:
    """For somebody known: a code straight into the chat, for this purpose alone."""
    subscriber_id = _subscriber(request)
    if subscriber_id is None:
        return _not_asked()
    tapcode().send(subscriber_id, purpose="payment", context=Context(action="Payment", amount="100 ₽"))
    return JsonResponse({"sent": True})


@require_POST
@explained
@sensitive_variables("code")
def payment_verify(request: HttpRequest) -> HttpResponse:
    """The subscriber is the signed-in user's, never one that the browser names."""
    subscriber_id, code = _subscriber(request), _entered(request)
    if subscriber_id is None:
        return _not_asked()
    if code is None:
        return _malformed()
    return _outcome(tapcode().verify(code, subscriber_id=subscriber_id, purpose="payment"))


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End the session here, not only in the browser."""
    logout(request)
    return JsonResponse({})


def _subscriber(request: HttpRequest) -> str | None:
    if not request.user.is_authenticated:
        return None
    messenger = Messenger.objects.filter(user=request.user).order_by("-id").first()
    return None if messenger is None else str(messenger.subscriber_id)


@sensitive_variables()
def _entered(request: HttpRequest) -> str | None:
    """What the person typed, as they typed it: tapcode itself ignores spaces and dashes."""
    try:
        body: Any = json.loads(request.body)
        code = body["code"]
    except (ValueError, TypeError, LookupError):
        return None
    return code if isinstance(code, str) and 1 <= len(code) <= LONGEST_CODE else None


def _asked(request: HttpRequest) -> int:
    """How many codes this browser has asked for, so that a page knows its own."""
    return int(request.session.get(SHOWN, {}).get("asked", 0))


def _cancel(request_id: str) -> None:
    with suppress(TapcodeError):  # it was over already, or will be in 15 minutes
        tapcode().cancel(request_id)


def _outcome(result: Verification) -> JsonResponse:
    if result.verified:
        return JsonResponse({"verified": True})
    return JsonResponse({"verified": False, "reason": result.reason, "attempts_left": result.attempts_left})


def _malformed() -> JsonResponse:
    return JsonResponse({"verified": False, "reason": "malformed_code"})


def _not_asked() -> JsonResponse:
    return JsonResponse({"error": "not_asked"}, status=409)
