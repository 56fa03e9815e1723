"""Where an application has put a part of its own in place of ours, its sessions keep their meaning.

What is beside a session's data (an age of its own, an id where it is stored) neither gets lost on
the way through such a part nor comes out of the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import webapp2
from support.implementations import Clock
from support.stores import make_request
from support.visits import make_app

from webapp2_sessions import SecureCookieSerializer, SessionStore
from webapp2_sessions.testing import MemorySessionFactory, memory_of

#: A configuration with a server, to which a session of more than 600 bytes goes.
CONFIG: dict[str, Any] = {
    "backends": {"memory": MemorySessionFactory},
    "on_oversize": "memory",
    "max_cookie_size": 600,
}


class Copying(SessionStore):
    """Reads and writes copies."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        data = super().get_secure_cookie(name, max_age=max_age)
        return {**data} if isinstance(data, dict) else data

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(response, name, {**value}, **kwargs)


class Nosy(Copying):
    """Reads and writes other cookies on the way, and copies."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        data = super().get_secure_cookie(name, max_age=max_age)
        super().get_secure_cookie("lang", max_age=max_age)
        if name == "session":
            self.get_session("prefs")
        return data

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        if name == "session":
            self.get_session("audit")["n"] = 1
            self.sessions["audit"].save_session(response)
        super().save_secure_cookie(response, name, value, **kwargs)


class AttributeDict(dict[Any, Any]):
    """Shows its keys as attributes."""

    def __getattr__(self, key: str) -> Any:
        try:
            return self[key]
        except KeyError:
            raise AttributeError(key) from None


class Attributed(SessionStore):
    """Reads dictionaries with attributes."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        data = super().get_secure_cookie(name, max_age=max_age)
        return AttributeDict(data) if isinstance(data, dict) else data


class Passing(SessionStore):
    """Does nothing of its own."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        return super().get_secure_cookie(name, max_age=max_age)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(response, name, value, **kwargs)


class Tracking(SessionStore):
    """Sets another signed cookie beside each."""

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(response, name, value, **kwargs)
        super().save_secure_cookie(response, "tracking", {"n": 1}, **kwargs)


class Wrapping(SecureCookieSerializer):
    """Signs a value with a version."""

    def serialize(self, name: Any, value: Any) -> bytes:
        return super().serialize(name, {"value": value, "version": 1})

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        held = super().deserialize(name, value, max_age)
        return held["value"] if isinstance(held, dict) and "version" in held else None


class Nameless(SecureCookieSerializer):
    """Signs no name."""

    def serialize(self, name: Any, value: Any) -> bytes:
        return super().serialize("", value)

    def deserialize(self, name: Any, value: Any, max_age: Any = None) -> Any:
        return super().deserialize("", value, max_age)


def store_of(
    kind: Any, app: webapp2.WSGIApplication, cookies: Mapping[str, str] = {}
) -> SessionStore:
    """The store of a request with an application's own store or serializer."""
    header = "; ".join(f"{name}={value}" for name, value in cookies.items())
    request = make_request(app, header)
    if issubclass(kind, SessionStore):
        store: SessionStore = kind(request)
    else:
        store = SessionStore(request)
        store.serializer = kind(store.config["secret_key"])
    store._keep = request  # type: ignore[attr-defined]
    return store


def sent(store: SessionStore) -> dict[str, str]:
    """The cookies that a request sets, as the browser sends them back."""
    response = webapp2.Response()
    store.save_sessions(response)
    pairs = (each.partition(";")[0] for each in response.headers.getall("Set-Cookie"))
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def written(kind: Any, app: Any, change: Callable[[Any], object]) -> dict[str, str]:
    """The cookies of a new session that was changed."""
    store = store_of(kind, app)
    change(store.get_session())
    return sent(store)


PARTS = pytest.mark.parametrize(
    "kind", [Copying, Nosy, Attributed, Passing, Tracking, Wrapping, Nameless]
)


