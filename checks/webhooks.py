"""What a messenger says of the webhooks that are registered for a bot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Protocol
from urllib.parse import urlsplit

from checks.clock import seconds
from checks.findings import Finding, ok, problem, warning
from otp.policy import DAY_MS

RECENT_MS: Final = 15 * 60_000
OVER_MS: Final = 5 * 60_000
"""Telegram brings what failed again after a minute or so."""
MANY: Final = 100
REGISTER: Final = "tapcode webhooks register"
_LONGEST_ERROR: Final = 160
_ADVICE: Final = (
    (
        r"\b401\b",
        "the secret that is registered is not the service's: tapcode webhooks remove, then tapcode webhooks register",
    ),
    (r"\b40[345]\b", "the proxy does not pass /webhooks/ to the service"),
    (r"\b5\d\d\b", "the proxy does not reach the service, or its database failed: see the service's log"),
    (r"(?i)certificate|ssl|tls", "see the line about the certificate"),
    (r"(?i)resolve", "PUBLIC_URL's name is not known outside: see its DNS records"),
    (
        r"(?i)refused|timed? ?out|unreachable",
        "a firewall or the proxy keeps the messenger out: open the port to it",
    ),
)


class Registered(Protocol):
    """One webhook as the messenger has it; see `bot.messenger.Hook`."""

    @property
    def url(self) -> str: ...

    @property
    def error(self) -> str | None: ...

    @property
    def error_at(self) -> int | None: ...

    @property
    def pending(self) -> int | None: ...


def judge(
    subject: str,
    hooks: Sequence[Registered],
    wanted: str | None,
    now: int,
    *,
    taken: bool = False,
    new: bool = False,
) -> list[Finding]:
    """Ours among them, another program's, and how deliveries go.

    `wanted` is None where updates are fetched. `taken`: an update that we brought there ourselves was taken just now.
    `new`: the service never ran, and registers ours when it starts.
    """
    ours = [hook for hook in hooks if hook.url == wanted]
    others = [hook for hook in hooks if hook.url != wanted]
    if wanted is None:
        return [_judge_fetched(subject, others)]
    found = [_judge_ours(subject, ours[0], now, taken=taken)] if ours else []
    if others and ours:
        text = f"another address gets every update too: {_place(others)}"
        found.append(
            problem(
                subject,
                text,
                f"if no other program may read them: {REGISTER} --take-over; else change the token",
            )
        )
    elif others:
        text = f"another address gets the updates: {_place(others)}"
        hint = f"if it is an old one, or another program that must stop: {REGISTER} --take-over; else use a bot of its own"
        found.append(problem(subject, text, hint))
    elif not ours and new:
        hint = "start the service, which registers it: before the first start this is normal"
        found.append(warning(subject, "none is registered", hint))
    elif not ours:
        hint = f"{REGISTER} (a running service with WEBHOOKS_REGISTER_ON_START does it within 10 minutes)"
        found.append(problem(subject, "none is registered: the bot hears nothing", hint))
    return found


def _judge_fetched(subject: str, others: Sequence[Registered]) -> Finding:
    if not others:
        return ok(subject, "none, as updates are fetched")
    text = f"one is registered ({_place(others)}), so that nothing can be fetched"
    return problem(subject, text, "set PUBLIC_URL, or: tapcode webhooks remove --take-over")


def _judge_ours(subject: str, hook: Registered, now: int, *, taken: bool) -> Finding:
    waiting = f", {hook.pending} waiting" if hook.pending is not None else ""
    if hook.error is None or hook.error_at is None:
        unknown = "" if hook.pending is not None else " (this messenger tells of no errors)"
        return _judge_pending(subject, hook, f"registered{waiting}{unknown}")
    ago = now - hook.error_at
    text = f"registered{waiting}; last error {seconds(max(0, ago))} ago: {_plain(hook.error)}"
    if ago >= DAY_MS:
        return _judge_pending(subject, hook, f"registered{waiting}; last error more than a day ago")
    if taken and hook.pending == 0 and ago >= OVER_MS:
        return ok(subject, f"registered{waiting} (last failure {seconds(ago)} ago, over since)")
    hint = next(
        (do for sign, do in _ADVICE if re.search(sign, hook.error)), "see the line about the public URL"
    )
    if ago < RECENT_MS and hook.pending:
        return problem(subject, text, hint)
    return warning(subject, text, hint)


def _judge_pending(subject: str, hook: Registered, text: str) -> Finding:
    if (hook.pending or 0) < MANY:
        return ok(subject, text)
    return warning(subject, text, "the service does not keep up, or was away: look again in a minute")


def errs(hook: Registered, now: int) -> bool:
    """Whether deliveries failed within the last day."""
    return hook.error_at is not None and now - hook.error_at < DAY_MS


def _place(hooks: Sequence[Registered]) -> str:
    """The host alone: what stands behind it is another program's, and often a token."""
    return ", ".join(dict.fromkeys(_host(hook.url) for hook in hooks))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "?"
    except ValueError:
        return "?"


def _plain(text: str) -> str:
    return "".join(ch for ch in text if ch.isprintable())[:_LONGEST_ERROR]
