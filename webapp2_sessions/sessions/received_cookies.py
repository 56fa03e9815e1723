"""The signed cookies of a request: which of them are accepted, and which are damaged."""

from __future__ import annotations

import logging
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import (
    MAX_AGE,
    CookieData,
    OpenCookie,
    as_session,
    attributes_name,
    read_value,
)

__all__ = ["ReceivedCookies", "verified"]

logger: logging.Logger = logging.getLogger(__name__)

#: How the package's serializer reads cookies; it tells less than the methods it is made of.
_DESERIALIZE = SecureCookieSerializer.deserialize


#: Times are exact as floats up to here.
_LARGEST_TIME = 2**53


class ReceivedCookies:
    """Reads the cookies of one request, which it does not keep alive."""

    def __init__(self) -> None:
        #: Names of the cookies that came and were not accepted.
        self.damaged: set[str] = set()

    def accepted(
        self,
        request: Any,
        serializer: Any,
        name: str,
        max_age: float | None,
        own_ages: bool = False,
    ) -> list[OpenCookie]:
        """Return the valid cookies of that name, the one that was signed last first.

        Of those that were signed in the same second, or whose time is unknown, the last in the
        header comes first. If there is none, one that is damaged is logged, once for each name,
        without its value.

        :param request: the request, as :func:`webapp2_sessions.cookies.read_values` takes it.
        :param serializer: checks the values, usually a
            :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`.
        :param max_age: age in seconds above which a cookie counts as expired, ``None`` for no
            limit.
        :param own_ages: whether the age of its own that a cookie has takes precedence.
        """
        found: list[OpenCookie] = []
        refused: str | None = None  # not the error, whose traceback has this frame
        for value in cookies.read_values(request, name):
            try:
                found.append(verified(serializer, name, value, max_age, own_ages))
            except InvalidCookie as error:
                refused = refused or str(error)
        if len(found) > 1:
            found.sort(key=_newest_first)
        elif not found and refused is not None and name not in self.damaged:
            self.damaged.add(name)
            logger.warning("The cookie %r was not accepted: %s", name, refused)
        return found


def _newest_first(cookie: OpenCookie) -> int:
    return 0 if cookie.signed_at is None else -cookie.signed_at


def verified(
    serializer: Any, name: str, value: str, max_age: float | None, own_ages: bool
) -> OpenCookie:
    """Return what a cookie's value holds; arguments are those of :meth:`ReceivedCookies.accepted`.

    :raises InvalidCookie: it is not accepted.
    """
    if getattr(serializer.deserialize, "__func__", None) is not _DESERIALIZE:
        return _deserialized(serializer, name, value, max_age, own_ages)
    data, timestamp = serializer.unseal(name, value)
    signed_at = _whole_seconds(timestamp)
    own_max_age = getattr(data, "attributes", {}).get(MAX_AGE) if own_ages else None
    if own_max_age is not None:
        max_age = own_max_age
    if max_age is not None:
        serializer.check_age(timestamp, max_age)
    return OpenCookie(data, signed_at, value)


def _deserialized(
    serializer: Any, name: str, value: str, max_age: float | None, own_ages: bool
) -> OpenCookie:
    """Verify by a ``deserialize()`` of the application's own, which tells no time."""
    data = as_session(serializer.deserialize(name, value, max_age=max_age))
    if isinstance(data, dict):
        return OpenCookie(data, None, value)
    held = _asked_for_attributes(serializer, name, value, None)
    if held is None:
        if data is None:
            raise InvalidCookie("the serializer refused it")
        return OpenCookie(data, None, value)
    own_max_age = held.attributes.get(MAX_AGE) if own_ages else None
    limit = max_age if own_max_age is None else own_max_age
    if limit is not None and _asked_for_attributes(serializer, name, value, limit) is None:
        raise InvalidCookie("the serializer refused it")
    return OpenCookie(held, None, value)


def _asked_for_attributes(
    serializer: Any, name: str, value: str, max_age: float | None
) -> CookieData | None:
    try:
        return read_value(serializer.deserialize(attributes_name(name), value, max_age=max_age))
    except Exception:  # it may know no such name
        return None


def _whole_seconds(timestamp: bytes) -> int | None:
    try:
        seconds = int(timestamp)
    except ValueError:
        return None
    return seconds if 0 <= seconds < _LARGEST_TIME else None
