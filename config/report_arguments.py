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
    stats = commands.add_parser("stats", help="how much happened, by day and channel")
    stats.add_argument("--days", type=int, default=7, help="how many, today included (7 when not said)")
    stats.add_argument("--project", metavar="ID", help="of one project alone")
    for command in (audit, stats):
        command.add_argument("--json", action="store_true", help="print JSON")
