"""JSON as the API takes it: one object of RFC 8259, and nothing that another parser might read otherwise."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.strict_json import LONGEST_NUMBER, MalformedJson, parse_object

SECRET = "Zx81-do-not-show"
NUL, LONE_HIGH, LONE_LOW = r"\u0000", r"\ud83d", r"\uDE00"

MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "only white space": b" \r\n\t ",
    "only a BOM": b"\xef\xbb\xbf",
    "BOM": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16 with BOM": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without BOM": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": '{"a": "é"}'.encode("latin-1"),
    "cut UTF-8": '{"a": "é"}'.encode()[:-3] + b'"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "a stray byte": b'{"a": "\xff"}',
    "not JSON": SECRET.encode(),
    "cut short": b'{"a": 1',
    "a list": b'[{"a": 1}]',
    "a string": b'"a"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "trailing text": b'{"a": 1} x',
    "two documents": b'{"a": 1}{"a": 1}',
    "two lines of JSON": b'{"a": 1}\n{"b": 1}',
    "a trailing NUL": b'{"a": 1}\x00',
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "no quotes": b"{a: 1}",
    "a comment": b'{"a": 1} // x',
    "a form": b"a=1&b=2",
    "a non-breaking space": '\u00a0{"a": 1}'.encode(),
    "the same name twice": b'{"a": 1, "a": 1}',
    "the same name in two spellings": rb'{"a": 1, "\u0061": 2}',
    "the same name twice, nested": b'{"x": {"a": 1, "a": 2}}',
    "the same name twice in a list": b'{"x": [[{"a": 1, "b": 2, "a": 3}]]}',
    "the empty name twice": b'{"": 1, "": 2}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": [-Infinity]}',
    "nan": b'{"a": nan}',
    "1e400": b'{"a": 1e400}',
    "-1e400": b'{"a": -1e400}',
    "1.0 and a huge exponent": b'{"a": 1.0e99999999999999999999}',
    "a float of 5000 digits": b'{"a": 0.' + b"1" * 5000 + b"}",
    "an int of 5000 digits": b'{"a": ' + b"1" * 5000 + b"}",
    "an int that is just too long": b'{"a": ' + b"1" * (LONGEST_NUMBER + 1) + b"}",
    "a leading zero": b'{"a": 01}',
    "a leading plus": b'{"a": +1}',
    "a number without its end": b'{"a": 1.}',
    "a hexadecimal number": b'{"a": 0x10}',
    "other digits": '{"a": ١٢}'.encode(),
    "100 thousand brackets": b"[" * 100_000,
    "100 thousand brackets inside": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100 thousand objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a raw NUL in a value": b'{"a": "x\x00y"}',
    "a raw NUL in a name": b'{"a\x00": 1}',
    "a raw line break in a string": b'{"a": "x\ny"}',
    "an escaped NUL in a value": f'{{"a": "x{NUL}y"}}'.encode(),
    "an escaped NUL in a name": f'{{"a{NUL}": 1}}'.encode(),
    "an escaped NUL deep inside": f'{{"a": [1, {{"b": ["{NUL}"]}}]}}'.encode(),
    "a lone high half in a value": f'{{"a": "{LONE_HIGH}"}}'.encode(),
    "a lone low half in a value": f'{{"a": "x{LONE_LOW}"}}'.encode(),
    "halves in the wrong order": f'{{"a": "{LONE_LOW}{LONE_HIGH}"}}'.encode(),
    "a lone half in a name": f'{{"{LONE_HIGH}": 1}}'.encode(),
    "a lone half in a nested name": f'{{"a": {{"{LONE_LOW}": 1}}}}'.encode(),
    "a lone half in a list": f'{{"a": [["{LONE_HIGH}"]]}}'.encode(),
    "a bad escape": rb'{"a": "\x41"}',
    "a cut escape": rb'{"a": "\u00"}',
}

VALID: dict[str, Any] = {
    "{}": {},
    ' \r\n\t{ } \n': {},
    '{"a": 1}': {"a": 1},
    '{"a": -0, "b": 0.5, "c": 1E5, "d": -2.5e-3}': {"a": 0, "b": 0.5, "c": 1e5, "d": -0.0025},
    '{"a": "5", "b": true, "c": null, "d": [], "e": {}}': {"a": "5", "b": True, "c": None, "d": [], "e": {}},
    '{"a": {"a": {"a": 1}}, "b": {"a": 1}}': {"a": {"a": {"a": 1}}, "b": {"a": 1}},
    '{"": 1}': {"": 1},
    '{"a": "NaN", "Infinity": 1}': {"a": "NaN", "Infinity": 1},
    '{"a": "é日\U0001f600\u200b\ufeff"}': {"a": "é日\U0001f600\u200b\ufeff"},
    r'{"a": "\ud83d\ude00 \u00e9 \n \\u0000 \/"}': {"a": "\U0001f600 é \n \\u0000 /"},
    r'{"\u0061": 1}': {"a": 1},
    '{"a": ' + "9" * LONGEST_NUMBER + "}": {"a": 10**LONGEST_NUMBER - 1},
    '{"a": 1.7976931348623157e308}': {"a": 1.7976931348623157e308},
    '{"a": "\x7f\u0080"}': {"a": "\x7f\u0080"},
}  # fmt: skip


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_such_document_is_refused(body: bytes):
    """Every malformed kind is refused by the one error that becomes 400 `malformed_json`."""
    with pytest.raises(MalformedJson):
        parse_object(body)


@pytest.mark.parametrize("text, value", VALID.items())
def test_what_is_one_comes_through_unchanged(text: str, value: dict[str, Any]):
    """Values arrive as they were written."""
    found = parse_object(text.encode())
    assert found == value
    assert json.dumps(found) == json.dumps(value)  # 1, 1.0 and true are equal to Python only


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_the_error_says_the_same_whatever_the_document_holds(body: bytes):
    """A fixed sentence, for people, of at most a line."""
    with pytest.raises(MalformedJson, match=r"^[A-Z][A-Za-z0-9 ,;()-]{10,90}\.$") as caught:
        parse_object(body)
    assert (
        caught.value.__cause__ is None
    )  # no decoder's error, which holds the whole document, is shown with it


@pytest.mark.parametrize(
    "document",
    ["{0}", '{{"{0}": 1, "{0}": 2}}', '{{"{0}": NaN}}', '{{"a": "{0}', '{{"a": "{0}\\u0000"}}', '["{0}"]',
     '{{"a": "{0}"}} {0}', '{{"a": "{0}", b}}'],
)  # fmt: skip
def test_an_error_never_quotes_the_document(document: str):
    """What was sent, perhaps a code or a key, stands in no error."""
    with pytest.raises(MalformedJson) as caught:
        parse_object(document.format(SECRET).encode())
    assert SECRET not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("depth", [100, 500, *range(960, 1008, 6), 1200, 3000, 10_000, 30_000])
@pytest.mark.parametrize("leaf", [r'"\u0041"', r'"\u0000"', "1", '{"x": 1}', "NaN"])
def test_no_depth_breaks_it(depth: int, leaf: str):
    """However deep, with escapes to look for or without: a value or the one error, on every version of Python."""
    body = '{"a": ' + "[" * depth + leaf + "]" * depth + "}"
    try:
        found = parse_object(body.encode())
    except MalformedJson:
        return
    assert depth < 30_000
    assert list(found) == ["a"]


def test_ordinary_nesting_is_taken():
    """A hundred levels are no attack."""
    parse_object(b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}")


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**38), 10**38)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans(), st.sampled_from([None, 0, 2]))
def test_what_others_write_is_read(document: dict[str, Any], escaped: bool, indent: int | None):
    """Whatever an ordinary JSON library writes comes back equal, type by type."""
    text = json.dumps(document, ensure_ascii=escaped, indent=indent)
    found = parse_object(text.encode())
    assert found == document
    assert json.dumps(found) == json.dumps(document)


@given(st.binary(max_size=60) | st.text(r'{}[]":,\u0eE+-.19naNIfitylrs ', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(body: bytes):
    """Nothing else ever happens, and what is read is what the standard library reads."""
    try:
        found = parse_object(body)
    except MalformedJson:
        return
    assert found == json.loads(body)


@given(st.floats() | st.integers())
def test_numbers_are_finite(number: float):
    """Every number that comes through can be stored and sent on."""
    try:
        found = parse_object(json.dumps({"a": number}).encode())
    except MalformedJson:
        assert isinstance(number, int) or not math.isfinite(number)
        return
    assert math.isfinite(found["a"])
    assert found["a"] == number
