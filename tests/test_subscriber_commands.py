"""The `subscribers` commands: who is found, unlocked, forgotten and exported, over all projects."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import pytest

from api.admin import Refused, perform
from api.subscriber_commands import FORMAT, perform_subscribers
from otp.account_calls import AccountCalls
from otp.errors import StorageUnavailable, SubscriberNotFound
from otp.events import Audited, SubscriberForgotten, SubscriberLeft, SubscriberUnlocked
from otp.membership import Who
from otp.model import Channel, Context, ForgottenBy, KeyClaim, Mode, Person, Refusal, RequestStatus, Told
from otp.notices import rfc3339
from otp.people import People
from otp.policy import DAY_MS, UPDATE_KEYS_KEPT_MS, Policy
from otp.ports import Refused as Gone
from otp.ports import Store, Tx, Work
from otp.projects import Change
from otp.service import Reason, Verdict
from otp.telling import Endpoint, Sealed
from tests.fakes import START, FakeClock
from tests.test_accounts import linked
from tests.test_forgetting import rows_about
from tests.test_phones import asked
from tests.world import ANN, BOB, CAT, LOGIN, World, wrong

T = TypeVar("T")

NOBODY = "00000000-0000-4000-8000-000000000000"
AGREED = "2027-01-15T08:00:00.000Z"
"""START, as it is shown."""


async def do(world: World, verb: str, subscriber_id: str | None = None, **wanted: object) -> Any:
    """A command, as it comes over the socket: what it answers can be sent."""
    people = People(world.store, world.rules)
    command = {"group": "subscribers", "verb": verb, **wanted}
    if subscriber_id is not None:
        command["id"] = subscriber_id

    async def performed(given: Any) -> Any:
        return await perform_subscribers(people, given)

    return json.loads(json.dumps(await perform({"subscribers": performed}, command)))


async def locked(world: World, person: Person = ANN) -> str:
    """Somebody who is locked, by as many wrong codes as it takes."""
    sub = await world.subscribe(person)
    while not (await profile(world, sub))["locked"]:
        if (await world.verify(sub, wrong(world.telegram.codes[-1]))).reason is Reason.NO_ACTIVE_CODE:
            world.clock.advance(minutes=11)
            await world.service.send(world.caller, sub, LOGIN)
    return sub


async def profile(world: World, sub: str) -> Any:
    """One who is found by their id."""
    [found] = await do(world, "find", sub)
    return found


# ------------------------------------------------------------------ find


async def test_who_is_found_by_their_id(world: World, clock: FakeClock) -> None:
    """Also in the case in which it was typed; that project alone, unless everything is asked for."""
    sub = await world.subscribe(ANN)
    other = await world.subscribe(ANN, world.other)
    [found] = await do(world, "find", sub.upper())
    assert found == {
        "id": sub,
        "project_id": world.caller.project.id,
        "project": "Shop",
        "mode": "live",
        "channel": "telegram",
        "user_id": ANN.user_id,
        "language": "en",
        "subscribed": True,
        "subscribed_at": AGREED,
        "left_at": None,
        "last_active_at": AGREED,
        "locked": False,
        "wrong_codes": 0,
    }
    both = await do(world, "find", sub, everywhere=True)
    assert [(one["project"], one["id"]) for one in both] == [("Bank", other), ("Shop", sub)]


async def test_who_is_found_by_their_messenger(world: World, clock: FakeClock) -> None:
    """In all projects, subscribed or not, and nobody else who has the same number elsewhere."""
    same_number = Person(Channel.MAX, ANN.user_id)
    await world.subscribe(ANN)
    await world.subscribe(ANN, world.other)
    await world.subscribe(same_number)
    clock.advance(ms=DAY_MS)
    await world.taps.gone(world.update(ANN))
    found = await do(world, "find", telegram=str(ANN.user_id))
    assert [(one["project"], one["subscribed"]) for one in found] == [("Bank", False), ("Shop", False)]
    assert {one["left_at"] for one in found} == {"2027-01-16T08:00:00.000Z"}
    assert [one["channel"] for one in await do(world, "find", max=str(ANN.user_id))] == ["max"]
    assert await do(world, "find", telegram="999") == []


async def test_who_is_found_by_an_account(world: World) -> None:
    """One per messenger, of all sites that have an account of that name, or of one."""
    ann, cat = await linked(world, ANN), await linked(world, CAT)
    bob = await linked(world, BOB, caller=world.other)
    found = await do(world, "find", account="user-1")
    assert {one["id"] for one in found} == {ann, cat, bob}
    found = await do(world, "find", account="user-1", project=world.caller.project.id)
    assert {one["id"] for one in found} == {ann, cat}
    assert await do(world, "find", account="USER-1") == []


@pytest.mark.parametrize(
    "wanted,told",
    [
        ({}, "in one way"),
        ({"id": NOBODY, "telegram": "5"}, "in one way"),
        ({"id": "x"}, "UUID"),
        ({"id": NOBODY}, "there is no subscriber"),
        ({"telegram": "@ann"}, "number"),
        ({"telegram": "-5"}, "number"),
        ({"max": "٣"}, "number"),
        ({"max": str(2**63)}, "number"),
        ({"max": "9" * 5000}, "number"),
        ({"account": "u", "project": "x"}, "id of a project"),
        ({"id": NOBODY, "project": NOBODY}, "--project"),
    ],
)
@pytest.mark.parametrize("verb", ["find", "forget", "export"])
async def test_who_can_not_be_meant(world: World, verb: str, wanted: dict[str, str], told: str) -> None:
    """One plain sentence."""
    with pytest.raises(Refused, match=told):
        await do(world, verb, **wanted)


async def test_people_of_a_deleted_project_are_found_no_more(world: World) -> None:
    """Their rows are on the way out."""
    sub = await world.subscribe(ANN)
    await world.store.write(lambda tx: tx.delete_project(world.caller.project.id))
    assert await do(world, "find", telegram=str(ANN.user_id)) == []
    with pytest.raises(Refused, match="no subscriber"):
        await do(world, "unlock", sub)


# ------------------------------------------------------------------ unlock


async def test_an_operator_unlocks_as_the_person_does(world: World) -> None:
    """The count begins anew, no code lives again, the site is told; the second time nothing is changed."""
    sub = await locked(world)
    code = world.telegram.codes[-1]
    assert (await profile(world, sub))["wrong_codes"] == 50
    world.events.clear()
    assert await do(world, "unlock", sub) == {"id": sub, "unlocked": True}
    assert await do(world, "unlock", sub) == {"id": sub, "unlocked": False}
    assert [type(one) for one in world.events] == [SubscriberUnlocked, Audited]
    found = await profile(world, sub)
    assert (found["locked"], found["wrong_codes"]) == (False, 0)
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)
    world.clock.advance(minutes=11)
    await world.service.send(world.caller, sub, LOGIN)
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(None)


async def test_one_who_is_not_locked_keeps_their_count(world: World) -> None:
    """Else whoever guesses would have guesses for nothing."""
    sub = await world.subscribe(ANN)
    await world.verify(sub, wrong(world.telegram.codes[-1]))
    assert await do(world, "unlock", sub) == {"id": sub, "unlocked": False}
    assert (await profile(world, sub))["wrong_codes"] == 1


async def test_a_lock_by_a_lowered_budget_is_undone_and_revives_nothing(world: World) -> None:
    """It counts as locked though it was never written down; a code that was sent before dies."""
    sub = await world.subscribe(ANN)
    code = world.telegram.codes[-1]
    await world.verify(sub, wrong(code))
    strict = replace(world, rules=replace(world.rules, policy=Policy(guess_budget=1)))
    assert [(await profile(one, sub))["locked"] for one in (world, strict)] == [False, True]
    assert (await do(strict, "unlock", sub))["unlocked"]
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE)


async def test_many_unlock_at_once(world: World) -> None:
    """One of them does."""
    sub = await locked(world)
    got = await asyncio.gather(*(do(world, "unlock", sub) for _ in range(5)))
    assert sorted(one["unlocked"] for one in got) == [False] * 4 + [True]


async def test_unlocking_nobody(world: World) -> None:
    with pytest.raises(Refused, match="no subscriber"):
        await do(world, "unlock", NOBODY)


# ------------------------------------------------------------------ forget


async def test_one_project_forgets(world: World) -> None:
    """By the id: as the site itself can; other projects keep theirs."""
    sub, other = await world.subscribe(ANN), await world.subscribe(ANN, world.other)
    world.events.clear()
    told = await do(world, "forget", sub)
    assert [(one["id"], one["project"], one["was_subscribed"]) for one in told["erased"]] == [
        (sub, "Shop", True)
    ]
    left, forgotten = [one for one in world.events if isinstance(one, (SubscriberLeft, SubscriberForgotten))]
    assert isinstance(left, SubscriberLeft)  # what sites are told
    assert isinstance(forgotten, SubscriberForgotten)
    assert forgotten.by is ForgottenBy.OPERATOR
    assert [one["id"] for one in await do(world, "find", telegram=str(ANN.user_id))] == [other]
    with pytest.raises(Refused, match="no subscriber"):
        await do(world, "forget", sub)


@pytest.mark.parametrize("way", ["id", "telegram"])
async def test_every_project_forgets(world: World, way: str) -> None:
    """Nothing of the person stays, whatever they did; what others have stays."""
    bob = await world.subscribe(BOB)
    sub = await linked(world, ANN)
    await world.subscribe(ANN, world.other)
    await world.taps.choose_language(world.update(ANN), "ru")
    third = (await world.projects.create("Third", "")).project
    made = await world.service.request(replace(world.caller, project=third), None, LOGIN)
    await world.taps.open(world.update(ANN), made.request.id)  # asked, and never answered
    who = {"id": sub, "everywhere": True} if way == "id" else {"telegram": str(ANN.user_id)}
    told = await do(world, "forget", **who)
    assert sorted(one["project"] for one in told["erased"]) == ["Bank", "Shop"]
    assert (told["other_messages"], told["refusals"]) == (1, 0)
    assert await rows_about(world, ANN.address, "user-1") - {"updates", "jobs"} == set()
    assert await rows_about(world, BOB.address) >= {"subscribers", "messages", "deliveries"}
    await world.service.send(world.caller, bob, LOGIN)
    with pytest.raises(Refused, match=r"nothing is kept|no subscriber"):
        await do(world, "forget", **who)


async def test_a_refusal_is_erased_only_when_that_is_said(world: World) -> None:
    """It protects the person, and is the last thing that knows them."""
    sub = await world.subscribe(ANN)
    await world.protection.no_more(world.update(ANN), sub)
    who = {"telegram": str(ANN.user_id)}
    assert (await do(world, "forget", **who))["refusals"] == 0
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == {"refusals"}
    assert (await do(world, "forget", **who, with_refusals=True))["refusals"] == 1
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()
    with pytest.raises(Refused, match="whole person"):
        await do(world, "forget", NOBODY, with_refusals=True)


async def test_a_request_that_waits_for_a_locked_person_ends(world: World) -> None:
    """It is bound to them, though nothing was sent for it."""
    await locked(world)
    request_id = await world.request()
    await world.taps.open(world.update(ANN), request_id)
    told = await do(world, "forget", telegram=str(ANN.user_id))
    assert told["other_requests"] == 1
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.CANCELLED
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()


async def test_a_code_that_is_under_way_arrives_dead(world: World) -> None:
    """At the messenger while its person is forgotten by all."""
    sub = await world.subscribe(ANN)
    world.telegram.hold = asyncio.Event()
    sending = asyncio.create_task(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    await do(world, "forget", telegram=str(ANN.user_id))
    world.telegram.hold.set()
    await asyncio.gather(sending, return_exceptions=True)
    await world.settle()
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(Reason.NO_ACTIVE_CODE)
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()


async def test_two_forget_at_once(world: World) -> None:
    """Each subscriber is erased once, and whoever finds nothing says so."""
    await world.subscribe(ANN)
    await world.subscribe(ANN, world.other)
    world.events.clear()
    got = await asyncio.gather(
        *(do(world, "forget", telegram=str(ANN.user_id)) for _ in range(3)), return_exceptions=True
    )
    erased = [each["id"] for one in got if not isinstance(one, BaseException) for each in one["erased"]]
    assert len(erased) == len(set(erased)) == 2
    assert all(isinstance(one, (dict, Refused)) for one in got)
    assert sum(isinstance(one, SubscriberForgotten) for one in world.events) == 2


async def test_what_was_cut_short_is_finished_by_the_same_call(world: World) -> None:
    """One subscriber was erased when the process died."""
    sub = await world.subscribe(ANN)
    await world.subscribe(ANN, world.other)
    await AccountCalls(world.service).forget(world.caller, sub)
    told = await do(world, "forget", telegram=str(ANN.user_id))
    assert [one["project"] for one in told["erased"]] == ["Bank"]
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()


@dataclass
class Dying:
    """A store that can be written so many times more."""

    store: Store
    writes: int

    async def read(self, work: Work[T]) -> T:
        return await self.store.read(work)

    async def write(self, work: Work[T]) -> T:
        if not self.writes:
            raise StorageUnavailable("it died", retry_after=5)
        self.writes -= 1
        return await self.store.write(work)


@pytest.mark.parametrize("writes", [1, 2, 10, 70])
@pytest.mark.parametrize("way", ["id", "account", "telegram"])
async def test_wherever_it_is_cut_short_the_same_call_finishes_it(
    world: World, way: str, writes: int
) -> None:
    """Whoever was named by an id or an account is known by it until nothing else of them is left."""
    sub = await linked(world, ANN)
    await world.subscribe(ANN, world.other)
    third = (await world.projects.create("Third", "")).project
    made = await world.service.request(replace(world.caller, project=third), None, LOGIN)
    await world.taps.open(world.update(ANN), made.request.id)
    who = {
        "id": Who(subscriber_id=sub, everywhere=True),
        "account": Who(external_id="user-1", everywhere=True),
        "telegram": Who(person=ANN, everywhere=True),
    }[way]
    with suppress(StorageUnavailable):
        await People(cast(Store, Dying(world.store, writes)), world.rules).forget(who)
    with suppress(SubscriberNotFound):
        await People(world.store, world.rules).forget(who)
    assert await rows_about(world, ANN.address, "user-1") - {"updates", "jobs"} == set()


async def test_a_paused_project_forgets_too(world: World) -> None:
    """Rights do not wait for a site."""
    sub = await world.subscribe(ANN)
    await world.projects.set_enabled(world.caller.project.id, False)
    assert [one["id"] for one in (await do(world, "forget", sub))["erased"]] == [sub]


# ------------------------------------------------------------------ export


async def test_all_that_is_kept_is_exported(world: World, clock: FakeClock) -> None:
    """Subscriptions with what belongs to each, and what is the person's own; times as everywhere in the API."""
    made = await world.service.request(
        world.caller, None, LOGIN, Context(ip="203.0.113.7", device="Chrome"), external_id="user-1"
    )
    await world.taps.open(world.update(ANN), made.request.id)
    await world.taps.consent(world.update(ANN), made.request.id)
    await world.settle()
    sub = (await world.service.status(world.caller, made.request.id)).subscriber_id
    assert sub is not None
    await world.verify(sub, world.telegram.codes[-1], request_id=made.request.id)
    clock.advance(minutes=1)
    await world.service.send(world.caller, sub, LOGIN)
    await world.subscribe(ANN, world.other)
    await world.taps.choose_language(world.update(ANN), "ru")
    await world.taps.pair(world.update(ANN), "AAAA2222", counts=True)
    third = (await world.projects.create("Third", "")).project
    asked_for = await world.service.request(replace(world.caller, project=third), None, LOGIN)
    await world.taps.open(world.update(ANN), asked_for.request.id)
    await world.protection.no_more_of_request(world.update(ANN), asked_for.request.id)
    told = await do(world, "export", telegram=str(ANN.user_id))
    assert told["format"] == FORMAT
    [person] = told["people"]
    assert (person["channel"], person["user_id"]) == ("telegram", ANN.user_id)
    assert person["chosen_language"] == {"language": "ru", "chosen_at": "2027-01-15T08:01:00.000Z"}
    assert [one["project_name"] for one in person["refused_projects"]] == ["Third"]
    assert len(person["wrong_pairing_codes"]) == 1
    assert [one["project"] for one in person["subscriptions"]] == ["Bank", "Shop"]
    shop = person["subscriptions"][1]
    assert shop["accounts"] == [
        {"external_id": "user-1", "verified_at": AGREED, "used_at": "2027-01-15T08:01:00.000Z"}
    ]
    assert [one["purpose"] for one in shop["live_codes"]] == ["login"]
    assert [(one["cause"], one["state"]) for one in shop["deliveries"]] == [
        ("consent", "accepted"),
        ("send", "accepted"),
    ]
    [request] = shop["requests"]
    assert request["context"] == {"ip": "203.0.113.7", "device": "Chrome"}
    assert (request["status"], request["external_id"], request["verified_at"]) == ("sent", "user-1", AGREED)
    assert {one["kind"] for one in shop["messages"]} == {"question", "code"}
    assert [one["kind"] for one in person["without_subscription"]["messages"]] == ["question"]


