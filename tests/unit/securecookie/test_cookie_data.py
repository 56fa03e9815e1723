"""What a session's cookie keeps beside the data, and what is taken for it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.implementations import Clock, stopped_clock
from support.stores import NOW, make_request, make_store, saved_headers, sign
from support.visits import SECRET, make_app

from webapp2_sessions import SecureCookieSerializer, SessionStore
from webapp2_sessions.cookies.rules import is_name
from webapp2_sessions.securecookie.cookie_data import (
    CookieData,
    attributes_name,
    read_value,
    sign_cookie,
)
from webapp2_sessions.testing import MemorySessionFactory


@pytest.mark.parametrize("name", ["session", "s|t", b"session", "caf\xe9", ""])
def test_no_cookie_has_the_name_that_is_signed(name: Any) -> None:
    """So no application signs a visitor's value under it by setting a cookie."""
    signed = attributes_name(name)
    assert type(signed) is type(name)
    assert not is_name(signed if isinstance(signed, str) else signed.decode())


def test_data_with_attributes_is_a_dictionary() -> None:
    """A store that knows nothing of attributes passes the data on."""
    data = CookieData({"a": 1}, {"max_age": 60})
    assert (data, json.dumps(data), data.attributes) == ({"a": 1}, '{"a": 1}', {"max_age": 60})


def test_what_is_sealed_comes_back() -> None:
    """With a serializer of the package, or one of the application's own."""
    serializer = SecureCookieSerializer(SECRET)
    value = sign_cookie(serializer, "session", {"a": 1}, {"began": NOW})
    found = serializer.deserialize("session", value)
    assert (found, found.attributes) == ({"a": 1}, {"began": NOW})
    held = serializer.deserialize(attributes_name("session"), value)
    assert held == [{"a": 1}, {"began": NOW}]


@pytest.mark.parametrize(
    "held", [None, {}, [], [{}], [{}, []], [{}, {}, {}], "text", [1, {}], [[], {}]]
)
def test_what_holds_no_session(held: Any) -> None:
    """Whoever signed it."""
    with pytest.raises(ValueError, match=r"no list of two|no value with"):
        read_value(held)


@pytest.mark.parametrize(
    ("key", "sound", "unsound"),
    [
        ("max_age", [1, 60, 2**31 - 1], [0, -1, 2**31, 10**400, "60", 1.5, True, None]),
        ("began", [0, NOW, 2**32], [-1, 2**33, 10**400, "1", 1.5, True, None]),
        ("spilled", ["x" * 22], [None, 5, ["x"], {"x": 1}]),
        ("other", [], [1, "x"]),
    ],
)
def test_attributes_are_bounded(key: str, sound: list[Any], unsound: list[Any]) -> None:
    """What has no sense is left out, and raises nowhere."""
    for value in sound:
        assert read_value([{}, {key: value}]) == ({}, {key: value})
    for value in unsound:
        assert read_value([{}, {key: value}]) == ({}, {})


def test_list_that_an_application_has_signed_is_no_session() -> None:
    """Under the cookie's own name it is a value like others."""
    cookie = f"session={sign('session', [{'a': 1}, {'max_age': 10**9}])}"
    session = make_store(cookie).get_session()
    assert (session, session.new) == ({}, True)
    assert make_store(cookie).get_secure_cookie("session") == [{"a": 1}, {"max_age": 10**9}]


def test_secure_cookie_shows_the_data_alone() -> None:
    """An application that reads its session's cookie itself sees what it has put there."""
    store = make_store(absolute_max_age=60)
    store.get_session()["a"] = 1
    [header] = saved_headers(store)
    again = make_store(header.partition(";")[0], absolute_max_age=60)
    assert again.get_secure_cookie("session") == {"a": 1}


