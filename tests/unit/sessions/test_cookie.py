"""Sessions in cookies: what the cookie holds, and where a session goes that is too large."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.implementations import OURS, Clock, records_factory
from support.stores import (
    NOW,
    DictFactory,
    make_request,
    make_store,
    saved_headers,
    sign,
    sign_with,
)
from support.visits import Visitor, make_app

from webapp2_sessions import (
    BackendUnavailable,
    ConfigError,
    SecureCookieSessionFactory,
    SessionStore,
    SessionTooLarge,
)
from webapp2_sessions.testing import MemorySessionFactory

# Cookie sessions


@pytest.mark.parametrize("factory", [SecureCookieSessionFactory, DictFactory])
def test_a_factory_that_was_not_opened_saves_nothing(factory: Any) -> None:
    response = webapp2.Response()
    factory("s", make_store()).save_session(response)
    assert response.headers.getall("Set-Cookie") == []


# Renewing and ending cookie sessions


@pytest.mark.parametrize(("age", "renewed"), [(59, False), (60, True)])
def test_unmodified_session_is_renewed_when_it_is_due(
    age: int, renewed: bool, clock: Clock
) -> None:
    clock.advance(age)
    store = make_store(f"session={sign('session', {'a': 1}, NOW)}", refresh_after=60)
    store.get_session()
    assert saved_headers(store) == (
        [f"session={sign('session', {'a': 1}, NOW + age)}; Path=/"] if renewed else []
    )


def test_renewal_saves_no_change_inside_a_value(clock: Clock) -> None:
    clock.advance(60)
    store = make_store(f"session={sign('session', {'cart': [1]}, NOW)}", refresh_after=60)
    store.get_session()["cart"].append(2)
    assert saved_headers(store) == [f"session={sign('session', {'cart': [1]}, NOW + 60)}; Path=/"]


def test_beginning_of_a_session_is_in_its_cookie_beside_the_data(clock: Clock) -> None:
    visitor = Visitor(make_app(absolute_max_age=100))
    visitor.write({"a": 1})
    clock.advance(50)
    visitor.write({"a": 2})
    assert visitor.read() == {"a": 2}
    expected = sign_with("session", {"a": 2}, {"began": NOW}, NOW + 50)
    assert visitor.cookies["session"] == expected


def test_beginning_is_dropped_where_it_is_not_asked_for(clock: Clock) -> None:
    cookie = sign_with("session", {"a": 1}, {"began": NOW})
    store = make_store(f"session={cookie}")
    session = store.get_session()
    assert (session, session.new) == ({"a": 1}, False)
    session["a"] = 2
    assert saved_headers(store) == [f"session={sign('session', {'a': 2}, NOW)}; Path=/"]


def test_prefix_is_checked_again_on_saving() -> None:
    store = make_store(cookie_args={"secure": True, "path": "/"})
    session = store.get_session("__Host-s")
    session["a"] = 1
    session.container.session_args["domain"] = "example.com"
    with pytest.raises(ConfigError, match="__Host- allows no domain"):
        saved_headers(store)


# Changes inside values


def changed(change: Callable[[Any], Any], debug: bool = True) -> list[str]:
    """Change a session in a cookie; return the cookies that are set."""
    app = make_app()
    app.debug = debug
    cookie = f"session={sign('session', {'cart': [1], 'x': {}}, NOW)}"
    store = SessionStore(make_request(app, cookie))
    change(store.get_session())
    return saved_headers(store)


def test_lost_changes_are_told_in_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    assert changed(lambda session: (session["cart"].append(2), session["x"].update(y=1))) == []
    [message] = caplog.messages
    assert message.startswith(
        "The session 'session' is not saved, although it was changed inside 'cart', 'x': assign"
    )


@pytest.mark.parametrize(
    ("change", "debug"),
    [
        (lambda session: session.changed(), True),
        (lambda session: None, True),
        (lambda session: session["cart"].append(2), False),
    ],
    ids=["saved", "unchanged", "production"],
)
def test_nothing_else_is_told(
    change: Callable[[Any], Any], debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    changed(change, debug)
    assert caplog.records == []


# Sessions that are too large


LARGE = {"user": 5, "cart": "x" * 5000, "log": "y" * 100}


def oversize(on_oversize: str, **config: Any) -> SessionStore:
    """A store with a session that is too large."""
    store = make_store(on_oversize=on_oversize, **config)
    store.get_session().update(LARGE)
    return store


def test_oversize_session_can_be_an_error_without_a_cookie() -> None:
    response = webapp2.Response()
    with pytest.raises(SessionTooLarge, match=r"largest keys: 'cart' \(5002 bytes\)") as caught:
        oversize("raise").save_sessions(response)
    assert (caught.value.limit, caught.value.size > 5000) == (4093, True)
    assert response.headers.getall("Set-Cookie") == []


@pytest.mark.parametrize("excess", [0, 1])
def test_limit_is_that_of_the_whole_header(excess: int) -> None:
    args = {"path": "/a/long/path", "domain": "example.com", "httponly": True}
    store = make_store(cookie_args=args)
    store.get_session()["a"] = "x" * 1000
    size = len(saved_headers(store)[0])
    store = make_store(cookie_args=args, on_oversize="raise", max_cookie_size=size - excess)
    store.get_session()["a"] = "x" * 1000
    with pytest.raises(SessionTooLarge) if excess else contextlib.nullcontext():
        assert len(saved_headers(store)[0]) == size


def test_no_limit_is_never_exceeded() -> None:
    assert len(saved_headers(oversize("raise", max_cookie_size=None))) == 1


@pytest.fixture
def visitor(factory: type[DictFactory]) -> Visitor:
    """A visitor of an application whose large sessions go to that backend, which is empty."""
    factory.records.clear()
    return spilling(factory)


def spilling(factory: type[DictFactory], **config: Any) -> Visitor:
    """A visitor of an application whose large sessions go to that backend."""
    return Visitor(make_app(backends={"mine": factory}, on_oversize="mine", **config))


def held(visitor: Visitor) -> Any:
    """What the visitor's cookie holds, without looking at the signature."""
    payload = visitor.cookies["session"].partition("|")[0]
    return json.loads(base64.b64decode(payload))


