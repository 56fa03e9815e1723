"""Signed cookies of one request: verify those it brought, and set new ones on its response."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import _default_value
from webapp2_sessions.config.checks import check_max_age
from webapp2_sessions.cookies.rules import check_cookie
from webapp2_sessions.errors import InvalidCookie
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import (
    LARGEST_TIME,
    MAX_AGE,
    NO_COOKIE,
    CookieData,
    OpenCookie,
    as_session,
    attributes_name,
    read_value,
    sign_cookie,
    with_attributes,
)

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import CookieSerializer
    from webapp2_sessions.sessions.unsaved import Unsaved

__all__ = ["CookiesOf", "SignedCookies"]

logger: logging.Logger = logging.getLogger(__name__)

#: The serializer's own method, which does less than those that it calls: it returns ``None``
#: without a cause, and no time. One that an application has put in its place is called.
_DESERIALIZE = SecureCookieSerializer.deserialize

#: Cookies of one name that are tried, each of which may need a server. Browsers send several only
#: if they were set with different paths or domains.
_MOST_TRIED = 4

#: Bytes of a Cookie header that most servers accept (gunicorn: 8,190; nginx: 8 kB a line).
_LONG_HEADER = 8000


class _Opening:
    """Which of a session's cookies is being opened, and what was read for it.

    A store of the application's own may read several cookies for one, by other names too. Each of
    the session's cookies passes through its ``get_secure_cookie()``.

    :param name: the session's name.
    """

    def __init__(self, name: str) -> None:
        #: The name of the cookie that holds the session; another one if the store renames them.
        self._name = name
        self._index = 0
        self._thread = get_ident()
        #: The cookies that were read for the present one, by name.
        self._read: dict[str, list[OpenCookie]] = {}
        #: Whether there is another cookie to be opened.
        self.has_more: bool = True

    def note(self, name: str, opened: list[OpenCookie]) -> int:
        """Note the valid cookies of a name; return which of them is to be given."""
        if self._index and self._thread != get_ident():
            return 0  # another thread of the request, which does not open the session
        self._read[name] = opened
        return self._index if name == self._name else 0

    def take(self, data: Any) -> OpenCookie | None:
        """Return the cookie that holds the session's data, and go on to the next one."""
        index, read = self._index, self._read
        if not index and self._name not in read:
            for name, opened in read.items():
                if opened and opened[0].data is data:
                    self._name = name
        opened = read.get(self._name, [])
        self._index, self._read = index + 1, {}
        self.has_more = self._index < len(opened)
        if data is None:
            return None
        if index < len(opened):
            return opened[index]
        # The store has its own way to find data; that of a further cookie is not its answer.
        return None if index else NO_COOKIE


