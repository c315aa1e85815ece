"""The hosted page over HTTP: what a browser may see and do with its token, and nobody else."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
import zxingcpp

from bot.registration import State
from otp.model import Channel
from otp.projects import Change, PageChange
from tests.running import Answer, Running, running
from tests.test_pages import picture

HOME = "https://shop.example/login"
ORIGIN = "https://shop.example"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop() -> AsyncIterator[Running]:
    async with running() as one:
        [project] = await one.service.projects.all()
        page = PageChange([HOME], [ORIGIN, "http://localhost:3000"], "#ffcc00", picture())
        await one.service.projects.update(project.id, Change(page=page))
        yield one


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def asked(shop: Running, **fields: Any) -> dict[str, Any]:
    """A request with a page."""
    shop.clock.advance(minutes=1)  # limits begin anew
    page = {"return_url": HOME, **fields.pop("page", {})}
    return await shop.request(page=page, **fields)


async def browse(shop: Running, path: str, method: str = "GET", **options: Any) -> Answer:
    """As a browser that holds no key and follows nothing."""
    async with shop.http.request(method, shop.url + path, allow_redirects=False, **options) as answer:
        return Answer(answer.status, answer.headers.copy(), await answer.text())


def at(request: Mapping[str, Any], rest: str = "") -> str:
    return f"/c/{request['client_token']}{rest}"


async def sent(shop: Running, **fields: Any) -> tuple[dict[str, Any], str]:
    """A request whose code is in the chat, and the code."""
    request, person = await asked(shop, **fields), shop.someone()
    await person.open(request["telegram_link"])
    await person.press("Get the code")
    return request, person.codes[-1]


async def test_a_request_without_a_page_has_none(shop: Running):
    """And its token, made as it would be, opens nothing."""
    request = await shop.request()
    assert not {"page_url", "client_token"} & set(request)
    with_page = await asked(shop)
    assert with_page["page_url"].endswith(at(with_page))
    assert with_page["client_token"].startswith(with_page["request_id"])


async def test_one_shape_for_whatever_opens_nothing(shop: Running):
    """A token of another request, one without a page, one that was changed, and nonsense."""
    request, plain = await asked(shop), await shop.request()
    mac = request["client_token"][16:]
    for token in (plain["request_id"] + mac, request["client_token"][:-1] + "~", "x", "A" * 38):
        for method, rest in (("GET", "/status"), ("POST", "/verify"), ("POST", "/again"), ("GET", "/qr.svg")):
            answer = await browse(shop, f"/c/{token}{rest}", method)
            assert (answer.status, answer.json["code"]) == (404, "request_not_found"), (token, rest)
            assert "Access-Control-Allow-Origin" not in answer.headers
        page = await browse(shop, f"/c/{token}")
        assert (page.status, page.headers["Cache-Control"]) == (404, "no-store")
        assert "nothing here" in page.text
        shop.clock.advance(minutes=1)


async def test_the_whole_way_without_a_script(shop: Running):
    """Choose, agree, enter, go back: forms and redirects do it all."""
    request, code = await sent(shop, page={"state": "a&b ж"})
    page = await browse(shop, at(request))
    assert 'autocomplete="one-time-code"' in page.text
    assert "3 attempts left" in page.text
    wrong = await browse(shop, at(request), "POST", data={"code": f"{(int(code) + 1) % 10**6:06}"})
    assert (wrong.status, wrong.headers["Location"]) == (
        303,
        f"{request['client_token']}?n=wrong_code",
    )
    told = await browse(shop, f"/c/{wrong.headers['Location']}")
    assert "This code is wrong." in told.text
    assert "2 attempts left" in told.text
    right = await browse(shop, at(request), "POST", data={"code": f" {code[:3]}-{code[3:]}"})
    assert right.status == 303
    cookie = right.headers["Set-Cookie"]
    assert all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=Lax", f"Path={at(request)}"))
    proof = re.search("tapcode_proof=([A-Za-z0-9_-]{22});", cookie)
    assert proof is not None
    done = await browse(shop, at(request), cookies={"tapcode_proof": proof[1]})
    back = f"{HOME}?request_id={request['request_id']}&amp;state=a%26b+%D0%B6&amp;proof={proof[1]}"
    assert back in done.text
    status = await shop.status(request)
    assert (status["verified"], status["proof"]) == (True, proof[1])


async def test_only_the_browser_in_which_the_code_was_entered_is_led_back_with_a_proof(shop: Running):
    """Whoever made another person enter a code comes home with empty hands."""
    request, code = await sent(shop)
    told = await browse(shop, at(request, "/verify"), "POST", json={"code": code})
    proof = told.json["proof"]
    assert told.json["return_url"] == f"{HOME}?request_id={request['request_id']}&proof={proof}"
    for cookies in ({}, {"tapcode_proof": "é"}, {"tapcode_proof": "x" * 22}):
        page = await browse(shop, at(request), cookies=cookies)
        assert "entered in another window" in page.text
        assert proof not in page.text
    assert proof not in (await browse(shop, at(request, "/status"))).text


async def test_a_form_of_another_site_is_refused(shop: Running):
    """It could bring a visitor home as somebody else."""
    request, code = await sent(shop)
    answer = await browse(
        shop, at(request), "POST", data={"code": code}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status == 400
    assert "verified" not in await shop.status(request)


async def test_a_guess_counts_like_any_other(shop: Running):
    """Through the page and through the API the same attempts are used up."""
    request, code = await sent(shop)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    first = await browse(shop, at(request, "/verify"), "POST", json={"code": wrong})
    assert first.json == {"verified": False, "reason": "wrong_code", "attempts_left": 2}
    subscriber = (await shop.status(request))["subscriber_id"]
    assert (await shop.verify(subscriber, wrong, request_id=request["request_id"]))["attempts_left"] == 1
    assert (await browse(shop, at(request, "/status"))).json["attempts_left"] == 1
    last = await browse(shop, at(request, "/verify"), "POST", json={"code": wrong})
    assert last.json["attempts_left"] == 0
    assert (await browse(shop, at(request, "/status"))).json["stage"] == "used_up"
    right = await browse(shop, at(request, "/verify"), "POST", json={"code": code})
    assert right.json == {"verified": False, "reason": "no_active_code", "attempts_left": 0}


async def test_before_there_is_a_code_there_is_nothing_to_guess(shop: Running):
    """A pending request knows no subscriber."""
    request = await asked(shop)
    answer = await browse(shop, at(request, "/verify"), "POST", json={"code": "123456"})
    assert answer.json == {"verified": False, "reason": "no_active_code", "attempts_left": 0}
    assert (await browse(shop, at(request, "/again"), "POST")).status == 409


async def test_send_again_repeats_the_code_that_lives(shop: Running):
    """The same digits come once more, and they are still this request's."""
    request, person = await asked(shop), shop.someone("max", "ru")
    await person.open(request["max_link"])
    await person.press("Получить код")
    [code] = person.codes
    assert (await browse(shop, at(request, "/again"), "POST")).json == {"sent": True}
    await shop.quiet()
    assert person.codes == [code]  # the older message says that it was sent again
    assert any("отправлен ещё раз" in message.text for message in person.screen)
    answer = await browse(shop, at(request, "/verify"), "POST", json={"code": code})
    assert answer.json["verified"] is True
    assert (await browse(shop, at(request, "/again"), "POST")).json["code"] == "no_active_code"


