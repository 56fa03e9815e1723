"""What holds where two features meet: own parts and several cookies, spills, renewals, ages."""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import pytest
import webapp2
from support.implementations import Clock
from support.stores import make_request
from support.visits import SECRET, make_app

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    CustomBackendSessionFactory,
    SecureCookieSerializer,
    SecureCookieSessionFactory,
    SessionDict,
    SessionMiddleware,
    SessionStore,
    StoredSessionFactory,
    get_store,
    set_store,
)
from webapp2_sessions.errors import UnreadableSession
from webapp2_sessions.testing import MemorySessionFactory, memory_of

BACKENDS = {"memory": MemorySessionFactory}
#: A session of more than 600 bytes goes to the server.
SPILL: dict[str, Any] = {"backends": BACKENDS, "on_oversize": "memory", "max_cookie_size": 600}
LARGE = "x" * 900

Action = Callable[[Any], object]


class Visitor:
    """Somebody whose requests are answered by stores of one class."""

    def __init__(
        self, app: webapp2.WSGIApplication, store: type[SessionStore] = SessionStore, **opened: Any
    ) -> None:
        self.app = app
        self.store = store
        self.opened = opened
        self.cookie = ""
        self.headers: list[str] = []

    def visit(self, action: Action = lambda session: None) -> dict[Any, Any]:
        """Make a request; returns what its session held at first."""
        store = self.store(make_request(self.app, self.cookie))
        session = store.get_session(**self.opened)
        before = dict(session)
        action(session)
        response = webapp2.Response()
        store.save_sessions(response)
        self.headers = response.headers.getall("Set-Cookie")
        if self.headers:
            self.cookie = self.headers[0].partition(";")[0]
        return before


# A store of the application's own


class Revoking(SessionStore):
    """Refuses cookies that the application has revoked."""

    revoked: frozenset[str] = frozenset()

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        data = super().get_secure_cookie(name, max_age=max_age)
        return None if data and data.get("_sid") in self.revoked else data


def test_each_of_several_cookies_passes_the_stores_own_check() -> None:
    """A revoked one does not get in behind another that leads nowhere."""

    class Store(Revoking):
        pass

    app = make_app(backends=BACKENDS)
    victim, thief = (Visitor(app, Store, backend="memory") for _ in range(2))
    victim.visit(lambda session: session.update(user="victim"))
    thief.visit(lambda session: session.update(user="thief"))
    mine = thief.cookie
    thief.visit(lambda session: session.destroy())
    sids: list[Any] = []
    victim.visit(lambda session: sids.append(session.container.sid))
    Store.revoked = frozenset(sids)
    for header in (victim.cookie, f"{mine}; {victim.cookie}", f"{victim.cookie}; {mine}"):
        thief.cookie = header
        assert thief.visit() == {}
    Store.revoked = frozenset()
    thief.cookie = f"{mine}; {victim.cookie}"
    assert thief.visit() == {"user": "victim"}


class Compressing(SessionStore):
    """Keeps text in its cookies."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        text = super().get_secure_cookie(name, max_age=max_age)
        return text and json.loads(zlib.decompress(base64.b64decode(text)))

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        text = base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()
        super().save_secure_cookie(response, name, text, **kwargs)


def test_text_in_place_of_the_data_keeps_its_attributes(clock: Clock) -> None:
    """Own ages, the beginning, the id of a spilled session, and that a `_sid` is data."""
    spilled = Visitor(make_app(**SPILL), Compressing)
    spilled.visit(lambda session: session.update(text=LARGE))
    assert spilled.visit() == {"text": LARGE}

    limited = Visitor(make_app(absolute_max_age=100), Compressing)
    for second in (60, 60, 60):
        limited.visit(lambda session: session.update(user=1))
        clock.advance(second)
    assert limited.visit() == {"user": 1}
    clock.advance(100)
    assert limited.visit() == {}

    short = Visitor(make_app(), Compressing)
    short.visit(lambda session: (session.update(user=1), session.set_max_age(100)))
    clock.advance(101)
    assert short.visit() == {}

    app = make_app(backends=BACKENDS)
    victim, thief = Visitor(app, Compressing, backend="memory"), Visitor(app, Compressing)
    victim.visit(lambda session: session.update(user="victim"))
    [sid] = _sids(victim)
    thief.visit(lambda session: session.update(_sid=sid))
    thief.opened = {"backend": "memory"}
    assert thief.visit() == {}


def _sids(visitor: Visitor) -> list[str]:
    found: list[str] = []
    visitor.visit(lambda session: found.append(session.container.sid))
    return found


class Delegating:
    """A store that has upstream's methods, and passes on everything else."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        return self._store.get_secure_cookie(f"v2-{name}", max_age=max_age)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        self._store.save_secure_cookie(response, f"v2-{name}", value, **kwargs)


