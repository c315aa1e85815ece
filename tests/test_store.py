"""The contract of every store: what `otp.ports.Tx` and `otp.ports.Store` promise."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from otp.codes import key_hash
from otp.events import TELL_LOCKED, CodeVerified, Event, SubscriberLocked
from otp.lifecycle import DELIVERY_STEPS, REQUEST_STEPS
from otp.model import (
    Cause,
    Channel,
    Code,
    CodeSeed,
    CodeTerms,
    Delivery,
    DeliveryState,
    Ending,
    Link,
    MessageKind,
    Mode,
    Person,
    Project,
    Refusal,
    Request,
    RequestPage,
    RequestStatus,
    SentMessage,
    SitePage,
    Subscriber,
)
from otp.numbers import AskedNumber
from otp.policy import HOUR_MS, MINUTE_MS, PHONE_ASKED_MS, REQUEST_KEPT_MS, UPDATE_KEYS_KEPT_MS
from otp.ports import Store, Tx
from otp.telling import Sealed
from tests.fakes import START, FakeClock, what_happened

ANN = Person(Channel.TELEGRAM, 7001)
BOB = Person(Channel.MAX, 2**62)
SHOP = Project("p1", "Shop <b>", "что-то", True)
BANK = Project("p2", "Bank", "", True)
SUB = Subscriber("s1", "p1", Mode.LIVE, ANN, "en", True, 0, False)
TERMS = CodeTerms("login", 5, 3, 6)
SEED = CodeSeed(b"\x00\xff" * 8, "key1", 6)
CODE = Code("c1", "s1", None, TERMS, SEED, 0, START + 5 * MINUTE_MS)
REQUEST = Request(
    "R" * 16,
    "p1",
    Mode.LIVE,
    None,
    TERMS,
    RequestStatus.PENDING,
    START,
    START + 15 * MINUTE_MS,
    None,
    None,
    None,
)
DELIVERY = Delivery(
    "d1", "p1", "s1", ANN, None, Cause.SEND, TERMS, SEED, "c1", False, DeliveryState.CLAIMED, None, 0,
    START, START, START + 15_000, None,
)  # fmt: skip


@pytest.fixture
async def filled(store: Store) -> Store:
    """Two projects and a subscriber of the first."""

    async def fill(tx: Tx) -> None:
        await tx.save_project(SHOP)
        await tx.save_project(BANK)
        await tx.add_subscriber(SUB)

    await store.write(fill)
    return store


async def run(store: Store, name: str, *values: object, **named: object) -> object:
    """One method in a transaction of its own."""

    async def work(tx: Tx) -> object:
        return await getattr(tx, name)(*values, **named)

    return await store.write(work)


# ------------------------------------------------------------------ hosted pages


async def test_what_belongs_to_a_hosted_page_is_kept(filled: Store) -> None:
    """How a project's looks, beside its key too, and where a request's leads."""
    page = SitePage(("https://a.example/x",), ("https://a.example",), "#c2185b", "digest", Channel.MAX)
    await run(filled, "save_project", replace(SHOP, page=page))
    await run(filled, "add_key", "p1", Mode.LIVE, key_hash("key"))
    assert await run(filled, "project", "p1") == replace(SHOP, page=page)
    assert await run(filled, "project", "p2") == BANK
    caller = await filled.caller(key_hash("key"))
    assert caller is not None
    assert caller.project.page == page
    for number, state in enumerate(("s", None)):
        request = replace(
            REQUEST, id=f"{number}" * 16, page=RequestPage("https://a.example/x?y=ж", state, "key1")
        )
        await run(filled, "add_request", request)
        assert await run(filled, "request", request.id) == request
    await run(filled, "save_project", SHOP)
    assert await run(filled, "project", "p1") == SHOP


async def test_a_picture_is_kept_until_it_is_replaced_or_its_project_is_gone(filled: Store) -> None:
    """One for each project, found by its digest."""
    await run(filled, "save_logo", "p1", "one", b"\x00\xff1")
    await run(filled, "save_logo", "p2", "one", b"\x00\xff1")
    assert await run(filled, "logo", "one") == b"\x00\xff1"
    await run(filled, "save_logo", "p1", "two", b"2")
    await run(filled, "delete_logo", "p2")
    assert await run(filled, "logo", "one") is None
    assert await run(filled, "logo", "two") == b"2"
    await run(filled, "delete_project", "p1")
    assert await run(filled, "logo", "two") is None


# ------------------------------------------------------------------ transactions


async def test_a_failed_operation_leaves_nothing_behind(filled: Store) -> None:
    """What an operation changed before it raised is undone."""

    async def work(tx: Tx) -> None:
        await tx.save_project(replace(SHOP, name="changed"))
        raise LookupError

    with pytest.raises(LookupError):
        await filled.write(work)
    assert await run(filled, "project", "p1") == SHOP


async def test_events_are_told_after_the_commit_only(filled: Store) -> None:
    """Listeners hear of committed changes and of no others."""
    heard: list[Event] = []
    filled.listen(what_happened(heard))
    event = CodeVerified("s1", "p1", "login", Channel.TELEGRAM, Mode.LIVE, None)

    async def work(tx: Tx, fail: bool) -> None:
        tx.emit(event)
        await tx.save_project(SHOP)
        if fail:
            raise LookupError

    with pytest.raises(LookupError):
        await filled.write(lambda tx: work(tx, True))
    await filled.write(lambda tx: work(tx, False))
    assert heard == [event]


async def test_a_listener_that_fails_keeps_nobody_waiting(filled: Store) -> None:
    """The commit is answered, others hear of it, and whoever looks after the loop hears of the bug."""
    heard: list[Event] = []
    bugs: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, about: bugs.append(about["exception"]))

    def fails(_event: Event) -> None:
        raise ValueError

    filled.listen(fails)
    filled.listen(what_happened(heard))
    event = CodeVerified("s1", "p1", "login", Channel.TELEGRAM, Mode.LIVE, None)

    async def work(tx: Tx) -> str:
        tx.emit(event)
        await tx.save_project(SHOP)
        return "answered"

    assert await filled.write(work) == "answered"
    assert heard == [event]
    assert [type(bug) for bug in bugs] == [ValueError]


async def test_the_jobs_of_an_event_are_written_with_it(filled: Store) -> None:
    """A lock brings the job of telling it in the same commit."""

    async def work(tx: Tx) -> None:
        tx.emit(SubscriberLocked(SUB))

    await filled.write(work)
    job = await run(filled, "take_job", "me", 1000)
    assert (job.kind, job.subject) == (TELL_LOCKED, "s1")  # type: ignore[attr-defined]


async def test_a_caller_that_goes_away_does_not_stop_its_operation(filled: Store) -> None:
    """The operation runs to its end although nobody waits for it any more."""

    async def work(tx: Tx) -> None:
        await tx.save_project(replace(BANK, name="changed"))

    task = asyncio.get_running_loop().create_task(filled.write(work))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await run(filled, "project", "p2")
    assert found == replace(BANK, name="changed")


async def test_operations_do_not_mix(filled: Store) -> None:
    """Fifty read-modify-write operations at once count to fifty."""
    await asyncio.gather(*[run(filled, "count_wrong_guess", "s1") for _ in range(50)])
    sub = await run(filled, "subscriber_by_id", "s1")
    assert sub == replace(SUB, wrong_guesses=50)


async def test_many_jobs_of_one_transaction_are_planned_together(filled: Store) -> None:
    """Each once, however many and however often they were asked for."""

    async def lock_many(tx: Tx) -> None:
        for number in (*range(450), *range(450)):
            tx.emit(SubscriberLocked(replace(SUB, id=f"s{number}")))

    async def taken(tx: Tx) -> list[str]:
        found = []
        while (job := await tx.take_job("me", 1000)) is not None:
            found.append(job.subject)
        return found

    await filled.write(lock_many)
    assert sorted(await filled.write(taken)) == sorted(f"s{number}" for number in range(450))


# ------------------------------------------------------------------ life cycles


@pytest.mark.parametrize("before,after", list(product(DeliveryState, DeliveryState)))
async def test_every_pair_of_delivery_states(
    filled: Store, before: DeliveryState, after: DeliveryState
) -> None:
    """A delivery takes the steps of the table and no other."""
    path = {
        DeliveryState.CLAIMED: [],
        DeliveryState.ATTEMPTING: [DeliveryState.ATTEMPTING],
        DeliveryState.ACCEPTED: [DeliveryState.ATTEMPTING, DeliveryState.ACCEPTED],
        DeliveryState.REFUSED: [DeliveryState.ATTEMPTING, DeliveryState.REFUSED],
        DeliveryState.UNKNOWN: [DeliveryState.ATTEMPTING, DeliveryState.UNKNOWN],
    }[before]
    assert await run(filled, "claim", DELIVERY)
    state = DeliveryState.CLAIMED
    for step in path:
        assert await run(filled, "step", "d1", state, step)
        state = step
    allowed = after in DELIVERY_STEPS[before]
    assert await run(filled, "step", "d1", before, after, refusal=Refusal.REJECTED) is allowed
    found = await run(filled, "delivery", "d1")
    assert found.state is (after if allowed else before)  # type: ignore[attr-defined]


@pytest.mark.parametrize("before,after", list(product(RequestStatus, RequestStatus)))
async def test_every_pair_of_request_states(
    filled: Store, before: RequestStatus, after: RequestStatus
) -> None:
    """A request takes the steps of the table and no other."""
    await run(filled, "add_request", REQUEST)
    if before is not RequestStatus.PENDING:
        assert await run(filled, "finish", REQUEST.id, before)
    allowed = after in REQUEST_STEPS[before]
    assert await run(filled, "finish", REQUEST.id, after) is allowed
    found = await run(filled, "request", REQUEST.id)
    assert found.status is (after if allowed else before)  # type: ignore[attr-defined]


async def test_a_step_from_a_state_that_is_not_there_changes_nothing(filled: Store) -> None:
    """The row's own state is the decision, not what the caller believes."""
    await run(filled, "claim", DELIVERY)
    assert not await run(filled, "step", "d1", DeliveryState.ATTEMPTING, DeliveryState.ACCEPTED)
    assert await run(filled, "delivery", "d1") == DELIVERY


