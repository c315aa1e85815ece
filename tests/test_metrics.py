"""What `/metrics` tells, to whom, and that it tells nothing of anybody."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from time import perf_counter

import pytest

from bot.background import WATCHDOG_MS
from bot.measured import result_of
from config.process import StartError
from metrics.figures import ASKING_RESULTS, ASKINGS, MESSAGE_RESULTS, MESSAGES, Figures
from metrics.loop import LoopWatch
from metrics.posts import CountedPost
from otp.breaker import FAILURES
from otp.model import Channel, Mode, Refusal
from otp.ports import Accepted, NotSent, Outcome, Refused, Reply, Unknown
from sandbox.wire import Fault
from tests.attempts import SENDING, pass_time
from tests.conftest import postgres_url
from tests.disks import eventually
from tests.fakes import FakeClock
from tests.process import ROOT, free_port
from tests.prometheus import Samples
from tests.running import Answer, Running, running
from tests.test_test_mode import FIXED_ID, play, with_test_key
from tests.test_webhooks import opening, post

TOKEN = "the-token-of-the-tests-of-metrics"
MOST_SERIES = 800
"""Without what the process tells; each costs Prometheus some kilobytes for ever."""


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service with figures."""
    async with running(metrics_token=TOKEN) as made:
        yield made


async def asked(run: Running, url: str = "", token: str | None = TOKEN) -> Answer:
    """An answer of `/metrics`."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with run.http.get(f"{url or run.url}/metrics", headers=headers) as answer:
        return Answer(answer.status, answer.headers.copy(), await answer.text())


async def scraped(run: Running) -> Samples:
    """What it tells now."""
    answer = await asked(run)
    assert answer.status == 200, answer.text
    return Samples.read(answer.text)


async def guessed(run: Running, subscriber_id: str, *codes: str) -> None:
    """Some guesses."""
    for code in codes:
        await run.verify(subscriber_id, code)


# ------------------------------------------------------------------ who may have it, and where


async def test_without_a_port_and_a_token_there_is_none() -> None:
    """As if the path did not exist."""
    async with running() as run:
        assert (await asked(run)).status == 404
        assert run.service.measuring is None


async def test_without_the_token_there_is_nothing(run: Running) -> None:
    """A problem like any other, which says what is needed."""
    for given in (None, "", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "*"):
        answer = await asked(run, token=given)
        assert answer.status == 401, given
        assert answer.json["code"] == "unauthorized"
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert TOKEN not in answer.text


async def test_the_token_stands_in_one_header(run: Running) -> None:
    """Two are none, as everywhere; an API key is no token."""
    both = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")]
    async with run.http.get(f"{run.url}/metrics", headers=both) as answer:
        assert answer.status == 401
    assert (await asked(run, token=run.api_key)).status == 401
    assert (await asked(run)).status == 200


async def test_it_is_prometheus_text(run: Running) -> None:
    """Or OpenMetrics, for who asks for that; kept by nobody on the way."""
    answer = await asked(run)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "application/openmetrics-text; version=1.0.0"}
    async with run.http.get(f"{run.url}/metrics", headers=headers) as given:
        assert given.headers["Content-Type"].startswith("application/openmetrics-text")
        assert (await given.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    "accept",
    ["text/plain;version=x", "application/openmetrics-text; version=1..0", "text/plain;version=1.0.0-\u00e9"],
)
async def test_a_form_that_is_none_is_the_plain_one(run: Running, accept: str) -> None:
    """Nobody's header is a bug of ours."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept}
    async with run.http.get(f"{run.url}/metrics", headers=headers) as given:
        assert given.status == 200
        assert given.headers["Content-Type"].startswith("text/plain; version=")


async def test_a_port_of_its_own_is_open_to_who_reaches_it() -> None:
    """And serves nothing else; the main server has no such path."""
    port = free_port()
    async with running(metrics_port=port) as run:
        assert (await asked(run, f"http://127.0.0.1:{port}", None)).status == 200
        assert (await asked(run)).status == 404
        async with run.http.get(f"http://127.0.0.1:{port}/healthz") as other:
            assert other.status == 404
    async with running(metrics_port=port) as again:  # let go at the end
        assert (await asked(again, f"http://127.0.0.1:{port}", None)).status == 200


async def test_the_token_guards_the_port_too() -> None:
    """Where both are set."""
    port = free_port()
    async with running(metrics_port=port, metrics_token=TOKEN) as run:
        own = f"http://127.0.0.1:{port}"
        assert [(await asked(run, url, token)).status for url in (own, "") for token in (TOKEN, None)] == [
            200,
            401,
            200,
            401,
        ]