def test_methods_of_a_delegating_store_are_called() -> None:
    """Both, for reading and for saving."""
    app = make_app()
    factory = SecureCookieSessionFactory("s", Delegating(SessionStore(make_request(app))))
    factory.get_session(max_age=None)["a"] = 1
    response = webapp2.Response()
    factory.save_session(response)
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert cookie.startswith("v2-s=")
    store = SessionStore(make_request(app, cookie))
    assert SecureCookieSessionFactory("s", Delegating(store)).get_session(max_age=None) == {"a": 1}


@pytest.mark.parametrize("kind", [mock.Mock, mock.MagicMock])
def test_mock_is_a_store_with_upstreams_methods(kind: type[mock.Mock]) -> None:
    """As in an application's own tests."""
    store = kind()
    store.config = {"cookie_args": {}}
    store.get_secure_cookie.return_value = {"a": 1}
    factory = SecureCookieSessionFactory("s", store)
    session = factory.get_session()
    assert session == {"a": 1}
    session["b"] = 2
    response = mock.Mock()
    factory.save_session(response)
    store.save_secure_cookie.assert_called_once_with(response, "s", {"a": 1, "b": 2})


# A serializer of the application's own


class Logged(SecureCookieSerializer):
    """Does nothing of its own."""

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        return super().deserialize(name, value, max_age)


class WithLogged(SessionStore):
    """Uses that serializer."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.serializer = Logged(self.config["secret_key"])


@pytest.mark.parametrize("value", [[["a", 1]], [], [{"a": 1}, {"b": 2}], [[["a"], 1]], "text", 5])
def test_any_value_comes_back_from_an_own_serializer(value: Any) -> None:
    """Unchanged: only a session has to be a dictionary."""
    app = make_app()
    response = webapp2.Response()
    WithLogged(make_request(app)).save_secure_cookie(response, "prefs", value)
    cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert WithLogged(make_request(app, cookie)).get_secure_cookie("prefs") == value


def test_times_are_known_with_an_own_serializer(clock: Clock) -> None:
    """So `refresh_after` works, and of several cookies the newest counts."""
    visitor = Visitor(make_app(session_max_age=100, refresh_after=10), WithLogged)
    visitor.visit(lambda session: session.update(user="old"))
    for _ in range(3):
        clock.advance(60)
        assert visitor.visit() == {"user": "old"}
    former = visitor.cookie
    clock.advance(1)
    visitor.visit(lambda session: session.update(user="new"))
    visitor.cookie = f"{visitor.cookie}; {former}"
    assert visitor.visit() == {"user": "new"}


@pytest.mark.parametrize("serializer", ["pickle", "json"])
def test_what_was_read_can_be_stored(serializer: str) -> None:
    """A cookie with attributes is a dictionary; its pickle does not name a class of the package."""
    app = make_app(backends=BACKENDS, serializer=serializer)
    visitor = Visitor(app, name="prefs")
    visitor.visit(lambda session: (session.update(lang="de"), session.set_max_age(100)))
    found = SessionStore(make_request(app, visitor.cookie)).get_secure_cookie("prefs")
    assert type(pickle.loads(pickle.dumps(found))) is dict
    other = Visitor(app, backend="memory")
    other.visit(lambda session: session.update(prefs=found))
    assert other.visit() == {"prefs": {"lang": "de"}}


# Parts of the application's own: what is beside the data stays there


class Renaming(SessionStore):
    """Reads and writes cookies under other names."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        return super().get_secure_cookie(f"v2-{name}", max_age=max_age)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(response, f"v2-{name}", value, **kwargs)


