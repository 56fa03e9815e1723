"""A signed cookie as almost all are, read and signed in one step.

What :class:`~webapp2_sessions.securecookie.SecureCookieSerializer` does step by step, for one name
and key, in less time. Anything unusual is left to it.
"""

from __future__ import annotations

import functools
import hmac
import time
from binascii import a2b_base64, hexlify
from collections.abc import Callable
from typing import Any

from webapp2_sessions.securecookie.keys import begun_hmac, secret_bytes
from webapp2_sessions.securecookie.plain_json import encode_payload, scan_json

__all__ = ["SignedCodec", "codec_of"]

#: Digits of a time that is exact as a float.
_LONGEST_TIME = 15

_Open = Callable[[str], "tuple[dict[Any, Any], int] | None"]


class SignedCodec:
    """Reads and signs the cookies of one name by one key.

    :param seal: called with what a cookie is to hold, and perhaps a time in Unix seconds instead
        of the present one; returns the cookie's value, and raises what ``json.dumps()`` raises.
    :param open_value: called with a cookie's value; returns what it holds and when it was signed,
        in Unix seconds, of whatever age it is. ``None`` if that takes a closer look.
    """

    __slots__ = ("open", "seal")

    def __init__(self, seal: Callable[..., bytes], open_value: _Open) -> None:
        self.seal: Callable[..., bytes] = seal
        self.open: _Open = open_value


@functools.lru_cache(maxsize=256)
def codec_of(secret_key: str | bytes, digest: str, name: str) -> SignedCodec:
    """Return the codec of a cookie's name.

    :param digest: the hash function of the HMAC, one of ``keys.DIGESTS``.
    """
    begin = name.encode("utf-8", "surrogatepass") + b"|"
    inner, outer = begun_hmac(secret_bytes(secret_key), digest, begin)

    def seal(value: Any, now: float | None = None) -> bytes:
        signed = encode_payload(value) + b"|%d" % (time.time() if now is None else now)
        inside, outside = inner(), outer()
        inside.update(signed)
        outside.update(inside.digest())
        return b"%b|%b" % (signed, hexlify(outside.digest()))

    def open_value(value: str) -> tuple[dict[Any, Any], int] | None:
        try:
            text, _, signature = value.rpartition("|")
            signed = text.encode("ascii")
            inside, outside = inner(), outer()
            inside.update(signed)
            outside.update(inside.digest())
            if not hmac.compare_digest(signature, outside.hexdigest()):
                return None
            payload, _, timestamp = signed.partition(b"|")
            if len(timestamp) > _LONGEST_TIME:
                return None
            signed_at = int(timestamp)  # which has no "|" then
            json = a2b_base64(payload).decode()
            data, end = scan_json(json, 0)
        except Exception:
            return None  # not ASCII; or signed, and not by this package
        return (data, signed_at) if type(data) is dict and end == len(json) else None

    return SignedCodec(seal, open_value)
