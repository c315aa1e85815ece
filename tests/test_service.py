"""What a site gets: request, status, send, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from otp.codes import KeyRing
from otp.courier import Courier
from otp.errors import (
    DeliveryFailed,
    DeliveryUnknown,
    InvalidField,
    MessengerUnavailable,
    ProjectDisabled,
    RateLimited,
    RequestNotFound,
    SendInProgress,
    SubscriberLocked,
    SubscriberNotFound,
    TooManyPurposes,
)
from otp.events import CodeVerified, WrongCode
from otp.events import SubscriberLocked as Locked
from otp.model import Channel, DeliveryState, Ending, Mode, Refusal, RequestStatus
from otp.policy import Policy
from otp.ports import NotSent, Refused, Store, Tx, Unknown
from otp.service import OtpService, Reason, Verdict
from storage.postgres_ahead import AheadTx
from storage.sqlite_tx import SqliteTx
from storage.statements import SqlTx
from tests.fakes import FakeClock, FakeMessenger, NamedBots
from tests.world import ANN, BOB, KEYS, LOGIN, World, make_world, wrong

NOBODY = "00000000-0000-4000-8000-000000000000"


async def send(world: World, subscriber_id: str, **terms: object) -> str:
    """Send a code; its digits."""
    await world.service.send(world.caller, subscriber_id, replace(LOGIN, **terms))  # type: ignore[arg-type]
    return world.telegram.codes[-1]


# ------------------------------------------------------------------ verify


async def test_a_code_is_accepted_once(world: World) -> None:
    """Right, right again: true, then no active code; wrong ones and the right one are told."""
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    await world.verify(sub, wrong(code))
    assert await world.verify(sub, code) == Verdict(None)
    told = [event for event in world.events if isinstance(event, (WrongCode, CodeVerified))]
    request_id = world.telegram.parcels[-1].delivery.request_id
    about = (sub, world.caller.project.id, "login", Channel.TELEGRAM, Mode.LIVE, request_id)
    assert told == [WrongCode(*about, attempts_left=4), CodeVerified(*about)]
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE, 0)


async def test_one_of_many_right_answers_at_once_is_accepted(world: World) -> None:
    """Thirty at once: one true."""
    sub = await world.subscribe()
    got = await asyncio.gather(*[world.verify(sub, world.telegram.codes[-1]) for _ in range(30)])
    assert sum(verdict.reason is None for verdict in got) == 1


@pytest.mark.parametrize("limit", [1, 3, 5, 10])
async def test_the_last_attempt_counts_and_no_further_one(world: World, limit: int) -> None:
    """Wrong guesses count down to 0, then the right code is dead too."""
    sub = await world.subscribe()
    code = await send(world, sub, max_attempts=limit)
    for left in range(limit - 1, -1, -1):
        assert await world.verify(sub, wrong(code)) == Verdict(Reason.WRONG_CODE, left)
    assert await world.verify(sub, code) == Verdict(Reason.NO_ACTIVE_CODE, 0)


async def test_a_volley_of_wrong_guesses_is_evaluated_up_to_the_limit(world: World) -> None:
    """Of fifty at once five are evaluated."""
    sub = await world.subscribe()
    code = await send(world, sub)
    got = await asyncio.gather(*[world.verify(sub, wrong(code)) for _ in range(50)])
    assert sum(verdict.reason is Reason.WRONG_CODE for verdict in got) == 5


async def test_a_malformed_code_spends_nothing(world: World) -> None:
    """It tells the attempts left, and they stay."""
    sub = await world.subscribe()
    code = await send(world, sub)
    for typed in ("", "x", code[:5], code + "0", "+" + code):
        assert await world.verify(sub, typed) == Verdict(Reason.MALFORMED_CODE, 5)
    await world.verify(sub, wrong(code))
    assert await world.verify(sub, "x") == Verdict(Reason.MALFORMED_CODE, 4)
    assert (await world.verify(sub, f" {code[:3]}-{code[3:]}\u200b")).reason is None


async def test_a_code_without_attempts_left_is_good_for_nobody(world: World) -> None:
    """Whatever left it in the store: nothing is compared with it."""
    sub = await world.subscribe()
    digits = world.telegram.codes[-1]

    async def use_up(tx: Tx) -> None:
        code = await tx.code(sub, "login")
        assert code is not None
        await tx.put_code(replace(code, attempts=code.terms.max_attempts))

    await world.store.write(use_up)
    assert await world.verify(sub, "x") == Verdict(Reason.MALFORMED_CODE, 0)
    assert await world.verify(sub, digits) == Verdict(Reason.NO_ACTIVE_CODE, 0)


async def test_who_does_not_consume_the_code_is_not_verified(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Right, but another one took the code after this attempt was counted."""
    sub = await world.subscribe()
    for kind in (SqlTx, SqliteTx, AheadTx):
        count = kind.count_attempt

        async def overtaken(tx: Any, code_id: str, count: Callable[..., Any] = count) -> Any:
            made = await count(tx, code_id)
            await tx.consume(code_id, Ending.USED)
            return made

        monkeypatch.setattr(kind, "count_attempt", overtaken)
    assert await world.verify(sub, world.telegram.codes[-1]) == Verdict(Reason.NO_ACTIVE_CODE, 0)