async def test_a_port_that_is_taken_is_named() -> None:
    """By the setting that an operator can change."""
    port = free_port()
    async with running(metrics_port=port):
        with pytest.raises(StartError, match="METRICS_PORT"):
            async with running(metrics_port=port):
                pass


# ------------------------------------------------------------------ what is counted


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_login_is_counted_from_request_to_verified(run: Running, channel: Channel) -> None:
    """Each stage once, one code, its time, and what the messenger was called for."""
    before = await scraped(run)
    person = run.someone(channel)
    subscriber_id = await run.subscriber(person)
    await guessed(run, subscriber_id, "000000", "12", person.codes[-1], person.codes[-1])
    await run.quiet()
    found = await scraped(run)
    stages = {
        one: found.of("tapcode_requests_total", stage=one)
        for one in ("requested", "opened", "consented", "sent", "verified", "cancelled", "expired")
    }
    assert stages == dict.fromkeys(stages, 1) | {"cancelled": 0, "expired": 0}
    assert found.of("tapcode_codes_total", channel=channel, by="person", outcome="accepted") == 1
    assert found.total("tapcode_codes_total") == 1
    assert found.of("tapcode_delivery_seconds_count", channel=channel, by="person") == 1
    verdicts = {
        one: found.of("tapcode_verify_total", result=one)
        for one in ("verified", "wrong_code", "malformed_code", "no_active_code", "locked")
    }
    assert verdicts == dict.fromkeys(verdicts, 1) | {"locked": 0}
    assert found.of("tapcode_subscriber_changes_total", change="joined") == 1
    for call in ("code", "message", "answer"):
        assert found.of("tapcode_messenger_calls_total", channel=channel, call=call, result="ok") == 1
        assert found.of("tapcode_messenger_call_seconds_count", channel=channel, call=call) == 1
    assert found.of("tapcode_updates_total", channel=channel, result="handled") == 2
    for name in ("tapcode_store_commit_seconds_count", "tapcode_store_commit_operations_sum"):
        assert found.of(name) > before.of(name)
    route = "/v1/otp/verify"
    assert found.of("tapcode_http_request_seconds_count", route=route, status="2xx") == 4


async def test_a_site_that_sends_is_told_from_a_tap(run: Running) -> None:
    """With the time from its call to the messenger's answer."""
    person = run.someone()
    subscriber_id = await run.subscriber(person)
    run.demo.telegram.faults.append(Fault(SENDING, status=403))
    for _ in range(2):
        await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
    found = await scraped(run)
    assert found.of("tapcode_codes_total", channel="telegram", by="site", outcome="gone") == 1
    assert found.of("tapcode_messenger_calls_total", channel="telegram", call="code", result="gone") == 1
    assert found.of("tapcode_subscriber_changes_total", change="left") == 1
    assert found.of("tapcode_delivery_seconds_count", channel="telegram", by="site") == 0


async def test_a_code_takes_as_long_as_its_messenger(run: Running) -> None:
    """From the tap on, retries included."""
    person = run.someone()
    await person.open((await run.request())["telegram_link"])
    run.demo.telegram.faults.append(Fault(SENDING, retry_after=3))
    await person.press("Get the code")
    await pass_time(run, 10, lambda: bool(person.codes))
    found = await scraped(run)
    assert found.of("tapcode_delivery_seconds_sum", channel="telegram", by="person") >= 3
    assert found.of("tapcode_messenger_calls_total", channel="telegram", call="code", result="limited") == 1


async def test_reports_and_cancels_are_counted(run: Running) -> None:
    """The person said that it was not them."""
    person = run.someone()
    for label in ("Cancel", "Get the code"):
        await person.open((await run.request())["telegram_link"])
        await person.press(label)
    await person.press("It wasn't me")
    found = await scraped(run)
    assert found.of("tapcode_requests_total", stage="cancelled") == 1
    assert found.of("tapcode_requests_total", stage="reported") == 1
    assert found.of("tapcode_subscriber_changes_total", change="reported") == 1


async def test_locks_are_counted() -> None:
    """And guesses while it is locked."""
    async with running(metrics_token=TOKEN, guess_budget=2) as run:
        subscriber_id = await run.subscriber(run.someone())
        await guessed(run, subscriber_id, "000000", "000001", "000002")
        found = await scraped(run)
        assert found.of("tapcode_subscriber_changes_total", change="locked") == 1
        assert found.of("tapcode_verify_total", result="locked") == 1


