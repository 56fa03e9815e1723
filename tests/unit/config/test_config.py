"""The configuration: defaults, valid values, errors for wrong ones."""

from __future__ import annotations

import copy
import datetime
import pickle
import pprint
import re
import reprlib
import ssl
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
from support.stores import PriorityResponse, make_request, make_store, saved_headers
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


def test_defaults() -> None:
    """Those that docs/configuration.md tells in words; tests/docs compares the others with it."""
    assert default_config["secret_key"] is None
    assert checked()["cookie_name"] == "session"
    assert checked()["backends"] == {
        "securecookie": SecureCookieSessionFactory,
        "encryptedcookie": "webapp2_sessions.sessions.encrypted.EncryptedCookieSessionFactory",
        "datastore": "webapp2_sessions.sessions_ndb.DatastoreSessionFactory",
        "memcache": "webapp2_sessions.sessions_memcache.MemcacheSessionFactory",
        "redis": "webapp2_sessions.sessions_redis.RedisSessionFactory",
    }


def test_each_key_and_each_nested_key_has_a_check() -> None:
    assert sorted(default_config) == sorted(config_checks.CHECKS)
    checked(
        memcache=config.MEMCACHE_DEFAULTS,
        redis=config.REDIS_DEFAULTS,
        datastore=config.DATASTORE_DEFAULTS,
    )


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
    "on_event": [None, print, dict],
    "user_stamp": [None, len],
    "user_index": [False, True],
    "max_user_sessions": [None, 1, 20],
    "on_sign_in": [None, print],
    "revocation": [None, "redis", "datastore"],
    "revocation_cache": [None, 0.5, 60],
    "user_key": [None, "user_id", len, {}, {"auth": "_user", "session": len}],
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
        {"cache": "redis"},
        {"cache": None},
        {"client": lambda: None},
        {"client": SimpleNamespace(context=None)},
    ],
    "on_oversize": ["warn", "raise", "memcache", "redis", "datastore"],
    "redis": [
        {},
        {"url": "redis://10.0.0.1"},
        {"url": "rediss://user:password@redis.example.com:6380/5"},
        {"url": "unix:///run/redis.sock?db=1"},
        {"key_prefix": "", "namespace": "a", "timeout": 0.5},
        {"client": dict, "tls_context": None},
    ],
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


