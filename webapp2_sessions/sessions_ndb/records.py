"""Session entities as records: read and written by one configuration, with or without a cache."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.errors import StaleCache
from webapp2_sessions.sessions_ndb.client import (
    REFUSALS,
    Datastore,
    Place,
    VersionConflict,
    ndb,
)
from webapp2_sessions.sessions_ndb.entities import (
    SessionEnded,
    bounded_age,
    entry_name,
    entry_name_of,
    kind_is_taken,
    unix_seconds,
)
from webapp2_sessions.sessions_ndb.versions import ABSENT, ANY, EntityName, VersionedStub
from webapp2_sessions.stored.serializers import SHARED_PROTOCOL, Serializer

__all__ = ["AS_IT_IS", "Records", "SessionEnded", "active_records", "forget_cached"]

Result = TypeVar("Result")

#: Stands for a lifetime that the caller says nothing about.
AS_IT_IS: Any = object()


class Records:
    """Reads and writes session entities by one configuration.

    :param config: a session configuration; the cache needs its ``secret_key``.
    :param lifetime: seconds for which a cached entry may stay, ``None`` for the longest.
    :param max_age: seconds since an entity was written after which it counts as none, ``None``
        for no limit; an age that the entity has of its own takes precedence. Whatever deletes old
        entities, a policy or a purge, may not have come to it.
    :param fresh: read Datastore itself, whatever the cache holds, and however old the entity is.
    :param place: where the entities are; ``None`` for where each operation is called.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        lifetime: float | None,
        max_age: float | None = None,
        fresh: bool = False,
        place: Place | None = None,
    ) -> None:
        settings = datastore_settings(config)
        self._config = config
        #: Decodes once more what was read or written last; ``None`` if nothing was.
        self.again: Callable[[], Any] | None = None
        #: The session's own lifetime, in seconds, as the record has it that was read last; ``None``
        #: for a session like others.
        self.own_max_age: int | None = None
        #: Whether :meth:`load` has told :attr:`own_max_age`; a model may read in a way of its own.
        self.has_loaded: bool = False
        #: The one to be written; :data:`AS_IT_IS` leaves the entity as it is.
        self.new_max_age: Any = AS_IT_IS
        self._datastore = Datastore(settings)
        self._cache = _cache(config) if settings["cache"] == "memcache" else None
        self._lifetime = lifetime
        self._max_age = max_age
        self._fresh = fresh
        self._place = place
        #: Knows the version of the entity where that is asked for.
        self._stub: VersionedStub | None = None
        self._version: int | None = None
        self._is_active = False

    @property
    def serializer(self) -> Serializer:
        """Makes and reads the data of the entities."""
        return Serializer.of(self._config, SHARED_PROTOCOL)

    def run(self, operation: Callable[[], Result]) -> Result:
        """Call ``operation()`` in an ndb context in which the model works on these records."""
        if self._is_active:
            return operation()
        return self._datastore.run(lambda: self._activate(operation), self._place)

    def run_versioned(
        self,
        model: type[Any],
        sid: str,
        operation: Callable[[], Result],
        expected: int | None = ANY,
    ) -> tuple[Result, int | None]:
        """As :meth:`run`; returns the entity's version as well, ``None`` if it is not known.

        :param expected: the version of the entity of that id that ``operation()`` replaces.
        :raises VersionConflict: the entity has another version; it was not written.
        """

        def with_stub(stub: VersionedStub) -> Result:
            self._stub = stub
            return self._activate(operation)

        self._version = None
        try:
            result = self._datastore.run_versioned(
                with_stub, EntityName(model._get_kind(), sid), expected, self._place
            )
            if self._version is None and self._stub is not None:
                return result, self._stub.version  # the model worked in a way of its own
            return result, self._version
        finally:
            self._stub = None

    def _activate(self, operation: Callable[[], Result]) -> Result:
        token = _active.set(self)
        self._is_active = True
        try:
            return operation()
        finally:
            self._is_active = False
            _active.reset(token)

    def load(self, model: type[Any], sid: str) -> Any:
        """Return the data of the entity of that id, ``None`` if there is none.

        An ndb context is entered only if Datastore is asked: that takes longer than the cache.
        """
        if self._cache is None or self._fresh:
            entry = self._lookup(model, sid)
        else:
            # A model's own method is in a context already, perhaps in one that it has entered.
            place = None if self._is_active else self._place
            name = entry_name(*self._datastore.partition(place), model._get_kind(), sid)
            entry = self._cache.read(
                name, lambda: self._lookup(model, sid), self._lifetime, self._keep_entry
            )
        self.has_loaded = True
        self.own_max_age = None if entry is None else bounded_age(entry.get("own_max_age"))
        if entry is None or self._is_too_old(entry["updated"]):
            return None
        self._version = entry["version"]
        return entry["data"]

    def _keep_entry(self, decode: Callable[[], Any]) -> None:
        self.again = lambda: decode()["data"]

    def _lookup(self, model: type[Any], sid: str) -> dict[str, Any] | None:
        """Return what the cache holds of an entity: its data, and what it knows besides."""

        def look_up() -> dict[str, Any] | None:
            entity = ndb.Key(model, sid).get(**self._datastore.options)
            if entity is None:
                return None
            if not hasattr(type(entity), "get_by_sid"):
                raise kind_is_taken(type(entity))
            self._note_version()
            return self._entry(entity, entity.data)

        return self.run(look_up)

    def _note_version(self) -> None:
        self._version = None if self._stub is None else self._stub.version

    def _entry(self, entity: Any, data: Any) -> dict[str, Any]:
        # A number takes less to decode.
        updated = unix_seconds(entity.updated)
        entry = {"data": data, "updated": updated, "version": self._version}
        own_max_age = bounded_age(getattr(entity, "own_max_age", None))
        return entry if own_max_age is None else {**entry, "own_max_age": own_max_age}

    def _is_too_old(self, updated: float | None) -> bool:
        if self._fresh:
            # To merge with what this request has opened: it was young enough then, and whatever
            # age the request sets is that of what it writes.
            return False
        max_age = self._max_age if self.own_max_age is None else self.own_max_age
        if max_age is None or updated is None:
            return False
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        return now - updated > max_age + _SLACK

    def save(self, entity: Any) -> None:
        """Write the entity."""
        if self.new_max_age is not AS_IT_IS:
            entity.own_max_age = bounded_age(self.new_max_age)
        data = entity.data  # afterwards ndb holds the bytes, and would decode them

        def put() -> None:
            ndb.Model.put(entity, **self._datastore.options)
            self._note_version()

        def put_for_cache() -> dict[str, Any]:
            put()
            return self._entry(entity, data)

        if self._cache is None:
            put()
        else:
            self._cache.write(entry_name_of(entity.key), put_for_cache, self._lifetime, REFUSALS)

    def end(self, model: type[Any], sid: str, is_superseded: bool = False) -> bool:
        """Delete the entity of that id, and mark that it was ended; whether nobody did before.

        A request that has read the entity before would write it again otherwise.

        :param is_superseded: whether the session has got another id.
        :raises StaleCache: that is done, and the cache could not be told.
        """

        def leave_mark() -> None:
            mark = SessionEnded(id=sid, is_superseded=is_superseded or None)
            mark.put(**self._datastore.options)

        try:
            self.run_versioned(SessionEnded, sid, leave_mark, ABSENT)
            is_first = True
        except VersionConflict:
            is_first = False

        def delete() -> None:
            nonlocal is_first
            is_first = self._take_away(model, sid, is_first)

        try:
            self._delete(model, sid, delete)
        except StaleCache as error:
            error.is_first = is_first
            raise
        return is_first

    def _delete(self, model: type[Any], sid: str, delete: Callable[[], None]) -> None:
        """Delete an entity by ``delete()``, and what the cache has of it."""
        if self._cache is None:
            delete()
        else:
            key = self.run(lambda: ndb.Key(model, sid))
            self._cache.delete(entry_name_of(key), delete)

    def _take_away(self, model: type[Any], sid: str, is_marked: bool) -> bool:
        """Delete an entity; whether nobody who wanted to end it did so before.

        The mark alone does not tell: it may be of somebody whose server failed before the entity
        was deleted.
        """
        while True:
            entity, version = self.look_up(model, sid)
            if entity is None:
                return is_marked
            delete = functools.partial(entity.key.delete, **self._datastore.options)
            try:
                self.run_versioned(model, sid, delete, version)
            except VersionConflict:
                continue  # another request has just written it, or was first
            return True

    def superseded_at(self, sid: str) -> float | None:
        """Return when the session got another id, in Unix seconds; ``None`` if it did not."""
        mark = self._mark_of(sid)
        return unix_seconds(mark.updated) if mark is not None and mark.is_superseded else None

    def is_ended(self, sid: str) -> bool:
        """Whether the session of that id was ended; one deleted in another way leaves no mark."""
        return self._mark_of(sid) is not None

    def _mark_of(self, sid: str) -> Any:
        return self.run(lambda: ndb.Key(SessionEnded, sid).get(**self._datastore.options))

    def is_ended_meanwhile(self, model: type[Any], sid: str) -> bool:
        """Whether the session of that id was ended; then its entity is deleted once more.

        For who has put an entity where there was none: the mark of an end is set before the
        deletion, and both may have come before the entity.
        """
        if not self.is_ended(sid):
            return False
        self._delete(model, sid, lambda: self._delete_unseen(model, sid))
        return True

    def _delete_unseen(self, model: type[Any], sid: str) -> None:
        self.run(lambda: ndb.Key(model, sid).delete(**self._datastore.options))

    def touch(self, model: type[Any], sid: str) -> bool:
        """Write the entity of that id as it is, so that it is as good as new; if there is one.

        Where another request writes it meanwhile, that does it.
        """
        entity, version = self.look_up(model, sid)
        if entity is None:
            return False
        try:
            self.run_versioned(model, sid, entity._put, version)
        except VersionConflict:
            return self.look_up(model, sid)[0] is not None
        return True

    def look_up(self, model: type[Any], sid: str) -> tuple[Any, int | None]:
        """Return the entity of that id and its version, by Datastore itself."""
        return self.run_versioned(
            model, sid, lambda: ndb.Key(model, sid).get(**self._datastore.options)
        )


