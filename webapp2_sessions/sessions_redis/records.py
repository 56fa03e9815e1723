"""Session records in Redis: lifetimes, compare-and-set, and the end of a session."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.config import redis_settings
from webapp2_sessions.errors import BackendError
from webapp2_sessions.sessions_redis.servers import Redis, server_of
from webapp2_sessions.stored.clients import Identity
from webapp2_sessions.stored.connections import IF_CLOSED, IF_SILENT, IF_UNSENT
from webapp2_sessions.stored.records import SignedRecords, signed_values, signing_keys
from webapp2_sessions.stored.serializers import Serializer
from webapp2_sessions.stored.signed_values import SignedValues

#: The token of a record: its first byte and its signature, which no other content has. A counter
#: would start from zero after a restart.
_TOKEN_SIZE = 33

#: Ends the key of the mark of a session that has got another id.
_SUPERSEDED = b":superseded"
#: Seconds for which it stays: the longest ``renewal_grace``.
_SUPERSEDED_SECONDS = 300

#: A lifetime of so many seconds, a hundred years, means for ever.
_FOR_EVER = 100 * 366 * 24 * 3600


def milliseconds(lifetime: float | None) -> int | None:
    """Return a lifetime in seconds as Redis counts it; ``None`` for ever.

    One second is added: cookies tell the time in whole seconds, and a record must not go before its
    session.
    """
    if lifetime is None or lifetime >= _FOR_EVER:
        return None
    return (math.ceil(max(1, lifetime)) + 1) * 1000


def session_redis(config: Mapping[str, Any]) -> SessionRedis:
    """Return the Redis of a session configuration; the same object for the same settings.

    :raises ConfigError: it has no ``secret_key``.
    """
    settings = redis_settings(config)
    if settings["client"] is not None:
        settings["client"] = Identity(settings["client"])
    return _session_redis(*signing_keys(config), *settings.items())


@functools.lru_cache(maxsize=64)
def _session_redis(
    secret_keys: tuple[Any, ...], serializer: Serializer, *items: tuple[str, Any]
) -> SessionRedis:
    """Make the Redis of a configuration by its values; last those of the section."""
    settings = dict(items)
    values = signed_values("redis:session", secret_keys, serializer)
    server = server_of(settings)
    return SessionRedis(server, settings["key_prefix"], *values, settings["namespace"])


class SessionRedis(SignedRecords):
    """Records in Redis, one string under one key each, so that a cluster needs no hash tags.

    Redis drops nothing of itself but what has expired, unless it is told to evict. So a record that
    is missing has been deleted, and is not stored again.

    :param server: where they are.
    :param key_prefix: begins each key.
    :param values: makes and checks the values.
    :param sessions: makes and checks the values that are sessions.
    :param namespace: the configured one, ``None`` for the current one.
    """

    backend = "redis"

    def __init__(
        self,
        server: Redis,
        key_prefix: str,
        values: SignedValues,
        sessions: SignedValues,
        namespace: str | None = None,
    ) -> None:
        super().__init__(key_prefix, values, sessions)
        self.server: Redis = server
        self.namespace = namespace

    def address(self, key: bytes) -> str:
        """Return how errors name the server."""
        return self.server.address

    def get(self, key: bytes) -> bytes | None:
        """Return a record, ``None`` if there is none."""
        data = self.server.get(key)
        if data is not None and type(data) is not bytes:
            problem = f"the server returned {type(data).__name__} and not the bytes that are stored"
            raise BackendError("redis", self.server.address, problem)
        return data

    def gets(self, key: bytes) -> tuple[bytes | None, bytes | None]:
        """Return a record and its token; ``None`` if there is none."""
        data = self.get(key)
        return data, None if data is None else self.token_of(data)

    def token_of(self, data: bytes) -> bytes:
        """Return the token of a record."""
        return data[:_TOKEN_SIZE]

    def absent(self, key: bytes) -> None:
        """Return the token of nothing."""

    def fill(self, key: bytes, data: bytes, token: bytes | None, lifetime: float | None) -> bool:
        """Store a record if the token still holds; whether it was stored."""
        if token is None:
            return self._set(IF_UNSENT, key, data, lifetime, "NX")
        return self.server.compare_and_set(key, token, data, milliseconds(lifetime))

    def set(self, key: bytes, data: bytes, lifetime: float | None) -> None:
        """Store a record, whatever is there."""
        if not self._set(IF_CLOSED, key, data, lifetime):
            text = "the server did not store the session"
            raise BackendError("redis", self.server.address, text)

    def replace(self, key: bytes, data: bytes, lifetime: float | None) -> bool:
        """Store a record where there is one; whether it was stored."""
        return self._set(IF_CLOSED, key, data, lifetime, "XX")

    def _set(
        self, resend: int, key: bytes, data: bytes, lifetime: float | None, *condition: str
    ) -> bool:
        expiry = milliseconds(lifetime)
        expires = () if expiry is None else ("PX", expiry)
        answer = self.server.call(resend, "SET", key, data, *expires, *condition)
        return answer is not None and self._checked(answer, b"OK", "OK", True)

    def touch(self, key: bytes, lifetime: float | None) -> bool:
        """Give a record another lifetime; whether there is one."""
        expiry = milliseconds(lifetime)
        if expiry is not None:
            return bool(self.server.call(IF_SILENT, "PEXPIRE", key, expiry))
        self.server.call(IF_SILENT, "PERSIST", key)
        return bool(self.server.call(IF_SILENT, "EXISTS", key))

    def revoke(self, key: bytes, superseded_at: float = 0) -> bool:
        """Delete a record for good; whether this was the first call to do so.

        :param superseded_at: when the session got another id, in Unix seconds, if it did.
        :raises BackendError: it is not certain that it is gone.
        """
        if superseded_at:
            mark, seconds = b"%d" % superseded_at, _SUPERSEDED_SECONDS
            # The first one counts: a late request may give an id another one that had ended before.
            self.server.call(IF_SILENT, "SET", key + _SUPERSEDED, mark, "EX", seconds, "NX")
        return self._take_away(key)

    def _take_away(self, key: bytes) -> bool:
        # After a lost answer another try would count as the second.
        answer = self.server.call(IF_UNSENT, "DEL", key)
        return answer != 0 and self._checked(answer, 1)

    def _checked(self, answer: Any, *expected: Any) -> bool:
        """Return true if an answer tells that a command was carried out.

        :param expected: what Redis answers; clients of redis-py make other values of some.
        :raises BackendError: it is another answer, as within a transaction or by a faulty proxy.
        """
        if answer not in expected:
            raise BackendError("redis", self.server.address, "the answer is none to the command")
        return True

    def superseded_at(self, key: bytes) -> int | None:
        """Return when a session got another id, in Unix seconds; ``None`` if it did not."""
        mark = self.get(key + _SUPERSEDED)
        return int(mark) if mark is not None and mark.isdigit() and len(mark) < 15 else None

    def is_revoked(self, key: bytes) -> bool:
        """Return whether the server still knows that a session has got another id.

        Of one that was destroyed nothing is left.
        """
        return self.superseded_at(key) is not None

    def is_gone(self, key: bytes) -> bool:
        """Return true: a record that was there, and is not, has been deleted."""
        return True

    def discard_if_revoked(self, key: bytes) -> bool:
        """Return false: no record is stored again."""
        return False

    def times(self, key: bytes) -> dict[str, int]:
        """Return ``expires_in`` and ``idle`` of a record in seconds, as far as the server tells."""
        found: dict[str, int] = {}
        # The user may have no right to ask; and one that evicts what is used least often knows no
        # times of use.
        with contextlib.suppress(BackendError):
            left = self.server.call(IF_SILENT, "PTTL", key)
            if left != -2:
                found["expires_in"] = -1 if left == -1 else left // 1000
                found["idle"] = self.server.call(IF_SILENT, "OBJECT", "IDLETIME", key)
        return found
