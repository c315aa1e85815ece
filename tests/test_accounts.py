"""The site's accounts: who is linked to them, how codes find the way there, and whose guess is judged."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from otp.account_calls import AccountCalls, SentTo
from otp.errors import (
    DeliveryFailed,
    DeliveryUnknown,
    InvalidField,
    MessengerUnavailable,
    OtpError,
    RateLimited,
    SendInProgress,
    StorageUnavailable,
    SubscriberNotFound,
)
from otp.errors import SubscriberLocked as Locked
from otp.events import SubscriberRelinked
from otp.model import Caller, Channel, CodeTerms, Ending, Mode, Person, Profile, Refusal
from otp.notices import notices_of
from otp.policy import FIRST_PATIENCE_MS, MINUTE_MS, SEND_PATIENCE_MS, Policy
from otp.ports import Accepted, NotSent, Outcome, Refused, Store, Tx, Unknown
from otp.service import OtpService, Reason, Verdict
from storage.postgres import PostgresTx
from storage.sqlite_tx import SqliteTx
from tests.fakes import FailingStore, FakeClock, FakeMessenger, NamedBots
from tests.world import ANN, BOB, CAT, LOGIN, World, make_world, wrong

ACCOUNT = "user-1"
PAY = replace(LOGIN, purpose="pay")
FAR = NotSent(retry_after_ms=MINUTE_MS, answered=True)
"""Certainly not sent, and not worth waiting for."""


def calls(world: World) -> AccountCalls:
    """The calls under test."""
    return AccountCalls(world.service)


def messenger(world: World, person: Person) -> FakeMessenger:
    """Where a person is."""
    return world.telegram if person.channel is Channel.TELEGRAM else world.max


async def asked(
    world: World, person: Person, account: str | None = ACCOUNT, caller: Caller | None = None
) -> tuple[str, str, str]:
    """A person got the code of a request for an account: the request, the subscriber, the digits."""
    caller = caller or world.caller
    made = await world.service.request(caller, None, LOGIN, external_id=account)
    request_id = made.request.id
    await world.taps.open(world.update(person), request_id)
    if not await messages(world, request_id):
        await world.taps.consent(world.update(person), request_id)
    await world.settle()
    state = await world.service.status(caller, request_id)
    assert state.subscriber_id is not None
    return request_id, state.subscriber_id, messenger(world, person).codes[-1]


async def messages(world: World, request_id: str) -> int:
    """How many code messages were wished for."""
    return len(await world.deliveries(request_id))


async def linked(world: World, person: Person, account: str = ACCOUNT, caller: Caller | None = None) -> str:
    """A person was verified for an account; the subscriber's id."""
    request_id, sub, code = await asked(world, person, account, caller)
    assert await world.verify(sub, code, request_id=request_id, caller=caller) == Verdict(None)
    return sub


async def both(world: World) -> tuple[str, str]:
    """An account with both channels, of which MAX was used last."""
    ann = await linked(world, ANN)
    world.clock.advance(seconds=1)
    cat = await linked(world, CAT)
    world.clock.advance(seconds=1)
    world.events.clear()
    return ann, cat


async def links(world: World, account: str = ACCOUNT, caller: Caller | None = None) -> list[str]:
    """By whom an account is reached."""
    caller = caller or world.caller
    found = await world.store.read(lambda tx: tx.links(caller.project.id, caller.mode, account))
    return [one.subscriber_id for one in found]


async def send(world: World, terms: CodeTerms = LOGIN, account: str = ACCOUNT) -> SentTo:
    """Send to an account."""
    return await calls(world).send(world.caller, account, terms)


async def verify(
    world: World,
    typed: str,
    purpose: str | None = None,
    request_id: str | None = None,
    account: str = ACCOUNT,
) -> Verdict:
    """Guess by an account."""
    return await calls(world).verify(world.caller, account, typed, purpose, request_id)


async def alive(world: World, *subs: str, purpose: str = "login") -> list[str]:
    """Whose code for a purpose lives."""

    async def work(tx: Tx) -> list[str]:
        return [sub for sub in subs if await tx.code(sub, purpose) is not None]

    return await world.store.read(work)


async def profile(world: World, sub: str) -> Profile:
    """What is told of a subscriber."""
    return await calls(world).subscriber(world.caller, sub)


