"""Stores under test: backends with their servers, and checks of the stored data."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

from support import entities
from support.entries import entries_of
from support.servers import PROJECT, Memcached
from support.visits import Visitor, make_app

__all__ = ["CachedDatastore", "StoreUnderTest"]

#: Values in the cache that are no entry: the reader has to ask Datastore.
_MARKS = (b"", b"closed")

#: Before the pickle, a value in memcached has a format byte and a signature of 32 bytes.
_SIGNATURE_ENDS = 33


class StoreUnderTest:
    """A backend with its servers.

    :param backend: its keyword.
    :param config: the session configuration.
    """

    def __init__(self, backend: str, **config: Any) -> None:
        self.backend = backend
        self.config = {"on_conflict": "merge", **config}

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables of Google's clients, for other processes."""
        names = ("DATASTORE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
        return {name: os.environ[name] for name in names if name in os.environ}

    def visitor(self, **config: Any) -> Visitor:
        """Return a visitor of an application with this backend."""
        return Visitor(make_app(**{**self.config, **config}), backend=self.backend)

    def prepare(self, visitor: Visitor, sid: str, number: int) -> None:
        """Bring the cache, if any, into one of several states."""

    def disagreement(self, sid: str, data: dict[Any, Any] | None) -> str | None:
        """Describe how the stored session differs from `data`; None if it does not.

        :param data: what a visitor has read; None if the session was destroyed.
        """
        return None


class CachedDatastore(StoreUnderTest):
    """Datastore with memcached as a cache."""

    def __init__(self, server: Memcached) -> None:
        datastore, memcache = {"cache": "memcache"}, {"servers": [server.address]}
        super().__init__("datastore", datastore=datastore, memcache=memcache)
        self._server = server

    def prepare(self, visitor: Visitor, sid: str, number: int) -> None:
        """Keep the cached entry, or drop it, or drop and refill it, by turns.

        The session must not be in use: the dropped entry may be a tombstone.
        """
        if number % 3:
            with entries_of(self._server) as entries:
                entries.drop(_cache_key(sid))
        if number % 3 == 2:
            visitor.read()

    def disagreement(self, sid: str, data: dict[Any, Any] | None) -> str | None:
        """Compare with the entity and, unless it is missing or a tombstone, the cached entry."""
        entity = entities.raw_entity(sid)
        stored = None if entity is None else pickle.loads(entity.properties["data"].blob_value)
        if stored != data:
            return f"Datastore has {stored}, a visitor sees {data}"
        with entries_of(self._server) as entries:
            cached = entries.get(_cache_key(sid))
        if cached in (None, *_MARKS):
            return None
        entry = pickle.loads(cached[_SIGNATURE_ENDS:])["data"]
        return None if entry == stored else f"the cache has {entry}, Datastore {stored}"


def _cache_key(sid: str) -> bytes:
    return f"session:{PROJECT}///Session/{sid}".encode("ascii")
