"""The repository of session entities: versions, ages, tombstones, and the cache."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from webapp2_sessions.config import datastore_settings
from webapp2_sessions.config.imports import import_object
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.errors import ConfigError, StaleCache, UnreadableSession
from webapp2_sessions.sessions_ndb.client import REFUSALS, Datastore, Place, VersionConflict, ndb
from webapp2_sessions.sessions_ndb.stub import ABSENT, ANY, EntityVersion
from webapp2_sessions.stored.cache import CoherentCache
from webapp2_sessions.stored.factory import Stored

__all__ = [
    "SessionEnded",
    "SessionRepository",
    "UtcNowProperty",
    "active_repository",
    "forget_cached",
]

Result = TypeVar("Result")

#: Tolerance in seconds: an entity is written a moment before its cookie is signed.
_SLACK = 60

#: The age of its own that an entity has is not to be changed.
_AS_IT_IS: Any = object()

#: Upper limit of a session's own age in seconds, 68 years.
_LONGEST_AGE = 2**31 - 1


class UtcNowProperty(ndb.DateTimeProperty):
    """A naive datetime in UTC, as ndb keeps it."""

    @staticmethod
    def _now() -> datetime.datetime:
        # ndb calls utcnow(), which warns from Python 3.12 on.
        return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class SessionEnded(ndb.Model):
    """Tombstone of a revoked session, under its id; needed for as long as a request may take."""

    _use_cache = False
    _use_global_cache = False

    #: When it was revoked, in UTC.
    updated: Any = UtcNowProperty(auto_now=True)
    #: Whether the session has got another id.
    is_superseded: Any = ndb.BooleanProperty(indexed=False)
    #: Differs from any other's: Datastore keeps the version of an entity that is written as it is.
    mark: Any = ndb.BlobProperty()


class _Operation(NamedTuple):
    """Options of an operation that the methods of a model do not pass on."""

    #: The entity whose version is asked for.
    entity: EntityVersion | None = None
    #: Read Datastore itself, whatever the cache holds, and however old the entity is: to merge with
    #: a session that this request has opened. An age that it has set since is that of its write.
    fresh: bool = False
    #: Seconds for which an entry of the cache may stay, ``None`` for the longest.
    lifetime: float | None = None
    #: The session's own age in seconds, which is to be written; ``None`` if it has none.
    own_max_age: Any = _AS_IT_IS
    #: What is known of the session's user, which is to be written; ``None`` if nobody is signed in.
    details: Any = _AS_IT_IS


_IDLE = _Operation()

#: What makes the store of each cache, by the value of ``datastore['cache']``.
_CACHES = {
    "memcache": "webapp2_sessions.sessions_memcache.records.session_memcached",
    "redis": "webapp2_sessions.sessions_redis.cache.session_cache",
}

#: The name of a cache entry, of project, database, namespace, kind and the name of the key.
_ENTRY_NAME = "{}/{}/{}/{}/{}"


class SessionRepository:
    """Read and write session entities by one configuration.

    :param config: a session configuration; the cache needs its ``secret_key``.
    :param max_age: seconds after which an entity has expired, ``None`` for no limit; an age that
        the entity has of its own takes precedence. A TTL policy or a purge deletes it later.
    :param stays: whether all happens where a session would be opened now, and not where each
        operation is called. No client is made for it: the session may be new and never saved, and
        there may be no credentials.
    """

    def __init__(
        self, config: Mapping[str, Any], max_age: float | None = None, stays: bool = False
    ) -> None:
        self.config = config
        self._settings = settings = datastore_settings(config)
        self._datastore = Datastore(settings)
        self._max_age = max_age
        self._place: Place | None = self._datastore.here() if stays else None
        self._operation = _IDLE
        #: Once it is needed; ``None`` if none is configured.
        self._cache: CoherentCache | None = None
        #: Bytes of the data of the entity that was read or written last, ``None`` if not known.
        self.size: int | None = None
        #: The entity's version if :meth:`run` was asked for it, ``None`` if it is not known.
        self.version: int | None = None
        #: Whether :meth:`load` was called; a model may read in a way of its own.
        self.has_loaded: bool = False
        #: The own age, in seconds, of the session that was loaded; ``None`` if it has none.
        self.own_max_age: int | None = None
        #: What is known of the user of the session that was loaded; ``None`` without one.
        self.details: dict[str, Any] | None = None

    @property
    def timeout(self) -> float:
        """Seconds for each request."""
        return self._datastore.options["timeout"]  # type: ignore[no-any-return]

    def write(
        self,
        model: type[Any],
        sid: str,
        data: dict[Any, Any],
        lifetime: float | None,
        own_max_age: int | None,
        details: Mapping[str, Any] | None,
        expected: int | None = ANY,
    ) -> None:
        """Have the model write a session, and note its version if one is expected.

        :param lifetime: seconds for which the cache may hold it, ``None`` for the longest.
        :param own_max_age: the session's own age in seconds, ``None`` if it has none.
        :param details: what is known of its user, ``None`` if nobody is signed in.
        :param expected: the version to be replaced, or a constant of :mod:`.stub`.
        :raises VersionConflict: the entity has another version; it was not written.
        """

        def put() -> None:
            model(id=sid, data=data)._put()

        entity = None if expected is ANY else EntityVersion(model._get_kind(), sid, expected)
        # Not to the entity made here: the model may put another one.
        if details is not None:
            details = {**details, "lifetime": lifetime}
        options = {"lifetime": lifetime, "own_max_age": own_max_age, "details": details}
        self.run(put, entity=entity, **options)

    def touch(self, model: type[Any], sid: str, lifetime: float | None) -> bool:
        """Refresh a session: write its entity as it is. Return whether there is one.

        If another request writes it meanwhile, that has refreshed it.
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
        """Return an entity and its version, bypassing the cache."""
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
        self.version, self.has_loaded, self.size = None, False, None
        doing = _Operation(**options)
        place, entity = self._place, doing.entity
        if place is not None and place.namespace is None:
            place = self._place = place._replace(namespace=self._datastore.partition(place)[2])
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

    # For models

    def load(self, model: type[Any], sid: str) -> Any:
        """Return the data of a session, ``None`` if there is none or it has expired.

        An ndb context is entered on a cache miss only, unless sessions are merged: entering one
        takes longer than a hit.
        """
        cache = self._cache or self._opened_cache()
        if cache is None or self._operation.fresh:
            entry = self.run(self._entry_of, model, sid)
        else:
            name = self._entry_name(model, sid)
            entry = cache.read(name, lambda: self.run(self._entry_of, model, sid))
        self.has_loaded, self.own_max_age, self.details = True, None, None
        if entry is None:
            return None
        self.own_max_age, self.details = entry.get("own_max_age"), entry.get("details")
        max_age = self._max_age if self.own_max_age is None else self.own_max_age
        if max_age is not None and entry["updated"] is not None and not self._operation.fresh:
            now = datetime.datetime.now(datetime.timezone.utc).timestamp()
            if now - entry["updated"] > max_age + _SLACK:
                return None
        self.version = entry["version"]
        return entry["data"]

    def _entry_of(self, model: type[Any], sid: str) -> dict[str, Any] | None:
        """Read an entity, and return its entry for the cache."""
        entity = self._get(model, sid)
        if entity is None:
            return None
        if not hasattr(type(entity), "get_by_sid"):
            other = type(entity)  # an application's model that took over the kind of sessions
            raise ConfigError(
                "session_model",
                f"{other.__module__}.{other.__qualname__} has the kind {other._get_kind()!r} as "
                "well, and ndb loads sessions as that class; rename one of them, or let it derive "
                "from webapp2_sessions.sessions_ndb.Session",
            )
        return self._entry(entity, entity.data)

    def _entry(self, entity: Any, data: Any) -> dict[str, Any]:
        known = self._operation.entity
        self.version = None if known is None else known.current
        updated = entity.updated
        if isinstance(updated, datetime.datetime):  # an application's model may have another type
            # Optimization: a number is decoded faster than a datetime.
            updated = updated.replace(tzinfo=datetime.timezone.utc).timestamp()
        entry = {"data": data, "updated": updated, "version": self.version}
        own_max_age = _bounded_age(getattr(entity, "own_max_age", None))
        details = getattr(entity, "user_details", None)
        optional = {"own_max_age": own_max_age, "details": details}
        return {**entry, **{key: each for key, each in optional.items() if each is not None}}

    def save(self, entity: Any) -> None:
        """Write an entity, and the cache where one is configured.

        :raises BackendError: it is not certain that the entity is written.
        """
        if _active.get() is not self:
            self.run(self.save, entity)
            return
        if self._operation.own_max_age is not _AS_IT_IS:
            entity.own_max_age = _bounded_age(self._operation.own_max_age)
        details = self._operation.details
        # A model from before there were users may have a property of that name itself.
        if details is not _AS_IT_IS and (details or getattr(entity, "user_details", None)):
            entity.user_details, entity.user_index = details, details and index_entry(details)
        data = entity.data  # afterwards ndb holds the bytes, and would decode them

        def put() -> dict[str, Any]:
            ndb.Model.put(entity, **self._datastore.options)
            return self._entry(entity, data)

        cache = self._cache or self._opened_cache()
        if cache is None:
            put()
        else:
            cache.write(entry_name_of(entity.key), put, self._operation.lifetime, REFUSALS)

    # The sessions of a user

    def stored(self, model: type[Any], sids: Sequence[str]) -> list[Stored | None]:
        """Return what is stored under some ids, bypassing the cache.

        :returns: ``None`` for what cannot be opened.
        """
        return self.run(self._stored, model, sids)

    def _stored(self, model: type[Any], sids: Sequence[str]) -> list[Stored | None]:
        keys = [ndb.Key(model, sid) for sid in sids]
        return [*map(_living, ndb.get_multi(keys, **self._datastore.options))]

    # Revocation

    def revoke(self, model: type[Any], sid: str, is_superseded: bool = False) -> bool:
        """Delete a session and leave a tombstone. Return whether nobody did before.

        Without a tombstone, a request that has read the session would write it again.

        :param is_superseded: whether the session has got another id.
        :raises StaleCache: it is deleted, but may still be served by the cache.
        """

        def leave_tombstone() -> None:
            kept = {"is_superseded": is_superseded or None, "mark": os.urandom(9)}
            tombstone = SessionEnded(id=sid, **kept)
            tombstone.put(**self._datastore.options)

        entity = EntityVersion(SessionEnded._get_kind(), sid, ABSENT)
        with contextlib.suppress(VersionConflict):
            self.run(leave_tombstone, entity=entity)
        is_first = False

        def delete() -> None:
            nonlocal is_first
            is_first = self._take_away(model, sid, entity.current, leave_tombstone)

        try:
            self._delete(model, sid, delete)
        except StaleCache as error:
            error.is_first = is_first
            raise
        return is_first

    def _take_away(
        self, model: type[Any], sid: str, own: int | None, leave_tombstone: Callable[[], object]
    ) -> bool:
        """Delete an entity. Return whether no other revocation did so before.

        A tombstone that is there already is no proof: its writer may have failed before the
        deletion. Who finds the entity leaves another one, by whose version that writer sees that
        it was not first.

        :param own: the version of the tombstone that this one has left, ``None`` for that of
            another.
        """
        while True:
            stored, version = self.look_up(model, sid)
            if stored is None:
                return own is not None and self.look_up(SessionEnded, sid)[1] in (own, None)
            if own is None:
                self.run(leave_tombstone)
            delete = functools.partial(stored.key.delete, **self._datastore.options)
            try:
                self.run(delete, entity=EntityVersion(model._get_kind(), sid, version))
            except VersionConflict:
                continue  # another request has just written it, or was first
            return True

    def superseded_at(self, sid: str) -> float | None:
        """Return when a session got another id, in Unix seconds; ``None`` if it did not."""
        tombstone = self.run(self._get, SessionEnded, sid)
        if tombstone is None or not tombstone.is_superseded:
            return None
        superseded_at: float = tombstone.updated.replace(tzinfo=datetime.timezone.utc).timestamp()
        return superseded_at

    def is_revoked(self, sid: str) -> bool:
        """Return whether there is a tombstone; a session that was purged has none."""
        return self.run(self._get, SessionEnded, sid) is not None

    def was_revoked_meanwhile(self, model: type[Any], sid: str) -> bool:
        """Return whether a session was revoked that was just inserted; delete it once more then.

        A revocation that came before the insert has left its tombstone, and deleted nothing.
        """
        is_revoked = self.is_revoked(sid)
        if is_revoked:
            self.drop(model, sid)
        return is_revoked

    def drop(self, model: type[Any], sid: str) -> None:
        """Delete a session, from the cache as well, without a tombstone."""

        def delete() -> None:
            ndb.Key(model, sid).delete(**self._datastore.options)

        self._delete(model, sid, lambda: self.run(delete))

    def _delete(self, model: type[Any], sid: str, delete: Callable[[], None]) -> None:
        cache = self._cache or self._opened_cache()
        if cache is None:
            delete()
        else:
            cache.delete(self._entry_name(model, sid), delete)

    # The cache

    def _opened_cache(self) -> CoherentCache | None:
        """Return the configured cache, which stays this repository's from then on."""
        if self._settings["cache"] is not None:
            # By its name, because its library is needed only where the cache is configured.
            cache_store = import_object(_CACHES[self._settings["cache"]])
            self._cache = CoherentCache(cache_store(self.config, "datastore"), self.config)
        return self._cache

    def _entry_name(self, model: type[Any], sid: str) -> str:
        if self._place is None or _active.get() is self:
            # A model's own method is in a context already, perhaps in one that it has entered.
            project, database, namespace = self._datastore.partition()
        else:
            project, database, namespace = self._datastore.partition(self._place)
            self._place = self._place._replace(namespace=namespace)
        return _ENTRY_NAME.format(project, database or "", namespace, model._get_kind(), sid)


