"""Signed session records under keys: what a key-value server holds, whichever it is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Protocol

from webapp2_sessions.errors import (
    BadSignature,
    ConfigError,
    SessionTooLarge,
    UnreadableSession,
    UnstorableValue,
)
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer, undecodable
from webapp2_sessions.stored.signed_values import SignedValues

__all__ = ["Records", "SignedRecords", "signed_values", "signing_keys"]

#: The first byte of a session with its age, which is signed under the session's name as well.
_SESSION = b"\x02"

#: A value of so many bytes fits into any server (memcached's option -I is 1024 at least).
_ALWAYS_FITS = 512

#: memcached's keys have 250 bytes at most; the rest is for a prefix, and for the key of a mark.
_LONGEST_NAME = 90
_SAFE_NAME = re.compile(rf"[!-~]{{1,{_LONGEST_NAME}}}\Z")


class Records(Protocol):
    """Where :class:`~.keyed.KeyedSessionFactory` keeps sessions: a server that can compare and set.

    Lifetimes are in seconds, and ``None`` for ever. Each method that asks the server raises a
    :class:`~webapp2_sessions.errors.BackendError` if that fails: it is not certain then what was
    done.
    """

    #: The keyword by which errors name it.
    backend: str
    #: The configured namespace, ``None`` for the current one.
    namespace: str | None

    def key(self, name: str) -> bytes:
        """Return the key of a record."""

    def address(self, key: bytes) -> str:
        """Return the address of the server of a key, for errors."""

    def get(self, key: bytes) -> bytes | None:
        """Return a record, ``None`` if there is none."""

    def gets(self, key: bytes) -> tuple[bytes | None, Any]:
        """Return a record and its token; some token if there is none."""

    def absent(self, key: bytes) -> Any:
        """Return the token of nothing."""

    def fill(self, key: bytes, data: bytes, token: Any, lifetime: float | None) -> bool:
        """Store a record if the token still holds; whether it was stored."""

    def token_of(self, data: bytes) -> Any:
        """Return the token of a record that was just stored, ``None`` if the server alone knows."""

    def set(self, key: bytes, data: bytes, lifetime: float | None) -> None:
        """Store a record, whatever is there."""

    def replace(self, key: bytes, data: bytes, lifetime: float | None) -> bool:
        """Store a record unless it was revoked; whether it was stored."""

    def touch(self, key: bytes, lifetime: float | None) -> bool:
        """Give a record another lifetime; whether there is one."""

    def revoke(self, key: bytes, superseded_at: float = 0) -> bool:
        """Delete a record for good; whether this was the first call to do so.

        :param superseded_at: when the session got another id, in Unix seconds, if it did.
        """

    def superseded_at(self, key: bytes) -> float | None:
        """Return when a session got another id, in Unix seconds; ``None`` if it did not."""

    def is_revoked(self, key: bytes) -> bool:
        """Return whether the server still knows that a record was revoked."""

    def is_gone(self, key: bytes) -> bool:
        """Return whether a record that was there must not be stored again."""

    def discard_if_revoked(self, key: bytes) -> bool:
        """Delete a record that was stored again if it had been revoked; whether it had."""

    def times(self, key: bytes) -> dict[str, int]:
        """Return ``expires_in`` and ``idle`` of a record in seconds, as far as the server tells."""

    def sign_again(self, key: bytes, owner: str | bytes, lifetime: float | None) -> None:
        """Sign a record with the present key if an older one did; nothing else changes."""

    def encode_session(
        self,
        key: bytes,
        owner: str | bytes,
        data: dict[Any, Any],
        max_age: int | None,
        details: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return a session as a record."""

    def decode_session(
        self, key: bytes, owner: str | bytes, stored: bytes | None
    ) -> tuple[Any, int | None, Any]:
        """Return data, age and details of a record."""

    def opened(self, key: bytes, owner: str | bytes, stored: bytes) -> bytes | None:
        """Return a record's data as the serializer has made it; ``None`` if it is none."""


def signing_keys(config: Mapping[str, Any]) -> tuple[tuple[Any, ...], Serializer]:
    """Return the secret keys of a configuration, the present one first, and its serializer.

    :raises ConfigError: it has no ``secret_key``.
    """
    secret_keys = config.get("secret_key"), *config.get("secret_key_fallbacks", ())
    if not secret_keys[0]:
        raise ConfigError("secret_key", "is missing, and what is stored is signed with it")
    return secret_keys, Serializer.of(config, OWN_PROTOCOL)


def signed_values(
    purpose: str, secret_keys: tuple[Any, ...], serializer: Serializer
) -> tuple[SignedValues, SignedValues]:
    """Return what signs the values and the sessions of one purpose, by keys of its own.

    :param purpose: e.g. ``"memcached:memcache"``; values of one are no values of another.
    :param secret_keys: the present one first.
    """
    key, *fallbacks = (derive_key(each, purpose) for each in secret_keys)
    signing = key, serializer, fallbacks
    return SignedValues(*signing), SignedValues(*signing, _SESSION)


