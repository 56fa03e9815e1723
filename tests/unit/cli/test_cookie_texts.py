"""Cookies are found in whatever text people have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.stores import sign

from webapp2_sessions.cli.cookie_texts import CookieText, read_cookies, token_time
from webapp2_sessions.sessions.encrypted import EncryptedCookieSerializer

VALUE = sign("session", {"user": 5})
TOKEN = EncryptedCookieSerializer("k").serialize("session", {}).decode("ascii")

TEXTS = {
    "value": (VALUE, [(None, VALUE, None)]),
    "token": (TOKEN, [(None, TOKEN, None)]),
    "quoted value": (f'"{VALUE}"', [(None, f'"{VALUE}"', None)]),
    "pair": (f"session={VALUE}\n", [("session", VALUE, None)]),
    "pair of a token": (f"session={TOKEN}", [("session", TOKEN, None)]),
    "empty pair": ("session=", [("session", "", None)]),
    "pairs": (f"a=1; session={VALUE}", [("a", "1", None), ("session", VALUE, None)]),
    "cookie header": (f"Cookie: a=1;session={VALUE}", [("a", "1", None), ("session", VALUE, None)]),
    "set-cookie header": (
        f"set-cookie: session={VALUE}; Path=/; HttpOnly",
        [("session", VALUE, ("Path=/", "HttpOnly"))],
    ),
    "what stands in a set-cookie header": (
        f"session={VALUE}; Path=/",
        [("session", VALUE, ("Path=/",))],
    ),
    "response": (
        f"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX: y\r\nSet-Cookie: session={VALUE}\r\n\r\n"
        "<p>b=2; c=3</p>",
        [("a", "1", ("Path=/",)), ("session", VALUE, ())],
    ),
    "headers of a log": (
        f"\n\n \t* > Cookie: a=1\r\n\r\n\xa0Cookie:b={VALUE}\nx Cookie: c=3\n",
        [("a", "1", None), ("b", VALUE, None)],
    ),
    "curl -v": (f"> Cookie: a=1\n< Set-Cookie: b={VALUE}", [("a", "1", None), ("b", VALUE, ())]),
    "word": ("abc", [(None, "abc", None)]),
    "nothing": (" \n", []),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_text(text: str, expected: list[tuple[object, ...]]) -> None:
    """Headers, pairs and values are told apart."""
    assert read_cookies(text) == [CookieText(*each) for each in expected]  # type: ignore[arg-type]


@given(st.text() | st.text(alphabet='aA=;|" \\:\n-') | st.just("Cookie: ").flatmap(st.just))
def test_no_text_raises(text: str) -> None:
    """Whatever it is, there is an answer, and none of the names is lost."""
    for cookie in read_cookies(text):
        assert cookie.size() >= len(cookie.value)


def test_size() -> None:
    """What browsers count: name, value and attributes."""
    assert CookieText("ab", "cd", ("Path=/", "Secure")).size() == len("ab=cd; Path=/; Secure")
    assert CookieText(None, "\xe9").size() == 2


def test_token_time() -> None:
    """The time of a token is in clear; what is no token has none."""
    assert token_time(TOKEN) is not None
    for other in ("", "gAAAAA", TOKEN[:-4], TOKEN + "=", " " + TOKEN, VALUE, "\xe9" * 120):
        assert token_time(other) is None
