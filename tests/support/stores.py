"""Session stores of single requests, and cookie values signed by independent code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import webapp2

from support.visits import SECRET, make_app
from webapp2_sessions import SessionStore

__all__ = ["NOW", "make_request", "make_store", "saved_headers", "sign", "sign_payload"]

#: A time for signing, in Unix seconds.
NOW = 1_500_000_000


def make_request(
    app: webapp2.WSGIApplication | None = None, cookie: str | None = None
) -> webapp2.Request:
    """A request of an application, with this Cookie header."""
    request = webapp2.Request.blank("/")
    if cookie is not None:
        request.environ["HTTP_COOKIE"] = cookie
    request.app = app or make_app()
    return request


def make_store(cookie: str | None = None, **config: Any) -> SessionStore:
    """The store of a request with this Cookie header, in an application of its own."""
    return SessionStore(make_request(make_app(**config), cookie))


def saved_headers(store: SessionStore, name: str = "Set-Cookie") -> list[str]:
    """Headers of that name, on a new response to which all sessions were saved."""
    response = webapp2.Response()
    store.save_sessions(response)
    return list(response.headers.getall(name))


def sign(name: str, value: Any, timestamp: int = NOW, secret: str | bytes = SECRET) -> str:
    """A signed cookie value that holds `value`, made without any of our code."""
    text = json.dumps(value, separators=(",", ":"))
    return sign_payload(name, base64.b64encode(text.encode()), str(timestamp).encode(), secret)


def sign_payload(
    name: str, payload: bytes, timestamp: bytes = b"%d" % NOW, secret: str | bytes = SECRET
) -> str:
    """A signed cookie value of any payload and timestamp, valid JSON and integer or not."""
    key = secret.encode() if isinstance(secret, str) else secret
    message = b"|".join((name.encode(), payload, timestamp))
    signature = hmac.new(key, message, hashlib.sha1).hexdigest().encode()
    return b"|".join((payload, timestamp, signature)).decode("latin-1")
