"""Reading a Cookie header: the rules of browsers (RFC 6265), without exceptions or waits."""

from __future__ import annotations

import string
import warnings

import pytest
import webob
from hypothesis import example, given
from hypothesis import strategies as st
from webob.cookies import parse_cookie

from webapp2_sessions import cookies

NAMES = ["session", "s", "a-b", "other", "path", "Expires", "$x", "a/b", "=", "a=b", "", "é", "a b"]

#: What some grammar of cookies treats specially; headers are made of these and of any text.
PIECES = [
    *NAMES,
    *["=", " = ", "; ", ";", ",", " ", "\t", "\n", '"', "\\", '\\"', "''", "|", "(", "[", "\xa0"],
    *["session=", "session=x", 'session="', "s=1; s=2", 's=""', "s=", "session==x", "\x1f", "\x85"],
    *["\\303\\251", "\\377", "\\400", "\\07", "\xe9", "\xc3\xa9", '"\xff"', '"\xc3\xa9"', "\u2000"],
    *["Wed, 31-Dec-97 23:59:59 GMT", "session=Wed, 31-Dec-1997 23:59:59 GMT", "31-Dec-97"],
]
TEXTS = st.text(st.characters(max_codepoint=0xFF), max_size=5) | st.text(max_size=3)
HEADERS = st.lists(st.sampled_from(PIECES) | TEXTS, max_size=12).map("".join)

MEGABYTE = 1_000_000


def read(header: str, name: str | bytes) -> list[str]:
    """What we find."""
    return cookies.read_values(request(header), name)


def request(header: str) -> webob.Request:
    """A request with this Cookie header."""
    return webob.Request({"HTTP_COOKIE": header, "REQUEST_METHOD": "GET"})


# A second implementation of the rules, which goes through the header character by character.

#: Characters of a token (RFC 9110 section 5.6.2), which a cookie's name has to be.
TOKEN = {*string.ascii_letters, *string.digits, *"!#$%&'*+-.^_`|~"}

#: Names that WebOb takes for attributes of a cookie.
ATTRIBUTES = {"comment", "domain", "expires", "httponly", "max-age", "path", "samesite", "secure"}


def expected(header: str, name: str) -> list[str]:
    """The values of a name, the last in the header first."""
    is_reserved = name.startswith("$") or name.lower() in ATTRIBUTES
    if not name or is_reserved or not TOKEN.issuperset(name):
        return []
    found, key, part = [], None, ""
    for character in header + ";":
        if character == ";":
            if key is not None and trimmed(key) == name:
                found.insert(0, unquoted(trimmed(part)))
            key, part = None, ""
        elif character == "=" and key is None:
            key, part = part, ""
        else:
            part += character
    return [value for value in found if value]


def trimmed(text: str) -> str:
    """A text without the spaces and tabs around it."""
    while text and text[0] in (" ", "\t"):
        text = text[1:]
    while text and text[-1] in (" ", "\t"):
        text = text[:-1]
    return text


