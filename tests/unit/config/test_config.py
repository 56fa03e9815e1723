"""The configuration: defaults, valid values, errors for wrong ones."""

from __future__ import annotations

import copy
import datetime
import pickle
import pprint
import re
import ssl
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
import webob
from support.stores import make_request, make_store, saved_headers
from support.visits import SECRET, make_app
from webapp2_extras import sessions as upstream

from webapp2_sessions import (
    BaseSessionFactory,
    ConfigError,
    SecureCookieSessionFactory,
    SessionStore,
    config,
    default_config,
)
from webapp2_sessions.config import SessionConfig
from webapp2_sessions.config import checks as config_checks

KEY = "webapp2_extras.sessions"
PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    """Restore the defaults after a test that changes them."""
    before = copy.deepcopy(default_config)
    yield
    default_config.clear()
    default_config.update(before)


def checked(**values: Any) -> SessionConfig:
    """Return a configuration with these values and a secret."""
    return SessionConfig({"secret_key": SECRET, **values})


def refusal(**values: Any) -> ConfigError:
    """Return the error with which these values are refused."""
    with pytest.raises(ConfigError) as refused:
        checked(**values)
    return refused.value


# Defaults


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("secret_key_fallbacks", ()),
        ("digest", "sha1"),
        ("digest_fallbacks", ()),
        ("cookie_name", "session"),
        ("session_max_age", None),
        (
            "cookie_args",
            {"max_age": None, "domain": None, "path": "/", "secure": None, "httponly": False},
        ),
        (
            "backends",
            {
                "securecookie": SecureCookieSessionFactory,
                "encryptedcookie": (
                    "webapp2_sessions.sessions.encrypted.EncryptedCookieSessionFactory"
                ),
                "datastore": "webapp2_sessions.sessions_ndb.DatastoreSessionFactory",
                "memcache": "webapp2_sessions.sessions_memcache.MemcacheSessionFactory",
            },
        ),
        ("max_cookie_size", 4093),
        ("vary", True),
        ("on_oversize", "warn"),
        ("on_damaged_cookie", "ignore"),
        ("change_detection", "flag"),
        ("max_flashes", 1000),
        ("default_backend", "securecookie"),
        ("former_cookie_args", ()),
        ("renewal_grace", 10),
        ("on_unreadable", "raise"),
        ("refresh_after", None),
        ("absolute_max_age", None),
        ("serializer", "pickle"),
        ("serializer_fallbacks", ()),
        ("on_conflict", "overwrite"),
        ("on_backend_error", "raise"),
        (
            "memcache",
            {
                "servers": ("127.0.0.1:11211",),
                "key_prefix": "session:",
                "namespace": None,
                "timeout": 1.0,
                "tls_context": None,
                "client": None,
            },
        ),
        (
            "datastore",
            {
                "project": None,
                "namespace": None,
                "database": None,
                "client": None,
                "timeout": 5.0,
                "cache": None,
            },
        ),
    ],
)
def test_defaults(key: str, expected: Any) -> None:
    """The defaults of each key."""
    assert expected == checked()[key]


def test_there_is_no_default_secret() -> None:
    """It is the one key that an application has to set."""
    assert default_config["secret_key"] is None


def test_each_key_has_a_test_of_its_default() -> None:
    """No key is forgotten by the test above."""
    [mark] = [mark for mark in test_defaults.pytestmark if mark.name == "parametrize"]
    assert sorted(default_config) == sorted(["secret_key", *(case[0] for case in mark.args[1])])


def test_each_key_has_a_check() -> None:
    """Each key is validated."""
    assert sorted(default_config) == sorted(config_checks.CHECKS)


def test_each_nested_key_has_a_check() -> None:
    """A section refuses keys that it does not know, and knows each key with a default."""
    checked(memcache=config.MEMCACHE_DEFAULTS, datastore=config.DATASTORE_DEFAULTS)


# Valid and wrong values

