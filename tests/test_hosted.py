"""What the visitor of a hosted page may see and do, over each store."""

from __future__ import annotations

import pytest

from otp.breaker import FAILURES
from otp.errors import NothingToRepeat, RateLimited, RequestNotFound
from otp.hosted import HostedPages, Stage, Trouble, View
from otp.model import Caller, Channel, CodeTerms, Mode, Refusal, RequestPage
from otp.policy import Policy
from otp.ports import NotSent, Refused, Store, Unknown
from otp.projects import Change, PageChange
from otp.service import Reason, Verdict
from tests.fakes import FakeClock
from tests.world import ANN, CAT, LOGIN, World, make_world, wrong

HOME = "https://shop.example/login"


class Visitor:
    """Somebody on the page of a request."""

    def __init__(self, world: World, request_id: str) -> None:
        self.world = world
        self.hosted = HostedPages(world.service)
        self.request_id = request_id

    async def view(self) -> View:
        return await self.hosted.view(self.request_id)

    async def agrees(self, person=ANN) -> None:
        world = self.world
        await world.taps.open(world.update(person), self.request_id)
        await world.taps.consent(world.update(person), self.request_id)
        await world.settle()

    async def guess(self, typed: str) -> Verdict:
        return await self.hosted.guess(self.request_id, typed)


async def visitor(world: World, terms: CodeTerms = LOGIN) -> Visitor:
    page = RequestPage(HOME, "s", world.rules.keys.first_id)
    made = await world.service.request(world.caller, None, terms, page=page)
    return Visitor(world, made.request.id)


async def test_from_the_question_to_the_proof(world: World) -> None:
    """Each stage in turn, with what is left of time and attempts."""
    one = await visitor(world)
    view = await one.view()
    assert (view.stage, view.lasts_ms, view.channel) == (Stage.WAITING, 900_000, None)
    assert await one.guess("123456") == Verdict(Reason.NO_ACTIVE_CODE)
    await one.agrees(CAT)
    view = await one.view()
    assert (view.stage, view.lasts_ms, view.attempts_left, view.channel) == (Stage.CODE, 300_000, 5, "max")
    [code] = world.max.codes
    assert await one.guess(wrong(code)) == Verdict(Reason.WRONG_CODE, 4)
    assert (await one.view()).attempts_left == 4
    assert (await one.view()).proof is None
    assert await one.guess(code) == Verdict(None)
    view = await one.view()
    state = await world.service.status(world.caller, one.request_id)
    assert view.stage is Stage.VERIFIED
    assert view.proof == state.proof is not None
    assert view.way_back() == f"{HOME}?request_id={one.request_id}&state=s"
    assert view.way_back(proven=True) == f"{HOME}?request_id={one.request_id}&state=s&proof={view.proof}"


async def test_a_request_without_a_page_proves_nothing(world: World) -> None:
    """No page is seen of it, and its status has no proof."""
    request_id = await world.request()
    one = Visitor(world, request_id)
    for doing in (
        one.view(),
        one.guess("123456"),
        one.hosted.send_again(request_id),
        one.hosted.caller(request_id),
    ):
        with pytest.raises(RequestNotFound):
            await doing
    await one.agrees()
    subscriber = (await world.service.status(world.caller, request_id)).subscriber_id
    assert await world.verify(str(subscriber), world.telegram.codes[0], request_id=request_id) == Verdict(
        None
    )
    assert (await world.service.status(world.caller, request_id)).proof is None


async def test_every_end(world: World, clock: FakeClock) -> None:
    """Of the request and of its code."""
    used, expired, cancelled, replaced = [await visitor(world) for _ in range(4)]
    await world.taps.open(world.update(CAT), cancelled.request_id)
    await world.service.cancel(world.caller, cancelled.request_id)
    assert (await cancelled.view()).stage is Stage.CANCELLED
    await used.agrees()
    for _ in range(5):
        await used.guess(wrong(world.telegram.codes[-1]))
    assert (await used.view()).stage is Stage.USED_UP
    await replaced.agrees()
    newer = await visitor(world)
    await newer.agrees()
    assert (await replaced.view()).stage is Stage.REPLACED
    assert (await newer.view()).stage is Stage.CODE
    clock.advance(minutes=6)
    assert (await newer.view()).stage is Stage.CODE_EXPIRED
    clock.advance(minutes=10)
    assert (await expired.view()).stage is Stage.EXPIRED
    assert (await world.service.status(world.caller, expired.request_id)).status == "expired"
    await world.projects.set_enabled(world.caller.project.id, False)
    assert (await expired.view()).stage is Stage.PAUSED
    clock.advance(minutes=61)
    with pytest.raises(RequestNotFound):
        await expired.view()