class SignedCookies:
    """The part of a session store that reads and sets signed cookies."""

    #: The checked configuration.
    config: dict[str, Any]
    #: The request that brought the cookies.
    request: Any
    #: The factories of the sessions that were opened, by session name.
    sessions: dict[str, Any]

    # Class attributes, because a subclass may not call __init__().
    #: Reports changes that were never saved, in debug mode.
    _unsaved: Unsaved | None = None
    #: The serializer, once it was used or set.
    _serializer: CookieSerializer | None = None
    #: Whether the cookies that were read are valid, by name; of several reads one is enough.
    _verdicts: Mapping[str, bool] = {}
    #: Whether any cookie was asked for.
    _has_read: bool = False
    #: What is known while a session's cookies are opened.
    _opening: _Opening | None = None
    #: The session whose cookie is being set, and the attributes that it gets.
    _setting: tuple[str, Mapping[str, Any]] = "", {}
    #: Bytes of the cookies that were set, as browsers send them back, by name.
    _written: Mapping[str, int] = {}

    @property
    def serializer(self) -> CookieSerializer:
        """Signs and verifies the cookies: a :class:`SecureCookieSerializer`, unless one was set.

        Created on first use, with the keys that the configuration has then.
        """
        if self._serializer is None:
            self._serializer = SecureCookieSerializer(
                self.config["secret_key"],
                self.config.get("secret_key_fallbacks", ()),
                self.config.get("digest", "sha1"),
                self.config.get("digest_fallbacks", ()),
            )
        return self._serializer

    @serializer.setter
    def serializer(self, serializer: CookieSerializer) -> None:
        self._serializer = serializer

    @serializer.deleter
    def serializer(self) -> None:
        self._serializer = None

    def get_secure_cookie(self, name: str, max_age: float | None = _default_value) -> Any:
        """Return what a signed cookie of the request holds, ``None`` if there is no valid one.

        Of several valid cookies of that name the one that was signed last counts: one that
        another application of the same domain sets cannot displace it.

        :param name: the cookie's name.
        :param max_age: age in seconds above which it counts as expired, ``None`` for no limit;
            by default ``session_max_age``.
        """
        opened = self._open_cookies(name, max_age)
        opening = self._opening
        index = 0 if opening is None else opening.note(name, opened)
        return opened[index].data if index < len(opened) else None

    def open_session_cookies(
        self, name: str, max_age: float | None, serializer: CookieSerializer | None = None
    ) -> list[OpenCookie]:
        """Return the valid cookies of a session, the one that was signed last first.

        :param serializer: verifies the cookies; without one each is read by
            :meth:`get_secure_cookie`, which a subclass may have replaced.
        """
        if serializer is not None:
            return self._open_cookies(name, max_age, serializer)
        found = []
        before = self._opening
        opening = self._opening = _Opening(name)
        try:
            while opening.has_more:
                data = self.get_secure_cookie(name, max_age=max_age)
                cookie = opening.take(data)
                if cookie is not None:
                    # A store or a serializer of the application's own may give other mappings.
                    if data is not cookie.data or (
                        not isinstance(data, dict) and _has_own_deserialize(self.serializer)
                    ):
                        cookie = as_session(data, cookie)
                    found.append(cookie)
            return found
        finally:
            self._opening = before

    def _open_cookies(
        self, name: str, max_age: float | None, serializer: CookieSerializer | None = None
    ) -> list[OpenCookie]:
        """Verify all cookies of a name that the request brought.

        An age that ``session.set_max_age()`` has put into a cookie takes precedence over
        ``max_age``.

        :returns: the accepted ones. The one that was signed last comes first; of those that were
            signed in the same second, or whose time is unknown, the last in the header.
        """
        if max_age is not None:
            max_age = self._max_age(max_age)
        self._has_read = True
        values = cookies.read_values(self.request, name)
        if not values:
            return []
        signer: Any = serializer or self.serializer
        is_own = _has_own_deserialize(signer)
        opened = []
        refused = None  # not the error, whose traceback has this frame
        for value in values:
            try:
                if is_own:
                    opened.append(_deserialize(signer, name, value, max_age))
                    continue
                cookie = signer.unseal(name, value)
                limit = cookie.attributes.get(MAX_AGE, max_age)
                if limit is not None:
                    signer.check_age(cookie.signed_at, limit)
                opened.append(cookie)
            except InvalidCookie as error:
                refused = refused or str(error)
        if len(opened) > 1:
            opened.sort(key=_time_of, reverse=True)
            del opened[_MOST_TRIED:]
        verdict = self._verdicts.get(name)
        if opened and not verdict:
            self._verdicts = {**self._verdicts, name: True}
        elif not opened and verdict is None:
            self._verdicts = {**self._verdicts, name: False}
            logger.warning("The cookie %r was not accepted: %s", name, refused)
        return opened

    def _max_age(self, max_age: Any) -> Any:
        """Validate a ``max_age``, and replace the default by ``session_max_age``."""
        if max_age is _default_value:
            return self.config["session_max_age"]
        if max_age is not None:
            check_max_age("max_age", max_age)
        return max_age

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Set a signed cookie on the response.

        :param value: anything that JSON can represent.
        :param kwargs: arguments of WebOb's ``Response.set_cookie()``.
        :raises TypeError: JSON cannot represent the value.
        :raises ConfigError: no cookie can be sent with these arguments.
        """
        session, attributes = self._setting
        key = "session_args" if name == session else "save_secure_cookie()"
        if name != session:
            attributes = value.attributes if isinstance(value, CookieData) else {}
        self._set_cookie(response, name, value, attributes, kwargs, self.serializer, key)

    def save_session_cookie(
        self,
        response: Any,
        name: str,
        data: dict[Any, Any],
        attributes: Mapping[str, Any],
        args: dict[str, Any],
        serializer: CookieSerializer | None = None,
    ) -> None:
        """Set a session's cookie on the response.

        :param data: what the cookie is to hold.
        :param attributes: what it keeps beside the data.
        :param args: arguments of WebOb's ``Response.set_cookie()``.
        :param serializer: signs the cookie; without one it is set by :meth:`save_secure_cookie`,
            which a subclass may have replaced.
        """
        if serializer is not None:
            self._set_cookie(response, name, data, attributes, args, serializer)
            return
        before = self._setting
        self._setting = name, attributes
        try:
            value = CookieData(data, attributes) if attributes else data
            self.save_secure_cookie(response, name, value, **args)
        finally:
            self._setting = before

    def _set_cookie(
        self,
        response: Any,
        name: str,
        value: Any,
        attributes: Mapping[str, Any],
        args: dict[str, Any],
        serializer: Any,
        key: str = "session_args",
    ) -> None:
        config = self.config
        signed = sign_cookie(serializer, name, value, attributes)
        cookies.write(response, name, signed, value, args, config.get("max_cookie_size"), key)
        self._written = {**self._written, name: len(name) + len(signed) + 3}
        if self._unsaved is not None:
            self._unsaved.settle(name)
        opened = getattr(self, "sessions", ())  # absent where __init__() was not called
        if name in opened and config.get("vary"):
            cookies.vary_on_cookie(response)

    def _warn_of_long_header(self) -> None:
        """Log if the browser will send more cookies than most servers accept in one header."""
        request = getattr(self, "request", None)  # it may have ended
        header = getattr(request, "environ", {}).get("HTTP_COOKIE", "")
        if not isinstance(header, str):  # a mock's
            return
        if len(header) + sum(self._written.values()) <= _LONG_HEADER:
            return
        sizes = dict(self._written)
        for pair in header.split(";"):
            name, equals, _ = pair.strip().partition("=")
            if equals and name not in self._written:  # also if it comes several times
                sizes[name] = sizes.get(name, 0) + len(pair) + 1
        if sum(sizes.values()) > _LONG_HEADER:
            largest = sorted(sizes.items(), key=lambda pair: pair[1], reverse=True)
            logger.warning(
                "The cookies of this visitor have %d bytes together, and many servers refuse "
                "requests with more than %d. Largest cookies: %s. Store less, or use a server-side "
                "backend.",
                sum(sizes.values()),
                _LONG_HEADER,
                ", ".join(f"{name[:40]!r} ({size} bytes)" for name, size in largest[:3]),
            )


class CookiesOf(SignedCookies):
    """Read and set the cookies of sessions by a store that offers upstream's interface alone.

    :param store: any object with ``config``, ``get_secure_cookie(name, max_age=)`` and
        ``save_secure_cookie(response, name, value, **kwargs)``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.config: dict[str, Any] = store.config
        self.sessions: dict[str, Any] = {}
        self.request: Any = getattr(store, "request", None)

    def get_secure_cookie(self, name: str, max_age: float | None = _default_value) -> Any:
        """Return what the store reads."""
        return self._store.get_secure_cookie(name, max_age=max_age)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Have the store set the cookie, once it is certain that it can be sent."""
        check_cookie(name, kwargs, type(response), "session_args")
        self._store.save_secure_cookie(response, name, value, **kwargs)


def _time_of(cookie: OpenCookie) -> int:
    """Return when a cookie was signed; 0 if that is not known, or no time."""
    signed_at = cookie.signed_at
    return 0 if signed_at is None or abs(signed_at) >= LARGEST_TIME else signed_at


def _has_own_deserialize(serializer: Any) -> bool:
    method = serializer.deserialize
    is_ours = getattr(method, "__func__", None) is _DESERIALIZE
    return not is_ours or method.__self__ is not serializer


def _deserialize(serializer: Any, name: str, value: str, max_age: float | None) -> OpenCookie:
    """Verify by a ``deserialize()`` of the application's own, which may know nothing of attributes.

    :raises InvalidCookie: it does not accept the cookie.
    """
    data = serializer.deserialize(name, value, max_age=max_age)
    cookie = _unsealed(serializer, name, value)
    if cookie is not None:
        if data is None:
            raise InvalidCookie("the serializer refused it")
        return cookie._replace(data=with_attributes(data, cookie.attributes))
    attributes: Mapping[str, Any] = {}
    if data is None or _has_attributes(data):
        held = _read_attributes(serializer, name, value, None)
        if held is not None:
            data, attributes = held
            limit = attributes.get(MAX_AGE, max_age)
            if limit is not None and not _read_attributes(serializer, name, value, limit):
                data = None
    elif isinstance(data, CookieData):
        attributes = data.attributes
    if data is None:
        raise InvalidCookie("the serializer refused it")
    return OpenCookie(with_attributes(data, attributes), None, value, attributes)


def _unsealed(serializer: Any, name: str, value: str) -> OpenCookie | None:
    """Return what the package's own methods read; ``None`` if they do not know the value."""
    if isinstance(serializer, SecureCookieSerializer):
        with suppress(InvalidCookie):  # its own ones may change the name, or what is signed
            return serializer.unseal(name, value)
    return None


def _has_attributes(data: Any) -> bool:
    try:
        read_value(data)
    except ValueError:
        return False
    return True


def _read_attributes(
    serializer: Any, name: str, value: str, max_age: float | None
) -> tuple[Any, dict[str, Any]] | None:
    try:
        held = serializer.deserialize(attributes_name(name), value, max_age=max_age)
        return read_value(held)
    except Exception:  # it may know no such name
        return None
