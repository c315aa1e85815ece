"""Whether the service runs, as it says of itself."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from checks.calls import Unreached, call
from checks.findings import Finding, ok, problem, warning

SUBJECT: Final = "service"


def address(host: str, port: int) -> str:
    """Where a process that listens on `host` can be called from this machine."""
    try:
        found = ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if found.is_unspecified:
        host = "127.0.0.1" if found.version == 4 else "::1"  # noqa: PLR2004  # IPv4
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def readiness(host: str, port: int) -> Mapping[str, Any]:
    """What `/readyz` tells. Raises `Unreached`: nobody answers, or not the service."""
    answer = await call(f"{address(host, port)}/readyz")
    try:
        told = json.loads(answer.body)
    except ValueError:
        told = None
    if not isinstance(told, dict) or "store" not in told or not isinstance(told.get("channels"), dict):
        raise Unreached("answer", f"another program answers there (HTTP {answer.status})")
    return {**told, "ready": answer.status == HTTPStatus.OK}


def judge_away(where: str, why: str, *, owned: bool, new: bool = False) -> Finding:
    """Nobody answered. `owned`: somebody listens at the operator's socket all the same; `new`: it never ran."""
    if owned:
        return problem(
            SUBJECT,
            f"a process owns the database, but does not answer at {where}: {why}",
            "see its log, and whether HOST and PORT here are those it was started with",
        )
    if new:
        return warning(
            SUBJECT, f"nobody answers at {where}: {why}", "start it: before the first start this is normal"
        )
    return problem(
        SUBJECT,
        f"nobody answers at {where}: {why}",
        "start it, and see its log when it does not stay (systemctl status)",
    )


def judge(
    told: Mapping[str, Any], version: str, wanted: Collection[str], accepted: Collection[str] = ()
) -> list[Finding]:
    """What it told of itself.

    `wanted` are the channels that the settings have, `accepted` those whose token there was accepted just now.
    """
    channels = {name: one for name, one in told["channels"].items() if isinstance(one, dict)}
    states = ", ".join(f"{name} {one.get('state')}" for name, one in channels.items()) or "no channel"
    text = f"{'ready' if told['ready'] else 'not ready'}, version {told.get('version')}, {states}"
    if told.get("draining"):
        return [warning(SUBJECT, f"{text}: it is about to stop", "look again once it has started anew")]
    if not told["ready"]:
        why = told.get("store_detail") or f"its store is {told['store']}"
        return [problem(SUBJECT, f"{text}: {why}", "see the lines about disk and database, and its log")]
    found = []
    if told.get("version") != version:
        hint = "restart the service, or run this command from its checkout"
        found.append(warning(SUBJECT, f"{text}; this program is {version}", hint))
    if set(channels) != set(wanted):
        hint = "restart it: it was started with other settings than these"
        found.append(warning(SUBJECT, f"{text}; the settings have {', '.join(wanted) or 'no channel'}", hint))
    found += [_judge_channel(name, one, accepted) for name, one in channels.items() if _ails(one)]
    return found or [ok(SUBJECT, text)]


def _ails(channel: Mapping[str, Any]) -> bool:
    return channel.get("state") != "ok" or channel.get("breaker", "closed") != "closed"


def _judge_channel(name: str, channel: Mapping[str, Any], accepted: Collection[str]) -> Finding:
    state, breaker = channel.get("state"), channel.get("breaker", "closed")
    if state == "unknown":
        return warning(SUBJECT, f"has not reached {name} yet", "wait a moment, then look again")
    if state == "unauthorized" and name in accepted:
        hint = "the service still runs with an older token: restart it"
        return problem(SUBJECT, f"has {name} as {state}, but the token of these settings is accepted", hint)
    broken = "" if breaker == "closed" else f", calls are held back (breaker {breaker})"
    return problem(
        SUBJECT,
        f"has {name} as {state}{broken}",
        f'see the lines about {name}, and "Health" in docs/operations.md',
    )
