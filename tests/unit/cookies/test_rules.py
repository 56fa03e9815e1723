"""Validation of cookie names and arguments."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
import webapp2
import webob
import webob.exc

from webapp2_sessions import ConfigError
from webapp2_sessions.cookies import rules as cookie_rules
from webapp2_sessions.cookies.response import set_cookie


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
    """The same, with WebOb's cookies."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Hello, {name}")


class NotNow(PickyResponse):
    """A response that cannot be made at this moment."""

    def __init__(self) -> None:
        raise RuntimeError("there is no request")


# Names


@pytest.mark.parametrize("name", ["session", "s", "__Host-id", "a.b", "!#%&'*+-.^_`|~", "a$", "7"])
def test_a_token_is_a_name_in_text_and_in_bytes(name: str) -> None:
    cookie_rules.check_name(name)
    cookie_rules.check_name(name.encode())
    webob.Response().set_cookie(name, "x")


ATTRIBUTES = [
    "path",
    "Path",
    "DOMAIN",
    "expires",
    "Max-Age",
    "secure",
    "HttpOnly",
    "SameSite",
    "comment",
]


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a;b", "a=b", "a,b", 'a"', "a/b", "a\n", "\x00", "café", "$x", "a[1]"),
        *("(a)", b"caf\xe9"),
        *ATTRIBUTES,
    ],
)
def test_what_is_no_token_or_an_attribute_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        cookie_rules.check_name(name)
    assert refused.value.key == "cookie name"
    shown = name.decode("latin-1") if isinstance(name, bytes) else name
    assert str(refused.value) == (
        f"cookie name: {shown!r} cannot be sent; allowed are ASCII letters, digits and "
        "!#$%&'*+-.^_`|~, not beginning with $, and not the name of a cookie attribute such as "
        "'path'"
    )


@pytest.mark.parametrize("name", [None, 5, ("a",)])
def test_a_name_that_is_no_text_is_refused_with_its_type(name: object) -> None:
    with pytest.raises(ConfigError) as refused:
        cookie_rules.check_name(name)
    assert refused.value.key == "cookie name"
    assert str(refused.value) == f"cookie name: must be text, not {type(name).__name__}"


# Arguments

GOOD = {"path": "/", "secure": True}
BOTH = {"secure": True, "httponly": True}

DOMAIN = "a host name such as 'example.com', or None"
PATH = "a path such as '/' or '/app', or None"
SAMESITE = "'strict', 'lax', 'none' (with secure) or None"
KNOWN = (
    "known are max_age, domain, path, secure, httponly, samesite, partitioned, comment, overwrite"
)


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
        {"secure": 1, "httponly": 0},
        {"secure": object(), "httponly": []},
        {"domain": "", "path": ""},
        *({"domain": domain} for domain in ("localhost", b".example.com", "127.0.0.1", "[::1]")),
        *({"domain": domain} for domain in ("xn--bcher-kva.example", "my_host.example")),
        *({"path": path} for path in (b"/app", "/caf%C3%A9/~x:@!$&'()*+=-._")),
    ],
    ids=lambda args: ", ".join(args) or "none",
)
def test_arguments_that_browsers_take_are_accepted(args: dict[str, Any]) -> None:
    cookie_rules.check_arguments(args)


