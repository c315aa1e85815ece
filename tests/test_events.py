"""Events: what is told of which change, how long it is tried, and that nothing is lost, leaked or told to the wrong one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from otp import telling
from otp.endpoints import MOST_ENDPOINTS
from otp.errors import EventNotFound, TooManyWebhooks, WebhookDisabled, WebhookNotFound
from otp.events import EndpointChanged, SubscriberJoined
from otp.housekeeping import expire_requests
from otp.model import Caller, Mode, Refusal, RequestStatus, Subscriber
from otp.notices import TYPES
from otp.policy import HOUR_MS, REQUEST_GRACE_MS, REQUEST_LIFE_MS
from otp.ports import Refused, Reply, Tx, Unknown
from otp.sender import LEASE_MS
from otp.telling import AT_ONCE, BOTH_SIGN_MS, KEPT_MS, TRIED_FOR_MS, StoredNotice
from tests.fakes import FailingStore
from tests.hearing import OK, URL, FakePost, Heard, Hearing, Largest, hearing
from tests.world import ANN, BOB, LOGIN, World, wrong

OTHER = "https://other.example/hook"
DAYS_3 = TRIED_FOR_MS // 1000


@pytest.fixture
async def ear(world: World) -> AsyncIterator[Hearing]:
    """A sender at work."""
    made = hearing(world, randomness=Largest("ear"))
    made.sender.start()
    yield made
    await made.sender.close(0)


async def all_notices(ear: Hearing) -> list[StoredNotice]:
    """Every row there is."""

    async def work(tx: Tx) -> list[StoredNotice]:
        ids = [one.id for one in await tx.every_endpoint()]
        return await tx.notices(ids, None, None, 1000)

    return await ear.store.read(work)


async def purged(ear: Hearing) -> None:
    """As the sweep does it."""
    while await ear.store.chore(lambda tx: tx.purge(100)):
        pass


# ------------------------------------------------------------------ what is told


async def test_a_login_is_told_step_by_step(world: World, ear: Hearing) -> None:
    """Consent, the code, a wrong guess, the right one: with ids, channel and purpose."""
    await ear.listen(world.caller)
    sub = await world.subscribe()
    code = world.telegram.codes[-1]
    await world.verify(sub, wrong(code))
    await world.verify(sub, code)
    await ear.settle()
    assert sorted(ear.post.types()) == ["otp.sent", "otp.verified", "otp.wrong_code", "subscriber.joined"]
    told = {one.type: one.json for one in ear.post.heard}
    request_id = world.telegram.parcels[-1].delivery.request_id
    about = {"request_id": request_id, "subscriber_id": sub, "channel": "telegram", "purpose": "login"}
    assert told["otp.sent"] == {"type": "otp.sent", "timestamp": "2027-01-15T08:00:00.000Z", "data": about}
    assert told["otp.verified"]["data"] == about
    assert told["otp.wrong_code"]["data"] == {**about, "attempts_left": 4}
    assert told["subscriber.joined"]["data"] == {"subscriber_id": sub, "channel": "telegram"}
    assert code.encode() not in b"".join(one.body for one in ear.post.heard)


async def test_the_end_of_a_codes_attempts_is_told(world: World, ear: Hearing) -> None:
    """Beside the wrong guess that was the last one."""
    await ear.listen(world.caller, "otp.wrong_code", "otp.exhausted")
    sub = await world.subscribe(terms=replace(LOGIN, max_attempts=1))
    await world.verify(sub, wrong(world.telegram.codes[-1]))
    await ear.settle()
    assert sorted(ear.post.types()) == ["otp.exhausted", "otp.wrong_code"]


async def test_a_lock_and_its_end_are_told(world: World, ear: Hearing) -> None:
    """When the budget is used up, and when the person unlocks."""
    await ear.listen(world.caller, "subscriber.locked", "subscriber.unlocked")
    sub = await world.subscribe()
    while (await world.verify(sub, "0" * 6)).reason != "locked":
        await world.service.send(world.caller, sub, replace(LOGIN, max_attempts=10))
        for _ in range(10):
            await world.verify(sub, wrong(world.telegram.codes[-1]))
        world.clock.advance(minutes=11)
    await world.taps.unlock(world.update(), sub, None)
    await ear.settle()
    assert ear.post.types() == ["subscriber.locked", "subscriber.unlocked"]


async def test_the_ends_of_requests_are_told(world: World, ear: Hearing) -> None:
    """Cancelled, expired; `sent` is told with its delivery."""
    await ear.listen(world.caller)
    cancelled, expired = await world.request(), await world.request()
    await world.taps.open(world.update(), cancelled)
    await world.taps.cancel(world.update(), cancelled)
    world.clock.advance(ms=REQUEST_LIFE_MS + REQUEST_GRACE_MS)
    await world.store.chore(expire_requests)
    await ear.settle()
    told = {one.type: one.json["data"] for one in ear.post.heard}
    assert told == {
        "otp.cancelled": {"request_id": cancelled, "purpose": "login"},
        "otp.expired": {"request_id": expired, "purpose": "login"},
    }


@pytest.mark.parametrize("outcome,reason", [(Unknown(), "unknown"), (Refused(Refusal.REJECTED), "rejected")])
async def test_a_delivery_that_fails_is_told(world: World, ear: Hearing, outcome: Any, reason: str) -> None:
    """With its reason."""
    await ear.listen(world.caller, "otp.failed")
    sub = await world.subscribe()
    world.telegram.script.append(outcome)
    with pytest.raises(Exception):  # noqa: B017, PT011  # what the caller gets is told elsewhere
        await world.service.send(world.caller, sub, LOGIN)
    await ear.settle()
    [told] = ear.post.heard
    assert told.json["data"]["reason"] == reason


@pytest.mark.parametrize("by_request", [True, False])
async def test_a_report_is_told(world: World, ear: Hearing, by_request: bool) -> None:
    """Of a request's code, once, and of one that the site sent by itself."""
    await ear.listen(world.caller, "otp.reported")
    sub = await world.subscribe()
    if not by_request:
        await world.service.send(world.caller, sub, replace(LOGIN, purpose="pay"))
    sent = world.telegram.parcels[-1].delivery
    await world.protection.not_me(world.update(), sent.code_id)
    if by_request:
        await world.protection.not_me(world.update(), sent.code_id)
    await ear.settle()
    [told] = ear.post.heard
    about = {"subscriber_id": sub, "channel": "telegram", "purpose": "login" if by_request else "pay"}
    assert told.json["data"] == about | ({"request_id": sent.request_id} if by_request else {})


