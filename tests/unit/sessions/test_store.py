"""SessionStore gives out the sessions of a request and saves them to its response."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import webapp2
import webob
import webob.exc
from support.implementations import Clock, stopped_clock
from support.stores import (
    NOW,
    make_request,
    make_store,
    saved_headers,
    sign,
    sign_payload,
    sign_with,
)
from support.visits import SECRET, make_app

from webapp2_sessions import (
    BaseSessionFactory,
    ConfigError,
    SecureCookieSerializer,
    SecureCookieSessionFactory,
    SessionDict,
    SessionStore,
    get_store,
    sessions,
    set_store,
)
from webapp2_sessions.config import SAVER_KEY
from webapp2_sessions.errors import MissingDependency, SessionError, UnknownBackend
from webapp2_sessions.securecookie.cookie_data import OpenCookie

KEY = "webapp2_extras.sessions"


class Recorder(BaseSessionFactory):
    """A factory that writes down how it is called."""

    calls: list[tuple[Any, ...]]

    def get_session(self, max_age: Any = "not given") -> SessionDict:
        self.calls.append(("get", self.name, max_age))
        if self.session is None:
            self.session = SessionDict(self)
        return self.session

    def save_session(self, response: Any) -> None:
        self.calls.append(("save", self.name))


@pytest.fixture
def recorder() -> type[Recorder]:
    """A factory of the test's own."""

    class Own(Recorder):
        calls = []  # noqa: RUF012

    return Own


def fixed(store: SessionStore, now: int = NOW) -> SessionStore:
    """The store with a clock that stands."""
    store.serializer._get_timestamp = lambda: now
    return store


# The store


@pytest.mark.parametrize("environ", [None, {}, {SAVER_KEY: None}])
def test_without_middleware_nobody_saves_in_its_stead(environ: Any, recorder: Any) -> None:
    """A request need not have an environ."""
    store = make_store()
    store.get_session(factory=recorder)
    store.request = SimpleNamespace(environ=environ)
    store.save_sessions(webapp2.Response())
    store.request = object()
    store.save_sessions(webapp2.Response())
    assert [call[0] for call in recorder.calls] == ["get", "save", "save"]


def test_unchanged_strings() -> None:
    """Where webapp2_extras.auth and configurations of upstream look."""
    assert SessionStore.config_key == KEY
    assert sessions._registry_key == "webapp2_extras.sessions.SessionStore"


def test_a_new_store_has_no_sessions() -> None:
    """Sessions are opened when they are asked for."""
    request = make_request()
    store = SessionStore(request)
    assert (store.request, store.sessions) == (request, {})


def test_the_serializer_has_the_secret() -> None:
    """Cookies are signed with `secret_key`."""
    assert make_store(secret_key="clé").serializer.secret_key == "clé".encode()


def test_the_serializer_has_what_is_configured() -> None:
    """Older keys and hash functions reach it; without any they are upstream's."""

    def made(**config: Any) -> tuple[Any, ...]:
        serializer = make_store(**config).serializer
        return serializer.fallbacks, serializer.digest, serializer.digest_fallbacks

    configured = {
        "secret_key_fallbacks": ["clé", b"k"],
        "digest": "sha512",
        "digest_fallbacks": ["sha1", "sha256"],
    }
    assert made() == ((), "sha1", ())
    assert made(**configured) == (("clé".encode(), b"k"), "sha512", ("sha1", "sha256"))


def test_the_serializer_is_made_once() -> None:
    """A request signs and checks with one."""
    store = make_store()
    assert store.serializer is store.serializer


def test_the_serializer_may_be_replaced() -> None:
    """Applications and tests assign one of their own."""
    store = make_store()
    store.serializer = SecureCookieSerializer("other")
    fixed(store).get_session()["a"] = 1
    expected = f"session={sign('session', {'a': 1}, secret='other')}; Path=/"
    assert saved_headers(store) == [expected]


# Backends


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        ("securecookie", "webapp2_sessions.sessions.cookie.SecureCookieSessionFactory"),
        ("memcache", "webapp2_sessions.sessions_memcache.factory.MemcacheSessionFactory"),
        ("datastore", "webapp2_sessions.sessions_ndb.factory.DatastoreSessionFactory"),
    ],
)
def test_built_in_backends(keyword: str, expected: str) -> None:
    """Upstream's keywords are our factories."""
    backend = make_store().get_backend(keyword)
    assert f"{backend.__module__}.{backend.__qualname__}" == expected