#: Keys that count only where it is known who is signed in.
NEEDY = ("user_stamp", "user_index", "max_user_sessions", "revocation")


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in ACCEPTED.items() for value in values]
)
def test_accepted_values(key: str, value: Any) -> None:
    """A good value is kept, completed by nested defaults where there are any; lists as tuples."""
    needed = {"user_key": "user_id", "user_index": True} if key in NEEDY else {}
    kept = SessionConfig({"secret_key": SECRET, **needed, key: value})[key]
    if isinstance(value, dict):
        assert {name: as_tuple(each) for name, each in value.items()}.items() <= kept.items()
    else:
        assert as_tuple(value) == kept
        assert not isinstance(kept, list)


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple; everything else as it is."""
    return tuple(value) if isinstance(value, list) else value


MISSING = "is missing or empty"
UNICODE = "must be valid Unicode text or bytes, not {kind} with lone surrogates"
DICTIONARY = "must be a dictionary, not {kind}"
TEXT = "must be text, not {kind}"
FACTORY = "must be a factory class or its dotted name, not {kind}"
AGE = "must be a positive number of seconds or None, not {shown}"
SECONDS = "must be a positive number of seconds, not {shown}"
DIGESTS = "'sha1'{0}'sha256'{1}'sha512', not {{shown}}"
SERVER = 'must be "host:port" with a port up to 65535, "host" or "unix:/path"; an IPv6'

#: What the error names, values that are wrong there, and what it says.
REFUSED: list[tuple[str, list[Any], str]] = [
    ("secret_key", [None, "", b""], MISSING),
    ("secret_key", [5, ["s"]], "must be str or bytes, not {kind}"),
    ("secret_key", ["s\udcff"], UNICODE),
    (
        "secret_key_fallbacks",
        ["topsecret", b"topsecret"],
        "must be a list of keys, not {kind}; put a single key into a list",
    ),
    ("secret_key_fallbacks", [None, {"s"}], "must be a list or tuple of keys, not {kind}"),
    ("secret_key_fallbacks[1]", [None], "must be str or bytes, not {kind}"),
    ("secret_key_fallbacks[1]", ["", b""], "must not be empty; take it out of the list"),
    ("secret_key_fallbacks[0]", ["s\udcff"], UNICODE),
    ("digest", ["md5", None], f"must be {DIGESTS.format(' or ', ' or ')}"),
    ("digest_fallbacks", ["sha1", ["md5"]], f"a list of {DIGESTS.format(', ', ' and ')}"),
    ("cookie_name", [None, 5], TEXT),
    ("cookie_name", ["", "bad name", "path"], "cannot be sent"),
    (
        "session_max_age",
        ["3600", datetime.timedelta(1), 1j, float("nan"), Decimal("nan"), [60]],
        "must be a number of seconds or None, not {kind}",
    ),
    ("session_max_age", [0, -1, -0.5, Decimal(0), True, False], AGE),
    ("cookie_args", [None, [("path", "/")]], DICTIONARY),
    (
        "cookie_args['max_age']",
        [0, -1, "0", 0.9, True, datetime.timedelta(0)],
        "1 second at least, or None, not {shown}",
    ),
    ("cookie_args['max_age']", ["soon"], "{kind} is refused"),
    ("cookie_args['secure']", ["False"], "any text counts as True"),
    ("cookie_args['domain']", ["https://a.b"], "it is a URL"),
    ("cookie_args['path']", ["app"], "does not begin with '/'"),
    ("cookie_args['foo']", [1], "{kind} is refused"),
    ("cookie_args['samesite']", ["none"], "{kind} is refused"),
    ("former_cookie_args", [None, {"path": "/"}], "a list of dictionaries, not {kind}"),
    ("former_cookie_args[0]", ["/"], DICTIONARY),
    ("former_cookie_args[1]['path']", ["app"], "does not begin with '/'"),
    ("default_backend", [None], TEXT),
    ("default_backend", ["mongo"], "must be a keyword of 'backends' ('securecookie', "),
    ("renewal_grace", [-1, 301, None, True], "a number of seconds, 0 to 300, not {shown}"),
    ("on_unreadable", ["ignore"], "must be 'raise' or 'new', not {shown}"),
    ("user_key", [5, "", ["user"]], "a key of the session, a function of it, or a dictionary"),
    ("user_stamp", ["shop.users.stamp", 5], "must be a function, not {shown}"),
    ("on_sign_in", ["shop.users.tell"], "must be a function, not {shown}"),
    ("user_index", [1, "yes", None], "True or False"),
    ("max_user_sessions", [0, -1, True, 1.5], "a positive whole number or None, not {shown}"),
    ("revocation", ["memcache", True], "'redis' or 'datastore' or None, not {shown}"),
    ("revocation_cache", [0, True], "a positive number of seconds, not {shown}"),
    (
        "user_key['auth']",
        [None, 5, {"auth": "_user"}],
        "a key of the session, a function of it, or a dictionary",
    ),
    ("on_event", ["shop.metrics.count"], "must be a function, not {shown}"),
    ("backends", [None], DICTIONARY),
    ("backends['x']", [None, 5, "", "Factory", ".Factory"], FACTORY),
    (
        "max_cookie_size",
        [0, -1, 4e3, "4093"],
        "must be a positive number of bytes or None, not {shown}",
    ),
    ("vary", [0, 1, "no", " False"], "must be True or False, not {kind}"),
    ("memcache", ["10.0.0.1:11211", "unix:/run/memcached.sock", ["10.0.0.1"]], DICTIONARY),
    ("memcache['server']", ["x"], "known keys are servers, key_prefix, namespace"),
    (
        "memcache['servers']",
        ["host:1", None, "h", [], [""], [("h", 1)]],
        'must be a list of servers, each "host:port" or "unix:/path", not {kind}',
    ),
    ("memcache['servers']", [["a:1", "a:1"]], "names a server twice: ['a:1'"),
    (
        "memcache['servers'][1]",
        [
            *("127.0.0.1:abc", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:-1"),
            *("127.0.0.1: 1", "a b:1", "::1", "::1:11211", "tcp://127.0.0.1:1", "a:1,b:1", "[::1"),
            *("a:1\n", "a:\N{SUPERSCRIPT TWO}", "unix:", "user@host:1", ":11211"),
        ],
        SERVER,
    ),
    ("memcache['key_prefix']", [None, b"x"], TEXT),
    (
        "memcache['key_prefix']",
        ["a b", "é", "a\n", "k" * 151],
        "must be at most 150 printable ASCII characters without spaces, not {kind}",
    ),
    ("memcache['namespace']", [5], TEXT),
    ("memcache['timeout']", [0, -1.5, True, None, float("nan"), float("inf"), 1e11], SECONDS),
    ("memcache['tls_context']", [True], "an ssl.SSLContext or None, not {kind}"),
    ("memcache['client']", ["x"], "a client of pymemcache, a function that"),
    ("redis", ["redis://10.0.0.1", ["10.0.0.1"]], DICTIONARY),
    ("redis['uri']", ["redis://"], "known keys are url, key_prefix, namespace"),
    (
        "redis['url']",
        [None, "", "10.0.0.1:6379", "http://a", "redis://", "unix://"],
        "must be a URL: ",
    ),
    ("redis['key_prefix']", [None, b"x"], TEXT),
    ("redis['namespace']", [5], TEXT),
    ("redis['timeout']", [0, None, True], SECONDS),
    ("redis['tls_context']", [True], "an ssl.SSLContext or None, not {kind}"),
    ("redis['client']", ["x"], "a client of redis, a function that"),
    ("datastore", [[]], DICTIONARY),
    ("datastore['kind']", ["x"], "known keys are project, namespace, database"),
    ("datastore['project']", [5], TEXT),
    ("datastore['namespace']", [b"n"], TEXT),
    ("datastore['database']", [True], TEXT),
    ("datastore['timeout']", ["5"], SECONDS),
    ("datastore['cache']", ["mongo", True], "must be 'memcache' or 'redis' or None, not {shown}"),
    ("datastore['client']", ["x"], "a client of google-cloud-ndb, a function that"),
    ("on_oversize", ["mongo"], "'raise' or a keyword of 'backends', not 'mongo'"),
    ("on_damaged_cookie", ["x"], "must be 'ignore' or 'expire', not {shown}"),
    ("change_detection", ["x"], "must be 'flag' or 'content', not {shown}"),
    ("max_flashes", [0], "must be a positive whole number or None, not {shown}"),
    ("refresh_after", [0, "1h"], SECONDS),
    ("absolute_max_age", [-1], SECONDS),
    ("serializer", ["yaml", None], "must be 'pickle' or 'json', not {shown}"),
    ("serializer_fallbacks", ["pickle", ["xml"]], "a list of 'pickle' and 'json', not {shown}"),
    ("on_conflict", [True], "must be 'overwrite' or 'merge', not {shown}"),
    ("on_backend_error", ["ignore"], "must be 'raise' or 'degrade', not {shown}"),
]


def at(named: str, value: Any) -> dict[str, Any]:
    """Return a configuration with a value at the place that an error names."""
    key, *path = re.findall(r"\w+", named)
    before = {} if key == "former_cookie_args" else "a"
    for step in reversed(path):
        value = [before] * int(step) + [value] if step.isdigit() else {step: value}
    return {key: value}


@pytest.mark.parametrize(
    ("named", "value", "text"),
    [(named, value, text) for named, values, text in REFUSED for value in values],
)
def test_refused_values(named: str, value: Any, text: str) -> None:
    """The error names the key, the value's type, and what is allowed."""
    error = refusal(**at(named, value))
    assert named == error.key
    assert str(error).startswith(f"{named}: ")
    kind = type(value).__name__
    assert text.format(kind=kind, shown=f"{kind} {reprlib.repr(value)}") in str(error)


