"""Serialization of Python types as JSON; deserializing it runs no code.

Types of JSON are stored as usual: ``dict`` with text as keys, ``list``, text, finite numbers,
``True``, ``False``, ``None``. Any other value becomes a tag, an object with one key that begins
with ``!``: ``{"!tuple":["saved","info"]}``. ``!tuple``, ``!set`` and ``!frozenset`` contain a list
of items. A dict with other keys, or one that looks like a tag, is stored as
``{"!dict":[[key,value],...]}``. The tags of :mod:`webapp2_sessions.stored.json_tags` contain text
or a list of parts. Items and parts are encoded by the same rules.

The result is UTF-8 without spaces. Items of sets are sorted by their JSON, so that equal values
with the same order of keys have equal bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from webapp2_sessions.errors import UnstorableValue
from webapp2_sessions.errors.unstorable import JSON_CYCLE, JSON_UNKNOWN, path_of, subscript
from webapp2_sessions.securecookie.cookie_data import CookieData
from webapp2_sessions.stored.json_tags import MAX_DIGITS, SCALARS, Scalar, needs_pairs, unpack

__all__ = ["MAX_DEPTH", "dumps", "loads"]

#: Maximum nesting of containers.
MAX_DEPTH = 100

# Optimization: a first pass assumes that text and numbers need no tag, without calling a packer
# for each (29 us against 40 for 12 keys). If one does, encoding fails (surrogates, nan) or the
# result shows it (long ints), and a second pass checks each value.
_EXACT: frozenset[type] = frozenset({bool, type(None)})
_QUICK: frozenset[type] = frozenset({*_EXACT, str, int, float})

_TOO_DEEP = f"it is too deep, at most {MAX_DEPTH} containers go inside each other; store it flatter"

_ENCODER = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
)
_has_two_digits = re.compile("[0-9]{2}").search
_has_long_number = re.compile(f"[0-9]{{{MAX_DIGITS + 1}}}").search


def dumps(value: Any) -> bytes:
    """Serialize a value; the result begins with ``{`` for a dict.

    :raises UnstorableValue: a value in it has an unknown type, or a subclass of a known one, or
        contains itself, or is nested too deeply.
    """
    try:
        try:
            return _encode(value, _QUICK)
        except ValueError:
            return _encode(value, _EXACT)
    except _Refused as refused:
        raise refused.error() from None
    except RecursionError:  # the caller left less room than MAX_DEPTH needs
        raise UnstorableValue("session", type(value).__name__, _TOO_DEEP) from None


def _encode(value: Any, plain: frozenset[type]) -> bytes:
    text = _ENCODER.encode(_pack(value, plain, 0))
    # Optimization: a run of 601 digits has two adjacent ones among every 300th character.
    if plain is _QUICK and _has_two_digits(text[:: MAX_DIGITS // 2]) and _has_long_number(text):
        raise ValueError("perhaps a long int")
    return text.encode("utf-8")


def loads(data: bytes) -> Any:
    """Deserialize the result of :func:`dumps`.

    :raises ValueError: it is no JSON, not UTF-8, or has a tag that :func:`dumps` never writes.
        The message does not show the data.
    """
    try:
        text = data.decode("utf-8")
        # Optimization: without tags, no function is called for each object (46 us against 54 for
        # 50 objects).
        tagged = '"!' in text or "\\u0021" in text
        return (_TAGGED if tagged else _UNTAGGED).decode(text)
    except RecursionError:
        raise ValueError("stored JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"stored JSON is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"stored JSON is broken at character {error.pos}") from None


_Packer = Callable[[Any, frozenset[type], int], Any]


class _Refused(Exception):
    """A value cannot be stored. Each container adds its step to the path as this passes through."""

    def __init__(self, value: Any, problem: str) -> None:
        super().__init__(problem)
        self._trail = [(id(value), type(value).__name__, "")]

    def inside(self, container: Any, step: str) -> _Refused:
        self._trail.append((id(container), type(container).__name__, step))
        return self

    def error(self) -> UnstorableValue:
        steps: dict[int, str] = {}
        for place, kind, step in reversed(self._trail):
            if place in steps:
                return UnstorableValue(path_of([*steps.values()]), kind, JSON_CYCLE)
            steps[place] = step
        return UnstorableValue(path_of([*steps.values()]), kind, *self.args)


# Each packer returns the value itself if it needs no tag, and a tag otherwise. ``plain`` are the
# types that need no look; ``depth`` counts the containers around the value.


def _pack(value: Any, plain: frozenset[type], depth: int) -> Any:
    if type(value) in plain:
        return value
    return _PACKERS.get(type(value), _refuse)(value, plain, depth)


def _refuse(value: Any, plain: frozenset[type], depth: int) -> Any:
    base = next((base.__name__ for base in type(value).__mro__ if base in _PACKERS), None)
    if base is None:
        raise _Refused(value, JSON_UNKNOWN)
    raise _Refused(value, f"it would come back as {base}; store a plain {base} instead")


def _pack_dict(value: dict[Any, Any], plain: frozenset[type], depth: int) -> Any:
    if depth >= MAX_DEPTH:
        raise _Refused(value, _TOO_DEEP)
    if needs_pairs(value, surrogates=plain is _EXACT):
        return _pack_pairs(value, plain, depth)
    packed = value
    key = None
    try:
        for key, item in value.items():
            if type(item) not in plain:
                new = _PACKERS.get(type(item), _refuse)(item, plain, depth + 1)
                if new is not item:
                    packed = dict(value) if packed is value else packed
                    packed[key] = new
    except _Refused as refused:
        raise refused.inside(value, subscript(key)) from None
    return packed


def _pack_pairs(value: dict[Any, Any], plain: frozenset[type], depth: int) -> Any:
    keys = [*value]
    packed = _pack_items(value, keys, plain, depth, lambda _: ".keys()")
    items = [*value.values()]
    items = _pack_items(value, items, plain, depth, lambda index: subscript(keys[index]))
    return {"!dict": [[*pair] for pair in zip(packed, items, strict=True)]}


def _pack_items(
    container: Any, items: list[Any], plain: frozenset[type], depth: int, step: Callable[[int], str]
) -> list[Any]:
    if depth >= MAX_DEPTH:
        raise _Refused(container, _TOO_DEEP)
    packed = items
    index = 0
    try:
        for index, item in enumerate(items):
            if type(item) not in plain:
                new = _PACKERS.get(type(item), _refuse)(item, plain, depth + 1)
                if new is not item:
                    packed = items.copy() if packed is items else packed
                    packed[index] = new
    except _Refused as refused:
        raise refused.inside(container, step(index)) from None
    return packed


def _pack_list(value: list[Any], plain: frozenset[type], depth: int) -> Any:
    return _pack_items(value, value, plain, depth, "[{}]".format)


def _pack_tuple(value: tuple[Any, ...], plain: frozenset[type], depth: int) -> Any:
    return {"!tuple": _pack_items(value, [*value], plain, depth, "[{}]".format)}


def _pack_set(value: Any, plain: frozenset[type], depth: int) -> Any:
    # An item of a set has no index, and must not be shown.
    items = _pack_items(value, [*value], plain, depth, "{{...}}".format)
    return {f"!{type(value).__name__}": sorted(items, key=_ENCODER.encode)}


def _pack_scalar(tag: str, scalar: Scalar) -> _Packer:
    def pack(value: Any, plain: frozenset[type], depth: int) -> Any:
        try:
            state = scalar.state(value)
        except LookupError as error:
            raise _Refused(value, error.args[0]) from None
        if type(state) is list:
            state = _pack_items(value, state, plain, 0, lambda _: scalar.part)
        return value if state is None else {tag: state}

    return pack


_PACKERS: dict[type, _Packer] = {
    dict: _pack_dict,
    CookieData: _pack_dict,  # from get_secure_cookie()
    list: _pack_list,
    tuple: _pack_tuple,
    set: _pack_set,
    frozenset: _pack_set,
    **{scalar.kind: _pack_scalar(tag, scalar) for tag, scalar in SCALARS.items()},
}


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"stored JSON has the constant {name}")


_UNTAGGED = json.JSONDecoder(parse_constant=_refuse_constant)
_TAGGED = json.JSONDecoder(object_hook=unpack, parse_constant=_refuse_constant)