#: The repository of the running operation, for the methods of the model.
_active: ContextVar[SessionRepository | None] = ContextVar("_active", default=None)


def active_repository() -> SessionRepository:
    """Return the repository of the running operation, or one of the active application.

    The latter where an application uses the model directly, for instance in a cron handler.
    """
    return _active.get() or SessionRepository(active_config())


def forget_cached(config: Mapping[str, Any], keys: Iterable[Any]) -> None:
    """Invalidate the cache entries of deleted entities, if a cache is configured and works.

    :param config: a session configuration; the cache needs its ``secret_key``.
    """
    cache = SessionRepository(config)._opened_cache()
    if cache is not None:
        for key in keys:
            cache.forget(entry_name_of(key))


def _living(entity: Any) -> Stored | None:
    """Return what an entity holds, ``None`` if its session cannot be opened."""
    details = getattr(entity, "user_details", None)
    if details is None:
        return None
    lifetime, updated = details["lifetime"], entity.updated.replace(tzinfo=datetime.timezone.utc)
    age = datetime.datetime.now(datetime.timezone.utc) - updated
    if lifetime is not None and age.total_seconds() > lifetime:
        return None
    try:
        return Stored(dict(entity.data), details)
    except UnreadableSession:
        return None


def index_entry(details: Mapping[str, Any]) -> str:
    """Return what is indexed of a session: its name, its user, and when it was noted, which sort.

    No space is in a cookie's name, nor in what a user is called.
    """
    return f"{details['name']} {details['user']} {details['noted'][0]:015d}"


def _bounded_age(age: Any) -> int | None:
    """Return a session's own age if it is valid, else ``None``."""
    return age if type(age) is int and 1 <= age <= _LONGEST_AGE else None


def entry_name_of(key: Any) -> str:
    """Return the name of the cache entry of the entity with that key."""
    place = key.project(), key.database() or "", key.namespace() or ""
    return _ENTRY_NAME.format(*place, *key.flat()[-2:])
