"""How often callers may call, and whose address it is behind proxies."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from api import auth
from api.addresses import client_address, one_site
from api.limits import RateLimit, Seat, Seats
from config.logs import of_call
from tests.fakes import FakeClock
from tests.running import running
from tests.test_http import is_problem

NOBODY = "00000000-0000-4000-8000-000000000000"
WRONG_KEY = {"Authorization": "Bearer tc_live_" + "w" * 40}


# ------------------------------------------------------------------ the arithmetic


def test_so_many_at_once_and_no_more(clock: FakeClock) -> None:
    """The whole quota at once, then one for each part of the minute that has gone by."""
    limit = RateLimit("x", 20, clock)
    assert [limit.take("a").allowed for _ in range(21)] == [True] * 20 + [False]
    assert limit.take("b").allowed
    clock.advance(ms=2999)
    assert not limit.take("a").allowed
    clock.advance(ms=1)
    assert [limit.take("a").allowed for _ in range(2)] == [True, False]
    clock.advance(seconds=60)
    assert [limit.take("a").allowed for _ in range(21)] == [True] * 20 + [False]


def test_what_the_fields_say(clock: FakeClock) -> None:
    """What is left, when all of it will be back, and when the next call may be made."""
    limit = RateLimit("requests", 20, clock)
    taken = [limit.take("a") for _ in range(21)]
    assert taken[0].fields == {
        "RateLimit-Policy": '"requests";q=20;w=60',
        "RateLimit": '"requests";r=19;t=3',
    }
    assert taken[19].fields["RateLimit"] == '"requests";r=0;t=60'
    assert (taken[20].fields["RateLimit"], taken[20].retry_after) == ('"requests";r=0;t=60', 3)


@given(st.integers(1, 10_000), st.lists(st.integers(0, 5_000), max_size=300))
def test_waiting_as_told_is_enough(per_minute: int, pauses: list[int]) -> None:
    """Whatever the rhythm: after `Retry-After` seconds a call is allowed, and what is left is never a lie."""
    clock = FakeClock()
    limit = RateLimit("x", per_minute, clock)
    for pause in pauses:
        clock.advance(ms=pause)
        taken = limit.take("a")
        left = int(taken.fields["RateLimit"].split(";r=")[1].split(";")[0])
        assert taken.allowed == (taken.retry_after == 0)
        assert limit.allows("a") == (left > 0)
        if not taken.allowed:
            clock.advance(seconds=taken.retry_after)
            assert limit.take("a").allowed


def test_only_the_newest_are_remembered(clock: FakeClock) -> None:
    """However many subjects come; those whose quota is back are cleared away as others come."""
    limit = RateLimit("x", 1, clock, remembered=100)
    for number in range(1000):
        limit.take(number)
    assert len(limit._full_at) == 100
    clock.advance(seconds=61)
    for number in range(60):
        limit.take(f"new {number}")
    assert len(limit._full_at) == 60


def test_seats_are_limited_for_each_and_for_all() -> None:
    """Whoever rises makes room for anybody; nothing is remembered of those who left."""
    seats = Seats(2, 3)

    def sit(subject: str) -> Seat:
        seat = seats.seat(subject)
        assert seat is not None
        seat.__enter__()
        return seat

    first, _, other = sit("a"), sit("a"), sit("b")
    assert seats.seat("a") is None
    assert seats.seat("b") is None  # three sit
    other.__exit__()
    assert seats.seat("a") is None
    sit("c")
    first.__exit__()
    sit("a")
    assert set(seats._taken) == {"a", "c"}


# ------------------------------------------------------------------ addresses

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    "peer,forwarded,client",
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),  # not trusted: nothing it says counts
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),  # what stands left was said by the client
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1,10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.1, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("", ["198.51.100.1"], None),
    ],
)
def test_whose_address_it_is(peer: str, forwarded: list[str], client: str | None) -> None:
    """The peer's, unless it is a proxy that may say otherwise."""
    headers = [("X-Forwarded-For", value) for value in forwarded]
    request = make_mocked_request("GET", "/", headers=_multi(headers)).clone(remote=peer)
    found = client_address(request, TRUSTED)
    assert found == client if client is None else str(found) == client


def _multi(headers: list[tuple[str, str]]) -> Any:
    from multidict import CIMultiDict, CIMultiDictProxy

    return CIMultiDictProxy(CIMultiDict(headers))


def test_one_client_has_many_addresses_in_ipv6() -> None:
    """Half of an address tells who it is."""
    request = make_mocked_request("GET", "/")
    ends = {one_site(client_address(request.clone(remote=f"2001:db8::{n}"), [])) for n in range(9)}
    assert ends == {"2001:db8::/64"}
    assert one_site(client_address(request.clone(remote="192.0.2.1"), [])) == "192.0.2.1"


