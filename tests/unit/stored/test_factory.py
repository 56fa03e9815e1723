"""Stored sessions: loading, saving, renewing and ending, with a store that works or fails."""

from __future__ import annotations

import datetime
import logging
import re
from collections import UserDict
from types import MappingProxyType
from typing import Any

import pytest
import webapp2
import webob
from support.implementations import Clock
from support.stores import (
    NOW,
    SID,
    DictFactory,
    DuckStore,
    PriorityResponse,
    make_request,
    make_store,
    saved_headers,
    sid_cookie,
    sign,
    sign_with,
    stored,
)
from support.visits import Visitor, make_app

from webapp2_sessions import (
    BackendError,
    BackendUnavailable,
    ConfigError,
    SessionDict,
    SessionStore,
    StoredSessionFactory,
)
from webapp2_sessions.errors import SessionConflict, SessionTooLarge, UnreadableSession
from webapp2_sessions.stored.merging import NEW, Version

Backend = type[DictFactory]


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
    with pytest.raises(NotImplementedError):
        getattr(StoredSessionFactory("s", make_store()), method)(*arguments)


def test_a_stored_session_needs_little_of_a_store(factory: Backend) -> None:
    """Any object with the configuration and the two cookie methods is a store."""
    store = DuckStore({"_sid": SID})
    container = factory("s", store)
    container.get_session(max_age=5)["b"] = 2
    response = webob.Response()
    container.save_session(response)
    assert store.calls == [("get", "s", 5), ("save", response, "s", {"_sid": SID}, {"path": "/"})]
    assert factory.records == {SID: {"a": 1, "b": 2}}


def test_a_stored_session_is_read_once_by_its_id(factory: Backend) -> None:
    store = stored(factory, sid_cookie())
    session = store.get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)
    assert store.get_session() is session
    assert factory.log == [("read", SID)]


@pytest.mark.parametrize(
    "cookie", [None, "session=x", sid_cookie("short"), sid_cookie(SID + "\n"), sid_cookie(5)]
)
def test_without_a_valid_id_nothing_is_read(cookie: str | None, factory: Backend) -> None:
    """The backend is not asked, and the session is new with an id of its own."""
    session = stored(factory, cookie).get_session()
    assert (session, session.new, factory.log) == ({}, True, [])
    assert re.fullmatch(r"\w{22}", session.container.sid)


@pytest.mark.parametrize(
    "record", [[("a", 1)], [["a", 1]], MappingProxyType({"a": 1}), UserDict(a=1)], ids=repr
)
def test_a_record_may_be_whatever_dict_takes(record: Any, factory: Backend) -> None:
    factory.records[SID] = record
    session = stored(factory, sid_cookie()).get_session()
    assert (session, session.new, session.container.sid) == ({"a": 1}, False, SID)


def test_a_modified_stored_session_is_written_and_its_cookie_holds_the_id(factory: Backend) -> None:
    store = stored(factory, sid_cookie())
    store.serializer._get_timestamp = lambda: NOW
    store.get_session()["b"] = 2
    assert saved_headers(store) == [f"session={sign('session', {'_sid': SID})}; Path=/"]
    assert factory.records == {SID: {"a": 1, "b": 2}}


def test_what_is_written_is_a_plain_dictionary(factory: Backend) -> None:
    """A backend pickles no session with its factory, and keeps no reference to it."""
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    saved_headers(store)
    session["a"] = 2
    [(_, _, data, _)] = factory.log
    assert (type(data), data) == (dict, {"a": 1})


@pytest.mark.parametrize(
    ("cookie", "refresh_after"), [(sid_cookie(), None), (None, None), (None, 60)]
)
def test_an_unmodified_session_is_not_written(
    cookie: str | None, refresh_after: int | None, factory: Backend
) -> None:
    """One that is new is not renewed either."""
    store = stored(factory, cookie, refresh_after=refresh_after)
    store.get_session()
    assert saved_headers(store) == []
    assert [entry[0] for entry in factory.log if entry[0] != "read"] == []


def test_a_session_that_the_application_sets_gets_an_id(factory: Backend) -> None:
    """`factory.session = SessionDict(...)` without loading."""
    store = stored(factory)
    container = store.sessions["session"] = factory("session", store)
    container.session = SessionDict(container)
    container.session["a"] = 1
    assert len(saved_headers(store)) == 1
    [(_, sid, data, _)] = factory.log
    assert (sid, data) == (container.sid, {"a": 1})
    assert re.fullmatch(r"\w{22}", sid)


def test_the_response_decides_which_arguments_can_be_sent(factory: Backend) -> None:
    store = stored(factory)
    session = store.get_session()
    session["a"] = 1
    session.container.session_args["priority"] = "high"
    store.save_sessions(PriorityResponse())
    assert [entry[0] for entry in factory.log] == ["write"]


