"""A signed cookie as almost all are, read and signed in one go.

What :class:`~webapp2_sessions.securecookie.SecureCookieSerializer` and
:mod:`webapp2_sessions.cookies` do step by step, for one name and key, in less time.
Anything unusual is left to them.
"""

from __future__ import annotations

import functools
import hmac
import time
from collections.abc import Callable
from typing import Any

from webapp2_sessions.cookies import OWN_MAX_AGE, only_value
from webapp2_sessions.keys import secret_bytes, signer
from webapp2_sessions.plain_json import decode_payload, encode_payload

__all__ = ["SignedCodec", "codec_of"]


_Open = Callable[[Any, "float | None"], "tuple[dict[Any, Any], int] | None"]


class SignedCodec:
    """Reads and signs the cookies of one name by one key.

    :param seal: returns the value of a cookie that holds what it is called with from now on;
        raises what ``json.dumps()`` raises.
    :param open_cookie: called with a request and the maximum age of its cookies in seconds, or
        ``None``; returns what the session's cookie holds and when it was signed, in Unix seconds.
        ``None`` if that takes a closer look.
    """

    __slots__ = ("open", "seal")

    def __init__(
        self,
        seal: Callable[[Any], bytes],
        open_cookie: _Open,
    ) -> None:
        self.seal: Callable[[Any], bytes] = seal
        self.open: _Open = open_cookie


@functools.lru_cache(maxsize=256)
def codec_of(secret_key: str | bytes, digest: str, name: str) -> SignedCodec:
    """Return the codec of a cookie's name.

    :param digest: the hash function of the HMAC, one of ``keys.DIGESTS``.
    """
    sign = signer(secret_bytes(secret_key), digest, name.encode("utf-8", "surrogatepass") + b"|")

    def seal(value: Any) -> bytes:
        signed = b"%b|%d" % (encode_payload(value), time.time())
        return b"%b|%b" % (signed, sign(signed))

    def open_cookie(request: Any, max_age: float | None) -> tuple[dict[Any, Any], int] | None:
        value = only_value(request, name)
        if value is None:
            return None
        try:
            signed, _, signature = value.encode("ascii").rpartition(b"|")
            if not hmac.compare_digest(signature, sign(signed)):
                return None
            payload, _, timestamp = signed.partition(b"|")
            signed_at = int(timestamp)  # which has no "|" then
            data = decode_payload(payload)
        except Exception:
            return None  # not ASCII; or signed, and nothing of ours
        if type(data) is not dict:
            return None
        if OWN_MAX_AGE in data:
            max_age = data[OWN_MAX_AGE]
            if type(max_age) is not int:
                return None
        if max_age is not None and signed_at < int(time.time()) - max_age:
            return None
        return data, signed_at

    return SignedCodec(seal, open_cookie)
