"""Every error that the package raises on purpose, under one root.

No message ever holds a secret, a cookie's value or a session id.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BadSignature",
    "ConfigError",
    "ExpiredCookie",
    "InvalidCookie",
    "MalformedCookie",
    "MissingDependency",
    "SessionError",
    "UndecodableCookie",
    "UnknownBackend",
    "UnreadableSession",
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
        super().__init__(f"{key}: {problem}")
        self.key = key


class UnknownBackend(ConfigError, KeyError):
    """``get_session(backend=...)`` names no configured backend (a :class:`KeyError` upstream)."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class MissingDependency(SessionError, ImportError):
    """A backend needs a library that is not installed."""

    #: The extra to install, e.g. ``"memcache"``.
    extra: str

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(
            f"{library} is not installed; the {extra} backend needs it: "
            f"pip install 'webapp2_sessions[{extra}]'"
        )
        self.extra = extra


class InvalidCookie(SessionError):
    """A signed cookie's value was not accepted; the message is the cause, without the value."""


class MalformedCookie(InvalidCookie):
    """The value does not consist of payload, timestamp and signature."""


class BadSignature(InvalidCookie):
    """The signature does not fit name, payload and timestamp."""


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
        super().__init__(f"{backend} backend at {address}: {problem}")
        self.backend = backend
        self.address = address


class BackendUnavailable(BackendError):
    """The server refused the connection, did not answer in time or went away meanwhile."""


class UnreadableSession(BackendError):
    """A stored session exists and cannot be decoded here, e.g. its class was renamed.

    It is an error and not an empty session, which would take the place of the stored one.
    """