# ------------------------------------------------------------------ who is linked


async def test_a_verified_code_links_and_consent_does_not(world: World) -> None:
    """Nor a wrong guess, nor the right one of another request; then who it is can be read."""
    request_id, sub, code = await asked(world, ANN)
    await world.verify(sub, wrong(code), request_id=request_id)
    assert await links(world) == []
    assert (await profile(world, sub)).external_id is None
    assert await world.verify(sub, code, request_id=request_id) == Verdict(None)
    assert await links(world) == [sub]
    assert (await profile(world, sub)).external_id == ACCOUNT
    assert not [event for event in world.events if isinstance(event, SubscriberRelinked)]


async def test_the_request_need_not_be_named(world: World) -> None:
    """A code knows which request brought it."""
    _, sub, code = await asked(world, ANN)
    assert await world.verify(sub, code) == Verdict(None)
    assert await links(world) == [sub]


async def test_other_codes_link_nobody(world: World) -> None:
    """Of a request without an account, of `/send`, and of the same person's newer request."""
    request_id, sub, code = await asked(world, ANN, None)
    assert await world.verify(sub, code, request_id=request_id) == Verdict(None)
    await asked(world, ANN)
    await world.service.send(world.caller, sub, LOGIN)
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(None)
    assert await links(world) == []


async def test_another_person_takes_the_place_in_the_channel_only_when_verified(world: World) -> None:
    """With an event; the other channel, and who was there before, stay as they are."""
    ann, cat = await both(world)
    request_id, bob, code = await asked(world, BOB)
    assert sorted(await links(world)) == sorted([ann, cat])
    assert await world.verify(bob, code, request_id=request_id) == Verdict(None)
    assert await links(world) == [bob, cat]
    told = [event for event in world.events if isinstance(event, SubscriberRelinked)]
    assert [(one.subscriber.id, one.external_id, one.previous_id) for one in told] == [(bob, ACCOUNT, ann)]
    assert [(one.type, one.data["subscriber_id"]) for one in notices_of(told[0])] == [
        ("subscriber.relinked", bob)
    ]
    assert (await profile(world, ann)).external_id is None
    await world.service.send(world.caller, ann, LOGIN)
    assert await world.verify(ann, world.telegram.codes[-1]) == Verdict(None)


async def test_a_person_may_have_several_accounts(world: World) -> None:
    """Each reaches them; the one told is that of the last verified code."""
    ann = await linked(world, ANN, "home")
    world.clock.advance(seconds=1)
    assert await linked(world, ANN, "work") == ann
    assert await links(world, "home") == await links(world, "work") == [ann]
    assert (await profile(world, ann)).external_id == "work"
    world.clock.advance(seconds=1)
    await linked(world, ANN, "home")
    assert (await profile(world, ann)).external_id == "home"
    assert not [event for event in world.events if isinstance(event, SubscriberRelinked)]


@pytest.mark.parametrize("other", ["project", "mode"])
async def test_accounts_of_one_name_in_two_places_never_meet(world: World, other: str) -> None:
    """Of another project, and of test keys: neither links, nor codes, nor guesses."""
    stranger = world.other if other == "project" else replace(world.caller, mode=Mode.TEST)
    ann = await linked(world, ANN)
    somebody = (
        ANN if other == "project" else Person(Channel.TELEGRAM, -7010)
    )  # only played people come to a test
    theirs = await linked(world, somebody, caller=stranger)
    assert (await links(world), await links(world, caller=stranger)) == ([ann], [theirs])
    assert (await send(world)).subscriber_id == ann
    code = world.telegram.codes[-1]
    there = AccountCalls(world.service)
    assert await there.verify(stranger, ACCOUNT, code, None, None) == Verdict(Reason.NO_ACTIVE_CODE)
    with pytest.raises(SubscriberNotFound):
        await there.subscriber(stranger, ann)
    with pytest.raises(SubscriberNotFound):
        await there.forget(stranger, ann)
    assert await verify(world, code) == Verdict(None)
    with pytest.raises(SubscriberNotFound):
        await there.send(stranger, "user-2", LOGIN)


