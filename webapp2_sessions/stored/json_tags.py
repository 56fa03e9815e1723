"""The tags of tagged JSON: encoding and decoding of types that JSON lacks.

* ``!tuple``, ``!set``, ``!frozenset``: the items
* ``!dict`` with keys that are no text, or that looks like a tag: pairs of key and value
* ``!int`` of more than 600 digits: hex; ``!float``: ``nan``, ``inf`` or ``-inf``
* ``!str`` with surrogates: base64 of UTF-8 with ``surrogatepass``; ``!bytes``, ``!bytearray``:
  base64
* ``!complex``: real and imaginary part; ``!decimal``: its ``str()``; ``!uuid``: hex
* ``!date``, ``!time``, ``!datetime``: ISO 8601; if ``fold`` is 1, or the zone is not just an offset
  of whole seconds, a list of ISO 8601 without the zone, ``fold`` and the zone
* ``!timedelta``: days, seconds, microseconds
* ``!timezone``: offset and optional name; ``!zoneinfo``: the key
"""

from __future__ import annotations

import base64
import datetime
import decimal
import math
import re
import reprlib
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

#: Maximum digits of an int that is stored as a number. Python limits the length of decimal numbers
#: that it parses, at the lowest to 640 digits; hex has no limit and takes linear time.
MAX_DIGITS = 600
_LONG = 10**MAX_DIGITS

_TEXT: frozenset[type] = frozenset({str})

_has_surrogates = re.compile("[\ud800-\udfff]").search


class Scalar(NamedTuple):
    """A type with the encoder and the decoder of its values."""

    kind: type
    #: Encodes a value as text or a list of parts; returns ``None`` if JSON needs no tag for it.
    #: Raises :class:`LookupError`, with a message for the user, if it could not be decoded.
    state: Callable[[Any], str | list[Any] | None]
    #: Decodes text or parts; raises what the type's constructor raises.
    restore: Callable[[Any], Any]
    #: The attribute that may hold a value that cannot be stored, for the path in the error.
    part: str = ""

    def read(self, state: Any) -> Any:
        """Decode a state.

        :raises Exception: it is malformed; what the type's constructor raises.
        """
        value = self.restore(state)
        # Constructors accept other spellings as well. Compare by repr(), since True equals 1 and
        # nan does not equal nan.
        if repr(self.state(value)) != repr(state):
            raise ValueError("another spelling")
        return value


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _from_base64(state: str) -> bytes:
    return base64.b64decode(state)


def _text_state(value: str) -> str | None:
    return _base64(value.encode("utf-8", "surrogatepass")) if _has_surrogates(value) else None


def _decimal_state(value: decimal.Decimal) -> str:
    return str(value).replace("e", "E")  # its case depends on the decimal context


def _timezone_state(value: Any) -> list[Any]:
    return [*value.__getinitargs__()]  # the offset and the optional name


def _zone_state(value: zoneinfo.ZoneInfo) -> str:
    try:
        zoneinfo.ZoneInfo(value.key)
    except (LookupError, OSError, TypeError, ValueError):
        problem = "no time zone is found by its key; store one that was made by ZoneInfo(key)"
        raise LookupError(problem) from None
    return value.key


def _moment_state(value: Any) -> str | list[Any]:
    zone = value.tzinfo
    if not value.fold and (zone is None or (type(zone) is datetime.timezone and _is_iso(zone))):
        return str(value.isoformat())
    return [value.replace(tzinfo=None).isoformat(), value.fold, zone]


def _is_iso(zone: datetime.timezone) -> bool:
    """Return whether ISO 8601 preserves a zone; ``fromisoformat()`` loses fractions of seconds."""
    offset, *name = _timezone_state(zone)
    return not offset.microseconds and not name


def _moment(kind: type[datetime.datetime | datetime.time]) -> Scalar:
    def restore(state: Any) -> Any:
        if type(state) is str:
            return kind.fromisoformat(state)
        text, fold, zone = state
        return kind.fromisoformat(text).replace(fold=fold, tzinfo=zone)

    return Scalar(kind, _moment_state, restore, ".tzinfo")


#: Types by tag.
SCALARS = {
    f"!{scalar.kind.__name__.lower()}": scalar
    for scalar in (
        Scalar(
            int,
            lambda value: None if -_LONG < value < _LONG else format(value, "x"),
            lambda state: int(state, 16),
        ),
        Scalar(float, lambda value: None if math.isfinite(value) else repr(value), float),
        Scalar(
            str, _text_state, lambda state: _from_base64(state).decode("utf-8", "surrogatepass")
        ),
        Scalar(bytes, _base64, _from_base64),
        Scalar(bytearray, _base64, lambda state: bytearray(_from_base64(state))),
        Scalar(complex, lambda value: [value.real, value.imag], lambda state: complex(*state)),
        Scalar(decimal.Decimal, _decimal_state, decimal.Decimal),
        Scalar(uuid.UUID, lambda value: value.hex, lambda state: uuid.UUID(int=int(state, 16))),
        Scalar(datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
        _moment(datetime.time),
        _moment(datetime.datetime),
        Scalar(
            datetime.timedelta,
            lambda value: [value.days, value.seconds, value.microseconds],
            lambda state: datetime.timedelta(*state),
        ),
        Scalar(
            datetime.timezone,
            _timezone_state,
            lambda state: datetime.timezone(*state),
            ".tzname(None)",
        ),
        Scalar(zoneinfo.ZoneInfo, _zone_state, zoneinfo.ZoneInfo),
    )
}


def needs_pairs(value: dict[Any, Any], *, surrogates: bool) -> bool:
    """Return whether a dict needs the tag ``!dict`` because of its keys.

    :param surrogates: search the keys for surrogates as well, which takes longer.
    """
    if not _TEXT.issuperset(map(type, value)):
        return True
    if len(value) == 1 and next(iter(value)).startswith("!"):
        return True
    return surrogates and any(map(_has_surrogates, value))


def unpack(found: dict[str, Any]) -> Any:
    """Decode a JSON object: a tag or a plain dict.

    :param found: the object, in which nested objects are decoded already.
    :raises ValueError: it is an unknown or malformed tag.
    """
    if len(found) != 1:
        return found
    [(tag, state)] = found.items()
    if not tag.startswith("!"):
        return found
    if tag not in _UNPACKERS:
        raise ValueError(f"stored JSON has the unknown tag {reprlib.repr(tag)}")
    try:
        return _UNPACKERS[tag](state)
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError):
        raise ValueError(f"stored JSON has a malformed {tag}") from None


def _items(state: Any) -> list[Any]:
    if type(state) is not list:
        raise TypeError("no list")
    return state


def _whole(value: Any, state: list[Any]) -> Any:
    if len(value) != len(state):
        raise ValueError("an item comes twice")
    return value


def _unpack_dict(state: Any) -> Any:
    value = _whole(dict(map(_items, _items(state))), state)
    if not needs_pairs(value, surrogates=True):
        raise ValueError("no tag is needed")
    return value


_UNPACKERS: dict[str, Callable[[Any], Any]] = {
    "!dict": _unpack_dict,
    "!tuple": lambda state: tuple(_items(state)),
    "!set": lambda state: _whole(set(_items(state)), state),
    "!frozenset": lambda state: _whole(frozenset(_items(state)), state),
    **{tag: scalar.read for tag, scalar in SCALARS.items()},
}
