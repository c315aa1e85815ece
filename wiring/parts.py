"""One part each, made from the settings, for `serve` and for the commands. Messengers are imported when they are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from config.clock import SystemClock, told_clock
from config.settings import Settings
from otp.codes import KeyRing, fingerprint
from otp.delivery import Rules
from otp.endpoints import Endpoints
from otp.model import Channel, Mode
from otp.policy import Policy
from otp.ports import Clock, Randomness, Seals, Store
from otp.retention import Retention
from storage import Reach
from storage.sealing import AeadSeals

if TYPE_CHECKING:
    from pydantic import SecretStr

    from bot.messenger import Skin
    from bot.registration import Registration
    from checks.calls import Outside
    from wiring.measuring import Measuring


def make_skins(settings: Settings) -> dict[Channel, Skin]:
    """The messengers that have a token; the library of one that is off is never loaded."""
    skins: dict[Channel, Skin] = {}
    if (token := revealed(settings.telegram_bot_token)) is not None:
        from bot.telegram import TelegramSkin

        skins[Channel.TELEGRAM] = TelegramSkin(
            token, settings.telegram_api_url, revealed(settings.telegram_proxy_url)
        )
    if (token := revealed(settings.max_bot_token)) is not None:
        from bot.max import MaxSkin

        skins[Channel.MAX] = MaxSkin(token, settings.max_api_url, revealed(settings.max_proxy_url))
    return skins


def revealed(value: SecretStr | None) -> str | None:
    """A secret in clear, where there is one."""
    return value.get_secret_value() if value is not None else None


def api_of(settings: Settings, channel: Channel) -> tuple[str, str | None]:
    """The messenger's address, and the proxy on the way."""
    return (
        getattr(settings, f"{channel}_api_url"),
        revealed(getattr(settings, f"{channel}_proxy_url")),
    )


def webhook_secrets(settings: Settings, channel: Channel) -> list[str]:
    """The secrets that a channel's webhook accepts; the first one is registered. None at all without any key."""
    given = revealed(getattr(settings, f"{channel}_webhook_secret"))
    if given is not None:
        return [given]
    bot = bot_identity(settings, channel)
    return KeyRing(settings.keys).webhook_secrets(channel, bot) if settings.keys else []


def bot_identity(settings: Settings, channel: Channel) -> str:
    """What tells one bot from another: Telegram's numeric id, which stands in the token, or the token's fingerprint."""
    token = revealed(getattr(settings, f"{channel}_bot_token")) or ""
    return token.partition(":")[0] if channel == "telegram" else fingerprint([token])


def make_registration(settings: Settings, store: Store, skins: Mapping[Channel, Skin]) -> Registration:
    """What looks after names and webhooks."""
    from bot.registration import Registration, Wanted

    targets: dict[Channel, Wanted] = {}
    for channel in skins:
        secrets = webhook_secrets(settings, channel)
        if settings.public_url is not None and secrets:
            targets[channel] = Wanted(f"{settings.public_url}/webhooks/{channel}", secrets[0])
    given = {channel: getattr(settings, f"{channel}_bot_username") for channel in skins}
    usernames = {channel: name for channel, name in given.items() if name}
    identities = {channel: bot_identity(settings, channel) for channel in skins}
    return Registration(
        skins, store, targets, usernames, identities=identities, automatic=settings.registers_webhooks
    )


def make_clock(database: str | None) -> Clock:
    """The clock over a store: this machine's over an SQLite file, else the one that the database tells."""
    return SystemClock() if database else told_clock()


def make_reach(settings: Settings) -> Reach:
    """How the database is reached."""
    return Reach(
        revealed(settings.database_direct_url),
        settings.database_pool_size,
        settings.database_statement_cache,
    )


def make_policy(settings: Settings) -> Policy:
    """The operator's limits."""
    chosen = Policy(
        max_ttl_minutes=settings.max_ttl_minutes,
        send_limit=settings.send_limit,
        send_window_ms=settings.send_window_seconds * 1000,
        guess_budget=settings.guess_budget,
    )
    return chosen.strict() if settings.profile == "strict" else chosen


def make_retention(settings: Settings, rules: Rules) -> Retention | None:
    """Until when people are kept with whom nothing is any more; None for as long as nobody erases them."""
    return Retention(rules, settings.retention_days) if settings.retention_days is not None else None


def make_rules(settings: Settings, randomness: Randomness) -> Rules:
    """The same rules for a command, which needs no key: nothing is sent by it, nor verified."""
    keys = KeyRing(settings.keys or [randomness.text(48)])
    return Rules(make_policy(settings), keys, randomness, make_seals(settings, randomness))


def measuring_of(
    settings: Settings,
    store: Store,
    clock: Clock,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    outside: Outside | None,
) -> Measuring | None:
    """What is measured; None, and nothing of it loaded, where metrics are off."""
    if not settings.measures:
        return None
    from wiring.measuring import make_measuring

    return make_measuring(settings, store, clock, mode, skins, outside)


def make_seals(settings: Settings, randomness: Randomness) -> Seals:
    """What seals the secrets that must be stored."""
    return AeadSeals(KeyRing(settings.keys).sealing_keys() if settings.keys else {}, randomness)


def make_endpoints(settings: Settings, store: Store, randomness: Randomness) -> Endpoints:
    """Where events go."""
    seals = make_seals(settings, randomness)
    return Endpoints(store, seals, randomness, private=settings.events_allow_private)
