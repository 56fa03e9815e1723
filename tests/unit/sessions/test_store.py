"""SessionStore gives out the sessions of a request and saves them to its response.

What it shares with upstream's is in tests/conformance, on both of them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import webapp2
from support.implementations import Clock, stopped_clock
from support.stores import (
    NOW,
    PriorityResponse,
    make_request,
    make_store,
    saved_headers,
    sign,
    sign_payload,
)
from support.visits import make_app

from webapp2_sessions import (
    BaseSessionFactory,
    ConfigError,
    CustomBackendSessionFactory,
    SessionDict,
    SessionStore,
    get_store,
    set_store,
)
from webapp2_sessions.config import SAVER_KEY
from webapp2_sessions.errors import MissingDependency, SessionError, UnknownBackend


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

    @classmethod
    def saved(cls) -> list[str]:
        """The names of the sessions that were saved."""
        return [name for call, name, *_ in cls.calls if call == "save"]


@pytest.fixture
def recorder() -> type[Recorder]:
    """A factory of the test's own."""

    class Own(Recorder):
        calls = []  # noqa: RUF012

    return Own


def fixed(store: SessionStore) -> SessionStore:
    """The store with a clock that stands."""
    store.serializer._get_timestamp = lambda: NOW
    return store


def saved(store: SessionStore) -> webapp2.Response:
    """The response to which all sessions were saved."""
    response = webapp2.Response()
    store.save_sessions(response)
    return response


# The serializer


# Backends


def test_a_backend_may_be_a_class_that_is_added_to_a_store() -> None:
    store = make_store()
    store.config["backends"]["x"] = Recorder
    assert store.get_backend("x") is Recorder


def test_an_unknown_backend_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownBackend) as refused:
        make_store(backends={"mine": Recorder}).get_backend("secure")
    assert str(refused.value) == (
        "backend: 'secure' is unknown; known are 'securecookie', 'encryptedcookie', 'datastore', "
        "'memcache', 'redis', 'mine'"
    )
    # Upstream raises KeyError, and it is wrong configuration.
    for base in (KeyError, ConfigError, ValueError, SessionError):
        assert isinstance(refused.value, base)


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
def test_error_of_a_name_that_cannot_be_imported_has_it_as_it_is_configured(dotted: str) -> None:
    with pytest.raises(webapp2.ImportStringError) as refused:
        make_store(backends={"x": dotted}).get_backend("x")
    assert refused.value.import_name == dotted


def test_module_that_cannot_be_imported_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
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
    # The lock of an import would stay locked in a process that is forked meanwhile.
    made = make_store().get_backend("memcache")
    monkeypatch.setattr("importlib.import_module", lambda name: pytest.fail(name))
    assert make_store().get_backend("memcache") is made


# get_session


def test_a_factory_takes_precedence_over_a_backend(recorder: type[Recorder]) -> None:
    session = make_store().get_session(factory=recorder, backend="no such keyword")
    assert type(session.container) is recorder


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
def test_the_factory_gets_the_age_that_is_given_or_configured(
    configured: Any, given: dict[str, Any], expected: Any, recorder: type[Recorder]
) -> None:
    make_store(session_max_age=configured).get_session("s", factory=recorder, **given)
    assert recorder.calls == [("get", "s", expected)]


# Signed cookies of the request


@pytest.mark.parametrize("name", ["path", "bad name", "", None, 5])
def test_a_name_that_no_cookie_has_is_none(name: Any) -> None:
    assert make_store("session=x; path=y").get_secure_cookie(name) is None


def test_the_configured_age_is_for_secure_cookies_as_well() -> None:
    cookie = "s=" + sign("s", 1, NOW - 60)
    assert fixed(make_store(cookie, session_max_age=59)).get_secure_cookie("s") is None
    assert fixed(make_store(cookie, session_max_age=59)).get_secure_cookie("s", max_age=60) == 1


# set_secure_cookie and save_secure_cookie


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"foo": 1}, "set_secure_cookie()['foo']"),
        ({"samesite": "none"}, "set_secure_cookie()['samesite']"),
        ({"max_age": "soon"}, "set_secure_cookie()['max_age']"),
    ],
)
def test_nothing_remains_of_a_refused_set_secure_cookie(args: dict[str, Any], named: str) -> None:
    store = make_store()
    with pytest.raises(ConfigError) as refused:
        store.set_secure_cookie("s", {"a": 1}, **args)
    assert refused.value.key == named
    assert store.get_session("s") == {}
    assert saved_headers(store) == []


