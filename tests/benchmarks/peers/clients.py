"""The client of memcached that all use who can choose one."""

from __future__ import annotations

import pickle
from typing import Any

from pymemcache.client.base import PooledClient

__all__ = ["PickledMemcache", "client"]


def client(address: str) -> PooledClient:
    """A client that is safe in threads, bounded in time and told what became of a write."""
    return PooledClient(address, timeout=5, connect_timeout=5, no_delay=True, default_noreply=False)


class PickledMemcache:
    """The two functions of App Engine's memcache that webapp2_extras calls, by pymemcache."""

    def __init__(self, address: str) -> None:
        self._client = client(address)

    def get(self, key: str) -> Any:
        """The value, or None when there is none."""
        stored = self._client.get(key)
        return None if stored is None else pickle.loads(stored)

    def set(self, key: str, value: object) -> bool:
        """Store a value."""
        return bool(self._client.set(key, pickle.dumps(value, pickle.HIGHEST_PROTOCOL)))
