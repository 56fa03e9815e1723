"""What a session's cookie holds: the session's data, and attributes that are kept beside it.

Attributes are never part of the data, so that nothing an application puts into a session is taken
for one. A cookie with attributes holds a list of data and attributes, and is signed under a name
that no cookie can have. Neither ``webapp2_extras`` nor an application that signs a value under
a cookie's name can make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from webapp2_sessions.errors import UnstorableValue

__all__ = [
    "BEGAN",
    "IS_DATA",
    "LARGEST_TIME",
    "MAX_AGE",
    "NO_COOKIE",
    "SIGNED_IN",
    "SPILLED",
    "STAMP",
    "CookieData",
    "OpenCookie",
    "as_session",
    "attributes_name",
    "read_value",
    "sign_cookie",
    "with_attributes",
]

#: Seconds for which the session lives, where ``session.set_max_age()`` has said so.
MAX_AGE = "max_age"
#: Unix seconds at which the session began, where there is an ``absolute_max_age``.
BEGAN = "began"
#: The id by which a session is stored that is too large for its cookie.
SPILLED = "spilled"
#: What changes with the user's password, where ``user_stamp`` is configured.
STAMP = "stamp"
#: Unix milliseconds at which the user signed in, where ``revocation`` is configured.
SIGNED_IN = "signed_in"

#: Whether a key ``_sid`` belongs to the data, and is no id of a stored session.
IS_DATA = "is_data"

#: What browsers take as an age at most, in seconds; also bounds times, until the year 2106.
_LARGEST_AGE = 2**31 - 1
_LARGEST_TIME = 2**32


#: Times are cut to this, also those that a serializer of an application's own counts in
#: nanoseconds.
LARGEST_TIME = 2**63


class CookieData(dict[Any, Any]):
    """The data of a cookie with attributes, as stores and serializers pass it on.

    Equal to a plain dictionary with the same data, so that a store or serializer of an
    application's own passes it on without knowing of attributes. A pickle or a copy of it is plain.

    :param data: the data.
    :param attributes: what is kept beside it.
    """

    def __init__(self, data: dict[Any, Any], attributes: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.attributes: Mapping[str, Any] = attributes

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


class OpenCookie(NamedTuple):
    """A cookie whose signature fits."""

    #: What it holds: the data of a session, or whatever else an application has signed.
    data: Any
    #: When it was signed, in Unix seconds; ``None`` if that is not known.
    signed_at: int | None = None
    #: Its value as it came.
    value: str | bytes | None = None
    #: What is kept beside the data; empty in most cookies.
    attributes: Mapping[str, Any] = MappingProxyType({})


def attributes_name(name: str | bytes) -> str | bytes:
    """Return the name under which a cookie with attributes is signed.

    The name of a cookie has no space in it (RFC 6265 section 4.1.1).
    """
    return name + b" attributes" if isinstance(name, bytes) else f"{name} attributes"


def with_attributes(data: Any, attributes: Mapping[str, Any]) -> Any:
    """Return data as a store or serializer of an application's own passes it on with attributes."""
    return CookieData(data, attributes) if attributes and isinstance(data, dict) else data


#: What stands for a cookie where there is none, or nothing is known of it.
NO_COOKIE = OpenCookie(None)


def as_session(data: Any, cookie: OpenCookie = NO_COOKIE) -> OpenCookie:
    """Return the cookie whose data a store or serializer of an application's own gives.

    :param data: a mapping or pairs become a dictionary; anything else stays.
    :param cookie: what is known of the cookie besides.
    """
    if isinstance(data, CookieData):
        return cookie._replace(data=data, attributes=data.attributes)
    is_pairs = isinstance(data, (list, tuple)) and all(isinstance(x, (list, tuple)) for x in data)
    if not isinstance(data, dict) and (is_pairs or isinstance(data, Mapping)):
        with suppress(TypeError, ValueError):  # one is no pair, or its key cannot be hashed
            data = dict(data)
    return cookie._replace(data=data)


def sign_cookie(
    serializer: Any, name: str | bytes, value: Any, attributes: Mapping[str, Any] | None = None
) -> bytes:
    """Return the signed value of a cookie.

    :param serializer: a :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`, or an
        application's own. It signs attributes together with the value, as a list, under a name of
        their own, so that it has to know nothing of them.
    :param value: what JSON can represent.
    :param attributes: what is kept beside it.
    :raises TypeError: JSON cannot represent the value.
    """
    if not attributes:
        return serializer.serialize(name, value)  # type: ignore[no-any-return]
    try:
        held = [value, dict(attributes)]
        return serializer.serialize(attributes_name(name), held)  # type: ignore[no-any-return]
    except UnstorableValue:
        serializer.serialize(name, value)  # raises with the path in the session
        raise


def read_value(held: Any) -> tuple[Any, dict[str, Any]]:
    """Return value and attributes of what was signed under :func:`attributes_name`.

    :raises ValueError: it is something else.
    """
    if not (isinstance(held, list) and len(held) == 2):
        raise ValueError("no list of two values")
    value, attributes = held
    # Text is what a store of an application's own may make of the data.
    if not (isinstance(value, (dict, str)) and isinstance(attributes, dict)):
        raise ValueError("no value with attributes")
    return value, {key: each for key, each in attributes.items() if _is_sound(key, each)}


def _is_sound(key: str, value: Any) -> bool:
    if key == MAX_AGE:
        return type(value) is int and 0 < value <= _LARGEST_AGE
    if key in (BEGAN, SIGNED_IN):
        largest = _LARGEST_TIME if key == BEGAN else _LARGEST_TIME * 1000
        return type(value) is int and 0 <= value <= largest
    return value is True if key == IS_DATA else key in (SPILLED, STAMP) and isinstance(value, str)
