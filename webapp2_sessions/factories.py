"""Session factories: how a session is loaded from a request and saved to a response."""

from __future__ import annotations

import os
import re
import string
import time
from typing import Any

from webapp2_sessions import cookies
from webapp2_sessions.session_dict import SessionDict

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
    "SecureCookieSessionFactory",
]

#: Stands for "not given" where ``None`` has a meaning.
_default_value: Any = object()

_ALPHABET = (string.digits + string.ascii_letters).encode("ascii")
#: Maps each byte to a character of the alphabet ...
_TO_ALPHABET = bytes(_ALPHABET[byte % len(_ALPHABET)] for byte in range(256))
#: ... after the bytes are left out that would make the first characters more likely.
_UNEVEN = bytes(range(256 - 256 % len(_ALPHABET), 256))

#: Where a cookie holds the time at which its session began, in Unix seconds; only there where the
#: configuration has an ``absolute_max_age``.
_BEGAN = "__began__"

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
    can_destroy = False

    #: What ``get_session(max_age=)`` was called with when it loaded the session.
    _max_age: float | None = _default_value
    #: When the session began, in Unix seconds; ``None`` if that is not known or not asked for.
    _began: int | None = None

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

    def _open_cookie(self, max_age: float | None) -> dict[Any, Any] | None:
        """Return what the session's cookie holds, ``None`` if it opens no session any more."""
        data = self.session_store.get_secure_cookie(self.name, max_age=max_age)
        if not isinstance(data, dict):
            return None  # also what is signed and no session: a list of the application's own
        began = data.pop(_BEGAN, None) if _BEGAN in data else None
        limit = self.session_store.config.get("absolute_max_age")
        if limit is not None:
            if type(began) is not int:  # from before there was a limit
                began = self._cookie_signed_at(max_age)
            if time.time() - began > limit:
                return None
            self._began = began
        return data

    def _set_cookie(self, response: Any, data: dict[Any, Any]) -> None:
        """Set the session's cookie."""
        if self.session_store.config.get("absolute_max_age") is not None:
            if self._began is None:
                self._began = int(time.time())
            data = {**data, _BEGAN: self._began}
        self.session_store.save_secure_cookie(response, self.name, data, **self.session_args)

    def _is_to_be_renewed(self) -> bool:
        """Whether a session that was not modified is due for a new cookie."""
        refresh_after = self.session_store.config.get("refresh_after")
        if refresh_after is None or self.session is None or self.session.new:
            return False
        age = time.time() - self._cookie_signed_at(self._max_age)
        return bool(age >= refresh_after)

    def _cookie_signed_at(self, max_age: float | None) -> int:
        """When the session's cookie was signed; now, if a store of another kind cannot tell."""
        cookie_signed_at = getattr(self.session_store, "cookie_signed_at", None)
        signed_at = cookie_signed_at and cookie_signed_at(self.name, max_age)
        return int(time.time()) if signed_at is None else signed_at


class SecureCookieSessionFactory(BaseSessionFactory):
    """Keeps the whole session in a signed cookie: readable by the visitor, not changeable.

    Values come back as JSON holds them: tuples as lists, keys as text. Browsers drop cookies of
    more than about 4 kB.
    """

    can_destroy = True

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session from the cookie, a new one if there is no valid cookie."""
        if self.session is None:
            self._max_age = max_age
            data = self._open_cookie(max_age)
            self.session = SessionDict(self, data=data, new=data is None)
        return self.session

    def save_session(self, response: Any) -> None:
        """Set the session's cookie if the session was modified or is due for a new one.

        :raises TypeError: JSON cannot represent a value.
        """
        session = self.session
        if session is None:
            return
        if session.modified:
            self._set_cookie(response, dict(session))
        elif session.destroyed:
            cookies.expire(response, self.name, self.session_args)
        elif self._is_to_be_renewed():
            # From the cookie, since a change inside a value is not saved.
            data = self._open_cookie(self._max_age)
            if data is not None:
                self._set_cookie(response, data)


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
            self._max_age = max_age
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
