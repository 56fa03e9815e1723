"""SessionHandler: its attributes, and when it saves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import webapp2
import webob.exc
from support.stores import DictFactory
from support.visits import make_app

from webapp2_sessions import SessionHandler, get_store


def page(base: Any = SessionHandler, **members: Any) -> Any:
    """Return a handler class with these members."""
    return type("Page", (base,), members)


def respond(handler: Any, app: Any = None, path: str = "/", **kwargs: Any) -> Any:
    """Return the response of an application that has this handler."""
    app = app or make_app()
    app.router.add(("/", handler))
    return app.get_response(path, **kwargs)


def names_of(response: Any) -> list[str]:
    """Return the names of the cookies that a response sets, in order."""
    return [cookie.partition("=")[0] for cookie in response.headers.getall("Set-Cookie")]


def stored_app(**config: Any) -> tuple[webapp2.WSGIApplication, Any]:
    """Return an application with a stored backend "dict", and the factory that keeps it."""
    factory: Any = type("Factory", (DictFactory,), {"records": {}, "log": []})
    return make_app(backends={"dict": factory}, **config), factory


def change(handler: Any) -> None:
    """A method that changes the session."""
    handler.session["a"] = 1


def abort(handler: Any) -> None:
    """A method that changes the session and aborts."""
    change(handler)
    handler.abort(403)


def returning(value: Any) -> Callable[[Any], Any]:
    """A method that changes the session and returns a value."""

    def get(handler: Any) -> Any:
        change(handler)
        return value

    return get


def test_store_is_the_one_of_the_request() -> None:
    def get(self: Any) -> None:
        assert self.session_store is get_store(request=self.request)
        self.response.write(type(self.session_store).__name__)

    assert respond(page(get=get)).text == "SessionStore"


def test_session_is_kept() -> None:
    """Each use of the attribute gives the same object, also after a reload in the store."""

    def get(self: Any) -> None:
        session = self.session
        session.container.session = None
        assert self.session is session

    assert respond(page(get=get)).status_int == 200


def test_name_and_backend_are_those_of_the_class_if_none_is_given() -> None:
    app, factory = stored_app()

    def get(self: Any) -> None:
        self.session["a"] = 1
        assert self.get_session() is self.session
        self.get_session("cart")["b"] = 2

    response = respond(page(get=get, session_name="own", session_backend="dict"), app)
    assert names_of(response) == ["own", "cart"]
    assert list(factory.records.values()) == [{"a": 1}, {"b": 2}]


def test_get_session_takes_what_the_store_takes() -> None:
    app, factory = stored_app()

    def get(self: Any) -> None:
        assert self.get_session("one", backend="dict").container.name == "one"
        two = self.get_session("two", max_age=60, factory=factory).container
        assert (type(two), two._max_age) == (factory, 60)

    assert respond(page(get=get), app).status_int == 200


def test_session_that_is_loaded_does_not_block_other_requests() -> None:
    """Two requests are inside of the backend at the same time, which one lock would not allow."""
    app, factory = stored_app()
    both_are_inside = threading.Barrier(2, timeout=20)

    def read(self: Any, sid: str | None) -> Any:
        both_are_inside.wait()
        return DictFactory._get_by_sid(self, sid)

    factory._get_by_sid = read
    app.router.add(("/", page(get=change, session_backend="dict")))
    with ThreadPoolExecutor(2) as pool:
        responses = list(pool.map(app.get_response, ["/", "/"]))
    assert [response.status_int for response in responses] == [200, 200]


# What a handler may do in its dispatch


def test_subclass_may_answer_an_abort() -> None:
    """Where no error handler is for it the exception comes out of dispatch, and all is saved."""

    class Page(SessionHandler):
        get = abort

        def dispatch(self) -> Any:
            try:
                return super().dispatch()
            except webapp2.HTTPException as error:
                self.response.set_status(error.code)
                self.response.write("answered")

    response = respond(Page)
    assert (response.status_int, response.text) == (403, "answered")
    assert names_of(response) == ["session"]


def test_method_may_replace_its_response() -> None:
    """Webapp2 sends the first one unless the other is returned, and the cookie is with it."""

    def get(self: Any) -> None:
        change(self)
        self.response = webapp2.Response("lost")

    response = respond(page(get=get))
    assert (response.text, names_of(response)) == ("", ["session"])


@pytest.mark.parametrize("returned", ["text", ("text", 201)])
def test_method_may_return_what_is_no_response(returned: Any) -> None:
    """A dispatcher of the application's own makes a response of it; the cookie is in the first."""

    def dispatch(router: Any, request: Any, response: Any) -> Any:
        assert router.default_dispatcher(request, response) == returned
        return response

    app = make_app()
    app.router.set_dispatcher(dispatch)
    assert names_of(respond(page(get=returning(returned)), app)) == ["session"]


def test_dispatcher_may_give_a_response_of_its_own() -> None:
    def dispatch(router: Any, request: Any, response: Any) -> Any:
        own = webapp2.Response("own")
        router.default_dispatcher(request, own)
        return own

    app = make_app()
    app.router.set_dispatcher(dispatch)
    response = respond(page(get=change), app)
    assert (response.text, names_of(response)) == ("own", ["session"])