@pytest.mark.parametrize(
    ("args", "name", "kind", "allowed"),
    [
        ({"max_age": "soon"}, "max_age", "str", "a number of seconds, a timedelta or None"),
        ({"max_age": [1]}, "max_age", "list", "a number of seconds, a timedelta or None"),
        ({"domain": 5}, "domain", "int", DOMAIN),
        ({"path": 5.5}, "path", "float", PATH),
        ({"comment": "\N{EURO SIGN}"}, "comment", "str", "text or None"),
        ({"samesite": "some"}, "samesite", "str", SAMESITE),
        ({"samesite": "none"}, "samesite", "str", SAMESITE),
        ({"samesite": True}, "samesite", "bool", SAMESITE),
        ({"Secure": True}, "Secure", "bool", KNOWN),
        ({"name": "x"}, "name", "str", KNOWN),
        ({"value": b"x"}, "value", "bytes", KNOWN),
        ({5: 6}, 5, "int", KNOWN),
        ({"path": "/", "domain": 5, "secure": True}, "domain", "int", DOMAIN),
        ({"samesite": "none", "secure": True, "domain": 5}, "domain", "int", DOMAIN),
    ],
)
def test_a_refused_argument_is_named_with_its_type_and_what_is_allowed(
    args: dict[Any, Any], name: object, kind: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        cookie_rules.check_arguments(args)
    assert f"cookie_args[{name!r}]" == refused.value.key
    assert str(refused.value).startswith(f"cookie_args[{name!r}]: {kind} is refused (")
    assert str(refused.value).endswith(
        f"; {allowed}" if allowed is KNOWN else f"; allowed: {allowed}"
    )


#: Values by the argument and what the refusal says.
_DROPPED: dict[tuple[str, str], list[Any]] = {
    ("secure", "any text counts as True"): ["False", "true", b""],
    ("httponly", "any text counts as True"): ["no"],
    ("overwrite", "any text counts as True"): ["0"],
    ("domain", "it is a URL"): ["https://example.com", "example.com/", b"//example.com"],
    ("domain", "no wildcards"): ["*.example.com"],
    ("domain", "has no port"): ["example.com:8080", "example.com:"],
    ("domain", "no host name"): [
        *(" example.com", "example.com, example.org", "example.com;secure", "example.com\n"),
        *("..example.com", "example..com", "example.com.", ".", "user@example.com"),
        *("a" * 64 + ".com", ".".join(["a" * 60] * 5)),
    ],
    ("domain", "begins with 'xn--'"): ["b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example"],
    ("path", "does not begin with '/'"): ["app", "./", "https://example.com/", b"app"],
    ("path", "no path of a URL"): [
        *("/;secure", "/\r\nSet-Cookie: a=b", "/a b", "/\x7f", "/caf\xe9", '/"'),
    ],
}
DROPPED = [
    (argument, value, reason) for (argument, reason), values in _DROPPED.items() for value in values
]


@pytest.mark.parametrize(("argument", "value", "reason"), DROPPED)
@pytest.mark.parametrize("response_class", [webapp2.Response, PickyResponse, NotNow])
def test_what_webob_sends_and_browsers_drop_is_refused(
    argument: str, value: Any, reason: str, response_class: Any
) -> None:
    args = {"path": "/", "httponly": True, "secure": True, argument: value}
    with pytest.raises(ConfigError, match=reason) as refused:
        cookie_rules.check_arguments(args, response_class)
    assert refused.value.key == f"cookie_args[{argument!r}]"
    assert "; allowed: " in str(refused.value)


def test_the_refusal_gives_webobs_reason_and_the_name_that_the_caller_wishes() -> None:
    with pytest.raises(ConfigError) as refused:
        cookie_rules.check_arguments({"samesite": "some"}, key="session_args")
    assert str(refused.value) == (
        "session_args['samesite']: str is refused (SameSite must be 'strict', 'lax', or 'none'); "
        "allowed: 'strict', 'lax', 'none' (with secure) or None"
    )


class Tagged(webob.Response):
    """A response with arguments of its own, which go together or not, and may be lists."""

    def set_cookie(self, name: str, value: str, **kwargs: Any) -> None:
        if {"a", "b"} <= set(kwargs):
            raise ValueError("a excludes b")
        if "key" in kwargs and "parted" not in kwargs:
            raise ValueError("key needs parted")


def test_arguments_may_be_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"cookie_args: refused together \(a excludes b\)"):
        cookie_rules.check_arguments({"a": 1, "b": 2}, Tagged)


@pytest.mark.parametrize("args", [{"tags": ["x"]}, {"key": ["x"], "parted": True}])
def test_values_that_cannot_be_hashed_may_be_good_also_only_together(args: Any) -> None:
    cookie_rules.check_arguments(args, Tagged)


def test_a_response_class_decides_which_arguments_its_cookies_take() -> None:
    cookie_rules.check_arguments({"priority": "high"}, PickyResponse)
    for _ in range(2):  # only that arguments are good is remembered
        with pytest.raises(ConfigError, match="priority is low or high"):
            cookie_rules.check_arguments({"priority": "middle"}, PickyResponse)


@pytest.mark.parametrize("response_class", [NeedsArguments, NotNow, list])
def test_arguments_that_cannot_be_tried_are_accepted(response_class: Any) -> None:
    cookie_rules.check_arguments({"priority": "middle"}, response_class)


@pytest.mark.parametrize("response_class", [webapp2.Response, webob.exc.HTTPFound, Greeting])
def test_a_response_class_with_webobs_cookies_needs_no_instance(response_class: Any) -> None:
    with pytest.raises(ConfigError, match="domain"):
        cookie_rules.check_arguments({"domain": 5}, response_class)


