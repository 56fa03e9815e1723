"""Every error that the package raises on purpose, under one root.

No message ever holds a secret, a cookie's value or a session id. ``args`` are what each was made
with, so that errors can be pickled and cross from a worker process.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BadSignature",
    "ConfigError",
    "ExpiredCookie",
    "InvalidCookie",
    "MalformedCookie",
    "MissingClass",
    "MissingDependency",
    "RefusedFormat",
    "SessionConflict",
    "SessionError",
    "SessionTooLarge",
    "StaleCache",
    "TooDeepValue",
    "UndecodableCookie",
    "UnknownBackend",
    "UnreadableSession",
    "UnstorableValue",
    "UnwritableValue",
]


class SessionError(Exception):
    """Root of all errors of this package; all of them can be pickled and copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class: constructors take other arguments than the message.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[SessionError], args: tuple[Any, ...]) -> SessionError:
    return cls.__new__(cls, *args)


class ConfigError(SessionError, ValueError):
    """A configuration value, or an argument that is configuration, is wrong.

    The message names the key, the type of the value and what is allowed. It shows the value
    itself only where that cannot be a secret.
    """

    #: The configuration key or argument that is wrong, e.g. ``"cookie_args"``.
    key: str

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key

    def __str__(self) -> str:
        return ": ".join(self.args)


class UnknownBackend(ConfigError, KeyError):
    """``get_session(backend=...)`` names no configured backend (a :class:`KeyError` upstream)."""


class MissingDependency(SessionError, ImportError):
    """A backend needs a library that is not installed."""

    #: The extra to install, e.g. ``"memcache"``.
    extra: str

    def __init__(self, library: str, extra: str, backend: str | None = None) -> None:
        super().__init__(library, extra, backend or extra)
        self.extra = extra

    def __str__(self) -> str:
        library, extra, backend = self.args
        return (
            f"{library} is not installed; the {backend} backend needs it: "
            f"pip install 'webapp2_sessions[{extra}]'"
        )


class InvalidCookie(SessionError):
    """A signed cookie's value was not accepted; the message is the cause, without the value."""


class MalformedCookie(InvalidCookie):
    """The value is neither payload, timestamp and signature nor, for encrypted ones, a token."""


class BadSignature(InvalidCookie):
    """The signature does not fit name, payload and timestamp, by no accepted key."""


class ExpiredCookie(InvalidCookie):
    """The signature fits, and the timestamp is older than allowed."""


class UndecodableCookie(InvalidCookie):
    """The signature fits, and the timestamp or the payload cannot be decoded."""


class BackendError(SessionError):
    """A server-side backend did not do what it was asked: nothing was read or nothing written."""

    #: Keyword of the backend, ``"memcache"`` or ``"datastore"``.
    backend: str
    #: Where its server is, e.g. ``"127.0.0.1:11211"``.
    address: str

    def __init__(self, backend: str, address: str, problem: str) -> None:
        super().__init__(backend, address, problem)
        self.backend = backend
        self.address = address

    def __str__(self) -> str:
        return "{} backend at {}: {}".format(*self.args)


class BackendUnavailable(BackendError):
    """The server refused the connection, did not answer in time or went away meanwhile."""


class StaleCache(BackendUnavailable):
    """A stored session was deleted, and the cache in front of the store could not be told.

    Whoever still reaches the cache may read the session there for up to an hour.
    """

    #: Whether nobody had ended the session before.
    is_first: bool = True


class SessionConflict(BackendError):
    """Other requests changed the session each time that this one tried to merge its changes.

    What the others wrote is stored; nothing of this request is.
    """


class SessionTooLarge(BackendError):
    """A session has more bytes than the server takes; what is stored stays as it was."""

    #: Bytes of the session as it would be stored.
    size: int
    #: Bytes that the server takes.
    limit: int
    #: The keys that take most, each with its bytes, the largest first.
    largest: tuple[tuple[str, int], ...]

    def __init__(
        self,
        backend: str,
        address: str,
        size: int,
        limit: int,
        largest: Iterable[tuple[str, int]] = (),
    ) -> None:
        super().__init__(backend, address, "the session is too large")
        self.largest = tuple(largest)
        self.args: tuple[Any, ...] = (backend, address, size, limit, self.largest)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        keys = ", ".join(f"{key!r} ({size} bytes)" for key, size in self.largest)
        return (
            f"{self.backend} backend at {self.address}: the session has {self.size} bytes, and "
            f"the server takes {self.limit} at most" + (f"; largest keys: {keys}" if keys else "")
        )


class RefusedFormat(SessionError, ValueError):
    """A stored value has a format that the configuration does not accept."""

    #: The format, ``"pickle"`` or ``"json"``.
    found: str

    def __init__(self, found: str) -> None:
        super().__init__(found)
        self.found = found

    def __str__(self) -> str:
        return f"it is {self.found}, which 'serializer' and 'serializer_fallbacks' do not name"


class MissingClass(SessionError, LookupError):
    """A stored pickle names a class, or a function, that cannot be imported here."""

    #: Its module and name, e.g. ``"shop.models.Cart"``; ``"?"`` if that is no name of Python's.
    missing: str

    def __init__(self, missing: str, problem: str) -> None:
        if len(missing) > 200 or not all(map(str.isidentifier, missing.split("."))):
            missing = "?"  # of a damaged pickle, it may be anything
        super().__init__(missing, problem)
        self.missing = missing

    def __str__(self) -> str:
        return "it needs {}, which cannot be imported: {}".format(*self.args)


class UnreadableSession(BackendError):
    """A stored session exists and cannot be decoded here, e.g. its class was renamed.

    It is an error and not an empty session, which would take the place of the stored one.
    """


class UnstorableValue(SessionError, TypeError):
    """A session holds a value that would not come back as it is; nothing was written."""

    #: Where it is, e.g. ``"session['cart'][3]['price']"``; keys are shortened, values not shown.
    path: str
    #: The name of its type, e.g. ``"OrderedDict"``.
    kind: str

    def __init__(self, path: str, kind: str, problem: str) -> None:
        super().__init__(path, kind, problem)
        self.path = path
        self.kind = kind

    def __str__(self) -> str:
        return "{} ({}): {}".format(*self.args)


# Applications may catch what Python's own modules raise for such values.


class UnwritableValue(UnstorableValue, ValueError):
    """It contains itself, or has a number that is too long (a :class:`ValueError` of JSON)."""


class TooDeepValue(UnstorableValue, RecursionError):
    """It has more containers inside each other than can be written."""
