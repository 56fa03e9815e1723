"""Comparison of values by type and content."""

from __future__ import annotations

from typing import Any


def exact(value: Any) -> tuple[Any, ...]:
    """Return types and contents: 1 is not True, nan equals nan, the order of dicts matters."""
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
