"""What a project may say of its hosted page."""

from __future__ import annotations

import re
import zlib
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp.codes import PAGE_TOKEN, KeyRing
from otp.errors import InvalidField, ReturnUrlRefused
from otp.model import SitePage
from otp.pages import (
    LARGEST_LOGO,
    READABLE,
    checked_color,
    checked_logo,
    checked_origins,
    checked_return_urls,
    contrast,
    judged,
    led_back,
    open_origins,
    readable,
)

HOME = "https://shop.example/login"


def goes(url: str, *registered: str, local: bool = False) -> bool:
    """Whether a return address is taken."""
    try:
        return judged(url, registered, local=local) == url
    except ReturnUrlRefused:
        return False


@pytest.mark.parametrize(
    "url",
    [
        HOME,
        f"{HOME}/",
        f"{HOME}/done",
        f"{HOME}/a/b?next=%2Fcart&x=1",
        f"{HOME}?next=https://evil.example/",
        "HTTPS://Shop.Example:443/login",
        "https://shop.example/%6Cogin",
        "https://shop.example/log%69n/d%c3%a9j%C3%A0",
    ],
)
def test_an_address_at_or_below_a_registered_one(url: str):
    """Scheme, host and port are equal, however they are written; the path goes on by whole segments."""
    assert goes(url, HOME)
    assert goes(url, "https://other.example", f"{HOME}/")


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "https://shop.example/",
        "https://shop.example/logins",
        "https://shop.example/Login",
        "https://shop.example/login%2Fdone",
        "https://shop.example/login%5cdone",
        "https://shop.example/login/../admin",
        "https://shop.example/login/..",
        "https://shop.example/login/./x",
        "https://shop.example/login/%2e%2e/admin",
        "https://shop.example/login/%2E./admin",
        "https://shop.example/login/%252e%252e/admin",
        "https://shop.example/login/..%2fadmin",
        "https://shop.example/login//evil.example",
        "https://shop.example/x/../login",
        "https://shop.example/login/%00",
        "https://shop.example/login/%0d%0aSet-Cookie:x",
        "https://shop.example/login/..;/admin",
        "https://shop.example/login/..%3b/admin",
        "https://shop.example:444/login",
        "https://shop.example:0443/login",
        "https://shop.example:/login",
        "https://shop.example:99999/login",
        "https://shop.example./login",
        "https://www.shop.example/login",
        "https://shop.example.evil.example/login",
        "https://evil.example/login",
        "https://evil.example/https://shop.example/login",
        "https://shop.example@evil.example/login",
        "https://user@shop.example/login",
        "https://user:pass@shop.example/login",
        "https://evil.example\\@shop.example/login",
        "https://shop.example\\login",
        "https:\\\\shop.example/login",
        "https:/shop.example/login",
        "https:///shop.example/login",
        "//shop.example/login",
        "/login",
        "",
        "http://shop.example/login",
        "ftp://shop.example/login",
        "javascript:alert(1)//https://shop.example/login",
        "data:text/html,x",
        f"{HOME}#x",
        f"{HOME}#",
        f"{HOME}?a=1#x",
        f"{HOME}?request_id=1",
        f"{HOME}?a=1&state=x",
        f"{HOME}?proo%66=x",
        f" {HOME}",
        f"{HOME} ",
        f"{HOME}\n",
        "https://shop.example/login\t/x",
        "https://shop.example/log in",
        "https://ѕhop.example/login",
        "https://shop.example/lоgin",
        "https://shop。example/login",
        "https://shop.example／login",
        "https://[::1]/login",
        "https://shop.example/login/" + "x" * 500,
        "https://-shop.example/login",
        "https://shop..example/login",
        "https://shop.example/login/%",
        "https://shop.example/login/%zz",
        "https://shop.example/login?x=<script>",
    ],
)
def test_an_address_that_is_anywhere_else_or_can_be_read_in_two_ways(url: str):
    """Refused, whatever a browser would make of it."""
    assert not goes(url, HOME, local=True)


def test_a_registered_site_covers_all_of_it():
    """An empty path is the root, and everything lies below."""
    assert goes("https://shop.example/any/where?x", "https://shop.example")
    assert goes("https://shop.example", "https://shop.example/")
    assert not goes(HOME)


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:8000", "[::1]:8000", "localhost"])
def test_a_developers_machine_is_for_test_keys(host: str):
    """http only there, and at the very port."""
    assert goes(f"http://{host}/cb", f"http://{host}/", local=True)
    assert not goes(f"http://{host}/cb", f"http://{host}/")
    assert not goes("http://localhost:3001/cb", f"http://{host}/", local=True)


def test_two_names_of_a_machine_are_two_hosts():
    """localhost is compared like any name."""
    assert not goes("http://127.0.0.1/cb", "http://localhost/cb", local=True)
    assert not goes("http://localhost.evil.example/cb", "http://localhost/cb", local=True)
    assert not goes("http://127.1/cb", "http://127.0.0.1/cb", local=True)


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["", "/", "?", "@", "\\", ".", ":", "%2f", "#"]),
)
def test_whatever_is_taken_is_there_for_a_browser_too(tail: str, between: str):
    """The standard library's own reading agrees on host, scheme and the beginning of the path."""
    url = HOME + between + tail
    if goes(url, HOME):
        read = urlsplit(url)
        assert (read.scheme, read.netloc.lower()) == ("https", "shop.example")
        assert re.fullmatch(r"/login(/.*)?", read.path)
        assert ".." not in read.path.split("/")


