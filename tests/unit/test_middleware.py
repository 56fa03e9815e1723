"""SessionMiddleware: which cookies it adds, and when it does not save."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest
import webapp2
import webob
import webob.exc
from support.handlers import DocumentedHandler
from support.implementations import stopped_clock
from support.stores import DictFactory, make_request, sign
from support.visits import SECRET, make_app

from webapp2_sessions import SessionHandler, SessionMiddleware, SessionStore, get_store


def app_with(get: Callable[[Any], Any], base: Any = DocumentedHandler, **config: Any) -> Any:
    """Return an application with one page, in the middleware."""
    app = make_app(**config)
    app.router.add(("/", type("Page", (base,), {"get": get})))
    return SessionMiddleware(app)


def respond(app: Any, headers: dict[str, str] | None = None) -> Any:
    """Return the response of a WSGI application."""
    return webapp2.Request.blank("/", headers=headers or {}).get_response(app)


def headers_of(app: Any, path: str) -> Any:
    """Return the headers with which a WSGI application calls start_response."""
    calls: list[Any] = []
    app(webapp2.Request.blank(path).environ, lambda status, headers: calls.append(headers))
    return calls[-1]


def cookies_of(response: Any) -> list[str]:
    """Return the Set-Cookie headers of a response."""
    return list(response.headers.getall("Set-Cookie"))


def names_of(response: Any) -> list[str]:
    """Return the names of the cookies that a response sets, in order."""
    return [cookie.partition("=")[0] for cookie in cookies_of(response)]


def stored_backend() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a configuration whose default backend is a stored one, and its records."""
    records: dict[str, Any] = {}
    factory = type("Factory", (DictFactory,), {"records": records, "log": []})
    return {"backends": {"securecookie": factory}}, records


def change(handler: Any) -> None:
    """A page that changes its session."""
    handler.session["n"] = 1


def abort(handler: Any) -> None:
    """A page that changes its session and aborts."""
    change(handler)
    handler.abort(403)


# Which cookies are added


def test_response_that_is_complete_stays_as_it_is() -> None:
    """Nothing is added, nothing changes its place."""

    def get(handler: Any) -> None:
        handler.response.set_cookie("first", "1")
        change(handler)
        handler.response.headers["X-Last"] = "1"

    wrapped = app_with(get)
    with stopped_clock():
        headers = [headers_of(app, "/") for app in (wrapped.app, wrapped)]
    assert headers[0] == headers[1]
    assert [name for name, _ in headers[0]].count("Set-Cookie") == 2


def abort_with_a_cookie(handler: Any) -> None:
    handler.response.set_cookie("own", "1")
    abort(handler)


def save_twice(handler: Any) -> None:
    change(handler)
    handler.session_store.save_sessions(handler.response)


def save_twice_and_abort(handler: Any) -> None:
    handler.response.set_cookie("own", "1")
    save_twice(handler)
    handler.abort(403)


def catch_an_exception(handler: Any) -> None:
    try:
        raise ValueError
    except ValueError:
        change(handler)


def abort_in_another_exception(handler: Any) -> None:
    try:
        raise KeyError
    except KeyError:
        abort(handler)


SITES = {
    "own cookie": app_with(abort_with_a_cookie),
    "twice": app_with(save_twice),
    "caught": app_with(catch_an_exception),
    "abort in exception": app_with(abort_in_another_exception),
    "SessionHandler": app_with(abort, SessionHandler),
    "two middlewares": SessionMiddleware(app_with(abort)),
}


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_cookie_of_the_session_is_sent_once_and_no_other(site: Any) -> None:
    assert names_of(respond(site)) == ["session"]


def test_overwritten_cookie_is_sent_once() -> None:
    """With cookie_args={"overwrite": True} WebOb writes the other cookies again."""
    wrapped = app_with(save_twice_and_abort, cookie_args={"overwrite": True, "path": "/"})
    assert names_of(respond(wrapped)).count("session") == 1


def test_cookie_that_the_error_page_sets_itself_comes_last() -> None:
    wrapped = app_with(abort)

    def answer(request: Any, response: Any, error: Any) -> Any:
        own = webapp2.Response(status=403)
        own.delete_cookie("session")
        return own

    wrapped.error_handlers[403] = answer
    first, last = cookies_of(respond(wrapped))
    assert "Max-Age=0" in last
    assert "Max-Age=0" not in first


def test_session_that_was_changed_after_a_save_is_sent_as_it_is_now() -> None:
    def get(handler: Any) -> None:
        handler.session["n"] = 1
        handler.session_store.save_sessions(handler.response)
        handler.session["n"] = 2
        handler.redirect("/", abort=True)  # copies the first cookie

    wrapped = app_with(get)
    [cookie] = cookies_of(respond(wrapped))
    store = SessionStore(make_request(wrapped.app, cookie.partition(";")[0]))
    assert store.get_session() == {"n": 2}