async def test_leaving_is_told(world: World, ear: Hearing) -> None:
    """To every site that the person leaves."""
    await ear.listen(world.caller, "subscriber.left")
    await ear.listen(world.other, "subscriber.left", url=OTHER)
    for caller in (world.caller, world.other):
        await world.subscribe(caller=caller)
    await world.taps.gone(world.update())
    await ear.settle()
    assert (ear.post.types(), ear.post.types(OTHER)) == (["subscriber.left"], ["subscriber.left"])


# ------------------------------------------------------------------ to whom


async def test_nothing_is_written_that_nobody_wants(world: World, ear: Hearing) -> None:
    """Without an endpoint, for a type that is not wanted, of another project, of another mode."""
    await world.subscribe()
    await ear.listen(world.caller, "otp.reported")
    await ear.listen(world.other, url=OTHER)
    await ear.endpoints.create(replace(world.caller, mode=Mode.TEST), URL)
    await world.verify(await world.subscribe(BOB), wrong(world.telegram.codes[-1]))
    await ear.settle()
    assert await all_notices(ear) == []
    assert ear.post.heard == []


async def test_all_that_want_it_hear_of_it_under_one_id(world: World, ear: Hearing) -> None:
    """Each for itself."""
    await ear.listen(world.caller, "subscriber.joined")
    await ear.listen(world.caller, url=OTHER)
    await world.subscribe()
    await ear.settle()
    joined = [one for one in ear.post.heard if one.type == "subscriber.joined"]
    assert {one.url for one in joined} == {URL, OTHER}
    assert len({one.id for one in joined}) == 1
    assert len({one.id for one in ear.post.heard}) == 2


