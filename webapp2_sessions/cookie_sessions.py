"""Sessions that are kept in the cookie itself, and what becomes of one that is too large."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookie_rules, cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.errors import BackendError, ConfigError, SessionTooLarge
from webapp2_sessions.factories import BaseSessionFactory
from webapp2_sessions.session_dict import SessionDict

if TYPE_CHECKING:
    from webapp2_sessions.stored_sessions import StoredSessionFactory

__all__ = ["SPILLED", "SecureCookieSessionFactory"]

#: Where the cookie of a session that was too large holds the id by which it is stored.
SPILLED = "__spilled__"

#: Bytes of cookie attributes at most; a cookie that is smaller by so much needs no measuring.
_ATTRIBUTES = 400


def _dump_json(data: Any) -> bytes:
    return json.dumps(data).encode("ascii")


class SecureCookieSessionFactory(BaseSessionFactory):
    """Keeps the whole session in a signed cookie: readable by the visitor, not changeable.

    Values come back as JSON holds them: tuples as lists, keys as text. Browsers drop cookies of
    more than about 4 kB: ``on_oversize`` says what happens to such a session.
    """

    can_destroy: bool = True

    session: SessionDict | None
    #: How errors name this kind of session.
    keyword: str = "securecookie"

    _codec = {"dumps": _dump_json, "loads": json.loads}  # noqa: RUF012 # read only

    #: Where the session is stored, if it is too large for a cookie.
    _spill: StoredSessionFactory | None = None

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session from the cookie, a new one if there is no valid cookie.

        :raises BackendError: the session was too large for a cookie, and its server failed.
        """
        if self.session is None:
            data = self._open_cookie(max_age)
            if data is not None and SPILLED in data and self._spill_keyword() is not None:
                session = self._load_spilled(data)
            else:
                self._spill = None
                session = SessionDict(self, data, data is None)
            self._watch(session)
            self.session = session
        return self.session

    def _load_spilled(self, data: dict[Any, Any]) -> SessionDict:
        self._spill = self._new_spill()
        stored = self._spill.session = self._spill._get_by_sid(data[SPILLED])
        session = SessionDict(self, data=stored, new=stored.new)
        session.degraded = stored.degraded
        return session

    def save_session(self, response: Any) -> None:
        """Set the session's cookie if the session was modified or is due for a new one.

        :raises TypeError: JSON cannot represent a value.
        :raises SessionTooLarge: it is, and ``on_oversize`` is ``'raise'``; no cookie is set.
        :raises BackendError: it goes to a server, which failed; no cookie is set.
        """
        session = self.session
        if session is None:
            return
        is_destroyed = session.destroyed
        if is_destroyed and self._spill is not None:
            self._spill.discard()
            self._spill = None
        if session.degraded:
            return
        if session.modified if self._snapshot is None else self._is_to_be_written(session):
            self._write(response, session)
        elif is_destroyed:
            cookies.expire(response, self.name, self.session_args)
        elif self.session_store.config.get("refresh_after") and self._is_to_be_renewed():
            self._renew(response)

    def _renew(self, response: Any) -> None:
        # From the cookie, since a change inside a value is not saved.
        data = self._open_cookie(self._max_age)
        if self._spill is not None:
            self._spill.keep()
        if data is not None:
            self._set_cookie(response, data)

    def _write(self, response: Any, session: SessionDict) -> None:
        on_oversize = self.session_store.config.get("on_oversize")
        if on_oversize is not None and on_oversize != "warn":
            size = self._size_of(session, type(response))
            limit = self.session_store.config.get("max_cookie_size")
            if limit is not None and size > limit:
                # Before anything is stored, as for every stored session.
                cookie_rules.check_cookie(
                    self.name, self.session_args, type(response), "session_args"
                )
                held = self._refuse_or_spill(session, size, limit)
                if held is not None:
                    self._set_cookie(response, held)
                return
        self._set_cookie(response, dict(session))
        if self._spill is not None:  # small again
            self._spill.discard()
            self._spill = None

    def _size_of(self, session: SessionDict, response_class: Any) -> int:
        """The bytes of the session's Set-Cookie header, or 0 if they are few enough."""
        data, args = self._sealed(dict(session))
        serializer = self._own_serializer and self._own_serializer()
        serializer = serializer or self.session_store.serializer
        value = serializer.serialize(self.name, data)
        limit = self.session_store.config.get("max_cookie_size")
        if limit is None or len(self.name) + len(value) + _ATTRIBUTES < limit:
            return 0
        return cookies.size_of(response_class, self.name, value, args)

    def _refuse_or_spill(
        self, session: SessionDict, size: int, limit: int
    ) -> dict[Any, Any] | None:
        """Return what the cookie holds in place of a session that is too large for it."""
        if self._spill_keyword() is None:
            from webapp2_sessions.sizes import largest_keys  # for this error alone

            raise SessionTooLarge(
                self.keyword,
                "the visitor's browser",
                size,
                limit,
                largest_keys(dict(session), json.dumps),
            )
        spill = self._spill = self._spill or self._new_spill()
        self._share_ages(spill)
        # By way of JSON, so that values are the same wherever the session is.
        stored = SessionDict(spill, data=json.loads(json.dumps(dict(session))))
        stored.regenerates, stored.flash_keys = session.regenerates, session.flash_keys
        try:
            return {SPILLED: spill.sid} if spill.store(stored) else None
        except BackendError as error:
            spill._degraded(error, session)
            return None

    def _spill_keyword(self) -> str | None:
        keyword: str | None = self.session_store.config.get("on_oversize")
        return None if keyword in (None, "warn", "raise") else keyword

    def _new_spill(self) -> StoredSessionFactory:
        from webapp2_sessions.stored_sessions import StoredSessionFactory  # only with on_oversize

        keyword = self._spill_keyword()
        made = self.session_store.get_backend(keyword)(self.name, self.session_store)
        if not isinstance(made, StoredSessionFactory):
            raise ConfigError(
                "on_oversize",
                f"the backend {keyword!r} is no StoredSessionFactory, which it must be",
            )
        made.session_args = self.session_args
        self._share_ages(made)
        return made

    def _share_ages(self, spill: StoredSessionFactory) -> None:
        spill._max_age, spill.own_max_age = self._max_age, self.own_max_age
        spill._began = self._began
