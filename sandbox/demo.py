"""Both simulated messengers, served on loopback, with the tokens and addresses that a service needs to use them."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from aiohttp import web

from sandbox.max import MaxSim
from sandbox.telegram import TelegramSim

PUBLIC_URL = "https://sandbox.tapcode.invalid"
"""What is registered at the simulators, as a real messenger wants it; they deliver to the service on loopback."""


SITE_PORTS = (3000, 4321, 5000, 5173, 8000, 8001, 8002)
"""Where sites that are being written are usually served."""


def local_sites(base_url: str) -> list[str]:
    """The sandbox's own address, and those where somebody may have a site of their own to try with it."""
    return [
        base_url,
        *(f"http://{name}:{port}" for port in SITE_PORTS for name in ("localhost", "127.0.0.1")),
    ]


class Demo:
    """Two messengers for one service at `service_url`."""

    def __init__(self, service_url: str, now: Callable[[], int]) -> None:
        self.telegram_token = f"7000000001:{secrets.token_urlsafe(26)}"
        self.max_token = secrets.token_urlsafe(40)
        self._service_url = service_url
        self.telegram = TelegramSim(
            token=self.telegram_token, username="tapcode_demo_bot", now=now, route=self._route
        )
        self.max = MaxSim(token=self.max_token, username="id700000000001_bot", now=now, route=self._route)
        self.telegram_url = ""
        self.max_url = ""
        self._runners: list[web.AppRunner] = []

    def reached_at(self, service_url: str) -> None:
        """From now on the messengers find the service there."""
        self._service_url = service_url

    def _route(self, url: str) -> str | None:
        return self._service_url + url.removeprefix(PUBLIC_URL) if url.startswith(PUBLIC_URL + "/") else None

    async def start(self) -> None:
        """Serve both, each on a free port of 127.0.0.1."""
        self.telegram_url = await self._serve(self.telegram.app())
        self.max_url = await self._serve(self.max.app())

    async def _serve(self, app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        self._runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stop both."""
        await self.telegram.close()
        await self.max.close()
        for runner in self._runners:
            await runner.cleanup()