async def test_two_persons_verified_at_once_for_one_account(world: World) -> None:
    """In one channel: both are verified, one is linked, and the event says who was replaced."""
    first, second = await asked(world, ANN), await asked(world, BOB)
    got = await asyncio.gather(
        *(world.verify(sub, code, request_id=request_id) for request_id, sub, code in (first, second))
    )
    assert got == [Verdict(None), Verdict(None)]
    told = [event for event in world.events if isinstance(event, SubscriberRelinked)]
    assert len(told) == 1
    assert await links(world) == [told[0].subscriber.id]
    assert {told[0].subscriber.id, told[0].previous_id} == {first[1], second[1]}


# ------------------------------------------------------------------ sending


async def test_the_channel_used_last_comes_first(world: World) -> None:
    """Linked last, then delivered last; the other one gets nothing."""
    ann, cat = await both(world)
    before = len(world.telegram.parcels)
    assert await send(world) == SentTo(cat, Channel.MAX, 300, reused=False)
    assert len(world.telegram.parcels) == before
    world.clock.advance(seconds=1)
    await world.service.send(world.caller, ann, LOGIN)  # by the subscriber's own id
    world.clock.advance(seconds=1)
    assert (await send(world)).channel is Channel.TELEGRAM


@pytest.mark.parametrize(
    "outcome",
    [Refused(Refusal.GONE), Refused(Refusal.REJECTED), FAR],
    ids=["gone", "rejected", "unavailable"],
)
async def test_what_certainly_failed_goes_the_other_way(world: World, outcome: Outcome) -> None:
    """One message is accepted; from then on that channel is the one used last."""
    ann, cat = await both(world)
    world.max.script = [outcome]
    assert await send(world) == SentTo(ann, Channel.TELEGRAM, 300, reused=False)
    assert await verify(world, world.telegram.codes[-1]) == Verdict(None)
    world.clock.advance(seconds=1)
    tried = len(world.max.parcels)
    assert (await send(world)).subscriber_id == ann
    assert len(world.max.parcels) == tried
    assert await alive(world, ann, cat) == [ann]


@pytest.mark.parametrize("how", ["left", "locked", "no channel"])
async def test_who_can_not_be_reached_is_passed_by(store: Store, clock: FakeClock, how: str) -> None:
    """Left, locked, or the messenger is switched off."""
    world = await make_world(store, clock, Policy(guess_budget=2))
    ann, cat = await both(world)
    if how == "left":
        await world.taps.gone(world.update(CAT))
    elif how == "locked":
        await send(world)
        for _ in range(2):
            await world.verify(cat, wrong(world.max.codes[-1]))
    else:
        del world.courier._messengers[Channel.MAX]  # type: ignore[attr-defined]
    assert (await send(world)).subscriber_id == ann
    await world.courier.close(0)


async def test_what_may_have_arrived_goes_nowhere_else(world: World) -> None:
    """Unknown is the answer; the code lives there, and the channel is no more used than before."""
    ann, cat = await both(world)
    world.max.script = [Unknown()]
    before = len(world.telegram.parcels)
    with pytest.raises(DeliveryUnknown):
        await send(world)
    assert len(world.telegram.parcels) == before
    assert await alive(world, ann, cat) == [cat]
    world.clock.advance(seconds=1)
    world.telegram.script = [Unknown()]
    with pytest.raises(DeliveryUnknown):
        await world.service.send(world.caller, ann, LOGIN)
    assert await links(world) == [cat, ann]


async def test_the_send_limit_is_no_failure(world: World) -> None:
    """Each subscriber has their own; an account gets no second helping through the other channel."""
    await both(world)
    for _ in range(5):
        await send(world)
    before = len(world.telegram.parcels)
    with pytest.raises(RateLimited):
        await send(world)
    assert len(world.telegram.parcels) == before


async def test_one_delivery_at_a_time_per_account(world: World) -> None:
    """While the other channel is tried, too."""
    await both(world)
    world.max.script, world.telegram.hold = [Refused(Refusal.REJECTED)], asyncio.Event()
    first = asyncio.create_task(send(world))
    await world.settle()
    with pytest.raises(SendInProgress):
        await send(world)
    with pytest.raises(SubscriberNotFound):
        await send(world, account="user-2")
    world.telegram.hold.set()
    assert (await first).channel is Channel.TELEGRAM


