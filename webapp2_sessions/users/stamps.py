"""Stamps: what a session keeps of something that changes with its user's password."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.securecookie.keys import derive_key

__all__ = ["fits", "seal"]

#: Hexadecimal digits of a stamp: 96 bits.
_LENGTH = 24


def seal(config: Mapping[str, Any], stamped: Any) -> str:
    """Return what a cookie or a record may show of a stamp.

    :param stamped: what the function of ``user_stamp`` has returned.
    """
    return _sealed(stamped, config["secret_key"])


def fits(config: Mapping[str, Any], stamped: Any, stamp: str | None) -> bool:
    """Return whether a sealed stamp is the present one, or from before there were any."""
    if stamp is None:
        return True
    given = stamp.encode("utf-8", "surrogatepass")
    secret_keys = config["secret_key"], *config.get("secret_key_fallbacks", ())
    return any(hmac.compare_digest(given, _sealed(stamped, key).encode()) for key in secret_keys)


def _sealed(stamped: Any, secret_key: Any) -> str:
    """Return a MAC, which tells nothing of a hash of a password."""
    is_binary = isinstance(stamped, (bytes, bytearray, memoryview))  # as databases give them
    message = bytes(stamped) if is_binary else str(stamped).encode("utf-8", "surrogatepass")
    return hmac.digest(derive_key(secret_key, "user stamp"), message, "sha256").hex()[:_LENGTH]
