"""What an operator can type. Imported by `main` alone; standard library only: `--help` must be instant."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from getpass import getpass
from pathlib import Path
from pwd import getpwuid
from typing import Any

from config import VERSION, subscriber_arguments
from config.report_arguments import add_reports
from config.typed import hours, picture_file, toml_file, yes_or_no


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="main.py", description="tapcode: one-time passwords through Telegram and MAX."
    )
    top.add_argument("--version", action="version", version=f"tapcode {VERSION}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="the service; settings come from the environment or .env")
    sandbox = commands.add_parser(
        "sandbox", help="the same service with simulated messengers and a page to try it in"
    )
    sandbox.add_argument(
        "--fetch", action="store_true", help="fetch updates instead of having them delivered"
    )
    doctor = commands.add_parser(
        "doctor", help="look at everything from beside the service; exit code 1 when there is a problem"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    _project(commands.add_parser("project", help="create and manage projects"))
    backup = commands.add_parser("backup", help="write a checked copy of the database, without codes")
    backup.add_argument("file", metavar="FILE", help="a file that is not there yet")
    backup.add_argument("--json", action="store_true", help="print JSON")
    codes = commands.add_parser("codes", help="end codes").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    revoke = codes.add_parser(
        "revoke-all", help="end every code that lives: for a copy of the database that was put back"
    )
    revoke.add_argument("--json", action="store_true", help="print JSON")
    _events(commands.add_parser("events", help="what the sites' webhooks were told, and will be"))
    subscribers = commands.add_parser(
        "subscribers", help="find, unlock, forget or export a person, over all projects"
    )
    subscriber_arguments.add(subscribers)
    _move(
        commands.add_parser(
            "move", help="carry the SQLite database over to PostgreSQL; stop the service first"
        )
    )
    add_reports(commands)
    _webhooks(commands.add_parser("webhooks", help="webhook registration on the messengers"))
    return top


def _project(top: argparse.ArgumentParser) -> None:
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    create = verbs.add_parser("create", help="create a project; prints its id and, once only, its API key")
    create.add_argument("--name", required=True, help="what people see, up to 200 characters")
    create.add_argument("--description", default="", help="shown below the name, up to 1000 characters")
    listing = verbs.add_parser("list", help="list the projects")
    shown = verbs.add_parser("show", help="what is known of a project, and which keys work")
    update = verbs.add_parser(
        "update", help="change a project's name, description, words, hosted page or what is kept"
    )
    update.add_argument("--name", help="what people see, up to 200 characters")
    update.add_argument("--description", help="shown below the name, up to 1000 characters")
    for verb in (create, update):
        verb.add_argument("--site-url", help="https:// address that the code message leads back to")
    update.add_argument(
        "--texts",
        metavar="FILE.toml",
        type=toml_file,
        help="own words: tables by language with the keys consent and code",
    )
    update.add_argument(
        "--keep-phone",
        metavar="yes|no",
        type=yes_or_no,
        help="keep phone numbers that people share with the site, until they leave; no (as it is at first) erases them",
    )
    _page(update)
    rotate = verbs.add_parser(
        "rotate-key", help="make a new API key; the old one dies at once, or later with --keep-old"
    )
    rotate.add_argument(
        "--keep-old", metavar="24h", type=hours, default=0, help="hours the old key goes on working"
    )
    rotate.add_argument(
        "--test",
        action="store_true",
        help="the key of test mode, which reaches no messenger; the first one too",
    )
    disable = verbs.add_parser("disable", help="refuse every call of a project; its live codes die")
    enable = verbs.add_parser("enable", help="undo disable")
    delete = verbs.add_parser("delete", help="erase a project and all its data")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    for verb in (shown, update, rotate, disable, enable, delete):
        verb.add_argument("id", help="as `project list` shows it")
    for verb in (create, listing, shown, update, rotate, disable, enable, delete):
        verb.add_argument("--json", action="store_true", help="print JSON")


def _page(update: argparse.ArgumentParser) -> None:
    page = update.add_argument_group(
        "the hosted page", 'given, a list takes the place of the one before; "" empties it'
    )
    page.add_argument(
        "--return-url",
        dest="return_urls",
        metavar="URL",
        action="append",
        help="where visitors may be sent back to: here or below; can be said more than once",
    )
    page.add_argument(
        "--origin",
        dest="origins",
        metavar="ORIGIN",
        action="append",
        help="a site whose pages may show ours in a frame, such as https://shop.example; more than once",
    )
    page.add_argument("--color", metavar="#RRGGBB", help="of buttons; corrected where it could not be read")
    page.add_argument(
        "--logo", metavar="FILE.png", type=picture_file, help="PNG, up to 10 KiB and 512 x 512 pixels"
    )
    page.add_argument("--first", choices=("telegram", "max"), help="the messenger that is offered first")


def _events(top: argparse.ArgumentParser) -> None:
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = verbs.add_parser("list", help="list events, newest first")
    listing.add_argument("--project", metavar="ID", help="only those of one project")
    listing.add_argument("--failed", action="store_true", help="only those that were given up")
    listing.add_argument("--limit", type=int, default=50, help="how many (50 when not said)")
    redeliver = verbs.add_parser("redeliver", help="have an event told once more")
    redeliver.add_argument("id", help="as `events list` shows it")
    for verb in (listing, redeliver):
        verb.add_argument("--json", action="store_true", help="print JSON")


def _move(top: argparse.ArgumentParser) -> None:
    what = top.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--to",
        metavar="URL",
        help="postgresql://USER:PASSWORD@HOST/DATABASE, empty; - reads it from standard input, as others can "
        "see what stands on a command line",
    )
    what.add_argument(
        "--undo", action="store_true", help="serve the SQLite database again, as it was when it was moved"
    )
    top.add_argument("--json", action="store_true", help="print JSON")


def _webhooks(top: argparse.ArgumentParser) -> None:
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    register = verbs.add_parser("register", help="register this service's webhooks")
    register.add_argument(
        "--take-over", action="store_true", help="remove what other programs registered for these bots"
    )
    shown = verbs.add_parser("show", help="show what is registered")
    remove = verbs.add_parser(
        "remove", help="remove this service's webhooks (a running service registers them again)"
    )
    remove.add_argument("--take-over", action="store_true", help="remove what other programs registered too")
    for verb in (register, shown, remove):
        verb.add_argument("--json", action="store_true", help="print JSON, as always where no terminal is")


def as_command(given: argparse.Namespace) -> dict[str, Any]:
    """What was typed, as the command that the owner of the store carries out."""
    wanted = {name: value for name, value in vars(given).items() if value is not None and name != "command"}
    wanted |= {"group": given.command, "by": operator(os.environ)}
    if "file" in wanted:
        wanted["file"] = str(Path(wanted["file"]).absolute())  # the owner may have been started elsewhere
    if "keep_old" in wanted:
        wanted["keep_old_hours"] = wanted.pop("keep_old")
    return wanted


def operator(environment: Mapping[str, str]) -> str:
    """Who is typing: the user that this process runs as, and who became that user by sudo."""
    try:
        name = getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container there may be no name for the number
        name = f"uid {os.getuid()}"
    before = environment.get("SUDO_USER", "")
    return f"{name} (sudo by {before})" if before else name


def confirmed(given: argparse.Namespace) -> bool:
    """Whether the operator means it, where that must be asked."""
    if getattr(given, "verb", None) not in ("delete", "forget") or given.yes:
        return True
    if not sys.stdin.isatty():
        print("Deleting asks first; without a terminal say --yes.", file=sys.stderr)
        return False
    if given.verb == "forget":
        question = f"Forget {subscriber_arguments.named(given)}?"
    else:
        question = f"Erase project {given.id} and all its data?"
    return input(f"{question} Type yes: ").strip() == "yes"


def target(given: argparse.Namespace) -> str:
    """The database that `--to` names; asked for without an echo where somebody types it."""
    if given.to != "-":
        return str(given.to)
    return getpass("URL: ").strip() if sys.stdin.isatty() else sys.stdin.readline().strip()
