"""The courier of Ory Kratos: the template of docs/kratos.md on Kratos' payloads, and what is answered to it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import _jsonnet
import pytest

from api.bodies import InvalidFields, validated
from api.kratos import CourierBody
from otp.codes import KeyRing
from otp.idempotency import CallKeys
from otp.model import Caller, Mode, Project
from otp.policy import CALL_KEYS_KEPT_MS
from otp.ports import Store
from sandbox.wire import Fault
from tests.conftest import STORES, store_url
from tests.leaks import in_bodies, in_database, in_log
from tests.running import Answer, Running, running
from tests.test_account_calls import linked
from tests.test_http import is_problem
from tests.test_test_mode import play, with_test_key
from tests.volleys import SENDING
from tests.world import KEYS, wrong

pytestmark = pytest.mark.slow  # each has a service

PATH = "/v1/kratos/courier"
PHONE = "+79161234567"
DOCUMENT = (Path(__file__).parent.parent / "docs" / "kratos.md").read_text(encoding="utf-8")
TEMPLATE = re.findall(r"```jsonnet\n(.*?)```", DOCUMENT, re.DOTALL)[0]
TYPES = ("login_code_valid", "registration_code_valid", "verification_code_valid", "recovery_code_valid")
WORDS = {
    "login_code_valid": "To sign in",
    "registration_code_valid": "To sign up",
    "verification_code_valid": "To confirm your address or number",
    "recovery_code_valid": "To get back into your account",
}


def context(template_type: str = TYPES[0], code: str = "738261", **data: Any) -> dict[str, Any]:
    """What Kratos hands to the template: its `httpDataModel`, with the data of a message with a code."""
    return {
        "recipient": PHONE,
        "subject": "",
        "body": f"Your code is: {code}",
        "template_type": template_type,
        "template_data": {
            "to": PHONE,
            template_type.removesuffix("_valid"): code,
            "identity": {"id": "9f425a8d-7efc-4768-8f23-7647a74fdf13", "traits": {"phone": PHONE}},
            "request_url": "https://site.example/self-service/login/browser?return_to=secret",
            "transient_payload": {"theme": "dark"},
            "expires_in_minutes": 15,
            **data,
        },
        "message_type": "sms",
    }


def rendered(ctx: dict[str, Any]) -> dict[str, Any]:
    """The body that Kratos makes of it."""
    made = _jsonnet.evaluate_snippet("tapcode.jsonnet", TEMPLATE, tla_codes={"ctx": json.dumps(ctx)})
    return dict(json.loads(made))


@pytest.fixture
async def run() -> AsyncIterator[Running]:
    """A running service."""
    async with running() as made:
        yield made
        assert made.demo.telegram.violations == []
        assert made.demo.max.violations == []


async def courier(run: Running, ctx: dict[str, Any] | None = None, **fields: Any) -> Answer:
    """One call of Kratos' courier."""
    return await run.call("POST", PATH, rendered(ctx or context()) | fields)


def replayed(answer: Answer) -> bool:
    """Whether it is an earlier answer."""
    return answer.headers.get("Idempotent-Replayed") == "true"


# ------------------------------------------------------------------ the template


@pytest.mark.parametrize("template_type", TYPES)
def test_the_template_sends_what_is_needed_and_no_more(template_type: str) -> None:
    """Of identity, address of the page, and the ready text nothing leaves Kratos."""
    name = template_type.removesuffix("_valid")
    body = rendered(context(template_type))
    assert body == {
        "recipient": PHONE, "template_type": template_type, name: "738261", "expires_in_minutes": 15
    }  # fmt: skip
    assert CourierBody.model_validate(body).code == "738261"


@pytest.mark.parametrize("told,minutes", [(0, 60), (1, 1), (720, 720), (1440, 720)])
def test_the_template_knows_how_long_a_code_lives(told: int, minutes: int) -> None:
    """Also where Kratos does not say so, or for longer than can be told."""
    assert rendered(context(expires_in_minutes=told))["expires_in_minutes"] == minutes
    older = context()
    del older["template_data"]["expires_in_minutes"]
    assert rendered(older)["expires_in_minutes"] == 60