def test_the_record_is_written_before_the_cookie_is_set(factory: Backend) -> None:
    class Store(SessionStore):
        def save_secure_cookie(self, *args: Any, **kwargs: Any) -> None:
            factory.log.append(("cookie",))

    store = Store(make_request(make_app(backends={"securecookie": factory})))
    store.get_session()["a"] = 1
    saved_headers(store)
    assert [entry[0] for entry in factory.log] == ["write", "cookie"]


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
    factory: Backend,
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
@pytest.mark.parametrize("reloads", [False, True])
def test_the_lifetime_follows_the_age_that_opened_or_reloaded_the_session(
    later: dict[str, Any], reloads: bool, factory: Backend
) -> None:
    """The first `max_age` of a name wins, for the record as for the cookie."""
    store = stored(factory, session_max_age=60)
    session = store.get_session(max_age=30 if reloads else None)
    if reloads:
        session.container.session = None
        session = store.get_session(max_age=None)
    session["a"] = 1
    store.get_session(**later)
    saved_headers(store)
    assert factory.log[-1][3] is None


def test_a_factory_that_opens_its_session_itself_lives_as_configured(factory: Backend) -> None:
    store = stored(factory, session_max_age=60)
    container = factory("session", store)
    store.sessions["session"] = container
    container.get_session()["a"] = 1
    saved_headers(store)
    assert factory.log[-1][3] == 60


# A store that fails

DOWN = BackendUnavailable("mine", "here", "down")
REFUSES = BackendError("mine", "here", "no room")


def failing(base: Backend, hook: str, error: BackendError = DOWN) -> Backend:
    """The backend, of which one hook fails."""

    def fail(*args: Any) -> Any:
        raise error

    return type("Failing", (base,), {hook: fail})


@pytest.mark.parametrize("error", [DOWN, REFUSES], ids=["down", "refuses"])
def test_failure_is_raised_by_default(error: BackendError, factory: Backend) -> None:
    """At load and at save, as it is; a session that may not be stored sends nobody its id."""
    with pytest.raises(BackendError) as at_load:
        stored(failing(factory, "_read", error), sid_cookie()).get_session()
    store = stored(failing(factory, "_write", error))
    store.get_session()["a"] = 1
    response = webapp2.Response()
    with pytest.raises(BackendError) as at_save:
        store.save_sessions(response)
    assert at_load.value is at_save.value is error
    assert response.headers.getall("Set-Cookie") == []


#: The configuration of an application that goes on without sessions.
DEGRADING = {"on_backend_error": "degrade"}


@pytest.mark.parametrize("error", [DOWN, REFUSES], ids=["down", "refuses"])
def test_degraded_session_is_empty_and_not_written(error: BackendError, factory: Backend) -> None:
    """Neither record nor cookie changes, so that the visitor is back when the server is."""
    store = stored(failing(factory, "_read", error), sid_cookie(), **DEGRADING)
    session = store.get_session()
    assert (session, session.degraded, session.new) == ({}, True, True)
    session["a"] = "lost"
    assert (saved_headers(store), factory.log) == ([], [])
    assert factory.records == {SID: {"a": 1}}


def test_degradation_is_logged_with_the_server_and_without_the_id(
    factory: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    stored(failing(factory, "_read"), sid_cookie(), **DEGRADING).get_session()
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.WARNING,
        "The session 'session' is degraded: mine backend at here: down",
    )


def test_failed_save_degrades_the_session(factory: Backend) -> None:
    store = stored(failing(factory, "_write"), sid_cookie(), **DEGRADING)
    session = store.get_session()
    session["a"] = 2
    assert (session.degraded, saved_headers(store), session.degraded) == (False, [], True)


def test_session_is_not_degraded_where_nothing_has_failed(factory: Backend) -> None:
    """A visitor without a cookie has nothing asked of a server that fails."""
    assert stored(failing(factory, "_read"), **DEGRADING).get_session().degraded is False
    store = stored(factory, sid_cookie(), **DEGRADING)
    session = store.get_session()
    session["b"] = 2
    assert (len(saved_headers(store)), session.degraded) == (1, False)


