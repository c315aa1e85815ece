"""The command line's entry. What it starts is imported when it is asked for: `--help` must be instant."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from config.arguments import as_command, confirmed, parser, target
from config.doctor_printing import print_report
from config.printing import show
from config.process import EXIT_CONFIG, EXIT_PIPE, EXIT_STORE, StartError, raise_file_limit
from config.settings import Settings, SettingsError, load


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    given = parser().parse_args(argv)
    try:
        code = _run(given)
        sys.stdout.flush()
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    except SettingsError as error:
        for problem in error.problems:
            print(f"tapcode: {problem}", file=sys.stderr)
        return EXIT_CONFIG
    except StartError as error:
        print(f"tapcode: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    return code


def _run(given: argparse.Namespace) -> int:
    from otp.errors import StorageUnavailable, StorageUnusable

    try:
        if given.command in ("serve", "sandbox"):
            return _run_server(given.command == "serve", fetch=getattr(given, "fetch", False))
        if given.command == "doctor":
            return _run_doctor(given)
        return _run_command(given)
    except StorageUnusable as error:
        raise StartError(str(error), EXIT_STORE) from error
    except StorageUnavailable as error:
        raise StartError(f"the database can't be used: {error.__cause__ or error}", EXIT_STORE) from error


def _run_server(real: bool, *, fetch: bool) -> int:
    settings = load("serve" if real else "sandbox")
    from config.logs import configure
    from wiring.sandboxed import sandbox
    from wiring.serving import serve

    quiet = not real and "log_level" not in settings.model_fields_set
    configure("warning" if quiet else settings.log_level, settings.log_format, settings.secrets)
    raise_file_limit()
    asyncio.run(serve(settings) if real else sandbox(settings, fetch=fetch))
    return 0


def _run_doctor(given: argparse.Namespace) -> int:
    from wiring.doctor import doctor

    report = asyncio.run(doctor())
    if given.json:
        print(json.dumps(report, ensure_ascii=False))
    else:
        print_report(report)
    return 1 if report["level"] == "problem" else 0


def _run_command(given: argparse.Namespace) -> int:
    from api.admin import Refused
    from config.logs import for_command
    from storage import named
    from wiring.commands import command, move

    if not confirmed(given):
        print("Nothing was deleted.", file=sys.stderr)
        return 1
    try:
        settings = load("cli")
        for_command(settings.secrets)
        if given.command in ("audit", "backup", "codes", "move", "requests", "stats", "subscribers"):
            _must_exist(settings)
        if given.command == "move":
            result = asyncio.run(move(settings, None if given.undo else target(given)))
        else:
            result = asyncio.run(command(settings, as_command(given)))
    except Refused as error:
        print(f"tapcode: {error}", file=sys.stderr)
        return 1
    show(given, result, named(settings.database_url.get_secret_value()))
    return 1 if given.command == "webhooks" and any("problem" in part for part in result.values()) else 0


def _must_exist(settings: Settings) -> None:
    """Copying, clearing or asking a database that is not there would make an empty one and call it done."""
    from api.admin import Refused
    from storage import sqlite_path

    database = sqlite_path(settings.database_url.get_secret_value())
    if database is not None and not Path(database).exists():
        raise Refused(f"there is no database {database}: start commands in the folder of the service's .env")


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
