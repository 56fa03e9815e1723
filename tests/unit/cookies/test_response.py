"""Set-Cookie and Vary of a response."""

from __future__ import annotations

import copy
import datetime
import logging
from types import SimpleNamespace
from typing import Any
from unittest import mock

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


def write(response: Any, data: Any, size: int, limit: int | None) -> None:
    """Write a cookie whose header has `size` bytes."""
    value = b"v" * (size - len("session=; Path=/"))
    cookies.write(response, "session", value, data, {}, limit)


def test_another_response_needs_only_set_cookie() -> None:
    response = PlainResponse()
    cookies.write(response, "session", b"x", {}, {"path": "/"}, 4093)
    assert response.cookies == [("session", b"x", {"path": "/"})]


@pytest.mark.parametrize(("size", "limit"), [(100, 100), (10_000, None)])
def test_a_cookie_of_the_allowed_size_is_no_matter(
    size: int, limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    response = webob.Response()
    response.set_cookie("other", "x" * 200)  # which does not count
    write(response, {}, size, limit)
    assert len(response.headers.getall("Set-Cookie")[1]) == size
    assert caplog.messages == []


def test_a_larger_cookie_is_set_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    response = webob.Response()
    write(response, {}, size=101, limit=100)
    assert len(response.headers["Set-Cookie"]) == 101
    [(name, level, message)] = caplog.record_tuples
    assert (name, level) == ("webapp2_sessions.cookies.writing", logging.WARNING)
    assert "The cookie 'session' has 101 bytes and browsers drop it above 100" in message


@pytest.mark.parametrize("headers", [None, [], SimpleNamespace()])
def test_other_response_is_measured_by_value(
    headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = PlainResponse()
    response.headerlist = headers
    cookies.write(response, "session", b"v" * 93, {}, {}, 100)
    assert "has 101 bytes" in caplog.text


def largest_keys(caplog: pytest.LogCaptureFixture, data: Any) -> str:
    """Return the largest keys that the warning names."""
    write(webob.Response(), data, size=101, limit=100)
    return caplog.messages[0].partition("Largest keys: ")[2].partition(". Store less")[0]


def test_the_three_largest_keys_are_named(caplog: pytest.LogCaptureFixture) -> None:
    data = {"a": "x", "b": "x" * 8, "c": [1, 2], "d": "x" * 98}
    assert largest_keys(caplog, data) == "'d' (100 bytes), 'b' (10 bytes), 'c' (6 bytes)"


def test_no_value_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    data = {"card": "4242", "n": ["4343"]}
    cookies.write(webob.Response(), "session", b"signed-value", data, {}, 10)
    assert len(caplog.records) == 1
    assert [text for text in ("signed-value", "4242", "4343") if text in caplog.text] == []


def test_a_long_key_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    assert f"{'k' * 40!r} (1 bytes)" == largest_keys(caplog, {"k" * 1000: 1})


@pytest.mark.parametrize("data", [["a"], "text", None, {}])
def test_what_has_no_keys_names_none(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert largest_keys(caplog, data) in ("none", "")


@pytest.mark.parametrize("value", [{1, 2}, object(), {(1, 2): 3}, b"bytes"])
def test_a_value_that_json_refuses_has_a_size(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert f"'a' ({len(repr(value))} bytes)" == largest_keys(caplog, {"a": value})


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
    response = webob.Response()
    response.headerlist.extend(("Vary", line) for line in before)
    cookies.vary_on_cookie(response)
    assert after == response.headers.getall("Vary")


@pytest.mark.parametrize(
    "response",
    [
        PlainResponse(),
        *(SimpleNamespace(headers=each) for each in (None, {}, {"Vary": "Accept"})),
        SimpleNamespace(headers=SimpleNamespace()),
    ],
)
def test_headers_that_are_not_webobs_are_left_alone(response: Any) -> None:
    before = copy.deepcopy(vars(response))
    cookies.vary_on_cookie(response)
    assert before == vars(response)


def test_cookie_expires_with_the_arguments_it_was_set_with() -> None:
    response = webob.Response()
    args = {"path": "/x", "domain": "a.b", "secure": True, "httponly": True, "max_age": 99}
    cookies.expire(response, "s", {**args, "samesite": "lax", "partitioned": True})
    header = response.headers["Set-Cookie"]
    assert header.startswith("s=; Domain=a.b; Max-Age=0; Path=/x; expires=")
    assert header.endswith("; secure; HttpOnly; SameSite=lax; Partitioned")


@pytest.mark.parametrize(("name", "is_set"), [("name", True), ("nam", False), ("value", False)])
def test_cookie_that_is_set_is_found_by_its_whole_name(name: str, is_set: bool) -> None:
    response = webob.Response()
    response.set_cookie("name", "value")
    assert cookies.is_set(response, name) is is_set
    assert cookies.is_set(PlainResponse(), name) is False  # its cookies are unknown


def test_size_of_a_cookie_is_that_of_its_header() -> None:
    response = webob.Response()
    cookies.write(response, "s", b"v" * 100, {}, {"path": "/"}, None)
    size = cookies.size_of(webob.Response, "s", b"v" * 100, {"path": "/"})
    assert size == len(response.headers["Set-Cookie"])


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
    {"secure": True, "partitioned": None},
    {"secure": True, "partitioned": False},
]


@pytest.mark.filterwarnings("ignore:Cookie value contains invalid bytes")
@pytest.mark.parametrize("args", ARGUMENTS, ids=repr)
@pytest.mark.parametrize(
    "value", [b"", b"e30=|1500000000|abc", b"X", b"=X", b"a b", b'"', b"\xc3\xa9", b"a;b", b"a\\"]
)
@pytest.mark.parametrize("name", ["s", "X", "__Host-X", b"bytes"])
def test_header_is_webobs_with_a_template_too(
    args: dict[str, Any], value: bytes, name: Any
) -> None:
    known = {key: args[key] for key in args if key != "partitioned"}
    with stopped_clock():
        ours, webobs = webob.Response(), webob.Response()
        for _ in range(2):  # the second time from the template
            cookie_response.set_cookie(ours, name, value, args)
            webobs.set_cookie(name, value, **known)
    suffix = "; Partitioned" if args.get("partitioned") else ""
    expected = [header + suffix for header in webobs.headers.getall("Set-Cookie")]
    assert ours.headers.getall("Set-Cookie") == expected


@pytest.mark.parametrize("how", ["class", "instance"])
def test_another_way_of_setting_cookies_is_used(how: str) -> None:
    set_cookie = mock.Mock()
    if how == "class":
        response = type("Own", (webob.Response,), {"set_cookie": set_cookie})()
    else:
        response = webob.Response()
        response.set_cookie = set_cookie
    cookie_response.set_cookie(response, "s", b"v", {"path": "/"})
    set_cookie.assert_called_once()
    assert "Set-Cookie" not in response.headers