class Remembering(SessionStore):
    """Reads each cookie once in a request."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        seen = self.__dict__.setdefault("seen", {})
        if name not in seen:
            seen[name] = super().get_secure_cookie(name, max_age=max_age)
        return seen[name]


class Wrapping(SessionStore):
    """Is not one of the package's stores, but has one."""

    def __new__(cls, request: Any) -> Any:
        return _Wrapper(SessionStore(request))


class _Wrapper:
    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._factories: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_session(self, backend: str = "securecookie") -> Any:
        factory = self._store.get_backend(backend)("session", self)
        self._factories[backend] = factory
        return factory.get_session(max_age=None)

    def save_sessions(self, response: Any) -> None:
        for factory in self._factories.values():
            factory.save_session(response)

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        return self._store.get_secure_cookie(f"v2-{name}", max_age=max_age)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        self._store.save_secure_cookie(response, f"v2-{name}", value, **kwargs)


def with_serializer(kind: type[SecureCookieSerializer]) -> type[SessionStore]:
    """A class of stores with a serializer of that class."""

    class Store(SessionStore):
        def __init__(self, request: Any) -> None:
            super().__init__(request)
            self.serializer = kind(self.config["secret_key"])

    return Store


class CopyingSerializer(SecureCookieSerializer):
    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        data = super().deserialize(name, value, max_age)
        return data and dict(data)


class EnclosingSerializer(SecureCookieSerializer):
    def serialize(self, name: Any, value: Any) -> bytes:
        return super().serialize(name, {"value": value})

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        data = super().deserialize(name, value, max_age)
        return data and data["value"]


OWN_PARTS: dict[str, Any] = {
    "renaming": Renaming,
    "remembering": Remembering,
    "wrapping": Wrapping,
    "compressing": Compressing,
    "copying serializer": with_serializer(CopyingSerializer),
    "enclosing serializer": with_serializer(EnclosingSerializer),
}


@pytest.mark.parametrize("store", OWN_PARTS.values(), ids=OWN_PARTS)
def test_attributes_pass_through_own_parts(store: Any, clock: Clock) -> None:
    """An own age, a spill, and that a `_sid` is data."""
    app = make_app(**SPILL)
    victim, thief, remembered = (Visitor(app, store) for _ in range(3))
    victim.opened = {"backend": "memory"}
    victim.visit(lambda session: session.update(user="victim"))
    [sid] = _sids(victim)
    thief.visit(lambda session: session.update(_sid=sid))
    thief.opened = {"backend": "memory"}
    assert thief.visit() == {}
    other = Visitor(app, store)
    other.visit(lambda session: session.update(a=1))
    thief.cookie = f"{other.cookie}; {thief.cookie}"
    assert thief.visit() == {}

    remembered.visit(lambda session: (session.update(text=LARGE), session.set_max_age(100)))
    clock.advance(60)
    assert remembered.visit() == {"text": LARGE}
    clock.advance(60)
    assert remembered.visit() == {}


class Refusing(SecureCookieSerializer):
    """Refuses what a user has signed out everywhere."""

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        data = super().deserialize(name, value, max_age)
        return None if isinstance(data, dict) and data.get("user") == "revoked" else data


@pytest.mark.parametrize("config", [{}, {"absolute_max_age": 1000}], ids=["plain", "attributes"])
def test_cookie_that_an_own_serializer_refuses_opens_nothing(config: dict[str, Any]) -> None:
    visitor = Visitor(make_app(**config), with_serializer(Refusing))
    visitor.visit(lambda session: session.update(user="revoked"))
    assert visitor.visit() == {}
    visitor.visit(lambda session: session.update(user="ada"))
    assert visitor.visit() == {"user": "ada"}