async def test_what_is_taken_back_is_not_told(world: World, ear: Hearing) -> None:
    """A change that fails after it was emitted leaves nothing behind."""
    await ear.listen(world.caller)
    sub = await world.subscribe()
    await ear.settle()
    before = len(ear.post.heard)
    found = await world.store.read(lambda tx: tx.subscriber(world.caller.project.id, Mode.LIVE, sub))
    assert found is not None

    async def work(tx: Tx) -> None:
        await tx.set_subscribed(sub, False)
        tx.emit(SubscriberJoined(found))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await world.store.write(work)
    await ear.settle()
    assert len(ear.post.heard) == len(await all_notices(ear)) == before


async def test_a_test_says_that_it_is_one(world: World, ear: Hearing) -> None:
    """And reaches the webhooks of test mode alone."""
    await ear.listen(world.caller, url=OTHER)
    await ear.endpoints.create(replace(world.caller, mode=Mode.TEST), URL)
    joined = Subscriber("s1", world.caller.project.id, Mode.TEST, ANN, "en", True, 0, False)

    async def work(tx: Tx) -> None:
        tx.emit(SubscriberJoined(joined))

    await world.store.write(work)
    await ear.settle()
    [heard] = ear.post.heard
    assert (heard.url, heard.json["data"]["test"]) == (URL, True)


# ------------------------------------------------------------------ signatures


