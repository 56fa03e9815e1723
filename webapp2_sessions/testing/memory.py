"""What a test keeps in place of a server: sessions as bytes, until they expire or fail."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from webapp2_sessions.errors import BackendUnavailable
from webapp2_sessions.testing.apps import webapp_of
from webapp2_sessions.testing.clock import now

__all__ = ["ADDRESS", "Memory", "Record", "memory_of", "replaced_memory"]

#: Key of an application's registry, under which its memory is.
_MEMORY = "webapp2_sessions.testing.memory"

#: How errors name the place, where another backend has a server's address.
ADDRESS = "the memory of a test"

#: Of all memories, held for moments. A fork waits for it, so that no child inherits it locked.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )

#: Which kind of session, by the backend's keyword, and its id.
Key = tuple[str, str]


class Record(NamedTuple):
    """A session as a server has it."""

    encoded: bytes
    loads: Callable[[bytes], Any]
    #: When nobody can ask for it any more, in Unix seconds; ``None`` if that is unknown.
    expires: float | None
    #: Another one after each write.
    version: int
    #: The session's own age in seconds, if it has one.
    own_max_age: int | None = None


class Memory:
    """What an application's :class:`MemorySessionFactory` keeps."""

    def __init__(self) -> None:
        self._records: dict[Key, Record] = {}
        #: The sessions that were ended, and when they got another id, in Unix seconds.
        self._ended: dict[Key, float | None] = {}
        self._versions = itertools.count()
        #: The outages that are going on: whether reading fails, and whether writing does.
        self._outages: list[tuple[bool, bool]] = []

    def __len__(self) -> int:
        """Return how many sessions there are, without those that have expired."""
        return len(self._living())

    def __bool__(self) -> bool:
        """Return ``True``: without sessions it is a memory as well."""
        return True

    def sessions(self) -> list[dict[Any, Any]]:
        """Return what each session holds, the one that was written first at the beginning."""
        return [record.loads(record.encoded) for record in self._living()]

    def clear(self) -> None:
        """Forget all sessions, as a server does that was restarted."""
        with _lock:
            self._records.clear()

    @contextmanager
    def unavailable(self, reads: bool = True, writes: bool = True) -> Iterator[None]:
        """Let the backend raise :class:`BackendUnavailable` until the block ends.

        What is stored is there again afterwards.

        :param reads: whether loading a session fails.
        :param writes: whether saving, renewing and deleting one fails.
        """
        outage = (reads, writes)
        with _lock:
            self._outages.append(outage)
        try:
            yield
        finally:
            with _lock:
                self._outages.remove(outage)  # one of those that are alike

    def _living(self) -> list[Record]:
        with _lock:
            return [record for key in self._records if (record := self._found(key)) is not None]

    def _check(self, keyword: str, reads: bool) -> None:
        """Fail if that is wanted; ``reads`` says what is about to be done."""
        if any(outage[0 if reads else 1] for outage in self._outages):
            raise BackendUnavailable(keyword, ADDRESS, "a test has made it unavailable")

    def _found(self, key: Key) -> Record | None:
        record = self._records.get(key)
        if record is None or (record.expires is not None and now() >= record.expires):
            return None
        return record

    def read(self, key: Key) -> Record | None:
        """Return a record, ``None`` if there is none or it has expired."""
        with _lock:
            self._check(key[0], reads=True)
            return self._found(key)

    def write(
        self,
        key: Key,
        encoded: bytes,
        loads: Callable[[bytes], Any],
        lifetime: float | None,
        may_write: Callable[[Record | None, bool], bool],
        own_max_age: int | None = None,
    ) -> Record | None:
        """Store a record, if ``may_write`` of the present one and whether it was ended."""
        with _lock:
            self._check(key[0], reads=False)
            if not may_write(self._found(key), key in self._ended):
                return None
            record = Record(encoded, loads, _expires(lifetime), next(self._versions), own_max_age)
            self._records[key] = record
            return record

    def touch(self, key: Key, lifetime: float | None) -> bool:
        """Let a record live on; whether there is one."""
        with _lock:
            self._check(key[0], reads=False)
            record = self._found(key)
            if record is not None:
                self._records[key] = record._replace(expires=_expires(lifetime))
            return record is not None

    def end(self, key: Key, is_superseded: bool = False) -> bool:
        """Delete a record; whether nobody has done so before."""
        with _lock:
            self._check(key[0], reads=False)
            self._records.pop(key, None)
            is_first = key not in self._ended
            self._ended.setdefault(key, now() if is_superseded else None)
            return is_first

    def superseded_at(self, key: Key) -> float | None:
        """Return when a session got another id, in Unix seconds."""
        with _lock:
            self._check(key[0], reads=True)
            return self._ended.get(key)

    def is_ended(self, key: Key) -> bool:
        """Whether a record that is not there was deleted."""
        return key in self._ended


def _expires(lifetime: float | None) -> float | None:
    # One second more, because cookies count whole ones and a record must not go before its cookie.
    return None if lifetime is None else now() + lifetime + 1


def memory_of(app: Any) -> Memory:
    """Return where an application keeps its sessions in memory.

    :param app: the application, or what wraps it: middleware, a test client.
    """
    memory: Memory = webapp_of(app).registry.setdefault(_MEMORY, Memory())
    return memory


@contextmanager
def replaced_memory(app: Any) -> Iterator[Memory]:
    """Give an application an empty memory until the block ends, and its former one afterwards."""
    registry = webapp_of(app).registry
    before = registry.pop(_MEMORY, None)
    try:
        yield memory_of(app)
    finally:
        del registry[_MEMORY]
        if before is not None:
            registry[_MEMORY] = before