#: An entity is written a moment before its cookie is signed.
_SLACK = 60

#: The records that the model works on, where a session factory called it.
_active: ContextVar[Records | None] = ContextVar("_active", default=None)


def active_records() -> Records:
    """Return the records of the session factory that is at work, or the active application's.

    The latter where an application uses the model by itself, for instance in a cron handler.
    """
    return _active.get() or Records(active_config(), None)


def forget_cached(config: Mapping[str, Any], keys: Iterable[Any]) -> None:
    """Remove deleted entities from the cache, if one is configured and works.

    :param config: a session configuration; the cache needs its ``secret_key``.
    """
    if datastore_settings(config)["cache"] == "memcache":
        cache = _cache(config)
        for key in keys:
            cache.forget(entry_name_of(key))


def _cache(config: Mapping[str, Any]) -> Any:
    coherent_cache, session_memcached = _modules_of_the_cache()
    return coherent_cache(session_memcached(config, "datastore"))


@functools.lru_cache(maxsize=1)  # asking for a module at each use takes longer than the rest
def _modules_of_the_cache() -> tuple[Callable[..., Any], Callable[..., Any]]:
    # Imported here, because pymemcache is needed only where the cache is configured.
    from webapp2_sessions.sessions_memcache.records import session_memcached
    from webapp2_sessions.stored.cache import CoherentCache

    return CoherentCache, session_memcached
