"""memcached as a place for session data: keys, signed values, expiry and errors."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from webapp2_sessions.config import SessionConfig, memcache_settings
from webapp2_sessions.errors import (
    BackendError,
    BadSignature,
    ConfigError,
    SessionTooLarge,
    UnreadableSession,
)
from webapp2_sessions.keys import derive_key
from webapp2_sessions.memcached_nodes import Nodes, nodes_of
from webapp2_sessions.serializers import OWN_PROTOCOL, Serializer, undecodable
from webapp2_sessions.signed_values import SignedValues
from webapp2_sessions.sizes import largest_keys

__all__ = ["SessionMemcached", "Token", "expiry", "session_memcached"]

#: memcached takes a larger expiry for a point in time (protocol.txt, "Expiration times").
_LONGEST_RELATIVE_EXPIRY = 30 * 24 * 3600
#: memcached keeps expiry times as 32-bit integers.
_LATEST_EXPIRY = 2**31 - 1
#: A value of so many bytes fits into any server (memcached's option -I is 1024 at least).
_ALWAYS_FITS = 512
#: What an item's key (250 at most) and memcached's own fields take of it.
_ITEM_OVERHEAD = 512

#: What the key of a mark ends with, beside the key of the record that was ended; 250 bytes are
#: memcached's limit.
_ENDED = b":ended"
_ENDED_SECONDS = 3600

_LONGEST_NAME = 90
_SAFE_NAME = re.compile(rf"[!-~]{{1,{_LONGEST_NAME}}}\Z")


class Token(NamedTuple):
    """What memcached compares, to see whether a record was changed."""

    cas: bytes
    #: How many connections had been lost when the token was given, see ``Node.lost``.
    lost: int


def expiry(lifetime: float | None) -> int:
    """Return what memcached is told for a lifetime in seconds; ``None`` and too long mean never.

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
    """Return the memcached of a session configuration, for values of one purpose.

    :param config: a session configuration.
    :param purpose: e.g. ``"memcache"``; values of one purpose are no values of another.
    :raises ConfigError: it has no ``secret_key``.
    """
    if type(config) is not SessionConfig:
        return _find_session_memcached(config, purpose)
    derived = config.derived
    place = ("memcached", purpose)
    try:
        return derived[place]  # type: ignore[no-any-return]
    except KeyError:
        found = derived[place] = _find_session_memcached(config, purpose)
        return found


def _find_session_memcached(config: Mapping[str, Any], purpose: str) -> SessionMemcached:
    secret_key = config.get("secret_key")
    if not secret_key:
        raise ConfigError("secret_key", "is missing, and values in memcached are signed with it")
    settings = memcache_settings(config)
    return _session_memcached(
        (secret_key, *config.get("secret_key_fallbacks", ())),
        purpose,
        nodes_of(settings),
        settings["key_prefix"],
        Serializer.of(config, OWN_PROTOCOL),
    )


@functools.lru_cache(maxsize=64)
def _session_memcached(
    secret_keys: tuple[str | bytes, ...],
    purpose: str,
    nodes: Nodes,
    key_prefix: str,
    serializer: Serializer,
) -> SessionMemcached:
    key, *fallbacks = (derive_key(each, f"memcached:{purpose}") for each in secret_keys)
    return SessionMemcached(nodes, key_prefix, SignedValues(key, serializer, fallbacks))


