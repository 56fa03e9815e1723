"""Session cookies for tests: made as the application makes them, and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import webapp2

from webapp2_sessions import cookies
from webapp2_sessions.config import CONFIG_KEY, SessionConfig
from webapp2_sessions.config.loading import load_config
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.securecookie.cookie_data import (
    BEGAN,
    IS_DATA,
    MAX_AGE,
    SPILLED,
    CookieData,
    OpenCookie,
)
from webapp2_sessions.sessions import SessionStore
from webapp2_sessions.testing.client import webapp_of


@dataclass(frozen=True)
class SentCookie:
    """A session cookie in a Set-Cookie header."""

    #: The cookie's name.
    name: str
    #: What the session's cookie holds: the session's data, or of a stored one its id as
    #: ``"_sid"``; ``None`` if :attr:`expired`. Give it to :func:`make_cookie` as it is: a copy does
    #: not know whether a ``_sid`` is data of the application.
    data: Any = None
    #: Whether the browser is told to forget the cookie.
    expired: bool = False
    #: When it was signed, in Unix seconds.
    signed_at: int | None = None
    #: When the session began, in Unix seconds, where there is an ``absolute_max_age``.
    began: int | None = None
    #: The lifetime in seconds that ``set_max_age()`` gave the session.
    own_max_age: int | None = None
    #: The attributes by their names in lower case; ``True`` for those without a value.
    attributes: dict[str, str | bool] = field(default_factory=dict)


class _Store(SessionStore):
    """A store for an empty request, of an application or a configuration alone."""

    def __init__(self, config: Any) -> None:
        self.request = webapp2.Request.blank("/")
        self.sessions = {}
        if isinstance(config, Mapping):
            self.config = SessionConfig(config)
        else:
            self.request.app = webapp_of(config)
            self.config = load_config(self.request.app, CONFIG_KEY, None)


def make_cookie(
    config: Any,
    data: Mapping[str, Any],
    name: str | None = None,
    *,
    max_age: float | None = None,
    backend: str = "securecookie",
) -> str:
    """Return the cookie of a session, as the application would send it now.

    A new session of an application with ``absolute_max_age`` begins now as well. To make a cookie
    of another time, move the clock.

    :param config: the application, or its session configuration.
    :param data: what the session holds, or :attr:`SentCookie.data`; ``{"_sid": ...}`` makes the
        cookie of a stored session, with ``"securecookie"``.
    :param name: the session's name; by default ``cookie_name``.
    :param max_age: what ``session.set_max_age()`` is called with, if anything.
    :param backend: ``"securecookie"`` or ``"encryptedcookie"``.
    :returns: ``name=value``, which can be the whole of a Cookie header.
    :raises ConfigError: the configuration is wrong, or the backend has no cookies of this kind.
    :raises TypeError: JSON cannot represent the data.
    """
    store = _Store(config)
    session = store.get_session(name, factory=_cookie_factory(store, backend))
    if max_age is not None:
        session.set_max_age(max_age)
    response = webapp2.Response()
    attributes = _id_attributes(data.attributes) if isinstance(data, CookieData) else {}
    if backend == "securecookie" and not attributes:
        session.container._cookie = OpenCookie(data)
    session.container._set_cookie(response, dict(data), **attributes)
    header: str = response.headers["Set-Cookie"]
    return header.partition(";")[0]


def read_cookie(
    config: Any, response: Any, name: str | None = None, *, backend: str = "securecookie"
) -> SentCookie | None:
    """Return a session's cookie in a response, ``None`` if there is none.

    Of several cookies of that name the last counts, as in a browser. An expired one is read too.

    :param config: the application, or its session configuration.
    :param response: the response of webapp2, WebOb or WebTest; or its Set-Cookie header, or
        several of them in a list.
    :param name: the session's name; by default ``cookie_name``.
    :param backend: ``"securecookie"``, also for sessions on servers, or ``"encryptedcookie"``.
    :raises InvalidCookie: the cookie was not made with this configuration.
    :raises ConfigError: the configuration is wrong, or the backend has no cookies of this kind.
    """
    store = _Store(config)
    name = name or store.config["cookie_name"]
    found = None
    for header in _headers_of(response):
        pair, *attributes = header.split(";")
        key, _, value = pair.partition("=")
        if key.strip() == name:
            found = value.strip(), _attributes(attributes)
    if found is None:
        return None
    value, parsed = found
    signed = cookies.unquote(value.encode("latin-1"))
    if parsed.get("max-age") == "0" or not signed:
        return SentCookie(name, expired=True, attributes=parsed)
    made = _cookie_factory(store, backend)(name, store)
    serializer: Any = made._own_serializer or store.serializer
    cookie = serializer.unseal(name, signed)
    data, held = cookie.data, cookie.attributes
    if kept := _id_attributes(held):
        data = CookieData(data, kept)
    began, max_age = held.get(BEGAN), held.get(MAX_AGE)
    return SentCookie(name, data, False, cookie.signed_at, began, max_age, parsed)


def _id_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that tell data from the id of a stored session."""
    return {key: attributes[key] for key in (IS_DATA, SPILLED) if key in attributes}


def _cookie_factory(store: SessionStore, backend: str) -> Any:
    if backend not in ("securecookie", "encryptedcookie"):
        raise ConfigError(
            "backend",
            f"must be 'securecookie' or 'encryptedcookie', not {backend!r}; the cookie of a "
            "stored session is a 'securecookie' that holds its id",
        )
    return store.get_backend(backend)


def _headers_of(response: Any) -> Iterable[str]:
    if isinstance(response, str):
        return [response]
    headers = getattr(response, "headers", None)
    return list(response if headers is None else headers.getall("Set-Cookie"))


def _attributes(attributes: list[str]) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for attribute in attributes:
        name, equals, value = attribute.partition("=")
        found[name.strip().lower()] = value.strip() if equals else True
    return found