@pytest.mark.parametrize(
    ("dotted", "expected"),
    [
        (
            "webapp2_extras.sessions.SecureCookieSessionFactory",
            "webapp2_sessions.sessions.cookie.SecureCookieSessionFactory",
        ),
        (
            "webapp2_extras.appengine.sessions_memcache.MemcacheSessionFactory",
            "webapp2_sessions.sessions_memcache.factory.MemcacheSessionFactory",
        ),
        (
            "webapp2_extras.appengine.sessions_ndb.DatastoreSessionFactory",
            "webapp2_sessions.sessions_ndb.factory.DatastoreSessionFactory",
        ),
        (
            "webapp2_extras.sessions_memcache.MemcacheSessionFactory",
            "webapp2_sessions.sessions_memcache.factory.MemcacheSessionFactory",
        ),
        (
            "webapp2_extras.sessions_ndb.DatastoreSessionFactory",
            "webapp2_sessions.sessions_ndb.factory.DatastoreSessionFactory",
        ),
        (
            "webapp2_sessions.sessions_ndb.DatastoreSessionFactory",
            "webapp2_sessions.sessions_ndb.factory.DatastoreSessionFactory",
        ),
        ("collections.OrderedDict", "collections.OrderedDict"),
    ],
)
def test_dotted_names(dotted: str, expected: str) -> None:
    """Names of upstream's classes, old and new, stand for ours; others for themselves."""
    backend = make_store(backends={"x": dotted}).get_backend("x")
    assert f"{backend.__module__}.{backend.__qualname__}" == expected


def test_a_backend_may_be_a_class(recorder: type[Recorder]) -> None:
    """It needs no import."""
    assert make_store(backends={"x": recorder}).get_backend("x") is recorder


def test_a_backend_added_to_a_store_is_known() -> None:
    """Applications put factories into `store.config["backends"]`."""
    store = make_store()
    store.config["backends"]["x"] = Recorder
    assert store.get_backend("x") is Recorder


@pytest.mark.parametrize("base", [UnknownBackend, KeyError, ConfigError, ValueError, SessionError])
def test_an_unknown_backend_is_an_error_of_all_these_kinds(base: type[Exception]) -> None:
    """Upstream raises KeyError, and it is wrong configuration."""
    with pytest.raises(base, match="'x' is unknown"):
        make_store().get_session(backend="x")


def test_an_unknown_backend_is_answered_with_the_known_ones() -> None:
    """A misspelt keyword is seen at once."""
    with pytest.raises(UnknownBackend) as refused:
        make_store(backends={"mine": Recorder}).get_backend("secure")
    assert str(refused.value) == (
        "backend: 'secure' is unknown; known are 'securecookie', 'encryptedcookie', 'datastore', "
        "'memcache', 'mine'"
    )


@pytest.mark.parametrize(
    "dotted",
    [
        "no_such_module_at_all.Factory",
        "webapp2_sessions.no_such_module.Factory",
        "webapp2_sessions.sessions.NoSuchFactory",
        "webapp2_extras.sessions.NoSuchFactory",
        "webapp2_extras.sessions.NoSuchClass.Factory",
        "webapp2_sessions..Factory",
    ],
)
def test_a_name_that_cannot_be_imported(dotted: str) -> None:
    """The error is webapp2's, as upstream, and holds the name as it is configured."""
    with pytest.raises(webapp2.ImportStringError) as refused:
        make_store(backends={"x": dotted}).get_backend("x")
    assert refused.value.import_name == dotted


def test_a_module_that_fails_to_import_tells_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The original error is kept."""
    (tmp_path / "backend_that_fails.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(webapp2.ImportStringError, match="no_such_library") as refused:
        make_store(backends={"x": "backend_that_fails.Factory"}).get_backend("x")
    assert isinstance(refused.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("backend", "library", "distribution"),
    [
        ("memcache", "pymemcache.client.base", "pymemcache"),
        ("datastore", "google.cloud", "google-cloud-ndb"),
    ],
)
def test_a_missing_library_is_named(
    backend: str, library: str, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which extra to install, and is not wrapped."""
    wings = ("webapp2_sessions.sessions_memcache", "webapp2_sessions.sessions_ndb")
    for module in [name for name in sys.modules if name.startswith(wings)]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependency) as refused:
        make_store().get_backend(backend)
    assert str(refused.value) == (
        f"{distribution} is not installed; the {backend} backend needs it: "
        f"pip install 'webapp2_sessions[{backend}]'"
    )


