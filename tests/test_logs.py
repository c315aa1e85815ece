"""Logs: one event, one line; types and places of exceptions, never their texts; no secret anywhere."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import aiogram.loggers
import maxapi.loggers
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import config.logs
from config.logs import Redactor, configure, log_event, watch
from otp.call import begin_call, know_of_call
from otp.events import (
    CodeVerified,
    DeliverySettled,
    Event,
    RequestFinished,
    SubscriberForgotten,
    SubscriberLocked,
    SubscriberRelinked,
    SubscriberUnlocked,
    WrongCode,
)
from otp.model import (
    Cause,
    Channel,
    CodeSeed,
    CodeTerms,
    Delivery,
    DeliveryState,
    ForgottenBy,
    Mode,
    Person,
    Refusal,
    RequestStatus,
    Subscriber,
)

SECRET = "correct-horse-battery-staple"
CODE = "314159"
API_KEY = "tc_live_" + "Ab1_-" * 8
TELEGRAM_TOKEN = "123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOpp"
PERSON = Person(Channel.TELEGRAM, 987_654_321_012)
SUBSCRIBER = Subscriber("sub-1", "project-1", Mode.LIVE, PERSON, "en", True, 50, True)
DELIVERY = Delivery(
    id="d", project_id="project-1", subscriber_id="sub-1", person=PERSON, request_id="r" * 16, cause=Cause.SEND,
    terms=CodeTerms("login", 5, 5, 6), seed=CodeSeed(b"seed-of-the-code", "key-id", 6), code_id="c", reuses=False,
    state=DeliveryState.ACCEPTED, refusal=None, tries=1, claimed_at=0, due_at=0, give_up_at=1, attempted_at=0,
)  # fmt: skip


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a test configures for the whole process is undone after it."""
    root, known = logging.getLogger(), logging.root.manager.loggerDict
    levels = {name: one.level for name, one in known.items() if isinstance(one, logging.Logger)}
    handlers, level = root.handlers[:], root.level
    kept = structlog.get_config() if structlog.is_configured() else None
    root.handlers[:] = []  # they are kept from being closed
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, one in list(known.items()):
        if isinstance(one, logging.Logger):
            one.setLevel(levels.get(name, logging.NOTSET))
            one.disabled = False
    logging.captureWarnings(False)
    begin_call()
    structlog.reset_defaults()
    if kept is not None:
        structlog.configure(**kept)
    config.logs.log = structlog.get_logger()  # one that has said something keeps how it said it


class Output:
    """Starts logging, and reads what was written."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def start(self, level: str = "info", style: str | None = "json") -> Any:
        """A logger, after `configure`."""
        configure(level, style, [SECRET, "short", SECRET + "-and-more"])
        config.logs.log = structlog.get_logger()  # the one before keeps the level of its first line
        self._capsys.readouterr()  # what a loop that is gone has left
        return structlog.get_logger()

    def text(self) -> str:
        """All of standard output; standard error stays empty."""
        found = self._capsys.readouterr()
        assert found.err == ""
        return found.out

    def events(self) -> list[dict[str, Any]]:
        """Every line, as JSON."""
        text = self.text()
        assert text == "" or text.endswith("\n")
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def event(self) -> dict[str, Any]:
        """The one line."""
        (found,) = self.events()
        return found


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Output:
    """See `Output`."""
    return Output(capsys)


def fail() -> None:
    """An error whose text holds a code, and so does its cause's."""
    try:
        raise KeyError(f"cause {CODE}")
    except KeyError as error:
        raise RuntimeError(f"sending {CODE} failed") from error


def caught() -> Exception:
    """Such an error, after it was raised."""
    try:
        fail()
    except RuntimeError as error:
        return error
    raise AssertionError


# ------------------------------------------------------------------ one event, one line


def test_an_event_is_one_line_of_json(output: Output):
    """With its name, level, time in UTC and values."""
    output.start().warning("delivery.settled", channel="max", tries=2, why=None)
    found = output.event()
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "delivery.settled",
        "level": "warning",
        "channel": "max",
        "tries": 2,
        "why": None,
    }


@pytest.mark.parametrize(
    "value, written",
    [
        (2**70, 2**70),
        (-(2**70), -(2**70)),
        ("half a letter \ud83d", "half a letter \ud83d"),
        ("Ромашка \u2028 \n", "Ромашка \u2028 \n"),
        (Channel.MAX, "max"),
        ([1, "two"], [1, "two"]),
    ],
    ids=["large", "small", "surrogate", "separators", "enum", "list"],
)
def test_whatever_is_said_is_one_line(output: Output, value: object, written: object):
    """Of JSON that others read as well."""
    output.start().info("some.event", value=value)
    assert output.event()["value"] == written