# ------------------------------------------------------------------ projects and keys


async def test_a_project_comes_back_as_it_was(filled: Store) -> None:
    """Names keep every character."""
    assert await run(filled, "projects") == [SHOP, BANK]


async def test_keys_act_until_they_end(filled: Store, clock: FakeClock) -> None:
    """A key that ends later works until then, another one goes on."""
    old, new = key_hash("old"), key_hash("new")
    await run(filled, "add_key", "p1", Mode.LIVE, old)
    await run(filled, "add_key", "p1", Mode.TEST, new)
    await run(filled, "end_keys", "p1", Mode.LIVE, START + HOUR_MS, but=new)
    clock.advance(ms=HOUR_MS - 1)
    caller = await run(filled, "caller", old)
    assert (caller.project, caller.mode) == (SHOP, Mode.LIVE)  # type: ignore[attr-defined]
    clock.advance(ms=1)
    assert await run(filled, "caller", old) is None
    assert (await run(filled, "caller", new)).mode is Mode.TEST  # type: ignore[attr-defined]


async def test_an_end_that_was_said_is_never_put_off(filled: Store) -> None:
    """Rotating again with a longer grace does not revive an ending key."""
    old, new = key_hash("old"), key_hash("new")
    await run(filled, "add_key", "p1", Mode.LIVE, old)
    await run(filled, "add_key", "p1", Mode.LIVE, new)
    await run(filled, "end_keys", "p1", Mode.LIVE, START, but=new)
    await run(filled, "end_keys", "p1", Mode.LIVE, START + HOUR_MS, but=new)
    assert await run(filled, "caller", old) is None


