"""How a handler may end, and what is then stored and sent: each base handler, each backend."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import webapp2
import webob.exc
from support.implementations import (
    OURS,
    SIDES,
    Side,
    cookie_pair,
    records_factory,
    save,
    set_cookies,
)
from support.stores import DictFactory

from webapp2_sessions import SessionHandler, SessionMiddleware

#: Numbers that keep the prefixes of parallel runs on one memcached apart.
_numbers = itertools.count()

# Base handlers


def documented(side: Side) -> Any:
    """The base handler of webapp2's documentation."""

    class BaseHandler(webapp2.RequestHandler):
        def dispatch(self) -> None:
            self.session_store = side.sessions.get_store(request=self.request)
            try:
                webapp2.RequestHandler.dispatch(self)
            finally:
                self.session_store.save_sessions(self.response)

        @webapp2.cached_property
        def session(self) -> Any:
            return self.session_store.get_session()

    return BaseHandler


def returning(side: Side) -> Any:
    """The same, handing on what a method returns."""

    class BaseHandler(documented(side)):
        def dispatch(self) -> Any:
            self.session_store = side.sessions.get_store(request=self.request)
            try:
                return webapp2.RequestHandler.dispatch(self)
            finally:
                self.session_store.save_sessions(self.response)

    return BaseHandler


#: Base handlers of which an ending's table tells the outcome, in its order.
KINDS: list[tuple[str, Callable[[Side], Any], Callable[[Any], Any]]] = [
    ("SessionHandler", lambda side: SessionHandler, lambda app: app),
    ("documented", documented, lambda app: app),
    ("documented in middleware", documented, SessionMiddleware),
    ("returning", returning, lambda app: app),
    ("returning in middleware", returning, SessionMiddleware),
]


# Endings


def own_page(*_: Any) -> webapp2.Response:
    """A response that is not the handler's."""
    return webapp2.Response("own", status=201)


def given_page(request: Any, response: Any, error: Exception) -> None:
    """An error handler that writes to the response that it is given."""
    response.set_status(202)


def raised_page(request: Any, response: Any, error: Exception) -> None:
    """An error handler that ends by an HTTPException itself."""
    raise webob.exc.HTTPGone


def broken_page(request: Any, response: Any, error: Exception) -> None:
    """An error handler that fails."""
    raise ZeroDivisionError


def answer_by(status: int) -> Callable[..., None]:
    """A handler's handle_exception that writes to its response."""

    def handle_exception(handler: Any, exception: Exception, debug: bool) -> None:
        handler.response.set_status(status)

    return handle_exception


def raising(error: Callable[[], Exception]) -> Callable[[Any], None]:
    """The end by an exception."""

    def end(handler: Any) -> None:
        raise error()

    return end


def broken_body(handler: Any) -> None:
    """A body that fails when the headers are sent already."""

    def body() -> Iterator[bytes]:
        yield b"first"
        raise ValueError("in the body")

    handler.response.app_iter = body()


def unchanged_since(handler: Any) -> None:
    """A response of which the browser has a copy."""
    handler.response.write("page")
    handler.response.etag = "tag"
    handler.response.conditional_response = True


@dataclass
class Ending:
    """One way to end, and for each kind of :data:`KINDS` what comes of it.

    An outcome is the status, "C" where the cookie was sent, "R" where the record was written.
    """

    end: Callable[[Any], Any]
    outcomes: tuple[str, str, str, str, str]
    handle_exception: Any = None
    error_handlers: dict[int, Any] = field(default_factory=dict)
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)


def same(outcome: str) -> tuple[str, str, str, str, str]:
    """The same outcome for all kinds."""
    return (outcome,) * 5


def rescued(status: int) -> tuple[str, str, str, str, str]:
    """The documented handler stores the session and loses the cookie; the others send it."""
    sent, lost = f"{status} CR", f"{status} -R"
    return sent, lost, sent, lost, sent


def undone(status: int, documented: str) -> tuple[str, str, str, str, str]:
    """The documented handler stores the session; with the others nothing happens."""
    nothing, something = f"{status} --", f"{status} {documented}"
    return nothing, something, nothing, something, nothing


def abort(handler: Any) -> None:
    """The most usual of all."""
    handler.abort(403)


fail = raising(ValueError)