async def test_a_code_dies_at_its_end(world: World, clock: FakeClock) -> None:
    """One millisecond before it is good, then it is not."""
    sub = await world.subscribe()
    for early, expected in ((1, None), (0, Reason.NO_ACTIVE_CODE)):
        code = await send(world, sub, ttl_minutes=1)
        clock.advance(ms=60_000 - early)
        assert (await world.verify(sub, code)).reason is expected


async def test_strangers_and_dead_codes_can_not_be_told_apart(world: World) -> None:
    """Unknown, another project's, used, never sent: one answer."""
    sub = await world.subscribe()
    theirs = await world.subscribe(BOB, world.other)
    code = world.telegram.codes[-1]
    await world.verify(sub, world.telegram.codes[0])
    expected = Verdict(Reason.NO_ACTIVE_CODE, 0)
    assert await world.verify(NOBODY, code) == expected
    assert await world.verify(theirs, code) == expected
    assert await world.verify(sub, code) == expected
    assert (await world.verify(theirs, code, caller=world.other)).reason is None


async def test_request_id_binds_a_guess_to_its_request(world: World) -> None:
    """Another request's code is no active code, and nothing is spent."""
    sub = await world.subscribe()
    first, second = await world.request(), await world.request()
    await world.taps.open(world.update(), second)
    await world.settle()
    code = world.telegram.codes[-1]
    for other in (first, "A" * 16):
        assert await world.verify(sub, code, request_id=other) == Verdict(Reason.NO_ACTIVE_CODE, 0)
    assert (await world.verify(sub, code, request_id=second)).reason is None


async def test_the_purpose_comes_from_the_request(world: World) -> None:
    """It need not be said, and a different one is refused."""
    sub = await world.subscribe()
    request_id = await world.request(terms=replace(LOGIN, purpose="pay"))
    await world.taps.open(world.update(), request_id)
    await world.settle()
    with pytest.raises(InvalidField) as told:
        await world.verify(sub, "123456", purpose="login", request_id=request_id)
    assert told.value.field == "purpose"
    assert (await world.verify(sub, world.telegram.codes[-1], request_id=request_id)).reason is None


async def test_codes_of_two_purposes_live_side_by_side(world: World) -> None:
    """Neither replaces the other, and neither is good for the other."""
    sub = await world.subscribe()
    login, pay = await send(world, sub), await send(world, sub, purpose="pay")
    assert (await world.verify(sub, login, purpose="pay")).reason is Reason.WRONG_CODE
    assert (await world.verify(sub, pay, purpose="pay")).reason is None
    assert (await world.verify(sub, login)).reason is None


async def test_a_code_whose_key_is_gone_is_no_active_code(world: World) -> None:
    """It spends nothing: with the key back it is good."""
    sub = await world.subscribe()
    code = await send(world, sub)
    rotated = replace(world.rules, keys=KeyRing(["another-key-" + "z" * 30]))
    service = OtpService(world.store, rotated, world.courier, NamedBots())
    assert await service.verify(world.caller, sub, code, None, None) == Verdict(Reason.NO_ACTIVE_CODE, 0)
    assert (await world.verify(sub, code)).reason is None


