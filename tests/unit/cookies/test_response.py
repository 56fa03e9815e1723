"""Set-Cookie and Vary of a response."""

from __future__ import annotations

import datetime
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import webob
from support.implementations import stopped_clock

from webapp2_sessions import cookies
from webapp2_sessions.cookies import response as cookie_response


class PlainResponse:
    """A response that is not WebOb's, and has only what a session store calls."""

    def __init__(self) -> None:
        self.cookies: list[tuple[Any, ...]] = []

    def set_cookie(self, name: str, value: bytes, **kwargs: Any) -> None:
        self.cookies.append((name, value, kwargs))


def write(response: Any, data: Any, size: int, limit: int | None, name: str = "session") -> None:
    """Write a cookie whose header has `size` bytes."""
    value = b"v" * (size - len(f"{name}=; Path=/"))
    cookies.write(response, name, value, data, {}, limit)


# Writing


def test_a_cookie_is_set_with_its_arguments() -> None:
    """The header is what WebOb makes of name, value and arguments."""
    response = webob.Response()
    cookies.write(response, "session", b"x|1|y", {}, {"path": "/a", "httponly": True}, 4093)
    assert response.headers.getall("Set-Cookie") == ["session=x|1|y; Path=/a; HttpOnly"]


def test_another_response_gets_name_value_and_arguments() -> None:
    """A response that is not WebOb's needs only `set_cookie()`."""
    response = PlainResponse()
    cookies.write(response, "session", b"x", {}, {"path": "/"}, 4093)
    assert response.cookies == [("session", b"x", {"path": "/"})]


def test_a_cookie_of_the_allowed_size_is_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is logged for a header as long as the limit."""
    response = webob.Response()
    write(response, {}, size=100, limit=100)
    assert len(response.headers["Set-Cookie"]) == 100
    assert caplog.messages == []


def test_a_larger_cookie_is_set_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    """One byte above the limit there is one warning, with the cookie's name and both sizes."""
    response = webob.Response()
    write(response, {}, size=101, limit=100)
    assert len(response.headers["Set-Cookie"]) == 101
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.name == "webapp2_sessions.cookies.writing"
    assert "The cookie 'session' has 101 bytes and browsers drop it above 100" in record.message


def test_no_limit_reports_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The limit None switches the check off."""
    write(webob.Response(), {}, size=10_000, limit=None)
    assert caplog.messages == []


def test_the_size_is_that_of_the_cookie_just_set(caplog: pytest.LogCaptureFixture) -> None:
    """Other cookies on the response do not count."""
    response = webob.Response()
    response.set_cookie("other", "x" * 200)
    write(response, {}, size=100, limit=100)
    assert caplog.messages == []


@pytest.mark.parametrize("headers", [None, [], SimpleNamespace()])
def test_another_response_is_measured_by_name_and_value(
    headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without WebOb's headers the size is that of `name=value`."""
    response = PlainResponse()
    response.headerlist = headers
    cookies.write(response, "session", b"v" * 93, {}, {}, 100)
    assert "has 101 bytes" in caplog.text


def largest_keys(caplog: pytest.LogCaptureFixture, data: Any) -> str:
    """Return the largest keys that the warning names."""
    write(webob.Response(), data, size=101, limit=100)
    return caplog.messages[0].partition("Largest keys: ")[2].partition(". Store less")[0]


def test_the_three_largest_keys_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """They come with the sizes of their JSON, the largest first."""
    data = {"a": "x", "b": "x" * 8, "c": [1, 2], "d": "x" * 98}
    assert largest_keys(caplog, data) == "'d' (100 bytes), 'b' (10 bytes), 'c' (6 bytes)"


def test_no_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither what the session holds nor what the cookie holds reaches the log."""
    cookies.write(
        webob.Response(), "session", b"signed-value", {"card": "4242", "n": ["4343"]}, {}, 10
    )
    assert len(caplog.records) == 1
    assert [text for text in ("signed-value", "4242", "4343") if text in caplog.text] == []


def test_a_long_key_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    """Keys may be made of a visitor's input; forty characters of one are enough."""
    assert f"{'k' * 40!r} (1 bytes)" == largest_keys(caplog, {"k" * 1000: 1})


@pytest.mark.parametrize("data", [["a"], "text", None, {}])
def test_what_has_no_keys_names_none(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    """`save_secure_cookie()` takes any value; an empty session has no keys either."""
    assert largest_keys(caplog, data) in ("none", "")


@pytest.mark.parametrize("value", [{1, 2}, object(), {(1, 2): 3}, b"bytes"])
def test_a_value_that_json_refuses_has_a_size(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A serializer of the application's own may take it, and the warning must not raise."""
    assert f"'a' ({len(repr(value))} bytes)" == largest_keys(caplog, {"a": value})


# Vary


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], ["Cookie"]),
        (["Accept"], ["Accept, Cookie"]),
        (["Accept, User-Agent"], ["Accept, User-Agent, Cookie"]),
        (["Accept", "User-Agent"], ["Accept, User-Agent, Cookie"]),
        (["Accept,,User-Agent ,"], ["Accept, User-Agent, Cookie"]),
        ([""], ["Cookie"]),
        (["Cookie"], ["Cookie"]),
        (["cookie"], ["cookie"]),
        (["Accept", "Accept-Encoding, COOKIE"], ["Accept", "Accept-Encoding, COOKIE"]),
        (["*"], ["*"]),
        (["Accept", "*"], ["Accept", "*"]),
        (["X-Cookie"], ["X-Cookie, Cookie"]),
    ],
)
def test_cookie_is_added_to_vary_once(before: list[str], after: list[str]) -> None:
    """What the header holds stays, on however many lines; `*` covers cookies already."""
    response = webob.Response()
    response.headerlist.extend(("Vary", line) for line in before)
    cookies.vary_on_cookie(response)
    assert after == response.headers.getall("Vary")


