"""What a site takes back: requests that it cancels, codes that it revokes; and when what happened to a request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from otp.errors import RequestNotFound, RequestNotPending, SendInProgress, SubscriberNotFound
from otp.events import MessageOver, RequestFinished
from otp.housekeeping import BEING_SENT_MS, ClosingQuestion, closing
from otp.model import DeliveryState, Job, RequestStatus
from otp.policy import ORPHAN_MS, REQUEST_LIFE_MS
from otp.ports import Accepted, NotSent, Unknown
from otp.service import Reason
from tests.fakes import START, FakeClock
from tests.running import Running, running
from tests.test_http import is_problem
from tests.world import ANN, LOGIN, World


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made


async def status(world: World, request_id: str) -> RequestStatus:
    """What the site is told of a request."""
    return (await world.service.status(world.caller, request_id)).status


# ------------------------------------------------------------------ cancelling


async def test_a_pending_request_is_cancelled_once(world: World) -> None:
    """Twice is as once; whoever consents afterwards gets no code."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    for _ in range(2):
        await world.service.cancel(world.caller, request_id)
    assert await status(world, request_id) is RequestStatus.CANCELLED
    assert [one.status for one in world.events if isinstance(one, RequestFinished)] == [
        RequestStatus.CANCELLED
    ]
    assert len([one for one in world.events if isinstance(one, MessageOver)]) == 1
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    assert world.telegram.codes == []


async def test_what_is_over_can_not_be_cancelled(world: World, clock: FakeClock) -> None:
    """Sent stays sent, expired stays expired, and of another project's there is none."""
    await world.subscribe()
    sent, late = await world.request(), await world.request()
    await world.taps.open(world.update(), sent)
    await world.settle()
    clock.advance(ms=REQUEST_LIFE_MS)
    for request_id in (sent, late):
        with pytest.raises(RequestNotPending):
            await world.service.cancel(world.caller, request_id)
    assert await status(world, sent) is RequestStatus.SENT
    assert await status(world, late) is RequestStatus.EXPIRED
    for caller, request_id in ((world.other, await world.request()), (world.caller, "none")):
        with pytest.raises(RequestNotFound):
            await world.service.cancel(caller, request_id)


async def test_what_is_at_the_messenger_can_not_be_taken_back(world: World) -> None:
    """Then the outcome counts."""
    request_id = await world.request()
    world.telegram.hold = asyncio.Event()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    with pytest.raises(SendInProgress) as told:
        await world.service.cancel(world.caller, request_id)
    assert told.value.retry_after == 1
    world.telegram.hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.SENT


async def test_a_claim_is_withdrawn_with_its_request(world: World, clock: FakeClock) -> None:
    """What waits for another attempt is not attempted."""
    request_id = await world.request()
    world.telegram.script = [NotSent(4_000), Accepted("never")]
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.service.cancel(world.caller, request_id)
    clock.advance(seconds=5)
    await world.settle()
    assert [one.state for one in await world.deliveries(request_id)] == [DeliveryState.REFUSED]
    assert len(world.telegram.parcels) == 1


async def test_a_code_that_may_have_arrived_dies_with_its_request(world: World) -> None:
    """Nobody knows whether it is on the screen: it works no more."""
    request_id = await world.request()
    world.telegram.script = [Unknown()]
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    await world.service.cancel(world.caller, request_id)
    [delivery] = await world.deliveries(request_id)
    told = await world.verify(delivery.subscriber_id, world.telegram.codes[0])
    assert told.reason is Reason.NO_ACTIVE_CODE


async def test_an_attempt_of_a_dead_process_does_not_keep_a_request(world: World, clock: FakeClock) -> None:
    """After twenty seconds its outcome is unknown."""
    request_id = await world.request()
    world.telegram.hold = asyncio.Event()
    await world.taps.open(world.update(), request_id)
    await world.taps.consent(world.update(), request_id)
    await world.settle()
    clock.advance(ms=ORPHAN_MS)
    await world.service.cancel(world.caller, request_id)
    assert await status(world, request_id) is RequestStatus.CANCELLED
    world.telegram.hold.set()
    await world.settle()
    assert await status(world, request_id) is RequestStatus.CANCELLED


async def test_a_question_that_is_being_sent_is_closed_later(world: World, clock: FakeClock) -> None:
    """It is looked at again until it has its messenger's id, or will never have one."""
    request_id = await world.request()
    await world.taps.open(world.update(), request_id)
    await world.service.cancel(world.caller, request_id)
    [over] = [one for one in world.events if isinstance(one, MessageOver)]
    job = Job("close", over.message_id, START, 1, "me")
    assert await world.store.read(lambda tx: closing(tx, job)) == START + 1_000
    clock.advance(ms=BEING_SENT_MS)
    assert await world.store.read(lambda tx: closing(tx, job)) is None


@pytest.mark.parametrize("language,words", [("en", "The site cancelled"), ("ru", "Сайт отменил")])
async def test_the_question_says_that_it_was_cancelled(run: Running, language: str, words: str) -> None:
    """In the words of whoever was asked, though they never subscribed; its buttons are gone."""
    person, request = run.someone(language=language), await run.request()
    await person.open(request["telegram_link"])
    path = f"/v1/otp/request/{request['request_id']}/cancel"
    answers = [await run.call("POST", path), await run.call("POST", path, {})]
    assert [(one.status, one.json) for one in answers] == [(200, {"status": "cancelled"})] * 2
    await run.quiet()
    assert words in person.last
    assert person.labels == []
    assert await run.status(request) == {"status": "cancelled"}


