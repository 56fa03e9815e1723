"""The signed cookies of a session store: read and written for its sessions, and for itself."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookies
from webapp2_sessions.config import SessionConfig, _default_value
from webapp2_sessions.config.checks import check_max_age
from webapp2_sessions.cookies import rules
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.securecookie.cookie_data import CookieData, OpenCookie, as_session, sealed
from webapp2_sessions.securecookie.signed_codec import SignedCodec, codec_of
from webapp2_sessions.sessions.received_cookies import ReceivedCookies

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import CookieSerializer

__all__ = ["SignedCookies"]

logger: logging.Logger = logging.getLogger(__name__)

#: Bytes of a Cookie header that usual servers take: gunicorn 8,190 and nginx 8 kB for the line.
_LONG_HEADER = 8000


class SignedCookies:
    """Reads the signed cookies of a request and sets those of a response.

    Where nothing was put in place of what is here, and nothing is unusual about a cookie, a codec
    does in less time what the serializer would do.
    """

    #: The request.
    request: Any
    #: The configuration.
    config: dict[str, Any]
    #: The factories of the sessions that were opened, by session name.
    sessions: dict[str, Any]

    # Defaults also for a subclass that does without our __init__.
    #: The request's cookies, once one could not be read the short way.
    _cookies: ReceivedCookies | None = None
    #: Bytes of the cookies that were set, by their names, as the browser sends them back.
    _written: dict[str, int] = {}  # noqa: RUF012 # replaced, never changed
    #: Attributes of the session's cookie that is being set.
    _attributes: dict[str, Any] | None = None
    #: The serializer, once it was asked for or set.
    _serializer: CookieSerializer | None = None

    @property
    def serializer(self) -> CookieSerializer:
        """Signs and checks the cookies: a :class:`SecureCookieSerializer`, unless one was set."""
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

    def get_secure_cookie(self, name: str, max_age: float | None = _default_value) -> Any:
        """Return what a signed cookie of the request holds, ``None`` if there is no valid one.

        Of several valid cookies of that name the one that was signed last counts: one that
        another application of the same domain sets cannot displace it.

        :param name: the cookie's name.
        :param max_age: age in seconds above which it counts as expired, ``None`` for no limit;
            by default ``session_max_age``.
        """
        max_age = self._max_age(max_age)
        received = self._received()
        found = received.accepted(self.request, self.serializer, name, max_age, own_ages=True)
        return found[0].data if found else None

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Set a signed cookie on the response.

        :param value: anything that JSON can represent.
        :param kwargs: arguments of WebOb's ``Response.set_cookie()``.
        :raises TypeError: JSON cannot represent the value.
        :raises ConfigError: no cookie can be sent with these arguments.
        """
        rules.check_cookie(name, kwargs, type(response), "save_secure_cookie()")
        if self._attributes is not None and isinstance(value, dict):
            value = CookieData(value, self._attributes)  # an override may have made another one
        self._send(response, name, value, kwargs, self.serializer)

    def open_session_cookies(
        self, name: str, max_age: float | None, serializer: Any = None
    ) -> list[OpenCookie]:
        """Return the valid cookies of a session, the one that was signed last first.

        As :meth:`get_secure_cookie`; where ``session.set_max_age()`` has given the session an age
        of its own, that one counts.

        :param serializer: checks the cookies; by default the store's.
        """
        if max_age is not None:
            max_age = self._max_age(max_age)
        if serializer is None:
            found = self._read_at_once(name, max_age)
            if found is not None:
                return [found]
            if getattr(self.get_secure_cookie, "__func__", None) is not _GET:
                data = self.get_secure_cookie(name, max_age=max_age)
                return [] if data is None else [OpenCookie(as_session(data))]
            serializer = self.serializer
        return self._received().accepted(self.request, serializer, name, max_age, own_ages=True)

    def save_session_cookie(
        self,
        response: Any,
        name: str,
        data: dict[Any, Any],
        args: dict[str, Any],
        serializer: Any = None,
    ) -> None:
        """Set a session's cookie on the response, as :meth:`save_secure_cookie`.

        :param data: what the cookie is to hold; a :class:`CookieData` if it has attributes.
        :param args: arguments of WebOb's ``Response.set_cookie()``.
        :param serializer: makes the cookie's value; by default the store's.
        """
        if serializer is not None:
            self._send(response, name, data, args, serializer)
            return
        codec = None
        if (
            type(data) is not CookieData
            and getattr(self.save_secure_cookie, "__func__", None) is _SAVE
            and SecureCookieSerializer.serialize is _SERIALIZE
            and SecureCookieSerializer._encode is _ENCODE
            and SecureCookieSerializer._get_timestamp is _TIMESTAMP
        ):
            codec = self._codec(name)
        if codec is None:
            self._attributes = getattr(data, "attributes", None)
            try:
                self.save_secure_cookie(response, name, data, **args)
            finally:
                self._attributes = None
            return
        self._write(response, name, codec.seal(data), data, args, is_plain=True)

    def _send(
        self, response: Any, name: str, value: Any, args: dict[str, Any], serializer: Any
    ) -> None:
        signed = sealed(serializer, name, value)
        self._write(response, name, signed, value, args)

    def _write(
        self,
        response: Any,
        name: str,
        signed: bytes,
        value: Any,
        args: dict[str, Any],
        is_plain: bool = False,
    ) -> None:
        limit = self.config.get("max_cookie_size")
        cookies.write(response, name, signed, value, args, limit, is_plain)
        self._written = {**self._written, name: len(name) + len(signed) + 3}
        opened = getattr(self, "sessions", ())  # a subclass may set cookies alone
        unsaved = getattr(self, "_unsaved", None)
        if unsaved is not None:
            unsaved.settle(name)
        if name in opened and self.config.get("vary"):  # also by an application's own factory
            cookies.vary_on_cookie(response)

    def _warn_of_long_header(self) -> None:
        """Log if the browser will send more cookies than usual servers take in one header."""
        request = getattr(self, "request", None)  # it may have ended
        header = getattr(request, "environ", {}).get("HTTP_COOKIE", "")
        if not isinstance(header, str):  # a mock's
            return
        if len(header) + sum(self._written.values()) <= _LONG_HEADER:
            return
        sizes = dict(self._written)
        for pair in header.split(";"):
            name = pair.partition("=")[0].strip()
            if name not in self._written:  # also if it comes several times
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

    def _read_at_once(self, name: str, max_age: float | None) -> OpenCookie | None:
        """Return the only cookie of a name if it is an ordinary one, ``None`` otherwise."""
        try:
            if (
                self.get_secure_cookie.__func__ is not _GET  # type: ignore[attr-defined]
                or SecureCookieSerializer.deserialize is not _DESERIALIZE
                or SecureCookieSerializer._decode is not _DECODE
            ):
                return None
        except AttributeError:  # no method
            return None
        codec = self._codec(name)
        if codec is None:
            return None
        values = cookies.read_values(self.request, name)
        found = codec.open(values[0]) if len(values) == 1 else None
        if found is None:
            return None
        data, signed_at = found
        if max_age is not None:
            is_usual = SecureCookieSerializer._get_timestamp is _TIMESTAMP
            if not is_usual or signed_at < int(time.time()) - max_age:
                return None
        return OpenCookie(data, signed_at, values[0])

    def _codec(self, name: str) -> SignedCodec | None:
        """What does the serializer's work for cookies of a name; ``None`` if it has to do it."""
        config = self.config
        if (
            self._serializer is not None
            or type(self).serializer is not _SERIALIZER
            or SecureCookieSerializer._get_signature is not _SIGNATURE
            or type(config) is not SessionConfig
            or type(name) is not str
        ):
            return None
        derived = config.derived
        try:
            return derived[name]  # type: ignore[no-any-return]
        except KeyError:
            codec = codec_of(config["secret_key"], config["digest"], name)
            if name == config["cookie_name"]:  # there may be any number of others
                derived[name] = codec
            return codec

    def _received(self) -> ReceivedCookies:
        if self._cookies is None:
            self._cookies = ReceivedCookies()
        return self._cookies

    def _max_age(self, max_age: Any) -> Any:
        """Return the age that is meant; what was given is checked."""
        if max_age is _default_value:
            return self.config["session_max_age"]
        check_max_age("max_age", max_age)
        return max_age


#: Where these are still in their places, a codec does their work; a subclass, or an application
#: in another way, may have put others there.
_GET = SignedCookies.get_secure_cookie
_SAVE = SignedCookies.save_secure_cookie
_SERIALIZER = SignedCookies.serializer
_SERIALIZE = SecureCookieSerializer.serialize
_DESERIALIZE = SecureCookieSerializer.deserialize
_ENCODE = SecureCookieSerializer._encode
_DECODE = SecureCookieSerializer._decode
_SIGNATURE = SecureCookieSerializer._get_signature
_TIMESTAMP = SecureCookieSerializer._get_timestamp