async def test_rotation_keeps_codes_of_the_older_key(world: World) -> None:
    """With a new first key and the old one listed, the code is good."""
    sub = await world.subscribe()
    code = await send(world, sub)
    rotated = replace(world.rules, keys=KeyRing(["another-key-" + "z" * 30, *KEYS]))
    service = OtpService(world.store, rotated, world.courier, NamedBots())
    assert (await service.verify(world.caller, sub, code, None, None)).reason is None


# ------------------------------------------------------------------ the guess budget


@pytest.fixture
async def strict(store: Store, clock: FakeClock) -> World:
    """A world with a budget of seven wrong guesses in a row."""
    return await make_world(store, clock, Policy(guess_budget=7, send_limit=100))


async def test_the_budget_locks_over_all_codes(strict: World) -> None:
    """A new code resets nothing; the last wrong guess has 0 left; then all is locked, and the event is told once."""
    sub = await strict.subscribe()
    code = await send(strict, sub, max_attempts=5)
    for _ in range(4):
        await strict.verify(sub, wrong(code))
    pay = await send(strict, sub, purpose="pay")
    code = await send(strict, sub)
    assert await strict.verify(sub, "x") == Verdict(Reason.MALFORMED_CODE, 3)
    left = [(await strict.verify(sub, wrong(code))).attempts_left for _ in range(3)]
    assert left == [2, 1, 0]
    assert await strict.verify(sub, pay, purpose="pay") == Verdict(Reason.LOCKED, 0)
    with pytest.raises(SubscriberLocked):
        await send(strict, sub)
    assert sum(isinstance(event, Locked) for event in strict.events) == 1


async def test_a_success_resets_the_budget(strict: World) -> None:
    """Six wrong, one right, six wrong: not locked."""
    sub = await strict.subscribe()
    for _ in range(2):
        code = await send(strict, sub, max_attempts=10)
        for _ in range(6):
            await strict.verify(sub, wrong(code))
        assert (await strict.verify(sub, code)).reason is None


@pytest.mark.parametrize("lowered", [5, 6])
async def test_a_lowered_budget_locks_who_has_reached_it(strict: World, lowered: int) -> None:
    """The operator's new limit holds from the next guess on, for the right code too."""
    sub = await strict.subscribe()
    code = await send(strict, sub, max_attempts=10)
    for _ in range(6):
        await strict.verify(sub, wrong(code))
    rules = replace(strict.rules, policy=Policy(guess_budget=lowered))
    service = OtpService(strict.store, rules, strict.courier, NamedBots())
    assert await service.verify(strict.caller, sub, code, None, None) == Verdict(Reason.LOCKED)


async def test_unlock_revives_no_code(strict: World) -> None:
    """After Unlock there is no active code, and a new one works."""
    sub = await strict.subscribe()
    code = await send(strict, sub, max_attempts=10)
    for _ in range(7):
        await strict.verify(sub, wrong(code))
    await strict.taps.unlock(strict.update(), sub, None)
    assert (await strict.verify(sub, code)).reason is Reason.NO_ACTIVE_CODE
    assert (await strict.verify(sub, await send(strict, sub))).reason is None


# ------------------------------------------------------------------ send


async def test_send_replaces_and_a_refused_one_does_not(world: World) -> None:
    """Certainly refused: the older code stays good."""
    sub = await world.subscribe()
    older = await send(world, sub)
    world.telegram.script = [Refused(Refusal.REJECTED)]
    with pytest.raises(DeliveryFailed):
        await send(world, sub)
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.WRONG_CODE
    assert (await world.verify(sub, older)).reason is None


async def test_an_unknown_delivery_makes_the_new_code_active(world: World) -> None:
    """The older one is dead, the new one is good."""
    sub = await world.subscribe()
    older = await send(world, sub)
    world.telegram.script = [Unknown()]
    with pytest.raises(DeliveryUnknown):
        await send(world, sub)
    assert (await world.verify(sub, older)).reason is Reason.WRONG_CODE
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is None


