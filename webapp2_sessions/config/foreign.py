"""Values of the configuration that were not meant for this package.

``webapp2_extras`` has five keys and ignores all others, so that an application may have put
something of its own under a name that is ours here.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["foreign_value"]

#: Texts that spell a truth value, for instance in the environment.
_TRUTH = ("", "0", "1", "false", "n", "no", "none", "off", "on", "t", "f", "true", "y", "yes")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _spells_a_truth_value(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _TRUTH
    return isinstance(value, (bool, int, float))


def _spells_a_number(value: Any) -> bool:
    if isinstance(value, str):
        return re.search(r"\d", value) is not None
    return value is None or (isinstance(value, numbers.Number) and not isinstance(value, bool))


def _is_collection(value: Any) -> bool:
    """Whether it is a dictionary, or something of which somebody wanted to make one."""
    return isinstance(value, (Mapping, list, tuple))


def _tells_of_servers(value: Any) -> bool:
    """Whether it is a dictionary, or servers that belong into one."""
    if isinstance(value, str):
        return re.search(r":\d|/", value) is not None
    return _is_collection(value)


#: What each key may hold, and how to know what was meant for it, rightly or wrongly. What decides
#: on security is missing here: there every wrong value is an error.
_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "max_cookie_size": ("a number", _spells_a_number),
    "on_oversize": ("text", _is_text),
    "on_damaged_cookie": ("text", _is_text),
    "change_detection": ("text", _is_text),
    "max_flashes": ("a number", _spells_a_number),
    "vary": ("a truth value", _spells_a_truth_value),
    "refresh_after": ("a number", _spells_a_number),
    "on_backend_error": ("text", _is_text),
    "on_unreadable": ("text", _is_text),
    "memcache": ("a dictionary", _tells_of_servers),
    "datastore": ("a dictionary", _is_collection),
}


def foreign_value(key: str, value: object) -> str | None:
    """Return why a value that is wrong cannot have been meant for us; ``None`` if it can.

    It is of another kind than the key takes, under a name that ``webapp2_extras`` ignores, and
    ignoring it weakens nothing. The value is not shown.
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
