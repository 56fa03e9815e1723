"""Whether a store keeps its request alive: not where webapp2 answers it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import webapp2
from support.handlers import DocumentedHandler
from support.stores import SID, DictFactory, make_request, sign
from support.visits import make_app

from webapp2_sessions import SessionHandler, SessionMiddleware, SessionStore, get_store, set_store
from webapp2_sessions.testing import MemorySessionFactory


@pytest.fixture(autouse=True)
def collector_at_rest(young_heap: None) -> Iterator[None]:
    """Without the garbage collector, cycles keep objects alive."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Visit:
    """One request that webapp2 answers.

    :param get: the page; called with the handler.
    :param base: the handler's base class.
    :param wrap: returns the WSGI application around webapp2's.
    :param cookie: the Cookie header.
    :param config: the configuration of sessions.
    """

    def __init__(
        self,
        get: Callable[[Any], Any],
        base: Any = DocumentedHandler,
        wrap: Callable[[Any], Any] = lambda app: app,
        cookie: str = "",
        **config: Any,
    ) -> None:
        def page(handler: Any) -> Any:
            self._request = weakref.ref(handler.request)
            self.store = handler.session_store
            return get(handler)

        app = make_app(**config)
        app.router.add(("/", type("Page", (base,), {"get": page})))
        environ = webapp2.Request.blank("/", headers={"Cookie": cookie}).environ
        started: list[Any] = []
        list(wrap(app)(environ, lambda *args: started.append(args)))
        self.status, self.headers = started[0]

    @property
    def request(self) -> Any:
        """The request, ``None`` if it is no more."""
        return self._request()


def modify(handler: Any) -> None:
    """A page that changes its session."""
    handler.session["n"] = handler.session.get("n", 0) + 1


def read(handler: Any) -> None:
    """A page that reads it."""
    handler.session.get("n")


def use_nothing(handler: Any) -> None:
    """A page that has a session and does not touch it."""


@pytest.mark.parametrize("wrap", [lambda app: app, SessionMiddleware], ids=["", "middleware"])
@pytest.mark.parametrize("base", [DocumentedHandler, SessionHandler])
@pytest.mark.parametrize("get", [modify, read, use_nothing])
def test_request_ends_with_its_answer_in_spite_of_the_store(get: Any, base: Any, wrap: Any) -> None:
    visit = Visit(get, base, wrap, cookie=f"session={sign('session', {'n': 1})}")
    assert visit.status == "200 OK"
    assert visit.request is None
    assert visit.store.sessions.keys() == (set() if get is use_nothing else {"session"})


@pytest.mark.parametrize(
    "config",
    [{"change_detection": "content"}, {"absolute_max_age": 10**9}, {"refresh_after": 1}],
    ids=str,
)
@pytest.mark.parametrize("is_stored", [False, True])
def test_options_do_not_keep_it(is_stored: bool, config: dict[str, Any]) -> None:
    records = {SID: {"n": 1}}
    if is_stored:
        factory = type("Factory", (DictFactory,), {"records": records, "log": []})
        config = {**config, "backends": {"securecookie": factory}}
    data = {"_sid": SID} if is_stored else {"n": 1}
    visit = Visit(modify, cookie=f"session={sign('session', data)}", **config)
    assert (visit.status, visit.request) == ("200 OK", None)
    assert records == {SID: {"n": 2 if is_stored else 1}}


@pytest.mark.parametrize(
    "config",
    [
        {"backends": {"securecookie": MemorySessionFactory}, "on_conflict": "merge"},
        {"on_damaged_cookie": "ignore"},
        {"on_damaged_cookie": "expire"},
    ],
    ids=["merge", "ignore", "expire"],
)
def test_neither_merging_nor_damaged_cookies_keep_it(config: dict[str, Any]) -> None:
    visit = Visit(modify, cookie="session=a|1|b; session=c", **config)
    assert (visit.status, visit.request) == ("200 OK", None)