async def test_nothing_secret_is_exported(world: World, clock: FakeClock) -> None:
    """No seed, no key, nothing that opens a request."""
    sub = await world.subscribe(ANN)
    made = await world.service.request(world.caller, None, LOGIN, match=True)
    await world.taps.open(world.update(ANN), made.request.id)
    text = json.dumps(await do(world, "export", telegram=str(ANN.user_id)))
    code = await world.store.read(lambda tx: tx.code(sub, "login"))
    assert code is not None
    assert made.request.pairing_code is not None
    for secret in (
        code.seed.bits.hex(),
        code.seed.key_id,
        world.telegram.codes[-1],
        made.request.pairing_code,
    ):
        assert secret not in text
    for name in ("seed", "key_id", "pairing_code", "match", "token", "code_id"):
        assert f'"{name}' not in text


async def test_phone_numbers_are_exported(world: World) -> None:
    """Of the question that waits to be told, and the one that is kept; in clear, as they are the person's own."""
    project = world.caller.project.id
    await world.projects.update(project, Change(keep_phone=True))
    request_id = await asked(world)
    asked_at = world.clock.now()
    await world.phones.share(world.update(ANN), "12025550142", own=True)
    [person] = (await do(world, "export", telegram=str(ANN.user_id)))["people"]
    [shop] = person["subscriptions"]
    assert shop["phone_questions"] == [
        {"request_id": request_id, "asked_at": rfc3339(asked_at), "number": "+12025550142"}
    ]
    assert shop["kept_phone"] == [{"number": "+12025550142"}]
    await do(world, "forget", telegram=str(ANN.user_id))
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()


