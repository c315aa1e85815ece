"""An installation for the doctor to look at: the service, its messengers, and a proxy with TLS in front."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, web

from checks.calls import Outside
from checks.disk import GIB, Space
from checks.findings import Finding, Level
from config.clock import wall_ms
from config.settings import Settings, load
from sandbox.demo import PUBLIC_URL
from tests.certificates import Authority
from tests.fakes import GoingClock
from tests.names import Names
from tests.running import Running, running
from wiring.doctor import examined
from wiring.looking import Surroundings
from wiring.probing import Probing

HOST = PUBLIC_URL.removeprefix("https://")
ROOMY = Space(50 * GIB, 100 * GIB, None)
STRONG = "Zq3vK8nR1xW6tJ0bL5yHc9mPf2sGd7uE_aXoN4iTQw-kVB"


@dataclass
class Installation:
    """A service that runs, and the way to it that the doctor takes."""

    run: Running
    authority: Authority
    names: Names
    database: Path
    given: dict[str, Any]

    @property
    def probing(self) -> Probing:
        """What measures now and then, where figures are on."""
        assert self.run.service.measuring is not None
        return self.run.service.measuring.probing

    async def measured(self) -> None:
        """Have measured what is measured every few minutes."""
        await self.probing.measure()

    async def look(
        self,
        *,
        seconds: float = 10,
        now: Callable[[], int] = wall_ms,
        space: Space = ROOMY,
        **settings: Any,
    ) -> Told:
        """What the doctor says; settings are those of the service unless they are given."""
        outside = Outside(self.authority.trusting(), self.names)
        around = Surroundings(now, outside, seconds, lambda _: space, _at_once)
        return Told(await examined(load("cli", {**self.given, **settings}), around))


def _at_once(_handle: int) -> None:
    """As quick a disk as can be: the one below the tests is everybody's."""


@dataclass
class Told:
    """Findings, to ask for some."""

    findings: list[Finding]

    def of(self, subject: str) -> list[Finding]:
        """Those of a subject."""
        return [one for one in self.findings if one.subject == subject]

    @property
    def bad(self) -> dict[str, Level]:
        """The worst of each subject that is not ok."""
        order = list(Level)
        found: dict[str, Level] = {}
        for one in self.findings:
            if one.level is not Level.OK:
                found[one.subject] = max(one.level, found.get(one.subject, Level.OK), key=order.index)
        return found

    def said(self, subject: str) -> str:
        """All that is said of a subject, hints too."""
        return "\n".join(f"{one.text} -> {one.hint}" for one in self.of(subject))


@asynccontextmanager
async def front(context: ssl.SSLContext, target: str, path: str = "") -> AsyncIterator[int]:
    """A proxy with TLS that passes all on below `path`; its port."""
    async with ClientSession() as session:

        async def passed(request: web.Request) -> web.StreamResponse:
            where, body = target + path + request.path, await request.read()
            try:
                async with session.request(
                    request.method, where, headers=request.headers, data=body
                ) as answer:
                    return web.Response(status=answer.status, body=await answer.read())
            except ClientError:
                return web.Response(status=502)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", passed)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            yield int(runner.addresses[0][1])
        finally:
            await runner.cleanup()


@asynccontextmanager
async def installation(
    folder: Path,
    *,
    root: Authority | None = None,
    context: ssl.SSLContext | None = None,
    path: str = "",
    **settings: Any,
) -> AsyncIterator[Installation]:
    """All is well, but for what is given: whom the doctor trusts, the proxy's certificate, where it passes to, settings."""
    root = root or Authority(folder)
    names = Names()
    database = folder / "tapcode.db"
    url = f"sqlite:///{database}"
    # The messengers' servers tell the real time.
    async with running(
        url,
        clock=GoingClock(),
        outside=Outside(root.trusting(), names),
        **{"secret_keys": STRONG, "database_url": url, **settings},
    ) as run:
        server = context or Authority(folder, root).server(HOST)
        async with front(server, run.url, path) as port:
            names.known[HOST, 443] = port
            given = {
                **{name: getattr(run.settings, name) for name in Settings.model_fields},
                "host": "127.0.0.1",
                "port": int(run.url.rsplit(":", 1)[1]),
            }
            yield Installation(run, root, names, database, given)