ACCEPTED: dict[str, list[Any]] = {
    "secret_key": ["s", b"s", "clé \N{KEY}", bytes(range(256))],
    "secret_key_fallbacks": [(), [], ["s"], (b"s", "clé \N{KEY}")],
    "digest": ["sha1", "sha256", "sha512"],
    "digest_fallbacks": [(), ["sha1"], ("sha256", "sha1")],
    "cookie_name": ["session", "__Hosts", "a.b", b"session"],
    "session_max_age": [None, 1, 3600.5, Decimal("1.5"), Fraction(1, 2), float("inf")],
    "cookie_args": [
        {},
        {"path": "/app", "secure": True, "httponly": True, "samesite": "lax"},
        {"max_age": datetime.timedelta(days=1), "domain": ".example.com"},
        {"max_age": "60"},
    ],
    "former_cookie_args": [(), [], [{}], [{"path": "/app", "max_age": 0}]],
    "default_backend": ["securecookie", "memcache"],
    "renewal_grace": [0, 0.5, 10, 300],
    "on_unreadable": ["raise", "new"],
    "backends": [{}, {"mine": BaseSessionFactory}, {"mine": "a.b.C"}, {"mine": lambda *args: None}],
    "max_cookie_size": [None, 1, 8192],
    "vary": [True, False],
    "memcache": [
        {},
        {"servers": ["10.0.0.1:11211"]},
        {"servers": ("unix:/run/memcached.sock",)},
        {"servers": ["a:1", "b:1", "c:1"]},
        {"servers": ["a", "10.0.0.1:65535", "[::1]:11211", "[fe80::1%eth0]", "my_host:1"]},
        {"servers": ["/run/memcached.sock", "unix:memcached.sock"]},
        {"namespace": "tenant"},
        {"tls_context": ssl.create_default_context()},
        {"client": dict},
        {"client": {}},
        {"key_prefix": ""},
        {"key_prefix": "k" * 150},
        {"timeout": 1},
        {"timeout": 0.1},
    ],
    "datastore": [
        {},
        {"project": "p", "namespace": "n", "database": "d"},
        {"namespace": ""},
        {"timeout": 10},
        {"cache": "memcache"},
        {"cache": None},
        {"client": lambda: None},
        {"client": SimpleNamespace(context=None)},
    ],
    "on_oversize": ["warn", "raise", "memcache", "datastore"],
    "on_damaged_cookie": ["ignore", "expire"],
    "change_detection": ["flag", "content"],
    "max_flashes": [None, 1, 100],
    "refresh_after": [None, 1, 0.5, 86400],
    "absolute_max_age": [None, 1, 0.5, 86400],
    "serializer": ["pickle", "json"],
    "serializer_fallbacks": [(), [], ["pickle"], ("json", "pickle")],
    "on_conflict": ["overwrite", "merge"],
    "on_backend_error": ["raise", "degrade"],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in ACCEPTED.items() for value in values]
)
def test_accepted_values(key: str, value: Any) -> None:
    """A good value is kept, completed by nested defaults where there are any; lists as tuples."""
    kept = SessionConfig({"secret_key": SECRET, key: value})[key]
    if isinstance(value, dict):
        assert {name: as_tuple(each) for name, each in value.items()}.items() <= kept.items()
    else:
        assert as_tuple(value) == kept
        assert not isinstance(kept, list)


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple; everything else as it is."""
    return tuple(value) if isinstance(value, list) else value


MISSING = "is missing or empty"
OLDER = "secret_key_fallbacks"
KEY_LIST = "must be a list of keys"
NUMBER = "must be a number of seconds or None"
TEXT_NAME = "must be text"
UNSENDABLE = "cannot be sent"
FACTORY = "must be a factory class or its dotted name"
SIZE = "must be a positive number of bytes or None"
AGE = "must be a positive number of seconds or None"
SERVER = 'must be "host:port" with a port up to 65535, "host" or "unix:/path"'
SERVERS = 'must be a list of servers, each "host:port" or "unix:/path"'
PREFIX = "must be at most 150 printable ASCII characters without spaces"
SECONDS = "must be a positive number of seconds"

REFUSED: list[tuple[str, Any, str, str]] = [
    ("secret_key", None, "secret_key", MISSING),
    ("secret_key", "", "secret_key", MISSING),
    ("secret_key", b"", "secret_key", MISSING),
    ("secret_key", 5, "secret_key", "must be str or bytes, not int"),
    ("secret_key", ["s"], "secret_key", "must be str or bytes, not list"),
    ("secret_key", "s\udcff", "secret_key", "must be valid Unicode text or bytes, not str with"),
    ("secret_key_fallbacks", "topsecret", OLDER, f"{KEY_LIST}, not str; put a single key into a l"),
    ("secret_key_fallbacks", b"topsecret", OLDER, f"{KEY_LIST}, not bytes; put a single key into"),
    ("secret_key_fallbacks", None, OLDER, "must be a list or tuple of keys, not NoneType"),
    ("secret_key_fallbacks", {"topsecret"}, OLDER, "must be a list or tuple of keys, not set"),
    ("secret_key_fallbacks", ["a", None], f"{OLDER}[1]", "must be str or bytes, not NoneType"),
    (
        "secret_key_fallbacks",
        ["a", ""],
        f"{OLDER}[1]",
        "must not be empty; take it out of the list",
    ),
    ("secret_key_fallbacks", [b""], f"{OLDER}[0]", "must not be empty; take it out of the list"),
    ("secret_key_fallbacks", ["s\udcff"], f"{OLDER}[0]", "must be valid Unicode text or bytes"),
    ("digest", "md5", "digest", "must be 'sha1' or 'sha256' or 'sha512', not str 'md5'"),
    ("digest", None, "digest", "must be 'sha1' or 'sha256' or 'sha512', not NoneType None"),
    ("digest_fallbacks", "sha1", "digest_fallbacks", "a list of 'sha1', 'sha256' and 'sha512'"),
    ("digest_fallbacks", ["md5"], "digest_fallbacks", "not list ['md5']"),
    ("cookie_name", None, "cookie_name", f"{TEXT_NAME}, not NoneType"),
    ("cookie_name", 5, "cookie_name", f"{TEXT_NAME}, not int"),
    ("cookie_name", "", "cookie_name", UNSENDABLE),
    ("cookie_name", "bad name", "cookie_name", UNSENDABLE),
    ("cookie_name", "path", "cookie_name", UNSENDABLE),
    ("session_max_age", "3600", "session_max_age", f"{NUMBER}, not str"),
    ("session_max_age", datetime.timedelta(1), "session_max_age", f"{NUMBER}, not timedelta"),
    ("session_max_age", 1j, "session_max_age", f"{NUMBER}, not complex"),
    ("session_max_age", float("nan"), "session_max_age", f"{NUMBER}, not float"),
    ("session_max_age", Decimal("nan"), "session_max_age", f"{NUMBER}, not Decimal"),
    ("session_max_age", [60], "session_max_age", f"{NUMBER}, not list"),
    ("session_max_age", 0, "session_max_age", f"{AGE}, not int 0"),
    ("session_max_age", -1, "session_max_age", f"{AGE}, not int -1"),
    ("session_max_age", -0.5, "session_max_age", f"{AGE}, not float -0.5"),
    ("session_max_age", Decimal(0), "session_max_age", f"{AGE}, not Decimal"),
    ("session_max_age", True, "session_max_age", f"{AGE}, not bool True"),
    ("session_max_age", False, "session_max_age", f"{AGE}, not bool False"),
    ("cookie_args", None, "cookie_args", "must be a dictionary, not NoneType"),
    (
        "cookie_args",
        {"max_age": 0},
        "cookie_args['max_age']",
        "1 second at least, or None, not int",
    ),
    ("cookie_args", {"max_age": -1}, "cookie_args['max_age']", "not int -1"),
    ("cookie_args", {"max_age": "0"}, "cookie_args['max_age']", "not str '0'"),
    ("cookie_args", {"max_age": 0.9}, "cookie_args['max_age']", "not float 0.9"),
    ("cookie_args", {"max_age": True}, "cookie_args['max_age']", "not bool True"),
    ("cookie_args", {"max_age": datetime.timedelta(0)}, "cookie_args['max_age']", "not timedelta"),
    ("cookie_args", {"secure": "False"}, "cookie_args['secure']", "any text counts as True"),
    ("cookie_args", {"domain": "https://a.b"}, "cookie_args['domain']", "it is a URL"),
    ("cookie_args", {"path": "app"}, "cookie_args['path']", "does not begin with '/'"),
    ("former_cookie_args", {"path": "/"}, "former_cookie_args", "a list of dictionaries, not dict"),
    ("former_cookie_args", ["/"], "former_cookie_args[0]", "must be a dictionary, not str"),
    ("former_cookie_args", [{}, {"path": "app"}], "former_cookie_args[1]['path']", "begin with"),
    ("former_cookie_args", None, "former_cookie_args", "a list of dictionaries, not NoneType"),
    ("default_backend", None, "default_backend", "must be text, not NoneType"),
    ("default_backend", "redis", "default_backend", "must be a keyword of 'backends' ('securecook"),
    ("renewal_grace", -1, "renewal_grace", "a number of seconds, 0 to 300, not int -1"),
    ("renewal_grace", 301, "renewal_grace", "a number of seconds, 0 to 300, not int 301"),
    ("renewal_grace", None, "renewal_grace", "a number of seconds, 0 to 300, not NoneType"),
    ("renewal_grace", True, "renewal_grace", "a number of seconds, 0 to 300, not bool"),
    ("on_unreadable", "ignore", "on_unreadable", "must be 'raise' or 'new', not str 'ignore'"),
    ("cookie_args", [("path", "/")], "cookie_args", "must be a dictionary, not list"),
    ("cookie_args", {"foo": 1}, "cookie_args['foo']", "int is refused"),
    ("cookie_args", {"samesite": "none"}, "cookie_args['samesite']", "str is refused"),
    ("cookie_args", {"max_age": "soon"}, "cookie_args['max_age']", "str is refused"),
    ("backends", None, "backends", "must be a dictionary, not NoneType"),
    ("backends", {"x": None}, "backends['x']", f"{FACTORY}, not NoneType"),
    ("backends", {"x": 5}, "backends['x']", f"{FACTORY}, not int"),
    ("backends", {"x": ""}, "backends['x']", f"{FACTORY}, not str"),
    ("backends", {"x": "Factory"}, "backends['x']", f"{FACTORY}, not str"),
    ("backends", {"x": ".Factory"}, "backends['x']", f"{FACTORY}, not str"),
    ("max_cookie_size", 0, "max_cookie_size", f"{SIZE}, not int 0"),
    ("max_cookie_size", -1, "max_cookie_size", f"{SIZE}, not int -1"),
    ("max_cookie_size", 4e3, "max_cookie_size", f"{SIZE}, not float 4000.0"),
    ("max_cookie_size", "4093", "max_cookie_size", f"{SIZE}, not str '4093'"),
    ("vary", 0, "vary", "must be True or False, not int"),
    ("vary", " False", "vary", "must be True or False, not str"),
    ("vary", 1, "vary", "must be True or False, not int"),
    ("vary", "no", "vary", "must be True or False, not str"),
    ("memcache", "10.0.0.1:11211", "memcache", "must be a dictionary, not str"),
    ("memcache", "unix:/run/memcached.sock", "memcache", "must be a dictionary, not str"),
    ("memcache", ["10.0.0.1"], "memcache", "must be a dictionary, not list"),
    ("memcache", {"namespace": 5}, "memcache['namespace']", "must be text, not int"),
    *(
        ("memcache", {"servers": ["a:1", server]}, "memcache['servers'][1]", f"{SERVER}; an IPv6")
        for server in [
            *("127.0.0.1:abc", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1"),
            *("127.0.0.1: 1", "a b:1", "::1", "::1:11211", "tcp://127.0.0.1:1", "a:1,b:1", "[::1"),
            *("a:1\n", "a:\N{SUPERSCRIPT TWO}", "unix:", "user@host:1", ":11211"),
        ]
    ),
    ("memcache", {"server": "x"}, "memcache['server']", "known keys are servers, key_prefix, name"),
    ("memcache", {"servers": "host:1"}, "memcache['servers']", f"{SERVERS}, not str 'host:1'"),
    ("memcache", {"servers": None}, "memcache['servers']", f"{SERVERS}, not NoneType None"),
    ("memcache", {"servers": "h"}, "memcache['servers']", f"{SERVERS}, not str 'h'"),
    ("memcache", {"servers": []}, "memcache['servers']", f"{SERVERS}, not list []"),
    ("memcache", {"servers": [""]}, "memcache['servers']", f"{SERVERS}, not list ['']"),
    ("memcache", {"servers": [("h", 1)]}, "memcache['servers']", f"{SERVERS}, not list"),
    ("memcache", {"servers": ["a:1", "a:1"]}, "memcache['servers']", "names a server twice: ['a:"),
    ("memcache", {"tls_context": True}, "memcache['tls_context']", "an ssl.SSLContext or None"),
    ("memcache", {"client": "x"}, "memcache['client']", "a client of pymemcache, a function that"),
    ("datastore", {"client": "x"}, "datastore['client']", "a client of google-cloud-ndb, a functi"),
    ("on_oversize", "redis", "on_oversize", "'raise' or a keyword of 'backends', not 'redis'"),
    ("on_damaged_cookie", "x", "on_damaged_cookie", "must be 'ignore' or 'expire', not str 'x'"),
    ("change_detection", "x", "change_detection", "must be 'flag' or 'content', not str 'x'"),
    ("max_flashes", 0, "max_flashes", "must be a positive whole number or None, not int 0"),
    ("cookie_name", "__Host-s", "cookie_args['secure']", "needs secure=True; the cookie is named"),
    ("refresh_after", 0, "refresh_after", f"{SECONDS}, not int 0"),
    ("refresh_after", "1h", "refresh_after", f"{SECONDS}, not str '1h'"),
    ("absolute_max_age", -1, "absolute_max_age", f"{SECONDS}, not int -1"),
    ("serializer", "yaml", "serializer", "must be 'pickle' or 'json', not str 'yaml'"),
    ("serializer", None, "serializer", "must be 'pickle' or 'json', not NoneType None"),
    ("serializer_fallbacks", "pickle", "serializer_fallbacks", "a list of 'pickle' and 'json', no"),
    ("serializer_fallbacks", ["xml"], "serializer_fallbacks", "not list ['xml']"),
    ("on_conflict", True, "on_conflict", "must be 'overwrite' or 'merge', not bool True"),
    ("on_backend_error", "ignore", "on_backend_error", "must be 'raise' or 'degrade', not str"),
    ("memcache", {"key_prefix": None}, "memcache['key_prefix']", "must be text, not NoneType"),
    ("memcache", {"key_prefix": b"x"}, "memcache['key_prefix']", "must be text, not bytes"),
    ("memcache", {"key_prefix": "a b"}, "memcache['key_prefix']", f"{PREFIX}, not str 'a b'"),
    ("memcache", {"key_prefix": "é"}, "memcache['key_prefix']", f"{PREFIX}, not str 'é'"),
    ("memcache", {"key_prefix": "a\n"}, "memcache['key_prefix']", f"{PREFIX}, not str"),
    ("memcache", {"key_prefix": "k" * 151}, "memcache['key_prefix']", f"{PREFIX}, not str"),
    ("memcache", {"timeout": 0}, "memcache['timeout']", f"{SECONDS}, not int 0"),
    ("memcache", {"timeout": -1.5}, "memcache['timeout']", f"{SECONDS}, not float -1.5"),
    ("memcache", {"timeout": True}, "memcache['timeout']", f"{SECONDS}, not bool True"),
    ("memcache", {"timeout": None}, "memcache['timeout']", f"{SECONDS}, not NoneType None"),
    ("memcache", {"timeout": float("nan")}, "memcache['timeout']", f"{SECONDS}, not float nan"),
    ("memcache", {"timeout": float("inf")}, "memcache['timeout']", f"{SECONDS}, not float inf"),
    ("memcache", {"timeout": 1e11}, "memcache['timeout']", f"{SECONDS}, not float 100000000000.0"),
    ("datastore", [], "datastore", "must be a dictionary, not list"),
    ("datastore", {"kind": "x"}, "datastore['kind']", "known keys are project, namespace, datab"),
    ("datastore", {"project": 5}, "datastore['project']", "must be text, not int"),
    ("datastore", {"namespace": b"n"}, "datastore['namespace']", "must be text, not bytes"),
    ("datastore", {"database": True}, "datastore['database']", "must be text, not bool"),
    ("datastore", {"timeout": "5"}, "datastore['timeout']", f"{SECONDS}, not str '5'"),
    ("datastore", {"cache": "redis"}, "datastore['cache']", "'memcache' or None, not str 'redis'"),
    ("datastore", {"cache": True}, "datastore['cache']", "must be 'memcache' or None, not bool"),
]


@pytest.mark.parametrize(("key", "value", "named", "text"), REFUSED)
def test_refused_values(key: str, value: Any, named: str, text: str) -> None:
    """The error names the key, the value's type, and what is allowed."""
    error = refusal(**{key: value})
    assert named == error.key
    assert str(error).startswith(f"{named}: ")
    assert text in str(error)