def test_cookies_of_one_name_and_two_paths_are_two() -> None:
    """Stores under several keys, each with cookie arguments of its own."""

    class Admin(SessionStore):
        def __init__(self, request: Any) -> None:
            super().__init__(request, config={"cookie_args": {"path": "/admin"}})

    def get(handler: Any) -> None:
        store = get_store(factory=Admin, key="admin", request=handler.request)
        store.get_session()["a"] = 1
        store.save_sessions(handler.response)
        abort(handler)

    paths = [cookie.rpartition("=")[2] for cookie in cookies_of(respond(app_with(get)))]
    assert paths == ["/admin", "/"]


@pytest.mark.parametrize(
    ("headers", "vary"), [([], "Cookie"), ([("Vary", "Accept")], "Accept, Cookie")]
)
def test_page_that_only_reads_sends_vary_and_no_cookie(headers: Any, vary: str) -> None:
    def get(handler: Any) -> None:
        handler.session.get("n")
        handler.abort(403, headers=headers)

    response = respond(app_with(get))
    assert (names_of(response), response.headers.getall("Vary")) == ([], [vary])


def test_headers_of_the_application_are_not_written_to() -> None:
    """It may use the same list for each response."""
    headers = [("Content-Type", "text/plain")]

    def read(handler: Any) -> None:
        handler.session.get("n")

    inner = app_with(read).app

    def app(environ: Any, start_response: Any) -> Any:
        inner(environ, lambda *args: None)
        start_response("200 OK", headers)
        return []

    assert respond(SessionMiddleware(app)).headers["Vary"] == "Cookie"
    assert headers == [("Content-Type", "text/plain")]


def test_middleware_saves_nothing_by_itself() -> None:
    def get(handler: Any) -> None:
        get_store(request=handler.request).get_session()["n"] = 1

    assert names_of(respond(app_with(get, webapp2.RequestHandler))) == []


def test_failure_after_an_explicit_save_sends_what_was_stored_before() -> None:
    config, records = stored_backend()

    def get(handler: Any) -> None:
        save_twice(handler)
        handler.session["n"] = 2
        raise ValueError

    response = respond(app_with(get, **config))
    assert (response.status_int, names_of(response)) == (500, ["session"])
    assert list(records.values()) == [{"n": 1}]


def test_caller_may_be_handling_an_exception() -> None:
    """A retry runs inside an "except" block, and the handler has not failed."""
    wrapped = app_with(change)
    try:
        raise ValueError("of the caller")
    except ValueError:
        assert names_of(respond(wrapped)) == ["session"]


@pytest.mark.parametrize("save_on_error", [False, True])
def test_what_ends_the_process_is_raised_and_saves_nothing(save_on_error: bool) -> None:
    config, records = stored_backend()

    def get(handler: Any) -> None:
        change(handler)
        raise SystemExit

    wrapped = app_with(get, **config)
    wrapped.save_on_error = save_on_error
    with pytest.raises(SystemExit):
        respond(wrapped)
    assert records == {}


# Among other WSGI software


def test_wsgi_rules_are_kept_on_both_sides() -> None:
    def get(handler: Any) -> None:
        handler.session["n"] = 1
        handler.response.text = "body"
        handler.redirect("/", abort=True)

    wrapped = app_with(get)
    wrapped.app = validator(wrapped.app)
    environ = webapp2.Request.blank("/?").environ
    started: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append((status, headers))
        return lambda data: None

    body = validator(wrapped)(environ, start_response)
    assert b"".join(body)
    body.close()
    [(status, headers)] = started
    assert (status[:3], dict(headers)["Set-Cookie"][:8]) == ("302", "session=")


def test_other_applications_pass_through() -> None:
    """Headers, the body object and what start_response returns are the application's."""
    headers = [("Content-Type", "text/plain"), ("Set-Cookie", "session=other")]
    body = iter([b"a", b"b"])
    written: list[bytes] = []

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", headers)(b"written")
        return body

    def start_response(status: str, received: Any) -> Any:
        assert received is headers
        return written.append

    assert SessionMiddleware(app)({}, start_response) is body
    assert written == [b"written"]


