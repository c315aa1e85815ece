"""What is measured and how it is judged, one kind of thing at a time."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.messenger import Hook
from checks import certificates, clock, disk, meant, messengers, public, service, strength, webhooks
from checks.calls import Answer, Outside, Unreached, call
from checks.findings import Level, ok, problem, warning, worst
from tests.certificates import Authority
from tests.fakes import START
from tests.names import Names
from tests.process import free_port

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM
DAY = 86_400_000


def date(at: int) -> str:
    """A moment as HTTP writes it."""
    return format_datetime(datetime.fromtimestamp(at // 1000, UTC), usegmt=True)


def names_in(folder: Path) -> list[str]:
    """Of all that is there."""
    return [path.name for path in folder.iterdir()]


def test_the_worst_counts() -> None:
    """And nothing at all is well."""
    found = [ok("a", "b"), problem("a", "b", "c"), warning("a", "b", "c")]
    assert (worst(found), worst(found[:1]), worst([])) == (PROBLEM, OK, OK)


# ------------------------------------------------------------------ the clock


@given(true=st.integers(START, START + 10_000), off=st.integers(-200_000, 200_000), took=st.integers(0, 3000))
def test_a_drift_is_told_as_far_as_it_is_certain(true: int, off: int, took: int) -> None:
    """Never larger than it is, never of the wrong sign, and short of it by the call's time and a second at most."""
    sent, received = true + off, true + off + took
    written = true + took // 2  # anywhere in between
    told = clock.drift_ms(date(written), sent, received)
    assert told is not None
    assert told * off >= 0
    assert abs(told) <= abs(off)
    assert abs(off) - abs(told) <= 1000 + took


@pytest.mark.parametrize("written", [None, "", "yesterday", "Mon, 99 Nov 2026 10:00:00 GMT"])
def test_a_date_that_can_not_be_read_tells_nothing(written: str | None) -> None:
    """Whatever a server sends."""
    assert clock.drift_ms(written, START, START) is None


@pytest.mark.parametrize(
    "drifts,level,told",
    [
        ({"Telegram": 0, "MAX": 400}, OK, "within a second of Telegram's and MAX's"),
        ({"Telegram": 61_000}, PROBLEM, "61 s ahead of Telegram's"),
        ({"Telegram": -7_000}, WARNING, "7 s behind Telegram's"),
        ({"Telegram": 61_000, "MAX": 0}, OK, "61 s ahead of Telegram's, within a second of MAX's"),
        ({"Telegram": None}, WARNING, "can't be compared"),
        ({}, WARNING, "can't be compared"),
    ],
)
def test_the_clock_is_judged_by_the_nearest(drifts: dict[str, int | None], level: Level, told: str) -> None:
    """One messenger with a wrong clock does not make ours wrong."""
    found = clock.judge(drifts)
    assert found.level is level
    assert told in found.text


def test_without_a_messenger_nobody_is_asked_for_the_time() -> None:
    """That is no matter of this machine's clock."""
    found = clock.judge({}, asked=False)
    assert (found.level, found.text) == (OK, "can't be compared: no messenger is on")


def test_a_time_that_was_noted_may_not_be_ahead() -> None:
    """By a moment it always is."""
    assert clock.judge_noted(None, START) is None
    assert clock.judge_noted(START + 4_000, START) is None
    for ahead, level in ((10_000, WARNING), (3_600_000, PROBLEM)):
        found = clock.judge_noted(START + ahead, START)
        assert found is not None
        assert found.level is level


def test_the_database_servers_clock_is_compared() -> None:
    """All replicas live by it."""
    assert clock.judge_database(0).level is OK
    assert "60 s ahead of this machine's" in clock.judge_database(-60_000).text
    assert clock.judge_database(-60_000).level is PROBLEM


# ------------------------------------------------------------------ the disk


async def test_fsync_is_timed_in_the_folder_and_leaves_nothing(tmp_path: Path) -> None:
    """The median of as many as were asked for, on a file that is there meanwhile."""
    ticks: Iterator[float] = iter([0.0] + [x for n in range(5) for x in (0.0, n, n + (n + 1) / 1000)])
    seen: list[list[str]] = []

    def fsync(handle: int) -> None:
        os.fsync(handle)
        seen.append(names_in(tmp_path))

    found = await disk.fsync_time(str(tmp_path), times=5, seconds=100, clock=lambda: next(ticks), fsync=fsync)
    assert (round(found.middle, 6), round(found.slowest, 6)) == (3, 5)
    assert [len(names) for names in seen] == [1] * 5
    assert names_in(tmp_path) == []