def test_each_key_has_accepted_and_refused_values() -> None:
    """No key is forgotten by the tests above."""
    assert sorted(default_config) == sorted(ACCEPTED) == sorted({case[0] for case in REFUSED})


@pytest.mark.parametrize("older", ["topsecret", b"topsecret", {"topsecret"}, ["topsecret\udcff"]])
def test_a_wrong_older_secret_is_not_shown(older: Any) -> None:
    """Not even if the list has the wrong type."""
    assert "topsecret" not in str(refusal(secret_key_fallbacks=older))


@pytest.mark.parametrize("secret", [["topsecret"], "topsecret\udcff", {"k": "topsecret"}])
def test_a_wrong_secret_is_not_shown(secret: Any) -> None:
    """It may be almost the right one."""
    assert "topsecret" not in str(refusal(secret_key=secret))


def test_a_large_value_is_shown_in_part() -> None:
    """Error messages stay short."""
    assert len(str(refusal(memcache={"key_prefix": "k" * 10_000}))) < 200


# Values that are not meant for this package

#: Under names that upstream ignores.
FOREIGN: list[tuple[str, Any, str]] = [
    ("datastore", "DatastoreSessionFactory", "str"),
    ("datastore", True, "bool"),
    ("datastore", None, "NoneType"),
    ("datastore", BaseSessionFactory, "type"),
    ("memcache", True, "bool"),
    ("memcache", "webapp2_extras.sessions_memcache.MemcacheSessionFactory", "str"),
    ("memcache", None, "NoneType"),
    ("vary", "User-Agent", "str"),
    ("vary", ["Cookie"], "list"),
    ("vary", None, "NoneType"),
    ("max_flashes", "all", "str"),
    ("max_flashes", True, "bool"),
    ("max_cookie_size", {}, "dict"),
    ("max_cookie_size", True, "bool"),
    ("on_oversize", None, "NoneType"),
    ("on_oversize", print, "builtin_function_or_method"),
    ("on_damaged_cookie", print, "builtin_function_or_method"),
    ("change_detection", True, "bool"),
    ("refresh_after", "never", "str"),
    ("refresh_after", datetime.timedelta(hours=1), "timedelta"),
    ("on_backend_error", print, "builtin_function_or_method"),
    ("on_unreadable", {}, "dict"),
]