def test_another_librarys_event_is_the_same_kind_of_line(output: Output):
    """The standard library's loggers end in the same stream and shape."""
    output.start()
    logging.getLogger("some.library").warning("cannot %s", "connect")
    found = output.event()
    assert found.pop("timestamp").endswith("Z")
    assert found == {"event": "cannot connect", "level": "warning"}


def test_a_warning_of_python_is_a_line_too(output: Output):
    """Nothing is written past the log."""
    output.start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", UserWarning, stacklevel=1)
    assert "old" in output.event()["event"]


@pytest.mark.parametrize(
    "level, count",
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
    ids=str,
)
def test_what_is_below_the_level_is_not_written(output: Output, level: str, count: int):
    """`LOG_LEVEL` is the lowest level that comes through."""
    log = output.start(level)
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("x")
    assert len(output.events()) == count


def test_other_libraries_are_heard_from_warning_on(output: Output):
    """Their chatter is never written, at debug neither."""
    output.start("debug")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").debug("chatter")
    assert output.events() == []


async def test_lines_of_one_turn_go_out_together(output: Output):
    log = output.start()
    log.info("one")
    log.info("two")
    assert output.text() == ""
    await asyncio.sleep(0)
    assert [line["event"] for line in output.events()] == ["one", "two"]


async def test_a_lines_time_is_now(output: Output):
    log, before = output.start(), datetime.now(UTC) - timedelta(microseconds=1)
    log.info("now")
    log.info("still now")
    await asyncio.sleep(0)
    times = [datetime.fromisoformat(line["timestamp"]) for line in output.events()]
    in_order = [before, *times, datetime.now(UTC) + timedelta(microseconds=1)]
    assert in_order == sorted(in_order)


async def test_other_libraries_do_not_wait_for_the_turns_end_and_keep_the_order(output: Output):
    log = output.start()
    log.info("first")
    logging.getLogger("some.library").warning("second")
    assert [line["event"] for line in output.events()] == ["first", "second"]


def test_what_a_dead_loop_left_is_written_with_what_comes_next(output: Output):
    log = output.start()

    async def say() -> None:
        log.info("last words")
        asyncio.get_running_loop().stop()

    loop = asyncio.new_event_loop()
    task = loop.create_task(say())
    loop.run_forever()
    loop.close()
    log.info("after it")
    assert task.done()
    assert [line["event"] for line in output.events()] == ["last words", "after it"]


def test_what_is_known_of_the_call_is_in_the_line(output: Output):
    """A request's id is in every line that it causes, and only in those; an event's own word counts more."""
    log = output.start()
    begin_call(request="abc", project="p1")
    know_of_call("client", "c")
    log.info("x", project="p2")
    first = output.event()
    assert (first["request"], first["project"], first["client"]) == ("abc", "p2", "c")
    begin_call(request="def")
    log.info("x")
    second = output.event()
    assert second["request"] == "def"
    assert {"project", "client"}.isdisjoint(second)


CONTROLS = "a\nb\r\n\x00\x1b[31m\x7f\x85\u2028\u2029\u202e\ud800"


def test_control_characters_are_escaped(output: Output):
    """No value can start a line of its own, colour a terminal or turn the text around."""
    output.start().info("x", value=CONTROLS, nested={"k": CONTROLS})
    logging.getLogger("lib").warning("y %s", CONTROLS)
    text = output.text()
    assert text.count("\n") == 2
    assert text.replace("\n", "").isascii()
    assert text.replace("\n", "").isprintable() or "\x7f" in text
    assert next(json.loads(line) for line in text.splitlines())["value"] == CONTROLS


# ------------------------------------------------------------------ exceptions


def by_exception(log: Any) -> None:
    try:
        fail()
    except RuntimeError:
        log.exception("x")


def by_value(log: Any) -> None:
    log.error("x", exc_info=caught())


def by_tuple(log: Any) -> None:
    error = caught()
    log.error("x", exc_info=(type(error), error, error.__traceback__))


WAYS = [by_exception, by_value, by_tuple]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["structlog", "logging"])
def test_an_exception_is_written_as_types_and_places(output: Output, way: Callable[[Any], None], source: str):
    """The error and its cause, each with where it came from, and not a word of their texts."""
    log = output.start()
    way(log if source == "structlog" else logging.getLogger("lib"))
    found = output.event()
    first, second = found["exception"]
    assert first.startswith("builtins.RuntimeError test_logs.py:")
    assert second.startswith("builtins.KeyError test_logs.py:")
    assert CODE not in json.dumps(found)
    assert "failed" not in json.dumps(found)
    assert "exc_info" not in found


