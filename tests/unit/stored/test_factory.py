"""Stored sessions: loading, saving, renewing and ending, with a store that works or fails."""

from __future__ import annotations

import datetime
import logging
import re
from collections import UserDict
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest
import webapp2
import webob
from support.implementations import Clock, stopped_clock
from support.stores import (
    NOW,
    SID,
    DictFactory,
    DuckStore,
    make_request,
    make_store,
    saved_headers,
    sid_cookie,
    sign,
    sign_with,
    stored,
)
from support.visits import SECRET, Visitor, make_app

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SecureCookieSerializer,
    SessionDict,
    SessionStore,
    StoredSessionFactory,
)
from webapp2_sessions.errors import SessionConflict, SessionTooLarge, UnreadableSession
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.testing import MemorySessionFactory, memory_of


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("_read", [SID]),
        ("_write", [SID, {}, None]),
        ("_delete", [SID]),
        ("_read_version", [SID]),
        ("_write_version", [SID, {}, None, None]),
    ],
)
def test_hooks_of_a_backend_have_to_be_written(method: str, arguments: list[Any]) -> None:
    """A forgotten hook raises, and is no empty session."""
    with pytest.raises(NotImplementedError):
        getattr(StoredSessionFactory("s", make_store()), method)(*arguments)


def test_a_stored_session_needs_little_of_a_store(factory: type[DictFactory]) -> None:
    """Any object with the configuration and the two cookie methods is a store."""
    store = DuckStore({"_sid": SID})
    container = factory("s", store)
    container.get_session(max_age=5)["b"] = 2
    response = webob.Response()
    container.save_session(response)
    assert store.calls == [("get", "s", 5), ("save", response, "s", {"_sid": SID}, {"path": "/"})]
    assert factory.records == {SID: {"a": 1, "b": 2}}


# Loading


def test_a_stored_session_is_read_by_its_id(factory: type[DictFactory]) -> None:
    """The record of the cookie's id is the session."""
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_an_empty_stored_session_is_not_new(factory: type[DictFactory]) -> None:
    """It was found."""
    factory.records[SID] = {}
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({}, False, SID)


@pytest.mark.parametrize(
    "cookie", [None, "session=x", sid_cookie("short"), sid_cookie(SID + "\n"), sid_cookie(5)]
)
def test_without_a_valid_id_nothing_is_read(cookie: str | None, factory: type[DictFactory]) -> None:
    """The backend is not asked, and the session is new with an id of its own."""
    session = stored(factory, cookie).get_session()
    assert (session, session.new, factory.log) == ({}, True, [])
    assert re.fullmatch(r"\w{22}", session.container.sid)


def test_an_unknown_id_is_not_taken_over(factory: type[DictFactory]) -> None:
    """A session that is gone comes back under another id."""
    session = stored(factory, sid_cookie("Z" * 22)).get_session()
    assert (session, session.new) == ({}, True)
    assert session.container.sid != "Z" * 22


@pytest.mark.parametrize("record", [["a"], "text", 5, [("a", 1, 2)], [("a", 1), 5], True])
def test_a_record_of_which_no_dictionary_can_be_made_is_no_session(
    record: Any, factory: type[DictFactory]
) -> None:
    """It counts as none, and its id is not used."""
    factory.records[SID] = record
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new) == ({}, True)
    assert session.container.sid != SID


@pytest.mark.parametrize(
    "record", [[("a", 1)], [["a", 1]], MappingProxyType({"a": 1}), UserDict(a=1)], ids=repr
)
def test_a_record_may_be_whatever_dict_takes(record: Any, factory: type[DictFactory]) -> None:
    """A backend of the application's own may return any mapping, or pairs."""
    factory.records[SID] = record
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_a_stored_session_is_read_once(factory: type[DictFactory]) -> None:
    """The request keeps it."""
    store = stored(factory, sid_cookie())
    assert store.get_session() is store.get_session()
    assert factory.log == [("read", SID)]


