"""Why did somebody get no code: what an operator is told of a request, for each way that it can go."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest

from api.admin import Refused, perform
from api.requests import perform_requests
from otp.audit import acting
from otp.housekeeping import expire_requests
from otp.model import Channel, Mode, Person, Refusal, RequestStatus, SentMessage
from otp.policy import REQUEST_LIFE_MS
from otp.ports import NotSent, Tx, Unknown
from otp.ports import Refused as Denied
from tests.fakes import FakeClock
from tests.test_printing import printed
from tests.world import ANN, BOB, CAT, LOGIN, World, wrong

Way = Callable[[World], Coroutine[Any, Any, str]]
WAYS: dict[str, tuple[Way, str]] = {}
"""By its name how a request goes, and what is told of it in a few words."""


def way(told: str) -> Callable[[Way], Way]:
    """One of them."""

    def noted(made: Way) -> Way:
        WAYS[made.__name__] = made, told
        return made

    return noted


async def opened(world: World, person: Person = ANN, *, taken: bool = True, request_id: str = "") -> str:
    """A request whose link was opened three seconds after it was made, and whose message the messenger took or not."""
    request_id = request_id or await world.request()
    world.clock.advance(seconds=3)
    told = await world.taps.open(world.update(person), request_id)
    note = getattr(told, "message", None)
    if taken and isinstance(note, SentMessage):
        await world.store.write(lambda tx: tx.add_message(note, "m1"))
    await world.settle()
    return request_id


async def consented(world: World, person: Person = ANN) -> str:
    """And whose person consented two seconds later."""
    request_id = await opened(world, person)
    world.clock.advance(seconds=2)
    await world.taps.consent(world.update(person), request_id)
    await world.settle()
    return request_id


async def subscriber(world: World, person: Person = ANN) -> str:
    """The id of somebody who consented."""
    found = await world.store.read(lambda tx: tx.subscriber_of(world.caller.project.id, Mode.LIVE, person))
    assert found is not None
    return found.id


def later(world: World) -> None:
    """All that could run out has run out, and all is still kept."""
    world.clock.advance(minutes=20)


# ------------------------------------------------------------------ the ways


@way("not opened yet")
async def fresh(world: World) -> str:
    """Just made."""
    return await world.request()


@way("nobody opened the link")
async def never_opened(world: World) -> str:
    """And over."""
    request_id = await world.request()
    later(world)
    return request_id


@way("asked, no answer")
async def silent(world: World) -> str:
    """The person saw the question."""
    request_id = await opened(world)
    later(world)
    return request_id


@way("question did not arrive")
async def unseen(world: World) -> str:
    """The person saw nothing."""
    request_id = await opened(world, taken=False)
    later(world)
    return request_id


@way("opened in the wrong messenger")
async def foreign(world: World) -> str:
    """A link for MAX, typed into Telegram."""
    return await opened(world, ANN, request_id=await world.request(channel=Channel.MAX))


@way("wants nothing from it")
async def unwanted(world: World) -> str:
    """The person had said so."""
    await world.store.write(lambda tx: tx.refuse(ANN, world.caller.project.id, Mode.LIVE))
    return await opened(world)


@way("project is paused")
async def paused(world: World) -> str:
    """By an operator, before the link was opened."""
    request_id = await world.request()
    await world.projects.set_enabled(world.caller.project.id, False)
    return await opened(world, request_id=request_id)


@way("verified")
async def verified(world: World) -> str:
    """As it should be."""
    request_id = await consented(world)
    world.clock.advance(seconds=64)
    await world.verify(await subscriber(world), world.telegram.codes[-1])
    return request_id


@way("code delivered, not entered yet")
async def alive(world: World) -> str:
    """With a wrong guess."""
    request_id = await consented(world)
    await world.verify(await subscriber(world), wrong(world.telegram.codes[-1]))
    return request_id


@way("delivered, never entered right")
async def too_late(world: World) -> str:
    """The code ran out."""
    request_id = await consented(world)
    later(world)
    return request_id


@way("all guesses were wrong")
async def used_up(world: World) -> str:
    """Five of five."""
    request_id = await consented(world)
    for _ in range(LOGIN.max_attempts):
        await world.verify(await subscriber(world), wrong(world.telegram.codes[-1]))
    return request_id


@way("replaced by a newer code")
async def superseded(world: World) -> str:
    """By a send of the site's."""
    request_id = await consented(world)
    world.clock.advance(seconds=30)
    await world.service.send(world.caller, await subscriber(world), LOGIN)
    return request_id


