"""memcached in front of Datastore, such that the two agree whoever reads and writes at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from webapp2_sessions.errors import BackendError, StaleCache
from webapp2_sessions.sessions_memcache.records import SessionMemcached, expiry

__all__ = ["CoherentCache"]

#: A mark: the cache cannot tell which write was the last. The next reader reads the record and
#: replaces the mark, if it still stands there.
_MARK = b""

#: A tombstone: the record was deleted, or nobody knows yet what becomes of it. Nothing replaces it.
#:
#: Both live as long as an entry may: what is on its way to memcached, for however long, does not
#: find the place empty.
_TOMBSTONE = b"closed"

#: How often a mark is tried where others store something at each try.
_MARKING_TRIES = 5

#: Who took longer does not fill an absent entry: meanwhile an entry may have come and gone.
_LONGEST_FILL = 1.0

#: Stands for the token of an entry that is not to be replaced.
_UNKNOWN = object()

#: Longest life of an entry in seconds. One that a writer could not replace, because it did not
#: reach memcached or died on the way, is read until then; a refill costs one read of Datastore.
_LONGEST_LIFETIME = 3600


class CoherentCache:
    """Reads and writes records through memcached.

    Whoever stores an entry takes memcached's token of what is there, then writes or reads the
    record, and replaces what is there only if the token still holds; or fills an absent entry if it
    is still absent. A writer that comes second leaves a mark; who deletes a record, or does not
    learn whether it was written, a tombstone.

    A cache that fails is no error where a record is read or written: the record itself is. It is
    one where a record is deleted, and the cache may hand it out all the same.

    :param memcached: where the entries are.
    """

    def __init__(self, memcached: SessionMemcached) -> None:
        self._memcached = memcached

    def read(
        self,
        name: str,
        load: Callable[[], Any],
        lifetime: float | None,
        on_hit: Callable[[Callable[[], Any]], None] | None = None,
    ) -> Any:
        """Return the entry, or else what ``load()`` returns; ``None`` is not cached.

        :param lifetime: seconds for which a filled entry may stay, ``None`` for an hour.
        :param on_hit: called, where there is an entry, with a function that decodes it once more.
        """
        key = self._memcached.key(name)
        started = self._now()
        try:
            cached = self._memcached.call("get", key)
            value = self._memcached.decode(key, cached)
        except BackendError:
            return load()
        if value is not None:
            if on_hit is not None:
                on_hit(lambda: self._memcached.decode(key, cached))
            return value
        token = None if cached is None else self._token_of_mark(key, cached)
        lost = self._memcached.lost(key)
        value = load()
        if value is not None:
            self._offer(key, value, lifetime, _Seen(token, lost, started))
        return value

    def write(
        self,
        name: str,
        store: Callable[[], Any],
        lifetime: float | None,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        """Write the record by ``store()``, which returns it as it is to be cached; then the entry.

        :param refusals: what ``store()`` raises when it is certain that it has written nothing.
        :raises Exception: whatever ``store()`` raises; readers then see the record as it is.
        """
        key = self._memcached.key(name)
        started = self._now()
        cached, token = self._look(key)
        if cached == _TOMBSTONE:
            token = _UNKNOWN
        seen = _Seen(token, self._memcached.lost(key), started)
        try:
            value = store()
        except refusals:
            self._mark(key)
            raise
        except BaseException:
            self._try_to_bury(key)
            raise
        if not self._offer(key, value, lifetime, seen):
            self._mark(key)

    def delete(self, name: str, delete: Callable[[], None]) -> None:
        """Delete the record by ``delete()``, and the entry.

        :raises StaleCache: the record is deleted, and memcached may hand it out for up to an hour,
            since it could not be told.
        :raises Exception: whatever ``delete()`` raises; readers then see the record as it is.
        """
        key = self._memcached.key(name)
        # Before it, so that the entry has gone if this process dies on the way ...
        with contextlib.suppress(BackendError):
            self._set_tombstone(key)
        try:
            delete()
        except BaseException:
            self._try_to_bury(key)
            raise
        # ... and after it, since memcached may have lost that and been filled meanwhile.
        try:
            self._bury(key)
        except BackendError as error:
            raise StaleCache(
                "memcache",
                self._memcached.address(key),
                "a session is deleted, but the cache could not be told, and may hand it out for "
                "up to an hour",
            ) from error

    def forget(self, name: str) -> bool:
        """Send readers to the record, after it was deleted.

        :returns: whether memcached did it; otherwise the entry stays until it expires.
        """
        try:
            self._set_tombstone(self._memcached.key(name))
        except BackendError:
            return False
        return True

    def _look(self, key: bytes) -> tuple[bytes | None, Any]:
        """Return what is there, and memcached's token of it; ``None`` twice for nothing."""
        try:
            return self._memcached.gets(key)
        except BackendError:
            return None, _UNKNOWN

    def _token_of_mark(self, key: bytes, cached: bytes) -> Any:
        """Return the token of a mark; an entry that is not ours is left alone."""
        if cached == _MARK:
            cached_now, token = self._look(key)
            if cached_now in (_MARK, None):
                return token
        return _UNKNOWN

    def _offer(self, key: bytes, value: Any, lifetime: float | None, seen: _Seen) -> bool:
        """Offer an entry in place of what was seen; whether it was settled."""
        token = seen.token
        if token is _UNKNOWN:
            return False
        if token is None and self._now() - seen.at >= _LONGEST_FILL:
            return False
        data = self._memcached.encode(key, value)
        try:
            if token is None:
                stored = bool(self._memcached.call("add", key, data, _expiry(lifetime)))
            else:
                stored = bool(self._memcached.cas(key, data, token, _expiry(lifetime)))
            if stored and self._memcached.lost(key) != seen.lost:
                self._bury(key)
        except BackendError:
            return False
        return stored

    def _mark(self, key: bytes) -> None:
        """Put a mark in place of whatever is there, unless that is a tombstone."""
        try:
            if any(self._try_to_mark(key) for _ in range(_MARKING_TRIES)):
                return
        except BackendError:
            pass
        self._try_to_bury(key)

    def _try_to_mark(self, key: bytes) -> bool:
        """Whether there is a mark or a tombstone now; ``False`` if others came in between."""
        cached, token = self._memcached.gets(key)
        if cached == _TOMBSTONE:
            return True
        if token is None:
            return bool(self._memcached.call("add", key, _MARK, _expiry(None)))
        return bool(self._memcached.cas(key, _MARK, token, _expiry(None)))

    def _try_to_bury(self, key: bytes) -> None:
        """As :meth:`_bury`; where that fails, the entry lives as long as it was given."""
        with contextlib.suppress(BackendError):
            self._bury(key)

    def _bury(self, key: bytes) -> None:
        """Put a tombstone in place of whatever is there.

        A server that is silent, and not gone, finds it when it goes on.

        :raises BackendError: memcached could not even be told.
        """
        try:
            self._set_tombstone(key)
        except BackendError:
            self._memcached.tell(key, _TOMBSTONE, _expiry(None))

    def _set_tombstone(self, key: bytes) -> None:
        self._memcached.set(key, _TOMBSTONE, _expiry(None))

    def _now(self) -> float:
        return time.monotonic()


class _Seen(NamedTuple):
    """What was there before the record was read or written."""

    #: memcached's token of it, ``None`` for nothing.
    token: Any
    #: How many connections had been lost. With one lost since, memcached may have been restarted: a
    #: tombstone is gone then, and the token may be that of another entry.
    lost: int
    #: When it was seen, at the earliest; in seconds of a monotonic clock.
    at: float


def _expiry(lifetime: float | None) -> int:
    """Return what memcached is told for an entry; with ``None`` for what must outlive any."""
    return expiry(_LONGEST_LIFETIME if lifetime is None else min(lifetime, _LONGEST_LIFETIME))