@pytest.mark.parametrize(("key", "value", "kind"), FOREIGN)
def test_what_cannot_be_meant_for_us_is_ignored(key: str, value: Any, kind: str) -> None:
    """An application that works with upstream continues to work, with a warning."""
    found = checked(**{key: value})
    assert found[key] == checked()[key]
    assert list(found.ignored) == [key]
    assert f"holds {kind}, which cannot be meant for this package" in found.ignored[key]
    assert saved_headers(opened(make_store(**{key: value})))


def opened(store: SessionStore) -> SessionStore:
    """Modify the session of a store and return the store."""
    store.get_session()["a"] = 1
    return store


def test_a_foreign_default_is_ignored() -> None:
    """Applications change `default_config` as well."""
    default_config["datastore"] = "DatastoreSessionFactory"
    assert checked()["datastore"] == config.DATASTORE_DEFAULTS


#: Keys that security depends on, which must not be ignored silently.
DECISIVE = [
    *("secret_key", "secret_key_fallbacks", "digest", "digest_fallbacks", "absolute_max_age"),
    *("renewal_grace", "serializer", "serializer_fallbacks", "on_conflict", "default_backend"),
    *("former_cookie_args", "cookie_name", "session_max_age", "cookie_args", "backends"),
]


@pytest.mark.parametrize("key", DECISIVE)
def test_nothing_that_security_depends_on_is_ignored(key: str) -> None:
    """Wrong values of these keys, and of upstream's, always raise."""
    assert refusal(**{key: object()}).key == key


