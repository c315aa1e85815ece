"""Digits from seeds, typed text to digits, and what is made of the operator's keys."""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp import codes
from otp.codes import KeyRing, clean, fingerprint, key_hash, same, well_formed
from otp.model import CodeSeed
from tests.fakes import SeededRandomness

ANY = st.characters(exclude_categories=())  # halves of surrogate pairs too
FIRST, SECOND, THIRD = "first-" + "a" * 32, "second-" + "b" * 32, "third-" + "c" * 32
TELEGRAM_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}", re.ASCII)
MAX_SECRET = re.compile(r"[A-Za-z0-9_-]{5,256}", re.ASCII)

DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
DRAGGED = (
    " \t\n\v\f\r\x85\u00a0\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000"  # white space
    "\u200b\u200c\u200d\u2060\ufeff"  # zero width, BOM
    "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # bidi
    "\u00ad"  # soft hyphen
)
OTHER_DIGITS = "".join(
    chr(point)
    for point in range(0x80, 0x20000)
    if chr(point).isdigit() and not "\uff10" <= chr(point) <= "\uff19"
)


def chi_square(counts: Counter[str], outcomes: int, drawn: int) -> float:
    """How far counts are from even ones."""
    expected = drawn / outcomes
    return (
        sum((count - expected) ** 2 for count in counts.values()) / expected
        + (outcomes - len(counts)) * expected
    )


def drawn(ring: KeyRing, length: int, count: int, seed: str = "draws") -> Iterable[str]:
    """Codes behind fresh seeds."""
    randomness = SeededRandomness(seed)
    for _ in range(count):
        code = ring.digits(ring.new_seed(length, randomness))
        assert code is not None
        yield code


# ------------------------------------------------------------------ digits


@pytest.mark.parametrize("length", [4, 6, 8])
def test_a_code_has_its_length_and_ascii_digits_only(length: int):
    """Leading zeros are kept: no code is shorter than asked for."""
    found = list(drawn(KeyRing([FIRST]), length, 300))
    assert all(re.fullmatch(rf"[0-9]{{{length}}}", code, re.ASCII) for code in found)
    assert any(code.startswith("0") for code in found)


@pytest.mark.parametrize("length", [4, 6, 8])
def test_every_digit_is_as_likely_as_another_at_every_place(length: int):
    """Chi-square with 9 degrees of freedom stays under its 99.9 % point at each place."""
    found = list(drawn(KeyRing([FIRST]), length, 5000))
    for place in range(length):
        assert chi_square(Counter(code[place] for code in found), 10, len(found)) < 27.9


def test_whole_codes_are_evenly_spread():
    """The upper and the lower codes, the even and the odd ones come equally often."""
    found = [int(code) for code in drawn(KeyRing([SECOND]), 4, 8000)]
    assert abs(sum(code < 5000 for code in found) - 4000) < 4 * 45  # four standard deviations
    assert abs(sum(code % 2 for code in found) - 4000) < 4 * 45


def test_the_reduction_has_no_bias_even_with_tiny_draws(monkeypatch: pytest.MonkeyPatch):
    """With one-byte draws for two digits, 0 to 55 would come half as often again if nothing were thrown away."""
    monkeypatch.setattr(codes, "_DRAW_BYTES", 1)
    monkeypatch.setattr(codes, "_DRAW_SPACE", 256)
    found = Counter(drawn(KeyRing([FIRST]), 2, 10_000))
    assert chi_square(found, 100, 10_000) < 148.3  # 99 degrees of freedom, 99.9 %


def test_draws_go_on_when_a_whole_block_is_thrown_away(monkeypatch: pytest.MonkeyPatch):
    """With one big draw per block and most of them too large, a code comes all the same."""
    monkeypatch.setattr(codes, "_DRAW_BYTES", 1)
    monkeypatch.setattr(codes, "_DRAW_SPACE", 11)  # only bytes 0 to 9 are good
    found = Counter(drawn(KeyRing([FIRST]), 1, 300))
    assert set(found) == set("0123456789")


