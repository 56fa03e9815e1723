"""Session factories: how a session is loaded from a request and saved to a response."""

from __future__ import annotations

import logging
import os
import re
import string
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookie_rules, cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.received_cookies import ReceivedCookies
from webapp2_sessions.session_dict import SessionDict

if TYPE_CHECKING:
    from webapp2_sessions.changes import Snapshot
    from webapp2_sessions.interfaces import Store

__all__ = [
    "BEGAN",
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
]

_ALPHABET = (string.digits + string.ascii_letters).encode("ascii")
#: Maps each byte to a character of the alphabet ...
_TO_ALPHABET = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
#: ... after the bytes are left out that would make the first characters more likely.
_UNEVEN = bytes(range(256 - 256 % len(_ALPHABET), 256))

logger: logging.Logger = logging.getLogger(__name__)

#: Where a cookie holds the time at which its session began, in Unix seconds; only there where the
#: configuration has an ``absolute_max_age``.
BEGAN = "__began__"

#: Characters of a session id: 22 of 62 hold 131 bits (OWASP asks for 64 at least).
_SID_LENGTH = 22


class BaseSessionFactory:
    """Loads and saves one named session of one request; the base of all factories.

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

    #: Whether ``save_session()`` knows what to do with a session that was destroyed.
    can_destroy: bool = False

    #: What ``get_session(max_age=)`` was called with when it loaded the session.
    _max_age: float | None = _default_value
    #: When the session began, in Unix seconds; ``None`` if that is not known or not asked for.
    _began: int | None = None
    #: When the session's cookie was signed, in Unix seconds; ``None`` if that is not known.
    _signed_at: int | None = None
    #: Seconds for which this session lives, where ``set_max_age()`` has said so.
    own_max_age: int | None = None
    #: What the session held when it was loaded; ``None`` unless somebody wants to know.
    _snapshot: Snapshot | None = None

    def __init__(self, name: str, session_store: Store) -> None:
        self.name = name
        self.session_store = session_store
        self.session_args = session_store.config["cookie_args"].copy()
        # What an object has itself is found sooner than a default of its class.
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
        """How many flash messages nobody has read are kept under a key; ``None`` for all."""
        limit: int | None = self.session_store.config.get("max_flashes")
        return limit

    def _open_cookie(self, max_age: float | None) -> dict[Any, Any] | None:
        """Return what the session's cookie holds, ``None`` if it opens no session any more."""
        self._max_age = max_age
        store = self.session_store
        open_cookie = getattr(store, "open_session_cookie", None)
        if open_cookie is None:
            data, self._signed_at = self._read_from_another_store(max_age)
        else:
            serializer = self._own_serializer and self._own_serializer()
            data, self._signed_at = open_cookie(self.name, max_age, serializer)
        if not isinstance(data, dict):
            return None  # also what is signed and no session: a list of the application's own
        self.own_max_age = data.pop(cookies.OWN_MAX_AGE, None)
        began = data.pop(BEGAN, None)
        limit = store.config.get("absolute_max_age")
        return data if limit is None or self._is_young(began, limit) else None

    def _is_young(self, began: Any, limit: float) -> bool:
        """Whether a session that began then is not older than it may ever be."""
        # A session from before there was a limit counts from its last signing.
        self._began = began if type(began) is int else self._signed_at
        if self._began is None or time.time() - self._began <= limit:
            return True
        self._began = self.own_max_age = None
        return False

    def _set_cookie(self, response: Any, data: dict[Any, Any]) -> None:
        """Set the session's cookie."""
        store, args = self.session_store, self.session_args
        if self.own_max_age is not None or store.config.get("absolute_max_age") is not None:
            data, args = self._sealed(data)
        cookie_rules.check_cookie(self.name, args, type(response), "session_args")
        save_cookie = getattr(store, "save_session_cookie", None)
        if save_cookie is None:
            self._write_to_another_store(response, data, args)
        else:
            serializer = self._own_serializer and self._own_serializer()
            save_cookie(response, self.name, data, args, serializer)

    #: Returns what reads and writes the cookie; ``None`` if the store's serializer does.
    _own_serializer: Callable[[], Any] | None = None

    def _read_from_another_store(self, max_age: float | None) -> tuple[Any, int | None]:
        """Return what the cookie holds, by a store of the application's own, and its time."""
        serializer = self._own_serializer and self._own_serializer()
        if serializer is None:
            return self.session_store.get_secure_cookie(self.name, max_age=max_age), None
        request = self.session_store.request
        return ReceivedCookies().accepted(request, serializer, self.name, max_age, own_ages=True)

    def _write_to_another_store(
        self, response: Any, data: dict[Any, Any], args: dict[str, Any]
    ) -> None:
        serializer = self._own_serializer and self._own_serializer()
        if serializer is None:
            self.session_store.save_secure_cookie(response, self.name, data, **args)
        else:
            limit = self.session_store.config.get("max_cookie_size")
            value = serializer.serialize(self.name, data)
            cookies.write(response, self.name, value, data, args, limit)

    def _sealed(self, data: dict[Any, Any]) -> tuple[dict[Any, Any], dict[str, Any]]:
        """Return what a cookie with this data holds, and its arguments."""
        args = self.session_args
        if self.session_store.config.get("absolute_max_age") is not None:
            if self._began is None:
                self._began = int(time.time())
            data = {**data, BEGAN: self._began}
        if self.own_max_age is not None:
            data = {**data, cookies.OWN_MAX_AGE: self.own_max_age}
            args = {**args, "max_age": self.own_max_age}
        return data, args

    def forget_past(self) -> None:
        """Forget what is known of the session that came with the request: it was destroyed."""
        self._began = self.own_max_age = self._signed_at = self._snapshot = None

    def _is_to_be_renewed(self) -> bool:
        """Whether a session that was not modified is due for a new cookie."""
        refresh_after = self.session_store.config.get("refresh_after")
        if refresh_after is None or self._signed_at is None:
            return False
        return bool(time.time() - self._signed_at >= refresh_after)

    #: How a snapshot keeps the session's data.
    _codec: dict[str, Any] = {}  # noqa: RUF012 # read only

    def _watch(self, session: SessionDict) -> SessionDict:
        """Remember what a session holds at first, if somebody wants to know at the end."""
        store = self.session_store
        if store.config.get("change_detection") == "content" or getattr(store, "debug", False):
            from webapp2_sessions.changes import Snapshot  # loads pickle, which others do without

            self._snapshot = Snapshot(session, **self._codec)
        return session

    def _is_to_be_written(self, session: SessionDict) -> bool:
        """Whether a session was modified, in the way that the configuration understands it."""
        snapshot = self._snapshot
        if snapshot is None or session.forced:
            return session.modified
        if self.session_store.config.get("change_detection") == "content":
            return snapshot.differs(session)
        if not session.modified:
            self._report_lost(snapshot.changed_keys(session))
        return session.modified

    def _report_lost(self, keys: list[Any]) -> None:
        if keys:
            logger.warning(
                "The session %r is not saved, although it was changed inside %s: assign the value "
                "again, call session.changed(), or configure change_detection='content'",
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
        """Return the session of the id in the cookie, a new one if there is none."""
        if self.session is None:
            data = self._open_cookie(max_age)
            sid = None if data is None else data.get("_sid")
            self.session = self._get_by_sid(sid if isinstance(sid, str) else None)
        return self.session

    def _get_by_sid(self, sid: str | None) -> SessionDict:
        """Return the session of that id, or a new one with a new id; sets :attr:`sid`."""
        raise NotImplementedError()

    def _is_valid_sid(self, sid: str | None) -> bool:
        """Whether ``sid`` looks like one of our ids."""
        return isinstance(sid, str) and self._sid_re.match(sid) is not None

    def _get_new_sid(self) -> str:
        """Return a new random id: 22 characters of ``0-9A-Za-z``, 131 bits."""
        sid = b""
        while len(sid) < _SID_LENGTH:
            sid += os.urandom(2 * _SID_LENGTH).translate(_TO_ALPHABET, _UNEVEN)
        return sid[:_SID_LENGTH].decode("ascii")