def test_a_backend_that_is_there_is_not_imported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of an import would stay locked in a process that is forked meanwhile."""
    made = make_store().get_backend("memcache")

    def import_module(name: str) -> Any:
        raise AssertionError(name)

    monkeypatch.setattr("importlib.import_module", import_module)
    assert make_store().get_backend("memcache") is made


# get_session


def test_the_default_name_is_configured() -> None:
    """A session without a name is the one of `cookie_name`."""
    store = make_store(cookie_name="mine")
    assert store.get_session().container.name == "mine"


@pytest.mark.parametrize("name", [None, "", b""])
def test_a_falsy_name_is_the_default(name: Any) -> None:
    """As upstream."""
    store = make_store()
    assert store.get_session(name) is store.get_session("session")


@pytest.mark.parametrize("name", ["bad name", "path", "$x", "é", "a;b", b"bad name"])
def test_a_name_that_cannot_be_sent_is_refused_at_once(name: Any) -> None:
    """Not when the session is saved."""
    store = make_store()
    with pytest.raises(ConfigError, match="cannot be sent"):
        store.get_session(name)
    assert store.sessions == {}


def test_a_session_is_one_object_within_a_request() -> None:
    """Everybody in the request changes the same."""
    store = make_store()
    assert store.get_session("a") is store.get_session("a")
    assert store.get_session("a") is not store.get_session("b")


def test_the_first_factory_of_a_name_wins(recorder: type[Recorder]) -> None:
    """Another backend for an open session is not used, as upstream."""
    store = make_store(backends={"x": recorder})
    first = store.get_session()
    assert store.get_session(backend="x") is first
    assert recorder.calls == []


def test_a_factory_goes_before_a_backend(recorder: type[Recorder]) -> None:
    """The keyword is not even looked up."""
    session = make_store().get_session(factory=recorder, backend="no such keyword")
    assert type(session.container) is recorder


def test_a_factory_may_be_any_callable() -> None:
    """It is called with the name and the store."""
    calls = []

    def factory(*args: Any, **kwargs: Any) -> SecureCookieSessionFactory:
        calls.append((args, kwargs))
        return SecureCookieSessionFactory(*args, **kwargs)

    store = make_store()
    store.get_session("s", factory=factory)
    assert calls == [(("s", store), {})]


@pytest.mark.parametrize(
    ("configured", "given", "expected"),
    [
        (None, {}, None),
        (60, {}, 60),
        (60, {"max_age": 30}, 30),
        (60, {"max_age": None}, None),
        (None, {"max_age": 0}, 0),
    ],
)
def test_the_factory_gets_the_age(
    configured: Any, given: dict[str, Any], expected: Any, recorder: type[Recorder]
) -> None:
    """What is given goes before what is configured, also None."""
    make_store(session_max_age=configured).get_session("s", factory=recorder, **given)
    assert recorder.calls == [("get", "s", expected)]


@pytest.mark.parametrize("max_age", ["3600", timedelta(hours=1), [], object(), float("nan")])
@pytest.mark.parametrize(
    "ask", [SessionStore.get_session, SessionStore.get_secure_cookie], ids=lambda ask: ask.__name__
)
def test_an_age_that_is_no_number_is_refused_at_once(ask: Callable[..., Any], max_age: Any) -> None:
    """On the first visit already, and not once a visitor comes back."""
    with pytest.raises(ConfigError) as refused:
        ask(make_store(), "session", max_age=max_age)
    assert refused.value.key == "max_age"


@pytest.mark.parametrize(("max_age", "new"), [(60, False), (59, True), (None, False)])
def test_an_age_is_enforced(max_age: int | None, new: bool) -> None:
    """The cookie's timestamp counts."""
    store = fixed(make_store("session=" + sign("session", {"a": 1}, NOW - 60)))
    assert store.get_session(max_age=max_age).new is new


def test_the_first_age_of_a_name_wins() -> None:
    """A stricter age for an open session is not used, as upstream."""
    store = fixed(make_store("session=" + sign("session", {"a": 1}, NOW - 60)))
    store.get_session()
    assert store.get_session(max_age=1) == {"a": 1}


# Signed cookies of the request


def test_get_secure_cookie() -> None:
    """Whatever was signed comes back."""
    assert make_store("s=" + sign("s", ["a", 1])).get_secure_cookie("s") == ["a", 1]


@pytest.mark.parametrize("cookie", [None, "s=", "s=x", "s=" + sign("other", 1), "other=1"])
def test_no_valid_cookie_is_none(cookie: str | None) -> None:
    """Missing, malformed and forged cookies are alike."""
    assert make_store(cookie).get_secure_cookie("s") is None


@pytest.mark.parametrize("name", ["path", "bad name", "", None, 5])
def test_a_name_that_no_cookie_has_is_none(name: Any) -> None:
    """Asking does not raise, as upstream."""
    assert make_store("session=x; path=y").get_secure_cookie(name) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"n": 1}, {"n": 2}, {"n": 2}),
        ({"n": 1}, None, {"n": 1}),
        (None, {"n": 2}, {"n": 2}),
        (None, None, None),
    ],
)
def test_of_several_cookies_the_last_valid_one_counts(
    first: Any, second: Any, expected: Any
) -> None:
    """One that another application of the domain sets cannot displace ours."""
    values = [sign("s", value) if value else "tossed|1|0" for value in (first, second)]
    store = make_store("; ".join(f"s={value}" for value in values))
    assert store.get_secure_cookie("s") == expected