@pytest.mark.parametrize(
    "first,second,error",
    [
        (Refused(Refusal.GONE), Refused(Refusal.GONE), SubscriberNotFound),
        (Refused(Refusal.GONE), Refused(Refusal.REJECTED), DeliveryFailed),
        (FAR, Refused(Refusal.GONE), MessengerUnavailable),
        (Refused(Refusal.REJECTED), Unknown(), DeliveryUnknown),
    ],
)
async def test_when_both_fail_the_more_hopeful_failure_is_told(
    world: World, first: Outcome, second: Outcome, error: type[OtpError]
) -> None:
    """But what may have arrived is told whatever was before."""
    await both(world)
    world.max.script, world.telegram.script = [first], [second]
    with pytest.raises(error):
        await send(world)


async def test_both_tries_share_the_time_of_one(world: World) -> None:
    """The first gives up early enough, the second has what is left."""
    await both(world)

    def slow(_: Any) -> Outcome:
        world.clock.advance(ms=FIRST_PATIENCE_MS)
        return NotSent()

    world.max.script = [slow]
    await send(world)
    assert world.max.patience[-1] == FIRST_PATIENCE_MS
    given_up = world.max.parcels[-1].delivery
    assert given_up.give_up_at == given_up.claimed_at + FIRST_PATIENCE_MS
    assert world.telegram.patience[-1] == SEND_PATIENCE_MS - FIRST_PATIENCE_MS
    assert world.telegram.parcels[-1].delivery.give_up_at == world.clock.now() + world.telegram.patience[-1]


async def test_without_time_nothing_is_begun(world: World) -> None:
    """The first try took all of it: the caller is told to come again, and nothing goes out later."""
    await both(world)

    def slow(_: Any) -> Outcome:
        world.clock.advance(ms=SEND_PATIENCE_MS)
        return Refused(Refusal.GONE)

    world.max.script = [slow]
    before = len(world.telegram.parcels)
    with pytest.raises(MessengerUnavailable):
        await send(world)
    assert len(world.telegram.parcels) == before


async def test_a_single_channel_has_all_the_time(world: World) -> None:
    await linked(world, ANN)
    await send(world)
    assert world.telegram.parcels[-1].delivery.give_up_at == world.clock.now() + SEND_PATIENCE_MS


async def test_between_the_two_tries_nothing_is_left_to_go_out(world: World, clock: FakeClock) -> None:
    """The process ends there: after a restart nobody gets anything, and the same call begins anew."""
    ann, _ = await both(world)
    failing = FailingStore(world.store)
    broken = OtpService(failing, world.rules, world.courier, NamedBots())

    def refused(_: Any) -> Outcome:
        failing.times = 1  # the claim of the second try
        return Refused(Refusal.REJECTED)

    world.max.script = [refused]
    before = len(world.telegram.parcels)
    with pytest.raises(StorageUnavailable):
        await AccountCalls(broken).send(world.caller, ACCOUNT, LOGIN)
    await world.courier.recover(at_start=True)
    await world.settle()
    assert len(world.telegram.parcels) == before
    world.max.script = [Refused(Refusal.REJECTED)]
    assert (await send(world)).subscriber_id == ann


async def test_an_account_without_anybody(world: World) -> None:
    with pytest.raises(SubscriberNotFound):
        await send(world)
    assert await verify(world, "123456") == Verdict(Reason.NO_ACTIVE_CODE)


async def test_the_code_that_lives_can_be_sent_again(world: World) -> None:
    await both(world)
    await send(world)
    again = await calls(world).send(world.caller, ACCOUNT, LOGIN, reuse=True)
    assert (again.reused, world.max.codes[-1]) == (True, world.max.codes[-2])


# ------------------------------------------------------------------ one code of an account


async def test_a_delivery_ends_the_code_of_the_other_channel(world: World) -> None:
    """Of the same purpose; its message is told why."""
    ann, cat = await both(world)
    await world.service.send(world.caller, cat, LOGIN)
    await world.service.send(world.caller, cat, PAY)
    old = world.max.parcels[-2].delivery.id
    await world.service.send(world.caller, ann, LOGIN)
    assert await alive(world, ann, cat) == [ann]
    assert await alive(world, ann, cat, purpose="pay") == [cat]
    shown = await world.store.read(lambda tx: tx.shown_code(old))
    assert shown is not None
    assert shown.ended is Ending.REPLACED
    assert await verify(world, world.max.codes[-2]) == Verdict(Reason.WRONG_CODE, 4)
    assert await verify(world, world.telegram.codes[-1]) == Verdict(None)


