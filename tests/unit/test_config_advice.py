"""Advice is given where it is due, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import webapp2

from webapp2_sessions.config import SessionConfig
from webapp2_sessions.config_advice import Advice, advice_on, server_backends
from webapp2_sessions.stored_sessions import StoredSessionFactory

#: The settings to copy of docs/security.md, on which there is no advice.
GOOD: dict[str, Any] = {
    "secret_key": "0123456789abcdef0123456789abcdef",
    "digest": "sha256",
    "cookie_name": "__Host-session",
    "cookie_args": {"path": "/", "secure": True, "httponly": True, "samesite": "lax"},
    "session_max_age": 12 * 3600,
    "refresh_after": 600,
    "absolute_max_age": 7 * 24 * 3600,
    "on_damaged_cookie": "expire",
    "on_oversize": "raise",
    "serializer": "json",
}


def advice(**values: Any) -> list[Advice]:
    """The advice on the good configuration with some other values."""
    return advice_on({**GOOD, **values}, webapp2.Response)


def briefly(found: list[Advice]) -> list[tuple[str, str]]:
    """Severities and keys."""
    return [(each.severity, each.key) for each in found]


def without(argument: str) -> dict[str, Any]:
    """The cookie arguments without one."""
    return {key: value for key, value in GOOD["cookie_args"].items() if key != argument}


def test_nothing_to_say() -> None:
    """The recommended settings, also when they were checked before."""
    assert advice() == []
    assert advice_on(SessionConfig(GOOD), webapp2.Response) == []


def test_defaults() -> None:
    """Upstream's defaults are not what is best today."""
    found = advice_on({"secret_key": GOOD["secret_key"]}, webapp2.Response)
    assert briefly(found) == [
        ("warning", "cookie_args['secure']"),
        ("warning", "cookie_args['httponly']"),
        ("warning", "session_max_age"),
        ("advice", "digest"),
        ("advice", "cookie_args['samesite']"),
        ("advice", "on_oversize"),
    ]


class Stored(StoredSessionFactory):
    """A backend of an application."""


FAR = {"servers": ["127.0.0.1:11211", "10.0.0.5:11211"]}
CASES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"secret_key": "short"}, [("warning", "secret_key")]),
    ({"secret_key_fallbacks": ["changeme"]}, [("warning", "secret_key_fallbacks[0]")]),
    ({"digest": "sha1"}, [("advice", "digest")]),
    (
        {"cookie_args": without("secure"), "cookie_name": "s"},
        [("warning", "cookie_args['secure']")],
    ),
    ({"cookie_args": without("httponly")}, [("warning", "cookie_args['httponly']")]),
    ({"cookie_args": without("samesite")}, [("advice", "cookie_args['samesite']")]),
    (
        {"cookie_args": {**GOOD["cookie_args"], "domain": "example.org"}, "cookie_name": "s"},
        [("advice", "cookie_args['domain']")],
    ),
    ({"cookie_name": "s"}, [("advice", "cookie_name")]),
    ({"session_max_age": None}, [("warning", "session_max_age")]),
    ({"session_max_age": 600}, [("warning", "refresh_after")]),
    ({"on_oversize": "warn"}, [("advice", "on_oversize")]),
    ({"on_oversize": "securecookie"}, [("error", "on_oversize")]),
    ({"on_oversize": "memcache"}, []),
    ({"serializer": "pickle"}, []),
    ({"serializer": "pickle", "memcache": {"timeout": 2}}, [("advice", "serializer")]),
    ({"serializer": "pickle", "datastore": {"timeout": 2}}, [("warning", "serializer")]),
    (
        {"serializer_fallbacks": ["pickle"], "datastore": {"cache": "memcache"}},
        [("warning", "serializer_fallbacks")],
    ),
    ({"memcache": {"servers": ["127.0.0.1:11211", "unix:/run/m", "localhost:1"]}}, []),
    ({"memcache": FAR}, [("advice", "memcache['tls_context']")]),
    ({"memcache": {**FAR, "client": dict}}, []),
    ({"backends": {"own": Stored}, "on_oversize": "own"}, []),
    ({"backends": {"own": "nowhere.at.all"}}, [("error", "backends['own']")]),
    ({"sesion_max_age": 5}, [("warning", "sesion_max_age")]),
    ({"Digest": "sha256"}, [("warning", "Digest")]),
    ({"httponly": True}, [("warning", "httponly")]),
    ({"servers": []}, [("warning", "servers")]),
    ({"project": "p"}, [("warning", "project")]),
    ({"shop": 5}, []),
]


@pytest.mark.parametrize(("values", "expected"), CASES, ids=str)
def test_case(values: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """One thing is different, and that is told."""
    assert briefly(advice(**values)) == expected


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("sesion_max_age", "is no key of ours and has no effect; did you mean 'session_max_age'?"),
        ("max-age", "has no effect here; it belongs into 'cookie_args'"),
        ("client", "has no effect here; it belongs into 'memcache'"),
    ],
)
def test_what_was_meant(key: str, text: str) -> None:
    """The key that was meant is told."""
    assert advice(**{key: 5}) == [Advice("warning", key, text)]


def test_all_errors() -> None:
    """Not only the first one; and what is right is looked at all the same."""
    found = advice(
        secret_key=None,
        digest="md5",
        session_max_age="60",
        memcache={"server": []},
        on_oversize="nowhere",
        cookie_args={**without("httponly"), "samesite": "never"},
        refresh_after=None,
        cookie_name="",
    )
    assert briefly(found) == [
        ("error", "secret_key"),
        ("error", "digest"),
        ("error", "cookie_name"),
        ("error", "session_max_age"),
        ("error", "memcache['server']"),
        ("error", "cookie_args['samesite']"),
        ("error", "on_oversize"),
    ]


@pytest.mark.parametrize("args", [without("secure"), None])
def test_name_and_arguments_that_do_not_go_together(args: dict[str, Any] | None) -> None:
    """One error, and no end of others."""
    values = {key: value for key, value in GOOD.items() if key != "cookie_args"}
    if args is not None:
        values["cookie_args"] = args
    errors = [each for each in advice_on(values, webapp2.Response) if each.severity == "error"]
    assert briefly(errors) == [("error", "cookie_args['secure']")]


def test_debug() -> None:
    """An application's, which is not part of the sessions' configuration."""
    assert briefly(advice_on(GOOD, webapp2.Response, True)) == [("warning", "debug")]


def test_no_secret_is_shown() -> None:
    """Neither a weak key nor one of the wrong type."""
    found = advice(secret_key="qwzx", secret_key_fallbacks=["vkjq", ["pzrt"]])
    assert [each for each in ("qwzx", "vkjq", "pzrt") if each in str(found)] == []


def test_the_configuration_stays_as_it_is() -> None:
    """It is the application's."""
    given = {"digest": "md5"}
    advice_on(given, webapp2.Response)
    assert given == {"digest": "md5"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ()),
        ({"memcache": {}, "datastore": None}, ()),
        ({"memcache": {"timeout": 1}}, ("memcache",)),
        ({"datastore": {"project": "p"}}, ("datastore",)),
        ({"datastore": {"cache": "memcache"}}, ("memcache", "datastore")),
        ({"on_oversize": "datastore"}, ("datastore",)),
        ({"on_oversize": "raise"}, ()),
    ],
)
def test_server_backends(values: dict[str, Any], expected: tuple[str, ...]) -> None:
    """Those of which the configuration says something."""
    assert server_backends(values) == expected
