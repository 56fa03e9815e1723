"""Reading a Cookie header: what WebOb finds in it, without its exceptions and its waits."""

from __future__ import annotations

import warnings

import pytest
import webob
from hypothesis import example, given
from hypothesis import strategies as st
from webob.cookies import parse_cookie

from webapp2_sessions import cookies

NAMES = ["session", "s", "a-b", "other", "path", "Expires", "$x", "a/b", "=", "a=b", "", "é", "a b"]

#: What the grammar of WebOb treats specially; headers are made of these and of any text.
PIECES = [
    *NAMES,
    *["=", " = ", "; ", ";", ",", " ", "\t", "\n", '"', "\\", '\\"', "''", "|", "("],
    *["session=", "session=x", 'session="', "s=1; s=2", 's=""', "s=", "session==x"],
    *["\\303\\251", "\\377", "\\400", "\\07", "\xe9", "\xc3\xa9", '"\xff"', '"\xc3\xa9"'],
    *["Wed, 31-Dec-97 23:59:59 GMT", "session=Wed, 31-Dec-1997 23:59:59 GMT", "31-Dec-97"],
]
LATIN_1 = st.characters(max_codepoint=0xFF)
HEADERS = st.lists(st.sampled_from(PIECES) | st.text(LATIN_1, max_size=5), max_size=12).map("".join)

MEGABYTE = 1_000_000


def read(header: str, name: str | bytes) -> list[str]:
    """What we find."""
    return cookies.read_values(request(header), name)


def request(header: str) -> webob.Request:
    """A request with this Cookie header."""
    return webob.Request({"HTTP_COOKIE": header, "REQUEST_METHOD": "GET"})


def decoded(value: bytes) -> str | None:
    """The text of a value, None if it is not UTF-8."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return None


@given(HEADERS, st.sampled_from(NAMES))
@example('session="a\\303\\251"', "session")
@example("session=\\303\\251", "session")
@example("session=Wed, 31-Dec-97 23:59:59 GMT", "session")
@example("path=x; Path=y", "path")
def test_first_value_is_the_one_that_webob_finds(header: str, name: str) -> None:
    """The first value is `request.cookies.get(name)` wherever that does not raise."""
    try:
        expected = request(header).cookies.get(name)
    except UnicodeDecodeError:
        return
    if expected != "":  # then an earlier one that is not empty counts for us
        assert [expected] * (expected is not None) == read(header, name)[:1]


@given(HEADERS, st.sampled_from(NAMES))
@example("session=1; session=2; session=", "session")
@example('session=1; session="\\377"; other="\xff"', "session")
def test_all_values_are_those_that_webob_parses(header: str, name: str) -> None:
    """All values of the name come, the last first, but empty ones and those not in UTF-8."""
    parsed = [decoded(value) for key, value in parse_cookie(header) if key == name.encode()]
    assert [value for value in reversed(parsed) if value] == read(header, name)


@given(HEADERS)
def test_a_name_in_bytes_finds_the_same(header: str) -> None:
    """A cookie name may be bytes as well, as in `set_cookie()`."""
    assert read(header, "session") == read(header, b"session")


@given(st.text(st.characters(exclude_characters="[]"), max_size=30))
@example('"')
@example("\\")
def test_what_webob_writes_is_read_back(value: str) -> None:
    """Any text that `set_cookie()` takes comes back; but WebOb cannot read its own brackets."""
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
    ["a", "=", " ", '"', "\\", "a ", "a\\", '\\"', "a=", 'a="', "a= ", "é", "session", "a=\\3"],
)
def test_a_header_of_a_megabyte_is_read(filler: str) -> None:
    """The time is linear: for the first of these WebOb's own pattern would need hours."""
    header = 'session="first"; ' + filler * (MEGABYTE // len(filler)) + '"; session=last'
    assert read(header, "session")[0] == "last"