async def test_a_message_without_a_code_is_refused(run: Running) -> None:
    """In words that stand in Kratos' log."""
    for template_type in ("recovery_valid", "verification_valid", "verification_code_invalid", "stub"):
        ctx = context() | {"template_type": template_type, "template_data": {"to": PHONE}}
        answer = await courier(run, ctx)
        assert is_problem(answer, 400, "validation_failed")
        assert answer.json["errors"][0]["field"] == "template_type"


# ------------------------------------------------------------------ a code on its way


@pytest.mark.parametrize("template_type,channel", [*((one, "telegram") for one in TYPES), (TYPES[0], "max")])
async def test_kratos_code_reaches_the_linked_account(run: Running, channel: str, template_type: str) -> None:
    """For which project and what, for how long, with a warning, and no button that would promise another code."""
    person = run.someone(channel)
    sub = await linked(run, person, PHONE)
    answer = await courier(run, context(template_type))
    assert (answer.status, replayed(answer)) == (200, False)
    assert answer.json == {"status": "sent", "channel": channel, "subscriber_id": sub}
    lines = person.last.split("\n")
    assert (lines[0], lines[3], lines[4]) == ("738261", "Ромашка Shop", WORDS[template_type])
    assert lines[-1].startswith("It works for 15 minutes at most.")
    assert "Tell it to nobody." in lines[-1]
    assert [b.label for row in person.screen[-1].buttons for b in row] == ["Copy the code", "It wasn't me"]
    assert (await run.verify(sub, "738261"))["verified"] is False
    body = {"external_id": PHONE, "code": "738261", "purpose": "kratos_login"}
    assert (await run.call("POST", "/v1/otp/verify", body)).json["reason"] == "no_active_code"


async def test_in_the_persons_language(run: Running) -> None:
    person = run.someone(language="ru")
    request = await run.request(external_id=PHONE)
    await person.open(request["telegram_link"])
    await person.press("Получить код")
    await run.quiet()
    body = {"external_id": PHONE, "request_id": request["request_id"], "code": person.codes[-1]}
    assert (await run.call("POST", "/v1/otp/verify", body)).json == {"verified": True}
    await courier(run)
    assert "Чтобы войти" in person.last
    assert "Действует 15 минут, не дольше." in person.last
    await person.press("Это не я")
    assert "738261" not in person.last
    assert "Никому не сообщайте код" in person.last


async def test_a_code_of_ours_lives_on_beside_it(run: Running) -> None:
    """Kratos' code replaces nothing, ends nothing and is replaced by nothing."""
    person = run.someone()
    sub = await linked(run, person, PHONE)
    assert (await run.call("POST", "/v1/otp/send", {"external_id": PHONE})).status == 200
    ours = person.codes[-1]
    await courier(run)
    assert (await run.verify(sub, ours))["verified"] is True
    await run.quiet()
    assert person.codes[-1] == "738261"


async def test_its_message_is_closed_when_its_time_is_over(run: Running) -> None:
    person = run.someone()
    await linked(run, person, PHONE)
    await courier(run)
    run.clock.advance(minutes=14)
    await run.quiet()
    assert person.last.startswith("738261")
    run.clock.advance(minutes=2)
    await run.quiet()
    assert "738261" not in person.last
    assert "This code has expired." in person.last


async def test_it_was_not_me(run: Running) -> None:
    """The code goes off the screen, nothing is promised that only Kratos could do; it stays so when its time is over."""
    person = run.someone()
    await linked(run, person, PHONE)
    await courier(run)
    await person.press("It wasn't me")
    for _ in range(2):
        assert "738261" not in person.last
        assert "Tell the code to nobody" in person.last
        assert "no longer works" not in person.last
        run.clock.advance(minutes=16)
        await run.quiet()
    await person.press("No more from this site")
    assert is_problem(await courier(run, context(code="111111")), 404, "subscriber_not_found")


# ------------------------------------------------------------------ what Kratos is told


