"""The session store: opens and saves the sessions of one request."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import ReferenceType, ref

from webapp2_sessions import cookies
from webapp2_sessions.config import (
    CONFIG_KEY,
    SAVER_KEY,
    SessionConfig,
    _default_value,
    default_config,
)
from webapp2_sessions.config.imports import import_object
from webapp2_sessions.config.loading import load_config, response_class_of, warn_of_foreign_store
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import BackendError, ConfigError, UnknownBackend
from webapp2_sessions.sessions import events, locks
from webapp2_sessions.sessions.cookie import SecureCookieSessionFactory
from webapp2_sessions.sessions.factories import CustomBackendSessionFactory
from webapp2_sessions.sessions.locks import lock_of
from webapp2_sessions.sessions.session_dict import SessionDict
from webapp2_sessions.sessions.signed_cookies import SignedCookies

if TYPE_CHECKING:
    from webapp2_sessions.sessions.interfaces import SessionFactory
    from webapp2_sessions.users import UserSession

__all__ = ["SessionStore", "get_store", "set_store"]

#: Key of the store in a request's registry; webapp2_extras.auth looks there.
_registry_key = "webapp2_extras.sessions.SessionStore"

#: Default of ``backend=``. Compared by identity: the text ``"securecookie"`` from a caller means
#: signed cookies, whatever ``default_backend`` says.
_default_backend = "".join(["secure", "cookie"])

#: Factories that set a cookie of the session's name, which must be a name for a cookie.
_SET_A_COOKIE = (SecureCookieSessionFactory, CustomBackendSessionFactory)

# Already imported: the default backend needs no lookup by name.
default_config["backends"]["securecookie"] = SecureCookieSessionFactory


class SessionStore(SignedCookies):
    """Open the sessions of one request and save them to its response.

    :param request: the :class:`webapp2.Request`, with ``request.app``.
    :param config: values that take precedence over those of the application's
        ``config["webapp2_extras.sessions"]``.
    :raises ConfigError: the configuration is wrong or has no ``secret_key``.
    """

    #: Key of the configuration in the application's ``config``.
    config_key: str = CONFIG_KEY

    #: The checked configuration, shared by all stores of the application.
    config: dict[str, Any]
    #: The factories of the sessions that were opened, by session name.
    sessions: dict[str, Any]

    #: Whether the application is in debug mode.
    debug: bool = False

    #: The request, or a weak reference to it.
    _request: Any
    #: The request's lock, and the key by which the process has it.
    _lock: Any = None
    _lock_key: str = ""

    def __init__(self, request: Any, config: Mapping[str, Any] | None = None) -> None:
        self._request = request
        app = request.app
        self.config = load_config(app, self.config_key, config)
        self.sessions = {}
        try:
            self.debug = app.debug
        except AttributeError:  # an application of another kind
            self.debug = False
        if self.debug:
            from webapp2_sessions.sessions.unsaved import Unsaved  # nobody else needs it

            self._unsaved = Unsaved(self, getattr(request, "__dict__", {}))

    def _request_lock(self) -> Any:
        """Return the lock that all stores of a request share.

        With two, each of two threads could have one and wait for the other.
        """
        if self._lock_key is not locks.key:  # not from get_store(), or forked meanwhile
            try:
                owner = self.request
            except AttributeError:  # it has ended
                owner = self
            self._lock, self._lock_key = lock_of(owner), locks.key
        return self._lock

    @property
    def request(self) -> Any:
        """The request, which a store from :func:`get_store` does not keep alive.

        :raises AttributeError: it was answered, and nothing else refers to it.
        """
        request = self._request
        if type(request) is ReferenceType:
            request = request()
            if request is None:
                raise AttributeError(
                    "the request has ended, and the session store does not keep it alive; keep "
                    "the request yourself if you need it later"
                )
        return request

    @request.setter
    def request(self, request: Any) -> None:
        self._request = request

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
        backend: str = _default_backend,
    ) -> SessionDict:
        """Return the session of that name; within a request always the same object.

        The first call for a name decides on its factory and ``max_age``.

        :param name: name of the session and its cookie; by default ``cookie_name``.
        :param max_age: age of the cookie in seconds above which the session counts as expired,
            ``None`` for no limit; by default ``session_max_age``.
        :param factory: the session factory; takes precedence over ``backend``.
        :param backend: keyword of the session factory in ``config["backends"]``; by default
            ``default_backend`` of the configuration, which is ``'securecookie'``.
        :raises ConfigError: the name cannot be sent as a cookie, or ``max_age`` is no number.
        :raises BackendError: the backend's server failed.
        """
        with self._request_lock():  # threads of one request get one session
            config = self.config
            if backend is _default_backend:
                backend = config.get("default_backend", backend)
            container = self._get_session_container(
                name or config["cookie_name"], factory or self.get_backend(backend)
            )
            return self._open_session(container, max_age=self._max_age(max_age))

    def _open_session(self, container: Any, **options: Any) -> SessionDict:
        """Return the session of a container, and tell if that fails.

        :param options: of its ``get_session()``.
        """
        try:
            return container.get_session(**options)  # type: ignore[no-any-return]
        except BackendError as error:
            events.tell_error(self.config, error)
            raise

    def _get_session_container(self, name: str, factory: SessionFactory) -> Any:
        if name in self.sessions:
            return self.sessions[name]
        container = factory(name, self)
        if isinstance(container, _SET_A_COOKIE):
            rules.check_name(name, container.session_args)
        if self.config.get("on_conflict") == "merge" and not _can_merge(container):
            raise ConfigError(
                "on_conflict",
                f"is 'merge', and {type(container).__name__} cannot compare and set: derive it "
                "from StoredSessionFactory, or leave on_conflict out",
            )
        self.sessions[name] = container
        return container

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
        with self._request_lock():
            container = self._get_session_container(name, SecureCookieSessionFactory)
        if kwargs:
            args = {**container.session_args, **kwargs}
            response_class = response_class_of(getattr(self.request, "app", None))
            rules.check_cookie(name, args, response_class, "set_secure_cookie()")
        with self._request_lock():
            session = self._open_session(container)
        session.update(value)
        container.session_args.update(kwargs)

    def user_sessions(
        self, user: Any = None, *, name: str | None = None, limit: int | None = 100
    ) -> list[UserSession]:
        """Return the sessions in which a user is signed in, those first that were saved last.

        What cannot be opened any more is not listed.

        :param user: as ``user_key`` finds it; by default who is signed in to the session ``name``.
        :param name: the name of the sessions, by default the first of the dictionary in
            ``user_key``, that of auth for ``"_user"``, or ``cookie_name``; or another open one in
            which somebody is signed in. One that is not open yet is opened in ``default_backend``:
            open it first where it is kept elsewhere.
        :param limit: the most to return, of those that began last; ``None`` for all.
        :returns: :class:`~webapp2_sessions.users.UserSession` objects; none if nobody is signed in.
        :raises ConfigError: ``user_index`` is not configured, or the backend cannot list.
        :raises BackendError: the server failed.
        """
        return self._account(name).sessions(user, limit)  # type: ignore[no-any-return]

    def end_user_sessions(
        self,
        user: Any = None,
        *,
        handle: str | None = None,
        keep: str | bool | None = None,
        name: str | None = None,
    ) -> int:
        """End the sessions in which a user is signed in, wherever they are open.

        It counts at once. What this request has open itself is destroyed as by
        ``session.destroy()``. With ``revocation`` configured all sessions end, also those in
        cookies and in memcached, unless ``handle`` is given, or ``keep`` names another session.
        Nothing ends, and nothing is raised, where no user is given and nobody is signed in.

        :param user: as ``user_key`` finds it; by default who is signed in to the session ``name``.
        :param handle: of the only session to end, as :meth:`user_sessions` tells it.
        :param keep: ``True`` for the session of this request, or the handle of one that stays.
        :param name: the name of the sessions, as for :meth:`user_sessions`.
        :returns: how many sessions were ended of those that ``user_index`` knows.
        :raises ConfigError: what is configured can do no such thing.
        :raises BackendError: it is not certain that all have ended; all were tried.
        """
        return self._account(name).end(user, handle, keep)  # type: ignore[no-any-return]

    def _account(self, name: str | None) -> Any:
        # By its name, because that wing is above this one.
        return import_object("webapp2_sessions.users.accounts.account_of")(self, name)

    def save_sessions(self, response: Any) -> None:
        """Save all modified sessions and set their cookies on the response.

        :param response: the :class:`webapp2.Response`.
        :raises TypeError: JSON cannot represent a value of a cookie session.
        :raises BackendError: it is not certain that a session was stored.
        """
        try:
            environ = self.request.environ
            saver = environ.get(SAVER_KEY)
        except AttributeError:  # an object without an environ has no middleware
            saver = None
        if saver is None or saver.is_of(environ) is not True:  # a mock has anything
            self._save_all(response)
        else:
            saver.save(self, response)

    def _save_all(self, response: Any) -> None:
        sessions, config = self.sessions, self.config
        containers = [*sessions.values()]
        destroyed = []
        try:
            if len(containers) > 1 and config.get("user_key") is not None:
                for container in containers:  # before any save, which may fail: a sign-out is one
                    _follow_user(container)
            for container in containers:
                if getattr(getattr(container, "session", None), "_destroyed", False) is True:
                    destroyed.append(container)
                container.save_session(response)
                if len(sessions) > len(containers):  # it has opened sessions itself
                    containers += list(sessions.values())[len(containers) :]
        except BaseException as error:
            from webapp2_sessions.sessions.sign_outs import delete_destroyed  # only for this error

            delete_destroyed(self, response, destroyed)
            events.tell_error(config, error)
            raise
        if sessions or self._has_read:  # also if it has only read a signed cookie
            if config.get("on_damaged_cookie") == "expire":
                self._expire_damaged(response)
            if config.get("vary"):
                cookies.vary_on_cookie(response)
        if self._written:
            self._warn_of_long_header()
        if self._unsaved is not None:
            self._unsaved.settle()

    def _expire_damaged(self, response: Any) -> None:
        """Expire the cookies that were refused and are not replaced."""
        for name, is_valid in self._verdicts.items():
            if not is_valid and not cookies.is_set(response, name):
                container = self.sessions.get(name)
                args = self.config["cookie_args"] if container is None else container.session_args
                cookies.expire(response, name, args)
                former = self.config.get("former_cookie_args", ())
                cookies.expire_others(response, name, args, former)


def _follow_user(container: Any) -> None:
    """Do what has to be done where the user of a container's session has changed."""
    session = getattr(container, "session", None)
    if isinstance(session, SessionDict):  # else it is followed when the container has made one
        session._follow_user()