ENDINGS = {
    "normal": Ending(lambda handler: None, same("200 CR")),
    "head": Ending(lambda handler: None, same("200 CR"), method="HEAD"),
    "head, abort": Ending(abort, rescued(403), method="HEAD"),
    "returned": Ending(own_page, ("201 CR", "200 CR", "200 CR", "201 -R", "201 CR")),
    "redirect": Ending(lambda handler: handler.redirect("/x"), same("302 CR")),
    "error": Ending(lambda handler: handler.error(404), same("404 CR")),
    "conditional 304": Ending(unchanged_since, same("304 CR"), headers={"If-None-Match": '"tag"'}),
    "abort": Ending(abort, rescued(403)),
    "abort(304)": Ending(lambda handler: handler.abort(304), rescued(304)),
    "webapp2.abort": Ending(lambda handler: webapp2.abort(404), rescued(404)),
    "redirect(abort)": Ending(lambda handler: handler.redirect("/x", abort=True), rescued(302)),
    # Without the response webapp2 3.0.0b1 itself fails, by a TypeError.
    "webapp2.redirect(abort)": Ending(
        lambda handler: webapp2.redirect("/x", abort=True, response=handler.response), rescued(302)
    ),
    "HTTPException": Ending(raising(webob.exc.HTTPConflict), rescued(409)),
    "abort, given page": Ending(abort, same("202 CR"), error_handlers={403: given_page}),
    "abort, own page": Ending(abort, rescued(201), error_handlers={403: own_page}),
    "abort, raised page": Ending(abort, rescued(410), error_handlers={403: raised_page}),
    "abort, broken page": Ending(abort, rescued(500), error_handlers={403: broken_page}),
    "abort, handled": Ending(abort, same("203 CR"), handle_exception=answer_by(203)),
    "abort, handled by own page": Ending(
        abort,
        ("201 CR", "200 CR", "200 CR", "201 -R", "201 CR"),
        handle_exception=lambda handler, exception, debug: own_page(),
    ),
    "failure, handled": Ending(fail, same("203 CR"), handle_exception=answer_by(203)),
    "failure": Ending(fail, undone(500, "-R")),
    "failure, given page": Ending(fail, undone(202, "CR"), error_handlers={500: given_page}),
    "failure, own page": Ending(fail, undone(201, "-R"), error_handlers={500: own_page}),
    "failure in the body": Ending(broken_body, same("200 CR")),
}


# Backends


@dataclass
class Backend:
    """How sessions are kept; ``writes`` counts writes of records where that is known."""

    config: dict[str, Any]
    writes: Callable[[], int] | None = None
    has_records: bool = True


def default_backend(factory: Any) -> dict[str, Any]:
    """A configuration in which a factory is what ``get_session()`` uses."""
    return {"backends": {"securecookie": factory}}


def _securecookie(request: pytest.FixtureRequest) -> Backend:
    return Backend({}, has_records=False)


def _memcache(request: pytest.FixtureRequest) -> Backend:
    server = request.getfixturevalue("memcached")
    settings = {"servers": [server.address], "key_prefix": f"endings{next(_numbers)}:"}
    factory = "webapp2_sessions.sessions_memcache.MemcacheSessionFactory"
    return Backend({**default_backend(factory), "memcache": settings})


def _stored(request: pytest.FixtureRequest) -> Backend:
    log: list[tuple[Any, ...]] = []
    factory = type("Factory", (DictFactory,), {"records": {}, "log": log})
    return Backend(default_backend(factory), lambda: [entry[0] for entry in log].count("write"))


BACKENDS = {"securecookie": _securecookie, "memcache": _memcache, "stored": _stored}


# The matrix


def make_app(side: Side, base: Any, ending: Ending, config: dict[str, Any]) -> Any:
    """An application with one page, which counts and ends that way."""

    class Page(base):
        def get(self) -> Any:
            self.session["n"] += 1
            return ending.end(self)

        head = get

        if ending.handle_exception:
            handle_exception = ending.handle_exception

    app = side.app(**config)
    app.router.add(("/", Page))
    app.error_handlers.update(ending.error_handlers)
    return app


def outcome_of(side: Side, app: Any, ending: Ending, wrap: Any, backend: Backend) -> str:
    """Visit the page with a session that counts from 1: the outcome as in the tables."""
    store = side.store(app)
    store.get_session()["n"] = 1
    [old] = map(cookie_pair, save(store))
    writes_before = backend.writes and backend.writes()
    visit = webapp2.Request.blank(
        "/", method=ending.method, headers={"Cookie": old, **ending.headers}
    )
    response = visit.get_response(wrap(app))
    sent = set_cookies(response)
    for cookie in sent:
        assert side.store(app, cookie_pair(cookie)).get_session() == {"n": 2}
    # Without a record, what the visitor would find tells the same as the cookie.
    found = side.store(app, old if backend.has_records else cookie_pair((sent or [old])[0]))
    is_written = found.get_session() == {"n": 2}
    if backend.writes:
        assert backend.writes() - (writes_before or 0) == is_written
    assert len(sent) <= 1
    return f"{response.status_int} {'C' if sent else '-'}{'R' if is_written else '-'}"


