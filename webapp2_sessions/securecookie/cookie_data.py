"""What a session's cookie holds: the session's data, and attributes that are kept beside it.

Attributes are never part of the data, so that nothing an application puts into a session is taken
for one. A cookie with attributes holds a list of data and attributes, and is signed under a name
that no cookie can have. Neither ``webapp2_extras`` nor an application that signs a value under
a cookie's name can make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from webapp2_sessions.errors import UnstorableValue

__all__ = [
    "BEGAN",
    "IS_DATA",
    "MAX_AGE",
    "SPILLED",
    "CookieData",
    "OpenCookie",
    "as_session",
    "attributes_name",
    "attributes_of",
    "read_value",
    "sign_cookie",
]

#: Seconds for which the session lives, where ``session.set_max_age()`` has said so.
MAX_AGE = "max_age"
#: Unix seconds at which the session began, where there is an ``absolute_max_age``.
BEGAN = "began"
#: The id by which a session is stored that is too large for its cookie.
SPILLED = "spilled"

#: Whether a key ``_sid`` belongs to the data, and is no id of a stored session.
IS_DATA = "is_data"

#: What browsers take as an age at most, in seconds; also bounds times, until the year 2106.
_LARGEST_AGE = 2**31 - 1
_LARGEST_TIME = 2**32


class CookieData(dict[Any, Any]):
    """A session's data with attributes beside it.

    Equal to a plain dictionary with the same data, also for JSON, so that a store of an
    application's own passes it on without knowing of attributes.

    :param data: the data.
    :param attributes: values for :data:`MAX_AGE`, :data:`BEGAN`, :data:`SPILLED` and
        :data:`IS_DATA`.
    """

    def __init__(self, data: dict[Any, Any], attributes: dict[str, Any]) -> None:
        super().__init__(data)
        self.attributes: dict[str, Any] = attributes


class OpenCookie(NamedTuple):
    """A cookie whose signature fits."""

    #: What it holds: the data of a session, or whatever else an application has signed.
    data: Any
    #: When it was signed, in Unix seconds; ``None`` if that is not known.
    signed_at: int | None = None
    #: Its value as it came.
    value: str | bytes | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """What is kept beside the data; empty in most cookies."""
        data = self.data
        return data.attributes if isinstance(data, CookieData) else {}


def attributes_of(data: Any) -> dict[str, Any]:
    """Return the attributes beside data; only :class:`CookieData` has any.

    A dictionary of the application's own may show its keys as attributes.
    """
    return data.attributes if isinstance(data, CookieData) else {}


def attributes_name(name: str | bytes) -> str | bytes:
    """Return the name under which a cookie with attributes is signed.

    The name of a cookie has no space in it (RFC 6265 section 4.1.1).
    """
    return name + b" attributes" if isinstance(name, bytes) else f"{name} attributes"


def as_session(data: Any) -> Any:
    """Return as a dictionary what a store or serializer of an application's own gives.

    :returns: a mapping or pairs as a dictionary; anything else as it was given.
    """
    if isinstance(data, dict):
        return data
    is_pairs = isinstance(data, (list, tuple)) and all(isinstance(x, (list, tuple)) for x in data)
    if not (is_pairs or isinstance(data, Mapping)):
        return data
    try:
        return dict(data)
    except ValueError:  # of which one is no pair
        return data


def sign_cookie(serializer: Any, name: str | bytes, value: Any) -> bytes:
    """Return the signed value of a cookie.

    :param serializer: a :class:`~webapp2_sessions.securecookie.SecureCookieSerializer`, or an
        application's own. It signs attributes together with the data, as a list, under a name of
        their own, so that it has to know nothing of them.
    :param value: what JSON can represent; perhaps :class:`CookieData`.
    :raises TypeError: JSON cannot represent the value.
    """
    if type(value) is not CookieData:
        return serializer.serialize(name, value)  # type: ignore[no-any-return]
    held = [dict(value), value.attributes]
    try:
        return serializer.serialize(attributes_name(name), held)  # type: ignore[no-any-return]
    except UnstorableValue:
        serializer.serialize(name, dict(value))  # raises with the path in the session
        raise


def read_value(held: Any) -> CookieData:
    """Return the data and attributes of a value that was signed under :func:`attributes_name`.

    :raises ValueError: it is something else.
    """
    if not (isinstance(held, list) and len(held) == 2 and all(isinstance(x, dict) for x in held)):
        raise ValueError("no list of two dictionaries")
    data, attributes = held
    return CookieData(
        data, {key: value for key, value in attributes.items() if _is_sound(key, value)}
    )


def _is_sound(key: str, value: Any) -> bool:
    if key == MAX_AGE:
        return type(value) is int and 0 < value <= _LARGEST_AGE
    if key == BEGAN:
        return type(value) is int and 0 <= value <= _LARGEST_TIME
    return value is True if key == IS_DATA else key == SPILLED and isinstance(value, str)
