"""The secret key, and the keys that are derived from it for other purposes than cookies."""

from __future__ import annotations

import hmac

__all__ = ["derive_key", "secret_bytes"]


def secret_bytes(secret_key: str | bytes) -> bytes:
    """Return ``secret_key`` as bytes; text is encoded as UTF-8, as ``webapp2_extras`` does.

    :raises TypeError: it is neither ``str`` nor ``bytes``.
    """
    if isinstance(secret_key, bytes):
        return secret_key
    if isinstance(secret_key, str):
        return secret_key.encode("utf-8")
    raise TypeError(f"secret_key must be str or bytes, not {type(secret_key).__name__}")


def derive_key(secret_key: str | bytes, purpose: str) -> bytes:
    """Return a 32-byte key that serves one purpose only.

    HMAC-SHA256 is used as the pseudo-random function (RFC 5869 section 2.3, one block), so that
    neither the secret nor another purpose's key can be computed from the result.
    """
    return hmac.digest(
        secret_bytes(secret_key), b"webapp2_sessions:" + purpose.encode("utf-8") + b"\x01", "sha256"
    )
