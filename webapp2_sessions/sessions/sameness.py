"""Whether values would be stored the same, whatever their ``==`` says."""

from __future__ import annotations

import copyreg
import itertools
import pickle
import struct
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any, NamedTuple

#: The newest protocol by which an object is taken apart without leaving out large buffers.
_PROTOCOL = 4

#: Types whose values are stored the same if they are equal.
_PLAIN = frozenset({bool, bytes, int, str, type(None)})

#: What a set has from Python itself, and its subclasses unless they are pickled otherwise.
_REDUCE_OF_SETS = (set.__reduce__, frozenset.__reduce__)


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values are the same: whether they would be stored the same.

    Types, signs, the order of dictionaries and every attribute count. Which parts are one object
    and which are equal copies does not, nor does the order of a set. What cannot be pickled is
    the same as itself alone.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    try:
        if pickle.dumps(one) == pickle.dumps(other):
            return True  # as nearly always where nothing was changed
    except Exception:  # whatever the objects raise
        return False
    form, other_form = stored_forms([one, other])
    return bool(form == other_form)


def stored_forms(values: Iterable[Any]) -> list[Any]:
    """Return a form of each value, which can be hashed; equal ones belong to the same value.

    Takes linear time, and little more where objects refer to each other in cycles. Forms of
    different calls cannot be compared. A value that cannot be pickled has a form of its own.
    """
    values = list(values)
    # By id(), each once. Parts come before what they are parts of, except in cycles.
    objects: dict[int, _Parts] = {}
    is_storable = [_add(value, objects) for value in values]
    forms = _number(objects)
    return [
        forms[id(value)] if storable else object()
        for value, storable in zip(values, is_storable, strict=True)
    ]


class _Parts(NamedTuple):
    """An object taken apart."""

    #: What is stored of it besides its parts; can be hashed.
    label: Any
    parts: list[Any]
    is_ordered: bool = True

    def form(self, forms: dict[int, int]) -> tuple[Any, ...]:
        """Return what tells it from others, given the forms of its parts."""
        found = [forms[id(part)] for part in self.parts]
        return (self.label, *(found if self.is_ordered else sorted(found)))


def _add(value: Any, objects: dict[int, _Parts]) -> bool:
    """Add a value, which has to be kept alive, and its parts; return whether it can be stored."""
    found: dict[int, _Parts] = {}
    seen: set[int] = set()
    pending: list[tuple[Any, _Parts | None]] = [(value, None)]  # no recursion: it may be deep
    try:
        pickle.dumps(value)  # raises for what would have no end here
        while pending:
            value, parts = pending.pop()
            key = id(value)
            if parts is not None:
                found[key] = parts
            elif key not in seen and key not in objects:
                seen.add(key)
                parts = _parts(value)
                pending.append((value, parts))
                pending.extend((part, None) for part in parts.parts)
    except Exception:  # whatever the objects raise
        return False
    objects.update(found)
    return True


def _number(objects: dict[int, _Parts]) -> dict[int, int]:
    """Return a number for each object by its ``id()``: the same for the same values."""
    numbers: dict[Any, int] = {}
    forms: dict[int, int] = {}
    cyclic: dict[int, _Parts] = {}
    for key, parts in objects.items():
        if all(id(part) in forms for part in parts.parts):
            forms[key] = numbers.setdefault(parts.form(forms), len(numbers))
        else:
            cyclic[key] = parts
    _tell_apart(cyclic, forms, itertools.count(len(numbers)))
    return forms


def _tell_apart(cyclic: dict[int, _Parts], forms: dict[int, int], fresh: Iterator[int]) -> None:
    """Number the objects in cycles, and those that refer to them.

    All count as the same at first. Those whose parts differ are told apart, then those that
    refer to these, and so on: whatever remains together would be stored the same.

    :param forms: numbers of the other objects; gets those of these.
    :param fresh: numbers that no object has.
    """
    users: dict[int, list[int]] = {key: [] for key in cyclic}
    for key, parts in cyclic.items():
        for part in parts.parts:
            if id(part) in users:
                users[id(part)].append(key)
    number = next(fresh)
    forms.update(dict.fromkeys(cyclic, number))
    sizes = {number: len(cyclic)}
    affected = set(cyclic)
    while affected:
        groups: dict[int, dict[Any, list[int]]] = {}
        for key in affected:
            by_form = groups.setdefault(forms[key], {})
            by_form.setdefault(cyclic[key].form(forms), []).append(key)
        affected = set()
        for number, by_form in groups.items():
            different = sorted(by_form.values(), key=len)
            if sum(map(len, different)) == sizes[number]:
                different.pop()  # the largest group keeps the number, which saves most work
            for keys in different:
                new = next(fresh)
                sizes[number] -= len(keys)
                sizes[new] = len(keys)
                forms.update(dict.fromkeys(keys, new))
                affected.update(user for key in keys for user in users[key])


class _Members(list[Any]):
    """Members of a set, whose order is an accident."""


def _parts(value: Any) -> _Parts:
    """Take a value apart into what is stored of it.

    :raises Exception: whatever its methods raise.
    """
    kind = type(value)
    if kind in _PLAIN:
        return _Parts((kind, value), [])
    if kind is float:
        return _Parts((kind, struct.pack("<d", value)), [])  # nan, and the sign of zero
    if kind is list or kind is tuple:
        return _Parts(kind, [*value])
    if kind is dict:
        return _Parts(kind, [part for item in value.items() for part in item])
    if kind in (set, frozenset, _Members):
        return _Parts(kind, [*value], is_ordered=False)
    return _parts_of_object(value)


def _parts_of_object(value: Any) -> _Parts:
    """Take a value apart as :mod:`pickle` does."""
    kind = type(value)
    if kind is FunctionType or issubclass(kind, type):
        return _named(value)
    reduce = copyreg.dispatch_table.get(kind)
    reduced = value.__reduce_ex__(_PROTOCOL) if reduce is None else reduce(value)
    if isinstance(reduced, str):
        return _named(value)
    make, arguments, *rest = reduced
    state, items, pairs, set_state = [*rest, None, None, None, None][:4]
    if _is_reduced_as_a_set(value, kind):
        arguments = [_Members(each) for each in arguments]
    items = None if items is None else [*items]
    pairs = None if pairs is None else [part for pair in pairs for part in pair]
    return _Parts(object, [make, arguments, state, items, pairs, set_state])


def _is_reduced_as_a_set(value: Any, kind: Any) -> bool:
    return (
        isinstance(value, (set, frozenset))
        and kind.__reduce__ in _REDUCE_OF_SETS
        and kind.__reduce_ex__ is object.__reduce_ex__
    )


def _named(value: Any) -> _Parts:
    """A class or a function, of which the name is stored."""
    return _Parts((object, pickle.dumps(value)), [])
