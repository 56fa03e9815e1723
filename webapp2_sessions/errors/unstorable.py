"""Where in a session the value is that cannot be stored: looked for only after that failed."""

from __future__ import annotations

import collections
import reprlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = [
    "JSON_CYCLE",
    "JSON_UNKNOWN",
    "TOO_DEEP",
    "Culprit",
    "deepest",
    "find",
    "in_json",
    "in_pickle",
    "path_of",
    "subscript",
]

JSON_CYCLE = "it contains itself; store it without the reference to itself"
JSON_UNKNOWN = "JSON cannot keep this type; store plain values from which it can be made again"
TOO_DEEP = "too many containers are inside each other; store it flatter"

#: Containers inside each other, behind which nothing is looked for: each is tried by itself.
_DEEPEST = 100

#: What holds no other values.
_PLAIN = (str, bytes, int, float, type(None))

#: The way to a value: that to its container, and the step from there.
_Way = tuple[Any, str] | None


class _Child(NamedTuple):
    """A value in a container."""

    #: How it is reached from there, e.g. ``"['a']"``.
    step: str
    value: Any
    #: What fails to be written if it does.
    probe: Any


_Children = Callable[[Any], Iterator[_Child]]


class _Step(NamedTuple):
    """A value on the way to the one that is looked for."""

    step: str
    value: Any
    #: What is in it and was not looked at yet.
    rest: Iterator[_Child]


class Culprit(NamedTuple):
    """What was found."""

    path: str
    kind: str
    #: Whether it fails because it contains itself.
    is_cycle: bool = False


def path_of(steps: list[str]) -> str:
    """Return a path as errors show it, e.g. ``"session['cart'][3]"``; a long one is shortened."""
    return "".join(["session", *(steps if len(steps) < 10 else [*steps[:4], "...", *steps[-4:]])])


def subscript(key: Any) -> str:
    """Return the step to the item of a key, which is shortened, and not shown if it is no text."""
    shown = type(key) is str or (type(key) is int and key.bit_length() < 64)
    return f"[{reprlib.repr(key)}]" if shown else f"[<{type(key).__name__}>]"


def in_json(value: Any) -> Iterator[_Child]:
    """Yield what JSON writes of a container."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield _Child(".keys()", key, {key: None})
            yield _Child(subscript(key), item, item)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield _Child(f"[{index}]", item, item)


def in_pickle(value: Any) -> Iterator[_Child]:
    """Yield what pickle writes of a container or an object, as far as that is known."""
    yield from in_json(value)
    if isinstance(value, collections.deque):
        for index, item in enumerate(value):
            yield _Child(f"[{index}]", item, item)
    elif isinstance(value, (set, frozenset)):
        for item in value:
            # It has no place, and must not be shown itself.
            yield _Child("{...}", item, item)
    for name, item in _attributes(value).items():
        yield _Child(f".{name}", item, item)


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes that pickle takes by itself, where a class does not say otherwise."""
    kind = type(value)
    is_usual = all(
        getattr(kind, name, None) is getattr(object, name, None)
        for name in ("__reduce_ex__", "__reduce__", "__getstate__")
    )
    if not is_usual or isinstance(value, type):
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
    """Return the innermost value that cannot be written by itself.

    :param value: what could not be written.
    :param dumps: what could not write it.
    :param children: :func:`in_json` or :func:`in_pickle`.
    :param cycles_fail: whether a container that contains itself cannot be written.
    """
    try:
        return _descend(value, dumps, children, cycles_fail)
    except Exception:  # of an application's class, or no room is left on the stack
        return Culprit("session", type(value).__name__)


def _descend(
    value: Any, dumps: Callable[[Any], object], children: _Children, cycles_fail: bool
) -> Culprit:
    tried = {id(value)}
    trail = [_Step("", value, children(value))]
    leads_back = False
    while trail:
        for child in trail[-1].rest:
            if id(child.value) in tried:
                found = [index for index, each in enumerate(trail) if each.value is child.value]
                if found and cycles_fail:
                    return _culprit(trail[: found[0] + 1], True)
                leads_back = leads_back or _fails(dumps, child.probe)
            elif _fails(dumps, child.probe):
                tried.add(id(child.value))
                trail.append(_Step(child.step, child.value, children(child.value)))
                leads_back = False
                break
        else:
            if not leads_back:
                return _culprit(trail)
            trail.pop()  # it fails because of what is elsewhere, as what it is in does so far
        if len(trail) > _DEEPEST:
            return _culprit(trail)
    return Culprit("session", type(value).__name__)


def _culprit(trail: list[_Step], is_cycle: bool = False) -> Culprit:
    path = path_of([each.step for each in trail[1:]])
    return Culprit(path, type(trail[-1].value).__name__, is_cycle)


def _fails(dumps: Callable[[Any], object], probe: Any) -> bool:
    try:
        dumps(probe)
    except Exception:
        return True
    return False


def deepest(value: Any, children: _Children) -> Culprit:
    """Return the value that is inside most containers. Arguments are those of :func:`find`."""
    try:
        return _descend_deepest(value, children)
    except Exception:
        return Culprit("session", type(value).__name__)


def _descend_deepest(value: Any, children: _Children) -> Culprit:
    seen = {id(value)}
    way: _Way = None
    level: list[tuple[Any, _Way]] = [(value, way)]
    below = level
    while below:
        level = below
        below = []
        for container, way in level:
            for child in children(container):
                if id(child.value) not in seen and not isinstance(child.value, _PLAIN):
                    seen.add(id(child.value))
                    below.append((child.value, (way, child.step)))
    found, way = level[0]
    steps: list[str] = []
    while way is not None:
        way, step = way
        steps.append(step)
    return Culprit(path_of(steps[::-1]), type(found).__name__)