def test_the_innermost_place_comes_first(output: Output):
    """The line that raised stands next to the type."""
    error = caught()
    traceback = error.__traceback__
    assert traceback is not None
    assert traceback.tb_next is not None
    output.start().error("x", exc_info=error)
    places = output.event()["exception"][0].split(" ", 1)[1].split(" < ")
    assert places == [f"test_logs.py:{traceback.tb_next.tb_lineno}", f"test_logs.py:{traceback.tb_lineno}"]


def test_what_was_being_handled_is_named_too(output: Output):
    """An error raised while another one was handled names both."""
    try:
        try:
            raise KeyError(CODE)
        except KeyError:
            raise ValueError(CODE)  # noqa: B904
    except ValueError as error:
        output.start().error("x", exc_info=error)
    assert [one.split(" ")[0] for one in output.event()["exception"]] == [
        "builtins.ValueError",
        "builtins.KeyError",
    ]


def test_an_endless_chain_ends(output: Output):
    """Causes that point at each other do not hang the log."""
    one, two = ValueError(CODE), KeyError(CODE)
    one.__cause__, two.__cause__ = two, one
    output.start().error("x", exc_info=one)
    assert len(output.event()["exception"]) == 5


def test_an_exception_that_was_never_raised_is_named(output: Output):
    """Without a place there is still a type."""
    output.start().error("x", exc_info=ValueError(CODE))
    assert output.event()["exception"] == ["builtins.ValueError"]


def test_no_exception_is_no_problem(output: Output):
    """`exc_info=True` outside of a handler is only an event."""
    output.start().error("x", exc_info=True)
    assert "exception" not in output.event()


def test_an_exception_as_a_value_shows_no_text(output: Output):
    """Whoever logs `error=error` gives away no message either."""
    output.start().error("x", error=caught(), errors=[caught()])
    assert CODE not in output.text()


async def test_what_asyncio_says_of_a_lost_task_holds_no_text(output: Output):
    """A future's `repr` holds the text of its exception."""
    output.start()
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    future.set_exception(ValueError(CODE))
    error = future.exception()
    loop.call_exception_handler({"message": "never retrieved", "exception": error, "future": future})
    assert CODE not in output.text()


# ------------------------------------------------------------------ redaction


class Odd:
    """Shows a secret when it is shown."""

    def __repr__(self) -> str:
        return f"Odd({SECRET})"


class Kind(StrEnum):
    """An enum that holds one."""

    SECRET = SECRET


@pytest.mark.parametrize(
    "value",
    [SECRET, f"before {SECRET} after", f"{SECRET}{SECRET}", [SECRET], (SECRET, 1), {"a": SECRET}, {SECRET: 1},
     {"a": [{"b": (SECRET,)}]}, [[[SECRET]]], {SECRET}, SECRET.encode(), Odd(), [Odd()], {"a": Odd()}, Kind.SECRET],
    ids=repr,
)  # fmt: skip
def test_a_known_secret_is_hidden_wherever_it_stands(output: Output, value: object):
    """In texts, lists, mappings, bytes and what shows itself as text."""
    output.start().info("x", value=value)
    text = output.text()
    assert SECRET not in text
    assert "[hidden]" in text


@pytest.mark.parametrize(
    "say",
    [lambda: logging.getLogger("lib").warning("a %s b", SECRET), lambda: warn(SECRET)],
    ids=["log", "warn"],
)
def test_a_known_secret_is_hidden_in_what_libraries_say(output: Output, say: Callable[[], None]):
    """In their sentences too."""
    output.start()
    say()
    text = output.text()
    assert SECRET not in text
    assert "[hidden]" in text


def warn(text: str) -> None:
    """As Python's warnings arrive."""
    logging.getLogger("py.warnings").warning("%s", text)


def test_a_known_secret_is_hidden_in_the_events_name(output: Output):
    """The name of an event is a value like any other."""
    output.start().info(f"calling {SECRET}")
    assert output.event()["event"] == "calling [hidden]"


def test_the_longer_secret_goes_first(output: Output):
    """A secret that holds another one leaves nothing of itself."""
    output.start().info("x", value=SECRET + "-and-more")
    assert output.event()["value"] == "[hidden]"


