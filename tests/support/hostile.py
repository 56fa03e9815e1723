"""Cookie values of which any serializer takes some, and refuses the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support.stores import NOW
from support.visits import SECRET
from webapp2_sessions.errors import (
    BadSignature,
    ExpiredCookie,
    InvalidCookie,
    MalformedCookie,
    UndecodableCookie,
)

__all__ = ["VALUES", "Refused", "flipped", "hostile_values"]

#: A cookie's value, and the error of one that is at most a minute old.
Refused = tuple[str | bytes, type[InvalidCookie]]

#: What comes back as it is.
VALUES: list[Any] = [
    {},
    {"a": 1},
    {"_user": [1, 0, "token", 1500000000, 1500000000]},
    {"é": "\N{EURO SIGN}\N{GRINNING FACE}", "lone": "\ud83d", "n": "\u2028\x00\x7f</script>"},
    {"f": 1.5, "big": 2**64, "negative": -0.0, "t": True, "f2": False, "none": None},
    [1, "two"],
    "text",
    0,
    None,
]

#: What is signed, or encrypted, and cannot be decoded.
_UNDECODABLE = {
    "nothing": b"",
    "no JSON": b"{",
    "JSON and more": b"{} {}",
    "no UTF-8": b'"\xff"',
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "a huge integer": b"9" * 5000,
}


def flipped(value: bytes, index: int) -> bytes:
    """Return the value with another character of its alphabet at one place."""
    other = b"A" if value[index : index + 1] != b"A" else b"B"
    return value[:index] + other + value[index + 1 :]


def hostile_values(
    seal: Callable[..., bytes], seal_text: Callable[[bytes], bytes]
) -> dict[str, Refused]:
    """Return what no serializer accepts, for a cookie "session" and the common secret at NOW.

    :param seal: takes a value, and `name`, `secret` and `now`.
    :param seal_text: takes what is in the place of the JSON.
    """
    return {
        "no signed value": (b"x", MalformedCookie),
        "one quote": (b'"', MalformedCookie),
        "quotes around nothing": (b'""', MalformedCookie),
        "a flipped character": (flipped(seal({"a": 1}), 20), BadSignature),
        "another secret": (seal({"a": 1}, secret=SECRET[::-1]), BadSignature),
        "another name": (seal({"a": 1}, name="other"), BadSignature),
        "too old": (seal({"a": 1}, now=NOW - 61), ExpiredCookie),
        **{name: (seal_text(text), UndecodableCookie) for name, text in _UNDECODABLE.items()},
    }
