"""What the doctor looks at, all at once and each thing for a limited time. For `wiring.doctor` alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from bot.messenger import Hook, Skin
from checks import certificates, clock, disk, public, service
from checks.calls import Answer, Outside
from config.clock import wall_ms
from config.settings import HTTPS_PORT, Settings
from otp.model import Channel
from storage import MEMORY, sqlite_path
from storage.health import PostgresHealth, SqliteHealth, look_at_postgres, look_at_sqlite
from storage.ownership import socket_path
from wiring.parts import api_of, revealed, webhook_secrets

T = TypeVar("T")

LOOK_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is outside the program: the time, in ms since the epoch, the way to others, the disk."""

    now: Callable[[], int] = wall_ms
    outside: Outside = field(default_factory=Outside)
    look_seconds: float = LOOK_SECONDS
    space: Callable[[str], disk.Space] = disk.space
    fsync: Callable[[int], None] = os.fsync


class Late(Exception):
    """A look that came to no end; `why` is for the operator."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True)
class Seen:
    """What was seen, or why not."""

    reached: dict[Channel, tuple[Answer, int | None] | Exception] = field(default_factory=dict)
    names: dict[Channel, str | Exception] = field(default_factory=dict)
    hooks: dict[Channel, Sequence[Hook] | Exception] = field(default_factory=dict)
    deliveries: dict[Channel, Answer | Exception] = field(default_factory=dict)
    here: bool | Exception = False
    """Whether the host of the public URL is this machine."""
    chain: certificates.Chain | Exception | None = None
    sqlite: SqliteHealth | Exception | None = None
    postgres: tuple[PostgresHealth, int] | Exception | None = None
    space: disk.Space | Exception | None = None
    fsync: disk.Fsync | Exception | None = None
    ready: Mapping[str, Any] | Exception | None = None
    owned: bool = False


async def within(looking: Awaitable[T], seconds: float) -> T | Exception:
    """What came of it in the time there is. Never raises: one look that fails stops no other one."""
    try:
        async with asyncio.timeout(seconds):
            return await looking
    except TimeoutError:
        return Late(f"no answer within {seconds:g} s")
    except Exception as error:  # noqa: BLE001  # whatever it is, the operator is told of it
        return error


async def look(settings: Settings, skins: Mapping[Channel, Skin], around: Surroundings) -> Seen:
    """Everything at once, each for a limited time."""
    seen = Seen()

    async def keep(name: str, looking: Awaitable[Any], key: Channel | None = None) -> None:
        got = await within(looking, around.look_seconds)
        if key is None:
            setattr(seen, name, got)
        else:
            getattr(seen, name)[key] = got

    url = settings.database_url.get_secret_value()
    path = sqlite_path(url)
    looks = [keep("ready", service.readiness(settings.host, settings.port))]
    for channel, skin in skins.items():
        address, proxy = api_of(settings, channel)
        outside = Outside(skin.trusts, around.outside.resolver)
        looks += [
            keep("reached", clock.dated(address, around.now, proxy=proxy, outside=outside), channel),
            keep("names", skin.username(), channel),
            keep("hooks", skin.hooks(), channel),
        ]
    if path not in (None, MEMORY):
        folder = folder_of(str(path))
        looks += [
            keep("sqlite", look_at_sqlite(str(path))),
            keep("space", asyncio.to_thread(around.space, folder)),
            keep("fsync", disk.fsync_time(folder, fsync=around.fsync)),
            keep("owned", _listens(socket_path(str(path)))),
        ]
    elif path is None:
        address = revealed(settings.database_direct_url) or url
        looks.append(keep("postgres", _timed(look_at_postgres(address), around.now)))
    if settings.public_url is not None:
        looks += _public_looks(settings, skins, around, keep)
    async with asyncio.TaskGroup() as group:
        for look in looks:
            group.create_task(look)
    return seen


async def _timed(looking: Awaitable[T], now: Callable[[], int]) -> tuple[T, int]:
    """What came of it, and our own time then."""
    return await looking, now()


def _public_looks(
    settings: Settings, skins: Mapping[Channel, Skin], around: Surroundings, keep: Callable[..., Any]
) -> list[Any]:
    parts = urlsplit(settings.public_url or "")
    outside = around.outside
    host, port = parts.hostname or "", parts.port or HTTPS_PORT
    looks = [
        keep("chain", certificates.chain_of(host, port, outside=outside)),
        keep("here", public.leads_here(host, port, outside=outside)),
    ]
    for channel, skin in skins.items():
        for secret in webhook_secrets(settings, channel)[:1]:
            delivery = public.delivery(
                webhook_of(settings, channel), {skin.secret_header: secret}, outside=outside
            )
            looks.append(keep("deliveries", delivery, channel))
    return looks


async def _listens(path: Path) -> bool:
    """Whether somebody is at the operator's socket."""
    with suppress(OSError):
        _, writer = await asyncio.open_unix_connection(str(path))
        writer.close()
        return True
    return False


def folder_of(path: str) -> str:
    """The nearest folder above a file that is there: the rest is made with the file."""
    return str(next((one for one in Path(path).parents if one.exists()), Path("/")))


def webhook_of(settings: Settings, channel: Channel) -> str:
    """Where a channel's updates are to go."""
    return f"{settings.public_url}/webhooks/{channel}"