async def test_what_sites_were_told_and_answered_is_exported(world: World) -> None:
    """Events and answers that name the subscriber, of their own project alone."""
    sub, project = await world.subscribe(ANN), world.caller.project.id
    bob = await world.subscribe(BOB)
    hook = Endpoint("we_1", project, Mode.LIVE, "https://a.example", (), "", START, Sealed(b"secret", "k"))

    async def fill(tx: Tx) -> None:
        await tx.add_endpoint(hook, 5)
        for number, one in enumerate((sub, bob)):
            claim = KeyClaim(f"call-{number}", project, ("print",))
            await tx.claim_call(claim)
            await tx.keep_call(claim.id, None, Told(200, json.dumps({"sent": True, "subscriber_id": one})))

    await world.store.write(fill)
    for one in (sub, bob):
        await world.service.send(world.caller, one, LOGIN)
    [person] = (await do(world, "export", sub))["people"]
    [subscription] = person["subscriptions"]
    [event] = subscription["events"]
    assert (event["type"], event["data"]["subscriber_id"]) == ("otp.sent", sub)
    assert [one["status"] for one in subscription["kept_answers"]] == [200]
    assert "secret" not in json.dumps(person)


async def test_a_site_is_shown_its_own_part(world: World) -> None:
    """By the subscriber's id: nothing tells in which other projects the person is."""
    sub = await world.subscribe(ANN)
    await world.subscribe(ANN, world.other)
    await world.taps.choose_language(world.update(ANN), "ru")
    told = await do(world, "export", sub)
    text = json.dumps(told)
    assert "Bank" not in text
    assert world.other.project.id not in text
    [person] = told["people"]
    assert set(person) == {"channel", "user_id", "refused_projects", "subscriptions"}
    assert [one["id"] for one in person["subscriptions"]] == [sub]
    assert len(person["subscriptions"][0]["requests"]) == 1


