"""Changes that nobody saves are logged in debug mode, and only there."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import webapp2
from support.handlers import DocumentedHandler
from support.implementations import OURS, records_factory
from support.stores import DictFactory, make_request, sid_cookie, sign
from support.visits import make_app

from webapp2_sessions import (
    BackendUnavailable,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    get_store,
)


class Plain(webapp2.RequestHandler):
    """A handler that never saves."""

    @property
    def session(self) -> Any:
        return get_store(request=self.request).get_session()


SAVING: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "SessionHandler": (SessionHandler, lambda app: app),
    "documented": (DocumentedHandler, lambda app: app),
    "documented in middleware": (DocumentedHandler, SessionMiddleware),
}

EACH_SAVING = pytest.mark.parametrize(("base", "wrap"), SAVING.values(), ids=SAVING)


class Log:
    """The log messages about lost changes."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    @property
    def messages(self) -> list[str]:
        """All of them, in order."""
        records = self._caplog.records
        return [each.getMessage() for each in records if each.name.endswith(".unsaved")]

    def is_of(self, *beginnings: str) -> bool:
        """Whether these are all that there is."""
        return len(self.messages) == len(beginnings) and all(
            message.startswith(beginning)
            for message, beginning in zip(self.messages, beginnings, strict=True)
        )


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    """Return the log of this test; garbage is collected only on demand."""
    caplog.set_level(logging.INFO)
    gc.collect()
    caplog.clear()
    gc.disable()
    yield Log(caplog)
    gc.enable()


def visit(
    get: Callable[[Any], Any],
    base: Any = SessionHandler,
    wrap: Callable[[Any], Any] = lambda app: app,
    debug: bool = True,
    cookie: str = "",
    **config: Any,
) -> str:
    """Request a page and read its whole body, as a server does; return the status."""
    app = make_app(**config)
    app.debug = debug
    app.router.add(("/", type("Page", (base,), {"get": get})))
    environ = webapp2.Request.blank("/", headers={"Cookie": cookie}).environ
    started: list[Any] = []
    body = wrap(app)(environ, lambda *args: started.append(args[0]))
    list(body)
    if hasattr(body, "close"):
        body.close()
    return str(started[0])


def change(handler: Any) -> None:
    """A page that puts something into its session."""
    handler.session["key"] = "value"


def stream_by(late: Callable[[Any], Any]) -> Callable[[Any], None]:
    """Return a page that changes its session and streams a body, which ends with a call."""

    def get(handler: Any) -> None:
        handler.session.update(early=[1], other=2)

        def body() -> Iterator[bytes]:
            yield b"block"
            late(handler.session)

        handler.response.app_iter = body()

    return get


LATE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "set": (lambda session: session.update(late="value"), "'late'"),
    "changed": (lambda session: session.update(other=3), "'other'"),
    "deleted": (lambda session: session.pop("other"), "'other'"),
    "changed inside": (lambda session: session["early"].append("value"), "'early'"),
    "destroyed": (lambda session: session.destroy(), "'early', 'other'"),
    "new id": (lambda session: session.regenerate_id(), "in no key"),
}


@EACH_SAVING
@pytest.mark.parametrize(("late", "keys"), LATE.values(), ids=LATE)
def test_changed_while_the_body_is_sent(
    base: Any, wrap: Any, late: Callable[[Any], Any], keys: str, log: Log
) -> None:
    """The keys are named that changed since the session was saved, and no values."""
    visit(stream_by(late), base, wrap)
    assert log.is_of(f"The session 'session' was changed ({keys}) after it had been saved")
    assert "value" not in log.messages[0]


def test_body_that_has_the_session_alone(log: Log) -> None:
    """Its request is gone by then: it is seen when the store is freed."""

    def get(handler: Any) -> None:
        session = handler.session
        session["early"] = 1

        def body() -> Iterator[bytes]:
            yield b"block"
            session["late"] = 1

        handler.response.app_iter = body()

    visit(get)
    assert log.messages == []
    gc.collect()
    assert log.is_of("The session 'session' was changed ('late') after it had been saved")


def test_stored_session_that_is_changed_too_late(log: Log) -> None:
    """On other backends it is the same; each session is named."""
    factory = type("Factory", (DictFactory,), {"records": {}, "log": []})

    def get(handler: Any) -> None:
        other = handler.get_session("other", backend="dict")
        other["early"] = (1,)
        stream_by(lambda session: (session.update(late=1), other.update(late=2)))(handler)

    visit(get, backends={"dict": factory})
    assert log.is_of(
        "The session 'other' was changed ('late') after it had been saved",
        "The session 'session' was changed ('late') after it had been saved",
    )


