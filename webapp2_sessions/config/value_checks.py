"""Checks of single values, of which those of the configuration are made."""

from __future__ import annotations

import re
import reprlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from webapp2_sessions.errors import ConfigError

__all__ = [
    "check_bool",
    "check_count",
    "check_key_prefix",
    "check_optional_text",
    "check_seconds",
    "check_servers",
    "check_size",
    "check_text",
    "check_timeout",
    "check_tls_context",
    "client_of",
    "list_of",
    "mapping",
    "one_of",
    "seconds_of",
    "section",
    "wrong",
    "wrong_value",
]

#: Called with the key, to name it in the error, and the value; raises a :class:`ConfigError`.
Check = Callable[[str, object], object]

#: A server of memcached: a path, or a name or address that may have a port. Compiled when servers
#: are first checked: importing this should not cost that.
_SERVER = r"(?:unix:|/).+|(?:\[[\w:.%]+\]|[^\s/:@\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
_LAST_PORT = 65535


def wrong(key: str, value: object, allowed: str) -> ConfigError:
    """Return the error for a value, which it does not show."""
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__}")


def wrong_value(key: str, value: object, allowed: str) -> ConfigError:
    """As :func:`wrong`, showing the value too, where that is never a secret."""
    return ConfigError(key, f"must be {allowed}, not {type(value).__name__} {reprlib.repr(value)}")


def mapping(key: str, value: object) -> Mapping[Any, Any]:
    """Return the value if it is a dictionary."""
    if not isinstance(value, Mapping):
        raise wrong(key, value, "a dictionary")
    return value


def check_size(key: str, value: object) -> None:
    """Refuse what is no positive number of bytes."""
    if value is not None and (type(value) is not int or value <= 0):
        raise wrong_value(key, value, "a positive number of bytes or None")


def check_count(key: str, value: object) -> None:
    """Refuse what is no positive number."""
    if value is not None and (type(value) is not int or value <= 0):
        raise wrong_value(key, value, "a positive whole number or None")


def check_bool(key: str, value: object) -> None:
    """Refuse what is no truth value."""
    if not isinstance(value, bool):
        raise wrong(key, value, "True or False")


def check_text(key: str, value: object) -> None:
    """Refuse what is no text."""
    if not isinstance(value, str):
        raise wrong(key, value, "text")


def check_optional_text(key: str, value: object) -> None:
    """Refuse what is neither text nor ``None``."""
    if value is not None:
        check_text(key, value)


def check_timeout(key: str, value: object) -> None:
    """Refuse what is no number of seconds to wait."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 < value <= threading.TIMEOUT_MAX  # sockets refuse more, about 292 years
    ):
        raise wrong_value(key, value, "a positive number of seconds")


def check_seconds(key: str, value: object) -> None:
    """Refuse what is neither a positive number of seconds nor ``None``."""
    if value is not None:
        check_timeout(key, value)


def check_servers(key: str, value: object) -> None:
    """Refuse what is no list of memcached servers."""
    servers = value if isinstance(value, (list, tuple)) else ()
    if not servers or not all(isinstance(server, str) and server for server in servers):
        raise wrong_value(key, value, 'a list of servers, each "host:port" or "unix:/path"')
    for index, server in enumerate(servers):
        found = re.fullmatch(_SERVER, server)
        if found is None or not 0 < int(found["port"] or 1) <= _LAST_PORT:
            raise wrong_value(
                f"{key}[{index}]",
                re.sub(r"[^/@]*@", "<hidden>@", server),  # a password, perhaps
                f'"host:port" with a port up to {_LAST_PORT}, "host" or '
                '"unix:/path"; an IPv6 address in brackets',
            )
    if len(set(servers)) < len(servers):
        raise ConfigError(key, f"names a server twice: {reprlib.repr(value)}")


def check_tls_context(key: str, value: object) -> None:
    """Refuse what is no context for TLS."""
    if value is None:
        return
    import ssl  # imported already by whoever has made a context

    if not isinstance(value, ssl.SSLContext):
        raise wrong(key, value, "an ssl.SSLContext or None")


def client_of(method: str, library: str) -> Check:
    """Return a check for a client of a library, which has that method."""

    def check(key: str, value: object) -> None:
        if value is not None and not (callable(value) or hasattr(value, method)):
            raise wrong(key, value, f"a client of {library}, a function that makes one, or None")

    return check


def check_key_prefix(key: str, value: object) -> None:
    """Refuse what cannot be the beginning of memcached's keys."""
    # 250 bytes is memcached's limit for a key; session ids and a hash take up to 70.
    check_text(key, value)
    text = str(value)
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 150:
        raise wrong_value(key, value, "at most 150 printable ASCII characters without spaces")


def one_of(*allowed: str | None) -> Check:
    """Return a check for a choice."""

    def check(key: str, value: object) -> None:
        if value not in allowed:
            raise wrong_value(key, value, " or ".join(map(repr, allowed)))

    return check


def list_of(*allowed: str) -> Check:
    """Return a check for a list of choices."""

    def check(key: str, value: object) -> None:
        chosen = value if isinstance(value, (list, tuple)) else None
        if chosen is None or not all(each in allowed for each in chosen):
            *others, last = map(repr, allowed)
            raise wrong_value(key, value, f"a list of {', '.join(others)} and {last}")

    return check


def section(checks: Mapping[str, Check]) -> Check:
    """Return a check for a nested dictionary, of which every key has a check."""

    def check(key: str, value: object) -> None:
        for name, nested in mapping(key, value).items():
            if name not in checks:
                known = ", ".join(checks)
                raise ConfigError(f"{key}[{name!r}]", f"is unknown; known keys are {known}")
            checks[name](f"{key}[{name!r}]", nested)

    return check


def seconds_of(max_age: Any) -> float | None:
    """Return the ``max_age`` of a cookie in seconds; WebOb takes a timedelta and digits as well."""
    if max_age is None:
        return None
    return float(max_age.total_seconds()) if hasattr(max_age, "total_seconds") else int(max_age)