def test_an_expired_cookie_does_not_hide_a_valid_one() -> None:
    """An old cookie of another path or domain may come last."""
    cookies = [sign("s", {"n": 1}, NOW - 10), sign("s", {"n": 2}, NOW - 100)]
    store = fixed(make_store("; ".join(f"s={value}" for value in cookies)))
    assert store.get_secure_cookie("s", max_age=60) == {"n": 1}


@pytest.mark.parametrize("header", ["x=\\377", 'x="\xff"', 'x="a\\303b"', "=" * 100, "a" * 100_000])
def test_no_cookie_header_raises(header: str) -> None:
    """A visitor's bytes open a new session, and hide no valid one beside them."""
    assert make_store(header).get_session().new is True
    assert make_store(f"{header}; s={sign('s', 1)}").get_secure_cookie("s") == 1


def test_the_configured_age_counts_by_default() -> None:
    """`session_max_age` is for signed cookies as well."""
    cookie = "s=" + sign("s", 1, NOW - 60)
    assert fixed(make_store(cookie, session_max_age=59)).get_secure_cookie("s") is None
    assert fixed(make_store(cookie, session_max_age=59)).get_secure_cookie("s", max_age=60) == 1


@pytest.mark.parametrize(
    "value",
    ["dG9wc2VjcmV0|1|0", sign("s", "topsecret", 1), sign("s", "topsecret", secret="x")],
    ids=["broken", "expired", "forged"],
)
def test_values_never_reach_the_log(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """Forged, expired and broken cookies are logged without their contents."""
    caplog.set_level(logging.DEBUG)
    store = make_store(f"s={value}")
    assert store.get_secure_cookie("s", max_age=60) is None
    assert len(caplog.records) == 1
    parts = (*value.split("|"), "topsecret")
    assert [part for part in parts if len(part) > 1 and part in caplog.text] == []


# set_secure_cookie


def test_set_secure_cookie_sets_a_cookie() -> None:
    """It is sent when the sessions are saved, with its own arguments."""
    store = fixed(make_store())
    store.set_secure_cookie("s", {"a": 1}, max_age=None, httponly=True)
    assert saved_headers(store) == [f"s={sign('s', {'a': 1})}; Path=/; HttpOnly"]


def test_set_secure_cookie_merges() -> None:
    """What the visitor's cookie holds stays, as upstream."""
    store = make_store("s=" + sign("s", {"a": 1, "b": 2}))
    store.set_secure_cookie("s", {"b": 3})
    assert store.get_session("s") == {"a": 1, "b": 3}


def test_set_secure_cookie_is_not_seen_before_the_next_request() -> None:
    """`get_secure_cookie()` reads the request, as upstream."""
    store = make_store("s=" + sign("s", {"a": 1}))
    store.set_secure_cookie("s", {"a": 2})
    assert store.get_secure_cookie("s") == {"a": 1}


def test_set_secure_cookie_uses_the_session_that_is_open(recorder: type[Recorder]) -> None:
    """A session of that name is updated, whatever its backend, as upstream."""
    store = make_store()
    session = store.get_session("s", factory=recorder)
    store.set_secure_cookie("s", {"a": 1})
    assert (session, session.modified) == ({"a": 1}, True)


def test_arguments_of_set_secure_cookie_stay() -> None:
    """They are the session's for the rest of the request, as upstream."""
    store = make_store()
    store.set_secure_cookie("s", {"a": 1}, httponly=True)
    store.set_secure_cookie("s", {"a": 2})
    assert store.sessions["s"].session_args["httponly"] is True


@pytest.mark.parametrize("value", [None, [("a", 1)], "text", 5])
def test_set_secure_cookie_takes_dictionaries_only(value: Any) -> None:
    """The error names the type, also under `python -O`."""
    store = make_store()
    with pytest.raises(TypeError, match=f"must be a dict, not {type(value).__name__}"):
        store.set_secure_cookie("s", value)
    assert store.sessions == {}


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"foo": 1}, "set_secure_cookie()['foo']"),
        ({"samesite": "none"}, "set_secure_cookie()['samesite']"),
        ({"max_age": "soon"}, "set_secure_cookie()['max_age']"),
    ],
)
def test_set_secure_cookie_refuses_arguments_at_once(args: dict[str, Any], named: str) -> None:
    """Nothing of the call remains in the session."""
    store = make_store()
    with pytest.raises(ConfigError) as refused:
        store.set_secure_cookie("s", {"a": 1}, **args)
    assert refused.value.key == named
    assert store.get_session("s") == {}
    assert saved_headers(store) == []


