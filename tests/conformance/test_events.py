"""What ``on_event`` is told of, on each backend."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.contract import Backend
from support.implementations import Clock
from support.servers import free_port
from support.visits import Visitor, make_app

from webapp2_sessions import BackendError, BackendUnavailable, SessionStore
from webapp2_sessions.errors import UnreadableSession
from webapp2_sessions.sessions.events import SessionEvent
from webapp2_sessions.sessions.sign_outs import delete_destroyed
from webapp2_sessions.testing import MemorySessionFactory

#: A value that no event may show.
VALUE = "the value of a session"


class Watcher:
    """Keeps what it is told.

    :param spills: whether sessions spill to another backend, of which tests of the cookie's own
        events do not ask.
    """

    def __init__(self, spills: bool = False) -> None:
        self.events: list[SessionEvent] = []
        self.spills = spills

    def __call__(self, event: SessionEvent) -> None:
        self.events.append(event)

    def told(self, visit: Callable[[], object]) -> list[SessionEvent]:
        """What is told of during a visit, but for the cache."""
        self.events.clear()
        visit()
        return [
            event
            for event in self.events
            if not event.kind.startswith("cache")
            and not (self.spills and not event.backend.endswith("cookie"))
        ]

    def kinds(self, visit: Callable[[], object]) -> list[str]:
        """The kinds of that."""
        return [event.kind for event in self.told(visit)]


@pytest.fixture
def watcher(backend: Backend) -> Watcher:
    return Watcher(spills=backend.is_cookie and backend.is_stored)


@pytest.fixture
def visitor(backend: Backend, watcher: Watcher) -> Visitor:
    """A visitor of an application that watches its sessions."""
    if not backend.is_ours:
        pytest.skip("a backend of upstream's kind tells nothing")
    return backend.configured(on_event=watcher).visitor()


def renew(visitor: Visitor) -> None:
    """Make a request that gives the session a new id."""
    with visitor.visit() as session:
        session.regenerate_id()


def end(visitor: Visitor) -> None:
    """Make a request that ends the session."""
    with visitor.visit() as session:
        session.destroy()


def test_each_deed_is_told_of_once(visitor: Visitor, backend: Backend, watcher: Watcher) -> None:
    assert watcher.kinds(visitor.read) == []  # there was nothing to load
    assert watcher.kinds(lambda: visitor.write({"a": 1})) == ["save"]
    assert watcher.kinds(visitor.read) == ["load"]
    assert watcher.kinds(lambda: visitor.write({"a": 2})) == ["load", "save"]
    renewed = ["load", "save"] if backend.is_cookie else ["load", "renewal", "save"]
    assert watcher.kinds(lambda: renew(visitor)) == renewed
    assert watcher.kinds(lambda: end(visitor)) == ["load", "end"]


def test_nothing_that_was_not_there_is_told_to_have_ended(
    visitor: Visitor, backend: Backend, watcher: Watcher
) -> None:
    """Not for a visitor without a session, nor for the second of two sign-outs at once."""
    assert watcher.kinds(lambda: end(visitor)) == []
    visitor.write({"a": 1})
    late = SessionStore(visitor.request())
    late.get_session(**visitor.options).destroy()
    cookies = dict(visitor.cookies)
    assert watcher.kinds(lambda: end(visitor)) == ["load", "end"]
    expected = ["end"] if backend.is_cookie else []  # a cookie is a session as it is
    assert watcher.kinds(lambda: late.save_sessions(webapp2.Response())) == expected
    visitor.cookies = cookies
    expected = ["load", "end"] if backend.is_cookie else ["load"]
    assert watcher.kinds(lambda: end(visitor)) == ([] if watcher.spills else expected)


def test_the_second_of_two_new_ids_ends_nothing(visitor: Visitor, watcher: Watcher) -> None:
    """It removes its own copy: the session goes on with the first one."""
    visitor.write({"a": 1})

    def meet() -> None:
        with visitor.visit() as session:
            renew(visitor)
            session.regenerate_id()

    assert "end" not in watcher.kinds(meet)


def test_an_end_beside_a_failure_is_told_of_once(visitor: Visitor, watcher: Watcher) -> None:
    """What is destroyed ends again on each answer that is tried: its cookie has to expire there."""

    class Silent(MemorySessionFactory):
        def save_session(self, response: Any) -> None:
            raise BackendUnavailable("a cookie", "this process", "is silent")

    visitor.write({"a": 1})
    store = SessionStore(visitor.request())
    store.get_session(**visitor.options).destroy()
    store.get_session("other", factory=Silent)

    def save() -> None:
        with pytest.raises(BackendUnavailable):
            store.save_sessions(webapp2.Response())
        delete_destroyed(store, webapp2.Response())

    assert sorted(watcher.kinds(save)) == ["end", "error"]


def test_an_event_has_a_time_and_a_size(
    visitor: Visitor, backend: Backend, watcher: Watcher
) -> None:
    """The size of a session that comes from the cache is that of its entry."""
    [saved] = watcher.told(lambda: visitor.write({"a": VALUE * 10}))
    [loaded] = watcher.told(visitor.read)
    hits = [event for event in watcher.events if event.kind == "cache_hit"]
    assert {saved.backend, loaded.backend} == {backend.keyword}
    assert saved.size is None or saved.size > 0
    if backend.keyword != "memory" and not watcher.spills:
        assert saved.size is not None
        assert saved.size > len(VALUE * 10)
        assert [event.size for event in hits or [loaded] if event.size] != []
    for event in (saved, loaded, *hits):
        assert event.seconds is not None
        assert event.seconds >= 0
        assert event.error is None


def test_no_event_has_an_id_or_a_value(visitor: Visitor, watcher: Watcher) -> None:
    sid = visitor.write({"a": VALUE})
    visitor.read()
    renew(visitor)
    end(visitor)
    told = repr(watcher.events)
    assert watcher.events
    assert VALUE not in told
    assert sid is None or sid not in told


def test_a_refreshed_session_is_told_of(
    visitor: Visitor, watcher: Watcher, backend: Backend, clock: Clock
) -> None:
    visitor = backend.configured(on_event=watcher, refresh_after=60).visitor()
    visitor.write({"a": 1})
    clock.now += 61
    assert watcher.kinds(visitor.read) == ["load", "refresh"]


def test_a_watcher_that_fails_harms_nothing(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: SessionEvent) -> None:
        raise RuntimeError("no metrics today")

    visitor = backend.configured(on_event=fail).visitor()
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1}
    failures = [each for each in caplog.records if each.name.endswith(".events")]
    assert bool(failures) is backend.is_ours
    assert all(each.levelno == logging.ERROR and each.exc_info for each in failures)


def test_a_conflict_is_told_of(backend: Backend, visitor: Visitor, watcher: Watcher) -> None:
    if not backend.merges or backend.is_cookie:
        pytest.skip("nothing is merged")
    visitor.write({"a": 1})

    def meet() -> None:
        with visitor.visit() as session:
            session["b"] = 2
            visitor.write({"c": 3})

    assert "conflict" in watcher.kinds(meet)
    assert visitor.read() == {"a": 1, "b": 2, "c": 3}


DEAD = {
    "memcache": lambda: {"memcache": {"servers": [f"127.0.0.1:{free_port()}"]}},
    "redis": lambda: {"redis": {"url": f"redis://127.0.0.1:{free_port()}"}},
}


@pytest.mark.parametrize("keyword", DEAD)
def test_a_dead_server_is_told_of(keyword: str) -> None:
    watcher = Watcher()
    app = make_app(on_event=watcher, **DEAD[keyword]())

    def visit() -> None:
        with pytest.raises(BackendError):
            Visitor(app, backend=keyword).write({"a": 1})

    assert watcher.told(visit) == [
        SessionEvent("error", keyword, error="BackendUnavailable"),
    ]


@pytest.mark.parametrize("keyword", DEAD)
def test_a_degraded_session_is_told_of(keyword: str) -> None:
    watcher = Watcher()
    app = make_app(on_event=watcher, on_backend_error="degrade", **DEAD[keyword]())
    assert watcher.told(lambda: Visitor(app, backend=keyword).write({"a": 1})) == [
        SessionEvent("error", keyword, error="BackendUnavailable"),
        SessionEvent("degraded", keyword, error="BackendUnavailable"),
    ]


def test_a_secure_cookie_whose_server_is_dead_is_told_of() -> None:
    """One whose session has spilled is opened there before its data is set."""

    class Silent(MemorySessionFactory):
        def _read(self, sid: str) -> dict[Any, Any] | None:
            raise BackendUnavailable("memory", "this process", "is silent")

    watcher = Watcher()
    config = {"on_oversize": "memory", "max_cookie_size": 200}
    app = make_app(on_event=watcher, backends={"memory": Silent}, **config)
    visitor = Visitor(app)
    visitor.write({"a": "a" * 500})

    def set_cookie() -> None:
        with pytest.raises(BackendUnavailable):
            SessionStore(visitor.request()).set_secure_cookie("session", {"b": 1})

    assert watcher.told(set_cookie) == [SessionEvent("error", "memory", error="BackendUnavailable")]


def test_a_session_that_spills_is_told_of_in_both_places() -> None:
    watcher = Watcher()
    config = {"on_oversize": "memory", "max_cookie_size": 200}
    app = make_app(on_event=watcher, backends={"memory": MemorySessionFactory}, **config)
    visitor = Visitor(app)

    def told(visit: Callable[[], object]) -> list[tuple[str, str]]:
        return [(event.kind, event.backend) for event in watcher.told(visit)]

    both = ["memory", "securecookie"]
    assert told(lambda: visitor.write({"a": "a" * 500})) == [("save", place) for place in both]
    assert told(visitor.read) == [("load", place) for place in both]
    assert told(lambda: end(visitor)) == [
        *(("load", place) for place in both),
        *(("end", place) for place in both),
    ]


def test_a_session_that_is_begun_again_is_told_of() -> None:
    class Unreadable(MemorySessionFactory):
        def _read(self, sid: str) -> dict[Any, Any] | None:
            raise UnreadableSession("memory", "this process", "cannot be decoded")

    watcher = Watcher()
    app = make_app(on_event=watcher, on_unreadable="new", backends={"memory": Unreadable})
    visitor = Visitor(app, backend="memory")
    visitor.write({"a": 1})
    assert watcher.told(visitor.read) == [
        SessionEvent("error", "memory", error="UnreadableSession")
    ]


def test_a_watcher_that_fails_logs_its_own_error_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The error that it is told of may be caused by one of the application's own, with a value."""

    class Unreadable(MemorySessionFactory):
        def _read(self, sid: str) -> dict[Any, Any] | None:
            try:
                raise ValueError(f"{VALUE!r} is not a valid Tier")
            except ValueError as error:
                raise UnreadableSession("memory", "this process", "cannot be decoded") from error

    def fail(event: SessionEvent) -> None:
        try:
            {}["tier"]
        except KeyError:
            raise RuntimeError("no metrics today")  # noqa: B904

    app = make_app(on_event=fail, on_unreadable="new", backends={"memory": Unreadable})
    visitor = Visitor(app, backend="memory")
    visitor.write({"a": 1})
    visitor.read()
    assert "is begun again" in caplog.text
    assert "no metrics today" in caplog.text
    assert "KeyError: 'tier'" in caplog.text
    assert VALUE not in caplog.text


def test_a_sign_out_that_failed_is_told_of() -> None:
    class Undying(MemorySessionFactory):
        def _delete(self, sid: str) -> bool:
            raise BackendUnavailable("memory", "this process", "is silent")

    watcher = Watcher()
    visitor = Visitor(make_app(on_event=watcher, backends={"m": Undying}), backend="m")
    visitor.write({"a": 1})

    def visit() -> None:
        with pytest.raises(BackendError):
            end(visitor)

    assert {event.kind for event in watcher.told(visit)} == {"load", "error"}
    assert {event.error for event in watcher.events} == {None, "BackendUnavailable"}
