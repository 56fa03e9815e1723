"""Sessions in Datastore: durable, and with memcached in front fast as well."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

from webapp2_sessions.app_config import active_config, backend_config
from webapp2_sessions.config import datastore_settings
from webapp2_sessions.datastore import Datastore, ndb, service_address
from webapp2_sessions.errors import ConfigError, UnreadableSession
from webapp2_sessions.factories import StoredSessionFactory
from webapp2_sessions.serializers import dump_pickle, load_pickle

__all__ = ["DatastoreSessionFactory", "Session"]

Result = TypeVar("Result")


class _UtcNowProperty(ndb.DateTimeProperty):  # type: ignore[misc] # ndb has no types
    """A time in UTC, without a zone, as ndb keeps it."""

    @staticmethod
    def _now() -> datetime.datetime:
        # ndb calls utcnow(), which warns from Python 3.12 on.
        return datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)


class _SessionDataProperty(ndb.BlobProperty):  # type: ignore[misc] # ndb has no types
    """A pickle in a blob, as ndb.PickleProperty stores it, that Python 2 and 3 can share."""

    def _to_base_type(self, value: Any) -> bytes:
        return dump_pickle(value)

    def _from_base_type(self, value: bytes) -> Any:
        try:
            return load_pickle(value)
        except Exception as error:
            raise UnreadableSession(
                "datastore",
                service_address(),
                f"a stored session cannot be unpickled ({type(error).__name__})",
            ) from error


class Session(ndb.Model):  # type: ignore[misc] # ndb has no types
    """The entity of a session; its key's name is the session's id.

    A subclass may add properties; make it the ``session_model`` of a subclass of
    :class:`DatastoreSessionFactory`.
    """

    # ndb's context cache would hand out the same dictionary to everybody, and its global cache
    # can disagree with Datastore; CoherentCache stands in for both.
    _use_cache = False
    _use_global_cache = False

    #: When the entity was last written, in UTC.
    updated = _UtcNowProperty(auto_now=True)
    #: The session's data, a dictionary.
    data = _SessionDataProperty()

    @classmethod
    def get_by_sid(cls, sid: str) -> dict[Any, Any] | None:
        """Return the data (not the entity) of a session, ``None`` if there is none of that id.

        :raises BackendError: Datastore failed.
        """
        data: dict[Any, Any] | None = _on_records(lambda records: records.load(cls, sid))
        return data

    def _put(self) -> None:
        """Write the entity, and the cache where one is configured.

        :raises BackendError: it is not certain that the entity is written.
        """
        _on_records(lambda records: records.save(self))


class DatastoreSessionFactory(StoredSessionFactory):
    """Keeps sessions in Datastore, configured by ``config["datastore"]``.

    Use it as ``store.get_session(backend="datastore")``.
    """

    #: The model of the entities.
    session_model: Any = Session

    def _read(self, sid: str) -> dict[Any, Any] | None:
        records = _Records(backend_config(self.session_store), None)
        data: dict[Any, Any] | None = records.run(lambda: self.session_model.get_by_sid(sid))
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        records = _Records(backend_config(self.session_store), lifetime)
        records.run(lambda: self.session_model(id=sid, data=data)._put())


class _Records:
    """Reads and writes session entities by one configuration.

    :param config: a session configuration; the cache needs its ``secret_key``.
    :param lifetime: seconds for which a cached entry may stay, ``None`` for the longest.
    """

    def __init__(self, config: Mapping[str, Any], lifetime: float | None) -> None:
        settings = datastore_settings(config)
        self._datastore = Datastore(settings)
        self._cache = _cache(config) if settings["cache"] == "memcache" else None
        self._lifetime = lifetime

    def run(self, operation: Callable[[], Result]) -> Result:
        """Call ``operation()`` in an ndb context in which the model works on these records."""

        def with_records() -> Result:
            token = _active_records.set(self)
            try:
                return operation()
            finally:
                _active_records.reset(token)

        return self._datastore.run(with_records)

    def load(self, model: type[Session], sid: str) -> Any:
        """Return the data of the entity of that id, ``None`` if there is none."""
        key = ndb.Key(model, sid)

        def lookup() -> Any:
            entity = key.get(**self._datastore.options)
            if entity is not None and not isinstance(entity, Session):
                raise _kind_is_taken(type(entity))
            return None if entity is None else entity.data

        if self._cache is None:
            return lookup()
        return self._cache.read(_cache_name(key), lookup, self._lifetime)

    def save(self, entity: Session) -> None:
        """Write the entity."""

        def put() -> None:
            ndb.Model.put(entity, **self._datastore.options)

        if self._cache is None:
            put()
        else:
            self._cache.write(_cache_name(entity.key), entity.data, put, self._lifetime)


#: The records that the model works on, where a session factory called it.
_active_records: ContextVar[_Records | None] = ContextVar("_active_records", default=None)


def _on_records(operation: Callable[[_Records], Result]) -> Result:
    """Call ``operation`` with the factory's records, or with those of the active application.

    The latter where the application uses the model by itself, for instance in a cron handler.
    """
    active = _active_records.get()
    if active is not None:
        return operation(active)
    records = _Records(active_config(), None)
    return records.run(lambda: operation(records))


def _cache(config: Mapping[str, Any]) -> Any:
    # Imported here, because pymemcache is needed only where the cache is configured.
    from webapp2_sessions.coherent_cache import CoherentCache
    from webapp2_sessions.memcached import session_memcached

    return CoherentCache(session_memcached(config, "datastore"))


def _cache_name(key: Any) -> str:
    """A name that is different for each entity, also of other namespaces and databases."""
    place = (key.project(), key.database() or "", key.namespace() or "", key.kind(), key.id())
    return "/".join(map(str, place))


def _kind_is_taken(model: type[Any]) -> ConfigError:
    return ConfigError(
        "session_model",
        f"{model.__module__}.{model.__qualname__} has the kind {model._get_kind()!r} as well, and "
        "ndb loads sessions as that class; rename one of them, or let it derive from "
        "webapp2_sessions.sessions_ndb.Session",
    )
