"""Where stored sessions are kept, and whether what is there agrees, seen past the package."""

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
    :param config: of the sessions that are kept there.
    """

    def __init__(self, backend: str, **config: Any) -> None:
        self.backend = backend
        self.config = {"on_conflict": "merge", **config}

    @property
    def environment(self) -> Mapping[str, str]:
        """What Google's clients of other processes need to know."""
        names = ("DATASTORE_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT")
        return {name: os.environ[name] for name in names if name in os.environ}

    def visitor(self, **config: Any) -> Visitor:
        """A visitor of an application with this backend."""
        return Visitor(make_app(**{**self.config, **config}), backend=self.backend)

    def prepare(self, visitor: Visitor, sid: str, number: int) -> None:
        """Bring a cache into one of its states."""

    def disagreement(self, sid: str, data: dict[Any, Any] | None) -> str | None:
        """What is stored of a session and is not `data`; None where all agree.

        :param data: what a visitor has read; None where the session was destroyed.
        """
        return None


class CachedDatastore(StoreUnderTest):
    """Datastore with memcached in front."""

    def __init__(self, server: Memcached) -> None:
        datastore, memcache = {"cache": "memcache"}, {"servers": [server.address]}
        super().__init__("datastore", datastore=datastore, memcache=memcache)
        self._server = server

    def prepare(self, visitor: Visitor, sid: str, number: int) -> None:
        """Leave what the last round left, or drop it, or drop it and have it filled anew.

        Nobody else may use the session meanwhile: a mark or a tombstone may be what is dropped.
        """
        if number % 3:
            with entries_of(self._server) as entries:
                entries.drop(_cache_key(sid))
        if number % 3 == 2:
            visitor.read()

    def disagreement(self, sid: str, data: dict[Any, Any] | None) -> str | None:
        """The entity has to be there with the data, the entry as well or a mark or nothing."""
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
