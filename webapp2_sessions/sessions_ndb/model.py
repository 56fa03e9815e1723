"""``Session``, the model of session entities, and its properties."""

from __future__ import annotations

from typing import Any

from webapp2_sessions.errors import SessionTooLarge, UnreadableSession
from webapp2_sessions.errors.sizes import largest_keys
from webapp2_sessions.sessions_ndb.client import ndb, service_address
from webapp2_sessions.sessions_ndb.records import UtcNowProperty, active_repository
from webapp2_sessions.stored.serializers import SHARED_PROTOCOL, Serializer, undecodable

__all__ = ["Session"]

#: Bytes of data that an entity takes. A property that is not indexed may have 1,048,487, an
#: entity 1,048,572 (Datastore's "Limits"), of which key and ``updated`` need some.
_LARGEST = 1_048_400


class _SessionDataProperty(ndb.BlobProperty):
    """A blob as ndb.PickleProperty stores it, with a pickle that Python 2 and 3 can share.

    Or with JSON, where the configuration says so.
    """

    def _to_base_type(self, value: Any) -> bytes:
        repository = active_repository()
        dumps = Serializer.of(repository.config, SHARED_PROTOCOL).dumps
        data = dumps(value)
        repository.size = len(data)
        if len(data) > _LARGEST:
            largest = largest_keys(value, dumps)
            raise SessionTooLarge("datastore", service_address(), len(data), _LARGEST, largest)
        return data

    def _from_base_type(self, value: bytes) -> Any:
        repository = active_repository()
        repository.size = len(value)
        try:
            return Serializer.of(repository.config, SHARED_PROTOCOL).loads(value)
        except Exception as error:
            raise UnreadableSession("datastore", service_address(), undecodable(error)) from error


class _IfAny(ndb.Property):
    """A property that is written only where it has a value.

    The entity of a session that uses nothing new is what it is in the old library.
    """

    def _to_datastore(self, entity: Any, data: Any, *args: Any, **options: Any) -> Any:
        if self._get_value(entity) is None:
            return ()
        return super()._to_datastore(entity, data, *args, **options)


class _NumberIfAny(_IfAny, ndb.IntegerProperty):
    pass


class _TextIfAny(_IfAny, ndb.StringProperty):
    pass


class _JsonIfAny(_IfAny, ndb.JsonProperty):
    pass


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
    own_max_age: Any = _NumberIfAny(indexed=False)
    #: Who is signed in, and when that was noted, where ``user_index`` asks for it.
    user_index: Any = _TextIfAny()
    #: What else is known of that, a dictionary.
    user_details: Any = _JsonIfAny()

    @classmethod
    def get_by_sid(cls, sid: str) -> dict[Any, Any] | None:
        """Return the data (not the entity) of a session, ``None`` if there is none of that id.

        :raises BackendError: Datastore failed.
        """
        data: dict[Any, Any] | None = active_repository().load(cls, sid)
        return data

    def _put(self) -> None:
        """Write the entity, and the cache where one is configured.

        :raises BackendError: it is not certain that the entity is written.
        """
        active_repository().save(self)