async def test_accounts_are_verified_too(run: Running) -> None:
    """By `external_id`, in another way inside."""
    await run.call("POST", "/v1/otp/verify", {"external_id": "user-7", "code": "000000"})
    assert (await scraped(run)).of("tapcode_verify_total", result="no_active_code") == 1


async def test_what_becomes_of_updates(run: Running) -> None:
    """A wrong secret, garbage, one that can't be stored; and how old they were."""
    update = await opening(run, run.someone())
    await post(run, "telegram", update, "a wrong secret")
    await post(run, "telegram", b"{")
    run.clock.advance(seconds=40)
    await post(run, "telegram", update)
    await run.quiet()
    found = await scraped(run)
    for result in ("wrong_secret", "dropped", "handled"):
        assert found.of("tapcode_updates_total", channel="telegram", result=result) == 1
    assert found.of("tapcode_update_lag_seconds_count", channel="telegram") == 1
    assert 40 <= found.of("tapcode_update_lag_seconds_sum", channel="telegram") < 42


async def test_fetched_updates_are_counted() -> None:
    """Where there is no public address."""
    async with running(metrics_token=TOKEN, public_url=None) as run:
        await run.someone("max").say("hello")
        found = await scraped(run)
        assert found.of("tapcode_updates_total", channel="max", result="fetched") == 1
        assert found.of("tapcode_messenger_calls_total", channel="max", call="fetch", result="ok") >= 1
        assert not found.has("tapcode_messenger_call_seconds_count", channel="max", call="fetch")
        assert not found.has("tapcode_channel_webhook_registered", channel="max")


async def test_test_mode_is_not_counted(run: Running) -> None:
    """Neither its requests, codes and guesses, nor its calls."""
    before = await scraped(run)
    test = await with_test_key(run)
    request = await test.request()
    await play(test, request, "consent")
    status = await test.status(request)
    await guessed(test, status["subscriber_id"], "000000", "424242")
    for number in range(1, 7):
        await test.call("POST", "/v1/otp/send", {"subscriber_id": FIXED_ID.format(number)})
    await play(test, await test.request(), "report")
    await run.quiet()
    after = await scraped(run)

    def real(samples: Samples) -> Mapping[object, float]:
        """Without what every commit and scrape changes."""
        inside = ("tapcode_store_", "tapcode_event_loop", "process_")
        return {
            key: value
            for key, value in samples.items()
            if not key[0].startswith(inside) and ("route", "/metrics") not in key[1]
        }

    assert real(after) == real(before)


@pytest.mark.parametrize(
    "outcome, result",
    [
        (Accepted("1"), "ok"),
        (Refused(Refusal.GONE), "gone"),
        (Refused(Refusal.REJECTED), "rejected"),
        (Refused(Refusal.REJECTED, unauthorized=True), "unauthorized"),
        (NotSent(1000, answered=True), "limited"),
        (NotSent(), "unreachable"),
        (Unknown(), "unknown"),
    ],
)
def test_each_outcome_of_a_call_has_a_word(outcome: Outcome, result: str) -> None:
    """Of which the figures know beforehand."""
    assert result_of(outcome) == result
    assert result in MESSAGE_RESULTS


@pytest.mark.parametrize(
    "status, result",
    [(200, "delivered"), (204, "delivered"), (301, "refused"), (500, "refused"), (None, "unreachable")],
)
async def test_what_comes_of_telling_a_site(clock: FakeClock, status: int | None, result: str) -> None:
    """The reply goes on as it came."""
    told = Reply(status, "" if status else "timeout")

    class Way:
        async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
            assert (url, headers, body) == ("https://shop.example", {"a": "b"}, b"{}")
            return told

    counted: list[str] = []
    assert await CountedPost(Way(), counted.append).post("https://shop.example", {"a": "b"}, b"{}") is told
    assert counted == [result]


async def test_a_loop_that_is_held_up_is_late() -> None:
    """By as long as it was held up."""
    late: list[float] = []
    woken = asyncio.Event()

    def note(seconds: float) -> None:
        late.append(seconds)
        woken.set()

    watch = LoopWatch(note, every=0)
    watch.start()
    began = perf_counter()
    while perf_counter() - began < 0.02:
        pass
    await woken.wait()
    watch.stop()
    assert late[0] >= 0.015
    seen = len(late)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(late) == seen


# ------------------------------------------------------------------ how things are


