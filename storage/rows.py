"""Rows to values of the domain and back, the same for every store.

What is made in every call is read by the order of its columns, which stands right here: by their names it takes three
times as long. More columns may follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from otp.model import (
    CHANNELS,
    Caller,
    Cause,
    Channel,
    Code,
    CodeSeed,
    CodeTerms,
    Context,
    Delivery,
    DeliveryState,
    Ending,
    Job,
    KeptCall,
    Link,
    Match,
    Mode,
    Person,
    Project,
    Refusal,
    Request,
    RequestPage,
    RequestStatus,
    ShownCode,
    ShownQuestion,
    SitePage,
    Subscriber,
    Told,
)

Row = Mapping[str, Any]
CLOCK_FACT = "clock"
"""The fact that holds the latest time a store was seen at, in ms: no process begins before it."""

PROJECT = "id, name, description, enabled, site_url, texts, page, keep_phone"
SUBSCRIBER = "id, project_id, mode, address, language, subscribed, wrong_guesses, locked"
TERMS = "purpose, ttl_minutes, max_attempts, code_length"
REQUEST = (
    f"id, project_id, mode, channel, {TERMS}, status, created_at, expires_at, finished_at, bound_to, "
    "subscriber_id, reported, context, match_number, match_choice, pairing_code, opened, verified_at, "
    "external_id, page, asks_phone"
)
CODE = f"id, subscriber_id, request_id, {TERMS}, seed, key_id, attempts, expires_at"
DELIVERY = (
    f"id, project_id, subscriber_id, address, request_id, cause, {TERMS}, seed, key_id, code_id, reuses, "
    "state, refusal, tries, claimed_at, due_at, give_up_at, attempted_at, context"
)
JOB = "kind, subject, due_at, attempts, owner, payload"

# As `CHANNELS`.
_MODES = {str(one): one for one in Mode}
_STATUSES = {str(one): one for one in RequestStatus}
_CAUSES = {str(one): one for one in Cause}
_DELIVERY_STATES = {str(one): one for one in DeliveryState}


def project(row: Iterable[Any]) -> Project:
    """A project, from a row of `PROJECT`."""
    key, name, description, enabled, site_url, texts, page, keep_phone, *_ = row
    return Project(
        key,
        name,
        description,
        bool(enabled),
        site_url,
        json.loads(texts) if texts else {},
        site_page(page),
        bool(keep_phone),
    )


def site_page(stored: str | None) -> SitePage:
    """How a project's page looks."""
    if not stored:
        return _NO_PAGE
    told = json.loads(stored)
    first = Channel(told["first"]) if "first" in told else None
    return SitePage(
        tuple(told.get("return_urls", ())),
        tuple(told.get("origins", ())),
        told.get("color"),
        told.get("logo"),
        first,
    )


def site_page_text(page: SitePage) -> str | None:
    """The same, as it is stored."""
    return (
        json.dumps({name: value for name, value in asdict(page).items() if value})
        if page != _NO_PAGE
        else None
    )


_NO_PAGE = SitePage()


def caller(row: Row) -> Caller:
    """Who a key belongs to."""
    return Caller(project(row), _MODES[row["mode"]])


def texts_text(project: Project) -> str | None:
    """A project's own words, as they are stored."""
    return json.dumps(project.texts, ensure_ascii=False) if project.texts else None


def subscriber(row: Iterable[Any]) -> Subscriber:
    """A subscriber, from a row of `SUBSCRIBER`."""
    key, project_id, mode, address, language, subscribed, wrong_guesses, locked, *_ = row
    return Subscriber(
        id=key,
        project_id=project_id,
        mode=_MODES[mode],
        person=Person.at(address),
        language=language,
        subscribed=bool(subscribed),
        wrong_guesses=wrong_guesses,
        locked=bool(locked),
    )


def context(stored: str | None) -> Context | None:
    """Who was asking, where that was said."""
    return Context(**json.loads(stored)) if stored else None


def context_text(value: Context | None) -> str | None:
    """The same, as it is stored."""
    return json.dumps({name: text for name, text in asdict(value).items() if text}) if value else None


