"""Sessions in memory, in place of a server."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from webapp2_sessions.config import CONFIG_KEY
from webapp2_sessions.config.loading import backend_config, load_config
from webapp2_sessions.errors import BackendUnavailable, SessionTooLarge, UnreadableSession
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.stored.factory import Noted, Stored, StoredSessionFactory
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.serializers import (
    OWN_PROTOCOL,
    SHARED_PROTOCOL,
    Serializer,
    undecodable,
)
from webapp2_sessions.testing.client import webapp_of
from webapp2_sessions.testing.clock import now

#: Key of an application's registry, under which its memory is.
_MEMORY = "webapp2_sessions.testing.memory"

#: Stands for a server's address in errors.
ADDRESS = "the memory of a test"

#: Guards all memories, for moments. A fork waits for it, so that no child inherits it locked.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )

#: The backend's keyword and the session's id.
Key = tuple[str, str]


class Record(NamedTuple):
    """A stored session."""

    encoded: bytes
    loads: Callable[[bytes], Any]
    #: When it expires, in Unix seconds; ``None`` if unknown.
    expires: float | None
    #: Another object after each write.
    version: object
    #: The lifetime in seconds that ``set_max_age()`` gave the session.
    own_max_age: int | None = None
    #: What is known of the session's user, ``None`` if nobody is signed in.
    details: dict[str, Any] | None = None


class Memory:
    """The sessions of an application with :class:`MemorySessionFactory`."""

    def __init__(self) -> None:
        #: Since when users must have signed in, in Unix milliseconds.
        self.moments: dict[str, int] = {}
        self._records: dict[Key, Record] = {}
        #: Tombstones of revoked sessions, with the time if they got another id, in Unix seconds.
        self._revoked: dict[Key, float | None] = {}
        #: Outages at present: whether reads fail, and whether writes do.
        self._outages: list[tuple[bool, bool]] = []

    def __len__(self) -> int:
        """Return the number of sessions that have not expired."""
        return len(self._living())

    def __bool__(self) -> bool:
        """Return ``True``, without sessions too."""
        return True

    def sessions(self) -> list[dict[Any, Any]]:
        """Return the data of each session, in the order of their first writes."""
        return [record.loads(record.encoded) for record in self._living()]

    def clear(self) -> None:
        """Drop all sessions, as a restarted server does."""
        with _lock:
            self._records.clear()

    @contextmanager
    def unavailable(self, reads: bool = True, writes: bool = True) -> Iterator[None]:
        """Let the backend raise :class:`BackendUnavailable` until the block ends.

        Afterwards the stored sessions are there again.

        :param reads: whether loading a session fails.
        :param writes: whether saving, refreshing and deleting one fails.
        """
        outage = (reads, writes)
        with _lock:
            self._outages.append(outage)
        try:
            yield
        finally:
            with _lock:
                self._outages.remove(outage)  # one of equal ones

    def _living(self) -> list[Record]:
        with _lock:
            return [record for key in self._records if (record := self._found(key)) is not None]

    def _check(self, keyword: str, reads: bool) -> None:
        """Raise the error of an outage, if there is one of reads, or of writes."""
        if any(outage[0 if reads else 1] for outage in self._outages):
            raise BackendUnavailable(keyword, ADDRESS, "a test has made it unavailable")

    def _found(self, key: Key) -> Record | None:
        record = self._records.get(key)
        if record is None or (record.expires is not None and now() >= record.expires):
            return None
        return record

    def read(self, key: Key) -> Record | None:
        """Return a record; ``None`` if there is none, or it has expired."""
        with _lock:
            self._check(key[0], reads=True)
            return self._found(key)

    def write(
        self, key: Key, record: Record, may_write: Callable[[Record | None, bool], bool]
    ) -> bool:
        """Store a record, if ``may_write(present_record, is_revoked)``; return whether it did."""
        with _lock:
            self._check(key[0], reads=False)
            if not may_write(self._found(key), key in self._revoked):
                return False
            self._records[key] = record
            return True

    def touch(self, key: Key, lifetime: float | None) -> bool:
        """Extend the lifetime of a record; return whether there is one."""
        with _lock:
            self._check(key[0], reads=False)
            record = self._found(key)
            if record is not None:
                self._records[key] = record._replace(expires=_expires(lifetime))
            return record is not None

    def revoke(self, key: Key, is_superseded: bool = False) -> bool:
        """Delete a record and leave a tombstone; return whether there was none before."""
        with _lock:
            self._check(key[0], reads=False)
            self._records.pop(key, None)
            is_first = key not in self._revoked
            self._revoked.setdefault(key, now() if is_superseded else None)
            return is_first

    def superseded_at(self, key: Key) -> float | None:
        """Return when a session got another id, in Unix seconds; ``None`` if it did not."""
        with _lock:
            self._check(key[0], reads=True)
            return self._revoked.get(key)

    def noted_of_user(self, keyword: str, name: str, user: str) -> list[Noted]:
        """Return the ids of a user's sessions of a name, those that were noted last first."""
        with _lock:
            self._check(keyword, reads=True)
            theirs = [
                Noted(sid, record.details["noted"][0])
                for (backend, sid), record in self._records.items()
                if backend == keyword and record.details
                if (record.details["name"], record.details["user"]) == (name, user)
            ]
        return sorted(theirs, key=lambda noted: noted.at, reverse=True)

    def is_revoked(self, key: Key) -> bool:
        """Whether there is a tombstone."""
        return key in self._revoked


