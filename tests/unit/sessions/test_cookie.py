"""Sessions in cookies: what the cookie holds, and where a session goes that is too large."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import webapp2
from support.implementations import OURS, Clock, records_factory, stopped_clock
from support.stores import (
    NOW,
    DictFactory,
    DuckStore,
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


def test_a_cookie_session_needs_little_of_a_store() -> None:
    """Any object with the configuration and the two cookie methods is a store."""
    store = DuckStore({"a": 1})
    container = SecureCookieSessionFactory("s", store)
    container.get_session(max_age=5)["b"] = 2
    container.save_session("response")
    assert store.calls == [
        ("get", "s", 5),
        ("save", "response", "s", {"a": 1, "b": 2}, {"path": "/"}),
    ]


# Cookie sessions


def test_a_cookie_session_holds_what_the_cookie_holds() -> None:
    """A valid cookie is not new."""
    session = make_store("session=" + sign("session", {"a": 1})).get_session()
    assert (session, session.new) == ({"a": 1}, False)


def test_an_empty_cookie_session_is_not_new() -> None:
    """The visitor came with it."""
    session = make_store("session=" + sign("session", {})).get_session()
    assert (session, session.new) == ({}, False)


@pytest.mark.parametrize("cookie", [None, "session=x", "session=" + sign("s", {"a": 1})])
def test_no_valid_cookie_is_a_new_session(cookie: str | None) -> None:
    """Missing, malformed and forged cookies are alike."""
    session = make_store(cookie).get_session()
    assert (session, session.new) == ({}, True)


NO_OBJECTS = [[1], ["a"], [["a", 1]], 5, "text", "", 0, True, False, None, 1.5, []]


@pytest.mark.parametrize("value", NO_OBJECTS, ids=repr)
@pytest.mark.parametrize("stored_in", ["cookie", "backend"])
def test_a_signed_value_that_is_no_object_is_no_session(
    value: Any, stored_in: str, factory: type[DictFactory]
) -> None:
    """Another use of the same secret and name is answered by a new session."""
    cookie = "session=" + sign("session", value)
    made = factory if stored_in == "backend" else None
    session = make_store(cookie).get_session(factory=made)
    assert (session, session.new) == ({}, True)


def test_an_unmodified_cookie_session_is_not_written() -> None:
    """Reading sends no cookie."""
    store = make_store("session=" + sign("session", {"a": 1}))
    assert store.get_session()["a"] == 1
    assert saved_headers(store) == []


def test_a_modified_cookie_session_is_written() -> None:
    """The whole session goes into one signed cookie, with the session's arguments."""
    store = make_store()
    store.serializer._get_timestamp = lambda: NOW
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["httponly"] = True
    assert saved_headers(store) == [f"session={sign('session', {'a': 1})}; Path=/; HttpOnly"]


@pytest.mark.parametrize("made", [None, DictFactory])
def test_a_factory_that_was_not_opened_saves_nothing(made: Any) -> None:
    """A session that was never loaded is not touched."""
    container = (made or SecureCookieSessionFactory)("s", make_store())
    response = webapp2.Response()
    container.save_session(response)
    assert response.headers.getall("Set-Cookie") == []


def test_setting_the_session_to_none_reloads_it() -> None:
    """The next `get_session()` reads the cookie again; the changes are dropped."""
    store = make_store("session=" + sign("session", {"a": 1}))
    session = store.get_session()
    session["a"] = 2
    session.container.session = None
    again = store.get_session()
    assert again is not session
    assert (again, again.modified) == ({"a": 1}, False)


