"""The session store of a request, and all names of ``webapp2_extras.sessions``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import ReferenceType, ref

import webapp2

from webapp2_sessions import cookie_rules, cookies
from webapp2_sessions.app_config import load_config, response_class_of
from webapp2_sessions.config import CONFIG_KEY, SAVER_KEY, SessionConfig, default_config
from webapp2_sessions.config_checks import check_max_age
from webapp2_sessions.cookie_sessions import SPILLED, SecureCookieSessionFactory
from webapp2_sessions.cookies import OWN_MAX_AGE, only_value
from webapp2_sessions.errors import UnknownBackend
from webapp2_sessions.factories import (
    BEGAN,
    BaseSessionFactory,
    CustomBackendSessionFactory,
    _default_value,
)
from webapp2_sessions.imports import import_object
from webapp2_sessions.lazy import imported_once
from webapp2_sessions.received_cookies import ReceivedCookies
from webapp2_sessions.securecookie import SecureCookieSerializer
from webapp2_sessions.session_dict import SessionDict
from webapp2_sessions.signed_codec import SignedCodec, codec_of

if TYPE_CHECKING:
    from webapp2_sessions.interfaces import CookieSerializer, SessionFactory
    from webapp2_sessions.stored_sessions import StoredSessionFactory
else:  # of no use to sessions in cookies
    __getattr__, __dir__ = imported_once(globals(), StoredSessionFactory="stored_sessions")

__all__ = [
    "BaseSessionFactory",
    "CustomBackendSessionFactory",
    "SecureCookieSessionFactory",
    "SessionDict",
    "SessionStore",
    "StoredSessionFactory",
    "default_config",
    "get_store",
    "set_store",
]

#: Key of the store in a request's registry; webapp2_extras.auth looks there.
_registry_key = "webapp2_extras.sessions.SessionStore"

#: Factories that set a cookie of the session's name; others may take any name.
_SET_A_COOKIE = (SecureCookieSessionFactory, CustomBackendSessionFactory)

# It is here already, so that the default backend needs no import.
default_config["backends"]["securecookie"] = SecureCookieSessionFactory


class _FormerRequest:
    """The request of a store that does not keep it alive any more: as long as others do."""

    # It has no __set__, so that Python looks here only where the store has no request of its own.
    def __get__(self, store: SessionStore | None, owner: type | None = None) -> Any:
        if store is None:
            return self
        former = store._former_request
        if former is None:  # a subclass that sets none
            raise AttributeError(f"{type(store).__name__!r} object has no attribute 'request'")
        request = former()
        if request is None:
            raise AttributeError(
                "the request has ended, and the store does not keep it alive once its sessions are "
                "saved; keep the request yourself if you need it later"
            )
        return request


class SessionStore:
    """Gives out the sessions of one request and saves them to its response.

    :param request: the :class:`webapp2.Request`, with ``request.app``.
    :param config: values that take precedence over those of the application's
        ``config["webapp2_extras.sessions"]``.
    :raises ConfigError: the configuration is wrong or has no ``secret_key``.
    """

    #: Key of the configuration in the application's ``config``.
    config_key: str = CONFIG_KEY

    #: The request. A store that :func:`get_store` has made does not keep it alive once the sessions
    #: are saved and webapp2 has answered it; an ``AttributeError`` says so then.
    request: Any = _FormerRequest()
    #: The checked configuration, shared by all stores of the application.
    config: dict[str, Any]
    #: The factories of the sessions that were opened, by session name.
    sessions: dict[str, Any]

    #: Whether the application is in debug mode.
    debug: bool = False

    # Defaults also for a subclass that does without our __init__.
    #: The request's cookies, once one was not read at a glance.
    _cookies: ReceivedCookies | None = None
    #: The request, once the store does not keep it alive any more.
    _former_request: ReferenceType[Any] | None = None
    #: Whether the store and its request keep each other alive, by the request's registry.
    _is_in_cycle = False
    #: The serializer, once it was asked for or set.
    _serializer: CookieSerializer | None = None

    def __init__(self, request: Any, config: Mapping[str, Any] | None = None) -> None:
        self.request = request
        app = request.app
        checked = None if config else app.config.get(self.config_key)
        if type(checked) is not SessionConfig:
            checked = load_config(app, self.config_key, config)
        self.config = checked
        self.sessions = {}
        try:
            self.debug = app.debug
        except AttributeError:  # an application of another kind
            self.debug = False

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

    def get_backend(self, name: str) -> SessionFactory:
        """Return the session factory of a backend keyword, importing it if needed.

        :raises UnknownBackend: there is no such keyword in ``config["backends"]``.
        :raises MissingDependency: the library that the backend needs is not installed.
        """
        backends = self.config["backends"]
        try:
            backend = backends[name]
        except KeyError:
            known = ", ".join(map(repr, backends))
            raise UnknownBackend("backend", f"{name!r} is unknown; known are {known}") from None
        if isinstance(backend, str):
            backend = import_object(backend)
            if type(self.config) is SessionConfig:  # whose dictionary is its own
                backends[name] = backend
        return backend  # type: ignore[no-any-return]

    def get_session(
        self,
        name: str | None = None,
        max_age: float | None = _default_value,
        factory: SessionFactory | None = None,
        backend: str = "securecookie",
    ) -> SessionDict:
        """Return the session of that name; within a request always the same object.

        The first call for a name decides on its factory and ``max_age``.

        :param name: name of the session and its cookie; by default ``cookie_name``.
        :param max_age: age of the cookie in seconds above which the session counts as expired,
            ``None`` for no limit; by default ``session_max_age``.
        :param factory: the session factory; takes precedence over ``backend``.
        :param backend: keyword of the session factory in ``config["backends"]``.
        :raises ConfigError: the name cannot be sent as a cookie, or ``max_age`` is no number.
        :raises BackendError: the backend's server failed.
        """
        factory = factory or self.get_backend(backend)
        config = self.config
        name = name or config["cookie_name"]
        # Without a call where nothing is given, as almost always.
        max_age = config["session_max_age"] if max_age is _default_value else self._max_age(max_age)
        if factory is SecureCookieSessionFactory and name not in self.sessions:
            session = self._open_at_once(config, name, max_age)
            if session is not None:
                return session
        container = self._get_session_container(name, factory)
        return container.get_session(max_age=max_age)  # type: ignore[no-any-return]

    def _open_at_once(
        self, config: dict[str, Any], name: str, max_age: float | None
    ) -> SessionDict | None:
        """Return the session of a signed cookie as almost all are.

        :returns: ``None`` if it takes the steps of the factory, one by one.
        """
        if type(self) is not SessionStore or type(config) is not SessionConfig:
            return None
        derived = config.derived
        try:
            codec = derived[_USUAL]
        except KeyError:
            codec = derived[_USUAL] = _usual(config)
        if (
            codec is None
            or name != codec.name
            or self.debug
            or self._serializer is not None
            or getattr(self.get_secure_cookie, "__func__", None) is not _GET
            or SessionStore.serializer is not _SERIALIZER
            or SecureCookieSessionFactory.get_session is not _OPEN
            or SecureCookieSerializer.deserialize is not _DESERIALIZE
        ):
            return None
        value = only_value(self.request, name)
        found = None if value is None else codec.open(value)
        if found is None:
            return None
        data, signed_at = found
        if OWN_MAX_AGE in data or BEGAN in data or SPILLED in data:
            return None
        if max_age is not None and not _is_young(data, signed_at, max_age):
            return None
        container = self.sessions[name] = SecureCookieSessionFactory(name, self)
        container._max_age, container._signed_at = max_age, signed_at
        session = container.session = SessionDict(container, data)
        return session

    def _get_session_container(self, name: str, factory: SessionFactory) -> Any:
        if name in self.sessions:
            return self.sessions[name]
        container, config = factory(name, self), self.config
        # The configuration's own name was checked with it.
        is_checked = type(config) is SessionConfig and name == config["cookie_name"]
        if not is_checked and isinstance(container, _SET_A_COOKIE):
            cookie_rules.check_name(name, container.session_args)
        self.sessions[name] = container
        return container

    def _max_age(self, max_age: Any) -> Any:
        if max_age is _default_value:
            return self.config["session_max_age"]
        check_max_age("max_age", max_age)
        return max_age

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
            codec = self._codec(name, self.get_secure_cookie, _GET)
            value = None if codec is None else only_value(self.request, name)
            found = None if codec is None or value is None else codec.open(value)
            if found is not None:
                data, signed_at = found
                has_no_end = max_age is None and OWN_MAX_AGE not in data
                if has_no_end or _is_young(data, signed_at, max_age):
                    return found
            if getattr(self.get_secure_cookie, "__func__", None) is not _GET:
                return self.get_secure_cookie(name, max_age=max_age), None
            serializer = self.serializer
        received = self._received()
        return received.accepted(self.request, serializer, name, max_age, own_ages=True)

    def _codec(self, name: str, method: object, ours: object) -> SignedCodec | None:
        """What does the serializer's work for cookies of a name; ``None`` if it has to do it.

        :param method: the store's method that would ask the serializer.
        :param ours: what it has to be.
        """
        config = self.config
        if (
            getattr(method, "__func__", None) is not ours
            or self._serializer is not None
            or type(self).serializer is not _SERIALIZER
            or type(config) is not SessionConfig
            or type(name) is not str
            or SecureCookieSerializer.deserialize is not _DESERIALIZE
        ):
            return None
        derived = config.derived
        codec: SignedCodec | None = derived.get(name)
        if codec is None:
            codec = codec_of(config["secret_key"], config["digest"], name)
            if name == config["cookie_name"]:  # there may be any number of others
                derived[name] = codec
        return codec

    def _received(self) -> ReceivedCookies:
        if self._cookies is None:  # also in a subclass that does without our __init__
            self._cookies = ReceivedCookies()
        return self._cookies

    def set_secure_cookie(self, name: str, value: dict[Any, Any], **kwargs: Any) -> None:
        """Update the session of that name, a cookie session if it is not open yet.

        :param name: the cookie's name.
        :param value: merged into what the cookie holds.
        :param kwargs: cookie arguments, merged into those of the session.
        :raises TypeError: ``value`` is no dictionary.
        :raises ConfigError: no cookie can be sent with these arguments.
        """
        if not isinstance(value, dict):
            raise TypeError(
                f"the value of a secure cookie must be a dict, not {type(value).__name__}"
            )
        container = self._get_session_container(name, SecureCookieSessionFactory)
        if kwargs:
            args = {**container.session_args, **kwargs}
            response_class = response_class_of(getattr(self.request, "app", None))
            cookie_rules.check_cookie(name, args, response_class, "set_secure_cookie()")
        container.get_session().update(value)
        container.session_args.update(kwargs)

    def save_sessions(self, response: Any) -> None:
        """Save all modified sessions and set their cookies on the response.

        :param response: the :class:`webapp2.Response`.
        :raises TypeError: JSON cannot represent a value of a cookie session.
        :raises BackendError: it is not certain that a session was stored.
        """
        try:
            saver = self.request.environ.get(SAVER_KEY)
        except AttributeError:  # an object without an environ has no middleware
            saver = None
        if saver is None:
            self._save_all(response)
        else:
            saver(self._save_all, response)
        if self._is_in_cycle:
            self._release_request()

    def _release_request(self) -> None:
        """Leave it to webapp2 how long the request lives, if webapp2 is answering it.

        Together with the store in its registry it would wait for the cycle collector, and with it
        the response and what was uploaded.
        """
        self._is_in_cycle = False
        request = self.request
        # By its type, since webapp2.get_request() returns a proxy, to which nobody else refers.
        if issubclass(type(request), webapp2.Request) and request.route is not None:
            self._former_request = ref(request)
            del self.request

    def _save_all(self, response: Any) -> None:
        sessions, config = self.sessions, self.config
        if sessions:
            containers = [*sessions.values()]
            for container in containers:
                container.save_session(response)
                if len(sessions) > len(containers):  # it has opened sessions itself
                    containers += list(sessions.values())[len(containers) :]
            if config.get("vary"):
                cookies.vary_on_cookie(response)
        if config.get("on_damaged_cookie") == "expire":
            self._expire_damaged(response)

    def _expire_damaged(self, response: Any) -> None:
        """Have the browser forget the cookies that were not accepted and are not replaced."""
        for name in self._received().damaged:
            if not cookies.is_set(response, name):
                container = self.sessions.get(name)
                args = self.config["cookie_args"] if container is None else container.session_args
                cookies.expire(response, name, args)

    def save_secure_cookie(self, response: Any, name: str, value: Any, **kwargs: Any) -> None:
        """Set a signed cookie on the response.

        :param value: anything that JSON can represent.
        :param kwargs: arguments of WebOb's ``Response.set_cookie()``.
        :raises TypeError: JSON cannot represent the value.
        """
        signed = self.serializer.serialize(name, value)
        limit = self.config.get("max_cookie_size")
        cookies.write(response, name, signed, value, kwargs, limit)

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
        codec = self._codec(name, self.save_secure_cookie, _SAVE)
        if (
            codec is None
            or SecureCookieSerializer.serialize is not _SERIALIZE
            or SecureCookieSerializer._get_timestamp is not _TIMESTAMP
        ):
            self.save_secure_cookie(response, name, data, **args)
            return
        signed = codec.seal(data)
        cookies.write(response, name, signed, data, args, limit, is_plain=True)


#: Where :func:`_usual` is kept; names are for codecs of cookies of those names.
_USUAL = object()


def _usual(config: SessionConfig) -> SignedCodec | None:
    """Return what reads the session's cookie, if nothing but the cookie decides on the session."""
    if config["absolute_max_age"] is not None or config["change_detection"] != "flag":
        return None
    return codec_of(config["secret_key"], config["digest"], config["cookie_name"])