def leading_to(sid: str) -> list[Any]:
    return [{}, {"spilled": sid}]


def test_large_session_goes_to_the_server(factory: type[DictFactory], visitor: Visitor) -> None:
    visitor.write(LARGE)
    [(sid, data)] = factory.records.items()
    assert (data, held(visitor)) == (LARGE, leading_to(sid))
    signed_at = int(visitor.cookies["session"].split("|")[1])
    assert visitor.cookies["session"] == sign_with("session", *leading_to(sid), signed_at)
    assert visitor.read() == LARGE


def test_small_session_stays_in_its_cookie(factory: type[DictFactory], visitor: Visitor) -> None:
    visitor.write({"a": 1})
    with visitor.visit() as session:
        session.update(LARGE)
        session["cart"] = ""
    assert visitor.read()["cart"] == ""
    assert factory.log == []


def test_session_returns_when_small_again(factory: type[DictFactory], visitor: Visitor) -> None:
    visitor.write(LARGE)
    with visitor.visit() as session:
        del session["cart"]
    small = {"user": 5, "log": "y" * 100}
    assert (factory.records, held(visitor), visitor.read()) == ({}, small, small)


@pytest.mark.parametrize("is_switched_off", [False, True])
def test_spilled_session_whose_record_is_gone_is_new(
    is_switched_off: bool, factory: type[DictFactory], visitor: Visitor
) -> None:
    visitor.write(LARGE)
    if is_switched_off:
        visitor.app = make_app()
    else:
        factory.records.clear()
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


def test_unmodified_spilled_session_is_renewed(factory: type[DictFactory], clock: Clock) -> None:
    visitor = spilling(factory, refresh_after=60, session_max_age=100)
    visitor.write(LARGE)
    clock.advance(60)
    assert visitor.read() == LARGE
    assert len(visitor.set_cookies) == 1
    clock.advance(100)
    assert visitor.read() == LARGE


class Down(DictFactory):
    """A backend that cannot be reached."""

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        raise BackendUnavailable("mine", "here", "down")

    def _read(self, sid: str) -> Any:
        raise BackendUnavailable("mine", "here", "down")


def test_server_that_fails_is_an_error_at_save_and_at_load(visitor: Visitor) -> None:
    visitor.app, app = spilling(Down).app, visitor.app
    with pytest.raises(BackendUnavailable):
        visitor.write(LARGE)
    assert visitor.cookies == {}
    visitor.app = app
    visitor.write(LARGE)
    visitor.app = spilling(Down).app
    with pytest.raises(BackendUnavailable):
        visitor.read()
    assert visitor.cookies != {}