@way("delivered, never entered right")
async def too_late_for_another(world: World) -> str:
    """It had run out before the next one came."""
    request_id = await consented(world)
    later(world)
    await world.service.send(world.caller, await subscriber(world), LOGIN)
    return request_id


@way("all guesses were wrong")
async def used_up_before_another(world: World) -> str:
    """What came later is no reason."""
    request_id = await used_up(world)
    await world.service.send(world.caller, await subscriber(world), LOGIN)
    return request_id


@way("reported by the person")
async def reported(world: World) -> str:
    """Under the code."""
    request_id = await consented(world)
    await world.protection.not_me(world.update(), world.telegram.parcels[-1].delivery.code_id)
    return request_id


@way("left after the code")
async def left(world: World) -> str:
    """Or blocked the bot."""
    request_id = await consented(world)
    world.clock.advance(seconds=5)
    await world.taps.gone(world.update())
    return request_id


@way("code taken back")
async def revoked(world: World) -> str:
    """By the site."""
    request_id = await consented(world)
    await world.service.revoke(world.caller, await subscriber(world), "login")
    return request_id


@way("ended by an operator")
async def revoked_by_operator(world: World) -> str:
    """As the trail has it."""
    request_id = await consented(world)
    with acting("ann"):
        await world.projects.set_enabled(world.caller.project.id, False)
        await world.projects.set_enabled(world.caller.project.id, True)
    return request_id


@way("taken back before it was sent")
async def paused_before(world: World) -> str:
    """While the messenger was not reached."""
    request_id = await trying(world)
    await world.projects.set_enabled(world.caller.project.id, False)
    world.clock.advance(seconds=60)
    await world.settle()
    await world.projects.set_enabled(world.caller.project.id, True)
    return request_id


@way("blocked the bot")
async def gone(world: World) -> str:
    """Between consent and code."""
    world.telegram.script = [Denied(Refusal.GONE)]
    return await consented(world)


@way("Telegram refused it")
async def rejected(world: World) -> str:
    """A revoked token, for example."""
    world.telegram.script = [Denied(Refusal.REJECTED)]
    return await consented(world)


@way("Telegram was not reached")
async def unreached(world: World) -> str:
    """As long as the request was open."""
    world.telegram.script = [NotSent(REQUEST_LIFE_MS)]
    return await consented(world)


@way("not reached yet, tried again")
async def trying(world: World) -> str:
    """The next attempt waits."""
    world.telegram.script = [NotSent(60_000), NotSent(60_000)]
    return await consented(world)


@way("code may be there, not entered yet")
async def unknown(world: World) -> str:
    """No answer."""
    world.telegram.script = [Unknown()]
    return await consented(world)


@way("may not have arrived, ran out")
async def unknown_for_good(world: World) -> str:
    """And nobody entered it."""
    request_id = await unknown(world)
    later(world)
    return request_id


@way("cancelled by the person")
async def cancelled(world: World) -> str:
    """With the button."""
    request_id = await opened(world)
    await world.taps.cancel(world.update(), request_id)
    return request_id


@way("cancelled by the site")
async def cancelled_by_site(world: World) -> str:
    """After the question was asked."""
    request_id = await opened(world)
    await world.service.cancel(world.caller, request_id)
    return request_id


@way("locked")
async def locked(world: World) -> str:
    """By fifty wrong codes of before."""
    sub = await world.subscribe()
    await world.store.write(lambda tx: tx.lock(sub))
    return await opened(world)


@way("limit reached")
async def limited(world: World) -> str:
    """Five codes in ten minutes."""
    for _ in range(5):
        await world.subscribe()
    return await opened(world)


@way("left before it was sent")
async def left_before(world: World) -> str:
    """While the messenger was not reached."""
    request_id = await trying(world)
    await world.taps.gone(world.update())
    return request_id