async def fill_a_project(store: Store) -> None:
    """Something of everything that a project can own."""
    await run(store, "add_key", "p1", Mode.LIVE, key_hash("key"))
    for number in range(3):
        request = replace(REQUEST, id=f"{number}" * 16)
        await run(store, "add_request", request)
        await run(store, "add_message", SentMessage(f"q{number}", ANN, MessageKind.QUESTION, request.id))
        await run(store, "add_message", SentMessage(f"l{number}", ANN, MessageKind.LOCKED, None, "s1"))
    await run(store, "put_code", CODE)
    await run(store, "link", SUB, "user-1")
    await run(store, "claim", replace(DELIVERY, request_id="0" * 16))
    await run(store, "refuse", BOB, "p1", Mode.LIVE)


async def test_a_deleted_project_is_gone_at_once(filled: Store) -> None:
    """Before any of its rows went: no key, no project, no name of it; the other one is untouched."""
    await fill_a_project(filled)
    assert await run(filled, "erase_project", "p1", 9) is False  # it was not deleted
    assert await run(filled, "delete_project", "p1") is True
    assert await run(filled, "caller", key_hash("key")) is None
    assert await run(filled, "project", "p1") is None
    assert await run(filled, "subscriptions", ANN) == []
    assert await run(filled, "projects") == [BANK]
    assert await run(filled, "delete_project", "p1") is False


@pytest.mark.parametrize("limit,batches", [(1, 4), (2, 2), (100, 1)])
async def test_a_deleted_project_is_erased_in_batches(filled: Store, limit: int, batches: int) -> None:
    """Nothing of it can be found any more; the other one has all it had."""
    await run(filled, "add_request", replace(REQUEST, id="B" * 16, project_id="p2"))
    await fill_a_project(filled)
    await run(filled, "delete_project", "p1")
    count = 1
    while await run(filled, "erase_project", "p1", limit):
        count += 1
    assert count == batches
    assert await run(filled, "subscriber_by_id", "s1") is None
    assert await run(filled, "request", "0" * 16) is None
    assert await run(filled, "code", "s1", "login") is None
    assert await run(filled, "delivery", "d1") is None
    assert await run(filled, "was_shown", "0" * 16, ANN, [MessageKind.QUESTION]) is False
    assert await run(filled, "refuses", BOB, "p1", Mode.LIVE) is False
    assert await run(filled, "links", "p1", Mode.LIVE, "user-1") == []
    assert await run(filled, "request", "B" * 16) is not None
    await run(filled, "save_project", SHOP)
    assert await run(filled, "project", "p1") == SHOP


# ------------------------------------------------------------------ subscribers


