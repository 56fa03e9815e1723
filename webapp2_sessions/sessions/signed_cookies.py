"""Signed cookies of one request: verify those it brought, and set new ones on its response."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.config.checks import check_max_age
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import (
    MAX_AGE,
    CookieData,
    OpenCookie,
    as_session,
    attributes_name,
    attributes_of,
    read_value,
    sign_cookie,
)

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import CookieSerializer
    from webapp2_sessions.sessions.unsaved import Unsaved

__all__ = ["SignedCookies", "open_cookies"]

logger: logging.Logger = logging.getLogger(__name__)

#: The serializer's own method, which does less than those that it calls: it returns ``None``
#: without a cause, and no time. One that an application has put in its place is called.
_DESERIALIZE = SecureCookieSerializer.deserialize

#: Bytes of a Cookie header that most servers accept (gunicorn: 8,190; nginx: 8 kB a line).
_LONG_HEADER = 8000


class SignedCookies:
    """The part of a session store that reads and sets signed cookies."""

    #: The checked configuration.
    config: dict[str, Any]
    #: The request that brought the cookies.
    request: Any
    #: The factories of the sessions that were opened, by session name.
    sessions: dict[str, Any]

    # Class attributes, because a subclass may not call __init__().
    #: Reports changes that were never saved, in debug mode.
    _unsaved: Unsaved | None = None
    #: The serializer, once it was used or set.
    _serializer: CookieSerializer | None = None
    #: Names of cookies that were refused; ``None`` if no cookie was read.
    _damaged: set[str] | None = None
    #: The cookies that were opened last, by name.
    _opened: Mapping[str, list[OpenCookie]] = MappingProxyType({})
    #: Name of the session cookie that is being set, and its attributes.
    _setting: tuple[str, dict[str, Any]] = "", {}
    #: Bytes of the cookies that were set, as browsers send them back, by name.
    _written: Mapping[str, int] = MappingProxyType({})

    @property
    def serializer(self) -> CookieSerializer:
        """Signs and verifies the cookies: a :class:`SecureCookieSerializer`, unless one was set.

        Created on first use, with the keys that the configuration has then.
        """
        if self._serializer is None:
            self._serializer = SecureCookieSerializer(
                self.config["secret_key"],
                self.config.get("secret_key_fallbacks", ()),
                self.config.get("digest", "sha1"),
                self.config.get("digest_fallbacks", ()),
            )
        return self._serializer

    @serializer.setter
    def serializer(self, serializer: CookieSerializer) -> None:
        self._serializer = serializer

    @serializer.deleter
    def serializer(self) -> None:
        self._serializer = None

    def get_secure_cookie(self, name: str, max_age: float | None = _default_value) -> Any:
        """Return what a signed cookie of the request holds, ``None`` if there is no valid one.

        Of several valid cookies of that name the one that was signed last counts: one that
        another application of the same domain sets cannot displace it.

        :param name: the cookie's name.
        :param max_age: age in seconds above which it counts as expired, ``None`` for no limit;
            by default ``session_max_age``.
        """
        opened = self._open_cookies(name, max_age)
        return opened[0].data if opened else None

    def open_session_cookies(
        self, name: str, max_age: float | None, serializer: CookieSerializer | None = None
    ) -> list[OpenCookie]:
        """Return the valid cookies of a session, the one that was signed last first.

        :param serializer: verifies the cookies; without one they are read by
            :meth:`get_secure_cookie`, which a subclass may have replaced.
        """
        if serializer is not None:
            return self._open_cookies(name, max_age, serializer)
        if name in self._opened:  # by another call, of which this one must not take anything
            self._opened = {**self._opened, name: []}
        data = self.get_secure_cookie(name, max_age=max_age)
        if data is None:
            return []
        opened = self._opened.get(name, [])
        if opened and opened[0].data is data:
            return opened
        # A subclass has copied or changed the data, and lost the attributes.
        data = as_session(data)
        if not opened:
            return [OpenCookie(data)]
        first, others = opened[0], opened[1:] if data == opened[0].data else []
        if first.attributes and isinstance(data, dict):
            data = CookieData(data, first.attributes)
        return [first._replace(data=data), *others]

    def _open_cookies(
        self, name: str, max_age: float | None, serializer: CookieSerializer | None = None
    ) -> list[OpenCookie]:
        max_age = self._max_age(max_age)
        if self._damaged is None:
            self._damaged = set()
        values = cookies.read_values(self.request, name)
        if not values:
            return []
        opened, refused = open_cookies(serializer or self.serializer, name, values, max_age)
        if serializer is None:
            self._opened = {**self._opened, name: opened}
        if refused is not None and not opened and name not in self._damaged:
            self._damaged.add(name)
            logger.warning("The cookie %r was not accepted: %s", name, refused)
        return opened

    def _max_age(self, max_age: Any) -> Any:
        """Validate a ``max_age``, and replace the default by ``session_max_age``."""
        if max_age is _default_value:
            return self.config["session_max_age"]
        if max_age is not None:
            check_max_age("max_age", max_age)
        return max_age

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Set a signed cookie on the response.

        :param value: anything that JSON can represent.
        :param kwargs: arguments of WebOb's ``Response.set_cookie()``.
        :raises TypeError: JSON cannot represent the value.
        :raises ConfigError: no cookie can be sent with these arguments.
        """
        session, attributes = self._setting
        if attributes and name == session and isinstance(value, dict):
            value = CookieData(value, attributes)
        key = "session_args" if name == session else "save_secure_cookie()"
        self._set_cookie(response, name, value, kwargs, self.serializer, key)

    def save_session_cookie(
        self,
        response: Any,
        name: str,
        data: dict[Any, Any],
        args: dict[str, Any],
        serializer: CookieSerializer | None = None,
    ) -> None:
        """Set a session's cookie on the response.

        :param data: what the cookie is to hold; a :class:`CookieData` if it has attributes.
        :param args: arguments of WebOb's ``Response.set_cookie()``.
        :param serializer: signs the cookie; without one it is set by :meth:`save_secure_cookie`,
            which a subclass may have replaced.
        """
        if serializer is not None:
            self._set_cookie(response, name, data, args, serializer, "session_args")
            return
        # A subclass may copy the data, and lose the attributes.
        before = self._setting
        self._setting = name, attributes_of(data)
        try:
            self.save_secure_cookie(response, name, data, **args)
        finally:
            self._setting = before

    def _set_cookie(
        self,
        response: Any,
        name: str,
        value: Any,
        args: dict[str, Any],
        serializer: Any,
        key: str,
    ) -> None:
        config = self.config
        signed = sign_cookie(serializer, name, value)
        cookies.write(response, name, signed, value, args, config.get("max_cookie_size"), key)
        self._written = {**self._written, name: len(name) + len(signed) + 3}
        if self._unsaved is not None:
            self._unsaved.settle(name)
        opened = getattr(self, "sessions", ())  # absent where __init__() was not called
        if name in opened and config.get("vary"):
            cookies.vary_on_cookie(response)

    def _warn_of_long_header(self) -> None:
        """Log if the browser will send more cookies than most servers accept in one header."""
        request = getattr(self, "request", None)  # it may have ended
        header = getattr(request, "environ", {}).get("HTTP_COOKIE", "")
        if not isinstance(header, str):  # a mock's
            return
        if len(header) + sum(self._written.values()) <= _LONG_HEADER:
            return
        sizes = dict(self._written)
        for pair in header.split(";"):
            name = pair.partition("=")[0].strip()
            if name not in self._written:  # also if it comes several times
                sizes[name] = sizes.get(name, 0) + len(pair) + 1
        if sum(sizes.values()) > _LONG_HEADER:
            largest = sorted(sizes.items(), key=lambda pair: pair[1], reverse=True)
            logger.warning(
                "The cookies of this visitor have %d bytes together, and many servers refuse "
                "requests with more than %d. Largest cookies: %s. Store less, or use a server-side "
                "backend.",
                sum(sizes.values()),
                _LONG_HEADER,
                ", ".join(f"{name[:40]!r} ({size} bytes)" for name, size in largest[:3]),
            )