@pytest.mark.parametrize("name", WAYS)
async def test_each_way_is_told_for_what_it_is(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a few words and in a sentence; in an order that time has; without code, user id or number of the person."""
    go, short = WAYS[name]
    request_id = await go(world)
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    assert told["short"] == short
    assert re.fullmatch(r"(There is no code: )?[A-Z].*[^.]\.", told["why"]), told["why"]
    assert "todo" in told or short in ("verified", "being sent")
    times = [one["at"] for one in told["timeline"]]
    assert times == sorted(times)
    state = await world.service.status(world.caller, request_id) if name != "paused" else None
    assert state is None or told["status"] == state.status
    text = json.dumps(told)
    for secret in (*world.telegram.codes, *(str(one.user_id) for one in (ANN, BOB, CAT))):
        assert secret not in text
    lines = printed(capsys, f"requests show {request_id}", told)
    assert f"Why: {told['why'][:60]}" in "\n".join(lines)


# ------------------------------------------------------------------ in full


async def test_the_way_of_a_code_that_was_entered(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Every step with its time and what lay between."""
    request_id = await verified(world)
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    assert [one["what"] for one in told["timeline"]] == [
        "created",
        "opened",
        "asked",
        "claimed",
        "sent",
        "verified",
    ]
    assert printed(capsys, f"requests show {request_id}", told) == [
        f"request {request_id}  sent  purpose login",
        f"project {world.caller.project.id}  Shop",
        f"subscriber {await subscriber(world)}",
        "",
        "2027-01-15 (UTC)",
        "  08:00:00               Shop asked for a code, for any messenger",
        "  08:00:03       +3.0 s  the link was opened (or its id typed) in Telegram",
        "  08:00:03               the person was asked for consent",
        "  08:00:05       +2.0 s  the person consented",
        "  08:00:05               Telegram took the code",
        "  08:01:09    +1 m 04 s  the right code was entered",
        "",
        "Why: The right code was entered, 1 m 9 s after it was asked for.",
    ]


async def test_another_person_is_told_apart(world: World) -> None:
    """Somebody to whom the link was passed on."""
    request_id = await opened(world)
    await opened(world, BOB, request_id=request_id)
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    asked = [one["text"] for one in told["timeline"] if one["what"] == "asked"]
    assert asked == ["the person was asked for consent", "another person was asked for consent"]


async def test_what_was_opened_before_times_were_kept(world: World) -> None:
    """Nothing is made up."""
    request_id = await opened(world)

    async def forget(tx: Any) -> None:
        await tx.rows("UPDATE requests SET opened_at = NULL, opened_in = NULL WHERE id = $1", request_id)

    await world.store.write(forget)
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    assert [one["what"] for one in told["timeline"]] == ["created", "asked"]


async def test_a_code_that_was_sent_again_is_part_of_its_request(world: World) -> None:
    """From the button under the code, which names no request."""
    request_id = await consented(world)
    world.clock.advance(seconds=40)
    await world.protection.repeat(world.update(), world.telegram.parcels[-1].delivery.code_id)
    await world.settle()
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    assert [one["what"] for one in told["timeline"]][-2:] == ["claimed", "sent"]
    assert told["short"] == "code delivered, not entered yet"


async def test_attempts_are_told(world: World) -> None:
    """How many it took."""
    world.telegram.script = [NotSent(2_000), NotSent(2_000)]
    request_id = await consented(world)
    for _ in range(2):
        world.clock.advance(seconds=3)
        await world.settle()
    told = await perform_requests(world.store, {"verb": "show", "id": request_id})
    assert "attempt 3 began; those before certainly did not arrive" in [
        one["text"] for one in told["timeline"]
    ]


@pytest.mark.parametrize("around", ["{}", "otp_{}", "https://t.me/a_bot?start=otp_{}"])
async def test_a_request_is_named_by_its_id_or_its_link(world: World, around: str) -> None:
    """Whatever the operator has at hand."""
    request_id = await world.request()
    told = await perform_requests(world.store, {"verb": "show", "id": around.format(request_id)})
    assert told["request_id"] == request_id


# ------------------------------------------------------------------ lists


async def listed(world: World, **command: Any) -> list[tuple[str, str]]:
    """The ids of requests and their status, as they are listed."""
    found = await perform_requests(world.store, {"verb": "list", **command})
    return [(one["request_id"], one["status"]) for one in found]


async def test_requests_are_listed_newest_first(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a project or of all, of a time, of a status; what ran out is told so before it is written down."""
    first = await verified(world)
    second = await world.request(terms=replace(LOGIN, purpose="pay"))
    world.clock.advance(minutes=16)
    third = await world.request(world.other)
    assert await listed(world) == [(third, "pending"), (second, "expired"), (first, "sent")]
    assert await listed(world, project=world.caller.project.id) == [(second, "expired"), (first, "sent")]
    assert await listed(world, since=60_000) == [(third, "pending")]
    for status, ids in {"pending": [third], "expired": [second], "sent": [first], "cancelled": []}.items():
        assert await listed(world, status=status) == [(one, status) for one in ids]
    await world.store.write(lambda tx: tx.finish(second, RequestStatus.EXPIRED))
    assert await listed(world, status="expired") == [(second, "expired")]
    assert await listed(world, limit=1) == [(third, "pending")]
    told = await perform_requests(world.store, {"verb": "list"})
    assert printed(capsys, "requests list", told) == [
        f"project {world.other.project.id}  Bank",
        f"  01-15 08:17:09  {third}  pending  -  not opened yet",
        f"project {world.caller.project.id}  Shop",
        f"  01-15 08:01:09  {second}  expired  -         nobody opened the link",
        f"  01-15 08:00:00  {first}  sent     Telegram  verified",
        "Times are UTC. `requests show ID` tells more of one.",
    ]


async def test_the_codes_of_a_subscriber_are_listed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """What became of each, and how the person is."""
    request_id = await consented(world)
    sub = await subscriber(world)
    world.clock.advance(seconds=60)
    world.telegram.script = [Denied(Refusal.GONE)]
    await asyncio.gather(world.service.send(world.caller, sub, LOGIN), return_exceptions=True)
    told = await perform_requests(world.store, {"verb": "list", "subscriber": sub})
    assert printed(capsys, f"requests list --subscriber {sub}", told) == [
        f"subscriber {sub}  Telegram  NOT SUBSCRIBED (left, or blocked the bot)",
        f"project {world.caller.project.id}  Shop",
        "  01-15 08:01:05  send    login: Telegram refused the code: the person blocked the bot, or removed",
        "                          the chat",
        f"  01-15 08:00:05  consent login: Telegram took the code (request {request_id})",
        "Times are UTC.",
    ]


@pytest.mark.parametrize(
    "command,told",
    [
        ({"verb": "show", "id": "A" * 16}, "24 hours"),
        ({"verb": "show", "id": "x"}, "16 letters"),
        ({"verb": "list", "project": "x"}, "project list"),
        ({"verb": "list", "project": "00000000-0000-4000-8000-00000000dead"}, "no project"),
        ({"verb": "list", "subscriber": "x"}, "subscriber_id"),
        ({"verb": "list", "subscriber": "00000000-0000-4000-8000-00000000dead"}, "forgotten"),
        ({"verb": "list", "limit": 501}, "--limit"),
    ],
)
async def test_what_is_not_there(world: World, command: dict[str, Any], told: str) -> None:
    """Says what to look for."""

    async def requests(wanted: Any) -> Any:
        return await perform_requests(world.store, wanted)

    with pytest.raises(Refused, match=told):
        await perform({"requests": requests}, {"group": "requests", **command})


async def test_of_a_deleted_project_nothing_is_told(world: World) -> None:
    """Not while its rows are still being erased either."""
    request_id = await world.request()

    async def delete(tx: Tx) -> None:
        await tx.delete_project(world.caller.project.id)

    await world.store.write(delete)
    assert await listed(world) == []
    with pytest.raises(Refused, match="no request"):
        await perform_requests(world.store, {"verb": "show", "id": request_id})


async def test_what_is_listed_is_as_old_as_it_is_kept(world: World, clock: FakeClock) -> None:
    """Nothing of the day before."""
    await world.request()
    clock.advance(minutes=24 * 60 + 1)
    assert await listed(world) == []


async def test_many_requests_are_listed_page_by_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though many end in the same moment; none twice, none left out."""
    monkeypatch.setattr("api.requests.PAGE", 2)
    made = {await world.request() for _ in range(7)}
    assert {one for one, _ in await listed(world)} == made
    later(world)
    await world.store.chore(expire_requests)
    assert sorted(one for one, _ in await listed(world, project=world.caller.project.id)) == sorted(made)
    assert await listed(world, project=world.other.project.id) == []
