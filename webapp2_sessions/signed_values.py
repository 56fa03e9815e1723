"""Values that only this application can have written, for servers that others can write to."""

from __future__ import annotations

import hmac
from typing import Any

from webapp2_sessions.errors import BadSignature
from webapp2_sessions.serializers import Serializer

__all__ = ["SignedValues"]


class SignedValues:
    """Turns values into signed bytes, and decodes bytes only if we signed them.

    A signed value is a format byte, an HMAC-SHA256 of name and value, and the value. The name
    under which it is stored is part of what is signed, so that it cannot be moved to another.

    :param key: a key for this purpose only, see :func:`webapp2_sessions.keys.derive_key`.
    :param serializer: makes and reads the values.
    """

    #: First byte of each signed value; another envelope gets another byte.
    FORMAT = b"\x01"

    _DIGEST_SIZE = 32

    def __init__(self, key: bytes, serializer: Serializer) -> None:
        self._hmac = hmac.new(key, digestmod="sha256")
        self._serializer = serializer

    def dumps(self, name: bytes, value: Any) -> bytes:
        """Return the signed bytes of a value."""
        data = self._serializer.dumps(value)
        return b"".join((self.FORMAT, self._mac(name, data), data))

    def loads(self, name: bytes, signed: bytes) -> Any:
        """Return the value of signed bytes.

        :raises BadSignature: they were not signed by us under this name; nothing was decoded.
        :raises Exception: whatever :meth:`webapp2_sessions.serializers.Serializer.loads` raises.
        """
        start = len(self.FORMAT) + self._DIGEST_SIZE
        data = signed[start:]
        if not signed.startswith(self.FORMAT) or not hmac.compare_digest(
            signed[len(self.FORMAT) : start], self._mac(name, data)
        ):
            raise BadSignature("a stored value was not written by this application")
        return self._serializer.loads(data)

    def _mac(self, name: bytes, data: bytes) -> bytes:
        mac = self._hmac.copy()
        mac.update(b"%d:%s" % (len(name), name))  # the length keeps name and value apart
        mac.update(data)
        return mac.digest()
