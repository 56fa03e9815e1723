"""What each value of the configuration may be."""

from __future__ import annotations

import re
import reprlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from webapp2_sessions import cookie_rules
from webapp2_sessions.errors import ConfigError
from webapp2_sessions.keys import DIGESTS, check_key_list, weakness

__all__ = ["CHECKS", "NEW_SECRET", "check_max_age", "weak_keys"]

Check = Callable[[str, object], object]

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
        raise _wrong(key, value, "a number of seconds or None")


def _is_real(value: object) -> bool:
    if isinstance(value, (int, float)):
        return True
    import numbers  # imported already by the modules of all other kinds of numbers

    return isinstance(value, numbers.Number) and not isinstance(value, complex)


def _wrong(key: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__}")


def _wrong_value(key: str, value: object, allowed: str) -> ConfigError:
    """As :func:`_wrong`, showing the value too, where that is never a secret."""
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__} {reprlib.repr(value)}")


def _check_secret(key: str, value: object) -> None:
    if value is not None and not isinstance(value, (str, bytes)):
        raise _wrong(key, value, "str or bytes")
    if isinstance(value, str) and not _is_unicode(value):
        raise ConfigError(key, "must be valid Unicode text or bytes, not str with lone surrogates")
    if not value:
        raise ConfigError(
            key,
            "is missing or empty in config['webapp2_extras.sessions']; make one with "
            f"{NEW_SECRET} and keep it out of the source code",
        )


def _check_older_secrets(key: str, value: object) -> None:
    check_key_list(key, value)
    for index, each in enumerate(value):  # type: ignore[arg-type, var-annotated] # is a list
        _check_secret(f"{key}[{index}]", each)


