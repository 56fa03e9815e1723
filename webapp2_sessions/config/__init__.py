"""The configuration: every key and its default."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import webob

from webapp2_sessions.config.checks import CHECKS, CONFIG_KEY, check_secret
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import ConfigError

__all__ = [
    "CONFIG_KEY",
    "SAVER_KEY",
    "UPSTREAM_MODULES",
    "SessionConfig",
    "datastore_settings",
    "default_config",
    "memcache_settings",
]

#: Stands for "not given" where ``None`` has a meaning.
_default_value: Any = object()

#: Key of what saves the sessions of a request in the store's stead, in its environ, where
#: SessionMiddleware is. Copies of the environ have the key as well: ask ``is_of(environ)``.
SAVER_KEY = "webapp2_sessions.saver"

#: Upstream's module names, also those from before webapp2 3.0, and the modules that stand in.
UPSTREAM_MODULES = {
    "webapp2_extras.sessions": "webapp2_sessions.sessions",
    "webapp2_extras.securecookie": "webapp2_sessions.securecookie",
    "webapp2_extras.appengine.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.appengine.sessions_ndb": "webapp2_sessions.sessions_ndb",
    "webapp2_extras.sessions_memcache": "webapp2_sessions.sessions_memcache",
    "webapp2_extras.sessions_ndb": "webapp2_sessions.sessions_ndb",
}

#: Default values. An application may change them before its configuration is first used.
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
    "memcache": {},
    "datastore": {},
}

#: The same, as nobody has changed them.
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

#: Defaults of ``config["datastore"]``; ``timeout`` is in seconds.
DATASTORE_DEFAULTS: dict[str, Any] = {
    "project": None,
    "namespace": None,
    "database": None,
    "client": None,
    "timeout": 5.0,
    "cache": None,
}


#: Keys whose values may be given as lists, of which copies are kept, as tuples.
_LISTS = ("secret_key_fallbacks", "digest_fallbacks", "serializer_fallbacks")
#: Keys whose values are shown to nobody.
_SECRET_WORDS = ("secret", "key", "password", "token")


def _is_secret(key: object) -> bool:
    """Whether the value of a key may be a secret, also if the key is misspelt."""
    return isinstance(key, str) and any(word in key.lower() for word in _SECRET_WORDS)


class SessionConfig(dict[str, Any]):
    """A checked session configuration: a dictionary, complete with defaults.

    Unknown keys are kept. ``cookie_args``, ``backends`` and all lists are copies of its own;
    ``cookie_args`` of the application replace the default ones as a whole, ``backends`` are added
    to them.

    :param values: the application's values merged over the defaults.
    :param response_class: the class of the application's responses, on which cookie arguments
        are tried.
    :param place: where the application has given the values, for errors.
    :raises ConfigError: a value is wrong.
    """

    #: Values that cannot have been meant for us and were replaced by the defaults: by key, what is
    #: the matter with each.
    ignored: Mapping[str, str] = MappingProxyType({})

    @reprlib.recursive_repr("{...}")
    def __repr__(self) -> str:
        """Show all but the secret keys; errors and logs have representations of values."""
        hidden = {key: "<hidden>" for key in self if _is_secret(key) and self[key]}
        return repr({**self, **hidden})

    def __init__(
        self,
        values: Mapping[str, Any],
        response_class: Any = webob.Response,
        place: str = f"config[{CONFIG_KEY!r}]",
    ) -> None:
        super().__init__({**default_config, **values})
        check_secret("secret_key", self["secret_key"], place)
        self.ignored = self._check_each()
        rules.check_arguments(self["cookie_args"], response_class)
        rules.check_name(self["cookie_name"], self["cookie_args"])
        self["cookie_args"] = dict(self["cookie_args"])
        backends = {**default_config["backends"], **self["backends"]}
        self["backends"] = {keyword: _named(backend) for keyword, backend in backends.items()}
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
        self["datastore"] = datastore_settings(self)

    def _check_each(self) -> dict[str, str]:
        """Refuse wrong values; put the defaults in the place of those that are not meant for us."""
        ignored = {}
        for key, check in CHECKS.items():
            try:
                check(key, self[key])
            except ConfigError:
                from webapp2_sessions.config.foreign import foreign_value  # which hardly any have

                problem = foreign_value(key, self[key])
                if problem is None:
                    raise
                ignored[key], self[key] = problem, _BUILT_IN[key]
        return ignored


def _named(backend: Any) -> Any:
    """Return upstream's own classes by name, and everything else as it is.

    Upstream's store puts them into the configuration of an application that used it before ours;
    by name they resolve to our classes.
    """
    if isinstance(backend, type) and backend.__module__ in UPSTREAM_MODULES:
        return f"{backend.__module__}.{backend.__qualname__}"
    return backend


def memcache_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config["memcache"]`` with defaults; a store may have an unchecked config."""
    return {**MEMCACHE_DEFAULTS, **_given(config, "memcache")}


def datastore_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``config["datastore"]`` with defaults; a store may have an unchecked config."""
    return {**DATASTORE_DEFAULTS, **_given(config, "datastore")}


def _given(config: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    given = config.get(section)
    return given if isinstance(given, Mapping) else {}