async def test_cancelling_over_http(run: Running) -> None:
    """The body is nothing or an empty object; what is over is a conflict, what is not there is not found."""
    person = run.someone()
    await run.subscriber(person)
    request = await run.request()
    path = f"/v1/otp/request/{request['request_id']}/cancel"
    assert is_problem(await run.call("POST", path, {"why": 1}), 400, "validation_failed")
    await person.open(request["telegram_link"])
    assert is_problem(await run.call("POST", path), 409, "request_not_pending")
    assert is_problem(await run.call("POST", "/v1/otp/request/x/cancel"), 404, "request_not_found")
    assert is_problem(await run.call("GET", path), 405, "method_not_allowed")


# ------------------------------------------------------------------ revoking


async def test_a_live_code_is_revoked_once(world: World) -> None:
    """Of its purpose, of one's own subscriber."""
    sub = await world.subscribe()
    assert await world.service.revoke(world.caller, sub, "payment") is False
    with pytest.raises(SubscriberNotFound):
        await world.service.revoke(world.other, sub, "login")
    assert await world.service.revoke(world.caller, sub, "login") is True
    assert await world.service.revoke(world.caller, sub, "login") is False
    assert (await world.verify(sub, world.telegram.codes[-1])).reason is Reason.NO_ACTIVE_CODE


async def test_a_code_on_its_way_can_not_be_revoked(world: World) -> None:
    """It would live a moment later: ask again."""
    sub = await world.subscribe()
    world.telegram.hold = asyncio.Event()
    sending = asyncio.ensure_future(world.service.send(world.caller, sub, LOGIN))
    await world.settle()
    with pytest.raises(SendInProgress):
        await world.service.revoke(world.caller, sub, "login")
    world.telegram.hold.set()
    await sending
    assert await world.service.revoke(world.caller, sub, "login") is True


async def test_the_message_of_a_revoked_code_says_so(run: Running) -> None:
    """The digits are gone."""
    person = run.someone()
    sub = await run.subscriber(person)
    assert person.codes
    answer = await run.call("POST", "/v1/otp/revoke", {"subscriber_id": sub})
    assert (answer.status, answer.json) == (200, {"revoked": True})
    await run.quiet()
    assert person.codes == []
    assert "no longer works" in person.last
    nobody = {"subscriber_id": "00000000-0000-4000-8000-000000000000"}
    assert is_problem(await run.call("POST", "/v1/otp/revoke", nobody), 404, "subscriber_not_found")


# ------------------------------------------------------------------ when


async def test_a_status_tells_when(run: Running) -> None:
    """Made, ends, sent, verified: each once it is known, and in UTC."""
    person, request = run.someone(), await run.request()
    path = f"/v1/otp/request/{request['request_id']}/status"
    made = {"created_at": "2027-01-15T08:00:00.000Z", "expires_at": "2027-01-15T08:15:00.000Z"}
    assert (await run.call("GET", path)).json == {"status": "pending", **made}
    await person.open(request["telegram_link"])
    run.clock.advance(ms=1_500)
    await person.press("Get the code")
    sent = (await run.call("GET", path)).json
    assert sent == {
        "status": "sent",
        "subscriber_id": sent["subscriber_id"],
        "channel": "telegram",
        **made,
        "sent_at": "2027-01-15T08:00:01.500Z",
    }
    run.clock.advance(seconds=10)
    assert await run.verify(sent["subscriber_id"], person.codes[0]) == {"verified": True}
    run.clock.advance(seconds=10)
    assert (await run.call("GET", path)).json == {
        **sent,
        "verified": True,
        "verified_at": "2027-01-15T08:00:11.500Z",
    }


@pytest.mark.parametrize("named", [True, False])
async def test_a_request_is_verified_by_its_own_code_only(world: World, named: bool) -> None:
    """Many at once, with and without the request's id: the right code of each, and no wrong one."""
    requests = [await world.request() for _ in range(2)]
    await world.subscribe()
    for request_id in requests:
        await world.taps.open(world.update(), request_id)
        await world.settle()
    state = await world.service.status(world.caller, requests[1])
    assert state.subscriber_id is not None
    named_id = requests[1] if named else None
    code = world.telegram.codes[-1]
    guesses = [code, "000000" if code != "000000" else "111111"]
    told = await asyncio.gather(
        *(world.verify(state.subscriber_id, one, request_id=named_id) for one in guesses)
    )
    assert sorted(one.reason is None for one in told) == [False, True]
    assert (await world.service.status(world.caller, requests[0])).verified_at is None
    assert (await world.service.status(world.caller, requests[1])).verified_at == START


async def test_a_question_is_closed_in_the_language_it_was_asked_in(world: World) -> None:
    """Its person may be nobody whom we know."""
    request_id = await world.request()
    asked = await world.taps.open(world.update(ANN, "ru"), request_id)
    note = asked.message  # type: ignore[union-attr]
    await world.store.write(lambda tx: tx.add_message(note, "m7"))
    await world.service.cancel(world.caller, request_id)
    job = Job("close", note.id, START, 1, "me")
    found = await world.store.read(lambda tx: closing(tx, job))
    assert isinstance(found, ClosingQuestion)
    assert (found.messenger_id, found.language, found.project) == ("m7", "ru", world.caller.project)
