"""The signed cookies of a session store: read and written for its sessions, and for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from webapp2_sessions import cookie_rules, cookies
from webapp2_sessions.config import SessionConfig, _default_value
from webapp2_sessions.config_checks import check_max_age
from webapp2_sessions.cookies import OWN_MAX_AGE, is_young, only_value
from webapp2_sessions.received_cookies import ReceivedCookies
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.signed_codec import SignedCodec, codec_of

if TYPE_CHECKING:
    from webapp2_sessions.interfaces import CookieSerializer

__all__ = ["SignedCookies"]


class SignedCookies:
    """Reads the signed cookies of a request and sets those of a response.

    Where nothing was put in place of what is here, and nothing is unusual about a cookie, a codec
    does in less time what the serializer would do.
    """

    #: The request.
    request: Any
    #: The configuration.
    config: dict[str, Any]

    # Defaults also for a subclass that does without our __init__.
    #: The request's cookies, once one was not read at a glance.
    _cookies: ReceivedCookies | None = None
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

        Of several cookies of that name the last valid one counts: one that another application
        of the same domain sets cannot displace ours.

        :param name: the cookie's name.
        :param max_age: age in seconds above which it counts as expired, ``None`` for no limit;
            by default ``session_max_age``.
        """
        max_age = self._max_age(max_age)
        return self._received().accepted(self.request, self.serializer, name, max_age)[0]

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Set a signed cookie on the response.

        :param value: anything that JSON can represent.
        :param kwargs: arguments of WebOb's ``Response.set_cookie()``.
        :raises TypeError: JSON cannot represent the value.
        :raises ConfigError: no cookie can be sent with these arguments.
        """
        cookie_rules.check_cookie(name, kwargs, type(response), "save_secure_cookie()")
        signed = self.serializer.serialize(name, value)
        limit = self.config.get("max_cookie_size")
        cookies.write(response, name, signed, value, kwargs, limit)

    def open_session_cookie(
        self, name: str, max_age: float | None, serializer: Any = None
    ) -> tuple[Any, int | None]:
        """Return what a session's cookie holds and when it was signed, in Unix seconds.

        As :meth:`get_secure_cookie`; a session that has a lifetime of its own, by
        ``session.set_max_age()``, goes by that.

        :param serializer: checks the cookie; by default the store's.
        :returns: ``None`` twice if there is no valid one. The time is ``None`` if it is unknown.
        """
        if max_age is not None:
            max_age = self._max_age(max_age)
        if serializer is None:
            found = self._read_at_once(name, max_age)
            if found is not None:
                return found
            if getattr(self.get_secure_cookie, "__func__", None) is not _GET:
                return self.get_secure_cookie(name, max_age=max_age), None
            serializer = self.serializer
        received = self._received()
        return received.accepted(self.request, serializer, name, max_age, own_ages=True)

    def save_session_cookie(
        self,
        response: Any,
        name: str,
        data: dict[Any, Any],
        args: dict[str, Any],
        serializer: Any = None,
    ) -> None:
        """Set a session's cookie on the response, as :meth:`save_secure_cookie`.

        :param args: arguments of WebOb's ``Response.set_cookie()``.
        :param serializer: makes the cookie's value; by default the store's.
        """
        limit = self.config.get("max_cookie_size")
        if serializer is not None:
            cookies.write(response, name, serializer.serialize(name, data), data, args, limit)
            return
        codec = None
        if (
            getattr(self.save_secure_cookie, "__func__", None) is _SAVE
            and SecureCookieSerializer.serialize is _SERIALIZE
            and SecureCookieSerializer._encode is _ENCODE
            and SecureCookieSerializer._get_timestamp is _TIMESTAMP
        ):
            codec = self._codec(name)
        if codec is None:
            self.save_secure_cookie(response, name, data, **args)
            return
        signed = codec.seal(data)
        cookies.write(response, name, signed, data, args, limit, is_plain=True)

    def _read_at_once(self, name: str, max_age: float | None) -> tuple[dict[Any, Any], int] | None:
        """As :meth:`open_session_cookie`, of a cookie as almost all are; ``None`` for others."""
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
        value = None if codec is None else only_value(self.request, name)
        found = None if codec is None or value is None else codec.open(value)
        if found is None or (max_age is None and OWN_MAX_AGE not in found[0]):
            return found
        data, signed_at = found
        is_usual = SecureCookieSerializer._get_timestamp is _TIMESTAMP
        return found if is_usual and is_young(data, signed_at, max_age) else None

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
