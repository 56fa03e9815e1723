"""Advice is given where it is due, and nowhere else; servers have to keep what sessions need."""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import Any

import pytest
import webapp2
from pymemcache.client.base import PooledClient
from pymemcache.serde import pickle_serde
from support.visits import SECRET

from webapp2_sessions.cli.check import advice_on, ping
from webapp2_sessions.config import SessionConfig, default_config
from webapp2_sessions.config.oversights import Advice
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.testing import MemorySessionFactory

#: The settings to copy of docs/security.md, on which there is no advice.
GOOD: dict[str, Any] = {
    "secret_key": SECRET,
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


def test_there_is_nothing_to_say_about_the_recommended_settings() -> None:
    """The recommended settings, also when they were checked before."""
    assert advice() == []
    assert advice_on(SessionConfig(GOOD), webapp2.Response) == []


def test_upstreams_defaults_are_not_what_is_best_today() -> None:
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
    ({"session_max_age": 0.5, "refresh_after": None}, [("warning", "session_max_age")]),
    ({"absolute_max_age": 0.5, "refresh_after": None}, [("warning", "absolute_max_age")]),
    ({"absolute_max_age": 600}, [("warning", "refresh_after")]),
    ({"cookie_args": {**GOOD["cookie_args"], "max_age": "600"}}, [("warning", "refresh_after")]),
    ({"cookie_args": {**GOOD["cookie_args"], "max_age": timedelta(days=1)}}, []),
    ({"max_cookie_size": None}, [("warning", "on_oversize")]),
    ({"on_oversize": "warn"}, [("advice", "on_oversize")]),
    ({"digest_fallbacks": ["sha1", "sha256"]}, [("warning", "digest_fallbacks[1]")]),
    ({"serializer_fallbacks": ["json"]}, [("warning", "serializer_fallbacks[0]")]),
    (
        {"secret_key_fallbacks": [GOOD["secret_key"]]},
        [("warning", "secret_key_fallbacks[0]")],
    ),
    ({"memcache": True}, [("warning", "memcache")]),
    ({"datastore": "DatastoreSessionFactory"}, [("warning", "datastore")]),
    ({"memcache": "10.0.0.1:11211"}, [("error", "memcache")]),
    ({"backends": {"own": Stored}, "on_conflict": "merge"}, [("error", "on_conflict")]),
    ({"backends": {"own": MemorySessionFactory}, "on_conflict": "merge"}, []),
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
    ({"memcache": {**FAR, "client": dict}}, [("warning", "memcache['servers']")]),
    ({"memcache": {"timeout": 2.0, "client": dict}}, [("warning", "memcache['timeout']")]),
    ({"memcache": {"key_prefix": "x", "client": dict}}, []),
    ({"redis": {"url": "redis://10.0.0.1/0"}}, [("advice", "redis['url']")]),
    ({"redis": {"url": "redis://:secret@localhost:6379/0"}}, []),
    ({"redis": {"url": "redis://:secret@10.0.0.1"}}, [("advice", "redis['url']")]),
    ({"redis": {"url": "redis://localhost.example.com"}}, [("advice", "redis['url']")]),
    ({"redis": {"url": "redis://a:b@127.0.0.1@10.0.0.1"}}, [("advice", "redis['url']")]),
    ({"redis": {"url": "rediss://10.0.0.1"}}, []),
    (
        {"redis": {"client": dict}, "datastore": {"cache": "redis"}, "serializer": "json"},
        [("error", "datastore['cache']")],
    ),
    ({"redis": {"url": "unix:///run/redis.sock"}}, []),
    ({"redis": {"url": "redis://10.0.0.1", "client": dict}}, [("warning", "redis['url']")]),
    ({"serializer": "pickle", "redis": {"timeout": 2}}, [("advice", "serializer")]),
    ({"datastore": {"project": "p", "client": dict}}, [("warning", "datastore['project']")]),
    ({"datastore": {"timeout": 2.0, "client": dict}}, []),
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
def test_one_thing_is_different_and_that_is_told(
    values: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert briefly(advice(**values)) == expected


def test_tls_context_without_tls_is_told() -> None:
    values = {"redis": {"tls_context": ssl.create_default_context()}}
    assert briefly(advice(**values)) == [("warning", "redis['tls_context']")]


#: By what was meant, keys that somebody may write.
MEANT = {
    "secret_key": ["secret-key", "secretKey", "SECRET", "session_secret"],
    "session_max_age": ["sesion_max_age", "session_maxage"],
    "cookie_args": ["cookie_arg", "session_cookie_args"],
    "cookie_name": ["cookie-name", "session_cookie"],
    "memcache": ["memcached", "session_memcache"],
    "backends": ["backend", "session_backends"],
}
CHOICES = ["backend", "session_backend", "session_backends"]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        *((key, 5, meant) for meant, keys in MEANT.items() for key in keys),
        # By its value, which is no dictionary of factories.
        *((key, "memcache", "default_backend") for key in CHOICES),
    ],
)
def test_the_key_that_was_meant_is_told(key: str, value: Any, meant: str) -> None:
    text = f"is no key of this package and has no effect; did you mean {meant!r}?"
    assert advice(**{key: value}) == [Advice("warning", key, text)]


