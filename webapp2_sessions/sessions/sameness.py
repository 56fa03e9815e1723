"""Compare values by what would be stored, whatever their ``==`` says."""

from __future__ import annotations

import copyreg
import pickle
import struct
from collections.abc import Iterable
from types import FunctionType
from typing import Any, NamedTuple

__all__ = ["same_value", "stored_forms"]

#: The newest protocol in which ``__reduce_ex__()`` returns all data, without out-of-band buffers.
_PROTOCOL = 4

#: Types whose equal values are stored the same.
_PLAIN = frozenset({bool, bytes, int, str, type(None)})

#: How Python reduces sets, and subclasses that do not override it.
_SET_REDUCERS = (set.__reduce__, frozenset.__reduce__)


def same_value(one: Any, other: Any) -> bool:
    """Return whether two values would be stored the same.

    Types, signs, the order of dictionaries and every attribute count. The identity of parts and
    the order of sets do not. A value that cannot be pickled is the same only as itself.
    """
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    try:
        # Optimization: equal pickles, as of nearly every unchanged value, need no closer look.
        if pickle.dumps(one) == pickle.dumps(other):
            return True
    except Exception:  # whatever the methods of these objects raise
        return False
    form, other_form = stored_forms([one, other])
    return bool(form == other_form)


def stored_forms(values: Iterable[Any]) -> list[Any]:
    """Return a hashable form of each value; equal forms mean that values would be stored the same.

    Only forms of one call can be compared. A value that cannot be pickled has a form of its own.
    Time is linear for usual values, and quadratic at worst: for a long list whose members form a
    chain (3,000 in 1.3 s).
    """
    values = list(values)
    objects: dict[int, _Parts] = {}
    is_storable = [_take_apart(value, objects) for value in values]
    groups = _group(objects)
    return [
        groups[id(value)] if storable else object()
        for value, storable in zip(values, is_storable, strict=True)
    ]


class _Parts(NamedTuple):
    """An object taken apart."""

    #: What is stored of the object besides its parts; hashable.
    label: Any
    parts: list[Any]
    is_ordered: bool = True

    def form(self, groups: dict[int, int]) -> tuple[Any, ...]:
        """Return a form of the object, given the groups of its parts."""
        found = [groups[id(part)] for part in self.parts]
        return (self.label, *(found if self.is_ordered else sorted(found)))


def _take_apart(value: Any, objects: dict[int, _Parts]) -> bool:
    """Add a value and all objects inside it to ``objects``, by their ``id()``.

    :returns: whether the value can be pickled; otherwise nothing is added.
    """
    found: dict[int, _Parts] = {}
    pending = [value]  # no recursion, because values may be nested deeply
    try:
        pickle.dumps(value)  # raises for values that could be taken apart without end
        while pending:
            each = pending.pop()
            if id(each) not in found and id(each) not in objects:
                parts = found[id(each)] = _parts(each)
                pending += parts.parts
    except Exception:  # whatever the methods of these objects raise
        return False
    objects.update(found)
    return True


def _group(objects: dict[int, _Parts]) -> dict[int, int]:
    """Return the group of each object, by its ``id()``; members would be stored the same.

    Refines a partition, as Hopcroft's algorithm does: all objects begin in one group, which is
    split wherever labels, or the groups of parts, are different.
    """
    users: dict[int, list[int]] = {key: [] for key in objects}
    for key, parts in objects.items():
        for part in parts.parts:
            users[id(part)].append(key)
    groups = dict.fromkeys(objects, 0)
    sizes = [len(objects)]
    pending = set(objects)
    while pending:
        forms_by_group: dict[int, dict[Any, list[int]]] = {}
        for key in pending:
            forms = forms_by_group.setdefault(groups[key], {})
            forms.setdefault(objects[key].form(groups), []).append(key)
        pending = set()
        for group, forms in forms_by_group.items():
            splits = sorted(forms.values(), key=len)
            if sum(map(len, splits)) == sizes[group]:
                splits.pop()  # the largest keeps its number, so that few others are looked at again
            for keys in splits:
                groups.update(dict.fromkeys(keys, len(sizes)))
                sizes[group] -= len(keys)
                sizes.append(len(keys))
                pending.update(user for key in keys for user in users[key])
    return groups


class _Members(list[Any]):
    """Members of a set, in any order."""


def _parts(value: Any) -> _Parts:
    """Take one object apart.

    :raises Exception: whatever its methods raise.
    """
    kind = type(value)
    if kind in _PLAIN:
        return _Parts((kind, value), [])
    if kind is float:
        return _Parts((kind, struct.pack("<d", value)), [])  # tells -0.0 from 0.0; nan is nan
    if kind is list or kind is tuple:
        return _Parts(kind, [*value])
    if kind is dict:
        return _Parts(kind, [part for item in value.items() for part in item])
    if kind in (set, frozenset, _Members):
        return _Parts(kind, [*value], is_ordered=False)
    return _parts_of_object(value)


def _parts_of_object(value: Any) -> _Parts:
    """Take an object apart as :mod:`pickle` does."""
    kind = type(value)
    if kind is FunctionType or issubclass(kind, type):
        return _global(value)
    reduce = copyreg.dispatch_table.get(kind)
    reduced = value.__reduce_ex__(_PROTOCOL) if reduce is None else reduce(value)
    if isinstance(reduced, str):
        return _global(value)
    make, arguments, *rest = reduced
    state, items, pairs, set_state = [*rest, None, None, None, None][:4]
    if _is_reduced_as_set(value, kind):
        arguments = [_Members(each) for each in arguments]
    return _Parts(
        object,
        [
            make,
            arguments,
            state,
            None if items is None else [*items],
            None if pairs is None else [part for pair in pairs for part in pair],
            set_state,
        ],
    )


def _is_reduced_as_set(value: Any, kind: Any) -> bool:
    return (
        isinstance(value, (set, frozenset))
        and kind.__reduce__ in _SET_REDUCERS
        and kind.__reduce_ex__ is object.__reduce_ex__
    )


def _global(value: Any) -> _Parts:
    """Represent a class or a function, of which only the name is pickled."""
    return _Parts((object, pickle.dumps(value)), [])
