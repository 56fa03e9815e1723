"""Revocation: since when a user must have signed in for a session to count, wherever it is kept."""

from __future__ import annotations

import functools
import time
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

from webapp2_sessions.config import CONFIG_KEY
from webapp2_sessions.config.imports import import_object
from webapp2_sessions.config.loading import active_config
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.users.names import name_of

__all__ = ["end_all_sessions", "moment_of", "revoke"]

#: What keeps the moments, by the value of ``config["revocation"]``.
_STORES = {
    "redis": "webapp2_sessions.sessions_redis.users.moments_in_redis",
    "datastore": "webapp2_sessions.sessions_ndb.users.moments_in_datastore",
}

#: Stands for all users; the name of no one user.
_EVERYBODY = ""

#: How many users a process remembers for ``revocation_cache`` seconds.
_REMEMBERED = 10_000


class Moments(Hashable, Protocol):
    """Where moments are kept; each is in Unix milliseconds, and -1 where there is none.

    Each method raises a :class:`~webapp2_sessions.errors.BackendError` if the server fails.
    """

    def here(self) -> Any:
        """Return the place, such as a namespace, where a session would be opened now."""

    def latest(self, place: Any, users: Sequence[str]) -> int:
        """Return the latest moment of some users, by one request."""

    def set(self, place: Any, user: str, moment: int) -> None:
        """Set the moment of a user, unless a later one is kept already."""


def moment_of(config: Mapping[str, Any], name: str, *, is_fresh: bool = False) -> int:
    """Return the moment up to which a session of a user does not count; -1 for none.

    :param name: of the user, as :func:`name_of` gives it.
    :param is_fresh: whether to ask the server in any case.
    :returns: Unix milliseconds.
    :raises BackendError: the server failed.
    """
    if config.get("revocation") is None:
        return -1
    moments, seconds = _moments(config), config.get("revocation_cache")
    if seconds is None or is_fresh:
        return moments.latest(moments.here(), [name, _EVERYBODY])
    period = int(time.time() // seconds)
    return _remembered(moments, moments.here(), name, period)


def revoke(config: Mapping[str, Any], user: Any) -> int:
    """Let no session count any more in which a user signed in until now; return that moment."""
    return _revoke(config, name_of(user))


def end_all_sessions(*, config: Mapping[str, Any] | None = None) -> None:
    """Sign everybody out, of sessions in cookies and on servers.

    :param config: a session configuration; by default the active application's.
    :raises ConfigError: ``revocation`` is not configured.
    :raises BackendError: the server failed; nobody is signed out then.
    """
    config = active_config() if config is None else config.get(CONFIG_KEY, config)
    if config.get("revocation") is None:
        raise ConfigError("revocation", "is not configured, and it takes that to end all sessions")
    _revoke(config, _EVERYBODY)


def _revoke(config: Mapping[str, Any], name: str) -> int:
    moments = _moments(config)
    place = moments.here()
    # Who has signed in since the last moment has at least the one after that, also by a clock that
    # is slow, or was put back.
    moment = max(int(time.time() * 1000), moments.latest(place, [name, _EVERYBODY]) + 1)
    moments.set(place, name, moment)
    _remembered.cache_clear()
    return moment


def _moments(config: Mapping[str, Any]) -> Moments:
    # By its name, because its library is needed only where it is configured. Tests have their own.
    store = _STORES.get(config["revocation"], config["revocation"])
    moments: Moments = (import_object(store) if isinstance(store, str) else store)(config)
    return moments


@functools.lru_cache(maxsize=_REMEMBERED)
def _remembered(moments: Moments, place: Any, name: str, period: int) -> int:
    """Ask once in a period, which is a number that counts up."""
    return moments.latest(place, [name, _EVERYBODY])
