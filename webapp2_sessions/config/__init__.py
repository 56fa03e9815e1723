"""Configuration: every key, its default, and the validated configuration of an application."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import webob

from webapp2_sessions.config.checks import (
    CHECKS,
    CONFIG_KEY,
    check_cache,
    check_secret,
    check_users,
)
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import ConfigError

__all__ = [
    "CONFIG_KEY",
    "SAVER_KEY",
    "UPSTREAM_MODULES",
    "UPSTREAM_USERS",
    "SessionConfig",
    "datastore_settings",
    "default_config",
    "memcache_settings",
    "redis_settings",
]

#: Sentinel for "not given" where ``None`` has a meaning.
_default_value: Any = object()

#: WSGI environ key of the object that saves the sessions instead of the store, set by
#: SessionMiddleware. Copies of the environ have the key as well: ask ``is_of(environ)``.
SAVER_KEY = "webapp2_sessions.saver"

#: Upstream's module names, including those before webapp2 3.0, and their replacements.
UPSTREAM_MODULES = {
    "webapp2_extras.sessions": "webapp2_sessions.sessions",
    "webapp2_extras.securecookie": "webapp2_sessions.securecookie",
    "webapp2_extras.appengine.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.appengine.sessions_ndb": "webapp2_sessions.sessions_ndb",
    "webapp2_extras.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.sessions_ndb": "webapp2_sessions.sessions_ndb",
}

#: Upstream's model of users, which needs App Engine's bundled ndb, and its replacement where that
#: is missing.
UPSTREAM_USERS = {"webapp2_extras.appengine.auth.models": "webapp2_sessions.users.auth_models"}

#: Default values. Applications may change them before their configuration is first used.
default_config: dict[str, Any] = {
    "secret_key": None,
    "secret_key_fallbacks": (),
    "digest": "sha1",
    "digest_fallbacks": (),
    "cookie_name": "session",
    "session_max_age": None,
    "default_backend": "securecookie",
    "cookie_args": {
        "max_age": None,
        "domain": None,
        "path": "/",
        "secure": None,
        "httponly": False,
    },
    "backends": {
        "securecookie": "webapp2_sessions.sessions.SecureCookieSessionFactory",
        "encryptedcookie": "webapp2_sessions.sessions.encrypted.EncryptedCookieSessionFactory",
        "datastore": "webapp2_sessions.sessions_ndb.DatastoreSessionFactory",
        "memcache": "webapp2_sessions.sessions_memcache.MemcacheSessionFactory",
        "redis": "webapp2_sessions.sessions_redis.RedisSessionFactory",
    },
    "former_cookie_args": (),
    "max_cookie_size": 4093,
    "on_oversize": "warn",
    "on_damaged_cookie": "ignore",
    "change_detection": "flag",
    "max_flashes": 1000,
    "vary": True,
    "refresh_after": None,
    "absolute_max_age": None,
    "renewal_grace": 10,
    "serializer": "pickle",
    "serializer_fallbacks": (),
    "on_conflict": "overwrite",
    "on_backend_error": "raise",
    "on_unreadable": "raise",
    "on_event": None,
    "user_key": None,
    "user_stamp": None,
    "user_index": False,
    "max_user_sessions": None,
    "on_sign_in": None,
    "revocation": None,
    "revocation_cache": None,
    "memcache": {},
    "redis": {},
    "datastore": {},
}

#: The defaults without changes by applications.
_BUILT_IN = MappingProxyType({**default_config})

#: Defaults of ``config["memcache"]``; ``timeout`` is in seconds.
MEMCACHE_DEFAULTS: dict[str, Any] = {
    "servers": ("127.0.0.1:11211",),
    "key_prefix": "session:",
    "namespace": None,
    "timeout": 1.0,
    "tls_context": None,
    "client": None,
}

#: Defaults of ``config["redis"]``; ``timeout`` is in seconds.
REDIS_DEFAULTS: dict[str, Any] = {
    "url": "redis://127.0.0.1:6379/0",
    "key_prefix": "session:",
    "namespace": None,
    "timeout": 1.0,
    "tls_context": None,
    "client": None,
}

#: Defaults of ``config["datastore"]``; ``timeout`` is in seconds.
DATASTORE_DEFAULTS: dict[str, Any] = {
    "project": None,
    "namespace": None,
    "database": None,
    "client": None,
    "timeout": 5.0,
    "cache": None,
}

#: Keys with lists, which are copied as tuples.
_LISTS = ("secret_key_fallbacks", "digest_fallbacks", "serializer_fallbacks")
#: Parts of the names of keys whose values are never shown, even if the key is misspelt.
_SECRET = re.compile("secret|key|password|token", re.IGNORECASE)


class SessionConfig(dict[str, Any]):
    """A validated session configuration: a dictionary that includes all defaults.

    Unknown keys are kept. ``cookie_args``, ``backends`` and lists are copied. The application's
    ``cookie_args`` replace the defaults as a whole; its ``backends`` are added to the defaults.

    :param values: the application's values; defaults fill in the rest.
    :param response_class: the application's response class, which validates the cookie arguments.
    :param place: where the application sets the values, for error messages.
    :raises ConfigError: a value is wrong.
    """

    #: Values that cannot be meant for this package and were replaced by defaults: a message by key.
    ignored: Mapping[str, str] = MappingProxyType({})

    @reprlib.recursive_repr("{...}")
    def __repr__(self) -> str:
        """Hide secret values: tracebacks and logs may show a configuration."""
        hidden: dict[str, Any] = {
            key: "<hidden>" for key in self if _SECRET.search(str(key)) and self[key]
        }
        redis = self.get("redis")
        # A password is in front of "@", or in the query, where redis-py reads one as well.
        if isinstance(redis, dict) and re.search("[@?]", str(redis.get("url"))):
            hidden["redis"] = {**redis, "url": "<hidden>"}
        return repr({**self, **hidden})

    def __init__(
        self,
        values: Mapping[str, Any],
        response_class: Any = webob.Response,
        place: str = f"config[{CONFIG_KEY!r}]",
    ) -> None:
        super().__init__({**default_config, **values})
        check_secret("secret_key", self["secret_key"], place)
        self.ignored = self._validate_each_key()
        rules.check_arguments(self["cookie_args"], response_class)
        rules.check_name(self["cookie_name"], self["cookie_args"])
        self["cookie_args"] = dict(self["cookie_args"])
        backends = {**default_config["backends"], **self["backends"]}
        self["backends"] = {keyword: _by_name(backend) for keyword, backend in backends.items()}
        if self["on_oversize"] not in ("warn", "raise", *self["backends"]):
            raise ConfigError(
                "on_oversize",
                f"must be 'warn', 'raise' or a keyword of 'backends', not {self['on_oversize']!r}",
            )
        if self["default_backend"] not in self["backends"]:
            known = ", ".join(map(repr, self["backends"]))
            raise ConfigError(
                "default_backend",
                f"must be a keyword of 'backends' ({known}), not {self['default_backend']!r}",
            )
        for index, args in enumerate(self["former_cookie_args"]):
            place = f"former_cookie_args[{index}]"
            rules.check_arguments(args, response_class, place)
            rules.check_prefix(self["cookie_name"], args, place)
        self["former_cookie_args"] = tuple(map(dict, self["former_cookie_args"]))
        self.update({key: tuple(self[key]) for key in _LISTS})
        self["memcache"] = memcache_settings(self)
        self["memcache"]["servers"] = tuple(self["memcache"]["servers"])
        self["redis"] = redis_settings(self)
        self["datastore"] = datastore_settings(self)
        check_cache(self["datastore"], self["redis"])
        check_users(self)

    def _validate_each_key(self) -> dict[str, str]:
        """Raise for wrong values; replace values meant for something else by the defaults.

        :returns: a message for each replaced key.
        """
        ignored = {}
        for key, check in CHECKS.items():
            try:
                check(key, self[key])
            except ConfigError:
                from webapp2_sessions.config.foreign import foreign_value  # rarely needed

                problem = foreign_value(key, self[key])
                if problem is None:
                    raise
                ignored[key], self[key] = problem, _BUILT_IN[key]
        return ignored


def _by_name(backend: Any) -> Any:
    """Return the dotted name of one of upstream's classes, and everything else unchanged.

    Upstream's store writes its classes into the application's configuration if it runs first.
    Their names resolve to the classes of this package.
    """
    if isinstance(backend, type) and backend.__module__ in UPSTREAM_MODULES:
        return f"{backend.__module__}.{backend.__qualname__}"
    return backend


def memcache_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config["memcache"]`` with defaults, even of a config that was not validated."""
    return {**MEMCACHE_DEFAULTS, **_section(config, "memcache")}


def redis_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config["redis"]`` with defaults, even of a config that was not validated."""
    return {**REDIS_DEFAULTS, **_section(config, "redis")}


def datastore_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config["datastore"]`` with defaults, even of a config that was not validated."""
    return {**DATASTORE_DEFAULTS, **_section(config, "datastore")}


def _section(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = config.get(key)
    return section if isinstance(section, Mapping) else {}