@pytest.mark.parametrize("length, code", [(4, "8159"), (6, "193124"), (8, "64973126")])
def test_the_derivation_never_changes(length: int, code: str):
    """Codes under way survive an upgrade: one seed and key give these digits for ever."""
    seed = CodeSeed(bits=bytes(range(16)), key_id="f111f3e5a8e17b6e", length=length)
    assert KeyRing(["a" * 32]).digits(seed) == code


def test_the_same_seed_gives_the_same_code():
    """What was sent and what is verified agree, in another process too."""
    seed = KeyRing([FIRST]).new_seed(6, SeededRandomness())
    assert KeyRing([FIRST]).digits(seed) == KeyRing([FIRST]).digits(seed) is not None


def test_codes_of_different_seeds_differ():
    """Two hundred seeds of eight digits give two hundred codes."""
    assert len(set(drawn(KeyRing([FIRST]), 8, 200))) == 200


def test_one_bit_of_the_seed_changes_the_code():
    """Every bit of the seed counts."""
    ring = KeyRing([FIRST])
    seed = ring.new_seed(8, SeededRandomness())
    number = int.from_bytes(seed.bits, "big")
    flipped = {
        ring.digits(CodeSeed((number ^ (1 << bit)).to_bytes(16, "big"), seed.key_id, 8)) for bit in range(128)
    }
    assert ring.digits(seed) not in flipped
    assert len(flipped) == 128


def test_the_key_changes_the_code():
    """Without the key a seed tells nothing."""
    bits = bytes(16)
    found = set()
    for key in (FIRST, SECOND, THIRD):
        ring = KeyRing([key])
        found.add(ring.digits(CodeSeed(bits, ring.new_seed(8, SeededRandomness()).key_id, 8)))
    assert len(found) == 3


def test_a_seed_holds_128_random_bits():
    """What is stored of a code is random bits from outside, and nothing derived from the key but its id."""
    seed = KeyRing([FIRST]).new_seed(6, SeededRandomness("x"))
    assert (seed.bits, seed.length) == (SeededRandomness("x").bytes(16), 6)


# ------------------------------------------------------------------ keys


def test_the_first_key_makes_codes():
    """New codes name the first key of the list."""
    made = KeyRing([SECOND, FIRST]).new_seed(6, SeededRandomness()).key_id
    assert made == KeyRing([SECOND]).new_seed(6, SeededRandomness()).key_id
    assert made != KeyRing([FIRST]).new_seed(6, SeededRandomness()).key_id


@pytest.mark.parametrize("keys", [[FIRST, SECOND], [SECOND, FIRST], [SECOND, THIRD, FIRST]])
def test_a_listed_key_still_verifies(keys: list[str]):
    """Each deploy of a rotation knows the codes of the one before."""
    before = KeyRing([FIRST])
    seed = before.new_seed(6, SeededRandomness())
    assert KeyRing(keys).digits(seed) == before.digits(seed)


def test_a_removed_key_makes_its_codes_unknown():
    """A code whose key is gone has no digits at all."""
    assert KeyRing([SECOND, THIRD]).digits(KeyRing([FIRST]).new_seed(6, SeededRandomness())) is None


def test_a_key_listed_twice_counts_once():
    """A rotation that repeats a key changes nothing."""
    assert repr(KeyRing([FIRST, FIRST])) == repr(KeyRing([FIRST]))


def test_there_is_no_ring_without_keys():
    """A service that could make no code must not start."""
    with pytest.raises(ValueError, match="at least one key"):
        KeyRing([])


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda ring: f"{ring!r:>200}"])
def test_showing_a_ring_shows_no_key(show):
    """A ring in a log or a traceback tells only how many keys there are."""
    shown = show(KeyRing([FIRST, SECOND]))
    assert FIRST not in shown
    assert SECOND not in shown
    assert "2 keys" in shown


