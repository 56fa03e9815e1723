"""Sessions in Datastore: durable, and with memcached in front fast as well."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from webapp2_sessions.config import _default_value, datastore_settings
from webapp2_sessions.config.loading import backend_config
from webapp2_sessions.errors import SessionTooLarge, UnreadableSession
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions_ndb.client import (
    Datastore,
    Place,
    UtcNowProperty,
    VersionConflict,
    ndb,
    service_address,
)
from webapp2_sessions.sessions_ndb.records import Records, active_records
from webapp2_sessions.sessions_ndb.versions import ABSENT, PRESENT
from webapp2_sessions.stored.factory import StoredSessionFactory
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.serializers import undecodable

__all__ = ["DatastoreSessionFactory", "Session"]

#: Bytes of data that an entity takes. A property that is not indexed may have 1,048,487, an
#: entity 1,048,572 (Datastore's "Limits"), of which key and ``updated`` need some.
_LARGEST = 1_048_400


class _SessionDataProperty(ndb.BlobProperty):
    """A blob as ndb.PickleProperty stores it, with a pickle that Python 2 and 3 can share.

    Or with JSON, where the configuration says so.
    """

    def _to_base_type(self, value: Any) -> bytes:
        records = active_records()
        dumps = records.serializer.dumps
        data = dumps(value)
        if len(data) > _LARGEST:
            largest = largest_keys(value, dumps)
            raise SessionTooLarge("datastore", service_address(), len(data), _LARGEST, largest)
        records.again = functools.partial(records.serializer.loads, data)
        return data

    def _from_base_type(self, value: bytes) -> Any:
        records = active_records()
        records.again = functools.partial(records.serializer.loads, value)
        try:
            return records.again()
        except Exception as error:
            raise UnreadableSession("datastore", service_address(), undecodable(error)) from error


class _OwnMaxAgeProperty(ndb.IntegerProperty):
    """A number that is written only where there is one.

    The entity of a session like others is what it is in the old library.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(indexed=False, **options)

    def _to_datastore(self, entity: Any, data: Any, *args: Any, **options: Any) -> Any:
        if self._get_value(entity) is None:
            return ()
        return super()._to_datastore(entity, data, *args, **options)


class Session(ndb.Model):
    """The entity of a session; its key's name is the session's id.

    A subclass may add properties; make it the ``session_model`` of a subclass of
    :class:`DatastoreSessionFactory`.
    """

    # ndb's context cache would hand out the same dictionary to everybody, and its global cache
    # can disagree with Datastore; CoherentCache stands in for both.
    _use_cache = False
    _use_global_cache = False

    #: When the entity was last written, in UTC.
    updated: Any = UtcNowProperty(auto_now=True)
    #: The session's data, a dictionary.
    data: Any = _SessionDataProperty()
    #: Seconds for which this session lives, where ``set_max_age()`` has said so.
    own_max_age: Any = _OwnMaxAgeProperty()

    @classmethod
    def get_by_sid(cls, sid: str) -> dict[Any, Any] | None:
        """Return the data (not the entity) of a session, ``None`` if there is none of that id.

        :raises BackendError: Datastore failed.
        """
        data: dict[Any, Any] | None = active_records().load(cls, sid)
        return data

    def _put(self) -> None:
        """Write the entity, and the cache where one is configured.

        :raises BackendError: it is not certain that the entity is written.
        """
        records = active_records()
        records.run(lambda: records.save(self))


#: Session's own; it enters an ndb context itself where it needs one.
_get_by_sid = vars(Session)["get_by_sid"].__func__


def _as_dict(data: Any) -> Any:
    """Return what a model's own method gives, which may be a mapping or pairs, as a dictionary."""
    if data is None:
        return None
    try:
        return dict(data)
    except (TypeError, ValueError):
        return data  # no session


