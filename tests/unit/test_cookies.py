"""Cookies on the wire: names, arguments, reading, writing, and the Vary header."""

from __future__ import annotations

import datetime
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
import webob
import webob.exc
from support.stores import make_request
from webapp2_extras.local import LocalProxy

from webapp2_sessions import ConfigError, cookies


class PickyResponse(webob.Response):
    """A response whose cookies take one more argument, and not the one called comment."""

    def set_cookie(
        self, name: str, value: bytes = b"", priority: str | None = None, **kwargs: Any
    ) -> None:
        if priority not in (None, "low", "high"):
            raise ValueError("priority is low or high")
        super().set_cookie(name, value, **kwargs)


class NeedsArguments(PickyResponse):
    """A response that cannot be made without an argument."""

    def __init__(self, text: str) -> None:
        super().__init__(text)


class Greeting(webob.Response):
    """A response that cannot be made without an argument, with WebOb's cookies."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Hello, {name}")


class NotNow(PickyResponse):
    """A response that cannot be made at this moment."""

    def __init__(self) -> None:
        raise RuntimeError("there is no request")


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


# Names


@pytest.mark.parametrize("name", ["session", "s", "__Host-id", "a.b", "!#%&'*+-.^_`|~", "a$", "7"])
def test_a_token_is_a_name(name: str) -> None:
    """Tokens of RFC 6265 are accepted, as text and as bytes, and WebOb can send them."""
    cookies.check_name(name)
    cookies.check_name(name.encode())
    webob.Response().set_cookie(name, "x")


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a;b", "a=b", "a,b", 'a"', "a/b", "a\n", "\x00", "café", "$x", "a[1]", "(a)"],
)
def test_what_is_no_token_is_refused(name: str) -> None:
    """Names with other characters, or with a leading dollar sign, are refused."""
    with pytest.raises(ConfigError, match="cannot be sent"):
        cookies.check_name(name)


@pytest.mark.parametrize(
    "name",
    ["path", "Path", "DOMAIN", "expires", "Max-Age", "secure", "HttpOnly", "SameSite", "comment"],
)
def test_the_name_of_an_attribute_is_refused(name: str) -> None:
    """Attribute names are refused in any case, since WebOb refuses to send them."""
    with pytest.raises(ConfigError, match="cannot be sent"):
        cookies.check_name(name)
    with pytest.raises(AssertionError):
        webob.Response().set_cookie(name, "x")


@pytest.mark.parametrize("name", [None, 5, ("a",)])
def test_a_name_that_is_no_text_is_refused(name: object) -> None:
    """The error tells the type of what was given."""
    with pytest.raises(ConfigError) as refused:
        cookies.check_name(name)
    assert refused.value.key == "cookie name"
    assert str(refused.value) == f"cookie name: must be text, not {type(name).__name__}"


def test_the_refusal_of_a_name_says_what_is_allowed() -> None:
    """The message can be followed as it is."""
    with pytest.raises(ConfigError) as refused:
        cookies.check_name("bad name")
    assert refused.value.key == "cookie name"
    assert str(refused.value) == (
        "cookie name: 'bad name' cannot be sent; allowed are ASCII letters, digits and "
        "!#$%&'*+-.^_`|~, not beginning with $, and not the name of a cookie attribute such as "
        "'path'"
    )


def test_a_name_in_bytes_is_checked() -> None:
    """Bytes that are no token are refused as text is."""
    with pytest.raises(ConfigError, match="cannot be sent"):
        cookies.check_name(b"caf\xe9")


# Arguments

SAMESITE = "'strict', 'lax', 'none' (with secure) or None"
KNOWN = "known are max_age, domain, path, secure, httponly, samesite, comment, overwrite"


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"max_age": None, "domain": None, "path": "/", "secure": None, "httponly": False},
        {"max_age": 60},
        {"max_age": "60"},
        {"max_age": datetime.timedelta(days=1)},
        {"domain": ".example.com", "path": None, "comment": "text", "overwrite": True},
        {"samesite": "lax"},
        {"samesite": "none", "secure": True},
    ],
)
def test_arguments_that_webob_takes_are_accepted(args: dict[str, Any]) -> None:
    """What `set_cookie()` can send is accepted."""
    cookies.check_arguments(args)


@pytest.mark.parametrize(
    ("args", "name", "kind", "allowed"),
    [
        ({"max_age": "soon"}, "max_age", "str", "a number of seconds, a timedelta or None"),
        ({"max_age": [1]}, "max_age", "list", "a number of seconds, a timedelta or None"),
        ({"domain": 5}, "domain", "int", "text or None"),
        ({"path": 5.5}, "path", "float", "text or None"),
        ({"comment": "\N{EURO SIGN}"}, "comment", "str", "text or None"),
        ({"samesite": "some"}, "samesite", "str", SAMESITE),
        ({"samesite": "none"}, "samesite", "str", SAMESITE),
        ({"samesite": True}, "samesite", "bool", SAMESITE),
        ({"Secure": True}, "Secure", "bool", KNOWN),
        ({"name": "x"}, "name", "str", KNOWN),
        ({"value": b"x"}, "value", "bytes", KNOWN),
        ({5: 6}, 5, "int", KNOWN),
        ({"path": "/", "domain": 5, "secure": True}, "domain", "int", "text or None"),
        ({"samesite": "none", "secure": True, "domain": 5}, "domain", "int", "text or None"),
    ],
)
def test_a_refused_argument_is_named_with_its_type_and_what_is_allowed(
    args: dict[Any, Any], name: object, kind: str, allowed: str
) -> None:
    """The error names the argument at fault among others, the value's type, and what may be."""
    with pytest.raises(ConfigError) as refused:
        cookies.check_arguments(args)
    assert f"cookie_args[{name!r}]" == refused.value.key
    assert str(refused.value).startswith(f"cookie_args[{name!r}]: {kind} is refused (")
    assert str(refused.value).endswith(
        f"; {allowed}" if allowed is KNOWN else f"; allowed: {allowed}"
    )