async def test_the_ttl_of_an_unknown_delivery_runs_from_the_attempt(world: World, clock: FakeClock) -> None:
    """A slow failure does not make the code live longer."""
    sub = await world.subscribe()

    def slow(_parcel: object) -> Unknown:
        clock.advance(seconds=9)
        return Unknown()

    world.telegram.script = [NotSent(2000), slow]
    sending = asyncio.ensure_future(send(world, sub, ttl_minutes=1))
    await world.settle()
    clock.advance(seconds=2)
    with pytest.raises(DeliveryUnknown):
        await sending
    clock.advance(ms=50_999)
    code = world.telegram.codes[-1]
    assert (await world.verify(sub, wrong(code))).reason is Reason.WRONG_CODE
    clock.advance(ms=1)
    assert (await world.verify(sub, code)).reason is Reason.NO_ACTIVE_CODE


async def test_a_blocked_bot_unsubscribes_from_everything(world: World) -> None:
    """404 now, 404 later, and for the other project too."""
    sub = await world.subscribe()
    theirs = await world.subscribe(ANN, world.other)
    world.telegram.script = [Refused(Refusal.GONE)]
    for caller, subscriber in ((world.caller, sub), (world.caller, sub), (world.other, theirs)):
        with pytest.raises(SubscriberNotFound):
            await world.service.send(caller, subscriber, LOGIN)


async def test_send_tries_again_what_certainly_did_not_arrive(world: World, clock: FakeClock) -> None:
    """One message, after the wait that the messenger asked for."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent(2000)]
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    tried = len(world.telegram.parcels)
    clock.advance(ms=1999)
    await world.settle()
    assert len(world.telegram.parcels) == tried
    clock.advance(ms=1)
    await world.settle()
    assert await sending == (300, False)
    assert world.telegram.codes[-1] == world.telegram.codes[-2]


async def test_names_that_another_replica_found_are_in_the_first_links(world: World) -> None:
    """It registered the webhook, and a site asks this one before it has looked around."""
    both = {Channel.TELEGRAM: "a_bot", Channel.MAX: "id1_bot"}
    service = OtpService(world.store, world.rules, world.courier, NamedBots(kept=both))
    made = await service.request(world.caller, None, LOGIN)
    assert made.bots == both


async def test_send_gives_up_within_its_deadline(world: World, clock: FakeClock) -> None:
    """A messenger that stays away: 503 within 15 seconds, and nothing comes later."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent()] * 20
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    for _ in range(15):
        await world.settle()
        clock.advance(seconds=1)
    await world.settle()
    with pytest.raises(MessengerUnavailable):
        await sending
    tried = len(world.telegram.parcels)
    clock.advance(minutes=1)
    await world.settle()
    assert len(world.telegram.parcels) == tried


@pytest.mark.parametrize("asked_ms", [60_000, 14_001])
async def test_a_wait_beyond_the_deadline_is_not_waited_for(world: World, asked_ms: int) -> None:
    """A minute, or so long that no time is left for an attempt: 503 at once."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent(asked_ms)]
    sending = asyncio.ensure_future(send(world, sub))
    await world.settle()
    assert sending.done()
    with pytest.raises(MessengerUnavailable):
        await sending


@pytest.mark.parametrize("reuse", [False, True])
async def test_a_wait_that_leaves_time_for_an_attempt_is_waited_for(
    world: World, clock: FakeClock, reuse: bool
) -> None:
    """One second is enough; a living code is tried no longer than a new one."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent(14_000), NotSent()]
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN, reuse=reuse))
    await world.settle()
    clock.advance(seconds=14)
    await world.settle()
    assert sending.done()
    with pytest.raises(MessengerUnavailable):
        await sending
    assert len(world.telegram.parcels) == 3


async def test_every_attempt_has_the_time_that_is_left(world: World, clock: FakeClock) -> None:
    """`/send` is answered within 15 seconds; a tap may take a whole attempt, at its end too."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent(8000)]
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    clock.advance(seconds=8)
    assert await sending == (300, False)
    request_id = await world.request()
    clock.advance(minutes=15, seconds=-2)
    await world.taps.open(world.update(), request_id)
    await world.settle()
    assert world.telegram.patience[1:] == [10_000, 7000, 10_000]


async def test_one_delivery_at_a_time(world: World) -> None:
    """A second send meanwhile is told to come back after a second; another purpose goes through."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    first = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    with pytest.raises(SendInProgress) as told:
        await send(world, sub)
    assert told.value.retry_after == 1
    pay = asyncio.ensure_future(world.service.send(world.caller, sub, replace(LOGIN, purpose="pay")))
    await world.settle()
    world.telegram.hold.set()
    assert [await first, await pay] == [(300, False)] * 2