async def test_a_person_who_is_locked(store: Store, clock: FakeClock) -> None:
    """The page says so, whichever of their codes it was."""
    world = await make_world(store, clock, Policy(guess_budget=3))
    one = await visitor(world)
    await one.agrees()
    assert (await one.view()).attempts_left == 3
    for _ in range(3):
        await one.guess(wrong(world.telegram.codes[0]))
    assert (await one.view()).stage is Stage.LOCKED
    assert await one.guess(world.telegram.codes[0]) == Verdict(Reason.LOCKED)
    await world.courier.close(0)


@pytest.mark.parametrize(
    "outcome, trouble",
    [(Refused(Refusal.REJECTED), Trouble.UNAVAILABLE), (Unknown(), Trouble.UNKNOWN), (NotSent(60_000), None)],
)
async def test_a_messenger_that_does_not_take_the_code(
    world: World, outcome, trouble: Trouble | None
) -> None:
    """The page waits on, and says what is the matter."""
    world.telegram.script = [outcome]
    one = await visitor(world)
    await one.agrees()
    view = await one.view()
    assert (view.stage, view.trouble, view.under_way) == (Stage.WAITING, trouble, trouble is None)


async def test_send_again_is_limited_like_any_message(store: Store, clock: FakeClock) -> None:
    """The same code, still the request's; then too often; and nothing once it is dead, or another one's."""
    world = await make_world(store, clock, Policy(send_limit=2))
    one = await visitor(world)
    with pytest.raises(NothingToRepeat):
        await one.hosted.send_again(one.request_id)
    await one.agrees()
    for _ in range(2):
        await one.hosted.send_again(one.request_id)
    assert len(world.telegram.codes) == 3
    assert len(set(world.telegram.codes)) == 1
    with pytest.raises(RateLimited):
        await one.hosted.send_again(one.request_id)
    assert await one.guess(world.telegram.codes[0]) == Verdict(None)
    with pytest.raises(NothingToRepeat):
        await one.hosted.send_again(one.request_id)
    other = await visitor(world)
    await other.agrees()
    with pytest.raises(NothingToRepeat):
        await one.hosted.send_again(one.request_id)
    await world.courier.close(0)


async def test_where_browsers_reach_it(world: World) -> None:
    """Its cookie goes to its own path alone, and through TLS where there is any."""
    hosted = HostedPages(world.service)
    for url, folder, secure in (
        ("https://example.org", "", True),
        ("https://example.org/codes", "/codes", True),
        ("http://localhost:8080", "", False),
    ):
        world.service.public_url = url
        assert (hosted.folder, hosted.is_secure) == (folder, secure)


async def test_the_projects_order(world: World) -> None:
    """What it wants first is offered first."""
    one = await visitor(world)
    assert [*(await one.view()).bots] == ["telegram", "max"]
    await world.projects.update(world.caller.project.id, Change(page=PageChange(first=CAT.channel)))
    assert [*(await one.view()).bots] == ["max", "telegram"]
    assert await one.hosted.caller(one.request_id) == Caller((await one.view()).project, Mode.LIVE)


async def test_a_messenger_that_works_goes_before_the_one_that_the_project_wants_first(world: World) -> None:
    """As it is at each look; where none works, the project's order holds again."""
    one = await visitor(world)
    telegram, max_ = (world.courier.breakers[channel] for channel in Channel)
    for breaker, order, health in (
        (telegram, ["max", "telegram"], {"telegram": "degraded", "max": "ok"}),
        (max_, ["telegram", "max"], {"telegram": "degraded", "max": "degraded"}),
    ):
        for _ in range(FAILURES):
            breaker.note(answered=False)
        view = await one.view()
        assert ([*view.bots], view.health) == (order, health)
    telegram.note(answered=True)
    max_.note(answered=True)
    assert [*(await one.view()).bots] == ["telegram", "max"]
