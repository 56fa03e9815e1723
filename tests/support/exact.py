"""What there is to compare of a value so that nothing passes for it that only equals it."""

from __future__ import annotations

from typing import Any


def exact(value: Any) -> tuple[Any, ...]:
    """The types and the contents of a value: 1 is not True, nan is nan, order counts in dicts."""
    kind = type(value)
    if kind is dict:
        return kind, [(exact(key), exact(item)) for key, item in value.items()]
    if kind in (list, tuple):
        return kind, [exact(item) for item in value]
    if kind in (set, frozenset):
        return kind, sorted(repr(exact(item)) for item in value)
    if kind is int:
        return kind, hex(value)  # repr() has a limit
    return kind, repr(value)