# ------------------------------------------------------------------ at the door


async def test_the_posts_of_a_key_are_limited() -> None:
    """Whatever becomes of them, before media type and body; other keys, other methods and reads go on."""
    async with running(requests_per_minute=3) as run:
        other = await run.service.projects.create("Other", "")
        made = await run.request()
        for body in ({"subscriber_id": "x"}, {}):
            assert (await run.call("POST", "/v1/otp/verify", body)).status == 400
        for _ in range(2):
            answer = await run.call("POST", "/v1/otp/send", headers={"Content-Type": "text/plain"})
            assert is_problem(answer, 429, "rate_limited")
            assert answer.json["retryable"] is True
            assert answer.headers["RateLimit"] == '"requests";r=0;t=60'
            assert answer.headers["Retry-After"] == "20"
        assert (await run.call("GET", "/v1/otp/send")).status == 405
        assert (await run.status(made))["status"] == "pending"
        theirs = {"Authorization": f"Bearer {other.api_key}"}
        assert (await run.call("POST", "/v1/otp/request", headers=theirs)).status == 200
        run.clock.advance(seconds=20)
        assert (await run.request())["request_id"]


async def test_the_reads_of_a_status_are_limited() -> None:
    """Each request has its own quota, for each project; ids that are none share one."""
    async with running(status_reads_per_minute=2) as run:
        other = await run.service.projects.create("Other", "")
        made = await run.request()
        path = f"/v1/otp/request/{made['request_id']}/status"
        theirs = {"Authorization": f"Bearer {other.api_key}"}
        assert [(await run.call("GET", path, headers=theirs)).status for _ in range(3)] == [404, 404, 429]
        assert [(await run.call("GET", path)).status for _ in range(2)] == [200, 200]
        refused = await run.call("GET", path)
        assert is_problem(refused, 429, "rate_limited")
        assert refused.headers["RateLimit-Policy"] == '"status_reads";q=2;w=60'
        for number, status in enumerate((404, 404, 429)):
            assert (await run.call("GET", f"/v1/otp/request/x{number}/status")).status == status
        another = await run.request()
        assert (await run.status(another))["status"] == "pending"


async def test_a_flood_without_a_key_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above the limit of an address 429; a key that came in before, and other addresses, go on as ever."""
    monkeypatch.setattr(auth, "REFUSED_PER_MINUTE", 3)
    async with running(trusted_proxies="127.0.0.1") as run:
        newcomer = await run.service.projects.create("Newcomer", "")
        assert (await run.call("POST", "/v1/otp/request", {})).status == 200
        statuses = [(await run.call("POST", "/v1/otp/verify", headers=WRONG_KEY)).status for _ in range(4)]
        assert statuses == [401, 401, 401, 429]
        theirs = {"Authorization": f"Bearer {newcomer.api_key}"}
        flooded = await run.call("POST", "/v1/otp/request", {}, headers=theirs)
        assert is_problem(flooded, 429, "rate_limited")
        elsewhere = {**theirs, "X-Forwarded-For": "9.9.9.9, 198.51.100.1"}
        assert (await run.call("POST", "/v1/otp/request", {}, headers=elsewhere)).status == 200
        assert (await run.call("POST", "/v1/otp/request", {})).status == 200
        run.clock.advance(seconds=20)
        assert (await run.call("POST", "/v1/otp/verify", headers=WRONG_KEY)).status == 401


async def test_a_key_that_came_in_before_can_be_revoked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is known, not trusted: the store decides."""
    monkeypatch.setattr(auth, "REFUSED_PER_MINUTE", 1)
    async with running() as run:
        await run.request()
        await run.service.projects.rotate_key((await run.service.projects.all())[0].id, 0)
        statuses = [(await run.call("POST", "/v1/otp/request", {})).status for _ in range(3)]
        assert statuses == [401, 429, 429]


async def test_the_log_names_the_address_of_who_is_refused() -> None:
    """And of nobody else."""
    async with running(trusted_proxies="127.0.0.0/8") as run:
        with capture_logs(processors=[of_call]) as lines:
            await run.call("POST", "/v1/otp/verify", headers=WRONG_KEY | {"X-Forwarded-For": "198.51.100.1"})
            await run.call("POST", "/v1/otp/request", headers={"X-Forwarded-For": "198.51.100.2"})
    assert [(line["status"], line.get("client")) for line in lines if line["event"] == "http.request"] == [
        (401, "198.51.100.1"),
        (200, None),
    ]