def test_a_key_id_tells_nothing_of_its_key():
    """The id in every stored row is a short keyed hash."""
    key_id = KeyRing([FIRST]).new_seed(6, SeededRandomness()).key_id
    assert re.fullmatch(r"[0-9a-f]{16}", key_id)
    assert key_id not in (sha256(FIRST.encode()).hexdigest()[:16], FIRST)


# ------------------------------------------------------------------ webhook secrets


@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=4),
    st.sampled_from(["telegram", "max"]),
    st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_webhook_secrets_suit_both_messengers(keys: list[str], channel: str, bot: str):
    """Whatever the keys are, both messengers take the secrets derived from them."""
    for secret in KeyRing(keys).webhook_secrets(channel, bot):
        assert TELEGRAM_SECRET.fullmatch(secret)
        assert MAX_SECRET.fullmatch(secret)


def test_webhook_secrets_differ_by_channel_bot_and_key():
    """What one messenger or bot was told opens no other route."""
    found = [
        secret
        for key in (FIRST, SECOND)
        for channel in ("telegram", "max")
        for bot in ("1", "2", "")
        for secret in KeyRing([key]).webhook_secrets(channel, bot)
    ]
    assert len(set(found)) == len(found) == 12


def test_webhook_secrets_come_in_the_order_of_the_keys():
    """The first key's is registered, those of the others are accepted."""
    both = KeyRing([SECOND, FIRST]).webhook_secrets("max", "7")
    assert both == [
        *KeyRing([SECOND]).webhook_secrets("max", "7"),
        *KeyRing([FIRST]).webhook_secrets("max", "7"),
    ]


def test_webhook_secrets_never_change():
    """What is registered at a messenger is accepted after an upgrade, and by replicas of two releases."""
    expected = hmac.digest(FIRST.encode(), b"tapcode/webhook/1\0max\x007", sha256).hex()
    assert KeyRing([FIRST]).webhook_secrets("max", "7") == [expected]


def test_a_webhook_secret_is_no_key_id():
    """What messengers see and what the store holds are derived apart."""
    ring = KeyRing([FIRST])
    assert ring.new_seed(6, SeededRandomness()).key_id not in ring.webhook_secrets("telegram", "1")[0]


# ------------------------------------------------------------------ what people type


@pytest.mark.parametrize("drag", DRAGGED, ids=lambda ch: f"U+{ord(ch):04X}")
def test_what_is_dragged_along_goes(drag: str):
    """White space, zero-width and bidi marks, soft hyphens and BOMs are ignored anywhere."""
    for form in ("{0}123456", "123456{0}", "123{0}456", "{0}{0}1{0}23456{0}", "123-{0}456"):
        assert clean(form.format(drag)) == "123456", form


@pytest.mark.parametrize("dash", DASHES, ids=lambda ch: f"U+{ord(ch):04X}")
@pytest.mark.parametrize("form", ["123{0}456", "1{0}2{0}3{0}4{0}5{0}6", "123{0}{0}456", "123 {0} 456"])
def test_dashes_between_digits_go(dash: str, form: str):
    """However people group a code, the dashes are no part of it."""
    assert clean(form.format(dash)) == "123456"


@pytest.mark.parametrize("dash", DASHES, ids=lambda ch: f"U+{ord(ch):04X}")
@pytest.mark.parametrize("form", ["{0}123456", "123456{0}", "{0}", "{0}12{0}3456", "a{0}12345"])
def test_a_dash_outside_is_a_sign(dash: str, form: str):
    """A dash that does not stand between digits stays, and makes it malformed."""
    assert dash in clean(form.format(dash))
    assert not well_formed(clean(form.format(dash)), 6)


def test_full_width_digits_count_as_digits():
    """An Asian keyboard's digits are digits, with its space and its dash too."""
    assert clean("１２３４５６") == "123456"
    assert clean("１２３－４５６　") == "123456"
    assert clean("０００-９99") == "000999"