def unquoted(value: str) -> str | None:
    """A value without its pair of quotes; None if what is in them is not UTF-8."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    rest, data = list(value[1:-1]), bytearray()
    while rest:
        character = rest.pop(0)
        if character == "\\" and rest and rest[0] != "\n":
            octal = "".join(rest[:3])
            if len(octal) == 3 and octal[0] in "0123" and set(octal) <= set(string.octdigits):
                data.append(int(octal, 8))
                del rest[:3]
                continue
            character = rest.pop(0)
        if ord(character) > 0xFF:
            return None
        data.append(ord(character))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


@given(HEADERS, st.sampled_from(NAMES))
@example('session="a\\303\\251"', "session")
@example('session="\\"', "session")
@example("session=\\303\\251", "session")
@example("session=Wed, 31-Dec-97 23:59:59 GMT", "session")
@example("path=x; Path=y", "path")
@example("session=1; session=2; session=", "session")
@example('session=1; session="\\377"; other="\xff"', "session")
@example("x session=1; x=1, session=2; \xa0session=3; session\t=4", "session")
@example('x="; session=1; y="; session="2', "session")
def test_all_values_are_those_of_the_rules(header: str, name: str) -> None:
    """All values of the name come, the last first, but empty ones and those not in UTF-8."""
    assert read(header, name) == expected(header, name)


@given(
    st.text(st.sampled_from('ab=|, \t"\\$/.%é\xa0[('), max_size=12),
    st.text(st.sampled_from('ab=|, \t"\\$/.%é\xa0[('), max_size=12),
    st.sampled_from(["; ", ";", " ; ", ";\t"]),
)
@example("x", '"', "; ")
@example('x="', '"', "; ")
def test_other_cookies_neither_hide_nor_make_one(before: str, after: str, cut: str) -> None:
    """Whatever stands in them."""
    assert read(f"{before}{cut}session=1{cut}{after}", "session") == ["1"]
    assert read(f"{before}session{cut}{after}", "session") == []


# Beside WebOb

#: Names and values of which any grammar makes the same.
PAIRS = st.tuples(
    st.sampled_from(["session", "s", "other", "a-b", "Session", "xsession", "sessionx"]),
    st.text(st.sampled_from(string.ascii_letters + string.digits + "|=+/-_.~:"), max_size=9),
)


@given(st.lists(PAIRS, max_size=6), st.sampled_from(["session", "s", "a-b"]))
@example([("session", "1"), ("session", "2"), ("session", "")], "session")
def test_well_formed_header_is_read_as_by_webob(pairs: list[tuple[str, str]], name: str) -> None:
    """All values of the name but empty ones, the last first; WebOb's requests give the last."""
    header = "; ".join(map("=".join, pairs))
    parsed = [value.decode() for key, value in parse_cookie(header) if key == name.encode()]
    assert parsed == [value for key, value in pairs if key == name]
    assert read(header, name) == [value for value in reversed(parsed) if value]
    if parsed and parsed[-1]:
        assert read(header, name)[0] == request(header).cookies[name]


@given(HEADERS)
def test_a_name_in_bytes_finds_the_same(header: str) -> None:
    """A cookie name may be bytes as well, as in `set_cookie()`."""
    assert read(header, "session") == read(header, b"session")


@given(st.text(max_size=30))
@example('"')
@example("\\")
@example(" a ")
@example("[a]")
def test_what_webob_writes_is_read_back(value: str) -> None:
    """Any text that `set_cookie()` takes comes back."""
    response = webob.Response()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # WebOb's about the quotes
            response.set_cookie("session", value)
    except UnicodeEncodeError:
        return
    header = response.headers["Set-Cookie"].removesuffix("; Path=/")
    assert [value] * (value != "") == read(header, "session")


@pytest.mark.parametrize(
    "other", ["other=\\377", 'other="\xff"', 'other="a\\303b"', 'other="\\303\xff"']
)
def test_bytes_on_which_webob_fails_hide_no_other_cookie(other: str) -> None:
    """Where WebOb raises because of another cookie, ours is found all the same."""
    header = f"session=1; {other}; session=2"
    with pytest.raises(UnicodeDecodeError):
        request(header).cookies.get("session")
    assert read(header, "session") == ["2", "1"]


@pytest.mark.parametrize(
    "filler",
    [
        *[
            "a",
            "=",
            " ",
            '"',
            "\\",
            "a ",
            "a\\",
            '\\"',
            "a=",
            'a="',
            "a= ",
            "é",
            "session",
            "a=\\3",
        ],
        *[";", "; ", "session;", "session =", " \t"],
    ],
)
def test_a_header_of_a_megabyte_is_read(filler: str) -> None:
    """The time is linear: for the first of these WebOb's own pattern would need hours."""
    header = 'session="first"; ' + filler * (MEGABYTE // len(filler)) + '"; session=last'
    assert read(header, "session")[0] == "last"
