"""Which request somebody means by what they typed or pasted."""

from __future__ import annotations

from string import ascii_letters, digits

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.dialog import request_id_in

ANY = st.characters(exclude_categories=())  # halves of surrogate pairs too
ID = "Ab3dEf6hIj9lMn2p"
LINKS = [
    f"https://t.me/tap_code_bot?start=otp_{ID}",
    f"https://max.ru/id770000000000_bot?start=otp_{ID}",
    f"http://t.me/tap_code_bot?start=otp_{ID}",
    f"HTTPS://T.ME/tap_code_bot?START=OTP_{ID}",
    f"https://telegram.me/tap_code_bot?start=otp_{ID}",
    f"https://t.me/tap_code_bot/?start=otp_{ID}",
    f"https://t.me/tap_code_bot?utm_source=mail&start=otp_{ID}",
    f"https://t.me/tap_code_bot?start=otp_{ID}&utm_source=mail",
    f"https://max.ru/id1_bot?a=1&b=%D0%B0&start=otp_{ID}&c=2&d",
    f"https://max.ru/id1_bot?startapp=otp_{ID}",
]
SPACES = ["", " ", "\n", "\t ", "\r\n", "\u00a0", "\u3000", "\u2028"]


@pytest.mark.parametrize("prefix", ["otp_", "OTP_", "Otp_", "oTp_"])
def test_the_number_alone_is_enough(prefix: str):
    """The case of the prefix is ignored, that of the id is kept."""
    assert request_id_in(prefix + ID) == ID


@pytest.mark.parametrize("link", LINKS)
def test_a_whole_link_is_understood(link: str):
    """Of both messengers, with or without other parameters around."""
    assert request_id_in(link) == ID


@pytest.mark.parametrize("text", [f"otp_{ID}", LINKS[0], LINKS[1]])
@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_outer_spaces_are_ignored(text: str, space: str):
    """What a paste drags along at its ends does not matter."""
    assert [request_id_in(typed) for typed in (space + text, text + space, space + text + space)] == [ID] * 3


@pytest.mark.parametrize("almost", ["otp_", "otp_short", "otp_" + "x" * 17, "otp_" + "x" * 60, "otp_a-b_c"])
def test_a_mistyped_number_is_still_one(almost: str):
    """It is answered as an unknown link, not as small talk."""
    assert request_id_in(almost) == almost.removeprefix("otp_")


@pytest.mark.parametrize(
    "text",
    ["", " ", ID, "otp", f"otp {ID}", f"otp-{ID}", f"xotp_{ID}", f"otp_{ID} please", f"my code otp_{ID}",
     f"otp_{ID}\notp_{ID}", f"otp_{ID}!", f"otp_{ID}ж", "otp_١٢٣٤", "otp_абв", f"ｏtp_{ID}", f"otp＿{ID}",
     f"otp_{ID[:8]} {ID[8:]}", f"otp_{ID}\x00", f"otp_{ID}\ud800", "https://t.me/tap_code_bot",
     "https://t.me/tap_code_bot?start=", f"https://t.me/tap_code_bot?start={ID}",
     f"https://t.me/tap_code_bot?restart=otp_{ID}", f"https://t.me/otp_{ID}", f"https://t.me/a b?start=otp_{ID}",
     f"start=otp_{ID}", f"?start=otp_{ID}", f"ftp://t.me/b?start=otp_{ID}", f"https://t.me/b?start=otp_{ID} x",
     f"see https://t.me/b?start=otp_{ID}", "/start", "123456", "hello"],
)  # fmt: skip
def test_anything_else_is_no_number(text: str):
    """Small talk, other links, other scripts and numbers in the middle of a sentence."""
    assert request_id_in(text) is None


@given(st.text(ANY, max_size=80))
@example("otp_\ud800")
def test_it_reads_any_text(text: str):
    """Nothing that can be typed breaks it, and what it finds is plain ASCII out of the text."""
    found = request_id_in(text)
    assert found is None or (found.isascii() and found in text)


@given(
    st.text(ascii_letters + digits, min_size=16, max_size=16),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_it_finds_exactly_the_id(request_id: str, more: str):
    """Whatever stands behind the id in a link, the id is not changed by it."""
    assert request_id_in(f"otp_{request_id}") == request_id
    assert request_id_in(f"https://t.me/b?start=otp_{request_id}&x={more}") in (request_id, None)


def test_a_long_text_is_read_quickly():
    """Text made to be slow is read within the suite's time: the work grows no faster than it must."""
    assert request_id_in("https://" + "?start=otp_" * 2000 + " ") is not None
    assert request_id_in("https://" + "&start=otp_x" * 1000 + " x") is None
    assert request_id_in("otp_" + "&" * 100_000 + " x") is None
