"""Rows to values of the domain and back, the same for every store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from otp.model import (
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


def project(row: Row) -> Project:
    """A project."""
    texts = json.loads(row["texts"]) if row["texts"] else {}
    return Project(
        row["id"],
        row["name"],
        row["description"],
        bool(row["enabled"]),
        row["site_url"],
        texts,
        site_page(row["page"]),
        bool(row["keep_phone"]),
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
    return Caller(project(row), Mode(row["mode"]))


def texts_text(project: Project) -> str | None:
    """A project's own words, as they are stored."""
    return json.dumps(project.texts, ensure_ascii=False) if project.texts else None


def subscriber(row: Row) -> Subscriber:
    """A subscriber."""
    return Subscriber(
        id=row["id"],
        project_id=row["project_id"],
        mode=Mode(row["mode"]),
        person=Person.at(row["address"]),
        language=row["language"],
        subscribed=bool(row["subscribed"]),
        wrong_guesses=row["wrong_guesses"],
        locked=bool(row["locked"]),
    )


def terms(row: Row) -> CodeTerms:
    """The terms of a code, a request or a delivery."""
    return CodeTerms(row["purpose"], row["ttl_minutes"], row["max_attempts"], row["code_length"])


def context(row: Row) -> Context | None:
    """Who was asking, where that was said."""
    return Context(**json.loads(row["context"])) if row["context"] else None


def context_text(value: Context | None) -> str | None:
    """The same, as it is stored."""
    return json.dumps({name: text for name, text in asdict(value).items() if text}) if value else None


def seed(row: Row) -> CodeSeed:
    """The seed of a code or a delivery."""
    return CodeSeed(bytes(row["seed"]), row["key_id"], row["code_length"])


def request(row: Row) -> Request:
    """A request."""
    return Request(
        id=row["id"],
        project_id=row["project_id"],
        mode=Mode(row["mode"]),
        channel=Channel(row["channel"]) if row["channel"] else None,
        terms=terms(row),
        status=RequestStatus(row["status"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        finished_at=row["finished_at"],
        bound_to=Person.at(row["bound_to"]) if row["bound_to"] else None,
        subscriber_id=row["subscriber_id"],
        reported=bool(row["reported"]),
        context=context(row),
        match=Match(row["match_number"], tuple(row["match_choice"].split(",")))
        if row["match_number"]
        else None,
        pairing_code=row["pairing_code"],
        opened=bool(row["opened"]),
        verified_at=row["verified_at"],
        external_id=row["external_id"],
        page=RequestPage(**json.loads(row["page"])) if row["page"] else None,
        asks_phone=bool(row["asks_phone"]),
    )


def request_page_text(page: RequestPage | None) -> str | None:
    """A request's page, as it is stored."""
    return json.dumps(asdict(page)) if page is not None else None


def code(row: Row) -> Code:
    """An active code."""
    return Code(
        id=row["id"],
        subscriber_id=row["subscriber_id"],
        request_id=row["request_id"],
        terms=terms(row),
        seed=seed(row),
        attempts=row["attempts"],
        expires_at=row["expires_at"],
    )


def delivery(row: Row) -> Delivery:
    """A delivery."""
    return Delivery(
        id=row["id"],
        project_id=row["project_id"],
        subscriber_id=row["subscriber_id"],
        person=Person.at(row["address"]),
        request_id=row["request_id"],
        cause=Cause(row["cause"]),
        terms=terms(row),
        seed=seed(row),
        code_id=row["code_id"],
        reuses=bool(row["reuses"]),
        state=DeliveryState(row["state"]),
        refusal=Refusal(row["refusal"]) if row["refusal"] else None,
        tries=row["tries"],
        claimed_at=row["claimed_at"],
        due_at=row["due_at"],
        give_up_at=row["give_up_at"],
        attempted_at=row["attempted_at"],
        context=context(row),
    )


def job(row: Row) -> Job:
    """A leased job."""
    return Job(row["kind"], row["subject"], row["due_at"], row["attempts"], row["owner"], row["payload"])


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