async def test_a_slow_disk_is_not_waited_for(tmp_path: Path) -> None:
    """One fsync of five seconds is told as such, and no other follows."""
    ticks = iter([0.0, 0.0, 0.0, 5.0, 5.0])
    found = await disk.fsync_time(str(tmp_path), clock=lambda: next(ticks), fsync=lambda _: None)
    assert found == disk.Fsync(5000, 5000)
    assert disk.judge_fsync(found).level is PROBLEM


@pytest.mark.parametrize("middle,level", [(1.0, OK), (25.0, WARNING), (300.0, PROBLEM)])
def test_fsync_is_judged(middle: float, level: Level) -> None:
    """By its median."""
    assert disk.judge_fsync(disk.Fsync(middle, 900.0)).level is level


async def test_a_folder_that_can_not_be_written_to(tmp_path: Path) -> None:
    """The reason is the system's."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        await disk.fsync_time(str(tmp_path / "file"))
    assert "Not a directory" in disk.judge_failure("data", caught.value).text

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left"):
        await disk.fsync_time(str(tmp_path), fsync=full)
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "number,told",
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "chown"),
        (None, "chown"),
    ],
)
def test_what_to_do_depends_on_why_nothing_can_be_written(number: int | None, told: str) -> None:
    """A full disk is no matter of users."""
    error = OSError() if number is None else OSError(number, os.strerror(number))
    assert told in (disk.judge_failure("data", error).hint or "")


@pytest.mark.parametrize(
    "free,files,level",
    [
        (50 * disk.GIB, None, OK),
        (50 * disk.GIB, 5_000_000, OK),
        (600 * disk.MIB, None, WARNING),
        (20 * disk.MIB, None, PROBLEM),
        (50 * disk.GIB, 7, PROBLEM),
    ],
)
def test_room_is_judged(free: int, files: int | None, level: Level) -> None:
    """By bytes, and by the files that can still be made."""
    assert disk.judge_space(disk.Space(free, 100 * disk.GIB, files)).level is level


def test_room_is_that_of_the_folder(tmp_path: Path) -> None:
    """As the system tells it."""
    found = disk.space(str(tmp_path))
    assert 0 < found.free <= found.total


@pytest.mark.parametrize(
    "count,told", [(0, "0 B"), (2048, "2.0 KiB"), (disk.GIB * 70, "70.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes_for_people(count: int, told: str) -> None:
    assert disk.size(count) == told


# ------------------------------------------------------------------ secrets


@pytest.mark.parametrize(
    "key,level",
    [
        ("a" * 40, PROBLEM),
        ("abcd1234" * 5, PROBLEM),
        ("k7Qz9xWp" * 5, PROBLEM),
        ("abcdefghijklmnopqrstuvwxyz0123456789", PROBLEM),
        ("change-me-to-something-that-is-long-enough", PROBLEM),
        ("SECRET-" + secrets.token_hex(16), PROBLEM),
        ("the-key-of-a-process-kkkkkkkkkkkkkkkkkkkk", WARNING),
        (secrets.token_urlsafe(36), OK),
        (secrets.token_hex(16), OK),
        (secrets.token_hex(32), OK),
    ],
    ids=[
        "one letter",
        "a period",
        "another",
        "a row",
        "an example",
        "a word",
        "a sentence",
        "urlsafe",
        "hex",
        "long hex",
    ],
)
def test_secret_keys_are_judged_and_never_shown(key: str, level: Level) -> None:
    """What a person would type is found; what a machine has drawn is good."""
    found = strength.judge([key], {})
    assert worst(found) is level
    assert all(key not in f"{one.text}{one.hint}" for one in found)


def test_a_key_that_is_there_twice_and_secrets_of_webhooks() -> None:
    """The latter can be tried online only, so less is enough."""
    key = secrets.token_urlsafe(36)
    assert worst(strength.judge([key, key], {})) is WARNING
    assert worst(strength.judge([key], {"MAX_WEBHOOK_SECRET": secrets.token_urlsafe(12)})) is OK
    assert worst(strength.judge([key], {"MAX_WEBHOOK_SECRET": "abababababababab"})) is PROBLEM
    [weak] = strength.judge([key], {"PROJECT_API_KEY": "x" * 32})
    assert "at most 0 bits" in weak.text
    assert (weak.level, "PROJECT_API_KEY" in weak.text) == (PROBLEM, True)


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("days,told", [(None, ""), (30, ""), (29, "for 29 days are"), (1, "for 1 day are")])
def test_few_days_of_retention_are_asked_about(days: int | None, told: str) -> None:
    """Who is forgotten does not come back with the setting."""
    found = meant.judge_retention(days)
    assert worst(found) is (WARNING if told else OK)
    assert told in "".join(one.text for one in found)


@pytest.mark.parametrize(
    "port,guarded,inside,level",
    [
        (9100, False, False, WARNING),
        (9100, True, False, OK),
        (9100, False, True, OK),
        (None, False, False, OK),
    ],
)
def test_figures_for_anybody(port: int | None, guarded: bool, inside: bool, level: Level) -> None:
    """A port of its own asks for a token where there is one."""
    found = meant.judge_metrics("0.0.0.0", port, guarded=guarded, inside=inside)  # noqa: S104
    assert worst(found) is level
    assert all("9100" in one.text and "METRICS_TOKEN" in str(one.hint) for one in found)


# ------------------------------------------------------------------ webhooks

OURS = "https://codes.example/webhooks/telegram"


@pytest.mark.parametrize(
    "hooks,level,told",
    [
        ([Hook(OURS)], OK, "registered"),
        ([Hook(OURS, None, None, 3)], OK, "3 waiting"),
        ([Hook(OURS, None, None, 300)], WARNING, "300 waiting"),
        ([Hook(OURS, "Connection refused", START - 60_000, 4)], PROBLEM, "firewall"),
        ([Hook(OURS, "Connection refused", START - 60_000, 0)], WARNING, "60 s ago"),
        ([Hook(OURS, "Wrong response from the webhook: 401 Unauthorized", START - 1, 1)], PROBLEM, "secret"),
        ([Hook(OURS, "Wrong response from the webhook: 404 Not Found", START - 1, 1)], PROBLEM, "proxy"),
        ([Hook(OURS, "SSL error {certificate verify failed}", START - 1, 1)], PROBLEM, "certificate"),
        ([Hook(OURS, "Connection refused", START - 2 * DAY, 0)], OK, "more than a day ago"),
        ([], PROBLEM, "none is registered"),
        ([Hook("https://other.example/bot/123:token")], PROBLEM, "other.example"),
        ([Hook(OURS), Hook("https://other.example/x")], PROBLEM, "gets every update too"),
        ([Hook("https://[broken/")], PROBLEM, "?"),
    ],
)
def test_webhooks_are_judged(hooks: list[Hook], level: Level, told: str) -> None:
    """Another program's address may hold a token: only its host is shown."""
    found = webhooks.judge("telegram webhook", hooks, OURS, START)
    assert worst(found) is level
    said = "".join(f"{one.text} {one.hint}" for one in found)
    assert told in said
    assert "123:token" not in said
    assert "python" not in said  # the command line is called otherwise in most installations


