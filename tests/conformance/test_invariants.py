"""What must hold of every session on every backend, whoever sends what and whatever fails when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.contract import MANAGED, RECORDS, SIGNED, STORED, Backend
from support.implementations import Clock
from support.stores import sign
from support.visits import Visitor

from webapp2_sessions import BackendError, SessionDict, SessionStore, StoredSessionFactory

#: Those whose records know their session's name.
MEMCACHED = [name for name in RECORDS if name.startswith("memcache")]
#: Where it asks for the namespace.
MEMCACHE = "webapp2_sessions.sessions_memcache.factory"
#: Those that keep objects of an application's classes.
PICKLED = [name for name in RECORDS if not name.endswith(("json", "all"))]

#: Keys under which older versions kept what is their own, with the values of an attacker.
RESERVED: dict[str, Any] = {
    "__max_age__": 10**9,
    "__began__": 10**400,
    "__spilled__": "s" * 22,
    "max_age": 10**9,
    "began": 0,
    "spilled": "s" * 22,
    "_sid": "s" * 22,
}


def open_twice(visitor: Visitor, backend: Backend) -> tuple[SessionStore, SessionDict]:
    """The store and session of a request that is still running."""
    store = SessionStore(visitor.request())
    return store, store.get_session(backend=backend.keyword)


def save(store: SessionStore) -> list[str]:
    """The cookies that a request sends."""
    response = webapp2.Response()
    store.save_sessions(response)
    return list(response.headers.getall("Set-Cookie"))


# What we keep beside the data is never read from the data.


@pytest.mark.parametrize("key", RESERVED)
def test_data_is_never_read_as_attributes(clock: Clock, backend: Backend, key: str) -> None:
    """Whatever keys a visitor has put into a session, they come back and do nothing."""
    limits = {"session_max_age": 100, "absolute_max_age": 1000}
    visitor = backend.visitor(backend.app(**limits))
    data = {"a": 1, key: RESERVED[key]}
    visitor.write(data)
    assert visitor.read() == data
    clock.advance(101)
    assert visitor.read() == {}


@pytest.mark.parametrize("backend", SIGNED, indirect=True)
@pytest.mark.parametrize("key", ["__max_age__", "__began__", "__spilled__"])
@pytest.mark.parametrize("value", [10**9, 7, "7", -1, None, 10**30, "s" * 22])
def test_cookie_of_another_library_is_read_as_data(
    clock: Clock, backend: Backend, key: str, value: Any
) -> None:
    """A signed cookie of upstream may hold any keys."""
    limits = {"session_max_age": 100, "absolute_max_age": 1000}
    visitor = backend.visitor(backend.app(**limits))
    visitor.cookies["session"] = sign("session", {"a": 1, key: value}, int(clock.now))
    assert visitor.read() == {"a": 1, key: value}
    clock.advance(101)
    assert visitor.read() == {}


@pytest.mark.parametrize("backend", SIGNED, indirect=True)
def test_cookie_with_attributes_cannot_be_made_by_signing_values(backend: Backend) -> None:
    """An application that signs what a visitor sends signs no attributes."""
    visitor = backend.visitor(backend.app(session_max_age=100))
    store = SessionStore(visitor.request())
    for value in ([{"a": 1}, {"max_age": 10**9}], {"a": [{}, {"max_age": 9}]}):
        response = webapp2.Response()
        store.save_secure_cookie(response, "session", value)
        visitor.take(response)
        with visitor.visit() as session:
            assert session.container.own_max_age is None


# What a session is read from is fixed when it is read.


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_own_age_is_kept_with_a_stored_session(clock: Clock, backend: Backend) -> None:
    """A write by an earlier cookie of the same id does not undo it."""
    visitor = backend.visitor(backend.app(session_max_age=10_000))
    visitor.write({"a": 1})
    earlier = dict(visitor.cookies)
    with visitor.visit() as session:
        session.set_max_age(300)
    later, visitor.cookies = visitor.cookies, earlier
    if not backend.is_cookie:  # the cookie of a spilled session is of the size that it has
        visitor.write({"b": 2})
        assert "; Max-Age=300; " in visitor.set_cookies[0]
    visitor.cookies = later
    clock.advance(301)
    assert visitor.read() == {}


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_new_id_forgets_an_age_that_came_with_the_session(backend: Backend) -> None:
    """Who planted the session may have given it any age; what this request says counts."""
    visitor = backend.visitor(backend.app(session_max_age=100))
    with visitor.visit() as session:
        session["a"] = 1
        session.set_max_age(2**31 - 1)
    with visitor.visit() as session:
        session.regenerate_id()
        session["user"] = "ada"
    assert "Max-Age" not in visitor.set_cookies[-1]
    with visitor.visit() as session:
        session.set_max_age(500)
        session.regenerate_id()
    assert "; Max-Age=500; " in visitor.set_cookies[-1]


def test_of_several_cookies_the_one_signed_last_counts(clock: Clock, backend: Backend) -> None:
    """Wherever it stands in the header."""
    app = backend.app()
    old, new = backend.visitor(app), backend.visitor(app)
    old.write({"who": "old"})
    clock.advance(5)
    new.write({"who": "new"})
    pairs = [f"session={each.cookies['session']}" for each in (old, new)]
    for header in ("; ".join(pairs), "; ".join(reversed(pairs))):
        request = new.request()
        request.environ["HTTP_COOKIE"] = header
        assert SessionStore(request).get_session(backend=backend.keyword) == {"who": "new"}


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_cookie_that_opens_nothing_does_not_displace_one_that_does(
    clock: Clock, backend: Backend
) -> None:
    """A signed id of a session that was destroyed, signed later than the good one."""
    app = backend.app(renewal_grace=0)
    good, gone = backend.visitor(app), backend.visitor(app)
    good.write({"who": "good"})
    clock.advance(5)
    gone.write({"who": "gone"})
    dead = gone.cookies["session"]
    with gone.visit() as session:
        session.destroy()
    pairs = [f"session={good.cookies['session']}", f"session={dead}"]
    for header in ("; ".join(pairs), "; ".join(reversed(pairs))):
        request = good.request()
        request.environ["HTTP_COOKIE"] = header
        assert SessionStore(request).get_session(backend=backend.keyword) == {"who": "good"}


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
def test_cookie_that_is_too_old_does_not_displace_a_good_one(
    clock: Clock, backend: Backend
) -> None:
    """By its absolute age, although it was signed last."""
    app = backend.app(absolute_max_age=100, refresh_after=1)
    old, good = backend.visitor(app), backend.visitor(app)
    old.write({"who": "old"})
    clock.advance(50)
    good.write({"who": "good"})
    clock.advance(50)
    old.read()  # signs its cookie again
    clock.advance(1)
    pairs = [f"session={each.cookies['session']}" for each in (good, old)]
    for header in ("; ".join(pairs), "; ".join(reversed(pairs))):
        request = good.request()
        request.environ["HTTP_COOKIE"] = header
        assert SessionStore(request).get_session(backend=backend.keyword) == {"who": "good"}


def test_many_cookies_ask_the_server_a_few_times(clock: Clock) -> None:
    """A visitor may send any number of cookies that were once signed."""
    asked: list[str] = []

    class Factory(StoredSessionFactory):
        def _read(self, sid: str) -> None:
            asked.append(sid)

    backend = Backend("mine", True, backends={"mine": Factory})
    visitor = backend.visitor()
    values = [sign("session", {"_sid": f"{n:022}"}, int(clock.now)) for n in range(50)]
    request = visitor.request()
    request.environ["HTTP_COOKIE"] = "; ".join(f"session={value}" for value in values)
    assert SessionStore(request).get_session(backend="mine") == {}
    assert len(asked) == 4


@pytest.mark.parametrize("backend", MANAGED, indirect=True)
@pytest.mark.parametrize("end", ["destroy", "regenerate_id"])
def test_cookies_that_were_set_elsewhere_expire(backend: Backend, end: str) -> None:
    """Those that the configuration names, when a session ends or gets a new id."""
    former = [{"path": "/"}, {"path": "/old", "domain": "example.com"}, {"path": "/app"}]
    app = backend.app(cookie_args={"path": "/app"}, former_cookie_args=former)
    visitor = backend.visitor(app)
    visitor.write({"a": 1})
    assert len(visitor.set_cookies) == 1
    with visitor.visit() as session:
        getattr(session, end)()
    present, *expired = visitor.set_cookies
    assert [header.partition("; Path=")[2].partition(";")[0] for header in expired] == ["/", "/old"]
    assert all("; Max-Age=0; " in header for header in expired)
    assert ("; Max-Age=0; " in present) is (end == "destroy")
    assert "; Path=/app" in present


# A new id: nothing of the request is ever written under the former one.


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_nothing_is_written_under_the_former_id(backend: Backend) -> None:
    """Whoever polls with the former cookie never sees what is written after the new id."""
    visitor = backend.visitor(backend.app(renewal_grace=0))
    visitor.write({"secret": 0})
    known = 0, dict(visitor.cookies)
    seen: list[tuple[int, Any]] = []
    stop = threading.Event()

    def poll() -> None:
        while not stop.is_set():
            number, cookies = known
            outsider = backend.visitor(visitor.app)
            outsider.cookies = dict(cookies)
            seen.append((number, outsider.read().get("secret")))

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        for number in range(20):
            known = number, dict(visitor.cookies)
            with visitor.visit() as session:
                session.regenerate_id()
                session["secret"] = number + 1
    finally:
        stop.set()
        thread.join()
    assert [(number, found) for number, found in seen if found not in (None, number)] == []
    assert visitor.read() == {"secret": 20}


class Broken(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize("backend", RECORDS, indirect=True)
@pytest.mark.parametrize("fails_with", [Broken, BackendError])
@pytest.mark.parametrize("on_conflict", ["overwrite", "merge"])
@pytest.mark.parametrize("method", ["_write", "_write_version", "_delete"])
def test_server_fails_between_the_writes_of_a_renewal(
    backend: Backend,
    method: str,
    on_conflict: str,
    fails_with: Callable[..., Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The former id has what it had, and another try in the same request ends it."""
    app = backend.app(on_conflict=on_conflict, on_backend_error="raise", renewal_grace=0)
    visitor = backend.visitor(app)
    visitor.write({"a": 1})
    former = dict(visitor.cookies)
    store, session = open_twice(visitor, backend)
    session.regenerate_id()
    session["user"] = "ada"
    factory: Any = type(session.container)
    error = fails_with("x", "y", "z")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(factory, method, fail)
        try:
            save(store)
        except (Broken, BackendError):
            outsider = backend.visitor(app)
            outsider.cookies = former
            patch.undo()
            assert outsider.read() == {"a": 1}
            assert len(save(store)) == 1
    outsider = backend.visitor(app)
    outsider.cookies = former
    assert outsider.read() == {}


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_late_request_with_the_former_id_is_not_a_new_visitor(
    clock: Clock, backend: Backend
) -> None:
    """It reads nothing, writes nothing and sets no cookie, for some seconds."""
    visitor = backend.visitor()
    visitor.write({"cart": 1})
    late = backend.visitor(visitor.app)
    late.cookies = dict(visitor.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
        session["user"] = "ada"
    with late.visit() as session:
        assert session == {}
        session["theme"] = "dark"
    assert late.set_cookies == []
    assert visitor.read() == {"cart": 1, "user": "ada"}
    clock.advance(12)  # Datastore goes by the real clock, which has not stopped
    with late.visit() as session:
        assert (session, session.new) == ({}, True)
        session["theme"] = "dark"
    assert len(late.set_cookies) == 1
    assert late.read() == {"theme": "dark"}


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_late_request_may_begin_a_session_of_its_own(backend: Backend) -> None:
    """One that signs somebody in says so by asking for a new id; nobody has seen that one."""
    visitor = backend.visitor()
    visitor.write({"cart": 1})
    late = backend.visitor(visitor.app)
    late.cookies = dict(visitor.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
    with late.visit() as session:
        session.regenerate_id()
        session["user"] = "bob"
    assert (late.read(), visitor.read()) == ({"user": "bob"}, {"cart": 1})


@pytest.mark.parametrize("backend", STORED, indirect=True)
def test_late_request_may_sign_out(backend: Backend) -> None:
    """The browser forgets the cookie."""
    visitor = backend.visitor()
    visitor.write({"cart": 1})
    late = backend.visitor(visitor.app)
    late.cookies = dict(visitor.cookies)
    with visitor.visit() as session:
        session.regenerate_id()
    with late.visit() as session:
        session.destroy()
    assert ["; Max-Age=0; " in header for header in late.set_cookies] == [True]


# A record belongs to a session's name.


@pytest.mark.parametrize(
    "backend", [name for name in RECORDS if name.startswith("memcache")], indirect=True
)
def test_record_of_another_name_is_none(clock: Clock, backend: Backend) -> None:
    """Where that costs nothing: an id of one session opens none of another."""
    visitor = backend.visitor()
    sid = visitor.write({"a": 1}, name="shop")
    for name in ("auth", "shop"):
        visitor.cookies[name] = sign(name, {"_sid": sid}, int(clock.now))
    assert (visitor.read(name="auth"), visitor.read(name="shop")) == ({}, {"a": 1})


# What cannot be decoded


@pytest.mark.parametrize(
    "backend", [name for name in RECORDS if not name.endswith(("json", "all"))], indirect=True
)
def test_session_that_cannot_be_decoded(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error; or a new session, with which the visitor can sign out of the stored one."""
    visitor = backend.visitor()

    class Cart:
        pass

    monkeypatch.setattr(f"{__name__}.Cart", Cart, raising=False)
    Cart.__qualname__ = "Cart"
    visitor.write({"cart": Cart()})
    monkeypatch.delattr(f"{__name__}.Cart")
    with pytest.raises(BackendError, match="cannot be decoded"):
        visitor.read()
    SessionStore(visitor.request()).config["on_unreadable"] = "new"
    for _ in range(2):
        with visitor.visit() as session:
            assert (session, session.new) == ({}, True)
    former = dict(visitor.cookies)
    with visitor.visit() as session:
        session.destroy()
    SessionStore(visitor.request()).config["on_unreadable"] = "raise"
    visitor.cookies = former
    assert visitor.read() == {}


# Names


@pytest.mark.parametrize("name", ["changed", "destroyed", "degraded"])
def test_keys_are_found_before_names_that_upstream_has_not(visitor: Visitor, name: str) -> None:
    """In a template ``{{ session.changed }}`` asks for the attribute."""
    visitor.write({name: "a key"})
    with visitor.visit() as session:
        assert getattr(session, name) == "a key"
        del session[name]
        assert getattr(session, name) != "a key"


def test_default_backend(backend: Backend) -> None:
    """What ``get_session()`` opens; ``backend="securecookie"`` stays what it says."""
    visitor = Visitor(backend.app(default_backend=backend.keyword))
    visitor.write({"a": 1})
    assert visitor.read() == {"a": 1} == visitor.read(backend=backend.keyword)
    explicit = visitor.read(backend="securecookie")
    assert (explicit == {"a": 1}) is (backend.keyword == "securecookie")


# A place is fixed where a session is opened.


@pytest.mark.parametrize("backend", ["spill", "encrypted-spill"], indirect=True)
def test_session_spills_into_the_namespace_where_it_was_opened(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it has been in its cookie until then."""
    tenant = ["a"]
    monkeypatch.setattr("webapp2_sessions.stored.keyed.current_namespace", lambda: tenant[0])
    visitor = backend.visitor(backend.app(max_cookie_size=300))
    with visitor.visit() as session:
        session["large"] = "x" * 400
        tenant[0] = "b"
    assert visitor.read() == {}
    tenant[0] = "a"
    assert visitor.read() == {"large": "x" * 400}


@pytest.mark.parametrize("backend", ["memcache", "memcache-merge", "spill"], indirect=True)
def test_tenants_do_not_share_sessions_in_memcached(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record belongs to the namespace that is current when it is opened, or a fixed one."""
    tenant = ["a"]
    monkeypatch.setattr("webapp2_sessions.stored.keyed.current_namespace", lambda: tenant[0])
    visitor = backend.visitor()
    with visitor.visit() as session:
        session["user"] = "ada"
        tenant[0] = "b"  # a handler that goes on as somebody else
    assert visitor.read() == {}
    tenant[0] = "a"
    assert visitor.read() == {"user": "ada"}
    fixed = {**SessionStore(visitor.request()).config["memcache"], "namespace": "all"}
    visitor = backend.visitor(backend.app(memcache=fixed))
    visitor.write({"user": "bob"})
    tenant[0] = "b"
    assert visitor.read() == {"user": "bob"}