async def test_both_people_of_an_account_are_exported(world: World) -> None:
    await linked(world, ANN)
    await linked(world, CAT)
    told = await do(world, "export", account="user-1")
    assert sorted(one["channel"] for one in told["people"]) == ["max", "telegram"]


async def test_what_is_over_is_not_exported_from_the_past(world: World, clock: FakeClock) -> None:
    """Rows wait for the sweep now and then: they are found as long as they are there, and erased."""
    await world.subscribe(ANN)
    clock.advance(ms=3 * UPDATE_KEYS_KEPT_MS)
    [person] = (await do(world, "export", telegram=str(ANN.user_id)))["people"]
    assert len(person["subscriptions"][0]["messages"]) == 2
    await do(world, "forget", telegram=str(ANN.user_id))
    assert await rows_about(world, ANN.address) - {"updates", "jobs"} == set()


async def test_an_export_of_somebody_who_left(world: World) -> None:
    """Also of one who blocked the bot."""
    sub = await world.subscribe(ANN)
    world.telegram.script = [Gone(Refusal.GONE)]
    with pytest.raises(Exception, match="no subscriber"):
        await world.service.send(world.caller, sub, LOGIN)
    [person] = (await do(world, "export", sub))["people"]
    assert person["subscriptions"][0]["subscribed"] is False