def test_server_that_fails_can_give_an_empty_session_that_is_not_sent(visitor: Visitor) -> None:
    visitor.write(LARGE)
    former = dict(visitor.cookies)
    visitor.app = spilling(Down, on_backend_error="degrade").app
    with visitor.visit() as session:
        assert (session, session.degraded) == ({}, True)
        session["a"] = 1
    assert (visitor.set_cookies, visitor.cookies) == ([], former)


def test_backend_that_cannot_take_spilled_sessions_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"on_oversize: the backend 'mine' is no StoredSession"):
        oversize("mine", backends={"mine": records_factory(OURS, {})})


def test_record_of_a_spilled_session_lives_for_its_own_age(factory: type[DictFactory]) -> None:
    visitor = spilling(factory, session_max_age=60)
    with visitor.visit() as session:
        session.update(LARGE)
        session.set_max_age(1000)
    assert factory.log[-1][3] == 1000
    assert "; Max-Age=1000; " in visitor.set_cookies[0]


# On the way back from a server

#: A configuration whose sessions of more than 600 bytes go to memory.
MEMORY: dict[str, Any] = {
    "backends": {"memory": MemorySessionFactory},
    "on_oversize": "memory",
    "max_cookie_size": 600,
}


def test_record_stays_if_the_cookie_cannot_be_sent() -> None:
    visitor = Visitor(make_app(**MEMORY))
    visitor.write({"big": "x" * 800, "user": 1})
    store = SessionStore(visitor.request())
    session = store.get_session()
    del session["big"]
    session.container.session_args["samesite"] = "elsewhere"
    with pytest.raises(ConfigError, match="samesite"):
        store.save_sessions(webapp2.Response())
    assert visitor.read() == {"big": "x" * 800, "user": 1}


def test_the_size_that_counts_is_that_after_merging() -> None:
    visitor = Visitor(make_app(on_conflict="merge", **MEMORY))
    visitor.write({"big": "x" * 800, "user": 1})
    first, other = (SessionStore(visitor.request()) for _ in range(2))
    del first.get_session()["big"]
    other.get_session()["cart"] = "y" * 800
    other.get_session().add_flash("added")
    for store in (other, first):
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
        assert len(response.headers["Set-Cookie"]) < 600
    assert visitor.read() == {"user": 1, "cart": "y" * 800, "_flash": [["added", None]]}


def test_refreshed_cookie_has_the_age_of_the_record(clock: Clock) -> None:
    visitor = Visitor(make_app(session_max_age=1000, refresh_after=10, **MEMORY))
    with visitor.visit() as session:
        session["big"] = "x" * 800
        session.set_max_age(100_000)
    earlier = dict(visitor.cookies)
    with visitor.visit() as session:
        session.set_max_age(None)
    visitor.cookies = earlier
    clock.advance(20)
    assert visitor.read() == {"big": "x" * 800}
    [header] = visitor.set_cookies
    assert "Max-Age" not in header


def test_age_of_another_request_comes_back_with_the_session() -> None:
    visitor = Visitor(make_app(on_conflict="merge", **MEMORY))
    visitor.write({"big": "x" * 800})
    store = SessionStore(visitor.request())
    del store.get_session()["big"]
    with visitor.visit() as session:
        session.set_max_age(50)
    response = webapp2.Response()
    store.save_sessions(response)
    assert "Max-Age=50" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_age_of_this_request_goes_with_the_session(on_conflict: str) -> None:
    visitor = Visitor(make_app(on_conflict=on_conflict, **MEMORY))
    for change, expected in (
        (lambda session: session.set_max_age(60), ["Max-Age=60"]),
        (lambda session: session.regenerate_id(), []),  # a planted age does not outlive a new id
    ):
        with visitor.visit() as session:
            session["big"] = "x" * 800
            session.set_max_age(1000)
        with visitor.visit() as session:
            del session["big"]
            change(session)
        assert re.findall(r"Max-Age=\d+", visitor.set_cookies[0]) == expected


def test_record_stays_if_the_session_cannot_be_signed() -> None:
    visitor = Visitor(make_app(**MEMORY))
    visitor.write({"big": "x" * 800})
    visitor.app.config["webapp2_extras.sessions"]["max_cookie_size"] = None
    store = SessionStore(visitor.request())
    store.get_session()["wrong"] = object()
    with pytest.raises(TypeError):
        store.save_sessions(webapp2.Response())
    assert visitor.read() == {"big": "x" * 800}