async def test_the_send_limit_is_an_exact_window(world: World, clock: FakeClock) -> None:
    """Five in ten minutes over all purposes, then 429 with the seconds until there is room; refused ones are free."""
    sub = await world.subscribe()
    world.telegram.script = [Refused(Refusal.REJECTED)]
    with pytest.raises(DeliveryFailed):
        await send(world, sub)
    for number in range(5):
        await send(world, sub, purpose=f"p{number % 2}")
        clock.advance(seconds=10)
    with pytest.raises(RateLimited) as told:
        await send(world, sub)
    assert told.value.retry_after == 550
    clock.advance(seconds=549.999)
    with pytest.raises(RateLimited):
        await send(world, sub)
    clock.advance(ms=1)
    await send(world, sub)


async def test_taps_have_a_window_of_their_own(world: World) -> None:
    """Five sends do not keep the person from asking by a link, and the other way round."""
    sub = await world.subscribe()
    for _ in range(5):
        await send(world, sub)
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.settle()
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.SENT


async def test_at_most_five_purposes(strict: World) -> None:
    """A sixth is refused, one of the five may be sent anew, and a dead one makes room."""
    sub = await strict.subscribe(BOB)
    for number in range(4):
        await send(strict, sub, purpose=f"p{number}")
    with pytest.raises(TooManyPurposes):
        await send(strict, sub, purpose="p9")
    code = await send(strict, sub, purpose="p1")
    assert (await strict.verify(sub, code, purpose="p1")).reason is None
    await send(strict, sub, purpose="p9")