#: Where these are still in their places, their work is done in less time; a subclass, or an
#: application in another way, may have put others there.
_GET = SessionStore.get_secure_cookie
_SAVE = SessionStore.save_secure_cookie
_OPEN = SecureCookieSessionFactory.get_session
_SERIALIZER = SessionStore.serializer
_SERIALIZE = SecureCookieSerializer.serialize
_DESERIALIZE = SecureCookieSerializer.deserialize
_TIMESTAMP = SecureCookieSerializer._get_timestamp


def _is_young(data: dict[Any, Any], signed_at: int, max_age: float | None) -> bool:
    """As :func:`cookies.is_young`; ``False`` also where the serializer has a clock of its own."""
    is_usual = SecureCookieSerializer._get_timestamp is _TIMESTAMP
    return is_usual and cookies.is_young(data, signed_at, max_age)


AnyStore = TypeVar("AnyStore")


@overload
def get_store(*, key: str = ..., request: Any = None) -> SessionStore: ...
@overload
def get_store(
    factory: Callable[[Any], AnyStore], key: str = ..., request: Any = None
) -> AnyStore: ...
def get_store(
    factory: Callable[..., Any] = SessionStore, key: str = _registry_key, request: Any = None
) -> Any:
    """Return the session store of a request, making and registering it on the first call.

    :param factory: called with the request to make the store.
    :param key: the store's key in ``request.registry``.
    :param request: the request; by default the active one.
    """
    request = request or webapp2.get_request()
    registry = request.registry
    store = registry.get(key)
    if not store:
        store = registry[key] = factory(request)
        if type(store) is SessionStore:  # another class may need its request for longer
            store._is_in_cycle = True
    return store


def set_store(store: object, key: str = _registry_key, request: Any = None) -> None:
    """Make ``store`` the session store of a request.

    :param key: the store's key in ``request.registry``.
    :param request: the request; by default the active one.
    """
    request = request or webapp2.get_request()
    request.registry[key] = store
