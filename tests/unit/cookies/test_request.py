"""Which cookies of a request are read, and how quotes are undone.

That any header is parsed by the rules is in tests/property/test_cookie_header.py.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
from support.stores import make_request
from webapp2_extras.local import LocalProxy

from webapp2_sessions import cookies


def read(header: str | None, name: Any = "session") -> list[str]:
    """Return the values of a name in a request with this Cookie header."""
    return cookies.read_values(make_request(cookie=header), name)


@pytest.mark.parametrize(
    ("header", "expected"), [(None, []), ("session", []), ('session="', ['"']), ('session=""', [])]
)
def test_least_that_may_be_quoted(header: str | None, expected: list[str]) -> None:
    assert expected == read(header)


@pytest.mark.parametrize("name", ["path", "$x", "a/b", "", None, 5])
def test_a_name_that_cannot_be_sent_has_no_values(name: Any) -> None:
    # As with WebOb, which drops such cookies, and raises nothing.
    assert read(f"{name}=1; session=2", name) == []


def test_values_are_read_through_a_proxy() -> None:
    # `webapp2.get_request()` returns one, and WebOb fails on these bytes.
    request = make_request(cookie="other=\\377; session=1; session=2")
    proxy = LocalProxy(lambda: request)
    assert cookies.read_values(proxy, "session") == ["2", "1"]


def test_a_request_class_may_read_cookies_in_its_own_way() -> None:
    class Request(webapp2.Request):
        cookies = {"session": "from elsewhere"}  # noqa: RUF012

    request = Request.blank("/", headers={"Cookie": "session=1"})
    assert cookies.read_values(request, "session") == ["from elsewhere"]


@pytest.mark.parametrize(
    ("jar", "expected"), [({}, []), ({"session": ""}, []), ({"session": "1"}, ["1"])]
)
def test_any_object_with_cookies_is_a_request(jar: dict[str, str], expected: list[str]) -> None:
    assert expected == cookies.read_values(SimpleNamespace(cookies=jar), "session")


def test_a_cookie_set_on_the_request_is_read() -> None:
    request = make_request(cookie="session=1")
    request.cookies["session"] = "2"
    assert cookies.read_values(request, "session") == ["2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", b""),
        (b"a", b"a"),
        (b'"', b""),
        (b'""', b""),
        (b'"a"', b"a"),
        (b'"a', b'"a'),
        (b'a"', b'a"'),
        (rb"\073", b";"),
        (rb"\400", b"400"),
        (rb"\"", b'"'),
        (rb"\\", b"\\"),
        (rb'"\342\202\254"', "\N{EURO SIGN}".encode()),
        (rb"\377", b"\xff"),
        (b"\\", b"\\"),
    ],
)
def test_quotes_and_escapes_are_undone(value: bytes, expected: bytes) -> None:
    assert expected == cookies.unquote(value)
