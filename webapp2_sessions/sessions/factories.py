"""Session factories: load one session from a request and save it to a response."""

from __future__ import annotations

import functools
import logging
import math
import os
import re
import string
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.config.imports import import_object
from webapp2_sessions.config.value_checks import seconds_of
from webapp2_sessions.errors import BackendError, SessionTooLarge, UnreadableSession
from webapp2_sessions.securecookie.cookie_data import (
    BEGAN,
    IS_DATA,
    MAX_AGE,
    NO_COOKIE,
    OpenCookie,
)
from webapp2_sessions.sessions import events
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.signed_cookies import CookiesOf, SignedCookies

if TYPE_CHECKING:
    from webapp2_sessions.sessions.changes import Snapshot
    from webapp2_sessions.sessions.interfaces import Store

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
]

_ALPHABET = (string.digits + string.ascii_letters).encode("ascii")
#: Maps each byte to a character of the alphabet ...
_TO_ALPHABET = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
#: ... after the bytes are left out that would make the first characters more likely.
_UNEVEN = bytes(range(256 - 256 % len(_ALPHABET), 256))

#: The year 10000 in Unix seconds, of which no datetime can tell.
_NEVER = 253402300800

logger: logging.Logger = logging.getLogger(__name__)

#: Characters of a session id: 22 of 62 hold 131 bits (OWASP asks for 64 at least).
_SID_LENGTH = 22


@functools.lru_cache(maxsize=1)
def _following() -> Any:
    """Return the class that follows users."""
    # By its name, because that wing is above this one, and most applications do without.
    return import_object("webapp2_sessions.users.following.Following")


