"""How far this machine's clock is off, told by the `Date` of an HTTP answer (RFC 9110, 6.6.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

from checks.calls import Answer, Outside, call
from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "clock"
SECOND_MS: Final = 1000
NOTICED_MS: Final = 5_000
WRONG_MS: Final = 30_000
"""A clock that is half a minute off is kept by nobody, and goes on. At five minutes the receivers of events refuse their
signatures (Standard Webhooks)."""
_SET_IT: Final = "have the clock kept by NTP (timedatectl set-ntp true), then look again"


def drift_ms(date: str | None, sent_at: int, received_at: int) -> int | None:
    """How much this clock is certainly ahead of the one that wrote `date` (negative: behind), in milliseconds.

    `sent_at` and `received_at`: this clock around the call, in ms since the epoch. A `Date` has whole seconds and may be
    written at any moment in between, so 0 means "no further off than that". None when it can't be read.
    """
    try:
        written = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    earliest = round(written.replace(tzinfo=written.tzinfo or UTC).timestamp() * 1000)
    if sent_at > earliest + 1000:
        return sent_at - earliest - 1000
    return min(0, received_at - earliest)


async def clock_drift(
    url: str, now: Callable[[], int], *, proxy: str | None = None, outside: Outside | None = None
) -> int | None:
    """The same by a call of its own, without a token. Raises `Unreached`."""
    return (await dated(url, now, proxy=proxy, outside=outside))[1]


async def dated(
    url: str, now: Callable[[], int], *, proxy: str | None = None, outside: Outside | None = None
) -> tuple[Answer, int | None]:
    """The answer to a call without a token, and the drift that it tells. Raises `Unreached`."""
    sent_at = now()
    answer = await call(url, proxy=proxy, outside=outside)
    # The name and the connection come before anything is sent.
    sent_at += round(answer.connect_ms or 0)
    return answer, drift_ms(answer.headers.get("Date"), sent_at, now())


def judge(drifts: Mapping[str, int | None], *, asked: bool = True) -> Finding:
    """By whose clock it is how far off. The nearest counts: it is likelier that one of the others is wrong.

    `asked`: whether there is anybody to ask.
    """
    if not asked:
        return ok(SUBJECT, "can't be compared: no messenger is on")
    known = {name: drift for name, drift in drifts.items() if drift is not None}
    if not known:
        return warning(
            SUBJECT,
            "can't be compared: nobody outside told the time",
            "look at `timedatectl` on this machine",
        )
    by_distance: dict[str, list[str]] = {}
    for name, drift in known.items():
        by_distance.setdefault(_off(drift), []).append(f"{name}'s")
    told = ", ".join(f"{off} {' and '.join(names)}" for off, names in by_distance.items())
    nearest = min(abs(drift) for drift in known.values())
    if nearest < NOTICED_MS:
        return ok(SUBJECT, told)
    level = problem if nearest >= WRONG_MS else warning
    return level(SUBJECT, told, _SET_IT)


def judge_noted(noted: int | None, now: int) -> Finding | None:
    """The latest time that the database has noted, which the service's clock never goes behind."""
    ahead = (noted or 0) - now
    if ahead < NOTICED_MS:
        return None
    text = f"the database has seen a time that is {seconds(ahead)} ahead of this clock"
    hint = (
        "this clock was set back, or ran ahead before. The service goes on from the later time; set the clock right "
        "if it is behind, else it passes by itself"
    )
    return (problem if ahead >= WRONG_MS else warning)(SUBJECT, text, hint)


def judge_database(drift: int) -> Finding:
    """A database server's clock, which tells all replicas the time."""
    text = f"the database server's is {_off(-drift)} this machine's"
    if abs(drift) < NOTICED_MS:
        return ok(SUBJECT, text)
    hint = "codes live by the database server's clock: have both kept by NTP"
    return (problem if abs(drift) >= WRONG_MS else warning)(SUBJECT, text, hint)


def _off(drift: int) -> str:
    if abs(drift) < SECOND_MS:
        return "within a second of"
    return f"{seconds(abs(drift))} {'ahead of' if drift > 0 else 'behind'}"


def seconds(milliseconds: int) -> str:
    """A time for people."""
    whole = round(milliseconds / 1000)
    if whole < 120:  # noqa: PLR2004  # below two minutes seconds are read faster
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"  # noqa: PLR2004  # likewise