@pytest.mark.parametrize("has_context", [False, True])
def test_handler_may_initialize_itself(has_context: bool) -> None:
    """What webapp2 sends has the cookie, or else what the handler has."""

    class Page(SessionHandler):
        get = change

        def initialize(self, request: Any, response: Any) -> None:
            self.request, self.response = request, response
            if not has_context:
                request.response = None

    assert names_of(respond(Page)) == ["session"]


# Error handlers


def ending_by(error: Any, **members: Any) -> Any:
    """Return a handler that changes its session and raises."""

    def get(self: Any) -> None:
        change(self)
        raise error

    return page(get=get, **members)


def test_what_an_error_handler_changes_is_saved() -> None:
    def answer(request: Any, response: Any, error: Any) -> Any:
        get_store(request=request).get_session()["seen"] = str(error.code)
        get_store(request=request).get_session("other")["b"] = 2
        return webapp2.Response("own", status=404)

    app = make_app()
    app.error_handlers[404] = answer
    response = respond(ending_by(webob.exc.HTTPNotFound()), app)
    assert (response.text, names_of(response)) == ("own", ["session", "other"])


def test_error_handlers_are_called_once() -> None:
    """One that fails is answered as webapp2 does: no other one is asked."""
    calls: list[int] = []

    def fail(request: Any, response: Any, error: Any) -> None:
        calls.append(error.code)
        raise ValueError("in the error handler")

    app = make_app()
    app.error_handlers.update({404: fail, 500: fail})
    response = respond(ending_by(webob.exc.HTTPNotFound()), app)
    assert (response.status_int, calls) == (500, [404])
    assert names_of(response) == ["session"]


def test_exception_that_webapp2_cannot_answer() -> None:
    """A bare HTTPException has no code: webapp2 makes an error of it, with the cookie here."""
    error = webob.exc.HTTPException("message", webapp2.Response("never sent"))
    response = respond(ending_by(error))
    assert (response.status_int, names_of(response)) == (500, ["session"])


def test_debug_page_of_an_error_that_is_saved() -> None:
    """webapp2's page shows where it was raised, as it does without sessions."""
    app = make_app()
    app.debug = True
    response = respond(ending_by(ValueError("of the test"), save_on_error=True), app)
    assert "ValueError: of the test" in response.text
    assert names_of(response) == ["session"]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("save_on_error", [False, True])
def test_what_ends_the_process_is_raised_and_saves_nothing(error: Any, save_on_error: bool) -> None:
    app, factory = stored_app()
    handler = ending_by(error, session_backend="dict", save_on_error=save_on_error)
    with pytest.raises(error):
        respond(handler, app)
    assert factory.records == {}


def test_error_while_saving_is_the_answer() -> None:
    def get(self: Any) -> None:
        self.session["a"] = {1}  # no JSON
        self.abort(404)

    response = respond(page(get=get))
    assert (response.status_int, names_of(response)) == (500, [])


@pytest.mark.parametrize(
    ("end", "names"),
    [
        (lambda handler: handler.abort(403), ["session"]),
        # It copies the headers by itself, before the session is saved.
        (lambda handler: handler.redirect("/x", abort=True), ["own", "session"]),
    ],
    ids=["abort", "redirect"],
)
def test_cookies_of_the_application_are_not_copied(end: Any, names: list[str]) -> None:
    def get(self: Any) -> None:
        self.response.set_cookie("own", "1")
        change(self)
        end(self)

    assert names_of(respond(page(get=get))) == names


@pytest.mark.parametrize("config", [{}, {"vary": False}])
def test_error_page_varies_on_the_cookie(config: Any) -> None:
    """A cache must not give it to other visitors; unless the configuration says otherwise."""

    def get(self: Any) -> None:
        self.session.get("a")
        self.abort(403, headers=[("Vary", "Accept")])

    vary = respond(page(get=get), make_app(**config)).headers["Vary"]
    assert vary == ("Accept" if config else "Accept, Cookie")


# Answers that outlive the request


def dispatched(handler: Any, path: str = "/") -> Any:
    """What a handler's dispatch returns or raises, and the handler."""
    seen: list[Any] = []

    class Page(handler):
        def dispatch(self) -> Any:
            seen.append(self)
            try:
                seen.append(super().dispatch())
            except webapp2.HTTPException as error:
                seen.append(error)
                raise
            return seen[-1]

    respond(Page, path=path)
    return seen[1], seen[0]


@pytest.mark.parametrize("is_raised", [False, True])
@pytest.mark.parametrize("vary", [True, False])
def test_answer_to_which_nothing_is_added_is_sent_itself(is_raised: bool, vary: bool) -> None:
    """The same object that the method returns or raises."""
    shared = webob.exc.HTTPForbidden() if is_raised else webapp2.Response("ok")
    shared.headers["Vary"] = "Cookie"

    def get(self: Any) -> Any:
        if vary:
            self.session.get("a")
        if is_raised:
            raise shared
        return shared

    assert dispatched(page(get=get))[0] is shared


def test_replaced_response_may_be_changed_after_the_dispatch() -> None:
    """``self.response`` is what is sent, also where that is a copy."""
    shared = webapp2.Response("ok")

    class Page(SessionHandler):
        def dispatch(self) -> Any:
            sent = super().dispatch()
            self.response.headers["X-Own"] = "1"
            return sent

        def get(self) -> Any:
            change(self)
            self.response = shared
            return self.response

    response = respond(Page)
    assert (response.headers["X-Own"], names_of(response)) == ("1", ["session"])
    assert {"Set-Cookie", "X-Own"}.isdisjoint(shared.headers)