def test_serializer_of_two_functions() -> None:
    """It need not be an object of the package's class."""
    app = make_app()
    inner = SecureCookieSerializer(SECRET)
    functions = SimpleNamespace(serialize=inner.serialize, deserialize=inner.deserialize)
    store = SessionStore(make_request(app, f"s={inner.serialize('s', {'a': 1}).decode()}"))
    store.serializer = functions
    assert store.get_session("s") == {"a": 1}


def test_serializer_that_counts_nanoseconds() -> None:
    """Ages are compared in its own unit."""

    class Counting(SecureCookieSerializer):
        def _get_timestamp(self) -> int:
            return time.time_ns()

    visitor = Visitor(make_app(session_max_age=10**12), with_serializer(Counting))
    visitor.visit(lambda session: session.update(a=1))
    assert visitor.visit() == {"a": 1}


# A response of the application's own


@pytest.mark.parametrize("comes_first", [True, False])
def test_method_of_one_response_is_of_no_other(comes_first: bool) -> None:
    """Its cookie does not become the pattern of other visitors' cookies, nor is it passed over."""
    app = make_app(cookie_name=f"own-{comes_first}")
    usual: list[str] = []

    def visit(response: webapp2.Response) -> list[str]:
        store = SessionStore(make_request(app))
        store.get_session()["a"] = 1
        store.save_sessions(response)
        return list(response.headers.getall("Set-Cookie"))

    if not comes_first:
        usual = visit(webapp2.Response())
    own = webapp2.Response()
    original = own.set_cookie
    own.set_cookie = lambda *args, **kwargs: original(*args, **{**kwargs, "domain": "tenant.test"})
    assert "Domain=tenant.test" in visit(own)[0]
    mocked = webapp2.Response()
    mocked.set_cookie = mock.Mock()
    visit(mocked)
    mocked.set_cookie.assert_called_once()
    for header in (*usual, *visit(webapp2.Response())):
        assert header.startswith(f"own-{comes_first}=eyJhIjoxfQ==|")
        assert "Domain" not in header


def test_header_that_follows_a_cookie_is_no_pattern_of_cookies() -> None:
    """A list of headers of the application's own may add others."""

    class Tracing(list[Any]):
        def append(self, header: Any) -> None:
            super().append(header)
            super().append(("X-Trace", f"seen={header[1]}"))

    app = make_app(cookie_name="traced")
    for headers in (Tracing(), [], []):
        response = webapp2.Response()
        response._headerlist = headers
        store = SessionStore(make_request(app))
        store.get_session()["a"] = 1
        store.save_sessions(response)
        [cookie] = [value for key, value in response.headerlist if key == "Set-Cookie"]
        assert cookie.startswith("traced=eyJhIjoxfQ==|")


def test_damaged_cookie_expires_with_overwrite() -> None:
    """And so do those with former arguments."""
    args = {"path": "/app", "overwrite": True}
    former = [{"path": "/"}, {"path": "/app", "secure": True}]
    app = make_app(on_damaged_cookie="expire", cookie_args=args, former_cookie_args=former)
    visitor = Visitor(app)
    visitor.cookie = "session=forged|1|x"
    visitor.visit()
    paths = [header.partition("; Path=")[2].partition(";")[0] for header in visitor.headers]
    assert paths == ["/app", "/"]


# Cookies that are refused


@pytest.mark.parametrize("backend", ["securecookie", "encryptedcookie"])
@pytest.mark.parametrize("comes_first", [True, False])
def test_cookie_that_one_read_refuses_is_not_expired(
    clock: Clock, backend: str, comes_first: bool
) -> None:
    """If another read accepts it: "signed in recently?" must not sign the visitor out."""
    visitor = Visitor(make_app(on_damaged_cookie="expire"), backend=backend)
    visitor.visit(lambda session: session.update(user="ada"))
    clock.advance(400)
    store = SessionStore(make_request(visitor.app, visitor.cookie))
    if comes_first:
        assert store.get_session(backend=backend) == {"user": "ada"}
    assert store.get_secure_cookie("session", max_age=300) is None
    assert store.get_session(backend=backend) == {"user": "ada"}
    response = webapp2.Response()
    store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


