"""Sessions as records under keys, in memcached, Redis or whatever else can compare and set."""

from __future__ import annotations

import logging
from typing import Any

from webapp2_sessions.errors import BackendError, BackendUnavailable, UnreadableSession
from webapp2_sessions.sessions import events
from webapp2_sessions.stored.factory import Stored, StoredSessionFactory
from webapp2_sessions.stored.merging import NEW, Version
from webapp2_sessions.stored.namespaces import current_namespace
from webapp2_sessions.stored.records import Records
from webapp2_sessions.stored.serializers import format_of

__all__ = ["KeyedSessionFactory"]

logger: logging.Logger = logging.getLogger(__name__)


class KeyedSessionFactory(StoredSessionFactory):
    """Keeps each session in one record, under a key made of its namespace and its id.

    A backend supplies :meth:`_configured_records`, and ``_ping()``.
    """

    #: Where the session is kept, and the namespace in which it was opened: all of this request
    #: happens there.
    _opened: tuple[Records, str] | None = None

    def _configured_records(self) -> Records:
        """Return the records of the present configuration."""
        raise NotImplementedError()

    def _pin_place(self) -> tuple[Records, str]:
        records = self._configured_records()
        namespace = records.namespace
        self._opened = records, current_namespace() if namespace is None else namespace
        return self._opened

    def _record(self, sid: str) -> tuple[Any, bytes]:
        """Return where a session is, and its key there."""
        records, namespace = self._opened or self._pin_place()
        return records, records.key(f"{namespace}/{sid}" if namespace else sid)

    def _read(self, sid: str) -> dict[Any, Any] | None:
        records, key = self._record(sid)
        stored = records.get(key)
        self._size = None if stored is None else len(stored)
        data, max_age, details = records.decode_session(key, self.name, stored)
        self._note_max_age(max_age)
        self._note_details(details)
        return data  # type: ignore[no-any-return]

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool:
        records, key = self._record(sid)
        encoded = self._encoded(records, key, data)
        self._size = len(encoded)
        if self._is_stored:
            return records.replace(key, encoded, lifetime)  # type: ignore[no-any-return]
        records.set(key, encoded, lifetime)
        return True

    def _delete(self, sid: str) -> bool:
        records, key = self._record(sid)
        return records.revoke(key)  # type: ignore[no-any-return]

    def _supersede(self, sid: str) -> bool:
        records, key = self._record(sid)
        return records.revoke(key, self._now())  # type: ignore[no-any-return]

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        records, key = self._record(sid)
        if not records.touch(key, lifetime):
            return False
        # A session that is only read would be lost when the older key is taken out.
        try:
            records.sign_again(key, self.name, lifetime)
        except BackendUnavailable:
            raise
        except BackendError as error:  # as of a server that is full: another renewal tries again
            logger.warning("The session %r keeps its older signature: %s", self.name, error)
            events.tell_error(self.session_store.config, error)
        return True

    def _superseded_at(self, sid: str) -> float | None:
        records, key = self._record(sid)
        return records.superseded_at(key)  # type: ignore[no-any-return]

    def _read_version(self, sid: str) -> Version | None:
        records, key = self._record(sid)
        stored, token = records.gets(key)
        if stored is None:
            return None if self._is_stored and records.is_gone(key) else Version(NEW, dict)
        self._size = len(stored)
        is_first = True

        def data() -> Any:
            nonlocal is_first
            found, max_age, details = records.decode_session(key, self.name, stored)
            if is_first:  # later calls ask for the state before the request
                self._note_max_age(max_age)
                self._note_details(details)
                is_first = False
            return found

        return Version(token, data)

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        (records, key), owner = self._record(sid), self.name
        encoded = self._encoded(records, key, data)
        self._size = len(encoded)
        known = records.absent(key) if token is NEW else token
        is_written = records.fill(key, encoded, known, lifetime)
        if token is NEW and is_written and self._is_stored and records.discard_if_revoked(key):
            return None  # reading it again tells why
        if not is_written:
            return None
        written = records.token_of(encoded)
        return Version(written, lambda: records.decode_session(key, owner, encoded)[0])

    def _encoded(self, records: Any, key: bytes, data: dict[Any, Any]) -> bytes:
        beside = self.own_max_age, self._details_to_write()
        return records.encode_session(key, self.name, data, *beside)  # type: ignore[no-any-return]

    def _stored(self, sid: str) -> Stored | None:
        """Return what is stored under an id, ``None`` for what cannot be opened."""
        records, key = self._record(sid)
        try:
            data, _, details = records.decode_session(key, self.name, records.get(key))
        except UnreadableSession:
            return None
        return Stored(data, details or {}) if type(data) is dict else None

    def _place(self) -> tuple[str, str]:
        records, key = self._record(str(self.sid))
        return records.backend, records.address(key)

    # For the command line

    def _describe(self, sid: str) -> dict[str, Any]:
        records, key = self._record(sid)
        times = records.times(key)  # first, because reading a record ends its idle time
        stored = records.get(key)
        data = None if stored is None else records.opened(key, self.name, stored)
        if stored is None or data is None:
            return {}
        return {"size": len(stored), "format": format_of(data), **times}

    def _is_revoked(self, sid: str) -> bool:
        records, key = self._record(sid)
        return records.is_revoked(key)  # type: ignore[no-any-return]