class Reversed:
    """A serializer of an application's own."""

    def serialize(self, name: str, value: Any) -> bytes:
        return f"{name.replace(' ', '_')}:{json.dumps(value)}".encode().hex().encode()

    def deserialize(self, name: str, value: str, *, max_age: float | None) -> Any:
        try:
            found, _, text = bytes.fromhex(value).decode().partition(":")
        except ValueError:
            return None
        return json.loads(text) if found == name.replace(" ", "_") else None


def test_serializer_of_an_own_kind_keeps_attributes() -> None:
    """It is asked under both names."""
    store = make_store()
    store.serializer = Reversed()  # type: ignore[assignment]
    session = store.get_session()
    session["a"] = 1
    session.set_max_age(60)
    [header] = saved_headers(store)
    again = make_store(header.partition(";")[0])
    again.serializer = Reversed()  # type: ignore[assignment]
    session = again.get_session()
    assert (session, session.container.own_max_age) == ({"a": 1}, 60)


class Nameless(Reversed):
    """A serializer that signs no name."""

    def serialize(self, name: str, value: Any) -> bytes:
        return super().serialize("", value)

    def deserialize(self, name: str, value: str, *, max_age: float | None) -> Any:
        return super().deserialize("", value, max_age=max_age)


def test_serializer_that_ignores_the_name() -> None:
    """It loses no session, with attributes or without."""
    for max_age in (None, 60):
        store = make_store()
        store.serializer = Nameless()  # type: ignore[assignment]
        session = store.get_session()
        session["a"] = 1
        session.set_max_age(max_age)
        [header] = saved_headers(store)
        again = make_store(header.partition(";")[0])
        again.serializer = Nameless()  # type: ignore[assignment]
        session = again.get_session()
        assert (session, session.container.own_max_age) == ({"a": 1}, max_age)


def test_store_that_sets_cookies_alone() -> None:
    """A subclass may have no sessions."""

    class Store(SessionStore):
        def __init__(self, config: Any) -> None:
            self.config = config

    response = webapp2.Response()
    Store(make_store().config).save_secure_cookie(response, "other", {"a": 1})
    assert response.headers["Set-Cookie"].startswith("other=")


# A store whose methods were overridden, as upstream's can be.


class _Upstreams(SessionStore):
    """Both methods as upstream has them."""

    def get_secure_cookie(self, name: str, max_age: Any = None) -> Any:
        cookie = self.request.cookies.get(name)
        return self.serializer.deserialize(name, cookie, max_age=max_age) if cookie else None

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        response.set_cookie(name, self.serializer.serialize(name, value), **kwargs)