async def test_a_subscriber_belongs_to_one_project_and_mode(filled: Store) -> None:
    """Asked for by another project or in another mode, it does not exist."""
    assert await run(filled, "subscriber", "p1", Mode.LIVE, "s1") == SUB
    assert await run(filled, "subscriber", "p2", Mode.LIVE, "s1") is None
    assert await run(filled, "subscriber", "p1", Mode.TEST, "s1") is None
    assert await run(filled, "subscriber_of", "p1", Mode.LIVE, ANN) == SUB
    assert await run(filled, "subscriber_of", "p1", Mode.LIVE, BOB) is None


async def test_the_largest_user_id_is_kept_whole(filled: Store) -> None:
    """Ids beyond 2**53 lose nothing."""
    sub = replace(SUB, id="s2", person=BOB)
    await run(filled, "add_subscriber", sub)
    assert await run(filled, "subscriber_by_id", "s2") == sub


async def test_joining_and_leaving_are_guarded(filled: Store) -> None:
    """Each change happens once."""
    assert await run(filled, "set_subscribed", "s1", True) is False
    assert await run(filled, "set_subscribed", "s1", False) is True
    assert await run(filled, "set_subscribed", "s1", False) is False
    assert await run(filled, "subscriptions", ANN) == []
    assert await run(filled, "set_subscribed", "s1", True) is True
    assert await run(filled, "subscriptions", ANN) == [(SUB, SHOP)]


async def test_the_lock_and_the_count_go_together(filled: Store) -> None:
    """Clearing the guesses opens the lock."""
    await run(filled, "count_wrong_guess", "s1")
    assert await run(filled, "lock", "s1") is True
    assert await run(filled, "lock", "s1") is False
    await run(filled, "clear_guesses", "s1")
    assert await run(filled, "subscriber_by_id", "s1") == SUB


async def test_the_language_last_seen_is_kept(filled: Store) -> None:
    """A changed client language reaches the subscriber."""
    await run(filled, "see", ANN, "ru")
    assert await run(filled, "subscriber_by_id", "s1") == replace(SUB, language="ru")


async def test_a_language_that_was_chosen_is_kept(filled: Store) -> None:
    """The last choice of each person; subscribers speak it at once."""
    assert await run(filled, "chosen_language", ANN) is None
    for language in ("ru", "en", "ru"):
        await run(filled, "choose_language", ANN, language)
        assert await run(filled, "chosen_language", ANN) == language
    assert (await run(filled, "subscriber_by_id", "s1")).language == "ru"  # type: ignore[attr-defined]
    assert await run(filled, "chosen_language", BOB) is None


async def test_an_update_is_new_once(filled: Store) -> None:
    """Ten sights of one key at once are one first sight."""
    seen = await asyncio.gather(*[run(filled, "first_sight", "telegram:1") for _ in range(10)])
    assert sorted(map(bool, seen)) == [False] * 9 + [True]


# ------------------------------------------------------------------ codes


async def test_a_code_lives_until_just_before_its_end(filled: Store, clock: FakeClock) -> None:
    """Valid while now < expiry."""
    await run(filled, "put_code", CODE)
    clock.set(CODE.expires_at - 1)
    assert await run(filled, "code", "s1", "login") == CODE
    clock.set(CODE.expires_at)
    assert await run(filled, "code", "s1", "login") is None
    assert await run(filled, "count_attempt", "c1") is None


async def test_a_new_code_takes_the_place_of_the_older_one(filled: Store) -> None:
    """One active code per subscriber and purpose; other purposes are untouched."""
    await run(filled, "put_code", CODE)
    await run(filled, "put_code", replace(CODE, id="c2", request_id="r2"))
    await run(filled, "put_code", replace(CODE, id="c3", terms=replace(TERMS, purpose="pay")))
    assert await run(filled, "consume", "c1", Ending.USED) is False
    found = await run(filled, "code", "s1", "login")
    assert (found.id, found.request_id) == ("c2", "r2")  # type: ignore[attr-defined]
    assert await run(filled, "purposes_alive", "s1") == {"login", "pay"}


async def test_attempts_are_counted_up_to_the_limit_and_not_beyond(filled: Store) -> None:
    """Of twenty attempts at once three are counted."""
    await run(filled, "put_code", CODE)
    made = await asyncio.gather(*[run(filled, "count_attempt", "c1") for _ in range(20)])
    assert sorted(n for n in made if n is not None) == [1, 2, 3]  # type: ignore[type-var]


async def test_a_code_is_consumed_by_one_caller_only(filled: Store) -> None:
    """Of twenty at once one gets it."""
    await run(filled, "put_code", CODE)
    got = await asyncio.gather(*[run(filled, "consume", "c1", Ending.USED) for _ in range(20)])
    assert sum(map(bool, got)) == 1