def test_changed_after_the_dispatch(log: Log) -> None:
    """By a dispatch around the one that saves."""

    class Base(SessionHandler):
        def dispatch(self) -> Any:
            super().dispatch()
            self.session["late"] = 1

    visit(change, Base)
    assert log.is_of("The session 'session' was changed ('late') after it had been saved")


def test_changed_and_saved_again(log: Log) -> None:
    """Then all is well."""

    def get(handler: Any) -> None:
        change(handler)
        handler.session_store.save_sessions(handler.response)
        handler.session["again"] = 1

    visit(get)
    assert log.messages == []


def test_never_saved(log: Log) -> None:
    """As by a handler that does not override dispatch; without the values."""
    visit(change, Plain)
    assert log.is_of("The session 'session' was changed ('key') and never saved")
    assert "'value'" not in log.messages[0]


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (lambda session: session["list"].append("value"), "'list'"),
        (lambda session: session.update(n=1), "in no key"),
        (lambda session: session.changed(), "in no key"),
        (lambda session: session.destroy(), "in no key"),
    ],
    ids=["inside", "the same", "changed()", "destroy()"],
)
def test_never_saved_in_another_way(change: Callable[[Any], Any], keys: str, log: Log) -> None:
    """Whatever would have been written, or is lost inside a value."""
    cookie = f"session={sign('session', {'n': 1, 'list': []})}"
    visit(lambda handler: change(handler.session), Plain, cookie=cookie)
    assert log.is_of(f"The session 'session' was changed ({keys}) and never saved")


def test_never_saved_by_a_backend_of_upstreams_kind(log: Log) -> None:
    """There is no snapshot of what was loaded."""
    config = {"backends": {"securecookie": records_factory(OURS, {})}}
    visit(change, Plain, **config)
    assert log.is_of("The session 'session' was changed ('key') and never saved")


def test_store_of_the_applications_own_making(log: Log) -> None:
    """Which nobody registered."""
    app = make_app()
    app.debug = True
    SessionStore(make_request(app)).get_session()["key"] = 1
    gc.collect()
    assert log.is_of("The session 'session' was changed ('key') and never saved")


def test_change_is_reported_once(log: Log) -> None:
    """At the end of the request, and not again with the store."""
    stores: list[Any] = []

    def get(handler: Any) -> None:
        change(handler)
        stores.append(get_store(request=handler.request))

    visit(get, Plain)
    stores[0].get_session()["later"] = 1
    stores.clear()
    gc.collect()
    assert log.is_of(
        "The session 'session' was changed ('key') and never saved",
        "The session 'session' was changed ('later') after it had been saved",
    )


@EACH_SAVING
def test_what_is_saved_is_not_reported(base: Any, wrap: Any, log: Log) -> None:
    """Nor what is only read."""
    visit(change, base, wrap)
    visit(lambda handler: handler.session.get("key"), base, wrap)
    visit(lambda handler: None, base, wrap)
    gc.collect()
    assert log.messages == []


@pytest.mark.parametrize(
    ("base", "wrap"),
    [(SessionHandler, lambda app: app), (DocumentedHandler, SessionMiddleware)],
    ids=["handler", "middleware"],
)
@pytest.mark.parametrize("is_saving", [False, True])
def test_failure_saves_nothing_on_purpose(base: Any, wrap: Any, is_saving: bool, log: Log) -> None:
    """The exception is in the log; that its changes are not saved is as documented."""

    def get(handler: Any) -> None:
        handler.session["key"] = {1} if is_saving else 1
        if not is_saving:
            raise ValueError

    assert visit(get, base, wrap) == "500 Internal Server Error"
    gc.collect()
    assert log.messages == []


def test_degraded_session_is_not_reported(log: Log) -> None:
    """It was already."""

    def fail(self: Any, sid: str) -> Any:
        raise BackendUnavailable("dict", "its server", "is down")

    factory = type("Factory", (DictFactory,), {"records": {}, "log": [], "_read": fail})
    config = {"backends": {"securecookie": factory}, "on_backend_error": "degrade"}
    visit(change, Plain, cookie=sid_cookie(), **config)
    assert log.messages == []


def test_key_that_cannot_be_shown(log: Log) -> None:
    """Nobody could catch an exception of a finalizer; Python would print it."""

    class Key:
        def __str__(self) -> str:
            raise ZeroDivisionError

    def get(handler: Any) -> None:
        handler.session[Key()] = 1

    assert visit(get, Plain) == "200 OK"
    gc.collect()
    assert log.messages == []


@pytest.mark.parametrize("page", [change, stream_by(lambda session: session.update(late=1))])
def test_nothing_is_watched_outside_of_debug_mode(page: Any, log: Log) -> None:
    """It costs nothing there."""
    visit(page, Plain, debug=False)
    gc.collect()
    assert log.messages == []
    request = make_request()
    assert SessionStore(request)._unsaved is None
    assert not [name for name in vars(request) if "unsaved" in name]
