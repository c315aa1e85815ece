"""The rules, wired to a store and to messengers: knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.messenger import Skin
from bot.registration import Registration
from bot.replies import CodeMessenger
from config.logs import log_breaker
from config.settings import Settings
from otp.codes import KeyRing
from otp.courier import Courier
from otp.delivery import Rules
from otp.model import Channel, Mode
from otp.phones import Phones
from otp.ports import Clock, Randomness, Store
from otp.protection import Protection
from otp.rehearsal import Rehearsal
from otp.service import OtpService
from otp.taps import Taps
from wiring.parts import make_policy, make_seals
from wiring.service import failed


@dataclass(frozen=True, slots=True)
class Core:
    """The rules, wired to a store and to messengers."""

    rules: Rules
    courier: Courier
    service: OtpService
    taps: Taps
    protection: Protection
    phones: Phones
    rehearsal: Rehearsal | None
    """Where one mode is only played."""


def make_core(
    settings: Settings,
    *,
    store: Store,
    clock: Clock,
    randomness: Randomness,
    mode: Mode,
    skins: Mapping[Channel, Skin],
    bots: Registration,
    public_url: str | None,
) -> Core:
    """Wire the rules. `mode` is that of the messengers' people, `public_url` where browsers reach us."""
    rehearses = mode is Mode.LIVE  # the sandbox's own people do what would be played
    rules = Rules(make_policy(settings), KeyRing(settings.keys), randomness, make_seals(settings, randomness))
    messengers = {channel: CodeMessenger(skin) for channel, skin in skins.items()}
    courier = Courier(store, rules, clock, messengers, failed, log_breaker, bots.find_out)
    service = OtpService(store, rules, courier, bots, rehearses=rehearses, public_url=public_url)
    taps = Taps(store, rules, mode)
    protection = Protection(store, rules, taps)
    rehearsal = Rehearsal(store, rules, courier, service) if rehearses else None
    return Core(rules, courier, service, taps, protection, Phones(store, rules), rehearsal)