def test_set_secure_cookie_tries_new_arguments_with_the_configured_ones() -> None:
    """`samesite="none"` is good where `secure` is configured."""
    store = make_store(cookie_args={"secure": True})
    store.set_secure_cookie("s", {"a": 1}, samesite="none")
    assert store.sessions["s"].session_args == {"secure": True, "samesite": "none"}


def test_set_secure_cookie_tries_arguments_on_the_applications_response() -> None:
    """A response class of the application's own may take more."""

    class Response(webapp2.Response):
        def set_cookie(self, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
            webob.Response.set_cookie(self, *args, **kwargs)

    app = make_app()
    app.response_class = Response
    store = SessionStore(make_request(app))
    store.set_secure_cookie("s", {"a": 1}, priority="high")
    assert store.sessions["s"].session_args["priority"] == "high"


def test_set_secure_cookie_refuses_a_name_at_once() -> None:
    """Not when the session is saved."""
    with pytest.raises(ConfigError, match="cannot be sent"):
        make_store().set_secure_cookie("bad name", {"a": 1})


# save_sessions


def test_headers_come_in_the_order_of_opening() -> None:
    """Not in that of changing."""
    store = fixed(make_store())
    first, second = store.get_session("z"), store.get_session("a")
    second["n"] = 2
    first["n"] = 1
    assert [header.partition("=")[0] for header in saved_headers(store)] == ["z", "a"]


def test_nothing_is_written_for_sessions_that_were_not_modified() -> None:
    """A request that reads sends no cookie."""
    store = make_store("a=" + sign("a", {"n": 1}))
    store.get_session("a")
    store.get_session("b")
    assert saved_headers(store) == []


def test_saving_twice_sends_twice() -> None:
    """`modified` stays, as upstream."""
    store = make_store()
    store.get_session()["a"] = 1
    assert len(saved_headers(store)) == 1
    assert len(saved_headers(store)) == 1


def test_a_value_that_json_refuses_raises() -> None:
    """The handler learns of it."""
    store = make_store()
    store.get_session()["a"] = {1}
    with pytest.raises(TypeError, match=r"session\['a'\] \(set\)"):
        saved_headers(store)


def test_a_factory_may_open_a_session_while_it_saves(recorder: type[Recorder]) -> None:
    """The new one is saved as well, once, and after those that were open."""

    class Opening(recorder):
        def save_session(self, response: Any) -> None:
            super().save_session(response)
            if self.name != "third":
                self.session_store.get_session("third", factory=type(self))

    store = make_store()
    store.get_session("first", factory=Opening)
    store.get_session("second", factory=Opening)
    saved_headers(store)
    saved = [name for call, name, *_ in recorder.calls if call == "save"]
    assert saved == ["first", "second", "third"]


def test_sessions_may_open_one_another_in_a_row(recorder: type[Recorder]) -> None:
    """However deep."""

    class Opening(recorder):
        def save_session(self, response: Any) -> None:
            super().save_session(response)
            if self.name != "xxx":
                self.session_store.get_session(self.name + "x", factory=type(self))

    store = make_store()
    store.get_session("x", factory=Opening)
    saved_headers(store)
    saved = [name for call, name, *_ in recorder.calls if call == "save"]
    assert saved == ["x", "xx", "xxx"]


def test_a_factory_may_take_itself_out_while_it_saves(recorder: type[Recorder]) -> None:
    """The others are saved all the same."""

    class Leaving(recorder):
        def save_session(self, response: Any) -> None:
            super().save_session(response)
            del self.session_store.sessions[self.name]

    store = make_store()
    store.get_session("first", factory=Leaving)
    store.get_session("second", factory=Leaving)
    saved_headers(store)
    assert [name for call, name, *_ in recorder.calls if call == "save"] == ["first", "second"]


@pytest.mark.parametrize(
    "response", [webob.Response(), webob.exc.HTTPFound(location="/x")], ids=["webob", "redirect"]
)
def test_any_response_of_webob_takes_the_cookies(response: webob.Response) -> None:
    """Also one that is raised, and not webapp2's."""
    store = fixed(make_store())
    store.get_session()["a"] = 1
    store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == [f"session={sign('session', {'a': 1})}; Path=/"]


def test_a_response_may_have_another_way_to_set_cookies() -> None:
    """It gets the name, the signed value and the cookie arguments as they are configured."""

    class Response(webapp2.Response):
        def set_cookie(self, name: str, value: Any, **kwargs: Any) -> None:
            self.taken = (name, value, kwargs)

    app = make_app(cookie_args={"path": "/a", "priority": "high"})
    app.response_class = Response
    store = fixed(SessionStore(make_request(app)))
    store.get_session()["a"] = 1
    response = Response()
    store.save_sessions(response)
    expected = ("session", sign("session", {"a": 1}).encode(), {"path": "/a", "priority": "high"})
    assert response.taken == expected


class PlainResponse:
    """The least that a response needs."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def set_cookie(self, name: str, value: Any, **kwargs: Any) -> None:
        self.taken.append(name)


class ResponseWithDictionary(PlainResponse):
    """A stand-in with headers that are not WebOb's."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: dict[str, str] = {}
        self.headerlist: list[Any] = []


@pytest.mark.parametrize("response_class", [PlainResponse, ResponseWithDictionary])
def test_any_object_with_set_cookie_is_a_response(response_class: Any) -> None:
    """Stand-ins in applications' tests keep working."""
    store = make_store()
    store.get_session()["a"] = 1
    response = response_class()
    store.save_sessions(response)
    assert response.taken == ["session"]


@pytest.mark.parametrize("response_class", [mock.Mock, mock.MagicMock])
def test_a_mock_is_a_response(response_class: Any) -> None:
    """So do mocks."""
    store = fixed(make_store())
    store.get_session()["a"] = 1
    response = response_class()
    store.save_sessions(response)
    value = sign("session", {"a": 1}).encode()
    args = {"max_age": None, "domain": None, "path": "/", "secure": None, "httponly": False}
    response.set_cookie.assert_called_once_with("session", value, **args)


@pytest.mark.parametrize("opened", [True, False])
def test_any_object_with_cookies_and_app_is_a_request(opened: bool) -> None:
    """A stand-in for a request needs no environ."""
    jar = {"session": sign("session", {"a": 1})} if opened else {}
    request = SimpleNamespace(app=make_app(), cookies=jar)
    assert SessionStore(request).get_session() == ({"a": 1} if opened else {})


def test_any_object_with_config_is_an_application() -> None:
    """A stand-in for an application needs no response class."""
    app = SimpleNamespace(config=webapp2.Config({KEY: {"secret_key": SECRET}}))
    request = SimpleNamespace(app=app, cookies={})
    assert SessionStore(request).get_session().new is True


class OwnStore(SessionStore):
    """A store with another constructor, and a configuration of its own making."""

    def __init__(self, cookie_args: dict[str, Any]) -> None:
        self.request = make_request()
        self.sessions = {}
        self.config = {"secret_key": SECRET, "cookie_name": "own", "cookie_args": cookie_args}
        self.config |= {"session_max_age": None, "backends": {"x": SecureCookieSessionFactory}}


def test_a_subclass_may_have_another_constructor() -> None:
    """Upstream's configuration keys are enough."""
    store = fixed(OwnStore({"path": "/own"}))
    store.get_session(backend="x")["a"] = 1
    assert saved_headers(store) == [f"own={sign('own', {'a': 1})}; Path=/own"]


# Vary


def vary(store: SessionStore, *lines: str) -> list[str]:
    """The Vary headers after saving to a response that has these."""
    response = webapp2.Response()
    response.headerlist.extend(("Vary", line) for line in lines)
    store.save_sessions(response)
    return list(response.headers.getall("Vary"))


@pytest.mark.parametrize("modified", [True, False])
def test_a_response_that_depends_on_a_session_says_so(modified: bool) -> None:
    """Also where the session was only read."""
    store = make_store()
    store.get_session().modified = modified
    assert vary(store) == ["Cookie"]


def test_a_response_without_sessions_says_nothing() -> None:
    """A page that opens no session may be shared by all visitors."""
    assert vary(make_store("session=x")) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Accept-Encoding"], ["Accept-Encoding, Cookie"]),
        (["Accept", "Accept-Encoding"], ["Accept, Accept-Encoding, Cookie"]),
        (["cookie"], ["cookie"]),
        (["*"], ["*"]),
    ],
)
def test_other_fields_of_vary_stay(lines: list[str], expected: list[str]) -> None:
    """The header may have been set before, on one line or on several."""
    store = make_store()
    store.get_session()
    assert vary(store, *lines) == expected


