"""Session entities read and written by one configuration, with or without a cache."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.errors import StaleCache
from webapp2_sessions.sessions_ndb.client import REFUSALS, Datastore, Place, VersionConflict, ndb
from webapp2_sessions.sessions_ndb.entities import (
    SessionEnded,
    bounded_age,
    entry_name,
    entry_name_of,
    kind_is_taken,
    unix_seconds,
)
from webapp2_sessions.sessions_ndb.stub import ABSENT, ANY, EntityVersion
from webapp2_sessions.stored.serializers import SHARED_PROTOCOL, Serializer

__all__ = ["SessionRepository", "active_repository", "forget_cached"]

Result = TypeVar("Result")

#: Leaves the age in an entity as it is.
_AS_IT_IS: Any = object()

#: Seconds by which an entity may be too old: it is written a moment before its cookie is signed.
_SLACK = 60


class _Operation(NamedTuple):
    """What the methods of a model cannot be told as arguments."""

    #: The entity whose version is asked for.
    entity: EntityVersion | None = None
    #: Read Datastore itself, whatever the cache holds, and however old the entity is.
    fresh: bool = False
    #: Seconds for which an entry of the cache may stay, ``None`` for the longest.
    lifetime: float | None = None
    #: The session's own age, to be written.
    own_max_age: Any = _AS_IT_IS


_IDLE = _Operation()


class SessionRepository:
    """Reads and writes session entities by one configuration.

    :param config: a session configuration; the cache needs its ``secret_key``.
    :param max_age: seconds since an entity was written after which it counts as none, ``None``
        for no limit; an age that the entity has of its own takes precedence. Whatever deletes old
        entities, a policy or a purge, may not have come to it.
    :param place: where the entities are; ``None`` for where each operation is called.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        max_age: float | None = None,
        place: Place | None = None,
    ) -> None:
        self._config = config
        self._settings = datastore_settings(config)
        self._datastore = Datastore(self._settings)
        self._max_age = max_age
        self._place = place
        self._operation = _IDLE
        #: The entity's version after :meth:`read` and :meth:`write`, ``None`` if it is not known.
        self.version: int | None = None
        #: Whether a session was read by :meth:`load`; a model may read in a way of its own.
        self.has_loaded: bool = False
        #: The own age, in seconds, of the session that was loaded; ``None`` if it has none.
        self.own_max_age: int | None = None

    @classmethod
    def here(cls, config: Mapping[str, Any], max_age: float | None) -> SessionRepository:
        """Return the repository of a session that is opened now, and stays where it is.

        No client is asked, which may not be there: the session may be new, and never saved.
        """
        opened = cls(config, max_age)
        opened._place = opened._datastore.here()
        return opened

    @property
    def serializer(self) -> Serializer:
        """Makes and reads the data of the entities."""
        return Serializer.of(self._config, SHARED_PROTOCOL)

    def read(self, model: type[Any], sid: str, fresh: bool = False) -> Any:
        """Return the data that the model has of that id, and note its version.

        :param fresh: read Datastore itself, however old the session is: to merge with what this
            request has opened. It was young enough then, and an age that the request has set since
            is that of what it writes.
        """
        entity = EntityVersion(model._get_kind(), sid)
        return self.run(model.get_by_sid, sid, entity=entity, fresh=fresh)

    def write(
        self,
        model: type[Any],
        sid: str,
        data: dict[Any, Any],
        lifetime: float | None,
        own_max_age: int | None,
        expected: int | None = ANY,
    ) -> None:
        """Have the model write a session, and note its version if one is expected.

        :param lifetime: seconds for which the cache may hold it, ``None`` for the longest.
        :param own_max_age: the session's own age in seconds, ``None`` if it has none.
        :param expected: the version to be replaced, or a constant of :mod:`.stub`.
        :raises VersionConflict: the entity has another version; it was not written.
        """

        def put() -> None:
            model(id=sid, data=data)._put()

        entity = None if expected is ANY else EntityVersion(model._get_kind(), sid, expected)
        self.run(put, entity=entity, lifetime=lifetime, own_max_age=own_max_age)

    def touch(self, model: type[Any], sid: str, lifetime: float | None) -> bool:
        """Write the entity of that id as it is, so that it is as good as new; if there is one.

        Where another request writes it meanwhile, that does it.
        """
        stored, version = self.look_up(model, sid)
        if stored is None:
            return False
        entity = EntityVersion(model._get_kind(), sid, version)
        try:
            self.run(stored._put, entity=entity, lifetime=lifetime)
        except VersionConflict:
            return self.look_up(model, sid)[0] is not None
        return True

    def look_up(self, model: type[Any], sid: str) -> tuple[Any, int | None]:
        """Return the entity of that id and its version, by Datastore itself."""
        entity = EntityVersion(model._get_kind(), sid)
        return self.run(self._get, model, sid, entity=entity), entity.current

    def _get(self, model: type[Any], sid: str) -> Any:
        return ndb.Key(model, sid).get(**self._datastore.options)

    def run(self, operation: Callable[..., Result], *args: Any, **options: Any) -> Result:
        """Call ``operation(*args)`` in an ndb context in which the model works on this repository.

        :param options: as of :class:`_Operation`.
        """
        if _active.get() is self:
            return operation(*args)
        self.version, self.has_loaded = None, False
        doing = _Operation(**options)
        place, entity = self._where(), doing.entity
        result: Result = self._datastore.run(
            self._activated, doing, operation, *args, place=place, entity=entity
        )
        if self.version is None and entity is not None:
            self.version = entity.current  # the model worked in a way of its own
        return result

    def _activated(self, doing: _Operation, operation: Callable[..., Result], *args: Any) -> Result:
        token, self._operation = _active.set(self), doing
        try:
            return operation(*args)
        finally:
            self._operation = _IDLE
            _active.reset(token)

    def _where(self) -> Place | None:
        if self._place is not None:
            self._place = self._datastore.complete(self._place)
        return self._place

    # For models

    def load(self, model: type[Any], sid: str) -> Any:
        """Return the data of the entity of that id, ``None`` if there is none.

        An ndb context is entered only if Datastore is asked: that takes longer than the cache.
        """
        cache = self._cache()
        if cache is None or self._operation.fresh:
            entry = self.run(self._entry_of, model, sid)
        else:
            name = self._entry_name(model, sid)
            entry = cache.read(name, lambda: self.run(self._entry_of, model, sid), None)
        self.has_loaded = True
        self.own_max_age = None if entry is None else bounded_age(entry.get("own_max_age"))
        if entry is None or self._is_too_old(entry["updated"]):
            return None
        self.version = entry["version"]
        return entry["data"]

    def _entry_of(self, model: type[Any], sid: str) -> dict[str, Any] | None:
        """Return what the cache holds of an entity: its data, and what it knows besides."""
        entity = self._get(model, sid)
        if entity is None:
            return None
        if not hasattr(type(entity), "get_by_sid"):
            raise kind_is_taken(type(entity))
        return self._entry(entity, entity.data)

    def _entry(self, entity: Any, data: Any) -> dict[str, Any]:
        known = self._operation.entity
        self.version = None if known is None else known.current
        # A number takes less to decode.
        updated = unix_seconds(entity.updated)
        entry = {"data": data, "updated": updated, "version": self.version}
        own_max_age = bounded_age(getattr(entity, "own_max_age", None))
        return entry if own_max_age is None else {**entry, "own_max_age": own_max_age}

    def _is_too_old(self, updated: float | None) -> bool:
        max_age = self._max_age if self.own_max_age is None else self.own_max_age
        if max_age is None or updated is None or self._operation.fresh:
            return False
        now = datetime.datetime.now(datetime.timezone.utc).timestamp()
        return now - updated > max_age + _SLACK

    def save(self, entity: Any) -> None:
        """Write an entity, and the cache where one is configured.

        :raises BackendError: it is not certain that the entity is written.
        """
        self.run(self._save, entity)

    def _save(self, entity: Any) -> None:
        if self._operation.own_max_age is not _AS_IT_IS:
            entity.own_max_age = bounded_age(self._operation.own_max_age)
        data = entity.data  # afterwards ndb holds the bytes, and would decode them

        def put() -> dict[str, Any]:
            ndb.Model.put(entity, **self._datastore.options)
            return self._entry(entity, data)

        cache = self._cache()
        if cache is None:
            put()
        else:
            cache.write(entry_name_of(entity.key), put, self._operation.lifetime, REFUSALS)

    # Revocation

    def revoke(self, model: type[Any], sid: str, is_superseded: bool = False) -> bool:
        """Delete the entity of that id, and leave a tombstone; whether nobody did before.

        A request that has read the entity before would write it again otherwise.

        :param is_superseded: whether the session has got another id.
        :raises StaleCache: that is done, and the cache could not be told.
        """

        def leave_tombstone() -> None:
            tombstone = SessionEnded(id=sid, is_superseded=is_superseded or None)
            tombstone.put(**self._datastore.options)

        try:
            self.run(leave_tombstone, entity=EntityVersion(SessionEnded._get_kind(), sid, ABSENT))
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

    def _take_away(self, model: type[Any], sid: str, left_tombstone: bool) -> bool:
        """Delete an entity; whether nobody who wanted to revoke it did so before.

        The tombstone alone does not tell: it may be of somebody whose server failed before the
        entity was deleted.
        """
        while True:
            stored, version = self.look_up(model, sid)
            if stored is None:
                return left_tombstone
            delete = functools.partial(stored.key.delete, **self._datastore.options)
            try:
                self.run(delete, entity=EntityVersion(model._get_kind(), sid, version))
            except VersionConflict:
                continue  # another request has just written it, or was first
            return True

    def superseded_at(self, sid: str) -> float | None:
        """Return when the session got another id, in Unix seconds; ``None`` if it did not."""
        tombstone = self.run(self._get, SessionEnded, sid)
        is_superseded = tombstone is not None and tombstone.is_superseded
        return unix_seconds(tombstone.updated) if is_superseded else None

    def is_revoked(self, sid: str) -> bool:
        """Whether the session of that id was revoked; one deleted otherwise has no tombstone."""
        return self.run(self._get, SessionEnded, sid) is not None

    def was_revoked_meanwhile(self, model: type[Any], sid: str) -> bool:
        """Whether the session of that id was revoked; then its entity is deleted once more.

        For who has put an entity where there was none: the tombstone is left before the deletion,
        and both may have come before the entity.
        """
        is_revoked = self.is_revoked(sid)
        if is_revoked:
            self.drop(model, sid)
        return is_revoked

    def drop(self, model: type[Any], sid: str) -> None:
        """Delete the entity of that id, and what the cache has of it; leave no tombstone."""

        def delete() -> None:
            ndb.Key(model, sid).delete(**self._datastore.options)

        self._delete(model, sid, lambda: self.run(delete))

    def _delete(self, model: type[Any], sid: str, delete: Callable[[], None]) -> None:
        cache = self._cache()
        if cache is None:
            delete()
        else:
            cache.delete(self._entry_name(model, sid), delete)

    # The cache

    def _cache(self) -> Any:
        return _cache(self._config) if self._settings["cache"] == "memcache" else None

    def _entry_name(self, model: type[Any], sid: str) -> str:
        if self._place is None or _active.get() is self:
            # A model's own method is in a context already, perhaps in one that it has entered.
            partition = self._datastore.partition()
        else:
            partition = self._datastore.partition(self._place)
            self._place = self._place._replace(namespace=partition[2])  # as _where() does
        return entry_name(*partition, model._get_kind(), sid)


#: The repository that the model works on, where a session factory called it.
_active: ContextVar[SessionRepository | None] = ContextVar("_active", default=None)


def active_repository() -> SessionRepository:
    """Return the repository of the factory that is at work, or the active application's.

    The latter where an application uses the model by itself, for instance in a cron handler.
    """
    return _active.get() or SessionRepository(active_config())


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
