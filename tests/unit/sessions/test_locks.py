"""Threads of one request: they get one store, and one session of each name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.forks import PATIENCE, Stop, forks, goes_on, in_child
from support.stores import DictFactory, make_request, make_store, sid_cookie
from support.visits import make_app

from webapp2_sessions import SessionHandler, SessionStore, get_store
from webapp2_sessions.sessions.locks import lock_of

SID = "0123456789abcdefghijAB"


class Backend:
    """A backend whose first read waits until the test lets it go on."""

    def __init__(self) -> None:
        self.stop = stop = Stop()
        self.log = log = []  # type: ignore[var-annotated]

        class Factory(DictFactory):
            records = {SID: {"n": 1}}  # noqa: RUF012

            def _read(self, sid: str) -> Any:
                is_first = not log
                found = super()._read(sid)
                if is_first:
                    stop()
                return found

        Factory.log = log
        self.factory = Factory


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(6) as executor:
        yield executor


def new_store(backend: Backend) -> SessionStore:
    app = make_app(backends={"securecookie": backend.factory})
    return SessionStore(make_request(app, f"{sid_cookie()}; {sid_cookie(name='other')}"))


def results(backend: Backend, threads: ThreadPoolExecutor, *calls: Callable[[], Any]) -> list[Any]:
    """Return what threads return; the first one is in the backend when the others come."""
    futures = [threads.submit(calls[0])]
    assert backend.stop.reached.wait(PATIENCE)
    futures += map(threads.submit, calls[1:])
    assert [goes_on(future) for future in futures[:2]] == [False, False]
    backend.stop.left.set()
    return [future.result(PATIENCE) for future in futures]


def test_threads_get_one_session(backend: Backend, threads: ThreadPoolExecutor) -> None:
    store = new_store(backend)
    sessions = results(backend, threads, *[store.get_session] * 6)
    assert {id(session) for session in sessions} == {id(store.get_session())}
    assert backend.log == [("read", SID)]


def test_handlers_threads_get_one_session(backend: Backend, threads: ThreadPoolExecutor) -> None:
    app = make_app(backends={"securecookie": backend.factory})

    def get(self: Any) -> None:
        # Its attribute is the first to ask for the store as well.
        sessions = results(backend, threads, *[lambda: self.session] * 6)
        for number, session in enumerate(sessions):
            session[str(number)] = number

    app.router.add(("/", type("Page", (SessionHandler,), {"get": get})))
    assert app.get_response("/", headers={"Cookie": sid_cookie()}).status_int == 200
    assert backend.log[0] == ("read", SID)
    [(_, _, data, _)] = backend.log[1:]
    assert data == {"n": 1, **{str(number): number for number in range(6)}}


def test_set_secure_cookie_waits_as_well(backend: Backend, threads: ThreadPoolExecutor) -> None:
    store = new_store(backend)
    session, _ = results(
        backend, threads, store.get_session, lambda: store.set_secure_cookie("session", {"m": 2})
    )
    assert session == {"n": 1, "m": 2}


def test_store_without_our_init_has_a_lock(backend: Backend, threads: ThreadPoolExecutor) -> None:
    class Store(SessionStore):
        def __init__(self, made: SessionStore) -> None:
            self.request, self.config, self.sessions = made.request, made.config, {}

    store = Store(new_store(backend))
    one, two = results(backend, threads, store.get_session, store.get_session)
    assert one is two


def test_factory_may_open_another_session_while_it_loads_its_own(backend: Backend) -> None:
    class Factory(DictFactory):
        log = []  # noqa: RUF012
        records = {SID: {"outer": 1}}  # noqa: RUF012

        def _read(self, sid: str) -> Any:
            inner = self.session_store.get_session("other", factory=backend.factory)
            return {**super()._read(sid), **inner}

    backend.stop.left.set()
    assert new_store(backend).get_session(factory=Factory) == {"outer": 1, "n": 1}


def test_stores_of_one_request_do_not_wait_for_each_other(threads: ThreadPoolExecutor) -> None:
    """Two threads open sessions of two stores, each in the other one's loading."""
    request = make_request()
    stores = [get_store(key=key, request=request) for key in ("one", "two")]
    inside = Stop()

    class Factory(DictFactory):
        log = []  # noqa: RUF012
        records = {}  # noqa: RUF012

        def get_session(self, max_age: Any = None) -> Any:
            inside()
            if self.name == "outer":
                [other] = [store for store in stores if store is not self.session_store]
                other.get_session("inner", factory=Factory)
            return super().get_session(max_age)

    futures = [threads.submit(store.get_session, "outer", factory=Factory) for store in stores]
    assert inside.reached.wait(PATIENCE)
    inside.left.set()
    assert [future.result(PATIENCE) for future in futures] == [{}, {}]