def test_a_very_short_secret_hides_nothing(output: Output):
    """Masking a few letters would only spoil the log and tell where they are."""
    output.start().info("x", value="a short line")
    assert output.event()["value"] == "a short line"


@pytest.mark.parametrize(
    "text, left",
    [
        (API_KEY, "[hidden]"),
        (f"Bearer {API_KEY}.", "Bearer [hidden]."),
        (API_KEY.replace("live", "test"), "[hidden]"),
        (f"token={TELEGRAM_TOKEN}", "token=[hidden]"),
        ("whsec_" + "Qz+/9=" * 5, "[hidden]"),
        ("https://t.me/some_bot?start=otp_Ab3dEf6hIj9lMn2p", "https://t.me/some_bot?start=otp_[hidden]"),
        ("/start otp_Ab3dEf6hIj9lMn2p", "/start otp_[hidden]"),
        (
            f"https://api.telegram.org/bot{TELEGRAM_TOKEN}/sendMessage",
            "https://api.telegram.org/bot[hidden]/sendMessage",
        ),
    ],
)
def test_the_shapes_of_secrets_are_hidden(output: Output, text: str, left: str):
    """API keys, bot tokens, signing secrets and the ids in links, even those that nobody told of."""
    output.start().info("x", value=text, nested=[[text]])
    found = output.event()
    assert found["value"] == left
    assert found["nested"] == [[left]]


@pytest.mark.parametrize("value", [1, 2.5, True, None, "plain", "12:30:45", "tc_live", "otp_", "sub-1"])
def test_ordinary_values_stay(output: Output, value: object):
    """Numbers, times and ids are not secrets, and keep their types."""
    output.start().info("x", value=value)
    assert output.event()["value"] == value
    assert type(value) in (int, float, bool, type(None), str)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.just(SECRET) | st.binary(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=8,
    )
)
def test_no_nesting_shows_a_secret(value: Any):
    """Whatever an event holds, what comes out is JSON without the secret."""
    found = Redactor([SECRET])(None, "info", {"event": "x", "value": value})
    assert SECRET not in json.dumps(found)


def test_showing_the_redactor_shows_no_secret():
    """It is part of the configuration, and may be printed with it."""
    assert SECRET not in repr(Redactor([SECRET]))


def test_without_secrets_nothing_is_known():
    """An empty list of secrets does not mask everything."""
    assert Redactor([])(None, "info", {"event": "plain"}) == {"event": "plain"}


# ------------------------------------------------------------------ loggers that must be silent


@pytest.mark.parametrize(
    "name",
    ["aiogram", *(one.name for one in vars(aiogram.loggers).values() if isinstance(one, logging.Logger)),
     "aiogram.client.session.middlewares.request_logging", "maxapi", "maxapi.utils.updates", "backoff"],
)  # fmt: skip
def test_messengers_libraries_are_silent(output: Output, name: str):
    """What they write holds whole messages, so even a critical error is not written, at debug neither."""
    output.start("debug")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        logging.getLogger(name).log(level, "message %s", CODE, exc_info=caught())
    assert output.events() == []


def test_a_library_that_is_imported_later_stays_silent(output: Output):
    """`backoff` gives its logger a level of its own at import."""
    output.start("debug")
    logging.getLogger("backoff").setLevel(logging.INFO)
    logging.getLogger("backoff").error("message %s", CODE)
    assert output.events() == []


@pytest.mark.parametrize(
    "logger", [maxapi.loggers.logger_bot, maxapi.loggers.logger_connection, maxapi.loggers.logger_dp],
    ids=lambda logger: str(logger.name),
)  # fmt: skip
def test_maxapis_own_loggers_are_silent(output: Output, logger: logging.Logger):
    """They do not carry the library's name."""
    output.start("debug")
    logger.error("message %s", CODE)
    assert output.events() == []


@pytest.mark.parametrize("name", ["aiohttp.access", "aiohttp.client", "aiosqlite"])
def test_the_machinery_speaks_only_of_errors(output: Output, name: str):
    """Their warnings are noise; their errors are not."""
    output.start("debug")
    logging.getLogger(name).warning("noise")
    logging.getLogger(name).error("trouble")
    assert [found["event"] for found in output.events()] == ["trouble"]


# ------------------------------------------------------------------ on a terminal


def test_console_lines_are_for_people(output: Output):
    """Not JSON, but the same facts, and secrets hidden."""
    output.start(style="console").info("serving", port=8080, key=SECRET)
    text = output.text()
    assert text.count("\n") == 1
    assert not text.startswith("{")
    assert all(part in text for part in ("serving", "port=8080", "info", "[hidden]"))
    assert SECRET not in text