# Saved twice in a request


@pytest.mark.parametrize("backend", ["securecookie", "memory"])
@pytest.mark.parametrize("mode", ["flag", "content"])
def test_second_save_of_a_value_that_is_as_it_was(backend: str, mode: str) -> None:
    """What was written in between is undone."""
    visitor = Visitor(make_app(backends=BACKENDS, change_detection=mode), backend=backend)
    visitor.visit(lambda session: session.update(step=1))
    store = SessionStore(make_request(visitor.app, visitor.cookie))
    session, response = store.get_session(backend=backend), webapp2.Response()
    session["step"] = 2
    store.save_sessions(response)
    session["step"] = 1
    store.save_sessions(response)
    visitor.cookie = response.headers.getall("Set-Cookie")[-1].partition(";")[0]
    assert visitor.visit() == {"step": 1}


@pytest.mark.parametrize("opened", [{}, {"backend": "memory"}], ids=["spilled", "stored"])
def test_second_save_after_a_session_was_begun_again(opened: dict[str, Any]) -> None:
    """The first answer's cookie still opens it."""
    app = make_app(**SPILL)
    store = SessionStore(make_request(app))
    session = store.get_session(**opened)
    session.destroy()
    session["text"] = LARGE
    first = webapp2.Response()
    store.save_sessions(first)
    store.save_sessions(webapp2.Response())
    visitor = Visitor(app, **opened)
    visitor.cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert visitor.visit() == {"text": LARGE}


# Former cookies


@pytest.mark.parametrize("opened", [{}, {"backend": "memory"}], ids=str)
def test_sign_out_and_a_change_that_comes_to_nothing(opened: dict[str, Any]) -> None:
    """Compared by content the session is empty, as it began: its cookie expires."""
    visitor = Visitor(make_app(backends=BACKENDS, change_detection="content"), **opened)
    visitor.visit(lambda session: session.update(user="ada"))

    def sign_out(session: Any) -> None:
        session.destroy()
        session.clear()

    visitor.visit(sign_out)
    (header,) = visitor.headers
    assert header.startswith("session=; Max-Age=0;")


@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
@pytest.mark.parametrize("backend", ["securecookie", "memory"])
def test_former_cookies_expire_with_overwrite(end: str, backend: str) -> None:
    """WebOb's `overwrite` removes the headers of all cookies of that name."""
    args = {"path": "/app", "overwrite": True}
    app = make_app(backends=BACKENDS, cookie_args=args, former_cookie_args=[{"path": "/"}])
    visitor = Visitor(app, backend=backend)
    visitor.visit(lambda session: session.update(a=1))
    visitor.visit(lambda session: getattr(session, end)())
    paths = [header.partition("; Path=")[2].partition(";")[0] for header in visitor.headers]
    assert paths == ["/app", "/"]


@pytest.mark.parametrize("former", [".example.com", "Example.com"])
@pytest.mark.parametrize("wrap", [lambda app: app, SessionMiddleware])
def test_same_domain_in_another_spelling_is_no_former_one(
    former: str, wrap: Callable[[Any], Any]
) -> None:
    """Browsers drop the leading dot and ignore case (RFC 6265 section 5.2.3)."""

    class Handler(webapp2.RequestHandler):  # type: ignore[misc] # webapp2 has no types
        def get(self) -> None:
            store = get_store(request=self.request)
            session = store.get_session(backend="memory")
            session["a"] = 1
            store.save_sessions(self.response)
            session.regenerate_id()
            store.save_sessions(self.response)

    config = {
        "secret_key": SECRET,
        "backends": BACKENDS,
        "cookie_args": {"domain": "example.com", "path": "/"},
        "former_cookie_args": [{"domain": former, "path": "/"}],
    }
    app = webapp2.WSGIApplication([("/", Handler)], config={"webapp2_extras.sessions": config})
    headers = wrap(app).get_response("/").headers.getall("Set-Cookie")
    assert not any("Max-Age=0" in header for header in headers)