class SignedRecords:
    """Signs and verifies what is stored, and makes the keys under which it is.

    :param key_prefix: begins each key.
    :param values: makes and checks the values.
    :param sessions: makes and checks the values that are sessions.
    """

    #: The keyword by which errors name the server.
    backend: str

    def __init__(self, key_prefix: str, values: SignedValues, sessions: SignedValues) -> None:
        self._key_prefix = key_prefix.encode("ascii")
        self._values = values
        self._sessions = sessions

    def key(self, name: str) -> bytes:
        """Return the key of a record; a name that is long or not safe is hashed."""
        # Optimization: most names are ids, which need no pattern.
        is_safe = len(name) <= _LONGEST_NAME and name.isalnum() and name.isascii()
        if not is_safe and not _SAFE_NAME.match(name):
            name = "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self._key_prefix + name.encode("ascii")

    def address(self, key: bytes) -> str:
        """Return the address of the server of a key, for errors."""
        raise NotImplementedError()

    def largest_value(self, key: bytes) -> int | None:
        """Return the largest size in bytes that the server of a key is known to take."""
        return None

    def encode(self, key: bytes, value: Any) -> bytes:
        """Return a value as it is stored under ``key``."""
        return self._values.dumps(key, value)

    def decode(self, key: bytes, data: bytes | None, owner: str | bytes | None = None) -> Any:
        """Return the value that is stored under ``key``, ``None`` if we did not sign it.

        :param owner: the session's name, for a value that is signed with it.
        :raises UnreadableSession: we wrote it, and it cannot be decoded here.
        """
        if data is None:
            return None
        try:
            if owner is None:
                return self._values.loads(key, data)
            return self._sessions.loads(_signed_name(key, owner), data)
        except BadSignature:
            return None
        except Exception as error:
            problem = undecodable(error)
            raise UnreadableSession(self.backend, self.address(key), problem) from error

    def encode_session(
        self,
        key: bytes,
        owner: str | bytes,
        data: dict[Any, Any],
        max_age: int | None,
        details: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return a session as it is stored under ``key``.

        :param owner: the session's name; under another one the record counts as none.
        :param max_age: the session's own age in seconds, if it has one.
        :param details: what is kept beside the data, if anything is.
        :raises SessionTooLarge: the server is known not to take it.
        """
        try:
            held = [data, max_age] if details is None else [data, max_age, details]
            encoded = self._sessions.dumps(_signed_name(key, owner), held)
        except UnstorableValue:
            self._values.dumps(key, data)  # whose error tells the place in the session
            raise
        if len(encoded) > _ALWAYS_FITS:
            self._check_size(key, encoded, data)
        return encoded

    def decode_session(
        self, key: bytes, owner: str | bytes, stored: bytes | None
    ) -> tuple[Any, int | None, Any]:
        """Return data, age and details of a stored session.

        All are ``None`` if it is no session, or one of another name.

        Values from before sessions were bound to their names are read until they expire.

        :raises UnreadableSession: it cannot be decoded here.
        """
        if stored is None or not stored.startswith(_SESSION):
            return self.decode(key, stored), None, None
        data, max_age, *rest = self.decode(key, stored, owner) or (None, None)
        return data, max_age, rest[0] if rest else None

    def opened(self, key: bytes, owner: str | bytes, stored: bytes) -> bytes | None:
        """Return a stored session as the serializer has made it; ``None`` if it is none.

        :param owner: the session's name.
        """
        values, name = self._signed(key, owner, stored)
        return values.opened(name, stored)

    def sign_again(self, key: bytes, owner: str | bytes, lifetime: float | None) -> None:
        """Sign a stored session with the present key if an older one did; nothing else changes.

        :param owner: the session's name.
        """
        if not self._sessions.has_fallbacks:
            return
        data, token = self.gets(key)
        if data is None:
            return
        values, name = self._signed(key, owner, data)
        again = values.signed_again(name, data)
        if again is not None:
            self.fill(key, again, token, lifetime)  # if not, another request has just written it

    def gets(self, key: bytes) -> tuple[bytes | None, Any]:
        """Return a record and its token; see :class:`Records`."""
        raise NotImplementedError()

    def fill(self, key: bytes, data: bytes, token: Any, lifetime: float | None) -> bool:
        """Store a record if the token still holds; see :class:`Records`."""
        raise NotImplementedError()

    def _signed(self, key: bytes, owner: str | bytes, stored: bytes) -> tuple[SignedValues, bytes]:
        """Return what has signed a stored session, and under which name."""
        if stored.startswith(_SESSION):
            return self._sessions, _signed_name(key, owner)
        return self._values, key

    def _check_size(self, key: bytes, encoded: bytes, data: dict[Any, Any]) -> None:
        """Refuse a session that the server would not take.

        A server that does not tell its limit, as one behind a proxy, refuses by itself what is
        too large. It drops the stored value then if it is told ``set``, and keeps it if it is told
        ``replace`` or ``cas``, with which a session that is stored already is written.
        """
        limit = self.largest_value(key)
        if limit is not None and len(encoded) > limit:
            largest = largest_keys(data, lambda each: self._values.dumps(key, each))
            address = self.address(key)
            raise SessionTooLarge(self.backend, address, len(encoded), limit, largest)


def _signed_name(key: bytes, owner: str | bytes) -> bytes:
    """Return the name under which a session is signed; no key has a space in it."""
    name = owner.decode("latin-1") if isinstance(owner, bytes) else owner
    return b"%b %b" % (key, name.encode("utf-8", "surrogatepass"))