@given(st.text("ab./%\\2eE5cfF0@:;?#-_~\u0430 ", max_size=30))
def test_no_made_up_path_leads_out(tail: str):
    """Of the letters that such tricks are made of."""
    url = f"{HOME}/{tail}"
    if goes(url, HOME):
        assert not {"", ".", ".."} & set(urlsplit(url).path.rstrip("/").split("/")[1:])
        assert "\\" not in url
        assert "#" not in url


def test_what_is_registered_is_checked_and_told_once():
    """Without a query; an empty one takes all away."""
    assert checked_return_urls([HOME, HOME, "http://localhost:3000"]) == (HOME, "http://localhost:3000")
    assert checked_return_urls([""]) == ()
    for wrong in (f"{HOME}?a=1", "http://shop.example", "shop.example", f"{HOME}#x"):
        with pytest.raises(InvalidField, match="not valid"):
            checked_return_urls([wrong])
    with pytest.raises(InvalidField):
        checked_return_urls([f"https://s{n}.example" for n in range(21)])


def test_origins_are_kept_as_browsers_write_them():
    """Lower case, without a path or a usual port."""
    assert checked_origins(["https://Shop.Example:443/", "http://localhost:3000"]) == (
        "https://shop.example",
        "http://localhost:3000",
    )
    for wrong in ("https://shop.example/x", "*", "null", "https://*.shop.example", "http://shop.example"):
        with pytest.raises(InvalidField):
            checked_origins([wrong])
    page = SitePage(origins=("https://shop.example", "http://localhost:3000"))
    assert open_origins(page, local=False) == ("https://shop.example",)
    assert open_origins(page, local=True) == page.origins


def test_the_way_back_says_of_which_request():
    """The site's state goes back as it came, whatever it is."""
    assert led_back("https://a.example/x", "R", None, None) == "https://a.example/x?request_id=R"
    assert led_back("https://a.example/x?y=1", "R", "a&b=ж", "P") == (
        "https://a.example/x?y=1&request_id=R&state=a%26b%3D%D0%B6&proof=P"
    )


def picture(width: int = 8, height: int = 8, size: int = 0) -> bytes:
    """A grey PNG, made larger by what nobody looks at."""
    rows = b"".join(b"\x00" + b"\x80" * width for _ in range(min(height, 600)))
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in (
            (b"IHDR", head),
            (b"tEXt", b"x" * size),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        )
    )


def test_a_picture_is_a_small_png():
    """Anything that could run a script, or grow, is refused."""
    assert checked_logo(picture()) == checked_logo(picture()) != checked_logo(picture(9))
    for wrong in (
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a",
        picture(513),
        picture(8, 60_000),
        picture(0),
        picture(size=LARGEST_LOGO),
    ):
        with pytest.raises(InvalidField):
            checked_logo(wrong)


@given(st.binary(min_size=3, max_size=3), st.sampled_from(["#ffffff", "#14171c"]))
def test_every_colour_becomes_readable(rgb: bytes, background: str):
    """And one that is stays as it is."""
    color = f"#{rgb.hex()}"
    shown = readable(color, background)
    assert contrast(shown, background) >= READABLE
    assert contrast(color, background) < READABLE or shown == color


def test_colours_are_six_digits():
    """Nothing else: they stand in a stylesheet."""
    assert checked_color("#1A73E8") == "#1a73e8"
    assert checked_color("") is None
    assert round(contrast("#ffffff", "#000000"), 1) == 21
    for wrong in ("red", "#fff", "#1a73e8;}", "1a73e8", "#1a73eg"):
        with pytest.raises(InvalidField):
            checked_color(wrong)


ONE, TWO = "a" * 40, "b" * 40


def test_a_token_opens_one_page_under_every_listed_key():
    """And nothing that was changed in it does."""
    old, both, new = KeyRing([ONE]), KeyRing([TWO, ONE]), KeyRing([TWO])
    token = old.page_token("Kq9xV3mN2pT7rL8s")
    assert PAGE_TOKEN.fullmatch(token)
    assert old.opened_by(token) == both.opened_by(token) == "Kq9xV3mN2pT7rL8s"
    assert new.opened_by(token) is None
    assert both.page_token("Kq9xV3mN2pT7rL8s") != token
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert old.opened_by(changed) is None
    for wrong in ("", token[:-1], f"{token}A", f"{token}\n", "é" * 38):
        assert old.opened_by(wrong) is None


def test_a_proof_is_made_with_the_key_of_its_request():
    """Whichever comes first by now; once that is gone, there is none."""
    old, both, new = KeyRing([ONE]), KeyRing([TWO, ONE]), KeyRing([TWO])
    proof = old.page_proof(old.first_id, "Kq9xV3mN2pT7rL8s")
    assert proof == both.page_proof(old.first_id, "Kq9xV3mN2pT7rL8s")
    assert proof != both.page_proof(both.first_id, "Kq9xV3mN2pT7rL8s")
    assert proof is not None
    assert proof not in old.page_token("Kq9xV3mN2pT7rL8s")
    assert new.page_proof(old.first_id, "Kq9xV3mN2pT7rL8s") is None
