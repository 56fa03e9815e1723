"""Sessions that are kept on a server: loading, saving, renewing and destroying, written once."""

from __future__ import annotations

import logging
import time
from typing import Any

from webapp2_sessions import cookie_rules, cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.errors import (
    BackendError,
    ConfigError,
    SessionConflict,
    SessionTooLarge,
    UnreadableSession,
)
from webapp2_sessions.factories import CustomBackendSessionFactory
from webapp2_sessions.merging import NEW, Merger, TooManyConflicts, Version
from webapp2_sessions.session_dict import SessionDict

__all__ = ["StoredSessionFactory"]

logger: logging.Logger = logging.getLogger(__name__)


class StoredSessionFactory(CustomBackendSessionFactory):
    """Base of server-side sessions in which loading and saving are written already.

    A backend supplies :meth:`_read`, :meth:`_write` and :meth:`_delete`; :meth:`_touch` if a
    session can be renewed for less than writing it, and :meth:`_read_version` with
    :meth:`_write_version` if it can compare and set, for ``on_conflict='merge'``.

    :meth:`get_session` raises a :class:`~webapp2_sessions.errors.BackendError` if the server
    fails; a new session would take the stored one's place.
    """

    can_destroy: bool = True

    sid: str | None
    #: Whether the store holds a session of this id.
    _is_stored = False
    #: Saves by compare-and-set; ``None`` unless the configuration wants that.
    _merger: Merger | None = None

    def _read(self, sid: str) -> dict[Any, Any] | None:
        """Return the stored data of a session, ``None`` if there is none of that id.

        :raises BackendError: it cannot be told, because the server failed.
        """
        raise NotImplementedError()

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> bool | None:
        """Store the data of a session, replacing what is stored.

        :param lifetime: seconds after which nobody can ask for it any more, ``None`` if unknown.
        :returns: ``False`` if :attr:`_is_stored`, and another request has deleted the session
            meanwhile, so that nothing was written. A backend may do without.
        :raises BackendError: it is not certain that the data is stored.
        """
        raise NotImplementedError()

    def _delete(self, sid: str) -> bool | None:
        """Remove a session; nothing happens if there is none of that id.

        :returns: ``False`` if another request has deleted it before. A backend may do without.
        :raises BackendError: it is not certain that it is gone.
        """
        raise NotImplementedError(f"{type(self).__name__} has no _delete(sid)")

    def _touch(self, sid: str, lifetime: float | None) -> bool:
        """Keep a session, as it is stored, for another ``lifetime`` seconds.

        :returns: whether there is a session of that id.
        :raises BackendError: it is not certain that it stays.
        """
        data = self._read(sid)
        return data is not None and self._write(sid, data, lifetime) is not False

    def _read_version(self, sid: str) -> Version | None:
        """Return the present state of a session, as :class:`~webapp2_sessions.merging.Merger` asks.

        :raises BackendError: it cannot be told, because the server failed.
        """
        raise NotImplementedError()

    def _write_version(
        self, sid: str, data: dict[Any, Any], lifetime: float | None, token: Any
    ) -> Version | None:
        """Store data if the session is still in the state of ``token``; returns the new state.

        :raises BackendError: it is not certain that the data is stored.
        """
        raise NotImplementedError()

    def _get_by_sid(self, sid: str | None) -> SessionDict:
        self._is_stored = False
        self._merger = self._new_merger()
        if sid is not None and self._is_valid_sid(sid):
            self.sid = sid
            try:
                data = self._read(sid) if self._merger is None else self._load(sid, self._merger)
            except BackendError as error:
                self._is_stored = True  # for all that is known
                return self._degraded(error, SessionDict(self, new=True))
            if isinstance(data, dict):
                self._is_stored = True
                return self._watch(SessionDict(self, data=data))
        self.sid = self._get_new_sid()
        return self._watch(SessionDict(self, new=True))

    def _load(self, sid: str, merger: Merger) -> Any:
        version = self._first_version(sid)
        if version is None or version.token is NEW:
            return None
        data = version.data()
        if isinstance(data, dict):  # otherwise there will be a new session, of another id
            merger.known = version
        return data

    def _first_version(self, sid: str) -> Version | None:
        """The state of the session for a request that begins; may come from a cache."""
        return self._read_version(sid)

    def save_session(self, response: Any) -> None:
        """Store the session if it was modified, and set its cookie.

        A session that was not modified is renewed if it is due.

        :raises ConfigError: the cookie cannot be sent; nothing is stored then.
        :raises BackendError: it is not certain that the session is stored; no cookie is set.
        """
        session = self.session
        if session is None:
            return
        if session.destroyed:
            self._end(response, session)  # an error in any case: a sign-out must not just seem done
        try:
            if session.degraded:
                return
            if session.modified if self._snapshot is None else self._is_to_be_written(session):
                self._save(response, session)
            elif self._is_stored and self._is_to_be_renewed() and self.keep():
                self._set_cookie(response, {"_sid": self.sid})
        except BackendError as error:
            self._degraded(error, session)

    def _save(self, response: Any, session: SessionDict) -> None:
        cookie_rules.check_cookie(self.name, self.session_args, type(response), "session_args")
        if self.store(session):
            self._set_cookie(response, {"_sid": self.sid})

    def store(self, session: SessionDict) -> bool:
        """Store a session; whether there is still one to store.

        :raises BackendError: it is not certain that the session is stored.
        """
        if self.sid is None:  # the application set self.session itself
            self.sid = self._get_new_sid()
        if session.regenerates and self._is_stored:
            is_there = self._regenerate(session, self.sid)
        else:
            is_there = self._write_or_merge(self.sid, session) is not False
        if not is_there:
            logger.info("The session %r was destroyed by another request meanwhile", self.name)
            return False
        self._is_stored, session.regenerates = True, False
        return True

    def keep(self) -> bool:
        """Keep the stored session as it is for another lifetime; whether there is one."""
        return self.sid is not None and self._touch(self.sid, self._lifetime())

    def discard(self) -> None:
        """Delete the stored session, if there is one; a new one would have another id."""
        if self._is_stored and self.sid is not None:
            self._delete(self.sid)
        self._is_stored = False
        self.sid = self._get_new_sid()
        self._merger = self._new_merger()

    def _write_or_merge(self, sid: str, session: SessionDict) -> bool | None:
        """Store the session; ``False`` if there is none to store any more."""
        if self._merger is None:
            return self._write(sid, dict(session), self._lifetime())
        return self._merge(self._merger, session)

    def _regenerate(self, session: SessionDict, old: str) -> bool:
        """Store the session under a new id, and end the old one; whether it was still there.

        In this order nothing is lost if the server fails in between. Of several requests that
        end one session the first one has it; the others' copies are removed again.
        """
        if self._merger is not None and not self._merge(self._merger, session):
            return False
        self._is_stored, self.sid = False, self._get_new_sid()
        self._merger = self._new_merger()
        self._write_or_merge(self.sid, session)
        if self._delete(old) is False:
            self._delete(self.sid)
            return False
        return True

    def _merge(self, merger: Merger, session: SessionDict) -> bool:
        """Store what this request changed; whether there is still a session to change."""
        mine = dict(session)
        try:
            stored = merger.save(mine, session.flash_keys)
        except TooManyConflicts:
            raise SessionConflict(
                *self._place(), "other requests changed the session at each try to merge with them"
            ) from None
        if stored is None:
            return False
        if stored is not mine:
            dict.clear(session)
            dict.update(session, stored)
        return True

    def _place(self) -> tuple[str, str]:
        """The backend's keyword and its server's address, for errors."""
        return type(self).__name__, "its store"

    def _end(self, response: Any, session: SessionDict) -> None:
        """Delete the stored session; what the handler has set since is a new one."""
        self.discard()
        session.destroyed = session.degraded = False
        if not session.modified:
            cookies.expire(response, self.name, self.session_args)

    def _new_merger(self) -> Merger | None:
        if self.session_store.config.get("on_conflict") != "merge":
            return None
        if type(self)._read_version is StoredSessionFactory._read_version:
            problem = f"is 'merge', and {type(self).__name__} cannot compare and set"
            raise ConfigError("on_conflict", problem)
        return Merger(
            lambda: self._read_version(str(self.sid)),
            lambda data, token: self._write_version(str(self.sid), data, self._lifetime(), token),
        )

    def _degraded(self, error: BackendError, session: SessionDict) -> SessionDict:
        """Return ``session``, which is not saved any more, or raise the error.

        What is wrong with the session itself is an error in any case.
        """
        degrade = self.session_store.config.get("on_backend_error") == "degrade"
        if not degrade or isinstance(error, (SessionTooLarge, UnreadableSession)):
            raise error
        logger.warning("The session %r is degraded: %s", self.name, error)
        session.degraded = True
        return session

    def _lifetime(self) -> float | None:
        """Seconds for which the cookie that is being written can bring this session back.

        The longest age that this request or the configuration allows, since other requests may
        open the session with the configured one; less if the browser drops the cookie before, or
        the session ends.
        """
        config = self.session_store.config
        limits: list[float | None] = [self.own_max_age]
        if self.own_max_age is None:
            age = config.get("session_max_age")
            if age is not None and self._max_age is not _default_value:
                age = None if self._max_age is None else max(age, self._max_age)
            limits = [age, _seconds(self.session_args.get("max_age"))]
        absolute = config.get("absolute_max_age")
        if absolute is not None:
            now = time.time()
            limits.append((now if self._began is None else self._began) + absolute - now)
        known = [limit for limit in limits if limit is not None]
        return min(known) if known else None


def _seconds(max_age: Any) -> float | None:
    """The ``max_age`` of a cookie in seconds; WebOb takes a timedelta and digits as well."""
    if max_age is None:
        return None
    if hasattr(max_age, "total_seconds"):
        return float(max_age.total_seconds())
    return int(max_age)
