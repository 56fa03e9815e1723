"""memcached as a place for session data: keys, signed values, expiry and errors."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from webapp2_sessions.config import SessionConfig, memcache_settings
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
from webapp2_sessions.sessions_memcache.nodes import Nodes, nodes_of
from webapp2_sessions.stored.serializers import OWN_PROTOCOL, Serializer, undecodable
from webapp2_sessions.stored.signed_values import SignedValues

__all__ = ["SessionMemcached", "Token", "expiry", "session_memcached"]

#: memcached takes a larger expiry for a point in time (protocol.txt, "Expiration times").
_LONGEST_RELATIVE_EXPIRY = 30 * 24 * 3600
#: memcached keeps expiry times as 32-bit integers.
_LATEST_EXPIRY = 2**31 - 1
#: A value of so many bytes fits into any server (memcached's option -I is 1024 at least).
_ALWAYS_FITS = 512

#: What the key of a mark ends with, beside the key of the record that was ended; 250 bytes are
#: memcached's limit.
_ENDED = b":ended"
_ENDED_SECONDS = 3600
#: What stands for a record between its end and its deletion, for a second at most. It is signed by
#: nobody, and so counts as no session.
_TAKEN = b"ended"
#: Each try fails only if another request has just written the record.
_TRIES_TO_TAKE = 20

#: The first byte of a session with its age, which is signed under the session's name as well.
_SESSION = b"\x02"

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
    return SessionMemcached(
        nodes,
        key_prefix,
        SignedValues(key, serializer, fallbacks),
        SignedValues(key, serializer, fallbacks, _SESSION),
    )


class SessionMemcached:
    """Session data in memcached, each record under a prefixed key and signed.

    :param nodes: the servers.
    :param key_prefix: begins each key.
    :param values: makes and checks the values.
    :param sessions: makes and checks the values that are sessions.
    """

    def __init__(
        self, nodes: Nodes, key_prefix: str, values: SignedValues, sessions: SignedValues
    ) -> None:
        self._nodes = nodes
        self._only = nodes.only
        self._key_prefix = key_prefix.encode("ascii")
        self._values = values
        self._sessions = sessions

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

    def get(self, key: bytes) -> bytes | None:
        """Return what is stored under ``key``, ``None`` if nothing is.

        :raises BackendError: the server failed.
        """
        node = self._only or self._nodes.node_of(key)
        return node.call("get", key)  # type: ignore[no-any-return]

    def address(self, key: bytes) -> str:
        """Return where the server of that key is."""
        return self._nodes.node_of(key).address

    def lost(self, key: bytes) -> int:
        """Return how many connections to the server of that key were lost so far."""
        return self._nodes.node_of(key).lost

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

        A record that memcached has dropped by itself is stored again.

        :raises BackendError: it is not certain that it is stored.
        """
        node = self._only or self._nodes.node_of(key)
        if not node.call("replace", key, data, seconds):
            if self.is_ended(key):
                return False
            self.set(key, data, seconds)
            return not self.was_ended_meanwhile(key)
        return True

    def was_ended_meanwhile(self, key: bytes) -> bool:
        """Whether a record that has just been stored once more was ended just before.

        Then it is deleted again.

        :raises BackendError: it is not certain that it is gone.
        """
        is_ended = self.is_ended(key)
        if is_ended:
            self.call("delete", key)
        return is_ended

    def end(self, key: bytes, superseded_at: float = 0) -> bool:
        """Delete a record, and mark that it was ended; whether this was the first call to do so.

        The mark stays as long as a request may be running that has read the record before, and
        would store it again.

        :param superseded_at: when the session got another key, in Unix seconds, if it did.
        :raises BackendError: it is not certain that it is gone.
        """
        node = self._nodes.node_of(key)
        is_marked = node.call("add", key + _ENDED, b"%d" % superseded_at, _ENDED_SECONDS)
        is_first = self._take_away(key, bool(is_marked))
        node.call("delete", key)
        return is_first

    def _take_away(self, key: bytes, is_marked: bool) -> bool:
        """Take a record from all others who want to end it; whether nobody did so before.

        The mark alone does not tell: it may be of somebody whose server failed before the record
        was deleted.
        """
        for _ in range(_TRIES_TO_TAKE):
            data, token = self.gets(key)
            if data is None or token is None:
                return is_marked
            if data == _TAKEN:
                return False
            if self.cas(key, _TAKEN, token, 1):
                return True
        return is_marked

    def superseded_at(self, key: bytes) -> int | None:
        """Return when a session got another key, in Unix seconds; ``None`` if it did not.

        :raises BackendError: the server failed.
        """
        mark = self._nodes.node_of(key).call("get", key + _ENDED)
        return int(mark) or None if mark is not None and mark.isdigit() and len(mark) < 15 else None

    def is_ended(self, key: bytes) -> bool:
        """Whether a record that is not there was ended, and not dropped by memcached.

        :raises BackendError: it cannot be told.
        """
        return self._nodes.node_of(key).call("get", key + _ENDED) is not None

    def sign_again(self, key: bytes, owner: str, seconds: int) -> None:
        """Replace an older key's signature of a stored session; nothing else of it changes.

        :param owner: the session's name.
        :raises BackendError: the server failed.
        """
        if not self._sessions.has_fallbacks:
            return
        data, token = self.gets(key)
        if data is None or token is None:
            return
        again = self._sessions.signed_again(_bound(key, owner), data)
        if again is None:
            again = self._values.signed_again(key, data)
        if again is not None:
            self.cas(key, again, token, seconds)  # if not, another request has just written it

    def tell(self, key: bytes, data: bytes, seconds: int) -> None:
        """Send ``data`` without waiting for an answer, also to a server that is silent."""
        self._nodes.node_of(key).tell(key, data, seconds)

    def encode(self, key: bytes, value: Any) -> bytes:
        """Return a record's value as it is stored under ``key``."""
        return self._values.dumps(key, value)

    def encode_session(
        self, key: bytes, owner: str, data: dict[Any, Any], max_age: int | None
    ) -> bytes:
        """Return a session as it is stored under ``key``.

        :param owner: the session's name; under another one the record counts as none.
        :param max_age: the session's own age in seconds, if it has one.
        :raises SessionTooLarge: the server is known not to take it.
        """
        try:
            encoded = self._sessions.dumps(_bound(key, owner), [data, max_age])
        except UnstorableValue:
            self._values.dumps(key, data)  # whose error tells the place in the session
            raise
        if len(encoded) > _ALWAYS_FITS:
            self._check_size(key, encoded, data)
        return encoded

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

    def decode_session(
        self, key: bytes, owner: str, stored: bytes | None
    ) -> tuple[Any, int | None]:
        """Return data and age of a stored session; no data if it is none, or of another name.

        Values from before sessions were bound to their names are read until they expire.

        :raises UnreadableSession: it cannot be decoded here.
        """
        if stored is None or not stored.startswith(_SESSION):
            return self.decode(key, stored), None
        held = self._decoded(key, lambda: self._sessions.loads(_bound(key, owner), stored))
        return (None, None) if held is None else (held[0], held[1])

    def opened(self, key: bytes, owner: str, stored: bytes) -> bytes | None:
        """Return a stored session as the serializer has made it; ``None`` if it is none.

        :param owner: the session's name.
        """
        if stored.startswith(_SESSION):
            return self._sessions.opened(_bound(key, owner), stored)
        return self._values.opened(key, stored)

    def decode(self, key: bytes, data: bytes | None) -> Any:
        """Return what is stored under ``key``, ``None`` if that is nothing of ours.

        :raises UnreadableSession: we wrote it, and it cannot be decoded here.
        """
        return None if data is None else self._decoded(key, lambda: self._values.loads(key, data))

    def _decoded(self, key: bytes, loads: Callable[[], Any]) -> Any:
        try:
            return loads()
        except BadSignature:
            return None
        except Exception as error:
            raise UnreadableSession(
                "memcache",
                self.address(key),
                undecodable(error),
            ) from error


def _bound(key: bytes, owner: str) -> bytes:
    """The name under which a session is signed; no key of memcached has a space in it."""
    return b"%b %b" % (key, owner.encode("utf-8", "surrogatepass"))
