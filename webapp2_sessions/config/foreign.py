"""Detection of configuration values that were not meant for this package.

``webapp2_extras`` has five keys and ignores all others, so an application may already use one of
our names for something else.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping
from typing import Any

#: Spellings of a boolean, for instance in environment variables.
_TRUTH = ("", "0", "1", "false", "n", "no", "none", "off", "on", "t", "f", "true", "y", "yes")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _looks_like_a_bool(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _TRUTH
    return isinstance(value, (bool, int, float))


def _looks_like_a_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.search(r"\d", value) is not None
    return value is None or (isinstance(value, numbers.Number) and not isinstance(value, bool))


def _is_collection(value: Any) -> bool:
    """Return whether a value is a dictionary, or a list given by mistake."""
    return isinstance(value, (Mapping, list, tuple))


def _looks_like_servers(value: Any) -> bool:
    """Return whether a value is a dictionary, or servers that belong into one."""
    if isinstance(value, str):
        return re.search(r":\d|/", value) is not None
    return _is_collection(value)


#: The type of each key, and a test for values that were meant for it, right or wrong. Keys that
#: security depends on are not listed: each wrong value of theirs is an error.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "max_cookie_size": ("a number", _looks_like_a_number),
    "on_oversize": ("text", _is_text),
    "on_damaged_cookie": ("text", _is_text),
    "change_detection": ("text", _is_text),
    "max_flashes": ("a number", _looks_like_a_number),
    "vary": ("a truth value", _looks_like_a_bool),
    "refresh_after": ("a number", _looks_like_a_number),
    "on_backend_error": ("text", _is_text),
    "on_unreadable": ("text", _is_text),
    "memcache": ("a dictionary", _looks_like_servers),
    "datastore": ("a dictionary", _is_collection),
}


def foreign_value(key: str, value: object) -> str | None:
    """Return a message if a wrong value cannot be meant for this package, and ``None`` if it can.

    Such a value has a type that makes no sense for the key, and is safe to ignore, as
    ``webapp2_extras`` does. The message does not show it.
    """
    if key not in _KINDS:
        return None
    kind, is_meant = _KINDS[key]
    if is_meant(value):
        return None
    return (
        f"holds {type(value).__name__}, which cannot be meant for this package, where it is "
        f"{kind}: it is ignored, as by webapp2_extras, and the default counts"
    )
