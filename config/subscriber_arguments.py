"""What can be typed after `subscribers`. Standard library only; for `config.arguments`."""

from __future__ import annotations

import argparse


def add(top: argparse.ArgumentParser) -> None:
    """The verbs of `subscribers`."""
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    find = verbs.add_parser("find", help="who somebody is: in which projects, since when, locked or not")
    unlock = verbs.add_parser(
        "unlock", help="undo the lock of too many wrong codes, like the person's own tap"
    )
    forget = verbs.add_parser("forget", help="unsubscribe and erase a person")
    export = verbs.add_parser(
        "export", help="print all that is kept about a person, as JSON, without secrets"
    )
    for verb in (find, forget, export):
        verb.add_argument("id", nargs="?", help="of a subscriber: that project alone, unless --everywhere")
        verb.add_argument("--telegram", metavar="NUMBER", help="the user of Telegram, in every project")
        verb.add_argument("--max", metavar="NUMBER", help="the user of MAX, in every project")
        verb.add_argument("--account", metavar="NAME", help="who is linked to a site's account (external_id)")
        verb.add_argument(
            "--project", metavar="ID", help="of that account, where several sites have such a one"
        )
        verb.add_argument(
            "--everywhere", action="store_true", help="what the same people are in all other projects too"
        )
    unlock.add_argument("id", help="of the subscriber")
    forget.add_argument(
        "--with-refusals",
        action="store_true",
        help='of a whole person: also their own "nothing from this project", which protects them else',
    )
    forget.add_argument("--yes", action="store_true", help="do not ask")
    for verb in (find, unlock, forget, export):
        verb.add_argument("--json", action="store_true", help="print JSON")


def named(given: argparse.Namespace) -> str:
    """Whom somebody is about to forget, as the question says it."""
    if given.telegram is not None or given.max is not None:
        channel, number = ("Telegram", given.telegram) if given.telegram is not None else ("MAX", given.max)
        return f"the user {number} of {channel} in every project"
    who = f"who is linked to the account {given.account}" if given.account else f"subscriber {given.id}"
    return f"{who}, and what they are in every other project" if given.everywhere else who