def weak_keys(config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with each key of a checked configuration that is easily guessed."""
    keys = {"secret_key": config["secret_key"]}
    for index, each in enumerate(config["secret_key_fallbacks"]):
        keys[f"secret_key_fallbacks[{index}]"] = each
    return [f"{name} {problem}" for name, key in keys.items() if (problem := weakness(key))]


def _is_unicode(text: str) -> bool:
    """Whether text can be encoded; an environment variable that is not UTF-8 cannot."""
    return not re.search(r"[\ud800-\udfff]", text)


def _check_cookie_name(key: str, value: object) -> None:
    try:
        cookie_rules.check_name(value)
    except ConfigError as error:
        raise ConfigError(key, str(error)) from None


def _mapping(key: str, value: object) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(key, value, "a dictionary")
    return value


def _check_backends(key: str, value: object) -> None:
    for keyword, factory in _mapping(key, value).items():
        if not (callable(factory) or (isinstance(factory, str) and "." in factory.strip("."))):
            raise _wrong(f"{key}[{keyword!r}]", factory, "a factory class or its dotted name")


def _check_size(key: str, value: object) -> None:
    if value is not None and (type(value) is not int or value <= 0):
        raise _wrong_value(key, value, "a positive number of bytes or None")


def _check_count(key: str, value: object) -> None:
    if value is not None and (type(value) is not int or value <= 0):
        raise _wrong_value(key, value, "a positive whole number or None")


def _check_bool(key: str, value: object) -> None:
    if not isinstance(value, bool):
        raise _wrong(key, value, "True or False")


def _check_text(key: str, value: object) -> None:
    if not isinstance(value, str):
        raise _wrong(key, value, "text")


def _check_optional_text(key: str, value: object) -> None:
    if value is not None:
        _check_text(key, value)


def _check_timeout(key: str, value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value <= threading.TIMEOUT_MAX  # sockets refuse more, about 292 years
    ):
        raise _wrong_value(key, value, "a positive number of seconds")


def _check_servers(key: str, value: object) -> None:
    servers = value if isinstance(value, (list, tuple)) else ()
    if not servers or not all(isinstance(server, str) and server for server in servers):
        raise _wrong_value(key, value, 'a list of servers, each "host:port" or "unix:/path"')
    if len(set(servers)) < len(servers):
        raise ConfigError(key, f"names a server twice: {reprlib.repr(value)}")


def _check_tls_context(key: str, value: object) -> None:
    if value is None:
        return
    import ssl  # imported already by whoever has made a context

    if not isinstance(value, ssl.SSLContext):
        raise _wrong(key, value, "an ssl.SSLContext or None")


def _check_client(method: str, library: str) -> Check:
    """A check for a client of a library, which has that method."""

    def check(key: str, value: object) -> None:
        if value is not None and not (callable(value) or hasattr(value, method)):
            raise _wrong(key, value, f"a client of {library}, a function that makes one, or None")

    return check


def _check_key_prefix(key: str, value: object) -> None:
    # 250 bytes is memcached's limit for a key; session ids and a hash take up to 70.
    _check_text(key, value)
    text = str(value)
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 150:
        raise _wrong_value(key, value, "at most 150 printable ASCII characters without spaces")


def _one_of(*allowed: str | None) -> Check:
    """A check for a choice."""

    def check(key: str, value: object) -> None:
        if value not in allowed:
            raise _wrong_value(key, value, " or ".join(map(repr, allowed)))

    return check


def _list_of(*allowed: str) -> Check:
    """A check for a list of choices."""

    def check(key: str, value: object) -> None:
        chosen = value if isinstance(value, (list, tuple)) else None
        if chosen is None or not all(each in allowed for each in chosen):
            *others, last = map(repr, allowed)
            raise _wrong_value(key, value, f"a list of {', '.join(others)} and {last}")

    return check


def _check_seconds(key: str, value: object) -> None:
    if value is not None:
        _check_timeout(key, value)


def _check_grace(key: str, value: object) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _LONGEST_GRACE:  # type: ignore[operator]
        raise _wrong_value(key, value, f"a number of seconds, 0 to {_LONGEST_GRACE}")


def _check_mappings(key: str, value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise _wrong(key, value, "a list of dictionaries")
    for index, each in enumerate(value):
        _mapping(f"{key}[{index}]", each)


def _section(checks: Mapping[str, Check]) -> Check:
    """A check for a nested dictionary, of which every key has a check."""

    def check(key: str, value: object) -> None:
        for name, nested in _mapping(key, value).items():
            if name not in checks:
                known = ", ".join(checks)
                raise ConfigError(f"{key}[{name!r}]", f"is unknown; known keys are {known}")
            checks[name](f"{key}[{name!r}]", nested)

    return check


#: The check of each key; it raises a :class:`ConfigError` for a wrong value.
CHECKS: dict[str, Check] = {
    "secret_key": _check_secret,
    "secret_key_fallbacks": _check_older_secrets,
    "digest": _one_of(*DIGESTS),
    "digest_fallbacks": _list_of(*DIGESTS),
    "cookie_name": _check_cookie_name,
    "session_max_age": check_max_age,
    "default_backend": _check_text,
    "cookie_args": _mapping,
    "former_cookie_args": _check_mappings,
    "backends": _check_backends,
    "max_cookie_size": _check_size,
    "on_oversize": _check_text,
    "on_damaged_cookie": _one_of("ignore", "expire"),
    "change_detection": _one_of("flag", "content"),
    "max_flashes": _check_count,
    "vary": _check_bool,
    "refresh_after": _check_seconds,
    "absolute_max_age": _check_seconds,
    "renewal_grace": _check_grace,
    "serializer": _one_of("pickle", "json"),
    "serializer_fallbacks": _list_of("pickle", "json"),
    "on_conflict": _one_of("overwrite", "merge"),
    "on_backend_error": _one_of("raise", "degrade"),
    "on_unreadable": _one_of("raise", "new"),
    "memcache": _section(
        {
            "servers": _check_servers,
            "key_prefix": _check_key_prefix,
            "namespace": _check_optional_text,
            "timeout": _check_timeout,
            "tls_context": _check_tls_context,
            "client": _check_client("get", "pymemcache"),
        }
    ),
    "datastore": _section(
        {
            "project": _check_optional_text,
            "namespace": _check_optional_text,
            "database": _check_optional_text,
            "client": _check_client("context", "google-cloud-ndb"),
            "timeout": _check_timeout,
            "cache": _one_of("memcache", None),
        }
    ),
}
