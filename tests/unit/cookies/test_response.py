"""Cookies on the wire: the Cookie header, Set-Cookie and Vary."""

from __future__ import annotations

import datetime
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
import webob
from support.sides import stopped_clock
from support.stores import make_request
from webapp2_extras.local import LocalProxy

from webapp2_sessions import cookies
from webapp2_sessions.cookies import response as cookie_response


class PlainResponse:
    """A response that is not WebOb's, and has only what a session store calls."""

    def __init__(self) -> None:
        self.cookies: list[tuple[Any, ...]] = []

    def set_cookie(self, name: str, value: bytes, **kwargs: Any) -> None:
        self.cookies.append((name, value, kwargs))


def read(header: str, name: str | bytes = "session") -> list[str]:
    """What a request with this Cookie header holds under a name."""
    return cookies.read_values(make_request(cookie=header), name)


def write(response: Any, data: Any, size: int, limit: int | None, name: str = "session") -> None:
    """Write a cookie whose header has `size` bytes."""
    value = b"v" * (size - len(f"{name}=; Path=/"))
    cookies.write(response, name, value, data, {}, limit)


# Reading


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        ("session", []),
        ("session=", []),
        ("session=1", ["1"]),
        ("other=0; session=1", ["1"]),
        ("session=1; session=2", ["2", "1"]),
        ("session=1; session=", ["1"]),
        ("xsession=1; sessionx=2; Session=3", []),
        ('session="a b"', ["a b"]),
        ('session="\\303\\251"', ["é"]),
        ("session=Wed, 31-Dec-97 23:59:59 GMT", ["Wed, 31-Dec-97 23:59:59 GMT"]),
        ("session=a b, session=c", ["a b, session=c"]),
        ("session=\\303\\251", ["\\303\\251"]),
        ("session=\\073", ["\\073"]),
        ("session = 1", ["1"]),
        ("\t session\t=\t1 \t", ["1"]),
        ("other=0;session=1", ["1"]),
        (";;session=1;", ["1"]),
        ("session==1", ["=1"]),
        ("session=1=2", ["1=2"]),
        ('session="1', ['"1']),
        ('session=1"', ['1"']),
        ('session="', ['"']),
        ('session=""', []),
        ('session="1;2"', ['"1']),
        ('session=""1""', ['"1"']),
        ('session="\\377"; session=1', ["1"]),
        ('session="\xff"; session=1', ["1"]),
        ('session="\N{EURO SIGN}"; session=1', ["1"]),
        ("session=\N{EURO SIGN}; session=1", ["1", "\N{EURO SIGN}"]),
    ],
)
def test_values_of_a_name(header: str, expected: list[str]) -> None:
    """All values that are not empty are found, the last in the header first.

    A quoted value has to be UTF-8.
    """
    assert expected == read(header)


@pytest.mark.parametrize(
    "header",
    [
        "x session=1",
        "x=1, session=2",
        "x=1 session=2",
        "x=(session=1)",
        "[session=1",
        ",session=1",
        "\xa0session=1",
        "\x1fsession=1",
        "\N{EN QUAD}session=1",
        "session\xa0=1",
        "\nsession=1",
        '"session"=1',
        'x="session=1"',
        "SESSION=1",
    ],
)
def test_name_inside_of_something_else_is_none(header: str) -> None:
    """Another host of the domain can set a cookie like that, which must not pass for ours."""
    assert read(header) == []


def test_value_of_another_cookie_hides_none() -> None:
    """Quotes of other cookies do not reach across a semicolon."""
    assert read('x="; session=1; y="') == ["1"]


def test_no_header_holds_no_values() -> None:
    """A request may come without cookies."""
    assert cookies.read_values(make_request(), "session") == []


@pytest.mark.parametrize("name", ["path", "$x", "a/b", ""])
def test_a_name_that_cannot_be_sent_has_no_values(name: str) -> None:
    """WebOb drops such cookies of a request as well."""
    assert read(f"{name}=1; session=2", name) == []


@pytest.mark.parametrize("name", [None, 5])
def test_a_name_that_is_no_text_has_no_values(name: Any) -> None:
    """As `request.cookies.get(None)`, it finds nothing and raises nothing."""
    assert read("session=1", name) == []


def test_values_are_read_through_a_proxy() -> None:
    """`webapp2.get_request()` returns a proxy, and bytes on which WebOb fails are no matter."""
    request = make_request(cookie="other=\\377; session=1; session=2")
    proxy = LocalProxy(lambda: request)
    assert cookies.read_values(proxy, "session") == ["2", "1"]


def test_a_request_class_may_read_cookies_in_its_own_way() -> None:
    """A `cookies` property that a subclass overrides is what counts."""

    class Request(webapp2.Request):
        cookies = {"session": "from elsewhere"}  # noqa: RUF012

    request = Request.blank("/", headers={"Cookie": "session=1"})
    assert cookies.read_values(request, "session") == ["from elsewhere"]


@pytest.mark.parametrize(
    ("jar", "expected"), [({}, []), ({"session": ""}, []), ({"session": "1"}, ["1"])]
)
def test_any_object_with_cookies_is_a_request(jar: dict[str, str], expected: list[str]) -> None:
    """A stand-in for a request needs nothing but a mapping."""
    assert expected == cookies.read_values(SimpleNamespace(cookies=jar), "session")


def test_a_cookie_set_on_the_request_is_read() -> None:
    """Applications and tests may change `request.cookies`, which changes the header."""
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
    """A quoted value comes without its quotes, three octal digits as one byte."""
    assert expected == cookies.unquote(value)


# Writing


def test_a_cookie_is_set_with_its_arguments() -> None:
    """The header is what WebOb makes of name, value and arguments."""
    response = webob.Response()
    cookies.write(response, "session", b"x|1|y", {}, {"path": "/a", "httponly": True}, 4093)
    assert response.headers.getall("Set-Cookie") == ["session=x|1|y; Path=/a; HttpOnly"]


def test_another_response_gets_name_value_and_arguments() -> None:
    """Of a response that is not WebOb's only `set_cookie()` is needed."""
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
    assert record.name == "webapp2_sessions.cookies.response"
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
    """What the warning says about the largest keys."""
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
    """Nobody knows where its cookies are."""
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
    """It looks as if nothing had been said."""
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
    """Whatever value and arguments are, and in whatever way the header is made."""
    with stopped_clock():
        ours, webobs = webob.Response(), webob.Response()
        for _ in range(2):  # the second time from the template
            cookie_response.set_cookie(ours, name, value, args)
            cookie_response._set_cookie_by_method(webobs, name, value, args)
    assert ours.headerlist == webobs.headerlist


@pytest.mark.parametrize("how", ["class", "instance"])
def test_another_way_of_setting_cookies_is_used(how: str) -> None:
    """Where a response has its own, no header is made past it."""
    calls: list[str] = []

    class Own(webob.Response):
        def set_cookie(self, name: str, *args: Any, **kwargs: Any) -> None:
            calls.append(name)

    response = Own() if how == "class" else webob.Response()
    if how == "instance":
        response.set_cookie = lambda name, *args, **kwargs: calls.append(name)
    cookie_response.set_cookie(response, "s", b"v", {"path": "/"})
    assert (calls, "Set-Cookie" in response.headers) == (["s"], False)
