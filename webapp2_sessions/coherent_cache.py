"""memcached in front of Datastore, such that the two agree whoever reads and writes at once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

from webapp2_sessions.errors import BackendError
from webapp2_sessions.memcached import SessionMemcached, expiry

__all__ = ["CoherentCache"]

#: Stored after a write of which the cache cannot tell whether it was the last. It counts as a
#: miss that is not filled, until concurrent readers and writers are done.
_UNSETTLED = b""
_UNSETTLED_SECONDS = 3

#: Who took longer does not fill an absent entry: meanwhile a write may have come and its mark
#: gone. Less than the mark's life, which memcached cuts by up to a second.
_LONGEST_FILL = 1.0

#: Stands for the token of an entry when memcached does not answer.
_UNKNOWN = object()

#: Longest life of an entry in seconds. One that a writer could not replace, because it did not
#: reach memcached or died on the way, is read until then; a refill costs one read of Datastore.
_LONGEST_LIFETIME = 3600


class CoherentCache:
    """Reads and writes records through memcached.

    A write takes memcached's token of the entry, then writes the record, and replaces the entry
    only if the token still holds; a reader fills an absent entry only if it is still absent.
    Whoever comes second leaves a mark that sends readers to the record for a few seconds.

    A cache that fails is never an error: the record itself is read and written.

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
        :param on_hit: called, where there is an entry, with a function that decodes it anew.
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
        value = load()
        in_time = self._now() - started < _LONGEST_FILL
        if cached is None and value is not None and in_time:
            self._offer(key, value, lifetime)
        return value

    def write(self, name: str, store: Callable[[], Any], lifetime: float | None) -> None:
        """Write the record by ``store()``, which returns it as it is to be cached; then the entry.

        :raises Exception: whatever ``store()`` raises; readers then see the record as it is.
        """
        key = self._memcached.key(name)
        started = self._now()
        settled = False
        try:
            token = self._token(key)
            value = store()
            if token is not None or self._now() - started < _LONGEST_FILL:
                settled = self._offer(key, value, lifetime, token)
        finally:
            if not settled:  # also where store() failed: the record may be written all the same
                self._unsettle(key)

    def delete(self, name: str, delete: Callable[[], None]) -> None:
        """Delete the record by ``delete()``, and the entry.

        :raises Exception: whatever ``delete()`` raises; readers then see the record as it is.
        """
        try:
            delete()
        finally:
            self._unsettle(self._memcached.key(name))

    def forget(self, name: str) -> bool:
        """Send readers to the record for a few seconds, after it was deleted.

        :returns: whether memcached did it; otherwise the entry stays until it expires.
        """
        try:
            self._memcached.set(self._memcached.key(name), _UNSETTLED, _UNSETTLED_SECONDS)
        except BackendError:
            return False
        return True

    def _token(self, key: bytes) -> Any:
        """memcached's token of the entry, ``None`` if there is no entry."""
        try:
            return self._memcached.gets(key)[1]
        except BackendError:
            return _UNKNOWN

    def _offer(self, key: bytes, value: Any, lifetime: float | None, token: Any = None) -> bool:
        """Offer an entry to memcached in place of the token's; whether it was taken."""
        if token is _UNKNOWN:
            return False
        seconds = _LONGEST_LIFETIME if lifetime is None else min(lifetime, _LONGEST_LIFETIME)
        data = self._memcached.encode(key, value)
        try:
            if token is None:
                return bool(self._memcached.call("add", key, data, expiry(seconds)))
            return bool(self._memcached.cas(key, data, token, expiry(seconds)))
        except BackendError:
            return False

    def _unsettle(self, key: bytes) -> None:
        try:
            self._memcached.set(key, _UNSETTLED, _UNSETTLED_SECONDS)
        except BackendError:
            # A server that is silent, and not gone, finds it when it goes on. Where this fails
            # too nothing more can be done: the entry lives as long as it was given.
            with contextlib.suppress(BackendError):
                self._memcached.tell(key, _UNSETTLED, _UNSETTLED_SECONDS)

    def _now(self) -> float:
        return time.monotonic()