def test_set_secure_cookie_tries_new_arguments_with_the_configured_ones() -> None:
    store = make_store(cookie_args={"secure": True})
    store.set_secure_cookie("s", {"a": 1}, samesite="none")
    assert store.sessions["s"].session_args == {"secure": True, "samesite": "none"}


def test_set_secure_cookie_tries_arguments_on_the_applications_response() -> None:
    app = make_app()
    app.response_class = PriorityResponse
    store = SessionStore(make_request(app))
    store.set_secure_cookie("s", {"a": 1}, priority="high")
    assert store.sessions["s"].session_args["priority"] == "high"


@pytest.mark.parametrize("value", [{"a": 1}, ["a"], "text", None, 5])
def test_save_secure_cookie_takes_any_value(value: Any) -> None:
    response = webapp2.Response()
    fixed(make_store()).save_secure_cookie(response, "s", value, path="/a", httponly=True)
    expected = f"s={sign('s', value)}; Path=/a; HttpOnly"
    assert response.headers.getall("Set-Cookie") == [expected]
    assert "Vary" not in response.headers  # as upstream: it depends on no cookie who gets it


# save_sessions


@pytest.mark.parametrize("environ", [None, {}, {SAVER_KEY: None}])
def test_request_without_middleware_needs_no_environ(
    environ: Any, recorder: type[Recorder]
) -> None:
    store = make_store()
    store.get_session(factory=recorder)
    store.request = SimpleNamespace(environ=environ)
    saved(store)
    store.request = object()
    saved(store)
    assert recorder.saved() == ["session", "session"]


def test_a_factory_may_open_sessions_while_it_saves(recorder: type[Recorder]) -> None:
    following = {"first": "third", "second": "third", "third": "fourth"}

    class Opening(recorder):
        def save_session(self, response: Any) -> None:
            super().save_session(response)
            if self.name in following:
                self.session_store.get_session(following[self.name], factory=type(self))

    store = make_store()
    store.get_session("first", factory=Opening)
    store.get_session("second", factory=Opening)
    saved(store)
    assert recorder.saved() == ["first", "second", "third", "fourth"]


def test_a_factory_may_take_itself_out_while_it_saves(recorder: type[Recorder]) -> None:
    class Leaving(recorder):
        def save_session(self, response: Any) -> None:
            super().save_session(response)
            del self.session_store.sessions[self.name]

    store = make_store()
    store.get_session("first", factory=Leaving)
    store.get_session("second", factory=Leaving)
    saved(store)
    assert recorder.saved() == ["first", "second"]


@pytest.mark.parametrize(
    "response",
    [
        SimpleNamespace(set_cookie=mock.Mock()),
        SimpleNamespace(set_cookie=mock.Mock(), headers={}, headerlist=[]),
        mock.Mock(),
        mock.MagicMock(),
    ],
    ids=["least", "dictionary", "Mock", "MagicMock"],
)
def test_any_object_with_set_cookie_is_a_response(response: Any) -> None:
    store = fixed(make_store())
    store.get_session()["a"] = 1
    store.save_sessions(response)
    value = sign("session", {"a": 1}).encode()
    args = {"max_age": None, "domain": None, "path": "/", "secure": None, "httponly": False}
    response.set_cookie.assert_called_once_with("session", value, **args)


# Vary


def test_page_that_reads_a_secure_cookie_varies() -> None:
    store = make_store(f"other={sign('other', {'a': 1})}")
    assert store.get_secure_cookie("other") == {"a": 1}
    assert saved(store).headers.get("Vary") == "Cookie"


def test_page_that_expires_a_damaged_cookie_varies() -> None:
    store = make_store("session=damaged", on_damaged_cookie="expire")
    store.get_secure_cookie("session")
    response = saved(store)
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert response.headers["Vary"] == "Cookie"


class SavesByStore(CustomBackendSessionFactory):
    """Sets its cookie by the store, as backends for upstream do."""

    def _get_by_sid(self, sid: Any) -> SessionDict:
        self.sid = self._get_new_sid()
        return SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        self.session_store.save_secure_cookie(
            response, self.name, {"_sid": self.sid}, **self.session_args
        )


@pytest.mark.parametrize("factory", [None, SavesByStore])
@pytest.mark.parametrize("end", [SessionDict.update, SessionDict.destroy])
def test_page_whose_session_is_saved_by_its_container_varies(factory: Any, end: Any) -> None:
    # As libraries do, past ``save_sessions()``.
    session = make_store(f"session={sign('session', {'a': 1})}").get_session(factory=factory)
    end(session)
    response = webapp2.Response()
    session.container.save_session(response)
    assert response.headers["Vary"] == "Cookie"


