"""Signed cookies of a request: which of one name are accepted, and why others are not."""

from __future__ import annotations

from typing import Any, NamedTuple

from webapp2_sessions import cookies
from webapp2_sessions.errors import InvalidCookie, MalformedCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import (
    MAX_AGE,
    CookieData,
    OpenCookie,
    as_session,
    attributes_name,
    read_value,
)

__all__ = ["OpenCookies", "open_cookie", "open_cookies"]

#: The serializer's own method, which does less than those that it calls: it returns ``None``
#: without a cause, and no time. One that an application has put in its place is called.
_DESERIALIZE = SecureCookieSerializer.deserialize

#: Times are exact as floats up to here.
_LARGEST_TIME = 2**53


class OpenCookies(NamedTuple):
    """The cookies of one name that a request brought."""

    #: Those that are accepted, the one that was signed last first. Of those that were signed in
    #: the same second, or whose time is unknown, the last in the header comes first.
    accepted: list[OpenCookie]
    #: Why the last one of the others is not; ``None`` if there are no others.
    refused: str | None


def open_cookies(request: Any, serializer: Any, name: str, max_age: float | None) -> OpenCookies:
    """Verify all cookies of a name.

    :param request: the request, as :func:`webapp2_sessions.cookies.read_values` takes it.
    :param serializer: a :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`, or an
        application's own.
    :param max_age: age in seconds above which a cookie counts as expired, ``None`` for no limit;
        the age that ``session.set_max_age()`` has put into a cookie takes precedence.
    """
    accepted: list[OpenCookie] = []
    refused: str | None = None  # not the error, whose traceback has this frame
    for value in cookies.read_values(request, name):
        try:
            accepted.append(open_cookie(serializer, name, value, max_age))
        except InvalidCookie as error:
            refused = refused or str(error)
    if len(accepted) > 1:
        accepted.sort(key=lambda cookie: cookie.signed_at or 0, reverse=True)
    return OpenCookies(accepted, refused)


def open_cookie(
    serializer: Any, name: str, value: str, max_age: float | None, check_age: bool = True
) -> OpenCookie:
    """Verify one cookie.

    :param check_age: whether a cookie may be too old.
    :raises InvalidCookie: it is not accepted.
    """
    if getattr(serializer.deserialize, "__func__", None) is not _DESERIALIZE:
        return _deserialize(serializer, name, value, max_age, check_age)
    if value.startswith('"'):  # quoted twice: the header's quotes are gone already
        raise MalformedCookie("it is no signed value")
    data, timestamp = serializer.unseal(name, value)
    cookie = OpenCookie(data, _seconds(timestamp), value)
    if check_age:
        max_age = cookie.attributes.get(MAX_AGE, max_age)
        if max_age is not None:
            serializer.check_age(timestamp, max_age)
    return cookie


def _deserialize(
    serializer: Any, name: str, value: str, max_age: float | None, check_age: bool
) -> OpenCookie:
    """Verify by a ``deserialize()`` of the application's own, which tells neither cause nor time.

    It may know nothing of attributes, or even of names.
    """
    data = serializer.deserialize(name, value, max_age=max_age if check_age else None)
    if data is not None and not _has_attributes(data):
        return OpenCookie(as_session(data), None, value)
    held = _read_attributes(serializer, name, value, None)
    if held is None:
        raise InvalidCookie("the serializer refused it")
    limit = held.attributes.get(MAX_AGE, max_age) if check_age else None
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


def _seconds(timestamp: bytes) -> int | None:
    try:
        seconds = int(timestamp)
    except ValueError:
        return None
    return seconds if 0 <= seconds < _LARGEST_TIME else None
