"""The sentences: complete in every language, in the right form, and short enough for both messengers."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import phrases
from bot.messages import Copy, Message, Page, Press, Style
from bot.texts import LANGUAGES, PLURALS, Texts, languages, texts_for
from otp.given import GivenCode
from otp.model import (
    Cause,
    Channel,
    CodeSeed,
    CodeTerms,
    Delivery,
    DeliveryState,
    Ending,
    Match,
    MessageKind,
    Mode,
    Parcel,
    Person,
    Project,
    Request,
    RequestStatus,
    SentMessage,
    Subscriber,
)
from otp.outcomes import (
    Asked,
    Cancelled,
    Coming,
    Hurdle,
    MustUnlock,
    NoSuchPairing,
    Offered,
    Reported,
    Subscriptions,
    Unusable,
    Unwanted,
    WrongNumber,
)

LONG = Project("p" * 36, "Ж" * 199 + "\U0001f600", "d" * 999 + "\U0001f600", True)
PLAIN = Project("p" * 36, "Shop <b>&amp; *Sons* _{0}_ {name}", "", True)
PERSON = Person(Channel.TELEGRAM, 7001)
REQUEST_ID = "Ab3dEf6hIj9lMn2p"
SUBSCRIBER_ID = "01234567-89ab-4cde-8f01-23456789abcd"
TERMS = CodeTerms("login", 5, 5, 6)
REQUEST = Request(
    REQUEST_ID, LONG.id, Mode.LIVE, None, TERMS, RequestStatus.PENDING, 0, 900_000, None, None, None
)  # fmt: skip
SUB = Subscriber(SUBSCRIBER_ID, LONG.id, Mode.LIVE, PERSON, "ru", True, 50, True)
NOTE = SentMessage("m", PERSON, MessageKind.QUESTION)
NAMES = sorted(languages())
GIVEN = ("login", "registration", "verification", "recovery")
COUNTS = [0, 1, 2, 5, 11, 12, 21, 22, 25, 101, 111]


def raw(name: str) -> dict[str, Any]:
    """A language's file."""
    return tomllib.loads((LANGUAGES / f"{name}.toml").read_text(encoding="utf-8"))


def sentences(name: str) -> dict[str, str]:
    """Every sentence of a language that is not a plural form."""
    found = {
        section: part
        for section, part in raw(name).items()
        if section not in ("plural", "minutes", "wrong_codes")
    }
    return {f"{section}.{key}": text for section, part in found.items() for key, text in part.items()}


def fields(text: str) -> set[str]:
    """The placeholders of a sentence."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def parcel(
    cause: Cause = Cause.OPEN, digits: str = "012345", project: Project = LONG, minutes: int = 5
) -> Parcel:
    """A code to hand over."""
    delivery = Delivery(
        id="d", project_id=project.id, subscriber_id=SUB.id, person=PERSON, request_id=REQUEST_ID, cause=cause,
        terms=TERMS, seed=CodeSeed(bytes(16), "k", len(digits)), code_id="c", reuses=False,
        state=DeliveryState.ATTEMPTING, refusal=None, tries=1, claimed_at=0, due_at=0, give_up_at=1, attempted_at=0,
    )  # fmt: skip
    return Parcel(delivery, digits, project, "ru", minutes)


def given_parcel(what: str, project: Project = LONG, digits: str = "012345", minutes: int = 720) -> Parcel:
    """A code of the site's own to hand over."""
    ours = parcel(Cause.SEND, digits, project, minutes)
    terms = GivenCode(digits, "kratos", what, minutes).terms
    return replace(ours, delivery=replace(ours.delivery, request_id=None, terms=terms))


