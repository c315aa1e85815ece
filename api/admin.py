"""The operator's commands: carried out by the process that owns the store, which the command line asks over a socket.

The socket is the file system's: whoever may open it (mode 0600) may do everything.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, UnixConnector, web

from otp import pages
from otp.audit import acting
from otp.errors import InvalidField, OtpError, StorageUnusable
from otp.model import Channel, Mode, Project
from otp.pages import GROUNDS
from otp.projects import Change, NewKey, PageChange, ProjectNotFound, Projects

log = structlog.get_logger()

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
LONGEST_NAME: Final = 100
"""Of an operator."""
CALL_SECONDS: Final = 3_600
"""For a backup of a large database; all else takes seconds. When the owner dies, the connection ends at once."""

Command = Mapping[str, Any]
Perform = Callable[[Command], Awaitable[Any]]


class Refused(Exception):
    """The command can't be carried out; the text is for the operator."""


async def perform(groups: Mapping[str, Perform], command: Command) -> Any:
    """Carry out `{"group": …, …}` by what is there for its group; a JSON value. Raises `Refused`."""
    group = str(command.get("group"))
    if group not in groups:
        raise Refused(f"there is no command {group}")
    try:
        with acting(_operator(command)):
            return await groups[group](command)
    except ProjectNotFound:
        raise Refused("there is no project with this id: `project list` shows them all") from None
    except InvalidField as error:
        raise Refused(f"{error.field}: {error.message}") from None
    except OtpError as error:
        raise Refused(error.detail) from None
    except StorageUnusable as error:
        raise Refused(str(error)) from None


def _operator(command: Command) -> str:
    """Who asks, as the command line says: the socket is open to the service's own user and to root alone."""
    said = "".join(ch for ch in str(command.get("by", "")) if ch.isprintable())
    return said[:LONGEST_NAME] or "somebody who did not say who"


async def perform_project(projects: Projects, command: Command) -> Any:
    """One `project` command: `{"verb": …, "id"?: …, …}` to a JSON value."""
    verb = command["verb"]
    if verb == "create":
        return _with_key(
            await projects.create(command["name"], command["description"], command.get("site_url"))
        )
    if verb == "list":
        return [as_project(project) for project in await projects.all()]
    project_id = checked_project_id(command)
    if verb == "update":
        change = _change(command)
        if change == Change():
            raise Refused("say what to change: see project update --help")
        return as_project(await projects.update(project_id, change))
    if verb == "rotate-key":
        mode = Mode.TEST if command.get("test") else None
        hours = int(command.get("keep_old_hours", 0))
        return _with_key(await projects.rotate_key(project_id, hours, mode))
    if verb in ("enable", "disable"):
        return as_project(await projects.set_enabled(project_id, verb == "enable"))
    if verb == "delete":
        await projects.delete(project_id)
        return {"id": project_id, "deleted": True}
    raise Refused(f"there is no command {verb}")


def checked_project_id(command: Command) -> str:
    """The project that a command names. Raises `Refused` for what can't be an id."""
    return checked_uuid(command.get("id", ""), "project", "as `project list` shows it")


def checked_uuid(said: Any, of: str, where: str) -> str:
    """An id as it is written here. Raises `Refused` for what can't be one."""
    found = str(said).lower()
    if _UUID.fullmatch(found) is None:
        raise Refused(f"the id of a {of} is a UUID, {where}")
    return found


def _change(command: Command) -> Change:
    """What is to be changed. Raises `Refused`."""
    first, logo = command.get("first"), command.get("logo")
    try:
        picture = None if logo is None else b64decode(logo, validate=True)
        page = PageChange(
            return_urls=command.get("return_urls"),
            origins=command.get("origins"),
            color=command.get("color"),
            logo=picture,
            first=Channel(first) if first is not None else None,
        )
    except ValueError:
        raise Refused("the command can't be read") from None
    same = ("name", "description", "site_url", "texts", "keep_phone")
    return Change(**{name: command.get(name) for name in same}, page=page)


def as_project(project: Project) -> dict[str, Any]:
    """A project as the command line tells it."""
    told: dict[str, Any] = {
        "id": project.id,
        "name": project.name,
        "description": project.description,
        "enabled": project.enabled,
    }
    page = project.page
    shown = {
        "return_urls": list(page.return_urls),
        "origins": list(page.origins),
        "color": page.color,
        "logo": page.logo,
        "first": page.first,
    }
    told |= {name: value for name, value in shown.items() if value}
    told |= {"keep_phone": True} if project.keep_phone else {}
    if page.color is not None:
        # Too pale or too dark a colour could not be read: the operator shall see what becomes of it.
        told["color_shown"] = {theme: pages.readable(page.color, ground) for theme, ground in GROUNDS.items()}
    return told


def _with_key(made: NewKey) -> dict[str, Any]:
    return {"id": made.project.id, "name": made.project.name, "api_key": made.api_key}


def _about(command: Command) -> dict[str, Any]:
    """Whom a command is about. The id of a request is half of its link: it stands in no line of the log."""
    of = {"project": "project", "subscribers": "subscriber"}.get(str(command.get("group")))
    return {of: command.get("id")} if of else {}


class AdminServer:
    """The owner's side of the socket."""

    def __init__(self, path: Path, groups: Mapping[str, Perform]) -> None:
        self._path = path
        self._groups = groups
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen; only the owner's user can connect. The lock is ours, so an old socket file is nobody's."""
        self._path.unlink(missing_ok=True)
        application = web.Application()
        application.add_routes([web.post("/command", self._command)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=5)
        await self._runner.setup()
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        finally:
            os.umask(before)

    async def _command(self, request: web.Request) -> web.StreamResponse:
        command = await request.json()
        named = {"command": command.get("group"), "verb": command.get("verb"), **_about(command)}
        try:
            result = await perform(self._groups, command)
        except Refused as error:
            return web.json_response({"error": str(error)}, status=400)
        except Exception as error:  # the operator needs an answer; the log has the rest
            log.error("admin.failed", exc_info=error, **named)
            return web.json_response({"error": "it failed; the service's log tells why"}, status=500)
        log.info("admin.command", **named)
        return web.json_response({"result": result})

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)


class NobodyListens(Exception):
    """No process answers at the socket: the command was certainly not carried out."""


async def ask(path: Path, command: Command) -> Any:
    """Have the owner carry out a command. Raises `Refused`, `NobodyListens`."""
    timeout = ClientTimeout(total=CALL_SECONDS)
    try:
        async with (
            ClientSession(connector=UnixConnector(str(path)), timeout=timeout) as session,
            session.post("http://owner/command", json=command) as answer,
        ):
            told = await answer.json(content_type=None)
    except (ClientConnectorError, FileNotFoundError) as error:
        raise NobodyListens from error
    except (ClientError, OSError, TimeoutError, ValueError) as error:
        raise Refused(
            "the service did not answer; look whether the command was carried out before you repeat it"
        ) from error
    if "error" in told:
        raise Refused(told["error"])
    return told["result"]
