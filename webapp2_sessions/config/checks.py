"""Validation of each key of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from webapp2_sessions.config.value_checks import (
    Check,
    check_bool,
    check_count,
    check_key_prefix,
    check_redis_url,
    check_servers,
    check_size,
    check_text,
    check_timeout,
    check_tls_context,
    client_of,
    is_number,
    list_of,
    mapping,
    one_of,
    optional,
    seconds_of,
    section,
    valid_if,
    wrong,
    wrong_value,
)
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.securecookie.keys import DIGESTS, check_key_list, weakness

#: Key of the session configuration in an application's ``config``.
CONFIG_KEY = "webapp2_extras.sessions"

#: The command that generates a strong key, in quotes.
NEW_SECRET = "'webapp2-sessions keygen'"

#: Seconds; clients give up on requests that take longer.
_LONGEST_GRACE = 300


def check_max_age(key: str, value: object) -> None:
    """Validate a maximum age: a number of seconds or ``None``."""
    if value is None or type(value) is int:
        return
    if not _is_real(value) or value != value:  # NaN is not equal to itself
        raise wrong(key, value, "a number of seconds or None")


def _is_real(value: object) -> bool:
    if isinstance(value, (int, float)):
        return True
    import numbers  # loaded already by the modules that define other types of numbers

    return isinstance(value, numbers.Number) and not isinstance(value, complex)


def _check_session_age(key: str, value: Any) -> None:
    """Validate a maximum age, and refuse one with which no session survives."""
    check_max_age(key, value)
    if isinstance(value, bool) or (value is not None and value <= 0):
        raise wrong_value(key, value, "a positive number of seconds or None")


def _check_cookie_args(key: str, value: object) -> None:
    """Refuse a ``max_age`` with which browsers delete each cookie at once."""
    age: Any = mapping(key, value).get("max_age")
    try:
        seconds = seconds_of(age)
    except (TypeError, ValueError, OverflowError):
        return  # no age at all, which set_cookie() refuses
    if isinstance(age, bool) or (seconds is not None and seconds < 1):
        raise wrong_value(f"{key}['max_age']", age, "1 second at least, or None")


def check_secret(key: str, value: object, place: str = f"config[{CONFIG_KEY!r}]") -> None:
    """Validate a secret key.

    :param place: where the application sets it, for the error.
    """
    if value is not None and not isinstance(value, (str, bytes)):
        raise wrong(key, value, "str or bytes")
    # As an environment variable has them that is not UTF-8.
    if isinstance(value, str) and re.search(r"[\ud800-\udfff]", value):
        raise ConfigError(key, "must be valid Unicode text or bytes, not str with lone surrogates")
    if not value:
        raise ConfigError(
            key,
            f"is missing or empty in {place}; make one with {NEW_SECRET} and keep it out of the "
            "source code",
        )


def _check_fallback_secrets(key: str, value: object) -> None:
    check_key_list(key, value)
    for index, each in enumerate(value):  # type: ignore[arg-type, var-annotated] # is a list
        check_secret(f"{key}[{index}]", each)


def check_cache(datastore: Mapping[str, Any], redis: Mapping[str, Any]) -> None:
    """Refuse a client of the application's own where Redis is the cache of Datastore.

    :param datastore: the section of that name, with all its keys.
    :param redis: that of Redis.
    """
    if datastore["cache"] == "redis" and redis["client"] is not None:
        raise ConfigError(
            "datastore['cache']",
            "is 'redis', and redis['client'] is set: give redis['url'] instead, because the cache "
            "has to know to which process of the server each connection leads",
        )


def check_users(config: Mapping[str, Any]) -> None:
    """Refuse what would follow users if they were known, so that nobody relies on it."""
    for key in ("user_stamp", "user_index", "max_user_sessions", "revocation"):
        if config[key] and not config["user_key"]:
            raise ConfigError(key, "needs 'user_key', which tells who is signed in")
    if config["max_user_sessions"] is not None and not config["user_index"]:
        raise ConfigError("max_user_sessions", "needs 'user_index', which knows a user's sessions")


def secret_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the secret keys of a checked configuration by name."""
    fallbacks = enumerate(config["secret_key_fallbacks"])
    older = {f"secret_key_fallbacks[{index}]": key for index, key in fallbacks}
    return {"secret_key": config["secret_key"], **older}


