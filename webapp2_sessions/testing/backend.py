"""A server-side backend for tests, without a server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from webapp2_sessions.config import CONFIG_KEY
from webapp2_sessions.config.loading import backend_config, load_config
from webapp2_sessions.errors import SessionTooLarge, UnreadableSession
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.serializers import (
    OWN_PROTOCOL,
    SHARED_PROTOCOL,
    Serializer,
    undecodable,
)
from webapp2_sessions.testing.apps import webapp_of
from webapp2_sessions.testing.memory import ADDRESS, Memory, Record, memory_of, replaced_memory

__all__ = ["MemorySessionFactory", "memory_sessions"]


class MemorySessionFactory(StoredSessionFactory):
    """Keeps sessions in the memory of the process, each application its own.

    What other server-side backends do is done here too: values go through the configured
    serializer and come back as copies, what cannot be pickled raises, and so does a session that
    is too large; sessions expire, can be ended, and merge with ``on_conflict='merge'``.
    """

    #: How errors name the backend.
    keyword = "memory"
    #: The protocol of its pickles.
    protocol = OWN_PROTOCOL
    #: Bytes of a session at most: what fits into an item of memcached, signed.
    largest: int = 1024 * 1024 - 512 - 33

    def _read(self, sid: str) -> dict[Any, Any] | None:
        record = self._memory().read((self.keyword, sid))
        if record is None:
            return None
        self._note_max_age(record.own_max_age)
        data: dict[Any, Any] = self._decode(record.encoded)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        def may_write(_: Record | None, is_ended: bool) -> bool:
            return not (self._is_stored and is_ended)  # one that has expired is stored again

        return self._store(sid, data, lifetime, may_write) is not None

    def _delete(self, sid: str) -> bool:
        return self._memory().end((self.keyword, sid))

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        return self._memory().touch((self.keyword, sid), lifetime)

    def _read_version(self, sid: str) -> Version | None:
        key, memory = (self.keyword, sid), self._memory()
        record = memory.read(key)
        if record is None:
            return None if self._is_stored and memory.is_ended(key) else Version(NEW, dict)
        self._note_max_age(record.own_max_age)
        return self._version(record)

    def _supersede(self, sid: str) -> bool:
        return self._memory().end((self.keyword, sid), is_superseded=True)

    def _superseded_at(self, sid: str) -> float | None:
        return self._memory().superseded_at((self.keyword, sid))

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        def is_unchanged(present: Record | None, is_ended: bool) -> bool:
            if token is NEW:
                return present is None and not is_ended
            return present is not None and present.version == token

        record = self._store(sid, data, lifetime, is_unchanged)
        return None if record is None else self._version(record)

    def _version(self, record: Record) -> Version:
        return Version(record.version, functools.partial(self._decode, record.encoded))

    def _store(
        self,
        sid: str,
        data: dict[Any, Any],
        lifetime: float | None,
        may_write: Callable[[Record | None, bool], bool],
    ) -> Record | None:
        serializer = self._serializer()
        encoded = serializer.dumps(data)
        size = len(serializer.dumps(self._measured(data)))
        if size > self.largest:
            largest = largest_keys(data, serializer.dumps)
            raise SessionTooLarge(self.keyword, ADDRESS, size, self.largest, largest)
        key = (self.keyword, sid)
        return self._memory().write(
            key, encoded, serializer.loads, lifetime, may_write, self.own_max_age
        )

    def _measured(self, data: dict[Any, Any]) -> Any:
        """What the server would store, of which the size counts."""
        return [data, self.own_max_age]

    def _decode(self, encoded: bytes) -> Any:
        try:
            return self._serializer().loads(encoded)
        except Exception as error:
            raise UnreadableSession(self.keyword, ADDRESS, undecodable(error)) from error

    def _serializer(self) -> Serializer:
        return Serializer.of(backend_config(self.session_store), self.protocol)

    def _memory(self) -> Memory:
        return memory_of(self.session_store.request.app)

    def _place(self) -> tuple[str, str]:
        return self.keyword, ADDRESS


class _MemoryForMemcache(MemorySessionFactory):
    """In place of memcached."""

    keyword = "memcache"


class _MemoryForDatastore(MemorySessionFactory):
    """In place of Datastore: with its limit, and pickles that Python 2 could read."""

    keyword = "datastore"
    protocol = SHARED_PROTOCOL
    largest = 1_048_400

    def _measured(self, data: dict[Any, Any]) -> Any:
        return data


_IN_PLACE_OF: dict[str, type[MemorySessionFactory]] = {
    each.keyword: each for each in (_MemoryForMemcache, _MemoryForDatastore)
}


@contextmanager
def memory_sessions(app: Any, *keywords: str) -> Iterator[Memory]:
    """Let an application keep in memory what it keeps on servers, until the block ends.

    Its handlers and its configuration stay as they are; neither the servers nor their libraries
    are needed. At first there are no sessions, and none are left afterwards.

    :param app: the application, or what wraps it: middleware, a test client.
    :param keywords: of the backends; by default ``"memcache"`` and ``"datastore"``.
    """
    backends = load_config(webapp_of(app), CONFIG_KEY, None)["backends"]
    before = dict(backends)
    with replaced_memory(app) as memory:
        for keyword in keywords or _IN_PLACE_OF:
            backends[keyword] = _IN_PLACE_OF.get(keyword) or _named(keyword)
        try:
            yield memory
        finally:
            backends.clear()
            backends.update(before)


def _named(keyword: str) -> type[MemorySessionFactory]:
    return type("MemorySessionFactory", (MemorySessionFactory,), {"keyword": keyword})