@pytest.mark.parametrize(
    "pending,ago,taken,level",
    [
        (0, 21 * 60_000, True, OK),
        (0, 21 * 60_000, False, WARNING),
        (1, 21 * 60_000, True, WARNING),
        (0, 60_000, True, WARNING),
        (None, 21 * 60_000, True, WARNING),
    ],
)
def test_an_error_that_is_over(pending: int | None, ago: int, taken: bool, level: Level) -> None:
    """Telegram tells its last error for ever: nothing waits, and what we bring is taken."""
    hook = Hook(OURS, "Wrong response from the webhook: 502 Bad Gateway", START - ago, pending)
    [found] = webhooks.judge("telegram webhook", [hook], OURS, START, taken=taken)
    assert found.level is level
    if level is OK:
        assert found.text == "registered, 0 waiting (last failure 21 min ago, over since)"


def test_webhooks_while_updates_are_fetched() -> None:
    """Then there must be none."""
    assert worst(webhooks.judge("max webhook", [], None, START)) is OK
    assert worst(webhooks.judge("max webhook", [Hook(OURS)], None, START)) is PROBLEM


# ------------------------------------------------------------------ certificates and calls


@asynccontextmanager
async def server(
    context: ssl.SSLContext | None, answer: bytes | None = b"", host: str = "codes.example", port: int = 443
) -> AsyncIterator[Names]:
    """Answers everybody the same; None never. The names that lead there."""
    hang = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await hang.wait()
        elif await reader.read(65536):
            writer.write(answer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    names = Names()
    names.known[host, port] = listening.sockets[0].getsockname()[1]
    try:
        yield names
    finally:
        hang.set()
        listening.close()
        await asyncio.sleep(0)


@dataclass
class Papers:
    """Who signs what in the tests of certificates."""

    root: Authority
    between: Authority
    stranger: Authority


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    root = Authority(folder)
    return Papers(root, Authority(folder, root), Authority(folder, Authority(folder)))


NAME = "codes.example"


@pytest.mark.parametrize(
    "made,level,told",
    [
        (lambda all: all.between.server(NAME), OK, "chain complete"),
        (lambda all: all.between.server(NAME, complete=False), PROBLEM, "incomplete"),
        (lambda all: all.root.server(NAME, by_itself=True), PROBLEM, "by itself"),
        (lambda all: all.between.server(NAME, expired=True), PROBLEM, "expired"),
        (lambda all: all.between.server(NAME, days=9), WARNING, "9 days left"),
        (lambda all: all.between.server(NAME, days=1), PROBLEM, "24 hours left"),
        (lambda all: all.between.server("shop.example"), PROBLEM, "for shop.example, not for codes.example"),
        (lambda all: all.stranger.server(NAME), PROBLEM, "neither sent nor known"),
    ],
    ids=["good", "incomplete", "self-signed", "expired", "soon", "very soon", "other name", "unknown root"],
)
async def test_certificates_are_judged_as_messengers_do(
    papers: Papers, made: Callable[[Papers], ssl.SSLContext], level: Level, told: str
) -> None:
    """Nothing is fetched that the server does not send, and nothing is trusted but the roots."""
    async with server(made(papers)) as names:
        outside = Outside(papers.root.trusting(), names)
        chain = await certificates.chain_of(NAME, 443, outside=outside)
        ends = await certificates.expires_at(NAME, 443, outside=outside)
    found = certificates.judge(chain, round(datetime.now(UTC).timestamp() * 1000))
    assert found.level is level, found
    assert told in f"{found.text} {found.hint}"
    assert ends == chain.sent[0].expires_at


def test_other_reasons_to_refuse_a_certificate() -> None:
    """A private authority whose root is sent along, one that is not valid yet, and whatever else there is."""
    leaf = certificates.Certificate(NAME, "a root", [NAME], START, START + 90 * DAY, self_signed=False)
    for code, told in ((19, "which this machine does not know"), (9, "not valid yet"), (99, "the reason")):
        found = certificates.judge(certificates.Chain(NAME, [leaf], code, "the reason"), START)
        assert (found.level, told in found.text) == (PROBLEM, True)


async def test_a_host_without_tls_or_without_a_name(papers: Papers) -> None:
    """How far it came."""
    async with server(None, b"HTTP/1.1 400 Bad Request\r\n\r\n") as names:
        outside = Outside(papers.root.trusting(), names)
        with pytest.raises(Unreached, match="speaks no TLS"):
            await certificates.chain_of(NAME, 443, outside=outside)
        with pytest.raises(Unreached, match="its name can't be resolved"):
            await certificates.chain_of("other.example", 443, outside=outside)
        names.known["closed.example", 443] = free_port()
        with pytest.raises(Unreached, match="Connection refused"):
            await certificates.chain_of("closed.example", 443, outside=outside)


async def stage(outside: Outside, url: str, **how: Any) -> str:
    """Where a call ended."""
    with pytest.raises(Unreached) as caught:
        await call(url, outside=outside, seconds=0.3, **how)
    assert "secret" not in caught.value.why
    return caught.value.stage


async def test_a_call_tells_how_far_it_came(papers: Papers) -> None:
    """Name, connection, TLS, certificate, proxy, answer; never more of the address than its host."""
    trusts = papers.root.trusting()
    path = "/?secret"
    async with server(papers.between.server(NAME), b"") as names:
        outside = Outside(trusts, names)
        assert await stage(outside, f"https://other.example{path}") == "name"
        names.known[NAME, 444] = free_port()
        assert await stage(outside, f"https://{NAME}:444{path}") == "connect"
        assert await stage(outside, f"https://{NAME}{path}") == "answer"
        names.known["shop.example", 443] = names.known[NAME, 443]
        assert await stage(outside, f"https://shop.example{path}") == "certificate"
        closed = f"http://user:secret@127.0.0.1:{free_port()}"
        assert await stage(outside, f"https://{NAME}{path}", proxy=closed) == "proxy"
    async with server(None, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as names:
        asked = f"http://user:secret@127.0.0.1:{names.known[NAME, 443]}"
        assert await stage(Outside(trusts, names), f"https://{NAME}{path}", proxy=asked) == "proxy"
        assert await stage(Outside(trusts, names), f"https://{NAME}{path}") == "tls"
    async with server(None, None, port=80) as names:
        assert await stage(Outside(trusts, names), f"http://{NAME}{path}") == "time"


async def test_a_redirect_is_an_answer() -> None:
    """Nothing that was sent goes along with it."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n"
    async with server(None, answer, port=80) as names:
        got = await call(f"http://{NAME}/", outside=Outside(None, names))
    assert got.status == 302


async def test_the_time_is_told_without_a_token(papers: Papers) -> None:
    """By any answer, whatever its status."""
    answer = f"HTTP/1.1 404 Not Found\r\nDate: {date(START)}\r\nContent-Length: 0\r\n\r\n".encode()
    async with server(papers.between.server(NAME), answer) as names:
        outside = Outside(papers.root.trusting(), names)
        drift = await clock.clock_drift(f"https://{NAME}", lambda: START + 61_000, outside=outside)
    assert drift is not None
    assert 60_000 <= drift <= 62_000


# ------------------------------------------------------------------ the service and its public address

READY = {
    "ready": True,
    "store": "ok",
    "draining": False,
    "version": "1.0",
    "channels": {"telegram": {"state": "ok", "breaker": "closed"}},
}


@pytest.mark.parametrize(
    "change,level,told",
    [
        ({}, OK, "ready"),
        ({"ready": False, "store": "unavailable"}, PROBLEM, "store is unavailable"),
        ({"ready": False, "draining": True}, WARNING, "about to stop"),
        ({"version": "0.9"}, WARNING, "this program is 1.0"),
        ({"channels": {}}, WARNING, "other settings"),
        ({"channels": {"telegram": {"state": "unauthorized"}}}, PROBLEM, "unauthorized"),
        ({"channels": {"telegram": {"state": "unknown"}}}, WARNING, "not reached telegram yet"),
        ({"channels": {"telegram": {"state": "ok", "breaker": "open"}}}, PROBLEM, "breaker open"),
    ],
)
def test_the_service_is_judged_by_what_it_says(change: dict[str, Any], level: Level, told: str) -> None:
    """Of itself, and of its channels."""
    found = service.judge({**READY, **change}, "1.0", ["telegram"])
    assert worst(found) is level
    assert told in "".join(f"{one.text} {one.hint}" for one in found)


def test_a_service_that_has_an_older_token() -> None:
    """A token that is accepted in the settings and refused in the service is a restart away."""
    refused = {**READY, "channels": {"telegram": {"state": "unauthorized"}}}
    [before] = service.judge(refused, "1.0", ["telegram"])
    [after] = service.judge(refused, "1.0", ["telegram"], ["telegram"])
    assert before.level is after.level is PROBLEM
    assert "see the lines about telegram" in str(before.hint)
    assert after.hint == "the service still runs with an older token: restart it"


@pytest.mark.parametrize(
    "host,told",
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104
        ("::", "http://[::1]:80"),
        ("localhost", "http://localhost:80"),
    ],
)
def test_where_the_service_is_asked(host: str, told: str) -> None:
    """One that listens everywhere is asked here."""
    assert service.address(host, 80) == told


async def test_another_program_at_the_port() -> None:
    """Whatever it answers, it is not taken for the service."""
    async with server(None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as names:
        with pytest.raises(Unreached, match="another program"):
            await service.readiness("127.0.0.1", names.known[NAME, 443])
    assert "nobody answers at x" in service.judge_away("x", "why", owned=False).text
    assert "owns the database" in service.judge_away("x", "why", owned=True).text


def answer(status: int, body: bytes = b"") -> Answer:
    return Answer(status, {}, body, 1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    "seen,level,told",
    [
        (answer(200, b"ok\n"), OK, "took an update"),
        (answer(200, b"<html>"), PROBLEM, "another program"),
        (answer(401), PROBLEM, "webhook secret"),
        (answer(404), PROBLEM, "pass /webhooks/"),
        (answer(502), PROBLEM, "does not reach the service"),
        (answer(301), PROBLEM, "redirects"),
        (answer(799), PROBLEM, "799"),
    ],
)
def test_what_the_public_address_answers(seen: Answer, level: Level, told: str) -> None:
    """Only one answer is the service's."""
    found = public.judge("/webhooks/max", seen)
    assert found.level is level
    assert told in f"{found.text} {found.hint}"


def test_a_public_address_that_is_not_reached_from_here() -> None:
    """That counts less where the messenger reaches it."""
    refused, hung = Unreached("connect", "refused"), Unreached("time", "no answer")
    judged = partial(public.judge_unreached, NAME, 443)
    assert judged(refused, delivered=True, here=False).level is WARNING
    assert judged(refused, delivered=False, here=False).level is PROBLEM
    assert judged(hung, delivered=True, here=True).level is WARNING
    stopped = judged(refused, delivered=True, here=True)
    assert stopped.level is PROBLEM
    assert "nothing listens on port 443 of this machine" in stopped.text
    assert "nginx or Caddy" in str(stopped.hint)


@pytest.mark.parametrize(
    "addresses,here",
    [
        (["127.0.0.1"], True),
        (["127.0.0.1", "127.0.1.1"], True),
        (["192.0.2.7"], False),
        (["127.0.0.1", "192.0.2.7"], False),
        ([], False),
    ],
)
async def test_whether_a_name_leads_to_this_machine(addresses: list[str], here: bool) -> None:
    """With all of its addresses; 192.0.2.7 is nobody's (RFC 5737)."""
    names = Names()
    names.known[NAME, 443] = 443
    names.addresses = addresses
    assert await public.leads_here(NAME, 443, outside=Outside(None, names)) is here


def test_what_is_normal_before_the_first_start() -> None:
    """The same findings, which are problems of a service that ran."""
    for new, level in ((True, WARNING), (False, PROBLEM)):
        found = [
            service.judge_away("x", "refused", owned=False, new=new),
            *webhooks.judge("telegram webhook", [], OURS, START, new=new),
            public.judge("/webhooks/max", answer(502), new=new),
        ]
        assert [one.level for one in found] == [level] * 3
        assert all(("before the first start" in str(one.hint)) is new for one in found)
    assert service.judge_away("x", "refused", owned=True, new=True).level is PROBLEM
    assert worst(webhooks.judge("x", [Hook("https://other.example/x")], OURS, START, new=True)) is PROBLEM
    assert public.judge("/webhooks/max", answer(404), new=True).level is PROBLEM


def test_messengers_are_judged() -> None:
    """Reached, slow, not reached; known, unknown, another bot."""
    reach = messengers.judge_reach
    assert reach("max", "h", answer(404), proxied=False).level is OK
    assert reach("max", "h", replace(answer(404), total_ms=5000.0), proxied=True).level is WARNING
    assert "MAX_PROXY_URL" in str(reach("max", "h", Unreached("connect", "refused"), proxied=False).hint)
    assert "DNS" in str(reach("max", "h", Unreached("name", "unknown"), proxied=False).hint)
    assert messengers.judge_bot("max", "a_bot", None).level is OK
    assert messengers.judge_bot("max", "a_bot", "A_Bot").level is OK
    assert messengers.judge_bot("max", "a_bot", "b_bot").level is WARNING
    for channel in ("telegram", "max"):
        refused = messengers.judge_refused(channel, "x", unauthorized=True)
        assert refused.text == "the token is refused"
        assert str(refused.hint).endswith(f"set {channel.upper()}_BOT_TOKEN, then restart the service")
    assert "x" in messengers.judge_refused("telegram", "x", unauthorized=False).text