def request(row: Iterable[Any]) -> Request:
    """A request, from a row of `REQUEST`."""
    (
        key, project_id, mode, channel, purpose, ttl_minutes, max_attempts, code_length, status, created_at, expires_at,
        finished_at, bound_to, subscriber_id, reported, asking, match_number, match_choice, pairing_code, opened,
        verified_at, external_id, page, asks_phone, *_,
    ) = row  # fmt: skip
    return Request(
        id=key,
        project_id=project_id,
        mode=_MODES[mode],
        channel=CHANNELS[channel] if channel else None,
        terms=CodeTerms(purpose, ttl_minutes, max_attempts, code_length),
        status=_STATUSES[status],
        created_at=created_at,
        expires_at=expires_at,
        finished_at=finished_at,
        bound_to=Person.at(bound_to) if bound_to else None,
        subscriber_id=subscriber_id,
        reported=bool(reported),
        context=context(asking),
        match=Match(match_number, tuple(match_choice.split(","))) if match_number else None,
        pairing_code=pairing_code,
        opened=bool(opened),
        verified_at=verified_at,
        external_id=external_id,
        page=RequestPage(**json.loads(page)) if page else None,
        asks_phone=bool(asks_phone),
    )


def request_page_text(page: RequestPage | None) -> str | None:
    """A request's page, as it is stored."""
    return json.dumps(asdict(page)) if page is not None else None


def code(row: Iterable[Any]) -> Code:
    """An active code, from a row of `CODE`."""
    (
        key, subscriber_id, request_id, purpose, ttl_minutes, max_attempts, code_length, seed, key_id, attempts,
        expires_at, *_,
    ) = row  # fmt: skip
    return Code(
        id=key,
        subscriber_id=subscriber_id,
        request_id=request_id,
        terms=CodeTerms(purpose, ttl_minutes, max_attempts, code_length),
        seed=CodeSeed(bytes(seed), key_id, code_length),
        attempts=attempts,
        expires_at=expires_at,
    )


def delivery(row: Iterable[Any]) -> Delivery:
    """A delivery, from a row of `DELIVERY`."""
    (
        key, project_id, subscriber_id, address, request_id, cause, purpose, ttl_minutes, max_attempts, code_length, seed,
        key_id, code_id, reuses, state, refusal, tries, claimed_at, due_at, give_up_at, attempted_at, asking, *_,
    ) = row  # fmt: skip
    return Delivery(
        id=key,
        project_id=project_id,
        subscriber_id=subscriber_id,
        person=Person.at(address),
        request_id=request_id,
        cause=_CAUSES[cause],
        terms=CodeTerms(purpose, ttl_minutes, max_attempts, code_length),
        seed=CodeSeed(bytes(seed), key_id, code_length),
        code_id=code_id,
        reuses=bool(reuses),
        state=_DELIVERY_STATES[state],
        refusal=Refusal(refusal) if refusal else None,
        tries=tries,
        claimed_at=claimed_at,
        due_at=due_at,
        give_up_at=give_up_at,
        attempted_at=attempted_at,
        context=context(asking),
    )


def job(row: Iterable[Any]) -> Job:
    """A leased job, from a row of `JOB`."""
    kind, subject, due_at, attempts, owner, payload, *_ = row
    return Job(kind, subject, due_at, attempts, owner, payload)


def link(row: Row) -> Link:
    """By whom an account is reached."""
    return Link(Channel(row["channel"]), row["subscriber_id"])


def shown_code(row: Row) -> ShownCode:
    """A code message in a chat."""
    return ShownCode(
        id=row["id"],
        messenger_id=row["messenger_id"],
        person=Person.at(row["address"]),
        delivery_id=row["delivery_id"],
        code_id=row["code_id"],
        ended=Ending(row["ended"]) if row["ended"] else None,
    )


def shown_question(row: Row) -> ShownQuestion:
    """A message with buttons about a request."""
    return ShownQuestion(
        id=row["id"],
        messenger_id=row["messenger_id"],
        person=Person.at(row["address"]),
        request_id=row["request_id"],
        language=row["language"],
        created_at=row["created_at"],
    )


def kept_call(row: Row) -> KeptCall:
    """A call with a key."""
    told = Told(row["status"], row["answer"]) if row["status"] is not None else None
    return KeptCall(row["fingerprint"], told, row["delivery_id"])