# Renewing and ending cookie sessions


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that is moved."""
    with stopped_clock(Clock(NOW)) as clock:
        yield clock


@pytest.mark.parametrize(("age", "renewed"), [(59, False), (60, True)])
def test_unmodified_cookie_session_is_renewed(age: int, renewed: bool, clock: Clock) -> None:
    """The same data is signed anew, when the cookie is old enough."""
    clock.advance(age)
    store = make_store(f"session={sign('session', {'a': 1}, NOW)}", refresh_after=60)
    store.get_session()
    assert saved_headers(store) == (
        [f"session={sign('session', {'a': 1}, NOW + age)}; Path=/"] if renewed else []
    )


def test_renewal_saves_no_change_inside_a_value(clock: Clock) -> None:
    """What is not saved without renewal is not saved with it."""
    clock.advance(60)
    store = make_store(f"session={sign('session', {'cart': [1]}, NOW)}", refresh_after=60)
    store.get_session()["cart"].append(2)
    assert saved_headers(store) == [f"session={sign('session', {'cart': [1]}, NOW + 60)}; Path=/"]


def test_beginning_of_a_cookie_session_is_in_the_cookie(clock: Clock) -> None:
    """The application does not see it, and later writes keep it."""
    visitor = Visitor(make_app(absolute_max_age=100))
    visitor.write({"a": 1})
    clock.advance(50)
    visitor.write({"a": 2})
    assert visitor.read() == {"a": 2}
    expected = sign_with("session", {"a": 2}, {"began": NOW}, NOW + 50)
    assert visitor.cookies["session"] == expected


def test_beginning_is_dropped_where_it_is_not_asked_for(clock: Clock) -> None:
    """An application that gives up the limit has its former sessions as they were."""
    cookie = sign_with("session", {"a": 1}, {"began": NOW})
    store = make_store(f"session={cookie}")
    session = store.get_session()
    assert (session, session.new) == ({"a": 1}, False)
    session["a"] = 2
    assert saved_headers(store) == [f"session={sign('session', {'a': 2}, NOW)}; Path=/"]


@pytest.mark.parametrize("began", ["soon", None, 1.5, True, [NOW]])
def test_beginning_that_is_no_time(began: Any, clock: Clock) -> None:
    """Something else in its place counts as none."""
    cookie = sign_with("session", {"a": 1}, {"began": began})
    clock.advance(100)
    assert make_store(f"session={cookie}", absolute_max_age=100).get_session() == {"a": 1}
    clock.advance(1)
    assert make_store(f"session={cookie}", absolute_max_age=100).get_session() == {}


def test_destroyed_cookie_session(clock: Clock) -> None:
    """Its cookie expires with the attributes that it was set with."""
    store = make_store(
        f"session={sign('session', {'a': 1}, NOW)}", cookie_args={"path": "/x", "secure": True}
    )
    store.get_session().destroy()
    [header] = saved_headers(store)
    assert header.startswith("session=; Max-Age=0; Path=/x; expires=")
    assert header.endswith("; secure")


def test_prefix_is_checked_again_on_saving() -> None:
    """A handler may have changed the arguments of the cookie."""
    store = make_store(cookie_args={"secure": True, "path": "/"})
    session = store.get_session("__Host-s")
    session["a"] = 1
    session.container.session_args["domain"] = "example.com"
    with pytest.raises(ConfigError, match="__Host- allows no domain"):
        saved_headers(store)


# Changes inside values


def debugged(data: dict[str, Any]) -> SessionStore:
    """The store of a request with this session, in an application in debug mode."""
    app = make_app()
    app.debug = True
    return SessionStore(make_request(app, f"session={sign('session', data, NOW)}"))


def test_lost_change_is_told_in_debug_mode(caplog: pytest.LogCaptureFixture) -> None:
    """Once a session, with the keys and what to do."""
    store = debugged({"cart": [1], "x": {}})
    session = store.get_session()
    session["cart"].append(2)
    session["x"]["y"] = 1
    assert saved_headers(store) == []
    [record] = caplog.records
    assert record.getMessage().startswith(
        "The session 'session' is not saved, although it was changed inside 'cart', 'x': assign"
    )


def test_saved_change_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Nor is a session in which nothing was changed."""
    for change in (lambda session: session.changed(), lambda session: None):
        store = debugged({"cart": [1]})
        change(store.get_session())
        saved_headers(store)
    assert caplog.records == []


def test_lost_change_is_not_looked_for_in_production(caplog: pytest.LogCaptureFixture) -> None:
    """It would cost time at each request."""
    store = make_store(f"session={sign('session', {'cart': [1]}, NOW)}")
    store.get_session()["cart"].append(2)
    saved_headers(store)
    assert caplog.records == []


# Sessions that are too large


LARGE = {"user": 5, "cart": "x" * 5000, "log": "y" * 100}


def oversize(on_oversize: str, **config: Any) -> tuple[Any, Any]:
    """A store with a session that is too large, and the session."""
    store = make_store(on_oversize=on_oversize, **config)
    session = store.get_session()
    session.update(LARGE)
    return store, session


def test_oversize_cookie_is_sent_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """By default, as upstream sends it."""
    store, _ = oversize("warn")
    assert len(saved_headers(store)[0]) > 5000
    assert "browsers drop it above 4093" in caplog.text


def test_oversize_session_can_be_an_error() -> None:
    """With its size and largest keys, and without a cookie."""
    store, _ = oversize("raise")
    response = webapp2.Response()
    with pytest.raises(SessionTooLarge, match=r"largest keys: 'cart' \(5002 bytes\)") as caught:
        store.save_sessions(response)
    assert (caught.value.limit, caught.value.size > 5000) == (4093, True)
    assert response.headers.getall("Set-Cookie") == []