@pytest.mark.parametrize(
    "error",
    [SessionTooLarge("mine", "here", 9, 8), UnreadableSession("mine", "here", "class is gone")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("hook", ["_read", "_write"])
def test_what_is_wrong_with_the_session_is_an_error_in_any_case(
    error: BackendError, hook: str, factory: Backend
) -> None:
    visitor = Visitor(
        make_app(backends={"securecookie": failing(factory, hook, error)}, **DEGRADING)
    )
    visitor.cookies["session"] = sid_cookie().partition("=")[2]
    with pytest.raises(type(error)):
        visitor.write({"a": 2})


def test_destroying_a_new_session_deletes_nothing(factory: Backend) -> None:
    store = stored(factory)
    store.get_session().destroy()
    saved_headers(store)
    assert factory.log == []


@pytest.mark.parametrize("on_backend_error", ["raise", "degrade"])
def test_failed_deletion_is_an_error_in_any_case(on_backend_error: str, factory: Backend) -> None:
    """A sign-out that did not happen must not look as if it had."""
    store = stored(failing(factory, "_delete"), sid_cookie(), on_backend_error=on_backend_error)
    store.get_session().destroy()
    with pytest.raises(BackendUnavailable):
        saved_headers(store)


def test_degraded_session_is_destroyed_all_the_same(factory: Backend) -> None:
    store = stored(failing(factory, "_read"), sid_cookie(), **DEGRADING)
    store.get_session().destroy()
    assert "Max-Age=0" in saved_headers(store)[0]
    assert factory.records == {}


def test_session_that_another_request_destroyed(
    factory: Backend, caplog: pytest.LogCaptureFixture
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


@pytest.mark.parametrize(("age", "renewed"), [(59, False), (60, True), (1000, True)])
def test_unmodified_session_is_renewed_when_its_cookie_is_old_enough(
    age: int, renewed: bool, factory: Backend, clock: Clock
) -> None:
    """Its record is touched, and its cookie signed again."""
    clock.advance(age)
    store = stored(factory, sid_cookie(), refresh_after=60, session_max_age=5000)
    store.get_session()
    cookie = f"session={sign('session', {'_sid': SID}, NOW + age)}; Path=/"
    assert saved_headers(store) == [cookie] * renewed
    lifetimes = [call[-1] for call in factory.log if call[0] == "write"]
    assert lifetimes == [5000] * renewed


def test_session_that_is_gone_is_not_renewed(factory: Backend, clock: Clock) -> None:
    clock.advance(60)
    store = stored(factory, sid_cookie(), refresh_after=60)
    store.get_session()
    factory.records.clear()
    assert saved_headers(store) == []


def test_renewal_writes_what_is_stored(factory: Backend, clock: Clock) -> None:
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


@pytest.mark.parametrize(("age", "session"), [(100, {"a": 1}), (101, {})])
def test_absolute_age_counts_from_the_last_signature_where_no_beginning_is_known(
    age: int, session: dict[str, Any], factory: Backend, clock: Clock
) -> None:
    clock.advance(age)
    assert stored(factory, sid_cookie(), absolute_max_age=100).get_session() == session


def test_beginning_stands_in_the_cookie_only(factory: Backend, clock: Clock) -> None:
    """The record holds what the application stored, and the cookie tells when that began."""
    store = stored(factory, absolute_max_age=100)
    session = store.get_session()
    session["a"] = 1
    [header] = saved_headers(store)
    held = {"_sid": session.container.sid}
    assert header == f"session={sign_with('session', held, {'began': NOW})}; Path=/"
    assert factory.records[session.container.sid] == {"a": 1}


@pytest.mark.parametrize(
    ("config", "age", "expected"),
    [({}, 0, 100), ({"session_max_age": 60}, 0, 60), ({"session_max_age": 60}, 70, 30)],
)
def test_record_lives_no_longer_than_the_absolute_age(
    config: dict[str, Any], age: int, expected: float, factory: Backend, clock: Clock
) -> None:
    visitor = Visitor(make_app(backends={"securecookie": factory}, absolute_max_age=100, **config))
    visitor.write({"a": 1})
    if age:
        clock.advance(age)
        visitor.write({"a": 2}, max_age=80)
    assert factory.log[-1][3] == expected


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
def versions(factory: Backend) -> type[Versions]:
    """A backend with compare-and-set, with the session SID in it."""
    return type("Factory", (Versions,), {**vars(factory), "versions": {}})


def test_save_gives_up_on_a_session_that_never_comes_to_rest(
    versions: type[Versions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp2_sessions.stored.merging.Merger._pause", lambda *args: None)
    monkeypatch.setattr(versions, "_write_version", lambda *args: None)
    store = stored(versions, sid_cookie(), on_conflict="merge")
    store.get_session()["b"] = 2
    response = webapp2.Response()
    with pytest.raises(SessionConflict, match="other requests changed the session at each try"):
        store.save_sessions(response)
    assert response.headers.getall("Set-Cookie") == []


@pytest.mark.parametrize("cookie", [None, sid_cookie()], ids=["new", "stored"])
def test_backend_without_versions_cannot_merge(factory: Backend, cookie: str | None) -> None:
    with pytest.raises(ConfigError, match="Factory cannot compare and set") as refused:
        stored(factory, cookie, on_conflict="merge").get_session()
    assert refused.value.key == "on_conflict"