async def test_codes_die_with_their_subscriber_or_project(filled: Store) -> None:
    """Both ways of killing reach all purposes."""
    for kill in (("kill_codes", "s1", Ending.WITHDRAWN), ("kill_project_codes", "p1", Ending.WITHDRAWN)):
        await run(filled, "put_code", CODE)
        await run(filled, *kill)
        assert await run(filled, "code", "s1", "login") is None


# ------------------------------------------------------------------ accounts


async def test_an_account_has_one_subscriber_in_a_channel(filled: Store, clock: FakeClock) -> None:
    """The newer one; that used last comes first, and those of another project or mode are others."""
    cat, bob = replace(SUB, id="s2", person=BOB), replace(SUB, id="s3", person=Person(Channel.TELEGRAM, 7))
    theirs = replace(SUB, id="s4", project_id="p2")
    for sub in (cat, bob, theirs):
        await run(filled, "add_subscriber", sub)
    for sub in (SUB, cat, theirs, bob):
        await run(filled, "link", sub, "user-1")
        clock.advance(seconds=1)
    there = ("p1", Mode.LIVE, "user-1")
    assert await run(filled, "links", *there) == [Link(Channel.TELEGRAM, "s3"), Link(Channel.MAX, "s2")]
    await run(filled, "note_used", "s2")
    assert await run(filled, "links", *there) == [Link(Channel.MAX, "s2"), Link(Channel.TELEGRAM, "s3")]
    assert await run(filled, "links", "p2", Mode.LIVE, "user-1") == [Link(Channel.TELEGRAM, "s4")]
    assert await run(filled, "links", "p1", Mode.TEST, "user-1") == []
    assert [await run(filled, "lock_accounts", sub) for sub in ("s1", "s2")] == [False, True]


async def test_codes_of_an_account_end_where_the_other_channels_lives(filled: Store) -> None:
    """Not for another purpose, not of another account, and not by one that is dead."""
    await run(filled, "add_subscriber", replace(SUB, id="s2", person=BOB))
    await run(filled, "add_subscriber", replace(SUB, id="s3", person=Person(Channel.MAX, 8)))
    for sub, account in (("s1", "a"), ("s2", "a"), ("s1", "b"), ("s3", "c")):
        channel = ANN if sub == "s1" else BOB
        await run(filled, "link", replace(SUB, id=sub, person=channel), account)
    pay = replace(TERMS, purpose="pay")
    codes = [CODE, replace(CODE, id="c2", subscriber_id="s2"), replace(CODE, id="c3", subscriber_id="s3")]
    codes += [
        replace(CODE, id="c4", subscriber_id="s2", terms=pay),
        replace(CODE, id="c5", terms=pay, expires_at=START),
    ]
    for code in codes:
        await run(filled, "put_code", code)
    await run(filled, "end_shared_codes", "s1", Ending.REPLACED)
    left = [code.id for code in codes if await run(filled, "code_by_id", code.id) is not None]
    assert left == ["c1", "c3", "c4"]


# ------------------------------------------------------------------ requests


async def test_a_request_comes_back_as_it_was(filled: Store) -> None:
    """With and without a channel."""
    await run(filled, "add_request", REQUEST)
    other = replace(REQUEST, id="S" * 16, channel=Channel.MAX, external_id="user-1")
    await run(filled, "add_request", other)
    assert await run(filled, "request", REQUEST.id) == REQUEST
    assert await run(filled, "request", other.id) == other


async def test_a_request_is_bound_to_the_first_person(filled: Store) -> None:
    """Others are refused, the same one may come again, a finished request takes nobody."""
    await run(filled, "add_request", REQUEST)
    assert await run(filled, "bind", REQUEST.id, ANN) is True
    assert await run(filled, "bind", REQUEST.id, BOB) is False
    assert await run(filled, "bind", REQUEST.id, ANN) is True
    await run(filled, "finish", REQUEST.id, RequestStatus.CANCELLED)
    assert await run(filled, "bind", REQUEST.id, ANN) is False


async def test_two_ends_at_once_are_one(filled: Store) -> None:
    """Of many that end a request at once one does."""
    await run(filled, "add_request", REQUEST)
    ends = [RequestStatus.SENT, RequestStatus.CANCELLED, RequestStatus.EXPIRED] * 5
    got = await asyncio.gather(*[run(filled, "finish", REQUEST.id, end) for end in ends])
    assert sum(map(bool, got)) == 1


async def test_a_delivery_under_way_keeps_its_request_from_running_out(
    filled: Store, clock: FakeClock
) -> None:
    """It is overdue at its end, or 15 seconds later with a delivery under way."""
    await run(filled, "add_request", REQUEST)
    clock.set(REQUEST.expires_at - 1)
    assert await run(filled, "overdue_requests", 9) == []
    clock.advance(ms=1)
    assert await run(filled, "overdue_requests", 9) == [REQUEST]
    await run(filled, "claim", replace(DELIVERY, request_id=REQUEST.id))
    assert await run(filled, "overdue_requests", 9) == []
    clock.advance(seconds=15)
    assert await run(filled, "overdue_requests", 9) == [REQUEST]