class BaseSessionFactory:
    """Load and save one named session of one request; base of all factories.

    :param name: the name of the session and of its cookie.
    :param session_store: the :class:`~webapp2_sessions.sessions.SessionStore` of the request, or
        any object with ``config["cookie_args"]``, ``get_secure_cookie(name, max_age=)`` and
        ``save_secure_cookie(response, name, value, **kwargs)``.
    """

    #: Name of the session and of its cookie.
    name: str = None  # type: ignore[assignment] # upstream's default, until __init__ runs
    #: The store that this factory belongs to.
    session_store: Any = None
    #: Arguments of the session's cookie: a copy of ``cookie_args`` that handlers may change.
    session_args: dict[str, Any] = None  # type: ignore[assignment]
    #: The session, once loaded. ``None`` makes the next ``get_session()`` load it again.
    session: SessionDict | None = None

    #: Signs and verifies the session's cookie; ``None`` leaves it to the store's methods.
    _own_serializer: Any = None
    #: Whether ``save_session()`` can end a session that was destroyed.
    can_destroy: bool = False

    #: What ``get_session(max_age=)`` was called with when it loaded the session.
    _max_age: float | None = _default_value
    #: When the session began, in Unix seconds; ``None`` if that is not known or not asked for.
    _began: int | None = None
    #: When the session's cookie was signed, in Unix seconds; ``None`` if that is not known.
    _signed_at: int | None = None
    #: When this request has set the session's cookie, in Unix seconds; ``None`` if it has not.
    _sent_at: int | None = None
    #: What the session's cookie says besides its data.
    _attributes: Mapping[str, Any] = MappingProxyType({})
    #: What the application calls the session in the list of its user's sessions, as set now.
    _label: str | None = None
    #: The session's own age in seconds, from ``set_max_age()``.
    own_max_age: int | None = None
    #: Whether this request has set :attr:`own_max_age`, which overrides what is stored.
    sets_max_age: bool = False
    #: Whether another request has just given the session a new id. The browser has, or is about to
    #: get, another cookie, which this request must not replace.
    superseded: bool = False
    #: Follows who is signed in, where ``user_key`` is configured; not of a session that has spilled
    #: here, which is followed where it comes from.
    _following: Any = None
    _follows: bool = True
    #: The same, where ``user_index`` is configured as well.
    _listing: Any = None
    #: What the session held when it was loaded, if change detection needs it.
    _snapshot: Snapshot | None = None

    def __init__(self, name: str, session_store: Store) -> None:
        self.name = name
        self.session_store = session_store
        self.session_args = session_store.config["cookie_args"].copy()
        # Optimization: instance attributes are found sooner than class attributes.
        self.session = self.own_max_age = self._snapshot = None

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session, loading it first if that has not happened yet.

        :param max_age: age of the cookie in seconds above which the session counts as expired;
            ``None`` for no limit; by default ``session_max_age`` of the configuration.
        """
        raise NotImplementedError()

    def save_session(self, response: Any) -> None:
        """Write the session if it was modified, and set its cookie on the response."""
        raise NotImplementedError()

    @property
    def max_flashes(self) -> int | None:
        """Most unread flash messages that are kept under a key; ``None`` for all."""
        limit: int | None = self.session_store.config.get("max_flashes")
        return limit

    def _read_cookies(self, max_age: float | None) -> list[OpenCookie]:
        """Return the valid cookies of the session's name, newest first."""
        self._max_age = max_age
        store = self.session_store
        if not issubclass(type(store), SignedCookies):  # isinstance() believes what a mock says
            store = CookiesOf(store)
        return store.open_session_cookies(  # type: ignore[no-any-return]
            self.name, max_age, self._own_serializer
        )

    def _take_over(self, cookie: OpenCookie) -> bool:
        """Take over a cookie's times; return whether it holds a session that may be opened.

        :param cookie: a cookie of :meth:`_read_cookies`, or ``NO_COOKIE`` if none opens a session.
        """
        attributes = cookie.attributes
        self._signed_at, self._began = cookie.signed_at, None
        self._attributes = attributes
        if not self.sets_max_age:
            self.own_max_age = attributes.get(MAX_AGE)
        if not isinstance(cookie.data, dict):
            return False  # an application may have signed something else under the cookie's name
        limit = self.session_store.config.get("absolute_max_age")
        if limit is None:
            return True
        # A session from before there was a limit counts from its last signing.
        self._began = attributes.get(BEGAN, cookie.signed_at)
        return self._began is None or time.time() - self._began <= limit

    def _set_cookie(self, response: Any, data: dict[Any, Any], **attributes: Any) -> None:
        """Set the session's cookie.

        :param attributes: attributes beside the data, in addition to the session's ages.
        """
        store = self.session_store
        if not issubclass(type(store), SignedCookies):
            store = CookiesOf(store)
        args = self._add_ages(data, attributes)
        sent_at = int(time.time())
        store.save_session_cookie(response, self.name, data, attributes, args, self._own_serializer)
        self._sent_at = sent_at
        if self._following is not None:
            self._following.announce(self.session)

    def _expire_cookie(self, response: Any) -> None:
        """Expire the session's cookie."""
        cookies.expire(response, self.name, self.session_args)
        if self.session_store.config.get("vary"):
            cookies.vary_on_cookie(response)

    def _expire_former_cookies(self, response: Any) -> None:
        """Expire cookies that were set with ``former_cookie_args``.

        They would open a session that has ended, or has another id now.
        """
        former = self.session_store.config.get("former_cookie_args", ())
        cookies.expire_others(response, self.name, self.session_args, former)

    def _add_ages(self, data: Mapping[Any, Any], attributes: dict[str, Any]) -> dict[str, Any]:
        """Add the session's ages to the attributes of a cookie that is to hold this data.

        :returns: the arguments of the cookie.
        """
        if self.session_store.config.get("absolute_max_age") is not None:
            if self._began is None:
                self._began = int(time.time())
            attributes[BEGAN] = self._began
        if self._following is not None and self._following.is_judged:
            self._following.add_to(attributes)
        if self.own_max_age is None:
            return self.session_args
        attributes[MAX_AGE] = self.own_max_age
        return {**self.session_args, "max_age": self.own_max_age}

    def _place(self) -> tuple[str, str]:
        """Return the backend's keyword and its server's address, for errors and events."""
        return type(self).__name__, "its store"

    def _tell(
        self,
        kind: str,
        started: float | None = None,
        size: int | None = None,
        error: str | None = None,
    ) -> None:
        """Tell of an event, if ``on_event`` is configured."""
        config = self.session_store.config
        if config.get("on_event") is not None:
            events.tell(config, kind, self._place()[0], started, size=size, error=error)

    def _degrade(self, error: BackendError, session: SessionDict) -> SessionDict:
        """Mark a session as degraded, or raise the error.

        A fault of the session itself is an error in any case.
        """
        degrade = self.session_store.config.get("on_backend_error") == "degrade"
        if not degrade or isinstance(error, (SessionTooLarge, UnreadableSession)):
            raise error
        logger.warning("The session %r is degraded: %s", self.name, error)
        events.tell_error(self.session_store.config, error)
        self._tell("degraded", error=type(error).__name__)
        session._degraded = True
        return session

    def _session_to_save(self) -> SessionDict | None:
        """Return the session; ``None`` if there is none, or an unmodified one of another class."""
        session = self.session
        if session is None:
            return None
        if not isinstance(session, SessionDict):
            if not getattr(session, "modified", False):
                return None
            made = SessionDict(self, data=session)  # an application may have assigned any mapping
            made.modified = True
            session = made
        if self._following is not None:
            self._following.catch_up(session)
            if session.modified and self._following.is_judged:
                self._following.prepare()  # it may fail, and nothing is written yet
        return session

    def reset(self) -> None:
        """Reset what is known of the session that came with the request: it was destroyed."""
        self._began = self.own_max_age = self._signed_at = self._sent_at = None
        self._snapshot = self._label = None
        self._attributes = NO_COOKIE.attributes
        self.sets_max_age, self.superseded = True, False
        former = self._following
        self._take_snapshot(SessionDict(self))  # with which what is set from now on is compared
        if former is not None:
            self._following.succeed(former)

    def forget_inherited_age(self) -> None:
        """Drop an own age that came with the session: an attacker may have planted both."""
        if not self.sets_max_age:
            self.own_max_age, self.sets_max_age = None, True

    def _should_refresh(self) -> bool:
        """Return whether an unmodified session is due for a refreshed cookie."""
        refresh_after = self.session_store.config.get("refresh_after")
        if refresh_after is None or self._signed_at is None:
            return False
        return bool(time.time() - self._signed_at >= refresh_after)

    def _expires_at(self, session: SessionDict) -> int | None:
        """Return what ``session.get_expiry_date()`` tells, in Unix seconds."""
        if session._degraded and not session._destroyed:
            return None
        signed_at, began, own = self._sent_at, self._began, self.own_max_age
        is_due = self.can_destroy and self._should_refresh()
        if signed_at is None and (is_due or self._is_changed(session)):
            signed_at = int(time.time())
            if not self.can_destroy:  # its cookie is set by upstream's interface, without ages
                began = own = None
        elif signed_at is None:
            signed_at = self._signed_at
        config, age = self.session_store.config, self._max_age
        limits = [(began or signed_at, config.get("absolute_max_age")), (signed_at, own)]
        if own is None:
            age = config.get("session_max_age") if age is _default_value else age
            cookie_age = seconds_of(self.session_args.get("max_age"))
            limits += [(signed_at, age), (signed_at, cookie_age)]
        known = [(at, age) for at, age in limits if at is not None and age is not None]
        ends = [at + math.floor(age) for at, age in known if age < _NEVER]
        end = max(0, min(ends, default=_NEVER))
        return end if end < _NEVER else None

    #: How a snapshot keeps the session's data.
    _codec: dict[str, Any] = {}  # noqa: RUF012 # read only

    def _take_snapshot(self, session: SessionDict) -> SessionDict:
        """Take a snapshot if change detection needs one, and note who is signed in."""
        store = self.session_store
        user_key = store.config.get("user_key")
        if user_key is not None and self._follows:
            self._follow(session, user_key)
        if store.config.get("change_detection") == "content" or getattr(store, "debug", False):
            from webapp2_sessions.sessions.changes import (
                Snapshot,  # loads pickle, which others do without
            )

            self._snapshot = Snapshot(session, **self._codec)
        return session

    def _follow(self, session: SessionDict, user_key: Any) -> None:
        """Follow the user of a session; end one that is from before a change of the password."""
        # Optimization: asking for an abstract class takes longer (0.3 us).
        is_named = not isinstance(user_key, str) and isinstance(user_key, Mapping)
        key = user_key.get(self.name) if is_named else user_key
        if key is None:
            return
        following = _following()(session, key, self.session_store.config)
        self._following, self._listing = following, following if following.is_indexed else None
        try:
            if following.is_judged and not following.accepts(self._attributes, self._signed_at):
                if following.is_revoked:
                    self._leave_record()
                session.destroy()
                self.sets_max_age = False  # another cookie may open a session with its own age
                if following.is_under_way:
                    session._destroyed, self.superseded = False, True
        except BackendError as error:  # nobody knows whether the session still counts
            self._degrade(error, session)
            dict.clear(session)
            self._following.user = None  # as of an empty session, so that nobody signs out by that

    def _leave_record(self) -> None:
        """Leave the record of the session alone that was opened: another cookie may open it."""

    def _catch_up(self, session: SessionDict) -> None:
        """Do what has to be done where the session's user has changed."""
        if self._following is not None:
            self._following.catch_up(session)

    def _should_save(self, session: SessionDict) -> bool:
        """Return whether a session was changed, by the configured ``change_detection``."""
        if self.superseded and not session._regenerates:
            if session.modified:
                logger.info("The session %r got a new id by another request", self.name)
            return False
        snapshot = self._snapshot
        if snapshot is None or session._forced:
            return session.modified
        if self.session_store.config.get("change_detection") == "content":
            if snapshot.differs(session):  # as each later save does, from what is written now
                session.modified = session._forced = True
            return session._forced
        if not session.modified:
            self._report_lost(snapshot.changed_keys(session))
        return session.modified

    def _is_changed(self, session: SessionDict) -> bool:
        """Return what :meth:`_should_save` would, and leave everything as it is."""
        if self.superseded and not session._regenerates:
            return False
        snapshot, config = self._snapshot, self.session_store.config
        if snapshot is None or session._forced or config.get("change_detection") != "content":
            return session.modified
        return snapshot.differs(session)

    def _report_lost(self, keys: list[Any]) -> None:
        if keys:
            logger.warning(
                "The session %r is not saved, although it was changed inside %s: assign the value "
                "again, call session.mark_changed(), or configure change_detection='content'",
                self.name,
                ", ".join(repr(str(key)[:40]) for key in keys),
            )


