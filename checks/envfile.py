"""Who may read the file with the settings, and what in it is not read alike by everybody. For `wiring.doctor` alone."""

from __future__ import annotations

import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from checks.findings import Finding, problem, warning

SUBJECT: Final = "settings"


@dataclass(frozen=True, slots=True)
class Access:
    """Whose the file is, after all links, and what others may do; `mode` holds the bits of `stat`."""

    real: Path
    mode: int
    owner: int
    group: int
    entered: bool
    """Whether everybody can enter all the folders on the way to it."""


def access(path: Path) -> Access | None:
    """As it is; None where it is not there, or nobody lets us look."""
    try:
        real = path.resolve(strict=True)
        found = real.stat()
        entered = all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except (OSError, RuntimeError):  # RuntimeError: Python 3.11 and 3.12 say so of links in a circle
        return None
    return Access(real, found.st_mode, found.st_uid, found.st_gid, entered)


def judge(path: Path, seen: Access, user: int, groups: Collection[int]) -> Finding | None:
    """`user` and `groups` are those of whoever looks: the service's user, or root."""
    if not seen.entered or not seen.mode & (stat.S_IROTH | stat.S_IWOTH):
        return None
    named = str(path) if seen.real == path.absolute() else f"{path} ({seen.real})"
    text = f"everybody on this machine can read {named}, with its secrets"
    return problem(SUBJECT, text, _closing(seen, user, groups))


def judge_remark(path: Path, name: str) -> Finding:
    """A remark behind a setting's value, which we do not read as a part of it."""
    return warning(
        SUBJECT,
        f"{path}: there is a # behind the value of {name}: systemd and Docker read it as part of the value",
        "write what is to be remarked on a line of its own",
    )


def _closing(seen: Access, user: int, groups: Collection[int]) -> str:
    """Whoever reads the file now by the rights of all must still read it afterwards."""
    if seen.owner == user and (user != 0 or seen.group == 0):
        return f"chmod 600 {seen.real}"
    close = f"chmod 640 {seen.real}"
    if user in (0, seen.owner) or seen.group in groups:
        return close
    return f"give it to the group of the service's user (chgrp), then {close}"