@pytest.mark.parametrize("excess", [0, 1])
def test_limit_is_that_of_the_header(excess: int) -> None:
    """A cookie of exactly the largest size is sent; the attributes count."""
    args = {"path": "/a/long/path", "domain": "example.com", "httponly": True}
    store = make_store(cookie_args=args)
    store.get_session()["a"] = "x" * 1000
    size = len(saved_headers(store)[0])
    store = make_store(cookie_args=args, on_oversize="raise", max_cookie_size=size - excess)
    store.get_session()["a"] = "x" * 1000
    if excess:
        with pytest.raises(SessionTooLarge):
            saved_headers(store)
    else:
        assert len(saved_headers(store)[0]) == size


def test_no_limit_is_never_exceeded() -> None:
    """Without a size there is nothing to raise or spill for."""
    store, _ = oversize("raise", max_cookie_size=None)
    assert len(saved_headers(store)) == 1


def spilling(factory: type[DictFactory], **config: Any) -> Visitor:
    """A visitor of an application whose large sessions go to that backend."""
    backends = {"mine": factory}
    return Visitor(make_app(backends=backends, on_oversize="mine", **config))


def held(visitor: Visitor) -> Any:
    """What the visitor's cookie holds, without looking at the signature."""
    payload = visitor.cookies["session"].partition("|")[0]
    return json.loads(base64.b64decode(payload))


def leading_to(sid: str) -> list[Any]:
    """What the cookie of a session holds that is stored under this id."""
    return [{}, {"spilled": sid}]


def test_large_session_spills(factory: type[DictFactory]) -> None:
    """Its data goes to the backend, and its cookie holds where."""
    factory.records.clear()
    visitor = spilling(factory)
    visitor.write(LARGE)
    [(sid, data)] = factory.records.items()
    assert (data, held(visitor)) == (LARGE, leading_to(sid))
    signed_at = int(visitor.cookies["session"].split("|")[1])
    assert visitor.cookies["session"] == sign_with("session", *leading_to(sid), signed_at)
    assert visitor.read() == LARGE


def test_small_session_stays_in_its_cookie(factory: type[DictFactory]) -> None:
    """The backend is not asked."""
    visitor = spilling(factory)
    visitor.write({"a": 1})
    assert (visitor.read(), factory.log) == ({"a": 1}, [])


def test_session_returns_when_it_is_small_again(factory: type[DictFactory]) -> None:
    """Nothing is left of it on the server."""
    factory.records.clear()
    visitor = spilling(factory)
    visitor.write(LARGE)
    with visitor.visit() as session:
        del session["cart"]
    assert (factory.records, held(visitor)) == ({}, {"user": 5, "log": "y" * 100})
    assert visitor.read() == {"user": 5, "log": "y" * 100}


def test_session_grows_and_shrinks_within_a_request(factory: type[DictFactory]) -> None:
    """Only what is saved counts."""
    visitor = spilling(factory)
    with visitor.visit() as session:
        session.update(LARGE)
        session["cart"] = ""
    assert factory.log == []


def test_spilled_session_keeps_its_id(factory: type[DictFactory]) -> None:
    """It is written again under the same one."""
    factory.records.clear()
    visitor = spilling(factory)
    visitor.write(LARGE)
    before = held(visitor)
    visitor.write({"more": 1})
    assert held(visitor) == before
    assert list(factory.records.values()) == [{**LARGE, "more": 1}]


def test_spilled_session_has_the_values_of_a_cookie(factory: type[DictFactory]) -> None:
    """A tuple is a list afterwards, wherever the session is."""
    visitor = spilling(factory)
    visitor.write({**LARGE, "pair": (1, 2)})
    assert visitor.read()["pair"] == [1, 2]


def test_spilled_session_is_destroyed(factory: type[DictFactory]) -> None:
    """Both the record and the cookie go."""
    factory.records.clear()
    visitor = spilling(factory)
    visitor.write(LARGE)
    with visitor.visit() as session:
        session.destroy()
    assert (factory.records, visitor.cookies) == ({}, {})


def test_spilled_session_that_is_gone(factory: type[DictFactory]) -> None:
    """It is a new one, as with any server that lost it."""
    visitor = spilling(factory)
    visitor.write(LARGE)
    factory.records.clear()
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


def test_spilled_session_after_the_switch_is_taken_back(factory: type[DictFactory]) -> None:
    """Without a backend to look in, it is a new one."""
    visitor = spilling(factory)
    visitor.write(LARGE)
    visitor.app = make_app()
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


def test_unmodified_spilled_session_is_renewed(factory: type[DictFactory], clock: Clock) -> None:
    """Cookie and record live on, and the data is as it was."""
    factory.records.clear()
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