def open_cookies(
    serializer: Any, name: str, values: list[str], max_age: float | None
) -> tuple[list[OpenCookie], str | None]:
    """Verify all cookies of a name that a request brought.

    :param serializer: a :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`, or an
        application's own.
    :param values: from :func:`webapp2_sessions.cookies.read_values`.
    :param max_age: age in seconds above which a cookie counts as expired, ``None`` for no limit;
        the age that ``session.set_max_age()`` has put into a cookie takes precedence.
    :returns: the cookies that are accepted, and why the last one of the others is not. The one
        that was signed last comes first; of those that were signed in the same second, or whose
        time is unknown, the last in the header.
    """
    accepted = []
    refused = None  # not the error, whose traceback has this frame
    is_own = getattr(serializer.deserialize, "__func__", None) is not _DESERIALIZE
    for value in values:
        try:
            if is_own:
                accepted.append(_deserialize(serializer, name, value, max_age))
                continue
            cookie = serializer.unseal(name, value)
            limit = cookie.attributes.get(MAX_AGE, max_age)
            if limit is not None:
                serializer.check_age(cookie.signed_at, limit)
            accepted.append(cookie)
        except InvalidCookie as error:
            refused = refused or str(error)
    if len(accepted) > 1:
        accepted.sort(key=lambda cookie: cookie.signed_at or 0, reverse=True)
    return accepted, refused


def _deserialize(serializer: Any, name: str, value: str, max_age: float | None) -> OpenCookie:
    """Verify by a ``deserialize()`` of the application's own, which tells neither cause nor time.

    It may know nothing of attributes, or even of names.

    :raises InvalidCookie: it does not accept the cookie.
    """
    data = serializer.deserialize(name, value, max_age=max_age)
    if data is not None and not _has_attributes(data):
        return OpenCookie(as_session(data), None, value)
    held = _read_attributes(serializer, name, value, None)
    if held is None:
        raise InvalidCookie("the serializer refused it")
    limit = held.attributes.get(MAX_AGE, max_age)
    if limit is not None and _read_attributes(serializer, name, value, limit) is None:
        raise InvalidCookie("the serializer refused it")
    return OpenCookie(held, None, value)


def _has_attributes(data: Any) -> bool:
    try:
        read_value(data)
    except ValueError:
        return isinstance(data, CookieData)
    return True


def _read_attributes(
    serializer: Any, name: str, value: str, max_age: float | None
) -> CookieData | None:
    try:
        held = serializer.deserialize(attributes_name(name), value, max_age=max_age)
        return read_value(held)
    except Exception:  # it may know no such name
        return None
