"""Responses that several requests send: cookies are set on copies of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import webapp2
import webob.exc
from support.handlers import DocumentedHandler
from support.servers import Memcached
from support.visits import Visitor, make_app

from webapp2_sessions import SessionHandler, SessionMiddleware, get_store

#: Numbers that keep the prefixes of parallel runs on one memcached apart.
_numbers = itertools.count()


class SavingOnTheAnswer(DocumentedHandler):
    """A base handler that saves to the response that is sent."""

    def dispatch(self) -> Any:
        self.session_store = get_store(request=self.request)
        try:
            sent = webapp2.RequestHandler.dispatch(self)
        except webapp2.HTTPException as error:
            self.session_store.save_sessions(error)
            raise
        self.session_store.save_sessions(sent or self.response)
        return sent


#: Base handlers, and what is around the application.
KINDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "SessionHandler": (SessionHandler, lambda app: app),
    "SessionHandler in middleware": (SessionHandler, SessionMiddleware),
    "documented in middleware": (DocumentedHandler, SessionMiddleware),
    "saving on the answer in middleware": (SavingOnTheAnswer, SessionMiddleware),
}


@dataclass
class Way:
    """A way to send a shared object.

    :param shared: makes the object.
    :param end: ends the handler's method; called with the handler and the object.
    :param members: returns members of the handler's class; called with the object.
    :param handlers: returns error handlers of the application; called with the object.
    :param application: returns members of the application's class; called with the object.
    """

    shared: Callable[[], Any]
    end: Callable[[Any, Any], Any]
    members: Callable[[Any], dict[str, Any]] = field(default=lambda shared: {})
    handlers: Callable[[Any], dict[int, Any]] = field(default=lambda shared: {})
    application: Callable[[Any], dict[str, Any]] = field(default=lambda shared: {})


def page() -> webapp2.Response:
    """Return a response that all requests send."""
    return webapp2.Response(b"ok", headerlist=[("Content-Type", "text/plain"), ("X-Own", "1")])


def forbidden() -> webob.exc.HTTPForbidden:
    """Return an error that all requests raise."""
    return webob.exc.HTTPForbidden("no", headers=[("X-Own", "1")])


def returned(handler: Any, shared: Any) -> Any:
    """Return a constant."""
    return shared


def raised(handler: Any, shared: Any) -> Any:
    """Raise a constant."""
    raise shared


def aborted(handler: Any, shared: Any) -> Any:
    """Abort, so that others answer."""
    handler.abort(403)


def replaced(handler: Any, shared: Any) -> Any:
    """Replace the response of the handler."""
    handler.response = shared
    return handler.response


def with_headers(handler: Any, shared: Any) -> None:
    """Give the handler's response a header list that is a constant."""
    handler.response.headerlist = shared.headerlist


def raiser(error: Any) -> Callable[..., Any]:
    """Return a function that raises the error."""

    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


def initialized_with(shared: Any) -> dict[str, Any]:
    """Return the member of a handler that replaces its response at first."""

    def initialize(self: Any, request: Any, response: Any) -> None:
        webapp2.RequestHandler.initialize(self, request, response)
        self.response = shared

    return {"initialize": initialize}


WAYS = {
    "returned": Way(page, returned),
    "returned error": Way(forbidden, returned),
    "class attribute": Way(
        page, lambda handler, shared: handler.OK, members=lambda shared: {"OK": shared}
    ),
    "cached": Way(
        page,
        lambda handler, shared: handler.cached(),
        members=lambda shared: {"cached": functools.lru_cache(lambda self: shared)},
    ),
    "replaced": Way(page, replaced),
    "replaced at first": Way(page, returned, members=initialized_with),
    "header list": Way(page, with_headers),
    "raised": Way(forbidden, raised),
    "redirect": Way(lambda: webob.exc.HTTPFound(location="http://localhost/elsewhere"), raised),
    "handle_exception returns": Way(
        page, aborted, members=lambda shared: {"handle_exception": lambda *_: shared}
    ),
    "handle_exception raises": Way(
        forbidden, aborted, members=lambda shared: {"handle_exception": raiser(shared)}
    ),
    "error handler returns": Way(page, aborted, handlers=lambda shared: {403: lambda *_: shared}),
    "error handler raises": Way(
        lambda: webob.exc.HTTPGone("gone"), aborted, handlers=lambda shared: {403: raiser(shared)}
    ),
    "application returns": Way(
        page, aborted, application=lambda shared: {"handle_exception": lambda *_: shared}
    ),
    "application raises": Way(
        forbidden, aborted, application=lambda shared: {"handle_exception": raiser(shared)}
    ),
}