async def test_what_the_page_says_of_each_end(shop: Running):
    """One sentence each, in the visitor's language, and the way back without a proof."""
    russian = {"Accept-Language": "de, ru-RU;q=0.8, en;q=0.5"}
    cancelled, person = await asked(shop), shop.someone()
    await person.open(cancelled["telegram_link"])
    await person.press("Cancel")
    assert "Отменено" in (await browse(shop, at(cancelled), headers=russian)).text
    expired = await asked(shop)
    reported, reporter = await asked(shop), shop.someone()
    await reporter.open(reported["telegram_link"])
    await reporter.press("Get the code")
    await reporter.press("It wasn't me")
    page = await browse(shop, at(reported))
    assert "It wasn&#x27;t me" in page.text or "It wasn&#39;t me" in page.text
    old, _ = await sent(shop)
    shop.clock.advance(minutes=6)
    assert "The code has expired" in (await browse(shop, at(old))).text
    shop.clock.advance(minutes=12)
    page = await browse(shop, at(expired))
    assert "Time is over" in page.text
    assert f"{HOME}?request_id={expired['request_id']}" in page.text
    assert (await shop.status(expired))["status"] == "expired"
    shop.clock.advance(minutes=61)
    assert (await browse(shop, at(expired))).status == 404


async def test_a_paused_project(shop: Running):
    """Says so, and takes no guess."""
    request, code = await sent(shop)
    [project] = await shop.service.projects.all()
    await shop.service.projects.set_enabled(project.id, False)
    try:
        assert "paused" in (await browse(shop, at(request))).text
        answer = await browse(shop, at(request, "/verify"), "POST", json={"code": code})
        assert answer.json["code"] == "project_disabled"
        assert (await browse(shop, at(request), "POST", data={"code": code})).status == 303
    finally:
        await shop.service.projects.set_enabled(project.id, True)