async def test_nobody_linked(run: Running) -> None:
    """Each try is told the same. An address is a name letter by letter."""
    assert is_problem(await courier(run), 404, "subscriber_not_found")
    again = await courier(run)
    assert is_problem(again, 404, "subscriber_not_found")
    assert replayed(again)
    await linked(run, run.someone(), "ann@example.org")
    for name in ("Ann@example.org", "ann@example.org ", "ann@example.com"):
        assert is_problem(await courier(run, recipient=name), 404, "subscriber_not_found")
    assert (await courier(run, recipient="ann@example.org")).status == 200


async def test_an_unknown_outcome_is_no_reason_to_repeat(run: Running) -> None:
    """200: what is no 2xx would be sent again by Kratos, and the person may have the code."""
    person = run.someone()
    sub = await linked(run, person, PHONE)
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], status=500))
    answer = await courier(run)
    assert (answer.status, answer.json["status"], answer.json["subscriber_id"]) == (200, "unknown", sub)
    again = await courier(run)
    assert (replayed(again), again.json) == (True, answer.json)


async def test_a_refusal_is_told_without_a_pause(run: Running) -> None:
    """No 5xx and no 429: at these Kratos sleeps, and everybody's messages with it."""
    await linked(run, run.someone(), PHONE)
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], status=400))
    for _ in range(2):
        answer = await courier(run)
        assert is_problem(answer, 409, "code_not_delivered")
        assert (answer.json["retryable"], "Retry-After" in answer.headers) == (False, False)


async def test_the_send_limit_too(run: Running) -> None:
    """Shared with codes of ours."""
    async with running(send_limit=1) as tight:
        await linked(tight, tight.someone(), PHONE)
        assert (await courier(tight)).status == 200
        assert is_problem(await courier(tight, context(code="111111")), 409, "code_not_delivered")
        limited = await tight.call("POST", "/v1/otp/send", {"external_id": PHONE})
        assert is_problem(limited, 429, "rate_limited")


@pytest.mark.slow
async def test_the_other_messenger_when_one_refuses(run: Running) -> None:
    """Within the same call, and said the same to who repeats it."""
    ann, cat = run.someone("telegram"), run.someone("max")
    await linked(run, ann, PHONE)
    run.clock.advance(seconds=1)
    await linked(run, cat, PHONE)
    run.demo.max.faults.append(Fault(SENDING["max"], status=400))
    answer = await courier(run)
    assert answer.json["channel"] == "telegram"
    assert ann.codes[-1] == "738261"
    again = await courier(run)
    assert (again.json, replayed(again)) == (answer.json, True)


async def test_both_refuse(run: Running) -> None:
    await linked(run, run.someone("telegram"), PHONE)
    await linked(run, run.someone("max"), PHONE)
    for sim, channel in ((run.demo.telegram, "telegram"), (run.demo.max, "max")):
        sim.faults.append(Fault(SENDING[channel], status=400))
    assert is_problem(await courier(run), 409, "code_not_delivered")