def judged(secret: str, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a library that knows nothing of us makes of it, at the time of the event."""
    monkeypatch.setattr(Webhook, "_Webhook__verify_timestamp", lambda _self, at: _time(at))
    return Webhook(secret).verify(heard.body.decode(), dict(heard.headers))


def _time(at: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(at), UTC)


async def test_signatures_are_those_of_standard_webhooks(
    world: World, ear: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by the library; a changed body, time or id is refused."""
    made = await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.settle()
    [heard] = ear.post.heard
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", made.secret)
    assert judged(made.secret, heard, monkeypatch)["type"] == "subscriber.joined"
    for ill in (
        replace(heard, body=heard.body + b" "),
        replace(heard, headers={**heard.headers, "webhook-id": "evt_0"}),
        replace(heard, headers={**heard.headers, "webhook-timestamp": "1"}),
    ):
        with pytest.raises(Exception, match="No matching signature"):
            judged(made.secret, ill, monkeypatch)


async def test_after_a_rotation_both_secrets_sign_for_a_day(
    world: World, ear: Hearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And then the new one alone."""
    made = await ear.listen(world.caller)
    rotated = await ear.endpoints.rotate(world.caller, made.endpoint.id)
    assert rotated.secret != made.secret
    await world.subscribe()
    await ear.settle()
    for heard in ear.post.heard:
        assert judged(made.secret, heard, monkeypatch) == judged(rotated.secret, heard, monkeypatch)
    world.clock.advance(ms=BOTH_SIGN_MS)
    ear.post.heard.clear()
    await world.subscribe(BOB)
    await ear.settle()
    assert judged(rotated.secret, ear.post.heard[0], monkeypatch)
    with pytest.raises(Exception, match="No matching signature"):
        judged(made.secret, ear.post.heard[0], monkeypatch)


async def test_a_secret_outlives_the_key_that_sealed_it(world: World) -> None:
    """In three deploys: sealed under the old key, opened beside a new one, sealed anew; without any of them, said so."""
    old, new = "old-key-" + "o" * 30, "new-key-" + "n" * 30
    first = hearing(world, keys=(old,))
    made = await first.listen(world.caller)
    await first.endpoints.rotate(world.caller, made.endpoint.id)
    assert await hearing(world, keys=(old, new), seed="2").endpoints.reseal() == 0
    both = hearing(world, keys=(new, old), seed="3")
    assert (await both.endpoints.reseal(), await both.endpoints.reseal()) == (1, 0)
    await world.subscribe()
    for keys, result in (((new,), "204"), ((old,), "secret_key_gone")):
        one = hearing(world, keys=keys, seed=keys[0])
        assert await one.endpoints.reseal() == 0
        for event in await all_notices(one):
            await one.endpoints.redeliver(world.caller, event.id)
        one.sender.start()
        await one.settle()
        assert {event.result for event in await all_notices(one)} == {result}
        await one.sender.close(0)


# ------------------------------------------------------------------ again and again


async def test_the_first_two_retries_come_within_half_a_minute(world: World, ear: Hearing) -> None:
    """With the longest waits that can be drawn, and in an endpoint's own time where it asks for more."""
    ear.post.script[URL] = [Reply(500), Reply(None, "timeout"), OK]
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.settle()
    assert len(ear.post.heard) == 1
    assert await ear.later(until=lambda: len(ear.post.heard) == 3) <= 15
    assert len({one.id for one in ear.post.heard}) == len({one.body for one in ear.post.heard}) == 1
    await ear.later(most=DAYS_3, step=HOUR_MS / 1000)
    assert len(ear.post.heard) == 3
    assert [(event.state, event.tries, event.result) for event in await all_notices(ear)] == [
        ("delivered", 3, "204")
    ]


def test_even_with_attempts_that_hang() -> None:
    """Ten seconds each, and the longest waits between: the second retry begins within thirty."""
    from api.outgoing import ATTEMPT_SECONDS

    longest = [telling.wait_ms(tries, telling.RETRIES_MS[tries - 1]) for tries in (1, 2)]
    assert 2 * ATTEMPT_SECONDS * 1000 + sum(longest) <= 30_000


def test_waits_are_drawn_from_nothing_to_the_longest_and_grow() -> None:
    """Full jitter; what the endpoint asks for is honoured, within reason."""
    for tries, longest in enumerate(telling.RETRIES_MS, 1):
        assert {telling.wait_ms(tries, drawn) for drawn in (0, longest + 1)} == {0}
        assert telling.wait_ms(tries, longest) == longest
    assert list(telling.RETRIES_MS) == sorted(telling.RETRIES_MS)
    assert telling.wait_ms(99, telling.RETRIES_MS[-1]) == telling.RETRIES_MS[-1]
    assert telling.wait_ms(1, 0, 60_000) == 60_000
    assert telling.wait_ms(1, 0, 10**12) == telling.LONGEST_ASKED_MS


async def test_after_three_days_it_is_given_up_and_the_endpoint_switched_off(
    world: World, ear: Hearing
) -> None:
    """It says so; what happens later is not even written; switched on again, it hears the next one."""
    ear.post.script[URL] = [Reply(503)]
    made = await ear.listen(world.caller, "subscriber.joined", "subscriber.left")
    await world.subscribe()
    await ear.settle()
    await ear.later(most=DAYS_3 - 3600, step=600)
    [before] = await ear.endpoints.all(world.caller)
    assert (before.disabled_at, before.failing_since) == (None, ear.clock.now() - (DAYS_3 - 3600) * 1000)
    await ear.later(most=3600, step=600)
    [after] = await ear.endpoints.all(world.caller)
    assert after.disabled_why == "failing"
    assert 10 <= len(ear.post.heard) <= 20
    assert [(event.state, event.result) for event in await all_notices(ear)] == [("failed", "503")]
    told = [event for event in world.events if isinstance(event, EndpointChanged)]
    assert [event.state for event in told] == ["failing", "disabled"]
    await world.taps.gone(world.update())
    assert len(await all_notices(ear)) == 1
    [event] = await all_notices(ear)
    with pytest.raises(WebhookDisabled):
        await ear.endpoints.redeliver(world.caller, event.id)
    ear.post.script[URL] = [OK]
    on = await ear.endpoints.enable(world.caller, made.endpoint.id)
    assert (on.disabled_at, on.failing_since) == (None, None)
    await ear.endpoints.redeliver(world.caller, event.id)
    await ear.settle()
    assert [(event.state, event.result) for event in await all_notices(ear)] == [("delivered", "204")]


async def test_what_arrives_in_between_ends_the_failing(world: World, ear: Hearing) -> None:
    """Three days are counted from the first failure since something last arrived."""
    ear.post.script[URL] = [Reply(500), OK, Reply(500)]
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.later(most=10)
    assert [one.failing_since for one in await ear.endpoints.all(world.caller)] == [None]
    ear.clock.advance(ms=TRIED_FOR_MS)
    await world.subscribe(BOB)
    await ear.settle()
    [endpoint] = await ear.endpoints.all(world.caller)
    assert (endpoint.failing_since, endpoint.disabled_at) == (ear.clock.now(), None)
    told = [event.state for event in world.events if isinstance(event, EndpointChanged)]
    assert told == ["failing", "ok", "failing"]


async def test_gone_is_switched_off_at_once(world: World, ear: Hearing) -> None:
    """410: nothing is tried again."""
    ear.post.script[URL] = [Reply(410)]
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.later(most=60)
    assert len(ear.post.heard) == 1
    assert [one.disabled_why for one in await ear.endpoints.all(world.caller)] == ["gone"]


async def test_a_redirect_is_a_failure(world: World, ear: Hearing) -> None:
    """As everything else that is no 2xx."""
    ear.post.script[URL] = [Reply(302), Reply(404), OK]
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.later(most=30)
    assert len(ear.post.heard) == 3


async def test_one_that_hangs_holds_up_no_other(world: World, ear: Hearing) -> None:
    """And has a bound on the calls that hang."""
    ear.post.hold[URL] = asyncio.Event()
    await ear.listen(world.caller)
    await ear.listen(world.caller, "otp.wrong_code", url=OTHER)
    sub = await world.subscribe()
    for _ in range(30):
        await world.service.send(world.caller, sub, replace(LOGIN, max_attempts=1))
        await world.verify(sub, wrong(world.telegram.codes[-1]))
        world.clock.advance(minutes=3)
    await ear.settle()
    assert len(ear.post.types(OTHER)) == 30
    assert len(ear.post.types()) <= 2 * AT_ONCE
    assert ear.post.most_open <= 2 * AT_ONCE
    ear.post.hold.pop(URL).set()


# ------------------------------------------------------------------ twice, and not at all


async def test_a_crash_between_telling_and_noting_tells_it_again(world: World) -> None:
    """Under the same id, when the lease is over, and not before."""
    dying = hearing(world, store=(store := FailingStore(world.store)))
    await dying.listen(world.caller, "subscriber.joined")
    dying.post.hold[URL] = asyncio.Event()
    dying.sender.start()
    await world.subscribe()
    await dying.settle()
    store.times = 10**6
    dying.post.hold.pop(URL).set()
    for _ in range(100):
        await asyncio.sleep(0)
    await dying.sender.close(0)
    heir = hearing(world, dying.post, seed="heir")
    heir.sender.start()
    await heir.settle()
    assert len(dying.post.heard) == 1
    await heir.later(most=LEASE_MS / 1000)
    assert len(dying.post.heard) == 2
    assert len({one.id for one in dying.post.heard}) == 1
    await heir.sender.close(0)


async def test_two_replicas_tell_each_event_once(world: World) -> None:
    """Whoever takes it has it."""
    post = FakePost()
    senders = [hearing(world, post, seed=str(number)) for number in range(2)]
    await senders[0].listen(world.caller)
    for one in senders:
        one.sender.start()
    sub = await world.subscribe()
    for _ in range(20):
        await world.verify(sub, "0" * 6)
        await world.service.send(world.caller, sub, LOGIN)
        for one in senders:
            await one.settle()
        world.clock.advance(minutes=3)  # beyond any lease
    assert len(post.heard) == len({one.id for one in post.heard}) == len(await all_notices(senders[0])) > 40
    for one in senders:
        await one.sender.close(0)


async def test_whose_lease_ran_out_notes_nothing(world: World) -> None:
    """What became of it is told by whoever took it after them."""
    ear = hearing(world)
    made = await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()

    async def take(tx: Tx) -> list[StoredNotice]:
        return (await tx.take_notices(made.endpoint.id, 10, LEASE_MS))[1]

    [late] = await world.store.write(take)
    assert await world.store.write(take) == []
    world.clock.advance(ms=LEASE_MS)
    [heir] = await world.store.write(take)
    assert (late.id, late.tries, heir.tries) == (heir.id, 1, 2)
    noted = [
        await world.store.write(lambda tx, one=one: tx.note_notice(one, "delivered", tx.now, "200"))  # type: ignore[misc]
        for one in (late, heir)
    ]
    assert noted == [False, True]


async def test_what_nobody_was_woken_for_is_found(world: World) -> None:
    """Written by a process that died before it could tell it."""
    mute = hearing(world)
    await mute.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    late = hearing(world, seed="late")
    late.sender.start()
    await late.settle()
    assert late.post.types() == ["subscriber.joined"]
    await late.sender.close(0)


async def test_what_cannot_be_noted_is_noted_later(world: World) -> None:
    """The store fails for a while after the endpoint answered: it is not told twice."""
    ear = hearing(world, store=(store := FailingStore(world.store)))
    await ear.listen(world.caller, "subscriber.joined")
    ear.post.hold[URL] = asyncio.Event()
    ear.sender.start()
    await world.subscribe()
    await ear.settle()
    store.times = 2
    ear.post.hold.pop(URL).set()
    await asyncio.sleep(0)
    for _ in range(5):
        ear.clock.advance(seconds=1)
        for _ in range(50):
            await asyncio.sleep(0)
    await ear.settle()
    assert [event.state for event in await all_notices(ear)] == ["delivered"]
    assert len(ear.post.heard) == 1
    await ear.sender.close(0)


async def test_a_deleted_endpoint_is_told_nothing_more(world: World, ear: Hearing) -> None:
    """Not even what it was still to be told, and its rows go."""
    ear.post.script[URL] = [Reply(500)]
    made = await ear.listen(world.caller)
    sub = await world.subscribe()
    await ear.settle()
    told = len(ear.post.heard)
    await ear.endpoints.delete(world.caller, made.endpoint.id)
    await world.verify(sub, "0" * 6)
    await ear.later(most=120)
    assert len(ear.post.heard) == told
    assert await ear.endpoints.all(world.caller) == []
    await purged(ear)
    again = await ear.listen(world.caller, "subscriber.left")
    assert again.endpoint.id != made.endpoint.id
    with pytest.raises(WebhookNotFound):
        await ear.endpoints.delete(world.caller, made.endpoint.id)


async def test_deleted_while_it_is_being_told(world: World, ear: Hearing) -> None:
    """What comes of that is nobody's business any more."""
    ear.post.hold[URL] = asyncio.Event()
    made = await ear.listen(world.caller)
    await world.subscribe()
    await ear.settle()
    await ear.endpoints.delete(world.caller, made.endpoint.id)
    ear.clock.advance(minutes=2)
    await purged(ear)
    ear.post.script[URL] = [Reply(410)]
    ear.post.hold.pop(URL).set()
    await ear.settle()
    assert await all_notices(ear) == []


async def test_a_deleted_project_takes_its_events_along(world: World, ear: Hearing) -> None:
    """At once; another project's are told."""
    ear.post.script[URL] = [Reply(500)]
    await ear.listen(world.caller)
    await ear.listen(world.other, url=OTHER)
    await world.subscribe()
    await ear.settle()
    told = len(ear.post.types())
    await world.projects.delete(world.caller.project.id)
    await world.subscribe(caller=world.other)
    await ear.later(most=120)
    assert len(ear.post.types()) == told
    assert len(ear.post.types(OTHER)) == 2
    assert {event.endpoint_id for event in await all_notices(ear)} == {
        one.id for one in await ear.endpoints.all(world.other)
    }


async def test_a_paused_projects_events_wait(world: World, ear: Hearing) -> None:
    """They are told when it goes on."""
    await ear.listen(world.caller, "subscriber.left")
    await world.subscribe()
    await world.projects.set_enabled(world.caller.project.id, False)
    await world.taps.gone(world.update())
    await ear.later(most=60)
    assert ear.post.heard == []
    await world.projects.set_enabled(world.caller.project.id, True)
    await ear.later(most=10)
    assert ear.post.types() == ["subscriber.left"]


# ------------------------------------------------------------------ the calls about them


async def test_five_at_most_also_at_once(world: World, ear: Hearing) -> None:
    """In each mode; a deleted one makes room."""
    tries = [ear.endpoints.create(world.caller, f"{URL}/{number}") for number in range(8)]
    made = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, TooManyWebhooks) for one in made) == 8 - MOST_ENDPOINTS
    found = await ear.endpoints.all(world.caller)
    assert len(found) == MOST_ENDPOINTS
    await ear.endpoints.create(replace(world.caller, mode=Mode.TEST), URL)
    await ear.endpoints.create(world.other, URL)
    await ear.endpoints.delete(world.caller, found[0].id)
    await ear.endpoints.create(world.caller, URL)


