"""`sandbox`: the service wired to simulated messengers, and the page to try it in."""

from __future__ import annotations

from typing import Final

from config import VERSION
from config.clock import SystemClock, SystemRandomness
from config.process import take_over_loop
from config.settings import Settings, defaults_but
from otp.model import Mode
from otp.projects import Change, PageChange
from sandbox.control import add_sandbox_routes
from sandbox.demo import PUBLIC_URL, Demo, local_sites
from sandbox.guard import local_only
from storage import SQLITE, open_store, remove
from wiring.app import build_app
from wiring.owning import own
from wiring.parts import make_skins
from wiring.serving import listen

SANDBOX_DATABASE: Final = "data/sandbox.db"


async def sandbox(settings: Settings, *, fetch: bool) -> None:
    """The service wired to simulated messengers: a new database and a new key at each start, on this machine only."""
    stop, clock, randomness = take_over_loop(), SystemClock(), SystemRandomness()
    lock = await own(SANDBOX_DATABASE, stop)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    demo = Demo(f"http://{host}:{settings.port}", clock.now)
    try:
        remove(SANDBOX_DATABASE)
        await demo.start()
        wired = defaults_but(
            {
                "secret_keys": randomness.text(48),
                "public_url": None if fetch else PUBLIC_URL,
                "telegram_bot_token": demo.telegram_token,
                "max_bot_token": demo.max_token,
                "telegram_api_url": demo.telegram_url,
                "max_api_url": demo.max_url,
                "docs": settings.docs,
            },
        )
        store = await open_store(SQLITE + SANDBOX_DATABASE, clock)
        base_url = f"http://{'localhost' if settings.host == '127.0.0.1' else host}:{settings.port}"
        service = build_app(
            wired,
            store=store,
            clock=clock,
            randomness=randomness,
            mode=Mode.TEST,
            skins=make_skins(wired),
            public_url=base_url,
        )
        service.app.middlewares.insert(1, local_only)
        try:
            made = await service.projects.create(
                "Ромашка · Daisy", "Цветы с доставкой. Flowers, delivered.", "https://daisy.example/login"
            )
            page = PageChange(return_urls=local_sites(base_url), origins=local_sites(base_url))
            await service.projects.update(made.project.id, Change(page=page))
            facts = {
                "api_key": made.api_key,
                "project": made.project.name,
                "base_url": base_url,
                "version": VERSION,
            }
            add_sandbox_routes(
                service.app, telegram=demo.telegram, max=demo.max, facts=facts, advance=clock.advance
            )

            def ready() -> None:
                print(
                    f"\n  tapcode sandbox: open {base_url}\n  its API key (test only): {made.api_key}\n"
                    + (f"  the API's reference: {base_url}/docs\n" if wired.docs else ""),
                    flush=True,
                )

            await listen(service, settings.host, settings.port, stop, ready)
        finally:
            await service.end()
    finally:
        await demo.close()
        lock.release()
