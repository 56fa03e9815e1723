"""What each value of the configuration may be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from webapp2_sessions.config import value_checks
from webapp2_sessions.config.value_checks import list_of, mapping, one_of, wrong, wrong_value
from webapp2_sessions.cookies import rules
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.securecookie.keys import DIGESTS, check_key_list, weakness

__all__ = [
    "CHECKS",
    "CONFIG_KEY",
    "NEW_SECRET",
    "check_cookie_age",
    "check_max_age",
    "check_secret",
    "secret_keys",
    "weak_keys",
]

#: Key of the session configuration in an application's ``config``.
CONFIG_KEY = "webapp2_extras.sessions"

#: The command that makes a good key, in quotes.
NEW_SECRET = "'webapp2-sessions keygen'"

#: Seconds; a request that takes longer has long been given up by whoever made it.
_LONGEST_GRACE = 300


def check_max_age(key: str, value: object) -> None:
    """Refuse a maximum age that is neither a number of seconds nor ``None``."""
    if value is None or type(value) is int:
        return
    # What is no number differs from itself.
    if not _is_real(value) or value != value:
        raise wrong(key, value, "a number of seconds or None")


def _is_real(value: object) -> bool:
    if isinstance(value, (int, float)):
        return True
    import numbers  # imported already by the modules of all other kinds of numbers

    return isinstance(value, numbers.Number) and not isinstance(value, complex)


def _check_session_age(key: str, value: Any) -> None:
    """As :func:`check_max_age`; refuse as well what lets no session survive."""
    check_max_age(key, value)
    if isinstance(value, bool) or (value is not None and value <= 0):
        raise wrong_value(key, value, "a positive number of seconds or None")


def check_cookie_age(args: Mapping[str, Any], key: str = "cookie_args") -> None:
    """Refuse a ``max_age`` for all cookies with which browsers drop each of them at once.

    What cannot be an age at all, ``set_cookie()`` refuses.

    :param key: how to name the arguments in the error.
    """
    age: Any = args.get("max_age")
    try:
        seconds = age.total_seconds() if hasattr(age, "total_seconds") else int(age)
    except (TypeError, ValueError, OverflowError):
        return
    if isinstance(age, bool) or seconds < 1:
        raise wrong_value(f"{key}['max_age']", age, "1 second at least, or None")


def check_secret(key: str, value: object, place: str = f"config[{CONFIG_KEY!r}]") -> None:
    """Refuse what is no secret key.

    :param place: where the configuration was given, for the error.
    """
    if value is not None and not isinstance(value, (str, bytes)):
        raise wrong(key, value, "str or bytes")
    if isinstance(value, str) and not _is_unicode(value):
        raise ConfigError(key, "must be valid Unicode text or bytes, not str with lone surrogates")
    if not value:
        raise ConfigError(
            key,
            f"is missing or empty in {place}; make one with {NEW_SECRET} and keep it out of the "
            "source code",
        )


def _check_older_secrets(key: str, value: object) -> None:
    check_key_list(key, value)
    for index, each in enumerate(value):  # type: ignore[arg-type, var-annotated] # is a list
        check_secret(f"{key}[{index}]", each)


def secret_keys(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all keys of a checked configuration by their names."""
    fallbacks = enumerate(config["secret_key_fallbacks"])
    older = {f"secret_key_fallbacks[{index}]": each for index, each in fallbacks}
    return {"secret_key": config["secret_key"], **older}


def weak_keys(config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with each key of a checked configuration that is easily guessed."""
    keys = secret_keys(config)
    return [f"{name} {problem}" for name, key in keys.items() if (problem := weakness(key))]


def _is_unicode(text: str) -> bool:
    """Whether text can be encoded; an environment variable that is not UTF-8 cannot."""
    return not re.search(r"[\ud800-\udfff]", text)


def _check_cookie_name(key: str, value: object) -> None:
    try:
        rules.check_name(value)
    except ConfigError as error:
        raise ConfigError(key, str(error)) from None


def _check_backends(key: str, value: object) -> None:
    for keyword, factory in mapping(key, value).items():
        if not (callable(factory) or (isinstance(factory, str) and "." in factory.strip("."))):
            raise wrong(f"{key}[{keyword!r}]", factory, "a factory class or its dotted name")


def _check_cookie_args(key: str, value: object) -> None:
    check_cookie_age(mapping(key, value), key)


def _check_grace(key: str, value: object) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _LONGEST_GRACE:  # type: ignore[operator]
        raise wrong_value(key, value, f"a number of seconds, 0 to {_LONGEST_GRACE}")


def _check_mappings(key: str, value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise wrong(key, value, "a list of dictionaries")
    for index, each in enumerate(value):
        mapping(f"{key}[{index}]", each)


#: The check of each key; it raises a :class:`ConfigError` for a wrong value.
CHECKS: dict[str, value_checks.Check] = {
    "secret_key": check_secret,
    "secret_key_fallbacks": _check_older_secrets,
    "digest": one_of(*DIGESTS),
    "digest_fallbacks": list_of(*DIGESTS),
    "cookie_name": _check_cookie_name,
    "session_max_age": _check_session_age,
    "default_backend": value_checks.check_text,
    "cookie_args": _check_cookie_args,
    "former_cookie_args": _check_mappings,
    "backends": _check_backends,
    "max_cookie_size": value_checks.check_size,
    "on_oversize": value_checks.check_text,
    "on_damaged_cookie": one_of("ignore", "expire"),
    "change_detection": one_of("flag", "content"),
    "max_flashes": value_checks.check_count,
    "vary": value_checks.check_bool,
    "refresh_after": value_checks.check_seconds,
    "absolute_max_age": value_checks.check_seconds,
    "renewal_grace": _check_grace,
    "serializer": one_of("pickle", "json"),
    "serializer_fallbacks": list_of("pickle", "json"),
    "on_conflict": one_of("overwrite", "merge"),
    "on_backend_error": one_of("raise", "degrade"),
    "on_unreadable": one_of("raise", "new"),
    "memcache": value_checks.section(
        {
            "servers": value_checks.check_servers,
            "key_prefix": value_checks.check_key_prefix,
            "namespace": value_checks.check_optional_text,
            "timeout": value_checks.check_timeout,
            "tls_context": value_checks.check_tls_context,
            "client": value_checks.client_of("get", "pymemcache"),
        }
    ),
    "datastore": value_checks.section(
        {
            "project": value_checks.check_optional_text,
            "namespace": value_checks.check_optional_text,
            "database": value_checks.check_optional_text,
            "client": value_checks.client_of("context", "google-cloud-ndb"),
            "timeout": value_checks.check_timeout,
            "cache": one_of("memcache", None),
        }
    ),
}