@pytest.mark.parametrize("headers", [None, {}, {"Vary": "Accept"}, SimpleNamespace()])
def test_headers_that_are_not_webobs_are_left_alone(headers: Any) -> None:
    """A stand-in for a response may have no headers, or a plain dictionary."""
    before = dict(headers) if isinstance(headers, dict) else headers
    cookies.vary_on_cookie(SimpleNamespace(headers=headers))
    assert before == headers


def test_a_response_without_headers_is_left_alone() -> None:
    """A stand-in for a response may have nothing but `set_cookie()`."""
    cookies.vary_on_cookie(PlainResponse())


# Expiring


def test_cookie_expires_with_the_arguments_it_was_set_with() -> None:
    """Domain, path and flags decide which cookie a browser drops."""
    response = webob.Response()
    args = {"path": "/x", "domain": "a.b", "secure": True, "httponly": True, "max_age": 99}
    cookies.expire(response, "s", {**args, "samesite": "lax", "partitioned": True})
    header = response.headers["Set-Cookie"]
    assert header.startswith("s=; Domain=a.b; Max-Age=0; Path=/x; expires=")
    assert header.endswith("; secure; HttpOnly; SameSite=lax; Partitioned")


def test_cookie_that_is_set_is_found() -> None:
    """By its whole name."""
    response = webob.Response()
    response.set_cookie("name", "value")
    assert [cookies.is_set(response, name) for name in ("name", "nam", "value")] == [
        True,
        False,
        False,
    ]


def test_response_of_another_kind_sets_nothing() -> None:
    """Its cookies are unknown."""
    assert cookies.is_set(PlainResponse(), "name") is False


def test_size_of_a_cookie() -> None:
    """It is that of the header that will be sent."""
    response = webob.Response()
    cookies.write(response, "s", b"v" * 100, {}, {"path": "/"}, None)
    size = cookies.size_of(webob.Response, "s", b"v" * 100, {"path": "/"})
    assert size == len(response.headers["Set-Cookie"])


# Partitioned


def header_of(args: dict[str, Any]) -> str:
    """Return the Set-Cookie header of a cookie with these arguments."""
    response = webob.Response()
    cookie_response.set_cookie(response, "s", b"v", args)
    return str(response.headers["Set-Cookie"])


def test_partitioned_cookie() -> None:
    """The attribute that WebOb does not know comes last."""
    assert header_of({"path": "/", "secure": True, "partitioned": True}) == (
        "s=v; Path=/; secure; Partitioned"
    )


@pytest.mark.parametrize("value", [False, None])
def test_cookie_that_is_not_partitioned(value: Any) -> None:
    """The header is the same as without the argument."""
    assert header_of({"path": "/", "partitioned": value}) == "s=v; Path=/"


# Templates

ARGUMENTS = [
    {},
    {"path": "/"},
    {"path": None},
    {"path": "/a b", "domain": ".example.com", "secure": True, "httponly": True},
    {"samesite": "lax", "secure": 1},
    {"samesite": b"strict", "comment": "a comment; with signs"},
    {"max_age": 60},
    {"max_age": 0},
    {"max_age": datetime.timedelta(days=1), "path": "/x"},
    {"overwrite": True},
    {"secure": True, "partitioned": True},
]


@pytest.mark.filterwarnings("ignore:Cookie value contains invalid bytes")
@pytest.mark.parametrize("args", ARGUMENTS, ids=repr)
@pytest.mark.parametrize(
    "value", [b"", b"e30=|1500000000|abc", b"X", b"=X", b"a b", b'"', b"\xc3\xa9", b"a;b", b"a\\"]
)
@pytest.mark.parametrize("name", ["s", "X", "__Host-X", b"bytes"])
def test_headers_are_webobs(args: dict[str, Any], value: bytes, name: Any) -> None:
    """For any value and arguments, with and without a template."""
    with stopped_clock():
        ours, webobs = webob.Response(), webob.Response()
        for _ in range(2):  # the second time from the template
            cookie_response.set_cookie(ours, name, value, args)
            cookie_response._set_cookie_by_method(webobs, name, value, args)
    assert ours.headerlist == webobs.headerlist


@pytest.mark.parametrize("how", ["class", "instance"])
def test_another_way_of_setting_cookies_is_used(how: str) -> None:
    """The method of the class, or of the object, sets the cookie."""
    calls: list[str] = []

    class Own(webob.Response):
        def set_cookie(self, name: str, *args: Any, **kwargs: Any) -> None:
            calls.append(name)

    response = Own() if how == "class" else webob.Response()
    if how == "instance":
        response.set_cookie = lambda name, *args, **kwargs: calls.append(name)
    cookie_response.set_cookie(response, "s", b"v", {"path": "/"})
    assert (calls, "Set-Cookie" in response.headers) == (["s"], False)