@pytest.mark.parametrize("channel", list(Channel))
async def test_a_revoked_token_shows(run: Running, channel: Channel) -> None:
    """In the state of the channel, and in the very first call that is refused."""
    sim = run.demo.telegram if channel is Channel.TELEGRAM else run.demo.max
    subscriber_id = await run.subscriber(run.someone(channel))
    found = await scraped(run)
    for name in ("reachable", "token_accepted", "webhook_registered"):
        assert found.of(f"tapcode_channel_{name}", channel=channel) == 1
    sim.faults.append(Fault(times=1000, status=401))
    await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
    await run.service.registration.check(channel)
    found = await scraped(run)
    assert found.of("tapcode_messenger_calls_total", channel=channel, call="code", result="unauthorized") == 1
    asking = {"channel": channel, "call": "identify", "result": "unauthorized"}
    assert found.of("tapcode_messenger_calls_total", **asking) >= 1  # the refused code had it asked too
    assert found.of("tapcode_channel_token_accepted", channel=channel) == 0
    assert found.of("tapcode_channel_reachable", channel=channel) == 1


async def test_a_messenger_that_is_away_shows(run: Running) -> None:
    """Nobody knows then what it thinks of the token."""
    subscriber_id = await run.subscriber(run.someone())
    run.demo.telegram.faults.append(Fault(times=1000, drop=True))
    await run.service.registration.check(Channel.TELEGRAM)
    for _ in range(FAILURES):
        await run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id})
    found = await scraped(run)
    assert found.of("tapcode_channel_reachable", channel="telegram") == 0
    assert not found.has("tapcode_channel_token_accepted", channel="telegram")
    assert found.of("tapcode_breaker_state", channel="telegram", state="open") == 1
    assert found.of("tapcode_breaker_state", channel="telegram", state="closed") == 0
    assert found.of("tapcode_breaker_state", channel="max", state="closed") == 1


async def test_a_webhook_that_was_dropped_shows(run: Running) -> None:
    """Although it is registered anew at once."""
    assert (await scraped(run)).of("tapcode_channel_webhook_lost_total", channel="max") == 0
    run.demo.max.webhooks.clear()
    run.clock.advance(ms=WATCHDOG_MS)
    await run.demo.max.until(lambda: bool(run.demo.max.webhooks))
    await run.quiet()
    found = await scraped(run)
    assert found.of("tapcode_channel_webhook_lost_total", channel="max") == 1
    assert found.of("tapcode_channel_webhook_registered", channel="max") == 1
    assert found.of("tapcode_channel_webhook_lost_total", channel="telegram") == 0


async def test_the_store_shows(tmp_path: Path) -> None:
    """Its size, its disk, who waits in it; and what runs here."""
    async with running(f"sqlite:///{tmp_path}/t.db", metrics_token=TOKEN) as run:
        subscriber_id = await run.subscriber(run.someone())
        hold = asyncio.Event()
        run.demo.telegram.faults.append(Fault(SENDING, hold=hold))
        sending = asyncio.ensure_future(run.call("POST", "/v1/otp/send", {"subscriber_id": subscriber_id}))
        await run.demo.telegram.until(lambda: not run.answered())
        run.clock.advance(seconds=2)
        found = await scraped(run)
        hold.set()
        await sending
    assert found.of("tapcode_store_up") == 1
    assert found.of("tapcode_store_size_bytes") > 10_000
    assert found.of("tapcode_disk_free_bytes") > 0
    assert found.of("tapcode_oldest_waiting_seconds", queue="deliveries") == 2
    assert found.of("tapcode_oldest_waiting_seconds", queue="jobs") == 0
    assert found.of("tapcode_oldest_waiting_seconds", queue="events") == 0
    assert found.total("tapcode_build_info", store="sqlite") == 1
    assert found.has("process_resident_memory_bytes")


@pytest.mark.slow
async def test_postgresql_shows(worker_id: str) -> None:
    """Its size, and no disk: that is another machine's."""
    url = await postgres_url(worker_id)
    async with running(url, metrics_token=TOKEN, database_url=url) as run:
        await run.subscriber(run.someone())
        found = await scraped(run)
    assert found.of("tapcode_store_up") == 1
    assert found.of("tapcode_store_size_bytes") > 1_000_000
    assert not found.has("tapcode_disk_free_bytes")
    assert found.of("tapcode_oldest_waiting_seconds", queue="deliveries") == 0
    assert found.of("tapcode_store_commit_seconds_count") > 5
    assert found.total("tapcode_build_info", store="postgresql") == 1