def weak_keys(config: Mapping[str, Any]) -> list[str]:
    """Return one message for each secret key that is easy to guess."""
    keys = secret_keys(config)
    return [f"{name} {problem}" for name, key in keys.items() if (problem := weakness(key))]


def _check_cookie_name(key: str, value: object) -> None:
    try:
        rules.check_name(value)
    except ConfigError as error:
        raise ConfigError(key, str(error)) from None


def _check_backends(key: str, value: object) -> None:
    for keyword, factory in mapping(key, value).items():
        if not (callable(factory) or (isinstance(factory, str) and "." in factory.strip("."))):
            raise wrong(f"{key}[{keyword!r}]", factory, "a factory class or its dotted name")


def _check_mappings(key: str, value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise wrong(key, value, "a list of dictionaries")
    for index, each in enumerate(value):
        mapping(f"{key}[{index}]", each)


_check_grace = valid_if(
    lambda value: is_number(value) and 0 <= value <= _LONGEST_GRACE,
    f"a number of seconds, 0 to {_LONGEST_GRACE}",
)

_check_pymemcache = client_of("get", "pymemcache")


_check_callable = valid_if(callable, "a function")


def _check_user_key(key: str, value: Any) -> None:
    """Validate what tells who is signed in: for all sessions, or by their names."""
    keys = {key: value}
    if isinstance(value, Mapping):
        keys = {f"{key}[{name!r}]": each for name, each in value.items()}
    for place, each in keys.items():
        if not (callable(each) or (isinstance(each, str) and each)):
            text = "a key of the session, a function of it, or a dictionary of these"
            raise wrong(place, each, text)


def _check_memcache_client(key: str, value: Any) -> None:
    """Validate a client of memcached, and refuse those of the App Engine SDK."""
    if value == "appengine":
        return
    _check_pymemcache(key, value)
    where = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
    if where.startswith("google.appengine."):
        text = "must be 'appengine' instead: the SDK's own client turns failures into misses"
        raise ConfigError(key, text)


#: The check of each key.
CHECKS: dict[str, Check] = {
    "secret_key": check_secret,
    "secret_key_fallbacks": _check_fallback_secrets,
    "digest": one_of(*DIGESTS),
    "digest_fallbacks": list_of(*DIGESTS),
    "cookie_name": _check_cookie_name,
    "session_max_age": _check_session_age,
    "default_backend": check_text,
    "cookie_args": _check_cookie_args,
    "former_cookie_args": _check_mappings,
    "backends": _check_backends,
    "max_cookie_size": check_size,
    "on_oversize": check_text,
    "on_damaged_cookie": one_of("ignore", "expire"),
    "change_detection": one_of("flag", "content"),
    "max_flashes": check_count,
    "vary": check_bool,
    "refresh_after": optional(check_timeout),
    "absolute_max_age": optional(check_timeout),
    "renewal_grace": _check_grace,
    "serializer": one_of("pickle", "json"),
    "serializer_fallbacks": list_of("pickle", "json"),
    "on_conflict": one_of("overwrite", "merge"),
    "on_backend_error": one_of("raise", "degrade"),
    "on_unreadable": one_of("raise", "new"),
    "on_event": optional(_check_callable),
    "user_key": optional(_check_user_key),
    "user_stamp": optional(_check_callable),
    "user_index": check_bool,
    "max_user_sessions": check_count,
    "on_sign_in": optional(_check_callable),
    "revocation": one_of("redis", "datastore", None),
    "revocation_cache": optional(check_timeout),
    "memcache": section(
        {
            "servers": check_servers,
            "key_prefix": check_key_prefix,
            "namespace": optional(check_text),
            "timeout": check_timeout,
            "tls_context": check_tls_context,
            "client": _check_memcache_client,
        }
    ),
    "redis": section(
        {
            "url": check_redis_url,
            "key_prefix": check_key_prefix,
            "namespace": optional(check_text),
            "timeout": check_timeout,
            "tls_context": check_tls_context,
            "client": client_of("execute_command", "redis"),
        }
    ),
    "datastore": section(
        {
            "project": optional(check_text),
            "namespace": optional(check_text),
            "database": optional(check_text),
            "client": client_of("context", "google-cloud-ndb"),
            "timeout": check_timeout,
            "cache": one_of("memcache", "redis", None),
        }
    ),
}
