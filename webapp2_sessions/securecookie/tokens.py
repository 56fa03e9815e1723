"""What can be told of an encrypted cookie, a token of Fernet, without its key."""

from __future__ import annotations

import base64
import string

__all__ = ["token_time"]

#: The first byte of a token (the specification of Fernet).
_VERSION = 0x80
#: Where the time is, in Unix seconds.
_TIME = slice(1, 9)
#: Bytes of version, time, initialization vector, one block and the signature.
_SHORTEST = 1 + 8 + 16 + 16 + 32

_ALPHABET = (string.ascii_letters + string.digits + "-_=").encode("ascii")


def token_time(value: bytes) -> int | None:
    """Return when a value was encrypted, in Unix seconds; ``None`` if it is no Fernet token.

    The time is signed, but the signature is not checked here.
    """
    # First, because decoding passes over other characters, and from Python 3.15 on warns of some.
    if value.translate(None, _ALPHABET):
        return None
    try:
        token = base64.urlsafe_b64decode(value)
    except ValueError:
        return None
    is_token = len(token) >= _SHORTEST and token[0] == _VERSION
    # Decoding passes over unused bits.
    if not is_token or base64.urlsafe_b64encode(token) != value:
        return None
    return int.from_bytes(token[_TIME], "big")
