"""memcached as a place for session data: keys, signed values, expiry and errors."""

from __future__ import annotations

import functools
import hashlib
import math
import re
import time
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.clients import ClientRegistry
from webapp2_sessions.config import memcache_settings
from webapp2_sessions.errors import (
    BackendError,
    BackendUnavailable,
    BadSignature,
    ConfigError,
    MissingDependency,
    SessionTooLarge,
    UnreadableSession,
)
from webapp2_sessions.keys import derive_key
from webapp2_sessions.serializers import SignedPickles

try:
    from pymemcache.client.base import PooledClient
    from pymemcache.exceptions import (
        MemcacheError,
        MemcacheServerError,
        MemcacheUnexpectedCloseError,
    )
except ImportError as error:
    raise MissingDependency("pymemcache", "memcache") from error

__all__ = ["SessionMemcached", "expiry", "session_memcached"]

#: memcached takes a larger expiry for a point in time (protocol.txt, "Expiration times").
_LONGEST_RELATIVE_EXPIRY = 30 * 24 * 3600
#: memcached keeps expiry times as 32-bit integers.
_LATEST_EXPIRY = 2**31 - 1
#: Connections that a restarted server may have left in the pool; each fails once.
_STALE_CONNECTIONS = 100

#: A value of so many bytes fits unless a server is configured with smaller items than the default.
_ALWAYS_FITS = 1_000_000
#: Item size of a server that does not tell it (memcached's default, option -I).
_DEFAULT_ITEM_SIZE = 1024 * 1024
#: What an item's key (250 at most) and memcached's own fields take of it.
_ITEM_OVERHEAD = 512

_SAFE_NAME = re.compile(r"[!-~]{1,90}\Z")

_clients: ClientRegistry[PooledClient] = ClientRegistry()


def expiry(lifetime: float | None) -> int:
    """Return what memcached is told for a lifetime in seconds; ``None`` and too long mean never.

    One second is added, because memcached's clock ticks in whole seconds and an entry must not
    go before its session.
    """
    now = int(time.time())
    if lifetime is None or lifetime >= _LATEST_EXPIRY - now:
        return 0
    seconds = math.ceil(max(1, lifetime)) + 1
    return now + seconds if seconds > _LONGEST_RELATIVE_EXPIRY else seconds


def session_memcached(config: Mapping[str, Any], purpose: str) -> SessionMemcached:
    """Return the memcached of a session configuration, for values of one purpose.

    :param config: a session configuration.
    :param purpose: e.g. ``"memcache"``; values of one purpose are no values of another.
    :raises ConfigError: it has no ``secret_key``.
    """
    settings = memcache_settings(config)
    secret_key = config.get("secret_key")
    if not secret_key:
        raise ConfigError("secret_key", "is missing, and values in memcached are signed with it")
    return _session_memcached(
        secret_key,
        settings["servers"][0],
        settings["key_prefix"],
        settings["timeout"],
        purpose,
    )


@functools.lru_cache(maxsize=64)
def _session_memcached(
    secret_key: str | bytes, server: str, key_prefix: str, timeout: float, purpose: str
) -> SessionMemcached:
    key = derive_key(secret_key, f"memcached:{purpose}")
    return SessionMemcached(server, timeout, key_prefix, SignedPickles(key))


class SessionMemcached:
    """Session data in one memcached server, each record under a prefixed key and signed.

    :param server: ``"host:port"`` or ``"unix:/path"``.
    :param timeout: seconds for connecting and for each answer.
    :param key_prefix: begins each key.
    :param pickles: makes and checks the values.
    """

    def __init__(
        self, server: str, timeout: float, key_prefix: str, pickles: SignedPickles
    ) -> None:
        #: Where the server is.
        self.address = server
        self._timeout = timeout
        self._key_prefix = key_prefix.encode("ascii")
        self._pickles = pickles

    def key(self, name: str) -> bytes:
        """Return the memcached key of a record; a name that memcached refuses is hashed."""
        if not _SAFE_NAME.match(name):
            name = "sha256:" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return self._key_prefix + name.encode("ascii")

    def get(self, name: str) -> Any:
        """Return a record, ``None`` if there is none that we wrote.

        :raises BackendError: the server failed, or the record cannot be unpickled.
        """
        key = self.key(name)
        return self.decode(key, self.call("get", key))

    def set(self, name: str, value: Any, lifetime: float | None) -> None:
        """Write a record.

        :param lifetime: seconds after which it may go, ``None`` for never.
        :raises SessionTooLarge: the server would not take it, and would drop the stored one.
        :raises BackendError: it is not certain that the record is written.
        """
        key = self.key(name)
        data = self.encode(key, value)
        if len(data) > _ALWAYS_FITS:
            self._check_size(len(data))
        if not self.call("set", key, data, expiry(lifetime)):
            raise BackendError("memcache", self.address, "the server did not store the session")

    def _check_size(self, size: int) -> None:
        settings = self.call("stats", "settings")
        limit = settings.get(b"item_size_max", _DEFAULT_ITEM_SIZE) - _ITEM_OVERHEAD
        if size > limit:
            raise SessionTooLarge("memcache", self.address, size, limit)

    def encode(self, key: bytes, value: Any) -> bytes:
        """Return a record's value as it is stored under ``key``."""
        return self._pickles.dumps(key, value)

    def decode(self, key: bytes, data: bytes | None) -> Any:
        """Return what is stored under ``key``, ``None`` if that is nothing of ours.

        :raises UnreadableSession: we wrote it, and it cannot be unpickled here.
        """
        if data is None:
            return None
        try:
            return self._pickles.loads(key, data)
        except BadSignature:
            return None
        except Exception as error:
            raise UnreadableSession(
                "memcache",
                self.address,
                f"a stored session cannot be unpickled ({type(error).__name__})",
            ) from error

    def call(self, operation: str, *args: Any) -> Any:
        """Call a method of the client, with a bounded wait.

        Connections that the server has closed, as it does when it restarts, are replaced.

        :raises BackendUnavailable: the server refused, was silent or went away.
        :raises BackendError: the server answered with an error.
        """
        client = _clients.get((self.address, self._timeout), self._connect)
        method = getattr(client, operation)
        for _ in range(_STALE_CONNECTIONS):
            try:
                return method(*args)
            except ConnectionRefusedError as error:
                raise self._unavailable("refused the connection") from error
            except (ConnectionError, MemcacheUnexpectedCloseError) as error:
                closed = error
            except TimeoutError as error:
                raise self._unavailable(f"did not answer within {self._timeout} s") from error
            except OSError as error:
                raise self._unavailable(f"cannot be reached ({type(error).__name__})") from error
            except MemcacheError as error:
                raise BackendError(
                    "memcache", self.address, f"the server refused ({_reason(error)})"
                ) from error
        raise self._unavailable("closes every connection") from closed

    def _connect(self) -> PooledClient:
        return PooledClient(
            self.address,
            connect_timeout=self._timeout,
            timeout=self._timeout,
            no_delay=True,
            # With noreply, pymemcache's default, a write that did not happen counts as done.
            default_noreply=False,
        )

    def _unavailable(self, problem: str) -> BackendUnavailable:
        return BackendUnavailable("memcache", self.address, f"the server {problem}")


def _reason(error: MemcacheError) -> str:
    """What an error says; only the server's own words are known to hold no key."""
    words = error.args[0] if isinstance(error, MemcacheServerError) and error.args else None
    return words.decode("ascii", "replace") if isinstance(words, bytes) else type(error).__name__
