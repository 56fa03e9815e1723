"""Sessions in encrypted cookies: the visitor can neither read nor change them."""

from __future__ import annotations

import base64
import functools
from typing import Any

from webapp2_sessions.config.loading import backend_config
from webapp2_sessions.errors import BadSignature, MalformedCookie, MissingDependency
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.securecookie.plain_json import decode_json, encode_json
from webapp2_sessions.securecookie.tokens import token_time
from webapp2_sessions.sessions.cookie import SecureCookieSessionFactory

try:
    from cryptography.fernet import Fernet, InvalidToken, MultiFernet
except ImportError as _error:
    raise MissingDependency("cryptography", "encryption", "encryptedcookie") from _error

__all__ = ["EncryptedCookieSerializer", "EncryptedCookieSessionFactory"]


class EncryptedCookieSerializer(SecureCookieSerializer):
    """Encrypts cookie values, and decrypts what it encrypted.

    A value is a token of Fernet: AES-128-CBC and HMAC-SHA256, with the time in clear, in base64
    for URLs. The keys are derived from the secret key and the cookie's name, so that a token is
    none in a cookie of another name. What it holds is JSON; its length can be seen.

    :param secret_key: the key from which those that encrypt are derived.
    :param fallbacks: older keys, which decrypt and never encrypt.
    """

    def _seal(self, name: bytes, payload: bytes) -> bytes:
        token: bytes = self._fernet(name).encrypt_at_time(payload, self._get_timestamp())
        return token

    def _open(self, name: bytes, value: bytes) -> tuple[bytes, bytes]:
        signed_at = token_time(value)
        if signed_at is None:
            raise MalformedCookie("it is no encrypted value")
        try:
            return self._fernet(name).decrypt(value), b"%d" % signed_at
        except InvalidToken:
            raise BadSignature("its signature does not fit") from None

    def _encode(self, value: Any) -> bytes:
        return encode_json(value).encode("ascii")

    def _decode(self, payload: bytes) -> Any:
        return decode_json(payload.decode("utf-8"))

    def _fernet(self, name: bytes) -> MultiFernet:
        return _multi_fernet((self.secret_key, *self.fallbacks), name)


@functools.lru_cache(maxsize=64)
def _multi_fernet(secret_keys: tuple[bytes, ...], name: bytes) -> MultiFernet:
    # Latin-1, because each name has to have a purpose of its own.
    purpose = "encryptedcookie:" + name.decode("latin-1")
    keys = (derive_key(secret_key, purpose) for secret_key in secret_keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])


class EncryptedCookieSessionFactory(SecureCookieSessionFactory):
    """Keeps the whole session in an encrypted cookie.

    Use it as ``store.get_session(backend="encryptedcookie")``. Values come back as JSON holds
    them, and browsers drop cookies of more than about 4 kB, as with signed cookies.
    """

    keyword = "encryptedcookie"

    # No cached_property, whose lock a fork amid requests would leave locked in the child.
    @property
    def _own_serializer(self) -> EncryptedCookieSerializer:
        config = backend_config(self.session_store)
        fallbacks = config.get("secret_key_fallbacks", ())
        return EncryptedCookieSerializer(config["secret_key"], fallbacks)