def test_name_that_needs_a_secure_cookie_is_refused_without_one() -> None:
    error = refusal(cookie_name="__Host-s")
    assert error.key == "cookie_args['secure']"
    assert "needs secure=True; the cookie is named" in str(error)


def test_each_key_has_accepted_and_refused_values() -> None:
    refused = {key for named, _, _ in REFUSED for key in at(named, None)}
    assert sorted(default_config) == sorted(ACCEPTED) == sorted(refused)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("secret_key", [["topsecret"], "topsecret\udcff", {"k": "topsecret"}]),
        (
            "secret_key_fallbacks",
            ["topsecret", b"topsecret", {"topsecret"}, ["topsecret\udcff"]],
        ),
    ],
    ids=["current", "older"],
)
def test_wrong_secret_is_not_shown(key: str, values: list[Any]) -> None:
    """It may be almost the right one."""
    for value in values:
        assert "topsecret" not in str(refusal(**{key: value}))


def test_a_large_value_is_shown_in_part() -> None:
    assert len(str(refusal(memcache={"key_prefix": "k" * 10_000}))) < 200


# Values that are not meant for this package

#: Under names that upstream ignores.
FOREIGN: dict[str, list[Any]] = {
    "datastore": ["DatastoreSessionFactory", True, None, BaseSessionFactory],
    "memcache": [True, "webapp2_extras.sessions_memcache.MemcacheSessionFactory", None],
    "redis": [True, "a_client", None],
    "vary": ["User-Agent", ["Cookie"], None],
    "max_flashes": ["all", True],
    "max_cookie_size": [{}, True],
    "on_oversize": [None, print],
    "on_damaged_cookie": [print],
    "change_detection": [True],
    "refresh_after": ["never", datetime.timedelta(hours=1)],
    "on_backend_error": [print],
    "on_unreadable": [{}],
    "on_event": [{}, "purchase", 5],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in FOREIGN.items() for value in values]
)
def test_what_cannot_be_meant_for_us_is_ignored_with_a_warning(key: str, value: Any) -> None:
    """An application that works with upstream continues to work."""
    found = checked(**{key: value})
    assert found[key] == checked()[key]
    assert list(found.ignored) == [key]
    kind = type(value).__name__
    assert f"holds {kind}, which cannot be meant for this package" in found.ignored[key]
    assert saved_headers(opened(make_store(**{key: value})))