def _expires(lifetime: float | None) -> float | None:
    # One second more: cookies count whole ones, and a record must not expire before its cookie.
    return None if lifetime is None else now() + lifetime + 1


def memory_of(app: Any) -> Memory:
    """Return the memory of an application.

    :param app: the application, or what wraps it: middleware, a test client.
    """
    memory: Memory = webapp_of(app).registry.setdefault(_MEMORY, Memory())
    return memory


class MemorySessionFactory(StoredSessionFactory):
    """Keeps sessions in the memory of the process, separately for each application.

    It behaves as a backend with a server: values go through the configured serializer and come
    back as copies; a value that cannot be pickled raises, and so does a session that is too large;
    sessions expire, can be revoked, and merge with ``on_conflict='merge'``.
    """

    #: The backend's name in errors.
    keyword = "memory"
    #: The memory of :func:`memory_sessions`, which works outside of requests too.
    _given_memory: Memory | None = None
    #: The pickle protocol.
    protocol = OWN_PROTOCOL
    can_list: bool = True
    #: The largest session in bytes: what fits into an item of memcached, signed.
    largest: int = 1024 * 1024 - 512 - 33
    #: Whether a server would store the lifetime of ``set_max_age()`` in the serialized value.
    _stores_age_in_value = True
    #: Whether a session that the server has lost is stored again by who has loaded it before.
    _restores = True

    def _read(self, sid: str) -> dict[Any, Any] | None:
        record = self._memory().read((self.keyword, sid))
        if record is None:
            return None
        self._note_max_age(record.own_max_age)
        self._note_details(record.details)
        data: dict[Any, Any] = self._decode(record.encoded)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        def may_write(present: Record | None, is_revoked: bool) -> bool:
            # One that the server has lost is stored again, or counts as deleted.
            return not self._is_stored or not (is_revoked if self._restores else present is None)

        return self._store(sid, data, lifetime, may_write) is not None

    def _delete(self, sid: str) -> bool:
        return self._memory().revoke((self.keyword, sid))

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        return self._memory().touch((self.keyword, sid), lifetime)

    def _read_version(self, sid: str) -> Version | None:
        key, memory = (self.keyword, sid), self._memory()
        record = memory.read(key)
        if record is None:
            is_gone = not self._restores or memory.is_revoked(key)
            return None if self._is_stored and is_gone else Version(NEW, dict)
        self._note_max_age(record.own_max_age)
        self._note_details(record.details)
        return self._version(record)

    def _noted_of_user(self, user: str) -> Iterator[Noted]:
        yield from self._memory().noted_of_user(self.keyword, str(self.name), user)

    def _look_up(self, sids: Sequence[str]) -> list[Stored | None]:
        return [*map(self._stored, sids)]

    def _stored(self, sid: str) -> Stored | None:
        record = self._memory().read((self.keyword, sid))
        try:
            return record and Stored(self._decode(record.encoded), record.details or {})
        except UnreadableSession:
            return None

    def _supersede(self, sid: str) -> bool:
        return self._memory().revoke((self.keyword, sid), is_superseded=True)

    def _superseded_at(self, sid: str) -> float | None:
        return self._memory().superseded_at((self.keyword, sid))

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        def is_unchanged(present: Record | None, is_revoked: bool) -> bool:
            if token is NEW:
                return present is None and not is_revoked
            return present is not None and present.version is token

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
        # What the server would store counts.
        measured = [data, self.own_max_age] if self._stores_age_in_value else data
        size = len(serializer.dumps(measured))
        if size > self.largest:
            largest = largest_keys(data, serializer.dumps)
            raise SessionTooLarge(self.keyword, ADDRESS, size, self.largest, largest)
        beside = self.own_max_age, self._details_to_write()
        record = Record(encoded, serializer.loads, _expires(lifetime), object(), *beside)
        return record if self._memory().write((self.keyword, sid), record, may_write) else None

    def _decode(self, encoded: bytes) -> Any:
        try:
            return self._serializer().loads(encoded)
        except Exception as error:
            raise UnreadableSession(self.keyword, ADDRESS, undecodable(error)) from error

    def _serializer(self) -> Serializer:
        return Serializer.of(backend_config(self.session_store), self.protocol)

    def _memory(self) -> Memory:
        return self._given_memory or memory_of(self.session_store.request.app)

    def _place(self) -> tuple[str, str]:
        return self.keyword, ADDRESS


