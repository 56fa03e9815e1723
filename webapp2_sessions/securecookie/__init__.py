"""Signed cookie values: payload, timestamp and an HMAC of both, as ``webapp2_extras`` signs."""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.errors import (
    BadSignature,
    ConfigError,
    ExpiredCookie,
    InvalidCookie,
    MalformedCookie,
    UndecodableCookie,
)
from webapp2_sessions.securecookie.cookie_data import (
    LARGEST_TIME,
    MAX_AGE,
    CookieData,
    OpenCookie,
    attributes_name,
    read_value,
    sign_cookie,
    with_attributes,
)
from webapp2_sessions.securecookie.keys import DIGESTS, check_key_list, hmac_of, secret_bytes
from webapp2_sessions.securecookie.plain_json import decode_payload, encode_payload

__all__ = ["SecureCookieSerializer"]

logger: logging.Logger = logging.getLogger(__name__)


class SecureCookieSerializer:
    """Sign cookie values and verify signed ones.

    A value is ``payload|timestamp|signature``: base64 of ASCII JSON, integer Unix seconds, and
    the hexadecimal HMAC of ``name|payload|timestamp``. The signature keeps the visitor from
    changing the data or taking it to a cookie of another name; it does not hide the data.

    :param secret_key: the key of the HMAC; text is encoded as UTF-8.
    :param fallbacks: older keys, which are accepted and never sign.
    :param digest: the hash function of the HMAC: ``"sha1"``, ``"sha256"`` or ``"sha512"``.
    :param digest_fallbacks: older hash functions, which are accepted and never sign.
    :raises ConfigError: a key is ``None`` or empty, or there is no such hash function.
    :raises TypeError: ``secret_key`` is neither text nor bytes.
    """

    # Class attributes, because a subclass may set no more than ``secret_key``.
    #: Older keys, as bytes.
    fallbacks: tuple[bytes, ...] = ()
    #: The hash function of the HMAC.
    digest: str = "sha1"
    #: Older hash functions.
    digest_fallbacks: tuple[str, ...] = ()

    def __init__(
        self,
        secret_key: str | bytes,
        fallbacks: Sequence[str | bytes] = (),
        digest: str = "sha1",
        digest_fallbacks: Sequence[str] = (),
    ) -> None:
        if not secret_key:
            raise ConfigError("secret_key", "must not be None or empty")
        #: The key of the HMAC, as bytes.
        self.secret_key: bytes = secret_bytes(secret_key)
        if fallbacks:
            check_key_list("fallbacks", fallbacks)
            self.fallbacks = tuple(map(secret_bytes, fallbacks))
        if digest != "sha1":
            _check_digests("digest", (digest,))
            self.digest = digest
        if digest_fallbacks:
            _check_digests("digest_fallbacks", digest_fallbacks)
            self.digest_fallbacks = tuple(digest_fallbacks)

    def serialize(self, name: str | bytes, value: Any) -> bytes:
        """Return the signed value, ASCII bytes, of a cookie.

        :param name: the cookie's name.
        :param value: anything that JSON can represent; a
            :class:`~webapp2_sessions.securecookie.cookie_data.CookieData` keeps its attributes.
        :raises TypeError: JSON cannot represent the value.
        """
        if type(value) is CookieData:
            return sign_cookie(self, name, dict(value), value.attributes)
        return self._seal(_utf8(name), self._encode(value))

    def deserialize(
        self, name: str | bytes, value: str | bytes | None, max_age: float | None = None
    ) -> Any:
        """Return the content of a signed value, ``None`` if it is not accepted.

        Like :meth:`verify`, but the cause is logged (without the value) and not raised.

        :param name: the cookie's name.
        :param value: the cookie's value; quotes and octal escapes are undone.
        :param max_age: age in seconds above which the value counts as expired; ``None`` switches
            the check off.
        """
        if not value:
            return None
        try:
            return self.verify(name, value, max_age)
        except MalformedCookie:
            return None  # probably another application's cookie; upstream does not log it either
        except InvalidCookie as error:
            logger.warning("The cookie %r was not accepted: %s", name, error)
            return None

    def verify(self, name: str | bytes, value: str | bytes, max_age: float | None = None) -> Any:
        """Return the content of a signed value.

        Arguments are those of :meth:`deserialize`.

        :raises MalformedCookie: it does not have three parts.
        :raises BadSignature: the signature does not fit.
        :raises ExpiredCookie: it is older than ``max_age``.
        :raises UndecodableCookie: the signature fits and the contents cannot be decoded.
        """
        value = _utf8(value)
        if value[:1] == b'"':
            value = _unquote(value)
        cookie = self.unseal(name, value)
        max_age = cookie.attributes.get(MAX_AGE, max_age)
        if max_age is not None:
            self.check_age(cookie.signed_at, max_age)
        return cookie.data

    def unseal(self, name: str | bytes, value: str | bytes) -> OpenCookie:
        """Return what a signed value of any age holds, and when it was signed.

        :param value: the value without quotes.
        :raises InvalidCookie: as :meth:`verify`.
        """
        signed = _utf8(value)
        is_plain = True
        try:
            payload, timestamp = self._open(_utf8(name), signed)
        except BadSignature:
            payload, timestamp = self._open(_utf8(attributes_name(name)), signed)
            is_plain = False
        try:
            data = self._decode(payload)
        except Exception as error:
            # A subclass's _decode() may raise anything, with the payload in the error's text.
            raise UndecodableCookie(
                f"its payload cannot be decoded ({type(error).__name__})"
            ) from None
        if is_plain:
            return OpenCookie(data, _seconds(timestamp), value)
        try:
            data, attributes = read_value(data)
        except ValueError:
            raise MalformedCookie("it holds no session with attributes") from None
        data = with_attributes(data, attributes)
        return OpenCookie(data, _seconds(timestamp), value, attributes)

    def _seal(self, name: bytes, payload: bytes) -> bytes:
        """Sign a payload with the current time."""
        timestamp = str(self._get_timestamp()).encode("ascii")
        return b"|".join((payload, timestamp, self._get_signature(name, payload, timestamp)))

    def _open(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        """Verify the signature of a value, and return its payload and timestamp.

        :raises MalformedCookie: it does not have three parts.
        :raises BadSignature: no key fits.
        """
        parts = value.split(b"|")
        if len(parts) != 3:
            raise MalformedCookie("it is no signed value")
        payload, timestamp, signature = parts
        if not hmac.compare_digest(signature, self._get_signature(name, payload, timestamp)):
            for signer in self._fallback_signers():
                if hmac.compare_digest(signature, signer._get_signature(name, payload, timestamp)):
                    break
            else:
                raise BadSignature("its signature does not fit")
        return payload, timestamp

    def _fallback_signers(self) -> Iterator[SecureCookieSerializer]:
        """Yield copies of this serializer, one for each other accepted pair of key and digest."""
        for secret_key in (self.secret_key, *self.fallbacks):
            for digest in (self.digest, *self.digest_fallbacks):
                if (secret_key, digest) != (self.secret_key, self.digest):
                    signer = type(self).__new__(type(self))
                    signer.__dict__.update(self.__dict__)
                    signer.secret_key, signer.digest = secret_key, digest
                    yield signer

    def check_age(self, signed_at: int | None, max_age: float) -> None:
        """Validate that a value is at most ``max_age`` seconds old.

        :param signed_at: when it was signed, in Unix seconds; ``None`` if its timestamp does not
            tell.
        :raises ExpiredCookie: it is older.
        :raises UndecodableCookie: ``signed_at`` is ``None``.
        """
        if signed_at is None:
            raise UndecodableCookie("its timestamp is no integer")
        if signed_at < self._get_timestamp() - max_age:
            raise ExpiredCookie(f"it is older than {max_age} seconds")

    def _encode(self, value: Any) -> bytes:
        return encode_payload(value)

    def _decode(self, payload: bytes) -> Any:
        return decode_payload(payload)

    def _get_timestamp(self) -> int:
        return int(time.time())

    def _get_signature(self, *parts: bytes) -> bytes:
        signature: str = hmac_of(self.secret_key, b"|".join(parts), self.digest).hexdigest()
        return signature.encode("ascii")


def _check_digests(key: str, digests: object) -> None:
    # A single name would be a sequence of letters.
    known = isinstance(digests, (list, tuple)) and all(each in DIGESTS for each in digests)
    if not known:
        raise ConfigError(key, f"known are {', '.join(map(repr, DIGESTS))}")


def _utf8(value: str | bytes) -> bytes:
    if type(value) is str and value.isascii():
        return value.encode("ascii")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        # Lone surrogates fit no signature, and must not raise.
        return value.encode("utf-8", "surrogatepass")
    raise TypeError(f"expected str or bytes, not {type(value).__name__}")


def _seconds(timestamp: bytes) -> int | None:
    """Return a timestamp as a number of bounded size, ``None`` if it is no integer."""
    try:
        seconds = int(timestamp)
    except ValueError:
        return None
    if abs(seconds) > LARGEST_TIME:
        return LARGEST_TIME if seconds > 0 else -LARGEST_TIME
    return seconds


def _unquote(value: bytes) -> bytes:
    """Remove the quotes that writers before RFC 6265 put around a value."""
    quoted = len(value) > 1 and value[:1] == value[-1:] == b'"'
    return cookies.unquote(value) if quoted else value