@PARTS
def test_an_id_that_is_data_opens_nothing(kind: Any) -> None:
    """Whatever is in a session under the key ``_sid``, no backend takes it for an id."""
    app = make_app(**CONFIG)
    victim = store_of(SessionStore, app)
    session = victim.get_session(backend="memory")
    session["user"] = "victim"
    sent(victim)
    cookies = written(kind, app, lambda mine: mine.update(_sid=session.container.sid))
    assert store_of(kind, app, cookies).get_session(backend="memory") == {}
    assert store_of(kind, app, cookies).get_session() == {"_sid": session.container.sid}


@PARTS
def test_own_age_is_kept(kind: Any, clock: Clock) -> None:
    """``set_max_age()`` counts, and another cookie has no part in it."""
    app = make_app(session_max_age=100, **CONFIG)

    def change(session: Any) -> None:
        session.update(user=1, cart=2)
        session.set_max_age(200)

    cookies = written(kind, app, change)
    clock.advance(150)
    assert store_of(kind, app, cookies).get_session() == {"user": 1, "cart": 2}
    if "tracking" in cookies:
        assert store_of(kind, app, cookies).get_session("tracking") == {}
    clock.advance(51)
    assert store_of(kind, app, cookies).get_session() == {}


@PARTS
def test_spilled_session_comes_back(kind: Any) -> None:
    """It is found where it is stored, and a cookie of another name does not lead there."""
    app = make_app(**CONFIG)
    cookies = written(kind, app, lambda session: session.update(big="x" * 800))
    assert len(memory_of(app).sessions()) == 1
    assert store_of(kind, app, cookies).get_session() == {"big": "x" * 800}
    if "tracking" in cookies:
        assert store_of(kind, app, cookies).get_session("tracking") == {"n": 1}


@pytest.mark.parametrize("kind", [Copying, Nosy, Attributed, Passing, Tracking])
def test_pairs_that_were_signed_are_no_session_of_a_server(kind: Any) -> None:
    """A list is no session for the package's serializer, whatever is around it."""
    app = make_app(**CONFIG)
    store = store_of(SessionStore, app)
    session = store.get_session(backend="memory")
    session["user"] = "victim"
    sent(store)
    response = webapp2.Response()
    store_of(SessionStore, app).save_secure_cookie(
        response, "session", [["_sid", session.container.sid]]
    )
    value = response.headers["Set-Cookie"].partition(";")[0].partition("=")[2]
    assert store_of(kind, app, {"session": value}).get_session(backend="memory") == {}


@PARTS
@pytest.mark.parametrize("value", ["text", {"max_age": 5}, {"spilled": "s" * 22}, {"is_data": 1}])
def test_key_that_is_named_like_the_attributes(kind: Any, value: Any) -> None:
    """It is data, whatever shows it as an attribute."""
    app = make_app(**CONFIG)
    cookies = written(kind, app, lambda session: session.update(attributes=value))
    store = store_of(kind, app, cookies)
    session = store.get_session()
    assert (session, session.container.own_max_age) == ({"attributes": value}, None)


@pytest.mark.parametrize("kind", [SessionStore, Copying, Nosy, Attributed, Passing])
def test_times_and_other_cookies_are_kept(kind: Any, clock: Clock) -> None:
    """A store that copies refreshes and ends sessions, and tries all their cookies."""
    app = make_app(refresh_after=60, absolute_max_age=1000, **CONFIG)
    good = written(kind, app, lambda session: session.update(a=1))["session"]
    clock.advance(1)
    lost = written(kind, app, lambda session: session.update(big="x" * 800))["session"]
    memory_of(app).clear()
    clock.advance(60)
    store = store_of(kind, app, {"session": f"{lost}; session={good}"})
    assert store.get_session() == {"a": 1}
    assert "session" in sent(store)
    clock.advance(1000)
    assert store_of(kind, app, {"session": good}).get_session() == {}