def test_each_key_is_decisive_or_may_be_foreign() -> None:
    """Each key is in one of the two lists."""
    assert sorted(default_config) == sorted({*DECISIVE, *(key for key, _, _ in FOREIGN)})


def test_an_unchecked_configuration_may_be_foreign() -> None:
    """A custom store has a configuration that was not validated."""
    assert config.memcache_settings({"memcache": True}) == config.MEMCACHE_DEFAULTS
    assert config.datastore_settings({"datastore": "x"}) == config.DATASTORE_DEFAULTS


# Representation


@pytest.mark.parametrize("shown", [repr, str, pprint.pformat, "{}".format, "%r".__mod__])
def test_secrets_are_not_shown(shown: Any) -> None:
    """Tracebacks may show local variables, and logs their arguments."""
    found = SessionConfig({"secret_key": "qwzx", "secret_key_fallbacks": [b"vkjq"], "mine": 7})
    for value in (found, {"webapp2_extras.sessions": found}, [found]):
        text = shown((value,) if shown == "%r".__mod__ else value)
        assert [each for each in ("qwzx", "vkjq") if each in text] == []
        assert "'mine': 7" in text
        assert "'secret_key': '<hidden>'" in text


def test_the_configuration_of_an_application_is_not_shown() -> None:
    """webapp2's dictionary contains the validated configuration."""
    app = make_app(secret_key="qwzx")
    SessionStore(make_request(app))
    assert "qwzx" not in repr(app.config)


