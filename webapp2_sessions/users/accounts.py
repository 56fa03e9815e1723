"""What an account page and an administrator ask for: the sessions of a user, and their end."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from webapp2_sessions.config import CONFIG_KEY, SessionConfig
from webapp2_sessions.config.loading import active_app, load_config
from webapp2_sessions.errors import BackendError, ConfigError
from webapp2_sessions.sessions.store import SessionStore
from webapp2_sessions.users import index
from webapp2_sessions.users.names import AUTH, AUTH_SESSION, name_of, user_key_of, user_of
from webapp2_sessions.users.revocation import revoke

__all__ = ["account_of", "end_user_sessions", "user_sessions"]

_CAN_LIST = "of the backends redis and datastore can list the sessions of a user"


def user_sessions(
    user: Any,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    backend: str | None = None,
    limit: int | None = 100,
) -> list[index.UserSession]:
    """Return the sessions in which a user is signed in, those first that were saved last.

    What cannot be opened any more is not listed. In a request,
    :meth:`~webapp2_sessions.sessions.SessionStore.user_sessions` knows the user, and which session
    is the present one.

    :param user: as ``user_key`` finds it; digits are the same as the number.
    :param config: the configuration of an application or of its sessions, by default the active
        application's.
    :param name: the name of the sessions, by default the first of the dictionary in ``user_key``,
        that of auth for ``"_user"``, or ``cookie_name``.
    :param backend: where they are, by default in ``default_backend``.
    :param limit: the most to return, of those that began last; ``None`` for all.
    :raises ConfigError: ``user_index`` is not configured, or the backend cannot list.
    :raises BackendError: the server failed.
    """
    return _outside(config, name, backend).sessions(user, limit)


def end_user_sessions(
    user: Any,
    *,
    handle: str | None = None,
    keep: str | None = None,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
    backend: str | None = None,
) -> int:
    """End the sessions in which a user is signed in; other parameters are of ``user_sessions()``.

    With ``revocation`` configured all end, also those in cookies and in memcached, unless
    ``handle`` or ``keep`` is given.

    :param handle: of the only session to end, as :class:`UserSession` has it.
    :param keep: the handle of one that stays.
    :returns: how many sessions were ended of those that ``user_index`` knows.
    :raises ConfigError: what is configured can do no such thing.
    :raises BackendError: it is not certain that all have ended; all were tried.
    """
    return _outside(config, name, backend).end(user, handle, keep)


class Account:
    """The sessions of users, as one configuration keeps them.

    :param config: the session configuration.
    :param name: the name of the sessions.
    :param container: the factory of one of them; ``None`` if no backend can list them.
    """

    def __init__(self, config: Mapping[str, Any], name: str, container: Any) -> None:
        self._config = config
        self._container = container
        self._key = user_key_of(config, name)
        if self._key is None:
            text = "does not tell who is signed in to sessions of the name"
            raise ConfigError("user_key", f"{text} {name!r}")
        if self._lists:
            index.check_can_list(container)
        elif container is not None and not getattr(container, "can_destroy", False):
            kind = type(container).__name__
            text = f"is not followed by {kind}, a backend of upstream's kind"
            raise ConfigError("user_key", text)

    def sessions(self, user: Any, limit: int | None) -> list[index.UserSession]:
        """Return the sessions of a user, ``None`` for who is signed in."""
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ConfigError("limit", f"must be a whole number or None, not {limit!r}")
        if not self._lists:
            raise ConfigError("user_index", f"is not configured, and {_CAN_LIST}")
        user = self._present_user() if user is None else user
        return [] if user is None else index.listed(self._container, user, limit)

    def end(self, user: Any, handle: str | None, keep: str | bool | None) -> int:
        """End sessions of a user, ``None`` for who is signed in; return how many were listed.

        :param keep: ``True`` for the session of this request.
        """
        mine = self._present_user()
        user = mine if user is None else user
        if user is None:
            if getattr(getattr(self._container, "session", None), "_degraded", False):
                backend, address = self._container._place()
                text = "nobody knows who is signed in to a session that is degraded"
                raise BackendError(backend, address, text)
            return 0
        is_mine = mine is not None and name_of(mine) == name_of(user)
        own = index.handle_of(self._container) if self._lists and is_mine else None
        stays = is_mine and keep is not None and keep in (True, own)
        kept = keep if isinstance(keep, str) else None
        one = handle is not None or (kept is not None and not stays)
        if one and not self._lists:
            text = "is not configured, and without it all sessions of a user end together"
            raise ConfigError("user_index", text)
        revokes = self._config.get("revocation") is not None and not one
        if not self._lists and not revokes:
            raise ConfigError("user_index", f"is not configured, nor is 'revocation'; {_CAN_LIST}")
        ended: list[str] = []
        moment = revoke(self._config, user) if revokes else -1
        if stays:
            self._container._following.stay(moment)
        if self._lists:
            ended = index.end_listed(self._container, user, handle, own if stays else kept)
        if is_mine and not stays and (handle is None or self._container.sid in ended):
            self._container.session.destroy()
        return len(ended)

    @property
    def _lists(self) -> bool:
        return self._config.get("user_index") is True

    def _present_user(self) -> Any:
        session = getattr(self._container, "session", None)
        return None if session is None else user_of(session, self._key)


def account_of(store: Any, name: str | None) -> Account:
    """Return the account of the sessions of a name, by the store of a request.

    Without a name it is the open session in which somebody is signed in, or the default one. That
    is opened, by ``default_backend`` if it is not open yet.
    """
    config, sessions = store.config, store.sessions
    if name is None:
        names = [_default_name(config), *sessions]
        is_meant = (each for each in names if _is_signed_in(config, each, sessions.get(each)))
        name = next(is_meant, names[0])
    if name not in sessions:
        store.get_session(name=name)
    return Account(config, name, sessions[name])


def _is_signed_in(config: Mapping[str, Any], name: str, container: Any) -> bool:
    session, key = getattr(container, "session", None), user_key_of(config, name)
    return session is not None and key is not None and user_of(session, key) is not None


def _outside(config: Mapping[str, Any] | None, name: str | None, backend: str | None) -> Account:
    """Return the account of the sessions of a name where there is no request."""
    store = _Outside(config)
    name, container = name or _default_name(store.config), None
    if store.config.get("user_index") is True:
        container = store.get_backend(backend or store.config["default_backend"])(name, store)
    return Account(store.config, name, container)


class _Outside(SessionStore):
    """A session store without a request.

    :param config: a session configuration, ``None`` for that of the active application.
    :raises ConfigError: no application is active.
    """

    def __init__(self, config: Mapping[str, Any] | None) -> None:
        app = active_app()
        if config is None and app is None:
            raise ConfigError("config", "is needed, because no application is active")
        self._request = SimpleNamespace(app=app)
        self.sessions = {}
        if config is None:
            self.config = load_config(app, CONFIG_KEY, None)
        else:
            config = config.get(CONFIG_KEY, config)  # in an application's whole configuration
            self.config = config if isinstance(config, SessionConfig) else SessionConfig(config)


def _default_name(config: Mapping[str, Any]) -> str:
    key = config.get("user_key")
    if isinstance(key, Mapping):
        return str(next(iter(key), None))
    return AUTH_SESSION if key == AUTH else str(config["cookie_name"])