def test_server_that_fails_is_an_error(factory: type[DictFactory]) -> None:
    """At save and at load; the former cookie stays."""
    visitor = spilling(Down)
    with pytest.raises(BackendUnavailable):
        visitor.write(LARGE)
    visitor.app = spilling(factory).app
    visitor.write(LARGE)
    visitor.app = spilling(Down).app
    with pytest.raises(BackendUnavailable):
        visitor.read()


def test_server_that_fails_can_degrade(factory: type[DictFactory]) -> None:
    """The session is empty and marked, and nothing is sent."""
    visitor = spilling(factory, on_backend_error="degrade")
    visitor.write(LARGE)
    former = dict(visitor.cookies)
    visitor.app = spilling(Down, on_backend_error="degrade").app
    with visitor.visit() as session:
        assert (session, session.degraded) == ({}, True)
        session["a"] = 1
    assert (visitor.set_cookies, visitor.cookies) == ([], former)


def test_backend_that_cannot_take_spilled_sessions() -> None:
    """The error names the setting."""
    backends = {"mine": records_factory(OURS, {})}
    with pytest.raises(ConfigError, match=r"on_oversize: the backend 'mine' is no StoredSession"):
        oversize("mine", backends=backends)


def test_record_of_a_remembered_session_lives_as_long(factory: type[DictFactory]) -> None:
    """A spilled session has the age that it was given, for the record as for the cookie."""
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


def test_nothing_ends_for_a_cookie_that_cannot_be_sent() -> None:
    """What is stored stays, and the cookie that leads to it."""
    visitor = Visitor(make_app(**MEMORY))
    visitor.write({"big": "x" * 800, "user": 1})
    store = SessionStore(request := visitor.request())
    session = store.get_session()
    del session["big"]
    session.container.session_args["samesite"] = "elsewhere"
    with pytest.raises(ConfigError, match="samesite"):
        store.save_sessions(webapp2.Response())
    assert request is store.request
    assert visitor.read() == {"big": "x" * 800, "user": 1}


def test_the_size_that_counts_is_that_after_merging() -> None:
    """What another request has added meanwhile may be too large for the cookie."""
    app = make_app(on_conflict="merge", **MEMORY)
    visitor = Visitor(app)
    with visitor.visit() as session:
        session.update({"big": "x" * 800, "user": 1})
    first, other = (SessionStore(visitor.request()) for _ in range(2))
    requests = [store.request for store in (first, other)]
    del first.get_session()["big"]
    other.get_session()["cart"] = "y" * 800
    other.get_session().add_flash("added")
    for store in (other, first):
        response = webapp2.Response()
        store.save_sessions(response)
        visitor.take(response)
        assert len(response.headers["Set-Cookie"]) < 600
    assert len(requests) == 2
    assert visitor.read() == {"user": 1, "cart": "y" * 800, "_flash": [["added", None]]}


def test_refreshed_cookie_has_the_age_of_the_record(clock: Clock) -> None:
    """An age that was taken back does not come again with the cookie that had it."""
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
    """It is merged like the data, when the session returns to its cookie."""
    visitor = Visitor(make_app(on_conflict="merge", **MEMORY))
    visitor.write({"big": "x" * 800})
    store = SessionStore(request := visitor.request())
    del store.get_session()["big"]
    with visitor.visit() as session:
        session.set_max_age(50)
    response = webapp2.Response()
    store.save_sessions(response)
    assert request is store.request
    assert "Max-Age=50" in response.headers["Set-Cookie"]


@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
def test_age_of_this_request_goes_with_the_session(on_conflict: str) -> None:
    """Set or dropped while it returns to its cookie: a planted age does not outlive a new id."""
    visitor = Visitor(make_app(on_conflict=on_conflict, **MEMORY))
    for change, expected in (
        (lambda session: session.set_max_age(60), "Max-Age=60"),
        (lambda session: session.regenerate_id(), None),
    ):
        with visitor.visit() as session:
            session["big"] = "x" * 800
            session.set_max_age(1000)
        with visitor.visit() as session:
            del session["big"]
            change(session)
        [header] = visitor.set_cookies
        assert ("Max-Age" in header) == (expected is not None)
        assert expected is None or expected in header


def test_record_stays_if_the_session_cannot_be_signed() -> None:
    """Also where no size is configured any more by which it would be measured."""
    visitor = Visitor(make_app(**MEMORY))
    visitor.write({"big": "x" * 800})
    visitor.app.config["webapp2_extras.sessions"]["max_cookie_size"] = None
    store = SessionStore(request := visitor.request())
    store.get_session()["wrong"] = object()
    with pytest.raises(TypeError):
        store.save_sessions(webapp2.Response())
    assert request is store.request
    assert visitor.read() == {"big": "x" * 800}
