"""Sessions on a server: load, save, renew and destroy them, for all backends."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from webapp2_sessions.config import _default_value
from webapp2_sessions.config.value_checks import seconds_of
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import (
    BackendError,
    ConfigError,
    SessionConflict,
    StaleCache,
    UnreadableSession,
)
from webapp2_sessions.sessions import events
from webapp2_sessions.sessions.factories import CustomBackendSessionFactory
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.stored.merging import NEW, Merger, TooManyConflicts, Version

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import Store

__all__ = ["Noted", "Stored", "StoredSessionFactory"]

logger: logging.Logger = logging.getLogger(__name__)


class Noted(NamedTuple):
    """An id that is noted as one of a user's sessions."""

    sid: str
    #: When it was first noted, in Unix milliseconds.
    at: int


class Stored(NamedTuple):
    """What is stored of a session."""

    data: dict[Any, Any]
    #: What the record says besides.
    details: Mapping[str, Any]


class StoredSessionFactory(CustomBackendSessionFactory):
    """Base class of server-side backends: everything but reading and writing a record.

    A backend supplies :meth:`_read`, :meth:`_write` and :meth:`_delete`; :meth:`_touch` if it can
    extend a record in one step, and :meth:`_read_version` with :meth:`_write_version` if it can
    compare and set, for ``on_conflict='merge'``.

    :meth:`get_session` raises a :class:`~webapp2_sessions.errors.BackendError` if the server
    fails; a new session would take the stored one's place.
    """

    can_destroy: bool = True
    #: Whether ``on_oversize`` may name the backend.
    can_spill: bool = True
    #: Whether the backend knows the sessions of a user, for ``user_index``.
    can_list: bool = False

    sid: str | None
    own_max_age: int | None
    superseded: bool
    #: Whether the store holds a session of this id.
    _is_stored = False
    #: Saves by compare-and-set; ``None`` unless ``on_conflict`` is ``'merge'``.
    _merger: Merger | None = None
    #: Bytes of the record that was read or written last, ``None`` if that is not known.
    _size: int | None = None
    #: The own age of the record that was read last.
    _stored_max_age: int | None = None
    #: Whether its end was tried, and nobody knows whether it came to it.
    _is_ending = False
    #: Former ids of this session, which end before its cookie is set. ``True`` for those that
    #: could not be ended at the first try.
    _former_sids: dict[str, bool]
    #: What the record that was read last says besides its data, for ``user_index``.
    _details: Mapping[str, Any] | None = None
    #: Ids from the request's cookies without a record that can be read. Concurrent requests may
    #: still have those sessions, which end together with this one.
    _replaced_sids: list[str]

    def __init__(self, name: str, session_store: Store) -> None:
        super().__init__(name, session_store)
        self._former_sids = {}
        self._replaced_sids = []

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

        A backend should do it in one step. Here the session is read and written again, by
        compare-and-set if sessions are merged; otherwise what another request writes in between is
        lost.

        :returns: whether there is a session of that id.
        :raises BackendError: it is not certain that it stays.
        """
        if self._merger is None:
            data = self._read(sid)
            return data is not None and self._write(sid, data, lifetime) is not False
        version = self._read_version(sid)
        if version is None or version.token is NEW:
            return False
        data = version.data()
        if self._write_version(sid, data, lifetime, version.token) is None:
            version = self._read_version(sid)  # which another request has just written, or ended
            return version is not None and version.token is not NEW
        return True

    def _read_version(self, sid: str) -> Version | None:
        """Return the present state of a session, as ``Merger`` in :mod:`.merging` asks.

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

    def _supersede(self, sid: str) -> bool | None:
        """Remove a session that has got a new id, as :meth:`_delete`.

        A backend that notes the time, for :meth:`_superseded_at`, lets requests be recognized that
        were under way with the former id.
        """
        return self._delete(sid)

    def _superseded_at(self, sid: str) -> float | None:
        """Return when a session got a new id in place of this one, in Unix seconds.

        Without it, requests that were under way with the former id begin a new session.

        :returns: ``None`` if it did not, or that is not known any more.
        :raises BackendError: it cannot be told, because the server failed.
        """
        return None

    def _note_max_age(self, max_age: object) -> None:
        """Take over a record's own age, ``None`` if it has none.

        A backend that keeps :attr:`own_max_age` with the data calls this when it has read a
        record; others leave it to the cookie. What this request has set takes precedence.
        """
        is_sound = type(max_age) is int and 0 < max_age < 2**31
        self._stored_max_age = max_age if is_sound else None  # type: ignore[assignment]
        if not self.sets_max_age:
            self.own_max_age = self._stored_max_age

    # The sessions of a user; a backend with can_list supplies all of these

    def _note_details(self, details: object) -> None:
        """Take over what a record says besides its data, ``None`` if it says nothing."""
        self._details = details if isinstance(details, dict) else None

    def _details_to_write(self) -> dict[str, Any] | None:
        """Return what a record is to say besides its data: what JSON can represent, or nothing."""
        return None if self._listing is None else self._listing.details()

    def _note_of_user(self, user: str, noted: Noted, lifetime: float | None) -> None:
        """Note an id of a user before its record is written, so that none is ever missing.

        :param user: what the user is called in the index.
        :param noted: the id; noted again, the same.
        :param lifetime: seconds after which the note is void, ``None`` for never.
        :raises BackendError: it is not certain that it is noted.
        """

    def _noted_of_user(self, user: str) -> Iterator[Noted]:
        """Yield the ids that are noted of a user, the newest first; some may lead nowhere.

        :raises BackendError: the server failed.
        """
        raise NotImplementedError(f"{type(self).__name__} does not know the sessions of a user")

    def _drop_of_user(self, user: str, noted: Sequence[Noted]) -> None:
        """Drop ids of a user that lead nowhere.

        :raises BackendError: it is not certain that they are dropped.
        """

    def _look_up(self, sids: Sequence[str]) -> list[Stored | None]:
        """Return what is stored under some ids, ``None`` for what cannot be opened.

        :raises BackendError: the server failed.
        """
        raise NotImplementedError(f"{type(self).__name__} does not know the sessions of a user")

    def _end(self, sid: str) -> bool:
        """End a session that another request may have open; return whether it was there.

        :raises BackendError: it is not certain that it is gone.
        """
        started = events.start(self.session_store.config)
        is_first = self._delete(sid) is not False
        if is_first:
            self._tell("end", started)
        return is_first

    def _get_by_sid(self, sid: Any) -> SessionDict:
        self._pin_place()
        self._is_stored = False
        merges = self.session_store.config.get("on_conflict") == "merge"
        self._merger = self._new_merger() if merges else None
        if self._is_valid_sid(sid):
            self.sid = sid
            try:
                data = self._read_or_load(sid)
            except BackendError as error:
                self._is_stored = True  # for all that is known
                return self._degrade(error, SessionDict(self, new=True))
            if data is not None:
                self._is_stored, self.superseded = True, False
                session = SessionDict(self, data=data)
                if self._merger is not None:
                    session._assigned = set()
                return self._take_snapshot(session)
            if sid not in self._replaced_sids:
                self._replaced_sids.append(sid)
        self.sid = self._get_new_sid()
        return self._take_snapshot(SessionDict(self, new=True))

    def _read_or_load(self, sid: str) -> dict[Any, Any] | None:
        """Return a copy of the stored data, ``None`` if there is no session of that id."""
        started, self._size = events.start(self.session_store.config), None
        version = None
        try:
            if self._merger is None:
                data = self._read(sid)
            else:
                version = self._first_version(sid)
                data = None if version is None or version.token is NEW else version.data()
            if type(data) is not dict:
                data = as_dict(data)  # a mapping may decode what it holds only now
        except UnreadableSession as error:
            if self.session_store.config.get("on_unreadable") != "new":
                raise
            logger.warning("The session %r is begun again: %s", self.name, error)
            events.tell_error(self.session_store.config, error)
            # Its cookie goes, and no copy of that may find the session later.
            self._former_sids[sid] = True
            return None
        self._tell("load", started, self._size)
        if data is None:
            if self._was_superseded_now(sid):
                self.superseded = True
        elif self._merger is not None and version is not None:
            self._merger.known = version
        return data

    def _was_superseded_now(self, sid: str) -> bool:
        """Return whether a session got a new id within the last ``renewal_grace`` seconds."""
        grace = self.session_store.config.get("renewal_grace", 0)
        superseded_at = self._superseded_at(sid) if grace else None
        return superseded_at is not None and abs(self._now() - superseded_at) < grace

    def _now(self) -> float:
        """Return the time in Unix seconds, by the clock that a test may move."""
        return time.time()

    def _first_version(self, sid: str) -> Version | None:
        """Return the state of the session when a request begins; may come from a cache."""
        return self._read_version(sid)

    def save_session(self, response: Any) -> None:
        """Store the session if it was modified, and set its cookie.

        A session that was not modified is renewed if it is due.

        :raises ConfigError: the cookie cannot be sent; nothing is stored then.
        :raises BackendError: it is not certain that the session is stored; no cookie is set.
        """
        session = self._session_to_save()
        if session is None:
            return
        is_destroyed = session._destroyed
        if is_destroyed:
            self.discard()  # raises in any case: a sign-out must not seem done
            session._destroyed = session._degraded = False
        try:
            if session._degraded:
                return
            if self._should_save(session):
                rules.check_cookie(self.name, self.session_args, type(response), "session_args")
                is_renewed = session._regenerates
                if self.store(session):
                    self._set_cookie(response, {"_sid": self.sid})
                    if is_renewed:
                        self._expire_former_cookies(response)
            elif is_destroyed:
                self._expire_cookie(response)
            elif self._is_stored and self._should_refresh() and self.keep():
                self._set_cookie(response, {"_sid": self.sid})
        except BackendError as error:
            self._degrade(error, session)
        if is_destroyed:
            self._expire_former_cookies(response)

    def store(self, session: SessionDict) -> bool:
        """Store a session; return whether there is still one to store.

        A session that gets a new id is written under it before the former record ends, so that
        nothing is lost if the server fails in between. Nothing of this request is written under
        the former id, which an attacker may know.

        :raises BackendError: it is not certain that the session is stored.
        """
        started = events.start(self.session_store.config)
        if self.sid is None:  # the application set self.session itself
            self.sid = self._get_new_sid()
        if session._regenerates:
            self._former_sids.update(dict.fromkeys(self._replaced_sids, True))
            self._replaced_sids = []
            if self._is_stored:
                if not self.merged(session):  # with what others have saved by now
                    return self._is_gone()
                self._leave_id()
        if self._listing is not None:
            self._listing.note()
        if self._merger is None:
            is_there = self._write(self.sid, dict(session), self._lifetime())
        else:
            is_there = self._save_merged(self._merger, session)
        if is_there is False:
            return self._is_gone()
        self._is_stored = True
        size = self._size
        if self._former_sids:
            leaving = events.start(self.session_store.config)
            if not self._end_former():
                return self._is_gone()
            self._tell("renewal", leaving)
        if self._listing is not None:
            self._listing.settle()
        session._regenerates = self.superseded = False
        self._tell("save", started, size)
        return True

    def _is_gone(self) -> bool:
        logger.info("The session %r was destroyed by another request meanwhile", self.name)
        return False

    def _leave_record(self) -> None:
        self._begin_id()

    def _leave_id(self) -> None:
        """Take an id under which nothing is stored; the present one becomes a former one."""
        self._former_sids[str(self.sid)] = False
        self._begin_id()

    def _begin_id(self) -> None:
        """Take an id under which nothing is stored."""
        self._is_stored, self.sid = False, self._get_new_sid()
        if self._merger is not None:
            self._merger.known = Version(NEW, dict)

    def _end_former(self) -> bool:
        """End the former ids of the session, which is stored under its present one.

        :returns: ``False`` if another request was first to renew or destroy it. The first copy
            stays, and this request's is removed again.
        """
        for former, was_tried in [*self._former_sids.items()]:
            self._former_sids[former] = True
            try:
                is_first = self._supersede(former) is not False
            except StaleCache as error:
                # The cache can only serve what is older than the new id. A cache that is down must
                # not keep anybody from signing in.
                logger.warning("The former id of the session %r has ended: %s", self.name, error)
                events.tell_error(self.session_store.config, error)
                is_first = error.is_first
            del self._former_sids[former]
            if not (is_first or was_tried):
                self._remove()
                return False
        return True

    def retire(self) -> bool:
        """End the record of a session that moves elsewhere; return whether it was still there.

        :raises BackendError: it is not certain that it is gone.
        """
        if self._is_stored:  # not if this is tried again
            self._leave_id()
        return self._end_former() or self._is_gone()

    def merged(self, session: SessionDict) -> bool:
        """Merge what other requests have stored into a session; return whether it still exists.

        :raises BackendError: the server failed.
        """
        return self._merger is None or self._merge(self._merger.merged, session)

    def keep(self) -> bool:
        """Extend the record by another lifetime; return whether there is one."""
        started = events.start(self.session_store.config)
        is_there = self.sid is not None and self._touch(self.sid, self._lifetime())
        if is_there:
            if self._listing is not None:
                self._listing.note()
            self._tell("refresh", started)
        return is_there

    def discard(self) -> None:
        """Delete the record, if there is one; a new session would have another id."""
        started = events.start(self.session_store.config)
        was_tried, self._is_ending = self._is_ending, True
        # After a failure this request may have been first without having learnt of it.
        if self._remove() or was_tried:
            self._tell("end", started)
        self._is_ending = False
        if self._listing is not None:
            self._listing.settle()

    def _remove(self) -> bool:
        """Delete all records of the session; return whether one was there until now."""
        present = [self.sid] if self._is_stored and self.sid is not None else []
        was_there = False
        for sid in dict.fromkeys((*self._former_sids, *self._replaced_sids, *present)):
            is_first = self._delete(sid) is not False
            was_there = was_there or (is_first and sid not in self._replaced_sids)
        self._former_sids, self._replaced_sids = {}, []
        self._begin_id()
        return was_there

    def _save_merged(self, merger: Merger, session: SessionDict) -> bool:
        """Store what this request changed; return whether the session still exists."""
        try:
            is_there = self._merge(merger.save, session)
        except TooManyConflicts:
            raise SessionConflict(
                *self._place(), "other requests changed the session at each try to merge with them"
            ) from None
        if is_there and session._assigned:
            session._assigned = set()
        return is_there

    def _merge(self, merge: Callable[..., dict[Any, Any] | None], session: SessionDict) -> bool:
        """Replace the data of a session by what a method of the merger makes of it.

        :returns: whether the session still exists.
        """
        mine = dict(session)
        merged = merge(mine, session._flash_keys, session._assigned or ())
        if merged is not None and merged is not mine:
            dict.clear(session)  # without marking it modified
            dict.update(session, merged)
        return merged is not None

    def _pin_place(self) -> object:
        """Take a note of where a session is that is opened now: all of a request happens there."""

    # For the command line

    def _describe(self, sid: str) -> dict[str, Any]:
        """Return what is known of a record without decoding it; nothing if there is none.

        :returns: some of ``size`` (bytes), ``format`` (``"pickle"`` or ``"json"``), ``updated``
            (a :class:`datetime.datetime` in UTC), ``idle`` and ``expires_in`` (seconds; -1: never).
        :raises BackendError: the server failed.
        """
        return {}

    def _is_revoked(self, sid: str) -> bool:
        """Return whether the server still knows that a session was ended.

        :raises BackendError: the server failed.
        """
        return False

    @classmethod
    def _ping(cls, config: Mapping[str, Any]) -> Iterable[str]:
        """Ask each server whether it works, without touching a session.

        :param config: a checked configuration.
        :returns: the problems, one line for each server that has one.
        """
        return ()

    @classmethod
    def _can_merge(cls) -> bool:
        """Return whether the backend can compare and set, for ``on_conflict='merge'``."""
        return cls._read_version is not StoredSessionFactory._read_version

    def _new_merger(self) -> Merger:
        if not self._can_merge():
            problem = (
                f"is 'merge', and {type(self).__name__} cannot compare and set: write its "
                "_read_version() and _write_version(), or leave on_conflict out"
            )
            raise ConfigError("on_conflict", problem)
        return Merger(
            lambda: self._read_version(str(self.sid)),
            self._compare_and_set,
            lambda: not self.sets_max_age or self._stored_max_age == self.own_max_age,
        )

    def _compare_and_set(self, data: dict[Any, Any], token: Any) -> Version | None:
        written = self._write_version(str(self.sid), data, self._lifetime(), token)
        if written is None:
            self._tell("conflict")
        return written

    def _lifetime(self) -> float | None:
        """Return the seconds for which the cookie being written can open this session.

        The longest age that this request or the configuration allows, because other requests open
        the session by the configured one; less if the browser drops the cookie, or the session
        ends, before that.
        """
        config = self.session_store.config
        limits: set[float | None] = {self.own_max_age}
        if self.own_max_age is None:
            age = config.get("session_max_age")
            if age is not None and self._max_age is not _default_value:
                age = None if self._max_age is None else max(age, self._max_age)
            limits = {age, seconds_of(self.session_args.get("max_age"))}
        absolute = config.get("absolute_max_age")
        if absolute is not None:
            now = time.time()
            limits.add((now if self._began is None else self._began) + absolute - now)
        limits.discard(None)
        return min(limits, default=None)  # type: ignore[type-var]


def as_dict(data: Any) -> dict[Any, Any] | None:
    """Convert what a backend has read to a dictionary, ``None`` if it is no session.

    A custom model or backend may return any mapping, or pairs.
    """
    try:
        return None if data is None else dict(data)
    except (TypeError, ValueError):
        return None
