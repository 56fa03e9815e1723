"""Sessions that are kept in the cookie itself, and what becomes of one that is too large."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import BackendError, ConfigError, SessionTooLarge
from webapp2_sessions.securecookie.cookie_data import IS_DATA, SPILLED, OpenCookie, sealed
from webapp2_sessions.sessions.factories import BaseSessionFactory
from webapp2_sessions.sessions.session_dict import SessionDict

if TYPE_CHECKING:
    from webapp2_sessions.stored.factory import StoredSessionFactory

__all__ = ["SecureCookieSessionFactory"]

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
    own_max_age: int | None
    superseded: bool
    #: How errors name this kind of session.
    keyword: str = "securecookie"

    _codec = {"dumps": _dump_json, "loads": json.loads}  # noqa: RUF012 # read only

    #: Where the session is stored, if it is too large for a cookie.
    _spill: StoredSessionFactory | None = None
    #: Where it would be stored: in the place, a namespace for instance, where it was opened.
    _spare: StoredSessionFactory | None = None
    #: The cookie's value from which the session was opened.
    _value: str | None = None
    #: What that cookie held as the id of a stored session, if the session has its name.
    _stored_sid: Any = None

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session from the cookie, a new one if there is no valid cookie.

        Of several valid cookies the one counts that was signed last, and of one that leads to a
        server only if there is a session.

        :raises BackendError: the session was too large for a cookie, and its server failed.
        """
        if self.session is None:
            self._spill = self._value = self._stored_sid = session = None
            if self._spill_keyword() is not None:
                self._spare = self._new_spill()
                self._spare._get_by_sid(None)
            for cookie in self._open_cookies(max_age):
                session = self._session_of(cookie)
                if session is not None:
                    self._value = cookie.value
                    if IS_DATA not in cookie.attributes:
                        self._stored_sid = cookie.data.get("_sid")
                    break
            if session is None:
                session = SessionDict(self, new=True)
            self.session = self._take_snapshot(session)
        return self.session

    def _session_of(self, cookie: OpenCookie) -> SessionDict | None:
        """Return the session of a cookie, ``None`` if it leads to a server and none is there."""
        sid = cookie.attributes.get(SPILLED)
        if sid is None:
            self.superseded = False
            return SessionDict(self, cookie.data)
        if self._spill_keyword() is None:  # nobody knows any more where it was stored
            return None
        spill = self._new_spill()
        stored = spill.session = spill._get_by_sid(sid)
        if spill.superseded:
            self.superseded = True
        if stored.new and not stored._degraded:
            self._spare = spill  # which knows what is to end with the session
            return None
        self._spill, self.superseded = spill, False
        self.own_max_age = spill.own_max_age
        session = SessionDict(self, data=stored, new=stored.new)
        session._degraded, session._assigned = stored._degraded, stored._assigned
        return session

    def save_session(self, response: Any) -> None:
        """Set the session's cookie if the session was modified or is due for a new one.

        :raises TypeError: JSON cannot represent a value.
        :raises SessionTooLarge: it is, and ``on_oversize`` is ``'raise'``; no cookie is set.
        :raises BackendError: it goes to a server, which failed; no cookie is set.
        """
        session = self._session_to_save()
        if session is None:
            return
        is_destroyed = session._destroyed
        if is_destroyed:
            self._discard_spills()
            session._degraded, self._stored_sid = False, None
            self._expire_former_cookies(response)
        if session._degraded:
            return
        if self._should_save(session):
            self._write(response, session)
        elif is_destroyed:
            self._expire_cookie(response)
        elif self.session_store.config.get("refresh_after") and self._should_refresh():
            self._refresh(response)

    def _refresh(self, response: Any) -> None:
        # From the cookie, since a change inside a value is not saved.
        same = (
            cookie for cookie in self._open_cookies(self._max_age) if cookie.value == self._value
        )
        cookie = next(same, None)
        is_there = self._spill is None or self._spill.keep()
        if cookie is not None and is_there:
            spilled = {} if self._spill is None else {SPILLED: self._spill.sid}
            self._set_cookie(response, dict(cookie.data), **spilled)

    def _discard_spills(self) -> None:
        """End what is stored of the session, or may come back to where it was stored."""
        for spill in (self._spill, self._spare):
            if spill is not None:
                spill.discard()
        self._spare, self._spill = self._spill or self._spare, None

    def _write(self, response: Any, session: SessionDict) -> None:
        is_renewed = session._regenerates
        on_oversize = self.session_store.config.get("on_oversize")
        if on_oversize is not None and on_oversize != "warn":
            size = self._size_of(session, type(response))
            limit = self.session_store.config.get("max_cookie_size")
            if limit is not None and size > limit:
                # Before anything is stored, as for every stored session.
                rules.check_cookie(self.name, self.session_args, type(response), "session_args")
                sid = self._refuse_or_spill(session, size, limit)
                if sid is not None:
                    self._send(response, is_renewed, {}, **{SPILLED: sid})
                return
        if self._spill is not None and not self._return_from(self._spill, session):
            return
        self._send(response, is_renewed, dict(session))
        session._regenerates = self.superseded = False

    def _return_from(self, spill: StoredSessionFactory, session: SessionDict) -> bool:
        """Take a session back into its cookie; whether there is one to take, and it is up to date.

        What is stored ends before the cookie is set: another request may have ended it, and then
        it must not come back.
        """
        try:
            if not (spill.merged(session) and spill.retire()):
                return False
        except BackendError as error:
            spill._degrade(error, session)
            return False
        self._spare, self._spill = spill, None
        return True

    def _send(
        self, response: Any, is_renewed: bool, data: dict[Any, Any], **attributes: Any
    ) -> None:
        if is_renewed:
            self._expire_former_cookies(response)
        self._set_cookie(response, data, **attributes)

    def _with_ages(
        self, data: dict[Any, Any], attributes: dict[str, Any]
    ) -> tuple[dict[Any, Any], dict[str, Any]]:
        # In a plain cookie it would be the id of a stored session, and nobody may choose that.
        if "_sid" in data and data["_sid"] != self._stored_sid:
            attributes[IS_DATA] = True
        return super()._with_ages(data, attributes)

    def _size_of(self, session: SessionDict, response_class: Any) -> int:
        """The bytes of the session's Set-Cookie header, or 0 if they are few enough."""
        data, args = self._with_ages(dict(session), {})
        serializer = self._own_serializer and self._own_serializer()
        serializer = serializer or self.session_store.serializer
        value = sealed(serializer, self.name, data)
        limit = self.session_store.config.get("max_cookie_size")
        if limit is None or len(self.name) + len(value) + _ATTRIBUTES < limit:
            return 0
        return cookies.size_of(response_class, self.name, value, args)

    def _refuse_or_spill(self, session: SessionDict, size: int, limit: int) -> str | None:
        """Return the id by which a session is stored that is too large for its cookie.

        :returns: ``None`` if there is no session to store any more, or it is degraded.
        """
        if self._spill_keyword() is None:
            from webapp2_sessions.errors.sizes import largest_keys  # for this error alone

            raise SessionTooLarge(
                self.keyword,
                "the visitor's browser",
                size,
                limit,
                largest_keys(dict(session), json.dumps),
            )
        spill = self._spill = self._spill or self._spare or self._new_spill()
        self._share_ages(spill)
        # By way of JSON, so that values are the same wherever the session is.
        stored = SessionDict(spill, data=json.loads(json.dumps(dict(session))))
        stored._regenerates, stored._flash_keys = session._regenerates, session._flash_keys
        stored._assigned = session._assigned
        try:
            if not spill.store(stored):
                return None
        except BackendError as error:
            spill._degrade(error, session)
            return None
        session._regenerates = self.superseded = False
        self.own_max_age = spill.own_max_age
        if spill._merger is not None:  # what others have changed is now part of it
            dict.clear(session)
            dict.update(session, stored)
            session._assigned = stored._assigned
        return spill.sid

    def _spill_keyword(self) -> str | None:
        keyword: str | None = self.session_store.config.get("on_oversize")
        return None if keyword in (None, "warn", "raise") else keyword

    def _new_spill(self) -> StoredSessionFactory:
        from webapp2_sessions.stored.factory import StoredSessionFactory  # only with on_oversize

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
        spill._max_age, spill._began = self._max_age, self._began
        spill.own_max_age, spill.sets_max_age = self.own_max_age, self.sets_max_age
