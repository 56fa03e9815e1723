"""Search for the value in a session that cannot be stored, after storing the session failed."""

from __future__ import annotations

import collections
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

JSON_CYCLE = "it contains itself; store it without the reference to itself"
JSON_UNKNOWN = "JSON cannot keep this type; store plain values from which it can be made again"
TOO_DEEP = "too many containers are inside each other; store it flatter"

#: Nesting at which the search stops, because it serializes the rest again at each level.
_MAX_DEPTH = 100

#: Types that contain no other values.
_PLAIN = (str, bytes, int, float, type(None))


class Culprit(NamedTuple):
    """The value that cannot be stored."""

    path: str
    kind: str
    #: Whether the reason is that it contains itself.
    is_cycle: bool = False


class _Child(NamedTuple):
    """A value in a container."""

    #: The step from the container, e.g. ``"['a']"``.
    step: str
    value: Any
    #: What to serialize to see whether the value can be stored.
    probe: Any


_Children = Callable[[Any], Iterator[_Child]]


def path_of(steps: list[str]) -> str:
    """Return a path for an error message, e.g. ``"session['cart'][3]"``; shorten a long one."""
    return "".join(["session", *(steps if len(steps) < 10 else [*steps[:4], "...", *steps[-4:]])])


def subscript(key: Any) -> str:
    """Return the step to a key's item; shorten the key, and hide one that is no text or number."""
    shown = type(key) is str or (type(key) is int and key.bit_length() < 64)
    return f"[{reprlib.repr(key)}]" if shown else f"[<{type(key).__name__}>]"


def in_json(value: Any) -> Iterator[_Child]:
    """Yield the children of a container as JSON sees them."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield _Child(".keys()", key, {key: None})
            yield _Child(subscript(key), item, item)
    elif isinstance(value, (list, tuple)):
        yield from _indexed(value)


def in_pickle(value: Any) -> Iterator[_Child]:
    """Yield the children of a container or an object as pickle sees them, as far as known."""
    yield from in_json(value)
    if isinstance(value, collections.deque):
        yield from _indexed(value)
    elif isinstance(value, (set, frozenset)):
        for item in value:
            yield _Child("{...}", item, item)  # an item has no index, and must not be shown
    for name, item in _attributes(value).items():
        yield _Child(f".{name}", item, item)


def _indexed(values: Any) -> Iterator[_Child]:
    for index, item in enumerate(values):
        yield _Child(f"[{index}]", item, item)


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes that pickle stores, unless the class customizes its pickling."""
    kind = type(value)
    is_customized = any(
        getattr(kind, name, None) is not getattr(object, name, None)
        for name in ("__reduce_ex__", "__reduce__", "__getstate__")
    )
    if is_customized or isinstance(value, type):
        return {}
    slots = [
        name
        for base in kind.__mro__
        for name in [base.__dict__.get("__slots__", ())]
        for name in ([name] if isinstance(name, str) else name)
    ]
    found = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return {**found, **getattr(value, "__dict__", {})}


def find(
    value: Any, dumps: Callable[[Any], object], children: _Children, cycles_fail: bool
) -> Culprit:
    """Return the innermost value that cannot be serialized by itself.

    :param value: the value that could not be serialized.
    :param dumps: the serializer that failed.
    :param children: :func:`in_json` or :func:`in_pickle`.
    :param cycles_fail: whether the serializer refuses a container that contains itself.
    """
    visited: set[int] = set()

    def fails(probe: Any) -> bool:
        try:
            dumps(probe)
        except Exception:
            return True
        return False

    def culprit_in(trail: list[tuple[str, Any]]) -> Culprit | None:
        """Return the culprit in the last value of a trail, by a depth-first search.

        :param trail: steps and values from the session to one that cannot be serialized.
        :returns: ``None`` if it fails only because of a reference to a value visited before.
        """
        value = trail[-1][1]
        visited.add(id(value))
        if len(trail) > _MAX_DEPTH:
            return _culprit(trail)
        fails_elsewhere = False
        for child in children(value):
            if id(child.value) not in visited:
                if fails(child.probe):
                    found = culprit_in([*trail, (child.step, child.value)])
                    if found is not None:
                        return found
                    fails_elsewhere = True
                continue
            for index, (_, ancestor) in enumerate(trail):
                if ancestor is child.value and cycles_fail:
                    return _culprit(trail[: index + 1], is_cycle=True)
            fails_elsewhere = fails_elsewhere or fails(child.probe)
        return None if fails_elsewhere else _culprit(trail)

    whole = _culprit([("", value)])
    try:
        return culprit_in([("", value)]) or whole
    except Exception:  # of an application's class, or because the stack is nearly full
        return whole


def _culprit(trail: list[tuple[str, Any]], is_cycle: bool = False) -> Culprit:
    path = path_of([step for step, _ in trail[1:]])
    return Culprit(path, type(trail[-1][1]).__name__, is_cycle)


def deepest(value: Any, children: _Children) -> Culprit:
    """Return the value with the most containers around it. Arguments are those of :func:`find`."""
    #: By a value's id: its container's id, and the step from there.
    origins: dict[int, tuple[int, str]] = {id(value): (0, "")}
    level = below = [value]
    try:
        while below:
            level, below = below, []
            for container in level:
                for child in children(container):
                    if id(child.value) not in origins and not isinstance(child.value, _PLAIN):
                        origins[id(child.value)] = (id(container), child.step)
                        below.append(child.value)
    except Exception:  # of an application's class
        return _culprit([("", value)])
    steps: list[str] = []
    place, step = origins[id(level[0])]
    while place:
        steps.append(step)
        place, step = origins[place]
    return Culprit(path_of(steps[::-1]), type(level[0]).__name__)