def _can_merge(container: Any) -> bool:
    """Return whether a container can merge concurrent changes, or has none to merge."""
    is_stored = isinstance(container, CustomBackendSessionFactory)
    return not is_stored or hasattr(container, "_write_version")


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

    A store of ``webapp2_extras`` that is registered already is returned, and a warning is logged.

    :param factory: called with the request to make the store.
    :param key: the store's key in ``request.registry``.
    :param request: the request; by default the active one.
    """
    request = request or _active_request()
    registry = request.registry
    store = registry.get(key)
    if not store:
        with (lock := lock_of(request)):  # threads of one request get one store
            store = registry.get(key)
            if not store:
                store = registry[key] = factory(request)
                if isinstance(store, SessionStore):
                    store._lock, store._lock_key = lock, locks.key
                if type(store) is SessionStore and _is_being_answered(request):
                    # webapp2 has the request until it is answered. If the store had it as well,
                    # both would wait for the cycle collector, with the response and all that was
                    # uploaded.
                    store._request = ref(request)
    if type(store) is not SessionStore:
        warn_of_foreign_store(getattr(request, "app", None), store)
    return store


def _is_being_answered(request: Any) -> bool:
    """Return whether it is a request of webapp2, which has found its route."""
    webapp2 = sys.modules.get("webapp2")
    return (
        webapp2 is not None and isinstance(request, webapp2.Request) and request.route is not None
    )


def _active_request() -> Any:
    import webapp2

    return webapp2.get_request()


def set_store(store: object, key: str = _registry_key, request: Any = None) -> None:
    """Make ``store`` the session store of a request.

    :param key: the store's key in ``request.registry``.
    :param request: the request; by default the active one.
    """
    request = request or _active_request()
    request.registry[key] = store