def test_saving_twice_adds_one_vary() -> None:
    """It is there already."""
    store = make_store()
    store.get_session()
    response = webapp2.Response()
    store.save_sessions(response)
    store.save_sessions(response)
    assert response.headers.getall("Vary") == ["Cookie"]


def test_vary_can_be_switched_off() -> None:
    """`vary: False` leaves the headers as upstream does."""
    store = make_store(vary=False)
    store.get_session()["a"] = 1
    assert vary(store, "Accept") == ["Accept"]


# Large sessions


def test_a_cookie_that_browsers_drop_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The warning names the session, its size and its largest keys, and no value."""
    store = make_store()
    store.get_session("s").update(small="x", large="TOPSECRET" * 500)
    [header] = saved_headers(store)
    [message] = caplog.messages
    assert f"The cookie 's' has {len(header)} bytes and browsers drop it above 4093" in message
    assert "Largest keys: 'large' (4502 bytes), 'small' (3 bytes)." in message
    assert "TOPSECRET" not in message


def test_the_size_that_is_reported_is_configured(caplog: pytest.LogCaptureFixture) -> None:
    """A smaller limit reports smaller cookies."""
    store = make_store(max_cookie_size=50)
    store.get_session()["a"] = 1
    saved_headers(store)
    assert "browsers drop it above 50" in caplog.text


def test_reports_can_be_switched_off(caplog: pytest.LogCaptureFixture) -> None:
    """`max_cookie_size: None` says nothing, as upstream."""
    store = make_store(max_cookie_size=None)
    store.get_session()["a"] = "x" * 5000
    saved_headers(store)
    assert caplog.messages == []


def test_a_large_stored_session_is_no_matter(caplog: pytest.LogCaptureFixture) -> None:
    """Only what goes into the cookie counts."""

    class Stored(SecureCookieSessionFactory):
        def save_session(self, response: Any) -> None:
            self.session_store.save_secure_cookie(response, self.name, {"_sid": "x"})

    store = make_store()
    store.get_session(factory=Stored)["a"] = "x" * 5000
    saved_headers(store)
    assert caplog.messages == []


def test_a_serializer_of_another_format_is_reported_too(caplog: pytest.LogCaptureFixture) -> None:
    """It may take values that JSON refuses, and the warning does not raise."""
    store = make_store(max_cookie_size=50)
    store.serializer._encode = lambda value: b"x"
    store.get_session()["a"] = {1}
    assert len(saved_headers(store)) == 1
    assert "Largest keys: 'a' (3 bytes)" in caplog.text


# save_secure_cookie


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], "text", None, 5])
def test_save_secure_cookie_takes_any_value(value: Any) -> None:
    """And arguments of `set_cookie()`."""
    response = webapp2.Response()
    fixed(make_store()).save_secure_cookie(response, "s", value, path="/a", httponly=True)
    expected = f"s={sign('s', value)}; Path=/a; HttpOnly"
    assert response.headers.getall("Set-Cookie") == [expected]


# The store of a request


def test_get_store_registers_one_store() -> None:
    """A request has one."""
    request = make_request()
    store = get_store(request=request)
    assert type(store) is SessionStore
    assert store is get_store(request=request)
    assert request.registry == {"webapp2_extras.sessions.SessionStore": store}


def test_get_store_calls_the_factory_with_the_request() -> None:
    """It may be any callable."""
    request = make_request()
    assert get_store(factory=lambda given: ["store", given], request=request) == ["store", request]


def test_get_store_has_keys() -> None:
    """Stores of other keys are apart."""
    request = make_request()
    assert get_store(key="one", request=request) is not get_store(key="other", request=request)


def test_get_store_tests_the_truth_of_a_store() -> None:
    """A false one is made anew, as upstream."""
    request = make_request()
    set_store([], request=request)
    assert type(get_store(request=request)) is SessionStore


def test_set_store_is_what_get_store_gives() -> None:
    """Whatever it is."""
    request = make_request()
    set_store("mine", request=request)
    set_store("other", key="key", request=request)
    assert get_store(request=request) == "mine"
    assert get_store(key="key", request=request) == "other"


@pytest.mark.parametrize("header", ["x=1", 'x="\xff"'])
def test_the_store_of_the_active_request(header: str) -> None:
    """Without a request it is the active one, and its bytes do not raise either."""

    class Handler(webapp2.RequestHandler):
        def get(self) -> None:
            store = get_store()
            store.get_session()["a"] = 1
            set_store(store, key="again")
            store.save_sessions(self.response)
            self.response.write(sorted(self.request.registry))

    app = make_app()
    app.router.add(webapp2.Route("/", Handler))
    response = make_request(app, header).get_response(app)
    assert (response.status_int, response.text) == (
        200,
        "['again', 'webapp2_extras.sessions.SessionStore']",
    )
    assert len(response.headers.getall("Set-Cookie")) == 1


@pytest.mark.parametrize("use", [get_store, lambda: set_store("x")])
def test_without_an_active_request_there_is_no_store(use: Callable[[], Any]) -> None:
    """The error is webapp2's."""
    with pytest.raises(AssertionError, match="Request global variable is not set"):
        use()


