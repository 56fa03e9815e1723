"""Signed values, for servers to which others can write."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from webapp2_sessions.errors import BadSignature
from webapp2_sessions.securecookie.keys import hmac_of
from webapp2_sessions.stored.serializers import Serializer

#: What is signed: name and data, which the length of the name separates.
_MESSAGE = b"%d:%b%b"

#: Index of the serialized value, after the format byte and the signature.
_START = 1 + 32


class SignedValues:
    """Serializes and signs values; deserializes only what it has signed.

    The format is a byte, an HMAC-SHA256 of name and value, and the serialized value. The signature
    covers the name under which the value is stored, so that it cannot be moved to another one.

    :param key: a key for this purpose only, see :func:`.securecookie.keys.derive_key`.
    :param serializer: serializes the values.
    :param fallbacks: older keys for this purpose, which are accepted but never sign.
    :param form: the first byte of each signed value, which differs by the kind of value.
    """

    def __init__(
        self,
        key: bytes,
        serializer: Serializer,
        fallbacks: Sequence[bytes] = (),
        form: bytes = b"\x01",
    ) -> None:
        #: The first one signs.
        self._keys = (key, *fallbacks)
        self._serializer = serializer
        self._form = form

    def dumps(self, name: bytes, value: Any) -> bytes:
        """Serialize and sign a value."""
        return self._sign(name, self._serializer.dumps(value))

    def loads(self, name: bytes, signed: bytes) -> Any:
        """Verify and deserialize a signed value.

        :raises BadSignature: it was not signed under this name; nothing was deserialized.
        :raises Exception: whatever :meth:`.serializers.Serializer.loads` raises.
        """
        if self._key_of(name, signed) is None:
            raise BadSignature("a stored value was not written by this application")
        return self._serializer.loads(signed[_START:])

    def opened(self, name: bytes, signed: bytes) -> bytes | None:
        """Verify a signed value and return it serialized; ``None`` if the signature is wrong."""
        return None if self._key_of(name, signed) is None else signed[_START:]

    @property
    def has_fallbacks(self) -> bool:
        """Whether there may be values that are signed with an older key."""
        return len(self._keys) > 1

    def signed_again(self, name: bytes, signed: bytes) -> bytes | None:
        """Sign a value of an older key with the current key, without deserializing it.

        :returns: ``None`` if no older key has signed it.
        """
        if self._key_of(name, signed) in (None, self._keys[0]):
            return None
        return self._sign(name, signed[_START:])

    def _key_of(self, name: bytes, signed: bytes) -> bytes | None:
        """Return the key that has signed a value; ``None`` if no accepted key has."""
        message = _MESSAGE % (len(name), name, signed[_START:])
        for key in self._keys:
            signature = self._form + hmac_of(key, message, "sha256").digest()
            if hmac.compare_digest(signed[:_START], signature):
                return key
        return None

    def _sign(self, name: bytes, data: bytes) -> bytes:
        message = _MESSAGE % (len(name), name, data)
        signature: bytes = self._form + hmac_of(self._keys[0], message, "sha256").digest()
        return signature + data