# Sessions that are too large for their cookie


def test_cookie_arguments_that_are_assigned_count_on_the_server(clock: Clock) -> None:
    """The record lives as long as the cookie says."""

    def remember(session: Any) -> None:
        session["text"] = LARGE
        session.container.session_args = {"max_age": 30 * 86400}

    visitor = Visitor(make_app(**SPILL, cookie_args={"max_age": 3600}))
    visitor.visit(remember)
    clock.advance(86400)
    assert visitor.visit() == {"text": LARGE}


class Unreadable(MemorySessionFactory):
    """Holds records that cannot be read."""

    is_broken = False

    def _read(self, sid: str) -> Any:
        if self.is_broken:
            raise UnreadableSession("memory", "nowhere", "a class is missing")
        return super()._read(sid)


@pytest.mark.parametrize("opened", [{}, {"backend": "memory"}], ids=["spilled", "stored"])
def test_unreadable_session_that_is_begun_again_ends(opened: dict[str, Any]) -> None:
    """A copy of its cookie opens nothing later."""

    class Broken(Unreadable):
        pass

    config = {**SPILL, "backends": {"memory": Broken}, "on_unreadable": "new"}
    visitor = Visitor(make_app(**config), **opened)
    visitor.visit(lambda session: session.update(text=LARGE))
    former = visitor.cookie
    Broken.is_broken = True
    assert visitor.visit(lambda session: session.update(fresh=1)) == {}
    Broken.is_broken = False
    assert visitor.visit() == {"fresh": 1}
    visitor.cookie = former
    assert visitor.visit() == {}


def test_cookie_is_measured_with_a_long_path() -> None:
    """No cookie is set that browsers drop."""
    path = "/" + "p" * 900
    visitor = Visitor(make_app(**SPILL | {"max_cookie_size": 4093}, cookie_args={"path": path}))
    visitor.visit(lambda session: session.update(text="x" * 2500))
    [header] = visitor.headers
    assert len(header) < 4093
    assert len(memory_of(visitor.app).sessions()) == 1


# Merging and a refresh


class Refreshing(MemorySessionFactory):
    """Has no `_touch()` of its own, and lets another request save in between."""

    _touch = StoredSessionFactory._touch
    #: Called once, after a record was read for a refresh.
    between: ClassVar[list[Callable[[], object]]]

    def _read_version(self, sid: str) -> Any:
        version = super()._read_version(sid)
        if self.between and self.session is not None:
            self.between.pop()()
        return version


def test_refresh_of_a_session_that_is_merged_loses_no_change(clock: Clock) -> None:
    """What another request saves after the record was read."""

    class Backend(Refreshing):
        between: ClassVar[list[Callable[[], object]]] = []

    app = make_app(backends={"own": Backend}, on_conflict="merge", refresh_after=10)
    reader, writer = (Visitor(app, backend="own") for _ in range(2))
    reader.visit(lambda session: session.update(a=1))
    writer.cookie = reader.cookie
    clock.advance(60)
    Backend.between.append(lambda: writer.visit(lambda session: session.update(b=2)))
    assert reader.visit() == {"a": 1}
    assert Backend.between == []
    assert reader.visit() == {"a": 1, "b": 2}


# Threads of one request


class Opening(SessionStore):
    """Opens a session while it is made."""

    def __init__(self, request: Any) -> None:
        super().__init__(request)
        self.get_session("prefs")


class Bare(SessionStore):
    """Does not call the package's `__init__()`."""

    def __init__(self, request: Any) -> None:
        self.request = request
        self.config, self.sessions = dict(SessionStore(make_request()).config), {}