async def test_a_busy_messenger_is_worth_another_try(run: Running) -> None:
    """503 with a short pause, however long the messenger asks for; the same message then goes out."""
    person = run.someone()
    await linked(run, person, PHONE)
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], status=429, retry_after=60))
    answer = await courier(run)
    assert is_problem(answer, 503, "messenger_unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert (await courier(run)).json["status"] == "sent"
    assert person.codes.count("738261") == 1


@pytest.mark.parametrize(
    "fields,field",
    [
        ({"recipient": "x" * 129}, "recipient"),
        ({"login_code": "738 261"}, "login_code"),
        ({"login_code": 738261}, "login_code"),
        ({"login_code": None}, "login_code"),
        ({"recovery_code": "738261"}, "recovery_code"),
        ({"template_type": "recovery_code_valid"}, "recovery_code"),
        ({"expires_in_minutes": 721}, "expires_in_minutes"),
        ({"expires_in_minutes": 0}, "expires_in_minutes"),
        ({"identity": {}}, "identity"),
    ],
    ids=str,
)
def test_what_is_not_valid(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        validated(CourierBody, rendered(context()) | fields)
    assert [error["field"] for error in caught.value.errors] == [field]
    assert "738261" not in repr(caught.value.errors)


async def test_only_with_a_key(run: Running) -> None:
    answer = await run.call("POST", PATH, rendered(context()), headers={"Authorization": None})
    assert is_problem(answer, 401, "unauthorized")


# ------------------------------------------------------------------ a message, until Kratos is done with it


class Queue:
    """Kratos' courier with one message: how often and when it calls, as docs/kratos.md says of it."""

    RETRIES = 5
    """`courier.message_retries`."""

    def __init__(self, run: Running) -> None:
        self._run = run
        self.answers: list[int] = []
        self.slept = 0

    async def work_off(self) -> str:
        """What becomes of the message."""
        for _ in range(self.RETRIES + 1):
            if await self._dispatch():
                return "sent"
            self._run.clock.advance(seconds=1)
        return "abandoned"

    async def _dispatch(self) -> bool:
        """Its HTTP client: twice again at 429 and 5xx, after `Retry-After` or 1 and 2 seconds."""
        for pause in (1, 2, None):
            answer = await courier(self._run)
            self.answers.append(answer.status)
            if answer.status != 429 and answer.status < 500:
                return 200 <= answer.status < 300
            if pause is not None:
                wait = int(answer.headers.get("Retry-After", pause))
                self.slept += wait
                self._run.clock.advance(seconds=wait)
        return False


async def test_kratos_gets_a_code_through_when_the_messenger_can(run: Running) -> None:
    """Telegram asks for 20 seconds, twice: one message comes out of it."""
    person = run.someone()
    await linked(run, person, PHONE)
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], times=2, retry_after=20))
    queue = Queue(run)
    assert await queue.work_off() == "sent"
    assert (queue.answers, queue.slept) == ([503, 503, 200], 10)
    assert person.codes.count("738261") == 1


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(drop=True), Fault(drop=True, when="after")])
async def test_kratos_is_done_when_nobody_knows(run: Running, fault: Fault) -> None:
    """One call, and at most one message, whatever the messenger's answer was lost in."""
    person = run.someone()
    await linked(run, person, PHONE)
    run.demo.telegram.faults.append(replace(fault, method=SENDING["telegram"]))
    queue = Queue(run)
    assert await queue.work_off() == "sent"
    await run.quiet()
    assert queue.answers == [200]
    assert person.codes.count("738261") == (fault.when == "after")


@pytest.mark.parametrize("hindrance", ["nobody", "refused", "limit", "locked"])
@pytest.mark.slow
async def test_kratos_gives_up_soon_and_holds_nobody_up(hindrance: str) -> None:
    """As often as it must, without a pause and without a message."""
    async with running(send_limit=1, guess_budget=1) as run:
        person = run.someone()
        sub = await linked(run, person, PHONE if hindrance != "nobody" else "somebody else")
        if hindrance == "refused":
            run.demo.telegram.faults.append(Fault(SENDING["telegram"], status=400))
        elif hindrance in ("limit", "locked"):
            assert (await run.call("POST", "/v1/otp/send", {"external_id": PHONE})).status == 200
        if hindrance == "locked":
            assert (await run.verify(sub, wrong(person.codes[-1])))["reason"] == "wrong_code"
        queue = Queue(run)
        assert await queue.work_off() == "abandoned"
        assert queue.answers == [404 if hindrance == "nobody" else 409] * (Queue.RETRIES + 1)
        assert queue.slept == 0
        await run.quiet()
        assert "738261" not in person.codes


# ------------------------------------------------------------------ never twice


@pytest.fixture(params=STORES)
async def any_run(request: pytest.FixtureRequest, worker_id: str) -> AsyncIterator[Running]:
    """A running service over each kind of store."""
    async with running(await store_url(request.param, worker_id)) as made:
        yield made


@pytest.mark.slow
async def test_a_message_is_sent_once(any_run: Running) -> None:
    """One after the other and all at once; another code, address or template is another message."""
    run, person = any_run, any_run.someone()
    await linked(run, person, PHONE)
    answers = await asyncio.gather(*(courier(run) for _ in range(5)))
    assert {one.status for one in answers} <= {200, 409}
    again = await courier(run, context(expires_in_minutes=14), expires_in_minutes=13)
    assert (again.status, replayed(again)) == (200, True)
    await run.quiet()
    assert person.codes.count("738261") == 1
    for ctx in (context(code="111111"), context(TYPES[3])):
        assert not replayed(await courier(run, ctx))
    assert person.codes[-2:] == ["111111", "738261"]
    run.clock.advance(ms=CALL_KEYS_KEPT_MS)
    assert not replayed(await courier(run))


