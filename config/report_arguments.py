"""The commands that only look: a part of `config.arguments`, which alone imports it."""

from __future__ import annotations

import argparse
from typing import Any

from config.typed import period


def add_reports(commands: argparse._SubParsersAction[Any]) -> None:
    """Add them to the command line."""
    audit = commands.add_parser("audit", help="who changed what: each change made on this command line")
    audit.add_argument(
        "--since", metavar="7d", type=period, help="how far back: 30m, 2h, 7d (7d when not said)"
    )
    for command in (audit,):
        command.add_argument("--json", action="store_true", help="print JSON")
