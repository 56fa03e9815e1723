"""The session factory of Datastore."""

from __future__ import annotations

import datetime
import functools
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from webapp2_sessions.config import _default_value, datastore_settings
from webapp2_sessions.config.loading import backend_config
from webapp2_sessions.errors import BackendError, ConfigError
from webapp2_sessions.sessions_ndb.client import Datastore, VersionConflict, ndb, service_address
from webapp2_sessions.sessions_ndb.model import Session
from webapp2_sessions.sessions_ndb.records import SessionRepository
from webapp2_sessions.sessions_ndb.stub import ABSENT, PRESENT, EntityVersion
from webapp2_sessions.sessions_ndb.users import noted_of_user
from webapp2_sessions.stored.factory import Noted, Stored, StoredSessionFactory, as_dict
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.serializers import format_of

__all__ = ["DatastoreSessionFactory", "Session"]

#: Original, kept to detect models that read in a way of their own.
_get_by_sid = vars(Session)["get_by_sid"].__func__


class DatastoreSessionFactory(StoredSessionFactory):
    """Keep sessions in Datastore, configured by ``config["datastore"]``.

    Use it as ``store.get_session(backend="datastore")``.
    """

    #: The model of the entities.
    session_model: Any = Session

    can_list: bool = True

    #: Reads and writes the session, for as long as this factory has it open.
    _opened: SessionRepository | None = None

    def _pin_place(self) -> SessionRepository:
        config = backend_config(self.session_store)
        is_default = self._max_age is _default_value
        max_age = config.get("session_max_age") if is_default else self._max_age
        self._opened = SessionRepository(config, max_age, stays=True)
        return self._opened

    def _repository(self) -> SessionRepository:
        """Return the repository of the place where the session was opened."""
        return self._opened or self._pin_place()

    def _read(self, sid: str) -> dict[Any, Any] | None:
        repository, model = self._opened or self._pin_place(), self.session_model
        data: dict[Any, Any] | None
        if getattr(model.get_by_sid, "__func__", None) is _get_by_sid:
            # Optimization: on a hit of the cache no context is entered (9.6 us).
            data = repository.load(model, sid)
        else:
            data = as_dict(repository.run(model.get_by_sid, sid))
        self._size = repository.size
        if repository.has_loaded:  # a model may read in a way of its own
            self._note_max_age(repository.own_max_age)
            self._note_details(repository.details)
        return data

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        repository, model = self._opened or self._pin_place(), self.session_model
        if self._is_stored:
            try:
                repository.write(model, sid, data, lifetime, *self._beside(), PRESENT)
                self._size = repository.size
                return True
            except VersionConflict:
                if repository.is_revoked(sid):
                    return False
        repository.write(model, sid, data, lifetime, *self._beside())
        self._size = repository.size
        return not (self._is_stored and repository.was_revoked_meanwhile(model, sid))

    def _delete(self, sid: str) -> bool:
        return self._repository().revoke(self.session_model, sid)

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        return self._repository().touch(self.session_model, sid, lifetime)

    def _read_version(self, sid: str) -> Version | None:
        version = self._first_version(sid, fresh=True)
        if version is None:
            return None if self._repository().is_revoked(sid) else Version(NEW, dict)
        if version.token is not None:
            return version
        # The model did not look the entity up. Ask for the version before the data: if somebody
        # writes in between, it is stale and our write fails, as it should.
        _, token = self._repository().look_up(self.session_model, sid)
        version = self._first_version(sid, fresh=True)
        return None if version is None else version._replace(token=token)

    def _first_version(self, sid: str, fresh: bool = False) -> Version | None:
        repository, model = self._repository(), self.session_model
        entity = EntityVersion(model._get_kind(), sid)
        data = repository.run(model.get_by_sid, sid, entity=entity, fresh=fresh)
        self._size = repository.size
        if repository.has_loaded:
            self._note_max_age(repository.own_max_age)
            self._note_details(repository.details)
        return None if data is None else _version_of(repository, data)

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        repository, model = self._repository(), self.session_model
        expected = ABSENT if token is NEW else token
        try:
            repository.write(model, sid, data, lifetime, *self._beside(), expected)
        except VersionConflict:
            return None
        self._size = repository.size
        version = _version_of(repository, data)
        if self._is_stored and token is NEW and repository.was_revoked_meanwhile(model, sid):
            return None  # the merger reads again, and learns of it
        return version

    def _beside(self) -> tuple[int | None, dict[str, Any] | None]:
        """Return what an entity keeps beside the data: the session's own age, and its user."""
        return self.own_max_age, self._details_to_write()

    # The index is part of the entities: nothing has to be noted or dropped besides.

    def _noted_of_user(self, user: str) -> Iterator[Noted]:
        return noted_of_user(self._repository(), self.session_model, str(self.name), user)

    def _look_up(self, sids: Sequence[str]) -> list[Stored | None]:
        return self._repository().stored(self.session_model, sids)

    def _supersede(self, sid: str) -> bool:
        return self._repository().revoke(self.session_model, sid, is_superseded=True)

    def _superseded_at(self, sid: str) -> float | None:
        return self._repository().superseded_at(sid)

    def _place(self) -> tuple[str, str]:
        return "datastore", service_address()

    # For the command line

    def _describe(self, sid: str) -> dict[str, Any]:
        entity, _ = self._repository().look_up(self.session_model, sid)
        if entity is None:
            return {}
        updated = entity.updated
        described = {"updated": updated and updated.replace(tzinfo=datetime.timezone.utc)}
        try:
            # Before it is decoded, which happens on first use.
            [stored] = type(entity).data._get_base_value_unwrapped_as_list(entity)
            return {"size": len(stored), "format": format_of(stored), **described}
        except (AttributeError, TypeError, ValueError):  # a model that keeps it in its own way
            return described

    def _is_revoked(self, sid: str) -> bool:
        return self._repository().is_revoked(sid)

    @classmethod
    def _ping(cls, config: Mapping[str, Any]) -> Iterator[str]:
        try:
            store = Datastore(datastore_settings(config))
            # Not of the kind "Session", of which an application may have a model of its own.
            store.run(lambda: ndb.Key("SessionEnded", _PROBE).get(**store.options))
        except (BackendError, ConfigError) as error:
            yield str(error)


#: The name of an entity that nothing else has.
_PROBE = "webapp2-sessions-check"


def _version_of(repository: SessionRepository, data: Any) -> Version:
    """Return the state that was just read or written, with a copy that nobody else changes."""
    # Optimization: copied by pickle (2,000 dictionaries in 1.8 ms, copy.deepcopy() takes 6.3).
    kept = pickle.dumps(as_dict(data), pickle.HIGHEST_PROTOCOL)
    return Version(repository.version, functools.partial(pickle.loads, kept))