@forks
def test_child_waits_for_no_parents_thread(backend: Backend, threads: ThreadPoolExecutor) -> None:
    store = new_store(backend)
    first = threads.submit(store.get_session)
    assert backend.stop.reached.wait(PATIENCE)
    assert in_child(lambda: store.get_session() == {"n": 1})
    backend.stop.left.set()
    assert first.result(PATIENCE) == {"n": 1}


def test_threads_get_one_store_though_its_factory_is_slow(threads: ThreadPoolExecutor) -> None:
    request, made = make_request(), Stop()
    stores: list[Any] = []

    def factory(request: Any) -> SessionStore:
        stores.append(SessionStore(request))
        made()
        return stores[-1]

    first = threads.submit(get_store, factory, request=request)
    assert made.reached.wait(PATIENCE)
    futures = [first, *(threads.submit(get_store, factory, request=request) for _ in range(5))]
    assert not goes_on(futures[1])
    made.left.set()
    assert [future.result(PATIENCE) for future in futures] == [stores[0]] * 6


def test_request_needs_only_what_a_store_needs() -> None:
    class Request:
        __slots__ = ("app", "registry")

    request: Any = Request()
    request.app, request.registry = make_app(), {}
    store = get_store(request=request)
    assert type(store) is SessionStore
    assert get_store(request=request) is store


def test_factory_may_wrap_the_store_that_it_asks_for() -> None:
    request = make_request()
    made = get_store(lambda request: [get_store(request=request)], request=request)
    assert type(made) is list
    assert get_store(request=request) is made


def test_store_that_is_false_is_made_each_time() -> None:
    request = make_request()

    class Store(SessionStore):
        def __bool__(self) -> bool:
            return False

    assert get_store(Store, request=request) is not get_store(Store, request=request)


def test_requests_do_not_wait_for_each_other(threads: ThreadPoolExecutor) -> None:
    made = Stop()
    first = threads.submit(get_store, made, request=make_request())
    assert made.reached.wait(PATIENCE)
    second = threads.submit(get_store, request=make_request())
    assert type(second.result(PATIENCE)) is SessionStore
    made.left.set()
    assert first.result(PATIENCE) is True


class Owner:
    """Any object with attributes."""


def test_store_needs_no_live_request() -> None:
    """Its lock is its own, however it knows the request: by webapp2's proxy, by another name."""

    class Other(SessionStore):
        def __init__(self, request: Any) -> None:
            self._other = request
            self.config, self.sessions = {**make_store().config}, {}

        request = property(lambda self: self._other)  # type: ignore[assignment]

    app = make_app()
    app.set_globals(app=app, request=(request := make_request(app)))
    store = get_store()
    store.get_session()["a"] = 1
    app.clear_globals()
    assert store.get_session() == {"a": 1}
    store.set_secure_cookie("session", {"b": 2})
    assert store.get_session() == {"a": 1, "b": 2}
    assert Other(request).get_session() == {}


@forks
def test_child_and_its_own_child_have_locks_of_their_own() -> None:
    owner = Owner()
    parents = lock_of(owner)

    def grandchild() -> bool:
        return len(vars(owner)) == 2 and lock_of(owner) not in (parents, child[0])

    child: list[Any] = []

    def action() -> bool:
        child.append(lock_of(owner))
        return child[0] is not parents and in_child(grandchild)

    pid = os.getpid()
    assert in_child(action)
    assert (os.getpid(), lock_of(owner), len(vars(owner))) == (pid, parents, 1)
