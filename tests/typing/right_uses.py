"""Uses of the public API that type checkers have to accept; it is read by them and never run."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import make_server

import webapp2
from typing_extensions import assert_type

import webapp2_sessions
from webapp2_sessions import (
    BaseSessionFactory,
    ConfigError,
    CustomBackendSessionFactory,
    SecureCookieSerializer,
    SecureCookieSessionFactory,
    SessionDict,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    SessionTooLarge,
    StoredSessionFactory,
    default_config,
    get_store,
    install_as_webapp2_extras,
    sessions,
    set_store,
)
from webapp2_sessions.sessions.encrypted import EncryptedCookieSessionFactory
from webapp2_sessions.sessions.interfaces import (
    CookieSerializer,
    SessionContainer,
    SessionFactory,
    Store,
)
from webapp2_sessions.sessions_memcache import MemcacheSessionFactory
from webapp2_sessions.sessions_ndb import DatastoreSessionFactory, Session
from webapp2_sessions.sessions_ndb.purging import purge_sessions


def a_session_is_a_dictionary(session: SessionDict) -> None:
    session["visits"] = session.get("visits", 0) + 1
    session["cart"] = ["apple"]
    session["cart"].append("pear")
    assert_type(session["cart"], Any)
    assert_type(session.get("user"), "Any | None")
    assert_type(session.pop("user"), Any)
    assert_type(session.pop("user", None), "Any | None")
    assert_type(session.popitem(), tuple[Any, Any])
    assert_type(session.setdefault("cart", []), Any)
    assert_type("user" in session, bool)
    assert_type(len(session), int)
    assert_type(dict(session), dict[Any, Any])
    del session["cart"]
    session.update({"a": 1}, b=2)
    session.update([("a", 1)])
    session.update(a=1)
    session |= {"a": 1}
    assert_type(session, SessionDict)
    plain: dict[Any, Any] = session
    plain.clear()
    for key, value in session.items():
        assert_type((key, value), tuple[Any, Any])


def a_session_has_a_life(session: SessionDict) -> None:
    assert_type(session.new, bool)
    assert_type(session.modified, bool)
    assert_type(session.degraded, bool)
    assert_type(session.destroyed, bool)
    session.modified = True
    session.changed()
    session.regenerate_id()
    session.set_max_age(30 * 24 * 3600)
    session.set_max_age(None)
    assert_type(session.get_expiry_date(), "datetime.datetime | None")
    assert_type(session.get_expiry_age(), "int | None")
    session.destroy()
    session.container.session_args["domain"] = "example.com"


def forms(session: SessionDict, request: webapp2.Request) -> None:
    assert_type(session.get_csrf_token(), str)
    assert_type(session.new_csrf_token(), str)
    assert_type(session.check_csrf_token(request.POST.get("csrf_token")), bool)
    session.check_csrf_token(None)
    session.check_csrf_token({"read": "as JSON"})


def flashes(session: SessionDict) -> None:
    session.add_flash("Saved.", level="info")
    session.add_flash({"text": "Saved."}, key="_wizard")
    for text, level in session.get_flashes():
        text.upper(), level.upper()
    assert_type(session.peek_flashes(level="error"), list[Any])


def a_store(request: webapp2.Request, response: webapp2.Response) -> None:
    store = get_store(request=request)
    assert_type(store, SessionStore)
    assert_type(get_store(), SessionStore)
    assert_type(store.get_session(), SessionDict)
    store.get_session("cart", max_age=3600, backend="memcache")
    store.get_session("cart", max_age=None)
    store.get_session(factory=SecureCookieSessionFactory)
    store.get_session(factory=MemcacheSessionFactory)
    store.get_session(factory=DatastoreSessionFactory)
    store.get_session(factory=EncryptedCookieSessionFactory)
    store.get_session(factory=store.get_backend("memcache"))
    store.set_secure_cookie("seen", {"a": 1}, max_age=60, samesite="Lax")
    assert_type(store.get_secure_cookie("seen")["a"], Any)
    store.save_sessions(response)
    store.save_secure_cookie(response, "seen", ["anything"], httponly=True)
    assert_type(store.serializer.serialize("seen", 1), bytes)
    store.serializer = SecureCookieSerializer("a long random string")
    assert_type(store.config, dict[str, Any])
    set_store(store, request=request)


class OwnStore(SessionStore):
    extra = "more"


def a_store_of_ones_own(request: webapp2.Request) -> None:
    assert_type(get_store(OwnStore), OwnStore)
    assert_type(get_store(factory=OwnStore, key="own", request=request).extra, str)
    assert_type(get_store(lambda request: OwnStore(request, {"cookie_name": "own"})), OwnStore)


class HomeHandler(SessionHandler):
    session_name = "home"
    session_backend = "memcache"
    save_on_error = True

    def get(self, page: str) -> None:
        assert_type(self.session, SessionDict)
        assert_type(self.session_store, SessionStore)
        assert_type(self.get_session("other", backend="datastore"), SessionDict)
        self.session["visits"] = self.session.get("visits", 0) + 1
        self.response.write(self.request.get("name", page))
        self.response.headers["Content-Type"] = "text/plain"

    def post(self) -> webapp2.Response:
        if not self.request.POST:
            self.abort(400, "empty")
        return self.redirect(self.uri_for("home"), abort=True)

    def handle_exception(self, exception: Exception, debug: bool) -> None:
        raise exception


class DocumentedHandler(webapp2.RequestHandler):  # type: ignore[misc] # webapp2 has no types
    def dispatch(self) -> None:
        self.session_store = sessions.get_store(request=self.request)
        try:
            super().dispatch()
        finally:
            self.session_store.save_sessions(self.response)

    @property
    def session(self) -> SessionDict:
        return self.session_store.get_session()


def around_an_application(app: webapp2.WSGIApplication) -> None:
    middleware = SessionMiddleware(app, save_on_error=True)
    make_server("127.0.0.1", 8080, middleware).serve_forever()

    def plain(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return middleware(environ, start_response)

    SessionMiddleware(plain).get_response("/")


class DictSessionFactory(StoredSessionFactory):
    def _read(self, sid: str) -> dict[Any, Any] | None:
        return None

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool | None:
        return None

    def _delete(self, sid: str) -> bool | None:
        return None


class UpstreamsSessionFactory(CustomBackendSessionFactory):
    def _get_by_sid(self, sid: str | None) -> SessionDict:
        if self._is_valid_sid(sid):
            self.sid = sid
            return SessionDict(self, data={"a": 1})
        self.sid = self._get_new_sid()
        return SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        if self.session is not None and self.session.modified:
            self.session_store.save_secure_cookie(response, self.name, {"_sid": self.sid})


class DuckContainer:
    def __init__(self, name: str, store: Any) -> None:
        self._session = SessionDict(self)

    def get_session(self, max_age: float | None = None) -> SessionDict:
        return self._session

    def save_session(self, response: Any) -> None:
        return


class DuckSerializer:
    def serialize(self, name: str, value: object) -> bytes:
        return b""

    def deserialize(self, name: str, value: str, max_age: float | None = None) -> Any:
        return None


class DuckStore:
    def __init__(self) -> None:
        self.config = {"cookie_args": {"path": "/"}}

    def get_secure_cookie(self, name: str, max_age: float | None = None) -> Any:
        return None

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        return


def objects_of_an_applications_own(store: SessionStore, pattern: re.Pattern[str]) -> None:
    factories: list[SessionFactory] = [DictSessionFactory, UpstreamsSessionFactory, DuckContainer]
    for factory in factories:
        store.get_session(factory=factory)
        container: SessionContainer = factory("name", store)
        container.save_session(None)
    serializer: CookieSerializer = DuckSerializer()
    store.serializer = serializer
    others: list[Store] = [store, DuckStore()]
    for other in others:
        assert_type(SecureCookieSessionFactory("name", other).get_session(), SessionDict)
    UpstreamsSessionFactory._sid_re = pattern
    base: BaseSessionFactory = DictSessionFactory("name", store)
    assert_type(base.session, "SessionDict | None")
    assert_type(base.session_args, dict[str, Any])


def signing(serializer: SecureCookieSerializer) -> None:
    assert_type(serializer.serialize("name", {"a": 1}), bytes)
    assert_type(serializer.deserialize("name", "value", max_age=60), Any)
    serializer.deserialize(b"name", b"value")
    SecureCookieSerializer(b"key", fallbacks=["older"], digest="sha256", digest_fallbacks=["sha1"])


def errors() -> None:
    try:
        install_as_webapp2_extras()
    except SessionTooLarge as error:
        assert_type(error.size, int)
        assert_type(error.largest, tuple[tuple[str, int], ...])
    except ConfigError as error:
        assert_type(error.key, str)


class Visit(Session):
    pass


def deleting() -> None:
    assert_type(purge_sessions(3600), int)
    purge_sessions(datetime.timedelta(days=31), model=Visit, limit=10, progress=lambda count: None)
    Visit.query().fetch(10)
    Visit(id="sid", data={}).put()


assert_type(webapp2_sessions.__version__, str)
assert_type(default_config, dict[str, Any])