def every_message(texts: Texts, project: Project) -> Iterator[tuple[str, Message]]:
    """Everything that the bot can show, about one project."""
    many = [(SUB, project)] * 100
    for cause in Cause:
        yield f"code {cause}", phrases.code(texts, parcel(cause, "01234567", project, 30))
        yield f"coming {cause}", phrases.coming(texts, Coming(project, cause, fresh=True))
    for what in GIVEN:
        yield f"given, {what}", phrases.code(texts, given_parcel(what, project))
    yield "reported, given", phrases.reported(texts, Reported(project, SUB.id, given=True))
    yield "question", phrases.question(texts, Asked(project, REQUEST, NOTE), "en")
    yield "must unlock", phrases.must_unlock(texts, MustUnlock(project, REQUEST, SUB, NOTE))
    for why in Hurdle:
        yield f"offer {why}", phrases.offer(texts, Offered(project, REQUEST, NOTE, why, 12))
    yield "failed", phrases.failed(texts, project, REQUEST_ID)
    yield "cancelled", phrases.cancelled(texts, Cancelled(project, REQUEST))
    yield "reported", phrases.reported(texts, Reported(project, SUB.id))
    yield "refusing", phrases.refusing(texts, project)
    yield "wrong number", phrases.wrong_number(texts, WrongNumber(project, REQUEST))
    matched = replace(REQUEST, match=Match("42", ("17", "42", "93")))
    yield "match", phrases.question(texts, Asked(project, matched, NOTE), "en")
    yield "pairing", phrases.no_such_pairing(texts, NoSuchPairing())
    yield "pairing, wait", phrases.no_such_pairing(texts, NoSuchPairing(59))
    yield "choose language", phrases.choose_language()
    yield "language chosen", phrases.language_chosen(texts)
    yield "unwanted", phrases.unwanted(texts, Unwanted(project, REQUEST, NOTE))
    for ending in Ending:
        yield f"ended {ending}", phrases.ended(texts, project, ending)
    yield "unlocked", phrases.unlocked(texts, project)
    for reason in Unusable:
        yield f"dead {reason}", phrases.dead(texts, reason)
    yield "locked notice", phrases.locked_notice(texts, project, SUB)
    yield "help", phrases.help_page(texts, Subscriptions([], []))
    yield "help, locked", phrases.help_page(texts, Subscriptions(many, many))
    yield "stop", phrases.subscriptions(texts, Subscriptions(many, [], left=project))
    yield "stop, none left", phrases.subscriptions(texts, Subscriptions([], [], left=project))


everything = pytest.mark.parametrize("name", NAMES)
"""Each test looks at every message, about a project with the longest name and description."""


# ------------------------------------------------------------------ languages