@pytest.mark.parametrize("who", ["other project", "other mode"])
async def test_anothers_does_not_exist(world: World, ear: Hearing, who: str) -> None:
    """Neither the endpoint nor its events."""
    stranger = world.other if who == "other project" else Caller(world.caller.project, Mode.TEST)
    made = await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.settle()
    [event] = await all_notices(ear)
    assert await ear.endpoints.all(stranger) == []
    assert await ear.endpoints.events(stranger) == []
    for call in (ear.endpoints.delete, ear.endpoints.rotate, ear.endpoints.enable):
        with pytest.raises(WebhookNotFound):
            await call(stranger, made.endpoint.id)
    with pytest.raises(EventNotFound):
        await ear.endpoints.redeliver(stranger, event.id)
    with pytest.raises(WebhookNotFound):
        await ear.endpoints.events(stranger, endpoint_id=made.endpoint.id)


async def test_an_event_is_told_once_more_when_asked_for(world: World, ear: Hearing) -> None:
    """With the same id and body, to one or to all that were to hear of it."""
    first = await ear.listen(world.caller, "subscriber.joined")
    await ear.listen(world.caller, "subscriber.joined", url=OTHER)
    await world.subscribe()
    await ear.settle()
    event = (await all_notices(ear))[0]
    ear.clock.advance(minutes=5)
    assert await ear.endpoints.redeliver(world.caller, event.id, first.endpoint.id) == 1
    await ear.settle()
    assert (len(ear.post.types()), len(ear.post.types(OTHER))) == (2, 1)
    assert await ear.endpoints.redeliver_any(event.id) == 2
    await ear.settle()
    assert (len(ear.post.types()), len(ear.post.types(OTHER))) == (3, 2)
    assert len({(one.id, one.body) for one in ear.post.heard}) == 1
    assert len({one.headers["webhook-timestamp"] for one in ear.post.heard}) == 2


