"""A cache in front of records, such that the two agree whoever reads and writes at once."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from webapp2_sessions.errors import BackendError, BackendUnavailable, StaleCache
from webapp2_sessions.sessions import events

__all__ = ["CacheStore", "CoherentCache", "Token"]

#: Replaces an entry of which nobody can tell whether it is the last write. The next reader reads
#: the record and replaces it, if it is still there.
_STALE = b""

#: The record was deleted, or nobody knows yet what becomes of it. Nothing replaces a tombstone.
#:
#: Both live as long as an entry may: what is on its way to the store, for however long, does not
#: find the place empty.
_TOMBSTONE = b"closed"

#: How often an entry is tried to be marked stale where others store something at each try.
_TRIES = 5

#: Seconds after which a reader does not fill a miss: meanwhile an entry may have come and gone.
_LONGEST_FILL = 1.0

#: Longest lifetime of an entry in seconds. An entry is read until then if its writer did not reach
#: the store or died on the way; a refill costs one read of the record.
_LONGEST_LIFETIME = 3600


class Token(NamedTuple):
    """Tells what was there when it was given: an entry in one state, or nothing."""

    #: What the server compares, ``None`` for nothing.
    cas: Any
    #: The server of the entry. Its ``lost`` changes whenever it may have lost its entries.
    server: Any
    #: What that was. Once it has changed, tombstones are gone, and what the server compares may be
    #: that of another entry.
    lost: object


class CacheStore(Protocol):
    """Where entries are kept: anything that can compare and set.

    Keys come from :meth:`key`. Each method that asks the server raises a
    :class:`~webapp2_sessions.errors.BackendError` if that fails.
    """

    #: The keyword by which errors name it.
    backend: str

    def key(self, name: str) -> bytes:
        """Return the key of an entry."""

    def address(self, key: bytes) -> str:
        """Return the address of the server of a key, for errors."""

    def absent(self, key: bytes) -> Token:
        """Return the token of nothing, after :meth:`get` has found nothing."""

    def encode(self, key: bytes, value: Any) -> bytes:
        """Return a value as an entry, which is neither empty nor a tombstone."""

    def decode(self, key: bytes, data: bytes | None) -> Any:
        """Return the value of an entry, ``None`` if we did not write it."""

    def get(self, key: bytes) -> bytes | None:
        """Return an entry."""

    def gets(self, key: bytes) -> tuple[bytes | None, Token]:
        """Return what is there, and its token."""

    def fill(self, key: bytes, data: bytes, token: Token, lifetime: float) -> bool:
        """Store an entry if the token still holds; whether it was stored."""

    def set(self, key: bytes, data: bytes, lifetime: float) -> None:
        """Store an entry, whatever is there."""

    def drop(self, key: bytes) -> None:
        """Delete an entry."""

    def set_noreply(self, key: bytes, data: bytes, lifetime: float) -> None:
        """Fire and forget an entry; a paused server applies it when it resumes."""


@dataclasses.dataclass
class CoherentCache:
    """Reads and writes records through a cache.

    Whoever stores an entry first takes the token of what is there, then reads or writes the record,
    and replaces what is there only if the token still holds; or fills a miss if it is still one. A
    writer that comes second marks the entry stale; one that deletes the record, or does not learn
    whether it was written, leaves a tombstone.

    A failure of the cache is no error where a record is read or written: the record itself is. It
    is one where a record is deleted, and the cache may hand it out all the same.
    """

    #: Where the entries are.
    store: CacheStore
    #: The session configuration, whose ``on_event`` is told of hits, misses and failures.
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def read(
        self,
        name: str,
        load: Callable[[], Any],
        lifetime: float | None = None,
    ) -> Any:
        """Return the entry, or else what ``load()`` returns; ``None`` is not cached.

        :param lifetime: seconds for which a filled entry may stay, ``None`` for an hour.
        """
        key = self.store.key(name)
        started, told_from = self._now(), events.start(self.config)
        try:
            cached = self.store.get(key)
            value = self.store.decode(key, cached)
        except BackendError as error:
            events.tell_error(self.config, error)
            return load()
        if value is not None:
            size = len(cached or b"")
            events.tell(self.config, "cache_hit", self.store.backend, told_from, size=size)
            return value
        events.tell(self.config, "cache_miss", self.store.backend, told_from)
        if cached is None:
            token: Token | None = self.store.absent(key)
        else:
            token = self._token_of_stale(key, cached)
        value = load()
        if value is not None:
            self._fill(key, value, lifetime, token, started)
        return value

    def write(
        self,
        name: str,
        store: Callable[[], Any],
        lifetime: float | None,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        """Write the record by ``store()``, then the entry with what that returned.

        :param refusals: what ``store()`` raises when it is certain that it has written nothing.
        :raises Exception: whatever ``store()`` raises; readers then see the record as it is.
        """
        key = self.store.key(name)
        started = self._now()
        token: Token | None
        try:
            cached, token = self.store.gets(key)
        except BackendError as error:
            events.tell_error(self.config, error)
            cached = token = None
        if cached == _TOMBSTONE:
            token = None
        try:
            value = store()
        except refusals:
            self._mark_stale(key)
            raise
        except BaseException:
            self._try_to_bury(key)
            raise
        if not self._fill(key, value, lifetime, token, started):
            self._mark_stale(key)

    def delete(self, name: str, delete: Callable[[], None]) -> None:
        """Delete the record by ``delete()``, and the entry.

        :raises StaleCache: the record is deleted, and the cache may hand it out for up to an hour,
            since it could not be told.
        :raises Exception: whatever ``delete()`` raises; readers then see the record as it is.
        """
        key = self.store.key(name)
        # Before it, so that the entry has gone if this process dies on the way ...
        with contextlib.suppress(BackendError):
            self.store.set(key, _TOMBSTONE, _LONGEST_LIFETIME)
        try:
            delete()
        except BaseException:
            self._try_to_bury(key)
            raise
        # ... and after it, since the store may have lost that and been filled meanwhile.
        try:
            self._bury(key)
        except BackendError as error:
            raise StaleCache(
                self.store.backend,
                self.store.address(key),
                "a session is deleted, but the cache could not be told, and may hand it out for "
                "up to an hour",
            ) from error

    def forget(self, name: str) -> None:
        """Leave a tombstone after the record was deleted; else the entry stays until it expires."""
        with contextlib.suppress(BackendError):
            self.store.set(self.store.key(name), _TOMBSTONE, _LONGEST_LIFETIME)

    def _token_of_stale(self, key: bytes, cached: bytes) -> Token | None:
        """Return the token of a stale entry; readers must not replace any other."""
        if cached == _STALE:
            with contextlib.suppress(BackendError):
                cached_now, token = self.store.gets(key)
                if cached_now in (_STALE, None):
                    return token
        return None

    def _fill(
        self, key: bytes, value: Any, lifetime: float | None, token: Token | None, started: float
    ) -> bool:
        """Store an entry in place of what was there before; whether it was stored.

        :param token: of what was there; ``None`` if that must not be replaced.
        :param started: when it was looked at, at the earliest; in seconds of a monotonic clock.
        """
        if token is None:
            return False
        if token.cas is None and self._now() - started >= _LONGEST_FILL:
            return False
        data = self.store.encode(key, value)
        seconds = _LONGEST_LIFETIME if lifetime is None else min(lifetime, _LONGEST_LIFETIME)
        try:
            is_stored = self.store.fill(key, data, token, seconds)
            if is_stored and token.server.lost != token.lost:
                self._bury(key)
        except BackendError as error:
            # One that can be read and not written, as a replica, would not be noticed otherwise.
            events.tell_error(self.config, error)
            return False
        return is_stored

    def _mark_stale(self, key: bytes) -> None:
        """Mark whatever is there as stale, unless it is a tombstone."""
        with contextlib.suppress(BackendError):
            for _ in range(_TRIES):  # another request may write in between
                cached, token = self.store.gets(key)
                if cached == _TOMBSTONE or self.store.fill(key, _STALE, token, _LONGEST_LIFETIME):
                    return
        self._try_to_bury(key)

    def _try_to_bury(self, key: bytes) -> None:
        """Leave a tombstone; where that fails, the entry lives as long as it was given."""
        with contextlib.suppress(BackendError):
            self._bury(key)

    def _bury(self, key: bytes) -> None:
        """Leave a tombstone; a paused server finds it when it resumes.

        Where it is refused, as by a server that is full, the entry goes, unless it is one already.

        :raises BackendError: it could not even be sent, or the entry stays.
        """
        try:
            self.store.set(key, _TOMBSTONE, _LONGEST_LIFETIME)
        except BackendUnavailable:
            self.store.set_noreply(key, _TOMBSTONE, _LONGEST_LIFETIME)
        except BackendError:
            if self.store.get(key) != _TOMBSTONE:
                self.store.drop(key)
            self.store.set_noreply(key, _TOMBSTONE, _LONGEST_LIFETIME)  # it may have room now

    _now = staticmethod(time.monotonic)
