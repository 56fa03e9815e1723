"""Wrong uses of the public API: type checkers have to refuse each line that is marked.

It is read by them and never run.
"""

from __future__ import annotations

from typing import Any

import webapp2_sessions
from webapp2_sessions import (
    SecureCookieSerializer,
    SecureCookieSessionFactory,
    SessionDict,
    SessionHandler,
    SessionMiddleware,
    SessionStore,
    StoredSessionFactory,
    get_store,
)
from webapp2_sessions.sessions_ndb.purging import purge_sessions


def a_session(session: SessionDict) -> None:
    session.get("user").sign_out()  # wrong
    session.pop("user", None).sign_out()  # wrong
    session.pop("a", 1, 2)  # wrong
    session.setdefault("a", 1, 2)  # wrong
    session.update(1)  # wrong
    session.update({}, {})  # wrong
    session |= 1  # wrong
    session.modified = "yes"  # wrong
    session.sid()  # wrong
    session.regenerate()  # wrong
    session.set_max_age("a day")  # wrong
    session.get_expiry_age() + 1  # wrong
    session.get_expiry_date().isoformat()  # wrong
    session.get_csrf_token("name")  # wrong
    session.new_csrf_token().decode()  # wrong
    session.check_csrf_token()  # wrong
    session.add_flash()  # wrong
    session.get_flashes("_flash", "error")  # wrong
    SessionDict(None, 1)  # wrong


class NoContainer:
    def __init__(self, name: str, store: Any) -> None:
        self.name = name


class NoSerializer:
    def serialize(self, name: str, value: object) -> bytes:
        return b""


def a_store(store: SessionStore) -> None:
    store.get_session(1)  # wrong
    store.get_session(max_age="60")  # wrong
    store.get_session(backend=None)  # wrong
    store.get_session(factory="memcache")  # wrong
    store.get_session(factory=NoContainer)  # wrong
    store.get_session(factory=SecureCookieSessionFactory("name", store))  # wrong
    store.set_secure_cookie("name", "text")  # wrong
    store.save_sessions()  # wrong
    store.serializer = NoSerializer()  # wrong
    store.save()  # wrong
    get_store(key=1)  # wrong
    get_store("key")  # wrong
    SecureCookieSessionFactory("name", object())  # wrong


class Handler(SessionHandler):
    session_backend = 5  # wrong
    save_on_error = "yes"  # wrong

    def get(self) -> None:
        self.sesion["a"] = 1  # wrong
        self.session.append(1)  # wrong
        self.session_store.save_all()  # wrong
        self.get_session(backnd="memcache")  # wrong


class Backend(StoredSessionFactory):
    def _read(self, sid: int) -> dict[Any, Any] | None:  # wrong
        return None

    def _write(self, sid: str, data: dict[Any, Any]) -> bool | None:  # wrong
        return None


webapp2_sessions.purge()  # wrong
SessionMiddleware("app")  # wrong
SecureCookieSerializer(None)  # wrong
SecureCookieSerializer("key").serialize("name")  # wrong
purge_sessions("31d")  # wrong