def test_russian_and_english_are_there():
    """The two that the service promises."""
    assert {"en", "ru"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_language_has_the_same_sentences(name: str):
    """None is missing, none is left over."""
    assert sentences(name).keys() == sentences("en").keys()


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_has_the_same_placeholders(name: str):
    """A translation loses no value and asks for no other one."""
    found, english = sentences(name), sentences("en")
    assert {key: fields(text) for key, text in found.items()} == {
        key: fields(text) for key, text in english.items()
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noun", ["minutes", "wrong_codes"])
def test_every_plural_form_is_there(name: str, noun: str):
    """Exactly the forms that the language's rule can ask for, each with the number in it."""
    forms = raw(name)[noun]
    rule = PLURALS[raw(name)["plural"]]
    assert {rule(n) for n in range(200)} == set(forms)
    assert all(fields(text) == {"n"} for text in forms.values())


@pytest.mark.parametrize("name", NAMES)
def test_no_sentence_is_empty_or_of_two_lines(name: str):
    """Each is one line, without spaces at its ends."""
    for key, text in sentences(name).items():
        assert text.strip() == text != "", key
        assert "\n" not in text, key


@pytest.mark.parametrize(
    "n, minutes, codes",
    [
        *zip(
            COUNTS,
            [
                "минут",
                "минуту",
                "минуты",
                "минут",
                "минут",
                "минут",
                "минуту",
                "минуты",
                "минут",
                "минуту",
                "минут",
            ],
            ["кодов", "код", "кода", "кодов", "кодов", "кодов", "код", "кода", "кодов", "код", "кодов"],
            strict=True,
        )
    ],
)
def test_russian_counts(n: int, minutes: str, codes: str):
    """One, few and many, with the teens among the many."""
    texts = texts_for("ru")
    assert texts.count("minutes", n) == f"{n} {minutes}"
    assert re.search(rf"\b{n} неверн\w+ {codes}\.", texts.count("wrong_codes", n))


@pytest.mark.parametrize("n", COUNTS)
def test_english_counts(n: int):
    """One minute; none, two and a hundred and one minutes."""
    texts = texts_for("en")
    assert texts.count("minutes", n) == ("1 minute" if n == 1 else f"{n} minutes")
    assert texts.count("wrong_codes", n).startswith("1 wrong code was" if n == 1 else f"{n} wrong codes were")


@pytest.mark.parametrize("tag", ["ru", "ru-RU", "RU_ru", "ru_RU", "RU", "ru-Latn-RU", "ru-petr1708"])
def test_every_kind_of_russian_is_russian(tag: str):
    """Case, region and the sign between them do not matter."""
    assert texts_for(tag) is languages()["ru"]


@pytest.mark.parametrize(
    "tag", ["", "en", "en-GB", "de", "uk", "rue", "r", "run-RU", "-ru", "xx-ru", "../ru", "ru.toml"]
)
def test_any_other_language_is_english(tag: str):
    """English is what everybody gets for whom there is nothing else."""
    assert texts_for(tag) is languages()["en"]


@given(st.text(max_size=20))
def test_no_tag_breaks_it(tag: str):
    """Whatever a client calls its language, there are sentences."""
    assert texts_for(tag)("buttons.cancel")


def test_a_new_file_is_a_new_language(tmp_path: Path):
    """Dropped into the folder, it works: nothing else has to be told of it."""
    (tmp_path / "ja.toml").write_text(
        'plural = "other"\n[minutes]\nother = "{n}分"\n[buttons]\ncancel = "取消"\n[x]\ny = "{minutes}後"\n',
        encoding="utf-8",
    )
    (tmp_path / "README.md").write_text("not a language", encoding="utf-8")
    found = languages(tmp_path)
    assert list(found) == ["ja"]
    texts = found["ja"]
    assert texts("buttons.cancel") == "取消"
    assert texts("x.y", minutes=texts.count("minutes", 5)) == "5分後"


def test_an_unknown_plural_rule_is_noticed_at_once(tmp_path: Path):
    """A mistake in a file fails when it is loaded, not in front of a person."""
    (tmp_path / "xx.toml").write_text('plural = "one-two"\n', encoding="utf-8")
    with pytest.raises(KeyError):
        languages(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [*(f"dead.{why}" for why in Unusable), *(f"offer.{why}" for why in Hurdle)])
def test_every_reason_has_its_sentence(name: str, key: str):
    """A new reason without a sentence can't be forgotten."""
    assert languages()[name](key, minutes="5")


# ------------------------------------------------------------------ what fits


@everything
def test_a_text_fits(name: str):
    """4000 characters on MAX; on Telegram 4096 of UTF-16."""
    for what, message in every_message(languages()[name], LONG):
        assert 0 < len(message.text) <= 4000, what
        assert len(message.text.encode("utf-16-le")) // 2 <= 4096, what


@everything
def test_a_buttons_data_fits(name: str):
    """64 bytes on Telegram, and plain ASCII."""
    buttons = [button for _, message in every_message(languages()[name], LONG) for button in message.buttons]
    pressed = [button.data for button in buttons if isinstance(button, Press)]
    copied = [button.text for button in buttons if isinstance(button, Copy)]
    assert all(re.fullmatch(r"[a-z]+:[A-Za-z0-9:-]{1,58}", data) and len(data) <= 64 for data in pressed)
    assert all(re.fullmatch(r"[0-9]{4,8}", text) for text in copied)
    assert pressed
    assert copied


@everything
def test_a_label_fits(name: str):
    """20 characters are what MAX shows of a button that has a row of its own, also with a long project name on it."""
    wide = languages()[name]("buttons.no_more")  # its words are fixed: two more than fit
    for what, message in every_message(languages()[name], LONG):
        labels = [button.label for button in message.buttons if button.label != wide]
        assert all(1 <= len(label) <= 20 for label in labels), what


@everything
def test_the_buttons_fit(name: str):
    """MAX takes 30 rows."""
    for what, message in every_message(languages()[name], LONG):
        assert len(message.buttons) <= 30, what


@pytest.mark.parametrize("name", NAMES)
def test_a_popup_fits(name: str):
    """200 characters on Telegram."""
    popups = {key: text for key, text in sentences(name).items() if key.startswith(("dead.", "popup."))}
    assert len(popups) >= 10
    assert not {key for key, text in popups.items() if len(text) > 200}


@everything
def test_marks_lie_within_the_text(name: str):
    """A messenger refuses a mark that sticks out."""
    for what, message in every_message(languages()[name], LONG):
        ends = [(mark.offset, mark.offset + mark.length) for mark in message.marks]
        assert all(0 <= start < end <= len(message.text) for start, end in ends), what


# ------------------------------------------------------------------ the code


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", GIVEN)
def test_a_code_of_the_site_says_what_it_is_for(name: str, what: str):
    """Its digits first, then project, purpose, time and warning; nothing is offered that only the site could do."""
    texts = languages()[name]
    message = phrases.code(
        texts, given_parcel(what, replace(PLAIN, site_url="https://shop.example"), "0123ab")
    )
    lines = message.text.split("\n")
    assert lines[:2] == ["0123ab", ""]
    assert lines[3:5] == [PLAIN.name, texts(f"given.{what}")]
    assert lines[-1] == texts("given.body", minutes=texts.count("minutes", 720))
    assert [button.label for button in message.buttons] == [
        texts(f"buttons.{one}") for one in ("copy", "not_me", "site")
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("digits", ["0123", "012345", "01234567"])
def test_the_code_is_alone_in_the_first_line(name: str, cause: Cause, digits: str):
    """That is what a notification shows; and no other number in the message could be taken for it."""
    message = phrases.code(languages()[name], parcel(cause, digits, PLAIN, 30))
    assert message.text.split("\n")[:2] == [digits, ""]
    assert re.findall(r"\d{4,}", message.text) == [digits]


@pytest.mark.parametrize("name", NAMES)
def test_the_code_is_marked_and_can_be_copied(name: str):
    """Tap to copy where the messenger has it, and a native copy button, the only one."""
    message = phrases.code(languages()[name], parcel(digits="012345"))
    code = next(mark for mark in message.marks if mark.style is Style.CODE)
    assert message.text[code.offset : code.offset + code.length] == "012345"
    assert [button.text for button in message.buttons if isinstance(button, Copy)] == ["012345"]
    assert [button.label for button in message.buttons if isinstance(button, Press)] == [
        languages()[name]("buttons.again"),
        languages()[name]("buttons.not_me"),
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cause", list(Cause))
def test_who_did_not_just_consent_is_warned_of_forwarded_links(name: str, cause: Cause):
    """Opening a link somebody sent is enough for a subscriber, so the message says what not to do with the code."""
    texts = languages()[name]
    warned = texts("code.forwarded") in phrases.code(texts, parcel(cause)).text
    assert warned == (cause in ("open", "again", "unlock"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("minutes", [1, 5, 21])
def test_the_code_says_how_long_it_lives(name: str, minutes: int):
    """In whole minutes, in the right form."""
    texts = languages()[name]
    assert texts.count("minutes", minutes) in phrases.code(texts, parcel(minutes=minutes)).text


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_the_code_message_holds_digits_of_a_code(name: str):
    """No other message has a run of four digits that could be taken for one."""
    for what, message in every_message(languages()[name], PLAIN):
        if not what.startswith(("code ", "given, ")):
            assert not re.search(r"\d{4}", message.text), what


# ------------------------------------------------------------------ what is shown of a project

ABOUT_A_PROJECT: list[Callable[[Texts, Project], Message]] = [
    lambda texts, project: phrases.code(texts, parcel(project=project)),
    lambda texts, project: phrases.question(texts, Asked(project, REQUEST, NOTE), "en"),
    lambda texts, project: phrases.must_unlock(texts, MustUnlock(project, REQUEST, SUB, NOTE)),
    lambda texts, project: phrases.offer(texts, Offered(project, REQUEST, NOTE, Hurdle.LIMIT, 3)),
    lambda texts, project: phrases.failed(texts, project, REQUEST_ID),
    lambda texts, project: phrases.coming(texts, Coming(project, Cause.CONSENT, fresh=True)),
    lambda texts, project: phrases.cancelled(texts, Cancelled(project, REQUEST)),
    lambda texts, project: phrases.reported(texts, Reported(project, SUB.id)),
    lambda texts, project: phrases.unwanted(texts, Unwanted(project, REQUEST, NOTE)),
    lambda texts, project: phrases.ended(texts, project, Ending.USED),
    phrases.refusing,
    phrases.unlocked,
    lambda texts, project: phrases.locked_notice(texts, project, SUB),
    lambda texts, project: phrases.subscriptions(texts, Subscriptions([], [], left=project)),
]


@pytest.mark.parametrize("make", ABOUT_A_PROJECT, ids=range(len(ABOUT_A_PROJECT)))
@pytest.mark.parametrize("name", NAMES)
def test_a_projects_name_is_shown_literally_on_a_line_of_its_own(
    name: str, make: Callable[[Texts, Project], Message]
):
    """Whatever it contains: braces, markup and all."""
    message = make(languages()[name], PLAIN)
    assert PLAIN.name in message.text.split("\n")
    marked = [
        message.text[mark.offset : mark.offset + mark.length]
        for mark in message.marks
        if mark.style == "bold"
    ]
    assert marked == [PLAIN.name]


def test_the_question_shows_the_description_too():
    """On a line of its own, and none where there is none."""
    texts = languages()["en"]
    described = Project("p", "Shop", "Flowers {n} <i>", True)
    assert phrases.question(texts, Asked(described, REQUEST, NOTE), "en").text.split("\n")[:2] == [
        "Shop",
        "Flowers {n} <i>",
    ]
    assert phrases.question(texts, Asked(PLAIN, REQUEST, NOTE), "en").text.split("\n")[:2] == [PLAIN.name, ""]


@pytest.mark.parametrize("name", NAMES)
def test_the_question_says_how_to_leave(name: str):
    """And that Cancel is right for who did not ask."""
    texts = languages()[name]
    text = phrases.question(texts, Asked(LONG, REQUEST, NOTE), "en").text
    assert "/stop" in text
    assert texts("question.warning") in text
    assert texts("buttons.cancel") in texts("question.warning")


@pytest.mark.parametrize("name", NAMES)
def test_the_help_says_how_to_type_a_number(name: str):
    """The way in when a messenger swallows a link's payload."""
    text = phrases.help_page(languages()[name], Subscriptions([], [])).text
    assert "otp_" in text
    assert "/stop" in text


def test_a_long_name_is_cut_on_a_button():
    """With a sign that something is missing, and no space before it."""
    project = Project("p", "Nineteen letters it has and more", "", True)
    (button,) = phrases.subscriptions(languages()["en"], Subscriptions([(SUB, project)], [])).buttons
    assert button == Press("Nineteen letters it…", f"leave:{SUBSCRIBER_ID}")


@given(
    st.lists(
        st.tuples(st.text(max_size=8).filter(lambda text: "\n" not in text), st.sampled_from([None, *Style]))
    )
)
def test_marks_cover_exactly_their_lines(lines: list[tuple[str, Style | None]]):
    """Whatever characters stand before them."""
    page = Page()
    for text, style in lines:
        page.line(text, style)
    message = page.message()
    assert message.text == "\n".join(text for text, _ in lines)
    marked = [(message.text[mark.offset : mark.offset + mark.length], mark.style) for mark in message.marks]
    assert marked == [(text, style) for text, style in lines if style is not None]
