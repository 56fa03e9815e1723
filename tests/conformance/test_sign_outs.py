"""Signing out in a request that fails: the session is deleted in any case."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import webapp2
from support.handlers import DocumentedHandler
from support.stores import SID, DictFactory, make_request, sid_cookie, sign
from support.visits import make_app

from webapp2_sessions import (
    BackendUnavailable,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    get_store,
)

KINDS: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "SessionHandler": (SessionHandler, lambda app: app),
    "SessionHandler in middleware": (SessionHandler, SessionMiddleware),
    "documented in middleware": (DocumentedHandler, SessionMiddleware),
}

EACH_KIND = pytest.mark.parametrize(("base", "wrap"), KINDS.values(), ids=KINDS)

#: An answer to errors that all requests have.
SORRY = webapp2.Response(b"sorry", status=503)


def given_page(request: Any, response: Any, error: Exception) -> None:
    """An error handler that writes to the response that it is given."""
    response.set_status(503)
    response.write("sorry")


def failing_page(request: Any, response: Any, error: Exception) -> None:
    """An error handler that fails itself."""
    raise ZeroDivisionError


#: What answers a failure, and its status.
ANSWERS: dict[str, tuple[Any, int]] = {
    "webapp2": (None, 500),
    "given page": (given_page, 503),
    "own page": (lambda *_: webapp2.Response("sorry", status=503), 503),
    "shared page": (lambda *_: SORRY, 503),
    "failing page": (failing_page, 500),
}


def stored_backend(**members: Any) -> tuple[Any, dict[str, Any]]:
    """Return a stored backend, and its records: one session, of :data:`SID`."""
    records: dict[str, Any] = {SID: {"n": 1}}
    return type("Factory", (DictFactory,), {"records": records, "log": [], **members}), records


def visit(app: Any, wrap: Any, base: Any, end: Callable[[Any], Any], cookie: str) -> Any:
    """Return the response of an application whose page ends that way."""
    app.router.add(("/", type("Page", (base,), {"get": end})))
    return webapp2.Request.blank("/", headers={"Cookie": cookie}).get_response(wrap(app))


def sign_out_and_fail(handler: Any) -> None:
    """Change two sessions, destroy one of them and fail."""
    get_store(request=handler.request).get_session("other")["changed"] = 1
    handler.session.destroy()
    handler.session["after"] = 1
    raise ValueError("after signing out")


def expired(response: Any) -> list[str]:
    """Return the names of the cookies that a response expires; it must set no other."""
    cookies = response.headers.getall("Set-Cookie")
    assert all("Max-Age=0" in cookie for cookie in cookies)
    return [cookie.partition("=")[0] for cookie in cookies]


@EACH_KIND
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize(("answer", "status"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("is_stored", [False, True], ids=["securecookie", "stored"])
def test_failure_after_signing_out(
    base: Any, wrap: Any, debug: bool, answer: Any, status: int, is_stored: bool
) -> None:
    """The record is deleted and the cookie expires; nothing else is saved."""
    factory, records = stored_backend()
    app = make_app(**({"backends": {"securecookie": factory}} if is_stored else {}))
    app.debug = debug
    if answer:
        app.error_handlers[500] = answer
    cookie = sid_cookie() if is_stored else f"session={sign('session', {'n': 1})}"
    response = visit(app, wrap, base, sign_out_and_fail, cookie)
    assert (response.status_int, expired(response)) == (status, ["session"])
    assert response.headers["Vary"] == "Cookie"
    if is_stored:
        assert records == {}
    if answer and status == 503:
        assert response.text == "sorry"
    assert "Set-Cookie" not in SORRY.headers


@EACH_KIND
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_the_process_ends_the_session_as_well(base: Any, wrap: Any, error: Any) -> None:
    """There is no answer, but the record is deleted."""
    factory, records = stored_backend()

    def end(handler: Any) -> None:
        handler.session.destroy()
        raise error

    with pytest.raises(error):
        visit(make_app(backends={"securecookie": factory}), wrap, base, end, cookie=sid_cookie())
    assert records == {}


@EACH_KIND
@pytest.mark.parametrize("is_first", [False, True])
def test_another_session_that_cannot_be_saved(base: Any, wrap: Any, is_first: bool) -> None:
    """It is the handler's error, and no reason to leave the visitor signed in."""
    factory, records = stored_backend()

    def end(handler: Any) -> None:
        store = get_store(request=handler.request)
        store.get_session("before", backend="cookie")["n"] = 1
        if is_first:
            handler.session["after"] = 1
        store.get_session("other", backend="cookie")["n"] = {1}  # no JSON
        handler.session.destroy()
        if is_first:  # it is saved as a new one before the other fails
            handler.session["after"] = 1

    app = make_app(
        backends={
            "securecookie": factory,
            "cookie": "webapp2_sessions.sessions.SecureCookieSessionFactory",
        }
    )
    app.error_handlers[500] = given_page
    response = visit(app, wrap, base, end, sid_cookie())
    assert (response.status_int, expired(response), records) == (503, ["session"], {})