def test_a_configuration_that_holds_itself_is_shown() -> None:
    """repr() handles recursion, as for any dictionary."""
    found = checked()
    found["me"] = found
    assert "'me': {...}" in repr(found)


def test_a_copy_has_the_secrets() -> None:
    """Copies contain the secrets, hidden or not."""
    found = checked(secret_key_fallbacks=["older"])
    for copied in (copy.copy(found), copy.deepcopy(found), dict(found), found.copy()):
        assert copied["secret_key"] == SECRET
        assert copied["secret_key_fallbacks"] == ("older",)


# The secret on every use


def test_a_missing_secret_says_how_to_make_one() -> None:
    """The message names the command."""
    assert str(refusal(secret_key=None)) == (
        "secret_key: is missing or empty in config['webapp2_extras.sessions']; make one with "
        "'webapp2-sessions keygen' and keep it out of the source code"
    )


@pytest.mark.parametrize("values", [{}, {"secret_key": None}, {"secret_key": ""}])
def test_every_request_without_a_secret_is_refused(values: dict[str, Any]) -> None:
    """Not only the first request of an application."""
    app = webapp2.WSGIApplication(config={KEY: values})
    for _ in range(3):
        with pytest.raises(ConfigError, match=MISSING):
            SessionStore(make_request(app))


def test_an_application_without_any_configuration_is_refused() -> None:
    """The secret is missing."""
    app = webapp2.WSGIApplication()
    for _ in range(2):
        with pytest.raises(ConfigError, match=MISSING):
            SessionStore(make_request(app))


def test_a_secret_for_one_store_is_for_that_store_only() -> None:
    """Later requests without a secret raise."""
    app = webapp2.WSGIApplication()
    assert SessionStore(make_request(app), config={"secret_key": "s"}).config["secret_key"] == "s"
    with pytest.raises(ConfigError, match=MISSING):
        SessionStore(make_request(app))


@pytest.mark.parametrize("empty", ["", b"", None])
def test_an_empty_secret_for_one_store_is_refused(empty: Any) -> None:
    """The application's is no fallback; the error says where the wrong one was given."""
    with pytest.raises(ConfigError) as refused:
        SessionStore(make_request(), config={"secret_key": empty})
    assert "is missing or empty in SessionStore(request, config=...); make" in str(refused.value)


def test_a_missing_secret_of_another_key_is_named_there() -> None:
    """The error names the configuration key of a subclass."""

    class MyStore(SessionStore):
        config_key = "my.sessions"

    app = webapp2.WSGIApplication()
    for values in ({}, {"cookie_name": "c"}):
        with pytest.raises(ConfigError, match=r"empty in config\['my.sessions'\]; make"):
            MyStore(make_request(app), config=values)