@pytest.mark.parametrize("terminal, is_json", [(True, False), (False, True)])
def test_without_a_choice_a_terminal_gets_console_lines(
    output: Output, monkeypatch: pytest.MonkeyPatch, terminal: bool, is_json: bool
):
    """`LOG_FORMAT` unset: for people on a terminal, JSON elsewhere."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    output.start(style=None).info("serving")
    assert output.text().startswith("{") is is_json


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", ["structlog", "logging"])
def test_console_lines_take_exceptions(output: Output, way: Callable[[Any], None], source: str):
    """Types and places on a terminal too, and no texts."""
    log = output.start(style="console")
    way(log if source == "structlog" else logging.getLogger("lib"))
    text = output.text()
    assert "RuntimeError" in text
    assert CODE not in text


def test_console_lines_escape_what_libraries_say(output: Output):
    """What came from outside can't colour the operator's terminal or forge a line."""
    output.start(style="console")
    logging.getLogger("lib").warning("bad request: %s", "\x1b[31m\n2026-01-01 all is well")
    text = output.text()
    assert text.count("\n") == 1
    assert "\x1b" not in text


# ------------------------------------------------------------------ events of the domain


@pytest.mark.parametrize(
    "event, level, facts",
    [
        (DeliverySettled(DELIVERY, None, "en", None), "info", {"state": "accepted", "why": None}),
        (
            DeliverySettled(
                replace(DELIVERY, state=DeliveryState.REFUSED, refusal=Refusal.GONE), None, "en", None
            ),
            "warning",
            {"state": "refused", "why": "gone", "channel": "telegram"},
        ),
        (
            DeliverySettled(replace(DELIVERY, state=DeliveryState.UNKNOWN), None, "en", None),
            "warning",
            {"state": "unknown"},
        ),
        (SubscriberLocked(SUBSCRIBER), "warning", {"subscriber": "sub-1", "project": "project-1"}),
        (SubscriberUnlocked(SUBSCRIBER), "info", {"subscriber": "sub-1", "project": "project-1"}),
        (
            WrongCode("sub-1", "project-1", "login", Channel.MAX, Mode.LIVE, None, 3),
            "info",
            {"subscriber": "sub-1", "purpose": "login", "attempts_left": 3},
        ),
        (
            CodeVerified("sub-1", "project-1", "login", Channel.MAX, Mode.LIVE, None),
            "info",
            {"subscriber": "sub-1", "purpose": "login"},
        ),
        (
            SubscriberRelinked(SUBSCRIBER, "ann@example.org", "sub-0"),
            "warning",
            {"subscriber": "sub-1", "previous": "sub-0", "project": "project-1"},
        ),
        (
            SubscriberForgotten(SUBSCRIBER, ForgottenBy.RETENTION),
            "info",
            {"subscriber": "sub-1", "project": "project-1", "by": "retention"},
        ),
        (RequestFinished("r" * 16, "project-1", RequestStatus.SENT), "debug", {}),
    ],
    ids=[
        "accepted",
        "refused",
        "unknown",
        "locked",
        "unlocked",
        "wrong",
        "right",
        "relinked",
        "forgotten",
        "finished",
    ],
)
def test_an_event_of_the_domain_is_one_line(output: Output, event: Event, level: str, facts: dict[str, Any]):
    """With ids, and nothing of the person or the code."""
    output.start("debug")
    log_event(event)
    found = output.event()
    assert found["level"] == level
    assert found["event"].startswith("otp.")
    assert facts.items() <= found.items()
    shown = json.dumps(found)
    assert not [
        part for part in (str(PERSON.user_id), "seed-of", "key-id", "r" * 16, "example.org") if part in shown
    ]


def test_the_names_of_events_are_in_snake_case(output: Output):
    """`DeliverySettled` is `otp.delivery_settled`."""
    output.start()
    log_event(DeliverySettled(DELIVERY, None, "en", None))
    assert output.event()["event"] == "otp.delivery_settled"


async def test_a_lost_callback_is_told_without_its_text(output: Output):
    """What fails where nobody awaits it becomes one line with type and place."""
    output.start("info")
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    watch(loop)
    loop.call_soon(lambda: int("482916x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    loop.set_exception_handler(before)
    text = output.text()
    event = json.loads(text)
    assert event["event"] == "loop.failed"
    assert event["exception"][0].startswith("builtins.ValueError")
    assert "482916x" not in text
