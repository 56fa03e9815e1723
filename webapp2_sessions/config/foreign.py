"""Detection of configuration values that were not meant for this package.

``webapp2_extras`` has five keys and ignores all others, so an application may already use one of
our names for something else.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping
from typing import Any


def _like(*types: type, text: str | None = None) -> Callable[[Any], bool]:
    """Return a test for values of some types, and for text in which a pattern is found.

    A bool is no number, unless the types name it.
    """

    def is_like(value: Any) -> bool:
        if isinstance(value, str):
            return text is not None and re.search(text, value) is not None
        return isinstance(value, types) and (bool in types or not isinstance(value, bool))

    return is_like


_TEXT = ("text", _like(text=""))
_NUMBER = ("a number", _like(numbers.Number, type(None), text=r"\d"))
#: Spellings of a boolean, for instance in environment variables.
_TRUTH = r"(?i)^\s*(|0|1|false|n|no|none|off|on|t|f|true|y|yes)\s*$"
#: A list may be given by mistake, and so may servers that belong into a dictionary.
_COLLECTIONS = (Mapping, list, tuple)
_SERVER = r":\d|/"

#: The type of each key, and a test for values that were meant for it, right or wrong. Keys that
#: security depends on are not listed: each wrong value of theirs is an error.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "max_cookie_size": _NUMBER,
    "on_oversize": _TEXT,
    "on_damaged_cookie": _TEXT,
    "change_detection": _TEXT,
    "max_flashes": _NUMBER,
    "vary": ("a truth value", _like(bool, int, float, text=_TRUTH)),
    "refresh_after": _NUMBER,
    "on_backend_error": _TEXT,
    "on_unreadable": _TEXT,
    "on_event": ("a function", _like(text=r"\w\.\w")),  # its dotted name
    "memcache": ("a dictionary", _like(*_COLLECTIONS, text=_SERVER)),
    "redis": ("a dictionary", _like(*_COLLECTIONS, text="://")),
    "datastore": ("a dictionary", _like(*_COLLECTIONS)),
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