# What opens a session


def opened(cookie: str | None, max_age: float | None = None, **config: Any) -> list[OpenCookie]:
    """The valid cookies of a session."""
    with stopped_clock(Clock(NOW + 60)):
        return make_store(cookie, **config).open_session_cookies("s", max_age)


def test_session_cookie_comes_with_its_time() -> None:
    """What it holds, when it was signed, and its value."""
    value = sign("s", {"a": 1}, NOW)
    assert opened(f"s={value}") == [OpenCookie({"a": 1}, NOW, value)]


def test_session_cookie_comes_with_its_attributes() -> None:
    """They are not part of the data."""
    value = sign_with("s", {"a": 1}, {"began": NOW - 5})
    [cookie] = opened(f"s={value}")
    assert cookie == OpenCookie({"a": 1}, NOW, value, {"began": NOW - 5})


def test_session_cookie_that_was_signed_last_comes_first() -> None:
    """Wherever it stands; of those of one second, the last in the header."""
    values = [sign("s", {"a": number}, NOW + at) for number, at in enumerate((0, 5, 0))]
    header = f"s={values[0]}; s={values[1]}; s={values[2]}; s=forged|{NOW + 9}|abc"
    assert opened(header) == [
        OpenCookie({"a": 1}, NOW + 5, values[1]),
        OpenCookie({"a": 2}, NOW, values[2]),
        OpenCookie({"a": 0}, NOW, values[0]),
    ]
    assert make_store(header).get_session("s") == {"a": 1}
    assert make_store(header).get_secure_cookie("s", max_age=None) == {"a": 1}


