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

#: A reader that took longer does not fill the cache: meanwhile a write may have come and its mark
#: gone. Less than the mark's life, which memcached cuts by up to a second.
_LONGEST_READ = 1.0

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

    def read(self, name: str, load: Callable[[], Any], lifetime: float | None) -> Any:
        """Return the entry, or else what ``load()`` returns; ``None`` is not cached.

        :param lifetime: seconds for which a filled entry may stay, ``None`` for an hour.
        """
        key = self._memcached.key(name)
        started = self._now()
        try:
            cached = self._memcached.call("get", key)
            value = self._memcached.decode(key, cached)
        except BackendError:
            return load()
        if value is not None:
            return value
        value = load()
        in_time = self._now() - started < _LONGEST_READ
        if cached is None and value is not None and in_time:
            self._quietly("add", key, value, lifetime)
        return value

    def write(
        self, name: str, value: Any, store: Callable[[], None], lifetime: float | None
    ) -> None:
        """Write the record by ``store()``, then the entry.

        :raises Exception: whatever ``store()`` raises; readers then see the record as it is.
        """
        key = self._memcached.key(name)
        settled = False
        try:
            token = self._token(key)
            store()
            if token is None:
                settled = self._quietly("add", key, value, lifetime)
            elif token is not _UNKNOWN:
                settled = self._quietly("cas", key, value, lifetime, token)
        finally:
            if not settled:  # also where store() failed: the record may be written all the same
                self._unsettle(key)

    def _token(self, key: bytes) -> Any:
        """memcached's token of the entry, ``None`` if there is no entry."""
        try:
            return self._memcached.call("gets", key)[1]
        except BackendError:
            return _UNKNOWN

    def _quietly(
        self, operation: str, key: bytes, value: Any, lifetime: float | None, *token: Any
    ) -> bool:
        """Offer an entry to memcached; whether it was taken."""
        seconds = _LONGEST_LIFETIME if lifetime is None else min(lifetime, _LONGEST_LIFETIME)
        data = self._memcached.encode(key, value)
        try:
            return bool(self._memcached.call(operation, key, data, *token, expiry(seconds)))
        except BackendError:
            return False

    def _unsettle(self, key: bytes) -> None:
        # Where this fails nothing more can be done: the entry lives as long as it was given.
        with contextlib.suppress(BackendError):
            self._memcached.call("set", key, _UNSETTLED, _UNSETTLED_SECONDS)

    def _now(self) -> float:
        return time.monotonic()
