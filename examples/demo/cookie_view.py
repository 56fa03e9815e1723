"""What a signed cookie holds, taken apart for people to look at.

The value is ``payload|timestamp|signature``: base64 of JSON, unix seconds, and the hexadecimal
HMAC over the cookie's name and the first two. So everybody who has the cookie can read it, as
this module does without any key, and only the holder of the key can make one.
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from typing import Any

#: Bytes of name, ``=`` and value that browsers are sure to keep.
LIMIT = 4096


@dataclass(frozen=True)
class CookieView:
    """The parts of one cookie; ids and signatures are cut short, since pages get shown around."""

    name: str
    size: int
    payload: str
    signed: str
    age: str
    raw_payload: str
    raw_timestamp: str
    raw_signature: str
    limit: int = LIMIT


def view(name: str, value: str) -> CookieView | None:
    """Take the cookie apart; None if it has another form.

    This does not check the signature: ``SessionStore.get_secure_cookie()`` does.
    """
    try:
        encoded, timestamp, signature = value.split("|")
        payload = json.loads(base64.b64decode(encoded, validate=True))
        signed = int(timestamp)
    except ValueError:
        return None
    return CookieView(
        name=name,
        size=len(name) + 1 + len(value),
        payload=json.dumps(shorten_id(payload), indent=2, ensure_ascii=False),
        signed=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(signed)),
        age=ago(int(time.time()) - signed),
        # The first 12 characters of an id's base64 are '{"_sid":"', none of the id.
        raw_payload=abbreviate(encoded, 12),
        raw_timestamp=timestamp,
        raw_signature=abbreviate(signature, 8),
    )


def shorten_id(payload: Any) -> Any:
    """The payload, without most of the session id: who knows it all has the session."""
    if isinstance(payload, dict) and isinstance(payload.get("_sid"), str):
        return {**payload, "_sid": abbreviate(payload["_sid"], 4)}
    return payload


def abbreviate(text: str, length: int) -> str:
    """The beginning of `text`."""
    return text if len(text) <= length else text[:length] + "…"


def ago(seconds: int) -> str:
    """A time span in the largest unit that fits."""
    if seconds < 1:
        return "just now"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return plural(seconds // length, unit)
    return plural(seconds, "second")


def plural(count: int, unit: str) -> str:
    """``1 second ago``, ``2 seconds ago``."""
    return f"{count} {unit}{'' if count == 1 else 's'} ago"
