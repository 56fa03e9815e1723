"""Session factories: how a session is loaded from a request and saved to a response."""

from __future__ import annotations

import os
import re
import string
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.session_dict import SessionDict

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
    "SecureCookieSessionFactory",
    "StoredSessionFactory",
]

#: Stands for "not given" where ``None`` has a meaning.
_default_value: Any = object()

_ALPHABET = (string.digits + string.ascii_letters).encode("ascii")
#: Maps each byte to a character of the alphabet ...
_TO_ALPHABET = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
#: ... after the bytes are left out that would make the first characters more likely.
_UNEVEN = bytes(range(256 - 256 % len(_ALPHABET), 256))

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

    def __init__(self, name: str, session_store: Any) -> None:
        self.name = name
        self.session_store = session_store
        self.session_args = session_store.config["cookie_args"].copy()
        self.session = None

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session, loading it first if that has not happened yet.

        :param max_age: age of the cookie in seconds above which the session counts as expired;
            ``None`` for no limit; by default ``session_max_age`` of the configuration.
        """
        raise NotImplementedError()

    def save_session(self, response: Any) -> None:
        """Write the session if it was modified, and set its cookie on the response."""
        raise NotImplementedError()


class SecureCookieSessionFactory(BaseSessionFactory):
    """Keeps the whole session in a signed cookie: readable by the visitor, not changeable.

    Values come back as JSON holds them: tuples as lists, keys as text. Browsers drop cookies of
    more than about 4 kB.
    """

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session from the cookie, a new one if there is no valid cookie."""
        if self.session is None:
            data = self.session_store.get_secure_cookie(self.name, max_age=max_age)
            if not isinstance(data, dict):
                data = None  # signed, and no session: e.g. a list that the application signed
            self.session = SessionDict(self, data=data, new=data is None)
        return self.session

    def save_session(self, response: Any) -> None:
        """Set the session's cookie if the session was modified.

        :raises TypeError: JSON cannot represent a value.
        """
        if self.session is None or not self.session.modified:
            return
        self.session_store.save_secure_cookie(
            response, self.name, dict(self.session), **self.session_args
        )


class CustomBackendSessionFactory(BaseSessionFactory):
    """Base of sessions that are kept on a server; the signed cookie holds only an id.

    A subclass overrides :meth:`_get_by_sid` and :meth:`save_session`.
    :class:`StoredSessionFactory` offers a smaller interface.
    """

    #: The session's id.
    sid: str | None = None

    #: What a session id looks like. ASCII only, and ``\\Z`` because ``$`` lets a newline pass.
    _sid_re: re.Pattern[str] = re.compile(r"\w{22}\Z", re.ASCII)

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session of the id in the cookie, a new one if there is none."""
        if self.session is None:
            data = self.session_store.get_secure_cookie(self.name, max_age=max_age)
            sid = data.get("_sid") if isinstance(data, dict) else None
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


class StoredSessionFactory(CustomBackendSessionFactory):
    """Base of server-side sessions in which loading and saving are written already.

    A backend supplies :meth:`_read` and :meth:`_write`.
    """

    #: What ``get_session(max_age=)`` was called with when it loaded the session.
    _max_age: float | None = _default_value

    def _read(self, sid: str) -> dict[Any, Any] | None:
        """Return the stored data of a session, ``None`` if there is none of that id.

        :raises BackendError: it cannot be told, because the server failed.
        """
        raise NotImplementedError()

    def _write(self, sid: str, data: dict[Any, Any], lifetime: float | None) -> None:
        """Store the data of a session, replacing what is stored.

        :param lifetime: seconds after which nobody can ask for it any more, ``None`` if unknown.
        :raises BackendError: it is not certain that the data is stored.
        """
        raise NotImplementedError()

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session of the id in the cookie, a new one if there is none.

        :raises BackendError: the server failed; a new session would take the stored one's place.
        """
        if self.session is None:
            self._max_age = max_age
        return super().get_session(max_age=max_age)

    def _get_by_sid(self, sid: str | None) -> SessionDict:
        if sid is not None and self._is_valid_sid(sid):
            data = self._read(sid)
            if isinstance(data, dict):
                self.sid = sid
                return SessionDict(self, data=data)
        self.sid = self._get_new_sid()
        return SessionDict(self, new=True)

    def save_session(self, response: Any) -> None:
        """Store the session if it was modified, and set its cookie.

        :raises ConfigError: the cookie cannot be sent; nothing is stored then.
        :raises BackendError: it is not certain that the session is stored; no cookie is set.
        """
        if self.session is None or not self.session.modified:
            return
        cookies.check_arguments(self.session_args, type(response), "session_args")
        if self.sid is None:  # the application set self.session itself
            self.sid = self._get_new_sid()
        self._write(self.sid, dict(self.session), self._lifetime())
        self.session_store.save_secure_cookie(
            response, self.name, {"_sid": self.sid}, **self.session_args
        )

    def _lifetime(self) -> float | None:
        """Seconds for which the cookie that is being written can bring this session back.

        The longest age that this request or the configuration allows, since other requests may
        open the session with the configured one; less if the browser drops the cookie before.
        """
        ages = [self.session_store.config.get("session_max_age")]
        if self._max_age is not _default_value:
            ages.append(self._max_age)
        limits = [_seconds(self.session_args.get("max_age"))]
        if None not in ages:
            limits.append(max(ages))
        return min((limit for limit in limits if limit is not None), default=None)


def _seconds(max_age: Any) -> float | None:
    """The ``max_age`` of a cookie in seconds; WebOb takes a timedelta and digits as well."""
    if max_age is None:
        return None
    if hasattr(max_age, "total_seconds"):
        return float(max_age.total_seconds())
    return int(max_age)