def test_the_refusal_of_an_argument_gives_the_reason() -> None:
    """WebOb's own words are in the message."""
    with pytest.raises(ConfigError) as refused:
        cookies.check_arguments({"samesite": "some"})
    assert str(refused.value) == (
        "cookie_args['samesite']: str is refused (SameSite must be 'strict', 'lax', or 'none'); "
        "allowed: 'strict', 'lax', 'none' (with secure) or None"
    )


def test_arguments_are_named_as_the_caller_wishes() -> None:
    """The error says which arguments it is about."""
    with pytest.raises(ConfigError) as refused:
        cookies.check_arguments({"domain": 5}, key="session_args")
    assert refused.value.key == "session_args['domain']"


def test_a_refused_argument_is_refused_again() -> None:
    """What is remembered about arguments is only that they are good."""
    for _ in range(2):
        with pytest.raises(ConfigError):
            cookies.check_arguments({"max_age": "never"})


def test_arguments_may_be_refused_together() -> None:
    """Where each argument is good and all of them are not, the error says so."""

    class OneOrTheOther(webob.Response):
        def set_cookie(self, name: str, value: str, **kwargs: Any) -> None:
            if {"a", "b"} <= set(kwargs):
                raise ValueError("a excludes b")

    with pytest.raises(ConfigError, match=r"cookie_args: refused together \(a excludes b\)"):
        cookies.check_arguments({"a": 1, "b": 2}, OneOrTheOther)


def test_a_value_that_cannot_be_hashed_may_be_good() -> None:
    """An argument of a response class's own may be a list."""

    class Tagged(webob.Response):
        def set_cookie(self, name: str, value: str, tags: list[str] | None = None) -> None:
            pass

    cookies.check_arguments({"tags": ["x"]}, Tagged)


def test_values_that_cannot_be_hashed_may_be_good_only_together() -> None:
    """An argument that needs another one is not tried without it, unless all are refused."""

    class Partitioned(webob.Response):
        def set_cookie(self, name: str, value: str, **kwargs: Any) -> None:
            if "key" in kwargs and "partitioned" not in kwargs:
                raise ValueError("key needs partitioned")

    cookies.check_arguments({"key": ["x"], "partitioned": True}, Partitioned)


def test_arguments_of_another_response_class_are_accepted() -> None:
    """A response class decides itself which arguments its cookies take."""
    cookies.check_arguments({"priority": "high"}, PickyResponse)


def test_another_response_class_may_refuse() -> None:
    """What the application's response class refuses is refused, with its reason."""
    with pytest.raises(ConfigError, match="priority is low or high"):
        cookies.check_arguments({"priority": "middle"}, PickyResponse)


@pytest.mark.parametrize("response_class", [NeedsArguments, NotNow, list])
def test_arguments_that_cannot_be_tried_are_accepted(response_class: Any) -> None:
    """A response that cannot be made for a trial says nothing about the arguments."""
    cookies.check_arguments({"priority": "middle"}, response_class)


@pytest.mark.parametrize("response_class", [webapp2.Response, webob.exc.HTTPFound, Greeting])
def test_a_response_class_with_webobs_cookies_needs_no_instance(response_class: Any) -> None:
    """Subclasses that set cookies as WebOb does are not made, whatever making them needs."""
    with pytest.raises(ConfigError, match="domain"):
        cookies.check_arguments({"domain": 5}, response_class)


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
        ("session=\\303\\251", ["é"]),
        ("session=\\073", [";"]),
        ("session = 1", ["1"]),
        ("session==1", ["=1"]),
        ('session="\\377"; session=1', ["1"]),
        ("session=\N{EURO SIGN}; session=1", ["1"]),
    ],
)
def test_values_of_a_name(header: str, expected: list[str]) -> None:
    """All values that are not empty and are UTF-8 are found, the last in the header first."""
    assert expected == read(header)


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
    assert record.name == "webapp2_sessions.cookies"
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