def test_another_session_that_cannot_be_saved_by_a_plain_store() -> None:
    """A store without SessionHandler and middleware deletes the session as well."""
    factory, records = stored_backend()
    store = SessionStore(make_request(make_app(backends={"dict": factory}), sid_cookie()))
    store.get_session("other")["n"] = {1}  # no JSON
    store.get_session(backend="dict").destroy()
    response = webapp2.Response()
    with pytest.raises(TypeError):
        store.save_sessions(response)
    assert (records, expired(response)) == ({}, ["session"])


@EACH_KIND
def test_aborted_request_saves_what_was_set_after_signing_out(base: Any, wrap: Any) -> None:
    """Which is no failure: there is a new session."""
    factory, records = stored_backend()

    def end(handler: Any) -> None:
        handler.session.destroy()
        handler.session["after"] = 1
        handler.abort(403)

    response = visit(
        make_app(backends={"securecookie": factory}), wrap, base, end, cookie=sid_cookie()
    )
    assert response.status_int == 403
    assert list(records.values()) == [{"after": 1}]
    assert SID not in records


@EACH_KIND
@pytest.mark.parametrize("is_ours", [True, False])
def test_server_that_fails_does_not_hide_the_handlers_error(
    base: Any, wrap: Any, is_ours: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, without the session's id; other sessions are deleted."""
    error = BackendUnavailable("dict", "its server", "is down") if is_ours else KeyError(SID)
    factory, records = stored_backend()
    other, others = stored_backend()

    def delete(self: Any, sid: str) -> None:
        raise error

    factory._delete = delete

    def end(handler: Any) -> None:
        handler.session.destroy()
        get_store(request=handler.request).get_session("other", factory=other).destroy()
        raise ValueError("of the handler")

    cookies = f"{sid_cookie()}; {sid_cookie(name='other')}"
    app = make_app(backends={"securecookie": factory})
    response = visit(app, wrap, base, end, cookies)
    assert (response.status_int, expired(response)) == (500, ["other"])
    assert (list(records), list(others)) == ([SID], [])
    [record] = [record for record in caplog.records if record.name.endswith("sign_outs")]
    text = record.getMessage()
    assert "'session'" in text
    assert ("is down" if is_ours else "KeyError") in text
    assert (record.levelno, record.exc_info) == (logging.ERROR, None)
    assert SID not in text
    assert "of the handler" in caplog.text


@EACH_KIND
def test_each_session_is_deleted_once(base: Any, wrap: Any) -> None:
    """However often the request's failure is dealt with."""
    factory, _ = stored_backend()

    def answer(request: Any, response: Any, error: Any) -> None:
        response.set_status(503)
        store = get_store(request=request)
        store.save_sessions(response)

    app = make_app(backends={"securecookie": factory})
    app.error_handlers[500] = answer

    def end(handler: Any) -> None:
        handler.session.destroy()
        raise ValueError

    response = visit(app, wrap, base, end, sid_cookie())
    assert response.status_int == 503
    assert set(expired(response)) == {"session"}
    assert [entry for entry in factory.log if entry[0] == "delete"] == [("delete", SID)]


@EACH_KIND
def test_backend_of_upstreams_kind_saves_nothing(base: Any, wrap: Any) -> None:
    """It cannot delete, and what fails is not saved."""
    factory, records = stored_backend(can_destroy=False)
    app = make_app(backends={"securecookie": factory})
    response = visit(app, wrap, base, sign_out_and_fail, sid_cookie())
    assert (response.status_int, expired(response), records) == (500, [], {SID: {"n": 1}})


@EACH_KIND
def test_failure_without_a_sign_out_is_webapp2s(base: Any, wrap: Any) -> None:
    """dispatch() raises the exception."""
    seen: list[Exception] = []

    class Page(base):
        def dispatch(self) -> Any:
            try:
                return super().dispatch()
            except ValueError as error:
                seen.append(error)
                raise

    def end(handler: Any) -> None:
        handler.session["n"] = 2
        raise ValueError

    response = visit(make_app(), wrap, Page, end, cookie="")
    assert (response.status_int, expired(response), len(seen)) == (500, [], 1)


def test_store_that_cannot_be_made_does_not_hide_the_handlers_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A store of the application's own may ask a server."""

    class Page(SessionHandler):
        @property
        def session_store(self) -> Any:
            raise LookupError("no store")

        def get(self) -> None:
            raise ValueError("of the handler")

    app = make_app()
    app.router.add(("/", Page))
    assert app.get_response("/").status_int == 500
    assert "of the handler" in caplog.text
