"""What an object says of itself ends in logs, debuggers and error reports: it holds no code, key, token or secret."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from api.bodies import InvalidFields, validated
from api.problems import Problem
from api.schemas import SendBody, VerifyBody
from bot.events import Said, SharedContact
from bot.messages import Copy, Message, Page
from bot.phrases import code as code_message
from bot.registration import Wanted
from bot.replies import CodeMessenger
from bot.texts import texts_for
from config.logs import Redactor
from config.settings import Settings, SettingsError, defaults_but, load
from otp.codes import KeyRing, key_hash
from otp.errors import OtpError
from otp.model import Channel, CodeTerms, Context, Profile, Refusal
from otp.ports import Accepted, Refused, Tx, Unknown
from otp.projects import NewKey
from sandbox.wire import Fault
from tests.running import running
from tests.world import ANN, KEYS, LOGIN, World
from wiring.parts import make_registration, make_skins, webhook_secrets

TOKEN = "7000000001:" + "Tt-_" * 9
SECRET = "webhook-secret-of-the-tests"
API_KEY = "tc_live_" + "Kk-_" * 10


def told(thing: Any) -> Iterator[str]:
    """All ways in which an object tells of itself, and its causes with it."""
    yield from (repr(thing), str(thing), f"{thing!r:>1}", repr([thing]), "%s" % (thing,))  # noqa: UP031
    if isinstance(thing, BaseException):
        yield repr(thing.args)
        for cause in (thing.__cause__, thing.__context__):
            if cause is not None and not thing.__suppress_context__:
                yield from told(cause)


def assert_silent(things: list[Any], hidden: list[str]) -> None:
    """Nothing hidden is in anything that these things say of themselves."""
    assert all(len(one) >= 2 for one in hidden)
    for thing in things:
        for text in told(thing):
            assert not [one for one in hidden if one in text], type(thing)


def settings(**more: Any) -> Settings:
    """Settings with a secret in every place that can hold one."""
    return defaults_but(
        {
            "secret_keys": ",".join(KEYS),
            "telegram_bot_token": TOKEN,
            "max_bot_token": "max-" + TOKEN[11:],
            "telegram_webhook_secret": SECRET,
            "public_url": "https://codes.example",
            "project_name": "Shop",
            "project_api_key": API_KEY,
            "telegram_proxy_url": "http://user:proxy-password@proxy.example:3128",
            **more,
        }
    )


HIDDEN = [*KEYS, TOKEN, TOKEN[11:], SECRET, API_KEY, "proxy-password"]


async def test_settings_and_what_is_made_of_them() -> None:
    """Keys, tokens and webhook secrets, given and derived."""
    given = settings()
    derived = [*webhook_secrets(given, Channel.MAX), *KeyRing(KEYS).webhook_secrets("telegram", "7000000001")]
    skins = make_skins(given)
    try:
        registration = make_registration(given, None, skins)  # type: ignore[arg-type]
        things = [given, KeyRing(KEYS), Redactor(given.secrets), registration, Wanted("https://a", SECRET)]
        messengers = [CodeMessenger(skin) for skin in skins.values()]
        assert_silent([*things, *messengers, *skins.values(), given.model_fields_set], [*HIDDEN, *derived])
    finally:
        for skin in skins.values():
            await skin.close()


@pytest.mark.parametrize(
    "name,value",
    [
        ("secret_keys", "too-short-a-key"),
        ("telegram_bot_token", "not-a-token-at-all"),
        ("max_bot_token", "no token"),
        ("project_api_key", "tc_live_short-key"),
        ("telegram_webhook_secret", "short-secret"),
        ("database_url", "mysql://user:password-of-it@host/db"),
        ("database_direct_url", "postgresql://user:password-of-it@host:port/db"),
        ("telegram_proxy_url", "ftp://user:password-of-it@proxy"),
    ],
)
def test_refused_settings(name: str, value: str) -> None:
    """The error names the setting, never its value."""
    with pytest.raises(SettingsError) as caught:
        load("serve", {name: value})
    assert name.upper() in str(caught.value)
    assert_silent([caught.value, *caught.value.problems], [value, "password-of-it"])


async def test_a_code_on_its_way(world: World) -> None:
    """The parcel, the message that is made of it, the delivery, the code, the request; and every event of it."""
    sub = await world.subscribe()
    [parcel] = world.telegram.parcels
    message = code_message(texts_for("en"), parcel)
    page = Page().line(parcel.digits)
    made = await world.service.request(world.caller, None, LOGIN, match=True)

    async def stored(tx: Tx) -> list[Any]:
        return [
            await tx.code(sub, "login"),
            await tx.request(made.request.id),
            await tx.subscriber_by_id(sub),
        ]

    things = [parcel, parcel.delivery, message, *message.buttons, page, made, made.request, *world.events]
    things += await world.store.read(stored)
    assert parcel.digits in message.text
    assert made.request.pairing_code is not None
    assert made.request.match is not None
    assert_silent(things, [parcel.digits, made.request.pairing_code, *KEYS])
    assert f"number='{made.request.match.number}'" not in repr(made)
    assert_silent([Copy("Copy", parcel.digits), Message(parcel.digits)], [parcel.digits])


async def test_a_guess(world: World) -> None:
    """Right or wrong, what was typed is nowhere: not in the verdict, not in its events."""
    sub = await world.subscribe()
    code = world.telegram.codes[0]
    body = validated(VerifyBody, {"subscriber_id": sub, "code": "905173"})
    said = Said(world.update(), code)
    wrong, right = await world.verify(sub, "905173"), await world.verify(sub, code)
    assert (wrong.reason, right.reason) == ("wrong_code", None)
    assert_silent([body, said, wrong, right, *world.events], [code, "905173"])


async def test_a_phone_number(world: World) -> None:
    """From the contact to the answer that tells it: in no event, no row, no state, no profile."""
    made = await world.service.request(world.caller, None, LOGIN, asks_phone=True)
    await world.taps.open(world.update(), made.request.id)
    await world.taps.consent(world.update(), made.request.id)
    await world.settle()
    shared = SharedContact(world.update(), "12025550142", own=True)
    outcome = await world.phones.share(shared.update, shared.number, own=True)
    row = await world.store.read(lambda tx: tx.asked_number(made.request.id))
    state = await world.service.status(world.caller, made.request.id)
    sub = await world.store.read(lambda tx: tx.subscriber_by_id(str(state.subscriber_id)))
    assert sub is not None
    profile = Profile(sub, 0, None, "+12025550142")
    things = [shared, outcome, row, state, profile, world.phones, world.rules, *world.events]
    assert_silent(things, ["12025550142", *KEYS])


async def test_the_parts_of_the_service(world: World) -> None:
    """Services, projects, keys, rules."""
    made = await world.projects.create("Shop", "")
    parts = [
        world.service,
        world.taps,
        world.protection,
        world.projects,
        world.courier,
        world.rules,
        world.store,
    ]
    caller = await world.service.authenticate(key_hash(made.api_key))
    assert caller is not None
    assert_silent(
        [*parts, made, NewKey(made.project, made.api_key), caller, world.clock], [made.api_key, *KEYS]
    )


async def test_who_is_asking(world: World) -> None:
    """The context is shown to the person alone."""
    context = Context("203.0.113.77", "Kazan", "Chrome", "Sign in", "1 500 roubles")
    sub = await world.subscribe()
    await world.service.send(world.caller, sub, CodeTerms("pay", 5, 5, 6), context)
    parcel = world.telegram.parcels[-1]
    assert parcel.delivery.context == context
    assert_silent(
        [context, parcel, parcel.delivery, *world.events], ["203.0.113.77", "Kazan", "1 500 roubles"]
    )


async def test_calls_that_fail(world: World) -> None:
    """What a failing send raises, and what it was caused by."""
    sub = await world.subscribe()

    def burst(parcel: Any) -> Accepted:
        raise RuntimeError("a bug of ours")

    world.telegram.script = [Refused(Refusal.REJECTED), Unknown(), burst, Refused(Refusal.GONE)]
    for _ in range(5):
        with pytest.raises(OtpError) as caught:
            await world.service.send(world.caller, sub, LOGIN)
        assert_silent([caught.value], [*world.telegram.codes, *KEYS])
    assert [type(one) for one in world.failures] == [RuntimeError]
    assert_silent([*world.failures, *world.events], world.telegram.codes)
    world.failures.clear()


@pytest.mark.parametrize(
    "field,value", [("code", "7" * 65), ("code", 905173), ("subscriber_id", "905173905173")]
)
def test_a_body_that_is_refused(field: str, value: object) -> None:
    """The errors name fields, never values: one may be a code."""
    data = {"subscriber_id": ANN.address, "code": "905173", field: value}
    with pytest.raises(InvalidFields) as caught:
        validated(VerifyBody, data)
    assert_silent([caught.value, caught.value.errors], ["905173", "7" * 65])
    with pytest.raises(InvalidFields) as caught:
        validated(SendBody, {"subscriber_id": "905173", "code": "905173"})
    assert_silent([caught.value, caught.value.errors, Problem("malformed_json", "x")], ["905173"])


@pytest.mark.parametrize("fault", [{"status": 500}, {"drop": True}, {"status": 400}, {"truncate": True}])
@pytest.mark.parametrize("channel", ["telegram", "max"])
@pytest.mark.slow
async def test_a_messenger_that_fails(
    caplog: pytest.LogCaptureFixture, channel: str, fault: dict[str, Any]
) -> None:
    """Whatever the messenger's library says of a failure, it reaches no answer and none of Python's loggers."""
    caplog.set_level(logging.DEBUG)
    async with running() as run:
        sub = await run.subscriber(run.someone(channel))
        sim = run.demo.telegram if channel == "telegram" else run.demo.max
        sim.faults.append(Fault("sendMessage|POST /messages", **fault))
        answer = await run.call("POST", "/v1/otp/send", {"subscriber_id": sub})
        digits = _sent(next(one for one in reversed(sim.calls) if one.method in SENDS))
        assert answer.status == 502
        ours = "\n".join(
            one.getMessage() for one in caplog.records if one.name.startswith(("aiogram", "maxapi"))
        )
        assert_silent([answer, ours, run.service, run], [digits, run.demo.telegram_token, run.demo.max_token])


SENDS = ("sendMessage", "POST /messages")


def _sent(call: Any) -> str:
    text = call.params["text"] if call.body is None else call.body["text"]
    return str(text).split("\n")[0]
