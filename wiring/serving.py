"""`serve`: the service with real messengers, from the database's lock to the last call under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict

import structlog

from api.admin import AdminServer
from config import VERSION
from config.clock import SystemRandomness
from config.process import (
    Server,
    most_waiters,
    open_connections,
    spare_collections,
    take_over_loop,
)
from config.settings import Settings, SettingsError
from otp.errors import InvalidField
from otp.model import Mode
from otp.people import People
from otp.projects import Projects
from storage import open_store, sqlite_path
from storage.ownership import socket_path
from wiring.app import build_app
from wiring.commands import operator_commands
from wiring.owning import own
from wiring.parts import make_clock, make_policy, make_reach, make_rules, make_skins, revealed
from wiring.service import DRAIN_SECONDS, Service


async def listen(
    service: Service, host: str, port: int, stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until `stop`; calls under way end."""
    server = Server(service.app, DRAIN_SECONDS, service.refusal)
    try:
        await server.start(host, port)
        await service.begin()
        ready()
        spare_collections()
        await stop.wait()
        service.health.draining = True
        await server.refuse_new()
    finally:
        service.wind_down()
        await server.close()


async def serve(settings: Settings) -> None:
    """The service with real messengers."""
    log = structlog.get_logger()
    stop, url = take_over_loop(), settings.database_url.get_secret_value()
    database = sqlite_path(url)
    clock = make_clock(database)
    lock = await own(database, stop) if database else None
    try:
        store = await open_store(url, clock, make_reach(settings))
        skins = make_skins(settings)
        service = build_app(
            settings, store=store, clock=clock, randomness=SystemRandomness(), mode=Mode.LIVE, skins=skins
        )
        service.alone = database is not None
        if database:
            groups = operator_commands(
                service.projects,
                service.registration,
                service.telling.endpoints,
                People(store, make_rules(settings, SystemRandomness())),
                store,
                clock,
                database,
                service.counting,
            )
            service.admin = AdminServer(socket_path(database), groups)
        try:
            await _configure_project(settings, service.projects)
            if settings.public_url is None:
                log.warning(
                    "updates.fetched",
                    hint="PUBLIC_URL is not set: no updates are delivered, they are fetched",
                )

            def ready() -> None:
                log.info(
                    "limits",
                    profile=settings.profile,
                    **asdict(make_policy(settings)),
                    retention_days=settings.retention_days,
                    connections=open_connections(),
                    waiters=most_waiters(),
                )
                log.info(
                    "serving", host=settings.host, port=settings.port, channels=[*skins], version=VERSION
                )

            await listen(service, settings.host, settings.port, stop, ready)
        finally:
            await service.end()
        log.info("stopped")
    finally:
        if lock is not None:
            lock.release()


async def _configure_project(settings: Settings, projects: Projects) -> None:
    key = revealed(settings.project_api_key)
    if settings.project_name is None or key is None:
        return
    try:
        await projects.configure(settings.project_name, settings.project_description, key)
    except InvalidField as error:
        raise SettingsError([f"PROJECT_{error.field.upper()}: {error.message}"]) from error
