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
def collector_at_rest() -> Iterator[None]:
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
def test_request_ends_with_its_answer(get: Any, base: Any, wrap: Any) -> None:
    """Nothing of it waits for the cycle collector, though somebody has the store."""
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
    """Sessions in cookies and stored ones, read and written in the longer way."""
    records = {SID: {"n": 1}}
    if is_stored:
        factory = type("Factory", (DictFactory,), {"records": records, "log": []})
        config = {**config, "backends": {"securecookie": factory}}
    data = {"_sid": SID} if is_stored else {"n": 1}
    visit = Visit(modify, cookie=f"session={sign('session', data)}", **config)
    assert (visit.status, visit.request) == ("200 OK", None)
    assert records == {SID: {"n": 2 if is_stored else 1}}


def test_merging_does_not_keep_it() -> None:
    """With a backend that compares and sets."""
    visit = Visit(modify, backends={"securecookie": MemorySessionFactory}, on_conflict="merge")
    assert (visit.status, visit.request) == ("200 OK", None)


@pytest.mark.parametrize("option", ["ignore", "expire"])
def test_cookies_that_are_looked_at_closely_do_not_keep_it(option: str) -> None:
    """Of which something is remembered for the rest of the request."""
    visit = Visit(read, cookie="session=a|1|b; session=c", on_damaged_cookie=option)
    assert (visit.status, visit.request) == ("200 OK", None)


def test_store_has_the_request_as_long_as_there_is_one() -> None:
    """A handler that saves its sessions itself goes on as before, and may save them again."""

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


def test_request_that_somebody_keeps() -> None:
    """A thread, or what makes the body while it is being sent."""
    kept: list[Any] = []
    visit = Visit(lambda handler: kept.append(handler.request))
    assert visit.store.request is visit.request is kept[0]


def test_store_without_its_request() -> None:
    """It says what is the matter; sessions that it has can be used and saved."""
    visit = Visit(modify)
    store = visit.store
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


def test_request_that_nobody_answers_yet() -> None:
    """As in a test, or a script: nobody else may have it."""
    store = get_store(request=make_request(cookie=f"session={sign('session', {'a': 1})}"))
    store.save_sessions(webapp2.Response())
    assert store.get_session() == {"a": 1}
    assert store.request.registry["webapp2_extras.sessions.SessionStore"] is store


class OwnStore(SessionStore):
    """One that may do more with its request."""


def own_store_that_was_set(request: Any) -> OwnStore:
    """Made by the application, which registers it."""
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
def test_stores_of_which_nothing_is_known(make: Any) -> None:
    """They have the request for as long as they live, whatever they are for."""
    stores: list[Any] = []

    def get(handler: Any) -> None:
        store = make(handler.request)
        store.save_sessions(handler.response)
        stores.append(store)

    visit = Visit(get)
    assert stores[0].request is visit.request
    assert "GET / HTTP" in str(visit.request)


def test_active_request_of_webapp2() -> None:
    """``get_store()`` without a request has a proxy of it, which stays where it is."""
    found: list[Any] = []

    def get(handler: Any) -> None:
        store = get_store(key="other")
        store.save_sessions(handler.response)
        found.append((store, store.request, store.request.path))

    visit = Visit(get)
    [(store, proxy, path)] = found
    assert store.request is proxy
    assert (path, visit.request) == ("/", None)


def test_request_that_was_replaced() -> None:
    """What an application has put there is not taken away."""
    another = SimpleNamespace(environ={}, cookies={}, app=None)

    def get(handler: Any) -> None:
        handler.session_store.request = another

    visit = Visit(get)
    assert visit.status == "200 OK"
    assert visit.store.request is another


def test_request_whose_sessions_are_not_saved() -> None:
    """Because nobody does, or it fails."""

    def get(handler: Any) -> None:
        other = get_store(key="other", request=handler.request)
        other.get_session()["n"] = object()
        with pytest.raises(TypeError):
            other.save_sessions(handler.response)
        get_store(key="another", request=handler.request).get_session()["n"] = 1

    visit = Visit(get)
    assert (visit.status, visit.request) == ("200 OK", None)


def test_subclass_that_has_no_request() -> None:
    """It lacks the attribute, as any object would."""

    class Store(SessionStore):
        def __init__(self) -> None:
            pass

    with pytest.raises(AttributeError, match="'Store' object has no attribute"):
        getattr(Store(), "request")  # noqa: B009, it raises
