"""SessionHandler: its attributes, and when it saves."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import pytest
import webapp2
import webob.exc
from support.stores import DictFactory
from support.visits import make_app

from webapp2_sessions import SessionHandler, SessionStore, get_store, set_store


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


# What a handler has


def test_store_is_the_one_of_the_request() -> None:
    """webapp2_extras.auth, for instance, gets the same store."""

    def get(self: Any) -> None:
        assert self.session_store is get_store(request=self.request)
        self.response.write(type(self.session_store).__name__)

    assert respond(page(get=get)).text == "SessionStore"


def test_store_may_be_set_beforehand() -> None:
    """A store of the application's own that is in the registry is used."""

    class Store(SessionStore):
        pass

    class Page(SessionHandler):
        def initialize(self, request: Any, response: Any) -> None:
            super().initialize(request, response)
            set_store(Store(request), request=request)

        def get(self) -> None:
            self.response.write(type(self.session_store).__name__)

    assert respond(Page).text == "Store"


def test_session_is_kept() -> None:
    """Each use of the attribute gives the same object, also after a reload in the store."""

    def get(self: Any) -> None:
        session = self.session
        session.container.session = None
        assert self.session is session

    assert respond(page(get=get)).status_int == 200


def test_session_is_the_default_one() -> None:
    """By default it is the session of cookie_name, in a cookie."""

    def get(self: Any) -> None:
        self.session["a"] = 1
        assert self.session is self.session_store.get_session()

    assert names_of(respond(page(get=get), make_app(cookie_name="own"))) == ["own"]


def test_name_and_backend_are_of_the_class() -> None:
    """They hold for the attribute, and where get_session() is given none."""
    app, factory = stored_app()

    def get(self: Any) -> None:
        self.session["a"] = 1
        assert self.get_session() is self.session
        self.get_session("cart")["b"] = 2

    response = respond(page(get=get, session_name="own", session_backend="dict"), app)
    assert names_of(response) == ["own", "cart"]
    assert list(factory.records.values()) == [{"a": 1}, {"b": 2}]


def test_get_session_takes_what_the_store_takes() -> None:
    """Name, age, factory and backend."""
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

    def get(self: Any) -> None:
        assert self.session == {}

    app.router.add(("/", page(get=get, session_backend="dict")))
    statuses: list[int] = []

    def visit() -> None:
        statuses.append(app.get_response("/").status_int)

    threads = [threading.Thread(target=visit) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200, 200]


# What a handler may do in its dispatch


def test_mixin_behind_it_may_abort() -> None:
    """A check before each method goes into a class behind SessionHandler in the bases."""

    class SignedIn(webapp2.RequestHandler):
        def dispatch(self) -> Any:
            self.session.add_flash("Sign in, please.")
            return self.redirect("/sign-in", abort=True)

    class Page(SessionHandler, SignedIn):
        pass

    response = respond(Page)
    assert (response.status_int, names_of(response)) == (302, ["session"])


def test_subclass_may_answer_an_abort() -> None:
    """Where no error handler is for it the exception comes out of dispatch, and all is saved."""

    class Page(SessionHandler):
        def dispatch(self) -> Any:
            try:
                return super().dispatch()
            except webapp2.HTTPException as error:
                self.response.set_status(error.code)
                self.response.write("answered")

        def get(self) -> None:
            self.session["a"] = 1
            self.abort(403)

    response = respond(Page)
    assert (response.status_int, response.text, names_of(response)) == (
        403,
        "answered",
        ["session"],
    )


def test_method_may_replace_its_response() -> None:
    """Webapp2 sends the first one unless the other is returned, and the cookie is with it."""

    def get(self: Any) -> None:
        self.session["a"] = 1
        self.response = webapp2.Response("lost")

    response = respond(page(get=get))
    assert (response.text, names_of(response)) == ("", ["session"])


@pytest.mark.parametrize("returned", ["text", ("text", 201)])
def test_method_may_return_what_is_no_response(returned: Any) -> None:
    """A dispatcher of the application's own makes a response of it; the cookie is in the first."""

    def dispatch(router: Any, request: Any, response: Any) -> Any:
        assert router.default_dispatcher(request, response) == returned
        return response

    def get(self: Any) -> Any:
        self.session["a"] = 1
        return returned

    app = make_app()
    app.router.set_dispatcher(dispatch)
    assert names_of(respond(page(get=get), app)) == ["session"]


def test_unknown_method_is_405() -> None:
    """As with any handler."""
    response = respond(page(get=lambda self: None), method="PUT")
    assert (response.status_int, response.headers["Allow"]) == (405, "GET")


# Error handlers


def ending_by(error: Any, **members: Any) -> Any:
    """Return a handler that changes its session and raises."""

    def get(self: Any) -> None:
        self.session["a"] = 1
        raise error

    return page(get=get, **members)


def test_what_an_error_handler_changes_is_saved() -> None:
    """It runs before sessions are saved."""

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


def test_application_may_handle_exceptions_in_its_own_way() -> None:
    """A subclass of webapp2.WSGIApplication is asked, and asked once."""
    calls: list[int] = []

    class Application(webapp2.WSGIApplication):
        def handle_exception(self, request: Any, response: Any, error: Any) -> Any:
            calls.append(error.code)
            return webapp2.Response("own", status=error.code)

    app = Application(config=make_app().config)
    response = respond(ending_by(webob.exc.HTTPForbidden()), app)
    assert (response.text, names_of(response), calls) == ("own", ["session"], [403])


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
def test_what_ends_the_process_saves_nothing(error: Any, save_on_error: bool) -> None:
    """It is raised."""
    app, factory = stored_app()
    handler = ending_by(error, session_backend="dict", save_on_error=save_on_error)
    with pytest.raises(error):
        respond(handler, app)
    assert factory.records == {}