class CustomBackendSessionFactory(BaseSessionFactory):
    """Base of sessions that are kept on a server; the signed cookie holds only an id.

    A subclass overrides :meth:`_get_by_sid` and :meth:`save_session`.
    :class:`StoredSessionFactory` offers a smaller interface.
    """

    session: SessionDict | None
    #: The session's id.
    sid: str | None = None

    #: What a session id looks like. ASCII only, and ``\\Z`` because ``$`` lets a newline pass.
    _sid_re: re.Pattern[str] = re.compile(r"\w{22}\Z", re.ASCII)

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session of the id in the cookie, a new one if there is none.

        Of several valid cookies the first counts that opens a session, beginning with the one
        that was signed last.
        """
        if self.session is None:
            session = None
            for cookie in self._read_cookies(max_age):
                if self._take_over(cookie):
                    is_data = cookie.attributes.get(IS_DATA)
                    session = self._get_by_sid(None if is_data else cookie.data.get("_sid"))
                    if not getattr(session, "new", False) or getattr(session, "_degraded", False):
                        break
            else:
                self._take_over(NO_COOKIE)
                if session is None:
                    session = self._get_by_sid(None)
            self.session = session
        return self.session

    def _get_by_sid(self, sid: str | None) -> SessionDict:
        """Return the session of that id, or a new one with a new id; sets :attr:`sid`."""
        raise NotImplementedError()

    def _is_valid_sid(self, sid: str | None) -> bool:
        """Return whether ``sid`` looks like an id from :meth:`_get_new_sid`."""
        return isinstance(sid, str) and self._sid_re.match(sid) is not None

    def _get_new_sid(self) -> str:
        """Return a new random id: 22 characters of ``0-9A-Za-z``, 131 bits."""
        sid = b""
        while len(sid) < _SID_LENGTH:
            sid += os.urandom(2 * _SID_LENGTH).translate(_TO_ALPHABET, _UNEVEN)
        return sid[:_SID_LENGTH].decode("ascii")