@pytest.mark.parametrize("kind", ["set_store", "opening", "bare"])
def test_stores_of_a_request_share_its_lock(kind: str) -> None:
    """With two locks, each of two threads could have one and wait for the other."""
    request = make_request()
    if kind == "set_store":
        set_store(SessionStore(request), request=request)
    else:
        get_store({"opening": Opening, "bare": Bare}[kind], request=request)
    inside = [threading.Event() for _ in range(2)]

    class Loading(SecureCookieSessionFactory):
        def get_session(self, max_age: Any = None) -> Any:
            inside[0].set()
            inside[1].wait(0.2)
            get_store(key="audit", request=request)
            return super().get_session(max_age)

    def make(request: Any) -> SessionStore:
        inside[1].set()
        inside[0].wait(0.2)
        get_store(request=request).get_session("other")
        return SessionStore(request)

    def load() -> None:
        get_store(request=request).get_session("x", factory=Loading)

    threads = [
        threading.Thread(target=load, daemon=True),
        threading.Thread(target=get_store, args=(make, "reports", request), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


# Clients of the application


class Made:
    """What an application's function returns."""

    def get(self, key: str) -> None:
        """No session is stored."""

    def gets(self, key: str) -> tuple[None, None]:
        return None, None

    def set(self, *args: Any, **kwargs: Any) -> bool:
        return True


def test_bound_method_makes_one_client() -> None:
    """Although each look-up of it gives another object."""
    made = []

    class Pool:
        def client(self) -> Made:
            made.append(Made())
            return made[-1]

    pool, app = Pool(), make_app()
    for _ in range(3):
        store = SessionStore(make_request(app), config={"memcache": {"client": pool.client}})
        store.get_session(backend="memcache")["a"] = 1
        store.save_sessions(webapp2.Response())
    assert len(made) == 1


@dataclasses.dataclass
class MakeClient:
    """Makes a client of Datastore; equal to others, and without a hash."""

    project: str = dataclasses.field(compare=False)

    def __call__(self) -> Any:
        from google.cloud import ndb

        return ndb.Client(project=self.project)


def test_equal_functions_make_a_client_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One tenant's sessions are not another's."""
    monkeypatch.setenv("DATASTORE_EMULATOR_HOST", "127.0.0.1:1")
    projects = []
    for name in ("tenant-1", "tenant-2"):
        app = make_app(datastore={"client": MakeClient(name)})
        session = SessionStore(make_request(app)).get_session(backend="datastore")
        projects.append(session.container._repository()._datastore.partition()[0])
    assert projects == ["tenant-1", "tenant-2"]


class FakeClient:
    """A client of memcached that keeps entries in a dictionary, and knows no tokens."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.is_away = False

    def get(self, key: bytes) -> bytes | None:
        if self.is_away:
            raise ConnectionRefusedError(111, "Connection refused")
        return self.entries.get(key)

    def gets(self, key: bytes) -> tuple[bytes | None, None]:
        return self.get(key), None

    def set(self, key: bytes, value: bytes, expire: int = 0, noreply: bool = False) -> bool:
        self.get(key)
        self.entries[key] = value
        return True

    def add(self, key: bytes, value: bytes, expire: int = 0, noreply: bool = False) -> bool:
        return self.set(key, value)


def test_error_of_a_sign_out_can_be_shown() -> None:
    """It is being handled while the sign-out is tried again."""
    client = FakeClient()
    visitor = Visitor(make_app(memcache={"client": client}), backend="memcache")
    visitor.visit(lambda session: session.update(user=1))
    store = SessionStore(make_request(visitor.app, visitor.cookie))
    store.get_session(backend="memcache").destroy()
    client.is_away = True
    with pytest.raises(BackendUnavailable, match="the client failed") as raised:
        store.save_sessions(webapp2.Response())
    assert raised.value.args[0] == "memcache"


def test_session_is_renamed_with_its_record() -> None:
    """A handler that assigns the container's name finds the session by that."""
    app = make_app(memcache={"client": FakeClient()})
    first = Visitor(app, backend="memcache")
    store = SessionStore(make_request(app))
    session = store.get_session(backend="memcache")
    session["user"], session.container.name = 1, "other"
    response = webapp2.Response()
    store.save_sessions(response)
    first.cookie = response.headers["Set-Cookie"].partition(";")[0]
    first.opened["name"] = "other"
    assert first.visit() == {"user": 1}


def test_merging_needs_tokens() -> None:
    """An entry without one is not absent: it would be added again and again."""
    app = make_app(memcache={"client": FakeClient()}, on_conflict="merge")
    visitor = Visitor(app, backend="memcache")
    visitor.visit(lambda session: session.update(a=1))
    with pytest.raises(BackendError, match="gives no token to compare with"):
        visitor.visit()


@pytest.mark.parametrize("now", ["warn", None, "raise"])
def test_spilled_session_stays_where_it_was_opened(now: str | None) -> None:
    """Whatever the configuration says since."""
    visitor = Visitor(make_app(**SPILL))
    visitor.visit(lambda session: session.update(a=LARGE))
    store = SessionStore(make_request(visitor.app, visitor.cookie))
    store.get_session()["b"] = 1
    store.config["on_oversize"] = now
    store.save_sessions(webapp2.Response())
    store.config["on_oversize"] = "memory"
    assert visitor.visit() == {"a": LARGE, "b": 1}


class LazyMapping(Mapping[str, Any]):
    """Decodes what it holds when it is asked."""

    def __getitem__(self, key: str) -> Any:
        raise UnreadableSession("lazy", "here", "cannot be decoded")

    def __iter__(self) -> Any:
        return iter(("a",))

    def __len__(self) -> int:
        return 1


def test_mapping_that_cannot_be_decoded_is_unreadable() -> None:
    """Also if that is noticed when it is made a dictionary."""

    class Factory(MemorySessionFactory):
        def _read(self, sid: str) -> Any:
            return LazyMapping()

    app = make_app(backends={"memory": Factory}, on_unreadable="new")
    visitor = Visitor(app, backend="memory")
    visitor.visit(lambda session: session.update(a=1))
    assert visitor.visit() == {}


def test_return_from_a_server_is_tried_again() -> None:
    """The record ends at the first try, whose answer is lost; the session is still there."""
    tries = []

    class Forgetful(MemorySessionFactory):
        """Keeps no tombstones, so that nobody can tell who deleted what is not there."""

        def _supersede(self, sid: str) -> bool:
            present = self._memory()._records.pop((self.keyword, sid), None)
            tries.append(sid)
            if len(tries) == 1:
                raise BackendUnavailable("memory", "here", "gave no answer")
            return present is not None

    visitor = Visitor(make_app(**{**SPILL, "backends": {"memory": Forgetful}}))
    visitor.visit(lambda session: session.update(a=LARGE, b=1))
    store = SessionStore(make_request(visitor.app, visitor.cookie))
    del store.get_session()["a"]
    response = webapp2.Response()
    with pytest.raises(BackendUnavailable):
        store.save_sessions(response)
    store.save_sessions(response)
    visitor.cookie = response.headers["Set-Cookie"].partition(";")[0]
    assert visitor.visit() == {"b": 1}
    assert len(set(tries)) == 1


class UpstreamFactory(CustomBackendSessionFactory):
    """Written for upstream's interface, with attributes of its own."""

    own_serializer = pickle
    records: ClassVar[dict[str, Any]] = {}

    @property
    def superseded(self) -> bool:
        return False

    @property
    def sets_max_age(self) -> bool:
        return False

    def _get_by_sid(self, sid: str | None) -> Any:
        self.sid = sid if self._is_valid_sid(sid) else self._get_new_sid()
        return SessionDict(self, data=self.records.get(self.sid), new=sid is None)

    def save_session(self, response: Any) -> None:
        self.records[self.sid] = dict(self.session)
        self.session_store.save_secure_cookie(response, self.name, {"_sid": self.sid})


def test_attributes_of_a_factory_may_have_any_name() -> None:
    visitor = Visitor(make_app(backends={"own": UpstreamFactory}), backend="own")
    visitor.visit(lambda session: session.update(a=1))
    assert visitor.visit() == {"a": 1}
