"""The session data and the secret that all contenders share."""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["COUNTER", "NAME", "SECRET", "session_data"]

#: The name of the cookie.
NAME = "session"

SECRET = hashlib.sha256(b"the secret of the benchmarks").hexdigest()

#: What a request that modifies counts up, and one that reads looks up.
COUNTER = "counter"

#: Small values of the kinds that JSON knows, in turn.
_VALUES = ("some text", 12345, True, None, "visitor@example.org")


def session_data(keys: int) -> dict[str, Any]:
    """A session of so many keys, of which one is the counter; ten are about 160 bytes of JSON."""
    values = {f"key_{number}": _VALUES[number % len(_VALUES)] for number in range(keys - 1)}
    return {COUNTER: 0, **values}