def test_a_stored_session_is_read_again_after_none(factory: type[DictFactory]) -> None:
    """`factory.session = None` reloads."""
    store = stored(factory, sid_cookie())
    store.get_session().container.session = None
    factory.records[SID] = {"a": 2}
    assert store.get_session() == {"a": 2}


def test_a_backend_that_fails_is_no_empty_session(factory: type[DictFactory]) -> None:
    """The error comes out of `get_session()`."""

    class Failing(factory):
        def _read(self, sid: str) -> Any:
            raise BackendError("mine", "here", "no")

    with pytest.raises(BackendError):
        stored(Failing, sid_cookie()).get_session()


@pytest.mark.parametrize(("max_age", "new"), [(60, False), (59, True), (None, False)])
def test_the_age_of_the_cookie_is_checked(
    max_age: int | None, new: bool, factory: type[DictFactory]
) -> None:
    """An expired cookie opens no stored session."""
    store = stored(factory, sid_cookie(timestamp=NOW - 60), session_max_age=max_age)
    store.serializer._get_timestamp = lambda: NOW
    assert store.get_session().new is new


# Saving


def test_a_modified_stored_session_is_written(factory: type[DictFactory]) -> None:
    """The record is replaced, and the cookie holds exactly the id."""
    store = stored(factory, sid_cookie())
    store.serializer._get_timestamp = lambda: NOW
    store.get_session()["b"] = 2
    assert saved_headers(store) == [f"session={sign('session', {'_sid': SID})}; Path=/"]
    assert factory.records == {SID: {"a": 1, "b": 2}}


def test_what_is_written_is_a_plain_dictionary(factory: type[DictFactory]) -> None:
    """A backend pickles no session with its factory, and keeps no reference to it."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    saved_headers(store)
    session["a"] = 2
    [(_, _, data, _)] = factory.log
    assert (type(data), data) == (dict, {"a": 1})


def test_an_unmodified_stored_session_is_not_written(factory: type[DictFactory]) -> None:
    """Reading writes no record and sends no cookie."""
    store = stored(factory, sid_cookie())
    store.get_session()
    assert saved_headers(store) == []
    assert factory.log == [("read", SID)]


def test_saving_twice_writes_twice(factory: type[DictFactory]) -> None:
    """`modified` stays, as upstream."""
    store = stored(factory)
    store.get_session()["a"] = 1
    assert len(saved_headers(store)) == len(saved_headers(store)) == 1
    assert [entry[0] for entry in factory.log] == ["write", "write"]


def test_a_session_that_the_application_sets_gets_an_id(factory: type[DictFactory]) -> None:
    """`factory.session = SessionDict(...)` without loading is written under a new id."""
    store = stored(factory)
    container = factory("session", store)
    store.sessions["session"] = container
    container.session = SessionDict(container)
    container.session["a"] = 1
    assert len(saved_headers(store)) == 1
    [(_, sid, data, _)] = factory.log
    assert (sid, data) == (container.sid, {"a": 1})
    assert re.fullmatch(r"\w{22}", sid)


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({"foo": 1}, "session_args['foo']"),
        ({"max_age": "soon"}, "session_args['max_age']"),
        ({"samesite": "none"}, "session_args['samesite']"),
        ({"domain": 5}, "session_args['domain']"),
    ],
)
def test_nothing_is_written_where_the_cookie_cannot_be_sent(
    args: dict[str, Any], named: str, factory: type[DictFactory]
) -> None:
    """A wrong argument of this session is found out before its record is written."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args.update(args)
    with pytest.raises(ConfigError) as refused:
        saved_headers(store)
    assert (refused.value.key, factory.log) == (named, [])


