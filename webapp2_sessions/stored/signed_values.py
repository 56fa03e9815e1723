"""Values that only this application can have written, for servers that others can write to."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

from webapp2_sessions.errors import BadSignature
from webapp2_sessions.securecookie.keys import hmac_of
from webapp2_sessions.stored.serializers import Serializer

__all__ = ["SignedValues"]

#: Where the value begins behind the format's byte and the signature.
_START = 1 + 32


class SignedValues:
    """Turns values into signed bytes, and decodes bytes only if we signed them.

    A signed value is a format byte, an HMAC-SHA256 of name and value, and the value. The name
    under which it is stored is part of what is signed, so that it cannot be moved to another.

    :param key: a key for this purpose only, see :func:`.securecookie.keys.derive_key`.
    :param serializer: makes and reads the values.
    :param fallbacks: older keys for this purpose, which are accepted and never sign.
    :param form: the first byte of each signed value; each kind of value has its own.
    """

    def __init__(
        self,
        key: bytes,
        serializer: Serializer,
        fallbacks: Sequence[bytes] = (),
        form: bytes = b"\x01",
    ) -> None:
        self._key = key
        self._serializer = serializer
        self._form = form
        self._fallback_signers = [
            SignedValues(fallback, serializer, form=form) for fallback in fallbacks
        ]

    def dumps(self, name: bytes, value: Any) -> bytes:
        """Return the signed bytes of a value."""
        data = self._serializer.dumps(value)
        return self._signature(name, data) + data

    def loads(self, name: bytes, signed: bytes) -> Any:
        """Return the value of signed bytes.

        :raises BadSignature: they were not signed by us under this name; nothing was decoded.
        :raises Exception: whatever :meth:`.serializers.Serializer.loads` raises.
        """
        data = signed[_START:]
        if (
            not hmac.compare_digest(signed[:_START], self._signature(name, data))
            and self._fallback_signer_of(name, signed) is None
        ):
            raise BadSignature("a stored value was not written by this application")
        return self._serializer.loads(data)

    def opened(self, name: bytes, signed: bytes) -> bytes | None:
        """Return what was signed, which is not decoded; ``None`` if we did not sign it."""
        if self._is_signed(name, signed) or self._fallback_signer_of(name, signed) is not None:
            return signed[_START:]
        return None

    @property
    def has_fallbacks(self) -> bool:
        """Whether there may be values that are signed with an older key."""
        return bool(self._fallback_signers)

    def signed_again(self, name: bytes, signed: bytes) -> bytes | None:
        """Return the bytes of a value under the present key; nothing is decoded.

        :returns: ``None`` if an older key did not sign them.
        """
        if self._is_signed(name, signed) or self._fallback_signer_of(name, signed) is None:
            return None
        data = signed[_START:]
        return self._signature(name, data) + data

    def _is_signed(self, name: bytes, signed: bytes) -> bool:
        expected = self._signature(name, signed[_START:])
        return hmac.compare_digest(signed[:_START], expected)

    def _fallback_signer_of(self, name: bytes, signed: bytes) -> SignedValues | None:
        """The signer with the older key that signed a value."""
        return next(
            (each for each in self._fallback_signers if each._is_signed(name, signed)), None
        )

    def _signature(self, name: bytes, data: bytes) -> bytes:
        """What stands before the value."""
        message = b"%d:%b%b" % (len(name), name, data)  # the length keeps the two apart
        signature: bytes = self._form + hmac_of(self._key, message, "sha256").digest()
        return signature