@pytest.mark.parametrize(
    "outcome,ends", [(Unknown(), True), (Refused(Refusal.REJECTED), False), (FAR, False)]
)
async def test_it_ends_when_the_new_one_may_live(world: World, outcome: Outcome, ends: bool) -> None:
    """In the commit of the outcome: before it, and after a refusal, the older one is good."""
    ann, cat = await both(world)
    await world.service.send(world.caller, cat, LOGIN)
    seen: list[list[str]] = []

    def look(_: Any) -> Outcome:
        return outcome

    world.telegram.script, world.telegram.hold = [look], asyncio.Event()
    sending = asyncio.create_task(world.service.send(world.caller, ann, LOGIN))
    await world.settle()
    seen.append(await alive(world, ann, cat))
    world.telegram.hold.set()
    with pytest.raises(OtpError):
        await sending
    seen.append(await alive(world, ann, cat))
    assert seen == [[cat], [ann] if ends else [cat]]


async def test_codes_of_taps_end_the_others_too(world: World) -> None:
    ann, cat = await both(world)
    await send(world)
    await asked(world, ANN, None)
    assert await alive(world, ann, cat) == [ann]


async def test_who_is_linked_anew_leaves_one_code_of_the_account(world: World) -> None:
    """Theirs, where they have one for the same purpose."""
    ann = await linked(world, ANN)
    request_id, cat, code = await asked(world, CAT)
    await world.service.send(world.caller, cat, PAY)
    for terms in (LOGIN, PAY):
        await world.service.send(world.caller, ann, terms)
    assert await world.verify(cat, code, request_id=request_id) == Verdict(None)
    assert await alive(world, ann, cat) == [ann]
    assert await alive(world, ann, cat, purpose="pay") == [cat]


async def test_both_channels_at_once_leave_one_code(world: World) -> None:
    """Whichever outcome is written down last."""
    ann, cat = await both(world)
    for _ in range(4):
        world.telegram.hold = world.max.hold = asyncio.Event()
        tasks = [asyncio.create_task(world.service.send(world.caller, sub, LOGIN)) for sub in (ann, cat)]
        await world.settle()
        world.telegram.hold.set()
        await asyncio.gather(*tasks)
        assert len(await alive(world, ann, cat)) == 1


async def test_a_guess_and_a_delivery_elsewhere_at_once(world: World) -> None:
    """The old code is accepted or it is not, and then the new one lives alone."""
    ann, cat = await both(world)
    for _ in range(4):
        await world.service.send(world.caller, cat, LOGIN)
        code = world.max.codes[-1]
        verdict, _ = await asyncio.gather(verify(world, code), world.service.send(world.caller, ann, LOGIN))
        assert verdict.reason in (None, Reason.NO_ACTIVE_CODE, Reason.WRONG_CODE)
        assert await alive(world, ann, cat) == [ann]
        world.clock.advance(minutes=11)


# ------------------------------------------------------------------ guesses


async def test_the_one_living_code_is_judged(world: World) -> None:
    """Wrong ones are counted there, and it is accepted once."""
    ann, cat = await both(world)
    world.max.script = [Refused(Refusal.REJECTED)]
    await send(world)
    code = world.telegram.codes[-1]
    assert await verify(world, "12") == Verdict(Reason.MALFORMED_CODE, 5)
    assert await verify(world, wrong(code)) == Verdict(Reason.WRONG_CODE, 4)
    assert await verify(world, code, "pay") == Verdict(Reason.NO_ACTIVE_CODE)
    guesses = [(await profile(world, sub)).subscriber.wrong_guesses for sub in (ann, cat)]
    assert guesses == [1, 0]
    got = await asyncio.gather(*(verify(world, code) for _ in range(8)))
    assert sorted(verdict.reason is None for verdict in got) == [False] * 7 + [True]


async def test_an_account_is_locked_when_all_its_people_are(store: Store, clock: FakeClock) -> None:
    """One that is not can still be reached; the budget is each one's own."""
    world = await make_world(store, clock, Policy(guess_budget=2))
    ann, cat = await both(world)
    for sub in (cat, ann):
        assert (await send(world)).subscriber_id == sub
        code = messenger(world, CAT if sub == cat else ANN).codes[-1]
        assert [(await verify(world, wrong(code))).attempts_left for _ in range(2)] == [1, 0]
        expected = Reason.NO_ACTIVE_CODE if sub == cat else Reason.LOCKED
        assert await verify(world, code) == Verdict(expected)
    with pytest.raises(Locked):
        await send(world)
    await world.courier.close(0)


