"""Direct access to memcached, bypassing the package under test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pymemcache.client.base import Client

from support.servers import Memcached

__all__ = ["Entries", "entries_of"]


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