class _CallingSuper(SessionStore):
    """Both do no more than the package's own."""

    def get_secure_cookie(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_secure_cookie(*args, **kwargs)

    def save_secure_cookie(self, *args: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(*args, **kwargs)


class _Adding(SessionStore):
    """It adds a value to each cookie."""

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        super().save_secure_cookie(response, name, dict(value, v=1), **kwargs)


@pytest.fixture(params=[SessionStore, _Upstreams, _CallingSuper, _Adding])
def visit(request: pytest.FixtureRequest) -> Any:
    """One request on a store of each class; returns the session and the cookie to be sent next."""

    def visit_once(change: Any, cookie: str | None = None, **config: Any) -> tuple[Any, str]:
        store = request.param(make_request(make_app(**config), cookie))
        session = store.get_session()
        change(session)
        headers = saved_headers(store)
        return session, headers[-1].partition(";")[0] if headers else cookie or ""

    return visit_once


def test_own_age_survives_overridden_methods(visit: Any) -> None:
    """A longer one and a shorter one."""
    for own, configured, after, is_there in ((1000, 10, 100, True), (10, 1000, 100, False)):
        with stopped_clock() as clock:

            def sign_in(session: Any, own: int = own) -> None:
                session["a"] = 1
                session.set_max_age(own)

            _, cookie = visit(sign_in, session_max_age=configured)
            clock.advance(after)
            session, _ = visit(lambda session: None, cookie, session_max_age=configured)
            assert ("a" in session) is is_there


def test_absolute_age_survives_overridden_methods(visit: Any) -> None:
    """A session that changes all the time ends, and until then it is there."""
    with stopped_clock() as clock:
        _, cookie = visit(lambda session: session.update(n=0), absolute_max_age=100)
        for expected in (True, False):
            clock.advance(60)
            session, cookie = visit(lambda session: None, cookie, absolute_max_age=100)
            assert ("n" in session) is expected
            if expected:
                change = lambda session: session.update(n=1)  # noqa: E731
                _, cookie = visit(change, cookie, absolute_max_age=100)


@pytest.mark.parametrize("kind", [SessionStore, _Upstreams, _CallingSuper])
def test_spilled_session_survives_overridden_methods(kind: Any) -> None:
    """Its id is beside the data too."""
    app = make_app(
        on_oversize="memory", max_cookie_size=300, backends={"memory": MemorySessionFactory}
    )
    store = kind(make_request(app))
    store.get_session()["text"] = "x" * 500
    [header] = saved_headers(store)
    again = kind(make_request(app, header.partition(";")[0]))
    assert again.get_session() == {"text": "x" * 500}


def test_key_that_a_stored_session_has_in_its_cookie() -> None:
    """Nobody who knows an id opens its session by putting it into a session in a cookie."""
    app = make_app(backends={"memory": MemorySessionFactory})
    victim = SessionStore(make_request(app))
    victim.get_session(backend="memory")["user"] = "ada"
    saved_headers(victim)
    sid = victim.sessions["session"].sid
    for data in ({"_sid": sid}, {"_sid": sid, "other": 1}):
        attacker = SessionStore(make_request(app))
        attacker.get_session().update(data)
        [header] = saved_headers(attacker)
        cookie = header.partition(";")[0]
        assert SessionStore(make_request(app, cookie)).get_session() == data
        assert SessionStore(make_request(app, cookie)).get_session(backend="memory") == {}


def test_key_of_a_stored_session_in_a_cookie_that_is_signed_again() -> None:
    """It is data as long as the session lives, also where only its age begins again."""
    app = make_app(refresh_after=60, backends={"memory": MemorySessionFactory})
    victim = SessionStore(make_request(app))
    victim.get_session(backend="memory")["user"] = "ada"
    saved_headers(victim)
    sid = victim.sessions["session"].sid
    with stopped_clock(Clock()) as clock:
        attacker = SessionStore(make_request(app))
        attacker.get_session()["_sid"] = sid
        [header] = saved_headers(attacker)
        clock.now += 100
        later = SessionStore(make_request(app, header.partition(";")[0]))
        assert later.get_session() == {"_sid": sid}
        [again] = saved_headers(later)
        assert again != header
        cookie = again.partition(";")[0]
        assert SessionStore(make_request(app, cookie)).get_session(backend="memory") == {}


def test_stored_session_that_is_opened_as_one_in_a_cookie() -> None:
    """Its id stays in the cookie, as with ``webapp2_extras``; another one in its place is data."""
    app = make_app(backends={"memory": MemorySessionFactory})
    opened: list[Callable[[SessionStore], Any]] = [
        lambda store: store.get_session(),
        lambda store: store.set_secure_cookie("session", {"theme": "dark"}),
    ]
    store = SessionStore(make_request(app))
    store.get_session(backend="memory")["user"] = "ada"
    [header] = saved_headers(store)
    expectations = ((None, {"user": "ada"}), ("s" * 22, {}))
    for (sid, expected), open_session in itertools.product(expectations, opened):
        store = SessionStore(make_request(app, header.partition(";")[0]))
        open_session(store)
        store.get_session()["a"] = 1
        if sid is not None:
            store.get_session()["_sid"] = sid
        [again] = saved_headers(store)
        found = SessionStore(make_request(app, again.partition(";")[0]))
        assert found.get_session(backend="memory") == expected