@pytest.mark.parametrize(
    "typed",
    ["", " ", "\u200b", "12345", "1234567", "+123456", "-123456", "12345a", "123456.0", "1e5", "0x1234",
     "1_2345", "123.456", "123,456", "123/456", "12345\x00", "\x00123456", "12345O", "l23456", "#123456",
     "٠١٢٣٤٥", "۱۲۳۴۵۶", "१२३४५६", "১২৩৪৫৬", "𝟏𝟐𝟑𝟒𝟓𝟔", "①②③④⑤⑥", "¹²³⁴⁵⁶", "₁₂₃₄₅₆", "１２３４５", "12345٦",
     "1️⃣2️⃣3️⃣4️⃣5️⃣6️⃣", "一二三四五六", "Ⅰ23456", "½23456", "code 123456", "123456!", "12345\ud800", "\ud835123456"],
)  # fmt: skip
def test_anything_else_stays_malformed(typed: str):
    """Signs, letters, other scripts' digits and halves of characters are never guessed into digits."""
    assert not well_formed(clean(typed), 6)


@pytest.mark.parametrize("digit", OTHER_DIGITS[::23], ids=lambda ch: f"U+{ord(ch):04X}")
def test_no_other_digit_is_a_digit(digit: str):
    """Only ASCII and full-width digits are digits, whatever Python calls one."""
    assert not well_formed(clean("12345" + digit), 6)


@given(
    st.text("0123456789", min_size=1, max_size=8),
    st.lists(st.text(DRAGGED + DASHES + " ", max_size=3), min_size=9, max_size=9),
    st.booleans(),
)
def test_a_code_survives_any_grouping(code: str, between: list[str], wide: bool):
    """Any mixture of spaces, marks and dashes between the digits gives the code back."""
    digits = [chr(ord(ch) + 0xFEE0) if wide else ch for ch in code]
    typed = "".join(digit + gap for digit, gap in zip(digits, between, strict=False))
    assert clean(typed[: len(typed) - len(between[len(code) - 1])]) == code


@given(st.text("0123456789", min_size=5, max_size=5), ANY, st.integers(0, 5))
def test_one_strange_character_makes_it_malformed(code: str, strange: str, at: int):
    """Five digits and one more character are a code of six only when that character is a digit."""
    typed = code[:at] + strange + code[at:]
    assert well_formed(clean(typed), 6) == (strange in "0123456789０１２３４５６７８９")


@given(st.text(ANY, max_size=64))
def test_cleaning_twice_changes_nothing(typed: str):
    """What was cleaned is clean."""
    assert clean(clean(typed)) == clean(typed)


@given(st.text(ANY, max_size=64))
def test_cleaning_only_takes_away(typed: str):
    """No character appears that was not typed, but plain digits for full-width ones."""
    left = Counter(unicodedata.normalize("NFKC", ch) if "０" <= ch <= "９" else ch for ch in typed)
    assert not Counter(clean(typed)) - left


@pytest.mark.parametrize("length", [4, 6, 8])
def test_a_code_needs_its_exact_length(length: int):
    """One digit more or less is malformed."""
    assert [well_formed("7" * (length + more), length) for more in (-1, 0, 1)] == [False, True, False]


def test_codes_are_compared_as_they_are():
    """Equal is equal; another digit, or what can't be a code at all, is not."""
    assert same("012345", "012345")
    assert not same("012345", "012346")
    assert not same("012345", "12345")
    assert not same("012345", "０１２３４５")


# ------------------------------------------------------------------ hashes


def test_a_key_hash_is_sha_256():
    """What is stored of an API key is 32 bytes that do not depend on the operator's keys."""
    assert key_hash("tc_live_" + "k" * 32) == sha256(b"tc_live_" + b"k" * 32).digest()


def test_key_hashes_differ_by_every_character():
    """The case of a letter counts."""
    assert len({key_hash("tc_live_abc"), key_hash("tc_live_abC"), key_hash("tc_test_abc")}) == 3


def test_a_fingerprint_tells_where_parts_end():
    """Moving a character from one part to the next is a change."""
    assert fingerprint(["ab", "c"]) != fingerprint(["a", "bc"])
    assert fingerprint(["ab", "c"]) == sha256(b"ab\0c").hexdigest()[:16]
