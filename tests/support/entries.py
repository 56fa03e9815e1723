"""Direct access to what servers hold, bypassing the package under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from pymemcache.client.base import Client

from support.servers import Memcached, Redis

__all__ = ["Entries", "RedisEntries", "entries_of", "redis_entries_of"]

#: Bytes before each entry of a cache in Redis, which tell it from any other.
_NONCE_SIZE = 16


class Entries:
    """The entries of a memcached as they are."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, key: bytes) -> bytes | None:
        """Return the value of an entry; None when there is none."""
        value: bytes | None = self._client.get(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Store an entry that does not expire."""
        self._client.set(key, value)

    def drop(self, key: bytes) -> None:
        """Remove an entry, as an eviction would."""
        self._client.delete(key)

    def expire(self, key: bytes, seconds: int) -> None:
        """Let an entry live for so many seconds from now on; 0 for ever."""
        self._client.touch(key, seconds)

    def seconds_left(self, key: bytes) -> int | None:
        """Return the seconds until an entry expires: -1 for never, None when there is no entry."""
        answer = self._client.raw_command(b"mg " + key + b" t").split()
        return int(answer[1][1:]) if answer[0] == b"HD" else None

    def counted(self, *counters: str) -> int:
        """Return the sum of some of the server's counters, for instance `cmd_get` and `cmd_set`."""
        statistics = self._client.stats()
        return sum(int(statistics[name.encode()]) for name in counters)


@contextmanager
def entries_of(server: Memcached) -> Iterator[Entries]:
    """Connect to a server for the time of the block."""
    client = Client(server.address, timeout=10, default_noreply=False)
    try:
        yield Entries(client)
    finally:
        client.close()


class RedisEntries:
    """The entries of a cache in Redis as they are, without what tells each from any other."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        process = client.info("server")["run_id"] + client.info("replication")["master_replid"]
        self._process = process.encode("ascii")

    def get(self, key: bytes) -> bytes | None:
        """Return the value of an entry; None when there is none."""
        value: bytes | None = self._client.get(self._key(key))
        return None if value is None else value[_NONCE_SIZE:]

    def drop(self, key: bytes) -> None:
        """Remove an entry, as an eviction would."""
        self._client.delete(self._key(key))

    def seconds_left(self, key: bytes) -> int | None:
        """Return the seconds until an entry expires: -1 for never, None when there is no entry."""
        seconds: int = self._client.ttl(self._key(key))
        return None if seconds == -2 else seconds

    def _key(self, key: bytes) -> bytes:
        return self._process + b":" + key


@contextmanager
def redis_entries_of(server: Redis) -> Iterator[RedisEntries]:
    """Connect to a server for the time of the block."""
    with redis.Redis(port=server.port, socket_timeout=10) as client:
        yield RedisEntries(client)