async def test_what_surrounds_a_page(shop: Running):
    """No foreign origin, nothing inline, no referrer, no cache, and frames for the project's own sites alone."""
    page = await browse(shop, at(await asked(shop)))
    policy = page.headers["Content-Security-Policy"]
    assert f"frame-ancestors {ORIGIN}" in policy
    assert "localhost" not in policy  # that is for test keys
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    assert " style=" not in page.text
    assert "<style" not in page.text
    assert not re.search(r"<script(?! src=)", page.text)
    assert not re.search(r"\son[a-z]+=", page.text)


async def test_nothing_that_opens_or_proves_is_in_the_log(shop: Running, capsys: pytest.CaptureFixture[str]):
    """Neither token nor proof nor code, whatever happens to a page; the routes are."""
    request, code = await sent(shop)
    for path in (
        at(request),
        at(request, "/status"),
        at(request, "/qr.svg"),
        at(request, "x"),
        at(request, "/x"),
    ):
        await browse(shop, path)
    answer = await browse(shop, at(request, "/verify"), "POST", json={"code": code})
    log = capsys.readouterr().out
    assert "/c/{token}/verify" in log
    for secret in (request["client_token"], answer.json["proof"], code):
        assert secret not in log


async def test_only_the_projects_sites_read_an_answer(shop: Running):
    """CORS for registered origins, errors and preflights too; a live key knows no developer's machine."""
    request = await asked(shop)
    for origin, shared in (
        (ORIGIN, True),
        ("http://localhost:3000", False),
        ("https://evil.example", False),
        ("null", False),
    ):
        for method, rest in (("GET", "/status"), ("POST", "/verify"), ("OPTIONS", "/verify")):
            answer = await browse(shop, at(request, rest), method, headers={"Origin": origin})
            told = answer.headers.get("Access-Control-Allow-Origin")
            assert told == (origin if shared else None), (method, rest)
            assert "Access-Control-Allow-Credentials" not in answer.headers
        assert (
            "Access-Control-Allow-Origin"
            not in (await browse(shop, at(request), headers={"Origin": origin})).headers
        )


async def test_how_often_a_page_may_be_looked_at(shop: Running):
    """30 times a minute each, 120 from one address; people see a page that goes on, scripts a problem."""
    request = await asked(shop)
    for _ in range(30):
        assert (await browse(shop, at(request, "/status"))).status == 200
    late = await browse(shop, at(request, "/status"))
    assert (late.status, late.json["code"], late.headers["Retry-After"]) == (429, "rate_limited", "2")
    page = await browse(shop, at(request))
    assert (page.status, page.headers["Refresh"], page.headers["Retry-After"]) == (429, "2", "2")
    assert f"frame-ancestors {ORIGIN}" in page.headers["Content-Security-Policy"]  # else its dialog is empty
    for _ in range(120 - 32):
        assert (await browse(shop, "/c/x/status")).status == 404
    assert (await browse(shop, "/c/x/status")).status == 429
    shop.clock.advance(minutes=1)


async def test_a_wait_hears_of_consent(shop: Running):
    """At the change, as JSON and as events, with the page's stage."""
    request, person = await asked(shop), shop.someone()
    async with shop.http.get(
        shop.url + at(request, "/status"), headers={"Accept": "text/event-stream"}
    ) as stream:
        first = await stream.content.readuntil(b"\n\n")
        assert b"retry" in first
        assert b'"stage":"waiting"' in await stream.content.readuntil(b"\n\n")
        await person.open(request["telegram_link"])
        await person.press("Get the code")
        assert b'"stage":"code"' in await stream.content.readuntil(b"\n\n")
    told = (await browse(shop, at(request, "/status?wait=5"))).json
    assert (told["stage"], told["channel"], told["code_length"], told["attempts_left"]) == (
        "code",
        "telegram",
        6,
        3,
    )
    assert "subscriber_id" not in told