@pytest.mark.parametrize("cookie", [None, "s=x", f"s={sign('other', {'a': 1}, NOW)}"])
def test_no_valid_cookie_opens_nothing(cookie: str | None) -> None:
    """There is none."""
    assert opened(cookie) == []


@pytest.mark.parametrize(("max_age", "is_open"), [(60, True), (59, False), (None, True)])
def test_age_of_a_session_cookie(max_age: int | None, is_open: bool) -> None:
    """One that is too old opens nothing."""
    assert bool(opened(f"s={sign('s', {'a': 1}, NOW)}", max_age)) is is_open


@pytest.mark.parametrize(
    ("own", "max_age", "is_open"),
    [(100, 10, True), (100, None, True), (59, None, False), (59, 100, False), (60, 10, True)],
)
def test_own_age_of_a_session_cookie(own: int, max_age: int | None, is_open: bool) -> None:
    """A session that has one goes by that alone."""
    cookie = f"s={sign_with('s', {'a': 1}, {'max_age': own})}"
    assert bool(opened(cookie, max_age)) is is_open


def test_store_with_cookies_of_its_own() -> None:
    """A subclass that reads them in another way is asked; the time is not known then."""

    class Store(SessionStore):
        def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
            return {"name": name, "max_age": max_age}

    store = Store(make_request())
    assert store.open_session_cookies("s", 5) == [OpenCookie({"name": "s", "max_age": 5})]


# Damaged cookies


def damaged(cookie: str, **config: Any) -> tuple[SessionStore, list[str]]:
    """A store that has opened a session of this cookie, and what it sets in the end."""
    with stopped_clock(Clock(NOW + 60)):
        store = make_store(cookie, cookie_name="s", **config)
        store.get_session()
        return store, saved_headers(store)


DAMAGED = {
    "forged": sign("s", {"a": 1}, NOW, "another secret"),
    "expired": sign("s", {"a": 1}, NOW - 10_000),
    "unreadable": sign_payload("s", b"!!!"),
    "foreign": "something",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_cookie_is_ignored(kind: str) -> None:
    """By default nothing is answered, as with upstream."""
    assert damaged(f"s={DAMAGED[kind]}", session_max_age=3600)[1] == []


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_cookie_expires(kind: str) -> None:
    """It does not come back for ever."""
    _, headers = damaged(
        f"s={DAMAGED[kind]}",
        session_max_age=3600,
        on_damaged_cookie="expire",
        cookie_args={"path": "/x"},
    )
    assert [header.partition("expires")[0] for header in headers] == ["s=; Max-Age=0; Path=/x; "]


def test_damaged_cookie_that_is_replaced_does_not_expire() -> None:
    """The new session's cookie takes its place."""
    store = make_store(f"s={DAMAGED['forged']}", cookie_name="s", on_damaged_cookie="expire")
    store.get_session()["a"] = 1
    [header] = saved_headers(store)
    assert "Max-Age=0" not in header


def test_damaged_cookie_beside_a_valid_one_does_not_expire() -> None:
    """It may be of another path or domain, and expiring it would take the valid one with it."""
    cookie = f"s={DAMAGED['forged']}; s={sign('s', {'a': 1}, NOW)}"
    assert damaged(cookie, on_damaged_cookie="expire")[1] == []


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_cookie_is_logged_once(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is read, with its name and the cause, without its value."""
    cookie = f"s={DAMAGED[kind]}; s={DAMAGED[kind]}"
    store, _ = damaged(cookie, session_max_age=3600)
    for _ in range(3):
        store.get_secure_cookie("s")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("The cookie 's' was not accepted: it")
    assert DAMAGED[kind][:20] not in record.getMessage()


def test_each_damaged_cookie_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """One event for each name."""
    store = make_store("a=x; b=y")
    for name in ("a", "b", "a"):
        store.get_secure_cookie(name)
    assert len(caplog.records) == 2