class DatastoreSessionFactory(StoredSessionFactory):
    """Keeps sessions in Datastore, configured by ``config["datastore"]``.

    Use it as ``store.get_session(backend="datastore")``.
    """

    #: The model of the entities.
    session_model: Any = Session

    #: Where the session is, for as long as this factory has it open.
    _opened_at: Place | None = None

    def _get_by_sid(self, sid: str | None) -> SessionDict:
        self._opened_at = self._datastore().here()
        return super()._get_by_sid(sid)

    def _read(self, sid: str) -> dict[Any, Any] | None:
        records, model = self._records(None), self.session_model
        data: dict[Any, Any] | None
        if getattr(model.get_by_sid, "__func__", None) is _get_by_sid:
            data = records.load(model, sid)
        else:  # the model's own, which may do whatever ndb can
            data = _as_dict(records.run(lambda: model.get_by_sid(sid)))
        if records.has_loaded:
            self._note_max_age(records.own_max_age)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        records, model = self._records(lifetime), self.session_model
        records.new_max_age = self.own_max_age
        if self._is_stored:
            try:
                records.run_versioned(model, sid, lambda: model(id=sid, data=data)._put(), PRESENT)
            except VersionConflict:
                if records.is_ended(sid):
                    return False
            else:
                return True
        records.run(lambda: model(id=sid, data=data)._put())
        return not (self._is_stored and records.is_ended_meanwhile(model, sid))

    def _delete(self, sid: str) -> bool:
        return self._records(None).end(self.session_model, sid)

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        records = self._records(lifetime)
        return records.touch(self.session_model, sid)

    def _first_version(self, sid: str) -> Version | None:
        return self._version(sid, self._records(None))

    def _read_version(self, sid: str) -> Version | None:
        version = self._version(sid, self._records(None, fresh=True))
        if version is None:
            is_gone = self._records(None).is_ended(sid)
            return None if is_gone else Version(NEW, dict)
        if version.token is not None:
            return version
        # The model did not look the entity up. A version from before its data is safe: if it is
        # too old by then, the write fails.
        _, token = self._records(None).look_up(self.session_model, sid)
        version = self._version(sid, self._records(None, fresh=True))
        return None if version is None else version._replace(token=token)

    def _version(self, sid: str, records: Records) -> Version | None:
        model = self.session_model
        data, version = records.run_versioned(model, sid, lambda: model.get_by_sid(sid))
        if records.has_loaded:
            self._note_max_age(records.own_max_age)
        if data is None:
            return None
        return Version(version, self._copy_of(data, records, "get_by_sid"))

    def _copy_of(self, data: Any, records: Records, method: str) -> Callable[[], Any]:
        """Return what makes fresh objects of data that a method of the model read or wrote."""
        owner = next(cls for cls in self.session_model.__mro__ if method in vars(cls))
        if owner is Session and records.again is not None:
            return records.again
        # In a way of the model's own, which may have changed what is stored.
        return functools.partial(copy.deepcopy, copy.deepcopy(_as_dict(data)))

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        records, model = self._records(lifetime), self.session_model
        records.new_max_age = self.own_max_age
        expected = ABSENT if token is NEW else token
        try:
            _, version = records.run_versioned(
                model, sid, lambda: model(id=sid, data=data)._put(), expected
            )
        except VersionConflict:
            return None
        if self._is_stored and token is NEW and records.is_ended_meanwhile(model, sid):
            return None  # the next look at it tells so
        return Version(version, self._copy_of(data, records, "_put"))

    def _supersede(self, sid: str) -> bool:
        return self._records(None).end(self.session_model, sid, is_superseded=True)

    def _superseded_at(self, sid: str) -> float | None:
        return self._records(None).superseded_at(sid)

    def _place(self) -> tuple[str, str]:
        return "datastore", service_address()

    def _records(self, lifetime: float | None, fresh: bool = False) -> Records:
        config = backend_config(self.session_store)
        max_age = self._max_age
        if max_age is _default_value:
            max_age = config.get("session_max_age")
        datastore = self._datastore()
        # Opening a session that is new asks no client, which may not be there.
        self._opened_at = datastore.complete(self._opened_at or datastore.here())
        return Records(config, lifetime, max_age, fresh, self._opened_at)

    def _datastore(self) -> Datastore:
        return Datastore(datastore_settings(backend_config(self.session_store)))
