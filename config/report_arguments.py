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
    verbs = commands.add_parser("requests", help="why somebody got no code").add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    shown = verbs.add_parser("show", help="the way of one request, and why there is a code or none")
    shown.add_argument("id", help="its request_id, or its whole link")
    listing = verbs.add_parser("list", help="list requests, newest first; or a subscriber's codes")
    whose = listing.add_mutually_exclusive_group()
    whose.add_argument("--project", metavar="ID", help="only those of one project")
    whose.add_argument("--subscriber", metavar="ID", help="the codes that were to be sent to one subscriber")
    listing.add_argument(
        "--since", metavar="2h", type=period, help="made so long ago at most (24h when not said)"
    )
    listing.add_argument("--status", choices=("pending", "sent", "cancelled", "expired"))
    listing.add_argument("--limit", type=int, default=50, help="how many (50 when not said)")
    for command in (audit, stats, shown, listing):
        command.add_argument("--json", action="store_true", help="print JSON")