# ------------------------------------------------------------------ deliveries


async def test_one_delivery_at_a_time_per_subscriber_and_purpose(filled: Store) -> None:
    """Of ten claims at once one is made; another purpose has its own; after the outcome there is room again."""
    claims = [replace(DELIVERY, id=f"d{n}") for n in range(10)]
    got = await asyncio.gather(*[run(filled, "claim", claim) for claim in claims])
    assert sum(map(bool, got)) == 1
    made = claims[got.index(True)]
    assert await run(filled, "under_way", "s1", "login") == made
    assert (
        await run(filled, "claim", replace(DELIVERY, id="pay", terms=replace(TERMS, purpose="pay"))) is True
    )
    await run(
        filled, "step", made.id, DeliveryState.CLAIMED, DeliveryState.REFUSED, refusal=Refusal.WITHDRAWN
    )
    assert await run(filled, "claim", replace(DELIVERY, id="next")) is True


async def test_an_attempt_is_noted_with_its_time(filled: Store, clock: FakeClock) -> None:
    """Tries are counted; going back to claimed keeps the count and moves the due time."""
    await run(filled, "claim", DELIVERY)
    clock.advance(seconds=1)
    await run(filled, "step", "d1", DeliveryState.CLAIMED, DeliveryState.ATTEMPTING)
    await run(filled, "step", "d1", DeliveryState.ATTEMPTING, DeliveryState.CLAIMED, due_at=START + 3000)
    found = await run(filled, "delivery", "d1")
    assert found == replace(DELIVERY, tries=1, attempted_at=START + 1000, due_at=START + 3000)


async def test_what_counts_against_the_send_limit(filled: Store, clock: FakeClock) -> None:
    """Accepted, unknown and still under way count, each window apart; refused ones and old ones do not."""
    for number, end in enumerate((DeliveryState.ACCEPTED, DeliveryState.UNKNOWN, DeliveryState.REFUSED)):
        await run(filled, "claim", replace(DELIVERY, id=f"d{number}"))
        await run(filled, "step", f"d{number}", DeliveryState.CLAIMED, DeliveryState.ATTEMPTING)
        await run(filled, "step", f"d{number}", DeliveryState.ATTEMPTING, end)
    await run(filled, "claim", replace(DELIVERY, id="tap", cause=Cause.CONSENT))
    clock.advance(seconds=10)
    assert await run(filled, "spent", "s1", by_tap=False, since=START - 1) == [START, START]
    assert await run(filled, "spent", "s1", by_tap=True, since=START - 1) == [START + 10_000]
    assert await run(filled, "spent", "s1", by_tap=False, since=START) == []


async def test_a_message_counts_from_its_attempt_however_long_that_took(
    filled: Store, clock: FakeClock
) -> None:
    """Asked for by a tap as its request began, handed over as it ended."""
    await run(filled, "claim", replace(DELIVERY, cause=Cause.CONSENT, give_up_at=REQUEST.expires_at))
    clock.set(REQUEST.expires_at - 1)
    await run(filled, "step", "d1", DeliveryState.CLAIMED, DeliveryState.ATTEMPTING)
    await run(filled, "step", "d1", DeliveryState.ATTEMPTING, DeliveryState.ACCEPTED)
    since = REQUEST.expires_at - 2
    assert await run(filled, "spent", "s1", by_tap=True, since=since) == [REQUEST.expires_at - 1]


async def test_what_a_dead_process_left(filled: Store, clock: FakeClock) -> None:
    """Due claims and attempts without a result are found, settled ones are not."""
    await run(filled, "claim", DELIVERY)
    pay = replace(DELIVERY, id="d2", terms=replace(TERMS, purpose="pay"))
    await run(filled, "claim", pay)
    await run(filled, "step", "d2", DeliveryState.CLAIMED, DeliveryState.ATTEMPTING)
    assert await run(filled, "stranded", START - 1, START - 1, 9) == []
    found = await run(filled, "stranded", START, START, 9)
    assert {one.id for one in found} == {"d1", "d2"}  # type: ignore[attr-defined]
    await run(filled, "step", "d2", DeliveryState.ATTEMPTING, DeliveryState.UNKNOWN)
    assert await run(filled, "stranded", START, START, 9) == [DELIVERY]


# ------------------------------------------------------------------ messages, jobs, facts, purge


async def test_a_message_was_shown_to_one_person(filled: Store) -> None:
    """Whether it was sent yet or not; to nobody else, and of no other kind."""
    await run(filled, "add_message", SentMessage("m1", ANN, MessageKind.QUESTION, request_id="r1"))
    assert await run(filled, "was_shown", "r1", ANN, [MessageKind.QUESTION, MessageKind.OFFER]) is True
    assert await run(filled, "was_shown", "r1", BOB, [MessageKind.QUESTION]) is False
    assert await run(filled, "was_shown", "r1", ANN, [MessageKind.OFFER]) is False
    assert await run(filled, "was_shown", "r2", ANN, [MessageKind.QUESTION]) is False


