"""Session records in memcached: keys, expiry, signed values, sizes, and revocation."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import time
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.errors import (
    BackendError,
    BadSignature,
    ConfigError,
    SessionTooLarge,
    UnreadableSession,
    UnstorableValue,
)
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.securecookie.keys import derive_key
from webapp2_sessions.sessions_memcache.servers import Nodes, nodes_of
from webapp2_sessions.stored.cache import CacheStore, Token
from webapp2_sessions.stored.clients import Identity
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer, undecodable
from webapp2_sessions.stored.signed_values import SignedValues

#: memcached takes a larger expiry for a point in time (protocol.txt, "Expiration times").
_LONGEST_RELATIVE_EXPIRY = 30 * 24 * 3600
#: memcached keeps expiry times as 32-bit integers.
_LATEST_EXPIRY = 2**31 - 1
#: A value of so many bytes fits into any server (memcached's option -I is 1024 at least).
_ALWAYS_FITS = 512

#: Ends the key of the mark of a revoked record; 250 bytes are memcached's limit.
_REVOKED = b":ended"
_REVOKED_SECONDS = 3600
#: Replaces a record between its revocation and its deletion, for a second at most. Nobody signs
#: it, so that it counts as no session.
_TAKEN = b"ended"
#: Each try fails only if another request has just written the record.
_TRIES_TO_TAKE = 20

#: The first byte of a session with its age, which is signed under the session's name as well.
_SESSION = b"\x02"

_LONGEST_NAME = 90
_SAFE_NAME = re.compile(rf"[!-~]{{1,{_LONGEST_NAME}}}\Z")


def expiry(lifetime: float | None) -> int:
    """Return memcached's expiry for a lifetime in seconds; ``None`` and too long mean never.

    One second is added, because memcached's clock ticks in whole seconds and an entry must not
    go before its session.
    """
    if lifetime is None:
        return 0
    now = int(time.time())
    if lifetime >= _LATEST_EXPIRY - now:
        return 0
    seconds = math.ceil(max(1, lifetime)) + 1
    return now + seconds if seconds > _LONGEST_RELATIVE_EXPIRY else seconds


def session_memcached(config: Mapping[str, Any], purpose: str) -> SessionMemcached:
    """Return the memcached of a session configuration; the same object for the same settings.

    :param config: a session configuration.
    :param purpose: e.g. ``"memcache"``; values of one purpose are no values of another.
    :raises ConfigError: it has no ``secret_key``.
    """
    settings = memcache_settings(config)
    settings["servers"] = tuple(settings["servers"])
    if settings["client"] is not None:
        settings["client"] = Identity(settings["client"])
    secret_keys = config.get("secret_key"), *config.get("secret_key_fallbacks", ())
    serializer = Serializer.of(config, OWN_PROTOCOL)
    return _session_memcached(purpose, secret_keys, serializer, *settings.items())


@functools.lru_cache(maxsize=64)
def _session_memcached(
    purpose: str, secret_keys: tuple[Any, ...], serializer: Serializer, *items: tuple[str, Any]
) -> SessionMemcached:
    """Make the memcached of a configuration by its values; last those of the section."""
    if not secret_keys[0]:
        raise ConfigError("secret_key", "is missing, and values in memcached are signed with it")
    key, *fallbacks = (derive_key(each, f"memcached:{purpose}") for each in secret_keys)
    signing = key, serializer, fallbacks
    settings = dict(items)
    return SessionMemcached(
        nodes_of(settings),
        settings["key_prefix"],
        SignedValues(*signing),
        SignedValues(*signing, _SESSION),
        settings["namespace"],
    )


class SessionMemcached(CacheStore):
    """Records in memcached, each under a prefixed key and signed.

    Lifetimes are in seconds, and ``None`` for ever.

    :param nodes: the servers.
    :param key_prefix: begins each key.
    :param values: makes and checks the values.
    :param sessions: makes and checks the values that are sessions.
    :param namespace: the configured one, ``None`` for the current one.
    """

    backend = "memcache"

    def __init__(
        self,
        nodes: Nodes,
        key_prefix: str,
        values: SignedValues,
        sessions: SignedValues,
        namespace: str | None = None,
    ) -> None:
        self._nodes = nodes
        self._key_prefix = key_prefix.encode("ascii")
        self._values = values
        self._sessions = sessions
        self.namespace = namespace

    def key(self, name: str) -> bytes:
        """Return the memcached key of a record; one that is long or not safe is hashed."""
        # Optimization: most names are ids, which need no pattern.
        is_safe = len(name) <= _LONGEST_NAME and name.isalnum() and name.isascii()
        if not is_safe and not _SAFE_NAME.match(name):
            name = "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self._key_prefix + name.encode("ascii")

    def call(self, operation: str, key: bytes, *args: Any) -> Any:
        """Call a client's method, whose first argument is ``key``, on the server of that key.

        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        return self._nodes.node_of(key).call(operation, key, *args)

    def address(self, key: bytes) -> str:
        """Return the address of the server of that key."""
        return self._nodes.node_of(key).address

    def absent(self, key: bytes) -> Token:
        """Return the token of nothing under ``key``."""
        node = self._nodes.node_of(key)
        return Token(None, node, node.lost)

    def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``, ``None`` if there is none.

        :raises BackendError: the server failed, as everywhere here.
        """
        return self._nodes.node_of(key).call("get", key)  # type: ignore[no-any-return]

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        """Return the value under ``key``, ``None`` if there is none, and the token of that."""
        node = self._nodes.node_of(key)
        lost = node.lost
        data, cas = node.call("gets", key)
        if data is None:
            return data, Token(None, node, node.lost)
        if cas is None:
            text = "the client gives no token to compare with"
            raise BackendError("memcache", node.address, text)
        return data, Token(cas, node, lost)

    def set(self, key: bytes, data: bytes, lifetime: float | None) -> None:
        """Store ``data``, whatever was stored before.

        :raises BackendError: it is not certain that it is stored.
        """
        node = self._nodes.node_of(key)
        if not node.call("set", key, data, expiry(lifetime)):
            raise BackendError("memcache", node.address, "the server did not store the session")

    def fill(self, key: bytes, data: bytes, token: Token, lifetime: float | None) -> bool:
        """Store ``data`` if nobody has changed what the token tells of; whether it was stored."""
        if token.server.lost != token.lost:
            return False  # perhaps by a restart, after which another value may have this token
        if token.cas is None:
            return bool(token.server.call("fill", key, data, expiry(lifetime)))
        return bool(token.server.call("cas", key, data, token.cas, expiry(lifetime)))

    def replace(self, key: bytes, data: bytes, lifetime: float | None) -> bool:
        """Store ``data`` unless the record was revoked; whether it was stored.

        A record that memcached has evicted is stored again.

        :raises BackendError: it is not certain that it is stored.
        """
        if self._nodes.node_of(key).call("replace", key, data, expiry(lifetime)):
            return True
        if self.is_revoked(key):
            return False
        self.set(key, data, lifetime)
        return not self.discard_if_revoked(key)

    def touch(self, key: bytes, lifetime: float | None) -> bool:
        """Give a record another lifetime; whether there is one."""
        return bool(self._nodes.node_of(key).call("touch", key, expiry(lifetime)))

    def set_noreply(self, key: bytes, data: bytes, lifetime: float | None) -> None:
        """Fire and forget ``data``; a paused server applies it when it resumes."""
        self._nodes.node_of(key).set_noreply(key, data, expiry(lifetime))

    def revoke(self, key: bytes, superseded_at: float = 0) -> bool:
        """Delete a record for good; whether this was the first call to do so.

        A mark stays as long as a request may be running that has read the record before, and
        would store it again.

        :param superseded_at: when the session got another id, in Unix seconds, if it did.
        :raises BackendError: it is not certain that it is gone.
        """
        node = self._nodes.node_of(key)
        # Nobody else's mark is the same.
        mark = b"%d %b" % (superseded_at, os.urandom(9).hex().encode("ascii"))
        is_marked = bool(node.call("add", key + _REVOKED, mark, _REVOKED_SECONDS))
        is_first = self._take_away(key, mark, is_marked)
        node.call("delete", key)
        return is_first

    def _take_away(self, key: bytes, mark: bytes, is_marked: bool) -> bool:
        """Take a record away from all others who revoke it; whether nobody did so before.

        A mark that is there already does not tell: its request may have failed before the record
        was deleted. Who finds the record puts a mark of its own, by which the other one sees that
        it was not first.
        """
        node = self._nodes.node_of(key)
        for _ in range(_TRIES_TO_TAKE):
            data, token = self.gets(key)
            if data is None:
                return is_marked and node.call("get", key + _REVOKED) in (mark, None)
            if data == _TAKEN:
                return False
            if not is_marked:
                node.call("set", key + _REVOKED, mark, _REVOKED_SECONDS)
            # As :meth:`fill`, but for a second.
            is_same = token.server.lost == token.lost
            if is_same and token.server.call("cas", key, _TAKEN, token.cas, 1):
                return True
        return is_marked

    def is_revoked(self, key: bytes) -> bool:
        """Whether a record that is not there was revoked, and not evicted."""
        return self._nodes.node_of(key).call("get", key + _REVOKED) is not None

    def discard_if_revoked(self, key: bytes) -> bool:
        """Delete a record that was just stored if it had been revoked; return whether it had.

        :raises BackendError: it is not certain that it is gone.
        """
        is_revoked = self.is_revoked(key)
        if is_revoked:
            self.call("delete", key)
        return is_revoked

    def superseded_at(self, key: bytes) -> int | None:
        """Return when a session got another id, in Unix seconds; ``None`` if it did not."""
        mark = self._nodes.node_of(key).call("get", key + _REVOKED)
        time = b"" if mark is None else mark.partition(b" ")[0]
        return int(time) or None if time.isdigit() and len(time) < 15 else None

    def times(self, key: bytes) -> dict[str, int]:
        """Return ``expires_in`` and ``idle`` of an entry, as far as the server tells (1.6 does)."""
        try:
            answer = self._nodes.node_of(key).call("raw_command", b"mg %b t l" % key).split()
            if answer[:1] == [b"HD"]:
                flags = {each[:1]: int(each[1:]) for each in answer[1:]}
                return {"expires_in": flags[b"t"], "idle": flags[b"l"]}
        except (AttributeError, BackendError, KeyError, TypeError, ValueError):
            pass
        return {}

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
            raise UnreadableSession("memcache", self.address(key), undecodable(error)) from error

    def encode_session(
        self, key: bytes, owner: str | bytes, data: dict[Any, Any], max_age: int | None
    ) -> bytes:
        """Return a session as it is stored under ``key``.

        :param owner: the session's name; under another one the record counts as none.
        :param max_age: the session's own age in seconds, if it has one.
        :raises SessionTooLarge: the server is known not to take it.
        """
        try:
            encoded = self._sessions.dumps(_signed_name(key, owner), [data, max_age])
        except UnstorableValue:
            self._values.dumps(key, data)  # whose error tells the place in the session
            raise
        if len(encoded) > _ALWAYS_FITS:
            self._check_size(key, encoded, data)
        return encoded

    def decode_session(
        self, key: bytes, owner: str | bytes, stored: bytes | None
    ) -> tuple[Any, int | None]:
        """Return data and age of a stored session; no data if it is none, or of another name.

        Values from before sessions were bound to their names are read until they expire.

        :raises UnreadableSession: it cannot be decoded here.
        """
        if stored is None or not stored.startswith(_SESSION):
            return self.decode(key, stored), None
        data, max_age = self.decode(key, stored, owner) or (None, None)
        return data, max_age

    def opened(self, key: bytes, owner: str | bytes, stored: bytes) -> bytes | None:
        """Return a stored session as the serializer has made it; ``None`` if it is none.

        :param owner: the session's name.
        """
        values, name = self._signed(key, owner, stored)
        return values.opened(name, stored)

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
        node = self._nodes.node_of(key)
        limit = node.largest_value()
        if len(encoded) > limit:
            largest = largest_keys(data, lambda each: self._values.dumps(key, each))
            raise SessionTooLarge("memcache", node.address, len(encoded), limit, largest)


def _signed_name(key: bytes, owner: str | bytes) -> bytes:
    """Return the name under which a session is signed; no key of memcached has a space in it."""
    name = owner.decode("latin-1") if isinstance(owner, bytes) else owner
    return b"%b %b" % (key, name.encode("utf-8", "surrogatepass"))