def opened(store: SessionStore) -> SessionStore:
    """Modify the session of a store and return the store."""
    store.get_session()["a"] = 1
    return store


#: Keys that security depends on, which must not be ignored silently.
DECISIVE = [
    *("secret_key", "secret_key_fallbacks", "digest", "digest_fallbacks", "absolute_max_age"),
    *("renewal_grace", "serializer", "serializer_fallbacks", "on_conflict", "default_backend"),
    *("user_key", "user_stamp", "user_index", "max_user_sessions", "on_sign_in"),
    *("revocation", "revocation_cache"),
    *("former_cookie_args", "cookie_name", "session_max_age", "cookie_args", "backends"),
]


@pytest.mark.parametrize("key", DECISIVE)
def test_nothing_that_security_depends_on_is_ignored(key: str) -> None:
    """Wrong values of these keys, and of upstream's, always raise."""
    assert refusal(**{key: object()}).key == key


def test_each_key_is_in_one_of_the_two_lists() -> None:
    assert sorted(default_config) == sorted([*DECISIVE, *FOREIGN])


def test_an_unchecked_configuration_may_be_foreign() -> None:
    """A custom store has a configuration that was not validated."""
    assert config.memcache_settings({"memcache": True}) == config.MEMCACHE_DEFAULTS
    assert config.datastore_settings({"datastore": "x"}) == config.DATASTORE_DEFAULTS


