"""Stamps: what a session keeps of something that changes with its user's password."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.securecookie.keys import derive_key

__all__ = ["is_present", "stamp_of"]

#: Hexadecimal digits of a stamp: 96 bits.
_LENGTH = 24


def stamp_of(config: Mapping[str, Any], user: Any) -> str | None:
    """Return the present stamp of a user, ``None`` if no ``user_stamp`` is configured."""
    user_stamp = config.get("user_stamp")
    return None if user_stamp is None else _sealed(user_stamp(user), config["secret_key"])


def is_present(config: Mapping[str, Any], user: Any, stamp: str | None) -> bool:
    """Return whether a stamp is the present one of its user, or from before there were any."""
    user_stamp = config.get("user_stamp")
    if stamp is None or user_stamp is None:
        return True
    stamped, given = user_stamp(user), stamp.encode("utf-8", "surrogatepass")
    secret_keys = config["secret_key"], *config.get("secret_key_fallbacks", ())
    return any(hmac.compare_digest(given, _sealed(stamped, key).encode()) for key in secret_keys)


def _sealed(stamped: Any, secret_key: Any) -> str:
    """Return what a cookie may show of a stamp; it tells nothing of a hash of a password."""
    message = stamped if isinstance(stamped, bytes) else str(stamped).encode("utf-8")
    sealed = hmac.new(derive_key(secret_key, "user stamp"), message, "sha256")
    return sealed.hexdigest()[:_LENGTH]