async def test_the_request_of_an_account_says_whose_code_it_is(world: World) -> None:
    """So the first sign-in needs no subscriber's id: the right code of that request links."""
    request_id, sub, code = await asked(world, ANN)
    assert await verify(world, code) == Verdict(Reason.NO_ACTIVE_CODE)  # nobody is linked yet
    assert await verify(world, wrong(code), None, request_id) == Verdict(Reason.WRONG_CODE, 4)
    assert await verify(world, code, None, request_id) == Verdict(None)
    assert await links(world) == [sub]


async def test_a_request_for_another_account(world: World) -> None:
    """Named: it is a mistake of the caller's. Not named: its code is for that account alone."""
    ann = await linked(world, ANN)
    request_id, _, code = await asked(world, ANN, "user-2")
    with pytest.raises(InvalidField) as caught:
        await verify(world, code, None, request_id)
    assert caught.value.field == "external_id"
    assert await verify(world, code) == Verdict(Reason.NO_ACTIVE_CODE)
    assert await verify(world, code, account="user-2", request_id=request_id) == Verdict(None)
    assert await links(world, "user-2") == [ann]


async def test_a_request_without_an_account_is_verified_by_who_is_linked(world: World) -> None:
    ann = await linked(world, ANN)
    request_id, sub, code = await asked(world, ANN, None)
    other = await asked(world, BOB, None)
    assert sub == ann
    assert await verify(world, other[2], None, other[0]) == Verdict(Reason.NO_ACTIVE_CODE)
    assert await verify(world, code, None, "x" * 16) == Verdict(Reason.NO_ACTIVE_CODE)
    assert await verify(world, code, None, request_id) == Verdict(None)


async def test_a_stranger_who_opened_the_link_is_not_the_visitor(world: World) -> None:
    """Their chat has the code; without it nobody is verified, and nothing is linked."""
    ann = await linked(world, ANN)
    request_id, _, _ = await asked(world, BOB)
    guess = "000000" if world.telegram.codes[-1] != "000000" else "111111"
    assert (await verify(world, guess, None, request_id)).reason is Reason.WRONG_CODE
    assert await links(world) == [ann]
    assert (await send(world)).subscriber_id == ann


async def test_a_channel_that_answered_a_guess_was_used(world: World) -> None:
    """Though nobody knew whether its message had arrived."""
    ann, _ = await both(world)
    world.telegram.script = [Unknown()]
    with pytest.raises(DeliveryUnknown):
        await world.service.send(world.caller, ann, LOGIN)
    assert await verify(world, world.telegram.codes[-1]) == Verdict(None)
    assert (await links(world))[0] == ann


async def test_accepted_messages_of_others_are_accepted(world: World) -> None:
    """A subscriber without an account costs nothing and ends nothing."""
    ann, bob = await world.subscribe(ANN), await world.subscribe(BOB)
    world.telegram.script = [Accepted("m9")]
    await world.service.send(world.caller, ann, LOGIN)
    assert await alive(world, ann, bob) == [ann, bob]


# ------------------------------------------------------------------ what it costs


@pytest.mark.parametrize("named", [True, False])
async def test_a_plain_code_costs_no_statement_more(
    world: World, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Of `/send`, or of a request without an account that is named: a guess asks for no account."""
    request_id, sub, code = await asked(world, ANN, None)
    if not named:
        await world.service.send(world.caller, sub, LOGIN)
        code = world.telegram.codes[-1]
    said: list[str] = []
    for kind in (SqliteTx, PostgresTx):
        rows = kind.rows

        async def heard(tx: Any, sql: str, *values: Any, rows: Any = rows) -> Any:
            said.append(sql)
            return await rows(tx, sql, *values)

        monkeypatch.setattr(kind, "rows", heard)
    assert await world.verify(sub, code, request_id=request_id if named else None) == Verdict(None)
    assert not [sql for sql in said if "accounts" in sql or sql.startswith("SELECT external_id")]