@pytest.mark.parametrize(
    "url",
    ["redis://shop:jxqk@10.0.0.1/0", "redis://10.0.0.1/0?password=jxqk", "unix:///a?password=jxqk"],
)
@pytest.mark.parametrize("shown", [repr, str, pprint.pformat, "{}".format, "%r".__mod__])
def test_secrets_are_not_shown(shown: Any, url: str) -> None:
    """Tracebacks may show local variables, and logs their arguments."""
    keys = {"secret_key": "qwzx", "secret_key_fallbacks": [b"vkjq"]}
    found = SessionConfig({**keys, "mine": 7, "redis": {"url": url}})
    for value in (found, {"webapp2_extras.sessions": found}, [found]):
        text = shown((value,) if shown == "%r".__mod__ else value)
        assert [each for each in ("qwzx", "vkjq", "jxqk") if each in text] == []
        assert "'mine': 7" in text
        assert "'secret_key': '<hidden>'" in text


def test_the_configuration_of_an_application_is_not_shown() -> None:
    """webapp2's dictionary contains the validated configuration."""
    app = make_app(secret_key="qwzx")
    SessionStore(make_request(app))
    assert "qwzx" not in repr(app.config)


def test_a_configuration_that_holds_itself_is_shown() -> None:
    found = checked()
    found["me"] = found
    assert "'me': {...}" in repr(found)


def test_a_missing_secret_says_how_to_make_one() -> None:
    assert str(refusal(secret_key=None)) == (
        "secret_key: is missing or empty in config['webapp2_extras.sessions']; make one with "
        "'webapp2-sessions keygen' and keep it out of the source code"
    )


@pytest.mark.parametrize(
    ("app_config", "text"),
    [
        (None, MISSING),
        ({KEY: {}}, MISSING),
        ({KEY: {"secret_key": None}}, MISSING),
        ({KEY: {"secret_key": ""}}, MISSING),
        ({KEY: {"secret_key": SECRET, "vary": "no"}}, "vary"),
        ({KEY: {"secret_key": SECRET, "cookie_args": {"foo": 1}}}, "foo"),
    ],
)
def test_every_request_with_a_wrong_configuration_is_refused(app_config: Any, text: str) -> None:
    """Not only the first request of an application."""
    app = webapp2.WSGIApplication(config=app_config)
    for _ in range(3):
        with pytest.raises(ConfigError, match=text):
            SessionStore(make_request(app))


def test_a_subclass_may_have_another_key_which_errors_name() -> None:
    class MyStore(SessionStore):
        config_key = "my.sessions"

    app = webapp2.WSGIApplication(config={"my.sessions": {"secret_key": "s", "cookie_name": "c"}})
    assert MyStore(make_request(app)).config["cookie_name"] == "c"
    app = webapp2.WSGIApplication()
    for values in ({}, {"cookie_name": "c"}):
        with pytest.raises(ConfigError, match=r"empty in config\['my.sessions'\]; make"):
            MyStore(make_request(app), config=values)


# Merging


def test_backends_are_added_to_the_defaults_or_replace_them() -> None:
    given = {"mine": BaseSessionFactory, "memcache": BaseSessionFactory}
    backends = checked(backends=given)["backends"]
    assert list(backends) == [*config.default_config["backends"], "mine"]
    assert backends["memcache"] is BaseSessionFactory


def test_a_subclass_of_upstreams_class_stays() -> None:
    class Own(upstream.SecureCookieSessionFactory):
        pass

    assert checked(backends={"mine": Own})["backends"]["mine"] is Own


def test_nested_keys_that_are_not_given_have_their_defaults() -> None:
    expected = {**config.MEMCACHE_DEFAULTS, "timeout": 9}
    assert expected == checked(memcache={"timeout": 9})["memcache"]


def test_values_for_one_store_come_before_the_applications_and_are_for_that_store() -> None:
    app = make_app(cookie_name="app", vary=False)
    stores = [
        SessionStore(make_request(app), config) for config in ({"cookie_name": "store"}, None)
    ]
    assert [store.config["cookie_name"] for store in stores] == ["store", "app"]
    assert [store.config["vary"] for store in stores] == [False, False]