def state_of(response: Any) -> tuple[Any, ...]:
    """Return the state of a response that requests must not change."""
    attributes = {name: value for name, value in vars(response).items() if name != "_headers"}
    # WebOb itself takes the Content-Length from an exception that it sends.
    attributes["_headerlist"] = [each for each in response.headerlist if "Length" not in each[0]]
    return (list(response.app_iter), getattr(response, "args", None), attributes)


def make_site(way: Way, shared: Any, base: Any, **config: Any) -> Any:
    """Return an application whose page counts, or only reads, and ends that way."""

    class Page(base):
        def get(self) -> Any:
            if "read" in self.request.GET:
                self.session.get("n")
            else:
                self.session["n"] = self.session.get("n", 0) + 1
            return way.end(self, shared)

    for name, member in way.members(shared).items():
        setattr(Page, name, member)
    members = way.application(shared)
    app = type("Application", (webapp2.WSGIApplication,), members)(
        [("/", Page)], config=make_app(**config).config
    )
    app.error_handlers.update(way.handlers(shared))
    return app


def visit(visitor: Visitor, site: Any, url: str = "/") -> Any:
    """Return the response to a visit; the visitor keeps its cookies."""
    pairs = [f"{name}={value}" for name, value in visitor.cookies.items()]
    headers = {"Cookie": "; ".join(pairs)} if pairs else {}
    response = webapp2.Request.blank(url, headers=headers).get_response(site)
    visitor.take(response)
    return response


@pytest.fixture(params=["securecookie", "memcache"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a configuration for sessions in the cookie, and one for a real server."""
    if request.param == "securecookie":
        return {}
    server: Memcached = request.getfixturevalue("memcached")
    factory = "webapp2_sessions.sessions_memcache.MemcacheSessionFactory"
    settings = {"servers": [server.address], "key_prefix": f"shared{next(_numbers)}:"}
    return {"backends": {"securecookie": factory}, "memcache": settings}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_visitors_get_their_own_cookies(kind: str, way: Way, config: dict[str, Any]) -> None:
    """Each one counts from 1, who only reads is sent none, and the shared object stays."""
    base, wrap = KINDS[kind]
    shared = way.shared()
    before = state_of(shared)
    app = make_site(way, shared, base, **config)
    site = wrap(app)
    visitors = [Visitor(app) for _ in range(3)]
    for n in (1, 2):
        for visitor in visitors:
            response = visit(visitor, site)
            assert len(response.headers.getall("Set-Cookie")) == 1
            assert response.headers["Vary"] == "Cookie"
            assert visitor.read() == {"n": n}
    if config:  # each has an id of its own
        assert len({visitor.cookies["session"] for visitor in visitors}) == 3
    assert visit(Visitor(app), site, "/?read").headers.getall("Set-Cookie") == []
    assert state_of(shared) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_answer_is_the_shared_one_but_for_the_cookie(kind: str, way: Way) -> None:
    """Status, body and headers are those that an application without sessions sends."""
    base, wrap = KINDS[kind]
    plain = webapp2.Request.blank("/").get_response(
        make_site(way, way.shared(), type("Base", (webapp2.RequestHandler,), {"session": {}}))
    )
    response = visit(Visitor(make_app()), wrap(make_site(way, way.shared(), base)))
    added = ("Set-Cookie", "Vary")
    headers = [header for header in response.headerlist if header[0] not in added]
    assert (response.status, response.body, headers) == (
        plain.status,
        plain.body,
        plain.headerlist,
    )


def test_plain_handler_saves_on_what_it_is_given() -> None:
    """Without SessionHandler and middleware the object gets the cookie, as with upstream."""
    response = page()
    store = get_store(request=Visitor(make_app()).request())
    store.get_session()["n"] = 1
    store.save_sessions(response)
    assert len(response.headers.getall("Set-Cookie")) == 1