@pytest.mark.parametrize("values", [{"vary": "no"}, {"cookie_args": {"foo": 1}}])
def test_every_request_with_a_wrong_value_is_refused(values: dict[str, Any]) -> None:
    """Each request raises."""
    app = make_app(**values)
    for _ in range(2):
        with pytest.raises(ConfigError):
            SessionStore(make_request(app))


# Merging


def test_unknown_keys_are_kept() -> None:
    """Custom factories may use further keys."""
    assert checked(my_key={"a": 1})["my_key"] == {"a": 1}


def test_cookie_args_replace_the_defaults() -> None:
    """Arguments that are not given are WebOb's defaults, as upstream."""
    assert checked(cookie_args={"secure": True})["cookie_args"] == {"secure": True}


def test_backends_are_added_to_the_defaults() -> None:
    """The built-in backends remain."""
    backends = checked(backends={"mine": BaseSessionFactory})["backends"]
    assert list(backends) == ["securecookie", "encryptedcookie", "datastore", "memcache", "mine"]


def test_a_built_in_backend_may_be_replaced() -> None:
    """The application's backends take precedence."""
    backends = checked(backends={"memcache": BaseSessionFactory})["backends"]
    assert backends["memcache"] is BaseSessionFactory


def test_upstreams_classes_stand_for_ours() -> None:
    """A configuration may contain upstream's class."""
    store = make_store(backends={"mine": upstream.SecureCookieSessionFactory})
    assert store.get_backend("mine") is SecureCookieSessionFactory


def test_upstreams_store_may_come_first() -> None:
    """It writes its own classes into the application's configuration."""
    app = make_app()
    upstream.SessionStore(make_request(app)).get_session()
    store = SessionStore(make_request(app))
    assert store.get_backend("securecookie") is SecureCookieSessionFactory


def test_a_subclass_of_upstreams_class_stays() -> None:
    """It is a custom factory."""

    class Own(upstream.SecureCookieSessionFactory):
        pass

    assert checked(backends={"mine": Own})["backends"]["mine"] is Own


def test_sections_are_completed() -> None:
    """Nested keys that are not given have their defaults."""
    expected = {**config.MEMCACHE_DEFAULTS, "timeout": 9}
    assert expected == checked(memcache={"timeout": 9})["memcache"]


def test_values_for_one_store_come_before_the_applications() -> None:
    """`SessionStore(request, config=...)` changes what it names and keeps the rest."""
    app = make_app(cookie_name="app", vary=False)
    store = SessionStore(make_request(app), config={"cookie_name": "store"})
    assert (store.config["cookie_name"], store.config["vary"]) == ("store", False)


def test_values_for_one_store_are_for_that_store() -> None:
    """The next store has the application's."""
    app = make_app(cookie_name="app")
    SessionStore(make_request(app), config={"cookie_name": "store"})
    assert SessionStore(make_request(app)).config["cookie_name"] == "app"


def test_values_for_one_store_are_checked() -> None:
    """A wrong value raises."""
    with pytest.raises(ConfigError, match="vary"):
        SessionStore(make_request(), config={"vary": "no"})


def test_stores_of_an_application_share_the_configuration() -> None:
    """It is validated once."""
    app = make_app()
    assert SessionStore(make_request(app)).config is SessionStore(make_request(app)).config


def test_a_configuration_may_be_replaced_later() -> None:
    """Tests of applications exchange `app.config[...]` between requests."""
    app = make_app(cookie_name="before")
    SessionStore(make_request(app))
    app.config[KEY] = {"secret_key": "s", "cookie_name": "after"}
    store = SessionStore(make_request(app))
    assert (store.config["cookie_name"], store.config["vary"]) == ("after", True)


def test_a_changed_configuration_is_used_by_the_next_store() -> None:
    """The application's config is the checked one, open to change."""
    app = make_app()
    SessionStore(make_request(app))
    app.config[KEY]["cookie_name"] = "changed"
    assert SessionStore(make_request(app)).config["cookie_name"] == "changed"


def test_a_subclass_may_have_another_key() -> None:
    """`config_key` says where the store's configuration is."""

    class MyStore(SessionStore):
        config_key = "my.sessions"

    app = webapp2.WSGIApplication(config={"my.sessions": {"secret_key": "s", "cookie_name": "c"}})
    assert MyStore(make_request(app)).config["cookie_name"] == "c"


