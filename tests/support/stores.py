"""Session stores of single requests, and cookie values signed by independent code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import webapp2
import webob

from support.visits import SECRET, make_app
from webapp2_sessions import SessionStore, StoredSessionFactory

__all__ = [
    "NOW",
    "DuckStore",
    "PriorityResponse",
    "make_request",
    "make_store",
    "saved_headers",
    "sign",
    "sign_payload",
    "sign_with",
]

#: A time for signing, in Unix seconds.
NOW = 1_500_000_000

#: A session id.
SID = "0123456789abcdefghijAB"


def make_request(
    app: webapp2.WSGIApplication | None = None, cookie: str | None = None
) -> webapp2.Request:
    """Return a request of an application, with this Cookie header."""
    request = webapp2.Request.blank("/")
    if cookie is not None:
        request.environ["HTTP_COOKIE"] = cookie
    request.app = app or make_app()
    return request


def make_store(cookie: str | None = None, **config: Any) -> SessionStore:
    """Return the store of a request with this Cookie header, in a new application."""
    return SessionStore(make_request(make_app(**config), cookie))


def saved_headers(store: SessionStore, name: str = "Set-Cookie") -> list[str]:
    """Headers of that name, on a new response to which all sessions were saved."""
    response = webapp2.Response()
    store.save_sessions(response)
    return list(response.headers.getall(name))


def sign(name: str, value: Any, timestamp: int = NOW, secret: str | bytes = SECRET) -> str:
    """Return a signed cookie value that holds `value`, made without any of our code."""
    text = json.dumps(value, separators=(",", ":"))
    return sign_payload(name, base64.b64encode(text.encode()), str(timestamp).encode(), secret)


def sign_with(
    name: str,
    data: Any,
    attributes: dict[str, Any],
    timestamp: int = NOW,
    secret: str | bytes = SECRET,
) -> str:
    """Return a signed cookie value that holds attributes beside the session's data."""
    return sign(f"{name} attributes", [data, attributes], timestamp, secret)


def sign_payload(
    name: str, payload: bytes, timestamp: bytes = b"%d" % NOW, secret: str | bytes = SECRET
) -> str:
    """Return a signed cookie value of any payload and timestamp, valid JSON and integer or not."""
    key = secret.encode() if isinstance(secret, str) else secret
    message = b"|".join((name.encode(), payload, timestamp))
    signature = hmac.new(key, message, hashlib.sha1).hexdigest().encode()
    return b"|".join((payload, timestamp, signature)).decode("latin-1")


class PriorityResponse(webapp2.Response):
    """A response of an application whose cookies take one more argument."""

    def set_cookie(self, *args: Any, priority: str | None = None, **kwargs: Any) -> None:
        webob.Response.set_cookie(self, *args, **kwargs)


class DuckStore:
    """The least that a factory needs of a store."""

    def __init__(self, cookie: Any = None) -> None:
        self.config = {"cookie_args": {"path": "/"}}
        self.cookie = cookie
        self.calls: list[tuple[Any, ...]] = []

    def get_secure_cookie(self, name: str, max_age: Any = "not given") -> Any:
        self.calls.append(("get", name, max_age))
        return self.cookie

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        self.calls.append(("save", response, name, value, kwargs))


class DictFactory(StoredSessionFactory):
    """Keeps sessions in a dictionary, and writes down what it was asked."""

    records: dict[str, Any]
    log: list[tuple[Any, ...]]

    def _read(self, sid: str) -> Any:
        self.log.append(("read", sid))
        return self.records.get(sid)

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        self.log.append(("write", sid, data, lifetime))
        self.records[sid] = data

    def _delete(self, sid: str) -> None:
        self.log.append(("delete", sid))
        self.records.pop(sid, None)


def sid_cookie(sid: Any = SID, name: str = "session", timestamp: int = NOW) -> str:
    """Return a Cookie header with a signed session id."""
    return f"{name}={sign(name, {'_sid': sid}, timestamp)}"


def stored(factory: type[Any], cookie: str | None = None, **config: Any) -> SessionStore:
    """Return a store whose default backend is this factory."""
    return make_store(cookie, backends={"securecookie": factory}, **config)
