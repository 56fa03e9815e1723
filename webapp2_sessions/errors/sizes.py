"""The largest keys of a session, for messages about sessions that are too large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: How many keys are listed, and how many characters of each.
_COUNT = 3
_LENGTH = 40


def largest_keys(data: Any, dumps: Callable[[Any], bytes | str]) -> list[tuple[str, int]]:
    """Return the three largest keys of a session with their sizes, the largest first.

    :param data: the session's data; anything but a dictionary has no keys.
    :param dumps: serializes a value as it is stored.
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
    except (TypeError, ValueError):  # only a custom serializer can store it
        return len(repr(value))