def ways(page: str) -> list[tuple[str, str, bool]]:
    """The messengers in their order on the page: which, how its button looks, and whether a sentence is about it."""
    found = re.findall(
        r'<li class="way" data-channel="(\w+)" data-place="\d"><a class="([\w ]+)".*?<p class="slow quiet"( hidden)?>',
        page,
    )
    return [(channel, looks, not hidden) for channel, looks, hidden in found]


async def test_a_messenger_that_is_down(shop: Running):
    """It comes after the one that works and says so, in both languages; both down, each is as good as the other."""
    request, checks = await asked(shop), shop.service.registration
    await shop.quiet()  # the checks of the start are over
    assert ways((await browse(shop, at(request))).text) == [("telegram", "go", False), ("max", "go", False)]
    checks.channels[Channel.TELEGRAM].state = State.UNREACHABLE
    page = (await browse(shop, at(request))).text
    assert ways(page) == [("max", "go", False), ("telegram", "go plain", True)]
    checks.channels[Channel.MAX].state = State.UNREACHABLE
    page = (await browse(shop, at(request))).text
    assert ways(page) == [("telegram", "go", True), ("max", "go", True)]
    assert "Telegram is slow to answer right now" in page
    russian = {"Accept-Language": "ru"}
    assert "MAX сейчас отвечает медленно" in (await browse(shop, at(request), headers=russian)).text
    status = (await browse(shop, at(request, "/status"))).json
    assert status["channels"] == {"telegram": "degraded", "max": "degraded"}
    for channel in Channel:
        await checks.check(channel)
    status = (await browse(shop, at(request, "/status"))).json
    assert status["channels"] == {"telegram": "ok", "max": "ok"}


def modules(svg: str) -> bytes:
    """The picture's dots, four for a module, by what its path says; one line as long as the picture is wide."""
    size = re.search(r'viewBox="0 0 (\d+) (\d+)"', svg)
    assert size is not None
    side, scale = int(size[1]), 4
    dots = [bytearray(b"\xff" * side) for _ in range(side)]
    drawn = re.search(r'<path[^>]*stroke="#000"[^>]*d="([^"]+)"|<path[^>]*d="([^"]+)"[^>]*stroke="#000"', svg)
    assert drawn is not None
    x = y = 0.0
    for kind, numbers in re.findall(r"([Mmh])([-\d. ]+)", drawn[1] or drawn[2]):
        values = [float(one) for one in re.findall(r"-?[\d.]+", numbers)]
        if kind == "M":
            x, y = values
        elif kind == "m":
            x, y = x + values[0], y + values[1]
        else:
            for at_x in range(int(x), int(x + values[0])):
                dots[int(y)][at_x] = 0
            x += values[0]
    for edge in range(4):  # the quiet zone
        assert set(dots[edge]) == set(dots[-1 - edge]) == {255}
        assert {row[edge] for row in dots} == {row[-1 - edge] for row in dots} == {255}
    return b"".join(bytes(dot for dot in row for _ in range(scale)) * scale for row in dots)


@pytest.mark.parametrize("channel", ["telegram", "max"])
async def test_a_qr_code_says_the_link(shop: Running, channel: str):
    """Read by a decoder that has nothing to do with what drew it."""
    request = await asked(shop)
    answer = await browse(shop, at(request, f"/qr.svg?channel={channel}"))
    assert answer.headers["Content-Type"].startswith("image/svg+xml")
    assert answer.headers["Cache-Control"] == "private, max-age=900"
    assert len(answer.text) < 4096
    dots = modules(answer.text)
    side = round(len(dots) ** 0.5)
    [found] = zxingcpp.read_barcodes(memoryview(dots).cast("B", (side, side)))
    assert found.text == request[f"{channel}_link"]


