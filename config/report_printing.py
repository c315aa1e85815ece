"""How the commands that only look are printed for people: a part of `config.printing`, which alone imports it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from config.tables import clock, lasted, short, table

_WIDTH: Final = 100
_COUNTS: Final = ("requests", "opened", "sent", "failed", "unknown", "verified", "wrong")


def print_stats(days: list[dict[str, Any]], _database: str) -> None:
    """A line for each day and channel, and what they come to; a site's tests apart."""
    live = [one for one in days if one["mode"] == "live"]
    played = [one for one in days if one["mode"] != "live"]
    if not days:
        print("nothing happened in these days, or not since they are counted", file=sys.stderr)
    if live:
        _print_counts(live)
    if played:
        print(f"{chr(10) if live else ''}Test mode, which reaches nobody:")
        _print_counts(played)
    if days:
        print("Days are UTC. median, p90: so soon after a tap half, and nine in ten, of the codes were sent.")


def _print_counts(days: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        (one["day"], one["channel"], *(one[what] or "-" for what in _COUNTS), *_times(one)) for one in days
    ]
    total = [sum(one[what] for one in days) or "-" for what in _COUNTS]
    heads = ("day", "channel", *_COUNTS, "median", "p90")
    table([*rows, ("total", "", *total, "", "")], heads, right=frozenset(range(2, len(heads))))


def _times(one: Mapping[str, Any]) -> tuple[str, str]:
    took = one.get("tap_to_delivery_ms")
    return ("", "") if took is None else (f"<{took['median'] / 1000:g} s", f"<{took['p90'] / 1000:g} s")


# ------------------------------------------------------------------ requests

_CHANNELS: Final = {"telegram": "Telegram", "max": "MAX"}


def print_request(told: Mapping[str, Any], _database: str) -> None:
    """The way of a request, one moment a line, and what it came to."""
    test = "  TEST MODE" if told["mode"] == "test" else ""
    print(f"request {told['request_id']}  {told['status']}  purpose {told['purpose']}{test}")
    print(f"project {told['project']['id']}  {told['project']['name']}")
    if "subscriber_id" in told:
        print(f"subscriber {told['subscriber_id']}")
    print()
    before, day = told["timeline"][0]["at"], ""
    for moment in told["timeline"]:
        if moment["at"][:10] != day:
            day = moment["at"][:10]
            print(f"{day} (UTC)")
        since = lasted(before, moment["at"])
        _wrapped(f"  {clock(moment['at'])}  {'+' + since if since else '':>11}  ", moment["text"])
        before = moment["at"]
    print()
    _wrapped("Why: ", told["why"])
    if "todo" in told:
        _wrapped("Do:  ", told["todo"])


def _wrapped(head: str, text: str) -> None:
    # A long word is left whole: it may be an id, which somebody wants to copy.
    lines = textwrap.wrap(text, _WIDTH - len(head), break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        print(f"{' ' * len(head) if place else head}{line}")


def print_requests(told: Any, _database: str) -> None:
    """A line for each request; or for each code that was to be sent to a subscriber."""
    if isinstance(told, dict):
        _print_sendings(told)
        return
    if not told:
        print(
            "no requests in that time: unopened ones are kept for an hour, others for a day", file=sys.stderr
        )
    for project, name in dict.fromkeys((one["project"]["id"], one["project"]["name"]) for one in told):
        print(f"project {project}  {name}")
        theirs = [one for one in told if one["project"]["id"] == project]
        table([("", *_request(one)) for one in theirs])
    if told:
        print("Times are UTC. `requests show ID` tells more of one.")


def _request(one: Mapping[str, Any]) -> tuple[str, ...]:
    test = "(test) " if one["mode"] == "test" else ""
    where = _CHANNELS.get(one.get("channel", ""), "-")
    return short(one["created_at"]), one["request_id"], one["status"], where, f"{test}{one['short']}"


def _print_sendings(told: Mapping[str, Any]) -> None:
    state = ["subscribed" if told["subscribed"] else "NOT SUBSCRIBED (left, or blocked the bot)"]
    state += ["LOCKED: `subscribers unlock` undoes it"] if told["locked"] else []
    state += [f"wrong guesses in a row: {told['wrong_guesses']}"] if told["wrong_guesses"] else []
    print(f"subscriber {told['subscriber_id']}  {_CHANNELS[told['channel']]}  {', '.join(state)}")
    print(f"project {told['project']['id']}  {told['project']['name']}")
    if not told["deliveries"]:
        print("no codes in the last 48 hours: none was asked for, or it was refused at once (locked, limit)")
    for one in told["deliveries"]:
        head = f"  {short(one['at'])}  {one['cause']:8}"
        request = f" (request {one['request_id']})" if "request_id" in one else ""
        _wrapped(f"{head}", f"{one['purpose']}: {one['text']}{request}")
    print("Times are UTC.")