def test_error_while_saving_is_the_answer() -> None:
    """As in the documented handler it replaces what the handler did."""

    def get(self: Any) -> None:
        self.session["a"] = {1}  # no JSON
        self.abort(404)

    response = respond(page(get=get))
    assert (response.status_int, names_of(response)) == (500, [])


# Headers


def test_cookies_of_the_application_are_not_copied() -> None:
    """Only the session's cookie is sent with another response."""

    def get(self: Any) -> None:
        self.response.set_cookie("own", "1")
        self.session["a"] = 1
        self.abort(403)

    assert names_of(respond(page(get=get))) == ["session"]


def test_redirect_has_the_applications_cookies_once() -> None:
    """redirect(abort=True) copies the headers by itself, before the session is saved."""

    def get(self: Any) -> None:
        self.response.set_cookie("own", "1")
        self.session["a"] = 1
        self.redirect("/x", abort=True)

    assert names_of(respond(page(get=get))) == ["own", "session"]


@pytest.mark.parametrize("config", [{}, {"vary": False}])
def test_error_page_varies_on_the_cookie(config: Any) -> None:
    """A cache must not give it to other visitors; unless the configuration says otherwise."""

    def get(self: Any) -> None:
        self.session.get("a")
        self.abort(403, headers=[("Vary", "Accept")])

    vary = respond(page(get=get), make_app(**config)).headers["Vary"]
    assert vary == ("Accept" if config else "Accept, Cookie")


def test_several_sessions_come_in_the_order_in_which_they_were_opened() -> None:
    """On the error page as well."""

    def get(self: Any) -> None:
        for name in ("one", "two", "three"):
            self.get_session(name)["a"] = 1
        self.abort(403)

    assert names_of(respond(page(get=get))) == ["one", "two", "three"]


def test_destroyed_session_is_expired_on_an_error_page() -> None:
    """Signing out and redirecting by abort takes the cookie away."""

    def get(self: Any) -> None:
        self.session.destroy()
        self.redirect("/", abort=True)

    [cookie] = respond(page(get=get)).headers.getall("Set-Cookie")
    assert "Max-Age=0" in cookie


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


def test_raised_answer_is_a_copy_with_its_history() -> None:
    """It tells where it was raised, and while what was handled, as the original does."""
    shared = webob.exc.HTTPForbidden()

    def get(self: Any) -> Any:
        self.session["a"] = 1
        try:
            raise KeyError
        except KeyError:
            raise shared from None

    sent, _ = dispatched(page(get=get))
    assert sent is not shared
    assert type(sent) is webob.exc.HTTPForbidden
    names = [frame.name for frame in traceback.extract_tb(sent.__traceback__)]
    assert names[-1] == "get"
    assert type(sent.__context__) is KeyError
    assert (sent.__cause__, sent.__suppress_context__) == (None, True)


def test_replaced_response_may_be_changed_after_the_dispatch() -> None:
    """``self.response`` is what is sent, also where that is a copy."""
    shared = webapp2.Response("ok")

    class Page(SessionHandler):
        def dispatch(self) -> Any:
            sent = super().dispatch()
            self.response.headers["X-Own"] = "1"
            return sent

        def get(self) -> Any:
            self.session["a"] = 1
            self.response = shared
            return self.response

    response = respond(Page)
    assert (response.headers["X-Own"], names_of(response)) == ("1", ["session"])
    assert "Set-Cookie" not in shared.headers
    assert "X-Own" not in shared.headers


def test_headers_may_be_changed_by_a_view_from_before() -> None:
    """One that a dispatch around this one has made."""

    class Page(SessionHandler):
        def dispatch(self) -> Any:
            headers = self.response.headers
            super().dispatch()
            headers["X-Own"] = "1"

        def get(self) -> None:
            self.session["a"] = 1

    response = respond(Page)
    assert (response.headers["X-Own"], names_of(response)) == ("1", ["session"])


def test_streamed_answer_is_streamed() -> None:
    """Nothing of a shared response's body is read before it is sent."""
    read: list[int] = []

    class Body:
        def __iter__(self) -> Any:
            read.append(1)
            yield b"block"

    shared = webapp2.Response(app_iter=Body())

    def get(self: Any) -> Any:
        self.session["a"] = 1
        return shared

    sent, _ = dispatched(page(get=get))
    assert sent.app_iter is shared.app_iter
    assert read == []


def test_dispatcher_with_a_response_of_its_own() -> None:
    """The response that a handler is given is the request's."""

    def dispatch(router: Any, request: Any, response: Any) -> Any:
        own = webapp2.Response("own")
        router.default_dispatcher(request, own)
        return own

    def get(self: Any) -> None:
        self.session["a"] = 1

    app = make_app()
    app.router.set_dispatcher(dispatch)
    response = respond(page(get=get), app)
    assert (response.text, names_of(response)) == ("own", ["session"])


@pytest.mark.parametrize("has_context", [False, True])
def test_handler_that_initializes_itself(has_context: bool) -> None:
    """What webapp2 sends has the cookie, or else what the handler has."""

    class Page(SessionHandler):
        def initialize(self, request: Any, response: Any) -> None:
            self.request, self.response = request, response
            if not has_context:
                request.response = None

        def get(self) -> None:
            self.session["a"] = 1

    assert names_of(respond(Page)) == ["session"]