async def test_a_job_has_one_taker_until_its_lease_ends(filled: Store, clock: FakeClock) -> None:
    """Of ten takers one gets it; when it dies, another one may."""
    await run(filled, "ensure_job", "sweep", "", START)
    taken = await asyncio.gather(*[run(filled, "take_job", f"o{n}", 60_000) for n in range(10)])
    assert sum(job is not None for job in taken) == 1
    assert await run(filled, "next_job_at") == START + 60_000
    clock.advance(minutes=1)
    job = await run(filled, "take_job", "heir", 60_000)
    assert (job.owner, job.attempts) == ("heir", 2)  # type: ignore[attr-defined]


async def test_a_job_ends_or_is_done_again(filled: Store, clock: FakeClock) -> None:
    """Ended it is gone; planned again it is due then and not before."""
    await run(filled, "ensure_job", "sweep", "", START)
    job = await run(filled, "take_job", "me", 60_000)
    await run(filled, "end_job", job, START + 5000)
    assert await run(filled, "take_job", "me", 60_000) is None
    clock.advance(seconds=5)
    job = await run(filled, "take_job", "me", 60_000)
    assert job.attempts == 1  # type: ignore[attr-defined]  # it did not fail
    await run(filled, "end_job", job, None)
    assert await run(filled, "next_job_at") is None


async def test_a_job_asked_for_while_it_is_done_is_done_again(filled: Store, clock: FakeClock) -> None:
    """What came in the middle is not lost."""
    await run(filled, "ensure_job", "tell", "s1", START)
    job = await run(filled, "take_job", "me", 60_000)
    clock.advance(seconds=1)
    await run(filled, "ensure_job", "tell", "s1", START + 1000)
    await run(filled, "end_job", job, None)
    assert await run(filled, "take_job", "me", 60_000) is not None


async def test_an_earlier_plan_wins(filled: Store) -> None:
    """Planning a job that is planned moves it forward only."""
    await run(filled, "ensure_job", "sweep", "", START + 5000)
    await run(filled, "ensure_job", "sweep", "", START + 9000)
    assert await run(filled, "next_job_at") == START + 5000
    await run(filled, "ensure_job", "sweep", "", START + 1000)
    assert await run(filled, "next_job_at") == START + 1000


async def test_facts_are_remembered_and_forgotten(filled: Store) -> None:
    """The last value counts."""
    assert await run(filled, "fact", "telegram.bot_username") is None
    await run(filled, "remember", "telegram.bot_username", "a_bot")
    await run(filled, "remember", "telegram.bot_username", "b_bot")
    assert await run(filled, "fact", "telegram.bot_username") == "b_bot"
    await run(filled, "remember", "telegram.bot_username", None)
    assert await run(filled, "fact", "telegram.bot_username") is None


async def test_what_is_over_is_purged_and_what_is_not_stays(filled: Store, clock: FakeClock) -> None:
    """Each kind of row goes at its time, in batches."""
    await run(filled, "put_code", CODE)
    await run(filled, "first_sight", "telegram:1")
    await run(filled, "add_request", REQUEST)
    await run(filled, "note_opened", REQUEST.id, Channel.TELEGRAM)
    await run(filled, "finish", REQUEST.id, RequestStatus.SENT)
    await run(filled, "claim", DELIVERY)
    await run(filled, "step", "d1", DeliveryState.CLAIMED, DeliveryState.REFUSED)
    await run(filled, "claim", replace(DELIVERY, id="d2"))
    assert await run(filled, "purge", 100) == 0
    clock.advance(ms=REQUEST_KEPT_MS - 1)
    assert await run(filled, "purge", 100) == 1  # the code
    assert await run(filled, "request", REQUEST.id) is not None
    clock.advance(ms=1)
    assert await run(filled, "purge", 100) == 1  # the request
    clock.set(START + UPDATE_KEYS_KEPT_MS)
    assert await run(filled, "purge", 100) == 1  # the update's key
    assert await run(filled, "purge_deliveries", 100) == 1
    assert await run(filled, "delivery", "d2") is not None
    assert await run(filled, "first_sight", "telegram:1") is True
    assert await run(filled, "subscriber_by_id", "s1") == SUB