def expected(ending: Ending, kind: int, backend: Backend) -> str:
    """The outcome of the table; sessions in cookies have no record that could outlive one."""
    outcome = ending.outcomes[kind]
    return outcome if backend.has_records else outcome.replace("-R", "--")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each way to keep sessions."""
    return BACKENDS[request.param](request)


EACH_ENDING = pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)


@EACH_ENDING
@pytest.mark.parametrize("kind", range(len(KINDS)), ids=[name for name, _, _ in KINDS])
def test_ending(kind: int, ending: Ending, backend: Backend) -> None:
    """The cookie is sent, and the record written, as the table has it; each of them once."""
    _, base, wrap = KINDS[kind]
    app = make_app(OURS, base(OURS), ending, backend.config)
    assert outcome_of(OURS, app, ending, wrap, backend) == expected(ending, kind, backend)


@EACH_ENDING
def test_ending_of_session_handler_in_the_middleware(ending: Ending, backend: Backend) -> None:
    """The one does not come in the other's way."""
    app = make_app(OURS, SessionHandler, ending, backend.config)
    outcome = outcome_of(OURS, app, ending, SessionMiddleware, backend)
    assert outcome == expected(ending, 0, backend)


@EACH_ENDING
@pytest.mark.parametrize("side", SIDES, ids=str)
@pytest.mark.parametrize("has_records", [False, True], ids=["securecookie", "records"])
@pytest.mark.parametrize("kind", [1, 3], ids=["documented", "returning"])
def test_documented_handlers_are_as_with_upstream(
    side: Side, kind: int, has_records: bool, ending: Ending
) -> None:
    """Without the middleware nothing is different (b13, b14, b50, b60)."""
    config = default_backend(records_factory(side, {})) if has_records else {}
    backend = Backend(config, has_records=has_records)
    app = make_app(side, KINDS[kind][1](side), ending, config)
    outcome = outcome_of(side, app, ending, lambda app: app, backend)
    assert outcome == expected(ending, kind, backend)


SAVED_ON_ERROR = ("failure", "failure, given page", "failure, own page")


@pytest.mark.parametrize("ending", [ENDINGS[name] for name in SAVED_ON_ERROR], ids=SAVED_ON_ERROR)
@pytest.mark.parametrize("kind", ["handler", "handler in middleware", "middleware"])
def test_save_on_error(kind: str, ending: Ending, backend: Backend) -> None:
    """What failed is saved as well where that is asked for, and the cookie is sent."""

    class Saving(SessionHandler):
        save_on_error = True

    base = documented(OURS) if kind == "middleware" else Saving
    app = make_app(OURS, base, ending, backend.config)
    wrap = {
        "handler": lambda app: app,
        "handler in middleware": SessionMiddleware,
        "middleware": lambda app: SessionMiddleware(app, save_on_error=True),
    }[kind]
    status = ending.outcomes[0][:3]
    assert outcome_of(OURS, app, ending, wrap, backend) == f"{status} CR"


@EACH_ENDING
def test_a_page_that_only_reads_sends_no_cookie(ending: Ending, backend: Backend) -> None:
    """However it ends."""

    class Page(SessionHandler):
        def get(self) -> Any:
            assert self.session == {}
            return ending.end(self)

        head = get

    app = make_app(OURS, SessionHandler, ending, backend.config)
    app.router.add(("/read", Page))
    response = webapp2.Request.blank("/read", method=ending.method).get_response(app)
    assert set_cookies(response) == []


def test_body_that_fails_fails_after_the_cookie_was_sent() -> None:
    """The matrix above does not read the body."""

    class Page(SessionHandler):
        def get(self) -> None:
            self.session["n"] = 1
            broken_body(self)

    app = OURS.app()
    app.router.add(("/", Page))
    response = webapp2.Request.blank("/").get_response(SessionMiddleware(app))
    assert len(set_cookies(response)) == 1
    with pytest.raises(ValueError, match="in the body"):
        list(response.app_iter)