async def test_a_store_that_is_away_shows(tmp_path: Path) -> None:
    """The scrape is answered all the same; what the store would tell is left out."""
    async with running(f"sqlite:///{tmp_path}/t.db", metrics_token=TOKEN) as run:
        (tmp_path / "t.db").rename(tmp_path / "elsewhere")
        answer = await run.call("POST", "/v1/otp/request", {})
        assert answer.status == 503
        found = await scraped(run)
        (tmp_path / "elsewhere").rename(tmp_path / "t.db")
    assert found.of("tapcode_store_up") == 0
    assert not found.has("tapcode_oldest_waiting_seconds", queue="jobs")
    assert not found.has("tapcode_store_size_bytes")
    assert found.of("tapcode_store_failures_total") >= 1


async def test_what_others_measure_shows_once_they_did(run: Running) -> None:
    """Until then there is no sample, and no alert."""
    assert run.service.measuring is not None
    probes = run.service.measuring.probing.probes
    await eventually(lambda: len(probes.clock_drift) == len(Channel))  # it is measured at the start
    probes.clock_drift.clear()
    found = await scraped(run)
    assert not found.has("tapcode_clock_drift_seconds", channel="telegram")
    assert not found.has("tapcode_certificate_expiry_timestamp_seconds")
    probes.clock_drift[Channel.TELEGRAM], probes.certificate_expires_at = -1.5, 1_900_000_000
    found = await scraped(run)
    assert found.of("tapcode_clock_drift_seconds", channel="telegram") == -1.5
    assert found.of("tapcode_certificate_expiry_timestamp_seconds") == 1_900_000_000


# ------------------------------------------------------------------ how much, and of whom


async def test_there_are_no_more_series_with_more_people(run: Running) -> None:
    """Whoever comes, whatever they type, whichever path is tried: the series are the same, and few."""

    async def all_sorts(number: int) -> set[str]:
        """A project, people and calls like no others; what tells them apart."""
        made = await run.service.projects.create(f"Shop-{number}", f"flowers-{number}")
        run.api_key = made.api_key
        told = {made.project.id, made.project.name, f"flowers-{number}", made.api_key}
        for channel in Channel:
            person, purpose = run.someone(channel, language=f"x{number}"), f"purpose-{number}"
            request = await run.request(purpose=purpose)
            await person.open(request[f"{channel}_link"])
            await person.press("Get the code")
            status = await run.status(request)
            await guessed(run, status["subscriber_id"], "000000", person.codes[-1])
            told |= {
                str(person.user_id),
                request["request_id"],
                status["subscriber_id"],
                person.codes[-1],
                purpose,
            }
        await run.call("GET", f"/path-{number}")
        await run.call(f"METHOD{number}", f"/path-{number}")
        await run.call("GET", f"/v1/otp/request/unknown{number}/status")
        await run.quiet()
        return told | {f"path-{number}", f"METHOD{number}", f"unknown{number}"}

    told = await all_sorts(1)
    first = await scraped(run)
    for number in range(2, 5):
        told |= await all_sorts(number)
    last = await scraped(run)
    new = {key for key in last.keys() - first.keys() if ("route", "/metrics") not in key[1]}
    assert not new
    assert len([name for name, _ in last if name.startswith("tapcode_")]) < MOST_SERIES
    assert not told & last.words
    answer = await asked(run)
    assert not [one for one in told if len(one) > 4 and one in answer.text]


async def test_the_words_of_labels_are_known_beforehand(run: Running, clock: FakeClock) -> None:
    """Short words of ours; routes are patterns."""
    await run.subscriber(run.someone())
    for _, labels in await scraped(run):
        for name, value in labels:
            if name == "route":
                assert value == "unknown" or value.startswith("/"), value
            elif name != "le":
                assert re.fullmatch(r"[a-z0-9_.+]{1,20}", value), (name, value)
    figures = Figures(list(Channel), clock, Mode.LIVE)
    before = len(list(figures.registry.collect()))
    for channel in Channel:
        for call, results in [
            *((one, MESSAGE_RESULTS) for one in MESSAGES),
            *((one, ASKING_RESULTS) for one in ASKINGS),
        ]:
            for result in results:
                figures.called(channel, call, result, 0.1)
    assert len(list(figures.registry.collect())) == before


async def test_the_document_tells_of_every_figure(run: Running) -> None:
    """By its name, and of none that is not there."""
    text = (await asked(run)).text
    probes = {"tapcode_clock_drift_seconds", "tapcode_certificate_expiry_timestamp_seconds"}
    told = set(re.findall(r"^# TYPE (tapcode_\w+)", text, re.MULTILINE)) | probes
    written = set(re.findall(r"^\| `(tapcode_\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert written == told
