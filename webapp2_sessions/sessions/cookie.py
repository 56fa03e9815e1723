"""Sessions in signed cookies, and the spill to a server for those that are too large."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import BackendError, ConfigError, SessionTooLarge
from webapp2_sessions.securecookie.cookie_data import (
    IS_DATA,
    NO_COOKIE,
    SPILLED,
    OpenCookie,
    sign_cookie,
)
from webapp2_sessions.sessions import events
from webapp2_sessions.sessions.factories import BaseSessionFactory
from webapp2_sessions.sessions.session_dict import SessionDict

if TYPE_CHECKING:
    from webapp2_sessions.stored.factory import StoredSessionFactory

__all__ = ["SecureCookieSessionFactory"]

#: Bytes that cookie attributes take at most, besides the domain, the path and a comment; a cookie
#: that is smaller by so much need not be measured.
_ATTRIBUTES = 400

#: Values of ``on_oversize`` that name no backend.
_NO_BACKEND = (None, "warn", "raise")


def _dump_json(data: Any) -> bytes:
    return json.dumps(data).encode("ascii")


class SecureCookieSessionFactory(BaseSessionFactory):
    """Keep the whole session in a signed cookie: the visitor can read it, and not change it.

    Values come back as JSON holds them: tuples as lists, keys as text. Browsers drop cookies of
    more than about 4 kB: ``on_oversize`` says what happens to such a session.
    """

    can_destroy: bool = True

    session: SessionDict | None
    own_max_age: int | None
    superseded: bool
    #: Keyword of the backend, for errors.
    keyword: str = "securecookie"

    _codec = {"dumps": _dump_json, "loads": json.loads}  # noqa: RUF012 # read only

    #: Factory of the ``on_oversize`` backend, pinned to the place (e.g. namespace) where the
    #: session was opened; ``None`` without such a backend.
    _spill: StoredSessionFactory | None = None
    #: Whether the session is stored there.
    _is_spilled: bool = False
    #: The cookie from which the session was opened.
    _cookie: OpenCookie | None = None

    def get_session(self, max_age: float | None = _default_value) -> SessionDict:
        """Return the session from the cookie, a new one if there is no valid cookie.

        Of several valid cookies the one counts that was signed last, and of one that leads to a
        server only if there is a session.

        :raises BackendError: the session was too large for a cookie, and its server failed.
        """
        if self.session is None:
            config = self.session_store.config
            is_watched = config.get("on_event") is not None
            started = events.start(config) if is_watched else None
            self._is_spilled, self._cookie = False, None
            keyword = config.get("on_oversize")
            self._spill = None if keyword in _NO_BACKEND else self._make_spill(keyword)
            for cookie in self._read_cookies(max_age):
                session = self._session_of(cookie) if self._take_over(cookie) else None
                if session is not None:
                    self._cookie = cookie
                    break
            else:
                self._take_over(NO_COOKIE)
                session = SessionDict(self, new=True)
            self.session = self._take_snapshot(session)
            if is_watched and self._cookie is not None:
                self._tell("load", started, self._size_of(self._cookie.value))
        return self.session

    def _session_of(self, cookie: OpenCookie) -> SessionDict | None:
        """Return the session of a cookie, ``None`` if it was spilled and is not stored any more."""
        sid = cookie.attributes.get(SPILLED)
        if sid is None:
            self.superseded = False
            return SessionDict(self, cookie.data)
        spill = self._spill
        if spill is None:  # the configuration does not name the backend any more
            return None
        self._share_ages(spill)
        stored = spill.session = spill._get_by_sid(sid)
        self.superseded = spill.superseded
        if stored.new and not stored._degraded:
            return None
        self._is_spilled = True
        self.own_max_age = spill.own_max_age
        session = SessionDict(self, data=stored, new=stored.new)
        session._degraded, session._assigned = stored._degraded, stored._assigned
        return session

    def _leave_record(self) -> None:
        if self._spill is not None:
            self._spill._leave_record()
        self._is_spilled, self._cookie = False, None

    def save_session(self, response: Any) -> None:
        """Set the session's cookie if the session was modified or is due for a new one.

        :raises TypeError: JSON cannot represent a value.
        :raises ConfigError: the cookie cannot be sent; nothing is stored or ended then.
        :raises SessionTooLarge: it is, and ``on_oversize`` is ``'raise'``; no cookie is set.
        :raises BackendError: it goes to a server, which failed; no cookie is set.
        """
        session = self._session_to_save()
        if session is None:
            return
        is_destroyed = session._destroyed
        if is_destroyed:
            started = events.start(self.session_store.config)
            if self._spill is not None:
                self._spill.discard()
            if self._cookie is not None:  # else there was none, or it is ended once more
                self._tell("end", started)
            self._is_spilled, self._cookie, session._degraded = False, None, False
        if session._degraded:
            return
        if self._should_save(session):
            self._save(response, session)
        elif is_destroyed:
            self._expire_cookie(response)
        elif self._should_refresh():
            self._refresh(response)
        if is_destroyed:
            self._expire_former_cookies(response)

    def _refresh(self, response: Any) -> None:
        """Set the cookie again as it came, since a change inside a value is not saved."""
        started = events.start(self.session_store.config)
        attributes = {}
        if self._is_spilled:
            assert self._spill is not None
            if not self._spill.keep():
                return
            attributes[SPILLED] = self._spill.sid
        for cookie in self._read_cookies(self._max_age):
            is_same = self._cookie is not None and cookie.value == self._cookie.value
            if is_same and isinstance(cookie.data, dict):
                self._set_cookie(response, dict(cookie.data), **attributes)
                self._tell("refresh", started, self._size_of(cookie.value))
                return

    def _save(self, response: Any, session: SessionDict) -> None:
        started = events.start(self.session_store.config)
        if self._spill is not None:  # before anything is stored or ended
            rules.check_cookie(self.name, self.session_args, type(response), "session_args")
        is_renewed = session._regenerates
        try:
            held = self._move(session, type(response))
        except BackendError as error:
            if self._spill is None:
                raise
            self._spill._degrade(error, session)
            return
        if held is None:
            return
        data, attributes = held
        self._set_cookie(response, data, **attributes)
        if is_renewed:
            self._expire_former_cookies(response)
        self._tell("save", started, getattr(self.session_store, "_written", {}).get(self.name))
        session._regenerates = session._destroyed = self.superseded = False

    def _move(
        self, session: SessionDict, response_class: Any
    ) -> tuple[dict[Any, Any], dict[str, Any]] | None:
        """Spill a session that is too large for its cookie, or take back one that fits again.

        The stored record ends before the cookie is set: if another request has ended it, the
        session must not come back.

        :returns: data and attributes for the cookie; ``None`` if another request has ended the
            session.
        """
        spill = self._spill
        size = self._oversize(session, response_class)
        if size is None and spill is not None and self._is_spilled:
            self._share_ages(spill)  # with the age that this request has set, or dropped
            if not spill.merged(session):
                return None
            self.own_max_age = spill.own_max_age
            size = self._oversize(session, response_class)  # with what others have stored
        if size is not None:
            sid = self._store(session, size)
            return None if sid is None else ({}, {SPILLED: sid})
        if spill is not None and self._is_spilled:
            if not spill.retire():
                return None
            self._is_spilled = False
        elif spill is not None and (session._regenerates or spill._former_sids):
            spill.discard()  # records of other cookies that came with the request
        return dict(session), {}

    def _add_ages(self, data: Mapping[Any, Any], attributes: dict[str, Any]) -> dict[str, Any]:
        # In a plain cookie a stored backend would read it as an id, which no visitor may choose.
        if "_sid" in data and not self._came_as_id(data["_sid"]):
            attributes[IS_DATA] = True
        return super()._add_ages(data, attributes)

    def _came_as_id(self, sid: Any) -> bool:
        """Return whether the cookie came with that ``_sid`` as the id of a stored session."""
        cookie = self._cookie
        if cookie is None or IS_DATA in cookie.attributes or type(sid) not in (str, int):
            return False
        came = cookie.data.get("_sid")
        return type(came) is type(sid) and came == sid

    def _oversize(self, session: SessionDict, response_class: Any) -> int | None:
        """Return the bytes of the session's Set-Cookie header if browsers would drop it.

        :returns: ``None`` if they would not, or nothing else is configured for that.
        """
        config = self.session_store.config
        limit = config.get("max_cookie_size")
        # A spilled session is signed in any case: its record must not end if that fails.
        if not self._is_spilled and (limit is None or config.get("on_oversize") in (None, "warn")):
            return None
        attributes: dict[str, Any] = {}
        args = self._add_ages(session, attributes)
        serializer = self._own_serializer or self.session_store.serializer
        value = sign_cookie(serializer, self.name, dict(session), attributes)
        rest = sum(len(each) for each in args.values() if isinstance(each, (str, bytes)))
        if limit is None or len(self.name) + len(value) + rest + _ATTRIBUTES < limit:
            return None
        size = cookies.size_of(response_class, self.name, value, args)
        return size if size > limit else None

    def _store(self, session: SessionDict, size: int) -> str | None:
        """Store a session in the ``on_oversize`` backend.

        :returns: its id; ``None`` if another request has ended it.
        :raises SessionTooLarge: ``on_oversize`` is ``'raise'``.
        """
        keyword = self.session_store.config.get("on_oversize")
        if self._spill is None and keyword in _NO_BACKEND:
            from webapp2_sessions.errors.sizes import largest_keys  # for this error alone

            raise SessionTooLarge(
                *self._place(),
                size,
                self.session_store.config["max_cookie_size"],
                largest_keys(dict(session), json.dumps),
            )
        spill = self._spill = self._spill or self._make_spill(keyword)
        self._share_ages(spill)
        # Through JSON, so that values come back the same from the server and from the cookie.
        stored = SessionDict(spill, data=json.loads(json.dumps(dict(session))))
        stored._regenerates, stored._flash_keys = session._regenerates, session._flash_keys
        stored._assigned = session._assigned
        if not spill.store(stored):
            return None
        self._is_spilled = True
        self.own_max_age = spill.own_max_age
        if spill._merger is not None:  # what others have changed is now part of it
            dict.clear(session)
            dict.update(session, stored)
            session._assigned = stored._assigned
        return spill.sid

    def _size_of(self, value: str | bytes | None) -> int | None:
        """Return the bytes of a cookie as browsers send it, with what parts it from another."""
        return None if value is None else len(self.name) + len(value) + 3

    def _place(self) -> tuple[str, str]:
        return self.keyword, "the visitor's browser"

    def _make_spill(self, keyword: str) -> StoredSessionFactory:
        """Create the factory of the ``on_oversize`` backend, pinned to the current place."""
        spill = self.session_store.get_backend(keyword)(self.name, self.session_store)
        if not getattr(spill, "can_spill", False):
            raise ConfigError(
                "on_oversize",
                f"the backend {keyword!r} is no StoredSessionFactory, which it must be",
            )
        self._share_ages(spill)
        spill._follows = False
        spill._get_by_sid(None)  # pins the place
        return spill  # type: ignore[no-any-return]

    def _share_ages(self, spill: StoredSessionFactory) -> None:
        """Let the spill know what an application may have assigned to the factory, and the ages."""
        spill.name, spill.session_args = self.name, self.session_args
        spill._max_age, spill._began = self._max_age, self._began
        spill.own_max_age, spill.sets_max_age = self.own_max_age, self.sets_max_age
