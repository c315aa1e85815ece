"""The operator's commands about people: as `api.admin` has those of projects. For `wiring` alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from api.admin import Command, Refused, checked_uuid
from otp.membership import Membership, Record, Who
from otp.model import Channel, Person
from otp.notices import rfc3339
from otp.people import Forgotten, Kept, People

log = structlog.get_logger()

MOST_USER_ID: Final = 2**63 - 1
FORMAT: Final = "tapcode/person/1"
"""Of an export; fields may come, and none goes or changes under the same name."""


async def perform_subscribers(people: People, command: Command) -> Any:
    """One `subscribers` command: `{"verb": …, "id"?: …, …}` to a JSON value. Raises `Refused`, `OtpError`."""
    verb = command["verb"]
    if verb == "unlock":
        return await _unlock(people, _id(command))
    if verb == "find":
        return [_shown(people, one) for one in await people.find(_who(command))]
    if verb == "forget":
        return await _forget(people, _who(command), with_refusals=bool(command.get("with_refusals")))
    if verb == "export":
        return await _export(people, _who(command))
    raise Refused(f"there is no command {verb}")


async def _unlock(people: People, subscriber_id: str) -> dict[str, Any]:
    unlocked = await people.unlock(subscriber_id)
    return {"id": subscriber_id, "unlocked": unlocked}


async def _forget(people: People, who: Who, *, with_refusals: bool) -> dict[str, Any]:
    if with_refusals and not who.everywhere:
        raise Refused("--with-refusals is for a whole person: --everywhere, --telegram or --max")
    done = await people.forget(who, with_refusals=with_refusals)
    if not done.anything:
        raise Refused("nothing is kept about them")
    return {**_erased(done), "with_refusals": with_refusals}


def _erased(done: Forgotten) -> dict[str, Any]:
    return {
        "erased": [
            {
                "id": one.subscriber.id,
                "project_id": one.subscriber.project_id,
                "project": one.project_name,
                "mode": one.subscriber.mode,
                "channel": one.subscriber.person.channel,
                "was_subscribed": one.subscriber.subscribed,
            }
            for one in done.subscribers
        ],
        "other_messages": done.messages,
        "other_requests": done.requests,
        "chosen_languages": done.languages,
        "refusals": done.refusals,
    }


async def _export(people: People, who: Who) -> dict[str, Any]:
    found = [one for one in await people.export(who) if one.anything]
    if not found:
        raise Refused("nothing is kept about them")
    log.warning(
        "subscribers.exported",
        subscribers=[one.subscriber.id for kept in found for one, _ in kept.of_subscriptions],
    )
    return {"format": FORMAT, "people": [_exported(people, one) for one in found]}


# ------------------------------------------------------------------ who is meant


def _id(command: Command) -> str:
    return checked_uuid(command.get("id", ""), "subscriber", "as the API and `subscribers find` show it")


def _who(command: Command) -> Who:
    """Whom the command means, in exactly one way. Raises `Refused`."""
    ways = [name for name in ("id", "telegram", "max", "account") if command.get(name) is not None]
    if len(ways) != 1:
        raise Refused("say who in one way: ID, --telegram NUMBER, --max NUMBER or --account NAME")
    everywhere, project = bool(command.get("everywhere")), command.get("project")
    if project is not None and ways != ["account"]:
        raise Refused("--project goes with --account")
    if ways == ["id"]:
        return Who(subscriber_id=_id(command), everywhere=everywhere)
    if ways == ["account"]:
        name = str(command["account"])
        of = checked_uuid(project, "project", "as `project list` shows it") if project is not None else None
        return Who(external_id=name, project_id=of, everywhere=everywhere)
    return Who(person=Person(Channel(ways[0]), _user_id(command[ways[0]])), everywhere=True)


def _user_id(typed: Any) -> int:
    text = str(typed)
    known = len(text) <= len(str(MOST_USER_ID)) and text.isascii() and text.isdigit()
    if not (known and 0 < int(text) <= MOST_USER_ID):
        raise Refused(
            "people are named by the messenger's own number for them, such as 12345; names are not kept"
        )
    return int(text)


# ------------------------------------------------------------------ as it is shown


def _shown(people: People, one: Membership) -> dict[str, Any]:
    """A person's relation to a project."""
    sub = one.subscriber
    return {
        "id": sub.id,
        "project_id": sub.project_id,
        "project": one.project_name,
        "mode": sub.mode,
        "channel": sub.person.channel,
        "user_id": sub.person.user_id,
        "language": sub.language,
        "subscribed": sub.subscribed,
        "subscribed_at": rfc3339(one.consented_at),
        "left_at": _time(one.left_at),
        "last_active_at": rfc3339(one.last_active_at),
        "locked": people.is_locked(sub),
        "wrong_codes": sub.wrong_guesses,
    }


def _exported(people: People, one: Kept) -> dict[str, Any]:
    subscriptions = [
        {**_shown(people, membership), **_all(records)} for membership, records in one.of_subscriptions
    ]
    return {
        "channel": one.person.channel,
        "user_id": one.person.user_id,
        **_of_person(one.of_person),
        "subscriptions": subscriptions,
        **({"without_subscription": _all(one.others)} if one.others else {}),
    }


def _of_person(records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    told: dict[str, Any] = _all(records)
    if "chosen_language" in told:  # of which there is one at most
        told["chosen_language"] = next(iter(told["chosen_language"]), None)
    return told


def _all(records: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    return {kind: [_record(record) for record in found] for kind, found in records.items()}


def _record(record: Record) -> dict[str, Any]:
    """A row as people read it."""
    return {name: _field(name, value) for name, value in record.items()}


def _field(name: str, value: Any) -> Any:
    if name in _FIELDS:
        return _FIELDS[name](value)
    return _time(value) if name.endswith("_at") else value


def _time(value: Any) -> str | None:
    return rfc3339(value) if value is not None else None


def _json(value: Any) -> Any:
    return json.loads(value) if value else None


def _page(value: Any) -> str | None:
    """Where it leads back to; the site's `state` may be a secret of its own."""
    return json.loads(value)["return_url"] if value else None


_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "context": _json,
    "data": _json,
    "page": _page,
    "reported": bool,
    "closed": bool,
}