async def test_events_come_in_pages(world: World, ear: Hearing) -> None:
    """Newest first; the rows of one event are never torn apart."""
    await ear.listen(world.caller, "otp.wrong_code")
    await ear.listen(world.caller, "otp.wrong_code", url=OTHER)
    ear.post.script[OTHER] = [Reply(410)]
    sub = await world.subscribe(terms=replace(LOGIN, max_attempts=10))
    for _ in range(5):
        await world.verify(sub, wrong(world.telegram.codes[-1]))
        world.clock.advance(ms=1)
    await ear.settle()
    seen: list[StoredNotice] = []
    before = None
    while page := await ear.endpoints.events(world.caller, before=before, limit=2):
        assert len({one.id for one in page}) <= 2
        seen += page
        before = page[-1].id
    assert seen == await all_notices(ear)
    assert [one.id for one in seen] == sorted((one.id for one in seen), reverse=True)
    failed = await ear.endpoints.events(world.caller, state="failed")
    assert {one.result for one in failed} == {"410"}
    assert failed == [one for one in seen if one.state == "failed"]


async def test_events_are_forgotten_a_week_after_they_were_given_up(world: World, ear: Hearing) -> None:
    """Whatever became of them."""
    await ear.listen(world.caller, "subscriber.joined")
    await world.subscribe()
    await ear.settle()
    ear.clock.advance(ms=TRIED_FOR_MS + KEPT_MS - 1)
    await purged(ear)
    [event] = await all_notices(ear)
    ear.clock.advance(ms=1)
    await purged(ear)
    assert await all_notices(ear) == []
    with pytest.raises(EventNotFound):
        await ear.endpoints.redeliver(world.caller, event.id)


def test_every_type_can_be_asked_for_and_no_other_is_told() -> None:
    """The API's list is the rules' list."""
    from api.webhook_schemas import WebhookBody

    assert WebhookBody.model_json_schema()["properties"]["events"]["items"]["enum"] == list(TYPES)
    assert len(set(TYPES)) == len(TYPES) == 13
    assert RequestStatus.SENT not in telling.__dict__


async def test_nothing_shows_a_secret_or_an_address(world: World, ear: Hearing) -> None:
    """In what objects say of themselves, or in the store."""
    made = await ear.listen(world.caller)
    assert made.secret not in repr(made)
    assert made.endpoint.url not in repr(made.endpoint)
    stored = made.endpoint.secret.blob
    assert telling.shown_secret(stored[12:44]) != made.secret
    assert str(ANN.user_id) not in repr(ear.post.heard)
