"""Session records in memcached: keys, expiry, signed values, sizes, and revocation."""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Mapping
from types import NoneType
from typing import Any

from webapp2_sessions.config import memcache_settings
from webapp2_sessions.errors import BackendError
from webapp2_sessions.sessions_memcache.servers import TAKEN, Nodes, nodes_of
from webapp2_sessions.stored.cache import CacheStore, Token
from webapp2_sessions.stored.clients import Identity
from webapp2_sessions.stored.records import SignedRecords, signed_values, signing_keys
from webapp2_sessions.stored.serializers import Serializer
from webapp2_sessions.stored.signed_values import SignedValues

#: memcached takes a larger expiry for a point in time (protocol.txt, "Expiration times").
_LONGEST_RELATIVE_EXPIRY = 30 * 24 * 3600
#: memcached keeps expiry times as 32-bit integers.
_LATEST_EXPIRY = 2**31 - 1
#: Ends the key of the mark of a revoked record; 250 bytes are memcached's limit.
_REVOKED = b":ended"
_REVOKED_SECONDS = 3600
#: An expiry that has passed: memcached has no command that compares and deletes.
_EXPIRED = -1
#: Each try fails only if another request has just written the record.
_TRIES_TO_TAKE = 20


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
    if not isinstance(settings["client"], (str, NoneType)):
        settings["client"] = Identity(settings["client"])
    return _session_memcached(purpose, *signing_keys(config), *settings.items())


@functools.lru_cache(maxsize=64)
def _session_memcached(
    purpose: str, secret_keys: tuple[Any, ...], serializer: Serializer, *items: tuple[str, Any]
) -> SessionMemcached:
    """Make the memcached of a configuration by its values; last those of the section."""
    settings = dict(items)
    return SessionMemcached(
        nodes_of(settings),
        settings["key_prefix"],
        *signed_values(f"memcached:{purpose}", secret_keys, serializer),
        settings["namespace"],
    )


class SessionMemcached(SignedRecords, CacheStore):
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
        super().__init__(key_prefix, values, sessions)
        self._nodes = nodes
        self.namespace = namespace

    def call(self, operation: str, key: bytes, *args: Any) -> Any:
        """Call a client's method, whose first argument is ``key``, on the server of that key.

        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        return self._nodes.node_of(key).call(operation, key, *args)

    def address(self, key: bytes) -> str:
        """Return the address of the server of that key."""
        return self._nodes.node_of(key).address

    def largest_value(self, key: bytes) -> int:
        """Return the size in bytes of the largest value that the server of that key takes."""
        return self._nodes.node_of(key).largest_value()

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

    def token_of(self, data: bytes) -> None:
        """Return nothing: memcached does not tell the token of what it has stored."""

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

    def drop(self, key: bytes) -> None:
        """Delete what is under ``key``; memcached has done so if it has refused a ``set``."""
        self.call("delete", key)

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
            if data == TAKEN:
                return False
            if not is_marked:
                node.call("set", key + _REVOKED, mark, _REVOKED_SECONDS)
            # As :meth:`fill`.
            is_same = token.server.lost == token.lost
            if is_same and token.server.call("cas", key, TAKEN, token.cas, _EXPIRED):
                return True
        return is_marked

    def is_revoked(self, key: bytes) -> bool:
        """Whether a record that is not there was revoked, and not evicted."""
        return self._nodes.node_of(key).call("get", key + _REVOKED) is not None

    is_gone = is_revoked

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
