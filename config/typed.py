"""What stands behind an option, as a value: for `config.arguments` and what belongs to it."""

from __future__ import annotations

import argparse
import re
import tomllib
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any, Final

LONGEST_KEEP_HOURS: Final = 24 * 30
LARGEST_FILE: Final = 256 * 1024
"""Of a picture so much is read, to say that it is too large."""


def toml_file(path: str) -> dict[str, Any]:
    """A TOML file's content; an empty path stands for no texts."""
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"can't read {path}: {error}") from error


def picture_file(path: str) -> str:
    """A file's content in Base64; an empty path stands for no picture."""
    try:
        with Path(path).open("rb") if path else BytesIO() as file:
            return b64encode(file.read(LARGEST_FILE)).decode()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"can't read {path}: {error}") from error


_UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def period(typed: str) -> int:
    """`30m`, `2h` or `7d` as milliseconds."""
    found = re.fullmatch(r"([0-9]{1,4})([mhd])", typed, re.ASCII)
    if found is None:
        raise argparse.ArgumentTypeError("a time such as 30m, 2h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def hours(typed: str) -> int:
    """`24h` as a number of hours."""
    found = re.fullmatch(r"([0-9]{1,4})h", typed, re.ASCII)
    if found is None or int(found[1]) > LONGEST_KEEP_HOURS:
        raise argparse.ArgumentTypeError(f"a number of hours such as 24h (at most {LONGEST_KEEP_HOURS}h)")
    return int(found[1])


def yes_or_no(typed: str) -> bool:
    """`yes` or `no`."""
    if typed not in ("yes", "no"):
        raise argparse.ArgumentTypeError("yes or no")
    return typed == "yes"