def test_start_response_with_an_error() -> None:
    """A second start_response() has exc_info, and the cookies as well."""
    config = make_app()

    def app(environ: Any, start_response: Any) -> Any:
        request = webapp2.Request(environ)
        request.app = config
        response = webapp2.Response()
        store = get_store(request=request)
        store.get_session()["n"] = 1
        store.save_sessions(response)
        start_response(response.status, response.headerlist)
        try:
            raise ValueError
        except ValueError:
            start_response("500 Error", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"error"]

    calls: list[Any] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None:
        calls.append((status, [name for name, _ in headers].count("Set-Cookie"), bool(exc_info)))

    SessionMiddleware(app)(webapp2.Request.blank("/").environ, start_response)
    assert calls == [("200 OK", 1, False), ("500 Error", 1, True)]


#: Ways to a request of its own that begin with another one's environ.
COPIES: dict[str, Callable[[Any], Any]] = {
    "copy": lambda request: request.copy(),
    "copy_get": lambda request: request.copy_get(),
    "decode": lambda request: request.decode("latin-1"),
    "blank": lambda request: type(request).blank("/", environ=request.environ),
    "dict": lambda request: type(request)(dict(request.environ)),
    "shallow copy": lambda request: type(request)(copy.copy(request.environ)),
    "plain WebOb": lambda request: webob.Request(request.environ.copy()),
}


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "through the middleware"])
@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("end", [lambda handler: None, abort], ids=["normal", "abort"])
def test_cookie_of_a_subrequest_stays_with_its_answer(
    make: Callable[[Any], Any], end: Callable[[Any], Any], is_wrapped: bool
) -> None:
    """A copy of the environ is another request, maybe in the name of another visitor."""
    answers: list[Any] = []
    count = sign("session", {"n": 10})

    def get(handler: Any) -> Any:
        if "X-Sub" in handler.request.headers:
            handler.session["n"] = handler.session.get("n", 0) + 1
            return end(handler)
        sub = make(handler.request)
        sub.headers.update({"Cookie": f"session={count}", "X-Sub": "1"})
        answers.append(sub.get_response(wrapped if is_wrapped else wrapped.app))
        return None

    wrapped = app_with(get)
    assert names_of(respond(wrapped)) == []
    has_cookie = is_wrapped or end is not abort
    assert names_of(answers[0]) == ["session"] * has_cookie


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["plain", "through the middleware"])
def test_the_same_environ_is_the_same_request(is_wrapped: bool) -> None:
    """Its cookies are the visitor's, and so are those that are saved afterwards."""

    def get(handler: Any) -> None:
        if "sub" in handler.request.environ:
            handler.session["sub"] = 1
            handler.abort(404)
        handler.request.environ["sub"] = True
        handler.request.get_response(wrapped if is_wrapped else wrapped.app)
        get_store(request=handler.request).get_session("other")["main"] = 1
        handler.response = webapp2.Response("never sent")

    wrapped = app_with(get)
    assert sorted(names_of(respond(wrapped))) == ["other", "session"]


def test_what_one_request_has_saved_is_not_sent_with_another() -> None:
    """Nor with the same one where a test sends it again."""
    pages = iter([abort, lambda handler: handler.abort(404), abort])
    wrapped = app_with(lambda handler: next(pages)(handler))

    def lazy(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield from wrapped.app(environ, start_response)

    request = webapp2.Request.blank("/")
    sites = [wrapped, wrapped, SessionMiddleware(lazy)]
    answers = [names_of(request.get_response(site)) for site in sites]
    assert answers == [["session"], [], ["session"]]


def test_middleware_stands_for_the_application() -> None:
    """For get_response(), with the arguments of Request.blank(), and for webapp2's tools."""
    wrapped = app_with(abort)
    response = wrapped.get_response("/", headers={"X-Test": "1"})
    assert (response.status_int, names_of(response)) == (403, ["session"])
    assert wrapped.router is wrapped.app.router
    assert wrapped.config is wrapped.app.config
    with pytest.raises(AttributeError, match="nothing"):
        _ = wrapped.nothing
    assert copy.copy(wrapped).app is wrapped.app


CGI_PROGRAM = f"""
import webapp2, webapp2_sessions

class Page(webapp2.RequestHandler):
    def get(self):
        store = webapp2_sessions.get_store(request=self.request)
        store.get_session()["n"] = 1
        store.save_sessions(self.response)
        self.abort(403)

config = {{"webapp2_extras.sessions": {{"secret_key": {SECRET!r}}}}}
app = webapp2.WSGIApplication([("/", Page)], config=config)
webapp2_sessions.SessionMiddleware(app).run()
"""


def test_run_goes_through_the_middleware(tmp_path: Path) -> None:
    """As a CGI program, where webapp2.WSGIApplication.run() would serve itself alone."""
    cgi = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CGI_PROGRAM],
        cwd=tmp_path,  # not the checkout, from which Python would import
        env={**os.environ, **cgi},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("Status: 403 Forbidden")
    assert done.stdout.count("Set-Cookie: session=") == 1