class _MemoryForMemcached(MemorySessionFactory):
    """Stands in for memcached, which cannot list what it holds."""

    can_list = False


class _MemoryForDatastore(MemorySessionFactory):
    """Stands in for Datastore: with its limit, and pickles that Python 2 can read."""

    protocol = SHARED_PROTOCOL
    largest = 1_048_400
    _stores_age_in_value = False


class _MemoryForRedis(MemorySessionFactory):
    """Stands in for Redis: with its limit, and no record that is missing is stored again."""

    largest = 512 * 1024 * 1024
    _restores = False


#: What stands in for each backend.
_STANDS_IN: dict[str, type[MemorySessionFactory]] = {
    "memcache": _MemoryForMemcached,
    "redis": _MemoryForRedis,
    "datastore": _MemoryForDatastore,
}


class _Moments:
    """Since when users must have signed in, in place of a server.

    :param memory: where that is kept.
    :param keyword: the server's.
    """

    def __init__(self, memory: Memory, keyword: str) -> None:
        self._memory = memory
        self._keyword = keyword

    def here(self) -> None:
        """Return the place, of which there is only one."""

    def latest(self, place: None, users: Sequence[str]) -> int:
        """Return the latest moment of some users, in Unix milliseconds; -1 for none."""
        with _lock:
            self._memory._check(self._keyword, reads=True)
            return max(self._memory.moments.get(user, -1) for user in users)

    def set(self, place: None, user: str, moment: int) -> None:
        """Set the moment of a user, unless a later one is there."""
        with _lock:
            self._memory._check(self._keyword, reads=False)
            moments = self._memory.moments
            moments[user] = max(moment, moments.get(user, -1))


@contextmanager
def memory_sessions(app: Any, *keywords: str) -> Iterator[Memory]:
    """Let an application keep in memory what it keeps on servers, until the block ends.

    Its handlers and its configuration stay as they are; neither the servers nor their libraries
    are needed. The memory is empty at first, and goes afterwards.

    :param app: the application, or what wraps it: middleware, a test client.
    :param keywords: the backends to replace; by default ``"memcache"``, ``"redis"`` and
        ``"datastore"``.
    """
    registry = webapp_of(app).registry
    config = load_config(webapp_of(app), CONFIG_KEY, None)
    backends, revocation = config["backends"], config["revocation"]
    replaced, memory = dict(backends), registry.pop(_MEMORY, None)
    for keyword in keywords or _STANDS_IN:
        base = _STANDS_IN.get(keyword, MemorySessionFactory)
        given = {"keyword": keyword, "_given_memory": memory_of(app)}
        backends[keyword] = type("MemorySessionFactory", (base,), given)
    moments = _Moments(memory_of(app), str(revocation))
    if revocation in (keywords or _STANDS_IN):
        config["revocation"] = lambda config: moments
    try:
        yield memory_of(app)
    finally:
        config["revocation"] = revocation
        backends.clear()
        backends.update(replaced)
        del registry[_MEMORY]
        if memory is not None:
            registry[_MEMORY] = memory
