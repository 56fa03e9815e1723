"""Validators for single values, from which :mod:`.checks` builds those of the configuration."""

from __future__ import annotations

import re
import reprlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from webapp2_sessions.errors import ConfigError

#: Called with the key, which the error names, and the value; raises :class:`ConfigError`.
Check = Callable[[str, object], object]

#: A memcached server: a socket path, or a host with an optional port. Kept as text, because
#: compiling it would make the import slower.
_SERVER = r"(?:unix:|/).+|(?:\[[\w:.%]+\]|[^\s/:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
_LAST_PORT = 65535

#: How the URL of a Redis server begins.
_REDIS_URL = r"rediss?://\S+|unix://\S*/\S+"


def wrong(key: str, value: object, allowed: str) -> ConfigError:
    """Return the error for a wrong value, without showing it."""
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__}")


def wrong_value(key: str, value: object, allowed: str) -> ConfigError:
    """Return the error for a wrong value and show it; not for keys that may hold a secret."""
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__} {reprlib.repr(value)}")


# Builders of checks


def valid_if(
    is_valid: Callable[[Any], bool],
    allowed: str,
    error: Callable[[str, object, str], ConfigError] = wrong_value,
) -> Check:
    """Return a check that raises unless ``is_valid(value)``.

    :param allowed: what is valid, for the error message.
    :param error: makes the error: :func:`wrong_value` or :func:`wrong`.
    """

    def check(key: str, value: object) -> None:
        if not is_valid(value):
            raise error(key, value, allowed)

    return check


def optional(check: Check) -> Check:
    """Return a check that accepts ``None`` as well."""

    def check_optional(key: str, value: object) -> None:
        if value is not None:
            check(key, value)

    return check_optional


def one_of(*choices: str | None) -> Check:
    """Return a check for one of the choices."""
    return valid_if(lambda value: value in choices, " or ".join(map(repr, choices)))


def list_of(*choices: str) -> Check:
    """Return a check for a list of choices."""
    *others, last = map(repr, choices)
    return valid_if(
        lambda value: _is_list(value) and all(each in choices for each in value),
        f"a list of {', '.join(others)} and {last}",
    )


def client_of(method: str, library: str) -> Check:
    """Return a check for a client of a library, recognized by one of its methods."""
    return valid_if(
        lambda value: value is None or callable(value) or hasattr(value, method),
        f"a client of {library}, a function that makes one, or None",
        wrong,
    )


def section(checks: Mapping[str, Check]) -> Check:
    """Return a check for a nested dictionary that accepts only the keys of ``checks``."""

    def check(key: str, value: object) -> None:
        for name, nested in mapping(key, value).items():
            if name not in checks:
                known = ", ".join(checks)
                raise ConfigError(f"{key}[{name!r}]", f"is unknown; known keys are {known}")
            checks[name](f"{key}[{name!r}]", nested)

    return check


# Checks


def _is_list(value: object) -> bool:
    return isinstance(value, (list, tuple))


def _is_positive_int(value: Any) -> bool:
    return type(value) is int and value > 0  # which a bool is not


def _is_timeout(value: Any) -> bool:
    # Sockets refuse more than TIMEOUT_MAX, about 292 years.
    return is_number(value) and 0 < value <= threading.TIMEOUT_MAX


def _is_tls_context(value: object) -> bool:
    if value is None:
        return True
    import ssl  # slow to import, and loaded already wherever a context was made

    return isinstance(value, ssl.SSLContext)


def is_number(value: object) -> bool:
    """Return whether a value is an int or a float, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


check_bool: Check = valid_if(lambda value: isinstance(value, bool), "True or False", wrong)
check_text: Check = valid_if(lambda value: isinstance(value, str), "text", wrong)
check_timeout: Check = valid_if(_is_timeout, "a positive number of seconds")
check_size: Check = optional(valid_if(_is_positive_int, "a positive number of bytes or None"))
check_count: Check = optional(valid_if(_is_positive_int, "a positive whole number or None"))
check_tls_context: Check = valid_if(_is_tls_context, "an ssl.SSLContext or None", wrong)


def mapping(key: str, value: object) -> Mapping[Any, Any]:
    """Validate a dictionary and return it."""
    if not isinstance(value, Mapping):
        raise wrong(key, value, "a dictionary")
    return value


def check_servers(key: str, value: Any) -> None:
    """Validate a list of memcached servers."""
    servers = value if _is_list(value) else ()
    if not servers or not all(isinstance(server, str) and server for server in servers):
        # Not shown, because it may hold credentials.
        raise wrong(key, value, 'a list of servers, each "host:port" or "unix:/path"')
    for index, server in enumerate(servers):
        found = re.fullmatch(_SERVER, server)
        if found is None or not 0 < int(found["port"] or 1) <= _LAST_PORT:
            raise wrong_value(
                f"{key}[{index}]",
                re.sub(r"[^/@]*@", "<hidden>@", server),  # credentials, perhaps
                f'"host:port" with a port up to {_LAST_PORT}, "host" or '
                '"unix:/path"; an IPv6 address in brackets',
            )
    if len(set(servers)) < len(servers):
        raise ConfigError(key, f"names a server twice: {reprlib.repr(value)}")


def check_redis_url(key: str, value: object) -> None:
    """Validate the URL of a Redis server, without showing it: it may hold a password."""
    if not isinstance(value, str) or not re.match(_REDIS_URL, value):
        allowed = 'a URL: "redis://host:port/db", "rediss://host:port/db" by TLS, "unix:///path"'
        raise ConfigError(key, f"must be {allowed}")


def check_key_prefix(key: str, value: Any) -> None:
    """Validate a prefix of memcached keys."""
    check_text(key, value)
    # memcached takes keys of 250 bytes, of which a name and its mark need up to 96.
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > 150:
        raise wrong_value(key, value, "at most 150 printable ASCII characters without spaces")


def seconds_of(max_age: Any) -> float | None:
    """Return the ``max_age`` of a cookie in seconds; like WebOb, accept a timedelta or digits."""
    if max_age is None:
        return None
    return float(max_age.total_seconds()) if hasattr(max_age, "total_seconds") else int(max_age)