async def test_the_files_of_a_page(shop: Running):
    """At addresses that change with them, kept for good, compressed; in a project's colour, readable in both themes."""
    page = await browse(shop, at(await asked(shop)))
    style = re.search(r'href="\.\.(/pages/page\.[0-9a-f]{12}\.ffcc00\.css)"', page.text)
    script = re.search(r'src="\.\.(/pages/page\.[0-9a-f]{12}\.js)"', page.text)
    logo = re.search(r'src="\.\.(/pages/[0-9a-f]{32}\.png)"', page.text)
    assert style is not None
    assert script is not None
    assert logo is not None
    for found in (style, script, logo):
        async with shop.http.get(shop.url + found[1]) as answer:
            assert answer.status == 200
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert answer.headers["Content-Type"].split(";")[0] in (
                "text/css",
                "text/javascript",
                "image/png",
            )
    css = (await browse(shop, style[1])).text
    assert ":root{--accent:#ffcc00}@media" not in css
    assert "(prefers-color-scheme:dark){:root{--accent:#ffcc00}}" in css
    stale = await browse(shop, re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", script[1]))
    assert stale.headers["Cache-Control"] == "no-cache"
    for wrong in (
        "x",
        "page.css",
        "en.toml",
        "page.000000000000.toml",
        "page.000000000000.ffcc00.js",
        "0" * 32 + ".png",
        "..%2f..%2fmain.py",
    ):
        assert (await browse(shop, f"/pages/{wrong}")).status == 404


async def test_a_replay_of_a_key_has_the_page_again(shop: Running):
    """Though its token is not kept."""
    options = {"headers": {"Idempotency-Key": "one"}}
    body = {"page": {"return_url": HOME, "state": "s"}}
    first = await shop.call("POST", "/v1/otp/request", body, **options)
    again = await shop.call("POST", "/v1/otp/request", body, headers={"Idempotency-Key": "one"})
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"return_url": "shop.example"},
        {"return_url": "https://a@shop.example/login"},
        {"return_url": HOME, "state": ""},
        {"return_url": HOME, "state": "x" * 513},
        {"return_url": HOME, "state": "a\nb"},
        {"return_url": HOME, "state": None},
        {"return_url": HOME, "more": 1},
        None,
    ],
)
async def test_a_page_that_is_refused(shop: Running, page: Any):
    """400 that names the field."""
    answer = await shop.call("POST", "/v1/otp/request", {"page": page})
    assert (answer.status, answer.json["code"]) == (400, "validation_failed")
    assert answer.json["errors"][0]["field"].startswith("page")


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "http://localhost:3000/", f"{HOME}/../x", f"{HOME}?proof=x", "http://a"]
)
async def test_an_address_that_the_page_can_not_lead_back_to(shop: Running, url: str):
    """It looks like one, and the operator's word decides: no fault in the form of the call."""
    answer = await shop.call("POST", "/v1/otp/request", {"page": {"return_url": url}})
    assert (answer.status, answer.json["code"]) == (409, "return_url_refused")
    assert answer.json["detail"].startswith("return_url ")


async def test_a_page_below_a_path():
    """All that it names is beside it."""
    async with running(public_url="https://example.org/codes") as one:
        [project] = await one.service.projects.all()
        await one.service.projects.update(project.id, Change(page=PageChange(return_urls=[HOME])))
        request = await asked(one)
        assert request["page_url"] == f"https://example.org/codes{at(request)}"
        page = await browse(one, at(request))
        assert not re.search(r'(href|src|action|data-[a-z]+)="/', page.text)


async def test_no_page_where_nobody_could_open_it():
    """Without PUBLIC_URL the caller hears why."""
    async with running(public_url=None) as one:
        answer = await one.call("POST", "/v1/otp/request", {"page": {"return_url": HOME}})
        assert (answer.status, answer.json["code"]) == (409, "page_unavailable")


async def test_a_hostile_project_stays_text(shop: Running):
    """Names, descriptions and contexts are shown as they are."""
    [project] = await shop.service.projects.all()
    evil = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'{n}{project}"
    await shop.service.projects.update(project.id, Change(name=evil, description=evil))
    try:
        request = await asked(shop, context={"device": evil[:64]}, page={"state": '"><script>'})
        page = await browse(shop, at(request))
        assert page.status == 200
        assert "<script>" not in page.text
        assert "<img src=x" not in page.text
        assert "{n}{project}" in page.text
    finally:
        await shop.service.projects.update(project.id, Change(name="Shop", description=""))