async def test_two_processes_over_one_store_send_one_message(
    world: World, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever begins the attempt sends; the other one waits for the outcome and tells the same."""
    sub = await world.subscribe()
    monkeypatch.setattr(world.courier, "is_free", lambda _channel: False)  # so that it is claimed only
    world.telegram.hold = asyncio.Event()
    twin = FakeMessenger(hold=world.telegram.hold)
    courier = Courier(world.store, world.rules, clock, {Channel.TELEGRAM: twin}, world.failures.append)
    world.store.listen(courier.on_event)
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    world.telegram.hold.set()
    await world.settle()
    clock.advance(seconds=1)
    await world.settle()
    assert await sending == (300, False)
    assert len(world.telegram.parcels) + len(twin.parcels) == 2
    await courier.close(0)


async def test_unknown_subscribers_get_nothing(world: World) -> None:
    """Unknown and another project's subscriber: not found, no message."""
    theirs = await world.subscribe(BOB, world.other)
    sent = len(world.telegram.parcels)
    for sub in (NOBODY, theirs):
        with pytest.raises(SubscriberNotFound):
            await send(world, sub)
    assert len(world.telegram.parcels) == sent


# ------------------------------------------------------------------ requests and projects


async def test_a_foreign_request_does_not_exist(world: World) -> None:
    """Another project's, unknown or malformed: not found."""
    request_id = await world.request()
    for caller, wanted in ((world.other, request_id), (world.caller, "A" * 16), (world.caller, "x\r\n")):
        with pytest.raises(RequestNotFound):
            await world.service.status(caller, wanted)


async def test_a_request_runs_out_and_is_forgotten(world: World, clock: FakeClock) -> None:
    """Expired at 900 s, readable for 24 hours more, then gone, whether or not anybody swept."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    clock.advance(ms=899_999)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.PENDING
    clock.advance(ms=1)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED
    clock.advance(minutes=24 * 60, ms=-1)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED
    clock.advance(ms=1)
    with pytest.raises(RequestNotFound):
        await world.service.status(world.caller, request_id)


async def test_a_cancelled_request_tells_nobody(world: World) -> None:
    """The person to whom it was bound cancelled it: no subscriber and no channel is told."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    world.telegram.script = [Unknown()]
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.taps.cancel(world.update(), request_id)
    state = await world.service.status(world.caller, request_id)
    assert (state.status, state.subscriber_id, state.channel) == (RequestStatus.CANCELLED, None, None)


async def test_a_disabled_project_can_do_nothing(world: World) -> None:
    """Every call is refused, live codes die, subscribers stay."""
    sub = await world.subscribe()
    code = await send(world, sub)
    await world.projects.set_enabled(world.caller.project.id, False)
    with pytest.raises(ProjectDisabled):
        await world.verify(sub, code)
    with pytest.raises(ProjectDisabled):
        await send(world, sub)
    with pytest.raises(ProjectDisabled):
        await world.request()
    await world.projects.set_enabled(world.caller.project.id, True)
    assert (await world.verify(sub, code)).reason is Reason.NO_ACTIVE_CODE
    assert (await world.verify(sub, await send(world, sub))).reason is None


@pytest.mark.parametrize("what", ["paused", "locked", "left", "locked and left"])
async def test_a_send_that_was_overtaken_says_by_what(store: Store, clock: FakeClock, what: str) -> None:
    """It waited for another attempt: the answer is as if the change had come first, and nothing is sent."""
    world = await make_world(store, clock, Policy(guess_budget=1))
    sub = await world.subscribe()
    login = world.telegram.codes[-1]
    world.telegram.script = [NotSent()]
    sending = asyncio.ensure_future(send(world, sub, purpose="pay"))
    await world.settle()
    if what == "paused":
        await world.projects.set_enabled(world.caller.project.id, False)
    if "locked" in what:
        await world.verify(sub, wrong(login))
    if "left" in what:
        await world.taps.gone(world.update())
    clock.advance(seconds=2)
    told = {"paused": ProjectDisabled, "locked": SubscriberLocked}
    with pytest.raises(told.get(what, SubscriberNotFound)):
        await sending
    assert len(world.telegram.parcels) == 2
    await world.courier.close(0)


async def test_a_code_for_a_project_disabled_meanwhile_does_not_live(world: World) -> None:
    """The message was at the messenger when the project was switched off and on."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    await world.projects.set_enabled(world.caller.project.id, False)
    world.telegram.hold.set()
    await sending
    await world.projects.set_enabled(world.caller.project.id, True)
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.NO_ACTIVE_CODE


async def test_a_code_for_somebody_locked_meanwhile_does_not_live(store: Store, clock: FakeClock) -> None:
    """The message was at the messenger when the last wrong guess locked them; Unlock does not revive it."""
    world = await make_world(store, clock, Policy(guess_budget=1))
    sub = await world.subscribe()
    login = world.telegram.codes[-1]
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(send(world, sub, purpose="pay"))
    await world.settle()
    await world.verify(sub, wrong(login))
    world.telegram.hold.set()
    pay = await sending
    await world.taps.unlock(world.update(), sub, None)
    assert (await world.verify(sub, pay, purpose="pay")).reason is Reason.NO_ACTIVE_CODE
    await world.courier.close(0)


async def test_the_ledger_of_a_send(world: World) -> None:
    """The delivery's row ends as accepted, after one try."""
    sub = await world.subscribe()
    await send(world, sub)
    handed = world.telegram.parcels[-1].delivery
    delivery = await world.store.read(lambda tx: tx.delivery(handed.id))
    assert delivery is not None
    assert handed == replace(delivery, state=DeliveryState.ATTEMPTING, seed=handed.seed)
    assert (delivery.state, delivery.tries) == (DeliveryState.ACCEPTED, 1)


@pytest.mark.parametrize("asked_ms,told", [(60_000, 60), (15_500, 16), (0, 5)])
async def test_a_caller_is_told_how_long_the_messenger_asked_to_wait(
    world: World, clock: FakeClock, asked_ms: int, told: int
) -> None:
    """Longer than `/send` is willing to: then the time is passed on, and no less than a few seconds."""
    sub = await world.subscribe()
    world.telegram.script = [NotSent(asked_ms, answered=True)] * 9
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    while not sending.done():
        await world.settle()
        clock.advance(seconds=1)
    error = sending.exception()
    assert isinstance(error, MessengerUnavailable)
    assert error.retry_after == told


async def test_what_was_told_to_be_expired_is_expired_for_good(world: World, clock: FakeClock) -> None:
    """Before any sweep: a restart with a clock set back finds it written down."""
    request_id = await world.request()
    clock.advance(minutes=15)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED
    clock.set(clock.now() - 600_000)
    assert (await world.service.status(world.caller, request_id)).status is RequestStatus.EXPIRED