def test_handler_that_saves_its_sessions_itself_may_go_on_and_save_them_again() -> None:
    def get(handler: Any) -> None:
        store = handler.session_store
        for number in range(3):
            handler.session["n"] = number
            store.save_sessions(handler.response)
            assert store.request is handler.request
        assert store.get_session("other") == {"a": 1}
        assert store.get_secure_cookie("other") == {"a": 1}

    visit = Visit(get, cookie=f"other={sign('other', {'a': 1})}")
    assert visit.status == "200 OK"
    assert [name for name, _ in visit.headers].count("Set-Cookie") == 4


def test_request_that_somebody_keeps_is_the_stores() -> None:
    # A thread, or what makes the body while it is being sent.
    kept: list[Any] = []
    visit = Visit(lambda handler: kept.append(handler.request))
    assert visit.store.request is visit.request is kept[0]


def test_store_without_its_request_says_so_and_saves_the_sessions_that_it_has() -> None:
    store = Visit(modify).store
    with pytest.raises(AttributeError, match=r"the request has ended.*keep the request yourself"):
        getattr(store, "request")  # noqa: B009, it raises
    with pytest.raises(AttributeError, match="the request has ended"):
        store.get_session("another")
    assert getattr(store, "request", None) is None
    session = store.get_session()
    assert session == {"n": 1}
    session["n"] = 2
    store.save_sessions(response := webapp2.Response())
    assert response.headers["Set-Cookie"].startswith("session=")


def test_request_that_nobody_answers_is_kept_by_its_store() -> None:
    # As in a test, or a script: nobody else may have it.
    store = get_store(request=make_request(cookie=f"session={sign('session', {'a': 1})}"))
    store.save_sessions(webapp2.Response())
    assert store.get_session() == {"a": 1}
    assert store.request.registry["webapp2_extras.sessions.SessionStore"] is store


class OwnStore(SessionStore):
    """One that may do more with its request."""


def own_store_that_was_set(request: Any) -> OwnStore:
    store = OwnStore(request)
    set_store(store, key="own", request=request)
    return store


@pytest.mark.parametrize(
    "make",
    [
        SessionStore,
        own_store_that_was_set,
        lambda request: get_store(OwnStore, "own", request=request),
    ],
    ids=["by hand", "set", "of an own class"],
)
def test_store_of_which_nothing_is_known_keeps_its_request(make: Any) -> None:
    stores: list[Any] = []

    def get(handler: Any) -> None:
        store = make(handler.request)
        store.save_sessions(handler.response)
        stores.append(store)

    visit = Visit(get)
    assert stores[0].request is visit.request
    assert "GET / HTTP" in str(visit.request)


def test_proxy_of_the_active_request_stays_where_it_is() -> None:
    found: list[Any] = []

    def get(handler: Any) -> None:
        store = get_store(key="other")
        store.save_sessions(handler.response)
        found.append((store, store.request, store.request.path))

    visit = Visit(get)
    [(store, proxy, path)] = found
    assert store.request is proxy
    assert (path, visit.request) == ("/", None)


def test_request_that_an_application_has_put_there_is_kept() -> None:
    another = SimpleNamespace(environ={}, cookies={}, app=None)
    visit = Visit(lambda handler: setattr(handler.session_store, "request", another))
    assert visit.status == "200 OK"
    assert visit.store.request is another


def test_sessions_that_are_not_saved_do_not_keep_it() -> None:
    def get(handler: Any) -> None:
        other = get_store(key="other", request=handler.request)
        other.get_session()["n"] = object()
        with pytest.raises(TypeError):
            other.save_sessions(handler.response)
        get_store(key="another", request=handler.request).get_session()["n"] = 1

    visit = Visit(get)
    assert (visit.status, visit.request) == ("200 OK", None)


def test_subclass_without_a_request_lacks_the_attribute() -> None:
    class Store(SessionStore):
        def __init__(self) -> None:
            pass

    with pytest.raises(AttributeError, match="'Store' object has no attribute"):
        getattr(Store(), "request")  # noqa: B009, it raises