def test_cookie_arguments_are_tried_on_the_applications_response() -> None:
    """Arguments that its `set_cookie()` accepts can be configured."""

    class Response(webapp2.Response):
        def set_cookie(self, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
            webob.Response.set_cookie(self, *args, **kwargs)

    app = make_app(cookie_args={"priority": "high"})
    with pytest.raises(ConfigError, match="priority"):
        SessionStore(make_request(app))
    app.response_class = Response
    assert SessionStore(make_request(app)).config["cookie_args"] == {"priority": "high"}


# Isolation of dictionaries


def use_everything(**values: Any) -> None:
    """Make a request that modifies its configuration."""
    store = make_store(**values)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["max_age"] = 60
    store.config["cookie_args"]["domain"] = ".example.com"
    store.config["backends"]["x"] = BaseSessionFactory
    store.config["memcache"]["timeout"] = 9
    saved_headers(store)


def test_the_defaults_are_not_written_to() -> None:
    """Another application starts with the same defaults."""
    before = copy.deepcopy(default_config)
    use_everything()
    assert before == default_config


def test_the_applications_dictionaries_are_not_written_to() -> None:
    """The application's configuration is copied."""
    values = {
        "cookie_args": {"path": "/"},
        "backends": {"y": "webapp2_sessions.sessions.SecureCookieSessionFactory"},
        "memcache": {"timeout": 2},
        "datastore": {},
    }
    before = copy.deepcopy(values)
    use_everything(**values)
    assert before == values


def test_get_backend_writes_no_class_into_the_defaults() -> None:
    """An imported factory is not written to a shared dictionary."""
    values = {"y": "webapp2_sessions.sessions.factories.BaseSessionFactory"}
    assert make_store(backends=values).get_backend("y") is BaseSessionFactory
    assert values == {"y": "webapp2_sessions.sessions.factories.BaseSessionFactory"}
    assert "y" not in default_config["backends"]


def test_applications_have_separate_cookie_arguments() -> None:
    """A change by one application's store does not affect another's."""
    one, other = make_store(), make_store()
    one.config["cookie_args"]["domain"] = ".one.example"
    assert other.config["cookie_args"]["domain"] is None


def test_stores_with_overrides_have_separate_cookie_arguments() -> None:
    """Changes by one store do not affect others."""
    app = make_app()
    store = SessionStore(make_request(app), config={"vary": False})
    store.config["cookie_args"]["domain"] = ".example.com"
    assert SessionStore(make_request(app)).config["cookie_args"]["domain"] is None


def test_changed_defaults_take_effect_in_applications_that_load_later() -> None:
    """Applications change `default_config` when they are imported."""
    default_config["cookie_name"] = "changed"
    default_config["cookie_args"]["httponly"] = True
    default_config["backends"]["x"] = BaseSessionFactory
    store = make_store()
    assert store.config["cookie_name"] == "changed"
    assert store.config["cookie_args"]["httponly"] is True
    assert store.get_backend("x") is BaseSessionFactory


def test_a_default_secret_is_enough() -> None:
    """An application may set `default_config['secret_key']`."""
    default_config["secret_key"] = "s"
    app = webapp2.WSGIApplication()
    assert SessionStore(make_request(app)).config["secret_key"] == "s"


def test_changed_defaults_do_not_take_effect_in_applications_that_have_loaded() -> None:
    """A validated configuration is independent of the defaults."""
    app = make_app()
    SessionStore(make_request(app))
    default_config["cookie_name"] = "changed"
    default_config["cookie_args"]["httponly"] = True
    default_config["backends"]["x"] = BaseSessionFactory
    store = SessionStore(make_request(app))
    assert store.config["cookie_name"] == "session"
    assert store.config["cookie_args"]["httponly"] is False
    assert "x" not in store.config["backends"]


def test_wrong_defaults_are_refused() -> None:
    """A default that an application changed is checked as its configuration is."""
    default_config["vary"] = "no"
    with pytest.raises(ConfigError, match="vary"):
        make_store()


# The documentation


def described_keys() -> set[str]:
    """Keys in backticks, in headings and in the first cells of tables of the page."""
    text = PAGE.read_text("utf-8")
    lines = re.findall(r"^(?:#+ .*|\|[^|]*\|)", text, re.MULTILINE)
    return {key for line in lines for key in re.findall(r"`([^`]+)`", line)}


@pytest.mark.parametrize(
    "key",
    [
        *default_config,
        *default_config["cookie_args"],
        *config.MEMCACHE_DEFAULTS,
        *config.DATASTORE_DEFAULTS,
    ],
)
def test_each_key_is_described(key: str) -> None:
    """docs/configuration.md has a heading or a table row for each key."""
    assert key in described_keys()


# Copies


def test_lists_are_copied() -> None:
    """Later changes of the application's lists have no effect."""
    older, servers = ["older"], ["127.0.0.1:11211"]
    changed = checked(secret_key_fallbacks=older, memcache={"servers": servers})
    older.append("oldest")
    servers.append("127.0.0.1:11212")
    assert changed["secret_key_fallbacks"] == ("older",)
    assert changed["memcache"]["servers"] == ("127.0.0.1:11211",)


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_are_equal_and_apart(copied: Any) -> None:
    """A configuration can be copied and pickled like any dictionary."""
    original = checked()
    other = copied(original)
    assert (type(other), other) == (SessionConfig, original)
    other["cookie_name"] = "another"
    assert original["cookie_name"] == "session"