HOMES = {
    "max-age": "'cookie_args' as 'max_age' or the configuration itself as 'session_max_age'",
    "max_age": "'cookie_args' or the configuration itself as 'session_max_age'",
    "httponly": "'cookie_args'",
    "Secure": "'cookie_args' as 'secure'",
    "cookie_samesite": "'cookie_args' as 'samesite'",
    "SESSION_COOKIE_HTTPONLY": "'cookie_args' as 'httponly'",
    "servers": "'memcache'",
    "memcache_servers": "'memcache' as 'servers'",
    "client": "'memcache' or 'redis' or 'datastore'",
    "project": "'datastore'",
}


@pytest.mark.parametrize(("key", "homes"), HOMES.items())
def test_the_dictionary_where_a_key_belongs_is_told(key: str, homes: str) -> None:
    text = f"has no effect here; it belongs into {homes}"
    assert advice(**{key: 5}) == [Advice("warning", key, text)]


@pytest.mark.parametrize(
    "key", ["shop", "user_model", "my_sessions", "template_path", "id", "-", "key", 5, ("a", "b")]
)
def test_keys_of_the_application(key: Any) -> None:
    """It may keep what it likes here."""
    assert advice_on({**GOOD, key: 5}, webapp2.Response) == []


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


def test_wrong_default_of_the_application_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(default_config, "vary", "no")
    with pytest.raises(ConfigError, match="vary"):
        advice()


@pytest.mark.parametrize("args", [without("secure"), None])
def test_name_and_arguments_that_do_not_go_together_are_one_error(
    args: dict[str, Any] | None,
) -> None:
    values = {key: value for key, value in GOOD.items() if key != "cookie_args"}
    if args is not None:
        values["cookie_args"] = args
    errors = [each for each in advice_on(values, webapp2.Response) if each.severity == "error"]
    assert briefly(errors) == [("error", "cookie_args['secure']")]


def test_debug_mode_of_an_application_is_told() -> None:
    assert briefly(advice_on(GOOD, webapp2.Response, True)) == [("warning", "debug")]


def test_no_secret_is_shown() -> None:
    """Neither a weak key nor one of the wrong type."""
    found = advice(secret_key="qwzx", secret_key_fallbacks=["vkjq", ["pzrt"]])
    assert [each for each in ("qwzx", "vkjq", "pzrt") if each in str(found)] == []


def test_the_configuration_stays_as_it_is() -> None:
    given = {"digest": "md5"}
    advice_on(given, webapp2.Response)
    assert given == {"digest": "md5"}


class Forgetful:
    """A memcached that keeps nothing larger than a kilobyte, without a word."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.deleted: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self.kept.get(key)

    def set(self, key: bytes, value: bytes, expire: int, noreply: bool) -> bool:
        if len(value) <= 1024:
            self.kept[key] = value
        return True

    def delete(self, key: bytes, noreply: bool) -> bool:
        self.deleted.append(key)
        return True


def told(client: Any) -> list[str]:
    """What is told of an application's own client."""
    config = SessionConfig({"secret_key": SECRET, "memcache": {"client": client}})
    return ping(config, "memcache")


def test_value_that_does_not_come_back_is_told_with_its_size_and_deleted() -> None:
    client = Forgetful()
    for _ in range(2):
        [problem] = told(client)
        assert problem.endswith("a value of 1048064 bytes did not come back")
    prefix = b"session:webapp2-sessions-check:"
    assert [key.startswith(prefix) for key in {*client.deleted}] == [True, True]


def test_client_that_decodes_is_told_and_not_asked_anything() -> None:
    [problem] = told(PooledClient("127.0.0.1:1", serde=pickle_serde))
    assert "must be a client without serde" in problem