async def test_keys_of_two_projects_do_not_meet(run: Running) -> None:
    await linked(run, run.someone(), PHONE)
    assert (await courier(run)).status == 200
    other = await run.service.projects.create("Other", "")
    run.api_key = other.api_key
    assert is_problem(await courier(run), 404, "subscriber_not_found")


def test_a_message_is_known_by_every_listed_key_and_told_by_none(store: Store) -> None:
    """Before and after a rotation; its name in the store is no plain hash of a code."""
    caller = Caller(Project("p" * 36, "Shop", "", True), Mode.LIVE)
    asked = ("login_code_valid", PHONE, "738261")
    before, after = (CallKeys(store, KeyRing(keys)) for keys in (KEYS, KEYS[::-1]))
    assert {one.id for one in before.own_claims(caller, *asked)} == {
        one.id for one in after.own_claims(caller, *asked)
    }
    assert before.own_claims(caller, *asked)[0].id != after.own_claims(caller, *asked)[0].id
    stranger = CallKeys(store, KeyRing(["another-key-" + "z" * 30]))
    assert not {one.id for one in before.own_claims(caller, *asked)} & {
        one.id for one in stranger.own_claims(caller, *asked)
    }


async def test_a_second_call_meanwhile(run: Running) -> None:
    """In progress as long as nobody knows, then what came of it: never a second message."""
    person = run.someone()
    await linked(run, person, PHONE)
    hold = asyncio.Event()
    run.demo.telegram.faults.append(Fault(SENDING["telegram"], hold=hold))
    asking = asyncio.ensure_future(courier(run))
    calls = run.demo.telegram.calls
    await run.demo.telegram.until(lambda: calls[-1].method == "sendMessage" and calls[-1].status is None)
    assert is_problem(await courier(run), 409, "idempotency_in_progress")
    hold.set()
    first = await asking
    again = await courier(run)
    assert (first.json["status"], again.json, replayed(again)) == ("sent", first.json, True)
    assert person.codes.count("738261") == 1


# ------------------------------------------------------------------ secrets, test mode


async def test_the_code_is_nowhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In no row, no file of the database, no log and no answer, whatever became of it."""
    path = tmp_path / "tapcode.db"
    codes = {"738261", "638262", "538263", "438264"}
    answers: list[str] = []
    async with running(f"sqlite:///{path}") as run:
        person = run.someone()
        await linked(run, person, PHONE)
        sends = SENDING["telegram"]
        faults = [[], [Fault(sends, status=500)], [Fault(sends, status=400)], [Fault(sends, retry_after=60)]]
        for code, these in zip(sorted(codes), faults, strict=True):
            run.demo.telegram.faults.extend(these)
            answers += [(await courier(run, context(code=code))).text for _ in range(2)]
        await run.quiet()
        assert list(in_database(path, set(), codes)) == []
    told = capsys.readouterr()
    assert list(in_log(told.out + told.err, set(), codes)) == []
    assert list(in_bodies(answers, set(), codes)) == []
    assert not [code for code in codes if code.encode() in path.read_bytes()]


async def test_with_a_test_key_nobody_gets_it(run: Running) -> None:
    """Linked as in docs/kratos.md, by the calls of test mode; live and test accounts do not meet."""
    person = run.someone()
    await linked(run, person, PHONE)
    test = await with_test_key(run)
    assert is_problem(await courier(test), 404, "subscriber_not_found")
    request = await test.request(external_id=PHONE)
    assert (await play(test, request, "consent")).status == 200
    body = {"external_id": PHONE, "request_id": request["request_id"], "code": "424242"}
    assert (await test.call("POST", "/v1/otp/verify", body)).json["verified"] is True
    answer = await courier(test, context(code="111111"))
    assert (answer.status, answer.json["status"], answer.json["test"]) == (200, "sent", True)
    assert "111111" not in person.codes
