"""Measures now and then what nobody counts: how far the clock is off, and until when PUBLIC_URL's certificate is good.

Runs where figures are on, for `wiring.measuring` alone. What can't be measured has no sample, and nothing that goes wrong
here disturbs anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from bot.messenger import Skin
from checks import certificates, clock
from checks.calls import Outside, Unreached
from config.settings import HTTPS_PORT, Settings
from metrics.probes import Probes
from otp.model import Channel
from otp.policy import MINUTE_MS, SECOND_MS
from otp.ports import Clock
from wiring.parts import api_of

EVERY_SECONDS: Final = 300
CERTIFICATE_MS: Final = 60 * MINUTE_MS
"""How long what was seen of a certificate is good; where nothing was seen, it is looked at again with the clocks."""


@dataclass(slots=True)
class Probing:
    """Asks the messengers for the time, and PUBLIC_URL for its certificate.

    What is compared with the messengers' time is the clock by which codes live. Over SQLite that is this machine's, with
    all that it was ever ahead: a clock that was put right is still off here until a restart. Over PostgreSQL it is the
    database server's, as the database told it: what this machine's own clock says matters to nobody there, and is left to
    the doctor.
    """

    settings: Settings
    skins: Mapping[Channel, Skin]
    clock: Clock
    probes: Probes
    failed: Callable[[BaseException], None]
    """Told of what is a bug, and not of an address that can't be reached: that shows elsewhere."""
    outside: Outside = field(default_factory=Outside)
    """How PUBLIC_URL is reached; with whom a messenger's address is trusted, its skin knows."""
    _seen_at: int | None = None

    async def run(self) -> None:
        """Measure now and every few minutes."""
        while True:
            await self.measure()
            await self.clock.sleep(EVERY_SECONDS)

    async def measure(self) -> None:
        """Everything that is due, at once."""
        due = self._seen_at is None or self.clock.now() - self._seen_at >= CERTIFICATE_MS
        async with asyncio.TaskGroup() as group:
            for channel in self.skins:
                group.create_task(self._drift(channel))
            if due and self.settings.public_url is not None:
                group.create_task(self.look_at_certificate(self.settings.public_url))

    async def _drift(self, channel: Channel) -> None:
        address, proxy = api_of(self.settings, channel)
        outside = Outside(self.skins[channel].trusts, self.outside.resolver)
        drift = None
        try:
            drift = await clock.clock_drift(address, self.clock.now, proxy=proxy, outside=outside)
        except Unreached:
            pass
        except Exception as error:  # noqa: BLE001  # whatever it is, the next one is measured all the same
            self.failed(error)
        if drift is None:
            self.probes.clock_drift.pop(channel, None)
        else:
            self.probes.clock_drift[channel] = drift / SECOND_MS

    async def look_at_certificate(self, url: str) -> None:
        """Until when that of an address is good."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
        self._seen_at = self.probes.certificate_expires_at = None
        try:
            expires_at = await certificates.expires_at(host, port, outside=self.outside)
        except Unreached:
            return
        except Exception as error:  # noqa: BLE001  # a server may send anything in place of a certificate
            self.failed(error)
            return
        self._seen_at, self.probes.certificate_expires_at = self.clock.now(), expires_at / SECOND_MS