@pytest.mark.parametrize(
    "values", [{"vary": "no"}, *({"secret_key": key} for key in ("", b"", None))]
)
def test_values_for_one_store_are_checked(values: dict[str, Any]) -> None:
    """The application's secret is no fallback; the error says where the wrong one was given."""
    with pytest.raises(ConfigError) as refused:
        SessionStore(make_request(), config=values)
    assert [refused.value.key] == [*values]
    if "secret_key" in values:
        assert f"{MISSING} in SessionStore(request, config=...); make" in str(refused.value)


def test_stores_of_an_application_share_the_configuration() -> None:
    app = make_app()
    assert SessionStore(make_request(app)).config is SessionStore(make_request(app)).config


def test_a_configuration_may_be_changed_or_replaced_later() -> None:
    """Tests of applications exchange `app.config[...]` between requests."""
    app = make_app(cookie_name="before")
    SessionStore(make_request(app))
    app.config[KEY]["cookie_name"] = "changed"
    assert SessionStore(make_request(app)).config["cookie_name"] == "changed"
    app.config[KEY] = {"secret_key": "s", "cookie_name": "after"}
    store = SessionStore(make_request(app))
    assert (store.config["cookie_name"], store.config["vary"]) == ("after", True)


def test_cookie_arguments_are_tried_on_the_applications_response() -> None:
    app = make_app(cookie_args={"priority": "high"})
    with pytest.raises(ConfigError, match="priority"):
        SessionStore(make_request(app))
    app.response_class = PriorityResponse
    assert SessionStore(make_request(app)).config["cookie_args"] == {"priority": "high"}


# Isolation of dictionaries


def test_neither_defaults_nor_the_applications_dictionaries_are_written_to() -> None:
    values = {
        "cookie_args": {"path": "/"},
        "backends": {"y": "webapp2_sessions.sessions.SecureCookieSessionFactory"},
        "memcache": {"timeout": 2},
        "datastore": {},
    }
    for given in ({}, values):
        before = copy.deepcopy((given, default_config))
        store = opened(make_store(**given))
        store.get_session().container.session_args["max_age"] = 60
        store.config["cookie_args"]["domain"] = ".example.com"
        store.config["backends"]["x"] = BaseSessionFactory
        store.config["memcache"]["timeout"] = 9
        saved_headers(store)
        assert before == (given, default_config)


def test_changed_defaults_take_effect_in_applications_that_load_later() -> None:
    """Applications change `default_config` when they are imported."""
    app = make_app()
    SessionStore(make_request(app))
    default_config["cookie_name"] = "changed"
    default_config["cookie_args"]["httponly"] = True
    default_config["backends"]["x"] = BaseSessionFactory
    before, after = SessionStore(make_request(app)).config, make_store().config
    assert (before["cookie_name"], after["cookie_name"]) == ("session", "changed")
    assert (before["cookie_args"]["httponly"], after["cookie_args"]["httponly"]) == (False, True)
    assert ("x" in before["backends"], after["backends"]["x"]) == (False, BaseSessionFactory)


def test_a_default_secret_is_enough() -> None:
    default_config["secret_key"] = "s"
    app = webapp2.WSGIApplication()
    assert SessionStore(make_request(app)).config["secret_key"] == "s"


def test_changed_defaults_are_checked() -> None:
    """As an application's configuration is; what cannot be meant for us is ignored."""
    default_config["datastore"] = "DatastoreSessionFactory"
    assert checked()["datastore"] == config.DATASTORE_DEFAULTS
    default_config["vary"] = "no"
    with pytest.raises(ConfigError, match="vary"):
        make_store()


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
    """They contain the secrets, hidden or not."""
    original = checked(secret_key_fallbacks=["older"])
    other = copied(original)
    assert (type(other), other) == (SessionConfig, original)
    assert (other["secret_key"], other["secret_key_fallbacks"]) == (SECRET, ("older",))
    other["cookie_name"] = "another"
    assert original["cookie_name"] == "session"