def test_the_response_decides_which_arguments_can_be_sent(factory: type[DictFactory]) -> None:
    """A response class of the application's own may take more."""

    class Response(webapp2.Response):
        def set_cookie(self, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
            webob.Response.set_cookie(self, *args, **kwargs)

    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["priority"] = "high"
    store.save_sessions(Response())
    assert [entry[0] for entry in factory.log] == ["write"]


def test_no_cookie_is_set_where_writing_fails(factory: type[DictFactory]) -> None:
    """A session that may not be stored sends nobody its id."""

    class Failing(factory):
        def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
            raise BackendError("mine", "here", "no")

    store = stored(Failing)
    store.get_session()["a"] = 1
    response = webapp2.Response()
    with pytest.raises(BackendError):
        store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


def test_the_record_is_written_before_the_cookie_is_set(factory: type[DictFactory]) -> None:
    """The log shows one after the other."""

    class Store(SessionStore):
        def save_secure_cookie(self, *args: Any, **kwargs: Any) -> None:
            factory.log.append(("cookie",))

    store = Store(make_request(make_app(backends={"securecookie": factory})))
    store.get_session()["a"] = 1
    saved_headers(store)
    assert [entry[0] for entry in factory.log] == ["write", "cookie"]


# How long

NOT_GIVEN = object()


@pytest.mark.parametrize(
    ("session_max_age", "max_age", "cookie_max_age", "expected"),
    [
        (None, NOT_GIVEN, None, None),
        (60, NOT_GIVEN, None, 60),
        (None, None, None, None),
        (60, None, None, None),
        (None, 60, None, None),
        (60, 30, None, 60),
        (60, 90, None, 90),
        (60, 0, None, 60),
        (None, NOT_GIVEN, 60, 60),
        (30, NOT_GIVEN, 60, 30),
        (90, NOT_GIVEN, 60, 60),
        (30, 90, 60, 60),
        (30, None, 60, 60),
        (90, NOT_GIVEN, "60", 60),
        (90, NOT_GIVEN, datetime.timedelta(minutes=1), 60),
        (90, NOT_GIVEN, datetime.timedelta(days=1), 90),
        (None, NOT_GIVEN, datetime.timedelta(days=1), 86400),
        (None, NOT_GIVEN, "60", 60),
        (None, NOT_GIVEN, 0, 0),
        (60, NOT_GIVEN, 0, 0),
        (60.5, NOT_GIVEN, None, 60.5),
    ],
)
def test_the_lifetime_follows_all_ages(
    session_max_age: Any,
    max_age: Any,
    cookie_max_age: Any,
    expected: float | None,
    factory: type[DictFactory],
) -> None:
    """The longest age with which a request may ask, or the browser's if that is shorter."""
    store = stored(factory, session_max_age=session_max_age)
    given = {} if max_age is NOT_GIVEN else {"max_age": max_age}
    session = store.get_session(**given)
    session["a"] = 1
    session.container.session_args["max_age"] = cookie_max_age
    saved_headers(store)
    assert expected == factory.log[-1][3]


@pytest.mark.parametrize("later", [{}, {"max_age": 30}])
def test_the_lifetime_follows_the_age_that_opened_the_session(
    later: dict[str, Any], factory: type[DictFactory]
) -> None:
    """The first `max_age` of a name wins, for the record as for the cookie."""
    store = stored(factory, session_max_age=60)
    store.get_session(max_age=None)["a"] = 1
    store.get_session(**later)
    saved_headers(store)
    assert factory.log[-1][3] is None


def test_the_lifetime_follows_the_age_that_reloaded_the_session(
    factory: type[DictFactory],
) -> None:
    """After `factory.session = None` the age of the next call counts."""
    store = stored(factory, session_max_age=60)
    store.get_session(max_age=None).container.session = None
    store.get_session(max_age=90)["a"] = 1
    saved_headers(store)
    assert factory.log[-1][3] == 90


def test_a_factory_that_opens_its_session_itself_lives_as_configured(
    factory: type[DictFactory],
) -> None:
    """`get_session()` without an age means `session_max_age`."""
    store = stored(factory, session_max_age=60)
    container = factory("session", store)
    store.sessions["session"] = container
    container.get_session()["a"] = 1
    saved_headers(store)
    assert factory.log[-1][3] == 60


def test_the_cookie_of_a_stored_session_is_upstreams(factory: type[DictFactory]) -> None:
    """Any serializer with the secret reads the id from it."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    [header] = saved_headers(store)
    value = header.partition("=")[2].partition(";")[0]
    expected = {"_sid": session.container.sid}
    assert expected == SecureCookieSerializer(SECRET).deserialize("session", value)


# A store that fails

DOWN = BackendUnavailable("mine", "here", "down")
REFUSES = BackendError("mine", "here", "no room")


def failing(base: type[DictFactory], hook: str, error: BackendError = DOWN) -> type[DictFactory]:
    """The backend, of which one hook fails."""

    def fail(*args: Any) -> Any:
        raise error

    return type("Failing", (base,), {hook: fail})


@pytest.mark.parametrize("error", [DOWN, REFUSES])
def test_failure_is_raised_by_default(error: BackendError, factory: type[DictFactory]) -> None:
    """At load and at save, as it is."""
    with pytest.raises(BackendError) as at_load:
        stored(failing(factory, "_read", error), sid_cookie()).get_session()
    store = stored(failing(factory, "_write", error))
    store.get_session()["a"] = 1
    with pytest.raises(BackendError) as at_save:
        saved_headers(store)
    assert at_load.value is at_save.value is error


@pytest.fixture
def degrading() -> dict[str, Any]:
    """The configuration of an application that goes on without sessions."""
    return {"on_backend_error": "degrade"}


@pytest.mark.parametrize("error", [DOWN, REFUSES])
def test_degraded_session_at_load(
    error: BackendError, factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """It is empty and says so."""
    store = stored(failing(factory, "_read", error), sid_cookie(), **degrading)
    session = store.get_session()
    assert (session, session.degraded, session.new) == ({}, True, True)


def test_degraded_session_is_not_written(
    factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """Neither record nor cookie changes, so that the visitor is back when the server is."""
    store = stored(failing(factory, "_read"), sid_cookie(), **degrading)
    store.get_session()["a"] = "lost"
    assert (saved_headers(store), factory.log) == ([], [])
    assert factory.records == {SID: {"a": 1}}


def test_failed_save_degrades_the_session(
    factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """No cookie is set, and the handler's framework can see what happened."""
    store = stored(failing(factory, "_write"), sid_cookie(), **degrading)
    session = store.get_session()
    session["a"] = 2
    assert (session.degraded, saved_headers(store), session.degraded) == (False, [], True)


def test_new_visitor_is_not_degraded(factory: type[DictFactory], degrading: dict[str, Any]) -> None:
    """Without a cookie the server is not asked."""
    assert stored(failing(factory, "_read"), **degrading).get_session().degraded is False


def test_healthy_session_is_not_degraded(
    factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """With a server that works nothing is different."""
    store = stored(factory, sid_cookie(), **degrading)
    session = store.get_session()
    session["b"] = 2
    assert (len(saved_headers(store)), session.degraded) == (1, False)
    assert factory.records == {SID: {"a": 1, "b": 2}}


@pytest.mark.parametrize(
    "error",
    [SessionTooLarge("mine", "here", 9, 8), UnreadableSession("mine", "here", "class is gone")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("hook", ["_read", "_write"])
def test_what_is_wrong_with_the_session_is_an_error_in_any_case(
    error: BackendError, hook: str, factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """It does not pass by itself."""
    visitor = Visitor(
        make_app(backends={"securecookie": failing(factory, hook, error)}, **degrading)
    )
    visitor.cookies["session"] = sid_cookie().partition("=")[2]
    with pytest.raises(type(error)):
        visitor.write({"a": 2})


def test_degradation_is_logged(
    factory: type[DictFactory], degrading: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Once for each session, with its name and the server, without its id."""
    stored(failing(factory, "_read"), sid_cookie(), **degrading).get_session()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.WARNING,
        "The session 'session' is degraded: mine backend at here: down",
    )


# Destroying


def test_destroyed_session_is_deleted(factory: type[DictFactory]) -> None:
    """Its record goes, and its cookie expires."""
    store = stored(factory, sid_cookie(), cookie_args={"path": "/x", "domain": "a.b"})
    store.get_session().destroy()
    [header] = saved_headers(store)
    assert factory.records == {}
    assert header.startswith("session=; Domain=a.b; Max-Age=0; Path=/x; expires=")


def test_destroyed_session_is_empty_and_new(factory: type[DictFactory]) -> None:
    """For the rest of the request it is as if the visitor had none."""
    session = stored(factory, sid_cookie()).get_session()
    session.destroy()
    assert (session, session.new, session.modified, session.destroyed) == ({}, True, False, True)


def test_session_after_a_destroyed_one(factory: type[DictFactory]) -> None:
    """What is set afterwards is stored under a new id, with a new cookie."""
    store = stored(factory, sid_cookie())
    session = store.get_session()
    session.destroy()
    session["b"] = 2
    [header] = saved_headers(store)
    assert "Max-Age=0" not in header
    assert factory.records == {session.container.sid: {"b": 2}}
    assert session.container.sid != SID


def test_saving_twice_after_destroying(factory: type[DictFactory]) -> None:
    """The new session is not taken for the destroyed one."""
    store = stored(factory, sid_cookie())
    session = store.get_session()
    session.destroy()
    session["b"] = 2
    headers = [saved_headers(store), saved_headers(store)]
    assert factory.records == {session.container.sid: {"b": 2}}
    assert len(headers[0]) == len(headers[1]) == 1


def test_destroying_a_new_session_deletes_nothing(factory: type[DictFactory]) -> None:
    """There is no record of it."""
    store = stored(factory)
    store.get_session().destroy()
    saved_headers(store)
    assert factory.log == []


@pytest.mark.parametrize("on_backend_error", ["raise", "degrade"])
def test_failed_deletion_is_an_error_in_any_case(
    on_backend_error: str, factory: type[DictFactory]
) -> None:
    """A sign-out that did not happen must not look as if it had."""
    store = stored(failing(factory, "_delete"), sid_cookie(), on_backend_error=on_backend_error)
    store.get_session().destroy()
    with pytest.raises(BackendUnavailable):
        saved_headers(store)


def test_degraded_session_is_destroyed_all_the_same(
    factory: type[DictFactory], degrading: dict[str, Any]
) -> None:
    """It could not be read, and can perhaps be deleted by now."""
    store = stored(failing(factory, "_read"), sid_cookie(), **degrading)
    store.get_session().destroy()
    assert "Max-Age=0" in saved_headers(store)[0]
    assert factory.records == {}


def test_session_that_another_request_destroyed(
    factory: type[DictFactory], caplog: pytest.LogCaptureFixture
) -> None:
    """A backend that can tell keeps it destroyed: no cookie is sent, and it is logged."""

    class Telling(factory):
        def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
            return False

    caplog.set_level(logging.INFO)
    store = stored(Telling, sid_cookie())
    store.get_session()["b"] = 2
    assert saved_headers(store) == []
    assert [record.getMessage() for record in caplog.records] == [
        "The session 'session' was destroyed by another request meanwhile"
    ]


# Renewing


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that is moved."""
    with stopped_clock(Clock(NOW)) as clock:
        yield clock


@pytest.mark.parametrize(("age", "renewed"), [(59, False), (60, True), (1000, True)])
def test_unmodified_session_is_renewed(
    age: int, renewed: bool, factory: type[DictFactory], clock: Clock
) -> None:
    """Its record is touched, and its cookie signed anew, when that is old enough."""
    clock.advance(age)
    store = stored(factory, sid_cookie(), refresh_after=60, session_max_age=5000)
    store.get_session()
    headers = saved_headers(store)
    assert [(call[0], call[-1]) for call in factory.log if call[0] == "write"] == (
        [("write", 5000)] if renewed else []
    )
    assert headers == (
        [f"session={sign('session', {'_sid': SID}, NOW + age)}; Path=/"] if renewed else []
    )


def test_session_that_is_gone_is_not_renewed(factory: type[DictFactory], clock: Clock) -> None:
    """If it vanished during the request there is nothing to keep, and no cookie for it."""
    clock.advance(60)
    store = stored(factory, sid_cookie(), refresh_after=60)
    store.get_session()
    factory.records.clear()
    assert saved_headers(store) == []


def test_renewal_writes_what_is_stored(factory: type[DictFactory], clock: Clock) -> None:
    """A change inside a value is not saved by the way."""
    factory.records[SID] = {"cart": [1]}
    clock.advance(60)
    store = stored(factory, sid_cookie(), refresh_after=60)
    factory.records[SID] = {"cart": [1], "meanwhile": True}
    session = store.get_session()
    session["cart"] = [1]
    session.modified = False
    session["cart"].append(2)
    session.modified = False
    saved_headers(store)
    assert factory.records == {SID: {"cart": [1], "meanwhile": True}}


@pytest.mark.parametrize("refresh_after", [None, 60])
def test_new_session_is_not_renewed(
    refresh_after: int | None, factory: type[DictFactory], clock: Clock
) -> None:
    """An empty session that nobody wrote stays unwritten."""
    store = stored(factory, None, refresh_after=refresh_after)
    store.get_session()
    assert (saved_headers(store), factory.log) == ([], [])


def test_session_that_was_not_opened_is_not_renewed(
    factory: type[DictFactory], clock: Clock
) -> None:
    """Whoever does not use the session is not active in it."""
    clock.advance(1000)
    assert saved_headers(stored(factory, sid_cookie(), refresh_after=60)) == []


# Ending


def test_session_ends_after_its_absolute_age(factory: type[DictFactory], clock: Clock) -> None:
    """However often it was written in between."""
    app = make_app(backends={"securecookie": factory}, absolute_max_age=100, session_max_age=60)
    visitor = Visitor(app)
    visitor.write({"n": 0})
    for n in (1, 2):
        clock.advance(50)
        assert visitor.read() == {"n": n - 1}
        visitor.write({"n": n})
    clock.advance(1)
    with visitor.visit() as session:
        assert (session, session.new) == ({}, True)


def test_absolute_age_starts_anew_with_a_new_session(
    factory: type[DictFactory], clock: Clock
) -> None:
    """The session that follows has its own beginning."""
    visitor = Visitor(make_app(backends={"securecookie": factory}, absolute_max_age=100))
    visitor.write({"n": 0})
    clock.advance(101)
    visitor.write({"n": 1})
    clock.advance(100)
    assert visitor.read() == {"n": 1}


def test_session_from_before_there_was_an_absolute_age(
    factory: type[DictFactory], clock: Clock
) -> None:
    """It counts from when its cookie was signed last."""
    store = stored(factory, sid_cookie(), absolute_max_age=100)
    clock.advance(100)
    assert store.get_session() == {"a": 1}
    clock.advance(1)
    assert stored(factory, sid_cookie(), absolute_max_age=100).get_session() == {}


def test_beginning_stands_in_the_cookie_only(factory: type[DictFactory], clock: Clock) -> None:
    """The record holds what the application stored, and the cookie tells when that began."""
    store = stored(factory, absolute_max_age=100)
    session = store.get_session()
    session["a"] = 1
    [header] = saved_headers(store)
    held = {"_sid": session.container.sid}
    assert header == f"session={sign_with('session', held, {'began': NOW})}; Path=/"
    assert factory.records[session.container.sid] == {"a": 1}


@pytest.mark.parametrize(
    ("session_max_age", "age", "expected"), [(None, 0, 100), (60, 0, 60), (60, 70, 30)]
)
def test_record_lives_as_long_as_its_session_can(
    session_max_age: int | None,
    age: int,
    expected: float,
    factory: type[DictFactory],
    clock: Clock,
) -> None:
    """The absolute age is a limit for the lifetime as well."""
    visitor = Visitor(
        make_app(
            backends={"securecookie": factory},
            absolute_max_age=100,
            session_max_age=session_max_age,
        )
    )
    visitor.write({"a": 1})
    clock.advance(age)
    if age:
        visitor.write({"a": 2}, max_age=None if session_max_age is None else 80)
    assert factory.log[-1][3] == expected


# Merging


class Versions(DictFactory):
    """The backend, with compare-and-set by counted versions."""

    versions: dict[str, int]

    def _read_version(self, sid: str) -> Version | None:
        if sid not in self.records:
            return Version(NEW, dict)
        data = dict(self.records[sid])
        return Version(self.versions.get(sid, 0), lambda: dict(data))

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        current = self.versions.get(sid, 0) if sid in self.records else NEW
        if token != current:
            return None
        self._write(sid, data, lifetime)
        self.versions[sid] = self.versions.get(sid, 0) + 1
        return Version(self.versions[sid], lambda: dict(data))


@pytest.fixture
def versions() -> type[Versions]:
    """A backend with compare-and-set, with the session SID in it."""

    class Factory(Versions):
        records = {SID: {"a": 1}}  # noqa: RUF012
        log = []  # noqa: RUF012
        versions = {}  # noqa: RUF012

    return Factory


def test_changes_of_two_requests_are_merged(versions: type[Versions]) -> None:
    """Both keys are there, and the session shows what is stored."""
    stores = [stored(versions, sid_cookie(), on_conflict="merge") for _ in range(2)]
    sessions = [store.get_session() for store in stores]
    sessions[0]["one"] = 1
    sessions[1]["two"] = 2
    for store in stores:
        assert len(saved_headers(store)) == 1
    assert versions.records == {SID: {"a": 1, "one": 1, "two": 2}}
    assert sessions[1] == {"a": 1, "one": 1, "two": 2}


def test_second_save_of_a_request_goes_on_from_the_first(versions: type[Versions]) -> None:
    """What it wrote itself is no change of others."""
    store = stored(versions, sid_cookie(), on_conflict="merge")
    session = store.get_session()
    session["b"] = 1
    saved_headers(store)
    del session["a"]
    saved_headers(store)
    assert versions.records == {SID: {"b": 1}}


def test_session_that_never_comes_to_rest(
    versions: type[Versions], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After many tries the save gives up with an error that says so, and sets no cookie."""
    monkeypatch.setattr("webapp2_sessions.stored.merging.Merger._pause", lambda *args: None)
    monkeypatch.setattr(versions, "_write_version", lambda *args: None)
    store = stored(versions, sid_cookie(), on_conflict="merge")
    store.get_session()["b"] = 2
    response = webapp2.Response()
    with pytest.raises(SessionConflict, match="other requests changed the session at each try"):
        store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


@pytest.mark.parametrize("cookie", [None, sid_cookie()], ids=["new", "stored"])
def test_backend_without_versions_cannot_merge(
    factory: type[DictFactory], cookie: str | None
) -> None:
    """It would overwrite what other requests have saved, which somebody wanted not to happen."""
    store = stored(factory, cookie, on_conflict="merge")
    with pytest.raises(ConfigError, match="Factory cannot compare and set") as refused:
        store.get_session()
    assert refused.value.key == "on_conflict"


@pytest.mark.parametrize("keyword", ["memory", "securecookie"])
@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
@pytest.mark.parametrize("late_is_last", [False, True])
def test_all_sessions_that_were_lost_end(keyword: str, end: str, late_is_last: bool) -> None:
    """All cookies of a request led nowhere: a late request brings none of their sessions back."""
    backends = {"memory": MemorySessionFactory}
    app = make_app(backends=backends, on_oversize="memory", max_cookie_size=1)
    visitors = [Visitor(app, backend=keyword) for _ in range(2)]
    for visitor in visitors:
        visitor.write({"a": 1})
    late = SessionStore(request := visitors[0].request())
    late.get_session(backend=keyword)["late"] = True
    memory_of(app).clear()
    ending = visitors[0].request()
    cookies = [f"session={visitor.cookies['session']}" for visitor in visitors]
    ending.environ["HTTP_COOKIE"] = "; ".join(reversed(cookies) if late_is_last else cookies)
    store = SessionStore(ending)
    getattr(store.get_session(backend=keyword), end)()
    store.save_sessions(webapp2.Response())
    late.save_sessions(response := webapp2.Response())
    assert response.headers.getall("Set-Cookie") == []
    assert request is late.request
    assert visitors[0].read() == {}