class SessionMemcached:
    """Session data in memcached, each record under a prefixed key and signed.

    :param nodes: the servers.
    :param key_prefix: begins each key.
    :param values: makes and checks the values.
    """

    def __init__(self, nodes: Nodes, key_prefix: str, values: SignedValues) -> None:
        self._nodes = nodes
        self._only = nodes.only
        self._key_prefix = key_prefix.encode("ascii")
        self._values = values

    def key(self, name: str) -> bytes:
        """Return the memcached key of a record; a name that memcached refuses is hashed."""
        # Most names are ids, which can be told without a pattern.
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

    def read(self, name: str) -> Any:
        """Return the value of a record, ``None`` if there is none of ours.

        :raises UnreadableSession: we wrote it, and it cannot be decoded here.
        :raises BackendError: the server failed.
        """
        key = self.key(name)
        node = self._only or self._nodes.node_of(key)
        return self.decode(key, node.call("get", key))

    def address(self, key: bytes) -> str:
        """Return where the server of that key is."""
        return self._nodes.node_of(key).address

    def gets(self, key: bytes) -> tuple[bytes | None, Token | None]:
        """Return what is stored under ``key`` and its token; ``None`` twice where nothing is.

        :raises BackendError: the server failed.
        """
        node = self._nodes.node_of(key)
        lost = node.lost
        data, cas = node.call("gets", key)
        return data, None if data is None else Token(cas, lost)

    def cas(self, key: bytes, data: bytes, token: Token, seconds: int) -> bool | None:
        """Store ``data`` if nobody has changed what the token belongs to.

        :returns: whether it was stored; ``None`` if nothing is stored under ``key`` any more.
        :raises BackendError: the server failed.
        """
        node = self._nodes.node_of(key)
        if node.lost != token.lost:
            return False  # perhaps by a restart, after which another value may have this token
        return node.call("cas", key, data, token.cas, seconds)  # type: ignore[no-any-return]

    def set(self, key: bytes, data: bytes, seconds: int) -> None:
        """Store ``data``, whatever was stored before.

        :raises BackendError: it is not certain that it is stored.
        """
        node = self._nodes.node_of(key)
        if not node.call("set", key, data, seconds):
            raise BackendError("memcache", node.address, "the server did not store the session")

    def replace(self, key: bytes, data: bytes, seconds: int) -> bool:
        """Store ``data`` unless the record was ended; whether that is so.

        A record that memcached has dropped by itself is stored anew.

        :raises BackendError: it is not certain that it is stored.
        """
        node = self._only or self._nodes.node_of(key)
        if not node.call("replace", key, data, seconds):
            if self.is_ended(key):
                return False
            self.set(key, data, seconds)
        return True

    def end(self, key: bytes) -> bool:
        """Delete a record, and mark that it was ended; whether this was the first call to do so.

        The mark stays as long as a request may be running that has read the record before, and
        would store it again.

        :raises BackendError: it is not certain that it is gone.
        """
        node = self._nodes.node_of(key)
        is_first = node.call("add", key + _ENDED, b"1", _ENDED_SECONDS)
        node.call("delete", key)
        return bool(is_first)

    def is_ended(self, key: bytes) -> bool:
        """Whether a record that is not there was ended, and not dropped by memcached.

        :raises BackendError: it cannot be told.
        """
        return self._nodes.node_of(key).call("get", key + _ENDED) is not None

    def sign_anew(self, key: bytes, seconds: int) -> None:
        """Replace an older key's signature of what is stored; nothing else of it changes.

        :raises BackendError: the server failed.
        """
        if not self._values.has_fallbacks:
            return
        data, token = self.gets(key)
        anew = None if data is None else self._values.signed_anew(key, data)
        if anew is not None and token is not None:
            self.cas(key, anew, token, seconds)  # if not, another request has just written it

    def tell(self, key: bytes, data: bytes, seconds: int) -> None:
        """Send ``data`` without waiting for an answer, also to a server that is silent."""
        self._nodes.node_of(key).tell(key, data, seconds)

    def encode(self, key: bytes, value: Any) -> bytes:
        """Return a record's value as it is stored under ``key``."""
        return self._values.dumps(key, value)

    def encode_checked(self, key: bytes, value: Any) -> bytes:
        """As :meth:`encode`, for the only place where the record will be.

        :raises SessionTooLarge: the server would not take it, and would drop the stored one.
        """
        data = self._values.dumps(key, value)
        if len(data) > _ALWAYS_FITS:
            node = self._nodes.node_of(key)
            limit = node.item_size() - _ITEM_OVERHEAD
            if len(data) > limit:
                largest = largest_keys(value, lambda each: self._values.dumps(key, each))
                raise SessionTooLarge("memcache", node.address, len(data), limit, largest)
        return data

    def opened(self, key: bytes, data: bytes) -> bytes | None:
        """Return what is stored as the serializer has made it; ``None`` if it is none of ours."""
        return self._values.opened(key, data)

    def decode(self, key: bytes, data: bytes | None) -> Any:
        """Return what is stored under ``key``, ``None`` if that is nothing of ours.

        :raises UnreadableSession: we wrote it, and it cannot be decoded here.
        """
        if data is None:
            return None
        try:
            return self._values.loads(key, data)
        except BadSignature:
            return None
        except Exception as error:
            raise UnreadableSession(
                "memcache",
                self.address(key),
                undecodable(error),
            ) from error
