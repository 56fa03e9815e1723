"""What a cookie holds, taken apart for people to look at.

A signed one is ``payload|timestamp|signature``: base64 of JSON, Unix seconds, and the hexadecimal
HMAC over the cookie's name and the first two. Where the session has a lifetime of its own, the JSON
is a list of the data and of that. Everybody who has the cookie can read it, as this module does
without any key, and only the holder of the key can make one. Of an encrypted one, a token of
Fernet, nothing can be seen but the time.

This module checks nothing; sessions do. It hides what opens a session or sends a form.
"""

from __future__ import annotations

import base64
import json
import string
from dataclasses import dataclass
from typing import Any

from words import hide_middle

#: Bytes of name, ``=`` and value that browsers keep. ``max_cookie_size`` of the configuration is
#: less: it counts the whole Set-Cookie header, and what the strictest browser keeps.
LIMIT = 4096

#: What is worth as much as the session itself, wherever it stands in the data.
SECRETS = ("_sid", "_csrft")

#: The characters of a Fernet token, its first byte, and where its time stands.
FERNET_ALPHABET = frozenset(string.ascii_letters + string.digits + "-_=")
FERNET = 0x80
FERNET_TIME = slice(1, 9)


@dataclass(frozen=True)
class CookieView:
    """A cookie as it came with a request."""

    name: str
    #: Bytes of name, ``=`` and value.
    size: int
    #: ``signed``, ``encrypted`` or ``unknown``.
    form: str
    #: The value in its parts, each with its name.
    parts: list[tuple[str, str]]
    #: When it was signed, in Unix seconds.
    signed_at: int | None = None
    #: What a signed cookie holds, as JSON.
    payload: str | None = None
    limit: int = LIMIT


def received(header: str) -> list[tuple[str, str]]:
    """The names and raw values in a Cookie header, whatever it holds."""
    pairs = (pair.strip().partition("=") for pair in header.split(";"))
    return [(name, value) for name, equals, value in pairs if equals]


def view(name: str, value: str) -> CookieView:
    """Take a cookie apart."""
    size = len(name) + 1 + len(value)
    return (
        _signed(name, value.strip('"'), size)
        or _encrypted(name, value.strip('"'), size)
        or CookieView(name, size, "unknown", [("value", hide_middle(value))])
    )


def _signed(name: str, value: str, size: int) -> CookieView | None:
    try:
        encoded, timestamp, signature = value.split("|")
        payload = json.loads(base64.b64decode(encoded, validate=True))
        signed_at = int(timestamp)
    except ValueError:
        return None
    shown = without_secrets(payload)
    parts = [
        # The first 12 characters of an id's base64 are '{"_sid":"' or '[{"_sid":', none of the id.
        ("payload", encoded if shown == payload else hide_middle(encoded, 12)),
        ("time", timestamp),
        ("signature", hide_middle(signature, 6)),
    ]
    return CookieView(name, size, "signed", parts, signed_at, as_json(shown))


def _encrypted(name: str, value: str, size: int) -> CookieView | None:
    # First, because decoding passes over other characters, and from Python 3.15 on warns of some.
    if not FERNET_ALPHABET.issuperset(value):
        return None
    try:
        token = base64.urlsafe_b64decode(value)
    except ValueError:
        return None
    if len(token) <= FERNET_TIME.stop or token[0] != FERNET:
        return None
    # 12 characters of base64 are the first byte and the time.
    parts = [("time", value[:12]), ("payload", hide_middle(value[12:], 12))]
    return CookieView(name, size, "encrypted", parts, int.from_bytes(token[FERNET_TIME], "big"))


def without_secrets(data: Any) -> Any:
    """The data with its secrets hidden."""
    if isinstance(data, list):
        return [without_secrets(each) for each in data]
    if not isinstance(data, dict):
        return data
    return {
        key: hide_middle(str(value)) if key in SECRETS else without_secrets(value)
        for key, value in data.items()
    }


def as_json(data: Any) -> str:
    """The data for people to read; what JSON does not know is shown as Python shows it."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=repr)