# Prefixes (RFC 6265bis, sections 4.1.3 and 5.4)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("__Host-s", {"secure": True, "path": "/"}),
        ("__Host-s", {"secure": True}),
        ("__HOST-s", {"secure": True, "path": "/", "domain": None}),
        ("__Secure-s", {"secure": True, "domain": "example.com", "path": "/app"}),
        ("__secure-s", {"secure": True}),
        ("__Http-s", {"secure": True, "httponly": True, "domain": "a.b", "path": "/app"}),
        ("__Host-Http-s", {"secure": True, "httponly": True, "path": "/"}),
        ("__Host-Https", {"secure": True, "path": "/"}),
        ("__Https", {}),
        ("__Hosts", {}),
        ("s", {}),
    ],
)
def test_prefix_with_what_it_needs_is_accepted(name: str, args: dict[str, Any]) -> None:
    cookie_rules.check_name(name, args)


@pytest.mark.parametrize(
    ("name", "args", "argument", "rule"),
    [
        ("__Host-s", {"path": "/"}, "secure", "begins with __Host- needs secure=True"),
        ("__host-s", {"path": "/"}, "secure", "begins with __Host- needs secure=True"),
        ("__Host-s", {"secure": True, "domain": "a.b"}, "domain", "__Host- allows no domain"),
        ("__Host-s", {"secure": True, "path": "/app"}, "path", "__Host- needs path='/'"),
        ("__Host-s", {"secure": True, "path": None}, "path", "__Host- needs path='/'"),
        ("__Secure-s", {"secure": False}, "secure", "__Secure- needs secure=True"),
        ("__Http-s", {"secure": True}, "httponly", "__Http- needs httponly=True"),
        ("__http-s", {"httponly": True}, "secure", "__Http- needs secure=True"),
        ("__Host-Http-s", {"secure": True}, "httponly", "__Host-Http- needs httponly=True"),
        ("__HOST-HTTP-s", {"httponly": True}, "secure", "__Host-Http- needs secure=True"),
        ("__Host-Http-s", {**BOTH, "domain": "a.b"}, "domain", "__Host-Http- allows no domain"),
        ("__Host-Http-s", {**BOTH, "path": "/app"}, "path", "__Host-Http- needs path='/'"),
    ],
)
def test_prefix_whose_rule_is_broken_is_refused(
    name: str, args: dict[str, Any], argument: str, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule) as caught:
        cookie_rules.check_name(name, args)
    assert caught.value.key == f"cookie_args['{argument}']"
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("args", [{"partitioned": True}, {"secure": True, "partitioned": "yes"}])
def test_partitioned_cookie_that_browsers_drop(args: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="partitioned"):
        cookie_rules.check_arguments(args)


# A cookie that was set before


@pytest.mark.parametrize(
    ("name", "args", "response_class", "word"),
    [
        ("once", {**GOOD, "domain": 5}, webapp2.Response, "domain"),
        ("once", {**GOOD, "comment": 5}, webapp2.Response, "comment"),
        ("once", {**GOOD, "domain": "https://example.com"}, webapp2.Response, "domain"),
        ("once", {**GOOD, "priority": "middle"}, PickyResponse, "priority"),
        ("__Host-once", {**GOOD, "domain": "a.example"}, webapp2.Response, "domain"),
    ],
)
def test_what_was_set_once_is_still_checked(
    name: str, args: dict[str, Any], response_class: Any, word: str
) -> None:
    response = webapp2.Response()
    set_cookie(response, "__Host-once", b"x", {**GOOD, "domain": "a.example"})
    set_cookie(response, "once", b"x", {**GOOD, "domain": "https://example.com"})
    set_cookie(response, "once", b"x", GOOD)
    cookie_rules.check_cookie("once", GOOD, webapp2.Response)
    with pytest.raises(ConfigError, match=word):
        cookie_rules.check_cookie(name, args, response_class)


def test_a_response_class_of_another_kind_is_asked_itself() -> None:
    class Strict(webob.Response):
        def set_cookie(self, name: str, value: bytes = b"", secure: bool = False) -> None:
            super().set_cookie(name, value, secure=secure)

    set_cookie(webapp2.Response(), "once", b"x", {"path": "/"})
    with pytest.raises(ConfigError, match="path"):
        cookie_rules.check_cookie("once", {"path": "/"}, Strict)