async def test_a_purge_takes_no_more_than_its_batch(filled: Store, clock: FakeClock) -> None:
    """Nobody waits long behind it."""
    for number in range(5):
        await run(filled, "first_sight", f"telegram:{number}")
    clock.advance(ms=UPDATE_KEYS_KEPT_MS)
    assert [await run(filled, "purge", 2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_question_for_a_number_has_one_answer_that_is_taken_once(filled: Store) -> None:
    """Open for a while, answered once, taken once; a newer question of the same person takes the place of an open one."""
    other = replace(REQUEST, id="O" * 16, asks_phone=True)
    number, newer = Sealed(b"\x00sealed", "key1"), Sealed(b"newer", "key2")

    async def begin(tx: Tx) -> None:
        for request in (replace(REQUEST, asks_phone=True), other):
            await tx.add_request(request)
        await tx.ask_number(REQUEST.id, SUB)

    await filled.write(begin)
    found = await filled.read(lambda tx: tx.request(REQUEST.id))
    assert isinstance(found, Request)
    assert found.asks_phone
    asked = AskedNumber(REQUEST.id, "p1", "s1", ANN, START, None)
    assert await run(filled, "asked_number", REQUEST.id) == asked
    assert await run(filled, "newest_number", ANN) is None
    await run(filled, "show_number", REQUEST.id, ANN)
    assert await run(filled, "newest_number", ANN) == asked
    assert await run(filled, "newest_number", BOB) is None
    assert await run(filled, "take_number", REQUEST.id) is None
    assert await run(filled, "share_number", REQUEST.id, number) is True
    assert await run(filled, "share_number", REQUEST.id, newer) is False
    assert await run(filled, "asked_number", REQUEST.id) == replace(asked, number=number)
    await run(filled, "ask_number", other.id, SUB)
    assert await run(filled, "take_number", REQUEST.id) == number
    assert await run(filled, "take_number", REQUEST.id) is None
    await run(filled, "end_number", other.id)
    assert await run(filled, "asked_number", other.id) is None


async def test_a_question_is_open_for_a_while(filled: Store, clock: FakeClock) -> None:
    """Then it takes no answer, and is gone when a newer one goes out."""
    later = replace(REQUEST, id="O" * 16)
    for request in (REQUEST, later):
        await filled.write(partial(_added, request=request))
    await run(filled, "ask_number", REQUEST.id, SUB)
    await run(filled, "show_number", REQUEST.id, ANN)
    clock.advance(ms=PHONE_ASKED_MS)
    assert await run(filled, "share_number", REQUEST.id, Sealed(b"x", "k")) is False
    await run(filled, "ask_number", later.id, SUB)
    assert await run(filled, "asked_number", REQUEST.id) is not None
    await run(filled, "show_number", later.id, ANN)
    assert await run(filled, "asked_number", REQUEST.id) is None


async def _added(tx: Tx, *, request: Request) -> None:
    await tx.add_request(request)


async def test_numbers_that_are_kept(filled: Store) -> None:
    """One of a subscriber, sealed anew only as it was seen; they go with what they belong to."""
    number, newer, third = Sealed(b"one", "key1"), Sealed(b"two", "key1"), Sealed(b"three", "key2")
    await run(filled, "keep_number", "s1", number)
    await run(filled, "keep_number", "s1", newer)
    assert await run(filled, "kept_number", "s1") == newer
    assert await run(filled, "stale_numbers", "key2", "", 10) == [("s1", newer)]
    assert await run(filled, "stale_numbers", "key1", "", 10) == []
    assert await run(filled, "stale_numbers", "key2", "s1", 10) == []
    assert await run(filled, "reseal_number", "s1", number, third) is False
    assert await run(filled, "reseal_number", "s1", newer, third) is True
    assert await run(filled, "kept_number", "s1") == third
    await run(filled, "drop_kept_numbers", "p2")
    assert await run(filled, "kept_number", "s1") == third
    await run(filled, "drop_kept_numbers", "p1")
    assert await run(filled, "kept_number", "s1") is None


@pytest.mark.parametrize("way", ["drop_numbers", "erase_subscriber", "drop_asked_numbers"])
async def test_numbers_are_erased(filled: Store, way: str) -> None:
    """With their subscriber; a copy of the database loses those that wait to be told."""
    await filled.write(partial(_added, request=REQUEST))
    await run(filled, "ask_number", REQUEST.id, SUB)
    await run(filled, "share_number", REQUEST.id, Sealed(b"x", "k"))
    await run(filled, "keep_number", "s1", Sealed(b"y", "k"))
    about: dict[str, list[object]] = {"drop_numbers": ["s1"], "erase_subscriber": [SUB]}
    await run(filled, way, *about.get(way, []))
    assert await run(filled, "asked_number", REQUEST.id) is None
    left = Sealed(b"y", "k") if way == "drop_asked_numbers" else None
    assert await run(filled, "kept_number", "s1") == left


async def test_a_project_says_whether_numbers_are_kept(store: Store) -> None:
    """Not unless it does."""
    await store.write(lambda tx: tx.save_project(SHOP))
    assert await run(store, "project", "p1") == SHOP
    await store.write(lambda tx: tx.save_project(replace(SHOP, keep_phone=True)))
    assert await run(store, "project", "p1") == replace(SHOP, keep_phone=True)
