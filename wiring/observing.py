"""Who is told what by the parts, where somebody measures; by default nobody is told anything. Imports no `metrics`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from api.app import Answered
from bot.measured import Called, MeasuredSkin
from bot.messenger import Skin
from bot.stage import StagedSkin
from bot.webhooks import Observed
from otp.events import Event
from otp.model import Channel, Mode
from otp.ports import Post, Randomness, Store
from otp.service import OtpService, Verdict
from storage.observing import Observer, observe


@dataclass(frozen=True, slots=True)
class Observers:
    """Of each edge."""

    answered: Answered | None = None
    called: Called | None = None
    updated: Observed = lambda *_: None
    judged: Callable[[Mode, Verdict], None] | None = None
    happened: Callable[[Event], None] | None = None
    store: Observer | None = None
    counted: Callable[[Post], Post] = lambda post: post
    """The way to sites' webhooks, with a counter in it."""

    def watch(self, store: Store, service: OtpService) -> None:
        """Have them told by the rules and by the store."""
        service.judged = self.judged
        if self.happened is not None:
            store.listen(self.happened)
        if self.store is not None:
            observe(store, self.store)


def staged(
    skins: Mapping[Channel, Skin], randomness: Randomness, called: Called | None, sends: str
) -> dict[Channel, Skin]:
    """Messengers beside which test mode is played, none of which is measured. `sends`: what they send."""
    real = skins
    if called is not None:
        real = {channel: MeasuredSkin(skin, called, sends) for channel, skin in skins.items()}
    return {channel: StagedSkin(skin, randomness) for channel, skin in real.items()}
