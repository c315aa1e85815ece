"""Whether a messenger can be reached and knows the bot."""

from __future__ import annotations

from typing import Final

from checks.calls import Answer, Unreached
from checks.findings import Finding, ok, problem, warning

SLOW_MS: Final = 3000
_TOKENS: Final = {
    "telegram": "get the token from @BotFather (/mybots, API Token) and set TELEGRAM_BOT_TOKEN, then restart the service",
    "max": "get the token from MAX (business.max.ru, the bot's page) and set MAX_BOT_TOKEN, then restart the service",
}


def judge_reach(channel: str, host: str, seen: Answer | Unreached, *, proxied: bool) -> Finding:
    """One call without a token: any answer will do."""
    way = " through the proxy" if proxied else ""
    if isinstance(seen, Unreached):
        return _judge_unreached(channel, host, seen, way)
    steps = [
        f"{name} {value:.0f} ms"
        for name, value in (
            ("name", seen.name_ms),
            ("connection", seen.connect_ms),
            ("answer", seen.total_ms),
        )
        if value is not None
    ]
    text = f"{host} reached{way}: {', '.join(steps)}"
    if seen.total_ms < SLOW_MS:
        return ok(channel, text)
    return warning(
        channel, text, "people wait as long for each message: see the network, or use a proxy near it"
    )


def _judge_unreached(channel: str, host: str, seen: Unreached, way: str) -> Finding:
    name = channel.upper()
    hints = {
        "name": f"see this machine's DNS, and {name}_API_URL",
        "certificate": "something between here and there answers in its place: a proxy that opens TLS, or a false DNS",
        "proxy": f"see {name}_PROXY_URL and what the proxy allows",
    }
    blocked = f"the network may block it: see the firewall, or set {name}_PROXY_URL"
    return problem(channel, f"{host} is not reached{way}: {seen.why}", hints.get(seen.stage, blocked))


def judge_bot(channel: str, name: str, given: str | None) -> Finding:
    """The token is good. `given` is the name that the settings say."""
    if given is not None and given.casefold() != name.casefold():
        return warning(
            channel,
            f"token accepted, but the bot is @{name}, and links lead to @{given}",
            f"correct {channel.upper()}_BOT_USERNAME, or leave it out",
        )
    return ok(channel, f"token accepted, the bot is @{name}")


def judge_refused(channel: str, why: str, *, unauthorized: bool) -> Finding:
    """It was reached, and did not tell who the bot is."""
    if unauthorized:
        return problem(channel, "the token is refused", _TOKENS[channel])
    return problem(
        channel, f"who the bot is was not answered: {why}", "look again; see the messenger's own state"
    )
