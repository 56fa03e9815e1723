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


Log = Callable[[], list[str]]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture, young_heap: None) -> Iterator[Log]:
    """Return a function for the beginnings of messages of lost changes.

    It collects garbage first, which is not done otherwise.
    """
    caplog.set_level(logging.INFO)
    gc.collect()
    caplog.clear()
    gc.disable()

    def messages() -> list[str]:
        records = [each for each in caplog.records if each.name.endswith(".unsaved")]
        return [each.getMessage().partition(" saved")[0] + " saved" for each in records]

    yield messages
    gc.enable()


def collected(log: Log) -> list[str]:
    """Return the messages after a collection of garbage."""
    gc.collect()
    return log()


CHANGED_LATE = "The session 'session' was changed ('late') after it had been saved"
NEVER_SAVED = "The session 'session' was changed ('key') and never saved"


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
def test_keys_that_change_while_the_body_is_sent_are_named(
    base: Any, wrap: Any, late: Callable[[Any], Any], keys: str, log: Log
) -> None:
    visit(stream_by(late), base, wrap)
    assert log() == [f"The session 'session' was changed ({keys}) after it had been saved"]


def test_change_of_a_body_that_outlives_the_request_is_seen_with_the_store(log: Log) -> None:
    def get(handler: Any) -> None:
        session = handler.session
        session["early"] = 1

        def body() -> Iterator[bytes]:
            yield b"block"
            session["late"] = 1

        handler.response.app_iter = body()

    visit(get)
    assert log() == []
    assert collected(log) == [CHANGED_LATE]


def test_each_session_that_is_changed_too_late_is_named_on_any_backend(log: Log) -> None:
    factory = type("Factory", (DictFactory,), {"records": {}, "log": []})

    def get(handler: Any) -> None:
        other = handler.get_session("other", backend="dict")
        other["early"] = (1,)
        stream_by(lambda session: (session.update(late=1), other.update(late=2)))(handler)

    visit(get, backends={"dict": factory})
    assert log() == [CHANGED_LATE.replace("'session'", "'other'"), CHANGED_LATE]


def test_change_that_is_saved_again_is_not_told(log: Log) -> None:
    def get(handler: Any) -> None:
        change(handler)
        handler.session_store.save_sessions(handler.response)
        handler.session["again"] = 1

    visit(get)
    assert log() == []


@pytest.mark.parametrize(
    ("change", "keys"),
    [
        (lambda session: session.update(key="value"), "'key'"),
        (lambda session: session["list"].append("value"), "'list'"),
        (lambda session: session.update(n=1), "in no key"),
        (lambda session: session.changed(), "in no key"),
        (lambda session: session.destroy(), "in no key"),
    ],
    ids=["set", "inside", "the same", "changed()", "destroy()"],
)
def test_handler_that_never_saves_is_told(
    change: Callable[[Any], Any], keys: str, log: Log
) -> None:
    cookie = f"session={sign('session', {'n': 1, 'list': []})}"
    visit(lambda handler: change(handler.session), Plain, cookie=cookie)
    assert log() == [f"The session 'session' was changed ({keys}) and never saved"]


def test_backend_of_upstreams_kind_needs_no_snapshot(log: Log) -> None:
    visit(change, Plain, backends={"securecookie": records_factory(OURS, {})})
    assert log() == [NEVER_SAVED]


def test_store_that_nobody_registered_is_watched(log: Log) -> None:
    app = make_app()
    app.debug = True
    SessionStore(make_request(app)).get_session()["key"] = 1
    assert collected(log) == [NEVER_SAVED]


def test_change_is_reported_once(log: Log) -> None:
    stores: list[Any] = []

    def get(handler: Any) -> None:
        change(handler)
        stores.append(get_store(request=handler.request))

    visit(get, Plain)
    stores[0].get_session()["late"] = 1
    stores.clear()
    assert collected(log) == [NEVER_SAVED, CHANGED_LATE]


@EACH_SAVING
def test_what_is_saved_or_only_read_is_not_reported(base: Any, wrap: Any, log: Log) -> None:
    visit(change, base, wrap)
    visit(lambda handler: handler.session.get("key"), base, wrap)
    visit(lambda handler: None, base, wrap)
    assert collected(log) == []


@pytest.mark.parametrize(
    ("base", "wrap"),
    [(SessionHandler, lambda app: app), (DocumentedHandler, SessionMiddleware)],
    ids=["handler", "middleware"],
)
@pytest.mark.parametrize("is_saving", [False, True])
def test_failure_saves_nothing_on_purpose(base: Any, wrap: Any, is_saving: bool, log: Log) -> None:
    def get(handler: Any) -> None:
        handler.session["key"] = {1} if is_saving else 1
        if not is_saving:
            raise ValueError

    assert visit(get, base, wrap) == "500 Internal Server Error"
    assert collected(log) == []


def test_degraded_session_is_not_reported_again(log: Log) -> None:
    def fail(self: Any, sid: str) -> Any:
        raise BackendUnavailable("dict", "its server", "is down")

    factory = type("Factory", (DictFactory,), {"records": {}, "log": [], "_read": fail})
    config = {"backends": {"securecookie": factory}, "on_backend_error": "degrade"}
    visit(change, Plain, cookie=sid_cookie(), **config)
    assert log() == []


def test_key_that_cannot_be_shown_raises_nothing_in_a_finalizer(log: Log) -> None:
    class Key:
        def __str__(self) -> str:
            raise ZeroDivisionError

    def get(handler: Any) -> None:
        handler.session[Key()] = 1

    assert visit(get, Plain) == "200 OK"
    assert collected(log) == []


@pytest.mark.parametrize("page", [change, stream_by(lambda session: session.update(late=1))])
def test_nothing_is_watched_outside_of_debug_mode(page: Any, log: Log) -> None:
    visit(page, Plain, debug=False)
    assert collected(log) == []
    request = make_request()
    assert SessionStore(request)._unsaved is None
    assert not [name for name in vars(request) if "unsaved" in name]
