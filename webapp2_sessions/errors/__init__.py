"""All exceptions of this package, under one base class.

No message contains a secret, a cookie's value or a session id. ``args`` are the arguments of the
constructor, so that errors can be pickled, e.g. by a pool of worker processes.
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
    """Base class of all errors of this package; all of them can be pickled and copied."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Without calling the class: arguments of some constructors differ from ``args``.
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[SessionError], args: tuple[Any, ...]) -> SessionError:
    return cls.__new__(cls, *args)


class ConfigError(SessionError, ValueError):
    """A configuration value, or an argument that overrides one, is wrong.

    The message names the key, the type of the value and what is allowed. It shows the value
    itself only if that cannot be a secret.
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
    """The value of a signed cookie was not accepted. The message is the reason."""


class MalformedCookie(InvalidCookie):
    """The value does not consist of payload, timestamp and signature, or is no valid token."""


class BadSignature(InvalidCookie):
    """The signature matches name, payload and timestamp with none of the accepted keys."""


class ExpiredCookie(InvalidCookie):
    """The signature matches, but the timestamp is older than allowed."""


class UndecodableCookie(InvalidCookie):
    """The signature matches, but the timestamp or the payload cannot be decoded."""


class BackendError(SessionError):
    """An operation of a server-side backend failed: nothing was read, or nothing was written."""

    #: Keyword of the backend, ``"memcache"``, ``"redis"`` or ``"datastore"``.
    backend: str
    #: Address of its server, e.g. ``"127.0.0.1:11211"``.
    address: str

    def __init__(self, backend: str, address: str, problem: str) -> None:
        super().__init__(backend, address, problem)
        self.backend = backend
        self.address = address

    def __str__(self) -> str:
        return "{} backend at {}: {}".format(*self.args)


class BackendUnavailable(BackendError):
    """The server refused the connection, did not answer in time, or closed the connection."""


class StaleCache(BackendUnavailable):
    """A stored session was deleted, but its entry in the cache could not be invalidated.

    Processes that reach the cache may read the session there for up to an hour.
    """

    #: Whether the session was not revoked before.
    is_first: bool = True


class SessionConflict(BackendError):
    """Other requests changed the session each time this one tried to merge its changes.

    Their changes are stored; those of this request are not.
    """


class SessionTooLarge(BackendError):
    """A session is larger than the server allows; the stored session stays unchanged."""

    #: Size of the serialized session in bytes.
    size: int
    #: The server's limit in bytes.
    limit: int
    #: The largest keys with their sizes in bytes, the largest first.
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
    """A stored pickle refers to a class or a function that cannot be imported."""

    #: Its dotted name, e.g. ``"shop.models.Cart"``; ``"?"`` if that is no valid Python name.
    missing: str

    def __init__(self, missing: str, problem: str) -> None:
        if len(missing) > 200 or not all(map(str.isidentifier, missing.split("."))):
            missing = "?"  # a damaged pickle may contain anything, secrets included
        super().__init__(missing, problem)
        self.missing = missing

    def __str__(self) -> str:
        return "it needs {}, which cannot be imported: {}".format(*self.args)


class UnreadableSession(BackendError):
    """A stored session cannot be decoded, e.g. because a class was renamed.

    This is an error because an empty session in its place would overwrite the stored one.
    """


class UnstorableValue(SessionError, TypeError):
    """A session contains a value that cannot be stored unchanged; nothing was written."""

    #: Path of the value, e.g. ``"session['cart'][3]['price']"``; long keys are shortened.
    path: str
    #: Name of its type, e.g. ``"OrderedDict"``.
    kind: str

    def __init__(self, path: str, kind: str, problem: str) -> None:
        super().__init__(path, kind, problem)
        self.path = path
        self.kind = kind

    def __str__(self) -> str:
        return "{} ({}): {}".format(*self.args)


# The second base classes are what json and pickle raise, which applications may catch.


class UnwritableValue(UnstorableValue, ValueError):
    """The value contains itself, or is a number with too many digits."""


class TooDeepValue(UnstorableValue, RecursionError):
    """The value has too many containers inside each other."""