def test_cookie_above_the_configured_size_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    store = make_store(max_cookie_size=50)
    store.get_session()["a"] = 1
    saved(store)
    assert "browsers drop it above 50" in caplog.text


# Large sessions


def test_cookies_that_are_too_large_together_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    # Each fits into its cookie, and servers refuse the header with all of them.
    store = make_store()
    for number, size in enumerate((2600, 2500, 2400)):
        store.get_session(f"shop{number}")["items"] = "x" * size
    saved(store)
    [message] = caplog.messages
    assert "The cookies of this visitor have 10" in message
    assert "'shop0' (" in message
    assert "xx" not in message


@pytest.mark.parametrize(("name", "warnings"), [("session", 0), ("shop", 1)])
def test_cookies_that_came_count_unless_they_are_replaced(
    name: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_store(f"theme={'x' * 3900}; session={'y' * 3500}")
    store.get_session(name)["items"] = "z" * 2800
    saved(store)
    mine = [each for each in caplog.records if "cookies of this visitor" in each.getMessage()]
    assert len(mine) == warnings


# The store of a request


@pytest.mark.parametrize("header", ["x=1", 'x="\xff"'])
def test_the_store_of_the_active_request_is_the_default(header: str) -> None:
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
    assert response.text == "['again', 'webapp2_extras.sessions.SessionStore']"
    assert len(response.headers.getall("Set-Cookie")) == 1


@pytest.mark.parametrize("use", [get_store, lambda: set_store("x")])
def test_without_an_active_request_there_is_no_store(use: Callable[[], Any]) -> None:
    with pytest.raises(AssertionError, match="Request global variable is not set"):
        use()


# Damaged cookies


def damaged(cookie: str, **config: Any) -> tuple[SessionStore, list[str]]:
    """A store that has opened a session of this cookie, and what it sets in the end."""
    with stopped_clock(Clock(NOW + 60)):
        store = make_store(cookie, cookie_name="s", session_max_age=3600, **config)
        store.get_session()
        return store, saved_headers(store)


DAMAGED = {
    "forged": sign("s", {"a": 1}, NOW, "another secret"),
    "expired": sign("s", {"a": 1}, NOW - 10_000),
    "unreadable": sign_payload("s", b"!!!"),
    "foreign": "something",
}


@pytest.mark.parametrize("value", DAMAGED.values(), ids=DAMAGED)
def test_damaged_cookie_is_logged_once_by_name(
    value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store, headers = damaged(f"s={value}; s={value}")
    assert headers == []
    for _ in range(3):
        store.get_secure_cookie("s")
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("The cookie 's' was not accepted: it")
    assert value[:20] not in record.getMessage()


def test_each_damaged_cookie_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = make_store("a=x; b=y")
    for name in ("a", "b", "a"):
        store.get_secure_cookie(name)
    assert len(caplog.records) == 2


@pytest.mark.parametrize("value", DAMAGED.values(), ids=DAMAGED)
def test_damaged_cookie_expires_with_its_arguments(value: str) -> None:
    _, headers = damaged(f"s={value}", on_damaged_cookie="expire", cookie_args={"path": "/x"})
    assert [header.partition("expires")[0] for header in headers] == ["s=; Max-Age=0; Path=/x; "]


def test_damaged_cookie_that_is_replaced_does_not_expire() -> None:
    store = make_store(f"s={DAMAGED['forged']}", cookie_name="s", on_damaged_cookie="expire")
    store.get_session()["a"] = 1
    [header] = saved_headers(store)
    assert "Max-Age=0" not in header


def test_damaged_cookie_beside_a_valid_one_does_not_expire() -> None:
    # It may be of another path or domain, and expiring it would take the valid one with it.
    cookie = f"s={DAMAGED['forged']}; s={sign('s', {'a': 1}, NOW)}"
    assert damaged(cookie, on_damaged_cookie="expire")[1] == []


def test_time_that_no_clock_shows_is_no_time() -> None:
    huge = sign_payload("session", b"eyJhIjoxfQ==", b"9" * 400)
    good = sign("session", {"a": 2}, NOW)
    for header in (f"session={huge}; session={good}", f"session={good}; session={huge}"):
        store = make_store(header, refresh_after=60)
        assert store.get_session() == {"a": 2}
        saved(store)
    store = make_store(f"session={huge}", refresh_after=60, absolute_max_age=60)
    assert store.get_session() == {"a": 1}
    saved(store)
