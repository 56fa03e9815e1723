"""Which keys make a session large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["as_text", "largest_keys"]

#: How many keys are named, and how many characters of each.
_COUNT = 3
_LENGTH = 40


def largest_keys(data: Any, dumps: Callable[[Any], bytes | str]) -> list[tuple[str, int]]:
    """Return the three largest keys of a session with their sizes, the largest first.

    :param data: the session; what is no dictionary has no keys.
    :param dumps: returns a value as it is stored; its length counts.
    """
    if not isinstance(data, dict):
        return []
    sizes = {str(key)[:_LENGTH]: _size(value, dumps) for key, value in data.items()}
    largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:_COUNT]
    return [(key, sizes[key]) for key in largest]


def as_text(largest: list[tuple[str, int]]) -> str:
    """Return the result of :func:`largest_keys` as text for a message."""
    return ", ".join(f"{key!r} ({size} bytes)" for key, size in largest) or "none"


def _size(value: Any, dumps: Callable[[Any], bytes | str]) -> int:
    try:
        return len(dumps(value))
    except (TypeError, ValueError):  # taken by a serializer of the application's own
        return len(repr(value))
